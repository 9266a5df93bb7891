//! Lists of deliveries: read beside the writer, page by page, so that whoever
//! looks delays nobody. What moves meanwhile may be seen twice, or not at all.

use serde_json::{Value, json};

use super::deliveries::{because_json, finished, item};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient};
use crate::core::outbox::{Because, End, Ended};
use crate::core::policy::Rules;
use crate::core::records::{Admission, EndPlace, Lookout, WantedEnds};
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
    /// Deliveries that have no row yet, the newest event first.
    Journal,
    /// Deliveries that have ended, those that ended last first.
    Ended,
}

/// Returns where any can be that match.
fn shelves(filter: &Filter) -> &'static [Shelf] {
    match filter.state {
        None => &[Shelf::Waiting, Shelf::Dead, Shelf::Journal, Shelf::Ended],
        Some(StateFilter::Retrying) => &[Shelf::Waiting],
        Some(StateFilter::Dead) => &[Shelf::Dead],
        // What is about to be attempted is in the journal only.
        Some(StateFilter::Pending) => &[Shelf::Waiting, Shelf::Journal],
        Some(StateFilter::Delivered | StateFilter::Withdrawn) => &[Shelf::Ended],
    }
}

/// Returns whether a delivery without a row, described, matches.
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
pub enum Cursor {
    /// After the row of a delivery that waits.
    Waiting(DeliveryKey),
    /// After the row of a dead one.
    Dead(DeliveryKey),
    /// Before an event.
    Journal(EventSeq),
    /// Before an end.
    Ended(EndPlace),
}

impl Cursor {
    /// Parses what a page gave as its `next_cursor`. What an older broker gave for
    /// those without a row began with `j` and is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let shelf = parts.next()?;
        let numbers = parts.map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let delivery = |recipient: u64, seq| {
            let recipient = Recipient::from_number(recipient.try_into().ok()?)?;
            Some(DeliveryKey { recipient, seq: EventSeq(seq) })
        };
        match (shelf, &numbers[..]) {
            ("w", &[recipient, seq]) => delivery(recipient, seq).map(Self::Waiting),
            ("d", &[recipient, seq]) => delivery(recipient, seq).map(Self::Dead),
            ("o", &[seq]) => Some(Self::Journal(EventSeq(seq))),
            ("e", &[next, part, at]) => {
                Some(Self::Ended(EndPlace { next: EventSeq(next), part: part.try_into().ok()?, at: at.try_into().ok()? }))
            }
            _ => None,
        }
    }

    fn shelf(self) -> Shelf {
        match self {
            Self::Waiting(_) => Shelf::Waiting,
            Self::Dead(_) => Shelf::Dead,
            Self::Journal(_) => Shelf::Journal,
            Self::Ended(_) => Shelf::Ended,
        }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting(key) => write!(f, "w-{}-{}", key.recipient.to_number(), key.seq.0),
            Self::Dead(key) => write!(f, "d-{}-{}", key.recipient.to_number(), key.seq.0),
            Self::Journal(seq) => write!(f, "o-{}", seq.0),
            Self::Ended(EndPlace { next, part, at }) => write!(f, "e-{}-{part}-{at}", next.0),
        }
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

    /// Adds what has no row yet, the newest event first; returns before which event the
    /// next page goes on.
    fn add_journal<L: Lookout>(&mut self, look: &L, before: Option<EventSeq>) -> Result<Option<EventSeq>, L::Error> {
        let newest = match before {
            Some(before) => EventSeq(before.0.saturating_sub(1)),
            None => newest_before(look, self.filter.until)?,
        };
        // Whatever is older has a row or has ended.
        let oldest = look.low_water()?.0.max(1);
        for seq in (oldest..=newest.0).rev().map(EventSeq) {
            self.looked_at += 1;
            if let Some(admission) = look.taken_in(seq)? {
                if self.filter.since.is_some_and(|since| admission.at < since.plus_seconds(-CLOCK_STEPS)) {
                    return Ok(None);
                }
                self.add_event(look, &admission)?;
            }
            // Whole events only: the cursor says before which event.
            if self.is_full() && seq.0 > oldest {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    fn add_event<L: Lookout>(&mut self, look: &L, admission: &Admission) -> Result<(), L::Error> {
        if !self.filter.is_about(&admission.event, self.rules) || !self.filter.covers(admission.at) {
            return Ok(());
        }
        for (recipient, because) in told(look, admission)? {
            let key = DeliveryKey { recipient, seq: admission.seq };
            let to_another = self.filter.recipient.is_some_and(|wanted| wanted != recipient);
            // What has ended comes later.
            if !to_another && look.row(key)?.is_none() && look.end_of(key)?.is_none() {
                self.add(admission, key, &because, None);
            }
        }
        Ok(())
    }

    /// Adds what has ended, the latest end first; returns before which one the next
    /// page goes on.
    fn add_ended<L: Lookout>(&mut self, look: &L, mut before: Option<EndPlace>) -> Result<Option<EndPlace>, L::Error> {
        let filter = self.filter;
        let is_wanted = |end: End| {
            let (state, reason) = match end {
                End::Delivered => (StateFilter::Delivered, None),
                End::Withdrawn(why) => (StateFilter::Withdrawn, Some(why.name())),
            };
            filter.state.is_none_or(|wanted| wanted == state) && filter.reason.as_deref().is_none_or(|wanted| reason == Some(wanted))
        };
        let newest = newest_before(look, filter.until)?;
        let wanted = WantedEnds { recipient: filter.recipient, is_wanted: &is_wanted, newest, since: filter.since };
        let mut admission = None;
        loop {
            let ends = look.ends_page(&wanted, before, super::PAGE)?;
            let are_all = ends.found.len() < super::PAGE;
            for (place, key, ended) in ends.found {
                self.looked_at += 1;
                if admission.as_ref().is_none_or(|admission: &std::sync::Arc<Admission>| admission.seq != key.seq) {
                    admission = look.taken_in(key.seq)?;
                }
                if let Some(admission) = &admission {
                    self.add_end(look, admission, key, ended)?;
                }
                if self.is_full() {
                    return Ok(Some(place));
                }
            }
            // Enough has been looked at, or all.
            if are_all || ends.goes_on.is_none() {
                return Ok(ends.goes_on);
            }
            before = ends.goes_on;
        }
    }

    fn add_end<L: Lookout>(&mut self, look: &L, admission: &Admission, key: DeliveryKey, ended: Ended) -> Result<(), L::Error> {
        if !self.filter.is_about(&admission.event, self.rules) || !self.filter.covers(admission.at) || look.row(key)?.is_some() {
            return Ok(());
        }
        if let Some((_, because)) = told(look, admission)?.iter().find(|(recipient, _)| *recipient == key.recipient) {
            self.add(admission, key, because, Some(ended));
        }
        Ok(())
    }

    fn add(&mut self, admission: &Admission, key: DeliveryKey, because: &Because, ended: Option<Ended>) {
        let described = finished(admission, key, self.rules, Some(because_json(because)), ended);
        if lets_through(self.filter, admission, key.recipient, &described, self.rules) {
            self.items.push(described);
        }
    }
}

/// Returns who is told of an event, those included that took over from others, each
/// by the latest decision.
fn told<L: Lookout>(look: &L, admission: &Admission) -> Result<Vec<(Recipient, Because)>, L::Error> {
    let mut told: Vec<(Recipient, Because)> = admission.deliveries.clone();
    for traced in look.steps_of(admission.seq)? {
        let Some(by) = traced.recipient else { continue };
        let (Step::TookOver { because, .. } | Step::DecidedAnew { because }) = traced.step else { continue };
        match told.iter_mut().find(|(recipient, _)| *recipient == by) {
            Some((_, known)) => *known = because,
            None => told.push((by, because)),
        }
    }
    Ok(told)
}

/// Returns the place of the newest event, or of one after which none was taken in
/// before `until`.
fn newest_before<L: Lookout>(look: &L, until: Option<Moment>) -> Result<EventSeq, L::Error> {
    match until {
        Some(until) => first_taken_in(look, until.plus_seconds(CLOCK_STEPS)),
        None => look.newest(),
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

/// Returns a page of deliveries: those that wait, the dead, what is about to be
/// attempted, and then what has ended, the latest first. A page may hold a few more
/// than `limit`, or none although there are more.
///
/// # Errors
/// When the store cannot be read.
pub fn deliveries<L: Lookout>(look: &L, rules: &Rules, filter: &Filter, cursor: Option<Cursor>, limit: usize) -> Result<Value, L::Error> {
    let mut page = Page { filter, rules, limit, items: Vec::new(), looked_at: 0 };
    let mut next = None;
    for &shelf in shelves(filter) {
        if cursor.is_some_and(|cursor| shelf < cursor.shelf()) {
            continue;
        }
        next = match (shelf, cursor) {
            (Shelf::Waiting, Some(Cursor::Waiting(after))) => page.add_rows(look, false, Some(after))?.map(Cursor::Waiting),
            (Shelf::Waiting, _) => page.add_rows(look, false, None)?.map(Cursor::Waiting),
            (Shelf::Dead, Some(Cursor::Dead(after))) => page.add_rows(look, true, Some(after))?.map(Cursor::Dead),
            (Shelf::Dead, _) => page.add_rows(look, true, None)?.map(Cursor::Dead),
            (Shelf::Journal, Some(Cursor::Journal(before))) => page.add_journal(look, Some(before))?.map(Cursor::Journal),
            (Shelf::Journal, _) => page.add_journal(look, None)?.map(Cursor::Journal),
            (Shelf::Ended, Some(Cursor::Ended(before))) => page.add_ended(look, Some(before))?.map(Cursor::Ended),
            (Shelf::Ended, _) => page.add_ended(look, None)?.map(Cursor::Ended),
        };
        if next.is_some() {
            break;
        }
    }
    Ok(json!({ "items": page.items, "next_cursor": next.map(|next| next.to_string()) }))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::sync::Arc;

    use super::*;
    use crate::core::event::{Change, Content};
    use crate::core::ids::{CitizenId, WsbId};
    use crate::core::outbox::{Death, Delivery, State};
    use crate::core::policy::{Audience, Audiences, Domain, RetryPolicy};
    use crate::core::records::{EndsPage, Quarantined};
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

    /// How many notes of ends are looked at for one page.
    const NOTES: u64 = 10_000;

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

        fn low_water(&self) -> Result<EventSeq, Infallible> {
            Ok(EventSeq(self.events))
        }

        fn ends_page(&self, wanted: &WantedEnds<'_>, before: Option<EndPlace>, limit: usize) -> Result<EndsPage, Infallible> {
            let newest = before.map_or(self.events, |before| before.next.0 - 1);
            let ends = |seq| {
                let ended = Ended {
                    end: End::Delivered,
                    attempts: 1,
                    at: Moment(1_000_000_000_001),
                    failures: Vec::new(),
                    replays: 0,
                    delivered_before: None,
                };
                let delivery = self.delivery(seq, State::Pending);
                (wanted.is_wanted)(ended.end).then_some((EndPlace { next: EventSeq(seq), part: 0, at: 0 }, delivery.key, ended))
            };
            let oldest = newest.saturating_sub(NOTES).max(1);
            let found: Vec<_> = (oldest..=newest).rev().filter_map(ends).take(limit).collect();
            self.reads(found.len());
            let last = found.get(limit - 1).map_or(oldest, |(place, ..)| place.next.0);
            Ok(EndsPage { found, goes_on: (last > 1).then_some(EndPlace { next: EventSeq(last), part: 0, at: 0 }) })
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
            of(Some(StateFilter::Withdrawn)),
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

    #[test]
    fn what_waits_is_not_looked_at_for_what_has_ended() {
        let rules = Rules::new(Vec::new(), Vec::new(), RetryPolicy::default());
        let full = Full { events: 100_000, outlived: 0, read: Cell::new(0) };
        let filter = Filter { state: Some(StateFilter::Withdrawn), ..Filter::default() };
        let (mut cursor, mut pages) = (None, 0);
        loop {
            let page = deliveries(&full, &rules, &filter, cursor, 100).expect("never fails");
            assert_eq!(page["items"], json!([]));
            pages += 1;
            match page["next_cursor"].as_str() {
                Some(next) => cursor = Some(Cursor::parse(next).expect("one of ours")),
                None => break,
            }
        }
        assert!(pages <= 100_000 / NOTES as usize + 1, "{pages} pages");
        assert_eq!(full.read.get(), 0, "no row, no event");

        let filter = Filter { state: Some(StateFilter::Pending), entity: Some("Nobody".into()), ..Filter::default() };
        let last = deliveries(&full, &rules, &filter, Some(Cursor::Journal(EventSeq(100_001))), 100).expect("never fails");
        assert_eq!(last, json!({ "items": [], "next_cursor": null }), "whatever is older has a row or has ended");
        assert!(full.read.get() <= 2, "{} reads", full.read.get());
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let key = DeliveryKey { recipient: recipient("akasse:067"), seq: EventSeq(7) };
        let place = EndPlace { next: EventSeq(u64::MAX), part: 3, at: 9 };
        for cursor in [Cursor::Waiting(key), Cursor::Dead(key), Cursor::Journal(EventSeq(7)), Cursor::Ended(place)] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for other in ["", "w", "w-1", "w-1-x", "e-1-2", "e-1-2-3-4", "e-1-99999999999-3", "j-0-7"] {
            assert_eq!(Cursor::parse(other), None, "{other}");
        }
    }
}
