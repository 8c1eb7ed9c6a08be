//! Models as a server would tell of them.

use streamgauge_core::kserve::ModelInfo;
use streamgauge_core::tensor::{Datatype, TensorSpec};

pub fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec(), optional: false, is_shape: false }
}

pub fn optional(spec: TensorSpec) -> TensorSpec {
    TensorSpec { optional: true, ..spec }
}

pub fn shape_tensor(spec: TensorSpec) -> TensorSpec {
    TensorSpec { is_shape: true, ..spec }
}

pub fn model(name: &str, max_batch_size: u32, inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelInfo {
    ModelInfo { name: name.into(), max_batch_size, inputs, outputs, ..ModelInfo::default() }
}

/// As the usual ensemble for TensorRT-LLM.
pub fn ensemble() -> ModelInfo {
    let may = |name, datatype| optional(spec(name, datatype, &[1]));
    let inputs = vec![
        spec("text_input", Datatype::Bytes, &[1]),
        spec("max_tokens", Datatype::Int32, &[1]),
        may("stream", Datatype::Bool),
        may("end_id", Datatype::Int32),
        may("exclude_input_in_output", Datatype::Bool),
        may("min_length", Datatype::Int32),
        may("temperature", Datatype::Fp32),
        may("random_seed", Datatype::Uint64),
    ];
    let outputs = vec![spec("text_output", Datatype::Bytes, &[-1]), spec("sequence_length", Datatype::Int32, &[-1])];
    model("ensemble", 64, inputs, outputs)
}

/// As the vLLM backend's models.
pub fn vllm() -> ModelInfo {
    let may = |name, datatype| optional(spec(name, datatype, &[1]));
    let inputs = vec![
        spec("text_input", Datatype::Bytes, &[1]),
        may("stream", Datatype::Bool),
        may("sampling_parameters", Datatype::Bytes),
        may("exclude_input_in_output", Datatype::Bool),
    ];
    model("vllm_model", 0, inputs, vec![spec("text_output", Datatype::Bytes, &[-1])])
}

/// One byte in, one byte out.
pub fn add_one() -> ModelInfo {
    model("add_one", 0, vec![spec("IN", Datatype::Uint8, &[1])], vec![spec("OUT", Datatype::Uint8, &[1])])
}

/// Bytes, as many as the request has.
pub fn open() -> ModelInfo {
    model("open", 8, vec![spec("X", Datatype::Int8, &[-1])], vec![spec("Y", Datatype::Int8, &[-1])])
}
