//! `routing.toml` and `retention.toml` from their files.

use std::io;
use std::path::{Path, PathBuf};

use super::mistake::{Mistake, Places, render};
use super::retention::{self, parse_retention};
use super::routing::parse_routing;
use crate::core::policy::Rules;
use crate::core::schedule::Schedule;

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sources {
    /// `routing.toml`
    pub routing: PathBuf,
    /// `retention.toml`; by default the one beside `routing.toml`, and without
    /// one the rules that are built in.
    pub retention: Option<PathBuf>,
}

impl Sources {
    /// Returns where `retention.toml` is looked for.
    #[must_use]
    pub fn retention_path(&self) -> PathBuf {
        self.retention.clone().unwrap_or_else(|| self.routing.with_file_name(retention::FILE))
    }

    /// Returns whether it must be there.
    fn needs_retention(&self) -> bool {
        self.retention.is_some()
    }
}

/// One of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `routing.toml`
    Routing,
    /// `retention.toml`
    Retention,
}

impl File {
    /// Returns what the file is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing.toml",
            Self::Retention => retention::FILE,
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::Routing => "--routing or WSB_ROUTING",
            Self::Retention => "--retention or WSB_RETENTION",
        }
    }
}

/// Why a file gives no rules. None of these passes by itself: somebody
/// must mend the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no file {}; give the path with {}, or start from the {} that came with the broker", .path.display(), .file.option(), .file.name())]
    Missing {
        /// Which of the two it was to be.
        file: File,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}; check that it is a file and that the broker's user may read it", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file was read and has mistakes.
    #[error("{} has {} mistake(s); the first: {}", .path.display(), .mistakes.len(), .mistakes.first().map(ToString::to_string).unwrap_or_default())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What stands in it.
        text: String,
        /// Every mistake, in the order of the file.
        mistakes: Vec<Mistake>,
    },
}

impl LoadError {
    /// Returns the name of the file, without its folder.
    #[must_use]
    pub fn file_name(&self) -> String {
        let (Self::Missing { path, .. } | Self::Unreadable { path, .. } | Self::Invalid { path, .. }) = self;
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Returns the mistakes; none unless the file could be read.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Missing { .. } | Self::Unreadable { .. } => &[],
            Self::Invalid { mistakes, .. } => mistakes,
        }
    }

    /// Returns everything that an operator needs to mend it, over several lines:
    /// each mistake with its line of the file.
    #[must_use]
    pub fn rendered(&self) -> String {
        match self {
            Self::Missing { .. } => format!("error: {self}\n"),
            Self::Unreadable { source, .. } => format!("error: {self}: {source}\n"),
            Self::Invalid { path, text, mistakes } => render(&path.display().to_string(), text, mistakes),
        }
    }
}

/// Reads the routing rules from their file, without deletion rules.
///
/// # Errors
/// When the file is missing, unreadable or has mistakes.
pub fn load_routing(path: &Path) -> Result<Rules, LoadError> {
    parse_read(path, std::fs::read(path))
}

/// Reads the deletion rules from their file; those that are built in where
/// there is none and none was asked for.
///
/// # Errors
/// When the file is unreadable or has mistakes, or is missing though asked for.
pub fn load_retention(sources: &Sources) -> Result<Schedule, LoadError> {
    let path = sources.retention_path();
    parse_read_retention(&path, read_retention(&path, sources.needs_retention()))
}

fn read_retention(path: &Path, is_needed: bool) -> io::Result<Vec<u8>> {
    let read = std::fs::read(path);
    if is_needed { read } else { or_built_in(read) }
}

/// Returns where the deletion rules do not fit the routing rules, each with its
/// place; nothing of a file that has mistakes.
///
/// # Errors
/// When the file is unreadable, is missing though asked for, or names a type that
/// `routing.toml` does not declare; the built-in one may, beside a shorter `routing.toml`.
pub fn retention_notes(sources: &Sources, rules: &Rules) -> Result<Vec<Mistake>, LoadError> {
    let path = sources.retention_path();
    let (path, text) = text_of(File::Retention, &path, read_retention(&path, sources.needs_retention()))?;
    let retention::Misfits { mut undeclared, notes } = retention::misfits(&text, rules);
    if !undeclared.is_empty() && path.exists() {
        return Err(LoadError::Invalid { path, text, mistakes: undeclared });
    }
    undeclared.extend(notes);
    Ok(undeclared)
}

/// Reads both files.
///
/// # Errors
/// When either is missing, unreadable or has mistakes; those of `routing.toml` first.
pub fn load_rules(sources: &Sources) -> Result<Rules, LoadError> {
    Ok(load_routing(&sources.routing)?.with_schedule(load_retention(sources)?.into()))
}

/// Makes rules of what reading the file gave.
pub(super) fn parse_read(path: &Path, read: io::Result<Vec<u8>>) -> Result<Rules, LoadError> {
    let (path, text) = text_of(File::Routing, path, read)?;
    parse_routing(&text).map_err(|mistakes| LoadError::Invalid { path, text, mistakes })
}

/// Makes a schedule of what reading the file gave.
pub(super) fn parse_read_retention(path: &Path, read: io::Result<Vec<u8>>) -> Result<Schedule, LoadError> {
    let (path, text) = text_of(File::Retention, path, read)?;
    parse_retention(&text).map_err(|mistakes| LoadError::Invalid { path, text, mistakes })
}

/// As [`parse_read_retention`], for a file that need not be there.
pub(super) fn parse_read_retention_or_built_in(path: &Path, read: io::Result<Vec<u8>>) -> Result<Schedule, LoadError> {
    parse_read_retention(path, or_built_in(read))
}

fn or_built_in(read: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(retention::BUILT_IN.as_bytes().to_vec()),
        read => read,
    }
}

fn text_of(file: File, path: &Path, read: io::Result<Vec<u8>>) -> Result<(PathBuf, String), LoadError> {
    let path = path.to_owned();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LoadError::Missing { file, path }),
        Err(source) => return Err(LoadError::Unreadable { path, source }),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path, text)),
        Err(error) => Err(not_utf8(file, path, &error)),
    }
}

fn not_utf8(file: File, path: PathBuf, error: &std::string::FromUtf8Error) -> LoadError {
    let valid = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    // What comes before the first bad byte is the same in both.
    let place = Places::new(&text).place(valid);
    let mistake = Mistake {
        file: file.name(),
        line: place.line,
        column: place.column,
        width: 1,
        message: "the file is not UTF-8".to_owned(),
        hint: Some("save it as UTF-8; letters such as æ, ø and å are often the ones that were saved otherwise".to_owned()),
    };
    LoadError::Invalid { path, text, mistakes: vec![mistake] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_says_how_to_mend_it() {
        let error = load_routing(Path::new("/nowhere/routing.toml")).map(drop).expect_err("there is no such file");
        assert!(matches!(error, LoadError::Missing { .. }));
        assert!(error.rendered().contains("--routing"), "{}", error.rendered());
        assert_eq!(error.mistakes(), []);
    }

    #[test]
    fn a_folder_is_unreadable_and_not_missing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = load_routing(folder.path()).map(drop).expect_err("a folder is no file");
        assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_file_in_latin_1_is_pointed_at() {
        let error =
            parse_read(Path::new("routing.toml"), Ok(b"# ok\nname = \"K\xf8benhavn\"\n".to_vec())).map(drop).expect_err("not UTF-8");
        assert_eq!(error.mistakes().iter().map(|m| (m.line, m.column)).collect::<Vec<_>>(), [(2, 10)]);
        assert!(error.rendered().contains("save it as UTF-8"));
    }
}
