//! One suite over both stores, and what only the one on disk can get wrong.

mod backups;
mod both;
mod citizen_rows;
mod clock_owners;
mod crash;
mod erasing;
mod forgetting;
mod formats;
mod pages;
mod pruning;
mod random;
mod refusals;
mod samples;
mod sealed;
mod victim;

use std::sync::Arc;

use crate::core::audit::{Entry, Extent, Order};
use crate::core::causes::{Cause, Tally};
use crate::core::citizen::{Citizen, RecordKind};
use crate::core::holds::{Held, Hold};
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient, WsbId};
use crate::core::notices::Lying;
use crate::core::outbox::{Delivery, Earlier, End, Ended};
use crate::core::persons::Joined;
use crate::core::records::{Admission, Archive, Change, Fate, Owners, Pruned, Quarantined, Records, RowCounts, Unclaimed};
use crate::core::replay::{Replay, ReplayId};
use crate::core::retention::{Clocks, Unexpected};
use crate::core::stamp::Instant;
use crate::core::time::{Day, Moment};

use super::{Durability, MemoryStore, Options, Store, StoreError};

/// Opens sled behind the store's back; a lock that was let go a moment ago may
/// still be there.
fn opened(path: &std::path::Path) -> sled::Db {
    super::open::open_sled(path, 1 << 20, std::time::Duration::from_secs(10)).expect("sled")
}

/// What both stores can do besides the port.
pub(super) trait Stored: Records {
    fn commit_group(&mut self, durability: Durability);
    /// Closes it and opens it again.
    fn reopen(&mut self);
    fn taken_in(&self, seq: EventSeq) -> Option<Arc<Admission>>;
    fn by_wsb_id(&self, id: WsbId) -> Option<(DeliveryKey, Arc<Admission>)>;
    fn end_and_attempts(&self, key: DeliveryKey) -> Option<(End, u32)>;
    fn deleted(&mut self, citizen: CitizenId, record: &ExternalId) -> Vec<EventSeq>;
    /// How often a finished delivery was replayed, and when it had been delivered before.
    fn replayed(&self, key: DeliveryKey) -> (u32, Option<Earlier>);
    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, Self::Error>;
    fn audit_extent(&mut self) -> Result<Extent, Self::Error>;
    fn unexpected(&mut self, before: Option<EventSeq>, limit: usize) -> Vec<Unexpected>;
}

impl Stored for MemoryStore {
    fn commit_group(&mut self, durability: Durability) {
        self.commit(durability);
    }

    fn reopen(&mut self) {
        self.flush();
        self.crash();
    }

    fn taken_in(&self, seq: EventSeq) -> Option<Arc<Admission>> {
        self.admission(seq)
    }

    fn by_wsb_id(&self, id: WsbId) -> Option<(DeliveryKey, Arc<Admission>)> {
        self.find_by_wsb_id(id)
    }

    fn end_and_attempts(&self, key: DeliveryKey) -> Option<(End, u32)> {
        self.finished(key).map(|finished| (finished.end, finished.attempts))
    }

    fn replayed(&self, key: DeliveryKey) -> (u32, Option<Earlier>) {
        self.finished(key).map_or((0, None), |finished| (finished.replays, finished.delivered_before))
    }

    fn deleted(&mut self, citizen: CitizenId, record: &ExternalId) -> Vec<EventSeq> {
        self.deletions_of(citizen, record).iter().map(|admission| admission.seq).collect()
    }

    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, Self::Error> {
        Ok(MemoryStore::audit_page(self, order, after, limit))
    }

    fn audit_extent(&mut self) -> Result<Extent, Self::Error> {
        Ok(MemoryStore::audit_extent(self))
    }

    fn unexpected(&mut self, before: Option<EventSeq>, limit: usize) -> Vec<Unexpected> {
        self.unexpected_page(before, limit)
    }
}

/// A store in a directory of its own, small enough that runs are written and
/// merged all the time.
#[derive(Debug)]
pub(super) struct OnDisk {
    store: Option<Store>,
    options: Options,
    /// Removed when dropped.
    _dir: tempfile::TempDir,
}

impl OnDisk {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { gathered_keys: 40, cached_citizens: 6, ..Options::new(dir.path().join("data")) };
        let store = Store::open(&options).expect("a new store");
        Self { store: Some(store), options, _dir: dir }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    pub fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("open until reopened")
    }

    pub fn close(&mut self) {
        self.store = None;
    }
}

impl Records for OnDisk {
    type Error = StoreError;

    fn last_seq(&self) -> EventSeq {
        self.store.as_ref().expect("open").last_seq()
    }

    fn has_seen(&mut self, mark: &EventMark) -> Result<bool, Self::Error> {
        self.store().has_seen(mark)
    }

    fn find_citizen(&mut self, personnummer: &Personnummer) -> Result<Option<CitizenId>, Self::Error> {
        self.store().find_citizen(personnummer)
    }

    fn record_owners(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Owners>, Self::Error> {
        self.store().record_owners(kind, record)
    }

    fn spent(&mut self, kind: RecordKind, record: &ExternalId) -> Result<Option<Instant>, Self::Error> {
        self.store().spent(kind, record)
    }

    fn clock_owner(&mut self, entity: &str, record: &ExternalId) -> Result<Option<CitizenId>, Self::Error> {
        self.store().clock_owner(entity, record)
    }

    fn enroll(&mut self, personnummer: &Personnummer) -> Result<CitizenId, Self::Error> {
        self.store().enroll(personnummer)
    }

    fn citizen(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Self::Error> {
        self.store().citizen(id)
    }

    fn under_number(&mut self, id: CitizenId) -> Result<Option<Arc<Citizen>>, Self::Error> {
        self.store().under_number(id)
    }

    fn partners(&self, id: CitizenId) -> Vec<CitizenId> {
        self.store.as_ref().expect("open").partners(id)
    }

    fn joined(&self) -> Joined {
        self.store.as_ref().expect("open").joined()
    }

    fn waiting(&mut self, recipient: Recipient, after: Option<EventSeq>, limit: usize) -> Result<Vec<Delivery>, Self::Error> {
        self.store().waiting(recipient, after, limit)
    }

    fn delivery(&mut self, key: DeliveryKey) -> Result<Option<Delivery>, Self::Error> {
        self.store().delivery(key)
    }

    fn rows_of(&mut self, citizen: CitizenId) -> Result<Vec<DeliveryKey>, Self::Error> {
        self.store().rows_of(citizen)
    }

    fn unclaimed_of(&mut self, citizen: CitizenId) -> Result<Vec<Unclaimed>, Self::Error> {
        self.store().unclaimed_of(citizen)
    }

    fn unclaimed(&mut self, after: Option<(CitizenId, DeliveryKey)>, limit: usize) -> Result<Vec<Unclaimed>, Self::Error> {
        self.store().unclaimed(after, limit)
    }

    fn fate(&mut self, key: DeliveryKey) -> Result<Option<Fate>, Self::Error> {
        self.store().fate(key)
    }

    fn stopped(&mut self) -> Result<Option<EventSeq>, Self::Error> {
        self.store().stopped()
    }

    fn ended(&mut self, key: DeliveryKey) -> Result<Option<Ended>, Self::Error> {
        self.store().ended(key)
    }

    fn causes(&mut self) -> Result<Vec<(Cause, Tally)>, Self::Error> {
        self.store().causes()
    }

    fn holds(&mut self) -> Result<Vec<(Held, Hold)>, Self::Error> {
        self.store().holds()
    }

    fn unfinished_in_journal(&mut self) -> Result<Vec<Delivery>, Self::Error> {
        self.store().unfinished_in_journal()
    }

    fn row_counts(&mut self) -> Result<Vec<(Recipient, RowCounts)>, Self::Error> {
        self.store().row_counts()
    }

    fn holders(&mut self, citizen: CitizenId, entity: &str, record: &ExternalId) -> Result<Vec<Recipient>, Self::Error> {
        self.store().holders(citizen, entity, record)
    }

    fn replays(&mut self) -> Result<Vec<Replay>, Self::Error> {
        self.store().replays()
    }

    fn selected(&mut self, replay: ReplayId, chunk: u32) -> Result<Vec<DeliveryKey>, Self::Error> {
        self.store().selected(replay, chunk)
    }

    fn clocks(&mut self, citizen: CitizenId) -> Result<Option<Arc<Clocks>>, Self::Error> {
        self.store().clocks(citizen)
    }

    fn clocks_next(&mut self, by: Day, after: Option<(Day, CitizenId)>, limit: usize) -> Result<Vec<(Day, CitizenId)>, Self::Error> {
        self.store().clocks_next(by, after, limit)
    }

    fn clocks_due(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Self::Error> {
        self.store().clocks_due(after, limit)
    }

    fn clocks_page(&mut self, after: Option<CitizenId>, limit: usize) -> Result<Vec<CitizenId>, Self::Error> {
        self.store().clocks_page(after, limit)
    }

    fn order_counts(&mut self) -> Result<Vec<(Day, u64)>, Self::Error> {
        self.store().order_counts()
    }

    fn indexed_by(&mut self) -> Result<Option<u64>, Self::Error> {
        self.store().indexed_by()
    }

    fn notices(&mut self) -> Result<Vec<(Recipient, Day, Lying)>, Self::Error> {
        self.store().notices()
    }

    fn is_in_quarantine(&mut self, citizen: CitizenId, since: Moment) -> Result<bool, Self::Error> {
        self.store().is_in_quarantine(citizen, since)
    }

    fn can_erase(&mut self) -> Result<bool, Self::Error> {
        self.store().can_erase()
    }

    fn next_quarantine_id(&mut self) -> u64 {
        self.store().next_quarantine_id()
    }

    fn quarantined(&mut self, id: u64) -> Result<Option<Quarantined>, Self::Error> {
        self.store().quarantined(id)
    }

    fn prune(&mut self, before: Moment, slice: usize) -> Result<Pruned, Self::Error> {
        self.store().prune(before, slice)
    }

    fn stage(&mut self, change: Change) -> Result<(), Self::Error> {
        self.store().stage(change)
    }
}

impl Stored for OnDisk {
    fn commit_group(&mut self, durability: Durability) {
        self.store().commit(durability).expect("committed");
    }

    fn reopen(&mut self) {
        self.close();
        self.store = Some(Store::open(&self.options).expect("the same store"));
    }

    fn taken_in(&self, seq: EventSeq) -> Option<Arc<Admission>> {
        self.store.as_ref()?.admission(seq).expect("readable")
    }

    fn by_wsb_id(&self, id: WsbId) -> Option<(DeliveryKey, Arc<Admission>)> {
        self.store.as_ref()?.find_by_wsb_id(id).expect("readable")
    }

    fn end_and_attempts(&self, key: DeliveryKey) -> Option<(End, u32)> {
        self.store.as_ref()?.finished(key).expect("readable").map(|ended| (ended.end, ended.attempts))
    }

    fn replayed(&self, key: DeliveryKey) -> (u32, Option<Earlier>) {
        let ended = self.store.as_ref().and_then(|store| store.finished(key).expect("readable"));
        ended.map_or((0, None), |ended| (ended.replays, ended.delivered_before))
    }

    fn deleted(&mut self, citizen: CitizenId, record: &ExternalId) -> Vec<EventSeq> {
        let found = self.store().deletions_of(citizen, record).expect("readable");
        found.iter().map(|admission| admission.seq).collect()
    }

    fn audit_page(&mut self, order: Order, after: Option<u64>, limit: usize) -> Result<Vec<Entry>, Self::Error> {
        Archive::audit_page(self.store(), order, after, limit)
    }

    fn audit_extent(&mut self) -> Result<Extent, Self::Error> {
        Archive::audit_extent(self.store())
    }

    fn unexpected(&mut self, before: Option<EventSeq>, limit: usize) -> Vec<Unexpected> {
        self.store().unexpected_page(before, limit).expect("readable")
    }
}
