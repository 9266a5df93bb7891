//! One broker works in a virtual host: the one whose consuming connection holds the
//! exclusive queue [`LOCK`]. RabbitMQ gives it to one connection at a time, and deletes
//! it with that connection.
//!
//! Deliberately absent: anything in that queue, and a way to take it from somebody.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, Error, ErrorKind};
use tokio::sync::watch;

use super::ObjectKind;
use super::declare::{self, Operation};
use super::link::{end_of, part, while_alive};
use super::target::Target;
use super::trouble::{Trouble, reason_of};

/// The queue that only one connection can have.
pub const LOCK: &str = "wsb.broker";

/// Whether this process may work in its virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// Another one may.
    Awaited,
    /// It may, for as long as the consuming connection lasts.
    Held,
}

/// A connection that lets this process work. Dropped, it does so no more.
pub(super) struct Locked<'a> {
    connection: Connection,
    lock: &'a watch::Sender<Lock>,
}

/// What RabbitMQ says to whoever wants the queue.
enum Answer {
    Given,
    /// The user may not declare it.
    Forbidden(String),
}

impl<'a> Locked<'a> {
    /// Takes the queue for `connection`. A user who may not declare it works without;
    /// `warned` says whether that has been told.
    pub(super) async fn take(
        connection: Connection,
        target: &Target,
        lock: &'a watch::Sender<Lock>,
        warned: &mut bool,
    ) -> Result<Self, Trouble> {
        match while_alive(&connection, declare(&connection, target)).await?? {
            Answer::Given => {}
            Answer::Forbidden(reason) => {
                if !std::mem::replace(warned, true) {
                    tracing::warn!(
                        reason,
                        "user '{}' may not declare queue '{LOCK}', which keeps a second broker out of the virtual host: working without \
                         it; grant configure permission (wsb-broker topology export)",
                        target.user()
                    );
                }
            }
        }
        lock.send_replace(Lock::Held);
        Ok(Self { connection, lock })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Ends the connection in words: once RabbitMQ has answered, the queue is gone.
    pub(super) async fn leave(self, why: &'static str) {
        self.lock.send_replace(Lock::Awaited);
        part(&self.connection, why).await;
    }

    /// Keeps the queue until the next attempt is due, if RabbitMQ lets it.
    pub(super) async fn keep_until(self, due: tokio::time::Instant) {
        let lost = tokio::select! {
            () = end_of(&self.connection) => true,
            () = tokio::time::sleep_until(due) => false,
        };
        if lost {
            drop(self);
            tokio::time::sleep_until(due).await;
        } else {
            self.leave("trying anew").await;
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.lock.send_replace(Lock::Awaited);
    }
}

async fn declare(connection: &Connection, target: &Target) -> Result<Answer, Trouble> {
    let channel = connection.create_channel().await.map_err(|error| Trouble::lost(&error))?;
    let mut arguments = FieldTable::default();
    // Where the virtual host has another default, it would be a kind that cannot be exclusive.
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(LOCK.into(), options, arguments).await {
        Ok(_) => {
            // The queue is the connection's.
            let _ = channel.close(200, "locked".into()).await;
            Ok(Answer::Given)
        }
        Err(error) => refusal(&error, target),
    }
}

fn refusal(error: &Error, target: &Target) -> Result<Answer, Trouble> {
    if let ErrorKind::ProtocolError(protocol) = error.kind() {
        match protocol.get_id() {
            403 => return Ok(Answer::Forbidden(reason_of(error))),
            405 => return Err(Trouble::AnotherBroker { target: target.to_string(), vhost: target.vhost().to_owned() }),
            // Whatever else is refused, such as a queue type that is not there, is told in RabbitMQ's words.
            _ => {}
        }
    }
    Err(declare::refusal(Operation::Declare, ObjectKind::Queue, LOCK, error).into())
}
