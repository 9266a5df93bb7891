//! A record that turns out to be another citizen's: what one gives up and the other
//! takes over. Which of them it is, is not decided here.

use std::sync::Arc;

use super::clocks::{Clock, Clocks, HANDOVER};
use crate::core::event::Event;
use crate::core::ids::{CitizenId, ExternalId};
use crate::core::stamp::Stamp;
use crate::core::time::Moment;

/// What was known of a record by a citizen whose it is not: see [`Clocks::give_up`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// Its clock, unless it had been deleted or recalled.
    pub clock: Option<Clock>,
    /// The earliest registration known.
    pub first_at: Moment,
}

impl Clocks {
    /// Returns the registration that counts of a record, or the end of it.
    #[must_use]
    pub fn newest_of(&self, entity: &str, external_id: &ExternalId) -> Option<Stamp> {
        let clock = self.place(entity, external_id).map(|at| self.records[at].newest);
        let tombstone = self.buried(entity, external_id).map(|at| self.tombstones[at].newest);
        let handover = self.handover(entity, external_id).map(|handover| handover.newest);
        clock.max(tombstone).max(handover)
    }

    /// Returns every record that is kept, those that are gone and handovers included: its
    /// type, its id, and whether it is there.
    pub fn kept(&self) -> impl Iterator<Item = (&Arc<str>, &ExternalId, bool)> {
        let there = self.records.iter().map(|clock| (&clock.entity, &clock.external_id, true));
        let gone = self.tombstones.iter().map(|tombstone| (&tombstone.entity, &tombstone.external_id, false));
        let handovers = self.handovers.iter().filter_map(|handover| Some((&*HANDOVER, handover.external_id.as_ref()?, handover.holds)));
        there.chain(gone).chain(handovers)
    }

    /// Returns how many of the first ones [kept](Self::kept) are the same here and there,
    /// without looking at them: at least so many are equal.
    #[must_use]
    pub fn in_common(&self, other: &Self) -> usize {
        self.records.iter().zip(&other.records).take_while(|(one, other)| one.is_same(other)).count()
    }

    /// Takes in that a record is another citizen's, by an event that came under that
    /// one's number: for this one it is gone. Returns what was known of it.
    pub fn give_up(&mut self, event: &Event, entity: &Arc<str>, now: Moment) -> Option<GivenUp> {
        if **entity == **HANDOVER {
            let own = self.handovers.iter_mut().filter(|handover| handover.external_id.as_ref() == Some(&event.external_id));
            own.for_each(|handover| (handover.holds, handover.newest) = (false, handover.newest.max(Stamp::of(event))));
            return None;
        }
        let clock = self.place(entity, &event.external_id).map(|at| Clock::clone(&self.records[at]));
        let tombstone = self.buried(entity, &event.external_id).map(|at| &self.tombstones[at]);
        let first_at = clock.iter().map(|clock| clock.first_at).chain(tombstone.map(|tombstone| tombstone.first_at)).min()?;
        let under = clock.as_ref().map(|clock| clock.under).or(tombstone.map(|tombstone| tombstone.under))?;
        let newest = Stamp::of(event).max(self.newest_of(entity, &event.external_id)?);
        self.bury(under, entity, &event.external_id, first_at, newest, None, now);
        Some(GivenUp { clock, first_at })
    }

    /// Takes over what another citizen gave up of a record, before the event that
    /// says so. What was ordered was ordered under another number.
    pub fn take_over(&mut self, given: GivenUp, under: CitizenId) {
        let Some(mut clock) = given.clock else { return };
        self.mark_elements(&clock.external_id, None);
        // Some of these records may be this citizen's.
        for element in clock.elements.iter_mut().chain(&mut clock.unlisted) {
            let is_there = self.records.iter().any(|record| record.external_id == element.external_id);
            element.deleted = if is_there { None } else { self.gone(&element.external_id).or(element.deleted) };
        }
        self.records.push(Clock { under, order: None, ..clock }.into());
    }

    /// Takes in that a record had been registered at `first_at`.
    pub fn was_registered(&mut self, entity: &str, external_id: &ExternalId, first_at: Moment) {
        if let Some(at) = self.place(entity, external_id) {
            let clock = &mut *self.records[at];
            clock.first_at = clock.first_at.min(first_at);
        }
        if let Some(at) = self.buried(entity, external_id) {
            let tombstone = &mut self.tombstones[at];
            tombstone.first_at = tombstone.first_at.min(first_at);
        }
    }
}
