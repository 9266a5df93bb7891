//! Writes the stored form; see the module above for its layout.

use uuid::Uuid;

use super::super::rfc3339;
use super::{HAS_BODY, HAS_END, HAS_REGISTRAR, HAS_START, HAS_VERSION_ID, SOURCE_PREFIX, TIME_AS_TEXT, VERSION, micros_per_unit};
use crate::core::event::{Content, Event, PlanKind, Registered, Registrar};
use crate::core::ids::{Akassekode, Kommunekode, Personnummer, Recipient};
use crate::core::time::Day;

/// Appends the stored form of an event, in the newest version.
pub fn encode_event(event: &Event, out: &mut Vec<u8>) {
    let flag = |present: bool, flag: u8| if present { flag } else { 0 };
    out.push(VERSION);
    out.push(
        event.change.number()
            | flag(event.version_id.is_some(), HAS_VERSION_ID)
            | flag(event.registrar.is_some(), HAS_REGISTRAR)
            | flag(event.start.is_some(), HAS_START)
            | flag(event.end.is_some(), HAS_END)
            | flag(event.body.is_some(), HAS_BODY),
    );
    write_text(out, &event.entity);
    match event.source.strip_prefix(SOURCE_PREFIX) {
        Some(rest) => {
            write_varint(out, rest.len() as u64 * 2 + 1);
            out.extend_from_slice(rest.as_bytes());
        }
        None => {
            write_varint(out, event.source.len() as u64 * 2);
            out.extend_from_slice(event.source.as_bytes());
        }
    }
    write_id(out, &event.id);
    write_time(out, &event.registered);
    write_id(out, event.external_id.as_str());
    if let Some(version_id) = &event.version_id {
        write_id(out, version_id);
    }
    write_personnummer(out, &event.personnummer);
    if let Some(registrar) = &event.registrar {
        write_registrar(out, registrar);
    }
    for day in [event.start, event.end].into_iter().flatten() {
        write_day(out, day);
    }
    write_content(out, &event.content);
    if let Some(body) = &event.body {
        write_text(out, body);
    }
}

fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_signed(out: &mut Vec<u8>, number: i64) {
    write_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn write_id(out: &mut Vec<u8>, text: &str) {
    let uuid = (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten();
    match uuid {
        Some(uuid) if uuid.hyphenated().encode_lower(&mut [0; 36]) == text => {
            out.push(0);
            out.extend_from_slice(uuid.as_bytes());
        }
        _ => {
            write_varint(out, text.len() as u64 + 1);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn write_time(out: &mut Vec<u8>, registered: &Registered) {
    let start = out.len();
    if let Some(shape) = rfc3339::shape(&registered.text).filter(|shape| shape.decimals <= 6) {
        rfc3339::write(out, registered.at, shape);
        let unit = micros_per_unit(shape.decimals);
        let rebuilt = out.get(start..) == Some(registered.text.as_bytes()) && registered.at.0 % unit == 0;
        out.truncate(start);
        if rebuilt {
            out.push(shape.decimals);
            write_signed(out, shape.offset.map_or(0, |minutes| i64::from(if minutes < 0 { minutes - 1 } else { minutes + 1 })));
            write_signed(out, registered.at.0 / unit);
            return;
        }
    }
    out.push(TIME_AS_TEXT);
    write_text(out, &registered.text);
}

fn write_personnummer(out: &mut Vec<u8>, personnummer: &Personnummer) {
    let number = personnummer.digits().bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    out.extend(number.to_be_bytes().into_iter().skip(3));
}

fn write_registrar(out: &mut Vec<u8>, registrar: &Registrar) {
    let recipient = match &*registrar.kind {
        "akasse" => Akassekode::parse(&registrar.code).ok().map(Recipient::Akasse),
        "kommune" => Kommunekode::parse(&registrar.code).ok().map(Recipient::Kommune),
        _ => None,
    };
    write_code(out, recipient);
    if recipient.is_none() {
        write_text(out, &registrar.kind);
        write_text(out, &registrar.code);
    }
}

fn write_code(out: &mut Vec<u8>, recipient: Option<Recipient>) {
    write_varint(out, recipient.map_or(0, |recipient| u64::from(recipient.to_number()) + 1));
}

fn write_day(out: &mut Vec<u8>, day: Day) {
    write_signed(out, i64::from(day.number()));
}

/// Writes an option: a byte 0, or a byte 1 and the value.
fn write_option<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        write(out, value);
    }
}

fn write_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Other => out.push(0),
        Content::Membership { fund } => {
            out.push(1);
            write_code(out, fund.map(Recipient::Akasse));
        }
        Content::Jobcentre { jobcentre } => {
            out.push(2);
            write_varint(out, jobcentre.map_or(0, |jobcentre| u64::from(jobcentre.number()) + 1));
        }
        Content::Residence { kommune } => {
            out.push(3);
            write_code(out, kommune.map(Recipient::Kommune));
        }
        Content::NumberChange { new } => {
            out.push(4);
            write_option(out, new.as_ref(), write_personnummer);
        }
        Content::Death { on } => {
            out.push(5);
            write_option(out, *on, write_day);
        }
        Content::ContactGroup { group, former } => {
            out.push(6);
            write_option(out, *group, write_signed);
            write_option(out, *former, write_signed);
        }
        Content::Plan { kind, later_version } => {
            out.push(7);
            out.push(match kind {
                None => 0,
                Some(PlanKind::Jobplan) => 1,
                Some(PlanKind::UddannelsesplanMedJobmaal) => 2,
                Some(PlanKind::Uddannelsesplan) => 3,
                Some(PlanKind::AndenPlan) => 4,
            });
            write_option(out, later_version.as_ref(), |out, id| write_id(out, id.as_str()));
        }
        Content::Deletion { area, entity, after_death } => {
            out.push(8);
            out.push(u8::from(*after_death));
            write_text(out, area);
            write_text(out, entity);
        }
        Content::HandedOver { area } => {
            out.push(9);
            write_text(out, area.as_deref().unwrap_or_default());
        }
    }
}
