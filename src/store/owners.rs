//! Whose each record is: a row for each of those that decide who gets what, and for
//! each that has a clock, found by a keyed hash of the record. The latter follow the
//! clocks: whatever changes these changes them.

use std::collections::HashSet;

use crate::core::ids::ExternalId;
use crate::core::retention::Clocks;

use super::disk::Store;
use super::error::StoreError;
use super::rows;

impl Store {
    /// Returns whose a record is, as the group sees it.
    pub(super) fn owner(&self, hash: &[u8; 16]) -> Result<Option<u32>, StoreError> {
        Ok(self.owners(hash)?.first().copied())
    }

    /// As [`Store::owner`], and after that whose it was.
    pub(super) fn owners(&self, hash: &[u8; 16]) -> Result<Vec<u32>, StoreError> {
        match self.group.owners.get(hash) {
            Some(slots) => Ok(slots.clone()),
            None => self.vault.owners(hash),
        }
    }

    /// Has the row of a record say whose it is, and after that whose it was; there is
    /// none of what is nobody's.
    pub(super) fn put_owners(&mut self, hash: [u8; 16], slots: Vec<u32>) {
        let key = rows::owner(&hash);
        match slots.is_empty() {
            true => self.group.remove(key),
            false => self.group.put(key, slots.iter().flat_map(|slot| slot.to_be_bytes()).collect()),
        }
        self.group.owners.insert(hash, slots);
    }

    /// Takes the slots that are erased from the row of a record of theirs. One that may
    /// have turned out to be somebody else's stays that one's.
    pub(super) fn disown(&mut self, hash: [u8; 16], erased: &[u32]) -> Result<(), StoreError> {
        let slots = self.owners(&hash)?;
        let is_erased = |slot: &u32| erased.contains(slot);
        if slots.iter().any(is_erased) {
            let is_nobodys = slots.first().is_some_and(is_erased);
            self.put_owners(hash, slots.into_iter().filter(|slot| !is_nobodys && !is_erased(slot)).collect());
        }
        Ok(())
    }

    /// Has the rows of a slot's records follow its clocks. A record that is there is
    /// the slot's; one that is gone is only where it is not somebody else's.
    pub(super) fn own_clocks(&mut self, slot: u32, known: Option<&Clocks>, now: Option<&Clocks>) -> Result<(), StoreError> {
        if now.is_some_and(|now| !now.owned) {
            return Ok(());
        }
        // Most of them stand where they stood.
        let is_known = known.is_none_or(|known| known.owned);
        let (before, after) = (of(known), of(now));
        let same = before.iter().zip(&after).take_while(|(before, after)| is_known && before == after).count();
        let before: HashSet<Kept<'_>> = before[same..].iter().copied().filter(|_| is_known).collect();
        let after: HashSet<Kept<'_>> = after[same..].iter().copied().collect();
        for kept @ (entity, record, is_there) in after.difference(&before).copied().filter(|kept| kept.1.names_one_record()) {
            let was_there = !is_there && before.contains(&(entity, record, true));
            let hash = self.vault.keyring.kept_record(kept.0, kept.1);
            if is_there || (!was_there && self.owner(&hash)?.is_none()) {
                self.put_owners(hash, vec![slot]);
            }
        }
        for (entity, record, is_there) in before.difference(&after).copied() {
            if after.contains(&(entity, record, !is_there)) {
                continue;
            }
            let hash = self.vault.keyring.kept_record(entity, record);
            if self.owner(&hash)? == Some(slot) {
                self.put_owners(hash, Vec::new());
            }
        }
        Ok(())
    }
}

/// A record by its type and id, and whether it is there.
type Kept<'a> = (&'a str, &'a ExternalId, bool);

fn of(clocks: Option<&Clocks>) -> Vec<Kept<'_>> {
    clocks.into_iter().flat_map(|clocks| clocks.kept().map(|(entity, record, is_there)| (&**entity, record, is_there))).collect()
}
