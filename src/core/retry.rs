//! What a failed attempt means, and when the next one is due.
//!
//! The delay curve is that of the `backoff` crate; the spread around it is
//! computed from the delivery's id and attempt, not thrown with dice, so that
//! the same delivery waits equally long in every run and every restart.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

use super::ids::WsbId;
use super::outbox::{Death, Failure};
use super::policy::RetryPolicy;
use super::time::Moment;

/// What became of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// RabbitMQ confirmed it and did not return it.
    Confirmed,
    /// It was not made: too long after it was decided, and so it is decided anew. No attempt.
    NotMade,
    /// It failed, or nobody knows.
    Failed {
        /// How.
        failure: Failure,
        /// RabbitMQ's reply code, 0 where it gave none.
        code: u16,
    },
}

/// What follows from a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// The whole queue is paused, and probed with one delivery at a time; the
    /// delivery is tried again.
    Pause,
    /// Every delivery under way has failed alike, and each is tried again on its
    /// own schedule once there is a connection.
    Retry,
    /// The delivery is dead at once: it can never succeed.
    Dead,
}

impl Consequence {
    /// Returns the words for it in the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause of the queue",
            Self::Retry => "retry",
            Self::Dead => "dead",
        }
    }
}

/// Whether a delivery of a failed attempt may lie in the recipient's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It does not.
    No,
    /// Nobody knows: the next attempt may be a repeat, with the same id.
    Unknown,
}

impl Arrival {
    /// Returns the word for it in the documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// One class of failed attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Which.
    pub failure: Failure,
    /// What RabbitMQ said, or did not.
    pub said: &'static str,
    /// Whether it may have arrived.
    pub arrived: Arrival,
    /// What follows. Whatever is tried again is dead when its time is over.
    pub then: Consequence,
    /// As which outcome `wsb_delivery_attempts_total` counts it. The metric has
    /// five; the finer class stands with each delivery.
    pub counted_as: &'static str,
}

/// Every way in which an attempt fails, in the order of [`Failure::ALL`]; shared
/// with `docs/architecture.md`, which a test compares with it, and with the tests
/// that make RabbitMQ say each of them.
pub const TABLE: [Class; 8] = [
    Class {
        failure: Failure::Nacked,
        said: "`basic.nack`: the queue is full (`reject-publish`), or an internal error",
        arrived: Arrival::No,
        then: Consequence::Pause,
        counted_as: "nacked",
    },
    Class {
        failure: Failure::Returned,
        said: "`basic.return` with its code, such as 312 NO_ROUTE: no such queue or binding",
        arrived: Arrival::No,
        then: Consequence::Pause,
        counted_as: "returned",
    },
    Class {
        failure: Failure::Timeout,
        said: "no confirm in time: the queue has no leader",
        arrived: Arrival::Unknown,
        then: Consequence::Pause,
        counted_as: "timeout",
    },
    Class {
        failure: Failure::Connection,
        said: "the connection closed, or there is none",
        arrived: Arrival::Unknown,
        then: Consequence::Retry,
        counted_as: "connection",
    },
    Class {
        failure: Failure::Refused,
        said: "the channel closed with 403 ACCESS_REFUSED: no permission to write",
        arrived: Arrival::Unknown,
        then: Consequence::Pause,
        counted_as: "connection",
    },
    Class {
        failure: Failure::ChannelClosed,
        said: "the channel closed with another code, such as 404 NOT_FOUND: no such exchange",
        arrived: Arrival::Unknown,
        then: Consequence::Pause,
        counted_as: "connection",
    },
    Class {
        failure: Failure::Blocked,
        said: "`connection.blocked`: an alarm over memory or disk; nothing was sent, or no confirm came in time while it lasted",
        arrived: Arrival::Unknown,
        then: Consequence::Retry,
        counted_as: "connection",
    },
    Class {
        failure: Failure::Unsendable,
        said: "nothing: a field is longer than AMQP can carry, and nothing was sent; or the channel closed with 406 PRECONDITION_FAILED: the message is larger than `max_message_size`",
        arrived: Arrival::No,
        then: Consequence::Dead,
        counted_as: "connection",
    },
];

/// Returns the class of a failure.
#[must_use]
pub fn class_of(failure: Failure) -> &'static Class {
    let at = match failure {
        Failure::Nacked => 0,
        Failure::Returned => 1,
        Failure::Timeout => 2,
        Failure::Connection => 3,
        Failure::Refused => 4,
        Failure::ChannelClosed => 5,
        Failure::Blocked => 6,
        Failure::Unsendable => 7,
    };
    &TABLE[at]
}

/// What RabbitMQ says in `x-death` of a message that comes back through
/// `wsb.returned`, and why its delivery is dead then. Whatever comes back with
/// another reason goes to quarantine.
pub const COMES_BACK: [(&str, Death); 4] = [
    ("rejected", Death::RejectedByRecipient),
    ("delivery_limit", Death::DeliveryLimit),
    ("expired", Death::Expired),
    // Only by a policy that overrides `reject-publish`.
    ("maxlen", Death::Overflow),
];

/// Returns why a delivery is dead that came back with this reason.
#[must_use]
pub fn death_of(reason: &str) -> Option<Death> {
    COMES_BACK.iter().find(|(said, _)| *said == reason).map(|(_, why)| *why)
}

/// The longest time between two probes of a paused queue. Shorter than the
/// longest retry delay: a probe costs one message, and a vendor whose queue is
/// back should not wait an hour for it to be noticed.
const LONGEST_PROBE_MS: u64 = 60_000;

/// The delays of a retry policy, computed once.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    delays_ms: Vec<u64>,
    give_up_after_s: u64,
}

impl Curve {
    /// Computes the delays of a policy up to the one that repeats for ever.
    #[must_use]
    pub fn new(policy: &RetryPolicy) -> Self {
        let mut backoff = ExponentialBackoff {
            current_interval: Duration::from_millis(policy.initial_ms),
            initial_interval: Duration::from_millis(policy.initial_ms),
            randomization_factor: 0.0,
            multiplier: policy.multiplier,
            max_interval: Duration::from_millis(policy.max_ms),
            // The crate gives up after 15 minutes unless told otherwise; when
            // to give up is for `is_over`, by a clock that outlives the process.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let mut delays_ms = Vec::new();
        // A multiplier close to 1 climbs slowly: 512 steps are more than 72 hours of any sane policy.
        while delays_ms.len() < 512 {
            let delay = backoff
                .next_backoff()
                .map_or(policy.max_ms, |delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))
                .min(policy.max_ms);
            let repeats = delays_ms.last() == Some(&delay);
            delays_ms.push(delay);
            if repeats || delay == policy.max_ms {
                break;
            }
        }
        Self { delays_ms, give_up_after_s: policy.give_up_after_s }
    }

    fn nominal_ms(&self, failed_attempts: u32) -> u64 {
        let index = (failed_attempts.saturating_sub(1) as usize).min(self.delays_ms.len() - 1);
        self.delays_ms[index]
    }

    /// Returns the milliseconds to wait after the given number of failed
    /// attempts: between four fifths and the whole of the nominal delay.
    #[must_use]
    pub fn delay_ms(&self, failed_attempts: u32, id: &WsbId) -> u64 {
        let nominal = self.nominal_ms(failed_attempts);
        let bytes = id.as_bytes();
        let seed = u64::from(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .wrapping_add(u64::from(failed_attempts))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let spread = nominal / 5;
        nominal - ((u128::from(spread) * u128::from(seed)) >> 64) as u64
    }

    /// Returns the milliseconds until a paused queue is probed, after the given
    /// number of failures in a row.
    #[must_use]
    pub fn probe_ms(&self, failures: u32) -> u64 {
        self.nominal_ms(failures).min(LONGEST_PROBE_MS)
    }

    /// Returns whether the time allowed for a delivery that began at `first_at`
    /// is over.
    #[must_use]
    pub fn is_over(&self, first_at: Moment, now: Moment) -> bool {
        now >= first_at.plus_seconds(i64::try_from(self.give_up_after_s).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ids::{EventMark, Recipient};

    fn id(n: u32) -> WsbId {
        EventMark::of("urn:test", &n.to_string()).wsb_id(Recipient::parse("akasse:067").expect("a recipient"))
    }

    #[test]
    fn the_table_has_every_failure_in_order() {
        for (class, failure) in TABLE.iter().zip(Failure::ALL) {
            assert_eq!(class.failure, failure);
            assert_eq!(class_of(failure), class);
        }
        assert_eq!(death_of("expired"), Some(Death::Expired));
        assert_eq!(death_of("rejected "), None);
    }

    /// The table that people read says what the code does.
    #[test]
    fn the_documentation_has_the_table() {
        let text = include_str!("../../docs/architecture.md");
        for class in &TABLE {
            let line = format!(
                "| `{}` | {} | {} | {} | `{}` |",
                class.failure.name(),
                class.said,
                class.arrived.name(),
                class.then.name(),
                class.counted_as
            );
            assert!(text.contains(&line), "docs/architecture.md lacks the line\n{line}");
        }
        for (said, why) in COMES_BACK {
            let line = format!("| `{said}` | `{}` |", why.name());
            assert!(text.contains(&line), "docs/architecture.md lacks the line\n{line}");
        }
    }

    #[test]
    fn delays_double_up_to_an_hour() {
        let curve = Curve::new(&RetryPolicy::default());
        let nominal: Vec<u64> = (1..=14).map(|attempt| curve.nominal_ms(attempt) / 1000).collect();
        assert_eq!(nominal, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]);
        assert_eq!(curve.nominal_ms(u32::MAX), 3_600_000);
    }

    #[test]
    fn spread_stays_within_a_fifth_and_is_the_same_every_time() {
        let curve = Curve::new(&RetryPolicy::default());
        let delays: Vec<u64> = (0..1000).map(|n| curve.delay_ms(13, &id(n))).collect();
        assert!(delays.iter().all(|delay| (2_880_000..=3_600_000).contains(delay)));
        assert!(delays.iter().min() < Some(&2_900_000) && delays.iter().max() > Some(&3_580_000), "uses the whole spread");
        assert_eq!(delays[7], curve.delay_ms(13, &id(7)));
    }

    #[test]
    fn odd_policies_have_a_curve_too() {
        let check = |initial_ms, multiplier, max_ms, attempt, expected| {
            let curve = Curve::new(&RetryPolicy { initial_ms, multiplier, max_ms, give_up_after_s: 1 });
            assert_eq!(curve.nominal_ms(attempt), expected);
        };
        check(1000, 1.0, 60_000, 100, 1000);
        check(1000, 1000.0, 1000, 1, 1000);
        check(10, 1.5, 1_000_000, 3, 22);
    }

    #[test]
    fn the_time_allowed_counts_from_the_first_decision() {
        let curve = Curve::new(&RetryPolicy::default());
        assert!(!curve.is_over(Moment(0), Moment(259_199_999_999)));
        assert!(curve.is_over(Moment(0), Moment(259_200_000_000)));
    }
}
