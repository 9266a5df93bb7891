//! Erasing a citizen: rows go, keys are overwritten, and whatever is left of
//! either in old files is noise.
//!
//! In this order, each step on disk before the next: the rows and what says that
//! keys are to go; the list of erased slots; the slots; what says that they are
//! gone. A crash between leaves something that the next opening goes on from.
//! The secret under which numbers are hashed goes last, some rows at a time.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::about::About;
use crate::core::ids::{CitizenId, DeliveryKey};
use crate::core::records::{Pruned, Quarantined};

use super::codec::{Input, Undecodable};
use super::disk::{Condemned, Store};
use super::durability::Durability;
use super::error::StoreError;
use super::numbering::{Stage, Turnover};
use super::rows;
use super::vault::{ANYBODY, Vault};

/// Rows hashed anew in one go: some ten milliseconds.
pub(super) const HASHED_AT_ONCE: usize = 256;
/// How many goes an erasure itself makes, in a store that is gone through in as
/// many; one with more numbers is gone through while it is tended, so that
/// many erasures in a row cost the writer little.
const GOES: usize = 4;

impl Store {
    /// Erases a citizen, and commits and flushes that with what has been staged.
    ///
    /// # Errors
    /// The store cannot go on; the next opening finishes the erasure, or the
    /// order has to be given again.
    pub fn erase(&mut self, citizen: CitizenId) -> Result<(), StoreError> {
        let slots = self.vault.slots_of(citizen);
        self.erase_slots(&slots)
    }

    fn erase_slots(&mut self, slots: &[u32]) -> Result<(), StoreError> {
        let open: Vec<DeliveryKey> = self.open.iter().copied().collect();
        for key in open {
            if self.admission(key.seq)?.is_some_and(|admission| slots.contains(&admission.citizen.0)) {
                self.open.remove(&key);
            }
        }
        self.stage_erasure_of(slots)?;
        self.commit(Durability::Flush)?;
        // What says that the keys are gone.
        self.commit(Durability::Flush)
    }

    /// Returns when no number is hashed with a former secret any more, and that is
    /// overwritten: what an erasure leaves to be done while the store is tended, for
    /// one that is not going to be. Commits as it goes.
    ///
    /// # Errors
    /// The store cannot go on; whoever opens it next goes on with this.
    pub fn finish_hashing(&mut self) -> Result<(), StoreError> {
        loop {
            let is_done = self.hash_anew(16 * HASHED_AT_ONCE)? == Pruned::Done;
            // What is staged, then what that has overwritten.
            self.commit(Durability::Flush)?;
            self.commit(Durability::Flush)?;
            let turnover = self.vault.keyring.numbering.turnover();
            if is_done && turnover.stage == Stage::Steady && !turnover.is_wanted {
                return Ok(());
            }
        }
    }

    /// Makes sure that an erasure can be noted in the list of erased slots.
    ///
    /// # Errors
    /// When that list cannot be written, or has been replaced by one that lacks entries:
    /// nothing may be erased then, since a backup would bring it back.
    pub fn prepare_erasure(&mut self) -> std::io::Result<()> {
        self.erased.prepare().map(drop)
    }

    /// Removes every row that leads to a citizen. Applied at once, with what was
    /// staged before; the keys go with the next flush.
    pub(super) fn stage_erasure(&mut self, citizen: CitizenId) -> Result<(), StoreError> {
        let slots = self.vault.slots_of(citizen);
        self.stage_erasure_of(&slots)
    }

    /// As [`Store::stage_erasure`], of these numbers alone: a copy that knows others
    /// as the same person may be older than what says that they are not.
    fn stage_erasure_of(&mut self, slots: &[u32]) -> Result<(), StoreError> {
        // What is to go is looked for among what is committed.
        self.commit(Durability::Lazy)?;
        let is_first = self.condemned.is_empty();
        for key in self.rows_under(slots)? {
            self.take_row(key)?;
        }
        for id in self.reader().quarantined_under(&ANYBODY)? {
            self.release_as(id, Condemned::MessageOf)?;
        }
        for slot in slots.iter().copied() {
            let held = self.held(slot)?;
            let records = held.as_ref().and_then(|held| held.citizen.as_ref()).into_iter().flat_map(|citizen| citizen.owned_records());
            for (kind, record) in records {
                let hash = self.vault.keyring.record(kind, record);
                self.disown(hash, slots)?;
            }
            let numbers = held.as_ref().map(|held| held.numbers.clone()).unwrap_or_default();
            match (&numbers[..], held.as_ref().and_then(|held| held.citizen.as_ref())) {
                // The others' stay: a night may forget hundreds of thousands.
                ([only], Some(citizen)) if *only == self.vault.keyring.number(&citizen.personnummer) => {
                    self.numbers.remove(&citizen.personnummer);
                }
                _ => self.numbers.clear(),
            }
            for digest in numbers {
                for id in self.reader().quarantined_under(&digest)? {
                    self.release_as(id, Condemned::MessageOf)?;
                }
                for place in self.vault.keyring.numbering.places(&digest) {
                    self.group.remove(rows::number(&place));
                }
            }
            self.group.citizens.insert(slot, None);
            self.forget_holds_of(slot);
            self.put_clocks(slot, None)?;
            self.forget_unclaimed(slot)?;
            let id = CitizenId(slot);
            let partners: Vec<CitizenId> = self.vault.persons().partners(id).collect();
            for partner in partners {
                self.vault.persons_mut().part(id, partner);
                self.group.remove(rows::joined(id, partner));
            }
            self.condemn(Condemned::Citizen(slot));
        }
        let turnover = self.vault.keyring.numbering.turnover();
        self.turn(Turnover { is_wanted: true, ..turnover });
        self.commit(Durability::Lazy)?;
        // Once for all who go with one flush: what the others ask for is done while
        // the store is tended.
        let goes = if self.given.next_slot as usize <= GOES * HASHED_AT_ONCE { GOES + 1 } else { 1 };
        for _ in 0..if is_first { goes } else { 0 } {
            if self.hash_anew(HASHED_AT_ONCE)? == Pruned::Done {
                break;
            }
            self.commit(Durability::Lazy)?;
        }
        Ok(())
    }

    /// Overwrites what is condemned, once nothing needs it any more, and stages
    /// what says so. Everything committed must be on disk.
    pub(super) fn overwrite_keys(&mut self) -> Result<(), StoreError> {
        if self.keys_are_held {
            return Ok(());
        }
        if !self.condemned.is_empty() {
            let condemned = std::mem::take(&mut self.condemned);
            let slots: Vec<u32> = condemned.iter().map(|condemned| condemned.slot()).collect();
            let mut entries = Vec::new();
            for condemned in &condemned {
                match condemned {
                    Condemned::Citizen(slot) | Condemned::MessageOf(slot) => {
                        let seed = self.vault.keyring.seed(*slot).map_err(StoreError::Keys)?;
                        entries.push(self.erased.entry(*slot, &seed));
                    }
                    // Thrown away, or taken in after all: no erasure.
                    Condemned::Message(_) => {}
                }
            }
            self.erased.add(&entries).map_err(StoreError::Erased)?;
            self.vault.keyring.erase(&slots).map_err(StoreError::Keys)?;
            self.vault.forget_keys(&slots);
            // To be stored with the next group: until then a restart overwrites them again.
            for condemned in condemned {
                match condemned {
                    Condemned::Citizen(slot) => self.group.put(rows::erased(slot), Condemned::DONE.to_vec()),
                    Condemned::Message(slot) | Condemned::MessageOf(slot) => self.group.remove(rows::erased(slot)),
                }
            }
            if !entries.is_empty() {
                self.group.put(rows::ERASED_TO, encode_count(self.erased.seen()));
            }
        }
        let turnover = self.vault.keyring.numbering.turnover();
        if turnover.stage == Stage::Over {
            self.vault.keyring.numbering.renew(turnover.former()).map_err(StoreError::Keys)?;
            self.turn(Turnover { stage: Stage::Steady, ..turnover });
        }
        Ok(())
    }

    fn turn(&mut self, turnover: Turnover) {
        self.vault.keyring.numbering.set_turnover(turnover);
        self.group.put(rows::NUMBER_KEY, turnover.encode());
    }

    /// Stages some more rows of numbers under the other secret, if an erasure has
    /// asked for it.
    pub(super) fn hash_anew(&mut self, slice: usize) -> Result<Pruned, StoreError> {
        let turnover = self.vault.keyring.numbering.turnover();
        let is_idle = turnover.stage == Stage::Steady && !turnover.is_wanted;
        if !is_idle && !self.group.numbers.is_empty() {
            // Rows that are not committed yet would be passed over.
            return Ok(Pruned::More);
        }
        match turnover.stage {
            Stage::Steady if turnover.is_wanted => {
                self.turn(Turnover { current: turnover.former(), stage: Stage::UnderWay, is_wanted: false });
                return Ok(Pruned::More);
            }
            Stage::Steady => return Ok(Pruned::Done),
            // Until the former secret has been overwritten, it is not used again.
            Stage::Over => return Ok(if turnover.is_wanted { Pruned::More } else { Pruned::Done }),
            Stage::UnderWay => {}
        }
        let (vault, former) = (Arc::clone(&self.vault), turnover.former());
        let mut left = slice;
        for row in vault.tree.scan_prefix([b'N', former]) {
            if left == 0 {
                return Ok(Pruned::More);
            }
            left -= 1;
            let (key, value) = row?;
            let slot = Input::new(&value, "the owner of a number").u32()?;
            let held = self.held(slot)?;
            let is_it = |digest: &&[u8; 16]| rows::number(&vault.keyring.numbering.place_by(former, digest)).as_ref() == &*key;
            if let Some(digest) = held.as_ref().and_then(|held| held.numbers.iter().find(is_it)) {
                self.group.put(rows::number(&vault.keyring.numbering.place(digest)), value.to_vec());
            }
            self.group.remove(&key);
        }
        let mut filed = BTreeSet::new();
        for key in vault.tree.scan_prefix([b'K', former]).keys() {
            if left == 0 {
                return Ok(Pruned::More);
            }
            left -= 1;
            let key = key?;
            let id = rows::last_u64(&key).ok_or(Undecodable { what: "the key of a message in quarantine" })?;
            self.group.remove(&key);
            // All rows of a message at once: it may be long, and have a thousand.
            if !filed.insert(id) {
                continue;
            }
            for digest in self.quarantined_now(id)?.iter().flat_map(|message| vault.digests_of(&message.about)) {
                self.group.remove(rows::quarantined_about(&vault.keyring.numbering.place_by(former, &digest), id));
                self.group.put(rows::quarantined_about(&vault.keyring.numbering.place(&digest), id), Vec::new());
            }
        }
        if left < slice {
            // What this has staged is committed first.
            return Ok(Pruned::More);
        }
        self.turn(Turnover { stage: Stage::Over, ..turnover });
        Ok(if turnover.is_wanted { Pruned::More } else { Pruned::Done })
    }

    /// Files every message in quarantine by all numbers in it, once in the life of a store:
    /// a former version knew one number of each at the most.
    pub(super) fn file_quarantine(&mut self) -> Result<(), StoreError> {
        const BY_ALL_NUMBERS: &[u8] = &[1, 1];
        if self.vault.tree.get(rows::FILED_BY)?.is_some_and(|by| &*by == BY_ALL_NUMBERS) {
            return Ok(());
        }
        let keys: Vec<sled::IVec> = self.vault.tree.scan_prefix(b"Q").keys().collect::<Result<_, _>>()?;
        for id in keys.iter().filter_map(|key| rows::first_u64(key)) {
            let Some((_, message)) = self.vault.quarantined(id)? else { continue };
            let about = About::of(&message.body);
            if about != message.about {
                self.release_as(id, Condemned::Message)?;
                self.quarantine(Quarantined { about, ..message })?;
                self.commit(Durability::Lazy)?;
            }
        }
        self.group.put(rows::FILED_BY, BY_ALL_NUMBERS.to_vec());
        self.commit(Durability::Flush)
    }

    /// Overwrites the slots that a crash kept from being overwritten, and erases
    /// whom the list says to have been erased since this store was copied.
    pub(super) fn finish_erasures(&mut self) -> Result<(), StoreError> {
        for row in self.vault.tree.scan_prefix(b"E") {
            let (key, value) = row?;
            let slot = rows::first_citizen(&key).ok_or(Undecodable { what: "the key of an erased citizen" })?.0;
            let condemned = [Condemned::Citizen(slot), Condemned::Message(slot), Condemned::MessageOf(slot)];
            self.condemned.extend(condemned.into_iter().find(|condemned| condemned.encode() == *value));
        }
        self.flush()?;
        if self.erased.len() > self.erased.seen() {
            return self.erase_again();
        }
        if self.erased.len() < erased_to(&self.vault)? {
            // Emptied, as it may be once there is no backup from before: begins anew.
            self.group.put(rows::ERASED_TO, encode_count(self.erased.len()));
            self.commit(Durability::Flush)?;
        }
        Ok(())
    }

    fn erase_again(&mut self) -> Result<(), StoreError> {
        let entries = self.erased.all().map_err(StoreError::Erased)?;
        let (mut never_given, mut found) = (Vec::new(), Vec::new());
        for slot in 0..self.vault.keyring.slots() {
            let seed = self.vault.keyring.seed(slot).map_err(StoreError::Keys)?;
            if entries.contains(&self.erased.entry(slot, &seed)) {
                let list = if slot < self.given.next_slot { &mut found } else { &mut never_given };
                list.push(slot);
            }
        }
        // Given to somebody after the copy was made: here it is free again, and
        // must not be taken for an erased one when somebody else gets it.
        self.vault.keyring.erase(&never_given).map_err(StoreError::Keys)?;
        let mut known = Vec::new();
        for slot in &found {
            if self.vault.tree.contains_key(rows::citizen(*slot))? {
                known.push(*slot);
            }
        }
        if !known.is_empty() {
            let persons: BTreeSet<CitizenId> = known.iter().map(|slot| self.vault.persons().first_of(CitizenId(*slot))).collect();
            self.erased_again += persons.len() as u64;
            self.erase_slots(&known)?;
        }
        let messages: Vec<u64> = self.vault.messages_under(&found)?;
        for id in messages {
            self.release_as(id, Condemned::MessageOf)?;
        }
        self.erased.set_seen(self.erased.len());
        self.group.put(rows::ERASED_TO, encode_count(self.erased.len()));
        self.commit(Durability::Flush)?;
        self.commit(Durability::Flush)
    }

    /// Returns where the list of erased slots is.
    #[must_use]
    pub fn erased_list(&self) -> &std::path::Path {
        self.erased.path()
    }

    /// Returns how many citizens opening has erased again, because the list of
    /// erased slots was ahead of the store.
    #[must_use]
    pub fn erased_again(&self) -> u64 {
        self.erased_again
    }
}

/// Returns how many entries of the list a store has seen.
pub(super) fn erased_to(vault: &Vault) -> Result<u64, StoreError> {
    let Some(row) = vault.tree.get(rows::ERASED_TO)? else { return Ok(0) };
    Ok(Input::versioned(&row, "how far the erased slots are known")?.u64()?)
}

fn encode_count(count: u64) -> Vec<u8> {
    let mut out = vec![1];
    out.extend_from_slice(&count.to_be_bytes());
    out
}
