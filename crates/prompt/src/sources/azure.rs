//! Azure's traces of LLM inference: a table with a row for each request, in CSV. The year of a trace changes nothing but the form of its dates.

use super::Format;
use super::columns::has_columns;
use super::lengths_table::{self, Table};

/// The format.
pub const FORMAT: Format = Format {
    name: "azure_trace",
    aliases: &["azure"],
    has_times: true,
    takes_directories: false,
    recognises: |sample| has_columns(sample.text(), &[TABLE.input, TABLE.output]),
    open: |input, options| lengths_table::open(&TABLE, input, options),
};

static TABLE: Table =
    Table { time: "timestamp", input: "contexttokens", output: "generatedtokens", session: None, others: &[] };

#[cfg(test)]
mod tests {
    use crate::sources::{Timing, read_text};
    use proptest::prelude::*;

    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

    #[test]
    fn dates_lengths_and_failed_requests() {
        let text = format!(
            "\u{feff}{HEADER}\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8\r\n2023-11-16 18:17:05,7,0\r\n"
        );
        let trace = read_text(&text, Timing::Timed).unwrap();
        let turns: Vec<_> = trace.turns().collect();
        assert_eq!([turns[0].input_tokens, turns[1].requested_output_tokens], [Some(4_808), Some(8)]);
        let gap = (turns[1].at.unwrap() - turns[0].at.unwrap()).as_secs_f64();
        assert!((gap - 0.052).abs() < 1e-5, "{gap}");
        assert_eq!(trace.notes, ["1 row(s) without tokens are left out: their requests were not answered"]);
        assert_eq!(trace.counts.rows, 3);
        let next = read_text(&format!("{HEADER}\n2024-05-10 00:00:00.009930+00:00,2162,5\n"), Timing::Untimed).unwrap();
        assert!(next.notes[0].starts_with("the times of its rows are not followed"), "{:?}", next.notes);
    }

    #[test]
    fn a_row_that_is_none_is_refused_by_its_place() {
        for (row, words) in [
            ("2023-11-16 18:17:03,1.5,3", "line 2: contexttokens \"1.5\": not a whole number of tokens"),
            ("2023-11-16 18:17:03,12", "line 2: there is no `generatedtokens`"),
            ("soon,12,3", "line 2: `timestamp` is not a number of seconds from 0, or a date"),
            (",12,3", "line 2: there is no `timestamp`"),
            ("2023-11-16 18:17:03,1,2,3", "line 2: there are 4 fields, but the first line names 3 columns"),
            ("2023-11-16 18:17:03,99999999999,3", "line 2: contexttokens 99999999999: longer than"),
        ] {
            let error = read_text(&format!("{HEADER}\n{row}\n"), Timing::Timed).unwrap_err().to_string();
            assert!(error.contains(words), "{row}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9a-z.:, \"\n-]|.){0,200}") {
            let _ = read_text(&format!("{HEADER}\n{text}"), Timing::Timed);
            let _ = read_text(&format!("{HEADER}{text}"), Timing::Untimed);
        }
    }
}
