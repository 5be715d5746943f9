"""What bench/hdf5 compares with, and what it needs: each command does one thing and exits. h5py and NumPy.

    make FILE MIB, make-plain FILE MIB, make-files FOLDER N FILE, read FILE, stats FILE DATASET, map IN OUT,
    stats-files FOLDER, map-files FOLDER OUT, same A B; those that have a version in processes take --processes
"""
import json
import multiprocessing
import os
import sys
import time

import h5py
import numpy as np

ROWS, COLUMNS = 256, 1024  # a chunk: 1 MiB of float32
SMALL = 160  # a small file: so many rows and columns, 102,400 bytes
STORED = dict(shuffle=True, compression="gzip", compression_opts=4)
PROCESSES = "--processes" in sys.argv


def field(rows, columns, seed=1):
    """Waves with noise, in steps of 1/512: shuffled and deflated at level 4 they take 1/2.36 of their size."""
    y, x = np.mgrid[0:rows, 0:columns].astype("f4")
    noise = np.random.default_rng(seed).normal(0, 0.4, x.shape)
    return np.round((np.sin(x / 97) * np.cos(y / 131) * 20 + noise) * 512).astype("f4") / 512


def make(path, mebibytes):
    rows = int(mebibytes) * ROWS
    with h5py.File(path, "w") as f:
        x = f.create_dataset("x", (rows, COLUMNS), "f4", chunks=(ROWS, COLUMNS), **STORED)
        for i in range(0, rows, 64 * ROWS):
            x[i:i + 64 * ROWS] = field(min(64 * ROWS, rows - i), COLUMNS, i + 1)
        plain = f.create_dataset("plain", x.shape, "f4")
        for i in range(0, rows, 64 * ROWS):
            plain[i:i + 64 * ROWS] = x[i:i + 64 * ROWS]
        print(json.dumps({"ratio": x.size * 4 / x.id.get_storage_size()}))


def make_plain(path, mebibytes):
    """Contiguous values alone."""
    rows = int(mebibytes) * ROWS
    with h5py.File(path, "w") as f:
        plain = f.create_dataset("plain", (rows, COLUMNS), "f4")
        values = field(64 * ROWS, COLUMNS)
        for i in range(0, rows, len(values)):
            plain[i:i + len(values)] = values[:rows - i]


def make_files(folder, count, whole):
    """`count` small files, and one of their total size in chunks of 1 MiB."""
    count = int(count)
    values = field(SMALL * 16, SMALL)
    for i in range(count):
        with h5py.File(os.path.join(folder, f"{i:05}.h5"), "w") as f:
            at = i % 16 * SMALL
            f.create_dataset("x", data=values[at:at + SMALL], chunks=(SMALL, SMALL), **STORED)
    with h5py.File(whole, "w") as f:
        x = f.create_dataset("x", (count * SMALL, SMALL), "f4", chunks=(ROWS * COLUMNS // SMALL, SMALL), **STORED)
        for i in range(0, count * SMALL, len(values)):
            x[i:i + len(values)] = values[:count * SMALL - i]


def parts(path, name, rows):
    with h5py.File(path) as f:
        total = f[name].shape[0]
    return [(path, name, i, min(i + rows, total)) for i in range(0, total, rows)]


def pool(initializer=None, arguments=()):
    return multiprocessing.Pool(len(os.sched_getaffinity(0)), initializer, arguments)


# --- reading into shared memory: seconds once everything is there but the values

shared = None


def use_shared(name, shape):
    global shared
    segment = multiprocessing.shared_memory.SharedMemory(name)
    shared = segment, np.ndarray(shape, "f4", segment.buf)


def read_part(part):
    path, name, begin, end = part
    with h5py.File(path) as f:
        f[name].read_direct(shared[1], np.s_[begin:end], np.s_[begin:end])


def read(path):
    import multiprocessing.shared_memory

    with h5py.File(path) as f:
        x = f["x"]
        shape = x.shape
        begin = time.perf_counter()
        segment = multiprocessing.shared_memory.SharedMemory(create=True, size=x.size * 4)
        array = np.ndarray(shape, "f4", segment.buf)
        if not PROCESSES:
            x.read_direct(array)
            fresh = time.perf_counter() - begin
            begin = time.perf_counter()
            x.read_direct(array)
            kept = time.perf_counter() - begin
    if PROCESSES:
        with pool(use_shared, (segment.name, shape)) as workers:
            work = parts(path, "x", 16 * ROWS)
            workers.map(read_part, work, 1)
            fresh = time.perf_counter() - begin
            begin = time.perf_counter()
            workers.map(read_part, work, 1)
            kept = time.perf_counter() - begin
    size = array.nbytes / 1e6
    del array
    segment.close()
    segment.unlink()
    print(json.dumps({"new": size / fresh, "kept": size / kept}))


# --- statistics


def sums_of(part):
    path, name, begin, end = part
    with h5py.File(path) as f:
        a = f[name][begin:end].astype("f8")
    return a.size, a.min(), a.max(), a.sum(), (a * a).sum()


def stats(path, name):
    if PROCESSES:
        with pool() as workers:
            n, low, high, total, squares = zip(*workers.map(sums_of, parts(path, name, 8 * ROWS), 1))
        mean = sum(total) / sum(n)
        result = sum(n), min(low), max(high), mean, (sum(squares) / sum(n) - mean * mean) ** 0.5
    else:
        with h5py.File(path) as f:
            a = f[name][...].astype("f8")
        result = a.size, a.min(), a.max(), a.mean(), a.std()
    print(json.dumps(dict(zip(("count", "min", "max", "mean", "std"), map(float, result)))))


def sums_of_file(path):
    with h5py.File(path) as f:
        a = f["x"][...].astype("f8")
    return a.min(), a.max(), a.mean(), a.std()


def stats_files(folder):
    paths = sorted(os.path.join(folder, each) for each in os.listdir(folder))
    with pool() as workers:
        print(len(workers.map(sums_of_file, paths, 16) if PROCESSES else list(map(sums_of_file, paths))))


# --- sqrt(x*x+1)


def computed(part):
    path, name, begin, end = part
    with h5py.File(path) as f:
        a = f[name][begin:end]
    return np.sqrt(a * a + 1)


def map_file(source, target):
    work = parts(source, "x", ROWS)
    with h5py.File(source) as f:
        shape, chunks = f["x"].shape, f["x"].chunks
    with pool() as workers, h5py.File(target, "w") as o:
        result = o.create_dataset("result", shape, "f4", chunks=chunks, **STORED)
        for part, a in zip(work, workers.imap(computed, work) if PROCESSES else map(computed, work)):
            result[part[2]:part[3]] = a


def map_small(paths):
    source, target = paths
    with h5py.File(source) as f, h5py.File(target, "w") as o:
        a = f["x"][...]
        o.create_dataset("result", data=np.sqrt(a * a + 1), chunks=f["x"].chunks, **STORED)


def map_files(folder, out):
    paths = [(os.path.join(folder, each), os.path.join(out, each)) for each in sorted(os.listdir(folder))]
    with pool() as workers:
        _ = workers.map(map_small, paths, 16) if PROCESSES else list(map(map_small, paths))


def same(one, other, name, other_name):
    """The same elements; prints the stored bytes of the first to those of the second."""
    with h5py.File(one) as f, h5py.File(other) as g:
        a, b = f[name], g[other_name]
        for i in range(0, a.shape[0], 4096):
            assert np.array_equal(a[i:i + 4096], b[i:i + 4096]), i
        print(json.dumps({"bytes": a.id.get_storage_size() / b.id.get_storage_size()}))


COMMANDS = {"make": make, "make-plain": make_plain, "make-files": make_files, "read": read, "stats": stats,
            "stats-files": stats_files, "map": map_file, "map-files": map_files, "same": same}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*[each for each in sys.argv[2:] if each != "--processes"])
