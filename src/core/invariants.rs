//! Whole-store checks as one function, run by the simulator and by
//! `wsb-broker verify` alike.
//!
//! Reads everything and changes nothing. Looks at committed contents: run it
//! between groups. Says what is broken, not how to mend it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::causes::{Cause, Causes};
use super::ids::{DeliveryKey, Recipient};
use super::outbox::{Delivery, REMEMBERED_ATTEMPTS, State};
use super::records::{Fate, Records, RowCounts};

/// Something in the store that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which delivery, where it is about one.
    pub key: Option<DeliveryKey>,
    /// What.
    pub what: Breach,
}

/// What cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// A row about an event that has not been taken in.
    NoSuchEvent,
    /// A row about a citizen of whom nothing is kept.
    NoSuchCitizen,
    /// A row of a delivery that has ended.
    Finished,
    /// A row that is not found by its key, or differs from what is found.
    NotFound,
    /// A row that is not found by its citizen: an erasure would miss it.
    NotOfCitizen,
    /// A row that is not among what waits for its recipient, or is dead and is:
    /// it would never be attempted, or once too often.
    NotInQueue,
    /// Attempts, failures and state that contradict one another.
    Attempts,
    /// A delivery that is in the journal only, and has a row too.
    Twice,
    /// What waits for a recipient is not in order of intake.
    OutOfOrder(Recipient),
    /// What is kept of the dead of a cause is not what its rows say.
    Cause(Cause),
    /// The numbers of a recipient's rows are not those of its rows.
    Counts {
        /// Whose.
        recipient: Recipient,
        /// As kept.
        kept: RowCounts,
        /// As counted.
        counted: RowCounts,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(key) = self.key {
            write!(f, "delivery of event {} to {}: ", key.seq.0, key.recipient)?;
        }
        match &self.what {
            Breach::NoSuchEvent => f.write_str("row of an event that was not taken in"),
            Breach::NoSuchCitizen => f.write_str("row of a citizen of whom nothing is kept"),
            Breach::Finished => f.write_str("row of a delivery that has ended"),
            Breach::NotFound => f.write_str("row is not found by its key"),
            Breach::NotOfCitizen => f.write_str("row is not found by its citizen"),
            Breach::NotInQueue => f.write_str("row is not what its queue waits for"),
            Breach::Attempts => f.write_str("attempts and state contradict one another"),
            Breach::Twice => f.write_str("has a row and is waiting in the journal too"),
            Breach::OutOfOrder(recipient) => write!(f, "what waits for {recipient} is not in order of intake"),
            Breach::Cause(cause) => {
                write!(
                    f,
                    "the dead of {} to {} ({}, {}) are not counted right",
                    cause.entity,
                    cause.recipient,
                    cause.why.name(),
                    cause.code
                )
            }
            Breach::Counts { recipient, kept, counted } => {
                write!(
                    f,
                    "rows of {recipient}: {} pending, {} retrying and {} dead are kept as {}, {} and {}",
                    counted.pending, counted.retrying, counted.dead, kept.pending, kept.retrying, kept.dead
                )
            }
        }
    }
}

/// Checks the whole store, of which `rows` are all rows. Returns what is broken,
/// in order of rows.
///
/// # Errors
/// When the store cannot be read.
pub fn broken<R: Records>(records: &mut R, rows: impl IntoIterator<Item = Delivery>) -> Result<Vec<Broken>, R::Error> {
    let mut broken = Vec::new();
    let mut counted: BTreeMap<Recipient, RowCounts> = BTreeMap::new();
    let mut waiting: BTreeMap<Recipient, Vec<DeliveryKey>> = BTreeMap::new();
    let mut keys = BTreeSet::new();
    let mut causes = Causes::default();
    for row in rows {
        causes.add(&row);
        keys.insert(row.key);
        let counts = counted.entry(row.key.recipient).or_default();
        match row.state {
            State::Pending => counts.pending += 1,
            State::Retrying { .. } => counts.retrying += 1,
            State::Dead { .. } => counts.dead += 1,
        }
        if !matches!(row.state, State::Dead { .. }) {
            waiting.entry(row.key.recipient).or_default().push(row.key);
        }
        broken.extend(breaches(&row, records)?.into_iter().map(|what| Broken { key: Some(row.key), what }));
    }
    let kept: BTreeMap<Recipient, RowCounts> = records.row_counts()?.into_iter().collect();
    let recipients: BTreeSet<Recipient> = kept.keys().chain(counted.keys()).copied().collect();
    for recipient in recipients {
        let kept = kept.get(&recipient).copied().unwrap_or_default();
        let counted = counted.get(&recipient).copied().unwrap_or_default();
        if kept != counted {
            broken.push(Broken { key: None, what: Breach::Counts { recipient, kept, counted } });
        }
        broken.extend(queue(recipient, waiting.remove(&recipient).unwrap_or_default(), records)?);
    }
    broken.extend(miscounted(&causes, records)?);
    for delivery in records.unfinished_in_journal()? {
        if keys.contains(&delivery.key) {
            broken.push(Broken { key: Some(delivery.key), what: Breach::Twice });
        }
    }
    Ok(broken)
}

/// Checks the dead by cause. When the first and the latest died is kept beyond
/// their going.
fn miscounted<R: Records>(counted: &Causes, records: &mut R) -> Result<Vec<Broken>, R::Error> {
    let mut kept = Causes::default();
    records.causes()?.into_iter().for_each(|(cause, tally)| kept.put(cause, tally));
    let causes: BTreeSet<&Cause> = kept.iter().chain(counted.iter()).map(|(cause, _)| cause).collect();
    let agree = |cause: &Cause| match (kept.get(cause), counted.get(cause)) {
        (Some(kept), Some(counted)) => {
            (kept.count, kept.attempts, kept.replays) == (counted.count, counted.attempts, counted.replays)
                && kept.first <= counted.first
                && kept.last >= counted.last
        }
        (Some(_), None) | (None, Some(_)) | (None, None) => false,
    };
    let wrong = causes.into_iter().filter(|cause| !agree(cause));
    Ok(wrong.map(|cause| Broken { key: None, what: Breach::Cause(cause.clone()) }).collect())
}

/// Checks one row by itself.
fn breaches<R: Records>(row: &Delivery, records: &mut R) -> Result<Vec<Breach>, R::Error> {
    let mut breaches = Vec::new();
    let mut demand = |holds: bool, breach: Breach| {
        if !holds {
            breaches.push(breach);
        }
    };
    demand(row.key.seq.0 > 0 && row.key.seq <= records.last_seq(), Breach::NoSuchEvent);
    demand(records.citizen(row.citizen)?.is_some(), Breach::NoSuchCitizen);
    demand(records.fate(row.key)? == Some(Fate::Unfinished), Breach::Finished);
    demand(records.delivery(row.key)?.as_ref() == Some(row), Breach::NotFound);
    demand(records.rows_of(row.citizen)?.contains(&row.key), Breach::NotOfCitizen);
    let attempts = usize::try_from(row.attempts).unwrap_or(usize::MAX);
    let states_agree = match row.state {
        State::Retrying { last, .. } => row.failures.last().is_some_and(|attempt| attempt.failure == last),
        State::Pending | State::Dead { .. } => true,
    };
    demand(states_agree && row.failures.len() <= attempts.min(REMEMBERED_ATTEMPTS), Breach::Attempts);
    Ok(breaches)
}

/// Checks what waits for a recipient against the rows that should.
fn queue<R: Records>(recipient: Recipient, mut expected: Vec<DeliveryKey>, records: &mut R) -> Result<Vec<Broken>, R::Error> {
    const PAGE: usize = 1024;
    let mut broken = Vec::new();
    let mut listed: BTreeSet<DeliveryKey> = BTreeSet::new();
    let mut after = None;
    loop {
        let page = records.waiting(recipient, after, PAGE)?;
        if page.windows(2).any(|pair| pair[0].key >= pair[1].key) {
            broken.push(Broken { key: None, what: Breach::OutOfOrder(recipient) });
            return Ok(broken);
        }
        listed.extend(page.iter().map(|row| row.key));
        let Some(last) = page.last().map(|row| row.key.seq).filter(|last| after.is_none_or(|after| *last > after)) else { break };
        after = Some(last);
        if page.len() < PAGE {
            break;
        }
    }
    expected.sort_unstable();
    let expected: BTreeSet<DeliveryKey> = expected.into_iter().collect();
    broken.extend(expected.symmetric_difference(&listed).map(|key| Broken { key: Some(*key), what: Breach::NotInQueue }));
    Ok(broken)
}
