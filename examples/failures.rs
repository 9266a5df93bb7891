//! What it costs the others when a recipient fails, and how fast what failed is
//! made good: one of 20 busy recipients gone with a million deliveries waiting for
//! it, a change of responsibility meanwhile, its return, and a replay of a hundred
//! thousand that it had rejected.
//!
//! `make measure-failures`, or `cargo build --release && cargo run --release
//! --example failures -- [--waiting 1000000] [--events 60000] [--dead 100000] [--rate 500]`.
//! Everything runs on one private RabbitMQ node, and every ratio is of numbers of
//! the same run. The recipients' windows are wide and everything is fetched at once.

#![allow(clippy::panic, reason = "a measurement that cannot be made says so and ends")]

#[path = "../tests/rig/mod.rs"]
mod rig;

#[allow(dead_code, reason = "the bench's, of which this uses a part")]
#[path = "throughput/load.rs"]
mod load;
#[allow(dead_code, reason = "the bench's, of which this uses a part")]
#[path = "throughput/usage.rs"]
mod usage;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use load::Collector;
use rig::{Amqp, Broker, Node, Options, Vendor, VendorOptions, Verdict, until};
use serde_json::{Value, json};

const RECIPIENTS: usize = 20;
/// The citizens of the traffic; each recipient has as many of them.
const CITIZENS: usize = 20_000;
/// Citizens that move in the course of it come after them.
const MOVES: usize = 31;
/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(3600);

struct Sizes {
    waiting: usize,
    events: usize,
    dead: usize,
    rate: usize,
}

impl Sizes {
    fn parse() -> Self {
        let mut sizes = Self { waiting: 1_000_000, events: 60_000, dead: 100_000, rate: 500 };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            let value = given.next().and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} needs a number"));
            match name.as_str() {
                "--waiting" => sizes.waiting = value,
                "--events" => sizes.events = value,
                "--dead" => sizes.dead = value,
                "--rate" => sizes.rate = value,
                _ => panic!("unknown argument {name}"),
            }
        }
        sizes
    }
}

/// The broker, its recipients, and where the numbers of events have got to.
struct Stage {
    uri: String,
    amqp: Amqp,
    broker: Broker,
    kommuner: Vec<String>,
    next: usize,
    _node: Node,
}

impl Stage {
    fn set() -> Self {
        let node = Node::start();
        let uri = node.uri();
        let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        fs::create_dir_all(&files).expect("the target directory is writable");
        let shipped =
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).expect("routing.toml is part of the repository");
        let kommuner: Vec<String> = shipped
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| Some(line.split_once("authority = \"kommune:")?.1.get(..3)?.to_owned()))
            .take(RECIPIENTS)
            .collect();
        let is_kept = |line: &&str| {
            !line.starts_with("  { authority = ") || kommuner.iter().any(|code| line.contains(&format!("\"kommune:{code}\"")))
        };
        let few: String = shipped.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
        let widened = few.replacen("\nmax-unfetched = 1000\n", "\nmax-unfetched = 1000000\n", 1);
        assert_ne!(few, widened, "routing.toml no longer sets max-unfetched as it did");
        let routing = files.join("failures.toml");
        fs::write(&routing, widened).expect("the target directory is writable");

        let memberships = files.join("failures.ndjson");
        let line = |citizen: usize| {
            // Those that move are the second recipient's at first.
            let code = &kommuner[if citizen < CITIZENS { citizen % RECIPIENTS } else { 1 }];
            format!("{}\n", rig::jobcenter(&load::cpr(citizen), &format!("{code}00"), "2020-01-01", None).json())
        };
        fs::write(&memberships, (0..CITIZENS + 2 * MOVES).map(line).collect::<String>()).expect("the target directory is writable");
        let mut broker = Broker::prepare(Options::new(&uri).routing(&routing).env("WSB_LOG", "warn"));
        broker.cli_ok(&["import", memberships.to_str().expect("a path of ours")]);
        broker.start_again();
        Self { amqp: Amqp::connect(&uri), uri, broker, kommuner, next: 0, _node: node }
    }

    fn queue(&self, at: usize) -> String {
        format!("wsb.kommune.{}", self.kommuner[at])
    }

    /// The recipient that fails.
    fn first(&self) -> String {
        format!("kommune:{}", self.kommuner[0])
    }

    /// Publishes so many events, the `n`th about the citizen that `of` says.
    fn publish(&mut self, events: usize, of: impl Fn(usize) -> usize + Send + 'static) {
        let from = self.next;
        self.next += events;
        self.amqp.publish_all("dfdg.events", (from..from + events).map(move |number| frist(number, of(number)).message()));
    }

    /// Publishes and has it arrive; returns messages a second in the queues
    /// observed, and the share of the machine that others took.
    fn traffic(&mut self, events: usize, of: fn(usize) -> usize, queues: &[String], expected: usize) -> (f64, f64) {
        let collector = Collector::start(&self.uri, queues);
        let (machine, before) = (usage::Machine::watch(), self.used());
        self.publish(events, of);
        collector.wait_for(expected, || self.last_words());
        (collector.per_second(expected), machine.taken_by_others(self.used() - before))
    }

    /// Processor seconds of everything that is measured, and of what measures.
    fn used(&self) -> f64 {
        let node = self._node.pid().map_or(0.0, usage::cpu_seconds);
        node + self.broker.pid().map_or(0.0, usage::cpu_seconds) + usage::cpu_seconds(std::process::id())
    }

    /// What is known when messages do not come.
    fn last_words(&self) -> String {
        let metrics = self.broker.metrics();
        let counted = ["wsb_events_consumed_total", "wsb_deliveries_suppressed_total", "wsb_delivery_attempts_total", "wsb_pending"];
        let lines =
            counted.iter().flat_map(|name| metrics.series(name).filter(|(_, value)| *value > 0.0).map(move |of| format!("{name} {of:?}")));
        format!("{}\n{}", lines.collect::<Vec<_>>().join("\n"), self.broker.log())
    }

    fn count(&self, metric: &str) -> usize {
        self.broker.metrics().sum(metric, &[("recipient", &self.first())]) as usize
    }

    fn resident_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.broker.pid().expect("it runs"))).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.broker.api_post(path, body);
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// How long a move takes to come into effect, in milliseconds, the median:
    /// from the confirm of its event until what waited for the former kommune
    /// arrives at the new one.
    fn moves(&mut self, first: usize) -> f64 {
        let (from, to) = (format!("kommune:{}", self.kommuner[1]), self.kommuner[2].clone());
        self.post(&format!("/api/v1/recipients/{from}/pause"), &json!({ "why": "a measurement" }));
        let collector = Collector::with_numbers(&self.uri, &[self.queue(2)]);
        let mut took = Vec::new();
        for citizen in first..first + MOVES {
            let waits = self.next;
            self.publish(1, move |_| citizen);
            until(LIMIT, "it waits", || self.broker.metrics().sum("wsb_pending", &[("recipient", &from)]) >= 1.0);
            let change = rig::jobcenter(&load::cpr(citizen), &format!("{to}00"), "2025-01-01", None).id(&format!("bench-{}", self.next));
            self.next += 1;
            self.amqp.publish_all("dfdg.events", [change.message()]);
            let published = Instant::now();
            let arrived = || collector.log().into_iter().find(|(_, number)| *number == waits).map(|(at, _)| at);
            until(LIMIT, "what waited arrives at the new kommune", || arrived().is_some());
            took.push(arrived().map_or(f64::MAX, |at| at.saturating_duration_since(published).as_secs_f64() * 1000.0));
        }
        self.post(&format!("/api/v1/recipients/{from}/resume"), &json!({}));
        took.sort_by(f64::total_cmp);
        took[MOVES / 2]
    }

    /// Has the first recipient reject so many.
    fn reject(&mut self, count: usize) {
        let before = self.count("wsb_dead");
        let options = VendorOptions { prefetch: 1000, judge: Arc::new(|_| Verdict::Reject) };
        let vendor = Vendor::with(&self.uri, [self.queue(0).as_str()], &options);
        self.publish(count, of_the_first);
        until(LIMIT, "all have come back", || self.count("wsb_dead") >= before + count);
        drop(vendor);
    }

    /// Replays all that is dead; returns messages a second in the recipient's queue.
    fn replay(&self, count: usize, rate: Option<usize>) -> f64 {
        let collector = Collector::start(&self.uri, &[self.queue(0)]);
        let order = json!({ "filter": { "recipient": self.first() }, "rate_per_second": rate });
        let answer = self.post("/api/v1/replays", &order);
        assert_eq!(answer["matched"], count, "{answer}");
        collector.wait_for(count, || self.last_words());
        collector.per_second(count)
    }
}

/// A Frist, which the kommune of the citizen's jobcentre gets.
fn frist(number: usize, citizen: usize) -> rig::Event {
    let event = rig::event("Frist").id(&format!("bench-{number}")).cpr(&load::cpr(citizen)).authority("kommune", "101");
    event.period("2026-03-16", None).content(json!({ "Tekst": "" }))
}

fn of_everybody(number: usize) -> usize {
    number % CITIZENS
}

fn of_the_first(number: usize) -> usize {
    number % (CITIZENS / RECIPIENTS) * RECIPIENTS
}

/// Says how many messages of a citizen came before an earlier one of theirs, of
/// those about the first recipient; repeats do not count.
fn out_of_order(log: &[(Instant, usize)], citizen_of: impl Fn(usize) -> usize) -> usize {
    let mut newest = std::collections::HashMap::new();
    let mut seen = std::collections::HashSet::new();
    log.iter()
        .filter(|(_, number)| seen.insert(*number))
        .filter(|(_, number)| newest.insert(citizen_of(*number), *number).is_some_and(|before| before > *number))
        .count()
}

fn verdict(holds: bool) -> &'static str {
    if holds { "met" } else { "NOT MET" }
}

fn main() {
    let sizes = Sizes::parse();
    let mut stage = Stage::set();
    let others: Vec<String> = (1..RECIPIENTS).map(|at| stage.queue(at)).collect();
    let all: Vec<String> = (0..RECIPIENTS).map(|at| stage.queue(at)).collect();
    // Whole rounds of all citizens, so that each recipient gets as many.
    let events = sizes.events.max(CITIZENS) / CITIZENS * CITIZENS;
    let of_others = events / RECIPIENTS * (RECIPIENTS - 1);

    // Everything has been touched once before anything is measured.
    stage.traffic(events, of_everybody, &all, events);
    let drained = Vendor::consume(&stage.uri, &stage.queue(0));
    stage.next = stage.next.next_multiple_of(CITIZENS);
    let (before, busy) = stage.traffic(events, of_everybody, &others, of_others);
    println!("the other {} before: {before:.0} messages/s ({:.0} % of the machine in other hands)", RECIPIENTS - 1, busy * 100.0);
    until(LIMIT, "its queue is empty", || stage.amqp.depth(&stage.queue(0)) == Some(0));
    drop(drained);
    let (fresh, busy) = stage.traffic(sizes.events, of_the_first, &all[..1], sizes.events);
    println!("fresh traffic to the one alone: {fresh:.0}/s ({:.0} % in other hands)", busy * 100.0);
    let effect_before = stage.moves(CITIZENS);
    println!("a move takes effect after {effect_before:.1} ms with nothing else waiting");

    stage.amqp.delete_queue(&stage.queue(0));
    let resident = stage.resident_mib();
    let begun = Instant::now();
    let first_waiting = stage.next;
    stage.publish(sizes.waiting, of_the_first);
    let waiting = |stage: &Stage| stage.count("wsb_pending") + stage.count("wsb_retrying");
    until(LIMIT, "they wait", || waiting(&stage) >= sizes.waiting);
    println!("{} wait for the one that is gone, after {:.0} s", sizes.waiting, begun.elapsed().as_secs_f64());
    stage.next = stage.next.next_multiple_of(CITIZENS);
    let first_mixed = stage.next;
    let (during, busy) = stage.traffic(events, of_everybody, &others, of_others);
    let grown = stage.resident_mib() - resident;
    println!("the other {} meanwhile: {during:.0} messages/s ({:.0} % in other hands)", RECIPIENTS - 1, busy * 100.0);
    println!("memory: {resident:.0} MiB before, {grown:+.0} MiB");
    let after_mixed = stage.next;
    let effect_during = stage.moves(CITIZENS + MOVES);
    println!("a move takes effect after {effect_during:.1} ms with {} others waiting", waiting(&stage));

    // Held until everybody looks: no probe sends anything before.
    stage.post(&format!("/api/v1/recipients/{}/pause", stage.first()), &json!({ "why": "a measurement" }));
    let back = waiting(&stage);
    stage.broker.cli_ok(&["topology", "--apply"]);
    let collector = Collector::with_numbers(&stage.uri, &all[..1]);
    stage.post(&format!("/api/v1/recipients/{}/resume", stage.first()), &json!({}));
    collector.wait_for(back, || stage.last_words());
    let drained = collector.per_second(back);
    let citizen_of = |number: usize| if (first_mixed..after_mixed).contains(&number) { of_everybody(number) } else { of_the_first(number) };
    let log: Vec<(Instant, usize)> = collector.log().into_iter().filter(|(_, number)| *number >= first_waiting).collect();
    let overtaken = out_of_order(&log, citizen_of);
    println!("the backlog drains at {drained:.0}/s; {overtaken} out of their order");
    drop(collector);

    stage.reject(sizes.dead);
    let replayed = stage.replay(sizes.dead, None);
    println!("a replay of {} dead: {replayed:.0}/s", sizes.dead);
    let limited = sizes.rate * 20;
    stage.reject(limited);
    let kept = stage.replay(limited, Some(sizes.rate));
    println!("a replay limited to {}/s: {kept:.1}/s\n", sizes.rate);

    let ratio = during / before;
    println!("others' rate meanwhile / before    {ratio:.2}  wanted 0.9 or more   {}", verdict(ratio >= 0.9));
    println!("memory                            {grown:+.0} MiB  wanted below 100     {}", verdict(grown < 100.0));
    println!("backlog / fresh                    {:.2}  wanted 0.8 or more   {}", drained / fresh, verdict(drained >= 0.8 * fresh));
    println!("lane order                         {overtaken} broken             {}", verdict(overtaken == 0));
    let slower = effect_during / effect_before;
    println!("effect of a move, with / without   {slower:.2}  wanted 1.5 or less   {}", verdict(slower <= 1.5));
    println!("replay / fresh                     {:.2}  wanted 1 or more     {}", replayed / fresh, verdict(replayed >= fresh));
    let off = (kept / sizes.rate as f64 - 1.0) * 100.0;
    println!("limited replay                     {off:+.1} %  wanted within 5 %   {}", verdict(off.abs() <= 5.0));
}
