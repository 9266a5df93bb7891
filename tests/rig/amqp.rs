//! A plain AMQP client that blocks: what a test does to RabbitMQ besides
//! consuming.

use std::sync::{Arc, Mutex};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};

use super::vendor::Message;
use super::wait::block;

/// How many publishes are under way before their confirms are awaited.
const WINDOW: usize = 500;

/// A connection with one channel in confirm mode. A channel that an error has
/// closed is opened again by the next call.
pub struct Amqp {
    connection: Arc<Connection>,
    channel: Mutex<Option<Channel>>,
}

/// Arguments of a queue beside its being quorum: name and value.
pub type QueueArguments<'a> = &'a [(&'a str, AMQPValue)];

impl Amqp {
    /// Connects.
    pub fn connect(uri: &str) -> Self {
        let connection = block(connect(uri.to_owned())).unwrap_or_else(|error| panic!("cannot connect to {uri}: {error}"));
        Self { connection: Arc::new(connection), channel: Mutex::new(None) }
    }

    fn channel(&self) -> Channel {
        let mut slot = self.channel.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(channel) = slot.as_ref().filter(|channel| channel.status().connected()) {
            return channel.clone();
        }
        let connection = Arc::clone(&self.connection);
        let channel = block(async move {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(channel)
        })
        .unwrap_or_else(|error| panic!("cannot open a channel: {error}"));
        *slot = Some(channel.clone());
        channel
    }

    /// Publishes one persistent message, mandatory, and waits for its confirm.
    pub fn publish(&self, exchange: &str, key: &str, body: impl Into<Vec<u8>>) {
        self.publish_all(exchange, [(key.to_owned(), body.into())]);
    }

    /// As [`Amqp::publish`], with properties and headers of somebody's choice.
    pub fn publish_as(&self, exchange: &str, key: &str, id: &str, correlation_id: &str, headers: QueueArguments<'_>) {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let properties = properties().with_message_id(id.into()).with_correlation_id(correlation_id.into()).with_headers(table);
        let (channel, exchange, key) = (self.channel(), exchange.to_owned(), key.to_owned());
        block(async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let confirm = channel.basic_publish(exchange.as_str().into(), key.as_str().into(), options, b"{}", properties).await?;
            confirm.await
        })
        .unwrap_or_else(|error| panic!("cannot publish {id}: {error}"));
    }

    /// As [`Amqp::publish`], and tells why there was no confirm.
    ///
    /// # Errors
    /// The message may have arrived all the same.
    pub fn try_publish(&self, exchange: &str, key: &str, body: impl Into<Vec<u8>>) -> Result<(), String> {
        let (channel, exchange, key, body) = (self.channel(), exchange.to_owned(), key.to_owned(), body.into());
        block(async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let confirm = channel.basic_publish(exchange.as_str().into(), key.as_str().into(), options, &body, properties()).await;
            match confirm.map_err(|error| error.to_string())?.await {
                Ok(lapin::Confirmation::Ack(None)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }

    /// Publishes persistent messages in order, mandatory, and waits for all
    /// confirms.
    pub fn publish_all(&self, exchange: &str, messages: impl IntoIterator<Item = (String, Vec<u8>), IntoIter: Send + 'static>) {
        let channel = self.channel();
        let exchange = exchange.to_owned();
        let messages = messages.into_iter();
        block(async move {
            let mut window = Vec::with_capacity(WINDOW);
            for (key, body) in messages {
                let options = BasicPublishOptions { mandatory: true, ..Default::default() };
                let confirm = channel
                    .basic_publish(exchange.as_str().into(), key.as_str().into(), options, &body, properties())
                    .await
                    .unwrap_or_else(|error| panic!("publish to {exchange:?} with key {key:?}: {error}"));
                window.push((key, confirm));
                if window.len() == WINDOW {
                    settle(&mut window).await;
                }
            }
            settle(&mut window).await;
        });
    }

    /// Declares a durable quorum queue with further arguments.
    pub fn declare_queue(&self, queue: &str, arguments: QueueArguments<'_>) {
        let mut table = FieldTable::default();
        table.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        let (channel, name) = (self.channel(), queue.to_owned());
        block(async move {
            channel.queue_declare(name.as_str().into(), QueueDeclareOptions { durable: true, ..Default::default() }, table).await
        })
        .unwrap_or_else(|error| panic!("cannot declare queue {queue}: {error}"));
    }

    /// Declares a durable exchange.
    pub fn declare_exchange(&self, exchange: &str, kind: ExchangeKind) {
        let (channel, name) = (self.channel(), exchange.to_owned());
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        block(async move { channel.exchange_declare(name.as_str().into(), kind, options, FieldTable::default()).await })
            .unwrap_or_else(|error| panic!("cannot declare exchange {exchange}: {error}"));
    }

    /// Binds a queue.
    pub fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let (channel, arguments) = (self.channel(), (queue.to_owned(), exchange.to_owned(), key.to_owned()));
        block(async move {
            let (queue, exchange, key) = arguments;
            let options = QueueBindOptions::default();
            channel.queue_bind(queue.as_str().into(), exchange.as_str().into(), key.as_str().into(), options, FieldTable::default()).await
        })
        .unwrap_or_else(|error| panic!("cannot bind {queue} to {exchange}: {error}"));
    }

    /// Undoes a binding.
    pub fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let (channel, arguments) = (self.channel(), (queue.to_owned(), exchange.to_owned(), key.to_owned()));
        block(async move {
            let (queue, exchange, key) = arguments;
            channel.queue_unbind(queue.as_str().into(), exchange.as_str().into(), key.as_str().into(), FieldTable::default()).await
        })
        .unwrap_or_else(|error| panic!("cannot unbind {queue} from {exchange}: {error}"));
    }

    /// Deletes a queue with everything in it.
    pub fn delete_queue(&self, queue: &str) {
        let (channel, name) = (self.channel(), queue.to_owned());
        block(async move { channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await })
            .unwrap_or_else(|error| panic!("cannot delete queue {queue}: {error}"));
    }

    /// Deletes an exchange with its bindings.
    pub fn delete_exchange(&self, exchange: &str) {
        let (channel, name) = (self.channel(), exchange.to_owned());
        block(async move { channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await })
            .unwrap_or_else(|error| panic!("cannot delete exchange {exchange}: {error}"));
    }

    /// Empties a queue.
    pub fn purge(&self, queue: &str) {
        let (channel, name) = (self.channel(), queue.to_owned());
        block(async move { channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await })
            .unwrap_or_else(|error| panic!("cannot purge queue {queue}: {error}"));
    }

    /// Takes everything that now lies ready in a queue, in order.
    pub fn take_all(&self, queue: &str) -> Vec<Message> {
        let (channel, name) = (self.channel(), queue.to_owned());
        block(async move {
            let mut taken = Vec::new();
            while let Some(message) = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await? {
                message.delivery.acker.ack(BasicAckOptions::default()).await?;
                taken.push(Message::from_delivery(&name, message.delivery));
            }
            Ok::<_, lapin::Error>(taken)
        })
        .unwrap_or_else(|error| panic!("cannot read queue {queue}: {error}"))
    }

    /// Returns how many messages lie ready in a queue, or `None` when there is
    /// no such queue. What consumers hold unacknowledged is not counted.
    pub fn depth(&self, queue: &str) -> Option<u32> {
        let connection = Arc::clone(&self.connection);
        let name = queue.to_owned();
        // On a channel of its own: a missing queue closes the channel.
        block(async move {
            let channel = connection.create_channel().await.expect("the connection is open");
            let options = QueueDeclareOptions { passive: true, ..Default::default() };
            let answer = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await;
            let depth = answer.ok().map(|queue| queue.message_count());
            if depth.is_some() {
                let _ = channel.close(200, "done".into()).await;
            }
            depth
        })
    }
}

/// Returns how many messages lie ready in a queue, or `None` when there is no
/// such queue. Opens a connection for the question.
pub fn queue_depth(uri: &str, queue: &str) -> Option<u32> {
    Amqp::connect(uri).depth(queue)
}

pub(super) async fn connect(uri: String) -> lapin::Result<Connection> {
    Connection::connect(&uri, ConnectionProperties::default().with_connection_name("rig".into())).await
}

fn properties() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2).with_content_type("application/cloudevents+json".into())
}

async fn settle(window: &mut Vec<(String, lapin::PublisherConfirm)>) {
    for (key, confirm) in window.drain(..) {
        let confirmation = confirm.await.unwrap_or_else(|error| panic!("publish with key {key:?} not confirmed: {error}"));
        assert!(confirmation.is_ack(), "publish with key {key:?} was refused: {confirmation:?}");
        assert!(confirmation.take_message().is_none(), "publish with key {key:?} went nowhere");
    }
}
