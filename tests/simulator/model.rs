//! The reference model: keeps every event ever, and judges each change that the
//! engine stages and each attempt that it makes by the domain's rules.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use wsb_broker::core::citizen::Citizen;
use wsb_broker::core::engine::{Fact, Outgoing};
use wsb_broker::core::event::{Change as Aendring, Content, Event};
use wsb_broker::core::holds::{Held, Hold};
use wsb_broker::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, Recipient};
use wsb_broker::core::lanes::Pause;
use wsb_broker::core::outbox::{Because, Death, Delivery, End, Failure, Lane, State, Withdrawal};
use wsb_broker::core::persons::Persons;
use wsb_broker::core::policy::{Audience, Domain, MessageType, RetryPolicy, Rules, Window};
use wsb_broker::core::records::{Admission, Change, RowCounts};
use wsb_broker::core::replay::{CHUNK, LEFT, Replay, ReplayId, Source, Stage};
use wsb_broker::core::retry::Outcome;
use wsb_broker::core::routing::Suppression;
use wsb_broker::core::time::{Day, Moment};

use crate::entitlement::{Entitled, Keeper, Past, RecordName, is_about, record_of, stamp, told_as};

/// What is wrong.
pub type Verdict = Result<(), String>;

macro_rules! demand {
    ($holds:expr, $($why:tt)*) => {{
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($why)*));
        }
    }};
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stand {
    Waiting,
    Delivered,
    Withdrawn(Withdrawal),
    Dead,
}

impl Stand {
    /// Whether it was taken back because of who is entitled: they may be again.
    fn may_begin_anew(self) -> bool {
        matches!(self, Self::Withdrawn(Withdrawal::MembershipEnded | Withdrawal::RecipientClosed))
    }
}

/// A delivery as the model knows it.
#[derive(Debug, Clone)]
pub struct Tracked {
    pub stand: Stand,
    event: Arc<Event>,
    lane: (usize, Domain),
    citizen: CitizenId,
    attempts: u32,
    /// Whether one of them may have arrived, for all that RabbitMQ has said.
    may_lie: bool,
    first_at: Moment,
    /// When the latest attempt failed, and when the next is due.
    retry: Option<(Moment, Moment)>,
    /// The rules that it is told by, the first that names it in front; and what
    /// the store says they are.
    by: Vec<Audience>,
    stored_by: Vec<Audience>,
    has_row: bool,
    replays: u32,
    /// When it died last.
    dead_at: Option<Moment>,
    /// When it was sent again last.
    replayed_at: Option<Moment>,
    /// By which replay.
    replayed_by: Option<ReplayId>,
    /// Whether it had been delivered before that, and whether the copy was of a replay itself.
    delivered_before: bool,
    before_by_replay: bool,
    /// The dispatch before or in which it came to be.
    since: u64,
    under_way: Option<u64>,
}

impl Tracked {
    /// Whether, dead, it is a reason to know its citizen: for four weeks, and as a notice of a
    /// deletion always.
    fn keeps_dead(&self, now: Moment) -> bool {
        let four_weeks = 28 * 86_400 * 1_000_000;
        matches!(self.event.content, Content::Deletion { .. }) || self.dead_at.is_none_or(|at| now.0 - at.0 <= four_weeks)
    }

    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    pub fn has_row(&self) -> bool {
        self.has_row
    }

    pub fn event(&self) -> &Event {
        &self.event
    }

    pub fn replays(&self) -> u32 {
        self.replays
    }
}

/// What somebody did to one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The vendor rejected it, or its queue gave it up: a copy of a replay or not.
    CameBack { why: Death, replay: bool },
    /// An operator gave it up.
    Discarded,
}

/// A replay as it was stored, and what it selected.
#[derive(Debug, Clone)]
struct Kept {
    replay: Arc<Replay>,
    /// When it began to select.
    began: Moment,
    /// By recipient, in order.
    keys: BTreeMap<Recipient, Vec<DeliveryKey>>,
    /// What has its turn in this group.
    coming: Vec<DeliveryKey>,
}

/// Every replay, by what was staged of it.
#[derive(Debug, Clone, Default)]
struct Book {
    replays: BTreeMap<ReplayId, Kept>,
    /// The chunks that were noted anew in this group by a replay that goes on.
    noted_anew: BTreeSet<(ReplayId, u32)>,
}

impl Book {
    /// Reads the changes of a group.
    fn read(&mut self, changes: &[Change]) -> Verdict {
        for kept in self.replays.values_mut() {
            kept.coming.clear();
        }
        self.noted_anew.clear();
        for change in changes {
            match change {
                Change::PutReplay(replay) => {
                    let done = |replay: &Replay, of: Recipient| {
                        replay.lots.iter().find(|lot| lot.recipient == of).map_or(0, |lot| lot.done as usize)
                    };
                    let kept = self.replays.entry(replay.id).or_insert_with(|| Kept {
                        replay: Arc::clone(replay),
                        began: replay.at,
                        keys: BTreeMap::new(),
                        coming: Vec::new(),
                    });
                    demand!(kept.replay.order == replay.order, "replay {} has another order", replay.id);
                    for (recipient, keys) in &kept.keys {
                        let (before, now) = (done(&kept.replay, *recipient), done(replay, *recipient));
                        demand!(before <= now && now <= keys.len(), "replay {}: {now} of {} after {before}", replay.id, keys.len());
                        kept.coming.extend(&keys[before..now]);
                    }
                    if let Some(canary) = replay.order.canary.filter(|_| !replay.gone) {
                        demand!(replay.progress.sent <= u64::from(canary), "replay {} sends more than its first {canary}", replay.id);
                    }
                    kept.replay = Arc::clone(replay);
                }
                Change::PutSelected { replay, chunk, keys } => {
                    let kept = self.replays.get(replay).ok_or_else(|| format!("replay {replay} is not there"))?;
                    if let Stage::Stopped { .. } = kept.replay.stage {
                        self.noted_anew.insert((*replay, *chunk));
                        self.leaves_what_is_anothers(*replay, *chunk, keys)?;
                        continue;
                    }
                    demand!(kept.replay.stage == Stage::Selecting, "replay {replay} selects after it was frozen");
                    let kept = self.replays.get_mut(replay).ok_or_else(|| format!("replay {replay} is not there"))?;
                    for key in keys {
                        let of_this = kept.keys.entry(key.recipient).or_default();
                        demand!(of_this.last().is_none_or(|last| last < key), "replay {replay} selects out of order");
                        of_this.push(*key);
                    }
                }
                Change::DropReplay(replay) => {
                    self.replays.remove(replay);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A replay that goes on after a stop notes what it leaves to others: what those
    /// have in their hands, and nothing else.
    fn leaves_what_is_anothers(&mut self, id: ReplayId, chunk: u32, keys: &[DeliveryKey]) -> Verdict {
        let holds = |kept: &Kept, key: &DeliveryKey| {
            let lot = kept.replay.lots.iter().find(|lot| lot.recipient == key.recipient);
            let done = lot.map_or(0, |lot| lot.done as usize);
            let selected = kept.keys.get(&key.recipient).map_or(&[][..], Vec::as_slice);
            kept.replay.stage.holds_claims() && selected.iter().skip(done).any(|of| of == key)
        };
        let kept = &self.replays[&id];
        let lot = kept.replay.lots.iter().find(|lot| (lot.first_chunk..lot.end()).contains(&chunk));
        let lot = *lot.ok_or_else(|| format!("replay {id} has no chunk {chunk}"))?;
        let first = CHUNK * (chunk - lot.first_chunk) as usize;
        let mut selected = kept.keys[&lot.recipient].clone();
        demand!(keys.len() == selected[first..].len().min(CHUNK), "replay {id} selects other than it did");
        for (at, (key, was)) in selected[first..].iter_mut().zip(keys).map(|(was, key)| (key, was)).enumerate() {
            if key == was {
                continue;
            }
            let is_anothers = self.replays.iter().any(|(other, of)| *other != id && holds(of, was));
            demand!(*key == DeliveryKey { seq: LEFT, ..*was } && is_anothers, "replay {id} leaves {was:?} to nobody");
            demand!(first + at >= lot.done as usize, "replay {id} leaves {was:?}, which has had its turn");
            *was = *key;
        }
        self.replays.entry(id).and_modify(|kept| drop(kept.keys.insert(lot.recipient, selected)));
        Ok(())
    }

    /// Whether a replay has come to the delivery in this group.
    fn is_its_turn(&self, key: DeliveryKey) -> bool {
        self.replays.values().any(|kept| kept.coming.contains(&key))
    }
}

/// What went into a group.
pub struct Group<'a> {
    pub changes: &'a [Change],
    pub facts: &'a [Fact],
    pub outcomes: &'a [(DeliveryKey, Outcome)],
    /// What a vendor or an operator did.
    pub deeds: &'a [(DeliveryKey, Deed)],
    pub now: Moment,
    /// Whether it survives a crash.
    pub durable: bool,
}

#[derive(Default)]
pub struct Model {
    pub past: Past,
    pub deliveries: BTreeMap<DeliveryKey, Tracked>,
    /// What deliveries were before the changes that a crash would undo.
    undo: Vec<(DeliveryKey, Option<Tracked>)>,
    first_loads: BTreeSet<EventMark>,
    /// What must not wait any more, and since which deletion.
    condemned: BTreeMap<DeliveryKey, EventSeq>,
    /// By the number.
    citizens: HashMap<usize, CitizenId>,
    /// By what name the broker holds the lanes of a person: of no other use here.
    joined: Persons,
    /// Places that somebody was withdrawn from, and when, by event and rule.
    unclaimed: BTreeMap<(EventSeq, Audience), Moment>,
    /// What was withdrawn while nobody was entitled by the same rule, and when.
    owed: BTreeMap<(DeliveryKey, Audience), Moment>,
    /// What was withdrawn behind something under way in its lane.
    behind: Vec<Behind>,
    /// The latest dispatch before anybody turned out to be another person.
    regrouped: u64,
    /// Who has received something about whose record.
    arrived: Vec<(usize, RecordName, Recipient)>,
    in_queues: Vec<DeliveryKey>,
    /// How many rows of the group are of what was dead before it.
    still_dead: i32,
    attempted: Vec<(usize, RecordName, Recipient)>,
    /// Who has been told since the last flush that a record is deleted.
    told: Vec<(usize, RecordName, Recipient)>,
    paused: BTreeMap<Recipient, Pause>,
    resumed: BTreeMap<Recipient, Moment>,
    /// Deliveries about whoever has been erased: nothing may be heard of them.
    forgotten: BTreeSet<DeliveryKey>,
    /// Who has been erased.
    pub erased: BTreeSet<CitizenId>,
    /// What operators have left alone, and what has been.
    holds: BTreeMap<Held, Hold>,
    /// Queues that the engine says it leaves alone.
    resting: BTreeSet<Recipient>,
    last_seq: u64,
    recovered_to: u64,
    dispatch: u64,
    book: Book,
    durable_book: Book,
}

fn nominal_ms(policy: &RetryPolicy, attempts: u32) -> f64 {
    (0..attempts.saturating_sub(1))
        .fold(policy.initial_ms as f64, |delay, _| (delay * policy.multiplier).min(policy.max_ms as f64))
        .min(policy.max_ms as f64)
}

fn is_over(policy: &RetryPolicy, first_at: Moment, now: Moment) -> bool {
    now >= first_at.plus_seconds(i64::try_from(policy.give_up_after_s).expect("a sane policy"))
}

/// What was withdrawn behind something older under way in its lane.
struct Behind {
    moved: DeliveryKey,
    ahead: DeliveryKey,
    /// When that had departed.
    departed: u64,
    /// Who was to be told the same anyway, and since when: not in its place.
    besides: BTreeMap<Recipient, Moment>,
}

/// The rules that a delivery is told by, the first that names it in front.
fn rules_of(because: &Because) -> Vec<Audience> {
    std::iter::once(because.audience).chain(because.also.iter()).collect()
}

/// Whether what is told to one by a rule is told to another in its place, once that
/// rule names the other: a copy is its holder's own (decision 0076).
fn may_take_over(audience: Audience, from: Recipient, to: Recipient) -> bool {
    audience != Audience::Holders || from == to
}

/// Whether the rule names somebody in place of a recipient.
fn names_instead(entitled: &Entitled, audience: Audience, from: Recipient) -> bool {
    entitled.by.contains(&audience) && may_take_over(audience, from, entitled.recipient)
}

/// Whether both are a-kasser, or both kommuner.
fn is_alike(one: Recipient, other: Recipient) -> bool {
    matches!(one, Recipient::Akasse(_)) == matches!(other, Recipient::Akasse(_))
}

/// Whether the deletion takes back what waits about the record.
fn concerns(deletion: &Event, event: &Event) -> bool {
    if deletion.external_id != event.external_id {
        return false;
    }
    match &deletion.content {
        Content::Deletion { entity, .. } => **entity == *event.entity,
        // A recall may come later than a newer registration, which then stands.
        _ => deletion.change == Aendring::Deleted && deletion.entity == event.entity && stamp(event) < stamp(deletion),
    }
}

/// Whether an event, which came under another number, says that the record of another
/// one is somebody else's, or gone.
fn corrects(newer: &Event, event: &Event) -> bool {
    let of_record = newer.external_id == event.external_id && newer.personnummer != event.personnummer;
    of_record
        && match &newer.content {
            Content::Deletion { entity, .. } => **entity == *event.entity,
            _ => newer.entity == event.entity && stamp(newer) > stamp(event),
        }
}

impl Model {
    pub fn expect_first_load(&mut self, mark: EventMark) {
        self.first_loads.insert(mark);
    }

    /// Something that has arrived somewhere, if anything has.
    pub fn some_arrived(&self, at: usize) -> Option<DeliveryKey> {
        (!self.in_queues.is_empty()).then(|| self.in_queues[at % self.in_queues.len()])
    }

    /// What came back is dead, unless it had been withdrawn while under way.
    pub fn came_back(&mut self, key: DeliveryKey) -> Verdict {
        let copy = self.in_queues.iter().position(|other| *other == key);
        self.in_queues.remove(copy.expect("it arrived"));
        // It had got through; should an operator send it again, that is a decision.
        self.condemned.remove(&key);
        let tracked = self.deliveries.get_mut(&key).expect("it arrived");
        // It may not have been told after all.
        self.attempted.push((tracked.lane.0, record_of(&tracked.event), key.recipient));
        tracked.under_way = None;
        demand!(matches!(tracked.stand, Stand::Dead | Stand::Withdrawn(_)), "{key:?} came back and is {:?}", tracked.stand);
        Ok(())
    }

    /// A message has arrived in a recipient's queue.
    pub fn arrive(&mut self, key: DeliveryKey) {
        if self.forgotten.contains(&key) {
            return;
        }
        let tracked = &self.deliveries[&key];
        // Whoever is told that a record is deleted holds nothing of it by that.
        if !matches!(tracked.event.content, Content::Deletion { .. }) {
            self.arrived.push((tracked.lane.0, record_of(&tracked.event), key.recipient));
        }
        self.in_queues.push(key);
    }

    /// A person has been erased: from now on nothing is known of them.
    pub fn forget(&mut self, person: usize, citizens: impl IntoIterator<Item = CitizenId>) -> Verdict {
        let citizens: Vec<CitizenId> = citizens.into_iter().collect();
        self.holds.retain(|held, _| !matches!(held, Held::Lane(_, lane) if citizens.contains(&lane.citizen)));
        let keys: Vec<DeliveryKey> =
            self.deliveries.iter().filter(|(_, of)| self.past.is_same(of.lane.0, person)).map(|(key, _)| *key).collect();
        for key in keys {
            let tracked = self.deliveries.remove(&key).expect("listed above");
            demand!(!matches!(tracked.stand, Stand::Waiting | Stand::Dead), "{key:?} is {:?} and its citizen is erased", tracked.stand);
            self.condemned.remove(&key);
            self.in_queues.retain(|other| *other != key);
            self.forgotten.insert(key);
        }
        let past = &self.past;
        self.arrived.retain(|(of, ..)| !past.is_same(*of, person));
        self.attempted.retain(|(of, ..)| !past.is_same(*of, person));
        self.citizens.retain(|of, _| !past.is_same(*of, person));
        for (one, other) in citizens.iter().flat_map(|one| citizens.iter().map(move |other| (*one, *other))) {
            self.joined.part(one, other);
        }
        self.past.forget(person);
        self.erased.extend(citizens);
        Ok(())
    }

    /// By which ids the broker knows the numbers of a person, this one among them.
    pub fn joined_with(&self, citizen: CitizenId) -> Vec<CitizenId> {
        self.joined.all_of(citizen)
    }

    /// Whose number is known to the broker by this id.
    pub fn person_known_as(&self, citizen: CitizenId) -> Option<usize> {
        self.citizens.iter().find(|(_, known)| **known == citizen).map(|(person, _)| *person)
    }

    /// A person is forgotten of the broker's own accord only when everything that
    /// DFDG ever told of has been told deleted, nobody has or is to have them any
    /// more, and nothing is still to be said.
    pub fn may_be_forgotten(&self, person: usize, has_rule: impl Fn(&str) -> bool, now: Moment) -> Verdict {
        let day = Day::in_copenhagen(now);
        let still_there = self.past.record_still_there(person, &has_rule);
        demand!(still_there.is_none(), "is forgotten, and DFDG still has {still_there:?}");
        demand!(self.past.any_was_deleted(person) || self.past.any_has_moved_on(person), "is forgotten, and no record was ever deleted");
        demand!(!self.past.is_somebodys(person, day), "is forgotten, and somebody has or is to have them");
        if let Some(recalled) = self.past.ends_since(person, has_rule, day).find(|end| !self.holders(end).0.is_empty()) {
            return Err(format!("is forgotten, and somebody has a copy of what {} ended", recalled.id));
        }
        for (key, tracked) in self.deliveries.iter().filter(|(_, tracked)| self.past.is_same(tracked.lane.0, person)) {
            let is_over = !matches!(tracked.stand, Stand::Waiting | Stand::Dead) && tracked.under_way.is_none();
            demand!(is_over, "is forgotten, and {key:?} is {:?}", tracked.stand);
            if tracked.stand == Stand::Withdrawn(Withdrawal::SupersededByErasure) {
                demand!(!tracked.keeps_dead(now), "is forgotten, and {key:?} was dead since {:?}", tracked.dead_at);
            }
        }
        Ok(())
    }

    /// Whether anything about the citizen waits, is under way, or is dead and keeps them.
    pub fn has_unfinished(&self, citizen: &Citizen, now: Moment) -> bool {
        let of_citizen = |tracked: &&Tracked| citizen.ids().any(|id| id == tracked.citizen);
        let unfinished = |tracked: &Tracked| {
            tracked.stand == Stand::Waiting || tracked.stand == Stand::Dead && tracked.keeps_dead(now) || tracked.under_way.is_some()
        };
        self.deliveries.values().filter(of_citizen).any(unfinished)
    }

    fn remember(&mut self, key: DeliveryKey) {
        self.undo.push((key, self.deliveries.get(&key).cloned()));
    }

    /// The process has died: memory is gone, and what was not flushed too. Or it stopped
    /// in order, with nothing under way.
    pub fn crash(&mut self, in_order: bool) {
        for (key, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            match before {
                Some(before) => self.deliveries.insert(key, before),
                None => self.deliveries.remove(&key),
            };
        }
        // Whether that is still known to the store is not known here.
        self.attempted.append(&mut self.told);
        if !in_order {
            self.recovered_to = self.last_seq;
        }
        self.book = self.durable_book.clone();
        for tracked in self.deliveries.values_mut() {
            tracked.under_way = None;
            tracked.by = tracked.stored_by.clone();
        }
        self.paused.clear();
        self.resumed.clear();
        self.resting.clear();
        self.behind.clear();
    }

    /// What a crash has left of the holds: every order that is in force.
    pub fn recover_holds(&mut self, stored: &[(Held, Hold)]) -> Verdict {
        let stored: BTreeMap<Held, Hold> = stored.iter().cloned().collect();
        for (held, hold) in self.holds.iter().filter(|(_, hold)| matches!(hold, Hold::Active { .. })) {
            demand!(stored.get(held) == Some(hold), "{held:?} was ordered and is forgotten");
        }
        self.holds = stored;
        Ok(())
    }

    /// A queue that does not work is probed now and not later.
    pub fn probed(&mut self, recipient: Recipient, now: Moment) {
        if let Some(pause) = self.paused.get_mut(&recipient) {
            pause.until = pause.until.min(now);
        }
    }

    fn is_held(&self, held: Held, now: Moment) -> bool {
        matches!(self.holds.get(&held), Some(Hold::Active { until, .. }) if until.is_none_or(|until| now < until))
    }

    fn lane_of(&self, key: DeliveryKey, tracked: &Tracked) -> Held {
        Held::Lane(key.recipient, Lane { citizen: self.joined.first_of(tracked.citizen), domain: tracked.lane.1 })
    }

    fn is_one_lane(&self, one: &Tracked, other: &Tracked) -> bool {
        one.lane.1 == other.lane.1 && self.past.is_same(one.lane.0, other.lane.0)
    }

    fn is_parked(&self, key: DeliveryKey, tracked: &Tracked) -> bool {
        matches!(self.holds.get(&self.lane_of(key, tracked)), Some(Hold::Active { .. }))
    }

    /// Whether the recipient is to be left alone: by an order, or by its vendor's
    /// maintenance window.
    fn rests(&self, recipient: Recipient, rules: &Rules, now: Moment) -> bool {
        let in_window = |window: &Window| match *window {
            Window::Once { from, until } => (from..until).contains(&now),
            Window::Weekly { weekday, from, until } => {
                let day = Day::in_copenhagen(now);
                let minute = (now.0 - day.begins().0) / 60_000_000;
                // On the days of the world on which clocks change this is an hour off; those are left to the table tests.
                let odd = day.next().begins().0 - day.begins().0 != 86_400_000_000;
                !odd && day.weekday() == weekday && (i64::from(from)..i64::from(until)).contains(&minute)
            }
        };
        self.is_held(Held::Queue(recipient), now) || rules.recipient(recipient).is_some_and(|rule| rule.maintenance.iter().any(in_window))
    }

    /// From when the time allowed counts.
    fn counts_from(&self, key: DeliveryKey, tracked: &Tracked) -> Moment {
        let over = |held: &Held| match self.holds.get(held) {
            Some(Hold::Over { at }) => *at,
            Some(Hold::Active { .. }) | None => tracked.first_at,
        };
        tracked.first_at.max(over(&Held::Queue(key.recipient))).max(over(&self.lane_of(key, tracked)))
    }

    /// Nothing waits for a recipient that is closed; what is under way to it may
    /// fill a small window, and is waited for.
    pub fn nothing_waits_for_the_closed(&self, rules: &Rules, now: Moment) -> Verdict {
        let day = Day::in_copenhagen(now);
        let busy: BTreeSet<Recipient> =
            self.deliveries.iter().filter(|(_, tracked)| tracked.under_way.is_some()).map(|(key, _)| key.recipient).collect();
        for (key, tracked) in &self.deliveries {
            let waits = tracked.stand == Stand::Waiting && !busy.contains(&key.recipient);
            let is_open = rules.recipient(key.recipient).is_some_and(|rule| rule.valid_until.is_none_or(|until| day <= until));
            demand!(!waits || is_open, "{key:?} waits for a recipient that is closed");
        }
        Ok(())
    }

    /// Whether anybody may have something of a record, whomever it was said to be about.
    pub fn may_be_held(&self, record: &RecordName) -> bool {
        self.arrived.iter().chain(&self.attempted).any(|(_, held, _)| held == record)
    }

    /// Everybody who must be taken for a holder of the record, and everybody who may.
    fn holders(&self, event: &Event) -> (BTreeSet<Recipient>, BTreeSet<Recipient>) {
        let (person, record) = (self.past.person_of(event), record_of(event));
        let about = |(of, held, _): &&(usize, RecordName, Recipient)| *held == record && self.past.is_same(*of, person);
        let mut required: BTreeSet<Recipient> = self.arrived.iter().filter(about).map(|(_, _, recipient)| *recipient).collect();
        required.extend(
            self.deliveries
                .iter()
                .filter(|(_, tracked)| {
                    tracked.under_way.is_some() && is_about(&tracked.event, event) && self.past.is_same(tracked.lane.0, person)
                })
                .map(|(key, _)| key.recipient),
        );
        // What waits since before a crash may have been sent without anybody
        // knowing, what takes the place of it included.
        let doubtful = self.deliveries.iter().filter(|(key, tracked)| {
            key.seq.0 <= self.recovered_to && is_about(&tracked.event, event) && self.past.is_same(tracked.lane.0, person)
        });
        let allowed = doubtful.map(|(key, _)| key.recipient).chain(required.iter().copied());
        // Of a record that nobody had heard of, whoever was told of others of its type.
        let is_of_type = |entity: &str| matches!(event.content, Content::Deletion { .. }) && *record.0 == *entity;
        let of_type = self.attempted.iter().filter(|(of, held, _)| self.past.is_same(*of, person) && is_of_type(&held.0));
        // Whoever was ever sent something about the record, whomever it was said to be about:
        // whose it was is not known for ever where it is gone.
        let sent = self.arrived.iter().chain(&self.attempted).filter(|(_, held, _)| *held == record);
        let allowed = sent.chain(of_type).map(|(_, _, recipient)| *recipient).chain(allowed).collect();
        (required, allowed)
    }

    /// Who must be told, and who may.
    fn bounds(&self, event: &Event, rules: &Rules, now: Moment) -> (Vec<Entitled>, Vec<Entitled>) {
        let day = Day::in_copenhagen(now);
        let asks_holders = |kind: MessageType| kind.audiences.iter().any(|rule| rule.audience == Audience::Holders);
        if !told_as(event, rules).is_some_and(asks_holders) {
            let entitled = self.past.entitled(event, rules, day, &BTreeSet::new());
            return (entitled.clone(), entitled);
        }
        let (required, allowed) = self.holders(event);
        (self.past.entitled(event, rules, day, &required), self.past.entitled(event, rules, day, &allowed))
    }

    /// Judges a group that has been committed.
    pub fn judge(&mut self, group: &Group<'_>, rules: &Rules) -> Verdict {
        let mut demands: Vec<DeliveryKey> = Vec::new();
        let mut settled: BTreeSet<DeliveryKey> = BTreeSet::new();
        let of_somebody: Vec<_> = group.outcomes.iter().filter(|(key, _)| !self.forgotten.contains(key)).copied().collect();
        let group = &Group { outcomes: &of_somebody, ..*group };
        for (key, _) in group.outcomes {
            let tracked = self.deliveries.get_mut(key).ok_or_else(|| format!("outcome of nothing: {key:?}"))?;
            demand!(tracked.under_way.take().is_some(), "{key:?} was not under way");
        }
        self.book.read(group.changes)?;
        for change in group.changes {
            if let Change::PutSelected { replay, chunk, keys } = change
                && !self.book.noted_anew.contains(&(*replay, *chunk))
            {
                self.selects_what_is_free(*replay, keys)?;
            }
        }
        for change in group.changes {
            match change {
                Change::Admit(admission) => self.admitted(admission, rules, group.now)?,
                Change::PutDelivery(delivery) => {
                    self.put(delivery, settled.contains(&delivery.key), group, rules)?;
                    settled.insert(delivery.key);
                }
                Change::Finish { key, had_row, end, attempts, may_hold, .. } => {
                    self.finished(*key, *had_row, *end, *attempts, *may_hold, group, rules, &mut demands)?;
                }
                Change::PutHold(held, hold) => {
                    self.holds.insert(*held, hold.clone());
                }
                Change::ForgetHold(held) => {
                    let forgotten = self.holds.remove(held);
                    let over = matches!(forgotten, Some(Hold::Over { at }) if is_over(rules.retry(), at, group.now));
                    // Another lane is in the place of one that is another person's now.
                    let carried = matches!(held, Held::Lane(_, lane) if self.joined.first_of(lane.citizen) != lane.citizen);
                    demand!(over || carried, "{held:?} is forgotten too early");
                }
                Change::DropUnclaimed { key, .. } => {
                    // Somebody took it over, if only for a while, or it is too old by
                    // the policy of that moment.
                    self.owed.retain(|(of, _), _| of != key);
                }
                Change::Join { one, other } => {
                    self.joined.join(*one, *other);
                    self.regrouped = self.dispatch;
                }
                Change::Part { one, other } => {
                    self.joined.part(*one, *other);
                    self.regrouped = self.dispatch;
                }
                Change::PutCitizen(_)
                | Change::OwnRecord { .. }
                | Change::MoveHolders { .. }
                | Change::PutClocks(_)
                | Change::DropClocks(_)
                | Change::SetIndexed(_)
                | Change::PutNotices { .. }
                | Change::DropNotices { .. }
                | Change::NoteUnexpected(_)
                | Change::SetLowWater(_)
                | Change::Stopped(_)
                | Change::Started
                | Change::Erase(_)
                | Change::PutReplay(_)
                | Change::PutSelected { .. }
                | Change::DropSelected { .. }
                | Change::DropReplay(_)
                | Change::Quarantine(_)
                | Change::Audit { .. }
                | Change::Trace { .. }
                | Change::TraceEvent { .. }
                | Change::PutUnclaimed(_)
                | Change::PutSpent { .. }
                | Change::Release(_) => {}
            }
        }
        for key in demands {
            demand!(self.deliveries.contains_key(&key), "{key:?} is entitled in place of another, and is not told");
        }
        for (key, outcome) in group.outcomes {
            let tracked = &self.deliveries[key];
            let expected = match (outcome, tracked.stand) {
                (Outcome::Confirmed, Stand::Delivered) => true,
                (Outcome::Failed { .. }, Stand::Waiting) => {
                    // Or withdrawn, and entitled again, in one group.
                    tracked.retry.is_some_and(|(failed_at, _)| failed_at == group.now) || tracked.first_at == group.now
                }
                (Outcome::NotMade, Stand::Waiting) => true,
                (Outcome::NotMade | Outcome::Failed { .. }, Stand::Dead | Stand::Withdrawn(_)) => true,
                (Outcome::Confirmed, _) | (Outcome::NotMade | Outcome::Failed { .. }, Stand::Delivered) => false,
            };
            demand!(expected, "{key:?} is {:?} after {outcome:?}", tracked.stand);
        }
        if group.changes.iter().any(|change| matches!(change, Change::Admit(_))) {
            self.nothing_waits_about_deleted_records()?;
        }
        self.facts(group, rules)?;
        if group.durable {
            self.undo.clear();
            self.forget_told();
            self.durable_book = self.book.clone();
        }
        Ok(())
    }

    fn admitted(&mut self, admission: &Admission, rules: &Rules, now: Moment) -> Verdict {
        let event = &admission.event;
        demand!(!self.past.has(&event.mark), "{} is taken in twice", event.id);
        demand!(admission.seq.0 == self.last_seq + 1, "{} is {:?} after {}", event.id, admission.seq, self.last_seq);
        demand!(admission.at == now, "{} was taken in at {now}, not {}", event.id, admission.at);
        self.last_seq = admission.seq.0;
        let first_load = self.first_loads.contains(&event.mark);
        let lateness = self.past.is_late(event, rules);
        // Seen where anybody might have been told.
        let shows = !first_load && told_as(event, rules).is_some_and(|kind| !kind.audiences.is_empty());
        let said = admission.left_out.iter().any(|left_out| left_out.why == Suppression::RecordDeleted);
        demand!(!said || lateness.possible, "{} is said to be about a record that is gone", event.id);
        demand!(!lateness.certain || !shows || said, "{} ({}) is about a record that is gone", event.id, event.entity);
        let late = if shows { said } else { lateness.likely };
        let keeper = self.past.keeper_of_the_record(event, rules).filter(|_| !late);
        self.past.take_in(Arc::clone(event), (admission.seq, now), first_load, late);
        if let Some(keeper) = keeper {
            self.moves(event, &keeper, admission.seq);
        }
        let known = self.past.by_mark(&event.mark).expect("taken in above");
        let (number, spent) = (known.node, known.spent);
        let citizen = *self.citizens.entry(number).or_insert(admission.citizen);
        demand!(citizen == admission.citizen, "{} is about {citizen:?}, not {:?}", event.id, admission.citizen);
        self.condemn(event, admission.seq);
        let told: BTreeSet<Recipient> = admission.deliveries.iter().map(|(recipient, _)| *recipient).collect();
        demand!(told.len() == admission.deliveries.len(), "{} is told twice to somebody", event.id);
        let (least, most) = if first_load || late || spent { (Vec::new(), Vec::new()) } else { self.bounds(event, rules, now) };
        for entitled in &least {
            demand!(told.contains(&entitled.recipient), "{} ({}) is not told to {entitled:?}", event.id, event.entity);
        }
        for (recipient, because) in &admission.deliveries {
            let entitled = most.iter().find(|entitled| entitled.recipient == *recipient);
            let Some(entitled) = entitled else { return Err(format!("{} ({}) would be told to {recipient}", event.id, event.entity)) };
            demand!(entitled.by == rules_of(because), "{}: {recipient} is told as {because:?}, not by {:?}", event.id, entitled.by);
            let domain = told_as(event, rules).map(|kind| kind.domain);
            demand!(domain == Some(admission.domain), "{} is of {domain:?}", event.id);
            let key = DeliveryKey { recipient: *recipient, seq: admission.seq };
            self.remember(key);
            self.deliveries.insert(
                key,
                Tracked {
                    stand: Stand::Waiting,
                    event: Arc::clone(event),
                    lane: (number, admission.domain),
                    citizen: admission.citizen,
                    attempts: 0,
                    may_lie: false,
                    first_at: now,
                    retry: None,
                    by: rules_of(because),
                    stored_by: rules_of(because),
                    has_row: false,
                    replays: 0,
                    dead_at: None,
                    replayed_at: None,
                    replayed_by: None,
                    delivered_before: false,
                    before_by_replay: false,
                    since: self.dispatch,
                    under_way: None,
                },
            );
        }
        Ok(())
    }

    /// What was known of a record goes to whoever it turns out to be about: whoever
    /// holds something of it holds it of that one, and nothing waits about it.
    fn moves(&mut self, event: &Event, keeper: &Keeper, seq: EventSeq) {
        let to = self.past.by_mark(&event.mark).expect("taken in before").node;
        if self.past.is_same(to, keeper.node) {
            return;
        }
        let (past, record) = (&self.past, record_of(event));
        let is_its = |of: usize, held: &RecordName| *held == record && past.is_same(of, keeper.node);
        let arrived: Vec<Recipient> =
            self.arrived.extract_if(.., |(of, held, _)| is_its(*of, held)).map(|(.., recipient)| recipient).collect();
        let attempted: Vec<Recipient> =
            self.attempted.iter().filter(|(of, held, _)| is_its(*of, held)).map(|(.., recipient)| *recipient).collect();
        let sent = self.deliveries.iter().filter(|(key, tracked)| {
            let may_be_sent = key.seq.0 <= self.recovered_to || tracked.is_under_way() || tracked.may_lie || tracked.replays > 0;
            may_be_sent && is_about(&tracked.event, event) && past.is_same(tracked.lane.0, keeper.node)
        });
        let sent: Vec<Recipient> = sent.map(|(key, _)| key.recipient).collect();
        for recipient in arrived.iter().chain(&attempted).chain(&sent) {
            self.attempted.push((to, record.clone(), *recipient));
        }
        for recipient in arrived {
            self.attempted.push((keeper.node, record.clone(), recipient));
            // A recall says that it is gone, and not that nobody was told of it here: whom it
            // came under may be forgotten at once.
            if event.change == Aendring::Deleted {
                self.arrived.push((keeper.node, record.clone(), recipient));
            }
            // That it had been deleted is forgotten in time, and with that whose it was.
            if keeper.is_there {
                self.arrived.push((to, record.clone(), recipient));
            }
        }
        if !keeper.is_there {
            return;
        }
        for (key, tracked) in &self.deliveries {
            let is_told = tracked.stand == Stand::Waiting && self.past.is_same(tracked.lane.0, keeper.node);
            if is_told && corrects(event, &tracked.event) {
                self.condemned.insert(*key, seq);
            }
        }
    }

    /// `told` says that its outcome has been accounted for by an earlier row.
    fn put(&mut self, delivery: &Delivery, told: bool, group: &Group<'_>, rules: &Rules) -> Verdict {
        let key = delivery.key;
        let now = group.now;
        let known = self.deliveries.get(&key).cloned();
        // Told once: a second row of the group follows from something else, such as
        // the end of a hold that had excused the first.
        let outcome = group.outcomes.iter().find(|(of, _)| *of == key && !told).map(|(_, outcome)| *outcome);
        let outcome = outcome.filter(|outcome| *outcome != Outcome::NotMade);
        self.remember(key);
        let deed = group.deeds.iter().find(|(of, _)| *of == key).map(|(_, deed)| *deed);
        if let (Some(Deed::CameBack { why, replay }), Some(mut tracked)) = (deed, known.clone()) {
            let is_there = delivery.delivered_before.is_some();
            if tracked.stand == Stand::Dead {
                demand!(tracked.delivered_before && !is_there, "{key:?} dies twice");
                self.still_dead += 1;
            } else {
                demand!(delivery.state == State::Dead { at: now, why }, "{key:?} came back and is {:?}", delivery.state);
            }
            // Which copy is which is known for sure while there are two.
            if tracked.replays == 1 {
                let is_newest_left = tracked.stand == Stand::Delivered && !replay;
                let is_left = is_newest_left || tracked.delivered_before && replay != tracked.before_by_replay;
                demand!(is_there == is_left, "{key:?} was delivered before: {is_there}, after a copy came back: {tracked:?}, {replay}");
            }
            tracked.delivered_before = is_there;
            // The original may come back twice: what is left is the one that was sent last.
            tracked.before_by_replay |= tracked.stand == Stand::Delivered && !replay && tracked.replays > 0;
            tracked.stand = Stand::Dead;
            if let State::Dead { at, .. } = delivery.state {
                tracked.dead_at = Some(at);
            }
            tracked.has_row = true;
            tracked.under_way = None;
            tracked.attempts = delivery.attempts;
            tracked.may_lie = true;
            tracked.first_at = delivery.first_at;
            tracked.by = rules_of(&delivery.because);
            tracked.stored_by = rules_of(&delivery.because);
            self.deliveries.insert(key, tracked);
            return Ok(());
        }
        let was_told = known.is_some();
        let mut tracked = match known {
            Some(tracked) if matches!(tracked.stand, Stand::Dead | Stand::Delivered) && delivery.replays == tracked.replays + 1 => {
                let by = self.sent_again(key, &tracked, delivery, rules)?;
                // Whoever was told of a deletion as a holder may be told again.
                if tracked.stand == Stand::Delivered && tracked.by.first() == Some(&Audience::Holders) {
                    self.attempted.push((tracked.lane.0, record_of(&tracked.event), key.recipient));
                }
                let (_, most) = self.bounds(&tracked.event, rules, now);
                demand!(most.iter().any(|entitled| entitled.recipient == key.recipient), "{key:?} is replayed without an entitlement");
                demand!(delivery.replays > 0 && delivery.first_at == now && delivery.attempts == 0, "{key:?} is not a replay");
                // It counts anew: whether it was ever sent is not known any more.
                self.attempted.push((tracked.lane.0, record_of(&tracked.event), key.recipient));
                Tracked {
                    stand: Stand::Waiting,
                    attempts: 0,
                    may_lie: false,
                    first_at: now,
                    retry: None,
                    since: self.dispatch,
                    replays: delivery.replays,
                    replayed_at: Some(now),
                    replayed_by: Some(by),
                    delivered_before: delivery.delivered_before.is_some(),
                    before_by_replay: tracked.stand == Stand::Delivered && tracked.replays > 0 || tracked.before_by_replay,
                    by: rules_of(&delivery.because),
                    ..tracked
                }
            }
            Some(tracked) if matches!(tracked.stand, Stand::Waiting) => tracked,
            Some(Tracked { stand, .. }) if !stand.may_begin_anew() => {
                return Err(format!("{key:?} was {stand:?} and has a row"));
            }
            Some(_) | None => {
                let known = self.past.known.iter().find(|known| known.seq == key.seq);
                let Some(known) = known else { return Err(format!("{key:?} is about nothing")) };
                let by = rules_of(&delivery.because);
                demand!(!known.first_load, "{key:?} is of a first load");
                let (_, most) = self.bounds(&known.event, rules, now);
                // Whoever was told by the same rule is entitled by another one now, or by none.
                let is_free = |audience: Audience| {
                    self.deliveries.iter().filter(|(other, _)| other.seq == key.seq).any(|(other, tracked)| {
                        let is_entitled = |one: &Entitled| one.recipient == other.recipient && one.by.contains(&audience);
                        (tracked.by.contains(&audience) || tracked.stored_by.contains(&audience)) && !most.iter().any(is_entitled)
                    })
                };
                let is_left =
                    |audience: Audience| self.unclaimed.get(&(key.seq, audience)).is_some_and(|at| !is_over(rules.retry(), *at, now));
                // As a holder its own.
                let may_take = |audience: Audience| audience != Audience::Holders || was_told;
                let takes_place = |audience: &Audience| may_take(*audience) && (is_left(*audience) || is_free(*audience));
                demand!(by.iter().any(takes_place), "{key:?} takes nobody's place as {by:?}");
                let entitled = most.iter().find(|entitled| entitled.recipient == key.recipient);
                demand!(entitled.is_some_and(|entitled| entitled.by == by), "{key:?} is not entitled as {by:?}");
                demand!(
                    delivery.state == State::Pending && delivery.attempts == 0 && delivery.first_at == now,
                    "{key:?} does not begin anew"
                );
                Tracked {
                    stand: Stand::Waiting,
                    event: Arc::clone(&known.event),
                    lane: (known.node, delivery.domain),
                    citizen: delivery.citizen,
                    attempts: 0,
                    may_lie: false,
                    dead_at: None,
                    first_at: now,
                    retry: None,
                    stored_by: by.clone(),
                    by,
                    has_row: false,
                    replays: delivery.replays,
                    replayed_at: None,
                    replayed_by: None,
                    delivered_before: false,
                    before_by_replay: false,
                    since: self.dispatch,
                    under_way: None,
                }
            }
        };
        demand!(delivery.first_at == tracked.first_at, "{key:?} began at {}, not {}", tracked.first_at, delivery.first_at);
        demand!(delivery.replays == tracked.replays, "{key:?} was sent again {} times, not {}", tracked.replays, delivery.replays);
        demand!(delivery.event.mark == tracked.event.mark, "{key:?} is about another event");
        tracked.has_row = true;
        tracked.stored_by = rules_of(&delivery.because);
        if let Some(Outcome::Failed { failure, .. }) = outcome {
            tracked.may_lie |= !matches!(failure, Failure::Nacked | Failure::Returned | Failure::Unsendable);
        }
        match &delivery.state {
            State::Pending => demand!(delivery.attempts == tracked.attempts && tracked.retry.is_none(), "{key:?} forgot its attempts"),
            State::Retrying { next_at, .. } if outcome.is_none() => {
                // A row written again as it is, hastened perhaps.
                demand!(delivery.attempts == tracked.attempts, "{key:?} was attempted {} times", tracked.attempts);
                demand!(tracked.retry.is_some_and(|(_, due)| *next_at <= due), "{key:?} is put off");
            }
            State::Retrying { next_at, .. } => {
                demand!(matches!(outcome, Some(Outcome::Failed { .. })), "{key:?} is retried after {outcome:?}");
                demand!(delivery.attempts == tracked.attempts + 1, "{key:?}: {} after {}", delivery.attempts, tracked.attempts);
                let is_left_alone =
                    self.rests(key.recipient, rules, now) || self.resting.contains(&key.recipient) || self.is_parked(key, &tracked);
                let over = is_over(rules.retry(), self.counts_from(key, &tracked), now);
                demand!(!over || is_left_alone, "{key:?} is retried for ever");
                let nominal = nominal_ms(rules.retry(), delivery.attempts);
                let delay = (next_at.0 - now.0) as f64 / 1000.0;
                demand!(delay >= nominal * 0.8 - 2.0 && delay <= nominal + 1.0, "{key:?} waits {delay} ms, nominal {nominal}");
                tracked.attempts = delivery.attempts;
                tracked.retry = Some((now, *next_at));
            }
            State::Dead { at, why } => {
                let over = is_over(rules.retry(), self.counts_from(key, &tracked), now);
                demand!(*at == now && over, "{key:?} is given up too early");
                demand!(
                    !self.is_held(Held::Queue(key.recipient), now) && !self.is_parked(key, &tracked),
                    "{key:?} is given up while left alone"
                );
                // A failed attempt whose row was written already, in the same group.
                let is_counted = tracked.retry.is_some_and(|(failed_at, _)| failed_at == now) && delivery.attempts == tracked.attempts;
                match outcome.filter(|_| !is_counted) {
                    Some(Outcome::Failed { failure, .. }) => {
                        demand!(*why == Death::GaveUp(failure), "{key:?} died of {why:?}");
                        demand!(delivery.attempts == tracked.attempts + 1, "{key:?} forgot its attempts");
                    }
                    Some(Outcome::Confirmed) => return Err(format!("{key:?} died of success")),
                    Some(Outcome::NotMade) | None => {
                        // Without an attempt of its own: of what its queue was paused for, if it was.
                        let may_be = matches!(why, Death::GaveUp(_)) || (*why == Death::NeverAttempted && tracked.attempts == 0);
                        demand!(may_be, "{key:?} died of {why:?} after {} attempts", tracked.attempts);
                        demand!(tracked.under_way.is_none(), "{key:?} died under way");
                    }
                }
                tracked.attempts = delivery.attempts;
                tracked.stand = Stand::Dead;
                tracked.dead_at = Some(*at);
            }
        }
        self.deliveries.insert(key, tracked);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one change, and what the group is gathering")]
    fn finished(
        &mut self,
        key: DeliveryKey,
        had_row: bool,
        end: End,
        attempts: u32,
        may_hold: bool,
        group: &Group<'_>,
        rules: &Rules,
        demands: &mut Vec<DeliveryKey>,
    ) -> Verdict {
        self.remember(key);
        let Some(tracked) = self.deliveries.get(&key).cloned() else { return Err(format!("{key:?} ends before it begins")) };
        demand!(had_row == tracked.has_row, "{key:?}: had a row: {}, said: {had_row}", tracked.has_row);
        let was_sent = end == End::Delivered || tracked.may_lie || tracked.replays > 0;
        demand!(may_hold || !was_sent && key.seq.0 > self.recovered_to, "{key:?} may be held, and is not entered");
        demand!(attempts <= tracked.attempts + 1, "{key:?} ends after {attempts} attempts");
        let delivered_before = tracked.delivered_before;
        let stand = match end {
            End::Delivered => {
                let confirmed = group.outcomes.iter().any(|(of, outcome)| *of == key && *outcome == Outcome::Confirmed);
                demand!(confirmed, "{key:?} is delivered without a confirm");
                demand!(attempts == tracked.attempts + 1, "{key:?}: {attempts} after {}", tracked.attempts);
                // What was deleted while under way has been withdrawn, and arrived all the same.
                demand!(
                    matches!(tracked.stand, Stand::Waiting | Stand::Withdrawn(Withdrawal::RecordDeleted)),
                    "{key:?} is delivered after {:?}",
                    tracked.stand
                );
                Stand::Delivered
            }
            End::Withdrawn(why) => {
                self.withdrawn(key, &tracked, why, group, rules, demands)?;
                if matches!(why, Withdrawal::MembershipEnded | Withdrawal::RecipientClosed) {
                    let older = self.deliveries.range(DeliveryKey { seq: EventSeq(0), ..key }..key);
                    let ahead = older.filter(|(_, other)| other.stand == Stand::Waiting && self.is_one_lane(other, &tracked));
                    let same = self.deliveries.iter().filter(|(other, tracked)| other.seq == key.seq && tracked.stand == Stand::Waiting);
                    let besides: BTreeMap<_, _> = same.map(|(other, tracked)| (other.recipient, tracked.first_at)).collect();
                    let behind = |ahead, departed| Behind { moved: key, ahead, departed, besides: besides.clone() };
                    let behind: Vec<_> = ahead.filter_map(|(ahead, other)| Some(behind(*ahead, other.under_way?))).collect();
                    self.behind.extend(behind);
                }
                if !delivered_before {
                    // What it had been withdrawn from before is left since then (decision 0084).
                    let left = tracked.by.iter().chain(&tracked.stored_by);
                    self.unclaimed.extend(left.map(|audience| ((key.seq, *audience), group.now)));
                    let (least, most) = self.bounds(&tracked.event, rules, group.now);
                    for audience in &tracked.by {
                        // Whoever holds nothing any more is owed nothing.
                        let is_owed = *audience != Audience::Holders || self.holders(&tracked.event).0.contains(&key.recipient);
                        let is_named = |entitled: &Entitled| names_instead(entitled, *audience, key.recipient);
                        if is_owed && !least.iter().chain(&most).any(is_named) {
                            self.owed.insert((key, *audience), group.now);
                        } else {
                            self.owed.remove(&(key, *audience));
                        }
                    }
                }
                Stand::Withdrawn(why)
            }
        };
        self.holds(&tracked, key.recipient, end, may_hold);
        let tracked = self.deliveries.get_mut(&key).expect("looked up above");
        tracked.stand = stand;
        tracked.has_row = false;
        if stand == Stand::Delivered {
            tracked.attempts = attempts;
        }
        Ok(())
    }

    fn withdrawn(
        &self,
        key: DeliveryKey,
        tracked: &Tracked,
        why: Withdrawal,
        group: &Group<'_>,
        rules: &Rules,
        demands: &mut Vec<DeliveryKey>,
    ) -> Verdict {
        let deed = group.deeds.iter().find(|(of, _)| *of == key).map(|(_, deed)| *deed);
        let unfinished = matches!(tracked.stand, Stand::Waiting)
            || (tracked.stand == Stand::Dead
                && (matches!(why, Withdrawal::RecordDeleted | Withdrawal::SupersededByErasure)
                    || deed == Some(Deed::Discarded)
                    || self.book.is_its_turn(key)));
        demand!(unfinished, "{key:?} is withdrawn after {:?}", tracked.stand);
        let may_be_under_way = matches!(why, Withdrawal::RecordDeleted | Withdrawal::SupersededByErasure);
        demand!(tracked.under_way.is_none() || may_be_under_way, "{key:?} is withdrawn under way");
        match why {
            Withdrawal::MembershipEnded | Withdrawal::RecipientClosed => {
                if why == Withdrawal::RecipientClosed {
                    let day = Day::in_copenhagen(group.now);
                    let gone = rules.recipient(key.recipient).is_none_or(|rule| rule.valid_until.is_some_and(|until| until < day));
                    demand!(gone || told_as(&tracked.event, rules).is_none(), "{key:?} is withdrawn though open");
                }
                let (least, _) = self.bounds(&tracked.event, rules, group.now);
                if tracked.delivered_before {
                    // It had been told to whoever was entitled then.
                    demand!(least.iter().all(|entitled| entitled.recipient != key.recipient), "{key:?} is withdrawn though entitled");
                    return Ok(());
                }
                demand!(least.iter().all(|entitled| entitled.recipient != key.recipient), "{key:?} is withdrawn though entitled");
                let is_sure = |audience: &Audience| tracked.by.contains(audience) && tracked.stored_by.contains(audience);
                let is_instead = |entitled: &&Entitled| {
                    tracked.by.iter().any(|audience| is_sure(audience) && names_instead(entitled, *audience, key.recipient))
                };
                let instead = least.iter().filter(is_instead);
                demands.extend(
                    instead
                        .map(|entitled| DeliveryKey { recipient: entitled.recipient, seq: key.seq })
                        .filter(|key| self.deliveries.get(key).is_none_or(|other| other.stand.may_begin_anew())),
                );
                Ok(())
            }
            Withdrawal::RecordDeleted => {
                let by = self.past.known.iter().map(|known| &known.event);
                let staged = group.changes.iter().filter_map(|change| match change {
                    Change::Admit(admission) => Some(&admission.event),
                    _ => None,
                });
                let takes_away = |newer: &Arc<Event>| concerns(newer, &tracked.event) || corrects(newer, &tracked.event);
                demand!(by.chain(staged).any(takes_away), "{key:?} is about a record that is there");
                Ok(())
            }
            Withdrawal::Operator => {
                demand!(deed == Some(Deed::Discarded), "{key:?} is withdrawn by nobody");
                Ok(())
            }
            Withdrawal::SupersededByErasure => {
                let is_erased = group.changes.iter().any(|change| matches!(change, Change::Erase(_)));
                demand!(is_erased, "{key:?} is withdrawn by nobody");
                Ok(())
            }
        }
    }

    /// Whoever was told of a deletion holds nothing any more, unless something
    /// about the record is on its way again.
    fn forget_told(&mut self) {
        for told in std::mem::take(&mut self.told) {
            let is_under_way = self.deliveries.iter().any(|(key, tracked)| {
                key.recipient == told.2
                    && record_of(&tracked.event) == told.1
                    && self.past.is_same(tracked.lane.0, told.0)
                    && !matches!(tracked.event.content, Content::Deletion { .. })
                    && matches!(tracked.stand, Stand::Waiting | Stand::Dead)
            });
            if !is_under_way {
                let past = &self.past;
                self.attempted.retain(|other| !(other.1 == told.1 && other.2 == told.2 && past.is_same(other.0, told.0)));
            }
        }
    }

    /// Notes what a finish says about who holds something of the record.
    fn holds(&mut self, tracked: &Tracked, recipient: Recipient, end: End, may_hold: bool) {
        let record = (tracked.lane.0, record_of(&tracked.event), recipient);
        if !matches!(tracked.event.content, Content::Deletion { .. }) {
            if may_hold {
                // What arrives after the notice is held again.
                let past = &self.past;
                self.told.retain(|told| !(told.1 == record.1 && told.2 == recipient && past.is_same(told.0, record.0)));
                self.attempted.push(record);
            }
        } else if end == End::Delivered {
            let past = &self.past;
            self.arrived.retain(|other| !(other.1 == record.1 && other.2 == recipient && past.is_same(other.0, record.0)));
            self.told.push(record);
        }
    }

    /// A delivery is sent again by one replay, which has it in its selection and
    /// has come to it, and nobody else has sent it since that was frozen.
    fn sent_again(&self, key: DeliveryKey, tracked: &Tracked, delivery: &Delivery, rules: &Rules) -> Result<ReplayId, String> {
        let by: Vec<&Kept> = self.book.replays.values().filter(|kept| kept.coming.contains(&key)).collect();
        // One that was stopped and goes on may come to it in the same group, and leaves it to
        // the one that has selected it since.
        let Some(by) = by.into_iter().max_by_key(|kept| kept.began) else { return Err(format!("{key:?} is sent again by no replay")) };
        let source = if tracked.stand == Stand::Dead { Source::Dead } else { Source::Delivered };
        demand!(by.replay.order.source == source, "{key:?} was {:?}, and is sent again by {:?}", tracked.stand, by.replay);
        demand!(tracked.replayed_at.is_none_or(|at| at <= by.replay.at), "{key:?} was sent again already");
        if source == Source::Delivered {
            demand!(delivery.delivered_before.is_some(), "{key:?} forgot that it had been delivered");
        }
        let gone =
            self.past.known.iter().any(|known| {
                known.seq > key.seq && concerns(&known.event, &tracked.event) && self.past.is_same(known.node, tracked.lane.0)
            });
        demand!(!gone, "{key:?} is sent again though its record is gone");
        let keeper = self.past.keeper_of_the_record(&tracked.event, rules).filter(|keeper| keeper.is_there);
        // Whoever has something of it is still to be told that it was deleted.
        let is_notice = matches!(tracked.event.content, Content::Deletion { .. });
        let keeper = keeper.filter(|_| !is_notice);
        let moved = keeper.is_some_and(|keeper| !self.past.is_same(keeper.node, tracked.lane.0) && keeper.stamp > stamp(&tracked.event));
        demand!(!moved, "{key:?} is sent again though its record is somebody else's");
        Ok(by.replay.id)
    }

    /// What a replay has sent again is its own until it is over: no other selects it.
    fn selects_what_is_free(&self, id: ReplayId, keys: &[DeliveryKey]) -> Verdict {
        // Given up in the same group.
        let Some(mine) = self.book.replays.get(&id) else { return Ok(()) };
        for key in keys {
            let sent_by = self.deliveries.get(key).and_then(|tracked| tracked.replayed_by);
            let Some(other) = sent_by.and_then(|by| self.book.replays.get(&by)) else { continue };
            let is_a_repeat = mine.replay.order.filter == other.replay.order.filter;
            let (source, began) = (mine.replay.order.source, mine.began);
            let is_over = match other.replay.stage {
                Stage::Selecting | Stage::Running | Stage::WaitingForGo => false,
                Stage::Stopped { at } if source == Source::Delivered => at.plus_seconds(3600) < began,
                Stage::Done { at } if source == Source::Delivered && is_a_repeat => at.plus_seconds(5) < began,
                Stage::Stopped { at } | Stage::Done { at } => at < began,
            };
            demand!(is_over, "replay {id} selects {key:?}, which {:?} has sent again", other.replay);
        }
        Ok(())
    }

    /// When everything has come to rest no replay holds anything any more.
    pub fn replays_have_ended(&self, engine: &wsb_broker::core::engine::Engine) -> Verdict {
        for kept in self.book.replays.values() {
            let replay = engine.replay(kept.replay.id).ok_or_else(|| format!("replay {} is gone", kept.replay.id))?;
            demand!(**replay == *kept.replay, "replay {} is {replay:?}, stored as {:?}", replay.id, kept.replay);
            let progress = replay.progress;
            demand!(progress.sent + progress.withdrawn + progress.skipped == replay.done(), "replay {}: {replay:?}", replay.id);
            demand!(kept.keys.values().map(Vec::len).sum::<usize>() as u64 == replay.matched(), "replay {} selected other", replay.id);
            for key in kept.keys.values().flatten() {
                demand!(engine.claimed_by(*key) != Some(replay.id), "replay {} still holds {key:?}", replay.id);
            }
        }
        Ok(())
    }

    fn nothing_waits_about_deleted_records(&self) -> Verdict {
        for (key, deletion) in &self.condemned {
            let waits = self.deliveries[key].stand == Stand::Waiting;
            demand!(!waits, "{key:?} waits about a record that {deletion:?} deleted");
        }
        Ok(())
    }

    /// Notes what waits about a record that is deleted.
    fn condemn(&mut self, deletion: &Event, seq: EventSeq) {
        if deletion.change != Aendring::Deleted && !matches!(deletion.content, Content::Deletion { .. }) {
            return;
        }
        let person = self.past.person_of(deletion);
        for (key, tracked) in &self.deliveries {
            if tracked.stand == Stand::Waiting && concerns(deletion, &tracked.event) && self.past.is_same(tracked.lane.0, person) {
                self.condemned.insert(*key, seq);
            }
        }
    }

    /// The facts of a group tell the same as its changes.
    fn facts(&mut self, group: &Group<'_>, rules: &Rules) -> Verdict {
        let erased = group.changes.iter().filter(|change| matches!(change, Change::Erase(_))).count();
        demand!(group.facts.iter().filter(|fact| matches!(fact, Fact::Erased(_))).count() == erased, "facts miss an erasure");
        let noted = group.changes.iter().filter(|change| matches!(change, Change::NoteUnexpected(_))).count();
        let told = group.facts.iter().filter(|fact| matches!(fact, Fact::UnexpectedDeletion(..))).count();
        demand!(noted == told, "{told} unexpected deletions are told, and {noted} are listed");
        let (mut delivered, mut withdrawn, mut died, mut admitted) = (0, 0, -std::mem::take(&mut self.still_dead), 0);
        for change in group.changes {
            match change {
                Change::Finish { end: End::Delivered, .. } => delivered += 1,
                Change::Finish { end: End::Withdrawn(_), .. } => withdrawn += 1,
                Change::PutDelivery(Delivery { state: State::Dead { .. }, .. }) => died += 1,
                Change::Admit(_) => admitted += 1,
                _ => {}
            }
        }
        for fact in group.facts {
            match fact {
                Fact::Delivered(..) => delivered -= 1,
                Fact::Withdrawn(..) => withdrawn -= 1,
                Fact::Died(..) => died -= 1,
                Fact::Consumed(_, wsb_broker::core::engine::Consumption::Routed | wsb_broker::core::engine::Consumption::NoRecipient) => {
                    admitted -= 1;
                }
                Fact::Paused(recipient, pause) => {
                    let nominal = nominal_ms(rules.retry(), pause.failures).min(60_000.0);
                    let length = (pause.until.0 - group.now.0) as f64 / 1000.0;
                    demand!((length - nominal).abs() < 2.0, "{recipient} is paused for {length} ms");
                    self.paused.insert(*recipient, *pause);
                }
                Fact::Resumed(recipient) => {
                    demand!(self.paused.remove(recipient).is_some(), "{recipient} resumes without a pause");
                    // By a success, or because there is nothing left to probe it with.
                    let succeeded =
                        group.outcomes.iter().any(|(key, outcome)| key.recipient == *recipient && *outcome == Outcome::Confirmed);
                    let left = self.deliveries.iter().any(|(key, tracked)| {
                        let came_later = tracked.since == self.dispatch;
                        key.recipient == *recipient && tracked.stand == Stand::Waiting && !came_later && !self.is_parked(*key, tracked)
                    });
                    demand!(succeeded || !left, "{recipient} resumes though what waits could probe it");
                    self.resumed.insert(*recipient, group.now);
                }
                Fact::RestBegan(recipient, _) => demand!(self.resting.insert(*recipient), "{recipient} is left alone twice"),
                Fact::RestEnded(recipient) => demand!(self.resting.remove(recipient), "{recipient} goes on though it was not left alone"),
                Fact::Consumed(..)
                | Fact::Suppressed(..)
                | Fact::WrongRecipientPrevented(_)
                | Fact::Attempted(_)
                | Fact::Erased(_)
                | Fact::CannotErase
                | Fact::CameBackForgotten(_)
                | Fact::NoticesUnfetched(_)
                | Fact::Replay(..)
                | Fact::DeletionOrdered(_)
                | Fact::UnexpectedDeletion(..)
                | Fact::NoticeDelivered(_) => {}
            }
        }
        demand!((delivered, withdrawn, died, admitted) == (0, 0, 0, 0), "facts miss {delivered}, {withdrawn}, {died}, {admitted} changes");
        Ok(())
    }

    /// A dispatch begins: what it makes wait came to be in it.
    pub fn dispatching(&mut self) {
        self.dispatch += 1;
    }

    /// What departs in a dispatch may be held by its recipient when the rest of
    /// that dispatch is decided.
    pub fn departing(&mut self, attempts: &[Outgoing]) {
        let known = attempts.iter().filter_map(|attempt| self.deliveries.get(&attempt.key).map(|tracked| (attempt, tracked)));
        let records: Vec<_> = known.map(|(attempt, tracked)| (tracked.lane.0, record_of(&tracked.event), attempt.key.recipient)).collect();
        self.attempted.extend(records);
    }

    /// Judges the attempts of one dispatch.
    pub fn attempts(&mut self, attempts: &[Outgoing], rules: &Rules, now: Moment) -> Verdict {
        for attempt in attempts {
            self.attempt(attempt, rules, now).map_err(|why| format!("{} to {}: {why}", attempt.event.id, attempt.key.recipient))?;
        }
        Ok(())
    }

    fn attempt(&mut self, attempt: &Outgoing, rules: &Rules, now: Moment) -> Verdict {
        let key = attempt.key;
        demand!(attempt.decided_at == now, "decided at {}", attempt.decided_at);
        demand!(attempt.id == attempt.event.mark.wsb_id(key.recipient), "has another id");
        let Some(known) = self.past.by_mark(&attempt.event.mark) else { return Err("is not durable".to_owned()) };
        demand!(known.seq == key.seq, "has another place");
        let Some(tracked) = self.deliveries.get(&key) else { return Err("is not waiting".to_owned()) };
        demand!(tracked.stand == Stand::Waiting, "is {:?}", tracked.stand);
        demand!(tracked.under_way.is_none(), "is under way already");
        demand!(attempt.attempt == tracked.attempts + 1, "is attempt {} after {}", attempt.attempt, tracked.attempts);
        // Or nobody would know that the recipient may hold something of the record.
        let before = self.undo.iter().find(|(of, _)| *of == key).map(|(_, before)| before.as_ref());
        let lasts = before.is_none_or(|before| before.is_some_and(|before| before.stand == Stand::Waiting));
        demand!(lasts, "is sent, and a crash would take back that it was to be");

        // The one that matters most.
        let (_, most) = self.bounds(&attempt.event, rules, now);
        let Some(entitled) = most.iter().find(|entitled| entitled.recipient == key.recipient) else {
            return Err("is sent without an entitlement".to_owned());
        };
        let number = self.past.number_of(self.past.person_of(&attempt.event));
        let identification = entitled.identified.then_some(number);
        demand!(
            attempt.identification == identification,
            "is identified: {:?}, ought to be: {}",
            attempt.identification,
            entitled.identified
        );
        demand!(told_as(&attempt.event, rules).is_some_and(|kind| kind == *attempt.kind), "is told as another type");
        demand!(rules.recipient(key.recipient).is_some_and(|rule| rule.queue == attempt.queue), "goes to another queue");
        let named = |audience: &Audience| most.iter().any(|entitled| names_instead(entitled, *audience, key.recipient));
        let former = tracked.by.iter().filter(|audience| !named(audience));
        let by: Vec<Audience> = entitled.by.iter().chain(former).copied().collect();

        demand!(!self.rests(key.recipient, rules, now), "is attempted while its recipient is left alone");
        demand!(!self.is_parked(key, tracked), "is attempted while its lane is parked");
        if let Some(pause) = self.paused.get(&key.recipient) {
            demand!(now >= pause.until, "is attempted during a pause");
            let probing = self.deliveries.iter().any(|(other, tracked)| other.recipient == key.recipient && tracked.under_way.is_some());
            demand!(!probing, "is a second probe");
        } else if let Some((failed_at, due)) = tracked.retry {
            let hastened = self.resumed.get(&key.recipient).is_some_and(|resumed| *resumed >= failed_at);
            demand!(now >= due || hastened, "is retried at {now}, due {due}");
        }

        for (other, waiting) in self.deliveries.range(DeliveryKey { seq: EventSeq(0), ..key }..) {
            if other.recipient != key.recipient {
                break;
            }
            if *other == key || !self.is_one_lane(waiting, tracked) {
                continue;
            }
            // Taken in before it, and unfinished: unless it came to be only in
            // this dispatch, in another's place.
            let in_front = other.seq < key.seq && waiting.stand == Stand::Waiting && waiting.since != self.dispatch;
            demand!(!in_front, "overtakes {other:?}");
            // Two lanes that turn out to be one may each have one under way.
            let beside = waiting.under_way.is_some_and(|departed| departed > tracked.since.max(self.regrouped));
            demand!(!beside, "goes beside {other:?}");
        }
        self.keeps_its_place(key, tracked)?;
        let record = (tracked.lane.0, record_of(&tracked.event), key.recipient);
        self.attempted.push(record);
        let dispatch = self.dispatch;
        let tracked = self.deliveries.get_mut(&key).expect("looked up above");
        tracked.by = by;
        tracked.under_way = Some(dispatch);
        Ok(())
    }

    /// Whatever takes another's place does not go before the outcome of something
    /// older is known, which may have to come here as well.
    fn keeps_its_place(&self, key: DeliveryKey, tracked: &Tracked) -> Verdict {
        let of_others = self.behind.iter().filter(|behind| behind.moved.seq == key.seq && behind.moved.recipient != key.recipient);
        for Behind { moved, ahead, departed, besides } in of_others {
            let takes_over =
                |audience: &Audience| may_take_over(*audience, moved.recipient, key.recipient) && tracked.stored_by.contains(audience);
            if !self.deliveries[moved].stored_by.iter().any(takes_over)
                || !is_alike(ahead.recipient, key.recipient)
                || *departed <= self.regrouped
                || besides.get(&key.recipient) == Some(&tracked.first_at)
            {
                continue;
            }
            let is_open = |ahead: &Tracked| ahead.stand == Stand::Waiting && ahead.under_way == Some(*departed);
            let may_come = self.deliveries.get(ahead).is_some_and(is_open);
            let has_come = self.deliveries.contains_key(&DeliveryKey { seq: ahead.seq, ..key });
            demand!(!may_come || has_come, "goes before the outcome of {ahead:?} is known");
        }
        Ok(())
    }

    /// Whoever has become entitled by the rule that somebody else was withdrawn
    /// from lately has been told: nothing is lost between the end of one membership
    /// and the beginning of another.
    pub fn nobody_is_left_out(&self, rules: &Rules, now: Moment) -> Verdict {
        for ((key, audience), at) in &self.owed {
            let Some(tracked) = self.deliveries.get(key) else { continue };
            let left = tracked.stand.may_begin_anew() && !is_over(rules.retry(), *at, now);
            let is_gone = self.past.known.iter().any(|known| {
                let is_theirs = concerns(&known.event, &tracked.event) && self.past.is_same(known.node, tracked.lane.0);
                (is_theirs || corrects(&known.event, &tracked.event)) && known.seq > key.seq
            });
            let is_taken = self.deliveries.iter().any(|(other, by)| {
                let by_it = by.by.contains(audience) || by.stored_by.contains(audience);
                other.seq == key.seq && by_it && may_take_over(*audience, key.recipient, other.recipient) && !by.stand.may_begin_anew()
            });
            if !left || is_taken || is_gone || tracked.delivered_before || !tracked.stored_by.contains(audience) {
                continue;
            }
            let (least, _) = self.bounds(&tracked.event, rules, now);
            for entitled in least.iter().filter(|entitled| names_instead(entitled, *audience, key.recipient)) {
                let other = self.deliveries.get(&DeliveryKey { recipient: entitled.recipient, seq: key.seq });
                let told = other.is_some_and(|other| !other.stand.may_begin_anew());
                demand!(told, "{key:?} was withdrawn, {entitled:?} has the citizen now, and is not told");
            }
        }
        Ok(())
    }

    /// The numbers that operators see are those of what waits.
    pub fn counts(&self) -> BTreeMap<Recipient, RowCounts> {
        let mut counts: BTreeMap<Recipient, RowCounts> = BTreeMap::new();
        for (key, tracked) in &self.deliveries {
            let of = counts.entry(key.recipient).or_default();
            match tracked.stand {
                Stand::Waiting if tracked.retry.is_some() => of.retrying += 1,
                Stand::Waiting => of.pending += 1,
                Stand::Dead => of.dead += 1,
                Stand::Delivered | Stand::Withdrawn(_) => {}
            }
        }
        counts.retain(|_, counts| *counts != RowCounts::default());
        counts
    }

    /// What is held up, by a pause or in its lane, does not rely on the journal:
    /// that would have to be read far back at a restart.
    pub fn held_up_has_rows(&self) -> Verdict {
        let waits = |tracked: &Tracked| tracked.stand == Stand::Waiting && tracked.under_way.is_none() && !tracked.has_row;
        for (key, tracked) in self.deliveries.iter().filter(|(_, tracked)| waits(tracked)) {
            demand!(!self.paused.contains_key(&key.recipient), "{key:?} is held up by a pause and has no row");
            demand!(!self.resting.contains(&key.recipient), "{key:?} is left alone and has no row");
            demand!(!self.is_parked(*key, tracked), "{key:?} is parked and has no row");
            let retried_in_front = self.deliveries.iter().any(|(other, front)| {
                let in_front = other.recipient == key.recipient && other.seq < key.seq && self.is_one_lane(front, tracked);
                in_front && front.stand == Stand::Waiting && front.under_way.is_none() && front.retry.is_some()
            });
            demand!(!retried_in_front, "{key:?} is held up in its lane and has no row");
        }
        Ok(())
    }

    /// A queue with nothing under way sends whatever may be sent: no lane waits
    /// for another one. Holds where the whole queue fits into its window.
    pub fn no_lane_waits_for_another(&self, now: Moment) -> Verdict {
        let mut heads: BTreeMap<(Recipient, (usize, Domain)), &Tracked> = BTreeMap::new();
        let left_alone = |key: &DeliveryKey, tracked: &Tracked| self.resting.contains(&key.recipient) || self.is_parked(*key, tracked);
        for (key, tracked) in self.deliveries.iter().filter(|(key, tracked)| tracked.stand == Stand::Waiting && !left_alone(key, tracked)) {
            heads.entry((key.recipient, (self.past.root(tracked.lane.0), tracked.lane.1))).or_insert(tracked);
        }
        // What is under way elsewhere may have to be told here should it fail, before
        // what is newer.
        heads.retain(|(recipient, _), head| {
            let mut under_way =
                self.deliveries.iter().filter(|(key, other)| other.under_way.is_some() && is_alike(key.recipient, *recipient));
            !under_way.any(|(_, other)| self.is_one_lane(other, head))
        });
        let busy: BTreeSet<Recipient> =
            self.deliveries.iter().filter(|(_, tracked)| tracked.under_way.is_some()).map(|(key, _)| key.recipient).collect();
        for ((recipient, _), head) in heads {
            let is_due = head.retry.is_none_or(|(_, due)| due <= now);
            demand!(busy.contains(&recipient) || self.paused.contains_key(&recipient) || !is_due, "{recipient} rests though it has work");
        }
        Ok(())
    }

    /// How many attempts are under way.
    pub fn under_way(&self) -> usize {
        self.deliveries.values().filter(|tracked| tracked.under_way.is_some()).count()
    }

    /// Whether anything is still to be done.
    pub fn waiting(&self) -> usize {
        self.deliveries.values().filter(|tracked| tracked.stand == Stand::Waiting).count()
    }
}
