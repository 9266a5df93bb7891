//! Bytes to inputs: reads what RabbitMQ delivers and hands it to the writer, in
//! order. Acknowledges nothing; that comes back from the writer once the event
//! is durable.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::maybe_done;
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc, watch};

use crate::amqp::{Ahead, Delivery, Intake};
use crate::core::about::About;
use crate::core::engine::CameBack;
use crate::core::ids::{Recipient, WsbId};
use crate::core::policy::Rules;
use crate::core::records::Quarantined;
use crate::core::retry;
use crate::core::time::Moment;
use crate::wire::{self, Refusal};
use crate::writer::{Commit, Input, Received, Ticket, WriterHandle};

/// Returns the number that stands for an intake queue in a ticket.
#[must_use]
pub fn ticket_queue(intake: Intake) -> u8 {
    match intake {
        Intake::Tilknytning => 0,
        Intake::Events => 1,
        Intake::Returned => 2,
    }
}

/// Reverses [`ticket_queue`].
#[must_use]
pub fn intake_of(queue: u8) -> Option<Intake> {
    Intake::ALL.into_iter().find(|intake| ticket_queue(*intake) == queue)
}

/// Makes the content of a quarantine of a message that was refused.
#[must_use]
pub fn quarantined(refusal: &Refusal, body: &[u8]) -> Quarantined {
    Quarantined {
        id: 0,
        at: Moment(0),
        word: refusal.reason().word().into(),
        reason: refusal.to_string().into(),
        about: About::of(body),
        body: body.into(),
    }
}

/// Reads one message as an event, or as something for the quarantine.
#[must_use]
pub fn read(body: &[u8], rules: &Rules) -> Input {
    match wire::parse_event(body, rules) {
        Ok(event) => Input::Event(Box::new(event)),
        Err(refusal) => Input::NotAnEvent(Box::new(quarantined(&refusal, body))),
    }
}

/// Reads the queue of events that change who may receive until it ends.
pub async fn read_urgent<C: Commit>(
    mut deliveries: mpsc::Receiver<Vec<Delivery>>,
    writer: WriterHandle<C>,
    rules: watch::Receiver<Arc<Rules>>,
    ahead: Ahead,
) {
    while let Some(batch) = deliveries.recv().await {
        let many = batch.len();
        writer.send_urgent(read_all(batch, &rules)).await;
        ahead.passed_on(many);
    }
}

/// So many batches of ordinary events wait to be passed on, each since it came.
const BATCHES: usize = 8;

/// Reads the queue of all other events until it ends. They are passed on after everything that
/// changed who may receive and lay in its queue as they came: the writer takes that first.
pub async fn read_ordinary<C: Commit>(
    mut deliveries: mpsc::Receiver<Vec<Delivery>>,
    writer: WriterHandle<C>,
    rules: watch::Receiver<Arc<Rules>>,
    ahead: Ahead,
) {
    let mut waiting = FuturesOrdered::new();
    loop {
        // Neither arm loses anything when the other one is taken.
        let read = tokio::select! {
            biased;
            Some(read) = waiting.next() => read,
            batch = deliveries.recv(), if waiting.len() < BATCHES => match batch {
                Some(batch) => {
                    waiting.push_back(read_when_heard(batch, &rules, &ahead));
                    continue;
                }
                None => break,
            },
        };
        // Intake has stopped, and all goes back to the queue: what comes later too, for its
        // acknowledgement would be that of all before.
        let Some((mut received, mut at)) = read else { return };
        // One answer stands for several batches, which are one group.
        let is_over = loop {
            match waiting.next().now_or_never().flatten() {
                Some(Some((mut more, later))) => {
                    received.append(&mut more);
                    at = later;
                }
                Some(None) => break true,
                None => break false,
            }
        };
        writer.send_heard(received, at).await;
        if is_over {
            return;
        }
    }
    while let Some(Some((received, at))) = waiting.next().await {
        writer.send_heard(received, at).await;
    }
}

/// Reads events, and waits until all is heard that goes before them; returns since when with them, `None` if
/// intake has stopped before.
async fn read_when_heard(batch: Vec<Delivery>, rules: &watch::Receiver<Arc<Rules>>, ahead: &Ahead) -> Option<(Vec<Received>, Instant)> {
    let mut heard = pin!(maybe_done(ahead.hear()));
    // Asked before they are read, which takes as long.
    let _ = heard.as_mut().now_or_never();
    let received = read_all(batch, rules);
    heard.as_mut().await;
    Some((received, heard.take_output().flatten()?))
}

fn ticket_of(delivery: &Delivery) -> Ticket {
    Ticket { queue: ticket_queue(delivery.intake), epoch: delivery.epoch, tag: delivery.tag }
}

fn read_all(batch: Vec<Delivery>, rules: &watch::Receiver<Arc<Rules>>) -> Vec<Received> {
    let rules = Arc::clone(&rules.borrow());
    let received = |delivery: Delivery| Received { input: read(&delivery.body, &rules), ticket: ticket_of(&delivery) };
    batch.into_iter().map(received).collect()
}

/// Finds out whether all is heard that changes who may receive, whenever it is `wanted`, until intake stops.
pub async fn hear<C: Commit>(wanted: Arc<Notify>, writer: WriterHandle<C>, ahead: Ahead) {
    loop {
        wanted.notified().await;
        let Some(at) = ahead.hear().await else { return };
        writer.heard(at);
    }
}

/// Reads what vendors have rejected until it ends.
pub async fn read_returned<C: Commit>(mut deliveries: mpsc::Receiver<Vec<Delivery>>, writer: WriterHandle<C>) {
    while let Some(batch) = deliveries.recv().await {
        writer.send_ordinary(batch.into_iter().map(returned).collect()).await;
    }
}

/// Recognizes a message of ours that came back, by its id, its headers and its
/// latest death.
fn returned(delivery: Delivery) -> Received {
    let ticket = ticket_of(&delivery);
    let id = delivery.message_id.as_deref().and_then(|id| WsbId::parse(id).ok());
    let recipient = delivery.recipient.as_deref().and_then(|text| Recipient::parse(text).ok());
    let why = delivery.rejection.as_ref().and_then(|rejection| retry::death_of(&rejection.reason));
    let unrecognized = |reason: &str| Box::new(unrecognized(delivery.body.into(), reason));
    let input = match (id, delivery.correlation_id, recipient, delivery.rejection, why) {
        (Some(id), Some(event_id), Some(recipient), Some(rejection), Some(why)) => {
            let wsb = CameBack { id, event_id: event_id.into(), recipient, replay: delivery.replay, queue: rejection.queue.into() };
            Input::Returned { wsb, why, otherwise: unrecognized("is not a delivery that is known") }
        }
        (Some(_), Some(_), Some(_), _, _) => Input::NotAnEvent(unrecognized("its x-death does not say why, or in no word that is known")),
        _ => Input::NotAnEvent(unrecognized("lacks an id or a header that every WSB of the broker has")),
    };
    Received { input, ticket }
}

/// Makes the content of a quarantine of something that came back and is not ours.
fn unrecognized(body: Arc<[u8]>, reason: &str) -> Quarantined {
    Quarantined {
        id: 0,
        at: Moment(0),
        word: "unrecognized-return".into(),
        reason: format!("unrecognized-return: came back through wsb.returned, and {reason}").into(),
        about: About::of(&body),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::Rejection;

    const ID: &str = "6d1d0a3e-0000-5000-8000-000000000001";

    fn delivery() -> Delivery {
        Delivery {
            intake: Intake::Returned,
            epoch: 1,
            tag: 1,
            redelivered: false,
            routing_key: "wsb.akasse.067".to_owned(),
            content_type: None,
            message_id: Some(ID.to_owned()),
            correlation_id: Some("one".to_owned()),
            recipient: Some("akasse:067".to_owned()),
            replay: true,
            rejection: Some(Rejection { reason: "rejected".to_owned(), queue: "wsb.akasse.067".to_owned() }),
            body: b"{}".to_vec(),
        }
    }

    #[test]
    fn what_comes_back_says_whose_it_is_and_whence_or_is_quarantined() {
        let Input::Returned { wsb, why, .. } = returned(delivery()).input else { panic!("one of ours") };
        let recipient = Recipient::parse("akasse:067").expect("a recipient");
        let id = WsbId::parse(ID).expect("an id");
        assert_eq!(wsb, CameBack { id, event_id: "one".into(), recipient, replay: true, queue: "wsb.akasse.067".into() });
        assert_eq!(why, crate::core::outbox::Death::RejectedByRecipient);

        let check = |delivery: Delivery, reason: &str| match returned(delivery).input {
            Input::NotAnEvent(message) => assert!(message.reason.contains(reason), "{}", message.reason),
            other => panic!("{other:?}"),
        };
        check(Delivery { recipient: None, ..delivery() }, "lacks an id or a header");
        check(Delivery { correlation_id: None, ..delivery() }, "lacks an id or a header");
        check(Delivery { message_id: Some("7".to_owned()), ..delivery() }, "lacks an id or a header");
        check(Delivery { rejection: None, ..delivery() }, "does not say why");
        let rejection = Rejection { reason: "bored".to_owned(), queue: "wsb.akasse.067".to_owned() };
        check(Delivery { rejection: Some(rejection), ..delivery() }, "in no word that is known");
    }
}
