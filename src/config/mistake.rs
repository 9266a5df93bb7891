//! What is wrong with a settings file, said so that it can be mended without
//! reading anything else: where, what, and what would be right.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

/// One thing that is wrong with a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What the file is called, without its folder.
    pub file: &'static str,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// How many characters of that line it is about, at least 1.
    pub width: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it, where that can be said.
    pub hint: Option<String>,
}

/// One line: `routing.toml:12:5: what is wrong; how to mend it`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// Returns the mistakes as a compiler would show them: each with the line of
/// `text` that it is in and a mark below. `path` is what the operator calls the
/// file.
#[must_use]
pub fn render(path: &str, text: &str, mistakes: &[Mistake]) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut out = String::new();
    for mistake in mistakes {
        let number = mistake.line.to_string();
        let gutter = " ".repeat(number.len());
        let line = lines.get(mistake.line.saturating_sub(1)).copied().unwrap_or_default();
        // Tabs stay, so that the mark lines up; other control characters could
        // move the cursor of the operator's terminal.
        let visible = |c: char| if c != '\t' && c.is_control() { '\u{fffd}' } else { c };
        let shown: String = line.trim_end_matches('\r').chars().map(visible).collect();
        let indent: String = shown.chars().take(mistake.column.saturating_sub(1)).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let mark = "^".repeat(mistake.width);
        let message = mistake.message.chars().map(visible).collect::<String>();
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "error: {message}\n{gutter}--> {path}:{}:{}\n{gutter} |\n{number} | {shown}\n{gutter} | {indent}{mark}\n",
            mistake.line, mistake.column
        );
        if let Some(hint) = &mistake.hint {
            let _ = writeln!(out, "{gutter} = help: {hint}");
        }
        out.push('\n');
    }
    let _ = match mistakes.len() {
        1 => writeln!(out, "{path}: 1 mistake"),
        many => writeln!(out, "{path}: {many} mistakes"),
    };
    out
}

/// Where the lines of a text begin, to turn byte offsets into places.
#[derive(Debug)]
pub(super) struct Places<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

/// A line and a column in characters, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl<'t> Places<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the largest character boundary that is not after `offset`.
    fn boundary(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }

    /// Returns the bytes of the line that `offset` is in, without its end.
    pub(super) fn line_at(&self, offset: usize) -> Range<usize> {
        let at = self.boundary(offset);
        let index = self.starts.partition_point(|start| *start <= at) - 1;
        let start = self.starts[index];
        let end = self.starts.get(index + 1).map_or(self.text.len(), |next| next - 1);
        start..end
    }

    /// Returns where `offset` is. An offset beyond the text is at its end.
    pub(super) fn place(&self, offset: usize) -> Place {
        let at = self.boundary(offset);
        let line = self.starts.partition_point(|start| *start <= at);
        // A byte order mark is in the file but in no editor's column count.
        let before = self.text[self.starts[line - 1]..at].trim_start_matches('\u{feff}');
        Place { line, column: before.chars().count() + 1 }
    }

    /// Returns how many characters `span` marks on its first line, at least 1.
    pub(super) fn width(&self, span: &Range<usize>) -> usize {
        let start = self.boundary(span.start);
        let end = self.boundary(span.end).min(self.line_at(start).end).max(start);
        self.text[start..end].trim_end().chars().count().max(1)
    }
}

/// Returns the candidate that `word` was probably meant to be, if any is near.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let fold = |text: &str| text.chars().map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect::<Vec<char>>();
    // Nobody means a name by a text this long; it would only cost time.
    if word.len() > 100 {
        return None;
    }
    let word = fold(word);
    let allowed = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &fold(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns how many letters must be put in, left out, changed or swapped with
/// their neighbor to make `b` of `a`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = changed.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_characters_and_survive_any_offset() {
        let text = "æøå = 1\r\nb\n";
        let places = Places::new(text);
        let check = |offset: usize, line: usize, column: usize| assert_eq!(places.place(offset), Place { line, column }, "offset {offset}");
        check(0, 1, 1);
        check(1, 1, 1); // inside æ
        check(6, 1, 4);
        check(text.len() - 2, 2, 1);
        check(text.len(), 3, 1);
        check(9999, 3, 1);
        assert_eq!(places.width(&(0..6)), 3);
        assert_eq!(places.width(&(0..9999)), 7);
        assert_eq!(places.width(&(9999..9999)), 1);
        assert_eq!(Places::new("\u{feff}a").place(3), Place { line: 1, column: 1 });
        assert_eq!(Places::new("").place(0), Place { line: 1, column: 1 });
    }

    #[test]
    fn the_nearest_name_is_found_only_when_near() {
        let check = |word: &str, expected: Option<&str>| {
            assert_eq!(nearest(word, ["akasse-own-members", "akasse-of-record", "holders", "to"]), expected, "{word}");
        };
        check("akasse_own_members", Some("akasse-own-members"));
        check("akase-own-member", Some("akasse-own-members"));
        check("Holder", Some("holders"));
        check("ohlders", Some("holders"));
        check("ot", Some("to"));
        check("everybody", None);
        check("", None);
        check(&"x".repeat(100_000), None);
    }

    #[test]
    fn control_characters_never_reach_the_terminal() {
        let mistake = Mistake {
            file: "routing.toml",
            line: 1,
            column: 2,
            width: 1,
            message: "odd \u{1b}[2J".to_owned(),
            hint: Some("mend it".to_owned()),
        };
        let shown = render("r.toml", "\t\u{1b}x\r\n", &[mistake]);
        assert_eq!(
            shown,
            "error: odd \u{fffd}[2J\n --> r.toml:1:2\n  |\n1 | \t\u{fffd}x\n  | \t^\n  = help: mend it\n\nr.toml: 1 mistake\n"
        );
    }
}
