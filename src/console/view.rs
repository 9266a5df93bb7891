//! What the admin API answers, as far as the console shows it. Members that are
//! not there read as empty, so that a page never fails for want of one.

use serde::Deserialize;

/// A page of a list.
#[derive(Debug, Clone, Deserialize)]
pub struct Items<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one begins.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { items: Vec::new(), next_cursor: None }
    }
}

/// A recipient with the state of its queue.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Recipient {
    /// Such as `akasse:067`.
    pub recipient: String,
    /// Its name.
    pub name: String,
    /// Its queue at RabbitMQ.
    pub queue: String,
    /// Whose system empties the queue.
    pub vendor: String,
    /// `open` or `paused`.
    pub state: String,
    /// `operator`, `maintenance` or `failure`.
    pub paused_by: Option<String>,
    /// When it is tried again, or ends.
    pub paused_until: Option<String>,
    /// Since when.
    pub paused_since: Option<String>,
    /// Why.
    pub why: Option<String>,
    /// Never attempted.
    pub pending: u64,
    /// To be tried again.
    pub retrying: u64,
    /// Given up.
    pub dead: u64,
    /// For how long the oldest one waits.
    pub oldest_pending_seconds: f64,
    /// For how long the oldest one of those waits that are in no parked lane.
    pub oldest_unparked_seconds: f64,
    /// Lanes that wait behind a delivery that is being retried.
    pub lanes_blocked: u64,
}

impl Recipient {
    /// Returns how many deliveries wait.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.pending + self.retrying
    }

    /// Returns whether the routing file says whose system empties its queue.
    #[must_use]
    pub fn has_vendor(&self) -> bool {
        !matches!(self.vendor.as_str(), "" | "unassigned")
    }

    /// Returns whether nothing is sent to it now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.state == "paused"
    }

    /// Returns whether it is paused because its queue is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_failing() && self.why.as_deref() == Some("nacked")
    }

    /// Returns whether it is paused because its queue does not work.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.is_paused() && !matches!(self.paused_by.as_deref(), Some("operator" | "maintenance"))
    }
}

/// A delivery.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Delivery {
    /// The id of the WSB.
    pub id: String,
    /// The event that it tells of.
    pub event_id: String,
    /// To whom.
    pub recipient: String,
    /// EntitetNavn.
    pub entity: String,
    /// `pending`, `retrying`, `dead`, `delivered` or `withdrawn`.
    pub state: String,
    /// Why it is so.
    pub reason: Option<String>,
    /// How often it has been attempted.
    pub attempts: u32,
    /// How often it has been replayed.
    pub replays: u32,
    /// When it was decided.
    pub first_at: String,
    /// When something last became of it.
    pub last_at: Option<String>,
    /// When it is tried again.
    pub next_at: Option<String>,
    /// When it arrived before it was replayed.
    pub delivered_before: Option<String>,
    /// The decision behind it.
    pub because: Option<Because>,
    /// What happened with it, in order; not in lists.
    pub timeline: Vec<Happening>,
    /// What it waits for just now; not in lists.
    pub waits_for: Vec<Wait>,
}

/// Something that a delivery waits for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Wait {
    /// What.
    pub what: String,
    /// Until when, where known.
    pub until: Option<String>,
    /// What does not work.
    pub reason: Option<String>,
    /// Why an operator wants it so.
    pub why: Option<String>,
    /// Behind which delivery.
    pub id: Option<String>,
}

/// What keeps a replay from sending to a recipient just now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Held {
    /// To whom.
    pub recipient: String,
    /// How many lanes to it are parked, where it is that.
    pub lanes: Option<u64>,
    /// What it waits for.
    #[serde(flatten)]
    pub wait: Wait,
}

/// The decision behind a delivery.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Because {
    /// The rule.
    pub audience: String,
    /// For which day.
    pub day: String,
    /// The registration that it rests on.
    pub registration: Option<Registration>,
}

/// A registration that a decision rests on.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// EksternIdentifier.
    pub external_id: String,
    /// When it was registered.
    pub registered_at: String,
}

/// Something that happened with a delivery.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Happening {
    /// When.
    pub at: String,
    /// What: `decided`, `attempt`, `delivered` and so on.
    pub what: String,
    /// Why.
    pub reason: Option<String>,
    /// How an attempt ended.
    pub outcome: Option<String>,
    /// RabbitMQ's reply code.
    pub code: Option<u16>,
    /// How many.
    pub count: Option<u64>,
    /// From whom it was taken over.
    pub from: Option<String>,
    /// What somebody did.
    pub action: Option<String>,
    /// By which replay.
    pub replay: Option<String>,
    /// Who.
    pub who: Option<String>,
    /// The decision.
    pub because: Option<Because>,
}

/// Dead deliveries of one cause.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Group {
    /// To whom.
    pub recipient: String,
    /// Why they were given up.
    pub reason: String,
    /// RabbitMQ's reply code, 0 without one.
    pub code: u16,
    /// EntitetNavn.
    pub entity: String,
    /// How many.
    pub count: u64,
    /// When the first of them died.
    pub first_at: String,
    /// When the latest did.
    pub last_at: String,
}

/// Everything that happened with the events of one id.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Trace {
    /// The id.
    pub event_id: String,
    /// Messages of that id that cannot be events.
    pub lying_in_quarantine: Vec<Stay>,
    /// Nearly always one; two when two sources use the same id.
    pub events: Vec<Traced>,
}

/// Everything that happened with an event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Traced {
    /// Who sent it.
    pub source: String,
    /// EntitetNavn.
    pub entity: String,
    /// 1 created, 2 changed, 3 deleted.
    pub change_type: u8,
    /// EksternIdentifier.
    pub external_id: Option<String>,
    /// The event's own time.
    pub registered_at: String,
    /// When the broker took it in.
    pub taken_in_at: String,
    /// Stays in quarantine that are over.
    pub lay_in_quarantine: Vec<Stay>,
    /// Who is told.
    pub deliveries: Vec<Delivery>,
    /// Who is not.
    pub left_out: Vec<LeftOut>,
}

/// A stay in quarantine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Stay {
    /// The number there.
    pub id: u64,
    /// Since when.
    pub since: String,
    /// What is wrong, and where.
    pub reason: String,
    /// Until when, once it is over.
    pub until: Option<String>,
    /// Who ended it.
    pub who: Option<String>,
}

/// A recipient that was left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Which; some rules name none.
    pub recipient: Option<String>,
    /// The rule.
    pub audience: Option<String>,
    /// Why.
    pub reason: String,
}

/// What a replay would come to.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Its number, when it was begun.
    pub id: Option<String>,
    /// How many match.
    pub matched: u64,
    /// How many would be sent.
    pub would_send: u64,
    /// How many would be withdrawn, nobody being entitled any more.
    pub would_withdraw: u64,
    /// How many another replay is about to send.
    pub already_claimed: u64,
    /// What keeps it from being sent.
    pub held: Vec<Held>,
    /// The same by recipient.
    pub by_recipient: ByRecipient,
}

/// What a replay would come to, by recipient.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ByRecipient {
    /// How many would be sent.
    pub would_send: std::collections::BTreeMap<String, u64>,
    /// How many would be withdrawn, and why.
    pub would_withdraw: Vec<Withdrawn>,
}

/// Deliveries that a replay would withdraw.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Withdrawn {
    /// Whose.
    pub recipient: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// A replay.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Replay {
    /// Its number.
    pub id: String,
    /// `selecting`, `running`, `waiting-for-go`, `stopped`, `done` or `failed`.
    pub state: String,
    /// How many were selected.
    pub matched: u64,
    /// How many have had their turn.
    pub done: u64,
    /// Of these, sent.
    pub sent: u64,
    /// Withdrawn.
    pub withdrawn: u64,
    /// Not to be replayed any more when their turn came.
    pub skipped: u64,
    /// At which rate.
    pub rate_per_second: Option<u32>,
    /// When it was begun.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// By whom.
    pub by: Option<String>,
    /// Of which deliveries.
    pub filter: Selected,
    /// Its first ones, if they go ahead.
    pub canary: Option<Canary>,
    /// What keeps it from going on.
    pub held: Vec<Held>,
}

/// Which deliveries a replay was ordered of; everything given holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Selected {
    /// These.
    pub ids: Vec<String>,
    /// In this state.
    pub state: String,
    /// To this recipient.
    pub recipient: Option<String>,
    /// Of this type.
    pub entity: Option<String>,
    /// For this reason.
    pub reason: Option<String>,
    /// From this time on.
    pub since: Option<String>,
    /// Until this time.
    pub until: Option<String>,
}

impl Replay {
    /// Returns the query of what is dead now of its recipient and type.
    #[must_use]
    pub fn dead_now(&self) -> [(&'static str, &str); 3] {
        let Selected { recipient, entity, .. } = &self.filter;
        [("state", "dead"), ("recipient", recipient.as_deref().unwrap_or_default()), ("entity", entity.as_deref().unwrap_or_default())]
    }

    /// Returns whether it still changes.
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(self.state.as_str(), "selecting" | "running" | "waiting-for-go")
    }
}

/// The first ones of a replay, which go ahead.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Canary {
    /// How many were asked for.
    pub first: u32,
    /// How many were sent.
    pub sent: u64,
    /// Of these, delivered.
    pub delivered: Option<u64>,
    /// Dead again.
    pub dead: Option<u64>,
    /// Not known yet.
    pub waiting: Option<u64>,
    /// Withdrawn.
    pub withdrawn: Option<u64>,
}

/// A message in quarantine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Quarantined {
    /// Its number.
    pub id: u64,
    /// When it came.
    pub at: String,
    /// The stable word for what is wrong.
    pub word: String,
    /// What is wrong, and where.
    pub reason: String,
    /// Its size.
    pub bytes: u64,
}

/// What a deed of somebody left in the log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its place in the log.
    pub seq: u64,
    /// When.
    pub at: String,
    /// Who.
    pub who: String,
    /// As what.
    pub role: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub about: String,
    /// Why.
    pub why: Option<String>,
    /// Whether it was only tried.
    pub dry_run: bool,
}

/// A record that is due.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Due {
    /// By which rule.
    pub rule: String,
    /// Since when.
    pub due: String,
    /// `due`, `blocked` or `ordered`.
    pub state: String,
}

/// A recipient that has deletion notices lying unfetched.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Unfetched {
    /// Who.
    pub recipient: String,
    /// The day on which the oldest was delivered.
    pub since: String,
    /// How many, at the most.
    pub notices: u64,
    /// How many of former days, at the most.
    pub of_former_days: u64,
    /// After how many days somebody was last reminded.
    pub reminded_after_days: Option<u32>,
}

/// A deletion that the rules did not expect.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Unexpected {
    /// When.
    pub at: String,
    /// The data area.
    pub area: String,
    /// EntitetNavn.
    pub entity: String,
    /// `early`, `blocked`, `unknown_record` or `other_ground`.
    pub why: String,
    /// EksternIdentifier; nothing once the citizen has been erased.
    pub external_id: Option<String>,
    /// The event that told of it.
    pub event_id: Option<String>,
}

/// Something that readiness misses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Missing {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// Why a call was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What.
    pub title: String,
    /// How to mend it.
    pub detail: Option<String>,
}

/// A lane: what waits for one recipient about one citizen and domain, in order.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lane {
    /// The delivery at its head; none where nothing waits in a parked one.
    pub head: Option<String>,
    /// To whom.
    pub recipient: String,
    /// Of which domain.
    pub domain: String,
    /// `parked` or `blocked`.
    pub state: String,
    /// How many wait in it.
    pub waiting: u64,
    /// EntitetNavn of the head.
    pub entity: Option<String>,
    /// Why the latest attempt failed.
    pub reason: Option<String>,
    /// When it is tried again.
    pub next_at: Option<String>,
    /// Since when it is parked.
    pub parked_since: Option<String>,
    /// The delivery that was named when it was parked.
    pub parked_by: Option<String>,
    /// Why it is parked.
    pub why: Option<String>,
}

impl Lane {
    /// Returns whether somebody has parked it.
    #[must_use]
    pub fn is_parked(&self) -> bool {
        self.state == "parked"
    }

    /// Returns the id of a delivery that names the lane.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.head.as_deref().or(self.parked_by.as_deref())
    }
}

/// The next time of a maintenance window.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Window {
    /// Whose.
    pub recipient: String,
    /// When it begins.
    pub from: String,
    /// When it is over.
    pub until: String,
    /// `now` or `coming`.
    pub state: String,
    /// `once` or `weekly`.
    pub repeats: String,
}

/// How the latest backup is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Backup {
    /// `none`, `running`, `done` or `failed`.
    pub state: String,
    /// Why it failed.
    pub why: Option<String>,
    /// When the latest one that did not was made.
    pub latest_at: Option<String>,
}

/// An erasure that waits for a second person.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ErasureRequest {
    /// Its number.
    pub id: u64,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: String,
}
