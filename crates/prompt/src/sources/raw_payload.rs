//! Whole bodies, a line each, which are sent as they are: AIPerf's `raw_payload`. In a directory each file is a conversation, and its lines are
//! the turns.

use super::object::{Fault, Object};
use super::sessions::{Row, RowReader, Sessions};
use super::turns::turn_of_body;
use super::{Conversation, Format, Source, SourceError};
use serde_json::Value;
use std::path::PathBuf;

/// The format. A file of bodies looks like one of messages, so it is chosen by name.
pub const FORMAT: Format = Format {
    name: "raw_payload",
    aliases: &[],
    has_times: false,
    takes_directories: true,
    recognises: |_| false,
    open: |input, _| match input.path().is_dir() {
        true => Ok(Box::new(Files { files: super::directory::files(input.path())?.into_iter(), rows: 0 })),
        false => Ok(Sessions::new(input.objects()?, Bodies)),
    },
};

struct Bodies;

impl RowReader for Bodies {
    fn read(&mut self, object: &mut Object) -> Result<Row, Fault> {
        // An object it is, so there is a turn.
        let turns = turn_of_body(Value::Object(object.take_rest())).into_iter().collect();
        Ok(Row { turns, ..Row::default() })
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A directory whose files are conversations.
struct Files {
    files: std::vec::IntoIter<PathBuf>,
    rows: usize,
}

impl Source for Files {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        for file in self.files.by_ref() {
            let input = super::Input::open(&file)?;
            let mut source = Sessions::new(input.objects()?, Bodies);
            let mut turns = Vec::new();
            while let Some(conversation) = source.next_conversation().map_err(|error| error.in_file(&file))? {
                turns.extend(conversation.turns);
            }
            self.rows += source.rows();
            if !turns.is_empty() {
                let id = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                return Ok(Some(Conversation { id, turns }));
            }
        }
        Ok(None)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Input, SourceOptions, source};
    use proptest::prelude::*;

    fn options() -> SourceOptions {
        SourceOptions { format: Some(&FORMAT), ..SourceOptions::default() }
    }

    #[test]
    fn bodies_are_kept_as_they_are() {
        let body = r#"{"messages":[{"role":"user","content":"a"}],"model":"m","max_tokens":5,"x":null}"#;
        let mut source = source(Input::text(body), &options()).unwrap();
        let conversation = source.next_conversation().unwrap().unwrap();
        let turn = &conversation.turns[0];
        assert_eq!(turn.body.as_ref().unwrap().to_string(), body);
        assert_eq!((turn.model.as_deref(), turn.requested_output_tokens), (Some("m"), Some(5)));
    }

    #[test]
    fn each_file_of_a_directory_is_a_conversation() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("b.jsonl"), "{\"n\":3}").unwrap();
        std::fs::write(dir.path().join("a.jsonl"), "{\"n\":1}\n\n{\"n\":2}\n").unwrap();
        std::fs::write(dir.path().join("notes.md"), "no").unwrap();
        let contents = Contents::read(dir.path(), &options()).unwrap();
        let read: Vec<_> = contents.conversations.iter().map(|c| (c.id.clone().unwrap(), c.turns.len())).collect();
        assert_eq!(read, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        std::fs::write(dir.path().join("c.jsonl"), "{\"n\":1}\nno").unwrap();
        let error = Contents::read(dir.path(), &options()).unwrap_err().to_string();
        assert!(error.contains("c.jsonl: line 2, column 2: this is not JSON"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = source(Input::text(text), &options()).and_then(|mut source| source.next_conversation());
        }
    }
}
