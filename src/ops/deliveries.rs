//! Deliveries and events as operators and auditors see them. What a message
//! says of a person is never part of an answer.

use serde_json::{Value, json};

use super::audit::{note, note_about};
use super::trace::Sought;
use crate::core::audit::Deed;
use crate::core::engine::{Discarded, Engine, Output};
use crate::core::ids::DeliveryKey;
use crate::core::outbox::{Because, Delivery, End, Ended, State};
use crate::core::policy::{Audience, Rules};
use crate::core::records::{Admission, Archive};
use crate::core::routing::name_told;
use crate::core::time::Moment;

/// Why a delivery was not discarded.
#[derive(Debug, thiserror::Error)]
pub enum DiscardError<E: std::error::Error + 'static> {
    /// There is none of that id.
    #[error("no delivery has that id")]
    Unknown,
    /// It is under way, or has ended.
    #[error("the delivery is under way or has ended")]
    TooLate,
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// Gives a delivery up for good, and notes who does; where the deed is a dry run
/// it notes only that. The caller commits.
///
/// # Errors
/// When there is no such delivery, it is too late, or the store fails.
pub fn discard_delivery<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    sought: Sought,
    deed: Deed,
    now: Moment,
    out: &mut Output,
) -> Result<(), DiscardError<R::Error>> {
    let Sought { id, key: Some(key) } = sought else { return Err(DiscardError::Unknown) };
    let discarded = match deed.dry_run {
        true => engine.would_discard(key, records),
        false => engine.discard(key, records, now, out),
    };
    match discarded.map_err(DiscardError::Store)? {
        // Nothing has happened to it.
        Discarded::Withdrawn if deed.dry_run => note(records, now, deed).map_err(DiscardError::Store),
        Discarded::Withdrawn => note_about(records, now, deed, key, id).map_err(DiscardError::Store),
        Discarded::TooLate => Err(DiscardError::TooLate),
    }
}

pub(super) fn item(delivery: &Delivery, rules: &Rules) -> Value {
    let (state, next_at, last_at) = match &delivery.state {
        State::Pending => ("pending", None, None),
        State::Retrying { next_at, .. } => ("retrying", Some(*next_at), delivery.failures.last().map(|attempt| attempt.at)),
        State::Dead { at, .. } => ("dead", None, Some(*at)),
    };
    json!({
        "id": delivery.id().to_string(),
        "event_id": &*delivery.event.id,
        "recipient": delivery.key.recipient.to_string(),
        "entity": &**name_told(&delivery.event, rules),
        "state": state,
        "reason": delivery.state.reason(),
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "delivered_before": delivery.delivered_before.map(|earlier| earlier.at.to_string()),
        "first_at": delivery.first_at.to_string(),
        "last_at": last_at.map(|at| at.to_string()),
        "next_at": next_at.map(|at| at.to_string()),
    })
}

pub(super) fn because_json(because: &Because) -> Value {
    json!({
        "audience": because.audience.name(),
        "also": because.also.iter().map(Audience::name).collect::<Vec<_>>(),
        "day": because.day.to_string(),
        "registration": because.registration.as_ref().map(|(record, registered_at)| json!({
            "external_id": record.as_str(), "registered_at": registered_at.to_string(),
        })),
    })
}

pub(super) fn finished(admission: &Admission, key: DeliveryKey, rules: &Rules, because: Option<Value>, ended: Option<Ended>) -> Value {
    let (state, reason) = match ended.as_ref().map(|ended| ended.end) {
        None => ("pending", None),
        Some(End::Delivered) => ("delivered", None),
        Some(End::Withdrawn(why)) => ("withdrawn", Some(why.name())),
    };
    json!({
        "id": admission.event.mark.wsb_id(key.recipient).to_string(),
        "event_id": &*admission.event.id,
        "recipient": key.recipient.to_string(),
        "entity": &**name_told(&admission.event, rules),
        "state": state,
        "reason": reason,
        "attempts": ended.as_ref().map_or(0, |ended| ended.attempts),
        "replays": ended.as_ref().map_or(0, |ended| ended.replays),
        "delivered_before": ended.as_ref().and_then(|ended| ended.delivered_before).map(|earlier| earlier.at.to_string()),
        "first_at": admission.at.to_string(),
        "last_at": ended.map(|ended| ended.at.to_string()),
        "next_at": Value::Null,
        "because": because,
    })
}
