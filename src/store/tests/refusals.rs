//! A store that cannot be opened says what is wrong, where, and what to do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::core::ids::{CitizenId, EventSeq};
use crate::core::records::{Change, Records};

use super::super::{Create, Durability, MasterKey, OpenError, Options, Store};
use super::samples::Dice;

/// A closed store with something in it.
struct Closed {
    dir: tempfile::TempDir,
    options: Options,
    events: u64,
}

impl Closed {
    fn new(events: u64) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = Options { gathered_keys: 100, ..Options::new(dir.path().join("data")) };
        let mut store = Store::open(&options).expect("a new store");
        let mut dice = Dice::new(9);
        for seq in 1..=events {
            let number = dice.personnummer();
            let citizen = match store.find_citizen(&number).expect("readable") {
                Some(citizen) => citizen,
                None => store.enroll(&number).expect("enrolled"),
            };
            let admission = dice.admission(seq, citizen, number);
            store.stage(Change::Admit(admission.into())).expect("staged");
            if seq % 10 == 0 {
                store.commit(Durability::Flush).expect("committed");
            }
        }
        store.commit(Durability::Flush).expect("committed");
        Self { dir, options, events }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.options.data_dir.join(name)
    }

    /// Opens it and returns the refusal, which must name all of `expected`.
    fn check(&self, expected: &[&str]) -> OpenError {
        let refusal = Store::open(&self.options).expect_err("refused");
        let text = refusal.to_string();
        for word in expected {
            assert!(text.contains(word), "{text:?} does not say {word:?}");
        }
        refusal
    }
}

#[test]
fn what_is_beside_it_says_something_else() {
    let closed = Closed::new(20);
    for garbage in [&b"\xff\xfe\x80"[..], b"not numbers at all\n"] {
        fs::write(closed.path("extent"), garbage).expect("written");
        let refusal = closed.check(&["extent", "does not say how far the store goes", "delete that file"]);
        assert!(matches!(refusal, OpenError::ExtentUnreadable(_)));
        assert_eq!(fs::read(closed.path("extent")).expect("readable"), garbage, "nothing was changed");
    }
    fs::remove_file(closed.path("extent")).expect("as told");
    let store = Store::open(&closed.options).expect("opened");
    assert_eq!(store.last_seq(), EventSeq(closed.events));
}

#[test]
fn another_process_has_it() {
    let closed = Closed::new(1);
    let open = Store::open(&closed.options).expect("open");
    assert!(matches!(closed.check(&["data/store", "in use", "stop"]), OpenError::Locked(_)));
    drop(open);
    Store::open(&closed.options).expect("open again right after");
}

#[test]
fn the_key_is_wrong_missing_or_exposed() {
    let mut closed = Closed::new(1);
    let right = closed.options.key_file.clone();
    closed.options.key_file = closed.dir.path().join("other.key");
    closed.check(&["other.key", "does not exist", "restore"]);
    assert!(!closed.options.key_file.exists(), "no key is made for a store that has one");
    MasterKey::create(&closed.options.key_file).expect("another key");
    assert!(matches!(closed.check(&["other.key", "data/store", "--key-file"]), OpenError::WrongKey { .. }));
    closed.options.key_file = right.clone();
    fs::set_permissions(&right, fs::Permissions::from_mode(0o644)).expect("permissions");
    closed.check(&["data.key", "chmod 600", "644"]);
    fs::set_permissions(&right, fs::Permissions::from_mode(0o600)).expect("permissions");
    closed.options.key_file = closed.path("inside.key");
    closed.check(&["inside.key", "inside the data directory"]);
}

/// With other secrets nobody would be found by their number, and everybody be taken
/// for somebody new.
#[test]
fn the_number_keys_are_damaged() {
    let closed = Closed::new(20);
    let file = closed.path("number-keys");
    let whole = fs::read(&file).expect("the secrets");
    for length in [0, 48] {
        fs::write(&file, &whole[..length]).expect("written");
        closed.check(&["number-keys", "cannot be used", "backup"]);
        assert_eq!(fs::read(&file).expect("the file").len(), length, "nothing was changed");
    }
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    fs::write(&file, &flipped).expect("written");
    closed.check(&["number-keys", "not found by their numbers", "backup"]);
    fs::write(&file, &whole).expect("written");
    Store::open(&closed.options).expect("whole again");
}

/// With an erasure under way as well nothing of it is done before that is found out.
#[test]
fn the_number_keys_are_damaged_amid_an_erasure() {
    let closed = Closed::new(20);
    let mut store = Store::open(&closed.options).expect("the store");
    // As a kill before the keys are overwritten leaves it.
    store.keys_are_held = true;
    store.erase(CitizenId(3)).expect("erased");
    drop(store);
    let file = closed.path("number-keys");
    let whole = fs::read(&file).expect("the secrets");
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    flipped[70] ^= 1;
    fs::write(&file, &flipped).expect("written");
    let keys = fs::read(closed.path("citizen-keys")).expect("the keys");
    closed.check(&["number-keys", "not found by their numbers", "backup"]);
    assert_eq!(fs::read(&file).expect("the secrets"), flipped);
    assert_eq!(fs::read(closed.path("citizen-keys")).expect("the keys"), keys);
    assert!(!closed.options.erased_list.exists());
    fs::write(&file, &whole).expect("written");
    Store::open(&closed.options).expect("whole again");
    assert_ne!(fs::read(closed.path("citizen-keys")).expect("the keys"), keys, "the erasure is finished");
}

/// An older copy put back says nothing of whom the broker has erased since.
#[test]
fn the_list_of_erased_citizens_is_an_old_copy() {
    let closed = Closed::new(20);
    let list = &closed.options.erased_list;
    let erase = |citizen| {
        let mut store = Store::open(&closed.options).expect("the store");
        store.erase(CitizenId(citizen)).expect("erased");
        drop(store);
        fs::read(list).expect("the list")
    };
    let (first, _, whole) = (erase(3), erase(4), erase(5));
    fs::write(list, &first).expect("written");
    let refusal = closed.check(&["data.erased", "has 1 entries", "has seen 3", "put the newest one back"]);
    assert!(matches!(refusal, OpenError::ErasedListShort { found: 1, seen: 3, .. }));
    assert_eq!(fs::read(list).expect("the list"), first, "nothing was changed");
    fs::write(list, &whole).expect("written");
    drop(Store::open(&closed.options).expect("the newest"));

    // Emptied, as it may be where there are no backups any more, it begins anew.
    fs::write(list, []).expect("emptied");
    drop(Store::open(&closed.options).expect("emptied"));
    fs::write(list, &first).expect("written");
    drop(Store::open(&closed.options).expect("longer than what it has seen"));
    assert_eq!(erase(6).len(), first.len() + 32);
}

#[test]
fn it_was_written_by_a_newer_broker() {
    let closed = Closed::new(1);
    let db = super::opened(&closed.path("store"));
    db.insert(super::super::rows::FORMAT, &2u32.to_be_bytes()).expect("written");
    drop(db);
    assert!(matches!(
        closed.check(&["data/store", "format 2", "up to 1", "newer broker"]),
        OpenError::NewerFormat { found: 2, known: 1, .. }
    ));
}

#[test]
fn there_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { create: Create::Never, ..Options::new(dir.path().join("data")) };
    let refusal = Store::open(&options).expect_err("refused");
    assert!(matches!(refusal, OpenError::Absent(_)) && refusal.to_string().contains("--data-dir"));
    assert!(!options.data_dir.exists() && !options.key_file.exists());
}

#[test]
fn the_keys_of_its_citizens_are_missing_or_garbled() {
    let closed = Closed::new(1);
    let path = closed.path("citizen-keys");
    let keys = fs::read(&path).expect("the keys");
    fs::remove_file(&path).expect("removed");
    assert!(matches!(closed.check(&["citizen-keys", "missing", "restore"]), OpenError::CitizenKeysMissing(_)));
    fs::write(&path, &keys[..1000]).expect("written");
    assert!(matches!(closed.check(&["citizen-keys", "shorter", "restore"]), OpenError::CitizenKeysMissing(_)));
    fs::write(&path, vec![7; keys.len()]).expect("written");
    assert!(matches!(closed.check(&["citizen-keys", "restore"]), OpenError::CitizenKeys { .. }));
    fs::write(&path, &keys).expect("written");
    Store::open(&closed.options).expect("whole again");
}

#[test]
fn it_lost_everything_or_its_end() {
    let closed = Closed::new(200);
    let whole = closed.dir.path().join("whole");
    copy(&closed.options.data_dir, &whole);
    let db = closed.path("store").join("db");
    let len = fs::metadata(&db).expect("sled's file").len();
    for tenths in 0..10 {
        restore(&whole, &closed.options.data_dir);
        let file = fs::OpenOptions::new().write(true).open(&db).expect("sled's file");
        file.set_len(len * tenths / 10).expect("cut");
        judge(&closed, &format!("cut at {tenths} tenths"));
    }
    restore(&whole, &closed.options.data_dir);
    fs::remove_dir_all(closed.path("store")).expect("removed");
    closed.check(&["damaged", "citizen keys", "restore a backup"]);
}

#[test]
fn its_files_are_garbled() {
    let closed = Closed::new(200);
    let whole = closed.dir.path().join("whole");
    copy(&closed.options.data_dir, &whole);
    let db = closed.path("store").join("db");
    let mut dice = Dice::new(77);
    for _ in 0..25 {
        restore(&whole, &closed.options.data_dir);
        let mut bytes = fs::read(&db).expect("sled's file");
        let at = dice.below(bytes.len() as u64 - 64) as usize;
        bytes[at..at + 64].iter_mut().for_each(|byte| *byte = !*byte);
        fs::write(&db, bytes).expect("written");
        judge(&closed, &format!("garbled at {at}"));
    }
}

/// Killed, or without room, while sled wrote a snapshot: what there is of that is no damage.
#[test]
fn a_snapshot_is_not_finished() {
    let closed = Closed::new(200);
    let dir = closed.path("store");
    let newest = fs::read_dir(&dir).expect("readable").map(|entry| entry.expect("an entry").path());
    let newest = newest.filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"snap."))).max();
    let whole = newest.map(|path| fs::read(path).expect("sled's snapshot")).unwrap_or_else(|| vec![7; 400]);
    for len in [0, 5, 12, 13, whole.len() / 2, whole.len() - 1] {
        fs::write(dir.join("snap.00000000FFFFFFFF.generating"), &whole[..len]).expect("written");
        let store = Store::open(&closed.options).expect("opened");
        assert_eq!(store.last_seq().0, closed.events, "{len} bytes of it");
        // Somebody else who looks takes nothing away from whoever has it open.
        let theirs = dir.join("snap.00000000FFFFFFFE.generating");
        fs::write(&theirs, []).expect("written");
        let options = Options { patience: std::time::Duration::ZERO, ..closed.options.clone() };
        assert!(matches!(Store::open(&options), Err(OpenError::Locked(_))));
        assert!(theirs.exists(), "it is gone");
    }
}

/// Whatever was done to the files: opening refuses and says so, or everything
/// is there, or reading what is not says so.
fn judge(closed: &Closed, what: &str) {
    let mut store = match Store::open(&closed.options) {
        Ok(store) => store,
        Err(refusal) => {
            let text = refusal.to_string();
            assert!(matches!(refusal, OpenError::Damaged { .. } | OpenError::CutShort { .. }), "{what}: {text}");
            assert!(text.contains("store") && text.contains("backup"), "{what}: {text}");
            return;
        }
    };
    assert_eq!(store.last_seq().0, closed.events, "{what}");
    for seq in 1..=closed.events {
        match store.admission(EventSeq(seq)) {
            Ok(Some(admission)) => {
                assert!(matches!(store.has_seen(&admission.event.mark), Ok(true) | Err(_)), "{what}: {seq}");
            }
            Ok(None) => panic!("{what}: event {seq} is lost without a word"),
            Err(_) => return,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("copied")),
        }
    }
}

fn restore(from: &Path, to: &Path) {
    fs::remove_dir_all(to).expect("removed");
    copy(from, to);
}
