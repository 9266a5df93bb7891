//! `wsb-broker deliveries`: what a running broker knows.

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, DeliveriesArguments, DeliveriesCommand, Format, Selecting};
use super::exit::{Exit, Failure};
use super::terminal::{cell, table};
use super::trace::MAY_HAVE_BEEN_SENT;

pub fn deliveries(common: &Common, arguments: &DeliveriesArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        DeliveriesCommand::List { selecting, limit, format } => list(&admin, selecting, *limit, *format),
        DeliveriesCommand::Show { id, format } => {
            let one = admin.get(&format!("/deliveries/{}", escaped(id)))?;
            match format {
                Format::Json => answer_line!("{one}"),
                Format::Table => answer!("{}", described(&one)),
            }
            Ok(Exit::Ok)
        }
        DeliveriesCommand::Groups { recipient, format } => {
            let query = recipient.as_deref().map(|recipient| format!("?recipient={}", escaped(recipient))).unwrap_or_default();
            let answer = admin.get(&format!("/deliveries/groups{query}"))?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            match format {
                Format::Json => answer_line!("{}", json!(items)),
                Format::Table if items.is_empty() => answer_line!("nothing is dead"),
                Format::Table => answer!("{}", grouped(&items)),
            }
            Ok(Exit::Ok)
        }
        DeliveriesCommand::Discard { id, why, dry_run, format } => {
            let path = format!("/deliveries/{}", escaped(id));
            if *dry_run && *format == Format::Table {
                answer!("{}", described(&admin.get(&path)?));
            }
            // Also when it is only tried: the broker notes it.
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            let answer = admin.post(&format!("{path}/discard"), "application/json", body.as_bytes())?;
            match format {
                Format::Json => answer_line!("{answer}"),
                Format::Table => answer_line!("{id}: {}", if *dry_run { "would be withdrawn (--dry-run)" } else { "withdrawn" }),
            }
            Ok(Exit::Ok)
        }
    }
}

/// The groups, with whose times they are, and how the first of them is replayed.
fn grouped(items: &[Value]) -> String {
    let columns = [
        ("count", "count"),
        ("recipient", "recipient"),
        ("reason", "reason"),
        ("code", "code"),
        ("entity", "entity"),
        ("attempts", "attempts"),
        ("replays", "replays"),
        ("first given up", "first_at"),
        ("latest given up", "last_at"),
    ];
    let of = |group: &Value, name: &str| cell(&group["filter"][name]);
    let first = items.first().map(|group| {
        format!(
            "the first of them again: wsb-broker replays start --recipient {} --reason {} --entity {} --dry-run\n",
            of(group, "recipient"),
            of(group, "reason"),
            of(group, "entity")
        )
    });
    headed(items, &columns) + &first.unwrap_or_default()
}

fn list(admin: &Admin, selecting: &Selecting, limit: usize, format: Format) -> Result<Exit, Failure> {
    if selecting.id.len() > 1 {
        return Err(Failure::words(Exit::Usage, "--id: a list takes one"));
    }
    let filter = selecting.query();
    let mut items: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    let mut more = false;
    while items.len() < limit {
        let page = admin.get(&format!("/deliveries?limit={}&cursor={cursor}{filter}", (limit - items.len()).min(500)))?;
        items.extend(page["items"].as_array().into_iter().flatten().cloned());
        more = page["next_cursor"].is_string();
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    match format {
        Format::Json => answer_line!("{}", json!(items)),
        Format::Table => {
            let named = |name: &'static str| (name, name);
            let columns = ["id", "recipient", "entity", "state", "reason", "attempts"].map(named);
            answer!("{}", headed(&items, &[columns.as_slice(), &[("decided_at", "first_at"), named("next_at")]].concat()));
            if more {
                answer_line!("… there are more; ask for them with --limit");
            }
        }
    }
    Ok(Exit::Ok)
}

/// One delivery, for people.
fn described(one: &Value) -> String {
    let of = |name: &str| cell(&one[name]);
    let reason = one["reason"].as_str().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let mut rows = vec![
        vec!["delivery".to_owned(), of("id")],
        vec!["state".to_owned(), format!("{}{reason}", of("state"))],
        vec!["to".to_owned(), of("recipient")],
        vec!["about".to_owned(), format!("{}, event {}", of("entity"), of("event_id"))],
        vec!["by rule".to_owned(), cell(&one["because"]["audience"])],
    ];
    let registration = &one["because"]["registration"];
    if !registration.is_null() {
        rows.push(vec![
            "by record".to_owned(),
            format!("{}, registered {}", cell(&registration["external_id"]), cell(&registration["registered_at"])),
        ]);
    }
    for (name, field) in [
        ("attempts", "attempts"),
        ("replays", "replays"),
        ("delivered before", "delivered_before"),
        ("first", "first_at"),
        ("last", "last_at"),
        ("next", "next_at"),
    ] {
        if !one[field].is_null() {
            rows.push(vec![name.to_owned(), of(field)]);
        }
    }
    let mut happened = one["timeline"].as_array().into_iter().flatten();
    if happened.any(|entry| entry["what"] == "may-have-been-sent") {
        rows.push(vec!["note".to_owned(), MAY_HAVE_BEEN_SENT.to_owned()]);
    }
    for failure in one["failures"].as_array().into_iter().flatten() {
        rows.push(vec!["failed".to_owned(), format!("{} {} {}", cell(&failure["at"]), cell(&failure["outcome"]), cell(&failure["code"]))]);
    }
    table(&rows)
}

/// Writes the named members of each item as a table.
pub fn columns(items: &[Value], names: &[&str]) -> String {
    headed(items, &names.iter().map(|name| (*name, *name)).collect::<Vec<_>>())
}

/// As [`columns`], each with the heading that it has.
fn headed(items: &[Value], columns: &[(&str, &str)]) -> String {
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| columns.iter().map(|(_, name)| cell(&item[*name])).collect()));
    table(&rows)
}

/// Escapes what goes into a path: anything but what ids are made of.
pub fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

impl Selecting {
    fn given(&self) -> [(&'static str, &Option<String>); 6] {
        [
            ("state", &self.state),
            ("recipient", &self.recipient),
            ("entity", &self.entity),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
        ]
    }

    /// Returns it as the rest of a query.
    pub fn query(&self) -> String {
        let ids = self.id.iter().map(|id| format!("&id={}", escaped(id)));
        let given = self.given().into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("&{name}={}", escaped(value))));
        ids.chain(given).collect()
    }

    /// Returns it as the filter of a replay.
    pub fn json(&self) -> Value {
        let ids = (!self.id.is_empty()).then(|| ("ids".to_owned(), json!(self.id)));
        let given = self.given().into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value.clone()?))));
        ids.into_iter().chain(given).collect::<serde_json::Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_says_whose_its_times_are_and_how_it_is_replayed() {
        let filter = json!({ "state": "dead", "recipient": "akasse:067", "reason": "expired", "entity": "Joblog" });
        let group = json!({ "count": 3, "recipient": "akasse:067", "reason": "expired", "entity": "Joblog", "first_at": "1", "last_at": "2", "filter": filter });
        let shown = grouped(&[group]);
        assert!(shown.contains("first given up") && !shown.contains("first_at"), "{shown}");
        assert!(shown.ends_with("replays start --recipient akasse:067 --reason expired --entity Joblog --dry-run\n"), "{shown}");
    }
}
