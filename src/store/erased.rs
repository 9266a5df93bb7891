//! The list of erased slots, outside of the data directory: what makes an old
//! backup, or an old copy of the directory, forget again whom the broker has
//! forgotten since.
//!
//! An entry is a keyed hash of a slot's number and its random bytes. These are
//! gone with the erasure, so the entry leads to nobody, with the root key
//! neither; only where the old bytes come back is it recognized.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;

use super::root::RootKey;

/// What the file begins with.
const HEADER: &[u8; 32] = b"wsb erased slots, format 1      ";
const ENTRY: usize = 32;

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
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "not a list of erased slots, or of a newer format")),
        None => Ok(Some(Vec::new())),
    }
}

/// The list.
#[derive(Debug)]
pub(super) struct ErasedList {
    path: PathBuf,
    key: hmac::Key,
    file: Option<File>,
    entries: u64,
}

impl ErasedList {
    /// Opens the list; one that does not exist is empty until something is added.
    pub fn open(path: &Path, root: &RootKey) -> io::Result<Self> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &root.subkey("erased"));
        let mut list = Self { path: path.to_owned(), key, file: None, entries: 0 };
        match OpenOptions::new().read(true).open(path) {
            Ok(file) => {
                let len = file.metadata()?.len();
                let mut header = [0; 32];
                if len >= 32 {
                    file.read_exact_at(&mut header, 0)?;
                }
                // An empty file is a new list; one cut short in its header was never used.
                if len >= 32 && header != *HEADER {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "not a list of erased slots, or of a newer format"));
                }
                list.entries = len.saturating_sub(32) / ENTRY as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(list)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many entries there are.
    pub fn len(&self) -> u64 {
        self.entries
    }

    /// Makes sure that entries can be added, before anything is erased.
    pub fn prepare(&mut self) -> io::Result<&File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
                if file.metadata()?.len() < 32 {
                    file.write_all_at(HEADER, 0)?;
                    file.sync_all()?;
                    let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
                    File::open(parent)?.sync_all()?;
                }
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// Returns what stands for a slot with these bytes.
    pub fn entry(&self, slot: u32, seed: &[u8]) -> Entry {
        let mut bytes = slot.to_be_bytes().to_vec();
        bytes.extend_from_slice(seed);
        let mut entry = [0; ENTRY];
        entry.copy_from_slice(hmac::sign(&self.key, &bytes).as_ref());
        entry
    }

    /// Adds entries, and returns when they are on disk.
    pub fn add(&mut self, entries: &[Entry]) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let at = 32 + self.entries * ENTRY as u64;
        let file = self.prepare()?;
        file.write_all_at(entries.as_flattened(), at)?;
        file.sync_all()?;
        self.entries += entries.len() as u64;
        Ok(())
    }

    /// Returns every entry.
    pub fn all(&self) -> io::Result<HashSet<Entry>> {
        let mut bytes = vec![0; self.entries as usize * ENTRY];
        if !bytes.is_empty() {
            File::open(&self.path)?.read_exact_at(&mut bytes, 32)?;
        }
        Ok(bytes.as_chunks::<ENTRY>().0.iter().copied().collect())
    }
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
}
