//! What was withdrawn because nobody was entitled, and waits for whoever becomes
//! entitled: a sealed row each, found by the citizen.

use crate::core::ids::{CitizenId, DeliveryKey};
use crate::core::records::Unclaimed;
use crate::core::time::Moment;

use super::codec::{self, Input, Output, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows;
use super::vault::{Vault, unsealable};

const WHAT: &str = "an unclaimed delivery";

/// Versions of a row: of the delivery alone, and after those of its rules that had
/// been left before.
const PLAIN: u8 = 1;
const WITH_EARLIER: u8 = 2;

impl Store {
    /// Finds out of whom there may be any: nobody else is asked about.
    pub(super) fn find_unclaimed(&mut self) -> Result<(), StoreError> {
        self.may_have_unclaimed.clear();
        for key in self.vault.tree.scan_prefix(b"w").keys() {
            let slot = rows::first_citizen(&key?).ok_or(Undecodable { what: WHAT })?;
            self.may_have_unclaimed.insert(slot.0);
        }
        Ok(())
    }

    pub(super) fn put_unclaimed(&mut self, unclaimed: Unclaimed) -> Result<(), StoreError> {
        let slot = unclaimed.delivery.citizen.0;
        let key = rows::unclaimed(slot, unclaimed.delivery.key);
        let mut value = vec![if unclaimed.earlier.is_empty() { PLAIN } else { WITH_EARLIER }];
        value.u64(unclaimed.at.0 as u64);
        let seal_key = self.vault.key(slot)?.seal;
        let sealed = self.sealer.seal(&seal_key, key.as_ref(), &mut value, |out| encode(&unclaimed, out));
        sealed.map_err(|_| unsealable(key.as_ref()))?;
        self.group.put(key, value);
        self.may_have_unclaimed.insert(slot);
        self.group.unclaimed.insert((slot, unclaimed.delivery.key), Some(unclaimed));
        Ok(())
    }

    pub(super) fn drop_unclaimed(&mut self, citizen: CitizenId, key: DeliveryKey) {
        self.group.remove(rows::unclaimed(citizen.0, key));
        self.group.unclaimed.insert((citizen.0, key), None);
    }

    /// Removes all of a slot's: nothing of it is staged.
    pub(super) fn forget_unclaimed(&mut self, slot: u32) -> Result<(), StoreError> {
        for key in self.vault.tree.scan_prefix(rows::all_unclaimed(slot)).keys() {
            self.group.remove(key?);
        }
        self.may_have_unclaimed.remove(&slot);
        Ok(())
    }

    /// Returns those of a person as the group sees them, in order of intake.
    pub(super) fn unclaimed_of_person(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, StoreError> {
        let mut found = Vec::new();
        if self.may_have_unclaimed.is_empty() {
            return Ok(found);
        }
        for slot in self.vault.slots_of(citizen) {
            if !self.may_have_unclaimed.contains(&slot) {
                continue;
            }
            for row in self.vault.tree.scan_prefix(rows::all_unclaimed(slot)) {
                let (key, row) = row?;
                let unclaimed = self.vault.unseal_unclaimed(&key, &row)?;
                found.extend(unclaimed.filter(|unclaimed| !self.group.unclaimed.contains_key(&(slot, unclaimed.delivery.key))));
            }
            let staged = self.group.unclaimed.iter().filter(|((of, _), _)| *of == slot);
            found.extend(staged.filter_map(|(_, unclaimed)| unclaimed.clone()));
        }
        found.sort_by_key(|unclaimed| (unclaimed.delivery.key.seq, unclaimed.delivery.key.recipient));
        Ok(found)
    }
}

impl Vault {
    /// Returns the committed ones after a place, in order of slots.
    pub fn unclaimed_page(&self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        let from = after.map(|(citizen, key)| rows::unclaimed(citizen.0, key));
        let from = from.as_ref().map_or(Included(&b"w"[..]), |row| Excluded(row.as_ref()));
        let mut page = Vec::new();
        for row in self.tree.range::<&[u8], _>((from, Excluded(&b"x"[..]))) {
            if page.len() == limit {
                break;
            }
            let (key, row) = row?;
            page.extend(self.unseal_unclaimed(&key, &row)?);
        }
        Ok(page)
    }

    /// Unseals one; `None` once the citizen is erased.
    pub fn unseal_unclaimed(&self, row_key: &[u8], row: &[u8]) -> Result<Option<Unclaimed>, StoreError> {
        let mut input = Input::new(row, WHAT);
        let has_earlier = match input.u8()? {
            PLAIN => false,
            WITH_EARLIER => true,
            _ => return Err(input.error().into()),
        };
        let at = Moment(input.u64()? as i64);
        let citizen = rows::first_citizen(row_key).ok_or(Undecodable { what: WHAT })?;
        let key = rows::delivery_key(row_key).ok_or(Undecodable { what: WHAT })?;
        let Some(bytes) = self.unseal(citizen.0, row_key, input.rest())? else { return Ok(None) };
        let mut sealed = Input::new(&bytes, WHAT);
        let earlier = if has_earlier { codec::decode_earlier(&mut sealed)? } else { Vec::new() };
        Ok(Some(Unclaimed { delivery: codec::decode_delivery(key, citizen, sealed.rest())?, at, earlier }))
    }
}

fn encode(unclaimed: &Unclaimed, out: &mut Vec<u8>) {
    if !unclaimed.earlier.is_empty() {
        codec::encode_earlier(&unclaimed.earlier, out);
    }
    codec::encode_delivery(&unclaimed.delivery, out);
}
