//! The two languages of the console, and how numbers and times are written in
//! them. Times are Copenhagen's.

use super::texts::{DANISH, ENGLISH, Texts};
use crate::core::time::Moment;

/// A language of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// The language of the house.
    #[default]
    Danish,
    /// For everybody else.
    English,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::Danish, Self::English];

    /// Returns its code, as in `lang="da"`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Danish => "da",
            Self::English => "en",
        }
    }

    /// Returns its name in itself.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Danish => "Dansk",
            Self::English => "English",
        }
    }

    /// Parses a code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }

    /// Returns the first language of an `Accept-Language` header that the console
    /// speaks. Its order is taken for its preference, as browsers write it.
    #[must_use]
    pub fn accepted(header: &str) -> Option<Self> {
        header.split(',').find_map(|part| {
            let tag = part.split([';', '-']).next().unwrap_or_default().trim().to_ascii_lowercase();
            // Norwegian and Swedish readers fare better with Danish.
            if matches!(tag.as_str(), "nb" | "nn" | "no" | "sv") { Some(Self::Danish) } else { Self::parse(&tag) }
        })
    }

    /// Returns the texts in it.
    #[must_use]
    pub fn texts(self) -> &'static Texts {
        match self {
            Self::Danish => &DANISH,
            Self::English => &ENGLISH,
        }
    }

    /// Writes a number with separators.
    #[must_use]
    pub fn number(self, number: u64) -> String {
        let separator = match self {
            Self::Danish => '.',
            Self::English => ',',
        };
        let digits = number.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(separator);
            }
            text.push(digit);
        }
        text
    }

    /// Writes `one|many` for a number; `{}` stands for the number.
    #[must_use]
    pub fn count(self, forms: &str, number: u64) -> String {
        let (one, many) = forms.split_once('|').unwrap_or((forms, forms));
        fill(if number == 1 { one } else { many }, &[&self.number(number)])
    }

    /// Writes how long something took or has lasted, in its largest unit or two.
    #[must_use]
    pub fn span(self, seconds: f64) -> String {
        let texts = self.texts();
        let seconds = seconds.max(0.0);
        let whole = seconds as u64;
        match whole {
            0 if seconds > 0.0 && seconds < 0.9995 => format!("{} ms", (seconds * 1000.0).round().max(1.0)),
            0..60 => format!("{whole} s"),
            60..3600 => format!("{} min", whole / 60),
            3600..86_400 if whole % 3600 < 60 => fill(texts.hours, &[&(whole / 3600).to_string()]),
            3600..86_400 => format!("{} {} min", fill(texts.hours, &[&(whole / 3600).to_string()]), whole % 3600 / 60),
            _ => fill(texts.days, &[&(whole / 86_400).to_string()]),
        }
    }

    /// Writes how long ago something was, or how soon it will be.
    #[must_use]
    pub fn ago(self, at: Moment, now: Moment) -> String {
        let texts = self.texts();
        if at > now {
            let ahead = at.seconds_since(now);
            return if ahead < 1.0 { texts.now.to_owned() } else { fill(texts.in_future, &[&self.span(ahead.ceil())]) };
        }
        let gone = now.seconds_since(at);
        if gone < 1.0 { texts.now.to_owned() } else { fill(texts.ago, &[&self.span(gone)]) }
    }
}

/// Puts values in the places marked `{}`, in order.
#[must_use]
pub fn fill(text: &str, values: &[&str]) -> String {
    let mut values = values.iter();
    let mut parts = text.split("{}");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        filled.push_str(values.next().copied().unwrap_or("{}"));
        filled.push_str(part);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans() {
        assert_eq!(Language::Danish.number(1_234_567), "1.234.567");
        assert_eq!(Language::English.number(999), "999");
        assert_eq!(Language::English.number(1000), "1,000");
        assert_eq!(Language::English.count("{} queue|{} queues", 1), "1 queue");
        assert_eq!(Language::Danish.count("{} kø|{} køer", 1200), "1.200 køer");
        for (seconds, english, danish) in [
            (0.0, "0 s", "0 s"),
            (0.0124, "12 ms", "12 ms"),
            (59.9, "59 s", "59 s"),
            (61.0, "1 min", "1 min"),
            (3600.0, "1 h", "1 t"),
            (3725.0, "1 h 2 min", "1 t 2 min"),
            (180_000.0, "2 d", "2 d"),
        ] {
            assert_eq!(Language::English.span(seconds), english);
            assert_eq!(Language::Danish.span(seconds), danish);
        }
        let now = Moment(1_000_000_000);
        assert_eq!(Language::Danish.ago(now.plus_seconds(-120), now), "for 2 min siden");
        assert_eq!(Language::English.ago(now.plus_seconds(30), now), "in 30 s");
        assert_eq!(Language::English.ago(now, now), "now");
    }

    #[test]
    fn the_first_language_that_is_spoken() {
        let check = |header: &str, expected: Option<Language>| assert_eq!(Language::accepted(header), expected, "{header}");
        check("da,en-US;q=0.9,en;q=0.8", Some(Language::Danish));
        check("en-GB,da;q=0.5", Some(Language::English));
        check("de-DE, de;q=0.9, en;q=0.5", Some(Language::English));
        check("nb-NO,nb;q=0.9", Some(Language::Danish));
        check("de", None);
        check("", None);
    }
}
