//! The store on disk. One owner, the writer; every call may wait for the disk,
//! so all of them belong on a thread of their own.

use crate::core::outbox::Ended;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::core::audit::Extent;
use crate::core::ids::{DeliveryKey, EventSeq, Personnummer, Recipient, WsbId};
use crate::core::records::{Admission, RowCounts};
use crate::core::retention::Clocks;
use crate::core::time::Day;

use super::backup::Noting;
use super::batch::Batch;
use super::cache::Generations;
use super::citizen_rows::CitizenRows;
use super::clock_owners::ClockOwners;
use super::codec::Output;
use super::durability::Durability;
use super::erased::ErasedList;
use super::error::StoreError;
use super::group::{Group, IsEmpty};
use super::hand_over::HandOver;
use super::orders::Orders;
use super::reader::Reader;
use super::rows;
use super::runs::{Cover, Runs};
use super::seal::Sealer;
use super::vault::{Held, StateByte, Taken, Vault};
use super::witness::Witness;

/// Fingerprints of marks and of WSB ids, each with the place of its event.
pub(super) type EventIndex = Runs<16, 8>;
/// Who holds something about which record: citizen, fingerprint of the record's
/// id under the citizen's key, recipient (GDPR article 19).
pub(super) type Ledger = Runs<14, 12>;

/// The store on disk.
#[derive(Debug)]
pub struct Store {
    pub(super) db: sled::Db,
    pub(super) vault: Arc<Vault>,
    pub(super) sealer: Sealer,
    pub(super) group: Group,
    /// The citizens of the moment.
    pub(super) citizens: Generations<u32, Arc<Held>>,
    /// Many more of them, as bytes: a quarter of the memory, and decoding costs
    /// less than finding and unsealing the row.
    pub(super) packed_citizens: Generations<u32, Arc<[u8]>>,
    pub(super) numbers: Generations<Personnummer, u32>,
    /// The retention clocks of the moment: few, whatever there are.
    pub(super) clocks: Generations<u32, Arc<Clocks>>,
    /// Unanswered deletion orders by the day on which they were first given, and
    /// the same as it is committed.
    pub(super) order_counts: BTreeMap<Day, u64>,
    pub(super) stored_order_counts: BTreeMap<Day, u64>,
    /// Admitted, not finished, without a row.
    pub(super) open: HashSet<DeliveryKey>,
    pub(super) counts: BTreeMap<Recipient, RowCounts>,
    /// How many unexpected deletions are listed, and from which place on.
    pub(super) unexpected: u64,
    pub(super) unexpected_from: EventSeq,
    /// Slots of which something withdrawn may be unclaimed.
    pub(super) may_have_unclaimed: HashSet<u32>,
    pub(super) orders: Orders,
    pub(super) index: EventIndex,
    pub(super) ledger: Ledger,
    pub(super) clock_owners: ClockOwners,
    pub(super) citizen_rows: CitizenRows,
    pub(super) given: Given,
    /// Whether `given` differs from what is stored.
    pub(super) given_changed: bool,
    /// Why a change could not be staged, or committed: what there is of its group is not
    /// all of it.
    pub(super) torn_by: Option<String>,
    pub(super) last_seq: u64,
    /// Whether opening is over. Until then a store that fails may be opened once more by
    /// the same process.
    pub(super) is_open: bool,
    /// How many changes have ever been staged.
    pub(super) changes: u64,
    /// The key of the newest packed finishes.
    pub(super) last_finishes: (u64, u32),
    pub(super) witness: Witness,
    /// Where the audit log begins and ends, once something was added to it.
    pub(super) audit: Option<Extent>,
    /// Slots to overwrite once what no longer needs them is on disk.
    pub(super) condemned: Vec<Condemned>,
    /// The backup that hears of every change.
    pub(super) noting: Option<Noting>,
    /// Whether a backup copies the keys: none is overwritten meanwhile.
    pub(super) keys_are_held: bool,
    /// How many bytes a backup leaves free.
    pub(super) least_free: u64,
    /// Whom the broker has forgotten, for backups that remember.
    pub(super) erased: ErasedList,
    /// How many citizens opening has erased again.
    pub(super) erased_again: u64,
    /// Last: after everything else is closed.
    pub(super) files: HandOver,
}

/// A slot whose key is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condemned {
    /// A citizen's: what was sealed under it may still be there.
    Citizen(u32),
    /// That of a message in quarantine: nothing else was sealed under it.
    Message(u32),
    /// That of a message in quarantine that goes with its citizen.
    MessageOf(u32),
}

/// Numbers that are given once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// The next slot.
    pub next_slot: u32,
    /// The next message in quarantine.
    pub next_quarantine: u64,
    /// See [`crate::core::records::Change::SetLowWater`].
    pub low_water: u64,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCounts {
    /// The place of the newest event.
    pub last_seq: u64,
    /// Slots given to citizens and to messages in quarantine.
    pub slots: u32,
    /// Keys in the index of events.
    pub indexed: u64,
    /// Entries of the ledger, some of them twice until runs are merged.
    pub ledger: u64,
    /// Deliveries that are in the journal only.
    pub open: u64,
}

impl Store {
    /// Commits what has been staged, as one: after a crash all of it is there or
    /// nothing. Without anything staged a [`Durability::Flush`] still flushes.
    ///
    /// # Errors
    /// The store cannot go on. What was committed with a flush is safe.
    pub fn commit(&mut self, durability: Durability) -> Result<(), StoreError> {
        if let Some(why) = &self.torn_by {
            return Err(StoreError::Contradiction(format!("a change failed ({why}), and half a group is not kept")));
        }
        if self.given_changed {
            self.given_changed = false;
            self.group.put(rows::NUMBERS, self.given.encode());
        }
        self.stage_causes();
        let mut group = std::mem::take(&mut self.group);
        self.stage_order_counts(&mut group);
        for (slot, staged) in &group.clocks {
            match &staged.now {
                Some(clocks) => self.clocks.insert(*slot, Arc::clone(clocks)),
                None => self.clocks.remove(slot),
            }
        }
        for (slot, held) in &group.citizens {
            match held {
                Some(held) => {
                    let mut bytes = Vec::new();
                    held.encode(&mut bytes);
                    self.packed_citizens.insert(*slot, bytes.into());
                    self.citizens.insert(*slot, Arc::clone(held));
                }
                None => {
                    self.packed_citizens.remove(slot);
                    self.citizens.remove(slot);
                }
            }
        }
        let next_seq = self.last_seq + 1;
        let last_finishes = &mut self.last_finishes;
        let (mut batch, is_empty) = group.into_batch(&self.vault, &mut self.sealer, &mut self.citizen_rows, || {
            *last_finishes = if last_finishes.0 == next_seq { (next_seq, last_finishes.1 + 1) } else { (next_seq, 0) };
            *last_finishes
        })?;
        if is_empty == IsEmpty::No {
            self.index.work(&self.vault.tree, &mut batch, cover(self.last_seq, 0))?;
            self.ledger.work(&self.vault.tree, &mut batch, cover(self.last_finishes.0, self.last_finishes.1))?;
            self.clock_owners.work(&self.vault.tree, &mut batch)?;
            self.citizen_rows.work(&self.vault.tree, &mut batch)?;
            self.apply(&batch)?;
        }
        match durability {
            Durability::Flush => self.flush(),
            Durability::Lazy => Ok(()),
        }
    }

    /// Applies the rows of a commit, and tells a backup under way.
    fn apply(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let applied = self.vault.tree.apply_batch(batch.to_sled());
        applied.map_err(|error| self.failed(error))?;
        if let Some(noting) = self.noting.as_mut().filter(|noting| noting.is_wanted()) {
            noting.note(batch);
        }
        Ok(())
    }

    /// Returns when everything that was committed is on disk.
    ///
    /// # Errors
    /// The store cannot go on, and what was committed since the last flush may
    /// be lost.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| self.failed(error))?;
        self.witness.testify(self.last_seq, self.last_finishes).map_err(StoreError::Witness)?;
        self.overwrite_keys()
    }

    /// Sees to it that nothing is committed after sled has failed: what there is of the
    /// group is known by being the last. Nor is sled closed: it may wait for ever then,
    /// for what it could not write. The process is to end, and lets go of the files.
    fn failed(&mut self, error: sled::Error) -> StoreError {
        if self.is_open {
            Box::leak(Box::new(self.db.clone()));
        }
        let error = StoreError::from(error);
        self.torn_by.get_or_insert_with(|| error.in_words());
        error
    }

    /// Returns whether anything has been staged since the last commit.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        self.given_changed || self.has_changed_causes() || self.group.has_any()
    }

    /// Returns whether anything has been staged that others can only see once it
    /// is committed. All else may wait for the next group.
    #[must_use]
    pub fn has_staged_rows(&self) -> bool {
        self.has_changed_causes() || self.group.has_what_is_read_back()
    }

    /// Returns how many changes have ever been staged.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Returns the bytes that sled takes on disk.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn size_on_disk(&self) -> Result<u64, StoreError> {
        Ok(self.db.size_on_disk()?)
    }

    /// Returns how much is stored.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        StoreCounts {
            last_seq: self.last_seq,
            slots: self.given.next_slot - 1,
            indexed: self.index.len(),
            ledger: self.ledger.len(),
            open: self.open.len() as u64,
        }
    }

    /// Returns a read side that other threads can use beside the writer. It sees
    /// what is committed.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.vault))
    }

    /// Returns an event as it was taken in; `None` when it is not known, or its
    /// citizen was erased.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn admission(&self, seq: EventSeq) -> Result<Option<Arc<Admission>>, StoreError> {
        if let Some(admission) = self.group.admission(seq) {
            return Ok(Some(Arc::clone(admission)));
        }
        Ok(match self.vault.admission(seq)? {
            Some(Taken::Whole(admission)) => Some(Arc::from(admission)),
            Some(Taken::Erased { .. }) | None => None,
        })
    }

    /// Returns the delivery that a WSB id stands for, with its event.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_by_wsb_id(&self, id: WsbId) -> Result<Option<(DeliveryKey, Arc<Admission>)>, StoreError> {
        let fingerprint = self.vault.keyring.events.of(id.as_bytes());
        for key in self.index.find(&self.vault.tree, &fingerprint.to_be_bytes())? {
            let seq = indexed_seq(&key);
            let Some(admission) = self.admission(seq)? else { continue };
            let is_it = |(recipient, _): &&(Recipient, _)| admission.event.mark.wsb_id(*recipient) == id;
            if let Some(recipient) = admission.deliveries.iter().find(is_it).map(|(recipient, _)| *recipient) {
                return Ok(Some((DeliveryKey { recipient, seq }, admission)));
            }
        }
        Ok(None)
    }

    /// Returns how a delivery ended, if it has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn finished(&self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        if let Some(ended) = self.group.finished.get(&key) {
            return Ok(Some(ended.clone()));
        }
        if self.open.contains(&key) {
            return Ok(None);
        }
        self.reader().finished(key)
    }

    /// Counts a row that changes its state, comes or goes.
    pub(super) fn count(&mut self, recipient: Recipient, before: Option<StateByte>, now: Option<StateByte>) {
        let counts = self.counts.entry(recipient).or_default();
        if let Some(before) = before {
            let count = before.count_in(counts);
            *count = count.saturating_sub(1);
        }
        if let Some(now) = now {
            *now.count_in(counts) += 1;
        }
        if *counts == RowCounts::default() {
            self.counts.remove(&recipient);
        }
    }
}

impl StateByte {
    pub(super) fn count_in(self, counts: &mut RowCounts) -> &mut u64 {
        match self {
            Self::Pending => &mut counts.pending,
            Self::Retrying => &mut counts.retrying,
            Self::Dead => &mut counts.dead,
        }
    }
}

impl Condemned {
    /// What the row of an erased citizen says once the slot is overwritten.
    pub(super) const DONE: [u8; 2] = [1, 1];

    pub(super) fn slot(self) -> u32 {
        match self {
            Self::Citizen(slot) | Self::Message(slot) | Self::MessageOf(slot) => slot,
        }
    }

    /// What the row says until then.
    pub(super) fn encode(self) -> Vec<u8> {
        match self {
            Self::Citizen(_) => vec![1, 0],
            Self::Message(_) => vec![1, 2],
            Self::MessageOf(_) => vec![1, 3],
        }
    }
}

impl Given {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![1];
        out.u32(self.next_slot);
        out.u64(self.next_quarantine);
        out.u64(self.low_water);
        out
    }
}

/// Returns a place in the journal as runs know it.
pub(super) fn cover(seq: u64, counter: u32) -> Cover {
    let mut cover = [0; 12];
    cover[..8].copy_from_slice(&seq.to_be_bytes());
    cover[8..].copy_from_slice(&counter.to_be_bytes());
    cover
}

/// Returns the first number of such a place.
pub(super) fn seq_of(cover: Cover) -> u64 {
    cover.first_chunk::<8>().map_or(0, |seq| u64::from_be_bytes(*seq))
}

/// Returns a key of the index of events.
pub(super) fn index_key(fingerprint: u64, seq: u64) -> [u8; 16] {
    (u128::from(fingerprint) << 64 | u128::from(seq)).to_be_bytes()
}

/// Returns the place that a key of the index leads to.
pub(super) fn indexed_seq(key: &[u8; 16]) -> EventSeq {
    EventSeq(u128::from_be_bytes(*key) as u64)
}
