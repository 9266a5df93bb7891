//! Whose each record is, found by a keyed hash of it: of those that decide who gets what
//! in a row each, of those that have a clock in sorted runs. The latter follow the clocks:
//! whatever changes these changes them.

use std::collections::HashSet;
use std::sync::Arc;

use crate::core::ids::{CitizenId, ExternalId};
use crate::core::retention::Clocks;

use super::disk::Store;
use super::error::StoreError;
use super::group::IsEmpty;
use super::rows;

impl Store {
    /// Returns whose a record that has a clock is, as the group sees it.
    pub(super) fn clock_owner_of(&self, hash: &[u8; 16]) -> Result<Option<u32>, StoreError> {
        match self.clock_owners.find(&self.vault.tree, hash)? {
            None if self.clock_owners.are_in_rows_too => Ok(self.owners(hash)?.first().copied()),
            found => Ok(found),
        }
    }

    fn put_clock_owner(&mut self, hash: &[u8; 16], owner: Option<u32>) -> Result<(), StoreError> {
        self.clock_owners.put(&self.vault.tree, hash, owner)?;
        self.group.is_empty = IsEmpty::No;
        if self.clock_owners.are_in_rows_too {
            self.put_owners(*hash, Vec::new());
        }
        Ok(())
    }

    /// Returns whose a record is that decides who gets what, as the group sees it, and
    /// after that whose it was.
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

    /// Has whose a slot's records are follow its clocks.
    pub(super) fn own_clocks(&mut self, slot: u32, known: Option<&Clocks>, now: Option<&Clocks>) -> Result<(), StoreError> {
        for (entity, record, claim) in claims(known, now) {
            let hash = self.vault.keyring.kept_record(entity, record);
            match claim {
                Claim::Has => self.put_clock_owner(&hash, Some(slot))?,
                Claim::HeardOf if self.clock_owner_of(&hash)?.is_none() => self.put_clock_owner(&hash, Some(slot))?,
                Claim::Drops if self.clock_owner_of(&hash)? == Some(slot) => self.put_clock_owner(&hash, None)?,
                Claim::HeardOf | Claim::Drops => {}
            }
        }
        Ok(())
    }

    /// Has what a person knows to be gone be theirs where it is nobody's: under one of
    /// their numbers it may have been there, and go, under another be known to be gone.
    pub(super) fn own_what_is_nobodys(&mut self, parts: &[Clocks]) -> Result<(), StoreError> {
        for (slot, entity, record) in parts.iter().flat_map(gone) {
            let hash = self.vault.keyring.kept_record(entity, record);
            if self.clock_owner_of(&hash)?.is_none() {
                self.put_clock_owner(&hash, Some(slot.0))?;
            }
        }
        Ok(())
    }

    /// Has a record follow those who were sent something about it.
    pub(super) fn move_owner(&mut self, entity: &str, record: &ExternalId, from: &[u32], to: u32) -> Result<(), StoreError> {
        let hash = self.vault.keyring.kept_record(entity, record);
        if self.clock_owner_of(&hash)?.is_some_and(|owner| from.contains(&owner)) {
            self.put_clock_owner(&hash, Some(to))?;
        }
        Ok(())
    }
}

/// What changed clocks say of whose a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is there: it is theirs.
    Has,
    /// It is gone, and was not known to have been there: theirs where it is nobody's.
    HeardOf,
    /// Nothing of it is kept any more: nobody's if it was theirs.
    Drops,
}

/// Returns what changes, from one state of a slot's clocks to the next, of whose the
/// records are. A record that goes stays whose it was.
pub(super) fn claims<'a>(known: Option<&'a Clocks>, now: Option<&'a Clocks>) -> Vec<(&'a Arc<str>, &'a ExternalId, Claim)> {
    if now.is_some_and(|now| !now.is_current) {
        return Vec::new();
    }
    let known = known.filter(|known| known.is_current);
    let shared = known.zip(now).map_or(0, |(known, now)| known.in_common(now));
    let (before, after) = (|| of(known).skip(shared), || of(now).skip(shared));
    // Most of them stand where they stood.
    let same = before().zip(after()).take_while(|(before, after)| before == after).count();
    let before: HashSet<Kept<'_>> = before().skip(same).collect();
    if before.is_empty() {
        // An event brings a record that was not known: the usual case.
        let new = after().skip(same).filter(|(_, record, _)| record.names_one_record());
        return new.map(|(entity, record, is_there)| (entity, record, if is_there { Claim::Has } else { Claim::HeardOf })).collect();
    }
    let after: HashSet<Kept<'_>> = after().skip(same).collect();
    let new = after.difference(&before).filter(|(_, record, _)| record.names_one_record());
    let claimed = new.filter_map(|&(entity, record, is_there)| match is_there {
        true => Some((entity, record, Claim::Has)),
        false => (!before.contains(&(entity, record, true))).then_some((entity, record, Claim::HeardOf)),
    });
    let gone = before.difference(&after).filter(|(entity, record, is_there)| !after.contains(&(*entity, *record, !is_there)));
    claimed.chain(gone.map(|&(entity, record, _)| (entity, record, Claim::Drops))).collect()
}

/// A record by its type and id, and whether it is there.
type Kept<'a> = (&'a Arc<str>, &'a ExternalId, bool);

/// Returns the records that these clocks know to be gone.
pub(super) fn gone(clocks: &Clocks) -> impl Iterator<Item = (CitizenId, &Arc<str>, &ExternalId)> {
    let gone = clocks.kept().filter(|(_, record, is_there)| clocks.is_current && !is_there && record.names_one_record());
    gone.map(|(entity, record, _)| (clocks.citizen, entity, record))
}

fn of(clocks: Option<&Clocks>) -> impl Iterator<Item = Kept<'_>> {
    clocks.into_iter().flat_map(Clocks::kept)
}
