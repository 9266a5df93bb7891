//! The port that the engine sees, on the store on disk.

use std::sync::Arc;

use crate::core::causes::{Cause, Tally};
use crate::core::citizen::{Citizen, RecordKind};
use crate::core::event::Event;
use crate::core::holds::{Held, Hold};
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient};
use crate::core::notices::Lying;
use crate::core::outbox::{Delivery, Ended};
use crate::core::persons::Joined;
use crate::core::records::{Admission, Change, Fate, Owners, Pruned, Quarantined, Records, RowCounts, Unclaimed};
use crate::core::replay::{Replay, ReplayId};
use crate::core::retention::Clocks;
use crate::core::stamp::Instant;
use crate::core::time::{Day, Moment};

use super::codec::{self, FinishRecord, Input, Output, Undecodable};
use super::disk::{Condemned, Store, index_key, indexed_seq};
use super::error::StoreError;
use super::group::{StagedRow, label_of};
use super::memory::untouched;
use super::rows::{self, Shelf};
use super::vault::{self, StateByte, Taken, unsealable};

impl Records for Store {
    type Error = StoreError;

    fn last_seq(&self) -> EventSeq {
        EventSeq(self.last_seq)
    }

    fn has_seen(&mut self, mark: &EventMark) -> Result<bool, StoreError> {
        let fingerprint = self.vault.keyring.events.of(mark.as_bytes());
        for key in self.index.find(&self.vault.tree, &fingerprint.to_be_bytes())? {
            let seq = indexed_seq(&key);
            let is_it = match self.group.admission(seq) {
                Some(admission) => admission.event.mark == *mark,
                None => match self.vault.admission(seq)? {
                    Some(Taken::Whole(admission)) => admission.event.mark == *mark,
                    // All that is left of it; two events in 2^64 share it.
                    Some(Taken::Erased { mark }) => mark == fingerprint,
                    // Removed from the journal, hence older than the horizon.
                    None => false,
                },
            };
            if is_it {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn find_citizen(&mut self, personnummer: &Personnummer) -> Result<Option<CitizenId>, StoreError> {
        let known = self.group.numbers.get(personnummer).copied().or_else(|| self.numbers.get(personnummer));
        let slot = match known {
            Some(slot) => Some(slot),
            None => self.vault.find_number(personnummer)?,
        };
        if let (None, Some(slot)) = (known, slot) {
            self.numbers.insert(*personnummer, slot);
        }
        Ok(slot.map(CitizenId))
    }

    fn record_owners(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Owners>, StoreError> {
        let slots = self.owners(&self.vault.keyring.record(kind, record))?;
        let Some((owner, former)) = slots.split_first() else { return Ok(None) };
        Ok(Some(Owners { owner: CitizenId(*owner), former: former.iter().copied().map(CitizenId).collect() }))
    }

    fn spent(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, StoreError> {
        self.spent_until(kind, record)
    }

    fn clock_owner(&mut self, entity: &str, record: &ExternalId) -> Result<Option<CitizenId>, StoreError> {
        Ok(self.clock_owner_of(&self.vault.keyring.kept_record(entity, record))?.map(CitizenId))
    }

    fn enroll(&mut self, personnummer: &Personnummer) -> Result<CitizenId, StoreError> {
        let enrolled = self.enroll_in_a_slot(personnummer);
        self.note_torn(enrolled)
    }

    fn citizen(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, StoreError> {
        if !self.vault.persons().is_joined(id) {
            return self.under_number(id);
        }
        let mut parts = Vec::new();
        for slot in self.vault.slots_of(id) {
            parts.extend(self.held(slot)?.and_then(|held| held.citizen.clone()));
        }
        Ok(Citizen::as_one(&parts))
    }

    fn under_number(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, StoreError> {
        Ok(self.held(id.0)?.and_then(|held| held.citizen.clone()))
    }

    fn partners(&self, id: CitizenId) -> Vec<CitizenId> {
        self.vault.persons().partners(id).collect()
    }

    fn joined(&self) -> Joined {
        self.vault.persons().joined()
    }

    fn waiting(&mut self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.reader().rows(Shelf::Waiting, recipient, after, limit)
    }

    fn delivery(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        match self.group.rows.get(&key) {
            Some(staged) => Ok(staged.now.clone()),
            None => self.vault.delivery(key),
        }
    }

    fn rows_of(&mut self, citizen: CitizenId) -> Result<Vec<DeliveryKey>, StoreError> {
        self.rows_under(&self.vault.slots_of(citizen))
    }

    fn unclaimed_of(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, StoreError> {
        self.unclaimed_of_person(citizen)
    }

    fn unclaimed(&mut self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, StoreError> {
        self.vault.unclaimed_page(after, limit)
    }

    fn fate(&mut self, key: DeliveryKey) -> Result<Option<Fate>, StoreError> {
        let has_row = match self.group.rows.get(&key) {
            Some(staged) => staged.now.is_some(),
            None => !self.open.contains(&key) && self.vault.label(key)?.is_some(),
        };
        if has_row || self.open.contains(&key) {
            return Ok(Some(Fate::Unfinished));
        }
        Ok(self.finished(key)?.map(|ended| Fate::Ended(ended.end)))
    }

    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        self.finished(key)
    }

    fn stopped(&mut self) -> Result<Option<EventSeq>, StoreError> {
        let Some(value) = self.vault.tree.get(rows::STOPPED)? else { return Ok(None) };
        let mut input = Input::versioned(&value, "the mark of an orderly stop")?;
        Ok(Some(EventSeq(input.u64()?)))
    }

    fn unfinished_in_journal(&mut self) -> Result<Vec<Delivery>, StoreError> {
        let mut open: Vec<DeliveryKey> = self.open.iter().copied().collect();
        open.sort_unstable_by_key(|key| key.seq);
        let mut found = Vec::new();
        for of_event in open.chunk_by(|one, next| one.seq == next.seq) {
            let Some(admission) = of_event.first().map(|key| self.admission(key.seq)).transpose()?.flatten() else { continue };
            let is_open = |recipient: &Recipient| of_event.iter().any(|key| key.recipient == *recipient);
            let deliveries = admission.deliveries.iter().filter(|(recipient, _)| is_open(recipient));
            found.extend(deliveries.map(|(recipient, because)| untouched(&admission, *recipient, because)));
        }
        Ok(found)
    }

    fn row_counts(&mut self) -> Result<Vec<(Recipient, RowCounts)>, StoreError> {
        Ok(self.counts.iter().map(|(recipient, counts)| (*recipient, *counts)).collect())
    }

    fn causes(&mut self) -> Result<Vec<(Cause, Tally)>, StoreError> {
        Ok(self.orders.causes.iter().map(|(cause, tally)| (cause.clone(), *tally)).collect())
    }

    fn holds(&mut self) -> Result<Vec<(Held, Hold)>, StoreError> {
        Ok(self.orders.holds.iter().map(|(held, hold)| (*held, hold.clone())).collect())
    }

    fn holders(&mut self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, StoreError> {
        self.holders_of(citizen, entity, record)
    }

    fn replays(&mut self) -> Result<Vec<Replay>, StoreError> {
        let vault = Arc::clone(&self.vault);
        vault
            .tree
            .scan_prefix(b"P")
            .map(|row| row.map_err(StoreError::from).and_then(|(key, row)| vault.unseal_replay(&key, &row)))
            .collect()
    }

    fn selected(&mut self, replay: ReplayId, chunk: u32) -> Result<Vec<DeliveryKey>, StoreError> {
        if let Some(staged) = self.group.selected.get(&(replay, chunk)) {
            return Ok(staged.clone().unwrap_or_default());
        }
        match self.vault.tree.get(rows::selected(replay.0, chunk))? {
            Some(row) => Ok(codec::decode_chunk(&row)?),
            None => Ok(Vec::new()),
        }
    }

    fn clocks(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, StoreError> {
        self.clocks_of_person(citizen)
    }

    fn clocks_next(&mut self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, StoreError> {
        self.vault.clocks_next(by, after, limit)
    }

    fn clocks_due(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, StoreError> {
        self.vault.clocks_due(after, limit)
    }

    fn clocks_page(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, StoreError> {
        self.vault.clocks_page(after, limit)
    }

    fn order_counts(&mut self) -> Result<Vec<(Day, u64)>, StoreError> {
        Ok(self.order_counts.iter().map(|(day, orders)| (*day, *orders)).collect())
    }

    fn indexed_by(&mut self) -> Result<Option<u64>, StoreError> {
        let row = self.vault.tree.get(rows::SCHEDULE)?;
        Ok(row.map(|row| Input::versioned(&row, "the fingerprint of a schedule")?.u64()).transpose()?)
    }

    fn notices(&mut self) -> Result<Vec<(Recipient, Day, Lying)>, StoreError> {
        let row = |row: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = row?;
            let (recipient, day) = rows::noticed(&key).ok_or(Undecodable { what: "the key of unfetched notices" })?;
            Ok((recipient, day, vault::lying(&value)?))
        };
        self.vault.tree.scan_prefix(b"Y").map(row).collect()
    }

    fn is_in_quarantine(&mut self, citizen: CitizenId, since: Moment) -> Result<bool, StoreError> {
        let mut numbers = Vec::new();
        for slot in self.vault.slots_of(citizen) {
            numbers.extend(self.held(slot)?.iter().flat_map(|held| &held.numbers).copied());
        }
        let keeps = |message: &Quarantined| {
            let digests = self.vault.digests_of(&message.about);
            let is_theirs = |digest| numbers.contains(digest);
            digests.iter().any(is_theirs) && (message.at >= since || !digests.iter().all(is_theirs))
        };
        if self.group.quarantine.values().flatten().any(keeps) {
            return Ok(true);
        }
        for digest in &numbers {
            for id in self.reader().quarantined_under(digest)? {
                // One that the group lets go, or has put there, has been looked at.
                let is_staged = self.group.quarantine.contains_key(&id);
                if !is_staged && self.reader().quarantined(id)?.as_ref().is_some_and(keeps) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn can_erase(&mut self) -> Result<bool, StoreError> {
        // Whatever keeps the list from being written is no trouble of the store's.
        Ok(self.prepare_erasure().is_ok())
    }

    fn next_quarantine_id(&mut self) -> u64 {
        self.given.next_quarantine
    }

    fn quarantined(&mut self, id: u64) -> Result<Option<Quarantined>, StoreError> {
        match self.group.quarantine.get(&id) {
            Some(staged) => Ok(staged.clone()),
            None => Ok(self.vault.quarantined(id)?.map(|(_, quarantined)| quarantined)),
        }
    }

    fn prune(&mut self, before: Moment, slice: usize) -> Result<Pruned, StoreError> {
        self.prune_rows(before, slice)
    }

    fn stage(&mut self, change: Change) -> Result<(), StoreError> {
        let staged = self.stage_one(change);
        self.note_torn(staged)
    }
}

impl Store {
    /// Remembers that something could not be staged: its group is not committed.
    fn note_torn<T>(&mut self, staged: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &staged {
            self.torn_by.get_or_insert_with(|| error.in_words());
        }
        staged
    }

    fn stage_one(&mut self, change: Change) -> Result<(), StoreError> {
        self.changes += 1;
        match change {
            Change::PutCitizen(citizen) => self.put_citizen(citizen),
            Change::OwnRecord { kind, record, owners } => {
                let hash = self.vault.keyring.record(kind, &record);
                self.put_owners(hash, std::iter::once(owners.owner).chain(owners.former).map(|citizen| citizen.0).collect());
                Ok(())
            }
            Change::Join { one, other } => {
                if self.vault.persons_mut().join(one, other) {
                    self.group.put(rows::joined(one, other), Vec::new());
                }
                Ok(())
            }
            Change::Part { one, other } => {
                if self.vault.persons_mut().part(one, other) {
                    self.group.remove(rows::joined(one, other));
                }
                Ok(())
            }
            Change::PutClocks(clocks) => self.put_clocks_of_person(clocks.citizen, Some(clocks)),
            Change::DropClocks(citizen) => self.put_clocks_of_person(citizen, None),
            Change::SetIndexed(fingerprint) => {
                let mut value = vec![1];
                value.u64(fingerprint);
                self.group.put(rows::SCHEDULE, value);
                Ok(())
            }
            Change::PutNotices { recipient, day, lying } => {
                let mut value = vec![1];
                value.u64(lying.notices);
                value.u32(lying.reminded);
                self.group.put(rows::notices(recipient, day), value);
                Ok(())
            }
            Change::DropNotices { recipient, day } => {
                self.group.remove(rows::notices(recipient, day));
                Ok(())
            }
            Change::PutSpent { kind, record, newest } => self.put_spent(kind, &record, newest),
            Change::NoteUnexpected(unexpected) => self.note_unexpected(&unexpected),
            Change::PutUnclaimed(unclaimed) => self.put_unclaimed(*unclaimed),
            Change::DropUnclaimed { citizen, key } => {
                self.drop_unclaimed(citizen, key);
                Ok(())
            }
            Change::Admit(admission) => self.admit(admission),
            Change::PutDelivery(delivery) => self.put_delivery(delivery),
            Change::Finish { key, citizen, event, had_row, end, attempts, may_hold, at } => {
                let ended = Ended { end, attempts, at, failures: Vec::new(), replays: 0, delivered_before: None };
                self.finish(key, citizen, &event, had_row, may_hold, ended)
            }
            Change::Stopped(to) => {
                let mut value = vec![1];
                value.u64(to.0);
                self.group.put(rows::STOPPED, value);
                Ok(())
            }
            Change::Started => {
                self.group.remove(rows::STOPPED);
                Ok(())
            }
            Change::MoveHolders { entity, record, from, to, former, at } => self.move_holders(&entity, &record, from, to, former, at),
            Change::Trace { key, citizen, id, at, step } => self.put_step(key, citizen, id, at, &step),
            Change::TraceEvent { seq, citizen, at, step } => self.put_event_step(seq, citizen, at, &step),
            Change::Audit { at, deed } => self.put_audit(at, deed),
            Change::Erase(citizen) => self.stage_erasure(citizen),
            Change::SetLowWater(seq) => {
                self.given_changed |= self.given.low_water != seq.0;
                self.given.low_water = seq.0;
                Ok(())
            }
            Change::PutReplay(replay) => self.put_replay(&replay),
            Change::PutSelected { replay, chunk, keys } => {
                let mut value = Vec::with_capacity(1 + 10 * keys.len());
                codec::encode_chunk(&keys, &mut value);
                self.group.put(rows::selected(replay.0, chunk), value);
                self.group.selected.insert((replay, chunk), Some(keys));
                Ok(())
            }
            Change::DropSelected { replay, chunk } => {
                self.group.remove(rows::selected(replay.0, chunk));
                self.group.selected.insert((replay, chunk), None);
                Ok(())
            }
            Change::DropReplay(replay) => self.drop_replay(replay),
            Change::PutHold(held, hold) => self.put_hold(held, hold),
            Change::ForgetHold(held) => {
                self.forget_hold(held);
                Ok(())
            }
            Change::Quarantine(quarantined) => self.quarantine(quarantined),
            Change::Release(id) => self.release(id),
        }
    }

    fn enroll_in_a_slot(&mut self, personnummer: &Personnummer) -> Result<CitizenId, StoreError> {
        let id = CitizenId(self.take_slot()?);
        self.assign(personnummer, id)?;
        self.put_citizen(Arc::new(Citizen::new(id, *personnummer)))?;
        Ok(id)
    }

    fn take_slot(&mut self) -> Result<u32, StoreError> {
        let slot = self.given.next_slot;
        let next = slot.checked_add(1).ok_or(StoreError::Exhausted)?;
        // Before anything says that it is given: a store that has given more slots than
        // there are keys for does not open.
        self.vault.keyring.provide(slot).map_err(StoreError::Keys)?;
        self.given.next_slot = next;
        self.given_changed = true;
        Ok(slot)
    }

    /// Returns what is known of a slot, whatever it has become.
    pub(super) fn held(&mut self, slot: u32) -> Result<Option<Arc<vault::Held>>, StoreError> {
        if let Some(staged) = self.group.citizens.get(&slot) {
            return Ok(staged.clone());
        }
        if let Some(held) = self.citizens.get(&slot) {
            return Ok(Some(held));
        }
        let bytes = match self.packed_citizens.get(&slot) {
            Some(bytes) => bytes,
            None => {
                let Some(bytes) = self.vault.held_bytes(slot)? else { return Ok(None) };
                let bytes = Arc::from(bytes);
                self.packed_citizens.insert(slot, Arc::clone(&bytes));
                bytes
            }
        };
        let held = Arc::new(vault::Held::decode(slot, &bytes)?);
        self.citizens.insert(slot, Arc::clone(&held));
        Ok(Some(held))
    }

    fn put_citizen(&mut self, citizen: Arc<Citizen>) -> Result<(), StoreError> {
        let slot = citizen.id.0;
        let numbers = self.held(slot)?.map(|held| held.numbers.clone()).unwrap_or_default();
        self.group.citizens.insert(slot, Some(Arc::new(vault::Held { citizen: Some(citizen), numbers })));
        Ok(())
    }

    fn assign(&mut self, personnummer: &Personnummer, citizen: CitizenId) -> Result<(), StoreError> {
        let hash = self.vault.keyring.number(personnummer);
        let mut held =
            self.held(citizen.0)?.map_or_else(|| vault::Held { citizen: None, numbers: Vec::new() }, |held| vault::Held::clone(&held));
        if !held.numbers.contains(&hash) {
            held.numbers.push(hash);
            self.group.citizens.insert(citizen.0, Some(Arc::new(held)));
        }
        self.group.numbers.insert(*personnummer, citizen.0);
        self.numbers.insert(*personnummer, citizen.0);
        // The number may be somebody else's until now, under the former secret too.
        for place in self.vault.keyring.numbering.places(&hash) {
            self.group.remove(rows::number(&place));
        }
        self.group.put(rows::number(&self.vault.keyring.numbering.place(&hash)), citizen.0.to_be_bytes().to_vec());
        Ok(())
    }

    fn admit(&mut self, admission: Arc<Admission>) -> Result<(), StoreError> {
        let seq = admission.seq;
        let fingerprints = &self.vault.keyring.events;
        let mark = fingerprints.of(admission.event.mark.as_bytes());
        let wsb_id = |recipient| fingerprints.of(admission.event.mark.wsb_id(recipient).as_bytes());
        let mut wsb_ids: Vec<u64> = admission.deliveries.iter().map(|(recipient, _)| wsb_id(*recipient)).collect();
        // People ask by the event's id alone, which is also what vendors see.
        wsb_ids.push(fingerprints.of(admission.event.id.as_bytes()));
        if admission.event.ends_record() {
            // A replay asks whether what it is about has been deleted since.
            wsb_ids.push(self.vault.ended_record(admission.citizen.0, &admission.event.external_id)?);
        }
        for fingerprint in wsb_ids.iter().chain([&mark]) {
            self.index.insert(index_key(*fingerprint, seq.0));
        }
        self.open.extend(admission.deliveries.iter().map(|(recipient, _)| DeliveryKey { recipient: *recipient, seq }));
        self.last_seq = self.last_seq.max(seq.0);
        self.group.admit(&self.vault, &mut self.sealer, admission, mark, wsb_ids)
    }

    fn put_delivery(&mut self, delivery: Delivery) -> Result<(), StoreError> {
        let key = delivery.key;
        let never_had_one = self.open.remove(&key);
        let now = label_of(&delivery).state;
        let staged = self.group.rows.get(&key).map(|staged| staged.now.clone());
        let known = match staged {
            Some(known) => {
                self.count_causes(known.as_ref(), Some(&delivery));
                if let Some(staged) = self.group.rows.get_mut(&key) {
                    staged.now = Some(delivery);
                }
                known.map(|known| label_of(&known).state)
            }
            None => {
                let before = if never_had_one { None } else { self.vault.label(key)? };
                // A dead one that is to be sent again; rare enough to be read.
                let dead = match before {
                    Some(before) if before.state == StateByte::Dead => self.vault.delivery(key)?,
                    Some(_) | None => None,
                };
                self.count_causes(dead.as_ref(), Some(&delivery));
                self.group.rows.insert(key, StagedRow { before, now: Some(delivery) });
                before.map(|before| before.state)
            }
        };
        self.count(key.recipient, known, Some(now));
        Ok(())
    }

    /// Takes a delivery's row away and returns what it was.
    pub(super) fn take_row(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        let taken = match self.group.rows.get_mut(&key) {
            Some(staged) => staged.now.take(),
            None => {
                let Some(before) = self.vault.label(key)? else { return Ok(None) };
                let taken = self.vault.delivery(key)?;
                self.group.rows.insert(key, StagedRow { before: Some(before), now: None });
                self.count(key.recipient, Some(before.state), None);
                self.count_causes(taken.as_ref(), None);
                return Ok(taken);
            }
        };
        self.count_causes(taken.as_ref(), None);
        if let Some(taken) = &taken {
            self.count(key.recipient, Some(label_of(taken).state), None);
        }
        Ok(taken)
    }

    fn finish(
        &mut self,
        key: DeliveryKey,
        citizen: CitizenId,
        event: &Event,
        had_row: bool,
        may_hold: bool,
        mut ended: Ended,
    ) -> Result<(), StoreError> {
        // One that ends for the second time, withdrawn while under way and
        // confirmed after that, needs a row to say so: packed finishes are
        // searched for the first that is about it.
        let ended_before = !self.open.remove(&key) && !had_row;
        if had_row || ended_before {
            if let Some(row) = self.take_row(key)? {
                ended = Ended { failures: row.failures, replays: row.replays, delivered_before: row.delivered_before, ..ended };
            } else if let Some(former) = self.finished(key)? {
                let Ended { failures, replays, delivered_before, .. } = former;
                ended = Ended { failures, replays, delivered_before, ..ended };
            }
            let row_key = rows::ended(key);
            let mut value = vec![1];
            value.u32(citizen.0);
            let seal_key = self.vault.key(citizen.0)?.seal;
            let sealed = self.sealer.seal(&seal_key, row_key.as_ref(), &mut value, |out| codec::encode_ended(&ended, out));
            sealed.map_err(|_| unsealable(row_key.as_ref()))?;
            self.group.put(row_key, value);
        }
        let ledger = self.enter(key.recipient, citizen, event, ended.end, may_hold)?;
        self.group.finish(&FinishRecord { key, end: ended.end, attempts: ended.attempts, at: ended.at, had_row, ledger });
        self.group.finished.insert(key, ended);
        Ok(())
    }

    fn put_replay(&mut self, replay: &Replay) -> Result<(), StoreError> {
        let key = rows::replay(replay.id.0);
        let mut value = vec![1];
        let sealed = self.sealer.seal(&self.vault.keyring.store, key.as_ref(), &mut value, |out| codec::encode_replay(replay, out));
        sealed.map_err(|_| unsealable(key.as_ref()))?;
        self.group.put(key, value);
        Ok(())
    }

    /// Takes a replay away with everything it had selected, what the group has
    /// staged of that included.
    fn drop_replay(&mut self, replay: ReplayId) -> Result<(), StoreError> {
        self.group.remove(rows::replay(replay.0));
        for key in self.vault.tree.scan_prefix(rows::all_selected(replay.0)).keys() {
            self.group.remove(key?);
        }
        let staged: Vec<u32> = self.group.selected.range((replay, 0)..=(replay, u32::MAX)).map(|((_, chunk), _)| *chunk).collect();
        for chunk in staged {
            self.group.remove(rows::selected(replay.0, chunk));
            self.group.selected.insert((replay, chunk), None);
        }
        Ok(())
    }

    pub(super) fn quarantine(&mut self, quarantined: Quarantined) -> Result<(), StoreError> {
        let slot = self.take_slot()?;
        let key = rows::quarantined(quarantined.id);
        // It may be a large one: a vector that doubles would take twice as much.
        let mut value = Vec::with_capacity(quarantined.body.len() + rows::PIECE);
        value.push(1);
        value.u32(slot);
        let seal_key = self.vault.key(slot)?.seal;
        let sealed = self.sealer.seal(&seal_key, key.as_ref(), &mut value, |out| codec::encode_quarantined(&quarantined, out));
        sealed.map_err(|_| unsealable(key.as_ref()))?;
        let mut pieces = value.chunks(rows::PIECE);
        self.group.put(key, pieces.next().unwrap_or_default().to_vec());
        for (at, piece) in (1..).zip(pieces) {
            self.group.put(rows::quarantined_piece(quarantined.id, at), piece.to_vec());
        }
        for digest in self.vault.digests_of(&quarantined.about) {
            let place = self.vault.keyring.numbering.place(&digest);
            self.group.put(rows::quarantined_about(&place, quarantined.id), Vec::new());
        }
        self.given.next_quarantine = self.given.next_quarantine.max(quarantined.id + 1);
        self.given_changed = true;
        self.group.quarantine.insert(quarantined.id, Some(quarantined));
        Ok(())
    }

    fn release(&mut self, id: u64) -> Result<(), StoreError> {
        self.release_as(id, Condemned::Message)
    }

    /// Returns a message in quarantine, as the group sees it.
    pub(super) fn quarantined_now(&mut self, id: u64) -> Result<Option<Quarantined>, StoreError> {
        self.quarantined(id)
    }

    pub(super) fn release_as(&mut self, id: u64, condemned: impl Fn(u32) -> Condemned) -> Result<(), StoreError> {
        let Some(quarantined) = self.quarantined(id)? else { return Ok(()) };
        // Its key goes too: what sled keeps of the row in its files is noise then.
        if let Some((slot, _)) = self.vault.quarantined(id)? {
            self.condemn(condemned(slot));
        }
        self.group.remove(rows::quarantined(id));
        // One more than there can be, for what is sealed beside the body.
        for piece in 1..=(quarantined.body.len() + rows::PIECE) / rows::PIECE {
            self.group.remove(rows::quarantined_piece(id, piece as u32));
        }
        for digest in self.vault.digests_of(&quarantined.about) {
            for place in self.vault.keyring.numbering.places(&digest) {
                self.group.remove(rows::quarantined_about(&place, id));
            }
        }
        self.group.quarantine.insert(id, None);
        Ok(())
    }

    /// Marks a slot to be overwritten after the next flush.
    pub(super) fn condemn(&mut self, condemned: Condemned) {
        self.group.put(rows::erased(condemned.slot()), condemned.encode());
        self.condemned.push(condemned);
    }
}
