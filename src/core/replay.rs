//! Replays: what an operator selected to be sent again, frozen, and how far
//! that has got. Cuts a selection into bounded parts, keeps to a rate, and knows
//! which delivery is in whose hands.
//!
//! Decides nothing about who is entitled: that is asked again for each delivery
//! when its turn comes.
//!
//! ```text
//! Selecting ──frozen──► Running ──all done──► Done
//!                        │  ▲ ▲
//!     the first n sent   │  │ └──resumed── Stopped ◄──stopped── Running, WaitingForGo
//!                        ▼  │go
//!                   WaitingForGo
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::event::Event;
use super::ids::{DeliveryKey, EventSeq, Recipient, WsbId};
use super::outbox::{Delivery, State, Withdrawal};
use super::policy::Rules;
use super::routing::name_told;
use super::time::Moment;

/// How many deliveries one stored part of a selection holds at the most.
pub const CHUNK: usize = 1000;

/// How many deliveries one replay may hold at the most.
pub const MOST_SELECTED: u64 = 2_000_000;

/// How many deliveries may be named by their ids.
pub const MOST_IDS: usize = 1000;

/// How many deliveries a canary may be.
pub const MOST_CANARIES: u32 = 1000;

/// How many replays that are done are remembered, and how many that were stopped
/// before they were.
pub const REMEMBERED: usize = 100;

/// How long a replay that has ended is remembered, in seconds: 90 days.
pub const REMEMBERED_SECONDS: i64 = 90 * 86_400;

/// For how long what a stopped replay has sent of what had been delivered is not
/// selected by another, in seconds: whoever orders the rest meanwhile means the rest.
pub const STOPPED_SECONDS: i64 = 3600;

/// For how long after a replay of what had been delivered the same order is a
/// click too many, in seconds.
pub const CLICKS_SECONDS: i64 = 5;

/// The number of a replay, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplayId(pub u64);

impl fmt::Display for ReplayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The states that a list can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Never attempted.
    Pending,
    /// To be tried again.
    Retrying,
    /// Given up.
    Dead,
    /// Confirmed.
    Delivered,
    /// Taken back.
    Withdrawn,
}

impl StateFilter {
    /// Every state, in the order of their numbers in stored rows.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Retrying, Self::Dead, Self::Delivered, Self::Withdrawn];

    /// Returns the name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Delivered => "delivered",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// Parses the name of a state.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == text)
    }
}

/// Which deliveries. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these, in order; any where it is empty.
    pub ids: Vec<WsbId>,
    /// In this state.
    pub state: Option<StateFilter>,
    /// To this recipient.
    pub recipient: Option<Recipient>,
    /// Of this type, as the WSB names it.
    pub entity: Option<Box<str>>,
    /// For this reason.
    pub reason: Option<Box<str>>,
    /// Decided at or after; of what was delivered, delivered at or after.
    pub since: Option<Moment>,
    /// Decided before; of what was delivered, delivered before.
    pub until: Option<Moment>,
}

impl Filter {
    /// Returns whether a delivery that has a row matches.
    #[must_use]
    pub fn lets_through(&self, delivery: &Delivery, rules: &Rules) -> bool {
        let state = match (&self.state, &delivery.state) {
            (None, _) => true,
            (Some(StateFilter::Pending), State::Pending) | (Some(StateFilter::Retrying), State::Retrying { .. }) => true,
            (Some(StateFilter::Dead), State::Dead { .. }) => true,
            (Some(_), _) => false,
        };
        state
            && self.recipient.is_none_or(|recipient| recipient == delivery.key.recipient)
            && self.names(|| delivery.id())
            && self.is_about(&delivery.event, rules)
            && self.reason.as_deref().is_none_or(|reason| delivery.state.reason() == Some(reason))
            && self.covers(delivery.first_at)
    }

    /// Returns whether an event is of the type asked for, as the WSB names it: a
    /// deletion notice has a name of its own. The event's name finds it too.
    #[must_use]
    pub fn is_about(&self, event: &Event, rules: &Rules) -> bool {
        self.entity.as_deref().is_none_or(|entity| entity == &*event.entity || entity == &**name_told(event, rules))
    }

    /// Returns whether an id is among those asked for.
    pub fn names(&self, id: impl FnOnce() -> WsbId) -> bool {
        self.ids.is_empty() || self.ids.binary_search(&id()).is_ok()
    }

    /// Returns whether the time is within the range.
    #[must_use]
    pub fn covers(&self, at: Moment) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// What a replay is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Deliveries that were given up.
    Dead,
    /// Deliveries that RabbitMQ had confirmed: their recipient lost them later.
    Delivered,
}

/// A filter that says nothing that could be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("only what is dead or was delivered can be sent again")]
pub struct NotToBeReplayed;

impl Source {
    /// Returns what the filter asks for: what is dead, unless told otherwise.
    ///
    /// # Errors
    /// When it asks for what still waits, or was taken back.
    pub fn of(filter: &Filter) -> Result<Self, NotToBeReplayed> {
        match filter.state {
            None | Some(StateFilter::Dead) => Ok(Self::Dead),
            Some(StateFilter::Delivered) => Ok(Self::Delivered),
            Some(StateFilter::Pending | StateFilter::Retrying | StateFilter::Withdrawn) => Err(NotToBeReplayed),
        }
    }
}

/// What an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Which deliveries.
    pub filter: Filter,
    /// What they are.
    pub source: Source,
    /// How many a second at the most.
    pub rate_per_second: Option<u32>,
    /// How many are sent before the replay waits for a go.
    pub canary: Option<u32>,
    /// Who asks.
    pub by: Box<str>,
    /// Whose vendor that is, if one: it sees no other replays.
    pub scope: Option<Recipient>,
    /// What the request calls itself, so that a repeat of it is not another one.
    pub request: Option<Box<str>>,
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Deliveries are being selected; nothing has been sent.
    Selecting,
    /// Under way.
    Running,
    /// The first ones have been sent, and an operator looks at what became of them.
    WaitingForGo,
    /// Stopped by an operator; what it has not reached is as it was.
    Stopped {
        /// When.
        at: Moment,
    },
    /// Everything selected has had its turn.
    Done {
        /// When.
        at: Moment,
    },
}

impl Stage {
    /// Returns the stage's name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Selecting => "selecting",
            Self::Running => "running",
            Self::WaitingForGo => "waiting-for-go",
            Self::Stopped { .. } => "stopped",
            Self::Done { .. } => "done",
        }
    }

    /// Returns whether what is not done yet is in the replay's hands.
    #[must_use]
    pub fn holds_claims(self) -> bool {
        match self {
            Self::Selecting | Self::Running | Self::WaitingForGo => true,
            Self::Stopped { .. } | Self::Done { .. } => false,
        }
    }
}

/// The selected deliveries of one recipient, in order of intake: the chunks from
/// `first_chunk` on, all of them full but the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lot {
    /// To whom.
    pub recipient: Recipient,
    /// The first chunk.
    pub first_chunk: u32,
    /// How many there are.
    pub keys: u64,
    /// How many of them have had their turn.
    pub done: u64,
}

impl Lot {
    /// Returns the chunk that the next delivery is in, and its place there.
    #[must_use]
    pub fn next(&self) -> Option<(u32, usize)> {
        let (chunk, at) = (self.done / CHUNK as u64, (self.done % CHUNK as u64) as usize);
        (self.done < self.keys).then(|| (self.first_chunk.saturating_add(u32::try_from(chunk).unwrap_or(u32::MAX)), at))
    }

    /// Returns the number after that of its last chunk.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.first_chunk.saturating_add(u32::try_from(self.keys.div_ceil(CHUNK as u64)).unwrap_or(u32::MAX))
    }
}

/// What has been done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Handed over to be sent.
    pub sent: u64,
    /// Not sent, since nobody is entitled to it there any more.
    pub withdrawn: u64,
    /// Not as it was selected any more when its turn came.
    pub skipped: u64,
}

/// What a selection would come to: by recipient, how many would be sent (no
/// reason) or withdrawn (for this reason).
pub type Tally = BTreeMap<(Recipient, Option<Withdrawal>), u64>;

/// One replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Which.
    pub id: ReplayId,
    /// What was asked for.
    pub order: Order,
    /// When it began; once frozen, when that was: what has changed since is not
    /// what was selected.
    pub at: Moment,
    /// What ended by then is as it was selected: `at`, unless the clock has been set
    /// back since something ended that was selected.
    pub as_of: Moment,
    /// Where it stands.
    pub stage: Stage,
    /// What was selected.
    pub lots: Vec<Lot>,
    /// What that would have come to then.
    pub tally: Tally,
    /// How many more would match, and were left to another replay: in its hands, or
    /// sent again by it while it is not over.
    pub already_claimed: u64,
    /// What has been done so far.
    pub progress: Progress,
    /// The first ones that were sent, while it is a canary.
    pub canaries: Vec<DeliveryKey>,
    /// Whether an operator has let it go on after the first ones.
    pub gone: bool,
}

/// A replay that cannot do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It has ended.
    #[error("the replay is done")]
    Done,
    /// It was not stopped.
    #[error("the replay has not been stopped")]
    NotStopped,
    /// It does not wait for anybody.
    #[error("the replay does not wait for a go")]
    NotWaiting,
    /// It is still being selected.
    #[error("the replay is still selecting its deliveries")]
    Selecting,
}

impl Replay {
    /// Returns a replay that has selected nothing yet.
    #[must_use]
    pub fn new(id: ReplayId, order: Order, at: Moment) -> Self {
        Self {
            id,
            order,
            at,
            as_of: at,
            stage: Stage::Selecting,
            lots: Vec::new(),
            tally: Tally::new(),
            already_claimed: 0,
            progress: Progress::default(),
            canaries: Vec::new(),
            gone: false,
        }
    }

    /// Returns how many deliveries were selected.
    #[must_use]
    pub fn matched(&self) -> u64 {
        self.lots.iter().map(|lot| lot.keys).sum()
    }

    /// Returns how many of them have had their turn.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.lots.iter().map(|lot| lot.done).sum()
    }

    /// Returns how many would have been sent when they were selected.
    #[must_use]
    pub fn would_send(&self) -> u64 {
        would_send(&self.tally)
    }

    /// Returns when it ended, if it has.
    #[must_use]
    pub fn ended_at(&self) -> Option<Moment> {
        match self.stage {
            Stage::Selecting | Stage::Running | Stage::WaitingForGo => None,
            Stage::Stopped { at } | Stage::Done { at } => Some(at),
        }
    }

    /// Returns whether it was stopped before everything had its turn.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        matches!(self.stage, Stage::Stopped { .. }) && self.done() < self.matched()
    }

    /// Returns whether what it has sent is still its own when another of this order
    /// begins: it is not over, or has been only just.
    #[must_use]
    pub fn keeps_from(&self, order: &Order, begun: Moment) -> bool {
        let until = |at: Moment, seconds: i64| at.plus_seconds(seconds) >= begun;
        match (self.stage, order.source) {
            // It has sent nothing yet.
            (Stage::Selecting, _) => false,
            (Stage::Running | Stage::WaitingForGo, _) => true,
            (Stage::Stopped { at }, Source::Delivered) => until(at, STOPPED_SECONDS),
            (Stage::Done { at }, Source::Delivered) if self.order.filter == order.filter => until(at, CLICKS_SECONDS),
            // It ended while the other one was selecting.
            (Stage::Stopped { at } | Stage::Done { at }, _) => until(at, 0),
        }
    }

    /// Returns whether it may have selected the delivery.
    #[must_use]
    pub fn asks_for(&self, delivery: &Delivery, rules: &Rules) -> bool {
        let filter = &self.order.filter;
        self.lots.iter().any(|lot| lot.recipient == delivery.key.recipient)
            && filter.names(|| delivery.id())
            && filter.is_about(&delivery.event, rules)
    }

    /// Returns how many more may be sent before it waits for a go.
    #[must_use]
    pub fn canaries_left(&self) -> Option<u64> {
        let canary = self.order.canary.filter(|_| !self.gone)?;
        Some(u64::from(canary).saturating_sub(self.canaries.len() as u64))
    }

    /// Returns where it goes on when nothing holds it up.
    #[must_use]
    pub fn going_on(&self, now: Moment) -> Stage {
        if self.done() == self.matched() {
            Stage::Done { at: now }
        } else if self.canaries_left() == Some(0) {
            Stage::WaitingForGo
        } else {
            Stage::Running
        }
    }

    /// Stops it; one that has ended stays as it is.
    ///
    /// # Errors
    /// When it has not begun.
    pub fn stopped(mut self, now: Moment) -> Result<Self, Refused> {
        match self.stage {
            Stage::Running | Stage::WaitingForGo => self.stage = Stage::Stopped { at: now },
            Stage::Stopped { .. } | Stage::Done { .. } => {}
            Stage::Selecting => return Err(Refused::Selecting),
        }
        Ok(self)
    }

    /// Lets it go on after it was stopped.
    ///
    /// # Errors
    /// When it was not stopped.
    pub fn resumed(mut self, now: Moment) -> Result<Self, Refused> {
        match self.stage {
            Stage::Stopped { .. } => self.stage = self.going_on(now),
            Stage::Selecting | Stage::Running | Stage::WaitingForGo => return Err(Refused::NotStopped),
            Stage::Done { .. } => return Err(Refused::Done),
        }
        Ok(self)
    }

    /// Lets it go on after its first ones.
    ///
    /// # Errors
    /// When it does not wait for that.
    pub fn let_go(mut self, now: Moment) -> Result<Self, Refused> {
        match self.stage {
            Stage::WaitingForGo => {
                self.gone = true;
                self.stage = self.going_on(now);
            }
            Stage::Selecting | Stage::Running | Stage::Stopped { .. } => return Err(Refused::NotWaiting),
            Stage::Done { .. } => return Err(Refused::Done),
        }
        Ok(self)
    }
}

/// Returns how many deliveries of a selection would be sent.
#[must_use]
pub fn would_send(tally: &Tally) -> u64 {
    tally.iter().filter(|((_, why), _)| why.is_none()).map(|(_, count)| count).sum()
}

/// A selection being cut into chunks. Deliveries come in order of recipient and
/// intake.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cutter {
    open: Vec<DeliveryKey>,
}

/// A chunk that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Its number within the selection.
    pub number: u32,
    /// What is in it, all of one recipient.
    pub keys: Vec<DeliveryKey>,
}

impl Cutter {
    /// Adds a delivery; returns a chunk that is complete by that.
    pub fn push(&mut self, key: DeliveryKey, lots: &mut Vec<Lot>) -> Option<Chunk> {
        let of_another = self.open.first().is_some_and(|first| first.recipient != key.recipient);
        let complete = if of_another || self.open.len() == CHUNK { self.cut(lots) } else { None };
        self.open.push(key);
        complete
    }

    /// Returns what is left, as the last chunk.
    pub fn cut(&mut self, lots: &mut Vec<Lot>) -> Option<Chunk> {
        let keys = std::mem::take(&mut self.open);
        let recipient = keys.first()?.recipient;
        let number = lots.last().map_or(0, Lot::end);
        match lots.last_mut().filter(|lot| lot.recipient == recipient) {
            Some(lot) => lot.keys += keys.len() as u64,
            None => lots.push(Lot { recipient, first_chunk: number, keys: keys.len() as u64, done: 0 }),
        }
        Some(Chunk { number, keys })
    }
}

/// Stands in a selection where a delivery was that another replay has selected
/// while this one was stopped: no event has this place.
pub const LEFT: EventSeq = EventSeq(0);

/// Which delivery is in the hands of which replay: each in those of one at the
/// most, so that no two of them send it.
#[derive(Debug, Default)]
pub struct Claims(HashMap<u64, ReplayId>);

impl Claims {
    /// Claims a delivery, unless another replay has.
    #[must_use]
    pub fn claim(&mut self, key: DeliveryKey, replay: ReplayId) -> bool {
        *self.0.entry(packed(key)).or_insert(replay) == replay
    }

    /// Returns whose it is.
    #[must_use]
    pub fn owner(&self, key: DeliveryKey) -> Option<ReplayId> {
        self.0.get(&packed(key)).copied()
    }

    /// Gives a delivery back that has had its turn.
    pub fn release(&mut self, key: DeliveryKey) {
        self.0.remove(&packed(key));
    }

    /// Gives back everything that a replay holds.
    pub fn release_all(&mut self, replay: ReplayId) {
        self.0.retain(|_, owner| *owner != replay);
        self.0.shrink_to_fit();
    }

    /// Returns how many are claimed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether nothing is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Returns the delivery as one number: places in the order of intake stay below
/// 2^48.
fn packed(key: DeliveryKey) -> u64 {
    u64::from(key.recipient.to_number()) << 48 | (key.seq.0 & ((1 << 48) - 1))
}

/// Keeps to a rate. What was not used is not saved up for longer than half a
/// second: a replay that had to wait must not make up for it in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    per_second: u32,
    since: Moment,
    /// Millionths of a delivery that may be sent.
    saved: u64,
}

/// The longest time that is made up for, in microseconds.
const SAVED_FOR: u64 = 500_000;

/// The shortest time between two steps of a replay with a rate, in microseconds:
/// each costs a flush.
const STEP: u64 = 50_000;

const ONE: u64 = 1_000_000;

impl Pace {
    /// Returns a pace that begins now.
    #[must_use]
    pub fn new(per_second: u32, now: Moment) -> Self {
        Self { per_second: per_second.max(1), since: now, saved: 0 }
    }

    /// Returns how many may be sent now.
    pub fn allowance(&mut self, now: Moment) -> u64 {
        let elapsed = u64::try_from(now.0.saturating_sub(self.since.0)).unwrap_or(0);
        self.since = now;
        let rate = u64::from(self.per_second);
        let most = (rate * SAVED_FOR).max(ONE);
        self.saved = (self.saved + elapsed.min(2 * ONE) * rate).min(most);
        self.saved / ONE
    }

    /// Notes that so many were sent.
    pub fn spend(&mut self, sent: u64) {
        self.saved = self.saved.saturating_sub(sent * ONE);
    }

    /// Returns when the next step is due.
    #[must_use]
    pub fn due(&self) -> Moment {
        let missing = ONE.saturating_sub(self.saved).div_ceil(u64::from(self.per_second));
        Moment(self.since.0.saturating_add_unsigned(missing.max(STEP)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::recipient;
    use super::*;

    fn key(of: &str, seq: u64) -> DeliveryKey {
        DeliveryKey { recipient: recipient(of), seq: EventSeq(seq) }
    }

    fn replay(canary: Option<u32>, keys: u64) -> Replay {
        let order = Order {
            filter: Filter::default(),
            source: Source::Dead,
            rate_per_second: None,
            canary,
            by: "test".into(),
            scope: None,
            request: None,
        };
        let lots = vec![Lot { recipient: recipient("akasse:067"), first_chunk: 0, keys, done: 0 }];
        let replay = Replay { lots, ..Replay::new(ReplayId(1), order, Moment(1)) };
        Replay { stage: replay.going_on(Moment(1)), ..replay }
    }

    /// Every order to every stage.
    #[test]
    fn moves() {
        let now = Moment(9);
        let with = |stage| Replay { stage, ..replay(Some(2), 5) };
        let check = |stage, stop, resume, go| {
            assert_eq!(with(stage).stopped(now).map(|replay| replay.stage), stop, "stop {stage:?}");
            assert_eq!(with(stage).resumed(now).map(|replay| replay.stage), resume, "resume {stage:?}");
            assert_eq!(with(stage).let_go(now).map(|replay| replay.stage), go, "go {stage:?}");
        };
        let (stopped, done, before) = (Stage::Stopped { at: now }, Stage::Done { at: Moment(2) }, Stage::Stopped { at: Moment(2) });
        check(Stage::Selecting, Err(Refused::Selecting), Err(Refused::NotStopped), Err(Refused::NotWaiting));
        check(Stage::Running, Ok(stopped), Err(Refused::NotStopped), Err(Refused::NotWaiting));
        check(Stage::WaitingForGo, Ok(stopped), Err(Refused::NotStopped), Ok(Stage::Running));
        check(before, Ok(before), Ok(Stage::Running), Err(Refused::NotWaiting));
        check(done, Ok(done), Err(Refused::Done), Err(Refused::Done));
    }

    #[test]
    fn what_a_replay_has_sent_is_its_own_until_it_is_over() {
        let check = |stage, source, is_same: bool, begun: i64, expected: bool| {
            let first = Replay { stage, ..replay(None, 5) };
            let filter = Filter { entity: (!is_same).then(|| "Joblog".into()), ..Filter::default() };
            let order = Order { source, filter, ..first.order.clone() };
            assert_eq!(first.keeps_from(&order, Moment(begun * ONE as i64)), expected, "{stage:?} {source:?} {is_same} {begun}");
        };
        let (stopped, done) = (Stage::Stopped { at: Moment(0) }, Stage::Done { at: Moment(0) });
        for source in [Source::Dead, Source::Delivered] {
            check(Stage::Selecting, source, true, 0, false);
            check(Stage::Running, source, false, 1_000_000, true);
            check(Stage::WaitingForGo, source, false, 1_000_000, true);
            check(stopped, source, true, 0, true);
            check(done, source, false, 0, true);
            check(done, source, false, 1, false);
        }
        check(stopped, Source::Dead, true, 1, false);
        check(stopped, Source::Delivered, false, 3600, true);
        check(stopped, Source::Delivered, true, 3601, false);
        check(done, Source::Dead, true, 1, false);
        check(done, Source::Delivered, true, 5, true);
        check(done, Source::Delivered, true, 6, false);
    }

    #[test]
    fn a_canary_waits_for_a_go_even_after_it_was_stopped() {
        let mut replay = replay(Some(2), 5);
        assert_eq!((replay.stage, replay.canaries_left()), (Stage::Running, Some(2)));
        replay.canaries = vec![key("akasse:067", 1), key("akasse:067", 2)];
        replay.lots[0].done = 3;
        replay.stage = replay.going_on(Moment(2));
        assert_eq!(replay.stage, Stage::WaitingForGo);
        let replay = replay.stopped(Moment(3)).and_then(|replay| replay.resumed(Moment(4))).expect("it may");
        assert_eq!(replay.stage, Stage::WaitingForGo, "nobody has let it go");
        let replay = replay.let_go(Moment(5)).expect("it waits");
        assert_eq!((replay.stage, replay.canaries_left()), (Stage::Running, None));
        let replay = replay.stopped(Moment(6)).and_then(|replay| replay.resumed(Moment(7))).expect("it may");
        assert_eq!(replay.stage, Stage::Running);
    }

    #[test]
    fn selections_are_cut_by_recipient_and_size() {
        for counts in [vec![], vec![1], vec![1000], vec![1001, 1, 2500], vec![999, 2000]] {
            let recipients = ["akasse:007", "akasse:067", "kommune:101"];
            let all: Vec<DeliveryKey> =
                counts.iter().zip(recipients).flat_map(|(count, of)| (0..*count).map(move |seq| key(of, seq * 3))).collect();
            let (mut cutter, mut lots, mut chunks) = (Cutter::default(), Vec::new(), Vec::new());
            for key in &all {
                chunks.extend(cutter.push(*key, &mut lots));
            }
            chunks.extend(cutter.cut(&mut lots));
            assert!(chunks.iter().enumerate().all(|(at, chunk)| chunk.number as usize == at && chunk.keys.len() <= CHUNK));
            assert_eq!(lots.iter().map(|lot| lot.keys).collect::<Vec<_>>(), counts);
            // Going through the lots by their own account gives everything, once, in order.
            let mut found = Vec::new();
            for mut lot in lots {
                while let Some((chunk, at)) = lot.next() {
                    found.push(chunks[chunk as usize].keys[at]);
                    lot.done += 1;
                }
            }
            assert_eq!(found, all);
        }
    }

    #[test]
    fn a_delivery_is_in_one_hand() {
        let mut claims = Claims::default();
        let (one, two) = (ReplayId(1), ReplayId(2));
        assert!(claims.claim(key("akasse:067", 1), one) && claims.claim(key("akasse:067", 1), one));
        assert!(!claims.claim(key("akasse:067", 1), two));
        assert!(claims.claim(key("kommune:067", 1), two), "another recipient's");
        claims.release(key("akasse:067", 1));
        assert!(claims.claim(key("akasse:067", 1), two));
        claims.release_all(two);
        assert!(claims.is_empty());
    }

    /// Whatever the steps, the rate is kept, and what was missed is not made up for.
    #[test]
    fn a_pace_is_kept() {
        for (rate, steps_ms) in [(1u32, 7), (3, 50), (100, 51), (333, 13), (5000, 90), (1_000_000, 50)] {
            let mut pace = Pace::new(rate, Moment(0));
            let (mut now, mut sent) = (0i64, 0u64);
            while now < 20_000_000 {
                now += steps_ms * 1000;
                if Moment(now) >= pace.due() {
                    let allowed = pace.allowance(Moment(now));
                    pace.spend(allowed);
                    sent += allowed;
                }
            }
            let expected = now as u64 * u64::from(rate) / 1_000_000;
            assert!(sent <= expected && sent * 100 >= expected * 95, "{rate}/s: {sent} of {expected}");
        }
        let mut pace = Pace::new(100, Moment(0));
        assert_eq!(pace.allowance(Moment(3_600_000_000)), 50, "an hour is not made up for");
        assert_eq!(pace.allowance(Moment(0)), 50, "a clock set back gives nothing and takes nothing");
    }
}
