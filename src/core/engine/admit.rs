//! An event comes in: seen before, or the citizen changed, or recipients found
//! and one delivery made for each, in one decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::moved::bearing;
use super::{Consumption, Engine, Fact, Output, Stage};
use crate::core::citizen::{Citizen, Folded, RecordKind, Registration};
use crate::core::event::{Change as Aendring, Content, Event};
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Personnummer, Recipient};
use crate::core::outbox::{Delivery, State};
use crate::core::policy::{Audience, Domain, MessageType};
use crate::core::records::{Admission, Change, Owners, Records};
use crate::core::routing::{Decision, Question, Suppression, told_as};
use crate::core::stamp::Stamp;
use crate::core::time::{Day, Moment};
use crate::core::today::Today;

/// How an event comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As news: recipients are told.
    News,
    /// As part of a first load: it changes what is known, and nobody is told.
    FirstLoad,
}

impl Engine {
    /// Takes in an event. What it means for all that waits about the citizen is worked
    /// out by [`Engine::follow_up`], once for all events that are committed together.
    ///
    /// # Errors
    /// When the store cannot be read or the changes not staged.
    pub fn take_in<R: Records>(
        &mut self,
        mut event: Event,
        manner: Manner,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<Consumption, R::Error> {
        if records.has_seen(&event.mark)? {
            out.facts.push(Fact::Consumed(Some(event.entity), Consumption::Duplicate));
            return Ok(Consumption::Duplicate);
        }
        // Not kept with the event: the journal would grow by it.
        let details = event.details.take();
        let event = Arc::new(completed(event, records)?);
        let bearing = bearing(&event, details.as_deref(), records)?;
        let is_too_late = bearing.is_too_late();
        let is_spent = is_spent(&event, records)?;
        let Folding { under, citizen, folded, others } = self.fold(&event, is_too_late, is_spent, records, now)?;
        self.keep_time(&event, details, bearing, &citizen, under, folded, records, now, out)?;
        let seq = EventSeq(self.last_seq.0 + 1);
        self.last_seq = seq;

        let kind = match manner {
            Manner::News => told_as(&event, &self.rules).cloned(),
            Manner::FirstLoad => None,
        };
        let decision = match &kind {
            // Whoever was told now would keep what has been deleted (R 5.1).
            Some(kind) if is_too_late => Decision::nobody(kind, Suppression::RecordDeleted),
            // Whose the record is now, nobody can say.
            Some(kind) if is_spent => Decision::nobody(kind, Suppression::NotMember),
            Some(kind) => self.decide(&event, kind, &Today::of(&citizen, Day::in_copenhagen(now)), None, records)?,
            None => Decision::default(),
        };
        for left_out in &decision.left_out {
            out.facts.push(Fact::Suppressed(Arc::clone(&event.entity), left_out.why));
            if left_out.why == Suppression::NotMember {
                out.facts.push(Fact::WrongRecipientPrevented(Stage::Decision));
            }
        }
        let deliveries: Vec<_> = decision.chosen.into_iter().map(|chosen| (chosen.recipient, chosen.because)).collect();
        let domain = kind.as_ref().or_else(|| self.rules.message_type(&event.entity)).map_or(Domain::Tilknytning, |kind| kind.domain);
        let admission = Admission {
            domain,
            seq,
            citizen: under,
            event: Arc::clone(&event),
            at: now,
            deliveries: deliveries.clone(),
            left_out: decision.left_out,
        };
        records.stage(Change::Admit(Arc::new(admission)))?;
        if event.ends_record() {
            self.follow.record_ended(&citizen, seq, &event);
        }
        let consumption = if deliveries.is_empty() { Consumption::NoRecipient } else { Consumption::Routed };
        if let Some(kind) = kind {
            for (recipient, because) in deliveries {
                let delivery = Delivery {
                    key: DeliveryKey { recipient, seq },
                    citizen: under,
                    event: Arc::clone(&event),
                    domain: kind.domain,
                    because,
                    first_at: now,
                    attempts: 0,
                    failures: Vec::new(),
                    replays: 0,
                    delivered_before: None,
                    state: State::Pending,
                };
                self.add(delivery, true, records)?;
            }
        }
        if folded == Folded::Changed {
            self.follow.changed(under);
        }
        for other in others {
            let Some(other) = records.citizen(other)? else { continue };
            self.keep_time_of(&other, records, now)?;
            self.follow.changed(other.id);
        }
        out.facts.push(Fact::Consumed(Some(Arc::clone(&event.entity)), consumption));
        Ok(consumption)
    }

    /// Decides who is entitled to a WSB about `event` now. `told` was told of it as
    /// a holder before, and has left the ledger by that.
    pub(super) fn decide<R: Records>(
        &self,
        event: &Event,
        kind: &MessageType,
        today: &Today<'_>,
        told: Option<Recipient>,
        records: &mut R,
    ) -> Result<Decision, R::Error> {
        let citizen = today.citizen();
        let mut holders: Vec<Recipient> = told.into_iter().collect();
        if kind.audiences.iter().any(|rule| rule.audience == Audience::Holders) {
            for id in citizen.ids() {
                holders.extend(records.holders(id, event.record_entity(), &event.external_id)?);
            }
            // Those that were sent something and have not confirmed it, as far as
            // is known, are not in the ledger yet.
            let unfinished = self.unfinished_about(citizen, records)?.into_iter();
            let sent = unfinished.filter(|delivery| delivery.event.is_about_record_of(event) && self.may_have_been_sent(delivery));
            holders.extend(sent.map(|delivery| delivery.key.recipient));
            holders.extend(self.taken_back_under_way(event, citizen));
            if holders.is_empty() && self.was_unknown(event, citizen, records)? {
                holders = holders_of_its_type(event, citizen, records)?;
            }
            holders.sort_unstable();
            holders.dedup();
        }
        Ok(Question { event, kind, today, holders: &holders, rules: &self.rules }.decide())
    }

    /// Returns whether an event tells of the deletion of a record that nothing was
    /// known of until then.
    pub(super) fn was_unknown<R: Records>(&self, event: &Event, citizen: &Citizen, records: &mut R) -> Result<bool, R::Error> {
        let Content::Deletion { entity, .. } = &event.content else { return Ok(false) };
        Ok(records.clocks(citizen.id)?.is_some_and(|clocks| clocks.heard_of_first_by(event, entity)))
    }

    /// Returns the citizen that the event is about, as known with the event.
    fn fold<R: Records>(
        &mut self,
        event: &Event,
        is_too_late: bool,
        is_spent: bool,
        records: &mut R,
        now: Moment,
    ) -> Result<Folding, R::Error> {
        let under = known_or_new(&event.personnummer, records)?;
        let blank = || Arc::new(Citizen::new(under, event.personnummer));
        if let Content::Deletion { entity, .. } = &event.content {
            let mut others = lose_record(event, entity, records)?;
            let citizen = records.citizen(under)?.unwrap_or_else(blank);
            let lost = others.len();
            others.retain(|other| citizen.ids().all(|id| id != *other));
            let folded = if others.len() < lost { Folded::Changed } else { Folded::Unchanged };
            return Ok(Folding { under, citizen, folded, others });
        }
        let is_over = is_too_late && RecordKind::ended_by_deletion(&event.entity).is_some() || is_spent;
        let Some(kind) = RecordKind::of(&event.content).filter(|_| !is_over) else {
            let citizen = records.citizen(under)?.unwrap_or_else(blank);
            return Ok(Folding { under, citizen, folded: Folded::Unchanged, others: Vec::new() });
        };
        let mut own = records.under_number(under)?.unwrap_or_else(blank);
        let mut others = Vec::new();
        let mut folded = match &event.content {
            Content::NumberChange { new } => {
                let new = new.filter(|_| event.change != Aendring::Deleted);
                let new = new.map(|new| known_or_new(&new, records)).transpose()?;
                Arc::make_mut(&mut own).renumber(event, new)
            }
            _ => Arc::make_mut(&mut own).fold(event),
        };
        if own_record(event, kind, &mut own, &mut others, records)? == Folded::Changed {
            folded = Folded::Changed;
        }
        if folded == Folded::Changed {
            records.stage(Change::PutCitizen(Arc::clone(&own)))?;
        }
        if kind == RecordKind::NumberChange {
            let owners: Vec<CitizenId> = others.drain(..).chain([under]).collect();
            for id in owners {
                others.extend(self.keep_joined(id, records, now)?);
            }
            others.sort_unstable();
            others.dedup();
        }
        let citizen = records.citizen(under)?.unwrap_or(own);
        // Decided about with the event.
        others.retain(|other| citizen.ids().all(|id| id != *other));
        Ok(Folding { under, citizen, folded, others })
    }

    /// Joins a citizen with those who have taken the place of this number, and
    /// parts it from those who have not after all. Returns one of each person that
    /// may be another one by that.
    fn keep_joined<R: Records>(&mut self, id: CitizenId, records: &mut R, now: Moment) -> Result<Vec<CitizenId>, R::Error> {
        let Some(own) = records.under_number(id)? else { return Ok(Vec::new()) };
        let wanted: BTreeSet<CitizenId> = own.renumbered_to().filter(|new| *new != id).collect();
        let partners = records.partners(id);
        let mut touched = Vec::new();
        for partner in partners.iter().copied().filter(|partner| !wanted.contains(partner)) {
            let theirs = records.under_number(partner)?;
            // The other way round they may be joined still.
            if !theirs.is_some_and(|theirs| theirs.renumbered_to().any(|new| new == id)) {
                self.rearrange(Change::Part { one: id, other: partner }, &[id, partner], records, now)?;
                touched.extend([id, partner]);
            }
        }
        for new in wanted.into_iter().filter(|new| !partners.contains(new)) {
            self.rearrange(Change::Join { one: id, other: new }, &[id, new], records, now)?;
            touched.push(id);
        }
        Ok(touched)
    }

    /// Joins or parts two citizens, and forms anew what goes by person: lanes, what
    /// is held of them, and clocks.
    fn rearrange<R: Records>(&mut self, change: Change, two: &[CitizenId; 2], records: &mut R, now: Moment) -> Result<(), R::Error> {
        let mut ids = BTreeSet::new();
        for id in two {
            ids.insert(*id);
            ids.extend(records.citizen(*id)?.iter().flat_map(|citizen| citizen.ids()));
        }
        let is_parted = matches!(change, Change::Part { .. });
        records.stage(change)?;
        let mut citizens = Vec::new();
        while let Some(id) = ids.pop_first() {
            let Some(citizen) = records.citizen(id)? else { continue };
            ids.retain(|id| citizen.ids().all(|theirs| theirs != *id));
            citizens.push(citizen);
        }
        let persons: Vec<Vec<CitizenId>> = citizens.iter().map(|citizen| citizen.ids().collect()).collect();
        self.lanes.regroup(&persons);
        self.carry_holds(&persons, records)?;
        for delivery in self.lanes.rows_needed(&persons) {
            records.stage(Change::PutDelivery(delivery))?;
        }
        for citizen in citizens {
            self.keep_time_of_person(&citizen, is_parted, records, now)?;
        }
        Ok(())
    }
}

/// Returns whether an event registers a record that is nobody's, and had been registered anew
/// before somebody was forgotten: it would be believed, for want of what came after it.
fn is_spent<R: Records>(event: &Event, records: &mut R) -> Result<bool, R::Error> {
    let Some(kind) = RecordKind::of(&event.content) else { return Ok(false) };
    let is_older = records.spent(kind, &event.external_id)?.is_some_and(|newest| Stamp::of(event).instant() < newest);
    // Of whom it is known, it is known what came after it.
    Ok(is_older && records.record_owners(kind, &event.external_id)?.is_none())
}

/// What an event did to what is known.
struct Folding {
    /// Under whose number it came: everything about it is stored there.
    under: CitizenId,
    /// The citizen that it is about, as known with it.
    citizen: Arc<Citizen>,
    folded: Folded,
    /// Of whom it has changed something besides: whom its record was about until
    /// now, and whoever was this person, or is now.
    others: Vec<CitizenId>,
}

/// Adds the contact group that a record is moved from, where the event leaves it
/// out: once the event is folded, nobody knows it any more.
fn completed<R: Records>(mut event: Event, records: &mut R) -> Result<Event, R::Error> {
    let stamp = Stamp::of(&event);
    let Content::ContactGroup { group: Some(group), former: former @ None } = &mut event.content else { return Ok(event) };
    let Some(id) = records.find_citizen(&event.personnummer)? else { return Ok(event) };
    let Some(citizen) = records.citizen(id)? else { return Ok(event) };
    let before = citizen.contact_groups.of_record(&event.external_id);
    let before = before.filter(|known| known.registered < stamp);
    *former = before.and_then(Registration::claim).map(|claim| claim.value).filter(|before| before != group);
    Ok(event)
}

/// Returns whoever was told of others of the type of a deleted record: they may have
/// been told of that one too (GDPR article 19).
fn holders_of_its_type<R: Records>(deletion: &Event, citizen: &Citizen, records: &mut R) -> Result<Vec<Recipient>, R::Error> {
    let Content::Deletion { entity, .. } = &deletion.content else { return Ok(Vec::new()) };
    let mut holders = Vec::new();
    let Some(clocks) = records.clocks(citizen.id)? else { return Ok(holders) };
    for clock in clocks.records.iter().filter(|clock| *clock.entity == **entity) {
        for id in citizen.ids() {
            holders.extend(records.holders(id, entity, &clock.external_id)?);
        }
    }
    Ok(holders)
}

/// Has a record that DFDG has deleted count for nothing, whoever it is about and was
/// about before it was corrected, under whichever number of a person that is known;
/// returns one of each person of whom that has changed anything.
fn lose_record<R: Records>(deletion: &Event, entity: &str, records: &mut R) -> Result<Vec<CitizenId>, R::Error> {
    let Some(kind) = RecordKind::ended_by_deletion(entity) else { return Ok(Vec::new()) };
    let record = &deletion.external_id;
    let Some(Owners { owner, former }) = records.record_owners(kind, record)? else { return Ok(Vec::new()) };
    let mut persons: Vec<Vec<Arc<Citizen>>> = Vec::new();
    for id in std::iter::once(owner).chain(former.iter().copied()) {
        if persons.iter().flatten().any(|part| part.id == id) {
            continue;
        }
        let Some(person) = records.citizen(id)? else { continue };
        let parts = person.ids().filter_map(|id| records.under_number(id).transpose());
        persons.push(parts.collect::<Result<_, _>>()?);
    }
    let known = persons.iter().flatten().filter_map(|part| part.registered(kind, record));
    let by = known.fold(Stamp::of(deletion), Ord::max);
    let mut changed = Vec::new();
    for parts in persons {
        let mut has_changed = None;
        for mut part in parts {
            if Arc::make_mut(&mut part).lose(kind, record, by) == Folded::Changed {
                has_changed = Some(part.id);
                records.stage(Change::PutCitizen(part))?;
            }
        }
        changed.extend(has_changed);
    }
    if !former.is_empty() {
        // They remember nothing of it any more.
        let owners = Owners { owner, former: Vec::new() };
        records.stage(Change::OwnRecord { kind, record: record.clone(), owners })?;
    }
    Ok(changed)
}

/// Keeps whose record it is that an event registers. One that is corrected to the
/// right citizen holds for the former one no more (R 2.10), who is then among the
/// `others`; one that comes after its own correction does not hold for this one.
fn own_record<R: Records>(
    event: &Event,
    kind: RecordKind,
    own: &mut Arc<Citizen>,
    others: &mut Vec<CitizenId>,
    records: &mut R,
) -> Result<Folded, R::Error> {
    let record = &event.external_id;
    let registered = Stamp::of(event);
    let known = records.record_owners(kind, record)?;
    let owner = known.as_ref().map(|known| known.owner).filter(|owner| *owner != own.id);
    let owner = owner.map(|owner| records.under_number(owner)).transpose()?.flatten();
    let former = known.as_ref().map(|known| known.former.clone()).unwrap_or_default();
    let mut owners = Owners { owner: own.id, former };
    let mut folded = Folded::Unchanged;
    if let Some(mut owner) = owner {
        let newest = owner.registered(kind, record).filter(|newest| *newest >= registered);
        let former = if let Some(newest) = newest {
            owners.owner = owner.id;
            folded = Arc::make_mut(own).disown(kind, record, newest);
            own.id
        } else {
            if Arc::make_mut(&mut owner).disown(kind, record, registered) == Folded::Changed {
                others.push(owner.id);
                records.stage(Change::PutCitizen(Arc::clone(&owner)))?;
            }
            owner.id
        };
        if RecordKind::ended_by_deletion(&event.entity).is_some() && !owners.former.contains(&former) {
            owners.former.push(former);
        }
    }
    owners.former.retain(|former| *former != owners.owner);
    if known.as_ref() != Some(&owners) {
        records.stage(Change::OwnRecord { kind, record: record.clone(), owners })?;
    }
    Ok(folded)
}

/// Returns whose number it is, enrolling a citizen for a new one.
fn known_or_new<R: Records>(personnummer: &Personnummer, records: &mut R) -> Result<CitizenId, R::Error> {
    match records.find_citizen(personnummer)? {
        Some(id) => Ok(id),
        None => records.enroll(personnummer),
    }
}
