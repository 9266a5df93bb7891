//! What would be due on a day, and what is blocked by what.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::ids::CitizenId;
use crate::core::notices::Unfetched;
use crate::core::records::Records;
use crate::core::retention::{Blocker, Standing, Unexpected, View};
use crate::core::schedule::Schedule;
use crate::core::time::Day;

/// How many citizens one page looks at: the writer does nothing else meanwhile.
pub const DUE_CITIZENS: usize = 256;

/// A record that is due on the day asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// Since when.
    pub due: Day,
    /// By which rule.
    pub rule: String,
    /// EntitetNavn.
    pub entity: String,
    /// EksternIdentifier.
    pub external_id: String,
    /// `due`, `blocked` or `ordered`.
    pub state: &'static str,
    /// What it waits for.
    pub blocked_by: Vec<String>,
}

/// A part of what is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuePage {
    /// Records, citizen by citizen; perhaps none, though more may follow.
    pub items: Vec<Due>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<CitizenId>,
}

/// Returns what would be due on `as_of` of the citizens after `after`.
///
/// # Errors
/// When the store cannot be read.
pub fn due_page<R: Records>(records: &mut R, schedule: &Schedule, as_of: Day, after: Option<CitizenId>) -> Result<DuePage, R::Error> {
    let citizens = records.clocks_page(after, DUE_CITIZENS)?;
    let mut items = Vec::new();
    for id in &citizens {
        // The rows of one who turned out to be somebody else went there.
        let (Some(clocks), Some(citizen)) = (records.clocks(*id)?, records.citizen(*id)?) else { continue };
        for item in (View { clocks: &clocks, citizen: &citizen, schedule }).due(as_of) {
            let (state, blockers): (_, &[Blocker]) = match &item.standing {
                Standing::Due => ("due", &[]),
                Standing::Ordered(_) => ("ordered", &[]),
                Standing::Blocked(blockers) => ("blocked", blockers),
            };
            items.push(Due {
                due: item.due,
                rule: item.rule.id.to_string(),
                entity: item.clock.entity.to_string(),
                external_id: item.clock.external_id.as_str().to_owned(),
                state,
                blocked_by: blockers.iter().map(|blocker| blocker.as_str().to_owned()).collect(),
            });
        }
    }
    let next = if citizens.len() < DUE_CITIZENS { None } else { citizens.last().copied() };
    Ok(DuePage { items, next })
}

/// Describes a record that is due.
#[must_use]
pub fn due_json(due: &Due) -> Value {
    json!({
        "rule": due.rule,
        "entity": due.entity,
        "external_id": due.external_id,
        "due": due.due.to_string(),
        "state": due.state,
        "blocked_by": due.blocked_by,
    })
}

/// Describes whose notices lie unfetched.
#[must_use]
pub fn unfetched_json(unfetched: &[Unfetched]) -> Value {
    let item = |of: &Unfetched| {
        json!({
            "recipient": of.recipient.to_string(),
            "since": of.since.to_string(),
            "notices": of.notices,
            "of_former_days": of.of_former_days,
            "reminded_after_days": (of.reminded > 0).then_some(of.reminded),
        })
    };
    json!({ "items": unfetched.iter().map(item).collect::<Vec<_>>() })
}

/// Describes a deletion that the rules did not expect; what leads to the record
/// is empty once its citizen has been erased.
#[must_use]
pub fn unexpected_json(unexpected: &Unexpected) -> Value {
    let record = unexpected.record.as_ref();
    json!({
        "at": unexpected.at.to_string(),
        "area": unexpected.area,
        "entity": unexpected.entity,
        "why": unexpected.why.name(),
        "event_id": record.map(|record| &record.event_id),
        "external_id": record.map(|record| record.external_id.as_str()),
        "due": record.and_then(|record| record.due).map(|due| due.to_string()),
        "blocked_by": record.map(|record| &record.blocked_by[..]).unwrap_or_default(),
    })
}

/// How many records of an area fell or fall due in a month, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Month {
    /// Nothing keeps them.
    pub due: u64,
    /// They wait for something.
    pub blocked: u64,
    /// Their deletion has been ordered.
    pub ordered: u64,
}

/// Counts what is due by month (`2033-01`) and area.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar(pub BTreeMap<(String, String), Month>);

impl Calendar {
    /// Counts one more.
    pub fn add(&mut self, due: &str, rule: &str, state: &str) {
        let month = due.get(..7).unwrap_or(due).to_owned();
        let counts = self.0.entry((month, rule.to_owned())).or_default();
        *match state {
            "blocked" => &mut counts.blocked,
            "ordered" => &mut counts.ordered,
            _ => &mut counts.due,
        } += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calendar_counts_by_month_and_area() {
        let mut calendar = Calendar::default();
        for (due, rule, state) in [
            ("2032-01-31", "joblog", "due"),
            ("2032-01-01", "joblog", "blocked"),
            ("2032-01-01", "fravaer", "due"),
            ("2031-12-31", "joblog", "ordered"),
            ("2032-01-02", "joblog", "due"),
        ] {
            calendar.add(due, rule, state);
        }
        let told: Vec<_> = calendar.0.iter().map(|((month, rule), of)| (&**month, &**rule, of.due, of.blocked, of.ordered)).collect();
        assert_eq!(told, [("2031-12", "joblog", 0, 0, 1), ("2032-01", "fravaer", 1, 0, 0), ("2032-01", "joblog", 2, 1, 0)]);
    }
}
