//! Stores with millions of retention clocks, written through the store as the
//! writer would, only in larger groups.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use wsb_broker::config::{Sources, load_rules};
use wsb_broker::core::citizen::Citizen;
use wsb_broker::core::event::{Change as Happened, Content, Details, Event, Registered};
use wsb_broker::core::ids::{EventMark, ExternalId, Personnummer};
use wsb_broker::core::policy::Rules;
use wsb_broker::core::records::{Change, Records};
use wsb_broker::core::retention::Clocks;
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::store::{Durability, Options, Store};

use crate::Done;

/// Records of each citizen, none of them due for years.
pub const KEPT: [&str; 5] = ["Fravaer", "Tilmelding", "Samtale", "Joblog", "Helbredsbegraensning"];
/// Citizens in a group.
const GROUP: usize = 500;

/// Returns the time.
pub fn now() -> Moment {
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Moment(i64::try_from(age.as_micros()).unwrap_or_default())
}

/// Returns the rules that are shipped.
pub fn shipped() -> Result<Rules, Box<dyn Error>> {
    let routing = Path::new(env!("CARGO_MANIFEST_DIR")).join("routing.toml");
    Ok(load_rules(&Sources { routing, retention: None })?)
}

/// Returns a made-up number; those of the ordinary traffic are others.
pub fn number(at: usize) -> Result<Personnummer, Box<dyn Error>> {
    let (day, month) = (at % 28 + 1, at / 28 % 11 + 2);
    Ok(Personnummer::parse(&format!("{day:02}{month:02}{:06}", at / (28 * 11)))?)
}

/// Fills a store: directory, citizens, how many citizens have records that are
/// due, and how many each of those has.
pub fn seed(of: &[String]) -> Done {
    let [directory, citizens, with_due, due_each] = of else { return Err("directory, citizens, with due, due each".into()) };
    let (citizens, with_due, due_each): (usize, usize, usize) = (citizens.parse()?, with_due.parse()?, due_each.parse()?);
    let rules = shipped()?;
    let mut store = Store::open(&Options::new(directory))?;
    let now = now();
    let today = Day::in_copenhagen(now);
    for first in (0..citizens).step_by(GROUP) {
        for at in first..(first + GROUP).min(citizens) {
            let number = number(at)?;
            let id = store.enroll(&number)?;
            let citizen = Citizen::new(id, number);
            let mut clocks = Clocks::new(id);
            // Evenly among all.
            let is_chosen = at * with_due / citizens != (at + 1) * with_due / citizens;
            let due = if is_chosen { due_each } else { 0 };
            for (place, entity) in KEPT.into_iter().enumerate() {
                let years = if place < due { 7 } else { 1 + at % 4 };
                record(&mut clocks, entity, at, place, number, before(today, years, at), now)?;
            }
            for place in KEPT.len()..due {
                record(&mut clocks, "Fravaer", at, place, number, before(today, 7, at), now)?;
            }
            clocks.settle(&citizen, rules.schedule(), today);
            store.stage(Change::PutClocks(Arc::new(clocks)))?;
        }
        store.commit(Durability::Lazy)?;
        if first.is_multiple_of(GROUP * 64) {
            store.flush()?;
        }
    }
    store.stage(Change::SetIndexed(rules.schedule().fingerprint()))?;
    store.commit(Durability::Flush)?;
    Ok(())
}

/// Returns a day some years and up to two months before `today`.
fn before(today: Day, years: usize, at: usize) -> Day {
    let mut day = today;
    let days = 366 * years + at % 60;
    if let Some(earlier) = Day::from_number(today.number() - days as i32) {
        day = earlier;
    }
    day
}

fn record(clocks: &mut Clocks, entity: &str, at: usize, place: usize, number: Personnummer, ended: Day, now: Moment) -> Done {
    let (source, id) = ("urn:dk:star:dfdg:kontaktforloeb", format!("event-{at}-{place}"));
    let registered = ended.begins();
    let event = Event {
        mark: EventMark::of(source, &id),
        source: source.into(),
        id: id.into(),
        entity: entity.into(),
        change: Happened::Created,
        registered: Registered { at: registered, text: registered.to_string().into() },
        external_id: ExternalId::parse(&external_id(at, place))?,
        version_id: None,
        personnummer: number,
        registrar: None,
        start: Day::from_number(ended.number() - 90),
        end: Some(ended),
        content: Content::Other,
        details: None,
        body: None,
    };
    clocks.record(&event, clocks.citizen, Details::default(), now);
    Ok(())
}

/// Returns a record's id, as scattered as a real one.
pub fn external_id(at: usize, place: usize) -> String {
    let mixed = ((at as u64) << 8 | place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", mixed >> 32, mixed & 0xffff, mixed >> 20 & 0xfff, place & 0xfff, at)
}
