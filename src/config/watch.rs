//! Notices that `routing.toml` or `retention.toml` has changed.
//!
//! Has no thread and no clock: whoever owns it asks from time to time. Asking is
//! one `stat` as long as nothing happens.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::load::{LoadError, Sources, parse_read, parse_read_retention, parse_read_retention_or_built_in};
use crate::core::policy::Rules;
use crate::core::schedule::Schedule;

/// Follows both files. What one says is kept while the other changes.
#[derive(Debug)]
pub struct RulesWatch {
    sources: Sources,
    routing: FileWatch<Rules>,
    retention: FileWatch<Schedule>,
    /// The latest of each that had no mistake.
    rules: Rules,
    schedule: Arc<Schedule>,
}

impl RulesWatch {
    /// Loads the files and follows them from then on.
    ///
    /// # Errors
    /// As [`load_rules`](super::load_rules).
    pub fn start(sources: Sources) -> Result<(Self, Rules), LoadError> {
        let (routing, rules) = FileWatch::start_with(&sources.routing, parse_read)?;
        let parse = if sources.retention.is_some() { parse_read_retention } else { parse_read_retention_or_built_in };
        let (retention, schedule) = FileWatch::start_with(sources.retention_path(), parse)?;
        let watch = Self { sources, routing, retention, rules, schedule: schedule.into() };
        let rules = watch.together();
        Ok((watch, rules))
    }

    /// Returns what the files say now, if one of them says something else than
    /// when it was last reported; the other one is reported by a later poll.
    pub fn poll(&mut self) -> Option<Result<Rules, LoadError>> {
        if let Some(polled) = self.routing.poll() {
            return Some(polled.map(|rules| {
                self.rules = rules;
                self.together()
            }));
        }
        let polled = self.retention.poll()?;
        Some(polled.map(|schedule| {
            self.schedule = schedule.into();
            self.together()
        }))
    }

    /// Reads both files at once, changed or not: for an operator who asks for it.
    ///
    /// # Errors
    /// As [`load_rules`](super::load_rules).
    pub fn reload(&mut self) -> Result<Rules, LoadError> {
        // Both are noted as reported, whichever has mistakes.
        let (rules, schedule) = (self.routing.reload(), self.retention.reload());
        (self.rules, self.schedule) = (rules?, schedule?.into());
        Ok(self.together())
    }

    /// Returns where the files are.
    #[must_use]
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    fn together(&self) -> Rules {
        self.rules.clone().with_schedule(Arc::clone(&self.schedule))
    }
}

/// Follows one file.
///
/// A change is reported once it has been seen the same by two polls in a row: an
/// editor that writes in pieces would otherwise have the broker take over the
/// first half of a file, and half of a list of types is a valid file.
#[derive(Debug)]
struct FileWatch<T> {
    path: PathBuf,
    /// Makes something of what reading the file gave.
    parse: Parse<T>,
    /// What was last reported to the owner.
    reported: Content,
    /// What the poll before this one saw, if it differs from `reported`.
    candidate: Option<Content>,
    stamp: Option<Stamp>,
}

type Parse<T> = fn(&Path, io::Result<Vec<u8>>) -> Result<T, LoadError>;

/// What reading the file gave, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Bytes(Vec<u8>),
    Failed(io::ErrorKind),
}

impl Content {
    fn of(read: &io::Result<Vec<u8>>) -> Self {
        match read {
            Ok(bytes) => Self::Bytes(bytes.clone()),
            Err(error) => Self::Failed(error.kind()),
        }
    }
}

/// What a `stat` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    length: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self { modified: metadata.modified().ok()?, length: metadata.len() })
    }
}

impl<T> FileWatch<T> {
    /// Loads the file and follows it from then on.
    fn start_with(path: impl Into<PathBuf>, parse: Parse<T>) -> Result<(Self, T), LoadError> {
        let path = path.into();
        let read = std::fs::read(&path);
        let reported = Content::of(&read);
        let rules = parse(&path, read)?;
        // Without a stamp the next poll reads once more: a change between the
        // read above and a stamp taken here would never be noticed.
        Ok((Self { path, parse, reported, candidate: None, stamp: None }, rules))
    }

    /// Returns what the file says now, if that is something else than what was
    /// last reported. A file that stays invalid, or away, is reported once; one
    /// that is put back as it was is reported as valid again.
    fn poll(&mut self) -> Option<Result<T, LoadError>> {
        let stamp = Stamp::of(&self.path);
        if stamp.is_some() && stamp == self.stamp && self.candidate.is_none() {
            return None;
        }
        let read = std::fs::read(&self.path);
        let content = Content::of(&read);
        // The stamp was taken before the read. It is trusted only once the read
        // gave nothing new: a second write within one tick of the file system's
        // clock would leave the stamp as it is.
        if content == self.reported {
            self.candidate = None;
            self.stamp = stamp;
            return None;
        }
        self.stamp = None;
        if self.candidate.as_ref() != Some(&content) {
            self.candidate = Some(content);
            return None;
        }
        self.candidate = None;
        self.reported = content;
        Some((self.parse)(&self.path, read))
    }

    /// Reads the file at once, changed or not.
    fn reload(&mut self) -> Result<T, LoadError> {
        let read = std::fs::read(&self.path);
        self.reported = Content::of(&read);
        self.candidate = None;
        self.stamp = None;
        (self.parse)(&self.path, read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "[[type]]\nname = \"A\"\nentity-id = 1\ndomain = \"plan\"\n[[recipient]]\nauthority = \"akasse:001\"\n";

    /// What a poll said: nothing, the number of types, or `None` for a mistake.
    fn poll(watch: &mut FileWatch<Rules>) -> Option<Option<usize>> {
        watch.poll().map(|result| result.ok().map(|rules| rules.message_types().count()))
    }

    #[test]
    fn a_change_is_reported_once_and_when_it_has_settled() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("routing.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("the temporary folder can be written to");
        write(VALID);
        let (mut watch, rules) = FileWatch::start_with(&path, parse_read).expect("the file is valid");
        assert_eq!(rules.message_types().count(), 1);
        assert_eq!(poll(&mut watch), None);

        let more = format!("{VALID}[[type]]\nname = \"B\"\nentity-id = 2\ndomain = \"plan\"\n");
        write(&more);
        assert_eq!(poll(&mut watch), None, "may still be being written");
        assert_eq!(poll(&mut watch), Some(Some(2)));

        // Same length, and perhaps the same tick of the file system's clock.
        write(&more.replace("entity-id = 2", "entity-id = 1"));
        assert_eq!(poll(&mut watch), None);
        assert_eq!(poll(&mut watch), Some(None), "a duplicate entity-id");
        assert_eq!(poll(&mut watch), None);

        std::fs::remove_file(&path).expect("the file is there");
        assert_eq!(poll(&mut watch), None);
        assert!(matches!(watch.poll(), Some(Err(LoadError::Missing { .. }))));
        assert_eq!(poll(&mut watch), None);

        write(&more);
        assert_eq!(poll(&mut watch), None);
        assert_eq!(poll(&mut watch), Some(Some(2)), "valid again");
    }

    #[test]
    fn a_change_that_goes_on_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("routing.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("the temporary folder can be written to");
        write(VALID);
        let (mut watch, _) = FileWatch::start_with(&path, parse_read).expect("the file is valid");
        for end in [10, 20, 30] {
            write(&VALID[..end]);
            assert_eq!(poll(&mut watch), None, "the first {end} bytes");
        }
        write(VALID);
        assert_eq!(poll(&mut watch), None, "as before");
        assert_eq!(poll(&mut watch), None);
    }

    #[test]
    fn a_reload_is_immediate_and_leaves_nothing_to_report() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("routing.toml");
        std::fs::write(&path, VALID).expect("the temporary folder can be written to");
        let (mut watch, _) = FileWatch::start_with(&path, parse_read).expect("the file is valid");
        std::fs::write(&path, VALID.replace("\"A\"", "\"C\"")).expect("the temporary folder can be written to");
        let rules = watch.reload().expect("the file is valid");
        assert!(rules.message_type("C").is_some());
        assert_eq!(poll(&mut watch), None);
        assert_eq!(poll(&mut watch), None);
    }
}
