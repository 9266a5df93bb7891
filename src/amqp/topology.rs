//! What RabbitMQ must hold for the broker, as plain values. Declaring it is
//! `declare`'s job; printing it needs no connection.

use std::fmt;

/// What the topology is built from: the checked routing configuration, reduced
/// to names and numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Every domain. Events of `tilknytning` get an intake queue of their own,
    /// those of all others share one.
    pub domains: Vec<String>,
    /// The recipients' queues.
    pub recipients: Vec<RecipientQueue>,
    /// The fixed names.
    pub names: Names,
}

/// One recipient's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientQueue {
    /// Its name, which is also its routing key.
    pub queue: String,
    /// How many unfetched messages it may hold before publishes are nacked.
    pub max_length: u32,
}

/// The names that do not depend on recipients; the default is the contract's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Topic exchange that DFDG publishes domain events to.
    pub events: String,
    /// Direct exchange that WSBs are published to.
    pub delivery: String,
    /// Fanout exchange, and queue of the same name, for what comes back.
    pub returned: String,
    /// Topic exchange, and queue of the same name, for deletion orders.
    pub deletions: String,
    /// Queue of the events that change who may receive.
    pub intake_tilknytning: String,
    /// Queue of all other events.
    pub intake_events: String,
}

impl Default for Names {
    fn default() -> Self {
        Self {
            events: "dfdg.events".into(),
            delivery: "wsb.delivery".into(),
            returned: "wsb.returned".into(),
            deletions: "dfdg.deletions".into(),
            intake_tilknytning: "wsb.intake.tilknytning".into(),
            intake_events: "wsb.intake.events".into(),
        }
    }
}

/// Exchanges, queues and bindings, each list in the order of declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// Exchanges; all are durable.
    pub exchanges: Vec<Exchange>,
    /// Queues; all are durable.
    pub queues: Vec<Queue>,
    /// Bindings of the queues above.
    pub bindings: Vec<Binding>,
    /// What of it the broker itself publishes to.
    pub published: Outlets,
}

/// What the broker publishes to, and cannot do without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlets {
    /// Those of the exchanges.
    pub exchanges: Vec<String>,
    /// Those of the bindings without which nothing that is published arrives,
    /// whatever its key: not those of recipients, whose queue is their affair.
    pub bindings: Vec<Binding>,
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
}

/// How an exchange routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// By pattern.
    Topic,
    /// By equal key.
    Direct,
    /// To every bound queue.
    Fanout,
}

impl fmt::Display for ExchangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
        })
    }
}

/// A durable queue with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Optional arguments, by name.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// The value of a queue argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A long string.
    Text(String),
    /// A signed 64-bit number; RabbitMQ compares numbers of all widths by value.
    Number(i64),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// A queue bound to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// From which exchange.
    pub exchange: String,
    /// To which queue.
    pub queue: String,
    /// With which key or pattern.
    pub key: String,
}

/// After so many returns to the queue a vendor's message is dead-lettered.
const RECIPIENT_DELIVERY_LIMIT: i64 = 20;
/// The domain whose events overtake all others.
const TILKNYTNING: &str = "tilknytning";

impl Topology {
    /// Everything the contract's table lists, for this plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let names = &plan.names;
        let mut topology = Self::default();
        topology.exchange(&names.events, ExchangeKind::Topic);
        topology.exchange(&names.delivery, ExchangeKind::Direct);
        topology.exchange(&names.returned, ExchangeKind::Fanout);
        topology.exchange(&names.deletions, ExchangeKind::Topic);
        topology.published.exchanges = vec![names.delivery.clone(), names.deletions.clone()];

        // No delivery limit on these, although RabbitMQ 4 then drops after 20
        // returns to the queue: as an argument it would conflict with every
        // plain declaration of the contract's queue, and -1 means "none" only
        // from 4.0 on. There, a policy lifts it.
        topology.queue(&names.intake_tilknytning, Vec::new());
        topology.queue(&names.intake_events, Vec::new());
        topology.queue(&names.returned, Vec::new());
        topology.queue(&names.deletions, Vec::new());
        for domain in &plan.domains {
            let queue = if domain == TILKNYTNING { &names.intake_tilknytning } else { &names.intake_events };
            topology.bind(&names.events, queue, &format!("{domain}.#"));
        }
        topology.bind(&names.returned, &names.returned, "");
        topology.bind(&names.deletions, &names.deletions, "#");
        topology.published.bindings.extend(topology.bindings.last().cloned());

        for recipient in &plan.recipients {
            topology.queue(
                &recipient.queue,
                vec![
                    ("x-max-length", Argument::Number(recipient.max_length.into())),
                    ("x-overflow", Argument::Text("reject-publish".into())),
                    ("x-dead-letter-exchange", Argument::Text(names.returned.clone())),
                    // Only together with reject-publish; without it dead-lettering may lose messages.
                    ("x-dead-letter-strategy", Argument::Text("at-least-once".into())),
                    ("x-delivery-limit", Argument::Number(RECIPIENT_DELIVERY_LIMIT)),
                ],
            );
            topology.bind(&names.delivery, &recipient.queue, &recipient.queue);
        }
        topology
    }

    /// Returns the binding of a recipient's queue; `None` for the broker's own.
    pub(super) fn of_recipient(&self, queue: &str) -> Option<&Binding> {
        let of_it = self.bindings.iter().find(|binding| binding.queue == queue)?;
        let is_reached = self.published.exchanges.contains(&of_it.exchange);
        (is_reached && !self.published.bindings.contains(of_it)).then_some(of_it)
    }

    /// Returns the bindings of some of the queues.
    pub(super) fn of_queues(&self, queues: &[&str]) -> Vec<Binding> {
        self.bindings.iter().filter(|binding| queues.contains(&binding.queue.as_str())).cloned().collect()
    }

    fn exchange(&mut self, name: &str, kind: ExchangeKind) {
        self.exchanges.push(Exchange { name: name.to_owned(), kind });
    }

    fn queue(&mut self, name: &str, more: Vec<(&'static str, Argument)>) {
        let mut arguments = vec![("x-queue-type", Argument::Text("quorum".into()))];
        arguments.extend(more);
        self.queues.push(Queue { name: name.to_owned(), arguments });
    }

    fn bind(&mut self, exchange: &str, queue: &str, key: &str) {
        self.bindings.push(Binding { exchange: exchange.to_owned(), queue: queue.to_owned(), key: key.to_owned() });
    }
}

impl fmt::Display for Topology {
    /// One line for each object, as `wsb-broker topology` prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Exchange { name, kind } in &self.exchanges {
            writeln!(f, "exchange {name} {kind} durable")?;
        }
        for Queue { name, arguments } in &self.queues {
            write!(f, "queue {name} durable")?;
            for (argument, value) in arguments {
                write!(f, " {argument}={value}")?;
            }
            writeln!(f)?;
        }
        for Binding { exchange, queue, key } in &self.bindings {
            writeln!(f, "binding {exchange} -> {queue} key '{key}'")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contracts_table() {
        let plan = Plan {
            domains: vec!["tilknytning".into(), "plan".into(), "gdpr".into()],
            recipients: vec![RecipientQueue { queue: "wsb.akasse.067".into(), max_length: 1000 }],
            names: Names::default(),
        };
        let expected = "\
exchange dfdg.events topic durable
exchange wsb.delivery direct durable
exchange wsb.returned fanout durable
exchange dfdg.deletions topic durable
queue wsb.intake.tilknytning durable x-queue-type=quorum
queue wsb.intake.events durable x-queue-type=quorum
queue wsb.returned durable x-queue-type=quorum
queue dfdg.deletions durable x-queue-type=quorum
queue wsb.akasse.067 durable x-queue-type=quorum x-max-length=1000 x-overflow=reject-publish \
x-dead-letter-exchange=wsb.returned x-dead-letter-strategy=at-least-once x-delivery-limit=20
binding dfdg.events -> wsb.intake.tilknytning key 'tilknytning.#'
binding dfdg.events -> wsb.intake.events key 'plan.#'
binding dfdg.events -> wsb.intake.events key 'gdpr.#'
binding wsb.returned -> wsb.returned key ''
binding dfdg.deletions -> dfdg.deletions key '#'
binding wsb.delivery -> wsb.akasse.067 key 'wsb.akasse.067'
";
        assert_eq!(Topology::of(&plan).to_string(), expected);
    }
}
