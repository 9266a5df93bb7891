//! Why a message cannot be an event: a typed reason, the field, and what was
//! expected there. Made of our own words, names of our own tables and
//! positions only, so that it can be logged, listed and counted.

use std::borrow::Cow;
use std::fmt;

use crate::core::ids::Malformed;

/// The kind of mistake. Each has a word that is stable: quarantine listings and
/// metrics carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not JSON, or not UTF-8.
    NotJson,
    /// JSON, but not a CloudEvent 1.0 of DFDG's.
    NotCloudEvent,
    /// An EntitetNavn that `routing.toml` does not declare.
    UnknownEntity,
    /// Personnummer or NytPersonnummer is not one.
    MalformedPersonnummer,
    /// A code that is not of the shape of its code list.
    MalformedCode,
    /// The code of a kommune or an a-kasse that does not exist.
    UnknownAuthority,
    /// A Dataomraade that no deletion notice and no rule covers.
    UnknownDataArea,
    /// Slutdato before Startdato.
    EndsBeforeStart,
    /// Larger than an event may be.
    OverSize,
    /// Another field is not what it must be.
    MalformedField,
    /// A field that must be there is not.
    MissingField,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::NotJson,
        Self::NotCloudEvent,
        Self::UnknownEntity,
        Self::MalformedPersonnummer,
        Self::MalformedCode,
        Self::UnknownAuthority,
        Self::UnknownDataArea,
        Self::EndsBeforeStart,
        Self::OverSize,
        Self::MalformedField,
        Self::MissingField,
    ];

    /// Returns the stable word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotCloudEvent => "not-cloudevent",
            Self::UnknownEntity => "unknown-entity",
            Self::MalformedPersonnummer => "malformed-personnummer",
            Self::MalformedCode => "malformed-code",
            Self::UnknownAuthority => "unknown-authority",
            Self::UnknownDataArea => "unknown-data-area",
            Self::EndsBeforeStart => "ends-before-start",
            Self::OverSize => "over-size",
            Self::MalformedField => "malformed-field",
            Self::MissingField => "missing-field",
        }
    }

    /// Parses the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.word() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A refused message. Displays as `reason: field: what was expected`, without
/// anything that stood in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {}{}{expected}", .path, if .path.is_empty() { "" } else { ": " })]
pub struct Refusal {
    reason: Reason,
    path: &'static str,
    expected: Cow<'static, str>,
}

impl Refusal {
    /// Makes a refusal. `expected` must not be made of the message: a constant,
    /// or one with names of our own tables or a position in it.
    pub(super) fn new(reason: Reason, path: &'static str, expected: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, path, expected: expected.into() }
    }

    /// Makes the refusal of a field whose parser refused.
    pub(super) fn malformed(reason: Reason, path: &'static str, malformed: Malformed) -> Self {
        Self::new(reason, path, malformed.expected)
    }

    /// Returns the kind of mistake.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns the field, such as `data.Personnummer`; empty when the mistake is
    /// that of the message as a whole.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// Returns what was expected there.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_reversible() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.word()), Some(reason));
        }
        assert_eq!(Reason::parse("other"), None);
    }

    #[test]
    fn names_the_field_when_there_is_one() {
        let display = |path| Refusal::new(Reason::MissingField, path, "required").to_string();
        assert_eq!(display("data"), "missing-field: data: required");
        assert_eq!(display(""), "missing-field: required");
    }
}
