//! No personnummer and no payload anywhere but in the messages themselves.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::rig::{Event, Proxy, Vendor, VendorOptions, Verdict, event, membership, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, enroll, queue};

/// Personnumre of this test and of no other.
const MARKED: [&str; 6] = ["1212777701", "1212777702", "1212777703", "1212777704", "1212777705", "1212777706"];
/// Words in payloads.
const WORDS: [&str; 3] = ["Hemmelighedsfuldt", "fortroligt-felt", "Hemmeligt Navn"];

fn content() -> serde_json::Value {
    json!({ "fortroligt-felt": "Hemmelighedsfuldt", "Navn": "Hemmeligt Navn" })
}

#[track_caller]
fn clean(what: &str, bytes: &[u8]) {
    for marked in MARKED.iter().chain(&WORDS) {
        let found = bytes.windows(marked.len()).any(|window| window == marked.as_bytes());
        assert!(!found, "{what} holds {marked}");
    }
}

#[track_caller]
fn clean_files(directory: &Path) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).expect("the data directory can be read") {
        let entry = entry.expect("the data directory can be read");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files += clean_files(&entry.path());
        } else {
            clean(&entry.path().display().to_string(), &fs::read(entry.path()).expect("the file can be read"));
            files += 1;
        }
    }
    files
}

#[test]
fn no_personal_data_outside_of_messages() {
    for format in ["text", "json"] {
        let uri = shared_node().vhost("privacy");
        let proxy = Proxy::start(shared_node().port());
        let through = proxy.uri(&uri);
        let routing = Routing::few().retry(20, 100, 3600);
        let mut world = World::at(&through, &routing, |options| options.env("WSB_LOG", "trace").env("WSB_LOG_FORMAT", format));
        world.amqp = crate::rig::Amqp::connect(&uri);
        world.broker.start_again();
        run(&mut world, &uri, &proxy);
    }
}

fn run(world: &mut World, uri: &str, proxy: &Proxy) {
    let known: Vec<Event> = MARKED[..4].iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")).collect();
    world.tell(&known);
    world.tell(&[
        membership(MARKED[1], "067", "2020-01-01", None).updated().at("2026-03-17T08:00:00+01:00").content({
            let mut content = content();
            content["Akassekode"] = "067".into();
            content
        }),
        event("Personnummerskift").cpr(MARKED[0]).content(json!({ "NytPersonnummer": MARKED[4] })),
        event("PersonDoed").cpr(MARKED[3]).content(json!({ "Doedsdato": "2026-03-01" })),
    ]);
    world.empty(&FEW);

    // Something in every state: delivered, withdrawn, retried, dead, quarantined,
    // and a duplicate.
    let judge = std::sync::Arc::new(|message: &crate::rig::Message| if message.kind == "Joblog" { Verdict::Reject } else { Verdict::Ack });
    let vendor = Vendor::with(uri, [queue("kommune:860").as_str()], &VendorOptions { prefetch: 10, judge });
    world.amqp.delete_queue(&queue("akasse:067"));
    let events: Vec<Event> = ["Tilmelding", "Joblog", "Samtale", "Indkaldelse"]
        .iter()
        .flat_map(|kind| MARKED.iter().map(|cpr| event(kind).cpr(cpr).content(content()).authority("kommune", "860")))
        .collect();
    world.publish(&events);
    world.publish(&events[..3]);
    world.publish(&[membership(MARKED[2], "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00")]);
    let bad = [
        event("Fravaer").cpr(&format!("{}x", MARKED[0])).content(content()).body(),
        event("Ukendt").cpr(MARKED[1]).content(content()).body(),
        event("Fravaer").cpr(MARKED[1]).period(MARKED[2], None).content(content()).body(),
        event("Fravaer").cpr(MARKED[1]).external(MARKED[2]).content(json!(["Hemmelighedsfuldt"])).body(),
        format!("{{\"Personnummer\":\"{}\",\"Hemmelighedsfuldt\"", MARKED[2]).into_bytes(),
        format!("{} Hemmelighedsfuldt", MARKED[2]).into_bytes(),
    ];
    for body in &bad {
        world.amqp.publish("dfdg.events", "fravaer.fravaer.oprettet", body.clone());
    }
    world.amqp.publish("wsb.returned", "", format!("{{\"Personnummer\":\"{}\",\"x\":\"Hemmelighedsfuldt\"}}", MARKED[5]));
    // 12 and 3 before; 24 with 3 repeats, the transfer, and the stranger's.
    let published = 12 + 3 + 24 + 3 + 1 + bad.len() + 1;
    until(LIMIT, "all are consumed", || world.consumed() >= published);
    until(LIMIT, "something is dead", || world.count("wsb_dead", &[]) > 0);
    until(LIMIT, "something is retried", || world.count("wsb_retrying", &[]) > 0);
    proxy.cut();
    until(LIMIT, "the broker is back", || world.broker.readyz().is_some_and(|(status, _)| status == 200));
    vendor.wait_for(12, LIMIT);

    let (_, recipients) = world.broker.api_get("/api/v1/recipients");
    clean("recipients", recipients.to_string().as_bytes());
    let mut seen = 0;
    for delivery in world.deliveries("") {
        let (status, one) = world.broker.api_get(&format!("/api/v1/deliveries/{}", delivery["id"].as_str().unwrap()));
        // One that took over from another and was delivered since cannot be shown by its id.
        assert!(status == 200 || status == 404, "{one}");
        clean("delivery", one.to_string().as_bytes());
        clean("delivery in a list", delivery.to_string().as_bytes());
        seen += 1;
    }
    assert!(seen > 3, "{seen} deliveries");
    for event in &events {
        let (status, trace) = world.broker.api_get(&format!("/api/v1/events/{}/trace", event.event_id()));
        assert_eq!(status, 200, "{trace}");
        clean("trace", trace.to_string().as_bytes());
    }
    let quarantine = world.broker.cli_ok(&["quarantine", "list"]);
    assert!(quarantine.lines().count() > bad.len(), "{quarantine}");
    clean("quarantine list", quarantine.as_bytes());
    clean("quarantine", world.broker.api_get("/api/v1/quarantine").1.to_string().as_bytes());
    for id in 1..=7 {
        let retried = world.broker.cli(&["quarantine", "retry", &id.to_string()]);
        clean("quarantine retry", &[retried.stdout, retried.stderr].concat());
    }
    let file = world.write("event.json", events[0].body());
    clean("explain", world.broker.cli_ok(&["explain", "--event", &file]).as_bytes());
    let file = world.write("bad.json", &bad[0]);
    let refused = world.broker.cli(&["explain", "--event", &file]);
    assert_eq!(refused.status.code(), Some(1));
    clean("explain of a bad event", &[refused.stdout, refused.stderr].concat());
    clean("metrics", format!("{:?}", world.broker.metrics().all()).as_bytes());

    assert!(clean_files(world.broker.data_dir()) > 2);
    world.broker.kill9();
    assert!(clean_files(world.broker.data_dir()) > 2);
    world.broker.start_again();
    assert!(world.broker.terminate().success());
    assert!(clean_files(world.broker.data_dir()) > 2);
    let log = world.broker.log();
    clean("the log", log.as_bytes());
    assert!(log.contains("the store is open"), "the log is there: {log}");
    let messages = vendor.messages();
    assert!(messages.iter().any(|message| message.field("Identifikation") == MARKED[4]), "the messages do say it");
}
