//! Who competes, and the stage that each needs: a source, targets, and a way to
//! set it going.

use std::fmt;
use std::process::Child;

use lapin::ExchangeKind;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::broker;
use crate::load::{self, Scenario};
use crate::relay;
use crate::rig::{Amqp, Broker, Node};
use crate::usage::{self, Usage};

const SOURCE: &str = "bench.source";
const INCOMING: &str = "bench.in";
const OUTGOING: &str = "bench.out";

/// Who competes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// RabbitMQ's Shovel.
    Shovel,
    /// The bare lapin relay.
    Relay,
    /// The broker.
    Broker,
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Shovel => "shovel",
            Self::Relay => "relay",
            Self::Broker => "broker",
        })
    }
}

impl Contestant {
    /// All, in the order of the tables.
    pub const ALL: [Self; 3] = [Self::Shovel, Self::Relay, Self::Broker];

    /// Parses a name.
    pub fn parse(name: &str) -> Self {
        Self::ALL.into_iter().find(|contestant| contestant.to_string() == name).unwrap_or_else(|| panic!("no contestant {name}"))
    }

    /// Returns whether the contestant can do this at all: Shovel makes no copies.
    pub fn can(self, scenario: &Scenario) -> bool {
        self != Self::Shovel || scenario.fanout == 1
    }

    /// Makes a vhost with source and targets, and nothing that moves.
    pub fn set_stage<'a>(self, node: &'a Node, scenario: &Scenario) -> Stage<'a> {
        let uri = node.vhost("bench");
        let (targets, broker) = match self {
            Self::Shovel | Self::Relay => (declare_queues(&uri, scenario), None),
            Self::Broker => {
                let (targets, broker) = broker::prepare(&uri, scenario);
                (targets, Some(broker))
            }
        };
        Stage { node, contestant: self, scenario: scenario.clone(), uri, targets, broker }
    }
}

/// A message of the load, ready to publish.
pub struct Outgoing {
    /// The event's id.
    pub id: String,
    /// Routing key.
    pub key: String,
    /// Body.
    pub body: Vec<u8>,
}

/// A vhost with source and targets.
pub struct Stage<'a> {
    node: &'a Node,
    contestant: Contestant,
    scenario: Scenario,
    uri: String,
    targets: Vec<String>,
    /// Prepared, and not running.
    broker: Option<Broker>,
}

impl Stage<'_> {
    /// Returns where it is.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the queues to consume.
    pub fn target_queues(&self) -> &[String] {
        &self.targets
    }

    /// Returns the exchange that events are published to.
    pub fn exchange(&self) -> &'static str {
        match self.contestant {
            Contestant::Shovel | Contestant::Relay => INCOMING,
            Contestant::Broker => "dfdg.events",
        }
    }

    /// Returns event `number`. For the baselines its routing key says where it
    /// is to go: they have nobody to ask.
    pub fn message(&self, number: usize) -> Outgoing {
        let event = load::event(number, &self.scenario);
        let key = match self.contestant {
            Contestant::Shovel | Contestant::Relay => relay::target(number % self.scenario.citizens % self.scenario.targets),
            Contestant::Broker => event.routing_key(),
        };
        Outgoing { id: event.event_id().to_owned(), key, body: event.body() }
    }

    /// Puts `events` messages into the source.
    pub fn fill(&self, events: usize) {
        let messages: Vec<(String, Vec<u8>)> =
            (0..events).map(|number| self.message(number)).map(|message| (message.key, message.body)).collect();
        Amqp::connect(&self.uri).publish_all(self.exchange(), messages);
    }

    /// Sets the contestant going.
    pub fn go(&mut self) -> Mover {
        match self.contestant {
            Contestant::Shovel => {
                let vhost = self.uri.rsplit('/').next().unwrap_or_default();
                let definition = json!({
                    "src-protocol": "amqp091", "src-uri": self.uri, "src-queue": SOURCE, "src-prefetch-count": 1000,
                    "dest-protocol": "amqp091", "dest-uri": self.uri, "dest-exchange": OUTGOING, "ack-mode": "on-confirm",
                });
                self.node.ctl(&["set_parameter", "-p", vhost, "shovel", "bench", &definition.to_string()]);
                Mover::Shovel
            }
            Contestant::Relay => Mover::Relay(relay::start(&self.uri, SOURCE, OUTGOING, self.scenario.fanout, self.scenario.targets)),
            Contestant::Broker => {
                let mut broker = self.broker.take().expect("the stage was set for the broker, and is used once");
                broker.start_again();
                Mover::Broker(Box::new(broker))
            }
        }
    }

    /// Removes everything, so that the next one finds the node as this one did.
    pub fn clear(self) {
        self.node.delete_vhost(&self.uri);
    }
}

/// What moves the messages. Dropping it ends it.
pub enum Mover {
    /// A part of RabbitMQ; it goes with the vhost.
    Shovel,
    /// A process.
    Relay(Child),
    /// A process.
    Broker(Box<Broker>),
}

impl Mover {
    /// Returns what its process has used so far, where it is one.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Shovel => None,
            Self::Relay(relay) => Some(usage::of(relay.id())),
            Self::Broker(broker) => broker.pid().map(usage::of),
        }
    }
}

impl Mover {
    /// Returns what there is to say when it does not do its work.
    pub fn last_words(&self) -> String {
        match self {
            Self::Shovel | Self::Relay(_) => String::new(),
            Self::Broker(broker) => {
                format!("readyz: {:?}\nrecipients: {}\nlog:\n{}", broker.readyz(), broker.api_get("/api/v1/recipients").1, broker.log())
            }
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        if let Self::Relay(relay) = self {
            let _ = relay.kill();
            let _ = relay.wait();
        }
    }
}

/// The source and the targets of the baselines. The targets are declared as the
/// broker declares its recipients' queues.
fn declare_queues(uri: &str, scenario: &Scenario) -> Vec<String> {
    let amqp = Amqp::connect(uri);
    amqp.declare_exchange(INCOMING, ExchangeKind::Fanout);
    amqp.declare_exchange(OUTGOING, ExchangeKind::Direct);
    amqp.declare_exchange("bench.returned", ExchangeKind::Fanout);
    amqp.declare_queue("bench.returned", &[]);
    amqp.bind("bench.returned", "bench.returned", "");
    amqp.declare_queue(SOURCE, &[]);
    amqp.bind(SOURCE, INCOMING, "");
    let text = |text: &str| AMQPValue::LongString(text.into());
    let targets: Vec<String> = (0..scenario.targets).map(relay::target).collect();
    for target in &targets {
        amqp.declare_queue(
            target,
            &[
                ("x-max-length", AMQPValue::LongInt(broker::WINDOW)),
                ("x-overflow", text("reject-publish")),
                ("x-dead-letter-exchange", text("bench.returned")),
                ("x-dead-letter-strategy", text("at-least-once")),
                ("x-delivery-limit", AMQPValue::LongInt(20)),
            ],
        );
        amqp.bind(target, OUTGOING, target);
    }
    targets
}
