//! What orders the registrations of one record, in whatever order they arrive.

use super::event::{Change, Content, Event};
use super::ids::EventMark;
use super::time::Moment;

/// What orders the registrations of one record: the instant, and where that is
/// the same, first what happened (a recall is later than what it recalls), then
/// the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// When it was registered.
    pub at: Moment,
    /// Aendringstype.
    pub change: u8,
    /// By which event.
    pub mark: EventMark,
}

/// When something was registered, and its Aendringstype: of a [`Stamp`] all but the event.
pub type Instant = (Moment, u8);

impl Stamp {
    /// Returns all of it but the event.
    #[must_use]
    pub fn instant(&self) -> Instant {
        (self.at, self.change)
    }

    /// Returns the place of an event among the registrations of its record; that of
    /// a `GdprSletning` among those of the record that it tells of.
    #[must_use]
    pub fn of(event: &Event) -> Self {
        let change = if matches!(event.content, Content::Deletion { .. }) { Change::Deleted } else { event.change };
        Self { at: event.registered.at, change: change.number(), mark: event.mark }
    }

    /// Returns whether it is of the same event: what is stored from before the
    /// Aendringstype was noted may differ in that.
    #[must_use]
    pub fn is_same_event(&self, other: &Self) -> bool {
        (self.at, self.mark) == (other.at, other.mark)
    }

    /// Returns whether nothing but the event tells the two apart.
    #[must_use]
    pub fn ties_with(&self, other: &Self) -> bool {
        self.instant() == other.instant()
    }
}
