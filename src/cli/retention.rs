//! `wsb-broker retention`

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, DueFormat, Format, RetentionArguments, RetentionCommand};
use super::exit::{Exit, Failure};
use super::open::{Opened, open};
use super::run::load_rules;
use super::terminal::{cell, table};
use crate::app::now;
use crate::core::notices::Notices;
use crate::core::records::{Archive, Records};
use crate::core::time::Day;
use crate::ops::{self, Calendar};
use crate::store::Create;

pub fn retention(common: &Common, arguments: &RetentionArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        RetentionCommand::Due { as_of, format } => due(common, as_of.as_deref(), *format),
        RetentionCommand::Notices { format } => notices(common, *format),
        RetentionCommand::CloseNotices { recipient, until, why, dry_run, format } => {
            close_notices(common, &json!({ "recipient": recipient, "until": until, "why": why, "dry_run": dry_run }), *format)
        }
        RetentionCommand::Unexpected { limit, format } => unexpected(common, *limit as usize, *format),
    }
}

/// Lists whose notices lie unfetched.
fn notices(common: &Common, format: Format) -> Result<Exit, Failure> {
    let answer = match open(common, Create::Never)? {
        Opened::Here(mut store) => {
            let mut notices = Notices::default();
            for (recipient, day, lying) in store.notices().map_err(|error| Failure::new(Exit::Refused, error))? {
                notices.recover(recipient, day, lying);
            }
            ops::unfetched_json(&notices.unfetched(Day::in_copenhagen(now())))
        }
        Opened::There(admin) => admin.get("/retention/notices")?,
    };
    match format {
        Format::Json => answer_line!("{}", answer["items"]),
        Format::Table => {
            let mut rows = vec![["recipient", "since", "notices", "of former days", "reminded after days"].map(str::to_owned).to_vec()];
            rows.extend(answer["items"].as_array().into_iter().flatten().map(|item| {
                ["recipient", "since", "notices", "of_former_days", "reminded_after_days"].map(|name| cell(&item[name])).to_vec()
            }));
            answer!("{}", table(&rows));
        }
    }
    Ok(Exit::Ok)
}

/// Has the running broker take notices as dealt with.
fn close_notices(common: &Common, order: &Value, format: Format) -> Result<Exit, Failure> {
    let answer = Admin::new(common)?.post("/retention/notices/close", "application/json", order.to_string().as_bytes())?;
    if format == Format::Json {
        answer_line!("{answer}");
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["day", "notices"].map(str::to_owned).to_vec()];
    rows.extend(answer["days"].as_array().into_iter().flatten().map(|of| ["day", "notices"].map(|name| cell(&of[name])).to_vec()));
    answer!("{}", table(&rows));
    answer_line!("{}: {} notices {}", cell(&answer["recipient"]), cell(&answer["notices"]), cell(&answer["state"]));
    if order["dry_run"] == true {
        answer_line!("nothing was changed (--dry-run)");
    }
    Ok(Exit::Ok)
}

/// Lists deletions that the rules did not expect, the newest first.
fn unexpected(common: &Common, limit: usize, format: Format) -> Result<Exit, Failure> {
    let mut found = Vec::new();
    match open(common, Create::Never)? {
        Opened::Here(mut store) => {
            let page = store.unexpected_page(None, limit).map_err(|error| Failure::new(Exit::Refused, error))?;
            found.extend(page.iter().map(ops::unexpected_json));
        }
        Opened::There(admin) => {
            let mut cursor = String::new();
            while found.len() < limit {
                let most = (limit - found.len()).min(ops::PAGE);
                let mut answer = admin.get(&format!("/retention/unexpected?limit={most}&cursor={cursor}"))?;
                if let Value::Array(items) = answer["items"].take() {
                    found.extend(items);
                }
                let Some(next) = answer["next_cursor"].as_str() else { break };
                next.clone_into(&mut cursor);
            }
        }
    }
    match format {
        Format::Json => answer_line!("{}", Value::Array(found)),
        Format::Table => {
            let names = ["at", "why", "area", "entity", "external_id", "due", "event_id"];
            let mut rows = vec![names.iter().map(|name| name.replace('_', " ")).collect::<Vec<_>>()];
            rows.extend(found.iter().map(|item| names.map(|name| cell(&item[name])).to_vec()));
            answer!("{}", table(&rows));
        }
    }
    Ok(Exit::Ok)
}

fn due(common: &Common, as_of: Option<&str>, format: DueFormat) -> Result<Exit, Failure> {
    let as_of = match as_of {
        None => Day::in_copenhagen(now()),
        Some(text) => Day::parse(text).map_err(|malformed| Failure::words(Exit::Usage, format!("--as-of: {malformed}")))?,
    };
    let mut found = match open(common, Create::Never)? {
        Opened::Here(mut store) => {
            let rules = load_rules(common)?;
            let mut found = Vec::new();
            let mut after = None;
            loop {
                let page =
                    ops::due_page(&mut *store, rules.schedule(), as_of, after).map_err(|error| Failure::new(Exit::Refused, error))?;
                found.extend(page.items.iter().map(ops::due_json));
                after = page.next;
                if after.is_none() {
                    break found;
                }
            }
        }
        Opened::There(admin) => by_api(&admin, as_of)?,
    };
    let key = |item: &Value| ["due", "rule", "entity", "external_id"].map(|name| cell(&item[name]));
    found.sort_by_cached_key(key);
    match format {
        DueFormat::Json => answer_line!("{}", Value::Array(found)),
        DueFormat::Table => answer!("{}", listed(&found)),
        DueFormat::Calendar => answer!("{}", by_month(&found)),
    }
    Ok(Exit::Ok)
}

/// Asks the running broker, page by page.
fn by_api(admin: &Admin, as_of: Day) -> Result<Vec<Value>, Failure> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut answer = admin.get(&format!("/retention/due?as_of={as_of}&cursor={cursor}"))?;
        if let Value::Array(items) = answer["items"].take() {
            found.extend(items);
        }
        match answer["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => return Ok(found),
        }
    }
}

fn listed(found: &[Value]) -> String {
    let mut rows = vec![["due", "state", "rule", "entity", "external id", "blocked by"].map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|item| {
        let blockers = item["blocked_by"].as_array().map(|blockers| blockers.iter().map(cell).collect::<Vec<_>>().join(" "));
        let mut row = ["due", "state", "rule", "entity", "external_id"].map(|name| cell(&item[name])).to_vec();
        row.push(blockers.unwrap_or_default());
        row
    }));
    table(&rows)
}

fn by_month(found: &[Value]) -> String {
    let mut calendar = Calendar::default();
    for item in found {
        calendar.add(&cell(&item["due"]), &cell(&item["rule"]), &cell(&item["state"]));
    }
    let mut rows = vec![["month", "area", "due", "blocked", "ordered"].map(str::to_owned).to_vec()];
    rows.extend(
        calendar.0.into_iter().map(|((month, rule), counts)| {
            vec![month, rule, counts.due.to_string(), counts.blocked.to_string(), counts.ordered.to_string()]
        }),
    );
    table(&rows)
}
