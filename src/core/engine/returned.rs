//! A WSB that had been delivered comes back: the vendor rejected it, or its
//! queue gave it up. Only what came back from the queue that it was sent to is
//! believed: nobody ends another's delivery by a message made up for it.

use std::sync::Arc;

use super::dispatch::{had_ended, trace};
use super::replays::record_gone;
use super::{Engine, Fact, Output};
use crate::core::ids::{DeliveryKey, Recipient, WsbId};
use crate::core::outbox::{Because, Death, Delivery, End, Ended, State, Withdrawal};
use crate::core::records::{Archive, Change};
use crate::core::routing::{By, name_told};
use crate::core::time::Moment;
use crate::core::trace::{Step, Traced};

/// What a message that came back says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameBack {
    /// The id of the WSB.
    pub id: WsbId,
    /// The id of the event.
    pub event_id: Box<str>,
    /// Who was told of it.
    pub recipient: Recipient,
    /// Whether it says that an operator had asked for it.
    pub replay: bool,
    /// The queue that gave it up, as RabbitMQ noted it.
    pub queue: Box<str>,
}

/// What was made of a message that came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum TakenBack {
    /// Its delivery is dead now, or was already.
    Known,
    /// Nothing is known of it, or not any more.
    Unknown,
    /// What it says of itself does not fit together; its delivery stays as it was.
    Doubtful(Doubt),
}

/// Why a message that came back is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It comes from another queue than that of the recipient.
    Queue,
    /// The WSB of that id was sent to somebody else.
    Recipient,
}

impl Doubt {
    /// Returns the reason for the quarantine.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Queue => "unrecognized-return: its x-death names another queue than routing.toml gives the recipient in wsb-recipient",
            Self::Recipient => "unrecognized-return: the WSB of its id was not sent to the recipient in wsb-recipient",
        }
    }
}

impl Engine {
    /// Marks the delivery of a WSB that came back as dead at once: trying again
    /// is for a person to decide. It must have come from the queue that
    /// `routing.toml` gives its recipient.
    ///
    /// # Errors
    /// When the store cannot be read or the change not staged.
    pub fn take_back<R: Archive>(
        &mut self,
        wsb: &CameBack,
        why: Death,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<TakenBack, R::Error> {
        let key = key_of(wsb, records)?;
        // About somebody erased: kept neither as a delivery nor as a message.
        if key.is_none() && records.was_about_erased(wsb.id, Some(&wsb.event_id))? {
            out.facts.push(Fact::CameBackForgotten(wsb.recipient));
            return Ok(TakenBack::Known);
        }
        if self.rules.recipient(wsb.recipient).is_none_or(|rule| *rule.queue != *wsb.queue) {
            return Ok(TakenBack::Doubtful(Doubt::Queue));
        }
        if key.is_some_and(|key| key.recipient != wsb.recipient) {
            return Ok(TakenBack::Doubtful(Doubt::Recipient));
        }
        self.notices.came_back(wsb.recipient);
        let Some(key) = key else { return Ok(TakenBack::Unknown) };
        if self.lanes.loaded(key).is_some() {
            // It came back before its confirm: that attempt has its own outcome,
            // and whatever it is, this one stands after it.
            let queue = self.lanes.queue_mut(key.recipient);
            let Some(loaded) = queue.remove(key.seq) else { return Ok(TakenBack::Unknown) };
            if loaded.is_in_flight() {
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            if loaded.is_withdrawn() {
                // Its record was deleted meanwhile: it has ended, and stays so.
                return Ok(TakenBack::Known);
            }
            let mut delivery = loaded.delivery;
            let delivered_at = delivery.lose_copy(wsb.replay);
            came_back(&delivery, why, delivered_at, records, now)?;
            self.bury(delivery, why, records, now, out)?;
            return Ok(TakenBack::Known);
        }
        if let Some(mut row) = records.delivery(key)? {
            let delivered_at = row.lose_copy(wsb.replay);
            match row.state {
                // The other copy had come back first, at the same moment perhaps: each
                // is a step of its own.
                State::Dead { at, .. } if delivered_at.is_some() => {
                    came_back(&row, why, delivered_at, records, now.max(Moment(at.0.saturating_add(1))))?;
                    records.stage(Change::PutDelivery(row))?;
                }
                State::Dead { .. } => {}
                // Beyond the window: its outcome was lost, or it was replayed.
                State::Pending | State::Retrying { .. } => {
                    came_back(&row, why, delivered_at, records, now)?;
                    self.bury(row, why, records, now, out)?;
                }
            }
            return Ok(TakenBack::Known);
        }
        self.take_back_ended(key, wsb.replay, why, records, now, out)
    }

    /// Takes back what had ended. One that was withdrawn stays so, unless nothing was
    /// owed to anybody else for a copy that this may be.
    fn take_back_ended<R: Archive>(
        &mut self,
        key: DeliveryKey,
        replay: bool,
        why: Death,
        records: &mut R,
        now: Moment,
        out: &mut Output,
    ) -> Result<TakenBack, R::Error> {
        let Some(admission) = records.admission(key.seq)? else { return Ok(TakenBack::Unknown) };
        let ended = records.ended(key)?;
        let earlier = ended.as_ref().and_then(|ended| ended.delivered_before);
        let (withdrawn, delivered_at, delivered_before) = match &ended {
            None => (None, None, None),
            Some(ended) => match ended.end {
                // The copy that was sent last is still there.
                End::Delivered if ended.replays > 0 && !replay => (None, earlier.map(|earlier| earlier.at), Some(ended.copy())),
                End::Delivered => (None, Some(ended.at), earlier),
                End::Withdrawn(Withdrawal::MembershipEnded | Withdrawal::RecipientClosed)
                    if earlier.is_some_and(|earlier| earlier.replay == replay) =>
                {
                    // The attempts that failed go on with it.
                    (Some(Ended { failures: Vec::new(), ..ended.clone() }), None, None)
                }
                // The confirm of an attempt had not come, and it was withdrawn since.
                End::Withdrawn(_) => return Ok(TakenBack::Known),
            },
        };
        let chosen = admission.deliveries.iter().find(|(recipient, _)| *recipient == key.recipient);
        // Decided again since, or first chosen only when another had lost the citizen.
        let decided_later =
            records.steps(key.seq)?.into_iter().rev().filter(|traced| traced.recipient == Some(key.recipient)).find_map(later);
        let Some(because) = decided_later.or_else(|| chosen.map(|(_, because)| because.clone())) else {
            return Ok(TakenBack::Unknown);
        };
        let delivery = Delivery {
            key,
            citizen: admission.citizen,
            event: Arc::clone(&admission.event),
            domain: admission.domain,
            because,
            first_at: admission.at,
            attempts: ended.as_ref().map_or(1, |ended| ended.attempts),
            failures: ended.as_ref().map(|ended| ended.failures.clone()).unwrap_or_default(),
            replays: ended.as_ref().map_or(0, |ended| ended.replays),
            delivered_before,
            state: State::Dead { at: now, why },
        };
        let queue = self.lanes.queue_mut(key.recipient);
        queue.note_fresh(delivery.citizen, key.seq);
        queue.counts_mut().dead += 1;
        out.facts.push(Fact::Died(Arc::clone(name_told(&delivery.event, &self.rules)), key.recipient, why));
        if let Some(ended) = withdrawn {
            had_ended(&delivery, ended, records)?;
        }
        came_back(&delivery, why, delivered_at, records, now)?;
        records.stage(Change::PutDelivery(delivery.clone()))?;
        if let Some(lost) = record_gone(&delivery, records)? {
            // As if it had been dead when its record went.
            self.withdraw_for(&delivery, Withdrawal::RecordDeleted, lost, By::default(), records, now, out)?;
        }
        Ok(TakenBack::Known)
    }
}

fn came_back<R: Archive>(
    delivery: &Delivery,
    why: Death,
    delivered_at: Option<Moment>,
    records: &mut R,
    now: Moment,
) -> Result<(), R::Error> {
    trace(delivery, Step::CameBack { why, delivered_at }, now, records)
}

/// Returns why a recipient was chosen after its event had been taken in.
fn later(traced: Traced) -> Option<Because> {
    match traced.step {
        Step::TookOver { because, .. } | Step::DecidedAnew { because } => Some(because),
        Step::NotEntitled(_)
        | Step::RecordDeleted { .. }
        | Step::CameBack { .. }
        | Step::Replayed { .. }
        | Step::ReplayedInVain { .. }
        | Step::Acted { .. }
        | Step::LayInQuarantine(_)
        | Step::Ended(_)
        | Step::MayHaveBeenSent => None,
    }
}

/// Returns the delivery of a WSB that came back. One that took over from another
/// after the event was taken in is found by the event: its id was not known then.
fn key_of<R: Archive>(wsb: &CameBack, records: &mut R) -> Result<Option<DeliveryKey>, R::Error> {
    if let Some(key) = records.delivery_by_id(wsb.id)? {
        return Ok(Some(key));
    }
    for seq in records.events_by_id(&wsb.event_id)? {
        if records.admission(seq)?.is_some_and(|admission| admission.event.mark.wsb_id(wsb.recipient) == wsb.id) {
            return Ok(Some(DeliveryKey { recipient: wsb.recipient, seq }));
        }
    }
    Ok(None)
}
