//! An erasure leaves nothing that anybody could read, wherever it is cut short:
//! marked values are planted, and every file is searched, raw and with every key
//! that is left.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring::hmac;

use crate::core::about::About;
use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, ExternalId, Personnummer};
use crate::core::records::{Archive, Change, Quarantined, Records, Unclaimed};
use crate::core::time::Moment;

use super::super::codec::Input;
use super::super::erasing::HASHED_AT_ONCE;
use super::super::master::MasterKey;
use super::super::numbering::Stage;
use super::super::root::RootKey;
use super::super::seal::SealKey;
use super::super::{Durability, Options, Store, restore};
use super::samples::Dice;
use super::sealed::{NUMBER, PLANTED, each_file, number, planted_event};
use super::victim::{Victim, say};

/// Where the child finds its store, and how often it may write a file.
const DIR: &str = "WSB_TEST_ERASE_DIR";

pub(super) fn options(dir: &Path) -> Options {
    Options { gathered_keys: 40, ..Options::new(dir.join("data")) }
}

/// A store with the marked citizen and others.
fn plant(dir: &Path) -> (Store, CitizenId) {
    let mut store = Store::open(&options(dir)).expect("a store");
    let mut dice = Dice::new(6);
    let citizen = store.enroll(&number(NUMBER)).expect("enrolled");
    for seq in 1..=30 {
        let is_marked = seq % 3 == 0;
        let other = Dice::new(seq + 900).personnummer();
        let (about, event) =
            if is_marked { (citizen, planted_event(&mut dice)) } else { (store.enroll(&other).expect("enrolled"), dice.event(other)) };
        let mut admission = dice.admission(seq, about, other);
        admission.event = Arc::new(event);
        let told = admission.deliveries.first().map(|(recipient, _)| *recipient);
        let event = Arc::clone(&admission.event);
        store.stage(Change::Admit(Arc::new(admission))).expect("staged");
        if let Some(recipient) = told {
            let key = DeliveryKey { recipient, seq: EventSeq(seq) };
            store.stage(Change::PutDelivery(dice.delivery(key, about, Arc::clone(&event)))).expect("staged");
            let unclaimed = Unclaimed { delivery: dice.delivery(key, about, event), at: Moment(1), earlier: dice.earlier() };
            store.stage(Change::PutUnclaimed(Box::new(unclaimed))).expect("staged");
        }
        if is_marked {
            let planted = || ExternalId::parse(PLANTED).expect("an id");
            let mut clocks = dice.clocks(citizen, 3);
            clocks.records.iter_mut().for_each(|clock| clock.external_id = planted());
            clocks.tombstones.iter_mut().for_each(|stone| stone.external_id = planted());
            store.stage(Change::PutClocks(Arc::new(clocks))).expect("staged");
            let mut unexpected = dice.unexpected(EventSeq(seq), citizen);
            unexpected.record.iter_mut().for_each(|deleted| deleted.external_id = planted());
            store.stage(Change::NoteUnexpected(Arc::new(unexpected))).expect("staged");
            // The first number is that of somebody who stays.
            let text = format!("{{\"Personnummer\":\"{}\",\"Til\":\"{NUMBER}\",\"x\":\"{PLANTED}\"}}", other.digits());
            let body: Arc<[u8]> = text.as_bytes().into();
            let id = store.next_quarantine_id();
            store
                .stage(Change::Quarantine(Quarantined { body, about: About::of(text.as_bytes()), ..dice.quarantined(id) }))
                .expect("staged");
        }
        store.commit(Durability::Flush).expect("committed");
    }
    (store, citizen)
}

/// Searches every file of the directory: for the marked values as they stand, for
/// what leads to the number with the keys that are left, and for anything that
/// was sealed and that one of the keys that are left unseals.
pub(super) fn nothing_is_left(dir: &Path, store: &Store, sealed: &[(Vec<u8>, Vec<u8>)], number_secrets: &[[u8; 32]]) {
    let keyring = &store.vault.keyring;
    let digest = keyring.number(&number(NUMBER));
    let mut marks: Vec<Vec<u8>> = vec![NUMBER.as_bytes().to_vec(), PLANTED.as_bytes().to_vec(), digest.to_vec()];
    // Whatever a hash of the number by a secret that is left would be.
    let left: Vec<[u8; 17]> = [0, 1].map(|which| keyring.numbering.place_by(which, &digest)).to_vec();
    marks.extend(left.iter().map(|place| place[1..].to_vec()));
    marks.extend(number_secrets.iter().map(|secret| secret.to_vec()));
    let mut searched = 0;
    each_file(dir, &mut |path, bytes| {
        searched += bytes.len();
        for mark in &marks {
            assert!(!bytes.windows(mark.len()).any(|window| window == &mark[..]), "{} holds a mark", path.display());
        }
    });
    assert!(searched > 10_000);
    // No key that is left opens anything of what there was.
    let slots = keyring.slots();
    for (bound_to, sealed) in sealed {
        for slot in 0..slots.min(300) {
            let key = store.vault.key(slot).expect("a key");
            assert!(key.seal.open(bound_to, sealed).is_err(), "slot {slot} unseals what is gone");
        }
        assert!(keyring.store.open(bound_to, sealed).is_err());
    }
}

/// Everything that is sealed about the citizen, with what it is bound to.
pub(super) fn sealed_of(store: &Store, citizen: CitizenId) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    for row in store.vault.tree.iter() {
        let (key, value) = row.expect("readable");
        let slot_at = |at: usize| value.get(at..at + 4).map(|slot| u32::from_be_bytes(slot.try_into().expect("four bytes")));
        match key[0] {
            b'C' if key[1..] == citizen.0.to_be_bytes() => found.push((key.to_vec(), value[1..].to_vec())),
            b'T' if key[1..5] == citizen.0.to_be_bytes() => {
                // The first page has the day on which to look before it.
                let from = if key[5..] == [0, 0] { 5 } else { 1 };
                found.push((key.to_vec(), value[from..].to_vec()));
            }
            b'F' if slot_at(1) == Some(citizen.0) => found.push((key.to_vec(), value[5..].to_vec())),
            b't' if key[1] == b's' && slot_at(1) == Some(citizen.0) => found.push((key.to_vec(), value[13..].to_vec())),
            b'w' if key[1..5] == citizen.0.to_be_bytes() => found.push((key.to_vec(), value[9..].to_vec())),
            b'y' => {
                let mut input = Input::versioned(&value, "an unexpected deletion").expect("a version");
                let _ = (input.u64(), input.u8(), input.text::<String>(), input.text::<String>());
                if input.u32() == Ok(citizen.0) {
                    found.push((key.to_vec(), input.rest().to_vec()));
                }
            }
            b'W' | b'D' if slot_at(2) == Some(citizen.0) => found.push((key.to_vec(), value[6..].to_vec())),
            b'J' => {
                let first = super::super::rows::first_u64(&key).expect("a seq");
                for entry in super::super::journal::entries(first, &value).map(|entry| entry.expect("an entry")) {
                    if entry.slot == citizen.0 {
                        found.push((super::super::rows::admission(entry.seq, entry.slot).as_ref().to_vec(), entry.sealed.to_vec()));
                    }
                }
            }
            _ => {}
        }
    }
    let kinds: BTreeSet<u8> = found.iter().map(|(key, _)| key[0]).collect();
    assert!(kinds.len() > 2 && found.len() > 10, "{kinds:?}");
    found
}

pub(super) fn secrets(dir: &Path) -> [[u8; 32]; 2] {
    let bytes = std::fs::read(dir.join("data/number-keys")).expect("the secrets");
    [32, 64].map(|at| bytes[at..at + 32].try_into().expect("32 bytes"))
}

#[test]
fn nothing_of_an_erased_citizen_can_be_read_with_any_key_that_is_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, citizen) = plant(dir.path());
    let sealed = sealed_of(&store, citizen);
    for (bound_to, sealed) in &sealed {
        assert!(store.vault.key(citizen.0).expect("a key").seal.open(bound_to, sealed).is_ok(), "it can be read until then");
    }
    let before = secrets(dir.path());
    store.erase(citizen).expect("erased");
    assert_eq!(store.vault.keyring.numbering.turnover().stage, Stage::Steady);
    let in_use = store.vault.keyring.numbering.turnover().current;
    assert_eq!(in_use, 1, "all other numbers are hashed with the other secret");
    nothing_is_left(dir.path(), &store, &sealed, &before[..1]);
    for seq in (1..=30).filter(|seq| seq % 3 != 0) {
        assert!(store.find_citizen(&Dice::new(seq + 900).personnummer()).expect("readable").is_some(), "{seq}");
    }
    let mut found = Vec::new();
    let _ = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    found.retain(|why| !why.contains("attempts and state"));
    assert_eq!(found, [] as [&str; 0]);
}

/// What an enemy would need: the random bytes that the citizen's keys derive from, or
/// one of these keys. They are in one file only, and after the erasure in none, a
/// backup made afterwards included; nothing in old segments leads to them, since they
/// never were in sled.
#[test]
fn what_a_citizens_key_derives_from_is_nowhere_any_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let (mut store, citizen) = plant(dir.path());
    let seed = store.vault.keyring.seed(citizen.0).expect("its bytes");
    let master = MasterKey::load(&options(dir.path()).key_file).expect("the key");
    let root = RootKey::open(&options(dir.path()).data_dir, &master).expect("the root key");
    let mut derived = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, &root.subkey("citizens")));
    derived.update(&seed);
    derived.update(&citizen.0.to_be_bytes());
    let derived = derived.sign();
    let marks = [&seed[..], &derived.as_ref()[..32], &derived.as_ref()[32..48]];
    let holders = |marks: &[&[u8]]| {
        let mut found = Vec::new();
        each_file(dir.path(), &mut |path, bytes| {
            if marks.iter().any(|mark| bytes.windows(mark.len()).any(|window| window == *mark)) {
                found.push(path.strip_prefix(dir.path()).expect("in it").display().to_string());
            }
        });
        found
    };
    // These are the keys: they open what is sealed.
    let (bound_to, sealed) = sealed_of(&store, citizen).swap_remove(0);
    let key = SealKey::new(derived.as_ref()[..32].try_into().expect("32 bytes"));
    assert!(key.open(&bound_to, &sealed).is_ok());
    assert_eq!(holders(&marks), ["data/citizen-keys"]);

    store.erase(citizen).expect("erased");
    store.back_up(&dir.path().join("backup"), Moment(0), |_| {}).expect("backed up");
    drop(store);
    assert_eq!(holders(&marks), [""; 0]);
    let copy = Options {
        erased_list: dir.path().join("none.erased"),
        key_file: options(dir.path()).key_file,
        ..Options::new(dir.path().join("restored"))
    };
    std::fs::copy(options(dir.path()).erased_list, &copy.erased_list).expect("the list");
    restore(&dir.path().join("backup"), &copy, None, |_| {}).expect("restored");
    let mut restored = Store::open(&copy).expect("the store");
    assert_eq!(restored.find_citizen(&number(NUMBER)).expect("readable"), None);
    drop(restored);
    assert_eq!(holders(&marks), [""; 0]);
}

/// A message is found by every number in it, also once all are hashed anew; one that
/// a former version filed under its first number is filed anew.
#[test]
fn a_message_in_quarantine_goes_with_each_of_whom_it_names() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(&options(dir.path())).expect("a store");
    let [first, second, third] = [1, 2, 3].map(|seed| Dice::new(seed).personnummer());
    let citizens = [first, second, third].map(|number| store.enroll(&number).expect("enrolled"));
    let text =
        |of: &[Personnummer]| of.iter().map(|number| format!("{}-{} ", &number.digits()[..6], &number.digits()[6..])).collect::<String>();
    for (id, named) in [(1, vec![first, second]), (2, vec![third, second])] {
        let body = Arc::from(text(&named).as_bytes());
        let message = Quarantined { body, about: About::These(vec![named[0]]), ..Dice::new(4).quarantined(id) };
        store.stage(Change::Quarantine(message)).expect("staged");
    }
    store.group.put(super::super::rows::FILED_BY, vec![1, 0]);
    store.commit(Durability::Flush).expect("committed");
    assert_eq!(store.quarantined_about(&second).expect("readable"), [] as [u64; 0]);
    let rows = |store: &Store, letter: &str| store.vault.tree.scan_prefix(letter).count();

    drop(store);
    let mut store = Store::open(&options(dir.path())).expect("the store");
    assert_eq!((rows(&store, "Q"), rows(&store, "K")), (2, 4));
    assert_eq!(store.quarantined_about(&second).expect("readable"), [1, 2]);
    let slots = store.given.next_slot;
    drop(store);
    let mut store = Store::open(&options(dir.path())).expect("the store");
    assert_eq!(store.given.next_slot, slots, "once only");

    store.erase(citizens[0]).expect("erased");
    assert_eq!((rows(&store, "Q"), rows(&store, "K")), (1, 2));
    assert_eq!(store.vault.keyring.numbering.turnover().current, 1, "all are hashed anew");
    assert_eq!(store.quarantined_about(&second).expect("readable"), [2]);
    assert_eq!(store.quarantined_about(&third).expect("readable"), [2]);
    store.erase(citizens[1]).expect("erased");
    assert_eq!((rows(&store, "Q"), rows(&store, "K")), (0, 0));
    let mut found = Vec::new();
    let _ = store.verify(|why| found.push(why.to_owned()), |_| {}).expect("readable");
    assert_eq!(found, [] as [&str; 0]);
}

/// More numbers than one erasure hashes anew: the rest follows while the store is
/// tended, and every number is found all the while.
#[test]
fn many_numbers_are_hashed_anew_bit_by_bit() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(&options(dir.path())).expect("a store");
    let numbers: Vec<Personnummer> = (0..6 * HASHED_AT_ONCE as u64)
        .map(|at| Personnummer::parse(&format!("{:02}{:02}{:06}", at % 28 + 1, at / 28 % 12 + 1, at)).expect("a number"))
        .collect();
    for number in &numbers {
        store.enroll(number).expect("enrolled");
    }
    store.commit(Durability::Flush).expect("committed");
    let gone = store.find_citizen(&numbers[7]).expect("readable").expect("known");
    let before = secrets(dir.path());
    store.erase(gone).expect("erased");
    let mut slices = 0;
    while store.vault.keyring.numbering.turnover().stage != Stage::Steady {
        // The caches would answer for the rows.
        store.numbers.clear();
        for (at, number) in numbers.iter().enumerate().step_by(101) {
            assert_eq!(store.find_citizen(number).expect("readable").is_some(), at != 7);
        }
        let newcomer = Personnummer::parse(&format!("3112{:06}", 900_000 + slices)).expect("a number");
        store.enroll(&newcomer).expect("enrolled");
        store.commit(Durability::Flush).expect("committed");
        let _ = store.prune(Moment(0), 1).expect("tended");
        store.commit(Durability::Flush).expect("committed");
        if slices == 1 {
            drop(store);
            store = Store::open(&options(dir.path())).expect("the store");
        }
        slices += 1;
        assert!(slices < 50);
    }
    assert!(slices > 1);
    store.commit(Durability::Flush).expect("committed");
    assert_ne!(secrets(dir.path())[0], before[0]);
    assert_eq!(secrets(dir.path())[1], before[1]);
    for (at, number) in numbers.iter().enumerate() {
        assert_eq!(store.find_citizen(number).expect("readable").is_some(), at != 7, "{at}");
    }
}

/// Erases, until it is killed. Does nothing in an ordinary run of the tests.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let mut store = Store::open(&options(Path::new(&dir))).expect("the store");
    say("opened");
    if let Some(citizen) = store.find_citizen(&number(NUMBER)).expect("readable") {
        store.erase(citizen).expect("erased");
    }
    say("erased");
}

/// Killed at moments all over the erasure; whatever the next opening finds, it
/// either has the citizen whole, or nothing, and erasing goes on from there.
#[test]
fn an_erasure_that_is_killed_is_whole_or_nothing_and_can_be_finished() {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, citizen) = plant(dir.path());
    let sealed = sealed_of(&store, citizen);
    let before = secrets(dir.path());
    drop(store);
    let mut dice = Dice::new(17);
    let mut rounds = 0;
    loop {
        // An erasure takes some milliseconds: somewhere in it.
        let said = Victim::start("erasing::child", DIR, dir.path()).kill_after(Duration::from_micros(dice.below(4000 + 500 * rounds)));
        let is_over = said.iter().any(|line| line == "erased");
        let mut store = Store::open(&options(dir.path())).expect("the store");
        let known = store.find_citizen(&number(NUMBER)).expect("readable");
        assert!(known.is_none() || !is_over, "what was said to be erased is");
        match known {
            Some(citizen) => {
                assert!(store.citizen(citizen).expect("readable").is_some());
                let rows = store.rows_of(citizen).expect("readable");
                assert!(rows.iter().all(|key| store.delivery(*key).expect("readable").is_some()), "all of it is there");
            }
            None => {
                assert_eq!(store.citizen(citizen).expect("readable"), None);
                assert_eq!(store.rows_of(citizen).expect("readable"), []);
                assert!((1..=30).filter(|seq| seq % 3 == 0).all(|seq| store.admission(EventSeq(seq)).expect("readable").is_none()));
            }
        }
        rounds += 1;
        if known.is_none() {
            // What a crash has left of hashing numbers anew is done while tending.
            for _ in 0..20 {
                let _ = store.prune(Moment(0), 1).expect("tended");
                store.commit(Durability::Flush).expect("committed");
            }
            nothing_is_left(dir.path(), &store, &sealed, &before[..1]);
            break;
        }
        assert!(rounds < 200, "it gets there some time");
    }
}

/// Every state that a crash can leave between two steps, made by hand: after the
/// rows, after the list, after the slots.
#[test]
fn each_step_is_taken_again_by_the_next_opening() {
    for step in 0..3 {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut store, citizen) = plant(dir.path());
        let sealed = sealed_of(&store, citizen);
        let before = secrets(dir.path());
        // As a commit with a flush of sled's alone leaves it: no key is gone yet.
        store.keys_are_held = true;
        store.erase(citizen).expect("erased");
        let slot = citizen.0;
        let seed = store.vault.keyring.seed(slot).expect("its bytes");
        if step > 0 {
            let entry = store.erased.entry(slot, &seed);
            store.erased.add(&[entry]).expect("added");
        }
        if step > 1 {
            store.vault.keyring.erase(&[slot]).expect("overwritten");
        }
        drop(store);
        let mut store = Store::open(&options(dir.path())).expect("the store");
        assert_ne!(store.vault.keyring.seed(slot).expect("bytes"), seed, "step {step}");
        for _ in 0..20 {
            let _ = store.prune(Moment(0), 1).expect("tended");
            store.commit(Durability::Flush).expect("committed");
        }
        nothing_is_left(dir.path(), &store, &sealed, &before[..1]);
    }
}
