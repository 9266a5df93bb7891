//! What is kept of a citizen's records: pages of clocks, and the rest.

use std::sync::Arc;

use crate::core::event::{Details, Owner};
use crate::core::ids::CitizenId;
use crate::core::retention::{Clock, Element, Handover, Kept, Order, Stamp, Told, Tombstone};
use crate::core::time::Day;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

type Read<T> = Result<T, Undecodable>;

/// The types that rules of the shipped file name, written as their place here
/// plus one. Part of the format: only ever added to, at the end.
const ENTITIES: [&str; 23] = [
    "JoblogDokument",
    "Joblog",
    "AndenLog",
    "Persongruppemarkering",
    "Helbredsbegraensning",
    "Tilmelding",
    "Kontaktgruppe",
    "Personkategori",
    "Dialogbesked",
    "HuskeserviceAbonnement",
    "Fravaer",
    "Samtale",
    "Jobsoegningskrav",
    "Plan",
    "Aktivitet",
    "Integrationskontrakt",
    "MinPlanVersion",
    "BevillingAfYdelse",
    "Efterloensbevis",
    "Dagpengetaeller",
    "Ydelseskort",
    "EoesDagpenge",
    "Feriedagpenge",
];

/// Which of the optional parts of a clock follow.
mod has {
    pub(super) const OWNER: u16 = 1;
    pub(super) const STATE_OWNED: u16 = 1 << 1;
    pub(super) const ABSENCE: u16 = 1 << 2;
    pub(super) const COMPANY: u16 = 1 << 3;
    pub(super) const WITH_COMPANY: u16 = 1 << 4;
    pub(super) const ANSWERED: u16 = 1 << 5;
    pub(super) const SENT: u16 = 1 << 6;
    pub(super) const UPDATED: u16 = 1 << 7;
    pub(super) const CASE_CLOSED: u16 = 1 << 8;
    pub(super) const MONTH_END: u16 = 1 << 9;
    pub(super) const LATER_VERSION: u16 = 1 << 10;
    pub(super) const ELEMENTS: u16 = 1 << 11;
    pub(super) const ELEMENT_GONE: u16 = 1 << 12;
    pub(super) const ORDER: u16 = 1 << 13;
    pub(super) const CONFIRMED: u16 = 1 << 14;
    pub(super) const MORE: u16 = 1 << 15;
}

/// Which of the optional parts of a clock follow that came later.
mod more {
    pub(super) const LATER_VERSION: u8 = 1;
    pub(super) const UNLISTED: u8 = 2;
    pub(super) const NO_START: u8 = 4;
    pub(super) const TOLD_EARLIER: u8 = 8;
    pub(super) const NEVER_TOLD: u8 = 16;
    pub(super) const ALL: u8 = 31;
}

/// What of the clocks is not of one record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::store) struct Rest {
    pub tombstones: Vec<Tombstone>,
    pub handovers: Vec<Handover>,
    pub emptied: bool,
    pub has_retained: bool,
    pub has_due: bool,
    pub owned: bool,
    pub in_eights: bool,
}

/// Appends a page of clocks.
pub(in crate::store) fn encode_clocks(clocks: &[Kept], out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.varint(clocks.len() as u64);
    for clock in clocks {
        put_clock(out, clock);
    }
}

/// Reverses [`encode_clocks`].
pub(in crate::store) fn decode_clocks(under: CitizenId, bytes: &[u8]) -> Read<Vec<Kept>> {
    let input = &mut Input::versioned(bytes, "a page of retention clocks")?;
    let clocks = (0..input.count()?).map(|_| clock(under, input).map(Kept::from)).collect::<Read<_>>()?;
    input.end()?;
    Ok(clocks)
}

/// Stands for the day on which a record was deleted, of one that is another citizen's.
const ANOTHERS: i64 = i32::MIN as i64;

fn deleted(input: &mut Input<'_>) -> Read<Option<Day>> {
    match input.signed()? {
        ANOTHERS => Ok(None),
        number => i32::try_from(number).ok().and_then(Day::from_number).map(Some).ok_or(input.error()),
    }
}

/// Appends what is not of one record.
pub(in crate::store) fn encode_rest(rest: &Rest, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    out.varint(rest.tombstones.len() as u64);
    for tombstone in &rest.tombstones {
        put_entity(out, &tombstone.entity);
        parts::put_external_id(out, &tombstone.external_id);
        put_stamps(out, tombstone.first_at, tombstone.newest);
        out.signed(tombstone.deleted.map_or(ANOTHERS, |day| i64::from(day.number())));
        parts::put_moment(out, tombstone.noted);
    }
    out.varint(rest.handovers.len() as u64);
    for handover in &rest.handovers {
        parts::put_area(out, handover.area.as_deref());
        put_stamp(out, handover.newest);
        out.u8(u8::from(handover.holds));
    }
    let has_ids = rest.handovers.iter().any(|handover| handover.external_id.is_some());
    let flags = [rest.emptied, rest.has_due, rest.owned, rest.has_retained, rest.in_eights, has_ids];
    let flags = flags.iter().rev().fold(0, |all, flag| all << 1 | u8::from(*flag));
    if flags > 0 {
        out.u8(flags);
    }
    for handover in rest.handovers.iter().filter(|_| has_ids) {
        put_option(out, handover.external_id.as_ref(), parts::put_external_id);
    }
}

/// Reverses [`encode_rest`].
pub(in crate::store) fn decode_rest(under: CitizenId, bytes: &[u8]) -> Read<Rest> {
    let input = &mut Input::versioned(bytes, "the rest of retention clocks")?;
    let tombstones = (0..input.count()?)
        .map(|_| {
            let (entity, external_id) = (entity(input)?, parts::external_id(input)?);
            let (first_at, newest) = stamps(input)?;
            Ok(Tombstone { under, entity, external_id, first_at, newest, deleted: deleted(input)?, noted: parts::moment(input)? })
        })
        .collect::<Read<_>>()?;
    let handover = |input: &mut Input<'_>| {
        Ok(Handover { under, external_id: None, area: parts::area(input)?, newest: stamp(input)?, holds: input.flag()? })
    };
    let mut handovers = (0..input.count()?).map(|_| handover(input)).collect::<Read<Vec<_>>>()?;
    let flags = if input.is_empty() { 0 } else { input.u8()? };
    if flags > 63 {
        return input.fail();
    }
    let [emptied, has_due, owned, has_retained, in_eights, has_ids] = [1, 2, 4, 8, 16, 32].map(|flag| flags & flag != 0);
    for handover in handovers.iter_mut().filter(|_| has_ids) {
        handover.external_id = input.option(parts::external_id)?;
    }
    input.end()?;
    Ok(Rest { tombstones, handovers, emptied, has_retained, has_due, owned, in_eights })
}

fn put_clock(out: &mut Vec<u8>, clock: &Clock) {
    let Details { owner, absence, with_company, answered, sent, updated, case_closed, month_end, elements: _, unsaid: _ } = &clock.details;
    let more = [
        (clock.later_version.is_some(), more::LATER_VERSION),
        (!clock.unlisted.is_empty(), more::UNLISTED),
        (!clock.has_start, more::NO_START),
        (matches!(clock.told, Told::Earlier(_)), more::TOLD_EARLIER),
        (clock.told == Told::Never, more::NEVER_TOLD),
    ];
    let more = more.iter().filter(|(present, _)| *present).fold(0, |all, (_, part)| all | part);
    let parts = [
        (owner.is_some(), has::OWNER),
        (*owner == Some(Owner::State), has::STATE_OWNED),
        (absence.is_some(), has::ABSENCE),
        (with_company.is_some(), has::COMPANY),
        (*with_company == Some(true), has::WITH_COMPANY),
        (answered.is_some(), has::ANSWERED),
        (sent.is_some(), has::SENT),
        (updated.is_some(), has::UPDATED),
        (case_closed.is_some(), has::CASE_CLOSED),
        (month_end.is_some(), has::MONTH_END),
        (clock.has_later_version, has::LATER_VERSION),
        (!clock.elements.is_empty(), has::ELEMENTS),
        (clock.element_gone.is_some(), has::ELEMENT_GONE),
        (clock.order.is_some(), has::ORDER),
        (clock.order.is_some_and(|order| order.confirmed), has::CONFIRMED),
        (more > 0, has::MORE),
    ];
    out.u16(parts.iter().filter(|(present, _)| *present).fold(0, |all, (_, part)| all | part));
    put_entity(out, &clock.entity);
    parts::put_external_id(out, &clock.external_id);
    put_stamps(out, clock.first_at, clock.newest);
    parts::put_period(out, clock.period);
    if let Some(absence) = absence {
        out.signed(*absence);
    }
    for day in [answered, sent, updated, case_closed, month_end].into_iter().flatten() {
        parts::put_day(out, *day);
    }
    if !clock.elements.is_empty() {
        put_elements(out, &clock.elements);
    }
    if let Some(day) = clock.element_gone {
        parts::put_day(out, day);
    }
    if let Some(order) = clock.order {
        [order.due, order.first, order.asked].into_iter().for_each(|day| parts::put_day(out, day));
    }
    if more > 0 {
        out.u8(more);
    }
    if let Some(later) = &clock.later_version {
        parts::put_external_id(out, later);
    }
    if !clock.unlisted.is_empty() {
        put_elements(out, &clock.unlisted);
    }
    if let Told::Earlier(by) = clock.told {
        put_stamp(out, by);
    }
}

fn clock(under: CitizenId, input: &mut Input<'_>) -> Read<Clock> {
    let flags = input.u16()?;
    let has = |part| flags & part != 0;
    let (entity, external_id) = (entity(input)?, parts::external_id(input)?);
    let (first_at, newest) = stamps(input)?;
    let period = parts::period(input)?;
    let absence = has(has::ABSENCE).then(|| input.signed()).transpose()?;
    let mut day = |part| if has(part) { parts::day(input).map(Some) } else { Ok(None) };
    let details = Details {
        owner: has(has::OWNER).then_some(if has(has::STATE_OWNED) { Owner::State } else { Owner::Municipal }),
        absence,
        with_company: has(has::COMPANY).then_some(has(has::WITH_COMPANY)),
        answered: day(has::ANSWERED)?,
        sent: day(has::SENT)?,
        updated: day(has::UPDATED)?,
        case_closed: day(has::CASE_CLOSED)?,
        month_end: day(has::MONTH_END)?,
        elements: None,
        unsaid: false,
    };
    let elements = if has(has::ELEMENTS) { elements(input)? } else { Vec::new() };
    let element_gone = if has(has::ELEMENT_GONE) { Some(parts::day(input)?) } else { None };
    let order = if has(has::ORDER) {
        let (due, first, asked) = (parts::day(input)?, parts::day(input)?, parts::day(input)?);
        Some(Order { due, first, asked, confirmed: has(has::CONFIRMED) })
    } else {
        None
    };
    let more = if has(has::MORE) { input.u8()? } else { 0 };
    let is_both = more & (more::TOLD_EARLIER | more::NEVER_TOLD) == more::TOLD_EARLIER | more::NEVER_TOLD;
    if more & !more::ALL != 0 || is_both {
        return input.fail();
    }
    let later_version = if more & more::LATER_VERSION != 0 { Some(parts::external_id(input)?) } else { None };
    let unlisted = if more & more::UNLISTED != 0 { self::elements(input)? } else { Vec::new() };
    let told = match more & (more::TOLD_EARLIER | more::NEVER_TOLD) {
        more::TOLD_EARLIER => Told::Earlier(stamp(input)?),
        more::NEVER_TOLD => Told::Never,
        _ => Told::Newest,
    };
    Ok(Clock {
        under,
        entity,
        external_id,
        first_at,
        newest,
        period,
        has_start: more & more::NO_START == 0,
        details,
        told,
        has_later_version: has(has::LATER_VERSION),
        later_version,
        elements,
        unlisted,
        element_gone,
        order,
    })
}

fn put_elements(out: &mut Vec<u8>, elements: &[Element]) {
    out.varint(elements.len() as u64);
    for element in elements {
        parts::put_external_id(out, &element.external_id);
        put_option(out, element.deleted, parts::put_day);
    }
}

fn elements(input: &mut Input<'_>) -> Read<Vec<Element>> {
    let read = |input: &mut Input<'_>| Ok(Element { external_id: parts::external_id(input)?, deleted: input.option(parts::day)? });
    (0..input.count()?).map(|_| read(input)).collect()
}

fn put_entity(out: &mut Vec<u8>, entity: &str) {
    match ENTITIES.iter().position(|known| *known == entity) {
        Some(at) => out.u8(at as u8 + 1),
        None => {
            out.u8(0);
            out.text(entity);
        }
    }
}

fn entity(input: &mut Input<'_>) -> Read<Arc<str>> {
    match input.u8()?.checked_sub(1) {
        None => input.text(),
        Some(at) => ENTITIES.get(usize::from(at)).map(|name| (*name).into()).ok_or(input.error()),
    }
}

fn put_stamp(out: &mut Vec<u8>, stamp: Stamp) {
    parts::put_moment(out, stamp.at);
    out.u8(stamp.change);
    parts::put_mark(out, &stamp.mark);
}

fn stamp(input: &mut Input<'_>) -> Read<Stamp> {
    Ok(Stamp { at: parts::moment(input)?, change: input.u8()?, mark: parts::mark(input)? })
}

/// Appends the earliest and the newest registration, mostly the same instant.
fn put_stamps(out: &mut Vec<u8>, first_at: crate::core::time::Moment, newest: Stamp) {
    put_stamp(out, newest);
    out.signed(newest.at.0.wrapping_sub(first_at.0));
}

fn stamps(input: &mut Input<'_>) -> Read<(crate::core::time::Moment, Stamp)> {
    let newest = stamp(input)?;
    let before = input.signed()?;
    Ok((crate::core::time::Moment(newest.at.0.wrapping_sub(before)), newest))
}
