//! What a vendor does not want comes back, and waits for an operator.

use std::sync::Arc;

use lapin::types::AMQPValue;

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

/// Nobody is told of a record that is gone (R 5.1), whichever came first: the
/// deletion or the rejection.
#[test]
fn what_a_vendor_rejects_after_its_record_was_deleted_is_sent_to_nobody() {
    let world = World::running("rejected-late", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let told = event("Samtale").cpr(&cpr(1));
    world.tell([&told]);
    world.tell([&told.clone().again().deleted().at("2026-03-18T08:00:00+01:00")]);
    let id = told.event_id().to_owned();
    let judge = Arc::new(move |message: &crate::rig::Message| if message.correlation_id == id { Verdict::Reject } else { Verdict::Ack });
    let fund = Vendor::with(&world.uri, [queue("akasse:067").as_str()], &VendorOptions { prefetch: 1, judge });
    let of_fund = || world.traced(&told).into_iter().find(|delivery| delivery["recipient"] == "akasse:067").unwrap();
    until(LIMIT, "what came back is dealt with", || of_fund()["state"] != "delivered");
    drop(fund);
    assert_eq!(world.count("wsb_dead", &[]), 0);
    let of_fund = of_fund();
    assert_eq!((&of_fund["state"], &of_fund["reason"]), (&"withdrawn".into(), &"record-deleted".into()), "{of_fund}");
    world.tell(&[crate::rig::membership(&cpr(1), "053", "2025-01-01", None).at("2026-03-17T10:00:00+01:00")]);
    let out = world.broker.cli_ok(&["replays", "start", "--wait"]);
    assert!(out.contains("0 of 0"), "{out}");
    assert!(world.take("akasse:053").iter().all(|message| message.kind != "Samtale"));
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

/// Whoever can put a message into some queue ends no delivery of another's with it.
#[test]
fn a_message_in_the_name_of_another_s_delivery_is_quarantined() {
    let world = World::running("forged", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let events = [event("Joblog").cpr(&cpr(1))];
    world.tell(&events);
    let sent = world.take("akasse:067").remove(0);
    let headers = |recipient: &str| {
        [
            ("wsb-recipient", AMQPValue::LongString(recipient.into())),
            ("wsb-entity-id", AMQPValue::LongInt(910_000)),
            ("wsb-change-type", AMQPValue::LongInt(1)),
            ("wsb-attempt", AMQPValue::LongInt(1)),
            ("wsb-replay", AMQPValue::Boolean(false)),
        ]
    };
    let judge = Arc::new(|_: &crate::rig::Message| Verdict::Reject);
    let _others = Vendor::with(&world.uri, [queue("akasse:053").as_str()], &VendorOptions { prefetch: 10, judge });
    for recipient in ["akasse:067", "akasse:053"] {
        world.amqp.publish_as("", &queue("akasse:053"), &sent.id, events[0].event_id(), &headers(recipient));
    }
    world.amqp.publish_as("wsb.returned", "", &sent.id, events[0].event_id(), &[]);
    until(LIMIT, "all three are quarantined", || world.count("wsb_events_consumed_total", &[("outcome", "quarantined")]) == 3);
    let list = world.broker.cli_ok(&["quarantine", "list", "--format", "json"]);
    for reason in ["names another queue", "was not sent to the recipient", "lacks an id or a header"] {
        assert!(list.contains(reason), "{reason}: {list}");
    }
    assert!(world.deliveries("state=dead").is_empty(), "nothing was ended");
}
