//! Why a delivery is not attempted just now: looked up in what is in memory, never
//! searched for.

use super::Engine;
use super::hold::{Parked, Resting};
use crate::core::holds::{Held, Hold};
use crate::core::ids::{DeliveryKey, Recipient, WsbId};
use crate::core::lanes::{Loaded, Pause, Queue};
use crate::core::outbox::{Delivery, State};
use crate::core::time::Moment;

/// Something that a delivery waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The outcome of an attempt.
    Outcome,
    /// A connection to RabbitMQ.
    Connection,
    /// The end of a rest of its queue, by order or for a maintenance window.
    Rest(Resting),
    /// The next probe of its queue, which does not work.
    Probe(Pause),
    /// The release of its lane.
    Release(Parked),
    /// The first delivery of its lane.
    Behind {
        /// Which.
        id: WsbId,
        /// Of which event.
        event_id: Box<str>,
    },
    /// Others to the same recipient, of which more wait than are loaded.
    Others,
    /// The time of its own next attempt.
    Retry(Moment),
}

impl Engine {
    /// Returns what an unfinished delivery waits for at `now`, the widest first;
    /// nothing for one that is dead, has ended, or whose turn it is. `row` is its
    /// row, if it has one.
    #[must_use]
    pub fn waits(&self, key: DeliveryKey, row: Option<&Delivery>, now: Moment) -> Vec<Wait> {
        let loaded = self.lanes.loaded(key);
        if loaded.is_some_and(Loaded::is_withdrawn) {
            return Vec::new();
        }
        if loaded.is_some_and(Loaded::is_in_flight) {
            return vec![Wait::Outcome];
        }
        let delivery = loaded.map(|loaded| &loaded.delivery).or(row);
        let Some(delivery) = delivery.filter(|delivery| !matches!(delivery.state, State::Dead { .. })) else { return Vec::new() };
        let (lane, queue) = (self.lanes.lane_of(delivery), self.lanes.queue(key.recipient));
        let mut waits = self.held(key.recipient, now);
        if let Some(Hold::Active { since, why, named, .. }) = self.holds.get(&Held::Lane(key.recipient, lane)) {
            waits.push(Wait::Release(Parked { since: *since, why: why.clone(), named: *named }));
            return waits;
        }
        match queue.and_then(|queue| queue.first_of(&lane)) {
            Some(first) if first.key.seq < key.seq => waits.push(Wait::Behind { id: first.id(), event_id: first.event.id.clone() }),
            Some(_) | None if loaded.is_none() => waits.push(Wait::Others),
            Some(_) | None => waits.extend(delivery.not_before().filter(|at| *at > now).map(Wait::Retry)),
        }
        waits
    }

    /// Returns what keeps everything to a recipient from being attempted at `now`, the
    /// widest first.
    #[must_use]
    pub fn held(&self, recipient: Recipient, now: Moment) -> Vec<Wait> {
        let mut held = Vec::new();
        if !self.connected {
            held.push(Wait::Connection);
        }
        match self.resting(recipient, now) {
            // While it rests it is not probed.
            Some(resting) => held.push(Wait::Rest(resting)),
            None => held.extend(self.lanes.queue(recipient).and_then(Queue::paused).map(Wait::Probe)),
        }
        held
    }

    /// Returns how many lanes to a recipient are parked.
    #[must_use]
    pub fn lanes_parked_of(&self, recipient: Recipient) -> usize {
        self.lanes.queue(recipient).map_or(0, Queue::lanes_parked)
    }
}
