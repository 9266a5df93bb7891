//! Who is told where every flush takes long: whatever is heard meanwhile counts.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::{Effects, Inbox, Input, Received, Settings, Ticket, WriterHandle, run};
use crate::core::engine::{Engine, Fact, Limits, Outgoing, OutgoingOrder};
use crate::core::event::{Change, Content, Event};
use crate::core::policy::{Audience, Domain, RetryPolicy, Rules};
use crate::core::records::Records;
use crate::core::samples::{event, fund, jobcentre, kind, moment, number, rule_of};
use crate::core::time::Moment;
use crate::store::{Options, Store, Watchdog};

/// Longer than an answer counts at all.
const FLUSH: Duration = Duration::from_millis(120);
const LIMIT: Duration = Duration::from_secs(20);

type Meanwhile = Arc<Mutex<Box<dyn FnMut() -> Vec<Event> + Send>>>;

/// What happens with a disk that is slow. What has to be heard is heard at once.
struct SlowDisk {
    writer: WriterHandle<Store>,
    /// The changes that come while a group with events is flushed.
    meanwhile: Meanwhile,
    told: Sender<String>,
    runtime: Arc<Runtime>,
}

impl Effects for SlowDisk {
    fn acknowledge(&mut self, _: Ticket) {}
    fn attempt(&mut self, attempts: Vec<Outgoing>, _: Instant) {
        // Whoever has heard enough listens no more.
        attempts.iter().for_each(|attempt| drop(self.told.send(attempt.key.recipient.to_string())));
    }
    fn order(&mut self, _: Vec<OutgoingOrder>, _: Instant) {}
    fn ask_whether_heard(&mut self) {
        let writer = self.writer.clone();
        self.runtime.spawn(async move { writer.heard(Instant::now()) });
    }
    fn report(&mut self, _: &[Fact]) {}
    fn committed(&mut self, _: Duration, events: usize) {
        if events > 0 {
            let changes = (self.meanwhile.lock().expect("whole"))();
            self.runtime.block_on(self.writer.send_urgent(changes.into_iter().map(received).collect()));
            std::thread::sleep(FLUSH);
        }
    }
    fn has_room(&mut self) -> bool {
        true
    }
    fn now(&mut self) -> Moment {
        moment("2026-03-17T08:00:00Z")
    }
}

fn received(event: Event) -> Received {
    Received { input: Input::Event(Box::new(event)), ticket: Ticket { queue: 0, epoch: 1, tag: 1 } }
}

/// Two funds, and a type that is told to one's own members.
fn rules() -> Rules {
    let kinds = vec![
        kind("Akassemedlemskab", Domain::Tilknytning, &[]),
        kind("Jobcentertilknytning", Domain::Tilknytning, &[]),
        kind("Indkaldelse", Domain::Kontaktforloeb, &[Audience::AkasseOwnMembers]),
    ];
    Rules::new(kinds, ["akasse:007", "akasse:067"].map(rule_of).into(), RetryPolicy::default())
}

/// Has a member of 067 invited while `meanwhile` happens at every flush; returns who is told first,
/// if anybody is.
fn told_first(meanwhile: impl FnMut() -> Vec<Event> + Send + 'static) -> Option<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut store = Store::open(&Options::new(dir.path().join("data"))).expect("a store");
    let mut engine = Engine::new(Arc::new(rules()), Limits::default());
    engine.recover(&mut store).expect("readable");
    engine.set_connected(true);
    let inbox = Inbox::new();
    let writer = WriterHandle::new(&inbox);
    let runtime = Arc::new(Builder::new_multi_thread().worker_threads(1).build().expect("a runtime"));
    let quiet: Box<dyn FnMut() -> Vec<Event> + Send> = Box::new(Vec::new);
    let changes = Arc::new(Mutex::new(quiet));
    let (told, listens) = channel();
    let outlet = SlowDisk { writer: writer.clone(), meanwhile: Arc::clone(&changes), told, runtime: Arc::clone(&runtime) };
    let running = std::thread::spawn(move || {
        let _dir = dir;
        run(engine, store, &inbox, Box::new(outlet), &Watchdog::start(), Settings::default()).map(drop)
    });
    runtime.block_on(async {
        writer.send_urgent(vec![received(event("m", 8, Change::Created, "2020-01-01..", fund("067")))]).await;
        writer.ask(|access| access.records.find_citizen(&number("0101019001")).expect("readable")).await.expect("runs");
        *changes.lock().expect("whole") = Box::new(meanwhile);
        let invitation = received(event("i", 9, Change::Created, "..", Content::Other));
        writer.send_heard(vec![invitation], Instant::now()).await;
    });
    let first = listens.recv_timeout(LIMIT);
    writer.close();
    running.join().expect("it ends").expect("the store works");
    first.ok()
}

#[test]
fn whoever_is_left_during_a_flush_is_not_told() {
    let mut transfer = vec![
        event("m", 10, Change::Updated, "2020-01-01..2026-03-01", fund("067")),
        event("n", 10, Change::Created, "2026-03-02..", fund("007")),
    ];
    let told = told_first(move || std::mem::take(&mut transfer));
    assert_eq!(told.as_deref(), Some("akasse:007"));
}

#[test]
fn changes_at_every_flush_hold_nobody_up() {
    let mut hours = (0..24).cycle();
    let told = told_first(move || {
        let hour = hours.next().unwrap_or_default();
        vec![event(&format!("j{hour}"), hour, Change::Created, "2020-01-01..", jobcentre("86000"))]
    });
    assert_eq!(told.as_deref(), Some("akasse:067"));
}
