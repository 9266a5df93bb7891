//! What happened, and why: of an event and of one delivery, in the order in which
//! it happened. The auditor's answer to "why did they get it" and to "why did
//! they not". What a message says of a person is never part of it.

use serde_json::{Value, json};

use super::deliveries::{because_json, finished, item};
use super::explain::left_out_json;
use crate::core::engine::{Engine, RestCause, Resting, Wait};
use crate::core::holds::Why;
use crate::core::ids::{DeliveryKey, EventSeq, ExternalId, Recipient, WsbId};
use crate::core::outbox::{Attempt, Because, Death, Delivery, End, Ended, State};
use crate::core::records::{Admission, Archive, Lookout};
use crate::core::routing::LeftOut;
use crate::core::time::Moment;
use crate::core::trace::{ByReplay, Step, Traced};
use crate::wire;

/// What somebody who asks may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Of what concerns this recipient only.
    pub only: Option<Recipient>,
}

impl Told {
    /// Everything.
    pub const ALL: Self = Self { only: None };

    /// Returns whether what concerns the recipient may be told.
    #[must_use]
    pub fn of(self, recipient: Recipient) -> bool {
        self.only.is_none_or(|only| only == recipient)
    }

    /// Says who is left out. A registration that took the place of a vendor's own is of
    /// whoever has the citizen now: it is told only of the record by which the vendor
    /// had been chosen.
    fn left_out_json(self, left_out: &LeftOut, chosen: Option<&Because>) -> Value {
        let record = |registration: &Option<(ExternalId, Moment)>| registration.as_ref().map(|(record, _)| record.clone());
        let mut value = left_out_json(left_out);
        let is_own = chosen.is_some_and(|chosen| record(&chosen.registration) == record(&left_out.registration));
        if self.only.is_some() && !is_own {
            value["registration"] = Value::Null;
        }
        value
    }
}

/// A delivery that somebody has named by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// The id.
    pub id: WsbId,
    /// The delivery, if there is one.
    pub key: Option<DeliveryKey>,
}

/// A search for the delivery of an id, page by page, among what has outlived the
/// journal: mostly dead. An id leads to its delivery as long as the journal has its
/// event ([`Archive::delivery_by_id`]). Opens every row it looks at: beside the
/// writer, where whoever asks for ids that nobody has delays no traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Search {
    id: WsbId,
    told: Told,
    /// Whether it is among the dead still, which come first.
    dead: bool,
    after: Option<DeliveryKey>,
}

/// What a page of a search has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Searched {
    /// It is this one.
    Found(DeliveryKey),
    /// It is not in what was looked at.
    NotYet(Search),
    /// There is none of that id, or it may not be told of.
    Nowhere,
}

impl Search {
    /// Returns a search that has looked at nothing yet.
    #[must_use]
    pub fn new(id: WsbId, told: Told) -> Self {
        Self { id, told, dead: true, after: None }
    }

    /// Looks at the next page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn page<L: Lookout>(self, look: &L) -> Result<Searched, L::Error> {
        let rows = look.outlived_page(self.dead, self.told.only, self.after, super::PAGE)?;
        if let Some(found) = rows.iter().find(|row| row.id() == self.id) {
            return Ok(Searched::Found(found.key));
        }
        Ok(match rows.last() {
            Some(last) if rows.len() == super::PAGE => Searched::NotYet(Self { after: Some(last.key), ..self }),
            Some(_) | None if self.dead => Searched::NotYet(Self { dead: false, after: None, ..self }),
            Some(_) | None => Searched::Nowhere,
        })
    }
}

/// Returns one delivery with all that happened to it and the decision behind it;
/// `None` if nothing of it is left, or nothing of it may be told.
///
/// # Errors
/// When the store cannot be read.
pub fn delivery<R: Archive>(
    engine: &Engine,
    records: &mut R,
    key: DeliveryKey,
    told: Told,
    now: Moment,
) -> Result<Option<Value>, R::Error> {
    if !told.of(key.recipient) {
        return Ok(None);
    }
    let admission = records.admission(key.seq)?;
    let steps = records.steps(key.seq)?;
    describe(&Asked { engine, told, now }, records, key, admission.as_deref(), &steps)
}

/// Returns everything that happened with the events of that id that were taken in, of
/// which there may be one from each source: none if none is known any more, or who
/// asks never had a delivery of it. What [lies in quarantine](lying) is not among them.
///
/// # Errors
/// When the store cannot be read.
pub fn trace<R: Archive>(engine: &Engine, records: &mut R, event_id: &str, told: Told, now: Moment) -> Result<Vec<Value>, R::Error> {
    let asked = Asked { engine, told, now };
    let mut events = Vec::new();
    for seq in records.events_by_id(event_id)? {
        if let Some(admission) = records.admission(seq)? {
            events.extend(event(&asked, records, seq, &admission)?);
        }
    }
    Ok(events)
}

/// The most messages in quarantine that one trace names.
pub const MOST_LYING: usize = 20;

/// Returns the messages of a page of the quarantine that say this id, whatever else is
/// wrong with them, and after which number the next page begins; `None` at the end.
/// Unseals and reads every message: beside the writer, as [`Search`] does.
///
/// # Errors
/// When the store cannot be read.
pub fn lying<L: Lookout>(look: &L, event_id: &str, after: u64) -> Result<(Vec<Value>, Option<u64>), L::Error> {
    let page = look.quarantine_after(after, super::PAGE)?;
    let lying = page.iter().filter_map(|message| {
        // Its source is not told: of a message that is no event it may be anything.
        let (_, id) = wire::read_identity(&message.body)?;
        (id == event_id).then(|| json!({ "id": message.id, "since": message.at.to_string(), "reason": &*message.reason }))
    });
    Ok((lying.collect(), page.last().map(|message| message.id)))
}

/// What is asked, and by whom.
#[derive(Debug, Clone, Copy)]
struct Asked<'a> {
    engine: &'a Engine,
    told: Told,
    now: Moment,
}

fn event<R: Archive>(asked: &Asked<'_>, records: &mut R, seq: EventSeq, admission: &Admission) -> Result<Option<Value>, R::Error> {
    let told = asked.told;
    let steps = records.steps(seq)?;
    let mut recipients: Vec<Recipient> = admission.deliveries.iter().map(|(recipient, _)| *recipient).collect();
    for traced in &steps {
        recipients.extend(traced.recipient.filter(|recipient| !recipients.contains(recipient)));
    }
    let mut deliveries = Vec::new();
    for recipient in recipients.into_iter().filter(|recipient| told.of(*recipient)) {
        deliveries.extend(describe(asked, records, DeliveryKey { recipient, seq }, Some(admission), &steps)?);
    }
    let left_out = admission.left_out.iter().filter(|left_out| told.only.is_none() || left_out.recipient.is_some_and(|who| told.of(who)));
    let left_out: Vec<Value> = left_out.map(|left_out| told.left_out_json(left_out, None)).collect();
    // Who was only left out must not learn that there is such an event, nor which
    // record of somebody else's it is about.
    if told.only.is_some() && deliveries.is_empty() {
        return Ok(None);
    }
    let event = &admission.event;
    let stays: Vec<Value> = steps.iter().filter_map(|traced| stay_json(traced, told)).collect();
    Ok(Some(json!({
        "event_id": &*event.id,
        "source": &*event.source,
        "entity": &*event.entity,
        "change_type": event.change.number(),
        "external_id": event.external_id.as_str(),
        "registered_at": event.registered.at.to_string(),
        "taken_in_at": admission.at.to_string(),
        "lay_in_quarantine": stays,
        "deliveries": deliveries,
        "left_out": left_out,
    })))
}

/// Says that an event had lain in quarantine; who ended that only to whoever may see
/// everything.
fn stay_json(traced: &Traced, told: Told) -> Option<Value> {
    let Step::LayInQuarantine(stay) = &traced.step else { return None };
    Some(json!({
        "id": stay.id,
        "since": stay.since.to_string(),
        "reason": &*stay.reason,
        "until": traced.at.to_string(),
        "end": stay.end.name(),
        "who": told.only.is_none().then_some(&*stay.who),
    }))
}

fn describe<R: Archive>(
    asked: &Asked<'_>,
    records: &mut R,
    key: DeliveryKey,
    admission: Option<&Admission>,
    steps: &[Traced],
) -> Result<Option<Value>, R::Error> {
    let (rules, told) = (asked.engine.rules(), asked.told);
    let chosen = admission.and_then(|admission| admission.deliveries.iter().find(|(recipient, _)| *recipient == key.recipient));
    let mut timeline = Timeline { told, ..Timeline::default() };
    if let (Some(admission), Some((_, because))) = (admission, chosen) {
        timeline.add(admission.at, json!({ "what": "decided", "because": because_json(because) }));
    }
    let mut latest = chosen.map(|(_, because)| because.clone());
    let mut own: Vec<&Traced> = steps.iter().filter(|traced| traced.recipient == Some(key.recipient)).collect();
    // What a replay found out about it comes after that it was asked for.
    own.sort_by_key(|traced| (traced.at, !matches!(traced.step, Step::ReplayedInVain { .. })));
    for traced in own {
        timeline.step(traced, &mut latest);
    }
    let row = records.delivery(key)?;
    let waits = asked.engine.waits(key, row.as_ref(), asked.now);
    let (mut value, failures) = match (row, admission) {
        (Some(row), _) => {
            timeline.unfinished(&row);
            latest = Some(row.because.clone());
            (item(&row, rules), row.failures)
        }
        (None, Some(admission)) => {
            let ended = records.ended(key)?;
            if latest.is_none() && ended.is_none() {
                return Ok(None);
            }
            if let Some(ended) = &ended {
                timeline.ended(ended);
            }
            let failures = ended.as_ref().map(|ended| ended.failures.clone()).unwrap_or_default();
            (finished(admission, key, rules, None, ended), failures)
        }
        (None, None) => return Ok(None),
    };
    value["because"] = latest.as_ref().map(because_json).into();
    value["failures"] = failures.iter().map(attempt_json).collect();
    value["timeline"] = timeline.entries().into();
    value["waits_for"] = waits.iter().map(|wait| wait_json(wait, told)).collect();
    Ok(Some(value))
}

/// Says what a delivery waits for; what operators have said of it only to whoever
/// may see everything.
pub(super) fn wait_json(wait: &Wait, told: Told) -> Value {
    let text = |at: &Moment| at.to_string();
    let said = |why: &Why| told.only.is_none().then(|| why.as_str().to_owned());
    match wait {
        Wait::Outcome => json!({ "what": "outcome" }),
        Wait::Connection => json!({ "what": "connection" }),
        Wait::Rest(Resting { since, until, cause: RestCause::Operator(why) }) => {
            json!({ "what": "pause", "since": text(since), "until": until.as_ref().map(text), "why": said(why) })
        }
        Wait::Rest(Resting { since, until, cause: RestCause::Window }) => {
            json!({ "what": "maintenance-window", "since": text(since), "until": until.as_ref().map(text) })
        }
        Wait::Probe(pause) => {
            json!({ "what": "probe", "since": text(&pause.since), "until": text(&pause.until), "reason": pause.cause.name() })
        }
        Wait::Release(parked) => json!({ "what": "release", "since": text(&parked.since), "why": said(&parked.why) }),
        Wait::Behind { id, event_id } => json!({ "what": "behind", "id": id.to_string(), "event_id": &**event_id }),
        Wait::Others => json!({ "what": "others" }),
        Wait::Retry(at) => json!({ "what": "retry", "until": text(at) }),
    }
}

fn attempt_json(attempt: &Attempt) -> Value {
    json!({ "at": attempt.at.to_string(), "outcome": attempt.failure.name(), "code": attempt.code })
}

/// What happened, gathered in any order.
#[derive(Debug)]
struct Timeline {
    told: Told,
    /// When and why it died, to be told after the attempts that its end remembers.
    died: Option<(Moment, Death)>,
    entries: Vec<(Moment, Value)>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { told: Told::ALL, died: None, entries: Vec::new() }
    }
}

impl Timeline {
    fn add(&mut self, at: Moment, mut entry: Value) {
        entry["at"] = at.to_string().into();
        self.entries.push((at, entry));
    }

    /// Returns them in order; those of one instant as they were added.
    fn entries(mut self) -> Vec<Value> {
        if let Some((at, why)) = self.died.take() {
            self.dead(at, why);
        }
        self.entries.sort_by_key(|(at, _)| *at);
        self.entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn step(&mut self, traced: &Traced, latest: &mut Option<Because>) {
        match &traced.step {
            Step::TookOver { from, because } => {
                // Whom the citizen had before is no business of a vendor's.
                let from = self.told.of(*from).then(|| from.to_string());
                self.add(traced.at, json!({ "what": "took-over", "from": from, "because": because_json(because) }));
                *latest = Some(because.clone());
            }
            Step::DecidedAnew { because } => {
                self.add(traced.at, json!({ "what": "decided-anew", "because": because_json(because) }));
                *latest = Some(because.clone());
            }
            Step::NotEntitled(left_out) => {
                let mut entry = self.told.left_out_json(left_out, latest.as_ref());
                entry["what"] = "not-entitled".into();
                self.add(traced.at, entry);
            }
            Step::RecordDeleted { event_id, taken_in } => {
                let deleted_at = taken_in.unwrap_or(traced.at).to_string();
                self.add(traced.at, json!({ "what": "record-deleted", "event_id": &**event_id, "deleted_at": deleted_at }));
            }
            Step::CameBack { why, delivered_at } => {
                if let Some(at) = delivered_at {
                    self.delivered(*at);
                }
                self.add(traced.at, json!({ "what": "came-back", "reason": why.name() }));
            }
            Step::Replayed { died, attempts, failures, by } => {
                self.attempts(*attempts, failures, 0);
                if let Some((at, why)) = died {
                    self.dead(*at, *why);
                }
                self.by_replay(traced.at, json!({ "what": "replayed" }), by.as_ref());
            }
            Step::ReplayedInVain { why, died, by } => {
                self.died = *died;
                self.by_replay(traced.at, json!({ "what": "replayed-in-vain", "reason": why.name() }), by.as_ref());
            }
            Step::Acted { action, who } => {
                let who = self.told.only.is_none().then_some(&**who);
                self.add(traced.at, json!({ "what": "acted", "action": action.name(), "who": who }));
            }
            Step::Ended(ended) => self.ended(ended),
            Step::MayHaveBeenSent => self.add(traced.at, json!({ "what": "may-have-been-sent" })),
            // Of the event, not of any of its deliveries.
            Step::LayInQuarantine(_) => {}
        }
    }

    /// Adds what a replay did, and which; who has ordered it only for whoever may see
    /// everything.
    fn by_replay(&mut self, at: Moment, mut entry: Value, by: Option<&ByReplay>) {
        if let Some(ByReplay { replay, who }) = by {
            entry["replay"] = replay.to_string().into();
            entry["who"] = self.told.only.is_none().then_some(&**who).into();
        }
        self.add(at, entry);
    }

    /// Adds failed attempts; of those before the first remembered one, how many.
    fn attempts(&mut self, attempts: u32, failures: &[Attempt], confirmed: u32) {
        let forgotten = attempts.saturating_sub(confirmed).saturating_sub(u32::try_from(failures.len()).unwrap_or(u32::MAX));
        if let (Some(first), 1..) = (failures.first(), forgotten) {
            self.add(first.at, json!({ "what": "earlier-attempts", "count": forgotten }));
        }
        for attempt in failures {
            self.add(attempt.at, json!({ "what": "attempt", "outcome": attempt.failure.name(), "code": attempt.code }));
        }
    }

    fn delivered(&mut self, at: Moment) {
        self.add(at, json!({ "what": "attempt", "outcome": "confirmed", "code": null }));
        self.add(at, json!({ "what": "delivered" }));
    }

    fn dead(&mut self, at: Moment, why: Death) {
        self.add(at, json!({ "what": "dead", "reason": why.name() }));
    }

    fn unfinished(&mut self, row: &Delivery) {
        if let Some(earlier) = row.delivered_before {
            self.delivered(earlier.at);
        }
        self.attempts(row.attempts, &row.failures, 0);
        if let State::Dead { at, why } = row.state {
            self.dead(at, why);
        }
    }

    fn ended(&mut self, ended: &Ended) {
        if let Some(earlier) = ended.delivered_before {
            self.delivered(earlier.at);
        }
        match ended.end {
            End::Delivered => {
                self.attempts(ended.attempts, &ended.failures, 1);
                self.delivered(ended.at);
            }
            End::Withdrawn(why) => {
                self.attempts(ended.attempts, &ended.failures, 0);
                self.add(ended.at, json!({ "what": "withdrawn", "reason": why.name() }));
            }
        }
    }
}
