//! Dead deliveries grouped by cause, so that a hundred thousand failures read as
//! three lines. Kept as they die and go; nobody counts them anew to answer.
//!
//! Knows nothing of what may become of them: that is for a person.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ids::Recipient;
use super::outbox::{Death, Delivery, State};
use super::policy::Rules;
use super::routing::notice_area;
use super::time::Moment;

/// What deliveries of one group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause {
    /// To whom.
    pub recipient: Recipient,
    /// Why they were given up; the class of the last failure, for those whose
    /// time ran out.
    pub why: Death,
    /// RabbitMQ's reply code for the last failure, or that of its queue; 0 where it
    /// gave none.
    pub code: u16,
    /// EntitetNavn of the event.
    pub entity: Arc<str>,
    /// For a deletion, the data area that says as which notice it is told.
    pub area: Option<Box<str>>,
}

impl Cause {
    /// Returns the cause of a dead delivery and when it died; `None` for one that
    /// is not dead.
    #[must_use]
    pub fn of(delivery: &Delivery) -> Option<(Self, Moment)> {
        let State::Dead { at, why } = delivery.state else { return None };
        let code = match why {
            // Without an attempt of its own it belongs to those that its queue failed.
            Death::GaveUp(failure) => delivery.failures.last().map_or(failure.usual_code(), |attempt| attempt.code),
            Death::NeverAttempted | Death::RejectedByRecipient | Death::DeliveryLimit | Death::Expired | Death::Overflow => 0,
        };
        let (recipient, entity) = (delivery.key.recipient, Arc::clone(&delivery.event.entity));
        let area = notice_area(&delivery.event).map(Into::into);
        Some((Self { recipient, why, code, entity, area }, at))
    }

    /// Returns the name of the type as which the deliveries are told; of what no
    /// rule tells any more, that of their events.
    #[must_use]
    pub fn name_told<'a>(&'a self, rules: &'a Rules) -> &'a str {
        self.area.as_deref().and_then(|area| rules.notice(area)).map_or(&self.entity, |kind| &kind.name)
    }
}

/// How many deliveries are dead of one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// How many there are now.
    pub count: u64,
    /// When the first of them died. Stays where it is when that one goes, until
    /// the last one has gone.
    pub first: Moment,
    /// When the latest died; likewise.
    pub last: Moment,
    /// Attempts that those there now have had.
    pub attempts: u64,
    /// How often those there now have been replayed, and died again.
    pub replays: u64,
}

impl Tally {
    /// Adds the numbers of another group.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.attempts += other.attempts;
        self.replays += other.replays;
    }
}

/// Every group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Causes(BTreeMap<Cause, Tally>);

impl Causes {
    /// Counts a delivery in, if it is dead. Returns its cause.
    pub fn add(&mut self, delivery: &Delivery) -> Option<Cause> {
        let (cause, at) = Cause::of(delivery)?;
        let fresh = Tally { count: 0, first: at, last: at, attempts: 0, replays: 0 };
        let tally = self.0.entry(cause.clone()).or_insert(fresh);
        tally.count += 1;
        tally.first = tally.first.min(at);
        tally.last = tally.last.max(at);
        tally.attempts += u64::from(delivery.attempts);
        tally.replays += u64::from(delivery.replays);
        Some(cause)
    }

    /// Counts a delivery out, if it was dead. Returns its cause.
    pub fn remove(&mut self, delivery: &Delivery) -> Option<Cause> {
        let (cause, _) = Cause::of(delivery)?;
        if let Some(tally) = self.0.get_mut(&cause) {
            tally.count = tally.count.saturating_sub(1);
            tally.attempts = tally.attempts.saturating_sub(u64::from(delivery.attempts));
            tally.replays = tally.replays.saturating_sub(u64::from(delivery.replays));
            if tally.count == 0 {
                self.0.remove(&cause);
            }
        }
        Some(cause)
    }

    /// Puts a group as it was stored.
    pub fn put(&mut self, cause: Cause, tally: Tally) {
        self.0.insert(cause, tally);
    }

    /// Returns a group.
    #[must_use]
    pub fn get(&self, cause: &Cause) -> Option<&Tally> {
        self.0.get(cause)
    }

    /// Returns every group, by recipient.
    pub fn iter(&self) -> impl Iterator<Item = (&Cause, &Tally)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::{Change, Content};
    use super::super::ids::{CitizenId, DeliveryKey, EventSeq};
    use super::super::outbox::{Attempt, Because, Failure};
    use super::super::policy::{Audience, Audiences, Domain};
    use super::super::samples::{day, event, recipient};
    use super::*;

    fn dead(seq: u64, to: &str, why: Death, code: u16, at: i64, replays: u32) -> Delivery {
        Delivery {
            key: DeliveryKey { recipient: recipient(to), seq: EventSeq(seq) },
            citizen: CitizenId(1),
            because: Because {
                audience: Audience::AkasseOwnMembers,
                also: Audiences::default(),
                registration: None,
                day: day("2026-03-16"),
            },
            event: Arc::new(event("e", 1, Change::Created, "2026-03-16..", Content::Other)),
            domain: Domain::Kontaktforloeb,
            first_at: Moment(1),
            attempts: 3,
            failures: vec![Attempt { at: Moment(at), failure: Failure::Returned, code }],
            replays,
            delivered_before: None,
            state: State::Dead { at: Moment(at), why },
        }
    }

    /// Some of a queue that is gone had no turn before the time was over.
    #[test]
    fn what_had_no_attempt_of_its_own_is_grouped_with_what_its_queue_failed() {
        let gave_up = Death::GaveUp(Failure::Returned);
        let mut causes = Causes::default();
        causes.add(&dead(1, "akasse:067", gave_up, 312, 1, 0));
        let unattempted = Delivery { attempts: 0, failures: Vec::new(), ..dead(2, "akasse:067", gave_up, 0, 2, 0) };
        causes.add(&unattempted);
        let lines: Vec<_> = causes.iter().map(|(cause, tally)| (cause.code, tally.count, tally.attempts)).collect();
        assert_eq!(lines, [(312, 2, 3)]);
        causes.remove(&unattempted);
        assert_eq!(causes.iter().map(|(_, tally)| tally.count).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_hundred_thousand_read_as_three_lines() {
        let mut causes = Causes::default();
        let gave_up = Death::GaveUp(Failure::Returned);
        let all: Vec<Delivery> = (0..100_000)
            .map(|n| match n % 4 {
                0 => dead(n, "akasse:067", gave_up, 312, n as i64, 0),
                1 => dead(n, "akasse:067", Death::NeverAttempted, 312, n as i64, 0),
                _ => dead(n, "akasse:053", gave_up, 312, n as i64, u32::from(n % 8 == 2)),
            })
            .collect();
        all.iter().for_each(|delivery| {
            causes.add(delivery);
        });
        let lines: Vec<_> = causes
            .iter()
            .map(|(cause, tally)| (cause.recipient.to_string(), cause.why.name(), cause.code, tally.count, tally.replays))
            .collect();
        assert_eq!(
            lines,
            [
                ("akasse:053".to_owned(), "returned", 312, 50_000, 12_500),
                ("akasse:067".to_owned(), "returned", 312, 25_000, 0),
                ("akasse:067".to_owned(), "never-attempted", 0, 25_000, 0),
            ]
        );
        let (_, first) = causes.iter().next().expect("three groups");
        assert_eq!((first.first, first.last, first.attempts), (Moment(2), Moment(99_999), 150_000));
        for delivery in &all {
            causes.remove(delivery);
        }
        assert_eq!(causes, Causes::default());
    }

    #[test]
    fn what_is_not_dead_has_no_cause() {
        let mut causes = Causes::default();
        let waiting = Delivery { state: State::Pending, ..dead(1, "akasse:067", Death::Expired, 0, 1, 0) };
        assert_eq!(causes.add(&waiting), None);
        assert_eq!(causes.iter().count(), 0);
    }
}
