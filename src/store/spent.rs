//! When records were registered last about people who are forgotten: what was registered
//! before that, and comes later, would be believed for want of what came after it.
//!
//! Found by a keyed hash of the record, which leads to nobody. They go with the journal.

use crate::core::citizen::RecordKind;
use crate::core::ids::ExternalId;
use crate::core::stamp::Instant;
use crate::core::time::Moment;

use super::codec::{Input, Output, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows;

impl Store {
    /// Stages that of a record of somebody's who is forgotten this was registered last.
    pub(super) fn put_spent(&mut self, kind: RecordKind, record: &ExternalId, newest: Instant) -> Result<(), StoreError> {
        let hash = self.vault.keyring.record(kind, record);
        let before = self.spent_until(kind, record)?;
        let mut value = vec![1];
        let (at, change) = before.map_or(newest, |before| before.max(newest));
        value.u64(at.0 as u64);
        value.u8(change);
        value.u64(self.last_seq);
        self.group.put(rows::spent(&hash), value);
        self.group.put(rows::spent_at(self.last_seq, &hash), vec![1]);
        Ok(())
    }

    /// Returns when the record was registered last, if somebody is forgotten whose it was.
    pub(super) fn spent_until(&self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, StoreError> {
        let row = self.vault.tree.get(rows::spent(&self.vault.keyring.record(kind, record)))?;
        Ok(row.map(|row| decode(&row)).transpose()?.map(|(newest, _)| newest))
    }

    /// Stages the removal of what was noted before this event, at most `slice`; returns
    /// whether that was all.
    pub(super) fn prune_spent(&mut self, kept: u64, slice: usize) -> Result<bool, StoreError> {
        let vault = std::sync::Arc::clone(&self.vault);
        for (taken, key) in vault.tree.range(rows::all_spent(0).as_ref()..rows::all_spent(kept).as_ref()).keys().enumerate() {
            if taken == slice {
                return Ok(false);
            }
            let key = key?;
            let damaged = Undecodable { what: "the key of a record of somebody forgotten" };
            let (hash, seq) = rows::spent_record(&key).zip(rows::spent_seq(&key)).ok_or(damaged)?;
            let noted = vault.tree.get(rows::spent(&hash))?.map(|row| decode(&row)).transpose()?;
            // It may have been noted again since.
            if noted.is_some_and(|(_, at)| at == seq) {
                self.group.remove(rows::spent(&hash));
            }
            self.group.remove(key);
        }
        Ok(true)
    }
}

/// Reads a row: when the record was registered last, and which event was the newest then.
pub(super) fn decode(row: &[u8]) -> Result<(Instant, u64), Undecodable> {
    let mut input = Input::versioned(row, "a record of somebody forgotten")?;
    let decoded = ((Moment(input.u64()? as i64), input.u8()?), input.u64()?);
    input.end()?;
    Ok(decoded)
}
