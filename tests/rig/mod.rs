//! The test rig: real RabbitMQ nodes of our own, the built broker as a child
//! process, plain AMQP clients, and events as DFDG would send them.
//!
//! It knows the broker only from outside, by its contract, and does not use the
//! crate's own code: a mistake made twice the same way would prove nothing.
//! Everything here blocks and may be called from plain tests and from within a
//! tokio runtime alike; what needs a runtime runs on one of the rig's own.
//!
//! Include it with `mod rig;` in `tests/*.rs`, and with
//! `#[path = "../tests/rig/mod.rs"] mod rig;` in examples and benches.

#![allow(dead_code, unused_imports, reason = "each program that includes the rig uses its own part of it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "in a rig, a panic with a good message is how a test fails")]

mod amqp;
mod broker;
mod fixtures;
mod install;
mod leash;
mod metrics;
mod node;
mod proxy;
mod vendor;
mod wait;

pub use amqp::{Amqp, QueueArguments, queue_depth};
pub use broker::{Broker, Options};
pub use fixtures::{Event, event, external_id, jobcenter, membership, residence};
pub use leash::Leash;
pub use metrics::Metrics;
pub use node::{Node, NodeOptions, shared_node};
pub use proxy::Proxy;
pub use vendor::{Message, Vendor, VendorOptions, Verdict};
pub use wait::{block, free_port, spawn, until, until_some};
