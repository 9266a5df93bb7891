//! Reads Prometheus' text format, as much of it as the broker writes.

use std::collections::BTreeMap;

/// Name and labels.
pub type Series = (String, BTreeMap<String, String>);

/// A scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    samples: BTreeMap<Series, f64>,
}

impl Metrics {
    /// Parses a scrape; fails the test at a line that is not a sample.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}"))).collect() }
    }

    /// Returns the sum of all series of `name` that carry these labels, among
    /// others; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.series(name)
            .filter(|(found, _)| labels.iter().all(|(label, value)| found.get(*label).is_some_and(|found| found == value)))
            .map(|(_, value)| value)
            .sum()
    }

    /// Returns the series of `name`: labels and value.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        self.samples.iter().filter(move |((found, _), _)| found == name).map(|((_, labels), value)| (labels, *value))
    }

    /// Returns everything: (name, labels) to value.
    pub fn all(&self) -> &BTreeMap<Series, f64> {
        &self.samples
    }
}

fn sample(line: &str) -> Option<(Series, f64)> {
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ')?;
        return Some(((name.to_owned(), BTreeMap::new()), number(value)?));
    };
    let mut labels = BTreeMap::new();
    let mut rest = rest;
    while !rest.starts_with('}') {
        let (label, tail) = rest.trim_start_matches(',').split_once("=\"")?;
        let mut value = String::new();
        let mut characters = tail.char_indices();
        let end = loop {
            match characters.next()? {
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (at, '"') => break at,
                (_, other) => value.push(other),
            }
        };
        labels.insert(label.to_owned(), value);
        rest = &tail[end + 1..];
    }
    Some(((name.to_owned(), labels), number(&rest[1..])?))
}

fn number(text: &str) -> Option<f64> {
    match text.split_whitespace().next()? {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        text => text.parse().ok(),
    }
}
