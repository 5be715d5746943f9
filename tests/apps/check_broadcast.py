"""Runs `runrig map` with variables of different shapes and with reductions inside the expression, under little and
much memory, and compares with NumPy. Arguments: the command, a folder.
"""
import pathlib
import re
import subprocess
import sys

import h5py
import numpy as np
from oracle import Failures

check = Failures()
command, folder = sys.argv[1:]
source, output = (str(pathlib.Path(folder) / name) for name in ("in.h5", "out.h5"))

random = np.random.default_rng(7)
names = {
    "x": (random.random((60, 70, 300)) * 10).astype("f4"),
    "y": random.random((60, 70, 300)) * 20 + 5,
    "i": random.integers(-300, 900, (60, 70, 300)).astype(">i2"),
    "m": random.random((70, 300)).astype("f4"),
    "r": random.random(300),
    "c": random.integers(0, 9, (70, 1)).astype("i2"),
    "p": random.random((60, 1, 1)),
    "o": np.full((1, 1), 2.5),
    "s": np.float64(3.0),
    "q": np.zeros(5),
}
names["x"][3, 4, 5] = np.nan
with h5py.File(source, "w") as file:
    for name, value in names.items():
        stored = {}
        if name in "xi":
            stored = {"chunks": (7, 32, 100), "compression": 4, "shuffle": True}
        file.create_dataset(name, data=value, **stored)
    file["x"].attrs["units"] = "K"
    file["m"].attrs["units"] = "m"
x, y, i, m, r, c, p, o, s = (names[name] for name in "xyimrcpos")
x8 = x.astype("f8")


def f4(values):
    return np.asarray(values).astype("f4")


cases = {
    "x*m": x * m,
    "m*x": m * x,
    "y + r": y + r,
    "y*c - p": y * c - p,
    "c + r": c + r,
    "p + r": p + r,
    "y*o + s": y * o + s,
    "o + s": o + s,
    "(y - mean(y)) / std(y)": (y - y.mean()) / y.std(),
    "y - mean(y, axis=0)": y - y.mean(axis=0),
    "y - mean(y*m, axis=(0, 2), keepdims=True)": y - (y * m).mean(axis=(0, 2), keepdims=True),
    "y - max(y + r*2, axis=1, keepdims=True)": y - (y + r * 2).max(axis=1, keepdims=True),
    "x - nanmean(x)": x - f4(np.nanmean(x8)),
    "x - nanstd(x, axis=-1, keepdims=True)": x - f4(np.nanstd(x8, axis=-1, keepdims=True)),
    "x - mean(x)": x - f4(x8.mean()),
    "mean(y, axis=0)": y.mean(axis=0),
    "sum(i)": i.sum(),
    "i - min(i)": i - i.min(),
    "i + sum(i > 3, axis=0)": i + (i > 3).sum(axis=0),
    "i + argmax(i, axis=2, keepdims=True)": i + i.argmax(axis=2, keepdims=True),
    "any(i > 890, axis=2)": (i > 890).any(axis=2),
    "sum(c) + r": c.sum() + r,
    "y - mean((y - mean(y, axis=0))**2, axis=0)": y - ((y - y.mean(axis=0)) ** 2).mean(axis=0),
    "y / sum(y*where(y > mean(y), 1, 0), axis=1, keepdims=True)":
        y / (y * (y > y.mean())).sum(axis=1, keepdims=True),
}
for expression, expected in cases.items():
    expected = np.asarray(expected)
    used = [name for name in names if name in re.findall(r"\b[a-z]\b", expression)]
    inputs = [word for name in used for word in ("-i", f"{name}=/{name}")]
    before = None
    for memory in ("16M", "1G"):
        done = subprocess.run([command, "map", expression, source, *inputs, "-o", output, "--overwrite", "--memory",
                               memory], capture_output=True, text=True)
        check.expect(done.returncode == 0, expression, "failed:", done.stderr)
        if done.returncode != 0:
            break
        with h5py.File(output) as file:
            result = file["result"]
            values = result[()]
            check.expect(result.shape == expected.shape, expression, "has the shape", result.shape)
            check.expect(result.dtype.newbyteorder("=") == expected.dtype.newbyteorder("="), expression, "is", result.dtype)
            tolerance = 2e-6 if expected.dtype == "f4" else 1e-12
            check.expect(result.shape == expected.shape and
                         np.allclose(values, expected, rtol=tolerance, atol=tolerance, equal_nan=True),
                         expression, "differs with", memory)
            # Layout and attributes are those of the first input with the result's shape.
            like = next((name for name in used if names[name].shape == expected.shape), None)
            check.expect(result.chunks == ((7, 32, 100) if like in ("x", "i") else None), expression, result.chunks)
            check.expect(result.attrs.get("units") == {"x": "K", "m": "m"}.get(like), expression, dict(result.attrs))
        check.expect(before is None or before == np.asarray(values).tobytes(), expression, "depends on the memory")
        before = np.asarray(values).tobytes()


def refused(expression, words, *used):
    inputs = [word for name in used for word in ("-i", f"{name}=/{name}")]
    done = subprocess.run([command, "map", expression, source, *inputs, "-o", output, "--overwrite"],
                          capture_output=True, text=True)
    check.expect(done.returncode == 1 and done.stderr.count("\n") == 1, expression, done.returncode, done.stderr)
    for word in words:
        check.expect(word in done.stderr, expression, "does not say", word, "but", done.stderr)


refused("x*r + q", ["the shapes do not match: x is (60, 70, 300), q is (5,)"], "x", "r", "q")
refused("y - mean(y, axis=3)", ["use axis '3'", "axes -3 to 2"], "y")
refused("y - mean(y, axis=(0, 0))", ["named twice"], "y")
check.leave()
