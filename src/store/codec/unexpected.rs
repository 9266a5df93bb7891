//! What leads to a record that was deleted unexpectedly.

use crate::core::retention::Deleted;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// Appends what leads to the record.
pub(in crate::store) fn encode_deleted(record: &Deleted, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.text(&record.event_id);
    parts::put_external_id(out, &record.external_id);
    put_option(out, record.due, parts::put_day);
    out.varint(record.blocked_by.len() as u64);
    record.blocked_by.iter().for_each(|blocker| out.text(blocker));
}

/// Reverses [`encode_deleted`].
pub(in crate::store) fn decode_deleted(bytes: &[u8]) -> Result<Deleted, Undecodable> {
    let input = &mut Input::versioned(bytes, "a record that was deleted")?;
    let record = Deleted {
        event_id: input.text()?,
        external_id: parts::external_id(input)?,
        due: input.option(parts::day)?,
        blocked_by: (0..input.count()?).map(|_| input.text()).collect::<Result<_, _>>()?,
    };
    input.end()?;
    Ok(record)
}
