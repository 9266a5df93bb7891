//! What operators ask for besides, on sled.

use std::sync::Arc;

use crate::core::audit::{Entry, Extent, Order};
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, ExternalId, Personnummer, WsbId};
use crate::core::records::{Admission, Archive, KeptBeside, Quarantined};
use crate::core::retention::Unexpected;
use crate::core::trace::Traced;

use super::disk::{Store, indexed_seq};
use super::error::StoreError;
use super::vault::Taken;

impl Archive for Store {
    fn quarantine_page(&mut self, after: u64, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        self.reader().quarantine(after, limit)
    }

    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.audit_entries(order, after, limit)
    }

    fn audit_extent(&mut self) -> Result<Extent, StoreError> {
        self.audit_log()
    }

    fn steps(&mut self, seq: EventSeq) -> Result<Vec<Traced>, StoreError> {
        self.vault.steps(seq)
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
        match self.find_by_wsb_id(id)? {
            Some((key, _)) => Ok(Some(key)),
            None => self.took_over(id),
        }
    }

    fn was_about_erased(&mut self, id: WsbId, event_id: Option<&str>) -> Result<bool, StoreError> {
        let fingerprints = [Some(id.as_bytes().as_slice()), event_id.map(str::as_bytes)];
        for bytes in fingerprints.into_iter().flatten() {
            let fingerprint = self.vault.keyring.events.of(bytes);
            for key in self.index.find(&self.vault.tree, &fingerprint.to_be_bytes())? {
                if matches!(self.vault.admission(indexed_seq(&key))?, Some(Taken::Erased { .. })) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn kept_beside(&mut self, citizen: CitizenId) -> Result<KeptBeside, StoreError> {
        let mut kept = KeptBeside::default();
        for slot in self.vault.slots_of(citizen) {
            kept.ledger += self.ledger.count_from(&self.vault.tree, &slot.to_be_bytes())?;
            let numbers = self.held(slot)?.map(|held| held.numbers.clone()).unwrap_or_default();
            kept.numbers += numbers.len();
            for digest in numbers {
                kept.quarantine.extend(self.reader().quarantined_under(&digest)?);
            }
        }
        Ok(kept)
    }

    fn quarantined_about(&mut self, personnummer: &Personnummer) -> Result<Vec<u64>, StoreError> {
        self.reader().quarantined_about(personnummer)
    }

    fn unexpected_page(&mut self, before: Option<EventSeq>, limit: usize) -> Result<Vec<Unexpected>, StoreError> {
        self.vault.unexpected(before, limit)
    }

    fn deletions_of(&mut self, citizen: CitizenId, record: &ExternalId) -> Result<Vec<Arc<Admission>>, StoreError> {
        let mut found = Vec::new();
        for slot in self.vault.slots_of(citizen) {
            let fingerprint = self.vault.ended_record(slot, record)?;
            for key in self.index.find(&self.vault.tree, &fingerprint.to_be_bytes())? {
                let admission = Store::admission(self, indexed_seq(&key))?;
                found.extend(admission.filter(|admission| admission.event.ends_record() && admission.event.external_id == *record));
            }
        }
        found.sort_unstable_by_key(|admission| admission.seq);
        found.dedup_by_key(|admission| admission.seq);
        Ok(found)
    }
}
