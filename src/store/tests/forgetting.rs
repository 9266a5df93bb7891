//! A citizen whose last record has been deleted is forgotten by the broker of its
//! own accord, once everybody who holds a copy has been told: the real engine
//! over the store on disk, then every file searched.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::core::about::About;
use crate::core::engine::{Consumption, Engine, Fact, Limits, Manner, Output};
use crate::core::erasure::Cause;
use crate::core::event::{Change as Happened, Content, Details, Event};
use crate::core::ids::{CitizenId, EventMark, ExternalId, Recipient};
use crate::core::outbox::Failure;
use crate::core::policy::{Audience, Domain, MessageType, RecipientRule, RetryPolicy, Rules, Subscriptions};
use crate::core::records::{Archive, Change, Quarantined, Records};
use crate::core::retention;
use crate::core::retry::Outcome;
use crate::core::samples::{event, fund, kind, moment, recipient, rule_of};
use crate::core::schedule::{Pace, PensionAges, Schedule};
use crate::core::time::Moment;

use super::super::{Durability, Store};
use super::erasing::{nothing_is_left, options, sealed_of, secrets};
use super::samples::Dice;
use super::sealed::{NUMBER, PLANTED, number};
use super::victim::{Victim, say};

const NOW: &str = "2026-03-16T12:00:00Z";

fn rules() -> Arc<Rules> {
    let notice = MessageType { notice_for: vec!["joblog".into()], ..kind("GdprSletJoblog", Domain::Gdpr, &[Audience::Holders]) };
    let types = vec![
        kind("Akassemedlemskab", Domain::Tilknytning, &[]),
        kind("Joblog", Domain::Joblog, &[Audience::AkasseOwnMembers]),
        kind("GdprSletning", Domain::Gdpr, &[]),
        notice,
    ];
    let akasse =
        RecipientRule { queue: "wsb.akasse.067".into(), subscriptions: Subscriptions::Only(BTreeSet::new()), ..rule_of("akasse:067") };
    Arc::new(Rules::new(types, vec![akasse], RetryPolicy::default()))
}

/// The engine and the store, as the writer has them.
struct Life {
    engine: Engine,
    store: Store,
    now: Moment,
    told: u32,
}

impl Life {
    fn new(dir: &Path) -> Self {
        Self::by(rules(), dir)
    }

    /// Where records have rules.
    fn with_schedule(dir: &Path) -> Self {
        let schedule = Schedule::new(retention::tested_rules(), PensionAges::default(), Pace::default());
        Self::by(Arc::new(Rules::clone(&rules()).with_schedule(Arc::new(schedule))), dir)
    }

    fn by(rules: Arc<Rules>, dir: &Path) -> Self {
        let mut store = Store::open(&options(dir)).expect("a store");
        let mut engine = Engine::new(rules, Limits::default());
        engine.recover(&mut store).expect("recovered");
        store.commit(Durability::Flush).expect("committed");
        engine.set_connected(true);
        Self { engine, store, now: moment(NOW), told: 0 }
    }

    fn take_in(&mut self, event: Event) {
        self.take_in_about(NUMBER, event);
    }

    fn take_in_about(&mut self, cpr: &str, mut event: Event) {
        self.told += 1;
        event.id = format!("e{}", self.told).into();
        event.mark = EventMark::of("urn:test", &event.id);
        event.personnummer = number(cpr);
        let mut out = Output::default();
        let taken = self.engine.take_in(event, Manner::News, &mut self.store, self.now, &mut out).expect("taken in");
        assert_ne!(taken, Consumption::Duplicate);
        self.engine.follow_up(&mut self.store, self.now, &mut out).expect("followed up");
        self.store.commit(Durability::Flush).expect("committed");
    }

    /// A turn of the writer with its tending, a second later. Returns how many
    /// were forgotten.
    fn turn(&mut self, outcome: Option<Outcome>) -> usize {
        self.now = self.now.plus_seconds(1);
        let mut out = Output::default();
        self.engine.tend(&mut self.store, self.now, &mut out).expect("tended");
        self.store.commit(Durability::Flush).expect("committed");
        self.engine.dispatch(&mut self.store, self.now, &mut out).expect("dispatched");
        self.engine.clockwork(&mut self.store, self.now, &mut out).expect("looked");
        self.store.commit(Durability::Flush).expect("committed");
        for attempt in std::mem::take(&mut out.attempts) {
            if let Some(outcome) = outcome {
                self.engine.settle(attempt.key, outcome, &mut self.store, self.now, &mut out).expect("settled");
            }
        }
        self.store.commit(Durability::Flush).expect("committed");
        out.facts.iter().filter(|fact| **fact == Fact::Erased(Cause::LastRecord)).count()
    }

    fn turns(&mut self, outcome: Option<Outcome>) -> usize {
        (0..5).map(|_| self.turn(outcome)).sum()
    }

    fn citizen(&mut self) -> Option<CitizenId> {
        self.store.find_citizen(&number(NUMBER)).expect("readable")
    }
}

fn joblog() -> Event {
    let mut event = event(PLANTED, 1, Happened::Created, "2026-03-01..", Content::Other);
    event.entity = "Joblog".into();
    event.details = Some(Box::new(Details::default()));
    event.body = Some(format!("{{\"Felt\":\"{PLANTED}\"}}").into());
    event
}

fn deletion() -> Event {
    let content = Content::Deletion { area: "joblog".into(), entity: "Joblog".into(), after_death: false };
    event(PLANTED, 2, Happened::Created, "..", content)
}

fn membership(period: &str, hour: u32) -> Event {
    event("m", hour, Happened::Created, period, fund("067"))
}

#[test]
fn whoever_has_lost_the_last_record_is_forgotten_once_all_holders_are_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    let mut dice = Dice::new(31);
    for _ in 0..20 {
        life.store.enroll(&dice.personnummer()).expect("enrolled");
    }
    let before = secrets(dir.path());
    for hour in 0..10 {
        life.take_in(membership("2026-01-01..", hour));
    }
    life.take_in(joblog());
    assert_eq!(life.turns(Some(Outcome::Confirmed)), 0);
    let citizen = life.citizen().expect("known");
    let holder: Vec<Recipient> = life.store.holders(citizen, "Joblog", &ExternalId::parse(PLANTED).expect("an id")).expect("readable");
    assert_eq!(holder, [recipient("akasse:067")]);

    // A member is known, with records or without.
    life.take_in(deletion());
    assert_eq!(life.turns(Some(Outcome::Failed { failure: Failure::Timeout, code: 0 })), 0);
    // The notice still waits for the holder when the membership ends.
    life.take_in(membership("2026-01-01..2026-03-15", 11));
    assert_eq!(life.turns(None), 0);
    assert_eq!(life.citizen(), Some(citizen));
    let sealed = sealed_of(&life.store, citizen);

    // In another life of the process the notice gets through at last.
    drop(life);
    let mut life = Life::new(dir.path());
    life.told = 100;
    life.now = moment("2026-03-16T14:00:00Z");
    assert_eq!(life.turns(Some(Outcome::Confirmed)), 1);
    assert_eq!(life.citizen(), None);
    nothing_is_left(dir.path(), &life.store, &sealed, &before[..1]);
    let mut found = Vec::new();
    let _ = life.store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    assert_eq!(found, [] as [&str; 0]);

    // Nothing is done a second time, and an old copy of the keys brings nobody back.
    assert_eq!(life.turns(None), 0);
    assert_eq!(life.store.counts().open, 0);

    // Whoever comes back is somebody new.
    life.take_in(membership("2026-03-16..", 12));
    let again = life.citizen().expect("known again");
    assert!(again > citizen);
    assert_eq!(life.turns(None), 0);
    assert_eq!(life.citizen(), Some(again));
}

#[test]
fn whoever_never_had_a_record_and_whoever_waits_in_quarantine_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    life.take_in(membership("2026-01-01..2026-03-15", 1));
    assert_eq!(life.turns(None), 0);
    assert!(life.citizen().is_some(), "no record was deleted");

    let message = |id| Quarantined {
        id,
        at: moment(NOW),
        word: "made-up".into(),
        reason: "made up".into(),
        body: Arc::from(&b"x"[..]),
        about: About::These(vec![number(NUMBER)]),
    };
    let id = life.store.next_quarantine_id();
    life.store.stage(Change::Quarantine(message(id))).expect("staged");
    life.take_in(deletion());
    assert_eq!(life.turns(None), 0);
    assert_eq!(life.store.quarantine_page(0, 10).expect("readable").len(), 1, "it waits for an operator");
    life.store.stage(Change::Release(id)).expect("staged");
    life.store.commit(Durability::Flush).expect("committed");
    // A record of which the broker had never heard was the last one all the same.
    assert_eq!(life.turns(None), 1);
    assert_eq!(life.citizen(), None);
}

/// What nobody looked at for four weeks keeps nobody: what is dead, and what is in quarantine.
/// Only the notice of a deletion does: whoever holds a copy has not been told.
#[test]
fn what_waits_for_an_operator_keeps_for_four_weeks() {
    let unsendable = Some(Outcome::Failed { failure: Failure::Unsendable, code: 0 });
    for (dies, of_others, expected) in [(false, false, 1), (false, true, 0), (true, false, 0)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut life = Life::new(dir.path());
        life.take_in(membership("2026-01-01..", 1));
        life.take_in(joblog());
        assert_eq!(life.turns(Some(Outcome::Confirmed)), 0);
        // Of a record that no clock is kept of.
        let id = ExternalId::parse("without-a-clock").expect("an id");
        life.take_in(Event { details: None, external_id: id, ..joblog() });
        assert_eq!(life.turns(unsendable), 0);
        let citizen = life.citizen().expect("known");
        assert_eq!(life.store.rows_of(citizen).expect("readable").len(), 1, "dead");
        life.take_in(membership("2026-01-01..2026-03-15", 2));
        life.take_in(deletion());
        assert_eq!(life.turns(if dies { unsendable } else { Some(Outcome::Confirmed) }), 0);
        let about = About::These(vec![number(NUMBER)].into_iter().chain(of_others.then(|| number("0101019996"))).collect());
        let message = Quarantined {
            id: life.store.next_quarantine_id(),
            at: life.now,
            word: "made-up".into(),
            reason: "made up".into(),
            body: Arc::from(&b"x"[..]),
            about,
        };
        life.store.stage(Change::Quarantine(message)).expect("staged");
        life.store.commit(Durability::Flush).expect("committed");
        let began = life.now;
        life.now = began.plus_seconds(28 * 86_400 - 60);
        assert_eq!(life.turns(None), 0);
        assert!(life.citizen().is_some());
        life.now = began.plus_seconds(28 * 86_400 + 60);
        assert_eq!(life.turns(None), expected, "dies: {dies}, of others: {of_others}");
        assert_eq!(life.citizen().is_none(), expected == 1);
        assert_eq!(life.store.quarantine_page(0, 10).expect("readable").len(), 1 - expected);
        assert_eq!(life.store.rows_of(citizen).expect("readable").is_empty(), expected == 1);
    }
}

#[test]
fn a_registration_that_ends_keeps_until_the_day_after() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    life.take_in(membership("2026-01-01..2026-03-20", 1));
    life.take_in(joblog());
    life.turns(Some(Outcome::Confirmed));
    life.take_in(deletion());
    assert_eq!(life.turns(Some(Outcome::Confirmed)), 0);
    life.now = moment("2026-03-20T22:59:00Z");
    assert_eq!(life.turns(None), 0, "the last day");
    life.now = moment("2026-03-20T23:00:01Z");
    assert_eq!(life.turns(None), 1);
    assert_eq!(life.citizen(), None);
}

/// Told to the fund, which loses the citizen; then DFDG takes the record back.
fn plant_recalled(life: &mut Life) {
    life.take_in(membership("2026-01-01..", 1));
    life.take_in(joblog());
    life.turns(Some(Outcome::Confirmed));
    life.take_in(membership("2026-01-01..2026-03-15", 2));
    let recalled = event(PLANTED, 3, Happened::Deleted, "..", Content::Other);
    life.take_in(Event { entity: "Joblog".into(), details: Some(Box::new(Details::default())), ..recalled });
    assert_eq!(life.turns(Some(Outcome::Confirmed)), 0, "the fund has a copy");
}

#[test]
fn whoever_has_a_copy_of_what_was_recalled_is_told_when_it_is_deleted() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::with_schedule(dir.path());
    plant_recalled(&mut life);
    life.take_in(Event { registered: event("x", 4, Happened::Created, "..", Content::Other).registered, ..deletion() });
    life.now = life.now.plus_seconds(1);
    let mut out = Output::default();
    life.engine.dispatch(&mut life.store, life.now, &mut out).expect("dispatched");
    life.store.commit(Durability::Flush).expect("committed");
    let [notice] = &out.attempts[..] else { panic!("{:?}", out.attempts) };
    assert_eq!((notice.key.recipient, &*notice.kind.name), (recipient("akasse:067"), "GdprSletJoblog"));
    let notice = notice.key;
    assert_eq!(life.turns(None), 0);
    life.engine.settle(notice, Outcome::Confirmed, &mut life.store, life.now, &mut out).expect("settled");
    assert_eq!(life.turns(None), 1, "nobody has a copy any more");
    assert_eq!(life.citizen(), None);
}

#[test]
fn copies_of_what_was_recalled_keep_until_its_tombstone_goes() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::with_schedule(dir.path());
    plant_recalled(&mut life);
    let citizen = life.citizen().expect("known");
    let look = |life: &mut Life| life.store.clocks(citizen).expect("readable").expect("clocks").next;
    let tombstone_goes = crate::core::samples::day("2026-04-13");
    assert_eq!(look(&mut life), Some(tombstone_goes));
    // In another life of the process it is not looked at before that either.
    drop(life);
    let mut life = Life::with_schedule(dir.path());
    life.now = moment("2026-04-12T21:59:00Z");
    assert_eq!(life.turns(None), 0, "the last day");
    assert_eq!(look(&mut life), Some(tombstone_goes));
    life.now = moment("2026-04-12T22:00:01Z");
    assert_eq!(life.turns(None), 1);
    assert_eq!(life.citizen(), None);
}

#[test]
fn nobody_is_forgotten_while_that_cannot_be_noted_for_backups() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    // A directory stands where the list of erased citizens is to be.
    let list = life.store.erased_list().to_owned();
    std::fs::create_dir(&list).expect("made");
    life.take_in(deletion());
    assert_eq!(life.turns(None), 0);
    assert!(life.citizen().is_some());
    std::fs::remove_dir(&list).expect("removed");
    assert_eq!(life.turns(None), 1);
    assert_eq!(life.citizen(), None);
}

/// The list is put back from a copy while the broker runs, and holds on to the file that was there.
#[test]
fn whoever_is_forgotten_is_on_the_list_that_is_in_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    let list = life.store.erased_list().to_owned();
    let other = life.store.enroll(&number("0102030405")).expect("enrolled");
    life.store.erase(other).expect("erased");
    let kept = std::fs::read(&list).expect("the list");
    let replace = |with: &[u8]| {
        std::fs::write(dir.path().join("copy"), with).expect("written");
        std::fs::rename(dir.path().join("copy"), &list).expect("renamed");
    };
    replace(&kept[..32]);
    life.take_in(deletion());
    assert_eq!(life.turns(None), 0, "it lacks somebody");
    replace(&kept);
    assert_eq!(life.turns(None), 1);
    assert_eq!(life.citizen(), None);
    assert_eq!(std::fs::read(&list).expect("the list").len(), kept.len() + 32);
}

/// Visibly made-up numbers of people who come and go together.
fn crowd(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{:02}{:02}77{at:04}", 1 + at % 28, 1 + at / 28 % 12)).collect()
}

/// What a night leaves: everybody's last record has gone, and nobody is to be told.
fn plant_crowd(life: &mut Life, people: &[String]) {
    for cpr in people {
        life.take_in_about(cpr, joblog());
        life.take_in_about(cpr, deletion());
    }
}

fn known(life: &mut Life, people: &[String]) -> usize {
    people.iter().filter(|cpr| life.store.find_citizen(&number(cpr)).expect("readable").is_some()).count()
}

/// After a night in which many have lost their last record, slices follow one
/// another, and do not wait for the tending of every second.
#[test]
fn many_are_forgotten_slice_by_slice_in_one_round() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    let people = crowd(150);
    // Indexed before, or passes over what is due would wait for that.
    assert_eq!(life.turn(None), 0);
    plant_crowd(&mut life, &people);
    assert!(!life.engine.is_forgetting());
    let mut slices = Vec::new();
    slices.push(life.turn(None));
    slices.push(life.turn(None));
    while life.engine.is_forgetting() {
        let mut out = Output::default();
        life.engine.forget_unneeded(&mut life.store, life.now, &mut out).expect("forgotten");
        life.store.commit(Durability::Flush).expect("committed");
        slices.push(out.facts.iter().filter(|fact| **fact == Fact::Erased(Cause::LastRecord)).count());
        assert!(slices.len() < 20);
    }
    // Found in the first turn; a slice is small enough for others to pass.
    assert_eq!(slices, [0, 64, 64, 22]);
    assert_eq!(known(&mut life, &people), 0);
}

/// Where the child finds its store.
const DIR: &str = "WSB_TEST_FORGET_DIR";

/// Forgets of its own accord, until it is killed. Does nothing in an ordinary run
/// of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut life = Life::new(Path::new(&dir));
    life.turn(None);
    say("opened");
    // A turn may go by with indexing alone.
    while life.turns(None) > 0 {
        say("some");
    }
    say("all");
}

/// Killed at moments all over: each citizen is there whole or not at all, the rest
/// are forgotten after a restart, and then nothing can be read of anybody.
#[test]
fn forgetting_that_is_killed_goes_on_after_the_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut life = Life::new(dir.path());
    let mut people = crowd(200);
    people.push(NUMBER.to_owned());
    // Of one of them there is everything that can be sealed.
    for hour in 0..10 {
        life.take_in(membership("2026-01-01..2026-03-15", hour));
    }
    plant_crowd(&mut life, &people);
    let citizen = life.citizen().expect("known");
    let sealed = sealed_of(&life.store, citizen);
    let before = secrets(dir.path());
    drop(life);
    let (mut dice, mut rounds, mut seen_between) = (Dice::new(41), 0, false);
    loop {
        let said = Victim::start("forgetting::child", DIR, dir.path()).kill_after(Duration::from_micros(dice.below(3000 + 1500 * rounds)));
        let is_over = said.iter().any(|line| line == "all");
        let mut store = Store::open(&options(dir.path())).expect("the store");
        let mut found = Vec::new();
        let _ = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
        assert_eq!(found, [] as [&str; 0], "round {rounds}");
        let mut left = 0;
        for cpr in &people {
            let Some(id) = store.find_citizen(&number(cpr)).expect("readable") else { continue };
            left += 1;
            assert!(store.citizen(id).expect("readable").is_some() && store.clocks(id).expect("readable").is_some(), "whole");
        }
        assert!(!is_over || left == 0, "{left} are left though all were said to be forgotten");
        seen_between |= left > 0 && left < people.len();
        rounds += 1;
        if left == 0 {
            break;
        }
        assert!(rounds < 300, "it gets there some time");
    }
    assert!(seen_between, "no kill came between the first and the last");
    let mut life = Life::new(dir.path());
    life.now = moment("2026-03-16T18:00:00Z");
    // What a crash has left of hashing numbers anew is done while tending.
    for _ in 0..20 {
        life.turn(None);
    }
    nothing_is_left(dir.path(), &life.store, &sealed, &before[..1]);
}
