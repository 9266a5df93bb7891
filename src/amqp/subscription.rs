//! A queue that is consumed, on a channel of its own.

use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Connection, Consumer, Error};

use super::delivery::Intake;
use super::trouble::{Trouble, reason_of};

/// The consumer's name on its channel, where it is the only one.
const TAG: &str = "wsb-broker";

/// A queue, and the channel that it is consumed on.
pub(super) struct Subscription {
    pub intake: Intake,
    pub queue: String,
    pub prefetch: u16,
    pub channel: Channel,
}

impl Subscription {
    /// Opens the channel. Nothing is consumed yet.
    pub(super) async fn open(connection: &Connection, intake: Intake, queue: &str, prefetch: u16) -> Result<Self, Error> {
        let channel = connection.create_channel().await?;
        // Before consuming: without it RabbitMQ would send all it has.
        channel.basic_qos(prefetch, BasicQosOptions { global: false }).await?;
        Ok(Self { intake, queue: queue.to_owned(), prefetch, channel })
    }

    pub(super) async fn consume(&self) -> Result<Consumer, Error> {
        self.channel.basic_consume(self.name(), TAG.into(), BasicConsumeOptions::default(), FieldTable::default()).await
    }

    /// Returns when all that RabbitMQ had to hand out as consuming began has arrived:
    /// a channel answers in turn.
    pub(super) async fn caught_up(&self) -> Result<(), Error> {
        self.ready().await.map(drop)
    }

    /// Returns how many messages lie ready, handed to nobody. What had been handed out as they
    /// were counted is with the channel then, see [`flushed`](Self::flushed).
    pub(super) async fn ready(&self) -> Result<u32, Error> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        Ok(self.channel.queue_declare(self.name(), options, FieldTable::default()).await?.message_count())
    }

    /// Returns when all has arrived that was with the channel: that answers in turn, what it was asked at
    /// once with something else before that. The same number again changes nothing, and needs nobody but the channel.
    pub(super) async fn flushed(&self) -> Result<(), Error> {
        self.channel.basic_qos(self.prefetch, BasicQosOptions { global: false }).await
    }

    /// Ends consuming and the channel. Only while nothing is held; what was on its way
    /// goes back to the queue. Returns whether something was.
    pub(super) async fn end(&self, consumer: &mut Consumer) -> Result<bool, Error> {
        // The log of an empty quorum queue grows by each consumer that goes without a
        // cancel, until a message passes (seen with RabbitMQ 3.10).
        self.channel.basic_cancel(TAG.into(), BasicCancelOptions::default()).await?;
        let mut crossed = false;
        while let Some(delivery) = consumer.next().await {
            delivery?;
            crossed = true;
        }
        self.channel.close(200, "consuming anew".into()).await?;
        Ok(crossed)
    }

    /// Returns why its consumer came to an end.
    pub(super) fn why_ended(&self, error: Option<&Error>) -> Trouble {
        let queue = self.queue.clone();
        match error {
            Some(error) if error.is_amqp_soft_error() => Trouble::ChannelClosed { queue, reason: reason_of(error) },
            Some(error) => Trouble::lost(error),
            None if self.channel.status().connected() => Trouble::ConsumerCancelled { queue },
            None => Trouble::Lost { reason: "channel closed".into() },
        }
    }

    fn name(&self) -> ShortString {
        // Queue names were short enough to be declared.
        ShortString::try_new(self.queue.as_str()).unwrap_or_default()
    }
}
