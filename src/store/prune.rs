//! Forgetting what is older than the horizon of traces and duplicates: rows of
//! the journal, how their deliveries ended, and the runs of their fingerprints.
//! The ledger stays; what goes from it, goes with the record or the citizen.

use std::sync::Arc;

use crate::core::records::{Admission, Pruned};
use crate::core::time::Moment;

use super::codec::Undecodable;
use super::disk::{Store, cover};
use super::erasing::HASHED_AT_ONCE;
use super::error::StoreError;
use super::journal;
use super::rows;
use super::vault::{Taken, Vault};

impl Store {
    /// Stages the removal of what was taken in before `before`, at most `slice`
    /// rows of each kind. Never touches what is unfinished and has no row.
    pub(super) fn prune_rows(&mut self, before: Moment, slice: usize) -> Result<Pruned, StoreError> {
        let vault = Arc::clone(&self.vault);
        let mut old: Vec<sled::IVec> = Vec::new();
        // Rows of erased citizens only do not say their age: they go with the next that does.
        let mut ageless: Vec<sled::IVec> = Vec::new();
        let mut kept = self.last_seq;
        let mut pruned = Pruned::Done;
        let newest = vault.tree.scan_prefix(b"J").next_back().transpose()?.map(|(key, _)| key);
        for row in vault.tree.scan_prefix(b"J") {
            let (key, page) = row?;
            kept = rows::first_u64(&key).ok_or(Undecodable { what: "the key of a row of the journal" })?;
            let last = journal::entries(kept, &page).last().transpose()?.map_or(kept, |entry| entry.seq);
            // The newest row stays in any case: it says which place was given last.
            if last >= self.given.low_water || Some(&key) == newest.as_ref() {
                break;
            }
            if old.len() + ageless.len() >= slice {
                pruned = Pruned::More;
                break;
            }
            match newest_of(&vault, kept, &page)? {
                None => ageless.push(key),
                Some(admission) if admission.at < before => {
                    old.append(&mut ageless);
                    old.push(key);
                }
                Some(_) => break,
            }
        }
        // What comes first of what stays.
        if let Some(first) = ageless.first().and_then(|key| rows::first_u64(key)) {
            kept = first;
        }
        old.iter().for_each(|key| self.group.remove(key));
        // Finishes that the ledger would be rebuilt from stay until a run covers them.
        let covered = self.ledger.cover().min(cover(kept, u32::MAX));
        let mut last_finish = vec![b'S'];
        last_finish.extend_from_slice(&covered);
        let finishes = vault.tree.range(&b"S"[..]..=&last_finish[..]);
        let ended = vault.tree.range(&b"F"[..]..&[&b"F"[..], &kept.to_be_bytes()].concat()[..]);
        for rows in [finishes, ended] {
            for (taken, key) in rows.keys().enumerate() {
                if taken == slice {
                    pruned = Pruned::More;
                    break;
                }
                self.group.remove(key?);
            }
        }
        if !self.drop_steps(kept, slice)? {
            pruned = Pruned::More;
        }
        if !self.prune_spent(kept, slice)? {
            pruned = Pruned::More;
        }
        if !self.prune_unexpected(before, slice)? {
            pruned = Pruned::More;
        }
        self.index.expire(&mut self.group.batch, cover(kept, 0));
        // What an erasure has left to do, some rows at a time.
        match self.hash_anew(HASHED_AT_ONCE)? {
            Pruned::More => Ok(Pruned::More),
            Pruned::Done => Ok(pruned),
        }
    }
}

/// Returns the newest event of a row whose citizen has not been erased.
fn newest_of(vault: &Vault, first: u64, page: &[u8]) -> Result<Option<Admission>, StoreError> {
    let entries: Vec<_> = journal::entries(first, page).collect::<Result<_, _>>()?;
    for entry in entries.iter().rev() {
        if let Taken::Whole(admission) = vault.taken(entry)? {
            return Ok(Some(*admission));
        }
    }
    Ok(None)
}
