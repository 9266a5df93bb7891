//! A backup made into a store again: never over anything, and first beside its
//! place, so that half of a restored store is never taken for a whole one.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::core::time::Moment;

use super::backup::{ERASED, MANIFEST, Manifest, ManifestError, each_row};
use super::disk::Given;
use super::erased::{self, Entry, ErasedList};
use super::hand_over::{self, HandOver};
use super::keyring;
use super::latest_backup;
use super::master::{KeyError, MasterKey};
use super::open::{KEY_FILES, OpenError, Options, STORE, open_sled};
use super::root::{RootKey, RootKeyError};
use super::rows;

/// Where a store is made before it is put in its place.
const UNFINISHED: &str = "restoring";
/// Rows written at once.
const AT_ONCE: usize = 1000;

/// A store that was made of a backup.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// What is known of erasures after it.
    pub erasures: Erasures,
}

/// What is known of whom the broker erased after a backup had been taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasures {
    /// Everybody: there was a list in use.
    Listed,
    /// Those until then: the list is that of a newer backup.
    Until(Moment),
    /// Nothing: there was no list, or one older than the backup.
    Unknown,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is a store.
    #[error("there is a store in {} already: a backup is never restored over one; give an empty data directory (--data-dir)", .0.display())]
    Occupied(PathBuf),
    /// The backup cannot be read.
    #[error(transparent)]
    Backup(#[from] ManifestError),
    /// It belongs to another master key.
    #[error("the key in {} is not the one that the backup is sealed with: give the key file that belongs to it (--key-file)", .0.display())]
    WrongKey(PathBuf),
    /// The list that was named is not there.
    #[error(
        "there is no list of erased citizens at {}: name the list itself, the data directory that it lies beside, or a newer backup (--erasures); leave it out if nobody was ever erased",
        .0.display()
    )]
    NoList(PathBuf),
    /// A list of erased citizens cannot be used.
    #[error("the list of erased citizens {} cannot be used", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The list that was named belongs to another store.
    #[error("{} is the backup of another store: its list of erased citizens says nothing about this one", .0.display())]
    OtherStore(PathBuf),
    /// There is no master key, or it is not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Its root key is not there, or not usable.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The new store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Something cannot be written, or read.
    #[error("the store cannot be restored")]
    Io(#[from] io::Error),
    /// sled refuses.
    #[error("the store cannot be restored")]
    Sled(#[from] sled::Error),
    /// The backup holds something else than a store.
    #[error("the backup holds no store")]
    NoStore,
}

/// Makes the store of a backup in the data directory, which must have none.
/// Opening it then erases whom the list of erased slots says to have been
/// erased since: what the backup's own list, and `newer`, know is added to that
/// of the data directory. `newer` is a list, a data directory that has one beside
/// it, or a newer backup. `progress` hears of how many rows have been written.
///
/// # Errors
/// There is no store then, and nothing that was there has been changed, except that
/// the list may know more.
pub fn restore(from: &Path, options: &Options, newer: Option<&Path>, mut progress: impl FnMut(u64)) -> Result<Restored, RestoreError> {
    let data_dir = &options.data_dir;
    if [STORE].iter().chain(&KEY_FILES).any(|name| data_dir.join(name).exists()) {
        return Err(RestoreError::Occupied(data_dir.clone()));
    }
    MasterKey::check_place(&options.key_file, data_dir)?;
    let master = MasterKey::load(&options.key_file)?;
    let manifest = Manifest::read(from)?;
    let root = match RootKey::open(from, &master) {
        Err(RootKeyError::WrongKey(_)) => return Err(RestoreError::WrongKey(options.key_file.clone())),
        opened => opened?,
    };
    if manifest.check != keyring::check_value(&root) {
        return Err(RestoreError::WrongKey(options.key_file.clone()));
    }
    let unfinished = data_dir.join(UNFINISHED);
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    hand_over::make(data_dir, 0o777)?;
    let _handed_over = HandOver { dir: data_dir.clone(), beside: options.erased_list.clone() };
    DirBuilder::new().mode(0o700).create(&unfinished)?;
    let erasures = gather_erasures(from, &manifest, &root, options, newer)?;
    let given = write_rows(from, &unfinished, options, &mut progress)?;
    for name in KEY_FILES {
        fs::copy(from.join(name), unfinished.join(name))?;
    }
    // Those were given to others after the backup was taken; here they will be
    // given anew, with keys of their own.
    keyring::renew_from(&unfinished.join(KEY_FILES[0]), given.next_slot)?;
    for name in KEY_FILES {
        fs::File::open(unfinished.join(name))?.sync_all()?;
        fs::rename(unfinished.join(name), data_dir.join(name))?;
    }
    // Last: without it the rest is no store.
    fs::rename(unfinished.join(STORE), data_dir.join(STORE))?;
    fs::remove_dir_all(&unfinished)?;
    latest_backup::note(data_dir, manifest.at);
    fs::File::open(data_dir)?.sync_all()?;
    Ok(Restored { manifest, erasures })
}

/// Adds to the list of the data directory what is known elsewhere, and returns how
/// much that is.
fn gather_erasures(
    from: &Path,
    manifest: &Manifest,
    root: &RootKey,
    options: &Options,
    newer: Option<&Path>,
) -> Result<Erasures, RestoreError> {
    let read = |path: &Path| erased::read(path).map_err(|source| RestoreError::List { path: path.to_owned(), source });
    let here = read(&options.erased_list)?;
    let (named, until) = match newer {
        None => (None, Erasures::Unknown),
        Some(path) if path.join(MANIFEST).exists() => {
            let newer = Manifest::read(path)?;
            if newer.check != manifest.check {
                return Err(RestoreError::OtherStore(path.to_owned()));
            }
            let list = read(&path.join(ERASED))?;
            if list.is_none() && newer.erasures > 0 {
                // Of a broker whose backups had no list.
                return Err(RestoreError::NoList(path.to_owned()));
            }
            (list, if newer.at < manifest.at { Erasures::Unknown } else { Erasures::Until(newer.at) })
        }
        Some(path) => {
            let path = if path.is_dir() { Options::new(path).erased_list } else { path.to_owned() };
            (Some(read(&path)?.ok_or(RestoreError::NoList(path))?), Erasures::Listed)
        }
    };
    let found = if here.is_some() { Erasures::Listed } else { until };
    let known: HashSet<Entry> = here.into_iter().chain(named.clone()).flatten().collect();
    let own = read(&from.join(ERASED))?.unwrap_or_default();
    // An entry may be in a list twice, so that what the backup carries says more than a number.
    let is_whole = own.len() as u64 >= manifest.erasures || known.len() as u64 >= manifest.erasures;
    let is_older = !is_whole || own.iter().any(|entry| !known.contains(entry));
    let failed = |source| RestoreError::List { path: options.erased_list.clone(), source };
    let mut list = ErasedList::open(&options.erased_list, root).map_err(failed)?;
    let mut there = list.all().map_err(failed)?;
    let more: Vec<Entry> = own.into_iter().chain(named.into_iter().flatten()).filter(|entry| there.insert(*entry)).collect();
    list.add(&more).map_err(failed)?;
    Ok(if is_older { Erasures::Unknown } else { found })
}

fn write_rows(from: &Path, to: &Path, options: &Options, progress: &mut dyn FnMut(u64)) -> Result<Given, RestoreError> {
    let db = open_sled(&to.join(STORE), options.cache_bytes, options.patience)?;
    let (mut batch, mut in_batch, mut written) = (sled::Batch::default(), 0, 0);
    each_row(from, |key, value| -> Result<(), RestoreError> {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
        in_batch += 1;
        if in_batch == AT_ONCE {
            db.apply_batch(std::mem::take(&mut batch))?;
            written += std::mem::take(&mut in_batch) as u64;
            progress(written);
        }
        Ok(())
    })?;
    db.apply_batch(batch)?;
    // What was sent after the backup is not known here, in whatever order that broker stopped.
    db.remove(rows::STOPPED)?;
    // Lists may have grown together in another order: opening compares all of it.
    if erased::read(&options.erased_list)?.is_some_and(|list| !list.is_empty()) {
        db.remove(rows::ERASED_TO)?;
    }
    db.flush()?;
    let given = db.get(rows::NUMBERS)?.and_then(|row| Given::decode(&row).ok());
    given.ok_or(RestoreError::NoStore)
}
