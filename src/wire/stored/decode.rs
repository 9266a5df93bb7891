//! Reads the stored form; see the module above for its layout.

use std::sync::Arc;

use uuid::Uuid;

use super::super::rfc3339::{self, Shape};
use super::{HAS_BODY, HAS_END, HAS_REGISTRAR, HAS_START, HAS_VERSION_ID, SOURCE_PREFIX, TIME_AS_TEXT, UNUSED, VERSION, micros_per_unit};
use crate::core::event::{Change, Content, Event, PlanKind, Registered, Registrar};
use crate::core::ids::{EventMark, ExternalId, Jobcenterkode, Personnummer, Recipient};
use crate::core::time::{Day, Moment};

/// Bytes that are not a stored event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program, or not an event at all.
    #[error("stored event of version {0}, this program reads version 1")]
    UnknownVersion(u8),
    /// The bytes end before the event does.
    #[error("stored event is cut off")]
    Truncated,
    /// A part is not what it must be.
    #[error("stored event is damaged in its {0}")]
    Damaged(&'static str),
}

use DecodeError::{Damaged, Truncated, UnknownVersion};

/// Reads the stored form of an event, of any released version.
///
/// # Errors
/// Refuses bytes that are not one, without a panic whatever they are. What it
/// refuses is damage, not bad registration: that was kept out by `parse_event`.
pub fn decode_event(bytes: &[u8]) -> Result<Event, DecodeError> {
    let mut reader = Reader { rest: bytes };
    match reader.byte()? {
        VERSION => {}
        other => return Err(UnknownVersion(other)),
    }
    let head = reader.byte()?;
    if head & UNUSED != 0 {
        return Err(Damaged("head"));
    }
    let change = Change::from_number(i64::from(head & 3)).ok_or(Damaged("Aendringstype"))?;
    let entity: Arc<str> = reader.text("EntitetNavn")?.into();
    let source = reader.source()?;
    let id = reader.id("id")?;
    let registered = reader.time()?;
    let external_id = ExternalId::parse(&reader.id("EksternIdentifier")?).map_err(|_| Damaged("EksternIdentifier"))?;
    let version_id = if head & HAS_VERSION_ID == 0 { None } else { Some(reader.id("VersionIdentifier")?) };
    let personnummer = reader.personnummer()?;
    let registrar = if head & HAS_REGISTRAR == 0 { None } else { Some(reader.registrar()?) };
    let start = if head & HAS_START == 0 { None } else { Some(reader.day("Startdato")?) };
    let end = if head & HAS_END == 0 { None } else { Some(reader.day("Slutdato")?) };
    if start.is_some_and(|start| end.is_some_and(|end| end < start)) {
        return Err(Damaged("period"));
    }
    let content = reader.content()?;
    let body = if head & HAS_BODY == 0 { None } else { Some(reader.text("body")?.into()) };
    if !reader.rest.is_empty() {
        return Err(Damaged("end"));
    }
    Ok(Event {
        mark: EventMark::of(&source, &id),
        source,
        id,
        entity,
        change,
        registered,
        external_id,
        version_id,
        personnummer,
        registrar,
        start,
        end,
        content,
        details: None,
        body,
    })
}

/// What is left to read. No length is believed before the bytes are there.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| Truncated)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        match self.byte()? {
            byte @ (0 | 1) => Ok(number | u64::from(byte) << 63),
            _ => Err(Damaged("varint")),
        }
    }

    fn signed(&mut self) -> Result<i64, DecodeError> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    fn utf8(&mut self, len: u64, part: &'static str) -> Result<&'a str, DecodeError> {
        let len = usize::try_from(len).map_err(|_| Truncated)?;
        std::str::from_utf8(self.take(len)?).map_err(|_| Damaged(part))
    }

    fn text(&mut self, part: &'static str) -> Result<&'a str, DecodeError> {
        let len = self.varint()?;
        self.utf8(len, part)
    }

    fn source(&mut self) -> Result<Box<str>, DecodeError> {
        let len = self.varint()?;
        let rest = self.utf8(len / 2, "source")?;
        Ok(if len % 2 == 0 { rest.into() } else { [SOURCE_PREFIX, rest].concat().into() })
    }

    fn id(&mut self, part: &'static str) -> Result<Box<str>, DecodeError> {
        match self.varint()?.checked_sub(1) {
            Some(len) => Ok(self.utf8(len, part)?.into()),
            None => Ok((&*Uuid::from_bytes(self.array()?).hyphenated().encode_lower(&mut [0; 36])).into()),
        }
    }

    fn time(&mut self) -> Result<Registered, DecodeError> {
        const PART: &str = "time";
        let decimals = match self.byte()? {
            TIME_AS_TEXT => return rfc3339::registered(self.text(PART)?).map_err(|_| Damaged(PART)),
            decimals @ 0..=6 => decimals,
            _ => return Err(Damaged(PART)),
        };
        let offset = match self.signed()? {
            0 => None,
            // As far as 23:59, either way; zero is moved away from `Z`.
            moved @ -1440..=1440 => Some((moved - moved.signum()) as i32),
            _ => return Err(Damaged(PART)),
        };
        let at = Moment(self.signed()?.checked_mul(micros_per_unit(decimals)).ok_or(Damaged(PART))?);
        let mut text = Vec::with_capacity(32);
        rfc3339::write(&mut text, at, Shape { decimals, offset });
        let text = String::from_utf8(text).map_err(|_| Damaged(PART))?;
        Ok(Registered { at, text: text.into() })
    }

    fn personnummer(&mut self) -> Result<Personnummer, DecodeError> {
        let [a, b, c, d, e] = self.array()?;
        self.digits::<10, _>(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), "Personnummer", |text| Personnummer::parse(text).ok())
    }

    /// Parses a number as the text of `N` digits that it stands for.
    fn digits<const N: usize, T>(
        &self,
        mut number: u64,
        part: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let mut text = [b'0'; N];
        for digit in text.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        if number != 0 {
            return Err(Damaged(part));
        }
        std::str::from_utf8(&text).ok().and_then(parse).ok_or(Damaged(part))
    }

    fn registrar(&mut self) -> Result<Registrar, DecodeError> {
        const PART: &str = "RegistrerendeMyndighed";
        Ok(match self.code(PART)? {
            Some(recipient) => Registrar { kind: recipient.kind().into(), code: recipient.code().into() },
            None => Registrar { kind: self.text(PART)?.into(), code: self.text(PART)?.into() },
        })
    }

    fn code(&mut self, part: &'static str) -> Result<Option<Recipient>, DecodeError> {
        match self.varint()?.checked_sub(1) {
            None => Ok(None),
            Some(number) => u16::try_from(number).ok().and_then(Recipient::from_number).map(Some).ok_or(Damaged(part)),
        }
    }

    fn day(&mut self, part: &'static str) -> Result<Day, DecodeError> {
        i32::try_from(self.signed()?).ok().and_then(Day::from_number).ok_or(Damaged(part))
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, DecodeError>) -> Result<Option<T>, DecodeError> {
        match self.byte()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Damaged("content")),
        }
    }

    fn content(&mut self) -> Result<Content, DecodeError> {
        const PART: &str = "content";
        Ok(match self.byte()? {
            0 => Content::Other,
            1 => match self.code(PART)? {
                None => Content::Membership { fund: None },
                Some(Recipient::Akasse(fund)) => Content::Membership { fund: Some(fund) },
                Some(Recipient::Kommune(_)) => return Err(Damaged(PART)),
            },
            2 => {
                let number = self.varint()?.checked_sub(1);
                let parse = |number| self.digits::<5, _>(number, PART, |text| Jobcenterkode::parse(text).ok());
                Content::Jobcentre { jobcentre: number.map(parse).transpose()? }
            }
            3 => match self.code(PART)? {
                None => Content::Residence { kommune: None },
                Some(Recipient::Kommune(kommune)) => Content::Residence { kommune: Some(kommune) },
                Some(Recipient::Akasse(_)) => return Err(Damaged(PART)),
            },
            4 => Content::NumberChange { new: self.option(Self::personnummer)? },
            5 => Content::Death { on: self.option(|reader| reader.day(PART))? },
            6 => Content::ContactGroup { group: self.option(Self::signed)?, former: self.option(Self::signed)? },
            7 => {
                let kind = match self.byte()? {
                    0 => None,
                    1 => Some(PlanKind::Jobplan),
                    2 => Some(PlanKind::UddannelsesplanMedJobmaal),
                    3 => Some(PlanKind::Uddannelsesplan),
                    4 => Some(PlanKind::AndenPlan),
                    _ => return Err(Damaged(PART)),
                };
                let later_version = self.option(|reader| ExternalId::parse(&reader.id(PART)?).map_err(|_| Damaged(PART)))?;
                Content::Plan { kind, later_version }
            }
            8 => {
                let after_death = match self.byte()? {
                    0 => false,
                    1 => true,
                    _ => return Err(Damaged(PART)),
                };
                Content::Deletion { after_death, area: self.text(PART)?.into(), entity: self.text(PART)?.into() }
            }
            9 => Content::HandedOver { area: Some(self.text(PART)?).filter(|area| !area.is_empty()).map(Into::into) },
            _ => return Err(Damaged(PART)),
        })
    }
}
