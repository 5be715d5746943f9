#!/usr/bin/env python3
"""Times `runrig stats` and `runrig map` against h5py with NumPy, on the same file, side by side.

    bench/hdf5_bench.py RUNRIG [--size MIB] [--turns N] [--json]

The file: one float32 field of the given size in chunks of 1 MiB, shuffled and deflated at level 4 (about 2.3 : 1), and
the same values contiguous. Each turn runs all contenders once, in turn, so that a noisy moment hits all of them; the
figures are medians over the turns, of whole processes (with start and, for writers, fsync of the output left to each
tool's habit). Results are compared before anything is reported. Needs Python with NumPy and h5py, no more.
"""
import argparse
import json
import os
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runrig")
    parser.add_argument("--size", type=int, default=256, help="MiB of values (default 256)")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--python", default="/usr/bin/python3")
    options = parser.parse_args()
    python = [options.python, "-c"]
    with tempfile.TemporaryDirectory(prefix="runrig-bench-") as directory:
        source = os.path.join(directory, "in.h5")
        theirs, ours = os.path.join(directory, "h5py.h5"), os.path.join(directory, "runrig.h5")
        ratio = float(run(python + [MAKE, source, str(options.size)])[1])
        cases = {
            "stats, deflated": (python + [STATS, source, "x"], [options.runrig, "stats", "--json", source, "-d", "/x"]),
            "stats, contiguous": (python + [STATS, source, "plain"],
                                  [options.runrig, "stats", "--json", source, "-d", "/plain"]),
            "map sqrt(x*x+1), deflated": (python + [MAP, source, "x", theirs],
                                          [options.runrig, "map", "sqrt(x*x+1)", source, "-i", "x=/x", "-o", ours,
                                           "--overwrite"]),
        }
        times = {name: ([], []) for name in cases}
        for turn in range(options.turns):
            for name, commands in cases.items():
                printed = []
                for side, command in enumerate(commands):
                    seconds, out = run(command)
                    times[name][side].append(seconds)
                    printed.append(out)
                if turn == 0 and name.startswith("stats"):
                    expected, found = json.loads(printed[0]), json.loads(printed[1])["results"][0]
                    for key, value in expected.items():
                        assert abs(found[key] - value) <= 1e-9 * max(1, abs(value)), (name, key, found[key], value)
        size_ratio = float(run(python + [COMPARE, ours, theirs])[1])
        rows = []
        for name, (h5py_times, runrig_times) in times.items():
            h5py_median, runrig_median = statistics.median(h5py_times), statistics.median(runrig_times)
            rows.append({"case": name, "h5py_seconds": h5py_median, "runrig_seconds": runrig_median,
                         "h5py_mb_per_s": options.size * 1.048576 / h5py_median,
                         "runrig_mb_per_s": options.size * 1.048576 / runrig_median,
                         "ratio": h5py_median / runrig_median})
        report = {"size_mib": options.size, "turns": options.turns, "stored_ratio": 1 / ratio,
                  "output_bytes_to_h5py": size_ratio, "results": rows}
        if options.json:
            print(json.dumps(report))
            return
        print(f"{options.size} MiB of float32, {1 / ratio:.2f} : 1 as stored; medians of {options.turns}; "
              f"our output is {size_ratio:.3f} of h5py's size")
        print(f"{'case':28}{'h5py, MB/s':>12}{'runrig, MB/s':>14}{'ratio':>8}")
        for row in rows:
            print(f"{row['case']:28}{row['h5py_mb_per_s']:12.0f}{row['runrig_mb_per_s']:14.0f}{row['ratio']:8.1f}")


if __name__ == "__main__":
    main()
