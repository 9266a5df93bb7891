//! What may be attempted next: queues, their pauses, and the lanes in them.
//!
//! A queue's outbox is a sequence of deliveries in order of intake, of which a
//! front part, the window, is loaded; the rest lies in the store. Within the
//! window each lane has its deliveries in order, and only its first one may be
//! under way. All of this is a view: it is rebuilt from the store at a restart
//! and never the only place where something is known.
//!
//! Nothing here decides who is entitled; that is asked when a delivery is taken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::ids::{CitizenId, DeliveryKey, EventSeq, Recipient};
use super::outbox::{Delivery, Failure, Lane};
use super::persons::Joined;
use super::policy::Domain;
use super::records::RowCounts;
use super::time::Moment;

/// How many deliveries of one queue are loaded at the most (replays and
/// replacements of earlier deliveries come on top), unless told otherwise.
pub const WINDOW: usize = 1024;

/// How many deliveries of one queue may be under way at once: enough to keep one
/// busy queue busy, and a quarter of all that may be under way, so that a queue
/// that does not answer leaves room for the others.
const MOST_IN_FLIGHT: u32 = 1024;

/// A queue is slow when what has been under way the longest has not been answered
/// for so long. RabbitMQ answers in milliseconds, and under full load within a second.
const SLOW_AFTER_MS: u64 = 3_000;

/// Whether the journal may be relied upon for more deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// It may.
    HasRoom,
    /// Too many rely on it already.
    IsFull,
}

/// A queue that does not work: an attempt failed in a way that concerns all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How.
    pub cause: Failure,
    /// Since when.
    pub since: Moment,
    /// When it is probed.
    pub until: Moment,
    /// How many probes have failed, the first failure included.
    pub failures: u32,
}

/// A queue that is left alone by order, or for the vendor's maintenance window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// When it ends of itself, if it does.
    pub until: Option<Moment>,
}

/// Whether a recipient may be sent to at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// It may.
    Open,
    /// It is closed, or gone: what waits is withdrawn, whatever state it is in.
    Closed,
}

/// Where the content of a loaded delivery is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// In the journal only.
    InJournal,
    /// In a row of its own.
    InRow,
}

/// A loaded delivery.
#[derive(Debug)]
pub struct Loaded {
    /// It.
    pub delivery: Delivery,
    /// Where it is stored.
    pub kept: Kept,
    /// Since when it is under way.
    departed: Option<Moment>,
    withdrawn: bool,
}

impl Loaded {
    /// Returns whether it is under way.
    #[must_use]
    pub fn is_in_flight(&self) -> bool {
        self.departed.is_some()
    }

    /// Returns whether it was withdrawn while under way: what is stored of it
    /// has ended, and only its outcome is still waited for.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn
    }
}

/// One recipient's queue as far as it is loaded.
#[derive(Debug)]
pub struct Queue {
    window: BTreeMap<EventSeq, Loaded>,
    lanes: HashMap<Lane, VecDeque<EventSeq>>,
    ready: VecDeque<EventSeq>,
    delayed: BTreeSet<(Moment, EventSeq)>,
    /// Everything unfinished up to here is in the window.
    loaded_to: EventSeq,
    /// Whether rows beyond `loaded_to` may exist.
    more: bool,
    /// Rows written outside of the window since the last dispatch: beyond it, or
    /// of what has died. They may not be committed yet, and whoever reads
    /// committed rows does not see them.
    fresh: Vec<(CitizenId, EventSeq)>,
    /// When the latest pause ended.
    resumed_at: Option<Moment>,
    pause: Option<Pause>,
    rest: Option<Rest>,
    gate: Gate,
    /// Lanes that are not attempted and not loaded, by order.
    parked: HashSet<Lane>,
    /// Lanes that are not attempted until it is known whether something older is
    /// to come into them.
    awaiting: HashSet<Lane>,
    /// From when the time allowed for retries counts at the earliest.
    excused: Option<Moment>,
    /// Likewise, of lanes that have been parked.
    excused_lanes: HashMap<Lane, Moment>,
    in_flight: u32,
    /// What has departed and when, in that order; some of it has been answered since.
    departures: VecDeque<(Moment, EventSeq)>,
    /// As of the latest look.
    slow: bool,
    allowance: u32,
    counts: RowCounts,
    in_journal: usize,
    /// How many of the loaded ones are replays.
    replaying: usize,
    /// How many deliveries are loaded at the most.
    most_loaded: usize,
    /// By whom lanes go; shared with the other queues.
    persons: Arc<Joined>,
}

impl Queue {
    /// Returns an empty queue of which at most `most_loaded` deliveries are loaded.
    #[must_use]
    pub fn new(most_loaded: usize) -> Self {
        Self {
            window: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            loaded_to: EventSeq(0),
            more: false,
            fresh: Vec::new(),
            resumed_at: None,
            pause: None,
            rest: None,
            gate: Gate::Open,
            parked: HashSet::new(),
            awaiting: HashSet::new(),
            excused: None,
            excused_lanes: HashMap::new(),
            in_flight: 0,
            departures: VecDeque::new(),
            slow: false,
            allowance: MOST_IN_FLIGHT,
            counts: RowCounts::default(),
            in_journal: 0,
            replaying: 0,
            most_loaded: most_loaded.max(1),
            persons: Arc::default(),
        }
    }
}

/// Where a new delivery belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the window, and the journal is enough: it is about to be attempted.
    Soon,
    /// In the window, with a row: something in front of it holds it up.
    Held,
    /// In the store only, with a row: the window is full.
    Later,
    /// In the store only, with a row: its lane is parked.
    Parked,
}

impl Queue {
    /// Returns the lane of a delivery: that of the person, under whichever number
    /// it came.
    #[must_use]
    pub fn lane_of(&self, delivery: &Delivery) -> Lane {
        delivery.lane_by(&self.persons)
    }

    /// Forms the lanes of `ids` anew, who are other persons than before.
    fn regroup(&mut self, persons: &Arc<Joined>, ids: &BTreeSet<CitizenId>) {
        let lanes = || ids.iter().flat_map(|citizen| Domain::ALL.map(|domain| Lane { citizen: *citizen, domain }));
        let loaded: BTreeSet<EventSeq> = lanes().filter_map(|lane| self.lanes.remove(&lane)).flatten().collect();
        self.persons = Arc::clone(persons);
        self.ready.retain(|seq| !loaded.contains(seq));
        self.delayed.retain(|(_, seq)| !loaded.contains(seq));
        let mut heads = BTreeMap::new();
        for seq in loaded {
            let Some(lane) = self.window.get(&seq).map(|loaded| self.lane_of(&loaded.delivery)) else { continue };
            self.lanes.entry(lane).or_default().push_back(seq);
            heads.entry(lane).or_insert(seq);
        }
        for (lane, head) in heads {
            let idle = self.window.get(&head).filter(|head| !head.is_in_flight());
            if let Some(due) = idle.map(|head| head.delivery.not_before()) {
                self.offer(head, lane, due);
            }
        }
    }

    /// Returns where a new delivery belongs, before it is added.
    #[must_use]
    pub fn place(&self, seq: EventSeq, lane: Lane, journal: Journal) -> Place {
        if self.parked.contains(&lane) && self.gate == Gate::Open {
            return Place::Parked;
        }
        let held = self.slow || self.pause.is_some() || self.rest.is_some() || self.gate == Gate::Closed || self.is_held_up(&lane);
        // A burst to one queue may exceed the window while the journal bears it: a
        // row for each would cost more than all else together.
        // Replays come on top: they must not make what is new take the longer way.
        let is_full = self.window.len() - self.replaying >= self.most_loaded && (held || journal == Journal::IsFull);
        if seq > self.loaded_to && (self.more || is_full) {
            return Place::Later;
        }
        if held { Place::Held } else { Place::Soon }
    }

    /// Returns whether what a lane begins with is being retried, or has to wait.
    fn is_held_up(&self, lane: &Lane) -> bool {
        let head = self.lanes.get(lane).and_then(VecDeque::front).and_then(|head| self.window.get(head));
        head.is_some_and(|head| head.kept == Kept::InRow)
    }

    /// Notes that rows beyond the window may exist, all of them committed.
    pub fn leave_for_later(&mut self) {
        self.more = true;
    }

    /// Notes that a row has just been put beyond the window.
    pub fn put_for_later(&mut self, citizen: CitizenId, seq: EventSeq) {
        self.more = true;
        self.note_fresh(citizen, seq);
    }

    /// Notes that a row has just been written of what is not loaded.
    pub fn note_fresh(&mut self, citizen: CitizenId, seq: EventSeq) {
        self.fresh.push((citizen, seq));
    }

    /// Notes that everything put so far has been committed.
    pub fn committed(&mut self) {
        self.fresh.clear();
    }

    /// Returns the rows about a citizen that are not loaded and may not be
    /// committed yet.
    pub fn fresh_of(&self, citizen: CitizenId) -> impl Iterator<Item = EventSeq> + '_ {
        self.fresh.iter().filter(move |(of, _)| *of == citizen).map(|(_, seq)| *seq)
    }

    /// Loads a delivery. One that is loaded already stays as it is.
    pub fn load(&mut self, delivery: Delivery, kept: Kept) {
        let seq = delivery.key.seq;
        if self.window.contains_key(&seq) {
            return;
        }
        self.loaded_to = self.loaded_to.max(seq);
        let lane = self.lane_of(&delivery);
        let due = delivery.not_before();
        self.in_journal += usize::from(kept == Kept::InJournal);
        self.replaying += usize::from(delivery.replays > 0);
        self.window.insert(seq, Loaded { delivery, kept, departed: None, withdrawn: false });
        let line = self.lanes.entry(lane).or_default();
        // Almost always the newest; a replacement or a replay may be older.
        let at = line.iter().rposition(|other| *other < seq).map_or(0, |before| before + 1);
        line.insert(at, seq);
        if at > 0 {
            return;
        }
        if let Some(second) = line.get(1).copied() {
            // It came in front of a delivery that was first until now. One that
            // is under way stays so; any other gives way.
            self.ready.retain(|other| *other != second);
            self.delayed.retain(|(_, other)| *other != second);
        }
        self.offer(seq, lane, due);
    }

    /// Makes the head of a lane available, now or when it is due.
    fn offer(&mut self, seq: EventSeq, lane: Lane, due: Option<Moment>) {
        match due {
            // Only one that was under way when its lane was parked.
            _ if self.parked.contains(&lane) => {}
            // Offered when that is over.
            _ if self.awaiting.contains(&lane) => {}
            Some(due) => {
                self.delayed.insert((due, seq));
            }
            None => self.ready.push_back(seq),
        }
    }

    /// Returns how many more rows should be loaded, if any, and after which.
    #[must_use]
    pub fn wants(&self) -> Option<(EventSeq, usize)> {
        // Rows that cannot be seen yet would be passed over, and never loaded.
        (self.more
            && self.fresh.is_empty()
            && (self.pause.is_none() || self.window.is_empty() || self.gate == Gate::Closed)
            && self.window.len() <= self.most_loaded / 2)
            .then(|| (self.loaded_to, self.most_loaded - self.window.len()))
    }

    /// Takes in rows that were asked for by [`Queue::wants`].
    pub fn refill(&mut self, rows: Vec<Delivery>, asked: usize, now: Moment) {
        self.more = rows.len() >= asked;
        for mut row in rows {
            // Passed, though it may be loaded already or be left where it is.
            self.loaded_to = self.loaded_to.max(row.key.seq);
            if self.parked.contains(&self.lane_of(&row)) && self.gate == Gate::Open {
                continue;
            }
            let failed_before = |resumed| row.failures.last().is_some_and(|last| last.at <= resumed);
            if self.pause.is_none() && self.resumed_at.is_some_and(failed_before) {
                // The queue works again; what failed with it need not wait longer.
                hasten(&mut row, now);
            }
            self.load(row, Kept::InRow);
        }
    }

    /// Returns the next delivery that may be attempted now, if any. It stays
    /// where it is until [`Queue::depart`] or [`Queue::remove`].
    #[must_use]
    pub fn next(&mut self, now: Moment) -> Option<EventSeq> {
        let limit = match self.pause {
            _ if self.rest.is_some() || self.gate == Gate::Closed => 0,
            Some(pause) if now < pause.until => 0,
            Some(_) => 1, // a probe
            None if self.slow => 0,
            None => self.allowance,
        };
        if self.in_flight >= limit {
            return None;
        }
        while let Some(&(due, seq)) = self.delayed.first() {
            if due > now && self.pause.is_none() {
                break;
            }
            self.delayed.pop_first();
            self.ready.push_back(seq);
        }
        if self.pause.is_some() {
            // Probe with the oldest: its time runs out first.
            let (at, _) = self.ready.iter().enumerate().min_by_key(|(_, seq)| **seq)?;
            self.ready.swap(0, at);
        }
        self.ready.front().copied()
    }

    /// Returns a loaded delivery.
    #[must_use]
    pub fn get(&self, seq: EventSeq) -> Option<&Loaded> {
        self.window.get(&seq)
    }

    /// Notes that the delivery that [`Queue::next`] returned is under way, by
    /// the decision made for this attempt.
    pub fn depart(&mut self, seq: EventSeq, now: Moment) -> Option<&mut Delivery> {
        if self.ready.front() == Some(&seq) {
            self.ready.pop_front();
        }
        let loaded = self.window.get_mut(&seq).filter(|loaded| !loaded.is_in_flight())?;
        loaded.departed = Some(now);
        self.in_flight += 1;
        self.departures.push_back((now, seq));
        Some(&mut loaded.delivery)
    }

    /// Takes a delivery out of the window for good; the next one of its lane
    /// becomes available.
    pub fn remove(&mut self, seq: EventSeq) -> Option<Loaded> {
        let loaded = self.window.remove(&seq)?;
        if loaded.is_in_flight() {
            self.in_flight -= 1;
        }
        self.in_journal -= usize::from(loaded.kept == Kept::InJournal);
        self.replaying -= usize::from(loaded.delivery.replays > 0);
        let lane = self.lane_of(&loaded.delivery);
        let Some(line) = self.lanes.get_mut(&lane) else { return Some(loaded) };
        let was_first = line.front() == Some(&seq);
        if was_first {
            line.pop_front();
        } else {
            line.retain(|other| *other != seq);
        }
        if !loaded.is_in_flight() && was_first {
            self.ready.retain(|other| *other != seq);
            self.delayed.retain(|(_, other)| *other != seq);
        }
        match line.front().copied() {
            None => {
                self.lanes.remove(&lane);
            }
            Some(next) if was_first => {
                let due = self.window.get(&next).filter(|next| !next.is_in_flight()).map(|next| next.delivery.not_before());
                if let Some(due) = due {
                    self.offer(next, lane, due);
                }
            }
            Some(_) => {}
        }
        Some(loaded)
    }

    /// Puts a failed delivery back at the head of its lane, with a row.
    pub fn put_back(&mut self, delivery: Delivery) {
        let seq = delivery.key.seq;
        let due = delivery.not_before();
        let lane = self.lane_of(&delivery);
        let Some(loaded) = self.window.get_mut(&seq) else { return };
        if loaded.is_in_flight() {
            self.in_flight -= 1;
        }
        self.in_journal -= usize::from(loaded.kept == Kept::InJournal);
        *loaded = Loaded { delivery, kept: Kept::InRow, departed: None, withdrawn: false };
        if self.lanes.get(&lane).and_then(VecDeque::front) == Some(&seq) {
            self.offer(seq, lane, due);
        }
    }

    /// Returns how many deliveries are under way.
    #[must_use]
    pub fn under_way(&self) -> u32 {
        self.in_flight
    }

    /// Looks whether the queue is slow, or hangs. If so nothing more is attempted
    /// until it has answered, and nothing of it relies on the journal, what is under
    /// way included. Returns what needs a row for that.
    #[must_use]
    pub fn look_whether_slow(&mut self, now: Moment) -> Vec<Delivery> {
        while let Some((departed, seq)) = self.departures.front()
            && self.window.get(seq).and_then(|loaded| loaded.departed) != Some(*departed)
        {
            self.departures.pop_front();
        }
        self.slow = self.departures.front().is_some_and(|(departed, _)| departed.plus_millis(SLOW_AFTER_MS) <= now);
        if !self.slow || self.in_journal == 0 {
            return Vec::new();
        }
        let in_journal = self.window.iter().filter(|(_, loaded)| loaded.kept == Kept::InJournal);
        let in_journal: Vec<EventSeq> = in_journal.map(|(seq, _)| *seq).collect();
        in_journal.into_iter().filter_map(|seq| self.give_row(seq).cloned()).collect()
    }

    /// Notes that a delivery under way has been withdrawn. It keeps its place in
    /// the lane until its outcome is known.
    pub fn withdraw_in_flight(&mut self, seq: EventSeq) {
        let Some(loaded) = self.window.get_mut(&seq) else { return };
        loaded.withdrawn = true;
        // It is not to be given a row any more.
        self.in_journal -= usize::from(loaded.kept == Kept::InJournal);
        loaded.kept = Kept::InRow;
    }

    /// Returns the deliveries that are kept in the journal only and would be
    /// held up by a pause, or behind `seq` in its lane: they need rows.
    #[must_use]
    pub fn needing_rows(&self, behind: Option<Lane>) -> Vec<EventSeq> {
        let in_journal =
            |seq: &EventSeq| self.window.get(seq).is_some_and(|loaded| loaded.kept == Kept::InJournal && !loaded.is_in_flight());
        match behind {
            Some(lane) => self.lanes.get(&lane).into_iter().flatten().copied().filter(in_journal).collect(),
            None => self.window.keys().copied().filter(in_journal).collect(),
        }
    }

    /// Notes that a loaded delivery has been given a row, and returns it.
    pub fn give_row(&mut self, seq: EventSeq) -> Option<&Delivery> {
        let loaded = self.window.get_mut(&seq).filter(|loaded| loaded.kept == Kept::InJournal)?;
        loaded.kept = Kept::InRow;
        self.in_journal -= 1;
        Some(&loaded.delivery)
    }

    /// Returns the oldest loaded delivery that has no row.
    #[must_use]
    pub fn oldest_in_journal(&self) -> Option<EventSeq> {
        if self.in_journal == 0 {
            return None;
        }
        self.window.iter().find(|(_, loaded)| loaded.kept == Kept::InJournal).map(|(seq, _)| *seq)
    }

    /// Returns the loaded deliveries about a citizen, those under way included
    /// unless they have been withdrawn.
    pub fn loaded_of(&self, citizen: CitizenId) -> impl Iterator<Item = EventSeq> + '_ {
        Domain::ALL
            .into_iter()
            .filter_map(move |domain| self.lanes.get(&Lane { citizen, domain }))
            .flatten()
            .copied()
            .filter(|seq| self.window.get(seq).is_some_and(|loaded| !loaded.withdrawn))
    }

    /// Returns everything that is loaded about a citizen, whatever has become of it.
    pub fn all_of(&self, citizen: CitizenId) -> Vec<EventSeq> {
        let lines = Domain::ALL.into_iter().filter_map(|domain| self.lanes.get(&Lane { citizen, domain }));
        lines.flatten().copied().collect()
    }

    /// Pauses the queue after a failure that concerns all of it, for as long as
    /// `probe_ms` of the number of failures in a row says.
    pub fn pause(&mut self, failure: Failure, now: Moment, probe_ms: impl Fn(u32) -> u64) -> Option<Pause> {
        self.allowance = 1;
        let failures = match self.pause {
            // Only a probe makes the pause longer; stragglers of the same
            // trouble, under way when it began, do not.
            Some(pause) if now < pause.until => return None,
            Some(pause) => pause.failures.saturating_add(1),
            None => 1,
        };
        let since = self.pause.map_or(now, |pause| pause.since);
        let pause = Pause { cause: failure, since, until: now.plus_millis(probe_ms(failures)), failures };
        self.pause = Some(pause);
        Some(pause)
    }

    /// Notes a success: ends a pause caused by failures, and lets more
    /// deliveries be under way at once. Returns the pause that ended.
    pub fn succeeded(&mut self, now: Moment) -> Option<Pause> {
        self.allowance = self.allowance.saturating_add(self.allowance.clamp(1, 16)).min(MOST_IN_FLIGHT);
        let ended = Some(self.pause.take()?);
        self.resumed_at = Some(now);
        // What failed with the queue need not wait for its own next attempt, nor
        // need what is behind something that has come in front of it since.
        self.window.values_mut().for_each(|loaded| hasten(&mut loaded.delivery, now));
        self.ready.extend(std::mem::take(&mut self.delayed).into_iter().map(|(_, seq)| seq));
        ended
    }

    /// Ends a pause that has come to its end with nothing left to probe with: what
    /// waited was withdrawn, or is parked. Whether the queue works shows with the
    /// next delivery, which goes alone. Returns the pause that ended.
    pub fn lapse(&mut self, now: Moment) -> Option<Pause> {
        self.pause.filter(|pause| pause.until <= now && self.rest.is_none() && self.is_empty())?;
        self.resumed_at = Some(now);
        self.pause.take()
    }

    /// Returns the first loaded delivery that is not under way and for which
    /// `is_over` holds of the moment from which its time counts. None while the
    /// queue is left alone.
    pub fn first_over(&self, is_over: impl Fn(Moment) -> bool) -> Option<EventSeq> {
        if self.rest.is_some() {
            return None;
        }
        // Older ones come first but for replays, whose time begins anew.
        // A parked lane is loaded only while its recipient is closed: to be withdrawn.
        let may_die =
            |loaded: &Loaded| !loaded.is_in_flight() && (self.parked.is_empty() || !self.parked.contains(&self.lane_of(&loaded.delivery)));
        self.window.iter().find(|(_, loaded)| may_die(loaded) && is_over(self.counts_from(&loaded.delivery))).map(|(seq, _)| *seq)
    }

    /// Returns the next instant at which something may become possible without
    /// anything else happening; one long past for what is possible now.
    #[must_use]
    pub fn next_wake(&self) -> Option<Moment> {
        const NOW: Moment = Moment(i64::MIN);
        if self.gate == Gate::Closed {
            let idle = self.window.values().any(|loaded| !loaded.is_in_flight());
            let lapses = self.pause.filter(|_| self.rest.is_none() && self.is_empty()).map(|pause| pause.until);
            return (idle || self.wants().is_some() || !self.fresh.is_empty()).then_some(NOW).or(lapses);
        }
        if let Some(rest) = self.rest {
            return rest.until.filter(|_| !self.is_empty());
        }
        match self.pause {
            // The outcome of what is under way comes first: to wake before it
            // would be to wake for nothing, again and again.
            Some(_) if self.in_flight > 0 => None,
            // What is waited for in its place wakes whoever waits.
            Some(_) if !self.awaiting.is_empty() && self.ready.is_empty() && self.delayed.is_empty() && self.wants().is_none() => None,
            Some(pause) => Some(pause.until),
            None if self.wants().is_some() || !self.fresh.is_empty() => Some(NOW),
            None if self.slow || self.in_flight >= self.allowance => None,
            // Made ready by another queue's turn, which had come after this one's.
            None if !self.ready.is_empty() => Some(NOW),
            None => self.delayed.first().map(|(due, _)| *due),
        }
    }

    /// Has a queue that does not work probed at `now` instead of when it is due.
    /// Returns whether it is paused.
    pub fn probe_at(&mut self, now: Moment) -> bool {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(now);
        }
        self.pause.is_some()
    }

    /// Returns the pause, if the queue is paused.
    #[must_use]
    pub fn paused(&self) -> Option<Pause> {
        self.pause
    }

    /// Returns how many lanes wait behind a delivery that is being retried, or
    /// are parked.
    #[must_use]
    pub fn lanes_blocked(&self) -> usize {
        self.delayed.len() + self.parked.len()
    }

    /// Returns how many lanes are parked.
    #[must_use]
    pub fn lanes_parked(&self) -> usize {
        self.parked.len()
    }

    /// Returns the heads of the lanes that wait behind a delivery that is being
    /// retried, the longest wait last, each with how many of it are loaded.
    pub fn blocked(&self) -> impl Iterator<Item = (&Delivery, usize)> {
        let head = |(_, seq): &(Moment, EventSeq)| {
            let delivery = &self.window.get(seq)?.delivery;
            Some((delivery, self.lanes.get(&self.lane_of(delivery)).map_or(0, VecDeque::len)))
        };
        self.delayed.iter().filter_map(head)
    }

    /// Has the queue left alone.
    pub fn rest(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    /// Ends a rest: the time allowed for retries begins anew.
    pub fn wake(&mut self, at: Moment) {
        self.rest = None;
        self.excuse(at);
    }

    /// Returns the rest, if the queue is left alone.
    #[must_use]
    pub fn resting(&self) -> Option<Rest> {
        self.rest
    }

    /// Has the time allowed for retries count from `at` at the earliest.
    pub fn excuse(&mut self, at: Moment) {
        self.excused = self.excused.max(Some(at));
    }

    /// As [`Queue::excuse`], for one lane.
    pub fn excuse_lane(&mut self, lane: Lane, at: Moment) {
        self.excused_lanes.insert(lane, at);
    }

    /// Notes that a lane is not parked any longer: another one is in its place.
    pub fn unpark(&mut self, lane: Lane) {
        self.parked.remove(&lane);
    }

    /// Forgets what was ordered about the lanes of a citizen.
    pub fn forget_lanes_of(&mut self, citizen: CitizenId) {
        self.parked.retain(|lane| lane.citizen != citizen);
        self.excused_lanes.retain(|lane, _| lane.citizen != citizen);
    }

    /// Forgets that the queue was left alone once.
    pub fn forget_excuse(&mut self) {
        self.excused = None;
    }

    /// Forgets that a lane was parked once.
    pub fn forget_lane(&mut self, lane: Lane) {
        self.excused_lanes.remove(&lane);
    }

    /// Returns from when the time allowed for the delivery counts.
    #[must_use]
    pub fn counts_from(&self, delivery: &Delivery) -> Moment {
        let of_lane = self.excused_lanes.get(&self.lane_of(delivery)).copied();
        self.excused.max(of_lane).map_or(delivery.first_at, |excused| excused.max(delivery.first_at))
    }

    /// Says whether the recipient may be sent to. Of one that may not, parked
    /// lanes are loaded like all others: to be withdrawn; what is left of them when
    /// it opens again is left alone again. Returns what needs a row.
    #[must_use]
    pub fn set_gate(&mut self, gate: Gate) -> Vec<Delivery> {
        if self.gate == gate {
            return Vec::new();
        }
        self.gate = gate;
        match gate {
            _ if self.parked.is_empty() => Vec::new(),
            Gate::Closed => self.rewind(EventSeq(1)),
            Gate::Open => {
                // In an order of its own: that of what is staged is to be the same every time.
                let parked: BTreeSet<Lane> = self.lanes.keys().filter(|lane| self.parked.contains(lane)).copied().collect();
                let taken_out = parked.into_iter().flat_map(|lane| self.park(lane)).collect::<Vec<_>>();
                taken_out.into_iter().filter(|loaded| loaded.kept == Kept::InJournal).map(|loaded| loaded.delivery).collect()
            }
        }
    }

    /// Returns whether the recipient is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.gate == Gate::Closed
    }

    /// Returns what is loaded and not under way, at most `limit`.
    #[must_use]
    pub fn idle(&self, limit: usize) -> Vec<EventSeq> {
        self.window.iter().filter(|(_, loaded)| !loaded.is_in_flight()).map(|(seq, _)| *seq).take(limit).collect()
    }

    /// Returns what a lane begins with, if that is under way.
    #[must_use]
    pub fn under_way_in(&self, lane: &Lane) -> Option<EventSeq> {
        let head = self.lanes.get(lane)?.front()?;
        self.window.get(head).filter(|head| head.is_in_flight() && !head.withdrawn).map(|_| *head)
    }

    /// Returns the first delivery of a lane, as far as it is loaded.
    #[must_use]
    pub fn first_of(&self, lane: &Lane) -> Option<&Delivery> {
        let first = self.lanes.get(lane)?.front()?;
        self.window.get(first).map(|loaded| &loaded.delivery)
    }

    /// Attempts nothing of a lane until [`Queue::go_on`] says so.
    fn await_in(&mut self, lane: Lane) {
        if self.awaiting.insert(lane)
            && let Some(head) = self.lanes.get(&lane).and_then(VecDeque::front).copied()
        {
            self.ready.retain(|other| *other != head);
            self.delayed.retain(|(_, other)| *other != head);
        }
    }

    /// Ends what [`Queue::await_in`] began.
    fn go_on(&mut self, lane: Lane) {
        if !self.awaiting.remove(&lane) {
            return;
        }
        let Some(head) = self.lanes.get(&lane).and_then(VecDeque::front).copied() else { return };
        let due = self.window.get(&head).filter(|head| !head.is_in_flight()).map(|head| head.delivery.not_before());
        if let Some(due) = due {
            self.offer(head, lane, due);
        }
    }

    /// Returns whether a lane is parked.
    #[must_use]
    pub fn is_parked(&self, lane: &Lane) -> bool {
        self.parked.contains(lane)
    }

    /// Parks a lane: takes all of it out of the window but what is under way.
    /// Returns what it took out, to be given rows; those have none yet that were
    /// in the journal only.
    #[must_use]
    pub fn park(&mut self, lane: Lane) -> Vec<Loaded> {
        self.parked.insert(lane);
        let line: Vec<EventSeq> = self.lanes.get(&lane).into_iter().flatten().copied().collect();
        let idle = line.into_iter().filter(|seq| self.window.get(seq).is_some_and(|loaded| !loaded.is_in_flight()));
        let idle: Vec<EventSeq> = idle.collect();
        idle.into_iter()
            .filter_map(|seq| {
                // It may be offered as the head of its lane.
                self.ready.retain(|other| *other != seq);
                self.delayed.retain(|(_, other)| *other != seq);
                let loaded = self.remove(seq)?;
                self.note_fresh(loaded.delivery.citizen, seq);
                Some(loaded)
            })
            .collect()
    }

    /// Releases a parked lane, of which nothing lies before `first`. Returns what
    /// needs a row.
    #[must_use]
    pub fn release(&mut self, lane: Lane, first: Option<EventSeq>) -> Vec<Delivery> {
        self.parked.remove(&lane);
        // What is loaded of it is under way since before it was parked.
        first.map(|first| self.rewind(first)).unwrap_or_default()
    }

    /// Has everything from `first` on loaded again, in its order: what is loaded
    /// and not under way goes, since whatever comes in front of it now must be
    /// loaded before it. Returns what needs a row.
    fn rewind(&mut self, first: EventSeq) -> Vec<Delivery> {
        let idle: Vec<EventSeq> = self.window.range(first..).filter(|(_, loaded)| !loaded.is_in_flight()).map(|(seq, _)| *seq).collect();
        self.ready.retain(|seq| *seq < first);
        self.delayed.retain(|(_, seq)| *seq < first);
        let mut rowless = Vec::new();
        // The last first: none of them becomes the head of its lane on the way.
        for seq in idle.into_iter().rev() {
            let Some(loaded) = self.remove(seq) else { continue };
            if loaded.kept == Kept::InJournal {
                self.note_fresh(loaded.delivery.citizen, seq);
                rowless.push(loaded.delivery);
            }
        }
        self.loaded_to = self.loaded_to.min(EventSeq(first.0.saturating_sub(1)));
        self.more = true;
        rowless
    }

    /// Returns whether a delivery that was under way lies beyond what is loaded:
    /// it is loaded again in its turn.
    #[must_use]
    pub fn is_beyond(&self, seq: EventSeq) -> bool {
        seq > self.loaded_to
    }

    /// Returns since when the one has been waiting that waits longest of those loaded:
    /// not always that of the oldest event, which may have been taken over since.
    #[must_use]
    pub fn oldest(&self) -> Option<Moment> {
        self.window.values().map(|loaded| loaded.delivery.first_at).min()
    }

    /// Returns how many unfinished deliveries are kept in the journal only.
    #[must_use]
    pub fn in_journal(&self) -> usize {
        self.in_journal
    }

    /// Returns how many more deliveries may be replayed now: a window of them
    /// keeps the queue busy. None while it is paused or left alone, but for the one
    /// that probes a queue which has nothing else to be probed with.
    #[must_use]
    pub fn replay_room(&self) -> usize {
        match (self.rest, self.pause) {
            (Some(_), _) => 0,
            (None, None) => self.most_loaded.saturating_sub(self.replaying),
            (None, Some(_)) => usize::from(self.is_empty()),
        }
    }

    /// Returns whether nothing is loaded and nothing is left to load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.window.is_empty() && !self.more && self.fresh.is_empty()
    }

    /// Returns the numbers of unfinished deliveries by state, loaded or not.
    #[must_use]
    pub fn counts(&self) -> RowCounts {
        self.counts
    }

    /// Returns the numbers, to be kept right by whoever changes a state.
    pub fn counts_mut(&mut self) -> &mut RowCounts {
        &mut self.counts
    }
}

/// Makes a delivery that is being retried due at once.
fn hasten(delivery: &mut Delivery, now: Moment) {
    use super::outbox::State;
    if let State::Retrying { next_at, .. } = &mut delivery.state {
        *next_at = (*next_at).min(now);
    }
}

/// Returns whether what one is not entitled to any more may go to the other.
fn is_alike(one: Recipient, other: Recipient) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other)
}

/// All queues.
#[derive(Debug)]
pub struct Lanes {
    queues: BTreeMap<Recipient, Queue>,
    turn: usize,
    window: usize,
    persons: Arc<Joined>,
    /// What is under way and may have to be told to somebody else should it fail,
    /// with its lane: what is newer waits for it at every recipient of that kind.
    movers: BTreeMap<DeliveryKey, Lane>,
}

impl Lanes {
    /// Returns no queues; each new one loads at most `window` deliveries.
    #[must_use]
    pub fn new(window: usize) -> Self {
        Self { queues: BTreeMap::new(), turn: 0, window, persons: Arc::default(), movers: BTreeMap::new() }
    }

    /// Returns a queue, if anything was ever known of it.
    #[must_use]
    pub fn queue(&self, recipient: Recipient) -> Option<&Queue> {
        self.queues.get(&recipient)
    }

    /// Returns a queue, new if need be.
    pub fn queue_mut(&mut self, recipient: Recipient) -> &mut Queue {
        self.queues.entry(recipient).or_insert_with(|| {
            let awaiting = self.movers.iter().filter(|(of, _)| is_alike(of.recipient, recipient)).map(|(_, lane)| *lane).collect();
            Queue { persons: Arc::clone(&self.persons), awaiting, ..Queue::new(self.window) }
        })
    }

    /// Has the lanes wait that a delivery under way would come into, should it fail
    /// and be told to another recipient instead: it is older than what they may hold.
    pub fn await_outcome(&mut self, key: DeliveryKey) {
        let Some(loaded) = self.loaded(key).filter(|loaded| loaded.is_in_flight()) else { return };
        let lane = self.lane_of(&loaded.delivery);
        if self.movers.insert(key, lane).is_none() {
            self.alike(key.recipient).for_each(|queue| queue.await_in(lane));
        }
    }

    /// Returns whether a delivery is waited for.
    #[must_use]
    pub fn is_awaited(&self, key: DeliveryKey) -> bool {
        self.movers.contains_key(&key)
    }

    /// Returns what was waited for and is not under way any more.
    #[must_use]
    pub fn arrived(&self) -> Vec<DeliveryKey> {
        self.movers.keys().filter(|key| !self.loaded(**key).is_some_and(Loaded::is_in_flight)).copied().collect()
    }

    /// Goes on with what waited for a delivery, unless it waits for another one too.
    pub fn go_on_after(&mut self, key: DeliveryKey) {
        let Some(lane) = self.movers.remove(&key) else { return };
        let is_awaited = self.movers.iter().any(|(other, of)| *of == lane && is_alike(other.recipient, key.recipient));
        if !is_awaited {
            self.alike(key.recipient).for_each(|queue| queue.go_on(lane));
        }
    }

    fn alike(&mut self, recipient: Recipient) -> impl Iterator<Item = &mut Queue> {
        self.queues.iter_mut().filter(move |(other, _)| is_alike(**other, recipient)).map(|(_, queue)| queue)
    }

    /// Takes over who is one person with whom, before anything is loaded.
    pub fn recover(&mut self, joined: Joined) {
        self.persons = Arc::new(joined);
    }

    /// Takes over that these are one person each now, whoever they were before.
    /// Order is kept within what a person's lanes hold from then on. Costs in
    /// proportion to them and to the queues.
    pub fn regroup(&mut self, persons: &[Vec<CitizenId>]) {
        // Nobody else holds it then, and it need not be copied.
        self.queues.values_mut().for_each(|queue| queue.persons = Arc::default());
        let joined = Arc::make_mut(&mut self.persons);
        persons.iter().for_each(|person| joined.regroup(person));
        let ids = persons.iter().flatten().copied().collect();
        let lane = |key: &DeliveryKey, before: &Lane| self.loaded(*key).map_or(*before, |loaded| self.lane_of(&loaded.delivery));
        self.movers = self.movers.iter().map(|(key, before)| (*key, lane(key, before))).collect();
        for (recipient, queue) in &mut self.queues {
            queue.awaiting = self.movers.iter().filter(|(of, _)| is_alike(of.recipient, *recipient)).map(|(_, lane)| *lane).collect();
            queue.regroup(&self.persons, &ids);
        }
    }

    /// Returns what needs a row in the lanes of these, behind what is being retried.
    #[must_use]
    pub fn rows_needed(&mut self, persons: &[Vec<CitizenId>]) -> Vec<Delivery> {
        let firsts = persons.iter().filter_map(|person| person.first().copied());
        let lanes: Vec<Lane> = firsts.flat_map(|citizen| Domain::ALL.map(|domain| Lane { citizen, domain })).collect();
        let mut needed = Vec::new();
        for queue in self.queues.values_mut() {
            for lane in &lanes {
                if queue.is_held_up(lane) {
                    for seq in queue.needing_rows(Some(*lane)) {
                        needed.extend(queue.give_row(seq).cloned());
                    }
                }
            }
        }
        needed
    }

    /// Returns the lane of a delivery in its recipient's queue.
    #[must_use]
    pub fn lane_of(&self, delivery: &Delivery) -> Lane {
        delivery.lane_by(&self.persons)
    }

    /// Notes that everything put so far has been committed.
    pub fn committed(&mut self) {
        self.queues.values_mut().for_each(Queue::committed);
    }

    /// Returns every queue, in order of recipients.
    pub fn queues(&self) -> impl Iterator<Item = (Recipient, &Queue)> {
        self.queues.iter().map(|(recipient, queue)| (*recipient, queue))
    }

    /// Returns the recipients that have anything to attempt or to load,
    /// beginning with another one each time, so that none is always last.
    #[must_use]
    pub fn in_turn(&mut self) -> Vec<Recipient> {
        let mut busy: Vec<Recipient> = self.queues.iter().filter(|(_, queue)| !queue.is_empty()).map(|(recipient, _)| *recipient).collect();
        if !busy.is_empty() {
            self.turn = (self.turn + 1) % busy.len();
            busy.rotate_left(self.turn);
        }
        busy
    }

    /// Returns every queue, in order of recipients.
    pub fn queues_mut(&mut self) -> impl Iterator<Item = (Recipient, &mut Queue)> {
        self.queues.iter_mut().map(|(recipient, queue)| (*recipient, queue))
    }

    /// Returns a loaded delivery.
    #[must_use]
    pub fn loaded(&self, key: DeliveryKey) -> Option<&Loaded> {
        self.queues.get(&key.recipient)?.get(key.seq)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::event::{Change, Content};
    use super::super::outbox::{Attempt, Because, State};
    use super::super::policy::{Audience, Audiences};
    use super::super::samples::{day, event, recipient};
    use super::*;

    fn delivery(seq: u64, citizen: u32, event: &Arc<super::super::event::Event>) -> Delivery {
        Delivery {
            key: DeliveryKey { recipient: recipient("akasse:067"), seq: EventSeq(seq) },
            citizen: CitizenId(citizen),
            event: Arc::clone(event),
            domain: Domain::Plan,
            because: Because {
                audience: Audience::AkasseOwnMembers,
                also: Audiences::default(),
                registration: None,
                day: day("2026-03-16"),
            },
            first_at: Moment(0),
            attempts: 0,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
            state: State::Pending,
        }
    }

    /// A lane's deliveries in a list, with what is known of each. Slow and plain.
    #[derive(Debug, Clone, Copy)]
    struct Plain {
        seq: u64,
        citizen: u32,
        due: Option<i64>,
        in_flight: bool,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Step {
        /// A new delivery of this citizen.
        Load(u32),
        /// An older delivery than any, of citizen 1.
        LoadInFront,
        /// The next one departs.
        Depart,
        /// The oldest one under way is confirmed.
        Confirm,
        /// The newest one under way fails alone.
        Fail,
        /// The oldest one under way fails, and the queue with it.
        Pause,
        /// The oldest one that is not under way is withdrawn.
        Withdraw,
        /// Time passes.
        Wait,
    }

    const STEPS: [Step; 9] =
        [Step::Load(1), Step::Load(2), Step::LoadInFront, Step::Depart, Step::Confirm, Step::Fail, Step::Pause, Step::Withdraw, Step::Wait];

    struct Both {
        queue: Queue,
        plain: Vec<Plain>,
        paused_until: Option<i64>,
        now: i64,
        next_seq: u64,
        front_seq: u64,
        event: Arc<super::super::event::Event>,
    }

    impl Both {
        /// The deliveries that may depart: of each lane the first, if it is not
        /// under way and is due; a probe of any lane while the queue is paused.
        fn may_depart(&self) -> Vec<u64> {
            if self.paused_until.is_some_and(|until| self.now < until || self.plain.iter().any(|plain| plain.in_flight)) {
                return Vec::new();
            }
            let is_head = |of: &Plain| !self.plain.iter().any(|other| other.citizen == of.citizen && other.seq < of.seq);
            let is_due = |of: &Plain| self.paused_until.is_some() || of.due.is_none_or(|due| due <= self.now);
            self.plain.iter().filter(|of| is_head(of) && !of.in_flight && is_due(of)).map(|of| of.seq).collect()
        }

        fn load(&mut self, seq: u64, citizen: u32) {
            self.queue.load(delivery(seq, citizen, &self.event), Kept::InJournal);
            self.plain.push(Plain { seq, citizen, due: None, in_flight: false });
            self.plain.sort_by_key(|plain| plain.seq);
        }

        fn fail(&mut self, seq: u64) {
            let loaded = self.queue.get(EventSeq(seq)).expect("under way");
            let attempt = Attempt { at: Moment(self.now), failure: Failure::Connection, code: 0 };
            let failed = loaded.delivery.clone().failed(attempt, Moment(self.now + 2));
            self.queue.put_back(failed);
            let plain = self.plain.iter_mut().find(|plain| plain.seq == seq).expect("under way");
            (plain.in_flight, plain.due) = (false, Some(self.now + 2));
        }

        fn take(&mut self, step: Step) {
            let under_way = || self.plain.iter().filter(|plain| plain.in_flight).map(|plain| plain.seq);
            match step {
                Step::Load(citizen) => {
                    self.next_seq += 1;
                    self.load(self.next_seq, citizen);
                }
                Step::LoadInFront => {
                    self.front_seq -= 1;
                    self.load(self.front_seq, 1);
                }
                Step::Depart => {
                    let expected = self.may_depart();
                    let next = self.queue.next(Moment(self.now)).map(|seq| seq.0);
                    assert_eq!(next.is_none(), expected.is_empty(), "{next:?} of {expected:?}");
                    let Some(seq) = next else { return };
                    assert!(expected.contains(&seq), "{seq} of {expected:?}");
                    assert!(self.paused_until.is_none() || expected.iter().all(|other| *other >= seq), "the oldest is the probe");
                    assert!(self.queue.depart(EventSeq(seq), Moment(self.now)).is_some());
                    self.plain.iter_mut().filter(|plain| plain.seq == seq).for_each(|plain| plain.in_flight = true);
                }
                Step::Confirm => {
                    let Some(seq) = under_way().min() else { return };
                    assert!(self.queue.remove(EventSeq(seq)).is_some());
                    let ended = self.queue.succeeded(Moment(self.now));
                    assert_eq!(ended.is_some(), self.paused_until.is_some());
                    self.plain.retain(|plain| plain.seq != seq);
                    if self.paused_until.take().is_some() {
                        // The queue works: nothing waits for its own time any more.
                        self.plain.iter_mut().filter(|plain| !plain.in_flight).for_each(|plain| plain.due = None);
                    }
                }
                Step::Fail => {
                    let Some(seq) = under_way().max() else { return };
                    self.fail(seq);
                }
                Step::Pause => {
                    let Some(seq) = under_way().min() else { return };
                    let pause = self.queue.pause(Failure::Nacked, Moment(self.now), |_| 3);
                    let prolongs = self.paused_until.is_none_or(|until| self.now >= until);
                    assert_eq!(pause.is_some(), prolongs);
                    if prolongs {
                        self.paused_until = Some(self.now + 3000);
                    }
                    self.fail(seq);
                }
                Step::Withdraw => {
                    let Some(seq) = self.plain.iter().find(|plain| !plain.in_flight).map(|plain| plain.seq) else { return };
                    assert!(self.queue.remove(EventSeq(seq)).is_some());
                    self.plain.retain(|plain| plain.seq != seq);
                }
                Step::Wait => self.now += 1500,
            }
            assert_eq!(self.queue.in_journal(), self.queue.needing_rows(None).len() + self.in_journal_under_way());
            // As at every dispatch: a pause ends that has nothing to be probed with.
            let lapses = self.plain.is_empty() && self.paused_until.is_some_and(|until| until <= self.now);
            assert_eq!(self.queue.lapse(Moment(self.now)).is_some(), lapses);
            if lapses {
                self.paused_until = None;
            }
            // Whatever may depart now is announced, and nothing else.
            let wake = self.queue.next_wake();
            if !self.may_depart().is_empty() && self.plain.iter().filter(|plain| plain.in_flight).count() < self.queue.allowance as usize {
                assert!(wake.is_some_and(|wake| wake.0 <= self.now), "sleeps until {wake:?} at {}", self.now);
            } else {
                assert!(wake.is_none_or(|wake| wake.0 > self.now), "wakes for nothing at {}", self.now);
            }
        }

        fn in_journal_under_way(&self) -> usize {
            self.queue.window.values().filter(|loaded| loaded.is_in_flight() && loaded.kept == Kept::InJournal).count()
        }
    }

    fn check(event: &Arc<super::super::event::Event>, steps: impl Iterator<Item = Step>) {
        let queue = Queue { allowance: MOST_IN_FLIGHT, ..Queue::new(1000) };
        let mut both =
            Both { queue, plain: Vec::new(), paused_until: None, now: 0, next_seq: 100, front_seq: 100, event: Arc::clone(event) };
        for step in steps {
            // Slow start is a matter of pace, not of order: left out here.
            both.queue.allowance = MOST_IN_FLIGHT;
            both.take(step);
        }
    }

    /// Every sequence of six steps, after two deliveries of one lane and one of another.
    #[test]
    fn agrees_with_a_plain_list() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let first = [Step::Load(1), Step::Load(1), Step::Load(2), Step::Depart];
        for number in 0..STEPS.len().pow(5) {
            let steps = (0..5).map(|place| STEPS[number / STEPS.len().pow(place) % STEPS.len()]);
            check(&event, first.into_iter().chain(steps).chain([Step::Depart, Step::Depart]));
        }
    }

    /// Long sequences, not all of them.
    #[test]
    fn agrees_with_a_plain_list_for_long() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let mut state = 1_u64;
        for _ in 0..300 {
            let steps = (0..100).map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                STEPS[(state >> 33) as usize % STEPS.len()]
            });
            let steps: Vec<Step> = steps.collect();
            check(&event, steps.into_iter());
        }
    }

    #[test]
    fn what_took_over_an_old_event_has_not_waited_since_then() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let mut queue = Queue::new(4);
        assert_eq!(queue.oldest(), None);
        queue.load(Delivery { first_at: Moment(5), ..delivery(7, 1, &event) }, Kept::InRow);
        queue.load(Delivery { first_at: Moment(9), ..delivery(2, 2, &event) }, Kept::InRow);
        assert_eq!(queue.oldest(), Some(Moment(5)));
    }

    #[test]
    fn a_place_for_each() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let lane = |citizen| delivery(1, citizen, &event).lane_by(&Joined::default());
        let mut queue = Queue::new(2);
        assert_eq!(queue.place(EventSeq(1), lane(1), Journal::IsFull), Place::Soon);
        queue.load(delivery(1, 1, &event), Kept::InJournal);
        assert_eq!(queue.place(EventSeq(2), lane(1), Journal::IsFull), Place::Soon, "behind one that is about to go");
        assert!(queue.give_row(EventSeq(1)).is_some());
        assert_eq!(queue.place(EventSeq(2), lane(1), Journal::IsFull), Place::Held, "behind one that is held up");
        assert_eq!(queue.place(EventSeq(2), lane(2), Journal::IsFull), Place::Soon, "beside it");
        queue.load(delivery(3, 2, &event), Kept::InJournal);
        assert_eq!(queue.place(EventSeq(4), lane(2), Journal::IsFull), Place::Later, "the window is full");
        assert_eq!(queue.place(EventSeq(4), lane(2), Journal::HasRoom), Place::Soon, "and may be exceeded while all goes well");
        assert_eq!(queue.place(EventSeq(4), lane(1), Journal::HasRoom), Place::Later, "but not for what is held up");
        assert_eq!(queue.place(EventSeq(2), lane(2), Journal::IsFull), Place::Soon, "an older one, in its place");
        assert!(queue.remove(EventSeq(3)).is_some());
        assert_eq!(queue.place(EventSeq(4), lane(2), Journal::IsFull), Place::Soon);
        assert!(queue.pause(Failure::Nacked, Moment(0), |_| 1).is_some());
        assert_eq!(queue.place(EventSeq(4), lane(2), Journal::IsFull), Place::Held, "the queue is paused");
        queue.put_for_later(CitizenId(3), EventSeq(5));
        assert_eq!(queue.place(EventSeq(6), lane(2), Journal::IsFull), Place::Later, "behind what is not loaded");
        assert_eq!(queue.fresh_of(CitizenId(3)).collect::<Vec<_>>(), [EventSeq(5)]);
    }

    #[test]
    fn rows_not_yet_committed_are_not_passed_over() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let mut queue = Queue::new(4);
        queue.leave_for_later();
        assert_eq!(queue.wants(), Some((EventSeq(0), 4)));
        queue.put_for_later(CitizenId(1), EventSeq(2));
        assert_eq!(queue.wants(), None);
        assert!(queue.next_wake().is_some(), "to be asked again");
        queue.committed();
        assert_eq!(queue.wants(), Some((EventSeq(0), 4)));
        queue.refill(vec![delivery(2, 1, &event)], 4, Moment(0));
        assert_eq!((queue.wants(), queue.next(Moment(0))), (None, Some(EventSeq(2))));
    }

    /// What was to wait still waits after a restart; what failed before the queue
    /// worked again need not.
    #[test]
    fn loaded_rows_keep_their_time_unless_the_queue_has_worked_since() {
        let event = Arc::new(event("e", 1, Change::Created, "..", Content::Other));
        let failed = |seq, at| {
            let attempt = Attempt { at: Moment(at), failure: Failure::Nacked, code: 0 };
            delivery(seq, u32::try_from(seq).expect("small"), &event).failed(attempt, Moment(1000))
        };
        let mut restarted = Queue::new(4);
        restarted.leave_for_later();
        restarted.refill(vec![failed(1, 10)], 4, Moment(20));
        assert_eq!(restarted.next(Moment(20)), None);
        assert_eq!(restarted.next_wake(), Some(Moment(1000)));

        let mut resumed = Queue::new(4);
        assert!(resumed.pause(Failure::Nacked, Moment(15), |_| 0).is_some());
        assert!(resumed.succeeded(Moment(16)).is_some());
        resumed.leave_for_later();
        resumed.refill(vec![failed(1, 10), failed(2, 17)], 4, Moment(20));
        assert_eq!(resumed.next(Moment(20)), Some(EventSeq(1)));
        assert!(resumed.depart(EventSeq(1), Moment(20)).is_some());
        assert_eq!(resumed.next(Moment(20)), None);
    }

    #[test]
    fn a_pause_with_nothing_left_to_probe_with_ends_when_a_probe_is_due() {
        let event = Arc::new(event("e", 1, Change::Created, "2026-03-16..", Content::Other));
        let mut queue = Queue::new(WINDOW);
        queue.load(delivery(1, 1, &event), Kept::InRow);
        assert!(queue.pause(Failure::Nacked, Moment(0), |_| 1).is_some());
        assert_eq!(queue.lapse(Moment(5_000)), None, "it can be probed");
        queue.remove(EventSeq(1));
        assert_eq!(queue.lapse(Moment(999)), None, "not due yet");
        assert_eq!(queue.next_wake(), Some(Moment(1_000)));
        queue.rest(Rest { until: None });
        assert_eq!((queue.lapse(Moment(1_000)), queue.next_wake()), (None, None), "left alone");
        queue.wake(Moment(1_000));
        assert!(queue.lapse(Moment(1_000)).is_some());
        assert_eq!((queue.paused(), queue.next_wake()), (None, None));
        // The next ones find out whether it works: one alone first.
        queue.load(delivery(2, 2, &event), Kept::InRow);
        queue.load(delivery(3, 3, &event), Kept::InRow);
        let next = queue.next(Moment(2_000)).expect("it may go");
        assert!(queue.depart(next, Moment(2_000)).is_some());
        assert_eq!(queue.next(Moment(2_000)), None);
    }

    /// What it holds relies on nothing that the others need, and no more goes there.
    #[test]
    fn a_queue_is_slow_until_what_has_been_under_way_the_longest_is_answered() {
        let event = Arc::new(event("e", 1, Change::Created, "2026-03-16..", Content::Other));
        let lane = |citizen| delivery(1, citizen, &event).lane_by(&Joined::default());
        let mut queue = Queue::new(WINDOW);
        (1..=4).for_each(|seq| queue.load(delivery(seq, u32::try_from(seq).expect("small"), &event), Kept::InJournal));
        assert!(queue.depart(EventSeq(1), Moment(0)).is_some());
        assert!(queue.depart(EventSeq(2), Moment(1_000_000)).is_some());
        assert!(queue.look_whether_slow(Moment(2_999_999)).is_empty());
        assert_eq!(queue.next(Moment(2_999_999)), Some(EventSeq(3)));
        // The older one is answered: the younger one counts.
        assert!(queue.remove(EventSeq(1)).is_some());
        assert!(queue.look_whether_slow(Moment(3_999_999)).is_empty());
        assert_eq!(queue.place(EventSeq(5), lane(5), Journal::HasRoom), Place::Soon);
        let rows = queue.look_whether_slow(Moment(4_000_000));
        assert_eq!(rows.iter().map(|row| row.key.seq.0).collect::<Vec<_>>(), [2, 3, 4], "what is under way too");
        assert_eq!((queue.in_journal(), queue.next(Moment(4_000_000)), queue.next_wake()), (0, None, None));
        assert_eq!(queue.place(EventSeq(5), lane(5), Journal::HasRoom), Place::Held);
        assert!(queue.look_whether_slow(Moment(5_000_000)).is_empty(), "they have theirs");
        // Tried again, it counts from then.
        let failed = queue.get(EventSeq(2)).expect("under way").delivery.clone();
        queue.put_back(failed.failed(Attempt { at: Moment(6_000_000), failure: Failure::Connection, code: 0 }, Moment(6_000_000)));
        assert!(queue.look_whether_slow(Moment(6_000_000)).is_empty());
        assert_eq!(queue.next(Moment(6_000_000)), Some(EventSeq(3)));
        assert!(queue.depart(EventSeq(2), Moment(6_000_000)).is_some());
        assert!(queue.look_whether_slow(Moment(8_000_000)).is_empty());
        assert_eq!(queue.next(Moment(8_000_000)), Some(EventSeq(3)));
    }

    #[test]
    fn what_is_parked_is_left_alone_again_when_its_recipient_opens() {
        let event = Arc::new(event("e", 1, Change::Created, "2026-03-16..", Content::Other));
        let mut queue = Queue::new(WINDOW);
        let lane = delivery(1, 1, &event).lane_by(&Joined::default());
        assert!(queue.park(lane).is_empty());
        assert!(queue.set_gate(Gate::Closed).is_empty());
        // Loaded while it is closed: to be withdrawn.
        queue.load(delivery(1, 1, &event), Kept::InJournal);
        queue.load(delivery(2, 2, &event), Kept::InRow);
        assert_eq!(queue.first_over(|_| true), Some(EventSeq(2)), "a parked one does not die of it");
        let rowless = queue.set_gate(Gate::Open);
        assert_eq!(rowless.iter().map(|delivery| delivery.key.seq.0).collect::<Vec<_>>(), [1]);
        assert!(queue.get(EventSeq(1)).is_none() && queue.get(EventSeq(2)).is_some());
        assert!(queue.is_parked(&lane));
    }
}
