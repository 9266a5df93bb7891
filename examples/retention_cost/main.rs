//! What the deletion rules cost: the scan of what is due, a deletion night beside
//! ordinary traffic, the ledger of who holds what, and forgetting.
//!
//! `make measure-retention` runs it; see `Arguments` for what can be chosen. Times
//! are to be compared with times of the same run: each figure that matters is a
//! ratio.

#![allow(clippy::panic, reason = "a measurement that cannot run says so and ends")]

#[path = "../throughput/broker.rs"]
mod broker;
mod forget;
mod ledger;
#[path = "../throughput/load.rs"]
#[expect(dead_code, reason = "a part of what the other program needs")]
mod load;
#[path = "../made_up/mod.rs"]
#[expect(dead_code, reason = "a part of what other programs need")]
mod made_up;
mod night;
#[path = "../../tests/rig/mod.rs"]
mod rig;
mod scan;
mod seed;
#[path = "../throughput/usage.rs"]
#[expect(dead_code, reason = "a part of what the other program needs")]
mod usage;
mod whole;

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

/// The broker's own: it decides about both time and memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a measurement returns.
type Done = Result<(), Box<dyn Error>>;

/// What can be chosen: `--only scan,ledger,forget,night,whole --clocks 5000000 --due 20000
/// --citizens 200000 --events 60000 --rate 5000 --paced 2000 --seconds 20
/// --rounds 2`.
struct Arguments {
    only: Vec<String>,
    /// How many clocks the large store has; the small one has a tenth.
    clocks: usize,
    /// How many of them are due, in both.
    due: usize,
    /// How many citizens the ledger is about.
    citizens: usize,
    /// How many events lie before the broker when its rate is measured.
    events: usize,
    /// Deletion orders a second.
    rate: u32,
    /// Events a second, where they come at a steady rate.
    paced: f64,
    /// For how long.
    seconds: u64,
    rounds: usize,
}

impl Arguments {
    fn parse(given: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self {
            only: ["scan", "ledger", "forget", "night"].map(str::to_owned).to_vec(),
            clocks: 5_000_000,
            due: 20_000,
            citizens: 200_000,
            events: 60_000,
            rate: 5000,
            paced: 2000.0,
            seconds: 20,
            rounds: 2,
        };
        let mut given = given;
        while let Some(name) = given.next() {
            let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--only" => arguments.only = value.split(',').map(str::to_owned).collect(),
                "--clocks" => arguments.clocks = value.parse()?,
                "--due" => arguments.due = value.parse()?,
                "--citizens" => arguments.citizens = value.parse()?,
                "--events" => arguments.events = value.parse()?,
                "--rate" => arguments.rate = value.parse()?,
                "--paced" => arguments.paced = value.parse()?,
                "--seconds" => arguments.seconds = value.parse()?,
                "--rounds" => arguments.rounds = value.parse()?,
                _ => return Err(format!("unknown argument {name}").into()),
            }
        }
        Ok(arguments)
    }
}

fn main() -> Done {
    let mut given = std::env::args().skip(1).peekable();
    // A process of its own for each store: what another has left in memory counts for nothing.
    if given.next_if_eq("in-child").is_some() {
        let what = given.next().ok_or("what to do is missing")?;
        let of: Vec<String> = given.collect();
        return match what.as_str() {
            "seed" => seed::seed(&of),
            "scan" => scan::scan(&of),
            "fill-ledger" => ledger::fill(&of),
            "forget" => forget::forget(&of),
            _ => Err(format!("unknown part {what}").into()),
        };
    }
    let arguments = Arguments::parse(given)?;
    for part in &arguments.only {
        match part.as_str() {
            "scan" => scan::compare(&arguments)?,
            "ledger" => ledger::compare(&arguments)?,
            "night" => night::measure(&arguments)?,
            "forget" => forget::measure(&arguments)?,
            "whole" => whole::measure(&arguments)?,
            _ => return Err(format!("unknown part {part}").into()),
        }
    }
    Ok(())
}

/// Runs a part in a process of its own and returns what it says.
fn in_child(part: &str, of: &[String]) -> Result<String, Box<dyn Error>> {
    let output = Command::new(std::env::current_exe()?).arg("in-child").arg(part).args(of).output()?;
    if !output.status.success() {
        return Err(format!("{part}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A directory for stores, on the disk that is built on: a temporary one may be
/// in memory.
fn room() -> Result<tempfile::TempDir, Box<dyn Error>> {
    let files = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&files)?;
    Ok(tempfile::Builder::new().prefix("retention-").tempdir_in(files)?)
}

/// Wall-clock and processor seconds since some moment. The latter, of all threads
/// of the process, are worth more where others use the machine too.
struct Meter(std::time::Instant, f64);

impl Meter {
    fn start() -> Self {
        Self(std::time::Instant::now(), cpu_seconds())
    }

    fn read(&self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64(), cpu_seconds() - self.1)
    }
}

fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.filter_map(nanoseconds).sum::<f64>() / 1e9
}

/// Returns how much memory this process has resident, in MiB.
fn resident_mib() -> f64 {
    usage::of(std::process::id()).resident_mib
}
