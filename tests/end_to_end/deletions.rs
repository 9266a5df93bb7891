//! Retention clocks and deletion orders, on a real RabbitMQ: events in, orders
//! out at `dfdg.deletions`, and the answers to them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use wsb_broker::core::event::Details;
use wsb_broker::core::ids::{EventMark, ExternalId, Personnummer};
use wsb_broker::core::records::{Change, Records};
use wsb_broker::core::retention::{Clock, Clocks, Order, Stamp, Told};
use wsb_broker::core::time::{Day, Moment, Period};
use wsb_broker::store::{Durability, Options, Store};

use crate::rig::{Event, Message, Vendor, event, until};
use crate::world::{LIMIT, Routing, World, cpr, enroll};

const QUEUE: &str = "dfdg.deletions";

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

/// Waits for so many orders, and takes them.
#[track_caller]
fn orders(world: &World, count: u32) -> Vec<Message> {
    until(LIMIT, &format!("{count} orders lie in {QUEUE}"), || world.amqp.depth(QUEUE) >= Some(count));
    let mut found = world.amqp.take_all(QUEUE);
    found.sort_by_key(|message| message.routing_key.clone());
    found
}

fn deletion(of: &Event, entity: &str, area: &str) -> Event {
    let content = json!({ "Dataomraade": area, "SlettetEntitet": entity });
    event("GdprSletning").external(of.record_id()).content(content)
}

fn due(world: &World, as_of: &str) -> Value {
    let arguments = ["retention", "due", "--as-of", as_of, "--format", "json"];
    serde_json::from_str(&world.broker.cli_ok(&arguments)).unwrap()
}

#[test]
fn orders_go_out_in_order_and_end_with_the_deletion() {
    let citizen = cpr(1);
    let mut world = World::running("deletions", &Routing::few());
    let group = event("Kontaktgruppe").cpr(&citizen).period("2015-01-01", Some("2016-03-16")).content(json!({ "KontaktgruppeTypeId": 1 }));
    let absence = event("Fravaer").cpr(&citizen).period("2016-03-16", Some("2016-04-16")).content(json!({ "FravaerTypeId": 11 }));
    let later = event("Tilmelding").cpr(&citizen).period("2026-01-01", Some("2026-03-16"));
    // The absence first: a group that is due when nothing overlaps it yet is ordered.
    world.tell([&absence]);
    world.tell([&group, &later]);
    let [order] = &orders(&world, 1)[..] else { panic!("one order: the group waits for the fravær") };
    assert_eq!((&*order.exchange, &*order.routing_key, order.delivery_mode), (QUEUE, "fravaer", Some(2)));
    let told = body(order);
    assert_eq!((&told["type"], &told["id"]), (&json!("dk.star.dfdg.SletningForfalden.v1"), &json!(order.id)));
    let expected = json!({
        "Dataomraade": "fravaer", "EntitetNavn": "Fravaer", "EksternIdentifier": absence.record_id(),
        "Personnummer": citizen, "Forfaldsdato": "2022-04-17",
    });
    assert_eq!(told["data"], expected);
    until(LIMIT, "the order is counted", || world.count("wsb_gdpr_orders_total", &[("area", "fravaer")]) == 1);

    // While the broker runs, and by itself.
    let item = |rule: &str, of: &Event, entity: &str, day: &str, state: &str, waits: &[&str]| json!({ "rule": rule, "entity": entity, "external_id": of.record_id(), "due": day, "state": state, "blocked_by": waits });
    let listed = json!([
        item("kontaktgruppe", &group, "Kontaktgruppe", "2022-03-17", "blocked", &[absence.record_id()]),
        item("fravaer", &absence, "Fravaer", "2022-04-17", "ordered", &[]),
        item("tilmelding", &later, "Tilmelding", "2032-03-17", "due", &[]),
    ]);
    assert_eq!(due(&world, "2032-03-17"), listed);
    assert_eq!(due(&world, "2032-03-16").as_array().unwrap().len(), 2);
    let (status, answered) = world.broker.api_get("/api/v1/retention/due?as_of=2032-03-17");
    assert_eq!((status, &answered), (200, &listed), "in the same order");
    assert!(world.broker.cli_ok(&["retention", "due", "--as-of", "2032-03-17", "--format", "calendar"]).contains("2032-03"));
    assert!(world.broker.terminate().success());
    assert_eq!(due(&world, "2032-03-17"), listed);

    // After a restart nothing is ordered again; the answer lets the group go.
    world.broker.start_again();
    world.tell([&deletion(&absence, "Fravaer", "fravaer").cpr(&citizen)]);
    let [order] = &orders(&world, 1)[..] else { panic!("the group, and the fravær not again") };
    assert_eq!(body(order)["data"]["EksternIdentifier"], group.record_id());
    assert_eq!(due(&world, "2032-03-16").as_array().unwrap().len(), 1);
}

#[test]
fn the_dead_wait_for_the_archive_where_they_must() {
    let citizen = cpr(2);
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("retention.toml")).unwrap();
    let mut world = World::new("deceased", &Routing::few());
    world.write("retention.toml", shipped.replacen("id = \"fravaer\"\n", "id = \"fravaer\"\nhandover = true\n", 1));
    world.broker.start_again();
    let absence = event("Fravaer").cpr(&citizen).period("2026-01-01", None);
    let joblog = event("Joblog").cpr(&citizen);
    let death = event("PersonDoed").cpr(&citizen).content(json!({ "Doedsdato": "2026-03-01" }));
    world.tell([&absence, &joblog, &death]);
    let [order] = &orders(&world, 1)[..] else { panic!("the joblog alone") };
    assert_eq!((&*order.routing_key, &body(order)["data"]["Forfaldsdato"]), ("joblog", &json!("2026-03-02")));
    assert_eq!(due(&world, "2026-12-31")[0]["blocked_by"], json!(["rigsarkivet"]));
    world.tell([&event("RigsarkivAflevering").cpr(&citizen).content(json!({ "Dataomraade": "fravaer" }))]);
    let [order] = &orders(&world, 1)[..] else { panic!("the fravær") };
    assert_eq!(order.routing_key, "fravaer");
}

/// A shorter period takes effect for a record that is known already, and an area that
/// nobody had thought of needs a type, a rule and no code.
#[test]
fn a_changed_period_counts_for_known_records_and_an_area_is_added_without_code() {
    let citizen = cpr(12);
    let mut world = World::new("periods", &Routing::few().plus_type("Nyrecord", 919_999, "plan", "[]"));
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("retention.toml")).unwrap();
    let file = world.write("retention.toml", &shipped);
    world.broker.start_again();
    let absence = event("Fravaer").cpr(&citizen).period("2024-01-01", Some("2025-08-31")).content(json!({ "FravaerTypeId": 11 }));
    world.tell(&enroll(&citizen, "067", "86001", "101"));
    world.tell([&absence]);
    assert_eq!(due(&world, "2031-08-31"), json!([]));
    assert_eq!(due(&world, "2031-09-01")[0]["due"], "2031-09-01");

    let at = shipped.find("id = \"fravaer\"\n").expect("the rule is there");
    let shorter = shipped[at..].replacen("period = \"P6Y\"", "period = \"P6M\"", 1);
    let area = "\n[[rule]]\nid = \"nyt-omraade\"\narea = \"Nyt\"\nentities = [\"Nyrecord\"]\nfrom = \"end\"\nperiod = \"P1D\"\nsource = \"made up\"\n";
    fs::write(&file, format!("{}{shorter}{area}", &shipped[..at])).unwrap();
    world.broker.signal("HUP");
    let [order] = &orders(&world, 1)[..] else { panic!("the absence is due now") };
    // Six months from 31 August run out on the last of February.
    assert_eq!((&*order.routing_key, &body(order)["data"]["Forfaldsdato"]), ("fravaer", &json!("2026-03-01")));
    let record = event("Nyrecord").cpr(&citizen).period("2026-01-01", Some("2026-03-16"));
    world.tell([&record]);
    let [order] = &orders(&world, 1)[..] else { panic!("the new area's record") };
    assert_eq!((&*order.routing_key, &body(order)["data"]["Forfaldsdato"]), ("nyt-omraade", &json!("2026-03-18")));
}

/// An order that DFDG has not answered for days: it counts as overdue, is given again,
/// and is over with the deletion. What happened days ago is written into the store.
#[test]
fn an_order_without_an_answer_is_overdue_and_given_again() {
    let mut world = World::new("overdue", &Routing::few());
    let record = "40000000-0000-4000-8000-000000000001";
    write_record(&world, record, Some(3));
    world.broker.start_again();
    until(LIMIT, "the order counts as overdue", || world.count("wsb_gdpr_orders_overdue", &[]) == 1);
    let [order] = &orders(&world, 1)[..] else { panic!("once a day") };
    assert_eq!(body(order)["data"]["EksternIdentifier"], record);
    // Given again is not answered.
    until(LIMIT, "it is counted", || world.count("wsb_gdpr_orders_total", &[("area", "fravaer")]) == 1);
    assert_eq!(world.count("wsb_gdpr_orders_overdue", &[]), 1);
    let answer = json!({ "Dataomraade": "fravaer", "SlettetEntitet": "Fravaer" });
    world.tell(&[event("GdprSletning").cpr(&cpr(11)).external(record).content(answer)]);
    until(LIMIT, "the order is answered", || world.count("wsb_gdpr_orders_overdue", &[]) == 0);
    assert_eq!(world.count("wsb_gdpr_unexpected_deletions_total", &[]), 0);
    let alerts = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus/alerts.yml")).unwrap();
    assert!(alerts.contains("wsb_gdpr_orders_overdue > 0"), "somebody is told");
}

/// Puts one record of citizen 11 that is due into the store of a broker that does not
/// run; perhaps with an order that was given and confirmed so many days ago.
fn write_record(world: &World, record: &str, ordered: Option<i32>) {
    let mut store = Store::open(&Options::new(world.broker.data_dir())).unwrap();
    let id = store.enroll(&Personnummer::parse(&cpr(11)).unwrap()).unwrap();
    let today = Day::in_copenhagen(Moment(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64));
    let order = ordered.map(|days| {
        let first = Day::from_number(today.number() - days).unwrap();
        Order { due: Day::parse("2022-03-17").unwrap(), first, asked: first, confirmed: true }
    });
    let first_at = Moment::parse("2015-01-01T08:00:00Z").unwrap();
    let clock = Clock {
        under: id,
        entity: "Fravaer".into(),
        external_id: ExternalId::parse(record).unwrap(),
        first_at,
        newest: Stamp { at: first_at, change: 1, mark: EventMark::of("urn:test", "e") },
        period: Period::new(Day::parse("2015-01-01").unwrap(), Day::parse("2016-03-16").ok()).unwrap(),
        has_start: true,
        details: Details::default(),
        told: Told::Newest,
        has_later_version: false,
        later_version: None,
        elements: Vec::new(),
        unlisted: Vec::new(),
        element_gone: None,
        order,
    };
    let clocks = Clocks { records: vec![clock.into()], ..Clocks::new(id) };
    store.stage(Change::PutClocks(clocks.into())).unwrap();
    store.commit(Durability::Flush).unwrap();
}

/// While the disk is too full nothing is ordered, since that would take what is left
/// of it; what was due is ordered once there is room.
#[test]
fn a_deletion_night_stands_still_on_a_full_disk() {
    let mut world = World::new("night-full-disk", &Routing::few());
    write_record(&world, "40000000-0000-4000-8000-000000000001", None);
    world.broker.run_with(&["--min-free-mib", "1048576"]);
    world.broker.spawn_again();
    until(LIMIT, "nothing but the disk is missing", || {
        let missing = world.broker.readyz().map(|(_, text)| serde_json::from_str::<Value>(&text).unwrap_or_default());
        missing.is_some_and(|missing| missing.as_array().is_some_and(|list| list.len() == 1 && list[0]["what"] == "disk"))
    });
    // Each answer takes a turn of the writer, and each turn would order.
    for _ in 0..20 {
        assert_eq!(due(&world, "2026-03-17")[0]["state"], "due");
    }
    assert_eq!((world.count("wsb_gdpr_orders_total", &[]), world.amqp.depth(QUEUE)), (0, Some(0)));
    world.broker.kill9();
    world.broker.run_with(&[]);
    world.broker.start_again();
    assert_eq!(orders(&world, 1).len(), 1);
}

/// A deletion night in small: within the set rate, and resumed after each kill
/// with nothing lost; only what was under way is repeated, and what else there is
/// to deliver does not wait for the orders.
#[test]
fn a_deletion_night_is_paced_resumes_and_lets_others_pass() {
    const RECORDS: usize = 5000;
    /// So many orders may be under way when the broker dies.
    const UNDER_WAY: usize = 1024;
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("retention.toml")).unwrap();
    let paced = |rate: u32| shipped.replacen("\nper-second = 5000\n", &format!("\nper-second = {rate}\n"), 1);
    assert_ne!(paced(1), shipped);
    let mut world = World::new("night", &Routing::few());
    world.write("retention.toml", paced(1));
    world.broker.start_again();
    let records: Vec<Event> =
        (0..RECORDS).map(|at| event("Fravaer").cpr(&cpr(at % 500)).period("2015-01-01", Some("2016-03-16"))).collect();
    world.tell(&records);
    let citizen = cpr(600);
    world.tell(&enroll(&citizen, "067", "86001", "101"));

    let rate = 600;
    world.write("retention.toml", paced(rate));
    let vendor = Vendor::consume_all(&world.uri, [QUEUE]);
    world.broker.kill9();
    let (began, mut starts) = (Instant::now(), 1);
    world.broker.start_again();
    for share in [1500, 3000] {
        until(LIMIT, &format!("{share} orders arrive"), || vendor.count() >= share);
        // A second's worth may go out at once after a start.
        let most = f64::from(rate) * (began.elapsed().as_secs_f64() + f64::from(starts)) + 5.0;
        assert!(vendor.count() as f64 <= most, "{} orders with {starts} starts in {:?}", vendor.count(), began.elapsed());
        if share == 3000 {
            // From now on it would take longer than anybody waits.
            world.write("retention.toml", paced(1));
        }
        world.broker.kill9();
        world.broker.start_again();
        starts += 1;
    }
    let news: Vec<Event> = (0..100).map(|_| event("Indkaldelse").cpr(&citizen)).collect();
    world.amqp.purge("wsb.kommune.860");
    world.tell(&news);
    until(LIMIT, "the news arrives", || world.amqp.depth("wsb.kommune.860") >= Some(100));
    let ordered = |messages: &[Message]| -> BTreeMap<String, Vec<String>> {
        let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for message in messages {
            ids.entry(message.field("EksternIdentifier").as_str().unwrap().to_owned()).or_default().push(message.id.clone());
        }
        ids
    };
    assert!(ordered(&vendor.messages()).len() < RECORDS, "the night is not over");

    world.write("retention.toml", paced(20_000));
    world.broker.signal("HUP");
    let mut seen = 0;
    until(LIMIT, "everything is ordered", || {
        let count = vendor.count();
        count >= RECORDS && std::mem::replace(&mut seen, count) != count && ordered(&vendor.messages()).len() == RECORDS
    });
    let ordered = ordered(&vendor.messages());
    assert!(records.iter().all(|record| ordered.contains_key(record.record_id())), "no order is lost");
    assert!(ordered.values().all(|ids| ids.iter().all(|id| *id == ids[0])), "a repeat has the same id");
    let repeats = ordered.values().map(|ids| ids.len() - 1).sum::<usize>();
    // To begin anew each time would repeat 4,500.
    assert!(repeats <= 2 * UNDER_WAY, "{repeats} orders were repeated");
}

fn is_ready(world: &World) -> bool {
    world.broker.readyz().is_some_and(|(status, _)| status == 200)
}

/// The queue of the orders is deleted, or taken from its exchange: it is declared
/// again, also while nothing is ordered, and what was not confirmed goes out, once.
#[test]
fn the_queue_of_the_orders_is_declared_again() {
    let world = World::running("orders-gone", &Routing::few());
    let said = |what: &str| world.broker.log().matches(what).count();
    let records = |from: usize| -> Vec<Event> {
        (from..from + 20).map(|at| event("Fravaer").cpr(&cpr(at)).period("2015-01-01", Some("2016-03-16"))).collect()
    };
    let ordered_once = |records: &[Event]| {
        let mut got: Vec<String> =
            orders(&world, 20).iter().map(|order| body(order)["data"]["EksternIdentifier"].as_str().unwrap().to_owned()).collect();
        got.sort_unstable();
        let mut expected: Vec<&str> = records.iter().map(Event::record_id).collect();
        expected.sort_unstable();
        assert_eq!(got, expected);
        until(LIMIT, "all is well", || is_ready(&world));
    };

    // While nothing is ordered.
    world.amqp.delete_queue(QUEUE);
    until(LIMIT, "readiness or the log tells of it", || said("queue 'dfdg.deletions' is gone") == 1);
    until(LIMIT, "it is declared again", || world.amqp.depth(QUEUE).is_some() && is_ready(&world));
    let first = records(1);
    world.tell(&first);
    ordered_once(&first);

    // While orders are to go out.
    world.amqp.delete_queue(QUEUE);
    let second = records(101);
    world.tell(&second);
    ordered_once(&second);
    assert_eq!(said("queue 'dfdg.deletions' is "), 2, "said once each time: {}", world.broker.log());

    // It is there, and nothing comes to it.
    world.amqp.unbind(QUEUE, QUEUE, "#");
    let third = records(201);
    world.tell(&third);
    ordered_once(&third);
    assert_eq!(said("queue 'dfdg.deletions' is not bound"), 1 + said("is not bound") - 1);
    until(LIMIT, "each order is counted once", || world.count("wsb_gdpr_orders_total", &[]) == 60);
}
