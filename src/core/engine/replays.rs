//! Replays under way: selections being made, and the next part of each being
//! sent again, decided by the membership of that moment.
//!
//! A replay keeps the ids, keeps the order within lanes, and gives each delivery
//! its full retry schedule again. It never runs further ahead of a queue than
//! half a window, and rests while the queue is paused.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dispatch::{Loss, Verdict, had_ended, trace};
use super::moved::has_moved_on;
use super::{Engine, Fact, Output, Stage as Prevented, uncount};
use crate::core::ids::{DeliveryKey, Recipient};
use crate::core::outbox::{Delivery, End, Ended, State, Withdrawal};
use crate::core::records::{Admission, Archive, Change, Records};
use crate::core::replay::{
    Chunk, Claims, Cutter, LEFT, Order, Pace, REMEMBERED, REMEMBERED_SECONDS, Refused, Replay, ReplayId, Source, Stage, Tally,
};
use crate::core::routing::By;
use crate::core::time::Moment;
use crate::core::trace::{ByReplay, Step};

/// How many deliveries have their turn between two commits, of all replays
/// together.
const AT_ONCE: usize = 512;

/// How many of those belong to one recipient, as long as others have some too; and
/// where nobody else has: some ten milliseconds.
const OF_ONE: usize = 64;
const OF_THE_ONLY_ONE: usize = 256;

/// How many forgotten replays go at once: each takes its rows with it.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Every replay that is remembered. Rebuilt from the store at a restart, but for
/// what a pace has saved up.
#[derive(Debug, Default)]
pub(super) struct Replays {
    all: BTreeMap<ReplayId, Arc<Replay>>,
    claims: Claims,
    cutters: BTreeMap<ReplayId, Cutter>,
    paces: BTreeMap<ReplayId, Pace>,
    /// The chunks that are being worked through.
    chunks: BTreeMap<(ReplayId, u32), Arc<[DeliveryKey]>>,
    turn: usize,
}

/// What became of a request for a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It begins to select.
    New(ReplayId),
    /// The request had been made before, by this name.
    Known(Arc<Replay>),
    /// The name of the request was given to another one before.
    NameTaken,
}

/// What became of a delivery that was to be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Replayed {
    /// It waits to be sent again.
    Revived,
    /// Nobody is entitled to it there any more.
    Withdrawn,
    /// Somebody else is entitled to it instead, and is told.
    HandedOver,
    /// It is not as it was when it was selected: somebody else was faster.
    Changed,
}

/// What an order would come to if it were given now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many there are, by recipient and by why they would not be sent.
    pub tally: Tally,
    /// How many others would be told instead of them.
    pub told_instead: BTreeMap<Recipient, u64>,
    /// How many are left to other replays.
    pub already_claimed: u64,
}

/// What an operator wants of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To stop.
    Stop,
    /// To go on after a stop.
    Resume,
    /// To go on after its first ones.
    Go,
}

/// Whether there was anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Advanced {
    /// Something was staged: to be durable before it is attempted.
    Some,
    /// Nothing.
    Nothing,
}

impl Engine {
    /// Returns every replay that is remembered, in order.
    pub fn replays(&self) -> impl DoubleEndedIterator<Item = &Arc<Replay>> {
        self.replays.all.values()
    }

    /// Returns a replay.
    #[must_use]
    pub fn replay(&self, id: ReplayId) -> Option<&Arc<Replay>> {
        self.replays.all.get(&id)
    }

    /// Returns in whose hands a delivery is, if in those of any replay.
    #[must_use]
    pub fn claimed_by(&self, key: DeliveryKey) -> Option<ReplayId> {
        self.replays.claims.owner(key)
    }

    /// Rebuilds what replays hold. A selection that was cut short is forgotten:
    /// nothing of it had been sent, and whoever asked was not answered.
    pub(super) fn recover_replays<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        self.replays = Replays::default();
        for replay in records.replays()? {
            if replay.stage == Stage::Selecting {
                records.stage(Change::DropReplay(replay.id))?;
                continue;
            }
            if replay.stage.holds_claims() {
                self.claim_again(&replay, records)?;
            }
            self.replays.all.insert(replay.id, Arc::new(replay));
        }
        Ok(())
    }

    /// Claims whatever has not had its turn and is in nobody else's hands. What is
    /// another's is noted to be left to it: in every life of the process each
    /// delivery is claimed by the same one, in whichever order they do.
    fn claim_again<R: Records>(&mut self, replay: &Replay, records: &mut R) -> Result<(), R::Error> {
        for lot in &replay.lots {
            let Some((first, at)) = lot.next() else { continue };
            for chunk in first..lot.end() {
                let mut keys = records.selected(replay.id, chunk)?;
                let mut leaves = false;
                for key in keys.iter_mut().skip(if chunk == first { at } else { 0 }).filter(|key| key.seq != LEFT) {
                    if !self.replays.claims.claim(*key, replay.id) {
                        key.seq = LEFT;
                        leaves = true;
                    }
                }
                if leaves {
                    records.stage(Change::PutSelected { replay: replay.id, chunk, keys })?;
                }
            }
        }
        Ok(())
    }

    /// Says what rows would come to if an order for them were given now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn survey<R: Archive>(
        &self,
        order: &Order,
        rows: &[Delivery],
        records: &mut R,
        now: Moment,
        found: &mut Survey,
    ) -> Result<(), R::Error> {
        let others = self.not_over(order, now);
        for row in rows {
            if self.is_anothers(row, order.source, &others, records)? {
                found.already_claimed += 1;
                continue;
            }
            let (why, instead) = self.prospect(row, records, now)?;
            *found.tally.entry((row.key.recipient, why)).or_default() += 1;
            for recipient in instead {
                *found.told_instead.entry(recipient).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Evaluates the audience rule as for any attempt, of a record that is not gone.
    fn judge_again<R: Archive>(&self, delivery: &Delivery, records: &mut R, now: Moment) -> Result<Verdict, R::Error> {
        if let Some(lost) = record_gone(delivery, records)? {
            return Ok(Verdict::Withdraw { why: Withdrawal::RecordDeleted, lost, instead: By::default() });
        }
        self.judge(delivery, records, now)
    }

    /// Says why a delivery would not be sent if it were replayed now, nothing if it
    /// would be; and who would be told instead.
    fn prospect<R: Archive>(
        &self,
        delivery: &Delivery,
        records: &mut R,
        now: Moment,
    ) -> Result<(Option<Withdrawal>, Vec<Recipient>), R::Error> {
        Ok(match self.judge_again(delivery, records, now)? {
            Verdict::Send { .. } => (None, Vec::new()),
            Verdict::Withdraw { why, instead, .. } => (Some(why), self.told_instead(delivery, &instead, records)?),
        })
    }

    /// Returns the replays whose own is still what they have sent when another of
    /// this order begins.
    fn not_over(&self, order: &Order, begun: Moment) -> Vec<Arc<Replay>> {
        self.replays.all.values().filter(|replay| replay.keeps_from(order, begun)).cloned().collect()
    }

    /// Returns whether a delivery is another replay's: it is in its hands, or has
    /// been sent again since that one began, which is not over and asks for it too.
    fn is_anothers<R: Archive>(&self, row: &Delivery, source: Source, others: &[Arc<Replay>], records: &mut R) -> Result<bool, R::Error> {
        if self.replays.claims.owner(row.key).is_some() {
            return Ok(true);
        }
        let mut others = others.iter().filter(|other| other.asks_for(row, &self.rules)).peekable();
        if others.peek().is_none() {
            return Ok(false);
        }
        // As it is now: it was looked up beside the writer, a moment ago.
        let sent_again = match (records.delivery(row.key)?, source) {
            (Some(Delivery { state: State::Dead { at, .. }, replays, .. }), Source::Dead) => (replays > 0).then_some(at),
            (Some(row), _) => return Ok(row.replays > 0),
            (None, Source::Dead) => None,
            (None, Source::Delivered) => records.ended(row.key)?.filter(|ended| ended.replays > 0).map(|ended| ended.at),
        };
        Ok(sent_again.is_some_and(|at| others.any(|other| other.at <= at)))
    }

    /// Begins to select, unless this very request has been made before.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn begin_replay<R: Records>(&mut self, order: Order, records: &mut R, now: Moment) -> Result<Begun, R::Error> {
        if order.request.is_some() {
            let is_it = |replay: &&Arc<Replay>| replay.order.request == order.request && replay.order.by == order.by;
            if let Some(known) = self.replays.all.values().find(is_it) {
                return Ok(if known.order == order { Begun::Known(Arc::clone(known)) } else { Begun::NameTaken });
            }
        }
        // The newest one is never forgotten, so that no number is given twice.
        let id = ReplayId(self.replays.all.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        let replay = Arc::new(Replay::new(id, order, now));
        records.stage(Change::PutReplay(Arc::clone(&replay)))?;
        self.replays.all.insert(id, replay);
        self.replays.cutters.insert(id, Cutter::default());
        Ok(Begun::New(id))
    }

    /// Adds deliveries to what a replay selects: those that no other has. They
    /// come in order of recipient and intake; `under_way` more are being sent again
    /// by others. Returns how many it has by now.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn select<R: Archive>(
        &mut self,
        id: ReplayId,
        rows: &[Delivery],
        under_way: u64,
        records: &mut R,
        now: Moment,
    ) -> Result<u64, R::Error> {
        let Some(replay) = self.replays.all.get(&id).filter(|replay| replay.stage == Stage::Selecting) else { return Ok(0) };
        let mut replay = Replay::clone(replay);
        replay.already_claimed += under_way;
        // Until it is frozen, that is when it began.
        let others = self.not_over(&replay.order, replay.at);
        for row in rows {
            if self.is_anothers(row, replay.order.source, &others, records)? {
                replay.already_claimed += 1;
                continue;
            }
            // Not by the clock, which may have been set back since.
            replay.as_of = replay.as_of.max(ended_at(row).unwrap_or(replay.as_of));
            let (why, _) = self.prospect(row, records, now)?;
            *replay.tally.entry((row.key.recipient, why)).or_default() += 1;
            if self.replays.claims.claim(row.key, id)
                && let Some(chunk) = self.replays.cutters.entry(id).or_default().push(row.key, &mut replay.lots)
            {
                records.stage(selected(id, chunk))?;
            }
        }
        let selected = replay.tally.values().sum();
        self.replays.all.insert(id, Arc::new(replay));
        Ok(selected)
    }

    /// Ends a selection: from here on it is frozen, and is sent.
    ///
    /// # Errors
    /// When the changes cannot be staged.
    pub fn freeze<R: Records>(
        &mut self,
        id: ReplayId,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Option<Arc<Replay>>, R::Error> {
        let Some(replay) = self.replays.all.get(&id).filter(|replay| replay.stage == Stage::Selecting) else { return Ok(None) };
        let mut replay = Replay::clone(replay);
        if let Some(chunk) = self.replays.cutters.remove(&id).and_then(|mut cutter| cutter.cut(&mut replay.lots)) {
            records.stage(selected(id, chunk))?;
        }
        // What changes from here on is not what was selected.
        replay.at = now;
        replay.as_of = replay.as_of.max(now);
        replay.stage = replay.going_on(now);
        self.put_replay(replay, records, out).map(Some)
    }

    /// Gives a selection up before it is frozen.
    ///
    /// # Errors
    /// When the change cannot be staged.
    pub fn abandon<R: Records>(&mut self, id: ReplayId, records: &mut R) -> Result<(), R::Error> {
        if self.replays.all.get(&id).is_some_and(|replay| replay.stage == Stage::Selecting) {
            self.forget(id, records)?;
        }
        Ok(())
    }

    fn forget<R: Records>(&mut self, id: ReplayId, records: &mut R) -> Result<(), R::Error> {
        self.replays.all.remove(&id);
        self.replays.cutters.remove(&id);
        self.replays.claims.release_all(id);
        records.stage(Change::DropReplay(id))
    }

    /// Does what an operator wants of a replay; `None` when there is no such one.
    /// What a stopped replay has not reached is free for another; when it goes
    /// on, it takes back what is still free.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn wish<R: Records>(
        &mut self,
        id: ReplayId,
        wish: Wish,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Option<Result<Arc<Replay>, Refused>>, R::Error> {
        let Some(replay) = self.replays.all.get(&id).map(|replay| Replay::clone(replay)) else { return Ok(None) };
        let before = replay.stage;
        let replay = match wished(replay, wish, now) {
            Ok(replay) => replay,
            Err(refused) => return Ok(Some(Err(refused))),
        };
        // The rate begins anew.
        self.replays.paces.remove(&id);
        if !before.holds_claims() && replay.stage.holds_claims() {
            self.claim_again(&replay, records)?;
        }
        self.put_replay(replay, records, out).map(|replay| Some(Ok(replay)))
    }

    /// Says whether [`Self::wish`] would do it, and does nothing: the replay as it
    /// is, or why not; `None` when there is no such one.
    #[must_use]
    pub fn would_wish(&self, id: ReplayId, wish: Wish, now: Moment) -> Option<Result<Arc<Replay>, Refused>> {
        let replay = self.replays.all.get(&id)?;
        Some(wished(Replay::clone(replay), wish, now).map(|_| Arc::clone(replay)))
    }

    /// Stores a replay as it is now, and gives back what it does not hold any more.
    fn put_replay<R: Records>(&mut self, replay: Replay, records: &mut R, out: &mut Output) -> Result<Arc<Replay>, R::Error> {
        let id = replay.id;
        let before = self.replays.all.get(&id).map(|known| known.stage);
        if before != Some(replay.stage) {
            out.facts.push(Fact::Replay(id, replay.stage));
        }
        if !replay.stage.holds_claims() {
            self.replays.claims.release_all(id);
            self.replays.paces.remove(&id);
            self.replays.chunks.retain(|(of, _), _| *of != id);
        }
        let replay = Arc::new(replay);
        records.stage(Change::PutReplay(Arc::clone(&replay)))?;
        self.replays.all.insert(id, Arc::clone(&replay));
        Ok(replay)
    }

    /// Forgets replays that ended long ago.
    pub(super) fn forget_replays<R: Records>(&mut self, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let newest = self.replays.all.last_key_value().map(|(id, _)| *id);
        let is_old = |at: Moment| at.plus_seconds(REMEMBERED_SECONDS) <= now;
        let mut forgotten = Vec::new();
        // However many are done since, one that was stopped can go on.
        for cut_short in [false, true] {
            let of_these = self.replays.all.values().filter(|replay| replay.is_cut_short() == cut_short && Some(replay.id) != newest);
            let ended: Vec<(ReplayId, Moment)> = of_these.filter_map(|replay| Some((replay.id, replay.ended_at()?))).collect();
            let too_many = ended.len().saturating_sub(REMEMBERED);
            let old = ended.iter().enumerate().filter(|(place, (_, at))| *place < too_many || is_old(*at));
            forgotten.extend(old.map(|(_, (id, _))| *id));
        }
        for id in forgotten.into_iter().take(FORGOTTEN_AT_ONCE) {
            self.forget(id, records)?;
        }
        Ok(())
    }

    /// Sends the next part of every replay under way, as far as rates, queues and
    /// canaries let it. To be called before a group is committed; if anything was
    /// staged, the commit is to be durable.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn advance_replays<R: Archive>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<Advanced, R::Error> {
        if !self.may_send() {
            return Ok(Advanced::Nothing);
        }
        let mut running: Vec<ReplayId> =
            self.replays.all.values().filter(|replay| replay.stage == Stage::Running).map(|replay| replay.id).collect();
        if running.is_empty() {
            return Ok(Advanced::Nothing);
        }
        self.replays.turn = self.replays.turn.wrapping_add(1);
        let first = self.replays.turn % running.len();
        running.rotate_left(first);
        let mut left = AT_ONCE;
        for id in running {
            left -= self.advance(id, left, records, now, out)?.min(left);
        }
        Ok(if left < AT_ONCE { Advanced::Some } else { Advanced::Nothing })
    }

    /// Gives at most `most` deliveries of a replay their turn; returns how many.
    fn advance<R: Archive>(
        &mut self,
        id: ReplayId,
        most: usize,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<usize, R::Error> {
        let Some(mut replay) = self.replays.all.get(&id).map(|replay| Replay::clone(replay)) else { return Ok(0) };
        let paced = replay.order.rate_per_second.map(|rate| self.replays.paces.entry(id).or_insert_with(|| Pace::new(rate, now)));
        let allowed = paced.map_or(u64::MAX, |pace| if pace.due() <= now { pace.allowance(now) } else { 0 });
        // What is sent to others instead is sent all the same.
        let (mut turns, mut sent) = (0, 0);
        let is_only_one = replay.lots.iter().filter(|lot| lot.next().is_some()).count() == 1;
        let of_one = if is_only_one { OF_THE_ONLY_ONE } else { OF_ONE };
        for offset in 0..replay.lots.len() {
            let at = self.replays.turn.wrapping_add(offset) % replay.lots.len();
            let recipient = replay.lots[at].recipient;
            let mut of_this = 0;
            while let Some((chunk, place)) = replay.lots[at].next() {
                let may = allowed.min(replay.canaries_left().map_or(u64::MAX, |left| left + sent));
                if turns == most || of_this == of_one || sent >= may || self.lanes.queue_mut(recipient).replay_room() == 0 {
                    break;
                }
                let keys = self.chunk(id, chunk, records)?;
                let Some(key) = keys.get(place).copied() else {
                    // A chunk that is not there has nothing to be sent.
                    replay.lots[at].done = replay.lots[at].keys;
                    turns += 1;
                    break;
                };
                turns += 1;
                of_this += 1;
                replay.lots[at].done += 1;
                let replayed = match self.replays.claims.owner(key) {
                    Some(owner) if owner == id => self.send_again(key, &replay, records, now, out)?,
                    // It was free while this replay was stopped.
                    Some(_) | None => Replayed::Changed,
                };
                match replayed {
                    Replayed::Revived => replay.progress.sent += 1,
                    Replayed::Withdrawn | Replayed::HandedOver => replay.progress.withdrawn += 1,
                    Replayed::Changed => replay.progress.skipped += 1,
                }
                if matches!(replayed, Replayed::Revived | Replayed::HandedOver) {
                    sent += 1;
                    if replay.canaries_left().is_some() {
                        replay.canaries.push(key);
                    }
                }
                if self.replays.claims.owner(key) == Some(id) {
                    self.replays.claims.release(key);
                }
                if replay.lots[at].next().is_none_or(|(next, _)| next != chunk) {
                    self.replays.chunks.remove(&(id, chunk));
                    records.stage(Change::DropSelected { replay: id, chunk })?;
                }
            }
        }
        if let Some(pace) = self.replays.paces.get_mut(&id) {
            pace.spend(sent);
        }
        if turns > 0 {
            replay.stage = replay.going_on(now);
            self.put_replay(replay, records, out)?;
        }
        Ok(turns)
    }

    fn chunk<R: Archive>(&mut self, id: ReplayId, chunk: u32, records: &mut R) -> Result<Arc<[DeliveryKey]>, R::Error> {
        if let Some(keys) = self.replays.chunks.get(&(id, chunk)) {
            return Ok(Arc::clone(keys));
        }
        let keys: Arc<[DeliveryKey]> = records.selected(id, chunk)?.into();
        self.replays.chunks.insert((id, chunk), Arc::clone(&keys));
        Ok(keys)
    }

    /// Returns the next instant at which [`Engine::advance_replays`] may have
    /// something to do of its own accord.
    #[must_use]
    pub fn replays_wake(&self) -> Option<Moment> {
        const NOW: Moment = Moment(i64::MIN);
        if !self.may_send() {
            return None;
        }
        let next = |replay: &Replay, recipient: Recipient| match self.lanes.queue(recipient) {
            // Looked at again once the rest is over.
            Some(queue) if queue.replay_room() == 0 => queue.resting().and_then(|rest| rest.until),
            Some(_) | None => Some(self.replays.paces.get(&replay.id).map_or(NOW, Pace::due)),
        };
        let running = self.replays.all.values().filter(|replay| replay.stage == Stage::Running);
        let lots = running.flat_map(|replay| replay.lots.iter().filter(|lot| lot.next().is_some()).map(move |lot| (replay, lot)));
        lots.filter_map(|(replay, lot)| next(replay, lot.recipient)).min()
    }

    /// Has a delivery sent again if it is as it was when it was selected, and its
    /// recipient is entitled now.
    fn send_again<R: Archive>(
        &mut self,
        key: DeliveryKey,
        replay: &Replay,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Replayed, R::Error> {
        match replay.order.source {
            Source::Dead => self.revive_dead(key, replay, records, now, out),
            Source::Delivered => self.revive_delivered(key, replay, records, now, out),
        }
    }

    fn revive_dead<R: Archive>(
        &mut self,
        key: DeliveryKey,
        replay: &Replay,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Replayed, R::Error> {
        let Some(dead) = records.delivery(key)? else { return Ok(Replayed::Changed) };
        // One that has died since is not the one that was selected: it has been
        // sent again meanwhile.
        if !matches!(dead.state, State::Dead { at, .. } if at <= replay.as_of) {
            return Ok(Replayed::Changed);
        }
        let state = dead.state.clone();
        let died = match state {
            State::Dead { at, why } => Some((at, why)),
            State::Pending | State::Retrying { .. } => None,
        };
        let step = Step::Replayed { died, attempts: dead.attempts, failures: dead.failures.clone(), by: Some(ByReplay::of(replay)) };
        let revived = dead.replayed(now);
        if let Verdict::Withdraw { why, lost, instead } = self.judge_again(&revived, records, now)? {
            let dead = Delivery { state, ..revived };
            trace(&dead, Step::ReplayedInVain { why, died, by: Some(ByReplay::of(replay)) }, now, records)?;
            let told = self.withdraw_for(&dead, why, lost, instead, records, now, out)?;
            return Ok(if told == 0 { Replayed::Withdrawn } else { Replayed::HandedOver });
        }
        uncount(self.lanes.queue_mut(key.recipient).counts_mut(), &state);
        trace(&revived, step, now, records)?;
        self.add(revived, false, records)?;
        Ok(Replayed::Revived)
    }

    /// One that was delivered stays delivered unless it is sent again: nothing is
    /// owed to whoever is entitled now, and nothing is told of a record that is
    /// gone (R 5.1).
    fn revive_delivered<R: Archive>(
        &mut self,
        key: DeliveryKey,
        replay: &Replay,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Replayed, R::Error> {
        if self.lanes.loaded(key).is_some() || records.delivery(key)?.is_some() {
            return Ok(Replayed::Changed);
        }
        let Some(ended) = records.ended(key)?.filter(|ended| ended.end == End::Delivered && ended.at <= replay.as_of) else {
            return Ok(Replayed::Changed);
        };
        // Forgotten by now, or with its citizen.
        let Some(admission) = records.admission(key.seq)? else { return Ok(Replayed::Withdrawn) };
        let Some(mut revived) = Delivery::delivered_again(&admission, key.recipient, &ended, now) else { return Ok(Replayed::Changed) };
        match self.judge_again(&revived, records, now)? {
            Verdict::Send { permit, .. } => revived.because = permit.because,
            Verdict::Withdraw { why, lost, .. } => {
                if lost.citizen {
                    out.facts.push(Fact::WrongRecipientPrevented(Prevented::Replay));
                }
                trace(&revived, Step::ReplayedInVain { why, died: None, by: Some(ByReplay::of(replay)) }, now, records)?;
                lost.trace(&revived, now, records)?;
                return Ok(Replayed::Withdrawn);
            }
        }
        if let Some(former) = ended.delivered_before {
            // Only the latest copy is remembered besides.
            let former =
                Ended { end: End::Delivered, attempts: 1, at: former.at, failures: Vec::new(), replays: 0, delivered_before: None };
            had_ended(&revived, former, records)?;
        }
        let by = Some(ByReplay::of(replay));
        trace(&revived, Step::Replayed { died: None, attempts: ended.attempts, failures: ended.failures, by }, now, records)?;
        self.add(revived, false, records)?;
        Ok(Replayed::Revived)
    }
}

/// Returns how the record that a delivery is about is gone: it has been deleted or
/// recalled since (R 5.1), or turned out to be somebody else's. `None` if it is there.
pub(super) fn record_gone<R: Archive>(delivery: &Delivery, records: &mut R) -> Result<Option<Loss>, R::Error> {
    let deletions = records.deletions_of(delivery.citizen, &delivery.event.external_id)?;
    let takes_back = |deletion: &Arc<Admission>| deletion.seq > delivery.key.seq && deletion.event.takes_back(&delivery.event);
    let deleted_by = deletions.into_iter().find(takes_back);
    let is_gone = deleted_by.is_some() || has_moved_on(delivery, records)?;
    Ok(is_gone.then(|| Loss { deleted_by, ..Loss::default() }))
}

/// Returns a replay as somebody wants it.
fn wished(replay: Replay, wish: Wish, now: Moment) -> Result<Replay, Refused> {
    match wish {
        Wish::Stop => replay.stopped(now),
        Wish::Resume => replay.resumed(now),
        Wish::Go => replay.let_go(now),
    }
}

/// Returns when a delivery that is selected ended.
fn ended_at(delivery: &Delivery) -> Option<Moment> {
    match delivery.state {
        State::Dead { at, .. } => Some(at),
        State::Pending | State::Retrying { .. } => delivery.delivered_before.map(|earlier| earlier.at),
    }
}

fn selected(replay: ReplayId, chunk: Chunk) -> Change {
    Change::PutSelected { replay, chunk: chunk.number, keys: chunk.keys }
}
