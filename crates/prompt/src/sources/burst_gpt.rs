//! The BurstGPT traces of requests to ChatGPT and GPT-4: a table with a row for each request, in CSV, with and without times and sessions.

use super::Format;
use super::columns::has_columns;
use super::lengths_table::{self, Table};

/// The format.
pub const FORMAT: Format = Format {
    name: "burst_gpt_trace",
    aliases: &["burstgpt", "burst_gpt"],
    has_times: true,
    takes_directories: false,
    recognises: |sample| has_columns(sample.text(), &[TABLE.input, TABLE.output]),
    open: |input, options| lengths_table::open(&TABLE, input, options),
};

static TABLE: Table = Table {
    time: "timestamp",
    input: "request tokens",
    output: "response tokens",
    session: Some("session id"),
    others: &["elapsed time", "log type", "model", "total tokens"],
};

#[cfg(test)]
mod tests {
    use crate::sources::{Contents, Timing, read_text};
    use proptest::prelude::*;
    use streamgauge_core::Nanos;
    use streamgauge_core::prompt::Follows;

    fn read(lines: &[&str], timing: Timing) -> Contents {
        read_text(&lines.join("\n"), timing).unwrap()
    }

    #[test]
    fn rows_with_times_models_and_failures() {
        let lines = [
            "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
            "5,ChatGPT,472,18,490,Conversation log",
            "45,GPT-4,1087,0,1087,API log",
            "118,GPT-4,417,276,693,Conversation log",
        ];
        let trace = read(&lines, Timing::Timed);
        let rows: Vec<_> =
            trace.turns().map(|turn| (turn.at, turn.input_tokens, turn.requested_output_tokens)).collect();
        let second = |seconds: i64| Some(Nanos(seconds * 1_000_000_000));
        assert_eq!(rows, [(second(5), Some(472), Some(18)), (second(118), Some(417), Some(276))]);
        let notes = ["1 row(s) without tokens", "the column(s) `log type`, `model`, `total tokens` are not followed"];
        assert!(
            trace.notes.iter().zip(notes).all(|(note, beginning)| note.starts_with(beginning)),
            "{:?}",
            trace.notes
        );
    }

    #[test]
    fn rows_of_a_session_are_a_conversation_and_times_may_be_missing() {
        let lines = ["Session ID,Request tokens,Response tokens,Colour", "a,472,18,red", ",10,11,", "a,600,20,"];
        let trace = read(&lines, Timing::Untimed);
        let turns: Vec<_> = trace.conversations.iter().map(|conversation| conversation.turns.len()).collect();
        assert_eq!(turns, [2, 1]);
        assert_eq!(trace.conversations[0].turns[1].history.follows, Follows::Nothing);
        assert!(trace.notes[1].contains("`colour` are not known and not sent"), "{:?}", trace.notes);
        let error = read_text(&lines.join("\n"), Timing::Timed).unwrap_err().to_string();
        assert!(error.starts_with("line 2: there is no `timestamp`, at which --fixed-schedule"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9a-z.:, \"\n-]|.){0,200}") {
            let header = "Timestamp,Session ID,Request tokens,Response tokens";
            let _ = read_text(&format!("{header}\n{text}"), Timing::Timed);
            let _ = read_text(&format!("{header}\n1,2,3,4\n{text}"), Timing::Untimed);
        }
    }
}
