//! The task that owns the store. Everything that wants to change something sends
//! it an input; it decides in groups, commits and flushes each group, and only
//! then lets the effects happen.
//!
//! It has a thread of its own, because sled's calls block, and must never block
//! a thread of tokio's.

mod inbox;
mod run;
#[cfg(test)]
mod slow_disk_tests;
mod store;

pub use inbox::{Gone, Inbox, Input, Received, Ticket, WriterHandle};
pub use run::{Access, Commit, Effects, Outlet, Settings, run};
