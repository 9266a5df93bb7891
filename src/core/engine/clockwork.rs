//! The retention clocks: events move them at intake, and the passing of time
//! makes deletion orders of them, within a rate.
//!
//! An order is durable before it is published. Until RabbitMQ has confirmed it,
//! it is published again with the same id; afterwards once a day, until the
//! record's GdprSletning comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::moved::Bearing;
use super::{Engine, Fact, Output};
use crate::core::citizen::{Citizen, Folded};
use crate::core::event::{Content, Details, Event};
use crate::core::ids::{CitizenId, EventSeq, ExternalId, OrderId, Personnummer};
use crate::core::records::{Change, Records};
use crate::core::retention::{Clocks, Order, Standing, Unexpected, View};
use crate::core::retry::Outcome;
use crate::core::schedule::Schedule;
use crate::core::time::{Day, Moment};

/// How many orders one call makes at the most, and how many citizens it looks
/// at: ordinary traffic waits no longer than that takes.
const SLICE: usize = 128;
/// How many orders may be under way at once.
const UNDER_WAY: usize = 1024;
/// When a pass over what is due has left something over, the next one begins
/// after so many milliseconds.
const AGAIN_MS: u64 = 250;
/// Otherwise with the next day, or when an event makes something due; and after
/// so many seconds in any case, should a clock have been set.
const REST_SECONDS: i64 = 3600;
/// How many citizens may be known at once to be leaving.
const LEAVING: usize = 65_536;
/// How long to wait when the rate does not allow another order yet.
const BREATH_MS: u64 = 20;
/// Beside a backlog orders go out at this part of their rate: what they take is
/// taken from ordinary events then, which somebody waits for.
const BESIDE_A_BACKLOG: u32 = 10;

/// A deletion order to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingOrder {
    /// Comes back with the outcome.
    pub token: u64,
    /// The id of the message.
    pub id: OrderId,
    /// The data area.
    pub area: Arc<str>,
    /// EntitetNavn of the record.
    pub entity: Arc<str>,
    /// EksternIdentifier of the record.
    pub external_id: ExternalId,
    /// The citizen's current number.
    pub personnummer: Personnummer,
    /// The day on which the record fell due.
    pub due: Day,
    /// When it was decided.
    pub at: Moment,
}

/// How ordinary events get on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Traffic {
    /// They are taken in as they come.
    #[default]
    Flows,
    /// More of them wait than are taken in at once: deletion orders go out at a part
    /// of their rate.
    PilesUp,
    /// There is no room on the disk for them: nothing is ordered and nobody forgotten,
    /// since that would take what is left of it.
    StandsStill,
}

/// What of the clockwork is in memory only; all of it is found again.
#[derive(Debug, Default)]
pub(super) struct Clockwork {
    under_way: BTreeMap<u64, UnderWay>,
    flying: BTreeSet<(CitizenId, Arc<str>, ExternalId)>,
    last_token: u64,
    /// How far the present pass over what is due has come.
    after: Option<(Day, CitizenId)>,
    /// Whether there is something to do that the present pass will not meet.
    again: bool,
    /// Not before.
    look_at: Option<Moment>,
    /// Publishing fails: not before, and how often it has in a row.
    paused_until: Option<Moment>,
    failures: u32,
    /// Orders that the rate allows now, and since when.
    allowed: f64,
    allowed_at: Option<Moment>,
    pub(super) traffic: Traffic,
    reindexing: Option<Reindexing>,
    pub(super) leaving: Leaving,
}

/// Citizens of whom there is no record any more, and no registration: forgotten
/// once nothing else is a reason to know them.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    pub citizens: BTreeSet<CitizenId>,
    /// How far the present round has come.
    pub after: Option<CitizenId>,
    /// Whether it has been told that nobody can be erased.
    pub is_stuck: bool,
    /// Whether somebody did not fit in.
    overflowed: bool,
}

impl Leaving {
    /// Whoever does not fit in is found again by a later pass over what is due.
    fn note(&mut self, citizen: CitizenId) {
        if self.citizens.len() < LEAVING {
            self.citizens.insert(citizen);
        } else {
            self.overflowed = true;
        }
    }

    /// Returns whether those who did not fit in are to be looked for now, and takes
    /// it as done.
    pub fn has_room_again(&mut self) -> bool {
        self.citizens.len() <= LEAVING / 2 && std::mem::take(&mut self.overflowed)
    }
}

#[derive(Debug)]
struct UnderWay {
    citizen: CitizenId,
    area: Arc<str>,
    entity: Arc<str>,
    external_id: ExternalId,
    due: Day,
}

/// The days of all clocks are computed anew, by another schedule.
#[derive(Debug)]
struct Reindexing {
    after: Option<CitizenId>,
    fingerprint: u64,
}

impl Clockwork {
    pub(super) fn look_now(&mut self) {
        self.again |= self.after.is_some();
        self.look_at = None;
    }

    /// Ends a pass over what is due.
    fn rest(&mut self, now: Moment) {
        self.after = None;
        let later = Day::in_copenhagen(now).next().begins().min(now.plus_seconds(REST_SECONDS));
        self.look_at = Some(if std::mem::take(&mut self.again) { now.plus_millis(AGAIN_MS) } else { later });
    }

    /// Gives back what was not used of the rate since the last time.
    fn breathe(&mut self, per_second: u32, now: Moment) {
        let per_second = match self.traffic {
            Traffic::Flows => per_second,
            Traffic::PilesUp | Traffic::StandsStill => per_second / BESIDE_A_BACKLOG,
        };
        let most = f64::from(per_second).max(1.0);
        let since = self.allowed_at.map_or(1.0, |since| now.seconds_since(since));
        self.allowed = (self.allowed + since * most).min(most);
        self.allowed_at = Some(now);
    }

    fn not_before(&self) -> Option<Moment> {
        self.look_at.max(self.paused_until)
    }

    fn budget(&self) -> usize {
        // Never negative, and at most the rate of a second.
        (self.allowed as usize).min(SLICE).min(UNDER_WAY.saturating_sub(self.under_way.len()))
    }
}

impl Engine {
    /// Says how ordinary events get on: what the clocks bring about stands back
    /// behind them.
    pub fn set_traffic(&mut self, traffic: Traffic) {
        self.clockwork.traffic = traffic;
    }

    /// Finds out whether the clocks were indexed by the rules in force.
    pub(super) fn recover_clocks<R: Records>(&mut self, records: &mut R) -> Result<(), R::Error> {
        let fingerprint = self.rules.schedule().fingerprint();
        if records.indexed_by()? != Some(fingerprint) {
            self.clockwork.reindexing = Some(Reindexing { after: None, fingerprint });
        }
        Ok(())
    }

    /// Notes that other rules are in force: what they decide about records
    /// already known is computed anew, in slices.
    pub(super) fn reindex_unless(&mut self, former: &Schedule) {
        let fingerprint = self.rules.schedule().fingerprint();
        if former.fingerprint() != fingerprint {
            self.clockwork.reindexing = Some(Reindexing { after: None, fingerprint });
        }
    }

    /// Moves the citizen's clocks as an event says that came under one number.
    #[expect(clippy::too_many_arguments, reason = "an event taken apart, and the three that every step has")]
    pub(super) fn keep_time<R: Records>(
        &mut self,
        event: &Event,
        details: Option<Box<Details>>,
        bearing: Bearing,
        citizen: &Citizen,
        under: CitizenId,
        folded: Folded,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let details = match (bearing, details) {
            (Bearing::MovedOnTo(owner), Some(details)) => {
                self.note_older(owner, event, *details, records, now)?;
                if records.clocks(citizen.id)?.is_none() {
                    // Perhaps all that is ever heard of them, and it is not theirs.
                    let clocks = Clocks { emptied: true, ..Clocks::new(citizen.id) };
                    self.put_clocks(clocks, None, citizen, records, now)?;
                }
                None
            }
            (Bearing::MovedOnTo(_) | Bearing::News | Bearing::MovesFrom(_) | Bearing::RecordGone, details) => details,
        };
        let given = match bearing {
            Bearing::MovesFrom(owner) => self.take_from(owner, event, under, records, now, out)?,
            Bearing::News | Bearing::RecordGone | Bearing::MovedOnTo(_) => None,
        };
        let tells = details.is_some() || matches!(event.content, Content::Deletion { .. } | Content::HandedOver { .. });
        if !tells && folded == Folded::Unchanged {
            return Ok(());
        }
        let known = records.clocks(citizen.id)?;
        if !tells && known.is_none() {
            return Ok(());
        }
        let mut clocks = known.as_deref().cloned().unwrap_or_else(|| Clocks::new(citizen.id));
        let first_at = given.as_ref().map(|given| given.first_at);
        given.into_iter().for_each(|given| clocks.take_over(given, under));
        match (&event.content, details) {
            (Content::Deletion { area, entity, after_death }, _) => {
                let view = View { clocks: &clocks, citizen, schedule: self.rules.schedule() };
                let told = view.told(entity, &event.external_id, (area, *after_death), Day::in_copenhagen(now));
                // Taken in next.
                let place = (EventSeq(self.last_seq.0 + 1), under);
                if let Some(unexpected) = Unexpected::of(event, area, entity, &told, place, now) {
                    records.stage(Change::NoteUnexpected(Arc::new(unexpected)))?;
                    out.facts.push(Fact::UnexpectedDeletion(area.clone(), told));
                }
                clocks.delete(event, under, entity, now);
            }
            // Somebody else's by now; perhaps all that is ever heard of this one.
            (Content::HandedOver { .. }, _) if matches!(bearing, Bearing::MovedOnTo(_)) => clocks.emptied = true,
            (Content::HandedOver { area }, _) => clocks.hand_over(event, under, area.as_deref()),
            (_, Some(details)) => clocks.record(event, under, *details, now),
            // The citizen has changed, and with that perhaps what is due.
            (_, None) => {}
        }
        if let Some(first_at) = first_at {
            clocks.was_registered(event.record_entity(), &event.external_id, first_at);
        }
        self.put_clocks(clocks, known.as_deref(), citizen, records, now)?;
        // Perhaps there is something to do at once; whether to leave is found out anew.
        self.clockwork.leaving.citizens.remove(&citizen.id);
        self.clockwork.look_now();
        Ok(())
    }

    /// Moves the clocks of a citizen who has lost a registration to somebody else.
    pub(super) fn keep_time_of<R: Records>(&mut self, citizen: &Citizen, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let Some(known) = records.clocks(citizen.id)? else { return Ok(()) };
        self.put_clocks(Clocks::clone(&known), Some(&known), citizen, records, now)?;
        self.clockwork.leaving.citizens.remove(&citizen.id);
        self.clockwork.look_now();
        Ok(())
    }

    /// Computes the clocks of a person anew who has been joined with somebody, or
    /// parted.
    pub(super) fn keep_time_of_person<R: Records>(
        &mut self,
        citizen: &Citizen,
        is_parted: bool,
        records: &mut R,
        now: Moment,
    ) -> Result<(), R::Error> {
        for id in citizen.ids() {
            self.clockwork.leaving.citizens.remove(&id);
        }
        let Some(known) = records.clocks(citizen.id)? else { return Ok(()) };
        let mut clocks = Clocks::clone(&known);
        if is_parted {
            // Whether all of them had lost their last record says nothing of each.
            (clocks.emptied, clocks.has_retained) = (!clocks.tombstones.is_empty(), false);
        }
        clocks.settle(citizen, self.rules.schedule(), Day::in_copenhagen(now));
        self.clockwork.look_now();
        // Though nothing of it may be new: the rows of all numbers are to say so.
        records.stage(if clocks.is_empty() { Change::DropClocks(citizen.id) } else { Change::PutClocks(Arc::new(clocks)) })
    }

    /// Stages what is kept of a citizen's records, if it has changed.
    pub(super) fn put_clocks<R: Records>(
        &mut self,
        mut clocks: Clocks,
        known: Option<&Clocks>,
        citizen: &Citizen,
        records: &mut R,
        now: Moment,
    ) -> Result<(), R::Error> {
        let today = Day::in_copenhagen(now);
        clocks.settle(citizen, self.rules.schedule(), today);
        if clocks.is_empty() {
            return if known.is_some() { records.stage(Change::DropClocks(clocks.citizen)) } else { Ok(()) };
        }
        if known == Some(&clocks) {
            return Ok(());
        }
        records.stage(Change::PutClocks(Arc::new(clocks)))
    }

    /// Makes deletion orders of what is due, as many as the rate allows, and
    /// brings the index of what falls due up to date. Everything staged before
    /// must have been committed; the caller commits and flushes what this
    /// stages, and only then publishes `out.orders`.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn clockwork<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        if self.clockwork.traffic == Traffic::StandsStill {
            return Ok(());
        }
        let was_indexed = self.clockwork.reindexing.is_none();
        self.reindex(records, now)?;
        if !was_indexed && self.clockwork.reindexing.is_none() {
            // What the last slice has staged can be found once it is committed; a pass
            // now would miss it, and the next one comes an hour later.
            return Ok(());
        }
        if !self.may_send() || self.clockwork.not_before().is_some_and(|at| at > now) {
            return Ok(());
        }
        let pace = self.rules.schedule().pace();
        self.clockwork.breathe(pace.per_second, now);
        let mut budget = self.clockwork.budget();
        if budget == 0 {
            return Ok(());
        }
        let today = Day::in_copenhagen(now);
        let found = records.clocks_next(today, self.clockwork.after, SLICE)?;
        let is_last = found.len() < SLICE;
        for (day, id) in found {
            if budget == 0 {
                // Somebody's orders did not fit in: from here on the next time.
                return Ok(());
            }
            let ordered = self.order_for(id, budget, records, now, out)?;
            budget -= ordered;
            self.clockwork.allowed -= ordered as f64;
            self.clockwork.after = Some((day, id));
        }
        if is_last {
            self.clockwork.rest(now);
        }
        Ok(())
    }

    /// Orders what is due of one citizen's; returns how many orders that made.
    fn order_for<R: Records>(
        &mut self,
        id: CitizenId,
        most: usize,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<usize, R::Error> {
        if self.clockwork.leaving.citizens.contains(&id) {
            // Nothing to order of theirs, and looked after already.
            return Ok(0);
        }
        let Some(known) = records.clocks(id)? else { return Ok(0) };
        let Some(citizen) = records.citizen(id)? else {
            // Erased meanwhile: nobody may be told anything about it.
            records.stage(Change::DropClocks(known.citizen))?;
            return Ok(0);
        };
        let today = Day::in_copenhagen(now);
        if known.emptied && citizen.unneeded_from().is_some_and(|from| from <= today) {
            self.clockwork.leaving.note(citizen.id);
        }
        let rules = Arc::clone(&self.rules);
        let mut clocks = Clocks::clone(&known);
        let mut made = 0;
        for item in (View { clocks: &known, citizen: &citizen, schedule: rules.schedule() }).due(today) {
            if made == most {
                // What is left over is found in the next pass.
                self.clockwork.again = true;
                break;
            }
            let order = match item.standing {
                Standing::Due => Order { due: item.due, first: today, asked: today, confirmed: false },
                Standing::Ordered(order) if order.confirmed && order.asked < today => Order { asked: today, confirmed: false, ..order },
                // Not known to have arrived, and not under way: once more.
                Standing::Ordered(order) if !order.confirmed => Order { asked: today, ..order },
                Standing::Ordered(_) | Standing::Blocked(_) => continue,
            };
            // Also one that was ordered under another number of the person.
            let is_flying = |id| self.clockwork.flying.contains(&(id, Arc::clone(&item.clock.entity), item.clock.external_id.clone()));
            if citizen.ids().any(is_flying) {
                continue;
            }
            self.clockwork.flying.insert((item.clock.under, Arc::clone(&item.clock.entity), item.clock.external_id.clone()));
            made += 1;
            clocks.records[item.at].order = Some(order);
            self.clockwork.last_token += 1;
            let token = self.clockwork.last_token;
            let under_way = UnderWay {
                citizen: item.clock.under,
                area: Arc::clone(&item.rule.id),
                entity: Arc::clone(&item.clock.entity),
                external_id: item.clock.external_id.clone(),
                due: order.due,
            };
            out.orders.push(OutgoingOrder {
                token,
                id: OrderId::of(&under_way.entity, &under_way.external_id, order.due, under_way.citizen),
                area: Arc::clone(&under_way.area),
                entity: Arc::clone(&under_way.entity),
                external_id: under_way.external_id.clone(),
                personnummer: citizen.personnummer,
                due: order.due,
                at: now,
            });
            self.clockwork.under_way.insert(token, under_way);
        }
        self.put_clocks(clocks, Some(&known), &citizen, records, now)?;
        Ok(made)
    }

    /// Takes in what became of the publishing of an order. One that is not under
    /// way is of a former life of the process, and ignored.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn settle_order<R: Records>(
        &mut self,
        token: u64,
        outcome: Outcome,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let Some(order) = self.clockwork.under_way.remove(&token) else { return Ok(()) };
        self.clockwork.flying.remove(&(order.citizen, Arc::clone(&order.entity), order.external_id.clone()));
        // What failed together counts once.
        if matches!(outcome, Outcome::Failed { .. }) && self.clockwork.paused_until.is_none_or(|until| until <= now) {
            self.clockwork.failures = self.clockwork.failures.saturating_add(1);
            self.clockwork.paused_until = Some(now.plus_millis(self.curve.probe_ms(self.clockwork.failures)));
        }
        if outcome != Outcome::Confirmed {
            // It is due still, or not any more.
            (self.clockwork.after, self.clockwork.look_at) = (None, None);
            return Ok(());
        }
        (self.clockwork.failures, self.clockwork.paused_until) = (0, None);
        let Some(known) = records.clocks(order.citizen)? else { return Ok(()) };
        let Some(citizen) = records.citizen(order.citizen)? else { return Ok(()) };
        out.facts.push(Fact::DeletionOrdered(Arc::clone(&order.area)));
        let mut clocks = Clocks::clone(&known);
        let of_record = clocks.records.iter_mut().find(|clock| clock.external_id == order.external_id && clock.entity == order.entity);
        // Answered, or not due any more, before the confirm came.
        let standing = of_record.filter(|clock| clock.order.is_some_and(|standing| standing.due == order.due));
        let Some(standing) = standing.and_then(|clock| clock.order.as_mut()) else { return Ok(()) };
        standing.confirmed = true;
        self.put_clocks(clocks, Some(&known), &citizen, records, now)
    }

    /// Returns the next instant at which [`Engine::clockwork`] may have something
    /// to do of its own accord.
    #[must_use]
    pub fn clockwork_wake(&self) -> Option<Moment> {
        if self.clockwork.traffic == Traffic::StandsStill {
            return None;
        }
        if self.clockwork.reindexing.is_some() {
            return Some(Moment(i64::MIN));
        }
        if !self.may_send() || self.clockwork.under_way.len() >= UNDER_WAY {
            return None;
        }
        let breath = if self.clockwork.allowed < 1.0 { self.clockwork.allowed_at.map(|at| at.plus_millis(BREATH_MS)) } else { None };
        Some(self.clockwork.not_before().max(breath).unwrap_or(Moment(i64::MIN)))
    }

    /// Returns how many deletion orders have had no answer for so long that they
    /// are overdue.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn orders_overdue<R: Records>(&self, records: &mut R, now: Moment) -> Result<u64, R::Error> {
        let (today, after) = (Day::in_copenhagen(now), u32::from(self.rules.schedule().pace().overdue_after_days));
        let counts = records.order_counts()?;
        Ok(counts.into_iter().filter(|(first, _)| first.plus_days(after) <= today).map(|(_, orders)| orders).sum())
    }

    /// Computes a slice of the index anew after the rules have changed.
    fn reindex<R: Records>(&mut self, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let Some(Reindexing { after, fingerprint }) = self.clockwork.reindexing else { return Ok(()) };
        if after.is_none() {
            // Until it is done the index is by no rules at all: should this process
            // end, it is begun anew; and nobody who asks relies on it.
            records.stage(Change::SetIndexed(!fingerprint))?;
        }
        let page = records.clocks_page(after, SLICE)?;
        for id in &page {
            let (Some(known), Some(citizen)) = (records.clocks(*id)?, records.citizen(*id)?) else { continue };
            self.put_clocks(Clocks::clone(&known), Some(&known), &citizen, records, now)?;
        }
        self.clockwork.reindexing = match page.last() {
            Some(last) if page.len() == SLICE => Some(Reindexing { after: Some(*last), fingerprint }),
            Some(_) | None => {
                self.clockwork.look_now();
                records.stage(Change::SetIndexed(fingerprint))?;
                None
            }
        };
        Ok(())
    }
}
