//! What an operator may do with a delivery besides having it sent again: give it
//! up for good.

use super::{Engine, Output};
use crate::core::ids::DeliveryKey;
use crate::core::outbox::{Delivery, Withdrawal};
use crate::core::records::Records;
use crate::core::time::Moment;

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
    /// Gives a delivery up for good.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn discard<R: Records>(&mut self, key: DeliveryKey, records: &mut R, now: Moment, out: &mut Output) -> Result<Discarded, R::Error> {
        let Some(delivery) = self.discardable(key, records)? else { return Ok(Discarded::TooLate) };
        self.withdraw(&delivery, Withdrawal::Operator, now, records, out)?;
        Ok(Discarded::Withdrawn)
    }

    /// Says what [`Self::discard`] would do, and does nothing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn would_discard<R: Records>(&self, key: DeliveryKey, records: &mut R) -> Result<Discarded, R::Error> {
        Ok(self.discardable(key, records)?.map_or(Discarded::TooLate, |_| Discarded::Withdrawn))
    }

    fn discardable<R: Records>(&self, key: DeliveryKey, records: &mut R) -> Result<Option<Delivery>, R::Error> {
        match self.lanes.loaded(key) {
            Some(loaded) if loaded.is_in_flight() => Ok(None),
            Some(loaded) => Ok(Some(loaded.delivery.clone())),
            None => records.delivery(key),
        }
    }
}
