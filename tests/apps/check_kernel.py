"""Runs `runrig map --kernel` with kernels.c and docs/examples/kernel/wind.c and compares with NumPy. Arguments: the
command, a folder, the two libraries, month-1.h5.
"""
import pathlib
import subprocess
import sys

import h5py
import numpy as np
from oracle import Failures

check = Failures()
command, folder, kernels, wind, month = sys.argv[1:]
source = str(pathlib.Path(folder) / "source.h5")
output = str(pathlib.Path(folder) / "out.h5")
random = np.random.default_rng(4)


def run(kernel, file, *arguments):
    done = subprocess.run([command, "map", "--kernel", kernel, file, *arguments, "-o", output, "--overwrite"],
                          capture_output=True, text=True)
    check.expect(done.returncode == 0, kernel, arguments, "failed:", done.stderr)
    return done.returncode == 0


TYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i2", ">f8"]
LAYOUTS = {"plain": {}, "chunked": {"chunks": (7, 5, 16)}, "packed": {"chunks": (64, 8, 33), "compression": 4, "shuffle": True}}
SHAPE = (70, 11, 33)
with h5py.File(source, "w") as file:
    for dtype in TYPES:
        values = random.integers(0, 2 if dtype == "?" else 100, SHAPE).astype(dtype)
        for layout, options in LAYOUTS.items():
            file.create_dataset(f"{layout}/{dtype}", data=values, **options)
    file["scalar"] = np.int8(-3)
    file["empty"] = np.zeros((0, 4), "f4")
    file["line"] = np.arange(5, dtype="i4")
    file["doubles"] = random.normal(size=SHAPE)
    file["large"] = np.arange(3_000_000, dtype="f4").reshape(1500, 2000)

with h5py.File(source) as file:
    for layout in LAYOUTS:
        for dtype in TYPES:
            values = file[f"{layout}/{dtype}"][()]
            if run(kernels + ":copy_and_place", source, "-i", f"x=/{layout}/{dtype}", "--to", "copy", "--to", "place"):
                with h5py.File(output) as made:
                    check.expect(made["copy"].dtype == values.dtype, layout, dtype, "became", made["copy"].dtype)
                    check.expect(np.array_equal(made["copy"][()], values), layout, dtype, "was not copied")
                    place = np.arange(values.size).reshape(SHAPE)
                    check.expect(np.array_equal(made["place"][()], place), layout, dtype, "has blocks elsewhere")

    # Blocks of several sizes, with selections, memory limits and numbers of workers.
    large = file["large"]
    for workers in ("1", "3"):
        for selection, wanted in (("", large[()]), ("[10:1400:3, ::7]", large[10:1400:3, ::7]), ("[5]", large[5])):
            if run(kernels + ":copy_and_place", source, "-i", "x=/large" + selection, "--to", "copy", "--to", "place",
                   "--workers", workers, "--memory", "16M"):
                with h5py.File(output) as made:
                    check.expect(np.array_equal(made["copy"][()], wanted), selection, "was not copied")
                    check.expect(np.array_equal(made["place"][()].ravel(), np.arange(wanted.size)), selection, "blocks")

    # Several inputs, converted; a scalar among them; outputs of their own types; chunks of another shape.
    for dtype in ("i2", "u8", "f4", ">f8", "?"):
        a, b = file["plain/" + dtype][()], file["packed/i2"][()]
        if run(kernels + ":three", source, "-i", f"a=/plain/{dtype}", "-i", "b=/packed/i2", "-i", "c=/scalar", "--to",
               "/deep/sum", "--to", "larger", "--to", "floor", "--chunk", "auto"):
            with h5py.File(output) as made:
                check.expect(np.array_equal(made["deep/sum"][()], a.astype("f8") + b.astype("f4") - 3), dtype, "sum")
                check.expect(made["larger"].dtype == bool, dtype, "larger is", made["larger"].dtype)
                check.expect(np.array_equal(made["larger"][()], a.astype("f8") > b), dtype, "larger")
                check.expect(np.array_equal(made["floor"][()], np.floor(a.astype("f8")).astype("i4")), dtype, "floor")
                check.expect(made["floor"].dtype.newbyteorder("=") == np.int32, dtype, "floor is", made["floor"].dtype)

    # No element is left from another block.
    if run(kernels + ":idle", source, "-i", "x=/large"):
        with h5py.File(output) as made:
            check.expect(made["result"].shape == (1500, 2000) and not made["result"][()].any(), "idle is not zero")
    for name in ("empty", "scalar"):
        if run(kernels + ":idle", source, "-i", "x=/" + name):
            with h5py.File(output) as made:
                check.expect(made["result"].shape == file[name].shape, name, "has shape", made["result"].shape)

    # The examples of the documentation.
    values, parameter = file["doubles"][()], "0.25"
    if run(wind + ":limit", source, "-i", "x=/doubles", "--parameter", parameter, "--dtype", "float64"):
        with h5py.File(output) as made:
            wanted = np.where(values > 0.25, np.nan, values)
            check.expect(np.array_equal(made["result"][()], wanted, equal_nan=True), "limit")
            check.expect(made["result"].attrs["runrig_kernel"] == wind + ":limit", "kernel", dict(made["result"].attrs))
            check.expect(made["result"].attrs["runrig_parameter"] == parameter, "parameter")
            check.expect(made["result"].attrs["runrig_dataset"] == "x=/doubles", "dataset")
            check.expect("runrig_expression" not in made["result"].attrs, "there is no expression")
    if run(wind + ":flatten", source, "-i", "x=/large", "--memory", "16M"):
        y, x = np.ogrid[:1500, :2000]
        with h5py.File(output) as made:
            wanted = file["large"][()].astype("f8") * (1 + ((x - 1000.0) ** 2 + (y - 750.0) ** 2) / 1e4)
            check.expect(np.allclose(made["result"][()], wanted, rtol=1e-14), "flatten")

with h5py.File(month) as file:
    u, v = (file["wind/" + name][()].astype("f8") for name in "uv")
    if run(wind + ":wind", month, "-i", "u=/wind/u", "-i", "v=/wind/v", "--to", "/wind/speed", "--to", "/wind/from"):
        with h5py.File(output) as made:
            speed, direction = made["wind/speed"], made["wind/from"]
            check.expect(np.allclose(speed[()], np.hypot(u, v), rtol=1e-6), "speed")
            check.expect(np.allclose(direction[()], np.fmod(270 - np.degrees(np.arctan2(v, u)), 360), atol=1e-4), "from")
            for each in (speed, direction):
                check.expect(each.dtype == np.float32 and each.chunks == file["wind/u"].chunks, "stored", each.chunks)
                check.expect([len(axis) for axis in each.dims] == [len(axis) for axis in file["wind/u"].dims], "scales")
check.leave()
