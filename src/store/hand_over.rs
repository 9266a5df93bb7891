//! Whose the files of a store are. Root may work on the store of a broker that
//! runs as somebody else: whatever root writes there goes to whom the data
//! directory belongs to, or that broker could not read it. So does a key, a file of
//! tokens or a backup that root makes in a directory of somebody else.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown, lchown};
use std::path::{Path, PathBuf};

/// Returns whether this process is root's; where that cannot be told, it is.
pub(super) fn is_root() -> bool {
    fs::metadata("/proc/self").map_or(true, |own| own.uid() == 0)
}

/// Returns what a directory says of its owner, if root is to hand over to that one.
fn other_owner(dir: &Path) -> io::Result<Option<Metadata>> {
    let metadata = fs::metadata(dir)?;
    Ok((metadata.uid() != 0 && is_root()).then_some(metadata))
}

/// Gives a file to the owner of a directory, before it has its place there.
pub(super) fn give(file: &File, dir: &Path) -> io::Result<()> {
    match other_owner(dir)? {
        Some(owner) => fchown(file, Some(owner.uid()), Some(owner.gid())),
        None => Ok(()),
    }
}

/// Gives a new file to the owner of the directory that it lies in, so that the one
/// whose directory it is can read it.
///
/// # Errors
/// When the directory cannot be looked at, or the file not be given away.
pub fn give_in_place(file: &File, path: &Path) -> io::Result<()> {
    give(file, directory_of(path))
}

/// Returns the directory that a file lies in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory where there is none, for whom `mode` says; it belongs to whom the
/// one above it does.
pub(super) fn make(dir: &Path, mode: u32) -> io::Result<()> {
    let is_new = !dir.exists();
    DirBuilder::new().recursive(true).mode(mode).create(dir)?;
    match dir.parent().filter(|above| is_new && !above.as_os_str().is_empty()) {
        Some(above) => give(&File::open(dir)?, above),
        None => Ok(()),
    }
}

/// Hands a data directory's files, and one beside it, over to its owner when it
/// is dropped: after the store is closed.
#[derive(Debug)]
pub(super) struct HandOver {
    pub dir: PathBuf,
    pub beside: PathBuf,
}

impl Drop for HandOver {
    fn drop(&mut self) {
        let hand_over = || match other_owner(&self.dir)? {
            None => Ok(()),
            Some(owner) => {
                if self.beside.exists() {
                    lchown(&self.beside, Some(owner.uid()), Some(owner.gid()))?;
                }
                all_in(&self.dir, &|path| lchown(path, Some(owner.uid()), Some(owner.gid())))
            }
        };
        if let Err(error) = hand_over() {
            tracing::warn!(dir = %self.dir.display(), %error, "files that root has written cannot be given to the owner of the data directory: chown them before its broker starts");
        }
    }
}

fn all_in(dir: &Path, give: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        // Links are given, not followed.
        if entry.file_type()?.is_dir() {
            all_in(&entry.path(), give)?;
        }
        give(&entry.path())?;
    }
    Ok(())
}
