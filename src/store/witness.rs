//! A line beside sled that says how far the store goes. sled opens a file that
//! has lost its end without a word; with the line that is noticed.
//!
//! Written after each flush and never synced: it may be behind, never ahead.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How far a store goes: the newest event, and the newest packed finishes.
pub(super) type Extent = (u64, (u64, u32));

/// What may stand in the file: the line, or what a crash of the machine leaves of it,
/// zeros where nothing had been written yet.
const LETTERS: &[u8] = b"0123456789 \n\0";

/// More than the line has.
const LONGEST: u64 = 256;

/// Keeps the line.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    said: Option<Extent>,
}

impl Witness {
    /// Opens the file and returns what it says; nothing when it is new. Fails with
    /// [`io::ErrorKind::InvalidData`] where something else stands in it.
    pub fn open(path: &Path) -> io::Result<(Self, Option<Extent>)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&file).take(LONGEST).read_to_end(&mut bytes)?;
        if !bytes.iter().all(|byte| LETTERS.contains(byte)) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let said = std::str::from_utf8(&bytes).ok().and_then(parse);
        Ok((Self { file, said }, said))
    }

    /// Writes how far the store goes on disk.
    pub fn testify(&mut self, last_seq: u64, last_finishes: (u64, u32)) -> io::Result<()> {
        let extent = (last_seq, last_finishes);
        if self.said != Some(extent) {
            let line = format!("{last_seq:020} {:020} {:010}\n", last_finishes.0, last_finishes.1);
            self.file.write_all_at(line.as_bytes(), 0)?;
            self.said = Some(extent);
        }
        Ok(())
    }
}

/// Returns nothing for a line that was cut short by a crash of the machine: it
/// testifies to nothing then.
fn parse(line: &str) -> Option<Extent> {
    let mut numbers = line.strip_suffix('\n')?.split(' ');
    let extent = (numbers.next()?.parse().ok()?, (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?));
    numbers.next().is_none().then_some(extent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_it_was_told_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("extent");
        let (mut witness, said) = Witness::open(&path).expect("a file");
        assert_eq!(said, None);
        witness.testify(17, (18, 3)).expect("written");
        witness.testify(19, (18, 3)).expect("written");
        assert_eq!(Witness::open(&path).expect("the file").1, Some((19, (18, 3))));
        for torn in ["000", "", "\0\0\0\0"] {
            std::fs::write(&path, torn).expect("written");
            assert_eq!(Witness::open(&path).expect("the file").1, None);
        }
    }
}
