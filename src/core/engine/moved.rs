//! A retained record that is corrected to another citizen: its clock, who was sent
//! something about it, and what waits go with it, or go.
//!
//! Of all registrations of a record, whoever they are about, the newest counts; a
//! `GdprSletning` ends the record of whomever it is. What comes later and is older
//! changes nothing, and is told to nobody.

use std::sync::Arc;

use super::{Engine, Output};
use crate::core::event::{self, Content, Details, Event};
use crate::core::ids::{CitizenId, ExternalId};
use crate::core::outbox::Delivery;
use crate::core::records::{Change, Former, Records};
use crate::core::retention::{Clocks, GivenUp, Stamp};
use crate::core::time::Moment;

/// What an event is to what is known of its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearing {
    /// It may say something new of one of the citizen's own.
    News,
    /// The record was this one's until now.
    MovesFrom(CitizenId),
    /// The record has been deleted or recalled since the event was registered.
    RecordGone,
    /// The record has been registered under this one's number since.
    MovedOnTo(CitizenId),
}

impl Bearing {
    /// Returns whether the event is to be told to nobody.
    pub fn is_too_late(self) -> bool {
        match self {
            Self::RecordGone | Self::MovedOnTo(_) => true,
            Self::News | Self::MovesFrom(_) => false,
        }
    }
}

/// Returns the type of the record that an event registers or ends, if records of it
/// have clocks, or are handovers.
fn type_kept(event: &Event, details: Option<&Details>) -> Option<Arc<str>> {
    match &event.content {
        Content::Deletion { entity, .. } => Some(Arc::from(&**entity)),
        Content::HandedOver { .. } => Some(Arc::clone(&event.entity)),
        _ => details.map(|_| Arc::clone(&event.entity)),
    }
}

/// Finds out what an event is to what is known of its record.
pub(super) fn bearing<R: Records>(event: &Event, details: Option<&Details>, records: &mut R) -> Result<Bearing, R::Error> {
    let own = records.find_citizen(&event.personnummer)?;
    let own = own.map(|id| records.citizen(id)).transpose()?.flatten();
    let clocks = own.as_ref().map(|citizen| records.clocks(citizen.id)).transpose()?.flatten();
    let is_gone = clocks.as_ref().is_some_and(|clocks| clocks.is_too_late(event));
    let otherwise = if is_gone { Bearing::RecordGone } else { Bearing::News };
    let Some(entity) = type_kept(event, details) else { return Ok(otherwise) };
    // The usual case, without a look at whose it is: it is there in one place only.
    if clocks.is_some_and(|clocks| clocks.has(&entity, &event.external_id)) {
        return Ok(otherwise);
    }
    let Some(owner) = another_owner(&entity, &event.external_id, records)? else { return Ok(otherwise) };
    if own.is_some_and(|own| own.ids().any(|id| id == owner.id)) {
        return Ok(otherwise);
    }
    if owner.newest > Stamp::of(event) && !matches!(event.content, Content::Deletion { .. }) {
        return Ok(Bearing::MovedOnTo(owner.id));
    }
    Ok(if is_gone { otherwise } else { Bearing::MovesFrom(owner.id) })
}

struct Owner {
    id: CitizenId,
    newest: Stamp,
}

fn another_owner<R: Records>(entity: &str, record: &ExternalId, records: &mut R) -> Result<Option<Owner>, R::Error> {
    let Some(id) = records.clock_owner(entity, record)? else { return Ok(None) };
    let Some(clocks) = records.clocks(id)? else { return Ok(None) };
    Ok(clocks.newest_of(entity, record).map(|newest| Owner { id, newest }))
}

/// Returns whether the record that a delivery is about has been registered under
/// somebody else's number since, or deleted there.
pub(super) fn has_moved_on<R: Records>(delivery: &Delivery, records: &mut R) -> Result<bool, R::Error> {
    let event = &delivery.event;
    let Some(owner) = another_owner(&event.entity, &event.external_id, records)? else { return Ok(false) };
    let own = records.citizen(delivery.citizen)?;
    let is_own = own.is_some_and(|own| own.ids().any(|id| id == owner.id));
    Ok(!is_own && Stamp::of(event) < owner.newest)
}

/// Returns whether whoever had a record keeps who was sent something about it. A recall
/// leaves nothing with the other one, who may be forgotten at once, and those entries too:
/// a deletion under the first number would be told to nobody who holds a copy.
fn former(event: &Event) -> Former {
    match event.content {
        Content::Deletion { .. } => Former::Loses,
        _ if event.change == event::Change::Deleted => Former::Keeps,
        _ => Former::Loses,
    }
}

impl Engine {
    /// Takes a record from the citizen whose it was: the clock, which is returned, and
    /// the entries of the ledger, which move or are copied; what waits about it is withdrawn.
    pub(super) fn take_from<R: Records>(
        &mut self,
        from: CitizenId,
        event: &Event,
        under: CitizenId,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Option<GivenUp>, R::Error> {
        let entity: Arc<str> = event.record_entity().into();
        let (Some(citizen), Some(known)) = (records.citizen(from)?, records.clocks(from)?) else { return Ok(None) };
        let mut clocks = Clocks::clone(&known);
        let given = clocks.give_up(event, &entity, now);
        self.put_clocks(clocks, Some(&known), &citizen, records, now)?;
        self.clockwork.leaving.citizens.remove(&citizen.id);
        self.clockwork.look_now();
        let is_about_it = |told: &Event| told.external_id == event.external_id && told.entity == entity;
        self.withdraw_taken_back(&citizen, |told| is_about_it(&told.event).then_some(event), records, now, out)?;
        // After what was withdrawn under way, which enters the ledger by that.
        let (record, former) = (event.external_id.clone(), former(event));
        records.stage(Change::MoveHolders { entity, record, from: citizen.id, to: under, former, at: now })?;
        Ok(given)
    }

    /// Notes what an older registration says of a record that is another citizen's by
    /// now: when it was first registered.
    pub(super) fn note_older<R: Records>(
        &mut self,
        owner: CitizenId,
        event: &Event,
        details: Details,
        records: &mut R,
        now: Moment,
    ) -> Result<(), R::Error> {
        let (Some(citizen), Some(known)) = (records.citizen(owner)?, records.clocks(owner)?) else { return Ok(()) };
        let mut clocks = Clocks::clone(&known);
        clocks.record(event, owner, details, now);
        self.put_clocks(clocks, Some(&known), &citizen, records, now)?;
        self.clockwork.look_now();
        Ok(())
    }
}
