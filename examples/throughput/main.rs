//! How fast is the broker, next to two things that do less?
//!
//! On one private RabbitMQ node, taking turns, several rounds, medians:
//! - **shovel**: RabbitMQ's own Shovel, on-confirm, prefetch 1000;
//! - **relay**: a bare lapin program that consumes, publishes with confirms and
//!   acknowledges, and remembers nothing;
//! - **broker**: the real one, from `wsb.intake.events` to recipients' queues.
//!
//! All three move the same messages from one prefilled quorum queue to the same
//! number of quorum queues with consumers on them. `make bench` runs it; see
//! `Arguments` for what can be chosen.
//!
//! An example and not a bench: cargo builds benches, and the broker for them,
//! without `panic = "abort"`, that is, everything anew and another program than
//! the one that is shipped.

#![allow(clippy::panic, reason = "a bench that cannot run says so and ends")]

#[path = "../../tests/rig/mod.rs"]
mod rig;

mod broker;
mod contestant;
mod latency;
mod load;
mod relay;
mod report;
mod soak;
mod usage;

use std::path::PathBuf;

use contestant::Contestant;
use load::{Collector, Scenario};
use report::{Report, Run};
use rig::{Node, NodeOptions};
use usage::Machine;

/// What can be chosen: `--rounds 3 --events 60000 --targets 1,20,98 --fanout 1
/// --only shovel,relay,broker --latency-seconds 10 --latency-rate 0
/// --entity Frist --json FILE`; and `--soak 2000000 --citizens 200000 --targets 20`, which
/// watches the broker's memory instead.
struct Arguments {
    rounds: usize,
    events: usize,
    /// How many target queues; each number is a scenario of its own.
    targets: Vec<usize>,
    /// Copies per event. Shovel makes one always, and sits the others out.
    fanouts: Vec<usize>,
    only: Vec<Contestant>,
    latency_seconds: u64,
    /// Events per second while latency is measured; 0: half of what the broker
    /// keeps up with while they are published, or the relay where the broker
    /// does not run.
    latency_rate: f64,
    /// EntitetNavn of what one authority gets: Samtale is a type of which
    /// each record has a clock.
    entity: String,
    json: PathBuf,
    /// Events to watch the broker's memory over; 0: compete.
    soak: usize,
    citizens: usize,
}

impl Arguments {
    fn parse() -> Self {
        let mut arguments = Self {
            rounds: 3,
            events: 60_000,
            targets: vec![1, 20, 98],
            fanouts: vec![1, 3],
            only: Contestant::ALL.to_vec(),
            latency_seconds: 10,
            latency_rate: 0.0,
            entity: load::ENTITY.to_owned(),
            json: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench/throughput.json"),
            soak: 0,
            citizens: load::CITIZENS,
        };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            let value = given.next().unwrap_or_else(|| panic!("{name} needs a value"));
            let numbers = || value.split(',').map(|number| number.parse().expect("numbers, separated by commas")).collect();
            match name.as_str() {
                "--rounds" => arguments.rounds = value.parse().expect("a number"),
                "--events" => arguments.events = value.parse().expect("a number"),
                "--targets" => arguments.targets = numbers(),
                "--fanout" => arguments.fanouts = numbers(),
                "--only" => arguments.only = value.split(',').map(Contestant::parse).collect(),
                "--latency-seconds" => arguments.latency_seconds = value.parse().expect("a number"),
                "--latency-rate" => arguments.latency_rate = value.parse().expect("a number"),
                "--soak" => arguments.soak = value.parse().expect("a number"),
                "--citizens" => arguments.citizens = value.parse().expect("a number"),
                "--entity" => arguments.entity = value,
                "--json" => arguments.json = value.into(),
                _ => panic!("unknown argument {name}"),
            }
        }
        arguments
    }

    /// Every pairing that makes sense: three copies go to three queues.
    fn scenarios(&self) -> Vec<Scenario> {
        let pairs = self.fanouts.iter().flat_map(|fanout| self.targets.iter().map(|targets| (*targets, *fanout)));
        pairs
            .filter(|(targets, fanout)| *fanout == 1 || targets >= &(fanout * 4))
            .map(|(targets, fanout)| Scenario { targets, fanout, citizens: self.citizens, entity: self.entity.clone().into() })
            .collect()
    }
}

fn main() {
    if let Some(order) = relay::Order::from_arguments() {
        relay::run(&order);
        return;
    }
    let arguments = Arguments::parse();
    let node = Node::start_with(&NodeOptions { plugins: vec!["rabbitmq_shovel"], ..NodeOptions::default() });
    let mut report = Report::new(arguments.rounds, arguments.events);
    let scenarios = arguments.scenarios();
    if arguments.soak > 0 {
        let scenario = scenarios.first().unwrap_or_else(|| panic!("--soak needs --targets and --fanout"));
        soak::run(&node, scenario, arguments.soak);
        return;
    }
    for round in 0..arguments.rounds {
        for scenario in &scenarios {
            // Each round begins with another contestant, so that none always
            // runs on what another has just left behind.
            for turn in 0..arguments.only.len() {
                let contestant = arguments.only[(round + turn) % arguments.only.len()];
                if contestant.can(scenario) {
                    let run = throughput(&node, contestant, scenario, arguments.events);
                    eprintln!("round {} {scenario} {run}", round + 1);
                    report.add(run);
                }
            }
        }
    }
    if arguments.latency_seconds > 0 {
        for scenario in scenarios.iter().filter(|scenario| scenario.fanout == 1) {
            let rate = if arguments.latency_rate > 0.0 {
                arguments.latency_rate
            } else {
                let of = if arguments.only.contains(&Contestant::Broker) { Contestant::Broker } else { Contestant::Relay };
                let sustained = latency::sustained(&node, of, scenario, arguments.events);
                eprintln!("latency {scenario} {of} keeps up with {sustained:.0}/s while they are published; measuring at half of that");
                sustained / 2.0
            };
            for _ in 0..arguments.rounds {
                for contestant in arguments.only.iter().filter(|contestant| **contestant != Contestant::Shovel) {
                    let measured = latency::measure(&node, *contestant, scenario, rate, arguments.latency_seconds);
                    eprintln!("latency {scenario} {measured}");
                    report.add_latency(measured);
                }
            }
        }
    }
    println!("{report}");
    report.write_json(&arguments.json);
    println!("written to {}", arguments.json.display());
}

/// One run: fills the source, attaches the consumers, lets the contestant go.
fn throughput(node: &Node, contestant: Contestant, scenario: &Scenario, events: usize) -> Run {
    let mut stage = contestant.set_stage(node, scenario);
    stage.fill(events);
    let collector = Collector::start(stage.uri(), stage.target_queues());
    let node_pid = node.pid().expect("the node runs");
    let own_pid = std::process::id();
    let (machine, node_before, own_before) = (Machine::watch(), usage::cpu_seconds(node_pid), usage::cpu_seconds(own_pid));
    let mover = stage.go();
    let expected = events * scenario.fanout;
    collector.wait_for(expected, || mover.last_words());
    let used = mover.usage();
    let node_cpu_seconds = usage::cpu_seconds(node_pid) - node_before;
    let own_cpu_seconds = usage::cpu_seconds(own_pid) - own_before;
    let ours = node_cpu_seconds + own_cpu_seconds + used.map_or(0.0, |used| used.cpu_seconds);
    let run = Run {
        contestant,
        scenario: scenario.clone(),
        per_second: collector.per_second(expected),
        mover: used,
        node_cpu_seconds,
        others: machine.taken_by_others(ours),
        events,
    };
    drop(mover);
    drop(collector);
    stage.clear();
    run
}
