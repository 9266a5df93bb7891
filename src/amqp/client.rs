//! The one-shot jobs of the command line: each makes a connection of its own
//! and ends it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::declare::declare;
use super::doubts::Doubts;
use super::link::{Phase, part, while_alive};
use super::lock::Lock;
use super::message::{Outcome, Outgoing};
use super::publisher::{self, PublishSettings};
use super::target::Target;
use super::topology::Outlets;
use super::topology::Topology;
use super::trouble::Trouble;

/// What [`publish_events`] achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// How many messages RabbitMQ has taken.
    pub confirmed: usize,
    /// The others, by their place in the input, ascending.
    pub failed: Vec<(usize, Outcome)>,
}

/// Declares `topology` once.
///
/// # Errors
/// The first trouble met; [`Trouble::Topology`] for a conflict or a refusal.
pub async fn apply_topology(target: &Target, topology: &Topology) -> Result<(), Trouble> {
    let connection = target.connect("wsb-broker topology").await?;
    while_alive(&connection, declare(&connection, topology)).await??;
    // Everything is declared; how the connection ends does not matter.
    part(&connection, "done").await;
    Ok(())
}

/// Publishes `messages` (routing key, body) to `exchange`, persistent, mandatory
/// and confirmed, in this order, and calls `progress` with the number of messages answered so far.
///
/// # Errors
/// Only when no connection can be made; one that is lost on the way shows in
/// [`Published::failed`].
pub async fn publish_events(
    target: &Target,
    exchange: &str,
    messages: Vec<(String, Vec<u8>)>,
    mut progress: impl FnMut(usize),
) -> Result<Published, Trouble> {
    let connection = target.connect("wsb-broker events publish").await?;
    // One channel, and a batch that keeps its place: the events arrive in the order of the file.
    let deadline = Duration::from_secs(60);
    let settings = PublishSettings {
        channels: 1,
        batch: 1000,
        patience: deadline,
        silence: deadline,
        deadline,
        in_order: true,
        ..PublishSettings::default()
    };
    let (input_tx, mut input) = mpsc::channel(settings.capacity);
    let (output, mut outcomes) = mpsc::channel(settings.capacity);
    let exchange: Arc<str> = exchange.into();
    let timestamp = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    let size = settings.batch;
    let total = messages.len();
    let feeding = async move {
        let mut messages = messages.into_iter().enumerate();
        loop {
            let batch: Vec<Outgoing> = messages
                .by_ref()
                .take(size)
                .map(|(index, (routing_key, body))| Outgoing {
                    token: index as u64,
                    until: None,
                    exchange: exchange.clone(),
                    routing_key: routing_key.into(),
                    message_id: index.to_string(),
                    correlation_id: None,
                    kind: None,
                    timestamp,
                    headers: None,
                    body,
                })
                .collect();
            if batch.is_empty() || input_tx.send(batch).await.is_err() {
                return;
            }
        }
    };
    let publishing = async move {
        // Nobody can close it early; the sender is kept for the duration.
        let (_phase_tx, mut phase) = watch::channel(Phase::Running);
        let (_renewals_tx, mut renewals) = watch::channel(0);
        // DFDG may tell, whoever works.
        let (_lock_tx, mut lock) = watch::channel(Lock::Held);
        let ended = publisher::serve(
            connection,
            &settings,
            &Outlets::default(),
            &mut input,
            &output,
            &mut phase,
            &mut renewals,
            &mut lock,
            &mut Doubts::default(),
            |_| {},
        )
        .await;
        if matches!(ended, publisher::Ended::Lost(_)) {
            publisher::refuse(&mut input, &output).await;
        }
    };
    let counting = async move {
        let mut published = Published { confirmed: 0, failed: Vec::new() };
        while let Some(batch) = outcomes.recv().await {
            for (token, outcome) in batch {
                match outcome {
                    Outcome::Confirmed => published.confirmed += 1,
                    failed => published.failed.push((usize::try_from(token).unwrap_or(usize::MAX), failed)),
                }
            }
            progress(published.confirmed + published.failed.len());
            if published.confirmed + published.failed.len() == total {
                break;
            }
        }
        published.failed.sort_by_key(|(index, _)| *index);
        published
    };
    let ((), (), published) = tokio::join!(feeding, publishing, counting);
    Ok(published)
}
