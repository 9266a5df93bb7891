//! How long which record may live: what `retention.toml` says, after `config`
//! has found nothing wrong with it. Says nothing about any single record; that
//! is `retention`'s business.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event::{Details, Owner};
use super::time::Day;

/// The id of the rule about everything that is left of somebody who has died.
pub const DECEASED: &str = "afdoed";

/// A calendar period: years, months and days, added in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// Years.
    pub years: u16,
    /// Months.
    pub months: u16,
    /// Days.
    pub days: u16,
}

impl Span {
    /// Returns the day on which a period that runs from `day` runs out. Month
    /// ends clip: six months from 31 August run out on the last of February.
    #[must_use]
    pub fn after(self, day: Day) -> Day {
        day.plus_months(u32::from(self.years) * 12 + u32::from(self.months)).plus_days(u32::from(self.days))
    }
}

/// Which day a period runs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Start {
    /// Slutdato.
    End,
    /// The registration of the first event about the record.
    Registered,
    /// `Indhold.SenestOpdateret`, else the registration of the newest event.
    Updated,
    /// `Indhold.Besvaret`.
    Answered,
    /// `Indhold.Afsendt`.
    Sent,
    /// `Indhold.SagAfsluttet`.
    CaseClosed,
    /// The last day of `Indhold.Maaned`.
    MonthEnd,
    /// The day of the citizen's individual pension age.
    PensionAge,
    /// The deletion of the last of `Indhold.Elementer`.
    LastElement,
    /// Doedsdato: for the rule of the dead alone.
    Death,
}

impl Start {
    /// Every start.
    pub const ALL: [Self; 10] = [
        Self::End,
        Self::Registered,
        Self::Updated,
        Self::Answered,
        Self::Sent,
        Self::CaseClosed,
        Self::MonthEnd,
        Self::PensionAge,
        Self::LastElement,
        Self::Death,
    ];

    /// Returns the name in `retention.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Registered => "registered",
            Self::Updated => "updated",
            Self::Answered => "answered",
            Self::Sent => "sent",
            Self::CaseClosed => "case-closed",
            Self::MonthEnd => "month-end",
            Self::PensionAge => "pension-age",
            Self::LastElement => "last-element-deleted",
            Self::Death => "death",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|start| start.name() == text)
    }
}

/// A condition on `Indhold`. All conditions of a rule must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// `Ejer` is this.
    OwnedBy(Owner),
    /// `FravaerTypeId` is one of these.
    AbsenceIn(Vec<i64>),
    /// `FravaerTypeId` is none of these; one that is not told is not.
    AbsenceNotIn(Vec<i64>),
    /// `Virksomhedsrettet` is this.
    WithCompany(bool),
    /// Whether `Besvaret` is told.
    Answered(bool),
}

impl Condition {
    /// Returns whether it holds for what an event told.
    #[must_use]
    pub fn holds(&self, details: &Details) -> bool {
        match self {
            Self::OwnedBy(owner) => details.owner == Some(*owner),
            Self::AbsenceIn(types) => details.absence.is_some_and(|absence| types.contains(&absence)),
            Self::AbsenceNotIn(types) => details.absence.is_none_or(|absence| !types.contains(&absence)),
            Self::WithCompany(with) => details.with_company == Some(*with),
            Self::Answered(answered) => details.answered.is_some() == *answered,
        }
    }
}

/// One deletion rule: one data area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id, which is the data area's name on the wire.
    pub id: Arc<str>,
    /// The data area in words.
    pub area: Box<str>,
    /// The types of the records it covers; none for the rule of the dead, which
    /// covers all of them.
    pub entities: Vec<Arc<str>>,
    /// Which of their records it covers.
    pub when: Vec<Condition>,
    /// Which day the period runs from.
    pub from: Start,
    /// The period.
    pub period: Span,
    /// A record waits for the deletion of every record of these types whose
    /// period shares a day with its own.
    pub overlapping: Vec<Arc<str>>,
    /// The latest version waits while the citizen is in a contact group.
    pub latest_waits_for_group: bool,
    /// A record is ordered only when every older one of the rule is.
    pub oldest_first: bool,
    /// After a death it waits until the area was handed over to Rigsarkivet.
    pub handover: bool,
    /// The type of the notice that follows a deletion, for people to read: who
    /// gets it is in `routing.toml`.
    pub notice: Option<Box<str>>,
    /// Where it is written.
    pub source: Box<str>,
}

impl Rule {
    /// Returns whether it covers a record of which `details` were told.
    #[must_use]
    pub fn covers(&self, details: &Details) -> bool {
        self.when.iter().all(|condition| condition.holds(details))
    }
}

/// The individual pension age by day of birth.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PensionAges {
    /// Born until this day: this age. In order of days.
    until: Vec<(Day, Span)>,
    /// Born later.
    otherwise: Span,
}

impl PensionAges {
    /// Makes the table; the days are put in order.
    #[must_use]
    pub fn new(mut until: Vec<(Day, Span)>, otherwise: Span) -> Self {
        until.sort_unstable();
        Self { until, otherwise }
    }

    /// Returns the day on which somebody reaches the pension age.
    #[must_use]
    pub fn reached_by(&self, born: Day) -> Day {
        let age = self.until.iter().find(|(until, _)| born <= *until).map_or(self.otherwise, |(_, age)| *age);
        age.after(born)
    }
}

/// How deletion orders are paced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// At most so many a second.
    pub per_second: u32,
    /// An order without an answer is overdue after so many days.
    pub overdue_after_days: u16,
}

impl Default for Pace {
    /// 5,000 a second; overdue on the day after the next.
    fn default() -> Self {
        Self { per_second: 5000, overdue_after_days: 1 }
    }
}

/// Everything `retention.toml` says. The default knows no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    rules: Vec<Arc<Rule>>,
    by_entity: BTreeMap<Arc<str>, Vec<Arc<Rule>>>,
    pension_ages: PensionAges,
    pace: Pace,
    fingerprint: u64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(Vec::new(), PensionAges::default(), Pace::default())
    }
}

impl Schedule {
    /// Builds the schedule. Of several rules that cover a record the first counts.
    #[must_use]
    pub fn new(rules: Vec<Rule>, pension_ages: PensionAges, pace: Pace) -> Self {
        let rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        let mut by_entity: BTreeMap<Arc<str>, Vec<Arc<Rule>>> = BTreeMap::new();
        for rule in &rules {
            for entity in &rule.entities {
                by_entity.entry(Arc::clone(entity)).or_default().push(Arc::clone(rule));
            }
        }
        let fingerprint = fingerprint(&rules, &pension_ages);
        Self { rules, by_entity, pension_ages, pace, fingerprint }
    }

    /// Returns every rule, in the order of the file.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// Returns the rule of a data area.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| &*rule.id == id)
    }

    /// Returns the rules of which one may cover a record of this type.
    #[must_use]
    pub fn rules_of(&self, entity: &str) -> &[Arc<Rule>] {
        self.by_entity.get(entity).map_or(&[], Vec::as_slice)
    }

    /// Returns whether any rule names records of this type.
    #[must_use]
    pub fn names(&self, entity: &str) -> bool {
        !self.rules_of(entity).is_empty()
    }

    /// Returns the rule that covers a record, if any.
    #[must_use]
    pub fn rule_for(&self, entity: &str, details: &Details) -> Option<&Arc<Rule>> {
        self.rules_of(entity).iter().find(|rule| rule.covers(details))
    }

    /// Returns the table of pension ages.
    #[must_use]
    pub fn pension_ages(&self) -> &PensionAges {
        &self.pension_ages
    }

    /// Returns how orders are paced.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Returns a number that differs where the schedules do, the same in every
    /// process: what is indexed by one schedule is not by another.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

/// See [`Schedule::fingerprint`].
fn fingerprint(rules: &[Arc<Rule>], pension_ages: &PensionAges) -> u64 {
    let deciding: Vec<_> = rules
        .iter()
        .map(|rule| {
            (
                (&rule.id, &rule.entities, &rule.when, rule.from, rule.period),
                (&rule.overlapping, rule.latest_waits_for_group, rule.oldest_first, rule.handover),
            )
        })
        .collect();
    // FNV-1a: it is compared with itself only, and stable for ever.
    // The number changes when what is stored of records does, so that all of it is gone through once.
    format!("3 {deciding:?} {pension_ages:?}")
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::super::samples::day;
    use super::*;

    #[test]
    fn periods_clip_at_month_ends() {
        let check = |from: &str, (years, months, days): (u16, u16, u16), expected: &str| {
            assert_eq!(Span { years, months, days }.after(day(from)), day(expected), "{from}");
        };
        check("2026-03-16", (6, 0, 0), "2032-03-16");
        check("2024-08-31", (0, 6, 0), "2025-02-28");
        check("2023-08-31", (0, 6, 0), "2024-02-29");
        check("2024-02-29", (6, 0, 0), "2030-02-28");
        check("2024-02-29", (4, 0, 0), "2028-02-29");
        check("2026-03-31", (0, 0, 0), "2026-03-31");
        check("2026-12-31", (0, 2, 1), "2027-03-01");
        check("2026-11-30", (1, 13, 0), "2028-12-30");
        check("2499-12-31", (10, 0, 0), "2499-12-31");
    }
}
