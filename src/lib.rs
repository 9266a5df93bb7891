//! The WSB broker: delivers DFDG's webservicebeskeder (WSB) to the a-kasse or
//! kommune that is entitled to them at the moment of sending.
//!
//! `core` decides and is pure; the modules around it perform. See
//! `docs/architecture.md` for the map.

pub mod amqp;
pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod core;
pub mod dispatch;
pub mod http;
pub mod intake;
pub mod ops;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod wire;
pub mod writer;
