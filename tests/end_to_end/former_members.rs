//! The fault that the product exists to end (R 2.10): an a-kasse that is told of
//! somebody who is not its member.

use serde_json::Value;

use crate::rig::{Event, event, jobcenter, membership};
use crate::world::{FEW, Routing, World, about, cpr, ids};

/// The three types of R 2.10.
const TYPES: [&str; 3] = ["Jobcentertilknytning", "FagprofessionelKontakt", "Persongruppemarkering"];

/// Somebody whom akasse:067 must not be told of.
struct Person {
    what: &'static str,
    cpr: String,
    history: Vec<Event>,
    /// Why 067 is left out.
    reason: &'static str,
    /// The fund that is told instead.
    instead: Option<&'static str>,
}

fn people() -> Vec<Person> {
    let person = |number: usize, what, reason, instead, history: &dyn Fn(&str) -> Vec<Event>| {
        let cpr = cpr(number);
        Person { what, history: history(&cpr), cpr, reason, instead }
    };
    vec![
        person(1, "a former member", "not_member", None, &|cpr| vec![membership(cpr, "067", "2020-01-01", Some("2024-12-31"))]),
        person(2, "a transferred member", "not_member", Some("akasse:053"), &|cpr| {
            vec![
                membership(cpr, "067", "2020-01-01", None),
                membership(cpr, "053", "2025-01-01", None).at("2026-03-17T08:00:00+01:00"),
                membership(cpr, "067", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:01+01:00"),
            ]
        }),
        person(3, "a recalled membership", "not_member", None, &|cpr| {
            vec![
                membership(cpr, "067", "2020-01-01", None),
                membership(cpr, "067", "2020-01-01", None).deleted().at("2026-03-17T08:00:00+01:00"),
            ]
        }),
        person(4, "a backdated end", "not_member", None, &|cpr| {
            vec![
                membership(cpr, "067", "2020-01-01", None),
                membership(cpr, "067", "2020-01-01", Some("2021-02-28")).updated().at("2026-03-17T08:00:00+01:00"),
            ]
        }),
        person(5, "an unknown membership", "unknown_membership", None, &|_| Vec::new()),
        person(6, "a contradictory membership", "contradictory_membership", None, &|cpr| {
            vec![membership(cpr, "067", "2022-01-01", None), membership(cpr, "053", "2022-01-01", None)]
        }),
    ]
}

/// An event of each of the three types about somebody whose jobcentre is known.
fn news(cpr: &str) -> Vec<Event> {
    TYPES
        .iter()
        .map(|kind| match *kind {
            "Jobcentertilknytning" => jobcenter(cpr, "86001", "2020-01-01", None).updated().at("2026-03-18T08:00:00+01:00"),
            kind => event(kind).cpr(cpr),
        })
        .collect()
}

#[test]
fn a_former_member_s_fund_gets_nothing() {
    let mut world = World::running("former", &Routing::few());
    let people = people();
    let known: Vec<Event> = people
        .iter()
        .flat_map(|person| [jobcenter(&person.cpr, "86001", "2020-01-01", None)].into_iter().chain(person.history.clone()))
        .collect();
    world.tell(&known);
    world.empty(&FEW);
    let before = world.broker.metrics();

    let news: Vec<Vec<Event>> = people.iter().map(|person| news(&person.cpr)).collect();
    world.tell(news.iter().flatten());

    // The control: the kommune gets all of it, so nothing was simply lost. Two
    // queues bring the events in, so that only the set is certain.
    let sorted = |mut ids: Vec<&str>| {
        ids.sort_unstable();
        ids.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sorted(about(&world.take("kommune:860"))), sorted(ids(news.iter().flatten())));
    assert_eq!(about(&world.take("akasse:067")), [""; 0], "the former fund was told");
    let transferred: Vec<&Event> =
        people.iter().zip(&news).filter(|(person, _)| person.instead == Some("akasse:053")).flat_map(|(_, news)| news).collect();
    assert_eq!(sorted(about(&world.take("akasse:053"))), sorted(ids(transferred)));
    for nobody in ["akasse:083", "kommune:101", "kommune:751"] {
        assert_eq!(about(&world.take(nobody)), [""; 0], "{nobody}");
    }

    let after = world.broker.metrics();
    let moved = |name: &str, labels: &[(&str, &str)]| (after.sum(name, labels) - before.sum(name, labels)) as u32;
    for kind in TYPES {
        // One each for the former, transferred, recalled and backdated one.
        assert_eq!(moved("wsb_deliveries_suppressed_total", &[("entity", kind), ("reason", "not_member")]), 4, "{kind}");
        // The unknown one, and the one of whom nothing but a recall is known.
        assert_eq!(moved("wsb_deliveries_suppressed_total", &[("entity", kind), ("reason", "unknown_membership")]), 2, "{kind}");
        // Both funds of the contradiction.
        assert_eq!(moved("wsb_deliveries_suppressed_total", &[("entity", kind), ("reason", "contradictory_membership")]), 2, "{kind}");
    }
    assert_eq!(moved("wsb_wrong_recipient_prevented_total", &[("stage", "decision")]), 12);

    explained(&world, &people);
    assert!(world.broker.terminate().success());
    explained(&world, &people);
}

/// Checks what `explain` says of each.
#[track_caller]
fn explained(world: &World, people: &[Person]) {
    let running = world.broker.pid().is_some();
    for person in people {
        for event in news(&person.cpr) {
            let what = format!("{}, {}, broker running: {running}", person.what, event.json()["data"]["EntitetNavn"]);
            let file = world.write("event.json", event.body());
            let text = world.broker.cli_ok(&["explain", "--event", &file, "--format", "json"]);
            let said: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"));
            let mut told: Vec<&str> = said["recipients"].as_array().unwrap().iter().filter_map(|one| one["recipient"].as_str()).collect();
            told.sort_unstable();
            let expected: Vec<&str> = person.instead.into_iter().chain(["kommune:860"]).collect();
            assert_eq!(told, expected, "{what}: {said}");
            for one in said["recipients"].as_array().unwrap() {
                assert!(one["registration"]["external_id"].is_string() && one["audience"].is_string(), "{what}: {one}");
            }
            let left_out = said["left_out"].as_array().unwrap();
            let because = |recipient: Option<&str>| {
                left_out.iter().find(|one| one["recipient"].as_str() == recipient).map(|one| one["reason"].as_str().unwrap_or_default())
            };
            match person.reason {
                // Nobody knows whose fund is left out.
                "unknown_membership" => assert_eq!(because(None), Some("unknown_membership"), "{what}: {said}"),
                "contradictory_membership" => {
                    assert_eq!(because(Some("akasse:067")), Some(person.reason), "{what}: {said}");
                    assert_eq!(because(Some("akasse:053")), Some(person.reason), "{what}: {said}");
                }
                reason => assert_eq!(because(Some("akasse:067")), Some(reason), "{what}: {said}"),
            }
            assert!(!text.contains(&person.cpr), "{what} shows the personnummer");
        }
        let file = world.write("event.json", news(&person.cpr)[1].body());
        let words = world.broker.cli_ok(&["explain", "--event", &file]);
        assert!(words.contains(person.reason) && words.contains("kommune:860 (Hjørring)"), "{}: {words}", person.what);
        assert!(!words.contains(&person.cpr), "{}: {words}", person.what);
    }
}
