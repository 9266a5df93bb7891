//! The cases that people ask about, over both stores.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::core::about::About;
use crate::core::citizen::RecordKind;
use crate::core::event::{Content, Event};
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, ExternalId, Recipient};
use crate::core::notices::Lying;
use crate::core::outbox::{Delivery, End, State, Withdrawal};
use crate::core::persons::{Joined, Persons};
use crate::core::policy::Audience;
use crate::core::records::{Admission, Change, Fate, Former, Owners, Pruned, Quarantined, Records, RowCounts, Unclaimed};
use crate::core::replay::{Replay, ReplayId};
use crate::core::retention::{Clock, Clocks, MOST_UNEXPECTED, Tombstone};
use crate::core::stamp::Stamp;
use crate::core::time::Moment;

use super::super::codec::{FinishRecord, LedgerChange};
use super::super::{Durability, MemoryStore, ledger};
use super::samples::Dice;
use super::{OnDisk, Stored};

macro_rules! over_both {
    ($($case:ident),* $(,)?) => {
        mod in_memory {
            $(#[test] fn $case() { super::$case(super::MemoryStore::new()) })*
        }
        mod on_disk {
            $(#[test] fn $case() { super::$case(super::OnDisk::new()) })*
        }
    };
}

over_both!(
    a_group_sees_itself,
    a_stop_in_order_is_known_until_the_next_start,
    whoever_may_hold_something_is_a_holder_without_an_attempt,
    queues_show_what_is_committed,
    a_delivery_goes_through_its_states,
    what_is_unclaimed_has_a_moment_for_each_rule,
    two_numbers_are_one_person_for_a_while,
    what_nobody_finished_is_found_again,
    a_replayed_delivery_is_unfinished_again,
    what_is_older_than_the_horizon_goes,
    nothing_is_known_of_an_erased_citizen,
    whoever_was_told_of_a_deletion_holds_nothing_any_more,
    records_of_two_types_share_an_id,
    entries_that_both_have_outlive_either,
    what_ends_twice_has_ended_as_it_did_last,
    a_selection_stays_until_it_is_dropped,
    the_end_of_a_record_is_found,
    the_audit_log_is_whole,
    a_record_is_somebodys_until_that_one_is_erased,
    what_was_registered_last_of_the_forgotten_is_known_for_a_while,
    a_record_with_a_clock_goes_from_one_to_another,
    what_is_left_of_a_record_is_found_where_its_holders_are,
    what_one_number_knows_to_be_gone_is_found_when_the_other_drops_it,
    clocks_from_before_records_had_owners_get_them,
    unexpected_deletions_are_listed_until_the_horizon_and_never_more_than_so_many,
    notices_that_lie_are_counted_by_recipient_and_day,
    whoever_is_in_quarantine_is_found,
);

/// A store with a citizen, and things to put into it.
struct Case<S> {
    dice: Dice,
    store: S,
    citizen: CitizenId,
}

impl<S: Stored> Case<S> {
    fn new(mut store: S) -> Self {
        let mut dice = Dice::new(4);
        let citizen = store.enroll(&dice.personnummer()).expect("enrolled");
        Self { dice, store, citizen }
    }

    fn stage(&mut self, change: Change) {
        self.store.stage(change).expect("staged");
    }

    /// Takes in an event for `recipients`.
    fn admit(&mut self, recipients: &[Recipient]) -> Admission {
        let number = self.dice.personnummer();
        let mut admission = self.dice.admission(self.store.last_seq().0 + 1, self.citizen, number);
        admission.deliveries = recipients.iter().map(|recipient| (*recipient, self.dice.because())).collect();
        self.stage(Change::Admit(Arc::new(admission.clone())));
        admission
    }

    fn row(&mut self, admission: &Admission, recipient: Recipient, state: State) -> Delivery {
        let key = DeliveryKey { recipient, seq: admission.seq };
        let delivery = Delivery { state, ..self.dice.delivery(key, admission.citizen, Arc::clone(&admission.event)) };
        self.stage(Change::PutDelivery(delivery.clone()));
        delivery
    }

    fn finish(&mut self, admission: &Admission, recipient: Recipient, had_row: bool, end: End) {
        let key = DeliveryKey { recipient, seq: admission.seq };
        let (citizen, event) = (admission.citizen, Arc::clone(&admission.event));
        self.stage(Change::Finish { key, citizen, event, had_row, end, attempts: 2, may_hold: true, at: Moment(9) });
    }

    /// Has a delivery about a record of that type end, one that had been attempted.
    fn told(&mut self, entity: &str, record: &ExternalId, is_notice: bool, recipient: Recipient, end: End) {
        let mut admission = self.admit(&[recipient]);
        let content = match is_notice {
            true => Content::Deletion { area: "joblog".into(), entity: entity.into(), after_death: false },
            false => Content::Other,
        };
        let entity = if is_notice { "GdprSletning" } else { entity };
        let event = Event::clone(&admission.event);
        admission.event = Arc::new(Event { entity: entity.into(), external_id: record.clone(), content, ..event });
        self.finish(&admission, recipient, false, end);
    }

    fn holders(&mut self, admission: &Admission) -> Vec<Recipient> {
        let event = &admission.event;
        self.store.holders(self.citizen, event.record_entity(), &event.external_id).expect("readable")
    }

    fn fate(&mut self, admission: &Admission, recipient: Recipient) -> Option<Fate> {
        self.store.fate(DeliveryKey { recipient, seq: admission.seq }).expect("readable")
    }
}

fn unexpected_deletions_are_listed_until_the_horizon_and_never_more_than_so_many<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let other = case.store.enroll(&Dice::new(99).personnummer()).expect("enrolled");
    let mut noted = Vec::new();
    for seq in 1..=9 {
        let citizen = if seq % 3 == 0 { other } else { case.citizen };
        let unexpected = case.dice.unexpected(EventSeq(seq), citizen);
        case.stage(Change::NoteUnexpected(Arc::new(unexpected.clone())));
        noted.insert(0, unexpected);
        if seq == 4 {
            case.store.commit_group(Durability::Lazy);
        }
    }
    case.store.commit_group(Durability::Flush);
    for _ in 0..2 {
        assert_eq!(case.store.unexpected(None, 100), noted);
        assert_eq!(case.store.unexpected(Some(EventSeq(8)), 3), noted[2..5]);
        case.store.reopen();
    }
    // Which record it was dies with the citizen; that there was one does not.
    case.stage(Change::Erase(other));
    case.store.commit_group(Durability::Flush);
    noted.iter_mut().filter(|unexpected| unexpected.citizen == other).for_each(|unexpected| unexpected.record = None);
    assert_eq!(case.store.unexpected(None, 100), noted);
    // Heard of before the horizon.
    let (Pruned::Done | Pruned::More) = case.store.prune(Moment(40), 2).expect("pruned");
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.unexpected(None, 100), noted[..7]);
    let (Pruned::Done | Pruned::More) = case.store.prune(Moment(40), 2).expect("pruned");
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.unexpected(None, 100), noted[..6]);
    case.store.reopen();
    for seq in 10..=MOST_UNEXPECTED + 50 {
        let unexpected = case.dice.unexpected(EventSeq(seq), case.citizen);
        case.stage(Change::NoteUnexpected(Arc::new(unexpected)));
        if seq % 1000 == 0 || seq % 7 == 0 && seq > MOST_UNEXPECTED {
            case.store.commit_group(Durability::Lazy);
        }
    }
    case.store.commit_group(Durability::Flush);
    let all = case.store.unexpected(None, usize::MAX);
    assert_eq!((all.len() as u64, all[0].seq.0), (MOST_UNEXPECTED, MOST_UNEXPECTED + 50));
    assert!(all.is_sorted_by_key(|unexpected| std::cmp::Reverse(unexpected.seq)));
}

fn notices_that_lie_are_counted_by_recipient_and_day<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let day = |number| crate::core::time::Day::from_number(number).expect("a day");
    for (recipient, of, notices, reminded) in
        [(fund(), 20_000, 1, 0), (kommune(), 19_990, 7, 9), (fund(), 20_001, 1 << 40, 21), (fund(), 20_000, 2, 3)]
    {
        case.stage(Change::PutNotices { recipient, day: day(of), lying: Lying { notices, reminded } });
    }
    case.store.commit_group(Durability::Flush);
    for _ in 0..2 {
        let expected = [
            (fund(), day(20_000), Lying { notices: 2, reminded: 3 }),
            (fund(), day(20_001), Lying { notices: 1 << 40, reminded: 21 }),
            (kommune(), day(19_990), Lying { notices: 7, reminded: 9 }),
        ];
        assert_eq!(case.store.notices().expect("readable"), expected);
        case.store.reopen();
    }
    case.stage(Change::DropNotices { recipient: fund(), day: day(20_000) });
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.notices().expect("readable").len(), 2);
}

fn whoever_is_in_quarantine_is_found<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let never = Moment(i64::MAX);
    let former = Dice::new(98).personnummer();
    let known_as = case.store.enroll(&former).expect("enrolled");
    case.stage(Change::Join { one: case.citizen, other: known_as });
    assert!(!case.store.is_in_quarantine(case.citizen, never).expect("readable"));
    let somebody = Quarantined { about: About::These(vec![Dice::new(97).personnummer()]), ..case.dice.quarantined(1) };
    case.stage(Change::Quarantine(somebody));
    assert!(!case.store.is_in_quarantine(case.citizen, never).expect("readable"));
    let anybody = Quarantined { about: About::Anybody, ..case.dice.quarantined(3) };
    case.stage(Change::Quarantine(anybody));
    assert!(!case.store.is_in_quarantine(case.citizen, never).expect("readable"), "it would keep everybody");
    let message = Quarantined { about: About::These(vec![Dice::new(97).personnummer(), former]), ..case.dice.quarantined(2) };
    case.stage(Change::Quarantine(message));
    for _ in 0..2 {
        assert!(case.store.is_in_quarantine(case.citizen, never).expect("readable"), "staged, then committed");
        case.store.commit_group(Durability::Flush);
    }
    case.store.reopen();
    assert!(case.store.is_in_quarantine(case.citizen, never).expect("readable"));
    case.stage(Change::Release(2));
    let own = Quarantined { about: About::These(vec![former]), at: Moment(7), ..case.dice.quarantined(4) };
    case.stage(Change::Quarantine(own));
    for _ in 0..2 {
        for (since, expected) in [(Moment(7), true), (Moment(8), false)] {
            assert_eq!(case.store.is_in_quarantine(case.citizen, since).expect("readable"), expected, "about nobody else: {since:?}");
        }
        case.store.commit_group(Durability::Flush);
    }
    assert!(!case.store.is_in_quarantine(case.citizen, never).expect("readable"));
    assert!(case.store.can_erase().expect("known"));
}

fn fund() -> Recipient {
    Recipient::parse("akasse:067").expect("a recipient")
}

fn kommune() -> Recipient {
    Recipient::parse("kommune:860").expect("a recipient")
}

fn dead() -> State {
    State::Dead { at: Moment(3), why: crate::core::outbox::Death::Expired }
}

/// As a version wrote them that did not tell the notices of data areas apart.
#[test]
fn groups_of_dead_deletions_without_a_data_area_are_counted_anew() {
    let mut case = Case::new(OnDisk::new());
    let mut admission = case.admit(&[fund()]);
    let content = Content::Deletion { area: "joblog".into(), entity: "Joblog".into(), after_death: false };
    admission.event = Arc::new(Event { entity: "GdprSletning".into(), content, ..Event::clone(&admission.event) });
    case.row(&admission, fund(), dead());
    case.store.commit_group(Durability::Flush);
    let counted = case.store.causes().expect("readable");
    assert_eq!(counted.iter().map(|(cause, _)| cause.area.as_deref()).collect::<Vec<_>>(), [Some("joblog")]);

    let tree = case.store.store().vault.tree.clone();
    let rows = || tree.scan_prefix(b"G").map(|row| row.expect("readable").0.to_vec()).collect::<Vec<_>>();
    let new = rows();
    let (old, area) = new[0].split_at(new[0].len() - "joblog".len() - 1);
    assert_eq!(area, b"\0joblog");
    let tally = tree.remove(&new[0]).expect("removed").expect("a group");
    tree.insert(old, tally).expect("written");
    assert!(tree.flush().is_ok());
    drop(tree);
    case.store.reopen();
    assert_eq!(case.store.causes().expect("readable"), counted);
}

/// Entries come back as they were noted, chained, whatever is committed how; and
/// those that are over go from the beginning.
fn the_audit_log_is_whole<S: Stored>(store: S) {
    use crate::core::audit::{Action, Deed, Entry, Extent, Inspection, Order, Soundness};
    let mut case = Case::new(store);
    let inspect = |store: &mut S| {
        let extent = store.audit_extent().expect("readable");
        let mut inspection = Inspection::of(extent);
        store.audit_page(Order::OldestFirst, None, 1000).expect("readable").iter().for_each(|entry| inspection.look(entry));
        (extent, inspection.end())
    };
    assert_eq!(inspect(&mut case.store), (Extent::EMPTY, Soundness::Sound { entries: 0 }));
    let deed = |number: u64| {
        let deed = Deed::new("anna", "operator", Action::ALL[number as usize % Action::ALL.len()], &format!("{number} æ"));
        if number.is_multiple_of(2) { deed.because("so").tried(number.is_multiple_of(4)) } else { deed }
    };
    for number in 1..=20_u64 {
        case.stage(Change::Audit { at: Moment(number as i64), deed: deed(number) });
        if number % 3 == 0 {
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
    }
    case.store.commit_group(Durability::Flush);
    assert_eq!(inspect(&mut case.store).1, Soundness::Sound { entries: 20 });
    let seqs = |entries: Vec<Entry>| entries.iter().map(|entry| entry.seq).collect::<Vec<_>>();
    let mut page = |order, after, limit| case.store.audit_page(order, after, limit).expect("readable");
    assert_eq!(seqs(page(Order::OldestFirst, None, 2)), [1, 2]);
    assert_eq!(seqs(page(Order::OldestFirst, Some(2), 3)), [3, 4, 5]);
    assert_eq!(seqs(page(Order::NewestFirst, None, 2)), [20, 19]);
    assert_eq!(seqs(page(Order::NewestFirst, Some(3), 9)), [2, 1]);
    assert_eq!(seqs(page(Order::NewestFirst, Some(1), 9)), [0_u64; 0]);
    assert_eq!(seqs(page(Order::OldestFirst, Some(u64::MAX), 9)), [0_u64; 0]);
    for entry in page(Order::OldestFirst, None, 20) {
        assert_eq!((entry.at, &entry.deed), (Moment(entry.seq as i64), &deed(entry.seq)));
    }
    let later = Moment(15).plus_seconds(Extent::KEPT_SECONDS);
    case.stage(Change::Audit { at: later, deed: deed(21) });
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    let (extent, soundness) = inspect(&mut case.store);
    assert_eq!((extent.first, extent.newest, soundness), (15, 21, Soundness::Sound { entries: 7 }));
}

/// Entries come and go and come again, through many runs and merges.
fn whoever_was_told_of_a_deletion_holds_nothing_any_more<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let former = case.store.enroll(&Dice::new(81).personnummer()).expect("enrolled");
    let remaining = case.citizen;
    let records: Vec<ExternalId> = (0..40).map(|at| ExternalId::parse(&format!("held-{at}")).expect("an id")).collect();
    let mut expected: BTreeSet<(usize, Recipient)> = BTreeSet::new();
    for round in 0..900 {
        if round == 300 {
            case.stage(Change::Join { one: former, other: remaining });
        }
        let at = case.dice.below(40) as usize;
        let recipient = case.dice.one_of(&[fund(), kommune()]);
        case.citizen = if round < 300 && at.is_multiple_of(2) { former } else { remaining };
        let is_notice = case.dice.once_in(3);
        let end = if case.dice.once_in(4) { End::Withdrawn(Withdrawal::Operator) } else { End::Delivered };
        case.told("Joblog", &records[at], is_notice, recipient, end);
        match (is_notice, end) {
            // Attempted: it may have arrived.
            (false, _) => drop(expected.insert((at, recipient))),
            (true, End::Delivered) => drop(expected.remove(&(at, recipient))),
            // Withdrawn after attempts: whether it was told is not known.
            (true, End::Withdrawn(_)) => {}
        }
        if round % 7 == 0 {
            let low_water = EventSeq(case.store.last_seq().0 + 1);
            case.stage(Change::SetLowWater(low_water));
            case.store.commit_group(if round % 2 == 0 { Durability::Lazy } else { Durability::Flush });
        }
        if round % 150 == 149 {
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
        if round % 50 == 49 || round > 890 {
            for (at, record) in records.iter().enumerate() {
                let citizen = if round < 300 && at.is_multiple_of(2) { former } else { remaining };
                let holders = case.store.holders(citizen, "Joblog", record).expect("readable");
                let of_record: Vec<Recipient> = expected.range((at, least())..(at + 1, least())).map(|(_, recipient)| *recipient).collect();
                assert_eq!(holders, of_record, "record {at} in round {round}");
            }
        }
    }
}

/// Records of two types with one id: what is told of one, and where that goes, is
/// nothing to who holds something of the other.
fn records_of_two_types_share_an_id<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let record = ExternalId::parse("shared").expect("an id");
    let check = |case: &mut Case<S>, expected: [&[Recipient]; 4]| {
        for _ in 0..2 {
            let held = [(one, "Joblog"), (one, "JoblogDokument"), (other, "Joblog"), (other, "JoblogDokument")]
                .map(|(citizen, entity)| case.store.holders(citizen, entity, &record).expect("readable"));
            assert_eq!(held, expected);
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
    };
    for entity in ["Joblog", "JoblogDokument"] {
        for recipient in [fund(), kommune()] {
            case.told(entity, &record, false, recipient, End::Delivered);
        }
    }
    let both = [fund(), kommune()];
    check(&mut case, [&both, &both, &[], &[]]);
    case.told("JoblogDokument", &record, true, fund(), End::Delivered);
    check(&mut case, [&both, &[kommune()], &[], &[]]);
    case.stage(Change::MoveHolders {
        entity: "Joblog".into(),
        record: record.clone(),
        from: one,
        to: other,
        former: Former::Loses,
        at: Moment(10),
    });
    check(&mut case, [&[], &[kommune()], &both, &[]]);
    case.told("Joblog", &record, true, kommune(), End::Delivered);
    check(&mut case, [&[], &[kommune()], &both, &[]]);
    case.citizen = other;
    case.told("Joblog", &record, true, kommune(), End::Delivered);
    check(&mut case, [&[], &[kommune()], &[fund()], &[]]);
}

/// Who was sent something about a record that both of two citizens have had is known of
/// each, until told of its deletion there or until that one is erased.
fn entries_that_both_have_outlive_either<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let record = ExternalId::parse("recalled").expect("an id");
    let check = |case: &mut Case<S>, expected: [&[Recipient]; 2]| {
        for _ in 0..2 {
            let held = [one, other].map(|citizen| case.store.holders(citizen, "Joblog", &record).expect("readable"));
            assert_eq!(held, expected);
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
    };
    let both = [fund(), kommune()];
    both.into_iter().for_each(|recipient| case.told("Joblog", &record, false, recipient, End::Delivered));
    let entity = "Joblog".into();
    case.stage(Change::MoveHolders { entity, record: record.clone(), from: one, to: other, former: Former::Keeps, at: Moment(10) });
    check(&mut case, [&both, &both]);
    case.told("Joblog", &record, true, fund(), End::Delivered);
    check(&mut case, [&[kommune()], &both]);
    case.stage(Change::Erase(other));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.holders(one, "Joblog", &record).expect("readable"), [kommune()]);
}

/// What was entered in the ledger by the id alone may be about a record of any type: it
/// is found for each, and leaves with a notice that was confirmed, or where a record goes.
#[test]
fn what_was_entered_by_the_id_alone_is_found_and_leaves() {
    let mut case = Case::new(OnDisk::new());
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let records = ["told", "moved", "told-under-both"].map(|id| ExternalId::parse(id).expect("an id"));
    let [told, moved, told_under_both] = &records;
    for record in &records {
        for recipient in [fund(), kommune()] {
            enter_by_the_id_alone(&mut case, record, recipient);
        }
    }
    let check = |case: &mut Case<OnDisk>, citizen, entity: &str, record: &ExternalId, expected: &[Recipient]| {
        for _ in 0..2 {
            assert_eq!(case.store.holders(citizen, entity, record).expect("readable"), expected, "{entity} {record:?}");
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
    };
    let both = [fund(), kommune()];
    for entity in ["Joblog", "JoblogDokument"] {
        records.iter().for_each(|record| check(&mut case, one, entity, record, &both));
    }
    case.told("Joblog", told, true, fund(), End::Delivered);
    check(&mut case, one, "Joblog", told, &[kommune()]);
    // Told of once more since: by type.
    case.told("Joblog", told_under_both, false, fund(), End::Delivered);
    check(&mut case, one, "Joblog", told_under_both, &both);
    check(&mut case, one, "JoblogDokument", told_under_both, &both);
    case.told("Joblog", told_under_both, true, fund(), End::Delivered);
    check(&mut case, one, "Joblog", told_under_both, &[kommune()]);
    case.stage(Change::MoveHolders {
        entity: "Joblog".into(),
        record: moved.clone(),
        from: one,
        to: other,
        former: Former::Loses,
        at: Moment(10),
    });
    check(&mut case, one, "Joblog", moved, &[]);
    check(&mut case, other, "Joblog", moved, &both);
    check(&mut case, other, "JoblogDokument", moved, &[]);
}

/// As it was done until the type counted.
fn enter_by_the_id_alone(case: &mut Case<OnDisk>, record: &ExternalId, recipient: Recipient) {
    let admission = case.admit(&[recipient]);
    let (citizen, store) = (case.citizen, case.store.store());
    let fingerprint = store.vault.key(citizen.0).expect("a key").records.of(record.as_str().as_bytes());
    store.ledger.insert(ledger::entry(citizen, fingerprint, recipient));
    store.group.finish(&FinishRecord {
        key: DeliveryKey { recipient, seq: admission.seq },
        end: End::Delivered,
        attempts: 1,
        at: Moment(9),
        had_row: false,
        ledger: LedgerChange::Holds(citizen, fingerprint),
    });
}

fn least() -> Recipient {
    Recipient::from_number(0).expect("a recipient")
}

fn nothing_is_known_of_an_erased_citizen<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let [number, former, other] = [1, 2, 3].map(|seed| Dice::new(seed + 70).personnummer());
    let citizen = case.store.enroll(&number).expect("enrolled");
    let self_before = case.store.enroll(&former).expect("enrolled");
    let bystander = case.store.enroll(&other).expect("enrolled");
    // Something under the former self, then under the one who remains.
    case.citizen = self_before;
    let old = case.admit(&[fund()]);
    case.finish(&old, fund(), false, End::Delivered);
    case.stage(Change::Join { one: self_before, other: citizen });
    case.citizen = citizen;
    let waits = case.admit(&[fund(), kommune()]);
    case.row(&waits, fund(), State::Pending);
    case.finish(&waits, kommune(), false, End::Delivered);
    let died = case.admit(&[fund()]);
    case.row(&died, fund(), dead());
    let quarantined =
        |id, personnummer, case: &mut Case<S>| Quarantined { about: About::These(vec![personnummer]), ..case.dice.quarantined(id) };
    for (id, personnummer) in [(1, former), (2, other), (3, number)] {
        let message = quarantined(id, personnummer, &mut case);
        case.stage(Change::Quarantine(message));
    }
    // One that is about others besides, and one that may be about anybody.
    for (id, about) in [(4, About::These(vec![other, number])), (5, About::Anybody)] {
        let message = Quarantined { about, ..case.dice.quarantined(id) };
        case.stage(Change::Quarantine(message));
    }
    case.citizen = bystander;
    let kept = case.admit(&[fund()]);
    case.row(&kept, fund(), State::Pending);
    case.store.commit_group(Durability::Flush);
    case.finish(&waits, fund(), true, End::Withdrawn(Withdrawal::SupersededByErasure));
    case.finish(&died, fund(), true, End::Withdrawn(Withdrawal::SupersededByErasure));
    case.stage(Change::Erase(self_before));
    case.store.commit_group(Durability::Flush);
    for _ in 0..2 {
        for number in [number, former] {
            assert_eq!(case.store.find_citizen(&number).expect("readable"), None);
        }
        for id in [citizen, self_before] {
            assert_eq!(case.store.citizen(id).expect("readable"), None);
            assert_eq!(case.store.rows_of(id).expect("readable"), []);
            for admission in [&old, &waits, &died] {
                assert_eq!(case.store.holders(id, admission.event.record_entity(), &admission.event.external_id).expect("readable"), []);
            }
        }
        for admission in [&old, &waits, &died] {
            assert_eq!(case.store.taken_in(admission.seq), None);
            assert!(case.store.has_seen(&admission.event.mark).expect("readable"), "a repetition is still one");
            assert_ne!(case.fate(admission, fund()), Some(Fate::Unfinished));
        }
        let left = [1, 2, 3, 4, 5].map(|id| case.store.quarantined(id).expect("readable").is_some());
        assert_eq!(left, [false, true, false, false, false]);
        assert_eq!(case.store.find_citizen(&other).expect("readable"), Some(bystander));
        assert!(case.store.taken_in(kept.seq).is_some());
        assert_eq!(case.fate(&kept, fund()), Some(Fate::Unfinished));
        let waiting = case.store.waiting(fund(), None, 10).expect("readable");
        assert_eq!(waiting.iter().map(|row| row.key.seq).collect::<Vec<_>>(), [kept.seq]);
        case.store.reopen();
    }
    // Somebody new under the same number is somebody else.
    let again = case.store.enroll(&number).expect("enrolled");
    assert!(![citizen, self_before, bystander].contains(&again));
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.find_citizen(&number).expect("readable"), Some(again));
}

/// When records of people who are forgotten were registered last is known as long as the
/// events of that time are.
fn what_was_registered_last_of_the_forgotten_is_known_for_a_while<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let [one, other] = ["one", "other"].map(|id| ExternalId::parse(id).expect("an id"));
    let spent = |record: &ExternalId, newest| Change::PutSpent {
        kind: RecordKind::Membership,
        record: record.clone(),
        newest: (Moment(newest), 2),
    };
    case.admit(&[]);
    case.stage(spent(&one, 7));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    case.stage(spent(&one, 5));
    case.stage(spent(&other, 9));
    case.store.commit_group(Durability::Flush);
    let known = |case: &mut Case<S>, kind, record| case.store.spent(kind, record).expect("readable");
    assert_eq!(known(&mut case, RecordKind::Membership, &one), Some((Moment(7), 2)), "the latest of all");
    assert_eq!(known(&mut case, RecordKind::Membership, &other), Some((Moment(9), 2)));
    assert_eq!(known(&mut case, RecordKind::Jobcentre, &one), None);
    // Noted again when other events are the newest.
    for _ in 0..3 {
        case.admit(&[]);
        case.store.commit_group(Durability::Lazy);
    }
    let low_water = case.store.last_seq();
    case.stage(Change::SetLowWater(low_water));
    case.stage(spent(&one, 8));
    case.store.commit_group(Durability::Flush);
    for _ in 0..10 {
        let _ = case.store.prune(Moment(i64::MAX), 1).expect("pruned");
        case.store.commit_group(Durability::Flush);
    }
    assert_eq!(known(&mut case, RecordKind::Membership, &one), Some((Moment(8), 2)));
    assert_eq!(known(&mut case, RecordKind::Membership, &other), None);
}

/// Whose a record is follows corrections, merges and erasures.
fn a_record_is_somebodys_until_that_one_is_erased<S: Stored>(store: S) {
    const KIND: RecordKind = RecordKind::Membership;
    let mut case = Case::new(store);
    let numbers = [case.dice.personnummer(), case.dice.personnummer()];
    let [one, other] = numbers.map(|number| case.store.enroll(&number).expect("enrolled"));
    let records = ["5A0C0000-0000-4000-8000-00000000000F", "kept"].map(|text| ExternalId::parse(text).expect("an id"));
    let same = ExternalId::parse("5a0c0000-0000-4000-8000-00000000000f").expect("an id");
    let owned = |owner, former: &[CitizenId]| Owners { owner, former: former.to_vec() };
    let both = [(&records[0], owned(one, &[other])), (&records[1], owned(other, &[one, case.citizen]))];
    for (record, owners) in both.clone() {
        for id in std::iter::once(owners.owner).chain(owners.former.clone()) {
            let mut citizen = Arc::unwrap_or_clone(case.store.citizen(id).expect("readable").expect("known"));
            let _folded = citizen.disown(KIND, record, Stamp { at: Moment(1), change: 2, mark: EventMark::of("urn:test", "m") });
            case.stage(Change::PutCitizen(Arc::new(citizen)));
        }
        case.stage(Change::OwnRecord { kind: KIND, record: record.clone(), owners });
    }
    for _ in 0..2 {
        let mut owners = |kind, record: &ExternalId| case.store.record_owners(kind, record).expect("readable");
        for (record, expected) in both.clone() {
            assert_eq!(owners(KIND, record), Some(expected));
        }
        assert_eq!(owners(KIND, &same), Some(owned(one, &[other])), "in other letters");
        assert_eq!(owners(RecordKind::Residence, &records[1]), None, "of another kind");
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
    }
    case.stage(Change::Erase(one));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.record_owners(KIND, &same).expect("readable"), None);
    assert_eq!(case.store.record_owners(KIND, &records[1]).expect("readable"), Some(owned(other, &[case.citizen])));
    case.stage(Change::OwnRecord { kind: KIND, record: records[1].clone(), owners: owned(case.citizen, &[]) });
    assert_eq!(case.store.record_owners(KIND, &records[1]).expect("readable"), Some(owned(case.citizen, &[])));
    case.store.commit_group(Durability::Flush);
}

/// Whose a retained record is follows the clocks, in whichever order the two change,
/// and the ledger goes with it; nothing is left once the citizen is erased.
fn a_record_with_a_clock_goes_from_one_to_another<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let admission = case.admit(&[fund(), kommune()]);
    case.finish(&admission, fund(), false, End::Delivered);
    case.finish(&admission, kommune(), false, End::Delivered);
    let record = admission.event.external_id.clone();
    let mut clocks = [case.dice.clocks(one, 200), case.dice.clocks(other, 70)];
    // The dice give some ids more than once.
    for clocks in &mut clocks {
        clocks.records.retain(|clock| clock.external_id != record);
        clocks.tombstones.clear();
    }
    let seventh = &mut clocks[0].records[7];
    seventh.external_id = record.clone();
    seventh.entity = admission.event.record_entity().into();
    let entity = Arc::clone(&clocks[0].records[7].entity);
    case.stage(Change::PutClocks(Arc::new(clocks[0].clone())));
    case.stage(Change::PutClocks(Arc::new(clocks[1].clone())));
    for from_first in [true, false, true] {
        let (from, to) = if clocks[0].of_record(&entity, &record).is_some() { (0, 1) } else { (1, 0) };
        let owners = [clocks[0].citizen, clocks[1].citizen];
        for _ in 0..2 {
            assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), Some(owners[from]));
            assert_eq!(case.store.clock_owner("Ydelseskort", &record).expect("readable"), None, "of another type");
            let held = [from, to].map(|at| case.store.holders(owners[at], &entity, &record).expect("readable").len());
            assert_eq!(held, [2, 0]);
            case.store.commit_group(Durability::Flush);
            case.store.reopen();
        }
        let at = clocks[from].records.iter().position(|clock| clock.external_id == record).expect("there");
        let clock = clocks[from].records.swap_remove(at);
        clocks[to].records.push(Clock { under: owners[to], order: None, ..Clock::clone(&clock) }.into());
        for at in if from_first { [from, to] } else { [to, from] } {
            case.stage(Change::PutClocks(Arc::new(clocks[at].clone())));
        }
        case.stage(Change::MoveHolders {
            entity: Arc::clone(&entity),
            record: record.clone(),
            from: owners[from],
            to: owners[to],
            former: Former::Loses,
            at: Moment(10),
        });
    }
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), Some(other));
    // Whatever had it before is gone already.
    case.stage(Change::Erase(one));
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), Some(other));
    assert_eq!(case.store.holders(other, &entity, &record).expect("readable").len(), 2);
    case.stage(Change::Erase(other));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), None);
}

/// A record that is gone under both numbers is found where those are who were sent
/// something about it.
fn what_is_left_of_a_record_is_found_where_its_holders_are<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let mut clocks = case.dice.clocks(one, 1);
    clocks.tombstones.clear();
    let clock = clocks.records[0].clone();
    case.stage(Change::PutClocks(Arc::new(clocks)));
    case.store.commit_group(Durability::Flush);
    let left = |of: CitizenId| {
        let (entity, external_id) = (Arc::clone(&clock.entity), clock.external_id.clone());
        let (first_at, newest, deleted, noted) = (clock.first_at, clock.newest, Some(clock.period.start()), clock.first_at);
        let tombstone = Tombstone { under: of, entity, external_id, first_at, newest, deleted, noted };
        Change::PutClocks(Arc::new(Clocks { tombstones: vec![tombstone], ..Clocks::new(of) }))
    };
    for (from, to) in [(one, other), (other, one), (one, other)] {
        case.stage(left(from));
        let (entity, record) = (Arc::clone(&clock.entity), clock.external_id.clone());
        case.stage(Change::MoveHolders { entity, record, from, to, former: Former::Loses, at: Moment(10) });
        case.stage(left(to));
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
        assert_eq!(case.store.clock_owner(&clock.entity, &clock.external_id).expect("readable"), Some(to));
    }
    case.stage(Change::DropClocks(other));
    assert_eq!(case.store.clock_owner(&clock.entity, &clock.external_id).expect("readable"), None);
}

/// A record that is there under one number of a person and known to be gone under another:
/// where they turn out to be one, it is gone, and found under the number that knows so.
fn what_one_number_knows_to_be_gone_is_found_when_the_other_drops_it<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let (one, number) = (case.citizen, case.dice.personnummer());
    let other = case.store.enroll(&number).expect("enrolled");
    let clocks = Clocks { tombstones: Vec::new(), ..case.dice.clocks(one, 1) };
    let clock = Clock::clone(&clocks.records[0]);
    let (entity, external_id) = (Arc::clone(&clock.entity), clock.external_id.clone());
    let (first_at, newest, deleted, noted) = (clock.first_at, clock.newest, Some(clock.period.start()), clock.first_at);
    let tombstone = Tombstone { under: other, entity, external_id, first_at, newest, deleted, noted };
    let gone = Clocks { tombstones: vec![tombstone], ..Clocks::new(other) };
    case.stage(Change::PutClocks(Arc::new(gone.clone())));
    case.stage(Change::PutClocks(Arc::new(clocks)));
    assert_eq!(case.store.clock_owner(&clock.entity, &clock.external_id).expect("readable"), Some(one));
    case.stage(Change::Join { one, other });
    case.stage(Change::PutClocks(Arc::new(Clocks { citizen: one, ..gone })));
    for _ in 0..2 {
        assert_eq!(case.store.clock_owner(&clock.entity, &clock.external_id).expect("readable"), Some(other));
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
    }
}

/// A store that was written before: its clocks get their rows when they are next
/// stored, as all are once after the program has changed.
fn clocks_from_before_records_had_owners_get_them<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let clocks = case.dice.clocks(case.citizen, 3);
    let (entity, record) = (Arc::clone(&clocks.records[1].entity), clocks.records[1].external_id.clone());
    case.stage(Change::PutClocks(Arc::new(Clocks { is_current: false, ..clocks.clone() })));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), None);
    assert!(!case.store.clocks(case.citizen).expect("readable").expect("some").is_current);
    case.stage(Change::PutClocks(Arc::new(clocks)));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), Some(case.citizen));
    case.stage(Change::DropClocks(case.citizen));
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.clock_owner(&entity, &record).expect("readable"), None);
}

/// A repeat within the horizon is one, outside of it not; and the journal stops
/// growing.
fn what_is_older_than_the_horizon_goes<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let number = case.dice.personnummer();
    let mut taken_in: Vec<Admission> = Vec::new();
    for day in 0..40 {
        let mut admission = case.dice.admission(day + 1, case.citizen, number);
        admission.at = Moment(day as i64 * 86_400_000_000);
        admission.deliveries = vec![(fund(), case.dice.because())];
        case.stage(Change::Admit(Arc::new(admission.clone())));
        // Every tenth waits in a row; the rest was delivered.
        if day % 10 == 0 {
            case.row(&admission, fund(), State::Pending);
        } else {
            case.finish(&admission, fund(), false, End::Delivered);
        }
        taken_in.push(admission);
        case.stage(Change::SetLowWater(EventSeq(day + 2)));
        let pruned = case.store.prune(Moment((day as i64 - 14) * 86_400_000_000), 3).expect("pruned");
        assert_eq!(pruned, Pruned::Done);
        case.store.commit_group(Durability::Flush);
        let known = taken_in.iter().filter(|admission| case.store.taken_in(admission.seq).is_some()).count();
        assert!(known <= 16, "{known} are kept after {day} days");
    }
    for _ in 0..2 {
        for (day, admission) in taken_in.iter().enumerate() {
            let is_kept = day >= 25;
            assert_eq!(case.store.has_seen(&admission.event.mark).expect("readable"), is_kept, "day {day}");
            assert_eq!(case.store.taken_in(admission.seq).is_some(), is_kept, "day {day}");
            let has_row = case.store.delivery(DeliveryKey { recipient: fund(), seq: admission.seq }).expect("readable").is_some();
            assert_eq!(has_row, day % 10 == 0, "what waits stays");
        }
        case.store.reopen();
    }
    // Taken in anew, as whatever comes outside of the horizon may be.
    let again = Admission { seq: EventSeq(41), ..taken_in[0].clone() };
    case.stage(Change::Admit(Arc::new(again.clone())));
    case.store.commit_group(Durability::Flush);
    assert!(case.store.has_seen(&again.event.mark).expect("readable"));
    // What relies on the journal stays, however old.
    assert_eq!(case.store.prune(Moment(i64::MAX), 1000).expect("pruned"), Pruned::Done);
    case.store.commit_group(Durability::Flush);
    assert!(case.store.taken_in(EventSeq(41)).is_some());
    assert_eq!(case.store.prune(Moment(i64::MAX), 0).expect("pruned"), Pruned::Done);
}

fn a_stop_in_order_is_known_until_the_next_start<S: Stored>(store: S) {
    let mut case = Case::new(store);
    assert_eq!(case.store.stopped().expect("readable"), None, "a new store");
    case.stage(Change::Stopped(EventSeq(7)));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.stopped().expect("readable"), Some(EventSeq(7)));
    case.stage(Change::Started);
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.stopped().expect("readable"), None);
}

fn whoever_may_hold_something_is_a_holder_without_an_attempt<S: Stored>(store: S) {
    let mut case = Case::new(store);
    for (recipient, may_hold) in [(fund(), true), (kommune(), false)] {
        let record = ExternalId::parse("r").expect("an id");
        let mut admission = case.admit(&[recipient]);
        let event = Event::clone(&admission.event);
        admission.event = Arc::new(Event { entity: "Joblog".into(), external_id: record, content: Content::Other, ..event });
        let (key, event) = (DeliveryKey { recipient, seq: admission.seq }, Arc::clone(&admission.event));
        let end = End::Withdrawn(Withdrawal::MembershipEnded);
        case.stage(Change::Finish { key, citizen: case.citizen, event, had_row: false, end, attempts: 0, may_hold, at: Moment(9) });
        assert_eq!(case.holders(&admission), [fund()], "{recipient}");
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
        assert_eq!(case.holders(&admission), [fund()], "{recipient}, after a restart");
    }
}

fn a_group_sees_itself<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let number = case.dice.personnummer();
    assert_eq!(case.store.find_citizen(&number).expect("readable"), None);
    let id = case.store.enroll(&number).expect("enrolled");
    assert_eq!(case.store.find_citizen(&number).expect("readable"), Some(id));
    assert!(case.store.citizen(id).expect("readable").is_some_and(|citizen| citizen.personnummer == number));
    let admission = case.admit(&[fund(), kommune()]);
    assert!(case.store.has_seen(&admission.event.mark).expect("readable"));
    assert_eq!(case.store.last_seq(), EventSeq(1));
    assert_eq!(case.fate(&admission, fund()), Some(Fate::Unfinished));
    let row = case.row(&admission, fund(), State::Pending);
    assert_eq!(case.store.delivery(row.key).expect("readable"), Some(row));
    case.finish(&admission, kommune(), false, End::Delivered);
    assert_eq!(case.fate(&admission, kommune()), Some(Fate::Ended(End::Delivered)));
    assert_eq!(case.holders(&admission), [kommune()]);
    assert_eq!(case.store.by_wsb_id(admission.event.mark.wsb_id(kommune())).map(|(key, _)| key.recipient), Some(kommune()));
}

fn queues_show_what_is_committed<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admissions: Vec<_> = (0..5).map(|_| case.admit(&[fund()])).collect();
    let rows: Vec<_> = admissions.iter().map(|admission| case.row(admission, fund(), State::Pending)).collect();
    assert_eq!(case.store.waiting(fund(), None, 9).expect("readable"), []);
    assert_eq!(case.store.rows_of(case.citizen).expect("readable"), []);
    case.store.commit_group(Durability::Lazy);
    assert_eq!(case.store.waiting(fund(), None, 9).expect("readable"), rows);
    assert_eq!(case.store.waiting(fund(), Some(EventSeq(2)), 2).expect("readable"), rows[2..4]);
    assert_eq!(case.store.waiting(kommune(), None, 9).expect("readable"), []);
    case.row(&admissions[1], fund(), dead());
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.waiting(fund(), None, 2).expect("readable"), [rows[0].clone(), rows[2].clone()]);
    assert_eq!(case.store.rows_of(case.citizen).expect("readable").len(), 5);
}

fn a_delivery_goes_through_its_states<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admission = case.admit(&[fund()]);
    case.store.commit_group(Durability::Flush);
    let counts = |pending, retrying, dead| vec![(fund(), RowCounts { pending, retrying, dead })];
    let retrying = State::Retrying { next_at: Moment(5), last: crate::core::outbox::Failure::Timeout };
    for (state, expected) in [(State::Pending, counts(1, 0, 0)), (retrying, counts(0, 1, 0)), (dead(), counts(0, 0, 1))] {
        let row = case.row(&admission, fund(), state);
        assert_eq!(case.store.row_counts().expect("readable"), expected);
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
        assert_eq!(case.store.row_counts().expect("readable"), expected);
        assert_eq!(case.store.delivery(row.key).expect("readable"), Some(row));
    }
    case.finish(&admission, fund(), true, End::Withdrawn(crate::core::outbox::Withdrawal::Operator));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.row_counts().expect("readable"), []);
    assert!(matches!(case.fate(&admission, fund()), Some(Fate::Ended(End::Withdrawn(_)))));
    assert_eq!(case.fate(&admission, kommune()), None, "there never was one");
    let holders = case.holders(&admission);
    assert_eq!(holders, [fund()], "it was attempted twice, and may have arrived");
}

fn what_is_unclaimed_has_a_moment_for_each_rule<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admission = case.admit(&[fund()]);
    let delivery = case.row(&admission, fund(), State::Pending);
    let (fund_of_record, own_members) = (Audience::AkasseOfRecord, Audience::AkasseOwnMembers);
    let of_one = vec![(own_members, Moment(7))];
    let of_two = vec![(fund_of_record, Moment(3)), (own_members, Moment(7))];
    for rules in [&of_one, &of_two, &of_one] {
        let unclaimed = Unclaimed::by(&delivery, rules).expect("by some rule");
        case.stage(Change::PutUnclaimed(Box::new(unclaimed.clone())));
        let expected = vec![unclaimed];
        assert_eq!(case.store.unclaimed_of(case.citizen).expect("readable"), expected);
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
        assert_eq!(case.store.unclaimed_of(case.citizen).expect("readable"), expected);
        assert_eq!(case.store.unclaimed(None, 9).expect("readable"), expected);
        assert!(expected[0].rules().eq(Audience::ALL.into_iter().filter_map(|of| rules.iter().find(|(one, _)| *one == of).copied())));
    }
}

fn two_numbers_are_one_person_for_a_while<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let into = case.citizen;
    let number = case.dice.personnummer();
    let from = case.store.enroll(&number).expect("enrolled");
    case.citizen = from;
    let admission = case.admit(&[fund(), kommune()]);
    let row = case.row(&admission, fund(), State::Pending);
    case.finish(&admission, kommune(), false, End::Delivered);
    case.store.commit_group(Durability::Flush);
    let theirs = case.dice.clocks(from, 2);
    case.stage(Change::PutClocks(Arc::new(theirs.clone())));
    case.stage(Change::Join { one: from, other: into });
    for _ in 0..2 {
        assert_eq!(case.store.find_citizen(&number).expect("readable"), Some(from), "each number stays itself");
        for id in [from, into] {
            let one = case.store.citizen(id).expect("readable").expect("known");
            assert_eq!((one.id, &*one.also), (into, &[from][..]));
            assert_eq!(case.store.under_number(id).expect("readable").map(|own| (own.id, own.also.len())), Some((id, 0)));
            assert_eq!(case.store.rows_of(id).expect("readable"), [row.key]);
            assert_eq!(
                case.store.holders(id, admission.event.record_entity(), &admission.event.external_id).expect("readable"),
                [kommune()]
            );
            let clocks = case.store.clocks(id).expect("readable").expect("kept");
            assert_eq!((clocks.citizen, &clocks.records), (into, &theirs.records));
        }
        assert_eq!(case.store.partners(from), [into]);
        assert_eq!(case.store.joined(), persons(&[(from, into)]));
        assert_eq!(case.store.delivery(row.key).expect("readable").as_ref(), Some(&row), "still sealed under its own key");
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
    }
    // One more record comes under the other number; what concerns all is with the first.
    let mut all = Clocks::clone(&case.store.clocks(from).expect("readable").expect("kept"));
    let ours = case.dice.clocks(into, 1);
    all.records.extend(ours.records.clone());
    all.next = crate::core::time::Day::from_number(20_001);
    case.stage(Change::PutClocks(Arc::new(all)));
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.store.clocks_page(None, 9).expect("readable"), [into, from]);
    case.stage(Change::Part { one: into, other: from });
    for _ in 0..2 {
        assert_eq!(case.store.rows_of(from).expect("readable"), [row.key]);
        assert_eq!(case.store.rows_of(into).expect("readable"), []);
        assert_eq!(case.store.citizen(from).expect("readable").map(|citizen| (citizen.id, citizen.also.len())), Some((from, 0)));
        assert_eq!(case.store.joined(), persons(&[]));
        let [first, second] = [into, from].map(|id| case.store.clocks(id).expect("readable").expect("kept"));
        assert_eq!((&first.records, first.next.is_some()), (&ours.records, true));
        assert_eq!((&second.records, second.next), (&theirs.records, None));
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
    }
}

fn persons(joined: &[(CitizenId, CitizenId)]) -> Joined {
    let mut persons = Persons::default();
    assert!(joined.iter().all(|(one, other)| persons.join(*one, *other)));
    persons.joined()
}

fn what_nobody_finished_is_found_again<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admissions: Vec<_> = (0..4).map(|_| case.admit(&[kommune(), fund()])).collect();
    case.finish(&admissions[0], kommune(), false, End::Delivered);
    case.row(&admissions[0], fund(), State::Pending);
    case.finish(&admissions[2], fund(), false, End::Delivered);
    case.stage(Change::SetLowWater(EventSeq(2)));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    let found = case.store.unfinished_in_journal().expect("readable");
    let keys: Vec<_> = found.iter().map(|delivery| (delivery.key.seq.0, delivery.key.recipient)).collect();
    assert_eq!(keys, [(2, kommune()), (2, fund()), (3, kommune()), (4, kommune()), (4, fund())]);
    let first = &found[0];
    assert_eq!((&first.event, first.domain, first.first_at), (&admissions[1].event, admissions[1].domain, admissions[1].at));
    assert_eq!((first.attempts, &first.state, first.replays), (0, &State::Pending, 0));
    assert_eq!(Some(&first.because), admissions[1].deliveries.first().map(|(_, because)| because));
}

fn a_replayed_delivery_is_unfinished_again<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admission = case.admit(&[fund()]);
    case.finish(&admission, fund(), false, End::Delivered);
    case.store.commit_group(Durability::Flush);
    let row = case.row(&admission, fund(), State::Pending);
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.fate(&admission, fund()), Some(Fate::Unfinished));
    case.finish(&admission, fund(), true, End::Delivered);
    case.store.commit_group(Durability::Flush);
    assert_eq!(case.fate(&admission, fund()), Some(Fate::Ended(End::Delivered)));
    assert_eq!(case.store.end_and_attempts(row.key), Some((End::Delivered, 2)));
}

/// Withdrawn while under way, and confirmed after that.
fn what_ends_twice_has_ended_as_it_did_last<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let admission = case.admit(&[fund(), kommune()]);
    case.store.commit_group(Durability::Flush);
    let row = case.row(&admission, kommune(), State::Pending);
    for (recipient, had_row) in [(fund(), false), (kommune(), true)] {
        case.finish(&admission, recipient, had_row, End::Withdrawn(crate::core::outbox::Withdrawal::RecordDeleted));
        case.store.commit_group(Durability::Flush);
        case.finish(&admission, recipient, false, End::Delivered);
        case.store.commit_group(Durability::Flush);
    }
    case.store.reopen();
    for recipient in [fund(), kommune()] {
        assert_eq!(case.fate(&admission, recipient), Some(Fate::Ended(End::Delivered)), "{recipient}");
    }
    assert_eq!(case.store.replayed(row.key), (row.replays, row.delivered_before));
}

fn a_selection_stays_until_it_is_dropped<S: Stored>(store: S) {
    let mut case = Case::new(store);
    let replays: Vec<Replay> = (1..4).map(|id| case.dice.replay(ReplayId(id))).collect();
    let keys = |replay: u64, chunk: u32| -> Vec<DeliveryKey> {
        (0..replay * 3 + u64::from(chunk)).map(|seq| DeliveryKey { recipient: fund(), seq: EventSeq(seq) }).collect()
    };
    for replay in &replays {
        case.stage(Change::PutReplay(Arc::new(replay.clone())));
        for chunk in 0..3 {
            case.stage(Change::PutSelected { replay: replay.id, chunk, keys: keys(replay.id.0, chunk) });
            assert_eq!(case.store.selected(replay.id, chunk).expect("readable"), keys(replay.id.0, chunk));
        }
    }
    case.stage(Change::DropReplay(ReplayId(3)));
    case.stage(Change::DropSelected { replay: ReplayId(1), chunk: 1 });
    for _ in 0..2 {
        for (replay, chunk, there) in [(1, 0, true), (1, 1, false), (2, 2, true), (3, 0, false), (9, 0, false)] {
            let expected = if there { keys(replay, chunk) } else { Vec::new() };
            assert_eq!(case.store.selected(ReplayId(replay), chunk).expect("readable"), expected, "{replay} {chunk}");
        }
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
        assert_eq!(case.store.replays().expect("readable"), replays[..2]);
    }
    case.stage(Change::DropReplay(ReplayId(1)));
    case.store.commit_group(Durability::Flush);
    case.store.reopen();
    assert_eq!(case.store.replays().expect("readable"), replays[1..2]);
    assert_eq!(case.store.selected(ReplayId(1), 0).expect("readable"), []);
}

fn the_end_of_a_record_is_found<S: Stored>(store: S) {
    use crate::core::event::{Change as Happened, Content};
    let mut case = Case::new(store);
    let number = case.dice.personnummer();
    let other = case.store.enroll(&number).expect("enrolled");
    let record = |case: &mut Case<S>, of: CitizenId, name: &str, change, content| {
        let mut admission = case.dice.admission(case.store.last_seq().0 + 1, of, number);
        let mut event = case.dice.event(number);
        event.external_id = crate::core::ids::ExternalId::parse(name).expect("an id");
        (event.change, event.content) = (change, content);
        admission.event = Arc::new(event);
        case.stage(Change::Admit(Arc::new(admission)));
        case.store.last_seq()
    };
    let first = case.citizen;
    let deletion = || Content::Deletion { area: "joblog".into(), entity: "Joblog".into(), after_death: false };
    record(&mut case, first, "a", Happened::Created, Content::Other);
    let recalled = record(&mut case, first, "a", Happened::Deleted, Content::Other);
    let deleted = record(&mut case, other, "a", Happened::Created, deletion());
    record(&mut case, first, "b", Happened::Updated, Content::Other);
    let id = |name: &str| crate::core::ids::ExternalId::parse(name).expect("an id");
    for _ in 0..2 {
        assert_eq!(case.store.deleted(first, &id("a")), [recalled]);
        assert_eq!(case.store.deleted(other, &id("a")), [deleted], "the record of somebody else");
        assert_eq!(case.store.deleted(first, &id("b")), []);
        case.store.commit_group(Durability::Flush);
        case.store.reopen();
    }
    case.stage(Change::Join { one: other, other: first });
    for of in [first, other] {
        assert_eq!(case.store.deleted(of, &id("a")), [recalled, deleted], "one person");
    }
}

/// Only the one in memory can be crashed without a process.
#[test]
fn a_crash_loses_what_was_not_flushed() {
    let mut case = Case::new(MemoryStore::new());
    let flushed = case.admit(&[fund()]);
    case.store.commit(Durability::Flush);
    let lazy = case.admit(&[fund()]);
    case.store.commit(Durability::Lazy);
    let staged = case.admit(&[fund()]);
    let mut copy = case.store.clone();
    copy.commit(Durability::Flush);
    copy.crash();
    case.store.crash();
    let seen = |store: &mut MemoryStore, admission: &Admission| store.has_seen(&admission.event.mark) == Ok(true);
    assert_eq!([&flushed, &lazy, &staged].map(|admission| seen(&mut case.store, admission)), [true, false, false]);
    assert_eq!([&flushed, &lazy, &staged].map(|admission| seen(&mut copy, admission)), [true, true, true]);
    assert_eq!(case.store.last_seq(), EventSeq(1));
}
