//! Times as text: the strict reading of CloudEvents' `time`, and the writing of
//! a time of known shape.

use crate::core::event::Registered;
use crate::core::ids::Malformed;
use crate::core::time::Moment;

/// How a time was written, apart from the instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Digits after the decimal point; 0 for none, and no point then.
    pub(super) decimals: u8,
    /// Minutes east of UTC; `None` for `Z`.
    pub(super) offset: Option<i32>,
}

/// UTC with milliseconds: how the broker writes its own times.
pub(super) const MILLISECONDS_UTC: Shape = Shape { decimals: 3, offset: None };

/// Parses `YYYY-MM-DDTHH:MM:SS`, at most nine decimals, and `Z` or `+HH:MM`.
/// Stricter than [`Moment::parse`], which takes other ISO 8601 as well, because
/// the text is sent on as it came.
pub(super) fn registered(text: &str) -> Result<Registered, Malformed> {
    let at = Moment::parse(text)?;
    match shape(text) {
        Some(_) => Ok(Registered { at, text: text.into() }),
        None => Err(Malformed {
            expected: "expected a time written as 2026-03-16T08:00:00+01:00 or ending in Z: capitals, at most nine decimals, seconds up to 59",
        }),
    }
}

/// Returns the shape of `text`; `None` when it is not RFC 3339.
pub(super) fn shape(text: &str) -> Option<Shape> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let right = date_time.iter().zip(b"0000-00-00T00:00:00").all(|(byte, like)| match like {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    });
    if !right {
        return None;
    }
    let (decimals, zone) = match rest.split_first()? {
        (b'.', rest) => {
            let decimals = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (u8::try_from(decimals).ok().filter(|n| (1..=9).contains(n))?, rest.get(decimals..)?)
        }
        _ => (0, rest),
    };
    // The text is sent on as it came, so whatever a receiver's parser may choke
    // on is refused, though ours may know what is meant: leap seconds, of which
    // there will be no more, and offsets that no clock has.
    if &date_time[17..] > b"59".as_slice() {
        return None;
    }
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    match *zone {
        [b'Z'] => Some(Shape { decimals, offset: None }),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let minutes = hours * 60 + minutes;
            Some(Shape { decimals, offset: Some(if sign == b'-' { -minutes } else { minutes }) })
        }
        _ => None,
    }
}

/// Writes `at` in that shape; decimals beyond six are zeros. Instants outside
/// the years 0 to 9999 are written as the nearest inside: RFC 3339 has no other.
pub(super) fn write(out: &mut Vec<u8>, at: Moment, shape: Shape) {
    let offset = i64::from(shape.offset.unwrap_or(0)) * 60_000_000;
    let local = at.0.saturating_add(offset).clamp(-62_167_219_200_000_000, 253_402_300_799_999_999);
    let (year, month, day) = civil(local.div_euclid(86_400_000_000));
    let micros = local.rem_euclid(86_400_000_000);
    let seconds = micros / 1_000_000;
    digits(out, year, 4);
    for (mark, number) in [(b'-', month), (b'-', day), (b'T', seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        out.push(mark);
        digits(out, number, 2);
    }
    if shape.decimals > 0 {
        out.push(b'.');
        let start = out.len();
        digits(out, micros % 1_000_000, 6);
        out.resize(start + usize::from(shape.decimals), b'0');
    }
    match shape.offset {
        None => out.push(b'Z'),
        Some(minutes) => {
            out.push(if minutes < 0 { b'-' } else { b'+' });
            digits(out, i64::from(minutes.abs() / 60), 2);
            out.push(b':');
            digits(out, i64::from(minutes.abs() % 60), 2);
        }
    }
}

/// Writes the last `count` digits of a number that is not negative.
fn digits(out: &mut Vec<u8>, number: i64, count: u32) {
    for place in (0..count).rev() {
        let digit = number / 10_i64.pow(place) % 10;
        out.push(b'0' + digit as u8);
    }
}

/// Returns year, month and day of a number of days since 1970-01-01, in the
/// proleptic Gregorian calendar. Counts years from March, so that the leap day
/// is the last of its year, and eras of 400 years, which are all alike.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let era = since_march_0000.div_euclid(146_097);
    let day_of_era = since_march_0000.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_back_what_it_read() {
        for text in [
            "2026-03-16T08:00:00+01:00",
            "2026-03-16T08:00:00Z",
            "2026-03-16T08:00:00.5Z",
            "2026-03-16T08:00:00.123456-09:30",
            "1999-12-31T23:59:59.000+00:00",
            "2000-02-29T00:00:00Z",
            "1900-03-01T00:00:00+14:00",
            "2100-02-28T23:00:00-00:30",
        ] {
            let registered = registered(text).expect(text);
            let mut written = Vec::new();
            write(&mut written, registered.at, shape(text).expect("it was read"));
            assert_eq!(String::from_utf8_lossy(&written), text);
        }
    }

    #[test]
    fn every_day_is_the_day_that_the_calendar_has() {
        for days in (-25_000..80_000).step_by(13).chain([-719_528, 2_932_895]) {
            let at = Moment(days * 86_400_000_000);
            let mut written = Vec::new();
            write(&mut written, at, Shape { decimals: 0, offset: None });
            assert_eq!(String::from_utf8_lossy(&written), at.to_string());
        }
    }

    #[test]
    fn any_instant_can_be_written() {
        for at in [i64::MIN, i64::MAX, -1, 0] {
            let mut written = Vec::new();
            write(&mut written, Moment(at), MILLISECONDS_UTC);
            assert_eq!(written.len(), 24);
        }
    }

    #[test]
    fn refuses_what_is_not_rfc_3339() {
        for text in [
            "",
            "2026-03-16",
            "2026-03-16T08:00:00",
            "2026-03-16 08:00:00Z",
            "2026-03-16T08:00Z",
            "20260316T080000Z",
            "2026-03-16T08:00:00+01",
            "2026-03-16T08:00:00+0100",
            "2026-03-16T08:00:00.Z",
            "2026-03-16T08:00:00.1234567890Z",
            "2026-03-16T08:00:00+01:00[Europe/Copenhagen]",
            "2026-02-30T08:00:00Z",
            "2026-03-16T25:00:00Z",
            "2026-03-16T08:00:00+99:99",
            "2026-03-16T08:00:00+25:00",
            "2026-03-16T08:00:00+01:60",
            "2026-03-16T08:00:60Z",
            "+002026-03-16T08:00:00Z",
        ] {
            assert!(registered(text).is_err(), "{text}");
        }
    }
}
