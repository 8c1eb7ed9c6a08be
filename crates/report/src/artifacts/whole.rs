//! Single files that are not part of a run's artifacts: each replaces an earlier one whole, or not at all.

use super::create_temporary;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Checks, ahead of a long measurement, that [`replace`] will be able to write `path`: it makes the directory, and a temporary file
/// that it removes again.
///
/// # Errors
/// When the file or its directory cannot be made, or the path is a directory's.
pub fn try_out(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; give the name of a file"));
    }
    make_directory(path)?;
    let (temporary, _) = create_temporary(path)?;
    fs::remove_file(&temporary)
}

/// Writes `text` to `path`, as [`replace`] does.
///
/// # Errors
/// When the file or its directory cannot be made.
pub fn write_text(text: &str, path: &Path) -> io::Result<()> {
    replace(path, |out| out.write_all(text.as_bytes()))
}

/// Writes a file under a temporary name and renames it once its content is on the disk, so that an earlier file is replaced by a whole
/// one or not at all. The directory is made where it is missing.
///
/// # Errors
/// When the file or its directory cannot be made.
pub fn replace(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    make_directory(path)?;
    let (temporary, file) = create_temporary(path)?;
    let mut out = BufWriter::new(file);
    let written = fill(&mut out)
        .and_then(|()| out.into_inner().map_err(io::IntoInnerError::into_error))
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn make_directory(path: &Path) -> io::Result<()> {
    match path.parent().filter(|dir| *dir != Path::new("")) {
        Some(dir) => fs::create_dir_all(dir),
        None => Ok(()),
    }
}
