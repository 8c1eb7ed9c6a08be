//! Members that are added to every body: `--extra-inputs`.

use anyhow::{Result, bail};
use serde_json::{Map, Value};

/// What is accepted.
const FORMS: &str = "give `name:value`, `name` (which is sent as null), or a JSON object";

/// GenAI-Perf's `--extra-inputs`: `name:value`, `name`, or a JSON object.
///
/// # Errors
/// A sentence that names the flag and the input.
pub fn extra_inputs(inputs: &[String]) -> Result<Map<String, Value>> {
    let mut extra = Map::new();
    for input in inputs {
        let members = match input.trim().starts_with('{') {
            true => match serde_json::from_str::<Map<String, Value>>(input) {
                Ok(members) => members,
                Err(error) => bail!("--extra-inputs {input}: not a JSON object ({error}); {FORMS}"),
            },
            false => Map::from_iter([plain_input(input)?]),
        };
        for (name, value) in members {
            if extra.insert(name.clone(), value).is_some() {
                bail!("--extra-inputs: `{name}` is given twice; give each name once");
            }
        }
    }
    Ok(extra)
}

fn plain_input(input: &str) -> Result<(String, Value)> {
    if input.trim_start().starts_with(['[', '"']) {
        bail!("--extra-inputs {input}: a list or a text has no member's name; {FORMS}");
    }
    let (name, value) = match input.split_once(':') {
        None => (input, Value::Null),
        Some((name, text)) => (name, value(input, text)?),
    };
    if let Some((name, value)) = name.split_once('=') {
        bail!("--extra-inputs {input}: a name ends with a colon, not with `=`; give `{name}:{value}`");
    }
    if name.trim().is_empty() {
        bail!("--extra-inputs {input}: no name; {FORMS}");
    }
    Ok((name.to_owned(), value))
}

/// `true`, `false`, `null`, numbers, lists, objects and texts in quotation marks as JSON has them, `true` and `false` in any
/// case; anything else is a text as it stands.
fn value(input: &str, text: &str) -> Result<Value> {
    match text.to_ascii_lowercase().as_str() {
        "true" => return Ok(true.into()),
        "false" => return Ok(false.into()),
        "null" => return Ok(Value::Null),
        _ => {}
    }
    if looks_like_a_number(text) {
        return match number(text) {
            Some(number) => Ok(number),
            None => {
                bail!("--extra-inputs {input}: JSON cannot say the number {text} exactly enough; give a smaller one")
            }
        };
    }
    match (text.chars().next(), serde_json::from_str(text)) {
        (Some('[' | '{' | '"'), Ok(value)) => Ok(value),
        (Some(opening @ ('[' | '{')), Err(error)) => {
            bail!("--extra-inputs {input}: the value begins with `{opening}` and is not JSON ({error}); {FORMS}")
        }
        _ if text.contains(':') => {
            bail!("--extra-inputs {input}: more than one colon; put a text that has one in quotation marks, or {FORMS}")
        }
        _ => Ok(text.into()),
    }
}

/// An optional sign, digits with at most one point, an optional exponent.
fn looks_like_a_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (left, right) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    are_digits(&format!("{left}{right}")) && exponent.is_none_or(are_digits)
}

/// A whole number as such, any other number as a double. Returns `None` if neither can hold it.
fn number(text: &str) -> Option<Value> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return text.parse::<u64>().map(Value::from).or_else(|_| text.parse::<i64>().map(Value::from)).ok();
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(inputs: &[&str]) -> Result<Map<String, Value>> {
        extra_inputs(&inputs.iter().map(|input| (*input).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn values_have_the_types_that_json_has() {
        let inputs = [
            "a:true",
            "b:12",
            "c:0.5",
            "d:text",
            "e",
            r#"{"f": {"g": [1]}}"#,
            "h:-1",
            "i:-0.5",
            "j:1e-5",
            "k:null",
            r#"l:["a:b", 2]"#,
            r#"m:{"n":{"o":-1}}"#,
            r#"p:"7""#,
            "q:+3",
            "r:.5",
            "s:FALSE",
            "t:007",
            "u:2E+3",
            "v:-",
            "w:1.2.3",
            "x:",
            r#"y:"http://h""#,
        ];
        let expected = concat!(
            r#"{"a":true,"b":12,"c":0.5,"d":"text","e":null,"f":{"g":[1]},"h":-1,"i":-0.5,"j":0.00001,"k":null,"#,
            r#""l":["a:b",2],"m":{"n":{"o":-1}},"p":"7","q":3,"r":0.5,"s":false,"t":7,"u":2000.0,"v":"-","w":"1.2.3","#,
            r#""x":"","y":"http://h"}"#
        );
        assert_eq!(Value::Object(extra(&inputs).unwrap()).to_string(), expected);
    }

    #[test]
    fn what_is_no_member_is_refused_with_what_to_give() {
        for (inputs, words) in [
            (&["a:1", "a:2"][..], "`a` is given twice"),
            (&["a:b:c"], "more than one colon"),
            (&[":x"], "no name"),
            (&["{"], "not a JSON object"),
            (&["[1,2]"], "no member's name"),
            (&["temperature=0.5"], "give `temperature:0.5`"),
            (&["temperature=0.5:1"], "not with `=`"),
            (&["a:[1,"], "is not JSON"),
            (&["a:1e999"], "JSON cannot say the number 1e999"),
            (&["a:123456789012345678901234"], "JSON cannot say the number"),
        ] {
            let error = extra(inputs).unwrap_err().to_string();
            assert!(error.starts_with("--extra-inputs") && error.contains(words), "{inputs:?}: {error}");
        }
    }
}
