//! The store on disk beside the one in memory, through random lives: whatever
//! is asked, both answer the same.

use std::sync::Arc;

use crate::core::citizen::{Citizen, Folded};
use crate::core::event::Change as Happened;
use crate::core::ids::{CitizenId, DeliveryKey, EventMark, EventSeq, Personnummer, Recipient};
use crate::core::notices::Lying;
use crate::core::outbox::{Delivery, End, State};
use crate::core::records::{Admission, Change, Fate, Lookout, Records, Unclaimed, WantedEnds};
use crate::core::retention::Clocks;
use crate::core::time::Day;

use super::super::{Durability, MemoryStore};
use super::samples::Dice;
use super::{OnDisk, Stored};

/// Both stores, and what has been put into them so far.
struct Both {
    dice: Dice,
    disk: OnDisk,
    memory: MemoryStore,
    numbers: Vec<Personnummer>,
    citizens: Vec<CitizenId>,
    events: Vec<Arc<Admission>>,
    messages: u64,
}

#[test]
fn answers_as_the_one_in_memory_does() {
    for seed in 0..6 {
        // What the test says when it fails repeats it.
        println!("seed {seed}");
        let mut both = Both {
            dice: Dice::new(seed),
            disk: OnDisk::new(),
            memory: MemoryStore::new(),
            numbers: Vec::new(),
            citizens: Vec::new(),
            events: Vec::new(),
            messages: 0,
        };
        both.enroll();
        for _ in 0..600 {
            both.step();
        }
        both.commit(Durability::Flush);
        both.compare_everything();
        both.disk.reopen();
        both.compare_everything();
    }
}

impl Both {
    fn step(&mut self) {
        match self.dice.below(100) {
            0..=4 => self.enroll(),
            5..=7 => self.join(),
            8 => self.part(),
            9..=16 => self.change_citizen(),
            17..=44 => self.admit(),
            45..=59 => self.finish_or_row(),
            60..=69 => self.touch_row(),
            70..=72 => self.set_low_water(),
            73..=75 => self.quarantine(),
            76..=77 => self.release(),
            78..=81 => self.change_clocks(),
            82..=93 => {
                let durability = self.dice.one_of(&[Durability::Flush, Durability::Lazy]);
                self.commit(durability);
                self.compare_committed();
            }
            94 => {
                self.commit(Durability::Lazy);
                self.disk.reopen();
                self.compare_committed();
            }
            95 => self.note(),
            _ => self.compare_some(),
        }
    }

    fn stage(&mut self, change: Change) {
        self.memory.stage(change.clone()).expect("staged");
        self.disk.stage(change).expect("staged");
    }

    fn commit(&mut self, durability: Durability) {
        self.memory.commit_group(durability);
        self.disk.commit_group(durability);
    }

    fn enroll(&mut self) {
        let number = self.dice.personnummer();
        if self.memory.find_citizen(&number) == Ok(None) {
            let id = self.memory.enroll(&number).expect("enrolled");
            assert_eq!(self.disk.enroll(&number).expect("enrolled"), id);
            self.numbers.push(number);
            self.citizens.push(id);
        }
    }

    fn some_citizen(&mut self) -> CitizenId {
        self.dice.one_of(&self.citizens)
    }

    fn join(&mut self) {
        let (one, other) = (self.some_citizen(), self.some_citizen());
        let Some(own) = self.memory.under_number(one).expect("readable").filter(|_| one != other) else { return };
        let mut own = Citizen::clone(&own);
        let mut event = self.dice.event(own.personnummer);
        event.change = Happened::Created;
        let (Folded::Changed | Folded::Unchanged) = own.renumber(&event, Some(other));
        if own.renumbered_to().any(|new| new == other) {
            self.stage(Change::PutCitizen(Arc::new(own)));
            self.stage(Change::Join { one, other });
        }
    }

    fn part(&mut self) {
        let one = self.some_citizen();
        if let Some(other) = self.memory.partners(one).first().copied() {
            self.stage(Change::Part { one, other });
        }
    }

    fn change_citizen(&mut self) {
        let id = self.some_citizen();
        let citizen = self.memory.under_number(id).expect("readable").expect("known");
        let citizen = Arc::new(self.dice.older(&citizen));
        self.stage(Change::PutCitizen(citizen));
    }

    fn admit(&mut self) {
        let (citizen, number) = (self.some_citizen(), self.dice.one_of(&self.numbers));
        let admission = Arc::new(self.dice.admission(self.memory.last_seq().0 + 1, citizen, number));
        self.events.push(Arc::clone(&admission));
        self.stage(Change::Admit(admission));
    }

    fn some_delivery(&mut self) -> Option<(DeliveryKey, Arc<Admission>)> {
        if self.events.is_empty() {
            return None;
        }
        let recent = self.events.len().saturating_sub(if self.dice.once_in(3) { 1000 } else { 12 });
        let admission = self.dice.one_of(&self.events[recent..]);
        let (recipient, _) = admission.deliveries.first()?.clone();
        Some((DeliveryKey { recipient, seq: admission.seq }, admission))
    }

    /// An unfinished delivery finishes; or gets a row, perhaps to be sent again.
    fn finish_or_row(&mut self) {
        let Some((key, admission)) = self.some_delivery() else { return };
        let has_row = self.memory.delivery(key).expect("readable").is_some();
        let is_open = self.memory.fate(key) == Ok(Some(Fate::Unfinished));
        // Or it ends for the second time.
        if (is_open || self.dice.once_in(4)) && !self.dice.once_in(3) {
            let (end, attempts, at) = (self.dice.end(), self.dice.below(9) as u32, self.dice.moment());
            let (citizen, event) = (admission.citizen, Arc::clone(&admission.event));
            let may_hold = end == End::Delivered || attempts > 0 || self.dice.once_in(9);
            self.stage(Change::Finish { key, citizen, event, had_row: has_row, end, attempts, may_hold, at });
        } else {
            let delivery = self.dice.delivery(key, admission.citizen, Arc::clone(&admission.event));
            self.stage(Change::PutDelivery(delivery));
        }
    }

    fn touch_row(&mut self) {
        let Some((key, _)) = self.some_delivery() else { return };
        if let Some(row) = self.memory.delivery(key).expect("readable") {
            let mut row = self.dice.delivery(key, row.citizen, row.event);
            if self.dice.once_in(4) {
                row.citizen = self.some_citizen();
            }
            self.stage(Change::PutDelivery(row));
        }
    }

    /// A citizen's records change a little, or go, or are handed over by a merge.
    fn change_clocks(&mut self) {
        let citizen = self.some_citizen();
        let known = self.memory.clocks(citizen).expect("readable");
        // Of a person, as the engine puts them.
        let citizen = self.memory.joined().first_of(citizen);
        let change = match known {
            Some(_) if self.dice.once_in(8) => Change::DropClocks(citizen),
            Some(known) if !self.dice.once_in(4) => {
                let mut clocks = Clocks::clone(&known);
                let fresh = self.dice.clocks(citizen, 2);
                match self.dice.below(4) {
                    0 => clocks.records.extend(fresh.records),
                    1 if !clocks.records.is_empty() => {
                        let at = self.dice.below(clocks.records.len() as u64) as usize;
                        clocks.records.swap_remove(at);
                    }
                    2 => (clocks.tombstones, clocks.has_due) = (fresh.tombstones, fresh.has_due),
                    _ => clocks.next = fresh.next,
                }
                Change::PutClocks(Arc::new(clocks))
            }
            Some(_) | None => {
                // Several pages, sometimes.
                let records = if self.dice.once_in(3) { self.dice.below(200) } else { self.dice.below(5) };
                Change::PutClocks(Arc::new(self.dice.clocks(citizen, records)))
            }
        };
        self.stage(change);
    }

    /// Notices come to lie somewhere or are fetched; something is deleted unexpectedly.
    fn note(&mut self) {
        let (recipient, day) = (self.dice.recipient(), Day::from_number(20_000 + self.dice.below(3) as i32).expect("a day"));
        let change = match self.dice.below(5) {
            3 => {
                let (citizen, event) = (self.some_citizen(), Arc::new(self.dice.event(self.numbers[0])));
                let key = DeliveryKey { recipient, seq: EventSeq(self.dice.below(9)) };
                let delivery = self.dice.delivery(key, citizen, event);
                Change::PutUnclaimed(Box::new(Unclaimed { delivery, at: self.dice.moment(), earlier: self.dice.earlier() }))
            }
            4 => {
                let citizen = self.some_citizen();
                let known = self.memory.unclaimed_of(citizen).expect("readable");
                let Some(one) = known.first() else { return };
                Change::DropUnclaimed { citizen: one.delivery.citizen, key: one.delivery.key }
            }
            0 => Change::PutNotices {
                recipient,
                day,
                lying: Lying { notices: 1 + self.dice.below(9), reminded: self.dice.below(22) as u32 },
            },
            1 => Change::DropNotices { recipient, day },
            _ => {
                let citizen = self.some_citizen();
                let seq = EventSeq(self.memory.last_seq().0);
                Change::NoteUnexpected(Arc::new(self.dice.unexpected(seq, citizen)))
            }
        };
        self.stage(change);
    }

    fn compare_clocks(&mut self) {
        for citizen in self.citizens.clone() {
            assert_eq!(self.disk.clocks(citizen).expect("readable"), self.memory.clocks(citizen).expect("readable"));
            assert_eq!(self.disk.unclaimed_of(citizen).expect("readable"), self.memory.unclaimed_of(citizen).expect("readable"));
        }
        assert_eq!(self.disk.order_counts().expect("readable"), self.memory.order_counts().expect("readable"));
    }

    /// The index of days, in pages, and the list of all.
    fn compare_days(&mut self) {
        let (by, limit) = (Day::from_number(20_000 + self.dice.below(32) as i32).expect("a day"), 1 + self.dice.below(5) as usize);
        let mut after = None;
        loop {
            let page = self.memory.clocks_next(by, after, limit).expect("readable");
            assert_eq!(self.disk.clocks_next(by, after, limit).expect("readable"), page);
            after = page.last().copied();
            if after.is_none() {
                break;
            }
        }
        let after =
            self.dice.maybe(|dice| (CitizenId(dice.below(9) as u32), DeliveryKey { recipient: dice.recipient(), seq: EventSeq(3) }));
        assert_eq!(self.disk.unclaimed(after, limit).expect("readable"), self.memory.unclaimed(after, limit).expect("readable"));
        let after = self.dice.maybe(|dice| CitizenId(dice.below(20) as u32));
        assert_eq!(self.disk.clocks_page(after, limit).expect("readable"), self.memory.clocks_page(after, limit).expect("readable"));
        assert_eq!(self.disk.clocks_due(after, limit).expect("readable"), self.memory.clocks_due(after, limit).expect("readable"));
        assert_eq!(self.disk.indexed_by().expect("readable"), self.memory.indexed_by().expect("readable"));
    }

    fn set_low_water(&mut self) {
        let open = self.memory.unfinished_in_journal().expect("readable");
        let low = open.first().map_or(EventSeq(self.memory.last_seq().0 + 1), |delivery| delivery.key.seq);
        self.stage(Change::SetLowWater(low));
    }

    fn quarantine(&mut self) {
        let id = self.memory.next_quarantine_id();
        assert_eq!(self.disk.next_quarantine_id(), id);
        self.messages = id;
        let quarantined = self.dice.quarantined(id);
        self.stage(Change::Quarantine(quarantined));
    }

    fn release(&mut self) {
        let id = self.dice.below(self.messages + 1);
        self.stage(Change::Release(id));
    }

    /// What a group sees of itself.
    fn compare_some(&mut self) {
        assert_eq!(self.disk.last_seq(), self.memory.last_seq());
        assert_eq!(self.disk.row_counts().expect("readable"), self.memory.row_counts().expect("readable"));
        let unknown = EventMark::of("nowhere", "never");
        assert!(!self.disk.has_seen(&unknown).expect("readable"));
        self.compare_clocks();
        for _ in 0..4 {
            let number = self.dice.one_of(&self.numbers);
            self.compare_number(number);
            let citizen = self.dice.one_of(&self.citizens);
            self.compare_citizen(citizen);
            if !self.events.is_empty() {
                let admission = self.dice.one_of(&self.events);
                self.compare_event(&admission);
            }
        }
        for id in 0..=self.messages {
            assert_eq!(self.disk.quarantined(id).expect("readable"), self.memory.quarantined(id).expect("readable"));
        }
    }

    fn compare_number(&mut self, number: Personnummer) {
        assert_eq!(self.disk.find_citizen(&number).expect("readable"), self.memory.find_citizen(&number).expect("readable"));
    }

    fn compare_citizen(&mut self, id: CitizenId) {
        assert_eq!(self.disk.citizen(id).expect("readable"), self.memory.citizen(id).expect("readable"));
    }

    fn compare_event(&mut self, admission: &Admission) {
        assert!(self.disk.has_seen(&admission.event.mark).expect("readable"));
        assert_eq!(self.disk.taken_in(admission.seq).as_deref(), Some(admission));
        let record = &admission.event.external_id;
        for number in [5, 67, 0x1000 + 101, 0x1000 + 860] {
            let recipient = Recipient::from_number(number).expect("a recipient");
            let key = DeliveryKey { recipient, seq: admission.seq };
            assert_eq!(self.disk.delivery(key).expect("readable"), self.memory.delivery(key).expect("readable"));
            assert_eq!(self.disk.fate(key).expect("readable"), self.memory.fate(key).expect("readable"), "{key:?}");
            assert_eq!(self.disk.end_and_attempts(key), self.memory.end_and_attempts(key));
            assert_eq!(self.disk.replayed(key), self.memory.replayed(key));
            let id = admission.event.mark.wsb_id(recipient);
            assert_eq!(self.disk.by_wsb_id(id), self.memory.by_wsb_id(id));
        }
        assert_eq!(self.disk.deleted(admission.citizen, record), self.memory.deleted(admission.citizen, record));
        let entity = admission.event.record_entity();
        let holders = self.memory.holders(admission.citizen, entity, record).expect("readable");
        assert_eq!(self.disk.holders(admission.citizen, entity, record).expect("readable"), holders);
    }

    /// What is seen after a commit only.
    fn compare_committed(&mut self) {
        let reader = self.disk.store().reader();
        for number in [5, 67, 0x1000 + 101, 0x1000 + 860] {
            let recipient = Recipient::from_number(number).expect("a recipient");
            let (after, limit) = (self.dice.maybe(|dice| EventSeq(dice.below(100))), self.dice.below(40) as usize);
            let expected = self.memory.waiting(recipient, after, limit).expect("readable");
            assert_eq!(self.disk.waiting(recipient, after, limit).expect("readable"), expected);
            assert_eq!(reader.waiting(recipient, after, limit).expect("readable"), expected);
            let dead = reader.dead(recipient, None, usize::MAX).expect("readable");
            let expected: Vec<_> = self.memory.rows().filter(|row| row.key.recipient == recipient).collect();
            let is_dead = |row: &Delivery| matches!(row.state, State::Dead { .. });
            assert!(dead.iter().eq(expected.into_iter().map(|row| &**row).filter(|row| is_dead(row))));
        }
        let unfinished = self.memory.unfinished_in_journal().expect("readable");
        assert_eq!(self.disk.unfinished_in_journal().expect("readable"), unfinished);
        let citizen = self.dice.one_of(&self.citizens);
        assert_eq!(self.disk.rows_of(citizen).expect("readable"), self.memory.rows_of(citizen).expect("readable"));
        let page = reader.quarantine(self.messages / 2, 5).expect("readable");
        let expected = self.memory.quarantine().filter(|quarantined| quarantined.id > self.messages / 2).take(5);
        assert!(page.iter().eq(expected));
        assert_eq!(self.disk.notices().expect("readable"), self.memory.notices().expect("readable"));
        assert_eq!(self.disk.unexpected(None, 1000), self.memory.unexpected(None, 1000));
        self.compare_days();
        self.compare_some();
    }

    fn compare_everything(&mut self) {
        self.compare_committed();
        self.numbers.clone().into_iter().for_each(|number| self.compare_number(number));
        for citizen in self.citizens.clone() {
            self.compare_citizen(citizen);
            assert_eq!(self.disk.rows_of(citizen).expect("readable"), self.memory.rows_of(citizen).expect("readable"));
        }
        self.events.clone().iter().for_each(|admission| self.compare_event(admission));
        self.compare_ends();
    }

    /// Page by page; all of them, and those of one recipient.
    fn compare_ends(&mut self) {
        let reader = self.disk.store().reader();
        for only in [None, Recipient::from_number(67)] {
            let newest = EventSeq(self.memory.last_seq().0 / 2);
            let wanted = WantedEnds { recipient: only, is_wanted: &|end| end == End::Delivered, newest, since: None };
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let page = reader.ends_page(&wanted, before, 7).expect("readable");
                found.extend(page.found);
                before = page.goes_on;
                if before.is_none() {
                    break;
                }
            }
            assert!(found.is_sorted_by(|one, next| one.0 > next.0), "the latest first");
            let mut found: Vec<_> = found.into_iter().map(|(_, key, ended)| (key, ended)).collect();
            found.sort_by_key(|(key, _)| *key);
            let numbers = [5, 67, 0x1000 + 101, 0x1000 + 860];
            let recipients = numbers.into_iter().filter_map(Recipient::from_number).filter(|of| only.is_none_or(|only| only == *of));
            let keys = recipients.flat_map(|recipient| self.events.iter().map(move |event| DeliveryKey { recipient, seq: event.seq }));
            let ended = keys.filter_map(|key| Some((key, self.memory.finished(key)?)));
            let mut expected: Vec<_> = ended.filter(|(key, ended)| ended.end == End::Delivered && key.seq <= newest).collect();
            expected.sort_by_key(|(key, _)| *key);
            assert_eq!(found, expected);
        }
    }
}
