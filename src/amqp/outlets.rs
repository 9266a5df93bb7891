//! Whether the exchanges that the broker publishes to can be published to, and
//! whether the queue is there that takes all orders: asked when a connection is
//! made and every few seconds after that, so that what has been deleted, or a
//! permission that has been taken back, shows before a thousand messages have met
//! it, and also while nothing is sent. A binding cannot be looked at; that one is
//! missing shows by what comes back.
//!
//! Publishes nothing to find out: what is published to a topic exchange arrives.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, ExchangeUnbindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, Error, ErrorKind, ExchangeKind};

use super::declare::{DeclareError, ObjectKind, object_in};
use super::message::Outcome;
use super::topology::Outlets;
use super::trouble::{Trouble, reason_of};

/// How often they are looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// Of a binding that does not exist.
const NO_SUCH_KEY: &str = "wsb-broker.may-it-write";

/// How RabbitMQ speaks of a queue that does not exist; of one whose node is down
/// it says something else with the same code, and to declare that is no help.
const NO_QUEUE: &str = "no queue '";

/// Returns whether all may be published to; what a lost connection leaves open
/// is told by whoever looks after the connection.
pub(super) async fn check(connection: &Connection, published: &Outlets) -> Result<(), Trouble> {
    for exchange in &published.exchanges {
        match look(connection, exchange).await {
            Ok(()) => {}
            Err(error) => match error.kind() {
                ErrorKind::ProtocolError(refusal) if error.is_amqp_soft_error() && refusal.get_id() == 403 => {
                    return Err(refused(exchange, reason_of(&error)));
                }
                ErrorKind::ProtocolError(refusal) if error.is_amqp_soft_error() && refusal.get_id() == 404 => {
                    return Err(Trouble::ExchangeMissing { exchange: exchange.clone() });
                }
                // The end of the connection, which is noticed elsewhere.
                _ => return Ok(()),
            },
        }
    }
    for binding in &published.bindings {
        match look_at_queue(connection, &binding.queue).await {
            Ok(()) => {}
            Err(error) => match error.kind() {
                ErrorKind::ProtocolError(refusal) if error.is_amqp_soft_error() => {
                    if refusal.get_id() == 404 && reason_of(&error).contains(NO_QUEUE) {
                        return Err(Trouble::QueueMissing { queue: binding.queue.clone() });
                    }
                    // It is there, and publishing to it takes nothing of the queue.
                }
                // The end of the connection, which is noticed elsewhere.
                _ => return Ok(()),
            },
        }
    }
    Ok(())
}

/// On a channel of its own, as all looks.
async fn look_at_queue(connection: &Connection, queue: &str) -> Result<(), Error> {
    // What is declared is short enough.
    let Ok(name) = ShortString::try_new(queue) else { return Ok(()) };
    let channel = connection.create_channel().await?;
    let there = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name, there, FieldTable::default()).await?;
    // Dropping the channel would do the same, a moment later.
    let _ = channel.close(200, "looked".into()).await;
    Ok(())
}

/// On a channel of its own: a refusal closes it, and RabbitMQ remembers for a
/// while what a channel was permitted.
async fn look(connection: &Connection, exchange: &str) -> Result<(), Error> {
    // What is declared is short enough.
    let Ok(name) = ShortString::try_new(exchange) else { return Ok(()) };
    let channel = connection.create_channel().await?;
    let there = ExchangeDeclareOptions { passive: true, durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.clone(), ExchangeKind::Direct, there, FieldTable::default()).await?;
    // To undo what was never done is no change, and takes the permission that
    // publishing takes.
    let options = ExchangeUnbindOptions::default();
    channel.exchange_unbind(name.clone(), name, NO_SUCH_KEY.into(), options, FieldTable::default()).await?;
    // Dropping the channel would do the same, a moment later.
    let _ = channel.close(200, "looked".into()).await;
    Ok(())
}

/// Returns when one of them cannot be published to any more. Dropped at any
/// point, it has changed nothing.
pub(super) async fn until_unusable(connection: &Connection, published: &Outlets) -> Trouble {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(trouble) = check(connection, published).await {
            return trouble;
        }
    }
}

/// Returns what the outcomes of a batch to one exchange say of what is published to.
pub(super) fn told_by(exchange: &str, outcomes: &[(u64, Outcome)], published: &Outlets) -> Option<Trouble> {
    let named = |text: &str| object_in(text).filter(|(kind, name)| *kind == ObjectKind::Exchange && published.exchanges.contains(name));
    let taker = published.bindings.iter().find(|binding| binding.exchange == exchange);
    outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::ChannelClosed { code: 404, text } => named(text).map(|(_, exchange)| Trouble::ExchangeMissing { exchange }),
        Outcome::AccessRefused { text } => named(text).map(|(_, exchange)| refused(&exchange, text.clone())),
        Outcome::Returned { .. } => {
            taker.map(|binding| Trouble::NotBound { exchange: binding.exchange.clone(), queue: binding.queue.clone() })
        }
        Outcome::Confirmed
        | Outcome::Nacked
        | Outcome::TimedOut
        | Outcome::ChannelClosed { .. }
        | Outcome::ConnectionLost
        | Outcome::Blocked
        | Outcome::TooLarge { .. }
        | Outcome::TooLate
        | Outcome::Unsendable { .. } => None,
    })
}

fn refused(exchange: &str, reason: String) -> Trouble {
    Trouble::Topology(DeclareError::Refused { permission: "write", kind: ObjectKind::Exchange, name: exchange.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::super::topology::Binding;
    use super::*;

    #[test]
    fn outcomes_tell_of_exchanges_of_ours() {
        let binding = Binding { exchange: "dfdg.deletions".into(), queue: "dfdg.deletions".into(), key: "#".into() };
        let ours = Outlets { exchanges: vec!["wsb.delivery".into(), "dfdg.deletions".into()], bindings: vec![binding] };
        let told =
            |exchange: &str, outcome| told_by(exchange, &[(1, Outcome::Confirmed), (2, outcome)], &ours).map(|trouble| trouble.to_string());
        let check = |outcome, expected: Option<&str>| {
            let told = told("wsb.delivery", outcome);
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        let closed = |code, text: &str| Outcome::ChannelClosed { code, text: text.to_owned() };
        check(closed(404, "NOT_FOUND - no exchange 'wsb.delivery' in vhost '/'"), Some("exchange 'wsb.delivery' is gone"));
        check(closed(404, "NOT_FOUND - no exchange 'another' in vhost '/'"), None);
        check(closed(406, "PRECONDITION_FAILED - exchange 'wsb.delivery' in vhost '/'"), None);
        let text = "ACCESS_REFUSED - access to exchange 'wsb.delivery' in vhost '/' refused for user 'u'".to_owned();
        check(Outcome::AccessRefused { text }, Some("refuses write access to exchange 'wsb.delivery'"));
        check(Outcome::Nacked, None);
        // A recipient's queue may be missing; that of the orders may not.
        let returned = || Outcome::Returned { code: 312, text: "NO_ROUTE".into() };
        check(returned(), None);
        assert!(told("dfdg.deletions", returned()).unwrap_or_default().contains("queue 'dfdg.deletions' is not bound"));
    }
}
