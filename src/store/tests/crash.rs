//! A process that is killed again and again loses nothing that it acknowledged.

use std::sync::Arc;

use crate::core::event::Content;
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, Personnummer};
use crate::core::notices::Lying;
use crate::core::outbox::End;
use crate::core::records::{Admission, Change, Fate, Records};
use crate::core::time::{Day, Moment};

use super::super::{Durability, Options, Store};
use super::samples::Dice;
use super::victim::{Victim, say};

/// Where the child finds its store.
const DIR: &str = "WSB_TEST_STORE_DIR";
/// Events in a group.
const GROUP: u64 = 7;

fn options(dir: &std::path::Path) -> Options {
    Options { gathered_keys: 60, ..Options::new(dir.join("data")) }
}

/// What is taken in as number `seq`, always the same.
fn admission(seq: u64, citizen: CitizenId) -> Admission {
    let mut dice = Dice::new(seq);
    let mut admission = dice.admission(seq, citizen, number(seq));
    admission.deliveries.truncate(1);
    // One in the list at least, to have something to follow.
    if admission.deliveries.is_empty() {
        admission.deliveries.push((dice.recipient(), dice.because()));
    }
    admission
}

fn number(seq: u64) -> Personnummer {
    Dice::new(seq % 20 + 1000).personnummer()
}

#[test]
fn of_a_group_that_could_not_be_staged_nothing_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = options(dir.path());
    let mut store = Store::open(&options).expect("a new store");
    let known = store.enroll(&number(1)).expect("enrolled");
    store.commit(Durability::Flush).expect("committed");
    // The file of keys loses what it has of new citizens, as if it had not grown.
    let keys = options.data_dir.join("citizen-keys");
    let whole = std::fs::read(&keys).expect("the file");
    std::fs::write(&keys, &whole[..64 + 32 * known.0 as usize]).expect("cut short");
    let notices = Change::PutNotices { recipient: Dice::new(1).recipient(), day: Day::epoch(), lying: Lying { notices: 1, reminded: 0 } };
    store.stage(notices).expect("needs no key");
    let quarantined = Dice::new(2).quarantined(1);
    store.stage(Change::Quarantine(quarantined)).expect_err("has no key");
    for _ in 0..2 {
        let refused = store.commit(Durability::Flush).expect_err("half a group").to_string();
        assert!(refused.contains("half a group is not kept") && refused.contains("citizen keys"), "{refused}");
    }
    drop(store);
    std::fs::write(&keys, whole).expect("whole again");
    let mut store = Store::open(&options).expect("the store");
    assert_eq!(store.notices().expect("readable"), []);
    assert_eq!(store.next_quarantine_id(), 1);
    assert_eq!(store.enroll(&number(2)).expect("enrolled"), CitizenId(known.0 + 1), "no slot is lost");
    store.commit(Durability::Flush).expect("committed");
}

/// Begins with the group after the last one that is there, and goes on until
/// it is killed. Does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut store = Store::open(&options(std::path::Path::new(&dir))).expect("the store");
    loop {
        let begin = store.last_seq().0;
        for seq in begin + 1..=begin + GROUP {
            let number = number(seq);
            let known = store.find_citizen(&number).expect("readable");
            let citizen = known.unwrap_or_else(|| store.enroll(&number).expect("enrolled"));
            store.stage(Change::Admit(Arc::new(admission(seq, citizen)))).expect("staged");
        }
        // What becomes of the group before.
        for seq in begin.saturating_sub(GROUP - 1).max(1)..=begin {
            let admission = store.admission(EventSeq(seq)).expect("readable").expect("there");
            let key = DeliveryKey { recipient: admission.deliveries[0].0, seq: EventSeq(seq) };
            let row = Dice::new(seq).delivery(key, admission.citizen, Arc::clone(&admission.event));
            let (citizen, event) = (admission.citizen, Arc::clone(&admission.event));
            let finish =
                |had_row| Change::Finish { key, citizen, event, had_row, end: End::Delivered, attempts: 1, may_hold: true, at: Moment(7) };
            match seq % 3 {
                0 => store.stage(finish(false)).expect("staged"),
                1 => store.stage(Change::PutDelivery(row)).expect("staged"),
                _ => {
                    store.stage(Change::PutDelivery(row)).expect("staged");
                    store.stage(finish(true)).expect("staged");
                }
            }
        }
        store.stage(Change::SetLowWater(EventSeq(begin + 1))).expect("staged");
        store.commit(Durability::Flush).expect("committed");
        say(&format!("acknowledged {}", store.last_seq().0));
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut dice = Dice::new(5);
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut child = Victim::start("crash::child", DIR, dir.path());
        let groups = dice.below(25);
        let seqs = child.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok());
        // Killed at no particular moment: the child is ahead of what is read here.
        for seq in seqs.take(groups as usize + 1) {
            acknowledged = seq;
        }
        child.kill();
        let mut store = Store::open(&options(dir.path())).unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert!(store.last_seq().0 >= acknowledged, "round {round}: {:?} after {acknowledged}", store.last_seq());
        assert_eq!(store.last_seq().0 % GROUP, 0, "a group is there as a whole or not at all");
        acknowledged = store.last_seq().0;
        check(&mut store, acknowledged);
    }
    assert!(acknowledged > 12 * GROUP);
}

fn check(store: &mut Store, last: u64) {
    for seq in 1..=last {
        let citizen = store.find_citizen(&number(seq)).expect("readable").expect("enrolled");
        let expected = admission(seq, citizen);
        assert!(store.has_seen(&expected.event.mark).expect("readable"), "{seq}");
        assert_eq!(store.admission(EventSeq(seq)).expect("readable").as_deref(), Some(&expected));
        let key = DeliveryKey { recipient: expected.deliveries[0].0, seq: EventSeq(seq) };
        let is_over = seq <= last - GROUP && seq % 3 != 1;
        let fate = if is_over { Fate::Ended(End::Delivered) } else { Fate::Unfinished };
        assert_eq!(store.fate(key).expect("readable"), Some(fate), "{seq} of {last}");
        assert_eq!(store.delivery(key).expect("readable").is_some(), seq <= last - GROUP && seq % 3 == 1);
        let holders = store.holders(citizen, expected.event.record_entity(), &expected.event.external_id).expect("readable");
        // Told that a record is deleted, a recipient holds nothing of it.
        let is_notice = matches!(expected.event.content, Content::Deletion { .. });
        // Ids of this kind are shared by many events, notices among them.
        let is_shared = expected.event.external_id.as_str().starts_with("Record-");
        assert!(!is_over || is_shared || holders.contains(&key.recipient) != is_notice);
    }
    assert!(!store.has_seen(&EventMark::of("never", "sent")).expect("readable"));
    let open = store.unfinished_in_journal().expect("readable");
    assert!(open.iter().map(|delivery| delivery.key.seq.0).eq(last - GROUP + 1..=last));
}
