//! Tables as text: values separated by commas or tabulators, with the names of the columns in the first line.

use super::limited::{Allowance, Limited};
use super::lines::LONGEST_LINE;
use super::object::{Object, Objects};
use super::sessions::Sessions;
use super::table::{self, TableRows};
use super::turns::Turns;
use super::{Format, Input, Opened, Place, Sample, SourceError, SourceOptions};
use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use serde_json::Map;
use std::io::Read;

/// The format, which the end of the file's name shows.
pub const FORMAT: Format = Format {
    name: "csv",
    aliases: &["tsv"],
    has_times: true,
    takes_directories: false,
    recognises: |sample| ends_with(sample, "csv") || ends_with(sample, "tsv"),
    open,
};

fn ends_with(sample: &Sample, end: &str) -> bool {
    sample.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(end))
}

fn open(input: Input, options: &SourceOptions) -> Opened {
    let is_tabs = input.path().extension().is_some_and(|end| end.eq_ignore_ascii_case("tsv"));
    let turns = Turns::new(input.path(), options.timing);
    let left = Allowance::new(LONGEST_LINE);
    let reader = Limited::new(input.reader(), &left);
    let mut reader = ReaderBuilder::new().delimiter(if is_tabs { b'\t' } else { b',' }).from_reader(reader);
    let header = reader.headers().map_err(of_csv)?;
    let table: Vec<_> = header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect();
    let members = options.columns.members(&table)?;
    let rows = TableRows::new(turns, &table, &members);
    Ok(Sessions::new(Box::new(Table { reader, members, left, record: StringRecord::new() }), rows))
}

struct Table<R> {
    reader: Reader<Limited<R>>,
    members: Vec<Option<String>>,
    left: Allowance,
    record: StringRecord,
}

impl<R: Read + Send> Objects for Table<R> {
    fn next_object(&mut self) -> Result<Option<(Place, Object)>, SourceError> {
        self.left.renew();
        if !self.reader.read_record(&mut self.record).map_err(of_csv)? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, |position| position.line());
        let mut members = Map::new();
        for (member, text) in self.members.iter().zip(&self.record) {
            if let Some(member) = member {
                members.insert(member.clone(), table::of_text(member, text));
            }
        }
        Ok(Some(table::row(Place::line(usize::try_from(line).unwrap_or(usize::MAX)), members)))
    }
}

fn of_csv(error: csv::Error) -> SourceError {
    let line = |position: &Option<csv::Position>| {
        Place::line(position.as_ref().map_or(1, |place| usize::try_from(place.line()).unwrap_or(usize::MAX)))
    };
    match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => SourceError::Row {
            place: line(pos),
            reason: format!("there are {len} values; expected {expected_len}, one for each name in the first line"),
        },
        ErrorKind::Utf8 { pos, .. } => {
            SourceError::Row { place: line(pos), reason: "this is not text in UTF-8".to_owned() }
        }
        _ => match error.into_kind() {
            ErrorKind::Io(error) => SourceError::Read(error),
            _ => SourceError::File("the table cannot be read".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{Contents, Timing, source};
    use proptest::prelude::*;
    use std::io;
    use streamgauge_core::Nanos;
    use streamgauge_core::prompt::Content;

    fn read(text: &str, columns: &str, timing: Timing) -> Result<Contents, SourceError> {
        let columns = if columns.is_empty() { Default::default() } else { columns.parse().unwrap() };
        let options = SourceOptions { format: Some(&FORMAT), columns, timing, ..SourceOptions::default() };
        Contents::of(source(Input::text(text), &options)?)
    }

    #[test]
    fn columns_become_members() {
        let text = "id,question,n,s\r\n1,\"a, \"\"b\"\"\nc\",5,x\r\n2,d,,\r\n";
        let contents = read(text, "prompt=question,output_length=n,session_id=s", Timing::Untimed).unwrap();
        let turns: Vec<_> = contents.turns().collect();
        assert_eq!(turns[0].content, Some(Content::Texts(vec!["a, \"b\"\nc".to_owned()])));
        assert_eq!([turns[0].requested_output_tokens, turns[1].requested_output_tokens], [Some(5), None]);
        assert_eq!(contents.conversations[0].id.as_deref(), Some("x"));
        assert_eq!(contents.notes, ["`id` of its columns are not used"]);
        let timed = read("timestamp,input_length,output_length\n5,10,2\n2.5,11,3\n", "", Timing::Timed).unwrap();
        assert_eq!(timed.turns().map(|turn| turn.input_tokens).collect::<Vec<_>>(), [Some(11), Some(10)]);
        assert_eq!(timed.conversations[1].begins(), Nanos::from_millis(5));
        let chat = "system,prompt,answer\nBe kind.,Hi,Hello there\n";
        let contents = read(chat, "system=system,prompt=prompt,answer=answer", Timing::Untimed).unwrap();
        let turn = contents.turns().next().unwrap();
        assert!(matches!(&turn.content, Some(Content::Messages(messages)) if messages.len() == 2), "{turn:?}");
        assert!(turn.asks_for_answer_length && turn.answer.is_some());
    }

    #[test]
    fn a_bad_row_is_refused_by_its_line() {
        for (text, words) in [
            ("prompt,output_length\na,1\n\"b\nc\",x\n", "line 3: output_length \"x\": not a whole number of tokens"),
            ("prompt,output_length\na,1\nb\n", "line 3: there are 1 values; expected 2"),
            ("prompt,output_length\n,1\n,\n", "line 3: there is no prompt"),
            ("a,b\n1,2\n", "none of its columns is known to be the prompt; its columns are a, b"),
            ("prompt\n", "there is no request in it"),
        ] {
            let error = read(text, "", Timing::Untimed).unwrap_err().to_string();
            assert!(error.starts_with(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_quotation_mark_that_is_not_closed_does_not_fill_the_memory() {
        let endless = io::Cursor::new(b"prompt\n\"").chain(io::repeat(b'x'));
        let endless = Limited::new(endless, &Allowance::new(1 << 20));
        let mut reader = ReaderBuilder::new().from_reader(endless);
        let error = reader.records().next().unwrap().map_err(of_csv).unwrap_err().to_string();
        assert!(error.contains("a row is longer than 64 MiB"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a,\"\n\r\\PC]{0,200}") {
            let _ = read(&format!("prompt,delay\n{text}"), "", Timing::Untimed);
            let _ = read(&text, "", Timing::Timed);
        }
    }
}
