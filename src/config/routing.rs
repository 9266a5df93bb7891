//! `routing.toml` as a whole: its tables, `[retry]`, and what makes rules of it.
//!
//! `docs/routing.md` is its reference for operators; a key that is added here is
//! added there.

use super::mistake::Mistake;
use super::reader::{Entry, Reader, Section};
use super::{recipients, types};
use crate::core::policy::{RetryPolicy, Rules};

/// The longest delay that may be asked for: a week.
const LONGEST_DELAY_MS: i64 = 604_800_000;
/// The longest time after which to give up that may be asked for: a year.
const LONGEST_PATIENCE_S: i64 = 31_536_000;

/// Makes rules of the text of a `routing.toml`.
///
/// # Errors
/// Every mistake of the text, in the order of the file; never an empty list.
pub fn parse_routing(text: &str) -> Result<Rules, Vec<Mistake>> {
    let mut reader = Reader::new("routing.toml", text);
    let Some(document) = reader.parse() else { return Err(reader.into_mistakes()) };
    let root = Section::new(document.as_table(), "routing.toml", 0..0);
    root.check_keys(&mut reader, &["type", "types", "recipient", "recipients", "recipient-defaults", "queues", "retry"]);

    let retry = table(&mut reader, &root, "retry").map(|section| read_retry(&mut reader, &section.exact())).unwrap_or_default();
    let type_entries = lists(&mut reader, &root, ["type", "types"], "begin each type with [[type]]");
    let types = types::read(&mut reader, &type_entries);
    let recipient_defaults = table(&mut reader, &root, "recipient-defaults");
    let queues = table(&mut reader, &root, "queues");
    let defaults = recipients::read_defaults(&mut reader, recipient_defaults.as_ref(), queues.as_ref(), &types.voluntary);
    let hint = "write recipients = [ { authority = \"akasse:067\", name = \"…\" }, … ], or begin each with [[recipient]]";
    let recipient_entries = lists(&mut reader, &root, ["recipient", "recipients"], hint);
    let recipients = recipients::read(&mut reader, &recipient_entries, &defaults, &types.voluntary);

    let mistakes = reader.into_mistakes();
    if mistakes.is_empty() { Ok(Rules::new(types.valid, recipients, retry)) } else { Err(mistakes) }
}

/// Returns the table of that name, if the file has one.
fn table<'d>(reader: &mut Reader<'_>, root: &Section<'d>, key: &str) -> Option<Section<'d>> {
    let entry = root.get(key)?;
    match entry.item.as_table_like() {
        Some(table) => Some(Section::new(table, format!("[{key}]"), entry.span)),
        None => {
            entry.report_kind(reader, "a table", &format!("beginning with a line [{key}]"));
            None
        }
    }
}

/// Returns the lists under a name and its plural. Either may be used, and both:
/// `[[recipient]]` can be added at the end of a file that has `recipients = […]`
/// at its beginning. A file without any is a mistake.
fn lists<'d>(reader: &mut Reader<'_>, root: &Section<'d>, names: [&'static str; 2], hint: &str) -> Vec<Entry<'d>> {
    let entries: Vec<Entry<'d>> = names.iter().filter_map(|name| root.get(name)).collect();
    let mut usable = Vec::new();
    for entry in &entries {
        if entry.item.is_array() || entry.item.is_array_of_tables() {
            usable.push(entry.clone());
        } else {
            entry.report_kind(reader, "a list of tables", hint);
        }
    }
    if entries.iter().all(|entry| entry.elements().is_empty()) && !reader.left_out(names[0]) {
        reader.report(&(0..0), format!("the file declares no {}", names[1]), Some(hint.to_owned()));
    }
    usable
}

fn read_retry(reader: &mut Reader<'_>, section: &Section<'_>) -> RetryPolicy {
    section.check_keys(reader, &["initial_ms", "multiplier", "max_ms", "give_up_after_s"]);
    let default = RetryPolicy::default();
    let initial = section.integer(reader, "initial_ms", 1..=LONGEST_DELAY_MS);
    let longest = section.integer(reader, "max_ms", 1..=LONGEST_DELAY_MS);
    let patience = section.integer(reader, "give_up_after_s", 1..=LONGEST_PATIENCE_S);
    let initial_ms = initial.as_ref().map_or(default.initial_ms, |(n, _)| n.unsigned_abs());
    let max_ms = longest.as_ref().map_or(default.max_ms, |(n, _)| n.unsigned_abs());
    if max_ms < initial_ms
        && let Some((_, span)) = longest.as_ref().or(initial.as_ref())
    {
        let message = format!("`max_ms` ({max_ms}) is less than `initial_ms` ({initial_ms})");
        reader.report(span, message, Some("the longest delay is at least the first one: raise max_ms or lower initial_ms".to_owned()));
    }
    RetryPolicy {
        initial_ms,
        multiplier: read_multiplier(reader, section).unwrap_or(default.multiplier),
        max_ms,
        give_up_after_s: patience.map_or(default.give_up_after_s, |(n, _)| n.unsigned_abs()),
    }
}

fn read_multiplier(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<f64> {
    const HINT: &str = "from 1 to 100, such as 2.0";
    let entry = section.get("multiplier")?;
    let number = entry.item.as_float().or_else(|| entry.item.as_integer().map(|n| n as f64));
    match number {
        // Neither NaN nor an infinity lies in the range.
        Some(number) if (1.0..=100.0).contains(&number) => Some(number),
        Some(number) => {
            reader.report(&entry.span, format!("`multiplier` is {number}, which is out of range"), Some(format!("write a number {HINT}")));
            None
        }
        None => {
            entry.report_kind(reader, "a number", HINT);
            None
        }
    }
}
