//! The directory of a run: locked while the run writes its files, so that two runs cannot mix theirs.

use super::ArtifactError;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The number of attempts to make a directory that another process removes at the same moment.
const ATTEMPTS: u32 = 8;

/// A directory in which no other process writes a run's files while this value or a clone of it lives.
///
/// The lock is the operating system's, on the directory itself: it ends with the process, however that ends, and leaves no file behind. On
/// a file system without locks, two runs in one directory are not detected.
#[derive(Clone, Debug)]
pub struct RunDirectory(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    /// Whether the directory was made for this run, and is removed again if nothing was put into it.
    is_new: bool,
    /// Holds the lock until it is closed.
    _lock: File,
}

impl RunDirectory {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// When it cannot be made, or another run has locked it.
    pub fn lock(path: &Path) -> Result<RunDirectory, ArtifactError> {
        let failed = |cause| ArtifactError::Directory { path: path.display().to_string(), cause };
        for _ in 0..ATTEMPTS {
            let is_new = !path.exists();
            fs::create_dir_all(path).map_err(failed)?;
            let lock = match File::open(path) {
                // Another run that wrote nothing has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed)?,
            };
            if let Err(TryLockError::WouldBlock) = lock.try_lock() {
                return Err(ArtifactError::InUse { path: path.display().to_string() });
            }
            if is_at(&lock, path) {
                return Ok(RunDirectory(Arc::new(Held { path: path.to_owned(), is_new, _lock: lock })));
            }
        }
        Err(ArtifactError::InUse { path: path.display().to_string() })
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.is_new {
            // Removes an empty directory and no other.
            let _ = fs::remove_dir(&self.path);
        }
    }
}

/// Whether the locked directory is still the one at `path`. The previous owner may have removed it in between.
#[cfg(unix)]
fn is_at(lock: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (lock.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => identity(held) == identity(there),
        _ => false,
    }
}

/// Whether the locked directory is still the one at `path`.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_until_the_last_clone_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/run");
        let first = RunDirectory::lock(&path).unwrap();
        fs::write(path.join("file"), "").unwrap();
        let refused = RunDirectory::lock(&path).unwrap_err().to_string();
        assert!(refused.contains(&path.display().to_string()) && refused.contains("another run"), "{refused}");
        let clone = first.clone();
        drop(first);
        assert!(RunDirectory::lock(&path).is_err());
        drop(clone);
        assert_eq!(RunDirectory::lock(&path).unwrap().path(), path);
        // One beside it is another directory.
        let (_one, _other) =
            (RunDirectory::lock(&path).unwrap(), RunDirectory::lock(&root.path().join("a/b")).unwrap());
    }

    #[test]
    fn a_directory_that_was_made_for_nothing_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let (made, found) = (root.path().join("made"), root.path().join("found"));
        fs::create_dir(&found).unwrap();
        drop((RunDirectory::lock(&made).unwrap(), RunDirectory::lock(&found).unwrap()));
        assert!(!made.exists() && found.exists());
    }
}
