//! How long to wait before the next attempt, and how often to say so.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;
use tokio::time::Instant;

use super::trouble::Trouble;

/// The pace of reconnecting; it never gives up.
#[derive(Debug, Clone)]
pub struct Reconnect {
    /// The first delay, spread by half in both directions.
    pub first: Duration,
    /// Each delay is this many times the one before.
    pub multiplier: f64,
    /// No delay is longer, apart from the spread.
    pub longest: Duration,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), multiplier: 2.0, longest: Duration::from_secs(5) }
    }
}

/// A connection that held for this long was a good one: delays start over.
const HELD: Duration = Duration::from_secs(10);
/// The second mention of the same trouble comes after this, each further one
/// after twice the time.
const FIRST_REPEAT: Duration = Duration::from_secs(60);
const LONGEST_REPEAT: Duration = Duration::from_secs(3600);

/// The state of one side's attempts.
pub(super) struct Pace {
    side: &'static str,
    delays: ExponentialBackoff,
    longest: Duration,
    up_since: Option<Instant>,
    has_been_up: bool,
    down: Option<Down>,
}

struct Down {
    since: Instant,
    said: String,
    next_mention: Instant,
    repeat: Duration,
}

impl Pace {
    pub(super) fn new(side: &'static str, reconnect: &Reconnect) -> Self {
        let delays = ExponentialBackoff {
            current_interval: reconnect.first,
            initial_interval: reconnect.first,
            multiplier: reconnect.multiplier,
            max_interval: reconnect.longest,
            // The default gives up after a quarter of an hour.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { side, delays, longest: reconnect.longest, up_since: None, has_been_up: false, down: None }
    }

    /// Returns whether there has been a connection.
    pub(super) fn has_been_up(&self) -> bool {
        self.has_been_up
    }

    /// The connection is ready for use.
    pub(super) fn up(&mut self) {
        let side = self.side;
        match self.down.take() {
            Some(down) => tracing::info!(side, after_seconds = down.since.elapsed().as_secs(), "connected to RabbitMQ again"),
            None => tracing::info!(side, "connected to RabbitMQ"),
        }
        self.up_since = Some(Instant::now());
        self.has_been_up = true;
    }

    /// It is not, or not any more. Returns how long to wait.
    pub(super) fn down(&mut self, trouble: &Trouble) -> Duration {
        let now = Instant::now();
        if self.up_since.take().is_some_and(|since| since.elapsed() >= HELD) {
            self.delays.reset();
        }
        let delay = self.delays.next_backoff().unwrap_or(self.longest);
        // A start that only an operator can mend ends with words of its own.
        if self.has_been_up || !trouble.needs_operator() {
            self.mention(trouble, now);
        }
        delay
    }

    fn mention(&mut self, trouble: &Trouble, now: Instant) {
        let (side, text) = (self.side, trouble.to_string());
        match &mut self.down {
            Some(down) if down.said == text => {
                if now >= down.next_mention {
                    let minutes = down.since.elapsed().as_secs() / 60;
                    tracing::warn!(side, minutes, trouble = %text, "still no connection to RabbitMQ; trying on");
                    down.repeat = (down.repeat * 2).min(LONGEST_REPEAT);
                    down.next_mention = now + down.repeat;
                }
            }
            down => {
                tracing::warn!(side, trouble = %text, "no connection to RabbitMQ; trying again without end");
                let since = down.as_ref().map_or(now, |down| down.since);
                *down = Some(Down { since, said: text, next_mention: now + FIRST_REPEAT, repeat: FIRST_REPEAT });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_never_end() {
        let mut pace =
            Pace::new("test", &Reconnect { first: Duration::from_millis(100), multiplier: 2.0, longest: Duration::from_secs(1) });
        let trouble = Trouble::Lost { reason: "gone".into() };
        let delays: Vec<Duration> = (0..50).map(|_| pace.down(&trouble)).collect();
        assert!(delays[0] <= Duration::from_millis(151), "{delays:?}");
        assert!(delays[10..].iter().all(|delay| (Duration::from_millis(499)..=Duration::from_millis(1501)).contains(delay)), "{delays:?}");
    }
}
