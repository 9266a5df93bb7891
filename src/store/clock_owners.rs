//! Whose each record is that has a clock, as sorted runs: such a record comes with
//! nearly every event, and a row of sled for each would cost as much as its clock does.
//!
//! Stores begun before decision 0083 have rows `I` for what was registered until then.
//! These are read where no run knows the record, and go as it changes.

use super::batch::Batch;
use super::error::StoreError;
use super::logged::Logged;
use super::rows;

/// A fingerprint of the record, and the slot of its owner.
const KEY: usize = 12;
const PREFIX: usize = 8;

/// Whose each record is that has a clock.
#[derive(Debug)]
pub(super) struct ClockOwners {
    keys: Logged<KEY, PREFIX>,
    /// Whether older rows say it of records that no run knows.
    pub are_in_rows_too: bool,
}

impl ClockOwners {
    /// Opens the set, and finds again what no run holds yet.
    pub fn open(tree: &sled::Tree, limit: usize) -> Result<Self, StoreError> {
        let keys = Logged::open(tree, b'o', limit)?;
        Ok(Self { keys, are_in_rows_too: !tree.contains_key(rows::OWNERS)? })
    }

    /// Returns whose the record with this hash is.
    pub fn find(&self, tree: &sled::Tree, hash: &[u8; 16]) -> Result<Option<u32>, StoreError> {
        Ok(self.keys.find(tree, &fingerprint(hash))?.first().map(slot))
    }

    /// Has the record be somebody's, or nobody's.
    pub fn put(&mut self, tree: &sled::Tree, hash: &[u8; 16], owner: Option<u32>) -> Result<(), StoreError> {
        let now = owner.map(|slot| key(hash, slot));
        for old in self.keys.find(tree, &fingerprint(hash))? {
            if Some(old) != now {
                self.keys.remove(old);
            }
        }
        if let Some(now) = now {
            self.keys.insert(now);
        }
        Ok(())
    }

    /// Adds to a commit what the group has changed, and what is due of writing runs.
    pub fn work(&mut self, tree: &sled::Tree, batch: &mut Batch) -> Result<(), StoreError> {
        self.keys.work(tree, batch)
    }

    /// Checks the set by itself; returns what is wrong, in words.
    pub fn check(&self, tree: &sled::Tree) -> Result<Vec<String>, StoreError> {
        self.keys.check(tree)
    }

    /// Looks at every record: a part of its hash, and whose it is. At some of them twice.
    pub fn each(&self, tree: &sled::Tree, mut look: impl FnMut([u8; PREFIX], u32) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.keys.each(tree, |key| look(*key.first_chunk().unwrap_or(&[0; PREFIX]), slot(key)))
    }
}

/// Returns the part of a hash that a record is found by.
pub(super) fn fingerprint(hash: &[u8; 16]) -> [u8; PREFIX] {
    *hash.first_chunk().unwrap_or(&[0; PREFIX])
}

/// Slots are given one by one, so that the first bit of one, which says that a key has
/// gone, is never set: there are not two thousand million people.
fn key(hash: &[u8; 16], slot: u32) -> [u8; KEY] {
    let mut key = [0; KEY];
    key[..PREFIX].copy_from_slice(&fingerprint(hash));
    key[PREFIX..].copy_from_slice(&slot.to_be_bytes());
    key
}

fn slot(key: &[u8; KEY]) -> u32 {
    u32::from_be_bytes(*key.last_chunk().unwrap_or(&[0; 4]))
}
