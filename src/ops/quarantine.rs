//! Messages that could not be events: seen, retried, discarded.

use serde_json::{Value, json};

use super::explain::{ExplainError, explain};
use crate::core::engine::{Consumption, Engine, Manner, Output};
use crate::core::ids::{CitizenId, EventMark, EventSeq};
use crate::core::records::{Archive, Change, Quarantined, Records};
use crate::core::time::Moment;
use crate::core::trace::{MOST_STAYS, Stay, StayEnd, Step};
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
/// it for all that waits. The trace of the event tells of it, and of who has ordered
/// it. The caller commits.
///
/// # Errors
/// When there is no such message, it still is no event, or the store fails.
pub fn retry<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    id: u64,
    who: &str,
    now: Moment,
    out: &mut Output,
) -> Result<Retried, QuarantineError<R::Error>> {
    let message = records.quarantined(id).map_err(QuarantineError::Store)?.ok_or(QuarantineError::Unknown(id))?;
    let event = wire::parse_event(&message.body, engine.rules()).map_err(QuarantineError::StillNotAnEvent)?;
    let entity = std::sync::Arc::clone(&event.entity);
    let (mark, event_id, personnummer) = (event.mark, event.id.clone(), event.personnummer);
    let consumption = engine.take_in(event, Manner::News, records, now, out).map_err(QuarantineError::Store)?;
    let (end, taken_in) = match consumption {
        Consumption::Duplicate => (StayEnd::Repeat, taken_in_as(mark, &event_id, records).map_err(QuarantineError::Store)?),
        Consumption::Routed | Consumption::NoRecipient | Consumption::Quarantined => {
            let citizen = records.find_citizen(&personnummer).map_err(QuarantineError::Store)?;
            (StayEnd::TakenIn, citizen.map(|citizen| (engine.newest(), citizen)))
        }
    };
    // Not left to the caller: without a broker that runs nobody else would (R 5.1).
    engine.follow_up(records, now, out).map_err(QuarantineError::Store)?;
    release(message, taken_in, (end, who), records, now).map_err(QuarantineError::Store)?;
    Ok(Retried { entity, consumption })
}

/// Returns the place of an event that has been taken in, and about whom it is.
fn taken_in_as<R: Archive>(mark: EventMark, id: &str, records: &mut R) -> Result<Option<(EventSeq, CitizenId)>, R::Error> {
    for seq in records.events_by_id(id)? {
        let admission = records.admission(seq)?.filter(|admission| admission.event.mark == mark);
        if let Some(admission) = admission {
            return Ok(Some((seq, admission.citizen)));
        }
    }
    Ok(None)
}

/// Ends the stay of a message in quarantine; the trace of its event tells of it, if it
/// has been taken in.
fn release<R: Archive>(
    message: Quarantined,
    taken_in: Option<(EventSeq, CitizenId)>,
    (end, who): (StayEnd, &str),
    records: &mut R,
    now: Moment,
) -> Result<(), R::Error> {
    records.stage(Change::Release(message.id))?;
    let Some((seq, citizen)) = taken_in else { return Ok(()) };
    let stays = records.steps(seq)?.into_iter().filter(|traced| matches!(traced.step, Step::LayInQuarantine(_))).count();
    if stays >= MOST_STAYS {
        return Ok(());
    }
    let stay = Stay { id: message.id, since: message.at, reason: message.reason, end, who: who.into() };
    records.stage(Change::TraceEvent { seq, citizen, at: now, step: Step::LayInQuarantine(stay) })
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

/// Gives a message up. Has its event come in another way, by an import say, the trace
/// of that tells of it. The caller commits.
///
/// # Errors
/// When there is no such message, or the store fails.
pub fn discard<R: Archive>(records: &mut R, id: u64, who: &str, now: Moment) -> Result<(), QuarantineError<R::Error>> {
    let message = records.quarantined(id).map_err(QuarantineError::Store)?.ok_or(QuarantineError::Unknown(id))?;
    let taken_in = match wire::read_identity(&message.body) {
        Some((source, id)) => taken_in_as(EventMark::of(&source, &id), &id, records).map_err(QuarantineError::Store)?,
        None => None,
    };
    release(message, taken_in, (StayEnd::Discarded, who), records, now).map_err(QuarantineError::Store)
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
