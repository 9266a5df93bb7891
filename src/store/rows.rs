//! The keys of rows: one letter that says what the row is, then numbers of
//! fixed width, big-endian, so that rows order as their numbers do.
//!
//! | key | row |
//! | --- | --- |
//! | `m` name | about the store itself |
//! | `N` place of a personnummer (17) | whose it is |
//! | `I` hash of a record's kind or type, and id (16) | whose the record is, and was |
//! | `o`, `x` number (8) | what a group has changed of the set |
//! | `C` citizen (4) | the citizen's record |
//! | `M` citizen (4) citizen (4) | that the two are one person |
//! | `E` citizen (4) | that the citizen's key is to be, or has been, overwritten |
//! | `J` seq of the first (8) | events taken in, packed |
//! | `S` next seq (8) counter (4) | deliveries finished, packed |
//! | `W`, `D` recipient (2) seq (8) | a delivery that waits, or is dead |
//! | `X` citizen (4) recipient (2) seq (8) | that the citizen has this row; of older stores |
//! | `w` citizen (4) recipient (2) seq (8) | a delivery that was withdrawn, and that nobody has taken over |
//! | `A` seq (8) | an entry of the audit log; `maudit`: where it begins and ends |
//! | `F` seq (8) recipient (2) | how a delivery ended that had a row |
//! | `P` id (8) | a replay |
//! | `p` id of the replay (8) chunk (4) | a part of what it selected |
//! | `T` citizen (4) page (2) | what is kept of the citizen's records, for the deletion rules |
//! | `U` day (4) citizen (4) | that there may be something to do about them on that day |
//! | `Y` recipient (2) day (4) | how many notices delivered on that day lie unfetched |
//! | `y` seq (8) | a deletion that the rules did not expect |
//! | `zr` hash of a record's kind and id (16) | when it was registered last about somebody who is forgotten |
//! | `zs` seq (8) the same hash (16) | that this was noted then |
//! | `u` citizen (4) | that some of them is due |
//! | `O` day (4) | how many deletion orders first given on that day are not answered |
//! | `ts` seq (8) recipient (2) moment (8) kind (1) | what happened to a delivery |
//! | `ti` fingerprint (8) | the delivery of that id, which took over from another |
//! | `Q` id (8) | a message in quarantine, or the first piece of a long one |
//! | `q` id (8) piece (4) | what follows of a long one |
//! | `K` place of a personnummer (17) id (8) | that the message seems to be about this number |
//! | `Z` | how much of the list of erased slots the store has seen |
//! | `V` recipient (2) | that the recipient's queue is left alone, or was |
//! | `L` citizen (4) recipient (2) domain (1) | that the lane is parked, or was |
//! | `G` recipient (2) cause | how many deliveries are dead of this cause |
//! | `H`, `B`, `R` which (1) run (4) | sorted runs: heading, filter, keys; see `runs` |

use crate::core::ids::{CitizenId, DeliveryKey, EventSeq, Recipient};
use crate::core::time::{Day, Moment};

use super::numbering::NumberPlace;

pub(super) const FORMAT: &[u8] = b"mformat";
pub(super) const CHECK: &[u8] = b"mcheck";
pub(super) const NUMBERS: &[u8] = b"mnumbers";
/// Which secret numbers are hashed with.
pub(super) const NUMBER_KEY: &[u8] = b"mnumberkey";
/// How much of the list of erased slots the store has seen.
pub(super) const ERASED_TO: &[u8] = b"Z";
pub(super) const AUDIT: &[u8] = b"maudit";
/// How messages in quarantine are filed.
pub(super) const FILED_BY: &[u8] = b"mfiledby";
/// That the records with clocks are found by runs alone, and by no row `I`.
pub(super) const OWNERS: &[u8] = b"mowners";
/// That the broker has stopped in order, and whatever it sent is known.
pub(super) const STOPPED: &[u8] = b"mstopped";
/// By which schedule the rows `U` were computed.
pub(super) const SCHEDULE: &[u8] = b"mschedule";

/// Bytes of a piece of a message in quarantine. sled counts rows of this size as
/// what they are; it keeps larger ones in memory far above its cache's bound: after
/// 480 MiB of them with a cache of 64 MiB 150 MiB were resident, 207 with rows of
/// 16 KiB, 418 with 64 KiB, and 539 in whole messages of 8 MiB.
pub(super) const PIECE: usize = 4096;

/// A row key on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row<const N: usize>(pub [u8; N]);

impl<const N: usize> AsRef<[u8]> for Row<N> {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Joins a letter and parts that together have the width of the key.
fn join<const N: usize>(letter: u8, parts: &[&[u8]]) -> Row<N> {
    let mut key = [0; N];
    key[0] = letter;
    let mut at = 1;
    for part in parts {
        key[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N);
    Row(key)
}

pub(super) fn number(place: &NumberPlace) -> Row<18> {
    join(b'N', &[place])
}

pub(super) fn owner(record: &[u8; 16]) -> Row<17> {
    join(b'I', &[record])
}

pub(super) fn changed(set: u8, number: u64) -> Row<9> {
    join(set, &[&number.to_be_bytes()])
}

pub(super) fn citizen(slot: u32) -> Row<5> {
    join(b'C', &[&slot.to_be_bytes()])
}

pub(super) fn joined(one: CitizenId, other: CitizenId) -> Row<9> {
    let (first, second) = (one.min(other), one.max(other));
    join(b'M', &[&first.0.to_be_bytes(), &second.0.to_be_bytes()])
}

pub(super) fn joined_two(key: &[u8]) -> Option<(CitizenId, CitizenId)> {
    let (one, other) = key.get(1..)?.split_first_chunk::<4>()?;
    Some((CitizenId(u32::from_be_bytes(*one)), CitizenId(u32::from_be_bytes(other.try_into().ok()?))))
}

pub(super) fn erased(slot: u32) -> Row<5> {
    join(b'E', &[&slot.to_be_bytes()])
}

pub(super) fn journal(seq: u64) -> Row<9> {
    join(b'J', &[&seq.to_be_bytes()])
}

/// What an admission is bound to; not the key of its row, which holds many.
pub(super) fn admission(seq: u64, slot: u32) -> Row<13> {
    join(b'J', &[&seq.to_be_bytes(), &slot.to_be_bytes()])
}

pub(super) fn finishes(next_seq: u64, counter: u32) -> Row<13> {
    join(b'S', &[&next_seq.to_be_bytes(), &counter.to_be_bytes()])
}

/// Returns what the key of packed finishes says.
pub(super) fn finishes_at(key: &[u8]) -> Option<(EventSeq, u32)> {
    let (next, counter) = key.get(1..)?.split_first_chunk::<8>()?;
    Some((EventSeq(u64::from_be_bytes(*next)), u32::from_be_bytes(counter.try_into().ok()?)))
}

/// Whether a delivery's row is among those that wait or among the dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    Waiting,
    Dead,
}

impl Shelf {
    pub const fn letter(self) -> u8 {
        match self {
            Self::Waiting => b'W',
            Self::Dead => b'D',
        }
    }
}

pub(super) fn delivery(shelf: Shelf, key: DeliveryKey) -> Row<11> {
    join(shelf.letter(), &[&key.recipient.to_number().to_be_bytes(), &key.seq.0.to_be_bytes()])
}

pub(super) fn of_citizen(slot: u32, key: DeliveryKey) -> Row<15> {
    join(b'X', &[&slot.to_be_bytes(), &key.recipient.to_number().to_be_bytes(), &key.seq.0.to_be_bytes()])
}

pub(super) fn all_of_citizen(slot: u32) -> Row<5> {
    join(b'X', &[&slot.to_be_bytes()])
}

pub(super) fn unclaimed(slot: u32, key: DeliveryKey) -> Row<15> {
    join(b'w', &[&slot.to_be_bytes(), &key.recipient.to_number().to_be_bytes(), &key.seq.0.to_be_bytes()])
}

pub(super) fn all_unclaimed(slot: u32) -> Row<5> {
    join(b'w', &[&slot.to_be_bytes()])
}

pub(super) fn ended(key: DeliveryKey) -> Row<11> {
    join(b'F', &[&key.seq.0.to_be_bytes(), &key.recipient.to_number().to_be_bytes()])
}

pub(super) fn replay(id: u64) -> Row<9> {
    join(b'P', &[&id.to_be_bytes()])
}

pub(super) fn selected(replay: u64, chunk: u32) -> Row<13> {
    join(b'p', &[&replay.to_be_bytes(), &chunk.to_be_bytes()])
}

pub(super) fn all_selected(replay: u64) -> Row<9> {
    join(b'p', &[&replay.to_be_bytes()])
}

pub(super) fn audit(seq: u64) -> Row<9> {
    join(b'A', &[&seq.to_be_bytes()])
}

pub(super) fn held_queue(recipient: Recipient) -> Row<3> {
    join(b'V', &[&recipient.to_number().to_be_bytes()])
}

pub(super) fn held_lane(slot: u32, recipient: Recipient, domain: u8) -> Row<8> {
    join(b'L', &[&slot.to_be_bytes(), &recipient.to_number().to_be_bytes(), &[domain]])
}

pub(super) fn clocks(slot: u32, page: u16) -> Row<7> {
    join(b'T', &[&slot.to_be_bytes(), &page.to_be_bytes()])
}

pub(super) fn all_clocks(slot: u32) -> Row<5> {
    join(b'T', &[&slot.to_be_bytes()])
}

pub(super) fn look(day: Day, slot: u32) -> Row<9> {
    join(b'U', &[&day_bytes(day), &slot.to_be_bytes()])
}

pub(super) fn has_due(slot: u32) -> Row<5> {
    join(b'u', &[&slot.to_be_bytes()])
}

pub(super) fn orders(day: Day) -> Row<5> {
    join(b'O', &[&day_bytes(day)])
}

pub(super) fn notices(recipient: Recipient, day: Day) -> Row<7> {
    join(b'Y', &[&recipient.to_number().to_be_bytes(), &day_bytes(day)])
}

/// Reads the key of a row `Y`.
pub(super) fn noticed(key: &[u8]) -> Option<(Recipient, Day)> {
    let recipient = Recipient::from_number(u16::from_be_bytes(*key.get(1..)?.first_chunk()?))?;
    Some((recipient, day_of(key.get(3..)?)?))
}

pub(super) fn spent(record: &[u8; 16]) -> Row<18> {
    join(b'z', &[b"r", record])
}

/// Where all begin that were noted when this event was the newest.
pub(super) fn all_spent(seq: u64) -> Row<10> {
    join(b'z', &[b"s", &seq.to_be_bytes()])
}

pub(super) fn spent_at(seq: u64, record: &[u8; 16]) -> Row<26> {
    join(b'z', &[b"s", &seq.to_be_bytes(), record])
}

/// Reads the record of a row of [`spent`] or [`spent_at`].
pub(super) fn spent_record(key: &[u8]) -> Option<[u8; 16]> {
    key.split_last_chunk::<16>().map(|(_, record)| *record)
}

/// Reads the event of a row of [`spent_at`].
pub(super) fn spent_seq(key: &[u8]) -> Option<u64> {
    key.get(2..)?.first_chunk::<8>().map(|seq| u64::from_be_bytes(*seq))
}

pub(super) fn unexpected(seq: EventSeq) -> Row<9> {
    join(b'y', &[&seq.0.to_be_bytes()])
}

/// A day in order: the sign bit turned, so that days before 1970 come first.
fn day_bytes(day: Day) -> [u8; 4] {
    (day.number() as u32 ^ 1 << 31).to_be_bytes()
}

/// Reads the day that four bytes begin with.
pub(super) fn day_of(bytes: &[u8]) -> Option<Day> {
    let number = u32::from_be_bytes(*bytes.first_chunk::<4>()?);
    Day::from_number((number ^ 1 << 31) as i32)
}

/// Reads the key of a row `U`.
pub(super) fn looked_up(key: &[u8]) -> Option<(Day, CitizenId)> {
    let day = day_of(key.get(1..)?)?;
    key.get(5..)?.first_chunk::<4>().map(|slot| (day, CitizenId(u32::from_be_bytes(*slot))))
}

/// Stands for no recipient in the key of a step: it is of the event itself.
const NOBODY: u16 = u16::MAX;

/// A step of a trace, of the delivery to a recipient or of the event itself.
pub(super) fn step(seq: EventSeq, recipient: Option<Recipient>, at: Moment, kind: u8) -> Row<21> {
    let recipient = recipient.map_or(NOBODY, Recipient::to_number);
    // So that moments before 1970 order before those after.
    let at = (at.0 as u64) ^ (1 << 63);
    join(b't', &[b"s", &seq.0.to_be_bytes(), &recipient.to_be_bytes(), &at.to_be_bytes(), &[kind]])
}

/// What the keys of steps of an event begin with.
pub(super) fn steps(seq: u64) -> Row<10> {
    join(b't', &[b"s", &seq.to_be_bytes()])
}

pub(super) fn step_of(key: DeliveryKey) -> [u8; 10] {
    let mut of = [0; 10];
    of[..8].copy_from_slice(&key.seq.0.to_be_bytes());
    of[8..].copy_from_slice(&key.recipient.to_number().to_be_bytes());
    of
}

/// Reverses [`step_of`].
pub(super) fn step_key(of: &[u8]) -> Option<DeliveryKey> {
    let (seq, rest) = of.split_first_chunk::<8>()?;
    let recipient = Recipient::from_number(u16::from_be_bytes(*rest.first_chunk()?))?;
    Some(DeliveryKey { recipient, seq: EventSeq(u64::from_be_bytes(*seq)) })
}

/// Returns whose delivery a step is of, if any, and when it happened.
pub(super) fn step_place(key: &[u8]) -> Option<(Option<Recipient>, Moment)> {
    let recipient = match u16::from_be_bytes(*key.get(10..12)?.first_chunk()?) {
        NOBODY => None,
        number => Some(Recipient::from_number(number)?),
    };
    let at = u64::from_be_bytes(*key.get(12..20)?.first_chunk()?);
    Some((recipient, Moment((at ^ (1 << 63)) as i64)))
}

pub(super) fn took_over(fingerprint: u64) -> Row<10> {
    join(b't', &[b"i", &fingerprint.to_be_bytes()])
}

pub(super) fn quarantined(id: u64) -> Row<9> {
    join(b'Q', &[&id.to_be_bytes()])
}

pub(super) fn quarantined_piece(id: u64, piece: u32) -> Row<13> {
    join(b'q', &[&id.to_be_bytes(), &piece.to_be_bytes()])
}

pub(super) fn quarantined_about(place: &NumberPlace, id: u64) -> Row<26> {
    join(b'K', &[place, &id.to_be_bytes()])
}

/// Reads the last ten bytes of a `W`, `D` or `X` key.
pub(super) fn delivery_key(key: &[u8]) -> Option<DeliveryKey> {
    let (_, tail) = key.split_last_chunk::<10>()?;
    let recipient = Recipient::from_number(u16::from_be_bytes([tail[0], tail[1]]))?;
    let (_, seq) = tail.split_last_chunk::<8>()?;
    Some(DeliveryKey { recipient, seq: EventSeq(u64::from_be_bytes(*seq)) })
}

/// Reads the last eight bytes.
pub(super) fn last_u64(key: &[u8]) -> Option<u64> {
    key.split_last_chunk::<8>().map(|(_, number)| u64::from_be_bytes(*number))
}

/// Reads the eight bytes after the letter.
pub(super) fn first_u64(key: &[u8]) -> Option<u64> {
    key.get(1..)?.first_chunk::<8>().map(|seq| u64::from_be_bytes(*seq))
}

/// Reads the four bytes after the letter.
pub(super) fn first_citizen(key: &[u8]) -> Option<CitizenId> {
    key.get(1..)?.first_chunk::<4>().map(|slot| CitizenId(u32::from_be_bytes(*slot)))
}
