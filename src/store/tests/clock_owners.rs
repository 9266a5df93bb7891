//! Whose each record with a clock is, as it lies on disk.

use std::sync::Arc;

use crate::core::ids::CitizenId;
use crate::core::records::{Change, Records};
use crate::core::retention::{Clock, Clocks};

use super::super::{Durability, Store, rows};
use super::samples::Dice;
use super::{OnDisk, Stored};

/// Citizens, each with clocks of records that nobody else has.
fn live(disk: &mut OnDisk, dice: &mut Dice, citizens: usize) -> Vec<Clocks> {
    let clocks = |_| {
        let number = dice.personnummer();
        let citizen = disk.enroll(&number).expect("enrolled");
        let clocks = Clocks { tombstones: Vec::new(), handovers: Vec::new(), ..dice.clocks(citizen, 9) };
        disk.stage(Change::PutClocks(Arc::new(clocks.clone()))).expect("staged");
        disk.commit_group(Durability::Lazy);
        clocks
    };
    (0..citizens).map(clocks).collect()
}

fn count(store: &Store, prefix: &[u8]) -> usize {
    store.vault.tree.scan_prefix(prefix).count()
}

fn owner(disk: &mut OnDisk, clock: &Clock) -> Option<CitizenId> {
    disk.clock_owner(&clock.entity, &clock.external_id).expect("readable")
}

fn verified(store: &mut Store) -> Vec<String> {
    let mut found = Vec::new();
    let verified = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    assert_eq!(verified.breaches, found.len() as u64);
    found
}

#[test]
fn they_take_no_row_each_and_none_is_forgotten() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(5));
    let all = live(&mut disk, &mut dice, 60);
    let left: Vec<Clocks> = all
        .into_iter()
        .enumerate()
        .map(|(at, mut clocks)| {
            if at % 3 == 0 {
                clocks.records.truncate(4);
                disk.stage(Change::PutClocks(Arc::new(clocks.clone()))).expect("staged");
                disk.commit_group(Durability::Lazy);
            }
            clocks
        })
        .collect();
    for _ in 0..2 {
        for clocks in &left {
            let theirs = clocks.records.iter().filter(|clock| clock.external_id.names_one_record());
            theirs.for_each(|clock| assert_eq!(owner(&mut disk, clock), Some(clocks.citizen)));
        }
        assert_eq!(verified(disk.store()), [""; 0]);
        assert_eq!(count(disk.store(), b"I"), 0);
        assert!(count(disk.store(), b"Ho") > 0, "a run was written");
        // The gathered keys of a few groups, and what a run that is being written waits for.
        assert!(count(disk.store(), b"o") < 40, "{} rows of changes", count(disk.store(), b"o"));
        disk.commit_group(Durability::Flush);
        disk.reopen();
    }
}

#[test]
fn a_store_from_before_is_read_where_no_run_knows() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(6));
    let clocks = live(&mut disk, &mut dice, 2);
    let [one, other] = [&clocks[0], &clocks[1]];
    disk.commit_group(Durability::Flush);
    // As it was then: a row for each, and no runs.
    let store = disk.store();
    for clocks in [one, other] {
        for clock in &clocks.records {
            let hash = store.vault.keyring.kept_record(&clock.entity, &clock.external_id);
            store.vault.tree.insert(rows::owner(&hash).as_ref(), &clocks.citizen.0.to_be_bytes()).expect("written");
        }
    }
    for prefix in [&b"o"[..], b"Ho", b"Bo", b"Ro", rows::OWNERS] {
        for key in store.vault.tree.scan_prefix(prefix).keys() {
            store.vault.tree.remove(key.expect("readable")).expect("removed");
        }
    }
    disk.reopen();
    let clock = Clock::clone(&one.records[3]);
    assert_eq!(owner(&mut disk, &clock), Some(one.citizen));
    assert_eq!(verified(disk.store()), [""; 0]);
    let rows = count(disk.store(), b"I");

    let mut without = one.clone();
    without.records.remove(3);
    disk.stage(Change::PutClocks(Arc::new(without))).expect("staged");
    assert_eq!(owner(&mut disk, &clock), None, "in the same group");
    let mut with = other.clone();
    with.records.push(Clock { under: other.citizen, ..clock.clone() }.into());
    disk.stage(Change::PutClocks(Arc::new(with))).expect("staged");
    assert_eq!(owner(&mut disk, &clock), Some(other.citizen));
    disk.commit_group(Durability::Flush);
    disk.reopen();
    assert_eq!(owner(&mut disk, &clock), Some(other.citizen));
    assert_eq!(count(disk.store(), b"I"), rows - 1, "its row has gone");
    assert_eq!(verified(disk.store()), [""; 0]);
    disk.stage(Change::Erase(other.citizen)).expect("staged");
    disk.commit_group(Durability::Flush);
    assert_eq!(owner(&mut disk, &clock), None);
    assert_eq!(owner(&mut disk, &one.records[2]), Some(one.citizen));
    assert_eq!(verified(disk.store()), [""; 0]);
}

#[test]
fn an_owner_without_the_clock_is_found_by_verifying() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(7));
    let clocks = live(&mut disk, &mut dice, 1);
    disk.commit_group(Durability::Flush);
    let mut change = vec![1];
    change.extend_from_slice(&[7; 8]);
    change.extend_from_slice(&clocks[0].citizen.0.to_be_bytes());
    disk.store().vault.tree.insert(rows::changed(b'o', 1000).as_ref(), change).expect("written");
    disk.reopen();
    let found = verified(disk.store());
    assert!(matches!(&found[..], [only] if only.starts_with("set o: leads to a citizen who has no such record")), "{found:?}");
}
