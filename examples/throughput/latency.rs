//! From publishing an event to its arrival at a consumer of the target, at a
//! steady rate.

use std::fmt;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties, PublisherConfirm};
use tokio::sync::mpsc;

use crate::contestant::{Contestant, Outgoing};
use crate::load::{Collector, Scenario};
use crate::rig::{self, Node};

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
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        write!(f, "{:<6} at {:>6.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms", self.contestant, self.rate, ms(self.p50), ms(self.p99))
    }
}

/// Messages that must have arrived before the measurement begins: until then
/// the contestant is starting, and what piles up meanwhile is not its latency.
const WARM_UP: usize = 200;

/// Publishes at `rate` for `seconds` while the contestant runs, and leaves the
/// first fifth out of account.
pub fn measure(node: &Node, contestant: Contestant, scenario: &Scenario, rate: f64, seconds: u64) -> Latency {
    let mut stage = contestant.set_stage(node, scenario);
    let collector = Collector::with_numbers(stage.uri(), stage.target_queues());
    let mover = stage.go();
    let messages = (rate * seconds as f64) as usize;
    let publish = |numbers: std::ops::Range<usize>, rate| {
        let outgoing: Vec<Outgoing> = numbers.map(|number| stage.message(number)).collect();
        let (uri, exchange) = (stage.uri().to_owned(), stage.exchange());
        rig::block(async move { publish_paced(&uri, exchange, outgoing, rate).await })
            .unwrap_or_else(|error| panic!("paced publishing: {error}"))
    };
    publish(messages..messages + WARM_UP, rate);
    collector.wait_for(WARM_UP, || mover.last_words());
    let sent = publish(0..messages, rate);
    collector.wait_for(messages + WARM_UP, || mover.last_words());
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
    Latency { contestant, scenario: scenario.clone(), rate, p50: at(0.5), p99: at(0.99) }
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
