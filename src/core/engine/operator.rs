//! What an operator may do with a delivery besides having it sent again: give it
//! up for good.

use super::{Engine, Output};
use crate::core::ids::DeliveryKey;
use crate::core::outbox::Withdrawal;
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
