//! What a process has used, from `/proc`.

use std::fs;

/// Of a whole life so far.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Processor seconds, user and system.
    pub cpu_seconds: f64,
    /// The most memory that was ever resident, in MiB.
    pub peak_mib: f64,
    /// What is resident now, in MiB.
    pub resident_mib: f64,
}

/// Returns what a running process has used.
pub fn of(pid: u32) -> Usage {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mib = |name: &str| {
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    };
    Usage { cpu_seconds: cpu_seconds(pid), peak_mib: mib("VmHWM:"), resident_mib: mib("VmRSS:") }
}

/// Returns the processor seconds of a running process.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name stands in parentheses and may hold spaces; utime and stime are
    // the 12th and 13th field after it, in hundredths on every Linux.
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    fields.iter().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The machine's processors between two moments.
pub struct Machine {
    began: std::time::Instant,
    busy: f64,
}

impl Machine {
    /// Begins to watch.
    pub fn watch() -> Self {
        Self { began: std::time::Instant::now(), busy: busy_seconds() }
    }

    /// Returns the share of all processors, 0 to 1, that has gone to processes
    /// other than those whose seconds are given. Rates are worth little where
    /// it is large.
    pub fn taken_by_others(&self, ours: f64) -> f64 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        ((busy_seconds() - self.busy - ours) / (self.began.elapsed().as_secs_f64() * cores as f64)).max(0.0)
    }
}

/// User, nice, system, irq, softirq and steal, of all processors since boot.
fn busy_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> =
        stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    [0, 1, 2, 5, 6, 7].iter().filter_map(|field| fields.get(*field)).sum::<f64>() / 100.0
}
