//! Whatever is done stands in the log, with who and why, and nothing else does.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::app::now;
use crate::core::outbox::Failure;
use crate::core::retry::Outcome;

use super::{MEMBERSHIP, OPERATOR, VENDOR, VIEWER, World, confirmed, event, indkaldelse, known, lederne_is_gone};

#[test]
fn whatever_is_done_is_noted_with_who_and_why() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.quarantine("{");
    world.quarantine("{");
    let waiting = world.until("/deliveries?state=retrying", |page| page["items"].as_array().is_some_and(|items| !items.is_empty()));
    let id = waiting["items"][0]["id"].as_str().expect("an id").to_owned();

    world.post(&format!("/deliveries/{id}/discard"), &json!({ "why": "  the vendor asked for it " })).ok();
    world.post(&format!("/deliveries/{id}/discard"), &json!({ "why": "again" })).problem(409);
    world.post("/quarantine/1/discard", &json!({ "why": "not ours" })).ok();
    world.post("/quarantine/1/discard", &json!({ "why": "not ours" })).problem(404);
    world.post("/quarantine/2/retry", &json!({})).problem(409);
    for why in ["", " ", "0101901234", "cpr 010190-1234", "a\nb"] {
        let refused = world.post("/quarantine/2/discard", &json!({ "why": why })).problem(400);
        assert!(!refused.to_string().contains("1234"), "{refused}");
    }
    let dry = json!({ "filter": { "recipient": "akasse:067" }, "dry_run": true }).to_string();
    world.call("POST", "/api/v1/replays", Some(VENDOR), Some(&dry)).ok();
    world.call("POST", "/api/v1/replays", Some(VIEWER), Some(&dry)).problem(403);
    let replay = world.post("/replays", &json!({ "filter": { "state": "dead" } })).ok();
    let stopped = world.call("DELETE", &format!("/api/v1/replays/{}", replay["id"].as_str().expect("an id")), Some(OPERATOR), None);
    stopped.ok();

    let log = world.get("/audit").ok();
    let entries: Vec<Value> = log["items"].as_array().cloned().expect("entries");
    let told = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text("who"), text("action"), text("why"), entry["dry_run"])
    };
    let told: Vec<String> = entries.iter().map(told).collect();
    let expected = [
        "ole delivery-discarded the vendor asked for it false",
        "ole quarantine-discarded not ours false",
        "lederne replay-started - true",
        "ole replay-started - false",
        "ole replay-stopped - false",
    ];
    assert_eq!(told, expected);
    assert_eq!(entries[0]["about"], id);
    assert_eq!(entries[2]["role"], "vendor:akasse:067");
    for pair in entries.windows(2) {
        assert_eq!(pair[0]["hash"], pair[1]["former"]);
    }
    assert_eq!(world.get("/audit/verify").ok(), json!({ "sound": true, "entries": 5, "broken_at": null }));

    let page = world.get("/audit?limit=2&cursor=1").ok();
    assert_eq!(page["items"].as_array().map(Vec::len), Some(2));
    assert_eq!((&page["items"][0]["seq"], &page["next_cursor"]), (&json!(2), &json!("3")));
    assert_eq!(world.get("/audit?order=newest&limit=1").ok()["items"][0]["seq"], 5);
    assert_eq!(world.get("/audit?since=2100-01-01T00:00:00Z").ok()["items"], json!([]));
    world.get("/audit?order=sideways").problem(400);
    world.get("/audit?cursor=x").problem(400);
}

/// Of an order by ids the log names the first ones, and how it was to be sent.
#[test]
fn a_replay_is_noted_with_its_ids_rate_and_canary() {
    let world = World::new(lederne_is_gone);
    let about = || world.get("/audit?order=newest&limit=1").ok()["items"][0]["about"].as_str().expect("about").to_owned();
    let ids: Vec<String> = (1..=5).map(|at| format!("00000000-0000-4000-8000-00000000000{at}")).collect();
    let order = |ids: &[String], dry_run: bool| json!({ "filter": { "ids": ids, "state": "dead" }, "rate_per_second": 5, "canary": 10, "dry_run": dry_run });
    let started = world.post("/replays", &order(&ids, false)).ok();
    let first = ids[..3].join(" ");
    assert_eq!(about(), format!("{}: rate=5 canary=10 state=dead ids=5 {first} …", started["id"].as_str().expect("an id")));
    world.post("/replays", &order(&ids[..2], true)).ok();
    assert_eq!(about(), format!("rate=5 canary=10 state=dead ids=2 {} {} deliveries=0", ids[0], ids[1]));
    world.post("/replays", &json!({ "filter": {}, "dry_run": true })).ok();
    assert_eq!(about(), "everything deliveries=0");
    let long = json!({ "ids": ids, "state": "delivered", "recipient": "akasse:067", "since": now().to_string(), "until": now().to_string(),
        "entity": "ForespoergelsePaaAkassemedlemskab" });
    world.post("/replays", &json!({ "filter": long, "dry_run": true, "rate_per_second": 4_000_000, "canary": 1_000 })).ok();
    assert!(about().ends_with("… deliveries=0"), "nothing is cut off: {}", about());
}

/// Who tried what, and why, is noted whatever was tried.
#[test]
fn what_is_tried_on_deliveries_and_replays_is_noted_and_changes_nothing() {
    let world = World::new(|outgoing| match &*outgoing.event.entity {
        "Indkaldelse" => Outcome::Failed { failure: Failure::Unsendable, code: 0 },
        _ => Outcome::Confirmed,
    });
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let dead = world.until("/deliveries?state=dead", |page| page["items"].as_array().is_some_and(|items| items.len() == 2));
    let id = dead["items"][0]["id"].as_str().expect("an id").to_owned();
    let dry = json!({ "why": "to see", "dry_run": true });
    let noted = || {
        let entry = world.get("/audit?order=newest&limit=1").ok()["items"][0].clone();
        assert_eq!((&entry["why"], &entry["dry_run"]), (&json!("to see"), &json!(true)), "{entry}");
        entry["action"].as_str().expect("an action").to_owned()
    };
    let tried = world.post(&format!("/deliveries/{id}/discard"), &dry).ok();
    assert_eq!(tried, json!({ "id": id, "state": "withdrawn", "reason": "operator", "dry_run": true }));
    assert_eq!(noted(), "delivery-discarded");
    let shown = world.get(&format!("/deliveries/{id}")).ok();
    assert!(shown["state"] == "dead" && !shown["timeline"].to_string().contains("acted"), "{shown}");

    let started = world.post("/replays", &json!({ "filter": { "state": "dead" }, "canary": 1, "rate_per_second": 1 })).ok();
    let path = format!("/api/v1/replays/{}", started["id"].as_str().expect("an id"));
    let waiting = world.until(&path["/api/v1".len()..], |replay| replay["state"] == "waiting-for-go");
    for (method, call, action) in [("POST", "/go", "replay-released"), ("DELETE", "", "replay-stopped")] {
        let tried = world.call(method, &format!("{path}{call}"), Some(OPERATOR), Some(&dry.to_string())).ok();
        assert_eq!(tried["state"], waiting["state"], "{method} {call}");
        assert_eq!(noted(), action);
    }
    let resume = format!("{path}/resume");
    world.call("POST", &resume, Some(OPERATOR), Some(&dry.to_string())).problem(409);
    world.call("DELETE", &path, Some(OPERATOR), None).ok();
    assert_eq!(world.call("POST", &resume, Some(OPERATOR), Some(&dry.to_string())).ok()["state"], "stopped");
    assert_eq!(noted(), "replay-resumed");
    assert_eq!(world.get(&path["/api/v1".len()..]).ok()["state"], "stopped");
    world.post(&format!("/deliveries/{id}/discard"), &json!({ "why": "a test" })).ok();
    world.post(&format!("/deliveries/{id}/discard"), &dry).problem(409);
}

/// The key is exchanged beside the broker, which hears of it by whoever does it.
#[test]
fn a_key_that_is_exchanged_beside_the_broker_is_noted() {
    let world = World::new(lederne_is_gone);
    for step in ["admitted", "finished"] {
        world.post("/master-key/exchanged", &json!({ "step": step })).ok();
    }
    let log = world.get("/audit").ok();
    let entries: Vec<(&Value, &Value, &Value)> =
        log["items"].as_array().expect("entries").iter().map(|entry| (&entry["action"], &entry["who"], &entry["about"])).collect();
    let noted = |about: &'static str| (json!("key-rotated"), json!("ole"), json!(about));
    let expected = [noted("a further key is admitted too"), noted("only the present key is kept")];
    assert_eq!(entries, expected.iter().map(|(action, who, about)| (action, who, about)).collect::<Vec<_>>());
    world.post("/master-key/exchanged", &json!({ "step": "forgotten" })).problem(422);
}

/// What is tried is noted as that, and changes nothing.
#[test]
fn what_is_in_quarantine_can_be_tried() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.quarantine(&indkaldelse("one").to_string());
    world.quarantine("{");
    let dry = |path: &str| world.post(path, &json!({ "why": "to see", "dry_run": true }));
    for _ in 0..2 {
        let tried = dry("/quarantine/1/retry").ok();
        assert_eq!(tried, json!({ "id": 1, "entity": "Indkaldelse", "outcome": "routed", "dry_run": true }));
    }
    dry("/quarantine/2/retry").problem(409);
    assert_eq!(dry("/quarantine/2/discard").ok(), json!({ "id": 2, "outcome": "discarded", "dry_run": true }));
    dry("/quarantine/3/discard").problem(404);
    let kept = world.get("/quarantine").ok();
    assert_eq!(kept["items"].as_array().map(Vec::len), Some(2), "{kept}");
    assert_eq!(world.get("/events/one/trace").ok()["events"], json!([]), "it lies there still");
    let log = world.get("/audit").ok();
    let entries = log["items"].as_array().cloned().expect("entries");
    assert!(entries.len() == 3 && entries.iter().all(|entry| entry["dry_run"] == true && entry["why"] == "to see"), "{log}");

    assert_eq!(world.post("/quarantine/1/retry", &json!({})).ok()["outcome"], "routed");
    world.quarantine(&indkaldelse("one").to_string());
    assert_eq!(dry("/quarantine/3/retry").ok()["outcome"], "duplicate");
}

/// What need not be explained may be, and nobody is named by number.
#[test]
fn a_reason_that_is_given_is_noted_and_none_is_needed() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.quarantine(&indkaldelse("one").to_string());
    world.quarantine(&indkaldelse("two").to_string());
    let send = |method: &str, path: &str, body: Option<Value>| {
        let body = body.map(|body| body.to_string());
        world.call(method, &format!("/api/v1{path}"), Some(OPERATOR), body.as_deref())
    };
    let because = |why: &str| Some(json!({ "why": why }));
    let noted = || {
        let log = world.get("/audit?order=newest&limit=1").ok();
        (log["items"][0]["action"].clone(), log["items"][0]["why"].clone())
    };
    send("POST", "/quarantine/1/retry", because("010190-1234")).problem(400);
    send("POST", "/quarantine/1/retry", because("the type is known now")).ok();
    assert_eq!(noted(), (json!("quarantine-retried"), json!("the type is known now")));
    send("POST", "/quarantine/2/retry", None).ok();
    assert_eq!(noted(), (json!("quarantine-retried"), Value::Null));

    send("POST", "/recipients/akasse:067/pause", because("they move house")).ok();
    send("POST", "/recipients/akasse:067/resume", because("")).ok();
    assert_eq!(noted(), (json!("queue-resumed"), Value::Null), "an empty text says nothing");
    send("POST", "/recipients/akasse:067/pause", because("they move house")).ok();
    send("POST", "/recipients/akasse:067/resume", because(" they have moved ")).ok();
    assert_eq!(noted(), (json!("queue-resumed"), json!("they have moved")));

    let tried = send("POST", "/replays", Some(json!({ "filter": {}, "dry_run": true, "why": "to see" })));
    tried.ok();
    assert_eq!(noted(), (json!("replay-started"), json!("to see")));
    let started = send("POST", "/replays", Some(json!({ "filter": { "state": "dead" }, "why": "ticket 7" }))).ok();
    assert_eq!(noted(), (json!("replay-started"), json!("ticket 7")));
    let path = format!("/replays/{}", started["id"].as_str().expect("an id"));
    send("DELETE", &path, because("0101901234")).problem(400);
    for (method, call) in [("POST", "/go"), ("POST", "/resume"), ("DELETE", "")] {
        // It is done already: what is asked of it is understood, and refused as late.
        let status = send(method, &format!("{path}{call}"), because("too late")).status;
        assert!(matches!(status, 200 | 409), "{method} {call}: {status}");
    }
    send("DELETE", &path, Some(json!({ "reason": "x" }))).problem(422);
}

#[test]
fn a_first_load_that_is_tried_changes_nothing() {
    let world = World::new(confirmed);
    let known = known();
    world.tell(&known[..1]);
    let lines = [&known[0], &known[1], &known[1], &indkaldelse("call")].map(|event| format!("{event}\n\n")).concat();
    let send = |query: &str, lines: &str| {
        world.send("POST", &format!("/api/v1/import?first=11{query}"), Some(OPERATOR), Some(("application/x-ndjson", lines.as_bytes())))
    };
    let reason = "Indkaldelse changes nothing about who may receive; only such events can be imported";
    let expected = json!({ "taken_in": 1, "repeats": 2, "refused": [{ "line": 17, "reason": reason }] });
    for _ in 0..2 {
        assert_eq!(send("&dry_run=true", &lines).ok(), expected);
    }
    let log = world.get("/audit?order=newest&limit=1").ok();
    assert_eq!([&log["items"][0]["action"], &log["items"][0]["dry_run"]], [&json!("imported"), &json!(true)], "{log}");
    assert_eq!(send("", &known[1].to_string()).ok(), json!({ "taken_in": 1, "repeats": 0 }));
}

/// Nobody is told of what is imported, but what waits is withdrawn by it.
#[test]
fn what_a_first_load_keeps_from_a_former_fund_is_counted() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.until("/deliveries?state=retrying", |page| page["items"][0]["recipient"] == "akasse:067");
    let prevented = || world.metric(r#"wsb_wrong_recipient_prevented_total{stage="attempt"}"#);
    assert_eq!(prevented(), 0.0);
    let mut transfer = event("transfer", "Akassemedlemskab", MEMBERSHIP, "2026-03-17T08:00:00Z", &json!({ "Akassekode": "067" }));
    transfer["data"]["Aendringstype"] = json!(2);
    transfer["data"]["Slutdato"] = json!("2026-03-01");
    let line = transfer.to_string();
    world.send("POST", "/api/v1/import", Some(OPERATOR), Some(("application/x-ndjson", line.as_bytes()))).ok();
    world.until("/deliveries?state=withdrawn", |page| page["items"][0]["recipient"] == "akasse:067");
    // The facts of a group are counted after its answers.
    let began = Instant::now();
    while prevented() < 1.0 && began.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(prevented(), 1.0);
}
