//! The rules once more, written separately, slowly and in the plainest way that
//! there is: days are counted one by one, periods are sets of days, and nothing
//! is kept between two questions. Random lives are judged by both.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::citizen::{Citizen, Folded};
use super::super::event::{Change, Content, Details, Event, Owner, PlanKind, Registered};
use super::super::ids::{CitizenId, EventMark, ExternalId, Personnummer};
use super::super::schedule::{PensionAges, Rule, Schedule, Start};
use super::super::time::{Day, Moment};
use super::rules_tests::{rules, schedule};
use super::{Clock, Clocks, Item, Standing, View};

/// Years are counted from here, in days.
const FROM: i32 = -16_000;
const TO: i32 = 40_000;

struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// A day, often one at the end of a month or a leap day.
    fn day(&mut self) -> i32 {
        match self.below(4) {
            0 => number_of(2016 + self.below(12) as i32, 2, 28 + self.below(2) as i32).min(TO),
            1 => {
                let (year, month) = (2014 + self.below(14) as i32, 1 + self.below(12) as i32);
                number_of(year, month, days_in(year, month))
            }
            _ => number_of(2014, 1, 1) + self.below(5000) as i32,
        }
    }
}

fn is_leap(year: i32) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i32, month: i32) -> i32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counted year by year and month by month.
fn number_of(year: i32, month: i32, day: i32) -> i32 {
    let mut number = 0;
    for past in 1970..year {
        number += if is_leap(past) { 366 } else { 365 };
    }
    for coming in year..1970 {
        number -= if is_leap(coming) { 366 } else { 365 };
    }
    for past in 1..month {
        number += days_in(year, past);
    }
    number + day.min(days_in(year, month)) - 1
}

fn date_of(mut number: i32) -> (i32, i32, i32) {
    let mut year = 1970;
    while number < 0 {
        year -= 1;
        number += if is_leap(year) { 366 } else { 365 };
    }
    while number >= if is_leap(year) { 366 } else { 365 } {
        number -= if is_leap(year) { 366 } else { 365 };
        year += 1;
    }
    let mut month = 1;
    while number >= days_in(year, month) {
        number -= days_in(year, month);
        month += 1;
    }
    (year, month, number + 1)
}

/// The day on which a period of so many months runs out.
fn runs_out(from: i32, months: i32) -> i32 {
    let (mut year, mut month, day) = date_of(from);
    for _ in 0..months {
        month += 1;
        if month == 13 {
            (year, month) = (year + 1, 1);
        }
    }
    number_of(year, month, day)
}

/// The day in Copenhagen of an hour of UTC: summer time lasts from the last Sunday
/// of March to that of October, from and until one o'clock UTC.
fn day_of(hour: i32) -> i32 {
    let (year, ..) = date_of(hour.div_euclid(24));
    let begins = |month: i32| {
        let mut day = number_of(year, month, 31);
        // 1970-01-04 was a Sunday.
        while (day - 3) % 7 != 0 {
            day -= 1;
        }
        day * 24 + 1
    };
    let ahead = if begins(3) <= hour && hour < begins(10) { 2 } else { 1 };
    (hour + ahead).div_euclid(24)
}

/// One thing that was registered.
#[derive(Debug, Clone)]
struct Registered1 {
    entity: &'static str,
    record: usize,
    /// The instant, in hours of UTC.
    hour: i32,
    what: What,
    start: Option<i32>,
    end: Option<i32>,
    details: Details,
    later_version: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Told,
    Recalled,
    Deleted,
}

#[derive(Debug, Clone)]
struct Life {
    born: (i32, i32, i32),
    digits: String,
    told: Vec<Registered1>,
    died: Option<i32>,
    handover: Vec<&'static str>,
    /// Which areas, and at which hour.
    handed_over: Vec<(&'static str, i32)>,
    /// Whether `retention.toml` has tallies run from their newest event: only then an
    /// older one can have to stay longer than one that came later.
    tallies_by_update: bool,
}

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

fn id_of(record: usize) -> ExternalId {
    ExternalId::parse(&format!("r{record}")).expect("an id")
}

impl Life {
    fn random(dice: &mut Dice) -> Self {
        let years = [1900 + dice.below(100) as i32, 1950 + dice.below(25) as i32];
        let year = years[dice.below(2)];
        let month = 1 + dice.below(12) as i32;
        let day = if dice.one_in(3) { days_in(year, month) } else { 1 + dice.below(28) as i32 };
        // By the seventh digit: who was born in the second half of the century may have a 4 or a 9.
        let sevenths: &[i32] = if year % 100 >= 37 { &[0, 1, 2, 3, 4, 9] } else { &[0, 1, 2, 3] };
        let seventh = sevenths[dice.below(sevenths.len())];
        let digits = format!("{day:02}{month:02}{:02}{seventh}{:03}", year % 100, dice.below(1000));
        let areas = ["fravaer", "kontaktgruppe", "joblog", "plan"];
        let some = |dice: &mut Dice| areas.into_iter().filter(|_| dice.one_in(3)).collect::<Vec<_>>();
        let mut life = Self {
            born: (year, month, day),
            digits,
            told: Vec::new(),
            died: dice.one_in(4).then(|| dice.day()),
            handover: some(dice),
            handed_over: some(dice).into_iter().map(|area| (area, dice.day() * 24)).collect(),
            tallies_by_update: dice.one_in(3),
        };
        let records = 1 + dice.below(9);
        // Some have a contact group, plans and little else, so that one is the later version of another.
        let has_plans = dice.one_in(6);
        for record in 0..records {
            // The types that wait for one another more often than the others.
            let near = ["Kontaktgruppe", "Personkategori", "Fravaer", "Tilmelding", "MinPlanVersion", "Plan", "Samtale", "Dagpengetaeller"];
            let entity = if has_plans && !dice.one_in(4) {
                if record == 0 { "Kontaktgruppe" } else { "Plan" }
            } else if dice.one_in(2) {
                near[dice.below(near.len())]
            } else {
                ENTITIES[dice.below(ENTITIES.len())]
            };
            life.live(entity, record, records, dice);
        }
        life
    }

    /// A record's registrations, in order of time.
    fn live(&mut self, entity: &'static str, record: usize, records: usize, dice: &mut Dice) {
        let mut hour = dice.day() * 24 + dice.below(24) as i32;
        let times = 1 + dice.below(3);
        let is_told_anew = entity == "MinPlanVersion" && times > 1;
        for _ in 0..times {
            let start = if dice.one_in(6) { None } else { Some(dice.day()) };
            let end = if dice.one_in(3) { None } else { Some(start.unwrap_or(hour / 24) + dice.below(900) as i32) };
            let maybe = |dice: &mut Dice| if dice.one_in(3) { None } else { Day::from_number(dice.day()) };
            let month = Day::from_number(dice.day()).expect("a day").month_end();
            let mut elements: Vec<ExternalId> = (0..records).filter(|_| dice.one_in(3)).map(id_of).collect();
            if is_told_anew && elements.is_empty() {
                elements.push(id_of(dice.below(records)));
            }
            let details = Details {
                owner: [None, Some(Owner::Municipal), Some(Owner::State)][dice.below(3)],
                absence: [None, Some(11), Some(59), Some(68), Some(69)][dice.below(5)],
                with_company: [None, Some(true), Some(false)][dice.below(3)],
                answered: maybe(dice),
                sent: maybe(dice),
                updated: maybe(dice),
                case_closed: maybe(dice),
                month_end: if dice.one_in(3) { None } else { Some(month) },
                // One that says nothing of them leaves them as they are; told in any order, nobody
                // could say which list is meant.
                elements: if !is_told_anew && dice.one_in(4) { None } else { Some(elements) },
                unsaid: false,
            };
            // `Indhold` may be absent.
            let unsaid = !is_told_anew && dice.one_in(5);
            let details = if unsaid { Details { unsaid, ..Details::default() } } else { details };
            let what = if !is_told_anew && dice.one_in(12) { What::Recalled } else { What::Told };
            // Also one that nothing is ever heard of.
            let plans: Vec<usize> = self.told.iter().filter(|told| told.entity == "Plan").map(|told| told.record).collect();
            let later_version = dice.one_in(2).then(|| if plans.is_empty() { 99 } else { plans[dice.below(plans.len())] });
            self.told.push(Registered1 { entity, record, hour, what, start, end, details, later_version });
            hour = (hour / 24 + 1 + dice.below(125) as i32) * 24 + dice.below(24) as i32;
        }
        if dice.one_in(4) {
            let (start, end, details) = (None, None, Details::default());
            self.told.push(Registered1 { entity, record, hour, what: What::Deleted, start, end, details, later_version: None });
        }
    }

    /// The newest registration of each record that is still there.
    fn standing(&self) -> Vec<&Registered1> {
        let records: BTreeSet<usize> = self.told.iter().map(|told| told.record).collect();
        let newest = |record| self.told.iter().filter(|told| told.record == record).max_by_key(|told| told.hour);
        records.into_iter().filter_map(newest).filter(|told| told.what == What::Told).collect()
    }

    fn first_hour(&self, record: usize) -> i32 {
        self.told.iter().filter(|told| told.record == record).map(|told| told.hour).min().expect("registered")
    }

    fn first_day(&self, record: usize) -> i32 {
        day_of(self.first_hour(record))
    }

    /// The days on which a record may have run: from the first of all where it does not say.
    fn days_at_most(told: &Registered1) -> (i32, i32) {
        (told.start.unwrap_or(FROM), told.end.unwrap_or(TO))
    }

    /// The days of a record's period.
    fn days(told: &Registered1) -> (i32, i32) {
        let registered = day_of(told.hour);
        let end = told.end.unwrap_or(TO);
        let start = told.start.unwrap_or(registered.min(end));
        (start, end)
    }

    /// Rule, day since when, and what is waited for.
    fn due(&self, on: i32) -> BTreeSet<(String, usize, i32, Vec<String>)> {
        self.standing().into_iter().filter_map(|told| self.due_of(told, on)).collect()
    }

    fn due_of(&self, told: &Registered1, on: i32) -> Option<(String, usize, i32, Vec<String>)> {
        let own = self.own_rule(told);
        let own_day = own.and_then(|(_, from, months)| from.map(|from| runs_out(from, months) + 1));
        let death = self.died.map(|died| died + 1);
        let rule = own.map(|(rule, ..)| rule).or(death.map(|_| "afdoed"))?;
        let due = [own_day, death].into_iter().flatten().min().filter(|due| *due <= on)?;
        let mut waits = Vec::new();
        if death.is_some_and(|death| death <= on) {
            let was_handed_over = || self.handed_over.iter().any(|(area, hour)| *area == rule && *hour >= told.hour);
            if self.handover.contains(&rule) && !was_handed_over() {
                waits.push("rigsarkivet".to_owned());
            }
            return Some((rule.to_owned(), told.record, due, waits));
        }
        if matches!(told.entity, "Kontaktgruppe" | "Personkategori") {
            let (start, end) = Self::days_at_most(told);
            for other in self.standing() {
                let (from, until) = Self::days_at_most(other);
                let shares_a_day = || (start..=end).any(|day| from <= day && day <= until);
                if other.record != told.record && matches!(other.entity, "Fravaer" | "MinPlanVersion" | "Tilmelding") && shares_a_day() {
                    waits.push(id_of(other.record).as_str().to_owned());
                }
            }
        }
        if told.entity == "Dagpengetaeller" {
            for other in self.standing() {
                let has_to_stay = || match self.own_rule(other) {
                    Some((_, Some(from), months)) => runs_out(from, months) + 1 > on,
                    _ => true,
                };
                if other.entity == told.entity && self.first_hour(other.record) < self.first_hour(told.record) && has_to_stay() {
                    waits.push(id_of(other.record).as_str().to_owned());
                }
            }
        }
        if told.entity == "Plan" && !self.has_later_version(told) {
            let is_open =
                |other: &&Registered1| other.entity == "Kontaktgruppe" && (Self::days(other).0..=Self::days(other).1).any(|day| day == on);
            // A group that DFDG has deleted had ended before.
            let groups: BTreeSet<usize> = self.told.iter().filter(|told| told.entity == "Kontaktgruppe").map(|told| told.record).collect();
            let newest_told =
                |record| self.told.iter().filter(|told| told.record == record && told.what != What::Deleted).max_by_key(|told| told.hour);
            if groups.into_iter().filter_map(newest_told).filter(|told| told.what == What::Told).any(|told| is_open(&told)) {
                waits.push("open-kontaktgruppe".to_owned());
            }
        }
        waits.sort();
        Some((rule.to_owned(), told.record, due, waits))
    }

    /// The rule that covers a record, the day from which it runs, and for how
    /// many months.
    fn own_rule(&self, told: &Registered1) -> Option<(&'static str, Option<i32>, i32)> {
        let details = self.details(told);
        let day = |day: Option<Day>| day.map(Day::number);
        // One without Indhold is an update all the same.
        let updated = day(details.updated).filter(|_| !told.details.unsaid).or(Some(day_of(told.hour)));
        let first = Some(self.first_day(told.record));
        Some(match told.entity {
            "JoblogDokument" => ("joblog-dokument", updated, 48),
            "Joblog" => ("joblog", updated, 72),
            "AndenLog" => ("anden-log", updated, 72),
            "Samtale" => ("samtale", updated, 72),
            "Persongruppemarkering" => match details.owner? {
                Owner::Municipal => ("persongruppemarkering-kommunal", told.end, 6),
                Owner::State => ("persongruppemarkering-statslig", told.end, 72),
            },
            "Helbredsbegraensning" => ("helbredsbegraensning", told.end, 72),
            "Tilmelding" => ("tilmelding", told.end, 72),
            "Kontaktgruppe" => ("kontaktgruppe", told.end, 72),
            "Personkategori" => ("personkategori", told.end, 72),
            "HuskeserviceAbonnement" => ("huskeservice", told.end, 72),
            "Integrationskontrakt" => ("integrationskontrakt", told.end, 72),
            "EoesDagpenge" => ("eoes-dagpenge", told.end, 120),
            "Feriedagpenge" => ("feriedagpenge", told.end, 120),
            "Dialogbesked" if details.answered.is_some() => ("dialogbesked-besvaret", day(details.answered), 72),
            "Dialogbesked" => ("dialogbesked-ubesvaret", day(details.sent), 72),
            "Fravaer" if matches!(details.absence, Some(68 | 69)) => ("fravaer-integration", told.end, 120),
            "Fravaer" => ("fravaer", told.end, 72),
            "Aktivitet" if details.with_company? => ("aktivitet-virksomhedsrettet", told.end, 120),
            "Aktivitet" => ("aktivitet-oevrig", told.end, 72),
            "Jobsoegningskrav" => ("jobsoegningskrav", first, 72),
            "Plan" => ("plan", first, 72),
            "Dagpengetaeller" if self.tallies_by_update => ("dagpengetaeller", updated, 120),
            "Dagpengetaeller" => ("dagpengetaeller", first, 120),
            "BevillingAfYdelse" => ("ky-afgoerelse", day(details.case_closed), 72),
            "Ydelseskort" => ("ydelseskort", day(details.month_end), 120),
            "MinPlanVersion" => ("min-plan-version", self.last_element(told.record, details), 0),
            "Efterloensbevis" => {
                let (year, month, _) = self.born;
                let age = match (year, month) {
                    (..=1953, _) => 65 * 12,
                    (1954, ..=6) => 65 * 12 + 6,
                    (1954, _) => 66 * 12,
                    (1955, ..=6) => 66 * 12 + 6,
                    (..=1962, _) => 67 * 12,
                    (..=1966, _) => 68 * 12,
                    (..=1970, _) => 69 * 12,
                    _ => 70 * 12,
                };
                let (year, month, day) = self.born;
                ("efterloensbevis", Some(runs_out(number_of(year, month, day), age)), 72)
            }
            _ => return None,
        })
    }

    /// What was told of a record last, since it was gone for the last time.
    fn details<'a>(&'a self, newest: &'a Registered1) -> &'a Details {
        let of_record = || self.told.iter().filter(|told| told.record == newest.record && told.hour <= newest.hour);
        let gone = of_record().filter(|told| told.what != What::Told).map(|told| told.hour).max();
        let told = of_record().filter(|told| gone.is_none_or(|gone| gone < told.hour) && !told.details.unsaid);
        told.max_by_key(|told| told.hour).map_or(&newest.details, |told| &told.details)
    }

    /// Whether the plan has a later version: one that it names, unless that is said to be
    /// gone since.
    fn has_later_version(&self, plan: &Registered1) -> bool {
        let Some(later) = plan.later_version else { return false };
        let of_it = self.told.iter().filter(|told| told.record == later && told.entity == "Plan");
        of_it.max_by_key(|told| told.hour).is_none_or(|newest| newest.what == What::Told || newest.hour <= plan.hour)
    }

    /// The day on which something was deleted, or recalled, unless it is there.
    fn gone(&self, element: &ExternalId) -> Option<i32> {
        let about = |told: &&Registered1| id_of(told.record) == *element;
        let newest = self.told.iter().filter(about).max_by_key(|told| told.hour)?;
        (newest.what != What::Told).then(|| day_of(newest.hour))
    }

    /// The latest deletion of an element, once all that are listed are deleted.
    fn last_element(&self, record: usize, details: &Details) -> Option<i32> {
        let elements = details.elements.as_ref().filter(|elements| !elements.is_empty())?;
        let mut last = FROM;
        for element in elements {
            last = last.max(self.gone(element)?);
        }
        let ever = self.told.iter().filter(|told| told.record == record).filter_map(|told| told.details.elements.as_ref()).flatten();
        Some(ever.filter_map(|element| self.gone(element)).fold(last, i32::max))
    }

    /// The same life as the code under test sees it, its events in any order.
    fn folded(&self, dice: &mut Dice) -> (Clocks, Citizen) {
        let mut events: Vec<Event> = self.told.iter().map(Self::event).collect();
        if let Some(died) = self.died {
            let on = Day::from_number(died);
            events.push(event("death", "PersonDoed", 0, Change::Created, Content::Death { on }));
        }
        for (at, (area, hour)) in self.handed_over.iter().enumerate() {
            let content = Content::HandedOver { area: Some((*area).into()) };
            events.push(event(&format!("h{at}"), "RigsarkivAflevering", *hour, Change::Created, content));
        }
        for at in (1..events.len()).rev() {
            events.swap(at, dice.below(at + 1));
        }
        let number = Personnummer::parse(&self.digits).expect("a number");
        let (mut clocks, mut citizen) = (Clocks::new(CitizenId(1)), Citizen::new(CitizenId(1), number));
        for event in &events {
            // A repeat changes nothing.
            for _ in 0..=dice.below(2) {
                match citizen.fold(event) {
                    Folded::Changed | Folded::Unchanged => {}
                }
                match &event.content {
                    Content::Deletion { entity, .. } => clocks.delete(event, clocks.citizen, entity, Moment(0)),
                    Content::HandedOver { area } => clocks.hand_over(event, clocks.citizen, area.as_deref()),
                    Content::Death { .. } => {}
                    _ => clocks.record(event, clocks.citizen, event.details.as_deref().cloned().unwrap_or_default(), Moment(0)),
                }
            }
        }
        (clocks, citizen)
    }

    fn event(told: &Registered1) -> Event {
        let change = if told.what == What::Recalled { Change::Deleted } else { Change::Updated };
        let content = match (told.what, told.entity) {
            (What::Deleted, entity) => Content::Deletion { area: "joblog".into(), entity: entity.into(), after_death: false },
            (_, "Kontaktgruppe") => Content::ContactGroup { group: (told.what == What::Told).then_some(2), former: None },
            (_, "Plan") => {
                Content::Plan { kind: (told.what == What::Told).then_some(PlanKind::Jobplan), later_version: told.later_version.map(id_of) }
            }
            _ => Content::Other,
        };
        let day = |number: Option<i32>| number.and_then(Day::from_number);
        Event {
            start: day(told.start),
            end: day(told.end),
            details: Some(Box::new(told.details.clone())),
            ..event(id_of(told.record).as_str(), told.entity, told.hour, change, content)
        }
    }
}

fn event(record: &str, entity: &str, hour: i32, change: Change, content: Content) -> Event {
    let at = Moment(i64::from(hour) * 3_600_000_000);
    let id = format!("{record} {entity} {hour}");
    Event {
        mark: EventMark::of("urn:test", &id),
        source: "urn:test".into(),
        id: id.into(),
        entity: if matches!(content, Content::Deletion { .. }) { "GdprSletning".into() } else { entity.into() },
        change,
        registered: Registered { at, text: at.to_string().into() },
        external_id: ExternalId::parse(record).expect("an id"),
        version_id: None,
        personnummer: Personnummer::parse("0101901234").expect("a number"),
        registrar: None,
        start: None,
        end: None,
        content,
        details: None,
        body: None,
    }
}

/// The same clocks, as if they had just been read.
fn unknown(clocks: &Clocks) -> Clocks {
    Clocks { records: clocks.records.iter().map(|clock| Clock::clone(clock).into()).collect(), ..clocks.clone() }
}

#[test]
fn random_lives_are_judged_alike() {
    let lives = std::env::var("WSB_LIVES").ok().and_then(|text| text.parse().ok()).unwrap_or(1500);
    let ages: PensionAges = schedule().pension_ages().clone();
    let mut waited = BTreeSet::new();
    let mut fell_due = BTreeSet::new();
    let mut tallies_waited = false;
    for seed in 1..=lives {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        let life = Life::random(&mut dice);
        let from = |rule: &Rule| if life.tallies_by_update && rule.oldest_first { Start::Updated } else { rule.from };
        let with_handover =
            rules().into_iter().map(|rule| Rule { handover: life.handover.contains(&&*rule.id), from: from(&rule), ..rule }).collect();
        let schedule = Schedule::new(with_handover, ages.clone(), Default::default());
        let (clocks, citizen) = life.folded(&mut dice);
        let mut settled = clocks.clone();
        settled.settle(&citizen, &schedule, Day::from_number(TO).expect("a day"));
        let view = View { clocks: &clocks, citizen: &citizen, schedule: &schedule };
        let view_of_settled = View { clocks: &settled, ..view };
        // Around each day on which something falls due, and on some others.
        let mut days: BTreeSet<i32> = life.due(TO).into_iter().flat_map(|(_, _, due, _)| [due - 1, due]).collect();
        days.extend((0..4).map(|_| dice.day() + dice.below(5000) as i32));
        for on in days {
            let Some(day) = Day::from_number(on) else { continue };
            let items = view.due(day);
            let found: BTreeSet<_> = items
                .iter()
                .map(|item| {
                    let waits = match &item.standing {
                        Standing::Blocked(blockers) => blockers.iter().map(|blocker| blocker.as_str().to_owned()).collect(),
                        Standing::Due | Standing::Ordered(_) => Vec::new(),
                    };
                    let record = item.clock.external_id.as_str()[1..].parse().expect("a record of the test");
                    (item.rule.id.to_string(), record, item.due.number(), sorted(waits))
                })
                .collect();
            assert_eq!(found, life.due(on), "seed {seed} on {day}: {life:#?}");
            // What is known of clocks without looking at them says the same.
            let due = |item: &Item<'_>| (item.at, item.due);
            assert!(view_of_settled.due(day).iter().map(due).eq(items.iter().map(due)), "seed {seed} on {day}");
            assert_eq!(view_of_settled.next(day), View { clocks: &unknown(&settled), ..view }.next(day), "seed {seed} on {day}");
            for (rule, _, _, waits) in &found {
                fell_due.insert(rule.clone());
                tallies_waited |= rule == "dagpengetaeller" && !waits.is_empty() && waits[0] != "rigsarkivet";
                waited.extend(
                    waits.iter().map(|wait| if wait.starts_with('r') && wait != "rigsarkivet" { "record".into() } else { wait.clone() }),
                );
            }
            // The day to look at is never after the day on which something changes.
            let next = view.next(day);
            let changes = (on + 1..on + 60).find(|later| fresh(&view, *later) != fresh(&view, on));
            assert!(changes.is_none_or(|changes| next.is_some_and(|next| next.number() <= changes)), "seed {seed} on {day}: {next:?}");
        }
    }
    assert_eq!(waited.into_iter().collect::<Vec<_>>(), ["open-kontaktgruppe", "record", "rigsarkivet"]);
    assert!(tallies_waited, "a tally waited for an older one");
    let all: BTreeSet<String> = rules().iter().map(|rule| Arc::clone(&rule.id).to_string()).collect();
    assert_eq!(fell_due, all, "every rule made something due");
}

/// What is due and not blocked.
fn fresh(view: &View<'_>, on: i32) -> BTreeSet<usize> {
    let Some(day) = Day::from_number(on) else { return BTreeSet::new() };
    view.due(day).iter().filter(|item| item.standing == Standing::Due).map(|item| item.at).collect()
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}
