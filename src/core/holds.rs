//! Orders to leave something alone: a recipient's queue for a time, or one lane
//! of it until further notice.
//!
//! What is held waits. It is not attempted, and the time allowed for retries does
//! not count against it: that begins anew when the hold is over. Who is entitled
//! goes on being decided meanwhile.

use std::fmt;

use super::ids::{Malformed, Recipient, WsbId};
use super::outbox::Lane;
use super::time::Moment;

/// What is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Held {
    /// Everything to a recipient: the queue is paused.
    Queue(Recipient),
    /// One lane to a recipient: it is parked.
    Lane(Recipient, Lane),
}

/// An order, or what is left of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// In force.
    Active {
        /// Since when.
        since: Moment,
        /// Until when; without it, until further notice.
        until: Option<Moment>,
        /// Why, in the words of whoever ordered it.
        why: Why,
        /// The delivery by which the lane was named; `None` for a queue.
        named: Option<WsbId>,
    },
    /// Over; kept for as long as the time allowed for retries counts from here.
    Over {
        /// Since when.
        at: Moment,
    },
}

/// The longest reason that anybody can give for anything, in characters.
pub const LONGEST_WHY: usize = 500;

/// A person's reason. May say more than it should: never printed, stored sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct Why(Box<str>);

impl Why {
    /// Parses a reason: 1 to 500 characters in one line, as any reason is.
    ///
    /// # Errors
    /// Refuses anything else, and what could hold a personnummer: reasons are
    /// shown where personnumre are not.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > LONGEST_WHY || text.chars().any(char::is_control) {
            return Err(Malformed { expected: "expected a reason of 1 to 500 characters in one line" });
        }
        let mut digits = 0;
        for c in text.chars() {
            match c {
                _ if c.is_numeric() => digits += 1,
                ' ' | '-' | '.' | '/' => {}
                _ => digits = 0,
            }
            if digits >= 10 {
                return Err(Malformed { expected: "expected a reason without a personnummer, or anything like one" });
            }
        }
        Ok(Self(text.into()))
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Why(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_never_holds_a_personnummer() {
        for good in ["new version of the vendor's system", " case 4711 ", "until 2026-03-16", "å", &"x".repeat(500)] {
            assert!(Why::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "  ", "two\nlines", "0101901234", "about 010190-1234", "01 01 90 12 34", &"x".repeat(501)] {
            assert!(Why::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(format!("{:?}", Why::parse("secret").expect("a reason")), "Why(..)");
    }
}
