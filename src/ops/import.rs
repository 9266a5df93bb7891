//! A first load: what is known of citizens, taken in without telling anybody.

use crate::core::citizen::RecordKind;
use crate::core::engine::{Consumption, Engine, Manner, Output};
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
/// of a citizen. The caller commits.
///
/// # Errors
/// At the first line that cannot be taken in.
pub fn import<'a, R: Records>(
    engine: &mut Engine,
    records: &mut R,
    lines: impl IntoIterator<Item = (usize, &'a str)>,
    now: Moment,
) -> Result<Imported, ImportError<R::Error>> {
    let imported = take_in(engine, records, lines, now);
    // Also of the lines before one that was refused.
    engine.follow_up(records, now, &mut Output::default()).map_err(ImportError::Store)?;
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
        let event = wire::parse_event(line.as_bytes(), engine.rules()).map_err(|refusal: Refusal| refused(refusal.to_string()))?;
        if RecordKind::of(&event.content).is_none() {
            return Err(refused(format!("{} changes nothing about who may receive; only such events can be imported", event.entity)));
        }
        match engine.take_in(event, Manner::FirstLoad, records, now, &mut out).map_err(ImportError::Store)? {
            Consumption::Duplicate => imported.repeats += 1,
            Consumption::Routed | Consumption::NoRecipient | Consumption::Quarantined => imported.taken_in += 1,
        }
        // Nobody is told, so there is nothing to count but the numbers above.
        out.facts.clear();
    }
    Ok(imported)
}
