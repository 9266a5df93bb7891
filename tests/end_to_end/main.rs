//! The built broker against real RabbitMQ nodes, judged from outside.
//!
//! Nothing here waits for time to pass: every wait is for a condition, with a
//! limit that only a hang reaches. Larger runs: `WSB_TEST_BACKLOG`,
//! `WSB_TEST_LOAD`, `WSB_TEST_KILLS`, `WSB_TEST_FUZZ`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

#[path = "../rig/mod.rs"]
mod rig;

mod audiences;
mod backlog;
mod bad_input;
mod commands;
mod corrections;
mod crashes;
mod deletions;
mod forgetting;
mod former_members;
mod holds;
mod load;
mod privacy;
mod queues;
mod rabbitmq;
mod rejections;
mod reload;
mod replays;
mod standstill;
mod startup;
mod world;
