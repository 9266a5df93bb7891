//! The store in memory, watched: every change that the engine stages is noted,
//! in order, for the model to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use wsb_broker::core::audit::{Entry, Extent, Order};
use wsb_broker::core::causes::{Cause, Tally};
use wsb_broker::core::citizen::{Citizen, RecordKind};
use wsb_broker::core::holds::{Held, Hold};
use wsb_broker::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient, WsbId};
use wsb_broker::core::notices::Lying;
use wsb_broker::core::outbox::{Delivery, End, Ended, State};
use wsb_broker::core::persons::Joined;
use wsb_broker::core::records::{
    Admission, Archive, Change, EndPlace, EndsPage, Fate, KeptBeside, Lookout, Owners, Pruned, Quarantined, Records, RowCounts, Unclaimed,
    WantedEnds,
};
use wsb_broker::core::replay::{Replay, ReplayId};
use wsb_broker::core::retention::{Clocks, Unexpected};
use wsb_broker::core::stamp::Instant;
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::core::trace::Traced;
use wsb_broker::store::{Durability, MemoryStore};

#[derive(Default)]
pub struct Watched {
    pub inner: MemoryStore,
    staged: Vec<Change>,
    /// Every delivery that there ever was, with its id.
    known: BTreeMap<DeliveryKey, WsbId>,
    /// What the engine has asked for: questions, and rows in the answers.
    pub reads: usize,
}

impl Watched {
    pub fn has_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// Commits, and returns what that group changed.
    pub fn commit(&mut self, durability: Durability) -> Vec<Change> {
        self.inner.commit(durability);
        std::mem::take(&mut self.staged)
    }

    pub fn crash(&mut self) {
        self.staged.clear();
        self.inner.crash();
    }
}

impl Records for Watched {
    type Error = Infallible;

    fn last_seq(&self) -> EventSeq {
        self.inner.last_seq()
    }
    fn has_seen(&mut self, mark: &EventMark) -> Result<bool, Infallible> {
        self.reads += 1;
        self.inner.has_seen(mark)
    }
    fn find_citizen(&mut self, personnummer: &Personnummer) -> Result<Option<CitizenId>, Infallible> {
        self.reads += 1;
        self.inner.find_citizen(personnummer)
    }
    fn record_owners(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Owners>, Infallible> {
        self.reads += 1;
        self.inner.record_owners(kind, record)
    }
    fn spent(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, Infallible> {
        self.reads += 1;
        self.inner.spent(kind, record)
    }
    fn clock_owner(&mut self, entity: &str, record: &ExternalId) -> Result<Option<CitizenId>, Infallible> {
        self.reads += 1;
        self.inner.clock_owner(entity, record)
    }
    fn enroll(&mut self, personnummer: &Personnummer) -> Result<CitizenId, Infallible> {
        self.inner.enroll(personnummer)
    }
    fn citizen(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Infallible> {
        self.reads += 1;
        self.inner.citizen(id)
    }
    fn under_number(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Infallible> {
        self.reads += 1;
        self.inner.under_number(id)
    }
    fn partners(&self, id: CitizenId) -> Vec<CitizenId> {
        self.inner.partners(id)
    }
    fn joined(&self) -> Joined {
        self.inner.joined()
    }
    fn waiting(&mut self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, Infallible> {
        let found = self.inner.waiting(recipient, after, limit)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn delivery(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, Infallible> {
        self.reads += 1;
        self.inner.delivery(key)
    }
    fn rows_of(&mut self, citizen: CitizenId) -> Result<Vec<DeliveryKey>, Infallible> {
        let found = self.inner.rows_of(citizen)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn unclaimed_of(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, Infallible> {
        let found = self.inner.unclaimed_of(citizen)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn unclaimed(&mut self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, Infallible> {
        let found = self.inner.unclaimed(after, limit)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn fate(&mut self, key: DeliveryKey) -> Result<Option<Fate>, Infallible> {
        self.reads += 1;
        self.inner.fate(key)
    }
    fn stopped(&mut self) -> Result<Option<EventSeq>, Infallible> {
        self.reads += 1;
        self.inner.stopped()
    }
    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, Infallible> {
        self.reads += 1;
        self.inner.ended(key)
    }
    fn unfinished_in_journal(&mut self) -> Result<Vec<Delivery>, Infallible> {
        let found = self.inner.unfinished_in_journal()?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn row_counts(&mut self) -> Result<Vec<(Recipient, RowCounts)>, Infallible> {
        self.inner.row_counts()
    }
    fn causes(&mut self) -> Result<Vec<(Cause, Tally)>, Infallible> {
        let found = self.inner.causes()?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn holds(&mut self) -> Result<Vec<(Held, Hold)>, Infallible> {
        self.inner.holds()
    }
    fn holders(&mut self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, Infallible> {
        let found = self.inner.holders(citizen, entity, record)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn replays(&mut self) -> Result<Vec<Replay>, Infallible> {
        self.inner.replays()
    }
    fn selected(&mut self, replay: ReplayId, chunk: u32) -> Result<Vec<DeliveryKey>, Infallible> {
        let found = self.inner.selected(replay, chunk)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn clocks(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, Infallible> {
        self.reads += 1;
        self.inner.clocks(citizen)
    }
    fn clocks_next(&mut self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, Infallible> {
        let found = self.inner.clocks_next(by, after, limit)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn clocks_due(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Infallible> {
        self.inner.clocks_due(after, limit)
    }
    fn clocks_page(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Infallible> {
        let found = self.inner.clocks_page(after, limit)?;
        self.reads += 1 + found.len();
        Ok(found)
    }
    fn order_counts(&mut self) -> Result<Vec<(Day, u64)>, Infallible> {
        self.inner.order_counts()
    }
    fn indexed_by(&mut self) -> Result<Option<u64>, Infallible> {
        self.inner.indexed_by()
    }
    fn notices(&mut self) -> Result<Vec<(Recipient, Day, Lying)>, Infallible> {
        self.inner.notices()
    }
    fn is_in_quarantine(&mut self, citizen: CitizenId, since: Moment) -> Result<bool, Infallible> {
        self.inner.is_in_quarantine(citizen, since)
    }
    fn can_erase(&mut self) -> Result<bool, Infallible> {
        self.inner.can_erase()
    }
    fn next_quarantine_id(&mut self) -> u64 {
        self.inner.next_quarantine_id()
    }
    fn quarantined(&mut self, id: u64) -> Result<Option<Quarantined>, Infallible> {
        self.inner.quarantined(id)
    }
    fn prune(&mut self, before: Moment, slice: usize) -> Result<Pruned, Infallible> {
        self.inner.prune(before, slice)
    }
    fn stage(&mut self, change: Change) -> Result<(), Infallible> {
        match &change {
            Change::Admit(admission) => {
                let keys = admission.deliveries.iter().map(|(recipient, _)| DeliveryKey { recipient: *recipient, seq: admission.seq });
                self.known.extend(keys.map(|key| (key, admission.event.mark.wsb_id(key.recipient))));
            }
            Change::PutDelivery(delivery) => {
                self.known.insert(delivery.key, delivery.id());
            }
            _ => {}
        }
        self.staged.push(change.clone());
        self.inner.stage(change)
    }
}

/// By looking through everything.
impl Archive for Watched {
    fn quarantine_page(&mut self, after: u64, limit: usize) -> Result<Vec<Quarantined>, Infallible> {
        Ok(self.inner.quarantine().filter(|message| message.id > after).take(limit).cloned().collect())
    }
    fn steps(&mut self, seq: EventSeq) -> Result<Vec<Traced>, Infallible> {
        Ok(self.inner.steps(seq))
    }
    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, Infallible> {
        Ok(self.inner.audit_page(order, after, limit))
    }
    fn audit_extent(&mut self) -> Result<Extent, Infallible> {
        Ok(self.inner.audit_extent())
    }
    fn admission(&mut self, seq: EventSeq) -> Result<Option<Arc<Admission>>, Infallible> {
        Ok(self.inner.admission(seq))
    }
    fn events_by_id(&mut self, id: &str) -> Result<Vec<EventSeq>, Infallible> {
        Ok(self.inner.journal().filter(|admission| *admission.event.id == *id).map(|admission| admission.seq).collect())
    }
    fn delivery_by_id(&mut self, id: WsbId) -> Result<Option<DeliveryKey>, Infallible> {
        // A group lost in a crash may have given the event another place.
        let is_there = |key: &DeliveryKey| self.inner.admission(key.seq).is_some_and(|of| of.event.mark.wsb_id(key.recipient) == id);
        let keys = self.known.iter().filter(|(key, known)| **known == id && is_there(key));
        Ok(keys.map(|(key, _)| *key).next())
    }
    fn was_about_erased(&mut self, id: WsbId, _: Option<&str>) -> Result<bool, Infallible> {
        Ok(self.inner.was_about_erased(id))
    }
    fn kept_beside(&mut self, _: CitizenId) -> Result<KeptBeside, Infallible> {
        Ok(KeptBeside::default())
    }
    fn quarantined_about(&mut self, personnummer: &Personnummer) -> Result<Vec<u64>, Infallible> {
        let about = self.inner.quarantine().filter(|message| message.about.may_be(personnummer));
        Ok(about.map(|message| message.id).collect())
    }
    fn unexpected_page(&mut self, before: Option<EventSeq>, limit: usize) -> Result<Vec<Unexpected>, Infallible> {
        Ok(self.inner.unexpected_page(before, limit))
    }
    fn deletions_of(&mut self, citizen: CitizenId, record: &ExternalId) -> Result<Vec<Arc<Admission>>, Infallible> {
        Ok(self.inner.deletions_of(citizen, record))
    }
}

/// By looking through everything.
impl Lookout for Watched {
    type Error = Infallible;

    fn newest(&self) -> Result<EventSeq, Infallible> {
        Ok(self.inner.last_seq())
    }
    fn row_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Infallible> {
        Ok(rows(&self.inner, dead, recipient, after).take(limit).cloned().collect())
    }
    fn outlived_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Infallible> {
        let outlived = |row: &&Delivery| self.inner.admission(row.key.seq).is_none();
        Ok(rows(&self.inner, dead, recipient, after).filter(outlived).take(limit).cloned().collect())
    }
    fn row(&self, key: DeliveryKey) -> Result<Option<Delivery>, Infallible> {
        Ok(self.inner.rows().find(|row| row.key == key).map(|row| Delivery::clone(row)))
    }
    fn taken_in(&self, seq: EventSeq) -> Result<Option<Arc<Admission>>, Infallible> {
        Ok(self.inner.admission(seq))
    }
    fn steps_of(&self, seq: EventSeq) -> Result<Vec<Traced>, Infallible> {
        Ok(self.inner.steps(seq))
    }
    fn quarantine_after(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, Infallible> {
        Ok(self.inner.quarantine().filter(|message| message.id > after).take(limit).cloned().collect())
    }
    fn end_of(&self, key: DeliveryKey) -> Result<Option<Ended>, Infallible> {
        Ok(self.inner.finished(key))
    }
    fn low_water(&self) -> Result<EventSeq, Infallible> {
        Ok(EventSeq(0))
    }
    fn ends_page(&self, wanted: &WantedEnds<'_>, before: Option<EndPlace>, limit: usize) -> Result<EndsPage, Infallible> {
        let ended = |key: &DeliveryKey| Some((*key, self.inner.finished(*key)?));
        let mut ends: Vec<(DeliveryKey, Ended)> = self.known.keys().filter_map(ended).collect();
        ends.sort_by_key(|(key, ended)| (ended.at, *key));
        let is_wanted = |(place, key, ended): &(EndPlace, DeliveryKey, Ended)| {
            before.is_none_or(|before| *place < before)
                && wanted.recipient.is_none_or(|recipient| recipient == key.recipient)
                && key.seq <= wanted.newest
                && (wanted.is_wanted)(ended.end)
        };
        let placed = (0..).zip(ends).map(|(at, (key, ended))| (EndPlace { next: EventSeq(at), part: 0, at: 0 }, key, ended));
        let mut found: Vec<_> = placed.filter(is_wanted).collect();
        found.reverse();
        let goes_on = (found.len() > limit).then(|| found[limit - 1].0);
        found.truncate(limit);
        Ok(EndsPage { found, goes_on })
    }
    fn delivered(&self, recipient: Recipient, since: Moment, until: Moment, most: usize) -> Result<Vec<EventSeq>, Infallible> {
        let is_it = |key: &DeliveryKey| {
            let ended = self.inner.finished(*key);
            key.recipient == recipient && ended.is_some_and(|ended| ended.end == End::Delivered && since <= ended.at && ended.at < until)
        };
        let found: BTreeSet<EventSeq> = self.known.keys().filter(|key| is_it(key)).map(|key| key.seq).collect();
        Ok(found.into_iter().take(most + 1).collect())
    }
}

fn rows(store: &MemoryStore, dead: bool, recipient: Option<Recipient>, after: Option<DeliveryKey>) -> impl Iterator<Item = &Delivery> {
    let wanted = move |row: &&Delivery| {
        matches!(row.state, State::Dead { .. }) == dead
            && recipient.is_none_or(|of| row.key.recipient == of)
            && after.is_none_or(|after| row.key > after)
    };
    store.rows().map(|row| &**row).filter(wanted)
}
