//! When the latest backup of a store was completed: a file beside it, so that a
//! broker that starts anew knows it too. No part of a backup: a restored store
//! takes over the moment of the backup that it was made of.

use std::fs;
use std::path::Path;

use crate::core::time::Moment;

use super::replace::replace;

const NAME: &str = "latest-backup";

/// Notes it in a data directory. A backup is complete without: what goes wrong is
/// told, and no more.
pub(super) fn note(data_dir: &Path, at: Moment) {
    if let Err(error) = replace(data_dir, NAME, format!("{at}\n").as_bytes()) {
        tracing::warn!(dir = %data_dir.display(), %error, "it could not be noted beside the store when its latest backup was taken");
    }
}

/// Returns what is noted in a data directory, if anything is.
#[must_use]
pub fn noted(data_dir: &Path) -> Option<Moment> {
    Moment::parse(fs::read_to_string(data_dir.join(NAME)).ok()?.trim_end()).ok()
}
