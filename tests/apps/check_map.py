"""Runs `runrig map 'x*2+1'` on every numeric dataset of HDF5 files, all of it and a selection, and compares values
and all that is kept with h5py, NumPy and h5dump. Arguments: the command, a folder to write to, the files.
"""
import concurrent.futures
import os
import pathlib
import random
import re
import subprocess
import sys

os.environ["NPY_PROMOTION_STATE"] = "weak"  # NumPy 2's rules, where NumPy is 1.24
import h5py  # noqa: E402
import numpy as np  # noqa: E402
from oracle import BEYOND_H5PY, Failures, filters_of, native, numeric_datasets  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "hdf5"))
from expected import random_selection  # noqa: E402

LOSSLESS = {1, 2, 3, 32000, 32001, 32004, 32008, 32015}  # deflate to zstd: kept as they are
UNTRUE = {"scale_factor", "add_offset", "valid_range", "valid_min", "valid_max", "actual_range", "_Unsigned"}
OF_TYPE = {"_FillValue", "missing_value"}
REBUILT = {"DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS", "_Netcdf4Dimid", "_Netcdf4Coordinates",
           "_NCProperties"}
OF_SCALES = {"CLASS", "NAME"}
PROVENANCE = {"runrig_input", "runrig_dataset", "runrig_expression", "runrig_version"}
PLACEHOLDER = b"This is a netCDF dimension but not a netCDF variable."

check = Failures()


def axes_of(index, shape):
    """For each axis of the dataset: the slice or number that an index text means for it."""
    index = list(index)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index[at : at + 1] = [slice(None)] * (len(shape) - len(index) + 1)
    return index + [slice(None)] * (len(shape) - len(index))


def check_values(where, source, output, index):
    with np.errstate(all="ignore"):
        expected = native(native(source[()])[index]) * 2 + 1
    big = source.id.get_type().get_class() != h5py.h5t.ENUM or source.dtype.kind != "b"
    big = big and source.dtype.itemsize > 1 and source.dtype.byteorder == ">" and expected.dtype.itemsize > 1
    wanted = np.dtype(expected.dtype).newbyteorder(">" if big else "<")
    check.expect(output.dtype == wanted, where, "dtype", output.dtype.str, "instead of", wanted.str)
    found = native(output[()])
    check.expect(found.shape == expected.shape, where, "shape", found.shape, "instead of", expected.shape)
    if found.shape == expected.shape and found.dtype == expected.dtype:
        # Signs of zeros count; what a NaN carries does not.
        nan = np.isnan(found) & np.isnan(expected) if found.dtype.kind == "f" else np.False_
        same = np.frombuffer(np.where(nan, 0, found).tobytes(), "u1") == np.frombuffer(
            np.where(nan, 0, expected).tobytes(), "u1")
        check.expect(same.all(), where, f"{np.count_nonzero(~same)} bytes of the values differ")
    elif found.shape == expected.shape:
        check.expect(False, where, "type", found.dtype, "instead of", expected.dtype)


def check_storage(where, source, output, axes, notes):
    kept = [(axis, each) for axis, each in enumerate(axes) if isinstance(each, slice)]
    if source.chunks is None or not kept:
        check.expect(output.chunks is None, where, "is chunked, the source is not")
        return
    chunks, maxshape = [], []
    for out_axis, (axis, _) in enumerate(kept):
        whole = output.shape[out_axis] == source.shape[axis]
        most = source.maxshape[axis]
        maxshape.append(most if most is None or whole else output.shape[out_axis])
        # An axis of fixed length has no longer chunks than itself.
        chunk = source.chunks[axis]
        chunks.append(chunk if maxshape[-1] is None else min(chunk, max(1, maxshape[-1])))
    check.expect(output.chunks == tuple(chunks), where, "chunks", output.chunks, "instead of", chunks)
    check.expect(output.maxshape == tuple(maxshape), where, "maxshape", output.maxshape, "instead of", maxshape)
    codes = [each[0] for each in filters_of(source)]
    found = filters_of(output)
    if set(codes) <= LOSSLESS:
        # Shuffle's only parameter is the element size, and lzf's say versions and sizes: the output's own.
        same = [(c, f, v if c == 1 else ()) for c, f, v, _ in filters_of(source)] == [
            (c, f, v if c == 1 else ()) for c, f, v, _ in found]
        check.expect(same, where, "filters", found, "instead of", filters_of(source))
    elif [each[0] for each in found] != codes:
        replaced = [(each[0], each[2]) for each in found][:2] == [(2, (output.dtype.itemsize,)), (1, (4,))]
        check.expect(replaced and "shuffle and deflate-4" in notes, where, "filters", found, "for", codes, notes)


def same_attribute(source, output, name):
    if source.attrs.get_id(name).dtype != output.attrs.get_id(name).dtype:
        return False
    one, two = source.attrs[name], output.attrs[name]
    if isinstance(one, h5py.Empty) or isinstance(two, h5py.Empty):
        return one == two
    one, two = np.asarray(one), np.asarray(two)
    return one.shape == two.shape and (one.dtype == object or one.tobytes() == two.tobytes()) and (
        one.dtype != object or repr(one.tolist()) == repr(two.tolist()))


def check_attributes(where, source, output, leave_out, notes):
    wanted = {name for name in source.attrs if name not in leave_out}
    for name in wanted - set(output.attrs):
        check.expect("@" + name in notes, where, "lacks attribute", name)
    for name in wanted & set(output.attrs):
        check.expect(same_attribute(source, output, name), where, "another attribute", name)
    invented = set(output.attrs) - wanted - REBUILT - OF_SCALES - PROVENANCE
    check.expect(not invented, where, "invented attributes", invented)
    check.expect(h5py.h5i.get_type(output.id) != h5py.h5i.DATASET or h5py.h5ds.is_scale(output.id)
                 or not OF_SCALES & set(output.attrs), where, "poses as a scale")


def check_scales(where, source, output, axes, notes):
    kept = [axis for axis, each in enumerate(axes) if isinstance(each, slice)]
    attached = [scale.name for axis in kept for scale in source.dims[axis].values()]
    for out_axis, axis in enumerate(kept):
        check.expect(output.dims[out_axis].label == source.dims[axis].label, where, "label of axis", axis)
        scales = {scale.name: scale for scale in output.dims[out_axis].values()}
        names = [scale.name for scale in source.dims[axis].values()]
        missing = set(names) - set(scales)
        # One scale of two axes that are cut in different ways cannot be both.
        several = any(attached.count(name) > 1 for name in names)
        check.expect(not missing or several or any(name in notes for name in missing), where, "lacks scales", missing)
        for scale in source.dims[axis].values():
            if scale.name not in scales or several:
                continue
            found = scales[scale.name]
            check.expect(h5py.h5ds.is_scale(found.id) and found.shape == (output.shape[out_axis],), where, "scale", scale.name)
            placeholder = bytes(scale.attrs.get("NAME", b"")).startswith(PLACEHOLDER)
            expected = scale[()][axes[axis]]
            same = placeholder or expected.tobytes() == found[()].tobytes() or (
                expected.dtype == object and expected.tolist() == found[()].tolist())
            check.expect(same and found.dtype == scale.dtype, where, "another scale", scale.name)
            check_attributes(where + " scale " + scale.name, scale, found, REBUILT | OF_SCALES, notes)
            check.expect(("NAME" in scale.attrs) <= ("NAME" in found.attrs), where, "name of scale", scale.name)


def quoted(path):
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'


def run_one(command, file, path, text, output, target):
    arguments = [command, "map", "x*2+1", file, "-i", f"x={quoted(path)}{text}", "-o", output, "--to", target]
    try:
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return None


def h5dump(file, path):
    """The chunk and filter lines of a dataset as h5dump shows them."""
    done = subprocess.run(["h5dump", "-pH", "-d", path, file], capture_output=True, text=True)
    text = done.stdout
    chunked = re.search(r"STORAGE_LAYOUT \{\s*(CHUNKED \(.*?\)|CONTIGUOUS|COMPACT)", text)
    filters = re.search(r"FILTERS \{(.*?)\n\s*\}\n\s*FILLVALUE", text, re.S)
    check.expect(done.returncode == 0 and chunked and filters, file, "h5dump fails", done.stderr)
    return chunked and chunked[1].replace("COMPACT", "CONTIGUOUS"), filters and filters[1].split()


def check_one(where, file, path, text, index, run, output, target):
    notes = run.stderr if run else ""
    with h5py.File(file) as f:
        source = f[path]
        try:
            source[()]
        except (OSError, RuntimeError):
            if {each[0] for each in filters_of(source)} & BEYOND_H5PY:
                check.expect(run is not None and run.returncode == 0, where, "failed:", notes)
                pathlib.Path(output).unlink(missing_ok=True)
                return
            failed = run is not None and run.returncode == 1 and notes.count("\n") == 1 and file in notes
            check.expect(failed and not pathlib.Path(output).exists(), where, "h5py cannot read it, but", notes)
            return
        check.expect(run is not None and run.returncode == 0, where, "failed:", notes)
        if run is None or run.returncode != 0:
            return
        check.expect(all(line.startswith("runrig: warning: ") for line in notes.splitlines()), where, notes)
        with h5py.File(output) as g:
            result = g[target]
            axes = axes_of(index, source.shape)
            check_values(where, source, result, index)
            check_storage(where, source, result, axes, notes)
            same_type = np.dtype(result.dtype.str) == np.dtype(source.dtype.str)
            leave_out = REBUILT | UNTRUE | (OF_SCALES if h5py.h5ds.is_scale(source.id) else set())
            of_type = {name for name in OF_TYPE & set(source.attrs)
                       if source.attrs.get_id(name).dtype.newbyteorder("=") != result.dtype.newbyteorder("=")}
            check_attributes(where, source, result, leave_out | of_type, notes)
            check_attributes(where + " root", f["/"], g["/"], REBUILT, notes)
            check_scales(where, source, result, axes, notes)
            made_of = [result.attrs.get(name) for name in ("runrig_input", "runrig_dataset", "runrig_expression")]
            # In files of netCDF's classic model texts have a fixed length, which h5py gives as bytes.
            made_of = [each.decode() if isinstance(each, bytes) else each for each in made_of]
            check.expect(made_of == [file, "x=" + path + text, "x*2+1"], where, "is said to be made of", made_of)
            defined = source.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
            if same_type and defined:
                # Where nothing is stored the fill value is the result.
                nothing = result.chunks and result.size and not result.id.get_storage_size()
                fill = source.fillvalue * 2 + 1 if nothing else source.fillvalue
                check.expect(np.array_equal(fill, result.fillvalue, equal_nan=source.dtype.kind == "f"), where,
                             "fill value", result.fillvalue, "instead of", fill)


def main(command, folder, *files):
    jobs = []
    kinds = set()
    for number, file in enumerate(files):
        with h5py.File(file) as f:
            for path, dataset in numeric_datasets(f):
                if dataset.shape is None:
                    continue
                jobs.append((file, path, "", ()))
                kind = (file, dataset.dtype, dataset.chunks, dataset.ndim, str(filters_of(dataset)))
                if dataset.shape and kind not in kinds:  # a selection of one of each kind
                    kinds.add(kind)
                    jobs.append((file, path, *random_selection(dataset.shape, random.Random(f"{number}{path}"))))
    targets = ["/result", "/deep/er/result"]
    runs = []
    with concurrent.futures.ThreadPoolExecutor(3) as several:
        for i, (file, path, text, _) in enumerate(jobs):
            output = str(pathlib.Path(folder) / f"{i}.h5")
            runs.append((output, several.submit(run_one, command, file, path, text, output, targets[i % 2])))
        dumped = set()
        for i, ((file, path, text, index), (output, run)) in enumerate(zip(jobs, runs)):
            where = f"{file}:{path}{text}"
            check_one(where, file, path, text, index, run.result(), output, targets[i % 2])
            # One of each kind of layout goes through h5dump as well: a process for each is too much.
            if not text and pathlib.Path(output).exists():
                with h5py.File(file) as f:
                    kind = (pathlib.Path(file).suffix, str(filters_of(f[path])))
                    lossless = {each[0] for each in filters_of(f[path])} <= LOSSLESS - BEYOND_H5PY
                if lossless and kind not in dumped:
                    dumped.add(kind)
                    shown, expected = h5dump(output, targets[i % 2]), h5dump(file, path)
                    check.expect(shown == expected, where, "h5dump shows", shown, "instead of", expected)
            pathlib.Path(output).unlink(missing_ok=True)
    check.expect(not list(pathlib.Path(folder).iterdir()), "left behind:", list(pathlib.Path(folder).iterdir()))
    print(f"{len(jobs)} maps, {len(dumped)} compared by h5dump")
    check.leave()


main(*sys.argv[1:])
