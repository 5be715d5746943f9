"""Runs `runrig map` on complex datasets of every layout and compares with h5py and NumPy. Arguments: the command, a folder."""
import os
import subprocess
import sys

os.environ["NPY_PROMOTION_STATE"] = "weak"  # NumPy 2's rules, where NumPy is 1.24
import h5py  # noqa: E402
import numpy as np  # noqa: E402
from oracle import Failures  # noqa: E402

command, folder = sys.argv[1:]
check = Failures()
rng = np.random.default_rng(11)
shape = (301, 70)
z = rng.normal(size=shape) + 1j * rng.normal(size=shape)
layouts = {
    "contiguous": {},
    "chunked": dict(chunks=(64, 32)),
    "deflate": dict(chunks=(64, 32), shuffle=True, compression=4),
    "checked": dict(chunks=(50, 70), shuffle=True, compression=1, fletcher32=True),
    "lzf": dict(chunks=(64, 32), compression="lzf"),
    "grows": dict(chunks=(16, 70), maxshape=(None, 70), compression=4, shuffle=True),
}
source = f"{folder}/in.h5"
with h5py.File(source, "w") as file:
    for dtype in ("<c8", ">c8", "<c16", ">c16"):
        for name, options in layouts.items():
            file.create_dataset(f"{dtype[1:]}{'be' if dtype[0] == '>' else ''}/{name}", data=z.astype(dtype), **options)
    sparse = file.create_dataset("sparse", shape=(1000, 1000), chunks=(100, 100), dtype="c16", fillvalue=3 - 4j)
    sparse[300:310, 500:510] = 1j
    file["x"] = z.real
    file["y"] = z.imag.astype("f4")
    file["c8/deflate"].attrs["gain"] = 2 - 1j
    file["scalar"] = 2 + 3j
    file["empty"] = np.zeros((0, 5), "c8")
    names = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)


def run(*arguments):
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    check.expect(done.returncode == 0 and not done.stderr, arguments, done.stderr)
    return done


def result(expression, inputs, *options):
    out = f"{folder}/out.h5"
    words = [word for name, path in inputs.items() for word in ("-i", f"{name}=/{path}")]
    done = run("map", expression, source, *words, "-o", out, "--overwrite", *options)
    return h5py.File(out)["result"] if done.returncode == 0 else None


def compare(where, found, expected, tolerance=0.0):
    expected = np.asarray(expected)
    check.expect(found.dtype.newbyteorder("=") == expected.dtype, where, found.dtype, "instead of", expected.dtype)
    check.expect(found.shape == expected.shape, where, found.shape, "instead of", expected.shape)
    values = found[()]
    if expected.dtype == bool:
        values, expected = values.astype("i1"), expected.astype("i1")
    scale = np.maximum(abs(expected), np.finfo("f8").tiny)
    check.expect(bool(np.all(abs(values - expected) <= tolerance * scale)), where, "values differ")


with h5py.File(source) as file:
    for name in names:
        if name in ("x", "y"):
            continue
        data = file[name]
        values = data[()].astype(data.dtype.newbyteorder("="))
        for options in ([], ["--memory", "16M", "--workers", "3"], ["--force-library"]):
            found = result("z + 1", {"z": name}, *options)
            if found is None:
                continue
            compare((name, options), found, values + 1)
            check.expect(found.dtype == data.dtype, name, "the byte order is not kept")
            check.expect(found.chunks == data.chunks and found.compression == data.compression
                         and found.shuffle == data.shuffle and found.fletcher32 == data.fletcher32
                         and found.maxshape == data.maxshape, name, "the storage is not kept")
    gain = result("z", {"z": "c8/deflate"})
    check.expect(gain is not None and gain.attrs["gain"] == 2 - 1j, "attributes of complex numbers")

    c8, c16 = (file[f"{name}/deflate"][()] for name in ("c8", "c16"))
    be = file["c16be/contiguous"][()].astype("c16")
    x, y = file["x"][()], file["y"][()]
    inputs = {"a": "c8/deflate", "c": "c16be/contiguous", "x": "x", "y": "y"}
    f4, f8 = 4 * np.finfo("f4").eps, 4 * np.finfo("f8").eps
    for expression, expected, tolerance in [
            ("abs(a)", abs(c8), f4), ("angle(c)", np.angle(be), f8), ("real(a) - imag(a)", c8.real - c8.imag, 0),
            ("x + y*1j", x + y * 1j, 0), ("complex(x, y)", x + 1j * y.astype("f8"), 0), ("conj(c)*2", be.conj() * 2, 0),
            ("exp(1j*x)", np.exp(1j * x), f8), ("sqrt(c)", np.sqrt(be), f8), ("where(x > 0, a, c)", np.where(x > 0, c8, be), 0),
            ("c - mean(c)", be - be.mean(), 1e-12), ("(c - mean(c, axis=0)) / std(c, axis=0)",
                                                     (be - be.mean(axis=0)) / be.std(axis=0), 1e-11),
            ("x / sqrt(sum(abs(c)**2))", x / np.sqrt((abs(be)**2).sum()), 1e-12), ("c == c", be == be, 0)]:
        for options in ([], ["--memory", "16M", "--workers", "3"]):
            found = result(expression, inputs, *options)
            if found is not None:
                compare((expression, options), found, expected, tolerance)
    found = result("x", {"x": "x"}, "--dtype", "complex64", "--filter", "shuffle,deflate:fast")
    if found is not None:
        compare("--dtype", found, x.astype("c8"))

out = f"{folder}/packed.h5"
run("repack", source, "-o", out, "--filter", "shuffle,deflate:6", "--overwrite")
with h5py.File(source) as before, h5py.File(out) as after:
    for name in names:
        check.expect(after[name].dtype == before[name].dtype, "repack", name)
        check.expect(np.array_equal(after[name][()], before[name][()]), "repack changed", name)
check.leave()
