"""What h5py and NumPy make of HDF5 files: the other side of the command's tests."""
import json
import math
import os
import resource
import sys

import h5py
import numpy as np

NUMERIC = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.ENUM, h5py.h5t.BITFIELD)
BEYOND_H5PY = {32001, 32004, 32008, 32015}  # blosc, lz4, bitshuffle, zstd: here without a plugin
BLOCK = 1 << 20  # elements converted to long double at once


class Failures:
    """Collects what is wrong, to say all of it at the end."""

    def __init__(self):
        self.lines = []
        self.checks = 0

    def expect(self, condition, *words):
        self.checks += 1
        if not condition:
            self.lines.append(" ".join(map(str, words)))

    def leave(self):
        for line in self.lines[:50]:
            print(line, file=sys.stderr)
        print(f"{self.checks} checks, {len(self.lines)} failed")
        sys.exit(1 if self.lines or not self.checks else 0)


def strict_json(path):
    """Parses JSON by the letter: no NaN, no Infinity, no name twice in an object."""

    def no_constant(name):
        raise ValueError(f"{name} is not JSON")

    def no_repeats(pairs):
        if len({name for name, _ in pairs}) != len(pairs):
            raise ValueError(f"a name twice in {[name for name, _ in pairs]}")
        return dict(pairs)

    with open(path, "rb") as file:
        return json.loads(file.read().decode("utf-8"), parse_constant=no_constant, object_pairs_hook=no_repeats)


def is_complex(dataset):
    """Whether it is what h5py makes of complex numbers, which we read as such: two floats r and i, packed."""
    return dataset.dtype.kind == "c" and dataset.dtype.itemsize in (8, 16)


def numeric_datasets(file, complex_too=False):
    """Every dataset of numbers, once each, as (path, dataset), in the order of names."""
    found = []

    def visit(name, item):
        if not isinstance(item, h5py.Dataset):
            return
        if item.id.get_type().get_class() in NUMERIC or (complex_too and is_complex(item)):
            found.append(("/" + name, item))

    file.visititems(visit)
    return found


def filters_of(dataset):
    """The filters of a dataset, as (id, flags, parameters, name)."""
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(i) for i in range(plist.get_nfilters())] if dataset.chunks else []


def native(values):
    """The elements as a plain array in this machine's order; enums as their integers."""
    values = np.asarray(values)
    return values.astype(np.dtype(values.dtype.str).newbyteorder("="))


def integer_sum(flat):
    if flat.dtype.itemsize < 8:
        return int(flat.sum(dtype=np.int64))  # exact below 2^31 elements
    return (int((flat >> 32).sum(dtype=np.int64)) << 32) + int((flat & 0xFFFFFFFF).sum(dtype=np.int64))


def deviation(flat, mean):
    """Population standard deviation, to the last digits of a double.

    Two passes in long double. `mean` is rounded, so the deviations do not quite sum to zero: the second term
    takes that out again, which is what keeps nearly constant data exact.
    """
    squares = np.longdouble(0)
    total = np.longdouble(0)
    for first in range(0, flat.size, BLOCK):
        off = flat[first : first + BLOCK].astype(np.longdouble) - mean
        squares += (off * off).sum()
        total += off.sum()
    return float(np.sqrt(max(squares - total * total / flat.size, 0) / flat.size))


def complex_statistics(flat):
    """As statistics(), with [real part, imaginary part] for what is complex."""
    valid = flat[~np.isnan(flat)]
    real, imaginary = statistics(valid.real), statistics(valid.imag)
    result = {"count": flat.size, "nan": int(flat.size - valid.size), "sum": [real["sum"], imaginary["sum"]],
              "magnitude": real["magnitude"] + imaginary["magnitude"]}
    if not valid.size:
        return result | {"min": math.nan, "max": math.nan, "mean": math.nan, "std": math.nan}
    low, high = valid.min(), valid.max()  # NumPy's order
    return result | {"min": [low.real.item(), low.imag.item()], "max": [high.real.item(), high.imag.item()],
                     "mean": [real["mean"], imaginary["mean"]], "std": math.hypot(real["std"], imaginary["std"])}


def statistics(values):
    """What `runrig stats` promises of these elements; NaN where it prints null."""
    flat = native(values).reshape(-1)
    if flat.dtype.kind == "c":
        return complex_statistics(flat)
    result = {"count": flat.size, "nan": 0, "min": math.nan, "max": math.nan, "mean": math.nan, "std": math.nan}
    result["magnitude"] = 0.0
    if flat.dtype.kind == "f":
        valid = flat[~np.isnan(flat)]
        result["nan"] = int(flat.size - valid.size)
        flat = valid
        finite = bool(np.isfinite(flat).all())
        # fsum is the exact sum, rounded once.
        result["sum"] = math.fsum(flat.tolist()) if finite else float(flat.sum(dtype=np.float64))
    else:
        flat = flat.view(np.uint8) if flat.dtype.kind == "b" else flat
        finite = True
        result["sum"] = integer_sum(flat)
    if not flat.size:
        return result
    result["min"], result["max"] = flat.min().item(), flat.max().item()
    result["mean"] = result["sum"] / flat.size  # integers: exact, rounded once
    result["magnitude"] = float(np.abs(flat, dtype=np.float64).mean()) if flat.dtype.kind == "f" else 0.0
    if finite:
        if flat.dtype.kind == "f":
            mean = np.longdouble(result["sum"]) / flat.size
        else:
            whole, rest = divmod(result["sum"], flat.size)
            mean = np.longdouble(whole) + np.longdouble(rest) / flat.size
        result["std"] = deviation(flat, mean)
    return result


def close(ours, expected, magnitude=0.0):
    """Equal within 1e-12 relative; null for NaN.

    A sum of numbers that cancel has no digits left to compare: an error of a few units in the last place of what
    was added (`magnitude`) passes as well.
    """
    if ours is None or math.isnan(expected):
        return ours is None and math.isnan(expected)
    return ours == expected or abs(ours - expected) <= max(1e-12 * abs(expected), 1e-15 * magnitude)


def isolated(work):
    """Calls work(emit) in a forked child; what it emitted before it ended, however it did."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # last words of a library that is killed
            resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
            resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            work(lambda item: os.write(writer, (json.dumps(item) + "\n").encode()))
        except Exception:
            pass  # the rest of a malformed file
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return [json.loads(line) for line in text.splitlines() if line.endswith(b"}")]
