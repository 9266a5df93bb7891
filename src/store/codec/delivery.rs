//! The row of an unfinished delivery.

use std::sync::Arc;

use crate::core::ids::{CitizenId, DeliveryKey};
use crate::core::outbox::{Death, Delivery, State};

use super::bytes::{Input, Output, Undecodable};
use super::event::{decode_event, encode_event};
use super::parts;

/// Appends a delivery without its key and its citizen, which stand outside of
/// the sealed part. With the event, so that a row outlives its journal entry.
pub(in crate::store) fn encode_delivery(delivery: &Delivery, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    parts::put_domain(out, delivery.domain);
    parts::put_because(out, &delivery.because);
    parts::put_moment(out, delivery.first_at);
    out.varint(u64::from(delivery.attempts));
    parts::put_attempts(out, &delivery.failures);
    // A flag at first: 0 and 1 are what they were.
    out.varint(u64::from(delivery.replays));
    match delivery.state {
        State::Pending => out.u8(0),
        State::Retrying { next_at, last } => {
            out.u8(1);
            parts::put_moment(out, next_at);
            parts::put_failure(out, last);
        }
        State::Dead { at, why } => {
            out.u8(2);
            parts::put_moment(out, at);
            put_death(out, why);
        }
    }
    encode_event(&delivery.event, out);
    if let Some(delivered_before) = delivery.delivered_before {
        parts::put_earlier(out, delivered_before);
    }
}

/// Reverses [`encode_delivery`].
pub(in crate::store) fn decode_delivery(key: DeliveryKey, citizen: CitizenId, bytes: &[u8]) -> Result<Delivery, Undecodable> {
    let input = &mut Input::versioned(bytes, "a delivery")?;
    let domain = parts::domain(input)?;
    let because = parts::because(input)?;
    let first_at = parts::moment(input)?;
    let attempts = input.varint()?;
    let attempts = u32::try_from(attempts).map_err(|_| input.error())?;
    let failures = parts::attempts(input)?;
    let replays = input.varint()?;
    let replays = u32::try_from(replays).map_err(|_| input.error())?;
    let state = match input.u8()? {
        0 => State::Pending,
        1 => State::Retrying { next_at: parts::moment(input)?, last: parts::failure(input)? },
        2 => State::Dead { at: parts::moment(input)?, why: death(input)? },
        _ => return input.fail(),
    };
    let event = Arc::new(decode_event(input)?);
    let delivered_before = if input.is_empty() { None } else { Some(parts::earlier(input)?) };
    input.end()?;
    Ok(Delivery { key, citizen, event, domain, because, first_at, attempts, failures, replays, delivered_before, state })
}

pub(super) fn put_death(out: &mut Vec<u8>, why: Death) {
    match why {
        Death::GaveUp(failure) => {
            out.u8(0);
            parts::put_failure(out, failure);
        }
        Death::NeverAttempted => out.u8(1),
        Death::RejectedByRecipient => out.u8(2),
        Death::DeliveryLimit => out.u8(3),
        Death::Expired => out.u8(4),
        Death::Overflow => out.u8(5),
    }
}

pub(super) fn death(input: &mut Input<'_>) -> Result<Death, Undecodable> {
    Ok(match input.u8()? {
        0 => Death::GaveUp(parts::failure(input)?),
        1 => Death::NeverAttempted,
        2 => Death::RejectedByRecipient,
        3 => Death::DeliveryLimit,
        4 => Death::Expired,
        5 => Death::Overflow,
        _ => return input.fail(),
    })
}
