//! The rules applied to one citizen's clocks: what is due on a day, what blocks
//! it, and when to look again. Everything is computed when asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::birth::born;
use super::clocks::{Clock, Clocks, Order};
use super::kept::Kept;
use crate::core::citizen::Citizen;
use crate::core::ids::ExternalId;
use crate::core::schedule::{DECEASED, Rule, Schedule, Start};
use crate::core::time::Day;

/// What a record that is due waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    /// The deletion of this record.
    Record(ExternalId),
    /// That the area is handed over to Rigsarkivet.
    Rigsarkivet,
    /// The end of the citizen's contact group.
    OpenGroup,
}

impl Blocker {
    /// Returns it as the command line and the API write it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Record(external_id) => external_id.as_str(),
            Self::Rigsarkivet => "rigsarkivet",
            Self::OpenGroup => "open-kontaktgruppe",
        }
    }
}

/// How a record stands that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing keeps it.
    Due,
    /// It waits for these, in order.
    Blocked(Vec<Blocker>),
    /// Its deletion has been ordered.
    Ordered(Order),
}

/// A record that is due on the day asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item<'a> {
    /// By which rule: its data area.
    pub rule: &'a Arc<Rule>,
    /// Its place among the citizen's records.
    pub at: usize,
    /// The record.
    pub clock: &'a Clock,
    /// Since when it is due.
    pub due: Day,
    /// How it stands.
    pub standing: Standing,
}

/// What the rules had expected when DFDG says that it has deleted a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeletionTold {
    /// It was due, and nothing blocked it.
    Expected,
    /// It was not due yet: on this day, or on none that is known.
    Early(Option<Day>),
    /// It was due, and waited for these.
    Blocked(Vec<Blocker>),
    /// Nothing is known of such a record.
    UnknownRecord,
    /// It was due and free, but not of that data area, or not for a death: none is known.
    OtherGround,
}

/// One citizen's clocks beside everything that decides about them.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The clocks.
    pub clocks: &'a Clocks,
    /// Whose they are, as known now.
    pub citizen: &'a Citizen,
    /// The rules.
    pub schedule: &'a Schedule,
}

/// The days that decide about one record.
#[derive(Debug, Clone, Copy)]
struct Days {
    /// When its own rule makes it due.
    own: Option<Day>,
    /// When the death of the citizen does.
    by_death: Option<Day>,
}

/// What decides about one record.
struct Dates<'a> {
    /// The rule that covers it; after a death, else, the rule of the dead.
    rule: &'a Arc<Rule>,
    days: Days,
}

impl Days {
    fn due(&self) -> Option<Day> {
        self.own.into_iter().chain(self.by_death).min()
    }

    fn is_dead(&self, on: Day) -> bool {
        self.by_death.is_some_and(|due| due <= on)
    }
}

impl Clocks {
    /// Brings up to date what depends on the day: orders of records that are not
    /// due any more, due since another day, or blocked, are forgotten, and tombstones that may go; and
    /// whether anything is due, whether the rules name any record, and when to look again, is computed anew. To be
    /// called after every change, before it is stored, by which the store comes to tell whose each record is.
    pub fn settle(&mut self, citizen: &Citizen, schedule: &Schedule, today: Day) {
        self.expire(today);
        self.records.iter_mut().for_each(|clock| clock.look_at(schedule));
        self.has_retained = self.records.iter().any(|clock| clock.is_named(schedule));
        self.emptied &= !self.has_retained;
        if self.records.iter().any(Kept::has_order) {
            let view = View { clocks: self, citizen, schedule };
            let standing = view.due(today).into_iter().filter(|item| matches!(item.standing, Standing::Ordered(_)));
            let ordered: BTreeSet<usize> = standing.map(|item| item.at).collect();
            for (at, clock) in self.records.iter_mut().enumerate() {
                if clock.has_order() && !ordered.contains(&at) {
                    clock.order = None;
                    clock.look_at(schedule);
                }
            }
        }
        let view = View { clocks: self, citizen, schedule };
        let dated = view.dated();
        let due = view.due_of(&dated, today);
        let next = view.next_after(&dated, &due, today);
        (self.has_due, self.next, self.is_current) = (!due.is_empty(), next, true);
    }
}

impl<'a> View<'a> {
    /// Returns the records that are due on `on`, oldest registration first.
    #[must_use]
    pub fn due(&self, on: Day) -> Vec<Item<'a>> {
        self.due_of(&self.dated(), on)
    }

    /// Returns the days of each record that a rule makes due some time, by its place.
    fn dated(&self) -> Vec<(usize, Days)> {
        let lives = self.citizen.died().is_none();
        let days = |clock: &Kept| match clock.own_day(self.schedule).filter(|_| lives) {
            Some(own) => Some(Days { own, by_death: None }),
            None => Some(self.dates(clock)?.days),
        };
        let clocks = self.clocks.records.iter().enumerate();
        clocks.filter_map(|(at, clock)| Some((at, days(clock)?))).filter(|(_, days)| days.due().is_some()).collect()
    }

    fn due_of(&self, dated: &[(usize, Days)], on: Day) -> Vec<Item<'a>> {
        let mut items = Vec::new();
        for (at, days) in dated {
            let (at, clock) = (*at, &*self.clocks.records[*at]);
            let Some(due) = days.due().filter(|due| *due <= on) else { continue };
            let Some(dates) = self.dates(clock) else { continue };
            let blockers = self.blockers(clock, &dates, on);
            let standing = match clock.order {
                _ if !blockers.is_empty() => Standing::Blocked(blockers),
                // One that says another day has been overtaken by a correction.
                Some(order) if order.due == due => Standing::Ordered(order),
                Some(_) | None => Standing::Due,
            };
            items.push(Item { rule: dates.rule, at, clock, due, standing });
        }
        items.sort_by(|a, b| (a.clock.first_at, &a.clock.external_id).cmp(&(b.clock.first_at, &b.clock.external_id)));
        items
    }

    /// Returns the day on which there may next be something to do, today
    /// included: a record falls due, an order is to be published, repeated or
    /// forgotten, a tombstone may go, or the citizen.
    #[must_use]
    pub fn next(&self, today: Day) -> Option<Day> {
        let dated = self.dated();
        self.next_after(&dated, &self.due_of(&dated, today), today)
    }

    fn next_after(&self, dated: &[(usize, Days)], due: &[Item<'_>], today: Day) -> Option<Day> {
        let mut next = self.clocks.next_expiry();
        let mut look = |day: Day| next = Some(next.map_or(day, |next| next.min(day)));
        for (_, days) in dated {
            [days.own, days.by_death].into_iter().flatten().filter(|day| *day > today).for_each(&mut look);
        }
        for item in due {
            match &item.standing {
                Standing::Due => look(today),
                Standing::Ordered(order) if order.confirmed => look(order.asked.next().max(today)),
                Standing::Ordered(_) => look(today),
                Standing::Blocked(blockers) => {
                    if blockers.contains(&Blocker::OpenGroup) {
                        self.out_of_groups_from(today).into_iter().for_each(&mut look);
                    }
                }
            }
        }
        // Nothing is left but the citizen: perhaps there is a day on which nothing
        // is a reason to know them any more.
        if self.clocks.emptied
            && let Some(from) = self.citizen.unneeded_from()
        {
            look(from.max(today));
        }
        next
    }

    /// Returns what the rules had expected of a record that was deleted today.
    #[must_use]
    pub fn expected(&self, entity: &str, external_id: &ExternalId, today: Day) -> DeletionTold {
        let Some(clock) = self.clocks.of_record(entity, external_id) else { return DeletionTold::UnknownRecord };
        if clock.order.is_some() {
            return DeletionTold::Expected;
        }
        let Some(dates) = self.dates(clock) else { return DeletionTold::Early(None) };
        match dates.days.due() {
            Some(due) if due <= today => {}
            // DFDG deletes it with the last of what it refers to (R 8.1).
            Some(due) if dates.rule.from == Start::LastElement && due.previous() <= today => {}
            due => return DeletionTold::Early(due),
        }
        let blockers = self.blockers(clock, &dates, today);
        if blockers.is_empty() { DeletionTold::Expected } else { DeletionTold::Blocked(blockers) }
    }

    /// Returns what the rules had expected of a record that was deleted today, as DFDG says of
    /// which data area, and whether for a death.
    #[must_use]
    pub fn told(&self, entity: &str, external_id: &ExternalId, (area, after_death): (&str, bool), today: Day) -> DeletionTold {
        let of_the_dead = after_death || area == DECEASED;
        let lives = self.citizen.died().is_none();
        let is_of_area = area == DECEASED || self.schedule.rules_of(entity).iter().any(|rule| &*rule.id == area);
        match self.expected(entity, external_id, today) {
            DeletionTold::Expected if (of_the_dead && lives) || !is_of_area => DeletionTold::OtherGround,
            told => told,
        }
    }

    /// Returns the days of a record; `None` where no rule ever makes it due.
    fn dates(&self, clock: &Clock) -> Option<Dates<'a>> {
        let rules = self.schedule.rules_of(&clock.entity);
        // Nobody is told of a data area that is none, after a death neither.
        if rules.is_empty() {
            return None;
        }
        let own_rule = rules.iter().find(|rule| rule.covers(&clock.details));
        let own = own_rule.and_then(|rule| self.runs_from(clock, rule.from).map(|from| rule.period.after(from).next()));
        let died = self.citizen.died();
        if let (Some(rule), None) = (own_rule, died) {
            return Some(Dates { rule, days: Days { own, by_death: None } });
        }
        let deceased = self.schedule.rule(DECEASED);
        let by_death = deceased.zip(died).map(|(rule, died)| rule.period.after(died).next());
        Some(Dates { rule: own_rule.or(deceased)?, days: Days { own, by_death } })
    }

    /// Returns the day that a period runs from, if it runs.
    fn runs_from(&self, clock: &Clock, start: Start) -> Option<Day> {
        match start {
            Start::PensionAge => Some(self.schedule.pension_ages().reached_by(born(&self.citizen.personnummer))),
            Start::Death => self.citizen.died(),
            Start::End
            | Start::Registered
            | Start::Updated
            | Start::Answered
            | Start::Sent
            | Start::CaseClosed
            | Start::MonthEnd
            | Start::LastElement => clock.runs_from(start),
        }
    }

    /// Returns what a record that is due on `on` waits for, in order.
    fn blockers(&self, clock: &Clock, dates: &Dates<'_>, on: Day) -> Vec<Blocker> {
        let rule = dates.rule;
        // The purpose of everything ends with a death: only the archive is waited for (N).
        if dates.days.is_dead(on) {
            // One that no rule covers, for want of what tells the rules of its type apart,
            // may belong to either.
            let others = if &*rule.id == DECEASED { self.schedule.rules_of(&clock.entity) } else { &[] };
            let was_handed_over = |area: &Rule| self.clocks.was_handed_over(&area.id, clock.newest.at);
            let waits = others.iter().chain([rule]).any(|area| area.handover && !was_handed_over(area));
            return if waits { vec![Blocker::Rigsarkivet] } else { Vec::new() };
        }
        let mut blockers = Vec::new();
        if !rule.overlapping.is_empty() {
            let others =
                self.clocks.records.iter().filter(|other| rule.overlapping.contains(&other.entity) && !std::ptr::eq(&***other, clock));
            let overlapping = others.filter(|other| other.may_overlap(clock));
            blockers.extend(overlapping.map(|other| Blocker::Record(other.external_id.clone())));
        }
        if rule.oldest_first {
            let older = self.clocks.records.iter().filter(|other| other.entity == clock.entity && other.first_at < clock.first_at);
            let kept = older.filter(|other| other.order.is_none() && !self.is_due(other, rule, on));
            blockers.extend(kept.map(|other| Blocker::Record(other.external_id.clone())));
        }
        if rule.latest_waits_for_group && !clock.has_later_version && self.is_in_a_group(on) {
            blockers.push(Blocker::OpenGroup);
        }
        blockers.sort_unstable();
        blockers
    }

    /// Returns whether another record of a rule is due on `on`, or not of that rule.
    fn is_due(&self, clock: &Clock, rule: &Arc<Rule>, on: Day) -> bool {
        self.dates(clock).is_none_or(|dates| dates.rule.id != rule.id || dates.days.due().is_some_and(|due| due <= on))
    }

    fn is_in_a_group(&self, on: Day) -> bool {
        self.citizen.contact_groups.standing().any(|(_, claim)| claim.period.covers(on))
    }

    /// Returns the first day, `today` or later, on which the citizen is in no contact group,
    /// if there is one.
    fn out_of_groups_from(&self, today: Day) -> Option<Day> {
        let mut day = today;
        loop {
            let current = self.citizen.contact_groups.standing().filter(|(_, claim)| claim.period.covers(day));
            let ends: Vec<Option<Day>> = current.map(|(_, claim)| claim.period.end()).collect();
            let Some(last) = ends.iter().copied().collect::<Option<Vec<Day>>>()?.into_iter().max() else { return Some(day) };
            day = Some(last.next()).filter(|next| *next > day)?;
        }
    }
}
