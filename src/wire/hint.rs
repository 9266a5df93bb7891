//! Finds the citizen that a refused message is about, so that what is kept in
//! quarantine can be erased with the citizen.

use super::object::members;
use crate::core::ids::Personnummer;

/// Returns the personnummer of a message that need not be one, best guess first:
/// `data.Personnummer` where the message can be read; what follows a
/// `"Personnummer"` where it cannot; else the first ten digits that stand alone
/// and can be one. `None` when there is none.
///
/// Errs on the side of finding one: a message that is wrongly erased with a
/// citizen was refused anyway, one that is wrongly kept is a breach.
#[must_use]
pub fn personnummer_hint(bytes: &[u8]) -> Option<Personnummer> {
    of_json(bytes).or_else(|| after_key(bytes)).or_else(|| standing_alone(bytes))
}

fn of_json(bytes: &[u8]) -> Option<Personnummer> {
    let [data] = members(std::str::from_utf8(bytes).ok()?, 0, &["data"]).ok()?;
    let [number] = members(data.json()?, 0, &["Personnummer"]).ok()?;
    match number.text() {
        Some(text) => starting_with(text.trim().as_bytes()),
        None => starting_with(number.json()?.as_bytes()),
    }
}

fn after_key(bytes: &[u8]) -> Option<Personnummer> {
    const KEY: &[u8] = b"\"Personnummer\"";
    let key_ends = bytes.windows(KEY.len()).enumerate().filter(|(_, window)| *window == KEY).map(|(at, _)| at + KEY.len());
    key_ends.filter_map(|at| bytes.get(at..)).find_map(|rest| {
        let value = rest.iter().position(|byte| !byte.is_ascii_whitespace() && !matches!(byte, b':' | b'"'))?;
        starting_with(rest.get(value..)?)
    })
}

fn standing_alone(bytes: &[u8]) -> Option<Personnummer> {
    let mut before = None;
    bytes.iter().enumerate().find_map(|(at, byte)| {
        let alone = !before.replace(*byte).is_some_and(|byte| byte.is_ascii_alphanumeric());
        // Not the nine digits of a number that lost its zero: without a key to say so, those are anything.
        (alone && byte.is_ascii_digit()).then(|| digits(bytes.get(at..)?, 10)).flatten()
    })
}

/// Parses what begins with a personnummer, also one with a hyphen, and one that
/// a number type robbed of its leading zero.
fn starting_with(bytes: &[u8]) -> Option<Personnummer> {
    digits(bytes, 10).or_else(|| digits(bytes, 9))
}

fn digits(bytes: &[u8], count: usize) -> Option<Personnummer> {
    let mut found = [b'0'; 10];
    let mut slots = found.iter_mut().skip(10 - count);
    let mut used = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => *slots.next()? = *byte,
            b'-' if at == 6 => {}
            byte if byte.is_ascii_alphanumeric() => return None,
            _ => break,
        }
        used += usize::from(*byte != b'-');
    }
    if used != count {
        return None;
    }
    Personnummer::parse(std::str::from_utf8(&found).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::indkaldelse;

    #[test]
    fn finds_the_citizen_of_a_message_however_broken() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            let found = personnummer_hint(bytes);
            assert_eq!(found.as_ref().map(Personnummer::digits), expected, "{}", String::from_utf8_lossy(bytes));
        };
        let sample = indkaldelse();
        let number = Some("0101010001");
        check(sample.as_bytes(), number);
        check(&sample.as_bytes()[..sample.len() - 40], number);
        check(sample.replace("\"0101010001\"", "101010001").as_bytes(), number);
        check(sample.replace("0101010001", " 010101-0001 ").as_bytes(), number);
        check(sample.replace("0101010001", "\\u0030101010001").as_bytes(), number);
        check(sample.replace("Personnummer", "Cpr").as_bytes(), number);
        check(&[b"\xff\xfe{\"Personnummer\" : \"0101010001\"".as_slice()].concat(), number);
        check(b"0101010001", number);
        check(b"cpr=010101-0001;", number);
        check(b"{\"data\":{\"NytPersonnummer\":\"6101010001\"}}", Some("6101010001"));
        check(sample.replace("0101010001", "").as_bytes(), None);
        check(b"1742108400000 2026-03-16 01010100011 a0101010001 9901010001", None);
        check(b"\"Personnummer\"", None);
        check(b"", None);
    }
}
