//! An entry of the audit log, and what its hash is made of.

use crate::core::audit::{Action, Deed, Entry, Extent, Hash};
use crate::core::time::Moment;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// Returns the bytes that the hash of an entry is made of. Written down in
/// `docs/formats.md`, so that others can check an exported log: every number is
/// big-endian, every text preceded by its length.
pub(in crate::store) fn hashed(former: &Hash, seq: u64, at: Moment, deed: &Deed) -> Vec<u8> {
    let mut out = former.to_vec();
    out.u64(seq);
    out.raw(&at.0.to_be_bytes());
    for text in [&*deed.who, &*deed.role, deed.action.name(), &*deed.about] {
        out.u32(text.len() as u32);
        out.raw(text.as_bytes());
    }
    match &deed.why {
        Some(why) => {
            out.u32(why.len() as u32);
            out.raw(why.as_bytes());
        }
        None => out.u32(u32::MAX),
    }
    out.u8(u8::from(deed.dry_run));
    out
}

/// Appends an entry without its place, which is in the row's key, and without
/// its hash, which follows from the rest.
pub(in crate::store) fn encode_audit(former: &Hash, at: Moment, deed: &Deed, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.raw(former);
    parts::put_moment(out, at);
    out.text(&deed.who);
    out.text(&deed.role);
    let number = Action::ALL.iter().position(|action| *action == deed.action);
    out.u8(number.and_then(|number| u8::try_from(number).ok()).unwrap_or(u8::MAX));
    out.text(&deed.about);
    put_option(out, deed.why.as_deref(), |out, why| out.text(why));
    out.u8(u8::from(deed.dry_run));
}

/// Reverses [`encode_audit`]; `hash` makes a hash of bytes.
pub(in crate::store) fn decode_audit(seq: u64, bytes: &[u8], hash: impl FnOnce(&[u8]) -> Hash) -> Result<Entry, Undecodable> {
    let input = &mut Input::versioned(bytes, "an entry of the audit log")?;
    let former = input.array()?;
    let at = parts::moment(input)?;
    let (who, role) = (input.text()?, input.text()?);
    let number = usize::from(input.u8()?);
    let action = Action::ALL.get(number).copied().ok_or(input.error())?;
    let deed = Deed { who, role, action, about: input.text()?, why: input.option(|input| input.text())?, dry_run: input.flag()? };
    input.end()?;
    let hash = hash(&hashed(&former, seq, at, &deed));
    Ok(Entry { seq, at, deed, former, hash })
}

/// Appends where the log begins and ends.
pub(in crate::store) fn encode_extent(extent: &Extent, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.u64(extent.first);
    out.raw(&extent.before_first);
    out.u64(extent.newest);
    out.raw(&extent.newest_hash);
}

/// Reverses [`encode_extent`].
pub(in crate::store) fn decode_extent(bytes: &[u8]) -> Result<Extent, Undecodable> {
    let input = &mut Input::versioned(bytes, "the extent of the audit log")?;
    let extent = Extent { first: input.u64()?, before_first: input.array()?, newest: input.u64()?, newest_hash: input.array()? };
    input.end()?;
    Ok(extent)
}
