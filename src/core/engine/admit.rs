//! An event comes in: seen before, or the citizen changed, or recipients found
//! and one delivery made for each, in one decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dispatch::trace;
use super::{Consumption, Engine, Fact, Output, Stage};
use crate::core::citizen::{Citizen, Folded, RecordKind, Registration};
use crate::core::event::{Change as Aendring, Content, Event};
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Personnummer, Recipient};
use crate::core::lanes::Loaded;
use crate::core::outbox::{Delivery, State, Withdrawal};
use crate::core::policy::{Audience, Domain, MessageType};
use crate::core::records::{Admission, Change, Records};
use crate::core::routing::{Decision, Question, Suppression, told_as};
use crate::core::time::{Day, Moment};
use crate::core::trace::Step;

/// How an event comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As news: recipients are told.
    News,
    /// As part of a first load: it changes what is known, and nobody is told.
    FirstLoad,
}

impl Engine {
    /// Takes in an event.
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
        let Folding { citizen, folded, former_owner } = self.fold(&event, records)?;
        self.keep_time(&event, details, &citizen, folded, records, now, out)?;
        let seq = EventSeq(self.last_seq.0 + 1);
        self.last_seq = seq;

        let kind = match manner {
            Manner::News => told_as(&event, &self.rules).cloned(),
            Manner::FirstLoad => None,
        };
        let decision = match &kind {
            Some(kind) => self.decide(&event, kind, &citizen, None, records, now)?,
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
            citizen: citizen.id,
            event: Arc::clone(&event),
            at: now,
            deliveries: deliveries.clone(),
            left_out: decision.left_out,
        };
        records.stage(Change::Admit(Arc::new(admission)))?;
        if event.ends_record() {
            self.withdraw_about_record(&event, &citizen, records, now, out)?;
        }
        let consumption = if deliveries.is_empty() { Consumption::NoRecipient } else { Consumption::Routed };
        if let Some(kind) = kind {
            for (recipient, because) in deliveries {
                let delivery = Delivery {
                    key: DeliveryKey { recipient, seq },
                    citizen: citizen.id,
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
            if matches!(event.content, Content::NumberChange { .. }) {
                self.merge_holds(&citizen, records)?;
            }
            self.reconsider_waiting(&citizen, records, now, out)?;
        }
        if let Some(former_owner) = former_owner {
            self.keep_time_of(&former_owner, records, now)?;
            self.reconsider_waiting(&former_owner, records, now, out)?;
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
        citizen: &Citizen,
        told: Option<Recipient>,
        records: &mut R,
        now: Moment,
    ) -> Result<Decision, R::Error> {
        let mut holders: Vec<Recipient> = told.into_iter().collect();
        if kind.audiences.iter().any(|rule| rule.audience == Audience::Holders) {
            for id in citizen.ids() {
                holders.extend(records.holders(id, &event.external_id)?);
            }
            // Those that were sent something and have not confirmed it, as far as
            // is known, are not in the ledger yet.
            let unfinished = self.unfinished_about(citizen, records)?.into_iter();
            let sent = unfinished.filter(|delivery| delivery.event.external_id == event.external_id && self.may_have_been_sent(delivery));
            holders.extend(sent.map(|delivery| delivery.key.recipient));
            holders.sort_unstable();
            holders.dedup();
        }
        let day = Day::in_copenhagen(now);
        Ok(Question { event, kind, citizen, holders: &holders, rules: &self.rules, day }.decide())
    }

    /// Returns the citizen that the event is about, as known with the event.
    fn fold<R: Records>(&mut self, event: &Event, records: &mut R) -> Result<Folding, R::Error> {
        if let Content::NumberChange { new } = &event.content {
            let (citizen, folded) = renumber(event, *new, records)?;
            return Ok(Folding { citizen, folded, former_owner: None });
        }
        let id = known_or_new(&event.personnummer, records)?;
        let mut citizen = record_of(id, &event.personnummer, records)?;
        if !event.content.changes_citizen() {
            return Ok(Folding { citizen, folded: Folded::Unchanged, former_owner: None });
        }
        let mut folded = Arc::make_mut(&mut citizen).fold(event);
        let mut former_owner = None;
        if let Some(kind) = RecordKind::of(&event.content) {
            let record = &event.external_id;
            let registered = (event.registered.at, event.mark);
            let owner = records.record_owner(kind, record)?.filter(|owner| *owner != citizen.id);
            let owner = owner.map(|owner| records.citizen(owner)).transpose()?.flatten();
            match owner {
                // A registration that is corrected to the right citizen: what it
                // says holds for the former one no more (R 2.10).
                Some(mut owner) if owner.registered(kind, record) < Some(registered) => {
                    if Arc::make_mut(&mut owner).disown(kind, record, registered) == Folded::Changed {
                        records.stage(Change::PutCitizen(Arc::clone(&owner)))?;
                        former_owner = Some(owner);
                    }
                    records.stage(Change::OwnRecord { kind, record: record.clone(), citizen: citizen.id })?;
                }
                // One that comes after its own correction.
                Some(owner) => {
                    if let Some(newest) = owner.registered(kind, record)
                        && Arc::make_mut(&mut citizen).disown(kind, record, newest) == Folded::Changed
                    {
                        folded = Folded::Changed;
                    }
                }
                None => records.stage(Change::OwnRecord { kind, record: record.clone(), citizen: citizen.id })?,
            }
        }
        if folded == Folded::Changed {
            records.stage(Change::PutCitizen(Arc::clone(&citizen)))?;
        }
        Ok(Folding { citizen, folded, former_owner })
    }

    /// Decides again about everything that waits about a citizen, at once: what
    /// nobody is entitled to any more does not wait for its next attempt.
    fn reconsider_waiting<R: Records>(
        &mut self,
        citizen: &Citizen,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        for delivery in self.unfinished_about(citizen, records)? {
            // What is under way is decided again should it fail.
            let under_way = self.lanes.loaded(delivery.key).is_some_and(Loaded::is_in_flight);
            if !under_way && !matches!(delivery.state, State::Dead { .. }) {
                self.withdraw_unless_entitled(&delivery, records, now, out)?;
            }
        }
        Ok(())
    }

    /// Withdraws what waits about a record that has been deleted; only the
    /// deletion is told (R 5.1). What is under way is withdrawn too: should it
    /// fail, it must not be tried again, after a restart neither.
    fn withdraw_about_record<R: Records>(
        &mut self,
        deletion: &Event,
        citizen: &Citizen,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<(), R::Error> {
        for delivery in self.unfinished_about(citizen, records)? {
            if deletion.takes_back(&delivery.event) {
                trace(&delivery, Step::RecordDeleted { event_id: deletion.id.clone() }, now, records)?;
                self.withdraw(&delivery, Withdrawal::RecordDeleted, now, records, out)?;
            }
        }
        Ok(())
    }

    /// Returns what is unfinished about a citizen, dead or under way included.
    /// Costs in proportion to that, not to all that waits.
    pub(super) fn unfinished_about<R: Records>(&self, citizen: &Citizen, records: &mut R) -> Result<Vec<Delivery>, R::Error> {
        let mut unfinished = Vec::new();
        // Each once, though a merged citizen is asked about under several ids.
        let mut unloaded = BTreeSet::new();
        for id in citizen.ids() {
            for (recipient, queue) in self.lanes.queues().filter(|(_, queue)| !queue.is_empty()) {
                unfinished.extend(queue.loaded_of(id).filter_map(|seq| queue.get(seq)).map(|loaded| loaded.delivery.clone()));
                unloaded.extend(queue.fresh_of(id).map(|seq| DeliveryKey { recipient, seq }));
            }
            unloaded.extend(records.rows_of(id)?);
        }
        for key in unloaded {
            if self.lanes.loaded(key).is_none() {
                unfinished.extend(records.delivery(key)?);
            }
        }
        Ok(unfinished)
    }
}

/// What an event did to what is known.
struct Folding {
    /// The citizen that it is about, as known with it.
    citizen: Arc<Citizen>,
    folded: Folded,
    /// Whom its record was about until now, where that is somebody else.
    former_owner: Option<Arc<Citizen>>,
}

/// Adds the contact group that a record is moved from, where the event leaves it
/// out: once the event is folded, nobody knows it any more.
fn completed<R: Records>(mut event: Event, records: &mut R) -> Result<Event, R::Error> {
    let Content::ContactGroup { group: Some(group), former: former @ None } = &mut event.content else { return Ok(event) };
    let Some(id) = records.find_citizen(&event.personnummer)? else { return Ok(event) };
    let Some(citizen) = records.citizen(id)? else { return Ok(event) };
    let before = citizen.contact_groups.of_record(&event.external_id);
    let before = before.filter(|known| (known.registered_at, known.mark) < (event.registered.at, event.mark));
    *former = before.and_then(Registration::claim).map(|claim| claim.value).filter(|before| before != group);
    Ok(event)
}

/// Returns whose number it is, enrolling a citizen for a new one.
fn known_or_new<R: Records>(personnummer: &Personnummer, records: &mut R) -> Result<CitizenId, R::Error> {
    match records.find_citizen(personnummer)? {
        Some(id) => Ok(id),
        None => records.enroll(personnummer),
    }
}

/// Returns the record of a citizen, a blank one where there is none.
fn record_of<R: Records>(id: CitizenId, personnummer: &Personnummer, records: &mut R) -> Result<Arc<Citizen>, R::Error> {
    Ok(records.citizen(id)?.unwrap_or_else(|| Arc::new(Citizen::new(id, *personnummer))))
}

/// Moves everything known under one number to another: two records that turn
/// out to be one person become one.
fn renumber<R: Records>(event: &Event, new: Option<Personnummer>, records: &mut R) -> Result<(Arc<Citizen>, Folded), R::Error> {
    let old = event.personnummer;
    let id = known_or_new(&old, records)?;
    let mut citizen = record_of(id, &old, records)?;
    let id = citizen.id;
    let (at, mark) = (event.registered.at, event.mark);
    let current = match (event.change, new) {
        (Aendring::Created | Aendring::Updated, Some(new)) => new,
        // A recalled change: the number is the old one again.
        (Aendring::Deleted, _) | (Aendring::Created | Aendring::Updated, None) => old,
    };
    // A recall makes nobody one person; what it recalls may have, and that cannot
    // be undone here: the records are one by then.
    if let (Some(new), Aendring::Created | Aendring::Updated) = (new, event.change) {
        match records.find_citizen(&new)? {
            Some(other) => {
                let other = record_of(other, &new, records)?;
                if other.id != id {
                    super::clockwork::merge_clocks(other.id, id, records)?;
                    Arc::make_mut(&mut citizen).absorb(&other);
                    records.stage(Change::MergeCitizens { from: other.id, into: id })?;
                }
            }
            None => records.stage(Change::AssignNumber { personnummer: new, citizen: id })?,
        }
    }
    match Arc::make_mut(&mut citizen).renumber(current, at, mark) {
        // Merging alone may have changed who is entitled, whatever the number.
        Folded::Changed | Folded::Unchanged => records.stage(Change::PutCitizen(Arc::clone(&citizen)))?,
    }
    Ok((citizen, Folded::Changed))
}
