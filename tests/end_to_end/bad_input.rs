//! Messages that cannot be events, and events that come twice.

use serde_json::{Value, json};

use crate::rig::{Event, event, jobcenter, membership, residence, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids, size};

/// Everything that goes wrong by the contract, and how its reason begins.
fn rows() -> Vec<(Vec<u8>, &'static str)> {
    let good = || event("Tilmelding").cpr(&cpr(1)).period("2026-03-16", Some("2026-03-17"));
    let with = |path: &[&str], value: Value| {
        let mut body = good().json();
        let mut place = &mut body;
        for name in path {
            place = &mut place[*name];
        }
        *place = value;
        body.to_string().into_bytes()
    };
    let without = |name: &str| {
        let mut body = good().json();
        body["data"].as_object_mut().unwrap().remove(name);
        body.to_string().into_bytes()
    };
    let mut large = good().json();
    large["data"]["Indhold"] = json!({ "x": "x".repeat(256 * 1024) });
    vec![
        (b"".to_vec(), "not-json"),
        (b"{".to_vec(), "not-json"),
        (b"\xff\xfe{}".to_vec(), "not-json"),
        ([b"\xef\xbb\xbf".as_slice(), &good().body()].concat(), "not-json"),
        (good().body()[..200].to_vec(), "not-json"),
        (b"null".to_vec(), "not-cloudevent"),
        (b"[]".to_vec(), "not-cloudevent"),
        (b"{}".to_vec(), "not-cloudevent: specversion"),
        (with(&["specversion"], json!("0.3")), "not-cloudevent: specversion"),
        (with(&["id"], json!("")), "not-cloudevent: id"),
        (with(&["id"], json!("x".repeat(256))), "not-cloudevent: id"),
        (with(&["source"], Value::Null), "not-cloudevent: source"),
        (with(&["type"], json!("dk.star.dfdg.Indkaldelse.v1")), "not-cloudevent: type"),
        (with(&["time"], json!("i morgen")), "not-cloudevent: time"),
        (with(&["datacontenttype"], json!("text/xml")), "not-cloudevent: datacontenttype"),
        (with(&["data"], json!([1])), "not-cloudevent: data"),
        (with(&["data"], Value::Null), "not-cloudevent: data"),
        (with(&["data", "EntitetNavn"], json!("Ukendt")), "unknown-entity: data.EntitetNavn"),
        (with(&["data", "EntitetNavn"], json!("GdprSletJoblog")), "unknown-entity: data.EntitetNavn"),
        (without("EntitetNavn"), "missing-field: data.EntitetNavn"),
        (with(&["data", "Personnummer"], json!("010190123")), "malformed-personnummer: data.Personnummer"),
        (with(&["data", "Personnummer"], json!("3213991234")), "malformed-personnummer: data.Personnummer"),
        (with(&["data", "Personnummer"], json!("010190-1234")), "malformed-personnummer: data.Personnummer"),
        (with(&["data", "Personnummer"], json!(101_901_234)), "malformed-personnummer: data.Personnummer"),
        (without("Personnummer"), "missing-field: data.Personnummer"),
        (with(&["data", "Aendringstype"], json!(4)), "malformed-code: data.Aendringstype"),
        (with(&["data", "Aendringstype"], json!("1")), "malformed-code: data.Aendringstype"),
        (without("EksternIdentifier"), "missing-field: data.EksternIdentifier"),
        (with(&["data", "Slutdato"], json!("2026-03-15")), "ends-before-start: data.Slutdato"),
        (with(&["data", "Startdato"], json!("2026-02-30")), "malformed-field: data.Startdato"),
        (with(&["data", "Indhold"], json!([])), "malformed-field: data.Indhold"),
        (
            with(&["data", "RegistrerendeMyndighed"], json!({ "Type": "kommune", "Kode": "999" })),
            "unknown-authority: data.RegistrerendeMyndighed.Kode",
        ),
        (
            with(&["data", "RegistrerendeMyndighed"], json!({ "Type": "akasse", "Kode": "67" })),
            "malformed-code: data.RegistrerendeMyndighed.Kode",
        ),
        (membership(&cpr(1), "999", "2020-01-01", None).body(), "unknown-authority: data.Indhold.Akassekode"),
        (membership(&cpr(1), "67", "2020-01-01", None).body(), "malformed-code: data.Indhold.Akassekode"),
        (event("Akassemedlemskab").content(json!({ "Akassekode": "067" })).body(), "missing-field: data.Startdato"),
        (jobcenter(&cpr(1), "99901", "2020-01-01", None).body(), "unknown-authority: data.Indhold.Jobcenterkode"),
        (jobcenter(&cpr(1), "860", "2020-01-01", None).body(), "malformed-code: data.Indhold.Jobcenterkode"),
        (residence(&cpr(1), "000", "2020-01-01", None).body(), "unknown-authority: data.Indhold.Kommunekode"),
        (
            event("Personnummerskift").content(json!({ "NytPersonnummer": "x" })).body(),
            "malformed-personnummer: data.Indhold.NytPersonnummer",
        ),
        (event("Plan").content(json!({ "Plantype": "Hverdagsplan" })).body(), "malformed-code: data.Indhold.Plantype"),
        (event("Kontaktgruppe").content(json!({ "KontaktgruppeTypeId": "1" })).body(), "malformed-code: data.Indhold.KontaktgruppeTypeId"),
        (
            event("GdprSletning").content(json!({ "Dataomraade": "ukendt", "SlettetEntitet": "Cv" })).body(),
            "unknown-data-area: data.Indhold.Dataomraade",
        ),
        (large.to_string().into_bytes(), "over-size"),
        (vec![b'['; 100_000], "not-cloudevent"),
    ]
}

fn listed(world: &World) -> Vec<Value> {
    let text = world.broker.cli_ok(&["quarantine", "list", "--format", "json"]);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn code(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let output = world.broker.cli(arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn what_is_no_event_is_kept_with_the_reason() {
    let mut world = World::running("quarantine", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let rows = rows();
    let key = "kontaktforloeb.tilmelding.oprettet".to_owned();
    let bodies: Vec<_> = rows.iter().map(|(body, _)| (key.clone(), body.clone())).collect();
    world.amqp.publish_all("dfdg.events", bodies);
    // Among them one that would be fine if only its type were known.
    let early = event("Fremtidig").domain("plan").cpr(&cpr(1));
    world.publish([&early]);
    let good = [event("Tilmelding").cpr(&cpr(1))];
    world.publish(&good);
    world.settle(3 + rows.len() + 2);
    assert_eq!(about(&world.take("akasse:067")), ids(&good), "what comes behind is delivered");
    assert_eq!(world.amqp.depth("wsb.intake.events"), Some(0));
    assert_eq!(world.count("wsb_events_consumed_total", &[("outcome", "quarantined")]), rows.len() + 1);

    let reasons = |world: &World| -> Vec<String> {
        listed(world).iter().map(|item| item["reason"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let before = reasons(&world);
    assert_eq!(before.len(), rows.len() + 1);
    for ((body, expected), reason) in rows.iter().zip(&before) {
        let shown = String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned();
        assert!(reason.starts_with(expected), "{reason:?} and not {expected:?} for {shown}");
    }
    assert!(before[rows.len()].starts_with("unknown-entity: data.EntitetNavn"));

    // It survives, whatever happens, and can be seen without a running broker.
    world.broker.kill9();
    assert_eq!(reasons(&world), before);
    world.broker.start_again();
    assert_eq!(reasons(&world), before);

    let items = listed(&world);
    let id = |index: usize| items[index]["id"].to_string();
    let last = id(rows.len());
    let (status, said) = code(&world, &["quarantine", "retry", &last]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("unknown-entity"), "{said}");

    // Mended: the type is declared.
    let mended = Routing::few().plus_type("Fremtidig", 919_997, "plan", "[\"akasse-own-members\"]");
    world.write("routing.toml", mended.text());
    world.broker.signal("HUP");
    until(LIMIT, "the file is taken over", || world.count("wsb_routing_reload_total", &[("outcome", "accepted")]) == 1);
    let (status, said) = code(&world, &["quarantine", "retry", &last]);
    assert_eq!(status, Some(0), "{said}");
    world.idle();
    let messages = world.take("akasse:067");
    assert_eq!(about(&messages), [early.event_id()]);
    assert_eq!(messages[0].headers["wsb-entity-id"], 919_997);
    assert_eq!(listed(&world).len(), rows.len());
    assert_eq!(code(&world, &["quarantine", "retry", &last]).0, Some(1), "it is not there any more");

    assert_eq!(code(&world, &["quarantine", "discard", &id(0)]).0, Some(2), "a reason is asked for");
    assert_eq!(code(&world, &["quarantine", "discard", &id(0), "--why", "empty"]).0, Some(0));
    assert_eq!(code(&world, &["quarantine", "discard", &id(0), "--why", "empty"]).0, Some(1));
    assert_eq!(code(&world, &["quarantine", "retry", "all"]).0, Some(1));
    assert_eq!(listed(&world).len(), rows.len() - 1);
    assert!(world.broker.terminate().success());
    assert_eq!(code(&world, &["quarantine", "discard", &id(1), "--why", "stopped"]).0, Some(0));
    assert_eq!(code(&world, &["quarantine", "retry", &id(2)]).0, Some(1));
    assert_eq!(listed(&world).len(), rows.len() - 2);
    assert!(!world.broker.log().contains("panicked"), "{}", world.broker.log());
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(mixed ^ (mixed >> 31)) * bound as u128) >> 64) as usize
    }
}

/// Damages a body in one of the ways in which bodies get damaged.
fn mutate(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    const INSERTED: [&str; 12] = ["\"", "{", "}", "[", "\\u0000", "\\ud800", "\u{0}", "1e999", "null", ",", "-", "\u{feff}"];
    let mut body = body.to_vec();
    for _ in 0..=dice.below(3) {
        if body.is_empty() {
            return body;
        }
        let at = dice.below(body.len());
        let to = at + dice.below((body.len() - at).min(20) + 1);
        match dice.below(6) {
            0 => body[at] = dice.below(256) as u8,
            1 => body[at] ^= 1 << dice.below(8),
            2 => body.truncate(at),
            3 => drop(body.drain(at..to)),
            4 => {
                let part = body[at..to].to_vec();
                body.splice(at..at, part);
            }
            _ => drop(body.splice(at..at, INSERTED[dice.below(INSERTED.len())].bytes())),
        }
    }
    body
}

#[test]
fn damaged_messages_stop_nothing() {
    let count = size("WSB_TEST_FUZZ", 2_000);
    let world = World::running("fuzz", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let models: Vec<Event> = vec![
        event("Tilmelding")
            .cpr(&cpr(1))
            .authority("kommune", "860")
            .period("2026-03-16", Some("2026-03-17"))
            .content(json!({ "a": [1, 2.5] })),
        membership(&cpr(2), "067", "2020-01-01", None),
        jobcenter(&cpr(3), "86001", "2020-01-01", None),
        event("Personnummerskift").cpr(&cpr(4)).content(json!({ "NytPersonnummer": cpr(5) })),
        event("Kontaktgruppe").cpr(&cpr(6)).content(json!({ "KontaktgruppeTypeId": 1 })),
        event("Plan").cpr(&cpr(7)).content(json!({ "Plantype": "Jobplan", "SenereVersion": crate::rig::external_id("later") })),
        event("GdprSletning").cpr(&cpr(8)).content(json!({ "Dataomraade": "joblog", "SlettetEntitet": "Joblog" })),
    ];
    let mut dice = Dice(20_260_316);
    let bodies: Vec<_> = (0..count)
        .map(|n| {
            let model = models[n % models.len()].clone().again();
            (model.routing_key(), mutate(&model.body(), &mut dice))
        })
        .collect();
    let before = world.consumed();
    world.amqp.publish_all("dfdg.events", bodies);
    until(LIMIT, "all of it is consumed", || world.consumed() == before + count);
    world.idle();
    let quarantined = world.count("wsb_events_consumed_total", &[("outcome", "quarantined")]);
    assert!(quarantined > count / 3, "{quarantined} of {count} were refused");
    assert_eq!(listed(&world).len(), quarantined);
    for item in listed(&world) {
        assert!(item["reason"].as_str().is_some_and(|reason| reason.len() > 8), "{item}");
    }
    world.empty(&FEW);
    let good = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&good);
    assert_eq!(about(&world.take("akasse:067")), ids(&good));
    assert_eq!(world.amqp.depth("wsb.intake.events"), Some(0));
    assert_eq!(world.amqp.depth("wsb.intake.tilknytning"), Some(0));
    assert!(!world.broker.log().contains("panicked"), "{}", world.broker.log());
}

#[test]
fn an_event_that_comes_twice_has_no_effect_the_second_time() {
    let mut world = World::running("twice", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let first = event("Tilmelding").cpr(&cpr(1));
    // The same id of another source is another event.
    let mut other = first.json();
    other["source"] = "urn:dk:star:dfdg:plan".into();
    // Whatever else the repeat says, the id decides.
    let changed = event("Fravaer").cpr(&cpr(1)).id(first.event_id());
    let mut changed_source = changed.json();
    changed_source["source"] = first.json()["source"].clone();
    world.publish([&first, &first]);
    world.amqp.publish("dfdg.events", &first.routing_key(), other.to_string());
    world.amqp.publish("dfdg.events", &changed.routing_key(), changed_source.to_string());
    world.settle(3 + 4);
    let messages = world.take("akasse:067");
    assert_eq!(about(&messages), [first.event_id(), first.event_id()], "one for each source");
    assert_ne!(messages[0].id, messages[1].id);
    let duplicates = |world: &World| world.count("wsb_events_consumed_total", &[("outcome", "duplicate")]);
    assert_eq!(duplicates(&world), 2);
    world.empty(&FEW);

    for graceful in [true, false] {
        if graceful {
            assert!(world.broker.terminate().success());
        } else {
            world.broker.kill9();
        }
        world.broker.start_again();
        // Of the tilknytning domain too: a transfer told twice is one transfer.
        let again = [first.clone(), membership(&cpr(1), "067", "2020-01-01", None).id("the same")];
        world.tell(&again);
        assert_eq!(duplicates(&world), if graceful { 1 } else { 2 }, "graceful: {graceful}");
        let got = world.take("akasse:067");
        assert_eq!(about(&got), if graceful { vec!["the same"] } else { vec![] });
        assert_eq!(about(&world.take("kommune:860")), [""; 0]);
    }
}

/// What RabbitMQ hands out at once is counted in messages, and memory in bytes.
#[test]
fn huge_messages_are_taken_few_at_a_time() {
    const HUGE: usize = 45;
    const BYTES: usize = 8 << 20;
    let mut world = World::running("huge", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    assert!(world.broker.terminate().success());
    for _ in 0..HUGE {
        world.amqp.publish("dfdg.events", "plan.Plan.oprettet", vec![b'x'; BYTES]);
    }
    let events: Vec<Event> = (0..20).map(|_| event("Tilmelding").cpr(&cpr(1))).collect();
    world.publish(&events);
    world.broker.start_again();
    let quarantined = [("entity", "none"), ("outcome", "quarantined")];
    until(LIMIT, "all of them are kept", || world.broker.metrics().sum("wsb_events_consumed_total", &quarantined) >= HUGE as f64);
    until(LIMIT, "what lay behind them is delivered", || world.depth("akasse:067") == Some(events.len() as u32));
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.broker.pid().unwrap())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok()).unwrap();
    println!("{HUGE} messages of {} MiB: {} MiB at the most", BYTES >> 20, peak >> 10);
    // All at once they were 685.
    assert!(peak >> 10 < 400, "{} MiB", peak >> 10);
    // A few may be kept twice: they have no id, and RabbitMQ was cut off with them.
    until(LIMIT, "none is left", || world.amqp.depth("wsb.intake.events") == Some(0));
}
