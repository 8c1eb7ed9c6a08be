"""Perf Analyzer's command lines: its report, its search, and what the server counted meanwhile."""
import json

from gauge import case, equal
from report_text import GOLDEN, check_shape, levels, rows

STREAM = ["--async", "--streaming"]
PROMPTS = {"data": [{"text_input": ["hello big world"], "max_tokens": [6], "stream": [True]},
                    {"text_input": ["Once upon a time there was"], "max_tokens": [6], "stream": [True]}]}
VLLM = {"data": [{"text_input": ["Hello, my name is"], "stream": [True], "sampling_parameters": ["{\"max_tokens\": \"8\"}"],
                  "exclude_input_in_output": [True]}]}
SHAPES = ["--shape", "max_tokens:1", "--shape", "text_input:1"]
ANY = ["--stability-percentage", 999]


def check_client(block, records):
    """Counts, mean and percentiles of a `Client:` block of a run whose requests are all in it, from its records."""
    latencies = sorted(record["at_ns"][-1] for record in records)
    equal(block["Request count"], len(latencies), "Request count")
    equal(block["Avg latency"], sum(latencies) // len(latencies) // 1000, "Avg latency")
    for percentile in (50, 90, 95, 99):
        at = int(percentile / 100 * (len(latencies) - 1) + 0.5)
        equal(block[f"p{percentile} latency"], latencies[at] // 1000, f"p{percentile} latency")


def check_server(block, difference, ensemble_of=None):
    """A `Server:` block against what the server counted, where nothing but the measured requests was counted."""
    equal(block["Inference count"], difference.inferences, "Inference count")
    equal(block["Execution count"], difference.executions, "Execution count")
    equal(block["Successful request count"], difference.count("success"), "Successful request count")
    mean, parts = difference.mean_us("success"), block.parts()
    equal(block["Avg request latency"], mean, "Avg request latency")
    computing = ("compute_input", "compute_infer", "compute_output")
    if ensemble_of is None:
        for part in ("queue", *computing):
            equal(parts[part.replace("_", " ")], difference.mean_us(part), part)
        # Computing is worked out as one before it is cut off to microseconds, so the parts may be apart from the mean by as many.
        computed = sum(difference.ns(part) for part in computing) // (difference.count("compute_infer") * 1000)
        equal(parts["overhead"], max(0, mean - difference.mean_us("queue") - computed), "overhead")
    else:
        equal(parts["queue"], sum(each.mean_us("queue") for each in ensemble_of), "queue of the composing models")
        means = [sum(each.ns(part) for part in computing) // (each.count("compute_infer") * 1000) for each in ensemble_of]
        equal(parts["compute"], sum(means), "compute of the composing models")
        equal(parts["overhead"], max(0, mean - parts["queue"] - parts["compute"]), "overhead")


def check_closing(found, closing):
    equal(len(closing), len(found), "closing lines")
    for level, (label, throughput, latency) in zip(found, closing):
        level.label = label if level.label is None else level.label
        equal((level.label, level.client["Throughput"]), (label, throughput), "a closing line's load and throughput")
        equal(level.client["Avg latency"], latency, "a closing line's latency")


def only_level(done):
    found, closing = levels(done.stdout)
    equal(len(found), 1, f"levels in\n{done.stdout}\n")
    check_closing(found, closing)
    return found[0]


def counted_run(bench, model, *args, count=20, protocol="grpc", **more):
    """A run of `--request-count`, of which every figure is held against its records and the server."""
    with bench.counted() as counted:
        done = bench.perf(model, "--request-count", count, "--profile-export-file", "export.json", *args, protocol=protocol, **more)
    level = only_level(done)
    records = done.records()
    equal([record["outcome"] for record in records], ["ok"] * count, "outcomes")
    check_client(level.client, records)
    equal(len(done.json("export.json")["experiments"][0]["requests"]), count, "requests in the export")
    return done, level, counted


@case
def report_over_http(bench):
    done = bench.perf("add_sub", "--concurrency-range", 2, "-p", 1000, *ANY, "-f", "out.csv", protocol="http")
    check_shape(done, "add_sub.txt")
    check_csv(done, "add_sub.csv", 1)


def check_csv(done, golden, count, name="out.csv"):
    header, lines = rows(done.directory / name)
    equal(header, rows(GOLDEN / golden)[0], f"columns of {name}")
    equal(len(lines), count, f"rows of {name}")
    found, _ = levels(done.stdout)
    ours = sorted(((level.label, level.client["Throughput"]) for level in found), key=lambda each: each[1])
    equal([(float(line[header[0]]), float(line["Inferences/Second"])) for line in lines], ours, f"rows of {name}")
    for line in lines:
        level = next(level for level in found if level.label == float(line[header[0]]))
        equal(float(line["p50 latency"]), level.client["p50 latency"], f"p50 latency in {name}")
    return lines


@case
def report_of_rates(bench):
    done = bench.perf("add_sub", "--request-rate-range", "50:100:50", "--request-distribution", "poisson", "--measurement-mode",
                      "count_windows", "--measurement-request-count", 50, *ANY, "-f", "out.csv")
    check_shape(done, "rate.txt")
    check_csv(done, "rate.csv", 2)
    check_closing(*levels(done.stdout))


@case
def report_of_a_binary_search(bench):
    # Both ends of the range keep so wide a limit, which is where the search ends.
    done = bench.perf("add_sub", "--concurrency-range", "1:8", "--binary-search", "-l", 20000, "--percentile", 95, "-p", 800, *ANY, "-v",
                      protocol="http")
    check_shape(done, "binary.txt")


@case
def binary_search_halves_the_range(bench):
    """A limit that no request keeps ends the search at its first level; one that only few at once keep lies between the ends."""
    none = bench.perf("vllm_model", *STREAM, "--input-data", "in.json", "--concurrency-range", "1:8", "--binary-search", "-l", 1, "-p", 500,
                      *ANY, files={"in.json": VLLM}, code=(0, 2))
    equal([level.label for level in levels(none.stdout)[0]], [1], "levels where the first one fails")
    linear = bench.perf("vllm_model", *STREAM, "--input-data", "in.json", "--concurrency-range", "1:0", "-l", 1, "-p", 500, *ANY,
                        files={"in.json": VLLM}, code=(0, 2))
    equal([level.label for level in levels(linear.stdout)[0]], [1], "levels until the limit is passed")


@case
def report_of_an_ensemble(bench):
    done = bench.perf("ensemble", *STREAM, "--input-data", "pa_in.json", *SHAPES, "--concurrency-range", "1:3:1", "--measurement-interval", 1500,
                      *ANY, "-v", "-f", "out.csv", "--verbose-csv", files={"pa_in.json": PROMPTS})
    check_shape(done, "ensemble.txt")
    check_csv(done, "ensemble.csv", 3)
    found, closing = levels(done.stdout)
    check_closing(found, closing)
    for level in found:
        # Windows begin and end amid requests, so the server's count may differ by what was in flight.
        for block, each in ((level.server, 1), (level.composing["tensorrt_llm"], 1), (level.composing["postprocessing"], 6)):
            apart = abs(block["Inference count"] - each * level.client["Request count"])
            assert apart <= 3 * each * 2 * level.label, f"the server's count is {apart} apart at {level.label} at once\n{done.stdout}"
    for model in ("preprocessing", "tensorrt_llm", "postprocessing"):
        header, lines = rows(done.directory / f"{model}_v1.out.csv")
        equal(len(lines), 3, f"rows of {model}'s CSV")


@case
def report_of_vllm(bench):
    done = bench.perf("vllm_model", *STREAM, "--input-data=prompts.json", "--profile-export-file=vllm_export.json",
                      "--measurement-mode=count_windows", "--measurement-request-count=10", "--stability-percentage=999",
                      files={"prompts.json": VLLM})
    check_shape(done, "vllm.txt")
    level = only_level(done)
    ratio = level.client["Response Throughput"] / level.client["Throughput"]
    assert abs(ratio - 8) < 0.001, f"{ratio} responses a request"


@case
def all_of_a_decoupled_run_is_the_servers(bench):
    done, level, counted = counted_run(bench, "ensemble", *STREAM, "--input-data", "in.json", *SHAPES, "--concurrency-range", 3,
                                       files={"in.json": PROMPTS})
    parts = {name: counted[name] for name in ("preprocessing", "tensorrt_llm", "postprocessing")}
    check_server(level.server, counted["ensemble"], ensemble_of=parts.values())
    equal(set(level.composing), set(parts), "composing models")
    for name, difference in parts.items():
        check_server(level.composing[name], difference)
        equal(level.composing[name].version, "1", f"{name}'s version")
    equal(level.composing["postprocessing"]["Inference count"], 20 * 6, "postprocessing, once a token")
    for request in done.json("export.json")["experiments"][0]["requests"]:
        equal(len(request["response_timestamps"]), 6, "responses of a request")
        equal([set(each) for each in request["response_outputs"]], [{"text_output", "sequence_length"}] * 6, "outputs of a request")


@case
def all_of_a_business_logic_run_is_the_servers(bench):
    _, level, counted = counted_run(bench, "tensorrt_llm_bls", *STREAM, "--input-data", "in.json", "--concurrency-range", 2,
                                    "--bls-composing-models", "preprocessing,tensorrt_llm:1,postprocessing", files={"in.json": PROMPTS})
    equal(level.server["Successful request count"], counted["tensorrt_llm_bls"].count("success"), "Successful request count")
    for name in ("preprocessing", "tensorrt_llm", "postprocessing"):
        check_server(level.composing[name], counted[name])
    equal(level.composing["postprocessing"]["Inference count"], 20 * 6, "postprocessing, once a token")


@case
def all_of_ordinary_runs_is_the_servers(bench):
    ways = [("grpc", ["--sync"]), ("grpc", ["--async"]), ("grpc", STREAM), ("http", ["--sync"]), ("http", ["--async"]),
            ("http", ["--input-tensor-format", "json", "--output-tensor-format", "json"]),
            ("http", ["--input-tensor-format", "binary", "--output-tensor-format", "json"]),
            ("grpc", ["--grpc-compression-algorithm", "gzip"]), ("grpc", ["--grpc-compression-algorithm", "deflate", *STREAM])]
    for protocol, args in ways:
        done, level, counted = counted_run(bench, "add_sub", "--concurrency-range", 4, *args, protocol=protocol)
        check_server(level.server, counted[("add_sub", "2")])
        equal(counted[("add_sub", "1")].inferences, 0, "inferences of the lower version")
        for request in done.json("export.json")["experiments"][0]["requests"]:
            check_sums(request)


def check_sums(request):
    sent, got = request["request_inputs"], request["response_outputs"][0]
    for a, b, total, difference in zip(sent["INPUT0"], sent["INPUT1"], got["OUTPUT0"], got["OUTPUT1"]):
        assert near(a + b, total) and near(a - b, difference), f"{a} and {b} came back as {total} and {difference}"


def near(value, other):
    """Equal but for the rounding of 32 bits; sums beyond their range are infinite, and of special values anything goes."""
    return not abs(value) < 3e38 or abs(value - other) <= abs(value) * 1e-5 + 1e-30


@case
def a_version_a_batch_and_a_warmup(bench):
    _, level, counted = counted_run(bench, "add_sub", "-x", 1, "-b", 4, "--concurrency-range", 2)
    equal(counted[("add_sub", "1")].inferences, 80, "inferences of 20 requests with a batch of 4")
    equal(counted[("add_sub", "2")].inferences, 0, "inferences of the other version")
    check_server(level.server, counted[("add_sub", "1")])
    with bench.counted() as counted:
        done = bench.perf("add_sub", "--request-count", 20, "--warmup-request-count", 5, "--concurrency-range", 2)
    # Load does not wait for the counters between the warm-up and what is measured.
    count = only_level(done).server["Inference count"]
    assert abs(count - 20) <= 2, f"the server counted {count}, and 20 were measured, two at once"
    equal(counted["add_sub"].inferences, 25, "inferences with the warm-up")
    assert "Sending 5 warmup request" in done.stdout, done.stdout


@case
def cache_hits_are_the_servers(bench):
    done, level, counted = counted_run(bench, "add_cached", "--input-data", "zero", "--concurrency-range", 1)
    difference = counted["add_cached"]
    equal(level.server["Cache hit count"], difference.count("cache_hit"), "Cache hit count")
    equal(level.server["Cache miss count"], difference.count("cache_miss"), "Cache miss count")
    assert difference.count("cache_hit") >= 19, "one input was computed more than once"
    equal(level.server["Inference count"], difference.inferences, "Inference count")
    equal(level.server["Successful request count"], 20, "Successful request count")


@case
def rates_intervals_and_a_fixed_schedule(bench):
    for args in (["--sync"], ["--async"], STREAM):
        done, level, counted = counted_run(bench, "add_sub", "--request-rate-range", 50, *args, count=60)
        check_server(level.server, counted[("add_sub", "2")])
        dues = sorted(record["due_ns"] for record in done.records())
        equal({later - earlier for earlier, later in zip(dues, dues[1:])}, {20_000_000}, "gaps")
    done, level, _ = counted_run(bench, "add_sub", "--request-intervals", "gaps.txt", files={"gaps.txt": "10000\n30000\n20000\n"})
    equal(level.label, 50, "the rate of the file's gaps")
    dues = sorted(record["due_ns"] for record in done.records())
    gaps = [later - earlier for earlier, later in zip(dues, dues[1:])]
    equal(set(gaps), {10_000_000, 20_000_000, 30_000_000}, "gaps of the file")
    rows = [{"INPUT0": [i, 0, 0, 0], "INPUT1": [0, 0, 0, i], "timestamp": [50 * i]} for i in range(8)]
    with bench.counted() as counted:
        done = bench.perf("add_sub", "--fixed-schedule", *STREAM, "--input-data", "in.json", files={"in.json": {"data": rows}})
    equal(counted["add_sub"].count("success"), 8, "requests of a fixed schedule")
    dues = sorted(record["due_ns"] for record in done.records())
    equal([due - dues[0] for due in dues], [50_000_000 * i for i in range(8)], "dues of a fixed schedule")


@case
def genai_perfs_command(bench):
    """The command that GenAI-Perf gives to Perf Analyzer, with the inputs that `profile` wrote as GenAI-Perf writes them."""
    for model, backend, tensor in (("ensemble", "tensorrtllm", "max_tokens:1"), ("vllm_model", "vllm", "stream:1")):
        written = bench.profile(model, "--backend", backend, "--streaming", "--request-count", 2, "--isl", 12, "--osl", 6, "--num-prompts", 4,
                                "--no-probe")
        with bench.counted() as counted:
            done = bench.run("perf-analyzer", "-m", model, "--async", "--stability-percentage", 999, "--request-count", 8, "-i", "grpc",
                             "--streaming", "--shape", tensor, "--shape", "text_input:1", "-u", bench.server.grpc, "--concurrency-range", 1,
                             "--service-kind", "triton", "--input-data", written.file("inputs.json"), "--profile-export-file", "export.json")
        equal(counted[model].count("success"), 8, "the model's successes")
        export = done.json("export.json")
        equal((export["service_kind"], export["endpoint"]), ("triton", ""), "service_kind and endpoint")
        experiment = export["experiments"][0]
        equal(experiment["experiment"], {"mode": "concurrency", "value": 1}, "experiment")
        texts = [row["text_input"][0] for row in written.json("inputs.json")["data"]]
        sent = [request["request_inputs"]["text_input"] for request in experiment["requests"]]
        equal(sent, texts + texts, "texts in the order of their requests")
        equal([len(request["response_timestamps"]) for request in experiment["requests"]], [6] * 8, "responses")


@case
def parameters_and_headers(bench):
    """The server's models see what was asked of each request; it hands headers on as parameters that begin with `X-`."""
    args = ["--input-data", "in.json", "-H", "X-Team: gauges"]
    text = {"data": [{"text_input": ["parameters"]}]}
    typed = ["--request-parameter", "priority:7:int", "--request-parameter", "mood:so:so:string", "--request-parameter", "quick:true:bool"]
    for protocol, more in (("grpc", typed), ("grpc", [*typed, "--async", "--streaming"]), ("http", [])):
        done, _, _ = counted_run(bench, "echo_text", *args, *more, count=2, protocol=protocol, files={"in.json": text})
        for request in done.json("export.json")["experiments"][0]["requests"]:
            seen = json.loads(request["response_outputs"][0]["text_output"])
            found = {name.lower(): value for name, value in seen.items()}
            equal(found.get("x-team"), "gauges", f"the header over {protocol}")
            if more:
                equal((found["mood"], found["quick"]), ("so:so", True), f"parameters over {protocol}")


@case
def concurrency_that_grows(bench):
    with bench.counted() as counted:
        done = bench.perf("vllm_model", *STREAM, "--periodic-concurrency-range", "2:6:2", "--request-period", 3, "--input-data", "in.json",
                          "--profile-export-file", "grown.json", files={"in.json": VLLM})
    requests = done.json("grown.json")["experiments"][0]["requests"]
    equal(len(requests), 6, "requests of 2, 2 more and 2 more")
    equal([len(each["response_timestamps"]) for each in requests], [8] * 6, "responses of each")
    equal(counted["vllm_model"].count("success"), 6, "the model's successes")
    starts = sorted(each["timestamp"] for each in requests)
    early = sorted(requests, key=lambda each: each["timestamp"])[:2]
    assert starts[2] >= max(each["response_timestamps"][2] for each in early), "the third request came before the third responses"


@case
def trace_settings_and_metrics(bench):
    import urllib.request
    bench.perf("add_sub", "--request-count", 4, "--trace-level", "TIMESTAMPS", "--trace-rate", 500, "--trace-count", 3, "--log-frequency", 2,
               "--collect-metrics", "--metrics-url", f"{bench.server.metrics}/metrics", "--metrics-interval", 200)
    setting = bench.server.get("v2/models/add_sub/trace/setting")
    equal((setting["trace_level"], setting["trace_rate"], setting["log_frequency"]), (["TIMESTAMPS"], "500", "2"), "the server's trace setting")
    off = urllib.request.Request(f"http://{bench.server.http}/v2/models/add_sub/trace/setting", b'{"trace_level":["OFF"]}')
    urllib.request.urlopen(off).read()


@case
def studies(bench):
    for study, sentence in (("prefill", "Average first-token latency"), ("generation", "Average token-to-token latency")):
        done = bench.run("study", study, "-m", "vllm_model", "--service-kind", "triton", "--backend", "vllm", "--url", bench.server.grpc,
                         "--isl", "16,64", "--request-count", 4, "--artifact-dir", "out", *(["--osl", 12] if study == "generation" else []))
        equal(done.stdout.count(sentence), 2, f"sentences of the {study} study in\n{done.stdout}\n")
        assert list(done.directory.glob("**/*.svg")), f"the {study} study drew no chart"
