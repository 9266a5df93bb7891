//! `routing.toml` changes while the broker runs.

use crate::rig::{Event, Vendor, event, membership, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids};

fn reloads(world: &World, outcome: &str) -> usize {
    world.count("wsb_routing_reload_total", &[("outcome", outcome)])
}

#[test]
fn routing_changes_without_a_restart_and_never_to_something_broken() {
    let few = Routing::few();
    let world = World::running("reload", &few);
    world.tell([enroll(&cpr(1), "067", "86001", "101"), enroll(&cpr(2), "053", "86001", "101")].concat().iter());
    world.empty(&FEW);
    let news = |kind: &str, cpr: &str| vec![event(kind).cpr(cpr)];
    let told = |recipient: &str, events: &[Event]| assert_eq!(about(&world.take(recipient)), ids(events), "{recipient}");

    // A type that the funds are told of from now on, on request.
    world.write("routing.toml", few.clone().with("\nname = \"Frist\"\nentity-id = 90001", "\nname = \"Frist\"\nentity-id = 90099").text());
    world.broker.signal("HUP");
    until(LIMIT, "a reload on request", || reloads(&world, "accepted") == 1);
    let events = news("Frist", &cpr(1));
    world.tell(&events);
    let messages = world.take("kommune:860");
    assert_eq!(about(&messages), ids(&events));
    assert_eq!(messages[0].headers["wsb-entity-id"], 90099);

    // A mistake, noticed by watching: the old rules stay, with the changed id.
    let broken = few.clone().with(
        "domain = \"kontaktforloeb\"\naudiences = [\"jobcenter-own-citizens\"]",
        "domain = \"kontaktforlob\"\naudiences = [\"jobcenter-own-citizen\"]",
    );
    world.write("routing.toml", broken.text());
    until(LIMIT, "the mistake is noticed", || reloads(&world, "refused") == 1);
    let line = |part: &str| 1 + broken.text().lines().position(|line| line.contains(part)).unwrap();
    let log = world.broker.log();
    for place in [format!(":{}:10", line("\"kontaktforlob\"")), format!(":{}:14", line("\"jobcenter-own-citizen\""))] {
        assert!(log.contains(&place), "the log does not point at {place}: {log}");
    }
    assert!(log.contains("the rules stay as they were"), "{log}");
    let events = news("Frist", &cpr(1));
    world.tell(&events);
    let messages = world.take("kommune:860");
    assert_eq!(about(&messages), ids(&events));
    assert_eq!(messages[0].headers["wsb-entity-id"], 90099);
    assert_eq!(world.broker.readyz().map(|(status, _)| status), Some(200));

    // A new recipient, noticed by watching: its queue is declared before
    // anything is sent to it.
    let more = few.clone().plus_recipient("{ authority = \"akasse:098\", name = \"CA A-kasse\", max-unfetched = 7 },");
    world.write("routing.toml", more.text());
    until(LIMIT, "the new file is taken over", || reloads(&world, "accepted") == 2);
    assert_eq!(world.depth("akasse:098"), Some(0));
    world.tell(&enroll(&cpr(3), "098", "86001", "101"));
    world.empty(&["akasse:098"]);
    let events = news("Tilmelding", &cpr(3));
    world.tell(&events);
    told("akasse:098", &events);
    assert!(world.broker.log().contains("taken over"), "{}", world.broker.log());

    // A fund that has closed gets nothing, whoever is still its member.
    let closed = more.clone().with(
        "{ authority = \"akasse:053\", name = \"HK A-kasse\" }",
        "{ authority = \"akasse:053\", name = \"HK A-kasse\", valid-until = 2026-01-31 }",
    );
    world.write("routing.toml", closed.text());
    world.broker.signal("HUP");
    until(LIMIT, "the closing is taken over", || reloads(&world, "accepted") >= 3);
    world.empty(&FEW);
    let events = [event("Tilmelding").cpr(&cpr(2)), event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    told("akasse:053", &[]);
    told("akasse:067", &events[1..]);
    told("kommune:860", &events);

    // What RabbitMQ refuses is refused here too.
    let clash = more.with("max-unfetched = 7", "max-unfetched = 8");
    world.write("routing.toml", clash.text());
    world.broker.signal("HUP");
    until(LIMIT, "the clash is noticed", || reloads(&world, "refused") >= 2);
    assert!(world.broker.log().contains("queue 'wsb.akasse.098' already exists with x-max-length = 7"), "{}", world.broker.log());
}

#[test]
fn what_waits_for_a_fund_that_closes_is_withdrawn() {
    let routing = Routing::few().retry(20, 200, 3600).window(2);
    let world = World::running("closing", &routing);
    world.tell(&enroll(&cpr(1), "067", "86001", "101")[1..]);
    let _kommuner = Vendor::consume_all(&world.uri, ["wsb.kommune.860", "wsb.kommune.101"]);
    world.tell(&enroll(&cpr(1), "067", "86001", "101")[..1]);
    let events: Vec<Event> = (0..8).map(|_| event("Tilmelding").cpr(&cpr(1))).collect();
    world.publish(&events);
    until(LIMIT, "its queue is full", || world.recipient("akasse:067")["state"] == "paused" && world.depth("akasse:067") >= Some(2));
    let waiting: Vec<&Event> = events.iter().filter(|event| of_067(&world, event)["state"] != "delivered").collect();
    assert!(!waiting.is_empty());
    world.write(
        "routing.toml",
        routing.with("name = \"Lederne A-kasse\" }", "name = \"Lederne A-kasse\", valid-until = 2026-01-31 }").text(),
    );
    world.broker.signal("HUP");
    world.idle();
    for event in waiting {
        let of = of_067(&world, event);
        assert_eq!((&of["state"], &of["reason"]), (&"withdrawn".into(), &"recipient-closed".into()), "{of}");
    }
    // Nobody came instead, and the fund that has closed is told nothing later.
    world.empty(&FEW);
    world.tell(&[membership(&cpr(1), "067", "2020-01-01", None).updated().at("2026-03-17T08:00:00+01:00")]);
    assert_eq!(about(&world.take("akasse:067")), [""; 0]);
}

fn of_067(world: &World, event: &Event) -> serde_json::Value {
    let mut traced = None;
    until(LIMIT, "the event is taken in", || {
        traced = world.try_traced(event);
        traced.is_some()
    });
    traced.unwrap_or_default().into_iter().find(|delivery| delivery["recipient"] == "akasse:067").expect("067 is told")
}
