//! How the broker begins: RabbitMQ missing or refusing, and a store that is not
//! its own.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use crate::rig::{Amqp, Broker, Event, Options, Proxy, event, membership, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, ids};

#[test]
fn without_rabbitmq_it_waits_and_says_so_once() {
    let direct = shared_node().vhost("absent");
    let proxy = Proxy::start(shared_node().port());
    let through = proxy.uri(&direct);
    proxy.refuse();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("routing.toml");
    fs::write(&file, Routing::few().text()).unwrap();
    let mut broker = Broker::spawn(Options::new(&through).routing(&file));
    until(LIMIT, "readyz answers", || {
        broker.readyz().is_some_and(|(status, text)| status == 503 && text.contains("cannot reach RabbitMQ"))
    });
    let (_, text) = broker.readyz().unwrap();
    for named in ["consuming", "publishing", &format!("127.0.0.1:{}", proxy.port()), "check host"] {
        assert!(text.contains(named), "readyz does not say {named}: {text}");
    }
    assert!(!text.contains("guest:guest"), "{text}");
    let health = ureq::get(broker.url("/healthz")).call().unwrap();
    assert_eq!(health.status().as_u16(), 200);
    assert!(broker.exited().is_none());
    // It has tried more than once and complained once; publishing waits for consuming.
    let tries = |text: &str| broker.log().matches(text).count();
    until(LIMIT, "it has complained", || tries("trying again without end") == 1);

    proxy.resume();
    broker.wait_ready();
    assert_eq!(broker.log().matches("trying again without end").count(), 1, "{}", broker.log());
    let amqp = Amqp::connect(&direct);
    let known = enroll(&cpr(1), "067", "86001", "101");
    amqp.publish_all("dfdg.events", known.iter().map(crate::rig::Event::message).collect::<Vec<_>>());
    until(LIMIT, "the fund is told", || amqp.depth("wsb.akasse.067") >= Some(1));
    assert!(broker.terminate().success());
}

/// Starts a broker that must give up by itself, and returns what it said.
#[track_caller]
fn refused(world: &mut World) -> String {
    world.broker.spawn_again();
    let status = world.broker.wait_exit(LIMIT);
    let log = world.broker.log();
    assert_eq!(status.code(), Some(4), "{log}");
    log
}

#[track_caller]
fn says(log: &str, words: &[&str]) {
    for word in words {
        assert!(log.contains(word), "does not say {word:?}:\n{log}");
    }
}

#[test]
fn what_rabbitmq_refuses_ends_with_what_to_change() {
    let node = shared_node();
    let at = |uri: &str, good: &str| {
        let mut world = World::at(good, &Routing::few(), |options| options);
        world.broker = Broker::prepare(Options::new(uri).routing(world.file("routing.toml")));
        world
    };

    let good = node.vhost("refused");
    let log = refused(&mut at(&good.replace("guest:guest", "guest:wrong-password"), &good));
    says(&log, &["refuses the credentials of user 'guest'", "WSB_AMQP_URI"]);
    assert!(!log.contains("wrong-password"), "{log}");

    let log = refused(&mut at(&good.replace("refused", "nowhere"), &good));
    says(&log, &["no virtual host 'nowhere", "add_vhost"]);

    let made = node.eval("ok = rabbit_auth_backend_internal:add_user(<<\"limited\">>, <<\"limited\">>, <<\"rig\">>), made");
    assert!(made.contains("made"), "{made}");
    let limited = good.replace("guest:guest", "limited:limited");
    let log = refused(&mut at(&limited, &good));
    says(&log, &["user 'limited' may not use virtual host", "set_permissions"]);

    let vhost = good.rsplit_once('/').unwrap().1;
    let permit = |configure: &str, write: &str, read: &str| {
        let made = node.eval(&format!(
            "ok = rabbit_auth_backend_internal:set_permissions(<<\"limited\">>, <<\"{vhost}\">>, <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"rig\">>), made"
        ));
        assert!(made.contains("made"), "{made}");
    };
    permit("^$", ".*", ".*");
    let log = refused(&mut at(&limited, &good));
    says(&log, &["configure access", "dfdg.events", "set_permissions"]);
    permit(".*", ".*", "^wsb[.]delivery$|^dfdg[.].*");
    let log = refused(&mut at(&limited, &good));
    says(&log, &["read", "wsb.", "set_permissions"]);

    let conflicting = node.vhost("conflict");
    let mut world = World::at(&conflicting, &Routing::few(), |options| options);
    world.amqp.declare_queue("wsb.akasse.067", &[]);
    let log = refused(&mut world);
    says(&log, &["queue 'wsb.akasse.067' already exists with x-", "the broker needs x-", "delete_queue 'wsb.akasse.067'"]);
    let command = world.broker.cli(&["topology", "--apply"]);
    assert_eq!(command.status.code(), Some(4));
    says(&String::from_utf8_lossy(&command.stderr), &["queue 'wsb.akasse.067' already exists"]);
    // Mended as it says, it starts.
    world.amqp.delete_queue("wsb.akasse.067");
    world.broker.start_again();
}

#[test]
fn a_second_broker_on_a_virtual_host_takes_nothing_and_says_so() {
    let mut world = World::running("second", &Routing::few());
    let waits = |broker: &Broker| {
        let words =
            ["rabbitmq consuming", "rabbitmq publishing", "another broker works in virtual host", "'wsb.broker'", "stop one of the two"];
        let mut last = None;
        until(LIMIT, &format!("readyz says 503, {words:?}"), || {
            last = broker.readyz();
            last.as_ref().is_some_and(|(status, text)| *status == 503 && words.iter().all(|word| text.contains(word)))
        });
    };
    let taken = |broker: &Broker| broker.metrics().sum("wsb_events_consumed_total", &[]) as usize;
    let mut second = Broker::spawn(Options::new(&world.uri).routing(world.file("routing.toml")));
    waits(&second);
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    let events: Vec<Event> = (0..200).map(|_| event("Tilmelding").cpr(&cpr(1))).collect();
    world.tell(&events);
    assert_eq!(about(&world.take("akasse:067")), ids(&events), "each once, by the first");
    assert_eq!(taken(&second), 0);
    waits(&second);
    assert_eq!(second.log().matches("another broker works").count(), 1, "said once: {}", second.log());
    // What makes a connection of its own for a moment asks nobody.
    world.broker.cli_ok(&["topology", "--apply"]);
    second.cli_ok(&["topology", "--apply"]);

    // Gone in good order, and without a word.
    assert!(world.broker.terminate().success());
    second.wait_ready();
    world.publish(&enroll(&cpr(2), "067", "86001", "101"));
    until(LIMIT, "the second takes them", || taken(&second) == 3);
    world.broker.spawn_again();
    waits(&world.broker);
    assert_eq!(taken(&world.broker), 0);
    second.kill9();
    world.broker.wait_ready();
    world.empty(&FEW);
    let last = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&last);
    assert_eq!(about(&world.take("akasse:067")), ids(&last));
}

#[test]
fn a_store_is_opened_by_one_and_only_with_its_key() {
    let mut world = World::running("store", &Routing::few());
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);

    // A second one beside the first.
    let mut second = Broker::prepare(Options::new(&world.uri).routing(world.file("routing.toml")).data_dir(world.broker.data_dir()));
    second.spawn_again();
    let status = second.wait_exit(LIMIT);
    assert_eq!(status.code(), Some(4), "{}", second.log());
    says(&second.log(), &["in use by another process"]);
    let events = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    assert_eq!(about(&world.take("akasse:067")), ids(&events), "the first goes on");

    // The address of the API is taken as well.
    let port = world.broker.url("").rsplit_once(':').unwrap().1.to_owned();
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_ok());
    let mut third =
        Broker::prepare(Options::new(&world.uri).routing(world.file("routing.toml")).env("WSB_HTTP", &format!("127.0.0.1:{port}")));
    third.spawn_again();
    assert!(!third.wait_exit(LIMIT).success());
    says(&third.log(), &["cannot serve HTTP", &port]);

    assert!(world.broker.terminate().success());
    let key = world.broker.data_dir().with_extension("key");
    assert!(key.is_file(), "{}", key.display());
    let kept = fs::read(&key).unwrap();
    let command = |arguments: &[&str]| {
        let output = world.broker.cli(arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = command(&["init-key"]);
    assert_eq!(code, Some(4), "{said}");
    assert_eq!(fs::read(&key).unwrap(), kept, "an existing key stays");

    fs::remove_file(&key).unwrap();
    let (code, said) = command(&["quarantine", "list"]);
    assert_eq!(code, Some(4), "{said}");
    says(&said, &[key.to_str().unwrap()]);
    assert!(!key.exists(), "no key is invented for a store that has one");

    world.broker.cli_ok(&["init-key"]);
    assert_ne!(fs::read(&key).unwrap(), kept);
    let (code, said) = command(&["quarantine", "list"]);
    assert_eq!(code, Some(4), "{said}");
    says(&said, &["is not the one that the store", "--key-file"]);

    fs::write(&key, &kept).unwrap();
    set_format(&world, 1_000);
    let (code, said) = command(&["quarantine", "list"]);
    assert_eq!(code, Some(4), "{said}");
    says(&said, &["has format 1000", "newer broker"]);
    set_format(&world, 1);

    world.broker.start_again();
    let events = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    assert_eq!(about(&world.take("akasse:067")), ids(&events), "with its own key nothing is lost");
}

/// The procedure of `docs/runbook.md`, with the broker running where it may.
#[test]
fn a_master_key_is_exchanged_and_the_former_one_opens_nothing_any_more() {
    let mut world = World::new("exchanged_key", &Routing::few());
    world.broker.start_again();
    let key = world.broker.data_dir().with_extension("key");
    let (new, kept) = (key.with_extension("key.new"), key.with_extension("key.until-now"));
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    world.tell(&[membership(&cpr(1), "067", "2020-01-01", None)]);
    assert_eq!(world.take("akasse:067").len(), 1, "the membership itself");
    let events = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    assert_eq!(about(&world.take("akasse:067")), ids(&events));

    let said = world.broker.cli_ok(&["rotate-key", "--new-key-file", &path(&new)]);
    says(&said, &["both keys", "--finish"]);
    let too_early = world.broker.cli(&["rotate-key", "--finish"]);
    assert_eq!(too_early.status.code(), Some(4), "the new key would open nothing");
    says(&String::from_utf8_lossy(&too_early.stderr), &["from before the exchange", "--undo"]);
    let backup = path(&key.with_extension("backup"));
    world.broker.cli_ok(&["backup", "--to", &backup]);
    fs::copy(&key, &kept).unwrap();
    fs::rename(&new, &key).unwrap();
    assert!(world.broker.terminate().success());
    world.broker.start_again();
    world.broker.cli_ok(&["rotate-key", "--finish"]);
    let events = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    assert_eq!(about(&world.take("akasse:067")), ids(&events), "what was known is known under the new key");
    assert!(world.broker.terminate().success());

    world.broker.cli_ok(&["verify"]);
    let refused = world.broker.cli(&["verify", "--key-file", &path(&kept)]);
    assert_eq!(refused.status.code(), Some(4));
    says(&String::from_utf8_lossy(&refused.stderr), &["is not the one that the store", "--key-file"]);
    let refused = world.broker.cli(&["rotate-key", "--finish", "--key-file", &path(&kept)]);
    assert_eq!(refused.status.code(), Some(4), "who cannot open the store shuts nobody out of it");
    // A backup opens with the key of its time; this one was made when there were two.
    for (at, key) in [&key, &kept].into_iter().enumerate() {
        let there = path(&key.with_extension(format!("restored-{at}")));
        let list = path(&key.with_extension(format!("restored-{at}-erased")));
        world.broker.cli_ok(&["restore", "--from", &backup, "--data-dir", &there, "--key-file", &path(key), "--erased-list", &list]);
        world.broker.cli_ok(&["verify", "--data-dir", &there, "--key-file", &path(key), "--erased-list", &list]);
    }
}

/// Writes another format number into the store, as a newer broker would have.
fn set_format(world: &World, number: u32) {
    let path = world.broker.data_dir().join("store");
    let mut opened = None;
    until(Duration::from_secs(20), "the store can be opened", || {
        opened = sled::open(&path).ok();
        opened.is_some()
    });
    let db = opened.unwrap();
    assert!(db.insert(FORMAT_KEY, &number.to_be_bytes()).unwrap().is_some(), "the key of the format has moved");
    db.flush().unwrap();
}

/// Where the store keeps the number of its format; see docs/formats.md.
const FORMAT_KEY: &[u8] = b"mformat";
