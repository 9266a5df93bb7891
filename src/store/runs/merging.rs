//! Writing and merging runs, a few rows with each commit.

use std::collections::{BTreeMap, VecDeque};

use super::super::batch::Batch;
use super::{
    Cover, FAN_IN, Filter, LAST_LEVEL, LAST_LEVEL_KEPT, Output, PIECE, ROW, Removal, Run, Runs, Standing, StoreError, Writing, hash,
    heading, is_gone, leading, packing, part, without_mark,
};

/// Where the keys of a new run come from.
#[derive(Debug)]
pub(super) enum Source<const KEY: usize> {
    /// Gathered keys, up to which they have been written.
    Frozen(usize),
    /// Other runs, the oldest first.
    Merge {
        cursors: Vec<Cursor<KEY>>,
        /// Keys of the least prefix that are still to be written.
        ready: VecDeque<[u8; KEY]>,
        /// Whether an older run may have what has gone.
        keeps_gone: bool,
    },
}

/// A place in a run that is being merged.
#[derive(Debug)]
pub(super) struct Cursor<const KEY: usize> {
    run: u32,
    rows: u32,
    next_row: u32,
    keys: Vec<[u8; KEY]>,
    at: usize,
}

impl<const KEY: usize, const PREFIX: usize> Runs<KEY, PREFIX> {
    /// Adds to a commit what is due of writing runs. `cover` is the place up to
    /// which everything has been inserted.
    pub fn work(&mut self, tree: &sled::Tree, batch: &mut Batch, cover: Cover) -> Result<(), StoreError> {
        // Once, and before all else: rows of a run that is completed below can be
        // read when the batch has been applied.
        if self.merging.is_none() {
            self.merging = self.begin_merging(batch);
        }
        loop {
            if self.writing.is_none() && self.gathered.len() >= self.limit {
                self.writing = Some(self.begin_writing(batch, cover));
            }
            if self.writing.is_none() && self.merging.is_none() && self.dropped.is_empty() {
                self.credit = 0;
            }
            let Some(left) = self.credit.checked_sub(ROW) else { return Ok(()) };
            self.credit = left;
            if let Some(writing) = self.writing.take() {
                self.writing = self.write_row(tree, batch, writing)?;
            } else if let Some(merging) = self.merging.take() {
                self.merging = self.write_row(tree, batch, merging)?;
            } else {
                self.remove_row(batch);
            }
        }
    }

    /// Begins a run of the gathered keys.
    fn begin_writing(&mut self, batch: &mut Batch, cover: Cover) -> Writing<KEY> {
        let frozen = self.gathered.take_sorted();
        let run = self.new_run(0, frozen.len() as u64, cover);
        self.announce(
            batch,
            Writing { run, source: Source::Frozen(0), row: Vec::new(), in_row: 0, last: None, frozen, replaces: Vec::new() },
        )
    }

    /// Begins a run of others, if some are to be merged. Whatever is newer than
    /// those is of a lower level, and whatever is older of a higher one.
    fn begin_merging(&mut self, batch: &mut Batch) -> Option<Writing<KEY>> {
        let (mut merged, into): (Vec<&Run>, u8) = match self.due_level() {
            _ if self.is_due_as_a_whole() => {
                let highest = self.runs.iter().map(|run| run.level).max().unwrap_or_default();
                (self.runs.iter().collect(), highest.max(1))
            }
            Some(level) => (self.runs.iter().filter(|run| run.level == level).collect(), level + 1),
            None => return None,
        };
        merged.sort_by_key(|run| run.cover);
        let replaces: Vec<u32> = merged.iter().map(|run| run.id).collect();
        let keeps_gone = self.runs.iter().any(|run| run.level >= into && !replaces.contains(&run.id));
        let cover = merged.iter().map(|run| run.cover).max().unwrap_or_default();
        let keys = merged.iter().map(|run| run.keys).sum();
        let cursors = merged.iter().map(|run| Cursor::new(run.id, run.firsts.len() as u32)).collect();
        let run = self.new_run(into, keys, cover);
        let source = Source::Merge { cursors, ready: VecDeque::new(), keeps_gone };
        Some(self.announce(batch, Writing { run, source, row: Vec::new(), in_row: 0, last: None, frozen: Vec::new(), replaces }))
    }

    /// Returns the lowest level that has as many runs as are merged at once.
    fn due_level(&self) -> Option<u8> {
        let last_level = match self.removal {
            Removal::Never => LAST_LEVEL,
            Removal::ByKey => LAST_LEVEL_KEPT,
        };
        (0..last_level).find(|level| self.runs.iter().filter(|run| run.level == *level).count() >= FAN_IN)
    }

    /// Returns whether so much may have been told again that everything is merged.
    fn is_due_as_a_whole(&self) -> bool {
        let keys = || self.runs.iter().map(|run| run.keys);
        let largest = keys().max().unwrap_or_default();
        self.removal == Removal::ByKey && self.runs.len() > 1 && 2 * (keys().sum::<u64>() - largest) >= largest
    }

    /// Says that the run is not to be read yet.
    fn announce(&self, batch: &mut Batch, writing: Writing<KEY>) -> Writing<KEY> {
        batch.insert(heading(b'H', self.letter, writing.run.id).as_ref(), writing.run.encode_heading(Standing::Unfit));
        writing
    }

    fn new_run(&mut self, level: u8, most_keys: u64, cover: Cover) -> Run {
        let id = self.next_run;
        self.next_run += 1;
        Run { id, level, keys: 0, cover, firsts: Vec::new(), filter: Filter::for_keys(most_keys as usize), pieces: 0 }
    }

    /// Writes one row, and after the last one what makes the run complete.
    fn write_row(&mut self, tree: &sled::Tree, batch: &mut Batch, mut writing: Writing<KEY>) -> Result<Option<Writing<KEY>>, StoreError> {
        while writing.in_row < ROW {
            let next = match &mut writing.source {
                Source::Frozen(at) => {
                    let key = writing.frozen.get(*at).copied();
                    *at += 1;
                    key
                }
                Source::Merge { cursors, ready, keeps_gone } => match self.removal {
                    Removal::Never => self.least(tree, cursors)?,
                    Removal::ByKey => self.next_resolved(tree, cursors, ready, *keeps_gone)?,
                },
            };
            let Some(key) = next else {
                self.end_row(batch, &mut writing);
                self.complete(batch, writing);
                return Ok(None);
            };
            if writing.in_row == 0 {
                writing.run.firsts.push(leading(&key));
            }
            match self.removal {
                Removal::Never => writing.row.raw(&key),
                Removal::ByKey => packing::pack(&mut writing.row, writing.last.as_ref().filter(|_| writing.in_row > 0), &key),
            }
            writing.last = Some(key);
            writing.in_row += 1;
            writing.run.keys += 1;
            writing.run.filter.insert(hash(&key[..PREFIX]));
        }
        self.end_row(batch, &mut writing);
        Ok(Some(writing))
    }

    fn end_row(&self, batch: &mut Batch, writing: &mut Writing<KEY>) {
        if writing.in_row > 0 {
            let at = writing.run.firsts.len() as u32 - 1;
            batch.insert(part(b'R', self.letter, writing.run.id, at).as_ref(), std::mem::take(&mut writing.row));
            writing.in_row = 0;
        }
    }

    fn complete(&mut self, batch: &mut Batch, writing: Writing<KEY>) {
        let mut run = writing.run;
        let mut bytes = Vec::new();
        bytes.u32(run.firsts.len() as u32);
        run.firsts.iter().for_each(|first| bytes.u64(*first));
        bytes.bytes(&run.filter.to_bytes());
        for (at, piece) in bytes.chunks(PIECE).enumerate() {
            batch.insert(part(b'B', self.letter, run.id, at as u32).as_ref(), piece);
            run.pieces = at as u32 + 1;
        }
        batch.insert(heading(b'H', self.letter, run.id).as_ref(), run.encode_heading(Standing::Complete));
        let (replaced, kept): (Vec<Run>, Vec<Run>) = self.runs.drain(..).partition(|run| writing.replaces.contains(&run.id));
        self.runs = kept;
        for old in replaced {
            self.drop_run(batch, &old);
        }
        self.runs.push(run);
    }

    /// Takes a run out of use; its rows go with later commits.
    fn drop_run(&mut self, batch: &mut Batch, run: &Run) {
        batch.insert(heading(b'H', self.letter, run.id).as_ref(), run.encode_heading(Standing::Unfit));
        for at in 0..run.pieces {
            batch.remove(part(b'B', self.letter, run.id, at).as_ref());
        }
        self.dropped.push((run.id, run.firsts.len() as u32));
    }

    /// Drops the runs that hold nothing from after `before`.
    pub fn expire(&mut self, batch: &mut Batch, before: Cover) {
        let busy: Vec<u32> = self.merging.iter().flat_map(|writing| writing.replaces.iter().copied()).collect();
        let is_old = |run: &Run| run.cover < before && !busy.contains(&run.id);
        let (old, kept): (Vec<Run>, Vec<Run>) = self.runs.drain(..).partition(is_old);
        self.runs = kept;
        for run in old {
            self.drop_run(batch, &run);
        }
    }

    fn remove_row(&mut self, batch: &mut Batch) {
        let Some((run, rows)) = self.dropped.last_mut() else { return };
        match rows.checked_sub(1) {
            Some(left) => {
                *rows = left;
                batch.remove(part(b'R', self.letter, *run, left).as_ref());
            }
            None => {
                batch.remove(heading(b'H', self.letter, *run).as_ref());
                self.dropped.pop();
            }
        }
    }

    /// Takes the next key of what the runs together say, the newer ones having the
    /// last word.
    fn next_resolved(
        &self,
        tree: &sled::Tree,
        cursors: &mut [Cursor<KEY>],
        ready: &mut VecDeque<[u8; KEY]>,
        keeps_gone: bool,
    ) -> Result<Option<[u8; KEY]>, StoreError> {
        while ready.is_empty() {
            let mut least: Option<[u8; PREFIX]> = None;
            for cursor in cursors.iter_mut() {
                let prefix = cursor.peek(|at, run| self.row(tree, run, at))?.and_then(|key| key.first_chunk::<PREFIX>().copied());
                least = match (least, prefix) {
                    (Some(least), Some(prefix)) => Some(prefix.min(least)),
                    (least, prefix) => least.or(prefix),
                };
            }
            let Some(prefix) = least else { return Ok(None) };
            let mut said: BTreeMap<[u8; KEY], [u8; KEY]> = BTreeMap::new();
            for cursor in cursors.iter_mut() {
                while let Some(key) = cursor.peek(|at, run| self.row(tree, run, at))?.filter(|key| key.starts_with(&prefix)) {
                    said.insert(without_mark::<KEY, PREFIX>(key), key);
                    cursor.at += 1;
                }
            }
            let mut keys: Vec<[u8; KEY]> = said.into_values().filter(|key| keeps_gone || !is_gone::<KEY, PREFIX>(key)).collect();
            keys.sort_unstable();
            ready.extend(keys);
        }
        Ok(ready.pop_front())
    }

    /// Takes the least key of all, once where several runs have it.
    fn least(&self, tree: &sled::Tree, cursors: &mut [Cursor<KEY>]) -> Result<Option<[u8; KEY]>, StoreError> {
        let mut least = None;
        for cursor in cursors.iter_mut() {
            let key = cursor.peek(|at, run| self.row(tree, run, at))?;
            least = match (least, key) {
                (Some(least), Some(key)) => Some(key.min(least)),
                (least, key) => least.or(key),
            };
        }
        for cursor in cursors.iter_mut() {
            if least.is_some() && cursor.peek(|at, run| self.row(tree, run, at))? == least {
                cursor.at += 1;
            }
        }
        Ok(least)
    }
}

impl<const KEY: usize> Cursor<KEY> {
    fn new(run: u32, rows: u32) -> Self {
        Self { run, rows, next_row: 0, keys: Vec::new(), at: 0 }
    }

    fn peek(&mut self, load: impl Fn(u32, u32) -> Result<Vec<[u8; KEY]>, StoreError>) -> Result<Option<[u8; KEY]>, StoreError> {
        loop {
            if let Some(key) = self.keys.get(self.at) {
                return Ok(Some(*key));
            }
            if self.next_row == self.rows {
                return Ok(None);
            }
            self.keys = load(self.next_row, self.run)?;
            self.next_row += 1;
            self.at = 0;
        }
    }
}
