//! A message in quarantine.

use std::sync::Arc;

use crate::core::about::About;
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
    put_about(out, &quarantined.about);
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
        about: about(input)?,
    };
    input.end()?;
    Ok(quarantined)
}

/// Appends the first number, as there was one only once; then, unless that is
/// all, how many more there are and they, or 0 for anybody.
fn put_about(out: &mut Vec<u8>, about: &About) {
    let numbers = about.numbers();
    put_option(out, numbers.first().copied(), parts::put_personnummer);
    let others = numbers.get(1..).unwrap_or_default();
    if !others.is_empty() || *about == About::Anybody {
        out.varint(others.len() as u64);
        others.iter().for_each(|number| parts::put_personnummer(out, *number));
    }
}

fn about(input: &mut Input<'_>) -> Result<About, Undecodable> {
    let mut numbers: Vec<_> = input.option(parts::personnummer)?.into_iter().collect();
    if input.is_empty() {
        return Ok(About::These(numbers));
    }
    let count = input.count()?;
    match (count, numbers.is_empty()) {
        (0, true) => return Ok(About::Anybody),
        (0, false) | (_, true) => return input.fail(),
        (_, false) => {}
    }
    for _ in 0..count {
        numbers.push(parts::personnummer(input)?);
    }
    Ok(About::These(numbers))
}
