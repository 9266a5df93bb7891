//! Random things of every shape, the same for the same seed.

use std::sync::Arc;

use crate::core::about::About;
use crate::core::citizen::{Citizen, Folded};
use crate::core::event::{Change as Happened, Content, Details, Event, Owner, PlanKind, Registered, Registrar};
use crate::core::ids::{
    Akassekode, CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Jobcenterkode, Kommunekode, Personnummer, Recipient,
};
use crate::core::outbox::{Attempt, Because, Death, Delivery, Earlier, End, Failure, State, Withdrawal};
use crate::core::policy::{Audience, Audiences, Domain};
use crate::core::records::{Admission, Quarantined};
use crate::core::replay::{Filter, Lot, Order, Progress, Replay, ReplayId, Source, Stage, StateFilter};
use crate::core::retention::{
    Clock, Clocks, Deleted, Element, Handover, Kept, Order as DeletionOrder, Stamp, Surprise, Told, Tombstone, Unexpected,
};
use crate::core::routing::{LeftOut, Suppression};
use crate::core::time::{Day, Moment, Period};

/// A small generator of numbers (xorshift64*).
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 20) % end
    }

    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }

    pub fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.once_in(2) { None } else { Some(make(self)) }
    }

    fn text(&mut self) -> String {
        match self.below(4) {
            0 => String::new(),
            1 => self.uuid(),
            2 => "blåbærgrød".repeat(self.below(9) as usize),
            _ => format!("text-{}", self.next()),
        }
    }

    fn uuid(&mut self) -> String {
        uuid::Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next())).to_string()
    }

    pub fn moment(&mut self) -> Moment {
        Moment(1_700_000_000_000_000 + self.below(1 << 50) as i64)
    }

    pub fn day(&mut self) -> Day {
        Day::from_number(self.below(40_000) as i32 - 10_000).expect("a day of our times")
    }

    pub fn personnummer(&mut self) -> Personnummer {
        let text = format!("{:02}{:02}{:06}", self.below(28) + 1, self.below(12) + 1, self.below(1_000_000));
        Personnummer::parse(&text).expect("a personnummer")
    }

    pub fn external_id(&mut self) -> ExternalId {
        let text = if self.once_in(4) { format!("Record-{}", self.below(1000)) } else { self.uuid() };
        ExternalId::parse(&text).expect("an id")
    }

    /// One of a few, so that things meet.
    pub fn recipient(&mut self) -> Recipient {
        Recipient::from_number(self.one_of(&[5, 67, 0x1000 + 101, 0x1000 + 860])).expect("a recipient")
    }

    fn fund(&mut self) -> Akassekode {
        Akassekode::parse(&format!("{:03}", self.below(1000))).expect("a fund")
    }

    fn kommune(&mut self) -> Kommunekode {
        Kommunekode::parse(&format!("{:03}", self.below(1000))).expect("a kommune")
    }

    fn jobcentre(&mut self) -> Jobcenterkode {
        Jobcenterkode::parse(&format!("{:05}", self.below(100_000))).expect("a jobcentre")
    }

    fn plan_kind(&mut self) -> PlanKind {
        self.one_of(&PlanKind::ALL).1
    }

    fn content(&mut self) -> Content {
        match self.below(12) {
            0 => Content::Membership { fund: self.maybe(Self::fund) },
            1 => Content::Jobcentre { jobcentre: self.maybe(Self::jobcentre) },
            2 => Content::Residence { kommune: self.maybe(Self::kommune) },
            3 => Content::NumberChange { new: self.maybe(Self::personnummer) },
            4 => Content::Death { on: self.maybe(Self::day) },
            5 => {
                Content::ContactGroup { group: self.maybe(|dice| dice.below(20) as i64 - 5), former: self.maybe(|dice| dice.next() as i64) }
            }
            6 => Content::Plan { kind: self.maybe(Self::plan_kind), later_version: self.maybe(Self::external_id) },
            7 => Content::Deletion { area: self.text().into(), entity: self.text().into(), after_death: self.once_in(2) },
            8 => Content::HandedOver { area: Some(self.text()).filter(|area| !area.is_empty()).map(Into::into) },
            _ => Content::Other,
        }
    }

    pub fn event(&mut self, personnummer: Personnummer) -> Event {
        let source = self.one_of(&["urn:dk:star:dfdg:plan", "urn:dk:star:dfdg:", "https://elsewhere.example/kilde"]);
        let id = self.uuid();
        let at = self.moment();
        let start = self.maybe(Self::day);
        Event {
            mark: EventMark::of(source, &id),
            source: source.into(),
            id: id.into(),
            entity: self.one_of(&["Kontaktperson", "Plan", "Joblog"]).into(),
            change: self.one_of(&[Happened::Created, Happened::Updated, Happened::Deleted]),
            registered: Registered { at, text: at.to_string().into() },
            external_id: self.external_id(),
            version_id: self.maybe(|dice| dice.text().into()),
            personnummer,
            registrar: self.maybe(|dice| Registrar { kind: dice.text().into(), code: dice.text().into() }),
            start,
            end: start.and_then(|start| self.maybe(|dice| Day::from_number(start.number() + dice.below(1000) as i32)).flatten()),
            content: self.content(),
            details: None,
            body: self.maybe(|dice| format!("{{\"Felt\":\"{}\"}}", dice.text()).into()),
        }
    }

    pub fn because(&mut self) -> Because {
        Because {
            audience: self.one_of(&Audience::ALL),
            also: self.maybe(|dice| Audiences::from_bits(dice.below(256) as u8)).unwrap_or_default(),
            registration: self.maybe(|dice| (dice.external_id(), dice.moment())),
            day: self.day(),
        }
    }

    /// Rules by which something had been left unclaimed before; none, often.
    pub fn earlier(&mut self) -> Vec<(Audience, Moment)> {
        (0..self.below(3)).map(|_| (self.one_of(&Audience::ALL), self.moment())).collect()
    }

    pub fn domain(&mut self) -> Domain {
        self.one_of(&Domain::ALL)
    }

    pub fn admission(&mut self, seq: u64, citizen: CitizenId, personnummer: Personnummer) -> Admission {
        let mut deliveries = Vec::new();
        for _ in 0..self.below(4) {
            let recipient = self.recipient();
            if deliveries.iter().all(|(other, _)| *other != recipient) {
                deliveries.push((recipient, self.because()));
            }
        }
        let left_out = (0..self.below(3))
            .map(|_| LeftOut {
                audience: self.one_of(&Audience::ALL),
                recipient: self.maybe(Self::recipient),
                why: self.one_of(&Suppression::ALL),
                registration: self.maybe(|dice| (dice.external_id(), dice.moment())),
            })
            .collect();
        Admission {
            seq: EventSeq(seq),
            citizen,
            event: Arc::new(self.event(personnummer)),
            domain: self.domain(),
            at: self.moment(),
            deliveries,
            left_out,
        }
    }

    pub fn end(&mut self) -> End {
        if self.once_in(3) { End::Withdrawn(self.one_of(&Withdrawal::ALL)) } else { End::Delivered }
    }

    fn state(&mut self) -> State {
        let last = self.one_of(&Failure::ALL);
        match self.below(4) {
            0 => State::Pending,
            1 => State::Dead {
                at: self.moment(),
                why: self.one_of(&[
                    Death::GaveUp(last),
                    Death::NeverAttempted,
                    Death::RejectedByRecipient,
                    Death::DeliveryLimit,
                    Death::Expired,
                    Death::Overflow,
                ]),
            },
            _ => State::Retrying { next_at: self.moment(), last },
        }
    }

    /// A row for a delivery.
    pub fn delivery(&mut self, key: DeliveryKey, citizen: CitizenId, event: Arc<Event>) -> Delivery {
        let replays = if self.once_in(5) { 1 + self.below(300) as u32 } else { 0 };
        let failure = |dice: &mut Self| Attempt { at: dice.moment(), failure: dice.one_of(&Failure::ALL), code: dice.below(600) as u16 };
        Delivery {
            key,
            citizen,
            event,
            domain: self.domain(),
            because: self.because(),
            first_at: self.moment(),
            attempts: self.below(100) as u32,
            failures: (0..self.below(4)).map(|_| failure(self)).collect(),
            replays,
            delivered_before: (replays > 100).then(|| Earlier { at: self.moment(), replay: replays % 2 == 1 }),
            state: self.state(),
        }
    }

    fn key(&mut self) -> DeliveryKey {
        DeliveryKey { recipient: self.recipient(), seq: EventSeq(self.below(1 << 40)) }
    }

    pub fn replay(&mut self, id: ReplayId) -> Replay {
        let filter = Filter {
            ids: (0..self.below(3)).map(|_| EventMark::of("s", &self.text()).wsb_id(self.recipient())).collect(),
            state: self.maybe(|dice| dice.one_of(&StateFilter::ALL)),
            recipient: self.maybe(Self::recipient),
            entity: self.maybe(|dice| dice.text().into()),
            reason: self.maybe(|dice| dice.text().into()),
            since: self.maybe(Self::moment),
            until: self.maybe(Self::moment),
        };
        let at = self.moment();
        Replay {
            id,
            order: Order {
                filter,
                source: self.one_of(&[Source::Dead, Source::Delivered]),
                rate_per_second: self.maybe(|dice| dice.next() as u32),
                canary: self.maybe(|dice| dice.below(1000) as u32),
                by: self.text().into(),
                scope: self.maybe(Self::recipient),
                request: self.maybe(|dice| dice.text().into()),
            },
            at,
            as_of: at,
            stage: self.one_of(&[
                Stage::Selecting,
                Stage::Running,
                Stage::WaitingForGo,
                Stage::Stopped { at },
                Stage::Done { at: Moment(at.0 + 1) },
            ]),
            lots: (0..self.below(4))
                .map(|at| {
                    let keys = self.below(100_000);
                    Lot { recipient: self.recipient(), first_chunk: at as u32 * 7, keys, done: keys / 2 }
                })
                .collect(),
            tally: (0..self.below(4))
                .map(|_| ((self.recipient(), self.maybe(|dice| dice.one_of(&Withdrawal::ALL))), self.below(1 << 30)))
                .collect(),
            already_claimed: self.below(10),
            progress: Progress { sent: self.below(1 << 40), withdrawn: self.below(3), skipped: self.below(200) },
            canaries: (0..self.below(4)).map(|_| self.key()).collect(),
            gone: self.once_in(2),
        }
    }

    pub fn quarantined(&mut self, id: u64) -> Quarantined {
        Quarantined {
            id,
            at: self.moment(),
            word: "malformed-personnummer".into(),
            reason: self.text().into(),
            body: (0..self.below(500)).map(|_| self.next() as u8).collect::<Vec<_>>().into(),
            about: About::These(self.maybe(Self::personnummer).into_iter().collect()),
        }
    }

    /// A deletion that was not expected.
    pub fn unexpected(&mut self, seq: EventSeq, citizen: CitizenId) -> Unexpected {
        let record = Deleted {
            event_id: self.text().into(),
            external_id: self.external_id(),
            due: self.maybe(Self::day),
            blocked_by: (0..self.below(3)).map(|_| self.text().into()).collect(),
        };
        let (at, area, why) = (Moment(seq.0 as i64 * 10), self.text().into(), self.one_of(&Surprise::ALL));
        Unexpected { seq, citizen, at, area, entity: self.text().into(), why, record: Some(record) }
    }

    /// What is kept of so many records.
    pub fn clocks(&mut self, citizen: CitizenId, records: u64) -> Clocks {
        let stamp = |dice: &mut Self| Stamp { at: dice.moment(), change: 1 + dice.below(3) as u8, mark: EventMark::of("s", &dice.uuid()) };
        let mut clocks = Clocks::new(citizen);
        for _ in 0..records {
            let elements = if self.once_in(4) { self.below(5) } else { 0 };
            let start = self.day();
            let end = self.maybe(|dice| Day::from_number(start.number() + dice.below(900) as i32)).flatten();
            clocks.records.push(Kept::from(Clock {
                under: citizen,
                entity: self.one_of(&["Joblog", "Fravaer", "Feriedagpenge", "EtNytOmraade"]).into(),
                external_id: self.external_id(),
                first_at: self.moment(),
                newest: stamp(self),
                period: Period::new(start, end).expect("a period"),
                details: Details {
                    owner: self.maybe(|dice| dice.one_of(&[Owner::Municipal, Owner::State])),
                    absence: self.maybe(|dice| dice.next() as i64),
                    with_company: self.maybe(|dice| dice.once_in(2)),
                    answered: self.maybe(Self::day),
                    sent: self.maybe(Self::day),
                    updated: self.maybe(Self::day),
                    case_closed: self.maybe(Self::day),
                    month_end: self.maybe(Self::day),
                    elements: None,
                    unsaid: false,
                },
                has_start: true,
                told: Told::Newest,
                has_later_version: self.once_in(2),
                later_version: None,
                unlisted: Vec::new(),
                elements: (0..elements).map(|_| Element { external_id: self.external_id(), deleted: self.maybe(Self::day) }).collect(),
                element_gone: self.maybe(Self::day),
                order: self.maybe(|dice| DeletionOrder {
                    due: dice.day(),
                    first: Day::from_number(20_000 + dice.below(3) as i32).expect("a day"),
                    asked: dice.day(),
                    confirmed: dice.once_in(2),
                }),
            }));
        }
        let tombstone = |dice: &mut Self| Tombstone {
            under: citizen,
            entity: "Joblog".into(),
            external_id: dice.external_id(),
            first_at: dice.moment(),
            newest: stamp(dice),
            deleted: Some(dice.day()),
            noted: dice.moment(),
        };
        clocks.tombstones = (0..self.below(3)).map(|_| tombstone(self)).collect();
        let handover = |dice: &mut Self| Handover {
            under: citizen,
            external_id: None,
            area: Some(dice.text()).filter(|area| !area.is_empty()).map(Into::into),
            newest: stamp(dice),
            holds: dice.once_in(2),
        };
        clocks.handovers = (0..self.below(3)).map(|_| handover(self)).collect();
        // One that was stored before ids were kept, and one since.
        let ids = clocks.tombstones.iter().map(|tombstone| tombstone.external_id.clone());
        clocks.handovers.iter_mut().zip(ids).for_each(|(handover, id)| handover.external_id = Some(id));
        clocks.emptied = records == 0 && self.once_in(2);
        clocks.has_due = records % 2 == 1;
        clocks.next = self.maybe(|dice| Day::from_number(20_000 + dice.below(30) as i32)).flatten();
        clocks
    }

    /// The citizen after some more events.
    pub fn older(&mut self, citizen: &Citizen) -> Citizen {
        let mut citizen = citizen.clone();
        for _ in 0..self.below(6) {
            let event = self.event(citizen.personnummer);
            let (Folded::Changed | Folded::Unchanged) = citizen.fold(&event);
        }
        if self.once_in(5) {
            let event = self.event(citizen.personnummer);
            let new = self.maybe(|dice| CitizenId(dice.below(50) as u32));
            let (Folded::Changed | Folded::Unchanged) = citizen.renumber(&event, new);
        }
        if self.once_in(5) {
            citizen.placed_from = Some(self.day());
        }
        citizen
    }
}
