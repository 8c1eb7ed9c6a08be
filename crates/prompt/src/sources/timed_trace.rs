//! The traces that vLLM's benchmark replays under the name `timed_trace`: rows like those of Mooncake's, with times in seconds and blocks of 16
//! tokens.

use super::sessions::Sessions;
use super::times::Unit;
use super::trace::{Rules, Trace};
use super::{Format, Sample};
use serde_json::Value;

/// The format.
pub const FORMAT: Format = Format {
    name: "timed_trace",
    aliases: &[],
    has_times: true,
    takes_directories: false,
    recognises,
    open: |input, options| Ok(Sessions::new(input.objects()?, Trace::new(options.timing, RULES))),
};

const RULES: Rules = Rules { block: 16, unit: Unit::Seconds };

/// The members are the same as those of other traces, so the number of blocks tells: it is one for each 16 tokens.
fn recognises(sample: &Sample) -> bool {
    let Some(row) = &sample.first_row else { return false };
    let blocks = row.get("hash_ids").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let tokens = row.get("input_length").and_then(Value::as_u64).unwrap_or(0);
    let is_of_bailian = row.contains_key("chat_id") || row.contains_key("parent_chat_id");
    !is_of_bailian && row.contains_key("timestamp") && blocks > 1 && tokens.div_ceil(RULES.block.into()) == blocks
}

#[cfg(test)]
mod tests {
    use crate::sources::{Timing, read_text};
    use streamgauge_core::Nanos;

    #[test]
    fn blocks_of_16_tokens_and_times_in_seconds() {
        let text = concat!(
            r#"{"timestamp": 1.5, "input_length": 40, "output_length": 7, "hash_ids": [1, 2, 3]}"#,
            "\n",
            r#"{"timestamp": 2.25, "input_length": 33, "output_length": 9, "hash_ids": [1, 2, 4]}"#
        );
        let trace = read_text(text, Timing::Timed).unwrap();
        let turns: Vec<_> = trace.turns().collect();
        assert_eq!([turns[0].at, turns[1].at], [Some(Nanos::from_millis(1_500)), Some(Nanos::from_millis(2_250))]);
        let blocks = turns[1].blocks.as_ref().unwrap();
        assert_eq!((blocks.size, &blocks.ids[..]), (16, &[1, 2, 4][..]));
        // Mooncake's rows have a block for each 512 tokens.
        let text = r#"{"timestamp": 1.5, "input_length": 1500, "output_length": 7, "hash_ids": [1, 2, 3]}"#;
        let trace = read_text(text, Timing::Timed).unwrap();
        assert_eq!(trace.turns().next().unwrap().blocks.as_ref().unwrap().size, 512);
    }
}
