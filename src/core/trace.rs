//! What happened to an event before it was taken in, and to a delivery besides being
//! decided at intake, attempted and ended: what an auditor needs to be told, and nothing decides by.

use super::audit::Action;
use super::ids::Recipient;
use super::outbox::{Attempt, Because, Death, Ended, Withdrawal};

use super::replay::{Replay, ReplayId};
use super::routing::LeftOut;
use super::time::Moment;

/// One thing that happened to a delivery, or to its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It took the place of another recipient's, which had lost the citizen.
    TookOver {
        /// Whose.
        from: Recipient,
        /// Why it was chosen instead.
        because: Because,
    },
    /// It was decided again, before an attempt, by another registration or rule
    /// than before.
    DecidedAnew {
        /// Why it is still chosen.
        because: Because,
    },
    /// It was taken back, for this reason.
    NotEntitled(LeftOut),
    /// It was taken back, or not sent again, because an event said that its record is
    /// gone.
    RecordDeleted {
        /// The id of that event.
        event_id: Box<str>,
        /// When that was taken in, if it was before this step.
        taken_in: Option<Moment>,
    },
    /// It came back after it had been published.
    CameBack {
        /// Why.
        why: Death,
        /// When it had been delivered, if that was known by then.
        delivered_at: Option<Moment>,
    },
    /// It began anew because an operator asked for it; what it had been through.
    Replayed {
        /// When and why it had been given up; `None` if it had been delivered.
        died: Option<(Moment, Death)>,
        /// How many attempts there had been.
        attempts: u32,
        /// The latest failed ones.
        failures: Vec<Attempt>,
        /// By which replay; not known of those of an older broker.
        by: Option<ByReplay>,
    },
    /// An operator asked for it to be sent again, and it was not: its recipient
    /// was not entitled to it any more, or its record is gone.
    ReplayedInVain {
        /// Why.
        why: Withdrawal,
        /// When and why it had been given up; `None` if it had been delivered, and
        /// stays so.
        died: Option<(Moment, Death)>,
        /// By which replay; not known of those of an older broker.
        by: Option<ByReplay>,
    },
    /// Somebody did something to it.
    Acted {
        /// What.
        action: Action,
        /// The name of the token; only for those who may see it.
        who: Box<str>,
    },
    /// The event had lain in quarantine, as a message that could not be one: the only
    /// step that is of no delivery.
    LayInQuarantine(Stay),
    /// It ended, and was taken up again since, or ended in another way after all. At the
    /// moment of that end.
    Ended(Ended),
    /// Withdrawn without an attempt that is known, and yet it may have been sent: the
    /// broker had been stopped without notice. Whoever it was for counts as a holder.
    MayHaveBeenSent,
}

/// A stay in quarantine that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stay {
    /// The number that the message had there.
    pub id: u64,
    /// Since when.
    pub since: Moment,
    /// What was wrong and where, without anything of what the message said.
    pub reason: Box<str>,
    /// How it ended.
    pub end: StayEnd,
    /// The name of the token that ended it; only for those who may see it.
    pub who: Box<str>,
}

/// How a stay in quarantine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StayEnd {
    /// The event was taken in from there.
    TakenIn,
    /// It was tried once more, when the event had come in another way already.
    Repeat,
    /// It was given up, when the event had come in another way already.
    Discarded,
}

impl StayEnd {
    /// Returns the stable word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TakenIn => "retried",
            Self::Repeat => "repeat",
            Self::Discarded => "discarded",
        }
    }
}

/// The replay by which a delivery was to be sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByReplay {
    /// Which.
    pub replay: ReplayId,
    /// The name of the token that ordered it; only for those who may see it.
    pub who: Box<str>,
}

impl ByReplay {
    /// Returns what is told of a replay.
    #[must_use]
    pub fn of(replay: &Replay) -> Self {
        Self { replay: replay.id, who: replay.order.by.clone() }
    }
}

impl Step {
    /// Returns a number that tells kinds apart, and orders what happened at the
    /// same instant. Part of the store format.
    #[must_use]
    pub fn number(&self) -> u8 {
        match self {
            Self::CameBack { .. } => 0,
            Self::Acted { .. } => 1,
            Self::Replayed { .. } => 2,
            Self::NotEntitled(_) => 3,
            Self::RecordDeleted { .. } => 4,
            Self::TookOver { .. } => 5,
            Self::DecidedAnew { .. } => 6,
            Self::ReplayedInVain { .. } => 7,
            Self::LayInQuarantine(_) => 8,
            Self::Ended(_) => 9,
            Self::MayHaveBeenSent => 10,
        }
    }
}

/// The most stays in quarantine that are kept of one event: a message that is told
/// again and again must not make a trace without end.
pub const MOST_STAYS: usize = 20;

/// A step, of which delivery and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// Whose delivery of the event; `None` of the event itself.
    pub recipient: Option<Recipient>,
    /// When.
    pub at: Moment,
    /// What.
    pub step: Step,
}
