//! The maintenance windows of a recipient in `routing.toml`:
//! `maintenance = [{ from = 2026-03-20T22:00:00, until = 2026-03-21T04:00:00 },
//! { every = "sunday", from = "02:00", until = "04:00" }]`.

use toml_edit::Value;

use super::reader::{Entry, Reader, Section, Span};
use crate::core::policy::Window;
use crate::core::time::{Day, Moment};

const WEEKDAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// Reads all windows; those with mistakes are left out.
pub(super) fn read(reader: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<Window> {
    let mut windows = Vec::new();
    for element in entry.elements() {
        match element.table {
            Some(table) => {
                let section = Section::new(table, "this maintenance window", element.span);
                section.check_keys(reader, &["every", "from", "until"]);
                windows.extend(match section.get("every") {
                    Some(every) => read_weekly(reader, &section, &every),
                    None => read_once(reader, &section),
                });
            }
            None => {
                element.report_kind(reader, "maintenance", "tables", "such as { every = \"sunday\", from = \"02:00\", until = \"04:00\" }")
            }
        }
    }
    windows
}

fn read_once(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Window> {
    let hint = "write a day and a time in Copenhagen, such as 2026-03-20T22:00:00, or one with an offset";
    let from = read_time(reader, section, "from", "from = 2026-03-20T22:00:00", "a day and a time", hint, parse_moment);
    let until = read_time(reader, section, "until", "until = 2026-03-21T04:00:00", "a day and a time", hint, parse_moment);
    let ((from, _), (until, span)) = (from?, until?);
    if until <= from {
        reader.report(&span, "the window ends before it begins".to_owned(), Some("`until` must be later than `from`".to_owned()));
        return None;
    }
    Some(Window::Once { from, until })
}

fn read_weekly(reader: &mut Reader<'_>, section: &Section<'_>, every: &Entry<'_>) -> Option<Window> {
    let weekday = every.text(reader).and_then(|(text, span)| {
        let found = WEEKDAYS.iter().position(|weekday| *weekday == text);
        if found.is_none() {
            let hint = format!("write one of {}", WEEKDAYS.join(", "));
            reader.report(&span, format!("`every` is {text:?}, which is not a day of the week"), Some(hint));
        }
        found
    });
    let hint = "write hours and minutes in Copenhagen, such as \"02:00\"; \"24:00\" is the end of the day";
    let from = read_time(reader, section, "from", "from = \"02:00\"", "a time of day", hint, parse_minute);
    let until = read_time(reader, section, "until", "until = \"04:00\"", "a time of day", hint, parse_minute);
    let (weekday, (from, _), (until, span)) = (weekday?, from?, until?);
    if until <= from {
        let hint = "a window over midnight is two: one until \"24:00\", and one from \"00:00\" on the day after";
        reader.report(&span, "the window ends before it begins".to_owned(), Some(hint.to_owned()));
        return None;
    }
    Some(Window::Weekly { weekday: weekday as u8 + 1, from, until })
}

/// Reads a time, written as one of TOML's or as a text.
fn read_time<T>(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    key: &str,
    example: &str,
    what: &str,
    hint: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<(T, Span)> {
    let entry = section.require(reader, key, example)?;
    let written = match entry.item.as_value() {
        Some(Value::Datetime(time)) => time.value().to_string(),
        Some(Value::String(text)) => text.value().clone(),
        _ => {
            entry.report_kind(reader, what, hint);
            return None;
        }
    };
    let parsed = parse(&written);
    if parsed.is_none() {
        let seconds = written.rsplit_once(':').is_some_and(|(minute, _)| parse(minute).is_some());
        let (mistake, hint) = match seconds {
            true => ("has seconds".to_owned(), "a maintenance window begins and ends at a full minute: leave the seconds out, or write 00"),
            false => (format!("is {written}, which is not {what}"), hint),
        };
        reader.report(&entry.span, format!("`{}` {mistake}", entry.key), Some(hint.to_owned()));
    }
    parsed.map(|parsed| (parsed, entry.span))
}

/// Parses a date-time with an offset, or one in Copenhagen without.
fn parse_moment(text: &str) -> Option<Moment> {
    if let Ok(moment) = Moment::parse(text) {
        return Some(moment);
    }
    let (day, time) = text.split_once(['T', ' '])?;
    let minute = parse_minute(time)?;
    Some(Day::parse(day).ok()?.at_minute(minute))
}

/// Parses `HH:MM`, or `HH:MM:00` as TOML writes it, into minutes after midnight.
fn parse_minute(text: &str) -> Option<u16> {
    let text = text.strip_suffix(":00").filter(|rest| rest.len() == 5).unwrap_or(text);
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u16>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let minute = hours * 60 + minutes;
    (minutes < 60 && minute <= 1440).then_some(minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let check = |text: &str, expected: Option<u16>| assert_eq!(parse_minute(text), expected, "{text}");
        check("02:00", Some(120));
        check("23:59:00", Some(1439));
        check("24:00", Some(1440));
        for bad in ["", "2:00", "02:60", "24:01", "02:00:30", "02.00", "+2:00", "02:0x"] {
            check(bad, None);
        }
        let moment = |text: &str| parse_moment(text).map(|moment| moment.to_string());
        assert_eq!(moment("2026-07-20T22:00:00").as_deref(), Some("2026-07-20T20:00:00Z"));
        assert_eq!(moment("2026-01-20 22:00").as_deref(), Some("2026-01-20T21:00:00Z"));
        assert_eq!(moment("2026-01-20T22:00:00Z").as_deref(), Some("2026-01-20T22:00:00Z"));
        assert_eq!(moment("2026-01-20"), None);
    }

    /// What is wrong is said in words that fit, with what is allowed.
    #[test]
    fn seconds_are_refused_as_seconds() {
        let shipped = include_str!("../../routing.toml");
        let line = shipped.lines().find(|line| line.trim_start().starts_with("{ authority = \"akasse:067\"")).expect("a line for it");
        let check = |window: &str, expected: &[(&str, &str)]| {
            let text = shipped.replace(line, &line.replace(" },", &format!(", maintenance = [{{ {window} }}] }},")));
            let mistakes = crate::config::parse_routing(&text).err().unwrap_or_default();
            let found: Vec<(&str, &str)> =
                mistakes.iter().map(|mistake| (mistake.message.as_str(), mistake.hint.as_deref().unwrap_or_default())).collect();
            assert_eq!(found, expected, "{window}");
        };
        let full = "a maintenance window begins and ends at a full minute: leave the seconds out, or write 00";
        check("from = 2026-03-20T22:00:30, until = 2026-03-21T04:00:00", &[("`from` has seconds", full)]);
        check("from = \"2026-03-20T22:00\", until = \"2026-03-21T04:00:00.5\"", &[("`until` has seconds", full)]);
        check("every = \"sunday\", from = \"02:00:15\", until = 04:00:01", &[("`from` has seconds", full), ("`until` has seconds", full)]);
        check("every = \"sunday\", from = 02:00:00, until = \"04:00\"", &[]);
        let hours = "write hours and minutes in Copenhagen, such as \"02:00\"; \"24:00\" is the end of the day";
        check("every = \"sunday\", from = \"2:00\", until = \"04:00\"", &[("`from` is 2:00, which is not a time of day", hours)]);
    }
}
