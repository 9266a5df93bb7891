//! What the ledger of who holds what costs on disk: a store that has told 200,000
//! citizens' authorities of their records, settled, and the same store without the
//! rows of the ledger.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wsb_broker::core::event::Event;
use wsb_broker::core::ids::{DeliveryKey, EventSeq, ExternalId, Recipient};
use wsb_broker::core::outbox::{Because, End};
use wsb_broker::core::policy::{Audience, Audiences, Domain};
use wsb_broker::core::records::{Admission, Change, Pruned, Records};
use wsb_broker::core::time::{Day, Moment};
use wsb_broker::store::{Durability, Options, Store, restore};

use crate::seed::{external_id, number};
use crate::{Arguments, Done, in_child, made_up, room};

/// Records of each citizen, 3 and 4 by turns.
const RECORDS: usize = 3;
/// Events about each record: what is told twice is held once.
const TOLD: usize = 2;
/// Events in a group.
const GROUP: usize = 400;
/// What the records are.
const ENTITY: &str = "Fravaer";
/// When all of it happened.
const AT: Moment = Moment(1_790_000_000_000_000);

/// Fills a store, and compares what it takes with and without the ledger.
pub fn compare(arguments: &Arguments) -> Done {
    let room = room()?;
    println!("## The ledger: {} citizens, 3 or 4 records each, 2 or 3 recipients each, told {TOLD} times\n", arguments.citizens);
    let data = room.path().join("told").join("data");
    let said = in_child("fill-ledger", &[data.display().to_string(), arguments.citizens.to_string()])?;
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let &[entries, keys, with_journal, as_rows] = &numbers[..] else { return Err(format!("{said:?}").into()) };
    let backup = PathBuf::from(format!("{}.backup", data.display()));
    let key_file = Options::new(&data).key_file;
    let settled = size_restored(&backup, &room.path().join("settled"), &key_file)?;
    leave_out_ledger(&backup)?;
    let without = size_restored(&backup, &room.path().join("without"), &key_file)?;
    println!("{entries} entries, as {keys} keys, some of them in two runs");
    println!("the store while the journal is there: {with_journal} bytes; settled: {settled}; without the ledger: {without}");
    let each = |bytes: u64| bytes as f64 / entries as f64;
    println!("\nbytes for each (citizen, record, recipient), wanted: under 40");
    println!("  by the difference on disk: {:.1}", each(settled.saturating_sub(without)));
    println!("  rows of the ledger, without what sled adds: {:.1}\n", each(as_rows));
    Ok(())
}

/// Restores a backup, which leaves behind whatever sled had not cleaned up, and
/// returns how large the store is then.
fn size_restored(backup: &Path, to: &Path, key_file: &Path) -> Result<u64, Box<dyn Error>> {
    fs::create_dir_all(to)?;
    let options = Options { key_file: key_file.to_owned(), ..Options::new(to.join("data")) };
    restore(backup, &options, None, |_| {})?;
    let store = Store::open(&options)?;
    Ok(store.size_on_disk()?)
}

/// Takes the rows of the ledger out of a backup.
fn leave_out_ledger(backup: &Path) -> Done {
    let (mut kept, mut records) = (Vec::new(), 0_u64);
    for (key, value) in records_of(&fs::read(backup.join("rows"))?) {
        if !is_of_ledger(key) {
            kept.extend_from_slice(&(key.len() as u16).to_be_bytes());
            kept.extend_from_slice(&(value.len() as u32).to_be_bytes());
            kept.extend_from_slice(key);
            kept.extend_from_slice(value);
            records += 1;
        }
    }
    let hash: String = ring::digest::digest(&ring::digest::SHA256, &kept).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("file rows {records} {} {hash}", kept.len());
    let manifest = fs::read_to_string(backup.join("manifest"))?;
    let lines: Vec<&str> = manifest.lines().map(|old| if old.starts_with("file rows ") { line.as_str() } else { old }).collect();
    fs::write(backup.join("manifest"), lines.join("\n") + "\n")?;
    Ok(fs::write(backup.join("rows"), kept)?)
}

/// Returns the rows of a backup; what was noted meanwhile is nothing here.
fn records_of(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut records = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<6>() {
        let key = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let value = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        records.push((&rest[..key], &rest[key..key + value]));
        bytes = &rest[key + value..];
    }
    records
}

fn is_of_ledger(key: &[u8]) -> bool {
    matches!(key, [b'H' | b'B' | b'R', b'l', ..])
}

/// Fills a store: directory and citizens.
pub fn fill(of: &[String]) -> Done {
    let [directory, citizens] = of else { return Err("directory and citizens".into()) };
    let citizens = citizens.parse::<usize>()?;
    let options = Options::new(directory);
    let mut store = Store::open(&options)?;
    let mut entries = 0_u64;
    let mut ids = Vec::new();
    for at in 0..citizens {
        ids.push(store.enroll(&number(at)?)?);
        if at.is_multiple_of(GROUP) {
            store.commit(Durability::Lazy)?;
        }
    }
    store.commit(Durability::Flush)?;
    let because =
        Because { audience: Audience::AkasseOwnMembers, also: Audiences::default(), registration: None, day: Day::in_copenhagen(AT) };
    let mut seq = 0_u64;
    for round in 0..TOLD {
        // In no order of theirs, as events come.
        for step in 0..citizens * (RECORDS + 1) {
            let mixed = (u128::from((step as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)) * citizens as u128) >> 64;
            let (at, record) = (mixed as usize, (step / 7 + round) % (RECORDS + at_most(mixed as usize)));
            let told = recipients(at, record);
            seq += 1;
            let event = Arc::new(event(at, record, round, seq)?);
            let deliveries: Vec<_> = told.iter().map(|recipient| (*recipient, because.clone())).collect();
            let (domain, left_out) = (Domain::Kontaktforloeb, Vec::new());
            let admission =
                Admission { seq: EventSeq(seq), citizen: ids[at], event: Arc::clone(&event), domain, at: AT, deliveries, left_out };
            store.stage(Change::Admit(Arc::new(admission)))?;
            for recipient in told {
                let key = DeliveryKey { recipient, seq: EventSeq(seq) };
                let (citizen, event) = (ids[at], Arc::clone(&event));
                store.stage(Change::Finish {
                    key,
                    citizen,
                    event,
                    had_row: false,
                    end: End::Delivered,
                    attempts: 1,
                    may_hold: true,
                    at: AT,
                })?;
            }
            if seq.is_multiple_of(GROUP as u64) {
                store.stage(Change::SetLowWater(EventSeq(seq + 1)))?;
                store.commit(Durability::Lazy)?;
            }
            if seq.is_multiple_of(GROUP as u64 * 64) {
                store.flush()?;
            }
        }
    }
    store.stage(Change::SetLowWater(EventSeq(seq + 1)))?;
    store.commit(Durability::Flush)?;
    for (at, id) in ids.iter().enumerate() {
        for record in 0..RECORDS + at_most(at) {
            entries += store.holders(*id, ENTITY, &ExternalId::parse(&external_id(at, record))?)?.len() as u64;
        }
    }
    let before = store.size_on_disk()?;
    // The journal grows old; what happens meanwhile lets sled clean up.
    for _ in 0..100_000 {
        let pruned = store.prune(AT.plus_seconds(1), 128)?;
        store.commit(Durability::Lazy)?;
        if pruned == Pruned::Done {
            break;
        }
    }
    store.commit(Durability::Flush)?;
    let keys = store.counts().ledger;
    let backup = PathBuf::from(format!("{directory}.backup"));
    store.back_up(&backup, AT, |_| {})?;
    let rows = fs::read(backup.join("rows"))?;
    let of_ledger: usize = records_of(&rows).iter().filter(|(key, _)| is_of_ledger(key)).map(|(key, value)| key.len() + value.len()).sum();
    println!("{entries} {keys} {before} {of_ledger}");
    Ok(())
}

/// Some have one record more.
fn at_most(at: usize) -> usize {
    usize::from(at.is_multiple_of(2))
}

/// The kommune, the a-kasse, and for every other record another kommune.
fn recipients(at: usize, record: usize) -> Vec<Recipient> {
    let mut told = vec![0x1000 + 101 + (at * 7 % 98) as u16, 1 + (at % 21) as u16];
    if (at + record).is_multiple_of(2) {
        told.push(0x1000 + 300 + (at * 11 % 98) as u16);
    }
    told.into_iter().filter_map(Recipient::from_number).collect()
}

fn event(at: usize, record: usize, round: usize, seq: u64) -> Result<Event, Box<dyn Error>> {
    made_up::event(&format!("{round}-{seq}"), ENTITY, &external_id(at, record), number(at)?, AT)
}
