//! How much goes through in a minute, from samples that are a few seconds apart: enough
//! to see that traffic flows. Prometheus has the rest.

use std::collections::VecDeque;

use crate::core::time::Moment;

/// How far back a sample may lie, in seconds. More than a minute, since samples
/// come no more often than every third of one.
const FAR: f64 = 70.0;

/// An hour, in seconds.
const HOUR: f64 = 3_600.0;

/// What has been counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// Events taken in.
    pub taken_in: u64,
    /// Deliveries that arrived.
    pub delivered: u64,
    /// Recipients that had lost the citizen and were not told.
    pub prevented: u64,
    /// Recipients that were not told since memberships contradict one another.
    pub contradictory: u64,
}

/// The samples of the last minute, or a little more; and of what is seldom those of
/// the last hour.
#[derive(Debug, Default)]
pub struct Flow {
    samples: VecDeque<(Moment, Counted)>,
    contradictory: VecDeque<(Moment, u64)>,
}

/// What the first page says of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flowing {
    /// Events taken in in a minute; `None` before there is anything to compare with.
    pub taken_in: Option<u64>,
    /// Deliveries that arrive in a minute, likewise.
    pub delivered: Option<u64>,
    /// Recipients that were not told, since the start.
    pub prevented: u64,
}

impl Flow {
    /// Adds what has been counted until now.
    pub fn add(&mut self, now: Moment, counted: Counted) {
        self.samples.retain(|(at, _)| is_near(*at, now));
        self.samples.push_back((now, counted));
        self.contradictory.retain(|(at, _)| now.seconds_since(*at) <= HOUR);
        self.contradictory.push_back((now, counted.contradictory));
    }

    /// Says how many were not told in the last hour since memberships contradict one
    /// another.
    #[must_use]
    pub fn contradictory_in_an_hour(&self, now: Moment, counted: Counted) -> u64 {
        let then = self.contradictory.iter().find(|(at, _)| now.seconds_since(*at) <= HOUR);
        counted.contradictory.saturating_sub(then.map_or(0, |(_, then)| *then))
    }

    /// Says how much goes through in a minute, by what has been counted until now.
    #[must_use]
    pub fn per_minute(&self, now: Moment, counted: Counted) -> Flowing {
        let oldest = self.samples.iter().find(|(at, _)| is_near(*at, now));
        // Over less than a second a rate says nothing.
        let since = oldest.map(|(at, then)| (now.seconds_since(*at), then)).filter(|(seconds, _)| *seconds >= 1.0);
        let rate = |now: u64, then: u64, seconds: f64| (now.saturating_sub(then) as f64 * 60.0 / seconds).round() as u64;
        Flowing {
            taken_in: since.map(|(seconds, then)| rate(counted.taken_in, then.taken_in, seconds)),
            delivered: since.map(|(seconds, then)| rate(counted.delivered, then.delivered, seconds)),
            prevented: counted.prevented,
        }
    }
}

fn is_near(at: Moment, now: Moment) -> bool {
    now.seconds_since(at) <= FAR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seldom_is_told_for_an_hour() {
        let at = |minutes: i64| Moment(0).plus_seconds(60 * minutes);
        let counted = |contradictory: u64| Counted { contradictory, ..Counted::default() };
        let mut flow = Flow::default();
        assert_eq!(flow.contradictory_in_an_hour(at(0), counted(2)), 2, "since the start");
        for minutes in 0..200 {
            flow.add(at(minutes), counted(if minutes < 100 { 0 } else { 3 }));
            let told = flow.contradictory_in_an_hour(at(minutes), counted(if minutes < 100 { 0 } else { 3 }));
            assert_eq!(told, if (100..160).contains(&minutes) { 3 } else { 0 }, "{minutes}");
        }
        assert_eq!(flow.contradictory_in_an_hour(at(200), counted(4)), 1);
        assert_eq!(flow.contradictory.len(), 61);
    }

    #[test]
    fn a_rate_is_taken_over_the_last_minute() {
        let at = |seconds: i64| Moment(0).plus_seconds(seconds);
        let counted = |n: u64| Counted { taken_in: n, delivered: 2 * n, prevented: 1, contradictory: 0 };
        let mut flow = Flow::default();
        let rates = |flow: &Flow, seconds: i64, n: u64| {
            let flowing = flow.per_minute(at(seconds), counted(n));
            (flowing.taken_in, flowing.delivered)
        };
        assert_eq!(rates(&flow, 0, 0), (None, None), "there is nothing to compare with");
        flow.add(at(0), counted(0));
        assert_eq!(rates(&flow, 0, 5), (None, None));
        assert_eq!(rates(&flow, 30, 10), (Some(20), Some(40)));
        for seconds in (20..=200).step_by(20) {
            flow.add(at(seconds), counted(seconds as u64));
        }
        assert_eq!(flow.samples.len(), 4, "no more than a minute is kept");
        assert_eq!(rates(&flow, 200, 200), (Some(60), Some(120)));
        assert_eq!(rates(&flow, 300, 200), (None, None), "what is old says nothing");
    }
}
