//! What Perf Analyzer really printed and wrote, from figures taken from it, byte for byte.

use super::*;
use streamgauge_core::Nanos;
use streamgauge_core::kserve::{ModelStatistics, Spent};
use streamgauge_stats::Span;
use streamgauge_stats::server::ModelFigures;

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

#[test]
fn settings_have_a_line_for_what_is_not_the_default() {
    let base = triton(concurrency(1, 1), Window::Requests(7));
    let said = |settings: &Settings| {
        let text = console::settings(settings);
        let lines: Vec<String> = text.lines().skip(3).map(|line| line.trim().to_owned()).collect();
        lines[..lines.len() - 1].join("; ")
    };
    let begin = "Using \"count_windows\" mode for stabilization; Stabilizing using average latency and throughput; \
                 Minimum number of samples in each window: 7";
    let calls = "Using synchronous calls for inference";
    assert_eq!(said(&base), format!("{begin}; {calls}"));
    // Without an end there is only a limit of latency.
    let endless = Settings { search: concurrency(4, 0), latency_limit_ms: 9, ..base.clone() };
    assert_eq!(said(&endless), format!("{begin}; Latency limit: 9 msec; {calls}"));
    let rate = |start, end| Settings { search: Search::Rate { start, end, poisson: false }, ..base.clone() };
    let uniform = "Using uniform distribution on request generation";
    assert_eq!(said(&rate(1.0, 1.0)), format!("{begin}; {uniform}; {calls}"));
    assert_eq!(said(&rate(2.0, 0.0)), format!("{begin}; Latency limit: 0 msec; {uniform}; {calls}"));
    let down = "Latency limit: 0 msec; Request Rate limit: 7.5 requests per seconds";
    assert_eq!(said(&rate(7.5, 2.5)), format!("{begin}; {down}; {uniform}; {calls}"));
    assert_eq!(said(&Settings { search: Search::Custom, ..base.clone() }), format!("{begin}; {calls}"));
    for (count, words) in [
        (1, "Sending 1 warmup request; Sending 1 benchmark request"),
        (2, "Sending 2 warmup requests; Sending 2 benchmark requests"),
    ] {
        let counted = Settings { warmup: count, mode: Mode::Requests(count), ..base.clone() };
        assert_eq!(said(&counted), format!("{words}; {calls}"));
    }
}

#[test]
fn what_is_wrong_with_a_level_is_said_in_it() {
    let settings = Settings { sequences: true, verbose: true, ..triton(concurrency(1, 1), Window::Requests(7)) };
    let client = ClientFigures {
        delayed_percent: 12.345,
        send_rate: 9.876,
        sequences: 3,
        sequence_throughput: 1.5,
        latency_std_us: None,
        ..client([1.5, 0.0, 50.1], [1, 2_000, 0], [2_000; 4], [2_000, 300, 200])
    };
    let idle = model("m", [0, 0, 0], [0; 6], 0);
    let text = console::level(&level(Label::Rate(10.0), client, Some(idle)), &settings);
    let expected = "  Client: \n    Request count: 1\n    Avg send request rate: 9.88 infer/sec\n    \
        [WARNING] Perf Analyzer was not able to keep up with the desired request rate. 12.35% of the requests were delayed. \n    \
        Sequence count: 3 (1.5 seq/sec)\n    Throughput: 1.5 infer/sec\n    Avg client overhead: 50.10%\n    \
        Avg latency: 2000 usec (standard deviation 18446744073709551615 usec)\n    p50 latency: 2000 usec\n    \
        p90 latency: 2000 usec\n    p95 latency: 2000 usec\n    p99 latency: 2000 usec\n    \
        Avg gRPC time: 2000 usec (marshal 300 usec + response wait 1500 usec + unmarshal 200 usec)\n  \
        Server: \n    Request count: 0\n\
        [WARNING] Perf Analyzer is not able to keep up with the desired load. The results may not be accurate.\n";
    assert_eq!(text, expected);
    let empty = Pass { requests: 0, ..passes([(0.0, 0, 0); 3])[0] };
    assert_eq!(
        console::pass(4, &empty, &settings),
        "  Pass [4] cb::Error: No valid requests recorded within time interval. Please use a larger time window.\n"
    );
    let batch = Settings { batch: Some(4), ..settings };
    let pass = passes([(2.5, 100, 20); 3])[0];
    assert_eq!(
        console::pass(1, &pass, &batch),
        "  Pass [1] throughput: 10 infer/sec. Avg latency: 100 usec (std 20 usec). \n"
    );
    assert_eq!(console::closing(&[], &batch), "");
    assert_eq!(console::heading(Label::Custom(3.0)), "");
}

/// A model that answered four of ten requests itself.
fn cached(name: &str) -> ModelFigures {
    let mut model = model(name, [4, 4, 10], [900, 0, 100, 50, 600, 150], 0);
    model.counted.cache_hit = Spent { count: 6, ns: 6 * 10_000 };
    model.counted.cache_miss = Spent { count: 4, ns: 4 * 20_000 };
    for spent in [&mut model.counted.compute_input, &mut model.counted.compute_infer, &mut model.counted.compute_output]
    {
        *spent = Spent { count: 4, ns: spent.ns * 4 };
    }
    ModelFigures { cached: true, ..model }
}

#[test]
fn a_cache_has_its_lines_and_columns() {
    let settings = triton(concurrency(1, 1), Window::Requests(7));
    let client = client([10.0, 0.0, 0.0], [10, 1_000, 1], [1_000; 4], [1_000, 10, 10]);
    let with = |model: ModelFigures| {
        let server = ServerFigures { cached: true, model, ambiguous: Vec::new() };
        LevelReport { server: Some(server), ..level(Label::Concurrency(1), client.clone(), None) }
    };
    let server_of = |level: &LevelReport| {
        let text = console::level(level, &settings);
        text.split_once("  Server: \n").unwrap().1.to_owned()
    };
    // (4 x 800.6 + 6 x 10 + 4 x 20) / 10 = 334.24
    let own = "    Inference count: 4\n    Execution count: 4\n    Cache hit count: 6\n    Cache miss count: 4\n    \
        Successful request count: 10\n    \
        Avg request latency: 900 usec (overhead 466 usec + queue 100 usec + cache hit/miss 334 usec)\n      \
        Average Cache Hit Latency: 10 usec\n      \
        Average Cache Miss Latency: 820 usec (cache lookup/insertion 20 usec + compute input 50 usec + compute infer 600 usec \
        + compute output 150 usec)\n";
    let level = with(cached("m"));
    assert_eq!(server_of(&level), own);
    let file = csv(&settings, &[level], false);
    assert!(file.contains(",Server Compute Output,Server Cache Hit,Server Cache Miss,Client Recv,"), "{file}");
    assert!(file.ends_with("\n1,10,10,49,100,50,600,150,10,20,10,1000,1000,1000,1000\n"), "{file}");

    // An ensemble's means are those of its models; with a cache of its own its time has no parts.
    let ensemble = |own| ModelFigures { composing: vec![cached("part")], cached: own, ..cached("ensemble") };
    let text = server_of(&with(ensemble(false)));
    assert!(text.contains("900 usec (overhead 466 usec + queue 100 usec + cache hit/miss 334 usec)\n"), "{text}");
    assert!(text.contains("      Average Cache Miss Latency: 840 usec \n\n  Composing models: \n  part, version: 1\n"));
    let text = server_of(&with(ensemble(true)));
    assert!(text.contains("    Avg request latency: 900 usec\n      Average Cache Hit Latency: 20 usec\n"), "{text}");
}

#[test]
fn composing_models_have_files_of_their_own() {
    let settings = Settings { decoupled: true, ..triton(concurrency(1, 2), Window::Requests(7)) };
    let ensemble = |parts: &[(&str, u64)]| {
        let part = |&(name, requests): &(&str, u64)| model(name, [requests; 3], [1_000, 400, 100, 50, 300, 150], 0);
        ModelFigures {
            composing: parts.iter().map(part).collect(),
            ..model("ensemble", [10, 10, 10], [5_000, 0, 0, 0, 0, 0], 0)
        }
    };
    let at = |concurrency, throughput, parts: &[(&str, u64)]| {
        let client = client([throughput, 0.0, 0.0], [10, 1_000, 1], [1_000; 4], [0, 0, 0]);
        level(Label::Concurrency(concurrency), client, Some(ensemble(parts)))
    };
    let levels = [at(2, 20.0, &[("a", 30), ("b", 10)]), at(1, 12.0, &[("a", 15), ("b", 10)])];
    let titles = "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
                  Server Compute Infer,Server Compute Output,Client Recv\n";
    let rest = "0,399,100,50,300,150,0";
    let expected = [("a", ["18", "60"]), ("b", ["12", "20"])].map(|(name, [slow, fast])| {
        (format!("{name}_v1.levels.csv"), format!("{titles}1,{slow},{rest}\n2,{fast},{rest}\n"))
    });
    assert_eq!(csv::composing("levels.csv", &levels, &settings), expected);
    assert!(csv::composing("levels.csv", &[], &settings).is_empty());
    let plain = level(Label::Concurrency(1), levels[0].client.clone(), None);
    assert!(csv::composing("levels.csv", &[plain], &settings).is_empty());
}

#[test]
fn gpus_are_shown_one_by_one_up_to_sixteen() {
    let settings = triton(concurrency(1, 1), Window::Requests(7));
    let gpu = GpuFigures {
        utilization: Some(0.123_456_7),
        power: Some(40.0),
        memory_used: Some(3_000),
        memory_total: Some(8_000_000_000),
    };
    let client = client([10.0, 0.0, 0.0], [10, 1_000, 1], [1_000; 4], [1_000, 10, 10]);
    let with = |gpus: BTreeMap<String, GpuFigures>| LevelReport {
        gpus: Some(gpus),
        ..level(Label::Concurrency(1), client.clone(), None)
    };
    let two = with([("GPU-a".into(), gpu.clone()), ("GPU-b".into(), GpuFigures::default())].into());
    let text = console::level(&two, &settings);
    let shown = "  Server Prometheus Metrics: \n    Avg GPU Utilization:\n      GPU-a : 12.3457%\n    Avg GPU Power Usage:\n      \
        GPU-a : 40 watts\n    Max GPU Memory Usage:\n      GPU-a : 3000 bytes\n    Total GPU Memory:\n      \
        GPU-a : 8000000000 bytes\n";
    assert!(text.ends_with(shown), "{text}");
    let file = csv(&settings, &[two], true);
    assert!(
        file.contains(",Avg GPU Utilization,Avg GPU Power Usage,Max GPU Memory Usage,Total GPU Memory\n"),
        "{file}"
    );
    assert!(file.ends_with(",GPU-a:0.123457;,GPU-a:40;,GPU-a:3000;,GPU-a:8000000000;\n"), "{file}");
    let many = with((0..17).map(|index| (format!("GPU-{index}"), gpu.clone())).collect());
    assert!(console::level(&many, &settings).ends_with("use the CSV output feature to see metrics.\n"));
}
