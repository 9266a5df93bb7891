//! Whether the exchanges that the broker publishes to can be published to: asked
//! when a connection is made and every few seconds after that, so that one that
//! has been deleted, or a permission that has been taken back, shows before a
//! thousand messages have met it, and also while nothing is sent.
//!
//! Publishes nothing to find out: what is published to a topic exchange arrives.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, ExchangeUnbindOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Connection, Error, ErrorKind, ExchangeKind};

use super::declare::{DeclareError, ObjectKind, object_in};
use super::message::Outcome;
use super::trouble::{Trouble, reason_of};

/// How often they are looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// Of a binding that does not exist.
const NO_SUCH_KEY: &str = "wsb-broker.may-it-write";

/// Returns whether all may be published to; what a lost connection leaves open
/// is told by whoever looks after the connection.
pub(super) async fn check(connection: &Connection, exchanges: &[String]) -> Result<(), Trouble> {
    for exchange in exchanges {
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
pub(super) async fn until_unusable(connection: &Connection, exchanges: &[String]) -> Trouble {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(trouble) = check(connection, exchanges).await {
            return trouble;
        }
    }
}

/// Returns what outcomes say of the exchanges.
pub(super) fn told_by(outcomes: &[(u64, Outcome)], exchanges: &[String]) -> Option<Trouble> {
    let named = |text: &str| object_in(text).filter(|(kind, name)| *kind == ObjectKind::Exchange && exchanges.contains(name));
    outcomes.iter().find_map(|(_, outcome)| match outcome {
        Outcome::ChannelClosed { code: 404, text } => named(text).map(|(_, exchange)| Trouble::ExchangeMissing { exchange }),
        Outcome::AccessRefused { text } => named(text).map(|(_, exchange)| refused(&exchange, text.clone())),
        Outcome::Confirmed
        | Outcome::Nacked
        | Outcome::Returned { .. }
        | Outcome::TimedOut
        | Outcome::ChannelClosed { .. }
        | Outcome::ConnectionLost
        | Outcome::Blocked
        | Outcome::Unsendable { .. } => None,
    })
}

fn refused(exchange: &str, reason: String) -> Trouble {
    Trouble::Topology(DeclareError::Refused { permission: "write", kind: ObjectKind::Exchange, name: exchange.to_owned(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_tell_of_exchanges_of_ours() {
        let ours = ["wsb.delivery".to_owned()];
        let check = |outcome, expected: Option<&str>| {
            let told = told_by(&[(1, Outcome::Confirmed), (2, outcome)], &ours).map(|trouble| trouble.to_string());
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
    }
}
