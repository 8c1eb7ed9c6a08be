//! Which tokenizer a run counts with: the one that the user names, else the model's own from the hub, else the embedded one.

use crate::hub::{self, Hub, HubError, Repository, is_hub_name};
use crate::tokenizer::{EMBEDDED, LoadError, Tokenizer};
use std::fmt;
use std::path::{Path, PathBuf};
use streamgauge_core::message;
use streamgauge_core::setting::{Explain, Message, Setting};

/// Names of the embedded vocabulary on the command line.
const EMBEDDED_NAMES: [&str; 3] = [EMBEDDED, "builtin", "embedded"];
/// The file that is looked for first, and that messages name.
const FILE: &str = "tokenizer.json";
/// The files of tokenizers, in the order in which they are looked for. A directory may also have one that ends in `.tiktoken`.
const FILES: [&str; 3] = [FILE, "tekken.json", "tokenizer.model"];

/// A tokenizer, and where it came from.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Where it came from.
    pub source: Source,
}

/// Where a tokenizer came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The binary itself.
    Embedded {
        /// Why the embedded tokenizer is used, where the user did not ask for it; to be shown to the user.
        why: Option<String>,
    },
    /// This file, which the user named or which is in the directory that the user named.
    File(PathBuf),
    /// The hub, through its cache.
    Hub {
        /// The model whose tokenizer it is.
        name: String,
        /// The file in the cache.
        path: PathBuf,
    },
}

/// Why no tokenizer can be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub enum TokenizerError {
    /// The directory given has no file of a tokenizer.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What it lacks.
        miss: Miss,
    },
    /// The file found cannot be used.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The hub's tokenizer of that name cannot be had.
    Hub {
        /// What was looked for.
        repository: Repository,
        /// Why it cannot be had.
        reason: Box<HubError>,
    },
    /// Neither a path that exists nor a name.
    Unknown {
        /// What was given.
        choice: String,
    },
}

impl Explain for TokenizerError {
    fn message(&self) -> Message {
        let about = |text: String| message![Setting::Tokenizer, " ", text];
        match self {
            TokenizerError::Directory { path, miss } => {
                about(format!("{}: {miss}; give a {FILE}, a directory that has one, or `{EMBEDDED}`", path.display()))
            }
            TokenizerError::Load(error) => error.to_string().into(),
            TokenizerError::Hub { repository, reason } => about(format!(
                "{}: {reason}; fill the cache with `{}`, or give a {FILE}, a directory that has one, or `{EMBEDDED}`",
                repository.name,
                repository.command(FILE)
            )),
            TokenizerError::Unknown { choice } => about(format!(
                "{choice}: there is no such file or directory; give a {FILE}, a directory that has one, a hub name such as `org/name`, or `{EMBEDDED}`"
            )),
        }
    }
}

/// What a directory lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The directory has no file of a tokenizer.
    #[error("there is no {} or *.tiktoken in {}", FILES.join(", "), .0.display())]
    File(PathBuf),
}

/// The tokenizer for a run. `choice` is what the user asked for: the embedded vocabulary by name, a file, a directory,
/// or a hub name. Without a choice it is the tokenizer of `model` (a directory, or the name of a repository of the hub), and the
/// embedded one where that is not to be had. `env` reads an environment variable; `revision` is the hub's word for a
/// version (a branch, a tag or a commit), commonly `main`. Before a download, `note` gets a sentence about it.
///
/// # Errors
/// When what was asked for cannot be had, or a file that was found cannot be used.
pub fn resolve(
    choice: Option<&str>,
    model: Option<&str>,
    revision: &str,
    hub: &Hub,
    env: &impl Fn(&str) -> Option<String>,
    note: &dyn Fn(&str),
) -> Result<Resolved, TokenizerError> {
    match choice {
        Some(choice) => chosen(choice, revision, hub, env, note),
        None => of_model(model, revision, hub, env, note),
    }
}

fn chosen(
    choice: &str,
    revision: &str,
    hub: &Hub,
    env: &impl Fn(&str) -> Option<String>,
    note: &dyn Fn(&str),
) -> Result<Resolved, TokenizerError> {
    if EMBEDDED_NAMES.contains(&choice) {
        return Ok(Resolved { tokenizer: Tokenizer::embedded(), source: Source::Embedded { why: None } });
    }
    let path = hub::expand_home(choice, env);
    if path.is_dir() {
        let file = file_in(&path).map_err(|miss| TokenizerError::Directory { path, miss })?;
        return from_file(file);
    }
    if path.is_file() {
        return from_file(path);
    }
    if !is_hub_name(choice) {
        return Err(TokenizerError::Unknown { choice: choice.to_owned() });
    }
    let repository = Repository::model(choice, revision);
    match of_repository(&repository, hub, note) {
        Ok(file) => from_hub(choice, file),
        Err(reason) => Err(TokenizerError::Hub { repository, reason: Box::new(reason) }),
    }
}

/// Only names with an organisation are looked for on the hub: others are what servers call their models, such as `default`.
fn of_model(
    model: Option<&str>,
    revision: &str,
    hub: &Hub,
    env: &impl Fn(&str) -> Option<String>,
    note: &dyn Fn(&str),
) -> Result<Resolved, TokenizerError> {
    let why = match model {
        None => "no model is named".to_owned(),
        Some(model) => {
            if let Ok(file) = file_in(&hub::expand_home(model, env)) {
                return from_file(file);
            }
            if is_hub_name(model) {
                let repository = Repository::model(model, revision);
                let found = match model.contains('/') {
                    true => of_repository(&repository, hub, note).map_err(|reason| reason.to_string()),
                    false => in_cache(&repository, hub).map_err(|miss| miss.to_string()),
                };
                match found {
                    Ok(file) => return from_hub(model, file),
                    Err(reason) => reason,
                }
            } else {
                format!("`{model}` is neither a hub name nor a directory with a {FILE}")
            }
        }
    };
    Ok(Resolved { tokenizer: Tokenizer::embedded(), source: Source::Embedded { why: Some(why) } })
}

/// The file of a repository's tokenizer: from the cache, else downloaded.
fn of_repository(repository: &Repository, hub: &Hub, note: &dyn Fn(&str)) -> Result<PathBuf, HubError> {
    if let Ok(file) = in_cache(repository, hub) {
        return Ok(file);
    }
    let first = match hub.file(repository, FILE, note) {
        Err(HubError::NotDownloaded { is_absent: true, miss, reason }) => {
            HubError::NotDownloaded { is_absent: true, miss, reason }
        }
        other => return other,
    };
    let others = FILES[1..].iter().find_map(|file| hub.file(repository, file, note).ok());
    others.ok_or(first)
}

/// The file of a repository's tokenizer in the cache.
fn in_cache(repository: &Repository, hub: &Hub) -> Result<PathBuf, hub::Miss> {
    let snapshot = hub.snapshot(repository)?;
    file_in(&snapshot).or_else(|_| hub.cached(repository, FILE))
}

fn from_file(path: PathBuf) -> Result<Resolved, TokenizerError> {
    Ok(Resolved { tokenizer: Tokenizer::from_file(&path)?, source: Source::File(path) })
}

fn from_hub(name: &str, path: PathBuf) -> Result<Resolved, TokenizerError> {
    Ok(Resolved { tokenizer: Tokenizer::from_file(&path)?, source: Source::Hub { name: name.to_owned(), path } })
}

/// The file of a tokenizer in a directory.
fn file_in(dir: &Path) -> Result<PathBuf, Miss> {
    let named = FILES.iter().map(|name| dir.join(name)).find(|file| file.is_file());
    let tiktoken = || {
        let entries = std::fs::read_dir(dir).ok()?;
        let files = entries.flatten().map(|entry| entry.path());
        files.filter(|file| file.extension().is_some_and(|extension| extension == "tiktoken") && file.is_file()).min()
    };
    named.or_else(tiktoken).ok_or_else(|| Miss::File(dir.to_path_buf()))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Embedded { why: None } => write!(f, "embedded"),
            Source::Embedded { why: Some(why) } => write!(f, "embedded: {why}"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Hub { name, path } => write!(f, "{name}, from the hub's cache: {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::fs;
    use tempfile::TempDir;

    const COMMIT: &str = "8a1f0c2b";

    /// A home directory that knows one model at one commit.
    struct Home {
        dir: TempDir,
        env: HashMap<&'static str, String>,
    }

    impl Home {
        fn new() -> Home {
            let dir = tempfile::tempdir().unwrap();
            let env = HashMap::from([("HOME", dir.path().display().to_string())]);
            Home { dir, env }
        }

        fn path(&self, below: &str) -> PathBuf {
            self.dir.path().join(below)
        }

        /// Puts a file somewhere below, with its directories.
        fn put(&self, below: &str, bytes: &[u8]) -> PathBuf {
            let path = self.path(below);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }

        fn put_model(&self, cache: &str) -> PathBuf {
            self.put(&format!("{cache}/models--acme--bird/refs/main"), format!("{COMMIT}\n").as_bytes());
            self.put(&format!("{cache}/models--acme--bird/snapshots/{COMMIT}/tokenizer.json"), TOKENIZER)
        }

        fn resolve(&self, choice: Option<&str>, model: Option<&str>) -> Result<Resolved, TokenizerError> {
            self.resolve_at(choice, model, "main")
        }

        fn resolve_at(
            &self,
            choice: Option<&str>,
            model: Option<&str>,
            revision: &str,
        ) -> Result<Resolved, TokenizerError> {
            let env = |name: &str| self.env.get(name).cloned();
            resolve(choice, model, revision, &Hub::new(&env, false), &env, &|_: &str| {})
        }
    }

    const TOKENIZER: &[u8] = include_bytes!("../tests/fixtures/characters.json");

    #[test]
    fn the_embedded_vocabulary_has_three_names() {
        let home = Home::new();
        for name in ["cl100k_base", "builtin", "embedded"] {
            let resolved = home.resolve(Some(name), Some("acme/bird")).unwrap();
            assert_eq!(resolved.source, Source::Embedded { why: None });
            assert!(resolved.tokenizer.is_embedded());
        }
    }

    #[test]
    fn a_file_or_its_directory() {
        let home = Home::new();
        let file = home.put("here/tokenizer.json", TOKENIZER);
        for choice in [file.display().to_string(), home.path("here").display().to_string(), "~/here".to_owned()] {
            let resolved = home.resolve(Some(&choice), None).unwrap();
            assert_eq!(resolved.source, Source::File(file.clone()), "{choice}");
            assert_eq!(resolved.tokenizer.count("abc"), 3);
        }
        let other = home.put("mine.json", TOKENIZER);
        assert_eq!(home.resolve(Some("~/mine.json"), None).unwrap().source, Source::File(other));
    }

    #[test]
    fn a_hub_name_is_found_where_the_hubs_clients_look() {
        let mut home = Home::new();
        let mut expect = |variable: Option<(&'static str, &str)>, cache: &str| {
            if let Some((name, below)) = variable {
                home.env.insert(name, home.path(below).display().to_string());
            }
            let path = home.put_model(cache);
            let source = Source::Hub { name: "acme/bird".into(), path };
            assert_eq!(home.resolve(Some("acme/bird"), None).unwrap().source, source);
            assert_eq!(home.resolve(None, Some("acme/bird")).unwrap().source, source);
            assert_eq!(home.resolve_at(Some("acme/bird"), None, COMMIT).unwrap().source, source);
        };
        // Each variable wins over those before it.
        expect(None, ".cache/huggingface/hub");
        expect(Some(("XDG_CACHE_HOME", "xdg")), "xdg/huggingface/hub");
        expect(Some(("HF_HOME", "hf")), "hf/hub");
        expect(Some(("HUGGINGFACE_HUB_CACHE", "old")), "old");
        expect(Some(("HF_HUB_CACHE", "new")), "new");
    }

    #[test]
    fn a_name_without_an_organisation_and_a_revision_with_slashes() {
        let home = Home::new();
        let cache = ".cache/huggingface/hub/models--gpt2";
        home.put(&format!("{cache}/refs/refs/pr/7"), b"abc");
        let path = home.put(&format!("{cache}/snapshots/abc/tokenizer.json"), TOKENIZER);
        let resolved = home.resolve_at(Some("gpt2"), None, "refs/pr/7").unwrap();
        assert_eq!(resolved.source, Source::Hub { name: "gpt2".into(), path });
    }

    #[test]
    fn a_name_that_is_not_cached_says_where_and_what_to_do() {
        let home = Home::new();
        let cache = home.path(".cache/huggingface/hub");
        let error = home.resolve(Some("acme/fish"), None).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "--tokenizer acme/fish: the hub's cache has no {}/models--acme--fish, and downloads are switched off; fill \
                 the cache with `hf download acme/fish tokenizer.json`, or give a tokenizer.json, a directory that has \
                 one, or `cl100k_base`",
                cache.display()
            )
        );
        home.put_model(".cache/huggingface/hub");
        for revision in ["v2", "..", "../refs", "/etc", ""] {
            let error = home.resolve_at(Some("acme/bird"), None, revision).unwrap_err().to_string();
            assert!(error.contains(&format!("has no revision `{revision}` in")), "{error}");
            assert!(error.contains(&format!("tokenizer.json --revision {revision}`")), "{error}");
        }
    }

    #[test]
    fn a_reference_never_leads_out_of_the_cache() {
        let home = Home::new();
        home.put_model(".cache/huggingface/hub");
        home.put("tokenizer.json", TOKENIZER);
        let outside = home.dir.path().display().to_string();
        home.put(".cache/huggingface/hub/models--acme--bird/refs/evil", outside.as_bytes());
        assert!(matches!(
            home.resolve_at(Some("acme/bird"), None, "evil"),
            Err(TokenizerError::Hub { reason, .. })
                if matches!(*reason, HubError::NotCached { miss: hub::Miss::Revision { .. }, .. })
        ));
    }

    #[test]
    fn without_any_home_the_cache_is_nowhere() {
        let env = |_: &str| None;
        let hub = Hub::new(&env, true);
        let error = resolve(Some("acme/bird"), None, "main", &hub, &env, &|_: &str| {}).unwrap_err().to_string();
        assert!(error.contains("HF_HOME and HOME are unset"), "{error}");
    }

    #[test]
    fn a_directory_may_have_another_file_than_a_tokenizer_json() {
        let home = Home::new();
        let model = include_bytes!("../tests/fixtures/structures/bpe.model");
        let file = home.put("llama/tokenizer.model", model);
        assert_eq!(home.resolve(Some("~/llama"), None).unwrap().source, Source::File(file));
        let file = home.put("llama/tokenizer.json", TOKENIZER);
        assert_eq!(home.resolve(Some("~/llama"), None).unwrap().source, Source::File(file), "it comes first");
        let bad = home.put("bad/tokenizer.model", b"\xff\xff");
        let error = home.resolve(Some("~/bad"), None).unwrap_err().to_string();
        assert_eq!(error, format!("{} cannot be used as a tokenizer: it is not a SentencePiece model", bad.display()));
        home.put("few/some.tiktoken", b"IQ== 0\n");
        let error = home.resolve(Some("~/few"), None).unwrap_err().to_string();
        assert!(error.contains("some.tiktoken cannot be used as a tokenizer: it has 1 tokens"), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_what_is_accepted() {
        let home = Home::new();
        fs::create_dir(home.path("empty")).unwrap();
        let error = home.resolve(Some("~/empty"), None).unwrap_err().to_string();
        let none = "there is no tokenizer.json, tekken.json, tokenizer.model or *.tiktoken in";
        assert!(error.contains(none), "{error}");
        for choice in ["", "./absent", "/absent/tokenizer.json", "absent.json", "a/b/c", "a//b", "a b"] {
            let error = home.resolve(Some(choice), None).unwrap_err();
            assert!(matches!(error, TokenizerError::Unknown { .. }), "{choice}: {error}");
        }
        let bad = home.put("bad/tokenizer.json", b"{");
        let error = home.resolve(Some("~/bad"), None).unwrap_err().to_string();
        assert!(error.contains(&bad.display().to_string()) && error.contains("EOF"), "{error}");
    }

    #[test]
    fn no_choice_takes_the_models_own_else_the_embedded_one_and_says_why() {
        let home = Home::new();
        let why = |model: Option<&str>| match home.resolve(None, model).unwrap().source {
            Source::Embedded { why } => why.unwrap(),
            other => panic!("{other}"),
        };
        assert_eq!(why(None), "no model is named");
        assert!(why(Some("acme/fish")).ends_with("models--acme--fish, and downloads are switched off"));
        assert!(why(Some("fish")).ends_with("models--fish"));
        assert_eq!(
            why(Some("/srv/models/bird.gguf")),
            "`/srv/models/bird.gguf` is neither a hub name nor a directory with a tokenizer.json"
        );
        home.put(&format!(".cache/huggingface/hub/models--acme--old/snapshots/{COMMIT}/config.json"), b"{}");
        home.put(".cache/huggingface/hub/models--acme--old/refs/main", COMMIT.as_bytes());
        assert!(why(Some("acme/old")).starts_with("there is no tokenizer.json in"));

        let file = home.put("models/bird/tokenizer.json", TOKENIZER);
        let model = home.path("models/bird").display().to_string();
        assert_eq!(home.resolve(None, Some(&model)).unwrap().source, Source::File(file));
    }
}
