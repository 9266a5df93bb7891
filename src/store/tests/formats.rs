//! Stored bytes of format 1, as they were written when it was made: they are
//! read for ever. And bytes that nobody wrote, which are refused.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use crate::core::about::About;
use crate::core::audit::{Action, Deed, Entry, Extent};
use crate::core::citizen::{Citizen, Folded, RecordKind};
use crate::core::event::{Change, Event};
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq};
use crate::core::outbox::{Death, Delivery, Earlier, End, Ended, Failure, Withdrawal};
use crate::core::policy::Audience;
use crate::core::records::{Admission, Quarantined};
use crate::core::replay::{Replay, ReplayId};
use crate::core::retention::{Clock, Element, Kept, Told};
use crate::core::samples::{citizen, event, external, fund};
use crate::core::stamp::Stamp;
use crate::core::time::{Day, Moment};
use crate::core::trace::{ByReplay, Stay, StayEnd, Step};

use super::super::codec::{self, FinishRecord, LedgerChange, Undecodable};
use super::super::disk::Given;
use super::super::journal::{self, Entry as Place, Pages};
use super::samples::Dice;

const SEQ: EventSeq = EventSeq(77);
const CITIZEN: CitizenId = CitizenId(12);

fn key() -> DeliveryKey {
    DeliveryKey { recipient: Dice::new(1).recipient(), seq: SEQ }
}

/// Compares with the committed bytes and with what they say. To add a fixture,
/// run with `WSB_NEW_FIXTURES=1`; one that is there is never written again.
fn check<T: Debug + PartialEq>(name: &str, sample: &T, encode: impl Fn(&T) -> Vec<u8>, decode: impl Fn(&[u8]) -> Result<T, Undecodable>) {
    let path = |ending: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1").join(format!("{name}.{ending}"));
    if std::env::var_os("WSB_NEW_FIXTURES").is_some() && !path("hex").exists() {
        let hex: Vec<String> = encode(sample).chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
        std::fs::write(path("hex"), hex.join("\n") + "\n").expect("written");
        std::fs::write(path("txt"), format!("{sample:#?}\n")).expect("written");
    }
    let hex: String = std::fs::read_to_string(path("hex")).expect("the fixture").split_whitespace().collect();
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    let decoded = decode(&bytes).expect("format 1");
    assert_eq!(format!("{decoded:#?}\n"), std::fs::read_to_string(path("txt")).expect("the fixture"), "{name}");
    assert_eq!(encode(&decoded), bytes, "{name}");
    garble(&bytes, &encode, &decode);
}

/// Bytes that were cut, changed or made up: an error, or something that is
/// written as it was read. Never a panic.
fn garble<T>(bytes: &[u8], encode: &impl Fn(&T) -> Vec<u8>, decode: &impl Fn(&[u8]) -> Result<T, Undecodable>) {
    let mut dice = Dice::new(bytes.len() as u64);
    for len in 0..bytes.len() {
        let _ = decode(&bytes[..len]).map(|decoded| encode(&decoded));
    }
    for _ in 0..3000 {
        let mut bytes = bytes.to_vec();
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next() as u8;
        }
        let _ = decode(&bytes).map(|decoded| encode(&decoded));
    }
    for _ in 0..1000 {
        let mut made_up: Vec<u8> = (0..dice.below(80)).map(|_| dice.next() as u8).collect();
        if let Some(version) = made_up.first_mut() {
            *version = 1;
        }
        assert!(decode(&made_up).is_err() || made_up.len() < 40);
    }
    let mut newer = bytes.to_vec();
    newer[0] = 2;
    assert!(decode(&newer).is_err(), "a newer version is refused");
}

fn written<T>(encode: impl Fn(&T, &mut Vec<u8>)) -> impl Fn(&T) -> Vec<u8> {
    move |value| {
        let mut out = Vec::new();
        encode(value, &mut out);
        out
    }
}

#[test]
fn admissions() {
    let mut dice = Dice::new(20);
    let number = dice.personnummer();
    for at in 0..14 {
        let sample: Admission = dice.admission(SEQ.0, CITIZEN, number);
        let encode = written(codec::encode_admission);
        check(&format!("admission-{at:02}"), &sample, encode, |bytes| codec::decode_admission(SEQ, CITIZEN, bytes));
    }
}

#[test]
fn deliveries() {
    let mut dice = Dice::new(21);
    for at in 0..6 {
        let number = dice.personnummer();
        let event = Arc::new(dice.event(number));
        let sample: Delivery = dice.delivery(key(), CITIZEN, event);
        let encode = written(codec::encode_delivery);
        check(&format!("delivery-{at:02}"), &sample, encode, |bytes| codec::decode_delivery(key(), CITIZEN, bytes));
    }
    let event = Arc::new(dice.event(Dice::new(4).personnummer()));
    let earlier = Earlier { at: dice.moment(), replay: false };
    let sample = Delivery { replays: 300, delivered_before: Some(earlier), ..dice.delivery(key(), CITIZEN, event) };
    let encode = written(codec::encode_delivery);
    check("delivery-replayed", &sample, encode, |bytes| codec::decode_delivery(key(), CITIZEN, bytes));
    let mut sample = dice.delivery(key(), CITIZEN, sample.event);
    sample.because.also = [Audience::KommuneOwnResidents, Audience::RegisteringAuthority].into_iter().collect();
    let encode = written(codec::encode_delivery);
    check("delivery-by-three-rules", &sample, encode, |bytes| codec::decode_delivery(key(), CITIZEN, bytes));
}

/// Of what is unclaimed, with the delivery after them.
#[test]
fn earlier_rules() {
    let mut dice = Dice::new(33);
    let event = Arc::new(dice.event(Dice::new(4).personnummer()));
    let delivery = dice.delivery(key(), CITIZEN, event);
    let earlier = vec![(Audience::KommuneOwnResidents, dice.moment()), (Audience::RegisteringAuthority, dice.moment())];
    let encode = |(earlier, delivery): &(Vec<_>, Delivery)| {
        let mut out = Vec::new();
        codec::encode_earlier(earlier, &mut out);
        codec::encode_delivery(delivery, &mut out);
        out
    };
    check("unclaimed-by-earlier-rules", &(earlier, delivery), encode, |bytes| {
        let mut input = codec::Input::new(bytes, "what is unclaimed");
        let earlier = codec::decode_earlier(&mut input)?;
        Ok((earlier, codec::decode_delivery(key(), CITIZEN, input.rest())?))
    });
}

#[test]
fn citizens() {
    let mut dice = Dice::new(22);
    for at in 0..6 {
        let mut sample = Citizen::new(CITIZEN, dice.personnummer());
        for _ in 0..3 {
            sample = dice.older(&sample);
        }
        check(&format!("citizen-{at:02}"), &sample, written(codec::encode_citizen), |bytes| codec::decode_citizen(CITIZEN, bytes));
    }
    let mut sample = Citizen::new(CITIZEN, dice.personnummer());
    sample.placed_from = Some(dice.day());
    check("citizen-placed", &sample, written(codec::encode_citizen), |bytes| codec::decode_citizen(CITIZEN, bytes));
    // Of each registration the Aendringstype: contradicted, updated, recalled after an update, and somebody else's since.
    let told = |record: &str, hour, change, of: &str, code: &str| Event {
        mark: EventMark::of("urn:test", of),
        ..event(record, hour, change, "2026-01-01..", fund(code))
    };
    let mut sample = citizen(&[
        told("a", 1, Change::Created, "1", "007"),
        told("a", 1, Change::Created, "2", "067"),
        told("b", 1, Change::Updated, "3", "007"),
        told("c", 1, Change::Updated, "4", "007"),
        told("c", 2, Change::Deleted, "5", "007"),
        told("d", 1, Change::Created, "6", "007"),
    ]);
    sample.id = CITIZEN;
    let by = Stamp::of(&told("d", 2, Change::Updated, "7", "007"));
    let (Folded::Changed | Folded::Unchanged) = sample.disown(RecordKind::Membership, &external("d"), by);
    check("citizen-told-how", &sample, written(codec::encode_citizen), |bytes| codec::decode_citizen(CITIZEN, bytes));
}

#[test]
fn finishes() {
    let mut dice = Dice::new(23);
    let mut record = || FinishRecord {
        key: DeliveryKey { recipient: dice.recipient(), seq: EventSeq(dice.below(1 << 40)) },
        end: dice.end(),
        attempts: dice.below(1000) as u32,
        at: dice.moment(),
        had_row: dice.once_in(2),
        ledger: match dice.maybe(|dice| (CitizenId(dice.next() as u32), dice.next())) {
            Some((citizen, about)) => LedgerChange::Holds(citizen, about),
            None => LedgerChange::None,
        },
    };
    let sample: Vec<FinishRecord> = (0..12).map(|_| record()).collect();
    let encode = |records: &Vec<FinishRecord>| {
        let mut out = Vec::new();
        records.iter().for_each(|record| codec::encode_finish(record, &mut out));
        if out.is_empty() { vec![1] } else { out }
    };
    let gone = FinishRecord { ledger: LedgerChange::Gone(vec![(CITIZEN, 7), (CitizenId(3), 1 << 60)]), ..sample[0].clone() };
    let without = FinishRecord { ledger: LedgerChange::Gone(Vec::new()), ..sample[1].clone() };
    check("finishes-gone", &vec![gone, without], encode, codec::decode_finishes);
    // Made-up bytes can be a list of finishes: only the sealing tells.
    check("finishes", &sample, encode, codec::decode_finishes);
    let delivery = dice.delivery(key(), CITIZEN, Arc::new(Dice::new(3).event(Dice::new(4).personnummer())));
    let sample = Ended { end: dice.end(), attempts: 7, at: dice.moment(), failures: delivery.failures, replays: 0, delivered_before: None };
    check("ended", &sample, written(codec::encode_ended), codec::decode_ended);
    let earlier = Earlier { at: dice.moment(), replay: false };
    let sample = Ended { replays: 3, delivered_before: Some(earlier), ..sample };
    check("ended-replayed", &sample, written(codec::encode_ended), codec::decode_ended);
}

#[test]
fn replays() {
    let mut dice = Dice::new(25);
    for at in 0..6 {
        let sample = dice.replay(ReplayId(7));
        let encode = written(codec::encode_replay);
        check(&format!("replay-{at:02}"), &sample, encode, |bytes| codec::decode_replay(ReplayId(7), bytes));
        if at == 0 {
            let of_a_clock_set_back = Replay { as_of: sample.at.plus_seconds(300), ..sample };
            check("replay-clock-set-back", &of_a_clock_set_back, written(codec::encode_replay), |bytes| {
                codec::decode_replay(ReplayId(7), bytes)
            });
        }
    }
    let sample: Vec<DeliveryKey> = (0..3).map(|at| DeliveryKey { recipient: dice.recipient(), seq: EventSeq(at << 30) }).collect();
    // Any bytes of the right length are keys; that they were written here only the place tells.
    let decode = |bytes: &[u8]| if bytes.len() > 70 { Err(Undecodable { what: "a short one" }) } else { codec::decode_chunk(bytes) };
    check("selected", &sample, written(|keys: &Vec<DeliveryKey>, out: &mut Vec<u8>| codec::encode_chunk(keys, out)), decode);
}

#[test]
fn retention_clocks() {
    let mut dice = Dice::new(25);
    for at in 0..4 {
        let sample = dice.clocks(CITIZEN, 6);
        let encode = |clocks: &Vec<Kept>| {
            let mut out = Vec::new();
            codec::encode_clocks(clocks, &mut out);
            out
        };
        check(&format!("clocks-{at:02}"), &sample.records, encode, |bytes| codec::decode_clocks(CITIZEN, bytes));
        let ids = || sample.tombstones.iter().map(|tombstone| tombstone.external_id.clone());
        let elements =
            || ids().zip([None, Day::from_number(20_000)]).map(|(external_id, deleted)| Element { external_id, deleted }).collect();
        let more = |clock: &Kept| Kept::from(Clock { later_version: ids().next(), unlisted: elements(), ..Clock::clone(clock) });
        if ids().next().is_some() {
            check(&format!("clocks-more-{at:02}"), &sample.records.iter().map(more).collect(), encode, |bytes| {
                codec::decode_clocks(CITIZEN, bytes)
            });
        }
        let told = [Told::Never, Told::Newest, Told::Earlier(sample.records[0].newest)];
        let unsaid = |(at, clock): (usize, &Kept)| Kept::from(Clock { told: told[at % 3], has_start: at % 2 == 0, ..Clock::clone(clock) });
        check(&format!("clocks-unsaid-{at:02}"), &sample.records.iter().enumerate().map(unsaid).collect(), encode, |bytes| {
            codec::decode_clocks(CITIZEN, bytes)
        });
        let rest = codec::Rest { tombstones: sample.tombstones, handovers: sample.handovers, ..codec::Rest::default() };
        if !rest.tombstones.is_empty() && !rest.handovers.is_empty() {
            check(&format!("clocks-rest-{at:02}"), &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let rest = codec::Rest { emptied: true, ..rest };
            check("clocks-rest-emptied", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let rest = codec::Rest { emptied: false, has_due: true, ..rest };
            check("clocks-rest-due", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let rest = codec::Rest { has_due: false, owned: true, ..rest };
            check("clocks-rest-owned", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let rest = codec::Rest { owned: false, has_retained: true, ..rest };
            check("clocks-rest-retained", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let rest = codec::Rest { has_retained: false, in_eights: true, ..rest };
            check("clocks-rest-in-eights", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            let mut rest = codec::Rest { in_eights: false, ..rest };
            rest.tombstones[0].deleted = None;
            check("clocks-rest-anothers", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
            rest.handovers[0].external_id = Some(rest.tombstones[0].external_id.clone());
            rest.handovers[0].area = None;
            check("clocks-rest-handover-ids", &rest, written(codec::encode_rest), |bytes| codec::decode_rest(CITIZEN, bytes));
        }
    }
}

#[test]
fn unexpected_deletions() {
    let sample = Dice::new(27).unexpected(SEQ, CITIZEN).record.expect("a record");
    check("deleted", &sample, written(codec::encode_deleted), codec::decode_deleted);
}

#[test]
fn messages_in_quarantine() {
    let sample: Quarantined = Dice::new(24).quarantined(5);
    let check = |name, sample| check(name, &sample, written(codec::encode_quarantined), |bytes| codec::decode_quarantined(5, bytes));
    let two = About::These(vec![Dice::new(25).personnummer(), Dice::new(26).personnummer()]);
    check("quarantined-two", Quarantined { about: two, ..sample.clone() });
    check("quarantined-anybody", Quarantined { about: About::Anybody, ..sample.clone() });
    check("quarantined", sample);
}

#[test]
fn steps_of_traces() {
    let mut dice = Dice::new(26);
    let admission = (0..50).map(|_| dice.admission(SEQ.0, CITIZEN, Dice::new(1).personnummer())).find(|one| !one.left_out.is_empty());
    let left_out = admission.expect("one leaves somebody out").left_out.remove(0);
    let delivery = dice.delivery(key(), CITIZEN, Arc::new(Dice::new(3).event(Dice::new(4).personnummer())));
    let (at, why) = (dice.moment(), Death::GaveUp(Failure::Timeout));
    let samples = [
        Step::CameBack { why: Death::DeliveryLimit, delivered_at: Some(at) },
        Step::Acted { action: Action::DeliveryDiscarded, who: "anna".into() },
        Step::Replayed { died: Some((at, why)), attempts: 7, failures: delivery.failures, by: None },
        Step::NotEntitled(left_out),
        Step::RecordDeleted { event_id: "01JQ8ZJ3V5T9W2K4M6N8P0R2S4".into(), taken_in: None },
        Step::TookOver { from: key().recipient, because: dice.because() },
        Step::DecidedAnew { because: dice.because() },
        Step::ReplayedInVain { why: Withdrawal::MembershipEnded, died: Some((at, why)), by: None },
        Step::LayInQuarantine(Stay {
            id: 7,
            since: at,
            reason: "missing-field: data.Personnummer: required".into(),
            end: StayEnd::TakenIn,
            who: "anna".into(),
        }),
        Step::Ended(Ended {
            end: End::Withdrawn(Withdrawal::RecipientClosed),
            attempts: 2,
            at,
            failures: Vec::new(),
            replays: 1,
            delivered_before: Some(Earlier { at, replay: true }),
        }),
        Step::MayHaveBeenSent,
    ];
    for (number, sample) in samples.iter().enumerate() {
        assert_eq!(usize::from(sample.number()), number);
        check(&format!("step-{number:02}"), sample, written(codec::encode_step), codec::decode_step);
    }
    let deleted = Step::RecordDeleted { event_id: "01JQ8ZJ3V5T9W2K4M6N8P0R2S4".into(), taken_in: Some(at) };
    check("step-deleted-before", &deleted, written(codec::encode_step), codec::decode_step);
    let by = Some(ByReplay { replay: ReplayId(7), who: "anna".into() });
    let again = Step::Replayed { died: None, attempts: 1, failures: Vec::new(), by: by.clone() };
    check("step-replayed-by", &again, written(codec::encode_step), codec::decode_step);
    let in_vain = Step::ReplayedInVain { why: Withdrawal::MembershipEnded, died: None, by };
    check("step-replayed-in-vain-by", &in_vain, written(codec::encode_step), codec::decode_step);
}

#[test]
fn the_audit_log() {
    use super::super::audit::{hash, next};
    let before = Extent { first: 7, before_first: [8; 32], newest: 9, newest_hash: [10; 32] };
    let deed = Deed::new("anna", "operator", Action::QueuePaused, "akasse:067").because("blåbærgrød").tried(true);
    let sample: Entry = next(&before, Moment(1_700_000_000_000_000), deed);
    let encode = written(|entry: &Entry, out| codec::encode_audit(&entry.former, entry.at, &entry.deed, out));
    check("audit", &sample, encode, |bytes| codec::decode_audit(sample.seq, bytes, hash));
    check("audit-extent", &before, written(codec::encode_extent), codec::decode_extent);
}

#[test]
fn what_stands_outside_of_seals() {
    let sample = Given { next_slot: 4097, next_quarantine: 12, low_water: 1 << 40 };
    check("given", &sample, Given::encode, Given::decode);
    let mut pages = Pages::default();
    let sealed: [&[u8]; 3] = [b"sealed", b"", b"sealed as well"];
    for (at, sealed) in sealed.into_iter().enumerate() {
        let wsb_ids = vec![0x0102_0304_0506_0708; at];
        pages.push(&Place { seq: 500 + 3 * at as u64, slot: 9, mark: 0xfeed, wsb_ids, sealed });
    }
    let [(500, page)] = &pages.take()[..] else { panic!("one row") };
    let read = |bytes: &[u8]| journal::entries(500, bytes).map(|entry| entry.map(owned)).collect::<Result<Vec<_>, _>>();
    let sample = read(page).expect("a row");
    let write = |entries: &Vec<Owned>| {
        let mut pages = Pages::default();
        for (seq, slot, mark, wsb_ids, sealed) in entries {
            pages.push(&Place { seq: *seq, slot: *slot, mark: *mark, wsb_ids: wsb_ids.clone(), sealed });
        }
        pages.take().pop().map_or_else(|| vec![1], |(_, page)| page)
    };
    // Places may descend in made-up bytes only, which writing does not expect.
    let ascending = |bytes: &[u8]| {
        let entries = read(bytes)?;
        let refused = Undecodable { what: "a row in order" };
        if entries.is_sorted_by_key(|entry| entry.0) && entries.len() < 100 { Ok(entries) } else { Err(refused) }
    };
    check("journal", &sample, write, ascending);
}

type Owned = (u64, u32, u64, Vec<u64>, Vec<u8>);

fn owned(entry: Place<'_>) -> Owned {
    (entry.seq, entry.slot, entry.mark, entry.wsb_ids, entry.sealed.to_vec())
}
