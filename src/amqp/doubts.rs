//! Queues that may hang: what goes to one of them goes by itself.
//!
//! A channel whose process at RabbitMQ waits for a queue that does not answer
//! handles nothing else, and confirms nothing of what it has handled before: the
//! first message of a channel to a quorum queue without a working leader holds
//! that channel for a minute (observed with 3.10). Hence batches go where their
//! channel has been answered from before, or to one queue (`publisher`), and what
//! is silent all the same is doubted: one message at a time goes there, on a
//! channel of its own, until RabbitMQ has answered one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::message::Outgoing;

/// What is published to: an exchange with a routing key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    exchange: Arc<str>,
    routing_key: Arc<str>,
}

impl Destination {
    pub(super) fn of(message: &Outgoing) -> Self {
        Self { exchange: Arc::clone(&message.exchange), routing_key: Arc::clone(&message.routing_key) }
    }

    pub(super) fn is_same_exchange(&self, other: &Self) -> bool {
        self.exchange == other.exchange
    }
}

/// What waits for a destination that is doubted.
#[derive(Debug, Default)]
struct Doubted {
    held: VecDeque<Outgoing>,
    is_tried: bool,
}

/// Every destination that is doubted. Outlives a connection.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    doubted: HashMap<Destination, Doubted>,
    parted: Option<Instant>,
}

impl Doubts {
    /// Doubts these, unless they are doubted already.
    pub(super) fn doubt(&mut self, destinations: impl IntoIterator<Item = Destination>) {
        for destination in destinations {
            self.doubted.entry(destination).or_default();
        }
    }

    /// Returns whether a connection may be given up for what it holds up, and
    /// notes that it is: no more often than once in `interval`, so that a RabbitMQ
    /// that is merely slow gets on.
    pub(super) fn may_part(&mut self, interval: Duration) -> bool {
        let may = self.parted.is_none_or(|parted| parted.elapsed() >= interval);
        if may {
            self.parted = Some(Instant::now());
        }
        may
    }

    /// Takes what goes to doubted destinations out of `backlog`.
    pub(super) fn hold_back(&mut self, backlog: &mut VecDeque<Outgoing>) {
        if self.doubted.is_empty() {
            return;
        }
        for message in std::mem::take(backlog) {
            match self.doubted.get_mut(&Destination::of(&message)) {
                Some(doubted) => doubted.held.push_back(message),
                None => backlog.push_back(message),
            }
        }
    }

    /// Returns the next message to try a destination with. Its outcome must be
    /// told to [`Doubts::settle`].
    pub(super) fn next(&mut self) -> Option<(Destination, Outgoing)> {
        let mut idle = self.doubted.iter_mut().filter(|(_, doubted)| !doubted.is_tried);
        idle.find_map(|(destination, doubted)| {
            let message = doubted.held.pop_front()?;
            doubted.is_tried = true;
            Some((destination.clone(), message))
        })
    }

    /// Takes in whether RabbitMQ has answered, which ends the doubt; returns what
    /// has been held back meanwhile.
    pub(super) fn settle(&mut self, destination: &Destination, answered: bool) -> VecDeque<Outgoing> {
        let Some(doubted) = self.doubted.get_mut(destination) else { return VecDeque::new() };
        let held = std::mem::take(&mut doubted.held);
        doubted.is_tried = false;
        if answered {
            self.doubted.remove(destination);
        }
        held
    }

    /// Returns all that is held back, for an answer: nothing is tried any more.
    pub(super) fn give_up(&mut self) -> VecDeque<Outgoing> {
        let doubted = self.doubted.values_mut();
        doubted
            .flat_map(|doubted| {
                doubted.is_tried = false;
                std::mem::take(&mut doubted.held)
            })
            .collect()
    }

    /// Returns whether nothing is held back.
    pub(super) fn is_idle(&self) -> bool {
        self.doubted.values().all(|doubted| doubted.held.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(token: u64, routing_key: &str) -> Outgoing {
        Outgoing {
            token,
            until: None,
            exchange: "x".into(),
            routing_key: routing_key.into(),
            message_id: String::new(),
            correlation_id: None,
            kind: None,
            timestamp: 0,
            headers: None,
            body: Vec::new(),
        }
    }

    fn tokens(messages: &VecDeque<Outgoing>) -> Vec<u64> {
        messages.iter().map(|message| message.token).collect()
    }

    #[test]
    fn what_is_doubted_is_tried_one_by_one_until_it_answers() {
        let mut doubts = Doubts::default();
        let mut backlog: VecDeque<_> = (0..6).map(|token| message(token, if token % 2 == 0 { "hangs" } else { "works" })).collect();
        doubts.doubt([Destination::of(&backlog[0])]);
        doubts.hold_back(&mut backlog);
        assert_eq!(tokens(&backlog), [1, 3, 5]);
        let (hangs, first) = doubts.next().expect("something is held back");
        assert_eq!(first.token, 0);
        assert!(doubts.next().is_none(), "one at a time");
        assert_eq!(tokens(&doubts.settle(&hangs, false)), [2, 4]);
        assert!(doubts.is_idle());

        // Still doubted; and trusted once it has answered.
        backlog.push_back(message(6, "hangs"));
        doubts.hold_back(&mut backlog);
        let (hangs, again) = doubts.next().expect("something is held back");
        assert_eq!((again.token, tokens(&backlog)), (6, vec![1, 3, 5]));
        doubts.settle(&hangs, true);
        backlog.push_back(message(7, "hangs"));
        doubts.hold_back(&mut backlog);
        assert_eq!(tokens(&backlog), [1, 3, 5, 7]);
    }

    #[test]
    fn what_is_given_up_is_tried_afresh() {
        let mut doubts = Doubts::default();
        let mut backlog = VecDeque::from([message(0, "hangs"), message(1, "hangs")]);
        doubts.doubt([Destination::of(&backlog[0])]);
        doubts.hold_back(&mut backlog);
        assert!(doubts.next().is_some());
        let mut held = doubts.give_up();
        assert_eq!(tokens(&held), [1]);
        doubts.hold_back(&mut held);
        assert_eq!(doubts.next().map(|(_, message)| message.token), Some(1));
        assert!(doubts.may_part(Duration::from_secs(60)) && !doubts.may_part(Duration::from_secs(60)));
    }
}
