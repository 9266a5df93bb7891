//! What follows from the events of a group for all that waits about their citizens.
//!
//! Worked out once for each citizen and group, before the commit: whoever changes a
//! hundred times at once is not decided about a hundred times (decision 0074). Nothing
//! is attempted in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::dispatch::trace;
use super::{Engine, Output};
use crate::core::citizen::Citizen;
use crate::core::event::Event;
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Recipient};
use crate::core::lanes::{Loaded, Queue};
use crate::core::outbox::{Delivery, State, Withdrawal};
use crate::core::records::{Change, Records};
use crate::core::time::{Day, Moment};
use crate::core::today::Today;
use crate::core::trace::Step;

/// The citizens about whom something has come in since the last commit.
#[derive(Debug, Default)]
pub(super) struct Follow(BTreeMap<CitizenId, News>);

/// What has come in about one of them.
#[derive(Debug, Default)]
struct News {
    /// Whether who may receive has changed.
    has_changed: bool,
    /// The events that end a record, by their place among all events.
    ended: BTreeMap<EventSeq, Arc<Event>>,
}

impl Follow {
    /// Notes that what is known of a citizen has changed.
    pub fn changed(&mut self, citizen: CitizenId) {
        self.0.entry(citizen).or_default().has_changed = true;
    }

    /// Notes that a citizen's record has been recalled or deleted. Under every number that
    /// is this person's now: should a later event of the group part them, what waits
    /// under the other numbers is taken back all the same (R 5.1).
    pub fn record_ended(&mut self, citizen: &Citizen, seq: EventSeq, by: &Arc<Event>) {
        for id in citizen.ids() {
            self.0.entry(id).or_default().ended.insert(seq, Arc::clone(by));
        }
    }
}

impl Engine {
    /// Works out what follows from the events taken in since the last commit: what
    /// nobody is entitled to any more is withdrawn at once, and does not wait for its
    /// next attempt. To be called before every commit of events.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn follow_up<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        while let Some((id, mut news)) = self.follow.0.pop_first() {
            // Forgotten since.
            let Some(citizen) = records.citizen(id)? else { continue };
            for other in citizen.ids().filter_map(|other| self.follow.0.remove(&other)) {
                news.has_changed |= other.has_changed;
                news.ended.extend(other.ended);
            }
            if !news.ended.is_empty() {
                self.withdraw_about_records(&news.ended, &citizen, records, now, out)?;
            }
            if news.has_changed {
                self.reconsider_waiting(&citizen, records, now, out)?;
            }
        }
        Ok(())
    }

    /// Decides again about everything that waits about a citizen.
    fn reconsider_waiting<R: Records>(
        &mut self,
        citizen: &Citizen,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let today = Today::of(citizen, Day::in_copenhagen(now));
        for delivery in self.unfinished_about(citizen, records)? {
            // What is under way is decided again should it fail.
            let under_way = self.lanes.loaded(delivery.key).is_some_and(Loaded::is_in_flight);
            if under_way {
                self.await_unless_entitled(&delivery, &today, records)?;
            } else if !matches!(delivery.state, State::Dead { .. }) {
                let verdict = self.judge_today(&delivery, &today, records)?;
                self.withdraw_by(verdict, &delivery, records, now, out)?;
            }
        }
        self.claim(&today, records, now, out)
    }

    /// Withdraws what waits about records that have been recalled or deleted; only
    /// that is told (R 5.1). What is under way is withdrawn too: should it fail, it
    /// must not be tried again, after a restart neither.
    fn withdraw_about_records<R: Records>(
        &mut self,
        ended: &BTreeMap<EventSeq, Arc<Event>>,
        citizen: &Citizen,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let mut by_record: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (seq, event) in ended {
            by_record.entry(&event.external_id).or_default().push((seq, event));
        }
        // What came after it stands, and so does what tells of it.
        let taken_back_by = |told: &Delivery| {
            let ended = by_record.get(&told.event.external_id)?;
            ended.iter().find(|(seq, event)| told.key.seq < **seq && event.takes_back(&told.event)).map(|(_, event)| &***event)
        };
        self.withdraw_taken_back(citizen, taken_back_by, records, now, out)
    }

    /// Withdraws what waits about a citizen and is taken back, by the event that is said
    /// for it, and lets go of what is unclaimed of it.
    pub(super) fn withdraw_taken_back<'e, R: Records>(
        &mut self,
        citizen: &Citizen,
        taken_back_by: impl Fn(&Delivery) -> Option<&'e Event>,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        for delivery in self.unfinished_about(citizen, records)? {
            if let Some(event) = taken_back_by(&delivery) {
                trace(&delivery, Step::RecordDeleted { event_id: event.id.clone(), taken_in: None }, now, records)?;
                self.withdraw(&delivery, Withdrawal::RecordDeleted, now, records, out)?;
            }
        }
        for unclaimed in records.unclaimed_of(citizen.id)? {
            let delivery = &unclaimed.delivery;
            if taken_back_by(delivery).is_some() {
                records.stage(Change::DropUnclaimed { citizen: delivery.citizen, key: delivery.key })?;
            }
        }
        Ok(())
    }

    /// Returns what is unfinished about a citizen, dead or under way included.
    /// Costs in proportion to that, not to all that waits.
    pub(super) fn unfinished_about<R: Records>(&self, citizen: &Citizen, records: &mut R) -> Result<Vec<Delivery>, R::Error> {
        let mut unfinished = Vec::new();
        // Each once, though a merged citizen is asked about under several ids.
        let mut unloaded = BTreeSet::new();
        for id in citizen.ids() {
            for (recipient, queue) in self.lanes.queues().filter(|(_, queue)| !queue.is_empty()) {
                unfinished.extend(queue.loaded_of(id).filter_map(|seq| queue.get(seq)).map(|loaded| loaded.delivery.clone()));
                unloaded.extend(queue.fresh_of(id).map(|seq| DeliveryKey { recipient, seq }));
            }
            unloaded.extend(records.rows_of(id)?);
        }
        for key in unloaded {
            if self.lanes.loaded(key).is_none() {
                unfinished.extend(records.delivery(key)?);
            }
        }
        Ok(unfinished)
    }

    /// Returns whether something about a citizen is under way, withdrawn or not.
    pub(super) fn is_under_way_about(&self, citizen: &Citizen) -> bool {
        let is_in_flight = |queue: &Queue, seq| queue.get(seq).is_some_and(Loaded::is_in_flight);
        self.lanes.queues().any(|(_, queue)| citizen.ids().flat_map(|id| queue.all_of(id)).any(|seq| is_in_flight(queue, seq)))
    }

    /// Returns who is being sent something about the record of `event` that has been
    /// withdrawn: it may arrive all the same, after the notice of a deletion even.
    pub(super) fn taken_back_under_way(&self, event: &Event, citizen: &Citizen) -> Vec<Recipient> {
        let about_it = |loaded: &&Loaded| loaded.is_withdrawn() && loaded.delivery.event.is_about_record_of(event);
        let of_queue = |(_, queue): (Recipient, &Queue)| {
            let mut loaded = citizen.ids().flat_map(|id| queue.all_of(id)).filter_map(|seq| queue.get(seq));
            loaded.find(about_it).map(|loaded| loaded.delivery.key.recipient)
        };
        self.lanes.queues().filter_map(of_queue).collect()
    }
}
