//! `wsb-broker topology`

use super::args::{Common, Format, TopologyArguments, TopologyCommand};
use super::exit::{Exit, Failure};
use super::run::{load_rules, target};
use crate::amqp::{Topology, Trouble, client};
use crate::app::topology_of;

pub fn topology(common: &Common, arguments: &TopologyArguments) -> Result<Exit, Failure> {
    if let Some(TopologyCommand::Export(export)) = &arguments.command {
        return super::definitions::export(common, export);
    }
    let topology = topology_of(&load_rules(common)?);
    if arguments.apply {
        let target = target(common)?;
        let runtime = super::run::runtime()?;
        return match runtime.block_on(client::apply_topology(&target, &topology)) {
            Ok(()) => {
                answer_line!("declared: {}", summary(&topology));
                Ok(Exit::Ok)
            }
            Err(trouble) => Err(trouble_failure(trouble)),
        };
    }
    match arguments.format {
        Format::Table => answer!("{topology}"),
        Format::Json => answer_line!("{}", as_json(&topology)),
    }
    Ok(Exit::Ok)
}

fn summary(topology: &Topology) -> String {
    format!("{} exchanges, {} queues, {} bindings", topology.exchanges.len(), topology.queues.len(), topology.bindings.len())
}

/// Returns the failure of a command that needed RabbitMQ.
pub fn trouble_failure(trouble: Trouble) -> Failure {
    let exit = match &trouble {
        Trouble::BadUri { .. } => Exit::Usage,
        trouble if trouble.needs_operator() => Exit::Refused,
        // The network, or RabbitMQ itself: it may pass.
        _ => Exit::Unreachable,
    };
    Failure::new(exit, trouble)
}

fn as_json(topology: &Topology) -> serde_json::Value {
    use crate::amqp::Argument;
    let argument = |argument: &Argument| match argument {
        Argument::Text(text) => serde_json::Value::from(text.to_string()),
        Argument::Number(number) => serde_json::Value::from(*number),
    };
    serde_json::json!({
        "exchanges": topology.exchanges.iter().map(|exchange| serde_json::json!({
            "name": exchange.name.to_string(), "type": exchange.kind.to_string(), "durable": true,
        })).collect::<Vec<_>>(),
        "queues": topology.queues.iter().map(|queue| serde_json::json!({
            "name": queue.name.to_string(), "durable": true,
            "arguments": queue.arguments.iter().map(|(name, value)| (name.to_string(), argument(value))).collect::<serde_json::Map<_, _>>(),
        })).collect::<Vec<_>>(),
        "bindings": topology.bindings.iter().map(|binding| serde_json::json!({
            "source": binding.exchange.to_string(), "destination": binding.queue.to_string(), "routing_key": binding.key.to_string(),
        })).collect::<Vec<_>>(),
    })
}
