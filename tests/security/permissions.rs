//! What `wsb-broker topology export` grants, tried at a node: everything that a
//! vendor must not do, and the traffic that must flow all the same.

use std::fs;

use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;

use crate::rig::{Amqp, Broker, Options, Vendor, VendorOptions, Verdict, block, event, jobcenter, membership, residence, until};
use crate::{LIMIT, node, routing};

const RECIPIENTS: [(&str, &str); 4] =
    [("akasse:053", "Leverandør A/S"), ("akasse:067", "Leverandør A/S"), ("akasse:086", ""), ("kommune:860", "KMD")];
const USERS: [&str; 6] = ["wsb-broker", "dfdg-events", "dfdg-deletions", "vendor-leverandoer-a-s", "vendor-akasse-086", "vendor-kmd"];

/// Does something on a channel of a user's, and returns RabbitMQ's refusal.
fn attempt<F>(uri: &str, what: impl FnOnce(Channel) -> F + Send + 'static) -> Result<(), String>
where
    F: Future<Output = lapin::Result<()>> + Send,
{
    let uri = uri.to_owned();
    block(async move {
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await.map_err(|error| error.to_string())?;
        let channel = connection.create_channel().await.map_err(|error| error.to_string())?;
        let done = what(channel).await.map_err(|error| error.to_string());
        let _ = connection.close(200, "done".into()).await;
        done
    })
}

async fn publish(channel: Channel, exchange: &'static str, key: &'static str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let options = BasicPublishOptions { mandatory: true, ..Default::default() };
    channel.basic_publish(exchange.into(), key.into(), options, b"x", BasicProperties::default()).await?.await.map(drop)
}

async fn consume(channel: Channel, queue: &'static str) -> lapin::Result<()> {
    channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default()).await.map(drop)
}

async fn get(channel: Channel, queue: &'static str) -> lapin::Result<()> {
    channel.basic_get(queue.into(), BasicGetOptions::default()).await.map(drop)
}

async fn purge(channel: Channel, queue: &'static str) -> lapin::Result<()> {
    channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop)
}

async fn bind(channel: Channel, queue: &'static str, exchange: &'static str, key: &'static str) -> lapin::Result<()> {
    channel.queue_bind(queue.into(), exchange.into(), key.into(), QueueBindOptions::default(), FieldTable::default()).await
}

async fn unbind(channel: Channel, queue: &'static str) -> lapin::Result<()> {
    channel.queue_unbind(queue.into(), "wsb.delivery".into(), queue.into(), FieldTable::default()).await
}

async fn declare(channel: Channel, queue: &'static str, passive: bool) -> lapin::Result<()> {
    let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, FieldTable::default()).await.map(drop)
}

async fn delete(channel: Channel, queue: &'static str) -> lapin::Result<()> {
    channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
}

async fn declare_exchange(channel: Channel, exchange: &'static str) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()).await
}

async fn delete_exchange(channel: Channel, exchange: &'static str) -> lapin::Result<()> {
    channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await
}

#[track_caller]
fn refused(what: &str, result: Result<(), String>) {
    let words = result.expect_err(what);
    assert!(words.contains("ACCESS_REFUSED") || words.contains("NOT_ALLOWED"), "{what}: {words}");
}

#[test]
fn everybody_may_do_what_they_need_and_nothing_else() {
    let (node, _) = node();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("routing.toml"), routing(&RECIPIENTS)).unwrap();
    fs::create_dir(file("passwords")).unwrap();
    for user in USERS {
        fs::write(folder.path().join("passwords").join(user), format!("secret of {user}\n")).unwrap();
    }
    let port = node.port();
    let uri = |user: &str| format!("amqp://{user}:secret%20of%20{user}@127.0.0.1:{port}/exported");
    let mut broker = Broker::prepare(Options::new(&uri("wsb-broker")).routing(file("routing.toml")));

    let passwords = file("passwords");
    let exported = broker.cli_ok(&["topology", "export", "--passwords", &passwords]);
    assert!(!exported.contains("secret of"), "a password in clear");
    let definitions: Value = serde_json::from_str(&exported).unwrap();
    let mut users: Vec<&str> = definitions["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    users.sort_unstable();
    let mut expected = USERS;
    expected.sort_unstable();
    assert_eq!(users, expected);
    fs::write(file("definitions.json"), &exported).unwrap();
    node.ctl(&["import_definitions", &file("definitions.json")]);

    // The broker finds everything as it needs it, and traffic flows.
    broker.start_again();
    let dfdg = Amqp::connect(&uri("dfdg-events"));
    let (citizen, kommune) = ("0101901234", "860");
    let known = [
        membership(citizen, "067", "2020-01-01", None),
        jobcenter(citizen, "86001", "2020-01-01", None),
        residence(citizen, kommune, "2020-01-01", None),
    ];
    dfdg.publish_all("dfdg.events", known.iter().map(crate::rig::Event::message).collect::<Vec<_>>());
    // One message is given back for good: that way leads through `wsb.returned`.
    let judge = |message: &crate::rig::Message| if message.kind == "Samtale" { Verdict::Reject } else { Verdict::Ack };
    let options = VendorOptions { judge: std::sync::Arc::new(judge), ..VendorOptions::default() };
    let vendor = Vendor::with(&uri("vendor-leverandoer-a-s"), ["wsb.akasse.053", "wsb.akasse.067"], &options);
    for entity in ["Tilmelding", "Samtale"] {
        let (key, body) = event(entity).cpr(citizen).message();
        dfdg.publish("dfdg.events", &key, body);
    }
    vendor.wait_until(LIMIT, "both messages", |messages| {
        ["Tilmelding", "Samtale"].iter().all(|kind| messages.iter().any(|message| message.kind == *kind))
    });
    until(LIMIT, "the broker hears of the rejection", || broker.metrics().sum("wsb_dead", &[("recipient", "akasse:067")]) == 1.0);

    // A vendor.
    let vendor = uri("vendor-leverandoer-a-s");
    for queue in ["wsb.kommune.860", "wsb.akasse.086", "wsb.intake.events", "wsb.intake.tilknytning", "wsb.returned", "dfdg.deletions"] {
        refused(&format!("consume {queue}"), attempt(&vendor, move |channel| consume(channel, queue)));
        refused(&format!("get from {queue}"), attempt(&vendor, move |channel| get(channel, queue)));
        refused(&format!("purge {queue}"), attempt(&vendor, move |channel| purge(channel, queue)));
    }
    for (exchange, key) in [
        ("", "wsb.kommune.860"),
        ("", "wsb.akasse.067"),
        ("wsb.delivery", "wsb.akasse.067"),
        ("dfdg.events", "tilknytning.akassemedlemskab.oprettet"),
        ("wsb.returned", ""),
        ("dfdg.deletions", "joblog"),
        ("amq.fanout", ""),
    ] {
        refused(&format!("publish to '{exchange}'"), attempt(&vendor, move |channel| publish(channel, exchange, key)));
    }
    refused("bind its own queue", attempt(&vendor, |channel| bind(channel, "wsb.akasse.067", "wsb.delivery", "wsb.kommune.860")));
    refused("bind its own queue to DFDG", attempt(&vendor, |channel| bind(channel, "wsb.akasse.067", "dfdg.events", "#")));
    refused("unbind its own queue", attempt(&vendor, |channel| unbind(channel, "wsb.akasse.067")));
    refused("declare a queue", attempt(&vendor, |channel| declare(channel, "wsb.akasse.068", false)));
    refused("declare a queue of another name", attempt(&vendor, |channel| declare(channel, "mine", false)));
    refused("delete its own queue", attempt(&vendor, |channel| delete(channel, "wsb.akasse.067")));
    refused("delete another's queue", attempt(&vendor, |channel| delete(channel, "wsb.kommune.860")));
    refused("declare an exchange", attempt(&vendor, |channel| declare_exchange(channel, "mine")));
    refused("delete an exchange", attempt(&vendor, |channel| delete_exchange(channel, "wsb.delivery")));
    refused("enter another virtual host", attempt(&vendor.replace("/exported", "/%2f"), |channel| get(channel, "wsb.akasse.067")));
    // RabbitMQ has no permission for these two, see `amqp::definitions`.
    assert_eq!(attempt(&vendor, |channel| purge(channel, "wsb.akasse.067")), Ok(()), "whoever may read may empty");
    assert_eq!(
        attempt(&vendor, |channel| declare(channel, "wsb.intake.events", true)),
        Ok(()),
        "whoever may enter may look how much waits"
    );

    // DFDG.
    let events = uri("dfdg-events");
    refused("publish with a key of no domain", attempt(&events, |channel| publish(channel, "dfdg.events", "anything.plan.oprettet")));
    refused("publish a WSB", attempt(&events, |channel| publish(channel, "wsb.delivery", "wsb.akasse.067")));
    refused("publish past the exchanges", attempt(&events, |channel| publish(channel, "", "wsb.akasse.067")));
    refused("read what it wrote", attempt(&events, |channel| get(channel, "wsb.intake.events")));
    let deletions = uri("dfdg-deletions");
    assert_eq!(attempt(&deletions, |channel| get(channel, "dfdg.deletions")), Ok(()));
    refused("read WSBs", attempt(&deletions, |channel| get(channel, "wsb.akasse.067")));
    refused("answer as DFDG", attempt(&deletions, |channel| publish(channel, "dfdg.events", "gdpr.gdprsletning.slettet")));

    // The broker.
    let own = uri("wsb-broker");
    refused("invent an event", attempt(&own, |channel| publish(channel, "dfdg.events", "plan.plan.oprettet")));
    refused("publish past the exchanges", attempt(&own, |channel| publish(channel, "", "wsb.akasse.067")));
    refused("declare what is not its own", attempt(&own, |channel| declare(channel, "mine", false)));

    // Without passwords: an import takes them away, and nobody gets in by an empty one.
    let output = broker.cli(&["topology", "export"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("6 of 6 users have no password"), "{output:?}");
    fs::write(file("bare.json"), output.stdout).unwrap();
    node.ctl(&["import_definitions", &file("bare.json")]);
    for password in ["", "secret%20of%20vendor-kmd"] {
        let uri = format!("amqp://vendor-kmd:{password}@127.0.0.1:{port}/exported");
        let words = attempt(&uri, |channel| get(channel, "wsb.kommune.860")).expect_err("no way in");
        assert!(words.contains("ACCESS_REFUSED"), "{words}");
    }
    // For users that exist: permissions only.
    let kept: Value = serde_json::from_str(&broker.cli_ok(&["topology", "export", "--without-users"])).unwrap();
    assert!(kept.get("users").is_none() && kept["permissions"].as_array().unwrap().len() == 6);
}

/// An export of before 0070 has no `wsb.broker`: the broker says so and works as it did.
#[test]
fn older_permissions_are_told_of_and_enough() {
    let (node, _) = node();
    let uri = node.vhost("older");
    let vhost = uri.rsplit('/').next().unwrap();
    node.ctl(&["add_user", "wsb-older", "made-up"]);
    let permit = |configure: &str| node.ctl(&["set_permissions", "-p", vhost, "wsb-older", configure, ".*", ".*"]);
    let older = r"^(dfdg\.(events|deletions)|wsb\.(delivery|returned|intake\.[a-z]+|(akasse|kommune)\.[0-9]{3}))$";
    permit(older);
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("routing.toml");
    fs::write(&rules, routing(&[("akasse:067", "")])).unwrap();
    let at = format!("amqp://wsb-older:made-up@127.0.0.1:{}/{vhost}", node.port());
    let mut broker = Broker::start(Options::new(&at).routing(&rules));
    let told = |broker: &Broker| broker.log().matches("may not declare queue 'wsb.broker'").count();
    assert_eq!(told(&broker), 1, "{}", broker.log());
    assert!(broker.log().contains("grant configure permission (wsb-broker topology export)"), "{}", broker.log());
    let dfdg = Amqp::connect(&uri);
    let known = [membership("0101901234", "067", "2020-01-01", None), jobcenter("0101901234", "86001", "2020-01-01", None)];
    dfdg.publish_all("dfdg.events", known.iter().map(crate::rig::Event::message).collect::<Vec<_>>());
    let taken = |broker: &Broker| broker.metrics().sum("wsb_events_consumed_total", &[]) as usize;
    until(LIMIT, "they are taken in", || taken(&broker) == 2);
    // Connected anew it does not say so again; with the permission it keeps others out.
    let connected = |broker: &Broker| broker.log().matches("connected to RabbitMQ again").count();
    node.ctl(&["close_all_connections", "--vhost", vhost, "a test"]);
    until(LIMIT, "both sides are back", || connected(&broker) == 2);
    assert_eq!(told(&broker), 1, "{}", broker.log());
    permit(".*");
    node.ctl(&["close_all_connections", "--vhost", vhost, "a test"]);
    until(LIMIT, "both sides are back", || connected(&broker) == 4);
    let second = Broker::spawn(Options::new(&at).routing(&rules));
    until(LIMIT, "a second one waits", || second.readyz().is_some_and(|(_, text)| text.contains("another broker works")));
    assert!(broker.terminate().success());
}

#[test]
fn mistakes_in_an_export_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("routing.toml"), routing(&[("akasse:053", "A & B"), ("akasse:067", "A-B")])).unwrap();
    let broker = Broker::prepare(Options::new("amqp://127.0.0.1:1/x").routing(file("routing.toml")));
    let output = broker.cli(&["topology", "export"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1) && said.contains("\"A & B\"") && said.contains("\"A-B\"") && said.contains("vendor-a-b"),
        "{said}"
    );

    fs::write(file("routing.toml"), routing(&[("akasse:053", "")])).unwrap();
    fs::create_dir(file("passwords")).unwrap();
    fs::write(file("passwords/vendor-akase-053"), "x").unwrap();
    let output = broker.cli(&["topology", "export", "--passwords", &file("passwords")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("vendor-akase-053"), "{said}");
}
