//! The last hour of every queue, a sample a minute, in memory: enough to see
//! whether something grows. A restart begins anew; Prometheus has the rest.

use std::collections::{BTreeMap, VecDeque};

use crate::core::ids::Recipient;
use crate::core::time::Moment;

/// How many minutes are kept.
pub const MINUTES: usize = 60;

/// What a queue held at a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Deliveries that waited, those being retried included.
    pub waiting: u64,
    /// Deliveries that had been given up.
    pub dead: u64,
}

/// The last hour of every queue. At most [`MINUTES`] samples a recipient, and
/// no more recipients than the latest sample named.
#[derive(Debug, Default)]
pub struct Samples {
    series: BTreeMap<Recipient, VecDeque<(i64, Sample)>>,
    first: Option<Moment>,
    /// How many were dead before anything was done after the start; nothing is known
    /// of whom it does not name but that none was.
    at_start: Option<BTreeMap<Recipient, u64>>,
}

impl Samples {
    /// Begins at the start of the broker, when so many were dead.
    pub fn starting(now: Moment, dead: impl IntoIterator<Item = (Recipient, u64)>) -> Self {
        Self { first: Some(now), at_start: Some(dead.into_iter().collect()), ..Self::default() }
    }

    /// Adds what every queue holds now. Of several in a minute the last counts, and
    /// the least that was dead.
    pub fn add(&mut self, now: Moment, queues: impl IntoIterator<Item = (Recipient, Sample)>) {
        self.first.get_or_insert(now);
        let minute = minute(now);
        let mut kept = BTreeMap::new();
        for (recipient, mut sample) in queues {
            let mut series = self.series.remove(&recipient).unwrap_or_default();
            if let Some((_, former)) = series.back().copied().filter(|(last, _)| *last >= minute) {
                sample.dead = sample.dead.min(former.dead);
                series.pop_back();
            }
            series.push_back((minute, sample));
            while series.len() > MINUTES {
                series.pop_front();
            }
            kept.insert(recipient, series);
        }
        self.series = kept;
    }

    /// Returns what waited at each minute of the last hour, the oldest first;
    /// `None` where there is no sample.
    #[must_use]
    pub fn waiting(&self, recipient: Recipient, now: Moment) -> [Option<u64>; MINUTES] {
        let mut hour = [None; MINUTES];
        let newest = minute(now);
        for (at, sample) in self.series.get(&recipient).into_iter().flatten() {
            let age = usize::try_from(newest - at).unwrap_or(MINUTES);
            if let Some(slot) = (MINUTES - 1).checked_sub(age).and_then(|slot| hour.get_mut(slot)) {
                *slot = Some(sample.waiting);
            }
        }
        hour
    }

    /// Returns since when samples are known, where that is less than an hour: what
    /// was before is in none of the other answers.
    #[must_use]
    pub fn since(&self, now: Moment) -> Option<Moment> {
        self.first.filter(|first| minute(now) - minute(*first) < MINUTES as i64)
    }

    /// Returns by how much more is dead now than at the least in the last hour.
    #[must_use]
    pub fn died(&self, recipient: Recipient, dead_now: u64, now: Moment) -> u64 {
        let oldest = minute(now) - MINUTES as i64;
        let samples = self.series.get(&recipient).into_iter().flatten().filter(|(at, _)| *at > oldest);
        let at_start = self.at_start.as_ref().filter(|_| self.since(now).is_some());
        let at_start = at_start.map(|dead| dead.get(&recipient).copied().unwrap_or(0));
        samples.map(|(_, sample)| sample.dead).chain(at_start).min().map_or(0, |least| dead_now.saturating_sub(least))
    }
}

fn minute(at: Moment) -> i64 {
    at.0.div_euclid(60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(text: &str) -> Recipient {
        Recipient::parse(text).expect("a recipient")
    }

    #[test]
    fn an_hour_is_kept_and_no_more() {
        let (of, gone) = (recipient("akasse:067"), recipient("akasse:053"));
        let mut samples = Samples::default();
        let at = |minute: u64| Moment(0).plus_seconds(60 * minute as i64 + 7);
        samples.add(at(0), [(gone, Sample { waiting: 9, dead: 0 })]);
        for minute in 0..100 {
            samples.add(at(minute), [(of, Sample { waiting: minute, dead: minute / 50 })]);
        }
        assert_eq!(samples.series.len(), 1, "a recipient that is gone is forgotten");
        assert_eq!(samples.series[&of].len(), MINUTES);
        let hour = samples.waiting(of, at(99));
        assert_eq!((hour[0], hour[MINUTES - 1]), (Some(40), Some(99)));
        // Half an hour later with nothing in between.
        let hour = samples.waiting(of, at(129));
        assert_eq!((hour[0], hour[29], hour[30]), (Some(70), Some(99), None));
        assert_eq!(samples.died(of, 5, at(99)), 5, "none was dead at minute 40");
        assert_eq!(samples.died(of, 5, at(129)), 4);
        assert_eq!(samples.died(gone, 5, at(99)), 0, "nothing is known of before");
    }

    #[test]
    fn what_is_known_of_less_than_an_hour_says_since_when() {
        let of = recipient("akasse:067");
        let mut samples = Samples::default();
        assert_eq!(samples.since(Moment(0)), None, "nothing is known");
        let at = |minute: i64| Moment(0).plus_seconds(60 * minute);
        for minute in 3..=70 {
            samples.add(at(minute), [(of, Sample { waiting: 0, dead: 0 })]);
            assert_eq!(samples.since(at(minute)), (minute < 63).then(|| at(3)), "minute {minute}");
        }
    }

    #[test]
    fn what_is_given_up_before_the_first_sample_or_within_a_minute_counts() {
        let (of, other) = (recipient("akasse:067"), recipient("akasse:053"));
        let at = |seconds: i64| Moment(0).plus_seconds(seconds);
        let mut samples = Samples::starting(at(0), [(of, 3)]);
        assert_eq!((samples.died(of, 5, at(1)), samples.died(other, 2, at(1))), (2, 2), "before the first sample");
        for (seconds, dead) in [(2, 5), (20, 7), (40, 9)] {
            samples.add(at(seconds), [(of, Sample { waiting: 0, dead })]);
        }
        assert_eq!(samples.died(of, 9, at(50)), 6);
        for minutes in 1..80 {
            samples.add(at(60 * minutes), [(of, Sample { waiting: 0, dead: 9 })]);
        }
        assert_eq!(samples.died(of, 9, at(60 * 80)), 0, "longer ago than an hour");
        samples.add(at(60 * 81), [(of, Sample { waiting: 0, dead: 9 })]);
        samples.add(at(60 * 81 + 20), [(of, Sample { waiting: 0, dead: 11 })]);
        assert_eq!(samples.died(of, 11, at(60 * 140)), 2);
    }

    #[test]
    fn the_last_sample_of_a_minute_counts() {
        let of = recipient("kommune:860");
        let mut samples = Samples::default();
        for waiting in [1, 2, 3] {
            samples.add(Moment(waiting), [(of, Sample { waiting: waiting as u64, dead: 0 })]);
        }
        assert_eq!(samples.waiting(of, Moment(0))[MINUTES - 1], Some(3));
        assert_eq!(samples.series[&of].len(), 1);
    }
}
