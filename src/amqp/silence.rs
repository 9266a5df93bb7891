//! When a queue that nothing comes from is to be consumed anew.
//!
//! RabbitMQ may lose a consumer without a word: where a queue is deleted and declared
//! again before the consuming channel hears of its end, the channel gets up to one
//! prefetch of the new queue's messages and throws them away (seen with 3.10). They
//! come back when the channel is closed, and not before. Nothing that can be asked over
//! AMQP tells such a queue from one that has nothing.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::depth::Waiting;

/// How long messages may lie ready in a queue that nothing comes from: longer than it
/// takes to look at its depth twice.
const LYING: Duration = Duration::from_secs(10);

/// How long nothing has come from a queue.
pub(super) struct Silence {
    queue: String,
    longest: Duration,
    since: Instant,
    depths: watch::Receiver<Vec<Waiting>>,
}

impl Silence {
    pub(super) fn begin(queue: &str, longest: Duration, depths: watch::Receiver<Vec<Waiting>>) -> Self {
        Self { queue: queue.to_owned(), longest, since: Instant::now(), depths }
    }

    /// It starts over.
    pub(super) fn broken(&mut self) {
        self.since = Instant::now();
    }

    /// Returns how many messages were last seen to lie ready, once the silence has
    /// lasted too long; never while the queue does not tell how many, since it would
    /// not let itself be consumed either. Dropped halfway, it loses nothing.
    pub(super) async fn too_long(&mut self) -> u32 {
        loop {
            let seen = self.seen();
            let lasting = allowed(self.longest, seen);
            tokio::select! {
                () = tokio::time::sleep_until(self.since + lasting.unwrap_or_default()), if lasting.is_some() => return seen.unwrap_or_default(),
                changed = self.depths.changed() => if changed.is_err() {
                    // The link is about to end.
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    fn seen(&mut self) -> Option<u32> {
        self.depths.borrow_and_update().iter().find(|waiting| waiting.queue == self.queue).map(|waiting| waiting.messages)
    }
}

/// Returns how long nothing may come from a queue in which so many messages are seen.
fn allowed(longest: Duration, seen: Option<u32>) -> Option<Duration> {
    seen.map(|messages| if messages == 0 { longest } else { longest.min(LYING) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_is_asked_anew_late_a_full_one_soon_and_a_mute_one_never() {
        let (half_a_minute, second) = (Duration::from_secs(30), Duration::from_secs(1));
        assert_eq!(allowed(half_a_minute, Some(0)), Some(half_a_minute));
        assert_eq!(allowed(half_a_minute, Some(3)), Some(LYING));
        assert_eq!(allowed(second, Some(3)), Some(second));
        assert_eq!(allowed(half_a_minute, None), None);
    }
}
