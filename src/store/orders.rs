//! Rows that are few and all kept in memory: what operators ordered, and dead
//! deliveries by cause.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::causes::{Cause, Causes};
use crate::core::holds::{Held, Hold};
use crate::core::ids::{CitizenId, Recipient};
use crate::core::outbox::{Delivery, Lane};
use crate::core::policy::Domain;

use super::codec::{self, Input, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows::{self, Shelf};
use super::vault::{Vault, unsealable};

/// What operators ordered, and the dead by cause.
#[derive(Debug, Default)]
pub(super) struct Orders {
    pub holds: BTreeMap<Held, Hold>,
    pub causes: Causes,
    /// Causes whose rows differ from what is in memory.
    changed: BTreeSet<Cause>,
}

impl Store {
    pub(super) fn put_hold(&mut self, held: Held, hold: Hold) -> Result<(), StoreError> {
        let key = hold_key(held);
        let vault = Arc::clone(&self.vault);
        let mut value = vec![1];
        let encode = |out: &mut Vec<u8>| codec::encode_hold(&hold, out);
        let sealed = match held {
            Held::Queue(_) => self.sealer.seal(&vault.keyring.store, &key, &mut value, encode),
            Held::Lane(_, lane) => self.sealer.seal(&vault.key(lane.citizen.0)?.seal, &key, &mut value, encode),
        };
        sealed.map_err(|_| unsealable(&key))?;
        self.group.put(key, value);
        self.orders.holds.insert(held, hold);
        Ok(())
    }

    pub(super) fn forget_hold(&mut self, held: Held) {
        self.group.remove(hold_key(held));
        self.orders.holds.remove(&held);
    }

    /// Removes the holds on lanes of a slot that is being erased.
    pub(super) fn forget_holds_of(&mut self, slot: u32) {
        let of_slot = |held: &Held| matches!(held, Held::Lane(_, lane) if lane.citizen.0 == slot);
        let held: Vec<Held> = self.orders.holds.keys().copied().filter(of_slot).collect();
        held.into_iter().for_each(|held| self.forget_hold(held));
    }

    /// Counts a row that was and one that is to be.
    pub(super) fn count_causes(&mut self, before: Option<&Delivery>, now: Option<&Delivery>) {
        let orders = &mut self.orders;
        let gone = before.and_then(|before| orders.causes.remove(before));
        let come = now.and_then(|now| orders.causes.add(now));
        orders.changed.extend(gone);
        orders.changed.extend(come);
    }

    /// Puts the rows of causes whose numbers have changed into the group.
    pub(super) fn stage_causes(&mut self) {
        for cause in std::mem::take(&mut self.orders.changed) {
            let key = cause_key(&cause);
            match self.orders.causes.get(&cause) {
                Some(tally) => {
                    let mut value = Vec::new();
                    codec::encode_tally(tally, &mut value);
                    self.group.put(key, value);
                }
                None => self.group.remove(key),
            }
        }
    }

    /// Returns whether causes have changed that are not staged yet.
    pub(super) fn has_changed_causes(&self) -> bool {
        !self.orders.changed.is_empty()
    }

    /// Reads what is kept in memory. Where causes and rows contradict one another,
    /// as in a store from before there were causes, the rows are right.
    pub(super) fn load_orders(&mut self) -> Result<(), StoreError> {
        let vault = Arc::clone(&self.vault);
        for prefix in [b"V", b"L"] {
            for row in vault.tree.scan_prefix(prefix) {
                let (key, value) = row?;
                let held = held_of(&key).ok_or(Undecodable { what: "the key of a hold" })?;
                self.orders.holds.extend(open_hold(&vault, held, &key, &value)?.map(|hold| (held, hold)));
            }
        }
        // Kept without the data area once.
        let mut is_old = false;
        let mut counted: BTreeMap<Recipient, u64> = BTreeMap::new();
        for row in vault.tree.scan_prefix(b"G") {
            let (key, value) = row?;
            let cause = cause_of(&key)?;
            let tally = codec::decode_tally(&value)?;
            is_old |= cause.area.is_none() && &*cause.entity == "GdprSletning";
            *counted.entry(cause.recipient).or_default() += tally.count;
            self.orders.causes.put(cause, tally);
        }
        let dead: Vec<(Recipient, u64)> = self.counts.iter().map(|(recipient, counts)| (*recipient, counts.dead)).collect();
        let agree = |(recipient, dead): &(Recipient, u64)| counted.get(recipient).copied().unwrap_or_default() == *dead;
        let known: u64 = counted.values().sum();
        if is_old || !dead.iter().all(agree) || known != dead.iter().map(|(_, dead)| *dead).sum::<u64>() {
            self.recount_causes(&vault)?;
        }
        Ok(())
    }

    fn recount_causes(&mut self, vault: &Vault) -> Result<(), StoreError> {
        let before: Vec<Cause> = self.orders.causes.iter().map(|(cause, _)| cause.clone()).collect();
        self.orders.causes = Causes::default();
        self.orders.changed.extend(before);
        for row in vault.tree.scan_prefix([Shelf::Dead.letter()]) {
            let (key, value) = row?;
            if let Some(delivery) = vault.unseal_delivery(&key, &value)? {
                self.count_causes(None, Some(&delivery));
            }
        }
        Ok(())
    }
}

/// Checks that a hold can be read.
pub(super) fn check_hold(vault: &Vault, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    let held = held_of(key).ok_or(Undecodable { what: "the key of a hold" })?;
    let is_kept = open_hold(vault, held, key, value)?.is_some();
    if is_kept { Ok(()) } else { Err(Undecodable { what: "a hold on a lane of somebody erased" }.into()) }
}

/// Checks that a count of dead deliveries can be read.
pub(super) fn check_cause(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    cause_of(key)?;
    Ok(codec::decode_tally(value).map(drop)?)
}

fn open_hold(vault: &Vault, held: Held, key: &[u8], value: &[u8]) -> Result<Option<Hold>, StoreError> {
    let sealed = Input::versioned(value, "a hold")?.rest();
    let bytes = match held {
        Held::Queue(_) => Some(vault.keyring.store.open(key, sealed).map_err(|_| unsealable(key))?),
        Held::Lane(_, lane) => vault.unseal(lane.citizen.0, key, sealed)?,
    };
    bytes.map(|bytes| Ok(codec::decode_hold(&bytes)?)).transpose()
}

fn hold_key(held: Held) -> Vec<u8> {
    match held {
        Held::Queue(recipient) => rows::held_queue(recipient).as_ref().to_vec(),
        Held::Lane(recipient, lane) => rows::held_lane(lane.citizen.0, recipient, domain_number(lane.domain)).as_ref().to_vec(),
    }
}

fn held_of(key: &[u8]) -> Option<Held> {
    let recipient = |bytes: &[u8]| Recipient::from_number(u16::from_be_bytes(bytes.try_into().ok()?));
    match key {
        [b'V', rest @ ..] => recipient(rest).map(Held::Queue),
        [b'L', a, b, c, d, rest @ .., domain] => {
            let citizen = CitizenId(u32::from_be_bytes([*a, *b, *c, *d]));
            let domain = *Domain::ALL.get(usize::from(*domain))?;
            Some(Held::Lane(recipient(rest)?, Lane { citizen, domain }))
        }
        _ => None,
    }
}

fn domain_number(domain: Domain) -> u8 {
    Domain::ALL.iter().position(|other| *other == domain).map_or(0, |at| at as u8)
}

fn cause_key(cause: &Cause) -> Vec<u8> {
    let mut key = vec![b'G'];
    key.extend_from_slice(&cause.recipient.to_number().to_be_bytes());
    codec::encode_cause(cause, &mut key);
    key
}

fn cause_of(key: &[u8]) -> Result<Cause, StoreError> {
    const WHAT: Undecodable = Undecodable { what: "the key of a cause of death" };
    let (head, rest) = key.split_first_chunk::<3>().ok_or(WHAT)?;
    let recipient = Recipient::from_number(u16::from_be_bytes([head[1], head[2]])).ok_or(WHAT)?;
    Ok(codec::decode_cause(recipient, rest)?)
}
