//! "Why would they get this, and why would they not": the decision about an
//! event, without sending anything.

use std::sync::Arc;

use crate::core::citizen::Citizen;
use crate::core::event::Event;
use crate::core::ids::Recipient;
use crate::core::policy::{MessageType, Rules};
use crate::core::routing::{Decision, Question, told_as};
use crate::core::time::{Day, Moment};
use crate::core::today::Today;

/// The decision about an event at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The type as which it would be told; `None` if that is not declared.
    pub kind: Option<Arc<MessageType>>,
    /// The day in Copenhagen that was asked about.
    pub day: Day,
    /// Who, and who not.
    pub decision: Decision,
}

/// Explains the decision about `event` at the instant `at`, on what is known of
/// the citizen now. `citizen` already includes what the event itself changes.
#[must_use]
pub fn explain(event: &Event, citizen: &Citizen, holders: &[Recipient], rules: &Rules, at: Moment) -> Explanation {
    let day = Day::in_copenhagen(at);
    let kind = told_as(event, rules).cloned();
    let decision = match &kind {
        Some(kind) => Question { event, kind, today: &Today::of(citizen, day), holders, rules }.decide(),
        None => Decision::default(),
    };
    Explanation { kind, day, decision }
}
