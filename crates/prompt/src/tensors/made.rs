//! Inputs that are made up, as Perf Analyzer makes them.

use super::steps::Draft;
use super::{InputError, InputOptions, LARGEST, Made, shape};
use rand::{Rng, RngExt};
use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::message;
use streamgauge_core::setting::Setting;
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// What random strings are made of.
const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .?!";

/// One step with values for all inputs. All numbers are taken from the beginning of one buffer.
pub(super) fn step(kind: Made, model: &ModelInfo, options: &InputOptions) -> Result<Draft, InputError> {
    let mut inputs = Vec::with_capacity(model.inputs.len());
    let mut room = 0;
    for spec in &model.inputs {
        let (shape, bytes) = size(spec, options)?;
        if spec.datatype != Datatype::Bytes {
            room = room.max(bytes);
        }
        inputs.push(Tensor { name: spec.name.clone(), datatype: spec.datatype, shape, data: Vec::new() });
    }
    let mut buffer = vec![0; room];
    if kind == Made::Random {
        options.seed.stream("input numbers").fill_bytes(&mut buffer);
    }
    let mut characters = options.seed.stream("input strings");
    for tensor in &mut inputs {
        // The shape was found to have a number of elements that fits memory.
        let elements = Tensor::elements(&tensor.shape).unwrap_or(0) as usize;
        match tensor.datatype.size() {
            Some(size) => {
                tensor.data = buffer[..elements * size].to_vec();
                tame(tensor.datatype, &mut tensor.data);
            }
            None => (0..elements).for_each(|_| match &options.string_data {
                Some(text) => Tensor::push_string(&mut tensor.data, text.as_bytes()),
                None => Tensor::push_string(&mut tensor.data, &random_string(options.string_length, &mut characters)),
            }),
        }
    }
    Ok(Draft { inputs, ..Draft::default() })
}

/// The shape of an input and its bytes, if it can be made up.
fn size(spec: &TensorSpec, options: &InputOptions) -> Result<(Vec<i64>, usize), InputError> {
    let name = &spec.name;
    if spec.is_shape {
        return Err(InputError::Asked(message![
            format!("input {name} gives the shape of another input, so its values cannot be made up: give them in "),
            Setting::InputData,
        ]));
    }
    let shape = shape::of(spec, &options.shapes).ok_or_else(|| InputError::Asked(shape::open(spec)))?;
    let string = match &options.string_data {
        Some(text) => text.len() as u64,
        None => options.string_length.into(),
    };
    let element = spec.datatype.size().map_or(4 + string, |size| size as u64);
    let bytes = Tensor::elements(shape).and_then(|elements| elements.checked_mul(element));
    match bytes.filter(|bytes| *bytes <= LARGEST / u64::from(options.batch.max(1))) {
        Some(bytes) => Ok((shape.to_vec(), bytes as usize)),
        None => Err(InputError::Asked(
            format!(
                "input {name} of shape {} in batches of {} would have more than the {LARGEST} bytes that a request can hold",
                shape::shown(shape),
                options.batch
            )
            .into(),
        )),
    }
}

/// Makes random bytes values that every server takes: truth values of 0 and 1, and floats that are finite.
fn tame(datatype: Datatype, data: &mut [u8]) {
    match datatype {
        Datatype::Bool => data.iter_mut().for_each(|byte| *byte &= 1),
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 => {
            // Without the exponent's highest bit, which is the second of the last byte, a float is less than 2.
            let size = datatype.size().unwrap_or(1);
            data.iter_mut().skip(size - 1).step_by(size).for_each(|byte| *byte &= 0xbf);
        }
        _ => {}
    }
}

fn random_string(length: u32, rng: &mut impl Rng) -> Vec<u8> {
    (0..length).map(|_| CHARACTERS[rng.random_range(0..CHARACTERS.len())]).collect()
}
