//! Addresses: what goes into them is encoded here and nowhere else.

/// Encodes a value for a query or a segment of a path.
#[must_use]
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => encoded.push(char::from(byte)),
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// Returns the path of the page of what has this id. What names a directory in a path
/// is taken out of it by every browser, escaped or not, and hence goes into the query.
#[must_use]
pub fn id_path(path: &str, id: &str) -> String {
    match id {
        "." | ".." => with_query(path, &[("id", id)]),
        id => format!("{path}/{}", encode(id)),
    }
}

/// Returns a path with those values in its query that are not empty.
#[must_use]
pub fn with_query(path: &str, values: &[(&str, &str)]) -> String {
    let given: Vec<String> =
        values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

/// Returns whether a text holds what may be a personnummer: ten digits, no more
/// and no fewer, or six and four with something between, of which the first four
/// may be day and month. Such a text is put into no address.
#[must_use]
pub fn may_be_number(text: &str) -> bool {
    let mut digits = String::new();
    let mut gap = false;
    // What follows the last character ends a run like any other.
    for c in text.chars().chain(['.']) {
        match c {
            '0'..='9' => digits.push(c),
            ' ' | '-' | '+' | '/' | '\u{2010}' | '\u{2011}' | '\u{2013}' if digits.len() == 6 && !gap => gap = true,
            _ if digits.len() == 10 && begins_with_a_day(&digits) => return true,
            _ => {
                digits.clear();
                gap = false;
            }
        }
    }
    false
}

/// Whether the first four digits are day and month; of a replacement number the
/// day is 60 more.
fn begins_with_a_day(digits: &str) -> bool {
    let number = |from: usize| digits.get(from..from + 2).and_then(|two| two.parse::<u8>().ok()).unwrap_or(0);
    matches!(number(0), 1..=31 | 61..=91) && matches!(number(2), 1..=12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_any_id_has_a_page() {
        for (id, path) in [("one", "/console/events/one"), ("a/..", "/console/events/a%2F.."), ("...", "/console/events/...")] {
            assert_eq!(id_path("/console/events", id), path);
        }
        for id in [".", ".."] {
            assert_eq!(id_path("/console/events", id), format!("/console/events?id={id}"));
        }
    }

    #[test]
    fn whatever_is_in_an_id_stays_in_it() {
        assert_eq!(encode("urn:a/b?c=d&e æ\"<"), "urn:a%2Fb%3Fc%3Dd%26e%20%C3%A6%22%3C");
        assert_eq!(
            with_query("/console/failures", &[("state", ""), ("recipient", "akasse:067"), ("reason", "a b")]),
            "/console/failures?recipient=akasse:067&reason=a%20b"
        );
        assert_eq!(with_query("/console", &[("x", "")]), "/console");
    }

    #[test]
    fn numbers_are_recognized() {
        for number in ["0101901234", " 010190-1234", "cpr 010190 1234", "a0101901234b", "6101901234,"] {
            assert!(may_be_number(number), "{number}");
        }
        for id in [
            "5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91",
            "01JQ8W5Z2D3X4Y5V6T7S8R9QPM",
            "event-123456789",
            "evt-1795621532123456",
            "3201901234",
            "0113901234",
            "010190-12345",
            "",
        ] {
            assert!(!may_be_number(id), "{id}");
        }
    }
}
