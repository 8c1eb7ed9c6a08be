//! Reads the Prometheus text format as far as figures need it: names, labels and values. Lines that are not
//! samples (comments or malformed lines) are skipped, because a malformed page should not end a run.

/// A sample of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// Names and values of its labels, in the order of the page.
    pub labels: Vec<(&'a str, String)>,
    /// Its value.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of that label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }
}

/// The samples of a page, in its order.
pub fn samples(page: &str) -> Vec<Sample<'_>> {
    page.lines().filter_map(sample).collect()
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim();
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'))?;
    let (name, rest) = line.split_at(end);
    if name.is_empty() {
        return None;
    }
    let (labels, rest) = match rest.trim_start().strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    // A time may follow the value.
    let value = number(rest.split_whitespace().next()?)?;
    Some(Sample { name, labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Vec<(&str, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = quoted(after.trim_start().strip_prefix('"')?)?;
        labels.push((name.trim(), value));
        rest = after;
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted(rest: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = rest.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &rest[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

/// Parses a number as Prometheus writes it. Rust also parses `+Inf`, `-Inf` and `NaN`.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn samples_are_read_and_the_rest_is_passed_over() {
        let page = "# TYPE x counter\n\nx 1\nx{} 2\nx{a=\"b\"} 3.5e2 1795314551332\nx { a = \"b,}\" , c=\"d\\\"\\\\\\n\" , } +Inf\n\
                    broken{a=\"b\n{a=\"b\"} 4\nx{a=b} 5\nx\nx value\nns:y_1 NaN\r\n";
        let read: Vec<String> = samples(page)
            .into_iter()
            .map(|sample| format!("{} {:?} {}", sample.name, sample.labels, sample.value))
            .collect();
        let expected =
            ["x [] 1", "x [] 2", r#"x [("a", "b")] 350"#, r#"x [("a", "b,}"), ("c", "d\"\\\n")] inf"#, "ns:y_1 [] NaN"];
        assert_eq!(read, expected);
    }

    proptest! {
        #[test]
        fn any_page_is_read(page in "[x{}=\"\\\\,# \n0-9a-zé.]{0,80}") {
            samples(&page);
        }
    }
}
