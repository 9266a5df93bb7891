//! Medians, ratios, a table, and a file.

use std::fmt;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::contestant::Contestant;
use crate::latency::Latency;
use crate::load::Scenario;
use crate::usage::Usage;

/// More than this share of the machine in other hands spoils a run.
const NOISE: f64 = 0.1;

/// One run of one contestant.
pub struct Run {
    /// Who.
    pub contestant: Contestant,
    /// Under what.
    pub scenario: Scenario,
    /// Messages that arrived at targets, per second.
    pub per_second: f64,
    /// What the contestant's process used; Shovel has none of its own.
    pub mover: Option<Usage>,
    /// What RabbitMQ used meanwhile.
    pub node_cpu_seconds: f64,
    /// The share of the machine that went to strangers meanwhile, 0 to 1.
    pub others: f64,
    /// Events in the source.
    pub events: usize,
}

impl Run {
    fn per_10k(&self, seconds: f64) -> f64 {
        seconds * 10_000.0 / self.events as f64
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6} {:>6.0}/s", self.contestant, self.per_second)?;
        if let Some(mover) = &self.mover {
            write!(f, "  {:.3} CPU s per 10,000 events, peak {:.0} MiB", self.per_10k(mover.cpu_seconds), mover.peak_mib)?;
        }
        write!(f, "  (RabbitMQ {:.2} CPU s per 10,000; others took {:.0} %)", self.per_10k(self.node_cpu_seconds), self.others * 100.0)
    }
}

/// All that was measured.
pub struct Report {
    rounds: usize,
    events: usize,
    runs: Vec<Run>,
    latencies: Vec<Latency>,
}

impl Report {
    /// Begins a report.
    pub fn new(rounds: usize, events: usize) -> Self {
        Self { rounds, events, runs: Vec::new(), latencies: Vec::new() }
    }

    /// Adds a run.
    pub fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Adds a measurement of latency.
    pub fn add_latency(&mut self, latency: Latency) {
        self.latencies.push(latency);
    }

    fn median(&self, scenario: &Scenario, contestant: Contestant, value: impl Fn(&Run) -> Option<f64>) -> Option<f64> {
        let runs = self.runs.iter().filter(|run| run.contestant == contestant && run.scenario == *scenario);
        middle(runs.filter_map(value).collect())
    }

    fn latency(&self, scenario: &Scenario, contestant: Contestant, value: impl Fn(&Latency) -> f64) -> Option<f64> {
        let latencies = self.latencies.iter().filter(|latency| latency.contestant == contestant && latency.scenario == *scenario);
        middle(latencies.map(value).collect())
    }

    fn scenarios(&self) -> Vec<Scenario> {
        let mut scenarios: Vec<Scenario> = Vec::new();
        for run in &self.runs {
            if !scenarios.contains(&run.scenario) {
                scenarios.push(run.scenario.clone());
            }
        }
        scenarios
    }

    fn row(&self, scenario: &Scenario, contestant: Contestant) -> Option<Row> {
        Some(Row {
            per_second: self.median(scenario, contestant, |run| Some(run.per_second))?,
            cpu: self.median(scenario, contestant, |run| Some(run.per_10k(run.mover?.cpu_seconds))),
            peak_mib: self.median(scenario, contestant, |run| Some(run.mover?.peak_mib)),
            node_cpu: self.median(scenario, contestant, |run| Some(run.per_10k(run.node_cpu_seconds))),
            p50_ms: self.latency(scenario, contestant, |latency| latency.p50.as_secs_f64() * 1000.0),
            p99_ms: self.latency(scenario, contestant, |latency| latency.p99.as_secs_f64() * 1000.0),
        })
    }

    fn ratio(&self, scenario: &Scenario, to: Contestant) -> Option<f64> {
        Some(self.row(scenario, Contestant::Broker)?.per_second / self.row(scenario, to)?.per_second)
    }

    /// Writes everything as JSON, the single runs too.
    pub fn write_json(&self, file: &Path) {
        let scenarios: Vec<Value> = self
            .scenarios()
            .iter()
            .map(|scenario| {
                let rows: serde_json::Map<String, Value> = Contestant::ALL
                    .iter()
                    .filter_map(|contestant| Some((contestant.to_string(), self.row(scenario, *contestant)?.json())))
                    .collect();
                json!({
                    "targets": scenario.targets,
                    "fanout": scenario.fanout,
                    "medians": rows,
                    "broker_to_shovel": self.ratio(scenario, Contestant::Shovel),
                    "broker_to_relay": self.ratio(scenario, Contestant::Relay),
                    "runs": self.runs.iter().filter(|run| run.scenario == *scenario)
                        .map(|run| json!({ "contestant": run.contestant.to_string(), "per_second": run.per_second, "taken_by_others": run.others })).collect::<Vec<_>>(),
                })
            })
            .collect();
        let document = json!({ "rounds": self.rounds, "events": self.events, "scenarios": scenarios });
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).expect("the directory of the report is writable");
        }
        fs::write(file, format!("{document:#}\n")).expect("the report is writable");
    }
}

struct Row {
    per_second: f64,
    cpu: Option<f64>,
    peak_mib: Option<f64>,
    node_cpu: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "per_second": self.per_second,
            "cpu_seconds_per_10000_events": self.cpu,
            "peak_mib": self.peak_mib,
            "rabbitmq_cpu_seconds_per_10000_events": self.node_cpu,
            "latency_p50_ms": self.p50_ms,
            "latency_p99_ms": self.p99_ms,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nmedians of {} rounds, {} events each\n", self.rounds, self.events)?;
        let heads = ["deliveries/s", "CPU s/10k", "peak MiB", "RabbitMQ CPU s/10k", "p50 ms", "p99 ms"];
        writeln!(f, "{:<34}{:>13}{:>11}{:>10}{:>20}{:>9}{:>9}", "", heads[0], heads[1], heads[2], heads[3], heads[4], heads[5])?;
        let cell = |value: Option<f64>, digits| value.map_or_else(|| "-".to_owned(), |value: f64| format!("{value:.digits$}"));
        for scenario in self.scenarios() {
            for contestant in Contestant::ALL {
                let Some(row) = self.row(&scenario, contestant) else { continue };
                writeln!(
                    f,
                    "{:<34}{:>13.0}{:>11}{:>10}{:>20}{:>9}{:>9}",
                    format!("{scenario}  {contestant}"),
                    row.per_second,
                    cell(row.cpu, 3),
                    cell(row.peak_mib, 0),
                    cell(row.node_cpu, 2),
                    cell(row.p50_ms, 1),
                    cell(row.p99_ms, 1)
                )?;
            }
        }
        writeln!(f)?;
        let worst = self.runs.iter().map(|run| run.others).fold(0.0, f64::max);
        if worst > NOISE {
            writeln!(f, "Other processes took up to {:.0} % of the machine: these rates are not worth keeping.\n", worst * 100.0)?;
        }
        for scenario in self.scenarios() {
            for to in [Contestant::Shovel, Contestant::Relay] {
                if let Some(ratio) = self.ratio(&scenario, to) {
                    writeln!(f, "{scenario}  broker/{to} {ratio:.2}")?;
                }
            }
            let p99 = |contestant| self.row(&scenario, contestant)?.p99_ms;
            if let (Some(broker), Some(relay)) = (p99(Contestant::Broker), p99(Contestant::Relay)) {
                writeln!(f, "{scenario}  p99 broker/relay {:.2}", broker / relay)?;
            }
        }
        Ok(())
    }
}

fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}
