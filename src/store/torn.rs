//! Takes away what is left of a group that sled had not written to its end, before sled
//! opens its files. Otherwise half of the group may come back.
//!
//! sled's log is made of segments, in the file in any order, each with its place in the
//! log (`lsn`) and with how far the log was on disk when it was begun (`stable`). A group
//! begins with a message that names the place of its last one. When sled opens a log that
//! ends before that place, it first writes over the first message of the group, then a
//! snapshot, and takes the segments away that come after at the very end. If it is killed
//! in between, or finds no room for the snapshot, then nothing says next time that what
//! they hold is half a group, and it is taken in; for groups of more than a segment, since
//! a later segment says by then that the log was on disk beyond its first message.
//!
//! Hence these segments are taken away here, the last one first: killed in between, this
//! finds the first message, and does the rest.
//!
//! A group that fails halfway, since there is no room, sled does not take back: it writes
//! its first message as one that was given up, and what comes after that as if it were no
//! group's. The store commits nothing after a group that has failed, so the log ends
//! there: the message is taken away too.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The size that every store's segments have.
const SEGMENT: usize = 512 * 1024;
/// CRC, lsn, stable.
const SEGMENT_HEADER: usize = 4 + 8 + 8;
/// No message begins this close to the end of a segment.
const RED_ZONE: usize = 32;
/// The page that the first message of a group is said to be about.
const GROUP_PAGE: u64 = u64::MAX - 666;
/// CRC, kind, and three numbers of at most 9 bytes.
const MESSAGE_HEADER: usize = 4 + 1 + 3 * 9;

/// What a message is to whoever looks for the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The rest of the segment is not in use.
    Cap,
    /// A group begins, whose last message is at this place.
    Group(u64),
    /// A group began, and failed, or came to nothing.
    GivenUp,
    Other,
}

/// The segments of a log by place, and how far it is said to be on disk.
struct Log<'a> {
    file: &'a File,
    segments: BTreeMap<u64, u64>,
    stable: u64,
    /// The place that a snapshot stands for: what comes before is not read again.
    snapshot: u64,
}

/// Takes half a group away, if there is one at the end of the log in `file`; `path` is
/// the directory of sled. Nobody else may have it open.
pub(super) fn clear_half_a_group(path: &Path, file: &File) -> io::Result<()> {
    let log = Log::read(file, snapshot(path)?)?;
    let Some(begun) = log.half_a_group()? else { return Ok(()) };
    for (_, at) in log.segments.range(begun..).rev() {
        file.write_all_at(&[0; SEGMENT_HEADER], *at)?;
        file.sync_data()?;
    }
    let Some(at) = log.segments.get(&segment_of(begun)) else { return Ok(()) };
    file.write_all_at(&[0; MESSAGE_HEADER], at + begun % SEGMENT as u64)?;
    file.sync_data()
}

/// Returns the place in the log that the newest snapshot stands for.
fn snapshot(path: &Path) -> io::Result<u64> {
    let mut newest = 0;
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        let place = name.to_str().and_then(|name| u64::from_str_radix(name.strip_prefix("snap.")?, 16).ok());
        newest = newest.max(place.unwrap_or(0));
    }
    Ok(newest)
}

impl<'a> Log<'a> {
    /// Reads which segments there are, from the one on that holds the place of the snapshot.
    fn read(file: &'a File, snapshot: u64) -> io::Result<Self> {
        let from = segment_of(snapshot);
        let mut log = Self { file, segments: BTreeMap::new(), stable: from, snapshot };
        let len = file.metadata()?.len();
        let mut at = 0;
        while at + SEGMENT_HEADER as u64 <= len {
            let mut header = [0; SEGMENT_HEADER];
            file.read_exact_at(&mut header, at)?;
            if let Some((lsn, stable)) = segment_header(&header)
                && lsn >= from
            {
                log.segments.insert(lsn, at);
                log.stable = log.stable.max(stable);
            }
            at += SEGMENT as u64;
        }
        Ok(log)
    }

    /// Returns where a group begins that goes beyond the end of the log, or has failed.
    fn half_a_group(&self) -> io::Result<Option<u64>> {
        let end = self.end()?;
        for lsn in self.segments.range(..end).rev().map(|(lsn, _)| *lsn) {
            let mut newest = None;
            self.walk(lsn, |place, kind| match kind {
                _ if place >= end => ControlFlow::Break(()),
                Kind::Group(_) | Kind::GivenUp => {
                    newest = Some((place, kind));
                    ControlFlow::Continue(())
                }
                Kind::Cap | Kind::Other => ControlFlow::Continue(()),
            })?;
            // Groups come one after the other: those before are whole.
            if let Some((place, kind)) = newest {
                let is_half = match kind {
                    Kind::Group(last) => last >= end,
                    Kind::GivenUp => true,
                    Kind::Cap | Kind::Other => false,
                };
                return Ok((is_half && place >= self.snapshot).then_some(place));
            }
        }
        Ok(None)
    }

    /// Returns where the log ends: after the last message that is whole, up to where
    /// segments come without a gap. What is said to be on disk is not looked at.
    fn end(&self) -> io::Result<u64> {
        let (mut end, mut next) = (0, segment_of(self.stable));
        while self.segments.contains_key(&next) {
            let is_followed;
            (end, is_followed) = self.walk(next, |_, _| ControlFlow::Continue(()))?;
            next += SEGMENT as u64;
            if !is_followed {
                break;
            }
        }
        Ok(end)
    }

    /// Calls `visit` with every message of a segment and its place; returns the place
    /// after the last whole one, and whether the log may go on in the next segment.
    fn walk(&self, lsn: u64, mut visit: impl FnMut(u64, Kind) -> ControlFlow<()>) -> io::Result<(u64, bool)> {
        let bytes = self.bytes(lsn)?;
        let mut at = SEGMENT_HEADER;
        while at <= SEGMENT - RED_ZONE {
            let Some((kind, len)) = message(&bytes[at..], lsn / SEGMENT as u64) else { return Ok((lsn + at as u64, false)) };
            if kind == Kind::Cap || visit(lsn + at as u64, kind).is_break() {
                break;
            }
            at += len;
        }
        Ok((lsn + at as u64, true))
    }

    /// Returns the bytes of a segment; zeros for what lies beyond the end of the file.
    fn bytes(&self, lsn: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; SEGMENT];
        let Some(at) = self.segments.get(&lsn) else { return Ok(bytes) };
        let len = self.file.metadata()?.len().saturating_sub(*at).min(SEGMENT as u64);
        self.file.read_exact_at(&mut bytes[..len as usize], *at)?;
        Ok(bytes)
    }
}

/// Returns the place at which the segment of a place begins.
fn segment_of(place: u64) -> u64 {
    place / SEGMENT as u64 * SEGMENT as u64
}

/// Returns the place of a segment, and how far the log was on disk; nothing for what is
/// no segment.
fn segment_header(header: &[u8; SEGMENT_HEADER]) -> Option<(u64, u64)> {
    let (crc, rest) = header.split_first_chunk::<4>()?;
    let (lsn, stable) = rest.split_first_chunk::<8>()?;
    let place = |bytes: [u8; 8]| i64::from_le_bytes(bytes) ^ i64::MAX;
    let is_one = u32::from_le_bytes(*crc) == !crc32(&[rest]);
    // Before anything was on disk it says -1.
    is_one.then_some((u64::try_from(place(*lsn)).ok()?, u64::try_from(place(stable.try_into().ok()?)).unwrap_or(0)))
}

/// Returns what the message is that some bytes of a segment begin with, and its length;
/// nothing for what is no message of that segment, or not a whole one.
fn message(bytes: &[u8], segment: u64) -> Option<(Kind, usize)> {
    let mut header = bytes.get(..MESSAGE_HEADER)?;
    let crc = u32::from_le_bytes(*header.split_off(..4)?.first_chunk()?);
    let kind = *header.split_off_first()?;
    let body_len = usize::try_from(number(&mut header)?).ok()?;
    let is_here = number(&mut header)? == segment;
    let page = number(&mut header)?;
    let begin = MESSAGE_HEADER - header.len();
    let body = bytes.get(begin..begin.checked_add(body_len)?)?;
    let is_whole = is_here && crc == !crc32(&[body, &bytes[4..begin]]);
    let kind = match kind {
        2 => Kind::Cap,
        3 => Kind::Group(u64::from_le_bytes(body.try_into().ok()?)),
        1 if page == GROUP_PAGE => Kind::GivenUp,
        1 | 4..=11 => Kind::Other,
        _ => return None,
    };
    is_whole.then_some((kind, begin + body_len))
}

/// Takes a number off.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let first = *bytes.split_off_first()?;
    let mut more = |len: usize| {
        let mut eight = [0; 8];
        eight[..len].copy_from_slice(bytes.split_off(..len)?);
        Some(u64::from_le_bytes(eight))
    };
    Some(match first {
        0..=240 => u64::from(first),
        241..=248 => 240 + 256 * (u64::from(first) - 241) + more(1)?,
        // These two bytes are the other way round.
        249 => 2288 + u64::from((more(2)? as u16).swap_bytes()),
        250..=255 => more(usize::from(first) - 247)?,
    })
}

/// The CRC-32 of zip, over one piece after the other.
fn crc32(pieces: &[&[u8]]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let bytes = pieces.iter().flat_map(|piece| *piece);
    !bytes.fold(!0, |crc, byte| TABLE[usize::from((crc as u8) ^ byte)] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: u32 = 6000;

    fn config(path: &Path) -> sled::Config {
        sled::Config::new().path(path).flush_every_ms(None).mode(sled::Mode::LowSpace)
    }

    fn group(value: u8) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for row in 0..GROUP {
            batch.insert(&row.to_be_bytes(), vec![value; 400]);
        }
        batch
    }

    /// Returns a log that was killed while a second group was written: its last segments
    /// are not there.
    fn killed(path: &Path, missing: u64) {
        let db = config(path).open().expect("sled");
        db.apply_batch(group(1)).expect("applied");
        db.flush().expect("flushed");
        let whole = fs::metadata(path.join("db")).expect("the file").len();
        db.apply_batch(group(2)).expect("applied");
        db.flush().expect("flushed");
        drop(db);
        let file = File::options().write(true).open(path.join("db")).expect("the file");
        let len = file.metadata().expect("the file").len();
        assert!(len >= whole + (missing + 3) * SEGMENT as u64, "a group of more than two segments: {whole} {len}");
        file.set_len(len - missing * SEGMENT as u64).expect("cut");
        for entry in fs::read_dir(path).expect("the directory") {
            let path = entry.expect("an entry").path();
            if path.to_string_lossy().contains("snap.") {
                fs::remove_file(path).expect("removed");
            }
        }
    }

    /// Returns which values there are, and of how many rows.
    fn values(db: &sled::Db) -> BTreeMap<u8, u32> {
        let mut found = BTreeMap::new();
        for value in db.iter().values() {
            *found.entry(value.expect("a row")[0]).or_default() += 1;
        }
        found
    }

    /// Opens it where no snapshot can be written: a directory stands in its place.
    fn open_without_room(path: &Path) {
        let probe = tempfile::tempdir().expect("a directory");
        for name in ["db", "conf"] {
            fs::copy(path.join(name), probe.path().join(name)).expect("copied");
        }
        drop(config(probe.path()).open().expect("opens where there is room"));
        let named = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string().expect("a name");
        let snapshot = fs::read_dir(probe.path()).expect("the directory").map(named).find(|name| name.starts_with("snap.")).expect("one");
        let in_the_way = path.join(format!("{snapshot}.generating"));
        fs::create_dir(&in_the_way).expect("a directory");
        config(path).open().expect_err("the snapshot cannot be written");
        fs::remove_dir(&in_the_way).expect("removed");
    }

    #[test]
    fn half_a_group_does_not_come_back_whatever_becomes_of_the_first_opening() {
        for missing in 0..3 {
            let dir = tempfile::tempdir().expect("a directory");
            killed(dir.path(), missing);
            let file = File::options().read(true).write(true).open(dir.path().join("db")).expect("the file");
            clear_half_a_group(dir.path(), &file).expect("cleared");
            open_without_room(dir.path());
            clear_half_a_group(dir.path(), &file).expect("cleared");
            let db = config(dir.path()).open().expect("opened");
            let expected = if missing == 0 { 2 } else { 1 };
            assert_eq!(values(&db), BTreeMap::from([(expected, GROUP)]), "without the last {missing} segments");
        }
    }

    #[test]
    fn a_group_that_failed_does_not_come_back() {
        let dir = tempfile::tempdir().expect("a directory");
        killed(dir.path(), 0);
        let file = File::options().read(true).write(true).open(dir.path().join("db")).expect("the file");
        give_up_the_newest_group(&file);
        clear_half_a_group(dir.path(), &file).expect("cleared");
        let db = config(dir.path()).open().expect("opened");
        assert_eq!(values(&db), BTreeMap::from([(1, GROUP)]));
    }

    /// Writes its first message as sled does when it has failed.
    fn give_up_the_newest_group(file: &File) {
        let log = Log::read(file, 0).expect("readable");
        let mut newest = 0;
        for lsn in log.segments.keys() {
            let find = |place, kind| {
                newest = if matches!(kind, Kind::Group(_)) { place } else { newest };
                ControlFlow::Continue(())
            };
            log.walk(*lsn, find).expect("readable");
        }
        let (lsn, within) = (segment_of(newest), (newest % SEGMENT as u64) as usize);
        let mut bytes = log.bytes(lsn).expect("readable")[within..].to_vec();
        let (_, len) = message(&bytes, lsn / SEGMENT as u64).expect("the message");
        bytes.truncate(len);
        bytes[4] = 1;
        let crc = !crc32(&[&bytes[len - 8..], &bytes[4..len - 8]]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(message(&[&bytes[..], &[0; 64]].concat(), lsn / SEGMENT as u64), Some((Kind::GivenUp, len)));
        file.write_all_at(&bytes, log.segments[&lsn] + within as u64).expect("written");
    }

    #[test]
    fn a_log_that_is_whole_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        killed(dir.path(), 0);
        let before = fs::read(dir.path().join("db")).expect("the file");
        let file = File::options().read(true).write(true).open(dir.path().join("db")).expect("the file");
        clear_half_a_group(dir.path(), &file).expect("looked at");
        assert!(fs::read(dir.path().join("db")).expect("the file") == before);
        let mut groups = 0;
        let log = Log::read(&file, 0).expect("readable");
        for lsn in log.segments.keys() {
            let count = |_, kind| {
                groups += u32::from(matches!(kind, Kind::Group(_)));
                ControlFlow::Continue(())
            };
            log.walk(*lsn, count).expect("readable");
        }
        assert_eq!(groups, 2);
    }

    #[test]
    fn numbers_and_sums_are_as_sled_has_them() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xcbf4_3926);
        for (bytes, expected) in [
            (&[240][..], 240),
            (&[241, 1], 241),
            (&[248, 255], 2287),
            (&[249, 0, 1], 2289),
            (&[249, 1, 0], 2544),
            (&[250, 1, 2, 3], 0x03_0201),
            (&[255, 1, 0, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0001),
        ] {
            assert_eq!(number(&mut &*bytes), Some(expected), "{bytes:?}");
        }
        assert_eq!(number(&mut &[250, 1][..]), None);
    }
}
