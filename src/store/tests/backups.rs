//! Backups taken while the store is in use, restored; and stores that are not
//! what they should be.

use std::path::Path;
use std::sync::Arc;

use crate::core::ids::{DeliveryKey, EventSeq, Personnummer};
use crate::core::outbox::{Death, Delivery, State};
use crate::core::records::{Archive, Change, Quarantined, Records};
use crate::core::time::Moment;

use super::super::backup::{BackupError, ManifestError};
use super::super::rows;
use super::super::{Durability, Erasures, Options, RestoreError, Store, restore};
use super::samples::Dice;
use super::{OnDisk, Stored};

fn number(at: u64) -> Personnummer {
    Dice::new(at % 13 + 500).personnummer()
}

/// Goes on with a life: events, rows, finishes, messages.
fn live(disk: &mut OnDisk, from: u64, to: u64) {
    let mut dice = Dice::new(from);
    for seq in from..=to {
        let number = number(seq);
        let citizen = disk.find_citizen(&number).expect("readable");
        let citizen = citizen.unwrap_or_else(|| disk.enroll(&number).expect("enrolled"));
        let admission = Arc::new(dice.admission(seq, citizen, number));
        disk.stage(Change::Admit(Arc::clone(&admission))).expect("staged");
        for (at, (recipient, _)) in admission.deliveries.iter().enumerate() {
            let key = DeliveryKey { recipient: *recipient, seq: EventSeq(seq) };
            let event = Arc::clone(&admission.event);
            if at == 0 {
                let state = if seq % 5 == 0 { State::Dead { at: Moment(1), why: Death::Expired } } else { State::Pending };
                let row = Delivery { state, failures: Vec::new(), ..dice.delivery(key, citizen, Arc::clone(&event)) };
                disk.stage(Change::PutDelivery(row)).expect("staged");
            }
            if at != 0 || seq % 3 == 0 {
                let (end, at_moment) = (dice.end(), dice.moment());
                disk.stage(Change::Finish { key, citizen, event, had_row: at == 0, end, attempts: 1, may_hold: true, at: at_moment })
                    .expect("staged");
            }
        }
        if seq % 7 == 0 {
            let quarantined = dice.quarantined(disk.next_quarantine_id());
            disk.stage(Change::Quarantine(quarantined)).expect("staged");
        }
        if seq % 4 == 0 {
            disk.stage(Change::SetLowWater(EventSeq(seq - 3))).expect("staged");
            disk.commit_group(Durability::Lazy);
        }
    }
    disk.commit_group(Durability::Flush);
}

/// Everything that can be asked, as text.
fn contents(store: &mut Store) -> Vec<String> {
    let mut all = vec![format!("{:?} {:?}", store.last_seq(), store.row_counts().expect("readable"))];
    for seq in 1..=store.last_seq().0 {
        let admission = store.admission(EventSeq(seq)).expect("readable");
        for (recipient, _) in admission.iter().flat_map(|admission| &admission.deliveries) {
            let key = DeliveryKey { recipient: *recipient, seq: EventSeq(seq) };
            all.push(format!("{:?} {:?}", store.fate(key).expect("readable"), store.delivery(key).expect("readable")));
        }
        if let Some(admission) = &admission {
            assert!(store.has_seen(&admission.event.mark).expect("readable"));
            all.push(format!(
                "{:?}",
                store.holders(admission.citizen, admission.event.record_entity(), &admission.event.external_id).expect("readable")
            ));
        }
        all.push(format!("{admission:?}"));
    }
    for at in 0..13 {
        let citizen = store.find_citizen(&number(at)).expect("readable");
        all.push(format!("{citizen:?} {:?}", citizen.map(|citizen| store.citizen(citizen).expect("readable"))));
    }
    all.push(format!("{:?}", store.reader().quarantine(0, usize::MAX).expect("readable")));
    all
}

fn verified(store: &mut Store) -> Vec<String> {
    let mut found = Vec::new();
    let verified = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    assert_eq!(verified.breaches, found.len() as u64);
    assert!(verified.rows > 10);
    found
}

fn elsewhere(disk: &OnDisk, name: &str) -> Options {
    let options = disk.options().clone();
    let dir = options.data_dir.parent().expect("a directory").join(name);
    Options { data_dir: dir, ..options }
}

/// What was sent after the backup is not known to it, in whatever order that broker stopped.
#[test]
fn a_restored_store_knows_of_no_stop_in_order() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 20);
    disk.stage(Change::Stopped(EventSeq(0))).expect("staged");
    disk.commit_group(Durability::Flush);
    let dir = disk.options().data_dir.parent().expect("a directory").join("backup");
    disk.store().back_up(&dir, Moment(7), |_| {}).expect("backed up");
    assert_eq!(disk.stopped().expect("readable"), Some(EventSeq(0)));
    let options = elsewhere(&disk, "restored");
    restore(&dir, &options, None, |_| {}).expect("restored");
    assert_eq!(Store::open(&options).expect("a store").stopped().expect("readable"), None);
}

#[test]
fn a_backup_of_a_store_in_use_is_of_the_moment_that_it_ended() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 300);
    let [gone, gone_later] = [31, 32].map(|seed| Dice::new(seed).personnummer());
    for number in [gone, gone_later] {
        disk.enroll(&number).expect("enrolled");
    }
    let dir = disk.options().data_dir.parent().expect("a directory").join("backup");
    let mut copying = disk.store().begin_backup(&dir).expect("begun");
    assert!(disk.store().begin_backup(&dir).is_err(), "one at a time");
    live(&mut disk, 301, 350);
    // The writer goes on between any two rows.
    let rows = std::thread::scope(|scope| {
        let copier = scope.spawn(|| {
            copying.copy_rows(&mut |_| {}).expect("copied");
            copying
        });
        live(&mut disk, 351, 600);
        copier.join().expect("copied")
    });
    copying = rows;
    let erased = disk.find_citizen(&gone).expect("readable").expect("known");
    disk.store().erase(erased).expect("erased");
    live(&mut disk, 601, 650);
    let noted = disk.store().end_backup().expect("noted");
    let expected = contents(disk.store());
    // While keys are copied, none is overwritten.
    let later = disk.find_citizen(&gone_later).expect("readable").expect("known");
    disk.store().erase(later).expect("erased, and the key kept for now");
    live(&mut disk, 651, 700);
    copying.copy_keys().expect("copied");
    let manifest = copying.finish(noted, Moment(7)).expect("finished");
    disk.store().release_keys();
    disk.commit_group(Durability::Flush);
    assert_eq!((manifest.last_seq, manifest.records().1 > 100), (650, true));

    // As if the erasure after it had never been.
    let list = disk.options().erased_list.clone();
    let kept = std::fs::read(&list).expect("the list");
    let options = Options { erased_list: elsewhere(&disk, "none.erased").data_dir, ..elsewhere(&disk, "restored") };
    std::fs::write(&options.erased_list, &kept[..64]).expect("written");
    restore(&dir, &options, None, |_| {}).expect("restored");
    let mut restored = Store::open(&options).expect("a store");
    for (is, was) in contents(&mut restored).iter().zip(&expected) {
        assert_eq!(is, was);
    }
    assert!(restored.find_citizen(&gone_later).expect("readable").is_some(), "at that moment the citizen was known");
    assert_eq!(verified(&mut restored), [] as [&str; 0]);
    drop(restored);
    assert!(matches!(restore(&dir, &options, None, |_| {}), Err(RestoreError::Occupied(_))));

    // With the list as it is, the citizen that was erased since is erased again.
    let options = elsewhere(&disk, "again");
    restore(&dir, &options, None, |_| {}).expect("restored");
    for _ in 0..2 {
        let mut restored = Store::open(&options).expect("a store");
        assert_eq!(restored.find_citizen(&gone).expect("readable"), None);
        assert_eq!(restored.find_citizen(&gone_later).expect("readable"), None);
        assert!(restored.find_citizen(&number(7)).expect("readable").is_some());
        assert_eq!(verified(&mut restored), [] as [&str; 0]);
        // Whoever gets a slot from now on is nobody who was erased elsewhere.
        restored.enroll(&Dice::new(9999).personnummer()).expect("enrolled");
        restored.commit(Durability::Flush).expect("committed");
    }
    let mut restored = Store::open(&options).expect("a store");
    assert_eq!(restored.erased_again(), 0, "once");
    // Erasing again has noted some of them twice, which makes nothing that is known unknown.
    let (twice, there) = (disk.options().data_dir.with_extension("twice"), elsewhere(&disk, "there"));
    restored.back_up(&twice, Moment(8), |_| {}).expect("a backup");
    let there = Options { erased_list: there.data_dir.with_extension("erased"), ..there };
    std::fs::copy(&options.erased_list, &there.erased_list).expect("the list");
    let of_it = restore(&twice, &there, None, |_| {}).expect("restored");
    assert!(of_it.manifest.erasures > 2, "{}", of_it.manifest.erasures);
    assert_eq!(of_it.erasures, Erasures::Listed);
    assert!(restored.find_citizen(&Dice::new(9999).personnummer()).expect("readable").is_some());
    assert!(verified(disk.store()).is_empty());
}

/// On another machine there is no list beside the data directory.
#[test]
fn a_backup_from_before_the_first_erasure_forgets_elsewhere_too() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 60);
    let parent = disk.options().data_dir.parent().expect("a directory").to_owned();
    let (early, late) = (parent.join("early"), parent.join("late"));
    disk.store().back_up(&early, Moment(1), |_| {}).expect("a backup");
    let citizen = disk.find_citizen(&number(3)).expect("readable").expect("known");
    disk.store().erase(citizen).expect("erased");
    disk.commit_group(Durability::Flush);
    disk.store().back_up(&late, Moment(9), |_| {}).expect("a backup");
    let mut another = OnDisk::new();
    let strange = parent.join("strange");
    another.store().back_up(&strange, Moment(9), |_| {}).expect("a backup");

    let own_list = disk.options().erased_list.clone();
    let data_dir = disk.options().data_dir.clone();
    for (name, from, newer, expected, is_back) in [
        ("none", &early, None, Erasures::Unknown, true),
        ("backup", &early, Some(&late), Erasures::Until(Moment(9)), false),
        ("list", &early, Some(&own_list), Erasures::Listed, false),
        ("directory", &early, Some(&data_dir), Erasures::Listed, false),
        ("carried", &late, None, Erasures::Unknown, false),
        ("older", &late, Some(&early), Erasures::Unknown, false),
    ] {
        let options = elsewhere(&disk, name);
        let options = Options { erased_list: parent.join(format!("{name}.erased")), ..options };
        let restored = restore(from, &options, newer.map(|path| &**path), |_| {}).expect("restored");
        assert_eq!(restored.erasures, expected, "{name}");
        let mut store = Store::open(&options).expect("a store");
        assert_eq!(store.find_citizen(&number(3)).expect("readable").is_some(), is_back, "{name}");
        assert_eq!(verified(&mut store), [] as [&str; 0], "{name}");
    }
    let options = Options { erased_list: parent.join("refused.erased"), ..elsewhere(&disk, "refused") };
    assert!(matches!(restore(&early, &options, Some(&strange), |_| {}), Err(RestoreError::OtherStore(_))));
    assert!(matches!(restore(&early, &options, Some(&parent.join("nowhere")), |_| {}), Err(RestoreError::NoList(_))));
    assert!(!options.data_dir.join("store").exists());
}

#[test]
fn an_old_copy_of_the_directory_forgets_as_well() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 60);
    disk.close();
    let copy = elsewhere(&disk, "copy");
    copy_all(&disk.options().data_dir, &copy.data_dir);
    disk.reopen();
    // Somebody new gets a slot that the copy has not given yet, and goes again.
    let newcomer = Dice::new(777).personnummer();
    for number in [number(3), newcomer] {
        let citizen = disk.find_citizen(&number).expect("readable");
        let citizen = citizen.unwrap_or_else(|| disk.enroll(&number).expect("enrolled"));
        disk.store().erase(citizen).expect("erased");
    }
    disk.close();
    let mut old = Store::open(&copy).expect("the copy");
    assert_eq!(old.erased_again(), 1);
    assert_eq!(old.find_citizen(&number(3)).expect("readable"), None);
    let other = old.enroll(&newcomer).expect("enrolled");
    old.commit(Durability::Flush).expect("committed");
    drop(old);
    let mut old = Store::open(&copy).expect("the copy");
    assert_eq!(old.find_citizen(&newcomer).expect("readable"), Some(other), "is not taken for the erased one");
    drop(old);
    std::fs::remove_file(&copy.erased_list).expect("removed");
    let refusal = Store::open(&copy).expect_err("no list").to_string();
    assert!(refusal.contains("data.erased") && refusal.contains("put it back"), "{refusal}");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy_all(&path, &to) } else { std::fs::copy(&path, &to).map(drop).expect("copied") }
    }
}

#[test]
fn a_backup_without_room_is_refused_and_says_how_much_is_missing() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 40);
    let dir = disk.options().data_dir.parent().expect("a directory").join("backup");
    disk.store().least_free = u64::MAX / 2;
    let refused = disk.store().back_up(&dir, Moment(1), |_| {}).expect_err("no room");
    assert!(matches!(refused, BackupError::NoRoom { mib, .. } if mib > 1 << 20), "{refused}");
    assert!(!dir.exists(), "nothing is begun");
    disk.store().least_free = 0;
    disk.store().back_up(&dir, Moment(1), |_| {}).expect("a backup, once there is room");
}

#[test]
fn a_backup_that_does_not_come_to_its_end_leaves_nothing_behind() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 40);
    let parent = disk.options().data_dir.parent().expect("a directory").to_owned();
    let (made, given) = (parent.join("made"), parent.join("given"));
    std::fs::create_dir(&given).expect("a directory");
    for dir in [&made, &given] {
        let mut copying = disk.store().begin_backup(dir).expect("begun");
        copying.copy_rows(&mut |_| {}).expect("copied");
        disk.store().end_backup().expect("noted");
        copying.copy_keys().expect("copied");
        drop(copying);
        disk.store().release_keys();
    }
    assert!(!made.exists());
    assert!(std::fs::read_dir(&given).expect("still there").next().is_none());
}

#[test]
fn a_backup_ends_when_the_room_goes_while_it_is_taken() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 40);
    let dir = disk.options().data_dir.parent().expect("a directory").join("sub/backup");
    let ran_out = |error: BackupError| {
        assert!(matches!(&error, BackupError::RanOut(path) if path.ends_with("sub/backup")), "{error:?}");
        assert!(error.to_string().contains("make room"), "{error}");
    };
    let mut copying = disk.store().begin_backup(&dir).expect("begun");
    copying.least_free = u64::MAX;
    ran_out(copying.copy_rows(&mut |_| {}).expect_err("no room for the rows"));
    copying.least_free = 0;
    disk.store().end_backup().expect("noted");
    copying.least_free = u64::MAX;
    ran_out(copying.copy_keys().expect_err("no room for the keys"));
    drop(copying);
    disk.store().release_keys();
    assert!(!dir.parent().expect("a directory").exists(), "nothing is left");
    // Nor is there room for what changes meanwhile.
    let copying = disk.store().begin_backup(&dir).expect("begun");
    disk.store().noting.as_mut().expect("noting").leave_free(u64::MAX);
    live(&mut disk, 41, 50);
    ran_out(disk.store().end_backup().expect_err("no room for the changes"));
    drop(copying);
}

#[test]
fn a_refused_backup_leaves_no_directory_that_it_has_made() {
    let mut disk = OnDisk::new();
    let parent = disk.options().data_dir.parent().expect("a directory").to_owned();
    disk.store().least_free = u64::MAX / 2;
    disk.store().begin_backup(&parent.join("sub/deeper/backup")).expect_err("no room");
    assert!(!parent.join("sub").exists());
    std::fs::create_dir(parent.join("mine")).expect("a directory");
    disk.store().begin_backup(&parent.join("mine/deeper/backup")).expect_err("no room");
    assert_eq!(std::fs::read_dir(parent.join("mine")).expect("still there").count(), 0);
}

#[test]
fn a_backup_that_nobody_goes_on_with_keeps_no_other_from_being_taken() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 40);
    let parent = disk.options().data_dir.parent().expect("a directory").to_owned();
    drop(disk.store().begin_backup(&parent.join("given-up")).expect("begun"));
    live(&mut disk, 41, 50);
    let copying = disk.store().begin_backup(&parent.join("backup")).expect("begun");
    // The one before is forgotten only now: this one goes on.
    disk.store().release_keys();
    assert!(matches!(disk.store().begin_backup(&parent.join("third")), Err(BackupError::UnderWay)));
    live(&mut disk, 51, 60);
    drop(copying);
    disk.store().back_up(&parent.join("backup"), Moment(1), |_| {}).expect("a backup");
}

#[test]
fn what_is_not_a_whole_backup_is_refused() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 40);
    let parent = disk.options().data_dir.parent().expect("a directory").to_owned();
    let dir = parent.join("backup");
    disk.store().back_up(&dir, Moment(1), |_| {}).expect("a backup");
    assert!(disk.store().back_up(&dir, Moment(1), |_| {}).is_err(), "never over another");
    let options = elsewhere(&disk, "restored");
    for name in ["rows", "changes", "citizen-keys", "number-keys"] {
        let damaged = parent.join(format!("damaged-{name}"));
        copy_all(&dir, &damaged);
        let mut bytes = std::fs::read(damaged.join(name)).expect("a file");
        match bytes.last_mut() {
            Some(last) => *last ^= 1,
            None => bytes.push(0),
        }
        std::fs::write(damaged.join(name), bytes).expect("written");
        let refused = restore(&damaged, &options, None, |_| {});
        assert!(matches!(&refused, Err(RestoreError::Backup(ManifestError::Damaged { file, .. })) if file == name), "{refused:?}");
    }
    std::fs::remove_file(parent.join("damaged-rows/manifest")).expect("removed");
    assert!(matches!(
        restore(&parent.join("damaged-rows"), &options, None, |_| {}),
        Err(RestoreError::Backup(ManifestError::Unfinished(_)))
    ));
    let other_key = Options { key_file: parent.join("other.key"), ..options.clone() };
    super::super::MasterKey::create(&other_key.key_file).expect("a key");
    assert!(matches!(restore(&dir, &other_key, None, |_| {}), Err(RestoreError::WrongKey(_))));
    assert!(!options.data_dir.join("store").exists());
    restore(&dir, &options, None, |_| {}).expect("restored after all");
}

#[test]
fn verifying_finds_what_is_broken() {
    let mut disk = OnDisk::new();
    live(&mut disk, 1, 120);
    let mut dice = Dice::new(5);
    let citizen = disk.store().enroll(&Dice::new(77).personnummer()).expect("enrolled");
    let mut clocks = dice.clocks(citizen, 3);
    let day = crate::core::time::Day::epoch();
    clocks.records[0].order = Some(crate::core::retention::Order { due: day, first: day, asked: day, confirmed: true });
    let unexpected = dice.unexpected(EventSeq(3), citizen);
    let replay = Change::PutReplay(Arc::new(dice.replay(crate::core::replay::ReplayId(7))));
    for change in [Change::PutClocks(Arc::new(clocks)), Change::NoteUnexpected(Arc::new(unexpected)), replay] {
        disk.store().stage(change).expect("staged");
    }
    disk.store().commit(Durability::Flush).expect("committed");
    disk.close();
    disk.reopen();
    assert_eq!(verified(disk.store()), [] as [&str; 0]);
    let first = |disk: &mut OnDisk, letter: u8| {
        let row = disk.store().vault.tree.scan_prefix([letter]).next().expect("such a row").expect("readable");
        (row.0, row.1)
    };
    // A row that goes missing, and a bit that flips, in each kind that refers to others.
    for (letter, flips) in [
        (b'N', false),
        (b'C', true),
        (b'J', true),
        (b'S', true),
        (b'W', true),
        (b'Q', true),
        (b'K', false),
        (b'R', false),
        (b'T', true),
        (b'O', true),
        (b'U', false),
        (b'y', true),
        (b'P', true),
    ] {
        let (key, value) = first(&mut disk, letter);
        let tree = disk.store().vault.tree.clone();
        tree.remove(&key).expect("removed");
        let found = verified(disk.store());
        // Without its messages a journal or a row of finishes is only shorter.
        assert!(!found.is_empty() || matches!(letter, b'S' | b'J' | b'K' | b'Q' | b'y' | b'P'), "{} is missing", char::from(letter));
        if flips {
            let mut garbled = value.to_vec();
            *garbled.last_mut().expect("bytes") ^= 1;
            tree.insert(&key, garbled).expect("written");
            let found = verified(disk.store());
            assert!(!found.is_empty(), "{} is garbled", char::from(letter));
            assert!(found.iter().all(|why| !why.contains("0101")), "{found:?}");
        }
        tree.insert(&key, value).expect("put back");
        assert_eq!(verified(disk.store()), [] as [&str; 0]);
    }
}

#[test]
fn a_long_message_in_quarantine_is_kept_in_pieces_and_leaves_none() {
    let mut disk = OnDisk::new();
    let mut dice = Dice::new(7);
    let pieces = |disk: &mut OnDisk| disk.store().vault.tree.scan_prefix(b"q").count();
    let lengths = [0, rows::PIECE - 200, rows::PIECE - 1, rows::PIECE, 3 * rows::PIECE, 1_000_000];
    let mut kept = Vec::new();
    for length in lengths {
        let body: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        let message = Quarantined { body: body.into(), ..dice.quarantined(disk.next_quarantine_id()) };
        disk.stage(Change::Quarantine(message.clone())).expect("staged");
        kept.push(message);
    }
    disk.commit_group(Durability::Flush);
    assert!(pieces(&mut disk) >= 1_000_000 / rows::PIECE + 3, "{}", pieces(&mut disk));
    let backup = tempfile::tempdir().expect("a directory");
    let copy = backup.path().join("copy");
    disk.store().back_up(&copy, Moment(1), |_| {}).expect("a backup");
    disk.close();
    disk.reopen();
    assert_eq!(disk.store().quarantine_page(0, 100).expect("readable"), kept);
    assert_eq!(verified(disk.store()), [] as [&str; 0]);
    // Its number in a row, and then as it goes.
    for message in &kept {
        assert_eq!(disk.quarantined(message.id).expect("readable").as_ref(), Some(message));
        disk.stage(Change::Release(message.id)).expect("staged");
    }
    disk.commit_group(Durability::Flush);
    assert_eq!((pieces(&mut disk), disk.store().quarantine_page(0, 100).expect("readable").len()), (0, 0));

    let home = tempfile::tempdir().expect("a directory");
    let options = Options { key_file: disk.options().key_file.clone(), ..Options::new(home.path().join("data")) };
    restore(&copy, &options, None, |_| {}).expect("restored");
    assert_eq!(Store::open(&options).expect("a store").quarantine_page(0, 100).expect("readable"), kept);
}

/// Root works on the store of a broker that runs as somebody else. Only root can
/// try it.
#[test]
fn what_root_writes_belongs_to_the_owner_of_the_data_directory() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !super::super::hand_over::is_root() {
        return;
    }
    const SOMEBODY: u32 = 64_123;
    let home = tempfile::tempdir().expect("a directory");
    chown(home.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("given");
    let mut strangers = Vec::new();
    let mut look = |when: &str| {
        let mut dirs = vec![home.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).expect("listed").map(|entry| entry.expect("an entry").path()) {
                let metadata = std::fs::metadata(&entry).expect("there");
                if (metadata.uid(), metadata.gid()) != (SOMEBODY, SOMEBODY) {
                    strangers.push(format!("{} {when}", entry.display()));
                }
                if metadata.is_dir() {
                    dirs.push(entry);
                }
            }
        }
    };
    let options = |name: &str| Options { key_file: home.path().join("master.key"), ..Options::new(home.path().join(name)) };
    let options_of = options("data");
    let mut store = Store::open(&options_of).expect("a store");
    let to = home.path().join("copy");
    store.back_up(&to, Moment(1), |_| {}).expect("a backup");
    drop(store);
    look("after a command that opens the store, and a backup");
    let master = super::super::MasterKey::load(&options_of.key_file).expect("the key");
    super::super::admit_key(&options_of.data_dir, &master, &master).expect("admitted");
    look("after a key was exchanged");
    let restored = options("restored");
    restore(&to, &restored, None, |_| {}).expect("restored");
    look("after a backup was restored");
    drop(Store::open(&restored).expect("a store"));
    look("after what was restored was opened");
    assert!(strangers.is_empty(), "root's: {strangers:#?}");
}

#[test]
fn a_backup_is_not_put_into_what_it_is_a_copy_of() {
    let home = tempfile::tempdir().expect("a directory");
    let options = Options::new(home.path().join("data"));
    let mut store = Store::open(&options).expect("a store");
    std::os::unix::fs::symlink(&options.data_dir, home.path().join("elsewhere")).expect("a link");
    for inside in ["data", "data/backup", "data/store/deep/backup", "elsewhere/backup"] {
        let to = home.path().join(inside);
        let refused = store.back_up(&to, Moment(1), |_| {}).expect_err("refused");
        assert!(matches!(refused, BackupError::InsideStore(_)), "{inside}: {refused}");
    }
    assert!(!options.data_dir.join("backup").exists(), "nothing is made");
    store.back_up(&home.path().join("data.backup"), Moment(1), |_| {}).expect("beside it");
}
