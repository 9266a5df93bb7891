//! Every call with every role, against the table; and what a vendor sees of the
//! calls that it may make.

use serde_json::{Value, json};

use super::super::Needs;
use super::{OPERATOR, OTHER_VENDOR, VENDOR, VIEWER, World, indkaldelse, known, lederne_is_gone};

/// A world with a delivery to Lederne that waits, and one to Hjørring that arrived.
struct Case {
    world: World,
    lederne: String,
    hjoerring: String,
}

fn case() -> Case {
    let world = World::new(lederne_is_gone);
    world.tell(&known());
    world.tell(&[indkaldelse("call/1 æ")]);
    world.quarantine("{");
    world.quarantine("{");
    let trace = world.until("/events/call%2F1%20%C3%A6/trace", |trace| {
        let deliveries = trace["events"][0]["deliveries"].as_array().cloned().unwrap_or_default();
        deliveries.len() == 2 && deliveries.iter().all(|one| one["attempts"] == 1 || one["recipient"] == "akasse:067")
    });
    let id = |recipient: &str| {
        let deliveries = trace["events"][0]["deliveries"].as_array().expect("deliveries");
        let found = deliveries.iter().find(|one| one["recipient"] == recipient).expect("a delivery to it");
        found["id"].as_str().expect("an id").to_owned()
    };
    let (lederne, hjoerring) = (id("akasse:067"), id("kommune:860"));
    Case { lederne, hjoerring, world }
}

/// A body that the call takes, or finds nothing wrong with but what it is about.
fn body_of(path: &str) -> Option<Value> {
    match path {
        "/replays" => Some(json!({ "filter": { "entity": "Frist" }, "dry_run": true })),
        path if ["/discard", "/pause", "/park"].iter().any(|end| path.ends_with(end)) => Some(json!({ "why": "a test" })),
        _ => None,
    }
}

#[test]
fn every_call_with_every_role() {
    let case = case();
    let calls = case.world.calls();
    assert!(calls.len() >= 15, "{}", calls.len());
    for call in calls {
        let path = call.path.replace("{event_id}", "call%2F1%20%C3%A6").replace("{recipient}", "akasse:067");
        let id = if path.starts_with("/deliveries") || path.starts_with("/lanes") { &case.lederne } else { "1" };
        let path = format!("/api/v1{}", path.replace("{id}", id));
        let body = body_of(call.path).map(|body| body.to_string());
        let ask = |token: Option<&str>| case.world.call(call.method, &path, token, body.as_deref()).status;
        assert_eq!(ask(None), 401, "{call:?} without a token");
        let (viewer, vendor) = match call.needs {
            Needs::Token => (true, true),
            Needs::Viewer => (true, false),
            Needs::Replayer => (false, true),
            Needs::Operator => (false, false),
        };
        // The operator last: it may change what the others ask about.
        for (token, allowed) in [(VIEWER, viewer), (VENDOR, vendor), (OTHER_VENDOR, vendor), (OPERATOR, true)] {
            let status = ask(Some(token));
            assert_eq!(!matches!(status, 401 | 403), allowed, "{call:?} with {token}: {status}");
            assert!(status < 500 && status != 405, "{call:?} with {token}: {status}");
        }
    }
    assert!(case.world.metric("wsb_http_refused_total{why=\"not_allowed\"}") > 10.0);
}

#[test]
fn a_vendor_sees_its_own_part_of_everything() {
    let case = case();
    let world = &case.world;
    let get = |path: &str, token: &str| world.call("GET", &format!("/api/v1{path}"), Some(token), None);
    let recipients = |answer: Value| -> Vec<String> {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| item["recipient"].as_str().unwrap_or_default().to_owned()).collect()
    };

    assert_eq!(recipients(get("/recipients", VENDOR).ok()), ["akasse:067"]);
    assert_eq!(recipients(get("/recipients", VIEWER).ok()).len(), 119);
    let all = recipients(get("/deliveries", VIEWER).ok());
    assert!(all.contains(&"kommune:860".to_owned()) && all.contains(&"akasse:067".to_owned()), "{all:?}");
    let own = recipients(get("/deliveries", VENDOR).ok());
    assert!(!own.is_empty() && own.iter().all(|recipient| recipient == "akasse:067"), "{own:?}");
    assert_eq!(recipients(get("/deliveries?recipient=kommune:860", VENDOR).ok()), Vec::<String>::new());
    assert_eq!(recipients(get("/deliveries?recipient=akasse:067", VENDOR).ok()), own);

    assert_eq!(get(&format!("/deliveries/{}", case.lederne), VENDOR).ok()["recipient"], "akasse:067");
    let foreign = get(&format!("/deliveries/{}", case.hjoerring), VENDOR).problem(404);
    let unknown = get("/deliveries/00000000-0000-4000-8000-000000000000", VENDOR).problem(404);
    assert_eq!(foreign, unknown, "no difference between what is another's and what is not there");
    assert_eq!(get(&format!("/deliveries/{}", case.hjoerring), OTHER_VENDOR).ok()["recipient"], "kommune:860");

    // The lane of Lederne's citizen, with what operators said of it for them alone.
    let parked = json!({ "why": "somebody looks into it" }).to_string();
    world.call("POST", &format!("/api/v1/lanes/{}/park", case.lederne), Some(OPERATOR), Some(&parked)).ok();
    let lanes = |token: &str| get("/lanes", token).ok()["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(lanes(VIEWER).iter().map(|lane| &lane["why"]).collect::<Vec<_>>(), [&json!("somebody looks into it")]);
    assert_eq!(
        lanes(VENDOR).iter().map(|lane| [&lane["recipient"], &lane["why"]]).collect::<Vec<_>>(),
        [[&json!("akasse:067"), &Value::Null]]
    );
    assert_eq!(lanes(OTHER_VENDOR), Vec::<Value>::new());
    assert_eq!(recipients(get("/lanes?recipient=akasse:067", OTHER_VENDOR).ok()), Vec::<String>::new());
    let released = json!({ "why": "it is mended" }).to_string();
    world.call("POST", &format!("/api/v1/lanes/{}/release", case.lederne), Some(OPERATOR), Some(&released)).ok();
    let noted = get("/audit?order=newest&limit=1", OPERATOR).ok();
    assert_eq!([&noted["items"][0]["action"], &noted["items"][0]["why"]], [&json!("lane-released"), &json!("it is mended")], "{noted}");

    // That its queue rests, and not what was said of it.
    world
        .call("POST", "/api/v1/recipients/akasse:067/pause", Some(OPERATOR), Some(&json!({ "why": "their number 4711" }).to_string()))
        .ok();
    let paused = |token: &str| {
        let items = get("/recipients", token).ok()["items"].as_array().cloned().unwrap_or_default();
        let own = items.into_iter().find(|item| item["recipient"] == "akasse:067").unwrap_or_default();
        [own["state"].clone(), own["paused_by"].clone(), own["why"].clone()]
    };
    assert_eq!(paused(VIEWER), [json!("paused"), json!("operator"), json!("their number 4711")]);
    assert_eq!(paused(VENDOR), [json!("paused"), json!("operator"), Value::Null]);
    world.call("POST", "/api/v1/recipients/akasse:067/resume", Some(OPERATOR), None).ok();

    let trace = get("/events/call%2F1%20%C3%A6/trace", VENDOR).ok();
    assert_eq!(trace["events"][0]["deliveries"].as_array().map(Vec::len), Some(1), "{trace}");
    assert!(!trace.to_string().contains("kommune:860") && !trace.to_string().contains(&case.hjoerring), "{trace}");
    world.tell(&[super::event("frist", "Frist", super::JOBCENTRE, "2026-03-17T08:00:00Z", &json!({}))]);
    assert_eq!(get("/events/frist/trace", OTHER_VENDOR).status, 200);
    get("/events/frist/trace", VENDOR).problem(404);
    assert_eq!(get("/events/frist/trace", VIEWER).status, 200);
}

#[test]
fn a_vendor_replays_its_own_only() {
    let case = case();
    let start = |token: &str, filter: Value| {
        let body = json!({ "filter": filter, "dry_run": false }).to_string();
        case.world.call("POST", "/api/v1/replays", Some(token), Some(&body)).ok()["id"].as_str().expect("an id").to_owned()
    };
    let list = |token: &str| case.world.call("GET", "/api/v1/replays", Some(token), None).ok()["items"].as_array().map_or(0, Vec::len);
    let show = |id: &str, token: &str| case.world.call("GET", &format!("/api/v1/replays/{id}"), Some(token), None);
    let own = start(VENDOR, json!({}));
    let of_operator = start(OPERATOR, json!({}));
    assert_eq!((list(VENDOR), list(OTHER_VENDOR), list(VIEWER)), (1, 0, 2));
    assert_eq!(show(&own, VENDOR).status, 200);
    show(&own, OTHER_VENDOR).problem(404);
    show(&of_operator, VENDOR).problem(404);
    let stop = |id: &str, token: &str| case.world.call("DELETE", &format!("/api/v1/replays/{id}"), Some(token), None);
    stop(&of_operator, VENDOR).problem(404);
    assert_eq!(stop(&own, VENDOR).status, 200);
}

/// Returns the text of the shipped routing.toml.
fn shipped() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml")).expect("the shipped routing.toml")
}

/// Gives a recipient maintenance windows.
fn with_windows(text: &str, of: &str, windows: &str) -> String {
    let line = text.lines().find(|line| line.trim_start().starts_with(&format!("{{ authority = \"{of}\""))).expect("a line for it");
    text.replace(line, &line.replace(" },", &format!(", maintenance = [{windows}] }},")))
}

#[test]
fn windows_are_listed_to_whom_they_concern() {
    let text = with_windows(&shipped(), "akasse:067", "{ from = 2099-03-20T22:00:00, until = 2099-03-21T04:00:00 }");
    let over = "{ from = 2020-03-20T22:00:00, until = 2020-03-21T04:00:00 }";
    let now = "{ from = 2020-03-20T22:00:00, until = 2099-03-21T04:00:00 }";
    let text = with_windows(&text, "kommune:860", &format!("{over}, {now}"));
    let rules = crate::config::parse_routing(&text).expect("a routing.toml");
    let world = World::of(lederne_is_gone, rules);
    let list = |token: &str| -> Vec<[Value; 4]> {
        let answer = world.call("GET", "/api/v1/windows", Some(token), None).ok();
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| ["recipient", "from", "state", "repeats"].map(|name| item[name].clone())).collect()
    };
    let lederne = ["akasse:067", "2099-03-20T21:00:00Z", "coming", "once"].map(|text| json!(text));
    let hjoerring = ["kommune:860", "2020-03-20T21:00:00Z", "now", "once"].map(|text| json!(text));
    assert_eq!(list(VIEWER), [hjoerring.clone(), lederne.clone()], "the soonest first, and none that is over");
    assert_eq!((list(VENDOR), list(OTHER_VENDOR)), (vec![lederne], vec![hjoerring]));
}

/// An order that is refused changes nothing: the pause is there after the window too.
#[test]
fn within_its_window_a_recipient_stays_paused_by_order() {
    let text = with_windows(&shipped(), "akasse:067", "{ from = 2020-03-20T22:00:00, until = 2099-03-21T04:00:00 }");
    let world = World::of(lederne_is_gone, crate::config::parse_routing(&text).expect("a routing.toml"));
    let state = || {
        let items = world.get("/recipients").ok()["items"].as_array().cloned().unwrap_or_default();
        let own = items.into_iter().find(|item| item["recipient"] == "akasse:067").unwrap_or_default();
        ["state", "paused_by", "paused_until", "why"].map(|name| own[name].clone())
    };
    let refused = |body: Value| world.post("/recipients/akasse:067/resume", &body).problem(409)["detail"].to_string();
    let in_window = state();
    assert_eq!(in_window[..2], [json!("paused"), json!("maintenance")]);
    assert!(refused(json!({ "why": "I try" })).contains("2099-03-21T03:00:00Z"));

    world.post("/recipients/akasse:067/pause", &json!({ "why": "looked into until further notice" })).ok();
    let ordered = [json!("paused"), json!("operator"), Value::Null, json!("looked into until further notice")];
    assert_eq!(state(), ordered);
    for body in [json!({ "why": "I try", "dry_run": true }), json!({ "why": "I try" })] {
        let said = refused(body);
        assert!(said.contains("nothing was changed") && said.contains("the pause that was ordered goes on after it"), "{said}");
        assert_eq!(state(), ordered);
    }
    let log = world.get("/audit?order=newest&limit=1").ok();
    assert_eq!(log["items"][0]["action"], "queue-paused", "nothing was done: {log}");
    let until = "2099-04-01T00:00:00Z";
    world.post("/recipients/akasse:067/pause", &json!({ "why": "until April", "until": until })).ok();
    assert!(refused(json!({})).contains(&format!("goes on until {until}")));
}
