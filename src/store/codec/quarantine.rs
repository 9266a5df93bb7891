//! A message in quarantine.

use std::sync::Arc;

use crate::core::records::Quarantined;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// Appends a message in quarantine without its id, which is in the row's key.
pub(in crate::store) fn encode_quarantined(quarantined: &Quarantined, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    parts::put_moment(out, quarantined.at);
    out.text(&quarantined.word);
    out.text(&quarantined.reason);
    out.bytes(&quarantined.body);
    put_option(out, quarantined.personnummer, parts::put_personnummer);
}

/// Reverses [`encode_quarantined`].
pub(in crate::store) fn decode_quarantined(id: u64, bytes: &[u8]) -> Result<Quarantined, Undecodable> {
    let input = &mut Input::versioned(bytes, "a message in quarantine")?;
    let quarantined = Quarantined {
        id,
        at: parts::moment(input)?,
        word: input.text()?,
        reason: input.text()?,
        body: Arc::from(input.bytes()?),
        personnummer: input.option(parts::personnummer)?,
    };
    input.end()?;
    Ok(quarantined)
}
