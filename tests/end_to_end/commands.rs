//! The command line, as operators and scripts use it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::rig::{Broker, Event, Options, event, free_port, membership, queue_depth, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids};

/// Runs a command; returns its code, what it answered, and what else it said.
fn run(broker: &Broker, arguments: &[&str]) -> (i32, String, String) {
    let output = broker.cli(arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[track_caller]
fn ends_with(broker: &Broker, code: i32, arguments: &[&str], said: &[&str]) -> String {
    let (got, out, err) = run(broker, arguments);
    assert_eq!(got, code, "{arguments:?}: {out}{err}");
    for word in said {
        assert!(out.contains(word) || err.contains(word), "{arguments:?} does not say {word:?}: {out}{err}");
    }
    out
}

#[test]
fn every_command_explains_itself() {
    let broker = Broker::prepare(Options::new("amqp://127.0.0.1:1"));
    let commands: [&[&str]; 13] = [
        &[],
        &["run"],
        &["check"],
        &["explain"],
        &["topology"],
        &["events"],
        &["events", "publish"],
        &["import"],
        &["quarantine"],
        &["quarantine", "list"],
        &["quarantine", "retry"],
        &["quarantine", "discard"],
        &["init-key"],
    ];
    for command in commands {
        let help = ends_with(&broker, 0, &[command, &["--help"]].concat(), &["Usage: wsb-broker"]);
        assert!(!help.contains("rig-admin-token"), "{help}");
    }
    ends_with(&broker, 0, &["--version"], &["wsb-broker "]);
    for wrong in [vec![], vec!["dance"], vec!["run", "--no-such-flag"], vec!["explain"], vec!["--http", "nowhere", "check"]] {
        ends_with(&broker, 2, &wrong, &[]);
    }
    assert!(!broker.data_dir().exists(), "asking for help created {}", broker.data_dir().display());
}

#[test]
fn check_points_at_every_mistake() {
    let broker = Broker::prepare(Options::new("amqp://127.0.0.1:1"));
    ends_with(&broker, 0, &["check"], &["ok", "119 recipients"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routing.toml");
    let broken = Routing::few()
        .with("entity-id = 90000", "entity-id = 90001")
        .with("{ authority = \"akasse:067\", name = \"Lederne A-kasse\" }", "{ authority = \"akasse:67\", name = \"Lederne A-kasse\" }")
        .with("multiplier = 2.0", "multiplier = 0.5");
    fs::write(&file, broken.text()).unwrap();
    let (code, out, err) = run(&broker, &["check", "--routing", file.to_str().unwrap()]);
    assert_eq!(code, 1, "{out}{err}");
    let line = |part: &str| 1 + broken.text().lines().position(|line| line.contains(part)).unwrap();
    for part in ["authority = \"akasse:67\"", "multiplier = 0.5"] {
        let place = format!("routing.toml:{}:", line(part));
        assert!(err.contains(&place), "not at {place}: {err}");
    }
    assert!(err.contains("90001") && err.contains("3 mistakes"), "{err}");
    ends_with(&broker, 2, &["check", "--routing", "/nowhere/routing.toml"], &["/nowhere/routing.toml"]);
    // What check refuses, run refuses too.
    ends_with(&broker, 1, &["run", "--routing", file.to_str().unwrap()], &["akasse:67"]);
}

#[test]
fn topology_is_shown_and_declared() {
    let uri = shared_node().vhost("topology");
    let world = World::at(&uri, &Routing::few(), |options| options);
    let text = ends_with(&world.broker, 0, &["topology", "--format", "json"], &[]);
    let shown: Value = serde_json::from_str(&text).unwrap();
    let queues: Vec<&str> = shown["queues"].as_array().unwrap().iter().filter_map(|queue| queue["name"].as_str()).collect();
    for queue in ["wsb.intake.tilknytning", "wsb.intake.events", "wsb.returned", "dfdg.deletions", "wsb.akasse.067", "wsb.kommune.860"] {
        assert!(queues.contains(&queue), "{queue}: {queues:?}");
    }
    let fund = shown["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "wsb.akasse.067").unwrap();
    let arguments = serde_json::json!({
        "x-queue-type": "quorum", "x-max-length": 1000, "x-overflow": "reject-publish", "x-dead-letter-exchange": "wsb.returned",
        "x-dead-letter-strategy": "at-least-once", "x-delivery-limit": 20,
    });
    assert_eq!(fund["arguments"], arguments);
    ends_with(&world.broker, 0, &["topology"], &["wsb.akasse.067", "dfdg.events"]);
    assert_eq!(world.depth("akasse:067"), None, "showing declares nothing");
    ends_with(&world.broker, 0, &["topology", "--apply"], &["declared"]);
    ends_with(&world.broker, 0, &["topology", "--apply"], &["declared"]);
    for queue in queues {
        assert_eq!(queue_depth(&uri, queue), Some(0), "{queue}");
    }
    let nowhere = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    ends_with(&world.broker, 3, &["--amqp-uri", &nowhere, "topology", "--apply"], &["cannot reach RabbitMQ"]);
    ends_with(&world.broker, 2, &["--amqp-uri", "http://x", "topology", "--apply"], &["not valid"]);
}

#[test]
fn a_reader_that_has_gone_away_stops_no_command() {
    let broker = Broker::prepare(Options::new("amqp://127.0.0.1:1"));
    let unread = |arguments: &[&str]| {
        let output = broker.cli_unread(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
        output.status.code()
    };
    for command in [vec!["topology"], vec!["topology", "--format", "json"], vec!["check"], vec!["init-key"]] {
        assert_eq!(unread(&command), Some(0), "{command:?}");
    }
    assert_eq!(unread(&["init-key"]), Some(4), "the first one did its work, and the second one says what it would have");
}

#[test]
fn every_message_in_quarantine_is_tried_though_nobody_reads_of_it() {
    let world = World::running("unread", &Routing::few());
    world.publish(&(1..=4).map(|n| event("Fremtidig").domain("plan").cpr(&cpr(n))).collect::<Vec<_>>());
    world.settle(4);
    let listed = || -> Vec<Value> { serde_json::from_str(&world.broker.cli_ok(&["quarantine", "list", "--format", "json"])).unwrap() };
    assert_eq!(listed().len(), 4);
    let mended = Routing::few().plus_type("Fremtidig", 919_997, "plan", "[\"akasse-own-members\"]");
    world.write("routing.toml", mended.text());
    world.broker.signal("HUP");
    until(LIMIT, "the file is taken over", || world.count("wsb_routing_reload_total", &[("outcome", "accepted")]) == 1);
    let output = world.broker.cli_unread(&["quarantine", "retry", "all"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(listed(), Vec::<Value>::new());
}

/// Writes events as lines, with a blank one among them.
fn lines(events: &[Event]) -> String {
    events.iter().map(|event| format!("{}\n\n", event.json())).collect()
}

#[test]
fn events_are_published_by_the_file() {
    let mut world = World::running("publish", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let events = [event("Tilmelding").cpr(&cpr(1)), event("Fravaer").cpr(&cpr(1)).updated(), event("Plan").cpr(&cpr(1)).deleted()];
    let file = world.write("events.ndjson", lines(&events));
    ends_with(&world.broker, 0, &["events", "publish", &file], &["published 3 events"]);
    world.settle(6);
    let mut got = about(&world.take("akasse:067")).iter().map(ToString::to_string).collect::<Vec<_>>();
    got.sort_unstable();
    assert_eq!(got, {
        let mut ids = ids(&events);
        ids.sort_unstable();
        ids
    });

    let mut bad = lines(&events);
    bad.push_str("{\"specversion\":\"1.0\"}\n");
    let file = world.write("bad.ndjson", &bad);
    ends_with(&world.broker, 1, &["events", "publish", &file], &["bad.ndjson:7: not-cloudevent", "nothing was published"]);
    ends_with(&world.broker, 2, &["events", "publish", "/nowhere.ndjson"], &["/nowhere.ndjson"]);
    let nowhere = format!("amqp://guest:guest@127.0.0.1:{}/%2f", free_port());
    let good = world.write("good.ndjson", lines(&events));
    for command in [["check"].as_slice(), &["run"], &["events", "publish", &good]] {
        let arguments = [["--routing", "/nowhere.toml"].as_slice(), command].concat();
        ends_with(&world.broker, 2, &arguments, &["there is no file /nowhere.toml"]);
    }
    ends_with(&world.broker, 3, &["--amqp-uri", &nowhere, "events", "publish", &good], &["cannot reach RabbitMQ"]);
    assert!(world.broker.terminate().success());
    world.amqp.delete_exchange("dfdg.events");
    ends_with(&world.broker, 4, &["events", "publish", &good], &["3 of 3", "no exchange 'dfdg.events'", "topology --apply"]);
}

#[test]
fn a_first_load_tells_nobody_and_may_be_repeated() {
    let mut world = World::new("import", &Routing::few());
    let of = |range: std::ops::Range<usize>| range.flat_map(|n| enroll(&cpr(n), "067", "86001", "101")).collect::<Vec<_>>();
    // More than one batch.
    let (first, second) = (of(0..700), of(700..1400));
    let offline = world.write("offline.ndjson", lines(&first));
    ends_with(&world.broker, 0, &["import", &offline], &["imported 2100 events; 0 had been taken in before"]);
    ends_with(&world.broker, 0, &["import", &offline], &["imported 0 events; 2100 had been taken in before"]);

    world.broker.start_again();
    let online = world.write("online.ndjson", lines(&second));
    ends_with(&world.broker, 0, &["import", &online], &["imported 2100 events; 0 had been taken in before"]);
    ends_with(&world.broker, 0, &["import", &online], &["imported 0 events; 2100 had been taken in before"]);
    world.idle();
    for recipient in FEW {
        assert_eq!(world.depth(recipient), Some(0), "{recipient} was told of a first load");
    }
    let news: Vec<Event> = [0, 699, 700, 1399].iter().map(|n| event("Tilmelding").cpr(&cpr(*n))).collect();
    world.tell(&news);
    let mut told = about(&world.take("akasse:067")).iter().map(ToString::to_string).collect::<Vec<_>>();
    told.sort_unstable();
    assert_eq!(
        told,
        {
            let mut ids = ids(&news);
            ids.sort_unstable();
            ids
        },
        "what was imported counts"
    );

    // A bad line far down is named by its own number, offline and not.
    let mut bad = lines(&of(1400..2200));
    bad.push_str(&format!("{}\n", event("Tilmelding").json()));
    let number = bad.lines().count();
    let file = world.write("bad.ndjson", &bad);
    let said = ["bad.ndjson: ", &format!("line {number}: Tilmelding changes nothing"), "what comes before stays imported"];
    ends_with(&world.broker, 1, &["import", &file], &said);
    let (code, _, said) = run_without_token(&world, &["import", &online]);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("WSB_ADMIN_TOKEN"), "{said}");
    assert!(world.broker.terminate().success());
    ends_with(&world.broker, 1, &["import", &file], &[&format!("bad.ndjson:{number}: Tilmelding changes nothing")]);
    let file = world.write("latin.ndjson", [b"\n{\"id\": \"bl\xe5b\xe6r\"}\n".as_slice(), bad.as_bytes()].concat());
    for command in [["import", &file].as_slice(), &["explain", "--event", &file], &["events", "publish", &file]] {
        ends_with(&world.broker, 1, command, &["latin.ndjson:2: byte 11 of the line is not UTF-8"]);
    }
    // A membership that had been told of twice in different words stays the newer one.
    let newer = membership(&cpr(0), "067", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:00+01:00");
    let file = world.write("newer.ndjson", lines(&[newer]));
    ends_with(&world.broker, 0, &["import", &file], &["imported 1 event;"]);
    ends_with(&world.broker, 0, &["import", &offline], &["imported 0 events"]);
    let file = world.write("event.json", event("Tilmelding").cpr(&cpr(0)).body());
    ends_with(&world.broker, 0, &["explain", "--event", &file], &["not_member"]);
    ends_with(&world.broker, 0, &["explain", "--event", &file, "--at", "2024-06-01T12:00:00+02:00"], &["sent to", "akasse:067"]);
    ends_with(&world.broker, 2, &["explain", "--event", &file, "--at", "once"], &["--at"]);
}

#[test]
fn explains_from_elsewhere_with_a_token() {
    let world = World::running("elsewhere", &Routing::few());
    world.tell(&[membership(&cpr(0), "067", "2020-01-01", None)]);
    let http = world.broker.url("").trim_start_matches("http://").to_owned();
    let elsewhere = Broker::prepare(Options::new(&world.uri).routing(world.file("routing.toml")).env("WSB_HTTP", &http));
    let file = world.write("event.json", event("Tilmelding").cpr(&cpr(0)).body());
    ends_with(&elsewhere, 0, &["explain", "--event", &file], &["akasse:067", "rule"]);
    ends_with(&elsewhere, 0, &["quarantine", "list"], &["empty"]);
    // What is to be taken in is that broker's, and makes no store here.
    let more = world.write("more.ndjson", lines(&enroll(&cpr(1), "067", "86001", "101")));
    ends_with(&elsewhere, 0, &["import", &more], &["imported 3 events"]);
    ends_with(&world.broker, 0, &["import", &more], &["imported 0 events; 3 had been taken in before"]);
    assert!(!elsewhere.data_dir().with_extension("key").exists() && !elsewhere.data_dir().exists());
    let nowhere = Broker::prepare(Options::new(&world.uri).routing(world.file("routing.toml")));
    ends_with(&nowhere, 4, &["explain", "--event", &file], &["there is no store", "--data-dir"]);
}

/// Runs a command with a wrong token.
fn run_without_token(world: &World, arguments: &[&str]) -> (i32, String, String) {
    let http = world.broker.url("").trim_start_matches("http://").to_owned();
    let options = Options::new(&world.uri)
        .routing(world.file("routing.toml"))
        .data_dir(world.broker.data_dir())
        .env("WSB_ADMIN_TOKEN", "wrong")
        .env("WSB_HTTP", &http);
    run(&Broker::prepare(options), arguments)
}

#[test]
fn a_key_is_made_once_and_for_its_owner() {
    let broker = Broker::prepare(Options::new("amqp://127.0.0.1:1"));
    ends_with(&broker, 0, &["init-key"], &["created", "keep a copy"]);
    let key = broker.data_dir().with_extension("key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    ends_with(&broker, 4, &["init-key"], &[key.to_str().unwrap()]);
    // A key that others can read is no secret.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, out, err) = run(&broker, &["import", "/dev/null"]);
    assert!(code == 4 && err.contains("600"), "{code}: {out}{err}");
    assert!(!broker.data_dir().join("data.key").exists() && Path::new(&key).exists());
}
