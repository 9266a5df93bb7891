//! A step of a trace.

use crate::core::audit::Action;
use crate::core::outbox::Death;
use crate::core::replay::ReplayId;
use crate::core::routing::LeftOut;
use crate::core::time::Moment;
use crate::core::trace::{ByReplay, Stay, StayEnd, Step};

use super::admission::{put_suppression, suppression};
use super::bytes::{Input, Output, Undecodable};
use super::delivery::{death, put_death};
use super::finish::{ended, put_ended};
use super::parts::{self, put_option};
use super::replay::{put_withdrawal, withdrawal};

/// Appends a step without its delivery and time, which are in the row's key.
pub(in crate::store) fn encode_step(step: &Step, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.u8(step.number());
    match step {
        Step::CameBack { why, delivered_at } => {
            put_death(out, *why);
            put_option(out, *delivered_at, parts::put_moment);
        }
        Step::Acted { action, who } => {
            let number = Action::ALL.iter().position(|known| known == action);
            out.u8(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX));
            out.text(who);
        }
        Step::Replayed { died, attempts, failures, by } => {
            put_option(out, *died, put_death_at);
            out.varint(u64::from(*attempts));
            parts::put_attempts(out, failures);
            put_by_replay(out, by.as_ref());
        }
        Step::NotEntitled(left_out) => {
            parts::put_audience(out, left_out.audience);
            put_option(out, left_out.recipient, parts::put_recipient);
            put_suppression(out, left_out.why);
            parts::put_registration(out, left_out.registration.as_ref());
        }
        Step::RecordDeleted { event_id, taken_in } => {
            out.text(event_id);
            // Nothing where there is none, as in steps of older brokers.
            if let Some(at) = taken_in {
                parts::put_moment(out, *at);
            }
        }
        Step::TookOver { from, because } => {
            parts::put_recipient(out, *from);
            parts::put_because(out, because);
        }
        Step::DecidedAnew { because } => parts::put_because(out, because),
        Step::ReplayedInVain { why, died, by } => {
            put_withdrawal(out, *why);
            put_option(out, *died, put_death_at);
            put_by_replay(out, by.as_ref());
        }
        Step::Ended(ended) => put_ended(out, ended),
        Step::MayHaveBeenSent => {}
        Step::LayInQuarantine(Stay { id, since, reason, end, who }) => {
            out.varint(*id);
            parts::put_moment(out, *since);
            out.text(reason);
            out.u8(match end {
                StayEnd::TakenIn => 0,
                StayEnd::Repeat => 1,
                StayEnd::Discarded => 2,
            });
            out.text(who);
        }
    }
}

/// Reverses [`encode_step`].
pub(in crate::store) fn decode_step(bytes: &[u8]) -> Result<Step, Undecodable> {
    let input = &mut Input::versioned(bytes, "a step of a trace")?;
    let step = match input.u8()? {
        0 => Step::CameBack { why: death(input)?, delivered_at: input.option(parts::moment)? },
        1 => {
            let number = usize::from(input.u8()?);
            Step::Acted { action: Action::ALL.get(number).copied().ok_or(input.error())?, who: input.text()? }
        }
        2 => {
            let died = input.option(death_at)?;
            let attempts = u32::try_from(input.varint()?).map_err(|_| input.error())?;
            Step::Replayed { died, attempts, failures: parts::attempts(input)?, by: by_replay(input)? }
        }
        3 => Step::NotEntitled(LeftOut {
            audience: parts::audience(input)?,
            recipient: input.option(parts::recipient)?,
            why: suppression(input)?,
            registration: parts::registration(input)?,
        }),
        4 => {
            let event_id = input.text()?;
            Step::RecordDeleted { event_id, taken_in: (!input.is_empty()).then(|| parts::moment(input)).transpose()? }
        }
        5 => Step::TookOver { from: parts::recipient(input)?, because: parts::because(input)? },
        6 => Step::DecidedAnew { because: parts::because(input)? },
        7 => Step::ReplayedInVain { why: withdrawal(input)?, died: input.option(death_at)?, by: by_replay(input)? },
        8 => Step::LayInQuarantine(Stay {
            id: input.varint()?,
            since: parts::moment(input)?,
            reason: input.text()?,
            end: stay_end(input)?,
            who: input.text()?,
        }),
        9 => Step::Ended(ended(input)?),
        10 => Step::MayHaveBeenSent,
        _ => return input.fail(),
    };
    input.end()?;
    Ok(step)
}

fn stay_end(input: &mut Input<'_>) -> Result<StayEnd, Undecodable> {
    match input.u8()? {
        0 => Ok(StayEnd::TakenIn),
        1 => Ok(StayEnd::Repeat),
        2 => Ok(StayEnd::Discarded),
        _ => input.fail(),
    }
}

/// Appends nothing where nothing is known, as in steps of older brokers.
fn put_by_replay(out: &mut Vec<u8>, by: Option<&ByReplay>) {
    if let Some(ByReplay { replay, who }) = by {
        out.varint(replay.0);
        out.text(who);
    }
}

fn by_replay(input: &mut Input<'_>) -> Result<Option<ByReplay>, Undecodable> {
    if input.is_empty() {
        return Ok(None);
    }
    Ok(Some(ByReplay { replay: ReplayId(input.varint()?), who: input.text()? }))
}

fn put_death_at(out: &mut Vec<u8>, (at, why): (Moment, Death)) {
    parts::put_moment(out, at);
    put_death(out, why);
}

fn death_at(input: &mut Input<'_>) -> Result<(Moment, Death), Undecodable> {
    Ok((parts::moment(input)?, death(input)?))
}
