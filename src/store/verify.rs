//! The whole store checked: every row can be read and unsealed, and rows that
//! refer to one another agree. Reads everything and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::audit::Soundness;
use crate::core::ids::{CitizenId, ExternalId};
use crate::core::invariants;
use crate::core::outbox::Delivery;
use crate::core::retention::Clocks;
use crate::core::time::Day;

use super::clock_owners;
use super::codec::{Input, Undecodable};
use super::disk::{Store, index_key};
use super::error::StoreError;
use super::journal;
use super::rows::{self, Shelf};
use super::vault::{Taken, Vault, label, owners_in, unsealable};

/// How much was checked, and how much of it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct Verified {
    /// Rows of the store.
    pub rows: u64,
    /// What is broken.
    pub breaches: u64,
}

/// What one row may turn out to be.
type Checked = Result<(), Fault>;

/// A row that is not what it should be, or a store that cannot be read at all.
enum Fault {
    Breach(String),
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unsealable { .. } | StoreError::Damaged(_) | StoreError::Contradiction(_) => Self::Breach(error.in_words()),
            StoreError::Full
            | StoreError::Sled(_)
            | StoreError::Keys(_)
            | StoreError::Witness(_)
            | StoreError::Erased(_)
            | StoreError::Exhausted => Self::Store(error),
        }
    }
}

impl From<Undecodable> for Fault {
    fn from(error: Undecodable) -> Self {
        Self::Breach(error.to_string())
    }
}

impl From<sled::Error> for Fault {
    fn from(error: sled::Error) -> Self {
        Self::Store(error.into())
    }
}

fn demand(holds: bool, why: &str) -> Checked {
    if holds { Ok(()) } else { Err(Fault::Breach(why.to_owned())) }
}

impl Store {
    /// Checks the whole store, between groups; `tell` hears of everything that is
    /// broken, in words without personal data, and of how many rows have been
    /// looked at.
    ///
    /// # Errors
    /// When the store cannot be read at all.
    pub fn verify(&mut self, mut tell: impl FnMut(&str), mut progress: impl FnMut(u64)) -> Result<Verified, StoreError> {
        let vault = Arc::clone(&self.vault);
        let mut verified = Verified::default();
        let mut orders = OrderTally::default();
        for row in vault.tree.iter() {
            let (key, value) = row?;
            verified.rows += 1;
            if verified.rows.is_multiple_of(10_000) {
                progress(verified.rows);
            }
            match self.check_row(&vault, &key, &value).and_then(|()| orders.look(&vault, &key, &value)) {
                Ok(()) => {}
                Err(Fault::Store(error)) => return Err(error),
                Err(Fault::Breach(why)) => {
                    verified.breaches += 1;
                    tell(&format!("{}: {why}", named(&key)));
                }
            }
        }
        for day in orders.differing() {
            verified.breaches += 1;
            tell(&format!("deletion orders first given on {day}: the count of those that are not answered is wrong"));
        }
        let sets = [
            ("i", self.index.check(&vault.tree)?),
            ("l", self.ledger.check(&vault.tree)?),
            ("o", self.clock_owners.check(&vault.tree)?),
            ("x", self.citizen_rows.check(&vault.tree)?),
        ];
        for (set, found) in sets {
            for why in found {
                verified.breaches += 1;
                tell(&format!("set {set}: {why}"));
            }
        }
        for _ in 0..self.count_misled(&vault)? {
            verified.breaches += 1;
            tell("set o: leads to a citizen who has no such record: an erasure would miss it");
        }
        for _ in 0..self.count_astray(&vault)? {
            verified.breaches += 1;
            tell("set x: leads to no delivery of the citizen's");
        }
        match self.verify_audit() {
            Ok(Soundness::Sound { .. }) => {}
            Ok(Soundness::Broken { at }) => {
                verified.breaches += 1;
                tell(&format!("audit log: something was changed, left out or put in at entry {at}"));
            }
            // Said already, by the row.
            Err(StoreError::Unsealable { .. } | StoreError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        let broken = match invariants::broken(self, deliveries(&vault)) {
            Ok(broken) => broken,
            // Said already, by the row.
            Err(StoreError::Unsealable { .. } | StoreError::Damaged(_)) => Vec::new(),
            Err(error) => return Err(error),
        };
        for broken in broken {
            verified.breaches += 1;
            tell(&broken.to_string());
        }
        Ok(verified)
    }

    /// Returns of how many records with clocks the owner has no clock.
    fn count_misled(&self, vault: &Vault) -> Result<usize, StoreError> {
        let mut misled = BTreeSet::new();
        self.clock_owners.each(&vault.tree, |found_by, slot| {
            let is_it = |(entity, record, _): (&Arc<str>, &ExternalId, bool)| {
                clock_owners::fingerprint(&vault.keyring.kept_record(entity, record)) == found_by
            };
            match vault.clocks(slot) {
                Ok(clocks) if clocks.as_ref().is_some_and(|clocks| clocks.kept().any(is_it)) => {}
                Ok(_) => drop(misled.insert(found_by)),
                // Said already, by the row.
                Err(StoreError::Unsealable { .. } | StoreError::Damaged(_)) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        })?;
        Ok(misled.len())
    }

    /// Returns how many deliveries are noted for a citizen, and are none of theirs.
    fn count_astray(&self, vault: &Vault) -> Result<usize, StoreError> {
        let mut astray = BTreeSet::new();
        self.citizen_rows.each(&vault.tree, |slot, of| {
            if vault.label(of)?.is_none_or(|label| label.slot != slot) {
                astray.insert((slot, of));
            }
            Ok(())
        })?;
        Ok(astray.len())
    }

    fn check_row(&self, vault: &Vault, key: &[u8], value: &[u8]) -> Checked {
        let slot = || rows::first_citizen(key).map(|slot| slot.0).ok_or(Undecodable { what: "the key of a row" });
        match key.first() {
            // The store itself: checked when it was opened.
            Some(b'm') => Ok(()),
            Some(b'N') => {
                let slot = Input::new(value, "the owner of a number").u32()?;
                demand(self.is_given(slot), "leads to a citizen that there never was")?;
                let known = vault.held(slot)?.is_some_and(|held| {
                    let places = held.numbers.iter().flat_map(|number| vault.keyring.numbering.places(number));
                    places.into_iter().any(|place| rows::number(&place).as_ref() == key)
                });
                demand(known, "the citizen does not know this number: an erasure would miss it")
            }
            Some(b'I') => {
                let is_it = |hash: [u8; 16]| rows::owner(&hash).as_ref() == key;
                for slot in owners_in(value)? {
                    let known = vault
                        .held(slot)?
                        .and_then(|held| held.citizen)
                        .is_some_and(|citizen| citizen.owned_records().any(|(kind, record)| is_it(vault.keyring.record(kind, record))));
                    let clocks = if known { None } else { vault.clocks(slot)? };
                    let kept = clocks
                        .is_some_and(|clocks| clocks.kept().any(|(entity, record, _)| is_it(vault.keyring.kept_record(entity, record))));
                    demand(known || kept, "the citizen has no such record: an erasure would miss it")?;
                }
                Ok(())
            }
            Some(b'C') => {
                let slot = slot()?;
                demand(self.is_given(slot), "a citizen that there never was")?;
                demand(!vault.tree.contains_key(rows::erased(slot))?, "is kept though the citizen was erased")?;
                let held = vault.held(slot)?;
                for number in held.iter().flat_map(|held| &held.numbers) {
                    let mut owner = None;
                    for place in vault.keyring.numbering.places(number) {
                        if let Some(row) = vault.tree.get(rows::number(&place))? {
                            owner = Some(Input::new(&row, "the owner of a number").u32()?);
                        }
                    }
                    demand(owner == Some(slot), "a number of the citizen's does not lead to the citizen")?;
                }
                Ok(())
            }
            Some(b'M') => {
                let (one, other) = rows::joined_two(key).ok_or(Undecodable { what: "the key of two joined citizens" })?;
                let leads_to = |from: CitizenId, to: CitizenId| -> Result<bool, StoreError> {
                    let known = vault.held(from.0)?.and_then(|held| held.citizen);
                    Ok(known.is_some_and(|citizen| citizen.renumbered_to().any(|new| new == to)))
                };
                demand(leads_to(one, other)? || leads_to(other, one)?, "joins two whom no change of number joins")
            }
            Some(b'E') => {
                let slot = slot()?;
                demand(self.is_given(slot), "a citizen that there never was")?;
                demand(!vault.tree.contains_key(rows::citizen(slot))?, "the citizen was erased, and is kept")
            }
            Some(b'J') => self.check_journal(vault, key, value),
            Some(b'S') => {
                let sealed = Input::versioned(value, "finished deliveries")?;
                let bytes = vault.keyring.store.open(key, sealed.rest()).map_err(|_| unsealable(key))?;
                super::codec::decode_finishes(&bytes)?;
                Ok(())
            }
            Some(b'W' | b'D') => {
                let (label, _) = label(value)?;
                let of = rows::delivery_key(key).ok_or(Undecodable { what: "the key of a delivery" })?;
                demand(key[0] == label.state.shelf().letter(), "is among the wrong ones")?;
                demand(self.rows_under(&[label.slot])?.contains(&of), "is not found by its citizen: an erasure would miss it")?;
                demand(vault.unseal_delivery(key, value)?.is_some(), "the citizen was erased, and it is kept")
            }
            Some(b'X') => {
                let (slot, of) = (slot()?, rows::delivery_key(key).ok_or(Undecodable { what: "the key of a citizen's delivery" })?);
                let label = vault.label(of)?;
                demand(label.is_some_and(|label| label.slot == slot), "leads to no delivery of the citizen's")
            }
            Some(b'F') => {
                let mut input = Input::versioned(value, "a finished delivery")?;
                let slot = input.u32()?;
                if let Some(bytes) = vault.unseal(slot, key, input.rest())? {
                    super::codec::decode_ended(&bytes)?;
                }
                Ok(())
            }
            Some(b'T') => {
                let slot = slot()?;
                demand(!vault.tree.contains_key(rows::erased(slot))?, "is kept though the citizen was erased")?;
                let Some(clocks) = vault.clocks(slot)? else { return demand(false, "its key is gone, and it is kept") };
                let is_indexed = clocks.next.is_none_or(|day| vault.tree.contains_key(rows::look(day, slot)).unwrap_or(false));
                demand(is_indexed, "has no row of the day on which to look: what is due would not be found")?;
                for (entity, record, _) in
                    clocks.kept().filter(|(_, record, is_there)| clocks.is_current && *is_there && record.names_one_record())
                {
                    let owner = self.clock_owner_of(&vault.keyring.kept_record(entity, record))?;
                    demand(owner == Some(slot), "has a record that is not found by itself: a correction would miss it")?;
                }
                let is_listed = clocks.has_due == vault.tree.contains_key(rows::has_due(slot))?;
                demand(is_listed, "and the row of what is due contradict one another")
            }
            Some(b'u') => demand(vault.clocks(slot()?)?.is_some_and(|clocks| clocks.has_due), "leads to nothing that is due"),
            Some(b'U') => {
                let (day, citizen) = rows::looked_up(key).ok_or(Undecodable { what: "the key of a day to look at" })?;
                let clocks = vault.clocks(citizen.0)?;
                demand(clocks.is_some_and(|clocks| clocks.next == Some(day)), "leads to no clocks of that day")
            }
            Some(b'O') => {
                demand(key.get(1..).and_then(rows::day_of).is_some(), "is of no day")?;
                Ok(Input::versioned(value, "a count of deletion orders")?.u64().map(drop)?)
            }
            Some(b'y') => vault.unseal_unexpected(key, value).map(drop).map_err(Fault::from),
            Some(b'Y') => {
                demand(rows::noticed(key).is_some(), "is of no recipient, or of no day")?;
                let lying = super::vault::lying(value)?;
                demand(lying.notices > 0, "says that nothing lies there")
            }
            Some(b'z') => {
                let hash = rows::spent_record(key).ok_or(Undecodable { what: "the key of a record of somebody forgotten" })?;
                let noted = vault.tree.get(rows::spent(&hash))?.map(|row| super::spent::decode(&row)).transpose()?;
                let (_, seq) = noted.ok_or(Undecodable { what: "a record of somebody forgotten" })?;
                demand(vault.tree.contains_key(rows::spent_at(seq, &hash))?, "would never go: nothing says when it was noted")
            }
            Some(b'w') => demand(vault.unseal_unclaimed(key, value)?.is_some(), "the citizen was erased, and it is kept"),
            Some(b'Q') => {
                let id = rows::first_u64(key).ok_or(Undecodable { what: "the key of a message in quarantine" })?;
                let found = vault.unseal_quarantined(id, key, value)?;
                demand(found.is_some(), "its key is gone, and it is kept")?;
                for digest in found.iter().flat_map(|(_, message)| vault.digests_of(&message.about)) {
                    let mut is_found = false;
                    for place in vault.keyring.numbering.places(&digest) {
                        is_found |= vault.tree.contains_key(rows::quarantined_about(&place, id))?;
                    }
                    demand(is_found, "is not found by a number in it: an erasure would miss it")?;
                }
                Ok(())
            }
            Some(b'q') => {
                let id = rows::first_u64(key).ok_or(Undecodable { what: "the key of a piece of a message in quarantine" })?;
                demand(vault.tree.contains_key(rows::quarantined(id))?, "is a piece of no message")
            }
            Some(b'K') => {
                let id = rows::last_u64(key).ok_or(Undecodable { what: "the key of a message in quarantine" })?;
                demand(vault.tree.contains_key(rows::quarantined(id))?, "leads to no message")
            }
            Some(b'A') => {
                let seq = rows::first_u64(key).ok_or(Undecodable { what: "the key of an entry of the audit log" })?;
                let entry = self.read_audit(seq, key, value)?;
                demand(entry.seq <= self.audit_log()?.newest, "an entry after the newest")
            }
            Some(b'V' | b'L') => super::orders::check_hold(vault, key, value).map_err(Fault::from),
            Some(b'G') => super::orders::check_cause(key, value).map_err(Fault::from),
            Some(b'P') => vault.unseal_replay(key, value).map(drop).map_err(Fault::from),
            Some(b'p') => {
                super::codec::decode_chunk(value)?;
                let of = rows::first_u64(key).ok_or(Undecodable { what: "the key of what a replay selected" })?;
                demand(vault.tree.contains_key(rows::replay(of))?, "was selected by a replay that there is not")
            }
            Some(b't') if key.get(1) == Some(&b's') => vault.read_step(key, value).map(drop).map_err(Fault::from),
            // Of runs, checked by themselves; and of whatever keeps its own rows.
            Some(_) => Ok(()),
            None => Err(Fault::Breach("a row without a key".to_owned())),
        }
    }

    fn check_journal(&self, vault: &Vault, key: &[u8], value: &[u8]) -> Checked {
        let first = rows::first_u64(key).ok_or(Undecodable { what: "the key of a row of the journal" })?;
        let mut last = first.saturating_sub(1);
        for entry in journal::entries(first, value) {
            let entry = entry?;
            demand(entry.seq > last, "events are not in order")?;
            last = entry.seq;
            demand(self.is_given(entry.slot), "an event about a citizen that there never was")?;
            if let Taken::Whole(admission) = vault.taken(&entry)? {
                let events = &vault.keyring.events;
                demand(entry.mark == events.of(admission.event.mark.as_bytes()), "the fingerprint of an event is another one's")?;
                let told = admission.deliveries.iter().map(|(recipient, _)| *recipient);
                let ids = told.map(|recipient| events.of(admission.event.mark.wsb_id(recipient).as_bytes()));
                let mut ids: Vec<u64> = ids.chain([events.of(admission.event.id.as_bytes())]).collect();
                if admission.event.ends_record() {
                    ids.push(vault.ended_record(entry.slot, &admission.event.external_id)?);
                }
                demand(entry.wsb_ids == ids, "the fingerprint of a WSB is another one's")?;
            }
            for fingerprint in entry.wsb_ids.iter().chain([&entry.mark]) {
                let found = self.index.find(&vault.tree, &fingerprint.to_be_bytes())?;
                demand(found.contains(&index_key(*fingerprint, entry.seq)), "an event is not found by its fingerprint")?;
            }
        }
        demand(last <= self.last_seq, "an event after the newest")
    }

    fn is_given(&self, slot: u32) -> bool {
        (1..self.given.next_slot).contains(&slot)
    }
}

/// Unanswered deletion orders by the day on which they were first given: as the
/// clocks have them, and as they are counted.
#[derive(Debug, Default)]
struct OrderTally {
    given: BTreeMap<Day, u64>,
    counted: BTreeMap<Day, u64>,
}

impl OrderTally {
    fn look(&mut self, vault: &Vault, key: &[u8], value: &[u8]) -> Checked {
        match key.split_first() {
            // All pages of a citizen's clocks are read with the first.
            Some((b'T', [a, b, c, d, 0, 0])) => {
                let clocks = vault.clocks(u32::from_be_bytes([*a, *b, *c, *d]))?;
                for day in clocks.iter().flat_map(Clocks::ordered_on) {
                    *self.given.entry(day).or_default() += 1;
                }
            }
            Some((b'O', day)) => {
                let orders = Input::versioned(value, "a count of deletion orders")?.u64()?;
                self.counted.extend(rows::day_of(day).map(|day| (day, orders)));
            }
            _ => {}
        }
        Ok(())
    }

    fn differing(&self) -> Vec<Day> {
        let days: BTreeSet<Day> = self.given.keys().chain(self.counted.keys()).copied().collect();
        days.into_iter().filter(|day| self.given.get(day) != self.counted.get(day)).collect()
    }
}

/// Returns every delivery that has a row and can be read; what cannot has been
/// told of.
fn deliveries(vault: &Vault) -> impl Iterator<Item = Delivery> {
    let of = |shelf: Shelf| vault.tree.scan_prefix([shelf.letter()]);
    let rows = of(Shelf::Waiting).chain(of(Shelf::Dead)).filter_map(Result::ok);
    rows.filter_map(|(key, value)| vault.unseal_delivery(&key, &value).ok().flatten())
}

/// Names a row by its letter and numbers, which say nothing of anybody.
fn named(key: &[u8]) -> String {
    let letter = key.first().map_or('?', |letter| char::from(*letter));
    // Behind these stands a hash of a number: not even that is shown.
    if matches!(letter, 'N' | 'K') {
        return format!("a row {letter}");
    }
    let numbers: String = key.iter().skip(1).map(|byte| format!("{byte:02x}")).collect();
    format!("row {letter} {numbers}")
}
