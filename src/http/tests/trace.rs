//! "Why did they get it", and "why did they not".

use serde_json::{Value, json};

use crate::core::engine::Outgoing;
use crate::core::outbox::Failure;
use crate::core::retry::Outcome;

use super::{CITIZEN, JOBCENTRE, MEMBERSHIP, OPERATOR, OTHER_VENDOR, VENDOR, World, confirmed, event, indkaldelse, known, lederne_is_gone};

fn timeline(delivery: &Value) -> Vec<String> {
    let entries = delivery["timeline"].as_array().expect("a timeline");
    assert!(entries.iter().all(|entry| entry["at"].is_string()), "{delivery}");
    entries.iter().map(|entry| entry["what"].as_str().expect("what").to_owned()).collect()
}

fn to<'v>(trace: &'v Value, recipient: &str) -> &'v Value {
    let deliveries = trace["events"][0]["deliveries"].as_array().expect("deliveries");
    deliveries.iter().find(|one| one["recipient"] == recipient).unwrap_or_else(|| panic!("nothing to {recipient}: {trace}"))
}

fn ended(trace: &Value) -> bool {
    let deliveries = trace["events"][0]["deliveries"].as_array().cloned().unwrap_or_default();
    !deliveries.is_empty() && deliveries.iter().all(|one| one["state"] == "delivered" || one["state"] == "withdrawn")
}

#[test]
fn a_delivery_says_by_which_registration_and_when() {
    let world = World::new(confirmed);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let trace = world.until("/events/one/trace", ended);
    let lederne = to(&trace, "akasse:067");
    assert_eq!(timeline(lederne), ["decided", "attempt", "delivered"]);
    assert_eq!(lederne["timeline"][0]["because"]["registration"]["external_id"], MEMBERSHIP);
    assert_eq!(lederne["timeline"][0]["because"]["registration"]["registered_at"], "2026-03-01T08:00:00Z");
    assert_eq!(lederne["timeline"][1]["outcome"], "confirmed");
    assert_eq!(to(&trace, "kommune:860")["because"]["registration"]["external_id"], JOBCENTRE);
    let id = lederne["id"].as_str().expect("an id");
    assert_eq!(&world.get(&format!("/deliveries/{id}")).ok(), lederne, "asked for by its id, it is the same");
}

/// The membership of another fund.
const MOVED: &str = "10000000-0000-4000-8000-000000000003";

/// The citizen goes to another fund.
fn transfer() -> Value {
    let mut transfer = event("moved", "Akassemedlemskab", MOVED, "2026-03-20T08:00:00Z", &json!({ "Akassekode": "053" }));
    transfer["data"]["Startdato"] = "2026-03-20".into();
    transfer
}

/// The fund leaves while the WSB waits; the next one gets it. Finished or not,
/// each says by which registration.
#[test]
fn a_transfer_is_told_whole_after_it_has_ended() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.until("/events/one/trace", |trace| to(trace, "akasse:067")["attempts"] == 1);
    world.tell(&[transfer()]);
    let trace = world.until("/events/one/trace", ended);

    let lederne = to(&trace, "akasse:067");
    assert_eq!(timeline(lederne), ["decided", "attempt", "not-entitled", "withdrawn"], "{lederne}");
    assert_eq!((&lederne["timeline"][1]["outcome"], &lederne["timeline"][1]["code"]), (&json!("returned"), &json!(312)));
    assert_eq!(lederne["timeline"][2]["reason"], "not_member");
    let decided = json!({ "external_id": MOVED, "registered_at": "2026-03-20T08:00:00Z" });
    assert_eq!(lederne["timeline"][2]["registration"], decided, "the newer one, for its own is open still");
    assert_eq!(lederne["reason"], "membership-ended");

    let hk = to(&trace, "akasse:053");
    assert_eq!(timeline(hk), ["took-over", "attempt", "delivered"], "{hk}");
    assert_eq!(hk["timeline"][0]["from"], "akasse:067");
    assert_eq!(hk["because"]["registration"], decided);
    let id = hk["id"].as_str().expect("an id");
    assert_eq!(&world.get(&format!("/deliveries/{id}")).ok(), hk, "found by its id, although its event did not know it");
    for query in ["recipient=akasse:053&state=delivered", "recipient=akasse:053", "entity=Indkaldelse&state=delivered&limit=500"] {
        let page = world.get(&format!("/deliveries?{query}")).ok();
        let listed = page["items"].as_array().expect("items").iter().find(|one| one["id"] == id);
        assert_eq!(listed.map(|one| &one["because"]), Some(&hk["because"]), "{query}: {page}");
    }

    // A vendor is told nothing of whom the citizen had before.
    let own = world.call("GET", "/api/v1/events/one/trace", Some(VENDOR), None).ok();
    assert!(!own.to_string().contains("akasse:053") && !own.to_string().contains(MOVED), "{own}");
    assert_eq!(to(&own, "akasse:067")["timeline"][2]["reason"], "not_member");
    world.call("GET", &format!("/api/v1/deliveries/{id}"), Some(VENDOR), None).problem(404);
    world.call("GET", &format!("/api/v1/deliveries/{id}"), Some(OTHER_VENDOR), None).problem(404);
}

/// The auditor's answer begins with what held an event up before it could be one; whoever
/// lies there still is found by its id.
#[test]
fn what_lay_in_quarantine_says_so() {
    let world = World::new(confirmed);
    world.tell(&known());
    world.quarantine(&indkaldelse("one").to_string());
    world.quarantine(&indkaldelse("other").to_string());
    let lies = world.get("/events/one/trace").ok();
    let lying = lies["lying_in_quarantine"].as_array().expect("messages");
    assert_eq!((lying.len(), &lying[0]["id"], &lying[0]["reason"]), (1, &json!(1), &json!("not JSON")), "{lies}");
    assert_eq!(lies["events"], json!([]));
    world.call("GET", "/api/v1/events/one/trace", Some(VENDOR), None).problem(404);
    assert!(!lies.to_string().contains(CITIZEN), "{lies}");

    world.post("/quarantine/1/retry", &json!({})).ok();
    let trace = world.until("/events/one/trace", ended);
    let stay = &trace["events"][0]["lay_in_quarantine"][0];
    assert_eq!((&stay["id"], &stay["since"], &stay["reason"]), (&json!(1), &lying[0]["since"], &json!("not JSON")), "{trace}");
    assert_eq!((&stay["end"], &stay["who"], &stay["until"]), (&json!("retried"), &json!("ole"), &trace["events"][0]["taken_in_at"]));
    assert_eq!(trace["lying_in_quarantine"], json!([]));
    let own = world.call("GET", "/api/v1/events/one/trace", Some(VENDOR), None).ok();
    assert_eq!(own["events"][0]["lay_in_quarantine"][0]["who"], Value::Null, "who acts is for operators alone");
}

/// What came in otherwise, by an import say, lies there until somebody says what is to
/// become of it, and tells both.
#[test]
fn what_was_taken_in_beside_quarantine_says_so() {
    let world = World::new(confirmed);
    world.tell(&known());
    for _ in 0..2 {
        world.quarantine(&indkaldelse("one").to_string());
    }
    world.tell(&[indkaldelse("one")]);
    let trace = world.until("/events/one/trace", ended);
    assert_eq!(trace["lying_in_quarantine"].as_array().map(Vec::len), Some(2), "{trace}");
    assert_eq!(trace["events"][0]["lay_in_quarantine"], json!([]));
    world.post("/quarantine/1/discard", &json!({ "why": "imported" })).ok();
    world.post("/quarantine/2/retry", &json!({})).ok();
    let trace = world.get("/events/one/trace").ok();
    let stays = trace["events"][0]["lay_in_quarantine"].as_array().expect("stays");
    let ends: Vec<(&Value, &Value)> = stays.iter().map(|stay| (&stay["id"], &stay["end"])).collect();
    assert_eq!(ends, [(&json!(1), &json!("discarded")), (&json!(2), &json!("repeat"))], "{trace}");
}

/// Returns a world in which Lederne's WSB of the event "one" is dead, and its id.
fn one_is_dead() -> (World, String) {
    let world = World::new(|outgoing| match (&*outgoing.queue, &*outgoing.event.entity) {
        ("wsb.akasse.067", "Indkaldelse") => Outcome::Failed { failure: Failure::Unsendable, code: 0 },
        _ => Outcome::Confirmed,
    });
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let trace = world.until("/events/one/trace", |trace| to(trace, "akasse:067")["state"] == "dead");
    let id = to(&trace, "akasse:067")["id"].as_str().expect("an id").to_owned();
    (world, id)
}

/// The journal forgets an event before its dead delivery: the id still leads to it,
/// for whoever may see it, and an id that nobody has leads nowhere.
#[test]
fn what_is_dead_is_found_by_its_id_when_its_event_is_forgotten() {
    let (world, id) = one_is_dead();
    world.forget_events();
    world.get("/events/one/trace").problem(404);

    let path = format!("/api/v1/deliveries/{id}");
    assert_eq!(world.get(&format!("/deliveries/{id}")).ok()["state"], "dead");
    assert_eq!(world.call("GET", &path, Some(VENDOR), None).ok()["state"], "dead");
    world.call("GET", &path, Some(OTHER_VENDOR), None).problem(404);
    let nobodys = "00000000-0000-4000-8000-000000000000";
    world.get(&format!("/deliveries/{nobodys}")).problem(404);
    let why = json!({ "why": "a test" });
    for call in ["deliveries/ID/discard", "lanes/ID/park", "lanes/ID/release"] {
        world.post(&format!("/{}", call.replace("ID", nobodys)), &why).problem(404);
    }
    world.post(&format!("/lanes/{id}/park"), &why).problem(409);
    world.post(&format!("/deliveries/{id}/discard"), &why).ok();
}

/// Whoever an event was not sent to is answered as if there were no such event.
#[test]
fn a_vendor_that_was_left_out_cannot_tell_the_event_from_an_unknown_one() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.until("/events/one/trace", |trace| to(trace, "akasse:067")["attempts"] == 1);
    world.tell(&[transfer(), indkaldelse("two")]);
    world.until("/events/one/trace", ended);

    let of_vendor = |path: &str| world.call("GET", &format!("/api/v1{path}"), Some(VENDOR), None);
    let unknown = of_vendor("/events/nobody-knows/trace").problem(404);
    for id in ["moved", "two"] {
        let left_out = &world.get(&format!("/events/{id}/trace")).ok()["events"][0]["left_out"];
        let is_lederne = |one: &Value| one["recipient"] == "akasse:067" && one["registration"]["external_id"] == MOVED;
        assert!(left_out.as_array().is_some_and(|all| all.iter().any(is_lederne)), "{left_out}");
        assert_eq!(of_vendor(&format!("/events/{id}/trace")).problem(404), unknown);
    }
    // Of what it had it sees its own part, and no record that is another's.
    let own = of_vendor("/events/one/trace").ok();
    assert_eq!(own["events"][0]["deliveries"].as_array().map(Vec::len), Some(1), "{own}");
    for foreign in [MOVED, JOBCENTRE, "akasse:053", "kommune:860"] {
        assert!(!own.to_string().contains(foreign), "{own}");
    }
}

/// Withdrawn, entitled again, dead, sent again and delivered: all of it is told.
#[test]
fn what_died_and_was_sent_again_is_told_whole() {
    static WORKS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    let world = World::new(|outgoing| match WORKS.load(std::sync::atomic::Ordering::Relaxed) {
        false if &*outgoing.queue == "wsb.akasse.067" && &*outgoing.event.entity == "Indkaldelse" => {
            Outcome::Failed { failure: Failure::Unsendable, code: 0 }
        }
        _ => Outcome::Confirmed,
    });
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let trace = world.until("/events/one/trace", |trace| to(trace, "akasse:067")["state"] == "dead");
    let id = to(&trace, "akasse:067")["id"].clone();
    WORKS.store(true, std::sync::atomic::Ordering::Relaxed);
    world.post("/replays", &json!({ "filter": { "id": id } })).ok();
    let trace = world.until("/events/one/trace", ended);
    let lederne = to(&trace, "akasse:067");
    let expected = ["decided", "attempt", "dead", "replayed", "attempt", "delivered"];
    assert_eq!(timeline(lederne), expected, "{lederne}");
    assert_eq!((&lederne["timeline"][1]["outcome"], &lederne["timeline"][2]["reason"]), (&json!("unsendable"), &json!("unsendable")));
    assert_eq!((&lederne["replays"], &lederne["timeline"][4]["outcome"]), (&json!(1), &json!("confirmed")));
}

/// A GdprSletning is told as its notice, and found and named as that.
#[test]
fn a_notice_has_the_name_that_its_wsb_has() {
    let world = World::new(confirmed);
    world.tell(&known());
    let record = "40000000-0000-4000-8000-000000000001";
    world.tell(&[event("log", "Joblog", record, "2026-03-16T08:00:00Z", &json!({}))]);
    world.until("/events/log/trace", ended);
    let content = json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" });
    world.tell(&[event("gone", "GdprSletning", record, "2026-03-17T08:00:00Z", &content)]);
    let trace = world.until("/events/gone/trace", ended);
    assert_eq!(trace["events"][0]["entity"], "GdprSletning", "the event has its own");
    assert_eq!(to(&trace, "akasse:067")["entity"], "GdprSletJoblog");
    let named = |query: &str| {
        let page = world.get(&format!("/deliveries?{query}")).ok();
        let items = page["items"].as_array().expect("items").clone();
        assert!(items.iter().all(|one| one["entity"] == "GdprSletJoblog"), "{page}");
        items.len()
    };
    assert_eq!(named("entity=GdprSletJoblog"), 2);
    assert_eq!(named("entity=GdprSletJoblog&recipient=akasse:067"), 1);
    assert_eq!(named("entity=GdprSletAndenLog"), 0);
    let selected = world.post("/replays", &json!({
        "filter": { "state": "delivered", "recipient": "akasse:067", "since": trace["events"][0]["taken_in_at"], "entity": "GdprSletJoblog" },
        "dry_run": true,
    }));
    assert_eq!(selected.ok()["matched"], 1);
}

#[test]
fn a_notice_that_died_is_grouped_and_counted_by_its_own_name() {
    let world = World::new(|outgoing| match (&*outgoing.queue, &*outgoing.event.entity) {
        ("wsb.akasse.067", "GdprSletning") => Outcome::Failed { failure: Failure::Unsendable, code: 0 },
        _ => Outcome::Confirmed,
    });
    world.tell(&known());
    let record = "40000000-0000-4000-8000-000000000001";
    world.tell(&[event("log", "Joblog", record, "2026-03-16T08:00:00Z", &json!({}))]);
    world.until("/events/log/trace", ended);
    let content = json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" });
    world.tell(&[event("gone", "GdprSletning", record, "2026-03-17T08:00:00Z", &content)]);
    let groups = world.until("/deliveries/groups", |groups| groups["items"].as_array().is_some_and(|items| !items.is_empty()));
    let group = &groups["items"][0];
    assert_eq!((&group["entity"], &group["reason"], &group["count"]), (&json!("GdprSletJoblog"), &json!("unsendable"), &json!(1)));
    let dead = |entity: &str| format!("wsb_deliveries_total{{entity=\"{entity}\",outcome=\"dead\",recipient_type=\"akasse\"}}");
    assert_eq!(world.metric(&dead("GdprSletJoblog")), 1.0);
    let waiting = world.get("/deliveries?state=dead&entity=GdprSletJoblog").ok();
    assert_eq!(waiting["items"].as_array().map(Vec::len), Some(1), "a link from the group finds them: {waiting}");
}

/// What Lederne's delivery of an event waits for now, as a caller is told.
fn waits(world: &World, event: &str, token: &str) -> Vec<Value> {
    let trace = world.call("GET", &format!("/api/v1/events/{event}/trace"), Some(token), None).ok();
    to(&trace, "akasse:067")["waits_for"].as_array().cloned().expect("what it waits for")
}

fn words(waits: &[Value]) -> Vec<&str> {
    waits.iter().filter_map(|wait| wait["what"].as_str()).collect()
}

#[test]
fn what_waits_says_for_what() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one"), indkaldelse("two")]);
    let trace = world.until("/events/one/trace", |trace| to(trace, "akasse:067")["attempts"].as_u64() >= Some(1));
    let id = to(&trace, "akasse:067")["id"].as_str().expect("an id").to_owned();
    assert_eq!(to(&trace, "kommune:860")["waits_for"], json!([]), "it has arrived");

    let behind = waits(&world, "two", OPERATOR);
    let behind = behind.iter().find(|wait| wait["what"] == "behind").expect("behind the first of its lane");
    assert_eq!((&behind["id"], &behind["event_id"]), (&json!(id), &json!("one")));
    // The probes go on meanwhile: between two of them it may be under way.
    let probed = world.until("/events/two/trace", |trace| to(trace, "akasse:067")["waits_for"][0]["what"] == "probe");
    let probe = &to(&probed, "akasse:067")["waits_for"][0];
    assert!(probe["since"].is_string() && probe["until"].is_string() && probe["reason"] == "returned", "{probe}");

    world.post("/recipients/akasse:067/pause", &json!({ "why": "they move house" })).ok();
    let paused = waits(&world, "two", OPERATOR);
    assert_eq!(words(&paused), ["pause", "behind"], "{paused:?}");
    assert_eq!((&paused[0]["why"], &paused[0]["until"]), (&json!("they move house"), &Value::Null));
    assert_eq!(waits(&world, "two", VENDOR)[0]["why"], Value::Null, "what operators say is for them alone");

    world.post(&format!("/lanes/{id}/park"), &json!({ "why": "a citizen complains" })).ok();
    let parked = waits(&world, "two", OPERATOR);
    assert_eq!(words(&parked), ["pause", "release"], "{parked:?}");
    assert_eq!(parked[1]["why"], "a citizen complains");
    let shown = world.get(&format!("/deliveries/{id}")).ok();
    assert_eq!(shown["waits_for"], json!(waits(&world, "one", OPERATOR)), "asked for by its id, it is the same");
}

#[test]
fn what_waits_for_the_end_of_a_window_says_so() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml")).expect("the shipped routing.toml");
    let line = shipped.lines().find(|line| line.trim_start().starts_with("{ authority = \"akasse:067\"")).expect("a line for it");
    let window = ", maintenance = [{ from = 2020-03-20T22:00:00, until = 2099-03-21T04:00:00 }] },";
    let rules = crate::config::parse_routing(&shipped.replace(line, &line.replace(" },", window))).expect("a routing.toml");
    let world = World::of(confirmed, rules);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.until("/events/one/trace", |trace| to(trace, "kommune:860")["state"] == "delivered");
    let waits = waits(&world, "one", VENDOR);
    assert_eq!(words(&waits), ["maintenance-window"]);
    assert_eq!(waits[0]["until"], "2099-03-21T03:00:00Z");
}

/// A transfer that is taken back while the WSB waits: that it was withdrawn meanwhile
/// stays told.
#[test]
fn a_withdrawal_stays_in_the_trace_of_what_is_taken_up_again() {
    let world = World::new(no_summons_arrives);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    world.until("/events/one/trace", |trace| to(trace, "akasse:067")["attempts"] == 1);
    let mut transfer = transfer();
    world.tell(&[transfer.clone()]);
    world.until("/events/one/trace", |trace| to(trace, "akasse:067")["state"] == "withdrawn");
    transfer["id"] = "recalled".into();
    transfer["time"] = "2026-03-20T09:00:00Z".into();
    transfer["data"]["Aendringstype"] = 3.into();
    world.tell(&[transfer]);
    let trace = world.until("/events/one/trace", |trace| to(trace, "akasse:067")["state"] != "withdrawn");
    let lederne = to(&trace, "akasse:067");
    assert_eq!(timeline(lederne)[..5], ["decided", "attempt", "not-entitled", "withdrawn", "took-over"], "{lederne}");
    assert_eq!(lederne["timeline"][3]["reason"], "membership-ended");
}

fn no_summons_arrives(outgoing: &Outgoing) -> Outcome {
    match &*outgoing.event.entity {
        "Indkaldelse" => Outcome::Failed { failure: Failure::Returned, code: 312 },
        _ => Outcome::Confirmed,
    }
}

#[test]
fn a_replay_that_found_nobody_entitled_is_told() {
    let (world, id) = one_is_dead();
    world.tell(&[event("moved", "Akassemedlemskab", MEMBERSHIP, "2026-03-20T08:00:00Z", &json!({ "Akassekode": "053" }))]);
    let started = world.post("/replays", &json!({ "filter": { "id": id } })).ok();
    world.until(&format!("/replays/{}", started["id"].as_str().expect("an id")), |replay| replay["withdrawn"] == 1);
    let trace = world.until("/events/one/trace", ended);
    let lederne = to(&trace, "akasse:067");
    // The membership has never been Lederne's, says its record now.
    assert_eq!(timeline(lederne), ["decided", "attempt", "dead", "replayed-in-vain", "not-entitled", "withdrawn"], "{lederne}");
    let decided = json!({ "external_id": MEMBERSHIP, "registered_at": "2026-03-20T08:00:00Z" });
    assert_eq!((&lederne["timeline"][4]["registration"], &lederne["timeline"][4]["reason"]), (&decided, &json!("not_member")));
    assert_eq!((&lederne["timeline"][2]["reason"], &lederne["timeline"][3]["reason"]), (&json!("unsendable"), &json!("membership-ended")));
}

#[test]
fn what_operators_and_deletions_do_is_told() {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("one")]);
    let trace = world.until("/events/one/trace", |trace| to(trace, "akasse:067")["attempts"] == 1);
    let id = to(&trace, "akasse:067")["id"].as_str().expect("an id").to_owned();
    world.post(&format!("/deliveries/{id}/discard"), &json!({ "why": "a test" })).ok();
    let trace = world.until("/events/one/trace", ended);
    let lederne = to(&trace, "akasse:067");
    assert_eq!(timeline(lederne), ["decided", "attempt", "acted", "withdrawn"], "{lederne}");
    assert_eq!((&lederne["timeline"][2]["who"], &lederne["timeline"][2]["action"]), (&json!("ole"), &json!("delivery-discarded")));
    let own = world.call("GET", &format!("/api/v1/deliveries/{id}"), Some(VENDOR), None).ok();
    assert_eq!(own["timeline"][2]["who"], Value::Null, "who it was is no business of a vendor's");

    let record = "30000000-0000-4000-8000-000000000001";
    world.tell(&[event("two", "Indkaldelse", record, "2026-03-16T08:00:00Z", &json!({}))]);
    world.until("/events/two/trace", |trace| to(trace, "akasse:067")["state"] != "delivered");
    let mut recall = event("three", "Indkaldelse", record, "2026-03-17T08:00:00Z", &json!({}));
    recall["data"]["Aendringstype"] = 3.into();
    world.tell(&[recall]);
    let trace = world.until("/events/two/trace", ended);
    let lederne = to(&trace, "akasse:067");
    let deleted = lederne["timeline"].as_array().expect("a timeline").iter().find(|entry| entry["what"] == "record-deleted");
    assert_eq!(deleted.expect("what deleted it")["event_id"], "three", "{lederne}");
}

#[test]
fn ids_that_are_not_unique_or_not_plain_are_found() {
    let world = World::new(confirmed);
    world.tell(&known());
    let id = "a/b?c=#d%25 æ\u{1f600}..";
    let mut other = event(id, "Frist", JOBCENTRE, "2026-03-17T08:00:00Z", &json!({}));
    other["source"] = "urn:dk:star:dfdg:other".into();
    world.tell(&[event(id, "Indkaldelse", JOBCENTRE, "2026-03-16T08:00:00Z", &json!({})), other]);
    let escaped: String = id.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let trace = world.get(&format!("/events/{escaped}/trace")).ok();
    assert_eq!(trace["event_id"], id);
    let sources: Vec<&Value> = trace["events"].as_array().expect("events").iter().map(|event| &event["source"]).collect();
    assert_eq!(sources, ["urn:dk:star:dfdg:test", "urn:dk:star:dfdg:other"]);
}
