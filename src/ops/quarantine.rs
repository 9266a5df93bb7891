//! Messages that could not be events: seen, retried, discarded.

use serde_json::{Value, json};

use super::explain::{ExplainError, explain};
use crate::core::engine::{Consumption, Engine, Manner, Output};
use crate::core::records::{Archive, Change, Quarantined, Records};
use crate::core::time::Moment;
use crate::wire::{self, Refusal};

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError<E: std::error::Error + 'static> {
    /// There is no such message.
    #[error("no message {0} is in quarantine")]
    Unknown(u64),
    /// It still cannot be an event.
    #[error("still not an event: {0}")]
    StillNotAnEvent(Refusal),
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// What became of a message that was retried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retried {
    /// Its EntitetNavn.
    pub entity: std::sync::Arc<str>,
    /// What became of the event.
    pub consumption: Consumption,
}

/// Returns a page of messages.
///
/// # Errors
/// When the store cannot be read.
pub fn page<R: Archive>(records: &mut R, after: u64, limit: usize) -> Result<Vec<Quarantined>, R::Error> {
    records.quarantine_page(after, limit.min(super::PAGE))
}

/// Takes a message in again, by the rules in force now, and works out what follows from
/// it for all that waits. The caller commits.
///
/// # Errors
/// When there is no such message, it still is no event, or the store fails.
pub fn retry<R: Records>(
    engine: &mut Engine,
    records: &mut R,
    id: u64,
    now: Moment,
    out: &mut Output,
) -> Result<Retried, QuarantineError<R::Error>> {
    let message = records.quarantined(id).map_err(QuarantineError::Store)?.ok_or(QuarantineError::Unknown(id))?;
    let event = wire::parse_event(&message.body, engine.rules()).map_err(QuarantineError::StillNotAnEvent)?;
    let entity = std::sync::Arc::clone(&event.entity);
    let consumption = engine.take_in(event, Manner::News, records, now, out).map_err(QuarantineError::Store)?;
    // Not left to the caller: without a broker that runs nobody else would (R 5.1).
    engine.follow_up(records, now, out).map_err(QuarantineError::Store)?;
    records.stage(Change::Release(id)).map_err(QuarantineError::Store)?;
    Ok(Retried { entity, consumption })
}

/// Says what [`retry`] would make of a message, and does nothing.
///
/// # Errors
/// When there is no such message, it still is no event, or the store fails.
pub fn would_retry<R: Records>(engine: &Engine, records: &mut R, id: u64, now: Moment) -> Result<Retried, QuarantineError<R::Error>> {
    let message = records.quarantined(id).map_err(QuarantineError::Store)?.ok_or(QuarantineError::Unknown(id))?;
    let explained = explain(records, engine.rules(), &message.body, now).map_err(|error| match error {
        ExplainError::NotAnEvent(refusal) => QuarantineError::StillNotAnEvent(refusal),
        ExplainError::Store(error) => QuarantineError::Store(error),
    })?;
    let consumption = match (explained.seen, explained.explanation.decision.chosen.is_empty()) {
        (true, _) => Consumption::Duplicate,
        (false, true) => Consumption::NoRecipient,
        (false, false) => Consumption::Routed,
    };
    Ok(Retried { entity: explained.event.entity, consumption })
}

/// Gives a message up. The caller commits.
///
/// # Errors
/// When there is no such message, or the store fails.
pub fn discard<R: Records>(records: &mut R, id: u64) -> Result<(), QuarantineError<R::Error>> {
    would_discard(records, id)?;
    records.stage(Change::Release(id)).map_err(QuarantineError::Store)
}

/// Says whether [`discard`] would do anything, and does nothing.
///
/// # Errors
/// When there is no such message, or the store fails.
pub fn would_discard<R: Records>(records: &mut R, id: u64) -> Result<(), QuarantineError<R::Error>> {
    records.quarantined(id).map_err(QuarantineError::Store)?.ok_or(QuarantineError::Unknown(id)).map(drop)
}

/// Describes a message without what it says.
#[must_use]
pub fn quarantined_json(message: &Quarantined) -> Value {
    json!({ "id": message.id, "at": message.at.to_string(), "word": &*message.word, "reason": &*message.reason, "bytes": message.body.len() })
}
