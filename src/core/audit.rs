//! What operators have done: who, what, when, why, and whether it was only tried.
//!
//! Entries are only ever added. Each holds the hash of the former one, so that an
//! entry which was changed, left out or put in shows. Says nothing about the
//! entitlement of anybody: that is what traces are for.

use super::time::Moment;

/// What somebody has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A delivery was given up for good.
    DeliveryDiscarded,
    /// A replay was begun, or its selection counted.
    ReplayStarted,
    /// A replay was stopped.
    ReplayStopped,
    /// A stopped replay goes on.
    ReplayResumed,
    /// A replay goes on beyond its canary.
    ReplayReleased,
    /// A queue is left alone for a time.
    QueuePaused,
    /// A queue is not left alone any more.
    QueueResumed,
    /// A lane is held, so that nothing of it is attempted.
    LaneParked,
    /// A lane is held no more.
    LaneReleased,
    /// A message in quarantine was taken in again.
    QuarantineRetried,
    /// A message in quarantine was given up.
    QuarantineDiscarded,
    /// A citizen was erased.
    CitizenErased,
    /// A first load was taken in.
    Imported,
    /// A backup was made.
    BackedUp,
    /// Another `routing.toml` was taken over.
    RoutingReloaded,
    /// Another `retention.toml` was taken over.
    RetentionReloaded,
    /// Other tokens were taken over.
    TokensReloaded,
    /// Somebody began to use the console.
    SignedIn,
    /// Deletion notices that lay unfetched are taken as dealt with.
    NoticesClosed,
    /// Another master key was admitted, or only the present one kept.
    KeyRotated,
    /// The store was written from a backup.
    Restored,
}

impl Action {
    /// Every action, in the order of their numbers in stored rows.
    pub const ALL: [Self; 21] = [
        Self::DeliveryDiscarded,
        Self::ReplayStarted,
        Self::ReplayStopped,
        Self::ReplayResumed,
        Self::ReplayReleased,
        Self::QueuePaused,
        Self::QueueResumed,
        Self::LaneParked,
        Self::LaneReleased,
        Self::QuarantineRetried,
        Self::QuarantineDiscarded,
        Self::CitizenErased,
        Self::Imported,
        Self::BackedUp,
        Self::RoutingReloaded,
        Self::RetentionReloaded,
        Self::TokensReloaded,
        Self::SignedIn,
        Self::NoticesClosed,
        Self::KeyRotated,
        Self::Restored,
    ];

    /// Returns the action's name in the API and in what the hash is made of.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeliveryDiscarded => "delivery-discarded",
            Self::ReplayStarted => "replay-started",
            Self::ReplayStopped => "replay-stopped",
            Self::ReplayResumed => "replay-resumed",
            Self::ReplayReleased => "replay-released",
            Self::QueuePaused => "queue-paused",
            Self::QueueResumed => "queue-resumed",
            Self::LaneParked => "lane-parked",
            Self::LaneReleased => "lane-released",
            Self::QuarantineRetried => "quarantine-retried",
            Self::QuarantineDiscarded => "quarantine-discarded",
            Self::CitizenErased => "citizen-erased",
            Self::Imported => "imported",
            Self::BackedUp => "backed-up",
            Self::RoutingReloaded => "routing-reloaded",
            Self::RetentionReloaded => "retention-reloaded",
            Self::TokensReloaded => "tokens-reloaded",
            Self::SignedIn => "signed-in",
            Self::NoticesClosed => "notices-closed",
            Self::KeyRotated => "key-rotated",
            Self::Restored => "restored",
        }
    }
}

/// What somebody does, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// The name of the token, or of what acts without one.
    pub who: Box<str>,
    /// The role that allowed it.
    pub role: Box<str>,
    /// What is done.
    pub action: Action,
    /// What it is done to, by an id of ours or a recipient; never a person.
    pub about: Box<str>,
    /// Why, in that person's words, which may name somebody: sealed on disk,
    /// shown to operators only, and never logged.
    pub why: Option<Box<str>>,
    /// Whether it was only tried.
    pub dry_run: bool,
}

impl Deed {
    /// The longest text of what a deed is about, in bytes.
    const LONGEST: usize = 500;

    /// Makes a deed without a reason, done in earnest.
    #[must_use]
    pub fn new(who: &str, role: &str, action: Action, about: &str) -> Self {
        let about = about.char_indices().take_while(|(at, _)| *at < Self::LONGEST).map(|(_, c)| c).collect::<String>();
        Self { who: who.into(), role: role.into(), action, about: about.into(), why: None, dry_run: false }
    }

    /// Adds why it is done.
    #[must_use]
    pub fn because(self, why: &str) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Says whether it is only tried.
    #[must_use]
    pub fn tried(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

/// The hash of an entry.
pub type Hash = [u8; 32];

/// A deed in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// When it was done.
    pub at: Moment,
    /// What was done.
    pub deed: Deed,
    /// The hash of the entry before; zeros before the first.
    pub former: Hash,
    /// Its own.
    pub hash: Hash,
}

/// Where the log begins and ends, to tell whether it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The place of the oldest entry that is kept.
    pub first: u64,
    /// The hash of the one before it.
    pub before_first: Hash,
    /// The place of the newest entry; one less than `first` in an empty log.
    pub newest: u64,
    /// Its hash.
    pub newest_hash: Hash,
}

impl Extent {
    /// The log before its first entry.
    pub const EMPTY: Self = Self { first: 1, before_first: [0; 32], newest: 0, newest_hash: [0; 32] };

    /// For how long entries are kept, in seconds: five years. Older ones go when
    /// new ones come.
    pub const KEPT_SECONDS: i64 = 5 * 366 * 86_400;

    /// Returns whether an entry of that time may go.
    #[must_use]
    pub fn is_over(entry: Moment, now: Moment) -> bool {
        entry < now.plus_seconds(-Self::KEPT_SECONDS)
    }
}

/// In which order a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As it was written.
    OldestFirst,
    /// From its end.
    NewestFirst,
}

/// What the whole of a log has been found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// Nothing is missing, and nothing was changed.
    Sound {
        /// How many entries it has.
        entries: u64,
    },
    /// Something was changed, left out or put in at this place.
    Broken {
        /// Where it shows first.
        at: u64,
    },
}

/// Follows a log from its beginning and says whether it is whole.
#[derive(Debug, Clone)]
pub struct Inspection {
    extent: Extent,
    next: u64,
    former: Hash,
    broken: Option<u64>,
}

impl Inspection {
    /// Begins before the oldest entry.
    #[must_use]
    pub fn of(extent: Extent) -> Self {
        Self { extent, next: extent.first, former: extent.before_first, broken: None }
    }

    /// Looks at the next entry.
    pub fn look(&mut self, entry: &Entry) {
        if self.broken.is_none() && (entry.seq != self.next || entry.former != self.former) {
            self.broken = Some(self.next);
        }
        self.next = entry.seq + 1;
        self.former = entry.hash;
    }

    /// Ends behind the newest entry.
    #[must_use]
    pub fn end(self) -> Soundness {
        let whole = self.next == self.extent.newest + 1 && self.former == self.extent.newest_hash;
        match self.broken.or((!whole).then_some(self.next)) {
            Some(at) => Soundness::Broken { at },
            None => Soundness::Sound { entries: self.next - self.extent.first },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(len: u64) -> (Extent, Vec<Entry>) {
        let hash = |seq: u64| [seq as u8; 32];
        let entry = |seq| Entry {
            seq,
            at: Moment(seq as i64),
            deed: Deed::new("anna", "operator", Action::ReplayStarted, "1"),
            former: hash(seq - 1),
            hash: hash(seq),
        };
        (Extent { first: 3, before_first: hash(2), newest: 2 + len, newest_hash: hash(2 + len) }, (3..3 + len).map(entry).collect())
    }

    fn inspect(extent: Extent, entries: &[Entry]) -> Soundness {
        let mut inspection = Inspection::of(extent);
        entries.iter().for_each(|entry| inspection.look(entry));
        inspection.end()
    }

    #[test]
    fn what_was_changed_left_out_or_put_in_shows() {
        assert_eq!(inspect(Extent::EMPTY, &[]), Soundness::Sound { entries: 0 });
        let (extent, entries) = log(5);
        assert_eq!(inspect(extent, &entries), Soundness::Sound { entries: 5 });
        for at in 0..5 {
            let seq = at as u64 + 3;
            let mut without = entries.clone();
            without.remove(at);
            assert_eq!(inspect(extent, &without), Soundness::Broken { at: seq }, "without the entry {seq}");
            let mut changed = entries.clone();
            changed[at].hash[0] ^= 1;
            assert_eq!(inspect(extent, &changed), Soundness::Broken { at: seq + 1 }, "changed at {seq}");
            let mut twice = entries.clone();
            twice.insert(at, entries[at].clone());
            assert!(matches!(inspect(extent, &twice), Soundness::Broken { .. }));
        }
        assert!(matches!(inspect(Extent::EMPTY, &entries), Soundness::Broken { .. }));
    }

    #[test]
    fn names_are_told_apart() {
        let names: std::collections::BTreeSet<&str> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(names.len(), Action::ALL.len());
        assert_eq!(Deed::new("a", "b", Action::Imported, &"æ".repeat(1000)).about.len(), Deed::LONGEST);
    }
}
