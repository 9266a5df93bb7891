//! The record of a citizen.

use crate::core::citizen::{Citizen, Claim, Former, History, Plan, Registration, Standing};
use crate::core::ids::CitizenId;
use crate::core::stamp::Stamp;

use super::bytes::{Input, Output, Undecodable};
use super::parts::{self, put_option};

/// Appends a citizen's record without its id, which is in the row's key: what is
/// known under one number.
pub(in crate::store) fn encode_citizen(citizen: &Citizen, out: &mut Vec<u8>) {
    out.u8(super::VERSION);
    parts::put_personnummer(out, citizen.personnummer);
    put_history(out, &citizen.memberships, |out, fund| parts::put_fund(out, *fund));
    put_history(out, &citizen.jobcentres, |out, jobcentre| parts::put_jobcentre(out, *jobcentre));
    put_history(out, &citizen.residences, |out, kommune| parts::put_kommune(out, *kommune));
    put_history(out, &citizen.contact_groups, |out, group| out.signed(*group));
    put_history(out, &citizen.plans, |out, plan| {
        parts::put_plan_kind(out, plan.kind);
        put_option(out, plan.later_version.as_ref(), parts::put_external_id);
    });
    put_history(out, &citizen.deaths, |_, ()| {});
    put_history(out, &citizen.number_changes, |out, new| out.u32(new.0));
    if let Some(day) = citizen.placed_from {
        parts::put_day(out, day);
    }
}

/// Reverses [`encode_citizen`].
pub(in crate::store) fn decode_citizen(id: CitizenId, bytes: &[u8]) -> Result<Citizen, Undecodable> {
    let input = &mut Input::versioned(bytes, "a citizen's record")?;
    let citizen = Citizen {
        id,
        personnummer: parts::personnummer(input)?,
        also: Vec::new(),
        memberships: history(input, parts::fund)?,
        jobcentres: history(input, parts::jobcentre)?,
        residences: history(input, parts::kommune)?,
        contact_groups: history(input, Input::signed)?,
        plans: history(input, |input| Ok(Plan { kind: parts::plan_kind(input)?, later_version: input.option(parts::external_id)? }))?,
        deaths: history(input, |_| Ok(()))?,
        number_changes: history(input, |input| Ok(CitizenId(input.u32()?)))?,
        placed_from: if input.is_empty() { None } else { Some(parts::day(input)?) },
    };
    input.end()?;
    Ok(citizen)
}

fn put_history<T: Clone + PartialEq>(out: &mut Vec<u8>, history: &History<T>, put: impl Fn(&mut Vec<u8>, &T)) {
    let put_claim = |out: &mut Vec<u8>, claim: &Claim<T>| {
        parts::put_period(out, claim.period);
        put(out, &claim.value);
    };
    out.varint(history.registrations().len() as u64);
    for registration in history.registrations() {
        parts::put_external_id(out, &registration.external_id);
        parts::put_moment(out, registration.registered.at);
        parts::put_mark(out, &registration.registered.mark);
        let change = |kind: u8, usual: u8| kind | put_change(registration.registered.change, usual) << CHANGE;
        match &registration.standing {
            Standing::Holds(claim) => {
                out.u8(change(0, CREATED));
                put_claim(out, claim);
            }
            Standing::Recalled(None) => out.u8(change(1, DELETED)),
            Standing::Recalled(Some(former)) => {
                out.u8(change(2, DELETED) | put_change(former.registered.change, CREATED) << FORMER_CHANGE);
                parts::put_moment(out, former.registered.at);
                parts::put_mark(out, &former.registered.mark);
                put_claim(out, &former.claim);
            }
            Standing::Contradicted(claim) => {
                out.u8(change(3, CREATED));
                put_claim(out, claim);
            }
        }
    }
}

/// Aendringstype, where nothing else is noted.
const CREATED: u8 = 1;
const DELETED: u8 = 3;

/// At which bit of the standing the Aendringstype begins, and that of what was said before.
const CHANGE: u8 = 4;
const FORMER_CHANGE: u8 = 6;

/// The Aendringstype in two bits: none is the usual one, or was never noted.
fn put_change(change: u8, usual: u8) -> u8 {
    if change == usual { 0 } else { change & 3 }
}

fn change(bits: u8, usual: u8) -> u8 {
    match bits & 3 {
        0 => usual,
        noted => noted,
    }
}

fn history<'a, T: Clone + PartialEq>(
    input: &mut Input<'a>,
    value: impl Fn(&mut Input<'a>) -> Result<T, Undecodable>,
) -> Result<History<T>, Undecodable> {
    let claim = |input: &mut Input<'a>| Ok(Claim { period: parts::period(input)?, value: value(input)? });
    let registrations = (0..input.count()?)
        .map(|_| {
            let (external_id, at, mark) = (parts::external_id(input)?, parts::moment(input)?, parts::mark(input)?);
            let kind = input.u8()?;
            let (standing, usual) = match kind & 0x0f {
                0 => (Standing::Holds(claim(input)?), CREATED),
                1 => (Standing::Recalled(None), DELETED),
                2 => {
                    let (at, mark) = (parts::moment(input)?, parts::mark(input)?);
                    let registered = Stamp { at, change: change(kind >> FORMER_CHANGE, CREATED), mark };
                    (Standing::Recalled(Some(Former { registered, claim: claim(input)? })), DELETED)
                }
                3 => (Standing::Contradicted(claim(input)?), CREATED),
                _ => return input.fail(),
            };
            Ok(Registration { external_id, registered: Stamp { at, change: change(kind >> CHANGE, usual), mark }, standing })
        })
        .collect::<Result<_, Undecodable>>()?;
    Ok(History::from_registrations(registrations))
}
