//! What an operator sees of deletions: what was not expected, who has not fetched
//! notices, and that a citizen is forgotten with the last record.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{CITIZEN, MEMBERSHIP, OPERATOR, World, confirmed, event, known};
use crate::config::{Role, TokenHash, parse_tokens, token_lines};
use crate::core::outbox::Failure;
use crate::core::retry::Outcome;

const RECORD: &str = "30000000-0000-4000-8000-000000000001";

fn deletion(id: &str, area: &str, entity: &str, record: &str, time: &str) -> Value {
    event(id, "GdprSletning", record, time, &json!({ "Dataomraade": area, "SlettetEntitet": entity }))
}

#[test]
fn notices_and_unexpected_deletions_are_listed_and_the_citizen_is_forgotten_in_the_end() {
    let world = World::with_retention(confirmed);
    assert_eq!(world.get("/retention/notices").ok(), json!({ "items": [] }));
    assert_eq!(world.get("/retention/unexpected").ok(), json!({ "items": [], "next_cursor": null }));
    world.tell(&known());
    world.tell(&[event("j1", "Joblog", RECORD, "2026-03-16T08:00:00Z", &json!({}))]);
    world.until("/deliveries?state=delivered&recipient=akasse:067&limit=10", |list| {
        list["items"].as_array().is_some_and(|items| items.iter().any(|item| item["event_id"] == "j1"))
    });

    // Six years too early, and then about nothing that is known.
    world.tell(&[deletion("d1", "joblog", "Joblog", RECORD, "2026-03-17T08:00:00Z")]);
    world.tell(&[deletion("d2", "samtale", "Samtale", "30000000-0000-4000-8000-000000000002", "2026-03-17T08:00:00Z")]);
    let notices = world.until("/retention/notices", |list| {
        list["items"].as_array().is_some_and(|items| items.len() == 2 && items.iter().all(|item| item["notices"] == 2))
    });
    let of =
        |recipient: &str| notices["items"].as_array().and_then(|items| items.iter().find(|item| item["recipient"] == recipient)).cloned();
    // It held a copy of the one, and subscribes to the other.
    let fund = of("akasse:067").expect("the fund is told");
    assert_eq!((&fund["notices"], &fund["of_former_days"], &fund["reminded_after_days"]), (&json!(2), &json!(0), &Value::Null));
    let unexpected = world.get("/retention/unexpected").ok();
    let told: Vec<_> =
        unexpected["items"].as_array().into_iter().flatten().map(|item| [&item["why"], &item["event_id"], &item["area"]]).collect();
    assert_eq!(told, [[&json!("unknown_record"), &json!("d2"), &json!("samtale")], [&json!("early"), &json!("d1"), &json!("joblog")]]);
    assert_eq!(unexpected["items"][1]["due"], "2032-03-17");
    assert_eq!(unexpected["items"][1]["external_id"], RECORD);
    let first = world.get("/retention/unexpected?limit=1").ok();
    let rest = world.get(&format!("/retention/unexpected?limit=1&cursor={}", first["next_cursor"].as_str().expect("more"))).ok();
    assert_eq!((&first["items"][0]["event_id"], &rest["items"][0]["event_id"]), (&json!("d2"), &json!("d1")));
    world.get("/retention/unexpected?cursor=x").problem(400);

    // The fund fetches, the kommune does not.
    world.look_into("akasse:067", 0);
    world.look_into("kommune:860", 3);
    let left = world.get("/retention/notices").ok();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left["items"][0]["recipient"], "kommune:860");

    // Its vendor has dealt with them in another way, and says so.
    let close = |more: Value| {
        let mut order = json!({ "recipient": "kommune:860", "why": "the vendor carried them out from a list" });
        order.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        world.post("/retention/notices/close", &order)
    };
    close(json!({ "recipient": "akasse:067" })).problem(404);
    close(json!({ "recipient": "067" })).problem(400);
    close(json!({ "until": "2020-01-01" })).problem(404);
    close(json!({ "until": "yesterday" })).problem(400);
    close(json!({ "why": " " })).problem(400);
    close(json!({ "why": format!("about {CITIZEN}") })).problem(400);
    let tried = close(json!({ "dry_run": true })).ok();
    assert_eq!((&tried["state"], &tried["notices"]), (&json!("would be closed"), &json!(2)));
    assert_eq!(world.get("/retention/notices").ok(), left, "it was only tried");
    let closed = close(json!({})).ok();
    assert_eq!((&closed["state"], &closed["notices"], &closed["days"]), (&json!("closed"), &json!(2), &tried["days"]));
    assert_eq!(world.get("/retention/notices").ok(), json!({ "items": [] }));
    let audit = world.get("/audit?order=newest").ok();
    let noted: Vec<_> = audit["items"].as_array().into_iter().flatten().map(|deed| [&deed["action"], &deed["dry_run"]]).collect();
    assert_eq!(noted, [[&json!("notices-closed"), &json!(false)], [&json!("notices-closed"), &json!(true)]], "{audit}");

    // A member is known. Then nobody has the citizen any more.
    let dry = json!({ "personnummer": CITIZEN, "dry_run": true });
    assert_eq!(world.post("/erasures", &dry).ok()["clocks"], 0);
    let mut ended = known();
    for (one, id) in ended.iter_mut().zip(["ended-1", "ended-2"]) {
        one["id"] = json!(id);
        one["time"] = json!("2026-03-18T08:00:00Z");
        one["data"]["Aendringstype"] = json!(2);
        one["data"]["Slutdato"] = json!("2026-03-01");
    }
    assert_eq!(ended[0]["data"]["EksternIdentifier"], MEMBERSHIP);
    world.tell(&ended);
    world.until("/retention/unexpected", |list| list["items"][1]["event_id"].is_null());
    world.post("/erasures", &dry).problem(404);
    // What happened is still to be seen, and nothing of whom.
    let after = world.get("/retention/unexpected").ok();
    assert_eq!((&after["items"][1]["why"], &after["items"][1]["external_id"]), (&json!("early"), &Value::Null));
}

#[test]
fn a_trial_of_an_erasure_counts_the_records() {
    let world = World::with_retention(confirmed);
    world.tell(&known());
    world.tell(&[
        event("j1", "Joblog", RECORD, "2026-03-16T08:00:00Z", &json!({})),
        event("s1", "Samtale", "30000000-0000-4000-8000-000000000002", "2026-03-16T08:00:00Z", &json!({})),
    ]);
    let trial = world.post("/erasures", &json!({ "personnummer": CITIZEN, "dry_run": true })).ok();
    assert_eq!(trial["clocks"], 2);
}

/// Nobody confirms what they have requested themselves; what waits goes once the citizen is
/// forgotten, whoever asked for it.
#[test]
fn a_second_person_confirms_an_erasure() {
    let world = World::with_two_persons(confirmed);
    world.tell(&known());
    let also = "another-operator-token";
    let line = token_lines("anna", Role::Operator, &TokenHash::of(also));
    let text: String = [&*token_lines("ole", Role::Operator, &TokenHash::of(OPERATOR)), &*line].concat();
    world.tokens.send_replace(Arc::new(parse_tokens(&text).expect("tokens")));
    let request = || world.post("/erasures", &json!({ "personnummer": CITIZEN })).ok();
    let (first, second) = (request(), request());
    assert_eq!((&first["state"], &second["state"]), (&json!("requested"), &json!("requested")));
    let path = |request: &Value| format!("/erasures/{}/confirm", request["id"]);
    world.post(&path(&first), &json!({})).problem(403);
    assert_eq!(world.get("/erasures").ok()["items"].as_array().map(Vec::len), Some(2));
    let confirm = |request: &Value| world.call("POST", &format!("/api/v1{}", path(request)), Some(also), Some("{}"));
    assert_eq!(confirm(&first).ok()["state"], "erased");
    assert_eq!(world.get("/erasures").ok(), json!({ "items": [] }));
    confirm(&second).problem(404);
}

/// Article 19: whoever holds a copy is told of its deletion, in another way if the broker cannot any more.
#[test]
fn an_erasure_says_whom_nobody_will_tell_of_a_deletion() {
    let world = World::with_retention(|outgoing| match &*outgoing.event.entity {
        "GdprSletning" => Outcome::Failed { failure: Failure::Returned, code: 312 },
        _ => confirmed(outgoing),
    });
    world.tell(&known());
    world.tell(&[event("j1", "Joblog", RECORD, "2026-03-16T08:00:00Z", &json!({}))]);
    world.until("/deliveries?state=delivered&limit=50", |list| {
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().filter(|item| item["event_id"] == "j1").count() == 2
    });
    world.tell(&[deletion("d1", "joblog", "Joblog", RECORD, "2026-03-17T08:00:00Z")]);
    for dry_run in [true, false] {
        let answer = world.post("/erasures", &json!({ "personnummer": CITIZEN, "dry_run": dry_run })).ok();
        assert_eq!(answer["undelivered_notices"], 2, "{answer}");
        let expected = json!([{ "recipient": "akasse:067", "notices": 1 }, { "recipient": "kommune:860", "notices": 1 }]);
        assert_eq!(answer["untold"], expected);
    }
}

/// A vendor that has lost its database has lost the notices too, and may have
/// restored copies of what they were about.
#[test]
fn a_former_holder_can_be_sent_its_notices_again() {
    let world = World::with_retention(confirmed);
    world.tell(&known());
    world.tell(&[event("j1", "Joblog", RECORD, "2026-03-16T08:00:00Z", &json!({}))]);
    let delivered = |id: &'static str, replays: u64| {
        let path = "/deliveries?state=delivered&recipient=akasse:067&limit=50";
        world.until(path, |list| {
            let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            items.iter().any(|item| item["event_id"] == id && item["replays"] == replays)
        });
    };
    delivered("j1", 0);
    let mut moved = known()[0].clone();
    moved["id"] = json!("moved");
    moved["time"] = json!("2026-03-17T08:00:00Z");
    moved["data"]["Aendringstype"] = json!(2);
    moved["data"]["Slutdato"] = json!("2026-03-01");
    world.tell(&[moved, deletion("d1", "joblog", "Joblog", RECORD, "2026-03-18T08:00:00Z")]);
    delivered("d1", 0);
    let since = crate::app::now().plus_seconds(-3600).to_string();
    let filter = json!({ "state": "delivered", "recipient": "akasse:067", "entity": "GdprSletning", "since": since });
    let trial = world.post("/replays", &json!({ "filter": filter, "dry_run": true })).ok();
    assert_eq!((&trial["matched"], &trial["would_send"], &trial["would_withdraw"]), (&json!(1), &json!(1), &json!(0)), "{trial}");
    world.post("/replays", &json!({ "filter": filter })).ok();
    delivered("d1", 1);
}

#[test]
fn a_scrape_has_every_series_that_is_watched_from_the_start_and_stays_small() {
    let world = World::with_retention(confirmed);
    let rules: Vec<_> = world.rules().schedule().rules().map(|rule| rule.id.to_string()).collect();
    assert!(rules.len() > 10, "the shipped deletion rules");
    for area in &rules {
        for name in ["wsb_gdpr_orders_total", "wsb_gdpr_notices_total"] {
            assert!(world.metric(&format!("{name}{{area=\"{area}\"}}")).abs() < 0.5, "{name} {area}");
        }
    }
    for outcome in ["delivered", "withdrawn", "dead"] {
        let series = format!("wsb_deliveries_total{{entity=\"Indkaldelse\",outcome=\"{outcome}\",recipient_type=\"akasse\"}}");
        assert!(world.metric(&series).abs() < 0.5, "{series}");
    }
    let scrape = world.call("GET", "/metrics", None, None).body;
    let bytes = scrape.as_str().unwrap_or_default().len();
    println!("a scrape of {bytes} bytes");
    assert!(bytes < 150 << 10, "{bytes} bytes: 200 KiB are wanted under traffic");
}
