//! What is kept of each record that a rule may cover, and how events change it.
//!
//! For one record the newest registration counts, in whatever order they arrive.
//! A record that was deleted or recalled leaves a tombstone for a while, so that
//! an older event that comes late does not bring it back.

use std::sync::{Arc, LazyLock};

use super::kept::Kept;
use crate::core::event::{Change, Content, Details, Event};
use crate::core::ids::{CitizenId, ExternalId};
use crate::core::schedule::Start;
use crate::core::stamp::Stamp;
use crate::core::time::{Day, Moment, Period};

/// How many tombstones one citizen has at the most; the oldest go. In one night as many
/// may come as somebody has entries in the joblog.
const TOMBSTONES: usize = 1024;
/// How many elements that are not listed any more are known of a Min plan-version; the
/// first go.
const UNLISTED: usize = 256;
/// How many days a tombstone stays: twice the default duplicate horizon.
const TOMBSTONE_DAYS: u32 = 28;
/// How many handovers one citizen may have: there are some thirty areas. The oldest go.
const HANDOVERS: usize = 256;

/// An element of a Min plan-version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The record.
    pub external_id: ExternalId,
    /// The day on which it was deleted, if it was.
    pub deleted: Option<Day>,
}

/// By which registration the details of a record were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Told {
    /// By the one that counts.
    #[default]
    Newest,
    /// By one before that; those since had no `Indhold`.
    Earlier(Stamp),
    /// By none.
    Never,
}

/// A deletion order that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// The day on which the record fell due.
    pub due: Day,
    /// The day on which it was first ordered.
    pub first: Day,
    /// The day on which it was last ordered.
    pub asked: Day,
    /// Whether RabbitMQ has confirmed the order of that day.
    pub confirmed: bool,
}

/// What is kept of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clock {
    /// Under whose number it was registered last.
    pub under: CitizenId,
    /// EntitetNavn.
    pub entity: Arc<str>,
    /// EksternIdentifier.
    pub external_id: ExternalId,
    /// The earliest registration known.
    pub first_at: Moment,
    /// The registration that counts.
    pub newest: Stamp,
    /// Its period; open without Slutdato.
    pub period: Period,
    /// Whether it told when that begins. Where it did not, it may overlap whatever
    /// came before.
    pub has_start: bool,
    /// What was told besides.
    pub details: Details,
    /// By which registration.
    pub told: Told,
    /// Whether a later version of this plan exists.
    pub has_later_version: bool,
    /// Which, by what the plan said itself. The recall or deletion of that one takes it away.
    pub later_version: Option<ExternalId>,
    /// The elements of a Min plan-version, which have left `details`.
    pub elements: Vec<Element>,
    /// Elements that are not listed any more. Each counts once it is deleted: that may be
    /// heard of after the list without it.
    pub unlisted: Vec<Element>,
    /// The latest deletion of an element that is in neither list any more.
    pub element_gone: Option<Day>,
    /// The order to delete it, if there is one.
    pub order: Option<Order>,
}

/// What is left of a record that was deleted or recalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Under whose number it was.
    pub under: CitizenId,
    /// EntitetNavn.
    pub entity: Arc<str>,
    /// EksternIdentifier.
    pub external_id: ExternalId,
    /// The earliest registration known.
    pub first_at: Moment,
    /// What is not newer than this brings nothing back.
    pub newest: Stamp,
    /// The day on which it was deleted or recalled; `None` of one that has turned out to be
    /// another citizen's, and may be there still.
    pub deleted: Option<Day>,
    /// When the broker learned of it.
    pub noted: Moment,
}

/// That an area of the citizen's was handed over to Rigsarkivet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// Under whose number it was.
    pub under: CitizenId,
    /// EksternIdentifier; nothing of one that was stored before it was kept.
    pub external_id: Option<ExternalId>,
    /// The data area; nothing of one of which only a recall is known that did not say it.
    pub area: Option<Box<str>>,
    /// The registration that counts.
    pub newest: Stamp,
    /// Whether it holds, or was recalled, or has turned out to be another citizen's.
    pub holds: bool,
}

/// EntitetNavn of a handover.
pub(super) static HANDOVER: LazyLock<Arc<str>> = LazyLock::new(|| "RigsarkivAflevering".into());

/// Everything kept of one citizen's records; of a person's, for one who is known
/// under several numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clocks {
    /// Whose; the citizen that stands for the person.
    pub citizen: CitizenId,
    /// The records, in order of first arrival while none is removed. Shared with the
    /// state before: an event changes one of them.
    pub records: Vec<Kept>,
    /// What is gone.
    pub tombstones: Vec<Tombstone>,
    /// What was handed over.
    pub handovers: Vec<Handover>,
    /// Whether there were records that a rule names, and the last of them has gone: the
    /// citizen is forgotten once nothing else is a reason to know them.
    pub emptied: bool,
    /// Whether DFDG had a record of the citizen that a rule names when this was last
    /// [settled](Self::settle), as far as is known. One that no rule names is ordered by
    /// nobody, and is no reason to know the citizen.
    pub has_retained: bool,
    /// Whether something was due when this was last settled: it waits for
    /// something else, or for its order, or for the answer to that.
    pub has_due: bool,
    /// Whether the store has all of this in today's form: not where it was stored
    /// before it told of each record, gone ones included, whose it is, or in pages of
    /// another size.
    pub is_current: bool,
    /// The next day on which there may be something to do.
    pub next: Option<Day>,
}

impl Clocks {
    /// Returns the clocks of a citizen who has none.
    #[must_use]
    pub fn new(citizen: CitizenId) -> Self {
        Self {
            citizen,
            records: Vec::new(),
            tombstones: Vec::new(),
            handovers: Vec::new(),
            emptied: false,
            has_retained: false,
            has_due: false,
            is_current: true,
            next: None,
        }
    }

    /// Returns whether there is nothing to keep.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.tombstones.is_empty() && self.handovers.is_empty() && !self.emptied
    }

    /// Returns the clock of a record.
    #[must_use]
    pub fn of_record(&self, entity: &str, external_id: &ExternalId) -> Option<&Clock> {
        self.place(entity, external_id).map(|at| &*self.records[at])
    }

    /// Returns the days on which unanswered orders were first given.
    pub fn ordered_on(&self) -> impl Iterator<Item = Day> + '_ {
        self.records.iter().filter(|clock| clock.has_order()).filter_map(|clock| clock.order.map(|order| order.first))
    }

    /// Returns whether an event about a record comes too late: the record has been
    /// deleted or recalled since it was registered.
    #[must_use]
    pub fn is_too_late(&self, event: &Event) -> bool {
        let buried = self.buried(&event.entity, &event.external_id).map(|at| &self.tombstones[at]);
        buried.is_some_and(|tombstone| Stamp::of(event) < tombstone.newest)
    }

    /// Returns whether nothing was known of the record of that type before DFDG said,
    /// by this event, that it has deleted it.
    #[must_use]
    pub fn heard_of_first_by(&self, deletion: &Event, entity: &str) -> bool {
        let buried = self.buried(entity, &deletion.external_id).map(|at| &self.tombstones[at]);
        self.place(entity, &deletion.external_id).is_none() && buried.is_none_or(|tombstone| tombstone.first_at >= deletion.registered.at)
    }

    /// Takes in an event, about a record that a rule may cover, that came under a
    /// citizen's number.
    pub fn record(&mut self, event: &Event, under: CitizenId, details: Details, now: Moment) {
        let stamp = Stamp::of(event);
        let first_at = stamp.at;
        let at = self.place(&event.entity, &event.external_id);
        let buried = self.buried(&event.entity, &event.external_id);
        if let Some(tombstone) = buried {
            let tombstone = &mut self.tombstones[tombstone];
            tombstone.first_at = tombstone.first_at.min(first_at);
            if stamp <= tombstone.newest {
                return;
            }
        }
        if let Some(at) = at {
            let clock = &mut *self.records[at];
            clock.first_at = clock.first_at.min(first_at);
            if stamp <= clock.newest {
                // A recall takes back what was told before it.
                let told = if event.change == Change::Deleted { Details::default() } else { details.clone() };
                clock.learn(told, stamp);
                let has_none = clock.elements.is_empty() && clock.unlisted.is_empty() && clock.element_gone.is_none();
                let listed = self.elements(details.elements.unwrap_or_default(), None);
                let clock = &mut *self.records[at];
                if has_none {
                    // Whoever told of it since has said nothing of its elements.
                    clock.elements = listed;
                } else {
                    clock.take_off_the_list(&listed);
                }
                return;
            }
        }
        match event.change {
            Change::Deleted => {
                let deleted = Day::in_copenhagen(event.registered.at);
                self.bury(under, &event.entity, &event.external_id, first_at, stamp, Some(deleted), now);
                self.mark_later_version(&event.entity, &event.external_id, false, stamp);
            }
            Change::Created | Change::Updated => {
                let tombstone = buried.map(|buried| self.tombstones.remove(buried));
                let first_at = tombstone.iter().map(|tombstone| tombstone.first_at).fold(first_at, Moment::min);
                let gone = tombstone.map(|tombstone| tombstone.newest);
                self.register(at, event, under, details, gone, first_at);
            }
        }
    }

    /// `gone` is what ended the record before, if it had ended.
    fn register(
        &mut self,
        at: Option<usize>,
        event: &Event,
        under: CitizenId,
        mut details: Details,
        gone: Option<Stamp>,
        first_at: Moment,
    ) {
        let stamp = Stamp::of(event);
        let listed = details.elements.take();
        let former = at.map(|at| &self.records[at]);
        let (told, details) = match former {
            _ if !details.unsaid => (Told::Newest, details),
            Some(former) => (former.told_by().map_or(Told::Never, Told::Earlier), former.details.clone()),
            // What was told before it had ended counts no more, should it come after this.
            None => (gone.map_or(Told::Never, Told::Earlier), Details::default()),
        };
        // A registration that says nothing of elements changes nothing of them.
        let elements = match (listed, former) {
            (Some(listed), _) => self.elements(listed, former.map(|former| &**former)),
            (None, Some(former)) => former.elements.clone(),
            (None, None) => Vec::new(),
        };
        let later_version = match &event.content {
            Content::Plan { later_version, .. } => later_version.clone(),
            _ => None,
        };
        let is_gone = later_version.as_ref().is_some_and(|later| self.is_gone_since(&event.entity, later, stamp));
        let mut clock = Clock {
            under,
            entity: Arc::clone(&event.entity),
            external_id: event.external_id.clone(),
            first_at: former.map_or(first_at, |former| former.first_at),
            newest: stamp,
            period: event.period(),
            has_start: event.start.is_some(),
            details,
            told,
            has_later_version: later_version.is_some() && !is_gone,
            later_version,
            elements,
            unlisted: Vec::new(),
            element_gone: former.and_then(|former| former.element_gone),
            order: former.and_then(|former| former.order),
        };
        if let Some(former) = former {
            clock.take_off_the_list(&former.unlisted);
            clock.take_off_the_list(&former.elements);
        }
        match at {
            Some(at) => self.records[at] = clock.into(),
            None => {
                self.mark_elements(&event.external_id, None);
                self.mark_later_version(&event.entity, &event.external_id, true, stamp);
                self.records.push(clock.into());
            }
        }
    }

    /// Takes in that DFDG has deleted a record: the end of its clock, whenever
    /// the clock's newest registration was.
    pub fn delete(&mut self, event: &Event, under: CitizenId, entity: &str, now: Moment) {
        let mut stamp = Stamp::of(event);
        let first_at = stamp.at;
        if let Some(at) = self.place(entity, &event.external_id) {
            stamp = stamp.max(self.records[at].newest);
        }
        let deleted = Day::in_copenhagen(event.registered.at);
        self.bury(under, &entity.into(), &event.external_id, first_at, stamp, Some(deleted), now);
        self.mark_later_version(entity, &event.external_id, false, stamp);
        // Of a record that the broker never heard of, too: DFDG had it. Unless there are more.
        self.emptied = true;
    }

    /// Takes in that an area was handed over to Rigsarkivet, or was not after all. A recall
    /// need not say which.
    pub fn hand_over(&mut self, event: &Event, under: CitizenId, area: Option<&str>) {
        let holds = event.change != Change::Deleted;
        let handover =
            Handover { under, external_id: Some(event.external_id.clone()), area: area.map(Into::into), newest: Stamp::of(event), holds };
        self.put_handover(handover);
        // What was handed over has been there; of somebody of whom no record is known that
        // is no reason to know them, and nothing else may ever come.
        self.emptied = true;
    }

    fn put_handover(&mut self, new: Handover) {
        // Of one event what holds comes after what it took from somebody else.
        let place = |one: &Handover| (one.newest, one.holds);
        match self.handovers.iter_mut().find(|known| known.is_one_with(&new)) {
            Some(known) if place(known) >= place(&new) => {}
            Some(known) => {
                let area = known.area.take();
                *known = Handover { area: new.area.clone().or(area), ..new };
            }
            None => self.handovers.push(new),
        }
        if self.handovers.len() > HANDOVERS {
            let oldest = self.handovers.iter().enumerate().min_by_key(|(_, handover)| place(handover));
            oldest.map(|(at, _)| at).into_iter().for_each(|at| drop(self.handovers.swap_remove(at)));
        }
    }

    /// Returns whether an area was handed over as it had been registered at that time, or later.
    #[must_use]
    pub fn was_handed_over(&self, area: &str, registered: Moment) -> bool {
        let is_of = |handover: &Handover| handover.holds && handover.area.as_deref() == Some(area);
        self.handovers.iter().any(|handover| is_of(handover) && handover.newest.at >= registered)
    }

    /// Returns whether a record, or a handover, is known to be there.
    #[must_use]
    pub fn has(&self, entity: &str, external_id: &ExternalId) -> bool {
        self.of_record(entity, external_id).is_some() || self.handover(entity, external_id).is_some_and(|handover| handover.holds)
    }

    pub(super) fn handover(&self, entity: &str, external_id: &ExternalId) -> Option<&Handover> {
        let is_it = |handover: &&Handover| handover.external_id.as_ref() == Some(external_id);
        self.handovers.iter().find(is_it).filter(|_| *entity == **HANDOVER)
    }

    /// Returns the clocks of a person from what is stored under each number;
    /// `None` where nothing is.
    #[must_use]
    pub fn as_one(stands_for: CitizenId, parts: &[Arc<Self>]) -> Option<Arc<Self>> {
        let (first, others) = parts.split_first()?;
        if others.is_empty() && first.citizen == stands_for {
            return Some(Arc::clone(first));
        }
        let mut one = Self { citizen: stands_for, ..Self::clone(first) };
        for other in others {
            one.absorb(other);
            // Not later than either: whoever looks there computes it anew.
            one.next = one.next.into_iter().chain(other.next).min();
            one.has_due |= other.has_due;
            one.is_current &= other.is_current;
        }
        Some(Arc::new(one))
    }

    /// Returns what is to be stored under each number of a person. What concerns
    /// all of it is with the citizen that stands for the person.
    #[must_use]
    pub fn apart(&self, ids: &[CitizenId]) -> Vec<Self> {
        let part = |id: CitizenId| {
            let stands_for = id == self.citizen;
            let is_theirs = |under: CitizenId| under == id || (stands_for && !ids.contains(&under));
            Self {
                citizen: id,
                records: self.records.iter().filter(|clock| is_theirs(clock.under)).cloned().collect(),
                tombstones: self.tombstones.iter().filter(|tombstone| is_theirs(tombstone.under)).cloned().collect(),
                handovers: self.handovers.iter().filter(|handover| is_theirs(handover.under)).cloned().collect(),
                emptied: stands_for && self.emptied,
                has_retained: stands_for && self.has_retained,
                has_due: stands_for && self.has_due,
                is_current: self.is_current,
                next: self.next.filter(|_| stands_for),
            }
        };
        ids.iter().map(|id| part(*id)).collect()
    }

    /// Takes over everything known under another number of the same person.
    fn absorb(&mut self, other: &Self) {
        for theirs in &other.tombstones {
            match self.buried(&theirs.entity, &theirs.external_id) {
                Some(at) if self.tombstones[at].newest >= theirs.newest => {}
                Some(at) => self.tombstones[at] = theirs.clone(),
                None => self.tombstones.push(theirs.clone()),
            }
        }
        for theirs in &other.records {
            match self.place(&theirs.entity, &theirs.external_id) {
                Some(at) => {
                    let ours = &mut self.records[at];
                    let first_at = ours.first_at.min(theirs.first_at);
                    // Ordered under both numbers: the latest, and once is enough.
                    let order = ours.order.into_iter().chain(theirs.order).max_by_key(|order| (order.asked, order.confirmed));
                    let former = ours.clone();
                    if ours.newest < theirs.newest {
                        *ours = theirs.clone();
                    }
                    let ours = &mut **ours;
                    for known in [&former, theirs] {
                        known.told_by().into_iter().for_each(|by| ours.learn(known.details.clone(), by));
                    }
                    (ours.first_at, ours.order) = (first_at, order);
                }
                None => self.records.push(theirs.clone()),
            }
        }
        other.handovers.iter().cloned().for_each(|theirs| self.put_handover(theirs));
        // Deleted under one number, registered under the other: by what took it from the
        // one, where the two are the same.
        let tombstones = std::mem::take(&mut self.tombstones);
        for tombstone in tombstones {
            match self.place(&tombstone.entity, &tombstone.external_id) {
                Some(at) if self.records[at].newest >= tombstone.newest => {
                    let clock = &mut *self.records[at];
                    clock.first_at = clock.first_at.min(tombstone.first_at);
                    // What was told before it had ended counts no more; of one that had
                    // turned out to be another citizen's it does.
                    if tombstone.deleted.is_some() {
                        clock.learn(Details::default(), tombstone.newest);
                    }
                    self.mark_elements(&tombstone.external_id, None);
                }
                Some(at) => {
                    self.records.swap_remove(at);
                    self.mark_elements(&tombstone.external_id, tombstone.deleted);
                    self.tombstones.push(tombstone);
                }
                None => {
                    self.mark_elements(&tombstone.external_id, tombstone.deleted);
                    self.tombstones.push(tombstone);
                }
            }
        }
        self.has_retained |= other.has_retained;
        self.emptied = if self.has_retained { self.records.is_empty() } else { self.emptied || other.emptied };
        self.limit_tombstones();
    }

    /// Forgets tombstones that have stood long enough.
    pub fn expire(&mut self, today: Day) {
        self.tombstones.retain(|tombstone| tombstone.expires() > today);
    }

    /// Returns the tombstones that have not stood long enough on `today`.
    pub fn standing_tombstones(&self, today: Day) -> impl Iterator<Item = &Tombstone> {
        self.tombstones.iter().filter(move |tombstone| tombstone.expires() > today)
    }

    /// Returns the first day on which a tombstone may go.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Day> {
        self.tombstones.iter().map(Tombstone::expires).min()
    }

    pub(super) fn place(&self, entity: &str, external_id: &ExternalId) -> Option<usize> {
        let digest = external_id.digest();
        let is_it = |clock: &Kept| clock.may_be_of(digest) && clock.external_id == *external_id && &*clock.entity == entity;
        self.records.iter().position(is_it)
    }

    pub(super) fn buried(&self, entity: &str, external_id: &ExternalId) -> Option<usize> {
        self.tombstones.iter().position(|tombstone| tombstone.external_id == *external_id && &*tombstone.entity == entity)
    }

    /// Returns the elements that a registration lists, with what is known of each.
    fn elements(&self, listed: Vec<ExternalId>, former: Option<&Clock>) -> Vec<Element> {
        let was_deleted = |external_id: &ExternalId| {
            let known = former.and_then(|clock| clock.elements.iter().find(|element| element.external_id == *external_id));
            known.and_then(|element| element.deleted).or_else(|| self.gone(external_id))
        };
        listed.into_iter().map(|external_id| Element { deleted: was_deleted(&external_id), external_id }).collect()
    }

    /// Returns the day on which a record was deleted that may have been of any type.
    pub(super) fn gone(&self, external_id: &ExternalId) -> Option<Day> {
        self.tombstones.iter().find(|tombstone| tombstone.external_id == *external_id).and_then(|tombstone| tombstone.deleted)
    }

    #[expect(clippy::too_many_arguments, reason = "a tombstone's parts")]
    pub(super) fn bury(
        &mut self,
        under: CitizenId,
        entity: &Arc<str>,
        external_id: &ExternalId,
        first_at: Moment,
        newest: Stamp,
        deleted: Option<Day>,
        now: Moment,
    ) {
        let mut first_at = first_at;
        if let Some(at) = self.place(entity, external_id) {
            // Another record takes its place: two pages change in the store, not all.
            first_at = first_at.min(self.records.swap_remove(at).first_at);
            // Unless there are more, which is seen when this is settled.
            self.emptied |= self.has_retained;
        }
        let tombstone =
            Tombstone { under, entity: Arc::clone(entity), external_id: external_id.clone(), first_at, newest, deleted, noted: now };
        match self.buried(entity, external_id) {
            Some(at) => {
                let known = &mut self.tombstones[at];
                let (newest, first_at) = (known.newest.max(newest), known.first_at.min(first_at));
                *known = Tombstone { newest, first_at, ..tombstone };
            }
            None => self.tombstones.push(tombstone),
        }
        self.mark_elements(external_id, deleted);
        self.limit_tombstones();
    }

    /// Notes in every Min plan-version that lists the record that it is gone, or
    /// there again.
    pub(super) fn mark_elements(&mut self, external_id: &ExternalId, deleted: Option<Day>) {
        let is_it = |element: &Element| element.external_id == *external_id;
        let lists = |clock: &Kept| clock.has_elements() && clock.elements.iter().chain(&clock.unlisted).any(is_it);
        for clock in self.records.iter_mut().filter(|clock| lists(clock)).map(|clock| &mut **clock) {
            let elements = clock.elements.iter_mut().chain(&mut clock.unlisted);
            elements.filter(|element| is_it(element)).for_each(|element| element.deleted = deleted);
        }
    }

    /// Notes in every plan that names the record as its later version, and was registered
    /// before that was said, that there is one, or none after all.
    fn mark_later_version(&mut self, entity: &str, external_id: &ExternalId, is_there: bool, by: Stamp) {
        let plans = self.records.iter_mut().filter(|clock| clock.names_later_version() && &*clock.entity == entity);
        let plans = plans.filter(|clock| clock.later_version.as_ref() == Some(external_id) && clock.newest < by);
        plans.for_each(|clock| clock.has_later_version = is_there);
    }

    /// Returns whether a record is gone by what was said after `stamp`.
    fn is_gone_since(&self, entity: &str, external_id: &ExternalId, stamp: Stamp) -> bool {
        self.buried(entity, external_id).is_some_and(|at| self.tombstones[at].newest > stamp)
    }

    fn limit_tombstones(&mut self) {
        while self.tombstones.len() > TOMBSTONES {
            let oldest = self.tombstones.iter().enumerate().min_by_key(|(_, tombstone)| tombstone.noted);
            let Some((oldest, _)) = oldest else { return };
            self.tombstones.remove(oldest);
        }
    }
}

impl Clock {
    /// Returns the day that a period runs from, if it runs and the clock tells; of what
    /// depends on the citizen it tells nothing.
    pub(super) fn runs_from(&self, start: Start) -> Option<Day> {
        match start {
            Start::End => self.period.end(),
            Start::Registered => Some(Day::in_copenhagen(self.first_at)),
            // One without Indhold is an update all the same.
            Start::Updated => {
                let told = self.details.updated.filter(|_| self.told == Told::Newest);
                Some(told.unwrap_or_else(|| Day::in_copenhagen(self.newest.at)))
            }
            Start::Answered => self.details.answered,
            Start::Sent => self.details.sent,
            Start::CaseClosed => self.details.case_closed,
            Start::MonthEnd => self.details.month_end,
            Start::LastElement => {
                let deleted = self.elements.iter().map(|element| element.deleted).collect::<Option<Vec<Day>>>()?;
                let unlisted = self.unlisted.iter().filter_map(|element| element.deleted);
                deleted.into_iter().chain(unlisted).chain(self.element_gone).max()
            }
            Start::PensionAge | Start::Death => None,
        }
    }

    /// Returns whether it has elements, listed or not listed any more.
    pub(super) fn has_elements(&self) -> bool {
        !(self.elements.is_empty() && self.unlisted.is_empty())
    }

    /// Returns the registration that the details are of, if they were told.
    fn told_by(&self) -> Option<Stamp> {
        match self.told {
            Told::Newest => Some(self.newest),
            Told::Earlier(by) => Some(by),
            Told::Never => None,
        }
    }

    /// Takes in what an older registration says of the details: it counts where those since
    /// had no `Indhold`.
    fn learn(&mut self, details: Details, by: Stamp) {
        if !details.unsaid && self.told_by() < Some(by) {
            self.details = Details { elements: None, ..details };
            self.told = Told::Earlier(by);
        }
    }

    /// Returns whether the periods may have a day in common. What does not say when it begins
    /// may have begun before everything else.
    pub(super) fn may_overlap(&self, other: &Self) -> bool {
        let begins_by = |one: &Self, end: Option<Day>| !one.has_start || end.is_none_or(|end| one.period.start() <= end);
        begins_by(self, other.period.end()) && begins_by(other, self.period.end())
    }

    /// Takes in elements that an older registration listed.
    fn take_off_the_list(&mut self, elements: &[Element]) {
        for element in elements {
            let is_it = |known: &Element| known.external_id == element.external_id;
            if !self.elements.iter().chain(&self.unlisted).any(is_it) {
                self.unlisted.push(element.clone());
            }
        }
        let too_many = self.unlisted.len().saturating_sub(UNLISTED);
        let gone = self.unlisted.drain(..too_many).filter_map(|element| element.deleted).max();
        self.element_gone = self.element_gone.max(gone);
    }
}

impl Handover {
    /// Returns whether both are one: of one EksternIdentifier, unless that names none; of one
    /// area where one of them has none.
    fn is_one_with(&self, other: &Self) -> bool {
        match (&self.external_id, &other.external_id) {
            (Some(own), Some(others)) => own == others && (own.names_one_record() || self.area == other.area),
            (Some(_), None) | (None, Some(_)) | (None, None) => self.area == other.area,
        }
    }
}

impl Tombstone {
    /// Returns the day on which it may go.
    fn expires(&self) -> Day {
        Day::in_copenhagen(self.noted).plus_days(TOMBSTONE_DAYS)
    }
}
