//! Cases with a name: each was found by the simulator, or is asked for in so
//! many words, and is kept small enough to be read.

use std::collections::BTreeSet;
use std::sync::Arc;

use wsb_broker::core::engine::{
    Advanced, Begun, CameBack, Consumption, Engine, Fact, LaneOrder, Limits, Manner, Outgoing, Output, Resumed, TakenBack, Wish,
};
use wsb_broker::core::event::{Change as Aendring, Content, Event, Registered};
use wsb_broker::core::holds::Why;
use wsb_broker::core::ids::{
    Akassekode, DeliveryKey, EventMark, EventSeq, ExternalId, Jobcenterkode, Kommunekode, Personnummer, Recipient,
};
use wsb_broker::core::outbox::{Death, End, Ended, Failure, State, Withdrawal};
use wsb_broker::core::policy::{Audience, AudienceRule, Domain, MessageType, Payload, RecipientRule, RetryPolicy, Rules, Subscriptions};
use wsb_broker::core::records::{Archive, Fate, Records};
use wsb_broker::core::replay::{Filter, Order, REMEMBERED_SECONDS, Replay, ReplayId, Source, Stage, StateFilter};
use wsb_broker::core::retry::Outcome;
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::core::trace::Step;
use wsb_broker::ops::Candidates;
use wsb_broker::store::Durability;

use crate::watched::Watched;

const NACKED: Outcome = Outcome::Failed { failure: Failure::Nacked, code: 0 };
const RETURNED: Outcome = Outcome::Failed { failure: Failure::Returned, code: 312 };
const TIMEOUT: Outcome = Outcome::Failed { failure: Failure::Timeout, code: 0 };
const CONNECTION: Outcome = Outcome::Failed { failure: Failure::Connection, code: 0 };

fn recipient(text: &str) -> Recipient {
    Recipient::parse(text).expect("a recipient")
}

fn person(n: u32) -> Personnummer {
    Personnummer::parse(&format!("0101{:06}", 19_000 + n)).expect("a number")
}

fn rules() -> Arc<Rules> {
    rules_with_closed(None)
}

/// As [`rules`], with one recipient closed since yesterday.
fn rules_with_closed(closed: Option<&str>) -> Arc<Rules> {
    let kind = |name: &str, domain, audiences: &[Audience], areas: &[&str]| MessageType {
        name: name.into(),
        entity_id: 910_000,
        domain,
        payload: Payload::IdOnly,
        voluntary: false,
        after_death: false,
        audiences: audiences.iter().map(|audience| AudienceRule { audience: *audience, conditions: Vec::new() }).collect(),
        notice_for: areas.iter().map(|area| (*area).into()).collect(),
    };
    let types = vec![
        kind("Akassemedlemskab", Domain::Tilknytning, &[], &[]),
        kind("Bopaelskommune", Domain::Tilknytning, &[], &[]),
        kind("Indkaldelse", Domain::Kontaktforloeb, &[Audience::JobcenterOwnCitizens, Audience::KommuneOwnResidents], &[]),
        kind("Jobcentertilknytning", Domain::Tilknytning, &[], &[]),
        kind("Personnummerskift", Domain::Tilknytning, &[], &[]),
        kind("Joblog", Domain::Joblog, &[Audience::AkasseOwnMembers], &[]),
        kind("JoblogDokument", Domain::Joblog, &[Audience::AkasseOwnMembers], &[]),
        kind("GdprSletJoblog", Domain::Gdpr, &[Audience::Holders], &["joblog"]),
    ];
    let known = ["akasse:007", "akasse:067", "kommune:101", "kommune:147", "kommune:860"].map(str::to_owned);
    let recipients = known.into_iter().chain(MANY_FUNDS.map(|code| format!("akasse:{code}"))).map(|name| RecipientRule {
        recipient: recipient(&name),
        name: "made up".into(),
        queue: name.as_str().into(),
        vendor: "made up".into(),
        subscriptions: Subscriptions::All,
        valid_from: None,
        valid_until: closed.filter(|closed| **closed == *name).and_then(|_| Day::parse("2026-03-15").ok()),
        max_unfetched: 1000,
        maintenance: Vec::new(),
    });
    Arc::new(Rules::new(types, recipients.collect(), RetryPolicy::default()))
}

/// Funds of which one is like the other.
const MANY_FUNDS: std::ops::RangeInclusive<u32> = 301..=320;

/// A broker without anything around it.
struct Broker {
    engine: Engine,
    store: Watched,
    now: Moment,
    limits: Limits,
    facts: Vec<Fact>,
    events: u32,
}

impl Broker {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let mut engine = Engine::new(rules(), limits);
        engine.set_connected(true);
        let now = Moment::parse("2026-03-16T08:00:00Z").expect("a moment");
        Self { engine, store: Watched::default(), now, limits, facts: Vec::new(), events: 0 }
    }

    fn event(&mut self, entity: &str, of: u32, record: &str, change: Aendring, content: Content) -> Event {
        self.events += 1;
        let id = format!("e{}", self.events);
        let at = Moment(self.now.0 + i64::from(self.events));
        Event {
            mark: EventMark::of("urn:test", &id),
            source: "urn:test".into(),
            id: id.into(),
            entity: entity.into(),
            change,
            registered: Registered { at, text: at.to_string().into() },
            external_id: ExternalId::parse(record).expect("an external id"),
            version_id: None,
            personnummer: person(of),
            registrar: None,
            start: None,
            end: None,
            content,
            details: None,
            body: None,
        }
    }

    fn member(&mut self, of: u32, record: &str, fund: &str, from: &str) -> Event {
        let fund = Akassekode::parse(fund).expect("a fund");
        let event = self.event("Akassemedlemskab", of, record, Aendring::Created, Content::Membership { fund: Some(fund) });
        Event { start: Day::parse(from).ok(), ..event }
    }

    fn joblog(&mut self, of: u32, record: &str) -> Event {
        self.event("Joblog", of, record, Aendring::Updated, Content::Other)
    }

    /// Of a type that a deletion rule covers.
    fn kept_joblog(&mut self, of: u32, record: &str) -> Event {
        Event { details: Some(Box::default()), ..self.joblog(of, record) }
    }

    fn joblog_deleted(&mut self, of: u32, record: &str) -> Event {
        self.event("Joblog", of, record, Aendring::Deleted, Content::Other)
    }

    fn kept_document(&mut self, of: u32, record: &str) -> Event {
        let document = self.event("JoblogDokument", of, record, Aendring::Updated, Content::Other);
        Event { details: Some(Box::default()), ..document }
    }

    fn erased_in_dfdg(&mut self, of: u32, record: &str) -> Event {
        self.record_erased_in_dfdg("Joblog", of, record)
    }

    fn record_erased_in_dfdg(&mut self, entity: &str, of: u32, record: &str) -> Event {
        let content = Content::Deletion { area: "joblog".into(), entity: entity.into(), after_death: false };
        self.event("GdprSletning", of, record, Aendring::Created, content)
    }

    fn renumbered(&mut self, old: u32, new: u32) -> Event {
        self.event("Personnummerskift", old, &format!("n{old}-{new}"), Aendring::Created, Content::NumberChange { new: Some(person(new)) })
    }

    /// Takes in one group, and commits it.
    fn take_in(&mut self, events: Vec<Event>) -> Vec<Consumption> {
        let mut out = Output::default();
        let consumed = events
            .into_iter()
            .map(|event| self.engine.take_in(event, Manner::News, &mut self.store, self.now, &mut out).expect("never fails"))
            .collect();
        self.engine.follow_up(&mut self.store, self.now, &mut out).expect("never fails");
        self.store.commit(Durability::Flush);
        self.facts.extend(out.facts);
        consumed
    }

    fn dispatch(&mut self) -> Vec<Outgoing> {
        let mut out = Output::default();
        self.engine.dispatch(&mut self.store, self.now, &mut out).expect("never fails");
        self.store.commit(Durability::Flush);
        self.facts.extend(out.facts);
        out.attempts
    }

    /// Dispatches until there is nothing more to do now.
    fn dispatch_all(&mut self) -> Vec<Outgoing> {
        let mut attempts = self.dispatch();
        let mut rounds = 0;
        while self.engine.next_wake().is_some_and(|wake| wake <= self.now) {
            attempts.extend(self.dispatch());
            rounds += 1;
            assert!(rounds < 10, "never comes to rest");
        }
        attempts
    }

    /// The records of what is sent now, in their order.
    fn told(&mut self) -> Vec<String> {
        let mut told: Vec<String> = self.dispatch_all().iter().map(|attempt| attempt.event.external_id.as_str().to_owned()).collect();
        told.sort_unstable();
        told
    }

    /// Who is told of summonses, each as often as it is.
    fn told_to(&mut self) -> Vec<Recipient> {
        let attempts = self.dispatch_all();
        let summonses = attempts.iter().filter(|attempt| &*attempt.event.entity == "Indkaldelse");
        let mut told: Vec<Recipient> = summonses.map(|attempt| attempt.key.recipient).collect();
        told.sort_unstable();
        told
    }

    fn settle(&mut self, key: DeliveryKey, outcome: Outcome) {
        let mut out = Output::default();
        self.engine.settle(key, outcome, &mut self.store, self.now, &mut out).expect("never fails");
        self.store.commit(Durability::Flush);
        self.facts.extend(out.facts);
    }

    fn restart(&mut self) {
        self.store.crash();
        self.engine = Engine::new(rules(), self.limits);
        self.engine.recover(&mut self.store).expect("never fails");
        self.engine.start(&mut self.store).expect("never fails");
        self.store.commit(Durability::Flush);
        self.engine.set_connected(true);
    }

    /// Stops in order, and starts again.
    fn stop_and_start(&mut self) {
        self.engine.stop(&mut self.store).expect("never fails");
        self.store.commit(Durability::Flush);
        self.restart();
    }

    fn tend(&mut self) {
        let mut out = Output::default();
        self.engine.tend(&mut self.store, self.now, &mut out).expect("never fails");
        self.store.commit(Durability::Flush);
    }

    /// Has whatever was delivered to 007 sent again, the first ones at first.
    fn send_again(&mut self, canary: Option<u32>) -> Arc<Replay> {
        let filter = Filter { state: Some(StateFilter::Delivered), recipient: Some(recipient("akasse:007")), ..Filter::default() };
        let since = self.now.plus_seconds(-7 * 86_400);
        let candidates = Candidates::delivered(rules(), filter.clone(), recipient("akasse:007"), since, self.now);
        self.select(filter, Source::Delivered, candidates, canary)
    }

    /// Has whatever is dead sent again, the first ones at first.
    fn send_dead_again(&mut self, canary: Option<u32>) -> Arc<Replay> {
        let candidates = Candidates::dead(rules(), Filter::default(), None);
        self.select(Filter::default(), Source::Dead, candidates, canary)
    }

    fn select(&mut self, filter: Filter, source: Source, mut candidates: Candidates, canary: Option<u32>) -> Arc<Replay> {
        let order = Order { filter, source, rate_per_second: None, canary, by: "test".into(), scope: None, request: None };
        let begun = self.engine.begin_replay(order, &mut self.store, self.now).expect("never fails");
        let id = match begun {
            Begun::New(id) => Some(id),
            Begun::Known(_) | Begun::NameTaken => None,
        };
        let id = id.expect("a new one");
        while let Some(page) = candidates.page(&self.store, self.now).expect("never fails") {
            self.engine.select(id, &page.rows, page.under_way, &mut self.store, self.now).expect("never fails");
        }
        self.engine.freeze(id, &mut self.store, self.now, &mut Output::default()).expect("never fails");
        self.store.commit(Durability::Flush);
        self.engine.replay(id).cloned().expect("it is remembered")
    }

    /// Gives everything that replays may send now its turn.
    fn advance(&mut self) {
        while self.engine.advance_replays(&mut self.store, self.now, &mut Output::default()).expect("never fails") == Advanced::Some {
            self.store.commit(Durability::Flush);
        }
    }

    /// Has a vendor reject a copy, of a replay or not.
    fn send_back(&mut self, key: DeliveryKey, replay: bool) {
        let event = Arc::clone(&self.store.admission(key.seq).expect("never fails").expect("taken in").event);
        let (recipient, queue) = (key.recipient, key.recipient.to_string().into());
        let copy = CameBack { id: event.mark.wsb_id(recipient), event_id: event.id.clone(), recipient, replay, queue };
        let taken = self.engine.take_back(&copy, Death::RejectedByRecipient, &mut self.store, self.now, &mut Output::default());
        assert_eq!(taken.expect("never fails"), TakenBack::Known);
        self.store.commit(Durability::Flush);
    }

    /// The ends of a delivery that it did not stay with.
    fn former_ends(&mut self, key: DeliveryKey) -> Vec<Ended> {
        let steps = self.store.steps(key.seq).expect("never fails").into_iter();
        let of_it = steps.filter(|traced| traced.recipient == Some(key.recipient));
        let ends = of_it.filter_map(|traced| match traced.step {
            Step::Ended(ended) => Some((traced.at, ended)),
            _ => None,
        });
        ends.inspect(|(at, ended)| assert_eq!(*at, ended.at)).map(|(_, ended)| ended).collect()
    }

    fn wish(&mut self, id: ReplayId, wish: Wish) {
        let done = self.engine.wish(id, wish, &mut self.store, self.now, &mut Output::default()).expect("never fails");
        assert!(matches!(done, Some(Ok(_))), "{wish:?}: {done:?}");
        self.store.commit(Durability::Flush);
    }

    /// Confirms everything that is sent now, and returns how much that was.
    fn confirm_all(&mut self) -> usize {
        let attempts = self.dispatch_all();
        for attempt in &attempts {
            self.settle(attempt.key, Outcome::Confirmed);
        }
        let more = if attempts.is_empty() { 0 } else { self.confirm_all() };
        attempts.len() + more
    }

    fn fate(&mut self, key: DeliveryKey) -> Option<Fate> {
        self.store.fate(key).expect("never fails")
    }

    /// A member of 007, and a joblog event about record `j` on its way there.
    fn with_joblog_under_way(limits: Limits) -> (Self, DeliveryKey) {
        let mut broker = Self::with(limits);
        let events = vec![broker.member(1, "m", "007", "2026-01-01"), broker.joblog(1, "j")];
        broker.take_in(events);
        let attempts = broker.dispatch();
        assert_eq!(attempts.len(), 1);
        (broker, attempts[0].key)
    }
}

fn key(recipient_text: &str, seq: u64) -> DeliveryKey {
    DeliveryKey { recipient: recipient(recipient_text), seq: EventSeq(seq) }
}

const RECORD_DELETED: Option<Fate> = Some(Fate::Ended(End::Withdrawn(Withdrawal::RecordDeleted)));

/// A WSB under way when its record is deleted is not tried again should it fail,
/// and what comes after it in its lane still waits for its outcome.
#[test]
fn what_is_under_way_about_a_deleted_record_is_not_tried_again() {
    for outcome in [NACKED, TIMEOUT, CONNECTION, Outcome::Confirmed] {
        let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
        let deletion = broker.joblog_deleted(1, "j");
        broker.take_in(vec![deletion]);
        assert!(broker.dispatch().is_empty(), "the deletion waits behind what is under way");
        broker.settle(key, outcome);
        let expected = if outcome == Outcome::Confirmed { Some(Fate::Ended(End::Delivered)) } else { RECORD_DELETED };
        assert_eq!(broker.fate(key), expected);
        broker.now = broker.now.plus_seconds(3600);
        let told: Vec<Aendring> = broker.dispatch_all().iter().map(|attempt| attempt.event.change).collect();
        assert_eq!(told, [Aendring::Deleted], "{outcome:?}");
    }
}

#[test]
fn what_was_under_way_about_a_deleted_record_is_not_sent_after_a_restart() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    let deletion = broker.joblog_deleted(1, "j");
    broker.take_in(vec![deletion]);
    broker.restart();
    assert_eq!(broker.fate(key), RECORD_DELETED);
    let told: Vec<Aendring> = broker.dispatch_all().iter().map(|attempt| attempt.event.change).collect();
    assert_eq!(told, [Aendring::Deleted]);
}

/// A row of the same group, beyond the window, is not committed yet when the
/// deletion is taken in.
#[test]
fn a_deletion_finds_what_the_same_group_put_beyond_the_window() {
    let mut broker = Broker::with(Limits { window: 1, ..Limits::default() });
    let events =
        vec![broker.member(1, "m", "007", "2026-01-01"), broker.joblog(1, "first"), broker.joblog(1, "j"), broker.joblog_deleted(1, "j")];
    broker.take_in(events);
    assert_eq!(broker.fate(key("akasse:007", 3)), RECORD_DELETED);
    assert_eq!(broker.fate(key("akasse:007", 4)), Some(Fate::Unfinished));
}

/// A recall that arrives late takes back what was registered before it, not what
/// was registered since.
#[test]
fn a_late_recall_leaves_newer_registrations_alone() {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m", "007", "2026-01-01")];
    broker.take_in(events);
    let (older, recall, newer) = (broker.joblog(1, "j"), broker.joblog_deleted(1, "j"), broker.joblog(1, "j"));
    broker.take_in(vec![newer, older, recall]);
    assert_eq!(broker.fate(key("akasse:007", 2)), Some(Fate::Unfinished));
    assert_eq!(broker.fate(key("akasse:007", 3)), RECORD_DELETED);
}

/// What waits about two numbers of one person is decided again once each.
#[test]
fn merged_citizens_are_reconsidered_once() {
    let mut broker = Broker::new();
    broker.engine.set_connected(false);
    let events = vec![
        broker.member(1, "m1", "007", "2026-01-01"),
        broker.joblog(1, "j1"),
        broker.member(2, "m2", "007", "2026-01-01"),
        broker.joblog(2, "j2"),
        broker.renumbered(1, 2),
    ];
    broker.take_in(events);
    broker.restart();
    let events = vec![broker.member(2, "m3", "067", "2026-02-01")];
    broker.take_in(events);
    let withdrawn = broker.facts.iter().filter(|fact| matches!(fact, Fact::Withdrawn(..))).count();
    assert_eq!(withdrawn, 2);
    let view = broker.engine.view(broker.now);
    let pending = |name: &str| view.iter().find(|view| view.recipient == recipient(name)).map_or(0, |view| view.counts.pending);
    assert_eq!((pending("akasse:007"), pending("akasse:067")), (0, 2));
}

/// Whoever takes a place in a queue that had its turn already is told soon, and
/// nothing that is not committed yet is passed over.
#[test]
fn whoever_is_told_instead_is_told_at_once() {
    for window in [1, 4, 1024] {
        let mut broker = Broker::with(Limits { window, ..Limits::default() });
        broker.engine.set_connected(false);
        // Two citizens leave 067 for 007 at midnight; 007 has its own to be told of.
        let mut events = Vec::new();
        for of in [1, 2, 3] {
            events.push(broker.member(of, &format!("old{of}"), if of == 3 { "007" } else { "067" }, "2026-01-01"));
            events.push(broker.member(of, &format!("new{of}"), "007", "2026-03-17"));
        }
        events.extend([broker.joblog(1, "a"), broker.joblog(3, "b"), broker.joblog(2, "c"), broker.joblog(3, "d")]);
        broker.take_in(events);
        broker.restart();
        broker.now = Moment::parse("2026-03-16T23:00:00Z").expect("a moment");
        let mut told = BTreeSet::new();
        for _ in 0..8 {
            for attempt in broker.dispatch_all() {
                told.insert((attempt.key.recipient.to_string(), attempt.event.external_id.as_str().to_owned()));
                broker.settle(attempt.key, Outcome::Confirmed);
            }
        }
        let expected = ["a", "b", "c", "d"].map(|record| ("akasse:007".to_owned(), record.to_owned()));
        assert_eq!(told, BTreeSet::from(expected), "window {window}");
    }
}

/// Whatever hangs, and however much waits for it: who works is sent to.
#[test]
fn queues_that_hang_leave_places_for_others() {
    let mut broker = Broker::with(Limits { in_flight: 64, ..Limits::default() });
    let told = |broker: &mut Broker, fund: &str, people: std::ops::Range<u32>| {
        let mut events = Vec::new();
        for of in people {
            events.push(broker.member(of, &format!("m{of}"), fund, "2026-01-01"));
            events.push(broker.joblog(of, &format!("j{of}")));
        }
        broker.take_in(events);
        broker.dispatch_all()
    };
    let hanging = told(&mut broker, "007", 100..200);
    assert_eq!(hanging.len(), 32, "as many as are free");
    let working = told(&mut broker, "067", 200..240);
    assert_eq!(working.len(), 16);
    let mut arrived = 0;
    let mut under_way = working;
    while !under_way.is_empty() {
        for attempt in under_way {
            assert_eq!(attempt.key.recipient, recipient("akasse:067"), "the other one has had its share");
            broker.settle(attempt.key, Outcome::Confirmed);
            arrived += 1;
        }
        under_way = broker.dispatch_all();
    }
    assert_eq!(arrived, 40);
    // What has timed out gives its places back, and is probed alone.
    for attempt in hanging {
        broker.settle(attempt.key, TIMEOUT);
    }
    broker.now = broker.now.plus_seconds(1);
    assert_eq!(broker.dispatch_all().len(), 1);
}

/// Each took half of the places that the one before it had left, and what waited for
/// all of them stopped intake.
#[test]
fn however_many_queues_come_to_hang_the_next_one_goes_on() {
    let mut broker = Broker::with(Limits { in_flight: 256, in_journal: 1000, ..Limits::default() });
    let told = |broker: &mut Broker, fund: u32, people: std::ops::Range<u32>| {
        let mut events = Vec::new();
        for of in people {
            events.push(broker.member(of, &format!("m{of}"), &format!("{fund:03}"), "2026-01-01"));
            events.push(broker.joblog(of, &format!("j{of}")));
        }
        broker.take_in(events);
        broker.dispatch_all()
    };
    let mut hanging = Vec::new();
    for fund in MANY_FUNDS {
        let first = (fund - 300) * 150;
        hanging.extend(told(&mut broker, fund, first..first + 150));
        broker.now = broker.now.plus_millis(100);
    }
    assert!(!broker.engine.has_room(), "nobody has been silent for long");
    broker.now = broker.now.plus_seconds(3);
    assert!(broker.dispatch_all().is_empty(), "nobody who is slow is sent more");
    assert!(broker.engine.has_room(), "what they hold relies on the journal no more");

    let mut under_way = told(&mut broker, 67, 1..101);
    let mut arrived = 0;
    while !under_way.is_empty() {
        for attempt in under_way {
            assert_eq!(attempt.key.recipient, recipient("akasse:067"));
            broker.settle(attempt.key, Outcome::Confirmed);
            arrived += 1;
        }
        under_way = broker.dispatch_all();
    }
    assert_eq!(arrived, 100);
    // They have a row each, also across a restart, and go on when they answer.
    let all = 150 * MANY_FUNDS.count();
    broker.restart();
    let mut confirmed = 0;
    while confirmed < all {
        let now = broker.confirm_all();
        assert!(now > 0, "{confirmed} of {all} and no more");
        confirmed += now;
    }
    assert!(hanging.len() <= 256 + 128, "{} were under way", hanging.len());
}

#[test]
fn a_restart_keeps_the_time_of_the_next_attempt() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    broker.settle(key, CONNECTION);
    broker.restart();
    assert!(broker.dispatch_all().is_empty());
    broker.now = broker.now.plus_seconds(1);
    let attempts: Vec<u32> = broker.dispatch_all().iter().map(|attempt| attempt.attempt).collect();
    assert_eq!(attempts, [2]);
}

/// A probe that ends with its connection leaves the queue paused: a queue whose
/// every publish closes the channel is not tried in a circle.
#[test]
fn a_probe_that_loses_its_connection_is_not_repeated_at_once() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    broker.settle(key, NACKED);
    broker.now = broker.now.plus_seconds(1);
    assert_eq!(broker.dispatch_all().len(), 1);
    assert_eq!(broker.engine.next_wake(), None, "the outcome of the probe comes first");
    broker.settle(key, CONNECTION);
    assert!(broker.dispatch_all().is_empty());
    assert_eq!(broker.engine.next_wake(), Some(broker.now.plus_seconds(2)));
}

/// What waited on purpose is as late as it is after that.
#[test]
fn the_time_of_a_delivery_is_told_with_and_without_its_rest() {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m", "007", "2026-01-01"), broker.joblog(1, "j")];
    let why = Why::parse("they move house").expect("a reason");
    let fund = recipient("akasse:007");
    broker.engine.pause(fund, None, why, &mut broker.store, broker.now, &mut Output::default()).expect("never fails");
    broker.take_in(events);
    assert!(broker.dispatch_all().is_empty());
    broker.now = broker.now.plus_seconds(7200);
    let resumed = broker.engine.resume(fund, &mut broker.store, broker.now, &mut Output::default()).expect("never fails");
    assert_eq!(resumed, Resumed::GoesOn);
    broker.now = broker.now.plus_seconds(2);
    assert_eq!(broker.confirm_all(), 1);
    let delivered = |fact: &Fact| match fact {
        Fact::Delivered(_, to, took, free) if *to == fund => Some((took / 1_000_000, free / 1_000_000)),
        _ => None,
    };
    assert_eq!(broker.facts.iter().filter_map(delivered).collect::<Vec<_>>(), [(7202, 2)]);
}

/// The queue is gone, and only the oldest delivery is tried with it.
#[test]
fn what_grows_too_old_behind_a_pause_died_of_what_the_pause_is_for() {
    let mut broker = Broker::new();
    let events = (1..=3).flat_map(|of| [broker.member(of, &format!("m{of}"), "007", "2026-01-01"), broker.joblog(of, &format!("j{of}"))]);
    let events = events.collect();
    broker.take_in(events);
    let returned = Outcome::Failed { failure: Failure::Returned, code: 312 };
    let sent = broker.dispatch();
    broker.settle(sent[0].key, returned);
    let events = vec![broker.joblog(2, "later"), broker.joblog(3, "later-still")];
    broker.take_in(events);
    sent[1..].iter().for_each(|attempt| broker.settle(attempt.key, returned));
    assert!(broker.dispatch_all().is_empty(), "it is paused");
    broker.now = broker.now.plus_seconds(73 * 3600);
    broker.tend();
    let causes = broker.store.causes().expect("never fails");
    let told: Vec<_> = causes.iter().map(|(cause, tally)| (cause.why.name(), cause.code, tally.count, tally.attempts)).collect();
    assert_eq!(told, [("returned", 312, 5, 3)]);
}

#[test]
fn an_outcome_of_a_former_life_changes_nothing() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    broker.restart();
    let before = broker.engine.view(broker.now);
    broker.settle(key, Outcome::Confirmed);
    assert_eq!(broker.engine.view(broker.now), before);
    assert_eq!(broker.fate(key), Some(Fate::Unfinished));
    assert_eq!(broker.dispatch().len(), 1);
}

/// Whoever may have received something about a record is told of its deletion:
/// confirmed or not, under way or not, before a restart or since.
#[test]
fn whoever_may_hold_a_copy_is_told_of_the_deletion() {
    let consumed_after = |meanwhile: &dyn Fn(&mut Broker, DeliveryKey)| {
        let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
        meanwhile(&mut broker, key);
        let deletion = broker.erased_in_dfdg(1, "j");
        broker.take_in(vec![deletion])
    };
    let check = |what: &str, meanwhile: &dyn Fn(&mut Broker, DeliveryKey)| {
        assert_eq!(consumed_after(meanwhile), [Consumption::Routed], "{what}");
    };
    let leaves = |broker: &mut Broker, _: DeliveryKey| {
        let event = broker.member(1, "m", "067", "2026-01-01");
        broker.take_in(vec![event]);
    };
    check("under way", &|_, _| {});
    check("confirmed", &|broker, key| broker.settle(key, Outcome::Confirmed));
    check("failed for all that is known", &|broker, key| broker.settle(key, TIMEOUT));
    check("withdrawn after it failed", &|broker, key| {
        broker.settle(key, TIMEOUT);
        leaves(broker, key);
    });
    check("lost with the process", &|broker, _| broker.restart());
    check("lost with the process, then withdrawn", &|broker, key| {
        broker.restart();
        leaves(broker, key);
    });

    check("refused, after a failure that says nothing", &|broker, key| {
        broker.settle(key, TIMEOUT);
        broker.now = broker.now.plus_seconds(3600);
        assert_eq!(broker.dispatch().len(), 1);
        broker.settle(key, NACKED);
        leaves(broker, key);
    });
    // What RabbitMQ has refused lies nowhere.
    for refused in [NACKED, RETURNED, Outcome::NotMade] {
        let consumed = consumed_after(&|broker, key| {
            broker.settle(key, refused);
            leaves(broker, key);
        });
        assert_eq!(consumed, [Consumption::NoRecipient], "{refused:?}");
    }

    let mut broker = Broker::new();
    let deletion = broker.erased_in_dfdg(1, "j");
    assert_eq!(broker.take_in(vec![deletion]), [Consumption::NoRecipient], "nobody holds anything");
}

/// A delivery that dies in the group of the deletion may have arrived all the same.
#[test]
fn whoever_died_in_the_same_group_may_hold_a_copy() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    broker.now = broker.now.plus_seconds(72 * 3600);
    let deletion = broker.erased_in_dfdg(1, "j");
    let mut out = Output::default();
    broker.engine.settle(key, TIMEOUT, &mut broker.store, broker.now, &mut out).expect("never fails");
    let consumed = broker.take_in(vec![deletion]);
    assert_eq!(consumed, [Consumption::Routed]);
    assert_eq!(broker.fate(key), RECORD_DELETED, "and nobody has to look after it any more");
}

/// What was taken back because its record is gone does not come to life in
/// another's place.
#[test]
fn nobody_is_told_instead_of_another_about_a_deleted_record() {
    let (mut broker, key_of_first) = Broker::with_joblog_under_way(Limits::default());
    broker.settle(key_of_first, NACKED);
    // To 067, where it is taken back; the first fund is entitled again after that.
    let event = broker.member(1, "m2", "067", "2026-02-01");
    broker.take_in(vec![event]);
    assert_eq!(broker.fate(key("akasse:067", 2)), Some(Fate::Unfinished));
    let deletion = broker.joblog_deleted(1, "j");
    broker.take_in(vec![deletion]);
    assert_eq!(broker.fate(key("akasse:067", 2)), RECORD_DELETED);
    let event = broker.member(1, "m3", "007", "2026-03-01");
    broker.take_in(vec![event]);
    broker.now = broker.now.plus_seconds(3600);
    let told: Vec<Aendring> = broker.dispatch_all().iter().map(|attempt| attempt.event.change).collect();
    assert_eq!(told, [Aendring::Deleted]);
}

/// What is known under each of three numbers comes together, whatever the order
/// of the events, and the newest number is the one that is sent.
#[test]
fn number_changes_in_every_order() {
    let mut broker = Broker::new();
    let jobcentre = Content::Jobcentre { jobcentre: Jobcenterkode::parse("10101").ok() };
    let events = [
        broker.member(1, "m1", "007", "2025-01-01"),
        broker.renumbered(1, 2),
        broker.event("Jobcentertilknytning", 2, "j2", Aendring::Created, jobcentre),
        broker.renumbered(2, 3),
        broker.member(3, "m3", "067", "2026-01-01"),
    ];
    for order in orders(events.len()) {
        let mut broker = Broker::new();
        for at in &order {
            broker.take_in(vec![events[*at].clone()]);
        }
        let mut known = |of| {
            let id = broker.store.find_citizen(&person(of)).expect("never fails").expect("known");
            broker.store.citizen(id).expect("never fails").expect("known")
        };
        let citizen = known(1);
        assert!(known(2) == citizen && known(3) == citizen, "{order:?}");
        assert!(citizen.personnummer == person(3), "{order:?}");
        let counted = (citizen.memberships.registrations().len(), citizen.jobcentres.registrations().len());
        assert_eq!(counted, (2, 1), "{order:?}");
        // Whatever number a later event carries.
        for of in [1, 2, 3] {
            broker.events += 100;
            let event = broker.joblog(of, "j");
            broker.take_in(vec![event]);
        }
        let attempts = broker.dispatch();
        assert_eq!(attempts.len(), 1, "one lane");
        assert_eq!(attempts[0].key.recipient, recipient("akasse:067"));
        assert!(attempts[0].identification == Some(person(3)), "{order:?}");
    }
}

/// Two people are one for as long as a change of number says so, whatever order
/// that comes in; once it is recalled, or corrected to somebody else, each has
/// what is its own, and what waited goes to each one's own fund.
#[test]
fn a_number_change_that_is_taken_back_joins_nobody() {
    type Undo = fn(&mut Broker) -> Event;
    let recalled: Undo = |broker| Event { change: Aendring::Deleted, ..broker.renumbered(1, 2) };
    let without_number: Undo = |broker| {
        let recall = broker.renumbered(1, 2);
        Event { change: Aendring::Deleted, content: Content::NumberChange { new: None }, ..recall }
    };
    let to_another_number: Undo = |broker| {
        let external_id = broker.renumbered(1, 2).external_id;
        Event { external_id, change: Aendring::Updated, ..broker.renumbered(1, 3) }
    };
    // As DFDG may send it: under the current number, which it then names as well.
    let recalled_by_itself: Undo = |broker| Event { change: Aendring::Deleted, personnummer: person(2), ..broker.renumbered(1, 2) };
    let corrected_to_itself: Undo = |broker| Event { change: Aendring::Updated, personnummer: person(2), ..broker.renumbered(1, 2) };
    let of_another: Undo = |broker| {
        let external_id = broker.renumbered(1, 2).external_id;
        Event { external_id, change: Aendring::Updated, ..broker.renumbered(4, 5) }
    };
    for (at, undo) in
        [recalled, without_number, to_another_number, of_another, recalled_by_itself, corrected_to_itself].into_iter().enumerate()
    {
        for in_order in [true, false] {
            let case = format!("{at}, in order: {in_order}");
            let mut broker = Broker::new();
            let known = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "067", "2025-06-01")];
            broker.take_in(known);
            let change = broker.renumbered(1, 2);
            let undo = undo(&mut broker);
            let waits = [broker.joblog(1, "a"), broker.joblog(2, "b")];
            if in_order {
                broker.take_in(vec![change]);
                // Until then they are one, and the later membership counts.
                broker.engine.set_connected(false);
                broker.take_in(waits.to_vec());
                let view = broker.engine.view(broker.now);
                let pending = |name: &str| view.iter().find(|view| view.recipient == recipient(name)).map_or(0, |view| view.counts.pending);
                assert_eq!((pending("akasse:067"), pending("akasse:007")), (2, 0), "{case}");
                broker.take_in(vec![undo]);
                broker.restart();
                broker.engine.set_connected(true);
            } else {
                broker.take_in(vec![undo, change]);
                broker.take_in(waits.to_vec());
            }
            let mut told: Vec<_> = broker.dispatch_all();
            told.sort_by_key(|attempt| attempt.event.external_id.as_str().to_owned());
            let told: Vec<_> =
                told.iter().map(|attempt| (attempt.event.external_id.as_str(), attempt.key.recipient, attempt.identification)).collect();
            let number_of_first = if at == 2 { person(3) } else { person(1) };
            let expected = [("a", recipient("akasse:007"), Some(number_of_first)), ("b", recipient("akasse:067"), Some(person(2)))];
            assert!(told == expected, "{case}");
        }
    }
}

/// What was one person's when its record was recalled or deleted is taken back, though
/// the change of number turns out to be none in the same group.
#[test]
fn what_waits_about_a_deleted_record_goes_though_its_numbers_are_parted_next() {
    let ends: [fn(&mut Broker, u32, &str) -> Event; 2] = [Broker::joblog_deleted, Broker::erased_in_dfdg];
    for (end, in_one_group) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        let mut broker = Broker::new();
        broker.engine.set_connected(false);
        let known = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "007", "2025-01-01")];
        broker.take_in(known);
        let waits = vec![broker.renumbered(1, 2), broker.joblog(1, "a")];
        broker.take_in(waits);
        let deletion = end(&mut broker, 2, "a");
        let parting = Event { change: Aendring::Deleted, ..broker.renumbered(1, 2) };
        if in_one_group {
            broker.take_in(vec![deletion, parting]);
        } else {
            broker.take_in(vec![deletion]);
            broker.take_in(vec![parting]);
        }
        assert_eq!(broker.fate(key("akasse:007", 4)), RECORD_DELETED, "in one group: {in_one_group}");
    }
}

/// What waits about two numbers keeps its order among itself from when they are
/// known to be one person's, and not a moment longer.
#[test]
fn lanes_of_two_numbers_are_one_lane_while_they_are_one_person() {
    let waiting = || {
        let mut broker = Broker::new();
        let known = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "007", "2025-01-01")];
        broker.take_in(known);
        broker.engine.set_connected(false);
        let waits =
            vec![broker.joblog(1, "a"), broker.joblog(2, "b"), broker.joblog(1, "c"), broker.renumbered(1, 2), broker.joblog(2, "d")];
        broker.take_in(waits);
        broker
    };
    for restarted in [false, true] {
        let mut broker = waiting();
        if restarted {
            broker.restart();
        }
        broker.engine.set_connected(true);
        for expected in ["a", "b", "c", "d"] {
            let attempts = broker.dispatch_all();
            let sent: Vec<_> = attempts.iter().map(|attempt| attempt.event.external_id.as_str()).collect();
            assert_eq!(sent, [expected], "restarted: {restarted}");
            broker.settle(attempts[0].key, Outcome::Confirmed);
        }
    }
    let mut broker = waiting();
    let recall = Event { change: Aendring::Deleted, ..broker.renumbered(1, 2) };
    broker.take_in(vec![recall]);
    broker.engine.set_connected(true);
    assert_eq!(broker.told(), ["a", "b"], "two lanes");
}

/// A parked lane stays parked, of whoever the person turns out to be.
#[test]
fn a_parked_lane_of_two_numbers_is_parked_for_both() {
    let mut broker = Broker::new();
    broker.engine.set_connected(false);
    let known = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "007", "2025-01-01")];
    broker.take_in(known);
    let events = vec![broker.joblog(1, "a"), broker.joblog(2, "b")];
    broker.take_in(events);
    let why = Why::parse("made up").expect("a reason");
    let named = key("akasse:007", 4);
    let parked = broker.engine.park(named, why, &mut broker.store, broker.now).expect("never fails");
    assert_eq!(parked, LaneOrder::Done);
    broker.store.commit(Durability::Flush);
    let events = vec![broker.renumbered(1, 2), broker.joblog(1, "c")];
    broker.take_in(events);
    broker.engine.set_connected(true);
    assert!(broker.dispatch_all().is_empty(), "one person, whose lane is parked");
    let events = vec![Event { change: Aendring::Deleted, ..broker.renumbered(1, 2) }];
    broker.take_in(events);
    broker.restart();
    broker.engine.set_connected(true);
    assert!(broker.dispatch_all().is_empty(), "each as they were together");
    let id = broker.store.delivery(named).expect("never fails").expect("waits").id();
    let released = broker.engine.release_named(id, &mut broker.store, broker.now).expect("never fails");
    assert_eq!(released, LaneOrder::Done);
    broker.store.commit(Durability::Flush);
    assert_eq!(broker.told(), ["a", "b"]);
}

/// The time allowed for retries begins anew when a parked lane is released, whoever
/// the person turns out to be, after a restart too.
#[test]
fn what_was_parked_has_its_time_anew_of_whoever_the_person_turns_out_to_be() {
    for (parted, restarted) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut broker = Broker::new();
        broker.engine.set_connected(false);
        let events = vec![
            broker.member(1, "m1", "007", "2025-01-01"),
            broker.member(2, "m2", "007", "2025-01-01"),
            // Of the later one of the two, whose lane another one takes the place of.
            broker.joblog(2, "b"),
        ];
        broker.take_in(events);
        let named = key("akasse:007", 3);
        let why = Why::parse("made up").expect("a reason");
        let parked = broker.engine.park(named, why, &mut broker.store, broker.now).expect("never fails");
        assert_eq!(parked, LaneOrder::Done);
        broker.now = broker.now.plus_seconds(80 * 3600);
        let released = broker.engine.release(named, &mut broker.store, broker.now).expect("never fails");
        assert_eq!(released, LaneOrder::Done);
        broker.store.commit(Durability::Flush);
        let change = broker.renumbered(1, 2);
        broker.take_in(vec![change]);
        if parted {
            let recall = Event { change: Aendring::Deleted, ..broker.renumbered(1, 2) };
            broker.take_in(vec![recall]);
        }
        if restarted {
            broker.restart();
        }
        broker.engine.set_connected(true);
        assert_eq!(broker.told(), ["b"]);
        broker.settle(named, NACKED);
        let row = broker.store.delivery(named).expect("never fails").expect("is tried again");
        assert!(matches!(row.state, State::Retrying { .. }), "parted: {parted}, restarted: {restarted}: {:?}", row.state);
    }
}

/// Whoever is told in another's place may be attempted at once: a crash must not take
/// back that they were to be, or nobody would tell them that the record is deleted.
#[test]
fn what_is_handed_over_lasts_before_it_is_attempted() {
    // What was under way when the citizen moved is handed over when it fails.
    for (moves, outcome, expected) in [(true, TIMEOUT, true), (true, Outcome::Confirmed, false), (false, TIMEOUT, false)] {
        let (mut broker, under_way) = Broker::with_joblog_under_way(Limits::default());
        let waits = vec![broker.joblog(1, "k")];
        broker.take_in(waits);
        if moves {
            let transfer = vec![broker.member(1, "m", "067", "2026-01-01")];
            broker.take_in(transfer);
            assert!(broker.dispatch_all().is_empty(), "what is older goes before");
        }
        let mut out = Output::default();
        broker.engine.settle(under_way, outcome, &mut broker.store, broker.now, &mut out).expect("never fails");
        assert_eq!(out.must_last(), expected, "moves: {moves}, {outcome:?}");
    }
    // And what nobody was entitled to yesterday.
    let mut broker = Broker::new();
    broker.engine.set_connected(false);
    let member = broker.member(1, "m", "007", "2025-01-01");
    let events = vec![
        member.clone(),
        broker.joblog(1, "j"),
        Event { change: Aendring::Updated, end: Day::parse("2026-03-15").ok(), ..broker.member(1, "m", "007", "2025-01-01") },
        broker.member(1, "n", "067", "2026-03-17"),
    ];
    broker.take_in(events);
    for (days, expected) in [(0, false), (1, true)] {
        broker.now = broker.now.plus_seconds(days * 86_400);
        let mut out = Output::default();
        broker.engine.tend(&mut broker.store, broker.now, &mut out).expect("never fails");
        broker.store.commit(Durability::Flush);
        assert_eq!(out.must_last(), expected, "after {days} days");
    }
}

/// A transfer in two events: between them nobody has the citizen, and what waited
/// is withdrawn; the new fund gets it once it is known, in order, and once.
#[test]
fn what_is_withdrawn_between_two_memberships_reaches_the_second_one() {
    let closed = |broker: &mut Broker| {
        let event = broker.member(1, "m1", "007", "2025-01-01");
        Event { change: Aendring::Updated, end: Day::parse("2026-03-10").ok(), ..event }
    };
    let waiting = |broker: &mut Broker| {
        broker.engine.set_connected(false);
        let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.joblog(1, "a"), broker.joblog(1, "b")];
        broker.take_in(events);
        let events = vec![closed(broker)];
        broker.take_in(events);
        broker.restart();
        assert!(broker.dispatch_all().is_empty(), "nobody's");
    };
    let told_067 = |broker: &mut Broker, from: &str| {
        let mut told = Vec::new();
        loop {
            let attempts = broker.dispatch_all();
            let Some(attempt) = attempts.first() else { break };
            assert_eq!((attempts.len(), attempt.key.recipient), (1, recipient("akasse:067")), "{from}");
            told.push(attempt.event.external_id.as_str().to_owned());
            broker.settle(attempt.key, Outcome::Confirmed);
        }
        told
    };
    // Opened by the next event; twice over, should it be registered again.
    let mut broker = Broker::new();
    waiting(&mut broker);
    for expected in [&["a", "b"][..], &[]] {
        let events = vec![broker.member(1, "m2", "067", "2026-03-11")];
        broker.take_in(events);
        assert_eq!(told_067(&mut broker, "opened"), expected);
    }
    // Opened for a day to come: at midnight.
    let mut broker = Broker::new();
    waiting(&mut broker);
    let events = vec![broker.member(1, "m2", "067", "2026-03-17")];
    broker.take_in(events);
    broker.tend();
    assert!(broker.dispatch_all().is_empty());
    broker.restart();
    broker.now = Moment::parse("2026-03-16T23:00:00Z").expect("a moment");
    broker.tend();
    assert_eq!(told_067(&mut broker, "at midnight"), ["a", "b"]);
    // A record that is deleted meanwhile is told to nobody, nor is what is too old.
    let mut broker = Broker::new();
    waiting(&mut broker);
    let events = vec![broker.joblog_deleted(1, "a"), broker.member(1, "m2", "067", "2026-03-11")];
    broker.take_in(events);
    assert_eq!(told_067(&mut broker, "deleted"), ["b"]);
    let mut broker = Broker::new();
    waiting(&mut broker);
    broker.now = broker.now.plus_seconds(73 * 3600);
    let events = vec![broker.member(1, "m2", "067", "2026-03-11")];
    broker.take_in(events);
    assert_eq!(told_067(&mut broker, "too old"), [""; 0]);
    broker.tend();
    assert_eq!(broker.store.unclaimed(None, 9).expect("never fails"), []);
}

/// Whoever holds a copy is told of its own: what waits for one whose queue is closed goes
/// to no other holder, such as one that was sent the record when it was there again, and
/// waits for the one that holds it.
#[test]
fn a_holder_is_told_in_nobodys_place() {
    fn notices(broker: &mut Broker) -> Vec<Recipient> {
        broker.tend();
        let attempts = broker.dispatch_all();
        attempts.iter().for_each(|attempt| broker.settle(attempt.key, Outcome::Confirmed));
        attempts.iter().filter(|attempt| &*attempt.event.entity == "GdprSletning").map(|attempt| attempt.key.recipient).collect()
    }
    let (one, other) = (recipient("akasse:007"), recipient("akasse:067"));
    for held_by_both in [false, true] {
        let mut broker = Broker::new();
        let events = vec![broker.member(1, "m", "007", "2026-01-01"), broker.joblog(1, "j")];
        broker.take_in(events);
        assert_eq!(broker.confirm_all(), 1);
        let event = broker.member(1, "m", "067", "2026-01-01");
        broker.take_in(vec![event]);
        let (earlier, deletion, anew) = (broker.joblog(1, "j"), broker.erased_in_dfdg(1, "j"), broker.joblog(1, "j"));
        if held_by_both {
            broker.take_in(vec![earlier]);
            assert_eq!(broker.confirm_all(), 1);
        }
        broker.take_in(vec![deletion]);
        broker.engine.set_rules(rules_with_closed(Some("akasse:007")));
        let expected: &[Recipient] = if held_by_both { &[other] } else { &[] };
        assert_eq!(notices(&mut broker), expected, "held by both: {held_by_both}");
        if !held_by_both {
            broker.take_in(vec![anew]);
            assert_eq!(broker.confirm_all(), 1);
        }
        broker.now = broker.now.plus_seconds(86_400);
        assert_eq!(notices(&mut broker), [], "held by both: {held_by_both}");
        broker.engine.set_rules(rules());
        assert_eq!(notices(&mut broker), [one], "held by both: {held_by_both}");
    }
}

/// Records of two types may have one id. Whoever holds a copy of each is told of the
/// deletion of each, by itself and without the number of who has left.
#[test]
fn a_notice_about_one_record_leaves_the_holder_of_another_with_its_id() {
    for [first, second] in [["JoblogDokument", "Joblog"], ["Joblog", "JoblogDokument"]] {
        let mut broker = Broker::new();
        let events = vec![broker.member(1, "m", "007", "2026-01-01"), broker.kept_joblog(1, "j"), broker.kept_document(1, "j")];
        broker.take_in(events);
        assert_eq!(broker.confirm_all(), 2);
        let deletion = broker.record_erased_in_dfdg(first, 1, "j");
        broker.take_in(vec![deletion]);
        assert_eq!(broker.confirm_all(), 1);
        let left = broker.member(1, "m", "067", "2026-01-01");
        let deletion = broker.record_erased_in_dfdg(second, 1, "j");
        broker.take_in(vec![left, deletion.clone()]);
        let told: Vec<_> = broker.dispatch_all().iter().map(|attempt| (attempt.key, attempt.identification)).collect();
        let [(key, None)] = told[..] else { panic!("{told:?} of the deletion of {second}") };
        assert_eq!(key.recipient, recipient("akasse:007"));
        broker.settle(key, Outcome::Confirmed);
        // Told of both, it holds neither.
        let again = Event { mark: EventMark::of("urn:test", "again"), id: "again".into(), ..deletion };
        broker.take_in(vec![again]);
        assert_eq!(broker.confirm_all(), 0);
    }
}

/// One of two records with one id is corrected to another citizen: whoever was told of it
/// holds a copy of that one's, and of the other record still one of the first citizen's.
#[test]
fn a_corrected_record_does_not_take_the_holders_of_another_with_its_id() {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.kept_joblog(1, "j"), broker.kept_document(1, "j")];
    broker.take_in(events);
    assert_eq!(broker.confirm_all(), 2);
    let corrected = broker.kept_joblog(2, "j");
    let left = broker.member(1, "m1", "067", "2025-01-01");
    broker.take_in(vec![corrected, left]);
    let deletions = [broker.record_erased_in_dfdg("JoblogDokument", 1, "j"), broker.erased_in_dfdg(2, "j")];
    for deletion in deletions {
        let of = (deletion.personnummer, deletion.record_entity().to_owned());
        broker.take_in(vec![deletion]);
        let attempts = broker.dispatch_all();
        let told: Vec<Recipient> = attempts.iter().map(|attempt| attempt.key.recipient).collect();
        assert_eq!(told, [recipient("akasse:007")], "of {of:?}");
        attempts.iter().for_each(|attempt| broker.settle(attempt.key, Outcome::Confirmed));
    }
}

/// What was registered before a record was deleted, and comes after that, is told to
/// nobody; what is registered later is.
#[test]
fn what_comes_after_its_records_deletion_is_told_to_nobody() {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m", "007", "2026-01-01"), broker.joblog(1, "j"), broker.joblog(1, "j")];
    let [member, told, late] = <[Event; 3]>::try_from(events).expect("three");
    let deletion = broker.erased_in_dfdg(1, "j");
    let anew = broker.joblog(1, "j");
    broker.take_in(vec![member, told]);
    let key = broker.dispatch_all()[0].key;
    broker.settle(key, Outcome::Confirmed);
    let consumed = broker.take_in(vec![deletion, late]);
    assert_eq!(consumed, [Consumption::Routed, Consumption::NoRecipient]);
    assert_eq!(broker.take_in(vec![anew]), [Consumption::Routed]);
}

/// A record that nothing was known of is deleted: whoever was told of others of its
/// type is told of that.
#[test]
fn the_deletion_of_an_unknown_record_is_told_to_holders_of_its_type() {
    let mut broker = Broker::new();
    let known = broker.joblog(1, "j");
    let events = vec![broker.member(1, "m", "007", "2026-01-01"), Event { details: Some(Box::default()), ..known }];
    broker.take_in(events);
    let key = broker.dispatch_all()[0].key;
    broker.settle(key, Outcome::Confirmed);
    let deletion = broker.erased_in_dfdg(1, "unheard-of");
    broker.take_in(vec![deletion]);
    let attempts = broker.dispatch_all();
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.event.external_id.as_str(), attempt.key.recipient)).collect();
    assert_eq!(told, [("unheard-of", recipient("akasse:007"))]);
}

/// A contact group that DFDG has deleted is nobody's reason for anything any more.
#[test]
fn a_deleted_record_counts_for_nothing() {
    let mut broker = Broker::new();
    let group = Content::ContactGroup { group: Some(1), former: None };
    let group = broker.event("Kontaktgruppe", 1, "g", Aendring::Created, group);
    let deletion = Content::Deletion { area: "kontaktgruppe".into(), entity: "Kontaktgruppe".into(), after_death: false };
    let deletion = broker.event("GdprSletning", 1, "g", Aendring::Created, deletion);
    let late = Event { mark: EventMark::of("urn:test", "late"), id: "late".into(), ..group.clone() };
    let in_group = |broker: &mut Broker| {
        let id = broker.store.find_citizen(&person(1)).expect("never fails").expect("known");
        let citizen = broker.store.citizen(id).expect("never fails").expect("known");
        citizen.contact_groups_on(Day::in_copenhagen(broker.now)).any(|group| group == 1)
    };
    broker.take_in(vec![group]);
    assert!(in_group(&mut broker));
    broker.take_in(vec![deletion]);
    assert!(!in_group(&mut broker));
    broker.take_in(vec![late]);
    assert!(!in_group(&mut broker), "older than the deletion");
}

/// A contact group that was corrected to another citizen, and back or on to a third,
/// is deleted: what it said is remembered of nobody, so that nobody is told of a later
/// recall by it, and no later registration is a move from it.
#[test]
fn a_deleted_record_is_forgotten_of_whomever_it_was_corrected_from() {
    // In the first order the older registration comes after its correction.
    for (corrected, deleted_under) in [(&[2, 1][..], 2), (&[1, 2], 2), (&[1, 2], 1), (&[1, 2, 3], 3), (&[1, 2, 3, 2], 1)] {
        let mut broker = Broker::new();
        let says = |group| Content::ContactGroup { group, former: None };
        let mut registered: Vec<Event> =
            corrected.iter().map(|of| broker.event("Kontaktgruppe", *of, "g", Aendring::Updated, says(Some(13)))).collect();
        if corrected[0] > corrected[1] {
            let newer = registered[1].registered.clone();
            registered[0].registered = Registered { at: Moment(newer.at.0 + 1), ..newer };
        }
        registered.into_iter().for_each(|event| drop(broker.take_in(vec![event])));
        let remembered = |broker: &mut Broker, of: u32| {
            let id = broker.store.find_citizen(&person(of)).expect("never fails").expect("known");
            let citizen = broker.store.citizen(id).expect("never fails").expect("known");
            let record = ExternalId::parse("g").expect("an id");
            citizen.contact_groups.of_record(&record).and_then(|registration| registration.claim().map(|claim| claim.value))
        };
        for of in corrected {
            assert_eq!(remembered(&mut broker, *of), Some(13), "{of} of {corrected:?}");
        }
        let deletion = Content::Deletion { area: "kontaktgruppe".into(), entity: "Kontaktgruppe".into(), after_death: false };
        let deletion = broker.event("GdprSletning", deleted_under, "g", Aendring::Created, deletion);
        broker.take_in(vec![deletion]);
        for of in corrected {
            assert_eq!(remembered(&mut broker, *of), None, "{of} of {corrected:?}");
        }
        let recall = broker.event("Kontaktgruppe", 1, "g", Aendring::Deleted, says(None));
        broker.take_in(vec![recall]);
        for of in corrected {
            assert_eq!(remembered(&mut broker, *of), None, "{of} of {corrected:?}, recalled");
        }
    }
}

/// What is under way at a transfer may come to be the new fund's, should it fail:
/// what is newer waits for that, whether it waited behind it or came only then.
#[test]
fn what_is_newer_waits_for_what_is_under_way_at_a_transfer() {
    for fails in [true, false] {
        for waits_behind in [true, false] {
            let case = format!("fails: {fails}, waits behind: {waits_behind}");
            let mut broker = Broker::new();
            let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.joblog(1, "a")];
            broker.take_in(events);
            let under_way = broker.dispatch()[0].key;
            let news = vec![broker.joblog(1, "b"), broker.joblog(1, "c")];
            let leaves = broker.member(1, "m1", "007", "2025-01-01");
            let leaves = Event { change: Aendring::Updated, end: Day::parse("2026-02-28").ok(), ..leaves };
            let transfer = vec![leaves, broker.member(1, "m2", "067", "2026-03-01")];
            broker.take_in(if waits_behind { [news, transfer].concat() } else { [transfer, news].concat() });
            assert_eq!(broker.told(), [""; 0], "{case}");
            broker.settle(under_way, if fails { NACKED } else { Outcome::Confirmed });
            for expected in ["a", "b", "c"].into_iter().skip(usize::from(!fails)) {
                let attempts = broker.dispatch_all();
                let told: Vec<_> = attempts.iter().map(|attempt| (attempt.event.external_id.as_str(), attempt.key.recipient)).collect();
                assert_eq!(told, [(expected, recipient("akasse:067"))], "{case}");
                broker.settle(attempts[0].key, Outcome::Confirmed);
            }
            assert_eq!(broker.told(), [""; 0], "{case}");
        }
    }
}

/// A death, or a second membership from the same day, that is taken back again:
/// what waited goes to the fund that had it.
#[test]
fn what_is_withdrawn_in_passing_is_sent_after_all() {
    type Passing = fn(&mut Broker, Aendring) -> Event;
    let dies: Passing = |broker, change| broker.event("PersonDoed", 1, "d", change, Content::Death { on: Day::parse("2026-03-01").ok() });
    let contradicts: Passing = |broker, change| Event { change, ..broker.member(1, "m9", "067", "2025-01-01") };
    for passing in [dies, contradicts] {
        let mut broker = Broker::new();
        broker.engine.set_connected(false);
        let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.joblog(1, "a"), passing(&mut broker, Aendring::Created)];
        broker.take_in(events);
        let first = key("akasse:007", 2);
        assert_eq!(broker.fate(first), Some(Fate::Ended(End::Withdrawn(Withdrawal::MembershipEnded))));
        let events = vec![passing(&mut broker, Aendring::Deleted)];
        broker.take_in(events);
        broker.engine.set_connected(true);
        let attempts = broker.dispatch_all();
        assert_eq!(attempts.iter().map(|attempt| attempt.key).collect::<Vec<_>>(), [first], "with the same id");
        let ends = broker.former_ends(first);
        assert_eq!(ends.iter().map(|ended| ended.end).collect::<Vec<_>>(), [End::Withdrawn(Withdrawal::MembershipEnded)]);
    }
}

fn jobcentre(broker: &mut Broker, record: &str, code: &str, from: &str) -> Event {
    let content = Content::Jobcentre { jobcentre: Jobcenterkode::parse(code).ok() };
    Event { start: Day::parse(from).ok(), ..broker.event("Jobcentertilknytning", 1, record, Aendring::Created, content) }
}

fn residence(broker: &mut Broker, record: &str, code: &str, from: &str) -> Event {
    let content = Content::Residence { kommune: Kommunekode::parse(code).ok() };
    Event { start: Day::parse(from).ok(), ..broker.event("Bopaelskommune", 1, record, Aendring::Created, content) }
}

/// At a change of jobcentre the former kommune stays entitled, as that of
/// residence; the new one is told too.
#[test]
fn whoever_has_the_citizen_by_the_same_rule_is_told_beside_one_that_stays_entitled() {
    for at_once in [true, false] {
        let mut broker = Broker::new();
        broker.engine.set_connected(false);
        let events = vec![
            jobcentre(&mut broker, "j1", "10100", "2025-01-01"),
            residence(&mut broker, "r", "101", "2025-01-01"),
            broker.event("Indkaldelse", 1, "i", Aendring::Created, Content::Other),
        ];
        broker.take_in(events);
        // In force at once, or from midnight on without another event.
        let from = if at_once { "2026-03-01" } else { "2026-03-17" };
        let events = vec![jobcentre(&mut broker, "j2", "14700", from)];
        broker.take_in(events);
        broker.now = Moment::parse("2026-03-16T23:00:00Z").expect("a moment");
        broker.engine.set_connected(true);
        assert_eq!(broker.told_to(), [recipient("kommune:101"), recipient("kommune:147")], "at once: {at_once}");
    }
}

/// A kommune that has the citizen by two rules, and loses them one by one: what
/// waited reaches whoever each of the rules comes to name, in whatever order that
/// becomes known, and over a restart.
#[test]
fn what_was_told_by_two_rules_reaches_whoever_each_of_them_comes_to_name() {
    for restarts in [false, true] {
        for order in orders(4) {
            let mut broker = Broker::new();
            broker.engine.set_connected(false);
            let events = vec![
                jobcentre(&mut broker, "j1", "10100", "2025-01-01"),
                residence(&mut broker, "r1", "101", "2025-01-01"),
                broker.event("Indkaldelse", 1, "i", Aendring::Created, Content::Other),
            ];
            broker.take_in(events);
            let closed = |event: Event| Event { change: Aendring::Updated, end: Day::parse("2026-02-28").ok(), ..event };
            let changes = [
                closed(jobcentre(&mut broker, "j1", "10100", "2025-01-01")),
                closed(residence(&mut broker, "r1", "101", "2025-01-01")),
                jobcentre(&mut broker, "j2", "14700", "2026-03-01"),
                residence(&mut broker, "r2", "860", "2026-03-01"),
            ];
            for at in &order {
                broker.take_in(vec![changes[*at].clone()]);
                if restarts {
                    broker.restart();
                    broker.engine.set_connected(false);
                }
            }
            broker.engine.set_connected(true);
            assert_eq!(broker.told_to(), [recipient("kommune:147"), recipient("kommune:860")], "{order:?}, restarts: {restarts}");
        }
    }
}

/// What is withdrawn by one rule, begins anew by the other and is withdrawn again waits
/// for whoever has the citizen by the first rule no longer for that.
#[test]
fn each_rule_of_what_is_unclaimed_has_its_own_time() {
    let closed = |event: Event| Event { change: Aendring::Updated, end: Day::parse("2026-02-28").ok(), ..event };
    for (withdrawn_again, told_after, expected) in
        [(40, 71, &["kommune:147", "kommune:860"][..]), (40, 73, &["kommune:860"]), (73, 74, &["kommune:860"]), (40, 113, &[])]
    {
        for restarts in [false, true] {
            let mut broker = Broker::new();
            broker.engine.set_connected(false);
            let began = broker.now;
            let pass = |broker: &mut Broker, hours: i64| {
                broker.now = began.plus_seconds(hours * 3600);
                if restarts {
                    broker.restart();
                    broker.engine.set_connected(false);
                }
            };
            let events = vec![
                jobcentre(&mut broker, "j1", "10100", "2025-01-01"),
                residence(&mut broker, "r1", "101", "2025-01-01"),
                broker.event("Indkaldelse", 1, "i", Aendring::Created, Content::Other),
                closed(jobcentre(&mut broker, "j1", "10100", "2025-01-01")),
                closed(residence(&mut broker, "r1", "101", "2025-01-01")),
            ];
            broker.take_in(events);
            pass(&mut broker, 39);
            let begun_anew = residence(&mut broker, "r2", "101", "2026-03-01");
            broker.take_in(vec![begun_anew]);
            pass(&mut broker, withdrawn_again);
            let ended = closed(residence(&mut broker, "r2", "101", "2026-02-01"));
            broker.take_in(vec![ended]);
            pass(&mut broker, told_after);
            let events = vec![jobcentre(&mut broker, "j2", "14700", "2026-03-01"), residence(&mut broker, "r3", "860", "2026-03-01")];
            broker.take_in(events);
            broker.engine.set_connected(true);
            let expected: Vec<_> = expected.iter().map(|name| recipient(name)).collect();
            assert_eq!(broker.told_to(), expected, "again after {withdrawn_again} h, told after {told_after} h, restarts: {restarts}");
        }
    }
}

/// The same where nobody is told for a while because the citizen is said to be dead.
#[test]
fn what_was_told_by_two_rules_survives_a_death_that_is_recalled() {
    let mut broker = Broker::new();
    broker.engine.set_connected(false);
    let died =
        |broker: &mut Broker, change| broker.event("PersonDoed", 1, "d", change, Content::Death { on: Day::parse("2026-03-01").ok() });
    let events = vec![
        jobcentre(&mut broker, "j1", "10100", "2025-01-01"),
        residence(&mut broker, "r1", "101", "2025-01-01"),
        broker.event("Indkaldelse", 1, "i", Aendring::Created, Content::Other),
        died(&mut broker, Aendring::Created),
        jobcentre(&mut broker, "j2", "14700", "2026-03-01"),
    ];
    broker.take_in(events);
    let recalled = died(&mut broker, Aendring::Deleted);
    broker.take_in(vec![recalled]);
    broker.engine.set_connected(true);
    assert_eq!(broker.told_to(), [recipient("kommune:101"), recipient("kommune:147")]);
}

/// A death that is registered under the wrong number and corrected to the right
/// one: the first citizen lives, and is told of.
#[test]
fn a_death_corrected_to_another_citizen_leaves_the_first_one_alive() {
    let died = |broker: &mut Broker, of, change| {
        let content = Content::Death { on: Day::parse("2026-03-01").ok() };
        broker.event("PersonDoed", of, "d", change, content)
    };
    for in_order in [true, false] {
        let mut broker = Broker::new();
        let known = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "007", "2025-01-01")];
        broker.take_in(known);
        let wrong = died(&mut broker, 1, Aendring::Created);
        let right = died(&mut broker, 2, Aendring::Updated);
        broker.take_in(if in_order { vec![wrong, right] } else { vec![right, wrong] });
        let events = vec![broker.joblog(1, "a"), broker.joblog(2, "b")];
        broker.take_in(events);
        assert_eq!(broker.told(), ["a"], "in order: {in_order}");
    }
}

fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let insert = |at: usize, order: &Vec<usize>| {
        let mut order = order.clone();
        order.insert(at, n - 1);
        order
    };
    let shorter = orders(n - 1);
    (0..n).flat_map(|at| shorter.iter().map(move |order| insert(at, order)).collect::<Vec<_>>()).collect()
}

/// A membership that was registered under the wrong number and is corrected to
/// the right one: the first citizen's fund is told nothing more, in whatever
/// order the two registrations come, and what waited is withdrawn at once.
#[test]
fn a_membership_corrected_to_another_citizen_leaves_the_first_one() {
    for in_order in [true, false] {
        let mut broker = Broker::new();
        let wrong = broker.member(1, "m", "067", "2026-01-01");
        let right = Event { change: Aendring::Updated, ..broker.member(2, "M", "067", "2026-01-01") };
        let right = Event { external_id: wrong.external_id.clone(), ..right };
        let waits = broker.joblog(1, "waits");
        if in_order {
            broker.take_in(vec![wrong, waits, right]);
        } else {
            broker.take_in(vec![right, waits, wrong]);
        }
        let events = vec![broker.joblog(1, "first"), broker.joblog(2, "second")];
        broker.take_in(events);
        let told: Vec<String> = broker.dispatch_all().iter().map(|attempt| attempt.event.external_id.as_str().to_owned()).collect();
        assert_eq!(told, ["second"], "in order: {in_order}");
        // The recall, under the number it was corrected to, ends it for both.
        let recall = broker.event("Akassemedlemskab", 2, "m", Aendring::Deleted, Content::Membership { fund: None });
        let after = vec![recall, broker.joblog(1, "first-again"), broker.joblog(2, "second-again")];
        broker.take_in(after);
        assert!(broker.dispatch_all().is_empty());
    }
}

/// What there is of a retained record after its registrations came in some order.
fn kept_of(broker: &mut Broker, of: u32) -> Vec<(String, Moment)> {
    let Some(id) = broker.store.find_citizen(&person(of)).expect("never fails") else { return Vec::new() };
    let clocks = broker.store.clocks(id).expect("never fails");
    clocks.iter().flat_map(|clocks| &clocks.records).map(|clock| (clock.external_id.as_str().to_owned(), clock.first_at)).collect()
}

/// A retained record that was registered under the wrong number and is corrected to
/// the right one: its clock runs for the second citizen, from the day on which it
/// was first registered, in whatever order the registrations come.
#[test]
fn a_retained_record_corrected_to_another_citizen_runs_out_for_that_one() {
    for order in orders(3) {
        let mut broker = Broker::new();
        let members = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "067", "2025-01-01")];
        broker.take_in(members);
        let registered = [broker.kept_joblog(1, "j"), broker.kept_joblog(1, "j"), broker.kept_joblog(2, "J")];
        let registered = registered.map(|event| Event { external_id: ExternalId::parse("j").expect("an id"), ..event });
        let first_at = registered[0].registered.at;
        broker.take_in(order.iter().map(|at| registered[*at].clone()).collect());
        assert_eq!(kept_of(&mut broker, 1), [], "{order:?}");
        assert_eq!(kept_of(&mut broker, 2), [("j".to_owned(), first_at)], "{order:?}");
        // Neither what waited when the correction came, nor what came after it.
        let told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
        assert_eq!(told, [recipient("akasse:067")], "{order:?}");
        // And back again, should that be registered later still.
        let back = broker.kept_joblog(1, "j");
        broker.take_in(vec![back]);
        assert_eq!(kept_of(&mut broker, 1), [("j".to_owned(), first_at)], "{order:?}");
        assert_eq!(kept_of(&mut broker, 2), [], "{order:?}");
    }
}

/// Whoever was sent something about the record while it was said to be the first
/// citizen's is told of its deletion, without a number, and nothing is sent again.
#[test]
fn whoever_was_told_under_the_wrong_number_is_told_of_the_deletion() {
    for under_way in [false, true] {
        let mut broker = Broker::new();
        let events = vec![
            broker.member(1, "m1", "007", "2025-01-01"),
            broker.member(2, "m2", "067", "2025-01-01"),
            broker.kept_joblog(1, "j"),
            broker.kept_joblog(1, "j"),
        ];
        broker.take_in(events);
        let first = broker.dispatch_all()[0].key;
        if !under_way {
            broker.settle(first, Outcome::Confirmed);
        }
        let right = broker.kept_joblog(2, "j");
        broker.take_in(vec![right]);
        if under_way {
            broker.settle(first, TIMEOUT);
            // Beyond the pause that follows.
            broker.now = broker.now.plus_seconds(3600);
        }
        let second = broker.dispatch_all();
        assert_eq!(second.iter().map(|attempt| attempt.key.recipient).collect::<Vec<_>>(), [recipient("akasse:067")]);
        second.iter().for_each(|attempt| broker.settle(attempt.key, Outcome::Confirmed));
        assert_eq!(broker.fate(key("akasse:007", 4)), RECORD_DELETED);
        if !under_way {
            let replay = broker.send_again(None);
            broker.advance();
            assert!(broker.dispatch_all().is_empty(), "{replay:?}");
        }
        let deletion = broker.erased_in_dfdg(2, "j");
        broker.take_in(vec![deletion]);
        let mut told: Vec<_> = broker.dispatch_all().iter().map(|attempt| (attempt.key.recipient, attempt.identification)).collect();
        told.sort_unstable_by_key(|(recipient, _)| *recipient);
        assert_eq!(told, [(recipient("akasse:007"), None), (recipient("akasse:067"), Some(person(2)))], "under way: {under_way}");
    }
}

/// DFDG has deleted a record under the number that it had been corrected from, or that
/// its correction has not reached yet: it is gone for both.
#[test]
fn a_deletion_under_another_number_ends_the_record() {
    for deleted_under in [1, 2] {
        let mut broker = Broker::new();
        let events =
            vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "067", "2025-01-01"), broker.kept_joblog(1, "j")];
        broker.take_in(events);
        let late = broker.kept_joblog(2, "j");
        broker.confirm_all();
        let deletion = broker.erased_in_dfdg(deleted_under, "j");
        broker.take_in(vec![deletion, late]);
        assert_eq!([kept_of(&mut broker, 1), kept_of(&mut broker, 2)], [[], []], "under {deleted_under}");
        let told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
        assert_eq!(told, [recipient("akasse:007")], "under {deleted_under}");
    }
}

/// A record is recalled under another number than it was registered under, and deleted
/// under either one's: whoever was told of it is told that, once.
#[test]
fn whoever_was_told_is_told_of_the_deletion_under_either_number_after_a_recall() {
    for deleted_under in [1, 2] {
        let mut broker = Broker::new();
        let events =
            vec![broker.member(1, "m1", "007", "2025-01-01"), broker.member(2, "m2", "067", "2025-01-01"), broker.kept_joblog(1, "j")];
        broker.take_in(events);
        broker.confirm_all();
        let recalled = Event { change: Aendring::Deleted, ..broker.kept_joblog(2, "j") };
        broker.take_in(vec![recalled]);
        broker.confirm_all();
        let deletion = broker.erased_in_dfdg(deleted_under, "j");
        broker.take_in(vec![deletion]);
        let told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
        assert!(told.contains(&recipient("akasse:007")), "under {deleted_under}: {told:?}");
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "under {deleted_under}: {told:?}");
    }
}

/// A record is recalled under the number of somebody of whom nothing is left, who is forgotten
/// by that: whoever was told of it under the first number is told when it is
/// deleted there.
#[test]
fn whoever_was_told_is_told_of_the_deletion_though_somebody_it_was_recalled_under_is_forgotten() {
    for under_way in [false, true] {
        let mut broker = Broker::new();
        let events = vec![broker.member(1, "m", "007", "2025-01-01"), broker.kept_joblog(1, "j")];
        broker.take_in(events);
        let first = broker.dispatch_all()[0].key;
        if !under_way {
            broker.settle(first, Outcome::Confirmed);
        }
        // Of the second one there is nothing left.
        let last = broker.erased_in_dfdg(2, "k");
        let recalled = Event { change: Aendring::Deleted, ..broker.kept_joblog(2, "j") };
        broker.take_in(vec![last, recalled]);
        let look = |broker: &mut Broker| {
            broker.engine.clockwork(&mut broker.store, broker.now, &mut Output::default()).expect("never fails");
            broker.store.commit(Durability::Flush);
            broker.tend();
        };
        look(&mut broker);
        assert!(broker.store.find_citizen(&person(2)).expect("never fails").is_some(), "for the copy of what was recalled");
        // Not for longer than its tombstone stands.
        broker.now = broker.now.plus_seconds(28 * 86_400);
        look(&mut broker);
        assert_eq!(broker.store.find_citizen(&person(2)).expect("never fails"), None, "under way: {under_way}");
        if under_way {
            broker.settle(first, TIMEOUT);
            // Beyond the pause that follows.
            broker.now = broker.now.plus_seconds(3600);
        }
        let events = vec![broker.member(1, "m", "067", "2025-01-01"), broker.erased_in_dfdg(1, "j")];
        broker.take_in(events);
        let told: Vec<_> = broker.dispatch_all().iter().map(|attempt| (attempt.key.recipient, attempt.identification)).collect();
        assert!(told.contains(&(recipient("akasse:007"), None)), "under way: {under_way}: {told:?}");
    }
}

/// Somebody is kept for a copy that nobody could be told the deletion of. Once it has been
/// told after all, nothing keeps them: not the tombstone either.
#[test]
fn whoever_a_copy_kept_is_forgotten_once_its_holder_has_been_told() {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m", "007", "2025-01-01"), broker.kept_joblog(1, "j")];
    broker.take_in(events);
    broker.confirm_all();
    let ended = Event { change: Aendring::Updated, end: Day::parse("2026-02-28").ok(), ..broker.member(1, "m", "007", "2025-01-01") };
    let events = vec![ended, broker.erased_in_dfdg(1, "j")];
    broker.take_in(events);
    let look = |broker: &mut Broker| {
        broker.engine.clockwork(&mut broker.store, broker.now, &mut Output::default()).expect("never fails");
        broker.store.commit(Durability::Flush);
        broker.tend();
        broker.store.find_citizen(&person(1)).expect("never fails").is_some()
    };
    broker.engine.set_rules(rules_with_closed(Some("akasse:007")));
    assert!(broker.dispatch_all().is_empty());
    assert!(look(&mut broker) && look(&mut broker), "for the copy");
    broker.engine.set_rules(rules());
    broker.tend();
    let told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
    assert_eq!(told, [recipient("akasse:007")]);
    broker.settle(key("akasse:007", 4), Outcome::Confirmed);
    broker.now = broker.now.plus_seconds(1);
    assert!(!look(&mut broker));
}

/// A handover that is corrected to another citizen is not the first one's, in whatever order
/// that is heard of, and a recall of it leaves it with neither.
#[test]
fn a_handover_is_whose_it_was_corrected_to() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for heard in 2..=3 {
            let mut broker = Broker::new();
            let joblogs = vec![broker.kept_joblog(1, "j"), broker.kept_joblog(2, "k")];
            broker.take_in(joblogs);
            let area = |area: Option<&str>| Content::HandedOver { area: area.map(Into::into) };
            let events = [
                broker.event("RigsarkivAflevering", 1, "h", Aendring::Created, area(Some("joblog"))),
                broker.event("RigsarkivAflevering", 2, "h", Aendring::Updated, area(Some("joblog"))),
                broker.event("RigsarkivAflevering", 2, "h", Aendring::Deleted, area(None)),
            ];
            for at in order.into_iter().filter(|at| *at < heard) {
                broker.take_in(vec![events[at].clone()]);
            }
            let was_handed_over = [1, 2].map(|number| {
                let citizen = broker.store.find_citizen(&person(number)).expect("never fails").expect("known");
                let clocks = broker.store.clocks(citizen).expect("never fails").expect("clocks");
                clocks.was_handed_over("joblog", Moment(0))
            });
            assert_eq!(was_handed_over, [false, heard == 2], "{order:?}, {heard} of them");
        }
    }
}

/// What comes late about somebody who has been erased, and is no reason to know anybody,
/// leaves nobody behind.
#[test]
fn what_comes_late_about_the_erased_leaves_nobody_behind() {
    let handed_over = |broker: &mut Broker| {
        broker.event("RigsarkivAflevering", 1, "r", Aendring::Created, Content::HandedOver { area: Some("joblog".into()) })
    };
    let deleted = |broker: &mut Broker| broker.erased_in_dfdg(1, "j");
    // Registered under another number since.
    let older = |broker: &mut Broker| broker.kept_joblog(1, "k");
    let late: [&dyn Fn(&mut Broker) -> Event; 3] = [&handed_over, &deleted, &older];
    for (at, late) in late.into_iter().enumerate() {
        let mut broker = Broker::new();
        let event = late(&mut broker);
        let events = vec![broker.kept_joblog(2, "k"), event];
        broker.take_in(events);
        assert!(broker.store.find_citizen(&person(1)).expect("never fails").is_some(), "{at}");
        let mut out = Output::default();
        broker.engine.clockwork(&mut broker.store, broker.now, &mut out).expect("never fails");
        broker.store.commit(Durability::Flush);
        broker.tend();
        assert_eq!(broker.store.find_citizen(&person(1)).expect("never fails"), None, "{at}");
        assert!(broker.store.find_citizen(&person(2)).expect("never fails").is_some(), "{at}");
    }
}

/// Somebody who is a member no more is forgotten with the last record. What had been registered
/// of the membership before it was ended, and comes only then, makes nobody a member;
/// what is registered anew does, and so does the end itself when it comes once more.
#[test]
fn what_comes_late_about_somebody_forgotten_makes_nobody_a_member() {
    for [late_is_older, is_recalled] in [[true, false], [true, true], [false, false]] {
        let mut broker = Broker::new();
        let older = broker.member(1, "m", "007", "2025-01-01");
        let ended = match is_recalled {
            true => broker.event("Akassemedlemskab", 1, "m", Aendring::Deleted, Content::Membership { fund: None }),
            false => Event { end: Day::parse("2025-12-31").ok(), ..broker.member(1, "m", "007", "2025-01-01") },
        };
        // Of one instant the recall is the later one.
        let older = if is_recalled { Event { registered: ended.registered.clone(), ..older } } else { older };
        let newer = broker.member(1, "m", "007", "2025-01-01");
        let events = vec![ended, broker.kept_joblog(1, "j"), broker.erased_in_dfdg(1, "j")];
        broker.take_in(events);
        broker.engine.clockwork(&mut broker.store, broker.now, &mut Output::default()).expect("never fails");
        broker.store.commit(Durability::Flush);
        broker.tend();
        assert_eq!(broker.store.find_citizen(&person(1)).expect("never fails"), None);
        let events = vec![if late_is_older { older } else { newer }, broker.joblog(1, "k")];
        broker.take_in(events);
        assert_eq!(broker.dispatch_all().len(), usize::from(!late_is_older), "{late_is_older} {is_recalled}");
    }
}

/// The zero GUID stands for no record: what carries it is each citizen's own.
#[test]
fn the_zero_guid_is_nobodys_record() {
    let mut broker = Broker::new();
    const NONE: &str = "00000000-0000-0000-0000-000000000000";
    let events = vec![broker.kept_joblog(1, NONE), broker.kept_joblog(2, NONE)];
    broker.take_in(events);
    assert_eq!([kept_of(&mut broker, 1).len(), kept_of(&mut broker, 2).len()], [1, 1]);
}

/// The same under an old and a new number of one person is no correction: once
/// they are known to be one, the membership is hers.
#[test]
fn a_membership_registered_under_both_numbers_of_a_person_is_that_persons() {
    for old_is_newer in [true, false] {
        let mut broker = Broker::new();
        let first = broker.member(1, "m", "067", "2026-01-01");
        let second = broker.member(2, "m", "067", "2026-01-01");
        let events = if old_is_newer { vec![second, first] } else { vec![first, second] };
        broker.take_in(events);
        let events = vec![broker.renumbered(1, 2), broker.joblog(1, "a"), broker.joblog(2, "b")];
        broker.take_in(events);
        let mut told: Vec<String> = Vec::new();
        loop {
            let attempts = broker.dispatch_all();
            if attempts.is_empty() {
                break;
            }
            told.extend(attempts.iter().map(|attempt| attempt.event.external_id.as_str().to_owned()));
            attempts.iter().for_each(|attempt| broker.settle(attempt.key, Outcome::Confirmed));
        }
        assert_eq!(told, ["a", "b"]);
    }
}

/// Returns what the store is asked for when somebody moves to another fund, and is
/// erased in one record, with so many deliveries of others waiting.
fn reads_of_one_citizens_changes(others: u32) -> usize {
    let mut makes = Broker::new();
    let mut store = Watched::default();
    let mut engine = Engine::new(rules(), Limits { window: 8, ..Limits::default() });
    let now = makes.now;
    let mut take_in = |events: Vec<Event>, store: &mut Watched| {
        let mut out = Output::default();
        for event in events {
            engine.take_in(event, Manner::News, store, now, &mut out).expect("never fails");
        }
        engine.follow_up(store, now, &mut out).expect("never fails");
        store.commit(Durability::Flush);
        engine.dispatch(store, now, &mut out).expect("never fails");
        store.commit(Durability::Flush);
        out.facts
    };
    // Of a thousand citizens at the most.
    let of = |n: u32| 2 + n % 1000;
    let members: Vec<Event> = (0..others.min(1000)).map(|n| makes.member(of(n), &format!("m{}", of(n)), "007", "2026-01-01")).collect();
    take_in(members, &mut store);
    for from in (0..others).step_by(500) {
        let events = (from..others.min(from + 500)).map(|n| makes.joblog(of(n), &format!("j{n}"))).collect();
        take_in(events, &mut store);
    }
    let own = vec![makes.member(1, "m", "007", "2026-01-01"), makes.joblog(1, "j"), makes.joblog(1, "k")];
    take_in(own, &mut store);
    let before = store.reads;
    let moves = vec![makes.member(1, "n", "067", "2026-02-01")];
    let deletion = vec![makes.erased_in_dfdg(1, "k")];
    let facts = [take_in(moves, &mut store), take_in(deletion, &mut store)].concat();
    let withdrawn = facts.iter().filter(|fact| matches!(fact, Fact::Withdrawn(..))).count();
    assert_eq!(withdrawn, 3, "two leave the former fund, and what waits about the record the new one: {facts:?}");
    store.reads - before
}

#[test]
fn one_citizens_change_reads_as_much_with_a_hundred_thousand_waiting_as_with_ten() {
    let (few, many) = (reads_of_one_citizens_changes(10), reads_of_one_citizens_changes(100_000));
    // A window's worth may be loaded meanwhile.
    assert!(many <= few + 16, "{few} reads with ten, {many} with a hundred thousand");
}

/// Two clicks, or two people with the same idea, whenever the second comes.
#[test]
fn what_a_replay_has_sent_again_is_its_own_until_it_is_over() {
    let mut broker = Broker::new();
    let member = broker.member(1, "m", "007", "2026-01-01");
    let joblogs = (0..10).map(|n| broker.joblog(1, &format!("j{n}"))).collect();
    broker.take_in(vec![member]);
    broker.take_in(joblogs);
    assert_eq!(broker.confirm_all(), 10);
    let check = |broker: &mut Broker, when: &str, free: u64| {
        // What is delivered at this very instant comes after the time asked for.
        broker.now = broker.now.plus_seconds(1);
        let other = broker.send_again(None);
        assert_eq!((other.matched(), other.matched() + other.already_claimed), (free, 10), "{when}");
        other.id
    };
    broker.now = broker.now.plus_seconds(3600);
    let first = broker.send_again(Some(4));
    broker.advance();
    check(&mut broker, "the first ones wait to be attempted", 0);
    assert_eq!(broker.confirm_all(), 4);
    check(&mut broker, "the first ones have been sent again", 0);
    broker.restart();
    check(&mut broker, "after a restart", 0);
    broker.now = broker.now.plus_seconds(86_400);
    check(&mut broker, "a day later", 0);
    // What it has not sent yet is anybody's once it is stopped.
    broker.wish(first.id, Wish::Stop);
    let second = check(&mut broker, "stopped", 6);
    broker.advance();
    assert_eq!(broker.confirm_all(), 6);
    broker.wish(first.id, Wish::Resume);
    assert_eq!(broker.engine.replay(first.id).map(|replay| replay.stage), Some(Stage::WaitingForGo));
    broker.wish(first.id, Wish::Go);
    broker.advance();
    assert_eq!(broker.confirm_all(), 0);
    for id in [first.id, second] {
        assert!(matches!(broker.engine.replay(id).map(|replay| replay.stage), Some(Stage::Done { .. })));
    }
    check(&mut broker, "a click too many", 0);
    broker.now = broker.now.plus_seconds(6);
    check(&mut broker, "a new order", 10);
    broker.advance();
    assert_eq!(broker.confirm_all(), 10);
}

/// Ten that 007 has rejected: too large for RabbitMQ.
fn ten_are_dead() -> Broker {
    let mut broker = Broker::new();
    let member = broker.member(1, "m", "007", "2026-01-01");
    let joblogs = (0..10).map(|n| broker.joblog(1, &format!("j{n}"))).collect();
    broker.take_in(vec![member]);
    broker.take_in(joblogs);
    loop {
        let attempts = broker.dispatch_all();
        if attempts.is_empty() {
            break;
        }
        for attempt in attempts {
            broker.settle(attempt.key, Outcome::Failed { failure: Failure::Unsendable, code: 0 });
        }
    }
    broker
}

/// What two replays have selected is sent by the one in whose hands it was before a
/// restart, also where an older one has gone on after that had selected it.
#[test]
fn a_delivery_stays_in_the_hands_it_is_in_over_a_restart() {
    for restarts in 0..4 {
        let mut broker = ten_are_dead();
        let first = broker.send_dead_again(Some(1));
        broker.advance();
        broker.wish(first.id, Wish::Stop);
        let second = broker.send_dead_again(Some(2));
        assert_eq!((first.matched(), second.matched()), (10, 9));
        broker.wish(first.id, Wish::Resume);
        if restarts & 1 > 0 {
            broker.restart();
        }
        broker.advance();
        broker.wish(first.id, Wish::Go);
        broker.wish(second.id, Wish::Go);
        if restarts & 2 > 0 {
            broker.restart();
        }
        broker.advance();
        let progress = |broker: &Broker, id| broker.engine.replay(id).map(|replay| (replay.stage.name(), replay.progress.sent));
        assert_eq!(progress(&broker, first.id), Some(("done", 1)), "{restarts}");
        assert_eq!(progress(&broker, second.id), Some(("done", 9)), "{restarts}");
        assert_eq!(broker.confirm_all(), 10, "{restarts}");
    }
}

/// A clock that is set back before a selection, while it waits, or both.
#[test]
fn a_clock_that_is_set_back_makes_no_replay_skip_what_is_free() {
    for (before, meanwhile) in [(0, 0), (300, 0), (0, 300), (300, 300)] {
        let mut broker = ten_are_dead();
        broker.now = broker.now.plus_seconds(-before);
        let replay = broker.send_dead_again(Some(3));
        broker.advance();
        broker.now = broker.now.plus_seconds(-meanwhile);
        broker.restart();
        broker.wish(replay.id, Wish::Go);
        broker.advance();
        let progress = broker.engine.replay(replay.id).map(|replay| (replay.progress.sent, replay.progress.skipped));
        assert_eq!(progress, Some((10, 0)), "set back by {before} and {meanwhile} seconds");
        assert_eq!(broker.confirm_all(), 10);
    }
}

/// However many others are done since, one that was stopped can go on.
#[test]
fn a_replay_that_was_stopped_is_not_forgotten_for_others() {
    let mut broker = ten_are_dead();
    let stopped = broker.send_dead_again(Some(1));
    broker.advance();
    broker.wish(stopped.id, Wish::Stop);
    let rest = broker.send_dead_again(None);
    broker.advance();
    assert_eq!(broker.confirm_all(), 10);
    for _ in 0..250 {
        broker.send_dead_again(None);
        broker.tend();
    }
    assert_eq!(broker.engine.replay(rest.id), None);
    assert_eq!(broker.engine.replays().count(), 102, "a hundred, the newest and the one that was stopped");
    broker.wish(stopped.id, Wish::Resume);
    broker.now = broker.now.plus_seconds(REMEMBERED_SECONDS);
    broker.wish(stopped.id, Wish::Stop);
    broker.tend();
    assert!(broker.engine.replay(stopped.id).is_some(), "it was stopped just now");
    broker.now = broker.now.plus_seconds(REMEMBERED_SECONDS);
    while broker.engine.replays().count() > 1 {
        broker.tend();
    }
    assert_eq!(broker.engine.replay(stopped.id), None, "after 90 days it is forgotten like the others");
}

/// Where a delivery stands that is sent again after it had been delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Waits,
    UnderWay,
    Retried,
    Delivered,
}

/// A member of 007 who goes to 067, and an event that 007 was sent, and then again.
fn sent_again(again: Again) -> (Broker, DeliveryKey) {
    let mut broker = Broker::new();
    let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.joblog(1, "j")];
    broker.take_in(events);
    assert_eq!(broker.confirm_all(), 1);
    broker.now = broker.now.plus_seconds(60);
    broker.send_again(None);
    broker.advance();
    let key = key("akasse:007", 2);
    match again {
        Again::Waits => {}
        Again::UnderWay => assert_eq!(broker.dispatch_all().len(), 1),
        Again::Retried => {
            assert_eq!(broker.dispatch_all().len(), 1);
            broker.settle(key, CONNECTION);
        }
        Again::Delivered => assert_eq!(broker.confirm_all(), 1),
    }
    (broker, key)
}

/// Has the dead sent again after the citizen has gone to 067; returns who is told.
fn told_after_the_move(broker: &mut Broker) -> Vec<Recipient> {
    let moved = broker.member(1, "m2", "067", "2026-03-01");
    broker.take_in(vec![moved]);
    broker.now = broker.now.plus_seconds(60);
    broker.send_dead_again(None);
    broker.advance();
    broker.now = broker.now.plus_seconds(3600);
    broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect()
}

/// What a vendor has rejected, it was not told: whoever has the citizen by then is told
/// instead, unless the other copy is still there.
#[test]
fn a_copy_that_comes_back_does_not_count_as_delivered() {
    const ORIGINAL: bool = false;
    const AGAIN: bool = true;
    let every = [Again::Waits, Again::UnderWay, Again::Retried, Again::Delivered];
    let of_a_replay = [Again::UnderWay, Again::Retried, Again::Delivered];
    let cases: [(&[Again], &[bool], bool); 4] = [
        (&of_a_replay, &[ORIGINAL, AGAIN], true),
        (&of_a_replay, &[AGAIN, ORIGINAL], true),
        (&every[..3], &[ORIGINAL], true),
        (&of_a_replay, &[AGAIN], false),
    ];
    let check = |again: Again, copies: &[bool], restarts: bool, is_owed: bool| {
        let (mut broker, key) = sent_again(again);
        for copy in copies {
            if restarts {
                broker.restart();
            }
            broker.send_back(key, *copy);
        }
        let told = told_after_the_move(&mut broker);
        let expected = if is_owed { vec![recipient("akasse:067")] } else { Vec::new() };
        assert_eq!(told, expected, "{again:?}, {copies:?}, restarts: {restarts}");
        // Each copy that had been delivered, and came back, is told of.
        let steps = broker.store.steps(key.seq).expect("never fails");
        let back: Vec<_> = steps.iter().filter(|traced| matches!(traced.step, Step::CameBack { .. })).collect();
        assert!(back.len() == copies.len() || again != Again::Delivered, "{back:?}");
    };
    for (stands, copies, is_owed) in cases {
        for again in stands {
            check(*again, copies, false, is_owed);
            check(*again, copies, true, is_owed);
        }
    }
    // The one that was sent again is still there.
    check(Again::Delivered, &[ORIGINAL], false, false);
}

/// Nothing was owed to anybody when it was withdrawn; now it is.
#[test]
fn what_was_withdrawn_for_having_been_delivered_is_owed_once_that_copy_comes_back() {
    for restarts in [false, true] {
        let (mut broker, key) = sent_again(Again::Waits);
        let moved = broker.member(1, "m2", "067", "2026-03-01");
        broker.take_in(vec![moved]);
        assert_eq!(broker.fate(key), Some(Fate::Ended(End::Withdrawn(Withdrawal::MembershipEnded))));
        assert!(broker.dispatch_all().is_empty(), "it had been told");
        if restarts {
            broker.restart();
        }
        broker.now = broker.now.plus_seconds(60);
        broker.send_back(key, false);
        assert_eq!(broker.fate(key), Some(Fate::Unfinished), "it is for a person to decide");
        let ends: Vec<End> = broker.former_ends(key).iter().map(|ended| ended.end).collect();
        assert_eq!(ends, [End::Withdrawn(Withdrawal::MembershipEnded)]);
        broker.now = broker.now.plus_seconds(60);
        broker.send_dead_again(None);
        broker.advance();
        let told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
        assert_eq!(told, [recipient("akasse:067")], "restarts: {restarts}");
    }
}

/// Sent again twice: that it was delivered at first is told for good.
#[test]
fn every_copy_that_was_delivered_stays_in_the_trace() {
    let (mut broker, key) = sent_again(Again::Delivered);
    broker.now = broker.now.plus_seconds(60);
    broker.send_again(None);
    broker.advance();
    assert_eq!(broker.confirm_all(), 1);
    let ends = broker.former_ends(key);
    assert_eq!(ends.iter().map(|ended| ended.end).collect::<Vec<_>>(), [End::Delivered]);
}

/// What is deleted while it is under way is withdrawn, and arrives all the same.
#[test]
fn a_withdrawal_that_came_too_late_stays_in_the_trace() {
    let (mut broker, key) = Broker::with_joblog_under_way(Limits::default());
    let deletion = broker.joblog_deleted(1, "j");
    broker.take_in(vec![deletion]);
    broker.settle(key, Outcome::Confirmed);
    assert_eq!(broker.fate(key), Some(Fate::Ended(End::Delivered)));
    let ends: Vec<End> = broker.former_ends(key).iter().map(|ended| ended.end).collect();
    assert_eq!(ends, [End::Withdrawn(Withdrawal::RecordDeleted)]);
}

/// After an orderly stop it is known that what waits was never sent; after any other, it
/// is not, and nor is it after an orderly stop that comes later.
#[test]
fn only_a_stop_without_notice_leaves_unknown_what_was_sent() {
    type Stop = fn(&mut Broker);
    let in_order: Stop = Broker::stop_and_start;
    let without_notice: Stop = Broker::restart;
    let cases: [(&[Stop], bool); 5] = [
        (&[in_order], false),
        (&[in_order, in_order], false),
        (&[without_notice], true),
        (&[in_order, without_notice], true),
        (&[without_notice, in_order], true),
    ];
    for (at, (stops, may_be_held)) in cases.into_iter().enumerate() {
        let mut broker = Broker::new();
        broker.engine.set_connected(false);
        let events = vec![broker.member(1, "m1", "007", "2025-01-01"), broker.kept_joblog(1, "j")];
        broker.take_in(events);
        for stop in stops {
            stop(&mut broker);
            broker.engine.set_connected(false);
        }
        let moved = broker.member(1, "m2", "067", "2026-03-01");
        broker.take_in(vec![moved]);
        let of_007 = key("akasse:007", 2);
        let ended = broker.store.ended(of_007).expect("never fails").expect("withdrawn");
        assert_eq!((ended.end, ended.attempts), (End::Withdrawn(Withdrawal::MembershipEnded), 0), "case {at}");
        let steps = broker.store.steps(of_007.seq).expect("never fails");
        assert_eq!(steps.iter().any(|traced| traced.step == Step::MayHaveBeenSent), may_be_held, "case {at}");
        broker.engine.set_connected(true);
        broker.confirm_all();
        let deletion = broker.erased_in_dfdg(1, "j");
        broker.take_in(vec![deletion]);
        let mut told: Vec<Recipient> = broker.dispatch_all().iter().map(|attempt| attempt.key.recipient).collect();
        told.sort_unstable();
        let expected: &[Recipient] =
            if may_be_held { &[recipient("akasse:007"), recipient("akasse:067")] } else { &[recipient("akasse:067")] };
        assert_eq!(told, expected, "case {at}");
    }
}

/// What is under way has no outcome yet: such a stop is none in order.
#[test]
fn a_stop_with_something_under_way_is_not_in_order() {
    let (mut broker, of_007) = Broker::with_joblog_under_way(Limits::default());
    broker.stop_and_start();
    broker.engine.set_connected(false);
    let moved = broker.member(1, "m2", "067", "2026-03-01");
    broker.take_in(vec![moved]);
    let steps = broker.store.steps(of_007.seq).expect("never fails");
    assert!(steps.iter().any(|traced| traced.step == Step::MayHaveBeenSent));
}
