//! What is stored: the port `core::records::Records` on sled, sealed, and its
//! twin in memory for the simulator. The only module that names sled.
//!
//! Decides nothing. `docs/formats.md` has every byte of the layout.

mod archive;
mod cache;
mod codec;
mod disk;
mod error;
mod filter;
mod fingerprint;
mod gathered;
mod group;
mod journal;
mod keyring;
mod open;
mod prune;
mod reader;
mod records;
mod recover;
mod rows;
mod runs;
mod seal;
#[cfg(test)]
mod tests;
mod vault;
mod witness;

pub mod durability;
pub mod master;
pub mod memory;
pub mod watchdog;

pub use codec::{Ended, Undecodable};
pub use disk::{Store, StoreCounts};
pub use durability::Durability;
pub use error::StoreError;
pub use master::{KeyError, MasterKey};
pub use memory::MemoryStore;
pub use open::{Create, OpenError, Options};
pub use reader::Reader;
pub use watchdog::Watchdog;
