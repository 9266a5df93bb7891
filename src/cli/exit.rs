//! How a command ends.

use std::fmt;
use std::process::ExitCode;

/// The exit codes; documented, and stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Ok,
    /// 1: the answer is no; `check` found mistakes.
    No,
    /// 2: the command was not used as it must be.
    Usage,
    /// 3: the broker or RabbitMQ cannot be reached.
    Unreachable,
    /// 4: refused.
    Refused,
}

impl Exit {
    /// Returns the number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that could not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// Makes a failure that ends with `exit`.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Makes a failure of words alone.
    pub fn words(exit: Exit, words: impl fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{words}") }
    }

    /// Says which file it is about.
    #[must_use]
    pub fn in_file(self, file: &std::path::Path) -> Self {
        Self { exit: self.exit, error: self.error.context(file.display().to_string()) }
    }

    /// Returns the exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = format!("{:#}", self.error);
        // The mistakes of a file stand there as they are shown by `check`.
        write!(f, "{}{words}", if words.starts_with("error: ") { "" } else { "error: " })
    }
}
