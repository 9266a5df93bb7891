//! Replays: dead deliveries sent again, selected once, at a rate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::deliveries::{Filter, matching_dead};
use crate::core::engine::{Engine, Output, Prospect, Replayed};
use crate::core::ids::{DeliveryKey, Recipient};
use crate::core::records::Archive;
use crate::core::time::Moment;

/// What a selection would come to now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The selected, in order of recipient and intake.
    pub keys: Vec<DeliveryKey>,
    /// How many would be sent, by recipient.
    pub would_send: BTreeMap<String, u64>,
    /// How many would be withdrawn, by recipient and reason.
    pub would_withdraw: BTreeMap<(String, &'static str), u64>,
}

impl Selection {
    /// Describes it as the API does.
    #[must_use]
    pub fn json(&self, id: Option<u64>) -> Value {
        json!({
            "id": id.map(|id| id.to_string()),
            "matched": self.keys.len(),
            "would_send": self.would_send.values().sum::<u64>(),
            "would_withdraw": self.would_withdraw.values().sum::<u64>(),
            "by_recipient": {
                "would_send": self.would_send,
                "would_withdraw": self.would_withdraw.iter()
                    .map(|((recipient, reason), count)| json!({ "recipient": recipient, "reason": reason, "count": count }))
                    .collect::<Vec<_>>(),
            },
        })
    }
}

/// Adds the next dead deliveries that match to a selection; returns where to go
/// on, if there are more. Looks at a bounded number of them.
///
/// # Errors
/// When the store cannot be read.
pub fn select<R: Archive>(
    engine: &Engine,
    records: &mut R,
    filter: &Filter,
    after: Option<DeliveryKey>,
    now: Moment,
    selection: &mut Selection,
) -> Result<Option<DeliveryKey>, R::Error> {
    let (rows, next) = matching_dead(records, filter, after)?;
    for row in rows {
        let recipient = row.key.recipient.to_string();
        match engine.prospect(&row, records, now)? {
            Prospect::Send => *selection.would_send.entry(recipient).or_default() += 1,
            Prospect::Withdraw(why) => *selection.would_withdraw.entry((recipient, why.name())).or_default() += 1,
        }
        selection.keys.push(row.key);
    }
    Ok(next)
}

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Handed over to be sent.
    pub sent: u64,
    /// Withdrawn, since nobody is entitled any more.
    pub withdrawn: u64,
    /// Not dead any more when their turn came.
    pub skipped: u64,
}

/// Replays the deliveries of `keys`; the caller commits.
///
/// # Errors
/// When the store cannot be read or written.
pub fn replay<R: Archive>(
    engine: &mut Engine,
    records: &mut R,
    keys: &[DeliveryKey],
    now: Moment,
    out: &mut Output,
) -> Result<Progress, R::Error> {
    let mut progress = Progress::default();
    for key in keys {
        match engine.replay(*key, records, now, out)? {
            Replayed::Revived => progress.sent += 1,
            Replayed::Withdrawn => progress.withdrawn += 1,
            Replayed::NotDead => progress.skipped += 1,
        }
    }
    Ok(progress)
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Under way.
    Running,
    /// Stopped by an operator; what it has not reached stays dead.
    Stopped,
    /// Finished.
    Done,
    /// Ended by trouble of the broker.
    Failed,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone)]
struct Replay {
    matched: u64,
    progress: Progress,
    rate_per_second: Option<u32>,
    stage: Stage,
    started_at: Moment,
    /// Whose vendor asked for it, if one did: it sees no other.
    of: Option<Recipient>,
}

/// The replays of this process. A restart forgets them: what they had not
/// reached by then is dead still, and can be selected again.
#[derive(Debug, Clone, Default)]
pub struct Replays(Arc<Mutex<BTreeMap<u64, Replay>>>);

impl Replays {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Replay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a replay that begins; returns its number.
    #[must_use]
    pub fn begin(&self, matched: u64, rate_per_second: Option<u32>, started_at: Moment, of: Option<Recipient>) -> u64 {
        let mut replays = self.lock();
        let id = replays.last_key_value().map_or(1, |(id, _)| id + 1);
        replays.insert(id, Replay { matched, progress: Progress::default(), rate_per_second, stage: Stage::Running, started_at, of });
        id
    }

    /// Adds what a step has done; returns whether the replay goes on.
    #[must_use]
    pub fn advance(&self, id: u64, step: Progress) -> bool {
        let mut replays = self.lock();
        let Some(replay) = replays.get_mut(&id) else { return false };
        replay.progress.sent += step.sent;
        replay.progress.withdrawn += step.withdrawn;
        replay.progress.skipped += step.skipped;
        replay.stage == Stage::Running
    }

    /// Ends a replay, unless it has ended; returns whether there is such a one.
    pub fn end(&self, id: u64, stage: Stage) -> bool {
        let mut replays = self.lock();
        let Some(replay) = replays.get_mut(&id) else { return false };
        if replay.stage == Stage::Running {
            replay.stage = stage;
        }
        true
    }

    /// Describes a replay as the API does; for a vendor, only one of its own.
    #[must_use]
    pub fn json(&self, id: u64, only: Option<Recipient>) -> Option<Value> {
        let replays = self.lock();
        let replay = replays.get(&id).filter(|replay| only.is_none() || replay.of == only)?;
        let Progress { sent, withdrawn, skipped } = replay.progress;
        Some(json!({
            "id": id.to_string(),
            "state": replay.stage.name(),
            "matched": replay.matched,
            "done": sent + withdrawn + skipped,
            "sent": sent,
            "withdrawn": withdrawn,
            "skipped": skipped,
            "rate_per_second": replay.rate_per_second,
            "started_at": replay.started_at.to_string(),
        }))
    }

    /// Describes every replay; for a vendor, its own.
    #[must_use]
    pub fn all(&self, only: Option<Recipient>) -> Vec<Value> {
        let ids: Vec<u64> = self.lock().keys().copied().collect();
        ids.into_iter().filter_map(|id| self.json(id, only)).collect()
    }
}
