//! Days, events and citizens for the tests of this folder. All made up, and
//! visibly so.

use super::citizen::{Citizen, Folded};
use super::event::{Change, Content, Event, Registered};
use super::ids::{Akassekode, CitizenId, EventMark, ExternalId, Jobcenterkode, Kommunekode, Personnummer, Recipient};
use super::policy::{Audience, AudienceRule, Domain, MessageType, Payload, RecipientRule, Subscriptions};
use super::time::{Day, Moment};

pub(crate) fn day(text: &str) -> Day {
    Day::parse(text).expect("a day of the test")
}

pub(crate) fn moment(text: &str) -> Moment {
    Moment::parse(text).expect("a moment of the test")
}

pub(crate) fn recipient(text: &str) -> Recipient {
    Recipient::parse(text).expect("a recipient of the test")
}

pub(crate) fn number(text: &str) -> Personnummer {
    Personnummer::parse(text).expect("a number of the test")
}

pub(crate) fn external(text: &str) -> ExternalId {
    ExternalId::parse(text).expect("an external id of the test")
}

pub(crate) fn fund(code: &str) -> Content {
    Content::Membership { fund: Some(Akassekode::parse(code).expect("a fund of the test")) }
}

pub(crate) fn jobcentre(code: &str) -> Content {
    Content::Jobcentre { jobcentre: Some(Jobcenterkode::parse(code).expect("a jobcentre of the test")) }
}

pub(crate) fn kommune(code: &str) -> Content {
    Content::Residence { kommune: Some(Kommunekode::parse(code).expect("a kommune of the test")) }
}

pub(crate) fn group(group: i64) -> Content {
    Content::ContactGroup { group: Some(group), former: None }
}

/// An event about the record `record`, registered at `hour` o'clock of a day
/// after all others of the tests. Its period is `from..to`, either may be empty.
pub(crate) fn event(record: &str, hour: u32, change: Change, period: &str, content: Content) -> Event {
    let (start, end) = period.split_once("..").expect("a period of the test");
    let at = moment(&format!("2026-03-16T{hour:02}:00:00Z"));
    let id = format!("{record} at {hour} {period} {change:?}");
    let bound = |text: &str| (!text.is_empty()).then(|| day(text));
    Event {
        mark: EventMark::of("urn:test", &id),
        source: "urn:test".into(),
        id: id.into(),
        entity: entity(&content).into(),
        change,
        registered: Registered { at, text: at.to_string().into() },
        external_id: external(record),
        version_id: None,
        personnummer: number("0101019001"),
        registrar: None,
        start: bound(start),
        end: bound(end),
        content,
        details: None,
        body: None,
    }
}

fn entity(content: &Content) -> &'static str {
    match content {
        Content::Membership { .. } => "Akassemedlemskab",
        Content::Jobcentre { .. } => "Jobcentertilknytning",
        Content::Residence { .. } => "Bopaelskommune",
        Content::NumberChange { .. } => "Personnummerskift",
        Content::Death { .. } => "PersonDoed",
        Content::ContactGroup { .. } => "Kontaktgruppe",
        Content::Plan { .. } => "Plan",
        Content::Deletion { .. } => "GdprSletning",
        Content::HandedOver { .. } => "RigsarkivAflevering",
        Content::Other => "Indkaldelse",
    }
}

/// A type that is told to these audiences.
pub(crate) fn kind(name: &str, domain: Domain, audiences: &[Audience]) -> MessageType {
    MessageType {
        name: name.into(),
        entity_id: 910_000,
        domain,
        payload: Payload::IdOnly,
        voluntary: false,
        after_death: false,
        audiences: audiences.iter().map(|audience| AudienceRule { audience: *audience, conditions: Vec::new() }).collect(),
        notice_for: Vec::new(),
    }
}

/// A recipient that is open and subscribes to everything.
pub(crate) fn rule_of(name: &str) -> RecipientRule {
    RecipientRule {
        recipient: recipient(name),
        name: "made up".into(),
        queue: name.into(),
        vendor: "made up".into(),
        subscriptions: Subscriptions::All,
        valid_from: None,
        valid_until: None,
        max_unfetched: 1000,
        maintenance: Vec::new(),
    }
}

/// A citizen of whom these events tell.
pub(crate) fn citizen<'a>(events: impl IntoIterator<Item = &'a Event>) -> Citizen {
    let mut citizen = Citizen::new(CitizenId(1), number("0101019001"));
    for event in events {
        match citizen.fold(event) {
            Folded::Changed | Folded::Unchanged => {}
        }
    }
    citizen
}

/// Every order of `0..n`.
pub(crate) fn orders(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    (0..n)
        .flat_map(|at| {
            shorter.iter().map(move |order| {
                let mut order = order.clone();
                order.insert(at, n - 1);
                order
            })
        })
        .collect()
}
