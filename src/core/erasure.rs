//! What the broker has about one citizen, and what has to be done for it to have
//! nothing; and whether there is still a reason to know the citizen at all.
//!
//! Decides and names; what is named is removed by whoever stores it.

use std::collections::BTreeMap;

use super::citizen::Citizen;
use super::event::Content;
use super::ids::{CitizenId, DeliveryKey, Recipient};
use super::outbox::{Delivery, State};
use super::records::Change;
use super::time::{Day, Moment};

/// Everything that goes when a citizen is erased. What the store keeps under the
/// citizen without the engine's asking goes with [`Change::Erase`]: numbers, the
/// ledger, messages in quarantine that seem to be about one of the numbers, how
/// deliveries ended, and what the journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The citizen, then the others that turned out to be this person.
    pub citizens: Vec<CitizenId>,
    /// What is unfinished, dead ones included: withdrawn.
    pub withdraw: Vec<Delivery>,
    /// Records whose deletion is waited for.
    pub clocks: usize,
    /// How much is known.
    pub registrations: Registrations,
}

/// How many registrations of each kind are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registrations {
    /// Of membership of an a-kasse.
    pub memberships: usize,
    /// Of a jobcentre.
    pub jobcentres: usize,
    /// Of a residence.
    pub residences: usize,
    /// Of a contact group.
    pub contact_groups: usize,
    /// Of plans.
    pub plans: usize,
    /// Of a death.
    pub deaths: usize,
}

/// Why a citizen was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An operator ordered it.
    Order,
    /// The last retained record has been deleted.
    LastRecord,
}

/// What keeps a citizen from being forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Keeps {
    /// Records that have not been deleted.
    Records,
    /// Deliveries that are unfinished, the notices of the deletion among them, and
    /// what was withdrawn while under way, until its outcome is known: see [`keeps`].
    Deliveries,
    /// Messages in quarantine that wait for an operator: see [`attended_since`].
    Quarantine,
    /// A membership, jobcentre, residence, contact group or plan that holds or is
    /// yet to begin: whoever is entitled would not be found any more.
    Registrations,
    /// Copies of a record that has gone, while its tombstone stands: should DFDG delete
    /// what it recalled, whoever holds one is to be told (GDPR article 19).
    Copies,
}

/// How many days after its death a delivery, and after it came a message in quarantine,
/// keeps somebody: as long as a tombstone stands. Whatever nobody has looked at by then goes with
/// the citizen.
const UNATTENDED_DAYS: i64 = 28;

/// Returns since when what waits for an operator keeps whoever it is about.
#[must_use]
pub fn attended_since(now: Moment) -> Moment {
    now.plus_seconds(-UNATTENDED_DAYS * 86_400)
}

/// Returns whether a delivery keeps the citizen that it is about. A notice of a deletion does as long
/// as it has not been delivered or withdrawn: whoever holds a copy is to be told (GDPR article 19).
#[must_use]
pub fn keeps(delivery: &Delivery, now: Moment) -> bool {
    match delivery.state {
        State::Dead { at, .. } => at >= attended_since(now) || matches!(delivery.event.content, Content::Deletion { .. }),
        State::Pending | State::Retrying { .. } => true,
    }
}

/// What is known about a citizen besides the registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownBesides {
    /// Whether DFDG has a record of the citizen's, as far as is known.
    pub has_records: bool,
    /// Whether a delivery [keeps](keeps) them, or was withdrawn and is still under way.
    pub has_unfinished: bool,
    /// Whether a message in quarantine keeps them.
    pub has_quarantined: bool,
}

/// Names everything to remove.
#[must_use]
pub fn plan(citizen: &Citizen, mut unfinished: Vec<Delivery>, clocks: usize) -> Plan {
    unfinished.sort_by_key(|delivery| delivery.key);
    Plan {
        citizens: citizen.ids().collect(),
        withdraw: unfinished,
        clocks,
        registrations: Registrations {
            memberships: citizen.memberships.registrations().len(),
            jobcentres: citizen.jobcentres.registrations().len(),
            residences: citizen.residences.registrations().len(),
            contact_groups: citizen.contact_groups.registrations().len(),
            plans: citizen.plans.registrations().len(),
            deaths: citizen.deaths.registrations().len(),
        },
    }
}

impl Plan {
    /// Returns what is dead, and what is unfinished otherwise.
    pub fn by_state(&self) -> (Vec<DeliveryKey>, Vec<DeliveryKey>) {
        let is_dead = |delivery: &&Delivery| matches!(delivery.state, State::Dead { .. });
        let (dead, waiting): (Vec<&Delivery>, Vec<&Delivery>) = self.withdraw.iter().partition(is_dead);
        let keys = |of: Vec<&Delivery>| of.into_iter().map(|delivery| delivery.key).collect();
        (keys(dead), keys(waiting))
    }

    /// Returns who has not been told of deletions, and of how many: their notices go with
    /// the rest, and nobody sends them any more.
    #[must_use]
    pub fn untold(&self) -> BTreeMap<Recipient, usize> {
        let mut untold = BTreeMap::new();
        for delivery in &self.withdraw {
            let is_notice = matches!(delivery.event.content, Content::Deletion { .. });
            // One that is sent again has been delivered.
            if is_notice && delivery.delivered_before.is_none() {
                *untold.entry(delivery.key.recipient).or_default() += 1;
            }
        }
        untold
    }

    /// Returns the change after which the store knows nothing of the citizen;
    /// everything unfinished must have been withdrawn before.
    #[must_use]
    pub fn last_change(&self) -> Option<Change> {
        self.citizens.first().map(|citizen| Change::Erase(*citizen))
    }
}

/// Returns what keeps a citizen from being forgotten on `today`; nothing once
/// there is no purpose left. The dead are not kept by their registrations.
#[must_use]
pub fn kept_by(citizen: &Citizen, known: &KnownBesides, today: Day) -> Option<Keeps> {
    let KnownBesides { has_records, has_unfinished, has_quarantined } = *known;
    if has_records {
        return Some(Keeps::Records);
    }
    if has_unfinished {
        return Some(Keeps::Deliveries);
    }
    if has_quarantined {
        return Some(Keeps::Quarantine);
    }
    let is_over = citizen.unneeded_from().is_some_and(|from| from <= today);
    if is_over { None } else { Some(Keeps::Registrations) }
}

#[cfg(test)]
mod tests {
    use super::super::event::Content;
    use super::super::event::{Change as Happened, Event};
    use super::super::ids::{Akassekode, Kommunekode, Personnummer};
    use super::super::samples::{day, event};
    use super::*;

    fn citizen(events: &[Event]) -> Citizen {
        let mut citizen = Citizen::new(CitizenId(1), Personnummer::parse("0101901234").expect("a number"));
        for event in events {
            let (super::super::citizen::Folded::Changed | super::super::citizen::Folded::Unchanged) = citizen.fold(event);
        }
        citizen
    }

    #[test]
    fn a_citizen_is_kept_for_a_purpose_only() {
        let check = |events: &[Event], on: &str, expected: Option<Keeps>| {
            let citizen = citizen(events);
            let nothing = KnownBesides::default();
            let quarantined = KnownBesides { has_quarantined: true, ..nothing };
            let unfinished = KnownBesides { has_unfinished: true, ..quarantined };
            assert_eq!(kept_by(&citizen, &nothing, day(on)), expected, "on {on}");
            assert_eq!(kept_by(&citizen, &quarantined, day(on)), Some(Keeps::Quarantine));
            assert_eq!(kept_by(&citizen, &unfinished, day(on)), Some(Keeps::Deliveries));
            assert_eq!(kept_by(&citizen, &KnownBesides { has_records: true, ..unfinished }, day(on)), Some(Keeps::Records));
        };
        let fund = || Content::Membership { fund: Some(Akassekode::parse("067").expect("a fund")) };
        let lives = Content::Residence { kommune: Some(Kommunekode::parse("860").expect("a kommune")) };
        let ended = event("a", 1, Happened::Created, "2026-01-01..2026-03-16", fund());
        let open = event("b", 1, Happened::Created, "2026-01-01..", fund());
        let recalled = event("b", 2, Happened::Deleted, "..", Content::Membership { fund: None });
        let residence = event("c", 1, Happened::Created, "2020-01-01..", lives);
        let death = event("d", 1, Happened::Created, "..", Content::Death { on: Some(day("2026-04-01")) });
        check(&[], "2026-03-16", None);
        check(std::slice::from_ref(&ended), "2026-03-16", Some(Keeps::Registrations));
        check(std::slice::from_ref(&ended), "2026-03-17", None);
        check(std::slice::from_ref(&open), "2036-03-17", Some(Keeps::Registrations));
        check(&[open.clone(), recalled], "2026-03-17", None);
        check(&[ended.clone(), residence.clone()], "2026-03-17", Some(Keeps::Registrations));
        // Death ends the purpose of whatever is still open.
        check(&[open.clone(), residence.clone(), death.clone()], "2026-03-31", Some(Keeps::Registrations));
        check(&[open, residence, death], "2026-04-01", None);
    }

    #[test]
    fn the_plan_names_all_numbers() {
        let other = Citizen::new(CitizenId(7), Personnummer::parse("0101901235").expect("a number"));
        let one = Citizen::as_one(&[citizen(&[]).into(), other.into()]).expect("somebody");
        let plan = plan(&one, Vec::new(), 0);
        assert_eq!(plan.citizens, [CitizenId(1), CitizenId(7)]);
        assert_eq!(plan.last_change(), Some(Change::Erase(CitizenId(1))));
    }
}
