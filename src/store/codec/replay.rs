//! A replay, and the keys that it selected.

use crate::core::ids::{DeliveryKey, EventSeq, WsbId};
use crate::core::outbox::Withdrawal;
use crate::core::replay::{Filter, Lot, Order, Progress, Replay, ReplayId, Source, Stage, StateFilter, Tally};
use crate::core::time::Moment;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// Appends a replay without its number, which stands in its key.
pub(in crate::store) fn encode_replay(replay: &Replay, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    put_order(&replay.order, out);
    parts::put_moment(out, replay.at);
    put_stage(out, replay.stage);
    out.varint(replay.lots.len() as u64);
    for lot in &replay.lots {
        parts::put_recipient(out, lot.recipient);
        out.varint(u64::from(lot.first_chunk));
        out.varint(lot.keys);
        out.varint(lot.done);
    }
    out.varint(replay.tally.len() as u64);
    for ((recipient, why), count) in &replay.tally {
        parts::put_recipient(out, *recipient);
        put_option(out, *why, put_withdrawal);
        out.varint(*count);
    }
    out.varint(replay.already_claimed);
    let Progress { sent, withdrawn, skipped } = replay.progress;
    [sent, withdrawn, skipped].into_iter().for_each(|count| out.varint(count));
    put_keys(&replay.canaries, out);
    out.u8(u8::from(replay.gone));
    if replay.as_of != replay.at {
        parts::put_moment(out, replay.as_of);
    }
}

/// Reverses [`encode_replay`].
pub(in crate::store) fn decode_replay(id: ReplayId, bytes: &[u8]) -> Result<Replay, Undecodable> {
    let input = &mut Input::versioned(bytes, "a replay")?;
    let (order, at) = (order(input)?, parts::moment(input)?);
    let mut replay = Replay {
        id,
        order,
        at,
        as_of: at,
        stage: stage(input)?,
        lots: (0..input.count()?).map(|_| lot(input)).collect::<Result<_, _>>()?,
        tally: (0..input.count()?)
            .map(|_| Ok(((parts::recipient(input)?, input.option(withdrawal)?), input.varint()?)))
            .collect::<Result<Tally, Undecodable>>()?,
        already_claimed: input.varint()?,
        progress: Progress { sent: input.varint()?, withdrawn: input.varint()?, skipped: input.varint()? },
        canaries: keys(input)?,
        gone: input.flag()?,
    };
    if !input.is_empty() {
        replay.as_of = parts::moment(input)?;
    }
    input.end()?;
    Ok(replay)
}

/// Appends the keys of a chunk.
pub(in crate::store) fn encode_chunk(keys: &[DeliveryKey], out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    for key in keys {
        parts::put_recipient(out, key.recipient);
        out.u64(key.seq.0);
    }
}

/// Reverses [`encode_chunk`].
pub(in crate::store) fn decode_chunk(bytes: &[u8]) -> Result<Vec<DeliveryKey>, Undecodable> {
    let input = &mut Input::versioned(bytes, "a part of a selection")?;
    let mut keys = Vec::with_capacity(input.rest().len() / 10);
    while !input.is_empty() {
        keys.push(DeliveryKey { recipient: parts::recipient(input)?, seq: EventSeq(input.u64()?) });
    }
    Ok(keys)
}

fn put_order(order: &Order, out: &mut Vec<u8>) {
    let Filter { ids, state, recipient, entity, reason, since, until } = &order.filter;
    out.varint(ids.len() as u64);
    ids.iter().for_each(|id| out.raw(id.as_bytes()));
    put_option(out, *state, |out, state| out.u8(StateFilter::ALL.iter().position(|other| *other == state).unwrap_or(0) as u8));
    put_option(out, *recipient, parts::put_recipient);
    put_option(out, entity.as_deref(), |out, text| out.text(text));
    put_option(out, reason.as_deref(), |out, text| out.text(text));
    put_option(out, *since, parts::put_moment);
    put_option(out, *until, parts::put_moment);
    out.u8(match order.source {
        Source::Dead => 0,
        Source::Delivered => 1,
    });
    put_option(out, order.rate_per_second, |out, rate| out.u32(rate));
    put_option(out, order.canary, |out, canary| out.u32(canary));
    out.text(&order.by);
    put_option(out, order.scope, parts::put_recipient);
    put_option(out, order.request.as_deref(), |out, text| out.text(text));
}

fn order(input: &mut Input<'_>) -> Result<Order, Undecodable> {
    Ok(Order {
        filter: Filter {
            ids: (0..input.count()?).map(|_| input.array().map(WsbId::from_bytes)).collect::<Result<_, _>>()?,
            state: input.option(|input| StateFilter::ALL.get(usize::from(input.u8()?)).copied().ok_or(input.error()))?,
            recipient: input.option(parts::recipient)?,
            entity: input.option(Input::text)?,
            reason: input.option(Input::text)?,
            since: input.option(parts::moment)?,
            until: input.option(parts::moment)?,
        },
        source: match input.u8()? {
            0 => Source::Dead,
            1 => Source::Delivered,
            _ => return input.fail(),
        },
        rate_per_second: input.option(Input::u32)?,
        canary: input.option(Input::u32)?,
        by: input.text()?,
        scope: input.option(parts::recipient)?,
        request: input.option(Input::text)?,
    })
}

fn put_stage(out: &mut Vec<u8>, stage: Stage) {
    let (number, at) = match stage {
        Stage::Selecting => (0, None),
        Stage::Running => (1, None),
        Stage::WaitingForGo => (2, None),
        Stage::Stopped { at } => (3, Some(at)),
        Stage::Done { at } => (4, Some(at)),
    };
    out.u8(number);
    if let Some(at) = at {
        parts::put_moment(out, at);
    }
}

fn stage(input: &mut Input<'_>) -> Result<Stage, Undecodable> {
    let at = |input: &mut Input<'_>| -> Result<Moment, Undecodable> { parts::moment(input) };
    Ok(match input.u8()? {
        0 => Stage::Selecting,
        1 => Stage::Running,
        2 => Stage::WaitingForGo,
        3 => Stage::Stopped { at: at(input)? },
        4 => Stage::Done { at: at(input)? },
        _ => return input.fail(),
    })
}

fn lot(input: &mut Input<'_>) -> Result<Lot, Undecodable> {
    let recipient = parts::recipient(input)?;
    let first_chunk = u32::try_from(input.varint()?).map_err(|_| input.error())?;
    let (keys, done) = (input.varint()?, input.varint()?);
    if done <= keys { Ok(Lot { recipient, first_chunk, keys, done }) } else { input.fail() }
}

pub(super) fn put_withdrawal(out: &mut Vec<u8>, why: Withdrawal) {
    out.u8(Withdrawal::ALL.iter().position(|other| *other == why).unwrap_or(0) as u8);
}

pub(super) fn withdrawal(input: &mut Input<'_>) -> Result<Withdrawal, Undecodable> {
    Withdrawal::ALL.get(usize::from(input.u8()?)).copied().ok_or(input.error())
}

fn put_keys(keys: &[DeliveryKey], out: &mut Vec<u8>) {
    out.varint(keys.len() as u64);
    for key in keys {
        parts::put_recipient(out, key.recipient);
        out.varint(key.seq.0);
    }
}

fn keys(input: &mut Input<'_>) -> Result<Vec<DeliveryKey>, Undecodable> {
    (0..input.count()?).map(|_| Ok(DeliveryKey { recipient: parts::recipient(input)?, seq: EventSeq(input.varint()?) })).collect()
}
