//! A file under a temporary name until it is whole.

use super::{ArtifactError, failure};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The buffer of each file. It is large enough for a write a few times per second at full load.
const BUFFER: usize = 256 * 1024;

/// How temporary names end.
const PARTIAL: &str = ".partial";

/// How many temporary names are tried. They are taken by files that killed processes with the same number left behind.
const NAMES: u32 = 1_000;

/// The name of `path`'s file until it is complete, in a directory that the run has locked.
pub fn partial(path: &Path) -> PathBuf {
    hidden(path, PARTIAL)
}

fn hidden(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    path.with_file_name(name)
}

/// Creates a file next to `path` under a name that no other process has, and returns the name with it. The file is always new: a link in
/// its place is never followed.
///
/// # Errors
/// When no file can be created there.
pub fn create_temporary(path: &Path) -> io::Result<(PathBuf, File)> {
    let process = std::process::id();
    for attempt in 0..NAMES {
        let number = if attempt == 0 { String::new() } else { format!("-{attempt}") };
        let temporary = hidden(path, &format!(".{process}{number}{PARTIAL}"));
        match File::create_new(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|file| (temporary, file)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Writes a whole file under a temporary name and renames it, so that readers find either the old or the new file.
///
/// # Errors
/// When it cannot be created, written or renamed.
pub fn write_whole(path: PathBuf, write: impl FnOnce(&mut Spool) -> io::Result<()>) -> Result<(), ArtifactError> {
    let mut spool = Spool::of_this_process(path)?;
    let written = write(&mut spool).map_err(|cause| failure(&spool.temporary, cause)).and_then(|()| spool.hand_over());
    match written {
        Ok(()) => spool.settle(),
        Err(error) => {
            // The content exists nowhere else, and half of it is useless.
            let _ = spool.discard();
            Err(error)
        }
    }
}

/// A file being written under a temporary name.
pub struct Spool {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
}

impl Spool {
    /// In a directory that the run has locked: what a killed run left under the temporary name is replaced, and a link in its
    /// place is removed and not followed.
    pub(super) fn of_run(path: PathBuf) -> Result<Spool, ArtifactError> {
        refuse_directory(&path)?;
        let temporary = partial(&path);
        remove(&temporary)?;
        let file = File::create_new(&temporary).map_err(|cause| failure(&temporary, cause))?;
        Ok(Spool::new(path, temporary, file))
    }

    /// Anywhere: the temporary name is this process's alone.
    pub(super) fn of_this_process(path: PathBuf) -> Result<Spool, ArtifactError> {
        refuse_directory(&path)?;
        let (temporary, file) = create_temporary(&path).map_err(|cause| failure(&path, cause))?;
        Ok(Spool::new(path, temporary, file))
    }

    fn new(path: PathBuf, temporary: PathBuf, file: File) -> Spool {
        Spool { path, temporary, file: BufWriter::with_capacity(BUFFER, file) }
    }

    /// The name it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path until the file is renamed.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    pub(super) fn hand_over(&mut self) -> Result<(), ArtifactError> {
        self.file.flush().map_err(|cause| failure(&self.temporary, cause))
    }

    pub(super) fn settle(self) -> Result<(), ArtifactError> {
        fs::rename(&self.temporary, &self.path).map_err(|cause| failure(&self.path, cause))
    }

    pub(super) fn discard(self) -> Result<(), ArtifactError> {
        remove(&self.temporary)
    }
}

/// A directory in the final place would fail the rename at the very end.
fn refuse_directory(path: &Path) -> Result<(), ArtifactError> {
    if path.is_dir() {
        return Err(failure(path, io::Error::from(io::ErrorKind::IsADirectory)));
    }
    Ok(())
}

pub(super) fn remove(path: &Path) -> Result<(), ArtifactError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failure(path, cause)),
        _ => Ok(()),
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_names_are_never_shared_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("levels.csv");
        let (first, _) = create_temporary(&path).unwrap();
        let (second, _) = create_temporary(&path).unwrap();
        assert_ne!(first, second);
        fs::remove_file(&first).unwrap();
        #[cfg(unix)]
        {
            let victim = root.path().join("victim");
            fs::write(&victim, "mine").unwrap();
            std::os::unix::fs::symlink(&victim, &first).unwrap();
            std::os::unix::fs::symlink(&victim, partial(&path)).unwrap();
            let (third, _) = create_temporary(&path).unwrap();
            assert!(third != first && third != second);
            let mut spool = Spool::of_run(path.clone()).unwrap();
            spool.write_all(b"new").unwrap();
            spool.hand_over().unwrap();
            spool.settle().unwrap();
            assert_eq!(fs::read(&victim).unwrap(), b"mine");
            assert!(!path.is_symlink());
            assert_eq!(fs::read(&path).unwrap(), b"new");
        }
    }

    #[test]
    fn a_file_that_could_not_be_written_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("levels.csv");
        fs::write(&path, "old").unwrap();
        assert!(write_whole(path.clone(), |_| Err(io::ErrorKind::StorageFull.into())).is_err());
        assert_eq!((fs::read_dir(root.path()).unwrap().count(), fs::read(&path).unwrap()), (1, b"old".to_vec()));
        write_whole(path.clone(), |out| out.write_all(b"new")).unwrap();
        assert_eq!((fs::read_dir(root.path()).unwrap().count(), fs::read(&path).unwrap()), (1, b"new".to_vec()));
    }
}
