//! The compact form of an event in the store.
//!
//! Version 1, byte 0 = 1. Whole numbers are varints: seven bits to a byte, low
//! ones first, the top bit set on all but the last; signed ones are zigzagged.
//! A text is its length and its UTF-8. An *id* is a zero byte and the sixteen
//! bytes of a uuid whose canonical text it is, else its length plus 1 and its
//! text. A *code* is 1 plus the recipient's number, or 0 for none.
//!
//! | part | as |
//! | --- | --- |
//! | head | one byte: Aendringstype in bits 0-1; then VersionIdentifier, RegistrerendeMyndighed, Startdato, Slutdato, body present in bits 2-6; bit 7 zero |
//! | EntitetNavn | text |
//! | source | twice its length, plus 1 when `urn:dk:star:dfdg:` was taken off; its UTF-8 |
//! | id | id |
//! | time | a byte: 15 and a text; or the number of decimals, 0-6, then the signed offset in minutes moved away from zero by 1 (0: `Z`), then the signed instant in units of the last decimal |
//! | EksternIdentifier, VersionIdentifier | id |
//! | Personnummer | five bytes, big-endian |
//! | RegistrerendeMyndighed | code, of a kommune or a-kasse; for 0 two texts follow |
//! | Startdato, Slutdato | signed days since 1970-01-01 |
//! | content | a tag byte, then what the tag has, see `write_content` |
//! | body | text |
//!
//! The mark is not stored: it is a function of source and id, and a stored one
//! could disagree with them. Recomputing costs a quarter of a microsecond, storing
//! it would make the row a sixth longer.
//!
//! History: 1, first version.

mod decode;
mod encode;

pub use decode::{DecodeError, decode_event};
pub use encode::encode_event;

const VERSION: u8 = 1;
const SOURCE_PREFIX: &str = "urn:dk:star:dfdg:";
const TIME_AS_TEXT: u8 = 15;

const HAS_VERSION_ID: u8 = 1 << 2;
const HAS_REGISTRAR: u8 = 1 << 3;
const HAS_START: u8 = 1 << 4;
const HAS_END: u8 = 1 << 5;
const HAS_BODY: u8 = 1 << 6;
const UNUSED: u8 = 1 << 7;

/// Microseconds in one unit of the last of so many decimals.
fn micros_per_unit(decimals: u8) -> i64 {
    10_i64.pow(u32::from(6_u8.saturating_sub(decimals)))
}

#[cfg(test)]
mod tests;
