//! Declares a topology, and turns RabbitMQ's refusals into errors that name the
//! object, what differs and how to mend it.

use std::fmt;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, Error, ErrorKind};

use super::topology::{Argument, Binding, Exchange, ExchangeKind, Queue, Topology};
use super::trouble::reason_of;

/// A kind of object at RabbitMQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exchange => "exchange",
            Self::Queue => "queue",
        })
    }
}

/// Why an object could not be declared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeclareError {
    /// It exists and differs.
    #[error(
        "{kind} '{name}' already exists with {argument} = {existing}, the broker needs {argument} = {wanted}; {}",
        mend(*.kind, .name, .argument)
    )]
    Conflict {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// The argument that differs.
        argument: String,
        /// Its value at RabbitMQ.
        existing: String,
        /// Its value here.
        wanted: String,
    },
    /// The user lacks a permission.
    #[error("RabbitMQ refuses {permission} access to {kind} '{name}': {reason}; grant it with rabbitmqctl set_permissions")]
    Refused {
        /// `configure`, `write` or `read`; or several, where RabbitMQ does not say which.
        permission: &'static str,
        /// On what.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// RabbitMQ's words, which name user and virtual host.
        reason: String,
    },
    /// RabbitMQ refuses for another reason.
    #[error("RabbitMQ does not accept {kind} '{name}': {reason}")]
    Unacceptable {
        /// What it is.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// RabbitMQ's words.
        reason: String,
    },
    /// The name cannot be sent.
    #[error("{kind} name of {length} bytes is too long, AMQP allows 255")]
    NameTooLong {
        /// What it is.
        kind: ObjectKind,
        /// How long it is.
        length: usize,
    },
    /// The connection ended meanwhile.
    #[error("the connection ended while declaring {kind} '{name}': {reason}")]
    Interrupted {
        /// What was being declared.
        kind: ObjectKind,
        /// Its name.
        name: String,
        /// What lapin or RabbitMQ said.
        reason: String,
    },
}

impl DeclareError {
    /// Whether waiting will not help.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Refused { .. } | Self::NameTooLong { .. } => true,
            // A queue whose members are starting up is refused for a while.
            Self::Unacceptable { .. } | Self::Interrupted { .. } => false,
        }
    }
}

/// Declares all of `topology`. What exists and agrees is left as it is.
pub(super) async fn declare(connection: &Connection, topology: &Topology) -> Result<(), DeclareError> {
    declare_but(connection, topology, &[]).await
}

/// Declares all of `topology` as far as it can be: a recipient's queue that
/// differs is cut off, since what goes there may get lost, and holds up nobody
/// else. What is published to it comes back until it is as it ought to be and
/// declared again. Returns what is wrong with the queues that are cut off.
pub(super) async fn declare_leniently(connection: &Connection, topology: &Topology) -> Result<Vec<DeclareError>, DeclareError> {
    let mut differ: Vec<(String, DeclareError)> = Vec::new();
    loop {
        let names: Vec<&str> = differ.iter().map(|(name, _)| name.as_str()).collect();
        let Err(error) = declare_but(connection, topology, &names).await else {
            return Ok(differ.into_iter().map(|(_, error)| error).collect());
        };
        let DeclareError::Conflict { kind: ObjectKind::Queue, name, .. } = &error else { return Err(error) };
        let Some(binding) = topology.of_recipient(name).filter(|_| !names.contains(&name.as_str())) else { return Err(error) };
        cut_off(connection, binding).await?;
        differ.push((name.clone(), error));
    }
}

async fn declare_but(connection: &Connection, topology: &Topology, left_out: &[&str]) -> Result<(), DeclareError> {
    // A channel of its own: any refusal closes it.
    let first = || topology.exchanges.first().map(|exchange| exchange.name.clone()).unwrap_or_default();
    let channel = open(connection, ObjectKind::Exchange, first).await?;
    for exchange in &topology.exchanges {
        declare_exchange(&channel, exchange).await?;
    }
    for queue in topology.queues.iter().filter(|queue| !left_out.contains(&queue.name.as_str())) {
        declare_queue(&channel, queue).await?;
    }
    for binding in topology.bindings.iter().filter(|binding| !left_out.contains(&binding.queue.as_str())) {
        bind(&channel, binding).await?;
    }
    // Nothing depends on this close, and dropping the channel does the same.
    let _ = channel.close(200, "declared".into()).await;
    Ok(())
}

async fn open(connection: &Connection, kind: ObjectKind, name: impl FnOnce() -> String) -> Result<Channel, DeclareError> {
    let channel = connection.create_channel().await;
    channel.map_err(|error| DeclareError::Interrupted { kind, name: name(), reason: reason_of(&error) })
}

/// Ends a binding; one that does not exist is ended.
async fn cut_off(connection: &Connection, binding: &Binding) -> Result<(), DeclareError> {
    let channel = open(connection, ObjectKind::Queue, || binding.queue.clone()).await?;
    let [queue, exchange, key] = names_of(binding)?;
    let answer = channel.queue_unbind(queue, exchange, key, FieldTable::default()).await;
    answer.map_err(|error| refusal(Operation::Bind, ObjectKind::Queue, &binding.queue, &error))?;
    // Nothing depends on this close, and dropping the channel does the same.
    let _ = channel.close(200, "cut off".into()).await;
    Ok(())
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), DeclareError> {
    let kind = match exchange.kind {
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
    };
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let name = short(ObjectKind::Exchange, &exchange.name)?;
    let answer = channel.exchange_declare(name, kind, options, FieldTable::default()).await;
    answer.map_err(|error| refusal(Operation::Declare, ObjectKind::Exchange, &exchange.name, &error))
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<(), DeclareError> {
    let mut arguments = FieldTable::default();
    for (name, value) in &queue.arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
        };
        arguments.insert((*name).into(), value);
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let name = short(ObjectKind::Queue, &queue.name)?;
    match channel.queue_declare(name, options, arguments).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refusal(Operation::Declare, ObjectKind::Queue, &queue.name, &error)),
    }
}

pub(super) async fn bind(channel: &Channel, binding: &Binding) -> Result<(), DeclareError> {
    let [queue, exchange, key] = names_of(binding)?;
    let answer = channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await;
    answer.map_err(|error| refusal(Operation::Bind, ObjectKind::Queue, &binding.queue, &error))
}

/// Returns queue, exchange and key of a binding as they are sent.
fn names_of(binding: &Binding) -> Result<[ShortString; 3], DeclareError> {
    Ok([
        short(ObjectKind::Queue, &binding.queue)?,
        short(ObjectKind::Exchange, &binding.exchange)?,
        short(ObjectKind::Queue, &binding.key)?,
    ])
}

/// lapin's own conversion panics on what is too long for the wire.
fn short(kind: ObjectKind, text: &str) -> Result<ShortString, DeclareError> {
    ShortString::try_new(text).map_err(|_| DeclareError::NameTooLong { kind, length: text.len() })
}

#[derive(Clone, Copy)]
pub(super) enum Operation {
    Declare,
    Bind,
}

pub(super) fn refusal(operation: Operation, kind: ObjectKind, name: &str, error: &Error) -> DeclareError {
    let reason = reason_of(error);
    let name = name.to_owned();
    match error.kind() {
        ErrorKind::ProtocolError(protocol) if error.is_amqp_soft_error() => {
            if let Some(conflict) = parse_conflict(&reason) {
                conflict
            } else if protocol.get_id() == 403 {
                let (refused, name) = object_in(&reason).unwrap_or((kind, name));
                DeclareError::Refused { permission: permission(operation, kind, refused, &reason), kind: refused, name, reason }
            } else {
                DeclareError::Unacceptable { kind, name, reason }
            }
        }
        // Whatever is not a refusal of this object is the end of the connection.
        _ => DeclareError::Interrupted { kind, name, reason },
    }
}

/// Newer servers say which permission is missing; for older ones it follows from
/// what was asked. A queue with a dead-letter exchange also needs `read` on
/// itself and `write` on the exchange.
fn permission(operation: Operation, of: ObjectKind, refused: ObjectKind, reason: &str) -> &'static str {
    for named in ["configure", "write", "read"] {
        if reason.contains(&format!("{named} access")) {
            return named;
        }
    }
    match (operation, refused) {
        // The dead-letter exchange of the queue.
        (Operation::Declare, ObjectKind::Exchange) if of == ObjectKind::Queue => "write",
        // A queue with a dead-letter exchange is declared by who may read it too.
        (Operation::Declare, ObjectKind::Queue) => "configure or read",
        (Operation::Declare, ObjectKind::Exchange) => "configure",
        (Operation::Bind, ObjectKind::Queue) => "write",
        (Operation::Bind, ObjectKind::Exchange) => "read",
    }
}

/// The object in `... queue 'q' in vhost '/' ...`.
pub(super) fn object_in(text: &str) -> Option<(ObjectKind, String)> {
    for (kind, opening) in [(ObjectKind::Queue, "queue '"), (ObjectKind::Exchange, "exchange '")] {
        if let Some((_, rest)) = text.split_once(opening)
            && let Some((name, _)) = rest.split_once("' in vhost")
        {
            return Some((kind, name.to_owned()));
        }
    }
    None
}

/// `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in
/// vhost '/': received '5' but current is '1000'`, and the forms with `none`
/// and with types.
fn parse_conflict(text: &str) -> Option<DeclareError> {
    let (_, rest) = text.split_once("inequivalent arg '")?;
    let (argument, rest) = rest.split_once("' for ")?;
    let (kind, name) = object_in(rest)?;
    let (_, values) = rest.split_once(": received ")?;
    let (wanted, existing) = values.split_once(" but current is ")?;
    Some(DeclareError::Conflict { kind, name, argument: argument.to_owned(), existing: bare_value(existing), wanted: bare_value(wanted) })
}

/// The value inside `'5'`, `the value '5' of type 'signedint'` or `none`.
fn bare_value(text: &str) -> String {
    let text = text.strip_prefix("the value ").unwrap_or(text);
    let text = text.split_once(" of type ").map_or(text, |(value, _)| value);
    let text = text.trim().trim_matches('\'');
    if text == "none" { "nothing".to_owned() } else { text.to_owned() }
}

fn mend(kind: ObjectKind, name: &str, argument: &str) -> String {
    match (kind, argument) {
        (ObjectKind::Queue, "x-max-length") => format!(
            "set its window in routing.toml to the existing value, or empty the queue, delete it (rabbitmqctl delete_queue '{name}') and start again"
        ),
        (ObjectKind::Queue, _) => {
            format!("RabbitMQ cannot change this: empty the queue, delete it (rabbitmqctl delete_queue '{name}') and start again")
        }
        (ObjectKind::Exchange, _) => {
            format!("RabbitMQ cannot change this: delete exchange '{name}' (management page or rabbitmqadmin) and start again")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(parse_conflict(text).map(|conflict| conflict.to_string()).as_deref(), Some(expected));
    }

    #[test]
    fn conflicts_in_every_form_rabbitmq_has() {
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue 'q' in vhost '/': received '5' but current is '1000'",
            "queue 'q' already exists with x-max-length = 1000, the broker needs x-max-length = 5; set its window in routing.toml to the \
             existing value, or empty the queue, delete it (rabbitmqctl delete_queue 'q') and start again",
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'wsb.akasse.067' in vhost 'it's': received the value \
             'reject-publish' of type 'longstr' but current is none",
            "queue 'wsb.akasse.067' already exists with x-overflow = nothing, the broker needs x-overflow = reject-publish; RabbitMQ cannot \
             change this: empty the queue, delete it (rabbitmqctl delete_queue 'wsb.akasse.067') and start again",
        );
        check(
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'wsb.delivery' in vhost '/': received 'direct' but current is 'topic'",
            "exchange 'wsb.delivery' already exists with type = topic, the broker needs type = direct; RabbitMQ cannot change this: delete \
             exchange 'wsb.delivery' (management page or rabbitmqadmin) and start again",
        );
    }

    #[test]
    fn other_refusals_are_no_conflict() {
        assert_eq!(parse_conflict("PRECONDITION_FAILED - invalid property 'x' for queue 'q' in vhost '/'"), None);
    }

    #[test]
    fn the_missing_permission_is_named() {
        let old = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'";
        let new = "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'u'";
        assert_eq!(object_in(old), Some((ObjectKind::Queue, "q".to_owned())));
        assert_eq!(permission(Operation::Bind, ObjectKind::Queue, ObjectKind::Queue, old), "write");
        assert_eq!(permission(Operation::Declare, ObjectKind::Queue, ObjectKind::Queue, old), "configure or read");
        assert_eq!(permission(Operation::Declare, ObjectKind::Queue, ObjectKind::Exchange, old), "write");
        assert_eq!(permission(Operation::Declare, ObjectKind::Exchange, ObjectKind::Exchange, old), "configure");
        assert_eq!(permission(Operation::Declare, ObjectKind::Exchange, ObjectKind::Exchange, new), "write");
    }
}
