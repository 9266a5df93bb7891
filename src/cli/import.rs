//! `wsb-broker import`

use super::args::{Common, ImportArguments};
use super::audit::local_deed;
use super::events::{lines, read_file};
use super::exit::{Exit, Failure};
use super::open::{Opened, engine_over, open};
use super::run::load_rules;
use super::terminal::Progress;
use crate::app::now;
use crate::core::audit::Action;
use crate::ops::{self, ImportError, Imported};
use crate::store::Create;
use crate::writer::Commit;

/// Takes in a batch of numbered lines.
type Take<'a> = Box<dyn FnMut(&[(usize, &str)]) -> Result<Imported, Failure> + 'a>;

pub fn import(common: &Common, arguments: &ImportArguments) -> Result<Exit, Failure> {
    let rules = load_rules(common)?;
    let text = read_file(&arguments.file)?;
    let all: Vec<(usize, &str)> = lines(&text).collect();
    let mut progress = Progress::new("importing", all.len() as u64);
    let mut total = Imported::default();
    let mut take: Take<'_> = match open(common, Create::IfMissing)? {
        Opened::Here(mut store) => {
            let mut engine = engine_over(&mut store, rules)?;
            let file = arguments.file.display().to_string();
            Box::new(move |batch| {
                let result = ops::import(&mut engine, &mut *store, batch.iter().copied(), now());
                let first = batch.first().map_or(1, |(number, _)| *number);
                let deed = local_deed(Action::Imported, &format!("{} lines from line {first}", batch.len()));
                ops::note(&mut *store, now(), deed).map_err(|error| Failure::new(Exit::Refused, error))?;
                // The lines before a bad one are taken in all the same.
                Commit::commit(&mut *store, true).map_err(|error| Failure::new(Exit::Refused, error))?;
                result.map_err(|error| match error {
                    ImportError::Line { line, reason } => Failure::words(Exit::No, format!("{file}:{line}: {reason}")),
                    ImportError::Store(error) => Failure::new(Exit::Refused, error),
                })
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
            eprintln!("what comes before stays imported; mend this, and import the file again: what was taken in is recognized");
        })?;
        total.taken_in += imported.taken_in;
        total.repeats += imported.repeats;
        done += batch.len() as u64;
        progress.at(done);
    }
    progress.end();
    println!("imported {} events; {} had been taken in before", total.taken_in, total.repeats);
    Ok(Exit::Ok)
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
