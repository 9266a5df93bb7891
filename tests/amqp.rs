//! The `amqp` module against a real RabbitMQ node of its own.

#![allow(clippy::panic, clippy::unwrap_used, reason = "in a test, a panic with a good message is how it fails")]

mod rig;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rig::{Node, shared_node};
use tokio::sync::mpsc;
use tokio::time::timeout;
use wsb_broker::amqp::*;

/// Far beyond what anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

fn topology(queues: &[(&str, u32)]) -> Topology {
    let recipients = queues.iter().map(|(queue, max_length)| RecipientQueue { queue: (*queue).to_owned(), max_length: *max_length });
    Topology::of(&Plan {
        domains: ["tilknytning", "plan", "gdpr"].map(String::from).to_vec(),
        recipients: recipients.collect(),
        names: Names::default(),
    })
}

fn settings(uri: &str, topology: Topology) -> Settings {
    Settings {
        target: Target::parse(uri).unwrap(),
        topology,
        intake: IntakeSettings::default(),
        publish: PublishSettings::default(),
        reconnect: Reconnect { first: Duration::from_millis(50), multiplier: 1.5, longest: Duration::from_millis(500) },
    }
}

/// With one queue, and two seconds from one attempt to connect to the next.
fn slow_settings(uri: &str) -> Settings {
    const PAUSE: Duration = Duration::from_secs(2);
    Settings {
        reconnect: Reconnect { first: PAUSE, multiplier: 1.0, longest: PAUSE },
        ..settings(uri, topology(&[("wsb.akasse.001", 1000)]))
    }
}

async fn started(settings: Settings) -> (Link, Endpoints) {
    let (link, endpoints) = Link::start(settings);
    within("link is up", link.ready()).await.unwrap();
    (link, endpoints)
}

fn message(token: u64, routing_key: &str) -> Outgoing {
    Outgoing {
        token,
        until: None,
        exchange: "wsb.delivery".into(),
        routing_key: routing_key.into(),
        message_id: format!("id-{token}"),
        correlation_id: Some(format!("event-{token}")),
        kind: Some("Indkaldelse".into()),
        timestamp: 1_773_648_000,
        headers: Some(WsbHeaders { recipient: "akasse:067".into(), entity_id: 90_000, change_type: 1, attempt: 1, replay: false }),
        body: format!("body {token}").into_bytes(),
    }
}

async fn gather(outcomes: &mut mpsc::Receiver<Vec<(u64, Outcome)>>, count: usize) -> HashMap<u64, Outcome> {
    let mut all = HashMap::new();
    while all.len() < count {
        for (token, outcome) in within("outcomes", outcomes.recv()).await.expect("the publisher runs") {
            assert_eq!(all.insert(token, outcome), None, "token {token} was answered twice");
        }
    }
    all
}

/// Publishes `messages` in vectors of 300 while reading the outcomes.
async fn publish(endpoints: &mut Endpoints, messages: Vec<Outgoing>) -> HashMap<u64, Outcome> {
    let count = messages.len();
    let sender = endpoints.publish.clone();
    let feeder = tokio::spawn(async move {
        let mut messages = messages.into_iter();
        loop {
            let vector: Vec<Outgoing> = messages.by_ref().take(300).collect();
            if vector.is_empty() {
                break;
            }
            sender.send(vector).await.unwrap();
        }
    });
    let all = gather(&mut endpoints.outcomes, count).await;
    feeder.await.unwrap();
    all
}

async fn raw(uri: &str) -> (lapin::Connection, lapin::Channel) {
    let connection = lapin::Connection::connect(uri, lapin::ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn delete_queue(uri: &str, queue: &str) {
    let (connection, channel) = raw(uri).await;
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn delete_exchange(uri: &str, exchange: &str) {
    let (connection, channel) = raw(uri).await;
    channel.exchange_delete(exchange.into(), lapin::options::ExchangeDeleteOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn until_state(link: &Link, what: &str, holds: impl Fn(&LinkState) -> bool) {
    let mut state = link.state();
    within(what, state.wait_for(|state| holds(state))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_unroutable_message_is_told_from_its_neighbors() {
    let uri = shared_node().vhost("trap");
    let names: Vec<String> = (0..50).map(|number| format!("wsb.akasse.{number:03}")).collect();
    let queues: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 100_000)).collect();
    let (link, mut endpoints) = started(settings(&uri, topology(&queues))).await;
    let missing = |number: usize| number % 7 == 3;
    for name in names.iter().enumerate().filter(|(number, _)| missing(*number)).map(|(_, name)| name) {
        delete_queue(&uri, name).await;
    }

    let messages = (0..20_000).map(|token| message(token, &names[scatter(token)])).collect();
    let outcomes = publish(&mut endpoints, messages).await;

    let wrong: Vec<_> = (0..20_000)
        .filter(|token| match &outcomes[token] {
            Outcome::Confirmed => missing(scatter(*token)),
            Outcome::Returned { code: 312, .. } => !missing(scatter(*token)),
            _ => true,
        })
        .map(|token| (token, outcomes[&token].clone()))
        .collect();
    assert!(wrong.is_empty(), "{} wrong, such as {:?}", wrong.len(), &wrong[..wrong.len().min(5)]);
    within("close", link.close()).await;
}

/// The queue that a token goes to, without a pattern that batches could align with.
fn scatter(token: u64) -> usize {
    usize::try_from(token.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).unwrap() % 50
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_missing_and_forbidden_have_outcomes_of_their_own() {
    let uri = shared_node().vhost("outcomes");
    let (link, mut endpoints) = started(settings(&uri, topology(&[("wsb.akasse.001", 3), ("wsb.akasse.002", 1000)]))).await;

    // RabbitMQ lets a few more than the limit in before it rejects.
    let outcomes = publish(&mut endpoints, (0..200).map(|token| message(token, "wsb.akasse.001")).collect()).await;
    assert!(outcomes.values().all(|outcome| matches!(outcome, Outcome::Confirmed | Outcome::Nacked)), "{outcomes:?}");
    let outcomes = publish(&mut endpoints, vec![message(1, "wsb.akasse.001")]).await;
    assert_eq!(outcomes[&1], Outcome::Nacked);

    delete_queue(&uri, "wsb.akasse.002").await;
    let outcomes = publish(&mut endpoints, vec![message(1, "wsb.akasse.002")]).await;
    assert_eq!(outcomes[&1], Outcome::Returned { code: 312, text: "NO_ROUTE".into() });
    assert_eq!(link.redeclare().await, Ok(Applied::Now));
    let outcomes = publish(&mut endpoints, vec![message(1, "wsb.akasse.002")]).await;
    assert_eq!(outcomes[&1], Outcome::Confirmed);

    let mut stray = message(1, "wsb.akasse.002");
    stray.exchange = "wsb.nowhere".into();
    let outcomes = publish(&mut endpoints, vec![stray, message(2, "wsb.akasse.002")]).await;
    let Outcome::ChannelClosed { code: 404, text } = &outcomes[&1] else { panic!("{outcomes:?}") };
    assert!(text.contains("no exchange 'wsb.nowhere'"), "{text}");
    assert_eq!(outcomes[&2], Outcome::Confirmed);

    let mut long = message(1, "wsb.akasse.002");
    long.correlation_id = Some("x".repeat(256));
    let outcomes = publish(&mut endpoints, vec![long]).await;
    assert_eq!(outcomes[&1], Outcome::Unsendable { field: "correlation_id" });

    let lying = || async {
        let (_connection, channel) = raw(&uri).await;
        let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
        channel.queue_declare("wsb.akasse.002".into(), passive, Default::default()).await.unwrap().message_count()
    };
    let before = lying().await;
    let late = Outgoing { until: Some(Instant::now()), ..message(1, "wsb.akasse.002") };
    let in_time = Outgoing { until: Some(Instant::now() + PATIENCE), ..message(3, "wsb.akasse.002") };
    let outcomes = publish(&mut endpoints, vec![late, message(2, "wsb.akasse.002"), in_time]).await;
    assert_eq!([1, 2, 3].map(|token| outcomes[&token].clone()), [Outcome::TooLate, Outcome::Confirmed, Outcome::Confirmed]);
    assert_eq!(lying().await, before + 2);
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_carries_the_contracts_properties() {
    use lapin::types::AMQPValue;
    let uri = shared_node().vhost("properties");
    let (link, mut endpoints) = started(settings(&uri, topology(&[("wsb.akasse.001", 1000)]))).await;
    assert_eq!(publish(&mut endpoints, vec![message(7, "wsb.akasse.001")]).await[&7], Outcome::Confirmed);

    let (_connection, channel) = raw(&uri).await;
    let got = channel.basic_get("wsb.akasse.001".into(), lapin::options::BasicGetOptions::default()).await.unwrap().unwrap();
    assert_eq!(got.delivery.data, b"body 7");
    let properties = &got.delivery.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "id-7");
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "event-7");
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "Indkaldelse");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
    assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "wsb-broker");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!(*properties.timestamp(), Some(1_773_648_000));
    let headers = properties.headers().as_ref().unwrap().inner();
    assert_eq!(headers["wsb-recipient"], AMQPValue::LongString("akasse:067".into()));
    assert_eq!(headers["wsb-entity-id"], AMQPValue::LongInt(90_000));
    assert_eq!(headers["wsb-change-type"], AMQPValue::LongInt(1));
    assert_eq!(headers["wsb-attempt"], AMQPValue::LongInt(1));
    assert_eq!(headers["wsb-replay"], AMQPValue::Boolean(false));
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_answers_everything_and_comes_back() {
    let node = Node::start();
    let (link, mut endpoints) = started(settings(&node.uri(), topology(&[("wsb.akasse.001", 1_000_000)]))).await;

    node.keep_queues();

    // Publishes until told to stop, so that the node goes down mid-stream.
    let sender = endpoints.publish.clone();
    let feeder = tokio::spawn(async move {
        let mut token = 0;
        loop {
            let vector: Vec<Outgoing> = (token..token + 500).map(|token| message(token, "wsb.akasse.001")).collect();
            token += 500;
            if sender.send(vector).await.is_err() || token >= 10_000_000 {
                return token;
            }
        }
    });
    let mut confirmed = 0_u64;
    let mut answered = 0_u64;
    let mut lost = 0_u64;
    while lost < 1000 {
        for (_, outcome) in within("outcomes", endpoints.outcomes.recv()).await.unwrap() {
            answered += 1;
            match outcome {
                Outcome::Confirmed => confirmed += 1,
                Outcome::ConnectionLost => lost += 1,
                other => panic!("unexpected {other:?}"),
            }
        }
        if confirmed > 2000 && lost == 0 {
            tokio::task::block_in_place(|| node.kill());
        }
    }
    feeder.abort();
    let _ = feeder.await;
    // Unread outcomes stop the publisher, so somebody goes on reading.
    let mut outcomes = endpoints.outcomes;
    let last = tokio::spawn(async move {
        loop {
            let vector = outcomes.recv().await.unwrap();
            if let Some((_, outcome)) = vector.into_iter().find(|(token, _)| *token == u64::MAX) {
                return outcome;
            }
        }
    });
    until_state(&link, "both sides are down", |state| matches!((&state.consuming, &state.publishing), (Side::Down(_), Side::Down(_))))
        .await;
    let trouble = link.state().borrow().publishing.clone();
    assert!(matches!(&trouble, Side::Down(Trouble::Unreachable { .. } | Trouble::Lost { .. })), "{trouble:?}");
    assert!(answered > 3000);

    tokio::task::block_in_place(|| node.restart());
    until_state(&link, "both sides are up again", LinkState::is_up).await;
    endpoints.publish.send(vec![message(u64::MAX, "wsb.akasse.001")]).await.unwrap();
    assert_eq!(within("the last outcome", last).await.unwrap(), Outcome::Confirmed);
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflicting_queue_is_named_with_both_values() {
    let uri = shared_node().vhost("conflict");
    let target = Target::parse(&uri).unwrap();
    client::apply_topology(&target, &topology(&[("wsb.akasse.001", 1000)])).await.unwrap();
    client::apply_topology(&target, &topology(&[("wsb.akasse.001", 1000)])).await.unwrap();

    let refused = client::apply_topology(&target, &topology(&[("wsb.akasse.001", 5)])).await.unwrap_err();
    assert!(refused.needs_operator());
    assert_eq!(
        refused.to_string(),
        "queue 'wsb.akasse.001' already exists with x-max-length = 1000, the broker needs x-max-length = 5; set its window in routing.toml \
         to the existing value, or empty the queue, delete it (rabbitmqctl delete_queue 'wsb.akasse.001') and start again"
    );
    let (link, _endpoints) = Link::start(settings(&uri, topology(&[("wsb.akasse.001", 5)])));
    assert_eq!(within("refusal", link.ready()).await, Err(refused));
    within("close", link.close()).await;

    let (connection, channel) = raw(&uri).await;
    channel.queue_delete("wsb.returned".into(), lapin::options::QueueDeleteOptions::default()).await.unwrap();
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..lapin::options::QueueDeclareOptions::default() };
    channel.queue_declare("wsb.returned".into(), durable, lapin::types::FieldTable::default()).await.unwrap();
    let refused = client::apply_topology(&target, &topology(&[])).await.unwrap_err().to_string();
    assert!(refused.contains("queue 'wsb.returned' already exists with x-queue-type ="), "{refused}");
    connection.close(200, "done".into()).await.unwrap();
}

/// A recipient's queue that somebody has declared otherwise could lose what it gets:
/// it gets nothing, and everybody else what is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_declared_otherwise_is_cut_off_alone() {
    let node = Node::start();
    let uri = node.uri();
    let names = ["wsb.akasse.001", "wsb.akasse.002"];
    let (link, mut endpoints) = started(settings(&uri, topology(&names.map(|name| (name, 1000))))).await;
    delete_queue(&uri, names[0]).await;
    let (connection, channel) = raw(&uri).await;
    let durable = lapin::options::QueueDeclareOptions { durable: true, ..lapin::options::QueueDeclareOptions::default() };
    channel.queue_declare(names[0].into(), durable, lapin::types::FieldTable::default()).await.unwrap();
    let (queue, key) = (names[0].into(), names[0].into());
    channel.queue_bind(queue, "wsb.delivery".into(), key, Default::default(), lapin::types::FieldTable::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();

    node.eval("[rabbit_networking:close_connection(Pid, \"a test\") || Pid <- rabbit_networking:connections()]");
    until_state(&link, "lost", |state| !state.is_up()).await;
    within("link is up", link.ready()).await.unwrap();
    let outcomes = publish(&mut endpoints, vec![message(0, names[0]), message(1, names[1])]).await;
    assert!(matches!(outcomes[&0], Outcome::Returned { code: 312, .. }), "{outcomes:?}");
    assert_eq!(outcomes[&1], Outcome::Confirmed);

    delete_queue(&uri, names[0]).await;
    assert_eq!(link.redeclare().await, Ok(Applied::Now));
    assert_eq!(publish(&mut endpoints, vec![message(2, names[0])]).await[&2], Outcome::Confirmed);
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_say_what_to_change() {
    let node = shared_node();
    let uri = node.vhost("refusals");
    let vhost = uri.rsplit('/').next().unwrap().to_owned();
    let port = node.port();
    let trouble = async |uri: &str| client::apply_topology(&Target::parse(uri).unwrap(), &topology(&[])).await.unwrap_err().to_string();

    let text = trouble(&format!("amqp://guest:hemmeligt@127.0.0.1:{port}/{vhost}")).await;
    assert!(text.contains("refuses the credentials of user 'guest'"), "{text}");
    assert!(!text.contains("hemmeligt"), "{text}");

    let text = trouble(&format!("amqp://guest:guest@127.0.0.1:{port}/nowhere")).await;
    assert!(text.contains("has no virtual host 'nowhere'"), "{text}");

    let text = trouble("amqp://guest:guest@127.0.0.1:1/%2f").await;
    assert!(text.contains("cannot reach RabbitMQ at amqp://guest@127.0.0.1:1/%2f"), "{text}");

    node.eval("rabbit_auth_backend_internal:add_user(<<\"limited\">>, <<\"secret\">>, <<\"test\">>)");
    let limited = format!("amqp://limited:secret@127.0.0.1:{port}/{vhost}");
    let text = trouble(&limited).await;
    assert!(text.contains(&format!("user 'limited' may not use virtual host '{vhost}'")), "{text}");

    node.eval(&format!(
        "rabbit_auth_backend_internal:set_permissions(<<\"limited\">>, <<\"{vhost}\">>, <<\"^dfdg\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)"
    ));
    let text = trouble(&limited).await;
    assert!(text.contains("refuses configure access to exchange 'wsb.delivery'"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_without_permission_is_noticed_before_and_while_it_is_needed() {
    let node = shared_node();
    let uri = node.vhost("write");
    let vhost = uri.rsplit('/').next().unwrap().to_owned();
    client::apply_topology(&Target::parse(&uri).unwrap(), &topology(&[])).await.unwrap();
    node.eval("rabbit_auth_backend_internal:add_user(<<\"reader\">>, <<\"secret\">>, <<\"test\">>)");
    let permit = |write: &str| {
        node.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"reader\">>, <<\"{vhost}\">>, <<\".*\">>, <<\"{write}\">>, <<\".*\">>, \
             <<\"test\">>)"
        ))
    };
    permit("^(wsb.intake|wsb.returned|dfdg.deletions)");
    let limited = format!("amqp://reader:secret@127.0.0.1:{}/{vhost}", node.port());
    let (link, endpoints) = Link::start(settings(&limited, topology(&[])));
    let text = within("a trouble", link.ready()).await.unwrap_err().to_string();
    assert!(text.contains("refuses write access to exchange 'wsb.delivery'"), "{text}");
    permit(".*");
    until_state(&link, "up once it is permitted", LinkState::is_up).await;
    // Taken back while nothing is sent.
    permit("^(wsb.intake|wsb.returned|wsb.delivery)");
    until_state(
        &link,
        "told",
        |state| matches!(&state.publishing, Side::Down(trouble) if trouble.to_string().contains("'dfdg.deletions'")),
    )
    .await;
    permit(".*");
    until_state(&link, "up again", LinkState::is_up).await;
    drop(endpoints);
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_exchange_is_declared_again() {
    let uri = shared_node().vhost("exchange");
    let (link, mut endpoints) = started(settings(&uri, topology(&[("wsb.akasse.001", 1000)]))).await;
    delete_exchange(&uri, "wsb.delivery").await;
    let outcomes = publish(&mut endpoints, vec![message(1, "wsb.akasse.001")]).await;
    let Outcome::ChannelClosed { code: 404, text } = &outcomes[&1] else { panic!("{outcomes:?}") };
    assert!(text.contains("no exchange 'wsb.delivery'"), "{text}");
    within("it is bound again", async {
        while publish(&mut endpoints, vec![message(2, "wsb.akasse.001")]).await[&2] != Outcome::Confirmed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    within("close", link.close()).await;
}

/// Ends the connections of this name in the virtual host of `uri`, from RabbitMQ's side.
fn close_connections(node: &Node, uri: &str, name: &str) {
    let vhost = uri.rsplit('/').next().unwrap();
    let closed = node.eval(&format!(
        "[rabbit_networking:close_connection(Pid, \"a test\") || \
         [{{pid, Pid}}, {{vhost, <<\"{vhost}\">>}}, {{client_properties, Properties}}] \
         <- rabbit_networking:connection_info_all([pid, vhost, client_properties]), \
         {{_, _, <<\"{name}\">>}} <- [lists:keyfind(<<\"connection_name\">>, 1, Properties)]]"
    ));
    assert!(closed.contains("ok"), "no connection {name} at {uri}: {closed}");
}

/// Declares the queue that one broker can have, as soon as nobody has it.
async fn take_lock(connection: &lapin::Connection) {
    let options = lapin::options::QueueDeclareOptions { exclusive: true, ..lapin::options::QueueDeclareOptions::default() };
    within("the lock is free", async {
        loop {
            let channel = connection.create_channel().await.unwrap();
            match channel.queue_declare(LOCK.into(), options, lapin::types::FieldTable::default()).await {
                Ok(_) => return,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
}

fn waits_for_another(state: &LinkState) -> bool {
    [&state.consuming, &state.publishing].iter().all(|side| matches!(side, Side::Down(Trouble::AnotherBroker { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_link_works_in_a_virtual_host_and_the_next_when_it_has_gone() {
    let uri = shared_node().vhost("one");
    let (first, mut of_first) = started(settings(&uri, topology(&[("wsb.akasse.001", 1000)]))).await;
    // What it would declare is not declared.
    let (second, mut of_second) = Link::start(settings(&uri, topology(&[("wsb.akasse.001", 7)])));
    until_state(&second, "the second waits", waits_for_another).await;
    assert_eq!(publish(&mut of_second, vec![message(1, "wsb.akasse.001")]).await[&1], Outcome::ConnectionLost);
    publish_events(&uri, (0..100).map(|number| ("plan.plan.oprettet", format!("{number}")))).await;
    let taken = take(&mut of_first.deliveries.events, 100).await;
    assert!(of_second.deliveries.events.try_recv().is_err());
    of_first.acks.ack_through(Intake::Events, taken[99].epoch, taken[99].tag);
    assert_eq!(publish(&mut of_first, vec![message(2, "wsb.akasse.001")]).await[&2], Outcome::Confirmed);
    second.update_topology(topology(&[("wsb.akasse.001", 1000)])).await.unwrap();
    within("close", first.close()).await;
    until_state(&second, "the second works", LinkState::is_up).await;
    publish_events(&uri, [("plan.plan.oprettet", "after".to_owned())]).await;
    assert_eq!(take(&mut of_second.deliveries.events, 1).await[0].body, b"after");
    assert_eq!(publish(&mut of_second, vec![message(3, "wsb.akasse.001")]).await[&3], Outcome::Confirmed);
    within("close", second.close()).await;
}

/// The connection that publishes stands, and another broker has come in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_once_another_has_the_lock() {
    let node = shared_node();
    let uri = node.vhost("overtaken");
    let (link, mut endpoints) = started(slow_settings(&uri)).await;
    let (other, channel) = raw(&uri).await;
    tokio::task::block_in_place(|| close_connections(node, &uri, "wsb-broker consuming"));
    take_lock(&other).await;
    until_state(&link, "consuming is down", |state| state.consuming != Side::Up).await;
    assert_eq!(publish(&mut endpoints, vec![message(1, "wsb.akasse.001")]).await[&1], Outcome::ConnectionLost);
    until_state(&link, "the other is named", waits_for_another).await;
    let got = channel.basic_get("wsb.akasse.001".into(), lapin::options::BasicGetOptions::default()).await.unwrap();
    assert!(got.is_none(), "{got:?}");
    other.close(200, "done".into()).await.unwrap();
    until_state(&link, "up again", LinkState::is_up).await;
    assert_eq!(publish(&mut endpoints, vec![message(1, "wsb.akasse.001")]).await[&1], Outcome::Confirmed);
    within("close", link.close()).await;
}

/// What is only about consuming does not bring publishing to a standstill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_goes_on_while_consuming_is_refused() {
    let node = shared_node();
    let uri = node.vhost("unread");
    let vhost = uri.rsplit('/').next().unwrap().to_owned();
    node.eval("rabbit_auth_backend_internal:add_user(<<\"writer\">>, <<\"secret\">>, <<\"test\">>)");
    let permit = |read: &str| {
        node.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"writer\">>, <<\"{vhost}\">>, <<\".*\">>, <<\".*\">>, <<\"{read}\">>, \
             <<\"test\">>)"
        ))
    };
    permit(".*");
    let limited = format!("amqp://writer:secret@127.0.0.1:{}/{vhost}", node.port());
    let (link, mut endpoints) = started(slow_settings(&limited)).await;
    let probe = raw(&uri).await;
    permit("^(dfdg|wsb.(delivery|returned|akasse))");
    delete_queue(&uri, "wsb.intake.events").await;
    until_state(&link, "refused", |state| matches!(state.consuming, Side::Down(Trouble::ConsumeRefused { .. }))).await;
    // Throughout several attempts to consume.
    let began = Instant::now();
    let mut token = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        assert_eq!(publish(&mut endpoints, vec![message(token, "wsb.akasse.001")]).await[&token], Outcome::Confirmed);
        assert_eq!(link.state().borrow().publishing, Side::Up);
        assert!(asked.elapsed() < Duration::from_secs(1), "it waited for the next attempt to consume: {:?}", asked.elapsed());
        let (_, channel) = &probe;
        channel.queue_purge("wsb.akasse.001".into(), lapin::options::QueuePurgeOptions::default()).await.unwrap();
        token += 1;
    }
    permit(".*");
    until_state(&link, "up again", LinkState::is_up).await;
    within("close", link.close()).await;
}

async fn publish_events(uri: &str, messages: impl IntoIterator<Item = (&str, String)>) {
    let messages: Vec<(String, Vec<u8>)> = messages.into_iter().map(|(key, body)| (key.to_owned(), body.into_bytes())).collect();
    let count = messages.len();
    let mut answered = 0;
    let published =
        client::publish_events(&Target::parse(uri).unwrap(), "dfdg.events", messages, |so_far| answered = so_far).await.unwrap();
    assert_eq!(published, client::Published { confirmed: count, failed: Vec::new() });
    assert_eq!(answered, count);
}

async fn take(receiver: &mut mpsc::Receiver<Vec<Delivery>>, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(within("deliveries", receiver.recv()).await.expect("the consumer runs"));
    }
    assert_eq!(all.len(), count);
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_through_a_tag_settles_all_before_it() {
    let uri = shared_node().vhost("acks");
    let (link, mut endpoints) = started(settings(&uri, topology(&[]))).await;
    publish_events(&uri, (0..1000).map(|number| ("plan.plan.oprettet", format!("{number}")))).await;
    publish_events(&uri, [("tilknytning.akassemedlemskab.oprettet", "T".to_owned())]).await;

    let deliveries = take(&mut endpoints.deliveries.events, 1000).await;
    assert_eq!(deliveries[41].routing_key, "plan.plan.oprettet");
    assert_eq!(deliveries[41].content_type.as_deref(), Some("application/cloudevents+json"));
    let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
    assert_eq!(tags, (1..=1000).collect::<Vec<_>>());
    let urgent = take(&mut endpoints.deliveries.tilknytning, 1).await;
    assert_eq!((urgent[0].intake, urgent[0].body.as_slice()), (Intake::Tilknytning, b"T".as_slice()));

    let epoch = deliveries[0].epoch;
    endpoints.acks.ack_through(Intake::Events, epoch + 1, 900);
    endpoints.acks.ack_through(Intake::Events, epoch, 600);
    endpoints.acks.ack_through(Intake::Events, epoch, 600);
    endpoints.acks.ack_through(Intake::Events, epoch, 20);
    within("close", link.close()).await;

    // A second link finds exactly what was not acknowledged, in order.
    let (link, mut endpoints) = started(settings(&uri, topology(&[]))).await;
    let again = take(&mut endpoints.deliveries.events, 400).await;
    let bodies: Vec<String> = again.iter().map(|delivery| String::from_utf8(delivery.body.clone()).unwrap()).collect();
    assert_eq!(bodies, (600..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(again.iter().all(|delivery| delivery.redelivered));
    endpoints.acks.requeue_through(Intake::Events, again[0].epoch, 400);
    let third = take(&mut endpoints.deliveries.events, 400).await;
    assert_eq!(third.len(), 400);

    link.stop_intake();
    assert_eq!(within("end of events", endpoints.deliveries.events.recv()).await, None);
    endpoints.acks.ack_through(Intake::Events, third[399].epoch, third[399].tag);
    within("close", link.close()).await;
    let (connection, channel) = raw(&uri).await;
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..lapin::options::QueueDeclareOptions::default() };
    let queue = channel.queue_declare("wsb.intake.events".into(), passive, lapin::types::FieldTable::default()).await.unwrap();
    assert_eq!(queue.message_count(), 0);
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vendor_rejects_comes_back_with_the_reason() {
    let uri = shared_node().vhost("returned");
    let (link, mut endpoints) = started(settings(&uri, topology(&[("wsb.akasse.001", 1000)]))).await;
    assert_eq!(publish(&mut endpoints, vec![message(7, "wsb.akasse.001")]).await[&7], Outcome::Confirmed);
    let (connection, channel) = raw(&uri).await;
    let got = channel.basic_get("wsb.akasse.001".into(), lapin::options::BasicGetOptions::default()).await.unwrap().unwrap();
    got.reject(lapin::options::BasicRejectOptions { requeue: false }).await.unwrap();

    let back = take(&mut endpoints.deliveries.returned, 1).await.remove(0);
    assert_eq!(back.rejection, Some(Rejection { reason: "rejected".into(), queue: "wsb.akasse.001".into() }));
    assert_eq!(back.message_id.as_deref(), Some("id-7"));
    assert_eq!(back.correlation_id.as_deref(), Some("event-7"));
    assert_eq!(back.recipient.as_deref(), Some("akasse:067"));
    connection.close(200, "done".into()).await.unwrap();
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_intake_queue_is_declared_again() {
    let uri = shared_node().vhost("cancelled");
    let (link, mut endpoints) = started(settings(&uri, topology(&[]))).await;
    let mut state = link.state();
    state.mark_unchanged();
    delete_queue(&uri, "wsb.intake.events").await;
    within("the cancel is noticed", state.changed()).await.unwrap();
    until_state(&link, "up again", LinkState::is_up).await;
    publish_events(&uri, [("plan.plan.oprettet", "after".to_owned())]).await;
    let delivery = take(&mut endpoints.deliveries.events, 1).await.remove(0);
    assert_eq!((delivery.body.as_slice(), delivery.epoch), (b"after".as_slice(), 2));
    within("close", link.close()).await;
}

/// Has a consumed queue deleted and declared again before its consumer hears of it.
async fn exchange_queue(link: &Link, uri: &str, queue: &str) {
    shared_node().suspend_consumer(uri, queue);
    delete_queue(uri, queue).await;
    assert_eq!(link.update_topology(topology(&[])).await, Ok(Applied::Now));
    shared_node().resume_consumer(uri, queue);
}

/// Which connection holds the lock.
fn holder(uri: &str) -> String {
    let vhost = uri.rsplit('/').next().unwrap_or_default().replace("%2f", "/");
    let queues = shared_node().ctl(&["list_queues", "--quiet", "-p", &vhost, "name", "owner_pid"]);
    queues.lines().find(|line| line.starts_with(LOCK)).unwrap_or_default().to_owned()
}

/// Takes so many, and acknowledges each vector as it comes. Returns the epoch and body of each.
async fn settle(receiver: &mut mpsc::Receiver<Vec<Delivery>>, acks: &Acks, count: usize) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while all.len() < count {
        let vector = within("deliveries", receiver.recv()).await.expect("the consumer runs");
        let newest = vector.last().expect("not empty");
        acks.ack_through(newest.intake, newest.epoch, newest.tag);
        all.extend(vector.into_iter().map(|delivery| (delivery.epoch, String::from_utf8(delivery.body).unwrap())));
    }
    all
}

/// Checks that the bodies are the numbers from 0, each once, in order.
#[track_caller]
fn in_order(taken: &[(u64, String)], count: usize) {
    let bodies: Vec<&str> = taken.iter().map(|(_, body)| body.as_str()).collect();
    assert_eq!(bodies, (0..count).map(|number| number.to_string()).collect::<Vec<_>>());
}

/// Exchanges a queue, publishes to it, and takes all of it in the order in which it was published.
async fn comes_from_an_exchanged_queue(name: &str, intake: Intake, key: &str, consuming: IntakeSettings) {
    const COUNT: usize = 200;
    let uri = shared_node().vhost(name);
    let (link, mut endpoints) = started(Settings { intake: consuming, ..settings(&uri, topology(&[])) }).await;
    let (queue, deliveries) = match intake {
        Intake::Tilknytning => ("wsb.intake.tilknytning", &mut endpoints.deliveries.tilknytning),
        Intake::Events => ("wsb.intake.events", &mut endpoints.deliveries.events),
        Intake::Returned => panic!("nothing is published to it"),
    };
    let holder_before = holder(&uri);
    assert!(holder_before.len() > LOCK.len(), "the lock is held: {holder_before:?}");
    let mut state = link.state();
    state.mark_unchanged();

    exchange_queue(&link, &uri, queue).await;
    publish_events(&uri, (0..COUNT).map(|number| (key, number.to_string()))).await;
    let taken = settle(deliveries, &endpoints.acks, COUNT).await;
    in_order(&taken, COUNT);
    rig::until(PATIENCE, "nothing is held", || shared_node().held(&uri, queue) == 0);
    assert_eq!((state.has_changed().unwrap(), holder(&uri)), (false, holder_before), "on the same connection");
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_consumer_holds_is_taken_from_it() {
    let soon = IntakeSettings { renew_after: Duration::from_secs(2), ..IntakeSettings::default() };
    comes_from_an_exchanged_queue("lost-events", Intake::Events, "plan.plan.oprettet", soon.clone()).await;
    comes_from_an_exchanged_queue("lost-tilknytning", Intake::Tilknytning, "tilknytning.akassemedlemskab.oprettet", soon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_seen_to_lie_behind_a_lost_consumer_is_taken_sooner() {
    let late = IntakeSettings { events_prefetch: 50, renew_after: Duration::from_secs(86_400), ..IntakeSettings::default() };
    comes_from_an_exchanged_queue("lying", Intake::Events, "plan.plan.oprettet", late).await;
}

/// Publishes numbers, each to both queues, `tilknytning` first; waits for each confirm.
async fn publish_in_turn(uri: &str, count: usize) {
    let (connection, channel) = raw(uri).await;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
    let options = lapin::options::BasicPublishOptions::default();
    for number in (0..count).map(|number| number.to_string()) {
        for key in ["tilknytning.akassemedlemskab.oprettet", "plan.plan.oprettet"] {
            let properties = lapin::BasicProperties::default();
            let published = channel.basic_publish("dfdg.events".into(), key.into(), options, number.as_bytes(), properties).await;
            published.unwrap().await.unwrap();
        }
    }
    connection.close(200, "done".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consuming_anew_at_any_moment_loses_repeats_and_reorders_nothing() {
    const COUNT: usize = 600;
    let uri = shared_node().vhost("renewed");
    let restless = IntakeSettings { renew_after: Duration::from_millis(1), ..IntakeSettings::default() };
    let (link, endpoints) = started(Settings { intake: restless, ..settings(&uri, topology(&[])) }).await;
    let mut state = link.state();
    state.mark_unchanged();
    let publisher = tokio::spawn({
        let uri = uri.clone();
        async move { publish_in_turn(&uri, COUNT).await }
    });
    let (acks, ahead) = (endpoints.acks.clone(), endpoints.ahead);
    let taken = |vector: Vec<Delivery>| {
        let newest = vector.last().expect("not empty");
        acks.ack_through(newest.intake, newest.epoch, newest.tag);
        vector.into_iter().map(|delivery| (delivery.epoch, String::from_utf8(delivery.body).unwrap())).collect::<Vec<_>>()
    };
    let Deliveries { mut tilknytning, mut events, .. } = endpoints.deliveries;
    let (mut urgent, mut ordinary) = (Vec::new(), Vec::new());
    while ordinary.len() < COUNT {
        let some = within("deliveries", events.recv()).await.expect("the consumers run");
        // As the broker does: what came before is taken first.
        let mut heard = pin!(ahead.hear());
        let is_heard = within("an answer", async {
            loop {
                tokio::select! {
                    biased;
                    vector = tilknytning.recv() => {
                        let some = taken(vector.expect("the consumers run"));
                        ahead.passed_on(some.len());
                        urgent.extend(some);
                    }
                    heard = &mut heard => return heard.is_some(),
                }
            }
        });
        assert!(is_heard.await, "nobody can say any more");
        ordinary.extend(taken(some));
        assert!(urgent.len() >= ordinary.len(), "number {} of tilknytning was overtaken", urgent.len());
    }
    within("publishing", publisher).await.unwrap();
    for taken in [urgent, ordinary] {
        in_order(&taken, COUNT);
        assert!(taken.last().unwrap().0 > 10, "was consumed anew again and again");
    }
    assert!(!state.has_changed().unwrap(), "and nobody noticed");
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_topology_is_declared_or_refused_while_running() {
    let uri = shared_node().vhost("reload");
    let (link, mut endpoints) = started(settings(&uri, topology(&[("wsb.akasse.001", 1000)]))).await;
    assert_eq!(link.update_topology(topology(&[("wsb.akasse.001", 1000), ("wsb.akasse.002", 1000)])).await, Ok(Applied::Now));
    assert_eq!(publish(&mut endpoints, vec![message(1, "wsb.akasse.002")]).await[&1], Outcome::Confirmed);
    let refused = link.update_topology(topology(&[("wsb.akasse.002", 7)])).await.unwrap_err().to_string();
    assert!(refused.contains("x-max-length = 1000, the broker needs x-max-length = 7"), "{refused}");
    // The refused one is forgotten.
    assert_eq!(link.redeclare().await, Ok(Applied::Now));
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alarm_blocks_publishing_and_is_told() {
    let node = Node::start();
    let (link, mut endpoints) = started(settings(&node.uri(), topology(&[("wsb.akasse.001", 1000)]))).await;
    node.eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})");
    // RabbitMQ tells a publisher when it tries.
    endpoints.publish.send(vec![message(1, "wsb.akasse.001")]).await.unwrap();
    until_state(&link, "blocked", |state| state.blocked.is_some()).await;
    assert!(!link.state().borrow().is_up());
    endpoints.publish.send(vec![message(2, "wsb.akasse.001")]).await.unwrap();
    let outcomes = gather(&mut endpoints.outcomes, 1).await;
    assert_eq!(outcomes.get(&2), Some(&Outcome::Blocked), "{outcomes:?}");
    node.eval("rabbit_alarm:clear_alarm({resource_limit, memory, node()})");
    let outcomes = gather(&mut endpoints.outcomes, 1).await;
    assert_eq!(outcomes.get(&1), Some(&Outcome::Confirmed), "{outcomes:?}");
    until_state(&link, "unblocked", LinkState::is_up).await;
    within("close", link.close()).await;
}

/// Whoever has published nothing for a while is told of the alarm only when it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_alarm_leaves_without_a_confirm_is_blocked_and_has_not_timed_out() {
    let node = Node::start();
    let mut settings = settings(&node.uri(), topology(&[("wsb.akasse.001", 1000)]));
    settings.publish.deadline = Duration::from_secs(5);
    let (link, mut endpoints) = started(settings).await;
    node.eval("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})");
    endpoints.publish.send((1..=3).map(|token| message(token, "wsb.akasse.001")).collect()).await.unwrap();
    until_state(&link, "blocked", |state| state.blocked.is_some()).await;
    let outcomes = gather(&mut endpoints.outcomes, 3).await;
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Blocked), "{outcomes:?}");
    node.eval("rabbit_alarm:clear_alarm({resource_limit, memory, node()})");
    until_state(&link, "unblocked", LinkState::is_up).await;
    within("close", link.close()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_queue_times_out_alone() {
    let node = Node::start();
    let uri = node.uri();
    let mut settings = settings(&uri, topology(&[("wsb.akasse.001", 100_000), ("wsb.akasse.002", 100_000)]));
    settings.publish.channels = 1;
    settings.publish.patience = Duration::from_millis(50);
    settings.publish.deadline = Duration::from_secs(3);
    let (link, mut endpoints) = started(settings).await;
    // RabbitMQ registers a channel with each queue at its first message, and
    // that would hold up the whole channel.
    let both = |token: u64| message(token, if token.is_multiple_of(2) { "wsb.akasse.001" } else { "wsb.akasse.002" });
    let outcomes = publish(&mut endpoints, (0..4000).map(both).collect()).await;
    assert!(outcomes.values().all(|outcome| *outcome == Outcome::Confirmed));
    // A suspended leader takes nothing in and answers nothing.
    assert_eq!(link.depth("wsb.akasse.002").await, Some(2000));
    node.suspend_queue(&uri, "wsb.akasse.002");
    // RabbitMQ says that nothing lies in it, which is not so.
    assert_eq!(link.depth("wsb.akasse.002").await, None);
    let mut messages: Vec<Outgoing> = (0..2000).map(|token| message(token, "wsb.akasse.001")).collect();
    messages[100].routing_key = Arc::from("wsb.akasse.002");
    let outcomes = publish(&mut endpoints, messages).await;
    let odd: Vec<_> = outcomes.into_iter().filter(|(_, outcome)| *outcome != Outcome::Confirmed).collect();
    assert_eq!(odd, [(100, Outcome::TimedOut)]);
    within("close", link.close()).await;
}

/// RabbitMQ closes the channel for a message that is larger than it takes: only that
/// one is refused for good, and whatever else was under way may be sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_is_refused_alone() {
    let node = Node::start();
    node.eval("application:set_env(rabbit, max_message_size, 1000)");
    let (link, mut endpoints) = started(settings(&node.uri(), topology(&[("wsb.akasse.001", 100_000)]))).await;
    let mut messages: Vec<Outgoing> = (0..500).map(|token| message(token, "wsb.akasse.001")).collect();
    for token in [7, 250, 251] {
        messages[token].body = vec![b'x'; 1001];
    }
    messages[8].body = vec![b'x'; 1000];
    let mut refused = Vec::new();
    while !messages.is_empty() {
        let outcomes = publish(&mut endpoints, messages.clone()).await;
        messages.retain(|message| match &outcomes[&message.token] {
            Outcome::Confirmed => false,
            Outcome::ConnectionLost => true,
            Outcome::TooLarge { text } => {
                assert!(text.contains("1001"), "{text}");
                refused.push(message.token);
                false
            }
            other => panic!("{}: {other:?}", message.token),
        });
    }
    refused.sort_unstable();
    assert_eq!(refused, [7, 250, 251]);
    within("close", link.close()).await;
}

/// The first message of a channel to a queue without a leader holds that channel
/// at RabbitMQ for a minute, and whatever else came there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_hangs_holds_up_nobody_else() {
    let node = Node::start();
    let uri = node.uri();
    let names: Vec<String> = (0..6).map(|number| format!("wsb.akasse.{number:03}")).collect();
    let queues: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 100_000)).collect();
    let hangs = |token: u64| token % 6 == 2;
    let round = |number: u64| -> Vec<Outgoing> {
        (number * 600..(number + 1) * 600).map(|token| message(token, &names[(token % 6) as usize])).collect()
    };

    // Once where every channel has reached it before, once where none has.
    for has_worked in [true, false] {
        let (link, mut endpoints) = started(settings(&uri, topology(&queues))).await;
        if has_worked {
            let outcomes = publish(&mut endpoints, (0..8).flat_map(round).collect()).await;
            assert!(outcomes.values().all(|outcome| *outcome == Outcome::Confirmed));
        }
        node.suspend_queue(&uri, &names[2]);
        let mut waiting: HashMap<u64, Outgoing> = HashMap::new();
        for number in 10..14 {
            let messages = round(number);
            waiting.extend(messages.iter().map(|message| (message.token, message.clone())));
            let began = Instant::now();
            endpoints.publish.send(messages).await.unwrap();
            while waiting.keys().any(|token| !hangs(*token)) {
                for (token, outcome) in within("outcomes", endpoints.outcomes.recv()).await.expect("the publisher runs") {
                    match outcome {
                        _ if hangs(token) => assert_ne!(outcome, Outcome::Confirmed, "{token} went to the queue that hangs"),
                        Outcome::Confirmed => drop(waiting.remove(&token)),
                        other => panic!("{token} of round {number}: {other:?}"),
                    }
                }
            }
            assert!(began.elapsed() < PublishSettings::default().silence, "others waited for {:?}", began.elapsed());
            // Once more to the queue that hangs, as its probes go.
            let probe = number * 600 + 2;
            endpoints.publish.send(vec![message(probe, &names[2])]).await.unwrap();
        }

        // It goes on, and what waited for it arrives like everything else.
        node.resume_queue(&uri, &names[2]);
        let mut confirmed = 0;
        while confirmed < 100 {
            endpoints.publish.send(waiting.values().take(100).cloned().collect()).await.unwrap();
            let outcomes = within("outcomes", endpoints.outcomes.recv()).await.expect("the publisher runs");
            confirmed += outcomes.iter().filter(|(_, outcome)| *outcome == Outcome::Confirmed).count();
        }
        within("close", link.close()).await;
    }
}
