//! Whether erasing a citizen takes two persons, as the broker that ran last was
//! told: a file beside the store, so that a command that opens the store by itself
//! knows it too.

use std::fs;
use std::io;
use std::path::Path;

const NAME: &str = "two-persons";

/// Notes it in a data directory.
///
/// # Errors
/// When the file cannot be written or removed.
pub fn note(data_dir: &Path, takes_two: bool) -> io::Result<()> {
    let file = data_dir.join(NAME);
    match takes_two {
        true => fs::write(file, "erasing a citizen takes two persons (--erase-two-persons)\n"),
        false => match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// Returns whether it is noted in a data directory.
#[must_use]
pub fn is_noted(data_dir: &Path) -> bool {
    data_dir.join(NAME).exists()
}
