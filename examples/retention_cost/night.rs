//! A deletion night beside ordinary traffic: how many orders go out, and what
//! that leaves of the traffic's rate and of its time from event to queue.
//!
//! Both are measured twice, in turns: without orders to speak of, and with as many
//! as the rate allows. *Flat out* is what the machine can do with a backlog
//! before the broker, so that whatever orders take is taken from it; *steady* is a
//! rate that leaves room.

use std::borrow::Cow;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Connection, ConnectionProperties, PublisherConfirm};

use crate::load::{self, Collector, Scenario};
use crate::rig::{self, Amqp, Broker, Node, NodeOptions};
use crate::seed::KEPT;
use crate::usage::{self, Machine};
use crate::{Arguments, Done, broker, in_child};

/// Where ordinary traffic goes.
pub const TRAFFIC: Scenario = Scenario { targets: 20, fanout: 1, citizens: 4000, entity: Cow::Borrowed(load::ENTITY) };
const EVENTS: &str = "dfdg.events";
pub const ORDERS: &str = "dfdg.deletions";

/// `retention.toml` beside the routing file, as long as this runs.
pub struct Retention(pub PathBuf);

impl Retention {
    pub fn set(&self, per_second: u32) -> Done {
        let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("retention.toml"))?;
        let paced = shipped.replacen("per-second = 5000", &format!("per-second = {per_second}"), 1);
        fs::write(&self.0, paced)?;
        Ok(())
    }
}

impl Drop for Retention {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What one turn measured.
struct Turn {
    flat_out: f64,
    orders_meanwhile: f64,
    steady: f64,
    orders_at_steady: f64,
    p50: Duration,
    p99: Duration,
    peak_mib: f64,
    others: f64,
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        write!(
            f,
            "flat out {:>6.0}/s beside {:>5.0} orders/s; steady {:>6.0}/s beside {:>5.0} orders/s, p50 {:>6.1} ms, p99 {:>6.1} ms; peak {:.0} MiB; others took {:.0} %",
            self.flat_out,
            self.orders_meanwhile,
            self.steady,
            self.orders_at_steady,
            ms(self.p50),
            ms(self.p99),
            self.peak_mib,
            self.others * 100.0
        )
    }
}

/// Measures in turns, and compares the medians.
pub fn measure(arguments: &Arguments) -> Done {
    let node = Node::start_with(&NodeOptions::default());
    let uri = node.vhost("night");
    println!("## A deletion night: {} due records, at most {} orders a second\n", arguments.clocks, arguments.rate);
    let retention = Retention(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench/retention.toml"));
    retention.set(1)?;
    let (queues, mut broker) = broker::prepare(&uri, &TRAFFIC);
    let (data, citizens) = (broker.data_dir().display().to_string(), (arguments.clocks / KEPT.len()).to_string());
    let began = Instant::now();
    in_child("seed", &[data, citizens.clone(), citizens, KEPT.len().to_string()])?;
    println!("{} due records written in {:.0} s", arguments.clocks, began.elapsed().as_secs_f64());
    let mut numbers = 0..;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds {
        for turn in 0..2 {
            // Each comes first in every other round.
            let is_night = (round + turn) % 2 == 1;
            retention.set(if is_night { arguments.rate } else { 1 })?;
            let measured = self::turn(&node, &uri, &queues, &mut broker, &mut numbers, arguments)?;
            println!("round {} {} {measured}", round + 1, if is_night { "night:" } else { "day:  " });
            if is_night { &mut with } else { &mut without }.push(measured);
        }
    }
    let ratio = |of: fn(&Turn) -> f64| median(with.iter().map(of)) / median(without.iter().map(of));
    println!("\nof the rate without orders remain, by medians of {}:", arguments.rounds);
    let orders = |of: fn(&Turn) -> f64| median(with.iter().map(of));
    println!(
        "  steady   {:.2} beside {:.0} orders/s (wanted: 0.9 beside 5,000)",
        ratio(|turn| turn.steady),
        orders(|turn| turn.orders_at_steady)
    );
    println!("  flat out {:.2} beside {:.0} orders/s", ratio(|turn| turn.flat_out), orders(|turn| turn.orders_meanwhile));
    println!("  p99 {:.1} times as long\n", ratio(|turn| turn.p99.as_secs_f64()));
    Ok(())
}

/// Starts the broker on a backlog, then sends at a steady rate, and stops it.
fn turn(
    node: &Node,
    uri: &str,
    queues: &[String],
    broker: &mut Broker,
    numbers: &mut std::ops::RangeFrom<usize>,
    arguments: &Arguments,
) -> Result<Turn, Box<dyn std::error::Error>> {
    let events = arguments.events;
    let backlog: Vec<(String, Vec<u8>)> = numbers.by_ref().take(events).map(|number| load::event(number, &TRAFFIC).message()).collect();
    Amqp::connect(uri).publish_all(EVENTS, backlog);
    let traffic = Collector::with_numbers(uri, queues);
    let orders = Collector::start(uri, &[ORDERS.to_owned()]);
    broker.start_again();
    let pid = broker.pid().ok_or("the broker runs")?;
    let ours = || [Some(pid), node.pid(), Some(std::process::id())].into_iter().flatten().map(usage::cpu_seconds).sum::<f64>();
    let (machine, before) = (Machine::watch(), ours());
    let explain = || format!("readyz: {:?}\nlog:\n{}", broker.readyz(), broker.log());
    traffic.wait_for(events, explain);
    let (flat_out, from, to) = middle(&traffic, 0);
    let orders_meanwhile = between(&orders, from, to);

    let paced = (arguments.paced * arguments.seconds as f64) as usize;
    let first = numbers.start;
    let messages: Vec<(String, Vec<u8>)> = numbers.by_ref().take(paced).map(|number| load::event(number, &TRAFFIC).message()).collect();
    let sent = {
        let (uri, rate) = (uri.to_owned(), arguments.paced);
        rig::block(async move { publish_paced(&uri, messages, rate).await })?
    };
    traffic.wait_for(events + paced, explain);
    let (steady, from, to) = middle(&traffic, events);
    let orders_at_steady = between(&orders, from, to);
    let latency = |(at, number): &(Instant, usize)| at.saturating_duration_since(sent[number - first]);
    let is_measured = |(_, number): &&(Instant, usize)| *number >= first + paced / 5;
    let mut latencies: Vec<Duration> = traffic.log().iter().filter(is_measured).map(latency).collect();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let (peak_mib, others) = (usage::of(pid).peak_mib, machine.taken_by_others(ours() - before));
    if !broker.terminate().success() {
        return Err(format!("the broker did not stop in order:\n{}", broker.log()).into());
    }
    Ok(Turn { flat_out, orders_meanwhile, steady, orders_at_steady, p50: at(0.5), p99: at(0.99), peak_mib, others })
}

/// Returns the rate of what came after the first `skip`, from its first tenth to
/// its last, and when those came.
fn middle(collector: &Collector, skip: usize) -> (f64, Instant, Instant) {
    let mut times: Vec<Instant> = collector.log().into_iter().map(|(at, _)| at).collect();
    times.sort_unstable();
    let times = &times[skip..];
    let (from, to) = (times.len() / 10, times.len() * 9 / 10);
    ((to - from) as f64 / (times[to] - times[from]).as_secs_f64(), times[from], times[to])
}

fn between(collector: &Collector, from: Instant, to: Instant) -> f64 {
    let came = collector.log().iter().filter(|(at, _)| (from..to).contains(at)).count();
    came as f64 / (to - from).as_secs_f64()
}

/// Publishes each message at its time, and returns when each was due: should the
/// publisher lag, the wait counts all the same.
async fn publish_paced(uri: &str, messages: Vec<(String, Vec<u8>)>, rate: f64) -> lapin::Result<Vec<Instant>> {
    let connection = Connection::connect(uri, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let began = Instant::now();
    let mut sent = Vec::with_capacity(messages.len());
    let mut confirms: Vec<PublisherConfirm> = Vec::new();
    for (key, body) in messages {
        let due = began + Duration::from_secs_f64(sent.len() as f64 / rate);
        while Instant::now() < due {
            tick.tick().await;
        }
        sent.push(due);
        let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/cloudevents+json".into());
        let options = BasicPublishOptions::default();
        confirms.push(channel.basic_publish(EVENTS.into(), key.as_str().into(), options, &body, properties).await?);
    }
    for confirm in confirms {
        confirm.await?;
    }
    Ok(sent)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
