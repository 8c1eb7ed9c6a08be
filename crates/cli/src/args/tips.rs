//! What was likely meant by an unknown flag, if the flag with the most similar spelling is a different one.

/// Flags of other tools (vLLM's, SGLang's and llmperf's benchmarks, k6, wrk, curl), and what they are here.
pub const ELSEWHERE: &[(&str, &str)] = &[
    ("--base-url", "--url"),
    ("--cacert", "--ca-file"),
    ("--dataset-name", "--isl and --osl"),
    ("--duration", "--benchmark-duration"),
    ("--host", "--url"),
    ("--input-len", "--isl"),
    ("--input-length", "--isl"),
    ("--input-tokens", "--isl"),
    ("--key", "--api-key"),
    ("--max-tokens", "--osl"),
    ("--mean-input-tokens", "--isl"),
    ("--mean-output-tokens", "--osl"),
    ("--num-concurrent-requests", "--concurrency"),
    ("--output-len", "--osl"),
    ("--output-length", "--osl"),
    ("--output-tokens", "--osl"),
    ("--parallel", "--concurrency"),
    ("--port", "--url"),
    ("--qps", "--request-rate"),
    ("--random-input-len", "--isl"),
    ("--random-output-len", "--osl"),
    ("--rate", "--request-rate"),
    ("--requests", "--request-count"),
    ("--rps", "--request-rate"),
    ("--stream", "--streaming"),
    ("--timeout", "--request-timeout"),
    ("--token", "--api-key"),
    ("--users", "--concurrency"),
    ("--vus", "--concurrency"),
    ("-k", "--insecure"),
    ("-n", "--request-count"),
];

/// The name of this program for `flag`, if other tools have a flag of that name.
pub fn meant(flag: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(name, _)| *name == flag).map(|(_, meant)| *meant)
}

/// The flag that was given a negative value, and the value, if `words` hold a value that is not a plain number (`-5s`), which would
/// be read as a flag.
pub fn negative_value(words: &[String]) -> Option<(&str, &str)> {
    let is_negative = |word: &str| {
        word.strip_prefix('-')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit() || first == '.'))
    };
    words.windows(2).find_map(|pair| match pair {
        [flag, value]
            if flag.starts_with("--") && !flag.contains('=') && is_negative(value) && value.parse::<f64>().is_err() =>
        {
            Some((flag.as_str(), value.as_str()))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_values_are_found_behind_their_flags() {
        let found = |words: &str| {
            let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            negative_value(&words).map(|(flag, value)| format!("{flag} {value}"))
        };
        assert_eq!(found("profile --benchmark-duration -5s").as_deref(), Some("--benchmark-duration -5s"));
        assert_eq!(found("profile --connect-timeout -.5m -m x").as_deref(), Some("--connect-timeout -.5m"));
        // A plain number reaches its flag, which refuses it in its own words.
        assert_eq!(found("profile --isl -5"), None);
        assert_eq!(found("profile --streaming -m x"), None);
    }
}
