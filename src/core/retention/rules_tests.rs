//! Every rule on both sides of its day, written from the two source documents:
//! N is the newsletter on release 2025-4, R the release note of March 2026.
//!
//! The rules are those of the shipped `retention.toml`, read once here by a
//! reader of the tests' own: what `config` makes of the file is its business.

use std::sync::Arc;

use super::super::citizen::{Citizen, Folded};
use super::super::event::{Change, Content, Details, Event, Owner, PlanKind};
use super::super::ids::CitizenId;
use super::super::samples::{day, event, external, group, moment, number, orders};
use super::super::schedule::{Condition, Pace, PensionAges, Rule, Schedule, Span, Start};
use super::super::time::{Day, Moment, Period};
use super::{Blocker, Clocks, DeletionTold, Item, Order, Standing, View};

/// Rules as the sources have them.
pub(super) fn schedule() -> Schedule {
    Schedule::new(rules(), ages(), Pace::default())
}

fn ages() -> PensionAges {
    let age = |years, months| Span { years, months, days: 0 };
    let until = [
        ("1953-12-31", age(65, 0)),
        ("1954-06-30", age(65, 6)),
        ("1954-12-31", age(66, 0)),
        ("1955-06-30", age(66, 6)),
        ("1962-12-31", age(67, 0)),
        ("1966-12-31", age(68, 0)),
        ("1970-12-31", age(69, 0)),
    ];
    PensionAges::new(until.map(|(until, age)| (day(until), age)).to_vec(), age(70, 0))
}

fn rule(id: &str, entity: &str, from: Start, (years, months): (u16, u16), when: Vec<Condition>) -> Rule {
    Rule {
        id: id.into(),
        area: id.into(),
        entities: if entity.is_empty() { Vec::new() } else { vec![entity.into()] },
        when,
        from,
        period: Span { years, months, days: 0 },
        overlapping: Vec::new(),
        latest_waits_for_group: false,
        oldest_first: false,
        handover: false,
        notice: None,
        source: "made for the tests".into(),
    }
}

/// The rules that everything here is tested with; the shipped ones decide the same
/// (`config::retention_tests`).
pub(crate) fn rules() -> Vec<Rule> {
    let six = (6, 0);
    let ten = (10, 0);
    let overlapping: Vec<Arc<str>> = ["Fravaer", "MinPlanVersion", "Tilmelding"].map(Arc::from).to_vec();
    let absences = || vec![68, 69];
    vec![
        rule("joblog-dokument", "JoblogDokument", Start::Updated, (4, 0), vec![]),
        rule("joblog", "Joblog", Start::Updated, six, vec![]),
        rule("anden-log", "AndenLog", Start::Updated, six, vec![]),
        rule("persongruppemarkering-kommunal", "Persongruppemarkering", Start::End, (0, 6), vec![Condition::OwnedBy(Owner::Municipal)]),
        rule("persongruppemarkering-statslig", "Persongruppemarkering", Start::End, six, vec![Condition::OwnedBy(Owner::State)]),
        rule("helbredsbegraensning", "Helbredsbegraensning", Start::End, six, vec![]),
        rule("afdoed", "", Start::Death, (0, 0), vec![]),
        rule("tilmelding", "Tilmelding", Start::End, six, vec![]),
        rule("efterloensbevis", "Efterloensbevis", Start::PensionAge, six, vec![]),
        rule("dialogbesked-besvaret", "Dialogbesked", Start::Answered, six, vec![Condition::Answered(true)]),
        rule("dialogbesked-ubesvaret", "Dialogbesked", Start::Sent, six, vec![Condition::Answered(false)]),
        rule("ky-afgoerelse", "BevillingAfYdelse", Start::CaseClosed, six, vec![]),
        rule("fravaer", "Fravaer", Start::End, six, vec![Condition::AbsenceNotIn(absences())]),
        rule("fravaer-integration", "Fravaer", Start::End, ten, vec![Condition::AbsenceIn(absences())]),
        Rule { overlapping: overlapping.clone(), ..rule("kontaktgruppe", "Kontaktgruppe", Start::End, six, vec![]) },
        Rule { overlapping, ..rule("personkategori", "Personkategori", Start::End, six, vec![]) },
        rule("samtale", "Samtale", Start::Updated, six, vec![]),
        rule("jobsoegningskrav", "Jobsoegningskrav", Start::Registered, six, vec![]),
        rule("aktivitet-virksomhedsrettet", "Aktivitet", Start::End, ten, vec![Condition::WithCompany(true)]),
        rule("aktivitet-oevrig", "Aktivitet", Start::End, six, vec![Condition::WithCompany(false)]),
        Rule { latest_waits_for_group: true, ..rule("plan", "Plan", Start::Registered, six, vec![]) },
        rule("integrationskontrakt", "Integrationskontrakt", Start::End, six, vec![]),
        rule("min-plan-version", "MinPlanVersion", Start::LastElement, (0, 0), vec![]),
        rule("huskeservice", "HuskeserviceAbonnement", Start::End, six, vec![]),
        Rule { oldest_first: true, ..rule("dagpengetaeller", "Dagpengetaeller", Start::Registered, ten, vec![]) },
        rule("ydelseskort", "Ydelseskort", Start::MonthEnd, ten, vec![]),
        rule("eoes-dagpenge", "EoesDagpenge", Start::End, ten, vec![]),
        rule("feriedagpenge", "Feriedagpenge", Start::End, ten, vec![]),
    ]
}

/// A citizen whose records events tell of.
#[derive(Clone)]
struct Life {
    citizen: Citizen,
    clocks: Clocks,
    schedule: Schedule,
}

impl Life {
    fn of(events: &[Event]) -> Self {
        let mut life =
            Self { citizen: Citizen::new(CitizenId(1), number("0101901234")), clocks: Clocks::new(CitizenId(1)), schedule: schedule() };
        events.iter().for_each(|event| life.take_in(event));
        life
    }

    fn take_in(&mut self, event: &Event) {
        match self.citizen.fold(event) {
            Folded::Changed | Folded::Unchanged => {}
        }
        match &event.content {
            Content::Deletion { entity, .. } => self.clocks.delete(event, self.clocks.citizen, entity, event.registered.at),
            Content::HandedOver { area } => self.clocks.hand_over(event, self.clocks.citizen, area.as_deref()),
            Content::Death { .. } => {}
            Content::Membership { .. }
            | Content::Jobcentre { .. }
            | Content::Residence { .. }
            | Content::NumberChange { .. }
            | Content::ContactGroup { .. }
            | Content::Plan { .. }
            | Content::Other => {
                let details = event.details.as_deref().cloned().unwrap_or_default();
                self.clocks.record(event, self.clocks.citizen, details, event.registered.at);
            }
        }
        self.clocks.settle(&self.citizen, &self.schedule, Day::in_copenhagen(event.registered.at));
    }

    fn view(&self) -> View<'_> {
        View { clocks: &self.clocks, citizen: &self.citizen, schedule: &self.schedule }
    }

    /// What is due, one word for each: rule and record, and what it waits for.
    fn due(&self, on: &str) -> Vec<String> {
        self.view().due(day(on)).iter().map(told).collect()
    }
}

fn told(item: &Item<'_>) -> String {
    let waits = match &item.standing {
        Standing::Due => String::new(),
        Standing::Ordered(_) => " ordered".to_owned(),
        Standing::Blocked(blockers) => blockers.iter().map(|blocker| format!(" <{}", blocker.as_str())).collect(),
    };
    format!("{} {}{waits}", item.rule.id, item.clock.external_id.as_str())
}

fn of(entity: &str, event: Event) -> Event {
    Event { entity: entity.into(), ..event }
}

fn with(details: Details, event: Event) -> Event {
    Event { details: Some(Box::new(details)), ..event }
}

fn at(time: &str, event: Event) -> Event {
    let at = moment(time);
    Event { registered: super::super::event::Registered { at, text: time.into() }, ..event }
}

/// A record of a type with that period, registered on 16 March 2026.
fn record(entity: &str, id: &str, period: &str) -> Event {
    of(entity, event(id, 8, Change::Created, period, Content::Other))
}

fn plan(id: &str, later: Option<&str>) -> Event {
    let content = Content::Plan { kind: Some(PlanKind::Jobplan), later_version: later.map(external) };
    event(id, 8, Change::Created, "2026-01-01..", content)
}

fn deletion(entity: &str, id: &str, time: &str) -> Event {
    let content = Content::Deletion { area: "joblog".into(), entity: entity.into(), after_death: false };
    at(time, event(id, 9, Change::Created, "..", content))
}

fn died(on: &str) -> Event {
    event("death", 9, Change::Created, "..", Content::Death { on: Some(day(on)) })
}

/// Nothing is due the day before, and the rule makes the record due on its day.
#[track_caller]
fn check(events: &[Event], rule: &str, due: &str) {
    let mut life = Life::of(events);
    life.clocks.tombstones.clear();
    assert_eq!(life.view().due(day(due).previous()), [], "the day before {due}");
    let items = life.view().due(day(due));
    let found: Vec<(&str, Day)> = items.iter().map(|item| (&*item.rule.id, item.due)).collect();
    assert_eq!(found, [(rule, day(due))]);
    assert_eq!(items[0].standing, Standing::Due, "of {rule}");
    let next = life.view().next(day(due).previous());
    assert_eq!(next, Some(day(due)), "the day to look at");
}

#[track_caller]
fn never(events: &[Event]) {
    assert_eq!(Life::of(events).due("2499-12-30"), [""; 0]);
}

/// N, Joblog: documents and optional data "4 år efter seneste opdatering",
/// joblog and anden log "6 år efter seneste opdatering".
#[test]
fn joblog() {
    let told = |updated: &str| Details { updated: Some(day(updated)), ..Details::default() };
    for (entity, rule, due) in
        [("JoblogDokument", "joblog-dokument", "2030-03-17"), ("Joblog", "joblog", "2032-03-17"), ("AndenLog", "anden-log", "2032-03-17")]
    {
        check(&[record(entity, "a", "..")], rule, due);
        check(&[record(entity, "a", "2020-01-01..2020-02-01")], rule, due);
        // What it says of itself goes before when it came.
        let due = due.replace("03-17", "02-06");
        check(&[with(told("2026-02-05"), record(entity, "a", ".."))], rule, &due);
    }
    // The newest event counts, in whatever order they come.
    let later = of("Joblog", event("a", 20, Change::Updated, "..", Content::Other));
    let later = at("2026-03-20T08:00:00Z", later);
    check(&[record("Joblog", "a", ".."), later.clone()], "joblog", "2032-03-21");
    check(&[later, record("Joblog", "a", "..")], "joblog", "2032-03-21");
    // A time counts as its day in Copenhagen.
    check(&[at("2026-03-16T22:59:59Z", record("Joblog", "a", ".."))], "joblog", "2032-03-17");
    check(&[at("2026-03-16T23:00:00Z", record("Joblog", "a", ".."))], "joblog", "2032-03-18");
    check(&[at("2026-07-16T22:00:00Z", record("Joblog", "a", ".."))], "joblog", "2032-07-18");
    check(&[at("2024-02-29T12:00:00Z", record("JoblogDokument", "a", ".."))], "joblog-dokument", "2028-03-01");
    check(&[at("2024-02-29T12:00:00Z", record("Joblog", "a", ".."))], "joblog", "2030-03-01");
}

/// N, Persongruppemarkeringer: kommunale "6 måneder efter deres slutdato",
/// statslige "6 år efter deres slutdato".
#[test]
fn persongruppemarkering() {
    let owned = |owner| Details { owner: Some(owner), ..Details::default() };
    let marked = |period: &str, owner| with(owned(owner), record("Persongruppemarkering", "a", period));
    check(&[marked("2020-01-01..2026-03-16", Owner::Municipal)], "persongruppemarkering-kommunal", "2026-09-17");
    check(&[marked("2020-01-01..2024-08-31", Owner::Municipal)], "persongruppemarkering-kommunal", "2025-03-01");
    check(&[marked("2020-01-01..2023-08-31", Owner::Municipal)], "persongruppemarkering-kommunal", "2024-03-01");
    check(&[marked("2020-01-01..2026-03-16", Owner::State)], "persongruppemarkering-statslig", "2032-03-17");
    never(&[marked("2020-01-01..", Owner::State)]);
    never(&[record("Persongruppemarkering", "a", "2020-01-01..2026-03-16")]);
}

/// What ends, and is kept so long after its Slutdato. N, Helbredsmæssige
/// begrænsninger and Til- og afmelding: 6 years. R 8.1: kontaktgruppe,
/// personkategori, integrationskontrakt, huskeservice 6 years; EØS-dagpenge and
/// feriedagpenge 10.
#[test]
fn after_the_end() {
    for (entity, rule, due) in [
        ("Helbredsbegraensning", "helbredsbegraensning", "2032-03-17"),
        ("Tilmelding", "tilmelding", "2032-03-17"),
        ("Kontaktgruppe", "kontaktgruppe", "2032-03-17"),
        ("Personkategori", "personkategori", "2032-03-17"),
        ("Integrationskontrakt", "integrationskontrakt", "2032-03-17"),
        ("HuskeserviceAbonnement", "huskeservice", "2032-03-17"),
        ("EoesDagpenge", "eoes-dagpenge", "2036-03-17"),
        ("Feriedagpenge", "feriedagpenge", "2036-03-17"),
    ] {
        check(&[record(entity, "a", "2020-01-01..2026-03-16")], rule, due);
        never(&[record(entity, "a", "2020-01-01..")]);
        // The end is corrected.
        let mut corrected = record(entity, "a", "2020-01-01..2026-03-26");
        corrected = at("2026-03-30T08:00:00Z", corrected);
        check(&[record(entity, "a", "2020-01-01..2026-03-16"), corrected.clone()], rule, &due.replace("-17", "-27"));
        check(&[corrected, record(entity, "a", "2020-01-01..2026-03-16")], rule, &due.replace("-17", "-27"));
    }
    check(&[record("Tilmelding", "a", "2020-01-01..2024-02-29")], "tilmelding", "2030-03-01");
}

/// N, Efterlønsbevis: "6 år efter den enkelte persons individuelle
/// folkepensionsalder".
#[test]
fn efterloensbevis() {
    let check = |digits: &str, due: &str| {
        let mut life = Life::of(&[record("Efterloensbevis", "a", "..")]);
        life.citizen.personnummer = number(digits);
        assert_eq!(life.due(&day(due).previous().to_string()), [""; 0], "{digits}, the day before {due}");
        assert_eq!(life.due(due), ["efterloensbevis a"], "{digits} on {due}");
    };
    check("3112531234", "2025-01-01"); // 65 on 31 December 2018
    check("0101541234", "2025-07-02"); // 65½ on 1 July 2019
    check("3006541234", "2025-12-31"); // 65½ on 30 December 2019
    check("0107541234", "2026-07-02"); // 66
    check("3112541234", "2027-01-01");
    check("0101551234", "2027-07-02"); // 66½
    check("3006551234", "2027-12-31");
    check("0107551234", "2028-07-02"); // 67
    check("3112621234", "2036-01-01");
    check("0101631234", "2037-01-02"); // 68
    check("3112661234", "2041-01-01");
    check("0101671234", "2042-01-02"); // 69
    check("3112701234", "2046-01-01");
    check("0101711234", "2047-01-02"); // 70
    check("2902041234", "1975-03-01"); // 1904 was a leap year, 1969 and 1975 were not
    check("0101019234", "2077-01-02"); // 2001, by its seventh digit
    // A half year from the end of August ends with February.
    check("3108541234", "2026-09-01");
    check("3103541234", "2025-10-01"); // 65½ on 30 September 2019
}

/// N, Dialogmodulbeskeder: "6 år efter, en besked er besvaret", "og 6 år efter en
/// besked er afsendt (fsva. ikke-besvarede beskeder)".
#[test]
fn dialogbesked() {
    let message = |sent: Option<&str>, answered: Option<&str>| {
        with(Details { sent: sent.map(day), answered: answered.map(day), ..Details::default() }, record("Dialogbesked", "a", ".."))
    };
    check(&[message(Some("2026-01-05"), None)], "dialogbesked-ubesvaret", "2032-01-06");
    check(&[message(Some("2026-01-05"), Some("2026-02-07"))], "dialogbesked-besvaret", "2032-02-08");
    check(&[message(None, Some("2026-02-07"))], "dialogbesked-besvaret", "2032-02-08");
    never(&[message(None, None)]);
    // Answered later: the other rule takes over.
    let answered = at("2026-04-01T08:00:00Z", message(Some("2026-01-05"), Some("2026-04-01")));
    check(&[message(Some("2026-01-05"), None), answered], "dialogbesked-besvaret", "2032-04-02");
}

/// N, Afgørelser fra KY om ydelser: "6 år efter, den enkelte KY-sag er afsluttet".
#[test]
fn ky_afgoerelse() {
    let closed = Details { case_closed: Some(day("2026-03-16")), ..Details::default() };
    check(&[with(closed, record("BevillingAfYdelse", "a", "2020-01-01..2021-01-01"))], "ky-afgoerelse", "2032-03-17");
    never(&[record("BevillingAfYdelse", "a", "2020-01-01..2021-01-01")]);
}

/// R 8.1, fraværsforhold: "6 år efter afslutningen af det enkelte
/// fraværsforhold", 59 too; 68 and 69 "10 år efter afslutningen".
#[test]
fn fravaer() {
    let absent = |absence| with(Details { absence, ..Details::default() }, record("Fravaer", "a", "2026-01-01..2026-03-16"));
    check(&[absent(Some(11))], "fravaer", "2032-03-17");
    check(&[absent(Some(59))], "fravaer", "2032-03-17");
    check(&[absent(None)], "fravaer", "2032-03-17");
    check(&[absent(Some(68))], "fravaer-integration", "2036-03-17");
    check(&[absent(Some(69))], "fravaer-integration", "2036-03-17");
    check(&[absent(Some(67))], "fravaer", "2032-03-17");
    check(&[absent(Some(70))], "fravaer", "2032-03-17");
}

/// `Indhold` may be absent from an update: what was told before chooses the rule, in
/// whatever order the registrations arrive.
#[test]
fn an_update_without_indhold_leaves_the_details() {
    let unsaid = || Details { unsaid: true, ..Details::default() };
    let absent = |hour: u32, details: Details| {
        with(details, of("Fravaer", event("a", hour, Change::Updated, "2026-01-01..2026-03-16", Content::Other)))
    };
    let of_type = |absence| Details { absence: Some(absence), ..Details::default() };
    let told = [absent(8, of_type(11)), absent(9, of_type(68)), absent(10, unsaid()), absent(11, unsaid())];
    for order in orders(4) {
        let events: Vec<Event> = order.iter().map(|at| told[*at].clone()).collect();
        check(&events, "fravaer-integration", "2036-03-17");
    }
    // What is there and says nothing takes it back.
    check(&[told[1].clone(), absent(10, Details::default())], "fravaer", "2032-03-17");
    // Nothing was ever told of it.
    check(&[absent(8, unsaid())], "fravaer", "2032-03-17");
    let activity =
        |hour: u32, details| with(details, of("Aktivitet", event("a", hour, Change::Updated, "2026-01-01..2026-03-16", Content::Other)));
    let events = [activity(8, Details { with_company: Some(true), ..Details::default() }), activity(9, unsaid())];
    check(&events, "aktivitet-virksomhedsrettet", "2036-03-17");
    // It is an update all the same, though it does not say of which day.
    let joblog = |hour: u32, details| with(details, of("Joblog", event("a", hour, Change::Updated, "..", Content::Other)));
    let events = [joblog(8, Details { updated: Some(day("2026-02-01")), ..Details::default() }), joblog(9, unsaid())];
    check(&events, "joblog", "2032-03-17");
    check(&[events[1].clone(), events[0].clone()], "joblog", "2032-03-17");
}

/// Under two numbers of one person: the newest that told of them counts.
#[test]
fn details_told_under_another_number_count() {
    let part = |id: u32, hour: u32, details: Details| {
        let mut clocks = Clocks::new(CitizenId(id));
        let event = of("Fravaer", event("a", hour, Change::Updated, "2026-01-01..2026-03-16", Content::Other));
        clocks.record(&event, CitizenId(id), details, event.registered.at);
        Arc::new(clocks)
    };
    let parts =
        [part(1, 8, Details { absence: Some(68), ..Details::default() }), part(2, 9, Details { unsaid: true, ..Details::default() })];
    for parts in [[0, 1], [1, 0]].map(|order| order.map(|at| Arc::clone(&parts[at]))) {
        let one = Clocks::as_one(CitizenId(1), &parts).expect("clocks");
        assert_eq!(one.records[0].details.absence, Some(68));
    }
}

/// A recall takes back what was told before it, under whichever number of the person each
/// of them came, and in whatever order.
#[test]
fn a_recall_under_another_number_takes_back_what_was_told() {
    let event = |hour: u32, change| of("Fravaer", event("a", hour, change, "2026-01-01..2026-03-16", Content::Other));
    let told = Details { absence: Some(68), ..Details::default() };
    let unsaid = || Details { unsaid: true, ..Details::default() };
    let happened = [
        (1, event(8, Change::Created), told),
        (1, event(9, Change::Updated), unsaid()),
        (2, event(10, Change::Deleted), unsaid()),
        (1, event(11, Change::Updated), unsaid()),
    ];
    let ids = [CitizenId(1), CitizenId(2)];
    for known_together_after in 0..=4 {
        for order in orders(4) {
            let mut parts = ids.map(Clocks::new);
            for (came, at) in order.iter().enumerate() {
                let (under, event, details) = &happened[*at];
                let take_in = |clocks: &mut Clocks| clocks.record(event, CitizenId(*under), details.clone(), event.registered.at);
                if came < known_together_after {
                    take_in(&mut parts[*under as usize - 1]);
                } else {
                    let mut one = Clocks::clone(&Clocks::as_one(ids[0], &parts.map(Arc::new)).expect("clocks"));
                    take_in(&mut one);
                    parts = one.apart(&ids).try_into().expect("two");
                }
            }
            let one = Clocks::as_one(ids[0], &parts.map(Arc::new)).expect("clocks");
            let absences: Vec<_> = one.records.iter().map(|clock| clock.details.absence).collect();
            assert_eq!(absences, [None], "{order:?}, known together after {known_together_after}");
        }
    }
}

/// R 8.1, kontaktgruppe og personkategori: "Kontaktgruppe/personkategori kan
/// først slettes, når fraværsforholdet er slettet", likewise Min plan-versioner
/// and tilmeldinger, "som periodemæssigt overlapper".
#[test]
fn what_overlaps_is_waited_for() {
    for (entity, rule) in [("Kontaktgruppe", "kontaktgruppe"), ("Personkategori", "personkategori")] {
        for other in ["Fravaer", "MinPlanVersion", "Tilmelding"] {
            let with_other = |period: &str| Life::of(&[record(entity, "a", "2020-01-01..2026-03-16"), record(other, "b", period)]);
            let blocked = format!("{rule} a <b");
            // One day is enough, on either side, and so is an open end.
            for period in ["2026-03-16..", "2026-03-16..2026-12-31", "2019-01-01..2020-01-01", "2019-01-01..", "2021-01-01..2021-01-02"] {
                let life = with_other(period);
                assert_eq!(life.due("2032-03-16").iter().filter(|word| word.starts_with(rule)).count(), 0, "{period}");
                assert!(life.due("2032-03-17").contains(&blocked), "{other} {period}: {:?}", life.due("2032-03-17"));
            }
            for period in ["2026-03-17..", "2019-01-01..2019-12-31"] {
                assert!(with_other(period).due("2032-03-17").contains(&format!("{rule} a")), "{other} {period}");
            }
            // Deleted, and recalled.
            let mut life = with_other("2026-03-16..2026-12-31");
            life.take_in(&deletion(other, "b", "2033-01-02T08:00:00Z"));
            assert_eq!(life.due("2033-01-02"), [format!("{rule} a")]);
            let mut life = with_other("2026-03-16..2026-12-31");
            life.take_in(&of(other, event("b", 9, Change::Deleted, "..", Content::Other)));
            assert_eq!(life.due("2033-01-02"), [format!("{rule} a")]);
        }
        // Others that overlap are not waited for.
        let life = Life::of(&[record(entity, "a", "2020-01-01..2026-03-16"), record("Aktivitet", "b", "2021-01-01..")]);
        assert_eq!(life.due("2032-03-17"), [format!("{rule} a")]);
    }
    // What does not say when it begins may have begun before all else.
    for (group, absence) in [("2016-01-01..2017-06-30", "..2021-01-01"), ("..2021-01-01", "2016-01-01..2017-06-30"), ("..2017-06-30", "..")]
    {
        let life = Life::of(&[record("Kontaktgruppe", "a", group), record("Fravaer", "b", absence)]);
        assert!(life.due("2032-03-17").contains(&"kontaktgruppe a <b".to_owned()), "{group} {absence}: {:?}", life.due("2032-03-17"));
    }
    let life = Life::of(&[record("Kontaktgruppe", "a", "2021-01-02..2022-06-30"), record("Fravaer", "b", "..2021-01-01")]);
    assert!(life.due("2032-03-17").contains(&"kontaktgruppe a".to_owned()), "it had ended");
    // What it waits for may be due itself: it goes first all the same.
    let life = Life::of(&[record("Kontaktgruppe", "a", "2020-01-01..2026-03-16"), record("Fravaer", "b", "2021-01-01..2021-02-01")]);
    assert_eq!(life.due("2032-03-17"), ["kontaktgruppe a <b", "fravaer b"]);
}

/// R 8.1, Min Plan: samtaler "6 år efter seneste opdatering", krav til
/// jobsøgning "6 år efter registrering af kravet", virksomhedsrettede
/// aktiviteter "10 år efter den enkelte indsats", others 6.
#[test]
fn parts_of_min_plan() {
    check(&[record("Samtale", "a", "..")], "samtale", "2032-03-17");
    let updated = Details { updated: Some(day("2026-02-05")), ..Details::default() };
    check(&[with(updated, record("Samtale", "a", ".."))], "samtale", "2032-02-06");
    check(&[record("Jobsoegningskrav", "a", "..")], "jobsoegningskrav", "2032-03-17");
    // Registered is the first event about it, whichever comes first.
    let later = at("2027-01-01T08:00:00Z", of("Jobsoegningskrav", event("a", 20, Change::Updated, "..", Content::Other)));
    check(&[record("Jobsoegningskrav", "a", ".."), later.clone()], "jobsoegningskrav", "2032-03-17");
    check(&[later, record("Jobsoegningskrav", "a", "..")], "jobsoegningskrav", "2032-03-17");
    let activity = |with_company| with(Details { with_company, ..Details::default() }, record("Aktivitet", "a", "2026-01-01..2026-03-16"));
    check(&[activity(Some(true))], "aktivitet-virksomhedsrettet", "2036-03-17");
    check(&[activity(Some(false))], "aktivitet-oevrig", "2032-03-17");
    never(&[activity(None)]);
}

/// R 8.1, Plan: "6 år efter, planen er registreret, hvis der findes en senere
/// version. Hvis det er seneste version, bliver den slettet, hvis borger ikke har
/// en aktuel (åben) kontaktgruppe".
#[test]
fn plan_versions() {
    check(&[plan("a", None)], "plan", "2032-03-17");
    check(&[plan("a", Some("b"))], "plan", "2032-03-17");
    let in_group = |period: &str| event("g", 8, Change::Created, period, group(1));
    for period in ["2020-01-01..", "2020-01-01..2032-03-17", "2032-03-17..2032-03-17"] {
        let life = Life::of(&[in_group(period), plan("a", None)]);
        assert_eq!(life.due("2032-03-16"), [""; 0]);
        assert_eq!(life.due("2032-03-17"), ["plan a <open-kontaktgruppe"], "{period}");
        let life = Life::of(&[in_group(period), plan("a", Some("b"))]);
        assert_eq!(life.due("2032-03-17"), ["plan a"], "a later version exists");
    }
    for period in ["2020-01-01..2032-03-16", "2032-03-18.."] {
        assert_eq!(Life::of(&[in_group(period), plan("a", None)]).due("2032-03-17"), ["plan a"], "{period}");
    }
    // The group ends by itself: the day after it is looked at again.
    let life = Life::of(&[in_group("2020-01-01..2033-05-31"), plan("a", None)]);
    assert_eq!(life.view().next(day("2032-03-17")), Some(day("2033-06-01")));
    assert_eq!(life.due("2033-05-31"), ["plan a <open-kontaktgruppe"]);
    assert_eq!(life.due("2033-06-01"), ["plan a"]);
    let recalled = Content::ContactGroup { group: None, former: None };
    let life = Life::of(&[in_group("2020-01-01.."), plan("a", None), event("g", 9, Change::Deleted, "..", recalled)]);
    assert_eq!(life.due("2032-03-17"), ["plan a"]);
}

/// R 8.1: "Min Plan-version bliver slettet, når sidste element [...] er slettet".
#[test]
fn min_plan_version() {
    let version = |elements: &[&str]| {
        let elements = Some(elements.iter().map(|id| external(id)).collect());
        with(Details { elements, ..Details::default() }, record("MinPlanVersion", "v", "2026-01-01..2026-06-30"))
    };
    let mut life = Life::of(&[version(&["a", "b"])]);
    assert_eq!(life.due("2499-01-01"), [""; 0]);
    life.take_in(&deletion("Samtale", "a", "2032-01-05T08:00:00Z"));
    assert_eq!(life.due("2499-01-01"), [""; 0], "one is left");
    life.take_in(&deletion("Aktivitet", "b", "2036-02-07T08:00:00Z"));
    assert_eq!(life.due("2036-02-07"), [""; 0]);
    assert_eq!(life.due("2036-02-08"), ["min-plan-version v"]);
    // The elements are gone before the broker hears of the version.
    let (a, b) = (deletion("Samtale", "a", "2026-03-17T08:00:00Z"), deletion("Aktivitet", "b", "2026-03-18T08:00:00Z"));
    check(&[b.clone(), a.clone(), version(&["a", "b"])], "min-plan-version", "2026-03-19");
    // A version never refers to what is deleted: the list gets shorter.
    let shorter = at("2026-03-19T08:00:00Z", version(&["b"]));
    check(&[version(&["a", "b"]), a.clone(), shorter.clone(), b.clone()], "min-plan-version", "2026-03-19");
    let empty = at("2026-03-20T08:00:00Z", version(&[]));
    check(&[version(&["a", "b"]), a, b, shorter, empty], "min-plan-version", "2026-03-19");
    never(&[version(&[])]);
    never(&[record("MinPlanVersion", "v", "2026-01-01..2026-06-30")]);
    // An update that says nothing of elements leaves them as they were, and so does an
    // older list that comes after it.
    let silent = at("2026-03-17T09:00:00Z", record("MinPlanVersion", "v", "2026-01-01..2026-07-31"));
    let first = deletion("Samtale", "a", "2026-03-17T08:00:00Z");
    let mut life = Life::of(&[version(&["a", "b"]), first.clone(), silent.clone()]);
    assert_eq!(life.due("2499-01-01"), [""; 0], "one is left");
    life.take_in(&deletion("Aktivitet", "b", "2026-03-18T08:00:00Z"));
    assert_eq!(life.due("2026-03-19"), ["min-plan-version v"]);
    let mut life = Life::of(&[silent, first, version(&["a", "b"])]);
    assert_eq!(life.due("2499-01-01"), [""; 0]);
    life.take_in(&deletion("Aktivitet", "b", "2026-03-18T08:00:00Z"));
    assert_eq!(life.due("2026-03-19"), ["min-plan-version v"]);
    // An element that is there again is waited for again.
    let life = Life::of(&[version(&["a"]), deletion("Samtale", "a", "2026-03-17T08:00:00Z"), {
        at("2026-03-18T08:00:00Z", record("Samtale", "a", ".."))
    }]);
    assert_eq!(life.due("2032-03-18"), [""; 0]);
}

/// R 8.1, dagpengetællere: "10 år efter indberetning af den enkelte tæller",
/// "således, at de tilbageværende tællere holdes konsistente".
#[test]
fn dagpengetaeller() {
    check(&[record("Dagpengetaeller", "a", "2020-01-01..2020-01-31")], "dagpengetaeller", "2036-03-17");
    let tally = |id: &str, time: &str| at(time, record("Dagpengetaeller", id, ".."));
    let life = Life::of(&[tally("new", "2026-05-01T08:00:00Z"), tally("old", "2026-03-16T08:00:00Z")]);
    assert_eq!(life.due("2036-03-17"), ["dagpengetaeller old"]);
    assert_eq!(life.due("2036-05-02"), ["dagpengetaeller old", "dagpengetaeller new"], "the oldest goes first");
    // The rules change, so that an older one would have to stay longer.
    let mut life = Life::of(&[tally("old", "2026-03-16T08:00:00Z"), tally("new", "2026-05-01T08:00:00Z")]);
    let mut rules = rules();
    rules.retain(|rule| &*rule.id != "dagpengetaeller");
    let by_update = Rule { oldest_first: true, ..rule("dagpengetaeller", "Dagpengetaeller", Start::Updated, (10, 0), vec![]) };
    life.schedule = Schedule::new(vec![by_update], PensionAges::default(), Pace::default());
    life.take_in(&at("2030-01-01T08:00:00Z", record("Dagpengetaeller", "old", "..")));
    assert_eq!(life.due("2036-05-02"), ["dagpengetaeller new <old"], "those that remain are unbroken");
}

/// R 8.1, dagpenge og efterløn: ydelseskort "10 år efter afslutningen af den
/// pågældende måned".
#[test]
fn ydelseskort() {
    let card = |month_end| with(Details { month_end: Some(day(month_end)), ..Details::default() }, record("Ydelseskort", "a", ".."));
    check(&[card("2026-03-31")], "ydelseskort", "2036-04-01");
    check(&[card("2026-02-28")], "ydelseskort", "2036-02-29");
    check(&[card("2024-02-29")], "ydelseskort", "2034-03-01");
    never(&[record("Ydelseskort", "a", "..")]);
}

/// N, Personer afgået ved døden: everything that is left, "når det er afleveret
/// til Rigsarkivet, såfremt der er afleveringspligt for dataområdet".
#[test]
fn the_dead() {
    let records = [
        record("Kontaktgruppe", "k", "2020-01-01..2026-03-16"),
        record("Fravaer", "f", "2021-01-01.."),
        record("Persongruppemarkering", "p", "2021-01-01.."),
        plan("a", None),
        event("g", 8, Change::Created, "2020-01-01..", group(1)),
    ];
    let mut life = Life::of(&records);
    life.clocks.records.retain(|clock| clock.external_id != external("g"));
    assert_eq!(life.due("2029-01-02"), [""; 0]);
    life.take_in(&died("2029-01-02"));
    assert_eq!(life.due("2029-01-02"), [""; 0]);
    // At once, in whatever order: what overlaps does not matter any more. A
    // record that no rule covers belongs to the rule of the dead.
    let everything = ["plan a", "fravaer f", "kontaktgruppe k", "afdoed p"];
    assert_eq!(life.due("2029-01-03"), everything);
    assert_eq!(life.view().next(day("2029-01-02")), Some(day("2029-01-03")));
    // An area that has to be handed over waits for that.
    let with_handover = rules().into_iter().map(|rule| Rule { handover: &*rule.id == "fravaer", ..rule }).collect();
    life.schedule = Schedule::new(with_handover, ages(), Pace::default());
    assert_eq!(life.due("2029-01-03"), ["plan a", "fravaer f <rigsarkivet", "kontaktgruppe k", "afdoed p"]);
    let handed_over = |area: &str, hour| event("h", hour, Change::Created, "..", Content::HandedOver { area: Some(area.into()) });
    life.take_in(&handed_over("kontaktgruppe", 9));
    assert_eq!(life.due("2029-01-03")[1], "fravaer f <rigsarkivet");
    life.take_in(&handed_over("fravaer", 10));
    assert_eq!(life.due("2029-01-03"), everything);
    // What is registered after that was not, whenever that is heard of.
    let mut later = life.clone();
    later.take_in(&of("Fravaer", event("f", 11, Change::Updated, "2021-01-01..", Content::Other)));
    assert_eq!(later.due("2029-01-03")[1], "fravaer f <rigsarkivet");
    later.take_in(&handed_over("fravaer", 12));
    assert_eq!(later.due("2029-01-03"), everything);
    life.take_in(&event("h", 11, Change::Deleted, "..", Content::HandedOver { area: Some("fravaer".into()) }));
    assert_eq!(life.due("2029-01-03")[1], "fravaer f <rigsarkivet", "it was not, after all");
    // One that does not say which of its type's areas it belongs to waits for all of them.
    let with_handover = rules().into_iter().map(|rule| Rule { handover: rule.id.starts_with("persongruppe"), ..rule }).collect();
    life.schedule = Schedule::new(with_handover, ages(), Pace::default());
    life.take_in(&handed_over("persongruppemarkering-kommunal", 12));
    assert_eq!(life.due("2029-01-03")[3], "afdoed p <rigsarkivet");
    life.take_in(&event("h2", 13, Change::Created, "..", Content::HandedOver { area: Some("persongruppemarkering-statslig".into()) }));
    assert_eq!(life.due("2029-01-03")[3], "afdoed p");
    // What is recalled is one handover, and not the area; nor need it say which.
    let mut twice = life.clone();
    let other = |hour, change, area: Option<&str>| event("h3", hour, change, "..", Content::HandedOver { area: area.map(Into::into) });
    twice.take_in(&other(14, Change::Created, Some("persongruppemarkering-statslig")));
    twice.take_in(&other(15, Change::Deleted, None));
    assert_eq!(twice.due("2029-01-03")[3], "afdoed p", "h2 stands");
    twice.take_in(&event("h2", 16, Change::Updated, "..", Content::HandedOver { area: Some("fravaer".into()) }));
    assert_eq!(twice.due("2029-01-03")[3], "afdoed p <rigsarkivet", "it was another area");
    assert!(twice.clocks.was_handed_over("fravaer", Moment(0)));
    // A recalled death.
    life.take_in(&event("death", 10, Change::Deleted, "..", Content::Death { on: None }));
    assert_eq!(life.due("2029-01-03"), [""; 0]);
    // What fell due before the death goes on being due since then, and an area
    // to be handed over waits all the same.
    let mut life = Life::of(&[record("Fravaer", "f", "2021-01-01..2022-05-05"), died("2029-01-02")]);
    assert_eq!(life.view().due(day("2029-01-03"))[0].due, day("2028-05-06"));
    let with_handover = rules().into_iter().map(|rule| Rule { handover: true, ..rule }).collect();
    life.schedule = Schedule::new(with_handover, ages(), Pace::default());
    assert_eq!(life.due("2029-01-02"), ["fravaer f"], "the rule of the living does not ask for it");
    assert_eq!(life.due("2029-01-03"), ["fravaer f <rigsarkivet"]);
}

#[test]
fn the_end_of_a_clock() {
    let joblog = record("Joblog", "a", "..");
    // An older event that comes late brings nothing back; a newer one does.
    let recalled = of("Joblog", event("a", 9, Change::Deleted, "..", Content::Other));
    never(&[joblog.clone(), recalled.clone()]);
    never(&[recalled.clone(), joblog.clone()]);
    let again = of("Joblog", event("a", 10, Change::Created, "..", Content::Other));
    check(&[joblog.clone(), recalled.clone(), again.clone()], "joblog", "2032-03-17");
    check(&[joblog.clone(), again, recalled], "joblog", "2032-03-17");
    // A GdprSletning ends it, whichever was registered first.
    let early = deletion("Joblog", "a", "2026-03-15T08:00:00Z");
    never(&[joblog.clone(), early.clone()]);
    check(&[early, joblog.clone()], "joblog", "2032-03-17");
    never(&[joblog.clone(), deletion("Joblog", "a", "2026-03-16T08:00:00Z")]);
    never(&[deletion("Joblog", "a", "2026-03-16T08:00:00Z"), joblog.clone()]);
    // Of another type, or another record.
    check(&[joblog.clone(), deletion("Samtale", "a", "2026-03-17T08:00:00Z")], "joblog", "2032-03-17");
    check(&[joblog, deletion("Joblog", "b", "2026-03-17T08:00:00Z")], "joblog", "2032-03-17");
}

#[test]
fn what_was_expected() {
    let expected = |life: &Life, id: &str, on: &str| life.view().expected("Fravaer", &external(id), day(on));
    let mut life = Life::of(&[record("Fravaer", "a", "2021-01-01..2026-03-16"), record("Fravaer", "open", "2021-01-01..")]);
    assert_eq!(expected(&life, "a", "2032-03-16"), DeletionTold::Early(Some(day("2032-03-17"))));
    assert_eq!(expected(&life, "a", "2032-03-17"), DeletionTold::Expected);
    assert_eq!(expected(&life, "open", "2032-03-17"), DeletionTold::Early(None));
    assert_eq!(expected(&life, "b", "2032-03-17"), DeletionTold::UnknownRecord);
    // What was due, in another area, or for a death.
    let told = |life: &Life, area: &str, after_death| life.view().told("Fravaer", &external("a"), (area, after_death), day("2032-03-17"));
    assert_eq!(told(&life, "fravaer", false), DeletionTold::Expected);
    assert_eq!(told(&life, "fravaer-integration", false), DeletionTold::Expected, "which of them depends on what DFDG knows");
    assert_eq!(told(&life, "joblog", false), DeletionTold::OtherGround);
    assert_eq!(told(&life, "fravaer", true), DeletionTold::OtherGround);
    assert_eq!(told(&life, "afdoed", false), DeletionTold::OtherGround);
    let mut dead = life.clone();
    dead.take_in(&died("2032-03-01"));
    assert_eq!(["fravaer", "afdoed"].map(|area| told(&dead, area, true)), [DeletionTold::Expected, DeletionTold::Expected]);
    assert_eq!(told(&dead, "joblog", true), DeletionTold::OtherGround);
    // A Min plan-version goes with its last element.
    let elements = Some(vec![external("s")]);
    life.take_in(&with(Details { elements, ..Details::default() }, record("MinPlanVersion", "v", "2026-01-01..2026-06-30")));
    let version = |life: &Life, on: &str| life.view().expected("MinPlanVersion", &external("v"), day(on));
    assert_eq!(version(&life, "2032-01-05"), DeletionTold::Early(None));
    life.take_in(&deletion("Samtale", "s", "2032-01-05T08:00:00Z"));
    assert_eq!(version(&life, "2032-01-04"), DeletionTold::Early(Some(day("2032-01-06"))));
    for on in ["2032-01-05", "2032-01-06", "2032-02-01"] {
        assert_eq!(version(&life, on), DeletionTold::Expected, "{on}");
    }
    assert!(!life.due("2032-01-05").contains(&"min-plan-version v".to_owned()), "it is ordered the day after");
    life.take_in(&record("Kontaktgruppe", "k", "2020-01-01..2020-12-31"));
    life.take_in(&record("Tilmelding", "t", "2020-12-31.."));
    let told = life.view().expected("Kontaktgruppe", &external("k"), day("2032-03-17"));
    assert_eq!(told, DeletionTold::Blocked(vec![Blocker::Record(external("t"))]));
}

/// What is known of a clock without looking at it is known no more once it may have
/// changed, or by other rules, or under another number.
#[test]
fn what_is_known_of_a_clock_goes_with_every_change() {
    let mut life = Life::of(&[record("Kontaktgruppe", "a", "2021-01-01..2021-12-31"), record("Efterloensbevis", "b", "2021-01-01..")]);
    assert_eq!(life.due("2028-01-01"), ["kontaktgruppe a"]);
    life.clocks.records[0].period = Period::new(day("2021-01-01"), None).expect("a period");
    life.clocks.records[0].external_id = external("c");
    assert_eq!(life.due("2028-01-01"), [""; 0]);
    assert_eq!(life.clocks.of_record("Kontaktgruppe", &external("a")), None);
    assert!(life.clocks.of_record("Kontaktgruppe", &external("c")).is_some());
    life.take_in(&record("Kontaktgruppe", "d", "2021-01-01..2021-12-31"));
    life.schedule = Schedule::new(vec![rule("kontaktgruppe", "Kontaktgruppe", Start::End, (1, 0), vec![])], ages(), Pace::default());
    assert_eq!(life.due("2023-01-01"), ["kontaktgruppe d"]);
    life.schedule = schedule();
    let due = life.view().due(day("2099-01-01")).iter().find(|item| &*item.rule.id == "efterloensbevis").map(|item| item.due);
    life.citizen = Citizen::new(CitizenId(1), number("0101401234"));
    let of_another = life.view().due(day("2099-01-01")).iter().find(|item| &*item.rule.id == "efterloensbevis").map(|item| item.due);
    assert!(of_another < due && of_another.is_some(), "{of_another:?}, {due:?}");
}

#[test]
fn an_order_stands_while_the_record_is_due() {
    let mut life = Life::of(&[record("Kontaktgruppe", "a", "2021-01-01..2021-12-31")]);
    let order = Order { due: day("2028-01-01"), first: day("2028-01-01"), asked: day("2028-01-01"), confirmed: true };
    life.clocks.records[0].order = Some(order);
    assert_eq!(life.due("2028-01-01"), ["kontaktgruppe a ordered"]);
    assert_eq!(life.view().next(day("2028-01-01")), Some(day("2028-01-02")), "repeated daily");
    let schedule = life.schedule.clone();
    life.clocks.settle(&life.citizen, &schedule, day("2028-01-01"));
    assert_eq!(life.clocks.records[0].order, Some(order));
    // What blocks it is heard of late.
    life.take_in(&record("Fravaer", "f", "2021-12-31.."));
    life.clocks.settle(&life.citizen, &schedule, day("2028-01-01"));
    assert_eq!(life.clocks.records[0].order, None);
    assert_eq!(life.due("2028-01-01"), ["kontaktgruppe a <f"]);
    assert_eq!(life.clocks.next, None);
}

#[test]
fn tombstones_are_bounded_and_go() {
    let mut life = Life::of(&[]);
    for at in 0..1100 {
        life.take_in(&deletion("Joblog", &format!("r{at}"), "2026-03-16T08:00:00Z"));
    }
    assert_eq!(life.clocks.tombstones.len(), 1024);
    assert!(!life.clocks.has_retained);
    let expiry = life.clocks.next_expiry().expect("some stand");
    assert_eq!(expiry, day("2026-04-13"));
    life.clocks.expire(expiry.previous());
    assert_eq!(life.clocks.tombstones.len(), 1024);
    life.clocks.expire(expiry);
    assert_eq!(life.clocks.tombstones, []);
    assert!(life.clocks.emptied && !life.clocks.is_empty(), "that there were records is known on");
}

/// Whoever has lost the last record is looked at again on the day on which nothing
/// is a reason to know them any more.
#[test]
fn whoever_has_lost_the_last_record_is_looked_at_when_nobody_has_them() {
    let mut life = Life::of(&[]);
    let look = |life: &mut Life, today: &str| {
        life.clocks.tombstones.clear();
        life.clocks.settle(&life.citizen, &life.schedule, day(today));
        (life.clocks.emptied, life.clocks.next.map(|day| day.to_string()))
    };
    let told = |on: &str| (true, Some(on.to_owned()));
    let is_member = |life: &mut Life, hour: u32, period: &str| {
        let event = event("m", hour, Change::Created, period, super::super::samples::fund("067"));
        assert_eq!(life.citizen.fold(&event), Folded::Changed);
    };
    life.take_in(&record("Samtale", "r", "2026-03-01.."));
    assert_eq!(look(&mut life, "2026-03-16"), (false, Some("2032-03-17".to_owned())));
    life.take_in(&deletion("Samtale", "r", "2026-03-17T08:00:00Z"));
    assert_eq!(look(&mut life, "2026-03-17"), told("2026-03-17"), "at once");
    is_member(&mut life, 1, "2026-03-01..");
    assert_eq!(look(&mut life, "2026-03-17"), (true, None), "never, for all that is known");
    is_member(&mut life, 2, "2026-03-01..2026-03-20");
    assert_eq!(look(&mut life, "2026-03-17"), told("2026-03-21"));
    assert_eq!(look(&mut life, "2026-03-22"), told("2026-03-22"));
    is_member(&mut life, 3, "2026-03-01..");
    let death = event("d", 9, Change::Created, "..", Content::Death { on: Some(day("2026-03-19")) });
    assert_eq!(life.citizen.fold(&death), Folded::Changed);
    assert_eq!(look(&mut life, "2026-03-17"), told("2026-03-19"));
    life.take_in(&record("Samtale", "s", "2026-03-18.."));
    assert!(!look(&mut life, "2026-03-18").0, "there is one again");
    // A recall of something that nobody knew is not the end of a record.
    let mut life = Life::of(&[]);
    life.take_in(&Event { change: Change::Deleted, ..record("Samtale", "r", "..") });
    assert_eq!(look(&mut life, "2026-03-18"), (false, None));
}

/// R 8.1: only the latest version of a plan waits for the contact group to end; one whose
/// later version was recalled is the latest again, whichever of them is heard of first.
#[test]
fn a_recalled_later_version_is_none() {
    let registered = |id: &str, change, hour: u32, later: Option<&str>| {
        let time = format!("2026-03-16T{hour:02}:00:00Z");
        at(&time, Event { change, ..of("Plan", plan(id, later)) })
    };
    let (first, named) = (registered("a", Change::Created, 8, None), registered("a", Change::Updated, 9, Some("b")));
    let (later, recalled) = (registered("b", Change::Created, 9, None), registered("b", Change::Deleted, 10, None));
    let again = registered("b", Change::Updated, 11, None);
    let in_group = event("g", 8, Change::Created, "2026-01-01..", group(1));
    let of_group = of("Kontaktgruppe", in_group);
    let standing = |told: &[&Event]| {
        let mut life = Life::of(&[]);
        assert_eq!(life.citizen.fold(&of_group), Folded::Changed);
        told.iter().for_each(|event| life.take_in(event));
        life.due("2032-03-17")
    };
    assert_eq!(standing(&[&first, &named, &later]), ["plan a", "plan b <open-kontaktgruppe"]);
    for told in [[&first, &named, &later, &recalled], [&first, &later, &recalled, &named], [&recalled, &named, &first, &later]] {
        assert_eq!(standing(&told), ["plan a <open-kontaktgruppe"], "{told:?}");
    }
    assert_eq!(standing(&[&first, &named, &later, &recalled, &again]), ["plan a", "plan b <open-kontaktgruppe"]);
    assert_eq!(standing(&[&first, &named, &later, &again, &recalled]), ["plan a", "plan b <open-kontaktgruppe"], "recalled before that");
}

/// An element that turns out to be somebody else's has not been deleted, in whatever order
/// it and the version are corrected; and it counts once it is.
#[test]
fn an_element_of_somebody_else_is_there() {
    let (one, other) = (CitizenId(1), CitizenId(2));
    let details = || Details { elements: Some(vec![external("s")]), ..Details::default() };
    let version = |hour: u32| at(&format!("2026-03-17T{hour:02}:00:00Z"), with(details(), record("MinPlanVersion", "v", "..")));
    let talk = |hour: u32| at(&format!("2026-03-17T{hour:02}:00:00Z"), record("Samtale", "s", ".."));
    let due = |clocks: &Clocks| {
        let (citizen, schedule) = (Citizen::new(clocks.citizen, number("0101901234")), schedule());
        let view = View { clocks, citizen: &citizen, schedule: &schedule };
        view.due(day("2031-01-01")).iter().map(told).collect::<Vec<_>>()
    };
    let moves = |event: &Event, details: Details, from: &mut Clocks, to: &mut Clocks| {
        let given = from.give_up(event, &event.entity, event.registered.at);
        given.into_iter().for_each(|given| to.take_over(given, to.citizen));
        to.record(event, to.citizen, details, event.registered.at);
    };
    for version_first in [false, true] {
        let (mut from, mut to) = (Clocks::new(one), Clocks::new(other));
        from.record(&talk(8), one, Details::default(), moment("2026-03-17T08:00:00Z"));
        from.record(&version(8), one, details(), moment("2026-03-17T08:00:00Z"));
        if version_first {
            moves(&version(9), details(), &mut from, &mut to);
        }
        moves(&talk(10), Details::default(), &mut from, &mut to);
        assert_eq!((due(&from), due(&to)), (vec![], vec![]), "the version is still {version_first}");
        if !version_first {
            moves(&version(11), details(), &mut from, &mut to);
        }
        assert_eq!((due(&from), due(&to)), (vec![], vec![]), "the version went first: {version_first}");
        // There and back, while the element stays.
        moves(&version(12), details(), &mut to, &mut from);
        assert_eq!((due(&from), due(&to)), (vec![], vec![]));
        moves(&version(13), details(), &mut from, &mut to);
        assert_eq!((due(&from), due(&to)), (vec![], vec![]));
        to.delete(&deletion("Samtale", "s", "2026-03-18T08:00:00Z"), other, "Samtale", moment("2026-03-18T08:00:00Z"));
        assert_eq!(due(&to), ["min-plan-version v"]);
    }
    // The version comes after what was deleted where it now belongs.
    let (mut from, mut to) = (Clocks::new(one), Clocks::new(other));
    from.record(&version(8), one, details(), moment("2026-03-17T08:00:00Z"));
    to.record(&talk(8), other, Details::default(), moment("2026-03-17T08:00:00Z"));
    to.delete(&deletion("Samtale", "s", "2026-03-18T08:00:00Z"), other, "Samtale", moment("2026-03-18T08:00:00Z"));
    assert_eq!((due(&from), due(&to)), (vec![], vec![]));
    moves(&version(9), details(), &mut from, &mut to);
    assert_eq!(due(&to), ["min-plan-version v"]);
}

/// An element that left the list while it was there is deleted like the others, when its
/// deletion is heard of after that.
#[test]
fn an_element_is_deleted_that_is_not_listed_any_more() {
    let listed = |hour: u32, elements: &[&str]| {
        let details = Details { elements: Some(elements.iter().map(|id| external(id)).collect()), ..Details::default() };
        at(&format!("2026-03-16T{hour:02}:00:00Z"), with(details, record("MinPlanVersion", "v", "..")))
    };
    let deleted = deletion("Aktivitet", "x", "2026-03-18T08:00:00Z");
    let mut life = Life::of(&[listed(8, &["x", "y"]), listed(9, &["y"]), listed(10, &[])]);
    assert_eq!(life.due("2499-12-30"), [""; 0]);
    life.take_in(&deleted);
    assert_eq!((life.due("2026-03-18"), life.due("2026-03-19")), (Vec::new(), vec!["min-plan-version v".to_owned()]));
    // One that is listed again counts as listed.
    let life = Life::of(&[listed(8, &["x"]), listed(9, &[]), listed(10, &["x", "y"]), deleted.clone()]);
    assert_eq!(life.due("2499-12-30"), [""; 0]);
    let life = Life::of(&[listed(8, &["x"]), deleted, listed(9, &[])]);
    assert_eq!(life.due("2026-03-19"), ["min-plan-version v"], "in the other order");
}

/// A record of a type that no rule names is ordered by nobody, after a death neither, and is
/// no reason to know the citizen; a rule that comes to name it finds what is known of it.
#[test]
fn a_record_that_no_rule_names_waits_for_one() {
    let mut life = Life::of(&[record("Indkaldelse", "i", "2020-01-01..2020-12-31")]);
    let settle = |life: &mut Life| life.clocks.settle(&life.citizen, &life.schedule, day("2026-03-16"));
    settle(&mut life);
    assert_eq!((life.clocks.has_retained, life.clocks.emptied, life.clocks.next), (false, false, None));
    assert_eq!(life.due("2499-12-30"), [""; 0]);
    assert_eq!(life.view().expected("Indkaldelse", &external("i"), day("2030-01-01")), DeletionTold::Early(None));
    // Beside the last one that a rule names.
    life.take_in(&record("Samtale", "s", "2026-03-01.."));
    settle(&mut life);
    assert!(life.clocks.has_retained);
    life.take_in(&deletion("Samtale", "s", "2026-03-17T08:00:00Z"));
    settle(&mut life);
    assert!(life.clocks.emptied, "nothing is left that a rule names");
    life.take_in(&record("Indkaldelse", "j", "2020-01-01..2020-12-31"));
    settle(&mut life);
    assert!(life.clocks.emptied, "nor is there anything again");
    let mut dead = Life::of(&[record("Indkaldelse", "i", "2020-01-01..2020-12-31"), died("2026-03-10")]);
    settle(&mut dead);
    assert_eq!(dead.due("2499-12-30"), [""; 0]);
    // The rules change.
    let added = rule("indkaldelse", "Indkaldelse", Start::End, (1, 0), vec![]);
    life.schedule = Schedule::new(rules().into_iter().chain([added]).collect(), ages(), Pace::default());
    settle(&mut life);
    assert!(life.clocks.has_retained && !life.clocks.emptied);
    assert_eq!(life.due("2021-12-31"), [""; 0]);
    assert_eq!(life.due("2022-01-01"), ["indkaldelse i", "indkaldelse j"]);
    // And back.
    life.schedule = schedule();
    settle(&mut life);
    assert!(!life.clocks.has_retained && !life.clocks.emptied, "nobody has said that it is gone");
}

#[test]
fn two_numbers_of_one_person() {
    let (now, later) = (moment("2026-03-16T08:00:00Z"), Moment(moment("2026-03-16T08:00:00Z").0 + 1));
    let mut one = Life::of(&[record("Kontaktgruppe", "a", "2020-01-01..2020-12-31"), record("Joblog", "gone", "..")]);
    let other = Life::of(&[
        record("Fravaer", "f", "2020-06-01..2020-06-30"),
        at("2026-03-17T08:00:00Z", record("Kontaktgruppe", "a", "2020-01-01..2021-01-31")),
        deletion("Joblog", "gone", "2026-03-17T08:00:00Z"),
        event("h", 9, Change::Created, "..", Content::HandedOver { area: Some("fravaer".into()) }),
    ]);
    assert!(now < later);
    let parts = [Arc::new(one.clocks.clone()), Arc::new(other.clocks)];
    one.clocks = Clocks::clone(&Clocks::as_one(one.clocks.citizen, &parts).expect("somebody's"));
    assert_eq!(one.due("2027-01-01"), ["fravaer f"]);
    assert_eq!(one.due("2027-02-01"), ["kontaktgruppe a <f", "fravaer f"]);
    assert!(one.clocks.was_handed_over("fravaer", Moment(0)));
    assert_eq!(one.clocks.records.len(), 2);
}
