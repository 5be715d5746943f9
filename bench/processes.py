#!/usr/bin/env python3
"""Start and join of processes: ours, the system's least, and Python's, in one run.

    bench/processes.py build/release/bench/bench_processes [--turns N]

Each turn runs all of them once, one after the other; what is shown are medians of the turns' medians, and ratios to the
limit that the row names. Needs nothing but Python.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time

# What may at most be, as a multiple of the medians of others in the same run.
LIMITS = {
    "Process, fork": (1.3, lambda us: us["fork + _exit + waitpid"], "1.3 x bare fork"),
    "Process, forkserver": (2.0, lambda us: us["fork + _exit + waitpid"], "2 x bare fork"),
    "Process, spawn": (
        1.0,
        lambda us: us["posix_spawn, empty static program"] + us["posix_spawn, this program up to main"],
        "2 x posix_spawn + load",
    ),
}


def nothing():
    pass


def start_and_join(method):
    """Median microseconds of Python's Process, by that method."""
    context = multiprocessing.get_context(method)
    results = []
    for _ in range({"fork": 20, "forkserver": 6, "spawn": 4}[method]):
        begin = time.perf_counter()
        process = context.Process(target=nothing)
        process.start()
        process.join()
        results.append((time.perf_counter() - begin) * 1e6)
        assert process.exitcode == 0
    return statistics.median(results)


def ours(program):
    lines = subprocess.run([program, "--turns", "1", "--json"], check=True, capture_output=True, text=True).stdout
    return {row["name"]: row["median_us"] for row in map(json.loads, lines.splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="bench_processes of a release build")
    parser.add_argument("--turns", type=int, default=10)
    arguments = parser.parse_args()
    results = {}
    for method in ("fork", "forkserver", "spawn"):
        start_and_join(method)  # its server runs
    for _ in range(arguments.turns):
        turn = ours(arguments.program)
        for method in ("fork", "forkserver", "spawn"):
            turn[f"Python {sys.version_info.major}.{sys.version_info.minor} Process, {method}"] = start_and_join(method)
        for name, value in turn.items():
            results.setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in results.items()}
    print(f"{'start and join':40} {'median us':>12}")
    for name, value in medians.items():
        line = f"{name:40} {value:12.1f}"
        if name in LIMITS:
            factor, base, words = LIMITS[name]
            line += f"   {value / (factor * base(medians)):.2f} of the limit ({words})"
        print(line)


if __name__ == "__main__":
    main()
