//! The world outside: authorities, rules that change, citizens, and the events
//! that DFDG sends about them, mistakes and late registrations included.

use std::collections::BTreeSet;
use std::sync::Arc;

use wsb_broker::core::engine::OutgoingOrder;
use wsb_broker::core::event::{Change, Content, Event, PlanKind, Registered, Registrar};
use wsb_broker::core::ids::{Akassekode, EventMark, ExternalId, Jobcenterkode, Kommunekode, Personnummer, Recipient};
use wsb_broker::core::policy::{
    Audience, AudienceRule, Condition, Domain, MessageType, Payload, RecipientRule, RetryPolicy, Rules, Subscriptions, Window,
};
use wsb_broker::core::schedule::{self as deletion, Pace, PensionAges, Schedule, Start};
use wsb_broker::core::time::{Day, Moment};

use crate::dice::Dice;
use crate::entitlement::is_kept;

const FUNDS: [&str; 3] = ["007", "067", "111"];
const KOMMUNER: [&str; 3] = ["101", "147", "860"];
/// Two of them belong to one kommune.
const JOBCENTRES: [&str; 4] = ["10100", "10101", "14700", "86001"];
const GROUPS: [i64; 5] = [1, 2, 13, 25, 26];

/// What of `routing.toml` the world changes while the broker runs.
#[derive(Clone)]
struct Settings {
    closed: Vec<(Recipient, Day)>,
    windows: Vec<(Recipient, Window)>,
    unsubscribed: Vec<Recipient>,
    /// Types that are not declared for the time being.
    dropped: BTreeSet<&'static str>,
    jobplan_only: bool,
    retry: RetryPolicy,
    /// How many days records are kept, and which area must be handed over.
    kept_days: u16,
    handover: Option<&'static str>,
}

/// A record of DFDG that some event was about.
#[derive(Clone)]
struct Record {
    entity: &'static str,
    external_id: ExternalId,
    person: usize,
}

pub struct World {
    pub rules: Arc<Rules>,
    settings: Settings,
    /// The numbers that each person has, or will have.
    people: Vec<Vec<Personnummer>>,
    /// How many of them are in use so far.
    numbered: Vec<usize>,
    records: Vec<Record>,
    /// The registrations of memberships: of which record, when, as what, and under which number.
    memberships: Vec<(ExternalId, Moment, Change, Personnummer)>,
    events: u32,
    externals: u32,
}

fn recipients() -> Vec<Recipient> {
    let funds = FUNDS.iter().map(|code| Recipient::Akasse(Akassekode::parse(code).expect("a fund")));
    funds.chain(KOMMUNER.iter().map(|code| Recipient::Kommune(Kommunekode::parse(code).expect("a kommune")))).collect()
}

fn rule(audience: Audience, conditions: Vec<Condition>) -> AudienceRule {
    AudienceRule { audience, conditions }
}

fn message_types(settings: &Settings) -> Vec<MessageType> {
    use Audience::{
        AkasseOfRecord, AkasseOwnMembers, AkasseSinceFirstPlacement, Holders, JobcenterOwnCitizens, JobcentersEver, KommuneOwnResidents,
        RegisteringAuthority,
    };
    let plain = |audience| rule(audience, Vec::new());
    let both = || vec![plain(JobcenterOwnCitizens), plain(AkasseOwnMembers)];
    let plans = if settings.jobplan_only { vec![PlanKind::Jobplan] } else { vec![PlanKind::Jobplan, PlanKind::UddannelsesplanMedJobmaal] };
    let shift = Condition::ContactGroupShift(vec![1, 13, 25]);
    let table: Vec<(&'static str, Domain, Vec<AudienceRule>)> = vec![
        ("Akassemedlemskab", Domain::Tilknytning, vec![plain(AkasseOfRecord), plain(AkasseOwnMembers)]),
        ("Jobcentertilknytning", Domain::Tilknytning, both()),
        ("Bopaelskommune", Domain::Tilknytning, Vec::new()),
        ("Personnummerskift", Domain::Tilknytning, Vec::new()),
        ("PersonDoed", Domain::Tilknytning, both()),
        ("Kontaktgruppe", Domain::Kontaktforloeb, vec![plain(JobcenterOwnCitizens), rule(AkasseOwnMembers, vec![shift])]),
        ("Plan", Domain::Plan, both()),
        ("Indkaldelse", Domain::Kontaktforloeb, vec![plain(JobcenterOwnCitizens), plain(KommuneOwnResidents), plain(AkasseOwnMembers)]),
        ("Frist", Domain::Kontaktforloeb, vec![plain(JobcenterOwnCitizens)]),
        ("Aktivitet", Domain::Plan, vec![plain(JobcenterOwnCitizens), rule(AkasseOwnMembers, vec![Condition::PlanIn(plans)])]),
        ("Fravaer", Domain::Fravaer, vec![plain(RegisteringAuthority), plain(AkasseOwnMembers)]),
        ("Joblog", Domain::Joblog, both()),
        ("ForsoergerStatusSkift", Domain::Ydelse, vec![rule(AkasseOwnMembers, vec![Condition::ContactGroupIn(vec![1])])]),
        ("GdprSletJoblog", Domain::Gdpr, vec![plain(Holders), plain(JobcenterOwnCitizens), plain(AkasseOwnMembers)]),
        ("GdprSletCv", Domain::Gdpr, vec![plain(JobcentersEver), plain(AkasseSinceFirstPlacement)]),
        ("GdprSletAfdoed", Domain::Gdpr, vec![plain(Holders)]),
        ("GdprSletning", Domain::Gdpr, Vec::new()),
        ("RigsarkivAflevering", Domain::Gdpr, Vec::new()),
    ];
    let notices = [("GdprSletJoblog", "joblog"), ("GdprSletCv", "cv"), ("GdprSletAfdoed", "afdoed")];
    table
        .into_iter()
        .enumerate()
        .filter(|(_, (name, ..))| !settings.dropped.contains(name))
        .map(|(index, (name, domain, audiences))| MessageType {
            name: name.into(),
            entity_id: 910_000 + u32::try_from(index).expect("few types"),
            domain,
            payload: Payload::IdOnly,
            voluntary: name == "ForsoergerStatusSkift" || name.starts_with("GdprSlet"),
            after_death: name == "PersonDoed" || name.starts_with("GdprSlet"),
            audiences,
            notice_for: notices.iter().filter(|(notice, _)| *notice == name).map(|(_, area)| (*area).into()).collect(),
        })
        .collect()
}

fn rules(settings: &Settings) -> Arc<Rules> {
    let recipients = recipients()
        .into_iter()
        .map(|recipient| RecipientRule {
            recipient,
            name: "made up".into(),
            queue: format!("wsb.{}.{}", recipient.kind(), recipient.code()).into(),
            vendor: "made up".into(),
            subscriptions: if settings.unsubscribed.contains(&recipient) {
                Subscriptions::Only(BTreeSet::from(["GdprSletJoblog".into()]))
            } else {
                Subscriptions::All
            },
            valid_from: None,
            valid_until: settings.closed.iter().find(|(closed, _)| *closed == recipient).map(|(_, until)| *until),
            max_unfetched: 8,
            maintenance: settings.windows.iter().filter(|(of, _)| *of == recipient).map(|(_, window)| *window).collect(),
        })
        .collect();
    Arc::new(Rules::new(message_types(settings), recipients, settings.retry.clone()).with_schedule(Arc::new(schedule(settings))))
}

/// Deletion rules of every kind, with periods short enough to run out.
fn schedule(settings: &Settings) -> Schedule {
    let rule = |id: &str, entity: &str, from, days| deletion::Rule {
        id: id.into(),
        area: "made up".into(),
        entities: if entity.is_empty() { Vec::new() } else { vec![entity.into()] },
        when: Vec::new(),
        from,
        period: deletion::Span { years: 0, months: 0, days },
        overlapping: Vec::new(),
        latest_waits_for_group: false,
        oldest_first: false,
        handover: settings.handover == Some(id),
        notice: None,
        source: "made up".into(),
    };
    let rules = vec![
        rule("joblog", "Joblog", Start::Updated, settings.kept_days),
        rule("fravaer", "Fravaer", Start::End, 0),
        deletion::Rule { overlapping: vec!["Fravaer".into()], ..rule("kontaktgruppe", "Kontaktgruppe", Start::End, settings.kept_days) },
        deletion::Rule { latest_waits_for_group: true, ..rule("plan", "Plan", Start::Registered, settings.kept_days) },
        deletion::Rule { oldest_first: true, ..rule("aktivitet", "Aktivitet", Start::Registered, 2) },
        rule("afdoed", "", Start::Death, 0),
    ];
    Schedule::new(rules, PensionAges::default(), Pace::default())
}

fn day_from(now: Moment, days: i32) -> Day {
    Day::from_number(Day::in_copenhagen(now).number() + days).expect("a day near the time of the simulation")
}

impl World {
    pub fn new(dice: &mut Dice) -> Self {
        let retry = match dice.below(3) {
            0 => RetryPolicy::default(),
            1 => RetryPolicy { initial_ms: 200, multiplier: 3.0, max_ms: 600_000, give_up_after_s: 7200 },
            _ => RetryPolicy { initial_ms: 30_000, multiplier: 1.5, max_ms: 3_600_000, give_up_after_s: 86_400 },
        };
        let settings = Settings {
            closed: Vec::new(),
            windows: Vec::new(),
            unsubscribed: Vec::new(),
            dropped: BTreeSet::new(),
            jobplan_only: false,
            retry,
            kept_days: *dice.pick(&[1, 1, 3, 40]),
            handover: None,
        };
        let people: Vec<Vec<Personnummer>> = (0..=dice.below(3))
            .map(|person| (0..3).map(|n| Personnummer::parse(&format!("010101{:04}", 9000 + person * 10 + n)).expect("a number")).collect())
            .collect();
        Self {
            rules: rules(&settings),
            settings,
            numbered: vec![1; people.len()],
            people,
            records: Vec::new(),
            memberships: Vec::new(),
            events: 0,
            externals: 0,
        }
    }

    /// A number that somebody may have.
    pub fn any_number(&self, dice: &mut Dice) -> Personnummer {
        let person = dice.below(self.people.len());
        *dice.pick(&self.people[person])
    }

    /// Changes the rules as an operator may.
    pub fn change_rules(&mut self, dice: &mut Dice, now: Moment) -> String {
        let all = recipients();
        let what = match dice.below(10) {
            0 => {
                let recipient = *dice.pick(&all);
                let until = day_from(now, [-1, 0, 1][dice.below(3)]);
                self.settings.closed.push((recipient, until));
                format!("{recipient} closes after {until}")
            }
            1 => {
                self.settings.closed.clear();
                "all open".to_owned()
            }
            5 => {
                let recipient = *dice.pick(&all);
                let from = now.plus_seconds(dice.below(7200) as i64);
                let until = from.plus_seconds(60 + *dice.pick(&[60, 7200, 300_000]));
                let window = match dice.chance(80) {
                    true => Window::Once { from, until },
                    false => Window::Weekly { weekday: Day::in_copenhagen(now).weekday(), from: 60, until: 1440 },
                };
                self.settings.windows.push((recipient, window));
                format!("{recipient} is away in {window:?}")
            }
            6 => {
                self.settings.windows.clear();
                "nobody is away".to_owned()
            }
            2 => {
                let recipient = *dice.pick(&all);
                self.settings.unsubscribed.push(recipient);
                format!("{recipient} unsubscribes")
            }
            3 => {
                self.settings.jobplan_only ^= true;
                format!("jobplan only: {}", self.settings.jobplan_only)
            }
            4 => {
                let name = *dice.pick(&["Indkaldelse", "Joblog", "Fravaer", "GdprSletJoblog"]);
                if !self.settings.dropped.remove(name) {
                    self.settings.dropped.insert(name);
                }
                format!("type {name} dropped: {}", self.settings.dropped.contains(name))
            }
            7 => {
                self.settings.kept_days = *dice.pick(&[0, 1, 5]);
                format!("records are kept for {} days", self.settings.kept_days)
            }
            8 => {
                self.settings.handover = *dice.pick(&[None, Some("joblog"), Some("plan")]);
                format!("to be handed over: {:?}", self.settings.handover)
            }
            _ => {
                let give_up_after_s = *dice.pick(&[3600, 86_400, 259_200]);
                self.settings.retry =
                    RetryPolicy { initial_ms: *dice.pick(&[100, 1000, 60_000]), give_up_after_s, ..RetryPolicy::default() };
                format!("gives up after {give_up_after_s} s")
            }
        };
        self.rules = rules(&self.settings);
        what
    }

    /// Undoes whatever keeps recipients closed, for the end of a run.
    pub fn restore_rules(&mut self) {
        self.settings.dropped.clear();
        self.settings.windows.clear();
        self.rules = rules(&self.settings);
    }

    /// What a citizen begins with: everything that routing depends on.
    pub fn first_events(&mut self, dice: &mut Dice, now: Moment) -> Vec<Event> {
        let mut events = Vec::new();
        for person in 0..self.people.len() {
            // Of some DFDG has records, and nobody has them.
            if dice.chance(12) {
                continue;
            }
            for entity in ["Akassemedlemskab", "Jobcentertilknytning", "Bopaelskommune", "Kontaktgruppe", "Plan"] {
                if dice.chance(85) {
                    let mut event = self.about(entity, person, dice, now);
                    event.change = Change::Created;
                    event.start = Some(day_from(now, -100));
                    event.end = None;
                    if let Content::ContactGroup { group, .. } = &mut event.content {
                        *group = Some(1);
                    }
                    event.registered = registered(Moment(now.0 - 3_600_000_000));
                    events.push(event);
                }
            }
        }
        events
    }

    /// Something happens in DFDG; a transfer takes two events.
    pub fn happens(&mut self, dice: &mut Dice, now: Moment) -> Vec<Event> {
        let person = dice.below(self.people.len());
        let entity = match dice.weighted(&[20, 6, 3, 6, 5, 50, 3, 1, 8, 6]) {
            0 => "Akassemedlemskab",
            1 => "Jobcentertilknytning",
            2 => "Bopaelskommune",
            3 => "Kontaktgruppe",
            4 => "Plan",
            5 => *dice.pick(&[
                "Indkaldelse",
                "Indkaldelse",
                "Frist",
                "Aktivitet",
                "Aktivitet",
                "Fravaer",
                "Joblog",
                "Joblog",
                "ForsoergerStatusSkift",
            ]),
            6 => return self.number_change(person, dice, now),
            7 => "PersonDoed",
            8 => return self.deletion(dice, now),
            _ => return self.transfer(person, dice, now),
        };
        vec![self.about(entity, person, dice, now)]
    }

    /// The numbers of whoever has this one.
    pub fn numbers_beside(&self, number: &Personnummer) -> impl Iterator<Item = Personnummer> + '_ {
        let number = *number;
        self.people.iter().filter(move |numbers| numbers.contains(&number)).flatten().copied()
    }

    /// The old membership ends, and a new one begins the day after.
    fn transfer(&mut self, person: usize, dice: &mut Dice, now: Moment) -> Vec<Event> {
        let last = day_from(now, [-3, -1, 0, 1][dice.below(4)]);
        let mut old = self.about("Akassemedlemskab", person, dice, now);
        old.change = Change::Updated;
        old.start = Some(day_from(now, -100));
        old.end = Some(last);
        let mut new = self.about("Akassemedlemskab", person, dice, now);
        new.change = Change::Created;
        new.external_id = self.new_record("Akassemedlemskab", person);
        new.start = Some(last.next());
        new.end = None;
        for event in [&mut old, &mut new] {
            if let Content::Membership { fund } = &mut event.content {
                *fund = fund.or_else(|| Akassekode::parse(FUNDS[dice.below(3)]).ok());
            }
        }
        if dice.chance(80) { vec![old, new] } else { vec![new, old] }
    }

    fn number_change(&mut self, person: usize, dice: &mut Dice, now: Moment) -> Vec<Event> {
        let mut event = self.about("Personnummerskift", person, dice, now);
        let numbers = &self.people[person];
        let old = dice.below(numbers.len());
        let new = (old + 1 + dice.below(2)) % numbers.len();
        event.personnummer = numbers[old];
        event.content = Content::NumberChange { new: (event.change != Change::Deleted || dice.chance(50)).then_some(numbers[new]) };
        self.numbered[person] = self.numbered[person].max(old.max(new) + 1);
        vec![event]
    }

    /// A record is deleted, usually one that there has been.
    fn deletion(&mut self, dice: &mut Dice, now: Moment) -> Vec<Event> {
        if self.records.is_empty() {
            return Vec::new();
        }
        let at = self.records.len().saturating_sub(1 + dice.below(6));
        let record = self.records[at].clone();
        let mut event = self.about(record.entity, record.person, dice, now);
        event.external_id = record.external_id;
        if dice.chance(50) {
            event.change = Change::Deleted;
            return vec![event];
        }
        event.entity = "GdprSletning".into();
        event.change = Change::Created;
        event.content = Content::Deletion {
            area: (*dice.pick(&["joblog", "cv", "samtale"])).into(),
            entity: record.entity.into(),
            after_death: dice.chance(20),
        };
        vec![event]
    }

    /// DFDG has done what an order asked for.
    pub fn answer(&mut self, order: &OutgoingOrder, dice: &mut Dice, now: Moment) -> Event {
        let person = self.people.iter().position(|numbers| numbers.contains(&order.personnummer)).expect("an order about somebody");
        let mut event = self.about("GdprSletning", person, dice, now);
        // Not a record of its own.
        self.records.retain(|record| record.entity != "GdprSletning");
        event.external_id = order.external_id.clone();
        event.change = Change::Created;
        event.registered = registered(now);
        event.details = None;
        let entity = (*order.entity).into();
        event.content = Content::Deletion { area: (*order.area).into(), entity, after_death: dice.chance(20) };
        event
    }

    /// An area is handed over to Rigsarkivet, or was not after all.
    pub fn hand_over(&mut self, dice: &mut Dice, now: Moment) -> Event {
        let person = dice.below(self.people.len());
        let mut event = self.about("RigsarkivAflevering", person, dice, now);
        self.records.retain(|record| record.entity != "RigsarkivAflevering");
        event.content = Content::HandedOver { area: Some((*dice.pick(&["joblog", "plan"])).into()) };
        event
    }

    fn new_record(&mut self, entity: &'static str, person: usize) -> ExternalId {
        self.externals += 1;
        let external_id = ExternalId::parse(&format!("record-{}", self.externals)).expect("an external id");
        self.records.push(Record { entity, external_id: external_id.clone(), person });
        external_id
    }

    /// A new record. Its id may be that of a record of another kind.
    fn new_or_shared_id(&mut self, entity: &'static str, person: usize, dice: &mut Dice) -> ExternalId {
        let of_another = |record: &&Record| record.person == person && record.entity != entity;
        let shared = self.records.iter().rev().find(of_another).map(|record| record.external_id.clone());
        match shared.filter(|_| dice.chance(15)) {
            Some(external_id) => {
                self.records.push(Record { entity, external_id: external_id.clone(), person });
                external_id
            }
            None => self.new_record(entity, person),
        }
    }

    /// An event about one of the person's records of that kind, or a new one.
    fn about(&mut self, entity: &'static str, person: usize, dice: &mut Dice, now: Moment) -> Event {
        let known: Vec<ExternalId> =
            self.records.iter().filter(|r| r.entity == entity && r.person == person).map(|r| r.external_id.clone()).collect();
        // Registered under the wrong number so far, or now. What decides who gets what goes
        // from one number of a person to another often enough.
        let others: Vec<ExternalId> =
            self.records.iter().filter(|r| r.entity == entity && r.person != person).map(|r| r.external_id.clone()).collect();
        let external_id = if !others.is_empty() && matches!(entity, "Joblog" | "Fravaer" | "Aktivitet" | "Indkaldelse") && dice.chance(8) {
            others[others.len() - 1 - dice.below(others.len().min(3))].clone()
        } else if known.is_empty() || dice.chance(35) {
            self.new_or_shared_id(entity, person, dice)
        } else {
            known[known.len() - 1 - dice.below(known.len().min(3))].clone()
        };
        self.events += 1;
        let id = format!("e{}", self.events);
        let change = [Change::Created, Change::Updated, Change::Deleted][dice.weighted(&[50, 38, 12])];
        let kept = change != Change::Deleted || dice.chance(40);
        let start = dice.chance(85).then(|| day_from(now, *dice.pick(&[-400, -30, -2, -1, -1, 0, 0, 1, 2, 30])));
        let end = if dice.chance(35) {
            start.map(|start| Day::from_number(start.number() + *dice.pick(&[0, 0, 1, 2, 3, 30])).expect("a day"))
        } else {
            None
        };
        // Most are registered now; some were long ago, or in the same instant as others.
        let late = *dice.pick(&[0, 0, 0, 0, 0, 60_000_000, 86_400_000_000, 1_000_000]);
        let at = Moment((now.0 - late) / 60_000_000 * 60_000_000);
        let content = match entity {
            "Akassemedlemskab" => Content::Membership { fund: kept.then(|| Akassekode::parse(FUNDS[dice.below(3)]).expect("a fund")) },
            "Jobcentertilknytning" => {
                Content::Jobcentre { jobcentre: kept.then(|| Jobcenterkode::parse(JOBCENTRES[dice.below(4)]).expect("a jobcentre")) }
            }
            "Bopaelskommune" => {
                Content::Residence { kommune: kept.then(|| Kommunekode::parse(KOMMUNER[dice.below(3)]).expect("a kommune")) }
            }
            "Kontaktgruppe" => {
                Content::ContactGroup { group: kept.then(|| *dice.pick(&GROUPS)), former: dice.chance(30).then(|| *dice.pick(&GROUPS)) }
            }
            "Plan" => Content::Plan {
                kind: kept.then(|| dice.pick(&PlanKind::ALL).1),
                later_version: dice.chance(15).then(|| ExternalId::parse("record-later").expect("an external id")),
            },
            "PersonDoed" => Content::Death { on: kept.then(|| day_from(now, *dice.pick(&[-2, 0, 1]))) },
            // Filled in by whoever asked.
            "Personnummerskift" => Content::NumberChange { new: None },
            _ => Content::Other,
        };
        let registrar = dice.chance(70).then(|| {
            let (kind, code) = match dice.below(8) {
                0..=3 => ("kommune", *dice.pick(&KOMMUNER)),
                4..=5 => ("akasse", *dice.pick(&FUNDS)),
                6 => ("kommune", "999"),
                _ => ("star", "1"),
            };
            Registrar { kind: kind.into(), code: code.into() }
        });
        let personnummer = *dice.pick(&self.people[person][..self.numbered[person]]);
        let at = if entity == "Akassemedlemskab" { self.told_apart(&external_id, at, change, personnummer) } else { at };
        Event {
            mark: EventMark::of("urn:test", &id),
            source: "urn:test".into(),
            id: id.into(),
            entity: entity.into(),
            change,
            registered: registered(at),
            external_id,
            version_id: None,
            personnummer,
            registrar,
            start,
            end,
            content,
            details: is_kept(entity, &self.rules).then(Box::default),
            body: None,
        }
    }

    /// Returns when a membership is registered. Of several registrations of one instant under one number, and another
    /// under another number, which of them the broker has known depends on the order in which they came: none are made.
    fn told_apart(&mut self, external_id: &ExternalId, at: Moment, change: Change, number: Personnummer) -> Moment {
        let mut at = at;
        loop {
            let is_tied = |(record, then, as_what, _): &&(ExternalId, Moment, Change, Personnummer)| {
                record == external_id && *then == at && *as_what == change
            };
            let tied = self.memberships.iter().filter(is_tied).map(|(.., number)| *number).chain([number]);
            let tied: Vec<Personnummer> = tied.collect();
            let numbers: BTreeSet<&Personnummer> = tied.iter().collect();
            if numbers.len() == 1 || numbers.len() == tied.len() {
                self.memberships.push((external_id.clone(), at, change, number));
                return at;
            }
            at = Moment(at.0 + 1);
        }
    }
}

fn registered(at: Moment) -> Registered {
    Registered { at, text: at.to_string().into() }
}
