//! Withdrawn, and nobody was entitled instead: who becomes entitled soon gets it.
//!
//! A transfer often comes as two events, one that closes a membership and one that
//! opens another. Between them nobody has the citizen, and what waited is
//! withdrawn. It is not forgotten: for as long as retries are allowed, every change
//! of the citizen's and every new day asks again who is entitled by the same rule.
//! Of several rules each has that time from when it came to name nobody.

use super::{Engine, Output};
use crate::core::ids::{CitizenId, DeliveryKey, Recipient};
use crate::core::outbox::{Because, Delivery, End, Withdrawal};
use crate::core::policy::{Audience, Audiences};
use crate::core::records::{Change, Fate, Records, Unclaimed};
use crate::core::routing::{By, told_as};
use crate::core::time::{Day, Moment};
use crate::core::today::Today;
use crate::core::trace::Step;

use super::dispatch::{had_ended, trace};

/// How many are looked at in one go.
const LOOKED_AT: usize = 64;

/// A pass over all that is unclaimed: one for each day, and for other rules.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// The day that all of it has been looked at on, or is.
    day: Option<Day>,
    after: Option<(CitizenId, DeliveryKey)>,
    is_over: bool,
}

impl Engine {
    /// Keeps what is withdrawn for whoever becomes entitled by the rules that name
    /// nobody, unless it had been told to whoever was entitled then.
    pub(super) fn leave_unclaimed<R: Records>(
        &self,
        delivery: &Delivery,
        nobody: &[Audience],
        now: Moment,
        records: &mut R,
    ) -> Result<(), R::Error> {
        if nobody.is_empty() || delivery.delivered_before.is_some() {
            return Ok(());
        }
        // It may have been withdrawn before, and begun anew by another rule.
        let earlier = records.unclaimed_of(delivery.citizen)?.into_iter().find(|earlier| earlier.delivery.key == delivery.key);
        let earlier = earlier.iter().flat_map(|earlier| self.in_time(earlier, now)).filter(|(audience, _)| !nobody.contains(audience));
        let rules: Vec<_> = nobody.iter().map(|audience| (*audience, now)).chain(earlier).collect();
        put_unclaimed(delivery, &rules, records)
    }

    /// Returns the rules by which it is left still, and since when.
    fn in_time(&self, unclaimed: &Unclaimed, now: Moment) -> Vec<(Audience, Moment)> {
        unclaimed.rules().filter(|(_, since)| !self.curve.is_over(*since, now)).collect()
    }

    /// Gives what is unclaimed about a citizen to whoever is entitled now.
    pub(super) fn claim<R: Records>(&mut self, today: &Today<'_>, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        for unclaimed in records.unclaimed_of(today.citizen().id)? {
            self.claim_one(&unclaimed, today, records, now, out)?;
        }
        Ok(())
    }

    /// Looks at a slice of all that is unclaimed, once a day: who is entitled may
    /// change with the day alone.
    pub(super) fn claim_by_day<R: Records>(&mut self, records: &mut R, now: Moment, out: &mut Output) -> Result<(), R::Error> {
        let today = Day::in_copenhagen(now);
        if self.unclaimed.day != Some(today) {
            self.unclaimed = Pass { day: Some(today), ..Pass::default() };
        }
        if self.unclaimed.is_over {
            return Ok(());
        }
        let page = records.unclaimed(self.unclaimed.after, LOOKED_AT)?;
        self.unclaimed.is_over = page.len() < LOOKED_AT;
        for unclaimed in page {
            let of = (unclaimed.delivery.citizen, unclaimed.delivery.key);
            self.unclaimed.after = Some(of);
            match records.citizen(of.0)? {
                Some(citizen) => self.claim_one(&unclaimed, &Today::of(&citizen, today), records, now, out)?,
                None => records.stage(Change::DropUnclaimed { citizen: of.0, key: of.1 })?,
            }
        }
        Ok(())
    }

    fn claim_one<R: Records>(
        &mut self,
        unclaimed: &Unclaimed,
        today: &Today<'_>,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        let delivery = &unclaimed.delivery;
        let drop = Change::DropUnclaimed { citizen: delivery.citizen, key: delivery.key };
        let mut left = self.in_time(unclaimed, now);
        if left.is_empty() {
            return records.stage(drop);
        }
        let audiences: Audiences = left.iter().map(|(audience, _)| *audience).collect();
        let Some(kind) = told_as(&delivery.event, &self.rules) else { return Ok(()) };
        let decision = self.decide(&delivery.event, kind, today, None, records)?;
        let By { chosen, nobody } = decision.by(audiences, delivery.key.recipient);
        if chosen.is_empty() {
            return Ok(());
        }
        if nobody.is_empty() {
            records.stage(drop)?;
        } else {
            left.retain(|(audience, _)| nobody.contains(audience));
            put_unclaimed(delivery, &left, records)?;
        }
        self.hand_over(delivery, chosen, records, now, out)?;
        Ok(())
    }

    /// Has others told by the same rule, in a delivery's place or beside it: each
    /// unless it has been already, and none of what had been delivered once, which
    /// was told to whoever was entitled then. Returns how many are told.
    pub(super) fn hand_over<R: Records>(
        &mut self,
        delivery: &Delivery,
        to: Vec<(Recipient, Because)>,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<usize, R::Error> {
        if delivery.delivered_before.is_some() {
            return Ok(0);
        }
        let from = delivery.key.recipient;
        let ahead = self.lanes.queue(from).and_then(|queue| queue.under_way_in(&queue.lane_of(delivery)));
        if let Some(seq) = ahead.filter(|seq| !to.is_empty() && *seq < delivery.key.seq) {
            self.lanes.await_outcome(DeliveryKey { recipient: from, seq });
        }
        let mut told = 0;
        for (recipient, because) in to {
            if !self.is_settled(DeliveryKey { recipient, seq: delivery.key.seq }, records)? {
                let step = Step::TookOver { from, because: because.clone() };
                let instead = delivery.instead(recipient, because, now);
                if let Some(ended) = records.ended(instead.key)? {
                    had_ended(&instead, ended, records)?;
                }
                trace(&instead, step, now, records)?;
                self.add(instead, false, records)?;
                out.handed_over = true;
                told += 1;
            }
        }
        Ok(told)
    }

    /// Returns who would be told instead of a delivery that is withdrawn.
    pub(super) fn told_instead<R: Records>(&self, delivery: &Delivery, instead: &By, records: &mut R) -> Result<Vec<Recipient>, R::Error> {
        let mut told = Vec::new();
        if delivery.delivered_before.is_none() {
            for (recipient, _) in &instead.chosen {
                if !self.is_settled(DeliveryKey { recipient: *recipient, seq: delivery.key.seq }, records)? {
                    told.push(*recipient);
                }
            }
        }
        Ok(told)
    }

    /// Returns whether nothing is to be told instead under this key.
    fn is_settled<R: Records>(&self, key: DeliveryKey, records: &mut R) -> Result<bool, R::Error> {
        if self.lanes.loaded(key).is_some() {
            return Ok(true);
        }
        Ok(match records.fate(key)? {
            None | Some(Fate::Ended(End::Withdrawn(Withdrawal::MembershipEnded | Withdrawal::RecipientClosed))) => false,
            Some(Fate::Unfinished | Fate::Ended(End::Delivered)) => true,
            // Taken back for good: what it tells of is gone, or somebody decided so.
            Some(Fate::Ended(End::Withdrawn(Withdrawal::RecordDeleted | Withdrawal::SupersededByErasure | Withdrawal::Operator))) => true,
        })
    }
}

fn put_unclaimed<R: Records>(delivery: &Delivery, rules: &[(Audience, Moment)], records: &mut R) -> Result<(), R::Error> {
    Unclaimed::by(delivery, rules).map_or(Ok(()), |unclaimed| records.stage(Change::PutUnclaimed(Box::new(unclaimed))))
}
