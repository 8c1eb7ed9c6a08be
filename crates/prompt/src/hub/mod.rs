//! Files of the Hugging Face hub: tokenizers of models and rows of data sets.
//!
//! A file is taken from the cache that all clients of the hub share on a machine. A file that is not there is downloaded into that cache, so
//! that the next run, and every other tool, finds it. Downloads can be switched off: by the caller, by the environment (`HF_HUB_OFFLINE`), or by
//! building without the feature `download`.

mod cache;
#[cfg(feature = "download")]
mod download;
mod name;

pub use cache::Miss;
pub(crate) use cache::expand_home;
pub use name::is_hub_name;

use cache::Cache;
use std::fmt;
use std::path::{Path, PathBuf};

/// What a repository of the hub holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    Dataset,
}

/// A repository of the hub at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// What it holds.
    pub kind: Kind,
    /// Its name: `org/name`, or `name` for a few old ones.
    pub name: String,
    /// A branch, a tag or a commit; commonly `main`.
    pub revision: String,
}

/// The hub as this machine sees it.
#[derive(Clone)]
pub struct Hub {
    cache: Option<Cache>,
    access: Access,
}

/// Whether files may be downloaded.
#[derive(Clone)]
#[cfg_attr(not(feature = "download"), expect(dead_code, reason = "only downloads read it"))]
enum Access {
    Allowed { endpoint: String, token: Option<String> },
    Denied(Denial),
}

/// Why nothing may be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The caller has switched downloads off.
    #[error("downloads are switched off")]
    Caller,
    /// The environment has switched them off.
    #[error("downloads are switched off by {0}")]
    Environment(&'static str),
    /// This binary cannot download.
    #[error("this binary was built without downloads")]
    Build,
}

/// Why a file of the hub cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// It is not in the cache, and nothing may be downloaded.
    #[error("{miss}, and {denial}")]
    NotCached {
        /// What the cache lacks.
        miss: Miss,
        /// Why it was not downloaded.
        denial: Denial,
    },
    /// It is not in the cache, and downloading it failed.
    #[error("{miss}, and it could not be downloaded: {reason}")]
    NotDownloaded {
        /// What the cache lacks.
        miss: Miss,
        /// What went wrong, in one clause.
        reason: String,
        /// Whether the hub has answered that there is no such file.
        is_absent: bool,
    },
}

impl Repository {
    /// The model of that name.
    pub fn model(name: &str, revision: &str) -> Repository {
        Repository { kind: Kind::Model, name: name.to_owned(), revision: revision.to_owned() }
    }

    /// The data set of that name.
    pub fn dataset(name: &str, revision: &str) -> Repository {
        Repository { kind: Kind::Dataset, name: name.to_owned(), revision: revision.to_owned() }
    }

    /// The command of the hub's own client that fetches `file` into the cache.
    pub fn command(&self, file: &str) -> String {
        let kind = match self.kind {
            Kind::Model => "",
            Kind::Dataset => " --repo-type dataset",
        };
        let revision = match self.revision.as_str() {
            "main" => String::new(),
            revision => format!(" --revision {revision}"),
        };
        format!("hf download {} {file}{kind}{revision}", self.name)
    }
}

impl Hub {
    /// The hub as the environment describes it, by the variables of the hub's clients: `HF_HUB_CACHE` and `HF_HOME` say where the cache is,
    /// `HF_ENDPOINT` where the hub is, `HF_TOKEN` (or the file `token` in `HF_HOME`) is sent along, and `HF_HUB_OFFLINE` switches downloads
    /// off, as `may_download` does. `env` reads a variable.
    pub fn new(env: &impl Fn(&str) -> Option<String>, may_download: bool) -> Hub {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_true = |name: &&str| {
            set(name).is_some_and(|value| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str()))
        };
        let access = if !may_download {
            Access::Denied(Denial::Caller)
        } else if let Some(name) = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| is_true(name)) {
            Access::Denied(Denial::Environment(name))
        } else if !cfg!(feature = "download") {
            Access::Denied(Denial::Build)
        } else {
            let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
            let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN")).or_else(|| cache::stored_token(env));
            let token = token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty());
            Access::Allowed { endpoint: endpoint.trim_end_matches('/').to_owned(), token }
        };
        Hub { cache: Cache::of(env), access }
    }

    /// A file of a repository: from the cache, else downloaded into it. Before a download, `note` gets a sentence about it.
    ///
    /// # Errors
    /// When the cache lacks the file and it is not downloaded.
    pub fn file(&self, repository: &Repository, file: &str, note: &dyn Fn(&str)) -> Result<PathBuf, HubError> {
        let miss = match self.cached(repository, file) {
            Ok(path) => return Ok(path),
            Err(miss) => miss,
        };
        self.download(repository, file, note, miss)
    }

    /// A file of a repository in the cache.
    ///
    /// # Errors
    /// When the cache lacks it.
    pub fn cached(&self, repository: &Repository, file: &str) -> Result<PathBuf, Miss> {
        self.cache.as_ref().ok_or(Miss::Cache)?.find(repository, file)
    }

    /// The directory of a repository's files in the cache, which may have only some of them.
    ///
    /// # Errors
    /// When the cache has none of them.
    pub fn snapshot(&self, repository: &Repository) -> Result<PathBuf, Miss> {
        self.cache.as_ref().ok_or(Miss::Cache)?.snapshot(repository)
    }

    /// The names of all files of a repository, in alphabetical order: as the hub lists them, or, where nothing can be downloaded, those that
    /// are in the cache.
    ///
    /// # Errors
    /// When the hub cannot be asked and the cache has nothing.
    pub fn list(&self, repository: &Repository) -> Result<Vec<String>, HubError> {
        let miss = match self.snapshot(repository) {
            Ok(snapshot) => match self.list_online(repository) {
                Some(Ok(files)) => return Ok(files),
                _ => return Ok(cache::files(&snapshot)),
            },
            Err(miss) => miss,
        };
        match (self.list_online(repository), &self.access) {
            (Some(Ok(files)), _) => Ok(files),
            (Some(Err(reason)), _) => Err(HubError::NotDownloaded { miss, reason, is_absent: false }),
            (None, Access::Denied(denial)) => Err(HubError::NotCached { miss, denial: *denial }),
            (None, Access::Allowed { .. }) => Err(HubError::NotCached { miss, denial: Denial::Build }),
        }
    }

    #[cfg(feature = "download")]
    fn list_online(&self, repository: &Repository) -> Option<Result<Vec<String>, String>> {
        match &self.access {
            Access::Allowed { endpoint, token } => {
                Some(download::list(endpoint, token.as_deref(), repository).map_err(|error| error.to_string()))
            }
            Access::Denied(_) => None,
        }
    }

    #[cfg(not(feature = "download"))]
    fn list_online(&self, _: &Repository) -> Option<Result<Vec<String>, String>> {
        None
    }

    #[cfg(feature = "download")]
    fn download(
        &self,
        repository: &Repository,
        file: &str,
        note: &dyn Fn(&str),
        miss: Miss,
    ) -> Result<PathBuf, HubError> {
        let (endpoint, token) = match &self.access {
            Access::Allowed { endpoint, token } => (endpoint, token.as_deref()),
            Access::Denied(denial) => return Err(HubError::NotCached { miss, denial: *denial }),
        };
        let Some(cache) = &self.cache else {
            let reason = "there is no directory to store it in".to_owned();
            return Err(HubError::NotDownloaded { miss, reason, is_absent: false });
        };
        note(&format!("downloading {file} of {} from {}", repository.name, endpoint_name(endpoint)));
        download::file(endpoint, token, repository, file, cache).map_err(|error| {
            let is_absent = matches!(error, download::DownloadError::NotFound(_));
            HubError::NotDownloaded { miss, reason: error.to_string(), is_absent }
        })
    }

    #[cfg(not(feature = "download"))]
    fn download(&self, _: &Repository, _: &str, _: &dyn Fn(&str), miss: Miss) -> Result<PathBuf, HubError> {
        let denial = match &self.access {
            Access::Denied(denial) => *denial,
            Access::Allowed { .. } => Denial::Build,
        };
        Err(HubError::NotCached { miss, denial })
    }
}

/// The endpoint as it is shown: without a user and a password.
#[cfg(feature = "download")]
fn endpoint_name(endpoint: &str) -> &str {
    let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

/// The token is a secret and is not shown.
impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let access = match &self.access {
            Access::Allowed { .. } => "allowed".to_owned(),
            Access::Denied(denial) => denial.to_string(),
        };
        f.debug_struct("Hub")
            .field("cache", &self.cache.as_ref().map(Cache::directory))
            .field("downloads", &access)
            .finish()
    }
}

/// Whether a path made of this text stays below the directory that it is joined to.
fn stays_below(text: &str) -> bool {
    use std::path::Component;
    !text.is_empty() && Path::new(text).components().all(|part| matches!(part, Component::Normal(_)))
}
