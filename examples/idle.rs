//! What a broker costs that has nothing to do, with every recipient of the
//! country and a small cache, and what a scrape of its metrics costs:
//! `cargo run --release --example idle -- SECONDS`.

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::fs;
use std::time::{Duration, Instant};

use rig::{Broker, Node, NodeOptions, Options};

/// Clock ticks a second, as Linux reports processor time.
const TICKS: f64 = 100.0;

/// Processor seconds that the process has used.
fn used(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in parentheses; user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
}

fn main() {
    let seconds: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(30);
    let node = match Node::from_env_or_start(&NodeOptions::default()) {
        Ok(node) => node,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    };
    let mut broker = Broker::start(Options::new(&node.uri()).env("WSB_STORE_CACHE_MIB", "4").env("WSB_LOG", "warn"));
    let pid = broker.pid().expect("the broker runs");
    // The start itself is no idleness.
    std::thread::sleep(Duration::from_secs(5));
    let (before, started) = (used(pid), Instant::now());
    std::thread::sleep(Duration::from_secs(seconds));
    let share = (used(pid) - before) / started.elapsed().as_secs_f64();
    // A process that has ended costs nothing, and that is no measurement.
    if let Some(status) = broker.exited() {
        eprintln!("the broker ended meanwhile, with {status}:\n{}", broker.log());
        std::process::exit(1);
    }
    println!("idle for {seconds} s: {:.2} % of a core, {:.1} MiB resident", share * 100.0, resident_mib(pid));

    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..50 {
        let started = Instant::now();
        let text = ureq::get(broker.url("/metrics")).call().ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
        times.push(started.elapsed());
        bytes = text.unwrap_or_default().len();
    }
    times.sort_unstable();
    println!("a scrape: {bytes} bytes, median {:.1?}, slowest of 50 {:.1?}", times[25], times[49]);
}
