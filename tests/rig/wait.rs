//! Waiting: for conditions, for futures, and for a port that is free.

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

const POLL: Duration = Duration::from_millis(5);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).thread_name("rig").enable_all().build().expect("a runtime needs only threads")
});

/// Runs a future on the rig's runtime and waits for it, also when the caller
/// stands on a runtime of its own, where `block_on` would panic.
pub fn block<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    RUNTIME.spawn(async move {
        let _ = tx.send(future.await);
    });
    rx.recv().expect("the rig's task panicked; its message is above")
}

/// Starts a future on the rig's runtime and leaves it running.
pub fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    RUNTIME.spawn(future)
}

/// Waits until `condition` holds; fails the test with `what` after `limit`.
#[track_caller]
pub fn until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    until_some(limit, what, || condition().then_some(()));
}

/// Waits until `probe` answers and returns the answer; fails the test with
/// `what` after `limit`.
#[track_caller]
pub fn until_some<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(started.elapsed() < limit, "waited {:.1} s in vain: {what}", started.elapsed().as_secs_f64());
        thread::sleep(POLL);
    }
}

/// Returns a port on 127.0.0.1 that nobody listens on and that this process has
/// not given out before.
///
/// Taken from below the range from which the system picks ports for outgoing
/// connections: a node that is down for a moment must find its port free again.
/// Processes start at different places, so that two test runs seldom meet.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new((std::process::id().wrapping_mul(137) % u32::from(COUNT)) as u16));
    for _ in 0..COUNT {
        let port = FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 between {FIRST} and {}", FIRST + COUNT);
}
