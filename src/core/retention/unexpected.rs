//! Deletions that DFDG has carried out and the rules did not expect, for an
//! operator to look into: something is deleted too early, or the rules here are
//! not those that DFDG goes by.

use super::due::{Blocker, DeletionTold};
use crate::core::event::Event;
use crate::core::ids::{CitizenId, EventSeq, ExternalId};
use crate::core::time::{Day, Moment};

/// How many are kept at the most; the oldest go.
pub const MOST_UNEXPECTED: u64 = 10_000;

/// Why a deletion was not expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Surprise {
    /// It was not due yet.
    Early,
    /// It was due, and waited for something.
    Blocked,
    /// Nothing was known of such a record.
    UnknownRecord,
    /// It was due and free, but in another data area, or not for a death.
    OtherGround,
}

impl Surprise {
    /// Every one, in the order of their numbers in stored rows.
    pub const ALL: [Self; 4] = [Self::Early, Self::Blocked, Self::UnknownRecord, Self::OtherGround];

    /// Returns the word for it in metrics, the API and the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Blocked => "blocked",
            Self::UnknownRecord => "unknown_record",
            Self::OtherGround => "other_ground",
        }
    }
}

impl DeletionTold {
    /// Returns why it was not expected; `None` for one that was.
    #[must_use]
    pub fn surprise(&self) -> Option<Surprise> {
        match self {
            Self::Expected => None,
            Self::Early(_) => Some(Surprise::Early),
            Self::Blocked(_) => Some(Surprise::Blocked),
            Self::UnknownRecord => Some(Surprise::UnknownRecord),
            Self::OtherGround => Some(Surprise::OtherGround),
        }
    }
}

/// A deletion that the rules did not expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unexpected {
    /// The place of the event that told of it.
    pub seq: EventSeq,
    /// Whose record it was.
    pub citizen: CitizenId,
    /// When the broker heard of it.
    pub at: Moment,
    /// The data area.
    pub area: Box<str>,
    /// EntitetNavn of the record.
    pub entity: Box<str>,
    /// Why.
    pub why: Surprise,
    /// Which record; nothing once the citizen has been erased.
    pub record: Option<Deleted>,
}

/// What leads to the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The id of the event that told of it.
    pub event_id: Box<str>,
    /// EksternIdentifier.
    pub external_id: ExternalId,
    /// When it would have been due, if that is known.
    pub due: Option<Day>,
    /// What it waited for, as the API writes it.
    pub blocked_by: Vec<Box<str>>,
}

impl Unexpected {
    /// Makes a note of a deletion; `None` of one that was expected.
    #[must_use]
    pub fn of(
        event: &Event,
        area: &str,
        entity: &str,
        told: &DeletionTold,
        (seq, citizen): (EventSeq, CitizenId),
        at: Moment,
    ) -> Option<Self> {
        let (due, blocked_by) = match told {
            DeletionTold::Early(due) => (*due, Vec::new()),
            DeletionTold::Blocked(blockers) => (None, blockers.iter().map(|blocker: &Blocker| blocker.as_str().into()).collect()),
            DeletionTold::Expected | DeletionTold::UnknownRecord | DeletionTold::OtherGround => (None, Vec::new()),
        };
        let record = Deleted { event_id: event.id.clone(), external_id: event.external_id.clone(), due, blocked_by };
        Some(Self { seq, citizen, at, area: area.into(), entity: entity.into(), why: told.surprise()?, record: Some(record) })
    }
}
