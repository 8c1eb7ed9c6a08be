//! What is in which figure.

use crate::support::{answer, config, facts, failure, goodput, row, stream, summary, summary_of};
use streamgauge_core::plan::TokenCount;
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

/// An answer that the model ended at once, after `latency` ms.
fn empty_reply(seq: u64, latency: i64) -> Record {
    let usage = Some(Usage { prompt_tokens: Some(30), completion_tokens: Some(1), ..Usage::default() });
    let finish = Some("stop".to_owned());
    Record {
        chunks: Vec::new(),
        end: Nanos::from_millis(latency),
        usage,
        finish,
        text_tokens: None,
        ..answer(seq, 0, &[1])
    }
}

#[test]
fn an_empty_reply_has_a_latency_and_no_tokens() {
    for streaming in [true, false] {
        for token_count in [TokenCount::Auto, TokenCount::Usage, TokenCount::Chunks] {
            let config = AccumulatorConfig { streaming, token_count, ..config() };
            let records = [empty_reply(0, 4), answer(1, 0, &[5_000_000, 8_000_000])];
            let summary = summary_of(config, &facts(), &records);
            assert_eq!((summary.counts.ok, summary.counts.failed), (2, 0));
            assert_eq!(values(&summary, Metric::RequestLatency), Some((2, 4.0, 8.0)));
            assert_eq!(values(&summary, Metric::OutputSequenceLength), Some((2, 0.0, 2.0)));
            assert_eq!(values(&summary, Metric::TimeToFirstToken).map(|(count, ..)| count), Some(1));
            assert_eq!(summary.scalar(Metric::RequestThroughput), Some(2.0 / 0.008));
            assert_eq!(summary.scalar(Metric::OutputTokenThroughput), Some(2.0 / 0.008));
            assert_eq!(values(&summary, Metric::TemplateTokens), Some((1, 10.0, 10.0)));
            // The token that ends a text is in the server's count and in no text.
            assert_eq!((summary.tokens.compared, summary.tokens.disagree), (1, 0));
            let found = row(&summary, "empty_replies").unwrap();
            assert_eq!((&*found.value, found.number), ("1 of 2 successful requests", Some(50.0)));
        }
    }
    // Alone it has a duration too, and no time to first token to be good by.
    let limited = AccumulatorConfig { goodput: goodput(&[("time_to_first_token", 1e9)]), ..config() };
    let alone = summary_of(limited, &facts(), &[empty_reply(0, 4)]);
    assert_eq!(alone.scalar(Metric::RequestThroughput), Some(1.0 / 0.004));
    assert_eq!(alone.scalar(Metric::RequestGoodput), Some(0.0));
    assert_eq!(values(&alone, Metric::TimeToFirstToken), None);
    // A record without a finish reason has nothing to show for its success.
    let unended = Record { finish: None, ..empty_reply(0, 4) };
    assert_eq!(summary_of(config(), &facts(), &[unended]).counts.failed, 1);
}

#[test]
fn a_usage_of_zeros_is_no_count() {
    let usage = Some(Usage { prompt_tokens: Some(0), completion_tokens: Some(0), ..Usage::default() });
    let record = Record { usage, text_tokens: Some(2), ..answer(0, 0, &[1_000_000, 2_000_000]) };
    let summary = summary(&[record]);
    assert_eq!(values(&summary, Metric::OutputSequenceLength), Some((1, 2.0, 2.0)));
    assert_eq!(values(&summary, Metric::PromptTokensByServer), None);
    assert_eq!(values(&summary, Metric::TemplateTokens), None);
    assert_eq!((summary.tokens.by_tokenizer, summary.tokens.compared), (1, 0));
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
    let counts = Counts { requests: 4, ok: 2, failed: 1, cut_off: 1, warmup: 1, retried: 1, ..Counts::default() };
    assert_eq!(summary.counts, counts);
    assert_eq!(values(&summary, Metric::RequestLatency), Some((2, 100.0, 100.0)));
    assert_eq!(summary.distribution(Metric::InterChunkLatency).unwrap().count, 18);
    assert_eq!(summary.distribution(Metric::ClientLag).unwrap().count, 20);
    assert_eq!(summary.duration, Nanos::from_millis(150));
    assert_eq!(summary.scalar(Metric::RequestThroughput), Some(2.0 / 0.15));
    assert_eq!(summary.tokens.by_usage, 2);
}

#[test]
fn an_open_loop_is_measured_from_due_too() {
    let due = |record: Record, due| Record { due: Some(Nanos::from_millis(due)), ..record };
    let records = [
        due(stream(0, 10, 10, 10), 7),
        due(stream(1, 20, 10, 10), 20),
        due(Record { sent: Some(Nanos::from_millis(35)), ..failure(2, 40, Stage::Body, FailureClass::Reset, "") }, 30),
        due(Record { outcome: Outcome::CutOff, ..stream(3, 40, 10, 2) }, 38),
        due(Record { sent: None, ..failure(4, 60, Stage::Connect, FailureClass::Refused, "") }, 50),
        due(Record { sent: None, outcome: Outcome::CutOff, end: Nanos::from_millis(90), ..answer(5, 0, &[]) }, 60),
    ];
    let known = summary(&records);
    assert_eq!(values(&known, Metric::TimeToFirstToken), Some((2, 10.0, 10.0)));
    assert_eq!(values(&known, Metric::TimeToFirstTokenFromDue), Some((2, 10.0, 13.0)));
    assert_eq!(values(&known, Metric::RequestLatencyFromDue), Some((2, 100.0, 103.0)));
    assert_eq!(values(&known, Metric::SendLateness), Some((5, 0.0, 30.0)));
    assert_eq!((known.counts.sent_late, known.counts.never_sent), (4, 1));
    let closed = summary(&[Record { turnaround: Some(Nanos(5)), ..stream(0, 0, 10, 10) }]);
    let open = summary(&[Record { turnaround: Some(Nanos(5)), ..records[1].clone() }]);
    for metric in [Metric::TimeToFirstTokenFromDue, Metric::RequestLatencyFromDue, Metric::SendLateness] {
        assert_eq!(closed.distribution(metric), None);
        assert!(metric.is_from_due() && open.distribution(metric).is_some());
    }
    assert!(closed.distribution(Metric::Turnaround).is_some());
    assert_eq!(open.distribution(Metric::Turnaround), None);
}

#[test]
fn failures_are_the_longest_waits() {
    let failures = |count: u64| (0..count).map(|seq| failure(seq, 1, Stage::Body, FailureClass::Reset, "reset"));
    let answers = |count: u64| (0..count).map(|seq| stream(100 + seq, 0, 1 + seq as i64, 10));
    let with = |ok, failed| summary(&answers(ok).chain(failures(failed)).collect::<Vec<_>>());
    assert!(with(100, 0).with_failures.is_empty());
    let some = with(95, 5);
    let metrics: Vec<Metric> = some.with_failures.iter().map(|&(metric, _)| metric).collect();
    assert_eq!(metrics, [Metric::TimeToFirstToken, Metric::RequestLatency]);
    let (_, latency) = &some.with_failures[1];
    assert_eq!((latency.requests, latency.failed, latency.cut_off), (100, 5, 0));
    assert_eq!([50, 90, 95, 99].map(|p| latency.percentile(p)), [Some(500.0), Some(900.0), Some(950.0), None]);
    let none = with(0, 3);
    assert!(none.with_failures.iter().all(|(_, waits)| waits.percentiles == [None; 9] && waits.requests == 3));
}

#[test]
fn a_wait_that_was_cut_off_is_known_where_what_it_waited_for_had_come() {
    let due = |record: Record| Record { due: Some(Nanos::ZERO), ..record };
    let cut = Record { outcome: Outcome::CutOff, end: Nanos::from_millis(900), ..stream(1, 0, 50, 2) };
    let connecting = Record { sent: None, chunks: Vec::new(), end: Nanos::from_millis(9), ..cut.clone() };
    let records = [stream(0, 0, 10, 10), cut, connecting, failure(3, 1, Stage::Body, FailureClass::Reset, "")].map(due);
    let counts: Vec<(Metric, u64, u64)> = summary(&records)
        .with_failures
        .iter()
        .map(|(metric, waits)| (*metric, waits.requests, waits.cut_off))
        .collect();
    let expected = [
        (Metric::TimeToFirstToken, 3, 0),
        (Metric::TimeToFirstTokenFromDue, 4, 1),
        (Metric::RequestLatency, 3, 1),
        (Metric::RequestLatencyFromDue, 4, 2),
    ];
    assert_eq!(counts, expected);
    let ttft = &summary(&records).with_failures[0].1;
    assert_eq!([50, 75].map(|p| ttft.percentile(p)), [Some(50.0), None]);
}

#[test]
fn rates_have_intervals_when_the_run_is_long_enough() {
    let run = |seconds: i64| -> Vec<Record> {
        (0..seconds * 20).map(|index| stream(index as u64, index * 50 + index % 7, 10, 10)).collect()
    };
    let config = AccumulatorConfig { goodput: goodput(&[("request_latency", 1_000.0)]), ..config() };
    let long = summary_of(config.clone(), &facts(), &run(10));
    let rates = [Metric::OutputTokenThroughput, Metric::RequestThroughput, Metric::RequestGoodput];
    assert_eq!(long.rate_intervals.iter().map(|&(metric, _)| metric).collect::<Vec<_>>(), rates);
    for metric in rates {
        let (rate, interval) = (long.scalar(metric).unwrap(), long.interval(metric).unwrap());
        assert!(interval.low <= rate && rate <= interval.high && interval.reach(rate) < 0.05 * rate, "{metric}");
    }
    assert_eq!(long, summary_of(config, &facts(), &run(10)));
    assert_eq!(long.interval(Metric::RequestCount), None);
    assert_eq!(long.interval(Metric::RequestLatency), long.distribution(Metric::RequestLatency).unwrap().intervals.avg);
    // Half a second of requests that take a tenth: five blocks, and nothing to be told from them.
    assert!(summary(&run(1)[..10]).rate_intervals.is_empty());
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
