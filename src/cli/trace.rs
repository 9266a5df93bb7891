//! `wsb-broker trace`: everything that happened with an event or a delivery, as
//! lines of time for people.

use serde_json::Value;

use super::admin::Admin;
use super::args::{Common, Format, TraceArguments};
use super::deliveries::escaped;
use super::exit::{Exit, Failure};
use super::terminal::{cell, table};

pub fn trace(common: &Common, arguments: &TraceArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    let traced = match admin.get(&format!("/events/{}/trace", escaped(&arguments.event))) {
        // Perhaps the id of a delivery: then of its event, with that delivery marked.
        Err(failure) if failure.exit() == Exit::No => of_delivery(&admin, &arguments.event).unwrap_or(Err(failure))?,
        answered => answered?,
    };
    match arguments.format {
        Format::Json => answer_line!("{traced}"),
        Format::Table => answer!("{}", for_people(&traced)),
    }
    Ok(Exit::Ok)
}

/// Traces the event of a delivery; `None` if no delivery has that id.
fn of_delivery(admin: &Admin, id: &str) -> Option<Result<Value, Failure>> {
    let delivery = admin.get(&format!("/deliveries/{}", escaped(id))).ok()?;
    let traced = admin.get(&format!("/events/{}/trace", escaped(delivery["event_id"].as_str()?)));
    Some(traced.map(|traced| marked(traced, &delivery["id"])))
}

/// Keeps the event of a delivery, whole, and says which one was asked for.
fn marked(mut traced: Value, id: &Value) -> Value {
    if let Some(events) = traced["events"].as_array_mut() {
        events.retain(|event| list(&event["deliveries"]).iter().any(|one| one["id"] == *id));
    }
    traced["delivery_id"] = id.clone();
    traced
}

fn for_people(traced: &Value) -> String {
    let mut text: String = list(&traced["lying_in_quarantine"]).iter().map(|lying| lies(&traced["event_id"], lying)).collect();
    for event in list(&traced["events"]) {
        let change = match event["change_type"].as_u64() {
            Some(1) => ", created",
            Some(2) => ", updated",
            Some(3) => ", deleted or recalled",
            _ => "",
        };
        text.push_str(&format!(
            "{} {}{change}\n  from {}, about record {}\n\n",
            cell(&event["entity"]),
            cell(&event["event_id"]),
            cell(&event["source"]),
            cell(&event["external_id"])
        ));
        text.push_str(&stays(event));
        text.push_str(&timeline(event));
        text.push_str(&left_out(event));
        text.push_str(&ends(event, &traced["delivery_id"]));
    }
    text
}

/// A message that lies in quarantine, and what is to be done about it.
fn lies(event_id: &Value, lying: &Value) -> String {
    let id = cell(&lying["id"]);
    format!(
        "{} lies in quarantine as {id}: refused at {} for {}\n  \
        once the reason is gone: wsb-broker quarantine retry {id}\n  \
        to give it up: wsb-broker quarantine discard {id} --why \"…\"\n\n",
        cell(event_id),
        cell(&lying["since"]),
        cell(&lying["reason"])
    )
}

/// What happened before an event could be one.
fn stays(event: &Value) -> String {
    let line = |stay: &Value| {
        let who = stay["who"].as_str().unwrap_or("an operator");
        let end = match stay["end"].as_str().unwrap_or_default() {
            "retried" => format!("taken in again by {who} (quarantine retry)"),
            "repeat" => format!("then retried by {who}: it had been taken in otherwise, by an import or by coming again"),
            "discarded" => format!("then discarded by {who}: it had been taken in otherwise, by an import or by coming again"),
            other => other.to_owned(),
        };
        let text = |name: &str| cell(&stay[name]);
        format!(
            "  refused at {} for {}\n    lay in quarantine as {} until {}, {end}\n",
            text("since"),
            text("reason"),
            text("id"),
            text("until")
        )
    };
    let lines: String = list(&event["lay_in_quarantine"]).iter().map(line).collect();
    if lines.is_empty() { lines } else { lines + "\n" }
}

/// Everything that happened, to whomever, in order.
fn timeline(event: &Value) -> String {
    let row = |at: &Value, who: &str, what: String| vec![cell(at), who.to_owned(), what];
    let mut rows = vec![row(&event["registered_at"], "", "registered".to_owned()), row(&event["taken_in_at"], "", "taken in".to_owned())];
    for delivery in list(&event["deliveries"]) {
        let who = cell(&delivery["recipient"]);
        rows.extend(list(&delivery["timeline"]).iter().map(|entry| row(&entry["at"], &who, words(entry))));
    }
    // Texts of moments order as the moments do, but for their fractions.
    let (told, mut happened) = (rows.drain(..2).collect::<Vec<_>>(), rows);
    happened.sort_by(|one, other| trimmed(&one[0]).cmp(trimmed(&other[0])));
    table(&[told, happened].concat()).lines().map(|line| format!("  {line}\n")).collect()
}

fn trimmed(at: &str) -> &str {
    at.trim_end_matches('Z')
}

/// Of what was withdrawn without an attempt that is known.
pub const MAY_HAVE_BEEN_SENT: &str =
    "may have been sent all the same, before the broker was stopped without notice: should the record be deleted, the recipient is told";

fn words(entry: &Value) -> String {
    let text = |name: &str| cell(&entry[name]);
    match entry["what"].as_str().unwrap_or_default() {
        "decided" => format!("chosen, {}", by(&entry["because"])),
        "decided-anew" => format!("still entitled, now {}", by(&entry["because"])),
        "took-over" => match entry["from"].as_str() {
            Some(from) => format!("took over from {from}, {}", by(&entry["because"])),
            None => format!("took over from another, {}", by(&entry["because"])),
        },
        "not-entitled" => format!("not entitled any more ({}), {}", text("reason"), by(entry)),
        "record-deleted" => format!("the record is gone, says event {} taken in {}", text("event_id"), text("deleted_at")),
        "may-have-been-sent" => MAY_HAVE_BEEN_SENT.to_owned(),
        "came-back" => format!("came back ({})", text("reason")),
        "replayed" => format!("sent again {}", ordered(entry)),
        "replayed-in-vain" => format!("to be sent again {}, and not sent ({})", ordered(entry), text("reason")),
        "acted" => match entry["who"].as_str() {
            Some(who) => format!("{} by {who}", text("action")),
            None => format!("{} by an operator", text("action")),
        },
        "attempt" if entry["outcome"] == "confirmed" => "attempt confirmed".to_owned(),
        "attempt" => match entry["code"].as_u64() {
            None | Some(0) => format!("attempt failed: {}", text("outcome")),
            Some(code) => format!("attempt failed: {} ({code})", text("outcome")),
        },
        "earlier-attempts" => format!("{} failed attempts before the next", text("count")),
        "dead" => format!("given up ({})", text("reason")),
        "delivered" => "delivered".to_owned(),
        "withdrawn" => format!("withdrawn ({})", text("reason")),
        other => other.to_owned(),
    }
}

/// By which replay, and whose; of older ones it is not known.
fn ordered(entry: &Value) -> String {
    match (entry["replay"].as_str(), entry["who"].as_str()) {
        (Some(replay), Some(who)) => format!("by replay {replay} of {who}"),
        (Some(replay), None) => format!("by replay {replay}"),
        (None, _) => "at an operator's request".to_owned(),
    }
}

/// What a delivery waits for just now.
pub(super) fn waits(wait: &Value) -> String {
    let text = |name: &str| cell(&wait[name]);
    let why = wait["why"].as_str().map(|why| format!(": {why}")).unwrap_or_default();
    let until = |ends: &str| wait["until"].as_str().map_or(ends.to_owned(), |until| format!("until {until}"));
    match wait["what"].as_str().unwrap_or_default() {
        "outcome" => "for the outcome of an attempt".to_owned(),
        "connection" => "for the connection to RabbitMQ".to_owned(),
        "pause" => format!("because its queue is paused by an operator since {}, {}{why}", text("since"), until("until resumed")),
        "maintenance-window" => format!("for the end of a maintenance window, {}", until("")),
        "probe" => format!("because its queue is paused since {} ({}), probed next at {}", text("since"), text("reason"), text("until")),
        "release" => format!("because its lane is parked since {}{why}", text("since")),
        "behind" => format!("behind event {} in its lane, delivery {}", text("event_id"), text("id")),
        "others" => "for others to the same recipient, which come first".to_owned(),
        "retry" => format!("for its next attempt at {}", text("until")),
        other => format!("for {other}"),
    }
}

/// The rule, and the registration that decided.
fn by(because: &Value) -> String {
    let also = list(&because["also"]).iter().map(|rule| format!(" and {}", cell(rule)));
    let rule = cell(&because["audience"]) + &also.collect::<String>();
    match because["registration"]["external_id"].as_str() {
        Some(record) => format!("rule {rule}, by record {record} registered {}", cell(&because["registration"]["registered_at"])),
        None => format!("rule {rule}"),
    }
}

fn left_out(event: &Value) -> String {
    let mut text = String::new();
    for left_out in list(&event["left_out"]) {
        let who = left_out["recipient"].as_str().unwrap_or("nobody known");
        text.push_str(&format!("  {who}: not chosen ({}), {}\n", cell(&left_out["reason"]), by(left_out)));
    }
    if text.is_empty() { text } else { format!("\n{text}") }
}

fn ends(event: &Value, asked: &Value) -> String {
    let deliveries = list(&event["deliveries"]);
    if deliveries.is_empty() {
        return "\n  nobody was told\n".to_owned();
    }
    let lines = deliveries.iter().map(|delivery| {
        let reason = delivery["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
        let next = delivery["next_at"].as_str().map(|at| format!(", next attempt {at}")).unwrap_or_default();
        let count = delivery["attempts"].as_u64().unwrap_or(0);
        let attempts = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
        let waits: String = list(&delivery["waits_for"]).iter().map(|wait| format!("    waits {}\n", waits(wait))).collect();
        let mark = if delivery["id"] == *asked { "  <- the one asked for" } else { "" };
        format!(
            "  {}: {}{reason} after {attempts}{next}\n    delivery {}{mark}\n{waits}",
            cell(&delivery["recipient"]),
            cell(&delivery["state"]),
            cell(&delivery["id"])
        )
    });
    format!("\n{}", lines.collect::<String>())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What operators are shown: a difference here is a change for them.
    #[test]
    fn a_transfer_as_people_read_it() {
        let because = |record: &str| json!({ "audience": "akasse-own-members", "also": ["akasse-of-record"], "day": "2026-03-16", "registration": { "external_id": record, "registered_at": "2026-03-01T08:00:00Z" } });
        let traced = json!({ "event_id": "e", "events": [{
            "event_id": "e", "source": "urn:dk:star:dfdg:test", "entity": "Indkaldelse", "change_type": 1, "external_id": "x",
            "registered_at": "2026-03-16T08:00:00Z", "taken_in_at": "2026-03-16T08:00:01Z",
            "left_out": [{ "audience": "akasse-own-members", "recipient": "akasse:083", "reason": "not_member", "registration": null }],
            "deliveries": [
                { "id": "1", "recipient": "akasse:067", "state": "withdrawn", "reason": "membership-ended", "attempts": 1, "next_at": null, "timeline": [
                    { "at": "2026-03-16T08:00:01Z", "what": "decided", "because": because("m1") },
                    { "at": "2026-03-16T08:00:02Z", "what": "attempt", "outcome": "returned", "code": 312 },
                    { "at": "2026-03-16T08:00:02Z", "what": "replayed", "replay": "7", "who": "anna" },
                    { "at": "2026-03-16T08:00:03Z", "what": "not-entitled", "audience": "akasse-own-members", "reason": "not_member", "registration": { "external_id": "m1", "registered_at": "2026-03-16T08:00:03Z" } },
                    { "at": "2026-03-16T08:00:03Z", "what": "withdrawn", "reason": "membership-ended" },
                ] },
                { "id": "2", "recipient": "akasse:053", "state": "retrying", "reason": "nacked", "attempts": 3, "next_at": "2026-03-16T08:01:00Z", "waits_for": [
                    { "what": "probe", "since": "2026-03-16T08:00:30Z", "until": "2026-03-16T08:00:58Z", "reason": "nacked" },
                    { "what": "behind", "id": "3", "event_id": "d" },
                ], "timeline": [
                    { "at": "2026-03-16T08:00:03Z", "what": "took-over", "from": "akasse:067", "because": because("m2") },
                ] },
            ],
        }] });
        let expected = "\
Indkaldelse e, created
  from urn:dk:star:dfdg:test, about record x

  2026-03-16T08:00:00Z              registered
  2026-03-16T08:00:01Z              taken in
  2026-03-16T08:00:01Z  akasse:067  chosen, rule akasse-own-members and akasse-of-record, by record m1 registered 2026-03-01T08:00:00Z
  2026-03-16T08:00:02Z  akasse:067  attempt failed: returned (312)
  2026-03-16T08:00:02Z  akasse:067  sent again by replay 7 of anna
  2026-03-16T08:00:03Z  akasse:067  not entitled any more (not_member), rule akasse-own-members, by record m1 registered 2026-03-16T08:00:03Z
  2026-03-16T08:00:03Z  akasse:067  withdrawn (membership-ended)
  2026-03-16T08:00:03Z  akasse:053  took over from akasse:067, rule akasse-own-members and akasse-of-record, by record m2 registered 2026-03-01T08:00:00Z

  akasse:083: not chosen (not_member), rule akasse-own-members

  akasse:067: withdrawn (membership-ended) after 1 attempt
    delivery 1
  akasse:053: retrying (nacked) after 3 attempts, next attempt 2026-03-16T08:01:00Z
    delivery 2
    waits because its queue is paused since 2026-03-16T08:00:30Z (nacked), probed next at 2026-03-16T08:00:58Z
    waits behind event d in its lane, delivery 3
";
        assert_eq!(for_people(&traced), expected);
        // Asked for by the id of a delivery it says the same, and which one that is.
        let of_one = for_people(&marked(traced, &json!("2")));
        assert_eq!(of_one, expected.replace("    delivery 2\n", "    delivery 2  <- the one asked for\n"));
    }

    #[test]
    fn what_was_refused_at_first_begins_with_that() {
        let refused = "missing-field: data.Personnummer: required";
        let lay = json!({ "id": 7, "since": "2026-03-16T08:00:01Z", "reason": refused, "until": "2026-03-17T09:00:00Z", "end": "retried", "who": "anna" });
        let lies = json!({ "id": 9, "since": "2026-03-18T08:00:00Z", "reason": refused });
        let traced = json!({ "event_id": "e", "lying_in_quarantine": [lies], "events": [{
            "event_id": "e", "source": "urn:dk:star:dfdg:test", "entity": "Indkaldelse", "change_type": 1, "external_id": "x",
            "registered_at": "2026-03-16T08:00:00Z", "taken_in_at": "2026-03-17T09:00:00Z", "lay_in_quarantine": [lay],
            "left_out": [], "deliveries": [],
        }] });
        let expected = "\
e lies in quarantine as 9: refused at 2026-03-18T08:00:00Z for missing-field: data.Personnummer: required
  once the reason is gone: wsb-broker quarantine retry 9
  to give it up: wsb-broker quarantine discard 9 --why \"…\"

Indkaldelse e, created
  from urn:dk:star:dfdg:test, about record x

  refused at 2026-03-16T08:00:01Z for missing-field: data.Personnummer: required
    lay in quarantine as 7 until 2026-03-17T09:00:00Z, taken in again by anna (quarantine retry)

  2026-03-16T08:00:00Z    registered
  2026-03-17T09:00:00Z    taken in

  nobody was told
";
        assert_eq!(for_people(&traced), expected);
    }
}
