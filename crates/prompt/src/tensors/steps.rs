//! Files of steps: `{"data": [step, ..]}` for one stream, `{"data": [[step, ..], ..]}` for a stream a list, with
//! `validation_data` of the same form for what must come back.

use super::json::{self, Fault, Node, Value};
use super::value::{self, Role};
use super::{InputError, InputOptions, shape};
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use streamgauge_core::Nanos;
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::message;
use streamgauge_core::setting::Setting;
use streamgauge_core::tensor::{Tensor, TensorSpec};

/// Milliseconds in a signed 64-bit number of nanoseconds.
const LATEST: f64 = 9e12;

/// Members of a step that are no inputs; an input of the same name goes before them.
const SPECIAL: [&str; 4] = ["model", "timestamp", "delay", "session_id"];

/// What a step gives, before steps are joined to batches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Draft {
    pub(super) inputs: Vec<Tensor>,
    pub(super) expected: Vec<Tensor>,
    pub(super) timing: Timing,
}

/// When a step is due and what it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) at: Option<Nanos>,
    pub(super) delay: Option<Nanos>,
    pub(super) session: Option<String>,
}

/// A step's place, as one would name it in the file: `data[0][2]`.
pub(super) struct Place<'a, 'n> {
    pub(super) text: &'a str,
    /// Its first byte.
    at: usize,
    name: String,
    pub(super) members: &'n [(Cow<'a, str>, Node<'a>)],
}

/// Steps with tensors for `model`, in streams.
pub(super) fn read(
    files: &[PathBuf],
    model: &ModelInfo,
    options: &InputOptions,
) -> Result<Vec<Vec<Draft>>, InputError> {
    read_streams(files, |step, validation| {
        let mut draft = Draft::default();
        for (name, node) in step.members {
            if let Some(spec) = find(&model.inputs, name) {
                let known = shape::of(spec, &options.shapes);
                draft.inputs.push(step.within(name, value::tensor(node, spec, known, Role::Input))?);
            } else if !step.within(name, draft.timing.take(name, node))? {
                return step.within(name, Err(unknown(name, node, model)));
            }
        }
        let missing =
            model.inputs.iter().find(|spec| !spec.optional && find_member(step.members, &spec.name).is_none());
        if let Some(spec) = missing {
            let reason = format!("input {} is missing, and the model {} needs it", spec.name, model.name);
            return Err(step.fault(&reason));
        }
        if let Some(step) = validation {
            for (name, node) in step.members {
                draft.expected.push(step.within(name, expected(node, name, model))?);
            }
        }
        Ok(draft)
    })
}

fn expected(node: &Node<'_>, name: &str, model: &ModelInfo) -> Result<Tensor, Fault> {
    let spec = find(&model.outputs, name).ok_or_else(|| {
        let reason = format!("the model {} has no such output; it has {}", model.name, shape::names(&model.outputs));
        Fault::new(node.at, reason)
    })?;
    value::tensor(node, spec, None, Role::Output)
}

fn find<'a>(specs: &'a [TensorSpec], name: &str) -> Option<&'a TensorSpec> {
    specs.iter().find(|spec| spec.name == name)
}

fn find_member<'a, 'n>(members: &'n [(Cow<'a, str>, Node<'a>)], name: &str) -> Option<&'n Node<'a>> {
    members.iter().find(|(known, _)| known == name).map(|(_, node)| node)
}

fn unknown(name: &str, node: &Node<'_>, model: &ModelInfo) -> Fault {
    let reason = match name {
        "payload" => {
            "a payload is a body for an OpenAI endpoint; a model on Triton takes its inputs by name".to_owned()
        }
        _ => format!("the model {} has no such input; it has {}", model.name, shape::names(&model.inputs)),
    };
    Fault::new(node.at, reason)
}

impl Place<'_, '_> {
    /// A fault of the step as a whole.
    pub(super) fn fault(&self, reason: &str) -> Fault {
        Fault::new(self.at, reason).within(&self.name)
    }

    /// `result`, its fault with the name of the member that it is about.
    pub(super) fn within<T>(&self, name: &str, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| fault.within(&format!("{}.{name}", self.name)))
    }
}

impl Timing {
    /// Takes a member that is no input; whether it is one of those that are known.
    pub(super) fn take(&mut self, name: &str, node: &Node<'_>) -> Result<bool, Fault> {
        let node = match &node.value {
            Value::Array(values) if SPECIAL.contains(&name) => match &values[..] {
                [one] => one,
                _ => {
                    return Err(Fault::new(node.at, format!("{} values are given, and one is accepted", values.len())));
                }
            },
            _ => node,
        };
        match (name, &node.value) {
            // The model is the plan's; files that were made for GenAI-Perf name one all the same.
            ("model", Value::String(_)) => {}
            ("model", _) => return Err(Fault::new(node.at, format!("{} is not the name of a model", node.kind()))),
            ("timestamp", _) => self.at = Some(milliseconds(node)?),
            ("delay", _) => self.delay = Some(milliseconds(node)?),
            ("session_id", Value::String(text)) => self.session = Some(text.to_string()),
            ("session_id", Value::Number(text)) => self.session = Some((*text).to_owned()),
            ("session_id", _) => {
                return Err(Fault::new(
                    node.at,
                    format!("{} is not a session's id, a string or a number", node.kind()),
                ));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn milliseconds(node: &Node<'_>) -> Result<Nanos, Fault> {
    let number = match node.value {
        Value::Number(text) => text.parse().ok(),
        _ => None,
    };
    let in_range = number.filter(|value: &f64| (0.0..=LATEST).contains(value));
    in_range
        .map(|value| Nanos::from_secs_f64(value / 1e3))
        .ok_or_else(|| Fault::new(node.at, "this is not a number of milliseconds from 0"))
}

/// Reads the steps of all files with `read`, which gets a step and what is to be held against its answer.
pub(super) fn read_streams<T>(
    files: &[PathBuf],
    read: impl Fn(&Place<'_, '_>, Option<&Place<'_, '_>>) -> Result<T, Fault>,
) -> Result<Vec<Vec<T>>, InputError> {
    let mut form = None;
    let mut streams: Vec<Vec<T>> = Vec::new();
    for path in files {
        let text = text(path)?;
        let of_file = read_file(&text, &mut form, &read).map_err(|fault| at(path, &text, fault))?;
        match (form, streams.first_mut()) {
            (Some(Form::Steps), Some(one)) => one.extend(of_file.into_iter().flatten()),
            _ => streams.extend(of_file),
        }
    }
    match streams.is_empty() {
        true => Err(InputError::Asked(message![Setting::InputData, ": no file is given"])),
        false => Ok(streams),
    }
}

fn text(path: &Path) -> Result<String, InputError> {
    let bytes = fs::read(path).map_err(|source| InputError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let reason = format!("byte {} is not UTF-8, and a file of inputs is JSON", error.utf8_error().valid_up_to());
        InputError::File { path: path.to_owned(), reason }
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn at(path: &Path, text: &str, fault: Fault) -> InputError {
    let (line, column) = json::position(text, fault.at);
    InputError::At { path: path.to_owned(), line, column, reason: fault.reason }
}

/// What `data` is a list of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Steps,
    Streams,
}

const WHOLE: &str =
    "a file of inputs is {\"data\": [step, ..]}, or a list of such lists, with validation_data beside it";

fn read_file<'a, T>(
    text: &'a str,
    form: &mut Option<Form>,
    read: &impl Fn(&Place<'_, '_>, Option<&Place<'_, '_>>) -> Result<T, Fault>,
) -> Result<Vec<Vec<T>>, Fault> {
    let root = json::parse(text)?;
    let Value::Object(members) = &root.value else {
        return Err(Fault::new(root.at, format!("{} is not what is accepted: {WHOLE}", root.kind())));
    };
    if let Some((name, node)) = members.iter().find(|(name, _)| name != "data" && name != "validation_data") {
        return Err(Fault::new(node.at, format!("the member `{name}` is not known: {WHOLE}")));
    }
    let data = find_member(members, "data").ok_or_else(|| Fault::new(root.at, format!("data is missing: {WHOLE}")))?;
    let streams = streams(text, "data", data, form)?;
    let Some(validation) = find_member(members, "validation_data") else {
        let read = |stream: Vec<Place<'a, '_>>| stream.iter().map(|step| read(step, None)).collect();
        return streams.into_iter().map(read).collect();
    };
    let expected = self::streams(text, "validation_data", validation, form)?;
    let aligned = expected.len() == streams.len()
        && streams.iter().zip(&expected).all(|(steps, expected)| steps.len() == expected.len());
    if !aligned {
        let counts = |streams: &[Vec<Place<'_, '_>>]| {
            streams.iter().map(|steps| steps.len().to_string()).collect::<Vec<_>>().join(", ")
        };
        let (data, validation_data) = (counts(&streams), counts(&expected));
        let reason =
            format!("validation_data has {validation_data} steps where data has {data}; each step of data has one");
        return Err(Fault::new(validation.at, reason));
    }
    let pairs = streams.into_iter().zip(expected);
    pairs.map(|(steps, expected)| steps.iter().zip(&expected).map(|(a, b)| read(a, Some(b))).collect()).collect()
}

/// The steps of `data`, in streams.
fn streams<'a, 'n>(
    text: &'a str,
    name: &str,
    data: &'n Node<'a>,
    form: &mut Option<Form>,
) -> Result<Vec<Vec<Place<'a, 'n>>>, Fault> {
    let elements = array(data, name)?;
    let mut streams = Vec::new();
    let mut steps = Vec::new();
    for (i, element) in elements.iter().enumerate() {
        let name = format!("{name}[{i}]");
        let its = if matches!(element.value, Value::Array(_)) { Form::Streams } else { Form::Steps };
        if *form.get_or_insert(its) != its {
            let reason =
                "lists and steps are mixed; all steps stand in data itself, or all in lists, one for each stream";
            return Err(Fault::new(element.at, reason).within(&name));
        }
        match its {
            Form::Steps => steps.push(place(text, name, element)?),
            Form::Streams => {
                let of_stream = array(element, &name)?.iter().enumerate();
                streams.push(
                    of_stream.map(|(k, step)| place(text, format!("{name}[{k}]"), step)).collect::<Result<_, _>>()?,
                );
            }
        }
    }
    if !steps.is_empty() {
        streams.push(steps);
    }
    Ok(streams)
}

/// The elements of a list that must have some.
fn array<'a, 'n>(node: &'n Node<'a>, name: &str) -> Result<&'n [Node<'a>], Fault> {
    match &node.value {
        Value::Array(elements) if elements.is_empty() => {
            Err(Fault::new(node.at, "there is no step in it").within(name))
        }
        Value::Array(elements) => Ok(elements),
        _ => Err(Fault::new(node.at, format!("{} is not a list of steps", node.kind())).within(name)),
    }
}

fn place<'a, 'n>(text: &'a str, name: String, node: &'n Node<'a>) -> Result<Place<'a, 'n>, Fault> {
    match &node.value {
        Value::Object(members) => Ok(Place { text, at: node.at, name, members }),
        _ => {
            let reason = format!("{} is not a step, which is an object of inputs by name", node.kind());
            Err(Fault::new(node.at, reason).within(&name))
        }
    }
}
