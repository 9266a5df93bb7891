//! A change of membership overtakes everything that waits (R 2.10, rule 3).

use std::time::{Duration, Instant};

use crate::rig::{Event, Vendor, event, external_id, jobcenter, membership, until};
use crate::world::{FEW, LIMIT, Routing, World, about, cpr, enroll, queue, size};

/// Ends memberships one after the other, and returns how long each took until
/// it was seen to hold.
fn end_memberships(world: &World, fund: &Vendor, people: std::ops::Range<usize>) -> Vec<Duration> {
    let end = |person: usize| {
        let end = membership(&cpr(person), "067", "2020-01-01", Some("2024-12-31")).updated().at("2026-03-17T08:00:00+01:00");
        let began = Instant::now();
        world.publish([&end]);
        // The fund is told of the end when the end has been taken in; from then
        // on every decision goes by it.
        fund.wait_until(LIMIT, "the end takes effect", |messages| {
            messages.iter().rev().any(|message| message.correlation_id == end.event_id())
        });
        began.elapsed()
    };
    people.map(end).collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn a_membership_end_overtakes_a_backlog() {
    let backlog = size("WSB_TEST_BACKLOG", 100_000);
    // More than all that is about to come.
    let mut world = World::running("backlog", &Routing::only(&["akasse:067", "kommune:860"]).window(1_000_000));
    let known: Vec<Event> =
        (0..200).flat_map(|n| [membership(&cpr(n), "067", "2020-01-01", None), jobcenter(&cpr(n), "86001", "2020-01-01", None)]).collect();
    world.tell(&known);
    world.amqp.purge(&queue("akasse:067"));
    world.amqp.purge(&queue("kommune:860"));
    let fund = Vendor::consume(&world.uri, &queue("akasse:067"));
    let unhurried = median(end_memberships(&world, &fund, 0..7));
    assert!(world.broker.terminate().success());

    // One in ten is told to somebody; the others are recorded only. At the very
    // end, news about those whose membership is about to end.
    let waiting = (0..backlog).map(|n| match n % 10 {
        0 => event("Tilmelding").cpr(&cpr(100 + n / 10 % 100)).message(),
        _ => event("Dialogbesked").cpr(&cpr(100 + n % 100)).message(),
    });
    world.amqp.publish_all("dfdg.events", waiting);
    let late: Vec<Event> = (10..17).map(|person| event("FagprofessionelKontakt").cpr(&cpr(person))).collect();
    world.publish(&late);

    world.broker.start_again();
    until(LIMIT, "the backlog is being worked off", || world.consumed() > 0);
    let left = |world: &World| world.amqp.depth("wsb.intake.events").unwrap_or_default();
    let began = left(&world);
    let times = end_memberships(&world, &fund, 10..17);
    let still = left(&world);
    let hurried = median(times.clone());
    println!("alone {unhurried:?}; with {began} to {still} others waiting {hurried:?} (each: {times:?})");
    assert!(still > 0, "the backlog was drained before the changes could be measured; began with {began}");
    // Had it waited its turn, it would have taken as long as the backlog.
    let done = f64::from(began - still).max(1.0);
    let drain = times.iter().sum::<Duration>().mul_f64(f64::from(still) / done);
    assert!(hurried * 20 < drain, "{hurried:?}, where the backlog takes {drain:?} more");
    let bound = unhurried.max(Duration::from_millis(50)) * 40;
    assert!(hurried < bound, "{hurried:?} with a backlog, {unhurried:?} without");

    until(LIMIT * 4, "the backlog is worked off", || world.consumed() == backlog + 14);
    world.idle();
    let kommune = world.take("kommune:860");
    let told: Vec<&str> = about(&kommune).into_iter().filter(|id| late.iter().any(|event| event.event_id() == *id)).collect();
    assert_eq!(told.len(), late.len(), "the kommune is told of all of them");
    let prevented = world.count("wsb_deliveries_suppressed_total", &[("entity", "FagprofessionelKontakt"), ("reason", "not_member")]);
    assert_eq!(prevented, late.len());
    let last = event("Tilmelding").cpr(&cpr(100));
    world.publish([&last]);
    let got = fund
        .wait_until(LIMIT, "the last message", |messages| messages.iter().rev().any(|message| message.correlation_id == last.event_id()));
    let wrong = got.iter().filter(|message| message.kind == "FagprofessionelKontakt").count();
    assert_eq!(wrong, 0, "the former fund was told of somebody who had left");
}

/// While the broker is away both queues fill up, and RabbitMQ keeps no order between them.
/// What changes who may receive is taken in first: a fund that was left hears nothing, the new one everything.
#[test]
fn memberships_that_lie_waiting_come_before_what_they_decide() {
    let mut world = World::running("first-things-first", &Routing::only(&["akasse:067", "akasse:053"]).window(1_000_000));
    // More than RabbitMQ hands out at once, and news about those whose change comes last.
    let (rounds, many, last) = (2, 1500, 300);
    let known: Vec<Event> = (0..rounds * many).map(|n| membership(&cpr(n), "067", "2020-01-01", None)).collect();
    world.tell(&known);
    world.amqp.purge(&queue("akasse:067"));
    for round in 0..rounds {
        world.broker.kill9();
        let citizens = || (round * many..(round + 1) * many).map(cpr);
        let moved: Vec<Event> = citizens().map(|cpr| membership(&cpr, "053", "2021-01-01", None)).collect();
        let told: Vec<Event> = citizens().skip(many - last).map(|cpr| event("FagprofessionelKontakt").cpr(&cpr)).collect();
        world.publish(&moved);
        world.publish(&told);
        world.broker.start_again();
        until(LIMIT, "all is taken in", || world.consumed() == many + last);
        world.idle();
        let contacts =
            |recipient: &str| world.take(recipient).into_iter().filter(|message| message.kind == "FagprofessionelKontakt").count();
        assert_eq!((contacts("akasse:067"), contacts("akasse:053")), (0, last), "round {round}");
    }
}

/// What waits in the store is decided about again when it can be sent: after all that lies in
/// RabbitMQ by then, however much that is.
#[test]
fn memberships_that_lie_waiting_come_before_what_waits_in_the_store() {
    let world = World::running("second-things-second", &Routing::only(&["akasse:067", "akasse:053"]).window(1_000_000));
    let (many, unrelated) = (200, size("WSB_TEST_UNRELATED", 20_000));
    let known: Vec<Event> = (0..many).map(|n| membership(&cpr(n), "067", "2020-01-01", None)).collect();
    world.tell(&known);
    world.amqp.purge(&queue("akasse:067"));
    world.broker.cli_ok(&["recipients", "pause", "akasse:067", "--why", "a test"]);
    let told: Vec<Event> = (0..many).map(|n| event("FagprofessionelKontakt").cpr(&cpr(n))).collect();
    world.publish(&told);
    until(LIMIT, "they wait", || world.recipient("akasse:067")["pending"] == many);

    world.broker.freeze();
    let others = (0..unrelated).map(|n| membership(&cpr(1000 + n % 1000), "053", "2021-01-01", None).message());
    world.amqp.publish_all("dfdg.events", others);
    let moved: Vec<Event> = (0..many).map(|n| membership(&cpr(n), "053", "2021-01-01", None)).collect();
    world.publish(&moved);
    world.broker.thaw();
    world.broker.cli_ok(&["recipients", "resume", "akasse:067"]);
    let left = world.amqp.depth("wsb.intake.tilknytning").unwrap_or_default();
    until(LIMIT * 2, "all is taken in", || world.consumed() == 3 * many + unrelated);
    world.idle();
    let contacts = |recipient: &str| world.take(recipient).into_iter().filter(|message| message.kind == "FagprofessionelKontakt").count();
    assert_eq!((contacts("akasse:067"), contacts("akasse:053")), (0, many), "{left} were left as the pause ended");
}

/// However much waits about one citizen and however often that one changes, the others
/// are decided about all the same.
#[test]
fn a_citizen_with_thousands_of_memberships_holds_up_nobody() {
    let memberships = size("WSB_TEST_MEMBERSHIPS", 1000);
    let world = World::running("many-memberships", &Routing::few());
    world.tell(enroll(&cpr(2), "083", "10100", "101").iter());
    world.empty(&FEW);
    world.broker.cli_ok(&["recipients", "pause", "akasse:067", "--why", "a test"]);
    let all: Vec<Event> = (0..memberships)
        .map(|n| membership(&cpr(1), ["067", "053"][n % 2], "2020-01-01", None).external(&external_id(&format!("membership-{n}"))))
        .collect();
    let recalls: Vec<Event> = all.iter().map(|event| event.clone().again().deleted().at("2026-03-18T08:00:00+01:00")).collect();
    let mut consumed = world.consumed();
    for changes in [&all, &recalls] {
        world.publish(changes);
        consumed += changes.len();
        let (mut slowest, began) = (Duration::ZERO, Instant::now());
        until(LIMIT * 2, "all of them are taken in", || {
            let asked = Instant::now();
            let metrics = world.broker.metrics();
            slowest = slowest.max(asked.elapsed());
            metrics.sum("wsb_events_consumed_total", &[]) >= consumed as f64
        });
        println!("{} changes of one citizen in {:?}; the slowest answer took {slowest:?}", changes.len(), began.elapsed());
        // Whoever asks the writer gives up after 5 s.
        assert!(slowest < Duration::from_secs(4), "{slowest:?}");
        let other = event("Tilmelding").cpr(&cpr(2));
        world.publish([&other]);
        consumed += 1;
        until(LIMIT, "another citizen's fund is told", || world.depth("akasse:083") == Some(1));
        assert_eq!(about(&world.take("akasse:083")), [other.event_id()]);
    }
    let waiting = world.recipient("akasse:067");
    assert_eq!(waiting["pending"], recalls.iter().step_by(2).count(), "only the recalls are told: {waiting}");
}
