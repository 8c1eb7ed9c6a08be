//! Plans and records for tests and benchmarks. A test takes a value from here and changes the fields that it is about, so that a new
//! field of the plan or of the record is added in one place.
//!
//! ```
//! use streamgauge_core::plan::ExportLevel;
//!
//! let mut plan = streamgauge_testing::plan();
//! plan.output.export = ExportLevel::Raw;
//! assert!(plan.endpoint.streaming);
//! ```

use std::path::PathBuf;
use streamgauge_core::Nanos;
use streamgauge_core::load::Load;
use streamgauge_core::origin::Origins;
use streamgauge_core::plan::{
    Acknowledge, Balance, ConnectionPolicy, ConversationRules, Endpoint, EndpointKind, ExportLevel, Length, LoadPlan,
    Measure, ModelSelection, Output, PromptPlan, RunPlan, Stamps, Target, Timeouts, TokenCount, Transport, Trust,
    record_formats,
};
use streamgauge_core::record::{Outcome, Record};
use streamgauge_core::sampling::Sampling;
use streamgauge_core::seed::Seed;
use streamgauge_core::stop::StopRule;
use streamgauge_core::synthesis::Synthesis;

mod full_queue;

pub use full_queue::FullQueue;

/// A run of eight streamed chat requests in one slot on one thread, without a probe. Every timeout is one second.
pub fn plan() -> RunPlan {
    let second = Nanos::from_millis(1_000);
    RunPlan {
        endpoint: endpoint(),
        prompts: prompts(),
        load: LoadPlan {
            mode: Load::concurrency(1),
            prefill: None,
            stop: StopRule { grace: second, ..StopRule::after(8) },
            warmup: None,
            cancel: None,
            sequences: None,
            conversations: ConversationRules::default(),
        },
        transport: Transport {
            connections: ConnectionPolicy::Reuse,
            timeouts: Timeouts { connect: second, first_byte: second, idle: second, total: second },
            threads: 1,
            stamps: Stamps::Kernel,
            acknowledge: Acknowledge::AtOnce,
            channels: Default::default(),
        },
        measure: Measure { steady_state: false, token_count: TokenCount::Auto, goodput: Vec::new() },
        output: Output {
            export: ExportLevel::Records,
            artifacts: PathBuf::from("artifacts"),
            export_file: "profile_export.json".into(),
            record_formats: record_formats(),
        },
        probe: false,
        reset_prefix_cache: false,
        asked: Origins::default(),
    }
}

/// A server without TLS at `localhost:8000` that streams chat completions of the model `model`.
pub fn endpoint() -> Endpoint {
    Endpoint {
        kind: EndpointKind::Chat,
        target: Target { tls: false, host: "localhost".into(), port: 8000 },
        others: Vec::new(),
        balance: Balance::RoundRobin,
        path: "/v1/chat/completions".to_owned(),
        models: vec!["model".into()],
        model_selection: ModelSelection::RoundRobin,
        streaming: true,
        ask_usage: true,
        continuous_usage: false,
        length_field: Default::default(),
        headers: Vec::new(),
        extra: serde_json::Map::new(),
        trust: Trust::System,
        identity: None,
        kserve: Default::default(),
    }
}

/// One synthetic prompt of 20 tokens, for which no output length is requested.
pub fn prompts() -> PromptPlan {
    PromptPlan {
        count: 1,
        input: Length { mean: 20.0, stddev: 0.0 },
        output: None,
        output_exact: false,
        batch: 1,
        prefixes: 0,
        prefix_tokens: 100,
        seed: Seed(0),
        tokenizer: "cl100k_base".into(),
        tokenizer_revision: "main".into(),
        synthesis: Synthesis::default(),
        sampling: Sampling::default(),
    }
}

/// A successful request of the measured phase that has no times, no output and no usage yet.
pub fn record() -> Record {
    Record { input_tokens: 20, outcome: Outcome::Ok, ..Record::issued(Nanos::ZERO) }
}
