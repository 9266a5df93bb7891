//! Forgetting a citizen: what waits is withdrawn, what is loaded is unloaded, and
//! the store is told to keep nothing.

use super::{Engine, Fact, Output};
use crate::core::erasure::{Cause, Plan, plan};
use crate::core::holds::Held;
use crate::core::ids::CitizenId;
use crate::core::outbox::Withdrawal;
use crate::core::records::Records;
use crate::core::time::Moment;

impl Engine {
    /// Names everything that goes when the citizen is erased; `None` for one of
    /// whom nothing is known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn plan_erasure<R: Records>(&self, citizen: CitizenId, records: &mut R) -> Result<Option<Plan>, R::Error> {
        let Some(citizen) = records.citizen(citizen)? else { return Ok(None) };
        let unfinished = self.unfinished_about(&citizen, records)?;
        Ok(Some(plan(&citizen, unfinished, 0)))
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
        if let Some(change) = plan.last_change() {
            records.stage(change)?;
            out.facts.push(Fact::Erased(cause));
        }
        Ok(())
    }
}
