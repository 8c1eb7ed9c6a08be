//! Shapes: what a user gives for inputs whose dimensions the model leaves open, and how shapes fit each other.

use super::InputError;
use std::collections::HashSet;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::message;
use streamgauge_core::setting::{Message, Setting};
use streamgauge_core::tensor::{Tensor, TensorSpec};

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

/// Holds the shapes that a user gave against the model's inputs.
pub(super) fn check(given: &[(String, Vec<i64>)], model: &ModelInfo) -> Result<(), InputError> {
    let mut seen = HashSet::new();
    for (name, shape) in given {
        let given = format!(" {name}:{}: ", commas(shape));
        let refuse = |reason: String| Err(InputError::Asked(message![Setting::Shape, given, reason]));
        let Some(spec) = model.inputs.iter().find(|spec| spec.name == *name) else {
            return refuse(format!("the model {} has no input {name}; it has {}", model.name, names(&model.inputs)));
        };
        if !seen.insert(name) {
            return refuse(format!("the shape of {name} is given twice"));
        }
        if !fits(shape, &spec.shape) {
            return refuse(format!("input {name} of the model {} has shape {}", model.name, shown(&spec.shape)));
        }
    }
    Ok(())
}

/// The shape of an input without its batch: the user's, else the model's where that leaves nothing open.
pub(super) fn of<'a>(spec: &'a TensorSpec, given: &'a [(String, Vec<i64>)]) -> Option<&'a [i64]> {
    let user = given.iter().find(|(name, _)| *name == spec.name).map(|(_, shape)| shape);
    let shape = user.unwrap_or(&spec.shape);
    shape.iter().all(|dim| *dim >= 0).then_some(shape)
}

/// What to say of an input whose shape is open.
pub(super) fn open(spec: &TensorSpec) -> Message {
    let dims: Vec<String> =
        spec.shape.iter().map(|dim| if *dim < 0 { "D".to_owned() } else { dim.to_string() }).collect();
    let name = &spec.name;
    message![
        format!("input {name} has shape {}: give ", shown(&spec.shape)),
        Setting::Shape,
        format!(" {name}:{}", dims.join(",")),
    ]
}

/// Whether a shape is one of those that the model takes.
pub(super) fn fits(shape: &[i64], model: &[i64]) -> bool {
    shape.len() == model.len() && shape.iter().zip(model).all(|(dim, open)| dim == open || *open < 0 && *dim >= 0)
}

/// The model's shape with its one open dimension as so many elements make it; none where there is no such shape.
pub(super) fn filled(model: &[i64], elements: u64) -> Option<Vec<i64>> {
    let mut known = model.to_vec();
    let open = known.iter_mut().find(|dim| **dim < 0);
    if let Some(open) = open {
        *open = 1;
        let rest = Tensor::elements(&known)?;
        let dim = i64::try_from(elements.checked_div(rest)?).ok()?;
        *known.iter_mut().zip(model).find(|(_, open)| **open < 0)?.0 = dim;
    }
    (Tensor::elements(&known)? == elements).then_some(known)
}

/// Names of inputs or outputs, as a sentence lists them.
pub(super) fn names(specs: &[TensorSpec]) -> String {
    match specs.len() {
        0 => "none".to_owned(),
        _ => specs.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", "),
    }
}

fn commas(shape: &[i64]) -> String {
    shape.iter().map(i64::to_string).collect::<Vec<_>>().join(",")
}

/// A shape as it is shown: `[-1,4]`.
pub(super) fn shown(shape: &[i64]) -> String {
    format!("[{}]", commas(shape))
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
    fn the_one_open_dimension_is_filled() {
        assert_eq!(filled(&[2, -1], 6), Some(vec![2, 3]));
        assert_eq!(filled(&[2, -1], 0), Some(vec![2, 0]));
        assert_eq!(filled(&[], 1), Some(vec![]));
        for (model, elements) in [(&[2, -1][..], 5), (&[-1, -1], 4), (&[0, -1], 4), (&[3], 4), (&[], 2)] {
            assert_eq!(filled(model, elements), None, "{model:?}");
        }
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
