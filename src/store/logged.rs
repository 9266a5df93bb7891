//! A set of small keys that come and go, as sorted runs, of which the journal does not
//! say what became.
//!
//! What a group changes is stored as one row besides, from which the keys that no run
//! holds yet are found again; such a row goes once runs cover it.

use std::collections::BTreeSet;

use super::batch::Batch;
use super::codec::{Input, Output, Undecodable};
use super::disk::{cover, seq_of};
use super::error::StoreError;
use super::rows;
use super::runs::{Removal, Runs, gone};

/// Rows that are covered by runs go this many with a commit, which adds one at most: so
/// many that they become fewer, so few that nobody waits for it.
const REMOVED_AT_ONCE: u64 = 4;

/// A set of keys of `KEY` bytes, searched by their first `PREFIX` bytes. The first bit
/// after those is no part of a key.
#[derive(Debug)]
pub(super) struct Logged<const KEY: usize, const PREFIX: usize> {
    letter: u8,
    keys: Runs<KEY, PREFIX>,
    /// What the group has changed, as it is stored.
    staged: Vec<u8>,
    /// The rows of changes that there are: from this one, and up to that.
    oldest: u64,
    newest: u64,
}

impl<const KEY: usize, const PREFIX: usize> Logged<KEY, PREFIX> {
    /// Opens the set, and finds again what no run holds yet.
    pub fn open(tree: &sled::Tree, letter: u8, limit: usize) -> Result<Self, StoreError> {
        let mut keys = Runs::open(tree, letter, limit, Removal::ByKey)?;
        let covered = seq_of(keys.cover());
        let (mut oldest, mut newest) = (None, covered);
        for row in tree.scan_prefix([letter]) {
            let (key, value) = row?;
            let at = rows::first_u64(&key).ok_or(Undecodable { what: "the key of changes of a set" })?;
            oldest = oldest.or(Some(at));
            newest = newest.max(at);
            if at > covered {
                for change in changes(&value)? {
                    keys.apply_one(change);
                }
            }
        }
        Ok(Self { letter, keys, staged: Vec::new(), oldest: oldest.unwrap_or(newest + 1), newest })
    }

    /// Returns every key with the prefix, in order.
    pub fn find(&self, tree: &sled::Tree, prefix: &[u8; PREFIX]) -> Result<BTreeSet<[u8; KEY]>, StoreError> {
        self.keys.find(tree, prefix)
    }

    pub fn insert(&mut self, key: [u8; KEY]) {
        self.keys.insert(key);
        self.staged.extend_from_slice(&key);
    }

    pub fn remove(&mut self, key: [u8; KEY]) {
        self.keys.remove(key);
        self.staged.extend_from_slice(&gone::<KEY, PREFIX>(key));
    }

    /// Adds to a commit what the group has changed, and what is due of writing runs.
    pub fn work(&mut self, tree: &sled::Tree, batch: &mut Batch) -> Result<(), StoreError> {
        if !self.staged.is_empty() {
            self.newest += 1;
            let mut value = vec![1];
            value.raw(&std::mem::take(&mut self.staged));
            batch.insert(rows::changed(self.letter, self.newest).as_ref(), value);
        }
        self.keys.work(tree, batch, cover(self.newest, 0))?;
        let covered = seq_of(self.keys.cover());
        let until = covered.min(self.oldest.saturating_add(REMOVED_AT_ONCE - 1));
        for at in self.oldest..=until {
            batch.remove(rows::changed(self.letter, at).as_ref());
            self.oldest = at + 1;
        }
        Ok(())
    }

    /// Checks the set by itself; returns what is wrong, in words.
    pub fn check(&self, tree: &sled::Tree) -> Result<Vec<String>, StoreError> {
        self.keys.check(tree)
    }

    /// Looks at every key that is there, at some of them twice.
    pub fn each(&self, tree: &sled::Tree, look: impl FnMut(&[u8; KEY]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        self.keys.each(tree, look)
    }
}

/// Reads a row of changes.
fn changes<const KEY: usize>(row: &[u8]) -> Result<Vec<[u8; KEY]>, Undecodable> {
    let input = Input::versioned(row, "changes of a set")?;
    match input.rest().as_chunks::<KEY>() {
        (changes, []) => Ok(changes.to_vec()),
        _ => Err(Undecodable { what: "changes of a set" }),
    }
}
