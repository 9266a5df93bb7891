//! Reading what is committed: rows found and unsealed. Shared by the writer and
//! by whoever reads beside it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::core::about::About;
use crate::core::citizen::Citizen;
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, ExternalId, Personnummer};
use crate::core::notices::Lying;
use crate::core::outbox::{Delivery, Ended};
use crate::core::persons::Persons;
use crate::core::records::{Admission, Quarantined};
use crate::core::replay::{Replay, ReplayId};

use super::cache::Generations;
use super::codec::{self, FinishRecord, Input, Output, Undecodable};
use super::error::StoreError;
use super::journal;
use super::keyring::{CitizenKey, Keyring};
use super::rows::{self, Shelf};

/// Stands where the digest of a number would, for messages that may be about anybody.
pub(super) const ANYBODY: [u8; 16] = *b"anybody at all..";

/// Returns whose a record is by its row, and after that whose it was.
pub(super) fn owners_in(row: &[u8]) -> Result<Vec<u32>, Undecodable> {
    let mut input = Input::new(row, "the owners of a record");
    let mut owners = vec![input.u32()?];
    while !input.is_empty() {
        owners.push(input.u32()?);
    }
    Ok(owners)
}

/// The committed rows, and the keys to them.
#[derive(Debug)]
pub(super) struct Vault {
    pub tree: sled::Tree,
    pub keyring: Keyring,
    keys: Mutex<Generations<u32, CitizenKey>>,
    persons: RwLock<Persons>,
}

/// What the row of a citizen holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// The record; `None` while there is a number and nothing else.
    pub citizen: Option<Arc<Citizen>>,
    /// The hashes of every number that leads here, to be found when it is erased.
    pub numbers: Vec<[u8; 16]>,
}

impl Held {
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.varint(self.numbers.len() as u64);
        self.numbers.iter().for_each(|number| out.raw(number));
        if let Some(citizen) = &self.citizen {
            codec::encode_citizen(citizen, out);
        }
    }

    pub fn decode(slot: u32, bytes: &[u8]) -> Result<Self, Undecodable> {
        let mut input = Input::new(bytes, "the row of a citizen");
        let numbers = (0..input.count()?).map(|_| input.array()).collect::<Result<_, _>>()?;
        let citizen = match input.is_empty() {
            true => None,
            false => Some(Arc::new(codec::decode_citizen(CitizenId(slot), input.rest())?)),
        };
        Ok(Self { citizen, numbers })
    }
}

/// What stands outside of the sealed part of a delivery's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    pub state: StateByte,
    pub slot: u32,
}

/// The state of a delivery as counting needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StateByte {
    Pending,
    Retrying,
    Dead,
}

impl StateByte {
    pub fn number(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Retrying => 1,
            Self::Dead => 2,
        }
    }

    pub fn shelf(self) -> Shelf {
        match self {
            Self::Pending | Self::Retrying => Shelf::Waiting,
            Self::Dead => Shelf::Dead,
        }
    }
}

/// A row of the journal that holds an event, or what is known of it after its
/// citizen was erased.
pub(super) enum Taken {
    /// Everything.
    Whole(Box<Admission>),
    /// The fingerprint of its mark.
    Erased { mark: u64 },
}

impl Vault {
    pub fn new(tree: sled::Tree, keyring: Keyring, cached_keys: usize) -> Result<Self, StoreError> {
        let mut persons = Persons::default();
        for key in tree.scan_prefix(b"M").keys() {
            let (one, other) = rows::joined_two(&key?).ok_or(Undecodable { what: "the key of two joined citizens" })?;
            persons.join(one, other);
        }
        Ok(Self { tree, keyring, keys: Mutex::new(Generations::new(cached_keys)), persons: RwLock::new(persons) })
    }

    /// Returns the keys of a slot.
    pub fn key(&self, slot: u32) -> Result<CitizenKey, StoreError> {
        if let Some(key) = self.keys().get(&slot) {
            return Ok(key);
        }
        let key = self.keyring.citizen(slot).map_err(StoreError::Keys)?;
        self.keys().insert(slot, key.clone());
        Ok(key)
    }

    /// Forgets the keys of slots that are being overwritten.
    pub fn forget_keys(&self, slots: &[u32]) {
        let mut keys = self.keys();
        slots.iter().for_each(|slot| keys.remove(slot));
    }

    fn keys(&self) -> MutexGuard<'_, Generations<u32, CitizenKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who is one person with whom, as the group sees it.
    pub fn persons(&self) -> RwLockReadGuard<'_, Persons> {
        self.persons.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Vault::persons`], to change what the caller stores.
    pub fn persons_mut(&self) -> RwLockWriteGuard<'_, Persons> {
        self.persons.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the slot of every number of the person, that of the citizen who
    /// stands for it first.
    pub fn slots_of(&self, citizen: CitizenId) -> Vec<u32> {
        self.persons().all_of(citizen).into_iter().map(|id| id.0).collect()
    }

    /// Unseals something of a citizen's; `None` once the citizen is erased.
    pub fn unseal(&self, slot: u32, bound_to: &[u8], sealed: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.key(slot)?.seal.open(bound_to, sealed) {
            Ok(bytes) => Ok(Some(bytes)),
            // Asked last, since it is rare.
            Err(_) if self.tree.contains_key(rows::erased(slot))? => Ok(None),
            Err(_) => Err(unsealable(bound_to)),
        }
    }

    /// Returns what a message in quarantine is found by.
    pub fn digests_of(&self, about: &About) -> Vec<[u8; 16]> {
        match about {
            About::These(numbers) => numbers.iter().map(|number| self.keyring.number(number)).collect(),
            About::Anybody => vec![ANYBODY],
        }
    }

    /// Returns whose number it is.
    pub fn find_number(&self, personnummer: &Personnummer) -> Result<Option<u32>, StoreError> {
        for place in self.keyring.numbering.places(&self.keyring.number(personnummer)) {
            if let Some(row) = self.tree.get(rows::number(&place))? {
                return Ok(Some(Input::new(&row, "the owner of a number").u32()?));
            }
        }
        Ok(None)
    }

    /// Returns whose a record is, and after that whose it was.
    pub fn owners(&self, record: &[u8; 16]) -> Result<Vec<u32>, StoreError> {
        let row = self.tree.get(rows::owner(record))?;
        Ok(row.map(|row| owners_in(&row)).transpose()?.unwrap_or_default())
    }

    pub fn held(&self, slot: u32) -> Result<Option<Held>, StoreError> {
        self.held_bytes(slot)?.map(|bytes| Ok(Held::decode(slot, &bytes)?)).transpose()
    }

    /// Returns the row of a citizen, unsealed and not decoded.
    pub fn held_bytes(&self, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let key = rows::citizen(slot);
        let Some(row) = self.tree.get(key)? else { return Ok(None) };
        let input = Input::versioned(&row, "the row of a citizen")?;
        self.unseal(slot, key.as_ref(), input.rest())
    }

    /// Returns an event as it was taken in.
    pub fn admission(&self, seq: EventSeq) -> Result<Option<Taken>, StoreError> {
        let Some(row) = self.tree.range(..=rows::journal(seq.0)).next_back() else { return Ok(None) };
        let (key, page) = row?;
        let Some(first) = rows::first_u64(&key).filter(|_| key[0] == b'J') else { return Ok(None) };
        for entry in journal::entries(first, &page) {
            let entry = entry?;
            if entry.seq == seq.0 {
                return self.taken(&entry).map(Some);
            }
        }
        Ok(None)
    }

    pub fn taken(&self, entry: &journal::Entry<'_>) -> Result<Taken, StoreError> {
        let bound_to = rows::admission(entry.seq, entry.slot);
        Ok(match self.unseal(entry.slot, bound_to.as_ref(), entry.sealed)? {
            Some(bytes) => Taken::Whole(Box::new(codec::decode_admission(EventSeq(entry.seq), CitizenId(entry.slot), &bytes)?)),
            None => Taken::Erased { mark: entry.mark },
        })
    }

    /// Returns the label of a delivery's row.
    pub fn label(&self, key: DeliveryKey) -> Result<Option<Label>, StoreError> {
        for shelf in [Shelf::Waiting, Shelf::Dead] {
            if let Some(row) = self.tree.get(rows::delivery(shelf, key))? {
                return Ok(Some(label(&row)?.0));
            }
        }
        Ok(None)
    }

    pub fn delivery(&self, key: DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        for shelf in [Shelf::Waiting, Shelf::Dead] {
            let row_key = rows::delivery(shelf, key);
            if let Some(row) = self.tree.get(row_key)? {
                return self.unseal_delivery(row_key.as_ref(), &row);
            }
        }
        Ok(None)
    }

    /// Unseals a delivery's row; `None` once the citizen is erased.
    pub fn unseal_delivery(&self, row_key: &[u8], row: &[u8]) -> Result<Option<Delivery>, StoreError> {
        let (label, sealed) = label(row)?;
        let key = rows::delivery_key(row_key).ok_or(Undecodable { what: "the key of a delivery" })?;
        let Some(bytes) = self.unseal(label.slot, row_key, sealed)? else { return Ok(None) };
        Ok(Some(codec::decode_delivery(key, CitizenId(label.slot), &bytes)?))
    }

    /// Returns how a delivery ended that had a row.
    pub fn ended(&self, key: DeliveryKey) -> Result<Option<Ended>, StoreError> {
        let row_key = rows::ended(key);
        let Some(row) = self.tree.get(row_key)? else { return Ok(None) };
        let mut input = Input::versioned(&row, "a finished delivery")?;
        let slot = input.u32()?;
        let Some(bytes) = self.unseal(slot, row_key.as_ref(), input.rest())? else { return Ok(None) };
        Ok(Some(codec::decode_ended(&bytes)?))
    }

    /// Returns how a delivery ended that never had a row. It ended after its
    /// event was taken in, and mostly soon: what was written then is searched.
    pub fn finished(&self, key: DeliveryKey) -> Result<Option<FinishRecord>, StoreError> {
        for row in self.finishes(rows::finishes(key.seq.0, 0).as_ref()) {
            let (_, records) = row?;
            if let Some(record) = records.into_iter().find(|record| record.key == key) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Returns the packed finishes from a row key on, each row with its key.
    pub fn finishes(&self, from: &[u8]) -> impl DoubleEndedIterator<Item = Result<(sled::IVec, Vec<FinishRecord>), StoreError>> {
        self.finishes_between(from, b"T")
    }

    /// As [`Vault::finishes`], those before a row key.
    pub fn finishes_between(
        &self,
        from: &[u8],
        to: &[u8],
    ) -> impl DoubleEndedIterator<Item = Result<(sled::IVec, Vec<FinishRecord>), StoreError>> {
        self.tree.range(from..to).map(|row| {
            let (key, value) = row?;
            let sealed = Input::versioned(&value, "finished deliveries")?;
            let bytes = self.keyring.store.open(&key, sealed.rest()).map_err(|_| unsealable(&key))?;
            Ok((key, codec::decode_finishes(&bytes)?))
        })
    }

    /// Returns the fingerprint by which the end of a record is found: under the
    /// citizen's own key, so that it means nothing once that is gone.
    pub fn ended_record(&self, slot: u32, record: &ExternalId) -> Result<u64, StoreError> {
        Ok(self.key(slot)?.records.of(&[b"ended ", record.identity().as_bytes()].concat()))
    }

    /// Unseals a replay.
    pub fn unseal_replay(&self, key: &[u8], row: &[u8]) -> Result<Replay, StoreError> {
        let id = rows::first_u64(key).ok_or(Undecodable { what: "the key of a replay" })?;
        let sealed = Input::versioned(row, "a replay")?;
        let bytes = self.keyring.store.open(key, sealed.rest()).map_err(|_| unsealable(key))?;
        Ok(codec::decode_replay(ReplayId(id), &bytes)?)
    }

    /// Returns a message in quarantine, with the slot of its key.
    pub fn quarantined(&self, id: u64) -> Result<Option<(u32, Quarantined)>, StoreError> {
        let key = rows::quarantined(id);
        match self.tree.get(key)? {
            Some(row) => self.unseal_quarantined(id, key.as_ref(), &row),
            None => Ok(None),
        }
    }

    /// Returns the messages whose key is that of one of the slots.
    pub fn messages_under(&self, slots: &[u32]) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for row in self.tree.scan_prefix(b"Q") {
            let (key, value) = row?;
            let slot = Input::versioned(&value, "a message in quarantine")?.u32()?;
            if slots.contains(&slot) {
                found.extend(rows::first_u64(&key));
            }
        }
        Ok(found)
    }

    pub fn unseal_quarantined(&self, id: u64, key: &[u8], row: &[u8]) -> Result<Option<(u32, Quarantined)>, StoreError> {
        // A row of just that length may be the first piece of more.
        let mut whole = Cow::Borrowed(row);
        if row.len() == rows::PIECE {
            for piece in self.tree.scan_prefix(&rows::quarantined_piece(id, 0).as_ref()[..9]).values() {
                whole.to_mut().extend_from_slice(&piece?);
            }
        }
        let mut input = Input::versioned(&whole, "a message in quarantine")?;
        let slot = input.u32()?;
        let Some(bytes) = self.unseal(slot, key, input.rest())? else { return Ok(None) };
        Ok(Some((slot, codec::decode_quarantined(id, &bytes)?)))
    }
}

/// Splits a delivery's row into its label and what is sealed.
pub(super) fn label(row: &[u8]) -> Result<(Label, &[u8]), Undecodable> {
    let mut input = Input::versioned(row, "the row of a delivery")?;
    let state = match input.u8()? {
        0 => StateByte::Pending,
        1 => StateByte::Retrying,
        2 => StateByte::Dead,
        _ => return input.fail(),
    };
    Ok((Label { state, slot: input.u32()? }, input.rest()))
}

/// Reads how many notices lie unfetched.
pub(super) fn lying(row: &[u8]) -> Result<Lying, Undecodable> {
    let mut input = Input::versioned(row, "unfetched notices")?;
    let lying = Lying { notices: input.u64()?, reminded: input.u32()? };
    input.end()?;
    Ok(lying)
}

/// Names a row without saying anything about what is in it.
pub(super) fn unsealable(row: &[u8]) -> StoreError {
    let name = row.iter().skip(1).map(|byte| format!("{byte:02x}")).collect::<String>();
    StoreError::Unsealable { what: format!("row {} {name}", row.first().map_or('?', |letter| char::from(*letter))) }
}
