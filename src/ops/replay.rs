//! Replays as operators ask for them: what a filter selects, page by page, and
//! how a replay is described.

use std::sync::Arc;

use serde_json::{Value, json};

use super::trace::{Told, wait_json};
use crate::core::engine::{Engine, Survey};
use crate::core::ids::{DeliveryKey, EventSeq, Recipient, WsbId};
use crate::core::outbox::{Delivery, End, State};
use crate::core::policy::Rules;
use crate::core::records::{Archive, Fate, Lookout};
use crate::core::replay::{Filter, MOST_SELECTED, Order, Replay, ReplayId, Source, Tally, would_send};
use crate::core::time::Moment;

/// What a filter selects, looked up beside the writer, page by page. The filter
/// is taken as it is at the beginning; what each delivery is when its turn comes
/// is asked again then.
#[derive(Debug, Clone)]
pub struct Candidates {
    rules: Arc<Rules>,
    filter: Filter,
    source: Source,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    /// The rows of the dead, after this one.
    Rows(Option<DeliveryKey>),
    /// What was delivered to a recipient within a time.
    Delivered(Recipient, Moment, Moment),
    /// These, from this place on.
    Keys(Vec<DeliveryKey>, usize),
    /// There are no more.
    End,
}

/// A page of what a filter selects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// What matches.
    pub rows: Vec<Delivery>,
    /// How many more match, and are being sent again by another replay just now.
    pub under_way: u64,
}

/// What became of a key that was looked up.
enum Found {
    Matching(Delivery),
    UnderWay,
    Nothing,
}

/// Too much for one replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {MOST_SELECTED} deliveries match; narrow the filter")]
pub struct TooMany;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError<E: std::error::Error + 'static> {
    /// There is too much.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The store could not be read.
    #[error("the store could not be read")]
    Store(#[source] E),
}

impl Candidates {
    /// Returns what is dead and matches; `keys` are those of its ids, if all of
    /// them are known.
    #[must_use]
    pub fn dead(rules: Arc<Rules>, filter: Filter, keys: Option<Vec<DeliveryKey>>) -> Self {
        Self { rules, filter, source: Source::Dead, from: keys.map_or(From::Rows(None), |keys| From::Keys(keys, 0)) }
    }

    /// Returns what was delivered to a recipient within a time, and matches.
    #[must_use]
    pub fn delivered(rules: Arc<Rules>, filter: Filter, recipient: Recipient, since: Moment, until: Moment) -> Self {
        Self { rules, filter, source: Source::Delivered, from: From::Delivered(recipient, since, until) }
    }

    /// Returns what was delivered and has one of these keys, and matches.
    #[must_use]
    pub fn delivered_of(rules: Arc<Rules>, filter: Filter, keys: Vec<DeliveryKey>) -> Self {
        Self { rules, filter, source: Source::Delivered, from: From::Keys(keys, 0) }
    }

    /// Returns the next page, in order of recipient and intake; `None` after the
    /// last. May wait for the disk for long: not for the writer's thread.
    ///
    /// # Errors
    /// When there is too much, or the store cannot be read.
    pub fn page<L: Lookout>(&mut self, look: &L, now: Moment) -> Result<Option<Page>, PageError<L::Error>> {
        match std::mem::replace(&mut self.from, From::End) {
            From::End => Ok(None),
            From::Rows(after) => {
                let rows = look.row_page(true, self.filter.recipient, after, super::PAGE).map_err(PageError::Store)?;
                if rows.len() == super::PAGE {
                    self.from = From::Rows(rows.last().map(|row| row.key));
                }
                let rows = rows.into_iter().filter(|row| self.filter.lets_through(row, &self.rules)).collect();
                Ok(Some(Page { rows, under_way: 0 }))
            }
            From::Delivered(recipient, since, until) => {
                let most = usize::try_from(MOST_SELECTED).unwrap_or(usize::MAX);
                let places = look.delivered(recipient, since, until, most).map_err(PageError::Store)?;
                if places.len() > most {
                    return Err(TooMany.into());
                }
                let key = |seq: EventSeq| DeliveryKey { recipient, seq };
                self.from = From::Keys(places.into_iter().map(key).collect(), 0);
                // The keys have been found to be of that time.
                (self.filter.since, self.filter.until) = (None, None);
                Ok(Some(Page::default()))
            }
            From::Keys(keys, at) => {
                let end = keys.len().min(at + super::PAGE);
                let mut page = Page::default();
                for key in keys.get(at..end).unwrap_or_default() {
                    match self.look_up(*key, look, now).map_err(PageError::Store)? {
                        Found::Matching(delivery) => page.rows.push(delivery),
                        Found::UnderWay => page.under_way += 1,
                        Found::Nothing => {}
                    }
                }
                let more = end < keys.len();
                if more {
                    self.from = From::Keys(keys, end);
                }
                Ok((more || at < end).then_some(page))
            }
        }
    }

    fn look_up<L: Lookout>(&self, key: DeliveryKey, look: &L, now: Moment) -> Result<Found, L::Error> {
        let row = look.row(key)?;
        match self.source {
            Source::Dead => {
                let fits = |row: &Delivery| matches!(row.state, State::Dead { .. }) && self.filter.lets_through(row, &self.rules);
                Ok(row.filter(fits).map_or(Found::Nothing, Found::Matching))
            }
            Source::Delivered => {
                if self.filter.recipient.is_some_and(|recipient| recipient != key.recipient) {
                    return Ok(Found::Nothing);
                }
                let fits = |delivery: &Delivery| self.filter.names(|| delivery.id()) && self.filter.is_about(&delivery.event, &self.rules);
                if let Some(row) = row {
                    let is_sent_again = row.delivered_before.is_some() && !matches!(row.state, State::Dead { .. });
                    return Ok(if is_sent_again && fits(&row) { Found::UnderWay } else { Found::Nothing });
                }
                let Some(ended) = look.end_of(key)?.filter(|ended| ended.end == End::Delivered && self.filter.covers(ended.at)) else {
                    return Ok(Found::Nothing);
                };
                let Some(admission) = look.taken_in(key.seq)? else { return Ok(Found::Nothing) };
                let delivery = Delivery::delivered_again(&admission, key.recipient, &ended, now);
                Ok(delivery.filter(fits).map_or(Found::Nothing, Found::Matching))
            }
        }
    }
}

/// The keys of ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Those that are known, in order.
    pub keys: Vec<DeliveryKey>,
    /// Whether all are. One that took over from another after its event was taken
    /// in is not found by its id, and has to be looked for.
    pub all_known: bool,
}

/// Returns the keys of ids.
///
/// # Errors
/// When the store cannot be read.
pub fn keys_of<R: Archive>(records: &mut R, ids: &[WsbId]) -> Result<Named, R::Error> {
    let mut named = Named { keys: Vec::with_capacity(ids.len()), all_known: true };
    for id in ids {
        match records.delivery_by_id(*id)? {
            Some(key) => named.keys.push(key),
            None => named.all_known = false,
        }
    }
    named.keys.sort_unstable();
    named.keys.dedup();
    Ok(named)
}

/// How many ids of an order are named in the audit log, of which an entry is short.
const NAMED_IDS: usize = 3;

/// Returns what is asked for in words, for the audit log: how it is sent, which
/// filter, and of ids how many and the first ones.
#[must_use]
pub fn order_words(order: &Order) -> String {
    let filter = &order.filter;
    let given = [
        ("rate", order.rate_per_second.map(|rate| rate.to_string())),
        ("canary", order.canary.map(|canary| canary.to_string())),
        ("state", filter.state.map(|state| state.name().to_owned())),
        ("recipient", filter.recipient.map(|recipient| recipient.to_string())),
        ("entity", filter.entity.as_deref().map(str::to_owned)),
        ("reason", filter.reason.as_deref().map(str::to_owned)),
        ("since", filter.since.map(|at| at.to_string())),
        ("until", filter.until.map(|at| at.to_string())),
        ("ids", (!filter.ids.is_empty()).then(|| filter.ids.len().to_string())),
    ];
    let mut words: Vec<String> = given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?))).collect();
    words.extend(filter.ids.iter().take(NAMED_IDS).map(ToString::to_string));
    if filter.ids.len() > NAMED_IDS {
        words.push("…".to_owned());
    }
    if *filter == Filter::default() {
        words.push("everything".to_owned());
    }
    words.join(" ")
}

/// Returns to whom something of a selection would be sent.
#[must_use]
pub fn sent_to(tally: &Tally) -> Vec<Recipient> {
    tally.keys().filter(|(_, why)| why.is_none()).map(|(recipient, _)| *recipient).collect()
}

/// Describes what keeps a replay from sending to these recipients just now, as the API
/// does; what operators have said of it only to whoever may see everything.
#[must_use]
pub fn held_json(engine: &Engine, recipients: &[Recipient], told: Told, now: Moment) -> Value {
    let mut held = Vec::new();
    let mut add = |recipient: &Recipient, mut value: Value| {
        value["recipient"] = recipient.to_string().into();
        held.push(value);
    };
    for recipient in recipients.iter().filter(|recipient| told.of(**recipient)) {
        for wait in engine.held(*recipient, now) {
            add(recipient, wait_json(&wait, told));
        }
        let lanes = engine.lanes_parked_of(*recipient);
        if lanes > 0 {
            add(recipient, json!({ "what": "release", "lanes": lanes }));
        }
    }
    held.into()
}

/// Describes what a selection comes to, as the API does; `held` is what keeps it from
/// being sent.
#[must_use]
pub fn selected_json(id: Option<ReplayId>, tally: &Tally, already_claimed: u64, held: Value) -> Value {
    let matched: u64 = tally.values().sum();
    let would_send = would_send(tally);
    let sent = tally.iter().filter(|((_, why), _)| why.is_none());
    json!({
        "id": id.map(|id| id.to_string()),
        "matched": matched,
        "would_send": would_send,
        "would_withdraw": matched - would_send,
        "already_claimed": already_claimed,
        "held": held,
        "by_recipient": {
            "would_send": sent.map(|((recipient, _), count)| (recipient.to_string(), json!(count))).collect::<serde_json::Map<_, _>>(),
            "would_withdraw": tally.iter()
                .filter_map(|((recipient, why), count)| {
                    Some(json!({ "recipient": recipient.to_string(), "reason": (*why)?.name(), "count": count }))
                })
                .collect::<Vec<_>>(),
        },
    })
}

/// Describes what an order would come to, as the API does; a vendor is not shown who
/// else would be told instead.
#[must_use]
pub fn surveyed_json(found: &Survey, scope: Option<Recipient>, held: Value) -> Value {
    let mut value = selected_json(None, &found.tally, found.already_claimed, held);
    if scope.is_none() {
        let instead = found.told_instead.iter().map(|(recipient, count)| (recipient.to_string(), json!(count)));
        value["by_recipient"]["told_instead"] = Value::Object(instead.collect());
    }
    value
}

/// What has become of the first ones that a replay sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Canaries {
    delivered: u64,
    dead: u64,
    waiting: u64,
    withdrawn: u64,
}

/// Looks at the first ones that a replay sent.
///
/// # Errors
/// When the store cannot be read.
pub fn canaries<R: Archive>(records: &mut R, replay: &Replay) -> Result<Canaries, R::Error> {
    let mut found = Canaries::default();
    for key in &replay.canaries {
        match records.fate(*key)? {
            Some(Fate::Ended(End::Delivered)) => found.delivered += 1,
            Some(Fate::Ended(End::Withdrawn(_))) => found.withdrawn += 1,
            Some(Fate::Unfinished) => match records.delivery(*key)?.map(|row| row.state) {
                Some(State::Dead { .. }) => found.dead += 1,
                Some(State::Pending | State::Retrying { .. }) | None => found.waiting += 1,
            },
            // Forgotten by now.
            None => {}
        }
    }
    Ok(found)
}

/// Describes a replay as the API does; without what has become of its first
/// ones where nobody has looked. `held` is what keeps it from going on.
#[must_use]
pub fn replay_json(replay: &Replay, canaries: Option<Canaries>, held: Value) -> Value {
    let filter = &replay.order.filter;
    let progress = replay.progress;
    let mut value = selected_json(Some(replay.id), &replay.tally, replay.already_claimed, held);
    let more = json!({
        "state": replay.stage.name(),
        "done": replay.done(),
        "sent": progress.sent,
        "withdrawn": progress.withdrawn,
        "skipped": progress.skipped,
        "rate_per_second": replay.order.rate_per_second,
        "started_at": replay.at.to_string(),
        "ended_at": replay.ended_at().map(|at| at.to_string()),
        "by": &*replay.order.by,
        "filter": {
            "ids": filter.ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "state": filter.state.map_or("dead", |state| state.name()),
            "recipient": filter.recipient.map(|recipient| recipient.to_string()),
            "entity": filter.entity.as_deref(),
            "reason": filter.reason.as_deref(),
            "since": filter.since.map(|at| at.to_string()),
            "until": filter.until.map(|at| at.to_string()),
        },
        "canary": replay.order.canary.map(|first| json!({
            "first": first,
            "sent": replay.canaries.len(),
            "delivered": canaries.map(|canaries| canaries.delivered),
            "dead": canaries.map(|canaries| canaries.dead),
            "waiting": canaries.map(|canaries| canaries.waiting),
            "withdrawn": canaries.map(|canaries| canaries.withdrawn),
        })),
    });
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}
