//! The messages, and the consumers that count them at the targets.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::rig;

/// Citizens that the events are about, unless there are to be more.
pub const CITIZENS: usize = 4000;
/// Bytes of a message body.
const BODY: usize = 600;
/// A contestant that does not get further for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many queues the messages go to, and how many copies of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Target queues.
    pub targets: usize,
    /// Copies per event.
    pub fanout: usize,
    /// Citizens that the events are about.
    pub citizens: usize,
    /// EntitetNavn of events that one authority gets.
    pub entity: Cow<'static, str>,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fan-out {} over {:>2} queues", self.fanout, self.targets)
    }
}

/// Returns the made-up personnummer of a citizen.
pub fn cpr(citizen: usize) -> String {
    format!("{:02}01{:02}{:04}", 1 + citizen % 28, 30 + citizen / 28 % 60, 1000 + citizen / (28 * 60))
}

/// EntitetNavn of the events unless it is chosen: no deletion rule names it.
pub const ENTITY: &str = "Frist";

/// Returns event `number`: of the chosen type, which one authority gets, or an
/// Indkaldelse, which three get; padded to the agreed size.
pub fn event(number: usize, scenario: &Scenario) -> rig::Event {
    let entity = if scenario.fanout == 1 { &scenario.entity } else { "Indkaldelse" };
    let event = rig::event(entity)
        .id(&format!("bench-{number}"))
        .cpr(&cpr(number % scenario.citizens))
        .authority("kommune", "860")
        .period("2026-03-16", None)
        .content(json!({ "Tekst": "" }));
    let padding = BODY.saturating_sub(event.body().len());
    event.content(json!({ "Tekst": "x".repeat(padding) }))
}

/// Consumers on all targets, as light as can be: they count, note the time,
/// and acknowledge many at once.
pub struct Collector {
    arrivals: Arc<Arrivals>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Arrivals {
    count: AtomicUsize,
    /// Per arrival: when, and the number of the event where it is asked for.
    log: Mutex<Vec<(Instant, usize)>>,
}

impl Collector {
    /// Starts consuming and returns when all consumers are there.
    pub fn start(uri: &str, queues: &[String]) -> Self {
        Self::with(uri, queues, false)
    }

    /// As [`Collector::start`], and notes the number of each event.
    pub fn with_numbers(uri: &str, queues: &[String]) -> Self {
        Self::with(uri, queues, true)
    }

    fn with(uri: &str, queues: &[String], numbers: bool) -> Self {
        let arrivals = Arc::new(Arrivals::default());
        let share = queues.len().div_ceil(2);
        let tasks = queues
            .chunks(share)
            .map(|queues| {
                let (uri, queues, arrivals) = (uri.to_owned(), queues.to_vec(), Arc::clone(&arrivals));
                let attached = rig::block(async move { attach(&uri, &queues).await });
                rig::spawn(count(attached.unwrap_or_else(|error| panic!("cannot consume: {error}")), arrivals, numbers))
            })
            .collect();
        Self { arrivals, tasks }
    }

    /// Waits until `expected` messages have come. When they do not, `explain` is
    /// asked for what to add to the report.
    pub fn wait_for(&self, expected: usize, explain: impl Fn() -> String) {
        let mut last = (0, Instant::now());
        rig::until(Duration::from_secs(3600), "all messages arrive", || {
            let count = self.arrivals.count.load(Ordering::Relaxed);
            if count > last.0 {
                last = (count, Instant::now());
            }
            assert!(last.1.elapsed() < PATIENCE, "{count} of {expected} messages came, and then none for {PATIENCE:?}\n{}", explain());
            count >= expected
        });
    }

    /// Returns messages per second from the first tenth of what came to the
    /// last: starting and running dry are not what is compared.
    pub fn per_second(&self, expected: usize) -> f64 {
        let mut times: Vec<Instant> = self.log().into_iter().map(|(at, _)| at).collect();
        times.sort_unstable();
        let (from, to) = (expected / 10, expected * 9 / 10);
        (to - from) as f64 / (times[to] - times[from]).as_secs_f64()
    }

    /// Returns when each event came, as (when, number).
    pub fn log(&self) -> Vec<(Instant, usize)> {
        self.arrivals.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Consumers of some queues, on a channel and connection of their own.
struct Attached {
    channel: lapin::Channel,
    deliveries: SelectAll<lapin::Consumer>,
    _connection: Connection,
}

async fn attach(uri: &str, queues: &[String]) -> lapin::Result<Attached> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.basic_qos(1000, BasicQosOptions::default()).await?;
    let mut consumers = Vec::new();
    for queue in queues {
        consumers
            .push(channel.basic_consume(queue.as_str().into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await?);
    }
    Ok(Attached { channel, deliveries: select_all(consumers), _connection: connection })
}

async fn count(mut attached: Attached, arrivals: Arc<Arrivals>, numbers: bool) {
    let mut tally = Tally::default();
    loop {
        let delivery = match attached.deliveries.next().now_or_never() {
            Some(next) => next,
            None => {
                tally.acknowledge(&attached.channel).await;
                attached.deliveries.next().await
            }
        };
        // The end of the stream is the end of this bench's part, or an error
        // of RabbitMQ's; the latter shows in messages that do not come.
        let Some(Ok(delivery)) = delivery else { return };
        let number = if numbers { number_of(&delivery) } else { 0 };
        arrivals.log.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), number));
        arrivals.count.fetch_add(1, Ordering::Relaxed);
        tally.highest = tally.highest.max(delivery.delivery_tag);
        tally.since += 1;
        if tally.since >= 250 {
            tally.acknowledge(&attached.channel).await;
        }
    }
}

/// What has come and what has been acknowledged on a channel.
///
/// Several queues on one channel do not come in the order of their tags, so an
/// acknowledgement may cover a message that still waits in a buffer of this
/// process. Nobody minds in a bench; but acknowledging a tag twice would close
/// the channel.
#[derive(Default)]
struct Tally {
    highest: u64,
    acknowledged: u64,
    since: usize,
}

impl Tally {
    async fn acknowledge(&mut self, channel: &lapin::Channel) {
        if self.highest > self.acknowledged {
            let _ = channel.basic_ack(self.highest, BasicAckOptions { multiple: true }).await;
            self.acknowledged = self.highest;
        }
        self.since = 0;
    }
}

/// The number of the event that a message stems from. The broker names the
/// event in `correlation_id`; to the relay's messages it is given from the start.
fn number_of(delivery: &lapin::message::Delivery) -> usize {
    let correlation = delivery.properties.correlation_id().as_ref().map(ToString::to_string).unwrap_or_default();
    correlation.strip_prefix("bench-").and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("correlation id {correlation:?}"))
}
