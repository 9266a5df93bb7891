//! What is changed while no broker runs has the same consequences as with one.

use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use serde_json::{Value, json};

use super::args::{Arguments, Command};
use super::backup::{backup, restore};
use super::exit::{Exit, Failure};
use super::import::import;
use super::keys::rotate_key;
use super::quarantine::quarantine;
use super::run::load_rules;
use crate::core::about::About;
use crate::core::audit::{Order, Soundness};
use crate::core::engine::{Engine, Limits, Manner, Output};
use crate::core::ids::{DeliveryKey, EventSeq};
use crate::core::outbox::{End, Withdrawal};
use crate::core::records::{Change, Fate, Quarantined, Records};
use crate::core::samples::{moment, recipient};
use crate::core::time::Moment;
use crate::ops::{self, AuditFilter};
use crate::store::{MasterKey, Options, Store};
use crate::wire;
use crate::writer::Commit;

const ROUTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml");
const JOBLOG: &str = "20000000-0000-4000-8000-000000000001";

fn event(entity: &str, change: u8, record: &str, at: &str, content: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("{entity}-{change}-{at}"), "source": "urn:dk:star:dfdg:test",
        "type": format!("dk.star.dfdg.{entity}.v1"), "time": at, "datacontenttype": "application/json",
        "data": {
            "EntitetNavn": entity, "Aendringstype": change, "EksternIdentifier": record, "Personnummer": "0101901234",
            "Startdato": "2020-01-01", "Indhold": content,
        },
    })
}

fn member(fund: &str, record: &str, at: &str) -> Value {
    event("Akassemedlemskab", 1, record, at, &json!({ "Akassekode": fund }))
}

fn moved() -> Value {
    let mut later = member("053", "10000000-0000-4000-8000-000000000003", "2026-03-17T08:00:00Z");
    later["data"]["Startdato"] = json!("2025-01-01");
    later
}

/// A store that no broker has open.
struct Stopped(tempfile::TempDir);

impl Stopped {
    /// In which a joblog about a member of 067 waits, as a crash leaves it.
    fn with_a_joblog_that_waits() -> Self {
        let stopped = Self(tempfile::tempdir().expect("a directory"));
        let rules = load_rules(&stopped.arguments(&["check"]).common).expect("rules");
        let mut store = stopped.store();
        let mut engine = Engine::new(Arc::new(rules), Limits::default());
        engine.recover(&mut store).expect("an empty store");
        let at = moment("2026-03-16T12:00:00Z");
        let joblog = event("Joblog", 1, JOBLOG, "2026-03-16T08:00:00Z", &json!({}));
        for told in [member("067", "10000000-0000-4000-8000-000000000001", "2026-03-15T08:00:00Z"), joblog] {
            let event = wire::parse_event(told.to_string().as_bytes(), engine.rules()).expect("an event");
            let _ = engine.take_in(event, Manner::News, &mut store, at, &mut Output::default()).expect("taken in");
        }
        engine.follow_up(&mut store, at, &mut Output::default()).expect("followed up");
        Commit::commit(&mut store, true).expect("committed");
        stopped
    }

    fn store(&self) -> Store {
        Store::open(&Options::new(self.data_dir())).expect("a store")
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    fn arguments(&self, words: &[&str]) -> Arguments {
        let data_dir = self.data_dir().display().to_string();
        Arguments::parse_from(["wsb-broker", "--data-dir", &data_dir, "--routing", ROUTING].iter().chain(words))
    }

    fn run(&self, words: &[&str]) -> Result<Exit, Failure> {
        let arguments = self.arguments(words);
        match &arguments.command {
            Command::Quarantine(of) => quarantine(&arguments.common, of),
            Command::Import(of) => import(&arguments.common, of),
            Command::Backup(of) => backup(&arguments.common, of),
            Command::Restore(of) => restore(&arguments.common, of),
            Command::RotateKey(of) => rotate_key(&arguments.common, of),
            other => panic!("no test of {other:?}"),
        }
    }

    fn write(&self, name: &str, events: &[Value]) -> String {
        let file: &Path = &self.0.path().join(name);
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        std::fs::write(file, lines).expect("written");
        file.display().to_string()
    }

    /// Returns what became of the joblog's deliveries to 067 and 053.
    fn fates(&self) -> [Option<Fate>; 2] {
        let mut store = self.store();
        let key = |to: &str| DeliveryKey { recipient: recipient(to), seq: EventSeq(2) };
        ["akasse:067", "akasse:053"].map(|to| store.fate(key(to)).expect("readable"))
    }
}

/// Has a message that is an event by now retried; returns the fates.
fn retried(message: &Value) -> [Option<Fate>; 2] {
    let stopped = Stopped::with_a_joblog_that_waits();
    let body: Arc<[u8]> = message.to_string().as_bytes().into();
    let message = Quarantined { id: 1, at: Moment(0), word: "made-up".into(), reason: "made up".into(), about: About::of(&body), body };
    let mut store = stopped.store();
    store.stage(Change::Quarantine(message)).expect("staged");
    Commit::commit(&mut store, true).expect("committed");
    drop(store);
    assert_eq!(stopped.run(&["quarantine", "retry", "all"]).expect("retried"), Exit::Ok);
    stopped.fates()
}

fn withdrawn(why: Withdrawal) -> Option<Fate> {
    Some(Fate::Ended(End::Withdrawn(why)))
}

#[test]
fn what_waits_about_a_record_is_taken_back_by_a_deletion_that_is_retried() {
    let at = "2026-03-18T08:00:00Z";
    let deleted = event("Joblog", 3, JOBLOG, at, &json!({}));
    assert_eq!(retried(&deleted), [withdrawn(Withdrawal::RecordDeleted), None]);
    let erased = event("GdprSletning", 1, JOBLOG, at, &json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" }));
    assert_eq!(retried(&erased), [withdrawn(Withdrawal::RecordDeleted), None]);
}

#[test]
fn what_waits_goes_to_the_fund_of_a_membership_that_is_retried() {
    assert_eq!(retried(&moved()), [withdrawn(Withdrawal::MembershipEnded), Some(Fate::Unfinished)]);
}

#[test]
fn what_waits_goes_to_the_fund_of_a_membership_that_is_imported() {
    let stopped = Stopped::with_a_joblog_that_waits();
    let file = stopped.write("moved.ndjson", &[moved()]);
    assert_eq!(stopped.run(&["import", &file]).expect("imported"), Exit::Ok);
    assert_eq!(stopped.fates(), [withdrawn(Withdrawal::MembershipEnded), Some(Fate::Unfinished)]);
}

/// Returns the actions in the audit log of a store, the newest first.
fn noted(store: &mut Store) -> Vec<Value> {
    assert!(matches!(ops::verify_audit::<Store>(store).expect("readable"), Soundness::Sound { .. }));
    let page = ops::audit_page(store, AuditFilter::default(), Order::NewestFirst, None, 10).expect("readable");
    page["items"].as_array().into_iter().flatten().map(|entry| entry["action"].clone()).collect()
}

#[test]
fn restores_and_exchanged_keys_are_noted() {
    let stopped = Stopped::with_a_joblog_that_waits();
    let new_key = stopped.0.path().join("new.key").display().to_string();
    assert_eq!(stopped.run(&["rotate-key", "--new-key-file", &new_key]).expect("admitted"), Exit::Ok);
    stopped.run(&["rotate-key", "--finish"]).expect_err("the new key has not been put in its place");
    std::fs::rename(&new_key, MasterKey::default_path(&stopped.data_dir())).expect("put in its place");
    assert_eq!(stopped.run(&["rotate-key", "--finish"]).expect("finished"), Exit::Ok);
    assert_eq!(noted(&mut stopped.store()), ["key-rotated", "key-rotated"]);

    let backup = stopped.0.path().join("backup").display().to_string();
    assert_eq!(stopped.run(&["backup", "--to", &backup]).expect("backed up"), Exit::Ok);
    let restored = Stopped(tempfile::tempdir().expect("a directory"));
    std::fs::copy(MasterKey::default_path(&stopped.data_dir()), MasterKey::default_path(&restored.data_dir())).expect("the key");
    assert_eq!(restored.run(&["restore", "--from", &backup]).expect("restored"), Exit::Ok);
    assert_eq!(noted(&mut restored.store()), ["restored", "key-rotated", "key-rotated"]);
}

#[test]
fn a_backup_leaves_as_much_free_as_it_is_told() {
    let stopped = Stopped::with_a_joblog_that_waits();
    let backup = stopped.0.path().join("sub/backup").display().to_string();
    let refused = stopped.run(&["backup", "--to", &backup, "--min-free-mib", "1048576"]).expect_err("no room");
    assert!(refused.to_string().contains("has not enough room"), "{refused}");
    assert!(!stopped.0.path().join("sub").exists(), "nothing is left");
    assert_eq!(stopped.run(&["backup", "--to", &backup, "--min-free-mib", "0"]).expect("backed up"), Exit::Ok);
}

#[test]
fn a_first_load_is_tried_first() {
    let stopped = Stopped::with_a_joblog_that_waits();
    let known = member("067", "10000000-0000-4000-8000-000000000001", "2026-03-15T08:00:00Z");
    let joblog = event("Joblog", 1, JOBLOG, "2026-03-16T08:00:00Z", &json!({}));
    let good = stopped.write("good.ndjson", &[known.clone(), moved(), moved()]);
    let bad = stopped.write("bad.ndjson", &[known, joblog, moved()]);
    assert_eq!(stopped.run(&["import", "--dry-run", &good]).expect("tried"), Exit::Ok);
    assert_eq!(stopped.run(&["import", "--dry-run", &bad]).expect("tried"), Exit::No);
    assert_eq!(stopped.fates(), [Some(Fate::Unfinished), None], "nothing was changed");
    assert_eq!(noted(&mut stopped.store()), ["imported", "imported"]);

    let nowhere = Stopped(tempfile::tempdir().expect("a directory"));
    assert_eq!(nowhere.run(&["import", "--dry-run", &good]).expect("tried"), Exit::Ok);
    assert!(!nowhere.data_dir().exists(), "no store was made");
}
