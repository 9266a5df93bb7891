//! Does memory stay flat? Very many events about very many citizens, published
//! while the broker runs, and what is resident after each twentieth of them.

use crate::contestant::Contestant;
use crate::latency::{WARM_UP, publish};
use crate::load::{Collector, Scenario};
use crate::rig::Node;

/// Samples taken on the way.
const SAMPLES: usize = 20;

/// Runs, and prints a line per sample.
pub fn run(node: &Node, scenario: &Scenario, events: usize) {
    let mut stage = Contestant::Broker.set_stage(node, scenario);
    let collector = Collector::start(stage.uri(), stage.target_queues());
    let mover = stage.go();
    let used = || mover.usage().unwrap_or_else(|| panic!("the broker has ended:\n{}", mover.last_words()));
    publish(&stage, events..events + WARM_UP, f64::INFINITY);
    collector.wait_for(WARM_UP, || mover.last_words());
    println!("{} citizens loaded: {:.0} MiB resident", scenario.citizens, used().resident_mib);
    let slice = events.div_ceil(SAMPLES);
    let mut resident = Vec::new();
    for sample in 0..SAMPLES {
        let (from, to) = (sample * slice, ((sample + 1) * slice).min(events));
        publish(&stage, from..to, f64::INFINITY);
        collector.wait_for(WARM_UP + to, || mover.last_words());
        let used = used();
        println!("{to:>9} events: {:.0} MiB resident, {:.0} MiB at most", used.resident_mib, used.peak_mib);
        resident.push(used.resident_mib);
    }
    let half = |samples: &[f64]| samples.iter().sum::<f64>() / samples.len() as f64;
    let (first, second) = resident.split_at(SAMPLES / 2);
    println!("second half over first half: {:.2}", half(second) / half(first));
    drop(mover);
    drop(collector);
    stage.clear();
}
