//! Everything that is said to RabbitMQ, and the only module that names lapin.
//!
//! [`Link`] owns one connection for consuming and one for publishing, rebuilds
//! them without end and says in words why they are down. Around it: what is
//! declared ([`Topology`]), what is published and what became of it
//! ([`Outgoing`], [`Outcome`]), what arrives ([`Delivery`]) and how it is
//! acknowledged ([`Acks`]). [`client`] holds the one-shot jobs of the command
//! line.
//!
//! Deliberately absent: retries, routing, storage and any knowledge of what a
//! body means. A publish that has no outcome is answered, never kept: whoever
//! asked decides anew.
//!
//! lapin logs returned messages *with their payload* at WARN under the target
//! `lapin::returned_messages`; telemetry must silence that target, since a
//! payload carries personal data.

mod ahead;
pub mod client;
mod declare;
pub mod definitions;
mod delivery;
mod depth;
mod doubts;
mod inlets;
mod intake;
mod link;
mod lock;
mod message;
mod outlets;
mod publisher;
mod pump;
mod reconnect;
mod silence;
mod subscription;
mod target;
mod topology;
mod trouble;
mod turn;

pub use ahead::Ahead;
pub use declare::{DeclareError, ObjectKind};
pub use delivery::{Acks, Delivery, Intake, Rejection};
pub use depth::Waiting;
pub use intake::{Deliveries, IntakeSettings};
pub use link::{Applied, Endpoints, Link, LinkState, Settings, Side};
pub use lock::LOCK;
pub use message::{Outcome, Outgoing, WsbHeaders};
pub use publisher::PublishSettings;
pub use reconnect::Reconnect;
pub use target::Target;
pub use topology::{Argument, Binding, Exchange, ExchangeKind, Names, Outlets, Plan, Queue, RecipientQueue, Topology};
pub use trouble::Trouble;
