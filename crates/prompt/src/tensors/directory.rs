//! Inputs from a directory: a file for each input, called like it, with raw bytes or a string a line; and for outputs likewise what
//! they must be.

use super::steps::Draft;
use super::{InputError, InputOptions, shape, value};
use std::fs;
use std::path::Path;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// The one step that a directory holds.
pub(super) fn read(path: &Path, model: &ModelInfo, options: &InputOptions) -> Result<Draft, InputError> {
    let failed = |source| InputError::Read { path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    for name in &names {
        if !model.inputs.iter().chain(&model.outputs).any(|spec| *name == *spec.name) {
            let reason = format!(
                "the model {} has no input or output of this name; its inputs are {}, its outputs {}",
                model.name,
                shape::names(&model.inputs),
                shape::names(&model.outputs)
            );
            return Err(InputError::File { path: path.join(name), reason });
        }
    }
    let has = |spec: &TensorSpec| names.iter().any(|name| *name == *spec.name);
    let mut draft = Draft::default();
    for spec in &model.inputs {
        if has(spec) {
            let known = shape::of(spec, &options.shapes);
            let known = known.ok_or_else(|| InputError::Asked(shape::open(spec)))?;
            draft.inputs.push(tensor(&path.join(&spec.name), spec, Some(known))?);
        } else if !spec.optional {
            let reason = format!("there is no file {}, and the model {} needs this input", spec.name, model.name);
            return Err(InputError::File { path: path.to_owned(), reason });
        }
    }
    for spec in model.outputs.iter().filter(|spec| has(spec)) {
        draft.expected.push(tensor(&path.join(&spec.name), spec, None)?);
    }
    Ok(draft)
}

fn tensor(path: &Path, spec: &TensorSpec, known: Option<&[i64]>) -> Result<Tensor, InputError> {
    let refuse = |reason: String| InputError::File { path: path.to_owned(), reason };
    let mut data = fs::read(path).map_err(|source| InputError::Read { path: path.to_owned(), source })?;
    if data.is_empty() {
        return Err(refuse("the file is empty".to_owned()));
    }
    if spec.datatype == Datatype::Bytes {
        data = lines(&data);
    }
    let elements = value::elements(&data, spec.datatype).map_err(refuse)?;
    let model = known.unwrap_or(&spec.shape);
    let shape = shape::filled(model, elements).ok_or_else(|| {
        let what = if spec.datatype == Datatype::Bytes { "lines" } else { "elements" };
        let wanted = Tensor::elements(model).map_or(String::new(), |wanted| format!(", which has {wanted}"));
        refuse(format!("{elements} {what} of {} do not fill shape {}{wanted}", spec.datatype, shape::shown(model)))
    })?;
    Ok(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data })
}

/// Lines as elements of BYTES; the end of the last one makes no other.
fn lines(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::with_capacity(text.len() + 4);
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n').for_each(|line| Tensor::push_string(&mut data, line));
    data
}
