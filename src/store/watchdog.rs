//! Ends the process when a store call does not return: sled 0.34 has been seen
//! to deadlock for good. That loses nothing, since nothing is acknowledged
//! before it is on disk, and the supervisor starts the process again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a store call may take unless somebody says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The exit code of a process that ended because of it.
pub const EXIT_CODE: i32 = 70;

/// Watches the calls of one thread. Stops watching when dropped.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    /// Hung up to stop the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    begun: Instant,
    /// Microseconds after `begun` at which the call that runs began, plus one; 0
    /// between calls.
    running_since: AtomicU64,
    what: Mutex<&'static str>,
}

/// A call that is being watched; ends when dropped.
#[derive(Debug)]
pub struct Watched<'a>(&'a Shared);

impl Watchdog {
    /// Starts watching with the usual deadline and consequence.
    #[must_use]
    pub fn start() -> Self {
        Self::with(DEADLINE, |what, deadline| {
            eprintln!(
                "the store has not returned from {what} for {} s: ending the process (exit code {EXIT_CODE}); nothing acknowledged is lost, start it again",
                deadline.as_secs()
            );
            std::process::exit(EXIT_CODE);
        })
    }

    /// Starts watching; `overdue` is called once, with what was being done, when
    /// a call exceeds `deadline`.
    pub fn with(deadline: Duration, overdue: impl FnOnce(&'static str, Duration) + Send + 'static) -> Self {
        let shared = Arc::new(Shared { begun: Instant::now(), running_since: AtomicU64::new(0), what: Mutex::new("") });
        let (stop, stopped) = channel();
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new().name("store-watchdog".to_owned()).spawn(move || {
            // Often enough that a call is over the deadline by a quarter at most.
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(deadline / 4) {
                if watched.is_over(deadline) {
                    let what = *watched.what.lock().unwrap_or_else(PoisonError::into_inner);
                    overdue(what, deadline);
                    return;
                }
            }
        });
        // Without a thread nothing is watched: that is for a process with no
        // threads left, which fails elsewhere soon.
        Self { shared, stop: Some(stop), thread: thread.ok() }
    }

    /// Begins a call, to be named in the last words.
    #[must_use]
    pub fn watch(&self, what: &'static str) -> Watched<'_> {
        *self.shared.what.lock().unwrap_or_else(PoisonError::into_inner) = what;
        self.shared.running_since.store(self.shared.now() + 1, Ordering::Release);
        Watched(&self.shared)
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    fn is_over(&self, deadline: Duration) -> bool {
        let since = self.running_since.load(Ordering::Acquire);
        since != 0 && u128::from(self.now().saturating_sub(since - 1)) > deadline.as_micros()
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.running_since.store(0, Ordering::Release);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A watchdog that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn barks_at_a_call_that_does_not_return_and_at_no_other() {
        let (bark, heard) = channel();
        let deadline = Duration::from_millis(40);
        let watchdog = Watchdog::with(deadline, move |what, _| bark.send(what).expect("somebody listens"));
        for _ in 0..1000 {
            drop(watchdog.watch("a short call"));
        }
        assert!(heard.try_recv().is_err());
        let call = watchdog.watch("a commit");
        assert_eq!(heard.recv(), Ok("a commit"));
        drop(call);
    }

    #[test]
    fn stops_when_dropped() {
        let (bark, heard) = channel::<()>();
        drop(Watchdog::with(Duration::from_secs(3600), move |_, _| drop(bark)));
        assert!(heard.recv().is_err());
    }
}
