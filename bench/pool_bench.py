#!/usr/bin/env python3
"""Tasks that do nothing, in pools of two workers: ours, Python's, and loky's, in one run.

    bench/pool_bench.py build/release/bench/bench_pool [--turns N]

Each turn runs all of them, one after the other, and a bare futex round trip as the limit; what is shown are medians over
the turns of what one task took. joblib brings loky along; without it (scripts/setup bench installs it for the system's
Python) that row says so.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import statistics
import subprocess
import sys
import time

WORKERS = 2
OURS = {  # rows of bench_pool
    "BM_FutexRoundTrip/real_time": ("futex there and back (the limit)", "apply"),
    "BM_Apply/real_time": ("runrig::Pool", "apply"),
    "BM_Map1000/chunk:1/real_time": ("runrig::Pool", "map"),
}


def nothing():
    pass


def same(number):
    return number


def microseconds(call, count):
    """What one of `count` calls took."""
    begin = time.perf_counter()
    call(count)
    return (time.perf_counter() - begin) / count * 1e6


class Contender:
    """A pool that runs already, as two functions of a number of tasks: one after the other, and all at once."""

    def __init__(self, name, one_by_one, at_once, count):
        self.name = name
        self.one_by_one = one_by_one
        self.at_once = at_once
        self.count = count  # of single tasks in a turn: slow ones get few

    def turn(self):
        return {
            (self.name, "apply"): microseconds(self.one_by_one, self.count),
            (self.name, "map"): microseconds(self.at_once, 1000),
        }


def check(results, count):
    assert list(results) == list(range(count))


def pool():
    made = multiprocessing.get_context("fork").Pool(WORKERS)
    return Contender(
        "multiprocessing.Pool",
        lambda count: [made.apply(nothing) for _ in range(count)],
        lambda count: check(made.map(same, range(count), chunksize=1), count),
        500,
    )


def executor(name, made):
    return Contender(
        name,
        lambda count: [made.submit(nothing).result() for _ in range(count)],
        lambda count: check(made.map(same, range(count), chunksize=1), count),
        200,
    )


def joblib_contenders():
    try:
        import joblib
        from joblib.externals import loky
    except ImportError:
        print(f"joblib is not installed for {sys.executable}: no figures of joblib and loky", file=sys.stderr)
        return []
    # An executor of its own beside it: the one that loky keeps for all who ask is joblib's.
    parallel = joblib.Parallel(n_jobs=WORKERS, batch_size=1).__enter__()
    return [
        executor(f"loky {loky.__version__}", loky.ProcessPoolExecutor(WORKERS)),
        Contender(
            f"joblib.Parallel {joblib.__version__}",
            lambda count: [parallel([joblib.delayed(nothing)()]) for _ in range(count)],
            lambda count: check(parallel(joblib.delayed(same)(i) for i in range(count)), count),
            50,
        ),
    ]


def ours(program):
    pattern = "|".join(f"^{name}$" for name in OURS)
    command = [program, f"--benchmark_filter={pattern}", "--benchmark_min_time=0.1", "--benchmark_format=json"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    turn = {}
    for row in json.loads(output)["benchmarks"]:
        if row.get("error_occurred"):
            raise RuntimeError(f"{row['name']}: {row['error_message']}")
        tasks = 1000 if "Map1000" in row["name"] else 1
        unit = {"ns": 1e3, "us": 1, "ms": 1e-3}[row["time_unit"]]
        turn[OURS[row["name"]]] = row["real_time"] / unit / tasks
    return turn


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", help="bench_pool of a release build")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    contenders = [
        pool(),
        executor("ProcessPoolExecutor", concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context)),
        *joblib_contenders(),
    ]
    for each in contenders:
        each.at_once(100)  # its workers run
    results = {}
    for _ in range(arguments.turns):
        for turn in (ours(arguments.program), *(each.turn() for each in contenders)):
            for key, value in turn.items():
                results.setdefault(key, []).append(value)
    medians = {key: statistics.median(values) for key, values in results.items()}
    print(f"{'Python ' + version + ', 2 workers':36} {'apply, us':>12} {'map of 1000, chunk 1, us a task':>32}")
    for name in dict.fromkeys(name for name, _ in medians):
        texts = [f"{medians[name, kind]:.2f}" if (name, kind) in medians else "" for kind in ("apply", "map")]
        print(f"{name:36} {texts[0]:>12} {texts[1]:>32}")
    limit = 1.5 * medians["futex there and back (the limit)", "apply"]
    apply, one = medians["runrig::Pool", "apply"], medians["runrig::Pool", "map"]
    print(f"apply: {apply / limit:.2f} of the limit (1.5 x futex); map: {one / 2:.2f} of the limit (2 us)")


if __name__ == "__main__":
    main()
