//! What is in which figure.

use crate::support::{answer, config, facts, failure, goodput, row, stream, summary, summary_of};
use streamgauge_core::{Chunk, FailureClass, Nanos, Outcome, OutputKind, Phase, Record, Stage, Usage};
use streamgauge_stats::{AccumulatorConfig, Counts, Metric, Summary};

fn values(summary: &Summary, metric: Metric) -> Option<(u64, f64, f64)> {
    summary.distribution(metric).map(|known| (known.count, known.min, known.max))
}

fn with_kinds(record: Record, kinds: &[OutputKind]) -> Record {
    let chunks = record.chunks.iter().zip(kinds).map(|(chunk, &kind)| Chunk { kind, ..*chunk }).collect();
    Record { chunks, ..record }
}

#[test]
fn the_formulas() {
    let record = Record {
        first_byte: Some(Nanos(1_000_000)),
        connect: Some(Nanos(250_000)),
        turnaround: Some(Nanos(50_000)),
        usage: Some(Usage { completion_tokens: Some(4), prompt_tokens: Some(27), ..Usage::default() }),
        ..answer(0, 500_000, &[2_500_000, 4_000_000, 10_000_000])
    };
    let summary = summary(&[record]);
    let one = |metric| values(&summary, metric).map(|(count, min, _)| (count, min));
    assert_eq!(one(Metric::TimeToFirstToken), Some((1, 2.0)));
    assert_eq!(one(Metric::TimeToSecondToken), Some((1, 1.5)));
    assert_eq!(one(Metric::RequestLatency), Some((1, 9.5)));
    assert_eq!(one(Metric::InterTokenLatency), Some((1, 2.5)));
    assert_eq!(values(&summary, Metric::InterChunkLatency), Some((2, 1.5, 6.0)));
    assert_eq!(one(Metric::OutputTokenThroughputPerUser), Some((1, 400.0)));
    assert_eq!(one(Metric::OutputSequenceLength), Some((1, 4.0)));
    assert_eq!(one(Metric::InputSequenceLength), Some((1, 20.0)));
    assert_eq!(one(Metric::TimeToFirstByte), Some((1, 0.5)));
    assert_eq!(one(Metric::TimeToFirstAnswer), None);
    assert_eq!(one(Metric::PromptTokensByServer), Some((1, 27.0)));
    assert_eq!(one(Metric::TemplateTokens), Some((1, 7.0)));
    assert_eq!(values(&summary, Metric::ClientLag), Some((3, 0.02, 0.02)));
    assert_eq!(one(Metric::Turnaround), Some((1, 0.05)));
    assert_eq!(one(Metric::ConnectTime), Some((1, 0.25)));
    assert_eq!(summary.duration, Nanos(9_500_000));
    assert_eq!(summary.scalar(Metric::OutputTokenThroughput), Some(4.0 / 0.0095));
    assert_eq!(summary.scalar(Metric::RequestThroughput), Some(1.0 / 0.0095));
    assert_eq!(summary.scalar(Metric::RequestGoodput), None);
    assert_eq!(summary.scalar(Metric::RequestCount), Some(1.0));
    assert!(summary.distributions.is_sorted_by_key(|&(metric, _)| metric));
}

#[test]
fn inter_token_latency_is_rounded_half_to_even_nanoseconds() {
    let latency = |span| {
        let record = Record { usage: None, text_tokens: Some(3), ..answer(0, 0, &[0, span]) };
        summary(&[record]).distribution(Metric::InterTokenLatency).unwrap().avg
    };
    assert_eq!(latency(5), 2e-6);
    assert_eq!(latency(7), 4e-6);
}

#[test]
fn one_event_or_one_token_has_no_inter_token_latency() {
    let one_event = Record { text_tokens: Some(9), usage: None, ..stream(0, 0, 10, 1) };
    let one_token = Record { text_tokens: Some(1), usage: None, ..stream(1, 0, 10, 2) };
    let both = summary(&[one_event, one_token]);
    assert_eq!(both.distribution(Metric::InterTokenLatency), None);
    assert_eq!(both.distribution(Metric::OutputTokenThroughputPerUser), None);
    assert_eq!(values(&both, Metric::TimeToSecondToken), Some((1, 10.0, 10.0)));
    // Two tokens at one instant have a latency of nothing and no rate.
    let at_once = summary(&[answer(0, 0, &[5, 5])]);
    assert_eq!(values(&at_once, Metric::InterTokenLatency), Some((1, 0.0, 0.0)));
    assert_eq!(at_once.distribution(Metric::OutputTokenThroughputPerUser), None);
}

#[test]
fn without_streaming_nothing_is_measured_between_events() {
    let kinds = [OutputKind::Reasoning, OutputKind::Text];
    let record = with_kinds(answer(0, 0, &[30_000_000, 30_000_000]), &kinds);
    let summary = summary_of(AccumulatorConfig { streaming: false, ..config() }, &facts(), &[record]);
    assert_eq!(values(&summary, Metric::TimeToFirstToken), values(&summary, Metric::RequestLatency));
    for metric in [
        Metric::TimeToSecondToken,
        Metric::InterTokenLatency,
        Metric::InterChunkLatency,
        Metric::OutputTokenThroughputPerUser,
        Metric::TimeToFirstAnswer,
    ] {
        assert_eq!(summary.distribution(metric), None, "{metric}");
    }
    assert_eq!(row(&summary, "shared_reads"), None);
}

#[test]
fn the_first_answer_comes_after_reasoning() {
    use OutputKind::{Reasoning, Text, ToolCall};
    let first_answer = |kinds: &[OutputKind]| {
        values(&summary(&[with_kinds(stream(0, 0, 10, 3), kinds)]), Metric::TimeToFirstAnswer).map(|(_, min, _)| min)
    };
    assert_eq!(first_answer(&[Reasoning, Reasoning, Text]), Some(30.0));
    assert_eq!(first_answer(&[Reasoning, Text, Text]), Some(20.0));
    assert_eq!(first_answer(&[Text, Text, Text]), None);
    assert_eq!(first_answer(&[Text, Reasoning, Text]), None);
    assert_eq!(first_answer(&[ToolCall, Text, Text]), None);
    assert_eq!(first_answer(&[Reasoning, Reasoning, ToolCall]), None);
}

#[test]
fn only_successes_after_warm_up_are_in_figures() {
    let slow = || stream(9, -5_000, 1_000, 20);
    let records = [
        stream(0, 0, 10, 10),
        Record { phase: Phase::Warmup, ..slow() },
        Record { outcome: Outcome::CutOff, retries: 1, ..slow() },
        Record { chunks: slow().chunks, ..failure(3, 40, Stage::Body, FailureClass::Truncated, "short") },
        stream(1, 50, 10, 10),
    ];
    let summary = summary(&records);
    let counts = Counts { requests: 4, ok: 2, failed: 1, cut_off: 1, warmup: 1, retried: 1 };
    assert_eq!(summary.counts, counts);
    assert_eq!(values(&summary, Metric::RequestLatency), Some((2, 100.0, 100.0)));
    assert_eq!(summary.distribution(Metric::InterChunkLatency).unwrap().count, 18);
    assert_eq!(summary.distribution(Metric::ClientLag).unwrap().count, 20);
    assert_eq!(summary.duration, Nanos::from_millis(150));
    assert_eq!(summary.scalar(Metric::RequestThroughput), Some(2.0 / 0.15));
    assert_eq!(summary.tokens.by_usage, 2);
}

#[test]
fn failures_are_grouped_with_the_earliest_message() {
    use FailureClass::{Refused, Status};
    let records = [
        failure(7, 3, Stage::Connect, Refused, "later"),
        failure(4, 30, Stage::FirstByte, Status, "503: busy"),
        failure(2, 1, Stage::Connect, Refused, "earlier"),
    ];
    let summary = summary(&records);
    let [refused, status] = summary.failures.as_slice() else { panic!("{:?}", summary.failures) };
    assert_eq!((refused.stage, refused.class, refused.count), (Stage::Connect, Refused, 2));
    assert_eq!(refused.sample, "earlier");
    assert_eq!((refused.time_to_failure.min, refused.time_to_failure.max), (1.0, 3.0));
    assert_eq!((status.class, status.count, status.sample.as_str()), (Status, 1, "503: busy"));
    assert_eq!(values(&summary, Metric::TimeToFailure), Some((3, 1.0, 30.0)));
    assert_eq!(summary.duration, Nanos::ZERO);
    assert_eq!(summary.scalars, [(Metric::RequestCount, 0.0)]);
}

#[test]
fn a_success_without_output_is_a_failure() {
    let hollow = answer(0, 0, &[]);
    let unsent = Record { sent: None, ..stream(1, 0, 10, 2) };
    let summary = summary(&[hollow, unsent]);
    assert_eq!((summary.counts.ok, summary.counts.failed), (0, 2));
    assert_eq!((summary.failures[0].class, summary.failures[0].count), (FailureClass::Empty, 2));
}

#[test]
fn goodput_judges_each_request_by_its_own_values() {
    // Of three: the first keeps both limits, the second has no inter token latency, the third breaks its limit.
    let records = [stream(0, 0, 10, 10), stream(1, 0, 10, 1), stream(2, 0, 20, 5)];
    let rate = |limits| {
        let config = AccumulatorConfig { goodput: goodput(limits), ..config() };
        summary_of(config, &facts(), &records).scalar(Metric::RequestGoodput).unwrap()
    };
    assert_eq!(rate(&[("time_to_first_token", 20.0), ("inter_token_latency", 10.0)]), 1.0 / 0.1);
    assert_eq!(rate(&[("time_to_first_token", 10.0)]), 2.0 / 0.1);
    assert_eq!(rate(&[("output_token_throughput_per_user", 50.0)]), 2.0 / 0.1);
    assert_eq!(rate(&[("output_token_throughput_per_user", 100.1)]), 0.0);
}

#[test]
fn an_empty_run_has_a_summary() {
    let summary = summary(&[]);
    assert_eq!(summary.counts, Counts::default());
    assert!(summary.distributions.is_empty() && summary.failures.is_empty());
    assert_eq!(summary.scalars, [(Metric::RequestCount, 0.0)]);
}
