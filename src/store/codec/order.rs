//! What operators ordered, and dead deliveries by cause.

use std::sync::Arc;

use crate::core::causes::{Cause, Tally};
use crate::core::holds::{Hold, Why};
use crate::core::ids::{Recipient, WsbId};

use super::bytes::{Input, Output, Undecodable};
use super::delivery::{death, put_death};
use super::parts::{self, put_option};

/// Appends a hold without what it holds, which stands in its key.
pub(in crate::store) fn encode_hold(hold: &Hold, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    match hold {
        Hold::Active { since, until, why, named } => {
            out.u8(0);
            parts::put_moment(out, *since);
            put_option(out, *until, parts::put_moment);
            out.text(why.as_str());
            put_option(out, *named, |out, id| out.raw(id.as_bytes()));
        }
        Hold::Over { at } => {
            out.u8(1);
            parts::put_moment(out, *at);
        }
    }
}

/// Reverses [`encode_hold`].
pub(in crate::store) fn decode_hold(bytes: &[u8]) -> Result<Hold, Undecodable> {
    let input = &mut Input::versioned(bytes, "a hold")?;
    let hold = match input.u8()? {
        0 => Hold::Active {
            since: parts::moment(input)?,
            until: input.option(parts::moment)?,
            why: input.text_with(|text| Why::parse(text).ok())?,
            named: input.option(|input| input.array().map(WsbId::from_bytes))?,
        },
        1 => Hold::Over { at: parts::moment(input)? },
        _ => return input.fail(),
    };
    input.end()?;
    Ok(hold)
}

/// Stands between the EntitetNavn of a deletion and its data area. In neither: both
/// are names that `routing.toml` or `retention.toml` declares.
const AREA: u8 = 0;

/// Appends a cause without its recipient, as the rest of its key: so that equal
/// causes are one row.
pub(in crate::store) fn encode_cause(cause: &Cause, out: &mut Vec<u8>) {
    put_death(out, cause.why);
    out.u16(cause.code);
    out.raw(cause.entity.as_bytes());
    if let Some(area) = &cause.area {
        out.u8(AREA);
        out.raw(area.as_bytes());
    }
}

/// Reverses [`encode_cause`].
pub(in crate::store) fn decode_cause(recipient: Recipient, bytes: &[u8]) -> Result<Cause, Undecodable> {
    let input = &mut Input::new(bytes, "a cause of death");
    let why = death(input)?;
    let code = input.u16()?;
    let named = std::str::from_utf8(input.rest()).map_err(|_| input.error())?;
    let (entity, area) = named.split_once(char::from(AREA)).map_or((named, None), |(entity, area)| (entity, Some(area.into())));
    Ok(Cause { recipient, why, code, entity: Arc::from(entity), area })
}

/// Appends how many are dead of a cause.
pub(in crate::store) fn encode_tally(tally: &Tally, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.varint(tally.count);
    parts::put_moment(out, tally.first);
    parts::put_moment(out, tally.last);
    out.varint(tally.attempts);
    out.varint(tally.replays);
}

/// Reverses [`encode_tally`].
pub(in crate::store) fn decode_tally(bytes: &[u8]) -> Result<Tally, Undecodable> {
    let input = &mut Input::versioned(bytes, "the number of dead of a cause")?;
    let tally = Tally {
        count: input.varint()?,
        first: parts::moment(input)?,
        last: parts::moment(input)?,
        attempts: input.varint()?,
        replays: input.varint()?,
    };
    input.end()?;
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::outbox::{Death, Failure};
    use crate::core::time::Moment;

    #[test]
    fn what_is_written_is_read() {
        let why = Why::parse("a new version").expect("a reason");
        for hold in [
            Hold::Active { since: Moment(5), until: Some(Moment(-9)), why: why.clone(), named: None },
            Hold::Active { since: Moment(5), until: None, why, named: Some(WsbId::from_bytes([7; 16])) },
            Hold::Over { at: Moment(1 << 50) },
        ] {
            let mut bytes = Vec::new();
            encode_hold(&hold, &mut bytes);
            assert_eq!(decode_hold(&bytes), Ok(hold));
            assert!(decode_hold(&bytes[..bytes.len() - 1]).is_err());
        }
        let recipient = Recipient::parse("kommune:860").expect("a recipient");
        for (why, area) in [(Death::GaveUp(Failure::Blocked), None), (Death::Overflow, Some("joblog".into()))] {
            let cause = Cause { recipient, why, code: 312, entity: "Indkaldelse".into(), area };
            let mut bytes = Vec::new();
            encode_cause(&cause, &mut bytes);
            assert_eq!(decode_cause(recipient, &bytes), Ok(cause));
        }
        let tally = Tally { count: 100_000, first: Moment(1), last: Moment(2), attempts: 1 << 40, replays: 3 };
        let mut bytes = Vec::new();
        encode_tally(&tally, &mut bytes);
        assert_eq!(decode_tally(&bytes), Ok(tally));
        assert!(decode_tally(&bytes[..3]).is_err());
    }
}
