//! Data sets of the hub by name, and where their files are on this machine.

use super::table::Columns;
use super::{Format, SourceOptions, sharegpt};
use crate::hub::{Hub, HubError, Repository, is_hub_name};
use std::path::PathBuf;

/// A data set that is known by a short name.
struct Known {
    name: &'static str,
    repository: &'static str,
    /// What the paths of its files begin with.
    files: &'static str,
    format: Option<&'static Format>,
    columns: &'static [(&'static str, &'static str)],
}

const KNOWN: [Known; 3] = [
    Known {
        name: "openorca",
        repository: "Open-Orca/OpenOrca",
        files: "",
        format: None,
        columns: &[("system", "system_prompt"), ("prompt", "question"), ("answer", "response")],
    },
    Known {
        name: "cnn_dailymail",
        repository: "abisee/cnn_dailymail",
        files: "3.0.0/",
        format: None,
        columns: &[("prompt", "article"), ("answer", "highlights")],
    },
    Known {
        name: "sharegpt",
        repository: "anon8231489123/ShareGPT_Vicuna_unfiltered",
        files: "ShareGPT_V3_unfiltered_cleaned_split.json",
        format: Some(&sharegpt::FORMAT),
        columns: &[],
    },
];

/// How the names of files with rows end.
const ENDS: [&str; 6] = [".parquet", ".jsonl", ".ndjson", ".json", ".csv", ".tsv"];
/// How the names of files with rows end that are not read.
const UNREAD: [&str; 5] = [".arrow", ".gz", ".zst", ".tar", ".zip"];
/// Files of a repository that are not rows.
const NO_ROWS: [&str; 3] = ["dataset_infos.json", "config.json", "dataset_info.json"];

/// A data set that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Its short name, or its name on the hub, perhaps with a directory or the beginning of the files' names: `org/name/directory`.
    pub name: String,
    /// The split, such as `train`.
    pub split: String,
    /// A branch, a tag or a commit; commonly `main`.
    pub revision: String,
}

/// Why a data set cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// The name is not one.
    #[error(
        "this is not the name of a data set; give one of {}, or a name on the hub such as `org/name`",
        known_names()
    )]
    Name,
    /// Its files cannot be had.
    #[error("{error}; fetch it with `{command}`")]
    Hub {
        /// Why.
        error: HubError,
        /// The command that fetches them.
        command: String,
    },
    /// There is no file of rows.
    #[error("{0}")]
    Files(String),
}

impl Dataset {
    /// Finds the files of the data set on this machine, or downloads them, and adds them and what is known of them to `options`. Returns the
    /// directory that they are in, for messages. Before a download, `note` gets a sentence about it.
    ///
    /// # Errors
    /// When the name is not one, or there are no files to be had that can be read.
    pub fn find(&self, hub: &Hub, options: &mut SourceOptions, note: &dyn Fn(&str)) -> Result<PathBuf, DatasetError> {
        let known = KNOWN.iter().find(|known| known.name == self.name);
        let (name, beginning) = match known {
            Some(known) => (known.repository.to_owned(), known.files.to_owned()),
            None => {
                let mut parts = self.name.splitn(3, '/');
                let name: Vec<_> = parts.by_ref().take(2).collect();
                (name.join("/"), parts.next().unwrap_or_default().to_owned())
            }
        };
        if !is_hub_name(&name) || known.is_none() && !name.contains('/') {
            return Err(DatasetError::Name);
        }
        let repository = Repository::dataset(&name, &self.revision);
        let failed = |file: &str, error| DatasetError::Hub {
            error,
            // Without a file it fetches all of them.
            command: repository.command(file).replace("  ", " "),
        };
        let listed = hub
            .list(&repository)
            .map_err(|error| failed(known.map_or("", |known| known.files.trim_end_matches('/')), error))?;
        let chosen = self.choose(&listed, &beginning)?;
        let mut files = Vec::new();
        for file in chosen {
            files.push(hub.file(&repository, file, note).map_err(|error| failed(file, error))?);
        }
        if let Some(known) = known {
            options.format = options.format.or(known.format);
            if options.columns.is_empty() {
                options.columns = Columns::known(known.columns);
            }
        }
        let first = files.first().cloned().unwrap_or_default();
        options.files = files;
        Ok(hub.snapshot(&repository).unwrap_or(first))
    }

    /// The files of the split among those of a repository.
    fn choose<'a>(&self, listed: &'a [String], beginning: &str) -> Result<Vec<&'a str>, DatasetError> {
        let ends = |file: &str, ends: &[&str]| ends.iter().any(|end| file.to_ascii_lowercase().ends_with(end));
        let name = |file: &'a str| file.rsplit('/').next().unwrap_or(file);
        let rows: Vec<&str> = listed
            .iter()
            .map(String::as_str)
            .filter(|file| file.starts_with(beginning) && ends(file, &ENDS) && !NO_ROWS.contains(&name(file)))
            .collect();
        if rows.is_empty() {
            let unread = listed.iter().find(|file| file.starts_with(beginning) && ends(file, &UNREAD));
            let reason = match unread {
                Some(file) => format!(
                    "its files are such as {file}, which are not read; its files may be Parquet, JSON, JSONL or CSV"
                ),
                None => format!("it has no file of rows{}", beginning_words(beginning)),
            };
            return Err(DatasetError::Files(reason));
        }
        // A split is a directory or the beginning of a name, as the hub's own reader knows it.
        let is_of = |file: &str, split: &str| {
            file.split('/').any(|part| {
                let rest = part.strip_prefix(split);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_', '.']))
            })
        };
        let of_split: Vec<&str> = rows.iter().copied().filter(|file| is_of(file, &self.split)).collect();
        let has_splits = ["train", "test", "validation"].iter().any(|split| rows.iter().any(|file| is_of(file, split)));
        match (of_split.is_empty(), has_splits || self.split != "train") {
            (false, _) => Ok(of_split),
            (true, false) => Ok(rows),
            (true, true) => {
                let few: Vec<_> = rows.iter().take(5).copied().collect();
                Err(DatasetError::Files(format!(
                    "it has no split `{}`; its files are such as {}",
                    self.split,
                    few.join(", ")
                )))
            }
        }
    }
}

fn beginning_words(beginning: &str) -> String {
    if beginning.is_empty() { String::new() } else { format!(" whose path begins with `{beginning}`") }
}

fn known_names() -> String {
    KNOWN.map(|known| known.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Contents;
    use std::fs;
    use std::path::Path;
    use streamgauge_core::prompt::Content;

    fn hub(home: &Path) -> Hub {
        let home = home.display().to_string();
        Hub::new(&move |name: &str| (name == "HF_HUB_CACHE").then(|| home.clone()), false)
    }

    fn dataset(name: &str, split: &str) -> Dataset {
        Dataset { name: name.to_owned(), split: split.to_owned(), revision: "main".to_owned() }
    }

    fn put(home: &Path, repository: &str, file: &str) -> PathBuf {
        let directory = home.join(format!("datasets--{}", repository.replace('/', "--")));
        fs::create_dir_all(directory.join("refs")).unwrap();
        fs::write(directory.join("refs/main"), "c0ffee").unwrap();
        let path = directory.join("snapshots/c0ffee").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        path
    }

    fn read(home: &Path, name: &str, split: &str) -> Result<Contents, String> {
        let mut options = SourceOptions::default();
        let found = dataset(name, split).find(&hub(home), &mut options, &|_| {});
        let directory = found.map_err(|error| error.to_string())?;
        Contents::read(&directory, &options).map_err(|error| error.to_string())
    }

    #[test]
    fn known_sets_are_read_from_the_cache_in_their_real_layout() {
        let home = tempfile::tempdir().unwrap();
        let path =
            put(home.path(), "anon8231489123/ShareGPT_Vicuna_unfiltered", "ShareGPT_V3_unfiltered_cleaned_split.json");
        fs::write(
            path,
            r#"[{"id": "a", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "w"}]}]"#,
        )
        .unwrap();
        let contents = read(home.path(), "sharegpt", "train").unwrap();
        assert_eq!(contents.turns().next().unwrap().content, Some(Content::Texts(vec!["q".to_owned()])));
        let csv = put(home.path(), "abisee/cnn_dailymail", "3.0.0/train-00000-of-00002.csv");
        fs::write(csv, "article,highlights,id\nlong,short,1\n").unwrap();
        let csv = put(home.path(), "abisee/cnn_dailymail", "3.0.0/train-00001-of-00002.csv");
        fs::write(csv, "article,highlights,id\nlonger,shorter,2\n").unwrap();
        put(home.path(), "abisee/cnn_dailymail", "3.0.0/test-00000-of-00001.csv");
        put(home.path(), "abisee/cnn_dailymail", "1.0.0/train-00000-of-00001.csv");
        let contents = read(home.path(), "cnn_dailymail", "train").unwrap();
        assert_eq!(contents.conversations.len(), 2);
        assert!(contents.turns().all(|turn| turn.asks_for_answer_length && turn.answer.is_some()));
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_files_of_the_cache_are_read() {
        let home = tempfile::tempdir().unwrap();
        let path = put(home.path(), "Open-Orca/OpenOrca", "1M-GPT4-Augmented.parquet");
        let texts: [(&str, &[&str]); 4] =
            [("id", &["1"]), ("system_prompt", &["Be kind."]), ("question", &["Why?"]), ("response", &["Because."])];
        crate::sources::parquet::write(&path, &texts, &[]);
        put(home.path(), "Open-Orca/OpenOrca", "README.md");
        let contents = read(home.path(), "openorca", "train").unwrap();
        let turn = contents.turns().next().unwrap();
        assert!(matches!(&turn.content, Some(Content::Messages(messages)) if messages.len() == 2), "{turn:?}");
    }

    #[test]
    fn what_cannot_be_had_says_which_command_fetches_it() {
        let home = tempfile::tempdir().unwrap();
        let error = read(home.path(), "org/name", "train").unwrap_err();
        assert!(error.contains("datasets--org--name") && error.contains("downloads are switched off"), "{error}");
        assert!(error.contains("hf download org/name") && error.contains("--repo-type dataset"), "{error}");
        assert!(
            read(home.path(), "nothing", "train")
                .unwrap_err()
                .contains("give one of openorca, cnn_dailymail, sharegpt, or")
        );
        put(home.path(), "org/arrow", "data-00000-of-00001.arrow");
        assert!(
            read(home.path(), "org/arrow", "train")
                .unwrap_err()
                .contains("data-00000-of-00001.arrow, which are not read")
        );
        put(home.path(), "org/splits", "data/test-00000-of-00001.jsonl");
        let error = read(home.path(), "org/splits", "train").unwrap_err();
        assert_eq!(error, "it has no split `train`; its files are such as data/test-00000-of-00001.jsonl");
        let path = put(home.path(), "org/splits", "data/dev-00000-of-00001.jsonl");
        fs::write(path, "{\"prompt\": \"a\"}").unwrap();
        assert_eq!(read(home.path(), "org/splits/data", "dev").unwrap().conversations.len(), 1);
    }
}
