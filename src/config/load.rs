//! `routing.toml` from its file.

use std::io;
use std::path::{Path, PathBuf};

use super::mistake::{Mistake, Places, render};
use super::routing::parse_routing;
use crate::core::policy::Rules;

/// Why a `routing.toml` gives no rules. None of these passes by itself: somebody
/// must mend the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("there is no file {}; give the path with --routing or WSB_ROUTING, or start from the routing.toml that came with the broker", .path.display())]
    Missing {
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

/// Reads rules from a file.
///
/// # Errors
/// When the file is missing, unreadable or has mistakes.
pub fn load_routing(path: &Path) -> Result<Rules, LoadError> {
    parse_read(path, std::fs::read(path))
}

/// Makes rules of what reading the file gave.
pub(super) fn parse_read(path: &Path, read: io::Result<Vec<u8>>) -> Result<Rules, LoadError> {
    let path = path.to_owned();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(LoadError::Missing { path }),
        Err(source) => return Err(LoadError::Unreadable { path, source }),
    };
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(not_utf8(path, &error)),
    };
    parse_routing(&text).map_err(|mistakes| LoadError::Invalid { path, text, mistakes })
}

fn not_utf8(path: PathBuf, error: &std::string::FromUtf8Error) -> LoadError {
    let valid = error.utf8_error().valid_up_to();
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    // What comes before the first bad byte is the same in both.
    let place = Places::new(&text).place(valid);
    let mistake = Mistake {
        file: "routing.toml",
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
