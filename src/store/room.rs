//! How much room is left on the disk of the store. Intake stops before there is
//! none: what sled does on a full disk is not known well enough to rely on, and
//! what waits at RabbitMQ is safe there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the disk is asked.
const EVERY: Duration = Duration::from_secs(1);

/// What others see of the room.
#[derive(Debug, Clone, Default)]
pub struct Missing {
    /// Bytes missing, 0 while there is enough.
    missing: Arc<AtomicU64>,
    /// Bytes free, as seen last.
    free: Arc<AtomicU64>,
}

impl Missing {
    /// Returns how many bytes must be freed before intake goes on; 0 when it does.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were free when the disk was last asked.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Returns what must be freed in MiB, rounded up.
    #[must_use]
    pub fn mib(&self) -> u64 {
        self.bytes().div_ceil(1 << 20)
    }

    /// Says what to do, while something is missing.
    #[must_use]
    pub fn in_words(&self) -> Option<String> {
        let mib = self.mib();
        (mib > 0).then(|| {
            format!("the disk of the data directory is too full, intake has stopped; free {mib} MiB or more, and it goes on by itself")
        })
    }
}

/// A change that deserves a line in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// There was enough room, and is not any more.
    TooFull,
    /// There is enough again.
    EnoughAgain,
}

/// Watches the room on one disk.
#[derive(Debug)]
pub struct Room {
    path: PathBuf,
    /// Intake stops below this many bytes.
    least: u64,
    asked: Option<Instant>,
    missing: Missing,
}

impl Room {
    /// Watches the disk of `path`; with `least` 0 nothing is ever missing.
    #[must_use]
    pub fn new(path: &Path, least: u64) -> Self {
        Self { path: path.to_owned(), least, asked: None, missing: Missing::default() }
    }

    /// Returns what others may look at.
    #[must_use]
    pub fn missing(&self) -> Missing {
        self.missing.clone()
    }

    /// Asks the disk, at most once a second; returns whether there is room for
    /// taking in more, and whether that has just changed.
    pub fn look(&mut self) -> (bool, Option<Turned>) {
        let was_missing = self.missing.bytes() > 0;
        if self.asked.is_some_and(|asked| asked.elapsed() < EVERY) {
            return (!was_missing, None);
        }
        self.asked = Some(Instant::now());
        // A disk that does not answer is no reason to stop: the store will say so.
        if let Ok(free) = free_bytes(&self.path) {
            // A tenth more before it goes on, so that it does not come and go.
            let wanted = if was_missing { self.least + self.least / 10 } else { self.least };
            self.missing.free.store(free, Ordering::Relaxed);
            self.missing.missing.store(wanted.saturating_sub(free), Ordering::Relaxed);
        }
        let is_missing = self.missing.bytes() > 0;
        let turned = match (was_missing, is_missing) {
            (false, true) => Some(Turned::TooFull),
            (true, false) => Some(Turned::EnoughAgain),
            (false, false) | (true, true) => None,
        };
        (!is_missing, turned)
    }
}

/// Returns how many bytes are left for this user on the disk of a path.
///
/// # Errors
/// When the disk cannot be asked.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    // sled brings the crate along; the standard library has no such question.
    fs2::available_space(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_when_it_turns_and_what_is_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let free = free_bytes(dir.path()).expect("a disk");
        assert!(free > 0);
        let mut unlimited = Room::new(dir.path(), 0);
        assert_eq!(unlimited.look(), (true, None));
        assert!(unlimited.missing().free() > 0, "what is free is known whatever may be missing");
        assert_eq!(Room::new(dir.path(), 1).look(), (true, None));
        let mut room = Room::new(dir.path(), free.saturating_mul(2));
        let missing = room.missing();
        assert_eq!(room.look(), (false, Some(Turned::TooFull)));
        assert!(missing.in_words().is_some_and(|words| words.contains("MiB")));
        // Asked too soon: the answer stands.
        assert_eq!(room.look(), (false, None));
        room.least = 1;
        room.asked = None;
        assert_eq!(room.look(), (true, Some(Turned::EnoughAgain)));
        assert_eq!((missing.bytes(), missing.in_words()), (0, None));
        assert!(free_bytes(&dir.path().join("nowhere")).is_err());
    }
}
