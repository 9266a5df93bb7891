//! Load with trouble in the middle of it, and what must be true afterwards:
//! nothing lost, nothing to the wrong one, the same id in every repeat, order
//! within every lane.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use crate::rig::{Amqp, Event, Message, Vendor, VendorOptions, Verdict, event, membership, until};
use crate::world::{LIMIT, World, cpr, enroll, queue, size};

/// Everybody who is told something under load.
const TOLD: [&str; 4] = ["akasse:053", "akasse:067", "kommune:101", "kommune:860"];

/// Which funds may be told of an event.
#[derive(Clone, Debug)]
enum Funds {
    /// This one, and no other.
    Only(&'static str),
    /// The one before the transfer or the one after it: whichever was
    /// responsible when it was sent.
    Either(&'static str, &'static str),
}

/// An event under load.
#[derive(Clone, Debug)]
struct Expected {
    place: usize,
    lane: (String, &'static str),
    kommuner: &'static [&'static str],
    funds: Funds,
}

/// What is published: events in order, and transfers between them.
struct Script {
    steps: Vec<Step>,
    expected: HashMap<String, Expected>,
}

enum Step {
    Tell(Box<Event>),
    /// The new membership and the end of the old one.
    Transfer(Box<[Event; 2]>),
}

/// Returns the load: `events` about `citizens`, of whom `transfers` change from
/// one fund to the other along the way.
fn script(events: usize, citizens: usize, transfers: usize) -> Script {
    let fund_of = |n: usize| ["067", "053"][n % 2];
    let mut moved: BTreeMap<usize, usize> = BTreeMap::new();
    let mut script = Script { steps: Vec::new(), expected: HashMap::new() };
    let transfer_at: HashMap<usize, usize> = (0..transfers).map(|n| ((n + 1) * events / (transfers + 1), n)).collect();
    let mut told = Vec::new();
    for place in 0..events {
        if let Some(&citizen) = transfer_at.get(&place) {
            let (old, new) = (fund_of(citizen), fund_of(citizen + 1));
            let begin = membership(&cpr(citizen), new, "2025-01-01", None).at("2026-03-17T08:00:00+01:00");
            let end = membership(&cpr(citizen), old, "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:01+01:00");
            script.steps.push(Step::Transfer(Box::new([begin, end])));
            moved.insert(citizen, place);
        }
        let citizen = place * 7 % citizens;
        let (kind, domain, kommuner): (_, _, &'static [&'static str]) = match place % 3 {
            0 => ("Indkaldelse", "kontaktforloeb", &["kommune:101", "kommune:860"]),
            1 => ("Fravaer", "fravaer", &["kommune:860"]),
            _ => ("Samtale", "plan", &["kommune:860"]),
        };
        let event = event(kind).cpr(&cpr(citizen));
        told.push((
            citizen,
            event.event_id().to_owned(),
            Expected { place, lane: (cpr(citizen), domain), kommuner, funds: Funds::Only("") },
        ));
        script.steps.push(Step::Tell(Box::new(event)));
    }
    let akasse = |code: &str| if code == "067" { "akasse:067" } else { "akasse:053" };
    for (citizen, id, mut expected) in told {
        let (old, new) = (akasse(fund_of(citizen)), akasse(fund_of(citizen + 1)));
        expected.funds = match moved.get(&citizen) {
            None => Funds::Only(old),
            Some(at) if expected.place < *at => Funds::Either(old, new),
            Some(_) => Funds::Only(new),
        };
        script.expected.insert(id, expected);
    }
    script
}

impl Expected {
    fn may(&self) -> BTreeSet<String> {
        let funds = match self.funds {
            Funds::Only(fund) => vec![fund],
            Funds::Either(old, new) => vec![old, new],
        };
        self.kommuner.iter().copied().chain(funds).map(queue).collect()
    }

    fn is_complete(&self, told: &HashSet<&str>) -> bool {
        let told = |recipient: &&str| told.contains(queue(recipient).as_str());
        let fund = match &self.funds {
            Funds::Only(fund) => told(fund),
            Funds::Either(old, new) => told(old) || told(new),
        };
        fund && self.kommuner.iter().all(told)
    }
}

/// What came of a run.
pub struct Outcome {
    /// Messages that came more than once.
    pub repeats: usize,
}

/// How far a run is.
pub struct Progress {
    vendor: Arc<Vendor>,
    least: usize,
    published: Arc<AtomicBool>,
}

impl Progress {
    /// Waits until this share of all messages has arrived.
    #[track_caller]
    pub fn arrived(&self, share: f64) {
        let wanted = (share * self.least as f64) as usize;
        until(LIMIT, &format!("{wanted} of {} messages arrive", self.least), || self.vendor.count() >= wanted);
    }

    /// Waits until all events lie at RabbitMQ.
    #[track_caller]
    pub fn published(&self) {
        until(LIMIT, "all events are published", || self.published.load(Ordering::Acquire));
    }
}

/// Publishes load while `disturb` does its worst, and checks what came of it.
pub fn run(world: &mut World, vendor_uri: &str, transfers: usize, disturb: impl FnOnce(&mut World, &Progress)) -> Outcome {
    run_refusing(world, vendor_uri, transfers, usize::MAX, disturb)
}

/// As [`run`], with recipients who reject some of it: that must be dead, and nothing
/// else, until it is sent again.
pub fn run_with_rejections(world: &mut World, vendor_uri: &str, transfers: usize, disturb: impl FnOnce(&mut World, &Progress)) -> Outcome {
    run_refusing(world, vendor_uri, transfers, 37, disturb)
}

/// One event in `every` is rejected by all who are told of it.
fn run_refusing(
    world: &mut World,
    vendor_uri: &str,
    transfers: usize,
    every: usize,
    disturb: impl FnOnce(&mut World, &Progress),
) -> Outcome {
    let events = size("WSB_TEST_LOAD", 2400);
    let citizens = 60;
    let known: Vec<Event> = (0..citizens).flat_map(|n| enroll(&cpr(n), ["067", "053"][n % 2], "86001", "101")).collect();
    world.tell(&known);
    for recipient in TOLD {
        world.amqp.purge(&queue(recipient));
    }
    let queues: Vec<String> = TOLD.iter().map(|recipient| queue(recipient)).collect();

    let script = script(events, citizens, transfers);
    let expected = Arc::new(script.expected);
    let refused = Refused::of(&expected, every);
    let vendor = Arc::new(Vendor::with(vendor_uri, queues.iter().map(String::as_str), &refused.options()));
    let least: usize = expected.values().map(|one| one.kommuner.len() + 1).sum();
    let progress = Progress { vendor: Arc::clone(&vendor), least, published: Arc::default() };
    let publisher = {
        let (uri, vendor, published) = (vendor_uri.to_owned(), Arc::clone(&vendor), Arc::clone(&progress.published));
        thread::spawn(move || {
            publish(&Amqp::connect(&uri), script.steps, &vendor);
            published.store(true, Ordering::Release);
        })
    };
    disturb(world, &progress);
    publisher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));

    let asked = Instant::now();
    until(LIMIT * 2, "as much as expected arrives", || {
        assert!(
            asked.elapsed() < LIMIT,
            "{} of {least} messages arrived in {LIMIT:?}\n{}",
            vendor.count(),
            standing(world, vendor_uri, &vendor)
        );
        vendor.count() >= least
    });
    let missing = |messages: &[Message]| {
        let mut told: HashMap<&str, HashSet<&str>> = HashMap::new();
        for message in messages {
            told.entry(&message.correlation_id).or_default().insert(&message.queue);
        }
        let none = HashSet::new();
        expected.iter().filter(|(id, one)| !one.is_complete(told.get(id.as_str()).unwrap_or(&none))).count()
    };
    let mut seen = 0;
    until(LIMIT, "every event reaches every recipient", || {
        let count = vendor.count();
        std::mem::replace(&mut seen, count) != count && missing(&vendor.messages()) == 0
    });
    world.idle();
    barrier(world, vendor_uri, &vendor);
    refused.are_dead_and_sent_again(world, &vendor);
    let messages = vendor.messages();
    assert!(!world.broker.log().contains("panicked"), "{}", world.broker.log());
    Outcome { repeats: check(&messages, &expected) }
}

/// What recipients reject, until they have thought better of it.
struct Refused {
    /// Queues and events.
    pairs: BTreeSet<(String, String)>,
    no_more: Arc<AtomicBool>,
}

impl Refused {
    /// One event in `every`, if it is certain who is told of it.
    fn of(expected: &HashMap<String, Expected>, every: usize) -> Self {
        let certain = |one: &Expected| one.place % every == every - 1 && matches!(one.funds, Funds::Only(_));
        let refused = expected.iter().filter(|(_, one)| certain(one));
        let pairs = refused.flat_map(|(id, one)| one.may().into_iter().map(|queue| (queue, id.clone()))).collect();
        Self { pairs, no_more: Arc::default() }
    }

    /// How they consume.
    fn options(&self) -> VendorOptions {
        let (pairs, no_more) = (self.pairs.clone(), Arc::clone(&self.no_more));
        let judge = move |message: &Message| {
            let is_refused = !no_more.load(Ordering::Acquire) && pairs.contains(&told(message));
            if is_refused { Verdict::Reject } else { Verdict::Ack }
        };
        VendorOptions { judge: Arc::new(judge), ..VendorOptions::default() }
    }

    fn are_dead_and_sent_again(&self, world: &World, vendor: &Vendor) {
        self.are_dead(world, vendor);
        if !self.pairs.is_empty() {
            self.are_sent_again(world, vendor);
        }
    }

    fn are_dead(&self, world: &World, vendor: &Vendor) {
        let dead = || world.count("wsb_dead", &[]);
        until(LIMIT, &format!("{} rejected messages are dead", self.pairs.len()), || dead() >= self.pairs.len());
        let listed = world.deliveries("state=dead&reason=rejected-by-recipient");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pair = |one: &Value| (queue(&text(&one["recipient"])), text(&one["event_id"]));
        assert_eq!(listed.iter().map(pair).collect::<BTreeSet<_>>(), self.pairs, "what is dead");
        assert_eq!((listed.len(), dead()), (self.pairs.len(), self.pairs.len()), "each is dead once, and for this reason");
        let sent: HashMap<_, _> = vendor.messages().iter().map(|message| (told(message), message.id.clone())).collect();
        for one in &listed {
            assert_eq!(sent.get(&pair(one)), Some(&text(&one["id"])), "the id that it was sent with: {one}");
        }
    }

    fn are_sent_again(&self, world: &World, vendor: &Vendor) {
        self.no_more.store(true, Ordering::Release);
        world.broker.cli_ok(&["replays", "start", "--state", "dead", "--reason", "rejected-by-recipient", "--wait"]);
        world.idle();
        let again = |messages: &[Message]| -> Vec<(String, String)> {
            messages.iter().filter(|message| message.headers["wsb-replay"] == true).map(told).collect()
        };
        let messages = vendor.wait_until(LIMIT, "what was dead comes again", |messages| again(messages).len() >= self.pairs.len());
        let again = again(&messages);
        assert_eq!(again.len(), self.pairs.len(), "each comes again once");
        assert_eq!(again.into_iter().collect::<BTreeSet<_>>(), self.pairs, "what comes again");
    }
}

/// To whom a message was sent and of what: queue and event.
fn told(message: &Message) -> (String, String) {
    (message.queue.clone(), message.correlation_id.clone())
}

/// Tells where things stand, for when they do not go on.
fn standing(world: &World, uri: &str, vendor: &Vendor) -> String {
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for message in vendor.messages() {
        *came.entry(message.queue).or_default() += 1;
    }
    let recipients = TOLD.map(|recipient| world.recipient(recipient).to_string()).join("\n");
    // The connection of the world may be older than RabbitMQ's latest start.
    let amqp = Amqp::connect(uri);
    let depths = TOLD.map(|recipient| format!("{recipient}: {:?}", amqp.depth(&queue(recipient)))).join(", ");
    format!("came: {came:?}\nready in RabbitMQ: {depths}\nreadyz: {:?}\n{recipients}\nlog:\n{}", world.broker.readyz(), world.broker.log())
}

/// Publishes; a transfer is waited for, so that what comes after it in this
/// order also comes after it in the broker.
fn publish(amqp: &Amqp, steps: Vec<Step>, vendor: &Vendor) {
    let mut batch = Vec::new();
    for step in steps {
        match step {
            Step::Tell(event) => batch.push(event.message()),
            Step::Transfer(transfer) => {
                let [begin, end] = *transfer;
                amqp.publish_all("dfdg.events", std::mem::take(&mut batch));
                amqp.publish_all("dfdg.events", vec![begin.message(), end.message()]);
                vendor.wait_until(LIMIT, "the transfer takes effect", |messages| {
                    messages.iter().rev().any(|message| message.correlation_id == end.event_id())
                });
            }
        }
    }
    amqp.publish_all("dfdg.events", batch);
}

/// Sends one more message through every queue: what was in front of it has come.
fn barrier(world: &World, uri: &str, vendor: &Vendor) {
    let last = [event("Indkaldelse").cpr(&cpr(58)), event("Indkaldelse").cpr(&cpr(59))];
    Amqp::connect(uri).publish_all("dfdg.events", last.iter().map(Event::message).collect::<Vec<_>>());
    let wanted = |message: &Message| last.iter().any(|event| event.event_id() == message.correlation_id);
    vendor.wait_until(LIMIT, "the last messages", |messages| {
        let got: HashSet<_> =
            messages.iter().filter(|message| wanted(message)).map(|message| (&message.queue, &message.correlation_id)).collect();
        got.len() == 6
    });
    world.idle();
}

/// Tells what arrived of a lane, in order.
fn history(messages: &[Message], expected: &HashMap<String, Expected>, lane: &(String, &str)) -> String {
    let first = messages.first().map(|message| message.received_at);
    let of_lane = messages.iter().filter_map(|message| Some((message, expected.get(&message.correlation_id)?)));
    of_lane
        .filter(|(_, one)| one.lane == *lane)
        .map(|(message, one)| {
            let after = first.map(|first| message.received_at - first).unwrap_or_default();
            let again = if message.redelivered { ", redelivered" } else { "" };
            format!("  {after:>10.3?} {} event {} attempt {}{again}\n", message.queue, one.place, message.headers["wsb-attempt"])
        })
        .collect()
}

/// Checks all that arrived and returns the number of repeats.
fn check(messages: &[Message], expected: &HashMap<String, Expected>) -> usize {
    let mut ids: HashMap<(&str, &str), &str> = HashMap::new();
    let mut used: HashMap<&str, (&str, &str)> = HashMap::new();
    let mut newest: HashMap<(&str, &(String, &str)), usize> = HashMap::new();
    let mut repeats = 0;
    for message in messages {
        let key = (message.queue.as_str(), message.correlation_id.as_str());
        let Some(one) = expected.get(&message.correlation_id) else {
            assert!(matches!(&*message.kind, "Akassemedlemskab" | "Indkaldelse"), "nobody published {}", message.correlation_id);
            continue;
        };
        assert!(one.may().contains(&message.queue), "event {} went to {}, and may go to {:?} only", one.place, message.queue, one.may());
        if let Some(other) = used.insert(&message.id, key) {
            assert_eq!(other, key, "id {} stands for two messages", message.id);
        }
        if let Some(id) = ids.insert(key, &message.id) {
            assert_eq!(id, message.id, "a repeat has another id");
            repeats += 1;
            continue;
        }
        // RabbitMQ had handed it out before, to a consumer that it lost by its own death
        // and whose messages it may put back behind newer ones.
        if message.redelivered {
            continue;
        }
        // What was under way at a transfer reaches the new fund as best it can.
        if matches!(one.funds, Funds::Either(..)) && message.queue.starts_with("wsb.akasse") {
            continue;
        }
        if let Some(before) = newest.insert((&message.queue, &one.lane), one.place) {
            assert!(
                before < one.place,
                "event {} arrived at {} after event {before} of its lane:\n{}",
                one.place,
                message.queue,
                history(messages, expected, &one.lane)
            );
        }
    }
    repeats
}
