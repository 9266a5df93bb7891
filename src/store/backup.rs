//! A copy of the store, taken while it is in use: consistent, and as sealed as
//! the store itself. The master key is no part of it.
//!
//! The rows are copied beside the writer, row by row, while it goes on; every
//! change that it commits meanwhile is noted in a second file. The changes
//! applied to the copied rows, in order, give the store as it was when the
//! noting ended, whatever the copying saw of them. The writer waits for nothing
//! but the opening and the closing of that file. `restore` turns it round.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ring::digest;

use crate::core::time::Moment;

use super::batch::Batch;
use super::disk::Store;
use super::durability::Durability;
use super::error::StoreError;
use super::hand_over;
use super::latest_backup;
use super::open;
use super::room::free_bytes;
use super::vault::Vault;

/// The format of backups that this broker writes.
const FORMAT: u32 = 2;
const HEADER: &str = "wsb-broker backup, format ";
const ROWS: &str = "rows";
const CHANGES: &str = "changes";
/// The list of erased slots as it was; none before the first erasure.
pub(super) const ERASED: &str = "erased";
/// Written last: a backup without it is none.
pub(super) const MANIFEST: &str = "manifest";
/// How many bytes of a file are written before the disk is asked again what is free.
const ASK_EVERY: u64 = 1 << 20;
/// Stands for the length of a value in a row that goes.
const GONE: u32 = u32::MAX;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something is there already.
    #[error("{} is not empty: a backup is never written over anything", .0.display())]
    Occupied(PathBuf),
    /// It would be part of what it is a copy of, and go with it.
    #[error("{} lies inside the data directory: a backup there is lost together with the store; name a directory elsewhere, best on another disk", .0.display())]
    InsideStore(PathBuf),
    /// One is being taken.
    #[error("a backup is being taken already")]
    UnderWay,
    /// It would leave too little free on the disk that it goes to.
    #[error("{} has not enough room for a backup: free {mib} MiB or more on its disk, or name another", path.display())]
    NoRoom {
        /// Where it was to go.
        path: PathBuf,
        /// How much is missing.
        mib: u64,
    },
    /// The room went while it was taken.
    #[error("{} has no room left for a backup: too little would stay free on its disk, so what there was of it is removed; make room, or name another", .0.display())]
    RanOut(PathBuf),
    /// A file cannot be written or read.
    #[error("{} cannot be written: no backup was taken, and what there was of it is removed", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store cannot be read.
    #[error("the store cannot be copied")]
    Store(#[from] StoreError),
}

/// Why a backup cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is none, or was never finished.
    #[error("{} is no backup, or one that was not finished", .0.display())]
    Unfinished(PathBuf),
    /// A newer broker took it.
    #[error("{} was taken by a newer broker, this one knows backups up to format {FORMAT}", .0.display())]
    Newer(PathBuf),
    /// A file is not what it was when the backup was taken.
    #[error("the backup {} is damaged: {file} is not what was written", path.display())]
    Damaged {
        /// The backup.
        path: PathBuf,
        /// Which of its files.
        file: String,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// When it was taken: everything that had been acknowledged by then is in it.
    pub at: Moment,
    /// The place of the newest event.
    pub last_seq: u64,
    /// How many erasures the list beside the store knew of: the generation of
    /// the keys. Those after it are made up for when it is restored.
    pub erasures: u64,
    /// What tells the master key that it belongs to.
    pub(super) check: [u8; 16],
    files: Vec<(String, Part)>,
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    records: u64,
    bytes: u64,
    sha256: String,
}

/// Hears of every change that is committed.
#[derive(Debug)]
pub(super) struct Noting {
    out: Result<Recording, io::Error>,
    path: PathBuf,
    /// Gone when whoever copies has given up.
    copying: Weak<()>,
}

/// A backup under way, for whoever copies beside the writer.
#[derive(Debug)]
pub struct Copying {
    vault: Arc<Vault>,
    data_dir: PathBuf,
    erased: PathBuf,
    dir: PathBuf,
    /// The directories that were made for it, the innermost first.
    made: Vec<PathBuf>,
    /// How many bytes it leaves free.
    pub(super) least_free: u64,
    /// While it is there, the changes are noted.
    wanted: Arc<()>,
    files: Vec<(String, Part)>,
    is_finished: bool,
}

/// What the writer knew when the noting ended.
#[derive(Debug)]
pub struct Noted {
    part: Part,
    last_seq: u64,
    erasures: u64,
    check: [u8; 16],
}

impl Store {
    /// Begins a backup in a directory that does not exist or is empty; every
    /// change is noted from now on. [`Copying::copy_rows`] comes next.
    ///
    /// # Errors
    /// Nothing has been changed then.
    pub fn begin_backup(&mut self, dir: &Path) -> Result<Copying, BackupError> {
        if self.noting.as_ref().is_some_and(Noting::is_wanted) || self.keys_are_held {
            return Err(BackupError::UnderWay);
        }
        let failed = |source| failed(dir, source);
        if lies_inside(dir, &self.files.dir) {
            return Err(BackupError::InsideStore(dir.to_owned()));
        }
        if dir.exists() && fs::read_dir(dir).map_err(failed)?.next().is_some() {
            return Err(BackupError::Occupied(dir.to_owned()));
        }
        // From here on whatever goes wrong takes its pieces with it.
        let copying = self.copying_to(dir);
        hand_over::make(dir, 0o700).map_err(failed)?;
        let needed = self.size_on_disk()?.saturating_add(copying.key_bytes()).saturating_add(self.least_free);
        let missing = needed.saturating_sub(free_bytes(dir).map_err(failed)?);
        if missing > 0 {
            return Err(BackupError::NoRoom { path: dir.to_owned(), mib: missing.div_ceil(1 << 20) });
        }
        let path = dir.join(CHANGES);
        let out = Ok(copying.record(&path)?);
        self.noting = Some(Noting { out, path, copying: Arc::downgrade(&copying.wanted) });
        Ok(copying)
    }

    fn copying_to(&self, dir: &Path) -> Copying {
        let is_missing = |above: &&Path| !above.as_os_str().is_empty() && !above.exists();
        Copying {
            vault: Arc::clone(&self.vault),
            data_dir: self.files.dir.clone(),
            erased: self.erased.path().to_owned(),
            dir: dir.to_owned(),
            made: dir.ancestors().take_while(is_missing).map(Path::to_owned).collect(),
            least_free: self.least_free,
            wanted: Arc::new(()),
            files: Vec::new(),
            is_finished: false,
        }
    }

    /// Ends the noting: the backup is of this moment. No key is overwritten until
    /// [`Store::release_keys`], so that [`Copying::copy_keys`] copies those that
    /// belong to the rows.
    ///
    /// # Errors
    /// When the changes could not be noted; the store goes on.
    pub fn end_backup(&mut self) -> Result<Noted, BackupError> {
        // What is staged too: a flush without it might overwrite keys that it still needs.
        self.commit(Durability::Flush)?;
        let Some(noting) = self.noting.take() else { return Err(BackupError::UnderWay) };
        let path = noting.path;
        let part = noting.out.and_then(Recording::finish).map_err(|source| failed(&path, source))?;
        self.keys_are_held = true;
        Ok(Noted { part, last_seq: self.last_seq, erasures: self.erased.len(), check: self.vault.keyring.check })
    }

    /// Lets keys be overwritten again, and forgets a backup that did not come to
    /// its end.
    pub fn release_keys(&mut self) {
        self.keys_are_held = false;
        // Another may have begun since whoever copied this one has given up.
        self.noting = self.noting.take().filter(Noting::is_wanted);
    }

    /// Takes a backup with the store to itself.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn back_up(&mut self, dir: &Path, at: Moment, mut progress: impl FnMut(u64)) -> Result<Manifest, BackupError> {
        let taken = self.begin_backup(dir).and_then(|mut copying| {
            copying.copy_rows(&mut progress)?;
            let noted = self.end_backup()?;
            copying.copy_keys()?;
            copying.finish(noted, at)
        });
        self.release_keys();
        taken
    }
}

/// Whether a directory, which need not exist, is or lies inside another.
fn lies_inside(dir: &Path, other: &Path) -> bool {
    let Ok(other) = fs::canonicalize(other) else { return false };
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    absolute.ancestors().find_map(|there| fs::canonicalize(there).ok()).is_some_and(|real| real.starts_with(other))
}

impl Noting {
    /// Returns whether anybody is copying still.
    pub fn is_wanted(&self) -> bool {
        self.copying.strong_count() > 0
    }

    /// Ends the backup where less is free, whatever was said when it began.
    #[cfg(test)]
    pub fn leave_free(&mut self, bytes: u64) {
        if let Ok(recording) = &mut self.out {
            recording.least_free = bytes;
        }
    }

    /// A note that cannot be written fails the backup and nothing else.
    pub fn note(&mut self, batch: &Batch) {
        if let Ok(recording) = &mut self.out
            && let Err(error) = batch.changes().try_for_each(|(key, value)| recording.record(key, value))
        {
            self.out = Err(error);
        }
    }
}

impl Copying {
    /// Copies every row, and calls `progress` with their number so far. Meant
    /// for a thread of its own: the writer goes on meanwhile.
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn copy_rows(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), BackupError> {
        let path = self.dir.join(ROWS);
        let failed = |source| failed(&path, source);
        let mut recording = self.record(&path)?;
        for row in self.vault.tree.iter() {
            let (key, value) = row.map_err(StoreError::from)?;
            recording.record(&key, Some(&value)).map_err(failed)?;
            if recording.records.is_multiple_of(10_000) {
                progress(recording.records);
            }
        }
        self.files.push((ROWS.to_owned(), recording.finish().map_err(failed)?));
        Ok(())
    }

    /// Copies the files of keys, and the list of erased slots, between [`Store::end_backup`] and
    /// [`Store::release_keys`].
    ///
    /// # Errors
    /// When something cannot be read or written.
    pub fn copy_keys(&mut self) -> Result<(), BackupError> {
        // No slot is overwritten meanwhile, and so none is added to the list.
        for (name, from) in self.key_files() {
            let path = self.dir.join(name);
            let failed = |source| failed(&path, source);
            let mut from = BufReader::with_capacity(1 << 20, File::open(from).map_err(failed)?);
            let mut recording = self.record(&path)?;
            io::copy(&mut from, &mut recording).map_err(failed)?;
            self.files.push((name.to_owned(), recording.finish().map_err(failed)?));
        }
        Ok(())
    }

    /// Begins a file of the backup.
    fn record(&self, path: &Path) -> Result<Recording, BackupError> {
        Recording::create(path, self.least_free).map_err(|source| failed(path, source))
    }

    fn key_files(&self) -> Vec<(&'static str, PathBuf)> {
        let keys = open::KEY_FILES.map(|name| (name, self.data_dir.join(name)));
        let list = Some((ERASED, self.erased.clone())).filter(|(_, path)| path.exists());
        keys.into_iter().chain(list).collect()
    }

    fn key_bytes(&self) -> u64 {
        self.key_files().iter().filter_map(|(_, path)| fs::metadata(path).ok()).map(|file| file.len()).sum()
    }

    /// Writes the last file, which makes it a backup, and returns when all of it
    /// is on disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, noted: Noted, at: Moment) -> Result<Manifest, BackupError> {
        self.files.push((CHANGES.to_owned(), noted.part));
        let manifest =
            Manifest { at, last_seq: noted.last_seq, erasures: noted.erasures, check: noted.check, files: std::mem::take(&mut self.files) };
        let path = self.dir.join(MANIFEST);
        let write = || {
            let mut file = create(&path)?;
            file.write_all(manifest.to_string().as_bytes())?;
            file.sync_all()?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| failed(&path, source))?;
        self.is_finished = true;
        latest_backup::note(&self.data_dir, at);
        Ok(manifest)
    }
}

impl Drop for Copying {
    /// Removes what there is of a backup that has not come to its end: it is of no use,
    /// and takes room, on what may be the store's own disk.
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        for name in [MANIFEST, ROWS, CHANGES, ERASED].into_iter().chain(open::KEY_FILES) {
            // Most are not there; one that cannot be removed is no worse than before.
            let _ = fs::remove_file(self.dir.join(name));
        }
        for made in &self.made {
            // Nor is one that somebody else has put something into.
            let _ = fs::remove_dir(made);
        }
    }
}

impl std::fmt::Display for Manifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{HEADER}{FORMAT}")?;
        writeln!(f, "at {}", self.at)?;
        writeln!(f, "last-seq {}", self.last_seq)?;
        writeln!(f, "erasures {}", self.erasures)?;
        writeln!(f, "check {}", hex(&self.check))?;
        for (name, part) in &self.files {
            writeln!(f, "file {name} {} {} {}", part.records, part.bytes, part.sha256)?;
        }
        writeln!(f, "end")
    }
}

impl Manifest {
    /// Reads what the backup in a directory says of itself, and checks every
    /// file of it.
    ///
    /// # Errors
    /// When it is not a whole backup.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ManifestError::Unfinished(dir.to_owned())),
            Err(source) => return Err(ManifestError::Io { path, source }),
        };
        let format = text.strip_prefix(HEADER).and_then(|rest| rest.lines().next()?.parse::<u32>().ok());
        if format.is_some_and(|format| format > FORMAT) {
            return Err(ManifestError::Newer(dir.to_owned()));
        }
        let manifest = Self::parse(&text).ok_or_else(|| ManifestError::Unfinished(dir.to_owned()))?;
        for (name, part) in &manifest.files {
            let path = dir.join(name);
            let (bytes, sha256) = digest_of(&path).map_err(|source| ManifestError::Io { path, source })?;
            if bytes != part.bytes || sha256 != part.sha256 {
                return Err(ManifestError::Damaged { path: dir.to_owned(), file: name.clone() });
            }
        }
        Ok(manifest)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
        let at = Moment::parse(&value("at")?).ok()?;
        let (last_seq, erasures) = (value("last-seq")?.parse().ok()?, value("erasures")?.parse().ok()?);
        let check = unhex(&value("check")?)?;
        let mut files = Vec::new();
        for line in lines.by_ref() {
            let Some(line) = line.strip_prefix("file ") else {
                return (line == "end").then_some(Self { at, last_seq, erasures, check, files });
            };
            let mut words = line.split(' ');
            let name = words.next().filter(|name| KNOWN.contains(name))?;
            let part = Part { records: words.next()?.parse().ok()?, bytes: words.next()?.parse().ok()?, sha256: words.next()?.to_owned() };
            files.push((name.to_owned(), part));
        }
        None
    }

    /// Returns how many rows were copied and how many changes noted.
    #[must_use]
    pub fn records(&self) -> (u64, u64) {
        let of = |wanted: &str| self.files.iter().find(|(name, _)| name == wanted).map_or(0, |(_, part)| part.records);
        (of(ROWS), of(CHANGES))
    }
}

/// The files that a manifest may name: nothing outside of the directory.
const KNOWN: [&str; 6] = [ROWS, CHANGES, ERASED, open::KEY_FILES[0], open::KEY_FILES[1], open::KEY_FILES[2]];

/// Calls `visit` with every row of a backup and then with every change, in
/// order; `None` for a row that goes.
pub(super) fn each_row<E: From<io::Error>>(dir: &Path, mut visit: impl FnMut(Vec<u8>, Option<Vec<u8>>) -> Result<(), E>) -> Result<(), E> {
    for name in [ROWS, CHANGES] {
        let mut file = BufReader::with_capacity(1 << 20, File::open(dir.join(name))?);
        let mut head = [0; 6];
        while !io::BufRead::fill_buf(&mut file)?.is_empty() {
            file.read_exact(&mut head)?;
            let key_len = usize::from(u16::from_be_bytes([head[0], head[1]]));
            let value_len = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
            let mut key = vec![0; key_len];
            file.read_exact(&mut key)?;
            let mut value = None;
            if value_len != GONE {
                let mut bytes = vec![0; value_len as usize];
                file.read_exact(&mut bytes)?;
                value = Some(bytes);
            }
            visit(key, value)?;
        }
    }
    Ok(())
}

/// Says of a file that there was no room for it, or what else is wrong.
fn failed(path: &Path, source: io::Error) -> BackupError {
    match source.kind() {
        io::ErrorKind::StorageFull => BackupError::RanOut(hand_over::directory_of(path).to_owned()),
        // Every other kind means the same: it cannot be written.
        _ => BackupError::Io { path: path.to_owned(), source },
    }
}

/// A file that is written once, with what the manifest will say of it. Nothing more is
/// written once less is free than has to be: what fills the disk may be something else.
struct Recording {
    path: PathBuf,
    least_free: u64,
    /// How many bytes will have been written when the disk is asked next.
    ask_at: u64,
    out: BufWriter<File>,
    digest: digest::Context,
    records: u64,
    bytes: u64,
}

impl Recording {
    fn create(path: &Path, least_free: u64) -> io::Result<Self> {
        let out = BufWriter::with_capacity(1 << 18, create(path)?);
        let digest = digest::Context::new(&digest::SHA256);
        Ok(Self { path: path.to_owned(), least_free, ask_at: 0, out, digest, records: 0, bytes: 0 })
    }

    fn ask_for_room(&mut self) -> io::Result<()> {
        self.ask_at = self.bytes + ASK_EVERY;
        let free = free_bytes(&self.path)?;
        if free < self.least_free { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn record(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let too_long = |_| io::Error::other("a row too long for a backup");
        let key_len = u16::try_from(key.len()).map_err(too_long)?;
        let value_len = match value {
            Some(value) => u32::try_from(value.len()).map_err(too_long)?,
            None => GONE,
        };
        self.write_all(&key_len.to_be_bytes())?;
        self.write_all(&value_len.to_be_bytes())?;
        self.write_all(key)?;
        self.write_all(value.unwrap_or_default())?;
        self.records += 1;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Part> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        Ok(Part { records: self.records, bytes: self.bytes, sha256: hex(self.digest.finish().as_ref()) })
    }
}

impl Write for Recording {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes >= self.ask_at {
            self.ask_for_room()?;
        }
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("records", &self.records).finish_non_exhaustive()
    }
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    hand_over::give_in_place(&file, path)?;
    Ok(file)
}

fn digest_of(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let (mut context, mut bytes) = (digest::Context::new(&digest::SHA256), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(context.finish().as_ref())));
        }
        context.update(&buffer[..read]);
        bytes += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
