//! Replays through the API, with the real store and writer.

use serde_json::{Value, json};

use super::{Answer, OPERATOR, VENDOR, World, confirmed, event, known};
use crate::core::engine::{CameBack, Doubt, TakenBack};
use crate::core::ids::{Recipient, WsbId};
use crate::core::outbox::{Death, Delivery, End, Withdrawal};
use crate::core::records::{Archive, Change, Records};

fn joblog(id: &str, record: usize) -> Value {
    event(id, "Joblog", &format!("30000000-0000-4000-8000-{record:012}"), "2026-03-16T08:00:00Z", &json!({}))
}

/// A broker that has delivered this many WSBs to Lederne.
fn delivered(events: usize) -> World {
    let world = World::new(confirmed);
    world.tell(&known());
    let all: Vec<Value> = (0..events).map(|at| joblog(&format!("job-{at}"), at)).collect();
    world.tell(&all);
    world.until("/deliveries?recipient=akasse:067&entity=Joblog&state=delivered", |page| items(page).len() == events);
    world
}

fn items(page: &Value) -> Vec<Value> {
    page["items"].as_array().cloned().unwrap_or_default()
}

fn items_of(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn joblogs(world: &World, state: &str) -> Vec<Value> {
    items(&world.get(&format!("/deliveries?recipient=akasse:067&entity=Joblog&state={state}")).ok())
}

/// What one of the Joblogs says of itself when it comes back.
fn came_back(id: WsbId, recipient: &str, queue: &str) -> CameBack {
    let recipient = Recipient::parse(recipient).expect("a recipient");
    CameBack { id, event_id: "job-0".into(), recipient, replay: false, queue: queue.into() }
}

/// Has the vendor reject what it got.
fn reject(world: &World, ids: &[String]) {
    let ids: Vec<WsbId> = ids.iter().map(|id| WsbId::parse(id).expect("an id")).collect();
    let told = world.writer.ask(move |access| {
        for id in ids {
            let back = came_back(id, "akasse:067", "wsb.akasse.067");
            let taken = access.engine.take_back(&back, Death::RejectedByRecipient, access.records, access.now, access.out);
            assert_eq!(taken.expect("taken back"), TakenBack::Known);
        }
    });
    world.runtime.block_on(told).expect("the writer runs");
}

/// Nobody but the recipient's own queue ends its delivery.
#[test]
fn what_comes_back_from_elsewhere_ends_nothing() {
    let world = delivered(1);
    let id = WsbId::parse(joblogs(&world, "delivered")[0]["id"].as_str().expect("an id")).expect("an id");
    let takes = |back: CameBack| {
        let told = world.writer.ask(move |access| {
            access.engine.take_back(&back, Death::RejectedByRecipient, access.records, access.now, access.out).expect("looked at")
        });
        world.runtime.block_on(told).expect("the writer runs")
    };
    assert_eq!(takes(came_back(id, "akasse:067", "wsb.akasse.053")), TakenBack::Doubtful(Doubt::Queue));
    assert_eq!(takes(came_back(id, "akasse:053", "wsb.akasse.067")), TakenBack::Doubtful(Doubt::Queue));
    assert_eq!(takes(came_back(id, "akasse:053", "wsb.akasse.053")), TakenBack::Doubtful(Doubt::Recipient));
    assert_eq!(joblogs(&world, "delivered").len(), 1, "it stays as it was");
    assert_eq!(takes(came_back(id, "akasse:067", "wsb.akasse.067")), TakenBack::Known);
    assert_eq!(joblogs(&world, "dead").len(), 1);
}

/// A broker with so many dead ones.
fn dead(events: usize) -> World {
    let world = delivered(events);
    let ids: Vec<String> = joblogs(&world, "delivered").iter().map(|one| one["id"].as_str().unwrap_or_default().to_owned()).collect();
    reject(&world, &ids);
    assert_eq!(joblogs(&world, "dead").len(), events);
    world
}

fn start(world: &World, body: Value) -> Answer {
    world.post("/replays", &body)
}

fn id_of(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let world = dead(3);
    let answer = start(&world, json!({ "filter": { "state": "dead", "reason": "rejected-by-recipient" }, "dry_run": true })).ok();
    assert_eq!(
        (&answer["id"], &answer["matched"], &answer["would_send"], &answer["would_withdraw"]),
        (&json!(null), &json!(3), &json!(3), &json!(0))
    );
    assert_eq!(answer["by_recipient"]["would_send"], json!({ "akasse:067": 3 }));
    // Lederne has lost the citizen.
    world.tell(&[event("moved", "Akassemedlemskab", super::MEMBERSHIP, "2026-03-02T08:00:00Z", &json!({ "Akassekode": "053" }))]);
    let answer = start(&world, json!({ "filter": { "recipient": "akasse:067" }, "dry_run": true })).ok();
    assert_eq!(answer["by_recipient"]["would_withdraw"], json!([{ "recipient": "akasse:067", "reason": "membership-ended", "count": 3 }]));
    assert_eq!(joblogs(&world, "dead").len(), 3);
    assert_eq!(items(&world.get("/replays").ok()).len(), 0);
    for filter in [json!({ "reason": "nacked" }), json!({ "entity": "Plan" }), json!({ "until": "2026-01-01T00:00:00Z" })] {
        assert_eq!(start(&world, json!({ "filter": filter, "dry_run": true })).ok()["matched"], 0, "{filter}");
    }
}

/// A program that has found nothing to send again must not have everything sent.
#[test]
fn an_empty_selection_selects_nothing() {
    let world = dead(2);
    let texts = ["id", "state", "recipient", "entity", "reason", "since", "until"];
    let empty =
        texts.map(|name| json!({ name: "" })).into_iter().chain([json!({ "ids": [] }), json!({ "ids": [""] }), json!({ "ids": null })]);
    for filter in empty {
        for dry_run in [true, false] {
            let refused = start(&world, json!({ "filter": filter, "dry_run": dry_run }));
            assert!([400, 422].contains(&refused.status), "{filter}: {refused:?}");
        }
    }
    let refused = start(&world, json!({ "filter": { "ids": [] } })).problem(400);
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("names nothing")), "{refused}");
    assert_eq!(joblogs(&world, "dead").len(), 2);
    assert_eq!(start(&world, json!({ "filter": { "recipient": null }, "dry_run": true })).ok()["matched"], 2);
}

/// A typo must not read as "nothing is dead".
#[test]
fn what_is_mistyped_is_refused_with_what_there_is() {
    let world = dead(2);
    let asked = [
        ("recipient", "akasse:999", "no such recipient"),
        ("entity", "Jobblog", "did you mean Joblog?"),
        ("reason", "nope", "rejected-by-recipient"),
    ];
    for (name, value, said) in asked {
        let answers = [
            start(&world, json!({ "filter": { name: value } })),
            start(
                &world,
                json!({ "filter": { name: value, "state": "delivered", "recipient": "akasse:999", "since": "2026-01-01T00:00:00Z" }, "dry_run": true }),
            ),
            world.get(&format!("/deliveries?state=dead&{name}={value}")),
        ];
        let refused = answers.map(|answer| answer.problem(400));
        for problem in [&refused[0], &refused[2]] {
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(said)), "{problem}");
        }
    }
    world.get("/deliveries/groups?recipient=akasse:999").problem(400);
    assert_eq!(items(&world.get("/deliveries?recipient=akasse:053&state=dead&entity=Plan&reason=expired").ok()).len(), 0, "all there are");

    // Taken out of routing.toml, and something is stored of it.
    let former = Recipient::parse("akasse:999").expect("a recipient");
    let id = WsbId::parse(joblogs(&world, "dead")[0]["id"].as_str().expect("an id")).expect("an id");
    let put = |change: fn(Delivery) -> Change| {
        let told = world.writer.ask(move |access| {
            let key = access.records.delivery_by_id(id).expect("looked up").expect("known");
            let mut delivery = access.records.delivery(key).expect("read").expect("dead");
            delivery.key.recipient = former;
            access.records.stage(change(delivery)).expect("staged");
        });
        world.runtime.block_on(told).expect("the writer runs");
    };
    put(Change::PutDelivery);
    assert_eq!(items(&world.get("/deliveries?recipient=akasse:999").ok()).len(), 1);
    assert_eq!(items(&world.get("/deliveries/groups?recipient=akasse:999").ok()).len(), 1);
    assert_eq!(start(&world, json!({ "filter": { "recipient": "akasse:999" }, "dry_run": true })).ok()["matched"], 1);
    put(|delivery| Change::Finish {
        key: delivery.key,
        citizen: delivery.citizen,
        had_row: true,
        end: End::Withdrawn(Withdrawal::RecipientClosed),
        attempts: delivery.attempts,
        may_hold: true,
        event: delivery.event,
        at: delivery.first_at,
    });
    world.get("/deliveries?recipient=akasse:999&state=dead").ok();
}

#[test]
fn a_group_is_replayed_by_the_filter_that_it_says() {
    let world = dead(3);
    let group = items(&world.get("/deliveries/groups").ok()).remove(0);
    assert_eq!(start(&world, json!({ "filter": group["filter"], "dry_run": true })).ok()["matched"], group["count"]);
}

/// "3 would be sent" is no promise while nothing is sent there.
#[test]
fn a_replay_says_what_holds_it_up() {
    let world = dead(3);
    world.post("/recipients/akasse:067/pause", &json!({ "why": "a new version" })).ok();
    let dry = start(&world, json!({ "filter": {}, "dry_run": true })).ok();
    assert_eq!(dry["would_send"], 3);
    let words = |held: &Value| ["recipient", "what", "why", "until"].map(|name| held[name].clone());
    let paused = ["akasse:067".into(), "pause".into(), "a new version".into(), Value::Null];
    let held = items_of(&dry["held"]);
    assert_eq!((held.len(), words(&held[0])), (1, paused.clone()));

    let begun = start(&world, json!({ "filter": {} })).ok();
    assert_eq!(words(&begun["held"][0]), paused);
    let path = format!("/replays/{}", id_of(&begun));
    let replay = world.get(&path).ok();
    assert_eq!((&replay["state"], &replay["done"], words(&replay["held"][0])), (&json!("running"), &json!(0), paused));
    assert_eq!(items(&world.get("/replays").ok())[0]["held"][0]["what"], "pause");

    // A lane that is parked holds its own, and says so as long as anything is left.
    world.tell(&[joblog("job-more", 9)]);
    let waiting = world.until("/deliveries?recipient=akasse:067&state=pending", |page| items(page).len() == 1);
    world.post(&format!("/lanes/{}/park", items(&waiting)[0]["id"].as_str().expect("an id")), &json!({ "why": "looked into" })).ok();
    let held = world.get(&path).ok()["held"].clone();
    assert_eq!((&held[1]["what"], &held[1]["lanes"]), (&json!("release"), &json!(1)), "{held}");

    world.post("/recipients/akasse:067/resume", &json!({})).ok();
    let done = world.until(&path, |replay| replay["state"] == "done");
    assert_eq!((&done["done"], &done["held"]), (&json!(3), &json!([])));
}

/// A vendor is told that its queue rests, and not what an operator has said of it.
#[test]
fn a_vendor_is_not_told_why_its_replay_is_held() {
    let world = dead(1);
    world.post("/recipients/akasse:067/pause", &json!({ "why": "they have not paid" })).ok();
    let body = json!({ "filter": {}, "dry_run": true }).to_string();
    let dry = world.call("POST", "/api/v1/replays", Some(VENDOR), Some(&body)).ok();
    assert_eq!((&dry["held"][0]["what"], &dry["held"][0]["why"]), (&json!("pause"), &Value::Null), "{dry}");
}

#[test]
fn what_is_replayed_goes_out_with_its_id_and_is_counted() {
    let world = dead(3);
    let ids: Vec<Value> = joblogs(&world, "dead").iter().map(|one| one["id"].clone()).collect();
    let answer = start(&world, json!({ "filter": { "ids": ids[..2] } })).ok();
    assert_eq!(answer["matched"], 2);
    let path = format!("/replays/{}", id_of(&answer));
    let replay = world.until(&path, |replay| replay["state"] == "done");
    assert_eq!((&replay["sent"], &replay["done"], &replay["by"]), (&json!(2), &json!(2), &json!("ole")));
    // A page is read beside the writer: until a group is there, it lists what was before.
    let again = world.until("/deliveries?recipient=akasse:067&entity=Joblog&state=delivered", |page| {
        items(page).len() == 2 && items(page).iter().all(|one| one["replays"] == 1)
    });
    for one in items(&again) {
        assert!(ids[..2].contains(&one["id"]), "{one}");
        assert_eq!(one["attempts"], 1);
    }
    // Dead again: it keeps count.
    reject(&world, &[ids[0].as_str().expect("an id").to_owned()]);
    assert_eq!(world.get(&format!("/deliveries/{}", ids[0].as_str().expect("an id"))).ok()["replays"], 1);
    let one = start(&world, json!({ "filter": { "id": ids[2] } })).ok();
    assert_eq!(one["matched"], 1);
}

#[test]
fn the_first_ones_wait_for_a_go_and_nobody_else_sends_the_rest() {
    let world = dead(4);
    let answer = start(&world, json!({ "filter": {}, "canary": 1 })).ok();
    let path = format!("/replays/{}", id_of(&answer));
    let waiting = world.until(&path, |replay| replay["canary"]["delivered"] == 1);
    assert_eq!((&waiting["state"], &waiting["done"]), (&json!("waiting-for-go"), &json!(1)));
    let second = start(&world, json!({ "filter": {} })).ok();
    assert_eq!((&second["matched"], &second["already_claimed"]), (&json!(0), &json!(3)));
    assert_eq!(start(&world, json!({ "filter": {}, "dry_run": true })).ok()["already_claimed"], 3);
    world.post(&format!("{path}/resume"), &json!({})).problem(409);
    world.post(&format!("{path}/go"), &json!({})).ok();
    world.until(&path, |replay| replay["state"] == "done");
    world.post(&format!("{path}/go"), &json!({})).problem(409);
    world.until("/deliveries?recipient=akasse:067&entity=Joblog&state=delivered", |page| {
        let all = items(page);
        all.len() == 4 && all.iter().all(|one| one["replays"] == 1)
    });
    world.post("/replays/99/go", &json!({})).problem(404);
}

#[test]
fn a_stopped_replay_leaves_the_rest_and_can_go_on() {
    let world = dead(5);
    let answer = start(&world, json!({ "filter": {}, "canary": 2 })).ok();
    let path = format!("/replays/{}", id_of(&answer));
    world.until(&path, |replay| replay["state"] == "waiting-for-go");
    let stopped = world.call("DELETE", &format!("/api/v1{path}"), Some(OPERATOR), None).ok();
    assert_eq!((&stopped["state"], &stopped["done"]), (&json!("stopped"), &json!(2)));
    assert_eq!(joblogs(&world, "dead").len(), 3);
    // Somebody else sends one of them meanwhile.
    let one = joblogs(&world, "dead")[0]["id"].clone();
    let other = start(&world, json!({ "filter": { "id": one } })).ok();
    assert_eq!(other["matched"], 1);
    world.until(&format!("/replays/{}", id_of(&other)), |replay| replay["state"] == "done");
    assert_eq!(world.post(&format!("{path}/resume"), &json!({})).ok()["state"], "waiting-for-go");
    world.post(&format!("{path}/go"), &json!({})).ok();
    let done = world.until(&path, |replay| replay["state"] == "done");
    assert_eq!((&done["sent"], &done["skipped"]), (&json!(4), &json!(1)));
    world.until("/deliveries?recipient=akasse:067&entity=Joblog&state=delivered", |page| {
        let all = items(page);
        all.len() == 5 && all.iter().all(|one| one["replays"] == 1)
    });
}

#[test]
fn a_repeated_request_is_the_same_replay() {
    let world = dead(2);
    let send = |name: &str, body: Value| {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let agent: ureq::Agent = config.into();
        let sent = agent
            .post(format!("http://{}/api/v1/replays", world.address))
            .header("authorization", format!("Bearer {OPERATOR}"))
            .header("content-type", "application/json")
            .header("idempotency-key", name)
            .send(body.to_string().as_bytes());
        let mut answer = sent.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_json::<Value>().expect("JSON"))
    };
    let (status, first) = send("again", json!({ "filter": { "recipient": "akasse:067" }, "canary": 1 }));
    assert_eq!((status, &first["matched"]), (200, &json!(2)));
    let (_, second) = send("again", json!({ "filter": { "recipient": "akasse:067" }, "canary": 1 }));
    assert_eq!(first, second);
    let (status, _) = send("again", json!({ "filter": { "recipient": "akasse:067" } }));
    assert_eq!(status, 422);
    let (status, _) = send("with a space", json!({ "filter": {} }));
    assert_eq!(status, 400);
    assert_eq!(items(&world.get("/replays").ok()).len(), 1);
}

#[test]
fn what_was_delivered_is_sent_again_to_whoever_is_entitled_still() {
    let world = delivered(3);
    let since = "2026-01-01T00:00:00Z";
    let ago = |days: i64| crate::app::now().plus_seconds(-86_400 * days).to_string();
    let of = |filter: Value, dry_run: bool| start(&world, json!({ "filter": filter, "dry_run": dry_run }));
    of(json!({ "state": "delivered", "recipient": "akasse:067", "since": since }), true).problem(400);
    of(json!({ "state": "delivered", "recipient": "akasse:067" }), true).problem(400);
    of(json!({ "state": "delivered", "since": ago(1) }), true).problem(400);
    let filter = json!({ "state": "delivered", "recipient": "akasse:067", "entity": "Joblog", "since": ago(1) });
    assert_eq!(of(filter.clone(), true).ok()["would_send"], 3);
    assert_eq!(of(json!({ "state": "delivered", "recipient": "kommune:101", "since": ago(1) }), true).ok()["matched"], 0);

    // One record goes: nothing is told of it any more but that.
    let mut gone = joblog("gone", 1);
    gone["data"]["Aendringstype"] = json!(3);
    gone["time"] = json!("2026-03-17T08:00:00Z");
    world.tell(&[gone]);
    // The dry run knows it too; whether the deletion itself has arrived is open.
    let dry = of(filter.clone(), true).ok();
    assert_eq!(dry["by_recipient"]["would_withdraw"], json!([{ "recipient": "akasse:067", "reason": "record-deleted", "count": 1 }]));
    let answer = of(filter.clone(), false).ok();
    let path = format!("/replays/{}", id_of(&answer));
    let done = world.until(&path, |replay| replay["state"] == "done");
    // The deletion itself has been delivered by now, perhaps.
    assert_eq!(done["withdrawn"], 1, "{done}");
    let withheld = world.get("/events/job-1/trace").ok();
    let lederne = items(&json!({ "items": withheld["events"][0]["deliveries"] })).into_iter().find(|one| one["recipient"] == "akasse:067");
    let timeline = lederne.expect("delivered")["timeline"].as_array().cloned().expect("a timeline");
    let told: Vec<(&str, Option<&str>)> =
        timeline.iter().rev().take(2).map(|entry| (entry["what"].as_str().expect("what"), entry["event_id"].as_str())).collect();
    assert_eq!(told, [("record-deleted", Some("gone")), ("replayed-in-vain", None)], "{withheld}");
    let deletion = world.get("/events/gone/trace").ok();
    assert_eq!(timeline.last().map(|entry| &entry["deleted_at"]), Some(&deletion["events"][0]["taken_in_at"]));
    let page = world.until("/deliveries?recipient=akasse:067&entity=Joblog&state=delivered", |page| {
        items(page).iter().filter(|one| one["replays"] == 1).count() >= 2
    });
    let again: Vec<Value> = items(&page).into_iter().filter(|one| one["replays"] == 1 && one["event_id"] != "gone").collect();
    let mut events: Vec<&str> = again.iter().filter_map(|one| one["event_id"].as_str()).collect();
    events.sort_unstable();
    assert_eq!(events, ["job-0", "job-2"]);
    assert!(again.iter().all(|one| one["delivered_before"].is_string()), "{again:?}");
    let click = of(filter, false).ok();
    assert!(
        click["already_claimed"].as_u64() >= Some(2) && click["by_recipient"]["would_send"].get("akasse:067").is_none_or(|n| n == 1),
        "{click}"
    );

    // By id, and for a fund that has lost the citizen: it stays delivered.
    world.tell(&[event("moved", "Akassemedlemskab", super::MEMBERSHIP, "2026-03-02T08:00:00Z", &json!({ "Akassekode": "053" }))]);
    let answer = of(json!({ "state": "delivered", "id": again[0]["id"] }), false).ok();
    assert_eq!((&answer["matched"], &answer["would_withdraw"]), (&json!(1), &json!(1)));
    let done = world.until(&format!("/replays/{}", id_of(&answer)), |replay| replay["state"] == "done");
    assert_eq!((&done["sent"], &done["withdrawn"]), (&json!(0), &json!(1)));
    let shown = world.get(&format!("/deliveries/{}", again[0]["id"].as_str().expect("an id"))).ok();
    assert_eq!((&shown["state"], &shown["replays"]), (&json!("delivered"), &json!(1)));
    let of = |what: &str| shown["timeline"].as_array().and_then(|timeline| timeline.iter().find(|entry| entry["what"] == what));
    let in_vain = of("replayed-in-vain").expect("what became of it");
    assert_eq!((&in_vain["reason"], &in_vain["replay"], &in_vain["who"]), (&json!("membership-ended"), &answer["id"], &json!("ole")));
    // The rule, and the membership period that decided.
    let decided = of("not-entitled").expect("who decided");
    let registration = json!({ "external_id": super::MEMBERSHIP, "registered_at": "2026-03-02T08:00:00Z" });
    assert_eq!((&decided["audience"], &decided["registration"]), (&shown["because"]["audience"], &registration), "{shown}");
    let replayed = of("replayed").expect("that it was sent again");
    assert!(replayed["replay"].is_string() && replayed["replay"] != answer["id"] && replayed["who"] == "ole", "{replayed}");
    let own = world.call("GET", &format!("/api/v1/deliveries/{}", again[0]["id"].as_str().expect("an id")), Some(VENDOR), None).ok();
    let told = own["timeline"].as_array().expect("a timeline").iter().filter(|entry| entry["replay"].is_string());
    let who: Vec<&Value> = told.map(|entry| &entry["who"]).collect();
    assert_eq!(who, [&Value::Null, &Value::Null], "who it was is no business of a vendor's: {own}");
}

#[test]
fn replays_are_listed_in_pages() {
    let world = World::new(confirmed);
    for _ in 0..5 {
        start(&world, json!({ "filter": { "state": "dead" } })).ok();
    }
    let own = json!({ "filter": {} }).to_string();
    let own = id_of(&world.call("POST", "/api/v1/replays", Some(VENDOR), Some(&own)).ok());
    let ids = |page: &Value| items(page).iter().map(id_of).collect::<Vec<_>>();
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = world.get(&format!("/replays?limit=4&cursor={cursor}")).ok();
        assert!(items(&page).len() <= 4);
        seen.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, ids(&world.get("/replays").ok()), "the newest first, none twice and none left out");
    assert_eq!(seen.len(), 6);
    let whole = world.get("/replays?limit=6").ok();
    assert_eq!((ids(&whole).len(), &whole["next_cursor"]), (6, &Value::Null), "no cursor to nothing");
    // What a vendor may not see takes no place in its pages.
    let of_vendor = world.call("GET", "/api/v1/replays?limit=1", Some(VENDOR), None).ok();
    assert_eq!((ids(&of_vendor), &of_vendor["next_cursor"]), (vec![own], &Value::Null));
    world.get("/replays?cursor=x").problem(400);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = World::new(confirmed);
    for body in [
        json!({ "filter": { "state": "pending" } }),
        json!({ "filter": { "state": "withdrawn" } }),
        json!({ "canary": 0 }),
        json!({ "canary": 1001 }),
        json!({ "rate_per_second": 0 }),
        json!({ "filter": { "ids": ["no uuid"] } }),
        json!({ "filter": { "state": "delivered", "reason": "nacked", "id": "00000000-0000-4000-8000-000000000000" } }),
    ] {
        start(&world, body).problem(400);
    }
    let nothing = start(&world, json!({ "filter": { "state": "dead" } })).ok();
    assert_eq!(world.get(&format!("/replays/{}", id_of(&nothing))).ok()["state"], "done");
}
