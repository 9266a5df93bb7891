//! What brings everything, or one recipient, to a standstill, and what ends it.

use fs2::FileExt;
use serde_json::{Value, json};

use crate::rig::{Event, Vendor, event, membership, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, cpr, enroll, ids, queue};

fn impatient() -> Routing {
    Routing::few().retry(20, 200, 3600)
}

fn news(citizens: &[&str], each: usize) -> Vec<Event> {
    (0..each).flat_map(|_| citizens.iter().map(|cpr| event("Tilmelding").cpr(cpr))).collect()
}

#[test]
fn a_deleted_exchange_is_declared_again_and_everything_goes_out_in_order() {
    let world = World::running("exchange-gone", &impatient());
    let citizens = [cpr(1), cpr(2)];
    let citizens: Vec<&str> = citizens.iter().map(String::as_str).collect();
    world.tell(citizens.iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")).collect::<Vec<_>>().iter());
    world.empty(&FEW);
    world.amqp.delete_exchange("wsb.delivery");
    let events = news(&citizens, 10);
    world.tell(&events);
    for recipient in ["akasse:067", "kommune:860"] {
        let messages = world.take(recipient);
        for cpr in &citizens {
            let got: Vec<&str> = messages
                .iter()
                .filter(|message| message.field("Identifikation") == **cpr)
                .map(|message| message.correlation_id.as_str())
                .collect();
            assert_eq!(got, ids(events.iter().filter(|event| event.json()["data"]["Personnummer"] == **cpr)), "{recipient}");
        }
        assert_eq!(world.recipient(recipient)["state"], "open");
    }
    let log = world.broker.log();
    assert_eq!(log.matches("exchange 'wsb.delivery' is gone").count(), 1, "said once: {log}");
    // Deleted while nothing is sent it is noticed too.
    world.amqp.delete_exchange("wsb.delivery");
    until(LIMIT, "it is noticed", || world.broker.log().matches("exchange 'wsb.delivery' is gone").count() == 2);
    until(LIMIT, "it is declared again", || world.broker.readyz().is_some_and(|(status, _)| status == 200));
    let last = news(&citizens, 1);
    world.tell(&last);
    assert_eq!(world.take("akasse:067").len(), 2);
}

#[test]
fn a_permission_that_is_taken_back_shows_in_readiness_until_it_is_granted_again() {
    let node = shared_node();
    let plain = node.vhost("write-revoked");
    let vhost = plain.rsplit('/').next().unwrap();
    node.ctl(&["add_user", "wsb-limited", "made-up"]);
    let permit = |write: &str| node.ctl(&["set_permissions", "-p", vhost, "wsb-limited", ".*", write, ".*"]);
    permit(".*");
    let uri = format!("amqp://wsb-limited:made-up@127.0.0.1:{}/{vhost}", node.port());
    let mut world = World::at(&uri, &impatient(), |options| options);
    world.broker.start_again();
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    permit("^(dfdg\\.|wsb\\.(intake|returned|akasse|kommune)).*");
    // Nothing is sent, and it is seen all the same.
    until(LIMIT, "readiness tells of it", || {
        world.broker.readyz().is_some_and(|(status, why)| status == 503 && why.contains("write access to exchange 'wsb.delivery'"))
    });
    assert_eq!(world.count("wsb_amqp_connected", &[]), 0);
    let events = news(&[&cpr(1)], 3);
    world.publish(&events);
    until(LIMIT, "they are taken in", || world.count("wsb_pending", &[]) + world.count("wsb_retrying", &[]) == 6);
    permit(".*");
    world.idle();
    until(LIMIT, "all is well", || world.broker.readyz().is_some_and(|(status, _)| status == 200));
    let got: Vec<String> = world.take("akasse:067").into_iter().map(|message| message.correlation_id).collect();
    assert_eq!(got, ids(&events));
}

#[test]
fn a_paused_queue_with_nothing_left_to_send_is_open_again() {
    let world = World::running("nothing-left", &impatient().window(1));
    let mover = cpr(1);
    world.tell(&enroll(&mover, "067", "86001", "101")[..1]);
    world.take("akasse:067");
    let new_fund = Vendor::consume(&world.uri, &queue("akasse:053"));
    let events = news(&[&mover], 12);
    world.publish(&events);
    until(LIMIT, "the full queue is paused", || world.recipient("akasse:067")["state"] == "paused");
    world.publish(&[membership(&mover, "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00")]);
    new_fund.wait_until(LIMIT, "what waited", |messages| messages.iter().any(|message| message.kind == "Tilmelding"));
    let waiting = |world: &World| {
        let of = world.recipient("akasse:067");
        of["pending"].as_u64().unwrap_or(1) + of["retrying"].as_u64().unwrap_or(1)
    };
    until(LIMIT, "nothing waits for the former fund", || waiting(&world) == 0);
    until(LIMIT, "its queue is open again", || world.recipient("akasse:067")["state"] == "open");
    assert_eq!(world.count("wsb_queue_paused", &[("recipient", "akasse:067")]), 0);
    assert!(world.depth("akasse:067") > Some(0), "it is as full as it was; the next message would find out");
}

#[test]
fn a_maintenance_window_costs_no_attempt_and_wakes_nobody() {
    let line = "\n  { authority = \"akasse:067\",";
    let away = "maintenance = [{ from = 2026-01-01T00:00:00, until = 2099-01-01T00:00:00 }],";
    let quick = Routing::few().retry(20, 200, 1);
    let world = World::running("window", &quick.clone().with(line, &format!("{line} {away}")));
    // Nobody is there, and nobody minds.
    world.amqp.delete_queue(&queue("akasse:067"));
    let others = |world: &World| world.depth("kommune:860");
    world.publish(&enroll(&cpr(1), "067", "86001", "101"));
    let events = news(&[&cpr(1)], 4);
    world.publish(&events);
    until(LIMIT, "the kommune gets everything", || others(&world) >= Some(5));
    let resting = |world: &World, by: &str| {
        let told = world.recipient("akasse:067");
        assert_eq!((&told["state"], &told["paused_by"]), (&json!("paused"), &json!(by)), "{told}");
        let metrics = world.broker.metrics();
        for gauge in ["wsb_queue_paused", "wsb_queue_maintenance"] {
            assert_eq!(metrics.sum(gauge, &[("recipient", "akasse:067")]) as u32, 1, "{gauge}: what an alert looks at");
        }
        assert_eq!(metrics.sum("wsb_delivery_attempts_total", &[("outcome", "returned")]) as u32, 0, "nothing is attempted");
        assert_eq!(metrics.sum("wsb_dead", &[]) as u32, 0, "nothing dies of it");
        told
    };
    let told = resting(&world, "maintenance");
    assert_eq!(told["paused_until"], "2098-12-31T23:00:00Z", "{told}");
    let waiting = world.deliveries("recipient=akasse:067");
    assert!(waiting.iter().all(|one| one["attempts"] == 0) && waiting.len() >= 4, "{waiting:?}");
    // The vendor is back before its window is over.
    world.broker.cli_ok(&["topology", "--apply"]);
    // By the API for a time, on top of it; the window is over when routing.toml says so.
    let until_then = wsb_broker::app::now().plus_seconds(2);
    let (status, answer) =
        world.broker.api_post("/api/v1/recipients/akasse:067/pause", &json!({ "why": "a new version", "until": until_then.to_string() }));
    assert_eq!(status, 200, "{answer}");
    world.write("routing.toml", quick.text());
    world.idle();
    assert!(wsb_broker::app::now() >= until_then, "it went on before its time");
    let got = world.take("akasse:067");
    let told: Vec<&str> =
        got.iter().filter(|message| message.kind == "Tilmelding").map(|message| message.correlation_id.as_str()).collect();
    assert_eq!(told, ids(&events));
    assert!(got.iter().all(|message| message.headers["wsb-attempt"] == 1), "first attempts");
    let open = world.recipient("akasse:067");
    assert_eq!((&open["state"], &open["paused_by"]), (&json!("open"), &Value::Null), "{open}");
    assert_eq!(world.count("wsb_dead", &[]), 0);
}

/// On a disk from which room is taken, by a file that is only allocated, and which is
/// given room again. It does not come near its end: the broker is told to leave most of it
/// free, so that what others write meanwhile decides nothing.
#[test]
fn a_full_disk_stops_intake_loses_nothing_and_goes_on_by_itself() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let free = fs2::available_space(folder.path()).unwrap();
    // A tenth more than this must be free before it goes on.
    let least = ((free / 100 * 87) >> 20).to_string();
    let uri = shared_node().vhost("full-disk");
    let mut world = World::at(&uri, &impatient(), |options| options.data_dir(folder.path().join("data")).env("WSB_MIN_FREE_MIB", &least));
    world.broker.start_again();
    let citizen = cpr(1);
    world.tell(&enroll(&citizen, "067", "86001", "101"));
    world.empty(&FEW);

    let filler = folder.path().join("filler");
    std::fs::File::create(&filler).and_then(|file| file.allocate(free / 100 * 20)).unwrap();
    let is_full = |world: &World| {
        let missing = world.broker.readyz().map(|(status, text)| (status, serde_json::from_str::<Value>(&text).unwrap_or_default()));
        missing.is_some_and(|(status, list)| status == 503 && list[0]["what"] == "disk" && list[0]["why"].to_string().contains("free"))
    };
    until(LIMIT, "readiness names the disk", || is_full(&world));
    let before = world.consumed();
    let events = news(&[&citizen], 50);
    world.publish(&events);
    // Each answer takes a turn of the writer, and each turn would take something in.
    for _ in 0..20 {
        world.recipient("akasse:067");
    }
    assert_eq!(world.consumed(), before, "something is taken in");
    // Killed in this state it comes back in this state.
    world.broker.kill9();
    world.broker.spawn_again();
    until(LIMIT, "readiness names the disk again", || is_full(&world));
    assert_eq!((world.consumed(), world.depth("akasse:067")), (0, Some(0)));

    std::fs::remove_file(&filler).unwrap();
    until(LIMIT, "it goes on by itself", || world.broker.readyz().is_some_and(|(status, _)| status == 200));
    for recipient in ["akasse:067", "kommune:860"] {
        until(LIMIT, "everything is there", || world.depth(recipient) == Some(50));
        let got = world.take(recipient);
        let got: Vec<&str> = got.iter().map(|message| message.correlation_id.as_str()).collect();
        assert_eq!(got, ids(&events), "{recipient}");
    }
}
