//! Holds: a recipient's queue that is left alone for a time, by an operator's
//! order or for the vendor's maintenance window, and lanes that are parked.
//!
//! An order is stored before anybody is told that it was taken. A window needs no
//! row: `routing.toml` says when it is. That it is over does, since the time
//! allowed for retries counts from there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Fact, Output};
use crate::core::holds::{Held, Hold, Why};
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Recipient, WsbId};
use crate::core::lanes::{Kept, Rest};
use crate::core::outbox::{Delivery, Lane, State};
use crate::core::records::{Change, Records};
use crate::core::time::Moment;

/// Why a queue is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestCause {
    /// An operator ordered it, and said why.
    Operator(Why),
    /// The vendor's maintenance window.
    Window,
}

/// A queue that is left alone, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resting {
    /// Since when.
    pub since: Moment,
    /// Until when, if that is known.
    pub until: Option<Moment>,
    /// Why.
    pub cause: RestCause,
}

/// What became of an order to let a queue go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Resumed {
    /// It goes on.
    GoesOn,
    /// It does not work, and is probed at once.
    Probed,
    /// Nothing was done: its maintenance window goes on until then, `routing.toml` says so.
    InWindow(Moment),
    /// There was nothing to end.
    NotPaused,
}

/// What became of an order about a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum LaneOrder {
    /// It is carried out.
    Done,
    /// It was so already.
    AlreadySo,
    /// The delivery that names the lane does not wait: it is dead, or has ended.
    NotWaiting,
    /// More lanes are parked than anybody can have meant.
    TooMany,
}

/// A lane that waits behind a delivery that is being retried, or is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneView {
    /// The delivery at its head; `None` for a parked lane in which nothing waits.
    pub head: Option<Delivery>,
    /// To whom.
    pub recipient: Recipient,
    /// Which.
    pub lane: Lane,
    /// How many deliveries of it wait, as far as they are loaded.
    pub waiting: usize,
    /// Whether it is parked.
    pub parked: Option<Parked>,
}

/// A lane's being parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Since when.
    pub since: Moment,
    /// Why.
    pub why: Why,
    /// The delivery by which it was named.
    pub named: Option<WsbId>,
}

/// How many lanes may be parked at once: each is kept in memory.
pub const MOST_PARKED: usize = 10_000;

/// In how many parked lanes it is looked since when something waits; each is read.
const LOOKED_INTO: usize = 1_000;

impl Engine {
    /// Has a recipient's queue left alone until `until`, or until further notice.
    /// A later order takes the place of an earlier one.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn pause<R: Records>(
        &mut self,
        recipient: Recipient,
        until: Option<Moment>,
        why: Why,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let held = Held::Queue(recipient);
        let since = match self.holds.get(&held) {
            Some(Hold::Active { since, .. }) => *since,
            Some(Hold::Over { .. }) | None => now,
        };
        self.put_hold(held, Hold::Active { since, until, why, named: None }, records)?;
        self.lanes.queue_mut(recipient);
        self.keep_holds(records, now, out)
    }

    /// Lets a recipient's queue go on. One that is paused because it does not
    /// work is probed at once. Within its maintenance window it would not go on, and
    /// what was ordered stays as it is.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn resume<R: Records>(
        &mut self,
        recipient: Recipient,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Resumed, R::Error> {
        if let Some((_, until)) = self.window_at(recipient, now) {
            return Ok(Resumed::InWindow(until));
        }
        let held = Held::Queue(recipient);
        let ordered = matches!(self.holds.get(&held), Some(Hold::Active { .. }));
        if ordered {
            self.put_hold(held, Hold::Over { at: now }, records)?;
            // It may not have been put into force in this life.
            self.lanes.queue_mut(recipient).excuse(now);
            self.keep_holds(records, now, out)?;
        }
        let probed = self.lanes.queue_mut(recipient).probe_at(now);
        Ok(match (ordered, probed) {
            (true, _) => Resumed::GoesOn,
            (false, true) => Resumed::Probed,
            (false, false) => Resumed::NotPaused,
        })
    }

    /// Says what [`Engine::resume`] would do.
    pub fn would_resume(&self, recipient: Recipient, now: Moment) -> Resumed {
        let ordered = matches!(self.holds.get(&Held::Queue(recipient)), Some(Hold::Active { .. }));
        let paused = self.lanes.queue(recipient).is_some_and(|queue| queue.paused().is_some());
        match (self.window_at(recipient, now), ordered, paused) {
            (Some((_, until)), _, _) => Resumed::InWindow(until),
            (None, true, _) => Resumed::GoesOn,
            (None, false, true) => Resumed::Probed,
            (None, false, false) => Resumed::NotPaused,
        }
    }

    /// Returns how many deliveries wait for a recipient.
    #[must_use]
    pub fn waiting(&self, recipient: Recipient) -> u64 {
        self.lanes.queue(recipient).map_or(0, |queue| queue.counts().pending + queue.counts().retrying)
    }

    /// Parks the lane that a waiting delivery is in: nothing of it is attempted
    /// until it is released.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn park<R: Records>(&mut self, key: DeliveryKey, why: Why, records: &mut R, now: Moment) -> Result<LaneOrder, R::Error> {
        match self.would_park(key, records)? {
            LaneOrder::Done => {}
            refused @ (LaneOrder::AlreadySo | LaneOrder::NotWaiting | LaneOrder::TooMany) => return Ok(refused),
        }
        let Some((lane, named)) = self.lane_of(key, records)? else { return Ok(LaneOrder::NotWaiting) };
        self.park_lane(key.recipient, lane, Hold::Active { since: now, until: None, why, named: Some(named) }, records)?;
        Ok(LaneOrder::Done)
    }

    /// Says what [`Engine::park`] would do.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn would_park<R: Records>(&self, key: DeliveryKey, records: &mut R) -> Result<LaneOrder, R::Error> {
        let Some((lane, _)) = self.lane_of(key, records)? else { return Ok(LaneOrder::NotWaiting) };
        if matches!(self.holds.get(&Held::Lane(key.recipient, lane)), Some(Hold::Active { .. })) {
            return Ok(LaneOrder::AlreadySo);
        }
        let parked = |(held, hold): &(&Held, &Hold)| matches!((held, hold), (Held::Lane(..), Hold::Active { .. }));
        let is_full = self.holds.iter().filter(parked).count() >= MOST_PARKED;
        Ok(if is_full { LaneOrder::TooMany } else { LaneOrder::Done })
    }

    fn park_lane<R: Records>(&mut self, recipient: Recipient, lane: Lane, hold: Hold, records: &mut R) -> Result<(), R::Error> {
        self.put_hold(Held::Lane(recipient, lane), hold, records)?;
        for loaded in self.lanes.queue_mut(recipient).park(lane) {
            if loaded.kept == Kept::InJournal {
                records.stage(Change::PutDelivery(loaded.delivery))?;
            }
        }
        Ok(())
    }

    /// Releases the lane that a waiting delivery is in: it goes on in its order,
    /// and the time allowed for retries begins anew.
    ///
    /// # Errors
    /// When the store cannot be read or the change not staged.
    pub fn release<R: Records>(&mut self, key: DeliveryKey, records: &mut R, now: Moment) -> Result<LaneOrder, R::Error> {
        let Some((lane, _)) = self.lane_of(key, records)? else { return Ok(LaneOrder::NotWaiting) };
        self.release_lane(key.recipient, lane, records, now)
    }

    /// As [`Engine::release`], by the delivery with which the lane was parked:
    /// whatever has become of it since.
    ///
    /// # Errors
    /// When the store cannot be read or the change not staged.
    pub fn release_named<R: Records>(&mut self, id: WsbId, records: &mut R, now: Moment) -> Result<LaneOrder, R::Error> {
        let mut released = LaneOrder::NotWaiting;
        // More than one where the person turned out to be two.
        while let Some((recipient, lane)) = self.parked_by(id) {
            released = self.release_lane(recipient, lane, records, now)?;
        }
        Ok(released)
    }

    /// Returns whether a lane was parked by naming this delivery, and still is.
    #[must_use]
    pub fn is_parked_by(&self, id: WsbId) -> bool {
        self.parked_by(id).is_some()
    }

    fn parked_by(&self, id: WsbId) -> Option<(Recipient, Lane)> {
        self.holds.iter().find_map(|(held, hold)| match (held, hold) {
            (Held::Lane(recipient, lane), Hold::Active { named: Some(named), .. }) if *named == id => Some((*recipient, *lane)),
            (Held::Lane(..) | Held::Queue(_), _) => None,
        })
    }

    fn release_lane<R: Records>(&mut self, recipient: Recipient, lane: Lane, records: &mut R, now: Moment) -> Result<LaneOrder, R::Error> {
        let held = Held::Lane(recipient, lane);
        if !matches!(self.holds.get(&held), Some(Hold::Active { .. })) {
            return Ok(LaneOrder::AlreadySo);
        }
        self.put_hold(held, Hold::Over { at: now }, records)?;
        let ids: Vec<CitizenId> = records.citizen(lane.citizen)?.iter().flat_map(|citizen| citizen.ids()).collect();
        let rows = records.rows_of(lane.citizen)?.into_iter().filter(|key| key.recipient == recipient).map(|key| key.seq);
        let queue = self.lanes.queue_mut(recipient);
        let first = rows.chain(ids.iter().flat_map(|id| queue.fresh_of(*id))).min();
        let rowless = queue.release(lane, first);
        queue.excuse_lane(lane, now);
        for delivery in rowless {
            records.stage(Change::PutDelivery(delivery))?;
        }
        Ok(LaneOrder::Done)
    }

    /// Returns the lane of a delivery that waits, and the delivery's id.
    fn lane_of<R: Records>(&self, key: DeliveryKey, records: &mut R) -> Result<Option<(Lane, WsbId)>, R::Error> {
        if let Some(loaded) = self.lanes.loaded(key) {
            return Ok((!loaded.is_withdrawn()).then(|| (self.lanes.lane_of(&loaded.delivery), loaded.delivery.id())));
        }
        let row = records.delivery(key)?;
        Ok(row.filter(|row| !matches!(row.state, State::Dead { .. })).map(|row| (self.lanes.lane_of(&row), row.id())))
    }

    /// Those who are another person than before are held as whoever they were.
    pub(super) fn carry_holds<R: Records>(&mut self, persons: &[Vec<CitizenId>], records: &mut R) -> Result<(), R::Error> {
        let is_one_of_them = |citizen: &CitizenId| persons.iter().flatten().any(|id| id == citizen);
        let firsts: BTreeSet<CitizenId> = persons.iter().filter_map(|person| person.first().copied()).collect();
        let held: Vec<(Recipient, Lane, Hold)> = self
            .holds
            .iter()
            .filter_map(|(held, hold)| match held {
                Held::Lane(recipient, lane) if is_one_of_them(&lane.citizen) => Some((*recipient, *lane, hold.clone())),
                Held::Lane(..) | Held::Queue(_) => None,
            })
            .collect();
        for (recipient, lane, hold) in held {
            if !firsts.contains(&lane.citizen) {
                self.holds.remove(&Held::Lane(recipient, lane));
                records.stage(Change::ForgetHold(Held::Lane(recipient, lane)))?;
                let queue = self.lanes.queue_mut(recipient);
                queue.unpark(lane);
                queue.forget_lane(lane);
            }
            for citizen in &firsts {
                let theirs = Lane { citizen: *citizen, domain: lane.domain };
                let hold = match (&hold, self.holds.get(&Held::Lane(recipient, theirs))) {
                    (Hold::Over { at }, Some(Hold::Over { at: other })) => Hold::Over { at: *at.max(other) },
                    (_, Some(hold @ Hold::Active { .. })) | (hold, _) => hold.clone(),
                };
                match hold {
                    // Also one that is parked already: more may have come into it.
                    Hold::Active { .. } => self.park_lane(recipient, theirs, hold, records)?,
                    // The time allowed counts from there for whatever was in it.
                    Hold::Over { at } => {
                        self.put_hold(Held::Lane(recipient, theirs), hold, records)?;
                        self.lanes.queue_mut(recipient).excuse_lane(theirs, at);
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns whether and why a recipient's queue is left alone at `now`.
    #[must_use]
    pub fn resting(&self, recipient: Recipient, now: Moment) -> Option<Resting> {
        if let Some(Hold::Active { since, until, why, .. }) = self.holds.get(&Held::Queue(recipient))
            && until.is_none_or(|until| now < until)
        {
            return Some(Resting { since: *since, until: *until, cause: RestCause::Operator(why.clone()) });
        }
        let (since, until) = self.window_at(recipient, now)?;
        Some(Resting { since, until: Some(until), cause: RestCause::Window })
    }

    fn window_at(&self, recipient: Recipient, now: Moment) -> Option<(Moment, Moment)> {
        self.rules.recipient(recipient)?.maintenance.iter().find_map(|window| window.around(now))
    }

    /// Returns how many lanes are parked.
    #[must_use]
    pub fn lanes_parked(&self) -> usize {
        self.holds.iter().filter(|(held, hold)| matches!((held, hold), (Held::Lane(..), Hold::Active { .. }))).count()
    }

    /// Returns the lanes that wait behind a delivery that is being retried, and
    /// those that are parked, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn lane_views<R: Records>(&self, of: Option<Recipient>, limit: usize, records: &mut R) -> Result<Vec<LaneView>, R::Error> {
        let asked = |recipient: Recipient| of.is_none_or(|of| of == recipient);
        let mut views = Vec::new();
        for (held, hold) in &self.holds {
            let (Held::Lane(recipient, lane), Hold::Active { since, why, named, .. }) = (held, hold) else { continue };
            if !asked(*recipient) || views.len() >= limit {
                continue;
            }
            let waiting = self.waiting_in(*recipient, *lane, records)?;
            let count = waiting.len();
            let head = waiting.into_iter().next();
            let parked = Parked { since: *since, why: why.clone(), named: *named };
            views.push(LaneView { head, recipient: *recipient, lane: *lane, waiting: count, parked: Some(parked) });
        }
        for (recipient, queue) in self.lanes.queues().filter(|(recipient, _)| asked(*recipient)) {
            let left = limit.saturating_sub(views.len());
            views.extend(queue.blocked().take(left).map(|(head, waiting)| LaneView {
                head: Some(head.clone()),
                recipient,
                lane: queue.lane_of(head),
                waiting,
                parked: None,
            }));
        }
        Ok(views)
    }

    /// Returns the rows of a lane that wait.
    fn waiting_in<R: Records>(&self, recipient: Recipient, lane: Lane, records: &mut R) -> Result<Vec<Delivery>, R::Error> {
        let mut waiting = Vec::new();
        for key in records.rows_of(lane.citizen)?.into_iter().filter(|key| key.recipient == recipient) {
            let row = records.delivery(key)?;
            waiting.extend(row.filter(|row| self.lanes.lane_of(row) == lane && !matches!(row.state, State::Dead { .. })));
        }
        Ok(waiting)
    }

    /// Returns for each recipient since when something waits in a parked lane, which
    /// [`QueueView::oldest`](super::QueueView) does not know of. Of many parked lanes it
    /// looks into those that have been for longest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn oldest_parked<R: Records>(&self, records: &mut R) -> Result<BTreeMap<Recipient, Moment>, R::Error> {
        let mut parked: Vec<(Moment, Recipient, Lane)> = Vec::new();
        for (held, hold) in &self.holds {
            if let (Held::Lane(recipient, lane), Hold::Active { since, .. }) = (held, hold) {
                parked.push((*since, *recipient, *lane));
            }
        }
        parked.sort_unstable_by_key(|(since, ..)| *since);
        let mut oldest: BTreeMap<Recipient, Moment> = BTreeMap::new();
        for (_, recipient, lane) in parked.into_iter().take(LOOKED_INTO) {
            for delivery in self.waiting_in(recipient, lane, records)? {
                let known = oldest.entry(recipient).or_insert(delivery.first_at);
                *known = delivery.first_at.min(*known);
            }
        }
        Ok(oldest)
    }

    /// Takes up what was ordered in a former life.
    pub(super) fn recover_holds<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        self.holds = records.holds()?.into_iter().collect::<BTreeMap<_, _>>();
        for (held, hold) in &self.holds {
            match (held, hold) {
                (Held::Queue(recipient), Hold::Over { at }) => self.lanes.queue_mut(*recipient).excuse(*at),
                // Put into force with the next dispatch.
                (Held::Queue(recipient), Hold::Active { .. }) => drop(self.lanes.queue_mut(*recipient)),
                (Held::Lane(recipient, lane), Hold::Over { at }) => self.lanes.queue_mut(*recipient).excuse_lane(*lane, *at),
                (Held::Lane(recipient, lane), Hold::Active { .. }) => drop(self.lanes.queue_mut(*recipient).park(*lane)),
            }
        }
        Ok(())
    }

    /// Puts holds into force that begin, and ends those that are over.
    pub(super) fn keep_holds<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        let over: Vec<(Held, Moment)> = self
            .holds
            .iter()
            .filter_map(|(held, hold)| match hold {
                Hold::Active { until: Some(until), .. } if *until <= now => Some((*held, *until)),
                Hold::Active { .. } | Hold::Over { .. } => None,
            })
            .collect();
        for (held, at) in over {
            self.put_hold(held, Hold::Over { at }, records)?;
            // It may have been over before this process knew of it.
            if let Held::Queue(recipient) = held {
                self.lanes.queue_mut(recipient).excuse(at);
            }
        }
        let mut changed: Vec<(Recipient, Option<Resting>)> = Vec::new();
        for (recipient, queue) in self.lanes.queues() {
            let resting = self.resting(recipient, now);
            if queue.resting() != resting.as_ref().map(|resting| Rest { until: resting.until }) {
                changed.push((recipient, resting));
            }
        }
        for (recipient, resting) in changed {
            match resting {
                Some(resting) => self.begin_rest(recipient, resting, records, out)?,
                None => self.end_rest(recipient, records, now, out)?,
            }
        }
        Ok(())
    }

    fn begin_rest<R: Records>(
        &mut self,
        recipient: Recipient,
        resting: Resting,
        records: &mut R,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let queue = self.lanes.queue_mut(recipient);
        let begins = queue.resting().is_none();
        queue.rest(Rest { until: resting.until });
        if begins {
            out.facts.push(Fact::RestBegan(recipient, resting.until));
        }
        // What waits must not rely on the journal for long.
        for seq in queue.needing_rows(None) {
            if let Some(delivery) = queue.give_row(seq) {
                records.stage(Change::PutDelivery(delivery.clone()))?;
            }
        }
        Ok(())
    }

    fn end_rest<R: Records>(&mut self, recipient: Recipient, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        let at = match self.holds.get(&Held::Queue(recipient)) {
            // The end of a window a moment ago may be later than that of an order.
            Some(Hold::Over { at })
                if self.lanes.queue(recipient).and_then(|queue| queue.resting()?.until).is_none_or(|until| until <= *at) =>
            {
                *at
            }
            Some(Hold::Over { .. } | Hold::Active { .. }) | None => {
                self.put_hold(Held::Queue(recipient), Hold::Over { at: now }, records)?;
                now
            }
        };
        self.lanes.queue_mut(recipient).wake(at);
        out.facts.push(Fact::RestEnded(recipient));
        Ok(())
    }

    /// Forgets holds that are over for so long that they excuse nothing any more.
    pub(super) fn forget_holds<R: Records>(&mut self, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let curve = &self.curve;
        let stale = |(held, hold): (&Held, &Hold)| match hold {
            Hold::Over { at } if curve.is_over(*at, now) => Some(*held),
            Hold::Over { .. } | Hold::Active { .. } => None,
        };
        let stale: Vec<Held> = self.holds.iter().filter_map(stale).collect();
        for held in stale {
            self.holds.remove(&held);
            match held {
                Held::Queue(recipient) => self.lanes.queue_mut(recipient).forget_excuse(),
                Held::Lane(recipient, lane) => self.lanes.queue_mut(recipient).forget_lane(lane),
            }
            records.stage(Change::ForgetHold(held))?;
        }
        Ok(())
    }

    fn put_hold<R: Records>(&mut self, held: Held, hold: Hold, records: &mut R) -> Result<(), R::Error> {
        self.holds.insert(held, hold.clone());
        records.stage(Change::PutHold(held, hold))
    }

    /// Withdraws what waits for a recipient that is closed, or gone: a slice of
    /// it each time, whatever state it is in.
    pub(super) fn clear<R: Records>(
        &mut self,
        recipient: Recipient,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        /// How much at a time: others are attempted in between.
        const SLICE: usize = 512;
        let idle: Vec<EventSeq> = self.lanes.queue_mut(recipient).idle(SLICE);
        for seq in idle {
            let Some(loaded) = self.lanes.loaded(DeliveryKey { recipient, seq }) else { continue };
            let delivery = loaded.delivery.clone();
            self.withdraw_unless_entitled(&delivery, records, now, out)?;
        }
        Ok(())
    }
}
