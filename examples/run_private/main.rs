//! Runs the broker with a RabbitMQ node of its own until Ctrl-C, with made-up
//! traffic and some arranged trouble, so that the console has something to
//! show: `make run`. `TRAFFIC=0` leaves it alone.
//!
//! Everything is gone afterwards: node, queues and store live in temporary
//! directories. `WSB_AMQP_URI` names a RabbitMQ of the user's instead, which
//! gets no made-up traffic unless `TRAFFIC=1` asks for it.

#[path = "../../tests/rig/mod.rs"]
mod rig;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rig::{Broker, Node, NodeOptions, Options};
use traffic::{Prepared, TICK, Traffic};

/// How often the terminal says what has happened.
const TELL_EVERY: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let node = match Node::from_env_or_start(&NodeOptions::default()) {
        Ok(node) => node,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let asked = std::env::var("TRAFFIC").ok().filter(|asked| !asked.is_empty());
    let wanted = asked.map_or(node.is_private(), |asked| asked != "0");
    let interrupted = on_interrupt();
    let ended = if wanted { with_traffic(&node, &interrupted) } else { alone(&node, &interrupted) };
    drop(node);
    ended
}

/// Shows the broker at work.
fn with_traffic(node: &Node, interrupted: &AtomicBool) -> ExitCode {
    let prepared = Prepared::new();
    let mut broker = Broker::prepare(prepared.options(&node.uri()));
    println!("Making up citizens, and starting the broker …");
    let vendor_token = prepared.load(&broker);
    broker.start_again();
    let mut traffic = Traffic::begin(&broker, &node.uri());
    println!();
    for line in traffic::welcome(&broker.url("/console"), broker.token(), &vendor_token) {
        println!("{line}");
    }
    println!("\nThe broker's log: {}", broker.log_file().display());
    println!("Ctrl-C stops everything and removes it: broker, RabbitMQ, queues and store.\n");
    let mut told = Instant::now();
    while !interrupted.load(Ordering::Relaxed) {
        if let Some(status) = broker.exited() {
            eprintln!("the broker ended ({status}); its log ends with\n{}", broker.log_tail());
            return ExitCode::FAILURE;
        }
        traffic.tick();
        if told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            match broker.try_metrics() {
                Ok(metrics) => println!("{}", traffic::so_far(&metrics)),
                Err(_) => println!("the broker does not answer"),
            }
        }
        std::thread::sleep(TICK);
    }
    println!("\nstopping");
    // First: a vendor that comes back is of no use to a broker that goes.
    drop(traffic);
    end(&mut broker)
}

/// Shows the broker with nothing in it, and its log.
fn alone(node: &Node, interrupted: &AtomicBool) -> ExitCode {
    let mut broker = Broker::start(Options::new(&node.uri()));
    println!("RabbitMQ     {}", node.uri());
    println!("broker       {}  (/healthz /readyz /metrics /api/v1)", broker.url(""));
    println!("console      {}", broker.url("/console"));
    println!("admin token  {}  (to log in with)", broker.token());
    println!("data         {}", broker.data_dir().display());
    println!("Ctrl-C ends it.\n");
    let mut shown = 0;
    while !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(200));
        let log = broker.log();
        print!("{}", log.get(shown..).unwrap_or_default());
        shown = log.len();
        if let Some(status) = broker.exited() {
            println!("the broker ended: {status}");
            return code(status);
        }
    }
    println!("\nstopping");
    let ended = end(&mut broker);
    print!("{}", broker.log().get(shown..).unwrap_or_default());
    ended
}

fn end(broker: &mut Broker) -> ExitCode {
    let status = broker.terminate();
    println!("the broker ended: {status}");
    code(status)
}

fn code(status: std::process::ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Returns what becomes true with the first Ctrl-C.
fn on_interrupt() -> Arc<AtomicBool> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    // On the rig's runtime, which lives as long as the process.
    rig::spawn(async move {
        // Without a signal handler there is no way to stop but to kill; the
        // leash cleans up then too.
        let _ = tokio::signal::ctrl_c().await;
        told.store(true, Ordering::Relaxed);
    });
    interrupted
}
