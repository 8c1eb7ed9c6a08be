//! Which texts may be names of repositories of the hub.

/// Whether a text is a name as the hub allows them: `name` or `org/name`.
pub fn is_hub_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    !text.ends_with(".json") && text.split('/').count() <= 2 && text.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::is_hub_name;

    #[test]
    fn names_are_told_from_paths() {
        for name in ["gpt2", "meta-llama/Llama-3.1-8B", "a/b_c.d"] {
            assert!(is_hub_name(name), "{name}");
        }
        for other in ["", "./absent", "/absent/tokenizer.json", "absent.json", "a/b/c", "a//b", "a b", "-a", "../up"] {
            assert!(!is_hub_name(other), "{other}");
        }
    }
}
