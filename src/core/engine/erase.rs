//! Forgetting a citizen: what waits is withdrawn, what is loaded is unloaded, and
//! the store is told to keep nothing.

use std::ops::Bound;
use std::sync::Arc;

use super::{Engine, Fact, Output, Traffic};
use crate::core::citizen::Citizen;
use crate::core::erasure::{Cause, Keeps, KnownBesides, Plan, attended_since, keeps, kept_by, plan};
use crate::core::holds::Held;
use crate::core::ids::CitizenId;
use crate::core::outbox::Withdrawal;
use crate::core::records::{Change, Records};
use crate::core::time::{Day, Moment};

/// How many of those who are leaving are looked at in one go, and how many of
/// them forgotten: some twenty milliseconds.
const LOOKED_AT: usize = 128;
const FORGOTTEN: usize = 64;

impl Engine {
    /// Names everything that goes when the citizen is erased; `None` for one of
    /// whom nothing is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan_erasure<R: Records>(&self, citizen: CitizenId, records: &mut R) -> Result<Option<Plan>, R::Error> {
        let Some(citizen) = records.citizen(citizen)? else { return Ok(None) };
        let unfinished = self.unfinished_about(&citizen, records)?;
        let clocks = records.clocks(citizen.id)?.map_or(0, |clocks| clocks.records.len());
        Ok(Some(plan(&citizen, unfinished, clocks)))
    }

    /// Forgets citizens whose last record has gone, once nothing else is a reason
    /// to know them: a slice of those who are leaving. Whoever has to be kept
    /// waits for the next round, or until something happens. The caller commits and
    /// flushes before anybody is said to be forgotten.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn forget_unneeded<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        if self.clockwork.leaving.citizens.is_empty() || self.clockwork.traffic == Traffic::StandsStill {
            self.clockwork.leaving.after = None;
            return Ok(());
        }
        let can_erase = records.can_erase()?;
        if !can_erase {
            if !std::mem::replace(&mut self.clockwork.leaving.is_stuck, true) {
                out.facts.push(Fact::CannotErase);
            }
            self.clockwork.leaving.after = None;
            return Ok(());
        }
        self.clockwork.leaving.is_stuck = false;
        let after = self.clockwork.leaving.after.map_or(Bound::Unbounded, Bound::Excluded);
        let slice: Vec<CitizenId> = self.clockwork.leaving.citizens.range((after, Bound::Unbounded)).copied().take(LOOKED_AT).collect();
        let mut is_last = slice.len() < LOOKED_AT;
        let mut forgotten = 0;
        for id in slice {
            if forgotten == FORGOTTEN {
                is_last = false;
                break;
            }
            self.clockwork.leaving.after = Some(id);
            match self.kept_now(id, records, now)? {
                // These end without a word about the citizen.
                Some(Keeps::Deliveries | Keeps::Quarantine) => continue,
                // Their clocks say when to look again.
                Some(Keeps::Records | Keeps::Registrations) => self.clockwork.look_now(),
                Some(Keeps::Copies) => self.look_when_a_tombstone_goes(id, records, now)?,
                None => {
                    if let Some(plan) = self.plan_erasure(id, records)? {
                        self.erase(&plan, Cause::LastRecord, records, now, out)?;
                        forgotten += 1;
                    }
                }
            }
            self.clockwork.leaving.citizens.remove(&id);
        }
        if is_last {
            self.clockwork.leaving.after = None;
        }
        if self.clockwork.leaving.has_room_again() {
            self.clockwork.look_now();
        }
        Ok(())
    }

    /// Returns whether a round over those who are leaving is under way: after a
    /// night in which many lost their last record a go each second would not do.
    #[must_use]
    pub fn is_forgetting(&self) -> bool {
        self.clockwork.leaving.after.is_some()
    }

    /// Returns what keeps a citizen from being forgotten; nothing also for one who
    /// has been.
    fn kept_now<R: Records>(&self, id: CitizenId, records: &mut R, now: Moment) -> Result<Option<Keeps>, R::Error> {
        let Some(citizen) = records.citizen(id)? else { return Ok(None) };
        let known = KnownBesides {
            // Without the mark there never were any, or they are there again.
            has_records: !records.clocks(citizen.id)?.is_some_and(|clocks| clocks.emptied),
            // What was withdrawn while under way may arrive all the same: until its outcome
            // is known, nobody can say who holds what.
            has_unfinished: self.is_under_way_about(&citizen)
                || self.unfinished_about(&citizen, records)?.iter().any(|delivery| keeps(delivery, now)),
            has_quarantined: records.is_in_quarantine(citizen.id, attended_since(now))?,
        };
        let today = Day::in_copenhagen(now);
        let kept = kept_by(&citizen, &known, today);
        // Last: it is one look into the ledger for each record that has gone.
        if kept.is_none() && is_held_in_copy(&citizen, records, today)? { Ok(Some(Keeps::Copies)) } else { Ok(kept) }
    }

    /// Puts off whoever copies keep until the next tombstone of theirs goes, or something
    /// happens: a later pass over what is due finds them, in another life of the process too.
    fn look_when_a_tombstone_goes<R: Records>(&mut self, id: CitizenId, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let Some(mut clocks) = records.clocks(id)?.as_deref().cloned() else { return Ok(()) };
        clocks.expire(Day::in_copenhagen(now));
        clocks.next = clocks.next_expiry();
        records.stage(Change::PutClocks(Arc::new(clocks)))
    }

    /// Has whoever copies kept asked again at once: somebody has been told that a record is
    /// deleted, and perhaps that was the last copy.
    pub(super) fn look_at_the_put_off<R: Records>(&mut self, id: CitizenId, records: &mut R, now: Moment) -> Result<(), R::Error> {
        let Some(clocks) = records.clocks(id)? else { return Ok(()) };
        if !clocks.emptied || clocks.next.is_none_or(|next| next <= Day::in_copenhagen(now)) {
            return Ok(());
        }
        let Some(citizen) = records.citizen(id)? else { return Ok(()) };
        self.keep_time_of(&citizen, records, now)
    }

    /// Erases a citizen, now. What is under way may still arrive; its outcome will
    /// be nobody's. The caller commits and flushes.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn erase<R: Records>(&mut self, plan: &Plan, cause: Cause, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        for delivery in &plan.withdraw {
            self.withdraw(delivery, Withdrawal::SupersededByErasure, now, records, out)?;
        }
        // What is left of them is under way. Unloaded, so that its outcome does
        // not put anything about the citizen into the store again.
        let recipients: Vec<_> = self.lanes.queues().map(|(recipient, _)| recipient).collect();
        for recipient in recipients {
            let queue = self.lanes.queue_mut(recipient);
            plan.citizens.iter().for_each(|citizen| queue.forget_lanes_of(*citizen));
            let under_way: Vec<_> = plan.citizens.iter().flat_map(|citizen| queue.all_of(*citizen)).collect();
            for seq in under_way {
                if queue.remove(seq).is_some_and(|loaded| loaded.is_in_flight()) {
                    self.in_flight = self.in_flight.saturating_sub(1);
                }
            }
        }
        // The store forgets them with the rest.
        self.holds.retain(|held, _| !matches!(held, Held::Lane(_, lane) if plan.citizens.contains(&lane.citizen)));
        for id in &plan.citizens {
            let Some(known) = records.under_number(*id)? else { continue };
            for (kind, record, newest) in known.newest_registrations() {
                records.stage(Change::PutSpent { kind, record: record.clone(), newest })?;
            }
        }
        if let Some(change) = plan.last_change() {
            records.stage(change)?;
            out.facts.push(Fact::Erased(cause));
        }
        Ok(())
    }
}

/// Returns whether somebody holds a copy of a record that has gone, and whose
/// tombstone stands.
fn is_held_in_copy<R: Records>(citizen: &Citizen, records: &mut R, today: Day) -> Result<bool, R::Error> {
    let Some(clocks) = records.clocks(citizen.id)? else { return Ok(false) };
    for tombstone in clocks.standing_tombstones(today) {
        for id in citizen.ids() {
            if !records.holders(id, &tombstone.entity, &tombstone.external_id)?.is_empty() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
