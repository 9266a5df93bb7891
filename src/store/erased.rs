//! The list of erased slots, outside of the data directory: what makes an old
//! backup, or an old copy of the directory, forget again whom the broker has
//! forgotten since.
//!
//! An entry is a keyed hash of a slot's number and its random bytes. These are
//! gone with the erasure, so the entry leads to nobody, with the root key
//! neither; only where the old bytes come back is it recognized.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;

use super::hand_over::directory_of;
use super::root::RootKey;

/// What the file begins with.
const HEADER: &[u8; 32] = b"wsb erased slots, format 1      ";
const ENTRY: usize = 32;
/// How often entries are added anew when another file takes the place of the list meanwhile.
const TRIES: usize = 3;

/// Stands for an erased slot.
pub(super) type Entry = [u8; ENTRY];

/// Reads the entries of a list, in order; `None` where there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<Entry>>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match bytes.split_first_chunk::<32>() {
        Some((header, entries)) if header == HEADER => Ok(Some(entries.as_chunks::<ENTRY>().0.to_vec())),
        Some(_) => Err(not_a_list()),
        None => Ok(Some(Vec::new())),
    }
}

/// The list.
#[derive(Debug)]
pub(super) struct ErasedList {
    path: PathBuf,
    key: hmac::Key,
    /// What was at the path last; none until there is a list.
    file: Option<File>,
    entries: u64,
    /// Entries that the store has not looked for among its slots.
    unseen: u64,
}

impl ErasedList {
    /// Opens the list; one that does not exist is empty until something is added.
    pub fn open(path: &Path, root: &RootKey) -> io::Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &root.subkey("erased"));
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let entries = file.as_ref().map(count).transpose()?.unwrap_or(0);
        Ok(Self { path: path.to_owned(), key, file, entries, unseen: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Says how many of the entries the store has looked for.
    pub fn set_seen(&mut self, seen: u64) {
        self.unseen = self.entries.saturating_sub(seen);
    }

    /// Returns how far the store knows the list.
    pub fn seen(&self) -> u64 {
        self.entries - self.unseen
    }

    /// Makes sure that entries can be added, before anything is erased: to the file that is at
    /// the path now, which must hold every entry that the one before held.
    pub fn prepare(&mut self) -> io::Result<&File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(self.file.is_none()).truncate(false).mode(0o600);
        let there = options.open(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.file.is_some() => self.lacks("it is missing"),
            _ => error,
        })?;
        let holds = count(&there)?;
        let is_same = match &self.file {
            Some(file) => is_same(&file.metadata()?, &there.metadata()?),
            None => false,
        };
        let has_header = there.metadata()?.len() >= 32;
        if !is_same || !has_header || holds != self.entries {
            self.check(&there, holds, is_same)?;
            if !has_header {
                there.write_all_at(HEADER, 0)?;
            }
            there.sync_all()?;
            File::open(directory_of(&self.path))?.sync_all()?;
            self.unseen += holds - self.entries;
            self.entries = holds;
        }
        Ok(self.file.insert(there))
    }

    /// Checks that what is at the path holds what is known to have been in the list.
    fn check(&self, there: &File, holds: u64, is_same: bool) -> io::Result<()> {
        if holds < self.entries {
            return Err(self.lacks(&format!("the file has {holds}")));
        }
        let Some(file) = self.file.as_ref().filter(|_| !is_same) else { return Ok(()) };
        let found: HashSet<Entry> = entries_of(there, holds)?.into_iter().collect();
        if entries_of(file, self.entries)?.iter().all(|entry| found.contains(entry)) {
            Ok(())
        } else {
            Err(self.lacks("another file is there, and lacks some of them"))
        }
    }

    fn lacks(&self, how: &str) -> io::Error {
        let entries = self.entries;
        io::Error::other(format!("the list of erased citizens had {entries} entries, and {how}: put the newest copy back"))
    }

    /// Returns what stands for a slot with these bytes.
    pub fn entry(&self, slot: u32, seed: &[u8]) -> Entry {
        let mut bytes = slot.to_be_bytes().to_vec();
        bytes.extend_from_slice(seed);
        let mut entry = [0; ENTRY];
        entry.copy_from_slice(hmac::sign(&self.key, &bytes).as_ref());
        entry
    }

    /// Adds entries, and returns when they are on disk, in the file that is at the path.
    pub fn add(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        for _ in 0..TRIES {
            let file = self.prepare()?.try_clone()?;
            file.write_all_at(entries.as_flattened(), 32 + self.entries * ENTRY as u64)?;
            file.sync_all()?;
            if self.is_in_place(&file)? {
                self.entries += entries.len() as u64;
                return Ok(());
            }
        }
        Err(self.lacks("other files take its place again and again"))
    }

    /// Returns whether a file is the one at the path.
    fn is_in_place(&self, file: &File) -> io::Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(is_same(&file.metadata()?, &there)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns every entry.
    pub fn all(&self) -> io::Result<HashSet<Entry>> {
        let entries = self.file.as_ref().map(|file| entries_of(file, self.entries)).transpose()?;
        Ok(entries.into_iter().flatten().collect())
    }
}

/// Returns how many entries a list has.
fn count(list: &File) -> io::Result<u64> {
    let len = list.metadata()?.len();
    // An empty file is a new list; one cut short in its header was never used.
    if len < 32 {
        return Ok(0);
    }
    let mut header = [0; 32];
    list.read_exact_at(&mut header, 0)?;
    if header != *HEADER {
        return Err(not_a_list());
    }
    Ok((len - 32) / ENTRY as u64)
}

fn not_a_list() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a list of erased slots, or of a newer format")
}

fn entries_of(list: &File, entries: u64) -> io::Result<Vec<Entry>> {
    let mut bytes = vec![0; entries as usize * ENTRY];
    list.read_exact_at(&mut bytes, 32)?;
    Ok(bytes.as_chunks::<ENTRY>().0.to_vec())
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(test)]
mod tests {
    use super::super::master::MasterKey;
    use super::*;

    #[test]
    fn what_was_added_is_there_and_half_an_entry_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::create(&dir.path().join("key")).expect("a key");
        let root = RootKey::create(dir.path(), &master).expect("a root key");
        let path = dir.path().join("data.erased");
        let open = || ErasedList::open(&path, &root).expect("a list");
        let mut list = open();
        assert!(!path.exists() && list.all().expect("read").is_empty());
        let entries = [list.entry(1, &[1; 32]), list.entry(2, &[1; 32])];
        assert_ne!(entries[0], entries[1]);
        list.add(&entries).expect("added");
        std::io::Write::write_all(&mut OpenOptions::new().append(true).open(&path).expect("the file"), &[9; 7]).expect("written");
        let mut list = open();
        assert_eq!((list.len(), list.all().expect("read")), (2, entries.into_iter().collect()));
        let third = list.entry(3, &[1; 32]);
        list.add(&[third]).expect("added");
        assert!(open().all().expect("read").contains(&third));
        std::fs::write(&path, [b'x'; 64]).expect("written");
        assert_eq!(ErasedList::open(&path, &root).expect_err("no list").kind(), io::ErrorKind::InvalidData);
    }

    /// What keeps copies of files puts new ones in their place while the broker has the old one open.
    #[test]
    fn entries_go_to_the_file_that_is_in_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::create(&dir.path().join("key")).expect("a key");
        let root = RootKey::create(dir.path(), &master).expect("a root key");
        let (path, other) = (dir.path().join("data.erased"), dir.path().join("other"));
        let mut list = ErasedList::open(&path, &root).expect("a list");
        let entries = [1, 2, 3, 4, 5, 6].map(|slot| list.entry(slot, &[1; 32]));
        let bytes = |entries: &[Entry]| [&HEADER[..], entries.as_flattened()].concat();
        let replace = |with: &[Entry]| {
            std::fs::write(&other, bytes(with)).expect("written");
            std::fs::rename(&other, &path).expect("renamed");
        };
        let there = || std::fs::read(&path).expect("the list");
        list.add(&entries[..2]).expect("added");
        replace(&entries[..2]);
        list.add(&entries[2..3]).expect("added");
        assert_eq!((there(), list.len()), (bytes(&entries[..3]), 3));

        // One that knows more is not written over, and the store has yet to look at that.
        replace(&[entries[4], entries[2], entries[0], entries[1]]);
        list.add(&entries[3..4]).expect("added");
        assert_eq!((list.len(), list.seen(), list.all().expect("read").len()), (5, 4, 5));
        assert_eq!(there(), bytes(&[entries[4], entries[2], entries[0], entries[1], entries[3]]));

        let whole = there();
        let refuses = |list: &mut ErasedList, word: &str| {
            let before = std::fs::read(&path).ok();
            let refusal = list.prepare().map(drop).expect_err("refused").to_string();
            assert!(
                refusal.contains("had 5 entries") && refusal.contains(word) && refusal.contains("put the newest copy back"),
                "{refusal}"
            );
            assert!(list.add(&entries[5..]).is_err());
            assert_eq!(std::fs::read(&path).ok(), before, "nothing was changed");
        };
        replace(&entries[..4]);
        refuses(&mut list, "has 4");
        replace(&[entries[5]; 6]);
        refuses(&mut list, "lacks some");
        std::fs::remove_file(&path).expect("removed");
        refuses(&mut list, "missing");
        std::fs::write(&path, whole).expect("put back");
        list.add(&entries[5..]).expect("added");
        assert_eq!(list.all().expect("read"), entries.into_iter().collect());
        std::fs::write(&path, []).expect("emptied in place");
        assert!(list.prepare().is_err());
    }
}
