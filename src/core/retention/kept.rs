//! A clock among the others of its citizen, and in front of it the little that is asked of
//! all of them at every event. The clocks themselves lie all over memory: to look at each
//! of them took most of the time that an event about somebody with many records took.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::clocks::Clock;
use crate::core::schedule::{Schedule, Start};
use crate::core::time::Day;

/// A clock as it is kept: shared with the state before until it is changed.
#[derive(Clone)]
pub struct Kept {
    clock: Arc<Clock>,
    /// What is known of the clock without looking at it; nothing of one that was read or
    /// changed since it was last [settled](super::Clocks::settle).
    brief: Option<Brief>,
}

/// What can be told of a clock by itself and the rules.
#[derive(Debug, Clone, Copy)]
struct Brief {
    /// [`ExternalId::digest`](crate::core::ids::ExternalId::digest) of the record.
    digest: u64,
    /// The fingerprint of the rules.
    schedule: u64,
    /// Whether a rule names its type.
    is_named: bool,
    /// When its own rule makes it due; `None` where that depends on the citizen as well.
    own_day: Option<Option<Day>>,
    has_order: bool,
    has_elements: bool,
    names_later_version: bool,
}

impl Kept {
    /// Returns whether the two are one clock, without looking at it: if not, they may
    /// still be equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.clock, &other.clock)
    }

    /// Returns whether it may be of the record whose id has that digest.
    pub(super) fn may_be_of(&self, digest: u64) -> bool {
        self.brief.is_none_or(|brief| brief.digest == digest)
    }

    pub(super) fn has_order(&self) -> bool {
        self.brief.map_or_else(|| self.order.is_some(), |brief| brief.has_order)
    }

    /// Returns whether it has elements, listed or not listed any more.
    pub(super) fn has_elements(&self) -> bool {
        self.brief.map_or_else(|| self.clock.has_elements(), |brief| brief.has_elements)
    }

    /// Returns whether it is a plan that names its later version.
    pub(super) fn names_later_version(&self) -> bool {
        self.brief.map_or_else(|| self.later_version.is_some(), |brief| brief.names_later_version)
    }

    /// Returns whether a rule names records of its type.
    pub(super) fn is_named(&self, schedule: &Schedule) -> bool {
        self.brief_by(schedule).map_or_else(|| schedule.names(&self.entity), |brief| brief.is_named)
    }

    /// Returns when its own rule makes it due, if that is known without looking at it.
    pub(super) fn own_day(&self, schedule: &Schedule) -> Option<Option<Day>> {
        self.brief_by(schedule)?.own_day
    }

    /// Looks at it once, for all that is asked of it later.
    pub(super) fn look_at(&mut self, schedule: &Schedule) {
        if self.brief_by(schedule).is_some() {
            return;
        }
        let clock = &*self.clock;
        let own_day = match schedule.rule_for(&clock.entity, &clock.details) {
            Some(rule) if matches!(rule.from, Start::PensionAge | Start::Death) => None,
            Some(rule) => Some(clock.runs_from(rule.from).map(|from| rule.period.after(from).next())),
            None => Some(None),
        };
        self.brief = Some(Brief {
            digest: clock.external_id.digest(),
            schedule: schedule.fingerprint(),
            is_named: schedule.names(&clock.entity),
            own_day,
            has_order: clock.order.is_some(),
            has_elements: clock.has_elements(),
            names_later_version: clock.later_version.is_some(),
        });
    }

    fn brief_by(&self, schedule: &Schedule) -> Option<&Brief> {
        self.brief.as_ref().filter(|brief| brief.schedule == schedule.fingerprint())
    }
}

impl From<Clock> for Kept {
    fn from(clock: Clock) -> Self {
        Self { clock: Arc::new(clock), brief: None }
    }
}

impl Deref for Kept {
    type Target = Clock;

    fn deref(&self) -> &Clock {
        &self.clock
    }
}

/// Whoever can change it may change all that is known of it.
impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut Clock {
        self.brief = None;
        Arc::make_mut(&mut self.clock)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.clock == other.clock
    }
}

impl Eq for Kept {}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.clock.fmt(f)
    }
}
