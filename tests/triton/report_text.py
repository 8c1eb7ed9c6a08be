"""Reads Perf Analyzer's console report and its CSV."""
import csv
import pathlib
import re

# What Perf Analyzer itself printed on this server's models.
GOLDEN = pathlib.Path(__file__).parent / "../../crates/report/tests/golden/perf_analyzer"

NUMBER = re.compile(r"(?<![A-Za-z\d])\d+(\.\d+)?(e[+-]\d+)?")
# Lines that come and go with the machine's mood.
MOODS = ("Avg send request rate", "[WARNING]", "WARNING")


def shape(text):
    """The lines with their numbers masked, runs of passes as one."""
    lines = []
    for line in text.splitlines():
        if line.strip().startswith(MOODS):
            continue
        line = NUMBER.sub("N", line)
        if not (lines and "Pass [" in line and "Pass [" in lines[-1]):
            lines.append(line)
    return lines


def check_shape(done, golden):
    """The report has the golden one's lines, whatever the numbers in them."""
    ours, theirs = shape(done.stdout), shape((GOLDEN / golden).read_text())
    for at, (our, their) in enumerate(zip(ours, theirs)):
        assert our == their, f"line {at + 1} of the report is {our!r}, and in {golden} {their!r}; the report:\n{done.stdout}"
    assert len(ours) == len(theirs), f"the report has {len(ours)} lines, {golden} {len(theirs)}:\n{done.stdout}"


def rows(path):
    """A CSV as its header and its rows."""
    header, *lines = list(csv.reader(path.read_text().splitlines()))
    return header, [dict(zip(header, line)) for line in lines]


class Block:
    """What a `Client:` or `Server:` block says, each line's first number by the words before it."""

    def __init__(self):
        self.values, self.text = {}, []

    def take(self, line):
        self.text.append(line)
        found = re.match(r"([^:]+): ([\d.e+]+)", line.strip())
        if found:
            self.values[found.group(1)] = float(found.group(2))

    def __getitem__(self, name):
        return self.values[name]

    def __contains__(self, name):
        return name in self.values

    def parts(self):
        """The parts in brackets behind the mean request latency: {"overhead": 4, "queue": 2107, ..} in microseconds."""
        line = next(line for line in self.text if "Avg request latency" in line)
        inner = line[line.index("(") + 1:line.rindex(")")]
        return {name: int(value) for name, value in re.findall(r"([a-z/ ]+?) (\d+) usec(?: \+ )?", inner)}


class Level:
    def __init__(self, label):
        self.label, self.client, self.server, self.composing, self.passes = label, Block(), None, {}, 0


def levels(text):
    """The levels of a report in order, and the closing lines' triples (label, throughput, latency)."""
    found, closing, block, level = [], [], None, None
    for line in text.splitlines():
        head = re.match(r"(Request concurrency|Request Rate): ([\d.]+)", line)
        end = re.match(r"(?:Concurrency|Request Rate): ([\d.]+), throughput: ([\d.e+]+) infer/sec, latency (\d+) usec", line)
        part = re.match(r"  (\S+), version: (\S+)", line)
        if end:
            closing.append(tuple(map(float, end.groups())))
        elif head:
            level = Level(float(head.group(2)))
            block = None
            found.append(level)
        elif line.strip() == "Client:":
            if level is None:  # intervals from a file have no heading
                level = Level(None)
                found.append(level)
            block = level.client
        elif level is None:
            continue
        elif line.strip() == "Server:":
            block = level.server = Block()
        elif part:
            block = level.composing[part.group(1)] = Block()
            block.version = part.group(2)
        elif "Pass [" in line:
            level.passes += 1
        elif block is not None:
            block.take(line)
    return found, closing
