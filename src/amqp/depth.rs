//! How much waits in a queue, asked of RabbitMQ: from time to time of the queues
//! that the broker consumes, which is the part of a backlog that it cannot see
//! itself, and of others when somebody wants to know.

use std::convert::Infallible;
use std::time::Duration;

use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::Instant;

/// An alert looks at minutes; RabbitMQ is asked no more often than it is scraped.
const INTERVAL: Duration = Duration::from_secs(5);

/// RabbitMQ waits a quarter of a second for a queue that does not answer, and says
/// that nothing lies in it. An empty queue answers in a few milliseconds.
pub(super) const SILENCE: Duration = Duration::from_millis(200);

/// How many messages lie ready in a queue, as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The queue.
    pub queue: String,
    /// Messages that have been handed to nobody.
    pub messages: u32,
}

/// Asks again and again, for as long as the connection lasts; dropping it at
/// any point loses nothing. What cannot be seen is not told.
pub(super) async fn watch(connection: &Connection, queues: &[&str], told: &watch::Sender<Vec<Waiting>>) -> Infallible {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let mut seen = Vec::with_capacity(queues.len());
        for queue in queues {
            if let Some(messages) = depth(connection, queue).await {
                seen.push(Waiting { queue: (*queue).to_owned(), messages });
            }
        }
        told.send_replace(seen);
    }
}

/// Somebody wants to know how many messages lie ready in a queue.
#[derive(Debug)]
pub(super) struct Question {
    pub queue: String,
    /// Without an answer where it cannot be seen, or the connection was lost.
    pub answer: oneshot::Sender<u32>,
}

/// Answers whoever asks, for as long as the connection lasts. Dropped halfway,
/// whoever asked last hears nothing.
pub(super) async fn answer(connection: &Connection, questions: &Mutex<mpsc::Receiver<Question>>) -> Infallible {
    let mut questions = questions.lock().await;
    while let Some(question) = questions.recv().await {
        if let Some(messages) = depth(connection, &question.queue).await {
            // Nobody waits for it any more: then nobody misses it.
            let _ = question.answer.send(messages);
        }
    }
    // Nobody can ask any more: the link is about to end.
    std::future::pending().await
}

/// Nothing where it cannot be seen. On a channel of its own: asking for a queue
/// that is gone closes the channel.
async fn depth(connection: &Connection, queue: &str) -> Option<u32> {
    let name = ShortString::try_new(queue).ok()?;
    let channel = connection.create_channel().await.ok()?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = Instant::now();
    let answer = channel.queue_declare(name, options, FieldTable::default()).await.ok()?;
    let is_silent = answer.message_count() == 0 && asked.elapsed() >= SILENCE;
    // Dropping the channel would do the same, a moment later.
    let _ = channel.close(200, "asked".into()).await;
    (!is_silent).then(|| answer.message_count())
}
