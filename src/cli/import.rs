//! `wsb-broker import`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::admin::Admin;
use super::args::{Common, Format, ImportArguments};
use super::audit::local_deed;
use super::events::{lines, read_file};
use super::exit::{Exit, Failure};
use super::open::{Opened, engine_over, find, open};
use super::run::load_rules;
use super::terminal::{Progress, cell, number_of_events};
use crate::app::now;
use crate::core::audit::Action;
use crate::core::engine::Output;
use crate::core::policy::Rules;
use crate::ops::{self, ImportError, Imported, Tried};
use crate::store::{Create, MemoryStore};
use crate::wire;
use crate::writer::Commit;

/// Takes in a batch of numbered lines.
type Take<'a> = Box<dyn FnMut(&[(usize, &str)]) -> Result<Imported, Failure> + 'a>;

pub fn import(common: &Common, arguments: &ImportArguments) -> Result<Exit, Failure> {
    let rules = load_rules(common)?;
    let text = read_file(&arguments.file)?;
    let all: Vec<(usize, &str)> = lines(&text).collect();
    if arguments.dry_run {
        return try_import(common, arguments, &rules, &all);
    }
    let mut progress = Progress::new("importing", all.len() as u64);
    let mut total = Imported::default();
    let mut take: Take<'_> = match open(common, Create::IfMissing)? {
        Opened::Here(mut store) => {
            let mut engine = engine_over(&mut store, rules)?;
            let file = arguments.file.display().to_string();
            Box::new(move |batch| {
                let result = match ops::import(&mut engine, &mut *store, batch.iter().copied(), now(), &mut Output::default()) {
                    Ok(imported) => Ok(imported),
                    Err(ImportError::Line { line, reason }) => Err(Failure::words(Exit::No, format!("{file}:{line}: {reason}"))),
                    // Half a batch is not kept.
                    Err(ImportError::Store(error)) => return Err(Failure::new(Exit::Refused, error)),
                };
                let first = batch.first().map_or(1, |(number, _)| *number);
                let deed = local_deed(Action::Imported, &format!("{} lines from line {first}", batch.len()));
                ops::note(&mut *store, now(), deed).map_err(|error| Failure::new(Exit::Refused, error))?;
                // The lines before a bad one are taken in all the same.
                Commit::commit(&mut *store, true).map_err(|error| Failure::new(Exit::Refused, error))?;
                result
            })
        }
        Opened::There(admin) => Box::new(move |batch| {
            let first = batch.first().map_or(1, |(number, _)| *number);
            let answer = admin
                .post(&format!("/import?first={first}"), "application/x-ndjson", as_they_stand(batch).as_bytes())
                .map_err(|failure| failure.in_file(&arguments.file))?;
            let number = |name: &str| answer[name].as_u64().unwrap_or(0);
            Ok(Imported { taken_in: number("taken_in"), repeats: number("repeats") })
        }),
    };
    let mut done = 0;
    for batch in all.chunks(ops::IMPORT_BATCH) {
        let imported = take(batch).inspect_err(|_| {
            say_line!("what comes before stays imported; mend this, and import the file again: what was taken in is recognized");
        })?;
        total.taken_in += imported.taken_in;
        total.repeats += imported.repeats;
        done += batch.len() as u64;
        progress.at(done);
    }
    progress.end();
    match arguments.format {
        Format::Json => answer_line!("{}", json!({ "taken_in": total.taken_in, "repeats": total.repeats })),
        Format::Table => answer_line!("imported {}; {} had been taken in before", number_of_events(total.taken_in), total.repeats),
    }
    Ok(Exit::Ok)
}

/// Says what an import would come to, and changes nothing.
fn try_import(common: &Common, arguments: &ImportArguments, rules: &Rules, all: &[(usize, &str)]) -> Result<Exit, Failure> {
    let refused = |error| Failure::new(Exit::Refused, error);
    let mut found = find(common)?;
    let mut total = Tried::default();
    let mut marks = BTreeSet::new();
    for batch in all.chunks(ops::IMPORT_BATCH) {
        // Nothing is taken in, so no store knows what an earlier batch had.
        let is_new = |(_, line): &(usize, &str)| wire::parse_event(line.as_bytes(), rules).map_or(true, |event| marks.insert(event.mark));
        let (once, again): (Vec<_>, Vec<_>) = batch.iter().copied().partition(is_new);
        let tried = match &mut found {
            Some(Opened::Here(store)) => {
                let tried = ops::would_import(rules, &mut **store, once).map_err(refused)?;
                let first = batch.first().map_or(1, |(number, _)| *number);
                let deed = local_deed(Action::Imported, &format!("{} lines from line {first}", batch.len())).tried(true);
                ops::note(&mut **store, now(), deed).and_then(|()| Commit::commit(&mut **store, true)).map_err(refused)?;
                tried
            }
            Some(Opened::There(admin)) => try_there(admin, &once).map_err(|failure| failure.in_file(&arguments.file))?,
            None => ops::would_import(rules, &mut MemoryStore::default(), once).map_err(|error| Failure::new(Exit::Refused, error))?,
        };
        total.taken_in += tried.taken_in;
        total.repeats += tried.repeats + again.len() as u64;
        total.refused.extend(tried.refused);
    }
    match arguments.format {
        Format::Json => {
            let refused: Vec<Value> = total.refused.iter().map(|(line, reason)| json!({ "line": line, "reason": reason })).collect();
            answer_line!("{}", json!({ "taken_in": total.taken_in, "repeats": total.repeats, "refused": refused, "dry_run": true }));
        }
        Format::Table => {
            for (line, reason) in &total.refused {
                answer_line!("{}:{line}: {reason}", arguments.file.display());
            }
            answer_line!(
                "would import {}; {} have been taken in before, or stand in the file twice; {} cannot be imported",
                number_of_events(total.taken_in),
                total.repeats,
                total.refused.len()
            );
            answer_line!("nothing was changed (--dry-run)");
        }
    }
    Ok(if total.refused.is_empty() { Exit::Ok } else { Exit::No })
}

fn try_there(admin: &Admin, lines: &[(usize, &str)]) -> Result<Tried, Failure> {
    let Some((first, _)) = lines.first() else { return Ok(Tried::default()) };
    let path = format!("/import?dry_run=true&first={first}");
    let answer = admin.post(&path, "application/x-ndjson", as_they_stand(lines).as_bytes())?;
    let number = |of: &Value| of.as_u64().unwrap_or(0);
    let refused = answer["refused"].as_array().into_iter().flatten();
    let refused = refused.map(|of| (number(&of["line"]) as usize, cell(&of["reason"])));
    Ok(Tried { taken_in: number(&answer["taken_in"]), repeats: number(&answer["repeats"]), refused: refused.collect() })
}

/// Joins lines with the blank ones between them, so that each keeps its number.
fn as_they_stand(batch: &[(usize, &str)]) -> String {
    let mut text = String::new();
    let mut next = batch.first().map_or(1, |(number, _)| *number);
    for (number, line) in batch {
        text.extend(std::iter::repeat_n('\n', number - next));
        text.push_str(line);
        next = *number;
    }
    text
}
