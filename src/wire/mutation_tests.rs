//! Throws garbled messages at everything that reads bytes.

use super::samples::{every_kind, rules};
use super::{Wsb, decode_event, encode_event, parse_event, write_wsb};
use crate::core::ids::Recipient;
use crate::core::time::Moment;

const SEED: u64 = 0x5eed_0000_0000_0001;
const ROUNDS: usize = 200_000;

/// Parts of the samples that no refusal may show.
const SECRETS: [&str; 7] = ["01010100", "61010100", "fortrolig", "01JQ8ZJ3", "5a0c1f6e", "7b0c1f6e", "kontaktforloeb"];

/// Pieces that turn up where they should not.
const PIECES: [&str; 14] = [
    "null",
    "\"\"",
    "{}",
    "[]",
    "-1",
    "1e999",
    "\"0101010001\"",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\"",
    "}",
    "\"Personnummer\": \"6101010002\",",
    "æ",
];

/// splitmix64: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }
}

fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let at = dice.below(bytes.len());
    match dice.below(7) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
        1 => bytes.truncate(at),
        2 => bytes.insert(at, dice.roll() as u8),
        3 => {
            let end = (at + dice.below(30)).min(bytes.len());
            bytes.drain(at..end);
        }
        4 => {
            let piece = PIECES[dice.below(PIECES.len())].as_bytes();
            bytes.splice(at..at, piece.iter().copied());
        }
        5 => {
            // A value takes the place of another.
            let values: Vec<(usize, usize)> = values(bytes);
            if let (Some(&(from, to)), Some(&(at, end))) = (values.get(dice.below(values.len())), values.get(dice.below(values.len()))) {
                let value = bytes[from..to].to_vec();
                bytes.splice(at..end, value);
            }
        }
        _ => {
            // A value is replaced by a piece.
            let values = values(bytes);
            if let Some(&(from, to)) = values.get(dice.below(values.len())) {
                let piece = PIECES[dice.below(PIECES.len())].as_bytes();
                bytes.splice(from..to, piece.iter().copied());
            }
        }
    }
}

/// Where the values stand, more or less: from a colon to the next comma or brace.
fn values(bytes: &[u8]) -> Vec<(usize, usize)> {
    let ends = |from: usize| bytes[from..].iter().position(|b| matches!(b, b',' | b'}')).map(|len| from + len);
    let starts = bytes.windows(2).enumerate().filter(|(_, pair)| *pair == b": ").map(|(at, _)| at + 2);
    starts.filter_map(|from| Some((from, ends(from)?))).collect()
}

#[test]
fn no_message_causes_a_panic_or_is_quoted_in_its_refusal() {
    let rules = rules();
    let samples = every_kind();
    let mut dice = Dice(SEED);
    let (mut taken, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        let seed = dice.0;
        let mut bytes = samples[dice.below(samples.len())].clone().into_bytes();
        for _ in 0..=dice.below(3) {
            mutate(&mut dice, &mut bytes);
        }
        let at = || format!("round {round}, seed {seed:#x}: {}", String::from_utf8_lossy(&bytes));
        let _ = crate::core::about::About::of(&bytes);
        match parse_event(&bytes, &rules) {
            Ok(event) => {
                taken += 1;
                let mut stored = Vec::new();
                encode_event(&event, &mut stored);
                assert_eq!(decode_event(&stored).as_ref(), Ok(&event), "{}", at());
                let recipient = Recipient::from_number(67).expect("a recipient of the test");
                let wsb = Wsb {
                    event: &event,
                    message_type: rules.message_type(&event.entity).expect("it was parsed"),
                    recipient,
                    id: event.mark.wsb_id(recipient),
                    sent: Moment(0),
                    identification: Some(&event.personnummer),
                };
                assert!(serde_json::from_slice::<serde_json::Value>(&write_wsb(&wsb)).is_ok(), "{}", at());
            }
            Err(refusal) => {
                refused += 1;
                let text = refusal.to_string();
                assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}: {}", at());
                // No run of digits is long enough to be a number of somebody.
                assert!(!text.as_bytes().windows(6).any(|run| run.iter().all(u8::is_ascii_digit)), "{text}: {}", at());
                assert!(text.is_ascii(), "{text}: {}", at());
            }
        }
    }
    assert!(taken > ROUNDS / 20 && refused > ROUNDS / 20, "the mutations are too strong or too weak: {taken} taken, {refused} refused");
}

#[test]
fn no_stored_bytes_cause_a_panic() {
    let rules = rules();
    let mut rows = Vec::new();
    for json in every_kind() {
        let mut row = Vec::new();
        encode_event(&parse_event(json.as_bytes(), &rules).expect("a sample"), &mut row);
        rows.push(row);
    }
    let mut dice = Dice(SEED);
    for round in 0..ROUNDS {
        let seed = dice.0;
        let mut row = rows[dice.below(rows.len())].clone();
        for _ in 0..=dice.below(3) {
            mutate(&mut dice, &mut row);
        }
        if let Ok(event) = decode_event(&row) {
            let mut again = Vec::new();
            encode_event(&event, &mut again);
            assert_eq!(decode_event(&again), Ok(event), "round {round}, seed {seed:#x}: {row:02x?}");
        }
    }
}
