//! What an ordinary event costs the store: CPU time and memory, with sled's own
//! threads included.
//!
//! `cargo run --release --example store_cost -- [events] [citizens] [group]`

use std::sync::Arc;
use std::time::Instant;

use wsb_broker::core::event::{Change as Happened, Content, Event, Registered};
use wsb_broker::core::ids::{DeliveryKey, EventMark, EventSeq, ExternalId, Personnummer, Recipient};
use wsb_broker::core::outbox::{Because, Delivery, End, State};
use wsb_broker::core::policy::{Audience, Audiences, Domain};
use wsb_broker::core::records::{Admission, Change, Records};
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::store::{Durability, Options, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let argument = |at: usize, default| arguments.get(at).copied().unwrap_or(default);
    let (events, citizens, group) = (argument(0, 300_000), argument(1, 100_000), argument(2, 100));
    let dir = std::env::temp_dir().join(format!("store-cost-{}", std::process::id()));
    let options = Options::new(dir.join("data"));
    std::fs::create_dir_all(&dir)?;
    let mut store = Store::open(&options)?;
    let numbers: Vec<Personnummer> = (0..citizens).filter_map(number).collect();

    let mut meter = Meter::start();
    for some in numbers.chunks(1000) {
        for number in some {
            store.enroll(number)?;
        }
        store.commit(Durability::Flush)?;
    }
    meter.lap("new citizens", citizens, &store)?;

    // The events are made ahead: making them is not the store's work.
    let mut seq = 0;
    let mut finishing: Vec<(u64, Arc<Event>)> = Vec::new();
    let mut ahead = Vec::new().into_iter();
    while seq < events {
        if ahead.len() == 0 {
            meter.pause();
            let made: Vec<Event> = (seq..(seq + 100 * group).min(events)).filter_map(|at| event(at, &numbers)).collect();
            ahead = made.into_iter();
            meter.resume();
        }
        let made: Vec<Event> = ahead.by_ref().take(group as usize).collect();
        let finished = std::mem::take(&mut finishing);
        for event in made {
            seq += 1;
            if store.has_seen(&event.mark)? {
                return Err("an event was seen before".into());
            }
            let citizen = store.find_citizen(&event.personnummer)?.ok_or("a citizen is missing")?;
            store.citizen(citizen)?.ok_or("a record is missing")?;
            let event = Arc::new(event);
            finishing.push((seq, Arc::clone(&event)));
            let deliveries = vec![(recipient(seq), because()?)];
            let at = Moment(1_790_000_000_000_000 + seq as i64);
            let domain = Domain::Kontaktforloeb;
            let admission = Admission { seq: EventSeq(seq), citizen, event, domain, at, deliveries, left_out: Vec::new() };
            store.stage(Change::Admit(Arc::new(admission)))?;
        }
        for (seq, event) in finished {
            let citizen = store.find_citizen(&event.personnummer)?.ok_or("a citizen is missing")?;
            let key = DeliveryKey { recipient: recipient(seq), seq: EventSeq(seq) };
            let at = Moment(1_790_000_000_100_000 + seq as i64);
            store.stage(Change::Finish { key, citizen, event, had_row: false, end: End::Delivered, attempts: 1, may_hold: true, at })?;
        }
        store.stage(Change::SetLowWater(EventSeq((seq + 1).saturating_sub(group))))?;
        store.commit(Durability::Flush)?;
    }
    meter.lap("ordinary events", events, &store)?;

    let rows = (events / 10).max(1);
    for at in 0..rows {
        let event = Arc::new(event(at, &numbers).ok_or("no event")?);
        let citizen = store.find_citizen(&event.personnummer)?.ok_or("a citizen is missing")?;
        let key = DeliveryKey { recipient: recipient(at), seq: EventSeq(at + 1) };
        let first_at = Moment(1_790_000_000_000_000);
        store.stage(Change::PutDelivery(Delivery {
            key,
            citizen,
            event,
            domain: Domain::Kontaktforloeb,
            because: because()?,
            first_at,
            attempts: 0,
            failures: Vec::new(),
            replays: 0,
            delivered_before: None,
            state: State::Pending,
        }))?;
        if at % group == 0 {
            store.commit(Durability::Flush)?;
        }
    }
    store.commit(Durability::Flush)?;
    meter.lap("rows of deliveries", rows, &store)?;
    drop(store);
    let begun = Instant::now();
    let before = cpu_seconds();
    let mut store = Store::open(&options)?;
    println!("opened in {:.2} s ({:.2} s CPU), {:?}", begun.elapsed().as_secs_f64(), cpu_seconds() - before, store.counts());
    println!("{} rows", store.row_counts()?.iter().map(|(_, counts)| counts.pending).sum::<u64>());
    drop(store);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

fn number(at: u64) -> Option<Personnummer> {
    Personnummer::parse(&format!("{:02}{:02}{:06}", at % 28 + 1, at / 28 % 12 + 1, at / 336)).ok()
}

fn recipient(seq: u64) -> Recipient {
    let number = seq % 119;
    Recipient::from_number(if number < 21 { number as u16 } else { 0x1000 + number as u16 }).expect("numbers below 1000 are recipients")
}

fn because() -> Result<Because, Box<dyn std::error::Error>> {
    let id = ExternalId::parse("7c7c0d10-3f3e-4d8e-8a0a-0c5c3c1d2e3f")?;
    let registration = Some((id, Moment(1_780_000_000_000_000)));
    Ok(Because { audience: Audience::AkasseOwnMembers, also: Audiences::default(), registration, day: Day::parse("2026-09-21")? })
}

fn event(at: u64, numbers: &[Personnummer]) -> Option<Event> {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (source, id) = ("urn:dk:star:dfdg:kontaktforloeb", format!("{mixed:08x}-0000-4000-8000-{at:012x}").split_off(8));
    let id = format!("{:08x}{id}", mixed >> 32);
    let external_id = format!("{:08x}-1111-4111-8111-{:012x}", mixed as u32, at % 50_000);
    Some(Event {
        mark: EventMark::of(source, &id),
        source: source.into(),
        id: id.into(),
        entity: "Kontaktperson".into(),
        change: Happened::Updated,
        registered: Registered { at: Moment(1_790_000_000_000_000), text: "2026-09-21T14:13:20.123+02:00".into() },
        external_id: ExternalId::parse(&external_id).ok()?,
        version_id: Some(external_id.into()),
        personnummer: *numbers.get((mixed >> 20) as usize % numbers.len())?,
        registrar: None,
        start: Day::parse("2026-09-21").ok(),
        end: None,
        content: Content::Other,
        details: None,
        body: None,
    })
}

/// Measures what passes between laps.
struct Meter {
    begun: Instant,
    cpu: f64,
    used: (f64, f64),
}

impl Meter {
    fn start() -> Self {
        Self { begun: Instant::now(), cpu: cpu_seconds(), used: (0.0, 0.0) }
    }

    fn pause(&mut self) {
        self.used.0 += cpu_seconds() - self.cpu;
        self.used.1 += self.begun.elapsed().as_secs_f64();
    }

    fn resume(&mut self) {
        (self.cpu, self.begun) = (cpu_seconds(), Instant::now());
    }

    fn lap(&mut self, what: &str, times: u64, store: &Store) -> Result<(), Box<dyn std::error::Error>> {
        self.pause();
        let (cpu, wall) = self.used;
        println!(
            "{what}: {:.2} us CPU each, {:.0}/s, resident {} MiB, on disk {} MiB",
            cpu * 1e6 / times as f64,
            times as f64 / wall,
            status("VmRSS:") / 1024,
            store.size_on_disk()? >> 20
        );
        *self = Self::start();
        Ok(())
    }
}

/// Returns the CPU seconds that all threads of the process have used.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.filter_map(nanoseconds).sum::<f64>() / 1e9
}

/// Returns a number of kibibytes from the status of the process.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}
