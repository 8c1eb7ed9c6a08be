//! What several tests begin with: the plan of the golden runs, and summaries made from their figures.

use serde_json::Value;
use std::borrow::Cow;
use std::path::PathBuf;
use streamgauge_core::kserve::{Backend, Kserve};
use streamgauge_core::load::Load;
use streamgauge_core::plan::{EndpointKind, Header, HeaderValue, Length, RunPlan};
use streamgauge_core::record::{RunFacts, ThreadFacts};
use streamgauge_core::{Message, Nanos, Record};
use streamgauge_stats::calibration::{Agreement, Calibration, Compared, Errors, Machine, Offered, Point};
use streamgauge_stats::{
    Counts, Distribution, Fidelity, FidelityRow, Grade, Intervals, Metric, PERCENTILES, Scope, Summary, Timeline,
    TokenSources,
};
use streamgauge_wire::endpoints::spec;

/// The plan of the golden run of that kind.
pub(crate) fn plan(kind: EndpointKind) -> RunPlan {
    let (name, streaming, slots) = match kind {
        EndpointKind::Chat => ("chat", true, 2),
        EndpointKind::Completions => ("completions", false, 1),
        _ if spec(kind).capabilities.describes_models => return triton_plan(kind),
        _ => (kind.name(), false, 2),
    };
    let limits = [("time_to_first_token".to_owned(), 40.0), ("inter_token_latency".to_owned(), 6.0)];
    let mut plan = streamgauge_testing::plan();
    plan.endpoint.kind = kind;
    plan.endpoint.target.port = 18700;
    plan.endpoint.path = spec(kind).default_path("", None, false);
    plan.endpoint.models = vec!["tinychat".into()];
    plan.endpoint.streaming = streaming;
    plan.prompts.count = 4;
    plan.prompts.output = Some(Length { mean: 8.0, stddev: 0.0 });
    plan.prompts.tokenizer = "/models/tok".into();
    plan.load.mode = Load::concurrency(slots);
    plan.measure.goodput = if kind == EndpointKind::Chat { limits.to_vec() } else { Vec::new() };
    plan.probe = true;
    plan.output.artifacts = PathBuf::from(format!("gp-{name}/tinychat-openai-{name}-concurrency{slots}"));
    plan
}

/// The plan of the golden run of a model behind TensorRT-LLM's inputs.
fn triton_plan(kind: EndpointKind) -> RunPlan {
    let mut plan = plan(EndpointKind::Chat);
    let endpoint = &mut plan.endpoint;
    endpoint.kind = kind;
    endpoint.models = vec!["ensemble".into()];
    endpoint.target.port = 18621;
    endpoint.path = spec(kind).default_path("ensemble", None, true);
    endpoint.kserve = Kserve { decoupled: true, backend: Some(Backend::TensorrtLlm), ..Kserve::default() };
    plan.prompts.output = Some(Length { mean: 6.0, stddev: 0.0 });
    plan.prompts.output_exact = true;
    plan.load.mode = Load::concurrency(1);
    plan.measure.goodput.clear();
    plan.output.artifacts = PathBuf::from("gp-trtllm/ensemble-triton-tensorrtllm-concurrency1");
    plan
}

/// The plan of the golden run of a model behind vLLM's inputs.
fn vllm_plan() -> RunPlan {
    let mut plan = triton_plan(EndpointKind::KserveGrpc);
    plan.endpoint.models = vec!["vllm_model".into()];
    plan.endpoint.kserve = Kserve { decoupled: true, backend: Some(Backend::Vllm), ..Kserve::default() };
    plan.prompts.output_exact = false;
    plan.output.artifacts = PathBuf::from("gp-vllm/vllm_model-triton-vllm-concurrency1");
    plan
}

/// A header that must not be seen anywhere.
pub(crate) fn secret_header() -> Header {
    Header { name: "Authorization".into(), value: HeaderValue::Secret("Bearer sk-secret".into()) }
}

/// A successful request that did nothing.
pub(crate) fn record() -> Record {
    Record { requested_output_tokens: Some(8), ..streamgauge_testing::record() }
}

/// What a run left beside its records.
pub(crate) fn facts() -> RunFacts {
    RunFacts {
        started: Nanos(5),
        ended: Nanos(2_000_000_005),
        anchor_wall: 1_795_314_657_000_000_000,
        kernel_stamps: true,
        threads: vec![ThreadFacts { cpu: Nanos(1), wall: Nanos(2) }],
        connections_opened: 2,
        ..RunFacts::default()
    }
}

/// A distribution over enough values for every percentile.
pub(crate) fn distribution([avg, min, max, std]: [f64; 4], percentile: impl Fn(u8) -> f64) -> Distribution {
    Distribution {
        count: 10_000,
        exact: true,
        avg,
        min,
        max,
        std,
        percentiles: PERCENTILES.map(percentile),
        intervals: Intervals::default(),
    }
}

/// A summary without any figures.
pub(crate) fn empty_summary() -> Summary {
    let row = |key, title, value: &str, grade, remedy: Option<&str>| FidelityRow {
        key: Cow::Borrowed(key),
        title: Cow::Borrowed(title),
        value: value.into(),
        number: None,
        unit: Cow::Borrowed(""),
        grade,
        remedy: remedy.map(Message::from),
    };
    Summary {
        distributions: Vec::new(),
        scalars: Vec::new(),
        rate_intervals: Vec::new(),
        with_failures: Vec::new(),
        counts: Counts { requests: 8, ok: 8, ..Counts::default() },
        failures: Vec::new(),
        timeline: Timeline::default(),
        tokens: TokenSources { by_usage: 8, compared: 8, ..TokenSources::default() },
        duration: Nanos::from_millis(262),
        scope: Scope::Run,
        targets: Vec::new(),
        conversations: None,
        repeats: None,
        steady_state: None,
        server: None,
        gpus: Default::default(),
        fidelity: Fidelity {
            verdict: Grade::Degraded,
            rows: vec![
                row("clock", "Receive stamps", "kernel", Grade::Good, None),
                row("turnaround", "Client's share", "2.1 % of latency", Grade::Degraded, Some("give it more threads")),
            ],
        },
    }
}

/// The figures of a golden `profile_export_genai_perf.json` as a summary.
pub(crate) fn golden_summary(text: &str) -> Summary {
    let document: Value = serde_json::from_str(text).unwrap();
    let mut summary = empty_summary();
    for metric in Metric::ALL {
        let figures = &document[metric.key()];
        let number = |name: &str| figures[name].as_f64().unwrap();
        if figures["p50"].is_number() {
            let values = distribution(["avg", "min", "max", "std"].map(number), |p| number(&format!("p{p}")));
            summary.distributions.push((metric, values));
        } else if figures["avg"].is_number() {
            summary.scalars.push((metric, number("avg")));
        }
    }
    summary
}

/// The golden runs: the plan, the folder's JSON.
pub(crate) fn golden_runs() -> [(RunPlan, &'static str); 4] {
    [
        (plan(EndpointKind::Chat), include_str!("../tests/golden/chat/profile_export_genai_perf.json")),
        (plan(EndpointKind::Completions), include_str!("../tests/golden/completions/profile_export_genai_perf.json")),
        (plan(EndpointKind::KserveGrpc), include_str!("../tests/golden/trtllm/profile_export_genai_perf.json")),
        (vllm_plan(), include_str!("../tests/golden/vllm/profile_export_genai_perf.json")),
    ]
}

/// The figures that only we have, on top of a summary's.
pub(crate) fn add_ours(summary: &mut Summary) {
    let steady = |value: f64| distribution([value, value, value, 0.0], |_| value);
    for (metric, value) in [
        (Metric::InterChunkLatency, 4.99),
        (Metric::TimeToFirstByte, 30.2),
        (Metric::TemplateTokens, 11.0),
        (Metric::ClientLag, 0.03),
    ] {
        summary.distributions.push((metric, steady(value)));
    }
}

/// A calibration of four points: a good one, a false good one, a false alarm and an open loop.
pub(crate) fn calibration() -> Calibration {
    let streams = |streams, itl_ms| Offered::Streams { streams, itl_ms };
    let points = vec![
        point(streams(64, 20.0), 0.005, Grade::Good),
        point(streams(1_024, 20.0), 0.3, Grade::Good),
        point(streams(64, 5.0), 0.01, Grade::Degraded),
        point(Offered::Rate { per_second: 500.0 }, 0.008, Grade::Good),
    ];
    let machine = Machine { cpu: "A Processor".into(), processors: 2, kernel: "linux 6".into(), version: "0".into() };
    Calibration::of(machine, "2026-11-22T06:30:00Z".into(), 3.0, points)
}

fn point(offered: Offered, error: f64, verdict: Grade) -> Point {
    let compared = Compared { reported: 30.0 + error, truth: 30.0, error };
    let (small, good) = (error <= 0.1, verdict == Grade::Good);
    Point {
        offered,
        faithful: small && good,
        agreement: match (small, good) {
            (true, false) => Agreement::FalseAlarm,
            (false, true) => Agreement::FalseGood,
            _ => Agreement::Agrees,
        },
        errors: Some(Errors { ttft_p50: compared, ttft_p99: compared, itl_p50: compared, itl_p99: compared }),
        unmatched: None,
        verdict,
        caveats: if good { vec![] } else { vec!["load_thread_cpu".into()] },
        requests: 300,
        events: 9_000,
        tokens_per_second: Some(3_200.4),
        client_lag_p50_ms: Some(0.02),
        client_lag_p99_ms: Some(0.2),
        late_shared_reads_percent: Some(0.01),
        late_first_tokens_percent: None,
        send_lateness_p99_ms: matches!(offered, Offered::Rate { .. }).then_some(0.15),
        load_thread_cpu_percent: Some(12.0),
        server_late_p99_ms: Some(0.4),
        server_late: false,
    }
}
