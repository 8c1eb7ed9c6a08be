//! Plain text: each line that is not blank is a prompt.

use super::{Conversation, Format, Lines, Source, SourceError, Turn};
use streamgauge_core::prompt::Content;

/// The format, which the end of the file's name shows.
pub const FORMAT: Format = Format {
    name: "text",
    aliases: &["txt"],
    has_times: false,
    takes_directories: false,
    recognises: |sample| sample.path.extension().is_some_and(|end| end.eq_ignore_ascii_case("txt")),
    open: |input, _| Ok(Box::new(Text { lines: input.lines(), rows: 0 })),
};

struct Text {
    lines: Lines,
    rows: usize,
}

impl Source for Text {
    fn next_conversation(&mut self) -> Result<Option<Conversation>, SourceError> {
        let Some((_, line)) = self.lines.next_line()? else { return Ok(None) };
        self.rows += 1;
        let content = Some(Content::Texts(vec![line.to_owned()]));
        Ok(Some(Turn { content, ..Turn::default() }.into()))
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

    fn read(text: &str) -> Result<Contents, SourceError> {
        let options = SourceOptions { format: Some(&FORMAT), ..SourceOptions::default() };
        Contents::of(source(Input::text(text), &options)?)
    }

    #[test]
    fn each_line_is_a_prompt_as_it_stands() {
        let contents = read("One?\r\n\n  {\"two\": 2}\n").unwrap();
        let texts: Vec<_> = contents.turns().map(|turn| turn.content.clone().unwrap()).collect();
        assert_eq!(texts, ["One?", "  {\"two\": 2}"].map(|text| Content::Texts(vec![text.to_owned()])));
        assert_eq!(contents.counts.to_string(), "2 row(s): 2 conversation(s) of 2 turn(s)");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = read(&text);
        }
    }
}
