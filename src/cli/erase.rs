//! `wsb-broker erase`. The number comes by standard input: arguments are seen by
//! everybody on the machine.

use std::io::{IsTerminal, Read};
use std::sync::Arc;

use serde_json::{Value, json};

use super::args::{Common, EraseArguments, Format};
use super::audit::local_deed;
use super::exit::{Exit, Failure};
use super::open::{Opened, open};
use super::run::load_rules;
use super::terminal::{cell, table};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::engine::{Engine, Limits, Output};
use crate::ops::{self, EraseError};
use crate::store::{Create, Store, StoreError, two_persons};
use crate::writer::Commit;

/// The most that is read in search of a number.
const LONGEST: u64 = 256;

pub fn erase(common: &Common, arguments: &EraseArguments) -> Result<Exit, Failure> {
    if let Some(id) = arguments.confirm {
        let Opened::There(admin) = open(common, Create::Never)? else {
            return Err(Failure::words(Exit::Unreachable, "no broker runs: requests wait in the running broker only"));
        };
        let answer = admin.post(&format!("/erasures/{id}/confirm"), "application/json", b"")?;
        return Ok(show(&answer, arguments.format));
    }
    if std::io::stdin().is_terminal() {
        eprintln!("personnummer, then Enter and Ctrl-D:");
    }
    let mut text = String::new();
    std::io::stdin()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::words(Exit::Usage, format!("standard input cannot be read: {error}")))?;
    let number = ops::parse_number(&text).ok_or_else(|| Failure::words(Exit::Usage, "expected one personnummer on standard input"))?;
    let answer = match open(common, Create::Never)? {
        Opened::There(admin) => {
            let body = json!({ "personnummer": text.trim(), "dry_run": arguments.dry_run }).to_string();
            admin.post("/erasures", "application/json", body.as_bytes())?
        }
        Opened::Here(_) if !arguments.dry_run && (arguments.two_persons || two_persons::is_noted(&common.data_dir)) => {
            return Err(Failure::words(Exit::Refused, "it takes two persons: start the broker, which knows them by their tokens"));
        }
        Opened::Here(mut store) => here(common, &mut store, &number, arguments.dry_run)?,
    };
    Ok(show(&answer, arguments.format))
}

fn here(common: &Common, store: &mut Store, number: &crate::core::ids::Personnummer, dry_run: bool) -> Result<Value, Failure> {
    let mut engine = Engine::new(Arc::new(load_rules(common)?), Limits::default());
    engine.recover(store).map_err(|error| Failure::new(Exit::Refused, error))?;
    Commit::commit(store, true).map_err(|error| Failure::new(Exit::Refused, error))?;
    if dry_run {
        let erasure = ops::erasure(&engine, store, number).map_err(failure)?;
        let trace = store.reader().events_about(erasure.citizens()).map_err(|error| Failure::new(Exit::Refused, error))?;
        let mut answer = erasure.to_json(Some(trace));
        answer["state"] = json!("dry-run");
        let noted = ops::note(store, now(), local_deed(Action::CitizenErased, "order").tried(true));
        noted.and_then(|()| Commit::commit(store, true)).map_err(|error| Failure::new(Exit::Refused, error))?;
        return Ok(answer);
    }
    store.prepare_erasure().map_err(|error| Failure::new(Exit::Refused, error).in_file(store.erased_list()))?;
    let erased = ops::erase(&mut engine, store, number, now(), &mut Output::default()).map_err(failure)?;
    let noted = ops::note(store, now(), local_deed(Action::CitizenErased, "order"));
    noted.map_err(|error| Failure::new(Exit::Refused, error))?;
    for _ in 0..2 {
        Commit::commit(store, true).map_err(|error| Failure::new(Exit::Refused, error))?;
    }
    let mut answer = erased.to_json(None);
    answer["state"] = json!("erased");
    Ok(answer)
}

fn failure(error: EraseError<StoreError>) -> Failure {
    match error {
        EraseError::Unknown => Failure::new(Exit::No, error),
        EraseError::Store(error) => Failure::new(Exit::Refused, error),
    }
}

fn show(answer: &Value, format: Format) -> Exit {
    match format {
        Format::Json => println!("{answer}"),
        Format::Table => {
            let counts = answer.as_object().into_iter().flatten().filter(|(name, value)| value.is_number() && *name != "id");
            let rows: Vec<Vec<String>> = counts.map(|(name, value)| vec![name.replace('_', " "), cell(value)]).collect();
            print!("{}", table(&rows));
            match answer["state"].as_str() {
                Some("erased") => println!("erased"),
                Some("requested") => println!(
                    "nothing erased yet: it waits for a second person, who confirms it with `wsb-broker erase --confirm {}`",
                    answer["id"]
                ),
                _ => println!("nothing erased: this was a dry run"),
            }
        }
    }
    Exit::Ok
}
