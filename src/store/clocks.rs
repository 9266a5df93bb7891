//! Retention clocks on disk: a few sealed pages for each citizen, an index by the
//! day on which to look next, and one of those of whom something is due. What is kept in memory does not grow with
//! the clocks.
//!
//! Pages hold 8 clocks in order, so that one event about a citizen with many
//! records rewrites some hundred bytes and not all of them. They held 64 once, and are
//! all written anew at the first change. Page 0 begins, outside
//! of its seal, with the day of the citizen's row in the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::ids::CitizenId;
use crate::core::retention::{Clocks, Kept};
use crate::core::time::Day;

use super::batch::Batch;
use super::codec::{self, Input, Output, Rest, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::group::Group;
use super::rows;
use super::seal::Sealer;
use super::vault::{Vault, unsealable};

/// How many clocks a page holds.
const PAGE: usize = 8;
/// As many bytes as most pages take.
const USUAL: usize = 1024;
/// Outside of the seal of page 0: no day.
const NEVER: i32 = i32::MIN;

/// What a group does to the clocks of one slot.
#[derive(Debug, Clone)]
pub(super) struct StagedClocks {
    /// What is committed.
    before: Option<Arc<Clocks>>,
    /// What is to be.
    pub now: Option<Arc<Clocks>>,
}

impl Store {
    /// Returns the clocks of a slot as the group sees them.
    pub(super) fn clocks_of(&mut self, slot: u32) -> Result<Option<Arc<Clocks>>, StoreError> {
        if let Some(staged) = self.group.clocks.get(&slot) {
            return Ok(staged.now.clone());
        }
        if let Some(cached) = self.clocks.get(&slot) {
            return Ok(Some(cached));
        }
        let clocks = self.vault.clocks(slot)?.map(Arc::new);
        if let Some(clocks) = &clocks {
            self.clocks.insert(slot, Arc::clone(clocks));
        }
        Ok(clocks)
    }

    /// Returns the clocks of a person as the group sees them.
    pub(super) fn clocks_of_person(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, StoreError> {
        if !self.vault.persons().is_joined(citizen) {
            return self.clocks_of(citizen.0);
        }
        let slots = self.vault.slots_of(citizen);
        let mut parts = Vec::new();
        for slot in &slots {
            parts.extend(self.clocks_of(*slot)?);
        }
        Ok(Clocks::as_one(slots.first().map_or(citizen, |slot| CitizenId(*slot)), &parts))
    }

    /// Puts what is to be the clocks of a person, under each number what is its.
    pub(super) fn put_clocks_of_person(&mut self, citizen: CitizenId, now: Option<Arc<Clocks>>) -> Result<(), StoreError> {
        let slots = self.vault.slots_of(citizen);
        let Some(now) = now else { return slots.into_iter().try_for_each(|slot| self.put_clocks(slot, None)) };
        if slots.len() == 1 {
            return self.put_clocks(now.citizen.0, Some(now));
        }
        let parts = now.apart(&slots.iter().map(|slot| CitizenId(*slot)).collect::<Vec<_>>());
        for part in &parts {
            let keeps = part.citizen == now.citizen || !part.is_empty();
            self.put_clocks(part.citizen.0, keeps.then(|| Arc::new(part.clone())))?;
        }
        self.own_what_is_nobodys(&parts)
    }

    pub(super) fn put_clocks(&mut self, slot: u32, now: Option<Arc<Clocks>>) -> Result<(), StoreError> {
        let known = self.clocks_of(slot)?;
        self.own_clocks(slot, known.as_deref(), now.as_deref())?;
        count(&mut self.order_counts, known.as_deref(), now.as_deref());
        self.group.orders_changed |= known.as_ref().is_some_and(|known| known.ordered_on().next().is_some())
            || now.as_ref().is_some_and(|now| now.ordered_on().next().is_some());
        let staged = self.group.clocks.entry(slot).or_insert(StagedClocks { before: known, now: None });
        staged.now = now;
        Ok(())
    }

    /// Reads how many orders are not answered.
    pub(super) fn read_order_counts(&mut self) -> Result<(), StoreError> {
        for row in self.vault.tree.scan_prefix(b"O") {
            let (key, value) = row?;
            let what = Undecodable { what: "a count of deletion orders" };
            let day = key.get(1..).and_then(rows::day_of).ok_or(what)?;
            let orders = Input::versioned(&value, what.what)?.u64()?;
            self.order_counts.insert(day, orders);
        }
        self.stored_order_counts.clone_from(&self.order_counts);
        Ok(())
    }

    /// Puts the counts that have changed into a group.
    pub(super) fn stage_order_counts(&mut self, group: &mut Group) {
        if !std::mem::take(&mut group.orders_changed) {
            return;
        }
        for day in self.stored_order_counts.keys().filter(|day| !self.order_counts.contains_key(day)) {
            group.remove(rows::orders(*day));
        }
        for (day, orders) in &self.order_counts {
            if self.stored_order_counts.get(day) != Some(orders) {
                let mut value = vec![1];
                value.u64(*orders);
                group.put(rows::orders(*day), value);
            }
        }
        self.stored_order_counts.clone_from(&self.order_counts);
    }
}

/// Moves counts of unanswered orders from what was to what is.
fn count(counts: &mut BTreeMap<Day, u64>, before: Option<&Clocks>, now: Option<&Clocks>) {
    for day in now.into_iter().flat_map(Clocks::ordered_on) {
        *counts.entry(day).or_default() += 1;
    }
    for day in before.into_iter().flat_map(Clocks::ordered_on) {
        if let Some(orders) = counts.get_mut(&day) {
            *orders = orders.saturating_sub(1);
        }
    }
    counts.retain(|_, orders| *orders > 0);
}

impl Vault {
    /// Returns the committed clocks of a slot; `None` once the citizen is erased.
    pub fn clocks(&self, slot: u32) -> Result<Option<Clocks>, StoreError> {
        let mut clocks: Option<Clocks> = None;
        for row in self.tree.scan_prefix(rows::all_clocks(slot)) {
            let (key, value) = row?;
            let mut input = Input::versioned(&value, "retention clocks")?;
            match &mut clocks {
                None => {
                    let next = input.u32()? as i32;
                    let Some(bytes) = self.unseal(slot, &key, input.rest())? else { return Ok(None) };
                    let mut bytes = Input::new(&bytes, "retention clocks");
                    let rest = codec::decode_rest(CitizenId(slot), bytes.bytes()?)?;
                    clocks = Some(Clocks {
                        citizen: CitizenId(slot),
                        records: codec::decode_clocks(CitizenId(slot), bytes.rest())?,
                        tombstones: rest.tombstones,
                        handovers: rest.handovers,
                        emptied: rest.emptied,
                        has_retained: rest.has_retained,
                        has_due: rest.has_due,
                        is_current: rest.owned && rest.in_eights,
                        next: if next == NEVER { None } else { Day::from_number(next) },
                    });
                }
                Some(clocks) => {
                    let Some(bytes) = self.unseal(slot, &key, input.rest())? else { return Ok(None) };
                    clocks.records.extend(codec::decode_clocks(CitizenId(slot), &bytes)?);
                }
            }
        }
        Ok(clocks)
    }

    /// Returns whom to look at by `by`, after `after`.
    pub fn clocks_next(&self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, StoreError> {
        use std::ops::Bound::{Excluded, Included};
        let from = after.map(|(day, citizen)| rows::look(day, citizen.0));
        let from = from.as_ref().map_or(Included(&b"U"[..]), |row| Excluded(row.as_ref()));
        let to = rows::look(by, u32::MAX);
        if let (Excluded(from), to) = (from, to.as_ref())
            && from >= to
        {
            return Ok(Vec::new());
        }
        let keys = self.tree.range::<&[u8], _>((from, Included(to.as_ref()))).keys();
        keys.take(limit).map(|key| rows::looked_up(&key?).ok_or(Undecodable { what: "the key of a day to look at" }.into())).collect()
    }

    /// Returns the slots after `after` of which something is due.
    pub fn clocks_due(&self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, StoreError> {
        let Some(from) = after.map_or(Some(0), |after| after.0.checked_add(1)) else { return Ok(Vec::new()) };
        let keys = self.tree.range(rows::has_due(from).as_ref()..&b"v"[..]).keys();
        keys.take(limit).map(|key| rows::first_citizen(&key?).ok_or(Undecodable { what: "the key of what is due" }.into())).collect()
    }

    /// Returns the slots after `after` that have clocks.
    pub fn clocks_page(&self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, StoreError> {
        let mut from = after.map_or(0, |after| after.0.saturating_add(1));
        let mut page = Vec::new();
        while page.len() < limit {
            let Some(key) = self.tree.range(rows::all_clocks(from).as_ref()..&b"U"[..]).keys().next() else { break };
            let citizen = rows::first_citizen(&key?).ok_or(Undecodable { what: "the key of retention clocks" })?;
            page.push(citizen);
            let Some(next) = citizen.0.checked_add(1) else { break };
            from = next;
        }
        Ok(page)
    }
}

/// Puts the pages that have changed into a batch, and moves the row of the index.
pub(super) fn put(vault: &Vault, sealer: &mut Sealer, batch: &mut Batch, slot: u32, staged: &StagedClocks) -> Result<(), StoreError> {
    let StagedClocks { before, now } = staged;
    let (was, is) = (before.as_ref().and_then(|before| before.next), now.as_ref().and_then(|now| now.next));
    if was != is {
        if let Some(day) = was {
            batch.remove(rows::look(day, slot).as_ref());
        }
        if let Some(day) = is {
            batch.insert(rows::look(day, slot).as_ref(), &[]);
        }
    }
    match (before.as_ref().is_some_and(|before| before.has_due), now.as_ref().is_some_and(|now| now.has_due)) {
        (false, true) => batch.insert(rows::has_due(slot).as_ref(), &[]),
        (true, false) => batch.remove(rows::has_due(slot).as_ref()),
        (false, false) | (true, true) => {}
    }
    let pages = |clocks: &Option<Arc<Clocks>>| clocks.as_ref().map_or(0, |clocks| clocks.records.len().div_ceil(PAGE).max(1));
    for page in pages(now)..pages(before) {
        batch.remove(rows::clocks(slot, page as u16).as_ref());
    }
    let Some(now) = now else { return Ok(()) };
    let seal_key = vault.key(slot)?.seal;
    for page in 0..pages(&staged.now) {
        let records = of_page(now, page);
        let same = before.as_ref().is_some_and(|before| {
            before.is_current
                && pages(&staged.before) > page
                && of_page(before, page) == records
                && (page > 0
                    || (was == is
                        && before.tombstones == now.tombstones
                        && before.handovers == now.handovers
                        && (before.emptied, before.has_retained, before.has_due) == (now.emptied, now.has_retained, now.has_due)))
        });
        if same {
            continue;
        }
        let key = rows::clocks(slot, page as u16);
        let mut value = Vec::with_capacity(USUAL);
        value.u8(1);
        if page == 0 {
            value.u32(is.map_or(NEVER, Day::number) as u32);
        }
        let sealed = sealer.seal(&seal_key, key.as_ref(), &mut value, |out| {
            if page == 0 {
                let mut rest = Vec::new();
                let Clocks { emptied, has_retained, has_due, is_current, .. } = **now;
                let (tombstones, handovers) = (now.tombstones.clone(), now.handovers.clone());
                let kept = Rest { tombstones, handovers, emptied, has_retained, has_due, owned: is_current, in_eights: true };
                codec::encode_rest(&kept, &mut rest);
                out.bytes(&rest);
            }
            codec::encode_clocks(records, out);
        });
        sealed.map_err(|_| unsealable(key.as_ref()))?;
        batch.insert(key.as_ref(), value);
    }
    Ok(())
}

fn of_page(clocks: &Clocks, page: usize) -> &[Kept] {
    let records = &clocks.records;
    &records[(page * PAGE).min(records.len())..((page + 1) * PAGE).min(records.len())]
}
