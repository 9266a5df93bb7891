//! The part that decides. It does no I/O, never asks what time it is and never
//! throws dice, so that the simulator can live years of it in seconds.
//!
//! Layers, from the bottom; a module imports lower layers only:
//! 0 `ids`, `time`; 1 `about`, `event`, `persons`, `policy`; 2 `citizen`, `outbox`, `causes`, `holds`,
//! `replay`, `retry`, `routing`, `today`, `lanes`; 3 `records` (the port to what is stored), `engine`,
//! `invariants`.

pub mod about;
pub mod audit;
pub mod causes;
pub mod citizen;
pub mod engine;
pub mod erasure;
pub mod event;
pub mod holds;
pub mod ids;
pub mod invariants;
pub mod lanes;
pub mod notices;
pub mod outbox;
pub mod persons;
pub mod policy;
pub mod records;
pub mod replay;
pub mod retention;
pub mod retry;
pub mod routing;
#[cfg(test)]
pub(crate) mod samples;
pub mod schedule;
pub mod stamp;
pub mod time;
pub mod today;
pub mod trace;
