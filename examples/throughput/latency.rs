//! From publishing an event to its arrival at a consumer of the target, at a
//! steady rate.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties, PublisherConfirm};
use tokio::sync::mpsc;

use crate::contestant::{Contestant, Outgoing, Stage};
use crate::load::{Collector, Scenario};
use crate::rig::{self, Node};
use crate::usage::{self, Machine};

/// What was measured.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Who.
    pub contestant: Contestant,
    /// Under what.
    pub scenario: Scenario,
    /// Events per second.
    pub rate: f64,
    /// Half arrive within this.
    pub p50: Duration,
    /// Ninety-nine in a hundred arrive within this.
    pub p99: Duration,
    /// The share of the machine's processors that was busy.
    pub busy: f64,
    /// Processor seconds per 10,000 events: of RabbitMQ, of whoever is
    /// measured, and of the load itself, which both carry.
    pub cpu: [f64; 3],
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let [node, own, load] = self.cpu;
        write!(f, "{:<6} at {:>6.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms", self.contestant, self.rate, ms(self.p50), ms(self.p99))?;
        write!(f, "  (machine {:.0} % busy; CPU s per 10,000: RabbitMQ {node:.2}, itself {own:.2}, load {load:.2})", self.busy * 100.0)
    }
}

/// Messages that must have arrived before the measurement begins: until then
/// the contestant is starting, and what piles up meanwhile is not its latency.
pub const WARM_UP: usize = 200;

/// Returns how many events per second the contestant keeps up with while they
/// are published: making them, RabbitMQ's taking them in, and consuming them
/// again share the machine with it. Where a source is filled beforehand, none of
/// the first two costs anything, so that rate cannot be published at, nor half of
/// it on a small machine.
pub fn sustained(node: &Node, contestant: Contestant, scenario: &Scenario, events: usize) -> f64 {
    let mut stage = contestant.set_stage(node, scenario);
    let collector = Collector::with_numbers(stage.uri(), stage.target_queues());
    let mover = stage.go();
    publish(&stage, events..events + WARM_UP, f64::INFINITY);
    collector.wait_for(WARM_UP, || mover.last_words());
    let began = Instant::now();
    publish(&stage, 0..events, f64::INFINITY);
    collector.wait_for(events + WARM_UP, || mover.last_words());
    let rate = events as f64 / began.elapsed().as_secs_f64();
    drop(mover);
    drop(collector);
    stage.clear();
    rate
}

/// Publishes events at `rate`; returns when each was due.
pub fn publish(stage: &Stage<'_>, numbers: Range<usize>, rate: f64) -> Vec<Instant> {
    let outgoing: Vec<Outgoing> = numbers.map(|number| stage.message(number)).collect();
    let (uri, exchange) = (stage.uri().to_owned(), stage.exchange());
    rig::block(async move { publish_paced(&uri, exchange, outgoing, rate).await })
        .unwrap_or_else(|error| panic!("paced publishing: {error}"))
}

/// Publishes at `rate` for `seconds` while the contestant runs, and leaves the
/// first fifth out of account.
pub fn measure(node: &Node, contestant: Contestant, scenario: &Scenario, rate: f64, seconds: u64) -> Latency {
    let mut stage = contestant.set_stage(node, scenario);
    let collector = Collector::with_numbers(stage.uri(), stage.target_queues());
    let mover = stage.go();
    let messages = (rate * seconds as f64) as usize;
    publish(&stage, messages..messages + WARM_UP, rate);
    collector.wait_for(WARM_UP, || mover.last_words());
    let spent = || {
        let mover = mover.usage().map_or(0.0, |usage| usage.cpu_seconds);
        [usage::cpu_seconds(node.pid().unwrap_or_default()), mover, usage::cpu_seconds(std::process::id())]
    };
    let (machine, before) = (Machine::watch(), spent());
    let sent = publish(&stage, 0..messages, rate);
    collector.wait_for(messages + WARM_UP, || mover.last_words());
    let (busy, after) = (machine.taken_by_others(0.0), spent());
    let cpu = std::array::from_fn(|at| (after[at] - before[at]) * 10_000.0 / messages as f64);
    let mut latencies: Vec<Duration> = collector
        .log()
        .into_iter()
        .filter(|(_, number)| (messages / 5..messages).contains(number))
        .map(|(at, number)| at.saturating_duration_since(sent[number]))
        .collect();
    latencies.sort_unstable();
    drop(mover);
    drop(collector);
    stage.clear();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Latency { contestant, scenario: scenario.clone(), rate, p50: at(0.5), p99: at(0.99), busy, cpu }
}

/// Publishes each message at its time and returns when each was published.
/// Latency counts from the time at which a message was due, should the
/// publisher itself lag: otherwise a stall would hide the wait that it causes.
async fn publish_paced(uri: &str, exchange: &'static str, messages: Vec<Outgoing>, rate: f64) -> lapin::Result<Vec<Instant>> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (tx, mut rx) = mpsc::unbounded_channel::<PublisherConfirm>();
    let confirmed = tokio::spawn(async move {
        while let Some(confirm) = rx.recv().await {
            let confirmation = confirm.await;
            assert!(confirmation.is_ok_and(|confirmation| confirmation.is_ack()), "an event of the load was refused");
        }
    });
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let began = Instant::now();
    let mut sent = Vec::with_capacity(messages.len());
    for message in messages {
        let due = began + Duration::from_secs_f64(sent.len() as f64 / rate);
        while Instant::now() < due {
            tick.tick().await;
        }
        sent.push(due);
        let options = BasicPublishOptions::default();
        let confirm =
            channel.basic_publish(exchange.into(), message.key.as_str().into(), options, &message.body, properties(&message)).await?;
        let _ = tx.send(confirm);
    }
    drop(tx);
    let _ = confirmed.await;
    Ok(sent)
}

/// Returns the properties of an event of the load.
pub fn properties(message: &Outgoing) -> BasicProperties {
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into())
        .with_correlation_id(message.id.as_str().into())
}
