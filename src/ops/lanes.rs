//! Lanes that are parked and released, named by a delivery that waits in them;
//! dead deliveries by cause.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::trace::Sought;
use crate::core::causes::Tally;
use crate::core::engine::{Engine, LaneOrder};
use crate::core::holds::Why;
use crate::core::ids::Recipient;
use crate::core::outbox::Death;
use crate::core::policy::Rules;
use crate::core::records::Archive;
use crate::core::time::Moment;

/// Why an order about a lane was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LaneError<E: std::error::Error + 'static> {
    /// There is no delivery of that id.
    #[error("no delivery has that id")]
    Unknown,
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// Parks the lane of a delivery. The caller commits.
///
/// # Errors
/// When there is no such delivery, or the store fails.
pub fn park_lane<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    sought: Sought,
    why: Why,
    now: Moment,
) -> Result<LaneOrder, LaneError<R::Error>> {
    let key = sought.key.ok_or(LaneError::Unknown)?;
    engine.park(key, why, records, now).map_err(LaneError::Store)
}

/// Says what [`park_lane`] would do, and does nothing.
///
/// # Errors
/// When there is no such delivery, or the store fails.
pub fn would_park<R: Archive>(engine: &Engine, records: &mut R, sought: Sought) -> Result<LaneOrder, LaneError<R::Error>> {
    let key = sought.key.ok_or(LaneError::Unknown)?;
    engine.would_park(key, records).map_err(LaneError::Store)
}

/// Says what [`release_lane`] would do, and does nothing.
///
/// # Errors
/// When there is no such delivery, or the store fails.
pub fn would_release<R: Archive>(engine: &Engine, records: &mut R, sought: Sought) -> Result<LaneOrder, LaneError<R::Error>> {
    if engine.is_parked_by(sought.id) {
        return Ok(LaneOrder::Done);
    }
    Ok(match would_park(engine, records, sought)? {
        // Parked already: it would be released.
        LaneOrder::AlreadySo => LaneOrder::Done,
        LaneOrder::Done | LaneOrder::TooMany => LaneOrder::AlreadySo,
        LaneOrder::NotWaiting => LaneOrder::NotWaiting,
    })
}

/// Releases the lane of a delivery that waits in it, or by which it was parked.
/// The caller commits.
///
/// # Errors
/// When there is no such delivery, or the store fails.
pub fn release_lane<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    sought: Sought,
    now: Moment,
) -> Result<LaneOrder, LaneError<R::Error>> {
    if engine.release_named(sought.id, records, now).map_err(LaneError::Store)? == LaneOrder::Done {
        return Ok(LaneOrder::Done);
    }
    let key = sought.key.ok_or(LaneError::Unknown)?;
    engine.release(key, records, now).map_err(LaneError::Store)
}

/// Returns dead deliveries by cause, the largest group first.
///
/// # Errors
/// When the store cannot be read.
pub fn delivery_groups<R: Archive>(records: &mut R, rules: &Rules, recipient: Option<Recipient>) -> Result<Value, R::Error> {
    let mut causes = records.causes()?;
    causes.retain(|(cause, _)| recipient.is_none_or(|recipient| recipient == cause.recipient));
    // Several data areas may be told as one type.
    let mut groups: BTreeMap<(Recipient, Death, u16, &str), Tally> = BTreeMap::new();
    for (cause, tally) in &causes {
        let group = (cause.recipient, cause.why, cause.code, cause.name_told(rules));
        groups.entry(group).and_modify(|all| all.merge(tally)).or_insert(*tally);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.count));
    let items: Vec<Value> = groups
        .iter()
        .map(|((recipient, why, code, entity), tally)| {
            json!({
                "recipient": recipient.to_string(),
                "reason": why.name(),
                "code": code,
                "entity": entity,
                "count": tally.count,
                "first_at": tally.first.to_string(),
                "last_at": tally.last.to_string(),
                "attempts": tally.attempts,
                "replays": tally.replays,
                // What a replay of it asks for.
                "filter": { "state": "dead", "recipient": recipient.to_string(), "reason": why.name(), "entity": entity },
            })
        })
        .collect();
    Ok(json!({ "items": items }))
}
