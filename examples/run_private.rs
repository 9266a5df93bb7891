//! Runs the broker with a RabbitMQ node of its own until Ctrl-C: `make run`.
//!
//! Everything is gone afterwards: node, queues and store live in temporary
//! directories. `WSB_AMQP_URI` names a RabbitMQ of the user's instead.

#[path = "../tests/rig/mod.rs"]
mod rig;

use std::time::Duration;

use rig::{Broker, Node, NodeOptions, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let node = match Node::from_env_or_start(&NodeOptions::default()) {
        Ok(node) => node,
        Err(message) => {
            eprintln!("{message}");
            std::process::exit(1);
        }
    };
    let mut broker = Broker::start(Options::new(&node.uri()));
    println!("RabbitMQ     {}", node.uri());
    println!("broker       {}  (/healthz /readyz /metrics /api/v1)", broker.url(""));
    println!("console      {}", broker.url("/console"));
    println!("admin token  {}  (to log in with)", broker.token());
    println!("data         {}", broker.data_dir().display());
    println!("Ctrl-C ends it.\n");

    let mut shown = 0;
    // One listener for the whole loop: a new one would not know of a Ctrl-C
    // that came before it.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let status = loop {
        // Both arms may be dropped: a tick is worth nothing, and the listener
        // lives on.
        tokio::select! {
            _ = &mut interrupted => {
                println!("\nstopping");
                break broker.terminate();
            }
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
        let log = broker.log();
        print!("{}", log.get(shown..).unwrap_or_default());
        shown = log.len();
        if let Some(status) = broker.exited() {
            break status;
        }
    };
    print!("{}", broker.log().get(shown..).unwrap_or_default());
    println!("the broker ended: {status}");
    drop(broker);
    drop(node);
    std::process::exit(status.code().unwrap_or(1));
}
