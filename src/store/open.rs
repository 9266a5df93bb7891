//! Opening the store, and saying exactly what to do when it will not open.

use std::cell::Cell;
use std::fs;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::records::Records;

use super::disk::{Given, Store};
use super::erased::ErasedList;
use super::erasing;
use super::error::StoreError;
use super::hand_over::{self, HandOver};
use super::keyring::{self, Keyring};
use super::master::{KeyError, MasterKey};
use super::numbering::{Numbering, Turnover};
use super::recover::{self, Tuning};
use super::root::{ROOT_KEY, RootKey, RootKeyError};
use super::rows;
use super::torn;
use super::vault::Vault;
use super::witness::Witness;

/// The format that this broker writes; `docs/formats.md` has its history.
const FORMAT: u32 = 1;
/// The directory of sled inside the data directory.
pub(super) const STORE: &str = "store";
/// The file of citizen keys inside the data directory.
const CITIZEN_KEYS: &str = "citizen-keys";
/// The file of number keys inside the data directory.
const NUMBER_KEYS: &str = "number-keys";
/// The files of keys, all of which a backup has.
pub(super) const KEY_FILES: [&str; 3] = [CITIZEN_KEYS, NUMBER_KEYS, ROOT_KEY];
/// The file that says how far the store goes.
const EXTENT: &str = "extent";
/// A store that was closed a moment ago may still be locked: how long, and how
/// far apart, it is tried.
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Where the store is, and how much memory it may take.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory; created if it is not there.
    pub data_dir: PathBuf,
    /// The file of the master key, outside of the data directory.
    pub key_file: PathBuf,
    /// The list of erased slots, outside of the data directory, so that an old
    /// copy of that does not bring an old list with it.
    pub erased_list: PathBuf,
    /// Whether a store that does not exist yet is created, with a key if there
    /// is none.
    pub create: Create,
    /// Bytes of sled's cache. Resident memory is about a third more.
    pub cache_bytes: u64,
    /// Citizens kept unsealed, with their numbers and keys: some 400 bytes each
    /// for an ordinary record.
    pub cached_citizens: usize,
    /// How many keys are gathered in memory before they become a sorted run.
    pub gathered_keys: usize,
    /// How long to wait for a store that another process, or a handle closed a
    /// moment ago, still has locked.
    pub patience: Duration,
    /// How many bytes a backup leaves free on the disk that it goes to.
    pub least_free: u64,
}

/// Whether opening may create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// Create what is missing.
    IfMissing,
    /// Refuse what is not there.
    Never,
}

impl Options {
    /// Returns the defaults for a data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        let key_file = MasterKey::default_path(&data_dir);
        let mut erased_list = data_dir.components().as_path().as_os_str().to_owned();
        erased_list.push(".erased");
        Self {
            data_dir,
            key_file,
            erased_list: erased_list.into(),
            create: Create::IfMissing,
            cache_bytes: 64 << 20,
            cached_citizens: 262_144,
            gathered_keys: 131_072,
            patience: PATIENCE,
            least_free: 256 << 20,
        }
    }
}

/// Why the store did not open. Each says what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store {} is in use by another process: stop that one first, or ask it through its admin API", .0.display())]
    Locked(PathBuf),
    /// There is none, and none is to be created.
    #[error("there is no store in {}: give the data directory of the broker (--data-dir)", .0.display())]
    Absent(PathBuf),
    /// It was written by a newer broker.
    #[error("the store {} has format {found}, this broker knows formats up to {known}: start the newer broker again, or restore a backup made by this one", path.display())]
    NewerFormat {
        /// Which store.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// It was sealed under another key.
    #[error("the key in {} is not the one that the store {} is sealed with: give the key file that belongs to it (--key-file)", key_file.display(), path.display())]
    WrongKey {
        /// Which store.
        path: PathBuf,
        /// Where the key was read.
        key_file: PathBuf,
    },
    /// The store is there and its key is not, or not usable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store is there and its root key is not, or not usable.
    #[error(transparent)]
    RootKey(#[from] RootKeyError),
    /// The store is there and the keys of its citizens are not.
    #[error("the file of citizen keys {} is missing, or shorter than the store needs: restore it from the backup that the store came from", .0.display())]
    CitizenKeysMissing(PathBuf),
    /// The file of citizen keys holds something else, or cannot be read.
    #[error("the file of citizen keys {} cannot be used: restore it from the backup that the store came from", path.display())]
    CitizenKeys {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store knows of erasures, and the list of them is not there.
    #[error(
        "the list of erased citizens {} is missing: put it back; or, to go on without, create an empty file there, and older backups then bring back whom the broker has forgotten",
        .0.display()
    )]
    ErasedListMissing(PathBuf),
    /// The store has seen more erasures than the list has.
    #[error(
        "the list of erased citizens {} has {found} entries, and the store has seen {seen}: it is an old copy, put the newest one back; \
         or, to go on without, keep this one elsewhere (`wsb-broker restore --erasures`) and leave an empty file there, and older backups \
         then bring back whom the broker has forgotten",
        path.display()
    )]
    ErasedListShort {
        /// The list.
        path: PathBuf,
        /// How many entries it has.
        found: u64,
        /// How many the store has seen.
        seen: u64,
    },
    /// sled cannot read its files.
    #[error(
        "the store {} is damaged ({cause}): nothing was changed; keep a copy of the directory, then restore a backup, or start with an empty data directory and import citizens again (`wsb-broker import`)",
        path.display()
    )]
    Damaged {
        /// Which store.
        path: PathBuf,
        /// What sled says.
        cause: String,
    },
    /// sled reads its files, and something acknowledged is not in them.
    #[error(
        "the store {} has lost its end: what was acknowledged last is missing; nothing was changed; keep a copy of the directory, then restore a backup, or delete {} to go on without what is lost",
        path.display(),
        extent.display()
    )]
    CutShort {
        /// Which store.
        path: PathBuf,
        /// The file that says how far it should go.
        extent: PathBuf,
    },
    /// The file that says how far the store goes says something else.
    #[error(
        "the file {} does not say how far the store goes, but something else: the disk or another program has written into it; nothing was changed; \
         look into the disk, keep a copy of the directory and delete that file: nothing else is in it, the broker makes it anew, and only that the store \
         has lost its end could not be noticed this once (`wsb-broker verify` checks the rest)",
        .0.display()
    )]
    ExtentUnreadable(PathBuf),
    /// Its files may not be written.
    #[error("{} cannot be written: let the user that runs the broker own it", path.display())]
    NotWritable {
        /// Which file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The disk is full.
    #[error("no room left on the disk of {}: make room, then start again; nothing acknowledged is lost", .0.display())]
    Full(PathBuf),
}

impl Store {
    /// Opens the store, creating it where that is asked for.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to do. Nothing has been changed then.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        let path = options.data_dir.join(STORE);
        let exists = path.join("db").exists();
        if !exists && options.create == Create::Never {
            return Err(OpenError::Absent(options.data_dir.clone()));
        }
        hand_over::make(&options.data_dir, 0o777).map_err(|source| at_fault(&options.data_dir, source))?;
        let files = HandOver { dir: options.data_dir.clone(), beside: options.erased_list.clone() };
        MasterKey::check_place(&options.key_file, &options.data_dir)?;
        let master = match MasterKey::load(&options.key_file) {
            Err(KeyError::Missing(_)) if !exists && options.create == Create::IfMissing => MasterKey::create(&options.key_file)?,
            loaded => loaded?,
        };
        let db = open_sled(&path, options.cache_bytes, options.patience)?;
        let damaged = |error: StoreError| self::damaged(&options.data_dir.join(STORE), &error);
        let tree = sled::Tree::clone(&db);
        let is_new = is_new(&tree, &path)?;
        let root = open_root(&path, &master, options, is_new)?;
        let given = if is_new { None } else { Some(check(&tree, &path, &root, options)?) };
        let keys_path = options.data_dir.join(CITIZEN_KEYS);
        let keyring = open_keys(options, &root, given.is_some_and(|given| given.next_slot > FIRST.next_slot))?;
        let given = match given {
            Some(given) => given,
            None if keyring.slots() > 0 => {
                let cause = "it is empty, and the file of citizen keys is not".to_owned();
                return Err(OpenError::Damaged { path: path.clone(), cause });
            }
            None => begin(&db, &keyring).map_err(damaged)?,
        };
        if keyring.slots() < given.next_slot && given.next_slot > FIRST.next_slot {
            return Err(OpenError::CitizenKeysMissing(keys_path));
        }
        if let Some(row) = tree.get(rows::NUMBER_KEY).map_err(|error| damaged(error.into()))? {
            keyring.numbering.set_turnover(Turnover::decode(&row).map_err(|error| damaged(error.into()))?);
        }
        let tuning =
            Tuning { cached_citizens: options.cached_citizens, gathered_keys: options.gathered_keys, least_free: options.least_free };
        let vault = Vault::new(tree, keyring, options.cached_citizens).map_err(damaged)?;
        let extent_path = options.data_dir.join(EXTENT);
        let (witness, said) = Witness::open(&extent_path).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => OpenError::ExtentUnreadable(extent_path.clone()),
            // Every other kind is about the file, not about what it says.
            _ => at_fault(&extent_path, source),
        })?;
        let erased = open_list(options, &root, erasing::erased_to(&vault).map_err(damaged)?)?;
        let outside = (erased, files);
        let mut store = recover::recover(db, vault, given, witness, outside, tuning).map_err(damaged)?;
        let found = (store.last_seq, store.last_finishes);
        if said.is_some_and(|said| found.0 < said.0 || found.1 < said.1) {
            return Err(OpenError::CutShort { path, extent: extent_path });
        }
        // Before anything is changed.
        if !store.finds_its_citizens().map_err(damaged)? {
            let cause = "its citizens are not found by their numbers with it; restore a backup".to_owned();
            return Err(OpenError::Damaged { path: options.data_dir.join(NUMBER_KEYS), cause });
        }
        store.file_quarantine().map_err(damaged)?;
        store.finish_erasures().map_err(damaged)?;
        store.is_open = true;
        Ok(store)
    }

    /// Returns whether the first and the last citizen are found by their numbers: with
    /// other secrets than those that rows were made with nobody would be, and everybody
    /// would be taken for somebody new.
    fn finds_its_citizens(&mut self) -> Result<bool, StoreError> {
        let mut rows = self.vault.tree.scan_prefix(b"C").keys();
        let ends: Vec<sled::IVec> = [rows.next(), rows.next_back()].into_iter().flatten().collect::<Result<_, _>>()?;
        for key in ends {
            let Some(id) = rows::first_citizen(&key) else { return Ok(false) };
            if let Some(citizen) = self.under_number(id)?
                && self.find_citizen(&citizen.personnummer)? != Some(id)
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// What has been given in a store where nothing has. Slot 0 is never given.
const FIRST: Given = Given { next_slot: 1, next_quarantine: 1, low_water: 0 };

/// Returns whether nothing was ever written to the store; otherwise it must be
/// of a known format.
fn is_new(tree: &sled::Tree, path: &Path) -> Result<bool, OpenError> {
    let damaged = |cause: &str| OpenError::Damaged { path: path.to_owned(), cause: cause.to_owned() };
    let Some(format) = tree.get(rows::FORMAT).map_err(|error| damaged(&error.to_string()))? else {
        return if tree.is_empty() { Ok(true) } else { Err(damaged("it does not say its format")) };
    };
    let found = <[u8; 4]>::try_from(&*format).map(u32::from_be_bytes).map_err(|_| damaged("it does not say its format"))?;
    if found > FORMAT {
        return Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT });
    }
    Ok(false)
}

/// Opens the root key; only a store that is new gets one.
fn open_root(path: &Path, master: &MasterKey, options: &Options, is_new: bool) -> Result<RootKey, OpenError> {
    match RootKey::open(&options.data_dir, master) {
        Err(RootKeyError::Missing(_)) if is_new => Ok(RootKey::create(&options.data_dir, master)?),
        Err(RootKeyError::WrongKey(_)) => Err(OpenError::WrongKey { path: path.to_owned(), key_file: options.key_file.clone() }),
        opened => Ok(opened?),
    }
}

/// Checks that the store is sealed with this key; returns what it has given.
fn check(tree: &sled::Tree, path: &Path, root: &RootKey, options: &Options) -> Result<Given, OpenError> {
    let damaged = |cause: &str| OpenError::Damaged { path: path.to_owned(), cause: cause.to_owned() };
    let get = |key| tree.get(key).map_err(|error| damaged(&error.to_string()));
    if get(rows::CHECK)?.is_none_or(|check| *check != keyring::check_value(root)) {
        return Err(OpenError::WrongKey { path: path.to_owned(), key_file: options.key_file.clone() });
    }
    let numbers = get(rows::NUMBERS)?.ok_or_else(|| damaged("it does not say which numbers it has given"))?;
    Given::decode(&numbers).map_err(|error| damaged(&error.to_string()))
}

/// Writes what every store begins with.
fn begin(db: &sled::Db, keyring: &Keyring) -> Result<Given, StoreError> {
    let mut batch = sled::Batch::default();
    batch.insert(rows::FORMAT, &FORMAT.to_be_bytes());
    batch.insert(rows::CHECK, &keyring.check);
    batch.insert(rows::NUMBERS, FIRST.encode());
    batch.insert(rows::OWNERS, &[1]);
    db.apply_batch(batch)?;
    db.flush()?;
    Ok(FIRST)
}

fn open_keys(options: &Options, root: &RootKey, are_needed: bool) -> Result<Keyring, OpenError> {
    let [citizens, numbers] = [CITIZEN_KEYS, NUMBER_KEYS].map(|name| options.data_dir.join(name));
    if let Some(missing) = [&citizens, &numbers].into_iter().find(|path| are_needed && !path.exists()) {
        return Err(OpenError::CitizenKeysMissing(missing.clone()));
    }
    let numbering = Numbering::open(&numbers, are_needed).map_err(|source| no_keys(&numbers, source))?;
    Keyring::open(&citizens, root, numbering).map_err(|source| no_keys(&citizens, source))
}

/// Opens the list of erased slots, of which the store has seen so many. One that was
/// emptied may be there, on purpose; none, or an older one, may not.
fn open_list(options: &Options, root: &RootKey, seen: u64) -> Result<ErasedList, OpenError> {
    let path = &options.erased_list;
    let mut list = ErasedList::open(path, root).map_err(|source| at_fault(path, source))?;
    if seen > 0 && !path.exists() {
        return Err(OpenError::ErasedListMissing(path.clone()));
    }
    if (1..seen).contains(&list.len()) {
        return Err(OpenError::ErasedListShort { path: path.clone(), found: list.len(), seen });
    }
    list.set_seen(seen);
    Ok(list)
}

fn no_keys(path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::StorageFull => at_fault(path, source),
        // Every other kind means the same: it is not what it should be.
        _ => OpenError::CitizenKeys { path: path.to_owned(), source },
    }
}

pub(super) fn open_sled(path: &Path, cache_bytes: u64, patience: Duration) -> Result<sled::Db, OpenError> {
    // No flushing behind our back: a flush is what an acknowledgment waits for.
    let config = sled::Config::new().path(path).cache_capacity(cache_bytes).flush_every_ms(None).mode(sled::Mode::LowSpace);
    let began = Instant::now();
    loop {
        clear_leftovers(path).map_err(|source| at_fault(path, source))?;
        match catching(path, || config.open()) {
            Err(cause) => return Err(OpenError::Damaged { path: path.to_owned(), cause }),
            Ok(Ok(db)) => return Ok(db),
            // sled gives this one no kind of its own.
            Ok(Err(sled::Error::Io(error))) if error.to_string().contains("could not acquire lock") => {
                if began.elapsed() >= patience {
                    return Err(OpenError::Locked(path.to_owned()));
                }
                thread::sleep(BETWEEN_TRIES);
            }
            Ok(Err(error)) => return Err(damaged(path, &error.into())),
        }
    }
}

/// Takes away what sled stumbles over at opening: a snapshot that was not finished, and
/// half a group.
///
/// # Errors
/// When the files cannot be read or written. That another process has the store open
/// is for sled to find out: nothing is changed then.
fn clear_leftovers(path: &Path) -> io::Result<()> {
    let db = match fs::File::options().read(true).write(true).open(path.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        db => db?,
    };
    // sled holds this lock for as long as it has the store open.
    if fs2::FileExt::try_lock_exclusive(&db).is_err() {
        return Ok(());
    }
    clear_unfinished_snapshots(path)?;
    torn::clear_half_a_group(path, &db)
}

/// Removes what is left of a snapshot that sled did not finish writing, since the disk was
/// full or the process was killed. sled means to pass over it, looks for another ending
/// than it gives such a file, takes it for the newest snapshot and the store for damaged.
/// A snapshot says nothing that the rest of the files does not: sled makes it at opening.
fn clear_unfinished_snapshots(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_encoded_bytes();
        if name.starts_with(b"snap.") && name.ends_with(b".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn damaged(path: &Path, error: &StoreError) -> OpenError {
    match error {
        StoreError::Full => OpenError::Full(path.to_owned()),
        StoreError::Sled(sled::Error::Io(source)) | StoreError::Keys(source) | StoreError::Witness(source) | StoreError::Erased(source)
            if is_permission(source) =>
        {
            at_fault(path, io::Error::from(source.kind()))
        }
        StoreError::Sled(source) => OpenError::Damaged { path: path.to_owned(), cause: source.to_string() },
        StoreError::Keys(_)
        | StoreError::Witness(_)
        | StoreError::Erased(_)
        | StoreError::Unsealable { .. }
        | StoreError::Damaged(_)
        | StoreError::Contradiction(_)
        | StoreError::Exhausted => OpenError::Damaged { path: path.to_owned(), cause: error.to_string() },
    }
}

fn is_permission(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn at_fault(path: &Path, source: io::Error) -> OpenError {
    match source.kind() {
        io::ErrorKind::StorageFull => OpenError::Full(path.to_owned()),
        // Every other kind means the same: it cannot be written.
        _ => OpenError::NotWritable { path: path.to_owned(), source },
    }
}

thread_local! {
    /// The store that this thread is opening.
    static OPENING: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs what opens sled, which panics on some damaged files. In a build that
/// unwinds the panic becomes an error; in one that aborts, the last words at
/// least say what to do.
fn catching<T>(path: &Path, open: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |about| {
            if OPENING.get().is_none() {
                before(about);
            } else if cfg!(panic = "abort") {
                let path = OPENING.get().unwrap_or_default();
                let error = OpenError::Damaged { path: PathBuf::from(path), cause: said(about.payload()) };
                eprintln!("{error}");
            }
        }));
    });
    // Leaked once for each opening, of which a process has one.
    let shown: &'static str = Box::leak(path.display().to_string().into_boxed_str());
    OPENING.set(Some(shown));
    let opened = panic::catch_unwind(AssertUnwindSafe(open));
    OPENING.set(None);
    opened.map_err(|payload| said(&*payload))
}

fn said(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("sled gave up without a word").to_owned()
}
