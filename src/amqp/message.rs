//! What is published, and what may become of it.

use std::sync::Arc;
use std::time::Instant;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

const CONTENT_TYPE: &str = "application/cloudevents+json";
const APP_ID: &str = "wsb-broker";
const PERSISTENT: u8 = 2;

/// A message to publish: persistent, mandatory, content type
/// `application/cloudevents+json`.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Comes back with the outcome; the publisher does not look at it.
    pub token: u64,
    /// Until when it may be handed to RabbitMQ; after that it is [`Outcome::TooLate`].
    pub until: Option<Instant>,
    /// The exchange.
    pub exchange: Arc<str>,
    /// The routing key; for a WSB the recipient's queue.
    pub routing_key: Arc<str>,
    /// The `message_id`. Must differ from that of every other message under way,
    /// unless both go to the same routing key: a returned message is known by it.
    pub message_id: String,
    /// The `correlation_id`.
    pub correlation_id: Option<String>,
    /// The `type` property: the EntitetNavn.
    pub kind: Option<Arc<str>>,
    /// The `timestamp` property, seconds since 1970.
    pub timestamp: u64,
    /// The `wsb-` headers, for a WSB.
    pub headers: Option<WsbHeaders>,
    /// The body.
    pub body: Vec<u8>,
}

/// The headers that only a WSB carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WsbHeaders {
    /// `wsb-recipient`, such as `akasse:067`.
    pub recipient: Arc<str>,
    /// `wsb-entity-id`.
    pub entity_id: i32,
    /// `wsb-change-type`: 1 created, 2 updated, 3 deleted or recalled.
    pub change_type: i32,
    /// `wsb-attempt`, from 1.
    pub attempt: i32,
    /// `wsb-replay`.
    pub replay: bool,
}

/// What became of a message. Only [`Outcome::Confirmed`] means delivered; only
/// `Nacked`, `Returned`, `AccessRefused`, `TooLarge`, `TooLate` and `Unsendable` mean that
/// it certainly was not. The rest is not known: publish again with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// RabbitMQ has it, in every queue that it was routed to.
    Confirmed,
    /// RabbitMQ did not take it; with `reject-publish`, because the queue is full.
    Nacked,
    /// No queue is bound for the routing key.
    Returned {
        /// 312 is no route.
        code: u16,
        /// RabbitMQ's words.
        text: String,
    },
    /// No answer within the deadline.
    TimedOut,
    /// RabbitMQ closed the channel; 404 is an exchange that does not exist.
    ChannelClosed {
        /// AMQP reply code.
        code: u16,
        /// RabbitMQ's words.
        text: String,
    },
    /// The user lacks write permission on the exchange.
    AccessRefused {
        /// RabbitMQ's words.
        text: String,
    },
    /// There is no connection, or it ended before the answer.
    ConnectionLost,
    /// RabbitMQ has blocked publishers (memory or disk alarm): not sent, or sent before it
    /// said so and without an answer within the deadline.
    Blocked,
    /// RabbitMQ takes no message so large (`max_message_size`), and has closed the
    /// channel for it or for another one. Trying again is of no use.
    TooLarge {
        /// RabbitMQ's words.
        text: String,
    },
    /// Not sent: whether it may be was decided too long ago, see [`Outgoing::until`].
    TooLate,
    /// Not sent: a field does not fit into an AMQP message. Trying again is of
    /// no use.
    Unsendable {
        /// Which field is too long.
        field: &'static str,
    },
}

/// The parts of `basic.publish` besides the body.
pub(super) struct Envelope {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
}

impl Outgoing {
    /// Refuses with the field that is too long; lapin's own conversion panics.
    pub(super) fn envelope(&self) -> Result<Envelope, &'static str> {
        let mut properties = BasicProperties::default()
            .with_message_id(short("message_id", &self.message_id)?)
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_timestamp(self.timestamp)
            .with_app_id(APP_ID.into());
        if let Some(correlation_id) = &self.correlation_id {
            properties = properties.with_correlation_id(short("correlation_id", correlation_id)?);
        }
        if let Some(kind) = &self.kind {
            properties = properties.with_type(short("type", kind)?);
        }
        if let Some(headers) = &self.headers {
            properties = properties.with_headers(headers.table());
        }
        Ok(Envelope { exchange: short("exchange", &self.exchange)?, routing_key: short("routing_key", &self.routing_key)?, properties })
    }
}

impl WsbHeaders {
    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        table.insert("wsb-recipient".into(), AMQPValue::LongString(self.recipient.as_ref().into()));
        table.insert("wsb-entity-id".into(), AMQPValue::LongInt(self.entity_id));
        table.insert("wsb-change-type".into(), AMQPValue::LongInt(self.change_type));
        table.insert("wsb-attempt".into(), AMQPValue::LongInt(self.attempt));
        table.insert("wsb-replay".into(), AMQPValue::Boolean(self.replay));
        table
    }
}

fn short(field: &'static str, text: &str) -> Result<ShortString, &'static str> {
    ShortString::try_new(text).map_err(|_| field)
}
