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

/// As [`load_retention`], with more that is to be mended although a broker runs with it: a rule
/// that cites no source, and a type that `routing.toml` does not declare (the built-in file may
/// name one, beside a shorter `routing.toml`). Without `rules` nothing is said of that. Returns
/// besides where the two say something else, each with its place.
///
/// # Errors
/// As [`load_retention`]; every mistake, in the order of the file.
pub fn check_retention(sources: &Sources, rules: Option<&Rules>) -> Result<(Schedule, Vec<Mistake>), LoadError> {
    let path = sources.retention_path();
    let (path, text) = text_of(File::Retention, &path, read_retention(&path, sources.needs_retention()))?;
    let retention::Misfits { undeclared, notes } = rules.map(|rules| retention::misfits(&text, rules)).unwrap_or_default();
    let (mut mistakes, mut all_notes) = (retention::uncited(&text), Vec::new());
    if path.exists() { &mut mistakes } else { &mut all_notes }.extend(undeclared);
    all_notes.extend(notes);
    match parse_retention(&text) {
        Ok(schedule) if mistakes.is_empty() => return Ok((schedule, all_notes)),
        Ok(_) => {}
        Err(more) => mistakes.extend(more),
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    Err(LoadError::Invalid { path, text, mistakes })
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
    fn everything_that_is_to_be_mended_is_told_at_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("retention.toml");
        let sources = Sources { routing: "routing.toml".into(), retention: Some(path.clone()) };
        let rules = parse_routing(include_str!("../../routing.toml")).expect("the shipped routing.toml is valid");
        let check = |rest: &str, rules: Option<&Rules>, expected: &[(usize, &str)]| {
            let text = format!("[[rule]]\narea = \"A\"\nfrom = \"end\"\nid = \"a\"\n{rest}");
            std::fs::write(&path, &text).expect("written");
            let error = check_retention(&sources, rules).err();
            let mistakes = error.as_ref().map(LoadError::mistakes).unwrap_or_default();
            assert_eq!(mistakes.len(), expected.len(), "{mistakes:?} of\n{text}");
            for (mistake, (line, words)) in mistakes.iter().zip(expected) {
                assert!(mistake.line == *line && mistake.message.contains(words), "{mistake:?}, not {words:?}");
            }
        };
        let wrong = "entities = [\"X\", \"Joblog\"]\nperiod = \"6\"\nnotice = \"Y\"\nsource = \"Z\"\n";
        check(wrong, Some(&rules), &[(5, "covers X"), (6, "`period`"), (7, "Y follows"), (8, "cites neither N nor R")]);
        check(wrong, None, &[(6, "`period`"), (8, "cites neither N nor R")]);
        for (source, is_fine) in
            [("N", true), ("R", true), ("N:Joblog", true), ("N:", false), ("R 8.1", true), ("Nyhedsbrev", false), ("8.1 R", false)]
        {
            let expected: &[(usize, &str)] = if is_fine { &[] } else { &[(7, "cites neither")] };
            check(&format!("entities = [\"Joblog\"]\nperiod = \"P6Y\"\nsource = \"{source}\"\n"), Some(&rules), expected);
        }
        check("entities = [\"Joblog\"]\nperiod = \"P6Y\"\nsource = \" \"\n", Some(&rules), &[(7, "is empty")]);
        let built_in = Sources { routing: folder.path().join("routing.toml"), retention: None };
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(check_retention(&built_in, Some(&rules)).expect("the shipped file").1, []);
    }

    #[test]
    fn a_file_in_latin_1_is_pointed_at() {
        let error =
            parse_read(Path::new("routing.toml"), Ok(b"# ok\nname = \"K\xf8benhavn\"\n".to_vec())).map(drop).expect_err("not UTF-8");
        assert_eq!(error.mistakes().iter().map(|m| (m.line, m.column)).collect::<Vec<_>>(), [(2, 10)]);
        assert!(error.rendered().contains("save it as UTF-8"));
    }
}
