//! `wsb-broker deliveries`: what a running broker knows.

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, DeliveriesArguments, DeliveriesCommand, Format, Selecting};
use super::exit::{Exit, Failure};
use super::terminal::{cell, table};

pub fn deliveries(common: &Common, arguments: &DeliveriesArguments) -> Result<Exit, Failure> {
    let admin = Admin::new(common)?;
    match &arguments.command {
        DeliveriesCommand::List { selecting, limit, format } => list(&admin, selecting, *limit, *format),
        DeliveriesCommand::Show { id, format } => {
            let one = admin.get(&format!("/deliveries/{}", escaped(id)))?;
            match format {
                Format::Json => println!("{one}"),
                Format::Table => print!("{}", described(&one)),
            }
            Ok(Exit::Ok)
        }
        DeliveriesCommand::Groups { recipient, format } => {
            let query = recipient.as_deref().map(|recipient| format!("?recipient={}", escaped(recipient))).unwrap_or_default();
            let answer = admin.get(&format!("/deliveries/groups{query}"))?;
            let items = answer["items"].as_array().cloned().unwrap_or_default();
            match format {
                Format::Json => println!("{}", json!(items)),
                Format::Table if items.is_empty() => println!("nothing is dead"),
                Format::Table => {
                    let names = ["count", "recipient", "reason", "code", "entity", "attempts", "replays", "first_at", "last_at"];
                    print!("{}", columns(&items, &names));
                }
            }
            Ok(Exit::Ok)
        }
        DeliveriesCommand::Discard { id, why, dry_run } => {
            let path = format!("/deliveries/{}", escaped(id));
            if *dry_run {
                print!("{}", described(&admin.get(&path)?));
            }
            // Also when it is only tried: the broker notes it.
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            admin.post(&format!("{path}/discard"), "application/json", body.as_bytes())?;
            println!("{id}: {}", if *dry_run { "would be withdrawn (--dry-run)" } else { "withdrawn" });
            Ok(Exit::Ok)
        }
    }
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
        Format::Json => println!("{}", json!(items)),
        Format::Table => {
            print!("{}", columns(&items, &["id", "recipient", "entity", "state", "reason", "attempts", "first_at", "next_at"]));
            if more {
                println!("… there are more; ask for them with --limit");
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
    for failure in one["failures"].as_array().into_iter().flatten() {
        rows.push(vec!["failed".to_owned(), format!("{} {} {}", cell(&failure["at"]), cell(&failure["outcome"]), cell(&failure["code"]))]);
    }
    table(&rows)
}

/// Writes the named members of each item as a table.
pub fn columns(items: &[Value], names: &[&str]) -> String {
    let mut rows = vec![names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| names.iter().map(|name| cell(&item[*name])).collect()));
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
