//! Trouble with one recipient's queue: gone, full, or hanging.

use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::{Event, Message, Vendor, event, membership, shared_node, until, until_some};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids, queue};

/// Quick enough for a test.
fn impatient() -> Routing {
    Routing::few().retry(20, 200, 3600)
}

/// Everybody's business: 860 and 067 are told.
fn news(citizens: &[&str], each: usize) -> Vec<Event> {
    (0..each).flat_map(|_| citizens.iter().map(|cpr| event("Tilmelding").cpr(cpr))).collect()
}

/// Checks that messages of each citizen came in the order of the events, each
/// once.
#[track_caller]
fn in_order(messages: &[Message], events: &[Event], citizens: &[&str]) {
    for cpr in citizens {
        let of = |event: &&Event| event.json()["data"]["Personnummer"] == **cpr;
        let got: Vec<&str> = messages
            .iter()
            .filter(|message| message.field("Identifikation") == **cpr)
            .map(|message| message.correlation_id.as_str())
            .collect();
        assert_eq!(got, ids(events.iter().filter(of)), "the lane of {cpr}");
    }
    assert_eq!(messages.len(), events.len());
}

/// Leaves out what comes again under the same id.
fn without_repeats(mut messages: Vec<Message>) -> Vec<Message> {
    let mut seen = HashSet::new();
    messages.retain(|message| seen.insert(message.id.clone()));
    messages
}

fn attempts(delivery: &Value) -> u64 {
    delivery["attempts"].as_u64().unwrap_or_default()
}

#[test]
fn a_deleted_queue_holds_up_nobody_else_and_gets_all_when_it_is_back() {
    let mut world = World::running("deleted", &impatient());
    let citizens = [cpr(1), cpr(2), cpr(3)];
    let citizens: Vec<&str> = citizens.iter().map(String::as_str).collect();
    world.tell(citizens.iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")).collect::<Vec<_>>().iter());
    world.empty(&FEW);

    world.amqp.delete_queue(&queue("akasse:067"));
    let events = news(&citizens, 5);
    world.publish(&events);
    until(LIMIT, "the kommune gets everything", || world.depth("kommune:860") == Some(15));
    let first = until_some(LIMIT, "attempts are made again", || {
        world.deliveries("recipient=akasse:067").into_iter().find(|delivery| delivery["state"] == "retrying" && attempts(delivery) >= 3)
    });
    assert_eq!(first["reason"], "returned", "{first}");
    assert_eq!(first["event_id"], events[0].event_id(), "the oldest is tried: {first}");
    assert!(first["next_at"].is_string(), "{first}");
    let paused = world.recipient("akasse:067");
    assert_eq!((&paused["state"], &paused["why"]), (&"paused".into(), &"returned".into()), "{paused}");
    assert_eq!(world.recipient("kommune:860")["state"], "open");
    let metrics = world.broker.metrics();
    assert_eq!(metrics.sum("wsb_queue_paused", &[("recipient", "akasse:067")]) as u32, 1);
    let waiting = |state: &str| metrics.sum(state, &[("recipient", "akasse:067")]) as u32;
    assert_eq!(waiting("wsb_pending") + waiting("wsb_retrying"), 15);
    assert!(metrics.sum("wsb_delivery_attempts_total", &[("outcome", "returned")]) >= 3.0);

    // Attempts are remembered over a restart, which declares the queue again.
    assert!(world.broker.terminate().success());
    let known = attempts(&first);
    world.broker.start_again();
    world.idle();
    let messages = world.take("akasse:067");
    in_order(&messages, &events, &citizens);
    assert_eq!(
        messages.iter().find(|message| message.correlation_id == events[0].event_id()).map(|message| message.id.as_str()),
        first["id"].as_str()
    );
    let attempt = |message: &Message| message.headers["wsb-attempt"].as_u64().unwrap_or_default();
    let retried = messages.iter().find(|message| message.correlation_id == events[0].event_id()).map(attempt);
    assert!(retried > Some(known), "attempt {retried:?} after {known} that failed");

    // And the same while the broker runs on.
    world.amqp.delete_queue(&queue("akasse:067"));
    let events = news(&citizens, 5);
    world.publish(&events);
    until(LIMIT, "attempts are made again", || world.deliveries("state=retrying").iter().any(|delivery| attempts(delivery) >= 2));
    world.broker.cli_ok(&["topology", "--apply"]);
    world.idle();
    let messages = world.take("akasse:067");
    in_order(&messages, &events, &citizens);
    assert!(attempt(&messages[0]) > 2, "attempt {}", attempt(&messages[0]));
    assert_eq!(world.take("kommune:860").len(), 30);
    assert_eq!(world.recipient("akasse:067")["state"], "open");
}

#[test]
fn what_cannot_be_delivered_in_the_time_allowed_is_dead_and_kept() {
    let mut world = World::running("dead", &Routing::few().retry(20, 100, 2));
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    world.amqp.delete_queue(&queue("akasse:067"));
    let events = news(&[&cpr(1)], 4);
    world.publish(&events);
    until(LIMIT, "all four are given up", || world.count("wsb_dead", &[("recipient", "akasse:067")]) == 4);
    let dead = world.deliveries("state=dead");
    let mut of: Vec<&str> = dead.iter().filter_map(|delivery| delivery["event_id"].as_str()).collect();
    of.sort_unstable();
    let mut expected = ids(&events);
    expected.sort_unstable();
    assert_eq!(of, expected);
    for delivery in &dead {
        assert_eq!(delivery["reason"], "returned", "also of those that were never attempted themselves: {delivery}");
    }
    let (_, groups) = world.broker.api_get("/api/v1/deliveries/groups");
    let groups: Vec<_> = groups["items"].as_array().into_iter().flatten().map(|group| [&group["code"], &group["count"]]).collect();
    assert_eq!(groups, [[&312, &4]], "one cause");
    assert!(dead.iter().any(|delivery| delivery["reason"] == "returned" && attempts(delivery) > 1), "{dead:?}");
    assert_eq!(world.count("wsb_deliveries_total", &[("entity", "Tilmelding"), ("outcome", "dead")]), 4);
    assert_eq!(world.count("wsb_pending", &[]) + world.count("wsb_retrying", &[]), 0);
    assert_eq!(about(&world.take("kommune:860")), ids(&events));

    // The dead wait, also when the queue is back.
    assert!(world.broker.terminate().success());
    world.broker.start_again();
    assert_eq!(world.deliveries("state=dead").len(), 4);
    let later = news(&[&cpr(1)], 1);
    world.tell(&later);
    assert_eq!(about(&world.take("akasse:067")), ids(&later));
}

#[test]
fn a_full_queue_holds_up_nobody_else_and_loses_nothing() {
    let world = World::running("full", &impatient().window(5));
    let citizens = [cpr(1), cpr(2), cpr(3), cpr(4)];
    let citizens: Vec<&str> = citizens.iter().map(String::as_str).collect();
    world.tell(citizens.iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")[1..].to_vec()).collect::<Vec<_>>().iter());
    world.empty(&FEW);
    let kommune = Vendor::consume(&world.uri, &queue("kommune:860"));
    let members: Vec<Event> = citizens.iter().map(|cpr| membership(cpr, "067", "2020-01-01", None)).collect();
    world.tell(&members);
    world.empty(&["akasse:067"]);

    let events = news(&citizens, 10);
    world.publish(&events);
    kommune.wait_for(40, LIMIT);
    until(LIMIT, "the full queue is paused", || world.recipient("akasse:067")["state"] == "paused");
    assert_eq!(world.recipient("akasse:067")["why"], "nacked");
    assert!(world.depth("akasse:067") < Some(40), "a window of 5 took everything");
    let late = news(&citizens, 1);
    world.publish(&late);
    kommune.wait_for(44, LIMIT);
    assert_eq!(world.recipient("kommune:860")["state"], "open");

    let fund = Vendor::consume(&world.uri, &queue("akasse:067"));
    fund.wait_for(44, LIMIT);
    world.idle();
    let all = [events, late].concat();
    in_order(&fund.messages(), &all, &citizens);
    in_order(&kommune.messages(), &all, &citizens);
    until(LIMIT, "the queue is open again", || world.recipient("akasse:067")["state"] == "open");
}

#[test]
fn a_hanging_queue_costs_nobody_else_anything() {
    let world = World::running("hanging", &impatient());
    let citizens: Vec<String> = (0..40).map(cpr).collect();
    let citizens: Vec<&str> = citizens.iter().map(String::as_str).collect();
    world.tell(citizens.iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")).collect::<Vec<_>>().iter());
    world.empty(&FEW);
    let kommune = Vendor::consume(&world.uri, &queue("kommune:860"));

    // It hangs while much is under way, and while channels are made that have never reached it.
    let mut events = news(&citizens, 5);
    world.publish(&events);
    shared_node().suspend_queue(&world.uri, &queue("akasse:067"));
    for _ in 0..6 {
        let more = news(&citizens, 5);
        let began = Instant::now();
        world.publish(&more);
        events.extend(more);
        kommune.wait_for(events.len(), LIMIT);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(4), "the kommune waited for {took:?}");
    }
    assert_eq!(world.recipient("kommune:860")["state"], "open");
    in_order(&kommune.messages(), &events, &citizens);

    shared_node().resume_queue(&world.uri, &queue("akasse:067"));
    let fund = Vendor::consume(&world.uri, &queue("akasse:067"));
    world.idle();
    // What had no answer may have arrived, and arrives again with the same id.
    let distinct = |messages: &[Message]| messages.iter().map(|message| message.id.clone()).collect::<HashSet<_>>().len();
    let messages = fund.wait_until(LIMIT, "everything has arrived", |messages| distinct(messages) == events.len());
    in_order(&without_repeats(messages), &events, &citizens);
}

/// More waits for them than may rely on the journal, and there are more of them than
/// could share the places: who works goes on at its pace.
#[test]
fn many_hanging_queues_cost_nobody_else_anything() {
    let routing = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routing.toml")).unwrap();
    let funds: Vec<&str> = routing.split("authority = \"akasse:").skip(2).map(|rest| &rest[..3]).take(20).collect();
    let recipients: Vec<String> = funds.iter().map(|code| format!("akasse:{code}")).chain(["kommune:860".to_owned()]).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let world = World::running("many-hanging", &Routing::only(&recipients).retry(20, 200, 3600));
    let citizens: Vec<String> = (0..80).map(cpr).collect();
    let known = citizens.iter().enumerate().flat_map(|(n, cpr)| enroll(cpr, funds[n % funds.len()], "86001", "860"));
    world.tell(known.collect::<Vec<_>>().iter());
    world.empty(&recipients);
    let kommune = Vendor::consume(&world.uri, &queue("kommune:860"));
    let queues: Vec<String> = recipients.iter().take(funds.len()).map(|recipient| queue(recipient)).collect();
    queues.iter().for_each(|queue| shared_node().suspend_queue(&world.uri, queue));

    let citizens: Vec<&str> = citizens.iter().map(String::as_str).collect();
    let mut events = Vec::new();
    for round in 1..=10 {
        let more = news(&citizens, 15);
        let began = Instant::now();
        world.publish(&more);
        events.extend(more);
        kommune.wait_for(events.len(), LIMIT);
        let took = began.elapsed();
        assert!(took < Duration::from_secs(12), "round {round}: the kommune waited for {took:?}");
    }
    assert_eq!(world.recipient("kommune:860")["state"], "open");
    // A confirm may be late on a busy machine: then a WSB comes twice, under its id.
    in_order(&without_repeats(kommune.messages()), &events, &citizens);

    queues.iter().for_each(|queue| shared_node().resume_queue(&world.uri, queue));
    let all = Vendor::consume_all(&world.uri, queues.iter().map(String::as_str));
    world.idle();
    let distinct = |messages: &[Message]| messages.iter().map(|message| message.id.clone()).collect::<HashSet<_>>().len();
    all.wait_until(LIMIT, "everything has arrived", |messages| distinct(messages) == events.len());
}

/// Moves somebody from 067 to 053.
fn transfer(cpr: &str) -> [Event; 2] {
    [
        membership(cpr, "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00"),
        membership(cpr, "067", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:01+01:00"),
    ]
}

#[test]
fn what_waits_at_a_transfer_goes_to_the_new_fund() {
    for (name, window, delete) in [("wait-deleted", 1000, true), ("wait-full", 3, false)] {
        let mut world = World::running(name, &impatient().window(window));
        let (mover, stayer) = (cpr(1), cpr(2));
        world.tell([enroll(&mover, "067", "86001", "101"), enroll(&stayer, "067", "86001", "101")].concat().iter());
        world.empty(&FEW);
        if delete {
            world.amqp.delete_queue(&queue("akasse:067"));
        }
        // The kommune is not the point here, and its window may be as small.
        let kommune = Vendor::consume(&world.uri, &queue("kommune:860"));
        let events = news(&[&mover, &stayer], 8);
        world.publish(&events);
        kommune.wait_for(16, LIMIT);
        until(LIMIT, "the fund's queue is paused", || world.recipient("akasse:067")["state"] == "paused");
        // Whatever got into the queue has been delivered; the rest waits.
        let of_mover: Vec<&Event> = events.iter().step_by(2).collect();
        let id_of = |event: &Event| world.traced(event).into_iter().find(|delivery| delivery["recipient"] == "akasse:067").unwrap();
        let waiting: Vec<(&Event, Value)> =
            of_mover.iter().map(|event| (*event, id_of(event))).filter(|(_, delivery)| delivery["state"] != "delivered").collect();
        assert!(waiting.len() >= if delete { 8 } else { 1 }, "{name}: nothing waits");

        let new_fund = Vendor::consume(&world.uri, &queue("akasse:053"));
        world.publish(&transfer(&mover));
        let told = new_fund.wait_until(LIMIT, "what waited", |messages| {
            messages.iter().filter(|message| message.kind == "Tilmelding").count() >= waiting.len()
        });
        let told: Vec<&Message> = told.iter().filter(|message| message.kind == "Tilmelding").collect();
        let got: Vec<&str> = told.iter().map(|message| message.correlation_id.as_str()).collect();
        assert_eq!(got, ids(waiting.iter().map(|(event, _)| *event)), "{name}: once each, in order");
        for (message, (_, before)) in told.iter().zip(&waiting) {
            assert_ne!(Some(message.id.as_str()), before["id"].as_str(), "{name}: a delivery of its own");
            // The new fund's window may be full for a moment as well.
            assert!(!delete || message.headers["wsb-attempt"] == 1, "{name}");
        }
        for (event, before) in &waiting {
            let (status, now) = world.broker.api_get(&format!("/api/v1/deliveries/{}", before["id"].as_str().unwrap()));
            assert_eq!((status, &now["state"], &now["reason"]), (200, &"withdrawn".into(), &"membership-ended".into()), "{name}: {now}");
            let new = world.traced(event).into_iter().find(|delivery| delivery["recipient"] == "akasse:053");
            let new = new.unwrap_or_else(|| panic!("{name}: the trace does not tell of the new fund: {:?}", world.traced(event)));
            assert_eq!(new["state"], "delivered", "{name}: {new}");
        }
        assert_eq!(world.count("wsb_deliveries_total", &[("entity", "Tilmelding"), ("outcome", "withdrawn")]), waiting.len(), "{name}");
        assert_eq!(world.count("wsb_wrong_recipient_prevented_total", &[("stage", "attempt")]), waiting.len(), "{name}");

        // The old fund gets what concerns it, and nothing of that.
        assert!(world.broker.terminate().success());
        world.broker.start_again();
        let old_fund = Vendor::consume(&world.uri, &queue("akasse:067"));
        world.idle();
        let last = event("Tilmelding").cpr(&stayer);
        world.publish([&last]);
        let got =
            old_fund.wait_until(LIMIT, "the last one", |messages| messages.iter().any(|message| message.correlation_id == last.event_id()));
        let withdrawn: Vec<&str> = ids(waiting.iter().map(|(event, _)| *event));
        for message in &got {
            assert!(!withdrawn.contains(&message.correlation_id.as_str()), "{name}: the former fund got {}", message.correlation_id);
        }
        let of_stayer = got.iter().filter(|message| message.kind == "Tilmelding" && message.field("Identifikation") == *stayer);
        assert_eq!(of_stayer.count(), 9, "{name}");
    }
}

#[test]
fn events_do_not_lie_where_rabbitmq_lost_the_brokers_consumer() {
    const INTAKE: &str = "wsb.intake.events";
    let world = World::running("unheard", &Routing::few());
    let node = shared_node();
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);

    // It learns of the queue's end once there is another one of that name.
    node.suspend_consumer(&world.uri, INTAKE);
    world.amqp.delete_queue(INTAKE);
    world.broker.cli_ok(&["topology", "--apply"]);
    node.resume_consumer(&world.uri, INTAKE);
    let first = event("Tilmelding").cpr(&cpr(1));
    world.publish([&first]);
    until(LIMIT, "the event is told", || {
        assert_eq!(world.broker.readyz().map(|(status, _)| status), Some(200));
        world.depth("kommune:860") == Some(1) && world.depth("akasse:067") == Some(1)
    });
    until(LIMIT, "nothing is held", || node.held(&world.uri, INTAKE) == 0);
    let said = world.broker.log();
    let said: Vec<&str> = said.lines().filter(|line| line.contains("had lost the consumer")).collect();
    assert!(said.len() == 1 && said[0].contains(INTAKE), "{said:?}");

    let second = event("Tilmelding").cpr(&cpr(1));
    world.tell([&second]);
    assert_eq!(about(&world.take("akasse:067")), ids([&first, &second]));
}

/// The queue that is heard first says nothing: nothing is decided, and somebody is told.
#[test]
fn a_mute_queue_of_memberships_is_told_of_and_loses_nothing() {
    let world = World::running("mute", &Routing::few());
    world.tell(enroll(&cpr(1), "067", "86001", "101").iter());
    world.empty(&FEW);
    let mute = "wsb.intake.tilknytning";
    shared_node().suspend_queue(&world.uri, mute);
    let news = news(&[&cpr(1)], 3);
    world.publish(&news);
    until(LIMIT, "somebody is told", || {
        world.broker.readyz().is_some_and(|(status, why)| status == 503 && why.contains(mute) && why.contains("does not answer"))
    });
    assert_eq!(world.depth("akasse:067"), Some(0));
    assert!(world.broker.log().contains("nothing is decided"), "{}", world.broker.log());
    shared_node().resume_queue(&world.uri, mute);
    until(LIMIT, "all is well", || world.broker.readyz().is_some_and(|(status, _)| status == 200));
    until(LIMIT, "they are told", || world.depth("akasse:067") == Some(3));
    in_order(&world.take("akasse:067"), &news, &[&cpr(1)]);
}
