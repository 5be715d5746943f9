"""Runs `runrig map` with each of its options on outputs and reads them with h5py. Arguments: the command, a folder,
month-1.h5.
"""
import pathlib
import subprocess
import sys

import h5py
import numpy as np
from oracle import Failures

check = Failures()
command, folder, month = sys.argv[1:]
output = str(pathlib.Path(folder) / "out.h5")


def run(*arguments):
    done = subprocess.run([command, "map", *arguments, "-o", output, "--overwrite"], capture_output=True, text=True)
    check.expect(done.returncode == 0, arguments, "failed:", done.stderr)
    return done.stdout


def filters_of(dataset):
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(i)[::2] for i in range(plist.get_nfilters())]


with h5py.File(month) as source:
    u, v = source["wind/u"][()], source["wind/v"][()]
    chunks, stored = source["wind/u"].chunks, filters_of(source["wind/u"])
    scales = [[scale.name for scale in axis.values()] for axis in source["wind/u"].dims]
    time = source[scales[0][0]][()]
wind = ["-i", "u=/wind/u", "-i", "v=/wind/v"]
size = u.dtype.itemsize

# Several outputs in one pass, of several types; one of them of another shape, so in a pass of its own.
printed = run(month, *wind, "-i", "t=" + scales[0][0], "--to", "speed=sqrt(u*u + v*v)", "--to", "calm=u*u + v*v < 4",
              "--to", "/deep/time=t + 1")
check.expect(printed.count("\n") == 3, "printed", printed)
with h5py.File(output) as file:
    check.expect(np.array_equal(file["speed"][()], np.sqrt(u * u + v * v), equal_nan=True), "speed differs")
    check.expect(np.array_equal(file["calm"][()], u * u + v * v < 4), "calm differs")
    check.expect(np.array_equal(file["deep/time"][()], time + 1), "time differs")
    check.expect(file["speed"].chunks == chunks == file["calm"].chunks, "chunks", file["speed"].chunks)
    for name in ("speed", "calm"):
        found = [[scale.name for scale in axis.values()] for axis in file[name].dims]
        check.expect(found == scales, "scales of", name, found, "instead of", scales)
    attributes = dict(file["speed"].attrs)
    check.expect(attributes["runrig_input"] == month, "input", attributes)
    check.expect(attributes["runrig_dataset"] == "u=/wind/u, v=/wind/v", "dataset", attributes)
    check.expect(attributes["runrig_expression"] == "sqrt(u*u + v*v)", "expression", attributes)
    check.expect(attributes["runrig_version"][0].isdigit(), "version", attributes)
check.expect(subprocess.run(["h5dump", "-H", output], capture_output=True).returncode == 0, "h5dump fails")

run("u*2", month, *wind, "--no-provenance", "--to", "/a=b".replace("=", "_"))
with h5py.File(output) as file:
    check.expect(not [name for name in file["a_b"].attrs if name.startswith("runrig")], "provenance was switched off")

SHUFFLE, CHECKSUM = (2, (size,)), (3, ())
for text, expected in {
    "none": [],
    "shuffle": [SHUFFLE],
    "shuffle,deflate:9": [SHUFFLE, (1, (9,))],
    "shuffle,deflate:fast,fletcher32": [SHUFFLE, (1, (1,)), CHECKSUM],
}.items():
    run("u - v", month, *wind, "--filter", text)
    with h5py.File(output) as file:
        result = file["result"]
        check.expect(filters_of(result) == expected, text, "filters", filters_of(result))
        check.expect(result.chunks == chunks, text, "chunks", result.chunks)
        check.expect(np.array_equal(result[()], u - v, equal_nan=True), text, "values differ")

odd = tuple(max(1, n // 3 + 1) for n in u.shape)
for text, expected in {"x".join(map(str, odd)): odd, "auto": None}.items():
    run("u - v", month, *wind, "--chunk", text)
    with h5py.File(output) as file:
        result = file["result"]
        check.expect(result.chunks == expected or (expected is None and np.prod(result.chunks) * size <= 1 << 20), text,
                     "chunks", result.chunks)
        check.expect(filters_of(result) == stored, text, "filters", filters_of(result))
        check.expect(np.array_equal(result[()], u - v, equal_nan=True), text, "values differ")

# Contiguous input: filters need chunks.
plain = str(pathlib.Path(folder) / "plain.h5")
values = np.arange(300 * 40, dtype="i4").reshape(300, 40)
with h5py.File(plain, "w") as file:
    file["x"] = values
run("x + 1", plain, "-i", "x=/x", "--filter", "shuffle,deflate:6")
with h5py.File(output) as file:
    check.expect(filters_of(file["result"]) == [(2, (4,)), (1, (6,))], "filters", filters_of(file["result"]))
    check.expect(np.array_equal(file["result"][()], values + 1), "values differ")
run(plain, "-i", "x=/x", "--to", "a=x + 1", "--to", "b=x * 0.5")
with h5py.File(output) as file:
    check.expect(file["a"].chunks is None and file["b"].chunks is None, "contiguous stays contiguous")
    check.expect(np.array_equal(file["a"][()], values + 1) and np.array_equal(file["b"][()], values * 0.5), "values")

# By the expressions' casts, where they have them.
listed = subprocess.run([command, "map", "--help"], capture_output=True, text=True).stdout
casts = "float32" in listed[listed.index("Functions:"):].split("Types are")[0].split()
types = {"float32": "<f4", "f8": "<f8", "<i2": "<i2", "int64": "<i8", "u1": "|u1"} if casts else {}
for text, dtype in types.items():
    run("x % 100", plain, "-i", "x=/x", "--dtype", text)
    with h5py.File(output) as file:
        check.expect(file["result"].dtype.str == dtype, text, "is", file["result"].dtype.str)
        check.expect(np.array_equal(file["result"][()], (values % 100).astype(dtype)), text, "values differ")
check.leave()
