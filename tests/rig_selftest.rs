//! Proves the rig: what other tests build on must itself be known to work.

mod rig;

use std::time::{Duration, Instant};

use rig::{Amqp, Metrics, Node, Proxy, Vendor, VendorOptions, Verdict, event, membership, queue_depth, shared_node, until};
use serde_json::json;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_node_keeps_messages_through_stop_and_kill() {
    let begin = Instant::now();
    let node = Node::start();
    println!("first start: {:.1} s", begin.elapsed().as_secs_f64());
    let amqp = Amqp::connect(&node.uri());
    amqp.declare_queue("kept", &[]);
    amqp.publish("", "kept", "one");
    drop(amqp);

    node.stop();
    assert!(std::net::TcpStream::connect(("127.0.0.1", node.port())).is_err(), "a stopped node listens");
    let begin = Instant::now();
    node.restart();
    println!("second start: {:.1} s", begin.elapsed().as_secs_f64());
    let amqp = Amqp::connect(&node.uri());
    amqp.publish("", "kept", "two");
    drop(amqp);

    node.kill();
    node.restart();
    let taken = Amqp::connect(&node.uri()).take_all("kept");
    assert_eq!(taken.iter().map(|message| message.body.as_slice()).collect::<Vec<_>>(), [b"one", b"two"]);
    assert!(node.ctl(&["list_queues", "--quiet", "name"]).contains("kept"));
}

#[test]
fn vhosts_of_one_node_do_not_see_each_other() {
    let node = shared_node();
    let (one, two) = (node.vhost("one"), node.vhost("two"));
    Amqp::connect(&one).declare_queue("mine", &[]);
    Amqp::connect(&one).publish("", "mine", "x");
    until(SOON, "the message lies in the queue", || queue_depth(&one, "mine") == Some(1));
    assert_eq!(queue_depth(&two, "mine"), None);
}

#[test]
fn a_vendor_may_come_before_its_queue_and_judges_messages() {
    let uri = shared_node().vhost("vendor");
    let vendor = Vendor::consume(&uri, "late");
    let picky = VendorOptions {
        judge: std::sync::Arc::new(|message| if message.body == b"bad" { Verdict::Reject } else { Verdict::Ack }),
        ..VendorOptions::default()
    };
    let picky = Vendor::with(&uri, ["picky"], &picky);
    let amqp = Amqp::connect(&uri);
    amqp.declare_exchange("dead", lapin::ExchangeKind::Fanout);
    amqp.declare_queue("dead", &[]);
    amqp.bind("dead", "dead", "");
    amqp.declare_queue("late", &[]);
    amqp.declare_queue("picky", &[("x-dead-letter-exchange", lapin::types::AMQPValue::LongString("dead".into()))]);

    let event = event("Indkaldelse").cpr("0101901234").authority("kommune", "860").period("2026-03-16", None).content(json!({}));
    assert_eq!(event.routing_key(), "kontaktforloeb.indkaldelse.oprettet");
    amqp.publish("", "late", event.body());
    let got = vendor.wait_for(1, SOON);
    assert_eq!(got[0].field("Personnummer"), "0101901234");
    assert_eq!((got[0].delivery_mode, got[0].queue.as_str()), (Some(2), "late"));

    amqp.publish("", "picky", "good");
    amqp.publish("", "picky", "bad");
    picky.wait_for(2, SOON);
    until(SOON, "the refused message is dead-lettered", || amqp.depth("dead") == Some(1));
    assert_eq!(amqp.take_all("dead")[0].body, b"bad");
}

#[test]
fn a_vendor_whose_consumer_is_lost_without_a_word_consumes_anew() {
    let node = shared_node();
    let uri = node.vhost("unheard");
    let amqp = Amqp::connect(&uri);
    amqp.declare_queue("q", &[]);
    let vendor = Vendor::consume(&uri, "q");
    amqp.publish("", "q", "one");
    vendor.wait_for(1, SOON);

    // It learns of the queue's end once there is another one of that name.
    node.suspend_consumer(&uri, "q");
    amqp.delete_queue("q");
    amqp.declare_queue("q", &[]);
    node.resume_consumer(&uri, "q");
    amqp.publish("", "q", "two");
    assert_eq!(vendor.wait_for(2, SOON)[1].body, b"two");
    until(SOON, "nothing is left", || node.held(&uri, "q") == 0);
}

#[test]
fn a_proxy_cuts_refuses_and_stalls() {
    let node = shared_node();
    let uri = node.vhost("proxy");
    let proxy = Proxy::start(node.port());
    let direct = Amqp::connect(&uri);
    direct.declare_queue("q", &[]);
    let vendor = Vendor::consume(&proxy.uri(&uri), "q");
    let arrives = |body: &[u8]| {
        vendor.wait_until(SOON, "the message", |messages| messages.iter().any(|message| message.body == body));
    };
    direct.publish("", "q", "1");
    arrives(b"1");

    proxy.cut();
    direct.publish("", "q", "2");
    arrives(b"2");

    proxy.refuse();
    direct.publish("", "q", "3");
    // At least: an acknowledgement that was under way has been cut off too.
    until(SOON, "message 3 waits, for nobody can consume", || direct.depth("q") >= Some(1));
    proxy.resume();
    arrives(b"3");

    drop(vendor);
    // The client's bytes pass, the answers do not: what is published arrives,
    // though its publisher never learns of it.
    let publisher = Amqp::connect(&proxy.uri(&uri));
    publisher.publish("", "q", "4");
    proxy.stall_replies();
    let unconfirmed = std::thread::spawn(move || publisher.try_publish("", "q", "5"));
    until(SOON, "message 5 arrives", || direct.take_all("q").iter().any(|message| message.body == b"5"));
    proxy.cut();
    assert!(unconfirmed.join().unwrap().is_err());
    proxy.resume();
    Amqp::connect(&proxy.uri(&uri)).publish("", "q", "6");
}

#[tokio::test]
async fn the_rig_may_be_used_from_within_a_runtime() {
    let uri = shared_node().vhost("runtime");
    let amqp = Amqp::connect(&uri);
    amqp.declare_queue("q", &[]);
    amqp.publish_all("", (0..1000).map(|n| ("q".to_owned(), format!("{n}").into_bytes())));
    let vendor = Vendor::consume(&uri, "q");
    let bodies: Vec<_> = vendor.wait_for(1000, SOON).into_iter().map(|message| String::from_utf8(message.body).unwrap()).collect();
    assert_eq!(bodies, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn metrics_are_read_with_labels() {
    let metrics = Metrics::parse(
        "# HELP wsb_x x\nwsb_x{entity=\"Plan\",outcome=\"a \\\"b\\\", {c}\"} 2\nwsb_x{entity=\"Frist\",outcome=\"r\"} 3\nwsb_up 1\nwsb_h_bucket{le=\"+Inf\"} 7\n",
    );
    assert_eq!(metrics.sum("wsb_x", &[]).to_string(), "5");
    assert_eq!(metrics.sum("wsb_x", &[("entity", "Plan")]).to_string(), "2");
    assert_eq!(metrics.sum("wsb_up", &[]).to_string(), "1");
    assert_eq!(metrics.series("wsb_h_bucket").count(), 1);
}

#[test]
fn events_about_one_period_share_its_external_id() {
    let first = membership("0101901234", "067", "2026-01-01", None);
    let recall = membership("0101901234", "067", "2026-01-01", None).deleted();
    assert_eq!(first.record_id(), recall.record_id());
    assert_ne!(first.event_id(), recall.event_id());
    assert_eq!(recall.routing_key(), "tilknytning.akassemedlemskab.slettet");
    assert_eq!(first.json()["data"]["Indhold"]["Akassekode"], "067");
}
