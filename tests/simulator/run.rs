//! One life of the broker: the real writer's order of things, with crashes
//! between any two of them, under a clock that jumps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wsb_broker::core::about::About;
use wsb_broker::core::audit::{self, Action, Inspection, Order as AuditOrder, Soundness};
use wsb_broker::core::engine::{
    Advanced, Begun, CameBack, Consumption, Engine, Fact, LaneOrder, Limits, Manner, OutgoingOrder, Output, Resumed, TakenBack, Wish,
};
use wsb_broker::core::erasure::Cause;
use wsb_broker::core::event::{Content, Event};
use wsb_broker::core::holds::Why;
use wsb_broker::core::ids::{CitizenId, DeliveryKey, EventMark, OrderId, Personnummer, Recipient};
use wsb_broker::core::invariants::broken;
use wsb_broker::core::outbox::{Death, End, Failure, State};
use wsb_broker::core::records::{Change, Fate, Quarantined, Records};
use wsb_broker::core::replay::{Filter, Order, ReplayId, Source, Stage, StateFilter};
use wsb_broker::core::retention::{Clock, Clocks, Standing, View};
use wsb_broker::core::retry::Outcome;
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::ops::Candidates;
use wsb_broker::store::Durability;

use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::fake_rabbitmq::{Mood, Parcel, RabbitMq, Resolved};
use crate::model::{Deed, Group, Model, Stand, Tracked, Verdict};
use crate::watched::Watched;
use crate::world::World;

/// Where a crash strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Crash {
    BeforeCommit,
    BeforeAck,
    AfterAck,
    BeforeSecondCommit,
    BeforePublish,
    AfterPublish,
}

const CRASHES: [Crash; 6] =
    [Crash::BeforeCommit, Crash::BeforeAck, Crash::AfterAck, Crash::BeforeSecondCommit, Crash::BeforePublish, Crash::AfterPublish];

pub struct Run {
    dice: Dice,
    now: Moment,
    limits: Limits,
    engine: Engine,
    store: Watched,
    rabbit: RabbitMq,
    world: World,
    model: Model,
    /// Answered by RabbitMQ, and not yet told to the engine.
    outcomes: Vec<(DeliveryKey, Outcome)>,
    /// Deletion orders that RabbitMQ has not answered.
    orders: Vec<OutgoingOrder>,
    /// Answered, and not yet told to the engine.
    order_outcomes: Vec<(OutgoingOrder, Outcome)>,
    /// When RabbitMQ last confirmed an order and that was durable: not to be
    /// published again on that day.
    confirmed_orders: BTreeMap<(OrderId, Personnummer), Day>,
    /// What DFDG has deleted as ordered; it does so once.
    deleted: BTreeSet<OrderId>,
    /// Every event ever published, in order.
    published: Vec<Arc<Event>>,
    acked: Vec<Parcel>,
    /// What a quarantined message would be under other rules.
    curable: BTreeMap<u32, Arc<Event>>,
    released: Vec<EventMark>,
    garbled: u32,
    /// How often the process has died.
    lives: u32,
    faults: bool,
    /// Orders that were under way when somebody turned out to be another person.
    orders_of_others: BTreeSet<u64>,
    recording: bool,
    pub coverage: Coverage,
    pub steps: Vec<String>,
    pub hash: u64,
}

fn infallible<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(value) => value,
    }
}

/// A body that says which message it is.
fn body(number: u32) -> Arc<[u8]> {
    Arc::from(number.to_be_bytes().as_slice())
}

impl Run {
    pub fn new(seed: u64, recording: bool) -> Self {
        let mut dice = Dice::new(seed);
        // Around the nights on which the clocks change, and at no time in particular.
        let days = ["2026-03-28T09:00:00Z", "2026-10-24T12:00:00Z", "2026-12-31T20:00:00Z", "2026-06-16T06:00:00Z"];
        let now = Moment::parse(days[dice.below(days.len())]).expect("a moment");
        let world = World::new(&mut dice);
        let limits = Limits {
            in_flight: *dice.pick(&[1, 3, 64]),
            in_journal: *dice.pick(&[2, 16, 1000]),
            recovery_span: *dice.pick(&[3, 20, 1000]),
            window: *dice.pick(&[1, 2, 4, 64]),
        };
        let engine = Engine::new(Arc::clone(&world.rules), limits);
        let rabbit = RabbitMq::new(*dice.pick(&[3, 10, 1000]));
        let mut run = Self {
            dice,
            now,
            limits,
            engine,
            store: Watched::default(),
            rabbit,
            world,
            model: Model::default(),
            outcomes: Vec::new(),
            orders: Vec::new(),
            order_outcomes: Vec::new(),
            confirmed_orders: BTreeMap::new(),
            deleted: BTreeSet::new(),
            published: Vec::new(),
            acked: Vec::new(),
            curable: BTreeMap::new(),
            released: Vec::new(),
            garbled: 0,
            lives: 0,
            faults: true,
            orders_of_others: BTreeSet::new(),
            recording,
            coverage: Coverage::default(),
            steps: Vec::new(),
            hash: 0xcbf2_9ce4_8422_2325,
        };
        run.engine.set_connected(true);
        run
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.recording {
            let line = format!("{} {}", self.now, what());
            self.steps.push(line);
        }
    }

    /// Lives one life to its end.
    pub fn live(&mut self) -> Verdict {
        infallible(self.engine.recover(&mut self.store));
        self.commit(&[], &[], &mut Output::default(), Durability::Flush)?;
        let first = self.world.first_events(&mut self.dice, self.now);
        if self.dice.chance(80) {
            self.first_load(first)?;
        } else {
            for event in first {
                self.publish(event);
            }
        }
        let steps = *self.dice.pick(&[8, 20, 20, 50, 50, 120, 250]);
        for _ in 0..steps {
            self.step()?;
            self.now = self.now.plus_millis(1 + self.dice.below(50) as u64);
        }
        self.end()
    }

    fn publish(&mut self, event: Event) {
        let event = Arc::new(event);
        self.note(|| format!("DFDG sends {event:?}"));
        self.published.push(Arc::clone(&event));
        self.send(event);
    }

    fn send(&mut self, event: Arc<Event>) {
        if self.dice.chance(3) {
            self.garbled += 1;
            let parcel = Parcel::Garbled(self.garbled, Some(event));
            self.rabbit.events.publish(parcel);
            return;
        }
        let kind = self.world.rules.message_type(&event.entity);
        let is_tilknytning = kind.is_some_and(|kind| kind.domain == wsb_broker::core::policy::Domain::Tilknytning);
        let queue = if is_tilknytning { &mut self.rabbit.tilknytning } else { &mut self.rabbit.events };
        queue.publish(Parcel::Event(event));
    }

    fn step(&mut self) -> Verdict {
        let kind = self.dice.weighted(&[30, 3, 1, 34, 24, 12, 5, 2, 6, 2, 3, 4, 2, 1, 1, 2, 3, 4, 1, 3]);
        self.mix(kind as u64);
        match kind {
            0 => {
                for _ in 0..=self.dice.below(3) {
                    for event in self.world.happens(&mut self.dice, self.now) {
                        self.publish(event);
                    }
                }
            }
            1 => {
                if !self.published.is_empty() {
                    let back = self.dice.below(self.published.len().min(10));
                    let event = Arc::clone(&self.published[self.published.len() - 1 - back]);
                    self.note(|| format!("DFDG sends {} again", event.id));
                    self.send(event);
                }
            }
            2 => {
                self.garbled += 1;
                self.note(|| "DFDG sends something else".to_owned());
                let parcel = Parcel::Garbled(self.garbled, None);
                self.rabbit.events.publish(parcel);
            }
            3 => self.turn()?,
            4 => {
                let most = 1 + self.dice.below(6);
                self.answer(most);
                self.answer_orders(most);
                if self.dice.chance(4) {
                    let event = self.world.hand_over(&mut self.dice, self.now);
                    self.publish(event);
                }
            }
            5 => self.pass_time(),
            6 => {
                let recipient = self.any_recipient();
                let mood = if self.dice.chance(40) { Mood::Works } else { *self.dice.pick(&Mood::ALL) };
                self.note(|| format!("the queue of {recipient}: {mood:?}"));
                self.rabbit.set_mood(recipient, mood);
            }
            7 => self.change_connection(),
            8 => {
                let recipient = self.any_recipient();
                let most = if self.dice.chance(50) { usize::MAX } else { 1 + self.dice.below(3) };
                self.rabbit.fetch(recipient, most);
            }
            9 => self.crash()?,
            10 => {
                let what = self.world.change_rules(&mut self.dice, self.now);
                self.note(|| format!("rules: {what}"));
                self.engine.set_rules(Arc::clone(&self.world.rules));
            }
            11 => self.tend()?,
            12 => self.look_after_quarantine()?,
            13 => {
                let events = self.world.happens(&mut self.dice, self.now);
                self.first_load(events)?;
            }
            14 => self.tell_stale_outcome()?,
            15 => self.come_back()?,
            16 => self.operate()?,
            17 => self.order()?,
            18 => self.look_into_queues()?,
            _ => self.erase_somebody()?,
        }
        Ok(())
    }

    fn any_recipient(&mut self) -> Recipient {
        let all: Vec<Recipient> = self.world.rules.recipients().map(|rule| rule.recipient).collect();
        *self.dice.pick(&all)
    }

    /// One turn of the writer: a group, its commit, its effects, a dispatch.
    fn turn(&mut self) -> Verdict {
        let crash = if self.faults && self.dice.chance(5) { Some(*self.dice.pick(&CRASHES)) } else { None };
        self.coverage.count(|| crash.map_or_else(String::new, |crash| format!("crash {crash:?}")));
        let mut out = Output::default();
        let mut outcomes = std::mem::take(&mut self.outcomes);
        // Each batch has a channel of its own: confirms come in another order than
        // their messages arrived.
        if self.dice.chance(30) {
            for at in (1..outcomes.len()).rev() {
                outcomes.swap(at, self.dice.below(at + 1));
            }
        }
        for (key, outcome) in &outcomes {
            self.note(|| format!("outcome of {key:?}: {outcome:?}"));
            infallible(self.engine.settle(*key, *outcome, &mut self.store, self.now, &mut out));
        }
        let confirmed = self.settle_orders(&mut out);
        let most = 1 + self.dice.below(5);
        let mut parcels = if self.rabbit.up { self.rabbit.tilknytning.take(most) } else { Vec::new() };
        if self.rabbit.up && self.engine.has_room() {
            parcels.extend(self.rabbit.events.take(most));
        }
        let events = parcels.len();
        for parcel in parcels {
            self.take_in(parcel, &mut out)?;
        }
        infallible(self.engine.follow_up(&mut self.store, self.now, &mut out));
        if self.dice.chance(30) {
            infallible(self.engine.tend(&mut self.store, self.now, &mut out));
        }
        let advanced = infallible(self.engine.advance_replays(&mut self.store, self.now, &mut out)) == Advanced::Some;
        if crash == Some(Crash::BeforeCommit) {
            return self.crash();
        }
        let flushed = events > 0 || advanced || self.dice.chance(30);
        let durability = self.durability(&out, flushed);
        self.commit(&outcomes, &[], &mut out, durability)?;
        if durability == Durability::Flush {
            self.confirmed_orders.extend(confirmed);
            // What came in the same group may have ended the order.
            self.forget_orders();
        }
        if crash == Some(Crash::BeforeAck) {
            return self.crash();
        }
        if events > 0 {
            self.ack()?;
        }
        if crash == Some(Crash::AfterAck) {
            return self.crash();
        }
        self.dispatch(crash)?;
        let has_room = self.limits.window > 32 && self.model.waiting() <= 32 && self.model.under_way() < self.limits.in_flight;
        if crash.is_none() {
            self.model.nothing_waits_for_the_closed(&self.world.rules, self.now)?;
        }
        if crash.is_none() && self.rabbit.up && has_room {
            self.model.no_lane_waits_for_another(self.now)?;
        }
        self.check_counts()
    }

    fn take_in(&mut self, parcel: Parcel, out: &mut Output) -> Verdict {
        match parcel {
            Parcel::Event(event) => {
                let seen = infallible(self.store.has_seen(&event.mark));
                let event = Event::clone(&event);
                let id = event.id.clone();
                let consumption = infallible(self.engine.take_in(event, Manner::News, &mut self.store, self.now, out));
                self.note(|| format!("takes in {id}: {consumption:?}"));
                if seen != (consumption == Consumption::Duplicate) {
                    return Err(format!("{id} is {consumption:?}, seen before: {seen}"));
                }
            }
            Parcel::Garbled(number, event) => {
                if let Some(event) = event {
                    self.curable.insert(number, event);
                }
                let id = self.store.next_quarantine_id();
                let message = Quarantined {
                    id,
                    at: self.now,
                    word: "made-up".into(),
                    reason: "made up".into(),
                    body: body(number),
                    about: About::These(Vec::new()),
                };
                self.note(|| format!("quarantines message {number}"));
                infallible(self.engine.quarantine(message, &mut self.store, out));
            }
        }
        Ok(())
    }

    fn commit(
        &mut self,
        outcomes: &[(DeliveryKey, Outcome)],
        deeds: &[(DeliveryKey, Deed)],
        out: &mut Output,
        durability: Durability,
    ) -> Verdict {
        let changes = self.store.commit(durability);
        if changes.iter().any(|change| matches!(change, Change::PutClocks(_) | Change::DropClocks(_))) {
            self.forget_orders();
        }
        // Under which of the two numbers something was ordered does not matter any more.
        if changes.iter().any(|change| matches!(change, Change::Join { .. } | Change::Part { .. })) {
            self.confirmed_orders.clear();
            self.orders_of_others.extend(self.orders.iter().map(|order| order.token));
        }
        for change in &changes {
            self.mix(weight(change));
            self.coverage.change(change);
        }
        for fact in &out.facts {
            self.coverage.fact(fact);
        }
        if self.recording {
            for change in &changes {
                self.note(|| format!("  {}", brief(change)));
            }
        }
        let durable = durability == Durability::Flush;
        let group = Group { changes: &changes, facts: &out.facts, outcomes, deeds, now: self.now, durable };
        self.model.judge(&group, &self.world.rules)?;
        let forgotten = out.facts.iter().filter(|fact| matches!(fact, Fact::Erased(Cause::LastRecord))).count();
        out.facts.clear();
        for change in &changes {
            match change {
                Change::Erase(citizen) if forgotten > 0 => self.forgotten(*citizen, durability)?,
                Change::DropNotices { recipient, day } => self.has_fetched(*recipient, *day)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A citizen was forgotten, and nobody had asked for it: there was nothing
    /// left to know them for.
    fn forgotten(&mut self, citizen: CitizenId, durability: Durability) -> Verdict {
        if durability != Durability::Flush {
            return Err(format!("citizen {} is forgotten, and a crash would bring them back", citizen.0));
        }
        // Of one of the numbers nothing may ever have come but that it is another's.
        let ids = self.model.joined_with(citizen);
        let person = ids.iter().find_map(|id| self.model.person_known_as(*id));
        let person = person.ok_or_else(|| format!("citizen {} was nobody", citizen.0))?;
        let schedule = self.world.rules.schedule();
        let has_rule = |entity: &str| !schedule.rules_of(entity).is_empty();
        self.model.may_be_forgotten(person, has_rule, self.now)?;
        let number = self.model.past.number_of(person);
        self.note(|| format!("citizen {} is forgotten", citizen.0));
        self.let_orders_go(person);
        self.model.forget(person, ids)?;
        if infallible(self.store.find_citizen(&number)).is_some() {
            return Err(format!("the number of citizen {} is still known", citizen.0));
        }
        Ok(())
    }

    /// Orders about a person who is forgotten mean nothing to the engine any more;
    /// the same record may be told of anew, and ordered beside them.
    fn let_orders_go(&mut self, person: usize) {
        let past = &self.model.past;
        let theirs = self.orders.extract_if(.., |order| past.person_with(&order.personnummer).is_none_or(|of| of == person));
        self.order_outcomes.extend(theirs.map(|order| (order, Outcome::Confirmed)));
    }

    /// How a group is to be committed that need not be flushed for itself.
    fn durability(&mut self, out: &Output, flushed: bool) -> Durability {
        if flushed || out.must_last() { Durability::Flush } else { Durability::Lazy }
    }

    /// What has been acknowledged is durable, whatever it was.
    fn ack(&mut self) -> Verdict {
        let mut acked = self.rabbit.tilknytning.ack();
        acked.extend(self.rabbit.events.ack());
        let mut survivor = self.store.inner.clone();
        survivor.crash();
        for parcel in acked {
            match &parcel {
                Parcel::Event(event) => {
                    if !infallible(survivor.has_seen(&event.mark)) {
                        return Err(format!("{} is acknowledged and not durable", event.id));
                    }
                }
                Parcel::Garbled(number, _) => {
                    if !survivor.quarantine().any(|message| message.body == body(*number)) {
                        return Err(format!("message {number} is acknowledged and not durable"));
                    }
                }
            }
            self.acked.push(parcel);
        }
        Ok(())
    }

    /// Dispatches until there is nothing more to be done now.
    fn dispatch(&mut self, crash: Option<Crash>) -> Verdict {
        for round in 0.. {
            let mut out = Output::default();
            self.model.dispatching();
            infallible(self.engine.dispatch(&mut self.store, self.now, &mut out));
            infallible(self.engine.clockwork(&mut self.store, self.now, &mut out));
            let attempts = std::mem::take(&mut out.attempts);
            let orders = std::mem::take(&mut out.orders);
            if crash == Some(Crash::BeforeSecondCommit) {
                self.crash()?;
                return Ok(());
            }
            self.model.departing(&attempts);
            if self.store.has_staged() || !out.facts.is_empty() {
                self.commit(&[], &[], &mut out, Durability::Flush)?;
            }
            for attempt in &attempts {
                self.mix(attempt.key.seq.0 << 16 | u64::from(attempt.key.recipient.to_number()));
                self.note(|| format!("attempt {} of {} to {}", attempt.attempt, attempt.event.id, attempt.key.recipient));
            }
            self.coverage.attempts(&attempts);
            self.model.attempts(&attempts, &self.world.rules, self.now)?;
            if crash == Some(Crash::BeforePublish) {
                self.crash()?;
                return Ok(());
            }
            self.publish_orders(orders)?;
            for attempt in &attempts {
                self.rabbit.publish(attempt);
            }
            if crash == Some(Crash::AfterPublish) {
                self.crash()?;
                return Ok(());
            }
            if !self.rabbit.up && !attempts.is_empty() {
                return Err("attempts without a connection".to_owned());
            }
            let wake = self.next_wake();
            if wake.is_none_or(|wake| wake > self.now) {
                break;
            }
            // A window of one goes past what is parked a row at a time.
            if round > 400 {
                return Err(format!("never comes to rest: wakes at {wake:?}"));
            }
            let mut out = Output::default();
            if infallible(self.engine.advance_replays(&mut self.store, self.now, &mut out)) == Advanced::Some {
                self.commit(&[], &[], &mut out, Durability::Flush)?;
            }
        }
        Ok(())
    }

    /// Deletion orders go out: each about a record that is due and not blocked,
    /// durable before, and not again on the day on which it was confirmed.
    fn publish_orders(&mut self, orders: Vec<OutgoingOrder>) -> Verdict {
        if orders.is_empty() {
            return Ok(());
        }
        if !self.rabbit.up {
            return Err("orders without a connection".to_owned());
        }
        let mut survivor = self.store.inner.clone();
        survivor.crash();
        let today = Day::in_copenhagen(self.now);
        for order in orders {
            self.note(|| format!("orders {} {} of {}", order.entity, order.external_id.as_str(), order.due));
            self.mix(order.token);
            let found = infallible(survivor.find_citizen(&order.personnummer));
            let citizen = found.and_then(|id| infallible(survivor.citizen(id))).ok_or("an order about nobody")?;
            let clocks = infallible(survivor.clocks(citizen.id)).ok_or("an order about no record")?;
            let view = View { clocks: &clocks, citizen: &citizen, schedule: self.world.rules.schedule() };
            let item =
                view.due(today).into_iter().find(|item| item.clock.external_id == order.external_id && item.clock.entity == order.entity);
            let standing = item.map(|item| (item.due, item.standing));
            let durable =
                matches!(&standing, Some((due, Standing::Ordered(of))) if of.due == order.due && *due == order.due && !of.confirmed);
            if !durable {
                return Err(format!("ordered {:?} of {}, which is {standing:?}", order.external_id, order.due));
            }
            // A record is told of under two numbers that are not known to be one person.
            let is_same = |other: &OutgoingOrder| (other.id, other.personnummer) == (order.id, order.personnummer);
            let of_others = &self.orders_of_others;
            if self.orders.iter().any(|other| is_same(other) && !of_others.contains(&other.token)) {
                return Err(format!("{:?} is ordered while it is under way", order.external_id));
            }
            let again = self.confirmed_orders.get(&(order.id, order.personnummer));
            if again == Some(&today) {
                return Err(format!("{:?} is ordered twice on {today}", order.external_id));
            }
            self.coverage.count(|| if again.is_some() { "order repeated".to_owned() } else { "order published".to_owned() });
            self.orders.push(order);
        }
        Ok(())
    }

    /// An order that does not stand any more, since its record is gone, not due
    /// or blocked, may be given again on the same day.
    fn forget_orders(&mut self) {
        let store = &mut self.store;
        self.confirmed_orders.retain(|(id, number), _| {
            let citizen = infallible(store.find_citizen(number));
            let clocks = citizen.and_then(|citizen| infallible(store.clocks(citizen)));
            clocks.is_some_and(|clocks| {
                let stands = |clock: &Clock| {
                    clock.order.is_some_and(|order| OrderId::of(&clock.entity, &clock.external_id, order.due, clock.under) == *id)
                };
                clocks.records.iter().any(|clock| stands(clock))
            })
        });
    }

    /// Tells the engine what RabbitMQ has answered; returns what it confirmed.
    fn settle_orders(&mut self, out: &mut Output) -> Vec<((OrderId, Personnummer), Day)> {
        let mut confirmed = Vec::new();
        for (order, outcome) in std::mem::take(&mut self.order_outcomes) {
            self.note(|| format!("outcome of the order of {}: {outcome:?}", order.external_id.as_str()));
            infallible(self.engine.settle_order(order.token, outcome, &mut self.store, self.now, out));
            let citizen = infallible(self.store.find_citizen(&order.personnummer));
            let clocks = citizen.and_then(|id| infallible(self.store.clocks(id)));
            let standing = clocks.and_then(|clocks| clocks.of_record(&order.entity, &order.external_id).and_then(|clock| clock.order));
            if outcome == Outcome::Confirmed && standing.is_some_and(|standing| standing.confirmed && standing.due == order.due) {
                confirmed.extend(standing.map(|standing| ((order.id, order.personnummer), standing.asked)));
            }
        }
        confirmed
    }

    /// RabbitMQ answers an order; DFDG does what it says, perhaps, and tells so.
    fn answer_orders(&mut self, most: usize) {
        for _ in 0..most.min(self.orders.len()) {
            let order = self.orders.remove(self.dice.below(self.orders.len()));
            let fails = !self.rabbit.up || (self.faults && self.dice.chance(12));
            let outcome = if fails { Outcome::Failed { failure: Failure::Timeout, code: 0 } } else { Outcome::Confirmed };
            let arrives = !fails || self.dice.chance(50);
            if arrives && self.dice.chance(55) && self.deleted.insert(order.id) {
                let event = self.world.answer(&order, &mut self.dice, self.now);
                self.publish(event);
            }
            self.order_outcomes.push((order, outcome));
        }
    }

    fn next_wake(&self) -> Option<Moment> {
        [self.engine.next_wake(), self.engine.replays_wake()].into_iter().flatten().min()
    }

    fn received(&mut self, resolved: Resolved) {
        if resolved.arrived {
            self.model.arrive(resolved.key);
        }
        self.outcomes.push((resolved.key, resolved.outcome));
    }

    fn answer(&mut self, most: usize) {
        for _ in 0..most {
            let Some(resolved) = self.rabbit.resolve(&mut self.dice, self.faults) else { break };
            self.received(resolved);
        }
    }

    fn change_connection(&mut self) {
        self.rabbit.up ^= true;
        let up = self.rabbit.up;
        self.note(|| format!("RabbitMQ is up: {up}"));
        if !up {
            for resolved in self.rabbit.disconnect(&mut self.dice) {
                self.received(resolved);
            }
            self.rabbit.requeue_unacked(&mut self.dice);
        }
        self.engine.set_connected(up);
    }

    fn pass_time(&mut self) {
        let to = match self.dice.weighted(&[30, 20, 12, 5, 5, 15, 4]) {
            0 => self.now.plus_millis(self.dice.below(2000) as u64),
            1 => self.now.plus_seconds(self.dice.below(60) as i64),
            2 => self.now.plus_seconds(self.dice.below(7200) as i64),
            // Around midnight in Copenhagen.
            3 => Moment(Day::in_copenhagen(self.now).next().begins().0 - 1),
            4 => Day::in_copenhagen(self.now).next().begins(),
            5 => self.next_wake().unwrap_or(self.now),
            _ => self.now.plus_seconds(86_400 + self.dice.below(200_000) as i64),
        };
        self.now = self.now.max(to);
    }

    fn tend(&mut self) -> Verdict {
        let mut out = Output::default();
        infallible(self.engine.tend(&mut self.store, self.now, &mut out));
        let flushed = self.dice.chance(50);
        let durability = self.durability(&out, flushed);
        self.commit(&[], &[], &mut out, durability)
    }

    /// Somebody looks how much lies in the recipients' queues; meanwhile things
    /// arrive and are fetched.
    fn look_into_queues(&mut self) -> Verdict {
        let life = self.lives;
        for (recipient, confirmed) in self.engine.notices_to_look_at() {
            if self.faults && self.dice.chance(30) {
                self.answer(1);
                self.turn()?;
            }
            let depth = self.rabbit.unfetched(recipient).len() as u64;
            if self.faults && self.dice.chance(20) {
                let most = self.dice.below(3);
                self.answer(most);
                self.rabbit.fetch(recipient, most);
                self.turn()?;
            }
            if self.lives != life {
                // Whoever looks dies with the process.
                break;
            }
            infallible(self.engine.notices_looked_at(recipient, confirmed, depth, &mut self.store));
            self.commit(&[], &[], &mut Output::default(), Durability::Lazy)?;
        }
        Ok(())
    }

    /// Whatever is said to have been fetched does not lie there any more.
    fn has_fetched(&mut self, recipient: Recipient, day: Day) -> Verdict {
        let lying: Vec<DeliveryKey> = self.rabbit.unfetched(recipient).iter().copied().collect();
        for key in lying {
            let is_notice = self.model.deliveries.get(&key).is_some_and(|of| matches!(of.event().content, Content::Deletion { .. }));
            let ended = self.store.inner.finished(key);
            if is_notice && ended.is_some_and(|ended| ended.end == End::Delivered && Day::in_copenhagen(ended.at) == day) {
                return Err(format!("{key:?} of {day} is said to have been fetched, and lies there"));
            }
        }
        Ok(())
    }

    /// The process dies and another one takes its place.
    fn crash(&mut self) -> Verdict {
        // Never in the middle of a group.
        let in_order = self.engine.in_flight() == 0 && !self.store.has_staged() && self.dice.chance(50);
        self.note(|| if in_order { "STOP".to_owned() } else { "CRASH".to_owned() });
        self.lives += 1;
        if in_order {
            infallible(self.engine.stop(&mut self.store));
            self.commit(&[], &[], &mut Output::default(), Durability::Flush)?;
        }
        self.store.crash();
        self.model.crash(in_order);
        self.outcomes.clear();
        self.orders.clear();
        self.order_outcomes.clear();
        for resolved in self.rabbit.disconnect(&mut self.dice) {
            if resolved.arrived {
                self.model.arrive(resolved.key);
            }
        }
        self.rabbit.requeue_unacked(&mut self.dice);
        self.engine = Engine::new(Arc::clone(&self.world.rules), self.limits);
        let holds = infallible(self.store.holds());
        self.model.recover_holds(&holds)?;
        infallible(self.engine.recover(&mut self.store));
        infallible(self.engine.start(&mut self.store));
        self.commit(&[], &[], &mut Output::default(), Durability::Flush)?;
        self.engine.set_connected(self.rabbit.up);
        self.check_counts()?;
        self.check_invariants()
    }

    fn first_load(&mut self, events: Vec<Event>) -> Verdict {
        let mut out = Output::default();
        for event in events {
            self.note(|| format!("first load: {event:?}"));
            self.model.expect_first_load(event.mark);
            infallible(self.engine.take_in(event.clone(), Manner::FirstLoad, &mut self.store, self.now, &mut out));
            self.published.push(Arc::new(event));
        }
        infallible(self.engine.follow_up(&mut self.store, self.now, &mut out));
        self.commit(&[], &[], &mut out, Durability::Flush)
    }

    /// An operator has a quarantined message tried again, or throws it away.
    fn look_after_quarantine(&mut self) -> Verdict {
        let messages: Vec<Quarantined> = self.store.inner.quarantine().cloned().collect();
        if messages.is_empty() {
            return Ok(());
        }
        let message = self.dice.pick(&messages).clone();
        let number = u32::from_be_bytes(message.body[..].try_into().expect("four bytes"));
        let mut out = Output::default();
        match self.curable.get(&number) {
            Some(event) => {
                let event = Event::clone(event);
                self.note(|| format!("quarantined {} is tried again", event.id));
                self.released.push(event.mark);
                infallible(self.engine.take_in(event, Manner::News, &mut self.store, self.now, &mut out));
                self.coverage.count(|| "quarantine retry".to_owned());
            }
            None => self.coverage.count(|| "quarantine discard".to_owned()),
        }
        infallible(self.store.stage(Change::Release(message.id)));
        infallible(self.engine.follow_up(&mut self.store, self.now, &mut out));
        self.commit(&[], &[], &mut out, Durability::Flush)
    }

    /// A message that had arrived comes back through `wsb.returned`.
    fn come_back(&mut self) -> Verdict {
        let at = self.dice.below(1 << 20);
        let Some(key) = self.model.some_arrived(at) else { return Ok(()) };
        if self.outcomes.iter().any(|(of, _)| *of == key) {
            return Ok(());
        }
        // Before its own confirm, perhaps, which then never matters.
        self.rabbit.forget(key);
        self.rabbit.leave(key);
        let why = *self.dice.pick(&[Death::RejectedByRecipient, Death::DeliveryLimit, Death::Expired, Death::Overflow]);
        let event = self.model.deliveries[&key].event();
        let queue = self.world.rules.recipient(key.recipient).map(|rule| rule.queue.as_ref().into());
        let Some(queue) = queue else { return Ok(()) };
        let replay = self.model.deliveries[&key].replays() > 0 && self.dice.chance(50);
        let wsb = CameBack { id: event.mark.wsb_id(key.recipient), event_id: event.id.clone(), recipient: key.recipient, replay, queue };
        self.note(|| format!("{key:?} comes back: {why:?}, of a replay: {replay}"));
        let stood = (self.model.deliveries[&key].stand, self.model.deliveries[&key].is_under_way());
        let mut out = Output::default();
        match infallible(self.engine.take_back(&wsb, why, &mut self.store, self.now, &mut out)) {
            TakenBack::Known => {}
            not => return Err(format!("{key:?} came back: {not:?}")),
        }
        self.coverage.count(|| format!("came back when {stood:?}"));
        self.commit(&[], &[(key, Deed::CameBack { why, replay })], &mut out, Durability::Flush)?;
        self.model.came_back(key)?;
        self.check_counts()
    }

    /// An operator gives a delivery up, asks for a replay, or for something of one.
    fn operate(&mut self) -> Verdict {
        match self.dice.weighted(&[25, 45, 12, 30, 12]) {
            0 => self.discard(),
            1 => self.order_replay(),
            2 => self.wish(Wish::Stop),
            3 => self.wish(Wish::Resume),
            _ => self.wish(Wish::Go),
        }
    }

    fn discard(&mut self) -> Verdict {
        let fit = |tracked: &Tracked| matches!(tracked.stand, Stand::Dead | Stand::Waiting);
        let keys: Vec<DeliveryKey> = self.model.deliveries.iter().filter(|(_, tracked)| fit(tracked)).map(|(key, _)| *key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let key = *self.dice.pick(&keys);
        let mut out = Output::default();
        let what = format!("{:?}", infallible(self.engine.discard(key, &mut self.store, self.now, &mut out)));
        self.note_deed(Action::DeliveryDiscarded, &format!("{key:?}"));
        self.note(|| format!("discards {key:?}: {what}"));
        self.coverage.count(|| format!("Discarded: {what}"));
        self.commit(&[], &[(key, Deed::Discarded)], &mut out, Durability::Flush)?;
        self.check_counts()
    }

    /// As the API does, in the group of what is done.
    fn note_deed(&mut self, action: Action, about: &str) {
        let deed = audit::Deed::new("simulator", "operator", action, about);
        infallible(self.store.stage(Change::Audit { at: self.now, deed }));
    }

    /// Selects page by page, each a group of its own, and freezes.
    fn order_replay(&mut self) -> Verdict {
        let recipient = self.any_recipient();
        let source = if self.dice.chance(60) { Source::Dead } else { Source::Delivered };
        let state = if source == Source::Dead { StateFilter::Dead } else { StateFilter::Delivered };
        let of_one = source == Source::Delivered || self.dice.chance(40);
        let filter = Filter { state: Some(state), recipient: of_one.then_some(recipient), ..Filter::default() };
        let order = Order {
            filter: filter.clone(),
            source,
            rate_per_second: if self.dice.chance(30) { Some(*self.dice.pick(&[1, 3, 1000])) } else { None },
            canary: if self.dice.chance(30) { Some(*self.dice.pick(&[1, 2, 5])) } else { None },
            by: "simulator".into(),
            scope: None,
            request: None,
        };
        let rules = Arc::clone(self.engine.rules());
        let mut candidates = match source {
            Source::Dead => Candidates::dead(rules, filter, None),
            Source::Delivered => {
                let since = self.now.plus_seconds(-[3600, 86_400 * 14][self.dice.below(2)]);
                Candidates::delivered(rules, filter, recipient, since, self.now)
            }
        };
        self.note(|| format!("a replay: {order:?}"));
        let id = match infallible(self.engine.begin_replay(order, &mut self.store, self.now)) {
            Begun::New(id) => id,
            known => return Err(format!("a replay without a name is {known:?}")),
        };
        self.note_deed(Action::ReplayStarted, &id.to_string());
        self.commit(&[], &[], &mut Output::default(), Durability::Flush)?;
        let mut out = Output::default();
        while let Some(page) = candidates.page(&self.store, self.now).map_err(|error| error.to_string())? {
            infallible(self.engine.select(id, &[], page.under_way, &mut self.store, self.now));
            for row in page.rows {
                let before = self.engine.claimed_by(row.key);
                let left_before = self.engine.replay(id).map(|replay| replay.already_claimed);
                infallible(self.engine.select(id, std::slice::from_ref(&row), 0, &mut self.store, self.now));
                let is_left = self.engine.replay(id).map(|replay| replay.already_claimed) != left_before;
                let claimed = self.engine.claimed_by(row.key);
                if claimed != if is_left { before } else { Some(id) } || (before.is_some() && !is_left) {
                    return Err(format!("{:?} was claimed by {before:?}, and is by {claimed:?}", row.key));
                }
                self.coverage.count(|| match (before, is_left) {
                    (Some(_), _) => "claimed already".to_owned(),
                    (None, true) => format!("left to another {source:?}"),
                    (None, false) => format!("selected {source:?}"),
                });
                if self.dice.chance(20) {
                    self.commit(&[], &[], &mut out, Durability::Flush)?;
                }
            }
            if self.faults && self.dice.chance(2) {
                self.coverage.count(|| "crash while selecting".to_owned());
                return self.crash();
            }
        }
        if self.faults && self.dice.chance(3) {
            self.coverage.count(|| "selection given up".to_owned());
            infallible(self.engine.abandon(id, &mut self.store));
        } else {
            infallible(self.engine.freeze(id, &mut self.store, self.now, &mut out));
        }
        self.commit(&[], &[], &mut out, Durability::Flush)
    }

    fn wish(&mut self, wish: Wish) -> Verdict {
        let fit = |stage: Stage| match wish {
            Wish::Stop => matches!(stage, Stage::Running | Stage::WaitingForGo),
            Wish::Resume => matches!(stage, Stage::Stopped { .. }),
            Wish::Go => stage == Stage::WaitingForGo,
        };
        let ids: Vec<ReplayId> = self.engine.replays().filter(|replay| fit(replay.stage)).map(|replay| replay.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let id = *self.dice.pick(&ids);
        let mut out = Output::default();
        match infallible(self.engine.wish(id, wish, &mut self.store, self.now, &mut out)) {
            Some(Ok(replay)) => self.note(|| format!("{wish:?} replay {id}: {:?}", replay.stage)),
            refused => return Err(format!("{wish:?} replay {id}: {refused:?}")),
        }
        self.coverage.count(|| format!("replay: {wish:?}"));
        self.commit(&[], &[], &mut out, Durability::Flush)
    }

    /// A citizen is erased: from then on nothing about them may appear.
    fn erase_somebody(&mut self) -> Verdict {
        let number = self.world.any_number(&mut self.dice);
        let Some(person) = self.model.past.person_with(&number) else { return Ok(()) };
        // What one of two numbers that are not known to be one person's has said
        // about a record of the other's is not the model's to remember.
        if self.world.numbers_beside(&number).any(|other| self.model.past.person_with(&other).is_some_and(|of| of != person)) {
            return Ok(());
        }
        let Some(citizen) = infallible(self.store.find_citizen(&number)) else { return Ok(()) };
        self.note(|| format!("citizen {} is erased", citizen.0));
        let mut out = Output::default();
        let plan = infallible(self.engine.plan_erasure(citizen, &mut self.store)).ok_or("nothing is known of a citizen with a number")?;
        self.let_orders_go(person);
        infallible(self.engine.erase(&plan, Cause::Order, &mut self.store, self.now, &mut out));
        self.commit(&[], &[], &mut out, Durability::Flush)?;
        self.model.forget(person, plan.citizens.iter().copied())?;
        if infallible(self.store.find_citizen(&number)).is_some() {
            return Err(format!("the number of citizen {} is still known", citizen.0));
        }
        self.check_counts()?;
        self.check_invariants()
    }

    /// An operator has something left alone, or lets it go on.
    fn order(&mut self) -> Verdict {
        let why = Why::parse("made up").expect("a reason");
        let recipient = self.any_recipient();
        let mut out = Output::default();
        let what = match self.dice.below(4) {
            0 => {
                let until = self.dice.chance(60).then(|| self.now.plus_seconds(1 + *self.dice.pick(&[60, 7200, 400_000])));
                infallible(self.engine.pause(recipient, until, why, &mut self.store, self.now, &mut out));
                format!("{recipient} is paused until {until:?}")
            }
            1 => {
                let resumed = infallible(self.engine.resume(recipient, &mut self.store, self.now, &mut out));
                if matches!(resumed, Resumed::Probed | Resumed::GoesOn) {
                    self.model.probed(recipient, self.now);
                }
                self.coverage.count(|| format!("resume: {}", format!("{resumed:?}").split('(').next().unwrap_or_default()));
                format!("{recipient} is resumed: {resumed:?}")
            }
            2 => {
                let waits = |tracked: &Tracked| tracked.stand == Stand::Waiting;
                let keys: Vec<DeliveryKey> = self.model.deliveries.iter().filter(|(_, of)| waits(of)).map(|(key, _)| *key).collect();
                if keys.is_empty() {
                    return Ok(());
                }
                let key = *self.dice.pick(&keys);
                let order = infallible(self.engine.park(key, why, &mut self.store, self.now));
                self.coverage.count(|| format!("park: {order:?}"));
                if matches!(order, LaneOrder::NotWaiting | LaneOrder::TooMany) {
                    return Err(format!("the lane of {key:?} is not parked: {order:?}"));
                }
                format!("the lane of {key:?} is parked: {order:?}")
            }
            _ => {
                let parked = infallible(self.engine.lane_views(None, usize::MAX, &mut self.store));
                let named: Vec<_> = parked.iter().filter_map(|view| view.parked.as_ref()?.named).collect();
                if named.is_empty() {
                    return Ok(());
                }
                let id = *self.dice.pick(&named);
                let order = infallible(self.engine.release_named(id, &mut self.store, self.now));
                if order != LaneOrder::Done {
                    return Err(format!("the lane of {id} is not released: {order:?}"));
                }
                format!("the lane of {id} is released")
            }
        };
        self.note(|| what);
        self.commit(&[], &[], &mut out, Durability::Flush)?;
        self.check_counts()
    }

    /// Lets everything go on that is left alone.
    fn end_holds(&mut self) -> Verdict {
        let mut out = Output::default();
        for recipient in self.world.rules.recipients().map(|rule| rule.recipient) {
            let resumed = infallible(self.engine.resume(recipient, &mut self.store, self.now, &mut out));
            if let Resumed::InWindow(until) = resumed {
                // What was ordered goes on within a window: it ends with it.
                let ends_then = Why::parse("made up").expect("a reason");
                infallible(self.engine.pause(recipient, Some(until), ends_then, &mut self.store, self.now, &mut out));
            }
            self.model.probed(recipient, self.now);
        }
        loop {
            let views = infallible(self.engine.lane_views(None, usize::MAX, &mut self.store));
            let Some(id) = views.iter().find_map(|view| view.parked.as_ref()?.named) else { break };
            let order = infallible(self.engine.release_named(id, &mut self.store, self.now));
            if order != LaneOrder::Done {
                return Err(format!("the lane of {id} is not released: {order:?}"));
            }
        }
        self.commit(&[], &[], &mut out, Durability::Flush)
    }

    /// An outcome of an attempt that is not under way changes nothing.
    fn tell_stale_outcome(&mut self) -> Verdict {
        let idle: Vec<DeliveryKey> = self.model.deliveries.iter().filter(|(_, of)| !of.is_under_way()).map(|(key, _)| *key).collect();
        let unsettled = |key: &DeliveryKey| self.outcomes.iter().any(|(of, _)| of == key);
        let idle: Vec<DeliveryKey> = idle.into_iter().filter(|key| !unsettled(key)).collect();
        if idle.is_empty() {
            return Ok(());
        }
        let key = *self.dice.pick(&idle);
        self.note(|| format!("a stale outcome of {key:?}"));
        let mut out = Output::default();
        infallible(self.engine.settle(key, Outcome::Confirmed, &mut self.store, self.now, &mut out));
        if self.store.has_staged() || !out.facts.is_empty() {
            return Err(format!("a stale outcome of {key:?} changes something"));
        }
        Ok(())
    }

    fn check_counts(&self) -> Verdict {
        self.model.held_up_has_rows()?;
        let mut seen: BTreeMap<_, _> = self.engine.view(self.now).into_iter().map(|view| (view.recipient, view.counts)).collect();
        seen.retain(|_, counts| *counts != wsb_broker::core::records::RowCounts::default());
        let expected = self.model.counts();
        if seen == expected { Ok(()) } else { Err(format!("counts {seen:?}, expected {expected:?}")) }
    }

    fn check_invariants(&mut self) -> Verdict {
        for (key, tracked) in &self.model.deliveries {
            let fate = infallible(self.store.fate(*key));
            let agrees = match tracked.stand {
                Stand::Waiting | Stand::Dead => fate == Some(Fate::Unfinished),
                Stand::Delivered => fate == Some(Fate::Ended(End::Delivered)),
                Stand::Withdrawn(why) => fate == Some(Fate::Ended(End::Withdrawn(why))),
            };
            if !agrees {
                return Err(format!("{key:?} is {:?}, the store says {fate:?}", tracked.stand));
            }
            let row = infallible(self.store.delivery(*key));
            let is_dead = row.as_ref().is_some_and(|row| matches!(row.state, State::Dead { .. }));
            if row.is_some() != tracked.has_row() || is_dead != (tracked.stand == Stand::Dead) {
                return Err(format!("{key:?} is {:?}, its row is {row:?}", tracked.stand));
            }
        }
        let store = &self.store.inner;
        let known = store.citizens().map(|citizen| citizen.id).chain(store.journal().map(|of| of.citizen));
        let kept = known.chain(store.rows().map(|row| row.citizen)).find(|citizen| self.model.erased.contains(citizen));
        if let Some(citizen) = kept {
            return Err(format!("citizen {} was erased, and something is kept", citizen.0));
        }
        let rows: Vec<_> = self.store.inner.rows().map(|row| wsb_broker::core::outbox::Delivery::clone(row)).collect();
        let broken = infallible(broken(&mut self.store, rows));
        if let Some(first) = broken.first() {
            return Err(format!("the store: {first}"));
        }
        let rows = self.store.inner.rows().count();
        let expected = self.model.deliveries.values().filter(|tracked| tracked.has_row()).count();
        if rows == expected { Ok(()) } else { Err(format!("{rows} rows, expected {expected}")) }
    }

    /// The faults stop: everything reaches an end, and soon.
    fn end(&mut self) -> Verdict {
        self.note(|| "the faults stop".to_owned());
        self.faults = false;
        if !self.rabbit.up {
            self.change_connection();
        }
        self.rabbit.everything_works();
        self.world.restore_rules();
        self.engine.set_rules(Arc::clone(&self.world.rules));
        self.end_holds()?;
        let deadline = self.now.plus_seconds(73 * 3600);
        loop {
            let recipients: Vec<Recipient> = self.world.rules.recipients().map(|rule| rule.recipient).collect();
            for recipient in recipients {
                self.rabbit.drain(recipient);
            }
            self.answer(usize::MAX);
            self.answer_orders(usize::MAX);
            self.turn()?;
            let of_orders = self.orders.is_empty() && self.order_outcomes.is_empty();
            let idle = self.rabbit.under_way() == 0 && self.outcomes.is_empty() && of_orders;
            let consumed = self.rabbit.tilknytning.is_empty() && self.rabbit.events.is_empty();
            let waits_for_go: Vec<ReplayId> =
                self.engine.replays().filter(|replay| replay.stage == Stage::WaitingForGo).map(|replay| replay.id).collect();
            for _ in waits_for_go {
                self.wish(Wish::Go)?;
            }
            let replayed = self.engine.replays().all(|replay| matches!(replay.stage, Stage::Stopped { .. } | Stage::Done { .. }));
            if idle && consumed && replayed && self.model.waiting() == 0 {
                break;
            }
            if idle && (consumed || !self.engine.has_room()) {
                let Some(wake) = self.next_wake() else {
                    return Err(format!("{} deliveries wait for nothing", self.model.waiting()));
                };
                self.now = self.now.max(wake);
            }
            self.now = self.now.plus_millis(1);
            if self.now > deadline {
                return Err(format!("{} deliveries still wait", self.model.waiting()));
            }
        }
        self.check_counts()?;
        self.check_invariants()?;
        let recipients: Vec<Recipient> = self.world.rules.recipients().map(|rule| rule.recipient).collect();
        recipients.into_iter().for_each(|recipient| self.rabbit.drain(recipient));
        self.look_into_queues()?;
        let unfetched = self.engine.unfetched_notices(self.now);
        if !unfetched.is_empty() {
            return Err(format!("everything was fetched but {unfetched:?}"));
        }
        self.everything_due_is_ordered()?;
        self.nobody_is_known_for_nothing()?;
        // Then every tombstone is over that a copy may have kept somebody for.
        self.now = self.now.plus_seconds(29 * 86_400);
        self.nobody_is_known_for_nothing()?;
        self.model.replays_have_ended(&self.engine)?;
        self.model.nobody_is_left_out(&self.world.rules, self.now)?;
        self.nothing_is_lost()
    }

    /// What is due and not blocked gets its order, and the index leads to it.
    fn everything_due_is_ordered(&mut self) -> Verdict {
        // Whatever is still paused or paced is over by then.
        self.now = self.now.plus_seconds(3700);
        // A day that began in the middle of it would bring orders that nobody confirms.
        if Day::in_copenhagen(self.now) != Day::in_copenhagen(self.now.plus_seconds(60)) {
            self.now = self.now.plus_seconds(60);
        }
        for _ in 0..20 {
            self.turn()?;
            // Confirmed, and not answered: that would be news again.
            let orders = std::mem::take(&mut self.orders);
            self.order_outcomes.extend(orders.into_iter().map(|order| (order, Outcome::Confirmed)));
            self.now = self.now.plus_seconds(1);
        }
        self.turn()?;
        let today = Day::in_copenhagen(self.now);
        let mut ordered = 0;
        for id in infallible(self.store.clocks_page(None, usize::MAX)) {
            let clocks = infallible(self.store.clocks(id)).ok_or("listed clocks are not there")?;
            if clocks.citizen != id {
                // Of one person with another, under whom they are.
                continue;
            }
            ordered += clocks.ordered_on().count() as u64;
            let citizen = infallible(self.store.citizen(id)).ok_or("clocks of nobody")?;
            let view = View { clocks: &clocks, citizen: &citizen, schedule: self.world.rules.schedule() };
            for item in view.due(today) {
                let is_settled = match &item.standing {
                    Standing::Due => false,
                    Standing::Ordered(order) => order.confirmed && order.asked == today,
                    Standing::Blocked(_) => true,
                };
                if !is_settled {
                    return Err(format!("{:?} is due and not ordered: {:?}", item.clock.external_id, item.standing));
                }
            }
            let next = view.next(today);
            // Whoever is leaving is looked after from memory, whatever the day.
            let is_leaving = clocks.emptied && clocks.next <= Some(today) && next == Some(today);
            // Nor is whoever is kept for a copy, until a tombstone goes.
            let waits = clocks.emptied && clocks.next == clocks.next_expiry() && next == Some(today);
            if clocks.next != next && !is_leaving && !waits {
                return Err(format!("the clocks of {} are looked at on {:?}, expected {next:?}", id.0, clocks.next));
            }
        }
        // Unless they are answered, all of them are overdue in the end.
        let late = self.now.plus_seconds(2 * 86_400);
        let overdue = infallible(self.engine.orders_overdue(&mut self.store, late));
        if overdue == ordered { Ok(()) } else { Err(format!("{overdue} orders would be overdue, of {ordered}")) }
    }

    /// Whoever has lost the last record is forgotten, unless something else is a
    /// reason to know them.
    fn nobody_is_known_for_nothing(&mut self) -> Verdict {
        for _ in 0..4 {
            self.turn()?;
            self.tend()?;
            self.now = self.now.plus_seconds(1);
        }
        let today = Day::in_copenhagen(self.now);
        for id in infallible(self.store.clocks_page(None, usize::MAX)) {
            let clocks = infallible(self.store.clocks(id)).ok_or("listed clocks are not there")?;
            let citizen = infallible(self.store.citizen(id)).ok_or("clocks of nobody")?;
            let is_over = clocks.emptied && citizen.unneeded_from().is_some_and(|from| from <= today);
            let is_kept = self.model.has_unfinished(&citizen, self.now) || self.has_copy_to_be_told_of(&clocks, today);
            if clocks.emptied && clocks.has_retained || is_over && !is_kept {
                return Err(format!("citizen {} is known for nothing: {clocks:?}", id.0));
            }
        }
        Ok(())
    }

    /// Whether somebody may have a copy of a record that has not been gone for four weeks.
    fn has_copy_to_be_told_of(&self, clocks: &Clocks, today: Day) -> bool {
        let stands = |noted: Moment| today.number() - Day::in_copenhagen(noted).number() < 28;
        let mut standing = clocks.tombstones.iter().filter(|tombstone| stands(tombstone.noted));
        standing.any(|tombstone| self.model.may_be_held(&(Arc::clone(&tombstone.entity), tombstone.external_id.clone())))
    }

    /// Every event that was acknowledged has been taken in, or is in quarantine.
    fn nothing_is_lost(&mut self) -> Verdict {
        for event in &self.published {
            let taken_in = self.model.past.has(&event.mark);
            let kept = self.store.inner.quarantine().any(|message| {
                let number = u32::from_be_bytes(message.body[..].try_into().expect("four bytes"));
                self.curable.get(&number).is_some_and(|curable| curable.mark == event.mark)
            });
            if !taken_in && !kept {
                return Err(format!("{} is lost", event.id));
            }
        }
        let mut inspection = Inspection::of(self.store.inner.audit_extent());
        self.store.inner.audit_page(AuditOrder::OldestFirst, None, usize::MAX).iter().for_each(|entry| inspection.look(entry));
        if let Soundness::Broken { at } = inspection.end() {
            return Err(format!("the audit log is broken at {at}"));
        }
        if self.store.inner.journal().count() != self.model.past.known.iter().filter(|known| !known.forgotten).count() {
            return Err("the journal has other events".to_owned());
        }
        Ok(())
    }
}

/// What of a change a trace is compared by.
fn weight(change: &Change) -> u64 {
    match change {
        Change::PutCitizen(citizen) => 1 << 32 | u64::from(citizen.id.0),
        Change::OwnRecord { owners, .. } => 15 << 32 | u64::from(owners.owner.0),
        Change::Join { one, other } => 3 << 32 | u64::from(one.0) << 16 | u64::from(other.0),
        Change::PutUnclaimed(unclaimed) => 16 << 32 | unclaimed.delivery.key.seq.0,
        Change::DropUnclaimed { key, .. } => 17 << 32 | key.seq.0,
        Change::Part { one, other } => 2 << 32 | u64::from(one.0) << 16 | u64::from(other.0),
        Change::Admit(admission) => 4 << 32 | admission.seq.0,
        Change::PutDelivery(delivery) => 5 << 32 | delivery.key.seq.0 << 16 | u64::from(delivery.key.recipient.to_number()),
        Change::Finish { key, .. } => 6 << 32 | key.seq.0 << 16 | u64::from(key.recipient.to_number()),
        Change::SetLowWater(seq) => 7 << 32 | seq.0,
        Change::PutSpent { newest, .. } => 24 << 32 ^ newest.0.0 as u64,
        Change::Stopped(seq) => 22 << 32 | seq.0,
        Change::Started => 23 << 32,
        Change::PutHold(..) => 10 << 32,
        Change::ForgetHold(_) => 11 << 32,
        Change::Quarantine(message) => 8 << 32 | message.id,
        Change::Release(id) => 9 << 32 | id,
        Change::Erase(citizen) => 12 << 32 | u64::from(citizen.0),
        Change::PutReplay(replay) => 10 << 32 | replay.id.0 << 16 | replay.done(),
        Change::PutSelected { replay, chunk, .. } => 11 << 32 | replay.0 << 16 | u64::from(*chunk),
        Change::DropSelected { replay, chunk } => 12 << 32 | replay.0 << 16 | u64::from(*chunk),
        Change::DropReplay(replay) => 13 << 32 | replay.0,
        Change::Trace { key, step, .. } => 15 << 32 | key.seq.0 << 16 | u64::from(step.number()),
        Change::TraceEvent { seq, step, .. } => 21 << 32 | seq.0 << 16 | u64::from(step.number()),
        Change::Audit { deed, .. } => 14 << 32 | deed.action as u64,
        Change::MoveHolders { from, to, .. } => 20 << 32 | u64::from(from.0) << 16 | u64::from(to.0),
        Change::PutClocks(clocks) => 15 << 32 | u64::from(clocks.citizen.0) << 8 | clocks.records.len() as u64,
        Change::DropClocks(citizen) => 16 << 32 | u64::from(citizen.0),
        Change::SetIndexed(fingerprint) => *fingerprint,
        Change::NoteUnexpected(unexpected) => 19 << 32 | unexpected.seq.0,
        Change::PutNotices { recipient, lying, .. } => 17 << 32 | u64::from(recipient.to_number()) << 16 | lying.notices,
        Change::DropNotices { recipient, day } => {
            18 << 32 | u64::from(recipient.to_number()) << 16 ^ u64::from(day.number().unsigned_abs())
        }
    }
}

fn brief(change: &Change) -> String {
    match change {
        Change::PutCitizen(citizen) => format!("citizen {}", citizen.id.0),
        Change::Admit(admission) => {
            let told: Vec<String> =
                admission.deliveries.iter().map(|(recipient, because)| format!("{recipient} {:?}", because.audience)).collect();
            format!("{} is event {} of citizen {}: {told:?}", admission.event.id, admission.seq.0, admission.citizen.0)
        }
        Change::PutDelivery(delivery) => format!("row {:?} {:?}", delivery.key, delivery.state),
        Change::Finish { key, end, .. } => format!("end of {key:?}: {end:?}"),
        other => format!("{other:?}"),
    }
}
