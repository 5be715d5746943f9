"""Compares `runrig stats` and `runrig reduce` on complex datasets with NumPy. Arguments: the command, a folder."""
import itertools
import json
import subprocess
import sys
import warnings

import h5py
import numpy as np
from oracle import Failures

warnings.simplefilter("ignore")
command, folder = sys.argv[1:]
check = Failures()
random = np.random.default_rng(12)
OPERATIONS = ["sum", "prod", "mean", "var", "std", "min", "max", "argmin", "argmax", "count", "any", "all"]
PLACES = ("argmin", "argmax")
LAYOUTS = {"plain": {}, "packed": dict(chunks=(7, 30, 11), shuffle=True, compression=1), "flat": dict(chunks=(1, 41, 37))}
shape = (29, 41, 37)  # small for one worker in c8, by slabs of all workers with little memory


def numbers(dtype):
    # Few different real parts, so that imaginary ones decide; sizes near 1, for products.
    values = random.integers(-2, 3, shape) / 2 + 1j * random.normal(size=shape)
    values[:, 3] = 0
    return values.astype(dtype)


def special(dtype):
    values = numbers(dtype)
    flat = values.reshape(-1)
    for special in (complex(np.nan, 1), complex(1, np.nan), complex(np.inf, -1), complex(0, -np.inf)):
        flat[random.integers(0, flat.size, 40)] = special
    values[:, 5] = complex(2, np.nan)
    return values


def made_of(json_value, dtype):
    """A result from JSON: null is NaN, a complex number a pair."""
    plain = lambda each: [plain(i) for i in each] if isinstance(each, list) else np.nan if each is None else each
    values = np.asarray(plain(json_value), dtype="f8" if dtype.kind in "fc" else dtype)
    if dtype.kind != "c":
        return values.astype(dtype)
    made = np.empty(values.shape[:-1], dtype)
    made.real, made.imag = values[..., 0], values[..., 1]
    return made


def expected_of(operation, values, axis, skip):
    if operation == "count":
        return np.sum(~np.isnan(values), axis=axis)
    if operation in ("any", "all"):
        if skip:
            values = np.where(np.isnan(values), operation == "all", values)
        return getattr(np, operation)(values, axis=axis)
    if operation in ("var", "std", "mean", "sum", "prod"):
        values = values.astype("c16")
    with np.errstate(all="ignore"):
        return np.asarray(getattr(np, ("nan" if skip else "") + operation)(values, axis=axis))


def compare(where, result, values, operation, axis, skip):
    dtype = np.dtype(result["result_dtype"])
    found = made_of(result["result"], dtype)
    expected = expected_of(operation, values, axis, skip)
    wanted = {"count": np.dtype("i8"), "any": np.dtype("?"), "all": np.dtype("?"), "argmin": np.dtype("i8"),
              "argmax": np.dtype("i8")}.get(operation, values.real.dtype if operation in ("var", "std") else values.dtype)
    check.expect(dtype == wanted, where, dtype, "instead of", wanted)
    check.expect(found.shape == np.shape(expected), where, found.shape, "instead of", np.shape(expected))
    if found.shape != np.shape(expected):
        return
    if dtype.kind not in "fc" or operation in ("min", "max"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    else:
        digits = 1.3e-7 if dtype in ("f4", "c8") else 1e-13
        scale = np.nansum(np.abs(np.where(np.isfinite(values), values, 0)), axis=axis) if operation in ("sum", "mean") else 0
        with np.errstate(all="ignore"):
            least = 2 * float(np.finfo(dtype).smallest_subnormal)
            near = np.abs(found - expected) <= digits * np.abs(expected) + 1e-15 * scale + least
            # What is infinite or NaN is so in both; which of them, NumPy decides by the order in which it adds.
            same = near | (~np.isfinite(found) & ~np.isfinite(np.asarray(expected).astype(dtype)))
    check.expect(np.all(same), where, np.asarray(found)[~same][:3], "instead of", np.asarray(expected)[~same][:3])


def run(*words):
    done = subprocess.run([command, *map(str, words), "--json"], capture_output=True, text=True)
    report = json.loads(done.stdout)
    check.expect(done.returncode == (1 if report["errors"] else 0), words, done.returncode, done.stderr)
    return ({each["dataset"]: each for each in report["results"]},
            {each["dataset"]: each["error"] for each in report["errors"]})


source = f"{folder}/z.h5"
data = {}
with h5py.File(source, "w") as file:
    for dtype, (layout, options) in itertools.product(("<c8", ">c16"), LAYOUTS.items()):
        for name, make in (("n", numbers), ("s", special)):
            path = f"/{name}_{dtype[1:]}_{layout}"
            data[path] = make(dtype[1:])
            file.create_dataset(path, data=data[path].astype(dtype), **options)
    file["names"] = np.array([b"x", b"y"])
    file["pairs"] = np.zeros(3, [("a", "f4"), ("b", "f4")])
    sparse = file.create_dataset("/sparse", (400, 60, 30), "c16", chunks=(10, 20, 30), fillvalue=2 - 1j)
    data["/sparse"] = np.full(sparse.shape, 2 - 1j)
    sparse[200:210, 20:40] = data["/sparse"][200:210, 20:40] = 1j
    file.create_dataset("/never", (300, 70), "c8", chunks=(10, 70), fillvalue=0.5j)
    data["/never"] = np.full((300, 70), 0.5j, "c8")

settings = [[], ["--memory", "16M", "--workers", "3"], ["--force-library", "--workers", "1"]]
for operation in OPERATIONS:
    for axes in (None, [0], [-1], [0, 2]):
        if operation in PLACES and axes is not None and len(axes) > 1:
            continue
        axis = None if axes is None else axes[0] if operation in PLACES else tuple(axes)
        for skip in (False, True):
            if skip and axes == [0, 2]:
                continue
            names = [name for name in data if name not in ("/sparse", "/never") or (axes is None and not skip)]
            words = [word for name in names for word in ("-d", name)]
            words += [] if axes is None else ["--axis=" + ",".join(map(str, axes))]
            words += ["--skip-nan"] if skip else []
            first, errors = run("reduce", operation, source, *words)
            for name in names:
                where = (operation, name, axes, "skip" if skip else "")
                values = data[name]
                if operation == "prod" and name in ("/sparse", "/never"):
                    continue  # beyond all numbers, or below
                if skip and operation in PLACES and np.isnan(values).all(axis=axis).any():
                    check.expect("NaN" in errors.get(name, ""), where, "has a result, NumPy has none")
                elif name not in first:
                    check.expect(False, where, "failed:", errors.get(name))
                else:
                    compare(where, first[name], values, operation, axis, skip)
            if axes in (None, [0]) and operation in ("sum", "var", "prod", "argmax") and not skip:
                for setting in settings[1:]:
                    again, failed = run("reduce", operation, source, *words, *setting)
                    same = {name: each["result"] for name, each in again.items()} == {
                        name: each["result"] for name, each in first.items()}
                    check.expect(same and failed.keys() == errors.keys(), operation, axes, setting, "has other bits")

# Without names: all that are numbers, and where these must lie on a line, none that are complex.
for setting in settings:
    results, errors = run("stats", source, *setting)
    check.expect(set(results) == set(data) and not errors, "stats finds", set(results) ^ set(data), errors)
    reduced, failed = run("reduce", "std", source, "--skip-nan")
    for name, each in results.items():
        ours, theirs = each["std"], reduced[name]["result"]
        digits = 1e-6 if "c8" in name or name == "/never" else 1e-12
        check.expect(ours == theirs or abs(ours - theirs) <= digits * abs(theirs), name, "std", ours, theirs)
results, errors = run("stats", source, "--histogram", "-d", "/n_c8_plain")
check.expect("no_histogram" in results["/n_c8_plain"] and not errors, "a histogram of complex numbers", results)
results, errors = run("reduce", "median", source)
check.expect(not results and not errors, "a median of complex numbers", results, errors)

# To a file, and in an expression.
out = f"{folder}/out.h5"
for operation in ("mean", "prod", "max", "std"):
    run_words = ["reduce", operation, source, "-d", "/n_c16_packed", "--axis=1", "-o", out, "--to", f"/{operation}", "--overwrite"]
    done = subprocess.run([command, *run_words], capture_output=True, text=True)
    check.expect(done.returncode == 0, run_words, done.stderr)
    with h5py.File(out) as file:
        values = data["/n_c16_packed"]
        expected = getattr(np, operation)(values, axis=1)
        found = file[operation][()]
        check.expect(found.dtype.newbyteorder("=") == expected.dtype and np.allclose(found, expected, 1e-12, 1e-300),
                     "reduce -o", operation, found.dtype)
for text, expected in (("z * prod(z / 2, axis=1, keepdims=True)", lambda z: z * np.prod(z / 2, axis=1, keepdims=True)),
                       ("z + prod(z)", lambda z: z + np.prod(z)),
                       ("nanprod(z, axis=2)", lambda z: np.nanprod(z, axis=2))):
    done = subprocess.run([command, "map", text, source, "-i", "z=/n_c16_plain", "-o", out, "--overwrite"],
                          capture_output=True, text=True)
    check.expect(done.returncode == 0, text, done.stderr)
    with h5py.File(out) as file:
        check.expect(np.allclose(file["result"][()], expected(data["/n_c16_plain"]), 1e-11, 1e-300), text, "differs")
check.leave()
