//! The checked settings that decisions depend on: what `routing.toml` says,
//! after `config` has found nothing wrong with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::event::PlanKind;
use super::ids::{Akassekode, Kommunekode, Recipient};
use super::schedule::{DECEASED, Schedule};
use super::time::{Day, Moment};

/// A business domain of DFDG: the first word of a routing key, and a part of
/// what a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// `tilknytning`: what changes who may receive.
    Tilknytning,
    /// `kontaktforloeb`
    Kontaktforloeb,
    /// `fravaer`
    Fravaer,
    /// `plan`
    Plan,
    /// `joblog`
    Joblog,
    /// `ydelse`
    Ydelse,
    /// `gdpr`
    Gdpr,
}

impl Domain {
    /// Every domain, in the order of their numbers.
    pub const ALL: [Self; 7] = [Self::Tilknytning, Self::Kontaktforloeb, Self::Fravaer, Self::Plan, Self::Joblog, Self::Ydelse, Self::Gdpr];

    /// Returns the name on the wire and in `routing.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tilknytning => "tilknytning",
            Self::Kontaktforloeb => "kontaktforloeb",
            Self::Fravaer => "fravaer",
            Self::Plan => "plan",
            Self::Joblog => "joblog",
            Self::Ydelse => "ydelse",
            Self::Gdpr => "gdpr",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|domain| domain.name() == text)
    }
}

/// What a WSB carries besides its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Nothing: the recipient reads the data from DFDG.
    IdOnly,
    /// `Indhold` of the event.
    Body,
}

/// The rule that names recipients (STAR: afsendelsesstrategi).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Audience {
    /// The kommune of the jobcentre responsible for the citizen (2).
    JobcenterOwnCitizens,
    /// The kommune where the citizen lives (4).
    KommuneOwnResidents,
    /// The fund that the citizen is a member of (5).
    AkasseOwnMembers,
    /// The fund whose membership record the event is.
    AkasseOfRecord,
    /// Every fund since the first placement in kontaktgruppe 1.
    AkasseSinceFirstPlacement,
    /// Every jobcentre that has had the citizen.
    JobcentersEver,
    /// Whoever was ever sent something about the record (GDPR article 19).
    Holders,
    /// The authority that made the registration.
    RegisteringAuthority,
}

impl Audience {
    /// Every audience.
    pub const ALL: [Self; 8] = [
        Self::JobcenterOwnCitizens,
        Self::KommuneOwnResidents,
        Self::AkasseOwnMembers,
        Self::AkasseOfRecord,
        Self::AkasseSinceFirstPlacement,
        Self::JobcentersEver,
        Self::Holders,
        Self::RegisteringAuthority,
    ];

    /// Returns the name in `routing.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JobcenterOwnCitizens => "jobcenter-own-citizens",
            Self::KommuneOwnResidents => "kommune-own-residents",
            Self::AkasseOwnMembers => "akasse-own-members",
            Self::AkasseOfRecord => "akasse-of-record",
            Self::AkasseSinceFirstPlacement => "akasse-since-first-placement",
            Self::JobcentersEver => "jobcenters-ever",
            Self::Holders => "holders",
            Self::RegisteringAuthority => "registering-authority",
        }
    }

    /// Parses the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.name() == text)
    }
}

/// Some of the audiences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Audiences(u8);

impl Audiences {
    /// Returns the set that these bits stand for: the first stands for the first of
    /// [`Audience::ALL`].
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the bits.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Returns these and another one.
    #[must_use]
    pub fn with(self, audience: Audience) -> Self {
        Self(self.0 | bit(audience))
    }

    /// Returns these but one.
    #[must_use]
    pub fn without(self, audience: Audience) -> Self {
        Self(self.0 & !bit(audience))
    }

    /// Returns whether it is one of them.
    #[must_use]
    pub fn contain(self, audience: Audience) -> bool {
        self.0 & bit(audience) != 0
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns each of them.
    pub fn iter(self) -> impl Iterator<Item = Audience> {
        Audience::ALL.into_iter().filter(move |audience| self.contain(*audience))
    }
}

impl FromIterator<Audience> for Audiences {
    fn from_iter<I: IntoIterator<Item = Audience>>(audiences: I) -> Self {
        audiences.into_iter().fold(Self::default(), Self::with)
    }
}

fn bit(audience: Audience) -> u8 {
    1 << audience as u8
}

/// A condition on an audience. All conditions of an audience must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The citizen is in one of these contact groups on the day of sending.
    ContactGroupIn(Vec<i64>),
    /// The event shifts from or to one of these contact groups.
    ContactGroupShift(Vec<i64>),
    /// The plan in force on the day of sending is of one of these kinds.
    PlanIn(Vec<PlanKind>),
}

/// One audience of a type, with its conditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudienceRule {
    /// Who.
    pub audience: Audience,
    /// When.
    pub conditions: Vec<Condition>,
}

/// A message type: an EntitetNavn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageType {
    /// EntitetNavn.
    pub name: Arc<str>,
    /// EntitetId.
    pub entity_id: u32,
    /// Its domain.
    pub domain: Domain,
    /// What its WSBs carry.
    pub payload: Payload,
    /// Whether only recipients that subscribe get it.
    pub voluntary: bool,
    /// Whether it is still sent about a citizen who has died.
    pub after_death: bool,
    /// Who gets it; none for a type that only changes what the broker knows.
    pub audiences: Vec<AudienceRule>,
    /// The data areas whose deletion this type tells of. Not empty for a
    /// deletion notice only.
    pub notice_for: Vec<Box<str>>,
}

/// A recipient as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipientRule {
    /// Who.
    pub recipient: Recipient,
    /// What people call it today; never routed by.
    pub name: Box<str>,
    /// Its queue.
    pub queue: Arc<str>,
    /// The vendor that empties the queue.
    pub vendor: Box<str>,
    /// The voluntary types that it subscribes to.
    pub subscriptions: Subscriptions,
    /// First day on which it may be sent to.
    pub valid_from: Option<Day>,
    /// Last day on which it may be sent to.
    pub valid_until: Option<Day>,
    /// `x-max-length` of its queue: how many WSBs may lie unfetched.
    pub max_unfetched: u32,
    /// When its vendor's system is known to be away: nothing is attempted then.
    pub maintenance: Vec<Window>,
}

impl RecipientRule {
    /// Returns whether it may be sent to on `day`.
    #[must_use]
    pub fn is_open(&self, day: Day) -> bool {
        self.valid_from.is_none_or(|from| from <= day) && self.valid_until.is_none_or(|until| day <= until)
    }
}

/// A maintenance window, in Copenhagen time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// Once, from the first instant until before the second.
    Once {
        /// When it begins.
        from: Moment,
        /// When it is over.
        until: Moment,
    },
    /// Every week on one day.
    Weekly {
        /// On which, Monday being 1 and Sunday 7.
        weekday: u8,
        /// When it begins, in minutes after midnight by the clock on the wall.
        from: u16,
        /// When it is over, likewise; 1440 at the end of the day.
        until: u16,
    },
}

impl Window {
    /// Returns when the window that `now` is in began and when it is over; `None`
    /// when it is in none.
    #[must_use]
    pub fn around(&self, now: Moment) -> Option<(Moment, Moment)> {
        let (from, until) = match *self {
            Self::Once { from, until } => (from, until),
            Self::Weekly { weekday, from, until } => {
                let day = Day::in_copenhagen(now);
                if day.weekday() != weekday {
                    return None;
                }
                (day.at_minute(from), day.at_minute(until))
            }
        };
        (from <= now && now < until).then_some((from, until))
    }

    /// Returns when the window that `now` is in, or the next one, begins and is over;
    /// `None` when there will be none any more.
    #[must_use]
    pub fn next(&self, now: Moment) -> Option<(Moment, Moment)> {
        match *self {
            Self::Once { from, until } => (now < until).then_some((from, until)),
            Self::Weekly { weekday, from, until } => {
                let today = Day::in_copenhagen(now);
                // Today's may be over: then it is the one in a week.
                let days = (0..=7).map(|days| today.plus_days(days)).filter(|day| day.weekday() == weekday);
                days.map(|day| (day.at_minute(from), day.at_minute(until))).find(|(_, until)| now < *until)
            }
        }
    }
}

/// The voluntary types that a recipient gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subscriptions {
    /// All of them, future ones included.
    All,
    /// Those named.
    Only(BTreeSet<Box<str>>),
}

impl Subscriptions {
    /// Returns whether `entity` is among them.
    #[must_use]
    pub fn include(&self, entity: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(entity),
        }
    }
}

/// When a failed attempt is tried again, and when no more.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Milliseconds before the second attempt.
    pub initial_ms: u64,
    /// What each further delay is multiplied by.
    pub multiplier: f64,
    /// The longest delay, in milliseconds.
    pub max_ms: u64,
    /// Seconds after which a delivery is dead.
    pub give_up_after_s: u64,
}

impl Default for RetryPolicy {
    /// One second, doubling, at most an hour, for 72 hours.
    fn default() -> Self {
        Self { initial_ms: 1000, multiplier: 2.0, max_ms: 3_600_000, give_up_after_s: 259_200 }
    }
}

/// For how long what has been taken in is remembered. One journal serves both
/// purposes, so it is kept for the longer of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    /// Days within which a repeated event has no effect.
    pub duplicates_days: u32,
    /// Days for which everything that happened with an event can be told.
    pub traces_days: u32,
}

impl Default for Horizons {
    fn default() -> Self {
        Self { duplicates_days: 14, traces_days: 90 }
    }
}

impl Horizons {
    /// Returns the instant before which nothing is remembered.
    #[must_use]
    pub fn oldest(self, now: Moment) -> Moment {
        now.plus_seconds(-86_400 * i64::from(self.duplicates_days.max(self.traces_days)))
    }
}

/// Everything `routing.toml` says, and `retention.toml` beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    types: HashMap<Arc<str>, Arc<MessageType>>,
    notices: HashMap<Box<str>, Arc<MessageType>>,
    /// The notice after a death, by the data area of what was deleted.
    after_death: HashMap<Box<str>, Arc<MessageType>>,
    recipients: BTreeMap<Recipient, Arc<RecipientRule>>,
    retry: RetryPolicy,
    schedule: Arc<Schedule>,
}

impl Rules {
    /// Builds the rules. Of several entries of one name the last wins; `config`
    /// refuses such files before it comes to that.
    #[must_use]
    pub fn new(types: Vec<MessageType>, recipients: Vec<RecipientRule>, retry: RetryPolicy) -> Self {
        let types: HashMap<_, _> = types.into_iter().map(|t| (Arc::clone(&t.name), Arc::new(t))).collect();
        let mut by_name: Vec<_> = types.values().collect();
        by_name.sort_by(|a, b| a.name.cmp(&b.name));
        let notices: HashMap<Box<str>, Arc<MessageType>> =
            by_name.iter().flat_map(|t| t.notice_for.iter().map(|area| (area.clone(), Arc::clone(t)))).collect();
        let of_the_dead = notices.get(DECEASED).into_iter();
        let after_death = of_the_dead.flat_map(|of| notices.iter().map(|(area, own)| (area.clone(), also_to(of, own)))).collect();
        let recipients = recipients.into_iter().map(|r| (r.recipient, Arc::new(r))).collect();
        Self { types, notices, after_death, recipients, retry, schedule: Arc::default() }
    }

    /// Adds the deletion rules; without them nothing ever falls due.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Arc<Schedule>) -> Self {
        self.schedule = schedule;
        self
    }

    /// Returns the deletion rules.
    #[must_use]
    pub fn schedule(&self) -> &Arc<Schedule> {
        &self.schedule
    }

    /// Returns the type of that EntitetNavn.
    #[must_use]
    pub fn message_type(&self, entity: &str) -> Option<&Arc<MessageType>> {
        self.types.get(entity)
    }

    /// Returns every type, in no particular order.
    pub fn message_types(&self) -> impl Iterator<Item = &Arc<MessageType>> {
        self.types.values()
    }

    /// Returns the data areas of which some type is the deletion notice.
    pub fn noticed_areas(&self) -> impl Iterator<Item = &str> {
        self.notices.keys().map(|area| &**area)
    }

    /// Returns the deletion notice of a data area.
    #[must_use]
    pub fn notice(&self, area: &str) -> Option<&Arc<MessageType>> {
        self.notices.get(area)
    }

    /// Returns the notice of a deletion in a data area because the citizen has died: it goes
    /// besides to whom the area's own notice would go.
    #[must_use]
    pub fn notice_after_death(&self, area: &str) -> Option<&Arc<MessageType>> {
        self.after_death.get(area).or_else(|| self.notice(DECEASED))
    }

    /// Returns the recipient, if there is one.
    #[must_use]
    pub fn recipient(&self, recipient: Recipient) -> Option<&Arc<RecipientRule>> {
        self.recipients.get(&recipient)
    }

    /// Returns every recipient, in order.
    pub fn recipients(&self) -> impl ExactSizeIterator<Item = &Arc<RecipientRule>> {
        self.recipients.values()
    }

    /// Returns whether the code is that of an a-kasse, open or closed.
    #[must_use]
    pub fn knows_fund(&self, code: Akassekode) -> bool {
        self.recipients.contains_key(&Recipient::Akasse(code))
    }

    /// Returns whether the code is that of a kommune, open or closed (R 2.11).
    #[must_use]
    pub fn knows_kommune(&self, code: Kommunekode) -> bool {
        self.recipients.contains_key(&Recipient::Kommune(code))
    }

    /// Returns the retry policy.
    #[must_use]
    pub fn retry(&self) -> &RetryPolicy {
        &self.retry
    }
}

/// Returns a type with the audiences of another one besides its own.
fn also_to(kind: &Arc<MessageType>, other: &MessageType) -> Arc<MessageType> {
    let more: Vec<_> = other.audiences.iter().filter(|rule| !kind.audiences.contains(rule)).cloned().collect();
    if more.is_empty() {
        return Arc::clone(kind);
    }
    let audiences = kind.audiences.iter().cloned().chain(more).collect();
    Arc::new(MessageType { audiences, ..MessageType::clone(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_comes_next_until_it_is_over_for_good() {
        let at = |text: &str| Moment::parse_on_the_clock(text).expect("a time of the test");
        let check = |window: &Window, now: &str, expected: Option<(&str, &str)>| {
            assert_eq!(window.next(at(now)), expected.map(|(from, until)| (at(from), at(until))), "{window:?} {now}");
        };
        let once = Window::Once { from: at("2026-03-20T22:00"), until: at("2026-03-21T04:00") };
        let there = Some(("2026-03-20T22:00", "2026-03-21T04:00"));
        check(&once, "2026-01-01T00:00", there);
        check(&once, "2026-03-21T03:59", there);
        check(&once, "2026-03-21T04:00", None);
        // A Sunday, and one on which the clock is put forward.
        let weekly = Window::Weekly { weekday: 7, from: 120, until: 240 };
        check(&weekly, "2026-03-16T08:00", Some(("2026-03-22T02:00", "2026-03-22T04:00")));
        check(&weekly, "2026-03-22T03:00", Some(("2026-03-22T02:00", "2026-03-22T04:00")));
        let forward = weekly.next(at("2026-03-22T04:00"));
        assert_eq!(forward.map(|(_, until)| until), Some(at("2026-03-29T04:00")), "today's is over: the next is in a week");
    }
}
