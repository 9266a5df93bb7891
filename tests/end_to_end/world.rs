//! What most tests begin with: a RabbitMQ and a broker to themselves, and a
//! routing file with few recipients.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::rig::{Amqp, Broker, Event, Message, Options, jobcenter, membership, residence, shared_node, until};

/// Longer than anything should take on a machine that also compiles.
pub const LIMIT: Duration = Duration::from_secs(90);

/// The recipients of most tests: each costs time to declare.
pub const FEW: [&str; 6] = ["akasse:053", "akasse:067", "akasse:083", "kommune:101", "kommune:751", "kommune:860"];

/// Returns a size that the environment may change.
pub fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The shipped `routing.toml`, changed for a test.
#[derive(Clone, Debug)]
pub struct Routing(String);

impl Routing {
    /// All of it.
    pub fn shipped() -> Self {
        Self(
            fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml")).expect("routing.toml is part of the repository"),
        )
    }

    /// With these recipients only.
    pub fn only(recipients: &[&str]) -> Self {
        let Self(text) = Self::shipped();
        let kept = |line: &&str| {
            !line.starts_with("  { authority = ") || recipients.iter().any(|recipient| line.contains(&format!("\"{recipient}\"")))
        };
        Self(text.lines().filter(kept).map(|line| format!("{line}\n")).collect())
    }

    /// With the recipients of most tests.
    pub fn few() -> Self {
        Self::only(&FEW)
    }

    /// Replaces a part that stands there.
    #[track_caller]
    pub fn with(self, part: &str, by: &str) -> Self {
        assert!(self.0.contains(part), "routing.toml has no {part:?}");
        Self(self.0.replacen(part, by, 1))
    }

    /// Sets the retry policy.
    pub fn retry(self, initial_ms: u64, max_ms: u64, give_up_after_s: u64) -> Self {
        self.with("\ninitial_ms = 1000", &format!("\ninitial_ms = {initial_ms}"))
            .with("\nmax_ms = 3600000", &format!("\nmax_ms = {max_ms}"))
            .with("\ngive_up_after_s = 259200", &format!("\ngive_up_after_s = {give_up_after_s}"))
    }

    /// Sets the window of unfetched messages.
    pub fn window(self, messages: u32) -> Self {
        self.with("\nmax-unfetched = 1000", &format!("\nmax-unfetched = {messages}"))
    }

    /// Adds a type at the end.
    pub fn plus_type(mut self, name: &str, id: u32, domain: &str, audiences: &str) -> Self {
        self.0.push_str(&format!("\n[[type]]\nname = \"{name}\"\nentity-id = {id}\ndomain = \"{domain}\"\naudiences = {audiences}\n"));
        self
    }

    /// Adds a line of a recipient.
    pub fn plus_recipient(self, line: &str) -> Self {
        self.with("\n  # The 98 kommuner.", &format!("\n  {line}\n\n  # The 98 kommuner."))
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// A broker with a vhost and a routing file of its own.
pub struct World {
    /// The broker; started or not.
    pub broker: Broker,
    /// A plain client.
    pub amqp: Amqp,
    /// Where RabbitMQ is.
    pub uri: String,
    // Holds the routing file; last, so that it outlives the broker.
    directory: TempDir,
}

impl World {
    /// Prepares, and starts nothing.
    pub fn new(name: &str, routing: &Routing) -> Self {
        Self::at(&shared_node().vhost(name), routing, |options| options)
    }

    /// Prepares at a RabbitMQ, with further options.
    pub fn at(uri: &str, routing: &Routing, options: impl FnOnce(Options) -> Options) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("routing.toml");
        fs::write(&file, routing.text()).expect("the temporary directory is writable");
        let broker = Broker::prepare(options(Options::new(uri).routing(file)));
        Self { broker, amqp: Amqp::connect(uri), uri: uri.to_owned(), directory }
    }

    /// Prepares, and starts the broker.
    pub fn running(name: &str, routing: &Routing) -> Self {
        let mut world = Self::new(name, routing);
        world.broker.start_again();
        world
    }

    /// Returns the path of a file beside the routing file.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file beside the routing file, and returns its path as text.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.file(name);
        fs::write(&path, text).expect("the temporary directory is writable");
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    }

    /// Publishes events in order and waits for their confirms.
    pub fn publish<'a>(&self, events: impl IntoIterator<Item = &'a Event>) {
        let messages: Vec<_> = events.into_iter().map(Event::message).collect();
        self.amqp.publish_all("dfdg.events", messages);
    }

    /// Waits until so many events have been consumed since the broker started,
    /// and nothing of them is under way.
    #[track_caller]
    pub fn settle(&self, events: usize) {
        until(LIMIT, &format!("{events} events are consumed"), || self.consumed() >= events);
        self.idle();
        assert_eq!(self.consumed(), events, "events consumed");
    }

    /// Waits until no delivery is unfinished.
    #[track_caller]
    pub fn idle(&self) {
        until(LIMIT, "nothing is pending or retrying", || {
            let metrics = self.broker.metrics();
            metrics.sum("wsb_pending", &[]) + metrics.sum("wsb_retrying", &[]) == 0.0
        });
    }

    /// Publishes events and waits until everything about them is done. Counts
    /// from what the broker has consumed already.
    #[track_caller]
    pub fn tell<'a>(&self, events: impl IntoIterator<Item = &'a Event>) {
        let before = self.consumed();
        let events: Vec<&Event> = events.into_iter().collect();
        self.publish(events.iter().copied());
        self.settle(before + events.len());
    }

    /// Returns how many events the running broker has consumed.
    pub fn consumed(&self) -> usize {
        self.count("wsb_events_consumed_total", &[])
    }

    /// Returns a metric that counts.
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.broker.metrics().sum(name, labels) as usize
    }

    /// Takes all that lies in the queue of a recipient.
    pub fn take(&self, recipient: &str) -> Vec<Message> {
        self.amqp.take_all(&queue(recipient))
    }

    /// Takes everything out of the queues of these recipients.
    pub fn empty(&self, recipients: &[&str]) {
        for recipient in recipients {
            self.take(recipient);
        }
    }

    /// Returns how many messages lie in the queue of a recipient.
    pub fn depth(&self, recipient: &str) -> Option<u32> {
        self.amqp.depth(&queue(recipient))
    }

    /// Returns the unfinished deliveries of a state, as the API lists them.
    #[track_caller]
    pub fn deliveries(&self, query: &str) -> Vec<Value> {
        let (status, page) = self.broker.api_get(&format!("/api/v1/deliveries?limit=500&{query}"));
        assert_eq!(status, 200, "{page}");
        page["items"].as_array().cloned().unwrap_or_default()
    }

    /// Returns what the API says of a recipient.
    #[track_caller]
    pub fn recipient(&self, recipient: &str) -> Value {
        let (status, list) = self.broker.api_get("/api/v1/recipients");
        assert_eq!(status, 200, "{list}");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().find(|item| item["recipient"] == recipient).unwrap_or_else(|| panic!("the API does not list {recipient}"))
    }

    /// Returns the deliveries of an event, as the trace tells them.
    #[track_caller]
    pub fn traced(&self, event: &Event) -> Vec<Value> {
        let (status, trace) = self.broker.api_get(&format!("/api/v1/events/{}/trace", event.event_id()));
        assert_eq!(status, 200, "{trace}");
        trace["events"][0]["deliveries"].as_array().cloned().unwrap_or_default()
    }

    /// As [`World::traced`]; `None` for an event that has not been taken in.
    #[track_caller]
    pub fn try_traced(&self, event: &Event) -> Option<Vec<Value>> {
        let (status, trace) = self.broker.api_get(&format!("/api/v1/events/{}/trace", event.event_id()));
        (status == 200).then(|| trace["events"][0]["deliveries"].as_array().cloned().unwrap_or_default())
    }
}

/// Returns the queue of a recipient.
pub fn queue(recipient: &str) -> String {
    format!("wsb.{}", recipient.replace(':', "."))
}

/// Returns a personnummer that is visibly made up; another one for every number
/// below 10,000.
pub fn cpr(number: usize) -> String {
    format!("{:02}{:02}99{number:04}", 1 + number % 28, 1 + number / 28 % 12)
}

/// Returns the events that make somebody a member, with a responsible
/// jobcentre and a home.
pub fn enroll(cpr: &str, akasse: &str, jobcentre: &str, kommune: &str) -> [Event; 3] {
    [
        membership(cpr, akasse, "2020-01-01", None),
        jobcenter(cpr, jobcentre, "2020-01-01", None),
        residence(cpr, kommune, "2020-01-01", None),
    ]
}

/// Returns the ids of the events that messages are about.
pub fn about(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.correlation_id.as_str()).collect()
}

/// Returns the ids of events.
pub fn ids<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<&'a str> {
    events.into_iter().map(Event::event_id).collect()
}
