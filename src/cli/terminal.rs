//! What is written to a terminal and what is not: tables, and one line of
//! progress that only a person sees.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Returns how many events, in words.
#[must_use]
pub fn number_of_events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}

/// One line on standard error that tells how far a long job is; silent unless a
/// person is watching.
pub struct Progress {
    what: &'static str,
    total: u64,
    shown: Option<Instant>,
    watched: bool,
}

impl Progress {
    /// Starts at zero of `total`.
    #[must_use]
    pub fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, shown: None, watched: std::io::stderr().is_terminal() }
    }

    /// Shows how far the job is, at most ten times a second.
    pub fn at(&mut self, done: u64) {
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= Duration::from_millis(100));
        if !self.watched || !(due || done == self.total) {
            return;
        }
        self.shown = Some(Instant::now());
        let share = if self.total == 0 { 1.0 } else { done as f64 / self.total as f64 };
        let filled = (share * 30.0) as usize;
        let bar: String = (0..30).map(|at| if at < filled { '#' } else { '.' }).collect();
        // A terminal that cannot be written to is no reason to stop the job.
        let _ = write!(std::io::stderr(), "\r{} [{bar}] {done} of {}", self.what, self.total);
    }

    /// Says something beside: on a line of its own, and also where nobody watches.
    pub fn say(&self, text: &str) {
        if self.watched && self.shown.is_some() {
            say_line!();
        }
        say_line!("{text}");
    }

    /// Ends the line.
    pub fn end(self) {
        if self.watched {
            say_line!();
        }
    }
}

/// Writes a value as a cell: text without quotes, nothing for nothing.
#[must_use]
pub fn cell(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Returns the color in which a state is written, as a terminal knows it.
fn color_of(state: &str) -> Option<&'static str> {
    let first = state.split([' ', ',', '(']).next().unwrap_or_default();
    match first {
        "dead" | "failed" | "not" => Some("31"),
        "delivered" | "done" | "open" | "sent" => Some("32"),
        "retrying" | "paused" | "waiting-for-go" | "stopped" | "withdrawn" => Some("33"),
        "running" | "pending" => Some("36"),
        _ => None,
    }
}

/// Whether colors help: only where a person looks, who has not said that they do
/// not (`NO_COLOR`).
fn is_colored() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes rows as columns of equal width; the first row is the heading. What
/// stands in a column of states, or beside the word in a list of names and
/// values, is colored for a person.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    aligned(rows, is_colored())
}

fn aligned(rows: &[Vec<String>], colored: bool) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let is_state = |name: Option<&String>| name.is_some_and(|name| matches!(name.as_str(), "state" | "now"));
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let named = is_state(rows.first().and_then(|heading| heading.get(column))) || (column == 1 && is_state(row.first()));
            match color_of(cell).filter(|_| colored && named) {
                Some(color) => line.push_str(&format!("\u{1b}[{color}m{cell}\u{1b}[0m")),
                None => line.push_str(cell),
            }
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[[&str; 2]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn states_are_colored_for_people_and_columns_stay_aligned() {
        let list = rows(&[["state", "recipient"], ["dead", "akasse:067"], ["delivered", "kommune:860"]]);
        assert_eq!(aligned(&list, false), "state      recipient\ndead       akasse:067\ndelivered  kommune:860\n");
        let colored = aligned(&list, true);
        assert!(colored.contains("\u{1b}[31mdead\u{1b}[0m       akasse:067"), "{colored:?}");
        assert!(colored.starts_with("state "), "a heading is not a state: {colored:?}");
        let one = aligned(&rows(&[["replay", "7"], ["state", "waiting-for-go"], ["sent", "done"]]), true);
        assert_eq!(one, "replay  7\nstate   \u{1b}[33mwaiting-for-go\u{1b}[0m\nsent    done\n");
    }
}
