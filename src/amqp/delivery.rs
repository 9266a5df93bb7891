//! What arrives, and how it is acknowledged.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::types::{AMQPValue, FieldTable};

/// A queue that the broker consumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Intake {
    /// Events that change who may receive.
    Tilknytning,
    /// All other events.
    Events,
    /// What vendors rejected.
    Returned,
}

impl Intake {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Tilknytning, Self::Events, Self::Returned];
}

/// A message that was consumed and waits for its acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Which queue it came from.
    pub intake: Intake,
    /// Which consumer of the queue it came to; a tag means nothing to another.
    pub epoch: u64,
    /// Its number there, growing from 1.
    pub tag: u64,
    /// Whether RabbitMQ has handed it out before.
    pub redelivered: bool,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The `content_type` property.
    pub content_type: Option<String>,
    /// The `message_id` property.
    pub message_id: Option<String>,
    /// The `correlation_id` property.
    pub correlation_id: Option<String>,
    /// The header `wsb-recipient`, of a message that has all headers of a WSB.
    pub recipient: Option<String>,
    /// The header `wsb-replay`, of such a message.
    pub replay: bool,
    /// Why it came back, for [`Intake::Returned`].
    pub rejection: Option<Rejection>,
    /// The body.
    pub body: Vec<u8>,
}

/// The newest entry of the header `x-death`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// `rejected`, `delivery_limit`, `expired` or `maxlen`.
    pub reason: String,
    /// The queue that gave it up.
    pub queue: String,
}

impl Delivery {
    pub(super) fn of(intake: Intake, epoch: u64, delivery: lapin::message::Delivery) -> Self {
        let properties = &delivery.properties;
        let headers = properties.headers().as_ref();
        Self {
            intake,
            epoch,
            tag: delivery.delivery_tag,
            redelivered: delivery.redelivered,
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            correlation_id: properties.correlation_id().as_ref().map(ToString::to_string),
            recipient: headers.and_then(recipient),
            replay: headers.is_some_and(|headers| matches!(headers.inner().get("wsb-replay"), Some(AMQPValue::Boolean(true)))),
            rejection: headers.and_then(rejection),
            routing_key: delivery.routing_key.into(),
            body: delivery.data,
        }
    }
}

/// Returns whom a WSB was sent to; `None` for a message without one of the headers
/// that [`super::WsbHeaders`] gives every WSB.
fn recipient(headers: &FieldTable) -> Option<String> {
    let headed = |name: &str| headers.inner().get(name);
    // RabbitMQ may give an integer back in another width than it was sent in.
    let is_number = |name: &str| matches!(headed(name), Some(AMQPValue::LongInt(_) | AMQPValue::LongLongInt(_)));
    let all = ["wsb-entity-id", "wsb-change-type", "wsb-attempt"].into_iter().all(is_number)
        && matches!(headed("wsb-replay"), Some(AMQPValue::Boolean(_)));
    text(headers, "wsb-recipient").filter(|_| all)
}

fn rejection(headers: &FieldTable) -> Option<Rejection> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else { return None };
    let AMQPValue::FieldTable(newest) = deaths.as_slice().first()? else { return None };
    Some(Rejection { reason: text(newest, "reason")?, queue: text(newest, "queue")? })
}

fn text(table: &FieldTable, key: &str) -> Option<String> {
    match table.inner().get(key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        // A header of the right name and the wrong type is somebody else's.
        _ => None,
    }
}

/// Acknowledges deliveries. Cheap to clone and never waits: the frame is queued
/// for the connection's own thread.
#[derive(Clone, Default)]
pub struct Acks(Arc<Mutex<Option<Open>>>);

pub(super) struct Open {
    lanes: [Lane; 3],
}

struct Lane {
    epoch: u64,
    channel: Channel,
    settled: u64,
}

impl Acks {
    /// Acknowledges `tag` and every earlier delivery of `intake` to that
    /// consumer. Does nothing when the consumer is gone (RabbitMQ delivers
    /// again to the next one) or when the tag is settled already.
    pub fn ack_through(&self, intake: Intake, epoch: u64, tag: u64) {
        self.settle(intake, epoch, tag, |channel| {
            send_now(channel.basic_ack(tag, BasicAckOptions { multiple: true }));
        });
    }

    /// Gives `tag` and every earlier delivery that is not acknowledged back to
    /// the queue. Does nothing when [`Acks::ack_through`] would do nothing.
    pub fn requeue_through(&self, intake: Intake, epoch: u64, tag: u64) {
        self.settle(intake, epoch, tag, |channel| {
            send_now(channel.basic_nack(tag, BasicNackOptions { multiple: true, requeue: true }));
        });
    }

    fn settle(&self, intake: Intake, epoch: u64, tag: u64, send: impl FnOnce(&Channel)) {
        if let Some(open) = self.lock().as_mut()
            && let lane = &mut open.lanes[intake as usize]
            && lane.epoch == epoch
        {
            // RabbitMQ closes the channel over a tag that it has forgotten.
            if tag > lane.settled {
                lane.settled = tag;
                send(&lane.channel);
            }
        }
    }

    /// Returns through which tag deliveries are settled.
    pub(super) fn settled(&self, intake: Intake, epoch: u64) -> u64 {
        self.lock().as_ref().map(|open| &open.lanes[intake as usize]).filter(|lane| lane.epoch == epoch).map_or(0, |lane| lane.settled)
    }

    pub(super) fn open(&self, epoch: u64, channels: [Channel; 3]) {
        *self.lock() = Some(Open { lanes: channels.map(|channel| Lane { epoch, channel, settled: 0 }) });
    }

    /// Goes on with another channel for one queue.
    pub(super) fn replace(&self, intake: Intake, epoch: u64, channel: Channel) {
        if let Some(open) = self.lock().as_mut() {
            open.lanes[intake as usize] = Lane { epoch, channel, settled: 0 };
        }
    }

    /// Acknowledges nothing more. Returns the channels.
    pub(super) fn close(&self) -> Vec<Channel> {
        let closed = self.lock().take();
        closed.into_iter().flat_map(|open| open.lanes.map(|lane| lane.channel)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        // The guarded value is whole at every step, whoever panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first poll queues the frame; what follows is only the news that it has
/// reached the socket. If it never does, the connection is lost and RabbitMQ
/// delivers again.
fn send_now(frame: impl Future) {
    let _ = pin!(frame).poll(&mut Context::from_waker(Waker::noop()));
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    #[test]
    fn the_newest_death_counts() {
        let death = |reason: &str, queue: &str| {
            let mut table = FieldTable::default();
            table.insert("reason".into(), AMQPValue::LongString(reason.into()));
            table.insert("queue".into(), AMQPValue::LongString(queue.into()));
            AMQPValue::FieldTable(table)
        };
        let mut deaths = FieldArray::default();
        deaths.push(death("delivery_limit", "wsb.akasse.067"));
        deaths.push(death("rejected", "elsewhere"));
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths));
        assert_eq!(rejection(&headers), Some(Rejection { reason: "delivery_limit".into(), queue: "wsb.akasse.067".into() }));
        assert_eq!(rejection(&FieldTable::default()), None);
    }

    #[test]
    fn only_a_message_with_every_header_of_a_wsb_names_its_recipient() {
        let of_a_wsb = [
            ("wsb-recipient", AMQPValue::LongString("akasse:067".into())),
            ("wsb-entity-id", AMQPValue::LongInt(90_000)),
            ("wsb-change-type", AMQPValue::LongInt(1)),
            ("wsb-attempt", AMQPValue::LongLongInt(2)),
            ("wsb-replay", AMQPValue::Boolean(false)),
        ];
        let without = |left_out: &str| {
            let mut headers = FieldTable::default();
            for (name, value) in of_a_wsb.iter().filter(|(name, _)| *name != left_out) {
                headers.insert((*name).into(), value.clone());
            }
            headers
        };
        assert_eq!(recipient(&without("")).as_deref(), Some("akasse:067"));
        for (name, _) in &of_a_wsb {
            assert_eq!(recipient(&without(name)), None, "without {name}");
        }
    }
}
