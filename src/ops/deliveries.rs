//! Deliveries and events as operators and auditors see them. What a message
//! says of a person is never part of an answer.

use serde_json::{Value, json};

use super::audit::note_about;
use super::trace::key_of;
use crate::core::audit::Deed;
use crate::core::engine::{Discarded, Engine, Output};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient, WsbId};
use crate::core::outbox::{Because, Delivery, End, State};
use crate::core::records::{Admission, Archive, Ended};
use crate::core::time::Moment;

/// The states that a list can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateFilter {
    /// Never attempted.
    Pending,
    /// To be tried again.
    Retrying,
    /// Given up.
    Dead,
    /// Confirmed.
    Delivered,
    /// Taken back.
    Withdrawn,
}

impl StateFilter {
    /// Parses the name of a state.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "pending" => Some(Self::Pending),
            "retrying" => Some(Self::Retrying),
            "dead" => Some(Self::Dead),
            "delivered" => Some(Self::Delivered),
            "withdrawn" => Some(Self::Withdrawn),
            _ => None,
        }
    }
}

/// Which deliveries. Everything given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// This one delivery.
    pub id: Option<WsbId>,
    /// In this state.
    pub state: Option<StateFilter>,
    /// To this recipient.
    pub recipient: Option<Recipient>,
    /// Of this EntitetNavn.
    pub entity: Option<String>,
    /// For this reason.
    pub reason: Option<String>,
    /// Decided at or after.
    pub since: Option<Moment>,
    /// Decided before.
    pub until: Option<Moment>,
}

impl Filter {
    fn lets_through(&self, delivery: &Delivery) -> bool {
        let state = match (&self.state, &delivery.state) {
            (None, _) => true,
            (Some(StateFilter::Pending), State::Pending) | (Some(StateFilter::Retrying), State::Retrying { .. }) => true,
            (Some(StateFilter::Dead), State::Dead { .. }) => true,
            (Some(_), _) => false,
        };
        state
            && self.id.is_none_or(|id| id == delivery.id())
            && self.entity.as_deref().is_none_or(|entity| entity == &*delivery.event.entity)
            && self.reason.as_deref().is_none_or(|reason| reason_of(&delivery.state) == Some(reason))
            && self.since.is_none_or(|since| since <= delivery.first_at)
            && self.until.is_none_or(|until| delivery.first_at < until)
    }

    /// Returns where any can be.
    fn shelves(&self) -> &'static [Shelf] {
        match self.state {
            None => &[Shelf::Waiting, Shelf::Dead, Shelf::Journal],
            Some(StateFilter::Retrying) => &[Shelf::Waiting],
            Some(StateFilter::Dead) => &[Shelf::Dead],
            // What is about to be attempted is in the journal only.
            Some(StateFilter::Pending) => &[Shelf::Waiting, Shelf::Journal],
            Some(StateFilter::Delivered | StateFilter::Withdrawn) => &[Shelf::Journal],
        }
    }

    /// Returns whether a delivery of the journal, described, matches.
    fn lets_through_described(&self, admission: &Admission, described: &Value) -> bool {
        let state = described["state"].as_str().and_then(StateFilter::parse);
        self.id.is_none_or(|id| described["id"] == id.to_string())
            && (self.state.is_none() || self.state == state)
            && self.entity.as_deref().is_none_or(|entity| entity == &*admission.event.entity)
            && self.reason.as_deref().is_none_or(|reason| described["reason"] == reason)
            && self.since.is_none_or(|since| since <= admission.at)
            && self.until.is_none_or(|until| admission.at < until)
    }
}

/// Where deliveries are kept, in the order in which they are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shelf {
    /// Rows that wait, by recipient and intake.
    Waiting,
    /// Rows of dead ones, likewise.
    Dead,
    /// Deliveries that never had a row, the newest event first.
    Journal,
}

/// Where a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    shelf: Shelf,
    after: DeliveryKey,
}

impl Cursor {
    /// Parses what a page gave as its `next_cursor`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (shelf, rest) = text.split_once('-')?;
        let (recipient, seq) = rest.split_once('-')?;
        let recipient = Recipient::from_number(recipient.parse().ok()?)?;
        let shelf = match shelf {
            "w" => Shelf::Waiting,
            "d" => Shelf::Dead,
            "j" => Shelf::Journal,
            _ => return None,
        };
        Some(Self { shelf, after: DeliveryKey { recipient, seq: EventSeq(seq.parse().ok()?) } })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shelf = match self.shelf {
            Shelf::Waiting => 'w',
            Shelf::Dead => 'd',
            Shelf::Journal => 'j',
        };
        write!(f, "{shelf}-{}-{}", self.after.recipient.to_number(), self.after.seq.0)
    }
}

/// How many rows or events one call looks at, at the most: a filter that
/// nothing matches must not read a million of them while the writer waits.
const LOOKED_AT: usize = 5_000;

/// A page on its way.
struct Page<'a> {
    filter: &'a Filter,
    limit: usize,
    items: Vec<Value>,
    looked_at: usize,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.items.len() >= self.limit || self.looked_at >= LOOKED_AT
    }

    /// Adds rows; returns after which one the next page goes on.
    fn add_rows<R: Archive>(
        &mut self,
        records: &mut R,
        dead: bool,
        mut after: Option<DeliveryKey>,
    ) -> Result<Option<DeliveryKey>, R::Error> {
        loop {
            let rows = records.row_page(dead, self.filter.recipient, after, super::PAGE)?;
            let last = rows.len() < super::PAGE;
            for row in rows {
                after = Some(row.key);
                self.looked_at += 1;
                if self.filter.lets_through(&row) {
                    self.items.push(item(&row));
                }
                if self.is_full() {
                    return Ok(after);
                }
            }
            if last {
                return Ok(None);
            }
        }
    }

    /// Adds what never had a row, the newest event first.
    fn add_journal<R: Archive>(&mut self, records: &mut R, after: Option<DeliveryKey>) -> Result<Option<DeliveryKey>, R::Error> {
        let newest = after.map_or(records.last_seq().0, |after| after.seq.0.saturating_sub(1));
        for seq in (1..=newest).rev().map(EventSeq) {
            self.looked_at += 1;
            let Some(admission) = records.admission(seq)? else { continue };
            for (recipient, because) in &admission.deliveries {
                let key = DeliveryKey { recipient: *recipient, seq };
                if self.filter.recipient.is_some_and(|wanted| wanted != *recipient) || records.delivery(key)?.is_some() {
                    continue;
                }
                let ended = records.ended(key)?;
                let described = finished(&admission, key, Some(because_json(because)), ended);
                if self.filter.lets_through_described(&admission, &described) {
                    self.items.push(described);
                }
            }
            // Whole events only: the cursor says after which event.
            if self.is_full() && seq.0 > 1 {
                let recipient = admission.deliveries.first().map(|(recipient, _)| *recipient);
                return Ok(recipient.or(Recipient::from_number(0)).map(|recipient| DeliveryKey { recipient, seq }));
            }
        }
        Ok(None)
    }
}

/// Returns a page of deliveries: those that wait, the dead, and then the
/// finished, the newest first. A page may hold a few more than `limit`.
///
/// # Errors
/// When the store cannot be read.
pub fn deliveries<R: Archive>(records: &mut R, filter: &Filter, cursor: Option<Cursor>, limit: usize) -> Result<Value, R::Error> {
    let mut page = Page { filter, limit, items: Vec::new(), looked_at: 0 };
    let mut next = None;
    for &shelf in filter.shelves() {
        let after = match cursor {
            Some(cursor) if shelf < cursor.shelf => continue,
            Some(cursor) if shelf == cursor.shelf => Some(cursor.after),
            Some(_) | None => None,
        };
        let goes_on = match shelf {
            Shelf::Waiting => page.add_rows(records, false, after)?,
            Shelf::Dead => page.add_rows(records, true, after)?,
            Shelf::Journal => page.add_journal(records, after)?,
        };
        if let Some(after) = goes_on {
            next = Some(Cursor { shelf, after }.to_string());
            break;
        }
    }
    Ok(json!({ "items": page.items, "next_cursor": next }))
}

/// Returns dead deliveries that match and come after `after`, and where to go on.
pub(super) fn matching_dead<R: Archive>(
    records: &mut R,
    filter: &Filter,
    after: Option<DeliveryKey>,
) -> Result<(Vec<Delivery>, Option<DeliveryKey>), R::Error> {
    let rows = records.row_page(true, filter.recipient, after, super::PAGE)?;
    let next = (rows.len() == super::PAGE).then(|| rows.last().map(|row| row.key)).flatten();
    Ok((rows.into_iter().filter(|row| filter.lets_through(row)).collect(), next))
}

/// Why a delivery was not discarded.
#[derive(Debug, thiserror::Error)]
pub enum DiscardError<E: std::error::Error + 'static> {
    /// There is none of that id.
    #[error("no delivery has that id")]
    Unknown,
    /// It is under way, or has ended.
    #[error("the delivery is under way or has ended")]
    TooLate,
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// Gives a delivery up for good, and notes who does. The caller commits.
///
/// # Errors
/// When there is no such delivery, it is too late, or the store fails.
pub fn discard_delivery<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    id: WsbId,
    deed: Deed,
    now: Moment,
    out: &mut Output,
) -> Result<(), DiscardError<R::Error>> {
    let key = key_of(records, id).map_err(DiscardError::Store)?.ok_or(DiscardError::Unknown)?;
    match engine.discard(key, records, now, out).map_err(DiscardError::Store)? {
        Discarded::Withdrawn => note_about(records, now, deed, key, id).map_err(DiscardError::Store),
        Discarded::TooLate => Err(DiscardError::TooLate),
    }
}

fn reason_of(state: &State) -> Option<&'static str> {
    match state {
        State::Pending => None,
        State::Retrying { last, .. } => Some(last.name()),
        State::Dead { why, .. } => Some(why.name()),
    }
}

pub(super) fn item(delivery: &Delivery) -> Value {
    let (state, next_at, last_at) = match &delivery.state {
        State::Pending => ("pending", None, None),
        State::Retrying { next_at, .. } => ("retrying", Some(*next_at), delivery.failures.last().map(|attempt| attempt.at)),
        State::Dead { at, .. } => ("dead", None, Some(*at)),
    };
    json!({
        "id": delivery.id().to_string(),
        "event_id": &*delivery.event.id,
        "recipient": delivery.key.recipient.to_string(),
        "entity": &*delivery.event.entity,
        "state": state,
        "reason": reason_of(&delivery.state),
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "delivered_before": delivery.delivered_before.map(|at| at.to_string()),
        "first_at": delivery.first_at.to_string(),
        "last_at": last_at.map(|at| at.to_string()),
        "next_at": next_at.map(|at| at.to_string()),
    })
}

pub(super) fn because_json(because: &Because) -> Value {
    json!({
        "audience": because.audience.name(),
        "day": because.day.to_string(),
        "registration": because.registration.as_ref().map(|(record, registered_at)| json!({
            "external_id": record.as_str(), "registered_at": registered_at.to_string(),
        })),
    })
}

pub(super) fn finished(admission: &Admission, key: DeliveryKey, because: Option<Value>, ended: Option<Ended>) -> Value {
    let (state, reason) = match ended.as_ref().map(|ended| ended.end) {
        None => ("pending", None),
        Some(End::Delivered) => ("delivered", None),
        Some(End::Withdrawn(why)) => ("withdrawn", Some(why.name())),
    };
    json!({
        "id": admission.event.mark.wsb_id(key.recipient).to_string(),
        "event_id": &*admission.event.id,
        "recipient": key.recipient.to_string(),
        "entity": &*admission.event.entity,
        "state": state,
        "reason": reason,
        "attempts": ended.as_ref().map_or(0, |ended| ended.attempts),
        "replays": ended.as_ref().map_or(0, |ended| ended.replays),
        "delivered_before": ended.as_ref().and_then(|ended| ended.delivered_before).map(|at| at.to_string()),
        "first_at": admission.at.to_string(),
        "last_at": ended.map(|ended| ended.at.to_string()),
        "next_at": Value::Null,
        "because": because,
    })
}
