//! What Perf Analyzer really printed and wrote, from figures taken from it, byte for byte.

use super::*;
use streamgauge_core::Nanos;
use streamgauge_core::kserve::{ModelStatistics, Spent};
use streamgauge_stats::Span;
use streamgauge_stats::perf_analyzer::ModelFigures;

const MS: i64 = 1_000_000;

/// What most of the golden runs have in common.
fn triton(search: Search, window: Window) -> Settings {
    Settings {
        batch: Some(1),
        service: Service::Triton,
        protocol: Protocol::Grpc,
        warmup: 0,
        mode: Mode::Windows(window),
        percentile: None,
        latency_limit_ms: 0,
        search,
        binary: false,
        asynchronous: false,
        decoupled: false,
        sequences: false,
        verbose: false,
    }
}

fn concurrency(start: u32, end: u32) -> Search {
    Search::Concurrency { start, end }
}

/// A level's figures of its client: throughputs of requests and responses, the overhead; requests, latency and its deviation;
/// p50, p90, p95 and p99; a request's time, sending and receiving.
fn client(rates: [f64; 3], latency: [u64; 3], percentiles: [u64; 4], times: [u64; 3]) -> ClientFigures {
    ClientFigures {
        requests: latency[0],
        throughput: rates[0],
        response_throughput: rates[1],
        overhead_percent: rates[2],
        latency_ns: latency[1] * 1000,
        latency_std_us: Some(latency[2]),
        percentiles_us: [50, 90, 95, 99].into_iter().zip(percentiles).collect(),
        request_ns: times[0] * 1000,
        send_ns: times[1] * 1000,
        receive_ns: times[2] * 1000,
        ..ClientFigures::default()
    }
}

fn level(label: Label, client: ClientFigures, server: Option<ModelFigures>) -> LevelReport {
    let server = server.map(|model| ServerFigures { model, cached: false, ambiguous: Vec::new() });
    LevelReport { label, passes: Vec::new(), client, server, gpus: None, stable: true }
}

/// Throughput, latency, and its deviation or its percentile.
fn passes(passes: [(f64, u64, u64); 3]) -> Vec<Pass> {
    let pass = |(throughput, latency_us, other)| Pass {
        span: Span { from: Nanos(0), to: Nanos(1) },
        requests: 1,
        throughput,
        latency_us,
        latency_std_us: Some(other),
        percentile_us: Some(other),
        latency: None,
    };
    passes.map(pass).to_vec()
}

/// A model: inferences, executions and requests; a request's time, the overhead, the queue, and the three steps of computing, which are
/// cut off, so that together they are up to 2 us more; nanoseconds that the queue has beside its microseconds.
fn model(name: &str, counts: [u64; 3], times: [u64; 6], queue_rest: u64) -> ModelFigures {
    let [request, overhead, queue, steps @ ..] = times;
    let cut = (request - queue - overhead).saturating_sub(steps.iter().sum());
    let [input, infer, output] = steps.map(|step| Spent { count: 1, ns: step * 1000 + cut * 334 + 200 });
    let counted = ModelStatistics {
        name: name.into(),
        version: "1".into(),
        inference_count: counts[0],
        execution_count: counts[1],
        success: Spent { count: counts[2], ns: counts[2] * request * 1000 },
        queue: Spent { count: 1, ns: queue * 1000 + queue_rest },
        compute_input: input,
        compute_infer: infer,
        compute_output: output,
        ..ModelStatistics::default()
    };
    ModelFigures { counted, cached: false, composing: Vec::new() }
}

/// All that is printed of a run.
fn console(settings: &Settings, levels: &[LevelReport]) -> String {
    let mut text = console::settings(settings);
    for level in levels {
        text += &console::heading(level.label);
        if settings.verbose {
            for (index, pass) in level.passes.iter().enumerate() {
                text += &console::pass(index + 1, pass, settings);
            }
        }
        text += &console::level(level, settings);
    }
    text + &console::closing(levels, settings)
}

fn csv(settings: &Settings, levels: &[LevelReport], verbose: bool) -> String {
    let mut out = Vec::new();
    csv::write(&mut out, levels, settings, verbose).unwrap();
    String::from_utf8(out).unwrap()
}

/// With input data that tool says first what it read; that is not of these blocks.
fn without_first_line(golden: &str) -> &str {
    golden.split_once('\n').unwrap().1
}

#[test]
fn an_add_sub_model_over_http() {
    let settings = Settings { protocol: Protocol::Http, ..triton(concurrency(2, 1), Window::Time(Nanos(1_000 * MS))) };
    let mut client = client([644.493, 0.0, 0.0], [2324, 3088, 1266], [2978, 3344, 3552, 4929], [3083, 87, 0]);
    client.send_ns += 900;
    let server = model("add_sub", [2324, 1163, 2324], [2725, 4, 2107, 34, 462, 118], 900);
    let levels = [level(Label::Concurrency(2), client, Some(server))];
    assert_eq!(console(&settings, &levels), include_str!("../../tests/golden/perf_analyzer/add_sub.txt"));
    assert_eq!(csv(&settings, &levels, false), include_str!("../../tests/golden/perf_analyzer/add_sub.csv"));
}

#[test]
fn rates_over_grpc() {
    let search = Search::Rate { start: 50.0, end: 100.0, poisson: true };
    let settings = triton(search, Window::Requests(50));
    let levels = [
        level(
            Label::Rate(50.0),
            client([45.962_41, 0.0, 0.0], [230, 3802, 519], [3864, 4267, 4575, 5095], [3770, 15, 5]),
            Some(model("add_sub", [230, 208, 230], [3231, 7, 2151, 53, 621, 398], 100)),
        ),
        level(
            Label::Rate(100.0),
            client([97.539_4, 0.0, 0.0], [293, 3678, 872], [3634, 4605, 5004, 7329], [3649, 12, 4]),
            Some(model("add_sub", [293, 237, 293], [3132, 5, 2077, 54, 620, 375], 100)),
        ),
    ];
    assert_eq!(console(&settings, &levels), include_str!("../../tests/golden/perf_analyzer/rate.txt"));
    // Rows are in the order of throughput.
    let [slow, fast] = levels;
    assert_eq!(csv(&settings, &[fast, slow], false), include_str!("../../tests/golden/perf_analyzer/rate.csv"));
}

#[test]
fn halving_by_a_percentile() {
    let settings = Settings {
        protocol: Protocol::Http,
        percentile: Some(95),
        latency_limit_ms: 20,
        binary: true,
        verbose: true,
        ..triton(concurrency(1, 8), Window::Time(Nanos(800 * MS)))
    };
    let one = level(
        Label::Concurrency(1),
        client([299.275, 0.0, 0.53], [863, 0, 0], [3090, 3850, 4297, 5980], [3314, 102, 0]),
        Some(model("add_sub", [863, 863, 863], [2869, 3, 2212, 34, 496, 123], 0)),
    );
    let eight = level(
        Label::Concurrency(8),
        client([2827.812, 0.0, 2.2], [8340, 0, 0], [2518, 3958, 4946, 8093], [2803, 108, 0]),
        Some(model("add_sub", [8342, 2092, 8342], [1884, 5, 808, 79, 845, 146], 0)),
    );
    let levels = [
        LevelReport { passes: passes([(283.122, 0, 4818), (333.795, 0, 3136), (280.884, 0, 4414)]), ..one },
        LevelReport { passes: passes([(2737.46, 0, 5286), (2999.3, 0, 4218), (2742.77, 0, 5128)]), ..eight },
    ];
    assert_eq!(console(&settings, &levels), include_str!("../../tests/golden/perf_analyzer/binary.txt"));
}

#[test]
fn a_decoupled_ensemble() {
    let settings = Settings {
        asynchronous: true,
        decoupled: true,
        verbose: true,
        ..triton(concurrency(1, 3), Window::Time(Nanos(1_500 * MS)))
    };
    /// With the ensemble's own times, which only the file has.
    fn ensemble(counts: [u64; 3], request: u64, own: [u64; 5], parts: [ModelFigures; 3]) -> ModelFigures {
        let [queue, input, infer, output, queue_rest] = own;
        let times = [request, request - queue - input - infer - output, queue, input, infer, output];
        let [postprocessing, preprocessing, tensorrt_llm] = parts;
        let composing = vec![postprocessing, preprocessing, tensorrt_llm];
        ModelFigures { composing, ..model("ensemble", counts, times, queue_rest) }
    }
    let levels = [
        LevelReport {
            passes: passes([(7.77327, 123_159, 35_061), (8.88033, 112_997, 8_059), (8.88251, 114_424, 8_848)]),
            ..level(
                Label::Concurrency(1),
                client([8.5121, 51.0726, 0.01], [46, 116_586, 20_556], [110_677, 130_672, 130_951, 238_703], [0, 0, 0]),
                Some(ensemble(
                    [46, 46, 46],
                    116_073,
                    [3, 773, 12_360, 3_691, 900],
                    [
                        model("postprocessing", [276, 276, 276], [2616, 31, 753, 105, 1163, 562], 0),
                        model("preprocessing", [47, 47, 47], [3493, 6, 166, 76, 2938, 306], 0),
                        model("tensorrt_llm", [47, 47, 47], [2861, 4, 448, 61, 2343, 4], 0),
                    ],
                )),
            )
        },
        LevelReport {
            passes: passes([(16.6307, 113_921, 9_013), (15.5406, 126_008, 14_951), (18.8696, 106_279, 6_229)]),
            ..level(
                Label::Concurrency(2),
                client(
                    [17.0135, 102.081, 0.01],
                    [92, 114_775, 13_127],
                    [111_060, 135_105, 140_208, 153_018],
                    [0, 0, 0],
                ),
                Some(ensemble(
                    [92, 92, 92],
                    114_034,
                    [3, 400, 6_504, 3_491, 900],
                    [
                        model("postprocessing", [559, 559, 559], [1690, 6, 320, 52, 785, 526], 0),
                        model("preprocessing", [93, 93, 93], [1178, 3, 210, 42, 632, 290], 0),
                        model("tensorrt_llm", [93, 90, 93], [1851, 3, 610, 39, 1166, 32], 0),
                    ],
                )),
            )
        },
        LevelReport {
            passes: passes([(27.715, 109_306, 5_955), (28.2506, 103_510, 5_827), (28.2942, 104_787, 6_476)]),
            ..level(
                Label::Concurrency(3),
                client([28.0866, 168.52, 0.06], [152, 105_845, 6_544], [104_486, 113_497, 119_819, 125_783], [0, 0, 0]),
                Some(ensemble(
                    [152, 152, 152],
                    105_221,
                    [5, 390, 5_578, 2_469, 0],
                    [
                        model("postprocessing", [913, 913, 913], [1362, 4, 286, 45, 648, 377], 0),
                        model("preprocessing", [153, 153, 153], [1119, 4, 175, 56, 696, 187], 0),
                        model("tensorrt_llm", [153, 152, 153], [1429, 4, 366, 59, 987, 12], 0),
                    ],
                )),
            )
        },
    ];
    let golden = include_str!("../../tests/golden/perf_analyzer/ensemble.txt");
    assert_eq!(console(&settings, &levels), without_first_line(golden));
    assert_eq!(csv(&settings, &levels, true), include_str!("../../tests/golden/perf_analyzer/ensemble.csv"));
}

#[test]
fn a_decoupled_model_by_windows_of_requests() {
    let settings = Settings { asynchronous: true, decoupled: true, ..triton(concurrency(1, 1), Window::Requests(10)) };
    let client = client([7.98842, 63.9074, 0.0], [48, 123_972, 5_328], [122_436, 128_815, 132_965, 143_911], [0, 0, 0]);
    let server = model("vllm_model", [49, 49, 49], [1950, 6, 121, 102, 1715, 5], 0);
    let levels = [level(Label::Concurrency(1), client, Some(server))];
    let golden = include_str!("../../tests/golden/perf_analyzer/vllm.txt");
    assert_eq!(console(&settings, &levels), without_first_line(golden));
}

#[test]
fn an_openai_endpoint_by_a_number_of_requests() {
    let settings = Settings {
        batch: None,
        service: Service::OpenAi,
        protocol: Protocol::Http,
        mode: Mode::Requests(8),
        asynchronous: true,
        ..triton(concurrency(1, 1), Window::Requests(1))
    };
    let client = client([7.998_83, 0.0, 0.0], [8, 65_582, 417], [65_430, 65_742, 66_561, 66_561], [65_776, 0, 35_310]);
    let levels = [level(Label::Concurrency(1), client, None)];
    let golden = include_str!("../../tests/golden/perf_analyzer/openai.txt");
    assert_eq!(console(&settings, &levels), without_first_line(golden));
}
