//! What operators leave alone, what closes, and the dead in a few lines.

use serde_json::{Value, json};

use crate::rig::{Event, Message, event, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids, queue};

fn news(citizens: &[&str], each: usize) -> Vec<Event> {
    (0..each).flat_map(|_| citizens.iter().map(|cpr| event("Tilmelding").cpr(cpr))).collect()
}

fn post(world: &World, path: &str, body: &Value) -> Value {
    let (status, answer) = world.broker.api_post(path, body);
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

#[test]
fn a_paused_recipient_is_left_alone_over_a_restart_and_a_parked_lane_too() {
    // Given up after a second: nothing may die of being left alone.
    let mut world = World::running("holds", &Routing::few().retry(20, 100, 1));
    let (one, other) = (cpr(1), cpr(2));
    world.tell([enroll(&one, "067", "86001", "101"), enroll(&other, "067", "86001", "101")].concat().iter());
    world.empty(&FEW);
    let tried = post(&world, "/api/v1/recipients/akasse:067/pause", &json!({ "why": "tried", "dry_run": true }));
    assert_eq!(tried["state"], "would be paused", "{tried}");
    assert_eq!(world.recipient("akasse:067")["state"], "open");
    world.broker.cli_ok(&["recipients", "pause", "akasse:067", "--why", "a new version"]);
    let events = news(&[&one, &other], 3);
    world.publish(&events);
    until(LIMIT, "the kommune gets everything", || world.depth("kommune:860") == Some(6));
    assert!(world.broker.terminate().success());
    world.broker.start_again();
    let paused = world.recipient("akasse:067");
    assert_eq!((&paused["state"], &paused["paused_by"], &paused["why"]), (&"paused".into(), &"operator".into(), &"a new version".into()));
    assert_eq!(paused["pending"], 6, "{paused}");
    assert_eq!(world.depth("akasse:067"), Some(0));
    assert_eq!(world.count("wsb_queue_paused", &[("recipient", "akasse:067")]), 1);
    assert_eq!(world.count("wsb_queue_maintenance", &[("recipient", "akasse:067")]), 1);

    // One lane is parked while nothing moves; after the pause the other one goes on.
    let waiting = world.deliveries("recipient=akasse:067");
    let head = waiting.iter().find(|one| one["event_id"] == events[0].event_id()).unwrap();
    let id = head["id"].as_str().unwrap();
    world.broker.cli_ok(&["lanes", "park", id, "--why", "looked into"]);
    std::thread::sleep(std::time::Duration::from_millis(1500)); // Beyond the time allowed for retries.
    world.broker.cli_ok(&["recipients", "resume", "akasse:067"]);
    until(LIMIT, "the other lane goes on", || world.depth("akasse:067") == Some(3));
    let of = |cpr: &str| ids(events.iter().filter(|event| event.json()["data"]["Personnummer"] == *cpr)).into_iter().map(str::to_owned);
    assert_eq!(about(&world.take("akasse:067")), of(&other).collect::<Vec<_>>());
    world.broker.kill9();
    world.broker.start_again();
    let lanes: Vec<Value> = serde_json::from_str(&world.broker.cli_ok(&["lanes", "list", "--format", "json"])).unwrap();
    assert_eq!(lanes.len(), 1, "{lanes:?}");
    let lane = &lanes[0];
    assert_eq!((&lane["head"], &lane["state"], &lane["waiting"]), (&id.into(), &"parked".into(), &3.into()), "{lane}");
    assert_eq!(world.count("wsb_lanes_blocked", &[("recipient", "akasse:067")]), 1);
    // And what comes later waits behind it.
    let later = event("Tilmelding").cpr(&one);
    world.publish([&later]);
    until(LIMIT, "it waits", || world.recipient("akasse:067")["pending"] == 4);
    world.broker.cli_ok(&["lanes", "release", id]);
    world.idle();
    let expected: Vec<String> = of(&one).chain([later.event_id().to_owned()]).collect();
    // The kill may have made a message of the other lane come again.
    let got: Vec<Message> = world.take("akasse:067").into_iter().filter(|message| message.field("Identifikation") == *one).collect();
    assert_eq!(about(&got), expected, "in order");
    assert_eq!(world.count("wsb_dead", &[]), 0, "nothing dies of being left alone");
    let refused = world.broker.api_post("/api/v1/recipients/akasse:067/pause", &json!({ "why": "about 010190-1234" }));
    assert_eq!(refused.0, 400);
}

#[test]
fn what_waits_for_a_recipient_that_closes_is_withdrawn_at_once() {
    let world = World::running("closing", &Routing::few().retry(20, 200, 3600));
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    world.broker.cli_ok(&["recipients", "pause", "akasse:067", "--why", "about to close"]);
    let events = news(&[&cpr(1)], 5);
    world.publish(&events);
    until(LIMIT, "five wait", || world.recipient("akasse:067")["pending"] == 5);
    let closed = Routing::few()
        .retry(20, 200, 3600)
        .with("\n  { authority = \"akasse:067\",", "\n  { authority = \"akasse:067\", valid-until = 2026-01-01,");
    world.write("routing.toml", closed.text());
    until(LIMIT, "nothing waits for it", || world.recipient("akasse:067")["pending"] == 0);
    let withdrawn = world.deliveries("state=withdrawn&recipient=akasse:067&reason=recipient-closed");
    assert_eq!(withdrawn.len(), 5, "{withdrawn:?}");
    assert_eq!(world.depth("akasse:067"), Some(0));
}

#[test]
fn what_expires_in_a_queue_is_dead_and_read_in_two_lines() {
    let mut world = World::running("expired", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let vhost = world.uri.rsplit('/').next().unwrap();
    let pattern = format!("^{}$", queue("akasse:067").replace('.', "\\."));
    shared_node().ctl(&["set_policy", "-p", vhost, "ttl", &pattern, "{\"message-ttl\":100}", "--apply-to", "queues"]);
    let mut events = news(&[&cpr(1)], 5);
    events.extend((0..3).map(|_| event("Joblog").cpr(&cpr(1))));
    world.publish(&events);
    until(LIMIT, "all are dead", || world.count("wsb_dead", &[("recipient", "akasse:067")]) == 8);
    let check = |world: &World| {
        let groups: Vec<Value> = serde_json::from_str(&world.broker.cli_ok(&["deliveries", "groups", "--format", "json"])).unwrap();
        let lines: Vec<_> =
            groups.iter().map(|of| (of["entity"].clone(), of["reason"].clone(), of["count"].clone(), of["attempts"].clone())).collect();
        let line = |entity: &str, count: u64| (json!(entity), json!("expired"), json!(count), json!(count));
        assert_eq!(lines, [line("Tilmelding", 5), line("Joblog", 3)], "{groups:?}");
    };
    check(&world);
    world.broker.kill9();
    world.broker.start_again();
    check(&world);
    assert!(world.broker.cli_ok(&["deliveries", "groups"]).contains("expired"));
}
