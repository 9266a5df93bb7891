//! The admission of an event: what the journal keeps.

use std::sync::Arc;

use crate::core::ids::{CitizenId, EventSeq};
use crate::core::records::Admission;
use crate::core::routing::{LeftOut, Suppression};

use super::bytes::{Input, Output, Undecodable};
use super::event::{decode_event, encode_event};
use super::parts::{self, put_option};

/// Appends an admission without its place and its citizen, which stand outside
/// of the sealed part.
pub(in crate::store) fn encode_admission(admission: &Admission, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    encode_event(&admission.event, out);
    parts::put_domain(out, admission.domain);
    parts::put_moment(out, admission.at);
    out.varint(admission.deliveries.len() as u64);
    for (recipient, because) in &admission.deliveries {
        parts::put_recipient(out, *recipient);
        parts::put_because(out, because);
    }
    out.varint(admission.left_out.len() as u64);
    for left_out in &admission.left_out {
        parts::put_audience(out, left_out.audience);
        put_option(out, left_out.recipient, parts::put_recipient);
        put_suppression(out, left_out.why);
        parts::put_registration(out, left_out.registration.as_ref());
    }
}

/// Reverses [`encode_admission`].
pub(in crate::store) fn decode_admission(seq: EventSeq, citizen: CitizenId, bytes: &[u8]) -> Result<Admission, Undecodable> {
    let input = &mut Input::versioned(bytes, "an admission")?;
    let event = Arc::new(decode_event(input)?);
    let domain = parts::domain(input)?;
    let at = parts::moment(input)?;
    let deliveries =
        (0..input.count()?).map(|_| Ok((parts::recipient(input)?, parts::because(input)?))).collect::<Result<_, Undecodable>>()?;
    let left_out = (0..input.count()?)
        .map(|_| {
            Ok(LeftOut {
                audience: parts::audience(input)?,
                recipient: input.option(parts::recipient)?,
                why: suppression(input)?,
                registration: parts::registration(input)?,
            })
        })
        .collect::<Result<_, Undecodable>>()?;
    input.end()?;
    Ok(Admission { seq, citizen, event, domain, at, deliveries, left_out })
}

pub(super) fn put_suppression(out: &mut Vec<u8>, why: Suppression) {
    out.u8(match why {
        Suppression::NotMember => 0,
        Suppression::UnknownMembership => 1,
        Suppression::ContradictoryMembership => 2,
        Suppression::Condition => 3,
        Suppression::NotSubscribed => 4,
        Suppression::RecipientClosed => 5,
        Suppression::Deceased => 6,
        Suppression::RecordDeleted => 7,
    });
}

pub(super) fn suppression(input: &mut Input<'_>) -> Result<Suppression, Undecodable> {
    Ok(match input.u8()? {
        0 => Suppression::NotMember,
        1 => Suppression::UnknownMembership,
        2 => Suppression::ContradictoryMembership,
        3 => Suppression::Condition,
        4 => Suppression::NotSubscribed,
        5 => Suppression::RecipientClosed,
        6 => Suppression::Deceased,
        7 => Suppression::RecordDeleted,
        _ => return input.fail(),
    })
}
