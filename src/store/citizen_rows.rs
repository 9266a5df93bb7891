//! Which deliveries with a row of their own are about a citizen, as sorted runs: a
//! million that wait would be as many rows of sled more, and sled keeps something in
//! memory for each of its pages.
//!
//! Stores begun before decision 0088 have a row `X` for each instead. These are read
//! besides, and go with the delivery.

use crate::core::ids::DeliveryKey;

use super::batch::Batch;
use super::codec::Undecodable;
use super::disk::Store;
use super::error::StoreError;
use super::logged::Logged;
use super::rows;

/// The citizen's slot, the recipient, and the event.
const KEY: usize = 14;
const PREFIX: usize = 4;

/// Which deliveries with a row are about whom.
#[derive(Debug)]
pub(super) struct CitizenRows {
    keys: Logged<KEY, PREFIX>,
    /// Whether older rows say it of deliveries that no run knows.
    are_in_rows_too: bool,
}

impl CitizenRows {
    /// Opens the set, and finds again what no run holds yet.
    pub fn open(tree: &sled::Tree, limit: usize) -> Result<Self, StoreError> {
        let keys = Logged::open(tree, b'x', limit)?;
        let are_in_rows_too = tree.scan_prefix(b"X").next().transpose()?.is_some();
        Ok(Self { keys, are_in_rows_too })
    }

    /// Returns the deliveries about these citizens that have a row, in order.
    pub fn find(&self, tree: &sled::Tree, slots: &[u32]) -> Result<Vec<DeliveryKey>, StoreError> {
        let mut found = Vec::new();
        for slot in slots {
            for key in self.keys.find(tree, &slot.to_be_bytes())? {
                found.push(of(&key)?.1);
            }
            if self.are_in_rows_too {
                for key in tree.scan_prefix(rows::all_of_citizen(*slot)).keys() {
                    found.push(rows::delivery_key(&key?).ok_or(Undecodable { what: "the key of a citizen's delivery" })?);
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Notes that the delivery has a row, and is about this citizen.
    pub fn insert(&mut self, slot: u32, delivery: DeliveryKey) {
        self.keys.insert(key(slot, delivery));
    }

    /// Notes that the delivery has no row any more, or is about another citizen.
    pub fn remove(&mut self, slot: u32, delivery: DeliveryKey, batch: &mut Batch) {
        self.keys.remove(key(slot, delivery));
        if self.are_in_rows_too {
            batch.remove(rows::of_citizen(slot, delivery).as_ref());
        }
    }

    /// Adds to a commit what the group has changed, and what is due of writing runs.
    pub fn work(&mut self, tree: &sled::Tree, batch: &mut Batch) -> Result<(), StoreError> {
        self.keys.work(tree, batch)
    }

    /// Checks the set by itself; returns what is wrong, in words.
    pub fn check(&self, tree: &sled::Tree) -> Result<Vec<String>, StoreError> {
        self.keys.check(tree)
    }

    /// Looks at every citizen and delivery that no older row tells of, at some of them twice.
    pub fn each(&self, tree: &sled::Tree, mut look: impl FnMut(u32, DeliveryKey) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.keys.each(tree, |key| of(key).map_err(StoreError::from).and_then(|(slot, delivery)| look(slot, delivery)))
    }
}

impl Store {
    /// Returns the committed rows under these slots.
    pub(super) fn rows_under(&self, slots: &[u32]) -> Result<Vec<DeliveryKey>, StoreError> {
        self.citizen_rows.find(&self.vault.tree, slots)
    }
}

/// Numbers of recipients are small, so that the first bit of one, which says that a key
/// has gone, is never set.
fn key(slot: u32, delivery: DeliveryKey) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..PREFIX].copy_from_slice(&slot.to_be_bytes());
    key[PREFIX..6].copy_from_slice(&delivery.recipient.to_number().to_be_bytes());
    key[6..].copy_from_slice(&delivery.seq.0.to_be_bytes());
    key
}

/// Reverses [`key`].
fn of(key: &[u8; KEY]) -> Result<(u32, DeliveryKey), Undecodable> {
    let slot = key.first_chunk().map(|slot| u32::from_be_bytes(*slot));
    slot.zip(rows::delivery_key(key)).ok_or(Undecodable { what: "the key of a citizen's delivery" })
}
