//! The root key of a store: what every key of it derives from. It lies in the
//! data directory, wrapped under the master key, so that the master key can be
//! exchanged for another without sealing anything anew.
//!
//! While one is exchanged the file holds the root key twice, under the former master
//! key and then under the new one, and either opens the store; when that is over,
//! once, and the other one opens nothing more. The file is replaced as a whole,
//! never written in place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::master::{MasterKey, derive};
use super::replace::replace;
use super::seal::{SealKey, Sealer};

/// The name of the file inside the data directory.
pub(super) const ROOT_KEY: &str = "root-key";
/// What the file begins with; what is wrapped is bound to it.
const HEADER: &[u8; 32] = b"wsb root key, format 1          ";
/// Nonce, key, tag.
const WRAPPED: usize = 12 + 32 + 16;
/// What the master key wraps with.
const PURPOSE: &str = "root";

/// The root key. Shows nothing of itself.
pub(super) struct RootKey([u8; 32]);

/// Why there is no root key.
#[derive(Debug, thiserror::Error)]
pub enum RootKeyError {
    /// The file is not there.
    #[error("the file {} is missing: restore it from the backup that the store came from", .0.display())]
    Missing(PathBuf),
    /// It is wrapped under another master key.
    #[error("the key given is not the one that {} is wrapped under: give the key file that belongs to the store (--key-file)", .0.display())]
    WrongKey(PathBuf),
    /// It holds something else.
    #[error("the file {} holds no root key of this broker, or one of a newer format: restore it from the backup that the store came from", .0.display())]
    Malformed(PathBuf),
    /// It is the one that is being exchanged for another, which would open nothing.
    #[error(
        "the key given (--key-file) is the one from before the exchange, and only it would open the store: put the new key in its place and restart first, then run `wsb-broker rotate-key --finish` again. To keep the former key instead, run `wsb-broker rotate-key --undo`: the new key will not open the store then"
    )]
    Former,
    /// There is no newer one beside it.
    #[error(
        "no newer key than the one given (--key-file) opens the store: there is no exchange to undo. If it is the new key, put the former one in its place to undo the exchange, or run `wsb-broker rotate-key --finish` to keep it"
    )]
    NotExchanged,
    /// It cannot be read or written.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a master key is among those that open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The only one, or the one that was admitted last.
    Newest,
    /// One that is being exchanged for a newer one.
    Former,
}

impl RootKey {
    /// Reads the root key of a data directory, or of a backup.
    pub fn open(dir: &Path, master: &MasterKey) -> Result<Self, RootKeyError> {
        Self::open_standing(dir, master).map(|(root, _)| root)
    }

    fn open_standing(dir: &Path, master: &MasterKey) -> Result<(Self, Standing), RootKeyError> {
        let path = dir.join(ROOT_KEY);
        let bytes = fs::read(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => RootKeyError::Missing(path.clone()),
            // Every other kind means the same: it is there and cannot be read.
            _ => RootKeyError::Io { path: path.clone(), source },
        })?;
        let (wrapped, rest) = bytes.strip_prefix(HEADER).ok_or_else(|| RootKeyError::Malformed(path.clone()))?.as_chunks::<WRAPPED>();
        if wrapped.is_empty() || !rest.is_empty() {
            return Err(RootKeyError::Malformed(path));
        }
        let wrapping = SealKey::new(master.subkey(PURPOSE));
        let newest_first = std::iter::once(Standing::Newest).chain(std::iter::repeat(Standing::Former));
        let opened = wrapped.iter().rev().zip(newest_first).find_map(|(wrapped, standing)| {
            let root = <[u8; 32]>::try_from(wrapping.open(HEADER, wrapped).ok()?).ok()?;
            Some((Self(root), standing))
        });
        opened.ok_or(RootKeyError::WrongKey(path))
    }

    /// Makes a root key in a data directory that has none, and returns when it is
    /// on disk.
    pub fn create(dir: &Path, master: &MasterKey) -> Result<Self, RootKeyError> {
        let mut key = [0; 32];
        let failed = |source| RootKeyError::Io { path: dir.join(ROOT_KEY), source };
        SystemRandom::new().fill(&mut key).map_err(|_| failed(io::Error::other("no randomness from the system")))?;
        let root = Self(key);
        root.wrap(dir, &[master])?;
        Ok(root)
    }

    /// Wraps it under these master keys and no others, the newest last, and returns
    /// when that is on disk.
    pub fn wrap(&self, dir: &Path, masters: &[&MasterKey]) -> Result<(), RootKeyError> {
        let path = dir.join(ROOT_KEY);
        let mut bytes = HEADER.to_vec();
        let failed = |source| RootKeyError::Io { path: path.clone(), source };
        let mut sealer = Sealer::new();
        for master in masters {
            let sealed = sealer.seal(&SealKey::new(master.subkey(PURPOSE)), HEADER, &mut bytes, |out| out.extend_from_slice(&self.0));
            sealed.map_err(|_| failed(io::Error::other("no randomness from the system")))?;
        }
        replace(dir, ROOT_KEY, &bytes).map_err(failed)
    }

    /// Returns the key for one purpose; keys of different purposes say nothing
    /// about each other.
    pub fn subkey(&self, purpose: &str) -> [u8; 32] {
        derive(&self.0, purpose)
    }
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootKey(..)")
    }
}

/// Lets a further master key open the store of a data directory, beside the one
/// that does. A broker may run on it meanwhile.
///
/// # Errors
/// Nothing has changed then.
pub fn admit_key(data_dir: &Path, present: &MasterKey, further: &MasterKey) -> Result<(), RootKeyError> {
    RootKey::open(data_dir, present)?.wrap(data_dir, &[present, further])
}

/// Lets only this master key open the store of a data directory: the only one, or
/// the one that was admitted last. A broker may run on it meanwhile.
///
/// # Errors
/// Nothing has changed then.
pub fn keep_only_key(data_dir: &Path, master: &MasterKey) -> Result<(), RootKeyError> {
    match RootKey::open_standing(data_dir, master)? {
        (root, Standing::Newest) => root.wrap(data_dir, &[master]),
        (_, Standing::Former) => Err(RootKeyError::Former),
    }
}

/// Lets only this master key open the store of a data directory, and no more the one
/// that it was to be exchanged for. A broker may run on it meanwhile.
///
/// # Errors
/// Nothing has changed then.
pub fn keep_former_key(data_dir: &Path, master: &MasterKey) -> Result<(), RootKeyError> {
    match RootKey::open_standing(data_dir, master)? {
        (root, Standing::Former) => root.wrap(data_dir, &[master]),
        (_, Standing::Newest) => Err(RootKeyError::NotExchanged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_key_is_exchanged_in_two_steps_and_the_former_opens_nothing_then() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = |name: &str| MasterKey::create(&dir.path().join(name)).expect("a key");
        let (former, latter) = (key("former"), key("latter"));
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("a directory");
        assert!(matches!(RootKey::open(&data, &former), Err(RootKeyError::Missing(_))));
        let root = RootKey::create(&data, &former).expect("a root key").0;
        let opens = |master: &MasterKey| RootKey::open(&data, master).map(|opened| opened.0 == root);

        assert!(matches!(opens(&latter), Err(RootKeyError::WrongKey(_))));
        assert!(matches!(admit_key(&data, &latter, &former), Err(RootKeyError::WrongKey(_))), "who cannot open it admits nobody");
        admit_key(&data, &former, &latter).expect("admitted");
        assert!(opens(&former).expect("opened") && opens(&latter).expect("opened"));
        admit_key(&data, &former, &latter).expect("as often as one likes");
        assert!(matches!(keep_only_key(&data, &former), Err(RootKeyError::Former)), "a step too early");
        assert!(matches!(keep_former_key(&data, &latter), Err(RootKeyError::NotExchanged)));
        assert!(opens(&former).expect("opened") && opens(&latter).expect("opened"), "a refusal changes nothing");
        keep_only_key(&data, &latter).expect("kept");
        keep_only_key(&data, &latter).expect("as often as one likes");
        assert!(opens(&latter).expect("opened"));
        assert!(matches!(opens(&former), Err(RootKeyError::WrongKey(_))));
    }

    #[test]
    fn one_that_cannot_be_replaced_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::create(&dir.path().join("key")).expect("a key");
        fs::create_dir(dir.path().join(ROOT_KEY)).expect("in the way");
        RootKey::create(dir.path(), &master).expect_err("a directory is in the way");
        assert!(!dir.path().join("root-key.new").exists());
    }

    #[test]
    fn an_exchange_is_undone_by_a_word_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let key = |name: &str| MasterKey::create(&dir.path().join(name)).expect("a key");
        let (former, latter) = (key("former"), key("latter"));
        RootKey::create(dir.path(), &former).expect("a root key");
        assert!(matches!(keep_former_key(dir.path(), &former), Err(RootKeyError::NotExchanged)), "nothing to undo");
        admit_key(dir.path(), &former, &latter).expect("admitted");
        keep_former_key(dir.path(), &former).expect("undone");
        assert!(RootKey::open(dir.path(), &former).is_ok());
        assert!(matches!(RootKey::open(dir.path(), &latter), Err(RootKeyError::WrongKey(_))));
    }

    #[test]
    fn what_is_no_root_key_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let master = MasterKey::create(&dir.path().join("key")).expect("a key");
        RootKey::create(dir.path(), &master).expect("a root key");
        let path = dir.path().join(ROOT_KEY);
        let whole = fs::read(&path).expect("the file");
        for bytes in [&whole[..0], &whole[..32], &whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
            fs::write(&path, bytes).expect("written");
            assert!(matches!(RootKey::open(dir.path(), &master), Err(RootKeyError::Malformed(_))), "{} bytes", bytes.len());
        }
        let mut garbled = whole.clone();
        garbled[50] ^= 1;
        fs::write(&path, garbled).expect("written");
        assert!(matches!(RootKey::open(dir.path(), &master), Err(RootKeyError::WrongKey(_))));
    }
}
