//! What ends with a deletion, on a real RabbitMQ: holders are told, the dead are
//! ordered and told of, and the broker forgets whom it has no reason to know, by
//! order or by itself; then its files are searched.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::rig::{Broker, Event, Message, Options, event, external_id, jobcenter, membership, residence, until};
use crate::world::{LIMIT, Routing, World, cpr, enroll};

/// Of whom an operator orders that they be erased, who is forgotten by itself, and
/// who stays.
const ORDERED: &str = "1312777701";
const ALONE: &str = "1312777702";
const STAYS: &str = "1312777703";

fn deletion(of: &Event, cpr: &str, area: &str, entity: &str) -> Event {
    let content = json!({ "Dataomraade": area, "SlettetEntitet": entity });
    event("GdprSletning").cpr(cpr).external(of.record_id()).content(content)
}

/// What a trial of an erasure says; `None` of somebody who is not known.
fn known(world: &World, cpr: &str) -> Option<Value> {
    let (status, answer) = world.broker.api_post("/api/v1/erasures", &json!({ "personnummer": cpr, "dry_run": true }));
    match status {
        200 => Some(answer),
        404 => None,
        _ => panic!("{answer}"),
    }
}

/// The notices among messages: type, and whether they say whom they are about.
fn notices(messages: &[Message]) -> Vec<(String, Value)> {
    let of_gdpr = messages.iter().filter(|message| message.kind.starts_with("GdprSlet"));
    let mut found: Vec<_> = of_gdpr.map(|message| (message.kind.clone(), message.field("Identifikation"))).collect();
    // They are of several lanes.
    found.sort_by_key(|(_, who)| who.to_string());
    found
}

#[track_caller]
fn search(directory: &Path, marks: &[&str]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files += search(&entry.path(), marks);
            continue;
        }
        files += 1;
        let bytes = fs::read(entry.path()).unwrap();
        for mark in marks {
            let found = bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
            assert!(!found, "{} holds {mark}", entry.path().display());
        }
    }
    files
}

#[test]
fn citizens_are_forgotten_by_order_and_with_their_last_record() {
    let mut world = World::running("forgetting", &Routing::few());
    let people = [ORDERED, ALONE, STAYS];
    let enrolled: Vec<Event> = people.iter().flat_map(|cpr| enroll(cpr, "067", "86001", "101")).collect();
    world.tell(&enrolled);
    let joblogs: Vec<Event> = people.iter().map(|cpr| event("Joblog").cpr(cpr)).collect();
    world.tell(&joblogs);
    world.empty(&["akasse:067", "kommune:860", "kommune:101"]);

    // By order, tried first.
    assert_eq!(known(&world, ORDERED).map(|trial| trial["clocks"].clone()), Some(json!(1)));
    let (status, erased) = world.broker.api_post("/api/v1/erasures", &json!({ "personnummer": ORDERED }));
    assert_eq!((status, &erased["state"]), (200, &json!("erased")), "{erased}");
    assert_eq!(known(&world, ORDERED), None);

    // Nobody has this one any more; the fund and the kommune hold copies.
    let end = |one: &Event| one.clone().again().updated().at("2026-03-18T08:00:00+01:00");
    world.tell(&[
        end(&membership(ALONE, "067", "2020-01-01", None)).period("2020-01-01", Some("2026-03-01")),
        end(&jobcenter(ALONE, "86001", "2020-01-01", None)).period("2020-01-01", Some("2026-03-01")),
        end(&residence(ALONE, "101", "2020-01-01", None)).period("2020-01-01", Some("2026-03-01")),
    ]);
    world.empty(&["akasse:067", "kommune:860", "kommune:101"]);
    assert!(known(&world, ALONE).is_some(), "there is a record");
    world.tell(&[deletion(&joblogs[1], ALONE, "joblog", "Joblog"), deletion(&joblogs[2], STAYS, "joblog", "Joblog")]);
    until(LIMIT, "the citizen is forgotten", || known(&world, ALONE).is_none());
    assert!(known(&world, STAYS).is_some(), "a member is known");
    until(LIMIT, "it is counted", || world.count("wsb_citizens_erased_total", &[("cause", "last_record")]) == 1);
    assert_eq!(world.count("wsb_citizens_erased_total", &[("cause", "order")]), 1);
    let unexpected: Value = serde_json::from_str(&world.broker.cli_ok(&["retention", "unexpected", "--format", "json"])).unwrap();
    let why: Vec<_> = unexpected.as_array().unwrap().iter().map(|item| [&item["why"], &item["event_id"]]).collect();
    assert!(why.len() == 2 && why[0][1].is_string() && why[1] == [&json!("early"), &Value::Null], "{unexpected}");

    // The notices lie there until the vendors fetch them.
    let lying = |world: &World| -> Vec<String> {
        let list: Value = serde_json::from_str(&world.broker.cli_ok(&["retention", "notices", "--format", "json"])).unwrap();
        list.as_array().unwrap().iter().map(|item| item["recipient"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lying(&world), ["akasse:067", "kommune:860"]);
    let told = notices(&world.take("akasse:067"));
    let name = || "GdprSletJoblog".to_owned();
    assert_eq!(told, [(name(), json!(STAYS)), (name(), Value::Null)], "a former holder is not told of whom");
    until(LIMIT, "the fund has fetched", || lying(&world) == ["kommune:860"]);

    // Not after a crash either; what was theirs is searched for in every file.
    world.broker.kill9();
    world.broker.start_again();
    assert_eq!((known(&world, ORDERED), known(&world, ALONE)), (None, None));
    assert_eq!(lying(&world), ["kommune:860"], "it is remembered who has not fetched");
    // Whoever comes back is somebody new.
    world.tell(&[membership(ALONE, "053", "2026-03-19", None)]);
    let again = known(&world, ALONE).expect("known again");
    let found = ["memberships", "jobcentres", "clocks", "trace"].map(|what| &again[what]);
    assert_eq!(found, [&json!(1), &json!(0), &json!(0), &json!(1)], "{again}");
    assert!(world.broker.terminate().success());
    world.broker.cli_ok(&["verify"]);
    let mut marks = people.to_vec();
    marks.extend(joblogs.iter().map(Event::record_id));
    assert!(search(world.broker.data_dir(), &marks) > 2);
    let log = world.broker.log();
    assert!(people.iter().all(|cpr| !log.contains(cpr)) && log.contains("citizen erased"), "{log}");
}

/// PersonDoed ends what is told; every record is ordered; what DFDG then deletes is
/// told as GdprSletAfdoed to whoever holds a copy; then the citizen is forgotten.
#[test]
fn the_dead_are_ordered_told_of_and_forgotten() {
    let citizen = cpr(7);
    let world = World::running("the-dead", &Routing::few());
    world.tell(&enroll(&citizen, "067", "86001", "101"));
    let joblog = event("Joblog").cpr(&citizen);
    let talk = event("Samtale").cpr(&citizen);
    world.tell(&[joblog.clone(), talk.clone()]);
    world.tell(&[event("PersonDoed").cpr(&citizen).content(json!({ "Doedsdato": "2026-03-01" }))]);
    world.tell(&[event("Tilmelding").cpr(&citizen).period("2026-01-01", None)]);
    let before = world.take("akasse:067");
    assert!(before.iter().all(|message| message.kind != "Tilmelding"), "nothing ordinary is told of the dead");
    until(LIMIT, "three records are ordered", || world.amqp.depth("dfdg.deletions") >= Some(3));
    assert_eq!(world.count("wsb_gdpr_orders_overdue", &[]), 0, "not yet");
    let orders: Vec<Value> = world.amqp.take_all("dfdg.deletions").iter().map(Message::json).collect();
    let answers: Vec<Event> = orders
        .iter()
        .map(|order| {
            let data = &order["data"];
            let content = json!({ "Dataomraade": data["Dataomraade"], "SlettetEntitet": data["EntitetNavn"], "Grundlag": "afdoed" });
            event("GdprSletning").cpr(&citizen).external(data["EksternIdentifier"].as_str().unwrap()).content(content)
        })
        .collect();
    assert_eq!(answers.len(), 3);
    world.tell(&answers);
    let told = notices(&world.take("akasse:067"));
    assert!(told.len() >= 2 && told.iter().all(|(kind, _)| kind == "GdprSletAfdoed"), "{told:?}");
    until(LIMIT, "the citizen is forgotten", || known(&world, &citizen).is_none());
    assert_eq!(world.count("wsb_gdpr_unexpected_deletions_total", &[]), 0, "all of it was expected");
}

/// GdprSletCv goes to every jobcentre that had the citizen, and to every fund since
/// the first placement in kontaktgruppe 1, whoever has the citizen now.
#[test]
fn a_deleted_cv_is_told_to_everybody_since_the_first_placement() {
    let citizen = cpr(8);
    let all = ["akasse:053", "akasse:067", "akasse:083", "kommune:101", "kommune:147", "kommune:860"];
    let world = World::running("cv", &Routing::only(&all));
    let group = event("Kontaktgruppe").cpr(&citizen).period("2022-01-01", None).content(json!({ "KontaktgruppeTypeId": 1 }));
    world.tell(&[
        membership(&citizen, "053", "2018-01-01", Some("2021-12-31")),
        membership(&citizen, "067", "2022-01-01", Some("2023-12-31")),
        membership(&citizen, "083", "2024-01-01", None),
        jobcenter(&citizen, "10100", "2018-01-01", Some("2020-12-31")),
        jobcenter(&citizen, "86001", "2021-01-01", None),
        residence(&citizen, "147", "2018-01-01", None),
        group.clone(),
    ]);
    // The placement is over, and its record deleted; the CV is still there.
    world.tell(&[deletion(&group, &citizen, "kontaktgruppe", "Kontaktgruppe")]);
    world.empty(&all);
    let content = json!({ "Dataomraade": "cv", "SlettetEntitet": "Cv" });
    world.tell(&[event("GdprSletning").cpr(&citizen).external(&external_id("a-cv")).content(content)]);
    let told: Vec<(&str, Vec<(String, Value)>)> = all.iter().map(|recipient| (*recipient, notices(&world.take(recipient)))).collect();
    let cv = |who: Value| vec![("GdprSletCv".to_owned(), who)];
    let expected = [
        ("akasse:053", Vec::new()),
        ("akasse:067", cv(Value::Null)),
        ("akasse:083", cv(json!(citizen))),
        ("kommune:101", cv(Value::Null)),
        ("kommune:147", Vec::new()),
        ("kommune:860", cv(json!(citizen))),
    ];
    assert_eq!(told, expected);

    // That of the dead goes to the same, by the name of the notice after a death.
    world.tell(&[event("PersonDoed").cpr(&citizen).content(json!({ "Doedsdato": "2026-03-01" }))]);
    world.empty(&all);
    let content = json!({ "Dataomraade": "cv", "SlettetEntitet": "Cv", "Grundlag": "afdoed" });
    world.tell(&[event("GdprSletning").cpr(&citizen).external(&external_id("another-cv")).content(content)]);
    let told: Vec<(&str, Vec<(String, Value)>)> = all.iter().map(|recipient| (*recipient, notices(&world.take(recipient)))).collect();
    let renamed =
        expected.map(|(recipient, told)| (recipient, told.into_iter().map(|(_, who)| ("GdprSletAfdoed".to_owned(), who)).collect()));
    assert_eq!(told, renamed);
}

/// The command that takes notices off the list: tried first, with a reason only, and
/// written down; nothing is taken out of the queue.
#[test]
fn notices_are_closed_by_the_command() {
    let citizen = cpr(9);
    let world = World::running("close-notices", &Routing::few());
    world.tell(&enroll(&citizen, "067", "86001", "101"));
    let joblog = event("Joblog").cpr(&citizen);
    world.tell([&joblog]);
    world.empty(&["akasse:067", "kommune:860", "kommune:101"]);
    world.tell(&[deletion(&joblog, &citizen, "joblog", "Joblog")]);
    let lying = || -> Vec<String> {
        let list: Value = serde_json::from_str(&world.broker.cli_ok(&["retention", "notices", "--format", "json"])).unwrap();
        list.as_array().unwrap().iter().map(|item| item["recipient"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(lying(), ["akasse:067", "kommune:860"]);
    let log = || world.broker.cli_ok(&["audit", "export"]);
    let deeds = || log().matches("notices-closed").count();

    let command = ["retention", "close-notices", "akasse:067"];
    for (without, code) in [(&command[..], 2), (&[&command[..], &["--why", " "]].concat(), 1)] {
        let refused = world.broker.cli(without);
        assert_eq!(refused.status.code(), Some(code), "{refused:?}");
    }
    let why = ["--why", "carried out from a list, case 4711"];
    let tried = world.broker.cli_ok(&[&command[..], &why, &["--dry-run"]].concat());
    assert!(tried.contains("akasse:067: 1 notices would be closed") && tried.contains("nothing was changed"), "{tried}");
    assert_eq!((lying().len(), world.depth("akasse:067")), (2, Some(1)));
    let before = deeds();

    let closed = world.broker.cli_ok(&[&command[..], &why].concat());
    assert!(closed.contains("akasse:067: 1 notices closed") && !closed.contains("nothing was changed"), "{closed}");
    assert_eq!(lying(), ["kommune:860"]);
    assert_eq!(world.depth("akasse:067"), Some(1), "the vendor still gets it");
    assert_eq!(deeds(), before + 1);
    let log = log();
    assert!(log.contains("carried out from a list, case 4711") && log.contains("akasse:067 until "), "{log}");
    let again = world.broker.cli(&[&command[..], &why].concat());
    assert!(!again.status.success(), "nothing is left to close: {again:?}");
    world.broker.cli_ok(&["audit", "verify"]);
}

#[test]
fn an_erasure_that_takes_two_persons_takes_them_without_a_broker_too() {
    let mut world = World::new("two-persons", &Routing::few());
    let erase = |world: &World, more: &[&str]| world.broker.cli_fed(&[&["erase"], more].concat(), ORDERED);
    let mut strict = Broker::prepare(
        Options::new(&world.uri).routing(world.file("routing.toml")).data_dir(world.broker.data_dir()).env("WSB_ERASE_TWO_PERSONS", "true"),
    );
    strict.start_again();
    world.publish(&[membership(ORDERED, "067", "2020-01-01", None)]);
    until(LIMIT, "the membership is taken in", || strict.metrics().sum("wsb_events_consumed_total", &[]) as u32 == 1);
    assert!(strict.terminate().success());

    let refused = erase(&world, &[]);
    assert_eq!(refused.status.code(), Some(4), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("two persons"), "{refused:?}");
    assert_eq!(erase(&world, &["--dry-run"]).status.code(), Some(0));

    // A broker that is told otherwise takes that back.
    world.broker.start_again();
    assert!(world.broker.terminate().success());
    let erased = erase(&world, &[]);
    assert_eq!(erased.status.code(), Some(0), "{erased:?}");
}
