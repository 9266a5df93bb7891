//! The pages that clocks are stored in.

use std::sync::Arc;

use crate::core::ids::{CitizenId, Personnummer};
use crate::core::records::{Change, Records};
use crate::core::retention::Clocks;

use super::super::codec::{self, Output, Rest};
use super::super::seal::Sealer;
use super::super::{Durability, Store, rows};
use super::samples::Dice;
use super::{OnDisk, Stored};

/// Stores clocks as it was done when pages held 64.
fn store_in_sixty_fours(store: &mut Store, clocks: &Clocks) {
    let slot = clocks.citizen.0;
    let stored: Vec<_> = store.vault.tree.scan_prefix(rows::all_clocks(slot)).keys().map(|key| key.expect("readable")).collect();
    stored.iter().for_each(|key| drop(store.vault.tree.remove(key).expect("removed")));
    let seal_key = store.vault.key(slot).expect("readable").seal;
    for (page, records) in clocks.records.chunks(64).enumerate() {
        let key = rows::clocks(slot, page as u16);
        let mut value = vec![1];
        if page == 0 {
            value.u32(clocks.next.expect("a day").number() as u32);
        }
        let sealed = Sealer::new().seal(&seal_key, key.as_ref(), &mut value, |out| {
            if page == 0 {
                let (tombstones, handovers) = (clocks.tombstones.clone(), clocks.handovers.clone());
                let rest = Rest { tombstones, handovers, owned: true, has_due: clocks.has_due, ..Rest::default() };
                let mut bytes = Vec::new();
                codec::encode_rest(&rest, &mut bytes);
                out.bytes(&bytes);
            }
            codec::encode_clocks(records, out);
        });
        sealed.expect("sealed");
        store.vault.tree.insert(key.as_ref(), value).expect("written");
    }
}

#[test]
fn clocks_in_larger_pages_are_stored_anew_at_their_first_change() {
    for left in [130, 64, 9, 8, 1, 0] {
        let mut disk = OnDisk::new();
        let mut dice = Dice::new(left);
        let number = Personnummer::parse("0101901234").expect("a number");
        let citizen = disk.enroll(&number).expect("enrolled");
        let day = dice.day();
        let clocks = Clocks { next: Some(day), has_due: false, emptied: false, has_retained: false, ..dice.clocks(citizen, 130) };
        disk.stage(Change::PutClocks(Arc::new(clocks.clone()))).expect("staged");
        disk.commit_group(Durability::Flush);
        store_in_sixty_fours(disk.store(), &clocks);
        disk.reopen();
        let rows = |disk: &mut OnDisk, of: CitizenId| disk.store().vault.tree.scan_prefix(rows::all_clocks(of.0)).count();
        assert_eq!(rows(&mut disk, citizen), 3);
        let found = disk.clocks(citizen).expect("readable").expect("there");
        assert_eq!(*found, Clocks { is_current: false, ..clocks.clone() });

        let mut next = Clocks { is_current: true, ..Clocks::clone(&found) };
        next.records.truncate(left as usize);
        if let Some(last) = next.records.last_mut() {
            last.order = None;
        }
        disk.stage(Change::PutClocks(Arc::new(next.clone()))).expect("staged");
        disk.commit_group(Durability::Flush);
        disk.reopen();
        assert_eq!(rows(&mut disk, citizen), (left as usize).div_ceil(8).max(1), "{left} left");
        assert_eq!(*disk.clocks(citizen).expect("readable").expect("there"), next, "{left} left");
        disk.stage(Change::DropClocks(citizen)).expect("staged");
        disk.commit_group(Durability::Flush);
        assert_eq!(rows(&mut disk, citizen), 0, "{left} left");
    }
}
