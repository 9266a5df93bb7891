//! What operators ask for besides, on sled.

use std::sync::Arc;

use crate::core::ids::{DeliveryKey, EventSeq, Recipient, WsbId};
use crate::core::outbox::Delivery;
use crate::core::records::{Admission, Archive, Ended, Quarantined};

use super::disk::{Store, indexed_seq};
use super::error::StoreError;
use super::rows::{self, Shelf};

impl Archive for Store {
    fn quarantine_page(&mut self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.reader().quarantine(after, limit)
    }

    fn row_page(
        &mut self,
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
            return self.reader().rows(shelf, recipient, after, limit);
        }
        // Rows sort by the recipients' numbers.
        let next = |key: DeliveryKey| DeliveryKey { recipient: key.recipient, seq: EventSeq(key.seq.0.saturating_add(1)) };
        let from = after.map_or_else(|| vec![shelf.letter()], |after| rows::delivery(shelf, next(after)).as_ref().to_vec());
        let mut page = Vec::new();
        for row in self.vault.tree.range(from..vec![shelf.letter() + 1]) {
            if page.len() == limit {
                break;
            }
            let (key, value) = row?;
            page.extend(self.vault.unseal_delivery(&key, &value)?);
        }
        Ok(page)
    }

    fn admission(&mut self, seq: EventSeq) -> Result<Option<Arc<Admission>>, StoreError> {
        Store::admission(self, seq)
    }

    fn events_by_id(&mut self, id: &str) -> Result<Vec<EventSeq>, StoreError> {
        let fingerprint = self.vault.keyring.events.of(id.as_bytes());
        let mut found = Vec::new();
        for key in self.index.find(&self.vault.tree, &fingerprint.to_be_bytes())? {
            let seq = indexed_seq(&key);
            if Store::admission(self, seq)?.is_some_and(|admission| &*admission.event.id == id) {
                found.push(seq);
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    fn delivery_by_id(&mut self, id: WsbId) -> Result<Option<DeliveryKey>, StoreError> {
        Ok(self.find_by_wsb_id(id)?.map(|(key, _)| key))
    }

    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        Ok(self.finished(key)?.map(|ended| Ended { end: ended.end, attempts: ended.attempts, at: ended.at }))
    }
}
