//! A citizen on one day: what every decision about it asks, worked out once, however
//! many WSBs wait to be decided about.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::citizen::{Citizen, History, InForce, Registration, Standing};
use super::event::PlanKind;
use super::ids::{ExternalId, Recipient};
use super::policy::Audience;
use super::routing::{LeftOut, Suppression};
use super::time::{Day, Moment};

/// Someone that an audience might name.
#[derive(Debug, Clone)]
pub(super) enum Candidate {
    /// By this registration.
    Entitled(Recipient, Option<(ExternalId, Moment)>),
    /// Not, for this reason.
    Not(LeftOut),
}

/// A citizen as known now, seen from a day.
#[derive(Debug)]
pub struct Today<'a> {
    citizen: &'a Citizen,
    day: Day,
    funds: OnceCell<Vec<Candidate>>,
    jobcentres: OnceCell<Vec<Candidate>>,
    residences: OnceCell<Vec<Candidate>>,
    jobcentres_ever: OnceCell<Vec<Candidate>>,
    funds_since_first_placement: OnceCell<Vec<Candidate>>,
    contact_groups: OnceCell<BTreeSet<i64>>,
    plan: OnceCell<Option<PlanKind>>,
    is_dead: OnceCell<bool>,
}

impl<'a> Today<'a> {
    /// Looks at a citizen from a day in Copenhagen.
    #[must_use]
    pub fn of(citizen: &'a Citizen, day: Day) -> Self {
        Self {
            citizen,
            day,
            funds: OnceCell::new(),
            jobcentres: OnceCell::new(),
            residences: OnceCell::new(),
            jobcentres_ever: OnceCell::new(),
            funds_since_first_placement: OnceCell::new(),
            contact_groups: OnceCell::new(),
            plan: OnceCell::new(),
            is_dead: OnceCell::new(),
        }
    }

    /// Returns the citizen.
    #[must_use]
    pub fn citizen(&self) -> &'a Citizen {
        self.citizen
    }

    /// Returns the day.
    #[must_use]
    pub fn day(&self) -> Day {
        self.day
    }

    /// Returns whether the citizen is dead.
    pub(super) fn is_dead(&self) -> bool {
        *self.is_dead.get_or_init(|| self.citizen.died().is_some_and(|died| died <= self.day))
    }

    /// Returns whether the citizen is in one of these contact groups.
    pub(super) fn is_in_contact_group(&self, groups: &[i64]) -> bool {
        let today = self.contact_groups.get_or_init(|| self.citizen.contact_groups_on(self.day).collect());
        groups.iter().any(|group| today.contains(group))
    }

    /// Returns the kind of the plan in force.
    pub(super) fn plan(&self) -> Option<PlanKind> {
        *self.plan.get_or_init(|| self.citizen.plan_on(self.day).map(|(_, kind)| kind))
    }

    /// Returns whether `recipient` has the citizen today, in any of the ways in
    /// which an authority can have one.
    pub(super) fn has_citizen(&self, recipient: Recipient) -> bool {
        let is_it = |candidate: &Candidate| matches!(candidate, Candidate::Entitled(entitled, _) if *entitled == recipient);
        match recipient {
            Recipient::Akasse(_) => self.funds().iter().any(is_it),
            Recipient::Kommune(_) => self.jobcentres().iter().chain(self.residences()).any(is_it),
        }
    }

    /// Returns whose member the citizen is, and who lost it.
    pub(super) fn funds(&self) -> &[Candidate] {
        let audience = Audience::AkasseOwnMembers;
        self.funds.get_or_init(|| current(audience, &self.citizen.memberships, self.day, |fund| Recipient::Akasse(*fund)))
    }

    /// Returns whose jobcentre has the citizen, and whose has not any more.
    pub(super) fn jobcentres(&self) -> &[Candidate] {
        let kommune = |jobcentre: &super::ids::Jobcenterkode| Recipient::Kommune(jobcentre.kommune());
        self.jobcentres.get_or_init(|| current(Audience::JobcenterOwnCitizens, &self.citizen.jobcentres, self.day, kommune))
    }

    /// Returns where the citizen lives, and lived before.
    pub(super) fn residences(&self) -> &[Candidate] {
        let audience = Audience::KommuneOwnResidents;
        self.residences.get_or_init(|| current(audience, &self.citizen.residences, self.day, |kommune| Recipient::Kommune(*kommune)))
    }

    /// Returns everybody whose jobcentre has ever had the citizen.
    pub(super) fn jobcentres_ever(&self) -> &[Candidate] {
        self.jobcentres_ever.get_or_init(|| {
            // One that is to have the citizen later has not had them.
            let had = self.citizen.jobcentres.standing().filter(|(_, claim)| claim.period.start() <= self.day);
            each_once(had.map(|(registration, claim)| (Recipient::Kommune(claim.value.kommune()), Some(because(registration)))))
        })
    }

    /// Returns every fund that has had the citizen since the first placement in
    /// kontaktgruppe 1.
    pub(super) fn funds_since_first_placement(&self) -> &[Candidate] {
        self.funds_since_first_placement.get_or_init(|| {
            let Some(first) = self.citizen.first_placement().filter(|first| *first <= self.day) else { return Vec::new() };
            let had = self
                .citizen
                .memberships
                .standing()
                .filter(|(_, claim)| claim.period.end().is_none_or(|end| first <= end) && claim.period.start() <= self.day);
            each_once(had.map(|(registration, claim)| (Recipient::Akasse(claim.value), Some(because(registration)))))
        })
    }
}

impl Candidate {
    pub(super) fn unknown(audience: Audience) -> Self {
        Self::Not(LeftOut { audience, recipient: None, why: Suppression::UnknownMembership, registration: None })
    }
}

pub(super) fn because<T>(registration: &Registration<T>) -> (ExternalId, Moment) {
    (registration.external_id.clone(), registration.registered.at)
}

/// Returns who has the citizen on `day`; and, so that it can be seen and
/// counted, who had until then and would have been told by mistake.
fn current<T: Clone + PartialEq>(
    audience: Audience,
    history: &History<T>,
    day: Day,
    recipient: impl Fn(&T) -> Recipient,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let in_force = history.on(day, &recipient);
    match &in_force {
        InForce::One(registration, value) => candidates.push(Candidate::Entitled(recipient(value), Some(because(registration)))),
        InForce::Ended => {}
        InForce::Unknown => candidates.push(Candidate::unknown(audience)),
        InForce::Contradictory(registrations) => {
            // Each of them left out by name, each once.
            let mut named = BTreeSet::new();
            for registration in registrations.iter().copied() {
                let Some(claim) = registration.claim() else { continue };
                if named.insert(recipient(&claim.value)) {
                    candidates.push(Candidate::Not(LeftOut {
                        audience,
                        recipient: Some(recipient(&claim.value)),
                        why: Suppression::ContradictoryMembership,
                        registration: Some(because(registration)),
                    }));
                }
            }
            return candidates;
        }
    }
    if let Some((registration, value)) = history.latest_not_in_force(day) {
        // One that would cover the day by itself has been overridden: that decided.
        let is_overridden =
            matches!(&registration.standing, Standing::Holds(claim) | Standing::Contradicted(claim) if claim.period.covers(day));
        let decided = match in_force {
            InForce::One(newer, _) if is_overridden => because(newer),
            InForce::One(..) | InForce::Ended | InForce::Unknown | InForce::Contradictory(_) => because(registration),
        };
        candidates.push(Candidate::Not(LeftOut {
            audience,
            recipient: Some(recipient(value)),
            why: Suppression::NotMember,
            registration: Some(decided),
        }));
    } else if candidates.is_empty() {
        // Something is known, all of it of days to come.
        candidates.push(Candidate::unknown(audience));
    }
    candidates
}

pub(super) fn each_once(recipients: impl Iterator<Item = (Recipient, Option<(ExternalId, Moment)>)>) -> Vec<Candidate> {
    let mut named = BTreeSet::new();
    recipients
        .filter(|(recipient, _)| named.insert(*recipient))
        .map(|(recipient, registration)| Candidate::Entitled(recipient, registration))
        .collect()
}
