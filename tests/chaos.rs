//! Load on real nodes while everything goes wrong, by a schedule thrown with dice
//! from a seed that is printed. What came of it is judged by the model of the load:
//! nothing lost, nobody wrong, the same id in every repeat, order within every lane,
//! what recipients reject dead until it is sent again, and nothing else given up,
//! since nobody's time has run out.
//!
//! Half a minute in `make test`; `make chaos MINUTES=5` goes on for that long.
//! `WSB_CHAOS_SEED` repeats a schedule; how threads meet it is not repeated.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
#[path = "end_to_end/load.rs"]
mod load;
#[path = "rig/mod.rs"]
mod rig;
#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
#[path = "end_to_end/world.rs"]
mod world;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rig::{Amqp, Node, Proxy, until};
use serde_json::json;
use world::{LIMIT, Routing, World, queue};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// kill -9 of the broker, and once more while it starts.
    Kill,
    /// The broker ends in good order and starts again.
    Stop,
    /// Every connection of the broker is cut.
    Cut,
    /// What is published arrives, and its confirm is lost.
    LoseConfirms,
    /// A queue is unbound, and deleted once it is empty; then declared again.
    DeleteQueue,
    /// A queue takes no more than one message for a moment.
    FillQueue,
    /// RabbitMQ is out of memory for a moment.
    Alarm,
    /// An operator pauses a recipient, and lets it go on.
    Pause,
    /// An operator parks a lane, and releases it.
    Park,
    /// RabbitMQ ends in good order and starts again.
    RestartNode,
    /// kill -9 of RabbitMQ.
    KillNode,
}

/// While somebody still publishes.
const EARLY: [Blow; 8] = [Blow::Kill, Blow::Stop, Blow::Cut, Blow::LoseConfirms, Blow::DeleteQueue, Blow::Alarm, Blow::Pause, Blow::Park];
/// Once all of the load lies at RabbitMQ: nobody can publish while it is away.
const LATE: [Blow; 9] = [
    Blow::RestartNode,
    Blow::FillQueue,
    Blow::KillNode,
    Blow::Kill,
    Blow::LoseConfirms,
    Blow::DeleteQueue,
    Blow::Alarm,
    Blow::Cut,
    Blow::Pause,
];
const RECIPIENTS: [&str; 4] = ["akasse:053", "akasse:067", "kommune:101", "kommune:860"];

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

#[test]
fn whatever_goes_wrong_nothing_is_lost_and_nobody_is_told_wrongly() {
    let minutes = std::env::var("WSB_CHAOS_MINUTES").ok().and_then(|text| text.parse::<u64>().ok());
    let length = minutes.map_or(Duration::from_secs(30), |minutes| Duration::from_secs(minutes * 60));
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |age| age.as_nanos() as u64 | 1);
    let seed = std::env::var("WSB_CHAOS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(clock);
    println!("chaos: WSB_CHAOS_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let node = Node::start();
    let began = Instant::now();
    for round in 1.. {
        self::round(&node, &mut dice, round);
        if began.elapsed() >= length {
            println!("chaos: {round} rounds in {:.0} s, seed {seed}", began.elapsed().as_secs_f64());
            return;
        }
    }
}

fn round(node: &Node, dice: &mut Dice, round: usize) {
    let direct = node.vhost("chaos");
    let proxy = Proxy::start(node.port());
    let routing = Routing::few().retry(20, 300, 3600).window(250);
    let mut world = World::at(&format!("{}?heartbeat=5", proxy.uri(&direct)), &routing, |options| options);
    world.broker.start_again();
    world.amqp = Amqp::connect(&direct);
    node.keep_queues();
    let early: Vec<Blow> = (0..3).map(|_| dice.pick(&EARLY)).collect();
    let late: Vec<Blow> = (0..2).map(|_| dice.pick(&LATE)).collect();
    println!("chaos: round {round}: {early:?}, then {late:?}");
    let outcome = load::run_with_rejections(&mut world, &direct, 3, |world, progress| {
        for (at, blow) in early.iter().enumerate() {
            progress.arrived(0.1 + 0.15 * at as f64);
            strike(*blow, world, node, &proxy, &direct, dice);
        }
        progress.published();
        for blow in &late {
            strike(*blow, world, node, &proxy, &direct, dice);
        }
    });
    let dead = world.broker.metrics().sum("wsb_dead", &[]);
    assert!(dead == 0.0, "{dead} deliveries were given up, though nobody's time had run out");
    let (status, groups) = world.broker.api_get("/api/v1/deliveries/groups");
    assert_eq!((status, groups["items"].as_array().map(Vec::len)), (200, Some(0)), "{groups}");
    println!("chaos: round {round}: {} repeats", outcome.repeats);
    drop(world);
    node.delete_vhost(&direct);
}

fn strike(blow: Blow, world: &mut World, node: &Node, proxy: &Proxy, direct: &str, dice: &mut Dice) {
    let recipient = dice.pick(&RECIPIENTS);
    match blow {
        Blow::Kill => {
            world.broker.kill9();
            world.broker.spawn_again();
            world.broker.kill9();
            world.broker.start_again();
        }
        Blow::Stop => {
            assert!(world.broker.terminate().success(), "{}", world.broker.log());
            world.broker.start_again();
        }
        Blow::Cut => proxy.cut(),
        Blow::LoseConfirms => {
            // Whether anything is under way just then is up to chance.
            proxy.stall_replies();
            proxy.cut();
            proxy.resume();
        }
        Blow::DeleteQueue => {
            let amqp = Amqp::connect(direct);
            let queue = queue(recipient);
            amqp.unbind(&queue, "wsb.delivery", &queue);
            let mut empty = 0;
            until(LIMIT, "the vendor fetches what lies there, and acknowledges it", || {
                empty = if node.held(direct, &queue) == 0 { empty + 1 } else { 0 };
                empty >= 20
            });
            amqp.delete_queue(&queue);
            world.broker.cli_ok(&["topology", "--apply"]);
        }
        Blow::FillQueue => {
            let vhost = direct.rsplit('/').next().unwrap_or_default();
            let pattern = format!("^{}$", queue(recipient).replace('.', "\\."));
            node.ctl(&["set_policy", "-p", vhost, "full", &pattern, "{\"max-length\":1}", "--apply-to", "queues"]);
            node.ctl(&["clear_policy", "-p", vhost, "full"]);
        }
        Blow::Alarm => {
            node.eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})");
            until(LIMIT, "the alarm is noticed, or nothing is published", || {
                let blocked = world.broker.readyz().is_some_and(|(_, text)| text.contains("blocked"));
                blocked || world.broker.metrics().sum("wsb_pending", &[]) == 0.0
            });
            node.eval("rabbit_alarm:clear_alarm({resource_limit, memory, node()})");
        }
        Blow::Pause => {
            let path = format!("/api/v1/recipients/{recipient}");
            let (status, paused) = world.broker.api_post(&format!("{path}/pause"), &json!({ "why": "chaos" }));
            assert_eq!(status, 200, "{paused}");
            assert_eq!(world.recipient(recipient)["paused_by"], "operator");
            world.broker.kill9();
            world.broker.start_again();
            assert_eq!(world.recipient(recipient)["paused_by"], "operator", "the order outlives the process");
            let (status, resumed) = world.broker.api_post(&format!("{path}/resume"), &json!({}));
            assert_eq!(status, 200, "{resumed}");
        }
        Blow::Park => {
            let Some(id) = world.deliveries("").into_iter().find_map(|one| one["id"].as_str().map(str::to_owned)) else { return };
            // It may have been delivered by now.
            let (status, _) = world.broker.api_post(&format!("/api/v1/lanes/{id}/park"), &json!({ "why": "chaos" }));
            if status == 200 {
                let (status, released) = world.broker.api_post(&format!("/api/v1/lanes/{id}/release"), &json!({}));
                assert_eq!(status, 200, "{released}");
            }
        }
        Blow::RestartNode => {
            node.stop();
            node.restart();
        }
        Blow::KillNode => {
            // By the blow before this one, perhaps.
            node.keep_queues();
            node.kill();
            node.restart();
        }
    }
    world.broker.wait_ready();
}
