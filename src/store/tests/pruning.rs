//! What is older than the horizon goes, in slices; the rest answers as before.

use std::sync::Arc;

use crate::core::ids::{DeliveryKey, EventMark, EventSeq, Recipient};
use crate::core::outbox::{Death, Delivery, End, State};
use crate::core::records::{Change, Lookout, Pruned, Records};
use crate::core::time::Moment;

use super::super::Durability;
use super::samples::Dice;
use super::{OnDisk, Stored};

#[test]
fn what_is_old_goes_and_nothing_else() {
    let mut disk = OnDisk::new();
    let mut dice = Dice::new(8);
    let number = dice.personnummer();
    let citizen = disk.enroll(&number).expect("enrolled");
    let mut marks: Vec<(EventMark, Option<DeliveryKey>)> = Vec::new();
    for seq in 1..=300 {
        let mut admission = dice.admission(seq, citizen, number);
        admission.at = Moment(seq as i64 * 1000);
        admission.deliveries.truncate(1);
        let (event, first) = (Arc::clone(&admission.event), admission.deliveries.first().cloned());
        let key = first.map(|(recipient, _)| DeliveryKey { recipient, seq: EventSeq(seq) });
        marks.push((event.mark, key));
        disk.stage(Change::Admit(Arc::new(admission))).expect("staged");
        if let Some(key) = key {
            let had_row = seq % 2 == 0;
            if had_row {
                disk.stage(Change::PutDelivery(dice.delivery(key, citizen, Arc::clone(&event)))).expect("staged");
            }
            let (end, at) = (End::Delivered, Moment(5));
            disk.stage(Change::Finish { key, citizen, event, had_row, end, attempts: 1, may_hold: true, at }).expect("staged");
        }
        disk.stage(Change::SetLowWater(EventSeq(seq + 1))).expect("staged");
        if seq % 5 == 0 {
            disk.commit_group(Durability::Lazy);
        }
    }
    let mut slices = 0;
    while disk.store().prune(Moment(200_000), 4).expect("pruned") == Pruned::More {
        disk.commit_group(Durability::Lazy);
        slices += 1;
        assert!(slices < 100, "comes to an end");
    }
    disk.commit_group(Durability::Flush);
    assert!(slices > 3);
    for _ in 0..2 {
        let known = |disk: &OnDisk, seq: u64| disk.taken_in(EventSeq(seq)).is_some();
        let first = (1..=300).find(|seq| known(&disk, *seq)).expect("some are left");
        assert!((190..=200).contains(&first), "{first}");
        assert!((first..=300).all(|seq| known(&disk, seq)));
        for (at, (mark, key)) in marks.iter().enumerate() {
            let is_kept = at as u64 + 1 >= first;
            assert_eq!(disk.has_seen(mark).expect("readable"), is_kept);
            // Of the others some finishes stay a little longer, until a run of the
            // ledger holds what they say.
            if let Some(key) = key.filter(|_| is_kept) {
                assert!(disk.fate(key).expect("readable").is_some(), "{key:?}");
            }
        }
        assert_eq!(disk.last_seq(), EventSeq(300));
        disk.reopen();
    }
    assert_eq!(disk.store().prune(Moment(i64::MAX), 1000).expect("pruned"), Pruned::Done);
    disk.commit_group(Durability::Flush);
    disk.reopen();
    assert_eq!(disk.last_seq(), EventSeq(300), "the newest place is remembered");
}

/// What has a row and outlives the journal is listed by itself, page by page; what the
/// journal has, or has no row, is not.
#[test]
fn what_outlives_the_journal_is_listed() {
    let mut disk = OnDisk::new();
    let mut dice = Dice::new(9);
    let number = dice.personnummer();
    let citizen = disk.enroll(&number).expect("enrolled");
    let mut dead: Vec<DeliveryKey> = Vec::new();
    for seq in 1..=60 {
        let mut admission = dice.admission(seq, citizen, number);
        admission.at = Moment(seq as i64 * 1000);
        let event = Arc::clone(&admission.event);
        let keys: Vec<DeliveryKey> =
            admission.deliveries.iter().map(|(recipient, _)| DeliveryKey { recipient: *recipient, seq: EventSeq(seq) }).collect();
        disk.stage(Change::Admit(Arc::new(admission))).expect("staged");
        for key in keys {
            let state = State::Dead { at: Moment(5), why: Death::Expired };
            let delivery = Delivery { state, ..dice.delivery(key, citizen, Arc::clone(&event)) };
            disk.stage(Change::PutDelivery(delivery)).expect("staged");
            dead.push(key);
        }
        disk.stage(Change::SetLowWater(EventSeq(seq + 1))).expect("staged");
        disk.commit_group(Durability::Lazy);
    }
    while disk.store().prune(Moment(40_000), 100).expect("pruned") == Pruned::More {
        disk.commit_group(Durability::Lazy);
    }
    disk.commit_group(Durability::Flush);
    let first = (1..=60).map(EventSeq).find(|seq| disk.taken_in(*seq).is_some()).expect("some are left");
    dead.sort_unstable();
    let reader = disk.store().reader();
    let pages = |dead: bool, recipient: Option<Recipient>, limit: usize| {
        let (mut found, mut after): (Vec<DeliveryKey>, _) = (Vec::new(), None);
        loop {
            let page = reader.outlived_page(dead, recipient, after, limit).expect("readable");
            found.extend(page.iter().map(|row| row.key));
            match page.last() {
                Some(last) if page.len() == limit => after = Some(last.key),
                Some(_) | None => return found,
            }
        }
    };
    let outlived: Vec<DeliveryKey> = dead.iter().filter(|key| key.seq < first).copied().collect();
    assert!(outlived.len() > 20 && dead.len() > outlived.len() + 10, "{} of {}", outlived.len(), dead.len());
    for limit in [1, 7, 1000] {
        assert_eq!(pages(true, None, limit), outlived, "{limit}");
        for of in dead.iter().map(|key| key.recipient) {
            let own: Vec<DeliveryKey> = outlived.iter().filter(|key| key.recipient == of).copied().collect();
            assert_eq!(pages(true, Some(of), limit), own, "{of} {limit}");
        }
        assert_eq!(pages(false, None, limit), [], "{limit}");
    }
}
