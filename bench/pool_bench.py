#!/usr/bin/env python3
"""What bench_pool measures, with Python's own pools and, where it is installed, loky: medians of several turns."""
import concurrent.futures
import multiprocessing
import statistics
import time

WORKERS = 2
TURNS = 7


def nothing():
    pass


def same(number):
    return number


def median_us(call, count):
    """The median over the turns of what one of `count` calls took."""
    times = []
    for _ in range(TURNS):
        start = time.perf_counter()
        call(count)
        times.append((time.perf_counter() - start) / count * 1e6)
    return statistics.median(times)


def report(name, apply_us, map_us):
    print(f"{name:32} apply {apply_us:8.1f} us   map of 1000, chunk 1 {map_us:8.2f} us a task", flush=True)


def bench_pool():
    with multiprocessing.get_context("fork").Pool(WORKERS) as pool:
        pool.map(same, range(100), chunksize=1)

        def apply(count):
            for _ in range(count):
                pool.apply(nothing)

        def one_by_one(count):
            assert pool.map(same, range(count), chunksize=1) == list(range(count))

        report("multiprocessing.Pool", median_us(apply, 500), median_us(one_by_one, 1000))


def bench_executor(name, executor):
    with executor:
        list(executor.map(same, range(100)))

        def apply(count):
            for _ in range(count):
                executor.submit(nothing).result()

        def one_by_one(count):
            assert list(executor.map(same, range(count), chunksize=1)) == list(range(count))

        report(name, median_us(apply, 200), median_us(one_by_one, 1000))


def bench_joblib():
    try:
        import joblib
    except ImportError:
        print("joblib                           is not installed")
        return
    with joblib.Parallel(n_jobs=WORKERS, batch_size=1) as parallel:
        parallel(joblib.delayed(same)(i) for i in range(100))

        def one_by_one(count):
            assert parallel(joblib.delayed(same)(i) for i in range(count)) == list(range(count))

        def apply(count):
            for _ in range(count):
                parallel([joblib.delayed(nothing)()])

        report("joblib.Parallel (loky)", median_us(apply, 50), median_us(one_by_one, 1000))


def bench_loky():
    try:
        import loky
    except ImportError:
        print("loky                             is not installed")
        return
    bench_executor("loky", loky.get_reusable_executor(max_workers=WORKERS))


if __name__ == "__main__":
    bench_pool()
    context = multiprocessing.get_context("fork")
    bench_executor("ProcessPoolExecutor",
                   concurrent.futures.ProcessPoolExecutor(WORKERS, mp_context=context))
    bench_joblib()
    bench_loky()
