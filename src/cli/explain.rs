//! `wsb-broker explain`

use serde_json::Value;

use super::args::{Common, ExplainArguments, Format};
use super::events::read_file;
use super::exit::{Exit, Failure};
use super::open::{Opened, open};
use super::run::load_rules;
use crate::app::now;
use crate::core::time::Moment;
use crate::ops::{self, ExplainError};
use crate::store::Create;

pub fn explain(common: &Common, arguments: &ExplainArguments) -> Result<Exit, Failure> {
    let text = read_file(&arguments.event)?;
    let at = match &arguments.at {
        None => None,
        Some(text) => Some(Moment::parse(text).map_err(|malformed| Failure::words(Exit::Usage, format!("--at: {malformed}")))?),
    };
    let explained = match open(common, Create::Never)? {
        Opened::Here(mut store) => {
            let rules = load_rules(common)?;
            let explained =
                ops::explain(&mut *store, &rules, text.trim().as_bytes(), at.unwrap_or_else(now)).map_err(|error| match error {
                    ExplainError::NotAnEvent(_) => Failure::words(Exit::No, format!("{}: {error}", arguments.event.display())),
                    ExplainError::Store(error) => Failure::new(Exit::Refused, error),
                })?;
            ops::explained_json(&explained, &rules)
        }
        Opened::There(admin) => {
            let query = at.map(|at| format!("?at={at}")).unwrap_or_default();
            admin.post(&format!("/explain{query}"), "application/cloudevents+json", text.trim().as_bytes())?
        }
    };
    match arguments.format {
        Format::Json => answer_line!("{explained}"),
        Format::Table => answer!("{}", for_people(&explained)),
    }
    Ok(Exit::Ok)
}

/// Writes an explanation in sentences.
fn for_people(explained: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines = vec![format!("{}, decided as on {} in Copenhagen", text(&explained["entity"]), text(&explained["day"]))];
    if explained["told_as"].is_null() {
        lines.push("  this type is told to nobody: routing.toml does not declare it".to_owned());
    } else if explained["told_as"] != explained["entity"] {
        lines.push(format!("  told as {}", text(&explained["told_as"])));
    }
    if explained["citizen_known"] == Value::Bool(false) {
        lines.push("  nothing was known of this citizen before".to_owned());
    }
    if explained["already_taken_in"] == Value::Bool(true) {
        lines.push("  this event has been taken in before: a repeat has no effect".to_owned());
    }
    let registration = |value: &Value| match value["registration"].as_object() {
        Some(registration) => format!(
            "\n      by record {}\n      registered {}",
            registration["external_id"].as_str().unwrap_or_default(),
            registration["registered_at"].as_str().unwrap_or_default()
        ),
        None => String::new(),
    };
    let named = |value: &Value| match (value["recipient"].as_str(), value["name"].as_str()) {
        (Some(recipient), Some(name)) => format!("{recipient} ({name})"),
        (Some(recipient), None) => recipient.to_owned(),
        (None, _) => "nobody".to_owned(),
    };
    let chosen = explained["recipients"].as_array().cloned().unwrap_or_default();
    let left_out = explained["left_out"].as_array().cloned().unwrap_or_default();
    lines.push(if chosen.is_empty() { "  sent to nobody".to_owned() } else { "  sent to".to_owned() });
    for recipient in &chosen {
        let unnamed = if recipient["identified"] == Value::Bool(false) { ", without the personnummer" } else { "" };
        lines.push(format!("    {}{unnamed}\n      rule {}{}", named(recipient), text(&recipient["audience"]), registration(recipient)));
    }
    if !left_out.is_empty() {
        lines.push("  not sent to".to_owned());
    }
    for recipient in &left_out {
        let why = reason(recipient["reason"].as_str().unwrap_or_default());
        lines.push(format!(
            "    {}\n      rule {}\n      {why}{}",
            named(recipient),
            text(&recipient["audience"]),
            registration(recipient)
        ));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn reason(word: &str) -> &str {
    match word {
        "not_member" => "not_member, it had the citizen and has not on this day",
        "unknown_membership" => "unknown_membership, nothing says whom the citizen belongs to on this day",
        "contradictory_membership" => "contradictory_membership, several claims begin on the same day",
        "condition" => "condition, a condition of the rule does not hold",
        "not_subscribed" => "not_subscribed, the type is voluntary and it does not subscribe",
        "recipient_closed" => "recipient_closed, it is closed on this day",
        "deceased" => "deceased, the citizen is dead and this type ends with that",
        "record_deleted" => "record_deleted, the record has been deleted or recalled since this was registered",
        other => other,
    }
}
