//! The API on a real socket and a real store, without RabbitMQ: what is published
//! is answered here.

mod audit;
mod console;
mod lanes;
mod openapi;
mod problems;
mod replays;
mod retention;
mod roles;
mod tokens;
mod trace;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{oneshot, watch};

use super::{Backups, Call, Erasures, Guesses, Health, Looking, Persons, Server, bind, calls, serve};
use crate::amqp::{LinkState, Side};
use crate::app::now;
use crate::config::{Role, TokenHash};
use crate::config::{Tokens, load_routing, parse_retention, parse_tokens, token_lines};
use crate::core::about::About;
use crate::core::engine::{Engine, Fact, Limits, Manner, Outgoing, OutgoingOrder};
use crate::core::ids::Recipient;
use crate::core::outbox::Failure;
use crate::core::policy::Rules;
use crate::core::records::{Change, Quarantined, Records};
use crate::core::retry::Outcome;
use crate::core::time::Moment;
use crate::store::room::Missing;
use crate::store::{Options, Reader, Store, Watchdog, latest_backup};
use crate::telemetry::Metrics;
use crate::tls::Certificates;
use crate::wire;
use crate::writer::{self, Effects, Inbox, Ticket, WriterHandle};

/// The tokens of the test, by role.
pub const OPERATOR: &str = "operator-token";
pub const VIEWER: &str = "viewer-token";
pub const VENDOR: &str = "vendor-token";
pub const OTHER_VENDOR: &str = "other-vendor-token";

/// A citizen who does not exist.
pub const CITIZEN: &str = "0101901234";

/// How every publish to a queue ends.
pub type Ends = fn(&Outgoing) -> Outcome;

/// A broker without RabbitMQ.
pub struct World {
    address: SocketAddr,
    writer: WriterHandle<Store>,
    reader: Reader,
    metrics: Arc<Metrics>,
    rules: Arc<Rules>,
    pub tokens: watch::Sender<Arc<Tokens>>,
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    loop_: Option<JoinHandle<()>>,
    dir: tempfile::TempDir,
}

/// What a call answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Value,
}

impl Answer {
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status < 300, "{self:?}");
        self.body
    }

    /// Asserts that it is a problem of that status, and returns it.
    #[track_caller]
    pub fn problem(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers.get("content-type").map(String::as_str), Some("application/problem+json"), "{self:?}");
        assert_eq!((&self.body["type"], &self.body["status"]), (&json!("about:blank"), &json!(status)), "{self:?}");
        assert!(self.body["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        self.body
    }
}

/// Returns the tokens of the test.
pub fn tokens() -> Tokens {
    let roles = [("ole", "operator", OPERATOR), ("vera", "viewer", VIEWER), ("lederne", "vendor:akasse:067", VENDOR)];
    let other = ("hjoerring", "vendor:kommune:860", OTHER_VENDOR);
    let lines = |(name, role, token): (&str, &str, &str)| token_lines(name, Role::parse(role).expect("a role"), &TokenHash::of(token));
    let text: String = roles.into_iter().chain([other]).map(lines).collect();
    parse_tokens(&text).expect("tokens of the test")
}

impl World {
    /// Starts one whose publishes end as `ends` says.
    pub fn new(ends: Ends) -> Self {
        let rules = load_routing(&Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).expect("the shipped routing.toml");
        Self::of(ends, rules)
    }

    /// The same, with the shipped deletion rules.
    pub fn with_retention(ends: Ends) -> Self {
        Self::of(ends, Self::with_shipped_retention())
    }

    /// The same, where an erasure takes two persons.
    pub fn with_two_persons(ends: Ends) -> Self {
        Self::start(ends, Self::with_shipped_retention(), Persons::Two)
    }

    fn with_shipped_retention() -> Rules {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let rules = load_routing(&folder.join("routing.toml")).expect("the shipped routing.toml");
        let text = std::fs::read_to_string(folder.join("retention.toml")).expect("the shipped retention.toml");
        let schedule = parse_retention(&text).expect("the shipped retention.toml");
        rules.with_schedule(Arc::new(schedule))
    }

    fn of(ends: Ends, rules: Rules) -> Self {
        Self::start(ends, rules, Persons::One)
    }

    fn start(ends: Ends, rules: Rules, persons: Persons) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let rules = Arc::new(rules);
        let mut store = Store::open(&Options::new(dir.path().join("data"))).expect("a new store");
        let mut engine = Engine::new(Arc::clone(&rules), Limits::default());
        engine.recover(&mut store).expect("an empty store");
        engine.set_connected(true);
        let reader = store.reader();
        let inbox = Inbox::new();
        let writer = WriterHandle::new(&inbox);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let outlet = Box::new(Outlet { writer: writer.clone(), ends, metrics: Arc::clone(&metrics) });
        let loop_ = std::thread::spawn(move || {
            let watchdog = Watchdog::start();
            writer::run(engine, store, &inbox, outlet, &watchdog, writer::Settings::default()).map(drop).expect("the store works");
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (tokens, _) = watch::channel(Arc::new(tokens()));
        let mut world = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            writer,
            reader,
            metrics,
            rules,
            tokens,
            runtime,
            stop: None,
            loop_: Some(loop_),
            dir,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let server = world.server(persons);
        world.address = world.runtime.block_on(async {
            let listener = bind(world.address).await.expect("a free port");
            let address = listener.local_addr().expect("an address");
            tokio::spawn(serve(listener, server, async {
                let _ = stopped.await;
            }));
            address
        });
        world.stop = Some(stop);
        world
    }

    fn server(&self, persons: Persons) -> Server {
        let up = LinkState { consuming: Side::Up, publishing: Side::Up, blocked: None };
        Server {
            writer: self.writer.clone(),
            metrics: Arc::clone(&self.metrics),
            rules: watch::channel(Arc::clone(&self.rules)).1,
            health: Health {
                link: watch::channel(up).1,
                waiting: watch::channel(Vec::new()).1,
                writer_seen: Arc::new(AtomicI64::new(i64::MAX)),
                disk: Missing::default(),
                stopping: watch::channel(false).1,
            },
            backups: Backups::after(latest_backup::noted(&self.dir.path().join("data"))),
            erasures: Erasures::new(persons),
            looking: Looking::new(self.reader.clone()),
            replay_days: 14,
            tokens: self.tokens.subscribe(),
            guesses: Guesses::default(),
            certificates: Certificates::default(),
            dead_at_start: Vec::new(),
        }
    }

    /// Returns the folder that the store lies in.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// Returns how the latest backup is, for a process that starts on this store.
    pub fn backups_of_a_new_process(&self) -> Value {
        self.server(Persons::One).backups.describe()
    }

    /// Returns every call that the router has.
    pub fn calls(&self) -> Vec<Call> {
        calls(&Arc::new(self.server(Persons::One))).1
    }

    /// Calls a path, from the root on.
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<&str>) -> Answer {
        self.send(method, path, token, body.map(|body| ("application/json", body.as_bytes())))
    }

    /// Calls with any body.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, token: Option<&str>, body: Option<(&str, &[u8])>) -> Answer {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .allow_non_standard_methods(true);
        let agent: ureq::Agent = config.build().into();
        let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some((kind, _)) = body {
            request = request.header("content-type", kind);
        }
        let answer = match body {
            Some((_, body)) => agent.run(request.body(body.to_vec()).expect("a request")),
            None => agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
        let headers = headers.collect();
        let text = answer.body_mut().read_to_string().unwrap_or_default();
        let answer = Answer { status: answer.status().as_u16(), headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        openapi::check(method, path, &answer);
        answer
    }

    /// Gets a path of the API as the operator.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", &format!("/api/v1{path}"), Some(OPERATOR), None)
    }

    /// Posts to a path of the API as the operator.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", &format!("/api/v1{path}"), Some(OPERATOR), Some(&body.to_string()))
    }

    /// Has the writer take in events.
    #[track_caller]
    pub fn tell(&self, events: &[Value]) {
        let rules = Arc::clone(&self.rules);
        let parsed: Vec<_> =
            events.iter().map(|event| wire::parse_event(event.to_string().as_bytes(), &rules).expect("an event")).collect();
        self.writer.heard(std::time::Instant::now());
        let told = self.writer.ask(move |access| {
            for event in parsed {
                let _ = access.engine.take_in(event, Manner::News, access.records, access.now, access.out).expect("taken in");
            }
        });
        self.runtime.block_on(told).expect("the writer runs");
    }

    /// Tells the engine how many messages lie in a queue now.
    #[track_caller]
    pub fn look_into(&self, recipient: &'static str, depth: u64) {
        let recipient = Recipient::parse(recipient).expect("a recipient");
        let told = self.writer.ask(move |access| {
            let looked = access.engine.notices_to_look_at().into_iter().find(|(of, _)| *of == recipient);
            let (_, confirmed) = looked.expect("something lies there");
            access.engine.notices_looked_at(recipient, confirmed, depth, access.records).expect("noted");
        });
        self.runtime.block_on(told).expect("the writer runs");
    }

    /// Puts something into quarantine.
    #[track_caller]
    pub fn quarantine(&self, body: &str) {
        let body: Arc<[u8]> = body.as_bytes().into();
        let told = self.writer.ask(move |access| {
            let id = crate::core::records::Records::next_quarantine_id(access.records);
            let message =
                Quarantined { id, at: access.now, word: "not-json".into(), reason: "not JSON".into(), about: About::of(&body), body };
            access.engine.quarantine(message, access.records, access.out).expect("quarantined");
        });
        self.runtime.block_on(told).expect("the writer runs");
    }

    /// Has the journal forget every event, as if the horizon of traces had passed.
    pub fn forget_events(&self) {
        // One more, since the newest row stays; what is unfinished has rows by then.
        self.tell(&[event("newest", "Frist", JOBCENTRE, "2026-03-18T08:00:00Z", &json!({}))]);
        self.until("/events/newest/trace", |trace| trace["events"][0]["taken_in_at"].is_string());
        for _ in 0..2 {
            let told = self.writer.ask(|access| {
                let newest = access.records.last_seq();
                access.records.stage(Change::SetLowWater(newest)).expect("staged");
                access.records.prune(access.now, 1_000).expect("pruned")
            });
            let _ = self.runtime.block_on(told).expect("the writer runs");
        }
    }

    /// Waits until the answer to a path is as wanted.
    #[track_caller]
    pub fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = std::time::Instant::now();
        loop {
            let answer = self.get(path);
            if wanted(&answer.body) {
                return answer.body;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "never as wanted: {answer:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Returns a metric.
    pub fn metric(&self, line: &str) -> f64 {
        let answer = self.call("GET", "/metrics", None, None);
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok()).unwrap_or_else(|| panic!("no metric {line}: {text}"))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.writer.close();
        if let Some(loop_) = self.loop_.take() {
            let _ = loop_.join();
        }
    }
}

/// Answers every attempt at once.
struct Outlet {
    writer: WriterHandle<Store>,
    ends: Ends,
    metrics: Arc<Metrics>,
}

impl Effects for Outlet {
    fn acknowledge(&mut self, _: Ticket) {}

    fn order(&mut self, _: Vec<OutgoingOrder>, _: Instant) {}

    fn ask_whether_heard(&mut self) {
        self.writer.heard(std::time::Instant::now());
    }

    fn attempt(&mut self, attempts: Vec<Outgoing>, _: Instant) {
        let ends = self.ends;
        self.writer.report(attempts.iter().map(|outgoing| (outgoing.key, ends(outgoing))));
    }

    fn report(&mut self, facts: &[Fact]) {
        self.metrics.record(facts);
    }

    fn committed(&mut self, _: Duration, _: usize) {}

    fn has_room(&mut self) -> bool {
        true
    }

    fn now(&mut self) -> Moment {
        now()
    }
}

/// Everything arrives.
pub fn confirmed(_: &Outgoing) -> Outcome {
    Outcome::Confirmed
}

/// No Indkaldelse reaches Lederne; everything else arrives.
pub fn lederne_is_gone(outgoing: &Outgoing) -> Outcome {
    match (&*outgoing.queue, &*outgoing.event.entity) {
        ("wsb.akasse.067", "Indkaldelse") => Outcome::Failed { failure: Failure::Returned, code: 312 },
        _ => Outcome::Confirmed,
    }
}

/// Returns an event about the citizen of the test.
pub fn event(id: &str, entity: &str, record: &str, time: &str, content: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "urn:dk:star:dfdg:test", "type": format!("dk.star.dfdg.{entity}.v1"),
        "time": time, "datacontenttype": "application/json",
        "data": {
            "EntitetNavn": entity, "Aendringstype": 1, "EksternIdentifier": record, "VersionIdentifier": null, "Personnummer": CITIZEN,
            "RegistrerendeMyndighed": { "Type": "kommune", "Kode": "860" }, "Startdato": "2020-01-01", "Slutdato": null, "Indhold": content,
        },
    })
}

pub const MEMBERSHIP: &str = "10000000-0000-4000-8000-000000000001";
pub const JOBCENTRE: &str = "10000000-0000-4000-8000-000000000002";

/// Makes the citizen a member of Lederne, with Hjørring's jobcentre.
pub fn known() -> [Value; 2] {
    [
        event("known-1", "Akassemedlemskab", MEMBERSHIP, "2026-03-01T08:00:00Z", &json!({ "Akassekode": "067" })),
        event("known-2", "Jobcentertilknytning", JOBCENTRE, "2026-03-01T08:00:00Z", &json!({ "Jobcenterkode": "86001" })),
    ]
}

/// Returns an event that goes to both of them.
pub fn indkaldelse(id: &str) -> Value {
    event(id, "Indkaldelse", "20000000-0000-4000-8000-000000000001", "2026-03-16T08:00:00Z", &json!({}))
}
