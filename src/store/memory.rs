//! The store in memory, for the simulator and as the model that the sled store
//! is tested against. Plain on purpose: one map per question.
//!
//! Holds three states, one behind the other: what the current group sees, what
//! has been committed, and what would survive a crash.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::Arc;

use crate::core::about::About;
use crate::core::audit::{Entry, Extent, Order};
use crate::core::causes::{Cause, Causes, Tally};
use crate::core::citizen::{Citizen, RecordKind};
use crate::core::event::Content;
use crate::core::holds::{Held, Hold};
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient, WsbId};
use crate::core::notices::Lying;
use crate::core::outbox::{Because, Delivery, End, Ended, State};
use crate::core::persons::{Joined, Persons};
use crate::core::records::{Admission, Change, Fate, Former, Owners, Pruned, Quarantined, Records, RowCounts, Unclaimed};
use crate::core::replay::{Replay, ReplayId};
use crate::core::retention::{Clocks, MOST_UNEXPECTED, Unexpected};
use crate::core::stamp::Instant;
use crate::core::time::{Day, Moment};
use crate::core::trace::{Step, Traced};

use super::durability::Durability;
use super::owners::{Claim, claims, gone};

/// A store that lives as long as the process. Clones are cheap, and apart from
/// then on.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    /// What the current group sees.
    working: Arc<Contents>,
    /// Without the current group.
    committed: Arc<Contents>,
    /// Without what has been committed since the last flush.
    durable: Arc<Contents>,
    /// The current group.
    staged: Vec<Staged>,
    /// Committed since the last flush.
    unflushed: Vec<Staged>,
}

/// A change, or the one other thing that a group can hold.
#[derive(Debug, Clone)]
enum Staged {
    Change(Change),
    Enroll(Personnummer),
    /// What is older than this, and how much of it at the most.
    Prune(Moment, usize),
}

#[derive(Debug, Clone)]
struct AuditLog {
    extent: Extent,
    entries: BTreeMap<u64, Entry>,
}

impl Default for AuditLog {
    fn default() -> Self {
        Self { extent: Extent::EMPTY, entries: BTreeMap::new() }
    }
}

/// A record by its EntitetNavn and EksternIdentifier.
type RecordName = (Arc<str>, ExternalId);

#[derive(Debug, Clone, Default)]
struct Contents {
    last_seq: u64,
    low_water: u64,
    stopped: Option<EventSeq>,
    last_citizen: u32,
    last_quarantine: u64,
    citizens: BTreeMap<CitizenId, Arc<Citizen>>,
    persons: Persons,
    unclaimed: BTreeMap<(CitizenId, DeliveryKey), Unclaimed>,
    numbers: BTreeMap<Personnummer, CitizenId>,
    owners: BTreeMap<(RecordKind, ExternalId), Owners>,
    marks: HashMap<EventMark, EventSeq>,
    wsb_ids: HashMap<WsbId, DeliveryKey>,
    journal: BTreeMap<EventSeq, Arc<Admission>>,
    open: BTreeSet<(EventSeq, Recipient)>,
    rows: BTreeMap<DeliveryKey, Arc<Delivery>>,
    rows_by_citizen: BTreeSet<(CitizenId, DeliveryKey)>,
    finished: BTreeMap<DeliveryKey, Ended>,
    causes: Causes,
    holds: BTreeMap<Held, Hold>,
    ledger: BTreeSet<(CitizenId, RecordName, Recipient)>,
    quarantine: BTreeMap<u64, Quarantined>,
    /// The WSBs about erased citizens.
    erased_ids: BTreeSet<WsbId>,
    replays: BTreeMap<ReplayId, Arc<Replay>>,
    selected: BTreeMap<(ReplayId, u32), Arc<[DeliveryKey]>>,
    steps: BTreeMap<(EventSeq, Moment, u8, Option<Recipient>), Step>,
    audit: AuditLog,
    clocks: BTreeMap<CitizenId, Arc<Clocks>>,
    clock_owners: BTreeMap<RecordName, CitizenId>,
    indexed_by: Option<u64>,
    notices: BTreeMap<(Recipient, Day), Lying>,
    unexpected: BTreeMap<EventSeq, Arc<Unexpected>>,
    /// With the event that was the newest then.
    spent: BTreeMap<(RecordKind, ExternalId), (Instant, EventSeq)>,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Commits what has been staged.
    pub fn commit(&mut self, durability: Durability) {
        let group = std::mem::take(&mut self.staged);
        let committed = Arc::make_mut(&mut self.committed);
        for staged in &group {
            committed.apply(staged.clone());
        }
        self.unflushed.extend(group);
        match durability {
            Durability::Flush => self.flush(),
            Durability::Lazy => {}
        }
    }

    /// Makes everything that has been committed survive a crash.
    pub fn flush(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        for staged in self.unflushed.drain(..) {
            durable.apply(staged);
        }
    }

    /// Loses everything that was not committed and flushed, as a crash does.
    pub fn crash(&mut self) {
        self.staged.clear();
        self.unflushed.clear();
        self.working = Arc::clone(&self.durable);
        self.committed = Arc::clone(&self.durable);
    }

    /// Returns an event as it was taken in.
    #[must_use]
    pub fn admission(&self, seq: EventSeq) -> Option<Arc<Admission>> {
        self.working.journal.get(&seq).cloned()
    }

    /// Returns the delivery that a WSB id stands for, with its event.
    #[must_use]
    pub fn find_by_wsb_id(&self, id: WsbId) -> Option<(DeliveryKey, Arc<Admission>)> {
        let key = *self.working.wsb_ids.get(&id)?;
        Some((key, self.admission(key.seq)?))
    }

    /// Returns how a delivery ended, if it has.
    #[must_use]
    pub fn finished(&self, key: DeliveryKey) -> Option<Ended> {
        self.working.finished.get(&key).cloned()
    }

    /// Returns whether the WSB was about somebody who has been erased.
    #[must_use]
    pub fn was_about_erased(&self, id: WsbId) -> bool {
        self.working.erased_ids.contains(&id)
    }

    /// Returns the recalls and deletions of the record, in order.
    #[must_use]
    pub fn deletions_of(&self, citizen: CitizenId, record: &ExternalId) -> Vec<Arc<Admission>> {
        let ids = self.working.persons.all_of(citizen);
        let is_one = |admission: &&Arc<Admission>| {
            let event = &admission.event;
            event.ends_record() && event.external_id == *record && ids.contains(&admission.citizen)
        };
        self.working.journal.values().filter(is_one).cloned().collect()
    }

    /// Returns deletions that the rules did not expect, taken in before `before`, the
    /// newest first, at most `limit`.
    #[must_use]
    pub fn unexpected_page(&self, before: Option<EventSeq>, limit: usize) -> Vec<Unexpected> {
        let older = self.committed.unexpected.range(..before.unwrap_or(EventSeq(u64::MAX)));
        older.rev().take(limit).map(|(_, unexpected)| Unexpected::clone(unexpected)).collect()
    }

    /// Returns every id under which things about the citizen were or may be stored.
    #[must_use]
    pub fn ids_of(&self, citizen: CitizenId) -> Vec<CitizenId> {
        self.working.persons.all_of(citizen)
    }

    /// Returns every committed row, for checks of the whole store.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Delivery>> {
        self.committed.rows.values()
    }

    /// Returns every event that has been taken in, for checks of the whole store.
    pub fn journal(&self) -> impl Iterator<Item = &Arc<Admission>> {
        self.committed.journal.values()
    }

    /// Returns every citizen's record, for checks of the whole store.
    pub fn citizens(&self) -> impl Iterator<Item = &Arc<Citizen>> {
        self.committed.citizens.values()
    }

    /// Returns every message in quarantine, for checks of the whole store.
    pub fn quarantine(&self) -> impl Iterator<Item = &Quarantined> {
        self.committed.quarantine.values()
    }

    /// Returns what happened to an event and its deliveries, in order.
    #[must_use]
    pub fn steps(&self, seq: EventSeq) -> Vec<Traced> {
        let steps = self.committed.steps.iter().filter(|((of, ..), _)| *of == seq);
        steps.map(|((_, at, _, recipient), step)| Traced { recipient: *recipient, at: *at, step: step.clone() }).collect()
    }

    /// Returns entries of the audit log that come after the place `after` in that
    /// order, at most `limit`.
    #[must_use]
    pub fn audit_page(&self, order: Order, after: Option<u64>, limit: usize) -> Vec<Entry> {
        let entries = &self.committed.audit.entries;
        match order {
            Order::OldestFirst => {
                entries.range(after.map_or(0, |after| after.saturating_add(1))..).take(limit).map(|(_, entry)| entry.clone()).collect()
            }
            Order::NewestFirst => entries.range(..after.unwrap_or(u64::MAX)).rev().take(limit).map(|(_, entry)| entry.clone()).collect(),
        }
    }

    /// Returns where the audit log begins and ends.
    #[must_use]
    pub fn audit_extent(&self) -> Extent {
        self.working.audit.extent
    }

    fn put(&mut self, staged: Staged) {
        Arc::make_mut(&mut self.working).apply(staged.clone());
        self.staged.push(staged);
    }
}

impl Contents {
    /// Returns what was taken in before `before` and relies on the journal no
    /// more; never the newest, which says which place was given last.
    fn old(&self, before: Moment) -> Vec<EventSeq> {
        let finished = self.journal.range(..EventSeq(self.low_water.min(self.last_seq)));
        finished.take_while(|(_, admission)| admission.at < before).map(|(seq, _)| *seq).collect()
    }

    /// Returns the unexpected deletions that were heard of before `before`.
    fn long_unexpected(&self, before: Moment) -> Vec<EventSeq> {
        self.unexpected.iter().take_while(|(_, unexpected)| unexpected.at < before).map(|(seq, _)| *seq).collect()
    }

    fn apply(&mut self, staged: Staged) {
        match staged {
            Staged::Enroll(personnummer) => {
                self.last_citizen += 1;
                let id = CitizenId(self.last_citizen);
                self.numbers.insert(personnummer, id);
                self.citizens.insert(id, Arc::new(Citizen::new(id, personnummer)));
            }
            Staged::Change(change) => self.change(change),
            Staged::Prune(before, slice) => {
                for seq in self.long_unexpected(before).into_iter().take(slice) {
                    self.unexpected.remove(&seq);
                }
                for seq in self.old(before).into_iter().take(slice) {
                    let Some(admission) = self.journal.remove(&seq) else { continue };
                    self.marks.remove(&admission.event.mark);
                    self.wsb_ids.retain(|_, key| key.seq != seq);
                    self.finished.retain(|key, _| key.seq != seq);
                    self.steps.retain(|(of, ..), _| *of != seq);
                }
                let kept = self.journal.keys().next().copied();
                self.spent.retain(|_, (_, at)| kept.is_none_or(|kept| *at >= kept));
            }
        }
    }

    fn change(&mut self, change: Change) {
        match change {
            Change::PutCitizen(citizen) => {
                self.citizens.insert(citizen.id, citizen);
            }
            Change::OwnRecord { kind, record, owners } => {
                self.owners.insert((kind, record), owners);
            }
            Change::Join { one, other } => drop(self.persons.join(one, other)),
            Change::Part { one, other } => drop(self.persons.part(one, other)),
            Change::PutClocks(clocks) => {
                let parts = clocks.apart(&self.persons.all_of(clocks.citizen));
                for part in &parts {
                    let keeps = part.citizen == clocks.citizen || !part.is_empty();
                    self.put_clocks(part.citizen, keeps.then(|| Arc::new(part.clone())));
                }
                // As in the store on disk.
                let of_several = parts.iter().filter(|_| parts.len() > 1);
                for (id, entity, record) in of_several.flat_map(gone) {
                    self.clock_owners.entry((Arc::clone(entity), record.clone())).or_insert(id);
                }
            }
            Change::DropClocks(citizen) => {
                for id in self.persons.all_of(citizen) {
                    self.put_clocks(id, None);
                }
            }
            Change::SetIndexed(fingerprint) => self.indexed_by = Some(fingerprint),
            Change::PutSpent { kind, record, newest } => {
                let at = EventSeq(self.last_seq);
                let spent = self.spent.entry((kind, record)).or_insert((newest, at));
                *spent = (newest.max(spent.0), at);
            }
            Change::NoteUnexpected(unexpected) => {
                self.unexpected.insert(unexpected.seq, unexpected);
                while self.unexpected.len() as u64 > MOST_UNEXPECTED {
                    self.unexpected.pop_first();
                }
            }
            Change::PutNotices { recipient, day, lying } => {
                self.notices.insert((recipient, day), lying);
            }
            Change::DropNotices { recipient, day } => {
                self.notices.remove(&(recipient, day));
            }
            Change::PutUnclaimed(unclaimed) => {
                self.unclaimed.insert((unclaimed.delivery.citizen, unclaimed.delivery.key), *unclaimed);
            }
            Change::DropUnclaimed { citizen, key } => {
                self.unclaimed.remove(&(citizen, key));
            }
            Change::Admit(admission) => {
                let Admission { seq, event, deliveries, .. } = &*admission;
                self.last_seq = self.last_seq.max(seq.0);
                self.marks.insert(event.mark, *seq);
                for (recipient, _) in deliveries {
                    self.open.insert((*seq, *recipient));
                    self.wsb_ids.insert(event.mark.wsb_id(*recipient), DeliveryKey { recipient: *recipient, seq: *seq });
                }
                self.journal.insert(*seq, admission);
            }
            Change::PutDelivery(delivery) => {
                let key = delivery.key;
                self.remove_row(key);
                self.open.remove(&(key.seq, key.recipient));
                self.rows_by_citizen.insert((delivery.citizen, key));
                self.causes.add(&delivery);
                self.rows.insert(key, Arc::new(delivery));
            }
            Change::Finish { key, citizen, event, had_row, end, attempts, may_hold, at } => {
                let row = if had_row { self.remove_row(key) } else { None };
                self.open.remove(&(key.seq, key.recipient));
                let (failures, replays, delivered_before) = match (row, self.finished.get(&key)) {
                    (Some(row), _) => (row.failures.clone(), row.replays, row.delivered_before),
                    (None, Some(former)) => (former.failures.clone(), former.replays, former.delivered_before),
                    (None, None) => (Vec::new(), 0, None),
                };
                self.finished.insert(key, Ended { end, attempts, at, failures, replays, delivered_before });
                let record = (Arc::from(event.record_entity()), event.external_id.clone());
                if matches!(event.content, Content::Deletion { .. }) {
                    if end == End::Delivered {
                        // Told that the record is deleted: it holds nothing of it any more.
                        for id in self.persons.all_of(citizen) {
                            self.ledger.remove(&(id, record.clone(), key.recipient));
                        }
                    }
                } else if may_hold {
                    self.ledger.insert((citizen, record, key.recipient));
                }
            }
            Change::Stopped(to) => self.stopped = Some(to),
            Change::Started => self.stopped = None,
            Change::MoveHolders { entity, record, from, to, former, at: _ } => {
                let (ids, record) = (self.persons.all_of(from), (entity, record));
                let is_moved = |(of, about, _): &(CitizenId, RecordName, Recipient)| ids.contains(of) && *about == record;
                let moved: Vec<_> = self.ledger.iter().filter(|entry| is_moved(entry)).cloned().collect();
                if former == Former::Loses {
                    self.ledger.retain(|entry| !is_moved(entry));
                }
                self.ledger.extend(moved.into_iter().map(|(_, about, holder)| (to, about, holder)));
                if let Some(owner) = self.clock_owners.get_mut(&record).filter(|owner| ids.contains(owner)) {
                    *owner = to;
                }
            }
            Change::PutReplay(replay) => {
                self.replays.insert(replay.id, replay);
            }
            Change::PutSelected { replay, chunk, keys } => {
                self.selected.insert((replay, chunk), keys.into());
            }
            Change::DropSelected { replay, chunk } => {
                self.selected.remove(&(replay, chunk));
            }
            Change::DropReplay(replay) => {
                self.replays.remove(&replay);
                self.selected.retain(|(of, _), _| *of != replay);
            }
            Change::Trace { key, citizen: _, id, at, step } => {
                if let Step::TookOver { .. } = step {
                    self.wsb_ids.insert(id, key);
                }
                self.steps.insert((key.seq, at, step.number(), Some(key.recipient)), step);
            }
            Change::TraceEvent { seq, citizen: _, at, step } => {
                self.steps.insert((seq, at, step.number(), None), step);
            }
            Change::Audit { at, deed } => {
                let log = &mut self.audit;
                let entry = super::audit::next(&log.extent, at, deed);
                log.extent.newest = entry.seq;
                log.extent.newest_hash = entry.hash;
                log.entries.insert(entry.seq, entry);
                while let Some(oldest) = log.entries.first_entry().filter(|oldest| Extent::is_over(oldest.get().at, at)) {
                    let oldest = oldest.remove();
                    log.extent.first = oldest.seq + 1;
                    log.extent.before_first = oldest.hash;
                }
            }
            Change::Erase(citizen) => self.erase(citizen),
            Change::SetLowWater(seq) => self.low_water = seq.0,
            Change::PutHold(held, hold) => {
                self.holds.insert(held, hold);
            }
            Change::ForgetHold(held) => {
                self.holds.remove(&held);
            }
            Change::Quarantine(quarantined) => {
                // As on disk, where a message has a key of its own: so that the
                // same changes give the same ids in both.
                self.last_citizen += 1;
                self.last_quarantine = self.last_quarantine.max(quarantined.id);
                self.quarantine.insert(quarantined.id, quarantined);
            }
            Change::Release(id) => {
                self.quarantine.remove(&id);
            }
        }
    }

    fn put_clocks(&mut self, id: CitizenId, now: Option<Arc<Clocks>>) {
        let known = self.clocks.remove(&id);
        for (entity, record, claim) in claims(known.as_deref(), now.as_deref()) {
            let name = (Arc::clone(entity), record.clone());
            match (claim, self.clock_owners.get(&name)) {
                (Claim::Has, _) | (Claim::HeardOf, None) => drop(self.clock_owners.insert(name, id)),
                (Claim::Drops, Some(owner)) if *owner == id => drop(self.clock_owners.remove(&name)),
                (Claim::HeardOf | Claim::Drops, _) => {}
            }
        }
        self.clocks.extend(now.map(|now| (id, now)));
    }

    /// Keeps the marks of events, how deliveries ended, and nothing else.
    fn erase(&mut self, citizen: CitizenId) {
        let ids = self.persons.all_of(citizen);
        self.holds.retain(|held, _| !matches!(held, Held::Lane(_, lane) if ids.contains(&lane.citizen)));
        let numbers: Vec<Personnummer> = self.numbers.iter().filter(|(_, of)| ids.contains(of)).map(|(number, _)| *number).collect();
        self.quarantine
            .retain(|_, message| message.about != About::Anybody && !message.about.numbers().iter().any(|number| numbers.contains(number)));
        self.numbers.retain(|_, of| !ids.contains(of));
        self.owners.retain(|_, of| !ids.contains(&of.owner));
        self.owners.values_mut().for_each(|of| of.former.retain(|former| !ids.contains(former)));
        for id in &ids {
            self.citizens.remove(id);
            self.put_clocks(*id, None);
            for partner in &ids {
                self.persons.part(*id, *partner);
            }
        }
        for unexpected in self.unexpected.values_mut().filter(|unexpected| ids.contains(&unexpected.citizen)) {
            Arc::make_mut(unexpected).record = None;
        }
        let rows: Vec<DeliveryKey> = self.rows.iter().filter(|(_, row)| ids.contains(&row.citizen)).map(|(key, _)| *key).collect();
        for key in rows {
            if let Some(row) = self.rows.get(&key) {
                self.erased_ids.insert(row.id());
            }
            self.remove_row(key);
        }
        self.ledger.retain(|(of, _, _)| !ids.contains(of));
        self.unclaimed.retain(|(of, _), _| !ids.contains(of));
        let seqs: Vec<EventSeq> = self.journal.iter().filter(|(_, of)| ids.contains(&of.citizen)).map(|(seq, _)| *seq).collect();
        for seq in seqs {
            let Some(admission) = self.journal.remove(&seq) else { continue };
            let told = admission.deliveries.iter().map(|(recipient, _)| admission.event.mark.wsb_id(*recipient));
            self.erased_ids.extend(told);
            self.open.retain(|(open, _)| *open != seq);
            self.wsb_ids.retain(|_, key| key.seq != seq);
        }
    }

    fn remove_row(&mut self, key: DeliveryKey) -> Option<Arc<Delivery>> {
        let old = self.rows.remove(&key)?;
        self.rows_by_citizen.remove(&(old.citizen, key));
        self.causes.remove(&old);
        Some(old)
    }
}

/// Returns a delivery as it is when nothing has been written of it but the
/// admission of its event.
pub(super) fn untouched(admission: &Admission, recipient: Recipient, because: &Because) -> Delivery {
    Delivery {
        key: DeliveryKey { recipient, seq: admission.seq },
        citizen: admission.citizen,
        event: Arc::clone(&admission.event),
        domain: admission.domain,
        because: because.clone(),
        first_at: admission.at,
        attempts: 0,
        failures: Vec::new(),
        replays: 0,
        delivered_before: None,
        state: State::Pending,
    }
}

impl Records for MemoryStore {
    type Error = Infallible;

    fn last_seq(&self) -> EventSeq {
        EventSeq(self.working.last_seq)
    }

    fn has_seen(&mut self, mark: &EventMark) -> Result<bool, Infallible> {
        Ok(self.working.marks.contains_key(mark))
    }

    fn find_citizen(&mut self, personnummer: &Personnummer) -> Result<Option<CitizenId>, Infallible> {
        Ok(self.working.numbers.get(personnummer).copied())
    }

    fn record_owners(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Owners>, Infallible> {
        Ok(self.working.owners.get(&(kind, record.clone())).cloned())
    }

    fn spent(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, Infallible> {
        Ok(self.working.spent.get(&(kind, record.clone())).map(|(newest, _)| *newest))
    }

    fn clock_owner(&mut self, entity: &str, record: &ExternalId) -> Result<Option<CitizenId>, Infallible> {
        Ok(self.working.clock_owners.get(&(entity.into(), record.clone())).copied())
    }

    fn enroll(&mut self, personnummer: &Personnummer) -> Result<CitizenId, Infallible> {
        self.put(Staged::Enroll(*personnummer));
        Ok(CitizenId(self.working.last_citizen))
    }

    fn citizen(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Infallible> {
        let parts = self.working.persons.all_of(id).into_iter().filter_map(|id| self.working.citizens.get(&id).cloned());
        Ok(Citizen::as_one(&parts.collect::<Vec<_>>()))
    }

    fn under_number(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Infallible> {
        Ok(self.working.citizens.get(&id).cloned())
    }

    fn partners(&self, id: CitizenId) -> Vec<CitizenId> {
        self.working.persons.partners(id).collect()
    }

    fn joined(&self) -> Joined {
        self.working.persons.joined()
    }

    fn waiting(&mut self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, Infallible> {
        let from = DeliveryKey { recipient, seq: EventSeq(after.map_or(0, |after| after.0.saturating_add(1))) };
        let to = DeliveryKey { recipient, seq: EventSeq(u64::MAX) };
        let rows = self.committed.rows.range(from..=to).map(|(_, row)| &**row);
        Ok(rows.filter(|row| !matches!(row.state, State::Dead { .. })).take(limit).cloned().collect())
    }

    fn delivery(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, Infallible> {
        Ok(self.working.rows.get(&key).map(|row| Delivery::clone(row)))
    }

    fn rows_of(&mut self, citizen: CitizenId) -> Result<Vec<DeliveryKey>, Infallible> {
        let least = DeliveryKey { recipient: least_recipient(), seq: EventSeq(0) };
        let mut keys: Vec<DeliveryKey> = Vec::new();
        for id in self.working.persons.all_of(citizen) {
            let rows = self.committed.rows_by_citizen.range((id, least)..);
            keys.extend(rows.take_while(|(citizen, _)| *citizen == id).map(|(_, key)| *key));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    fn unclaimed_of(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, Infallible> {
        let ids = self.working.persons.all_of(citizen);
        let theirs = self.working.unclaimed.iter().filter(|((of, _), _)| ids.contains(of));
        let mut found: Vec<Unclaimed> = theirs.map(|(_, unclaimed)| unclaimed.clone()).collect();
        found.sort_by_key(|unclaimed| (unclaimed.delivery.key.seq, unclaimed.delivery.key.recipient));
        Ok(found)
    }

    fn unclaimed(&mut self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, Infallible> {
        let later = self.committed.unclaimed.iter().filter(|(place, _)| after.is_none_or(|after| **place > after));
        Ok(later.take(limit).map(|(_, unclaimed)| unclaimed.clone()).collect())
    }

    fn fate(&mut self, key: DeliveryKey) -> Result<Option<Fate>, Infallible> {
        if self.working.rows.contains_key(&key) || self.working.open.contains(&(key.seq, key.recipient)) {
            return Ok(Some(Fate::Unfinished));
        }
        Ok(self.working.finished.get(&key).map(|finished| Fate::Ended(finished.end)))
    }

    fn stopped(&mut self) -> Result<Option<EventSeq>, Infallible> {
        Ok(self.working.stopped)
    }

    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, Infallible> {
        Ok(self.working.finished.get(&key).cloned())
    }

    fn unfinished_in_journal(&mut self) -> Result<Vec<Delivery>, Infallible> {
        let mut found = Vec::new();
        for admission in self.working.journal.range(EventSeq(self.working.low_water)..).map(|(_, admission)| admission) {
            let open = |recipient| self.working.open.contains(&(admission.seq, recipient));
            let deliveries = admission.deliveries.iter().filter(|(recipient, _)| open(*recipient));
            found.extend(deliveries.map(|(recipient, because)| untouched(admission, *recipient, because)));
        }
        Ok(found)
    }

    fn row_counts(&mut self) -> Result<Vec<(Recipient, RowCounts)>, Infallible> {
        let mut counts: BTreeMap<Recipient, RowCounts> = BTreeMap::new();
        for row in self.working.rows.values() {
            let counts = counts.entry(row.key.recipient).or_default();
            match row.state {
                State::Pending => counts.pending += 1,
                State::Retrying { .. } => counts.retrying += 1,
                State::Dead { .. } => counts.dead += 1,
            }
        }
        Ok(counts.into_iter().collect())
    }

    fn causes(&mut self) -> Result<Vec<(Cause, Tally)>, Infallible> {
        Ok(self.working.causes.iter().map(|(cause, tally)| (cause.clone(), *tally)).collect())
    }

    fn holds(&mut self) -> Result<Vec<(Held, Hold)>, Infallible> {
        Ok(self.working.holds.iter().map(|(held, hold)| (*held, hold.clone())).collect())
    }

    fn holders(&mut self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, Infallible> {
        let (record, least) = ((Arc::from(entity), record.clone()), least_recipient());
        let mut holders = BTreeSet::new();
        for id in self.working.persons.all_of(citizen) {
            let entries = self.working.ledger.range((id, record.clone(), least)..);
            holders.extend(entries.take_while(|(of, about, _)| *of == id && *about == record).map(|(_, _, holder)| *holder));
        }
        Ok(holders.into_iter().collect())
    }

    fn replays(&mut self) -> Result<Vec<Replay>, Infallible> {
        Ok(self.committed.replays.values().map(|replay| Replay::clone(replay)).collect())
    }

    fn selected(&mut self, replay: ReplayId, chunk: u32) -> Result<Vec<DeliveryKey>, Infallible> {
        Ok(self.working.selected.get(&(replay, chunk)).map(|keys| keys.to_vec()).unwrap_or_default())
    }

    fn clocks(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, Infallible> {
        let ids = self.working.persons.all_of(citizen);
        let parts = ids.iter().filter_map(|id| self.working.clocks.get(id).cloned()).collect::<Vec<_>>();
        Ok(Clocks::as_one(ids.first().copied().unwrap_or(citizen), &parts))
    }

    fn clocks_next(&mut self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, Infallible> {
        let days = self.committed.clocks.values().filter_map(|clocks| Some((clocks.next?, clocks.citizen)));
        let mut found: Vec<_> = days.filter(|(day, id)| *day <= by && after.is_none_or(|after| after < (*day, *id))).collect();
        found.sort_unstable();
        found.truncate(limit);
        Ok(found)
    }

    fn clocks_due(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Infallible> {
        let citizens = self.committed.clocks.values().filter(|clocks| clocks.has_due).map(|clocks| clocks.citizen);
        Ok(citizens.filter(|id| after.is_none_or(|after| after < *id)).take(limit).collect())
    }

    fn clocks_page(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Infallible> {
        let citizens = self.committed.clocks.keys().copied();
        Ok(citizens.filter(|id| after.is_none_or(|after| after < *id)).take(limit).collect())
    }

    fn order_counts(&mut self) -> Result<Vec<(Day, u64)>, Infallible> {
        let mut counts: BTreeMap<Day, u64> = BTreeMap::new();
        for day in self.working.clocks.values().flat_map(|clocks| clocks.ordered_on()) {
            *counts.entry(day).or_default() += 1;
        }
        Ok(counts.into_iter().collect())
    }

    fn indexed_by(&mut self) -> Result<Option<u64>, Infallible> {
        Ok(self.committed.indexed_by)
    }

    fn notices(&mut self) -> Result<Vec<(Recipient, Day, Lying)>, Infallible> {
        Ok(self.committed.notices.iter().map(|((recipient, day), lying)| (*recipient, *day, *lying)).collect())
    }

    fn is_in_quarantine(&mut self, citizen: CitizenId, since: Moment) -> Result<bool, Infallible> {
        let ids = self.working.persons.all_of(citizen);
        let is_theirs = |number: &Personnummer| self.working.numbers.get(number).is_some_and(|of| ids.contains(of));
        let keeps = |message: &Quarantined| {
            let numbers = message.about.numbers();
            numbers.iter().any(is_theirs) && (message.at >= since || !numbers.iter().all(is_theirs))
        };
        Ok(self.working.quarantine.values().any(keeps))
    }

    fn can_erase(&mut self) -> Result<bool, Infallible> {
        Ok(true)
    }

    fn next_quarantine_id(&mut self) -> u64 {
        self.working.last_quarantine + 1
    }

    fn quarantined(&mut self, id: u64) -> Result<Option<Quarantined>, Infallible> {
        Ok(self.working.quarantine.get(&id).cloned())
    }

    fn prune(&mut self, before: Moment, slice: usize) -> Result<Pruned, Infallible> {
        let old = self.working.old(before).len().max(self.working.long_unexpected(before).len());
        if old > 0 {
            self.put(Staged::Prune(before, slice));
        }
        Ok(if old > slice { Pruned::More } else { Pruned::Done })
    }

    fn stage(&mut self, change: Change) -> Result<(), Infallible> {
        self.put(Staged::Change(change));
        Ok(())
    }
}

/// Returns the recipient that orders before every other, to begin a range at.
fn least_recipient() -> Recipient {
    Recipient::from_number(0).expect("0 is the number of an a-kasse")
}
