//! `wsb-broker check`

use super::args::Common;
use super::exit::{Exit, Failure};
use super::run::{exit_of, sources};
use crate::config::{LoadError, check_retention, load_routing};

/// Checks both files, whatever is found in the first.
pub fn check(common: &Common) -> Result<Exit, Failure> {
    let sources = sources(common);
    let routing = accepted(load_routing(&sources.routing))?;
    if let Some(rules) = &routing {
        let types = rules.message_types().count();
        let recipients = rules.recipients().count();
        answer_line!("{}: ok, {types} types and {recipients} recipients", common.routing.display());
    }
    let path = sources.retention_path();
    let name = if path.exists() { path.display().to_string() } else { "the built-in retention.toml".to_owned() };
    // Whether it fits can only be said beside a valid `routing.toml`.
    let Some((schedule, notes)) = accepted(check_retention(&sources, routing.as_ref()))? else { return Ok(Exit::No) };
    answer_line!("{name}: ok, {} rules", schedule.rules().count());
    for note in notes {
        answer_line!("note: {name}:{}:{}: {}", note.line, note.column, note.message);
    }
    Ok(if routing.is_some() { Exit::Ok } else { Exit::No })
}

/// Shows the mistakes of a file; `None` where there are any.
fn accepted<T>(loaded: Result<T, LoadError>) -> Result<Option<T>, Failure> {
    match loaded {
        Ok(loaded) => Ok(Some(loaded)),
        Err(error @ LoadError::Invalid { .. }) => {
            super::answer::say(format_args!("{}", error.rendered()));
            Ok(None)
        }
        Err(error) => Err(Failure::new(exit_of(&error), error)),
    }
}
