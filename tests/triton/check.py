"""Runs all cases against a real Triton server, or those named.

usage: check.py STREAMGAUGE TRITON_DIRECTORY MODEL_REPOSITORY WORK_DIRECTORY [CASE..]
"""
import pathlib
import shutil
import sys

import cases_errors  # noqa: F401
import cases_llm  # noqa: F401
import cases_perf_analyzer  # noqa: F401
import cases_tensors  # noqa: F401
from gauge import Bench, run_cases
from server import Server, end_in_order


def main():
    binary, triton, models, work = map(pathlib.Path, sys.argv[1:5])
    end_in_order()
    runs = work / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    with Server(triton, models, work / "server.log") as server:
        bench = Bench(binary, server, runs)
        bench.triton, bench.models, bench.home = triton, models, work
        wrong = run_cases(bench, sys.argv[5:])
    sys.exit(1 if wrong else 0)


main()
