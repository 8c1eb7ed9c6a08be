//! Parsers of values that only Perf Analyzer's flags have.

use streamgauge_core::kserve::{ParameterValue, RequestParameter};

/// A percentage, 0 or more.
pub fn stability(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent),
        _ => Err("give a percentage of at least 0".to_owned()),
    }
}

/// A percentile from 1 to 99; -1 is none.
pub fn percentile(text: &str) -> Result<Option<u8>, String> {
    match text.parse::<i32>() {
        Ok(-1) => Ok(None),
        Ok(percentile @ 1..=99) => Ok(u8::try_from(percentile).ok()),
        _ => Err("give a whole number from 1 to 99, or -1 for none".to_owned()),
    }
}

/// Whole milliseconds; 0 is none.
pub fn threshold(text: &str) -> Result<Option<u64>, String> {
    match text.parse::<u64>() {
        Ok(millis) => Ok(Some(millis).filter(|millis| *millis > 0)),
        Err(_) => Err("give whole milliseconds, or 0 for none".to_owned()),
    }
}

/// `name:d1,d2,..`, split at the last colon, since names may have some.
pub fn shape(text: &str) -> Result<(String, Vec<i64>), String> {
    let refusal = || format!("`{text}` is not NAME:D1,D2,.. with dimensions of at least 1, such as INPUT:3,224");
    let (name, dims) = text.rsplit_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(refusal)?;
    let dim = |text: &str| text.trim().parse::<i64>().ok().filter(|dim| *dim > 0);
    let dims: Option<Vec<i64>> = dims.split(',').map(dim).collect();
    Ok((name.to_owned(), dims.ok_or_else(refusal)?))
}

/// `name:value:type` with bool, int or string.
pub fn parameter(text: &str) -> Result<RequestParameter, String> {
    let refusal = || format!("`{text}` is not NAME:VALUE:TYPE with bool, int or string, such as max_tokens:16:int");
    let (name, rest) = text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(refusal)?;
    let (value, kind) = rest.rsplit_once(':').ok_or_else(refusal)?;
    let value = match kind.to_ascii_lowercase().as_str() {
        "bool" => match value.to_ascii_lowercase().as_str() {
            "true" | "1" => ParameterValue::Bool(true),
            "false" | "0" => ParameterValue::Bool(false),
            _ => return Err(format!("`{value}` is not a bool; give true or false")),
        },
        "int" => match value.parse() {
            Ok(number) => ParameterValue::Int(number),
            Err(_) => return Err(format!("`{value}` is not an int of 64 bits")),
        },
        "string" => ParameterValue::String(value.to_owned()),
        _ => return Err(refusal()),
    };
    Ok(RequestParameter { name: name.to_owned(), value })
}

/// First id, and the one past the last where there is one.
pub type Ids = (u64, Option<u64>);

/// `start[:end]`, the end not among them.
pub fn ids(text: &str) -> Result<Ids, String> {
    let refusal = || format!("`{text}` is not START[:END] with whole numbers from 1 and an end above the start");
    let (start, end) = text.split_once(':').map_or((text, None), |(start, end)| (start, Some(end)));
    let start = start.parse::<u64>().ok().filter(|start| *start > 0).ok_or_else(refusal)?;
    let end = end.map(|end| end.parse::<u64>().ok().filter(|end| *end > start).ok_or_else(refusal)).transpose()?;
    Ok((start, end))
}

/// A percentage from 0 to 100, as a share.
pub fn variation(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a percentage from 0 to 100".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_split_at_the_last_colon() {
        assert_eq!(shape("a:b:3,224").unwrap(), ("a:b".to_owned(), vec![3, 224]));
        for bad in ["x", "x:", ":3", "x:0", "x:-1", "x:1,,2", "x:1.5"] {
            assert!(shape(bad).unwrap_err().contains("NAME:D1,D2"), "{bad}");
        }
    }

    #[test]
    fn parameters_have_a_type() {
        let text = parameter("a:x:y:STRING").unwrap();
        assert_eq!(text.value, ParameterValue::String("x:y".into()));
        assert_eq!(parameter("a:-7:int").unwrap().value, ParameterValue::Int(-7));
        assert_eq!(parameter("a:TRUE:Bool").unwrap().value, ParameterValue::Bool(true));
        for bad in ["a:1", "a:1:float", ":1:int", "a:x:int", "a:2:bool"] {
            assert!(parameter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_and_percentiles() {
        assert_eq!([ids("3"), ids("3:9")], [Ok((3, None)), Ok((3, Some(9)))]);
        assert!(["0", "3:3", "9:3", "-1", "1:2:3", ""].into_iter().all(|bad| ids(bad).is_err()));
        assert_eq!([percentile("-1"), percentile("99")], [Ok(None), Ok(Some(99))]);
        assert!(["0", "100", "x", "-2", "95.5"].into_iter().all(|bad| percentile(bad).is_err()));
        assert_eq!([threshold("0"), threshold("20")], [Ok(None), Ok(Some(20))]);
    }
}
