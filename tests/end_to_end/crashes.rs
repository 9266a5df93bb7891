//! The broker dies, or is asked to stop, in the middle of things.

use std::time::{Duration, Instant};

use crate::load;
use crate::world::{Routing, World, size};

#[test]
fn kill_9_at_any_moment_loses_nothing() {
    let mut world = World::running("kill", &Routing::few());
    let uri = world.uri.clone();
    let kills = size("WSB_TEST_KILLS", 9);
    load::run_with_rejections(&mut world, &uri, 5, |world, progress| {
        for kill in 1..=kills {
            progress.arrived(kill as f64 / (kills + 1) as f64);
            world.broker.kill9();
            if kill % 3 == 0 {
                // Once more while it starts, wherever it has got to.
                world.broker.spawn_again();
                world.broker.kill9();
            }
            world.broker.start_again();
        }
    });
}

#[test]
fn a_stop_in_the_middle_of_load_is_clean() {
    let mut world = World::running("stop", &Routing::few());
    let uri = world.uri.clone();
    let outcome = load::run(&mut world, &uri, 2, |world, progress| {
        for (share, signal) in [(0.15, "TERM"), (0.3, "INT"), (0.45, "TERM"), (0.6, "INT")] {
            progress.arrived(share);
            let asked = Instant::now();
            world.broker.signal(signal);
            let status = world.broker.wait_exit(Duration::from_secs(40));
            assert_eq!(status.code(), Some(0), "SIG{signal}: {}", world.broker.log());
            assert!(asked.elapsed() < Duration::from_secs(20), "SIG{signal} took {:?}", asked.elapsed());
            world.broker.start_again();
        }
    });
    // What was under way was finished, so there was no reason to send it again.
    assert_eq!(outcome.repeats, 0, "messages came again after a stop in good order");
}
