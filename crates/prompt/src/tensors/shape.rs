//! Shapes that a user gives for inputs whose dimensions the model leaves open.

/// Reads `NAME:D1,D2,..`, the value of a `--shape`. The last colon ends the name.
///
/// # Errors
/// When it is not of that form, or a dimension is not a whole number of at least 1: what is wrong and what is accepted, without the
/// flag's name.
pub fn parse(text: &str) -> Result<(String, Vec<i64>), String> {
    let form = "a shape is NAME:D1,D2,.., such as text_input:1";
    let (name, dims) = text.rsplit_once(':').ok_or_else(|| format!("`{text}` has no colon; {form}"))?;
    if name.is_empty() {
        return Err(format!("`{text}` names no input; {form}"));
    }
    let dims = dims.split(',').map(|dim| match dim.trim().parse::<i64>() {
        Ok(dim) if dim > 0 => Ok(dim),
        _ => Err(format!("`{dim}` in `{text}` is not a whole number of at least 1; {form}")),
    });
    Ok((name.to_owned(), dims.collect::<Result<_, _>>()?))
}

/// A shape as it is shown: `[-1,4]`.
pub(super) fn shown(shape: &[i64]) -> String {
    let dims: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("[{}]", dims.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_have_colons() {
        assert_eq!(parse("a:b:3,4").unwrap(), ("a:b".to_owned(), vec![3, 4]));
        assert_eq!(parse("text_input:1").unwrap(), ("text_input".to_owned(), vec![1]));
    }

    #[test]
    fn what_is_no_shape_is_refused() {
        let form = "a shape is NAME:D1,D2,.., such as text_input:1";
        for (text, words) in [
            ("x", "`x` has no colon"),
            (":1", "`:1` names no input"),
            ("x:", "`` in `x:` is not a whole number of at least 1"),
            ("x:2,-1", "`-1` in `x:2,-1` is not a whole number of at least 1"),
            ("x:0", "`0` in `x:0` is not a whole number of at least 1"),
        ] {
            assert_eq!(parse(text).unwrap_err(), format!("{words}; {form}"));
        }
    }
}
