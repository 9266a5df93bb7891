//! Reads TOML values with their places and collects everything that is wrong,
//! instead of stopping at the first thing. Knows no key of any file.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::{Range, RangeInclusive};

use toml_edit::{Document, Item, TableLike, Value};

use super::mistake::{Mistake, Place, Places, nearest};
use crate::core::time::Day;

/// Bytes of the file.
pub(super) type Span = Range<usize>;

/// A file being read, and what was found wrong with it so far.
pub(super) struct Reader<'t> {
    file: &'static str,
    places: Places<'t>,
    mistakes: Vec<Mistake>,
    /// The lines that had to be left out because of their syntax.
    left_out: Vec<String>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: &'static str, text: &'t str) -> Self {
        Self { file, places: Places::new(text), mistakes: Vec::new(), left_out: Vec::new() }
    }

    /// Notes a mistake.
    pub(super) fn report(&mut self, span: &Span, message: String, hint: Option<String>) {
        let Place { line, column } = self.places.place(span.start);
        let width = self.places.width(span);
        self.mistakes.push(Mistake { file: self.file, line, column, width, message, hint });
    }

    /// Returns where `span` begins.
    pub(super) fn place(&self, span: &Span) -> Place {
        self.places.place(span.start)
    }

    /// Returns whether `word` stands in a line that had to be left out because of
    /// its syntax: then it is not missing, and that line is reported anyway.
    pub(super) fn left_out(&self, word: &str) -> bool {
        let word = word.replace('_', "-");
        self.left_out.iter().any(|line| line.replace('_', "-").contains(&word))
    }

    /// Returns everything found, in the order of the file; empty when all is well.
    pub(super) fn into_mistakes(mut self) -> Vec<Mistake> {
        self.mistakes.sort_by_key(|m| (m.line, m.column));
        self.mistakes.dedup();
        self.mistakes
    }

    /// Parses the text as TOML.
    ///
    /// The parser stops at the first error of syntax. To say everything in one
    /// run all the same, the line of the error is blanked and the rest parsed
    /// again; but only lines whose absence cannot change the meaning of others,
    /// and only if the rest then parses: otherwise one error would be reported
    /// many times over. Where it does not, each table is read by itself, so that what is
    /// wrong in one hides nothing in others. `None` when there is nothing to read.
    pub(super) fn parse(&mut self) -> Option<Document<String>> {
        let text = self.places.text().to_owned();
        let first = match self.leave_out(text.clone()) {
            Ok(LeftOut { document, errors, lines }) => {
                self.left_out = lines;
                self.report_all(errors);
                return Some(document);
            }
            Err(first) => first,
        };
        let mut errors = Vec::new();
        for table in tables(&text) {
            match self.leave_out(alone(&text, &table)) {
                Ok(left_out) => errors.extend(left_out.errors),
                Err(first) => errors.push(first),
            }
        }
        if errors.is_empty() {
            errors.push(first);
        }
        self.report_all(errors);
        None
    }

    /// Reads a text without the lines that are wrong; fails with the first error where
    /// they cannot be left out.
    fn leave_out(&self, mut text: String) -> Result<LeftOut, SyntaxError> {
        const ROUNDS: usize = 20;
        let (mut errors, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let error = match Document::parse(text.clone()) {
                Ok(document) => return Ok(LeftOut { document, errors, lines }),
                Err(error) => error,
            };
            let span = error.span().unwrap_or(0..0);
            let line = self.places.line_at(span.start);
            errors.push((span, error.message().replace('\n', " ")));
            if !stands_alone(&text[line.clone()]) {
                break;
            }
            lines.push(text[line.clone()].to_owned());
            text.replace_range(line.clone(), &" ".repeat(line.len()));
        }
        Err(errors.swap_remove(0))
    }

    fn report_all(&mut self, errors: Vec<SyntaxError>) {
        for (span, message) in errors {
            self.report_syntax(&span, message);
        }
    }

    fn report_syntax(&mut self, span: &Span, message: String) {
        let hint = if message.starts_with("duplicate key") {
            "each key stands once in a table: remove one of the two"
        } else if message.starts_with("invalid date") {
            "write a day that exists, such as 2026-12-31"
        } else {
            "this is not TOML (https://toml.io): look for a missing quote, bracket, comma or value here or just before"
        };
        self.report(span, message, Some(hint.to_owned()));
    }
}

/// Where the syntax breaks, and how.
type SyntaxError = (Span, String);

/// A text that is TOML but for some lines.
struct LeftOut {
    document: Document<String>,
    errors: Vec<SyntaxError>,
    lines: Vec<String>,
}

/// Returns where each table begins and ends, what stands before the first as well; the
/// whole where that cannot be told.
fn tables(text: &str) -> Vec<Span> {
    // Inside of such a text anything may look like a heading.
    if text.contains("\"\"\"") || text.contains("'''") {
        return std::iter::once(0..text.len()).collect();
    }
    let mut begins = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > 0 && is_heading(line) {
            begins.push(at);
        }
        at += line.len();
    }
    let ends = begins.iter().skip(1).copied().chain([text.len()]);
    begins.iter().copied().zip(ends).map(|(begin, end)| begin..end).collect()
}

/// Returns whether a line begins a table, closed or not; an array in an array is of
/// values, which are no words.
fn is_heading(line: &str) -> bool {
    let name = line.strip_prefix('[').map(|rest| rest.strip_prefix('[').unwrap_or(rest).trim_start());
    name.is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !line.trim_end().ends_with(','))
}

/// Returns a part of a text in its place, with nothing before it or after.
fn alone(text: &str, part: &Span) -> String {
    let before = text[..part.start].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    before.chain(text[part.clone()].chars()).collect()
}

/// Returns whether a line can be left out without changing what others mean.
fn stands_alone(line: &str) -> bool {
    let count = |c: char| line.matches(c).count();
    let trimmed = line.trim();
    !trimmed.is_empty()
        && !trimmed.starts_with('[')
        && count('[') == count(']')
        && count('{') == count('}')
        && !line.contains("\"\"\"")
        && !line.contains("'''")
}

/// How the keys of a table may be spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As declared.
    Exact,
    /// With `-` or `_`.
    Either,
}

/// A table being read.
pub(super) struct Section<'d> {
    table: &'d dyn TableLike,
    /// What the table is, for messages: `type Indkaldelse`.
    pub(super) what: String,
    /// Where it begins.
    pub(super) span: Span,
    spelling: Spelling,
}

/// A key with what stands behind it.
#[derive(Clone)]
pub(super) struct Entry<'d> {
    /// The key as written.
    pub(super) key: &'d str,
    pub(super) item: &'d Item,
    /// Where the value is or, for what has no place of its own, the key.
    pub(super) span: Span,
}

impl<'d> Section<'d> {
    pub(super) fn new(table: &'d dyn TableLike, what: impl Into<String>, span: Span) -> Self {
        Self { table, what: what.into(), span, spelling: Spelling::Either }
    }

    pub(super) fn exact(mut self) -> Self {
        self.spelling = Spelling::Exact;
        self
    }

    fn folds_to(&self, written: &str, key: &str) -> bool {
        written == key || (self.spelling == Spelling::Either && written.len() == key.len() && written.replace('_', "-") == key)
    }

    /// Reports every key that is not allowed here, or that stands here in both
    /// spellings.
    pub(super) fn check_keys(&self, reader: &mut Reader<'_>, allowed: &[&str]) {
        let mut seen = Firsts::default();
        for (written, _) in self.table.iter() {
            let span = self.table.key(written).and_then(toml_edit::Key::span).unwrap_or_else(|| self.span.clone());
            match allowed.iter().find(|key| self.folds_to(written, key)) {
                Some(key) => seen.claim(reader, *key, &span, |first| format!("`{key}` of {} already stands at {first}", self.what)),
                None => {
                    let hint = match nearest(written, allowed.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("allowed here: {}", allowed.join(", ")),
                    };
                    reader.report(&span, format!("unknown key `{written}` in {}", self.what), Some(hint));
                }
            }
        }
    }

    /// Returns the entry of `key`, if there is one.
    pub(super) fn get(&self, key: &str) -> Option<Entry<'d>> {
        let (written, item) = self.table.iter().find(|(written, _)| self.folds_to(written, key))?;
        let span = item
            .span()
            .filter(|span| !span.is_empty())
            .or_else(|| self.table.key(written).and_then(toml_edit::Key::span))
            .unwrap_or_else(|| self.span.clone());
        Some(Entry { key: written, item, span })
    }

    /// Returns the entry of `key`, and reports it when it is missing.
    pub(super) fn require(&self, reader: &mut Reader<'_>, key: &str, example: &str) -> Option<Entry<'d>> {
        let entry = self.get(key);
        if entry.is_none() && !reader.left_out(key) {
            reader.report(&self.span, format!("{} has no `{key}`", self.what), Some(format!("add a line such as {example}")));
        }
        entry
    }

    /// Returns a text, and reports anything else.
    pub(super) fn text(&self, reader: &mut Reader<'_>, key: &str) -> Option<(&'d str, Span)> {
        self.get(key)?.text(reader)
    }

    /// Returns true or false, and reports anything else.
    pub(super) fn flag(&self, reader: &mut Reader<'_>, key: &str) -> Option<bool> {
        let entry = self.get(key)?;
        let flag = entry.item.as_bool();
        if flag.is_none() {
            entry.report_kind(reader, "true or false", "without quotes");
        }
        flag
    }

    /// Returns an integer within `range`, and reports anything else.
    pub(super) fn integer(&self, reader: &mut Reader<'_>, key: &str, range: RangeInclusive<i64>) -> Option<(i64, Span)> {
        self.get(key)?.integer(reader, range)
    }

    /// Returns a day, written as a TOML date or as a text, and reports anything
    /// else.
    pub(super) fn day(&self, reader: &mut Reader<'_>, key: &str) -> Option<(Day, Span)> {
        let entry = self.get(key)?;
        let written = match entry.item.as_value() {
            Some(Value::Datetime(date)) => date.value().to_string(),
            Some(Value::String(text)) => text.value().clone(),
            _ => {
                entry.report_kind(reader, "a day", "such as 2026-12-31");
                return None;
            }
        };
        match Day::parse(&written) {
            Ok(day) => Some((day, entry.span)),
            Err(_) => {
                let message = format!("`{}` is {written}, which is not a day", entry.key);
                reader.report(&entry.span, message, Some("write a day that exists, without a time of day, such as 2026-12-31".to_owned()));
                None
            }
        }
    }
}

impl<'d> Entry<'d> {
    /// Reports that the value is of the wrong kind.
    pub(super) fn report_kind(&self, reader: &mut Reader<'_>, expected: &str, hint: &str) {
        let message = format!("`{}` must be {expected}, not {}", self.key, kind(self.item.type_name()));
        reader.report(&self.span, message, Some(format!("write {expected}, {hint}")));
    }

    pub(super) fn text(&self, reader: &mut Reader<'_>) -> Option<(&'d str, Span)> {
        match self.item.as_str() {
            Some(text) => Some((text, self.span.clone())),
            None => {
                self.report_kind(reader, "a text", "in double quotes");
                None
            }
        }
    }

    pub(super) fn integer(&self, reader: &mut Reader<'_>, range: RangeInclusive<i64>) -> Option<(i64, Span)> {
        let Some(number) = self.item.as_integer() else {
            self.report_kind(reader, "a whole number", &format!("from {} to {}, without quotes", range.start(), range.end()));
            return None;
        };
        if !range.contains(&number) {
            let message = format!("`{}` is {number}, which is out of range", self.key);
            reader.report(&self.span, message, Some(format!("allowed: {} to {}", range.start(), range.end())));
            return None;
        }
        Some((number, self.span.clone()))
    }

    /// Returns what stands in a list. A single value counts as a list of one.
    pub(super) fn elements(&self) -> Vec<Element<'d>> {
        match self.item {
            Item::Value(Value::Array(array)) => array.iter().map(|value| self.element(value)).collect(),
            Item::Value(value) => vec![self.element(value)],
            Item::Table(table) => vec![Element { value: None, table: Some(table), span: self.span.clone(), kind: "table" }],
            Item::ArrayOfTables(tables) => tables
                .iter()
                .map(|table| {
                    let span = table.span().unwrap_or_else(|| self.span.clone());
                    Element { value: None, table: Some(table as &dyn TableLike), span, kind: "table" }
                })
                .collect(),
            Item::None => Vec::new(),
        }
    }

    fn element(&self, value: &'d Value) -> Element<'d> {
        let span = value.span().unwrap_or_else(|| self.span.clone());
        let table = value.as_inline_table().map(|table| table as &dyn TableLike);
        Element { value: Some(value), table, span, kind: value.type_name() }
    }

    /// Returns the texts of a list, and reports everything else in it.
    pub(super) fn texts(&self, reader: &mut Reader<'_>) -> Vec<(&'d str, Span)> {
        let mut texts = Vec::new();
        for element in self.elements() {
            match element.value.and_then(Value::as_str) {
                Some(text) => texts.push((text, element.span)),
                None => element.report_kind(reader, self.key, "a text", "in double quotes"),
            }
        }
        texts
    }
}

/// One element of a list.
pub(super) struct Element<'d> {
    pub(super) value: Option<&'d Value>,
    pub(super) table: Option<&'d dyn TableLike>,
    pub(super) span: Span,
    kind: &'static str,
}

impl Element<'_> {
    /// Reports that the element is of the wrong kind.
    pub(super) fn report_kind(&self, reader: &mut Reader<'_>, key: &str, expected: &str, hint: &str) {
        let message = format!("`{key}` must hold {expected}, not {}", kind(self.kind));
        reader.report(&self.span, message, Some(format!("write {expected}, {hint}")));
    }
}

/// Returns TOML's name of a kind of value with its article.
fn kind(name: &str) -> String {
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    let name = if name == "string" { "text" } else { name };
    format!("{article} {name}")
}

/// Where something that may stand once only stood first.
pub(super) struct Firsts<K>(HashMap<K, Span>);

impl<K> Default for Firsts<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash> Firsts<K> {
    /// Notes `key`; when it has been there before, reports it with the message
    /// that `message` makes of the first place.
    pub(super) fn claim(&mut self, reader: &mut Reader<'_>, key: K, span: &Span, message: impl FnOnce(Place) -> String) {
        match self.0.get(&key) {
            Some(first) => {
                let message = message(reader.place(first));
                reader.report(span, message, Some("change or remove one of the two".to_owned()));
            }
            None => {
                self.0.insert(key, span.clone());
            }
        }
    }
}
