//! A first load: what is known of citizens, taken in without telling anybody.

use std::collections::BTreeSet;

use crate::core::citizen::RecordKind;
use crate::core::engine::{Consumption, Engine, Manner, Output};
use crate::core::event::Event;
use crate::core::policy::Rules;
use crate::core::records::Records;
use crate::core::time::Moment;
use crate::wire::{self, Refusal};

/// Why a batch was not taken in whole.
#[derive(Debug, thiserror::Error)]
pub enum ImportError<E: std::error::Error + 'static> {
    /// A line is not an event that can be imported. The lines before it were
    /// taken in; doing it again is safe.
    #[error("line {line}: {reason}")]
    Line {
        /// Its number, as given with it.
        line: usize,
        /// Why, without what it says.
        reason: String,
    },
    /// The store could not be read or written.
    #[error("the store could not be read or written")]
    Store(#[source] E),
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events taken in.
    pub taken_in: u64,
    /// Events that had been taken in before.
    pub repeats: u64,
}

/// Takes in lines with their numbers, each one event that changes what is known
/// of a citizen. The caller commits, and counts what became of what waits.
///
/// # Errors
/// At the first line that cannot be taken in.
pub fn import<'a, R: Records>(
    engine: &mut Engine,
    records: &mut R,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
    now: Moment,
    out: &mut Output,
) -> Result<Imported, ImportError<R::Error>> {
    let imported = take_in(engine, records, lines, now);
    // Also of the lines before one that was refused.
    engine.follow_up(records, now, out).map_err(ImportError::Store)?;
    imported
}

fn take_in<'a, R: Records>(
    engine: &mut Engine,
    records: &mut R,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
    now: Moment,
) -> Result<Imported, ImportError<R::Error>> {
    let mut imported = Imported::default();
    let mut out = Output::default();
    for (number, line) in lines {
        let refused = |reason: String| ImportError::Line { line: number, reason };
        let event = importable(line, engine.rules()).map_err(refused)?;
        match engine.take_in(event, Manner::FirstLoad, records, now, &mut out).map_err(ImportError::Store)? {
            Consumption::Duplicate => imported.repeats += 1,
            Consumption::Routed | Consumption::NoRecipient | Consumption::Quarantined => imported.taken_in += 1,
        }
        // Nobody is told, so there is nothing to count but the numbers above.
        out.facts.clear();
    }
    Ok(imported)
}

/// What a batch would come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Events that would be taken in.
    pub taken_in: u64,
    /// Events that have been taken in before, or stand in the batch before.
    pub repeats: u64,
    /// The lines that cannot be taken in, and why.
    pub refused: Vec<(usize, String)>,
}

/// Says what [`import`] would make of lines, beyond the first that is refused too, and
/// does nothing.
///
/// # Errors
/// When the store cannot be read.
pub fn would_import<'a, R: Records>(
    rules: &Rules,
    records: &mut R,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
) -> Result<Tried, R::Error> {
    let mut tried = Tried::default();
    let mut marks = BTreeSet::new();
    for (number, line) in lines {
        match importable(line, rules) {
            Err(reason) => tried.refused.push((number, reason)),
            Ok(event) if !marks.insert(event.mark) || records.has_seen(&event.mark)? => tried.repeats += 1,
            Ok(_) => tried.taken_in += 1,
        }
    }
    Ok(tried)
}

/// Returns the event of a line, or why it cannot be imported.
fn importable(line: &str, rules: &Rules) -> Result<Event, String> {
    let event = wire::parse_event(line.as_bytes(), rules).map_err(|refusal: Refusal| refusal.to_string())?;
    match RecordKind::of(&event.content) {
        Some(_) => Ok(event),
        None => Err(format!("{} changes nothing about who may receive; only such events can be imported", event.entity)),
    }
}
