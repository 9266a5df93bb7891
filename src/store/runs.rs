//! Large sets of small keys, as sorted runs. sled pays for every row, so keys
//! that arrive in random order are gathered in memory, sorted, and written 512
//! to a row; eight runs of a size are merged into one of the next.
//!
//! In a set that keys can be removed from, a key with [`GONE`] set says that the
//! key without it is not there any more, whatever older runs say. It is dropped
//! by a merge that leaves no older run.
//!
//! The gathered keys are not stored: at opening they are found again in the
//! journal after the place that the newest run covers. The work of writing and
//! merging is spread over the commits in proportion to what they add.
//!
//! Such a set is told the same key over and over. What is told again is dropped
//! when runs are merged, so all of them are merged into one whenever the others
//! have half as many keys as the largest: the set never takes much more than half
//! as much again as its keys need, and a key is still written a few times only.

use std::collections::BTreeSet;

use super::codec::{Input, Output, Undecodable};
use super::error::StoreError;
use super::filter::Filter;
use super::gathered::Gathered;
use super::rows::Row;

mod merging;
mod packing;

use merging::Source;

/// Keys in a row.
const ROW: usize = 512;
/// Runs of one level that are merged into one of the next.
const FAN_IN: usize = 8;
/// Runs of this level are not merged any more, so that they grow old, and can
/// be dropped, one by one.
const LAST_LEVEL: u8 = 3;
/// The same for a set that is not dropped by age: more keys than there will be.
const LAST_LEVEL_KEPT: u8 = 5;
/// In the first byte after the prefix of a key: it is not there any more.
pub(super) const GONE: u8 = 0x80;
/// Bytes of a stored piece of a filter.
const PIECE: usize = 12 * 1024;
/// Keys written for each key added, while there is something to write. Every key
/// is written once for each level, so this must exceed the number of levels.
const PACE: usize = 6;
/// The same for a set of which all runs are merged now and then: a key is written
/// once as it comes, once with its level, three times on the average with
/// everything else, and removed as often.
const PACE_KEPT: usize = 12;

/// Up to where in the journal a run holds everything: which place that is, only
/// the owner of the set knows. Orders as its bytes do.
pub(super) type Cover = [u8; 12];

/// A set of keys of `KEY` bytes, searched by their first `PREFIX` bytes.
#[derive(Debug)]
pub(super) struct Runs<const KEY: usize, const PREFIX: usize> {
    letter: u8,
    removal: Removal,
    gathered: Gathered<KEY, PREFIX>,
    limit: usize,
    runs: Vec<Run>,
    next_run: u32,
    /// The run of gathered keys, which goes before all else: until it is complete
    /// they are in memory.
    writing: Option<Writing<KEY>>,
    /// The run that others are merged into.
    merging: Option<Writing<KEY>>,
    /// Runs that are not read any more, with how many of their rows are left.
    dropped: Vec<(u32, u32)>,
    /// How many keys may be written before more must be added.
    credit: usize,
}

/// How keys leave a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// With the whole run, when it is old.
    Never,
    /// One by one.
    ByKey,
}

/// A complete run.
#[derive(Debug)]
struct Run {
    id: u32,
    level: u8,
    keys: u64,
    cover: Cover,
    /// The first bytes of the first key of each row.
    firsts: Vec<u64>,
    filter: Filter,
    pieces: u32,
}

/// A run that is being written.
#[derive(Debug)]
struct Writing<const KEY: usize> {
    run: Run,
    source: Source<KEY>,
    row: Vec<u8>,
    in_row: usize,
    /// The newest key of the row.
    last: Option<[u8; KEY]>,
    /// What is read instead of the new run until that is complete.
    frozen: Vec<[u8; KEY]>,
    replaces: Vec<u32>,
}

/// What a stored heading says of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Complete,
    /// Being written or being removed: not to be read.
    Unfit,
}

impl<const KEY: usize, const PREFIX: usize> Runs<KEY, PREFIX> {
    /// Opens the set; removes what a crash has left of runs.
    pub fn open(tree: &sled::Tree, letter: u8, limit: usize, removal: Removal) -> Result<Self, StoreError> {
        let mut set = Self {
            letter,
            removal,
            gathered: Gathered::new(),
            limit,
            runs: Vec::new(),
            next_run: 0,
            writing: None,
            merging: None,
            dropped: Vec::new(),
            credit: 0,
        };
        for heading in tree.scan_prefix([b'H', letter]) {
            let (key, value) = heading?;
            let id = key.get(2..).and_then(<[u8]>::first_chunk::<4>).map(|id| u32::from_be_bytes(*id));
            let id = id.ok_or(Undecodable { what: "the key of a run" })?;
            set.next_run = set.next_run.max(id + 1);
            match decode_heading(&value)? {
                (Standing::Complete, level, keys, cover, pieces) => {
                    let run = set.load(tree, Run { id, level, keys, cover, firsts: Vec::new(), filter: Filter::for_keys(0), pieces })?;
                    set.runs.push(run);
                }
                (Standing::Unfit, ..) => set.remove_rows(tree, id)?,
            }
        }
        Ok(set)
    }

    /// Returns the place up to which runs hold everything.
    pub fn cover(&self) -> Cover {
        self.runs.iter().map(|run| run.cover).max().unwrap_or_default()
    }

    /// Returns how many keys there are, those counted twice that are in two runs.
    pub fn len(&self) -> u64 {
        let frozen = self.writing.as_ref().map_or(0, |writing| writing.frozen.len());
        (self.gathered.len() + frozen) as u64 + self.runs.iter().map(|run| run.keys).sum::<u64>()
    }

    pub fn insert(&mut self, key: [u8; KEY]) {
        if self.removal == Removal::ByKey {
            self.gathered.remove(hash(&key[..PREFIX]), &gone::<KEY, PREFIX>(key));
        }
        if self.gathered.insert(hash(&key[..PREFIX]), key) {
            self.credit += self.pace();
        }
    }

    fn pace(&self) -> usize {
        match self.removal {
            Removal::Never => PACE,
            Removal::ByKey => PACE_KEPT,
        }
    }

    /// Returns every key with the prefix, in order.
    pub fn find(&self, tree: &sled::Tree, prefix: &[u8; PREFIX]) -> Result<BTreeSet<[u8; KEY]>, StoreError> {
        let hash = hash(prefix);
        let mut found = BTreeSet::new();
        // The oldest first: what is newer may say that a key has gone.
        let mut runs: Vec<&Run> = self.runs.iter().filter(|run| run.filter.may_hold(hash)).collect();
        runs.sort_by_key(|run| run.cover);
        for run in runs {
            let mut in_run = BTreeSet::new();
            self.find_in(tree, run, prefix, &mut in_run)?;
            self.apply(in_run, &mut found);
        }
        if let Some(writing) = &self.writing {
            let from = writing.frozen.partition_point(|key| key[..PREFIX] < prefix[..]);
            self.apply(writing.frozen[from..].iter().take_while(|key| key.starts_with(prefix)).copied(), &mut found);
        }
        self.apply(self.gathered.find(hash, prefix).copied(), &mut found);
        Ok(found)
    }

    /// Takes over what is newer than what was found so far.
    fn apply(&self, newer: impl IntoIterator<Item = [u8; KEY]>, found: &mut BTreeSet<[u8; KEY]>) {
        for key in newer {
            if self.removal == Removal::ByKey && is_gone::<KEY, PREFIX>(&key) {
                found.remove(&without_mark::<KEY, PREFIX>(key));
            } else {
                found.insert(key);
            }
        }
    }

    /// Removes a key, of a set that they can be removed from.
    pub fn remove(&mut self, key: [u8; KEY]) {
        let hash = hash(&key[..PREFIX]);
        self.gathered.remove(hash, &key);
        let is_frozen = self.writing.as_ref().is_some_and(|writing| writing.frozen.binary_search(&key).is_ok());
        // Where no run can have it, there is nothing to say.
        let may_be_there = is_frozen || self.runs.iter().any(|run| run.filter.may_hold(hash));
        if may_be_there && self.gathered.insert(hash, gone::<KEY, PREFIX>(key)) {
            self.credit += self.pace();
        }
    }

    /// Does to the set what a key says: that it is there, or that it has gone.
    pub fn apply_one(&mut self, key: [u8; KEY]) {
        match is_gone::<KEY, PREFIX>(&key) {
            true => self.remove(without_mark::<KEY, PREFIX>(key)),
            false => self.insert(key),
        }
    }

    /// Looks at every key that is there, at some of them twice.
    pub fn each(&self, tree: &sled::Tree, mut look: impl FnMut(&[u8; KEY]) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut look_at = |key: &[u8; KEY]| {
            let Some(prefix) = key.first_chunk::<PREFIX>() else { return Ok(()) };
            if !is_gone::<KEY, PREFIX>(key) && self.find(tree, prefix)?.contains(key) { look(key) } else { Ok(()) }
        };
        let frozen = self.writing.iter().flat_map(|writing| &writing.frozen);
        self.gathered.all().chain(frozen).try_for_each(&mut look_at)?;
        for run in &self.runs {
            for at in 0..run.firsts.len() {
                self.row(tree, run.id, at as u32)?.iter().try_for_each(&mut look_at)?;
            }
        }
        Ok(())
    }

    /// Checks that every run has its rows, in order, and finds its own keys;
    /// returns what is wrong, in words.
    pub fn check(&self, tree: &sled::Tree) -> Result<Vec<String>, StoreError> {
        let mut wrong = Vec::new();
        for run in &self.runs {
            let (mut last, mut keys) = (None, 0);
            for (at, first) in run.firsts.iter().enumerate() {
                let in_row = match self.row(tree, run.id, at as u32) {
                    Ok(in_row) => in_row,
                    Err(StoreError::Contradiction(why)) => {
                        wrong.push(why);
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let is_headed = in_row.first().is_some_and(|key| leading(key) == *first);
                let is_sorted = last.is_none_or(|last| in_row.first().is_some_and(|key| *key > last)) && in_row.is_sorted();
                let is_found = in_row.iter().all(|key| run.filter.may_hold(hash(&key[..PREFIX])));
                if !(is_headed && is_sorted && is_found) {
                    wrong.push(format!("row {at} of run {} is not in order", run.id));
                }
                last = in_row.last().copied().or(last);
                keys += in_row.len() as u64;
            }
            if keys != run.keys {
                wrong.push(format!("run {} has {keys} keys, and says {}", run.id, run.keys));
            }
        }
        Ok(wrong)
    }

    /// Returns how many keys begin with `head`, those counted twice that are in
    /// two runs.
    pub fn count_from(&self, tree: &sled::Tree, head: &[u8]) -> Result<u64, StoreError> {
        let mut count = self.gathered.all().filter(|key| key.starts_with(head)).count();
        if let Some(writing) = &self.writing {
            count += writing.frozen.iter().filter(|key| key.starts_with(head)).count();
        }
        for run in &self.runs {
            for at in run.rows_with(head) {
                let keys = self.row(tree, run.id, at)?;
                count += keys.iter().filter(|key| key.starts_with(head)).count();
            }
        }
        Ok(count as u64)
    }

    fn find_in(&self, tree: &sled::Tree, run: &Run, prefix: &[u8; PREFIX], found: &mut BTreeSet<[u8; KEY]>) -> Result<(), StoreError> {
        for at in run.rows_with(prefix) {
            let keys = self.row(tree, run.id, at)?;
            let begin = keys.partition_point(|key| key[..PREFIX] < prefix[..]);
            found.extend(keys[begin..].iter().take_while(|key| key.starts_with(prefix)));
        }
        Ok(())
    }

    fn row(&self, tree: &sled::Tree, run: u32, at: u32) -> Result<Vec<[u8; KEY]>, StoreError> {
        let wrong = |how: &str| StoreError::Contradiction(format!("row {at} of run {run} of set {} {how}", char::from(self.letter)));
        let row = tree.get(part(b'R', self.letter, run, at))?.ok_or_else(|| wrong("is missing"))?;
        let keys = match self.removal {
            Removal::Never => Some(row.as_chunks::<KEY>()).filter(|(_, rest)| rest.is_empty()).map(|(keys, _)| keys.to_vec()),
            Removal::ByKey => packing::unpack(&row),
        };
        keys.ok_or_else(|| wrong("is no row"))
    }

    fn load(&self, tree: &sled::Tree, mut run: Run) -> Result<Run, StoreError> {
        let mut bytes = Vec::new();
        for piece in 0..run.pieces {
            let missing =
                || StoreError::Contradiction(format!("the filter of run {} of set {} is missing", run.id, char::from(self.letter)));
            bytes.extend_from_slice(&tree.get(part(b'B', self.letter, run.id, piece))?.ok_or_else(missing)?);
        }
        let mut input = Input::new(&bytes, "the filter of a run");
        let rows = input.u32()?;
        run.firsts = (0..rows).map(|_| input.u64()).collect::<Result<_, _>>()?;
        let filter = input.bytes()?;
        run.filter = Filter::from_bytes(filter).ok_or(input.error())?;
        Ok(run)
    }

    fn remove_rows(&self, tree: &sled::Tree, run: u32) -> Result<(), StoreError> {
        for letter in [b'R', b'B', b'H'] {
            let mut batch = sled::Batch::default();
            for row in tree.scan_prefix(heading(letter, self.letter, run)).keys() {
                batch.remove(row?);
            }
            tree.apply_batch(batch)?;
        }
        Ok(())
    }
}

/// Returns what says that the key has gone.
pub(super) fn gone<const KEY: usize, const PREFIX: usize>(mut key: [u8; KEY]) -> [u8; KEY] {
    key[PREFIX] |= GONE;
    key
}

fn is_gone<const KEY: usize, const PREFIX: usize>(key: &[u8; KEY]) -> bool {
    key[PREFIX] & GONE != 0
}

fn without_mark<const KEY: usize, const PREFIX: usize>(mut key: [u8; KEY]) -> [u8; KEY] {
    key[PREFIX] &= !GONE;
    key
}

impl Run {
    /// Returns the rows that may hold keys which begin with `head`.
    fn rows_with(&self, head: &[u8]) -> impl Iterator<Item = u32> {
        let (mut first, mut last) = ([0; 8], [0xff; 8]);
        for bound in [&mut first, &mut last] {
            bound.iter_mut().zip(head).for_each(|(to, byte)| *to = *byte);
        }
        let (first, last) = (u64::from_be_bytes(first), u64::from_be_bytes(last));
        // The row before the first that begins with it or after it may end with it.
        let from = self.firsts.partition_point(|row| *row < first).saturating_sub(1);
        self.firsts.iter().enumerate().skip(from).take_while(move |(_, row)| **row <= last).map(|(at, _)| at as u32)
    }

    fn encode_heading(&self, standing: Standing) -> Vec<u8> {
        let mut out = vec![1];
        out.u8(match standing {
            Standing::Complete => 1,
            Standing::Unfit => 0,
        });
        out.u8(self.level);
        out.u64(self.keys);
        out.raw(&self.cover);
        out.u32(self.pieces);
        out
    }
}

type Heading = (Standing, u8, u64, Cover, u32);

fn decode_heading(bytes: &[u8]) -> Result<Heading, Undecodable> {
    let mut input = Input::versioned(bytes, "the heading of a run")?;
    let standing = if input.flag()? { Standing::Complete } else { Standing::Unfit };
    let heading = (standing, input.u8()?, input.u64()?, input.array()?, input.u32()?);
    input.end()?;
    Ok(heading)
}

/// Returns the prefix's place among the hashes of the filter. The prefix is a
/// keyed fingerprint, or one together with a small number, so little is needed.
fn hash(prefix: &[u8]) -> u64 {
    let (head, tail) = prefix.split_at(prefix.len().saturating_sub(8));
    let word = |bytes: &[u8]| bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let hash = word(tail) ^ word(head).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash.rotate_left(32).wrapping_mul(0xc4ce_b9fe_1a85_ec53)
}

/// Returns the first eight bytes as a number that orders as they do.
fn leading(key: &[u8]) -> u64 {
    key.iter().take(8).fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn heading(letter: u8, set: u8, run: u32) -> Row<6> {
    let [a, b, c, d] = run.to_be_bytes();
    Row([letter, set, a, b, c, d])
}

fn part(letter: u8, set: u8, run: u32, at: u32) -> Row<10> {
    let ([a, b, c, d], [e, f, g, h]) = (run.to_be_bytes(), at.to_be_bytes());
    Row([letter, set, a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::*;

    const LIMIT: usize = 1024;

    /// A ledger's key: 200 citizens, 5 records each, 2 or 3 recipients each.
    fn key(citizen: u32, record: u64, recipient: u16) -> [u8; 14] {
        let mut key = [0; 14];
        key[..4].copy_from_slice(&citizen.to_be_bytes());
        let fingerprint = (u64::from(citizen) << 8 | record).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        key[4..12].copy_from_slice(&fingerprint.to_be_bytes());
        key[12..].copy_from_slice(&recipient.to_be_bytes());
        key
    }

    fn keys() -> Vec<[u8; 14]> {
        let records = (0..200 * 5).map(|at: u32| (at * 7 % 200, u64::from(at / 200)));
        records
            .flat_map(|(citizen, record)| (0..2 + citizen as u16 % 2).map(move |recipient| key(citizen, record, 700 + recipient)))
            .collect()
    }

    /// A set in a store of its own.
    struct Stored {
        _directory: tempfile::TempDir,
        db: sled::Db,
        set: Runs<14, 12>,
        commits: u64,
    }

    impl Stored {
        fn new() -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let db = sled::Config::new().path(directory.path()).open().expect("a store");
            let set = Runs::open(&db, b'l', LIMIT, Removal::ByKey).expect("a set");
            Self { _directory: directory, db, set, commits: 0 }
        }

        /// Commits as the writer does, and checks what is to be kept in memory.
        fn commit(&mut self) {
            self.commits += 1;
            let mut cover = Cover::default();
            cover[..8].copy_from_slice(&self.commits.to_be_bytes());
            let mut batch = Batch::default();
            self.set.work(&self.db, &mut batch, cover).expect("written");
            self.db.apply_batch(batch.to_sled()).expect("applied");
            assert!(self.set.gathered.len() < 2 * LIMIT, "{} keys are gathered", self.set.gathered.len());
        }

        fn bytes(&self) -> usize {
            let rows = [b"Hl", b"Bl", b"Rl"].into_iter().flat_map(|prefix| self.db.scan_prefix(prefix));
            rows.map(|row| row.map(|(key, value)| key.len() + value.len()).expect("a row")).sum()
        }
    }

    #[test]
    fn what_is_told_again_and_again_is_kept_once() {
        let (mut stored, keys) = (Stored::new(), keys());
        let mut most = (0, 0);
        for round in 0..40 {
            for keys in keys.chunks(100) {
                keys.iter().for_each(|key| stored.set.insert(*key));
                stored.commit();
                if round > 10 {
                    most = (most.0.max(stored.set.len()), most.1.max(stored.bytes()));
                }
            }
        }
        let once = keys.len() as u64;
        // Half as much again, what is gathered and written meanwhile, and while
        // everything is merged all of it twice.
        assert!(most.0 < 3 * once + 2 * LIMIT as u64, "{} keys for {once}", most.0);
        assert!(most.1 < 40 * keys.len(), "{} bytes for {once}", most.1);
        assert_eq!(stored.set.check(&stored.db).expect("read"), [""; 0]);
        for record in 0..5 {
            let found = stored.set.find(&stored.db, key(7, record, 0).first_chunk().expect("a prefix")).expect("read");
            assert_eq!(found.into_iter().collect::<Vec<_>>(), [key(7, record, 700), key(7, record, 701), key(7, record, 702)]);
        }
    }

    #[test]
    fn what_has_gone_stays_away_and_leaves_nothing() {
        let (mut stored, keys) = (Stored::new(), keys());
        for _ in 0..4 {
            for keys in keys.chunks(100) {
                keys.iter().for_each(|key| stored.set.insert(*key));
                stored.commit();
            }
        }
        for keys in keys.chunks(100) {
            keys.iter().filter(|key| key[3] != 9).for_each(|key| stored.set.remove(*key));
            stored.commit();
        }
        // Others come, so that runs are written and merged.
        for other in 1..40 {
            for citizen in 1000..1100 {
                stored.set.insert(key(citizen, other, 900));
            }
            stored.commit();
        }
        for citizen in 0..200 {
            let found = stored.set.find(&stored.db, key(citizen, 3, 0).first_chunk().expect("a prefix")).expect("read");
            assert_eq!(found.len(), if citizen == 9 { 3 } else { 0 }, "citizen {citizen}");
        }
        let mut again = Runs::<14, 12>::open(&stored.db, b'l', LIMIT, Removal::ByKey).expect("opened again");
        assert_eq!(again.check(&stored.db).expect("read"), [""; 0]);
        again.insert(key(1, 1, 1));
    }

    #[test]
    fn a_row_that_is_none_is_reported() {
        let mut stored = Stored::new();
        for keys in keys().chunks(100) {
            keys.iter().for_each(|key| stored.set.insert(*key));
            stored.commit();
        }
        let run = stored.set.runs.first().expect("a run").id;
        stored.db.insert(part(b'R', b'l', run, 0), b"\x01no row").expect("written");
        let wrong = stored.set.check(&stored.db).expect("read");
        assert!(wrong.iter().any(|wrong| wrong.contains("is no row")), "{wrong:?}");
    }
}
