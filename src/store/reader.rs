//! What operators read: beside the writer, from any thread that may block. Sees
//! what is committed, page by page.

use std::sync::Arc;

use crate::core::citizen::Citizen;
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Personnummer, Recipient};
use crate::core::outbox::{Delivery, End, Ended};
use crate::core::records::{Admission, EndPlace, EndsPage, Lookout, Quarantined, WantedEnds};
use crate::core::time::Moment;
use crate::core::trace::Traced;

use super::codec::{FinishRecord, Undecodable};
use super::disk::Given;
use super::error::StoreError;
use super::rows::{self, Shelf};
use super::vault::{ANYBODY, Taken, Vault};

/// The read side of the store. Clones are cheap.
#[derive(Debug, Clone)]
pub struct Reader(Arc<Vault>);

impl Reader {
    pub(super) fn new(vault: Arc<Vault>) -> Self {
        Self(vault)
    }

    /// Returns the rows of a queue that wait and come after `after`, in order of
    /// intake, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn waiting(&self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.rows(Shelf::Waiting, recipient, after, limit)
    }

    /// Returns the dead rows of a queue that come after `after`, in order of
    /// intake, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn dead(&self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, StoreError> {
        self.rows(Shelf::Dead, recipient, after, limit)
    }

    /// Returns a delivery that has a row.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn delivery(&self, key: DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        self.0.delivery(key)
    }

    /// Returns an event as it was taken in; `None` when it is not known, or its
    /// citizen was erased.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn admission(&self, seq: EventSeq) -> Result<Option<Admission>, StoreError> {
        Ok(match self.0.admission(seq)? {
            Some(Taken::Whole(admission)) => Some(*admission),
            Some(Taken::Erased { .. }) | None => None,
        })
    }

    /// Returns how a delivery ended, if it has.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn finished(&self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        if let Some(ended) = self.0.ended(key)? {
            return Ok(Some(ended));
        }
        if let Some(Taken::Whole(admission)) = self.0.admission(key.seq)?
            && admission.deliveries.iter().all(|(recipient, _)| *recipient != key.recipient)
        {
            // Nothing to search for.
            return Ok(None);
        }
        let finished = self.0.finished(key)?;
        Ok(finished.map(|record| Ended {
            end: record.end,
            attempts: record.attempts,
            at: record.at,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
        }))
    }

    /// Returns whose number it is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn find_citizen(&self, personnummer: &Personnummer) -> Result<Option<CitizenId>, StoreError> {
        Ok(self.0.find_number(personnummer)?.map(CitizenId))
    }

    /// Returns what is known of a person under all numbers, as one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn citizen(&self, id: CitizenId) -> Result<Option<Arc<Citizen>>, StoreError> {
        let mut parts = Vec::new();
        for slot in self.0.slots_of(id) {
            parts.extend(self.0.held(slot)?.and_then(|held| held.citizen));
        }
        Ok(Citizen::as_one(&parts))
    }

    /// Returns how many events the journal holds about citizens: by going through
    /// all of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events_about(&self, citizens: &[CitizenId]) -> Result<u64, StoreError> {
        let mut count = 0;
        for row in self.0.tree.scan_prefix(b"J") {
            let (key, page) = row?;
            let first = rows::first_u64(&key).ok_or(Undecodable { what: "the key of a row of the journal" })?;
            for entry in super::journal::entries(first, &page) {
                count += u64::from(citizens.contains(&CitizenId(entry?.slot)));
            }
        }
        Ok(count)
    }

    /// Returns a message in quarantine.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quarantined(&self, id: u64) -> Result<Option<Quarantined>, StoreError> {
        Ok(self.0.quarantined(id)?.map(|(_, quarantined)| quarantined))
    }

    /// Returns the messages in quarantine whose number is above `after`, in
    /// order, at most `limit`, and fewer when they are large: none only at the end.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quarantine(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        let from = rows::quarantined(after.saturating_add(1));
        let (mut page, mut bytes) = (Vec::new(), 0);
        for row in self.0.tree.range(from.as_ref()..&b"R"[..]) {
            if page.len() == limit || bytes >= PAGE_BYTES {
                break;
            }
            let (key, value) = row?;
            let id = rows::first_u64(&key).ok_or(Undecodable { what: "the key of a message in quarantine" })?;
            let quarantined = self.0.unseal_quarantined(id, &key, &value)?.map(|(_, quarantined)| quarantined);
            bytes += quarantined.as_ref().map_or(0, |quarantined: &Quarantined| quarantined.body.len());
            page.extend(quarantined);
        }
        Ok(page)
    }

    /// Returns the ids of the messages in quarantine that seem to be about the
    /// personnummer, or may be about anybody.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn quarantined_about(&self, personnummer: &Personnummer) -> Result<Vec<u64>, StoreError> {
        let mut found = self.quarantined_under(&self.0.keyring.number(personnummer))?;
        found.extend(self.quarantined_under(&ANYBODY)?);
        Ok(found)
    }

    pub(super) fn quarantined_under(&self, hash: &[u8; 16]) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for place in self.0.keyring.numbering.places(hash) {
            for key in self.0.tree.scan_prefix(&rows::quarantined_about(&place, 0).as_ref()[..18]).keys() {
                found.push(rows::last_u64(&key?).ok_or(Undecodable { what: "the key of a message in quarantine" })?);
            }
        }
        Ok(found)
    }

    pub(super) fn rows(
        &self,
        shelf: Shelf,
        recipient: Recipient,
        after: Option<EventSeq>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let at = |seq| rows::delivery(shelf, DeliveryKey { recipient, seq: EventSeq(seq) });
        let from = at(after.map_or(0, |after| after.0.saturating_add(1)));
        let mut page = Vec::new();
        for row in self.0.tree.range(from.as_ref()..=at(u64::MAX).as_ref()) {
            if page.len() == limit {
                break;
            }
            let (key, value) = row?;
            page.extend(self.0.unseal_delivery(&key, &value)?);
        }
        Ok(page)
    }
}

/// Returns where the rows of a shelf go on after a delivery's.
fn beyond(shelf: Shelf, key: DeliveryKey) -> Vec<u8> {
    let next = DeliveryKey { recipient: key.recipient, seq: EventSeq(key.seq.0.saturating_add(1)) };
    rows::delivery(shelf, next).as_ref().to_vec()
}

impl Lookout for Reader {
    type Error = StoreError;

    fn newest(&self) -> Result<EventSeq, StoreError> {
        super::recover::last_seq(&self.0.tree).map(EventSeq)
    }

    fn row_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let shelf = if dead { Shelf::Dead } else { Shelf::Waiting };
        if let Some(recipient) = recipient {
            let after = match after {
                None => None,
                Some(after) if after.recipient < recipient => None,
                Some(after) if after.recipient > recipient => return Ok(Vec::new()),
                Some(after) => Some(after.seq),
            };
            return self.rows(shelf, recipient, after, limit);
        }
        // Rows sort by the recipients' numbers.
        let from = after.map_or_else(|| vec![shelf.letter()], |after| beyond(shelf, after));
        let mut page = Vec::new();
        for row in self.0.tree.range(from..vec![shelf.letter() + 1]) {
            if page.len() == limit {
                break;
            }
            let (key, value) = row?;
            page.extend(self.0.unseal_delivery(&key, &value)?);
        }
        Ok(page)
    }

    fn outlived_page(
        &self,
        dead: bool,
        recipient: Option<Recipient>,
        after: Option<DeliveryKey>,
        limit: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let shelf = if dead { Shelf::Dead } else { Shelf::Waiting };
        // No event has the last of all places.
        let last_of = |recipient| DeliveryKey { recipient, seq: EventSeq(u64::MAX) };
        let oldest = self.oldest_in_journal()?;
        let to = recipient.map_or_else(|| vec![shelf.letter() + 1], |of| rows::delivery(shelf, last_of(of)).as_ref().to_vec());
        let first = recipient.map_or_else(
            || vec![shelf.letter()],
            |recipient| rows::delivery(shelf, DeliveryKey { recipient, seq: EventSeq(0) }).as_ref().to_vec(),
        );
        let mut from = after.map_or_else(Vec::new, |after| beyond(shelf, after)).max(first);
        let mut page = Vec::new();
        'recipients: while from < to {
            for row in self.0.tree.range(from.as_slice()..to.as_slice()) {
                if page.len() == limit {
                    break 'recipients;
                }
                let (row_key, value) = row?;
                let key = rows::delivery_key(&row_key).ok_or(Undecodable { what: "the key of a delivery" })?;
                if key.seq >= oldest {
                    // The journal has the rest of this one's.
                    from = rows::delivery(shelf, last_of(key.recipient)).as_ref().to_vec();
                    continue 'recipients;
                }
                page.extend(self.0.unseal_delivery(&row_key, &value)?);
            }
            break;
        }
        Ok(page)
    }

    fn row(&self, key: DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        self.delivery(key)
    }

    fn taken_in(&self, seq: EventSeq) -> Result<Option<Arc<Admission>>, StoreError> {
        Ok(self.admission(seq)?.map(Arc::new))
    }

    fn steps_of(&self, seq: EventSeq) -> Result<Vec<Traced>, StoreError> {
        self.0.steps(seq)
    }

    fn quarantine_after(&self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.quarantine(after, limit)
    }

    fn end_of(&self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        self.finished(key)
    }

    fn low_water(&self) -> Result<EventSeq, StoreError> {
        let row = self.0.tree.get(rows::NUMBERS)?;
        let given = row.map(|row| Given::decode(&row)).transpose()?;
        Ok(EventSeq(given.map_or(0, |given| given.low_water)))
    }

    fn ends_page(&self, wanted: &WantedEnds<'_>, before: Option<EndPlace>, limit: usize) -> Result<EndsPage, StoreError> {
        let mut page = EndsPage { found: Vec::new(), goes_on: before };
        let to =
            before.map_or_else(|| b"T".to_vec(), |before| rows::finishes(before.next.0, before.part.saturating_add(1)).as_ref().to_vec());
        let mut looked_at = 0;
        for row in self.0.finishes_between(b"S", &to).rev() {
            let (key, records) = row?;
            let (next, part) = rows::finishes_at(&key).ok_or(Undecodable { what: "the key of packed finishes" })?;
            if records.first().zip(wanted.since).is_some_and(|(first, since)| first.at < since.plus_seconds(-CLOCK_STEPS)) {
                page.goes_on = None;
                return Ok(page);
            }
            for (at, record) in records.iter().enumerate().rev() {
                let place = EndPlace { next, part, at: at as u32 };
                if before.is_some_and(|before| place >= before) {
                    continue;
                }
                if page.found.len() == limit {
                    return Ok(page);
                }
                page.goes_on = Some(place);
                if is_wanted(record, wanted) {
                    page.found.extend(self.latest_end(record)?.map(|ended| (place, record.key, ended)));
                }
            }
            looked_at += records.len();
            if looked_at >= NOTES_LOOKED_AT {
                return Ok(page);
            }
        }
        page.goes_on = None;
        Ok(page)
    }

    fn delivered(&self, recipient: Recipient, since: Moment, until: Moment, most: usize) -> Result<Vec<EventSeq>, StoreError> {
        let mut found = Vec::new();
        // Rows are as old as what is in them, give or take a clock that was set.
        let (from, to) = (since.plus_seconds(-CLOCK_STEPS), until.plus_seconds(CLOCK_STEPS));
        for row in self.0.finishes(self.first_finishes(from)?.as_ref()) {
            let (_, records) = row?;
            if records.first().is_some_and(|first| first.at > to) {
                break;
            }
            let is_it = |record: &&FinishRecord| {
                record.key.recipient == recipient && record.end == End::Delivered && since <= record.at && record.at < until
            };
            found.extend(records.iter().filter(is_it).map(|record| record.key.seq));
            if found.len() > 2 * most + 2 {
                // Mostly repeats, or too many in any case.
                found.sort_unstable();
                found.dedup();
                if found.len() > most {
                    break;
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found.truncate(most + 1);
        Ok(found)
    }
}

fn is_wanted(record: &FinishRecord, wanted: &WantedEnds<'_>) -> bool {
    // What has the place 0 is about no delivery.
    (1..=wanted.newest.0).contains(&record.key.seq.0)
        && wanted.recipient.is_none_or(|recipient| recipient == record.key.recipient)
        && (wanted.is_wanted)(record.end)
}

/// How many notes of ends are looked at for one page.
const NOTES_LOOKED_AT: usize = 50_000;
/// Bytes of messages in quarantine that are unsealed for one page.
const PAGE_BYTES: usize = 8 << 20;
/// How far a clock may have been set back or forth, in seconds.
const CLOCK_STEPS: i64 = 600;

impl Reader {
    /// Returns whether a delivery to the recipient has ended of which it is known still.
    /// Where there is none it reads all that have.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_ended(&self, recipient: Recipient) -> Result<bool, StoreError> {
        for row in self.0.finishes(rows::finishes(0, 0).as_ref()) {
            if row?.1.iter().any(|record| record.key.recipient == recipient) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the place of the oldest event that the journal holds; what has a row
    /// and comes before it has outlived it.
    fn oldest_in_journal(&self) -> Result<EventSeq, StoreError> {
        let first = self.0.tree.scan_prefix(b"J").next().transpose()?;
        Ok(EventSeq(first.and_then(|(key, _)| rows::first_u64(&key)).unwrap_or(u64::MAX)))
    }

    /// Returns how a delivery ended of which that was noted; `None` where it ended anew
    /// since.
    fn latest_end(&self, record: &FinishRecord) -> Result<Option<Ended>, StoreError> {
        let FinishRecord { key, end, attempts, at, .. } = *record;
        Ok(match self.0.ended(key)? {
            Some(ended) => Some(ended).filter(|ended| (ended.end, ended.attempts, ended.at) == (end, attempts, at)),
            None => Some(Ended { end, attempts, at, failures: Vec::new(), replays: 0, delivered_before: None }),
        })
    }

    /// Returns the key of packed finishes from which on all are that were written
    /// at `from` or later: found by halving, since they are written in order.
    fn first_finishes(&self, from: Moment) -> Result<rows::Row<13>, StoreError> {
        let first_at = |seq: u64| -> Result<Option<Moment>, StoreError> {
            let next = self.0.finishes(rows::finishes(seq, 0).as_ref()).next().transpose()?;
            Ok(next.and_then(|(_, records)| records.first().map(|record| record.at)))
        };
        // Everything written under `old` is older; the answer is not above `new`.
        let (mut old, mut new) = (0, super::recover::last_seq(&self.0.tree)?.saturating_add(2));
        while old + 1 < new {
            let middle = old + (new - old) / 2;
            if first_at(middle)?.is_some_and(|at| at < from) {
                old = middle;
            } else {
                new = middle;
            }
        }
        // What was written under `old` may go on after its first.
        Ok(rows::finishes(old, 0))
    }
}
