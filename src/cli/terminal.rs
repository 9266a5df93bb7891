//! What is written to a terminal and what is not: tables, and one line of
//! progress that only a person sees.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

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

    /// Ends the line.
    pub fn end(self) {
        if self.watched {
            eprintln!();
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

/// Writes rows as columns of equal width; the first row is the heading.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
