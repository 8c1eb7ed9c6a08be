//! How prompts are made beyond the mean lengths of a [`PromptPlan`](crate::plan::PromptPlan).

use serde::{Deserialize, Serialize};

/// How prompts are made beyond the mean lengths of a plan. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Synthesis {
    /// Lengths of prompts and answers that are drawn together, in the place of the plan's lengths. Empty where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<LengthPair>,
    /// The input lengths, where they are drawn evenly from a range instead of the plan's normal distribution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_range: Option<LengthRange>,
    /// The requested output lengths, where they are drawn evenly from a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_range: Option<LengthRange>,
    /// The number of tokens of a system prompt that all conversations begin with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_tokens: Option<u32>,
    /// The number of tokens of a message of the user that each conversation begins with, another in each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_context_tokens: Option<u32>,
    /// The member of a request's body that holds the prompt as token ids, where it is sent as ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<String>,
    /// The conversations that are made, where prompts are to be turns of conversations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversations: Option<ConversationPlan>,
}

/// A normal distribution of lengths in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Length {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; with 0 every length is the mean.
    pub stddev: f64,
}

/// Lengths of a prompt and of its answer that are drawn together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthPair {
    /// How often it is drawn, in percent. The shares of all pairs sum to 100.
    pub percent: f64,
    /// The input length in tokens.
    pub input: Length,
    /// The output length to ask for, in tokens.
    pub output: Length,
}

/// A range of whole numbers of tokens, each of which is equally likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthRange {
    /// The shortest length.
    pub least: u32,
    /// The longest length.
    pub most: u32,
}

/// Conversations of several turns that are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConversationPlan {
    /// How many there are.
    pub count: u32,
    /// The number of turns of each: a normal distribution, rounded to whole numbers from 1.
    pub turns: Spread,
    /// How long after an answer the next turn is sent, in milliseconds: a normal distribution, rounded to whole numbers from 0.
    pub delay_ms: Spread,
    /// What all delays are multiplied by.
    pub delay_ratio: f64,
}

/// A normal distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation; with 0 every value is the mean.
    pub stddev: f64,
}

impl Synthesis {
    /// Whether nothing is asked for beyond the plan's lengths.
    pub fn is_plain(&self) -> bool {
        *self == Synthesis::default()
    }
}

impl LengthRange {
    /// The lengths around `length`: from ⌊length·(1 − ratio)⌋ to ⌈length·(1 + ratio)⌉, at least 1. This is how `vllm bench serve` and
    /// TensorRT-LLM's `benchmark_serving` read `--random-range-ratio`; the latter rounds the upper end down.
    pub fn around(length: f64, ratio: f64) -> LengthRange {
        LengthRange::of((length * (1.0 - ratio)).floor(), (length * (1.0 + ratio)).ceil())
    }

    /// The lengths up to `length`: from ⌊length·ratio⌋ to `length`, at least 1. This is how `vllm-bench` reads `--random-range-ratio`.
    pub fn up_to(length: f64, ratio: f64) -> LengthRange {
        LengthRange::of((length * ratio).floor(), length)
    }

    /// Converting a float saturates, so no value makes it fail.
    fn of(least: f64, most: f64) -> LengthRange {
        let least = (least as u32).max(1);
        LengthRange { least, most: (most as u32).max(least) }
    }

    /// The distribution's mean and standard deviation: that of a discrete uniform distribution of n values is √((n² − 1)/12).
    pub fn length(self) -> Length {
        let values = f64::from(self.most.saturating_sub(self.least)) + 1.0;
        let mean = f64::midpoint(f64::from(self.least), f64::from(self.most));
        Length { mean, stddev: ((values * values - 1.0) / 12.0).sqrt() }
    }
}

impl LengthPair {
    /// The mean and the standard deviation of all that is drawn from `pairs`, by the law of total variance. `length` takes the input or the
    /// output length of a pair.
    pub fn mixed(pairs: &[LengthPair], length: impl Fn(&LengthPair) -> Length) -> Length {
        let whole: f64 = pairs.iter().map(|pair| pair.percent).sum();
        let average = |of: &dyn Fn(Length) -> f64| {
            pairs.iter().map(|pair| pair.percent * of(length(pair))).sum::<f64>() / whole.max(f64::MIN_POSITIVE)
        };
        let mean = average(&|length| length.mean);
        let variance = average(&|length| length.stddev.powi(2) + (length.mean - mean).powi(2));
        Length { mean, stddev: variance.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_two_meanings() {
        assert_eq!(LengthRange::around(100.0, 0.25), LengthRange { least: 75, most: 125 });
        assert_eq!(LengthRange::around(10.0, 0.33), LengthRange { least: 6, most: 14 });
        assert_eq!(LengthRange::up_to(100.0, 0.25), LengthRange { least: 25, most: 100 });
        assert_eq!(LengthRange::up_to(1.0, 0.0), LengthRange { least: 1, most: 1 });
        assert_eq!(LengthRange::around(1e300, 0.5).most, u32::MAX);
        let length = LengthRange { least: 1, most: 3 }.length();
        assert_eq!((length.mean, length.stddev), (2.0, (8.0_f64 / 12.0).sqrt()));
    }

    #[test]
    fn the_mean_of_pairs_is_weighted() {
        let fixed = |mean| Length { mean, stddev: 0.0 };
        let pair = |percent, input, output| LengthPair { percent, input: fixed(input), output: fixed(output) };
        let pairs = [pair(75.0, 100.0, 10.0), pair(25.0, 500.0, 50.0)];
        let input = LengthPair::mixed(&pairs, |pair| pair.input);
        assert_eq!((input.mean, input.stddev), (200.0, (0.75 * 1e4 + 0.25 * 9e4_f64).sqrt()));
        assert_eq!(LengthPair::mixed(&pairs, |pair| pair.output).mean, 20.0);
    }

    #[test]
    fn what_is_not_asked_for_is_not_written() {
        assert_eq!(serde_json::to_string(&Synthesis::default()).unwrap(), "{}");
        let range = Synthesis { input_range: Some(LengthRange { least: 1, most: 2 }), ..Synthesis::default() };
        let text = serde_json::to_string(&range).unwrap();
        assert_eq!(text, r#"{"input_range":{"least":1,"most":2}}"#);
        assert_eq!(serde_json::from_str::<Synthesis>(&text).unwrap(), range);
        assert!(!range.is_plain());
    }
}
