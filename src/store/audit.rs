//! The audit log on sled: one row an entry, sealed under the key of the store,
//! and one row that says where the log begins and ends, sealed as well: a hash
//! in the open would let somebody without the key try out what it may be of.

use ring::digest::{SHA256, digest};

use crate::core::audit::{Deed, Entry, Extent, Hash, Inspection, Order, Soundness};
use crate::core::time::Moment;

use super::codec::{self, Input, Output, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows;
use super::vault::unsealable;

/// How many entries that are over go when a new one comes.
const GO_AT_ONCE: usize = 16;

/// Returns the hash of bytes.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Returns the entry that comes next in a log.
pub(super) fn next(extent: &Extent, at: Moment, deed: Deed) -> Entry {
    let (seq, former) = (extent.newest + 1, extent.newest_hash);
    let hash = hash(&codec::hashed(&former, seq, at, &deed));
    Entry { seq, at, deed, former, hash }
}

impl Store {
    /// Stages an entry of the log, and the removal of some that are over.
    pub(super) fn put_audit(&mut self, at: Moment, deed: Deed) -> Result<(), StoreError> {
        let mut extent = self.audit_log()?;
        let entry = next(&extent, at, deed);
        let key = rows::audit(entry.seq);
        let value = self.seal_own(key.as_ref(), |out| codec::encode_audit(&entry.former, entry.at, &entry.deed, out))?;
        self.group.put(key, value);
        extent.newest = entry.seq;
        extent.newest_hash = entry.hash;
        if extent.first < entry.seq {
            for old in self.audit_entries(Order::OldestFirst, None, GO_AT_ONCE)? {
                // What is staged and not committed is not seen here, and is not old.
                if old.seq != extent.first || !Extent::is_over(old.at, at) {
                    break;
                }
                self.group.remove(rows::audit(old.seq));
                extent.first = old.seq + 1;
                extent.before_first = old.hash;
            }
        }
        let value = self.seal_own(rows::AUDIT, |out| codec::encode_extent(&extent, out))?;
        self.group.put(rows::AUDIT, value);
        self.audit = Some(extent);
        Ok(())
    }

    /// Returns where the log begins and ends, with what is staged.
    pub(super) fn audit_log(&self) -> Result<Extent, StoreError> {
        if let Some(extent) = self.audit {
            return Ok(extent);
        }
        let Some(row) = self.vault.tree.get(rows::AUDIT)? else { return Ok(Extent::EMPTY) };
        Ok(codec::decode_extent(&self.open_own(rows::AUDIT, &row)?)?)
    }

    /// Returns committed entries that come after `after` in that order.
    pub(super) fn audit_entries(&self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (from, to) = match (order, after) {
            (Order::OldestFirst, after) => (after.map_or(0, |after| after.saturating_add(1)), u64::MAX),
            (Order::NewestFirst, None) => (0, u64::MAX),
            (Order::NewestFirst, Some(0)) => return Ok(Vec::new()),
            (Order::NewestFirst, Some(before)) => (0, before - 1),
        };
        let range = self.vault.tree.range(rows::audit(from)..=rows::audit(to));
        let read = |row: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = row?;
            let seq = rows::first_u64(&key).ok_or(Undecodable { what: "the key of an entry of the audit log" })?;
            self.read_audit(seq, &key, &value)
        };
        match order {
            Order::OldestFirst => range.take(limit).map(read).collect(),
            Order::NewestFirst => range.rev().take(limit).map(read).collect(),
        }
    }

    /// Reads the row of an entry.
    pub(super) fn read_audit(&self, seq: u64, key: &[u8], value: &[u8]) -> Result<Entry, StoreError> {
        Ok(codec::decode_audit(seq, &self.open_own(key, value)?, hash)?)
    }

    /// Says whether the log is as it was written.
    pub(super) fn verify_audit(&self) -> Result<Soundness, StoreError> {
        let mut inspection = Inspection::of(self.audit_log()?);
        for row in self.vault.tree.range(rows::audit(0)..=rows::audit(u64::MAX)) {
            let (key, value) = row?;
            let seq = rows::first_u64(&key).ok_or(Undecodable { what: "the key of an entry of the audit log" })?;
            inspection.look(&self.read_audit(seq, &key, &value)?);
        }
        Ok(inspection.end())
    }

    /// Seals something that concerns no citizen.
    fn seal_own(&mut self, key: &[u8], write: impl FnOnce(&mut Vec<u8>)) -> Result<Vec<u8>, StoreError> {
        let mut value = Vec::new();
        value.u8(1);
        self.sealer.seal(&self.vault.keyring.store, key, &mut value, write).map_err(|_| unsealable(key))?;
        Ok(value)
    }

    fn open_own(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let sealed = Input::versioned(value, "a row of the audit log")?;
        self.vault.keyring.store.open(key, sealed.rest()).map_err(|_| unsealable(key))
    }
}
