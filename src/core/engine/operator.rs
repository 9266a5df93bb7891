//! What an operator may do with a delivery: give it up for good, or have it
//! sent again. A replay is decided by the membership of that moment, keeps the
//! id, and begins the retry schedule anew.

use super::dispatch::{Verdict, trace};
use super::{Engine, Output, uncount};
use crate::core::ids::DeliveryKey;
use crate::core::outbox::{Delivery, State, Withdrawal};
use crate::core::records::Records;
use crate::core::time::Moment;
use crate::core::trace::Step;

/// What would become of a dead delivery if it were replayed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It would be sent.
    Send,
    /// It would be withdrawn.
    Withdraw(Withdrawal),
}

/// What became of a delivery that was to be replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Replayed {
    /// It waits to be sent again.
    Revived,
    /// Nobody is entitled to it there any more.
    Withdrawn,
    /// It is not dead: somebody else was faster.
    NotDead,
}

/// What became of a delivery that was to be discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Discarded {
    /// It is withdrawn.
    Withdrawn,
    /// It is under way, or has ended: too late.
    TooLate,
}

impl Engine {
    /// Says what would become of a delivery if it were replayed now.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn prospect<R: Records>(&self, delivery: &Delivery, records: &mut R, now: Moment) -> Result<Prospect, R::Error> {
        Ok(match self.judge(delivery, records, now)? {
            Verdict::Send(_) => Prospect::Send,
            Verdict::Withdraw { why, .. } => Prospect::Withdraw(why),
        })
    }

    /// Has a dead delivery sent again, if its recipient is entitled now.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn replay<R: Records>(&mut self, key: DeliveryKey, records: &mut R, now: Moment, out: &mut Output) -> Result<Replayed, R::Error> {
        let Some(dead) = records.delivery(key)?.filter(|row| matches!(row.state, State::Dead { .. })) else {
            return Ok(Replayed::NotDead);
        };
        let state = dead.state.clone();
        let died = match state {
            State::Dead { at, why } => Some((at, why)),
            State::Pending | State::Retrying { .. } => None,
        };
        let step = Step::Replayed { died, attempts: dead.attempts, failures: dead.failures.clone() };
        let revived = dead.replayed(now);
        if let Verdict::Withdraw { why, lost, instead } = self.judge(&revived, records, now)? {
            let dead = Delivery { state, ..revived };
            self.withdraw_for(&dead, why, lost, instead, records, now, out)?;
            return Ok(Replayed::Withdrawn);
        }
        uncount(self.lanes.queue_mut(key.recipient).counts_mut(), &state);
        trace(&revived, step, now, records)?;
        self.add(revived, false, records)?;
        Ok(Replayed::Revived)
    }

    /// Gives a delivery up for good.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn discard<R: Records>(&mut self, key: DeliveryKey, records: &mut R, now: Moment, out: &mut Output) -> Result<Discarded, R::Error> {
        let delivery = match self.lanes.loaded(key) {
            Some(loaded) if loaded.is_in_flight() => return Ok(Discarded::TooLate),
            Some(loaded) => Some(loaded.delivery.clone()),
            None => records.delivery(key)?,
        };
        let Some(delivery) = delivery else { return Ok(Discarded::TooLate) };
        self.withdraw(&delivery, Withdrawal::Operator, now, records, out)?;
        Ok(Discarded::Withdrawn)
    }
}
