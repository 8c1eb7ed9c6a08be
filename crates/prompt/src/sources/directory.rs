//! A directory of files of prompts, which are read one after the other in the order of their names, each in its own format. GenAI-Perf names
//! each `NAME.jsonl`.

use super::{Conversation, Format, Input, Opened, Source, SourceError, SourceOptions};
use std::path::{Path, PathBuf};

/// The format.
pub const FORMAT: Format = Format {
    name: "directory",
    aliases: &[],
    has_times: true,
    takes_directories: true,
    recognises: |sample| sample.is_directory,
    open: |input, options| {
        let options = SourceOptions { format: None, skip_bad_rows: false, ..options.clone() };
        open(&input, options)
    },
};

/// How the names of files that are read end.
const ENDS: [&str; 7] = ["jsonl", "ndjson", "json", "csv", "tsv", "parquet", "txt"];

/// The files of a directory in the given format, or each in its own.
pub(super) fn open(input: &Input, options: SourceOptions) -> Opened {
    Ok(of_files(files(input.path())?, options))
}

/// Files that are read one after the other.
pub(super) fn of_files(files: Vec<PathBuf>, options: SourceOptions) -> Box<dyn Source> {
    Box::new(Files { files: files.into_iter(), options, current: None, rows: 0, notes: Vec::new() })
}

/// The files of prompts in a directory, in the order of their names.
pub(super) fn files(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
        if path.is_file() && ENDS.contains(&end.as_str()) {
            files.push(path);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(SourceError::File(format!(
            "there is no file of prompts in the directory; their names end with one of {}",
            ENDS.join(", ")
        ))),
        false => Ok(files),
    }
}

struct Files {
    files: std::vec::IntoIter<PathBuf>,
    options: SourceOptions,
    current: Option<(PathBuf, Box<dyn Source>)>,
    /// Rows and notes of the files that are done.
    rows: usize,
    notes: Vec<String>,
}

impl Source for Files {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        loop {
            if let Some((file, source)) = &mut self.current {
                if let Some(conversation) = source.next_conversation().map_err(|error| error.in_file(file))? {
                    return Ok(Some(conversation));
                }
                self.rows += source.rows();
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.notes.extend(source.notes().into_iter().map(|note| format!("{name}: {note}")));
            }
            let Some(file) = self.files.next() else {
                self.current = None;
                return Ok(None);
            };
            let source = super::open(&file, &self.options).map_err(|error| error.in_file(&file))?;
            self.current = Some((file, source));
        }
    }

    /// Each file is asked when it is opened.
    fn has_agents(&self) -> bool {
        true
    }

    fn rows(&self) -> usize {
        self.rows + self.current.as_ref().map_or(0, |(_, source)| source.rows())
    }

    fn notes(&self) -> Vec<String> {
        let current = self.current.as_ref().map(|(_, source)| source.notes()).unwrap_or_default();
        self.notes.iter().cloned().chain(current).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Contents;
    use std::fs;

    #[test]
    fn files_are_read_in_the_order_of_their_names_each_in_its_format() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        put("b.jsonl", "{\"text\": \"3\", \"top_k\": 1}\n");
        put("a.txt", "1\n2\n");
        put("c.json", "[{\"conversations\": [{\"from\": \"human\", \"value\": \"4\"}]}]");
        put("readme.md", "no");
        let contents = Contents::read(dir.path(), &SourceOptions::default()).unwrap();
        let texts: Vec<_> = contents.turns().map(|turn| format!("{:?}", turn.content.as_ref().unwrap())).collect();
        assert_eq!(texts, ["1", "2", "3", "4"].map(|text| format!("Texts([{text:?}])")));
        assert_eq!(
            contents.notes,
            ["b.jsonl: the requests' bodies hold these members of its rows as they are: `top_k`"]
        );
        assert_eq!(contents.counts.rows, 4);
        put("d.jsonl", "{\"text\": \"5\"}\n{\"text\": 6}\n");
        let error = Contents::read(dir.path(), &SourceOptions::default()).unwrap_err().to_string();
        assert!(error.contains("d.jsonl: line 2, column 2: `text` is neither"), "{error}");
        let skip = SourceOptions { skip_bad_rows: true, ..SourceOptions::default() };
        let contents = Contents::read(dir.path(), &skip).unwrap();
        assert_eq!(contents.conversations.len(), 5);
        let note = contents.notes.iter().find(|note| note.contains("1 bad row(s) were left out; the first is"));
        assert!(note.is_some_and(|note| note.contains("d.jsonl: line 2")), "{:?}", contents.notes);
    }

    #[test]
    fn a_directory_without_prompts_says_what_it_should_have() {
        let dir = tempfile::tempdir().unwrap();
        let error = Contents::read(dir.path(), &SourceOptions::default()).unwrap_err().to_string();
        assert!(error.starts_with("there is no file of prompts in the directory"), "{error}");
    }
}
