//! How long a broker takes to be ready when it knows very many citizens and much
//! waits: fills a store through the engine, starts the built broker on it beside
//! a RabbitMQ of its own, and waits for `readyz`.
//!
//! `cargo build --release && cargo run --release --example start_cost -- [citizens] [waiting] [directory]`
//!
//! A directory that is given is kept, and used as it is the next time.

mod made_up;
#[path = "../tests/rig/mod.rs"]
mod rig;

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::{Broker, Node, NodeOptions, Options, until};
use wsb_broker::config::load_routing;
use wsb_broker::core::engine::{Engine, Limits, Manner, Output};
use wsb_broker::core::ids::{DeliveryKey, EventSeq, Personnummer, Recipient};
use wsb_broker::core::outbox::{Because, Delivery, State};
use wsb_broker::core::policy::{Audience, Audiences, Domain, Rules};
use wsb_broker::core::records::{Admission, Change, Records};
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::store::{self, Durability, Store};
use wsb_broker::wire::parse_event;

/// Events between two commits.
const GROUP: u64 = 500;
const NOW: Moment = Moment(1_790_000_000_000_000);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let citizens = arguments.next().map_or(Ok(1_000_000), |argument| argument.parse())?;
    let waiting = arguments.next().map_or(Ok(100_000), |argument| argument.parse())?;
    let temporary = tempfile::tempdir()?;
    let data = arguments.next().map_or_else(|| temporary.path().to_owned(), Into::into).join("data");
    let rules = load_routing(&Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml"))?;
    if !data.exists() {
        let begun = Instant::now();
        let size = fill(&data, citizens, waiting, rules)?;
        let took = begun.elapsed().as_secs_f64();
        println!("{citizens} citizens with a membership each, {waiting} deliveries: written in {took:.0} s, {} MiB", size >> 20);
    }

    let node = Node::start_with(&NodeOptions::default());
    let begun = Instant::now();
    // Taken before it is ready, so that the declaring of 119 queues counts too.
    let broker = Broker::spawn(Options::new(&node.vhost("start")).data_dir(&data));
    until(Duration::from_secs(600), "the broker is ready", || broker.readyz().is_some_and(|(status, _)| status == 200));
    let ready = begun.elapsed().as_secs_f64();
    let entries = (citizens + waiting) as f64;
    println!("ready after {ready:.2} s ({:.2} us an entry)", ready * 1e6 / entries);
    Ok(())
}

fn fill(data: &Path, citizens: u64, waiting: u64, rules: Rules) -> Result<u64, Box<dyn Error>> {
    let recipients: Vec<Recipient> =
        rules.recipients().map(|rule| rule.recipient).filter(|recipient| recipient.to_string().starts_with("akasse")).collect();
    let mut store = Store::open(&store::Options::new(data.to_owned()))?;
    let mut engine = Engine::new(Arc::new(rules.clone()), Limits::default());
    let mut out = Output::default();
    for at in 0..citizens {
        let number = made_up::number(at);
        let recipient = recipients[at as usize % recipients.len()].to_string();
        let akasse = recipient.rsplit(':').next().unwrap_or_default();
        let body = rig::membership(&number, akasse, "2020-01-01", None).body();
        let event = parse_event(&body, &rules).map_err(|refusal| format!("{refusal:?}"))?;
        engine.take_in(event, Manner::FirstLoad, &mut store, NOW, &mut out)?;
        if at % GROUP == 0 || at + 1 == citizens {
            store.commit(Durability::Flush)?;
            out.facts.clear();
        }
    }
    let first = store.last_seq().0 + 1;
    for seq in first..first + waiting {
        let mixed = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let who = mixed % citizens;
        let personnummer = Personnummer::parse(&made_up::number(who))?;
        let recipient = recipients[who as usize % recipients.len()];
        let citizen = store.find_citizen(&personnummer)?.ok_or("a citizen is missing")?;
        let record = format!("00000000-1111-4111-8111-{seq:012x}");
        let event = Arc::new(made_up::event(&format!("event-{seq}"), "Persongruppemarkering", &record, personnummer, NOW)?);
        let because =
            Because { audience: Audience::AkasseOwnMembers, also: Audiences::default(), registration: None, day: Day::in_copenhagen(NOW) };
        let (domain, key) = (Domain::Kontaktforloeb, DeliveryKey { recipient, seq: EventSeq(seq) });
        let deliveries = vec![(recipient, because.clone())];
        let admitted = Admission { seq: key.seq, citizen, event: Arc::clone(&event), domain, at: NOW, deliveries, left_out: Vec::new() };
        store.stage(Change::Admit(Arc::new(admitted)))?;
        store.stage(Change::PutDelivery(Delivery {
            key,
            citizen,
            event,
            domain,
            because,
            first_at: NOW,
            attempts: 0,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
            state: State::Pending,
        }))?;
        if seq % GROUP == 0 || seq + 1 == first + waiting {
            store.stage(Change::SetLowWater(EventSeq(seq + 1)))?;
            store.commit(Durability::Flush)?;
        }
    }
    Ok(store.size_on_disk()?)
}
