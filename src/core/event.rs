//! What the outside world told us, after validation: a domain event of DFDG.
//!
//! Does not know JSON; `wire` makes events, and refuses what cannot be one.

use std::sync::Arc;

use super::ids::{Akassekode, EventMark, ExternalId, Jobcenterkode, Kommunekode, Personnummer};
use super::stamp::Stamp;
use super::time::{Day, Moment, Period};

/// Aendringstype: what happened to the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// 1: created.
    Created,
    /// 2: updated.
    Updated,
    /// 3: deleted or recalled (tilbagekaldt).
    Deleted,
}

impl Change {
    /// Returns the number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Created => 1,
            Self::Updated => 2,
            Self::Deleted => 3,
        }
    }

    /// Reverses [`Change::number`].
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Created),
            2 => Some(Self::Updated),
            3 => Some(Self::Deleted),
            _ => None,
        }
    }
}

/// When DFDG registered the event: the instant, and the text it came as, which
/// is sent on unchanged as `Haendelsestidspunkt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The instant.
    pub at: Moment,
    /// The RFC 3339 text.
    pub text: Box<str>,
}

/// The authority that made the registration; not always a recipient (N).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registrar {
    /// `kommune`, `akasse` or another word of DFDG's.
    pub kind: Box<str>,
    /// Its code, as it came.
    pub code: Box<str>,
}

/// The kind of a plan. A-kasser may be told of activities under the first two
/// only (N, Min plan og aktiviteter).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PlanKind {
    /// `Jobplan`
    Jobplan,
    /// `UddannelsesplanMedJobmaal`
    UddannelsesplanMedJobmaal,
    /// `Uddannelsesplan`
    Uddannelsesplan,
    /// `AndenPlan`
    AndenPlan,
}

impl PlanKind {
    /// Every kind, with its name on the wire and in `routing.toml`.
    pub const ALL: [(&'static str, Self); 4] = [
        ("Jobplan", Self::Jobplan),
        ("UddannelsesplanMedJobmaal", Self::UddannelsesplanMedJobmaal),
        ("Uddannelsesplan", Self::Uddannelsesplan),
        ("AndenPlan", Self::AndenPlan),
    ];

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobplan => "Jobplan",
            Self::UddannelsesplanMedJobmaal => "UddannelsesplanMedJobmaal",
            Self::Uddannelsesplan => "Uddannelsesplan",
            Self::AndenPlan => "AndenPlan",
        }
    }
}

/// What of `Indhold` the broker itself acts on. A recall (`Change::Deleted`)
/// may come without the details that it recalls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Akassemedlemskab: a membership period.
    Membership {
        /// The fund. Absent only in a recall.
        fund: Option<Akassekode>,
    },
    /// Jobcentertilknytning: which jobcentre is responsible.
    Jobcentre {
        /// The jobcentre. Absent only in a recall.
        jobcentre: Option<Jobcenterkode>,
    },
    /// Bopaelskommune: where the citizen lives.
    Residence {
        /// The kommune. Absent only in a recall.
        kommune: Option<Kommunekode>,
    },
    /// Personnummerskift: the citizen has a new number.
    NumberChange {
        /// The number from now on. Absent only in a recall.
        new: Option<Personnummer>,
    },
    /// PersonDoed.
    Death {
        /// The day of death. Absent only in a recall.
        on: Option<Day>,
    },
    /// Kontaktgruppe: a contact-group period.
    ContactGroup {
        /// The group. Absent only in a recall.
        group: Option<i64>,
        /// The group before it, where the event says so.
        former: Option<i64>,
    },
    /// Plan: the citizen's plan.
    Plan {
        /// The kind. Absent only in a recall.
        kind: Option<PlanKind>,
        /// The version that replaced this one, if any.
        later_version: Option<ExternalId>,
    },
    /// GdprSletning: a record has been deleted in DFDG.
    Deletion {
        /// The data area: the id of a retention rule.
        area: Box<str>,
        /// What kind of record it was.
        entity: Box<str>,
        /// Whether it was deleted because the citizen is dead.
        after_death: bool,
    },
    /// RigsarkivAflevering: an area of this citizen has been handed over.
    HandedOver {
        /// The data area; a recall need not say it.
        area: Option<Box<str>>,
    },
    /// Any other type: nothing in it concerns the broker.
    Other,
}

/// Who owns a persongruppemarkering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// `kommunal`
    Municipal,
    /// `statslig`
    State,
}

impl Owner {
    /// Both, with their names on the wire.
    pub const ALL: [(&'static str, Self); 2] = [("kommunal", Self::Municipal), ("statslig", Self::State)];

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, owner)| *owner)
    }
}

/// What of `Indhold` deletion rules depend on. Read for the types that have a
/// rule; a member that is absent is not known. Not kept with the event: what is
/// needed of it is kept with the clock of the record.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details {
    /// `Ejer`
    pub owner: Option<Owner>,
    /// `FravaerTypeId`
    pub absence: Option<i64>,
    /// `Virksomhedsrettet`
    pub with_company: Option<bool>,
    /// `Besvaret`
    pub answered: Option<Day>,
    /// `Afsendt`
    pub sent: Option<Day>,
    /// `SenestOpdateret`
    pub updated: Option<Day>,
    /// `SagAfsluttet`
    pub case_closed: Option<Day>,
    /// The last day of `Maaned`.
    pub month_end: Option<Day>,
    /// `Elementer`
    pub elements: Option<Vec<ExternalId>>,
    /// Whether there was no `Indhold` at all: what was told before stands.
    pub unsaid: bool,
}

/// One domain event, valid by construction of `wire`: the type is declared, the
/// codes are in use, and no period ends before it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What tells it apart: `source` and `id`.
    pub mark: EventMark,
    /// CloudEvents `source`.
    pub source: Box<str>,
    /// CloudEvents `id`.
    pub id: Box<str>,
    /// EntitetNavn.
    pub entity: Arc<str>,
    /// Aendringstype.
    pub change: Change,
    /// CloudEvents `time`: the registration time.
    pub registered: Registered,
    /// EksternIdentifier.
    pub external_id: ExternalId,
    /// VersionIdentifier.
    pub version_id: Option<Box<str>>,
    /// The citizen, by the number that the event carries; it may be a former one.
    pub personnummer: Personnummer,
    /// RegistrerendeMyndighed.
    pub registrar: Option<Registrar>,
    /// Startdato.
    pub start: Option<Day>,
    /// Slutdato.
    pub end: Option<Day>,
    /// What the broker acts on.
    pub content: Content,
    /// What deletion rules depend on; taken out when the event is taken in.
    pub details: Option<Box<Details>>,
    /// `Indhold` as compact JSON, kept only for types whose payload is `body`.
    pub body: Option<Box<str>>,
}

impl Event {
    /// Returns the period that the event is about. Without Startdato it begins
    /// on the day of registration, or on Slutdato where that is earlier.
    #[must_use]
    pub fn period(&self) -> Period {
        let registered = Day::in_copenhagen(self.registered.at);
        let start = self.start.unwrap_or_else(|| self.end.map_or(registered, |end| end.min(registered)));
        // `wire` quarantines Slutdato before Startdato, so this cannot refuse.
        Period::new(start, self.end).unwrap_or_else(|| Period::new(start, None).expect("an open period never ends before it begins"))
    }

    /// Returns the EntitetNavn of the record that it is about: of a deletion, that of
    /// what was deleted.
    #[must_use]
    pub fn record_entity(&self) -> &str {
        let Content::Deletion { entity, .. } = &self.content else { return &self.entity };
        entity
    }

    /// Returns whether both are about one record: EksternIdentifier alone does not tell,
    /// records of two types may share it.
    #[must_use]
    pub fn is_about_record_of(&self, other: &Self) -> bool {
        self.external_id == other.external_id && self.record_entity() == other.record_entity()
    }

    /// Returns whether it is the end of a record: a recall, or a deletion.
    #[must_use]
    pub fn ends_record(&self) -> bool {
        self.change == Change::Deleted || matches!(self.content, Content::Deletion { .. })
    }

    /// Returns whether it takes back what waits about another event: the record
    /// that it points at is gone (R 5.1). A recall may arrive after a newer
    /// registration of the same record, which then stands; a GdprSletning is the
    /// end of it in any order.
    #[must_use]
    pub fn takes_back(&self, event: &Self) -> bool {
        if self.external_id != event.external_id {
            return false;
        }
        if let Content::Deletion { entity, .. } = &self.content {
            return **entity == *event.entity;
        }
        self.change == Change::Deleted && self.entity == event.entity && Stamp::of(event) <= Stamp::of(self)
    }
}
