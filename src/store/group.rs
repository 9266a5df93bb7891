//! What has been staged and not yet committed: visible to the reads of the same
//! group, and turned into one batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::core::ids::{DeliveryKey, EventSeq, Personnummer};
use crate::core::outbox::{Delivery, Ended, State};
use crate::core::records::{Admission, Quarantined, Unclaimed};
use crate::core::replay::ReplayId;

use super::batch::Batch;
use super::citizen_rows::CitizenRows;
use super::clocks::{self, StagedClocks};
use super::codec::{self, FinishRecord, Output};
use super::error::StoreError;
use super::journal::{Entry, Pages};
use super::rows;
use super::seal::Sealer;
use super::vault::{Held, Label, StateByte, Vault, unsealable};

/// Packed finishes are split when they have this many bytes.
const FULL: usize = 11 * 1024;

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// In ascending order.
    admissions: Vec<Arc<Admission>>,
    journal: Pages,
    /// Where an admission is sealed before it goes into the journal.
    sealing: Vec<u8>,
    finishes: Vec<Vec<u8>>,
    pub finished: HashMap<DeliveryKey, Ended>,
    pub rows: BTreeMap<DeliveryKey, StagedRow>,
    /// `None` for a record that goes.
    pub citizens: HashMap<u32, Option<Arc<Held>>>,
    pub numbers: HashMap<Personnummer, u32>,
    /// Whose a record is, and after that whose it was; nobody for one that is nobody's
    /// any more.
    pub owners: HashMap<[u8; 16], Vec<u32>>,
    /// `None` for a chunk that goes.
    pub selected: BTreeMap<(ReplayId, u32), Option<Vec<DeliveryKey>>>,
    pub clocks: BTreeMap<u32, StagedClocks>,
    /// Whether counts of unanswered orders may have changed.
    pub orders_changed: bool,
    /// `None` for a message that goes.
    pub quarantine: HashMap<u64, Option<Quarantined>>,
    /// `None` for one that goes.
    pub unclaimed: BTreeMap<(u32, DeliveryKey), Option<Unclaimed>>,
    /// What needs no reading back, or is read back from the above.
    pub batch: Batch,
    pub is_empty: IsEmpty,
}

/// Whether there is anything in a group's batch. A type of its own for the sake
/// of `Default`: a new group is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum IsEmpty {
    #[default]
    Yes,
    No,
}

/// A row that the group changes.
#[derive(Debug)]
pub(super) struct StagedRow {
    /// What is committed.
    pub before: Option<Label>,
    /// What is to be.
    pub now: Option<Delivery>,
}

impl Group {
    /// Returns an event of this group.
    pub fn admission(&self, seq: EventSeq) -> Option<&Arc<Admission>> {
        let at = self.admissions.binary_search_by_key(&seq, |admission| admission.seq).ok()?;
        self.admissions.get(at)
    }

    /// Returns whether there is anything to commit.
    pub fn has_any(&self) -> bool {
        !self.finishes.is_empty() || self.has_what_is_read_back()
    }

    /// Returns whether there is anything that reads of what is committed would
    /// miss. Deliveries that are in the journal only, and have ended, are told
    /// apart in memory.
    pub fn has_what_is_read_back(&self) -> bool {
        self.is_empty == IsEmpty::No
            || !(self.admissions.is_empty()
                && self.rows.is_empty()
                && self.citizens.is_empty()
                && self.clocks.is_empty()
                && self.quarantine.is_empty())
    }

    pub fn put(&mut self, key: impl AsRef<[u8]>, value: Vec<u8>) {
        self.is_empty = IsEmpty::No;
        self.batch.insert(key.as_ref(), value);
    }

    pub fn remove(&mut self, key: impl AsRef<[u8]>) {
        self.is_empty = IsEmpty::No;
        self.batch.remove(key.as_ref());
    }

    /// Takes in an event, sealed at once.
    pub fn admit(
        &mut self,
        vault: &Vault,
        sealer: &mut Sealer,
        admission: Arc<Admission>,
        mark: u64,
        wsb_ids: Vec<u64>,
    ) -> Result<(), StoreError> {
        let (seq, slot) = (admission.seq.0, admission.citizen.0);
        let bound_to = rows::admission(seq, slot);
        self.sealing.clear();
        let key = vault.key(slot)?;
        sealer
            .seal(&key.seal, bound_to.as_ref(), &mut self.sealing, |out| codec::encode_admission(&admission, out))
            .map_err(|_| unsealable(bound_to.as_ref()))?;
        self.journal.push(&Entry { seq, slot, mark, wsb_ids, sealed: &self.sealing });
        self.admissions.push(admission);
        Ok(())
    }

    /// Notes that a delivery finished.
    pub fn finish(&mut self, record: &FinishRecord) {
        if self.finishes.last().is_none_or(|page| page.len() > FULL) {
            self.finishes.push(Vec::new());
        }
        if let Some(page) = self.finishes.last_mut() {
            codec::encode_finish(record, page);
        }
    }

    /// Seals what is not sealed yet and returns everything as one batch.
    /// `position` gives the keys of packed finishes, one after the other.
    pub fn into_batch(
        self,
        vault: &Vault,
        sealer: &mut Sealer,
        citizen_rows: &mut CitizenRows,
        mut position: impl FnMut() -> (u64, u32),
    ) -> Result<(Batch, IsEmpty), StoreError> {
        let Self { mut journal, finishes, rows: staged_rows, citizens, clocks, quarantine, mut batch, mut is_empty, .. } = self;
        let pages = journal.take();
        let rows_are_empty = staged_rows.is_empty() && citizens.is_empty() && clocks.is_empty() && quarantine.is_empty();
        if !(pages.is_empty() && finishes.is_empty() && rows_are_empty) {
            is_empty = IsEmpty::No;
        }
        for (first, page) in pages {
            batch.insert(rows::journal(first).as_ref(), page);
        }
        for page in finishes {
            let (next_seq, counter) = position();
            let key = rows::finishes(next_seq, counter);
            let mut value = vec![1];
            let sealed = sealer.seal(&vault.keyring.store, key.as_ref(), &mut value, |out| out.raw(&page));
            sealed.map_err(|_| unsealable(key.as_ref()))?;
            batch.insert(key.as_ref(), value);
        }
        for (key, row) in staged_rows {
            put_row(vault, sealer, citizen_rows, &mut batch, key, &row)?;
        }
        for (slot, staged) in clocks {
            clocks::put(vault, sealer, &mut batch, slot, &staged)?;
        }
        for (slot, held) in citizens {
            let key = rows::citizen(slot);
            match held {
                Some(held) => batch.insert(key.as_ref(), seal_held(vault, sealer, slot, &held)?),
                None => batch.remove(key.as_ref()),
            }
        }
        Ok((batch, is_empty))
    }
}

/// Puts a delivery's row in its place, and takes the former one away.
fn put_row(
    vault: &Vault,
    sealer: &mut Sealer,
    citizen_rows: &mut CitizenRows,
    batch: &mut Batch,
    key: DeliveryKey,
    row: &StagedRow,
) -> Result<(), StoreError> {
    let now = row.now.as_ref().map(label_of);
    if let Some(before) = row.before {
        if now.is_none_or(|now| now.state.shelf() != before.state.shelf()) {
            batch.remove(rows::delivery(before.state.shelf(), key).as_ref());
        }
        if now.is_none_or(|now| now.slot != before.slot) {
            citizen_rows.remove(before.slot, key, batch);
        }
    }
    let (Some(delivery), Some(label)) = (&row.now, now) else { return Ok(()) };
    let row_key = rows::delivery(label.state.shelf(), key);
    let mut value = vec![1];
    value.u8(label.state.number());
    value.u32(label.slot);
    let sealed = sealer.seal(&vault.key(label.slot)?.seal, row_key.as_ref(), &mut value, |out| codec::encode_delivery(delivery, out));
    sealed.map_err(|_| unsealable(row_key.as_ref()))?;
    batch.insert(row_key.as_ref(), value);
    if row.before.is_none_or(|before| before.slot != label.slot) {
        citizen_rows.insert(label.slot, key);
    }
    Ok(())
}

fn seal_held(vault: &Vault, sealer: &mut Sealer, slot: u32, held: &Held) -> Result<Vec<u8>, StoreError> {
    let key = rows::citizen(slot);
    let mut value = vec![1];
    let sealed = sealer.seal(&vault.key(slot)?.seal, key.as_ref(), &mut value, |out| held.encode(out));
    sealed.map_err(|_| unsealable(key.as_ref()))?;
    Ok(value)
}

/// Returns what stands outside of the sealed part of a delivery's row.
pub(super) fn label_of(delivery: &Delivery) -> Label {
    let state = match delivery.state {
        State::Pending => StateByte::Pending,
        State::Retrying { .. } => StateByte::Retrying,
        State::Dead { .. } => StateByte::Dead,
    };
    Label { state, slot: delivery.citizen.0 }
}
