//! Instants, calendar days and periods as plain values. Nothing here can ask
//! what time it is.

use std::fmt;
use std::sync::OnceLock;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::ids::Malformed;

/// An instant, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub i64);

impl Moment {
    /// Parses an RFC 3339 date-time with an offset, as CloudEvents' `time`.
    ///
    /// # Errors
    /// Refuses anything else, a missing offset included, and years outside
    /// 1900 to 2200, which are mistakes rather than registrations.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed =
            Malformed { expected: "expected an RFC 3339 time with an offset, from 1900 to 2199, such as 2026-03-16T08:00:00+01:00" };
        let instant: jiff::Timestamp = text.parse().map_err(|_| EXPECTED)?;
        let moment = Self(instant.as_microsecond());
        if (Self(-2_208_988_800_000_000)..Self(7_258_118_400_000_000)).contains(&moment) { Ok(moment) } else { Err(EXPECTED) }
    }

    /// Returns the instant `seconds` later.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// Returns the instant `millis` milliseconds later.
    #[must_use]
    pub fn plus_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add_unsigned(millis.saturating_mul(1000)))
    }

    /// Parses what clocks in Copenhagen show, such as `2026-03-16T08:00`. Of an
    /// hour that comes twice the first is meant.
    ///
    /// # Errors
    /// Refuses anything else, and years outside 1900 to 2200.
    pub fn parse_on_the_clock(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed { expected: "expected a time of day in Copenhagen, such as 2026-03-16T08:00" };
        let civil: jiff::civil::DateTime = text.parse().map_err(|_| EXPECTED)?;
        let instant = copenhagen().to_timestamp(civil).map_err(|_| EXPECTED)?;
        if (1900..2200).contains(&civil.year()) { Ok(Self(instant.as_microsecond())) } else { Err(EXPECTED) }
    }

    /// Returns what clocks in Copenhagen show, such as `2026-03-16 08:00:00`.
    #[must_use]
    pub fn on_the_clock(self) -> String {
        let instant = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        copenhagen().to_datetime(instant).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// Returns the seconds since `earlier`, never negative.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)).max(0) as f64 / 1e6
    }
}

/// RFC 3339 in UTC, with as many decimals as needed.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

/// A calendar day. All of the domain's days are days in Europe/Copenhagen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// Parses `YYYY-MM-DD`; a time of day after it, as in a date-time, is refused.
    ///
    /// # Errors
    /// Refuses days that do not exist and years before 1850. Far ahead is no
    /// mistake: registers write 9999-12-31 for an open end.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const EXPECTED: Malformed = Malformed { expected: "expected a day that exists, YYYY-MM-DD, from 1850 on" };
        if text.len() != 10
            || !text.as_bytes().iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() })
        {
            return Err(EXPECTED);
        }
        let date: Date = text.parse().map_err(|_| EXPECTED)?;
        if date.year() >= 1850 { Ok(Self(date)) } else { Err(EXPECTED) }
    }

    /// Returns the day that it is in Copenhagen at `moment`, summer time included.
    #[must_use]
    pub fn in_copenhagen(moment: Moment) -> Self {
        let seconds = moment.0.div_euclid(1_000_000);
        match offset_in_copenhagen(seconds) {
            // The same days as in the other branch, which takes ten times as long.
            Some(offset) => Self::from_number(seconds.saturating_add(offset).div_euclid(86_400) as i32).unwrap_or_else(Self::epoch),
            None => {
                let instant = jiff::Timestamp::from_microsecond(moment.0).unwrap_or(jiff::Timestamp::MAX);
                Self(copenhagen().to_datetime(instant).date())
            }
        }
    }

    /// Returns the instant at which the day begins in Copenhagen.
    #[must_use]
    pub fn begins(self) -> Moment {
        // Midnight exists on every day there: clocks change at 02:00 or 03:00.
        Moment(copenhagen().to_timestamp(self.0.at(0, 0, 0, 0)).map_or(0, |t| t.as_microsecond()))
    }

    /// Returns the instant at which clocks in Copenhagen show so many minutes after
    /// midnight on that day; 1440 is the end of it. A time that the clocks skip
    /// is an hour later, one that they show twice is the first of the two.
    #[must_use]
    pub fn at_minute(self, minute: u16) -> Moment {
        if minute >= 1440 {
            return self.next().begins();
        }
        let (hour, minute) = ((minute / 60) as i8, (minute % 60) as i8);
        Moment(copenhagen().to_timestamp(self.0.at(hour, minute, 0, 0)).map_or(0, |t| t.as_microsecond()))
    }

    /// Returns the day of the week, Monday being 1 and Sunday 7.
    #[must_use]
    pub fn weekday(self) -> u8 {
        self.0.weekday().to_monday_one_offset().unsigned_abs()
    }

    /// Returns 1970-01-01.
    #[must_use]
    pub fn epoch() -> Self {
        Self(jiff::civil::date(1970, 1, 1))
    }

    /// Returns the day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.tomorrow().unwrap_or(self.0))
    }

    /// Returns the day before.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.yesterday().unwrap_or(self.0))
    }

    /// Returns the day so many months later. Month ends clip: a month after 31
    /// January is the last of February. Never beyond the last day of 2499.
    #[must_use]
    pub fn plus_months(self, months: u32) -> Self {
        let month0 = u32::try_from(self.0.month() - 1).unwrap_or(0).saturating_add(months);
        let year = i64::from(self.0.year()) + i64::from(month0 / 12);
        let date = i16::try_from(year).ok().filter(|year| *year < 2500).and_then(|year| {
            let first = Date::new(year, i8::try_from(month0 % 12 + 1).ok()?, 1).ok()?;
            Date::new(year, first.month(), self.0.day().min(first.days_in_month())).ok()
        });
        Self(date.unwrap_or_else(Self::last))
    }

    /// Returns the day so many days later. Never beyond the last day of 2499.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        if days == 0 {
            return self;
        }
        let number = i64::from(self.number()) + i64::from(days);
        i32::try_from(number).ok().and_then(Self::from_number).unwrap_or_else(|| Self(Self::last()))
    }

    /// Returns the last day of the month.
    #[must_use]
    pub fn month_end(self) -> Self {
        Self(self.0.last_of_month())
    }

    /// The last day that [`Day::parse`] takes.
    fn last() -> Date {
        jiff::civil::date(2499, 12, 31)
    }

    /// Returns days since 1970-01-01, for storing.
    #[must_use]
    pub fn number(self) -> i32 {
        // In days at the most, which is what dates differ in.
        EPOCH.until(self.0).map_or(0, |span| span.get_days())
    }

    /// Reverses [`Day::number`]; `None` outside the years that `parse` takes.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        let days = jiff::Span::new().try_days(number).ok()?;
        let date = EPOCH.checked_add(days).ok()?;
        (date.year() >= 1850).then_some(Self(date))
    }

    /// Returns the calendar date, for calendar arithmetic.
    #[must_use]
    pub fn date(self) -> Date {
        self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The rules of Danish clocks, from the bundled time zone database: the same
/// on every machine. Read once; it never changes while the process lives.
fn copenhagen() -> &'static TimeZone {
    static ZONE: OnceLock<TimeZone> = OnceLock::new();
    ZONE.get_or_init(|| TimeZone::get("Europe/Copenhagen").expect("the bundled time zone database has Europe/Copenhagen"))
}

/// Returns how many seconds clocks in Copenhagen are ahead of UTC at an instant, in seconds
/// since 1970, of the years 1900 to 2199; `None` outside of these.
fn offset_in_copenhagen(at: i64) -> Option<i64> {
    /// From when on clocks are so many seconds ahead, in order.
    static OFFSETS: OnceLock<Vec<(i64, i64)>> = OnceLock::new();
    const YEARS: std::ops::Range<i64> = -2_208_988_800..7_258_118_400;
    if !YEARS.contains(&at) {
        return None;
    }
    let offsets = OFFSETS.get_or_init(|| {
        let start = jiff::Timestamp::constant(YEARS.start, 0);
        let first = (YEARS.start, i64::from(copenhagen().to_offset(start).seconds()));
        let changes = copenhagen().following(start).map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds())));
        std::iter::once(first).chain(changes.take_while(|(from, _)| *from < YEARS.end)).collect()
    });
    let next = offsets.partition_point(|(from, _)| *from <= at);
    offsets.get(next.checked_sub(1)?).map(|(_, offset)| *offset)
}

/// Whole days from `start` to `end`, both inclusive; without `end`, open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    start: Day,
    end: Option<Day>,
}

impl Period {
    /// Makes a period; `None` when it would end before it begins (R 4.5).
    #[must_use]
    pub fn new(start: Day, end: Option<Day>) -> Option<Self> {
        end.is_none_or(|end| start <= end).then_some(Self { start, end })
    }

    /// Returns the first day.
    #[must_use]
    pub fn start(&self) -> Day {
        self.start
    }

    /// Returns the last day, unless open.
    #[must_use]
    pub fn end(&self) -> Option<Day> {
        self.end
    }

    /// Returns whether `day` lies in the period.
    #[must_use]
    pub fn covers(&self, day: Day) -> bool {
        self.start <= day && self.end.is_none_or(|end| day <= end)
    }

    /// Returns the shortest period that covers both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        let end = self.end.zip(other.end).map(|(one, other)| one.max(other));
        Self { start: self.start.min(other.start), end }
    }

    /// Returns whether the two share at least one day; open ends at infinity.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.end.is_none_or(|end| other.start <= end) && other.end.is_none_or(|end| self.start <= end)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{}..{}", self.start, end),
            None => write!(f, "{}..", self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_show_summer_time() {
        let shown = |text: &str| Moment::parse(text).expect("a time of the test").on_the_clock();
        assert_eq!(shown("2026-03-16T08:00:00Z"), "2026-03-16 09:00:00");
        assert_eq!(shown("2026-07-01T22:30:05.9Z"), "2026-07-02 00:30:05");
        let read = |text: &str| Moment::parse_on_the_clock(text).map(|at| at.to_string());
        assert_eq!(read("2026-07-02T00:30"), Ok("2026-07-01T22:30:00Z".to_owned()));
        assert_eq!(read("2026-10-25T02:30:00"), Ok("2026-10-25T00:30:00Z".to_owned()));
        assert!(read("2026-07-02 25:00").is_err() && read("").is_err() && read("1066-10-14T09:00").is_err());
    }

    fn day(text: &str) -> Day {
        Day::parse(text).expect("a day of the test")
    }

    #[test]
    fn days_begin_at_copenhagen_midnight_over_daylight_saving() {
        let check = |moment: &str, expected: &str| {
            let moment = Moment::parse(moment).expect("a moment of the test");
            assert_eq!(Day::in_copenhagen(moment), day(expected), "{moment}");
        };
        check("2026-03-28T22:59:59Z", "2026-03-28"); // winter, UTC+1
        check("2026-03-28T23:00:00Z", "2026-03-29"); // the night the clocks go forward
        check("2026-03-29T21:59:59Z", "2026-03-29"); // summer, UTC+2
        check("2026-03-29T22:00:00Z", "2026-03-30");
        check("2026-10-24T21:59:59Z", "2026-10-24");
        check("2026-10-24T22:00:00Z", "2026-10-25"); // the night they go back: a day of 25 hours
        check("2026-10-25T22:59:59Z", "2026-10-25");
        check("2026-10-25T23:00:00Z", "2026-10-26");
    }

    #[test]
    fn days_are_those_of_the_time_zone_database() {
        let by_the_database = |moment: Moment| {
            let instant = jiff::Timestamp::from_microsecond(moment.0).expect("within the years there are");
            copenhagen().to_datetime(instant).date()
        };
        // Every quarter of an hour about each midnight, and each change of the clocks, of 400 years.
        for number in day("1850-01-01").number()..day("2250-01-01").number() {
            for quarter in -12..=12 {
                let moment = Moment((i64::from(number) * 86_400 + quarter * 900) * 1_000_000);
                assert_eq!(Day::in_copenhagen(moment).date(), by_the_database(moment), "{moment}");
                let moment = Moment(moment.0 - 1);
                assert_eq!(Day::in_copenhagen(moment).date(), by_the_database(moment), "{moment}");
            }
        }
    }

    #[test]
    fn a_day_begins_where_the_day_before_ends() {
        for (text, begins) in
            [("2026-03-29", "2026-03-28T23:00:00Z"), ("2026-03-30", "2026-03-29T22:00:00Z"), ("2026-10-26", "2026-10-25T23:00:00Z")]
        {
            assert_eq!(day(text).begins().to_string(), begins);
            assert_eq!(Day::in_copenhagen(day(text).begins()), day(text));
            assert_eq!(Day::in_copenhagen(Moment(day(text).begins().0 - 1)), day(text).previous());
        }
    }

    #[test]
    fn the_clock_on_the_wall_is_copenhagen_s() {
        let check = |text: &str, minute, expected: &str| assert_eq!(day(text).at_minute(minute).to_string(), expected, "{text} {minute}");
        check("2026-03-28", 120, "2026-03-28T01:00:00Z");
        check("2026-03-29", 150, "2026-03-29T01:30:00Z"); // skipped: 03:30 in summer
        check("2026-10-25", 150, "2026-10-25T00:30:00Z"); // twice: the first
        check("2026-10-25", 1440, "2026-10-25T23:00:00Z");
        assert_eq!((day("2026-03-16").weekday(), day("2026-03-22").weekday()), (1, 7));
    }

    #[test]
    fn day_numbers_are_reversible() {
        for text in ["1850-01-01", "1969-12-31", "1970-01-01", "2024-02-29", "2499-12-31", "9999-12-31"] {
            assert_eq!(Day::from_number(day(text).number()), Some(day(text)));
        }
    }

    #[test]
    fn refuses_what_is_not_a_day_or_an_instant() {
        for bad in ["", "2026-02-29", "2026-3-16", "16-03-2026", "2026-03-16T08:00:00", "20260316", "0001-01-01"] {
            assert!(Day::parse(bad).is_err(), "{bad}");
        }
        for bad in ["", "2026-03-16", "2026-03-16T08:00:00", "yesterday", "9999-03-16T08:00:00Z"] {
            assert!(Moment::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn overlapping_means_sharing_a_day() {
        let period = |start: &str, end: Option<&str>| Period::new(day(start), end.map(day)).expect("a period of the test");
        let march = period("2026-03-01", Some("2026-03-31"));
        assert!(march.overlaps(&period("2026-03-31", None)));
        assert!(!march.overlaps(&period("2026-04-01", None)));
        assert!(march.overlaps(&period("2020-01-01", None)));
        assert!(!march.overlaps(&period("2020-01-01", Some("2026-02-28"))));
        assert!(Period::new(day("2026-03-02"), Some(day("2026-03-01"))).is_none());
    }
}
