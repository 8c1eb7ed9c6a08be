//! The members of chat and completion bodies beside the prompt.

use crate::options::BodyOptions;
use serde_json::{Map, Value, json};
use streamgauge_core::Prompt;

/// Adds the members that ask for a stream, for an output length and for the server's token counts, in GenAI-Perf's order, ours last.
pub(crate) fn insert(body: &mut Map<String, Value>, options: &BodyOptions, prompt: &Prompt) {
    if options.streaming {
        body.insert("stream".into(), true.into());
    }
    if let Some(length) = prompt.requested_output_tokens {
        body.insert(options.length_field.name().into(), length.into());
        if options.output_exact {
            body.insert("min_tokens".into(), length.into());
            body.insert("ignore_eos".into(), true.into());
        }
    }
    if options.streaming && options.ask_usage {
        let mut members = json!({"include_usage": true});
        if options.continuous_usage {
            members["continuous_usage_stats"] = true.into();
        }
        body.insert("stream_options".into(), members);
    }
}
