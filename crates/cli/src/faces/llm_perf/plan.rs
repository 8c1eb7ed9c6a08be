//! What the arguments ask for: the endpoint, the load of each concurrency, and the fixed parameters of every request.

use super::args::{LlmPerfArgs, Protocol};
use crate::settings::default_threads;
use crate::settings::url;
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use streamgauge_core::clock::Nanos;
use streamgauge_core::kserve::{Backend, Channels, Kserve};
use streamgauge_core::load::Load;
use streamgauge_core::origin::Origins;
use streamgauge_core::plan::{
    Acknowledge, Balance, ConnectionPolicy, ConversationRules, Endpoint, ExportLevel, Length, LengthField, LoadPlan,
    Measure, ModelSelection, Output, PromptPlan, RunPlan, Stamps, Timeouts, TokenCount, Transport, Trust,
    record_formats,
};
use streamgauge_core::sampling::Sampling;
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::StopRule;
use streamgauge_core::synthesis::Synthesis;
use streamgauge_prompt::SourceOptions;
use streamgauge_run::{Observe, Position, RunSpec, Subdirectory, TracePart};
use streamgauge_stats::windows::Lenience;

/// The output tokens that every request asks for.
pub const OUTPUT_TOKENS: u32 = 300;
/// The file of requests with their answers, in a run's directory.
pub const EXPORT: &str = "profile_export.json";

/// The parameters of every request, by the names of the model's inputs.
pub fn parameters() -> [(&'static str, Value); 7] {
    [
        ("max_tokens", json!(OUTPUT_TOKENS)),
        ("temperature", json!(1.0)),
        ("top_k", json!(1)),
        ("top_p", json!(0.0)),
        ("beam_width", json!(1)),
        ("repetition_penalty", json!(1.0)),
        ("length_penalty", json!(1.0)),
    ]
}

/// What `args` ask for, with the plan of the first concurrency. `prompts` is the number of prompts, each of which is sent once.
///
/// # Errors
/// When the address is not one.
pub fn spec(args: &LlmPerfArgs, prompts: u32) -> Result<RunSpec> {
    let plan = RunPlan {
        endpoint: endpoint(args)?,
        prompts: PromptPlan {
            count: prompts,
            // The prompts are those of the file, as long as they are.
            input: Length { mean: 0.0, stddev: 0.0 },
            output: Some(Length { mean: f64::from(OUTPUT_TOKENS), stddev: 0.0 }),
            output_exact: false,
            batch: 1,
            prefixes: 0,
            prefix_tokens: 0,
            seed: Seed(0),
            tokenizer: String::new(),
            tokenizer_revision: "main".to_owned(),
            synthesis: Synthesis::default(),
            sampling: Sampling::default(),
        },
        load: LoadPlan {
            mode: Load::concurrency(1),
            prefill: None,
            // The tool ends at the first failure.
            stop: StopRule { failed_share: Some(0.0), ..StopRule::after(prompts.into()) },
            warmup: None,
            cancel: None,
            sequences: None,
            conversations: ConversationRules::default(),
        },
        transport: Transport {
            connections: ConnectionPolicy::Reuse,
            timeouts: Timeouts {
                connect: Nanos::from_millis(10_000),
                first_byte: Nanos::from_millis(600_000),
                idle: Nanos::from_millis(600_000),
                total: Nanos::from_millis(6 * 3_600_000),
            },
            threads: 1,
            stamps: Stamps::Kernel,
            acknowledge: Acknowledge::AtOnce,
            channels: Channels::default(),
        },
        measure: Measure { steady_state: false, token_count: TokenCount::Auto, goodput: Vec::new() },
        output: Output {
            // The answers' texts are counted after the run, as the tool counts them.
            export: ExportLevel::Raw,
            artifacts: std::path::PathBuf::new(),
            export_file: EXPORT.to_owned(),
            record_formats: record_formats(),
        },
        probe: false,
        reset_prefix_cache: false,
        asked: Origins::default(),
    };
    Ok(RunSpec {
        plan,
        subdirectory: Subdirectory::default(),
        keeps_files: true,
        position: Position::default(),
        sim: false,
        prompt_file: None,
        dataset: None,
        source: SourceOptions::default(),
        trace_part: TracePart::default(),
        observe: Observe::default(),
        tokenizer: args.tokenizer_path.clone(),
        may_download: true,
        lenience: Lenience::default(),
        notes: Vec::new(),
    })
}

/// `spec` with that many requests in flight, as the run number `number`, from 0.
pub fn level(spec: &RunSpec, number: usize, concurrency: u32) -> RunSpec {
    let mut spec = spec.clone();
    spec.plan.load.mode = Load::concurrency(concurrency);
    spec.plan.transport.threads = default_threads().min(u16::try_from(concurrency).unwrap_or(u16::MAX));
    spec.subdirectory.name = Some(number.to_string());
    spec.position.level = number;
    spec
}

fn endpoint(args: &LlmPerfArgs) -> Result<Endpoint> {
    // Hints name servers with the scheme of the protocol, which says nothing that -i does not.
    let scheme = format!("{}://", args.protocol.name());
    let server = args.url.strip_prefix(&scheme).unwrap_or(&args.url);
    if server.contains('/') {
        bail!("-u {}: TLS and paths are not available here; give HOST:PORT", args.url);
    }
    let (target, _) = url::target("-u", server)?;
    Ok(Endpoint {
        kind: args.protocol.kind(),
        target,
        others: Vec::new(),
        balance: Balance::RoundRobin,
        // The call, which the model decides.
        path: String::new(),
        models: vec![args.model.clone()],
        model_selection: ModelSelection::RoundRobin,
        streaming: args.protocol == Protocol::Grpc,
        ask_usage: false,
        continuous_usage: false,
        length_field: LengthField::default(),
        headers: Vec::new(),
        extra: Map::new(),
        trust: Trust::System,
        identity: None,
        kserve: Kserve {
            // Each response counts as one, also if it has no text.
            text_output: None,
            backend: Some(Backend::TensorrtLlm),
            ..Kserve::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use streamgauge_core::plan::EndpointKind;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        args: LlmPerfArgs,
    }

    fn asked(words: &str) -> Result<RunSpec> {
        let words = ["llm_perf.py", "--input-data", "p"].into_iter().chain(words.split_whitespace());
        spec(&Typed::try_parse_from(words)?.args, 7)
    }

    fn plan(words: &str) -> Result<RunPlan> {
        Ok(asked(words)?.plan)
    }

    #[test]
    fn each_prompt_is_sent_once_to_the_server_and_model_that_are_named() {
        let usual = plan("").unwrap();
        let of = |plan: &RunPlan| (plan.endpoint.kind, plan.endpoint.target.to_string(), plan.endpoint.streaming);
        assert_eq!(of(&usual), (EndpointKind::KserveGrpc, "http://localhost:8001".into(), true));
        assert_eq!((usual.endpoint.models[0].as_str(), usual.load.stop.requests), ("ensemble", Some(7)));
        let other = plan("-u h:9 -i http -m m").unwrap();
        assert_eq!(of(&other), (EndpointKind::KserveHttp, "http://h:9".into(), false));
        assert_eq!(other.endpoint.models, ["m"]);
        assert_eq!(level(&asked("").unwrap(), 1, 5).plan.load.mode, Load::concurrency(5));
    }

    #[test]
    fn what_the_tool_has_not_is_refused_by_name() {
        for (words, expected) in [
            ("-u https://h:1", "-u https://h:1: TLS and paths are not available here"),
            ("-u h:0", "-u h:0: the port must be"),
            ("-i rest", "invalid value 'rest'"),
            ("--concurrency 1,0", "--concurrency"),
            ("--warmup 3", "--warmup"),
        ] {
            let error = plan(words).unwrap_err().to_string();
            assert!(error.contains(expected), "{words}: {error}");
        }
    }
}
