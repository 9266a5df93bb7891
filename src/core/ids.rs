//! One type per identifier, made only by a parser that can refuse.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use uuid::Uuid;

use super::time::Day;

/// A text that is not the identifier it was taken for. Carries no part of the
/// text, so that it can be shown and logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{expected}")]
pub struct Malformed {
    /// What a well-formed value looks like.
    pub expected: &'static str,
}

/// A Danish personnummer (CPR number): ten digits, `DDMMYYXXXX`.
///
/// Checked for shape and for a day that exists (days 61 to 91 are the
/// administrative numbers); the old modulus 11 check is not applied, since
/// numbers without it have been issued since 2007. `Debug` and `Display` never
/// show the digits: ask for [`Personnummer::digits`] where they must be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Personnummer([u8; 10]);

impl Personnummer {
    const EXPECTED: Malformed = Malformed { expected: "expected ten digits, DDMMYYXXXX, with a day that exists" };

    /// Parses ten digits without a hyphen. For what is kept already too, hence 29
    /// February is one of every year: see [`Personnummer::parse_new`].
    ///
    /// # Errors
    /// Refuses anything else, and days or months that no calendar has.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Personnummer::EXPECTED;
        let digits: [u8; 10] = text.as_bytes().try_into().map_err(|_| EXPECTED)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(EXPECTED);
        }
        let number = |at: usize| u32::from(digits[at] - b'0') * 10 + u32::from(digits[at + 1] - b'0');
        let day = match number(0) {
            administrative @ 61..=91 => administrative - 60,
            day => day,
        };
        let last = match number(2) {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 29,
            _ => return Err(EXPECTED),
        };
        if day == 0 || day > last {
            return Err(EXPECTED);
        }
        Ok(Self(digits))
    }

    /// Parses one that is new here, as [`Personnummer::parse`] does.
    ///
    /// # Errors
    /// Refuses also 29 February of a year that has none. Of an administrative number the
    /// century is not sure: only years that have none in any century.
    pub fn parse_new(text: &str) -> Result<Self, Malformed> {
        let number = Self::parse(text)?;
        let is_leap_year = match number.two(0) {
            29 => is_leap(number.year()),
            89 => number.two(4).is_multiple_of(4),
            _ => true,
        };
        if number.two(2) == 2 && !is_leap_year { Err(Self::EXPECTED) } else { Ok(number) }
    }

    /// Returns the number that two digits are.
    fn two(&self, at: usize) -> u32 {
        digits(&self.digits()[at..at + 2], 2).unwrap_or_default()
    }

    /// Returns the year of birth. The century follows from the seventh digit.
    #[must_use]
    pub fn year(&self) -> u32 {
        let year = self.two(4);
        let century = match self.0[6] {
            b'0'..=b'3' => 1900,
            b'4' | b'9' if year <= 36 => 2000,
            b'4' | b'9' => 1900,
            // 5 to 8.
            _ if year <= 57 => 2000,
            _ => 1800,
        };
        century + year
    }

    /// Returns the ten digits. Personal data: for the wire and for sealing only.
    #[must_use]
    pub fn digits(&self) -> &str {
        // The constructor let only ASCII digits in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Personnummer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Personnummer(..)")
    }
}

fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Parses a code of exactly `len` ASCII digits.
fn digits(text: &str, len: usize) -> Option<u32> {
    (text.len() == len && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.bytes().fold(0, |n, b| n * 10 + u32::from(b - b'0')))
}

/// The code of an a-kasse: three digits, `067`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Akassekode(u16);

/// The code of a kommune: three digits, `860`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kommunekode(u16);

/// The code of a jobcentre: the kommune's three digits and two of the
/// sub-jobcentre. Sub-jobcentres come and go without notice, hence only the
/// kommune is ever routed by (R 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jobcenterkode(u32);

macro_rules! three_digit_code {
    ($name:ident, $expected:literal) => {
        impl $name {
            /// Parses exactly three digits.
            ///
            /// # Errors
            /// Refuses anything else. Whether the code is in use is for
            /// `policy::Rules` to say.
            pub fn parse(text: &str) -> Result<Self, Malformed> {
                digits(text, 3).and_then(|n| u16::try_from(n).ok()).map(Self).ok_or(Malformed { expected: $expected })
            }

            /// Returns the code as a number, below 1000.
            #[must_use]
            pub fn number(self) -> u16 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:03}", self.0)
            }
        }
    };
}

three_digit_code!(Akassekode, "expected the three digits of an a-kasse, such as 067");
three_digit_code!(Kommunekode, "expected the three digits of a kommune, such as 860");

impl Jobcenterkode {
    /// Parses exactly five digits.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        digits(text, 5).map(Self).ok_or(Malformed { expected: "expected the five digits of a jobcentre, such as 86001" })
    }

    /// Returns the kommune that the jobcentre belongs to: its first three digits.
    #[must_use]
    pub fn kommune(self) -> Kommunekode {
        Kommunekode((self.0 / 100) as u16)
    }

    /// Returns the code as a number, below 100000.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Jobcenterkode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:05}", self.0)
    }
}

/// An authority that receives WSBs, each through a queue of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipient {
    /// An unemployment fund.
    Akasse(Akassekode),
    /// A municipality.
    Kommune(Kommunekode),
}

impl Recipient {
    /// Parses `akasse:067` or `kommune:860`.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        match text.split_once(':') {
            Some(("akasse", code)) => Akassekode::parse(code).map(Self::Akasse),
            Some(("kommune", code)) => Kommunekode::parse(code).map(Self::Kommune),
            _ => Err(Malformed { expected: "expected akasse:NNN or kommune:NNN" }),
        }
    }

    /// Returns the kind of authority as the wire and the metrics name it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Akasse(_) => "akasse",
            Self::Kommune(_) => "kommune",
        }
    }

    /// Returns the three digits.
    #[must_use]
    pub fn code(self) -> String {
        match self {
            Self::Akasse(code) => code.to_string(),
            Self::Kommune(code) => code.to_string(),
        }
    }

    /// Returns a number that stands for this recipient in stored keys: the code,
    /// plus 4096 for a kommune. Stable for ever: it is part of the store format.
    #[must_use]
    pub fn to_number(self) -> u16 {
        match self {
            Self::Akasse(code) => code.0,
            Self::Kommune(code) => 0x1000 + code.0,
        }
    }

    /// Reverses [`Recipient::to_number`].
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        match number {
            0..=999 => Some(Self::Akasse(Akassekode(number))),
            0x1000..=0x13e7 => Some(Self::Kommune(Kommunekode(number - 0x1000))),
            _ => None,
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.code())
    }
}

/// What an event is told apart by: a name-based uuid of its `source` and `id`.
/// Two events with the same mark are the same event (CloudEvents 1.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventMark(Uuid);

impl EventMark {
    /// The name space of marks. Part of the wire format: WSB ids derive from it.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_3d52_8f0a_5b7e_9a44_7c1e_57b0_0001);

    /// Returns the mark of an event.
    #[must_use]
    pub fn of(source: &str, id: &str) -> Self {
        let mut name = Vec::with_capacity(source.len() + id.len() + 1);
        name.extend_from_slice(source.as_bytes());
        name.push(0); // JSON strings from the wire are refused when they hold a NUL, so the two parts cannot run together.
        name.extend_from_slice(id.as_bytes());
        Self(Uuid::new_v5(&Self::NAMESPACE, &name))
    }

    /// Rebuilds a mark from its bytes as they were stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the sixteen bytes to store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Returns the id of the WSB that tells `recipient` about this event: a uuid
    /// version 5, the same in every retry, restart and replay.
    #[must_use]
    pub fn wsb_id(&self, recipient: Recipient) -> WsbId {
        let mut name = [0; 16];
        let text = recipient.kind().as_bytes();
        name[..text.len()].copy_from_slice(text);
        let number = recipient.to_number().to_be_bytes();
        name[14..].copy_from_slice(&number);
        WsbId(Uuid::new_v5(&self.0, &name))
    }
}

/// The id of one WSB to one recipient; also the id of the delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WsbId(Uuid);

impl WsbId {
    /// Parses a uuid.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        Uuid::try_parse(text).map(Self).map_err(|_| Malformed { expected: "expected a uuid" })
    }

    /// Rebuilds an id from its bytes as they were stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Returns the sixteen bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for WsbId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The id of a deletion order: the same whenever it is repeated, and made of
/// nothing that says whose record it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(Uuid);

impl OrderId {
    /// The name space of orders. Part of the wire format.
    const NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_3d52_8f0a_5b7e_9a44_7c1e_57b0_0002);

    /// Returns the id of the order to delete a record of a citizen's that fell due on `due`.
    /// One that was corrected to somebody else is ordered anew: who goes by the id is to see that.
    #[must_use]
    pub fn of(entity: &str, external_id: &ExternalId, due: Day, citizen: CitizenId) -> Self {
        let text = format!("{entity}\0{}\0{due}\0{}", external_id.as_str(), citizen.0);
        Self(Uuid::new_v5(&Self::NAMESPACE, text.as_bytes()))
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The `EksternIdentifier` of a record in DFDG, a uuid in practice; kept as it
/// came, since it is sent on as it came. Told apart by [`ExternalId::identity`]:
/// a recall in other letters is a recall all the same. Cheap to clone: clocks have many.
#[derive(Clone)]
pub struct ExternalId(Arc<str>);

impl ExternalId {
    /// Parses a non-empty text of at most 64 visible ASCII characters.
    ///
    /// # Errors
    /// Refuses anything else.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.len() > 64 || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Malformed { expected: "expected at most 64 visible ASCII characters, in practice a uuid" });
        }
        Ok(Self(text.into()))
    }

    /// Returns the text as it came.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what tells the record apart: of a uuid its lower-case form, since
    /// a uuid means the same in either case (RFC 9562); any other text as it is.
    #[must_use]
    pub fn identity(&self) -> Cow<'_, str> {
        if self.0.bytes().any(|byte| byte.is_ascii_uppercase()) && is_uuid(&self.0) {
            return Cow::Owned(self.0.to_ascii_lowercase());
        }
        Cow::Borrowed(&self.0)
    }

    /// Returns a number that is the same for ids that are equal, and seldom for others.
    #[must_use]
    pub fn digest(&self) -> u64 {
        /// Makes upper-case letters lower-case ones, and leaves those as they are.
        const LOWER: u64 = 0x2020_2020_2020_2020;
        self.0.as_bytes().chunks(8).fold(0, |digest: u64, chunk| {
            let mut eight = [0; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            (digest.rotate_left(23) ^ (u64::from_le_bytes(eight) | LOWER)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    /// Returns whether there is one such record in all of DFDG: the zero GUID stands
    /// for none, and comes with many citizens.
    #[must_use]
    pub fn names_one_record(&self) -> bool {
        self.0.bytes().any(|byte| !matches!(byte, b'0' | b'-'))
    }
}

/// Whether the text is a uuid with hyphens.
fn is_uuid(text: &str) -> bool {
    let right = |(at, byte): (usize, u8)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { byte.is_ascii_hexdigit() };
    text.len() == 36 && text.bytes().enumerate().all(right)
}

impl PartialEq for ExternalId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0 || (self.0.eq_ignore_ascii_case(&other.0) && is_uuid(&self.0))
    }
}

impl Eq for ExternalId {}

impl Hash for ExternalId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Ord for ExternalId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl PartialOrd for ExternalId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalId({})", self.0)
    }
}

/// A citizen inside the broker: the number of the slot that holds the citizen's
/// key. Says nothing about the person once that key is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CitizenId(pub u32);

/// The place of an event in the order in which events were taken in, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventSeq(pub u64);

/// A delivery: one event to one recipient. Orders by recipient, then intake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryKey {
    /// Who is told.
    pub recipient: Recipient,
    /// About what.
    pub seq: EventSeq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personnummer_is_ten_digits_with_a_day_that_exists() {
        for good in ["0101901234", "3112999999", "2902000000", "6101010001"] {
            assert!(Personnummer::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "010190123",
            "01019012345",
            "010190-1234",
            "0001901234",
            "3202901234",
            "3002901234",
            "0113901234",
            "010190123x",
            "٠١٠١٩٠١٢٣٤",
        ] {
            assert!(Personnummer::parse(bad).is_err(), "{bad}");
        }
    }

    /// Of every year and seventh digit, by DOMAIN.md: 0-3: 19xx; 4 and 9: 20xx for years
    /// 00-36, else 19xx; 5-8: 20xx for years 00-57, else 18xx.
    #[test]
    fn a_new_personnummer_has_a_day_that_its_century_had() {
        for year in 0..100 {
            for seventh in 0..10 {
                let century = match seventh {
                    0..=3 => 1900,
                    4 | 9 => [1900, 2000][usize::from(year <= 36)],
                    _ => [1800, 2000][usize::from(year <= 57)],
                };
                let digits = |day: u32| format!("{day}02{year:02}{seventh}001");
                let exists = super::super::time::Day::parse(&format!("{}-02-29", century + year)).is_ok();
                assert_eq!(Personnummer::parse_new(&digits(29)).is_ok(), exists, "{}", digits(29));
                assert_eq!(Personnummer::parse_new(&digits(89)).is_ok(), year % 4 == 0, "{}", digits(89));
                for day in [28, 88] {
                    assert!(Personnummer::parse_new(&digits(day)).is_ok(), "{}", digits(day));
                }
                assert!(Personnummer::parse(&digits(29)).is_ok(), "what is kept is read");
            }
        }
        for good in ["2902960001", "2901010001", "2903010001", "8901010001", "9112999999", "3112010001"] {
            assert!(Personnummer::parse_new(good).is_ok(), "{good}");
        }
        for bad in ["2902891234", "2902011234", "2902001234", "8902011234", "3002960001", "9002960001", "0101", ""] {
            assert!(Personnummer::parse_new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn personnummer_never_shows_itself() {
        let number = Personnummer::parse("0101901234").expect("well-formed");
        assert!(!format!("{number:?}").contains("0101"));
    }

    #[test]
    fn codes_keep_their_leading_zeros() {
        assert_eq!(Recipient::parse("akasse:067").map(|r| r.to_string()), Ok("akasse:067".to_owned()));
        assert_eq!(Jobcenterkode::parse("86001").map(|j| j.kommune().to_string()), Ok("860".to_owned()));
        for bad in ["akasse:67", "akasse:0671", "jobcenter:860", "akasse", "kommune:8a0"] {
            assert!(Recipient::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_uuid_is_the_same_record_in_either_case() {
        let id = |text: &str| ExternalId::parse(text).expect("an id");
        let (upper, lower) = (id("5A0C0000-0000-4000-8000-00000000000F"), id("5a0c0000-0000-4000-8000-00000000000f"));
        assert_eq!(upper, lower);
        assert_eq!(upper.cmp(&lower), Ordering::Equal);
        assert_eq!(upper.digest(), lower.digest());
        assert_ne!(upper.digest(), id("5a0c0000-0000-4000-8000-00000000000e").digest());
        assert_eq!(std::collections::HashSet::from([upper.clone(), lower]).len(), 1);
        assert_eq!(upper.as_str(), "5A0C0000-0000-4000-8000-00000000000F", "sent on as it came");
        assert_ne!(id("A-1"), id("a-1"), "no uuid, no rule");
    }

    #[test]
    fn recipient_numbers_are_reversible() {
        for number in (0..=999).chain(0x1000..=0x13e7) {
            assert_eq!(Recipient::from_number(number).map(Recipient::to_number), Some(number));
        }
        assert_eq!(Recipient::from_number(1000), None);
    }

    /// The ids are on the wire: these values may never change.
    #[test]
    fn wsb_ids_are_fixed_for_ever() {
        let mark = EventMark::of("urn:dk:star:dfdg:kontaktforloeb", "01");
        let ids: Vec<String> = ["akasse:067", "kommune:860", "akasse:860"]
            .iter()
            .filter_map(|r| Recipient::parse(r).ok())
            .map(|r| mark.wsb_id(r).to_string())
            .collect();
        assert_eq!(ids, PINNED);
    }

    const PINNED: [&str; 3] =
        ["bc7a10e0-5c64-54ae-b0a7-efa11c8fc7e1", "fe5986de-7801-5455-b7a6-ba7bb1ad6063", "08d5dffc-4531-557e-a540-7be3b9d15f29"];
}
