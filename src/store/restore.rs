//! A backup made into a store again: never over anything, and first beside its
//! place, so that half of a restored store is never taken for a whole one.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::backup::{Manifest, ManifestError, each_row};
use super::disk::Given;
use super::keyring;
use super::master::{KeyError, MasterKey};
use super::open::{KEY_FILES, OpenError, Options, STORE, open_sled};
use super::root::{RootKey, RootKeyError};
use super::rows;

/// Where a store is made before it is put in its place.
const UNFINISHED: &str = "restoring";
/// Rows written at once.
const AT_ONCE: usize = 1000;

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
/// erased since. `progress` hears of how many rows have been written.
///
/// # Errors
/// There is no store then, and nothing that was there has been changed.
pub fn restore(from: &Path, options: &Options, mut progress: impl FnMut(u64)) -> Result<Manifest, RestoreError> {
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
    DirBuilder::new().recursive(true).create(data_dir)?;
    DirBuilder::new().mode(0o700).create(&unfinished)?;
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
    fs::File::open(data_dir)?.sync_all()?;
    Ok(manifest)
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
    db.flush()?;
    let given = db.get(rows::NUMBERS)?.and_then(|row| Given::decode(&row).ok());
    given.ok_or(RestoreError::NoStore)
}
