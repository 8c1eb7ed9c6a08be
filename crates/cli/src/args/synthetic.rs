//! Arguments that shape synthetic prompts beyond their mean lengths.

use crate::args::choice::{SAMPLING, one_of};
use crate::args::values::{at_least_one, at_least_zero, factor, millis, whole};
use clap::Args;
use streamgauge_core::clock::Nanos;
use streamgauge_core::plan::Length;
use streamgauge_core::sampling::Sampling;
use streamgauge_core::synthesis::{LengthPair, LengthRange};

/// The most tokens of a text.
const LONGEST: u32 = 10_000_000;
/// How far the shares of a distribution may be from 100 percent, for numbers such as 33.33.
const ROUNDING: f64 = 0.02;

/// Arguments that shape synthetic prompts beyond their mean lengths.
#[derive(Args, Clone, Debug)]
pub struct SyntheticArgs {
    /// Draw the input length evenly from a range of tokens
    #[arg(long, value_name = "MIN,MAX", value_parser = range, conflicts_with_all = ["isl", "isl_stddev"], help_heading = "Input")]
    pub isl_range: Option<LengthRange>,
    /// Draw the output length to request evenly from a range of tokens
    #[arg(long, value_name = "MIN,MAX", value_parser = range, conflicts_with_all = ["osl", "osl_stddev"], help_heading = "Input")]
    pub osl_range: Option<LengthRange>,
    /// Draw the input and output lengths evenly around --isl and --osl: `R` or `around:R` takes L·(1-R) to L·(1+R), as vLLM, TensorRT-LLM and AIPerf do; `up-to:R` takes L·R to L, as vllm-bench does
    #[arg(long, value_name = "[MEANING:]RATIO", value_parser = ratio, conflicts_with_all = ["isl_range", "osl_range", "isl_stddev", "osl_stddev"], help_heading = "Input")]
    pub random_range_ratio: Option<RangeRatio>,
    /// Draw the input and output lengths together: pairs of ISL,OSL with their shares in percent, such as `256,128:40;512,256:60`; a length may have a standard deviation, `256|10`
    #[arg(long, visible_alias = "sequence-distribution", value_name = "PAIRS", value_parser = pairs, conflicts_with_all = ["isl", "isl_stddev", "osl", "osl_stddev", "isl_range", "osl_range", "random_range_ratio"], help_heading = "Input")]
    pub seq_dist: Option<SequenceDistribution>,
    /// Begin every conversation with the same system prompt of this many tokens, in addition to the input length
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u32>(1, LONGEST), help_heading = "Input")]
    pub shared_system_prompt_length: Option<u32>,
    /// Begin every conversation with a user message of this many tokens, a different one in each, in addition to the input length
    #[arg(long, value_name = "TOKENS", value_parser = whole::<u32>(1, LONGEST), help_heading = "Input")]
    pub user_context_prompt_length: Option<u32>,
    /// Send prompts as the ids of their tokens instead of text; completions and embeddings only
    #[arg(long, visible_aliases = ["tokenize-on-client", "prompt-token-ids"], help_heading = "Input")]
    pub prompt_as_token_ids: bool,

    /// Order in which prompts, or the rows of --input-file, are taken; drawn from --random-seed
    #[arg(long, visible_alias = "dataset-sampling-strategy", value_parser = one_of(SAMPLING), default_value = "sequential", conflicts_with = "fixed_schedule", help_heading = "Input")]
    pub sampling: Sampling,

    /// Make this many conversations; without another stop rule, the run ends after each has been held once [default: as many as --num-dataset-entries]
    #[arg(long, visible_aliases = ["num-conversations", "num-sessions"], value_name = "N", value_parser = whole::<u32>(1, 10_000_000), conflicts_with_all = ["input_file", "num_dataset_entries"], help_heading = "Conversations")]
    pub conversation_num: Option<u32>,
    /// Mean number of turns of a conversation; later turns are sent with the server's answers before them
    #[arg(long, visible_alias = "session-turns-mean", value_name = "TURNS", value_parser = turns, conflicts_with = "input_file", help_heading = "Conversations")]
    pub conversation_turn_mean: Option<f64>,
    /// Standard deviation of the number of turns
    #[arg(long, visible_alias = "session-turns-stddev", value_name = "TURNS", value_parser = at_least_zero, conflicts_with = "input_file", help_heading = "Conversations")]
    pub conversation_turn_stddev: Option<f64>,
    /// Mean time from an answer to the next turn of its conversation, in ms
    #[arg(long, visible_alias = "session-turn-delay-mean", value_name = "TIME", value_parser = millis, conflicts_with = "input_file", help_heading = "Conversations")]
    pub conversation_turn_delay_mean: Option<Nanos>,
    /// Standard deviation of that time, in ms
    #[arg(long, visible_alias = "session-turn-delay-stddev", value_name = "TIME", value_parser = millis, conflicts_with = "input_file", help_heading = "Conversations")]
    pub conversation_turn_delay_stddev: Option<Nanos>,
    /// Multiply the times between the turns of synthetic conversations by this
    #[arg(long, visible_alias = "session-delay-ratio", value_name = "RATIO", value_parser = factor, help_heading = "Conversations")]
    pub conversation_turn_delay_ratio: Option<f64>,
}

/// A range of lengths as a share of a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeRatio {
    /// From L·(1 − R) to L·(1 + R).
    Around(f64),
    /// From L·R to L.
    UpTo(f64),
}

/// Pairs of lengths that are drawn together.
#[derive(Clone, Debug, PartialEq)]
pub struct SequenceDistribution(pub Vec<LengthPair>);

impl RangeRatio {
    /// The range of lengths about a mean.
    pub fn range(self, mean: f64) -> LengthRange {
        match self {
            RangeRatio::Around(ratio) => LengthRange::around(mean, ratio),
            RangeRatio::UpTo(ratio) => LengthRange::up_to(mean, ratio),
        }
    }
}

fn range(text: &str) -> Result<LengthRange, String> {
    let tokens = |text: &str| text.trim().parse().ok().filter(|tokens| (1..=LONGEST).contains(tokens));
    let ends = text.split_once([',', ':', '-']).map(|(least, most)| (tokens(least), tokens(most)));
    match ends {
        Some((Some(least), Some(most))) if least <= most => Ok(LengthRange { least, most }),
        _ => Err(format!("give the shortest and the longest length in tokens, such as 100,200, from 1 to {LONGEST}")),
    }
}

fn ratio(text: &str) -> Result<RangeRatio, String> {
    let (meaning, number) = text.split_once(':').unwrap_or(("around", text));
    let number = number.trim().parse::<f64>().ok();
    match (meaning.trim(), number) {
        ("around", Some(ratio)) if (0.0..1.0).contains(&ratio) => Ok(RangeRatio::Around(ratio)),
        ("up-to", Some(ratio)) if (0.0..=1.0).contains(&ratio) => Ok(RangeRatio::UpTo(ratio)),
        _ => Err("give a ratio from 0 to below 1, such as 0.2 or around:0.2, or up-to: and one from 0 to 1".to_owned()),
    }
}

fn turns(text: &str) -> Result<f64, String> {
    match at_least_one(text) {
        Ok(turns) if turns <= 10_000.0 => Ok(turns),
        _ => Err("give a number of turns from 1 to 10000".to_owned()),
    }
}

fn pairs(text: &str) -> Result<SequenceDistribution, String> {
    let pairs = text.split(';').filter(|pair| !pair.trim().is_empty()).map(pair).collect::<Result<Vec<_>, _>>()?;
    let whole = pairs.iter().fold(0.0, |sum, pair| sum + pair.percent);
    match pairs.is_empty() || (whole - 100.0).abs() > ROUNDING {
        true => Err(format!("the shares sum to {whole} percent; give shares that sum to 100")),
        false => Ok(SequenceDistribution(pairs)),
    }
}

fn pair(text: &str) -> Result<LengthPair, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "`{text}` is not a pair of lengths with a share; give ISL,OSL:PERCENT, such as 256,128:40 or 256|10,128|5:40, with lengths from 1 to {LONGEST} tokens"
        )
    };
    let (lengths, percent) = text.rsplit_once(':').ok_or_else(wrong)?;
    let (input, output) = lengths.split_once(',').ok_or_else(wrong)?;
    let percent = percent.trim().trim_end_matches('%').parse::<f64>().ok();
    let percent = percent.filter(|percent| *percent > 0.0 && *percent <= 100.0 + ROUNDING).ok_or_else(wrong)?;
    Ok(LengthPair { percent, input: length(input).ok_or_else(wrong)?, output: length(output).ok_or_else(wrong)? })
}

/// A mean, or a mean and a standard deviation behind a bar.
fn length(text: &str) -> Option<Length> {
    let (mean, stddev) = text.split_once('|').unwrap_or((text, "0"));
    let (mean, stddev) = (at_least_one(mean.trim()).ok()?, at_least_zero(stddev.trim()).ok()?);
    Some(Length { mean, stddev })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_aiperf_writes_them() {
        let SequenceDistribution(read) = pairs("256|10,128:40; 512,256|5.5:60").unwrap();
        let length = |mean, stddev| Length { mean, stddev };
        assert_eq!(
            read,
            [
                LengthPair { percent: 40.0, input: length(256.0, 10.0), output: length(128.0, 0.0) },
                LengthPair { percent: 60.0, input: length(512.0, 0.0), output: length(256.0, 5.5) },
            ]
        );
        assert!(pairs("1,1:33.33;1,1:33.33;1,1:33.33").is_ok());
        for (text, words) in [
            ("", "sum to 0 percent"),
            ("256,128:40", "sum to 40 percent"),
            ("256:100", "`256:100` is not a pair"),
            ("256,128", "is not a pair"),
            ("0,128:100", "from 1 to"),
            ("256|-1,128:100", "is not a pair"),
            ("256,nan:100", "is not a pair"),
            ("256,128:0;1,1:100", "`256,128:0` is not"),
        ] {
            let error = pairs(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_ratio_says_its_meaning() {
        assert_eq!(ratio("0.2"), Ok(RangeRatio::Around(0.2)));
        assert_eq!(ratio("around:0"), Ok(RangeRatio::Around(0.0)));
        assert_eq!(ratio("up-to:1"), Ok(RangeRatio::UpTo(1.0)));
        for text in ["1", "-0.1", "up-to:1.1", "about:0.1", "x", "nan"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_have_both_ends() {
        assert_eq!(range("100,200"), Ok(LengthRange { least: 100, most: 200 }));
        for text in ["100", "200,100", "0,5", "1,10000001", "a,b"] {
            assert!(range(text).is_err(), "{text}");
        }
    }
}
