"""What goes wrong: each is a clear sentence or a classified record, in time."""
import threading
import time

from cases_perf_analyzer import STREAM, VLLM
from gauge import Bench, case, equal
from server import Server, free_ports

LOAD = ["--isl", 8, "--no-probe"]


def outcomes(done):
    """(outcome, where, what) of each record."""
    return [(record["outcome"], record.get("stage"), record.get("class")) for record in done.records()]


@case
def unknown_model_and_nobody_there(bench):
    for protocol in ("grpc", "http"):
        done = bench.perf("nosuch", protocol=protocol, code=99)
        wanted = "error: failed to get model metadata: Request for unknown model: 'nosuch' is not found"
        assert wanted in done.said, f"not {wanted!r}, but:\n{done.said}"
        nobody = f"127.0.0.1:{free_ports(1)[0]}"
        done = bench.perf("add_sub", protocol=protocol, url=nobody, code=99)
        assert "failed to get model metadata" in done.said and nobody in done.said, done.said
    done = bench.profile("nosuch", "--streaming", code=1)
    assert "nosuch" in done.said, done.said


@case
def unknown_version_and_parts_of_an_ensemble(bench):
    done = bench.perf("add_sub", "-x", 9, code=99)
    assert "9" in done.said and "add_sub" in done.said, done.said


@case
def decoupled_models_need_a_stream(bench):
    """Unary calls of such a model would be refused by the server one by one."""
    for protocol, args in (("http", []), ("grpc", ["--sync"]), ("grpc", ["--async"])):
        done = bench.perf("vllm_model", *args, "--input-data", "in.json", "--request-count", 2, protocol=protocol, files={"in.json": VLLM}, code=(3, 99))
        assert "decoupled" in done.said, f"no word of why:\n{done.said}"


@case
def flags_that_do_not_go_together(bench):
    for args in (["--streaming", "-i", "http"], ["--sync", "--async"], ["--request-count", 2, "--concurrency-range", "1:3"],
                 ["--concurrency-range", "1:2", "--request-rate-range", "1:2"], ["--binary-search"], ["--shared-memory", "cuda"],
                 ["--service-kind", "triton_c_api"], ["--service-kind", "torchserve"], ["--enable-mpi"], ["--percentile", 100],
                 ["--periodic-concurrency-range", "1:4:2", "--streaming", "-i", "grpc"]):
        bench.perf("add_sub", *args, code=3)


@case
def malformed_input_data(bench):
    good = {"INPUT0": [1, 2, 3, 4], "INPUT1": [1, 2, 3, 4]}
    wrong = {
        "not JSON": ('{"data": [\n{"INPUT0": [1, 2 3]}]}', ["line 2"]),
        "no data": ({"other": []}, ["data"]),
        "an input is missing": ({"data": [{"INPUT0": [1, 2, 3, 4]}]}, ["INPUT1"]),
        "an unknown input": ({"data": [{**good, "INPUT7": [1]}]}, ["INPUT7"]),
        "too few elements": ({"data": [good, {**good, "INPUT1": [1, 2]}]}, ["INPUT1", "4", "2"]),
        "text for a number": ({"data": [{**good, "INPUT0": ["a", 2, 3, 4]}]}, ["INPUT0", "FP32"]),
        "a wrong shape": ({"data": [{**good, "INPUT0": {"content": [1, 2, 3, 4], "shape": [2, 2]}}]}, ["INPUT0", "shape"]),
        "bad base64": ({"data": [{**good, "INPUT0": {"b64": "***"}}]}, ["INPUT0"]),
        "streams and steps mixed": ({"data": [good, [good]]}, ["data"]),
    }
    with bench.counted() as counted:
        for name, (content, words) in wrong.items():
            done = bench.perf("add_sub", "--input-data", "bad.json", "--request-count", 2, files={"bad.json": content}, code=(3, 99))
            for word in ["bad.json", *words]:
                assert word in done.said, f"{name}: no {word!r} in:\n{done.said}"
    equal(counted.touched(), set(), "models that were asked")


def sampling(**parameters):
    import json
    return {"data": [{"text_input": ["a b c"], "stream": [True], "sampling_parameters": [json.dumps(parameters)]}]}


def failing(bench, *args, model="vllm_model", data, count=6, code=(0, 1, 3, 99), **more):
    """A run whose requests fail; its records."""
    return bench.perf(model, "--request-count", count, "--input-data", "in.json", *args, files={"in.json": data}, code=code, **more)


@case
def a_model_that_fails(bench):
    """Every request fails: over a unary call before its answer, over a stream after three of eight responses."""
    with bench.counted() as counted:
        done = failing(bench, model="echo_text", data={"data": [{"text_input": ["fail"]}]})
    equal(len(done.records()), 6, "records")
    equal({record["outcome"] for record in done.records()}, {"failed"}, "outcomes")
    # The server counts a request as a success whose Python model answered by an error.
    equal(counted["echo_text"].count("success"), 6, "requests at the server")
    assert "asked to fail" in done.said or any("asked to fail" in str(record) for record in done.records()), done.said
    done = failing(bench, *STREAM, data=sampling(max_tokens=8, fail_after=3))
    equal([(record["outcome"], len(record.get("at_ns", []))) for record in done.records()], [("failed", 3)] * 6, "outcomes and responses")
    assert any("engine failed after 3 tokens" in str(record) for record in done.records()), done.records()[0]


@case
def some_requests_fail(bench):
    """One input of three is an error: the run goes on, over the same stream where there is one, and the count is right."""
    texts = [{"text_input": [text]} for text in ("one", "fail", "three")]
    for args in ([], STREAM):
        with bench.counted() as counted:
            done = failing(bench, *args, model="echo_text", data={"data": texts}, count=9)
        equal([record["outcome"] for record in sorted(done.records(), key=lambda each: each["sent_ns"])], ["ok", "failed", "ok"] * 3, "outcomes")
        equal(counted["echo_text"].count("success"), 9, "requests at the server")
    done = failing(bench, model="echo_text", data={"data": texts}, count=9, protocol="http")
    equal([record["outcome"] for record in sorted(done.records(), key=lambda each: each["sent_ns"])], ["ok", "failed", "ok"] * 3, "outcomes over HTTP")


@case
def a_stream_that_never_ends(bench):
    """The model falls silent after two responses: the idle limit ends it, and the server is told."""
    with bench.counted() as counted:
        done = bench.profile("vllm_model", "--backend", "vllm", "--streaming", "--request-count", 2, "--concurrency", 2, "--isl", 8, "--no-probe",
                             "--idle-timeout", "1s", "--extra-inputs", '{"sampling_parameters": "{\\"max_tokens\\": 8, \\"hang_after\\": 2}"}', code=(0, 1))
    equal([(record["outcome"], len(record.get("at_ns", []))) for record in done.records()], [("failed", 2)] * 2, "outcomes and responses")
    time.sleep(1)
    assert "vllm_model" in counted.touched()


@case
def a_server_that_goes_away(bench):
    """The server is killed amid streams: what was in flight is classified, and nothing hangs or is lost."""
    options = ["--model-control-mode", "explicit", "--load-model", "vllm_model"]
    with Server(bench.triton, bench.models, bench.home / "server-gone.log", options=options) as server:
        own = Bench(bench.binary, server, bench.directory())
        ends = threading.Timer(3, lambda: server.stop(gently=False))
        ends.start()
        done = own.profile("vllm_model", "--backend", "vllm", "--streaming", "--concurrency", 4, "--benchmark-duration", "8s", "--osl", 50, *LOAD,
                           code=(0, 1, 3), limit=60)
        ends.join()
    records = done.records()
    kinds = {record["outcome"] for record in records}
    assert {"ok", "failed"} <= kinds, f"outcomes: {kinds}"
    equal(sorted(record["seq"] for record in records), list(range(len(records))), "numbers of the requests")
    broken = [record for record in records if record["outcome"] == "failed" and record.get("at_ns")]
    assert 1 <= len(broken) <= 4, f"{len(broken)} requests failed amid their answers"
