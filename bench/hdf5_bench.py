#!/usr/bin/env python3
"""Times `runrig stats`, `map` and `repack` against h5py with NumPy, alone and in processes, and against h5repack, on
the same file, side by side; and against the limit: the same chunks decoded and encoded in memory by all cores.

    bench/hdf5_bench.py RUNRIG [--codec BENCH_CODEC] [--size MIB] [--turns N] [--json]

The file: one float32 field of the given size in chunks of 1 MiB, shuffled and deflated at level 4 (about 2.3 : 1), and
the same values contiguous. Each turn runs all contenders once, in turn, so that a noisy moment hits all of them; the
figures are medians over the turns, of whole processes (with start and, for writers, fsync of the output left to each
tool's habit). Results are compared before anything is reported. Needs Python with NumPy and h5py; h5repack and the
limit are left out where they are not there.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MAKE = """
import sys, h5py, numpy as np
rows = int(sys.argv[2]) * 256
y, x = np.mgrid[0:rows, 0:1024].astype('f4')
rng = np.random.default_rng(1)
field = np.round((np.sin(x / 97) * np.cos(y / 131) * 20 + rng.normal(0, 0.4, x.shape)) * 256).astype('f4') / 256
with h5py.File(sys.argv[1], 'w') as f:
    f.create_dataset('x', data=field, chunks=(256, 1024), shuffle=True, compression='gzip', compression_opts=4)
    f.create_dataset('plain', data=field)
    print(f['x'].id.get_storage_size() / field.nbytes)
"""
STATS = """
import sys, json, h5py, numpy as np
d = h5py.File(sys.argv[1])[sys.argv[2]]
a = d[...].astype('f8')
print(json.dumps({'count': a.size, 'min': a.min(), 'max': a.max(), 'mean': a.mean(), 'std': a.std(), 'sum': a.sum()}))
"""
MAP = """
import sys, h5py, numpy as np
with h5py.File(sys.argv[1]) as f, h5py.File(sys.argv[3], 'w') as o:
    d = f[sys.argv[2]]
    r = o.create_dataset('result', d.shape, d.dtype, chunks=d.chunks, shuffle=bool(d.shuffle), compression=d.compression,
                         compression_opts=d.compression_opts)
    for i in range(0, d.shape[0], 256):
        a = d[i:i + 256]
        r[i:i + 256] = np.sqrt(a * a + 1)
"""
STATS_PROCESSES = """
import sys, json, os, multiprocessing, h5py, numpy as np
def part(rows):
    with h5py.File(sys.argv[1]) as f:
        a = f[sys.argv[2]][rows[0]:rows[1]].astype('f8')
    return a.size, a.min(), a.max(), a.sum(), (a * a).sum()
with h5py.File(sys.argv[1]) as f:
    rows = f[sys.argv[2]].shape[0]
edges = [(i, min(i + 2048, rows)) for i in range(0, rows, 2048)]
with multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
    n, low, high, total, squares = zip(*pool.map(part, edges))
mean = sum(total) / sum(n)
print(json.dumps({'count': sum(n), 'min': min(low), 'max': max(high), 'mean': mean, 'sum': sum(total)}))
"""
MAP_PROCESSES = """
import sys, os, multiprocessing, h5py, numpy as np
def part(i):
    with h5py.File(sys.argv[1]) as f:
        a = f[sys.argv[2]][i:i + 256]
    return np.sqrt(a * a + 1)
with h5py.File(sys.argv[1]) as f, multiprocessing.Pool(len(os.sched_getaffinity(0))) as pool:
    d = f[sys.argv[2]]
    shape, how = d.shape, dict(dtype=d.dtype, chunks=d.chunks, shuffle=d.shuffle, compression=d.compression,
                               compression_opts=d.compression_opts)
    f.close()
    with h5py.File(sys.argv[3], 'w') as o:
        r = o.create_dataset('result', shape, **how)
        for k, a in enumerate(pool.imap(part, range(0, shape[0], 256))):
            r[256 * k:256 * (k + 1)] = a
"""
COMPARE = """
import sys, h5py, numpy as np
a, b = h5py.File(sys.argv[1])['result'], h5py.File(sys.argv[2])['result']
for i in range(0, a.shape[0], 4096):
    assert np.array_equal(a[i:i + 4096], b[i:i + 4096]), i
print(a.id.get_storage_size() / b.id.get_storage_size())
"""


def run(command):
    begin = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr}")
    return seconds, done.stdout


def contenders(options, source, folder):
    """For each case: the limit's name, and the command of each contender."""
    python = [options.python, "-c"]
    out = {name: os.path.join(folder, name + ".h5") for name in ("h5py", "pool", "ours", "repacked", "theirs")}
    ours_map = [options.runrig, "map", "sqrt(x*x+1)", source, "-i", "x=/x", "-o", out["ours"], "--overwrite"]
    ours_repack = [options.runrig, "repack", source, "-o", out["repacked"], "--overwrite", "-d", "/x", "--filter"]
    h5repack = {}
    if shutil.which("h5repack"):
        h5repack = {"h5repack": ["h5repack", "-f", "x:SHUF", "-f", "x:GZIP=4", source, out["theirs"]]}
    return {
        "stats, deflated": ("decode", {
            "h5py": python + [STATS, source, "x"], "h5py, processes": python + [STATS_PROCESSES, source, "x"],
            "runrig": [options.runrig, "stats", "--json", source, "-d", "/x"]}),
        "stats, contiguous": (None, {
            "h5py": python + [STATS, source, "plain"], "h5py, processes": python + [STATS_PROCESSES, source, "plain"],
            "runrig": [options.runrig, "stats", "--json", source, "-d", "/plain"]}),
        "map sqrt(x*x+1), deflate:4": ("recode_deflate4", {
            "h5py": python + [MAP, source, "x", out["h5py"]],
            "h5py, processes": python + [MAP_PROCESSES, source, "x", out["pool"]], "runrig": ours_map}),
        "map sqrt(x*x+1), deflate:fast": ("recode_fast", {
            "runrig": ours_map[:-3] + ["-o", os.path.join(folder, "fast.h5"), "--overwrite", "--filter",
                                       "shuffle,deflate:fast"]}),
        "repack, deflate:4": ("recode_deflate4", {**h5repack, "runrig": ours_repack + ["shuffle,deflate:4"]}),
        "repack, deflate:fast": ("recode_fast", {"runrig": ours_repack + ["shuffle,deflate:fast"]}),
    }


def check_stats(name, who, printed, expected):
    found = json.loads(printed)
    found = found["results"][0] if "results" in found else found
    for key in set(expected) & set(found):
        if isinstance(expected[key], (int, float)):
            assert abs(found[key] - expected[key]) <= 1e-9 * max(1, abs(expected[key])), (name, who, key)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runrig")
    parser.add_argument("--codec", help="the program bench_codec, for the limit")
    parser.add_argument("--size", type=int, default=256, help="MiB of values (default 256)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--python", default="/usr/bin/python3")
    options = parser.parse_args()
    python = [options.python, "-c"]
    with tempfile.TemporaryDirectory(prefix="runrig-bench-") as directory:
        source = os.path.join(directory, "in.h5")
        ratio = float(run(python + [MAKE, source, str(options.size)])[1])
        cases = contenders(options, source, directory)
        times = {name: {who: [] for who in commands} for name, (_, commands) in cases.items()}
        limits = {}
        for turn in range(options.turns):
            if options.codec:
                for key, value in json.loads(run([options.codec, source, "/x", "1"])[1]).items():
                    limits.setdefault(key, []).append(value)
            for name, (_, commands) in cases.items():
                expected = None
                for who, command in commands.items():
                    seconds, out = run(command)
                    times[name][who].append(seconds)
                    if name.startswith("stats") and turn == 0:
                        expected = expected or json.loads(out)
                        check_stats(name, who, out, expected)
        size_ratio = float(run(python + [COMPARE, os.path.join(directory, "ours.h5"), os.path.join(directory, "h5py.h5")])[1])
        fast_ratio = float(run(python + [COMPARE, os.path.join(directory, "fast.h5"), os.path.join(directory, "h5py.h5")])[1])
        rows = []
        for name, (limit, commands) in cases.items():
            for who in commands:
                speed = options.size * 1.048576 / statistics.median(times[name][who])
                row = {"case": name, "who": who, "mb_per_s": speed}
                if limit in limits:
                    row["of_limit"] = speed / statistics.median(limits[limit])
                rows.append(row)
        report = {"size_mib": options.size, "turns": options.turns, "stored_ratio": 1 / ratio,
                  "output_bytes_to_h5py": size_ratio, "fast_output_bytes_to_h5py": fast_ratio,
                  "limits": {key: statistics.median(values) for key, values in limits.items()}, "results": rows}
        if options.json:
            print(json.dumps(report))
            return
        print(f"{options.size} MiB of float32, {1 / ratio:.2f} : 1 as stored; medians of {options.turns}; our output is "
              f"{size_ratio:.3f} of h5py's size, with deflate:fast {fast_ratio:.3f}")
        print(f"{'case':32}{'':18}{'MB/s':>8}{'of the limit':>14}{'of h5py / h5repack':>20}")
        first = {}
        for row in rows:
            peer = first.setdefault(row["case"].replace("fast", "4"), row)
            share = f"{row['of_limit']:.2f} of {row['mb_per_s'] / row['of_limit']:.0f}" if "of_limit" in row else ""
            print(f"{row['case']:32}{row['who']:18}{row['mb_per_s']:8.0f}{share:>14}"
                  f"{row['mb_per_s'] / peer['mb_per_s']:20.1f}")


if __name__ == "__main__":
    main()
