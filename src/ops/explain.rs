//! Explains the decision about an event without sending it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::deliveries::because_json;
use crate::core::citizen::Citizen;
use crate::core::engine::{self, Explanation};
use crate::core::event::{Content, Event};
use crate::core::ids::{CitizenId, Recipient};
use crate::core::policy::Rules;
use crate::core::records::Records;
use crate::core::routing::LeftOut;
use crate::core::time::Moment;
use crate::wire::{self, Refusal};

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError<E: std::error::Error + 'static> {
    /// The file is not an event.
    #[error("not an event that the broker takes in: {0}")]
    NotAnEvent(Refusal),
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[source] E),
}

/// An explanation, with what it is about.
#[derive(Debug)]
pub struct Explained {
    /// The event.
    pub event: Event,
    /// Whether anything was known of the citizen before it.
    pub citizen_known: bool,
    /// Whether the event itself has been taken in already.
    pub seen: bool,
    /// The decision.
    pub explanation: Explanation,
}

/// Explains what would be decided about the event in `bytes` at the instant
/// `at`, on what is known now and what the event itself says.
///
/// # Errors
/// When the bytes are no event, or the store cannot be read.
pub fn explain<R: Records>(records: &mut R, rules: &Rules, bytes: &[u8], at: Moment) -> Result<Explained, ExplainError<R::Error>> {
    let event = wire::parse_event(bytes, rules).map_err(ExplainError::NotAnEvent)?;
    let store = ExplainError::Store;
    let known = match records.find_citizen(&event.personnummer).map_err(store)? {
        Some(id) => records.citizen(id).map_err(store)?,
        None => None,
    };
    let citizen_known = known.is_some();
    // Somebody nobody knows has no id yet, and needs none here.
    let mut citizen = known.unwrap_or_else(|| Arc::new(Citizen::new(CitizenId(u32::MAX), event.personnummer)));
    let mut holders = Vec::new();
    if citizen_known {
        for id in citizen.ids() {
            holders.extend(records.holders(id, event.record_entity(), &event.external_id).map_err(store)?);
        }
    }
    holders.sort_unstable();
    holders.dedup();
    if !matches!(event.content, Content::NumberChange { .. }) {
        let _folded_or_not = Arc::make_mut(&mut citizen).fold(&event);
    }
    let seen = records.has_seen(&event.mark).map_err(store)?;
    let explanation = engine::explain(&event, &citizen, &holders, rules, at);
    Ok(Explained { event, citizen_known, seen, explanation })
}

/// Writes an explanation for programs. Names no person.
#[must_use]
pub fn explained_json(explained: &Explained, rules: &Rules) -> Value {
    let decision = &explained.explanation.decision;
    let name = |recipient: Recipient| rules.recipient(recipient).map(|rule| rule.name.to_string());
    json!({
        "entity": &*explained.event.entity,
        "told_as": explained.explanation.kind.as_ref().map(|kind| kind.name.to_string()),
        "day": explained.explanation.day.to_string(),
        "citizen_known": explained.citizen_known,
        "already_taken_in": explained.seen,
        "recipients": decision.chosen.iter().map(|chosen| {
            let mut value = because_json(&chosen.because);
            value["recipient"] = chosen.recipient.to_string().into();
            value["name"] = name(chosen.recipient).into();
            value["identified"] = chosen.identified.into();
            value
        }).collect::<Vec<_>>(),
        "left_out": decision.left_out.iter().map(|left_out| {
            let mut value = left_out_json(left_out);
            value["name"] = left_out.recipient.and_then(name).into();
            value
        }).collect::<Vec<_>>(),
    })
}

pub(super) fn left_out_json(left_out: &LeftOut) -> Value {
    json!({
        "audience": left_out.audience.name(),
        "recipient": left_out.recipient.map(|recipient| recipient.to_string()),
        "reason": left_out.why.name(),
        "registration": left_out.registration.as_ref().map(|(record, registered_at)| json!({
            "external_id": record.as_str(), "registered_at": registered_at.to_string(),
        })),
    })
}
