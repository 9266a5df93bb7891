//! `Indhold`: what of it deletion rules depend on. Only of types that have a
//! rule; of others the same names may mean something else.

use super::content::{Subject, read};
use super::object::Field;
use super::refusal::{Reason, Refusal};
use crate::core::event::{Details, Owner};
use crate::core::ids::{ExternalId, Malformed};
use crate::core::schedule::{Condition, Rule, Start};
use crate::core::time::{Day, Moment};

/// The most elements that one Min plan-version may have: more would be a
/// mistake, and each is kept.
const MAX_ELEMENTS: usize = 1000;

const EXPECTED_DAY: Malformed = Malformed { expected: "expected a day, YYYY-MM-DD, or a time with an offset" };
const EXPECTED_MONTH: Malformed = Malformed { expected: "expected a month, YYYY-MM" };

impl Subject<'_> {
    /// Reads what the rules of this type's records may depend on. A member that
    /// is malformed is refused if a rule depends on it, and not known otherwise.
    pub(super) fn details(&self, indhold: &Field<'_>) -> Result<Option<Details>, Refusal> {
        let rules = self.rules.schedule().rules_of(&self.message_type.name);
        if rules.is_empty() {
            return Ok(None);
        }
        let told = indhold.json().filter(|json| json.starts_with('{'));
        let json = told.unwrap_or("{}");
        let [owner, absence, company, answered, sent, updated, closed, month, elements] = read(
            json,
            &[
                "data.Indhold.Ejer",
                "data.Indhold.FravaerTypeId",
                "data.Indhold.Virksomhedsrettet",
                "data.Indhold.Besvaret",
                "data.Indhold.Afsendt",
                "data.Indhold.SenestOpdateret",
                "data.Indhold.SagAfsluttet",
                "data.Indhold.Maaned",
                "data.Indhold.Elementer",
            ],
        )?;
        let uses = |condition: fn(&Condition) -> bool| rules.iter().any(|rule| rule.when.iter().any(condition));
        let from = |start| rules.iter().any(|rule: &std::sync::Arc<Rule>| rule.from == start);
        let day = |field: &Field<'_>, is_used| kept(field.parsed(Reason::MalformedField, day_or_time), is_used);
        Ok(Some(Details {
            owner: kept(
                owner.parsed(Reason::MalformedCode, |text| {
                    Owner::parse(text).ok_or(Malformed { expected: "expected kommunal or statslig" })
                }),
                uses(|condition| matches!(condition, Condition::OwnedBy(_))),
            )?,
            absence: kept(
                absence.integer(Reason::MalformedCode, "expected a whole number"),
                uses(|condition| matches!(condition, Condition::AbsenceIn(_) | Condition::AbsenceNotIn(_))),
            )?,
            with_company: kept(flag(&company), uses(|condition| matches!(condition, Condition::WithCompany(_))))?,
            answered: day(&answered, from(Start::Answered) || uses(|condition| matches!(condition, Condition::Answered(_))))?,
            sent: day(&sent, from(Start::Sent))?,
            updated: day(&updated, from(Start::Updated))?,
            case_closed: day(&closed, from(Start::CaseClosed))?,
            month_end: kept(month.parsed(Reason::MalformedField, month_end), from(Start::MonthEnd))?,
            elements: kept(records(&elements), from(Start::LastElement))?,
            unsaid: told.is_none(),
        }))
    }
}

/// Returns what was read; of a member that no rule depends on nothing when it
/// is malformed.
fn kept<T>(read: Result<Option<T>, Refusal>, is_used: bool) -> Result<Option<T>, Refusal> {
    if is_used { read } else { Ok(read.unwrap_or(None)) }
}

/// A time counts as its day in Copenhagen.
fn day_or_time(text: &str) -> Result<Day, Malformed> {
    Day::parse(text).or_else(|_| Moment::parse(text).map(Day::in_copenhagen)).map_err(|_| EXPECTED_DAY)
}

fn month_end(text: &str) -> Result<Day, Malformed> {
    Day::parse(&format!("{text}-01")).map(Day::month_end).map_err(|_| EXPECTED_MONTH)
}

fn flag(field: &Field<'_>) -> Result<Option<bool>, Refusal> {
    match field.json() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(field.refuse(Reason::MalformedField, "expected true or false")),
    }
}

/// Reads a list of external ids; one that stands there twice counts once.
fn records(field: &Field<'_>) -> Result<Option<Vec<ExternalId>>, Refusal> {
    const EXPECTED: &str = "expected a list of external ids, at most 1000";
    let Some(json) = field.json() else { return Ok(None) };
    let texts: Vec<String> = serde_json::from_str(json).map_err(|_| field.refuse(Reason::MalformedField, EXPECTED))?;
    if texts.len() > MAX_ELEMENTS {
        return Err(field.refuse(Reason::MalformedField, EXPECTED));
    }
    let parsed = texts.iter().map(|text| ExternalId::parse(text)).collect::<Result<Vec<_>, _>>();
    let mut ids = parsed.map_err(|_| field.refuse(Reason::MalformedField, EXPECTED))?;
    ids.sort_unstable();
    ids.dedup();
    Ok(Some(ids))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::parse_event;
    use super::super::samples::{message_type, rules, sample};
    use crate::core::policy::{Domain, Payload, RecipientRule, RetryPolicy, Rules};
    use crate::core::retention::tested_rules;
    use crate::core::schedule::{Pace, PensionAges, Schedule};

    #[test]
    fn an_absent_indhold_is_told_from_an_empty_one() {
        let types = vec![message_type("Fravaer", 1, Domain::Fravaer, Payload::IdOnly)];
        let recipients = rules().recipients().map(|known| RecipientRule::clone(known)).collect();
        let schedule = Schedule::new(tested_rules(), PensionAges::default(), Pace::default());
        let rules = Rules::new(types, recipients, RetryPolicy::default()).with_schedule(Arc::new(schedule));
        let absent = sample("Fravaer", 2, "{}").replace(r#", "Indhold": {}"#, "");
        let told = [
            (absent, None, true),
            (sample("Fravaer", 2, "null"), None, true),
            (sample("Fravaer", 2, "{}"), None, false),
            (sample("Fravaer", 2, r#"{"FravaerTypeId": 68}"#), Some(68), false),
        ];
        for (json, absence, unsaid) in told {
            let details = parse_event(json.as_bytes(), &rules).expect("an event").details.expect("details");
            assert_eq!((details.absence, details.unsaid), (absence, unsaid), "{json}");
        }
    }
}
