//! A level's figures as Perf Analyzer has them.

use crate::support::{answer, failure};
use streamgauge_core::kserve::{ModelStatistics, SequenceTag, Spent};
use streamgauge_core::record::ThreadFacts;
use streamgauge_core::{FailureClass, Nanos, Phase, Record, Stage};
use streamgauge_stats::Span;
use streamgauge_stats::perf_analyzer::{ClientFigures, FoldPlan, LevelFold, network_us};
use streamgauge_stats::server::{
    GpuFold, RequestParts, ServerFigures, StatisticsError, Watched, gpu_samples, prometheus,
};

const MS: i64 = 1_000_000;

fn client(plan: FoldPlan, records: &[Record]) -> Option<ClientFigures> {
    let mut fold = LevelFold::new(plan);
    records.iter().for_each(|record| fold.add(record));
    let thread = |cpu, wall| ThreadFacts { cpu: Nanos(cpu), wall: Nanos(wall) };
    fold.close(&[thread(1, 100), thread(3, 100), thread(5, 0)])
}

/// Sent at `sent` ms; 2 ms until it was written, answered from `first` to `end`.
fn unary(seq: u64, sent: i64, first: i64, end: i64) -> Record {
    Record {
        written: Some(Nanos((sent + 2) * MS)),
        first_byte: Some(Nanos(first * MS)),
        end: Nanos(end * MS),
        ..answer(seq, sent * MS, &[end * MS])
    }
}

#[test]
fn a_span_has_the_requests_that_ended_in_it() {
    let span = Span { from: Nanos(100 * MS), to: Nanos(600 * MS) };
    let records = [
        unary(0, 10, 90, 99),
        unary(1, 20, 105, 110),
        unary(2, 110, 190, 210),
        Record { due: Some(Nanos(299 * MS - 1)), ..unary(3, 300, 400, 410) },
        Record { due: Some(Nanos(399 * MS)), ..unary(4, 400, 590, 599) },
        unary(5, 500, 590, 600),
        failure(6, 300, Stage::FirstByte, FailureClass::Status, "no"),
        Record { phase: Phase::Warmup, ..unary(7, 100, 200, 210) },
    ];
    let plan = FoldPlan { batch: 4, span: Some(span), percentile: Some(1), ..FoldPlan::default() };
    let figures = client(plan, &records).unwrap();
    assert_eq!((figures.requests, figures.responses), (4, 4));
    assert_eq!((figures.seconds, figures.throughput, figures.response_throughput), (0.5, 32.0, 8.0));
    // 90, 100, 110 and 199 ms.
    assert_eq!((figures.latency_ns, figures.latency_us()), (124_750_000, 124_750));
    assert_eq!(
        figures.percentiles_us,
        [(1, 90_000), (50, 110_000), (90, 199_000), (95, 199_000), (99, 199_000)].into()
    );
    let judged = [Some(1), None, Some(2)].map(|p| figures.stabilizing_us(p));
    assert_eq!(judged, [Some(90_000), Some(124_750), None]);
    // A millisecond late is not delayed.
    assert_eq!((figures.delayed, figures.delayed_percent), (1, 25.0));
    // 5, 20, 10 and 9 ms of receiving.
    assert_eq!([figures.send_us(), figures.receive_us(), figures.request_us()], [2_000, 11_000, 124_750]);
    assert_eq!(figures.wait_us(), 111_750);
    // Sent in the span: 2, 3, 4 and 5; the failed one was sent at 0.
    assert_eq!(figures.send_rate, 8.0);
    assert_eq!(figures.overhead_percent, 2.0);
}

#[test]
fn without_a_span_the_requests_make_it() {
    let last = SequenceTag { id: 1, start: false, end: true };
    let records = [
        Record { sequence: Some(SequenceTag { end: false, ..last }), ..answer(0, 100 * MS, &[150 * MS, 300 * MS]) },
        Record { sequence: Some(last), ..answer(1, 300 * MS, &[400 * MS, 500 * MS, 600 * MS]) },
    ];
    let figures = client(FoldPlan { decoupled: true, ..FoldPlan::default() }, &records).unwrap();
    assert_eq!((figures.requests, figures.responses, figures.sequences), (2, 5, 1));
    assert_eq!((figures.seconds, figures.throughput, figures.response_throughput), (0.5, 4.0, 10.0));
    assert_eq!((figures.sequence_throughput, figures.latency_us()), (2.0, 250_000));
    assert_eq!([figures.request_us(), figures.wait_us()], [0, 0], "not told of decoupled models");
}

#[test]
fn there_are_no_figures_without_a_success() {
    assert_eq!(client(FoldPlan::default(), &[]), None);
    let failed = failure(0, 5, Stage::Body, FailureClass::Truncated, "gone");
    assert_eq!(client(FoldPlan::default(), &[failed, answer(1, 0, &[])]), None);
}

fn statistics(name: &str, version: &str, requests: u64, us: u64) -> ModelStatistics {
    let spent = |us| Spent { count: requests, ns: requests * us * 1000 };
    ModelStatistics {
        name: name.into(),
        version: version.into(),
        inference_count: requests * 2,
        execution_count: requests,
        success: spent(us * 10),
        queue: spent(us),
        compute_input: spent(us),
        compute_infer: spent(us * 2),
        compute_output: spent(us),
        ..ModelStatistics::default()
    }
}

fn watched(name: &str, composing: Vec<Watched>) -> Watched {
    Watched { name: name.into(), composing, ..Watched::default() }
}

#[test]
fn a_servers_figures_are_differences_by_version() {
    let before = [statistics("m", "1", 5, 100), statistics("m", "2", 5, 100), statistics("other", "9", 1, 1)];
    let mut after = before.clone();
    after[0] = statistics("m", "1", 15, 100);
    after[2] = statistics("other", "9", 100, 1);
    let figures = ServerFigures::between(&before, &after, &watched("m", vec![])).unwrap();
    let counted = &figures.model.counted;
    assert_eq!((counted.version.as_str(), counted.inference_count, counted.success.count), ("1", 20, 10));
    assert_eq!((figures.cached, figures.ambiguous.is_empty()), (false, true));
    let model = &figures.model;
    assert_eq!(
        [model.request_us(), model.queue_us(), model.compute_us(), model.overhead_us(false)],
        [1000, 100, 400, 500]
    );

    // Version 10 is higher than version 9, and both had requests.
    let after = [statistics("m", "10", 3, 1), statistics("m", "9", 3, 1)];
    let figures = ServerFigures::between(&[], &after, &watched("m", vec![])).unwrap();
    assert_eq!((figures.model.counted.version.as_str(), figures.ambiguous), ("10", vec!["m".to_owned()]));

    let asked = Watched { version: Some("2".into()), ..watched("m", vec![]) };
    let figures = ServerFigures::between(&before, &before, &asked).unwrap();
    assert_eq!((figures.model.counted.version.as_str(), figures.model.counted.success.count), ("2", 0));

    let none = ServerFigures::between(&before, &before, &watched("m", vec![]));
    assert_eq!(none, Err(StatisticsError::NoVersion("m".into())));
    assert!(none.unwrap_err().to_string().contains("model `m`"));
}

#[test]
fn a_composing_model_may_have_had_nothing_to_do() {
    let before = [statistics("m", "1", 5, 100), statistics("idle", "1", 7, 100)];
    let after = [statistics("m", "1", 15, 100), statistics("idle", "1", 7, 100)];
    let figures = ServerFigures::between(&before, &after, &watched("m", vec![watched("idle", vec![])])).unwrap();
    assert_eq!(figures.model.counted.success.count, 10);
    assert_eq!(figures.model.composing[0].counted.success.count, 0);
}

#[test]
fn sending_is_over_when_the_answer_begins() {
    // Whoever lost the processor within the write sees its end after the answer.
    let late = Record { written: Some(Nanos(30 * MS)), ..unary(0, 10, 14, 15) };
    let figures = client(FoldPlan { percentile: None, batch: 1, decoupled: false, span: None }, &[late]).unwrap();
    assert_eq!([figures.send_ns, figures.receive_ns, figures.request_ns], [4_000_000, 1_000_000, 5_000_000]);
}

#[test]
fn an_ensembles_times_are_those_of_its_models() {
    let after = [
        statistics("ensemble", "1", 10, 1000),
        statistics("b", "1", 10, 10),
        statistics("a", "3", 20, 30),
        statistics("inner", "1", 10, 1),
    ];
    let inner = watched("inner", vec![watched("a", vec![])]);
    let model = watched("ensemble", vec![inner, watched("b", vec![]), watched("b", vec![])]);
    let figures = ServerFigures::between(&[], &after, &model).unwrap().model;
    let names: Vec<&str> = figures.composing.iter().map(|part| part.counted.name.as_str()).collect();
    assert_eq!(names, ["b", "inner"], "by name, each once");
    // b's and a's; those of the inner ensemble itself do not count.
    assert_eq!([figures.queue_us(), figures.compute_us(), figures.own_queue_us()], [40, 160, 1000]);
    assert_eq!(figures.overhead_us(false), 10_000 - 40 - 160);
    assert_eq!(figures.composing[1].composing[0].share_of(&figures), 2.0);
}

#[test]
fn a_cache_answers_for_models() {
    let mut model = statistics("m", "1", 4, 100);
    model.cache_hit = Spent { count: 6, ns: 6 * 10_000 };
    model.cache_miss = Spent { count: 4, ns: 4 * 20_000 };
    let cached = Watched { cached: true, ..watched("m", vec![]) };
    let figures = ServerFigures::between(&[], &[model.clone()], &cached).unwrap();
    assert!(figures.cached);
    let one = &figures.model;
    // (4 x 400 + 6 x 10 + 4 x 20) / 10
    assert_eq!([one.cache_hit_us(), one.cache_miss_us(), one.cache_or_compute_us()], [10, 20, 174]);
    assert_eq!(one.overhead_us(true), 1000 - 100 - 174);
    // With an ensemble's own cache its models may have had no request at all.
    let ensemble = Watched { cached: true, ..watched("m", vec![watched("unasked", vec![])]) };
    let figures = ServerFigures::between(&[], &[model], &ensemble).unwrap();
    assert_eq!(figures.model.composing[0].counted.version, "-1");
    assert_eq!(figures.model.composing[0].counted.success.count, 0);
}

#[test]
fn what_a_mean_request_spent_adds_up() {
    let spent = |count, us: u64| Spent { count, ns: us * 1000 };
    let counted = ModelStatistics {
        name: "m".into(),
        version: "1".into(),
        success: spent(10, 10_000),
        queue: spent(4, 1_000),
        compute_input: spent(4, 200),
        // One inference for each of four requests, so it would be 1,500 of 1,000 by a mean of its own.
        compute_infer: spent(4, 6_000),
        compute_output: spent(4, 300),
        cache_hit: spent(6, 60),
        cache_miss: spent(4, 40),
        ..ModelStatistics::default()
    };
    let parts = |counted: ModelStatistics| {
        ServerFigures::between(&[], &[counted], &watched("m", vec![])).unwrap().model.request_parts()
    };
    let expected = RequestParts {
        request: 1000,
        queue: 100,
        compute_input: 20,
        compute_infer: 600,
        compute_output: 30,
        cache_hit: 6,
        cache_miss: 4,
        rest: 240,
    };
    assert_eq!(parts(counted.clone()), expected);
    // Parts of an ensemble that ran side by side, and a model without requests.
    let side_by_side = ModelStatistics { compute_infer: spent(4, 20_000), ..counted.clone() };
    assert_eq!(parts(side_by_side), RequestParts { compute_infer: 2000, rest: 0, ..expected });
    assert_eq!(parts(ModelStatistics { success: spent(0, 0), ..counted }), RequestParts::default());
}

#[test]
fn a_servers_numbers_may_be_anything() {
    let most = Spent { count: u64::MAX, ns: u64::MAX };
    let wild = ModelStatistics {
        name: "m".into(),
        version: "x".into(),
        success: Spent { count: 1, ns: 1 },
        queue: most,
        compute_input: most,
        compute_infer: most,
        compute_output: most,
        cache_hit: most,
        cache_miss: most,
        ..ModelStatistics::default()
    };
    let figures = ServerFigures::between(&[], &[wild], &watched("m", vec![])).unwrap();
    assert_eq!(figures.model.overhead_us(true), 0);
    assert_eq!((figures.model.request_parts().request, figures.model.request_parts().rest), (0, 0));
    assert_eq!(network_us(&ClientFigures::default(), &figures), 0);
    // One that was started anew counts from zero.
    let (before, after) = ([statistics("m", "1", 9, 100)], [statistics("m", "1", 10, 50)]);
    let figures = ServerFigures::between(&before, &after, &watched("m", vec![])).unwrap();
    assert_eq!(figures.model.counted.queue, Spent { count: 10, ns: 500_000 });
}

#[test]
fn the_networks_part_is_what_nobody_accounts_for() {
    let client =
        ClientFigures { latency_ns: 2_000_900, send_ns: 100_000, receive_ns: 50_000, ..ClientFigures::default() };
    let after = [statistics("m", "1", 1, 100)];
    let server = ServerFigures::between(&[], &after, &watched("m", vec![])).unwrap();
    assert_eq!(network_us(&client, &server), 2_000 - 150 - 500);
}

#[test]
fn gpus_are_told_apart_by_uuid() {
    let page = |used: &str, share: &str| {
        format!(
            "# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)\n# TYPE nv_gpu_utilization gauge\n\
             nv_gpu_utilization{{gpu_uuid=\"GPU-a\"}} {share}\nnv_gpu_utilization{{gpu_uuid=\"GPU-b\"}} 0.5\n\
             nv_gpu_power_usage{{gpu_uuid=\"GPU-a\"}} 40.5\nnv_gpu_memory_used_bytes{{gpu_uuid=\"GPU-a\"}} {used}\n\
             nv_gpu_memory_total_bytes{{gpu_uuid=\"GPU-a\"}} 8000000000.000000\nnv_gpu_utilization 7\n\
             nv_energy_consumption{{gpu_uuid=\"GPU-a\"}} 7\n"
        )
    };
    let mut fold = GpuFold::default();
    for page in [page("3000", "0.25"), page("2000", "0.75"), page("nan", "NaN")] {
        gpu_samples(&prometheus::samples(&page), Nanos::ZERO).iter().for_each(|sample| fold.add(sample));
    }
    let gpus = fold.close();
    let (a, b) = (&gpus["GPU-a"], &gpus["GPU-b"]);
    assert_eq!((a.utilization, a.power, a.memory_used), (Some(0.5), Some(40.5), Some(3000)));
    assert_eq!((a.memory_total, b.utilization, b.power), (Some(8_000_000_000), Some(0.5), None));
    assert_eq!(gpus.len(), 2);
}
