//! The metadata and configurations of the server and its models, as JSON in the order of Triton's members and as messages.

use super::repository::{Kind, Model, PARTS, Repository};
use super::statistics::Counted;
use serde_json::{Value, json};
use streamgauge_core::kserve::Spent;
use streamgauge_core::tensor::{Datatype, TensorSpec};
use streamgauge_wire::proto;
use streamgauge_wire::proto::model_config::SchedulingChoice;

/// The name and the version of the server that is simulated.
pub(crate) const SERVER: (&str, &str) = ("triton", "2.51.0");

/// Extensions of the protocol that this server has.
pub(crate) const EXTENSIONS: [&str; 8] = [
    "sequence",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

/// A tensor's maps in an ensemble's steps: inputs and outputs, each the part's name and the ensemble's.
type Maps = (&'static [(&'static str, &'static str)], &'static [(&'static str, &'static str)]);

/// How each of [`PARTS`] is connected.
const STEPS: [Maps; 3] = [
    (
        &[("REQUEST_OUTPUT_LEN", "max_tokens"), ("QUERY", "text_input")],
        &[
            ("REQUEST_INPUT_LEN", "_REQUEST_INPUT_LEN"),
            ("INPUT_ID", "_INPUT_ID"),
            ("OUT_REQUEST_OUTPUT_LEN", "_REQUEST_OUTPUT_LEN"),
        ],
    ),
    (
        &[
            ("input_lengths", "_REQUEST_INPUT_LEN"),
            ("input_ids", "_INPUT_ID"),
            ("streaming", "stream"),
            ("request_output_len", "_REQUEST_OUTPUT_LEN"),
            ("end_id", "end_id"),
            ("min_length", "min_length"),
        ],
        &[("output_ids", "_TOKENS_BATCH"), ("sequence_length", "sequence_length")],
    ),
    (&[("SEQUENCE_LENGTH", "sequence_length"), ("TOKENS_BATCH", "_TOKENS_BATCH")], &[("OUTPUT", "text_output")]),
];

/// The tensors by which the backend learns of sequences, and what each is.
const CONTROLS: [(&str, &str, i32); 4] = [
    ("START", "CONTROL_SEQUENCE_START", 0),
    ("READY", "CONTROL_SEQUENCE_READY", 1),
    ("END", "CONTROL_SEQUENCE_END", 2),
    ("CORRID", "CONTROL_SEQUENCE_CORRID", 3),
];

/// How long a sequence may be idle, in microseconds.
const SEQUENCE_IDLE: u64 = 60_000_000;

impl Model {
    fn is_ensemble(&self) -> bool {
        self.kind == Kind::Ensemble
    }

    fn platform(&self) -> &'static str {
        if self.is_ensemble() { "ensemble" } else { "python" }
    }

    /// The answer to a question for the model's metadata.
    pub(crate) fn metadata_json(&self) -> Value {
        let tensors = |specs: &[TensorSpec]| -> Vec<Value> {
            let tensor = |spec: &TensorSpec| json!({"name": spec.name, "datatype": spec.datatype.name(), "shape": self.full_shape(spec)});
            specs.iter().map(tensor).collect()
        };
        json!({
            "name": self.name, "versions": self.versions, "platform": self.platform(),
            "inputs": tensors(&self.inputs), "outputs": tensors(&self.outputs),
        })
    }

    /// The same as a message.
    pub(crate) fn metadata(&self) -> proto::ModelMetadataResponse {
        let tensors = |specs: &[TensorSpec]| {
            let tensor = |spec: &TensorSpec| proto::model_metadata_response::TensorMetadata {
                name: spec.name.clone(),
                datatype: spec.datatype.name().to_owned(),
                shape: self.full_shape(spec),
            };
            specs.iter().map(tensor).collect()
        };
        proto::ModelMetadataResponse {
            name: self.name.clone(),
            versions: self.versions.iter().map(|version| (*version).to_owned()).collect(),
            platform: self.platform().to_owned(),
            inputs: tensors(&self.inputs),
            outputs: tensors(&self.outputs),
        }
    }

    /// The answer to a question for the model's configuration.
    pub(crate) fn config_json(&self) -> Value {
        let input = |spec: &TensorSpec| {
            json!({
                "name": spec.name, "data_type": config_type(spec.datatype), "format": "FORMAT_NONE", "dims": spec.shape,
                "is_shape_tensor": spec.is_shape, "allow_ragged_batch": false, "optional": spec.optional,
                "is_non_linear_format_io": false,
            })
        };
        let output = |spec: &TensorSpec| {
            json!({
                "name": spec.name, "data_type": config_type(spec.datatype), "dims": spec.shape, "label_filename": "",
                "is_shape_tensor": false, "is_non_linear_format_io": false,
            })
        };
        let ensemble = self.is_ensemble();
        let (platform, backend) = if ensemble { ("ensemble", "") } else { ("", "python") };
        let policy = if self.versions.len() > 1 { json!({"all": {}}) } else { json!({"latest": {"num_versions": 1}}) };
        let mut config = json!({
            "name": self.name, "platform": platform, "backend": backend, "runtime": "", "version_policy": policy,
            "max_batch_size": self.max_batch_size, "input": self.inputs.iter().map(input).collect::<Vec<_>>(),
            "output": self.outputs.iter().map(output).collect::<Vec<_>>(), "batch_input": [], "batch_output": [],
        });
        let mut add = |name: &str, value: Value| config[name] = value;
        match self.kind {
            Kind::Ensemble => add("ensemble_scheduling", json!({"step": steps_json()})),
            Kind::SequenceSum => add("sequence_batching", sequence_json()),
            _ => {}
        }
        let instances = json!([{
            "name": format!("{}_0", self.name), "kind": "KIND_CPU", "count": 1, "gpus": [], "secondary_devices": [],
            "profile": [], "passive": false, "host_policy": "",
        }]);
        add("instance_group", if ensemble { json!([]) } else { instances });
        add("default_model_filename", if ensemble { "" } else { "model.py" }.into());
        for (name, value) in [
            ("cc_model_filenames", json!({})),
            ("metric_tags", json!({})),
            ("parameters", json!({})),
            ("model_warmup", json!([])),
        ] {
            add(name, value);
        }
        if self.decoupled {
            add("model_transaction_policy", json!({"decoupled": true}));
        }
        config
    }

    /// The same as a message.
    pub(crate) fn config(&self) -> proto::ModelConfig {
        use proto::model_version_policy::{All, Latest, PolicyChoice};
        let ensemble = self.is_ensemble();
        let (platform, backend) = if ensemble { ("ensemble", "") } else { ("", "python") };
        let policy = if self.versions.len() > 1 {
            PolicyChoice::All(All {})
        } else {
            PolicyChoice::Latest(Latest { num_versions: 1 })
        };
        let input = |spec: &TensorSpec| proto::ModelInput {
            name: spec.name.clone(),
            data_type: type_number(spec.datatype),
            dims: spec.shape.clone(),
            is_shape_tensor: spec.is_shape,
            optional: spec.optional,
            ..proto::ModelInput::default()
        };
        let output = |spec: &TensorSpec| proto::ModelOutput {
            name: spec.name.clone(),
            data_type: type_number(spec.datatype),
            dims: spec.shape.clone(),
            ..proto::ModelOutput::default()
        };
        let instance = proto::ModelInstanceGroup {
            name: format!("{}_0", self.name),
            kind: proto::model_instance_group::Kind::Cpu.into(),
            count: 1,
            ..proto::ModelInstanceGroup::default()
        };
        proto::ModelConfig {
            name: self.name.clone(),
            platform: platform.to_owned(),
            backend: backend.to_owned(),
            version_policy: Some(proto::ModelVersionPolicy { policy_choice: Some(policy) }),
            max_batch_size: i32::try_from(self.max_batch_size).unwrap_or(i32::MAX),
            input: self.inputs.iter().map(input).collect(),
            output: self.outputs.iter().map(output).collect(),
            instance_group: if ensemble { Vec::new() } else { vec![instance] },
            default_model_filename: if ensemble { "" } else { "model.py" }.to_owned(),
            scheduling_choice: match self.kind {
                Kind::Ensemble => Some(SchedulingChoice::EnsembleScheduling(steps())),
                Kind::SequenceSum => Some(SchedulingChoice::SequenceBatching(sequences())),
                _ => None,
            },
            model_transaction_policy: self.decoupled.then_some(proto::ModelTransactionPolicy { decoupled: true }),
            ..proto::ModelConfig::default()
        }
    }
}

fn steps_json() -> Vec<Value> {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), json!(b))).collect::<Value>();
    let step = |(name, (inputs, outputs)): (&str, Maps)| {
        json!({
            "model_name": name, "model_version": -1, "input_map": map(inputs), "output_map": map(outputs),
            "model_namespace": "",
        })
    };
    PARTS.into_iter().zip(STEPS).map(step).collect()
}

fn steps() -> proto::ModelEnsembling {
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let step = |(name, (inputs, outputs)): (&str, Maps)| proto::model_ensembling::Step {
        model_name: name.to_owned(),
        model_version: -1,
        input_map: map(inputs),
        output_map: map(outputs),
        ..proto::model_ensembling::Step::default()
    };
    proto::ModelEnsembling {
        step: PARTS.into_iter().zip(STEPS).map(step).collect(),
        ..proto::ModelEnsembling::default()
    }
}

/// Whether a control is the sequence's id rather than a flag.
fn is_id(kind: i32) -> bool {
    kind == 3
}

fn sequence_json() -> Value {
    let control = |(name, kind, number): (&str, &str, i32)| {
        let (flags, datatype) =
            if is_id(number) { (json!([]), "TYPE_UINT64") } else { (json!([0, 1]), "TYPE_INVALID") };
        json!({
            "name": name,
            "control": [{
                "kind": kind, "int32_false_true": flags, "fp32_false_true": [], "bool_false_true": [], "data_type": datatype,
            }],
        })
    };
    let controls: Vec<Value> = CONTROLS.into_iter().map(control).collect();
    json!({
        "max_sequence_idle_microseconds": SEQUENCE_IDLE, "direct": {"max_queue_delay_microseconds": 0, "minimum_slot_utilization": 0.0},
        "control_input": controls, "state": [], "iterative_sequence": false,
    })
}

fn sequences() -> proto::ModelSequenceBatching {
    use proto::model_sequence_batching::{Control, ControlInput, StrategyChoice, StrategyDirect};
    let control = |(name, _, kind): (&str, &str, i32)| ControlInput {
        name: name.to_owned(),
        control: vec![Control {
            kind,
            int32_false_true: if is_id(kind) { Vec::new() } else { vec![0, 1] },
            data_type: if is_id(kind) { type_number(Datatype::Uint64) } else { 0 },
            ..Control::default()
        }],
    };
    proto::ModelSequenceBatching {
        max_sequence_idle_microseconds: SEQUENCE_IDLE,
        control_input: CONTROLS.into_iter().map(control).collect(),
        strategy_choice: Some(StrategyChoice::Direct(StrategyDirect::default())),
        ..proto::ModelSequenceBatching::default()
    }
}

/// The name of a datatype in configurations.
fn config_type(datatype: Datatype) -> String {
    if datatype == Datatype::Bytes { "TYPE_STRING".to_owned() } else { format!("TYPE_{datatype}") }
}

/// Its number in messages.
fn type_number(datatype: Datatype) -> i32 {
    proto::DataType::from_str_name(&config_type(datatype)).unwrap_or(proto::DataType::TypeInvalid).into()
}

/// The server's metadata.
pub(crate) fn server_json() -> Value {
    json!({"name": SERVER.0, "version": SERVER.1, "extensions": EXTENSIONS})
}

/// The same as a message.
pub(crate) fn server() -> proto::ServerMetadataResponse {
    proto::ServerMetadataResponse {
        name: SERVER.0.to_owned(),
        version: SERVER.1.to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    }
}

/// The models of the repository.
pub(crate) fn index_json(repository: &Repository) -> Value {
    let rows = repository.models.iter().flat_map(|model| {
        model.versions.iter().map(|version| json!({"name": model.name, "version": version, "state": "READY"}))
    });
    rows.collect()
}

/// The same as a message.
pub(crate) fn index(repository: &Repository) -> proto::RepositoryIndexResponse {
    use proto::repository_index_response::ModelIndex;
    let rows = repository.models.iter().flat_map(|model| {
        model.versions.iter().map(|version| ModelIndex {
            name: model.name.clone(),
            version: (*version).to_owned(),
            state: "READY".to_owned(),
            reason: String::new(),
        })
    });
    proto::RepositoryIndexResponse { models: rows.collect() }
}

/// Statistics as JSON.
pub(crate) fn statistics_json(counted: &[Counted]) -> Value {
    let spent = |spent: Spent| json!({"count": spent.count, "ns": spent.ns});
    let row = |counted: &Counted| {
        let sums = &counted.sums;
        let batch = |(size, [input, infer, output]): (&u64, &[Spent; 3])| {
            json!({
                "batch_size": size, "compute_input": spent(*input), "compute_infer": spent(*infer),
                "compute_output": spent(*output),
            })
        };
        json!({
            "name": sums.name, "version": sums.version, "last_inference": counted.last_inference,
            "inference_count": sums.inference_count, "execution_count": sums.execution_count,
            "inference_stats": {
                "success": spent(sums.success), "fail": spent(sums.fail), "queue": spent(sums.queue),
                "compute_input": spent(sums.compute_input), "compute_infer": spent(sums.compute_infer),
                "compute_output": spent(sums.compute_output), "cache_hit": spent(sums.cache_hit),
                "cache_miss": spent(sums.cache_miss),
            },
            "response_stats": {}, "batch_stats": counted.batches.iter().map(batch).collect::<Vec<_>>(), "memory_usage": [],
        })
    };
    json!({"model_stats": counted.iter().map(row).collect::<Vec<_>>()})
}

/// The same as a message.
pub(crate) fn statistics(counted: &[Counted]) -> proto::ModelStatisticsResponse {
    let spent = |spent: Spent| Some(proto::StatisticDuration { count: spent.count, ns: spent.ns });
    let row = |counted: &Counted| {
        let sums = &counted.sums;
        let batch = |(size, [input, infer, output]): (&u64, &[Spent; 3])| proto::InferBatchStatistics {
            batch_size: *size,
            compute_input: spent(*input),
            compute_infer: spent(*infer),
            compute_output: spent(*output),
        };
        proto::ModelStatistics {
            name: sums.name.clone(),
            version: sums.version.clone(),
            last_inference: u64::try_from(counted.last_inference).unwrap_or(0),
            inference_count: sums.inference_count,
            execution_count: sums.execution_count,
            inference_stats: Some(proto::InferStatistics {
                success: spent(sums.success),
                fail: spent(sums.fail),
                queue: spent(sums.queue),
                compute_input: spent(sums.compute_input),
                compute_infer: spent(sums.compute_infer),
                compute_output: spent(sums.compute_output),
                cache_hit: spent(sums.cache_hit),
                cache_miss: spent(sums.cache_miss),
            }),
            batch_stats: counted.batches.iter().map(batch).collect(),
            ..proto::ModelStatistics::default()
        }
    };
    proto::ModelStatisticsResponse { model_stats: counted.iter().map(row).collect() }
}
