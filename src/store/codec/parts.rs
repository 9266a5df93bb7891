//! The parts that several codecs share. The numbers written for enums are part
//! of the format: never given to another meaning.

use crate::core::event::PlanKind;
use crate::core::ids::{Akassekode, EventMark, ExternalId, Jobcenterkode, Kommunekode, Personnummer, Recipient};
use crate::core::outbox::{Attempt, Because, Earlier, End, Failure, Withdrawal};
use crate::core::policy::{Audience, Audiences, Domain};
use crate::core::time::{Day, Moment, Period};

use super::bytes::{Input, Output, Undecodable};

type Read<T> = Result<T, Undecodable>;

pub(super) fn put_moment(out: &mut Vec<u8>, moment: Moment) {
    out.signed(moment.0);
}

pub(super) fn moment(input: &mut Input<'_>) -> Read<Moment> {
    input.signed().map(Moment)
}

/// The last of its value: nothing more for a copy that was no replay's.
pub(super) fn put_earlier(out: &mut Vec<u8>, earlier: Earlier) {
    put_moment(out, earlier.at);
    if earlier.replay {
        out.u8(1);
    }
}

pub(super) fn earlier(input: &mut Input<'_>) -> Read<Earlier> {
    let (at, replay) = (moment(input)?, !input.is_empty());
    if replay && !input.flag()? {
        return input.fail();
    }
    Ok(Earlier { at, replay })
}

pub(super) fn put_day(out: &mut Vec<u8>, day: Day) {
    out.signed(i64::from(day.number()));
}

pub(super) fn day(input: &mut Input<'_>) -> Read<Day> {
    let number = input.signed()?;
    i32::try_from(number).ok().and_then(Day::from_number).ok_or(input.error())
}

pub(super) fn put_period(out: &mut Vec<u8>, period: Period) {
    put_day(out, period.start());
    put_option(out, period.end(), put_day);
}

pub(super) fn period(input: &mut Input<'_>) -> Read<Period> {
    let start = day(input)?;
    let end = input.option(day)?;
    Period::new(start, end).ok_or(input.error())
}

pub(super) fn put_mark(out: &mut Vec<u8>, mark: &EventMark) {
    out.raw(mark.as_bytes());
}

pub(super) fn mark(input: &mut Input<'_>) -> Read<EventMark> {
    input.array().map(EventMark::from_bytes)
}

/// An area that a recall need not say: none is no letters.
pub(super) fn put_area(out: &mut Vec<u8>, area: Option<&str>) {
    out.text(area.unwrap_or_default());
}

pub(super) fn area(input: &mut Input<'_>) -> Read<Option<Box<str>>> {
    let area: Box<str> = input.text()?;
    Ok(Some(area).filter(|area| !area.is_empty()))
}

pub(super) fn put_external_id(out: &mut Vec<u8>, id: &ExternalId) {
    out.text(id.as_str());
}

pub(super) fn external_id(input: &mut Input<'_>) -> Read<ExternalId> {
    input.text_with(|text| ExternalId::parse(text).ok())
}

pub(super) fn put_personnummer(out: &mut Vec<u8>, personnummer: Personnummer) {
    let number = personnummer.digits().bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    out.varint(number);
}

pub(super) fn personnummer(input: &mut Input<'_>) -> Read<Personnummer> {
    let number = input.varint()?;
    Personnummer::parse(&format!("{number:010}")).map_err(|_| input.error())
}

pub(super) fn put_recipient(out: &mut Vec<u8>, recipient: Recipient) {
    out.u16(recipient.to_number());
}

pub(super) fn recipient(input: &mut Input<'_>) -> Read<Recipient> {
    let number = input.u16()?;
    Recipient::from_number(number).ok_or(input.error())
}

pub(super) fn put_fund(out: &mut Vec<u8>, fund: Akassekode) {
    out.u16(fund.number());
}

pub(super) fn fund(input: &mut Input<'_>) -> Read<Akassekode> {
    let number = input.u16()?;
    Akassekode::parse(&format!("{number:03}")).map_err(|_| input.error())
}

pub(super) fn put_kommune(out: &mut Vec<u8>, kommune: Kommunekode) {
    out.u16(kommune.number());
}

pub(super) fn kommune(input: &mut Input<'_>) -> Read<Kommunekode> {
    let number = input.u16()?;
    Kommunekode::parse(&format!("{number:03}")).map_err(|_| input.error())
}

pub(super) fn put_jobcentre(out: &mut Vec<u8>, jobcentre: Jobcenterkode) {
    out.u32(jobcentre.number());
}

pub(super) fn jobcentre(input: &mut Input<'_>) -> Read<Jobcenterkode> {
    let number = input.u32()?;
    Jobcenterkode::parse(&format!("{number:05}")).map_err(|_| input.error())
}

pub(super) fn put_plan_kind(out: &mut Vec<u8>, kind: PlanKind) {
    out.u8(match kind {
        PlanKind::Jobplan => 0,
        PlanKind::UddannelsesplanMedJobmaal => 1,
        PlanKind::Uddannelsesplan => 2,
        PlanKind::AndenPlan => 3,
    });
}

pub(super) fn plan_kind(input: &mut Input<'_>) -> Read<PlanKind> {
    Ok(match input.u8()? {
        0 => PlanKind::Jobplan,
        1 => PlanKind::UddannelsesplanMedJobmaal,
        2 => PlanKind::Uddannelsesplan,
        3 => PlanKind::AndenPlan,
        _ => return input.fail(),
    })
}

pub(super) fn put_domain(out: &mut Vec<u8>, domain: Domain) {
    out.u8(match domain {
        Domain::Tilknytning => 0,
        Domain::Kontaktforloeb => 1,
        Domain::Fravaer => 2,
        Domain::Plan => 3,
        Domain::Joblog => 4,
        Domain::Ydelse => 5,
        Domain::Gdpr => 6,
    });
}

pub(super) fn domain(input: &mut Input<'_>) -> Read<Domain> {
    one_of(input, &Domain::ALL)
}

pub(super) fn put_audience(out: &mut Vec<u8>, audience: Audience) {
    out.u8(match audience {
        Audience::JobcenterOwnCitizens => 0,
        Audience::KommuneOwnResidents => 1,
        Audience::AkasseOwnMembers => 2,
        Audience::AkasseOfRecord => 3,
        Audience::AkasseSinceFirstPlacement => 4,
        Audience::JobcentersEver => 5,
        Audience::Holders => 6,
        Audience::RegisteringAuthority => 7,
    });
}

pub(super) fn audience(input: &mut Input<'_>) -> Read<Audience> {
    one_of(input, &Audience::ALL)
}

pub(super) fn put_failure(out: &mut Vec<u8>, failure: Failure) {
    out.u8(match failure {
        Failure::Nacked => 0,
        Failure::Returned => 1,
        Failure::Timeout => 2,
        Failure::Connection => 3,
        Failure::Refused => 4,
        Failure::ChannelClosed => 5,
        Failure::Blocked => 6,
        Failure::Unsendable => 7,
    });
}

pub(super) fn failure(input: &mut Input<'_>) -> Read<Failure> {
    one_of(input, &Failure::ALL)
}

pub(super) fn put_end(out: &mut Vec<u8>, end: End) {
    out.u8(match end {
        End::Delivered => 0,
        End::Withdrawn(Withdrawal::MembershipEnded) => 1,
        End::Withdrawn(Withdrawal::RecordDeleted) => 2,
        End::Withdrawn(Withdrawal::SupersededByErasure) => 3,
        End::Withdrawn(Withdrawal::RecipientClosed) => 4,
        End::Withdrawn(Withdrawal::Operator) => 5,
    });
}

pub(super) fn end(input: &mut Input<'_>) -> Read<End> {
    match input.u8()?.checked_sub(1) {
        None => Ok(End::Delivered),
        Some(number) => {
            let why = Withdrawal::ALL.get(usize::from(number));
            why.map(|why| End::Withdrawn(*why)).ok_or(input.error())
        }
    }
}

pub(super) fn put_attempts(out: &mut Vec<u8>, failures: &[Attempt]) {
    out.varint(failures.len() as u64);
    for attempt in failures {
        put_moment(out, attempt.at);
        put_failure(out, attempt.failure);
        out.u16(attempt.code);
    }
}

pub(super) fn attempts(input: &mut Input<'_>) -> Read<Vec<Attempt>> {
    let count = input.count()?;
    (0..count).map(|_| Ok(Attempt { at: moment(input)?, failure: failure(input)?, code: input.u16()? })).collect()
}

pub(super) fn put_registration(out: &mut Vec<u8>, registration: Option<&(ExternalId, Moment)>) {
    put_option(out, registration, |out, (id, at)| {
        put_external_id(out, id);
        put_moment(out, *at);
    });
}

pub(super) fn registration(input: &mut Input<'_>) -> Read<Option<(ExternalId, Moment)>> {
    input.option(|input| Ok((external_id(input)?, moment(input)?)))
}

/// Of the first byte: further rules follow.
const ALSO: u8 = 0x80;

pub(super) fn put_because(out: &mut Vec<u8>, because: &Because) {
    let first = out.len();
    put_audience(out, because.audience);
    if !because.also.is_empty() {
        out[first] |= ALSO;
        out.u8(because.also.bits());
    }
    put_registration(out, because.registration.as_ref());
    put_day(out, because.day);
}

pub(super) fn because(input: &mut Input<'_>) -> Read<Because> {
    let first = input.u8()?;
    let audience = *Audience::ALL.get(usize::from(first & !ALSO)).ok_or(input.error())?;
    let also = Audiences::from_bits(if first & ALSO == 0 { 0 } else { input.u8()? });
    Ok(Because { audience, also, registration: registration(input)?, day: day(input)? })
}

pub(super) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => {
            out.u8(1);
            put(out, value);
        }
        None => out.u8(0),
    }
}

/// Reads a number as the place in a list whose order is part of the format.
fn one_of<T: Copy>(input: &mut Input<'_>, all: &[T]) -> Read<T> {
    let number = input.u8()?;
    all.get(usize::from(number)).copied().ok_or(input.error())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lists that numbers are read by are kept in `core`, where somebody
    /// might sort them: what is written must be read as the same.
    #[test]
    fn numbers_and_lists_agree() {
        fn check<T: Copy + PartialEq + std::fmt::Debug>(
            all: &[T],
            put: impl Fn(&mut Vec<u8>, T),
            read: impl Fn(&mut Input<'_>) -> Read<T>,
        ) {
            for (number, value) in all.iter().enumerate() {
                let mut bytes = Vec::new();
                put(&mut bytes, *value);
                assert_eq!(bytes, [number as u8]);
                assert_eq!(read(&mut Input::new(&bytes, "a number")), Ok(*value));
            }
            assert!(read(&mut Input::new(&[all.len() as u8], "a number")).is_err());
        }
        check(&Domain::ALL, put_domain, domain);
        check(&Audience::ALL, put_audience, audience);
        check(&Failure::ALL, put_failure, failure);
        check(&PlanKind::ALL.map(|(_, kind)| kind), put_plan_kind, plan_kind);
        let ends: Vec<End> = std::iter::once(End::Delivered).chain(Withdrawal::ALL.map(End::Withdrawn)).collect();
        check(&ends, put_end, end);
    }
}
