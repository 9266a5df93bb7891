//! The record of a citizen.

use crate::core::citizen::{Citizen, Claim, Former, History, Plan, Registration, Standing};
use crate::core::ids::CitizenId;

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
        parts::put_moment(out, registration.registered_at);
        parts::put_mark(out, &registration.mark);
        match &registration.standing {
            Standing::Holds(claim) => {
                out.u8(0);
                put_claim(out, claim);
            }
            Standing::Recalled(None) => out.u8(1),
            Standing::Recalled(Some(former)) => {
                out.u8(2);
                parts::put_moment(out, former.registered.0);
                parts::put_mark(out, &former.registered.1);
                put_claim(out, &former.claim);
            }
        }
    }
}

fn history<'a, T: Clone + PartialEq>(
    input: &mut Input<'a>,
    value: impl Fn(&mut Input<'a>) -> Result<T, Undecodable>,
) -> Result<History<T>, Undecodable> {
    let claim = |input: &mut Input<'a>| Ok(Claim { period: parts::period(input)?, value: value(input)? });
    let registrations = (0..input.count()?)
        .map(|_| {
            Ok(Registration {
                external_id: parts::external_id(input)?,
                registered_at: parts::moment(input)?,
                mark: parts::mark(input)?,
                standing: match input.u8()? {
                    0 => Standing::Holds(claim(input)?),
                    1 => Standing::Recalled(None),
                    2 => {
                        let registered = (parts::moment(input)?, parts::mark(input)?);
                        Standing::Recalled(Some(Former { registered, claim: claim(input)? }))
                    }
                    _ => return input.fail(),
                },
            })
        })
        .collect::<Result<_, Undecodable>>()?;
    Ok(History::from_registrations(registrations))
}
