"""Compares `runrig reduce` with NumPy. Arguments: what to check, the command, a folder to work in.

values1, values2, values3: all operations on all dtypes, along all kinds of axes of so many; empty: what has no elements; layouts: that bits depend on
neither chunks nor memory nor workers; sparse: what was never written; quantiles; histograms; outputs: what is written to
files; pieces: results that do
not fit the memory.
"""
import itertools
import json
import os
import pathlib
import subprocess
import sys
import warnings

import h5py
import numpy as np
from oracle import Failures, native

check = Failures()
COMMAND = sys.argv[2]
FOLDER = pathlib.Path(sys.argv[3])
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
OPERATIONS = ["sum", "prod", "mean", "var", "std", "min", "max", "argmin", "argmax", "count", "any", "all"]
PLACES = ("argmin", "argmax")


def reduce(operation, name, *options):
    words = [COMMAND, "reduce", operation, str(name), "--json", *options]
    done = subprocess.run(words, capture_output=True, text=True)
    report = json.loads(done.stdout) if done.stdout else {"results": [], "errors": []}
    for each in report["errors"]:
        assert each["error"] in done.stderr, done.stderr
    check.expect(done.returncode == (1 if report["errors"] else 0), words, done.returncode, done.stderr)
    results = {each["dataset"]: each for each in report["results"]}
    return results, {each["dataset"]: each["error"] for each in report["errors"]}


def array_of(result):
    """Our result as an array, from JSON: NaN is null."""

    def plain(value):
        return [plain(each) for each in value] if isinstance(value, list) else np.nan if value is None else value

    dtype = np.dtype(result["result_dtype"])
    # Through exact integers where they are such.
    values = np.array(plain(result["result"]), dtype=dtype if dtype.kind in "iub" else "f8").astype(dtype)
    return values.astype("f8" if dtype.kind == "f" else dtype).reshape(result["result_shape"]), dtype


def expected_of(operation, values, axes, skip):
    """NumPy's result, floats computed with more digits than they have; and its dtype."""
    axis = None if axes is None else axes[0] if operation in PLACES else tuple(axes)
    real = values.dtype.kind == "f"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if operation == "count":
            return np.sum(~np.isnan(values) if real else np.ones(values.shape, bool), axis=axis), np.dtype("i8")
        function = getattr(np, ("nan" if skip and real and operation not in ("any", "all") else "") + operation)
        dtype = np.asarray(getattr(np, operation)(values, axis=axis)).dtype
        if operation in ("any", "all"):
            if skip and real:
                values = np.where(np.isnan(values), operation == "all", values)
            return function(values, axis=axis), dtype
        if operation in ("sum", "prod", "mean", "var", "std"):
            if real or operation in ("mean", "var", "std"):
                values = values.astype(np.longdouble)
        return function(values, axis=axis), dtype


def scale_of(operation, values, axes):
    """How large what is added is, for sums of numbers that cancel."""
    if operation not in ("sum", "mean"):
        return 0
    with np.errstate(all="ignore"):
        return np.nansum(np.abs(np.where(np.isfinite(values), values, 0).astype("f8")),
                         axis=None if axes is None else tuple(axes)) / (1 if operation == "sum" else max(values.size, 1))


def compare(where, result, values, operation, axes, skip):
    found, found_dtype = array_of(result)
    expected, dtype = expected_of(operation, values, axes, skip)
    expected = np.asarray(expected)
    check.expect(found_dtype == dtype, where, "dtype", found_dtype, "instead of", dtype)
    check.expect(found.shape == expected.shape, where, "shape", found.shape, "instead of", expected.shape)
    if found.shape != expected.shape:
        return
    if dtype.kind != "f":
        check.expect(np.array_equal(found, expected), where, found, "instead of", expected)
        return
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype).astype("f8")
        digits = {2: 1e-3, 4: 1.3e-7, 8: 1e-13}[dtype.itemsize]  # a unit in the last place, nearly
        if operation == "prod":
            digits = max(digits, 1e-12)
        smallest = float(np.finfo(dtype).smallest_subnormal)
        close = np.abs(found - rounded) <= digits * np.abs(rounded) + smallest + 1e-15 * scale_of(operation, values, axes)
    same = close | (found == rounded) | (np.isnan(found) & np.isnan(rounded))
    check.expect(np.all(same), where, found[~same][:3], "instead of", rounded[~same][:3])


def numbers(random, dtype, shape):
    """Values with zeros, repeats and limits among them."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return random.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        return (random.standard_normal(shape) * 3 + 1).astype(dtype)
    limits = np.iinfo(dtype)
    values = random.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)
    return np.where(random.random(shape) < 0.5, values, (values % 7).astype(dtype))


def special(random, dtype, shape):
    """Floats with NaNs, infinities and whole lines of NaN; numbers far from zero that differ by little."""
    values = numbers(random, dtype, shape)
    flat = values.reshape(-1)
    for i, value in enumerate((np.nan, np.inf, -np.inf, np.nan)):
        flat[random.integers(0, flat.size, 1 + flat.size // 40 // (i + 1))] = value
    if values.ndim > 1:
        values[:, 1] = np.nan
    return values


def far(random, dtype, shape):
    return (random.standard_normal(shape) + {2: 100, 4: 1e5, 8: 1e9}[np.dtype(dtype).itemsize]).astype(dtype)


def make(name, shape, chunk):
    random = np.random.default_rng(len(shape))
    values = {}
    for dtype in DTYPES:
        values[f"/n_{dtype.replace('?', 'b')}"] = numbers(random, dtype, shape)
        if dtype[0] == "f":
            values[f"/s_{dtype}"] = special(random, dtype, shape)
            values[f"/far_{dtype}"] = far(random, dtype, shape)
            values[f"/x_{dtype}"] = np.full(shape, np.nan, dtype)
    options = itertools.cycle([{}, {"chunks": chunk, "compression": "gzip", "shuffle": True}, {"chunks": chunk}])
    with h5py.File(name, "w") as file:
        for path, each in values.items():
            big = each.astype(each.dtype.newbyteorder(">")) if len(path) % 2 else each
            file.create_dataset(path, data=big, **next(options))
    return values


def check_values(rank):
    cases = {
        "one": ((1000,), (97,), [None, [0]]),
        "rows": ((40, 3), (16, 3), [[1], [-2]]),
        "two": ((23, 70), (9, 32), [None, [0], [-1], [0, 1]]),
        "three": ((11, 9, 37), (4, 5, 16), [None, [0], [1], [2], [0, 2], [-3, 1], [1, -1]]),
    }
    for name, (shape, chunk, all_axes) in cases.items():
        if len(shape) != rank:
            continue
        path = FOLDER / f"{name}.h5"
        values = make(path, shape, chunk)
        for operation, axes in itertools.product(OPERATIONS, all_axes):
            if operation in PLACES and axes is not None and len(axes) > 1:
                continue
            for skip in (False, True):
                options = [] if axes is None else ["--axis=" + ",".join(map(str, axes))]
                results, errors = reduce(operation, path, *options, *(["--skip-nan"] if skip else []))
                for dataset, each in values.items():
                    where = f"{operation} {name} {dataset} axes {axes} skip {skip}"
                    none = (skip and operation in PLACES and each.dtype.kind == "f"
                            and np.isnan(each).all(axis=None if axes is None else axes[0]).any())
                    if none:
                        check.expect("NaN" in errors.get(dataset, ""), where, "has a result, NumPy has none")
                    elif dataset not in results:
                        check.expect(False, where, "failed", errors.get(dataset))
                    else:
                        compare(where, results[dataset], each, operation, axes, skip)


def check_empty():
    path = FOLDER / "empty.h5"
    with h5py.File(path, "w") as file:
        file["none"] = np.zeros((0, 3), "f4")
        file["whole"] = np.zeros((0, 3), "i2")
        file["scalar"] = np.float32(2.5)
        file["null"] = h5py.Empty("f8")
    for operation in OPERATIONS:
        for axes in (None, [0], [1]):
            options = [] if axes is None else [f"--axis={axes[0]}"]
            results, errors = reduce(operation, path, *options, "-d", "/none", "-d", "/whole")
            for dataset, values in (("/none", np.zeros((0, 3), "f4")), ("/whole", np.zeros((0, 3), "i2"))):
                where = f"{operation} {dataset} axes {axes}"
                try:
                    expected_of(operation, values, axes, False)
                except ValueError:
                    check.expect("no elements" in errors.get(dataset, ""), where, "has a result, NumPy has none")
                    continue
                if dataset not in results:
                    check.expect(False, where, "failed:", errors.get(dataset))
                    continue
                compare(where, results[dataset], values, operation, axes, False)
        results, errors = reduce(operation, path, "-d", "/scalar")
        compare(f"{operation} of a scalar", results["/scalar"], np.float32(2.5), operation, None, False)


def texts(operation, name, *options):
    """All results as printed, by dataset."""
    results, errors = reduce(operation, name, *options)
    check.expect(not errors, operation, name, options, errors)
    return {dataset: (each["result_shape"], each["result"]) for dataset, each in results.items()}


def check_layouts():
    """Large enough for all workers, in slabs: against NumPy once, and then the same bits of everything else."""
    random = np.random.default_rng(5)
    shape = (331, 47, 89)
    values = numbers(random, "f8", shape)
    values[3, 5, 7:60] = np.nan
    values[200, :, 11] = np.inf
    layouts = {
        "plain": {},
        "long": {"chunks": (331, 2, 16)},
        "flat": {"chunks": (1, 47, 89), "compression": "gzip", "compression_opts": 1},
        "odd": {"chunks": (50, 20, 30), "compression": "lzf", "shuffle": True},
        "sums": {"chunks": (64, 47, 10), "fletcher32": True},
    }
    names = []
    for layout, options in layouts.items():
        names.append(FOLDER / f"{layout}.h5")
        with h5py.File(names[-1], "w") as file:
            file.create_dataset("x", data=values, **options)
            file.create_dataset("f", data=values.astype("f4"), **options)
    runs = [["--memory", "16M", "--workers", "3"], ["--workers", "1"], ["--memory", "40M", "--force-library"]]
    for operation, axes in [("sum", None), ("var", None), ("prod", None), ("argmax", None), ("any", None), ("sum", [0]),
                            ("mean", [1]), ("std", [2]), ("var", [0, 1]), ("var", [1, 2]), ("sum", [0, 2]),
                            ("argmin", [0]), ("argmax", [2]), ("min", [0, 1]), ("prod", [2]), ("count", [0])]:
        option = [] if axes is None else ["--axis=" + ",".join(map(str, axes))]
        for skip in ([], ["--skip-nan"]) if operation in ("var", "argmin") else ([],):
            results, errors = reduce(operation, names[0], *option, *skip)
            for dataset in ("/x", "/f"):
                compare(f"{operation} {axes} {dataset} {skip}", results[dataset],
                        values if dataset == "/x" else values.astype("f4"), operation, axes, bool(skip))
            first = texts(operation, names[0], *option, *skip)
            for i, name in enumerate(names[1:]):
                again = texts(operation, name, *option, *skip, *runs[i % len(runs)])
                check.expect(again == first, operation, axes, skip, name.name, runs[i % len(runs)], "has other bits")
            again = texts(operation, names[0], *option, *skip, *runs[0])
            check.expect(again == first, operation, axes, skip, "plain", runs[0], "has other bits")
    told = json.loads(subprocess.run([COMMAND, "stats", "--json", str(names[2]), "-d", "/x[:, :, :11]"],
                                     capture_output=True, text=True).stdout)["results"][0]
    for operation in ("sum", "mean", "std", "min", "max"):
        ours = texts(operation, names[3], "--skip-nan", "-d", "/x[:, :, :11]")
        check.expect(ours["/x[:, :, :11]"][1] == told[operation], operation, "is not what stats tells")


def check_sparse():
    """What was never written, as if it had been."""
    shape = (600, 40, 50)
    for number, fill in enumerate((0.0, 2.5, np.nan)):
        values = np.full(shape, fill)
        sparse, dense = FOLDER / f"sparse{number}.h5", FOLDER / f"dense{number}.h5"
        with h5py.File(sparse, "w") as file:
            dataset = file.create_dataset("x", shape, "f8", chunks=(10, 10, 10), fillvalue=fill)
            for at in ((0, 0, 0), (300, 20, 20), (310, 20, 20), (590, 0, 40)):
                part = tuple(slice(each, each + 10) for each in at)
                dataset[part] = values[part] = np.random.default_rng(at[0]).standard_normal((10, 10, 10))
            file.create_dataset("never", shape, "f8", chunks=(10, 10, 10), fillvalue=fill)
        with h5py.File(dense, "w") as file:
            file["x"] = values
            file["never"] = np.full(shape, fill)
        for operation, axes in itertools.product(OPERATIONS, (None, "0", "1", "2", "0,2", "1,2", "0,1,2")):
            if operation in PLACES and axes and "," in axes:
                continue
            for skip in ([], ["--skip-nan"]) if np.isnan(fill) else ([],):
                options = ([] if axes is None else ["--axis=" + axes]) + skip
                results, errors = reduce(operation, dense, *options)
                again, failed = reduce(operation, sparse, "--memory", "16M", *options)
                same = {name: each["result"] for name, each in again.items()} == {
                    name: each["result"] for name, each in results.items()}
                check.expect(same and failed == errors, operation, options, "fill", fill, "differs", failed)


def check_quantiles():
    """Against NumPy on doubles, rounded once; of sequences that fit a worker's memory and of those that do not."""
    cases = {"two": ((23, 70), (9, 32), [None, [0], [-1]]), "three": ((11, 9, 37), (4, 5, 16), [[1], [0, 2]])}
    for name, (shape, chunk, all_axes) in cases.items():
        path = FOLDER / f"q{name}.h5"
        values = make(path, shape, chunk)
        for operation, axes, skip in itertools.product(("median", "quantile:0.9", "quantile:0", "quantile:1"), all_axes,
                                                       ([], ["--skip-nan"])):
            options = ([] if axes is None else ["--axis=" + ",".join(map(str, axes))]) + skip
            results, errors = reduce(operation, path, *options)
            check.expect(not errors, operation, options, errors)
            for dataset, each in values.items():
                compare_quantile(f"{operation} {dataset} {options}", results[dataset], each, operation, axes, skip)
    random = np.random.default_rng(3)
    path = FOLDER / "long.h5"
    values = {"/d": random.standard_normal((3, 500_000)), "/f": random.standard_normal(1_500_000).astype("f4"),
              "/same": np.full(3_000_000, 2.5, "f4"), "/i": random.integers(-1000, 1000, (3, 700_000)).astype("i4")}
    with h5py.File(path, "w") as file:
        for dataset, each in values.items():
            file.create_dataset(dataset, data=each, chunks=(1, 9973)[-each.ndim:])
    for operation, axes in itertools.product(("median", "quantile:0.123"), (None, [-1])):
        options = [] if axes is None else ["--axis=-1"]
        for memory in ("16M", "1G"):
            results, errors = reduce(operation, path, *options, "--memory", memory)
            check.expect(not errors, operation, options, errors)
            for dataset, each in values.items():
                compare_quantile(f"{operation} {dataset} {options} {memory}", results[dataset], each, operation, axes, [])


def compare_quantile(where, result, values, operation, axes, skip):
    found, dtype = array_of(result)
    wanted = values.dtype if values.dtype.kind == "f" else np.dtype("f8")
    check.expect(dtype == wanted, where, "dtype", dtype, "instead of", wanted)
    function = np.nanquantile if skip else np.quantile
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        where_to = 0.5 if operation == "median" else float(operation.partition(":")[2])
        expected = np.asarray(function(values.astype("f8"), where_to, axis=None if axes is None else tuple(axes)))
        rounded = expected.astype(dtype).astype("f8")
    digits = {2: 1e-3, 4: 1.3e-7, 8: 1e-14}[dtype.itemsize]
    with np.errstate(all="ignore"):
        # NumPy makes NaN of two equal infinities.
        same = (np.abs(found - rounded) <= digits * np.abs(rounded)) | (found == rounded) | np.isnan(rounded)
    same &= np.isnan(found) <= np.isnan(rounded)
    if not np.isinf(values.astype("f8")).any():
        same &= np.isnan(found) == np.isnan(rounded)
    check.expect(found.shape == rounded.shape and np.all(same), where, found[~same][:3], "instead of", rounded[~same][:3])


def check_histograms():
    random = np.random.default_rng(4)
    path = FOLDER / "h.h5"
    values = {f"/{dtype}".replace("?", "b"): numbers(random, dtype, (50, 60)) for dtype in DTYPES if dtype not in "i8u8"}
    values["/large"] = random.standard_normal((900, 1100))
    values["/same"] = np.full(70, 4, "i2")
    with h5py.File(path, "w") as file:
        for dataset, each in values.items():
            chunks = {"chunks": (100, 100), "compression": "gzip"} if dataset == "/large" else {}
            file.create_dataset(dataset, data=each, **chunks)
        file["nan"] = np.array([1.0, np.nan, 3.0, 2.0])
        file["inf"] = np.array([1.0, np.inf])
        file["none"] = np.zeros(0, "f4")
    good = list(itertools.chain.from_iterable(("-d", each) for each in values))
    for bins in (1, 7, 256):
        for place, options in ((None, []), ((-0.5, 2.25), ["--range=-0.5,2.25"])):
            results, errors = reduce(f"histogram:{bins}", path, *options, *good)
            check.expect(not errors, bins, options, errors)
            for dataset, each in values.items():
                counts, edges = np.histogram(each.astype("u1") if each.dtype.kind == "b" else each, bins, place)
                where = f"histogram:{bins} {dataset} {options}"
                ours = np.array(results[dataset]["edges"])
                close = {2: 2e-3, 4: 2e-7}.get(each.dtype.itemsize if each.dtype.kind == "f" else 8, 1e-14)
                near = np.allclose(ours, edges, rtol=close, atol=close * max(abs(edges[0]), abs(edges[-1])))
                check.expect(near, where, "edges", ours[:4], "instead of", edges[:4])
                # What each bin's edges say; NumPy's guess of a float16's bin may be wrong.
                rows = each.astype("f8").reshape(-1)
                exact = [int(((rows >= a) & ((rows < b) | (last & (rows == b)))).sum())
                         for a, b, last in zip(ours, ours[1:], [False] * (bins - 1) + [True])]
                check.expect(results[dataset]["result"] == exact, where, "counts")
                if each.dtype.itemsize == 8 or each.dtype.kind != "f":
                    check.expect(results[dataset]["result"] == counts.tolist(), where, "counts are not NumPy's")
    _, errors = reduce("histogram:4", path, "-d", "/nan", "-d", "/inf")
    check.expect("NaN" in errors["/nan"] and "infinit" in errors["/inf"], errors)
    output = FOLDER / "histogram.h5"
    words = [COMMAND, "reduce", "histogram:16", str(path), "-d", "/large", "-o", str(output), "--to", "/h/x"]
    done = subprocess.run(words, capture_output=True, text=True)
    check.expect(done.returncode == 0, words, done.stderr)
    with h5py.File(output) as file:
        counts, edges = np.histogram(values["/large"], 16)
        check.expect(np.array_equal(file["h/x"][()], counts) and file["h/x"].dtype == "i8", "written counts")
        check.expect(np.allclose(file["h/x_edges"][()], edges, rtol=1e-14, atol=1e-14), "written edges")
    results, errors = reduce("histogram:4", path, "--skip-nan", "-d", "/nan", "-d", "/none")
    check.expect(results["/nan"]["result"] == [1, 0, 1, 1] and results["/none"]["result"] == [0] * 4, results, errors)


def check_outputs():
    random = np.random.default_rng(9)
    path = FOLDER / "in.h5"
    values = random.standard_normal((12, 20, 30)).astype(">f4")
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("g/t", data=values, chunks=(3, 10, 15), compression="gzip", shuffle=True)
        dataset.attrs["units"] = "K"
        dataset.attrs["scale_factor"] = 2.0
        for axis, (name, count) in enumerate((("time", 12), ("lat", 20), ("lon", 30))):
            file[name] = np.arange(count) * 1.5
            file[name].make_scale(name)
            dataset.dims[axis].attach_scale(file[name])
    for operation, axes, selection in (("mean", (0,), ""), ("max", (1, 2), ""), ("argmin", (1,), ""),
                                       ("sum", (0, 1, 2), ""), ("sum", (1,), "[::2, :, 3:20]")):
        output = FOLDER / "out.h5"
        words = [COMMAND, "reduce", operation, str(path), "-d", "/g/t" + selection,
                 "--axis=" + ",".join(map(str, axes)), "-o", str(output), "--to", "/h/r", "--overwrite"]
        done = subprocess.run(words, capture_output=True, text=True)
        where = f"{operation} {axes} {selection} to a file:"
        check.expect(done.returncode == 0, where, done.stderr)
        if done.returncode:
            continue
        cut = native(values)[eval("np.s_" + selection)] if selection else native(values)
        expected, dtype = expected_of(operation, cut, axes, False)
        with h5py.File(output) as file:
            found = file["h/r"]
            check.expect(found.shape == expected.shape, where, found.shape, "instead of", expected.shape)
            check.expect(native(found[()]).dtype == dtype, where, found.dtype, "instead of", dtype)
            check.expect(np.allclose(found[()], expected.astype("f8"), rtol=2e-7), where, "other values")
            expected_names = {"argmin": set()}.get(operation, {"units"})  # an index is no temperature
            told = {name: text for name, text in found.attrs.items() if name.startswith("runrig")}
            check.expect(set(found.attrs) - set(told) - {"DIMENSION_LIST"} == expected_names, where, "attributes", list(found.attrs))
            check.expect(told.pop("runrig_version", "")[:1].isdigit(), where, "version", told)
            check.expect(told == {"runrig_input": str(path), "runrig_dataset": "/g/t" + selection,
                                  "runrig_operation": operation, "runrig_axis": ",".join(map(str, axes))}, where, told)
            kept = [axis for axis in range(3) if axis not in axes]
            names = [list(found.dims[i].keys()) for i in range(found.ndim)]
            check.expect(names == [[("time", "lat", "lon")[axis]] for axis in kept], where, "scales", names)
            if kept:
                chunks = tuple(min((3, 10, 15)[axis], found.shape[i]) for i, axis in enumerate(kept))
                check.expect(found.chunks == chunks, where, "chunks", found.chunks)
                check.expect(found.compression == "gzip" and found.shuffle, where, "filters")
    for operation in ("count", "any", "all", "var", "prod", "std", "median"):
        subprocess.run([COMMAND, "reduce", operation, str(path), "-d", "/g/t", "--axis", "0", "-o", str(output),
                        "--overwrite", "--no-provenance"], check=True, capture_output=True)
        with h5py.File(output) as file:
            kept = {"units"} if operation in ("std", "median") else set()
            check.expect(set(file["result"].attrs) - {"DIMENSION_LIST"} == kept, operation, list(file["result"].attrs))
    for more, told in ((["--skip-nan"], True), (["--no-provenance"], False)):
        subprocess.run([COMMAND, "reduce", "histogram:5", str(path), "-d", "/g/t", "-o", str(output), "--overwrite", *more],
                       check=True, capture_output=True)
        with h5py.File(output) as file:
            for name in ("result", "result_edges"):
                check.expect(("runrig_input" in file[name].attrs) == told, name, more, list(file[name].attrs))
                check.expect((file[name].attrs.get("runrig_nan") == "skip") == told, name, more, "skipping")


def check_pieces():
    """Results that are larger than what the memory leaves for them: the same bits as with much memory."""
    random = np.random.default_rng(10)
    path = FOLDER / "in.h5"
    with h5py.File(path, "w") as file:
        values = random.standard_normal((3, 1100, 1300))
        values[0][random.random(values[0].shape) < 0.01] = np.nan
        file.create_dataset("chunked", data=values, chunks=(2, 90, 120), compression=1)
        file.create_dataset("plain", data=values.transpose(1, 2, 0).astype("f4"))
        file.create_dataset("narrow", data=(random.random((900_000, 2)) * 100).astype("i2"), chunks=(5000, 1))
        file.create_dataset("filled", (2, 1500, 1500), "f8", chunks=(1, 100, 100), fillvalue=3.5)
        file.create_dataset("filled_plain", (2, 1500, 1500), "f8", fillvalue=3.5)
        sparse = file.create_dataset("sparse", (4, 1500, 1500), "f8", chunks=(2, 100, 100), fillvalue=-2)
        sparse[1, 620:640, 300:330] = random.random((20, 30))
    cases = [("mean", "chunked", "0", ""), ("std", "chunked", "0", "[:, 5:, ::-1]"), ("sum", "plain", "2", ""),
             ("max", "plain", "-1", "[::2]"), ("median", "chunked", "0", ""), ("argmax", "narrow", "1", ""),
             ("sum", "filled", "0", ""), ("var", "filled_plain", "0", ""), ("mean", "sparse", "0", "")]
    for operation, name, axis, selection in cases:
        outputs = []
        for memory, workers in (("16M", "2"), ("2G", "1")):
            outputs.append(FOLDER / f"out-{memory}.h5")
            done = subprocess.run([COMMAND, "reduce", operation, str(path), "-d", f"/{name}{selection}", f"--axis={axis}",
                                   "--skip-nan", "-o", str(outputs[-1]), "--overwrite", "--memory", memory, "--workers",
                                   workers], capture_output=True, text=True)
            check.expect(done.returncode == 0, operation, name, memory, done.stderr)
        with h5py.File(outputs[0]) as few, h5py.File(outputs[1]) as much, h5py.File(path) as file:
            a, b = few["result"], much["result"]
            check.expect(a.size * a.dtype.itemsize > 2 << 20, name, "is no test of pieces:", a.shape)
            check.expect(a.dtype == b.dtype and a.chunks == b.chunks, operation, name, "is stored in another way")
            check.expect(a[()].tobytes() == b[()].tobytes(), operation, name, selection, "has other bits")
            source = native(eval("file[name][()]" + selection)) if selection else native(file[name][()])
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                function = getattr(np, operation if operation == "argmax" else "nan" + operation)
                wanted = function(source.astype("f8"), axis=int(axis))
            check.expect(np.allclose(a[()], wanted, rtol=1e-6, equal_nan=True), operation, name, "is not NumPy's")
            if name == "filled":
                check.expect(a.id.get_storage_size() == 0, "a constant is stored")


os.chdir(FOLDER)
{"values1": lambda: check_values(1), "values2": lambda: check_values(2), "values3": lambda: check_values(3), "empty": check_empty, "layouts": check_layouts, "sparse": check_sparse,
 "outputs": check_outputs, "pieces": check_pieces, "quantiles": check_quantiles, "histograms": check_histograms}[sys.argv[1]]()
check.leave()
