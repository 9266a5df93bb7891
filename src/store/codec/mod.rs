//! Stored values to bytes and back, by hand: small, versioned by their first
//! byte, and total: whatever the bytes are, decoding answers and never panics.
//!
//! Knows neither keys nor sealing. `docs/formats.md` has the layouts.

mod admission;
mod audit;
mod bytes;
mod citizen;
mod clocks;
mod delivery;
mod earlier;
mod event;
mod finish;
mod order;
mod parts;
mod quarantine;
mod replay;
mod trace;
mod unexpected;

pub(super) use admission::{decode_admission, encode_admission};
pub(super) use audit::{decode_audit, decode_extent, encode_audit, encode_extent, hashed};
pub use bytes::Undecodable;
pub(super) use bytes::{Input, Output};
pub(super) use citizen::{decode_citizen, encode_citizen};
pub(super) use clocks::{Rest, decode_clocks, decode_rest, encode_clocks, encode_rest};
pub(super) use delivery::{decode_delivery, encode_delivery};
pub(super) use earlier::{decode_earlier, encode_earlier};
pub(super) use finish::{FinishRecord, LedgerChange, decode_ended, decode_finishes, encode_ended, encode_finish};
pub(super) use order::{decode_cause, decode_hold, decode_tally, encode_cause, encode_hold, encode_tally};
pub(super) use quarantine::{decode_quarantined, encode_quarantined};
pub(super) use replay::{decode_chunk, decode_replay, encode_chunk, encode_replay};
pub(super) use trace::{decode_step, encode_step};
pub(super) use unexpected::{decode_deleted, encode_deleted};

/// The version that every codec writes as its first byte, and the only one so
/// far that it reads. A codec that changes gets a version of its own.
const VERSION: u8 = 1;
