//! Finds whom a message that cannot be an event may be about, so that what is
//! kept in quarantine can be erased with each of them. Knows how people and
//! programs write a personnummer, and nothing of any format around it.
//!
//! Errs on the side of finding one: a message that is wrongly erased with a
//! citizen was refused anyway, one that is wrongly kept is a breach.

use std::collections::BTreeSet;

use super::ids::Personnummer;

/// How many numbers a message may name to be kept for all of them.
const MOST: usize = 1000;
/// What may stand before a number that a number type robbed of its leading zero,
/// in lower case: without it nine digits are anything.
const KEYS: [&[u8]; 2] = [b"personnummer", b"cpr"];
/// How far behind such a key the number may begin.
const BEHIND_KEY: usize = 24;
/// How many characters may stand between two parts of a number.
const BETWEEN: usize = 3;

/// Whom a message may be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// These and nobody else, in order. Often one, and nobody where there is no number.
    These(Vec<Personnummer>),
    /// So many that they are not told apart: the message goes with the first citizen
    /// who is erased, whoever that is.
    Anybody,
}

impl About {
    /// Finds every number in a message.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        let plain = plain(message);
        let mut found = BTreeSet::new();
        for at in number_starts(&plain) {
            found.extend(plain.get(at..).and_then(|rest| spelled(rest, "")));
            if found.len() > MOST {
                return Self::Anybody;
            }
        }
        for after in ends_of_keys(&plain) {
            let near = plain.get(after..).unwrap_or_default();
            let value = near.iter().take(BEHIND_KEY).position(u8::is_ascii_digit).and_then(|at| near.get(at..));
            found.extend(value.and_then(|rest| spelled(rest, "0")));
            if found.len() > MOST {
                return Self::Anybody;
            }
        }
        Self::These(found.into_iter().collect())
    }

    /// Returns the numbers that are told apart.
    #[must_use]
    pub fn numbers(&self) -> &[Personnummer] {
        match self {
            Self::These(numbers) => numbers,
            Self::Anybody => &[],
        }
    }

    /// Returns whether the message goes when the holder of the number is erased.
    #[must_use]
    pub fn may_be(&self, number: &Personnummer) -> bool {
        match self {
            Self::These(numbers) => numbers.contains(number),
            Self::Anybody => true,
        }
    }
}

/// Writes a message without what JSON, a program or an encoding of two bytes a character
/// puts between the digits of a number, or in place of them.
fn plain(message: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(message.len());
    let characters: Vec<u8> = message.iter().copied().filter(|byte| *byte != 0).collect();
    let mut rest = &characters[..];
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (*first, after) {
            (b'\\', [b'\\', ..]) => {}
            (b'\\', [b'u', a, b, c, d, after @ ..]) if [a, b, c, d].iter().all(|digit| digit.is_ascii_hexdigit()) => {
                plain.push(escaped([*a, *b, *c, *d]));
                rest = after;
            }
            (b'\\', [b'n' | b't' | b'r' | b'b' | b'f', after @ ..]) => {
                plain.push(b' ');
                rest = after;
            }
            (b'\\', _) => {}
            // A space that does not break, hyphens and dashes, and the minus sign.
            (0xC2, [0xA0, after @ ..]) => {
                plain.push(b' ');
                rest = after;
            }
            (0xE2, [0x80, 0x90..=0x95, after @ ..] | [0x88, 0x92, after @ ..]) => {
                plain.push(b'-');
                rest = after;
            }
            (byte, _) => plain.push(byte),
        }
    }
    plain
}

/// Returns what an escape stands for, as far as it matters here.
fn escaped(digits: [u8; 4]) -> u8 {
    let code = digits.iter().fold(0, |code, digit| code * 16 + char::from(*digit).to_digit(16).unwrap_or_default());
    match code {
        0xA0 => b' ',
        0x2010..=0x2015 | 0x2212 => b'-',
        code => u8::try_from(code).ok().filter(u8::is_ascii).unwrap_or(b'?'),
    }
}

/// Returns where digits begin that follow none.
fn number_starts(plain: &[u8]) -> impl Iterator<Item = usize> {
    let is_digit = |at: usize| plain.get(at).is_some_and(u8::is_ascii_digit);
    (0..plain.len()).filter(move |at| is_digit(*at) && !at.checked_sub(1).is_some_and(is_digit))
}

/// Returns what comes after each key.
fn ends_of_keys(plain: &[u8]) -> impl Iterator<Item = usize> {
    (0..plain.len()).filter_map(|at| {
        let rest = plain.get(at..)?;
        let is_here = |key: &&&[u8]| rest.get(..key.len()).is_some_and(|word| word.eq_ignore_ascii_case(key));
        KEYS.iter().find(is_here).map(|key| at + key.len())
    })
}

/// Parses the number that begins here after the digits that were `lost`: ten in
/// all and not more, with a hyphen, a space or the like after the day, the month
/// or the year.
fn spelled(rest: &[u8], lost: &str) -> Option<Personnummer> {
    let mut digits = lost.to_owned();
    let mut between = 0;
    for byte in rest {
        match byte {
            b'0'..=b'9' if digits.len() == 10 => return None,
            b'0'..=b'9' => {
                digits.push(char::from(*byte));
                between = 0;
            }
            b'-' | b' ' | b'.' | b'/' if matches!(digits.len(), 2 | 4 | 6) && between < BETWEEN => between += 1,
            _ => break,
        }
    }
    Personnummer::parse(&digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &[u8]) -> Vec<String> {
        About::of(message).numbers().iter().map(|number| number.digits().to_owned()).collect()
    }

    #[test]
    fn finds_a_number_however_it_is_written() {
        let check = |message: &str| {
            assert_eq!(found(message.as_bytes()), ["0101901234"], "{message}");
            let two_bytes: Vec<u8> = message.encode_utf16().flat_map(u16::to_le_bytes).collect();
            if message.is_ascii() {
                assert_eq!(found(&two_bytes), ["0101901234"], "{message} in UTF-16");
            }
        };
        for spelling in [
            "0101901234",
            "010190-1234",
            "010190 1234",
            "010190 - 1234",
            "01 01 90 1234",
            "01.01.90-1234",
            "01/01/90-1234",
            "010190\u{2013}1234",
            "010190\u{a0}1234",
            "\\u0030101901234",
            "010190\\u002d1234",
            "010190\\\\u20111234",
        ] {
            check(spelling);
            check(&format!("{{\"data\":{{\"Personnummer\":\"{spelling}\"}}}}"));
            check(&format!("{{\"data\":\"{{\\\"Personnummer\\\":\\\"{spelling}\\\"}}\"}}"));
            check(&format!("{{\"data\":{{\"NytPersonnummer\" : {spelling}"));
            check(&format!("cpr={spelling};12"));
            check(&format!("2026-03-16 line\\n{spelling}\\n12"));
            check(&format!("<cpr>{spelling}</cpr>"));
            check(&format!("12 {spelling}, 7"));
        }
        check("{\"Personnummer\": 101901234}");
        check("{\"cprNummer\":101901234.0}");
        check("{\\\"PERSONNUMMER\\\":10190-1234");
    }

    #[test]
    fn finds_all_of_them_and_nothing_else() {
        let check = |message: &str, expected: &[&str]| assert_eq!(found(message.as_bytes()), expected, "{message}");
        check(
            "{\"Personnummer\":\"0101901234\",\"Til\":\"020290-1234\",\"x\":[\"6101010001\",\"0101901234\"]}",
            &["0101901234", "0202901234", "6101010001"],
        );
        check("0202901234 0101901234", &["0101901234", "0202901234"]);
        check("0202901234,0101901234", &["0101901234", "0202901234"]);
        check("1742108400000 2026-03-16 01010100011 9901010001 101901234 01019-01234 2026-03-16T09:15:00.123456Z", &[]);
        check("\"Personnummer\"", &[]);
        check("", &[]);
        assert_eq!(found(b"\xff\xfe{\"Personnummer\" : \"0101901234\""), ["0101901234"]);
    }

    #[test]
    fn too_many_are_anybody() {
        let list = |count: usize| (0..count).map(|at| format!("010190{at:04}\n")).collect::<String>();
        assert_eq!(About::of(list(MOST).as_bytes()).numbers().len(), MOST);
        let anybody = About::of(list(MOST + 1).as_bytes());
        assert_eq!(anybody, About::Anybody);
        let number = Personnummer::parse("3112991234").expect("a number");
        assert!(anybody.may_be(&number) && anybody.numbers().is_empty());
        assert!(!About::of(list(MOST).as_bytes()).may_be(&number));
    }
}
