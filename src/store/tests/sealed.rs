//! Nothing personal can be read in the files, and nothing at all of an erased
//! citizen with the keys that are left.

use std::path::Path;
use std::sync::Arc;

use crate::core::about::About;
use crate::core::event::{Content, Event};
use crate::core::ids::{DeliveryKey, EventSeq, ExternalId, Personnummer};
use crate::core::outbox::End;
use crate::core::records::{Change, Fate, Quarantined, Records, Unclaimed};
use crate::core::time::Moment;

use super::super::{Durability, Store};
use super::samples::Dice;
use super::{OnDisk, Stored};

pub(super) const NUMBER: &str = "0101901234";
const FORMER: &str = "0202905678";
pub(super) const PLANTED: &str = "PLANTED-PAYLOAD-OF-THE-CITIZEN";

pub(super) fn number(text: &str) -> Personnummer {
    Personnummer::parse(text).expect("a personnummer")
}

pub(super) fn planted_event(dice: &mut Dice) -> Event {
    let mut event = dice.event(number(NUMBER));
    event.body = Some(format!("{{\"Felt\":\"{PLANTED}\"}}").into());
    event.external_id = ExternalId::parse(PLANTED).expect("an id");
    event.content = Content::NumberChange { new: Some(number(FORMER)) };
    event
}

/// Puts marked values wherever something personal can be.
fn plant(disk: &mut OnDisk) -> Vec<DeliveryKey> {
    let mut dice = Dice::new(1);
    let store = disk.store();
    let citizen = store.enroll(&number(NUMBER)).expect("enrolled");
    let former = store.enroll(&number(FORMER)).expect("enrolled");
    store.stage(Change::Join { one: citizen, other: former }).expect("staged");
    let mut keys = Vec::new();
    for seq in 1..=90 {
        let mut admission = dice.admission(seq, citizen, number(NUMBER));
        admission.event = Arc::new(planted_event(&mut dice));
        let event = Arc::clone(&admission.event);
        let mut record = (*store.under_number(citizen).expect("readable").expect("known")).clone();
        let _ = record.fold(&event);
        store.stage(Change::PutCitizen(Arc::new(record))).expect("staged");
        let recipients: Vec<_> = admission.deliveries.iter().map(|(recipient, _)| *recipient).collect();
        store.stage(Change::Admit(Arc::new(admission))).expect("staged");
        for (at, recipient) in recipients.into_iter().enumerate() {
            let key = DeliveryKey { recipient, seq: EventSeq(seq) };
            keys.push(key);
            let unclaimed = Unclaimed { delivery: dice.delivery(key, citizen, Arc::clone(&event)), at: Moment(1), earlier: dice.earlier() };
            store.stage(Change::PutUnclaimed(Box::new(unclaimed))).expect("staged");
            if at != 0 {
                store.stage(Change::PutDelivery(dice.delivery(key, citizen, Arc::clone(&event)))).expect("staged");
            }
            if at != 1 {
                let event = Arc::clone(&event);
                let (had_row, end, at) = (at != 0, End::Delivered, Moment(1));
                store.stage(Change::Finish { key, citizen, event, had_row, end, attempts: 1, may_hold: true, at }).expect("staged");
            }
        }
        let mut clocks = dice.clocks(citizen, 3);
        clocks.records[0].external_id = ExternalId::parse(PLANTED).expect("an id");
        clocks.tombstones.truncate(1);
        clocks.tombstones.iter_mut().for_each(|stone| stone.external_id = ExternalId::parse(PLANTED).expect("an id"));
        clocks.next = Some(crate::core::time::Day::epoch());
        store.stage(Change::PutClocks(Arc::new(clocks))).expect("staged");
        let body = Arc::from(format!("{{\"Personnummer\":\"{NUMBER}\",\"x\":\"{PLANTED}\"}}").as_bytes());
        let (id, about) = (store.next_quarantine_id(), About::These(vec![number(NUMBER)]));
        let quarantined = Quarantined { id, body, about, ..dice.quarantined(id) };
        store.stage(Change::Quarantine(quarantined)).expect("staged");
        if seq % 5 == 0 {
            store.commit(Durability::Flush).expect("committed");
        }
    }
    keys
}

/// Calls `visit` with every file below a directory.
pub(super) fn each_file(dir: &Path, visit: &mut impl FnMut(&Path, &[u8])) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => each_file(&path, visit),
            false => visit(&path, &std::fs::read(&path).expect("a file")),
        }
    }
}

fn check_no_file_holds(dir: &Path, planted: &[&[u8]]) {
    let mut searched = 0;
    each_file(dir, &mut |path, bytes| {
        searched += bytes.len();
        for value in planted {
            let holds = bytes.windows(value.len()).any(|window| window == *value);
            assert!(!holds, "{} holds {:?}", path.display(), String::from_utf8_lossy(value));
        }
    });
    assert!(searched > 100_000, "only {searched} bytes were searched");
}

#[test]
fn nothing_personal_can_be_read_in_the_files() {
    let mut disk = OnDisk::new();
    plant(&mut disk);
    disk.close();
    // The number as text, and as the codecs write it.
    let packed: Vec<u8> = {
        use super::super::codec::Output;
        let mut out = Vec::new();
        out.varint(NUMBER.parse().expect("a number"));
        out
    };
    check_no_file_holds(&disk.options().data_dir, &[NUMBER.as_bytes(), FORMER.as_bytes(), PLANTED.as_bytes(), &packed]);
    disk.reopen();
    assert!(disk.find_citizen(&number(FORMER)).expect("readable").is_some());
}

#[test]
fn an_erased_citizen_is_gone_for_every_question() {
    let mut disk = OnDisk::new();
    let keys = plant(&mut disk);
    let other = disk.enroll(&number("0303901111")).expect("enrolled");
    let citizen = disk.find_citizen(&number(NUMBER)).expect("readable").expect("known");
    let mark = disk.taken_in(EventSeq(1)).expect("there").event.mark;
    disk.store().erase(citizen).expect("erased");
    for _ in 0..2 {
        assert_eq!(disk.find_citizen(&number(NUMBER)).expect("readable"), None);
        assert_eq!(disk.find_citizen(&number(FORMER)).expect("readable"), None);
        assert_eq!(disk.citizen(citizen).expect("readable"), None);
        assert!(disk.citizen(other).expect("readable").is_some());
        assert_eq!(disk.taken_in(EventSeq(1)), None);
        assert!(disk.has_seen(&mark).expect("readable"), "a repetition is still one");
        assert_eq!(disk.rows_of(citizen).expect("readable"), []);
        assert_eq!(disk.row_counts().expect("readable"), []);
        assert_eq!(disk.clocks(citizen).expect("readable"), None);
        assert_eq!(disk.clocks_page(None, 9).expect("readable"), []);
        assert_eq!(disk.clocks_next(crate::core::time::Day::epoch(), None, 9).expect("readable"), []);
        assert_eq!(disk.order_counts().expect("readable"), []);
        assert!(keys.iter().all(|key| disk.delivery(*key).expect("readable").is_none()));
        let kept = disk.store().reader().quarantine(0, usize::MAX).expect("readable");
        assert_eq!(kept, []);
        assert!(disk.unfinished_in_journal().expect("readable").is_empty());
        let fates: Vec<_> = keys.iter().map(|key| disk.fate(*key).expect("readable")).collect();
        assert!(fates.iter().all(|fate| *fate != Some(Fate::Unfinished)));
        disk.reopen();
    }
}

/// After the rows have gone and before the key has: what a crash leaves there.
#[test]
fn an_erasure_that_was_cut_short_is_finished_when_opened() {
    let mut disk = OnDisk::new();
    plant(&mut disk);
    let keys_path = disk.options().data_dir.join("citizen-keys");
    let citizen = disk.find_citizen(&number(NUMBER)).expect("readable").expect("known");
    disk.commit_group(Durability::Flush);
    let with_key = std::fs::read(&keys_path).expect("the keys");
    disk.store().erase(citizen).expect("erased");
    disk.close();
    let db = super::opened(&disk.options().data_dir.join("store"));
    let row = super::super::rows::erased(citizen.0);
    assert_eq!(db.get(row).expect("readable").as_deref(), Some(&[1, 1][..]));
    db.insert(row, &[1, 0]).expect("written");
    drop(db);
    std::fs::write(&keys_path, &with_key).expect("the keys");
    disk.reopen();
    let after = std::fs::read(&keys_path).expect("the keys");
    let slot = 32 * (citizen.0 as usize + 1);
    assert_ne!(after[slot..slot + 32], with_key[slot..slot + 32]);
    assert_eq!(disk.taken_in(EventSeq(1)), None);
}

#[test]
fn a_released_message_takes_its_key_with_it() {
    let mut disk = OnDisk::new();
    let mut dice = Dice::new(3);
    disk.stage(Change::Quarantine(dice.quarantined(1))).expect("staged");
    disk.commit_group(Durability::Flush);
    let keys_path = disk.options().data_dir.join("citizen-keys");
    let before = std::fs::read(&keys_path).expect("the keys");
    disk.stage(Change::Release(1)).expect("staged");
    disk.commit_group(Durability::Lazy);
    assert_eq!(std::fs::read(&keys_path).expect("the keys"), before, "the row may come back until it is flushed");
    disk.commit_group(Durability::Flush);
    let after = std::fs::read(&keys_path).expect("the keys");
    assert_ne!(after[64..96], before[64..96]);
    let _: &mut Store = disk.store();
}
