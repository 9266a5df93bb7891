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

/// Returns a path with those values in its query that are not empty.
#[must_use]
pub fn with_query(path: &str, values: &[(&str, &str)]) -> String {
    let given: Vec<String> =
        values.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name}={}", encode(value))).collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

/// Returns whether a text holds what may be a personnummer: ten digits in a row,
/// or six and four with something between. Such a text is put into no address.
#[must_use]
pub fn may_be_number(text: &str) -> bool {
    let mut run = 0;
    let mut gap = false;
    for c in text.chars() {
        match c {
            '0'..='9' => run += 1,
            ' ' | '-' | '+' | '/' | '\u{2010}' | '\u{2011}' | '\u{2013}' if run == 6 && !gap => {
                gap = true;
                continue;
            }
            _ => (run, gap) = (0, false),
        }
        if run == 10 {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

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
        for number in ["0101901234", " 010190-1234", "cpr 010190 1234", "12345678901"] {
            assert!(may_be_number(number), "{number}");
        }
        for id in ["5a0c1f6e-9a53-4c57-8b1d-3f0a7c2e4d91", "01JQ8W5Z2D3X4Y5V6T7S8R9QPM", "event-123456789", ""] {
            assert!(!may_be_number(id), "{id}");
        }
    }
}
