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
            let due = self.since + self.longest.min(if seen > Some(0) { LYING } else { self.longest });
            tokio::select! {
                () = tokio::time::sleep_until(due), if seen.is_some() => return seen.unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONGEST: Duration = Duration::from_secs(30);

    /// Looks at depths, some seconds apart, and says when the silence was too long.
    async fn after(depths: &[Option<u32>]) -> Option<(u64, u32)> {
        let (told, seen) = watch::channel(Vec::new());
        let begun = Instant::now();
        let mut silence = Silence::begin("q", LONGEST, seen);
        for messages in depths {
            let other = Waiting { queue: "other".into(), messages: 7 };
            let own = messages.map(|messages| Waiting { queue: "q".into(), messages });
            told.send_replace(own.into_iter().chain([other]).collect());
            if let Ok(lying) = timeout(Duration::from_secs(5), silence.too_long()).await {
                return Some((begun.elapsed().as_secs(), lying));
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_queue_is_asked_anew_late_a_full_one_soon_and_a_mute_one_never() {
        assert_eq!(after(&[Some(0); 9]).await, Some((30, 0)));
        assert_eq!(after(&[Some(3); 9]).await, Some((10, 3)));
        assert_eq!(after(&[Some(0), Some(0), Some(0), Some(2)]).await, Some((15, 2)));
        assert_eq!(after(&[None; 40]).await, None);
        assert_eq!(after(&[None, None, None, Some(1)]).await, Some((15, 1)));
    }
}
