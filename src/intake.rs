//! Bytes to inputs: reads what RabbitMQ delivers and hands it to the writer, in
//! order. Acknowledges nothing; that comes back from the writer once the event
//! is durable.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::amqp::{Delivery, Intake};
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
        personnummer: wire::personnummer_hint(body),
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

/// Reads one intake queue until it ends.
pub async fn read_events<C: Commit>(
    mut deliveries: mpsc::Receiver<Vec<Delivery>>,
    writer: WriterHandle<C>,
    rules: watch::Receiver<Arc<Rules>>,
) {
    while let Some(batch) = deliveries.recv().await {
        let rules = Arc::clone(&rules.borrow());
        let Some(first) = batch.first() else { continue };
        let urgent = first.intake == Intake::Tilknytning;
        let received: Vec<Received> = batch
            .into_iter()
            .map(|delivery| Received {
                input: read(&delivery.body, &rules),
                ticket: Ticket { queue: ticket_queue(delivery.intake), epoch: delivery.epoch, tag: delivery.tag },
            })
            .collect();
        if urgent {
            writer.send_urgent(received).await;
        } else {
            writer.send_ordinary(received).await;
        }
    }
}

/// Reads what vendors have rejected until it ends.
pub async fn read_returned<C: Commit>(mut deliveries: mpsc::Receiver<Vec<Delivery>>, writer: WriterHandle<C>) {
    while let Some(batch) = deliveries.recv().await {
        writer.send_ordinary(batch.into_iter().map(returned).collect()).await;
    }
}

/// Recognizes a message of ours that came back, by its id and its latest death.
fn returned(delivery: Delivery) -> Received {
    let ticket = Ticket { queue: ticket_queue(delivery.intake), epoch: delivery.epoch, tag: delivery.tag };
    let id = delivery.message_id.as_deref().and_then(|id| WsbId::parse(id).ok());
    let why = delivery.rejection.as_ref().and_then(|rejection| retry::death_of(&rejection.reason));
    let recipient = delivery.recipient.as_deref().and_then(|text| Recipient::parse(text).ok());
    let told = delivery.correlation_id.map(String::into_boxed_str).zip(recipient);
    let otherwise = Box::new(unrecognized(delivery.body.into()));
    let input = match (id, why) {
        (Some(id), Some(why)) => Input::Returned { wsb: CameBack { id, told }, why, otherwise },
        _ => Input::NotAnEvent(otherwise),
    };
    Received { input, ticket }
}

/// Makes the content of a quarantine of something that came back and is not ours.
fn unrecognized(body: Arc<[u8]>) -> Quarantined {
    Quarantined {
        id: 0,
        at: Moment(0),
        word: "unrecognized-return".into(),
        reason: "unrecognized-return: came back through wsb.returned, and is not a delivery that is known".into(),
        personnummer: wire::personnummer_hint(&body),
        body,
    }
}
