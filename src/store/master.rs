//! The master key: a file beside the data directory, never inside it, so that
//! a copy of the data directory is worth nothing without it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::hand_over;

/// The first word of the file, followed by 64 hexadecimal digits.
const HEADER: &str = "wsb-key-1 ";

/// The master key. Shows nothing of itself.
pub struct MasterKey([u8; 32]);

/// Why there is no master key. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("the key file {} does not exist: give its place with --key-file or WSB_KEY_FILE, restore it from where it is kept, or run `wsb-broker init-key` for a new, empty store", .0.display())]
    Missing(PathBuf),
    /// Creating must not replace a key that a store may depend on.
    #[error("the key file {} exists already: it is not replaced, since a store cannot be read without its key", .0.display())]
    Exists(PathBuf),
    /// Others than the owner may read it.
    #[error("the key file {} may be read by others than its owner (mode {mode:03o}): run `chmod 600` on it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else.
    #[error("the key file {} does not hold a key of this broker: restore it from where it is kept; one that is empty, since making it was interrupted, may be removed", .0.display())]
    Malformed(PathBuf),
    /// It would be copied along with what it protects.
    #[error("the key file {} lies inside the data directory: keep it elsewhere, so that no backup holds both (--key-file)", .0.display())]
    InsideStore(PathBuf),
    /// It cannot be read or written.
    #[error("cannot read or write the key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl MasterKey {
    /// Reads the key.
    ///
    /// # Errors
    /// Refuses a file that others may read, and one that holds no key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
            // Every other kind means the same: it is there and cannot be read.
            _ => KeyError::Io { path: path.to_owned(), source },
        };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let mode = metadata.permissions().mode() & 0o777;
        let is_handed_over = metadata.uid() == 0 && !hand_over::is_root();
        if is_exposed(mode, is_handed_over) {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        // A key is short; a huge file given by mistake is not read.
        file.take(256).read_to_string(&mut text).map_err(|_| KeyError::Malformed(path.to_owned()))?;
        Self::parse(&text).ok_or_else(|| KeyError::Malformed(path.to_owned()))
    }

    /// Makes a new key, in a file that only its owner may read, and returns when
    /// it is on disk. The owner is that of the directory when root makes it.
    ///
    /// # Errors
    /// Refuses to replace a file.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        Self::create_by(path, new_file)
    }

    fn create_by(path: &Path, new_file: impl FnOnce(&Path) -> io::Result<File>) -> Result<Self, KeyError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            // Every other kind means the same: it cannot be written.
            _ => KeyError::Io { path: path.to_owned(), source },
        };
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| failed(io::Error::other("no randomness from the system")))?;
        let mut file = new_file(path).map_err(failed)?;
        let made = Self(key).write_to(&mut file, path);
        if made.is_err() {
            // What is in it is no key, and would be taken for one that is damaged.
            let _ = fs::remove_file(path);
        }
        made.map_err(failed)?;
        Ok(Self(key))
    }

    /// Writes it to its new file, and returns when that is on disk.
    fn write_to(&self, file: &mut File, path: &Path) -> io::Result<()> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        hand_over::give_in_place(file, path)?;
        file.write_all(format!("{HEADER}{digits}\n").as_bytes())?;
        file.sync_all()?;
        File::open(hand_over::directory_of(path))?.sync_all()
    }

    /// Refuses a place for the key inside the directory that it protects.
    ///
    /// # Errors
    /// When it is there.
    pub fn check_place(path: &Path, data_dir: &Path) -> Result<(), KeyError> {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = path.parent().map(|parent| if parent.as_os_str().is_empty() { real(Path::new(".")) } else { real(parent) });
        match directory.is_some_and(|directory| directory.starts_with(real(data_dir))) {
            true => Err(KeyError::InsideStore(path.to_owned())),
            false => Ok(()),
        }
    }

    /// Returns where the key is kept unless somebody says otherwise: beside the
    /// data directory, by its name with `.key` after it.
    #[must_use]
    pub fn default_path(data_dir: &Path) -> PathBuf {
        let mut name = data_dir.components().as_path().as_os_str().to_owned();
        name.push(".key");
        PathBuf::from(name)
    }

    /// Returns the key for one purpose, such as wrapping the root key; keys of
    /// different purposes say nothing about each other.
    pub(super) fn subkey(&self, purpose: &str) -> [u8; 32] {
        derive(&self.0, purpose)
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(HEADER)?.strip_suffix('\n')?;
        let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Some(Self(key))
    }
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

/// Makes the file of a key, where there is none.
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Returns the key for one purpose that a key of the broker's gives.
pub(super) fn derive(key: &[u8; 32], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), purpose.as_bytes());
    let mut derived = [0; 32];
    derived.copy_from_slice(tag.as_ref());
    derived
}

/// Whether others can get at a file of these permissions. systemd and Kubernetes
/// hand a secret over in a file of root's that is readable through its group or
/// an access list, which shows as the group's bit: that much is theirs to decide.
fn is_exposed(mode: u32, is_handed_over: bool) -> bool {
    mode & (if is_handed_over { 0o037 } else { 0o077 }) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_created_key_is_for_its_owner_only_and_comes_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data.key");
        let created = MasterKey::create(&path).expect("a key");
        assert_eq!(fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
        assert_eq!(MasterKey::load(&path).expect("the key").0, created.0);
        assert!(matches!(MasterKey::create(&path), Err(KeyError::Exists(_))));
    }

    #[test]
    fn a_key_that_could_not_be_written_leaves_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data.key");
        let full = || OpenOptions::new().write(true).open("/dev/full");
        let refused = MasterKey::create_by(&path, |path| new_file(path).and_then(|_| full())).expect_err("no room");
        assert!(matches!(&refused, KeyError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull), "{refused}");
        assert!(!path.exists(), "nothing is taken for a key");
        MasterKey::create(&path).expect("a key, once there is room");
        MasterKey::create_by(&path, new_file).expect_err("never replaced");
        MasterKey::load(&path).expect("the key is still there");
    }

    #[test]
    fn refuses_what_is_exposed_missing_or_no_key() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("data.key");
        assert!(matches!(MasterKey::load(&path), Err(KeyError::Missing(_))));
        MasterKey::create(&path).expect("a key");
        for mode in [0o640, 0o604, 0o644, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
            let refusal = MasterKey::load(&path).expect_err("exposed").to_string();
            assert!(refusal.contains("chmod 600") && refusal.contains("data.key"), "{refusal}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
        for text in [String::new(), "wsb-key-1 00\n".to_owned(), format!("{HEADER}{}\n", "g".repeat(64))] {
            fs::write(&path, text).expect("the file");
            assert!(matches!(MasterKey::load(&path), Err(KeyError::Malformed(_))));
        }
    }

    #[test]
    fn a_secret_handed_over_by_root_may_be_read_through_its_group() {
        for (mode, otherwise, handed_over) in
            [(0o600, false, false), (0o440, true, false), (0o640, true, false), (0o460, true, true), (0o444, true, true)]
        {
            assert_eq!((is_exposed(mode, false), is_exposed(mode, true)), (otherwise, handed_over), "{mode:o}");
        }
    }

    #[test]
    fn the_key_is_kept_beside_the_data_and_not_in_it() {
        assert_eq!(MasterKey::default_path(Path::new("./data/")), Path::new("./data.key"));
        let dir = tempfile::tempdir().expect("a directory");
        let inside = dir.path().join("deep");
        fs::create_dir(&inside).expect("a directory");
        assert!(matches!(MasterKey::check_place(&inside.join("key"), dir.path()), Err(KeyError::InsideStore(_))));
        assert!(MasterKey::check_place(&dir.path().join("key"), &inside).is_ok());
    }
}
