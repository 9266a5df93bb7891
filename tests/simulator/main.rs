//! The simulator: years of deliveries, membership changes, faults and crashes in
//! seconds, judged by a separately written model. See `README.md` beside it.
//!
//! `WSB_SEEDS` says how many lives, `WSB_FIRST_SEED` with which seed to begin;
//! `WSB_SEED` repeats one.

mod cases;
mod coverage;
mod dice;
mod entitlement;
mod fake_rabbitmq;
mod model;
mod run;
mod watched;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use coverage::{Coverage, OCCURRED};
use run::Run;

const DEFAULT_SEEDS: u64 = 3000;
const THREADS: u64 = 2;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Lives one life; a panic of the core is a failure like any other.
fn live(seed: u64, recording: bool) -> (Run, Result<(), String>) {
    let mut run = Run::new(seed, recording);
    let verdict = catch_unwind(AssertUnwindSafe(|| run.live())).unwrap_or_else(|_| Err("the core panicked".to_owned()));
    (run, verdict)
}

/// One line that says what is wrong and how to see it again, and how it came about.
fn report(seed: u64) -> String {
    let (run, verdict) = live(seed, true);
    let why = verdict.err().unwrap_or_else(|| "failed only once: the simulation depends on something else than its seed".to_owned());
    let from = run.steps.len().saturating_sub(setting("WSB_STEPS", 40) as usize);
    format!("{}\nseed {seed}: {why}; repeat with: WSB_SEED={seed} cargo test --test simulator lives", run.steps[from..].join("\n"))
}

/// A life beyond the usual ones, of which there is no smaller case: somebody was
/// forgotten while something withdrawn about them was under way.
#[test]
fn a_life_with_something_withdrawn_under_way() {
    const SEED: u64 = 27_533;
    let (_, verdict) = live(SEED, false);
    assert!(verdict.is_ok(), "{}", report(SEED));
}

/// A life beyond the usual ones: something was under way about a record that was recalled
/// under the number of somebody who was forgotten by that.
#[test]
fn a_life_with_somebody_forgotten_by_a_recall() {
    const SEED: u64 = 38_609;
    let (_, verdict) = live(SEED, false);
    assert!(verdict.is_ok(), "{}", report(SEED));
}

/// Lives that were judged wrongly: one with a fund that was to be told anyway, takes
/// nobody's place and waits for nothing under way to another; one that ended as a day
/// began, with orders that nobody had confirmed yet; and one in which the original came
/// back twice, and the copy of a replay after it.
#[test]
fn lives_that_were_judged_wrongly() {
    for seed in [18_053, 48_860, 9_842] {
        let (_, verdict) = live(seed, false);
        assert!(verdict.is_ok(), "{}", report(seed));
    }
}

#[test]
fn lives() {
    let one = setting("WSB_SEED", u64::MAX);
    let first = if one == u64::MAX { setting("WSB_FIRST_SEED", 1) } else { one };
    let seeds = if one == u64::MAX { setting("WSB_SEEDS", DEFAULT_SEEDS) } else { 1 };
    let failed = Arc::new(AtomicU64::new(u64::MAX));
    let workers: Vec<_> = (0..THREADS)
        .map(|worker| {
            let failed = Arc::clone(&failed);
            std::thread::spawn(move || {
                let mut coverage = Coverage::default();
                for seed in (first..first + seeds).filter(|seed| seed % THREADS == worker) {
                    if seed > failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let (run, verdict) = live(seed, false);
                    if verdict.is_err() {
                        failed.fetch_min(seed, Ordering::Relaxed);
                        break;
                    }
                    coverage.add(&run.coverage);
                }
                coverage
            })
        })
        .collect();
    let mut total = Coverage::default();
    for worker in workers {
        total.add(&worker.join().expect("a worker catches the panics of its lives"));
    }
    let failed = failed.load(Ordering::Relaxed);
    assert!(failed == u64::MAX, "{}", report(failed));
    if std::env::var_os("WSB_COVERAGE").is_some() {
        println!("{:#?}", total.0);
    }
    if seeds >= DEFAULT_SEEDS {
        for (what, least) in OCCURRED {
            let times = total.0.get(what).copied().unwrap_or(0);
            assert!(times >= least, "\"{what}\" occurred {times} times in {seeds} lives, expected {least} at least");
        }
    }
}

#[test]
fn one_seed_one_trace() {
    for seed in 1..=20 {
        let (once, _) = live(seed, true);
        let (again, _) = live(seed, true);
        assert_eq!(once.steps, again.steps, "seed {seed}");
        assert_eq!(once.hash, again.hash, "seed {seed}");
    }
}
