//! Lists of deliveries: read beside the writer, page by page, so that whoever
//! looks delays nobody. What moves meanwhile may be seen twice, or not at all.

use serde_json::{Value, json};

use super::deliveries::{because_json, finished, item};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::outbox::Because;
use crate::core::policy::Rules;
use crate::core::records::{Admission, Lookout};
use crate::core::replay::{Filter, StateFilter};
use crate::core::time::Moment;
use crate::core::trace::Step;

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
fn lets_through(filter: &Filter, admission: &Admission, recipient: Recipient, described: &Value, rules: &Rules) -> bool {
    let state = described["state"].as_str().and_then(StateFilter::parse);
    (filter.state.is_none() || filter.state == state)
        && filter.names(|| admission.event.mark.wsb_id(recipient))
        && filter.is_about(&admission.event, rules)
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
    rules: &'a Rules,
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
                if self.filter.lets_through(&row, self.rules) {
                    self.items.push(item(&row, self.rules));
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
        if !self.filter.is_about(&admission.event, self.rules) || !self.filter.covers(admission.at) {
            return Ok(());
        }
        let mut told: Vec<(Recipient, Because)> = admission.deliveries.clone();
        // Those that took over from them, each by the latest decision.
        for traced in look.steps_of(admission.seq)? {
            let Some(by) = traced.recipient else { continue };
            let (Step::TookOver { because, .. } | Step::DecidedAnew { because }) = traced.step else { continue };
            match told.iter_mut().find(|(recipient, _)| *recipient == by) {
                Some((_, known)) => *known = because,
                None => told.push((by, because)),
            }
        }
        for (recipient, because) in &told {
            let key = DeliveryKey { recipient: *recipient, seq: admission.seq };
            let to_another = self.filter.recipient.is_some_and(|wanted| wanted != *recipient);
            if to_another || look.row(key)?.is_some() {
                continue;
            }
            let described = finished(admission, key, self.rules, Some(because_json(because)), look.end_of(key)?);
            if lets_through(self.filter, admission, *recipient, &described, self.rules) {
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
pub fn deliveries<L: Lookout>(look: &L, rules: &Rules, filter: &Filter, cursor: Option<Cursor>, limit: usize) -> Result<Value, L::Error> {
    let mut page = Page { filter, rules, limit, items: Vec::new(), looked_at: 0 };
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;
    use crate::core::event::{Change, Content};
    use crate::core::ids::{CitizenId, WsbId};
    use crate::core::outbox::{Death, Delivery, End, State};
    use crate::core::policy::{Audience, Audiences, Domain, RetryPolicy};
    use crate::core::records::{Ended, Quarantined};
    use crate::core::samples::{day, event, recipient};
    use crate::core::trace::Traced;
    use crate::ops::{Search, Searched, Told};

    /// As many waiting, dead and delivered ones as there are events, of which the
    /// first have outlived the journal; counts what is read.
    struct Full {
        events: u64,
        outlived: u64,
        read: Cell<usize>,
    }

    impl Full {
        fn delivery(&self, seq: u64, state: State) -> Delivery {
            let event = event(&format!("e{seq}"), 1, Change::Created, "2026-03-16..", Content::Other);
            Delivery {
                key: DeliveryKey { recipient: recipient("akasse:067"), seq: EventSeq(seq) },
                citizen: CitizenId(1),
                event: Arc::new(event),
                domain: Domain::Plan,
                because: Because {
                    audience: Audience::AkasseOwnMembers,
                    also: Audiences::default(),
                    registration: None,
                    day: day("2026-03-16"),
                },
                first_at: Moment(1_000_000_000_000),
                attempts: 0,
                failures: Vec::new(),
                replays: 0,
                delivered_before: None,
                state,
            }
        }

        fn reads(&self, count: usize) {
            self.read.set(self.read.get() + count);
        }
    }

    impl Lookout for Full {
        type Error = Infallible;

        fn newest(&self) -> Result<EventSeq, Infallible> {
            Ok(EventSeq(self.events))
        }

        fn row_page(
            &self,
            dead: bool,
            recipient: Option<Recipient>,
            after: Option<DeliveryKey>,
            limit: usize,
        ) -> Result<Vec<Delivery>, Infallible> {
            if recipient.is_some_and(|of| of != self.delivery(1, State::Pending).key.recipient) {
                return Ok(Vec::new());
            }
            let state = if dead { State::Dead { at: Moment(0), why: Death::Expired } } else { State::Pending };
            let first = after.map_or(1, |after| after.seq.0 + 1);
            let rows: Vec<_> = (first..=self.events).take(limit).map(|seq| self.delivery(seq, state.clone())).collect();
            self.reads(rows.len());
            Ok(rows)
        }

        fn outlived_page(
            &self,
            dead: bool,
            recipient: Option<Recipient>,
            after: Option<DeliveryKey>,
            limit: usize,
        ) -> Result<Vec<Delivery>, Infallible> {
            Self { events: self.outlived, outlived: 0, read: Cell::new(0) }
                .row_page(dead, recipient, after, limit)
                .inspect(|rows| self.reads(rows.len()))
        }

        fn row(&self, _: DeliveryKey) -> Result<Option<Delivery>, Infallible> {
            self.reads(1);
            Ok(None)
        }

        fn taken_in(&self, seq: EventSeq) -> Result<Option<Arc<Admission>>, Infallible> {
            self.reads(1);
            let Delivery { citizen, event, domain, because, first_at, key, .. } = self.delivery(seq.0, State::Pending);
            let deliveries = vec![(key.recipient, because)];
            Ok(Some(Arc::new(Admission { seq, citizen, event, domain, at: first_at, deliveries, left_out: Vec::new() })))
        }

        fn steps_of(&self, _: EventSeq) -> Result<Vec<Traced>, Infallible> {
            self.reads(1);
            Ok(Vec::new())
        }

        fn quarantine_after(&self, _: u64, _: usize) -> Result<Vec<Quarantined>, Infallible> {
            Ok(Vec::new())
        }

        fn end_of(&self, _: DeliveryKey) -> Result<Option<Ended>, Infallible> {
            self.reads(1);
            let at = Moment(1_000_000_000_001);
            Ok(Some(Ended { end: End::Delivered, attempts: 1, at, failures: Vec::new(), replays: 0, delivered_before: None }))
        }

        fn delivered(&self, _: Recipient, _: Moment, _: Moment, _: usize) -> Result<Vec<EventSeq>, Infallible> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_search_for_an_id_finds_what_outlived_the_journal_and_looks_where_one_may() {
        let sought = |(events, outlived): (u64, u64), id, only| {
            let full = Full { events, outlived, read: Cell::new(0) };
            let mut search = Search::new(id, Told { only });
            loop {
                let before = full.read.get();
                let searched = search.page(&full).expect("never fails");
                assert!(full.read.get() <= before + crate::ops::PAGE, "a page at a time");
                match searched {
                    Searched::NotYet(further) => search = further,
                    Searched::Found(key) => return (Some(key), full.read.get()),
                    Searched::Nowhere => return (None, full.read.get()),
                }
            }
        };
        let of = |seq| Full { events: 0, outlived: 0, read: Cell::new(0) }.delivery(seq, State::Pending);
        for last in [1_234, 5_001, 12_000] {
            assert_eq!(sought((20_000, 12_000), of(last).id(), None).0, Some(of(last).key));
        }
        let nobody = WsbId::from_bytes([7; 16]);
        let reads = [20_000, 1_000_000].map(|events| sought((events, 5_000), nobody, None));
        assert_eq!(reads[0], reads[1]);
        assert!(reads[1].0.is_none() && reads[1].1 <= 10_000, "{reads:?}");
        let other = Recipient::parse("kommune:001").expect("a recipient");
        assert_eq!(sought((3_000, 3_000), of(1_234).id(), Some(other)), (None, 0), "another's are not looked at");
    }

    #[test]
    fn a_page_of_millions_reads_no_more_than_one_of_thousands() {
        let rules = Rules::new(Vec::new(), Vec::new(), RetryPolicy::default());
        let nobody: Option<Box<str>> = Some("Nobody".into());
        let of = |state| Filter { state, ..Filter::default() };
        let without = |filter: Filter| Filter { entity: nobody.clone(), ..filter };
        for filter in [
            of(None),
            of(Some(StateFilter::Dead)),
            of(Some(StateFilter::Delivered)),
            without(of(None)),
            without(of(Some(StateFilter::Dead))),
            without(of(Some(StateFilter::Delivered))),
            Filter { reason: nobody.clone(), ..of(None) },
            Filter { since: Some(Moment(2_000_000_000_000)), ..of(Some(StateFilter::Dead)) },
        ] {
            let reads = [100_000, 1_000_000].map(|events| {
                let full = Full { events, outlived: 0, read: Cell::new(0) };
                let page = deliveries(&full, &rules, &filter, None, 100).expect("never fails");
                assert!(page["next_cursor"].is_string(), "{filter:?}");
                full.read.get()
            });
            assert_eq!(reads[0], reads[1], "{filter:?}");
            assert!(reads[1] <= 4 * LOOKED_AT + super::super::PAGE, "{filter:?}: {} reads", reads[1]);
        }
    }
}
