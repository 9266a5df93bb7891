//! What is kept in memory, rebuilt from the rows: in proportion to what waits
//! and to the tail of the journal, never to all that is stored.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::records::RowCounts;

use super::cache::Generations;
use super::citizen_rows::CitizenRows;
use super::clock_owners::ClockOwners;
use super::codec::{Input, LedgerChange, Undecodable};
use super::disk::{Given, Store, cover, index_key, seq_of};
use super::erased::ErasedList;
use super::error::StoreError;
use super::group::Group;
use super::hand_over::HandOver;
use super::journal;
use super::ledger;
use super::orders::Orders;
use super::rows;
use super::runs::{Cover, Removal, Runs};
use super::seal::Sealer;
use super::vault::{Taken, Vault, label};
use super::witness::Witness;

/// How much memory may be taken, and how much room left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    pub cached_citizens: usize,
    pub gathered_keys: usize,
    pub least_free: u64,
}

pub(super) fn recover(
    db: sled::Db,
    vault: Vault,
    given: Given,
    witness: Witness,
    (erased, files): (ErasedList, HandOver),
    tuning: Tuning,
) -> Result<Store, StoreError> {
    let tree = &vault.tree;
    let index = Runs::open(tree, b'i', tuning.gathered_keys, Removal::Never)?;
    let ledger = Runs::open(tree, b'l', tuning.gathered_keys, Removal::ByKey)?;
    let clock_owners = ClockOwners::open(tree, tuning.gathered_keys)?;
    let citizen_rows = CitizenRows::open(tree, tuning.gathered_keys)?;
    let last_seq = last_seq(tree)?;
    let vault = Arc::new(vault);
    let mut store = Store {
        db,
        sealer: Sealer::new(),
        group: Group::default(),
        citizens: Generations::new(tuning.cached_citizens / 16),
        packed_citizens: Generations::new(tuning.cached_citizens),
        numbers: Generations::new(tuning.cached_citizens),
        clocks: Generations::new(tuning.cached_citizens / 32),
        order_counts: BTreeMap::new(),
        stored_order_counts: BTreeMap::new(),
        open: HashSet::new(),
        counts: BTreeMap::new(),
        unexpected: 0,
        unexpected_from: EventSeq(0),
        may_have_unclaimed: HashSet::new(),
        orders: Orders::default(),
        index,
        ledger,
        clock_owners,
        citizen_rows,
        given,
        given_changed: false,
        torn_by: None,
        is_open: false,
        last_seq,
        changes: 0,
        last_finishes: (0, 0),
        witness,
        audit: None,
        condemned: Vec::new(),
        noting: None,
        keys_are_held: false,
        least_free: tuning.least_free,
        erased,
        erased_again: 0,
        files,
        vault,
    };
    store.replay_journal()?;
    store.replay_finishes()?;
    store.count_rows()?;
    store.load_orders()?;
    store.read_order_counts()?;
    store.count_unexpected()?;
    store.find_unclaimed()?;
    Ok(store)
}

impl Given {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut input = Input::versioned(bytes, "the numbers that were given")?;
        let given = Self { next_slot: input.u32()?, next_quarantine: input.u64()?, low_water: input.u64()? };
        input.end()?;
        Ok(given)
    }
}

impl Store {
    /// Finds the keys that no run holds yet, and what may be unfinished.
    fn replay_journal(&mut self) -> Result<(), StoreError> {
        let covered = seq_of(self.index.cover());
        let from = self.given.low_water.min(covered.saturating_add(1));
        // The row that holds the first of these may begin before it.
        let first = self.vault.tree.range(..=rows::journal(from)).next_back().transpose()?;
        let first = first.and_then(|(key, _)| rows::first_u64(&key).filter(|_| key[0] == b'J')).unwrap_or(from);
        let vault = Arc::clone(&self.vault);
        for row in vault.tree.range(rows::journal(first)..=rows::journal(u64::MAX)) {
            let (key, page) = row?;
            let first = rows::first_u64(&key).ok_or(Undecodable { what: "the key of a row of the journal" })?;
            for entry in journal::entries(first, &page) {
                let entry = entry?;
                if entry.seq > covered {
                    for fingerprint in entry.wsb_ids.iter().chain([&entry.mark]) {
                        self.index.insert(index_key(*fingerprint, entry.seq));
                    }
                }
                if entry.seq >= self.given.low_water && entry.wsb_ids.len() > 1 {
                    // The event's own id is always among them.
                    match vault.taken(&entry)? {
                        Taken::Whole(admission) => {
                            let key = |recipient| DeliveryKey { recipient, seq: admission.seq };
                            self.open.extend(admission.deliveries.iter().map(|(recipient, _)| key(*recipient)));
                        }
                        // Nobody can be told anything of it any more.
                        Taken::Erased { .. } => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes out what finished without a row; finds the ledger entries that no
    /// run holds yet.
    fn replay_finishes(&mut self) -> Result<(), StoreError> {
        let covered = self.ledger.cover();
        let from = covered.min(cover(self.given.low_water, 0));
        let mut first = vec![b'S'];
        first.extend_from_slice(&from);
        let vault = Arc::clone(&self.vault);
        for row in vault.finishes(&first) {
            let (key, records) = row?;
            let at: Cover = *key.split_last_chunk().ok_or(Undecodable { what: "the key of finished deliveries" })?.1;
            for record in records {
                self.open.remove(&record.key);
                if at <= covered {
                    continue;
                }
                match record.ledger {
                    LedgerChange::None => {}
                    LedgerChange::Holds(citizen, about) => self.ledger.insert(ledger::entry(citizen, about, record.key.recipient)),
                    LedgerChange::Gone(entries) => {
                        for (citizen, about) in entries {
                            self.ledger.remove(ledger::entry(citizen, about, record.key.recipient));
                        }
                    }
                }
            }
            self.last_finishes = (seq_of(at), u32::from_be_bytes([at[8], at[9], at[10], at[11]]));
        }
        if self.last_finishes == (0, 0) {
            self.last_finishes = last_finishes(&vault.tree, covered)?;
        }
        Ok(())
    }

    fn count_rows(&mut self) -> Result<(), StoreError> {
        let vault = Arc::clone(&self.vault);
        for shelf in [b"W", b"D"] {
            let mut counts: Option<(Recipient, RowCounts)> = None;
            for row in vault.tree.scan_prefix(shelf) {
                let (key, value) = row?;
                let key = rows::delivery_key(&key).ok_or(Undecodable { what: "the key of a delivery" })?;
                self.open.remove(&key);
                let label = label(&value)?.0;
                // Rows come by recipient, so one entry at a time is enough to hold.
                if counts.is_none_or(|(recipient, _)| recipient != key.recipient) {
                    self.add_counts(counts.take());
                    counts = Some((key.recipient, RowCounts::default()));
                }
                if let Some((_, counts)) = &mut counts {
                    *label.state.count_in(counts) += 1;
                }
            }
            self.add_counts(counts);
        }
        Ok(())
    }

    fn add_counts(&mut self, counts: Option<(Recipient, RowCounts)>) {
        if let Some((recipient, more)) = counts {
            let counts = self.counts.entry(recipient).or_default();
            counts.pending += more.pending;
            counts.retrying += more.retrying;
            counts.dead += more.dead;
        }
    }
}

pub(super) fn last_seq(tree: &sled::Tree) -> Result<u64, StoreError> {
    let Some(row) = tree.scan_prefix(b"J").next_back() else { return Ok(0) };
    let (key, page) = row?;
    let first = rows::first_u64(&key).ok_or(Undecodable { what: "the key of a row of the journal" })?;
    let mut last = first;
    for entry in journal::entries(first, &page) {
        last = entry?.seq;
    }
    Ok(last)
}

/// Returns the key of the newest packed finishes where none was read.
fn last_finishes(tree: &sled::Tree, covered: Cover) -> Result<(u64, u32), StoreError> {
    let newest = tree.scan_prefix(b"S").next_back().transpose()?;
    let at = newest.and_then(|(key, _)| key.split_last_chunk().map(|(_, at)| *at)).unwrap_or(covered);
    Ok((seq_of(at), u32::from_be_bytes([at[8], at[9], at[10], at[11]])))
}
