//! The directory in which the hub's clients keep what they downloaded, in the layout that all of them share: `models--ORG--NAME/refs/REVISION`
//! holds a commit, and `models--ORG--NAME/snapshots/COMMIT/` its files, which are links to `models--ORG--NAME/blobs/`. Directories of data sets
//! begin with `datasets--`.

use super::{Kind, Repository, stays_below};
use std::fs;
use std::path::{Path, PathBuf};

/// What a cache lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// No cache directory is known.
    #[error("the hub's cache is nowhere (HF_HUB_CACHE, HF_HOME and HOME are unset)")]
    Cache,
    /// The repository is there without this file.
    #[error("there is no {file} in {}", directory.display())]
    File {
        /// The file.
        file: String,
        /// The repository's directory of files.
        directory: PathBuf,
    },
    /// The cache has nothing of the repository.
    #[error("the hub's cache has no {}", .0.display())]
    Repository(PathBuf),
    /// The cache has the repository, but not at this revision.
    #[error("the hub's cache has no revision `{revision}` in {}", path.display())]
    Revision {
        /// The revision.
        revision: String,
        /// The repository's directory.
        path: PathBuf,
    },
}

/// The cache of the hub's clients.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache, by the same variables in the same order as the hub's clients read them.
    pub fn of(env: &impl Fn(&str) -> Option<String>) -> Option<Cache> {
        let set = |name| env(name).filter(|value| !value.is_empty()).map(|value| expand_home(&value, env));
        let directory = set("HF_HUB_CACHE")
            .or_else(|| set("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| hub_home(env).map(|home| home.join("hub")))?;
        Some(Cache { directory })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of a repository, whether or not it exists.
    pub fn repository(&self, repository: &Repository) -> PathBuf {
        let kind = match repository.kind {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        self.directory.join(format!("{kind}--{}", repository.name.replace('/', "--")))
    }

    /// The directory of the repository's files at its revision. The revision may also be a commit itself.
    pub fn snapshot(&self, repository: &Repository) -> Result<PathBuf, Miss> {
        let path = self.repository(repository);
        if !path.is_dir() {
            return Err(Miss::Repository(path));
        }
        let revision = repository.revision.as_str();
        let missing = || Miss::Revision { revision: revision.to_owned(), path: path.clone() };
        if !stays_below(revision) {
            return Err(missing());
        }
        let referred = fs::read_to_string(path.join("refs").join(revision));
        let commit = referred.as_deref().map_or(revision, str::trim);
        let snapshot = path.join("snapshots").join(commit);
        if !stays_below(commit) || !snapshot.is_dir() {
            return Err(missing());
        }
        Ok(snapshot)
    }

    pub fn find(&self, repository: &Repository, file: &str) -> Result<PathBuf, Miss> {
        let directory = self.snapshot(repository)?;
        let path = directory.join(file);
        match stays_below(file) && path.is_file() {
            true => Ok(path),
            false => Err(Miss::File { file: file.to_owned(), directory }),
        }
    }
}

/// The token that the hub's own client has stored when its user logged in.
pub(super) fn stored_token(env: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let path = match env("HF_TOKEN_PATH").filter(|path| !path.is_empty()) {
        Some(path) => expand_home(&path, env),
        None => hub_home(env)?.join("token"),
    };
    fs::read_to_string(path).ok()
}

/// The files of a snapshot by their paths below it, in alphabetical order.
pub(super) fn files(snapshot: &Path) -> Vec<String> {
    /// Deeper than any repository of the hub.
    const DEEPEST: usize = 16;
    let mut found = Vec::new();
    let mut open = vec![(snapshot.to_path_buf(), 0)];
    while let Some((directory, depth)) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && depth < DEEPEST {
                open.push((path, depth + 1));
            } else if let Ok(below) = path.strip_prefix(snapshot)
                && path.is_file()
            {
                found.push(below.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn hub_home(env: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty()).map(|value| expand_home(&value, env));
    set("HF_HOME")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("huggingface")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/huggingface")))
}

/// `~/x` below the home directory, and anything else as it is.
pub(crate) fn expand_home(path: &str, env: &impl Fn(&str) -> Option<String>) -> PathBuf {
    match (path.strip_prefix("~/"), env("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(path),
    }
}
