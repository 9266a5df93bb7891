//! `wsb-broker events publish`

use std::io::Read;
use std::path::Path;

use super::args::{Common, EventsArguments, EventsCommand};
use super::exit::{Exit, Failure};
use super::run::{load_rules, runtime, target};
use super::terminal::{Progress, number_of_events};
use super::topology::trouble_failure;
use crate::amqp::{Outcome, client};
use crate::core::policy::Rules;
use crate::wire;

/// The exchange that DFDG publishes to.
const EXCHANGE: &str = "dfdg.events";

pub fn events(common: &Common, arguments: &EventsArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        EventsCommand::Publish { file } => publish(common, file),
    }
}

fn publish(common: &Common, file: &Path) -> Result<Exit, Failure> {
    let rules = load_rules(common)?;
    let text = read_file(file)?;
    let mut messages = Vec::new();
    let mut mistakes = 0;
    for (number, line) in lines(&text) {
        match wire::parse_event(line.as_bytes(), &rules) {
            Ok(event) => messages.push((key_of(&event, &rules), line.as_bytes().to_vec())),
            Err(refusal) => {
                mistakes += 1;
                say_line!("{}:{number}: {refusal}", file.display());
            }
        }
    }
    if mistakes > 0 {
        return Err(Failure::words(Exit::No, format!("{mistakes} line(s) are not events; nothing was published")));
    }
    let target = target(common)?;
    let total = messages.len();
    let mut progress = Progress::new("publishing", total as u64);
    let published = runtime()?
        .block_on(client::publish_events(&target, EXCHANGE, messages, |done| progress.at(done as u64)))
        .map_err(trouble_failure)?;
    progress.end();
    if let Some((index, outcome)) = published.failed.first() {
        let (exit, why) = not_taken(outcome);
        let words = format!(
            "RabbitMQ has not taken {} of {}; the first is event {}: {why}. Publishing the file again is safe: a repeat has no effect",
            published.failed.len(),
            number_of_events(total as u64),
            index + 1
        );
        return Err(Failure::words(exit, words));
    }
    answer_line!("published {}", number_of_events(published.confirmed as u64));
    Ok(Exit::Ok)
}

/// Says why RabbitMQ has not taken an event, and what to do.
fn not_taken(outcome: &Outcome) -> (Exit, String) {
    match outcome {
        Outcome::ChannelClosed { code: 404, .. } => {
            (Exit::Refused, format!("there is no exchange '{EXCHANGE}'; `wsb-broker topology --apply` declares it"))
        }
        Outcome::Returned { text, .. } => {
            (Exit::Refused, format!("no queue is bound for its routing key ({text}); `wsb-broker topology --apply` declares and binds all"))
        }
        Outcome::AccessRefused { text } => {
            (Exit::Refused, format!("the user may not write to '{EXCHANGE}' ({text}); `rabbitmqctl set_permissions` gives that"))
        }
        Outcome::TooLarge { text } => (Exit::Refused, format!("it is too large ({text}); `max_message_size` of RabbitMQ sets the limit")),
        Outcome::Unsendable { field } => (Exit::Refused, format!("its {field} is too long for AMQP")),
        Outcome::ChannelClosed { text, .. } => (Exit::Refused, format!("RabbitMQ has closed the channel ({text})")),
        Outcome::Nacked => (Exit::Unreachable, "a queue refused it, or has no leader".to_owned()),
        Outcome::TimedOut => (Exit::Unreachable, "RabbitMQ did not answer in time".to_owned()),
        Outcome::Blocked => (Exit::Unreachable, "RabbitMQ has blocked publishers: a memory or disk alarm".to_owned()),
        Outcome::ConnectionLost | Outcome::TooLate | Outcome::Confirmed => (Exit::Unreachable, "the connection was lost".to_owned()),
    }
}

fn key_of(event: &crate::core::event::Event, rules: &Rules) -> String {
    // The type exists: the event was read by the same rules.
    rules.message_type(&event.entity).map(|kind| wire::routing_key(kind, event.change)).unwrap_or_default()
}

/// Reads a file, or standard input for `-`.
pub fn read_file(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    let file = file.display();
    let bytes = read.map_err(|error| Failure::words(Exit::Usage, format!("cannot read {file}: {error}")))?;
    String::from_utf8(bytes).map_err(|error| {
        let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = valid.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        Failure::words(Exit::No, format!("{file}:{line}: byte {byte} of the line is not UTF-8; nothing of the file has been read"))
    })
}

/// Returns the lines that are not blank, with their numbers from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())).filter(|(_, line)| !line.is_empty())
}
