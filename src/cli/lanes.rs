//! `wsb-broker recipients` and `lanes`: how queues and lanes of a running broker
//! are, and orders to leave them alone.

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, Format, LanesArguments, LanesCommand, RecipientsArguments, RecipientsCommand};
use super::deliveries::{columns, escaped};
use super::exit::{Exit, Failure};
use super::terminal::cell;

pub fn recipients(common: &Common, arguments: &RecipientsArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        RecipientsCommand::List { all, format } => list_recipients(&admin, *all, *format),
        RecipientsCommand::Pause { recipient, until, why, dry_run, format } => {
            let body = json!({ "until": until, "why": why, "dry_run": dry_run }).to_string();
            let answer = admin.post(&format!("/recipients/{}/pause", escaped(recipient)), "application/json", body.as_bytes())?;
            if *format == Format::Json {
                answer_line!("{answer}");
                return Ok(Exit::Ok);
            }
            let until = answer["paused_until"].as_str().map_or("until resumed".to_owned(), |until| format!("until {until}"));
            answer_line!("{recipient}: {} {until}, {} deliveries wait", cell(&answer["state"]), cell(&answer["waiting"]));
            told_only(*dry_run);
            Ok(Exit::Ok)
        }
        RecipientsCommand::Resume { recipient, why, dry_run, format } => {
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            let answer = admin.post(&format!("/recipients/{}/resume", escaped(recipient)), "application/json", body.as_bytes())?;
            if *format == Format::Json {
                answer_line!("{answer}");
                return Ok(Exit::Ok);
            }
            answer_line!("{recipient}: {}, {} deliveries wait", cell(&answer["state"]), cell(&answer["waiting"]));
            told_only(*dry_run);
            Ok(Exit::Ok)
        }
    }
}

fn told_only(dry_run: bool) {
    if dry_run {
        answer_line!("nothing was changed (--dry-run)");
    }
}

fn list_recipients(admin: &Admin, all: bool, format: Format) -> Result<Exit, Failure> {
    let answer = admin.get("/recipients")?;
    let items: Vec<Value> = answer["items"].as_array().cloned().unwrap_or_default();
    let quiet = |item: &Value| item["state"] == "open" && ["pending", "retrying", "dead"].iter().all(|name| item[*name] == 0);
    match format {
        Format::Json => answer_line!("{}", json!(items)),
        Format::Table => {
            let shown: Vec<Value> = items.iter().filter(|item| all || !quiet(item)).cloned().collect();
            if !shown.is_empty() {
                let names = [
                    "recipient",
                    "name",
                    "state",
                    "paused_by",
                    "why",
                    "pending",
                    "retrying",
                    "dead",
                    "oldest_pending_seconds",
                    "paused_until",
                ];
                answer!("{}", columns(&shown, &names));
            }
            if shown.len() < items.len() {
                answer_line!("{} recipients are open, with nothing waiting (--all shows them)", items.len() - shown.len());
            }
        }
    }
    Ok(Exit::Ok)
}

pub fn lanes(common: &Common, arguments: &LanesArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        LanesCommand::List { recipient, limit, format } => {
            let of = recipient.as_deref().map(|recipient| format!("&recipient={}", escaped(recipient))).unwrap_or_default();
            let answer = admin.get(&format!("/lanes?limit={limit}{of}"))?;
            let items: Vec<Value> = answer["items"].as_array().cloned().unwrap_or_default();
            match format {
                Format::Json => answer_line!("{}", json!(items)),
                Format::Table if items.is_empty() => answer_line!("no lane is stuck or parked"),
                Format::Table => answer!("{}", listed(&items)),
            }
            Ok(Exit::Ok)
        }
        LanesCommand::Park { id, why, dry_run, format } => {
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            order(&admin, (id, "park"), &body, *dry_run, *format)
        }
        LanesCommand::Release { id, why, dry_run, format } => {
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            order(&admin, (id, "release"), &body, *dry_run, *format)
        }
    }
}

/// The lanes; one in which nothing waits any more is known by what it was parked by.
fn listed(items: &[Value]) -> String {
    let names = ["head", "recipient", "domain", "state", "waiting", "reason", "attempts", "next_at", "parked_since", "parked_by", "why"];
    columns(items, &names)
}

fn order(admin: &Admin, (id, what): (&str, &str), body: &str, dry_run: bool, format: Format) -> Result<Exit, Failure> {
    let answer = admin.post(&format!("/lanes/{}/{what}", escaped(id)), "application/json", body.as_bytes())?;
    match format {
        Format::Json => answer_line!("{answer}"),
        Format::Table => {
            answer_line!("lane of {id}: {}", cell(&answer["state"]));
            told_only(dry_run);
        }
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_lane_that_is_empty_can_be_named() {
        let lane = json!({ "head": null, "recipient": "akasse:067", "domain": "plan", "state": "parked", "waiting": 0, "parked_by": "7" });
        let shown = listed(&[lane]);
        let (heading, row) = shown.split_once('\n').expect("two lines");
        let at = heading.find("parked_by").expect("a column of its own");
        assert_eq!(row.get(at..=at), Some("7"), "{shown}");
    }
}
