//! `wsb-broker audit`, and who acts when a command opens the store itself.

use std::io::Write;

use serde_json::Value;

use super::args::{AuditArguments, AuditCommand, Common, Format};
use super::exit::{Exit, Failure};
use super::open::{Opened, open};
use super::terminal::{cell, table};
use crate::core::audit::{Action, Deed, Order, Soundness};
use crate::core::time::Moment;
use crate::ops::{self, AuditFilter};
use crate::store::{Create, Store, StoreError};

pub fn audit(common: &Common, arguments: &AuditArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        AuditCommand::Export { since, until, format } => export(common, since.as_deref(), until.as_deref(), *format),
        AuditCommand::Verify => verify(common),
    }
}

/// Returns what whoever runs this command does. Nobody has shown a token: whoever
/// may open the store may do anything to it. The name is what the system says.
pub fn local_deed(action: Action, about: &str) -> Deed {
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_else(|_| "unknown".to_owned());
    Deed::new(&format!("local:{user}"), "local", action, about)
}

fn export(common: &Common, since: Option<&str>, until: Option<&str>, format: Format) -> Result<Exit, Failure> {
    let moment = |name: &str, text: Option<&str>| match text {
        None => Ok(None),
        Some(text) => Moment::parse(text).map(Some).map_err(|malformed| Failure::words(Exit::Usage, format!("{name}: {malformed}"))),
    };
    let filter = AuditFilter { since: moment("--since", since)?, until: moment("--until", until)? };
    let mut opened = open(common, Create::Never)?;
    let mut rows = vec![["at", "who", "role", "action", "dry run", "about", "why"].map(str::to_owned).to_vec()];
    let mut cursor = String::new();
    let mut out = std::io::stdout().lock();
    loop {
        let page = page(&mut opened, filter, &cursor)?;
        for item in page["items"].as_array().into_iter().flatten() {
            match format {
                // A reader that has gone away has had enough.
                Format::Json if writeln!(out, "{item}").is_err() => return Ok(Exit::Ok),
                Format::Json => {}
                Format::Table => {
                    let dry = if item["dry_run"] == Value::Bool(true) { "yes" } else { "" };
                    let text = |name: &str| cell(&item[name]);
                    rows.push(vec![text("at"), text("who"), text("role"), text("action"), dry.to_owned(), text("about"), text("why")]);
                }
            }
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    if let Format::Table = format {
        let _ = write!(out, "{}", table(&rows));
    }
    Ok(Exit::Ok)
}

fn page(opened: &mut Opened, filter: AuditFilter, cursor: &str) -> Result<Value, Failure> {
    match opened {
        Opened::Here(store) => ops::audit_page(&mut **store, filter, Order::OldestFirst, cursor.parse().ok(), ops::PAGE).map_err(failed),
        Opened::There(admin) => {
            let bound = |name: &str, moment: Option<Moment>| moment.map(|moment| format!("&{name}={moment}")).unwrap_or_default();
            admin.get(&format!(
                "/audit?limit={}&cursor={cursor}{}{}",
                ops::PAGE,
                bound("since", filter.since),
                bound("until", filter.until)
            ))
        }
    }
}

fn verify(common: &Common) -> Result<Exit, Failure> {
    let (sound, entries, broken_at) = match open(common, Create::Never)? {
        Opened::Here(mut store) => match ops::verify_audit::<Store>(&mut store).map_err(failed)? {
            Soundness::Sound { entries } => (true, entries, 0),
            Soundness::Broken { at } => (false, 0, at),
        },
        Opened::There(admin) => {
            let answer = admin.get("/audit/verify")?;
            let number = |name: &str| answer[name].as_u64().unwrap_or(0);
            (answer["sound"] == Value::Bool(true), number("entries"), number("broken_at"))
        }
    };
    if sound {
        answer_line!("the audit log is as it was written: {entries} entries");
        return Ok(Exit::Ok);
    }
    answer_line!("the audit log is broken at entry {broken_at}: something was changed, left out or put in");
    Ok(Exit::No)
}

fn failed(error: StoreError) -> Failure {
    Failure::new(Exit::Refused, error)
}
