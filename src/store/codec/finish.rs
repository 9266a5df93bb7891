//! How deliveries ended: packed for the many that never had a row, one by one
//! for those that had.

use crate::core::ids::{CitizenId, DeliveryKey, EventSeq};
use crate::core::outbox::{End, Ended};

use crate::core::time::Moment;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// What a finish does to the ledger of who holds what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum LedgerChange {
    /// Nothing.
    None,
    /// The recipient holds something about this record of this citizen: the
    /// fingerprint of it.
    Holds(CitizenId, u64),
    /// The recipient has been told that it is deleted; under each of the
    /// citizen's former ids.
    Gone(Vec<(CitizenId, u64)>),
}

/// One of the finishes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct FinishRecord {
    /// Which delivery.
    pub key: DeliveryKey,
    /// How, after how many attempts, when.
    pub end: End,
    pub attempts: u32,
    pub at: Moment,
    /// Whether it had a row, and hence has an entry of its own as well.
    pub had_row: bool,
    /// What it does to the ledger.
    pub ledger: LedgerChange,
}

/// Appends one record to the packed finishes of a group; the first of them is
/// preceded by the version.
pub(in crate::store) fn encode_finish(record: &FinishRecord, out: &mut Vec<u8>) {
    if out.is_empty() {
        out.u8(super::VERSION);
    }
    parts::put_recipient(out, record.key.recipient);
    out.varint(record.key.seq.0);
    parts::put_end(out, record.end);
    out.varint(u64::from(record.attempts));
    parts::put_moment(out, record.at);
    out.u8(u8::from(record.had_row));
    match &record.ledger {
        LedgerChange::None => out.u8(0),
        LedgerChange::Holds(citizen, about) => {
            out.u8(1);
            out.u32(citizen.0);
            out.u64(*about);
        }
        LedgerChange::Gone(entries) => {
            out.u8(2);
            out.varint(entries.len() as u64);
            for (citizen, about) in entries {
                out.u32(citizen.0);
                out.u64(*about);
            }
        }
    }
}

/// Returns the packed finishes of a group.
pub(in crate::store) fn decode_finishes(bytes: &[u8]) -> Result<Vec<FinishRecord>, Undecodable> {
    let input = &mut Input::versioned(bytes, "finished deliveries")?;
    let mut records = Vec::new();
    while !input.is_empty() {
        let recipient = parts::recipient(input)?;
        let seq = EventSeq(input.varint()?);
        records.push(FinishRecord {
            key: DeliveryKey { recipient, seq },
            end: parts::end(input)?,
            attempts: number(input)?,
            at: parts::moment(input)?,
            had_row: input.flag()?,
            ledger: ledger(input)?,
        });
    }
    Ok(records)
}

/// Appends how a delivery ended that had a row.
pub(in crate::store) fn encode_ended(ended: &Ended, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    put_ended(out, ended);
}

/// The last of its value.
pub(super) fn put_ended(out: &mut Vec<u8>, ended: &Ended) {
    parts::put_end(out, ended.end);
    out.varint(u64::from(ended.attempts));
    parts::put_moment(out, ended.at);
    parts::put_attempts(out, &ended.failures);
    if ended.replays > 0 {
        out.varint(u64::from(ended.replays));
        put_option(out, ended.delivered_before, parts::put_earlier);
    }
}

/// Reverses [`encode_ended`].
pub(in crate::store) fn decode_ended(bytes: &[u8]) -> Result<Ended, Undecodable> {
    let input = &mut Input::versioned(bytes, "a finished delivery")?;
    let ended = ended(input)?;
    input.end()?;
    Ok(ended)
}

pub(super) fn ended(input: &mut Input<'_>) -> Result<Ended, Undecodable> {
    let (end, attempts, at, failures) = (parts::end(input)?, number(input)?, parts::moment(input)?, parts::attempts(input)?);
    let (replays, delivered_before) = match input.is_empty() {
        true => (0, None),
        false => (number(input)?, input.option(parts::earlier)?),
    };
    Ok(Ended { end, attempts, at, failures, replays, delivered_before })
}

fn number(input: &mut Input<'_>) -> Result<u32, Undecodable> {
    let number = input.varint()?;
    u32::try_from(number).map_err(|_| input.error())
}

fn ledger(input: &mut Input<'_>) -> Result<LedgerChange, Undecodable> {
    let entry = |input: &mut Input<'_>| Ok((CitizenId(input.u32()?), input.u64()?));
    match input.u8()? {
        0 => Ok(LedgerChange::None),
        1 => entry(input).map(|(citizen, about)| LedgerChange::Holds(citizen, about)),
        2 => (0..input.count()?).map(|_| entry(input)).collect::<Result<_, _>>().map(LedgerChange::Gone),
        _ => input.fail(),
    }
}
