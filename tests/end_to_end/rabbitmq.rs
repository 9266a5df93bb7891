//! RabbitMQ goes away, comes back, hangs, and runs out of memory.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::load;
use crate::rig::{Amqp, Event, Node, Proxy, Vendor, event, shared_node, until};
use crate::world::{FEW, LIMIT, Routing, World, cpr, enroll, ids, queue};

/// Waits until readiness has this status and names all of these.
#[track_caller]
fn readiness(world: &World, status: u16, named: &[&str]) {
    let mut last = None;
    until(LIMIT, &format!("readyz says {status}, {named:?}"), || {
        last = world.broker.readyz();
        last.as_ref().is_some_and(|(code, text)| *code == status && named.iter().all(|name| text.contains(name)))
    });
}

#[test]
fn restarts_of_rabbitmq_lose_nothing() {
    let node = Node::start();
    let uri = node.vhost("restart");
    let mut world = World::at(&uri, &Routing::few(), |options| options);
    world.broker.start_again();
    let uri = world.uri.clone();
    load::run(&mut world, &uri, 0, |world, progress| {
        // All of the load must lie in the queues, for nobody can publish while
        // RabbitMQ is away.
        progress.published();
        for (share, kill) in [(0.1, false), (0.3, true)] {
            progress.arrived(share);
            if kill {
                node.kill()
            } else {
                node.stop()
            }
            readiness(world, 503, &["consuming", "publishing", "cannot reach RabbitMQ"]);
            assert_eq!(world.count("wsb_amqp_connected", &[]), 0);
            node.restart();
            readiness(world, 200, &[]);
            assert_eq!(world.count("wsb_amqp_connected", &[]), 1);
        }
    });
    world.amqp = Amqp::connect(&uri);
    memory_alarm(&node, &mut world);
}

/// With an alarm RabbitMQ hands out messages and takes none.
fn memory_alarm(node: &Node, world: &mut World) {
    assert!(world.broker.terminate().success());
    let events: Vec<Event> = (0..20).map(|n| event("Tilmelding").cpr(&cpr(n))).collect();
    world.publish(&events);
    let vendor = Vendor::consume(&world.uri, &queue("kommune:860"));
    node.ctl(&["set_vm_memory_high_watermark", "0.0001"]);
    world.broker.spawn_again();
    readiness(world, 503, &["publishing", "blocked"]);
    node.ctl(&["set_vm_memory_high_watermark", "0.8"]);
    readiness(world, 200, &[]);
    vendor.wait_for(20, LIMIT);
    world.idle();
    let got: BTreeSet<String> = vendor.messages().into_iter().map(|message| message.correlation_id).collect();
    assert_eq!(got, ids(&events).into_iter().map(str::to_owned).collect());
}

#[test]
fn a_bad_network_loses_nothing() {
    let direct = shared_node().vhost("network");
    let proxy = Proxy::start(shared_node().port());
    let through = format!("{}?heartbeat=2", proxy.uri(&direct));
    let mut world = World::at(&through, &Routing::few(), |options| options);
    world.amqp = Amqp::connect(&direct);
    world.broker.start_again();
    load::run(&mut world, &direct, 2, |world, progress| {
        for share in [0.1, 0.25] {
            progress.arrived(share);
            proxy.cut();
        }
        // What is under way arrives, and the broker learns nothing but that no
        // heartbeat comes.
        progress.arrived(0.4);
        proxy.stall_replies();
        readiness(world, 503, &["consuming", "publishing"]);
        proxy.cut();
        proxy.resume();
        progress.arrived(0.5);
        proxy.refuse();
        readiness(world, 503, &["consuming", "publishing"]);
        proxy.resume();
        readiness(world, 200, &[]);
        // Nothing passes, and nothing says so but the missing heartbeats.
        progress.arrived(0.7);
        proxy.stall();
        readiness(world, 503, &["consuming", "publishing"]);
        proxy.resume();
        readiness(world, 200, &[]);
    });
}

/// RabbitMQ neither answers nor ends the connection: what is asked of a process that
/// is to go is bounded all the same, and loses nothing.
#[test]
fn a_shutdown_does_not_wait_for_a_silent_rabbitmq() {
    let direct = shared_node().vhost("shutdown-silent");
    let proxy = Proxy::start(shared_node().port());
    let through = proxy.uri(&direct);
    let mut world = World::at(&through, &Routing::few(), |options| options.env("WSB_SHUTDOWN_SECONDS", "2"));
    world.broker.start_again();
    let amqp = Amqp::connect(&direct);
    let known = enroll(&cpr(1), "067", "86001", "101");
    amqp.publish_all("dfdg.events", known.iter().map(Event::message).collect::<Vec<_>>());
    until(LIMIT, "they are taken in", || world.consumed() == 3);
    proxy.stall();
    let asked = Instant::now();
    assert!(world.broker.terminate().success());
    // Two seconds for what is under way, three for the goodbye, and some to write.
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?}", asked.elapsed());
    proxy.resume();
    world.broker.start_again();
    let events = [event("Tilmelding").cpr(&cpr(1))];
    amqp.publish_all("dfdg.events", events.iter().map(Event::message).collect::<Vec<_>>());
    until(LIMIT, "it goes on where it was", || amqp.depth(&queue("akasse:067")).unwrap_or(0) > 0);
}

#[test]
fn deleted_intake_queues_and_exchanges_come_back() {
    let world = World::running("intake-deleted", &Routing::few().retry(20, 200, 3600));
    world.tell(&enroll(&cpr(1), "067", "86001", "101"));
    world.empty(&FEW);
    world.amqp.delete_queue("wsb.intake.events");
    until(LIMIT, "the queue is declared again", || world.amqp.depth("wsb.intake.events").is_some());
    readiness(&world, 200, &[]);
    let events = [event("Tilmelding").cpr(&cpr(1))];
    world.tell(&events);
    assert_eq!(crate::world::about(&world.take("akasse:067")), ids(&events));

    // What is published to an exchange without bindings is gone, and RabbitMQ says so to
    // nobody who does not ask: both ways there mend themselves.
    let (key, body) = event("Tilmelding").cpr(&cpr(1)).message();
    let arrives = || world.amqp.try_publish("dfdg.events", &key, body.clone()).is_ok();
    world.amqp.unbind("wsb.intake.events", "dfdg.events", "kontaktforloeb.#");
    assert!(!arrives());
    until(LIMIT, "the binding is made again", arrives);
    world.amqp.delete_exchange("dfdg.events");
    until(LIMIT, "the exchange is declared again", arrives);
    world.broker.wait_log("no exchange 'dfdg.events'", LIMIT);
    readiness(&world, 200, &[]);
}
