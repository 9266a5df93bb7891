//! `wsb-broker quarantine`

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, Format, QuarantineArguments, QuarantineCommand};
use super::audit::local_deed;
use super::exit::{Exit, Failure};
use super::open::{Opened, engine_over, open};
use super::run::load_rules;
use super::terminal::table;
use crate::app::now;
use crate::core::audit::{Action, Deed};
use crate::core::engine::{Engine, Output};
use crate::ops::{self, QuarantineError};
use crate::store::{Create, Store};
use crate::writer::Commit;

pub fn quarantine(common: &Common, arguments: &QuarantineArguments) -> Result<Exit, Failure> {
    match &arguments.command {
        QuarantineCommand::List { format } => list(common, *format),
        QuarantineCommand::Retry { id, why, dry_run, format } => {
            retry(common, id, &Retry { why: why.as_deref().map(reason).transpose()?, dry_run: *dry_run }, *format)
        }
        QuarantineCommand::Discard { id, why, dry_run, format } => {
            discard(common, *id, reason(why)?, *dry_run)?;
            let state = if *dry_run { "would be discarded" } else { "discarded" };
            match format {
                Format::Json => answer_line!("{}", json!({ "id": id, "state": state })),
                Format::Table => answer_line!("{id}: {state}{}", if *dry_run { " (--dry-run)" } else { "" }),
            }
            Ok(Exit::Ok)
        }
    }
}

fn store_failure(error: impl std::error::Error + Send + Sync + 'static) -> Failure {
    Failure::new(Exit::Refused, error)
}

/// Returns every message in quarantine, as the API describes it.
fn all(opened: &mut Opened) -> Result<Vec<Value>, Failure> {
    let mut items = Vec::new();
    match opened {
        Opened::Here(store) => {
            let mut after = 0;
            loop {
                let page = ops::page(&mut **store, after, ops::PAGE).map_err(store_failure)?;
                let Some(last) = page.last() else { return Ok(items) };
                after = last.id;
                items.extend(page.iter().map(ops::quarantined_json));
            }
        }
        Opened::There(admin) => {
            let mut cursor = String::new();
            loop {
                let page = admin.get(&format!("/quarantine?limit={}&cursor={cursor}", ops::PAGE))?;
                items.extend(page["items"].as_array().into_iter().flatten().cloned());
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = next.to_owned(),
                    None => return Ok(items),
                }
            }
        }
    }
}

fn list(common: &Common, format: Format) -> Result<Exit, Failure> {
    let items = all(&mut open(common, Create::Never)?)?;
    match format {
        Format::Json => answer_line!("{}", json!(items)),
        Format::Table if items.is_empty() => answer_line!("quarantine is empty"),
        Format::Table => {
            let mut rows = vec![["id", "since", "bytes", "reason"].map(str::to_owned).to_vec()];
            for item in &items {
                let text = |name: &str| item[name].as_str().map_or_else(|| item[name].to_string(), str::to_owned);
                // To the second: the rest is noise to a reader, and JSON has it.
                let since = text("at").get(..19).map_or_else(|| text("at"), |second| format!("{second}Z"));
                rows.push(vec![text("id"), since, text("bytes"), text("reason")]);
            }
            answer!("{}", table(&rows));
        }
    }
    Ok(Exit::Ok)
}

/// How a message is to be taken in again.
struct Retry<'a> {
    why: Option<&'a str>,
    dry_run: bool,
}

fn retry(common: &Common, id: &str, how: &Retry<'_>, format: Format) -> Result<Exit, Failure> {
    let rules = load_rules(common)?;
    let mut opened = open(common, Create::Never)?;
    let ids: Vec<u64> = if id == "all" {
        all(&mut opened)?.iter().filter_map(|item| item["id"].as_u64()).collect()
    } else {
        vec![id.parse().map_err(|_| Failure::words(Exit::Usage, "expected the number of a message, or all"))?]
    };
    let mut retrier = match opened {
        Opened::Here(mut store) => Retrier::Here(Box::new(engine_over(&mut store, rules)?), store),
        Opened::There(admin) => Retrier::There(admin),
    };
    let mut items = Vec::new();
    let mut exit = Exit::Ok;
    for id in ids {
        let (state, why) = match retry_one(&mut retrier, id, how) {
            Ok(()) if how.dry_run => ("would be taken in", None),
            Ok(()) => ("taken in", None),
            Err(failure) if failure.exit() == Exit::No => {
                exit = Exit::No;
                ("refused", Some(failure.to_string()))
            }
            Err(failure) => return Err(failure),
        };
        match format {
            Format::Json => items.push(json!({ "id": id, "state": state, "why": why })),
            // As each is done: there may be many, and one may end it all.
            Format::Table => answer_line!("{id}: {}", why.as_deref().unwrap_or(state)),
        }
    }
    match format {
        Format::Json => answer_line!("{}", Value::Array(items)),
        Format::Table if how.dry_run => answer_line!("nothing was changed (--dry-run)"),
        Format::Table => {}
    }
    Ok(exit)
}

/// By whom a message is taken in again.
enum Retrier {
    /// By this command.
    Here(Box<Engine>, Box<Store>),
    /// By the broker that runs.
    There(Admin),
}

fn retry_one(retrier: &mut Retrier, id: u64, how: &Retry<'_>) -> Result<(), Failure> {
    match retrier {
        Retrier::Here(engine, store) => {
            let why = how.why.map(Into::into);
            let deed = Deed { why, ..local_deed(Action::QuarantineRetried, &id.to_string()) }.tried(how.dry_run);
            let retried = match how.dry_run {
                true => ops::would_retry(engine, &mut **store, id, now()),
                false => ops::retry(engine, &mut **store, id, &deed.who, now(), &mut Output::default()),
            };
            if retried.is_ok() {
                ops::note(&mut **store, now(), deed).map_err(store_failure)?;
            }
            Commit::commit(&mut **store, true).map_err(store_failure)?;
            retried.map(drop).map_err(quarantine_failure)
        }
        Retrier::There(admin) => {
            let body = json!({ "why": how.why, "dry_run": how.dry_run }).to_string();
            admin.post(&format!("/quarantine/{id}/retry"), "application/json", body.as_bytes()).map(drop)
        }
    }
}

/// Checks the words of `--why`.
fn reason(why: &str) -> Result<&str, Failure> {
    ops::reason(why).map_err(|refused| Failure::words(Exit::Usage, format!("--why: {refused}")))
}

fn discard(common: &Common, id: u64, why: &str, dry_run: bool) -> Result<(), Failure> {
    match open(common, Create::Never)? {
        Opened::Here(mut store) => {
            let deed = local_deed(Action::QuarantineDiscarded, &id.to_string()).because(why).tried(dry_run);
            let discarded = match dry_run {
                true => ops::would_discard(&mut *store, id),
                false => ops::discard(&mut *store, id, &deed.who, now()),
            };
            if discarded.is_ok() {
                ops::note(&mut *store, now(), deed).map_err(store_failure)?;
            }
            Commit::commit(&mut *store, true).map_err(store_failure)?;
            discarded.map_err(quarantine_failure)?;
        }
        Opened::There(admin) => {
            let body = json!({ "why": why, "dry_run": dry_run }).to_string();
            admin.post(&format!("/quarantine/{id}/discard"), "application/json", body.as_bytes())?;
        }
    }
    Ok(())
}

fn quarantine_failure(error: QuarantineError<<Store as crate::core::records::Records>::Error>) -> Failure {
    match error {
        QuarantineError::Unknown(_) | QuarantineError::StillNotAnEvent(_) => Failure::new(Exit::No, error),
        QuarantineError::Store(error) => store_failure(error),
    }
}
