//! Deletions that the rules did not expect, on disk: bounded, the oldest go. What
//! leads to the record is sealed under the citizen's key and dies with it; that
//! there was one, of which area and type, stays for the operator.

use crate::core::ids::{CitizenId, EventSeq};
use crate::core::retention::{Deleted, MOST_UNEXPECTED, Surprise, Unexpected};
use crate::core::time::Moment;

use super::codec::{self, Input, Output, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows;
use super::vault::{Vault, unsealable};

const WHAT: &str = "an unexpected deletion";

impl Store {
    /// Counts the rows; they are few.
    pub(super) fn count_unexpected(&mut self) -> Result<(), StoreError> {
        self.unexpected = 0;
        for row in self.vault.tree.scan_prefix(b"y").keys() {
            row?;
            self.unexpected += 1;
        }
        Ok(())
    }

    pub(super) fn note_unexpected(&mut self, unexpected: &Unexpected) -> Result<(), StoreError> {
        let key = rows::unexpected(unexpected.seq);
        let mut value = vec![1];
        value.u64(unexpected.at.0 as u64);
        value.u8(Surprise::ALL.iter().position(|why| *why == unexpected.why).map_or(0, |at| at as u8));
        value.text(&unexpected.area);
        value.text(&unexpected.entity);
        value.u32(unexpected.citizen.0);
        let seal_key = self.vault.key(unexpected.citizen.0)?.seal;
        let sealed = self.sealer.seal(&seal_key, key.as_ref(), &mut value, |out| {
            if let Some(record) = &unexpected.record {
                codec::encode_deleted(record, out);
            }
        });
        sealed.map_err(|_| unsealable(key.as_ref()))?;
        self.group.put(key, value);
        self.unexpected += 1;
        if self.unexpected > MOST_UNEXPECTED {
            // Those that this group has taken already are not there any more.
            let from = rows::unexpected(self.unexpected_from);
            let oldest = self.vault.tree.range(from.as_ref()..&b"z"[..]).keys().next().transpose()?;
            if let Some(oldest) = oldest {
                self.drop_unexpected(&oldest);
            }
        }
        Ok(())
    }

    fn drop_unexpected(&mut self, key: &[u8]) {
        self.group.remove(key);
        self.unexpected = self.unexpected.saturating_sub(1);
        self.unexpected_from = EventSeq(rows::first_u64(key).unwrap_or(0).saturating_add(1));
    }

    /// Stages the removal of what was heard of before `before`, at most `slice`;
    /// returns whether that was all.
    pub(super) fn prune_unexpected(&mut self, before: Moment, slice: usize) -> Result<bool, StoreError> {
        let from = rows::unexpected(self.unexpected_from);
        let mut old = Vec::new();
        for row in self.vault.tree.range(from.as_ref()..&b"z"[..]) {
            let (key, value) = row?;
            if Moment(Input::versioned(&value, WHAT)?.u64()? as i64) >= before {
                break;
            }
            if old.len() == slice {
                old.iter().for_each(|key: &sled::IVec| self.drop_unexpected(key));
                return Ok(false);
            }
            old.push(key);
        }
        old.iter().for_each(|key| self.drop_unexpected(key));
        Ok(true)
    }
}

impl Vault {
    /// Returns the newest before `before`, newest first, at most `limit`.
    pub fn unexpected(&self, before: Option<EventSeq>, limit: usize) -> Result<Vec<Unexpected>, StoreError> {
        let to = before.map_or_else(|| b"z".to_vec(), |before| rows::unexpected(before).as_ref().to_vec());
        let rows = self.tree.range(&b"y"[..]..&to[..]).rev().take(limit);
        rows.map(|row| {
            let (key, value) = row?;
            self.unseal_unexpected(&key, &value)
        })
        .collect()
    }

    pub fn unseal_unexpected(&self, key: &[u8], row: &[u8]) -> Result<Unexpected, StoreError> {
        let seq = rows::first_u64(key).ok_or(Undecodable { what: "the key of an unexpected deletion" })?;
        let mut input = Input::versioned(row, WHAT)?;
        let at = Moment(input.u64()? as i64);
        let why = *Surprise::ALL.get(usize::from(input.u8()?)).ok_or(Undecodable { what: WHAT })?;
        let (area, entity) = (input.text()?, input.text()?);
        let citizen = CitizenId(input.u32()?);
        let record: Option<Deleted> = match self.unseal(citizen.0, key, input.rest())? {
            Some(bytes) => Some(codec::decode_deleted(&bytes)?),
            None => None,
        };
        Ok(Unexpected { seq: EventSeq(seq), citizen, at, area, entity, why, record })
    }
}
