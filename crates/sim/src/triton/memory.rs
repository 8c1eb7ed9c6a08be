//! System shared memory: regions that clients register, which are files in the system's shared memory directory. They are read and written
//! as files; a process that has one mapped sees the same bytes.

use super::problem::Problem;
use super::repository::MemoryPlace;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// The directory in which the system keeps shared memory.
const DIRECTORY: &str = "/dev/shm";

/// The regions registered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    regions: BTreeMap<String, Region>,
}

/// One region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) key: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Memory {
    pub(crate) fn register(&mut self, name: &str, region: Region) -> Result<(), Problem> {
        if self.regions.contains_key(name) {
            return Err(Problem::invalid(format!("shared memory region '{name}' already in manager")));
        }
        let key = &region.key;
        let length = open(key, false).and_then(|file| file.metadata()).map(|file| file.len());
        let length = length.map_err(|_| Problem::internal(format!("Unable to open shared memory region: '{key}'")))?;
        if region.offset.checked_add(region.bytes).is_none_or(|end| end > length) {
            return Err(Problem::internal(format!("Invalid shared memory region: '{key}'")));
        }
        self.regions.insert(name.to_owned(), region);
        Ok(())
    }

    /// Forgets a region, or all of them; one that is not there is no error.
    pub(crate) fn unregister(&mut self, name: Option<&str>) {
        match name {
            Some(name) => drop(self.regions.remove(name)),
            None => self.regions.clear(),
        }
    }

    /// The regions, or the one of that name.
    pub(crate) fn status(&self, name: Option<&str>) -> Result<Vec<(&str, &Region)>, Problem> {
        match name {
            None => Ok(self.regions.iter().map(|(name, region)| (name.as_str(), region)).collect()),
            Some(name) => {
                let found = self.regions.get_key_value(name).ok_or_else(|| unknown(name))?;
                Ok(vec![(found.0, found.1)])
            }
        }
    }

    pub(crate) fn read(&self, place: &MemoryPlace) -> Result<Vec<u8>, Problem> {
        let (key, at) = self.locate(place)?;
        let read = || {
            let mut file = open(key, false)?;
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            file.take(place.bytes).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error: io::Error| {
            Problem::internal(format!("Unable to read shared memory region '{key}': {error}"))
        })
    }

    /// Writes an output; its place has to have the room.
    pub(crate) fn write(&self, output: &str, place: &MemoryPlace, bytes: &[u8]) -> Result<(), Problem> {
        let (key, at) = self.locate(place)?;
        if place.bytes < bytes.len() as u64 {
            return Err(Problem::of_model(
                500,
                format!(
                    "shared memory size specified with the request for output '{output}' ({} bytes) should be at least {} bytes to \
                     hold the results",
                    place.bytes,
                    bytes.len()
                ),
            ));
        }
        let write = || {
            let mut file = open(key, true)?;
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)
        };
        write().map_err(|error| Problem::internal(format!("Unable to write shared memory region '{key}': {error}")))
    }

    /// The file that a place is in, and where in it.
    fn locate(&self, place: &MemoryPlace) -> Result<(&str, u64), Problem> {
        let MemoryPlace { region: name, offset, bytes } = place;
        let region = self.regions.get(name).ok_or_else(|| unknown(name))?;
        if offset.checked_add(*bytes).is_none_or(|end| end > region.bytes) {
            return Err(Problem::invalid(format!("Invalid offset + byte size for shared memory region: '{name}'")));
        }
        Ok((&region.key, region.offset + offset))
    }
}

fn unknown(name: &str) -> Problem {
    Problem::missing(format!("Unable to find shared memory region: '{name}'"))
}

/// Opens the file of a key, which is a name with a slash before it and none in it.
fn open(key: &str, write: bool) -> io::Result<File> {
    let name = key.strip_prefix('/').unwrap_or(key);
    if name.is_empty() || name == ".." || name.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    OpenOptions::new().read(true).write(write).open(PathBuf::from(DIRECTORY).join(name))
}
