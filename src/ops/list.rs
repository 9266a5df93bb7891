//! Lists of deliveries: read beside the writer, page by page, so that whoever
//! looks delays nobody. What moves meanwhile may be seen twice, or not at all.

use serde_json::{Value, json};

use super::deliveries::{because_json, finished, item};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::records::{Admission, Lookout};
use crate::core::replay::{Filter, StateFilter};
use crate::core::time::Moment;

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

/// Returns where any can be that match.
fn shelves(filter: &Filter) -> &'static [Shelf] {
    match filter.state {
        None => &[Shelf::Waiting, Shelf::Dead, Shelf::Journal],
        Some(StateFilter::Retrying) => &[Shelf::Waiting],
        Some(StateFilter::Dead) => &[Shelf::Dead],
        // What is about to be attempted is in the journal only.
        Some(StateFilter::Pending) => &[Shelf::Waiting, Shelf::Journal],
        Some(StateFilter::Delivered | StateFilter::Withdrawn) => &[Shelf::Journal],
    }
}

/// Returns whether a delivery of the journal, described, matches.
fn lets_through(filter: &Filter, admission: &Admission, recipient: Recipient, described: &Value) -> bool {
    let state = described["state"].as_str().and_then(StateFilter::parse);
    (filter.state.is_none() || filter.state == state)
        && filter.names(|| admission.event.mark.wsb_id(recipient))
        && filter.entity.as_deref().is_none_or(|entity| entity == &*admission.event.entity)
        && filter.reason.as_deref().is_none_or(|reason| described["reason"] == reason)
        && filter.covers(admission.at)
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

/// How many rows or events one call looks at, at the most: an answer comes soon,
/// and says where to go on.
const LOOKED_AT: usize = 5_000;

/// How far a clock may have been set back or forth, in seconds: events are as old
/// as their place, give or take this.
const CLOCK_STEPS: i64 = 600;

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
    fn add_rows<L: Lookout>(&mut self, look: &L, dead: bool, mut after: Option<DeliveryKey>) -> Result<Option<DeliveryKey>, L::Error> {
        loop {
            let rows = look.row_page(dead, self.filter.recipient, after, super::PAGE)?;
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
    fn add_journal<L: Lookout>(&mut self, look: &L, after: Option<DeliveryKey>) -> Result<Option<DeliveryKey>, L::Error> {
        let newest = match (after, self.filter.until) {
            (Some(after), _) => after.seq.0.saturating_sub(1),
            (None, Some(until)) => first_taken_in(look, until.plus_seconds(CLOCK_STEPS))?.0,
            (None, None) => look.newest()?.0,
        };
        for seq in (1..=newest).rev().map(EventSeq) {
            self.looked_at += 1;
            if let Some(admission) = look.taken_in(seq)? {
                if self.filter.since.is_some_and(|since| admission.at < since.plus_seconds(-CLOCK_STEPS)) {
                    return Ok(None);
                }
                self.add_event(look, &admission)?;
            }
            // Whole events only: the cursor says after which event.
            if self.is_full() && seq.0 > 1 {
                return Ok(Recipient::from_number(0).map(|recipient| DeliveryKey { recipient, seq }));
            }
        }
        Ok(None)
    }

    fn add_event<L: Lookout>(&mut self, look: &L, admission: &Admission) -> Result<(), L::Error> {
        for (recipient, because) in &admission.deliveries {
            let key = DeliveryKey { recipient: *recipient, seq: admission.seq };
            let about_another = self.filter.recipient.is_some_and(|wanted| wanted != *recipient)
                || self.filter.entity.as_deref().is_some_and(|entity| entity != &*admission.event.entity);
            if about_another || !self.filter.covers(admission.at) || look.row(key)?.is_some() {
                continue;
            }
            let described = finished(admission, key, Some(because_json(because)), look.end_of(key)?);
            if lets_through(self.filter, admission, *recipient, &described) {
                self.items.push(described);
            }
        }
        Ok(())
    }
}

/// Returns the place of the first event taken in at `at` or later, or of a later
/// one where some in between are forgotten; found by halving.
fn first_taken_in<L: Lookout>(look: &L, at: Moment) -> Result<EventSeq, L::Error> {
    let (mut old, mut new) = (0, look.newest()?.0);
    while old + 1 < new {
        let middle = old + (new - old) / 2;
        match look.taken_in(EventSeq(middle))? {
            Some(admission) if admission.at >= at => new = middle,
            Some(_) | None => old = middle,
        }
    }
    Ok(EventSeq(new))
}

/// Returns a page of deliveries: those that wait, the dead, and then the
/// finished, the newest first. A page may hold a few more than `limit`.
///
/// # Errors
/// When the store cannot be read.
pub fn deliveries<L: Lookout>(look: &L, filter: &Filter, cursor: Option<Cursor>, limit: usize) -> Result<Value, L::Error> {
    let mut page = Page { filter, limit, items: Vec::new(), looked_at: 0 };
    let mut next = None;
    for &shelf in shelves(filter) {
        let after = match cursor {
            Some(cursor) if shelf < cursor.shelf => continue,
            Some(cursor) if shelf == cursor.shelf => Some(cursor.after),
            Some(_) | None => None,
        };
        let goes_on = match shelf {
            Shelf::Waiting => page.add_rows(look, false, after)?,
            Shelf::Dead => page.add_rows(look, true, after)?,
            Shelf::Journal => page.add_journal(look, after)?,
        };
        if let Some(after) = goes_on {
            next = Some(Cursor { shelf, after }.to_string());
            break;
        }
    }
    Ok(json!({ "items": page.items, "next_cursor": next }))
}
