"""What the cases stand on: running Streamgauge, the server's own counts around it, and reading what was written."""
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys

CASES = []


def case(function):
    """A function that gets a `Bench` and fails by an assertion."""
    CASES.append(function)
    return function


class Counted:
    """What the server counted for each model between two of its statistics."""

    def __init__(self, before):
        self.before, self.after = before, None

    def __getitem__(self, model):
        """`Difference` of a model, or of (model, version); of a model with several versions that were asked, the sum."""
        if isinstance(model, tuple):
            return Difference([(self.before[model], self.after[model])])
        return Difference([(self.before[key], self.after[key]) for key in self.after if key[0] == model])

    def touched(self):
        """The models that did something."""
        return {key[0] for key in self.after if self.after[key] != self.before[key]}


class Difference:
    def __init__(self, pairs):
        self.pairs = pairs

    def _sum(self, read):
        return sum(read(after) - read(before) for before, after in self.pairs)

    @property
    def inferences(self):
        return self._sum(lambda each: each["inference_count"])

    @property
    def executions(self):
        return self._sum(lambda each: each["execution_count"])

    def count(self, what):
        return self._sum(lambda each: each["inference_stats"][what]["count"])

    def ns(self, what):
        return self._sum(lambda each: each["inference_stats"][what]["ns"])

    def mean_us(self, what, by=None):
        """Perf Analyzer's mean: whole microseconds, cut off."""
        count = self.count(by or what)
        return self.ns(what) // (count * 1000) if count else 0


class Done:
    """A run of Streamgauge that has ended."""

    def __init__(self, process, directory):
        self.code, self.stdout, self.stderr, self.directory = process.returncode, process.stdout, process.stderr, directory

    @property
    def said(self):
        return self.stdout + self.stderr

    @property
    def shown(self):
        """What is worth showing where a case goes wrong; all of it is in the run's said.txt."""
        return f"{self.directory}: ended with {self.code}\n{self.stderr[-1500:]}\n{self.stdout[-1500:]}"

    def file(self, pattern):
        found = sorted(self.directory.glob("**/" + pattern))
        assert len(found) == 1, f"{pattern}: found {[str(each) for each in found]}, in {self.shown}"
        return found[0]

    def json(self, pattern):
        return json.loads(self.file(pattern).read_text())

    def lines(self):
        """What records.jsonl holds: the run's facts and a record each request, as they were written."""
        return [json.loads(line) for line in self.file("records.jsonl").read_text().splitlines()]

    def all_records(self):
        return [line for line in self.lines() if "phase" in line]

    def records(self):
        """The records that are in the figures."""
        return [line for line in self.all_records() if line["phase"] == "profiling"]

    def experiments(self):
        return self.json("profile_export.json")["experiments"]


class Bench:
    def __init__(self, binary, server, work):
        self.binary, self.server, self.work = binary, server, pathlib.Path(work)
        self.runs = 0

    def command(self, *args):
        return [str(self.binary), *map(str, args)]

    def directory(self):
        self.runs += 1
        directory = self.work / f"run{self.runs}"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory

    def run(self, *args, code=0, limit=120, files=None):
        """Runs it in a directory of its own, in which `files` (name: text, bytes or JSON) are written before."""
        directory = self.directory()
        for name, content in (files or {}).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, (dict, list)):
                content = json.dumps(content)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        command = self.command(*args)
        try:
            done = Done(subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL), directory)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"no end after {limit} s: {' '.join(command)}\n{(late.stderr or b'').decode()}") from None
        (directory / "said.txt").write_text(done.said)
        wanted = code if isinstance(code, (tuple, set)) else {code}
        assert done.code in wanted, f"{' '.join(command)}\n{done.shown}"
        return done

    def profile(self, model, *args, url=None, **more):
        """The native face on Triton over gRPC; what `args` say wins."""
        return self.run("profile", "-m", model, "--service-kind", "triton", "--url", url or self.server.grpc, "--ui", "none",
                        "--artifact-dir", "out", *args, **more)

    def perf(self, model, *args, protocol="grpc", url=None, **more):
        """Perf Analyzer's face; records are kept for the cases to read."""
        url = url or (self.server.grpc if protocol == "grpc" else self.server.http)
        return self.run("perf-analyzer", "-m", model, "-i", protocol, "-u", url, "--artifact-dir", "out", *args, **more)

    @contextlib.contextmanager
    def counted(self):
        """Around a run: what the server counted."""
        counted = Counted(self.server.statistics())
        yield counted
        counted.after = self.server.statistics()


def equal(seen, wanted, what):
    assert seen == wanted, f"{what}: {seen!r}, not {wanted!r}"


def run_cases(bench, parts):
    """Runs the cases whose names hold one of `parts`, and gives the number of those that failed."""
    import time
    import traceback
    chosen = [each for each in CASES if not parts or any(part in each.__name__ for part in parts)]
    if not chosen:
        raise SystemExit(f"no case has one of {parts} in its name; there are {', '.join(each.__name__ for each in CASES)}")
    wrong = 0
    for each in chosen:
        began = time.monotonic()
        try:
            each(bench)
            result = "ok"
        except Exception as problem:  # a case that goes wrong must not hide the others
            wrong += 1
            result = f"FAILED\n{problem if isinstance(problem, AssertionError) and str(problem) else traceback.format_exc()}"
        print(f"{each.__name__}: {result} ({time.monotonic() - began:.1f} s)", flush=True)
    sys.stdout.flush()
    print(f"{len(chosen)} cases against Triton {bench.server.get('v2')['version']}, {wrong} of them failed")
    return wrong
