//! Who is entitled, by brute force: from every event ever taken in about a
//! person, written from the domain's rules and not from the broker's code.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use wsb_broker::core::event::{Change, Content, Event, PlanKind};
use wsb_broker::core::ids::{Akassekode, EventMark, EventSeq, ExternalId, Kommunekode, Personnummer, Recipient};
use wsb_broker::core::policy::{Audience, Condition, MessageType, Rules};
use wsb_broker::core::time::{Day, Moment, Period};

/// Whether it is known of each record of a type whose it is: of those that a deletion rule
/// names.
pub fn is_kept(entity: &str, rules: &Rules) -> bool {
    !rules.schedule().rules_of(entity).is_empty()
}

/// An event that has been taken in.
pub struct Known {
    pub event: Arc<Event>,
    pub seq: EventSeq,
    /// When it came in.
    at: Moment,
    pub first_load: bool,
    /// Whether the record had been deleted, or recalled, since it was registered.
    pub late: bool,
    /// Whether somebody was forgotten by then of whom more was known of the record.
    pub spent: bool,
    /// The days that it is about.
    days: Period,
    /// Its place among all.
    place: usize,
    /// Whose it is, by the number that it carried.
    pub node: usize,
    /// Whose the number is that takes that one's place, of a change that is no recall.
    becomes: Option<usize>,
    /// Whether that person has been erased since.
    pub forgotten: bool,
    /// How many events were known when that happened.
    pub forgotten_at: Option<usize>,
}

impl Known {
    /// Whether it registers the record that `event` registers, and counted.
    fn registers_record_of(&self, event: &Event) -> bool {
        let counted = !(self.spent || self.late && is_ended_by_deletion(&self.event.content));
        let is_of_type = std::mem::discriminant(&self.event.content) == std::mem::discriminant(&event.content);
        counted && is_of_type && self.event.external_id == event.external_id
    }
}

/// Everything ever taken in, and which numbers are one person's.
#[derive(Default)]
pub struct Past {
    pub known: Vec<Known>,
    by_mark: HashMap<EventMark, usize>,
    numbers: HashMap<Personnummer, usize>,
    number: Vec<Personnummer>,
    /// Of each number one of those that are the same person's: the same one for all.
    root: Vec<usize>,
}

/// A recipient that may be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitled {
    pub recipient: Recipient,
    /// The rules that name it, the first in front.
    pub by: Vec<Audience>,
    pub identified: bool,
}

/// One record of DFDG: its newest registration, and what it said last.
struct Latest<T> {
    external_id: ExternalId,
    registered: Stamp,
    period: Period,
    holds: Option<T>,
    said: Option<T>,
    /// Whether several registrations, none newer than the others, differ: it is nobody's.
    is_contradicted: bool,
    /// Whether it was corrected to somebody else.
    is_anothers: bool,
}

/// One registration of a record: the event, its days, and what it says.
type Registration<'a, T> = (&'a Event, Period, Option<T>);

/// What orders the registrations of a record and its end: of one instant the end is
/// the last.
pub type Stamp = (Moment, u8, EventMark);

/// Of memberships, the days of all registrations of which none is newer than another, and
/// whether they differ in what they say or in when it ends. The newest one is the last.
fn all_of_the_newest<T: PartialEq>(registrations: &[Registration<'_, T>]) -> Option<(Period, bool)> {
    let (newest, period, value) = registrations.last()?;
    if !matches!(newest.content, Content::Membership { .. }) || newest.change == Change::Deleted {
        return None;
    }
    let is_tied = |event: &Event| event.registered.at == newest.registered.at && event.change == newest.change;
    // Of another number of the person only the newest is known: another's had taken it away.
    let is_known = |event: &Event| {
        let of_number = registrations.iter().filter(|(other, ..)| other.personnummer == event.personnummer && is_tied(other));
        event.personnummer == newest.personnummer || of_number.last().is_some_and(|(last, ..)| last.mark == event.mark)
    };
    let tied = || registrations.iter().filter(|(event, ..)| is_tied(event) && is_known(event));
    let differ = tied().any(|(_, other, said)| said != value || other.end() != period.end());
    let start = tied().map(|(_, period, _)| period.start()).min()?;
    let is_open = tied().any(|(_, period, _)| period.end().is_none());
    let end = tied().filter_map(|(_, period, _)| period.end()).max().filter(|_| !is_open);
    Some((Period::new(start, end)?, differ))
}

/// Who has a record that a deletion rule covers.
pub struct Keeper {
    pub node: usize,
    pub stamp: Stamp,
    /// Whether it has not been deleted or recalled.
    pub is_there: bool,
    /// The place of the event that says so.
    place: usize,
}

/// The place of an event among those about its record.
pub fn stamp(event: &Event) -> Stamp {
    let change = if matches!(event.content, Content::Deletion { .. }) { Change::Deleted } else { event.change };
    (event.registered.at, change.number(), event.mark)
}

/// Whether the record that an event is about has been deleted since.
#[derive(Debug, Clone, Copy)]
pub struct Lateness {
    /// It has, by a `GdprSletning` that came under the same number.
    pub certain: bool,
    /// It has, under a number of the same person.
    pub likely: bool,
    /// It may have.
    pub possible: bool,
}

/// As what type an event is told.
pub fn told_as(event: &Event, rules: &Rules) -> Option<MessageType> {
    let Content::Deletion { area, after_death, .. } = &event.content else {
        return rules.message_types().find(|kind| kind.name == event.entity).map(|kind| MessageType::clone(kind));
    };
    let notice_of = |area: &str| rules.message_types().find(|kind| kind.notice_for.iter().any(|of| &**of == area));
    let own = notice_of(area).map(|kind| MessageType::clone(kind));
    if !after_death {
        return own;
    }
    // Whoever would be told of the deletion is told of it because of the death as well.
    let mut notice = MessageType::clone(notice_of("afdoed")?);
    for rule in own.into_iter().flat_map(|own| own.audiences) {
        if !notice.audiences.contains(&rule) {
            notice.audiences.push(rule);
        }
    }
    Some(notice)
}

/// The days that an event is about: without Startdato from the day on which it
/// was registered, or from Slutdato where that is earlier.
fn days(event: &Event) -> Period {
    let registered = Day::in_copenhagen(event.registered.at);
    let start = match (event.start, event.end) {
        (Some(start), _) => start,
        (None, Some(end)) if end < registered => end,
        (None, _) => registered,
    };
    Period::new(start, event.end).expect("the world sends no period that ends before it begins")
}

/// Whether there is one such record in all of DFDG, whoever it is about.
fn is_owned(content: &Content) -> bool {
    matches!(
        content,
        Content::Membership { .. }
            | Content::Jobcentre { .. }
            | Content::Residence { .. }
            | Content::ContactGroup { .. }
            | Content::Plan { .. }
            | Content::Death { .. }
            | Content::NumberChange { .. }
    )
}

/// Whether such a record holds no more once DFDG has deleted it.
fn is_ended_by_deletion(content: &Content) -> bool {
    matches!(content, Content::ContactGroup { .. } | Content::Plan { .. })
}

/// A record: its EntitetNavn, and its EksternIdentifier.
pub type RecordName = (Arc<str>, ExternalId);

/// Returns which record an event is about: a registration of it, or its deletion.
pub fn record_of(event: &Event) -> RecordName {
    (entity_of_record(event).into(), event.external_id.clone())
}

fn entity_of_record(event: &Event) -> &str {
    match &event.content {
        Content::Deletion { entity, .. } => entity,
        _ => &event.entity,
    }
}

/// Whether two events are about one record: registrations of it, or its deletion.
pub fn is_about(one: &Event, other: &Event) -> bool {
    one.external_id == other.external_id && entity_of_record(one) == entity_of_record(other)
}

/// Both days count; without an end it goes on.
fn covers(period: &Period, day: Day) -> bool {
    let from = period.start() <= day;
    match period.end() {
        Some(last) => from && day <= last,
        None => from,
    }
}

/// What holds on a day: of what covers it, whatever began last; nothing where
/// several different things began last.
fn in_force<T: PartialEq + Clone>(claims: &[(Period, T)], day: Day) -> Option<T> {
    let covering = || claims.iter().filter(|(period, _)| covers(period, day));
    let last = covering().map(|(period, _)| period.start()).max()?;
    let mut values: Vec<&T> = covering().filter(|(period, _)| period.start() == last).map(|(_, value)| value).collect();
    values.dedup();
    if values.len() == 1 { Some(values[0].clone()) } else { None }
}

impl Past {
    /// Whose number it is, as known now: the same for all numbers of a person.
    pub fn root(&self, node: usize) -> usize {
        self.root[node]
    }

    fn node(&mut self, number: Personnummer) -> usize {
        if let Some(node) = self.numbers.get(&number) {
            return *node;
        }
        let node = self.root.len();
        self.root.push(node);
        self.number.push(number);
        self.numbers.insert(number, node);
        node
    }

    /// The changes of number that stand: from whose to whose, and when that was
    /// registered. Of one record the newest registration counts, under whichever
    /// number it came.
    fn standing_changes(&self) -> Vec<(usize, usize, Stamp)> {
        let mut nodes: Vec<usize> = self.changes_of_number().map(|known| known.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut standing = Vec::new();
        for node in nodes {
            let of_node = || self.changes_of_number().filter(|known| known.node == node);
            let records: BTreeSet<&ExternalId> = of_node().map(|known| &known.event.external_id).collect();
            for record in records {
                let of_record = || of_node().filter(|known| known.event.external_id == *record);
                let stamp = |known: &Known| stamp(&known.event);
                let Some(newest) = of_record().max_by_key(|known| stamp(known)) else { continue };
                let first = of_record().map(|known| known.place).min().unwrap_or_default();
                let moved = self.known.iter().any(|other| {
                    matches!(other.event.content, Content::NumberChange { .. })
                        && other.event.external_id == *record
                        && other.node != node
                        && !other.spent
                        && other.forgotten_at.is_none_or(|at| first < at)
                        && !self.went_with_its_owner(other, first)
                        && stamp(other) > stamp(newest)
                });
                if let Some(becomes) = newest.becomes.filter(|_| !moved) {
                    standing.push((node, becomes, stamp(newest)));
                }
            }
        }
        standing
    }

    /// Whether the record had been corrected to somebody else, who was forgotten before
    /// `place`: whose it is nobody knows since. Whoever it was only said to be deleted
    /// of never had it.
    fn went_with_its_owner(&self, known: &Known, place: usize) -> bool {
        let stamp = |known: &Known| stamp(&known.event);
        self.known.iter().any(|owner| {
            owner.forgotten_at.is_some_and(|at| known.place < at && at <= place)
                && owner.registers_record_of(&known.event)
                && owner.node != known.node
                && stamp(owner) > stamp(known)
        })
    }

    fn changes_of_number(&self) -> impl Iterator<Item = &Known> {
        let is_one = |known: &&Known| matches!(known.event.content, Content::NumberChange { .. });
        self.known.iter().filter(|known| !known.forgotten && !known.spent).filter(is_one)
    }

    /// Finds out anew which numbers are one person's.
    fn regroup(&mut self) {
        self.root = (0..self.root.len()).collect();
        for (one, other, _) in self.standing_changes() {
            let (one, other) = (self.root[one], self.root[other]);
            self.root.iter_mut().filter(|root| **root == other).for_each(|root| *root = one);
        }
    }

    pub fn has(&self, mark: &EventMark) -> bool {
        self.by_mark.contains_key(mark)
    }

    pub fn by_mark(&self, mark: &EventMark) -> Option<&Known> {
        self.by_mark.get(mark).map(|at| &self.known[*at])
    }

    /// Takes in an event; a change of number makes two numbers one person's for as
    /// long as it stands.
    pub fn take_in(&mut self, event: Arc<Event>, (seq, at): (EventSeq, Moment), first_load: bool, late: bool) {
        let node = self.node(event.personnummer);
        let spent = self.is_spent(&event);
        let becomes = match &event.content {
            Content::NumberChange { new: Some(new) } if event.change != Change::Deleted && *new != event.personnummer && !spent => {
                Some(self.node(*new))
            }
            _ => None,
        };
        let place = self.known.len();
        self.by_mark.insert(event.mark, place);
        let days = days(&event);
        let changes_number = matches!(event.content, Content::NumberChange { .. });
        self.known.push(Known {
            event,
            seq,
            at,
            first_load,
            late,
            spent,
            days,
            place,
            node,
            becomes,
            forgotten: false,
            forgotten_at: None,
        });
        if changes_number {
            self.regroup();
        }
    }

    /// Whether its record is nobody's any more, and something newer was known of it of somebody
    /// who has been forgotten. Of contact groups and plans a deletion tells that they are over.
    fn is_spent(&self, event: &Event) -> bool {
        let decides = matches!(
            event.content,
            Content::Membership { .. }
                | Content::Jobcentre { .. }
                | Content::Residence { .. }
                | Content::Death { .. }
                | Content::NumberChange { .. }
        );
        let of_record = || self.known.iter().filter(|known| known.registers_record_of(event));
        let forgotten = || of_record().filter_map(|known| Some((known, known.forgotten_at?)));
        // What was registered of somebody else while that one was known took it away.
        let has_it = |known: &Known| !forgotten().any(|(other, at)| known.place < at && stamp(&other.event) > stamp(&known.event));
        let is_somebodys = of_record().any(|known| !known.forgotten && has_it(known));
        let instant = |event: &Event| (event.registered.at, event.change.number());
        decides && !is_somebodys && forgotten().any(|(known, _)| instant(&known.event) > instant(event))
    }

    /// Whether an event, not taken in yet, is about a record that has been deleted or
    /// recalled since it was registered, as far as anybody can tell: what is forgotten
    /// in time, and who is one person when, may decide otherwise.
    pub fn is_late(&self, event: &Event, rules: &Rules) -> Lateness {
        let stamp_as = |event: &Event, change: Change| (event.registered.at, change.number(), event.mark);
        let own = stamp_as(event, event.change);
        let node = self.numbers.get(&event.personnummer).copied();
        let is_deletion = |known: &Known| matches!(known.event.content, Content::Deletion { .. });
        let ends = |known: &&Known| match &known.event.content {
            Content::Deletion { entity, .. } => **entity == *event.entity,
            _ => known.event.change == Change::Deleted && known.event.entity == event.entity && is_kept(&event.entity, rules),
        };
        let is_about_it = |known: &&Known| known.event.external_id == event.external_id;
        let of_record = |known: &&Known| !known.forgotten && is_about_it(known);
        let mut lateness = Lateness { certain: false, likely: false, possible: false };
        for known in self.known.iter().filter(is_about_it).filter(ends) {
            let is_later = stamp_as(&known.event, Change::Deleted) > own;
            let before = self.known[..known.place].iter().filter(of_record).filter(|other| other.event.entity == event.entity);
            let newest = before.map(|other| stamp_as(&other.event, other.event.change)).max().filter(|_| is_deletion(known));
            let may_be_later = is_later || newest > Some(own);
            if known.forgotten {
                // Whoever it was taken from by that, and is still known, keeps that it is gone.
                lateness.possible |= newest.is_some() && may_be_later;
                continue;
            }
            let is_there_again = self.known[known.place..].iter().filter(of_record).any(|other| {
                let registers = other.event.entity == event.entity && other.event.change != Change::Deleted;
                registers && stamp_as(&other.event, other.event.change) > stamp_as(&known.event, Change::Deleted)
            });
            let is_later = is_later && !is_there_again;
            let is_theirs = node.is_some_and(|node| self.is_same(known.node, node));
            lateness.certain |= is_later && is_deletion(known) && Some(known.node) == node;
            lateness.likely |= is_later && is_theirs;
            lateness.possible |= may_be_later;
        }
        if event.details.is_some() || is_kept(&event.entity, rules) && !matches!(event.content, Content::Deletion { .. }) {
            let keeper = self.keeper_of_the_record(event, rules).filter(|keeper| keeper.stamp > own);
            let anothers = keeper.filter(|keeper| node.is_none_or(|node| !self.is_same(keeper.node, node)));
            lateness.certain |= anothers.as_ref().is_some_and(|keeper| keeper.is_there);
            lateness.likely |= anothers.is_some();
            // Somebody may have been forgotten since, or what was deleted.
            let is_newer = |known: &&Known| Some(known.node) != node && is_about(&known.event, event) && stamp(&known.event) > own;
            lateness.possible |= self.known.iter().any(|known| is_newer(&known));
        }
        lateness
    }

    /// Who has the record that an event registers or ends, by everything taken in: the
    /// newest registration counts, and a deletion ends it whoever it is said to be of.
    pub fn keeper_of_the_record(&self, event: &Event, rules: &Rules) -> Option<Keeper> {
        let is_deletion = |event: &Event| matches!(event.content, Content::Deletion { .. });
        // Of others a deletion is all that is known.
        if !is_deletion(event) && !is_kept(&event.entity, rules) {
            return None;
        }
        let mut keeper: Option<Keeper> = None;
        let is_forgotten = |keeper: &Keeper, then: usize| self.known[keeper.place].forgotten_at.is_some_and(|at| at <= then);
        for known in self.known.iter().filter(|known| is_about(&known.event, event)) {
            keeper = keeper.filter(|keeper| !is_forgotten(keeper, known.place));
            let own = stamp(&known.event);
            let is_deletion = is_deletion(&known.event);
            if !is_deletion && !is_kept(&known.event.entity, rules) {
                continue;
            }
            let is_older = keeper.as_ref().is_some_and(|keeper| keeper.is_there && own < keeper.stamp);
            if known.late || is_older && !is_deletion {
                continue;
            }
            let stamp = if is_deletion { keeper.map_or(own, |keeper| own.max(keeper.stamp)) } else { own };
            let is_there = !is_deletion && known.event.change != Change::Deleted;
            keeper = Some(Keeper { node: known.node, stamp, is_there, place: known.place });
        }
        keeper.filter(|keeper| !is_forgotten(keeper, self.known.len()))
    }

    /// Whether a record of theirs was registered under somebody else's number since.
    pub fn any_has_moved_on(&self, person: usize) -> bool {
        let theirs = || self.events_of(person);
        let is_newer = |other: &Known, known: &Known| {
            let is_deletion = matches!(other.event.content, Content::Deletion { .. });
            is_about(&other.event, &known.event) && (is_deletion || stamp(&other.event) > stamp(&known.event))
        };
        theirs().any(|known| self.known.iter().any(|other| other.node != known.node && is_newer(other, known)))
    }

    /// What DFDG has deleted of a record holds no more: of what was known by then
    /// nothing, and later only what was registered after all of that.
    fn is_gone(&self, known: &Known) -> bool {
        self.is_gone_by(known, &self.known)
    }

    /// As [`Past::is_gone`], by these deletions alone.
    fn is_gone_by(&self, known: &Known, deletions: &[Known]) -> bool {
        let of_record = |other: &&Known| other.event.external_id == known.event.external_id && other.event.entity == known.event.entity;
        deletions.iter().any(|deletion| {
            let Content::Deletion { entity, .. } = &deletion.event.content else { return false };
            if deletion.event.external_id != known.event.external_id || **entity != *known.event.entity {
                return false;
            }
            // Of whoever has been forgotten since, nothing says so any more.
            let then = known.place.max(deletion.place);
            let is_known = |other: &&Known| !other.late && other.forgotten_at.is_none_or(|at| then < at);
            let before = || self.known[..deletion.place].iter().filter(of_record).filter(is_known);
            let Some(newest) = before().map(|other| stamp(&other.event)).max() else { return false };
            known.place < deletion.place || stamp(&known.event) <= newest.max(stamp(&deletion.event))
        })
    }

    /// Forgets a person: what was taken in is recognized when it comes again, and
    /// counts for nothing; the numbers are nobody's.
    pub fn forget(&mut self, person: usize) {
        let person = self.root(person);
        let nobody = self.root.len();
        // Whose number that was is never asked.
        self.number.push(self.number[person]);
        let then = self.known.len();
        let is_theirs = |past: &Self, node: usize| past.root(node) == person;
        let numbers: Vec<Personnummer> =
            self.numbers.iter().filter(|(_, node)| is_theirs(self, **node)).map(|(number, _)| *number).collect();
        let known: Vec<usize> = (0..then).filter(|at| is_theirs(self, self.known[*at].node)).collect();
        self.root.push(nobody);
        for at in known {
            self.known[at].node = nobody;
            self.known[at].forgotten = true;
            self.known[at].forgotten_at.get_or_insert(then);
        }
        for number in numbers {
            self.numbers.remove(&number);
        }
        self.regroup();
    }

    /// Whose number it is, if anybody's.
    pub fn person_with(&self, number: &Personnummer) -> Option<usize> {
        self.numbers.get(number).map(|node| self.root(*node))
    }

    /// Whose the event is, as known now.
    pub fn person_of(&self, event: &Event) -> usize {
        if let Some(known) = self.by_mark(&event.mark) {
            return self.root(known.node);
        }
        self.root(self.numbers[&event.personnummer])
    }

    pub fn is_same(&self, a: usize, b: usize) -> bool {
        self.root(a) == self.root(b)
    }

    fn events_of(&self, person: usize) -> impl Iterator<Item = &Known> {
        let person = self.root(person);
        self.known.iter().filter(move |known| self.root(known.node) == person)
    }

    /// A record that has been told of, and by all that is known has not been
    /// deleted: no `GdprSletning` came after its newest registration, or that is
    /// newer than the one that came before it; and no newer recall, ever.
    pub fn record_still_there(&self, person: usize, has_rule: impl Fn(&str) -> bool) -> Option<String> {
        let stamp = |event: &Event, change: Change| (event.registered.at, change.number(), event.mark);
        let mut newest: BTreeMap<(&str, &ExternalId), &Known> = BTreeMap::new();
        for known in self.events_of(person).filter(|known| has_rule(&known.event.entity) && known.event.change != Change::Deleted) {
            let newest = newest.entry((&known.event.entity, &known.event.external_id)).or_insert(known);
            if stamp(&newest.event, newest.event.change) < stamp(&known.event, known.event.change) {
                *newest = known;
            }
        }
        let is_gone = |registration: &Known| {
            let told = stamp(&registration.event, registration.event.change);
            // Under whichever number: there is one such record in all of DFDG.
            self.known.iter().any(|known| {
                let event = &known.event;
                let is_newer = stamp(event, Change::Deleted) >= told;
                event.external_id == registration.event.external_id
                    && match &event.content {
                        Content::Deletion { entity, .. } => {
                            **entity == *registration.event.entity && (known.seq > registration.seq || is_newer)
                        }
                        _ => event.change == Change::Deleted && event.entity == registration.event.entity && is_newer,
                    }
            })
        };
        // One that was joined with somebody for a while may have lost it to them.
        let is_anothers = |registration: &Known| {
            let told = stamp(&registration.event, registration.event.change);
            self.known.iter().any(|known| {
                let event = &known.event;
                event.external_id == registration.event.external_id
                    && event.entity == registration.event.entity
                    && stamp(event, event.change) > told
            })
        };
        newest
            .into_values()
            .find(|registration| !is_gone(registration) && !is_anothers(registration))
            .map(|known| known.event.id.to_string())
    }

    /// Recalls and deletions of records that are the last word of DFDG's on each, and less than
    /// four weeks old: whoever has a copy is to be told of a deletion that is to come.
    pub fn ends_since(&self, person: usize, has_rule: impl Fn(&str) -> bool, day: Day) -> impl Iterator<Item = &Event> {
        let is_end = move |event: &Event| match &event.content {
            Content::Deletion { .. } => true,
            _ => event.change == Change::Deleted && has_rule(&event.entity),
        };
        let is_last = |known: &Known| {
            !self.known.iter().any(|other| is_about(&other.event, &known.event) && stamp(&other.event) > stamp(&known.event))
        };
        let is_recent = move |known: &Known| day.number() - Day::in_copenhagen(known.at).number() < 28;
        let ends = self.events_of(person).filter(move |known| is_end(&known.event) && is_recent(known) && !known.forgotten);
        ends.filter(move |known| is_last(known)).map(|known| &*known.event)
    }

    /// Whether DFDG ever said that it has deleted, recalled or handed over something.
    pub fn any_was_deleted(&self, person: usize) -> bool {
        let is_end = |event: &Event| matches!(event.content, Content::Deletion { .. } | Content::HandedOver { .. });
        self.events_of(person).any(|known| known.event.change == Change::Deleted || is_end(&known.event))
    }

    /// Whether anybody has the person on that day, or is to have them: a fund, a
    /// jobcentre, a kommune, a contact group or a plan. Nobody has the dead.
    pub fn is_somebodys(&self, person: usize, day: Day) -> bool {
        fn goes_on<T>(latest: Vec<Latest<T>>, day: Day) -> bool {
            latest
                .iter()
                .any(|latest| (latest.holds.is_some() || latest.is_contradicted) && latest.period.end().is_none_or(|last| day <= last))
        }
        let plans = self.latest(person, |known| match &known.event.content {
            Content::Plan { kind, .. } => Some((known.days, *kind)),
            _ => None,
        });
        let has = goes_on(self.memberships(person), day)
            || goes_on(self.jobcentres(person), day)
            || goes_on(self.residences(person), day)
            || goes_on(self.groups(person), day)
            || goes_on(plans, day);
        has && !self.is_dead(person, day)
    }

    /// The number that a person has now.
    pub fn number_of(&self, person: usize) -> Personnummer {
        let changes = self.standing_changes().into_iter().filter(|(_, becomes, _)| self.is_same(*becomes, person));
        let newest = changes.max_by_key(|(.., registered)| *registered);
        self.number[newest.map_or(person, |(_, becomes, _)| becomes)]
    }

    fn latest<T: Clone + PartialEq>(&self, person: usize, of: impl Fn(&Known) -> Option<(Period, Option<T>)>) -> Vec<Latest<T>> {
        let mut found: BTreeMap<&ExternalId, Vec<Registration<'_, T>>> = BTreeMap::new();
        for known in self.events_of(person) {
            let counts = (!is_ended_by_deletion(&known.event.content) || !known.late) && !known.spent;
            if let Some((period, value)) = of(known).filter(|_| counts) {
                let gone = is_ended_by_deletion(&known.event.content) && self.is_gone(known);
                found.entry(&known.event.external_id).or_default().push((&known.event, period, value.filter(|_| !gone)));
            }
        }
        let mut latest = Vec::new();
        for (external_id, mut registrations) in found {
            registrations.sort_by_key(|(event, ..)| stamp(event));
            let first = registrations.iter().filter_map(|(event, ..)| self.by_mark.get(&event.mark)).min().copied().unwrap_or_default();
            // What only a recall says counts where nothing else says anything.
            let mut by_weight: Vec<_> = registrations
                .iter()
                .map(|(event, _, value)| ((event.change != Change::Deleted).then(|| stamp(event)), event.mark, value))
                .collect();
            by_weight.sort_by_key(|(at, mark, _)| (*at, *mark));
            let said = by_weight.iter().rev().find_map(|(_, _, value)| (*value).clone());
            let tied = all_of_the_newest(&registrations);
            let Some((event, period, value)) = registrations.pop() else { continue };
            let is_contradicted = tied.as_ref().is_some_and(|(_, differ)| *differ);
            let period = tied.map_or(period, |(period, _)| period);
            // A registration that was corrected to somebody else holds for nobody here.
            let is_anothers = is_owned(&event.content)
                && self.known.iter().any(|other| {
                    // Of a person who was forgotten since, if both were known at once.
                    other.forgotten_at.is_none_or(|at| first < at)
                        && !self.went_with_its_owner(other, first)
                        && other.registers_record_of(event)
                        && self.root(other.node) != self.root(person)
                        && stamp(&other.event) > stamp(event)
                });
            let is_contradicted = is_contradicted && !is_anothers;
            let value = if is_anothers || is_contradicted { None } else { value };
            latest.push(Latest {
                external_id: external_id.clone(),
                registered: stamp(event),
                period,
                holds: if event.change == Change::Deleted { None } else { value },
                said,
                is_contradicted,
                is_anothers,
            });
        }
        latest
    }

    fn memberships(&self, person: usize) -> Vec<Latest<Akassekode>> {
        self.latest(person, |known| match &known.event.content {
            Content::Membership { fund } => Some((known.days, *fund)),
            _ => None,
        })
    }

    /// Routed by the first three digits: two jobcentres of one kommune are one.
    fn jobcentres(&self, person: usize) -> Vec<Latest<Kommunekode>> {
        self.latest(person, |known| match &known.event.content {
            Content::Jobcentre { jobcentre } => Some((known.days, jobcentre.map(|jobcentre| jobcentre.kommune()))),
            _ => None,
        })
    }

    fn residences(&self, person: usize) -> Vec<Latest<Kommunekode>> {
        self.latest(person, |known| match &known.event.content {
            Content::Residence { kommune } => Some((known.days, *kommune)),
            _ => None,
        })
    }

    fn groups(&self, person: usize) -> Vec<Latest<i64>> {
        self.latest(person, |known| match &known.event.content {
            Content::ContactGroup { group, .. } => Some((known.days, *group)),
            _ => None,
        })
    }

    fn current_plan(&self, person: usize, day: Day) -> Option<PlanKind> {
        let plans = self.latest(person, |known| match &known.event.content {
            Content::Plan { kind, later_version } => Some((known.days, kind.map(|kind| (kind, later_version.is_some())))),
            _ => None,
        });
        let mut current: Vec<_> = plans
            .iter()
            .filter_map(|plan| plan.holds.as_ref().map(|(kind, replaced)| (plan, kind, replaced)))
            .filter(|(plan, _, replaced)| !**replaced && covers(&plan.period, day))
            .collect();
        current.sort_by_key(|(plan, ..)| (plan.period.start(), plan.registered));
        current.last().map(|(_, kind, _)| **kind)
    }

    fn is_dead(&self, person: usize, day: Day) -> bool {
        let deaths = self.latest(person, |known| match &known.event.content {
            Content::Death { on } => Some((known.days, *on)),
            _ => None,
        });
        deaths.iter().any(|death| death.holds.is_some_and(|on| on <= day))
    }

    /// The rule "decided again at the moment of sending", from scratch.
    pub fn entitled(&self, event: &Event, rules: &Rules, day: Day, holders: &BTreeSet<Recipient>) -> Vec<Entitled> {
        let person = self.person_of(event);
        let Some(kind) = told_as(event, rules) else { return Vec::new() };
        if !kind.after_death && self.is_dead(person, day) {
            return Vec::new();
        }
        let fund = self.fund(person, day);
        let jobcentre = self.kommune(&self.jobcentres(person), day);
        let residence = self.kommune(&self.residences(person), day);
        let has = |recipient: Recipient| [fund, jobcentre, residence].contains(&Some(recipient));
        let mut entitled: Vec<Entitled> = Vec::new();
        let (holder_rules, others): (Vec<_>, Vec<_>) = kind.audiences.iter().partition(|rule| rule.audience == Audience::Holders);
        for rule in others.into_iter().chain(holder_rules) {
            if !rule.conditions.iter().all(|condition| self.holds(condition, event, person, day)) {
                continue;
            }
            let named: BTreeSet<Recipient> = match rule.audience {
                Audience::AkasseOwnMembers => fund.into_iter().collect(),
                Audience::JobcenterOwnCitizens => jobcentre.into_iter().collect(),
                Audience::KommuneOwnResidents => residence.into_iter().collect(),
                Audience::AkasseOfRecord => self.fund_of_record(event, person).into_iter().collect(),
                Audience::AkasseSinceFirstPlacement => self.funds_since_placement(person, day),
                Audience::JobcentersEver => {
                    let had = |latest: &Latest<Kommunekode>| latest.holds.filter(|_| latest.period.start() <= day);
                    self.jobcentres(person).iter().filter_map(had).map(Recipient::Kommune).collect()
                }
                Audience::Holders => holders.clone(),
                Audience::RegisteringAuthority => registrar(event).into_iter().collect(),
            };
            for recipient in named {
                let Some(configured) = rules.recipients().find(|configured| configured.recipient == recipient) else { continue };
                let is_open =
                    configured.valid_from.is_none_or(|from| day >= from) && configured.valid_until.is_none_or(|until| day <= until);
                let wants = !kind.voluntary || rule.audience == Audience::Holders || configured.subscriptions.include(&kind.name);
                if !is_open || !wants {
                    continue;
                }
                if let Some(other) = entitled.iter_mut().find(|other| other.recipient == recipient) {
                    // Whoever is entitled anyway is not told as a holder.
                    if rule.audience != Audience::Holders && !other.by.contains(&rule.audience) {
                        other.by.push(rule.audience);
                        other.by[1..].sort_unstable();
                    }
                    continue;
                }
                let by_past = matches!(rule.audience, Audience::AkasseSinceFirstPlacement | Audience::JobcentersEver | Audience::Holders);
                entitled.push(Entitled { recipient, by: vec![rule.audience], identified: !by_past || has(recipient) });
            }
        }
        entitled
    }

    fn fund(&self, person: usize, day: Day) -> Option<Recipient> {
        let memberships = self.memberships(person);
        let counts = |latest: &&Latest<Akassekode>| latest.holds.is_some() || latest.is_contradicted;
        let claims: Vec<_> = memberships.iter().filter(counts).map(|latest| (latest.period, latest.holds)).collect();
        in_force(&claims, day).flatten().map(Recipient::Akasse)
    }

    fn kommune(&self, latest: &[Latest<Kommunekode>], day: Day) -> Option<Recipient> {
        let claims: Vec<_> = latest.iter().filter_map(|latest| Some((latest.period, latest.holds?))).collect();
        in_force(&claims, day).map(Recipient::Kommune)
    }

    fn fund_of_record(&self, event: &Event, person: usize) -> Option<Recipient> {
        let Content::Membership { .. } = &event.content else { return None };
        let latest = self.memberships(person).into_iter().find(|latest| latest.external_id == event.external_id)?;
        let is_newest = latest.registered == stamp(event) && !latest.is_anothers;
        if latest.is_contradicted {
            return None;
        }
        // Of a recalled record only the recall itself is told.
        let fund = if latest.holds.is_none() && is_newest { latest.said } else { latest.holds };
        fund.map(Recipient::Akasse)
    }

    fn funds_since_placement(&self, person: usize, day: Day) -> BTreeSet<Recipient> {
        let groups = self.groups(person);
        let standing = groups.iter().filter(|latest| latest.holds == Some(1)).map(|latest| latest.period.start());
        let Some(first) = standing.chain(self.deleted_placements(person)).min() else { return BTreeSet::new() };
        if first > day {
            return BTreeSet::new();
        }
        let memberships = self.memberships(person);
        let since = |latest: &&Latest<Akassekode>| latest.period.start() <= day && latest.period.end().is_none_or(|last| last >= first);
        memberships.iter().filter(since).filter_map(|latest| latest.holds).map(Recipient::Akasse).collect()
    }

    /// The first days in kontaktgruppe 1 that a record of theirs said which DFDG then
    /// deleted: of everything known by the time of the deletion the newest counts.
    fn deleted_placements(&self, person: usize) -> Vec<Day> {
        let stamp = |known: &Known| stamp(&known.event);
        let mut found = Vec::new();
        for deletion in &self.known {
            let Content::Deletion { entity, .. } = &deletion.event.content else { continue };
            let before = &self.known[..deletion.place];
            let was_known = |known: &&Known| {
                matches!(known.event.content, Content::ContactGroup { .. })
                    && *known.event.entity == **entity
                    && known.event.external_id == deletion.event.external_id
                    && !known.late
                    && known.forgotten_at.is_none_or(|at| deletion.place < at)
            };
            let Some(newest) = before.iter().filter(was_known).max_by_key(|known| stamp(known)) else { continue };
            let stood = newest.event.change != Change::Deleted && !self.is_gone_by(newest, before);
            let is_placement = matches!(newest.event.content, Content::ContactGroup { group: Some(1), .. });
            if stood && is_placement && self.root(newest.node) == self.root(person) {
                found.push(newest.days.start());
            }
        }
        found
    }

    fn holds(&self, condition: &Condition, event: &Event, person: usize, day: Day) -> bool {
        match condition {
            Condition::ContactGroupIn(groups) => {
                let current = self.groups(person);
                current.iter().any(|latest| covers(&latest.period, day) && latest.holds.is_some_and(|group| groups.contains(&group)))
            }
            Condition::ContactGroupShift(groups) => {
                let Content::ContactGroup { group, former } = &event.content else { return false };
                let all = self.groups(person);
                let own = all.iter().find(|latest| latest.external_id == event.external_id);
                let new = group.or_else(|| own.and_then(|latest| latest.said));
                let before = || {
                    let start = days(event).start();
                    let mut earlier: Vec<_> = all
                        .iter()
                        .filter(|latest| latest.external_id != event.external_id && latest.period.start() < start && latest.holds.is_some())
                        .collect();
                    earlier.sort_by_key(|latest| (latest.period.start(), latest.registered));
                    earlier.last().and_then(|latest| latest.holds)
                };
                let old = former.or_else(before);
                [old, new].into_iter().flatten().any(|group| groups.contains(&group))
            }
            Condition::PlanIn(kinds) => self.current_plan(person, day).is_some_and(|kind| kinds.contains(&kind)),
        }
    }
}

fn registrar(event: &Event) -> Option<Recipient> {
    let registrar = event.registrar.as_ref()?;
    Recipient::parse(&format!("{}:{}", registrar.kind, registrar.code)).ok()
}
