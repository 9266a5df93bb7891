//! A small file replaced as a whole: after a crash it holds what it held, or what it is
//! to hold. Written under another name first, which goes again where that fails: on a
//! full disk it would take room, and say to nobody what it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::hand_over;

/// Replaces the file `name` of a directory, for its owner's eyes only, and returns when
/// that is on disk.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!("{name}.new"));
    let replaced = write(&beside, dir, bytes).and_then(|()| fs::rename(&beside, dir.join(name)));
    if replaced.is_err() {
        // It may not be there; one that cannot be removed is overwritten next time.
        let _ = fs::remove_file(&beside);
    }
    replaced?;
    File::open(dir)?.sync_all()
}

fn write(beside: &Path, dir: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    hand_over::give(&file, dir)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_replaced_stays_and_nothing_lies_beside_it() {
        let dir = tempfile::tempdir().expect("a directory");
        replace(dir.path(), "file", b"one").expect("made");
        replace(dir.path(), "file", b"other").expect("replaced");
        assert_eq!(fs::read(dir.path().join("file")).expect("the file"), b"other");
        // A directory stands in the way of the name.
        fs::create_dir(dir.path().join("taken")).expect("a directory");
        replace(dir.path(), "taken", b"one").expect_err("a directory is not replaced");
        assert!(!dir.path().join("taken.new").exists(), "nothing is left behind");
    }
}
