//! The `input_config` block of GenAI-Perf's JSON: the plan under that tool's keys. Keys of things that do not exist
//! here (audio, images) carry that tool's defaults, since its readers expect them all.

use super::names;
use serde_json::{Map, Value, json};
use streamgauge_core::kserve::Backend;
use streamgauge_core::plan::{Endpoint, Length, ModelSelection, PromptPlan, RunPlan};
use streamgauge_core::stop::{StopRule, Window};
use streamgauge_core::synthesis::ConversationPlan;
use streamgauge_wire::endpoints::{OutputLength, spec};

/// The whole block.
pub(crate) fn build(plan: &RunPlan) -> Value {
    json!({
        "model_names": plan.endpoint.models,
        "subcommand": "profile",
        "verbose": false,
        "template_filename": "genai_perf_config.yaml",
        "analyze": {"sweep_parameters": {"concurrency": {"min": 1, "max": 1024}}},
        "endpoint": endpoint(&plan.endpoint),
        "perf_analyzer": {
            "path": "streamgauge",
            "verbose": false,
            "stimulus": plan.load.mode.stimulus_json(),
            "stability_percentage": whole(plan.load.stop.stability.map_or(999.0, |rule| rule.within * 100.0)),
            "measurement": measurement(&plan.load.stop),
            "warmup_request_count": plan.load.warmup.as_ref().and_then(|warmup| warmup.requests).unwrap_or(0),
        },
        "input": input(plan),
        "output": {
            "artifact_directory": parent_directory(plan),
            "checkpoint_directory": "checkpoint",
            "profile_export_file": plan.output.export_file,
            "generate_plots": false,
            "enable_checkpointing": false,
        },
        "tokenizer": {
            "name": plan.prompts.tokenizer,
            "revision": plan.prompts.tokenizer_revision,
            "trust_remote_code": false,
            "_enable_debug_logging": false,
        },
        "process": {"input_path": "aggregated"},
    })
}

fn endpoint(endpoint: &Endpoint) -> Value {
    let spec = spec(endpoint.kind);
    let (target, tensors) = (&endpoint.target, spec.capabilities.tensors);
    // Its default, also where none is meant.
    let backend = names::backend(endpoint.kserve.backend.unwrap_or(Backend::TensorrtLlm));
    json!({
        "model_selection_strategy": match endpoint.model_selection {
            ModelSelection::Random => "random",
            ModelSelection::RoundRobin => "round_robin",
        },
        "backend": backend,
        // Over gRPC there is no path to choose.
        "custom": if tensors { String::new() } else { endpoint.shown_path().trim_start_matches('/').to_owned() },
        "type": endpoint.kind.name(),
        "streaming": endpoint.streaming,
        "server_metrics_urls": [],
        // GenAI-Perf shows the URL as typed; the scheme is shown only if it is not the usual one.
        "url": if target.tls { target.to_string() } else { target.authority() },
        "grpc_method": "",
        "service_kind": spec.genai.service_kind,
        "output_format": spec.genai.output_format.unwrap_or(backend),
    })
}

fn measurement(stop: &StopRule) -> Value {
    if let Some(rule) = stop.stability {
        return match rule.window {
            Window::Requests(requests) => json!({"mode": "request_count", "num": requests}),
            Window::Time(time) => json!({"mode": "interval", "num": time.0 / 1_000_000}),
        };
    }
    match (stop.requests, stop.duration) {
        (Some(requests), _) => json!({"mode": "request_count", "num": requests}),
        (None, Some(duration)) => json!({"mode": "interval", "num": duration.0 / 1_000_000}),
        (None, None) => json!({"mode": "request_count", "num": ""}),
    }
}

fn input(plan: &RunPlan) -> Value {
    let prompts = &plan.prompts;
    json!({
        "batch_size": prompts.batch,
        "extra": or_empty(plan.endpoint.extra.clone()),
        "goodput": or_empty(plan.measure.goodput.iter().map(|(key, limit)| (key.clone(), json!(limit))).collect()),
        "header": headers(&plan.endpoint),
        "file": "",
        "num_dataset_entries": prompts.count,
        "random_seed": prompts.seed,
        "audio": {
            "batch_size": 1,
            "length": {"mean": 0, "stddev": 0},
            "format": "wav",
            "depths": [16],
            "sample_rates": [16],
            "num_channels": 1,
        },
        "image": {
            "width": {"mean": 0, "stddev": 0},
            "height": {"mean": 0, "stddev": 0},
            "batch_size": 1,
            "format": "png",
        },
        "output_tokens": output_tokens(&plan.endpoint, prompts),
        "synthetic_tokens": {"mean": whole(prompts.input.mean), "stddev": whole(prompts.input.stddev)},
        "prefix_prompt": {"num": prompts.prefixes, "length": prompts.prefix_tokens},
        "sessions": sessions(prompts),
        "prompt_source": "synthetic",
        "synthetic_files": [],
        "payload_file": "",
    })
}

fn sessions(prompts: &PromptPlan) -> Value {
    let Some(ConversationPlan { count, turns, delay_ms, delay_ratio }) = prompts.synthesis.conversations else {
        return json!({
            "num": 0,
            "turns": {"mean": 1, "stddev": 0},
            "turn_delay": {"mean": 0, "ratio": 1.0, "stddev": 0},
        });
    };
    json!({
        "num": count,
        "turns": {"mean": whole(turns.mean), "stddev": whole(turns.stddev)},
        "turn_delay": {"mean": whole(delay_ms.mean), "ratio": delay_ratio, "stddev": whole(delay_ms.stddev)},
    })
}

/// GenAI-Perf's way to say that no length is requested is a mean of -1. The value is empty if requests cannot ask for a length.
fn output_tokens(endpoint: &Endpoint, prompts: &PromptPlan) -> Value {
    if spec(endpoint.kind).capabilities.output_length == OutputLength::Never {
        return json!({"mean": "", "deterministic": false, "stddev": 0});
    }
    let Length { mean, stddev } = prompts.output.unwrap_or(Length { mean: -1.0, stddev: 0.0 });
    json!({"mean": whole(mean), "deterministic": prompts.output_exact, "stddev": whole(stddev)})
}

/// Names with their values as they may be shown, or `""` when there are none.
fn headers(endpoint: &Endpoint) -> Value {
    if endpoint.headers.is_empty() {
        return json!("");
    }
    endpoint.headers.iter().map(|header| format!("{}:{}", header.name, header.value.shown())).collect()
}

/// That tool writes `""` for an option that was not given.
fn or_empty(members: Map<String, Value>) -> Value {
    if members.is_empty() { json!("") } else { Value::Object(members) }
}

/// Whole numbers without a fraction, as they are typed.
fn whole(value: f64) -> Value {
    // Above 2^53 a float cannot distinguish neighbouring integers, but no length is that large.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 { json!(value as i64) } else { json!(value) }
}

/// That tool notes the directory it made the run's own directory in.
fn parent_directory(plan: &RunPlan) -> String {
    let directory = match plan.output.artifacts.parent() {
        Some(parent) if plan.output.artifacts.ends_with(names::directory_name(plan)) => parent,
        _ => &plan.output.artifacts,
    };
    directory.display().to_string()
}
