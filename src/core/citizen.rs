//! Folds the events that change a citizen into one record, and answers "who,
//! on this day".
//!
//! Two times are kept apart: the period for which something holds, and the
//! instant at which it was registered. For one `EksternIdentifier` the newest
//! registration wins ([`Stamp`]), in whatever order they arrive, so that repeats and
//! late arrivals change nothing wrongly. Memberships that only the event tells apart
//! contradict one another where they differ. Nothing is computed ahead: every question
//! is answered from the registrations when it is asked.

use std::cmp::Ordering;
use std::sync::Arc;

use super::event::{Change, Content, Event, PlanKind};
use super::ids::{Akassekode, CitizenId, ExternalId, Jobcenterkode, Kommunekode, Personnummer};
use super::stamp::{Instant, Stamp};
use super::time::{Day, Moment, Period};

/// The newest known registration of one record of DFDG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration<T> {
    /// The record.
    pub external_id: ExternalId,
    /// When it was registered, and by which event.
    pub registered: Stamp,
    /// Whether it holds.
    pub standing: Standing<T>,
}

/// Whether what was registered still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing<T> {
    /// It holds.
    Holds(Claim<T>),
    /// Several registrations, of which none is newer, say different things: it is
    /// nobody's until it is registered anew. The days are all of theirs, the value
    /// is that of one of them.
    Contradicted(Claim<T>),
    /// It was recalled (tilbagekaldt), and counts for nothing. What the record
    /// said before is kept where it is known, to tell whom it concerned.
    Recalled(Option<Former<T>>),
}

/// What a registration says, and for which days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<T> {
    /// The days.
    pub period: Period,
    /// What holds on them.
    pub value: T,
}

/// What a recalled record said last before its recall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former<T> {
    /// When that was registered, and by which event. What only the recall says is
    /// older than everything.
    pub registered: Stamp,
    /// What it said.
    pub claim: Claim<T>,
}

/// A plan as far as routing depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its kind.
    pub kind: PlanKind,
    /// The version that replaced it, if any.
    pub later_version: Option<ExternalId>,
}

/// All registrations of one kind, at most one per record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History<T>(Vec<Registration<T>>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Clone> Registration<T> {
    /// Returns what the record says, or said last before it was recalled.
    #[must_use]
    pub fn claim(&self) -> Option<&Claim<T>> {
        match &self.standing {
            Standing::Holds(claim) | Standing::Contradicted(claim) => Some(claim),
            Standing::Recalled(former) => former.as_ref().map(|former| &former.claim),
        }
    }

    /// Keeps what an older registration of a recalled record said, if it is the
    /// newest of the older ones; returns whether that is news.
    fn remember_former(&mut self, older: Self) -> bool {
        let Standing::Recalled(former) = &mut self.standing else { return false };
        let older = match older.standing {
            Standing::Holds(claim) | Standing::Contradicted(claim) => Former { registered: older.registered, claim },
            Standing::Recalled(Some(older)) => older,
            Standing::Recalled(None) => return false,
        };
        if former.as_ref().is_some_and(|known| known.registered >= older.registered) {
            return false;
        }
        *former = Some(older);
        true
    }

    /// Returns the record as it stands if it has not been recalled, or stood before.
    fn unrecalled(&self) -> Option<Self> {
        let (registered, standing) = match &self.standing {
            Standing::Holds(_) | Standing::Contradicted(_) => (self.registered, self.standing.clone()),
            Standing::Recalled(former) => {
                let former = former.as_ref()?;
                (former.registered, Standing::Holds(former.claim.clone()))
            }
        };
        Some(Self { external_id: self.external_id.clone(), registered, standing })
    }
}

impl<T: Clone + PartialEq> Registration<T> {
    /// Returns what two registrations of one record say together that only the event
    /// tells apart; `None` where one is newer.
    fn tied(&self, other: &Self) -> Option<Self> {
        let is_recalled = |one: &Self| matches!(one.standing, Standing::Recalled(_));
        // Of one event what holds comes after what it took from somebody else.
        let place = |one: &Self| (one.registered, !is_recalled(one));
        let (older, newer) = if place(self) < place(other) { (self, other) } else { (other, self) };
        if is_recalled(newer) {
            return None;
        }
        let older = older.unrecalled().filter(|older| older.registered.ties_with(&newer.registered))?;
        let (old, new) = (older.claim()?, newer.claim()?);
        let is_known = |one: &Self| matches!(one.standing, Standing::Contradicted(_));
        let differs = old.value != new.value || old.period.end() != new.period.end() || is_known(&older) || is_known(newer);
        let claim = Claim { period: old.period.hull(new.period), value: new.value.clone() };
        let standing = if differs { Standing::Contradicted(claim) } else { Standing::Holds(claim) };
        Some(Self { external_id: newer.external_id.clone(), registered: newer.registered, standing })
    }
}

impl<T: Clone + PartialEq> History<T> {
    /// Rebuilds a history from its registrations as they were stored.
    #[must_use]
    pub fn from_registrations(registrations: Vec<Registration<T>>) -> Self {
        Self(registrations)
    }

    /// Returns the registrations, in order of first arrival.
    #[must_use]
    pub fn registrations(&self) -> &[Registration<T>] {
        &self.0
    }

    /// Takes in a registration; returns whether anything changed.
    fn record(&mut self, mut new: Registration<T>) -> bool {
        let Some(known) = self.0.iter_mut().find(|known| known.external_id == new.external_id) else {
            self.0.push(new);
            return true;
        };
        if known.registered.is_same_event(&new.registered) {
            return match (&known.standing, &new.standing) {
                (Standing::Holds(_) | Standing::Contradicted(_), _) => false,
                // One event says one thing; that it does not hold is said by it
                // only where the record turned out to be somebody else's, and
                // these two are one person after all.
                (Standing::Recalled(_), Standing::Holds(_) | Standing::Contradicted(_)) => {
                    *known = new;
                    true
                }
                (Standing::Recalled(_), Standing::Recalled(_)) => known.remember_former(new),
            };
        }
        if known.registered < new.registered {
            std::mem::swap(known, &mut new);
            known.remember_former(new);
            return true;
        }
        known.remember_former(new)
    }

    /// Takes in a registration of a kind of record where registrations that only the
    /// event tells apart contradict one another; returns whether anything changed.
    fn record_or_contradict(&mut self, new: Registration<T>) -> bool {
        let known = self.0.iter_mut().find(|known| known.external_id == new.external_id);
        let Some((known, both)) = known.and_then(|known| known.tied(&new).map(|both| (known, both))) else {
            return self.record(new);
        };
        let is_news = *known != both;
        *known = both;
        is_news
    }

    /// Takes in that DFDG has deleted a record: what is known of it by now holds no
    /// more, and is forgotten. Only what was registered later than all of that, the
    /// deletion included, holds anew.
    fn delete(&mut self, external_id: &ExternalId, by: Stamp) -> bool {
        let Some(known) = self.0.iter_mut().find(|known| known.external_id == *external_id) else { return false };
        let registered = by.max(known.registered);
        let gone = Registration { external_id: external_id.clone(), registered, standing: Standing::Recalled(None) };
        let is_news = *known != gone;
        *known = gone;
        is_news
    }

    /// Returns the registration of a record, recalled or not.
    #[must_use]
    pub fn of_record(&self, external_id: &ExternalId) -> Option<&Registration<T>> {
        self.0.iter().find(|registration| registration.external_id == *external_id)
    }

    /// Returns the registrations that cover `day` and whose start is the latest:
    /// one, none, or several that begin on the same day.
    fn in_force(&self, day: Day) -> Vec<(&Registration<T>, &Claim<T>)> {
        let mut found: Vec<(&Registration<T>, &Claim<T>)> = Vec::new();
        for (registration, claim) in self.unrecalled().filter(|(_, claim)| claim.period.covers(day)) {
            match found.first().map(|(_, best)| best.period.start().cmp(&claim.period.start())) {
                Some(Ordering::Greater) => {}
                Some(Ordering::Equal) => found.push((registration, claim)),
                Some(Ordering::Less) | None => found = vec![(registration, claim)],
            }
        }
        found
    }

    /// Returns the registrations that hold.
    pub fn standing(&self) -> impl Iterator<Item = (&Registration<T>, &Claim<T>)> {
        self.unrecalled().filter(|(registration, _)| matches!(registration.standing, Standing::Holds(_)))
    }

    /// Returns the registrations that have not been recalled: those that hold, and
    /// those that contradict one another.
    fn unrecalled(&self) -> impl Iterator<Item = (&Registration<T>, &Claim<T>)> {
        self.0.iter().filter_map(|registration| match &registration.standing {
            Standing::Holds(claim) | Standing::Contradicted(claim) => Some((registration, claim)),
            Standing::Recalled(_) => None,
        })
    }

    /// Returns the registration, recalled ones included, that a system would go
    /// by that had not noticed what is in force on `day`: of those that are not
    /// in force, the one that began last. One that a later one has replaced is
    /// not in force, though nobody may have closed it.
    #[must_use]
    pub fn latest_not_in_force(&self, day: Day) -> Option<(&Registration<T>, &T)> {
        let latest = self.in_force(day).first().map(|(_, claim)| claim.period.start());
        let is_in_force = |registration: &Registration<T>, claim: &Claim<T>| {
            !matches!(registration.standing, Standing::Recalled(_)) && claim.period.covers(day) && Some(claim.period.start()) == latest
        };
        self.0
            .iter()
            .filter_map(|registration| registration.claim().map(|claim| (registration, claim)))
            .filter(|(registration, claim)| claim.period.start() <= day && !is_in_force(registration, claim))
            .max_by_key(|(registration, claim)| (claim.period.start(), registration.registered))
            .map(|(registration, claim)| (registration, &claim.value))
    }

    /// Returns what is in force on `day`, and why not where nothing is. Claims
    /// that `means` takes for the same do not contradict one another: two
    /// jobcentres of one kommune are that kommune.
    #[must_use]
    pub fn on<K: PartialEq>(&self, day: Day, means: impl Fn(&T) -> K) -> InForce<'_, T> {
        let found = self.in_force(day);
        // Of several that say the same the newest, whatever order they came in.
        let newest = found.iter().max_by_key(|(registration, _)| registration.registered);
        let Some((registration, claim)) = newest else {
            return if self.unrecalled().next().is_some() { InForce::Ended } else { InForce::Unknown };
        };
        let is_contradicted = |of: &Registration<T>| matches!(of.standing, Standing::Contradicted(_));
        if found.iter().any(|(of, other)| is_contradicted(of) || means(&other.value) != means(&claim.value)) {
            return InForce::Contradictory(found.into_iter().map(|(registration, _)| registration).collect());
        }
        InForce::One(registration, &claim.value)
    }

    /// Takes over the registrations of another history (a changed personnummer).
    fn absorb(&mut self, other: &Self, record: impl Fn(&mut Self, Registration<T>) -> bool) {
        for registration in &other.0 {
            record(self, registration.clone());
        }
    }
}

/// What a history says of one day.
#[derive(Debug, PartialEq, Eq)]
pub enum InForce<'a, T> {
    /// This, by this registration.
    One(&'a Registration<T>, &'a T),
    /// Nothing, though something is known of other days.
    Ended,
    /// Nothing is known of any day.
    Unknown,
    /// Several that begin on the same day and differ, or one that contradicts itself
    /// (*ours*: send to none).
    Contradictory(Vec<&'a Registration<T>>),
}

/// What is known of one citizen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citizen {
    /// The citizen inside the broker.
    pub id: CitizenId,
    /// The other ids of a person who is known under several numbers, by
    /// [`Citizen::as_one`]. Empty in what is stored: of each number by itself.
    pub also: Vec<CitizenId>,
    /// The personnummer; the current one of a person who has had several.
    pub personnummer: Personnummer,
    /// Membership of a-kasser.
    pub memberships: History<Akassekode>,
    /// Jobcentertilknytning.
    pub jobcentres: History<Jobcenterkode>,
    /// Bopælskommune.
    pub residences: History<Kommunekode>,
    /// Kontaktgrupper.
    pub contact_groups: History<i64>,
    /// Plans.
    pub plans: History<Plan>,
    /// The day of death.
    pub deaths: History<()>,
    /// Who the citizen is under the number that has taken this one's place.
    pub number_changes: History<CitizenId>,
    /// The first day in kontaktgruppe 1 that a contact group said which DFDG has deleted
    /// since: it outlives the record, as the citizen's CV may.
    pub placed_from: Option<Day>,
}

/// A kind of record that may turn out to be somebody else's: a registration
/// under the wrong number is corrected to the right one, and then holds for the
/// first citizen no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordKind {
    /// Akassemedlemskab.
    Membership,
    /// Jobcentertilknytning.
    Jobcentre,
    /// Bopaelskommune.
    Residence,
    /// Kontaktgruppe.
    ContactGroup,
    /// Plan.
    Plan,
    /// PersonDoed.
    Death,
    /// Personnummerskift.
    NumberChange,
}

impl RecordKind {
    /// Returns the kind of record that an event registers, if it is one of these: of
    /// those that may change who receives what, and hence are taken in ahead of
    /// everything else (R 2.10, rule 3).
    #[must_use]
    pub fn of(content: &Content) -> Option<Self> {
        match content {
            Content::Membership { .. } => Some(Self::Membership),
            Content::Jobcentre { .. } => Some(Self::Jobcentre),
            Content::Residence { .. } => Some(Self::Residence),
            Content::ContactGroup { .. } => Some(Self::ContactGroup),
            Content::Plan { .. } => Some(Self::Plan),
            Content::Death { .. } => Some(Self::Death),
            Content::NumberChange { .. } => Some(Self::NumberChange),
            Content::Deletion { .. } | Content::HandedOver { .. } | Content::Other => None,
        }
    }

    /// Returns the kind of record of that EntitetNavn whose deletion, by a
    /// GdprSletning, ends what it says: of those that a deletion rule covers.
    #[must_use]
    pub fn ended_by_deletion(entity: &str) -> Option<Self> {
        match entity {
            "Kontaktgruppe" => Some(Self::ContactGroup),
            "Plan" => Some(Self::Plan),
            _ => None,
        }
    }

    /// Returns the number that stands for the kind in stored keys. Stable for ever.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Membership => 0,
            Self::Jobcentre => 1,
            Self::Residence => 2,
            Self::ContactGroup => 3,
            Self::Plan => 4,
            Self::Death => 5,
            Self::NumberChange => 6,
        }
    }
}

/// The contact group of whoever gets dagpenge.
const PLACED: i64 = 1;

fn earliest(one: Option<Day>, other: Option<Day>) -> Option<Day> {
    one.into_iter().chain(other).min()
}

/// What an event did to a citizen's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Folded {
    /// The record has changed.
    Changed,
    /// The event said nothing new.
    Unchanged,
}

/// Returns what an event registers.
fn registration<T>(event: &Event, value: Option<T>, period: Period) -> Registration<T> {
    let registered = Stamp::of(event);
    let claim = value.map(|value| Claim { period, value });
    let standing = match (event.change, claim) {
        (Change::Created | Change::Updated, Some(claim)) => Standing::Holds(claim),
        // Anything that the record said itself counts for more.
        (Change::Deleted, Some(claim)) => {
            let registered = Stamp { at: Moment(i64::MIN), change: Change::Created.number(), ..registered };
            Standing::Recalled(Some(Former { registered, claim }))
        }
        // Without a value only a recall is let through by `wire`.
        (Change::Created | Change::Updated | Change::Deleted, None) => Standing::Recalled(None),
    };
    Registration { external_id: event.external_id.clone(), registered, standing }
}

impl Citizen {
    /// Returns a citizen of whom nothing but a number is known.
    #[must_use]
    pub fn new(id: CitizenId, personnummer: Personnummer) -> Self {
        Self {
            id,
            also: Vec::new(),
            personnummer,
            memberships: History::default(),
            jobcentres: History::default(),
            residences: History::default(),
            contact_groups: History::default(),
            plans: History::default(),
            deaths: History::default(),
            number_changes: History::default(),
            placed_from: None,
        }
    }

    /// Takes in an event about this citizen.
    ///
    /// A change of number is not folded here, since it concerns two numbers:
    /// see [`Citizen::renumber`].
    pub fn fold(&mut self, event: &Event) -> Folded {
        let period = event.period();
        let changed = match &event.content {
            Content::Membership { fund } => self.memberships.record_or_contradict(registration(event, *fund, period)),
            Content::Jobcentre { jobcentre } => self.jobcentres.record(registration(event, *jobcentre, period)),
            Content::Residence { kommune } => self.residences.record(registration(event, *kommune, period)),
            Content::ContactGroup { group, .. } => self.contact_groups.record(registration(event, *group, period)),
            Content::Plan { kind, later_version } => {
                let plan = kind.map(|kind| Plan { kind, later_version: later_version.clone() });
                self.plans.record(registration(event, plan, period))
            }
            Content::Death { on } => {
                let died = on.and_then(|day| Period::new(day, None));
                self.deaths.record(registration(event, died.map(|_| ()), died.unwrap_or(period)))
            }
            Content::NumberChange { .. } | Content::Deletion { .. } | Content::HandedOver { .. } | Content::Other => false,
        };
        if changed { Folded::Changed } else { Folded::Unchanged }
    }

    /// Takes in a change of this number: the citizen is `new` under the number
    /// that takes its place. A recall needs not say which it was.
    pub fn renumber(&mut self, event: &Event, new: Option<CitizenId>) -> Folded {
        // Of what a recalled change said nothing is needed: it was never told.
        let new = new.filter(|_| event.change != Change::Deleted);
        let changed = self.number_changes.record(registration(event, new, event.period()));
        if changed { Folded::Changed } else { Folded::Unchanged }
    }

    /// Returns who the citizen is under other numbers by the changes of this one
    /// that stand.
    pub fn renumbered_to(&self) -> impl Iterator<Item = CitizenId> + '_ {
        self.number_changes.standing().map(|(_, claim)| claim.value)
    }

    /// Returns when a record of the kind was registered last, as far as it is
    /// this citizen's.
    #[must_use]
    pub fn registered(&self, kind: RecordKind, record: &ExternalId) -> Option<Stamp> {
        fn newest<T: Clone + PartialEq>(history: &History<T>, record: &ExternalId) -> Option<Stamp> {
            history.of_record(record).map(|registration| registration.registered)
        }
        match kind {
            RecordKind::Membership => newest(&self.memberships, record),
            RecordKind::Jobcentre => newest(&self.jobcentres, record),
            RecordKind::Residence => newest(&self.residences, record),
            RecordKind::ContactGroup => newest(&self.contact_groups, record),
            RecordKind::Plan => newest(&self.plans, record),
            RecordKind::Death => newest(&self.deaths, record),
            RecordKind::NumberChange => newest(&self.number_changes, record),
        }
    }

    /// Notes that a record is registered under somebody else, by a registration
    /// that is newer than what it says here: it holds for this citizen no more.
    pub fn disown(&mut self, kind: RecordKind, record: &ExternalId, by: Stamp) -> Folded {
        fn recall<T: Clone + PartialEq>(history: &mut History<T>, record: &ExternalId, by: Stamp) -> bool {
            let standing = Standing::Recalled(None);
            history.record(Registration { external_id: record.clone(), registered: by, standing })
        }
        let changed = match kind {
            RecordKind::Membership => recall(&mut self.memberships, record, by),
            RecordKind::Jobcentre => recall(&mut self.jobcentres, record, by),
            RecordKind::Residence => recall(&mut self.residences, record, by),
            RecordKind::ContactGroup => recall(&mut self.contact_groups, record, by),
            RecordKind::Plan => recall(&mut self.plans, record, by),
            RecordKind::Death => recall(&mut self.deaths, record, by),
            RecordKind::NumberChange => recall(&mut self.number_changes, record, by),
        };
        if changed { Folded::Changed } else { Folded::Unchanged }
    }

    /// Takes in that DFDG has deleted a record, by an event registered then: what it
    /// said of this citizen holds no more.
    pub fn lose(&mut self, kind: RecordKind, record: &ExternalId, by: Stamp) -> Folded {
        let changed = match kind {
            RecordKind::Membership => self.memberships.delete(record, by),
            RecordKind::Jobcentre => self.jobcentres.delete(record, by),
            RecordKind::Residence => self.residences.delete(record, by),
            RecordKind::ContactGroup => {
                let placements = self.contact_groups.standing().filter(|(of, claim)| of.external_id == *record && claim.value == PLACED);
                let from = placements.map(|(_, claim)| claim.period.start()).min();
                self.placed_from = earliest(self.placed_from, from);
                self.contact_groups.delete(record, by)
            }
            RecordKind::Plan => self.plans.delete(record, by),
            RecordKind::Death => self.deaths.delete(record, by),
            RecordKind::NumberChange => self.number_changes.delete(record, by),
        };
        if changed { Folded::Changed } else { Folded::Unchanged }
    }

    /// Returns every record of whose owner the store keeps track.
    pub fn owned_records(&self) -> impl Iterator<Item = (RecordKind, &ExternalId)> {
        self.newest_of_all().map(|(kind, record, _)| (kind, record))
    }

    /// Returns each record that decides by itself who gets what, and that no deletion rule
    /// covers, with when it was registered last.
    pub fn newest_registrations(&self) -> impl Iterator<Item = (RecordKind, &ExternalId, Instant)> {
        self.newest_of_all().filter(|(kind, ..)| !matches!(kind, RecordKind::ContactGroup | RecordKind::Plan))
    }

    fn newest_of_all(&self) -> impl Iterator<Item = (RecordKind, &ExternalId, Instant)> {
        fn all<T: Clone + PartialEq>(kind: RecordKind, history: &History<T>) -> impl Iterator<Item = (RecordKind, &ExternalId, Instant)> {
            history.registrations().iter().map(move |registration| (kind, &registration.external_id, registration.registered.instant()))
        }
        all(RecordKind::Membership, &self.memberships)
            .chain(all(RecordKind::Jobcentre, &self.jobcentres))
            .chain(all(RecordKind::Residence, &self.residences))
            .chain(all(RecordKind::ContactGroup, &self.contact_groups))
            .chain(all(RecordKind::Plan, &self.plans))
            .chain(all(RecordKind::Death, &self.deaths))
            .chain(all(RecordKind::NumberChange, &self.number_changes))
    }

    /// Returns what is known of a person under several numbers as one citizen, with
    /// the first one's id; `None` for nobody. Never to be stored: each number keeps
    /// its own, so that they can be told apart again.
    #[must_use]
    pub fn as_one(parts: &[Arc<Self>]) -> Option<Arc<Self>> {
        let (first, others) = parts.split_first()?;
        if others.is_empty() {
            return Some(Arc::clone(first));
        }
        let mut one = Self::clone(first);
        for other in others {
            one.also.push(other.id);
            one.memberships.absorb(&other.memberships, History::record_or_contradict);
            one.jobcentres.absorb(&other.jobcentres, History::record);
            one.residences.absorb(&other.residences, History::record);
            one.contact_groups.absorb(&other.contact_groups, History::record);
            one.plans.absorb(&other.plans, History::record);
            one.deaths.absorb(&other.deaths, History::record);
            one.number_changes.absorb(&other.number_changes, History::record);
            one.placed_from = earliest(one.placed_from, other.placed_from);
        }
        let newest = one.number_changes.standing().max_by_key(|(registration, _)| registration.registered);
        let current = newest.and_then(|(_, claim)| parts.iter().find(|part| part.id == claim.value));
        one.personnummer = current.unwrap_or(first).personnummer;
        Some(Arc::new(one))
    }

    /// Returns the plan in force on `day`: of those that cover it and have not
    /// been replaced, the one that began last, and of these the one registered
    /// last.
    #[must_use]
    pub fn plan_on(&self, day: Day) -> Option<(&Registration<Plan>, PlanKind)> {
        self.plans
            .standing()
            .filter(|(_, claim)| claim.value.later_version.is_none() && claim.period.covers(day))
            .max_by_key(|(registration, claim)| (claim.period.start(), registration.registered))
            .map(|(registration, claim)| (registration, claim.value.kind))
    }

    /// Returns every id under which something about the citizen may be stored.
    pub fn ids(&self) -> impl Iterator<Item = CitizenId> + '_ {
        std::iter::once(self.id).chain(self.also.iter().copied())
    }

    /// Returns the contact groups that the citizen is in on `day`.
    pub fn contact_groups_on(&self, day: Day) -> impl Iterator<Item = i64> + '_ {
        self.contact_groups.standing().filter(move |(_, claim)| claim.period.covers(day)).map(|(_, claim)| claim.value)
    }

    /// Returns the contact group that was in force when `registration` began:
    /// the latest other one that began before it.
    #[must_use]
    pub fn contact_group_before(&self, external_id: &ExternalId, start: Day) -> Option<i64> {
        self.contact_groups
            .standing()
            .filter(|(registration, claim)| registration.external_id != *external_id && claim.period.start() < start)
            .max_by_key(|(registration, claim)| (claim.period.start(), registration.registered))
            .map(|(_, claim)| claim.value)
    }

    /// Returns the first day in kontaktgruppe 1 (dagpengemodtager), if any, also by what
    /// has been deleted.
    #[must_use]
    pub fn first_placement(&self) -> Option<Day> {
        let placements = self.contact_groups.standing().filter(|(_, claim)| claim.value == PLACED);
        earliest(self.placed_from, placements.map(|(_, claim)| claim.period.start()).min())
    }

    /// Returns the first day from which on no registration is a reason to know the
    /// citizen: the day after the last membership, jobcentre, residence, contact
    /// group or plan has ended, or that of the death, which ends the purpose of
    /// whatever is still open. `None` while one goes on without an end.
    #[must_use]
    pub fn unneeded_from(&self) -> Option<Day> {
        fn end<T: Clone + PartialEq>(history: &History<T>) -> Option<Day> {
            // From before everything, where nothing holds.
            history.unrecalled().try_fold(Day::epoch(), |last, (_, claim)| Some(last.max(claim.period.end()?.next())))
        }
        let ends = [end(&self.memberships), end(&self.jobcentres), end(&self.residences), end(&self.contact_groups), end(&self.plans)];
        let all_over = ends.into_iter().try_fold(Day::epoch(), |last, end| Some(last.max(end?)));
        all_over.into_iter().chain(self.died()).min()
    }

    /// Returns the day of death, if the citizen is dead; the earliest one known.
    #[must_use]
    pub fn died(&self) -> Option<Day> {
        self.deaths.standing().map(|(_, claim)| claim.period.start()).min()
    }
}

/// A citizen shared between the cache and whoever decides about it.
pub type SharedCitizen = Arc<Citizen>;

#[cfg(test)]
mod tests {
    use super::super::event::Change::{Created, Deleted, Updated};
    use std::collections::BTreeSet;

    use super::super::ids::EventMark;
    use super::super::samples::{citizen, day, event, external, fund, group, jobcentre, kommune, number, orders};
    use super::*;

    /// What the record of these events, in this order, says of `on`.
    fn membership(events: &[Event], on: &str) -> String {
        let citizen = citizen(events);
        match citizen.memberships.on(day(on), |fund| *fund) {
            InForce::One(_, fund) => fund.to_string(),
            InForce::Ended => "ended".to_owned(),
            InForce::Unknown => "unknown".to_owned(),
            InForce::Contradictory(of) => format!("contradictory {}", of.len()),
        }
    }

    /// The events as if each had come with every id in turn: which of them has the
    /// higher mark says nothing about which is right.
    fn with_any_marks(events: &[Event]) -> Vec<Vec<Event>> {
        let marked = |round: usize| {
            let mark = move |(at, event): (usize, &Event)| {
                let id = format!("{} by {at} of {round}", event.id);
                Event { mark: EventMark::of("urn:test", &id), id: id.into(), ..event.clone() }
            };
            orders(events.len()).into_iter().map(move |order| order.into_iter().map(|at| mark((at, &events[at]))).collect())
        };
        (0..8).flat_map(marked).collect()
    }

    #[test]
    fn of_one_instant_what_happened_counts_first_and_memberships_contradict() {
        let check = |events: &[Event], on: &str, expected: &str| {
            for events in with_any_marks(events) {
                assert_eq!(membership(&events, on), expected, "{on} {events:?}");
            }
        };
        let open = event("a", 1, Created, "2026-01-01..", fund("007"));
        let recall = event("a", 1, Deleted, "..", Content::Membership { fund: None });
        check(&[open.clone(), recall.clone()], "2026-03-16", "unknown");
        check(&[open.clone(), event("a", 1, Updated, "2026-01-01..2026-02-28", fund("007"))], "2026-03-16", "ended");
        let moved = event("a", 1, Updated, "2026-01-01..", fund("067"));
        check(&[open.clone(), moved.clone()], "2026-03-16", "067");
        check(&[open.clone(), moved.clone(), recall], "2026-03-16", "unknown");
        // Nothing but the event tells them apart, and they differ: another fund, or an end.
        let other = event("a", 1, Created, "2026-02-01..", fund("067"));
        let ended = event("a", 1, Created, "2026-01-01..2026-02-28", fund("007"));
        for others in [[&other, &open], [&open, &ended], [&other, &ended]] {
            check(&others.map(Clone::clone), "2026-03-16", "contradictory 1");
        }
        check(&[open.clone(), other.clone(), ended], "2026-03-16", "contradictory 1");
        // It does not go by an older membership that nobody has closed, as of two records.
        let former = event("b", 0, Created, "2025-01-01..", fund("111"));
        check(&[open.clone(), other.clone(), former.clone()], "2026-03-16", "contradictory 1");
        check(&[open.clone(), other.clone(), former], "2025-12-31", "111");
        // Until it is registered anew.
        check(&[open.clone(), other, moved], "2026-03-16", "067");
        // Where both are the same fund's with the same end, nobody is in doubt.
        check(&[open.clone(), event("a", 1, Created, "2025-01-01..", fund("007"))], "2026-03-16", "007");
        assert_eq!(citizen([&open]).unneeded_from(), None);
    }

    #[test]
    fn whom_nobody_can_tell_the_fund_of_is_not_forgotten_for_it() {
        let ended = |code: &str| event("a", 1, Created, "2026-01-01..2026-02-28", fund(code));
        let open = event("a", 1, Created, "2026-01-01..", fund("067"));
        for events in with_any_marks(&[ended("007"), open]) {
            assert_eq!(citizen(&events).unneeded_from(), None);
        }
        for events in with_any_marks(&[ended("007"), ended("067")]) {
            assert_eq!(citizen(&events).unneeded_from(), Some(day("2026-03-01")));
        }
    }

    #[test]
    fn every_kind_of_record_goes_by_what_happened_within_one_instant() {
        let both = |first: Content, second: Content| {
            let events = [event("a", 1, Created, "2026-01-01..", first), event("a", 1, Updated, "2026-01-01..", second)];
            with_any_marks(&events).iter().map(citizen).collect::<Vec<Citizen>>()
        };
        let on = day("2026-03-16");
        for citizen in both(jobcentre("86001"), jobcentre("85101")) {
            assert!(matches!(citizen.jobcentres.on(on, |code| *code), InForce::One(_, code) if code.to_string() == "85101"));
        }
        for citizen in both(kommune("860"), kommune("851")) {
            assert!(matches!(citizen.residences.on(on, |code| *code), InForce::One(_, code) if code.to_string() == "851"));
        }
        for citizen in both(group(1), group(2)) {
            assert_eq!(citizen.contact_groups_on(on).collect::<Vec<_>>(), [2]);
        }
        let died = |on: &str| Content::Death { on: Some(day(on)) };
        for citizen in both(died("2026-03-01"), died("2026-03-03")) {
            assert_eq!(citizen.died(), Some(day("2026-03-03")));
        }
        let plan = |kind| Content::Plan { kind: Some(kind), later_version: None };
        for citizen in both(plan(PlanKind::ALL[0].1), plan(PlanKind::ALL[1].1)) {
            assert_eq!(citizen.plan_on(on).map(|(_, kind)| kind), Some(PlanKind::ALL[1].1));
        }
        let renumbered = |new: &str| Content::NumberChange { new: Some(number(new)) };
        let events = [event("a", 1, Created, "..", renumbered("0101019002")), event("a", 1, Updated, "..", renumbered("0101019003"))];
        for events in with_any_marks(&events) {
            let mut citizen = Citizen::new(CitizenId(1), number("0101019001"));
            for event in &events {
                let new = if event.change == Created { CitizenId(2) } else { CitizenId(3) };
                let (Folded::Changed | Folded::Unchanged) = citizen.renumber(event, Some(new));
            }
            assert_eq!(citizen.renumbered_to().collect::<Vec<_>>(), [CitizenId(3)]);
        }
    }

    #[test]
    fn membership_on_a_day() {
        let check = |events: &[Event], on: &str, expected: &str| {
            for order in orders(events.len()) {
                let events: Vec<Event> = order.iter().map(|at| events[*at].clone()).collect();
                assert_eq!(membership(&events, on), expected, "{on} {order:?}");
            }
        };
        let nobody = Content::Membership { fund: None };
        check(&[], "2026-03-16", "unknown");
        let open = event("a", 1, Created, "2026-01-01..", fund("007"));
        check(std::slice::from_ref(&open), "2025-12-31", "ended");
        check(std::slice::from_ref(&open), "2026-01-01", "007");
        check(std::slice::from_ref(&open), "2199-01-01", "007");
        // Both days count.
        let closed = event("a", 2, Updated, "2026-01-01..2026-02-28", fund("007"));
        check(&[open.clone(), closed.clone()], "2026-02-28", "007");
        check(&[open.clone(), closed.clone()], "2026-03-01", "ended");
        // Corrected: the fund was another one all the time.
        check(&[open.clone(), event("a", 2, Updated, "2026-01-01..", fund("067"))], "2026-01-01", "067");
        // Recalled, with and without saying what.
        check(&[open.clone(), event("a", 2, Deleted, "..", nobody.clone())], "2026-01-01", "unknown");
        check(&[open.clone(), event("a", 2, Deleted, "2026-01-01..", fund("007"))], "2026-01-01", "unknown");
        // Recalled and registered again.
        let again = event("a", 3, Created, "2026-02-01..", fund("111"));
        check(&[open.clone(), event("a", 2, Deleted, "..", nobody.clone()), again], "2026-03-01", "111");
        // The older one of a recalled record never comes back.
        let recall_of_another = event("b", 2, Deleted, "..", nobody);
        check(&[open.clone(), event("b", 1, Created, "2026-02-01..", fund("067")), recall_of_another], "2026-03-01", "007");
        // A transfer, backdated: the later Startdato counts though the old one is open.
        let transfer = event("b", 2, Created, "2025-06-01..", fund("067"));
        check(&[open.clone(), transfer.clone()], "2025-12-31", "067");
        check(&[open.clone(), transfer], "2026-01-01", "007");
        // The same Startdato twice.
        let rival = event("b", 2, Created, "2026-01-01..", fund("067"));
        check(&[open.clone(), rival.clone()], "2026-01-01", "contradictory 2");
        check(&[open.clone(), rival.clone(), event("c", 3, Created, "2026-01-02..", fund("111"))], "2026-01-02", "111");
        check(&[open.clone(), rival, closed], "2026-03-01", "067");
        check(&[open, event("b", 2, Created, "2026-01-01..", fund("007"))], "2026-01-01", "007");
    }

    /// Registrations of one record in every order leave the same record behind.
    #[test]
    fn order_of_arrival_changes_nothing() {
        let nobody = Content::Membership { fund: None };
        let sets = [
            vec![
                event("a", 1, Created, "2026-01-01..", fund("007")),
                event("a", 2, Updated, "2026-01-01..2026-02-01", fund("007")),
                event("a", 3, Deleted, "..", nobody.clone()),
                event("b", 1, Created, "2026-02-02..", fund("067")),
                event("b", 4, Updated, "2026-02-03..", fund("067")),
            ],
            vec![
                event("a", 1, Created, "2026-01-01..", fund("007")),
                event("a", 2, Deleted, "2026-01-01..", fund("111")),
                event("a", 3, Deleted, "..", nobody.clone()),
                event("a", 4, Updated, "2026-01-05..", fund("067")),
                event("a", 5, Deleted, "..", nobody),
            ],
            vec![
                // In the same instant: the mark settles it.
                event("a", 1, Created, "2026-01-01..", fund("007")),
                event("a", 1, Updated, "2026-01-02..", fund("067")),
                event("a", 1, Updated, "2026-01-03..", fund("111")),
            ],
        ];
        for set in sets {
            let folded = |order: &[usize]| {
                let citizen = citizen(order.iter().map(|at| &set[*at]));
                let mut registrations = citizen.memberships.registrations().to_vec();
                registrations.sort_by(|a, b| a.external_id.cmp(&b.external_id));
                registrations
            };
            let all: Vec<usize> = (0..set.len()).collect();
            for order in orders(set.len()) {
                assert_eq!(folded(&order), folded(&all), "{order:?}");
                let twice: Vec<usize> = order.iter().chain(&order).copied().collect();
                assert_eq!(folded(&twice), folded(&all), "twice {order:?}");
            }
        }
    }

    #[test]
    fn a_repeat_says_nothing_new() {
        let first = event("a", 2, Created, "2026-01-01..", fund("007"));
        let mut citizen = citizen([&first]);
        assert_eq!(citizen.fold(&first), Folded::Unchanged);
        assert_eq!(citizen.fold(&event("a", 1, Created, "2026-01-01..", fund("067"))), Folded::Unchanged, "an older one");
        assert_eq!(citizen.fold(&event("a", 3, Updated, "2026-01-01..", fund("067"))), Folded::Changed);
    }

    #[test]
    fn two_jobcentres_of_one_kommune_do_not_contradict() {
        let events =
            [event("a", 1, Created, "2026-01-01..", jobcentre("86000")), event("b", 2, Created, "2026-01-01..", jobcentre("86001"))];
        let citizen = citizen(&events);
        assert!(matches!(citizen.jobcentres.on(day("2026-01-01"), |jobcentre| *jobcentre), InForce::Contradictory(_)));
        let as_kommune = citizen.jobcentres.on(day("2026-01-01"), |jobcentre| jobcentre.kommune());
        assert!(matches!(as_kommune, InForce::One(newest, _) if newest.external_id == external("b")));
    }

    #[test]
    fn what_was_in_force_before() {
        let check = |events: &[Event], on: &str, expected: Option<&str>| {
            let citizen = citizen(events);
            let found = citizen.memberships.latest_not_in_force(day(on)).map(|(_, fund)| fund.to_string());
            assert_eq!(found.as_deref(), expected, "{on}");
        };
        let ended = event("a", 1, Created, "2025-01-01..2025-12-31", fund("007"));
        let now = event("b", 1, Created, "2026-01-01..", fund("067"));
        check(&[], "2026-01-01", None);
        check(std::slice::from_ref(&now), "2026-01-01", None);
        check(&[ended.clone(), now.clone()], "2026-01-01", Some("007"));
        check(&[ended.clone(), now.clone()], "2025-12-31", None);
        let recalled = event("b", 2, Deleted, "..", Content::Membership { fund: None });
        check(&[ended, now.clone(), recalled], "2026-01-01", Some("067"));
        // Still open, and replaced all the same.
        check(&[event("a", 1, Created, "2025-01-01..", fund("007")), now], "2026-01-01", Some("007"));
    }

    #[test]
    fn plan_in_force() {
        let plan = |kind, later: Option<&str>| Content::Plan { kind: Some(kind), later_version: later.map(external) };
        let check = |events: &[Event], on: &str, expected: Option<PlanKind>| {
            for order in orders(events.len()) {
                let citizen = citizen(order.iter().map(|at| &events[*at]));
                assert_eq!(citizen.plan_on(day(on)).map(|(_, kind)| kind), expected, "{on} {order:?}");
            }
        };
        let first = event("a", 1, Created, "2026-01-01..", plan(PlanKind::Jobplan, None));
        let second = event("b", 2, Created, "2026-02-01..", plan(PlanKind::AndenPlan, None));
        check(&[], "2026-01-01", None);
        check(std::slice::from_ref(&first), "2025-12-31", None);
        check(&[first.clone(), second.clone()], "2026-01-31", Some(PlanKind::Jobplan));
        check(&[first.clone(), second.clone()], "2026-02-01", Some(PlanKind::AndenPlan));
        // Replaced, by a version that is not known yet or one that is.
        let replaced = event("a", 3, Updated, "2026-01-01..", plan(PlanKind::Jobplan, Some("b")));
        check(&[first.clone(), replaced.clone()], "2026-01-31", None);
        check(&[first.clone(), replaced, second.clone()], "2026-02-01", Some(PlanKind::AndenPlan));
        // Of two that begin on one day the one registered last.
        let same_day = event("c", 3, Created, "2026-01-01..", plan(PlanKind::Uddannelsesplan, None));
        check(&[first.clone(), same_day], "2026-01-15", Some(PlanKind::Uddannelsesplan));
        let recalled = event("b", 3, Deleted, "..", Content::Plan { kind: None, later_version: None });
        check(&[first, second, recalled], "2026-02-01", Some(PlanKind::Jobplan));
    }

    #[test]
    fn contact_groups() {
        let events = [
            event("a", 1, Created, "2025-01-01..2025-06-30", group(2)),
            event("b", 1, Created, "2025-07-01..2025-12-31", group(1)),
            event("c", 1, Created, "2026-01-01..", group(13)),
            event("d", 1, Created, "2024-01-01..", group(1)),
            event("d", 2, Deleted, "..", Content::ContactGroup { group: None, former: None }),
        ];
        for order in orders(events.len()) {
            let citizen = citizen(order.iter().map(|at| &events[*at]));
            assert_eq!(citizen.first_placement(), Some(day("2025-07-01")), "recalled ones do not count");
            assert_eq!(citizen.contact_group_before(&external("c"), day("2026-01-01")), Some(1));
            assert_eq!(citizen.contact_group_before(&external("b"), day("2025-07-01")), Some(2));
            assert_eq!(citizen.contact_group_before(&external("a"), day("2025-01-01")), None);
            for (on, group) in [("2025-06-30", 2), ("2025-07-01", 1), ("2025-12-31", 1), ("2026-01-01", 13)] {
                assert_eq!(citizen.contact_groups_on(day(on)).collect::<Vec<_>>(), [group], "{on}");
            }
        }
        assert_eq!(citizen(&[]).first_placement(), None);
    }

    #[test]
    fn the_first_placement_outlives_its_record() {
        let events = [
            event("a", 1, Created, "2025-01-01..2025-06-30", group(1)),
            event("b", 1, Created, "2025-07-01..", group(2)),
            event("c", 1, Created, "2024-01-01..", group(1)),
            event("c", 2, Deleted, "..", Content::ContactGroup { group: None, former: None }),
        ];
        let mut one = citizen(&events);
        let lose = |one: &mut Citizen, record: &str| {
            one.lose(RecordKind::ContactGroup, &external(record), Stamp { at: Moment(i64::MAX), ..Stamp::of(&events[0]) })
        };
        for record in ["b", "c", "d"] {
            let _ = lose(&mut one, record);
            assert_eq!(one.placed_from, None, "{record} was no placement, or did not stand");
        }
        assert_eq!(lose(&mut one, "a"), Folded::Changed);
        assert_eq!(lose(&mut one, "a"), Folded::Unchanged);
        assert_eq!(one.first_placement(), Some(day("2025-01-01")));
        assert_eq!(one.contact_groups.standing().count(), 0, "nothing else is said of it");
        let (Folded::Changed | Folded::Unchanged) = one.fold(&event("e", 3, Created, "2026-01-01..", group(1)));
        assert_eq!(one.first_placement(), Some(day("2025-01-01")));
        // Known under several numbers, whichever comes first.
        let other = Citizen::new(CitizenId(7), number("0101019002"));
        for parts in [[one.clone().into(), other.clone().into()], [other.into(), one.into()]] {
            assert_eq!(Citizen::as_one(&parts).and_then(|both| both.first_placement()), Some(day("2025-01-01")));
        }
    }

    #[test]
    fn the_earliest_day_of_death_counts_until_recalled() {
        let died = |on: &str| Content::Death { on: Some(day(on)) };
        let first = event("a", 1, Created, "..", died("2026-03-01"));
        let second = event("b", 2, Created, "..", died("2026-03-03"));
        assert_eq!(citizen(&[]).died(), None);
        assert_eq!(citizen([&second, &first]).died(), Some(day("2026-03-01")));
        let recalled = event("a", 3, Deleted, "..", Content::Death { on: None });
        assert_eq!(citizen([&recalled, &second, &first]).died(), Some(day("2026-03-03")));
    }

    #[test]
    fn the_newest_number_counts_while_its_change_stands() {
        let (a, b, c) = (CitizenId(1), CitizenId(2), CitizenId(3));
        let renumbered = |record: &str, day: u32, change, new: Option<&str>| {
            event(record, day, change, "..", Content::NumberChange { new: new.map(number) })
        };
        let known = |id: CitizenId, own: &str, changes: &[(Event, Option<CitizenId>)]| {
            let mut citizen = Citizen::new(id, number(own));
            for (event, new) in changes {
                let (Folded::Changed | Folded::Unchanged) = citizen.renumber(event, *new);
            }
            Arc::new(citizen)
        };
        let (third, second) = (Some("0101019003"), Some("0101019002"));
        let early = (renumbered("x", 1, Created, second), Some(b));
        let late = (renumbered("y", 2, Created, third), Some(c));
        for order in [[&early, &late], [&late, &early]] {
            let order = order.map(Clone::clone);
            let parts = [known(a, "0101019001", &order), known(b, "0101019002", &[]), known(c, "0101019003", &[])];
            let one = Citizen::as_one(&parts).expect("somebody");
            assert_eq!((one.personnummer, one.id, &one.also), (number("0101019003"), a, &vec![b, c]));
            assert_eq!(parts[0].renumbered_to().collect::<BTreeSet<_>>(), BTreeSet::from([b, c]));
        }
        // Recalled, before or after what it recalls comes.
        let recall = (renumbered("y", 3, Deleted, None), None);
        for order in [[&early, &late, &recall], [&recall, &late, &early]] {
            let first = known(a, "0101019001", &order.map(Clone::clone));
            assert_eq!(first.renumbered_to().collect::<Vec<_>>(), [b]);
            let one = Citizen::as_one(&[first, known(b, "0101019002", &[])]).expect("somebody");
            assert_eq!(one.personnummer, number("0101019002"));
        }
        assert_eq!(Citizen::as_one(&[]), None);
    }
}
