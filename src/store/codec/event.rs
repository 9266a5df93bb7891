//! The event inside journal and delivery rows.

use std::sync::Arc;

use crate::core::event::{Change, Content, Event, Registered, Registrar};

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// What nearly every `source` begins with.
const SOURCE: &str = "urn:dk:star:dfdg:";

/// Which of the optional parts follow.
mod has {
    pub(super) const VERSION_ID: u8 = 1;
    pub(super) const REGISTRAR: u8 = 2;
    pub(super) const START: u8 = 4;
    pub(super) const END: u8 = 8;
    pub(super) const BODY: u8 = 16;
    pub(super) const SOURCE_PREFIX: u8 = 32;
    pub(super) const ALL: u8 = 63;
}

/// Appends an event.
pub(super) fn encode_event(event: &Event, out: &mut Vec<u8>) {
    let source = event.source.strip_prefix(SOURCE);
    let parts = [
        (event.version_id.is_some(), has::VERSION_ID),
        (event.registrar.is_some(), has::REGISTRAR),
        (event.start.is_some(), has::START),
        (event.end.is_some(), has::END),
        (event.body.is_some(), has::BODY),
        (source.is_some(), has::SOURCE_PREFIX),
    ];
    out.u8(super::VERSION);
    out.u8(parts.iter().filter(|(present, _)| *present).fold(0, |all, (_, part)| all | part));
    parts::put_mark(out, &event.mark);
    out.text(source.unwrap_or(&event.source));
    out.text(&event.id);
    out.text(&event.entity);
    out.u8(event.change.number());
    parts::put_moment(out, event.registered.at);
    out.text(&event.registered.text);
    parts::put_external_id(out, &event.external_id);
    parts::put_personnummer(out, event.personnummer);
    if let Some(version_id) = &event.version_id {
        out.text(version_id);
    }
    if let Some(registrar) = &event.registrar {
        out.text(&registrar.kind);
        out.text(&registrar.code);
    }
    if let Some(start) = event.start {
        parts::put_day(out, start);
    }
    if let Some(end) = event.end {
        parts::put_day(out, end);
    }
    put_content(out, &event.content);
    if let Some(body) = &event.body {
        out.text(body);
    }
}

/// Reads an event; what follows it is left.
pub(super) fn decode_event(input: &mut Input<'_>) -> Result<Event, Undecodable> {
    input.version()?;
    let flags = input.u8()?;
    if flags & !has::ALL != 0 {
        return input.fail();
    }
    let has = |part| flags & part != 0;
    Ok(Event {
        mark: parts::mark(input)?,
        source: match has(has::SOURCE_PREFIX) {
            true => input.text_with(|rest| Some([SOURCE, rest].concat().into()))?,
            false => input.text()?,
        },
        id: input.text()?,
        entity: input.text::<Arc<str>>()?,
        change: match input.u8()? {
            1 => Change::Created,
            2 => Change::Updated,
            3 => Change::Deleted,
            _ => return input.fail(),
        },
        registered: Registered { at: parts::moment(input)?, text: input.text()? },
        external_id: parts::external_id(input)?,
        personnummer: parts::personnummer(input)?,
        version_id: has(has::VERSION_ID).then(|| input.text()).transpose()?,
        registrar: has(has::REGISTRAR).then(|| Ok(Registrar { kind: input.text()?, code: input.text()? })).transpose()?,
        start: has(has::START).then(|| parts::day(input)).transpose()?,
        end: has(has::END).then(|| parts::day(input)).transpose()?,
        content: content(input)?,
        details: None,
        body: has(has::BODY).then(|| input.text()).transpose()?,
    })
}

fn put_content(out: &mut Vec<u8>, content: &Content) {
    match content {
        Content::Other => out.u8(0),
        Content::Membership { fund } => {
            out.u8(1);
            put_option(out, *fund, parts::put_fund);
        }
        Content::Jobcentre { jobcentre } => {
            out.u8(2);
            put_option(out, *jobcentre, parts::put_jobcentre);
        }
        Content::Residence { kommune } => {
            out.u8(3);
            put_option(out, *kommune, parts::put_kommune);
        }
        Content::NumberChange { new } => {
            out.u8(4);
            put_option(out, *new, parts::put_personnummer);
        }
        Content::Death { on } => {
            out.u8(5);
            put_option(out, *on, parts::put_day);
        }
        Content::ContactGroup { group, former } => {
            out.u8(6);
            put_option(out, *group, |out, group| out.signed(group));
            put_option(out, *former, |out, former| out.signed(former));
        }
        Content::Plan { kind, later_version } => {
            out.u8(7);
            put_option(out, *kind, parts::put_plan_kind);
            put_option(out, later_version.as_ref(), parts::put_external_id);
        }
        Content::Deletion { area, entity, after_death } => {
            out.u8(8);
            out.text(area);
            out.text(entity);
            out.u8(u8::from(*after_death));
        }
        Content::HandedOver { area } => {
            out.u8(9);
            parts::put_area(out, area.as_deref());
        }
    }
}

fn content(input: &mut Input<'_>) -> Result<Content, Undecodable> {
    Ok(match input.u8()? {
        0 => Content::Other,
        1 => Content::Membership { fund: input.option(parts::fund)? },
        2 => Content::Jobcentre { jobcentre: input.option(parts::jobcentre)? },
        3 => Content::Residence { kommune: input.option(parts::kommune)? },
        4 => Content::NumberChange { new: input.option(parts::personnummer)? },
        5 => Content::Death { on: input.option(parts::day)? },
        6 => Content::ContactGroup { group: input.option(Input::signed)?, former: input.option(Input::signed)? },
        7 => Content::Plan { kind: input.option(parts::plan_kind)?, later_version: input.option(parts::external_id)? },
        8 => Content::Deletion { area: input.text()?, entity: input.text()?, after_death: input.flag()? },
        9 => Content::HandedOver { area: parts::area(input)? },
        _ => return input.fail(),
    })
}
