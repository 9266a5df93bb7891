//! The ledger of who was sent something about which record (GDPR article 19): an entry
//! for each slot, record and recipient. In place of the record stands a fingerprint of
//! its EntitetNavn and EksternIdentifier, as everything else goes by both.
//!
//! Until decision 0078 it was of the EksternIdentifier alone. What was entered so stays as
//! it is: it may be of a record of any type, so it is found for each of them, and leaves with
//! the first that is deleted or moves.

use crate::core::event::{Content, Event};
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, ExternalId, Recipient};
use crate::core::outbox::{End, Withdrawal};
use crate::core::records::Former;
use crate::core::time::Moment;

use super::codec::{FinishRecord, LedgerChange};
use super::disk::Store;
use super::error::StoreError;

/// The bytes of an entry, and of its part before the recipient.
const ENTRY: usize = 14;
const PREFIX: usize = 12;

/// Returns an entry.
pub(super) fn entry(citizen: CitizenId, record: u64, recipient: Recipient) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[..PREFIX].copy_from_slice(&prefix(citizen, record));
    entry[PREFIX..].copy_from_slice(&recipient.to_number().to_be_bytes());
    entry
}

fn prefix(citizen: CitizenId, record: u64) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix[..4].copy_from_slice(&citizen.0.to_be_bytes());
    prefix[4..].copy_from_slice(&record.to_be_bytes());
    prefix
}

fn recipient(entry: &[u8; ENTRY]) -> Option<Recipient> {
    Recipient::from_number(u16::from_be_bytes([entry[PREFIX], entry[PREFIX + 1]]))
}

impl Store {
    /// Returns who holds something of a record, under whichever number of the person.
    pub(super) fn holders_of(&self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, StoreError> {
        let mut holders = Vec::new();
        for slot in self.vault.slots_of(citizen) {
            for fingerprint in self.entered_as(slot, entity, record)? {
                let found = self.ledger.find(&self.vault.tree, &prefix(CitizenId(slot), fingerprint))?;
                holders.extend(found.iter().filter_map(recipient));
            }
        }
        holders.sort_unstable();
        holders.dedup();
        Ok(holders)
    }

    /// Enters what the end of a delivery says of who holds what, and returns it.
    pub(super) fn enter(
        &mut self,
        recipient: Recipient,
        citizen: CitizenId,
        event: &Event,
        end: End,
        may_hold: bool,
    ) -> Result<LedgerChange, StoreError> {
        let is_notice = matches!(event.content, Content::Deletion { .. });
        if !is_notice && may_hold {
            let record = self.vault.key(citizen.0)?.record(event.record_entity(), &event.external_id);
            self.ledger.insert(entry(citizen, record, recipient));
            return Ok(LedgerChange::Holds(citizen, record));
        }
        // Told that the record is deleted: it holds nothing of it any more.
        if is_notice && end == End::Delivered {
            return Ok(LedgerChange::Gone(self.strike_out(recipient, citizen, event)?));
        }
        Ok(LedgerChange::None)
    }

    /// Takes out whatever says that a recipient holds something of a record.
    fn strike_out(&mut self, recipient: Recipient, citizen: CitizenId, event: &Event) -> Result<Vec<(CitizenId, u64)>, StoreError> {
        let mut gone = Vec::new();
        for slot in self.vault.slots_of(citizen).into_iter().map(CitizenId) {
            let [record, of_any_type] = self.entered_as(slot.0, event.record_entity(), &event.external_id)?;
            gone.push((slot, record));
            // Nearly always there is none: that it is gone need not be written.
            if self.ledger.find(&self.vault.tree, &prefix(slot, of_any_type))?.contains(&entry(slot, of_any_type, recipient)) {
                gone.push((slot, of_any_type));
            }
        }
        for (slot, record) in &gone {
            self.ledger.remove(entry(*slot, *record, recipient));
        }
        Ok(gone)
    }

    /// Moves or copies the entries about a record, each noted among the finishes, from which the
    /// ledger is rebuilt.
    pub(super) fn move_holders(
        &mut self,
        entity: &str,
        record: &ExternalId,
        from: CitizenId,
        to: CitizenId,
        former: Former,
        at: Moment,
    ) -> Result<(), StoreError> {
        let new = self.vault.key(to.0)?.record(entity, record);
        let slots = self.vault.slots_of(from);
        self.move_owner(entity, record, &slots, to.0)?;
        for slot in slots.into_iter().map(CitizenId) {
            for old in self.entered_as(slot.0, entity, record)? {
                let found = self.ledger.find(&self.vault.tree, &prefix(slot, old))?;
                for recipient in found.iter().filter_map(recipient) {
                    if former == Former::Loses {
                        self.ledger.remove(entry(slot, old, recipient));
                        self.note_moved(recipient, LedgerChange::Gone(vec![(slot, old)]), at);
                    }
                    self.ledger.insert(entry(to, new, recipient));
                    self.note_moved(recipient, LedgerChange::Holds(to, new), at);
                }
            }
        }
        Ok(())
    }

    fn note_moved(&mut self, recipient: Recipient, ledger: LedgerChange, at: Moment) {
        self.group.finish(&FinishRecord {
            // No delivery: there is no such place.
            key: DeliveryKey { recipient, seq: EventSeq(0) },
            end: End::Withdrawn(Withdrawal::RecordDeleted),
            attempts: 0,
            at,
            had_row: false,
            ledger,
        });
    }

    /// Returns what may stand for a record in the entries of a slot: its fingerprint, and
    /// the one by which it was entered until decision 0078.
    fn entered_as(&self, slot: u32, entity: &str, record: &ExternalId) -> Result<[u64; 2], StoreError> {
        let key = self.vault.key(slot)?;
        Ok([key.record(entity, record), key.record_of_any_type(record)])
    }
}
