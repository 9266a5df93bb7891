//! What would be due on a day, and what is blocked by what.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use crate::core::ids::CitizenId;
use crate::core::notices::Unfetched;
use crate::core::records::Records;
use crate::core::retention::{Blocker, Standing, Unexpected, View};
use crate::core::schedule::Schedule;
use crate::core::time::Day;

/// How many citizens one page looks at: the writer does nothing else meanwhile.
pub const DUE_CITIZENS: usize = 256;

/// A record that is due on the day asked about; ordered by day, rule and record.
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
    /// Records of some citizens, by day; perhaps none, though more may follow.
    pub items: Vec<Due>,
    /// How many citizens were looked at.
    pub citizens: usize,
    /// Where the next page begins; `None` after the last.
    pub next: Option<DueCursor>,
}

/// Where a page begins: how far what is due has been listed.
///
/// Whoever has something that is due already comes first, by citizen; then
/// whoever has something to come by the day asked about, by the day on which to
/// look next: nobody else is looked at. Only while that index is not by the rules
/// in force, since they have just changed, everybody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueCursor {
    /// Among those of whom something is due already, after this one.
    Already(Option<CitizenId>),
    /// Among those of whom something is to come, after this one.
    ToCome(Option<(Day, CitizenId)>),
    /// Among all, after this one.
    All(CitizenId),
}

impl DueCursor {
    /// Reads what [`std::fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let citizen = |text: &str| text.parse().ok().map(CitizenId);
        let (kind, rest) = text.split_at_checked(1)?;
        match (kind, rest) {
            ("d", "") => Some(Self::Already(None)),
            ("d", rest) => Some(Self::Already(Some(citizen(rest)?))),
            ("c", "") => Some(Self::ToCome(None)),
            ("c", rest) => {
                let (day, of) = rest.split_once('.')?;
                Some(Self::ToCome(Some((Day::from_number(day.parse().ok()?)?, citizen(of)?))))
            }
            ("a", rest) => Some(Self::All(citizen(rest)?)),
            // Whatever else begins like this was not written here.
            _ => None,
        }
    }
}

impl fmt::Display for DueCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Already(None) => write!(f, "d"),
            Self::Already(Some(citizen)) => write!(f, "d{}", citizen.0),
            Self::ToCome(None) => write!(f, "c"),
            Self::ToCome(Some((day, citizen))) => write!(f, "c{}.{}", day.number(), citizen.0),
            Self::All(citizen) => write!(f, "a{}", citizen.0),
        }
    }
}

/// Returns what would be due on `as_of`, beginning at `after`. What changes between
/// two pages may be seen twice, or not at all.
///
/// # Errors
/// When the store cannot be read.
pub fn due_page<R: Records>(records: &mut R, schedule: &Schedule, as_of: Day, after: Option<DueCursor>) -> Result<DuePage, R::Error> {
    let is_indexed = records.indexed_by()? == Some(schedule.fingerprint());
    let (citizens, next) = match after {
        None if !is_indexed => everybody(records, None)?,
        Some(DueCursor::All(after)) => everybody(records, Some(after))?,
        None | Some(DueCursor::Already(_)) => {
            let after = if let Some(DueCursor::Already(after)) = after { after } else { None };
            let found = records.clocks_due(after, DUE_CITIZENS)?;
            let next = if found.len() < DUE_CITIZENS { DueCursor::ToCome(None) } else { DueCursor::Already(found.last().copied()) };
            (found, Some(next))
        }
        Some(DueCursor::ToCome(after)) => {
            let found = records.clocks_next(as_of, after, DUE_CITIZENS)?;
            let next = found.last().filter(|_| found.len() == DUE_CITIZENS).map(|last| DueCursor::ToCome(Some(*last)));
            (found.into_iter().map(|(_, id)| id).collect(), next)
        }
    };
    let mut items = Vec::new();
    for id in &citizens {
        let (Some(clocks), Some(citizen)) = (records.clocks(*id)?, records.citizen(*id)?) else { continue };
        // A person who is known under several numbers is listed once.
        if clocks.citizen != *id || (clocks.has_due && matches!(after, Some(DueCursor::ToCome(_)))) {
            continue;
        }
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
    items.sort_unstable();
    Ok(DuePage { items, citizens: citizens.len(), next })
}

/// Returns a page of all citizens of whose records something is kept.
fn everybody<R: Records>(records: &mut R, after: Option<CitizenId>) -> Result<(Vec<CitizenId>, Option<DueCursor>), R::Error> {
    let found = records.clocks_page(after, DUE_CITIZENS)?;
    let next = found.last().filter(|_| found.len() == DUE_CITIZENS).map(|last| DueCursor::All(*last));
    Ok((found, next))
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
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::core::citizen::Citizen;
    use crate::core::event::{Change as Happened, Content, Details, Event};
    use crate::core::ids::Personnummer;
    use crate::core::records::Change;
    use crate::core::retention::Clocks;
    use crate::core::samples::{day, event, moment};
    use crate::store::{Durability, MemoryStore};

    fn shipped() -> Schedule {
        crate::config::parse_retention(include_str!("../../retention.toml")).expect("the shipped rules")
    }

    /// So many citizens with a fravær each: of the first seven it is due, and it
    /// keeps the contact group of the first one, which overlaps it.
    fn settled(citizens: usize, schedule: &Schedule) -> MemoryStore {
        let (mut store, now) = (MemoryStore::new(), moment("2026-03-16T08:00:00Z"));
        for at in 0..citizens {
            let number = Personnummer::parse(&format!("010190{at:04}")).expect("a number");
            let id = store.enroll(&number).expect("enrolled");
            let mut clocks = Clocks::new(id);
            let mut record = |entity: &str, period: &str| {
                let told = event(&format!("{entity}-{at}"), 8, Happened::Created, period, Content::Other);
                clocks.record(&Event { entity: entity.into(), ..told }, clocks.citizen, Details::default(), now);
            };
            record("Fravaer", if at < 7 { "2015-01-01..2016-03-16" } else { "2015-01-01..2031-03-16" });
            if at == 0 {
                record("Kontaktgruppe", "2014-01-01..2015-06-01");
            }
            clocks.settle(&Citizen::new(id, number), schedule, day("2026-03-16"));
            store.stage(Change::PutClocks(Arc::new(clocks))).expect("staged");
        }
        store.commit(Durability::Flush);
        store
    }

    /// Every page: what it lists, and how many citizens it takes to look at.
    fn listed(store: &mut MemoryStore, schedule: &Schedule, as_of: &str) -> (BTreeSet<(String, &'static str)>, usize) {
        let (mut after, mut found, mut citizens) = (None, BTreeSet::new(), 0);
        loop {
            let page = due_page(store, schedule, day(as_of), after).expect("never fails");
            citizens += page.citizens;
            for item in page.items {
                assert!(found.insert((item.external_id, item.state)), "listed once");
            }
            after = page.next.map(|next| DueCursor::parse(&next.to_string()).expect("what was written is read"));
            if after.is_none() {
                return (found, citizens);
            }
        }
    }

    #[test]
    fn nobody_is_looked_at_of_whom_nothing_is_due() {
        let schedule = shipped();
        let mut looked_at = Vec::new();
        for citizens in [60, 600] {
            let mut store = settled(citizens, &schedule);
            // Not indexed yet: everybody is looked at, and the answers are the same.
            let before = ["2016-03-16", "2026-03-16", "2036-03-16", "2037-03-17"].map(|as_of| listed(&mut store, &schedule, as_of));
            assert!(before.iter().all(|(_, looked_at)| *looked_at == citizens));
            store.stage(Change::SetIndexed(schedule.fingerprint())).expect("staged");
            store.commit(Durability::Flush);
            let after = ["2016-03-16", "2026-03-16", "2036-03-16", "2037-03-17"].map(|as_of| listed(&mut store, &schedule, as_of));
            assert_eq!(after.each_ref().map(|(found, _)| found), before.each_ref().map(|(found, _)| found));
            assert_eq!(after.each_ref().map(|(found, _)| found.len()), [0, 8, 8, citizens + 1]);
            let blocked = after[1].0.iter().filter(|(_, state)| *state == "blocked").count();
            assert_eq!(blocked, 1, "what waits has no day on which to look, and is listed");
            looked_at.push(after[..3].iter().map(|(_, looked_at)| *looked_at).collect::<Vec<_>>());
            // By other rules than those of the index: everybody again.
            let other = Schedule::new(Vec::new(), schedule.pension_ages().clone(), schedule.pace());
            assert_eq!(listed(&mut store, &other, "2026-03-16").1, citizens);
        }
        assert_eq!(looked_at[0], looked_at[1], "ten times the citizens, and the same are looked at");
    }

    #[test]
    fn cursors_are_read_as_they_were_written() {
        for text in ["", "7", "x7", "c7", "cx.7", "c7.", "a", "d-1", "dæ"] {
            assert_eq!(DueCursor::parse(text), None, "{text}");
        }
    }

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
