//! Which record may live how long, what blocks its deletion, and what is due on
//! a day.
//!
//! [`Clocks`] keeps, for one citizen, what the events told about each record that
//! a rule may cover: facts and no computed days, so that a rule that changes
//! takes effect for records already known. [`View`] asks the rules about them.
//! Deletes nothing, and publishes nothing.

mod birth;
mod clocks;
mod due;
mod kept;
mod moved;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod rules_tests;
mod unexpected;

pub use super::stamp::Stamp;
pub use birth::born;
pub use clocks::{Clock, Clocks, Element, Handover, Order, Told, Tombstone};
pub use due::{Blocker, DeletionTold, Item, Standing, View};
pub use kept::Kept;
pub use moved::GivenUp;
#[cfg(test)]
pub(crate) use rules_tests::rules as tested_rules;
pub use unexpected::{Deleted, MOST_UNEXPECTED, Surprise, Unexpected};
