//! What DFDG takes back: the other one is told, and nothing is lost between.

use serde_json::json;

use crate::rig::{Event, Vendor, event, membership, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids, queue};

fn news(cpr: &str) -> Event {
    event("Tilmelding").cpr(cpr)
}

/// A transfer in two events, with a stop between them: what waited is withdrawn
/// by the first, and goes to the new fund with the second.
#[test]
fn a_transfer_in_two_events_loses_nothing_between_them() {
    let mut world = World::running("two-events", &Routing::few().retry(20, 200, 3600));
    let mover = cpr(1);
    world.tell(&enroll(&mover, "067", "86001", "101"));
    world.empty(&FEW);
    world.amqp.delete_queue(&queue("akasse:067"));
    let events: Vec<Event> = (0..3).map(|_| news(&mover)).collect();
    let consumed = world.consumed() + events.len();
    world.publish(&events);
    until(LIMIT, "the fund's queue is paused", || world.recipient("akasse:067")["state"] == "paused");
    // The end would overtake those that are not taken in yet.
    until(LIMIT, "all of them are taken in", || world.consumed() == consumed);

    let closed = membership(&mover, "067", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:00+01:00");
    world.publish([&closed]);
    for event in &events {
        let fund = |world: &World| world.traced(event).into_iter().find(|delivery| delivery["recipient"] == "akasse:067").unwrap();
        until(LIMIT, "what waits is withdrawn", || fund(&world)["state"] == "withdrawn");
        assert_eq!(fund(&world)["reason"], "membership-ended");
    }
    world.broker.kill9();
    world.broker.start_again();

    let new_fund = Vendor::consume(&world.uri, &queue("akasse:053"));
    let opened = membership(&mover, "053", "2025-01-01", None).at("2026-03-17T08:00:01+01:00");
    world.publish([&opened]);
    let told = new_fund.wait_until(LIMIT, "what waited", |messages| {
        messages.iter().filter(|message| message.kind == "Tilmelding").count() >= events.len()
    });
    let told: Vec<&str> =
        told.iter().filter(|message| message.kind == "Tilmelding").map(|message| message.correlation_id.as_str()).collect();
    assert_eq!(told, ids(&events), "once each, in order");
}

/// Two people are one while a change of number says so, and not a moment longer.
#[test]
fn a_change_of_number_that_is_recalled_parts_two_people_again() {
    let mut world = World::running("parted", &Routing::few());
    let (one, other) = (cpr(1), cpr(2));
    world.tell([enroll(&one, "067", "86001", "101"), enroll(&other, "067", "86001", "101")].concat().iter());
    // A member of another fund from a later day on.
    world.tell(&[membership(&other, "053", "2021-01-01", None).at("2026-03-17T08:00:00+01:00")]);
    let change = event("Personnummerskift").cpr(&one).content(json!({ "NytPersonnummer": other }));
    world.tell([&change]);
    world.empty(&FEW);

    let identified = |world: &World, recipient: &str| -> Vec<(String, String)> {
        let messages = world.take(recipient);
        messages
            .iter()
            .map(|message| (message.correlation_id.clone(), message.field("Identifikation").as_str().unwrap().to_owned()))
            .collect()
    };
    let joined = news(&one);
    world.tell([&joined]);
    assert_eq!(identified(&world, "akasse:053"), [(joined.event_id().to_owned(), other.clone())]);
    assert_eq!(about(&world.take("akasse:067")), [""; 0]);

    let recall = change.clone().again().deleted().at("2026-03-18T08:00:00+01:00").content(json!({}));
    world.tell([&recall]);
    world.broker.kill9();
    world.broker.start_again();
    let parted = [news(&one), news(&other)];
    world.tell(&parted);
    assert_eq!(identified(&world, "akasse:067"), [(parted[0].event_id().to_owned(), one.clone())]);
    assert_eq!(identified(&world, "akasse:053"), [(parted[1].event_id().to_owned(), other.clone())]);

    assert!(world.broker.terminate().success());
    world.broker.cli_ok(&["verify"]);
}
