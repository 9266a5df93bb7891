//! The port through which the engine sees and changes what is stored.
//!
//! The engine stages changes; whoever drives it commits them as one group.
//! Reads see what the same group has staged, except where said otherwise. An
//! implementation reports trouble by its own error, which always means: stop.

use std::sync::Arc;

use super::about::About;
use super::audit::{Deed, Entry, Extent, Order};
use super::causes::{Cause, Tally};
use super::citizen::{Citizen, RecordKind};
use super::event::Event;
use super::holds::{Held, Hold};
use super::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient, WsbId};
use super::notices::Lying;
use super::outbox::{Because, Delivery, End, Ended, State};
use super::persons::Joined;
use super::policy::{Audience, Domain};
use super::replay::{Replay, ReplayId};
use super::stamp::Instant;

use super::retention::{Clocks, Unexpected};
use super::routing::LeftOut;
use super::time::{Day, Moment};
use super::trace::{Step, Traced};

/// An event as it was taken in, with everything that was decided about it. Goes
/// to the journal: the duplicate horizon, the trace, and the deliveries that
/// have no row of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its place in the order of intake.
    pub seq: EventSeq,
    /// About whom.
    pub citizen: CitizenId,
    /// The event.
    pub event: Arc<Event>,
    /// The domain of its type when it was taken in.
    pub domain: Domain,
    /// When it was taken in.
    pub at: Moment,
    /// Who is to be told, and why; each once.
    pub deliveries: Vec<(Recipient, Because)>,
    /// Who is not, and why.
    pub left_out: Vec<LeftOut>,
}

/// Whose a record is, and whose it was by what has been corrected since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// Whom its newest registration is about.
    pub owner: CitizenId,
    /// Under whose numbers what it said before may be remembered, each once: the
    /// deletion of the record reaches them. Of records that no deletion ends, nobody.
    pub former: Vec<CitizenId>,
}

/// What becomes of the entries of the ledger with whoever had a record that is another
/// citizen's now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// They are the other one's alone.
    Loses,
    /// Both have them.
    Keeps,
}

/// What has become of a delivery, finished ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Unfinished, dead ones included.
    Unfinished,
    /// Finished.
    Ended(End),
}

/// A message that cannot be an event, kept until an operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number, from 1.
    pub id: u64,
    /// When it came.
    pub at: Moment,
    /// The stable word for what is wrong, such as `malformed-personnummer`.
    pub word: Box<str>,
    /// What is wrong and where, without anything of what the message said.
    pub reason: Box<str>,
    /// The message as it came.
    pub body: Arc<[u8]>,
    /// Whom it seems to be about, so that erasing any of them finds it.
    pub about: About,
}

/// Where it was noted that a delivery ended: they order as the notes were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndPlace {
    /// Among what was written before this event.
    pub next: EventSeq,
    /// In which part of that.
    pub part: u32,
    /// At which place in the part.
    pub at: u32,
}

/// Which ends of deliveries are asked for.
pub struct WantedEnds<'a> {
    /// Of deliveries to this recipient; to any, unless given.
    pub recipient: Option<Recipient>,
    /// How they ended.
    pub is_wanted: &'a dyn Fn(End) -> bool,
    /// About events up to this one.
    pub newest: EventSeq,
    /// Noted at this time or later, as far as the notes say; those before that may be
    /// left out.
    pub since: Option<Moment>,
}

/// Some of the ends that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndsPage {
    /// The deliveries, and where it is noted.
    pub found: Vec<(EndPlace, DeliveryKey, Ended)>,
    /// Where the next page begins; `None` when there is none.
    pub goes_on: Option<EndPlace>,
}

/// A WSB that was withdrawn because nobody was entitled to it, so that nobody took
/// it over. Whoever becomes entitled by the same rule, within the time allowed for
/// retries, gets it: a membership that is closed by one message and opened by the
/// next is one transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclaimed {
    /// As it was when it was withdrawn, by the rules that name nobody since.
    pub delivery: Delivery,
    /// When that was.
    pub at: Moment,
    /// Those of its rules by which it had been withdrawn before, and when that was:
    /// it had begun anew by another one.
    pub earlier: Vec<(Audience, Moment)>,
}

impl Unclaimed {
    /// Returns what is left of a delivery by these rules, each since a moment of its
    /// own; `None` by none.
    #[must_use]
    pub fn by(delivery: &Delivery, rules: &[(Audience, Moment)]) -> Option<Self> {
        let at = rules.iter().map(|(_, at)| *at).max()?;
        let because = delivery.because.only(rules.iter().map(|(audience, _)| *audience).collect())?;
        let earlier = rules.iter().filter(|(_, since)| *since != at).copied().collect();
        Some(Self { delivery: Delivery { because, ..delivery.clone() }, at, earlier })
    }

    /// Returns each of its rules, and since when nobody is entitled by it.
    pub fn rules(&self) -> impl Iterator<Item = (Audience, Moment)> {
        let since = |audience| self.earlier.iter().find(|(of, _)| *of == audience).map_or(self.at, |(_, at)| *at);
        self.delivery.because.audiences().iter().map(move |audience| (audience, since(audience)))
    }
}

/// One change to what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// What is known under the citizen's number is now this: of that number alone,
    /// never of a person [as one](Citizen::as_one).
    PutCitizen(Arc<Citizen>),
    /// Whose a record is now, by its newest registration.
    OwnRecord {
        /// What it is.
        kind: RecordKind,
        /// The record.
        record: ExternalId,
        /// Whose it is, and whose it was.
        owners: Owners,
    },
    /// Two citizens are one person, by a change of number that stands.
    Join {
        /// One of them.
        one: CitizenId,
        /// The other.
        other: CitizenId,
    },
    /// Two citizens are not one person after all, or not by that.
    Part {
        /// One of them.
        one: CitizenId,
        /// The other.
        other: CitizenId,
    },
    /// What is kept of a person's records is now this; each part of it is stored
    /// with the citizen under whose number it came, and [`Records::clock_owner`] goes
    /// by it.
    PutClocks(Arc<Clocks>),
    /// Nothing is kept of the person's records any more.
    DropClocks(CitizenId),
    /// [`Clocks::next`] of every citizen was computed by the schedule with this
    /// fingerprint.
    SetIndexed(u64),
    /// So many notices were delivered to the recipient on the day, and lie there.
    PutNotices {
        /// To whom.
        recipient: Recipient,
        /// On which day.
        day: Day,
        /// How many, and whether somebody has been reminded.
        lying: Lying,
    },
    /// The recipient has fetched all notices of the day.
    DropNotices {
        /// Who.
        recipient: Recipient,
        /// Of which day.
        day: Day,
    },
    /// DFDG has deleted something that the rules did not expect. Kept for the
    /// operator until the horizon, the newest [`MOST_UNEXPECTED`](super::retention::MOST_UNEXPECTED).
    NoteUnexpected(Arc<Unexpected>),
    /// Somebody is forgotten whose record this was: what was registered of it by then, and
    /// comes later, is no news about anybody. Kept until the horizon.
    PutSpent {
        /// Of which kind the record is.
        kind: RecordKind,
        /// Which.
        record: ExternalId,
        /// When it was registered last, and as what.
        newest: Instant,
    },
    /// A delivery that has ended may be taken over by whoever becomes entitled.
    PutUnclaimed(Box<Unclaimed>),
    /// Somebody has taken it over, or nobody will.
    DropUnclaimed {
        /// Under whose number it came.
        citizen: CitizenId,
        /// Which.
        key: DeliveryKey,
    },
    /// An event was taken in.
    Admit(Arc<Admission>),
    /// A delivery has a row of its own, and this is its content. Deliveries that
    /// finish soon after their admission never get one.
    PutDelivery(Delivery),
    /// A delivery finished; its row, if it has one, goes. One that may have been sent
    /// at all enters the ledger of who holds what (GDPR article 19): a notice too many
    /// does no harm.
    Finish {
        /// Which.
        key: DeliveryKey,
        /// About whom.
        citizen: CitizenId,
        /// About what.
        event: Arc<Event>,
        /// Whether it has a row.
        had_row: bool,
        /// How.
        end: End,
        /// After how many attempts.
        attempts: u32,
        /// Whether the recipient may hold something of it.
        may_hold: bool,
        /// When.
        at: Moment,
    },
    /// The broker stops in order, with nothing under way: what waits about events after
    /// this one was sent only if its attempts say so.
    Stopped(EventSeq),
    /// It may be sent from now on without anybody knowing, should the broker stop otherwise.
    Started,
    /// A record is another citizen's: whoever was sent something about it is to be told
    /// with that one when it is deleted. Entries of the ledger move, under whichever
    /// number of the first person each is, and [`Records::clock_owner`] goes with them:
    /// it never names somebody who lacks them.
    MoveHolders {
        /// Of which EntitetNavn the record is.
        entity: Arc<str>,
        /// The record.
        record: ExternalId,
        /// Whose it was.
        from: CitizenId,
        /// Under whose number it is.
        to: CitizenId,
        /// Whether the first one has the entries as well.
        former: Former,
        /// When.
        at: Moment,
    },
    /// A replay is now this.
    PutReplay(Arc<Replay>),
    /// A part of what a replay selected: a chunk, by its number.
    PutSelected {
        /// Whose.
        replay: ReplayId,
        /// Which.
        chunk: u32,
        /// The deliveries.
        keys: Vec<DeliveryKey>,
    },
    /// Every delivery of a chunk has had its turn.
    DropSelected {
        /// Whose.
        replay: ReplayId,
        /// Which.
        chunk: u32,
    },
    /// A replay is forgotten, with all it had selected.
    DropReplay(ReplayId),
    /// Something happened to a delivery that its trace has to tell.
    Trace {
        /// Which.
        key: DeliveryKey,
        /// About whom.
        citizen: CitizenId,
        /// The delivery's id.
        id: WsbId,
        /// When.
        at: Moment,
        /// What.
        step: Step,
    },
    /// Something happened to an event itself that its trace has to tell.
    TraceEvent {
        /// Its place in the order of intake.
        seq: EventSeq,
        /// About whom.
        citizen: CitizenId,
        /// When.
        at: Moment,
        /// What.
        step: Step,
    },
    /// Somebody did something: the next entry of the audit log, in the same group
    /// as what was done.
    Audit {
        /// When.
        at: Moment,
        /// What.
        deed: Deed,
    },
    /// Nothing is kept about the citizen any more, whatever it is and under
    /// whichever of the citizen's former ids, but that events which were taken in
    /// are still recognized when they come again. Applied at once, together with
    /// what has been staged before it.
    Erase(CitizenId),
    /// Every delivery of an event before this one is finished or has a row:
    /// recovery need not look further back.
    SetLowWater(EventSeq),
    /// Something is left alone, or is not any longer.
    PutHold(Held, Hold),
    /// Nothing of a hold is left to be known.
    ForgetHold(Held),
    /// A message was put into quarantine. Its id is given by [`Records::next_quarantine_id`].
    Quarantine(Quarantined),
    /// A message left quarantine.
    Release(u64),
}

/// What is stored, as the engine sees it.
pub trait Records {
    /// What can go wrong. Never a reason to go on.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the place of the newest event taken in, 0 before the first.
    fn last_seq(&self) -> EventSeq;

    /// Returns whether the event has been taken in within the duplicate horizon.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn has_seen(&mut self, mark: &EventMark) -> Result<bool, Self::Error>;

    /// Returns whose number it is.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn find_citizen(&mut self, personnummer: &Personnummer) -> Result<Option<CitizenId>, Self::Error>;

    /// Returns whose a record is, and whose it was.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn record_owners(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Owners>, Self::Error>;

    /// Returns when a record was registered last about somebody who is forgotten
    /// ([`Change::PutSpent`]).
    ///
    /// # Errors
    /// When the store cannot be read.
    fn spent(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, Self::Error>;

    /// Returns under whose number a record is kept that has a clock, or had one and is
    /// gone ([`Clocks::kept`]); of several, where it is there.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clock_owner(&mut self, entity: &str, record: &ExternalId) -> Result<Option<CitizenId>, Self::Error>;

    /// Gives a number that nobody has to a new citizen, and stages both.
    ///
    /// # Errors
    /// When no key can be made for the citizen.
    fn enroll(&mut self, personnummer: &Personnummer) -> Result<CitizenId, Self::Error>;

    /// Returns what is known of a person under all numbers, [as one](Citizen::as_one).
    /// `None` once erased.
    ///
    /// # Errors
    /// When the store cannot be read, or a record not unsealed.
    fn citizen(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Self::Error>;

    /// Returns what is known under the citizen's own number, to be changed and put
    /// back. `None` once erased.
    ///
    /// # Errors
    /// When the store cannot be read, or the record not unsealed.
    fn under_number(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Self::Error>;

    /// Returns whom the citizen is joined with directly.
    fn partners(&self, id: CitizenId) -> Vec<CitizenId>;

    /// Returns who stands for everybody who is joined with somebody: by going
    /// through all of them.
    fn joined(&self) -> Joined;

    /// Returns the committed rows of a queue that come after `after`, in order of
    /// intake, dead ones left out, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read, or a row not unsealed.
    fn waiting(&mut self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, Self::Error>;

    /// Returns the delivery that has a row, dead or not.
    ///
    /// # Errors
    /// When the store cannot be read, or the row not unsealed.
    fn delivery(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, Self::Error>;

    /// Returns the committed rows about a citizen, dead ones included. Costs in
    /// proportion to what it returns, not to what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn rows_of(&mut self, citizen: CitizenId) -> Result<Vec<DeliveryKey>, Self::Error>;

    /// Returns what is unclaimed about a person, in order of intake. Costs next to
    /// nothing where there is nothing.
    ///
    /// # Errors
    /// When the store cannot be read, or a row not unsealed.
    fn unclaimed_of(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, Self::Error>;

    /// Returns what is committed as unclaimed after a place, in order of citizens,
    /// at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read, or a row not unsealed.
    fn unclaimed(&mut self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, Self::Error>;

    /// Returns what has become of a delivery; `None` if there never was one.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn fate(&mut self, key: DeliveryKey) -> Result<Option<Fate>, Self::Error>;

    /// Returns the event that [`Change::Stopped`] named, unless [`Change::Started`] came
    /// after it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn stopped(&mut self) -> Result<Option<EventSeq>, Self::Error>;

    /// Returns how a delivery ended, or had ended before it was taken up again.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, Self::Error>;

    /// Returns the deliveries that are in the journal only: admitted, not
    /// finished, without a row. What a crash leaves behind.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn unfinished_in_journal(&mut self) -> Result<Vec<Delivery>, Self::Error>;

    /// Returns how many rows of the queue wait, are being retried, and are dead.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn row_counts(&mut self) -> Result<Vec<(Recipient, RowCounts)>, Self::Error>;

    /// Returns the dead rows grouped by cause.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn causes(&mut self) -> Result<Vec<(Cause, Tally)>, Self::Error>;

    /// Returns every hold, those that are over included.
    ///
    /// # Errors
    /// When the store cannot be read, or a reason not unsealed.
    fn holds(&mut self) -> Result<Vec<(Held, Hold)>, Self::Error>;

    /// Returns whoever was ever sent something about the record of that EntitetNavn, in
    /// order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn holders(&mut self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, Self::Error>;

    /// Returns the committed replays, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn replays(&mut self) -> Result<Vec<Replay>, Self::Error>;

    /// Returns a committed chunk of what a replay selected; nothing once dropped.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn selected(&mut self, replay: ReplayId, chunk: u32) -> Result<Vec<DeliveryKey>, Self::Error>;

    /// Returns what is kept of a person's records, under whichever number each
    /// came.
    ///
    /// # Errors
    /// When the store cannot be read, or the row not unsealed.
    fn clocks(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, Self::Error>;

    /// Returns the citizens whose committed [`Clocks::next`] is `by` or before and
    /// comes after `after`, in order of day and citizen, at most `limit`. Costs in
    /// proportion to what it returns, not to what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clocks_next(&mut self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, Self::Error>;

    /// Returns the citizens after `after` whose committed [`Clocks::has_due`]
    /// says so, in order, at most `limit`. Costs in proportion to what it returns,
    /// not to what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clocks_due(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Self::Error>;

    /// Returns the citizens after `after` of whose records something is committed,
    /// in order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn clocks_page(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Self::Error>;

    /// Returns how many deletion orders are not answered, by the day on which
    /// they were first given.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn order_counts(&mut self) -> Result<Vec<(Day, u64)>, Self::Error>;

    /// Returns the fingerprint of the schedule that every [`Clocks::next`] was
    /// computed by; `None` in a new store.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn indexed_by(&mut self) -> Result<Option<u64>, Self::Error>;

    /// Returns the notices that lie unfetched, by recipient and day of delivery.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn notices(&mut self) -> Result<Vec<(Recipient, Day, Lying)>, Self::Error>;

    /// Returns whether messages in quarantine seem to be about the citizen, with
    /// what is staged: those that came at `since` or later, or are about somebody else as well.
    /// Those that may be about anybody do not count.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn is_in_quarantine(&mut self, citizen: CitizenId, since: Moment) -> Result<bool, Self::Error>;

    /// Returns whether an erasure could be noted now where backups are compared
    /// with it. While it cannot, nobody is to be erased.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn can_erase(&mut self) -> Result<bool, Self::Error>;

    /// Returns the number of the next message put into quarantine.
    fn next_quarantine_id(&mut self) -> u64;

    /// Returns a message in quarantine.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn quarantined(&mut self, id: u64) -> Result<Option<Quarantined>, Self::Error>;

    /// Stages the removal of what was taken in before `before` and is finished
    /// or has a row, the oldest first and not more than a slice of it. Repeats of
    /// what has gone are not recognized any more, and nothing can be told of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn prune(&mut self, before: Moment, slice: usize) -> Result<Pruned, Self::Error>;

    /// Stages one change, to be committed with the rest of its group.
    ///
    /// # Errors
    /// When the change cannot be sealed.
    fn stage(&mut self, change: Change) -> Result<(), Self::Error>;
}

/// Whether anything old is left to be pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Pruned {
    /// Nothing older is left.
    Done,
    /// The slice was used up: prune again, some commits later.
    More,
}

/// Rows of one queue, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowCounts {
    /// Never attempted.
    pub pending: u64,
    /// To be tried again.
    pub retrying: u64,
    /// Given up.
    pub dead: u64,
}

/// What is kept about a citizen besides records, deliveries and clocks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptBeside {
    /// Numbers that lead to the citizen.
    pub numbers: usize,
    /// Entries of the ledger of who holds what, some of them twice.
    pub ledger: u64,
    /// Messages in quarantine.
    pub quarantine: Vec<u64>,
}

impl Delivery {
    /// Returns one that had been delivered as it is when it is to be sent again;
    /// `None` where the event was told to nobody, which cannot have been.
    #[must_use]
    pub fn delivered_again(admission: &Admission, recipient: Recipient, ended: &Ended, now: Moment) -> Option<Self> {
        let chosen = admission.deliveries.iter().find(|(chosen, _)| *chosen == recipient);
        // One that took over later was named by a rule that had named another
        // authority; which registration decided is in the past.
        let (_, because) = chosen.or(admission.deliveries.first())?;
        Some(Self {
            key: DeliveryKey { recipient, seq: admission.seq },
            citizen: admission.citizen,
            event: Arc::clone(&admission.event),
            domain: admission.domain,
            because: because.clone(),
            first_at: now,
            attempts: 0,
            failures: Vec::new(),
            replays: ended.replays.saturating_add(1),
            delivered_before: Some(ended.copy()),
            state: State::Pending,
        })
    }
}

/// What operators ask for besides: pages and look-ups, none of which the engine
/// needs. Shows what has been committed.
pub trait Archive: Records {
    /// Returns messages in quarantine with a number above `after`, in order, at
    /// most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn quarantine_page(&mut self, after: u64, limit: usize) -> Result<Vec<Quarantined>, Self::Error>;

    /// Returns entries of the audit log that come after the place `after` in that
    /// order, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, Self::Error>;

    /// Returns where the audit log begins and ends, with what is staged.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn audit_extent(&mut self) -> Result<Extent, Self::Error>;

    /// Returns what happened to an event and its deliveries besides attempts and
    /// ends, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn steps(&mut self, seq: EventSeq) -> Result<Vec<Traced>, Self::Error>;

    /// Returns an event as it was taken in.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn admission(&mut self, seq: EventSeq) -> Result<Option<Arc<Admission>>, Self::Error>;

    /// Returns the events of that CloudEvents `id`, whatever their source.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn events_by_id(&mut self, id: &str) -> Result<Vec<EventSeq>, Self::Error>;

    /// Returns the delivery that a WSB id stands for, as long as the journal has its
    /// event.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn delivery_by_id(&mut self, id: WsbId) -> Result<Option<DeliveryKey>, Self::Error>;

    /// Returns whether the WSB was about somebody who has been erased.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn was_about_erased(&mut self, id: WsbId, event_id: Option<&str>) -> Result<bool, Self::Error>;

    /// Returns what the store keeps about a citizen without the engine's asking.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn kept_beside(&mut self, citizen: CitizenId) -> Result<KeptBeside, Self::Error>;

    /// Returns the messages in quarantine that seem to be about the number, or may be
    /// about anybody.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn quarantined_about(&mut self, personnummer: &Personnummer) -> Result<Vec<u64>, Self::Error>;

    /// Returns deletions that the rules did not expect, taken in before `before`,
    /// the newest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn unexpected_page(&mut self, before: Option<EventSeq>, limit: usize) -> Result<Vec<Unexpected>, Self::Error>;

    /// Returns the recalls and deletions of the record that the journal holds, of
    /// whatever type, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn deletions_of(&mut self, citizen: CitizenId, record: &ExternalId) -> Result<Vec<Arc<Admission>>, Self::Error>;
}

/// What can be looked at beside the writer, so that nobody who looks delays
/// traffic. Shows what has been committed; what moves meanwhile may be seen
/// twice, or not at all.
pub trait Lookout {
    /// What can go wrong.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Returns the place of the newest event, 0 before the first.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn newest(&self) -> Result<EventSeq, Self::Error>;

    /// Returns deliveries that have a row and come after `after`, in order of
    /// recipient and intake, at most `limit`; `dead` ones, or the others.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn row_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Self::Error>;

    /// Returns the same of what has outlived the journal, which does not hold their
    /// events any more. Costs in proportion to what it returns, not to what is stored.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn outlived_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Self::Error>;

    /// Returns the delivery that has a row, dead or not.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn row(&self, key: DeliveryKey) -> Result<Option<Delivery>, Self::Error>;

    /// Returns an event as it was taken in.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn taken_in(&self, seq: EventSeq) -> Result<Option<Arc<Admission>>, Self::Error>;

    /// Returns what happened to an event and its deliveries besides attempts and
    /// ends, in order.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn steps_of(&self, seq: EventSeq) -> Result<Vec<Traced>, Self::Error>;

    /// Returns messages in quarantine with a number above `after`, in order, at most
    /// `limit`, and fewer when they are large: none only at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn quarantine_after(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, Self::Error>;

    /// Returns how a finished delivery ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn end_of(&self, key: DeliveryKey) -> Result<Option<Ended>, Self::Error>;

    /// Returns the place before which every delivery has a row or has ended.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn low_water(&self) -> Result<EventSeq, Self::Error>;

    /// Returns how deliveries ended of which that was noted before the place
    /// `before`, the latest first, at most `limit`. Looks at no more than a bounded
    /// number of notes: fewer are returned, or none, although there are more. Of a
    /// delivery that ended twice only the latest end counts; one that has a row again
    /// is returned all the same.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn ends_page(&self, wanted: &WantedEnds<'_>, before: Option<EndPlace>, limit: usize) -> Result<EndsPage, Self::Error>;

    /// Returns the place of every event about which the recipient was delivered
    /// a WSB within the time, each once, in order; at most `most` of them and one
    /// more.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn delivered(&self, recipient: Recipient, since: Moment, until: Moment, most: usize) -> Result<Vec<EventSeq>, Self::Error>;
}
