//! What is stored: the port `core::records::Records` on sled, sealed, and its
//! twin in memory for the simulator. The only module that names sled.
//!
//! Decides nothing. `docs/formats.md` has every byte of the layout.

mod archive;
mod audit;
mod backup;
mod batch;
mod cache;
mod citizen_rows;
mod clock_owners;
mod clocks;
mod codec;
mod disk;
mod erased;
mod erasing;
mod error;
mod filter;
mod fingerprint;
mod gathered;
mod group;
mod journal;
mod keyring;
mod ledger;
mod logged;
mod numbering;
mod open;
mod owners;
mod prune;
mod reader;
mod records;
mod recover;
mod replace;
mod restore;
mod rows;
mod runs;
mod seal;
mod spent;
mod steps;
#[cfg(test)]
mod tests;
mod torn;
mod unclaimed;
mod unexpected;
mod vault;
mod verify;
mod witness;

pub mod durability;
mod hand_over;
pub mod latest_backup;
pub mod master;
pub mod memory;
mod orders;
pub mod room;
pub mod root;
pub mod two_persons;
pub mod watchdog;

pub use backup::{BackupError, Copying, Manifest, ManifestError, Noted};
pub use codec::Undecodable;
pub use disk::{Store, StoreCounts};
pub use durability::Durability;
pub use error::StoreError;
pub use hand_over::give_in_place;
pub use master::{KeyError, MasterKey};
pub use memory::MemoryStore;
pub use open::{Create, OpenError, Options};
pub use reader::Reader;
pub use restore::{Erasures, RestoreError, Restored, restore};
pub use root::{RootKeyError, admit_key, keep_former_key, keep_only_key};
pub use verify::Verified;
pub use watchdog::Watchdog;
