"""Tensors: input data in all its forms, shapes, datatypes, sequences, shared memory, TLS."""
import base64
import os
import pathlib
import shutil
import struct
import subprocess

from cases_perf_analyzer import STREAM, check_sums, counted_run, only_level
from gauge import Bench, case, equal
from server import Server


def requests_of(done):
    return done.json("export.json")["experiments"][0]["requests"]


def b64(kind, values):
    return {"b64": base64.b64encode(struct.pack(f"<{len(values)}{kind}", *values)).decode()}


FLAT = [{"INPUT0": [i, i + 1, i + 2, i + 3], "INPUT1": [1, 2, 3, 4]} for i in range(3)]


def check_order(done, count, steps):
    sent = [request["request_inputs"]["INPUT0"] for request in sorted(requests_of(done), key=lambda each: each["timestamp"])]
    equal(sent, [steps[i % len(steps)] for i in range(count)], "inputs in their order")
    for request in requests_of(done):
        check_sums(request)


@case
def input_data_in_its_forms(bench):
    steps = [[float(value) for value in step["INPUT0"]] for step in FLAT]
    forms = {
        "flat": {"data": FLAT},
        "one stream": {"data": [FLAT]},
        "base64": {"data": [{"INPUT0": b64("f", step["INPUT0"]), "INPUT1": b64("f", step["INPUT1"])} for step in FLAT]},
        "content and shape": {"data": [{name: {"content": values, "shape": [4]} for name, values in step.items()} for step in FLAT]},
        "base64 in content": {"data": [{name: {"content": b64("f", values), "shape": [4]} for name, values in step.items()} for step in FLAT]},
        "with a model": {"data": [{"model": "add_sub", **step} for step in FLAT]},
    }
    for protocol in ("grpc", "http"):
        for name, content in forms.items():
            done, _, _ = counted_run(bench, "add_sub", "--input-data", "in.json", count=7, protocol=protocol, files={"in.json": content})
            check_order(done, 7, steps)
            assert "Successfully read data for 1 stream/streams with 3 step/steps." in done.stdout, f"{name}:\n{done.stdout}"
    done, _, _ = counted_run(bench, "add_sub", "--input-data", "a.json", "--input-data", "b.json", count=6,
                             files={"a.json": {"data": FLAT[:2]}, "b.json": {"data": FLAT[2:]}})
    check_order(done, 6, steps)
    done, _, _ = counted_run(bench, "add_sub", "--input-data", "in", count=4, files={
        "in/INPUT0": struct.pack("<4f", 5, 6, 7, 8), "in/INPUT1": struct.pack("<4f", 1, 1, 1, 1)})
    check_order(done, 4, [[5.0, 6.0, 7.0, 8.0]])
    done, _, _ = counted_run(bench, "echo_text", "--input-data", "in", count=4, files={"in/text_input": "one line"})
    equal({request["response_outputs"][0]["text_output"] for request in requests_of(done)}, {"ONE LINE"}, "answers")


@case
def input_data_made_up(bench):
    done, _, _ = counted_run(bench, "add_sub", "--input-data", "zero", count=4)
    for request in requests_of(done):
        equal((request["request_inputs"]["INPUT0"], request["response_outputs"][0]["OUTPUT0"]), ([0.0] * 4, [0.0] * 4), "zeros")
    done, _, _ = counted_run(bench, "add_sub", "--input-data", "random", count=4)
    for request in requests_of(done):
        check_sums(request)
    for args, length in ((["--string-length", 9], 9), (["--string-data", "abc def"], 7), ([], 128)):
        done, _, _ = counted_run(bench, "echo_text", *args, count=3)
        for request in requests_of(done):
            said = request["request_inputs"]["text_input"]
            equal((len(said), request["response_outputs"][0]["text_output"]), (length, said.upper()), "a made-up text and its answer")


@case
def expected_outputs_are_compared(bench):
    right = {"data": FLAT[:1], "validation_data": [{"OUTPUT0": [1, 3, 5, 7], "OUTPUT1": [-1, -1, -1, -1]}]}
    counted_run(bench, "add_sub", "--input-data", "in.json", count=3, files={"in.json": right})
    counted_run(bench, "add_sub", "--input-data", "in.json", count=3, protocol="http", files={"in.json": right})
    wrong = {"data": FLAT[:1], "validation_data": [{"OUTPUT0": [1, 3, 5, 8]}]}
    done = bench.perf("add_sub", "--request-count", 3, "--input-data", "in.json", files={"in.json": wrong}, code=(1, 3, 99))
    assert "OUTPUT0" in done.said, f"the output that differs is not named:\n{done.said}"


VALUES = {"BOOL": [True, False], "UINT8": [0, 255], "UINT16": [1, 65535], "UINT32": [1, 4294967295], "UINT64": [1, 18446744073709551615],
          "INT8": [-128, 127], "INT16": [-32768, 1], "INT32": [-2147483648, 7], "INT64": [-9223372036854775808, 7],
          "FP16": [1.5, -0.25], "FP32": [0.5, -8.0], "FP64": [1e300, -2.5], "BYTES": ["héllo", "日本 \"x\"\n"]}


@case
def every_datatype_there_and_back(bench):
    step = {f"IN_{kind}": {"content": values, "shape": [2]} for kind, values in VALUES.items()}
    for protocol, args in (("grpc", []), ("grpc", STREAM), ("http", [])):
        done, _, _ = counted_run(bench, "identity", "--input-data", "in.json", *args, count=3, protocol=protocol, files={"in.json": {"data": [step]}})
        for request in requests_of(done):
            for kind, values in VALUES.items():
                equal(request["response_outputs"][0][f"OUT_{kind}"], values, f"{kind} over {protocol}")
                equal(request["request_inputs"][f"IN_{kind}"], values, f"{kind} as it was sent over {protocol}")


@case
def large_tensors(bench):
    """Four million bytes there and back, compared byte for byte; more than any window or frame holds."""
    elements = 1_000_000
    data = struct.pack(f"<{elements}f", *(float(i % 1000) for i in range(elements)))
    files = {"in/IN_FP32": data, "in/OUT_FP32": data}
    ways = [("grpc", []), ("grpc", STREAM), ("grpc", ["--grpc-compression-algorithm", "gzip"]), ("http", [])]
    for protocol, args in ways:
        with bench.counted() as counted:
            done = bench.perf("identity", "--input-data", "in", "--shape", f"IN_FP32:{elements}", "--request-count", 4, "--concurrency-range", 2,
                              *args, protocol=protocol, files=files)
        equal([record["outcome"] for record in done.records()], ["ok"] * 4, f"outcomes over {protocol}")
        equal(counted["identity"].count("success"), 4, "the model's successes")
        assert all(record["bytes"] >= len(data) or "gzip" in args for record in done.records()), "bytes of the answers"


@case
def shapes_are_given(bench):
    args = ["--shape", "TOKENS_BATCH:1,6", "--shape", "SEQUENCE_LENGTH:1"]
    for protocol in ("grpc", "http"):
        done, _, _ = counted_run(bench, "postprocessing", *args, count=3, protocol=protocol)
        equal({len(request["request_inputs"]["TOKENS_BATCH"]) for request in requests_of(done)}, {6}, "elements")
    done = bench.perf("postprocessing", "--request-count", 3, code=(1, 3, 99))
    assert "TOKENS_BATCH" in done.said and "--shape" in done.said, f"no word of the input whose shape is not known:\n{done.said}"


@case
def optional_inputs_may_be_left_out(bench):
    step = {"input_ids": {"content": [3, 4, 5], "shape": [3]}, "input_lengths": [3], "request_output_len": [5], "streaming": [True]}
    done, level, counted = counted_run(bench, "tensorrt_llm", *STREAM, "--input-data", "in.json", count=6, files={"in.json": {"data": [step]}})
    equal([len(request["response_timestamps"]) for request in requests_of(done)], [5] * 6, "responses")
    equal([[each["output_ids"] for each in request["response_outputs"]] for request in requests_of(done)][0], [3, 5, 7, 6, 8], "tokens")


@case
def sequences_of_a_stateful_model(bench):
    ways = [(["--concurrency-range", 3], 36), (["--concurrency-range", 3, *STREAM], 36), (["--request-rate-range", 40, "--num-of-sequences", 4], 40),
            (["--request-rate-range", 40, "--num-of-sequences", 4, "--serial-sequences", *STREAM], 40)]
    for protocol in ("grpc", "http"):
        for args, count in ways:
            if protocol == "http" and "--streaming" in args:
                continue
            with bench.counted() as counted:
                done = bench.perf("sequence_sum", "--sequence-length", 6, "--sequence-length-variation", 0, "--sequence-id-range", "100:200",
                                  *args, "--request-count", count, "--profile-export-file", "export.json", protocol=protocol)
            check_sequences(done, count)
            difference = counted["sequence_sum"]
            equal(difference.count("fail"), 0, "failures at the server")
            # What the run left open is closed, in no figure.
            opened = sum(record["sequence"]["start"] for record in done.records())
            ended = sum(record["sequence"]["end"] for record in done.records())
            equal(difference.count("success"), count + opened - ended, "requests and those that close what was left open")
            equal(only_level(done).client["Request count"], count, "Request count")


def check_sequences(done, count):
    records = done.records()
    equal([record["outcome"] for record in records], ["ok"] * count, "outcomes")
    turns = {}
    for record in sorted(records, key=lambda each: each["sent_ns"]):
        turns.setdefault(record["sequence"]["id"], []).append(record["sequence"])
    for name, tags in turns.items():
        assert 100 <= name < 200, f"sequence {name} is not in the range"
        assert len(tags) <= 6, f"sequence {name} has {len(tags)} requests"
        equal([tag["start"] for tag in tags], [True] + [False] * (len(tags) - 1), f"starts of sequence {name}")
        equal([tag["end"] for tag in tags], [i == 5 for i in range(len(tags))], f"ends of sequence {name}")
    for request in requests_of(done):
        assert request["sequence_id"] in turns, "sequence_id of the export"
    counts = {}
    for request in sorted(requests_of(done), key=lambda each: each["timestamp"]):
        counts.setdefault(request["sequence_id"], []).append(request["response_outputs"][0]["COUNT"])
    for name, seen in counts.items():
        equal(seen, [1, 2, 3, 4, 5, -6][:len(seen)], f"what the model counted of sequence {name}")


@case
def sequences_take_their_streams_of_data(bench):
    streams = [[{"INPUT": [10 * stream + step]} for step in range(3)] for stream in range(2)]
    done = bench.perf("sequence_sum", "--input-data", "in.json", "--concurrency-range", 2, "--request-count", 12,
                      "--profile-export-file", "export.json", files={"in.json": {"data": streams}})
    sums = {}
    for request in sorted(requests_of(done), key=lambda each: each["timestamp"]):
        sums.setdefault(request["sequence_id"], []).append(request["response_outputs"][0]["OUTPUT"])
    for name, seen in sums.items():
        assert any(seen == whole[:len(seen)] for whole in ([0, 1, 3], [10, 21, 33])), f"sequence {name} summed up to {seen}"


@case
def shared_memory(bench):
    before = set(os.listdir("/dev/shm"))
    for protocol in ("grpc", "http"):
        for args in ([], ["-b", 2], ["--output-shared-memory-size", 4096]):
            with bench.counted() as counted:
                done = bench.perf("add_sub", "--shared-memory", "system", "--request-count", 12, "--concurrency-range", 2, *args, protocol=protocol)
            equal(only_level(done).client["Request count"], 12, "Request count")
            equal(counted["add_sub"].count("success"), 12, "the model's successes")
            equal(counted["add_sub"].inferences, 24 if args[:1] == ["-b"] else 12, "inferences")
            equal(bench.server.get("v2/systemsharedmemory/status"), [], "regions that are left at the server")
            equal({name for name in os.listdir("/dev/shm") if name not in before}, set(), "files that are left in /dev/shm")


def openssl(home, *args):
    subprocess.run(["openssl", *args], cwd=home, check=True, capture_output=True)


@case
def tls_with_a_client_certificate(bench):
    if not shutil.which("openssl"):
        print("tls_with_a_client_certificate: left out, there is no openssl to make certificates with")
        return
    home = pathlib.Path(bench.directory())
    openssl(home, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca",
            "-addext", "basicConstraints=critical,CA:TRUE")
    for name in ("server", "client"):
        (home / "ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        openssl(home, "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(home, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
                "-extfile", "ext", "-out", f"{name}.pem")
    options = ["--grpc-use-ssl", "1", "--grpc-use-ssl-mutual", "1", "--grpc-server-cert", str(home / "server.pem"), "--grpc-server-key",
               str(home / "server.key"), "--grpc-root-cert", str(home / "ca.pem"), "--model-control-mode", "explicit", "--load-model",
               "echo_text", "--load-model", "vllm_model"]
    with Server(bench.triton, bench.models, bench.home / "server-tls.log", options=options) as server:
        own = Bench(bench.binary, server, home / "runs")
        trust = ["--ssl-grpc-use-ssl", "--ssl-grpc-root-certifications-file", home / "ca.pem"]
        identity = ["--ssl-grpc-private-key-file", home / "client.key", "--ssl-grpc-certificate-chain-file", home / "client.pem"]
        counted_run(own, "echo_text", *trust, *identity, count=5)
        own.perf("echo_text", "--request-count", 2, *trust, code=99)
        own.perf("echo_text", "--request-count", 2, "--ssl-grpc-use-ssl", *identity, code=99)
        done = own.profile("vllm_model", "--backend", "vllm", "--streaming", "--request-count", 4, "--isl", 8, "--osl", 4, "--ca-file",
                           home / "ca.pem", "--client-certificate", home / "client.pem", "--client-key", home / "client.key",
                           url=f"grpcs://{server.grpc}")
        equal([record["outcome"] for record in done.records()], ["ok"] * 4, "outcomes over TLS")
