//! Erasing a citizen on an operator's order: first what would go, then the deed.

use serde_json::{Value, json};

use crate::core::engine::{Engine, Output};
use crate::core::erasure::{Cause, Plan};
use crate::core::ids::{CitizenId, Personnummer, Recipient};
use crate::core::records::{Archive, Change, KeptBeside};
use crate::core::time::Moment;

/// Why nothing was erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError<E: std::error::Error + 'static> {
    /// Nothing is known under the number.
    #[error("nothing is known under this number")]
    Unknown,
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// Everything that would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    plan: Option<Plan>,
    beside: KeptBeside,
}

/// Parses a number as people write it, with or without the hyphen.
#[must_use]
pub fn parse_number(text: &str) -> Option<Personnummer> {
    let text = text.trim();
    let digits = match text.split_once('-') {
        Some((birth, serial)) if birth.len() == 6 => format!("{birth}{serial}"),
        _ => text.to_owned(),
    };
    Personnummer::parse(&digits).ok()
}

/// Says what would go, and removes nothing.
///
/// # Errors
/// When nothing is known under the number, or the store cannot be read.
pub fn erasure<R: Archive>(engine: &Engine, records: &mut R, number: &Personnummer) -> Result<Erasure, EraseError<R::Error>> {
    let citizen = records.find_citizen(number).map_err(EraseError::Store)?;
    let (mut plan, mut beside) = (None, KeptBeside::default());
    if let Some(citizen) = citizen {
        plan = engine.plan_erasure(citizen, records).map_err(EraseError::Store)?;
        beside = records.kept_beside(citizen).map_err(EraseError::Store)?;
    }
    // A message may be about a number that nobody has.
    beside.quarantine.extend(records.quarantined_about(number).map_err(EraseError::Store)?);
    beside.quarantine.sort_unstable();
    beside.quarantine.dedup();
    if plan.is_none() && beside.quarantine.is_empty() {
        return Err(EraseError::Unknown);
    }
    Ok(Erasure { plan, beside })
}

/// Erases. The caller commits and flushes.
///
/// # Errors
/// When nothing is known under the number any more, or the store fails.
pub fn erase<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    number: &Personnummer,
    now: Moment,
    out: &mut Output,
) -> Result<Erasure, EraseError<R::Error>> {
    let erasure = erasure(engine, records, number)?;
    match &erasure.plan {
        Some(plan) => engine.erase(plan, Cause::Order, records, now, out).map_err(EraseError::Store)?,
        // Somebody of whom messages in quarantine are all there is: erased as anybody is, so
        // that no backup brings these back.
        None => {
            let citizen = records.enroll(number).map_err(EraseError::Store)?;
            records.stage(Change::Erase(citizen)).map_err(EraseError::Store)?;
        }
    }
    Ok(erasure)
}

impl Erasure {
    /// Returns the citizen and the former selves, to look for what the journal says of them.
    #[must_use]
    pub fn citizens(&self) -> &[CitizenId] {
        self.plan.as_ref().map_or(&[], |plan| &plan.citizens)
    }

    /// Describes how much goes, without what it is. `trace` is how many events the
    /// journal holds, where somebody has counted.
    #[must_use]
    pub fn to_json(&self, trace: Option<u64>) -> Value {
        let registrations = self.plan.as_ref().map(|plan| plan.registrations).unwrap_or_default();
        let (dead, waiting) = self.plan.as_ref().map(Plan::by_state).unwrap_or_default();
        let untold = self.plan.as_ref().map(Plan::untold).unwrap_or_default();
        let of_each = |(recipient, notices): (&Recipient, &usize)| json!({ "recipient": recipient.to_string(), "notices": notices });
        json!({
            "memberships": registrations.memberships,
            "jobcentres": registrations.jobcentres,
            "residences": registrations.residences,
            "contact_groups": registrations.contact_groups,
            "plans": registrations.plans,
            "deaths": registrations.deaths,
            "numbers": self.beside.numbers,
            "clocks": self.plan.as_ref().map_or(0, |plan| plan.clocks),
            "ledger": self.beside.ledger,
            "waiting": waiting.len(),
            "dead": dead.len(),
            "undelivered_notices": untold.values().sum::<usize>(),
            "untold": untold.iter().map(of_each).collect::<Vec<_>>(),
            "quarantine": self.beside.quarantine.len(),
            "trace": trace,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        let number = Personnummer::parse("0101901234").ok();
        for text in ["0101901234", " 010190-1234\n", "0101901234\r\n"] {
            assert_eq!(parse_number(text), number, "{text:?}");
        }
        for text in ["", "010190123", "01019-01234", "0101901234 0101901234", "abcdefghij"] {
            assert_eq!(parse_number(text), None, "{text:?}");
        }
    }
}
