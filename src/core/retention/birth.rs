//! The day of birth that a personnummer tells.

use crate::core::ids::Personnummer;
use crate::core::time::Day;

/// Returns the day of birth. The century follows from the seventh digit; an
/// administrative number (day 61 to 91) is that of the day 60 less. Somebody
/// born on 29 February of a year without one counts as born on the 28th.
#[must_use]
pub fn born(personnummer: &Personnummer) -> Day {
    let digits = personnummer.digits();
    let two = |at: usize| digits.get(at..at + 2).and_then(|two| two.parse::<u32>().ok()).unwrap_or_default();
    let (day, month, year) = (two(0), two(2), personnummer.year());
    let day = if day > 60 { day - 60 } else { day };
    let first = Day::parse(&format!("{year:04}-{month:02}-01"));
    // The constructor of a personnummer has seen to it that the month exists.
    let first = first.unwrap_or_else(|_| Day::epoch());
    first.plus_days(day.saturating_sub(1)).min(first.month_end())
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::{day, number};
    use super::*;

    /// DOMAIN.md: 0-3: 19xx; 4 and 9: 20xx for years 00-36, else 19xx; 5-8: 20xx
    /// for years 00-57, else 18xx.
    #[test]
    fn the_seventh_digit_tells_the_century() {
        let check = |digits: &str, expected: &str| assert_eq!(born(&number(digits)), day(expected), "{digits}");
        check("0101000234", "1900-01-01");
        check("3112993234", "1999-12-31");
        check("0101364234", "2036-01-01");
        check("0101374234", "1937-01-01");
        check("0101009234", "2000-01-01");
        check("0101369234", "2036-01-01");
        check("0101379234", "1937-01-01");
        check("0101575234", "2057-01-01");
        check("0101585234", "1858-01-01");
        check("0101578234", "2057-01-01");
        check("0101998234", "1899-01-01");
        check("6101901234", "1990-01-01");
        check("9112901234", "1990-12-31");
        check("2902001234", "1900-02-28");
        check("2902004234", "2000-02-29");
    }
}
