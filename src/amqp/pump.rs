//! Moves what arrives from one queue to its reader, and knows how much of it is not
//! acknowledged.

use std::collections::VecDeque;

use futures_util::{FutureExt, StreamExt};
use lapin::{Channel, Consumer, Error};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::delivery::{Acks, Delivery, Intake};
use super::link::{Phase, stopped};
use super::trouble::{Trouble, reason_of};

/// A queue being consumed.
pub(super) struct Subscription {
    pub intake: Intake,
    pub queue: String,
    pub channel: Channel,
}

/// What became of a pump.
pub(super) enum Pumped {
    /// Intake stops; the consumer is to be kept until its channel is closed.
    Stopped(Consumer),
    /// Too much is held; the consumer is to be kept likewise.
    Heavy(Consumer, Intake, u16),
    /// The consumer is gone.
    Ended(Trouble),
}

/// What has arrived from one queue and is not acknowledged.
pub(super) struct Held<'a> {
    acks: &'a Acks,
    intake: Intake,
    queue: &'a str,
    epoch: u64,
    most: usize,
    /// Tag and bytes of each, in order; some may be acknowledged since.
    sizes: VecDeque<(u64, usize)>,
    bytes: usize,
}

impl<'a> Held<'a> {
    pub(super) fn none(acks: &'a Acks, intake: Intake, queue: &'a str, epoch: u64, most: usize) -> Self {
        Self { acks, intake, queue, epoch, most, sizes: VecDeque::new(), bytes: 0 }
    }

    /// Notes one that has arrived. Returns how many may be taken at once from now on,
    /// if all of them together are too much.
    fn add(&mut self, delivery: &Delivery) -> Option<u16> {
        self.sizes.push_back((delivery.tag, delivery.body.len()));
        self.bytes += delivery.body.len();
        if self.bytes <= self.most {
            return None;
        }
        let settled = self.acks.settled(self.intake, self.epoch);
        while self.sizes.front().is_some_and(|(tag, _)| *tag <= settled) {
            self.bytes -= self.sizes.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        if self.bytes <= self.most || self.sizes.len() < 2 {
            return None;
        }
        let largest = self.sizes.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default().max(1);
        let most = u16::try_from(self.most / largest / 2).unwrap_or(u16::MAX).max(1);
        warn!(queue = self.queue, largest, at_once = most, "messages are so large that fewer of them are taken at once");
        Some(most)
    }
}

/// Moves deliveries from one consumer to its reader, as many at a time as are
/// there. Returns when intake stops, when too much is held, or when the consumer ends.
pub(super) async fn pump(
    mut consumer: Consumer,
    subscription: &Subscription,
    batch: usize,
    mut held: Held<'_>,
    sender: mpsc::Sender<Vec<Delivery>>,
    mut phase: watch::Receiver<Phase>,
) -> Pumped {
    let (intake, epoch) = (held.intake, held.epoch);
    // Taken from lapin also while nobody reads, so that their bytes are known; the
    // prefetch bounds how many they are.
    let mut waiting = VecDeque::new();
    loop {
        // No arm loses anything when another one is taken.
        let mut next = tokio::select! {
            biased;
            () = stopped(&mut phase) => return Pumped::Stopped(consumer),
            Ok(room) = sender.reserve(), if !waiting.is_empty() => {
                let most = waiting.len().min(batch);
                room.send(waiting.drain(..most).collect());
                continue;
            }
            next = consumer.next() => next,
        };
        loop {
            match next {
                Some(Ok(delivery)) => {
                    let delivery = Delivery::of(intake, epoch, delivery);
                    let fewer = held.add(&delivery);
                    waiting.push_back(delivery);
                    if let Some(most) = fewer {
                        return Pumped::Heavy(consumer, intake, most);
                    }
                }
                Some(Err(error)) => return Pumped::Ended(why_ended(Some(error), subscription)),
                None => return Pumped::Ended(why_ended(None, subscription)),
            }
            if waiting.len() >= batch {
                break;
            }
            match consumer.next().now_or_never() {
                Some(ready) => next = ready,
                None => break,
            }
        }
    }
}

fn why_ended(error: Option<Error>, subscription: &Subscription) -> Trouble {
    let queue = subscription.queue.clone();
    match error {
        Some(error) if error.is_amqp_soft_error() => Trouble::ChannelClosed { queue, reason: reason_of(&error) },
        Some(error) => Trouble::lost(&error),
        None if subscription.channel.status().connected() => Trouble::ConsumerCancelled { queue },
        None => Trouble::Lost { reason: "channel closed".into() },
    }
}
