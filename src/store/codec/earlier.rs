//! The rules by which what is unclaimed had been left before, each with its moment.

use crate::core::policy::Audience;
use crate::core::time::Moment;

use super::bytes::{Input, Output, Undecodable};
use super::parts;

/// Appends them; the delivery comes after.
pub(in crate::store) fn encode_earlier(earlier: &[(Audience, Moment)], out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.varint(earlier.len() as u64);
    for (audience, at) in earlier {
        parts::put_audience(out, *audience);
        parts::put_moment(out, *at);
    }
}

/// Reverses [`encode_earlier`].
pub(in crate::store) fn decode_earlier(input: &mut Input<'_>) -> Result<Vec<(Audience, Moment)>, Undecodable> {
    input.version()?;
    let mut earlier = Vec::new();
    for _ in 0..input.varint()? {
        earlier.push((parts::audience(input)?, parts::moment(input)?));
    }
    Ok(earlier)
}
