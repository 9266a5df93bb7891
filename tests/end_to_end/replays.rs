//! Replays on a real node: what a vendor rejected or lost is sent again, to
//! whoever is entitled now.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::rig::{Event, Message, Vendor, VendorOptions, Verdict, event, membership, until, until_some};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids, queue};

/// A vendor that wants nothing of this type.
fn rejecting(world: &World, recipient: &str, kind: &'static str) -> Vendor {
    let judge = Arc::new(move |message: &Message| if message.kind == kind { Verdict::Reject } else { Verdict::Ack });
    Vendor::with(&world.uri, [queue(recipient).as_str()], &VendorOptions { prefetch: 100, judge })
}

fn dead(world: &World, recipient: &str) -> usize {
    world.count("wsb_dead", &[("recipient", recipient)])
}

#[track_caller]
fn start(world: &World, body: &Value) -> Value {
    let (status, answer) = world.broker.api_post("/api/v1/replays", body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn show(world: &World, id: &str) -> Value {
    world.broker.api_get(&format!("/api/v1/replays/{id}")).1
}

#[track_caller]
fn wait_for(world: &World, id: &str, stage: &str) -> Value {
    until_some(LIMIT, &format!("replay {id} is {stage}"), || Some(show(world, id)).filter(|replay| replay["state"] == stage))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_dead_at_a_transfer_reaches_the_new_fund_only() {
    let world = World::running("replay-transfer", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let old_fund = rejecting(&world, "akasse:067", "Joblog");
    let events: Vec<Event> = (0..3).map(|_| event("Joblog").cpr(&cpr(1))).collect();
    world.publish(&events);
    until(LIMIT, "all are dead", || dead(&world, "akasse:067") == 3);
    drop(old_fund);
    world.tell(&[membership(&cpr(1), "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00")]);
    world.empty(&FEW);

    let out = world.broker.cli_ok(&["replays", "start", "--state", "dead", "--dry-run"]);
    assert!(out.contains("3 dead deliveries match: 0 would be sent now, 3 not") && out.contains("membership-ended"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colors where nobody looks: {out}");
    let told_instead = out.lines().any(|line| line.contains("akasse:053") && line.contains('3') && line.contains("told instead"));
    assert!(told_instead, "{out}");
    // What goes to another instead counts for the canary.
    let id = text(&start(&world, &json!({ "filter": { "recipient": "akasse:067" }, "canary": 1 }))["id"]);
    until(LIMIT, "the first one has gone", || show(&world, &id)["state"] == "waiting-for-go");
    world.idle();
    let mut got = world.take("akasse:053");
    assert_eq!(about(&got), ids(&events[..1]));
    assert_eq!(world.broker.api_post(&format!("/api/v1/replays/{id}/go"), &json!({})).0, 200);
    until(LIMIT, "the others have gone", || show(&world, &id)["state"] == "done");
    let done = show(&world, &id);
    assert_eq!((&done["withdrawn"], &done["sent"]), (&json!(3), &json!(0)));
    world.idle();
    got.extend(world.take("akasse:053"));
    assert_eq!(about(&got), ids(&events), "in order");
    assert_eq!(world.depth("akasse:067"), Some(0), "the old fund gets nothing");
    assert_eq!(dead(&world, "akasse:067"), 0);
    let list = world.broker.cli_ok(&["replays", "list"]);
    assert!(list.contains("done") && list.contains("withdrawn"), "{list}");
}

/// Killed in the middle, it goes on where it was: nothing is left out, and only
/// what was under way may come twice.
#[test]
fn a_replay_survives_kill_9() {
    let mut world = World::running("replay-kill", &Routing::few());
    world.tell((0..10).flat_map(|n| enroll(&cpr(n), "067", "86001", "101")).collect::<Vec<_>>().iter());
    world.empty(&FEW);
    let rejected = rejecting(&world, "akasse:067", "Joblog");
    let events: Vec<Event> = (0..300).map(|n| event("Joblog").cpr(&cpr(n % 10))).collect();
    world.publish(&events);
    until(LIMIT, "all are dead", || dead(&world, "akasse:067") == events.len());
    let first_ids: BTreeMap<String, String> = rejected
        .messages()
        .into_iter()
        .filter(|message| message.kind == "Joblog")
        .map(|message| (message.correlation_id, message.id))
        .collect();
    drop(rejected);

    let listed = world.broker.cli_ok(&["deliveries", "list", "--state", "dead", "--limit", "1", "--format", "json"]);
    let one = text(&serde_json::from_str::<Value>(&listed).unwrap()[0]["id"]);
    let dry = world.broker.cli_ok(&["deliveries", "discard", &one, "--why", "to see", "--dry-run"]);
    assert!(dry.contains("would be withdrawn"), "{dry}");
    assert_eq!(tried(&world), ["delivery-discarded"]);
    assert_eq!(dead(&world, "akasse:067"), events.len());

    let answer = start(&world, &json!({ "filter": { "recipient": "akasse:067" }, "canary": 10, "rate_per_second": 100 }));
    assert_eq!(answer["would_send"], 300);
    let id = text(&answer["id"]);
    wait_for(&world, &id, "waiting-for-go");
    until(LIMIT, "the first ones have arrived", || show(&world, &id)["canary"]["delivered"] == 10);
    world.broker.kill9();
    world.broker.start_again();
    assert_eq!(show(&world, &id)["state"], "waiting-for-go", "and nobody has let it go");
    assert_eq!(world.depth("akasse:067"), Some(10));
    for (call, action) in [("go", "replay-released"), ("stop", "replay-stopped")] {
        let dry = world.broker.cli_ok(&["replays", call, &id, "--why", "to see", "--dry-run"]);
        assert!(dry.contains(&format!("would {call}")), "{dry}");
        assert_eq!(tried(&world), [action], "a try stands in the log");
    }
    let dry = world.broker.cli(&["replays", "resume", &id, "--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&dry.stdout).contains("would not resume"), "{dry:?}");
    world.broker.cli_ok(&["replays", "go", &id]);
    until(LIMIT, "some of them are sent", || show(&world, &id)["sent"].as_u64() > Some(60));
    world.broker.kill9();
    world.broker.start_again();
    // It goes on by itself.
    until(LIMIT, "more of them are sent", || show(&world, &id)["sent"].as_u64() > Some(120));
    world.broker.cli_ok(&["replays", "stop", &id]);
    let stopped = show(&world, &id);
    assert!(stopped["state"] == "stopped" && stopped["done"].as_u64() < Some(300), "{stopped}");
    world.broker.cli_ok(&["replays", "resume", &id, "--wait"]);
    world.idle();
    let got = world.take("akasse:067");
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for message in &got {
        assert_eq!(first_ids.get(&message.correlation_id), Some(&message.id), "the id that it had");
        assert_eq!(message.headers["wsb-replay"], true);
        *times.entry(message.id.as_str()).or_default() += 1;
    }
    assert_eq!(times.len(), 300, "nothing is left out");
    // At 100 a second some ten of them were under way.
    let twice = got.len() - times.len();
    assert!(twice <= 60, "{twice} came twice");
    let done = show(&world, &id);
    assert_eq!((&done["state"], &done["sent"]), (&json!("done"), &json!(300)));
    assert_eq!(dead(&world, "akasse:067"), 0);
}

/// Returns what was tried last, by the audit log.
fn tried(world: &World) -> Vec<String> {
    let log = world.broker.cli_ok(&["audit", "export", "--format", "json"]);
    let last = log.lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap());
    last.iter().filter(|entry| entry["dry_run"] == true && entry["why"] == "to see").map(|entry| text(&entry["action"])).collect()
}

#[test]
fn a_vendor_that_lost_its_database_gets_it_again() {
    let world = World::running("replay-lost", &Routing::few());
    let all: Vec<Event> = (1..=4).flat_map(|n| enroll(&cpr(n), "067", "86001", "101")).collect();
    world.tell(&all);
    world.empty(&FEW);
    let before = now();
    let events: Vec<Event> = (0..8).map(|n| event("Joblog").cpr(&cpr(1 + n % 4))).collect();
    world.tell(&events);
    let first: BTreeMap<String, String> =
        world.take("akasse:067").into_iter().map(|message| (message.correlation_id, message.id)).collect();
    assert_eq!(first.len(), 8);
    // Citizen 2 has left; a record of citizen 3 is deleted; the rest is as it was.
    world.tell(&[
        membership(&cpr(2), "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00"),
        events[2].clone().again().deleted().at("2026-03-18T08:00:00+01:00"),
    ]);
    world.empty(&FEW);

    let arguments = ["replays", "start", "--state", "delivered", "--recipient", "akasse:067", "--entity", "Joblog", "--since", &before];
    let dry = world.broker.cli_ok(&[&arguments[..], &["--dry-run", "--format", "json"]].concat());
    let dry: Value = serde_json::from_str(&dry).unwrap();
    // Of nine, the deletion included, two were of somebody who has left, and the
    // record of one is gone.
    assert_eq!((&dry["matched"], &dry["would_withdraw"]), (&json!(9), &json!(3)), "{dry}");
    world.broker.cli_ok(&[&arguments[..], &["--wait"]].concat());
    world.idle();
    let got = world.take("akasse:067");
    let kept: Vec<&Event> = events.iter().enumerate().filter(|(n, _)| n % 4 != 1 && *n != 2).map(|(_, event)| event).collect();
    for message in &got {
        assert_eq!(message.headers["wsb-replay"], true);
        if let Some(id) = first.get(&message.correlation_id) {
            assert_eq!(*id, message.id);
        }
    }
    for citizen in [1, 3, 4] {
        let of = |event: &&&Event| event.json()["data"]["Personnummer"] == cpr(citizen);
        let of_citizen: Vec<&str> = got
            .iter()
            .filter(|message| message.field("Identifikation") == cpr(citizen) && first.contains_key(&message.correlation_id))
            .map(|message| message.correlation_id.as_str())
            .collect();
        assert_eq!(of_citizen, ids(kept.iter().filter(of).copied()), "the lane of citizen {citizen}");
    }
    assert_eq!(got.len(), 6, "five, and the deletion");
    assert_eq!(world.depth("akasse:053"), Some(0), "nobody else is told of the past");
    let traced = world.traced(&events[0]);
    let of_fund = traced.iter().find(|delivery| delivery["recipient"] == "akasse:067").unwrap();
    assert_eq!((&of_fund["state"], &of_fund["replays"]), (&json!("delivered"), &json!(1)), "{of_fund}");
    let traced = world.traced(&events[1]);
    let of_fund = traced.iter().find(|delivery| delivery["recipient"] == "akasse:067").unwrap();
    assert_eq!((&of_fund["state"], &of_fund["replays"]), (&json!("delivered"), &json!(0)), "{of_fund}");
}

/// Now, as the command line takes it.
fn now() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    wsb_broker::core::time::Moment(since.as_micros() as i64).to_string()
}

/// Whoever waits for a replay is told which it is, and what it waits for.
#[test]
fn a_replay_that_is_held_up_says_so_to_whoever_waits() {
    let world = World::running("replay-held", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let rejected = rejecting(&world, "akasse:067", "Joblog");
    world.publish(&[event("Joblog").cpr(&cpr(1))]);
    until(LIMIT, "it is dead", || dead(&world, "akasse:067") == 1);
    drop(rejected);
    let pause = ["recipients", "pause", "akasse:067", "--why", "a new version", "--format", "json"];
    let paused: Value = serde_json::from_str(&world.broker.cli_ok(&pause)).unwrap();
    assert_eq!(paused["state"], "paused", "{paused}");
    let dry = world.broker.cli_ok(&["replays", "start", "--dry-run"]);
    assert!(dry.contains("akasse:067: waits because its queue is paused by an operator"), "{dry}");
    let waited = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| world.broker.cli(&["replays", "start", "--wait", "--format", "json"]));
        wait_for(&world, "1", "running");
        let shown = world.broker.cli_ok(&["replays", "show", "1"]);
        assert!(shown.contains("held up") && shown.contains("a new version"), "{shown}");
        world.broker.cli_ok(&["recipients", "resume", "akasse:067"]);
        waiting.join().unwrap()
    });
    let said = String::from_utf8_lossy(&waited.stderr);
    assert!(said.contains("replay 1: 0 of 1 done") && said.contains("paused by an operator"), "{said}");
    let answer: Value = serde_json::from_slice(&waited.stdout).unwrap();
    assert_eq!((&answer["state"], &answer["held"]), (&json!("done"), &json!([])));
}
