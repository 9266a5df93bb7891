//! Sets text for a terminal of a hundred columns; colors only where they are seen.

use std::io::{IsTerminal, Write};

/// Columns of a line of text.
const WIDTH: usize = 92;

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const GREEN: &str = "32";
const CYAN: &str = "1;36";

/// What the story is written on.
pub struct Page {
    color: bool,
    chapters: u32,
}

impl Page {
    /// Returns standard output.
    pub fn new() -> Self {
        let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { color, chapters: 0 }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn line(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // Whoever closes the pipe early has read enough.
        let _ = writeln!(out, "{text}");
        let _ = out.flush();
    }

    /// Writes the title.
    pub fn title(&self, text: &str) {
        self.line("");
        self.line(&format!("  {}", self.paint(BOLD, text)));
        self.line(&format!("  {}", self.paint(DIM, &"─".repeat(text.chars().count()))));
    }

    /// Begins a chapter.
    pub fn chapter(&mut self, text: &str) {
        self.chapters += 1;
        self.line("");
        self.line(&format!("  {}  {}", self.paint(CYAN, &self.chapters.to_string()), self.paint(BOLD, text)));
        self.line("");
    }

    /// Writes a paragraph.
    pub fn say(&self, text: &str) {
        for line in wrapped(text, WIDTH) {
            self.line(&format!("  {line}"));
        }
    }

    /// Leaves a line empty.
    pub fn gap(&self) {
        self.line("");
    }

    /// Writes something that was claimed and found true.
    pub fn holds(&self, text: &str) {
        self.marked(&self.paint(GREEN, "✓"), text);
    }

    /// Writes something that was claimed and found false.
    pub fn fails(&self, text: &str) {
        self.marked(&self.paint(RED, "✗"), text);
    }

    fn marked(&self, mark: &str, text: &str) {
        for (number, line) in wrapped(text, WIDTH - 2).into_iter().enumerate() {
            self.line(&format!("  {} {line}", if number == 0 { mark } else { " " }));
        }
    }

    /// Writes what a program said; what is too long goes on below its column.
    pub fn verbatim(&self, text: &str) {
        for line in text.trim_end().lines() {
            let indent = line.chars().take_while(|c| *c == ' ').count();
            let column = line.rfind("  ").map_or(0, |at| line[..at + 2].chars().count());
            let hang = if column > indent { column } else { indent + 2 };
            let first: String = line.chars().take(column).collect();
            let rest: String = line.chars().skip(column).collect();
            for (number, part) in wrapped(&rest, WIDTH.saturating_sub(hang)).into_iter().enumerate() {
                let before = if number == 0 { first.clone() } else { " ".repeat(hang) };
                self.line(format!("    {}", self.paint(DIM, &format!("{before}{part}"))).trim_end());
            }
        }
    }

    /// Writes JSON, member by member, in the order in which it came.
    pub fn json(&self, text: &str) {
        self.verbatim_lines(&indented(text));
    }

    fn verbatim_lines(&self, text: &str) {
        for line in text.lines() {
            self.line(&format!("    {}", self.paint(DIM, line)));
        }
    }

    /// Writes a command as it would be typed.
    pub fn command(&self, text: &str) {
        self.line(&format!("  {} {}", self.paint(DIM, "$"), self.paint(BOLD, text)));
    }

    /// Writes columns; the first row is the heading, and the columns after the
    /// first `texts` hold numbers.
    pub fn table(&self, texts: usize, rows: &[Vec<String>]) {
        self.columns(texts, rows, 1);
    }

    /// Writes columns of text without a heading.
    pub fn list(&self, rows: &[Vec<String>]) {
        self.columns(usize::MAX, rows, 0);
    }

    fn columns(&self, texts: usize, rows: &[Vec<String>], headings: usize) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::from("    ");
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = " ".repeat(width - cell.chars().count());
                let parts = if column < texts { [cell.as_str(), &gap] } else { [gap.as_str(), cell] };
                line.extend(parts);
                line.push_str("  ");
            }
            let line = line.trim_end();
            self.line(&if number < headings { self.paint(DIM, line) } else { line.to_owned() });
        }
    }
}

/// Breaks a text into lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Gives each member of a JSON text a line; objects without objects in them that
/// are short stay on theirs.
fn indented(text: &str) -> String {
    let mut out = String::new();
    let mut depth = 0;
    let mut in_string = false;
    let mut escaped = false;
    let mut inline = 0;
    for (at, c) in text.char_indices() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' if inline > 0 => inline += 1,
            '{' | '[' => {
                let end = text[at + 1..].find(['{', '}', '[', ']']).map_or(text.len(), |length| at + 1 + length);
                if end - at < 60 && text[end..].starts_with(['}', ']']) {
                    inline = 1;
                }
            }
            _ => {}
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            ':' => out.push_str(": "),
            ',' if inline > 0 => out.push_str(", "),
            '{' | '[' if inline > 0 => out.push(c),
            '}' | ']' if inline > 0 => {
                inline -= 1;
                out.push(c);
            }
            '{' | '[' | ',' => {
                depth += usize::from(c != ',');
                out.push(c);
                out.push('\n');
                out.push_str(&"  ".repeat(depth));
            }
            '}' | ']' => {
                depth -= 1;
                out.push('\n');
                out.push_str(&"  ".repeat(depth));
                out.push(c);
            }
            c if c.is_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}
