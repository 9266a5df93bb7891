//! A vendor's program: consumes recipients' queues and keeps what it got.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::amqp::connect;
use super::wait::spawn;

/// What a queue gave.
#[derive(Clone, Debug)]
pub struct Message {
    /// The queue that it came from.
    pub queue: String,
    /// `message_id`; empty where absent.
    pub id: String,
    /// `correlation_id`; empty where absent.
    pub correlation_id: String,
    /// `type`; empty where absent.
    pub kind: String,
    /// `content_type`; empty where absent.
    pub content_type: String,
    /// `app_id`; empty where absent.
    pub app_id: String,
    /// `delivery_mode`: 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// `timestamp`, in seconds.
    pub timestamp: Option<u64>,
    /// Headers; values that JSON lacks are shown as text.
    pub headers: BTreeMap<String, serde_json::Value>,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The key that it was published with.
    pub routing_key: String,
    /// Whether RabbitMQ says that it may have been delivered before.
    pub redelivered: bool,
    /// The body.
    pub body: Vec<u8>,
    /// When it got here.
    pub received_at: Instant,
}

impl Message {
    pub(super) fn from_delivery(queue: &str, delivery: Delivery) -> Self {
        let properties = &delivery.properties;
        let text = |field: &Option<lapin::types::ShortString>| field.as_ref().map(ToString::to_string).unwrap_or_default();
        Self {
            queue: queue.to_owned(),
            id: text(properties.message_id()),
            correlation_id: text(properties.correlation_id()),
            kind: text(properties.kind()),
            content_type: text(properties.content_type()),
            app_id: text(properties.app_id()),
            delivery_mode: *properties.delivery_mode(),
            timestamp: *properties.timestamp(),
            headers: properties
                .headers()
                .as_ref()
                .map(|table| table.into_iter().map(|(name, value)| (name.to_string(), json(value))).collect())
                .unwrap_or_default(),
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            body: delivery.data,
            received_at: Instant::now(),
        }
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns member `name` of the body's `data`; null where absent.
    #[track_caller]
    pub fn field(&self, name: &str) -> serde_json::Value {
        self.json()["data"][name].clone()
    }
}

/// What a vendor does with a message once it has noted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Acknowledges it.
    Ack,
    /// Refuses it for good (`requeue=false`).
    Reject,
    /// Puts it back (`requeue=true`).
    Requeue,
    /// Holds it, as a vendor that hangs.
    Hold,
}

type Judge = Arc<dyn Fn(&Message) -> Verdict + Send + Sync>;

/// How a vendor consumes.
#[derive(Clone)]
pub struct VendorOptions {
    /// Messages that may be under way unacknowledged.
    pub prefetch: u16,
    /// Decides about each message.
    pub judge: Judge,
}

impl Default for VendorOptions {
    fn default() -> Self {
        Self { prefetch: 200, judge: Arc::new(|_| Verdict::Ack) }
    }
}

/// A running consumer of one or more queues. It connects again for as long as
/// it lives: queues may come later than it, be deleted and declared again, and
/// RabbitMQ may go and come back.
pub struct Vendor {
    inbox: Arc<Inbox>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Inbox {
    messages: Mutex<Vec<Message>>,
    changed: Condvar,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Vendor {
    /// Consumes one queue and acknowledges everything.
    pub fn consume(uri: &str, queue: &str) -> Self {
        Self::consume_all(uri, [queue])
    }

    /// Consumes several queues over one connection and acknowledges everything.
    pub fn consume_all<'a>(uri: &str, queues: impl IntoIterator<Item = &'a str>) -> Self {
        Self::with(uri, queues, &VendorOptions::default())
    }

    /// Consumes as `options` say.
    pub fn with<'a>(uri: &str, queues: impl IntoIterator<Item = &'a str>, options: &VendorOptions) -> Self {
        let inbox = Arc::new(Inbox::default());
        let line = Arc::new(Line { uri: uri.to_owned(), connection: tokio::sync::Mutex::new(None) });
        let tasks = queues
            .into_iter()
            .map(|queue| spawn(consume_forever(Arc::clone(&line), queue.to_owned(), options.clone(), Arc::clone(&inbox))))
            .collect();
        Self { inbox, tasks }
    }

    /// Returns what has come so far, in order of arrival.
    pub fn messages(&self) -> Vec<Message> {
        self.inbox.lock().clone()
    }

    /// Returns what has come so far and forgets it.
    pub fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// Returns how much has come so far.
    pub fn count(&self) -> usize {
        self.inbox.lock().len()
    }

    /// Waits until at least `n` messages have come and returns all; fails the
    /// test after `limit`.
    #[track_caller]
    pub fn wait_for(&self, n: usize, limit: Duration) -> Vec<Message> {
        self.wait_until(limit, &format!("{n} messages"), |messages| messages.len() >= n)
    }

    /// Waits until what has come satisfies `enough` and returns all; fails the
    /// test after `limit`.
    #[track_caller]
    pub fn wait_until(&self, limit: Duration, what: &str, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        let deadline = Instant::now() + limit;
        let mut messages = self.inbox.lock();
        while !enough(&messages) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {limit:?} in vain for {what}; {} messages came", messages.len());
            messages = self.inbox.changed.wait_timeout(messages, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        messages.clone()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// One connection for all consumers of a vendor, made again when it is gone.
struct Line {
    uri: String,
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Line {
    async fn channel(&self) -> lapin::Result<Channel> {
        let mut slot = self.connection.lock().await;
        let connection = match slot.as_ref().filter(|connection| connection.status().connected()) {
            Some(connection) => Arc::clone(connection),
            None => Arc::clone(slot.insert(Arc::new(connect(self.uri.clone()).await?))),
        };
        connection.create_channel().await
    }
}

async fn consume_forever(line: Arc<Line>, queue: String, options: VendorOptions, inbox: Arc<Inbox>) {
    loop {
        // Whatever ended it (queue not there yet or deleted, RabbitMQ down),
        // the answer is to try again.
        let _ = consume_once(&line, &queue, &options, &inbox).await;
        // lapin leaves a request that meets the end of its connection without an
        // answer: nothing here may wait for one without end.
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// How long RabbitMQ may take to answer a vendor.
const ANSWER: Duration = Duration::from_secs(10);
/// How often a vendor that gets nothing looks whether it still could.
const LOOK: Duration = Duration::from_millis(500);
/// A vendor that has got nothing for so long, and holds nothing, consumes anew.
///
/// A channel of RabbitMQ 3.10 that learns of its queue's end after another one of
/// that name was declared consumes the other one without a word, and forgets that
/// it does: what it is given of the prefetch is lost to everybody until it closes.
/// Neither cancelled nor short of a consumer, a vendor sees only that nothing comes.
const QUIET: Duration = Duration::from_secs(2);

async fn attach(line: &Line, queue: &str, options: &VendorOptions) -> lapin::Result<(Channel, lapin::Consumer)> {
    let channel = line.channel().await?;
    channel.basic_qos(options.prefetch, BasicQosOptions::default()).await?;
    let consumer = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?;
    Ok((channel, consumer))
}

async fn consume_once(line: &Line, queue: &str, options: &VendorOptions, inbox: &Inbox) -> lapin::Result<()> {
    let Ok(attached) = timeout(ANSWER, attach(line, queue, options)).await else { return Ok(()) };
    let (channel, mut consumer) = attached?;
    let (mut latest, mut holds) = (Instant::now(), false);
    loop {
        let delivery = match timeout(LOOK, consumer.next()).await {
            Ok(Some(delivery)) => delivery?,
            Ok(None) => return Ok(()),
            Err(_) if !channel.status().connected() => return Ok(()),
            Err(_) if holds || latest.elapsed() < QUIET => continue,
            Err(_) => {
                // Before the consumer is dropped: what a cancelled one was sent may
                // come again in another order.
                let _ = timeout(ANSWER, channel.close(200, "quiet".into())).await;
                return Ok(());
            }
        };
        latest = Instant::now();
        let acker = delivery.acker.clone();
        let message = Message::from_delivery(queue, delivery);
        let verdict = (options.judge)(&message);
        holds |= verdict == Verdict::Hold;
        inbox.lock().push(message);
        inbox.changed.notify_all();
        let settled = timeout(ANSWER, async {
            match verdict {
                Verdict::Ack => acker.ack(BasicAckOptions::default()).await,
                Verdict::Reject => acker.reject(BasicRejectOptions { requeue: false }).await,
                Verdict::Requeue => acker.reject(BasicRejectOptions { requeue: true }).await,
                Verdict::Hold => Ok(true),
            }
        });
        let Ok(settled) = settled.await else { return Ok(()) };
        settled?;
    }
}

fn json(value: &AMQPValue) -> serde_json::Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Timestamp(value) => (*value).into(),
        AMQPValue::ShortString(value) => value.as_str().into(),
        AMQPValue::LongString(value) => value.to_string().into(),
        AMQPValue::Void => serde_json::Value::Null,
        other => format!("{other:?}").into(),
    }
}
