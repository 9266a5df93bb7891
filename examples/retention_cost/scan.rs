//! The scan of what is due, of two stores that differ in how many clocks they
//! have, and not in how many are due.

use std::sync::Arc;
use std::time::Instant;

use wsb_broker::core::engine::{Engine, Limits, Output};
use wsb_broker::core::policy::Rules;
use wsb_broker::core::records::Records;
use wsb_broker::core::retention::{Standing, View};
use wsb_broker::core::retry::Outcome;
use wsb_broker::core::schedule::{Pace, Schedule};
use wsb_broker::core::time::Day;
use wsb_broker::store::{Durability, Options, Store};

use crate::seed::{self, KEPT};
use crate::{Arguments, Done, Meter, in_child, resident_mib, room};

/// How often each store is scanned, in turns.
const TURNS: usize = 3;

/// Seeds both, scans them in turns, and compares.
pub fn compare(arguments: &Arguments) -> Done {
    let room = room()?;
    println!("## The scan of what is due: {} due of {} and of {} clocks\n", arguments.due, arguments.clocks / 10, arguments.clocks);
    let stores: Vec<(usize, String)> = [arguments.clocks / 10, arguments.clocks]
        .into_iter()
        .map(|clocks| (clocks, room.path().join(clocks.to_string()).join("data").display().to_string()))
        .collect();
    for (clocks, data) in &stores {
        let began = Instant::now();
        let citizens = clocks / KEPT.len();
        in_child("seed", &[data.clone(), citizens.to_string(), arguments.due.min(citizens).to_string(), "1".to_owned()])?;
        println!("{clocks} clocks of {citizens} citizens written in {:.0} s", began.elapsed().as_secs_f64());
    }
    println!("\n  clocks | what  | opened: s, CPU s, MiB  | done: s, CPU s, MiB    | due, citizens looked at");
    let mut best: Vec<[f64; 3]> = vec![[f64::MAX; 3]; stores.len()];
    for turn in 0..TURNS {
        for (at, (clocks, data)) in stores.iter().enumerate() {
            let ways = if turn + 1 == TURNS { &["index", "find", "list", "order"][..] } else { &["index", "find", "list"] };
            for way in ways {
                let said = in_child("scan", &[data.clone(), (*way).to_owned()])?;
                print!("{clocks:>8} | {way:<5} | {said}");
                let cpu = said.split('|').nth(1).and_then(|part| part.split(',').nth(1)?.trim().parse().ok());
                let measured = ["index", "find", "list"].iter().position(|measured| measured == way);
                if let (Some(measured), Some(cpu)) = (measured, cpu) {
                    best[at][measured] = best[at][measured].min(cpu);
                }
            }
        }
    }
    let [small, large] = &best[..] else { return Err("two stores".into()) };
    println!("\nten times the clocks, the same number due: processor time, the best of {TURNS} each");
    for (at, what) in ["scanning the index of days", "finding what is due", "listing what is due"].into_iter().enumerate() {
        println!("  {what}: {:.2} times as much (wanted: at most 1.3)", large[at] / small[at]);
    }
    println!();
    Ok(())
}

/// Opens a store and finds what is due, as the broker does in a night; or only whom to look
/// at; or lists it, as `retention due` does; or finds it and has it ordered.
pub fn scan(of: &[String]) -> Done {
    let [directory, way] = of else { return Err("directory and what to do".into()) };
    let shipped = seed::shipped()?;
    let today = Day::in_copenhagen(seed::now());
    let meter = Meter::start();
    let mut store = Store::open(&Options::new(directory))?;
    let opened = laps(&meter);
    let meter = Meter::start();
    if way == "list" {
        let (mut after, mut listed, mut looked_at) = (None, 0, 0);
        loop {
            let page = wsb_broker::ops::due_page(&mut store, shipped.schedule(), today, after)?;
            listed += page.items.len();
            looked_at += page.citizens;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        println!("{opened} | {} | {listed}, {looked_at}", laps(&meter));
        return Ok(());
    }
    let (mut after, mut due, mut looked_at) = (None, 0, 0);
    loop {
        let page = store.clocks_next(today, after, 128)?;
        for (_, id) in page.iter().filter(|_| way != "index") {
            let (Some(clocks), Some(citizen)) = (store.clocks(*id)?, store.citizen(*id)?) else { continue };
            let view = View { clocks: &clocks, citizen: &citizen, schedule: shipped.schedule() };
            due += view.due(today).iter().filter(|item| item.standing == Standing::Due).count();
        }
        looked_at += page.len();
        after = page.last().copied();
        if page.len() < 128 {
            break;
        }
    }
    println!("{opened} | {} | {due}, {looked_at}", laps(&meter));
    if way == "order" {
        let meter = Meter::start();
        let orders = order(store, &shipped, due)? as f64;
        let (took, cpu) = meter.read();
        println!(
            "         | ordered and confirmed: {:.0}/s, {:.0} us CPU each, {:.0} MiB",
            orders / took,
            cpu * 1e6 / orders,
            resident_mib()
        );
    }
    Ok(())
}

fn laps(meter: &Meter) -> String {
    let (took, cpu) = meter.read();
    format!("{took:>7.2}, {cpu:>8.5}, {:>5.0}", resident_mib())
}

/// Has the engine order everything that is due, each order confirmed at once.
fn order(mut store: Store, shipped: &Rules, due: usize) -> Result<usize, Box<dyn std::error::Error>> {
    let pace = Pace { per_second: u32::MAX, ..shipped.schedule().pace() };
    let rules = shipped.schedule().rules().map(|rule| rule.as_ref().clone()).collect();
    let schedule = Schedule::new(rules, shipped.schedule().pension_ages().clone(), pace);
    let rules = Rules::clone(shipped).with_schedule(Arc::new(schedule));
    let mut engine = Engine::new(Arc::new(rules), Limits::default());
    engine.recover(&mut store)?;
    store.commit(Durability::Flush)?;
    engine.set_connected(true);
    let mut orders = 0;
    while orders < due {
        let mut out = Output::default();
        engine.clockwork(&mut store, seed::now(), &mut out)?;
        store.commit(Durability::Flush)?;
        orders += out.orders.len();
        for order in std::mem::take(&mut out.orders) {
            engine.settle_order(order.token, Outcome::Confirmed, &mut store, seed::now(), &mut out)?;
        }
    }
    store.commit(Durability::Flush)?;
    Ok(orders)
}
