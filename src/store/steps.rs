//! Steps of traces on sled: one row each, sealed under the citizen's key, found
//! by their event. A delivery that took over from another has an id that its
//! event did not know at intake: a second row leads from that to the event.

use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, WsbId};
use crate::core::time::Moment;
use crate::core::trace::{Step, Traced};

use super::codec::{self, Input, Output, Undecodable};
use super::disk::Store;
use super::error::StoreError;
use super::rows;
use super::vault::{Vault, unsealable};

impl Store {
    /// Stages a step of a delivery.
    pub(super) fn put_step(&mut self, key: DeliveryKey, citizen: CitizenId, id: WsbId, at: Moment, step: &Step) -> Result<(), StoreError> {
        let fingerprint = match step {
            Step::TookOver { .. } => self.vault.keyring.events.of(id.as_bytes()),
            Step::DecidedAnew { .. }
            | Step::NotEntitled(_)
            | Step::RecordDeleted { .. }
            | Step::CameBack { .. }
            | Step::Replayed { .. }
            | Step::ReplayedInVain { .. }
            | Step::Acted { .. }
            | Step::LayInQuarantine(_)
            | Step::Ended(_)
            | Step::MayHaveBeenSent => 0,
        };
        self.seal_step(rows::step(key.seq, Some(key.recipient), at, step.number()), citizen, fingerprint, step)?;
        if fingerprint != 0 {
            let mut leads_to = vec![1];
            leads_to.raw(&rows::step_of(key));
            self.group.put(rows::took_over(fingerprint), leads_to);
        }
        Ok(())
    }

    /// Stages a step of an event itself.
    pub(super) fn put_event_step(&mut self, seq: EventSeq, citizen: CitizenId, at: Moment, step: &Step) -> Result<(), StoreError> {
        self.seal_step(rows::step(seq, None, at, step.number()), citizen, 0, step)
    }

    fn seal_step(&mut self, row: rows::Row<21>, citizen: CitizenId, fingerprint: u64, step: &Step) -> Result<(), StoreError> {
        let mut value = vec![1];
        value.u32(citizen.0);
        value.u64(fingerprint);
        let seal_key = self.vault.key(citizen.0)?.seal;
        let sealed = self.sealer.seal(&seal_key, row.as_ref(), &mut value, |out| codec::encode_step(step, out));
        sealed.map_err(|_| unsealable(row.as_ref()))?;
        self.group.put(row, value);
        Ok(())
    }

    /// Returns the delivery that an id stands for, if it took over from another.
    pub(super) fn took_over(&self, id: WsbId) -> Result<Option<DeliveryKey>, StoreError> {
        let row = rows::took_over(self.vault.keyring.events.of(id.as_bytes()));
        let Some(value) = self.vault.tree.get(row)? else { return Ok(None) };
        let mut input = Input::versioned(&value, "a delivery that took over")?;
        let key = rows::step_key(input.raw(10)?).ok_or(Undecodable { what: "a delivery that took over" })?;
        let is_it = self.admission(key.seq)?.is_some_and(|admission| admission.event.mark.wsb_id(key.recipient) == id);
        Ok(is_it.then_some(key))
    }

    /// Stages the removal of steps of events before `seq`, at most `slice` of
    /// them; returns whether that was all.
    pub(super) fn drop_steps(&mut self, seq: u64, slice: usize) -> Result<bool, StoreError> {
        let vault = std::sync::Arc::clone(&self.vault);
        for (taken, row) in vault.tree.range(rows::steps(0).as_ref()..rows::steps(seq).as_ref()).enumerate() {
            if taken == slice {
                return Ok(false);
            }
            let (key, value) = row?;
            let mut input = Input::versioned(&value, "a step of a trace")?;
            let (_, fingerprint) = (input.u32()?, input.u64()?);
            if fingerprint != 0 {
                self.group.remove(rows::took_over(fingerprint));
            }
            self.group.remove(key);
        }
        Ok(true)
    }
}

impl Vault {
    /// Returns what happened to an event and its deliveries, in order.
    pub(super) fn steps(&self, seq: EventSeq) -> Result<Vec<Traced>, StoreError> {
        let mut steps = Vec::new();
        for row in self.tree.scan_prefix(rows::steps(seq.0)) {
            let (key, value) = row?;
            steps.extend(self.read_step(&key, &value)?);
        }
        steps.sort_by_key(|traced| (traced.at, traced.step.number()));
        Ok(steps)
    }

    /// Reads the row of a step; `None` once the citizen is erased.
    pub(super) fn read_step(&self, key: &[u8], value: &[u8]) -> Result<Option<Traced>, StoreError> {
        let (recipient, at) = rows::step_place(key).ok_or(Undecodable { what: "the key of a step" })?;
        let mut input = Input::versioned(value, "a step of a trace")?;
        let (slot, _) = (input.u32()?, input.u64()?);
        let Some(bytes) = self.unseal(slot, key, input.rest())? else { return Ok(None) };
        Ok(Some(Traced { recipient, at, step: codec::decode_step(&bytes)? }))
    }
}
