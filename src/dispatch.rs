//! Attempts to publishes, and outcomes back: turns what the engine wants sent
//! into WSBs, and RabbitMQ's answers into outcomes of attempts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::amqp;
use crate::core::engine::{Outgoing, OutgoingOrder};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::outbox::Failure;
use crate::core::retry::Outcome;
use crate::wire::{self, Wsb};
use crate::writer::{Commit, WriterHandle};

/// The exchange through which recipients' queues are reached.
pub const DELIVERY_EXCHANGE: &str = "wsb.delivery";

/// The exchange that deletion orders are published to.
pub const DELETIONS_EXCHANGE: &str = "dfdg.deletions";

/// What has not been handed to RabbitMQ so long after it was decided is decided anew: publishing is
/// held up, and what has changed meanwhile must count.
const SENT_WITHIN: Duration = Duration::from_millis(400);

/// The bit of a token that says it is that of an order; no recipient's number
/// is so large.
const IS_ORDER: u64 = 1 << 63;

/// The bits of a token that hold the place of the event; the rest holds the recipient.
const SEQ_BITS: u32 = 48;

fn token(key: DeliveryKey) -> u64 {
    u64::from(key.recipient.to_number()) << SEQ_BITS | (key.seq.0 & ((1 << SEQ_BITS) - 1))
}

fn key_of(token: u64) -> Option<DeliveryKey> {
    let recipient = u16::try_from(token >> SEQ_BITS).ok().and_then(Recipient::from_number)?;
    Some(DeliveryKey { recipient, seq: EventSeq(token & ((1 << SEQ_BITS) - 1)) })
}

/// Writes one attempt as a message.
fn message(attempt: &Outgoing, until: Instant, exchange: &Arc<str>) -> amqp::Outgoing {
    let wsb = Wsb {
        event: &attempt.event,
        message_type: &attempt.kind,
        recipient: attempt.key.recipient,
        id: attempt.id,
        sent: attempt.decided_at,
        identification: attempt.identification.as_ref(),
    };
    let properties = wsb.properties(attempt.attempt, attempt.replay);
    amqp::Outgoing {
        token: token(attempt.key),
        until: Some(until),
        exchange: Arc::clone(exchange),
        routing_key: Arc::clone(&attempt.queue),
        message_id: properties.message_id,
        correlation_id: Some(properties.correlation_id.into()),
        kind: Some(properties.type_name),
        timestamp: properties.timestamp,
        headers: Some(amqp::WsbHeaders {
            recipient: properties.recipient.into(),
            entity_id: i32::try_from(properties.entity_id).unwrap_or(i32::MAX),
            change_type: i32::from(properties.change_type),
            attempt: i32::try_from(properties.attempt).unwrap_or(i32::MAX),
            replay: properties.replay,
        }),
        body: wire::write_wsb(&wsb),
    }
}

/// Writes one deletion order as a message.
fn order_message(order: &OutgoingOrder, until: Instant, exchange: &Arc<str>) -> amqp::Outgoing {
    amqp::Outgoing {
        token: IS_ORDER | order.token,
        until: Some(until),
        exchange: Arc::clone(exchange),
        routing_key: Arc::clone(&order.area),
        message_id: order.id.to_string(),
        correlation_id: None,
        kind: Some(wire::ORDER_KIND.into()),
        timestamp: u64::try_from(order.at.0.div_euclid(1_000_000)).unwrap_or(0),
        headers: None,
        body: wire::write_order(order),
    }
}

/// Turns RabbitMQ's answer into the outcome of an attempt.
fn outcome(answer: &amqp::Outcome) -> Outcome {
    let failed = |failure, code| Outcome::Failed { failure, code };
    match answer {
        amqp::Outcome::Confirmed => Outcome::Confirmed,
        amqp::Outcome::TooLate => Outcome::NotMade,
        amqp::Outcome::Nacked => failed(Failure::Nacked, 0),
        amqp::Outcome::Returned { code, .. } => failed(Failure::Returned, *code),
        amqp::Outcome::TimedOut => failed(Failure::Timeout, 0),
        amqp::Outcome::ChannelClosed { code, .. } => failed(Failure::ChannelClosed, *code),
        amqp::Outcome::AccessRefused { .. } => failed(Failure::Refused, 403),
        // It is this message's own fault, and no other one's of its queue.
        amqp::Outcome::TooLarge { .. } => failed(Failure::Unsendable, 406),
        // A field that AMQP cannot carry is refused by `wire` at intake; should
        // one get this far it must not be lost, and an operator must see it.
        amqp::Outcome::Unsendable { .. } => failed(Failure::Unsendable, 0),
        amqp::Outcome::ConnectionLost => failed(Failure::Connection, 0),
        amqp::Outcome::Blocked => failed(Failure::Blocked, 0),
    }
}

/// Publishes attempts until the writer ends.
///
/// Whatever cannot be handed to the publisher fails like everything else that
/// is under way when a connection is lost: nothing is kept here.
pub async fn publish<C: Commit>(
    mut attempts: mpsc::Receiver<(Instant, Vec<Outgoing>)>,
    publish: mpsc::Sender<Vec<amqp::Outgoing>>,
    writer: WriterHandle<C>,
) {
    let exchange: Arc<str> = DELIVERY_EXCHANGE.into();
    while let Some((decided, batch)) = attempts.recv().await {
        let until = decided + SENT_WITHIN;
        let messages = batch.iter().map(|attempt| message(attempt, until, &exchange)).collect();
        if publish.send(messages).await.is_err() {
            writer.report(batch.iter().map(|attempt| (attempt.key, Outcome::Failed { failure: Failure::Connection, code: 0 })));
        }
    }
}

/// Publishes deletion orders until the writer ends. As with attempts, what
/// cannot be handed over fails.
pub async fn publish_orders<C: Commit>(
    mut orders: mpsc::Receiver<(Instant, Vec<OutgoingOrder>)>,
    publish: mpsc::Sender<Vec<amqp::Outgoing>>,
    writer: WriterHandle<C>,
) {
    let exchange: Arc<str> = DELETIONS_EXCHANGE.into();
    while let Some((decided, batch)) = orders.recv().await {
        let until = decided + SENT_WITHIN;
        let messages = batch.iter().map(|order| order_message(order, until, &exchange)).collect();
        if publish.send(messages).await.is_err() {
            writer.report_orders(batch.iter().map(|order| (order.token, Outcome::Failed { failure: Failure::Connection, code: 0 })));
        }
    }
}

/// Reports outcomes to the writer until the publisher ends.
pub async fn report<C: Commit>(mut outcomes: mpsc::Receiver<Vec<(u64, amqp::Outcome)>>, writer: WriterHandle<C>) {
    while let Some(batch) = outcomes.recv().await {
        let of_orders = batch.iter().filter(|(token, _)| token & IS_ORDER != 0);
        writer.report_orders(of_orders.map(|(token, answer)| (token & !IS_ORDER, outcome(answer))));
        writer.report(batch.iter().filter_map(|(token, answer)| Some((key_of(*token)?, outcome(answer)))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_reversible() {
        for (recipient, seq) in [("akasse:000", 1), ("akasse:999", (1 << 48) - 1), ("kommune:860", 123_456_789)] {
            let key = DeliveryKey { recipient: Recipient::parse(recipient).expect("a recipient"), seq: EventSeq(seq) };
            assert_eq!(key_of(token(key)), Some(key));
        }
        assert_eq!(key_of(u64::MAX), None);
        assert_eq!(key_of(IS_ORDER | 1), None, "an order is no delivery");
    }
}
