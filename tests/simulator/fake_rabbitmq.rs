//! RabbitMQ as the broker sees it: intake queues that deliver again what was
//! not acknowledged, and recipients' queues that confirm, refuse, or keep silent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wsb_broker::core::engine::Outgoing;
use wsb_broker::core::event::Event;
use wsb_broker::core::ids::{DeliveryKey, Recipient};
use wsb_broker::core::outbox::Failure;
use wsb_broker::core::retry::Outcome;

use crate::dice::Dice;

/// A message in an intake queue.
#[derive(Clone)]
pub enum Parcel {
    Event(Arc<Event>),
    /// Cannot be read as an event; with one, it could be under other rules.
    Garbled(u32, Option<Arc<Event>>),
}

#[derive(Default)]
pub struct IntakeQueue {
    ready: VecDeque<Parcel>,
    unacked: Vec<Parcel>,
}

impl IntakeQueue {
    pub fn publish(&mut self, parcel: Parcel) {
        self.ready.push_back(parcel);
    }

    pub fn take(&mut self, most: usize) -> Vec<Parcel> {
        let taken: Vec<Parcel> = self.ready.drain(..most.min(self.ready.len())).collect();
        self.unacked.extend(taken.iter().cloned());
        taken
    }

    /// Acknowledges everything taken so far.
    pub fn ack(&mut self) -> Vec<Parcel> {
        std::mem::take(&mut self.unacked)
    }

    /// Whoever consumed has gone: what was not acknowledged comes again, in
    /// front, or at the end where quorum queues sometimes put it.
    fn requeue(&mut self, dice: &mut Dice) {
        let unacked = std::mem::take(&mut self.unacked);
        if dice.chance(20) {
            self.ready.extend(unacked);
        } else {
            for parcel in unacked.into_iter().rev() {
                self.ready.push_front(parcel);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.unacked.is_empty()
    }
}

/// How a recipient's queue behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Works,
    Missing,
    Refuses,
    Nacks,
    /// Takes or loses messages, and never confirms.
    Silent,
    /// Closes the channel.
    Closes,
}

impl Mood {
    pub const ALL: [Self; 6] = [Self::Works, Self::Missing, Self::Refuses, Self::Nacks, Self::Silent, Self::Closes];
}

struct RecipientQueue {
    mood: Mood,
    unfetched: VecDeque<DeliveryKey>,
}

pub struct RabbitMq {
    pub tilknytning: IntakeQueue,
    pub events: IntakeQueue,
    queues: BTreeMap<Recipient, RecipientQueue>,
    under_way: Vec<DeliveryKey>,
    pub up: bool,
    max_length: usize,
}

/// What became of a publish: what the broker is told, and whether the message
/// arrived.
pub struct Resolved {
    pub key: DeliveryKey,
    pub outcome: Outcome,
    pub arrived: bool,
}

fn failed(failure: Failure, code: u16) -> Outcome {
    Outcome::Failed { failure, code }
}

impl RabbitMq {
    pub fn new(max_length: usize) -> Self {
        Self {
            tilknytning: IntakeQueue::default(),
            events: IntakeQueue::default(),
            queues: BTreeMap::new(),
            under_way: Vec::new(),
            up: true,
            max_length,
        }
    }

    fn queue(&mut self, recipient: Recipient) -> &mut RecipientQueue {
        self.queues.entry(recipient).or_insert(RecipientQueue { mood: Mood::Works, unfetched: VecDeque::new() })
    }

    pub fn set_mood(&mut self, recipient: Recipient, mood: Mood) {
        self.queue(recipient).mood = mood;
    }

    /// The vendor fetches everything.
    pub fn drain(&mut self, recipient: Recipient) {
        self.queue(recipient).unfetched.clear();
    }

    /// The vendor fetches some.
    pub fn fetch(&mut self, recipient: Recipient, most: usize) {
        let unfetched = &mut self.queue(recipient).unfetched;
        unfetched.drain(..most.min(unfetched.len()));
    }

    /// What lies in a recipient's queue.
    pub fn unfetched(&mut self, recipient: Recipient) -> &VecDeque<DeliveryKey> {
        &self.queue(recipient).unfetched
    }

    /// A message leaves its queue.
    pub fn leave(&mut self, key: DeliveryKey) {
        self.queue(key.recipient).unfetched.retain(|other| *other != key);
    }

    pub fn everything_works(&mut self) {
        self.up = true;
        for queue in self.queues.values_mut() {
            *queue = RecipientQueue { mood: Mood::Works, unfetched: VecDeque::new() };
        }
    }

    pub fn publish(&mut self, attempt: &Outgoing) {
        self.under_way.push(attempt.key);
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Answers one publish.
    pub fn resolve(&mut self, dice: &mut Dice, faults: bool) -> Option<Resolved> {
        if self.under_way.is_empty() {
            return None;
        }
        let key = self.under_way.remove(dice.below(self.under_way.len()));
        let max_length = self.max_length;
        let queue = self.queue(key.recipient);
        let (outcome, arrived) = match queue.mood {
            _ if faults && dice.chance(3) => (Outcome::NotMade, false),
            Mood::Works if queue.unfetched.len() >= max_length => (failed(Failure::Nacked, 0), false),
            Mood::Works if faults && dice.chance(4) => (failed(Failure::Timeout, 0), dice.chance(50)), // the confirm is lost, or comes too late
            Mood::Works if faults && dice.chance(1) => (failed(Failure::Nacked, 0), false),
            Mood::Works => (Outcome::Confirmed, true),
            Mood::Missing => (failed(Failure::Returned, 312), false),
            Mood::Refuses => (failed(Failure::Refused, 403), false),
            Mood::Nacks => (failed(Failure::Nacked, 0), false),
            Mood::Silent => (failed(Failure::Timeout, 0), dice.chance(50)),
            Mood::Closes => (failed(Failure::ChannelClosed, 404), false),
        };
        queue.unfetched.extend(arrived.then_some(key));
        Some(Resolved { key, outcome, arrived })
    }

    /// The connection is gone: nobody knows what arrived of all that was under way.
    pub fn disconnect(&mut self, dice: &mut Dice) -> Vec<Resolved> {
        let under_way = std::mem::take(&mut self.under_way);
        let mut resolved = Vec::new();
        for key in under_way {
            let queue = self.queue(key.recipient);
            let arrived = queue.mood == Mood::Works && dice.chance(50);
            queue.unfetched.extend(arrived.then_some(key));
            resolved.push(Resolved { key, outcome: failed(Failure::Connection, 0), arrived });
        }
        resolved
    }

    /// The answer to a publish never comes.
    pub fn forget(&mut self, key: DeliveryKey) {
        self.under_way.retain(|other| *other != key);
    }

    /// The consumer has gone, by a crash or a lost connection.
    pub fn requeue_unacked(&mut self, dice: &mut Dice) {
        self.tilknytning.requeue(dice);
        self.events.requeue(dice);
    }
}
