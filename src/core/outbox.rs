//! One delivery per event and recipient: its states, and the only functions
//! that move it between them.
//!
//! ```text
//! Pending ──attempt failed──► Retrying ──attempt failed──► Retrying
//!    │                           │  └──given up──► Dead
//!    ├──confirmed──► Delivered ◄─┤                  │
//!    │                           │                  ├──replayed──► Pending
//!    └──not entitled──► Withdrawn ◄─────────────────┘
//! ```
//! `Delivered` and `Withdrawn` are ends; what is left of such a delivery is a
//! line in the journal. `Dead` waits for a person.

use std::sync::Arc;

use super::event::Event;
use super::ids::{CitizenId, DeliveryKey, ExternalId, Recipient, WsbId};
use super::persons::Joined;
use super::policy::{Audience, Audiences, Domain};
use super::retry::{Arrival, class_of};
use super::time::{Day, Moment};

/// Why a recipient was chosen: the rule, and the registration that made it true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Because {
    /// The rule: the first that names it.
    pub audience: Audience,
    /// Other rules that name it too, or that did and name nobody since: whom they
    /// come to name instead is to be told as well.
    pub also: Audiences,
    /// The registration that decided, with its registration time; `None` for a
    /// rule that needs none, such as the registering authority.
    pub registration: Option<(ExternalId, Moment)>,
    /// The day for which it was decided.
    pub day: Day,
}

impl Because {
    /// Returns every rule by which it is told.
    #[must_use]
    pub fn audiences(&self) -> Audiences {
        self.also.with(self.audience)
    }

    /// Returns the same by these rules; `None` by none.
    #[must_use]
    pub fn only(&self, audiences: Audiences) -> Option<Self> {
        let audience = audiences.iter().next()?;
        Some(Self { audience, also: audiences.without(audience), ..self.clone() })
    }
}

/// Where a delivery stands while it is unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never attempted, or to be attempted afresh by a replay.
    Pending,
    /// Attempted in vain; to be tried again.
    Retrying {
        /// Not before.
        next_at: Moment,
        /// What went wrong last.
        last: Failure,
    },
    /// Given up, until an operator decides.
    Dead {
        /// Since when.
        at: Moment,
        /// Why.
        why: Death,
    },
}

impl State {
    /// Returns why it is in this state, as the API names it.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Pending => None,
            Self::Retrying { last, .. } => Some(last.name()),
            Self::Dead { why, .. } => Some(why.name()),
        }
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    /// RabbitMQ confirmed it and did not return it.
    Delivered,
    /// It was taken back before that.
    Withdrawn(Withdrawal),
}

/// Why a delivery was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Withdrawal {
    /// The recipient is not entitled any more (R 2.10).
    MembershipEnded,
    /// The record that it points at has been deleted (R 5.1).
    RecordDeleted,
    /// The citizen was erased.
    SupersededByErasure,
    /// The recipient is closed, or gone from `routing.toml`.
    RecipientClosed,
    /// An operator discarded it.
    Operator,
}

impl Withdrawal {
    /// Every reason, in the order of their numbers in stored rows.
    pub const ALL: [Self; 5] =
        [Self::MembershipEnded, Self::RecordDeleted, Self::SupersededByErasure, Self::RecipientClosed, Self::Operator];

    /// Returns the reason's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MembershipEnded => "membership-ended",
            Self::RecordDeleted => "record-deleted",
            Self::SupersededByErasure => "superseded-by-erasure",
            Self::RecipientClosed => "recipient-closed",
            Self::Operator => "operator",
        }
    }
}

/// How one attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Failure {
    /// RabbitMQ refused it: most often the queue is full.
    Nacked,
    /// RabbitMQ returned it: no such queue (312 NO_ROUTE and the like).
    Returned,
    /// No confirm in time: unknown whether it arrived.
    Timeout,
    /// The channel or connection was lost: unknown whether it arrived.
    Connection,
    /// RabbitMQ refused access.
    Refused,
    /// RabbitMQ closed the channel over it: the exchange is missing (404) or the
    /// like.
    ChannelClosed,
    /// RabbitMQ takes nothing in: its memory or its disk is full.
    Blocked,
    /// A field of the message is longer than AMQP can carry.
    Unsendable,
}

impl Failure {
    /// Every failure, in the order of their numbers in stored rows.
    pub const ALL: [Self; 8] = [
        Self::Nacked,
        Self::Returned,
        Self::Timeout,
        Self::Connection,
        Self::Refused,
        Self::ChannelClosed,
        Self::Blocked,
        Self::Unsendable,
    ];

    /// Returns the failure's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nacked => "nacked",
            Self::Returned => "returned",
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Refused => "refused",
            Self::ChannelClosed => "channel-closed",
            Self::Blocked => "blocked",
            Self::Unsendable => "unsendable",
        }
    }

    /// Returns the reply code that RabbitMQ always gives with this failure, 0 where
    /// it gives none or several.
    #[must_use]
    pub fn usual_code(self) -> u16 {
        match self {
            Self::Returned => 312,
            Self::Refused => 403,
            Self::Nacked | Self::Timeout | Self::Connection | Self::ChannelClosed | Self::Blocked | Self::Unsendable => 0,
        }
    }
}

/// Why a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Death {
    /// The time allowed for retries ran out: how the last attempt failed, or for
    /// one that never had any, how its queue did that was paused.
    GaveUp(Failure),
    /// The time ran out before any attempt of its own, and its queue was not paused.
    NeverAttempted,
    /// The recipient rejected it without requeueing.
    RejectedByRecipient,
    /// The recipient's queue gave up delivering it.
    DeliveryLimit,
    /// It expired in the recipient's queue.
    Expired,
    /// The recipient's queue dropped it to make room, by a policy of its operator.
    Overflow,
}

impl Death {
    /// Returns the reason's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GaveUp(failure) => failure.name(),
            Self::NeverAttempted => "never-attempted",
            Self::RejectedByRecipient => "rejected-by-recipient",
            Self::DeliveryLimit => "delivery-limit",
            Self::Expired => "expired",
            Self::Overflow => "overflow",
        }
    }

    /// Returns whether it had been in the recipient's queue.
    #[must_use]
    pub fn had_arrived(self) -> bool {
        !matches!(self, Self::GaveUp(_) | Self::NeverAttempted)
    }
}

/// One failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// When its outcome was known.
    pub at: Moment,
    /// How it failed.
    pub failure: Failure,
    /// RabbitMQ's reply code, 0 where it gave none.
    pub code: u16,
}

/// How many of the latest failed attempts a delivery remembers: all of them
/// within the 72 hours after which the defaults give it up.
pub const REMEMBERED_ATTEMPTS: usize = 100;

/// A copy that had been delivered before its delivery was sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier {
    /// When.
    pub at: Moment,
    /// Whether it was a replay's, and says so of itself.
    pub replay: bool,
}

/// An unfinished delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which.
    pub key: DeliveryKey,
    /// About whom.
    pub citizen: CitizenId,
    /// About what.
    pub event: Arc<Event>,
    /// The domain of its type; a part of its lane.
    pub domain: Domain,
    /// Why the recipient was chosen, by the latest decision.
    pub because: Because,
    /// When the recipient was first chosen; the time allowed for retries counts
    /// from here, or from the latest replay.
    pub first_at: Moment,
    /// How many attempts there have been.
    pub attempts: u32,
    /// The latest failed ones, oldest first.
    pub failures: Vec<Attempt>,
    /// How often an operator has had it sent again, so far.
    pub replays: u32,
    /// The copy that had been delivered already, for one that is sent again after
    /// that: as long as it does not come back, nothing is owed to anybody else should
    /// this be taken back.
    pub delivered_before: Option<Earlier>,
    /// Where it stands.
    pub state: State,
}

/// Order is kept within a lane, and nothing in one lane waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The citizen that stands for the person.
    pub citizen: CitizenId,
    /// The business domain.
    pub domain: Domain,
}

impl Delivery {
    /// Returns the id of the WSB, and of the delivery.
    #[must_use]
    pub fn id(&self) -> WsbId {
        self.event.mark.wsb_id(self.key.recipient)
    }

    /// Returns its lane within the recipient's queue: that of the person, under
    /// whichever number it came.
    #[must_use]
    pub fn lane_by(&self, joined: &Joined) -> Lane {
        Lane { citizen: joined.first_of(self.citizen), domain: self.domain }
    }

    /// Returns the instant before which it must not be attempted, if any.
    #[must_use]
    pub fn not_before(&self) -> Option<Moment> {
        match &self.state {
            State::Retrying { next_at, .. } => Some(*next_at),
            State::Pending | State::Dead { .. } => None,
        }
    }

    /// Returns whether an attempt of this count may have arrived: not where RabbitMQ has
    /// refused or returned each of them.
    #[must_use]
    pub fn may_have_arrived(&self) -> bool {
        let is_known = self.failures.len() == self.attempts as usize;
        !is_known || self.failures.iter().any(|attempt| class_of(attempt.failure).arrived == Arrival::Unknown)
    }

    /// Returns a delivery that begins anew because an operator asked for it.
    #[must_use]
    pub fn replayed(self, now: Moment) -> Self {
        let replays = self.replays.saturating_add(1);
        Self { replays, first_at: now, attempts: 0, failures: Vec::new(), state: State::Pending, ..self }
    }

    /// Takes in that a copy came back, one of a replay or not. The earlier copy does
    /// not count as delivered any more if that may have been it: rather told twice than
    /// to nobody. Returns when it had been delivered then.
    pub fn lose_copy(&mut self, replay: bool) -> Option<Moment> {
        self.delivered_before.take_if(|earlier| earlier.replay == replay).map(|earlier| earlier.at)
    }

    /// Returns the delivery of somebody else that takes the place of this one.
    #[must_use]
    pub fn instead(&self, recipient: Recipient, because: Because, now: Moment) -> Self {
        let key = DeliveryKey { recipient, ..self.key };
        Self {
            key,
            because,
            first_at: now,
            attempts: 0,
            failures: Vec::new(),
            // Nothing has been sent there yet: it is nobody who may hold a copy.
            replays: 0,
            delivered_before: None,
            state: State::Pending,
            ..self.clone()
        }
    }

    /// Records a failed attempt: to be tried again at `next_at`.
    #[must_use]
    pub fn failed(mut self, attempt: Attempt, next_at: Moment) -> Self {
        self.remember(attempt);
        self.state = State::Retrying { next_at, last: attempt.failure };
        self
    }

    /// Records a failed attempt that was the last one allowed.
    #[must_use]
    pub fn gave_up(mut self, attempt: Attempt) -> Self {
        self.remember(attempt);
        self.died(attempt.at, Death::GaveUp(attempt.failure))
    }

    /// Gives the delivery up.
    #[must_use]
    pub fn died(mut self, at: Moment, why: Death) -> Self {
        self.state = State::Dead { at, why };
        self
    }

    fn remember(&mut self, attempt: Attempt) {
        self.attempts = self.attempts.saturating_add(1);
        if self.failures.len() == REMEMBERED_ATTEMPTS {
            self.failures.remove(0);
        }
        self.failures.push(attempt);
    }
}

/// How a delivery ended, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub end: End,
    /// After how many attempts.
    pub attempts: u32,
    /// When.
    pub at: Moment,
    /// The latest failed attempts; none are known of one that never had a row.
    pub failures: Vec<Attempt>,
    /// How often an operator had it sent again.
    pub replays: u32,
    /// The copy that had been delivered before the latest of those.
    pub delivered_before: Option<Earlier>,
}

impl Ended {
    /// Returns the copy that was delivered, of one that was.
    #[must_use]
    pub fn copy(&self) -> Earlier {
        Earlier { at: self.at, replay: self.replays > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Change;
    use super::super::ids::EventSeq;
    use super::super::samples::{event, recipient};
    use super::*;

    const FAILED: Attempt = Attempt { at: Moment(7), failure: Failure::Nacked, code: 1 };

    fn pending() -> Delivery {
        let event = event("e", 1, Change::Created, "2026-03-16..", super::super::event::Content::Other);
        Delivery {
            key: DeliveryKey { recipient: recipient("akasse:067"), seq: EventSeq(1) },
            citizen: CitizenId(1),
            because: Because {
                audience: Audience::AkasseOwnMembers,
                also: Audiences::default(),
                registration: None,
                day: event.start.expect("given above"),
            },
            event: Arc::new(event),
            domain: Domain::Kontaktforloeb,
            first_at: Moment(1),
            attempts: 0,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
            state: State::Pending,
        }
    }

    fn retrying() -> Delivery {
        pending().failed(Attempt { failure: Failure::Timeout, ..FAILED }, Moment(3))
    }

    /// Every move from every state that a waiting delivery can be in.
    #[test]
    fn moves() {
        let check = |after: &Delivery, state: State, attempts: u32, not_before: Option<i64>| {
            assert_eq!(after.state, state);
            assert_eq!(after.attempts, attempts);
            assert_eq!(after.failures.len(), attempts as usize);
            assert_eq!(after.not_before(), not_before.map(Moment));
            assert_eq!((after.id(), after.first_at), (pending().id(), Moment(1)), "what never changes");
        };
        let again = |last| State::Retrying { next_at: Moment(9), last };
        let dead = |why| State::Dead { at: Moment(7), why };
        check(&pending(), State::Pending, 0, None);
        check(&pending().failed(FAILED, Moment(9)), again(Failure::Nacked), 1, Some(9));
        check(&retrying().failed(FAILED, Moment(9)), again(Failure::Nacked), 2, Some(9));
        check(&pending().gave_up(FAILED), dead(Death::GaveUp(Failure::Nacked)), 1, None);
        check(&retrying().gave_up(FAILED), dead(Death::GaveUp(Failure::Nacked)), 2, None);
        check(&pending().died(Moment(7), Death::NeverAttempted), dead(Death::NeverAttempted), 0, None);
        check(&retrying().died(Moment(7), Death::GaveUp(Failure::Timeout)), dead(Death::GaveUp(Failure::Timeout)), 1, None);
    }

    #[test]
    fn only_the_latest_attempts_are_remembered() {
        let mut delivery = pending();
        for at in 0..150 {
            delivery = delivery.failed(Attempt { at: Moment(at), ..FAILED }, Moment(0));
        }
        assert_eq!(delivery.attempts, 150);
        let remembered: Vec<i64> = delivery.failures.iter().map(|attempt| attempt.at.0).collect();
        assert_eq!(remembered, (50..150).collect::<Vec<_>>());
    }
}
