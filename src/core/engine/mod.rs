//! The front door of the core: what happened goes in; changes to store,
//! attempts to perform and facts to report come out.
//!
//! The engine stages changes with [`Records`]; whoever drives it commits them,
//! flushes, and only then acknowledges events and calls [`Engine::dispatch`].
//! Hence nothing is attempted whose intent is not durable. Everything the
//! engine holds in memory is rebuilt by [`Engine::recover`].
//!
//! Does no I/O, and never asks what time it is.

mod admit;
mod clockwork;
mod dispatch;
mod erase;
mod explain;
mod follow;
mod hold;
mod moved;
mod notices;
mod operator;
mod replays;
mod returned;
mod settle;
mod unclaimed;
mod waiting;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use admit::Manner;
pub use clockwork::{OutgoingOrder, Traffic};
pub use explain::{Explanation, explain};
pub use hold::{LaneOrder, LaneView, Parked, RestCause, Resting, Resumed};
pub use notices::Trial;
pub use operator::Discarded;
pub use replays::{Advanced, Begun, Replayed, Survey, Wish};
pub use returned::{CameBack, Doubt, TakenBack};
pub use waiting::Wait;

use super::erasure::Cause;
use super::event::Event;
use super::holds::{Held, Hold};
use super::ids::{DeliveryKey, EventSeq, Personnummer, Recipient, WsbId};
use super::lanes::{Journal, Kept, Lanes, Pause, WINDOW};
use super::notices::{Notices, Reminder};
use super::outbox::{Death, Delivery, End, State, Withdrawal};
use super::policy::{Horizons, MessageType, Rules};
use super::records::{Change, Quarantined, Records, RowCounts};
use super::replay::{ReplayId, Stage as ReplayStage};
use super::retention::DeletionTold;
use super::retry::{Curve, Outcome};
use super::routing::{Suppression, name_told};
use super::time::Moment;
use super::trace::Step;

/// One attempt to be performed: publish this, and report the outcome.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The delivery.
    pub key: DeliveryKey,
    /// The id of the WSB.
    pub id: WsbId,
    /// What is told.
    pub event: Arc<Event>,
    /// As which type.
    pub kind: Arc<MessageType>,
    /// Into which queue.
    pub queue: Arc<str>,
    /// The citizen's current number, unless the recipient may not be told.
    pub identification: Option<Personnummer>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Whether an operator asked for it.
    pub replay: bool,
    /// When entitlement was decided for this attempt.
    pub decided_at: Moment,
}

/// What became of an event at intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Consumption {
    /// Somebody is to be told.
    Routed,
    /// Nobody is.
    NoRecipient,
    /// It had been taken in before.
    Duplicate,
    /// It cannot be an event.
    Quarantined,
}

/// When a wrong recipient was prevented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// At intake.
    Decision,
    /// Before an attempt, or at once when the membership changed.
    Attempt,
    /// Before an attempt that an operator had asked for.
    Replay,
}

/// Something that happened, to be counted and told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// An event was consumed. Without a type only in quarantine.
    Consumed(Option<Arc<str>>, Consumption),
    /// A recipient was left out at intake.
    Suppressed(Arc<str>, Suppression),
    /// A recipient that has lost the citizen was not told.
    WrongRecipientPrevented(Stage),
    /// An attempt was made.
    Attempted(Outcome),
    /// A delivery was confirmed, this many microseconds after its event was taken in,
    /// and so many after its queue and its lane were last left alone on purpose.
    Delivered(Arc<str>, Recipient, i64, i64),
    /// A deletion notice about a data area was confirmed.
    NoticeDelivered(Box<str>),
    /// Nobody has fetched notices for so long that an operator is to be told.
    NoticesUnfetched(Reminder),
    /// A delivery was taken back.
    Withdrawn(Arc<str>, Recipient, Withdrawal),
    /// A delivery was given up.
    Died(Arc<str>, Recipient, Death),
    /// A queue was paused, or its pause made longer.
    Paused(Recipient, Pause),
    /// A queue works again.
    Resumed(Recipient),
    /// A citizen was erased.
    Erased(Cause),
    /// A recipient has rejected a WSB about a citizen who has been forgotten since.
    CameBackForgotten(Recipient),
    /// Citizens whose last record has gone cannot be forgotten: it could not be
    /// noted for backups to know.
    CannotErase,
    /// A queue is left alone by order, or for a maintenance window; until then.
    RestBegan(Recipient, Option<Moment>),
    /// A queue is not left alone any longer.
    RestEnded(Recipient),
    /// The order to delete a record of this data area was confirmed.
    DeletionOrdered(Arc<str>),
    /// DFDG says that it has deleted a record of this data area which the rules
    /// did not expect: never [`DeletionTold::Expected`].
    UnexpectedDeletion(Box<str>, DeletionTold),
    /// A replay has come to another stage.
    Replay(ReplayId, ReplayStage),
}

/// What the engine wants done, besides the changes that it has staged.
#[derive(Debug, Default)]
pub struct Output {
    /// Attempts to perform, in order.
    pub attempts: Vec<Outgoing>,
    /// Deletion orders to publish, in order.
    pub orders: Vec<OutgoingOrder>,
    /// What happened.
    pub facts: Vec<Fact>,
    /// Whether anything is to be told to somebody in another's place, or beside.
    pub handed_over: bool,
}

impl Output {
    /// Returns whether what was staged must be flushed, whatever else is: a crash must
    /// not bring back whoever is said to be forgotten, nor take back that somebody was
    /// to be told who has been attempted since, and may hold something of the record.
    #[must_use]
    pub fn must_last(&self) -> bool {
        self.handed_over || self.facts.iter().any(|fact| matches!(fact, Fact::Erased(_)))
    }
}

/// Bounds on what is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many attempts may be under way at once, and half as many more
    /// that are shared out evenly.
    pub in_flight: usize,
    /// How many deliveries may rely on the journal before intake should wait.
    pub in_journal: usize,
    /// How many events back the journal must be read at a restart at the most.
    pub recovery_span: u64,
    /// How many deliveries of one queue are loaded at the most; more while they
    /// go out as fast as they come, and `in_journal` is not reached.
    pub window: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { in_flight: 4096, in_journal: 8192, recovery_span: 65_536, window: WINDOW }
    }
}

impl Limits {
    /// Places that no queue can take from another.
    fn reserved(&self) -> usize {
        self.in_flight / 2
    }

    /// Returns how many attempts may be under way at the most.
    #[must_use]
    pub fn most_under_way(&self) -> usize {
        self.in_flight + self.reserved()
    }
}

/// One queue as operators and metrics see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueView {
    /// Whose.
    pub recipient: Recipient,
    /// Whether it does not work, and is paused for that.
    pub pause: Option<Pause>,
    /// Whether it is left alone by order, or for a maintenance window.
    pub resting: Option<Resting>,
    /// Unfinished deliveries by state.
    pub counts: RowCounts,
    /// Since when the oldest one waits.
    pub oldest: Option<Moment>,
    /// How many lanes wait behind a delivery that is being retried, or are parked.
    pub lanes_blocked: usize,
}

/// The deciding part of the broker.
#[derive(Debug)]
pub struct Engine {
    rules: Arc<Rules>,
    curve: Curve,
    limits: Limits,
    lanes: Lanes,
    holds: BTreeMap<Held, Hold>,
    last_seq: EventSeq,
    low_water: EventSeq,
    /// The newest event of the latest life that did not stop in order: what waited about
    /// it, and about those before it, may have been sent without anybody knowing.
    recovered_to: EventSeq,
    in_flight: usize,
    connected: bool,
    heard: bool,
    horizons: Horizons,
    /// As of the latest dispatch.
    journal: Journal,
    clockwork: clockwork::Clockwork,
    notices: Notices,
    replays: replays::Replays,
    unclaimed: unclaimed::Pass,
    follow: follow::Follow,
}

impl Engine {
    /// Returns an engine that knows nothing yet; see [`Engine::recover`].
    #[must_use]
    pub fn new(rules: Arc<Rules>, limits: Limits) -> Self {
        let curve = Curve::new(rules.retry());
        Self {
            rules,
            curve,
            limits,
            lanes: Lanes::new(limits.window),
            holds: BTreeMap::new(),
            last_seq: EventSeq(0),
            low_water: EventSeq(0),
            recovered_to: EventSeq(0),
            in_flight: 0,
            connected: false,
            heard: true,
            replays: replays::Replays::default(),
            horizons: Horizons::default(),
            journal: Journal::HasRoom,
            clockwork: clockwork::Clockwork::default(),
            notices: Notices::default(),
            unclaimed: unclaimed::Pass::default(),
            follow: follow::Follow::default(),
        }
    }

    /// Rebuilds the view of what waits, and gives a row to every delivery that a
    /// crash has left in the journal only. To be called once, before all else;
    /// the caller commits.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn recover<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        self.last_seq = records.last_seq();
        self.recovered_to = records.stopped()?.unwrap_or(self.last_seq);
        self.lanes.recover(records.joined());
        self.recover_holds(records)?;
        for (recipient, counts) in records.row_counts()? {
            let queue = self.lanes.queue_mut(recipient);
            *queue.counts_mut() = counts;
            if counts.pending + counts.retrying > 0 {
                queue.leave_for_later();
            }
        }
        for delivery in records.unfinished_in_journal()? {
            let queue = self.lanes.queue_mut(delivery.key.recipient);
            queue.counts_mut().pending += 1;
            queue.leave_for_later();
            records.stage(Change::PutDelivery(delivery))?;
        }
        self.recover_clocks(records)?;
        self.recover_notices(records)?;
        self.recover_replays(records)?;
        self.low_water = EventSeq(self.last_seq.0 + 1);
        records.stage(Change::SetLowWater(self.low_water))
    }

    /// Notes that attempts may be made from now on: a stop without notice leaves unknown
    /// what became of them. To be durable before the first one.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn start<R: Records>(&self, records: &mut R) -> Result<(), R::Error> {
        match records.stopped()? {
            Some(_) => records.stage(Change::Started),
            None => Ok(()),
        }
    }

    /// Notes that no attempt is made any more, and that the outcome of each is known; does
    /// nothing while one is under way.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn stop<R: Records>(&self, records: &mut R) -> Result<(), R::Error> {
        match self.in_flight {
            0 => records.stage(Change::Stopped(self.recovered_to)),
            _ => Ok(()),
        }
    }

    /// Sets for how long what has been taken in is remembered.
    pub fn remember_for(&mut self, horizons: Horizons) {
        self.horizons = horizons;
    }

    /// Takes over other rules. What waits is decided by them from now on.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.curve = Curve::new(rules.retry());
        let former = std::mem::replace(&mut self.rules, rules);
        self.reindex_unless(former.schedule());
        // Who is entitled may change with them.
        self.unclaimed = unclaimed::Pass::default();
    }

    /// Returns the rules in force.
    #[must_use]
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// Notes whether attempts can be performed at all. Nothing is attempted
    /// while they cannot.
    pub fn set_connected(&mut self, connected: bool) {
        self.connected = connected;
    }

    /// Notes whether all that changes who may receive has been taken in, as far as it had been
    /// told a moment ago. Nothing is attempted while it has not: that would be decided by what
    /// was. Taken for true until said otherwise.
    pub fn set_heard(&mut self, heard: bool) {
        self.heard = heard;
    }

    fn may_send(&self) -> bool {
        self.connected && self.heard
    }

    /// Returns whether more ordinary events should be taken in now.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.in_journal() < self.limits.in_journal
    }

    fn in_journal(&self) -> usize {
        self.lanes.queues().map(|(_, queue)| queue.in_journal()).sum()
    }

    /// Returns whether new deliveries may rely on the journal beyond what one
    /// queue may have loaded. Reached only by what comes in without `has_room`:
    /// events that overtake all others.
    fn journal(&self) -> Journal {
        if self.in_journal() < self.limits.in_journal * 2 { Journal::HasRoom } else { Journal::IsFull }
    }

    /// Returns how many attempts are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns whether one more delivery of a queue may be under way: a queue has at
    /// most as many there as places are free, so that a few that do not answer leave
    /// room for the others. Where many have come to hang one after the other nothing
    /// is free; then each of the others still has its even share of what is reserved.
    fn has_place(&self, recipient: Recipient) -> bool {
        let under_way = self.lanes.queue(recipient).map_or(0, |queue| queue.under_way() as usize);
        let share = self.limits.reserved() / self.rules.recipients().len().max(1);
        // The latter only after a change of the rules.
        under_way < self.limits.in_flight.saturating_sub(self.in_flight).max(share) && self.in_flight < self.limits.most_under_way()
    }

    /// Returns the next instant at which [`Engine::dispatch`] or
    /// [`Engine::tend`] may have something to do of its own accord.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        if !self.lanes.arrived().is_empty() {
            return Some(Moment(i64::MIN));
        }
        // What is to be withdrawn needs no connection.
        let can_send = |recipient| self.may_send() && self.has_place(recipient);
        self.lanes
            .queues()
            .filter(|(recipient, queue)| queue.is_closed() || can_send(*recipient))
            .filter_map(|(_, queue)| queue.next_wake())
            .min()
    }

    /// Returns every queue as operators and metrics see it at `now`.
    #[must_use]
    pub fn view(&self, now: Moment) -> Vec<QueueView> {
        self.lanes
            .queues()
            .map(|(recipient, queue)| QueueView {
                recipient,
                pause: queue.paused(),
                resting: self.resting(recipient, now),
                counts: queue.counts(),
                oldest: queue.oldest(),
                lanes_blocked: queue.lanes_blocked(),
            })
            .collect()
    }

    /// Returns the place of the newest event taken in, committed or not; 0 before the
    /// first.
    #[must_use]
    pub fn newest(&self) -> EventSeq {
        self.last_seq
    }

    /// Puts a message that cannot be an event into quarantine.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn quarantine<R: Records>(&mut self, message: Quarantined, records: &mut R, out: &mut Output) -> Result<(), R::Error> {
        out.facts.push(Fact::Consumed(None, Consumption::Quarantined));
        records.stage(Change::Quarantine(message))
    }

    /// Adds a new delivery where it belongs, and stages a row if it needs one.
    /// `journaled` says that the journal holds it, so that it may do without.
    fn add<R: Records>(&mut self, delivery: Delivery, journaled: bool, records: &mut R) -> Result<(), R::Error> {
        use super::lanes::Place;
        let queue = self.lanes.queue_mut(delivery.key.recipient);
        queue.counts_mut().pending += 1;
        match queue.place(delivery.key.seq, queue.lane_of(&delivery), self.journal) {
            Place::Soon if journaled => queue.load(delivery, Kept::InJournal),
            Place::Soon | Place::Held => {
                records.stage(Change::PutDelivery(delivery.clone()))?;
                queue.load(delivery, Kept::InRow);
            }
            Place::Parked => {
                queue.note_fresh(delivery.citizen, delivery.key.seq);
                records.stage(Change::PutDelivery(delivery))?;
            }
            Place::Later => {
                queue.put_for_later(delivery.citizen, delivery.key.seq);
                records.stage(Change::PutDelivery(delivery))?;
            }
        }
        Ok(())
    }

    /// Returns whether the recipient may have been sent something: it was, or
    /// an outcome may have been lost with a former life of the process.
    fn may_have_been_sent(&self, delivery: &Delivery) -> bool {
        delivery.may_have_arrived()
            // A replay begins to count anew.
            || delivery.replays > 0
            || self.outcome_may_be_lost(delivery)
            || self.lanes.loaded(delivery.key).is_some_and(super::lanes::Loaded::is_in_flight)
    }

    /// Returns whether it may have been sent by a former life of the process that stopped
    /// without notice.
    fn outcome_may_be_lost(&self, delivery: &Delivery) -> bool {
        delivery.key.seq <= self.recovered_to
    }

    /// Withdraws a delivery, loaded or not. One under way keeps its place in the
    /// lane until its outcome is known; should it fail, it is not tried again.
    fn withdraw<R: Records>(
        &mut self,
        delivery: &Delivery,
        why: Withdrawal,
        now: Moment,
        records: &mut R,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let may_hold = self.may_have_been_sent(delivery);
        let is_in_flight = self.lanes.loaded(delivery.key).is_some_and(super::lanes::Loaded::is_in_flight);
        let attempts = delivery.attempts.max(u32::from(is_in_flight));
        if attempts == 0 && self.outcome_may_be_lost(delivery) {
            dispatch::trace(delivery, Step::MayHaveBeenSent, now, records)?;
        }
        let queue = self.lanes.queue_mut(delivery.key.recipient);
        let loaded = queue.get(delivery.key.seq);
        let had_row = loaded.is_none_or(|loaded| loaded.kept == Kept::InRow);
        if is_in_flight {
            queue.withdraw_in_flight(delivery.key.seq);
        } else {
            queue.remove(delivery.key.seq);
        }
        uncount(queue.counts_mut(), &delivery.state);
        out.facts.push(Fact::Withdrawn(Arc::clone(name_told(&delivery.event, &self.rules)), delivery.key.recipient, why));
        records.stage(Change::Finish {
            key: delivery.key,
            citizen: delivery.citizen,
            event: Arc::clone(&delivery.event),
            had_row,
            end: End::Withdrawn(why),
            attempts,
            may_hold,
            at: now,
        })
    }
}

/// Takes a delivery in `state` out of the numbers of its queue.
fn uncount(counts: &mut RowCounts, state: &State) {
    let count = match state {
        State::Pending => &mut counts.pending,
        State::Retrying { .. } => &mut counts.retrying,
        State::Dead { .. } => &mut counts.dead,
    };
    *count = count.saturating_sub(1);
}
