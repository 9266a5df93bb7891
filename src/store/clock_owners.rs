//! Whose each record is that has a clock, as sorted runs: such a record comes with
//! nearly every event, and a row of sled for each would cost as much as its clock does.
//!
//! What a group changes is stored as one row besides, from which the keys that no run
//! holds yet are found again; such a row goes once runs cover it.
//!
//! Stores begun before decision 0083 have rows `I` for what was registered until then.
//! These are read where no run knows the record, and go as it changes.

use super::batch::Batch;
use super::codec::{Input, Output, Undecodable};
use super::disk::{cover, seq_of};
use super::error::StoreError;
use super::rows;
use super::runs::{Removal, Runs, gone};

/// A fingerprint of the record, and the slot of its owner.
const KEY: usize = 12;
const PREFIX: usize = 8;
/// Rows that are covered by runs go this many with a commit, which adds one at most: so
/// many that they become fewer, so few that nobody waits for it.
const REMOVED_AT_ONCE: u64 = 4;

/// Whose each record is that has a clock.
#[derive(Debug)]
pub(super) struct ClockOwners {
    keys: Runs<KEY, PREFIX>,
    /// What the group has changed, as it is stored.
    staged: Vec<u8>,
    /// The rows of changes that there are: from this one, and up to that.
    oldest: u64,
    newest: u64,
    /// Whether older rows say it of records that no run knows.
    pub are_in_rows_too: bool,
}

impl ClockOwners {
    /// Opens the set, and finds again what no run holds yet.
    pub fn open(tree: &sled::Tree, limit: usize) -> Result<Self, StoreError> {
        let mut keys = Runs::open(tree, b'o', limit, Removal::ByKey)?;
        let covered = seq_of(keys.cover());
        let (mut oldest, mut newest) = (None, covered);
        for row in tree.scan_prefix(b"o") {
            let (key, value) = row?;
            let at = rows::first_u64(&key).ok_or(Undecodable { what: "the key of changed owners" })?;
            oldest = oldest.or(Some(at));
            newest = newest.max(at);
            if at > covered {
                for change in changes(&value)? {
                    keys.apply_one(change);
                }
            }
        }
        let are_in_rows_too = !tree.contains_key(rows::OWNERS)?;
        Ok(Self { keys, staged: Vec::new(), oldest: oldest.unwrap_or(newest + 1), newest, are_in_rows_too })
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
                self.staged.extend_from_slice(&gone::<KEY, PREFIX>(old));
            }
        }
        if let Some(now) = now {
            self.keys.insert(now);
            self.staged.extend_from_slice(&now);
        }
        Ok(())
    }

    /// Adds to a commit what the group has changed, and what is due of writing runs.
    pub fn work(&mut self, tree: &sled::Tree, batch: &mut Batch) -> Result<(), StoreError> {
        if !self.staged.is_empty() {
            self.newest += 1;
            let mut value = vec![1];
            value.raw(&std::mem::take(&mut self.staged));
            batch.insert(rows::owners_changed(self.newest).as_ref(), value);
        }
        self.keys.work(tree, batch, cover(self.newest, 0))?;
        let covered = seq_of(self.keys.cover());
        let until = covered.min(self.oldest.saturating_add(REMOVED_AT_ONCE - 1));
        for at in self.oldest..=until {
            batch.remove(rows::owners_changed(at).as_ref());
            self.oldest = at + 1;
        }
        Ok(())
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

/// Reads a row of changes.
fn changes(row: &[u8]) -> Result<Vec<[u8; KEY]>, Undecodable> {
    let input = Input::versioned(row, "changed owners")?;
    match input.rest().as_chunks::<KEY>() {
        (changes, []) => Ok(changes.to_vec()),
        _ => Err(Undecodable { what: "changed owners" }),
    }
}
