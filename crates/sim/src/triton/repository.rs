//! The models of the server, and the checks of requests against them. Signatures are those of the models they represent; refusals use
//! Triton's words.

use super::problem::Problem;
use streamgauge_core::tensor::{Datatype, Tensor, TensorSpec};

/// The parts of every ensemble, in the order in which they work.
pub(crate) const PARTS: [&str; 3] = ["preprocessing", "tensorrt_llm", "postprocessing"];

/// One model.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The last answers where none is named.
    pub(crate) versions: &'static [&'static str],
    /// 0 means that tensors have no dimension for a batch.
    pub(crate) max_batch_size: u32,
    pub(crate) decoupled: bool,
    /// Without the dimension of a batch.
    pub(crate) inputs: Vec<TensorSpec>,
    pub(crate) outputs: Vec<TensorSpec>,
}

/// The behaviour of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Sum and difference.
    AddSub,
    /// A TensorRT-LLM deployment as business logic.
    Bls,
    /// Text in capitals; the text `fail` is an error.
    EchoText,
    /// A TensorRT-LLM deployment as an ensemble.
    Ensemble,
    /// What it is given, of each datatype.
    Identity,
    /// A part of an ensemble, which takes no requests itself.
    Part,
    /// The sum of each sequence so far.
    SequenceSum,
    /// The vLLM backend.
    Vllm,
}

/// All models, in the order of their names.
#[derive(Debug)]
pub(crate) struct Repository {
    pub(crate) models: Vec<Model>,
}

/// A request, whichever protocol it came by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) model: String,
    /// Empty leaves it to the server.
    pub(crate) version: String,
    pub(crate) id: String,
    pub(crate) sequence: Option<SequenceAsk>,
    /// An empty response tells the end where no other could.
    pub(crate) empty_final: bool,
    pub(crate) inputs: Vec<Tensor>,
    /// The requested outputs; an empty list requests all.
    pub(crate) outputs: Vec<Wanted>,
    /// HTTP: outputs are bytes unless they say otherwise.
    pub(crate) binary: bool,
}

/// The sequence of a request; ids that are text are distinguished as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SequenceAsk {
    pub(crate) id: String,
    pub(crate) start: bool,
    pub(crate) end: bool,
}

/// An output asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// HTTP: as bytes after the JSON; `None` leaves it to the request.
    pub(crate) binary: Option<bool>,
    /// The shared memory to which it is written instead.
    pub(crate) place: Option<MemoryPlace>,
}

/// A piece of a shared memory region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlace {
    pub(crate) region: String,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The model of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Indices of model and version.
    pub(crate) model: usize,
    pub(crate) version: usize,
}

impl Repository {
    pub(crate) fn new(names: &[String]) -> Repository {
        let mut models = vec![
            model(
                "add_sub",
                Kind::AddSub,
                8,
                false,
                &["INPUT0 FP32 4", "INPUT1 FP32 4"],
                &["OUTPUT0 FP32 4", "OUTPUT1 FP32 4"],
            ),
            model("echo_text", Kind::EchoText, 0, false, &["text_input BYTES 1"], &["text_output BYTES 1"]),
            ensemble("ensemble"),
            identity(),
            model(
                "postprocessing",
                Kind::Part,
                64,
                false,
                &["TOKENS_BATCH INT32 -1,-1", "SEQUENCE_LENGTH INT32 -1"],
                &["OUTPUT BYTES -1"],
            ),
            model(
                "preprocessing",
                Kind::Part,
                64,
                false,
                &["QUERY BYTES 1", "REQUEST_OUTPUT_LEN INT32 1"],
                &["INPUT_ID INT32 -1", "REQUEST_INPUT_LEN INT32 1", "OUT_REQUEST_OUTPUT_LEN INT32 1"],
            ),
            model("sequence_sum", Kind::SequenceSum, 4, false, &["INPUT INT32 1"], &["OUTPUT INT32 1"]),
            model(
                "tensorrt_llm",
                Kind::Part,
                64,
                true,
                &[
                    "input_ids INT32 -1",
                    "input_lengths INT32 1",
                    "request_output_len INT32 1",
                    "streaming BOOL 1 ?",
                    "end_id INT32 1 ?",
                    "min_length INT32 1 ?",
                    "temperature FP32 1 ?",
                    "runtime_top_k INT32 1 ?",
                    "runtime_top_p FP32 1 ?",
                    "beam_width INT32 1 ?",
                    "repetition_penalty FP32 1 ?",
                    "random_seed UINT64 1 ?",
                    "pad_id INT32 1 ?",
                ],
                &["output_ids INT32 -1,-1", "sequence_length INT32 -1"],
            ),
            Model { outputs: vec![spec("text_output BYTES -1")], kind: Kind::Bls, ..ensemble("tensorrt_llm_bls") },
            vllm(),
        ];
        for name in names {
            if !models.iter().any(|model| model.name == *name) {
                models.push(ensemble(name));
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Repository { models }
    }

    /// The model of that name and, where it is not empty, version.
    pub(crate) fn find(&self, name: &str, version: &str) -> Result<(&Model, Place), Problem> {
        let unknown = |what: String| Problem::unknown_model(&what);
        let found = self.models.iter().position(|model| model.name == name);
        let index = found.ok_or_else(|| unknown(format!("'{name}'")))?;
        let model = &self.models[index];
        if version.is_empty() {
            return Ok((model, Place { model: index, version: model.versions.len() - 1 }));
        }
        if version.parse::<u32>().is_err() {
            return Err(Problem::invalid(format!(
                "failed to get model version from specified version string '{version}' (details: stoll), version should be \
                 an integral value > 0"
            )));
        }
        let version = model
            .versions
            .iter()
            .position(|known| *known == version)
            .ok_or_else(|| unknown(format!("'{name}' version {version}")))?;
        Ok((model, Place { model: index, version }))
    }

    /// All versions of all models.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        let versions =
            |(model, each): (usize, &Model)| (0..each.versions.len()).map(move |version| Place { model, version });
        self.models.iter().enumerate().flat_map(versions)
    }

    /// The position of the first version of the model with that name.
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        self.models.iter().position(|model| model.name == name).map(|model| Place { model, version: 0 })
    }
}

impl Model {
    /// Whether it is asked for text.
    pub(crate) fn is_llm(&self) -> bool {
        matches!(self.kind, Kind::Bls | Kind::Ensemble | Kind::Vllm)
    }

    /// The dimensions of a tensor, that of the batch included.
    pub(crate) fn full_shape(&self, spec: &TensorSpec) -> Vec<i64> {
        let batch = (self.max_batch_size > 0).then_some(-1);
        batch.into_iter().chain(spec.shape.iter().copied()).collect()
    }

    /// The number of inferences of a request, if it fits the model.
    pub(crate) fn check(&self, ask: &Ask) -> Result<u64, Problem> {
        let name = &self.name;
        let known = |wanted: &&Wanted| !self.outputs.iter().any(|spec| spec.name == wanted.name);
        if let Some(wanted) = ask.outputs.iter().find(known) {
            return Err(Problem::invalid(format!("unexpected inference output '{}' for model '{name}'", wanted.name)));
        }
        let id = if ask.id.is_empty() { "<id_unknown>" } else { &ask.id };
        let bad = |message: String| Problem::invalid(format!("[request id: {id}] {message}"));
        self.check_count(ask).map_err(bad)?;
        let mut batch = None;
        for input in &ask.inputs {
            let spec = self.inputs.iter().find(|spec| spec.name == input.name).ok_or_else(|| {
                Problem::invalid(format!("unexpected inference input '{}' for model '{name}'", input.name))
            })?;
            let (tensor, wanted) = (&input.name, spec.datatype);
            if input.datatype != wanted {
                let given = input.datatype;
                return Err(bad(format!(
                    "inference input '{tensor}' data-type is '{given}', but model '{name}' expects '{wanted}'"
                )));
            }
            self.check_shape(spec, input).map_err(bad)?;
            check_data(input).map_err(|message| bad(format!("{message} for input '{tensor}' for model '{name}'")))?;
            if self.max_batch_size > 0 {
                let size = input.shape.first().copied().unwrap_or(0);
                if batch.is_some_and(|batch| batch != size) {
                    return Err(bad(format!("input '{tensor}' batch size does not match other inputs for '{name}'")));
                }
                batch = Some(size);
            }
        }
        let batch = u64::try_from(batch.unwrap_or(1)).unwrap_or(0);
        if self.max_batch_size > 0 && batch > u64::from(self.max_batch_size) {
            let most = self.max_batch_size;
            return Err(bad(format!("inference request batch-size must be <= {most} for '{name}'")));
        }
        Ok(batch.max(1))
    }

    fn check_count(&self, ask: &Ask) -> Result<(), String> {
        let (given, most) = (ask.inputs.len(), self.inputs.len());
        let least = self.inputs.iter().filter(|spec| !spec.optional).count();
        let has = |spec: &&TensorSpec| ask.inputs.iter().any(|input| input.name == spec.name);
        let missing = self.inputs.iter().filter(|spec| !spec.optional && !has(spec)).map(|spec| spec.name.as_str());
        let missing: Vec<&str> = missing.collect();
        if (least..=most).contains(&given) && missing.is_empty() {
            return Ok(());
        }
        let expected = if least == most {
            format!("{most} inputs")
        } else {
            format!("number of inputs between {least} and {most}")
        };
        if (least..=most).contains(&given) {
            // Then another one is too many, and that is the message.
            let stranger = ask.inputs.iter().any(|input| !self.inputs.iter().any(|spec| spec.name == input.name));
            if stranger {
                return Ok(());
            }
        }
        let list = |names: &[&str]| names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(",");
        let got: Vec<&str> = ask.inputs.iter().map(|input| input.name.as_str()).collect();
        Err(format!(
            "expected {expected} but got {given} inputs for model '{}'. Got input(s) [{}], but missing required input(s) [{}]. \
             Please provide all required input(s).",
            self.name,
            list(&got),
            list(&missing)
        ))
    }

    fn check_shape(&self, spec: &TensorSpec, input: &Tensor) -> Result<(), String> {
        let expected = self.full_shape(spec);
        let fits = expected.len() == input.shape.len()
            && expected.iter().zip(&input.shape).all(|(want, have)| *have >= 0 && (*want == -1 || want == have));
        if fits {
            return Ok(());
        }
        let list = |shape: &[i64]| shape.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let note = if self.max_batch_size == 0 {
            ""
        } else {
            " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input \
             shape. If you want to specify the full shape including the batch dim in your input dims config, try setting \
             max_batch_size to zero. See the model configuration docs for more info on max_batch_size."
        };
        let (tensor, name) = (&input.name, &self.name);
        Err(format!(
            "unexpected shape for input '{tensor}' for model '{name}'. Expected [{}], got [{}].{note}",
            list(&expected),
            list(&input.shape)
        ))
    }
}

/// Whether the data are as many as the shape wants.
fn check_data(input: &Tensor) -> Result<(), String> {
    let elements = Tensor::elements(&input.shape).unwrap_or(u64::MAX);
    match input.datatype.size() {
        Some(size) => {
            let (expected, got) = (elements.saturating_mul(size as u64), input.data.len());
            if expected == got as u64 {
                Ok(())
            } else {
                Err(format!("input byte size mismatch: expected {expected}, got {got},"))
            }
        }
        None => match Tensor::strings(&input.data) {
            Some(strings) if strings.len() as u64 == elements => Ok(()),
            Some(strings) => Err(format!("expected {elements} string elements, got {},", strings.len())),
            None => Err("incomplete string data".to_owned()),
        },
    }
}

/// A tensor written as `NAME DATATYPE DIMS [?]`, the mark for an optional one. Only the tables of this file are read by it.
fn spec(text: &str) -> TensorSpec {
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (name, datatype, dims, optional) = (word(), word(), word(), word());
    TensorSpec {
        name: name.to_owned(),
        datatype: Datatype::of_name(datatype).unwrap_or(Datatype::Bytes),
        shape: dims.split(',').filter_map(|dim| dim.parse().ok()).collect(),
        optional: optional == "?",
        is_shape: false,
    }
}

fn model(name: &str, kind: Kind, max_batch_size: u32, decoupled: bool, inputs: &[&str], outputs: &[&str]) -> Model {
    let versions: &[&str] = if kind == Kind::AddSub { &["1", "2"] } else { &["1"] };
    let specs = |texts: &[&str]| texts.iter().map(|text| spec(text)).collect();
    Model {
        name: name.to_owned(),
        kind,
        versions,
        max_batch_size,
        decoupled,
        inputs: specs(inputs),
        outputs: specs(outputs),
    }
}

/// The signature of TensorRT-LLM's ensemble.
fn ensemble(name: &str) -> Model {
    let inputs = [
        "text_input BYTES 1",
        "max_tokens INT32 1",
        "stream BOOL 1 ?",
        "end_id INT32 1 ?",
        "exclude_input_in_output BOOL 1 ?",
        "min_length INT32 1 ?",
        "temperature FP32 1 ?",
        "top_k INT32 1 ?",
        "top_p FP32 1 ?",
        "beam_width INT32 1 ?",
        "repetition_penalty FP32 1 ?",
        "random_seed UINT64 1 ?",
        "pad_id INT32 1 ?",
    ];
    model(name, Kind::Ensemble, 64, true, &inputs, &["text_output BYTES -1", "sequence_length INT32 -1"])
}

/// The signature of the vLLM backend.
fn vllm() -> Model {
    let inputs = [
        "text_input BYTES 1",
        "stream BOOL 1 ?",
        "sampling_parameters BYTES 1 ?",
        "exclude_input_in_output BOOL 1 ?",
        "return_finish_reason BOOL 1 ?",
        "return_num_input_tokens BOOL 1 ?",
        "return_num_output_tokens BOOL 1 ?",
    ];
    let outputs =
        ["text_output BYTES -1", "finish_reason BYTES -1", "num_input_tokens UINT32 1", "num_output_tokens UINT32 -1"];
    model("vllm_model", Kind::Vllm, 0, true, &inputs, &outputs)
}

fn identity() -> Model {
    let tensors = |side: &str| {
        let text = |datatype: Datatype| spec(&format!("{side}_{datatype} {datatype} -1 ?"));
        Datatype::ALL.into_iter().map(text).collect::<Vec<_>>()
    };
    let outputs = tensors("OUTPUT").into_iter().map(|spec| TensorSpec { optional: false, ..spec }).collect();
    Model { inputs: tensors("INPUT"), outputs, ..model("identity", Kind::Identity, 0, false, &[], &[]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(name: &str, shape: &[i64]) -> Tensor {
        let elements = Tensor::elements(shape).unwrap() as usize;
        Tensor { name: name.to_owned(), datatype: Datatype::Fp32, shape: shape.to_vec(), data: vec![0; elements * 4] }
    }

    fn checked(inputs: Vec<Tensor>) -> Result<u64, String> {
        let repository = Repository::new(&[]);
        let ask = Ask { id: "q".to_owned(), inputs, ..Ask::default() };
        repository.find("add_sub", "").unwrap().0.check(&ask).map_err(|problem| problem.message)
    }

    #[test]
    fn models_are_found_by_name_and_version() {
        let repository = Repository::new(&["sim-model".to_owned(), "add_sub".to_owned()]);
        let message = |name, version| repository.find(name, version).unwrap_err().message;
        assert_eq!(repository.find("add_sub", "").unwrap().1.version, 1);
        assert_eq!(repository.find("add_sub", "1").unwrap().1.version, 0);
        assert_eq!(repository.find("sim-model", "").unwrap().0.kind, Kind::Ensemble);
        assert_eq!(message("nope", ""), "Request for unknown model: 'nope' is not found");
        assert_eq!(message("add_sub", "9"), "Request for unknown model: 'add_sub' version 9 is not found");
        assert!(message("add_sub", "x").contains("version string 'x'"));
        assert_eq!(repository.models.iter().filter(|model| model.name == "add_sub").count(), 1);
    }

    #[test]
    fn a_request_that_does_not_fit_is_refused_in_tritons_words() {
        let (a, b) = (floats("INPUT0", &[1, 4]), floats("INPUT1", &[1, 4]));
        assert_eq!(checked(vec![floats("INPUT0", &[3, 4]), floats("INPUT1", &[3, 4])]), Ok(3));
        assert_eq!(
            checked(vec![a.clone()]).unwrap_err(),
            "[request id: q] expected 2 inputs but got 1 inputs for model 'add_sub'. Got input(s) ['INPUT0'], but missing \
             required input(s) ['INPUT1']. Please provide all required input(s)."
        );
        assert_eq!(
            checked(vec![floats("INPUTX", &[1, 4]), b.clone()]).unwrap_err(),
            "unexpected inference input 'INPUTX' for model 'add_sub'"
        );
        assert_eq!(
            checked(vec![Tensor { datatype: Datatype::Int32, ..a.clone() }, b.clone()]).unwrap_err(),
            "[request id: q] inference input 'INPUT0' data-type is 'INT32', but model 'add_sub' expects 'FP32'"
        );
        let shape = checked(vec![a.clone(), floats("INPUT1", &[1, 3])]).unwrap_err();
        assert!(
            shape.starts_with(
                "[request id: q] unexpected shape for input 'INPUT1' for model 'add_sub'. Expected [-1,4], got [1,3]. NOTE: Setting"
            ),
            "{shape}"
        );
        assert_eq!(
            checked(vec![a.clone(), floats("INPUT1", &[2, 4])]).unwrap_err(),
            "[request id: q] input 'INPUT1' batch size does not match other inputs for 'add_sub'"
        );
        assert_eq!(
            checked(vec![floats("INPUT0", &[9, 4]), floats("INPUT1", &[9, 4])]).unwrap_err(),
            "[request id: q] inference request batch-size must be <= 8 for 'add_sub'"
        );
        let short = Tensor { data: vec![0; 12], ..b };
        assert!(checked(vec![a, short]).unwrap_err().contains("expected 16, got 12"));
    }
}
