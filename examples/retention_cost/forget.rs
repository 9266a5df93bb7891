//! What forgetting costs: a night has ended the last record of many citizens, and the
//! broker forgets them of its own accord, slice by slice.

use std::path::Path;
use std::sync::Arc;

use wsb_broker::core::citizen::Citizen;
use wsb_broker::core::engine::{Engine, Fact, Limits, Output};
use wsb_broker::core::records::{Change, Records};
use wsb_broker::core::retention::Clocks;
use wsb_broker::core::time::Day;
use wsb_broker::store::{Durability, Options, Store};

use crate::seed::{self, KEPT, number};
use crate::{Arguments, Done, Meter, in_child, resident_mib, room};

/// Seeds a store, empties the clocks of some citizens, and has them forgotten.
pub fn measure(arguments: &Arguments) -> Done {
    let room = room()?;
    let data = room.path().join("data").display().to_string();
    let citizens = arguments.clocks / 10 / KEPT.len();
    let leaving = arguments.due.min(citizens);
    println!("## Forgetting {leaving} of {citizens} citizens whose last record has gone\n");
    in_child("seed", &[data.clone(), citizens.to_string(), "0".to_owned(), "1".to_owned()])?;
    println!("{}", in_child("forget", &[data, leaving.to_string()])?);
    Ok(())
}

/// Empties the clocks of as many, and forgets them: directory and how many.
pub fn forget(of: &[String]) -> Done {
    let [directory, leaving] = of else { return Err("directory and how many".into()) };
    let leaving: usize = leaving.parse()?;
    let shipped = seed::shipped()?;
    let mut store = Store::open(&Options::new(Path::new(directory)))?;
    let now = seed::now();
    let today = Day::in_copenhagen(now);
    for at in 0..leaving {
        let number = number(at)?;
        let Some(id) = store.find_citizen(&number)? else { return Err("a citizen is missing".into()) };
        let mut clocks = Clocks { emptied: true, ..Clocks::new(id) };
        clocks.settle(&Citizen::new(id, number), shipped.schedule(), today);
        store.stage(Change::PutClocks(Arc::new(clocks)))?;
        if at.is_multiple_of(500) {
            store.commit(Durability::Lazy)?;
        }
    }
    store.commit(Durability::Flush)?;
    let mut engine = Engine::new(Arc::new(shipped), Limits::default());
    engine.recover(&mut store)?;
    store.commit(Durability::Flush)?;
    engine.set_connected(true);
    let meter = Meter::start();
    let (mut forgotten, mut slices, mut longest) = (0, 0_u32, 0.0_f64);
    while forgotten < leaving {
        let mut out = Output::default();
        engine.clockwork(&mut store, now, &mut out)?;
        store.commit(Durability::Flush)?;
        let slice = Meter::start();
        engine.forget_unneeded(&mut store, now, &mut out)?;
        store.commit(Durability::Flush)?;
        let found = out.facts.iter().filter(|fact| matches!(fact, Fact::Erased(_))).count();
        if found > 0 {
            slices += 1;
            longest = longest.max(slice.read().0);
        }
        forgotten += found;
    }
    let (took, cpu) = meter.read();
    let each = cpu * 1e6 / forgotten as f64;
    println!(
        "{forgotten} forgotten in {slices} slices at {:.0}/s, {each:.0} us CPU each; the longest slice {:.0} ms; {:.0} MiB",
        forgotten as f64 / took,
        longest * 1e3,
        resident_mib()
    );
    Ok(())
}
