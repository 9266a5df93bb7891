//! Which deliveries are about whom, as it lies on disk.

use std::sync::Arc;

use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Recipient};
use crate::core::outbox::{Delivery, End, State};
use crate::core::records::{Change, Records};
use crate::core::time::Moment;

use super::super::{Durability, Store, rows};
use super::samples::Dice;
use super::{OnDisk, Stored};

fn count(store: &Store, prefix: &[u8]) -> usize {
    store.vault.tree.scan_prefix(prefix).count()
}

fn verified(store: &mut Store) -> Vec<String> {
    let mut found = Vec::new();
    let verified = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    assert_eq!(verified.breaches, found.len() as u64);
    found
}

/// Events taken in, each with a delivery that waits in a row of its own.
fn wait(disk: &mut OnDisk, dice: &mut Dice, recipient: Recipient, citizens: &[CitizenId], events: u64) -> Vec<Delivery> {
    let number = dice.personnummer();
    let mut wait_one = |at: u64| {
        let citizen = citizens[at as usize % citizens.len()];
        let mut admission = dice.admission(disk.last_seq().0 + 1, citizen, number);
        admission.deliveries = vec![(recipient, dice.because())];
        let key = DeliveryKey { recipient, seq: admission.seq };
        let event = Arc::clone(&admission.event);
        let delivery = Delivery { state: State::Pending, attempts: 0, failures: Vec::new(), ..dice.delivery(key, citizen, event) };
        disk.stage(Change::Admit(Arc::new(admission))).expect("staged");
        disk.stage(Change::PutDelivery(delivery.clone())).expect("staged");
        if at.is_multiple_of(50) {
            disk.commit_group(Durability::Lazy);
        }
        delivery
    };
    let waiting = (0..events).map(&mut wait_one).collect();
    disk.commit_group(Durability::Flush);
    waiting
}

fn enrolled(disk: &mut OnDisk, dice: &mut Dice, citizens: usize) -> Vec<CitizenId> {
    (0..citizens).map(|_| disk.enroll(&dice.personnummer()).expect("enrolled")).collect()
}

fn finish(disk: &mut OnDisk, delivery: &Delivery) {
    let Delivery { key, citizen, event, .. } = delivery.clone();
    let finish = Change::Finish { key, citizen, event, had_row: true, end: End::Delivered, attempts: 1, may_hold: true, at: Moment(9) };
    disk.stage(finish).expect("staged");
}

fn keys_of(waiting: &[Delivery], citizen: CitizenId) -> Vec<DeliveryKey> {
    waiting.iter().filter(|delivery| delivery.citizen == citizen).map(|delivery| delivery.key).collect()
}

#[test]
fn they_take_no_row_each_and_none_is_forgotten() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(11));
    let citizens = enrolled(&mut disk, &mut dice, 12);
    let recipient = dice.recipient();
    let mut waiting = wait(&mut disk, &mut dice, recipient, &citizens, 1500);
    // One whom most of it is about.
    waiting.extend(wait(&mut disk, &mut dice, recipient, &citizens[..1], 1500));
    for (round, left) in [3000, 1000].into_iter().enumerate() {
        for delivery in waiting.split_off(left) {
            finish(&mut disk, &delivery);
            if delivery.key.seq.0.is_multiple_of(70) {
                disk.commit_group(Durability::Lazy);
            }
        }
        disk.commit_group(Durability::Flush);
        for _ in 0..2 {
            for citizen in &citizens {
                assert_eq!(disk.rows_of(*citizen).expect("readable"), keys_of(&waiting, *citizen), "round {round}");
            }
            assert_eq!(count(disk.store(), b"X"), 0);
            assert!(count(disk.store(), b"Hx") > 0, "a run was written");
            assert!(count(disk.store(), b"x") < 40, "{} rows of changes", count(disk.store(), b"x"));
            disk.reopen();
        }
        assert_eq!(verified(disk.store()), [""; 0]);
    }
}

#[test]
fn a_store_from_before_is_read_and_its_rows_go_with_the_deliveries() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(12));
    let citizens = enrolled(&mut disk, &mut dice, 3);
    let recipient = dice.recipient();
    let waiting = wait(&mut disk, &mut dice, recipient, &citizens, 12);
    // As it was then: a row for each, and no runs.
    let store = disk.store();
    for prefix in [&b"x"[..], b"Hx", b"Bx", b"Rx"] {
        for key in store.vault.tree.scan_prefix(prefix).keys() {
            store.vault.tree.remove(key.expect("readable")).expect("removed");
        }
    }
    for delivery in &waiting {
        store.vault.tree.insert(rows::of_citizen(delivery.citizen.0, delivery.key).as_ref(), &[]).expect("written");
    }
    disk.reopen();
    assert_eq!(verified(disk.store()), [""; 0]);
    let mut all = waiting;
    all.extend(wait(&mut disk, &mut dice, recipient, &citizens, 3));
    for citizen in &citizens {
        assert_eq!(disk.rows_of(*citizen).expect("readable"), keys_of(&all, *citizen));
    }
    let gone = all.remove(4);
    finish(&mut disk, &gone);
    // One that is now about another citizen.
    let moved = &mut all[0];
    moved.citizen = citizens[2];
    disk.stage(Change::PutDelivery(moved.clone())).expect("staged");
    disk.commit_group(Durability::Flush);
    assert_eq!(count(disk.store(), b"X"), 10);
    disk.reopen();
    for citizen in &citizens {
        assert_eq!(disk.rows_of(*citizen).expect("readable"), keys_of(&all, *citizen));
    }
    disk.stage(Change::Erase(citizens[2])).expect("staged");
    disk.commit_group(Durability::Flush);
    assert_eq!(disk.rows_of(citizens[2]).expect("readable"), []);
    assert_eq!(verified(disk.store()), [""; 0]);
}

#[test]
fn a_delivery_that_is_not_found_or_leads_nowhere_is_found_by_verifying() {
    let (mut disk, mut dice) = (OnDisk::new(), Dice::new(13));
    let citizens = enrolled(&mut disk, &mut dice, 2);
    let recipient = dice.recipient();
    let waiting = wait(&mut disk, &mut dice, recipient, &citizens, 2);
    let other = DeliveryKey { recipient, seq: EventSeq(waiting[1].key.seq.0 + 1) };
    let store = disk.store();
    let mut change = vec![1];
    for (slot, key, mark) in [(citizens[0].0, waiting[0].key, 0x80), (citizens[1].0, other, 0)] {
        let mut row = rows::of_citizen(slot, key).as_ref()[1..].to_vec();
        row[4] |= mark;
        change.extend(row);
    }
    store.vault.tree.insert(rows::changed(b'x', 1000).as_ref(), change).expect("written");
    disk.reopen();
    let found = verified(disk.store());
    assert!(found.iter().any(|why| why.contains("is not found by its citizen: an erasure would miss it")), "{found:?}");
    assert!(found.iter().any(|why| why.contains("set x: leads to no delivery of the citizen's")), "{found:?}");
}
