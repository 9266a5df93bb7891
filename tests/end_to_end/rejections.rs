//! What a vendor does not want comes back, and waits for an operator.

use std::sync::Arc;

use crate::rig::{Event, Vendor, VendorOptions, Verdict, event, until};
use crate::world::{FEW, LIMIT, Routing, World, cpr, enroll, ids, queue};

#[test]
fn what_a_vendor_rejects_is_dead() {
    let mut world = World::running("rejected", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    // Joblog is what this vendor cannot read; Samtale crashes it every time.
    let judge = Arc::new(|message: &crate::rig::Message| match message.kind.as_str() {
        "Joblog" => Verdict::Reject,
        "Samtale" => Verdict::Requeue,
        _ => Verdict::Ack,
    });
    let fund = Vendor::with(&world.uri, [queue("akasse:067").as_str()], &VendorOptions { prefetch: 10, judge });
    let events: Vec<Event> = ["Tilmelding", "Joblog", "Samtale", "Fravaer"].iter().map(|kind| event(kind).cpr(&cpr(1))).collect();
    world.publish(&events);
    until(LIMIT, "two are dead", || world.count("wsb_dead", &[("recipient", "akasse:067")]) == 2);
    world.idle();
    let expected = [("rejected-by-recipient", &events[1], 1), ("delivery-limit", &events[2], 1)];
    let check = |world: &World| {
        for (reason, event, attempts) in expected {
            let dead = world.deliveries(&format!("state=dead&recipient=akasse:067&reason={reason}"));
            assert_eq!(dead.iter().filter_map(|one| one["event_id"].as_str()).collect::<Vec<_>>(), [event.event_id()], "{reason}");
            assert_eq!(dead[0]["attempts"], attempts, "{}", dead[0]);
            let sent = fund.messages().into_iter().find(|message| message.correlation_id == event.event_id()).unwrap();
            assert_eq!(dead[0]["id"], sent.id.as_str());
        }
    };
    check(&world);
    for kind in ["Joblog", "Samtale"] {
        assert_eq!(
            world.count("wsb_deliveries_total", &[("entity", kind), ("recipient_type", "akasse"), ("outcome", "dead")]),
            1,
            "{kind}"
        );
    }
    // 20 redeliveries after the first.
    let tries = fund.messages().iter().filter(|message| message.kind == "Samtale").count();
    assert_eq!(tries, 21);
    assert_eq!(world.amqp.depth("wsb.returned"), Some(0));
    assert_eq!(world.broker.cli_ok(&["quarantine", "list", "--format", "json"]).trim(), "[]");
    assert_eq!(world.take("kommune:860").len(), 4, "the kommune wanted it all");

    world.broker.kill9();
    world.broker.start_again();
    check(&world);
    assert_eq!(world.count("wsb_dead", &[("recipient", "akasse:067")]), 2);
}

#[test]
fn a_rejection_by_the_fund_that_came_in_by_a_transfer_is_recognized() {
    let world = World::running("rejected-transfer", &Routing::few().retry(20, 200, 3600));
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    world.amqp.delete_queue(&queue("akasse:067"));
    let events = [event("Joblog").cpr(&cpr(1))];
    world.publish(&events);
    until(LIMIT, "it is retried", || !world.deliveries("state=retrying").is_empty());
    let judge = Arc::new(|message: &crate::rig::Message| if message.kind == "Joblog" { Verdict::Reject } else { Verdict::Ack });
    let fund = Vendor::with(&world.uri, [queue("akasse:053").as_str()], &VendorOptions { prefetch: 10, judge });
    world.publish(&[crate::rig::membership(&cpr(1), "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00")]);
    fund.wait_until(LIMIT, "the new fund is told", |messages| messages.iter().any(|message| message.kind == "Joblog"));
    let dead = || world.deliveries("state=dead&recipient=akasse:053&reason=rejected-by-recipient");
    until(LIMIT, "the message that came back is dealt with", || {
        !dead().is_empty() || world.count("wsb_events_consumed_total", &[("outcome", "quarantined")]) > 0
    });
    assert_eq!(dead().iter().filter_map(|one| one["event_id"].as_str()).collect::<Vec<_>>(), ids(&events));

    // An operator finds it by its id like any other.
    let path = format!("/api/v1/deliveries/{}", dead()[0]["id"].as_str().unwrap());
    let (status, one) = world.broker.api_get(&path);
    assert_eq!((status, &one["state"], &one["recipient"]), (200, &"dead".into(), &"akasse:053".into()), "{one}");
    let (status, answer) = world.broker.api_post(&format!("{path}/discard"), &serde_json::json!({ "why": "tried" }));
    assert_eq!(status, 200, "{answer}");
    assert!(dead().is_empty());
}

#[test]
fn a_stranger_s_message_in_the_returned_queue_is_quarantined() {
    let world = World::running("stranger", &Routing::few());
    world.amqp.publish("wsb.returned", "", "who am I");
    until(LIMIT, "it is consumed", || world.consumed() == 1);
    let list = world.broker.cli_ok(&["quarantine", "list"]);
    assert!(list.contains("unrecognized-return"), "{list}");
}
