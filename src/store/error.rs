//! What can go wrong with a store that is open. All of it means: stop. What has
//! not been acknowledged comes again.

use std::io;

use super::codec::Undecodable;

/// The store cannot go on. The process must end, and start again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room left. Nothing acknowledged is lost.
    #[error("no room left on the disk of the store: make room, then start again; nothing acknowledged is lost")]
    Full,
    /// sled failed.
    #[error("the store cannot be read or written")]
    Sled(#[source] sled::Error),
    /// The file of citizen keys failed.
    #[error("the file of citizen keys cannot be read or written")]
    Keys(#[source] io::Error),
    /// The file that says how far the store goes cannot be written.
    #[error("the file that says how far the store goes cannot be written")]
    Witness(#[source] io::Error),
    /// The list of erased slots failed.
    #[error("the list of erased slots cannot be read or written")]
    Erased(#[source] io::Error),
    /// A value cannot be sealed or unsealed.
    #[error(
        "{what} cannot be sealed or unsealed: the row or its citizen's key is damaged; `wsb-broker verify` says what else is, and a backup has it whole"
    )]
    Unsealable {
        /// Which.
        what: String,
    },
    /// A value is not what its row should hold.
    #[error("a row of the store is damaged")]
    Damaged(#[from] Undecodable),
    /// A row refers to another that is not there.
    #[error("the store contradicts itself: {0}")]
    Contradiction(String),
    /// More citizens and messages than there are numbers.
    #[error("the store has given away every citizen number")]
    Exhausted,
}

impl StoreError {
    /// Says what it is and what that came from, without personal data.
    pub(super) fn in_words(&self) -> String {
        let mut words = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            words = format!("{words}: {error}");
            source = error.source();
        }
        words
    }
}

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => Self::Full,
            error => Self::Sled(error),
        }
    }
}
