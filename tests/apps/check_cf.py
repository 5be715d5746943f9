"""Runs the command with --cf and compares with netCDF4's masked and scaled arrays. Arguments: the command, a folder, and
netCDF files; those made here are always among them.
"""
import json
import pathlib
import subprocess
import sys

import h5py
import netCDF4
import numpy as np
from oracle import Failures

check = Failures()
command, folder, *files = sys.argv[1:]
made = str(pathlib.Path(folder) / "made.nc")
output = str(pathlib.Path(folder) / "out.nc")
random = np.random.default_rng(7)
PACKING = {"scale_factor", "add_offset", "valid_range", "valid_min", "valid_max", "_Unsigned", "missing_value"}


def run(*arguments):
    done = subprocess.run([command, *arguments], capture_output=True, text=True)
    check.expect(done.returncode == 0, arguments[:6], "failed:", done.stderr)
    return done.stdout


# name: stored type, fill value, attributes, type to be expected
f4, f8 = np.float32, np.float64
MADE = {
    "short_double": ("i2", -999, {"scale_factor": 0.01, "add_offset": 273.15}, "f8"),
    "short_float": ("i2", -999, {"scale_factor": f4(0.01), "add_offset": f4(273.15)}, "f4"),
    "short_scale": ("i2", None, {"scale_factor": 0.5}, "f8"),
    "short_offset": ("i2", None, {"add_offset": f4(-5)}, "f4"),
    "short_mixed": ("i2", -999, {"scale_factor": f4(0.25), "add_offset": 1.5}, "f8"),
    "short_fill": ("i2", -999, {"units": "1"}, "f4"),
    "short_integers": ("i2", None, {"scale_factor": np.int16(3)}, "f8"),
    "byte_unsigned": ("i1", -1, {"_Unsigned": "true", "scale_factor": f4(0.1), "add_offset": f4(1)}, "f4"),
    "byte_unsigned_plain": ("i1", None, {"_Unsigned": "true"}, "u1"),
    "byte_missing": ("i1", None, {"missing_value": np.int8(7)}, "f4"),
    "ubyte": ("u1", 255, {}, "f4"),
    "two_missing": ("i2", None, {"missing_value": np.array([3, 4], "i2")}, "f4"),
    "int_float": ("i4", -2**31, {"scale_factor": f4(0.001)}, "f8"),
    "int_fill": ("i4", 12, {}, "f8"),
    "int64_fill": ("i8", 2**62, {}, "f8"),
    "range": ("i2", None, {"valid_range": np.array([-20, 30], "i2"), "scale_factor": 0.1}, "f8"),
    "limits": ("f4", 1e20, {"valid_min": f4(-1), "valid_max": f4(1.5)}, "f4"),
    "float_fill": ("f4", 1e20, {"missing_value": f4(-9999)}, "f4"),
    "float_default": ("f4", None, {}, "f4"),
    "double_default": ("f8", None, {"units": "m"}, "f8"),
    "nan_fill": ("f8", np.nan, {}, "f8"),
    "plain": ("i4", None, {"units": "counts"}, "i4"),
    "impossible": ("i2", None, {"missing_value": 1e20}, "i2"),
}
SHAPE = (40, 17, 23)
with netCDF4.Dataset(made, "w") as file:
    file.createDimension("time", None)
    file.createDimension("y", SHAPE[1])
    file.createDimension("x", SHAPE[2])
    file.createVariable("time", "f8", ("time",))[:] = np.arange(SHAPE[0])
    file["time"].units = "days since 2000-01-01"
    for number, (name, (dtype, fill, attributes, _)) in enumerate(MADE.items()):
        variable = file.createVariable(name, dtype, ("time", "y", "x"), fill_value=fill, zlib=number % 2 == 0,
                                       chunksizes=(7, 17, 10))
        variable.set_auto_maskandscale(False)
        variable.long_name = "the " + name
        variable.setncatts(attributes)
        kind = np.dtype(dtype).kind
        values = random.normal(size=SHAPE) * 2 if kind == "f" else random.integers(-50 if kind == "i" else 0, 60, SHAPE)
        values = values.astype(dtype)
        holes = random.random(SHAPE) < 0.1
        if fill is not None:
            values[holes] = fill
        for missing in np.atleast_1d(attributes.get("missing_value", [])):
            if name != "impossible":
                values[random.random(SHAPE) < 0.05] = missing
        variable[:30 if name.endswith("default") else SHAPE[0]] = values[:30 if name.endswith("default") else SHAPE[0]]
        if name.endswith("default"):
            variable[30:] = np.full_like(values[30:], netCDF4.default_fillvals[dtype])


def variables_of(group):
    for variable in group.variables.values():
        # Strings, and what has types of its own, are none of our concern.
        if isinstance(variable.dtype, np.dtype) and variable.dtype.kind in "iuf" and variable.size:
            yield variable
    for inner in group.groups.values():
        yield from variables_of(inner)


def expected(variable, dtype):
    """What netCDF4 has, as an array of `dtype` with NaNs."""
    variable.set_auto_maskandscale(False)
    raw = np.asarray(variable[...])
    if dtype.kind in "iu":  # nothing to be unpacked: netCDF4 would only mask its default fill value
        return raw.view(dtype) if raw.dtype.newbyteorder("=") != dtype else raw
    variable.set_auto_maskandscale(True)
    return np.ma.filled(np.ma.asarray(variable[...]).astype(dtype), np.nan)


def path_of(variable):
    group = variable.group().path
    return (group if group.endswith("/") else group + "/") + variable.name


for path in [made, *files]:
    with netCDF4.Dataset(path) as file:
        variables = list(variables_of(file))
        inputs, outputs = [], []
        for i, variable in enumerate(variables):
            name = path_of(variable).replace("[", "\\[").replace(":", "\\:").replace("=", "\\=")
            inputs += ["-i", f"v{i}={name}"]
            outputs += ["--to", f"/out{i}=v{i}"]
        run("map", path, "--cf", *inputs, *outputs, "-o", output, "--overwrite")
        with h5py.File(output) as results:
            for i, variable in enumerate(variables):
                result = results[f"out{i}"]
                where = pathlib.Path(path).name + ":" + path_of(variable)
                if path == made and variable.name in MADE:
                    check.expect(result.dtype.str[1:] == MADE[variable.name][3], where, "is", result.dtype)
                native = result.dtype.newbyteorder("=")
                wanted = expected(variable, native)
                values = result[()]
                loose = native == f4 or variable.dtype == f4  # netCDF4 computes floats times double in float32
                same = np.allclose(values, wanted, rtol=1e-6 if loose else 1e-15, atol=0, equal_nan=True)
                check.expect(same and values.shape == variable.shape, where, "differs")
                kept = set(result.attrs)
                check.expect(not kept & PACKING or "missing_value" in kept and native.kind in "iu", where, "keeps", kept)
                check.expect({"units", "long_name"} & set(variable.ncattrs()) <= kept, where, "lost attributes", kept)
                if native.kind == "f" and np.isnan(values).any() and "_FillValue" in variable.ncattrs():
                    check.expect(np.isnan(result.attrs["_FillValue"]).all(), where, "_FillValue", result.attrs["_FillValue"])
                    check.expect(np.isnan(result.fillvalue), where, "fill value", result.fillvalue)
        # netCDF's own tools read what we wrote.
        dumped = subprocess.run(["ncdump", "-h", output], capture_output=True, text=True)
        check.expect(dumped.returncode == 0, path, "ncdump:", dumped.stderr)

        # stats: all at once, by name.
        told = json.loads(run("stats", path, "--cf", "--json"))["results"]
        told = {each["dataset"]: each for each in told}
        for i, variable in enumerate(variables):
            where = pathlib.Path(path).name + ":" + path_of(variable)
            with h5py.File(output) as results:
                values = results[f"out{i}"][()].astype("f8")
            one = told[path_of(variable)]
            valid = values[~np.isnan(values)]
            check.expect(one["nan"] == values.size - valid.size and one["count"] == values.size, where, "nan", one)
            if valid.size and np.isfinite(valid).all():
                check.expect(np.isclose(one["mean"], valid.mean(), rtol=1e-6, atol=1e-12 * abs(valid).max()), where, one)
                check.expect(one["max"] == valid.max() and one["min"] == valid.min(), where, one)

with netCDF4.Dataset(made) as file:
    # Dimensions, and netCDF4 sees masked what was masked.
    run("map", "x * 2", made, "--cf", "-i", "x=/short_double", "-o", output, "--overwrite", "--to", "/doubled")
    with netCDF4.Dataset(output) as result:
        doubled = result["doubled"]
        check.expect(doubled.dimensions == ("time", "y", "x"), "dimensions", doubled.dimensions)
        check.expect(result.dimensions["time"].isunlimited(), "time is no longer unlimited")
        check.expect(result["time"].units == "days since 2000-01-01", "the scale lost its units")
        source = file["short_double"][...]
        check.expect(np.array_equal(np.ma.getmaskarray(doubled[...]), np.ma.getmaskarray(source)), "masks differ")
        check.expect(np.ma.allclose(doubled[...], source * 2), "doubled differs")
    run("map", "isnan(x)", made, "--cf", "-i", "x=/short_double", "-o", output, "--overwrite")
    with h5py.File(output) as result:
        check.expect("_FillValue" not in result["result"].attrs, "a boolean has a fill value")
        check.expect(np.array_equal(result["result"][()], np.ma.getmaskarray(source)), "isnan differs")
    # Reductions, along axes both ways, in little memory and through the library.
    for axis in (0, 1, 2):
        for more in ([], ["--force-library"], ["--memory", "16M", "--workers", "3"]):
            run("reduce", "mean", made, "--cf", "-d", "/short_float", "--axis", str(axis), "--skip-nan", "-o", output,
                "--overwrite", *more)
            with h5py.File(output) as result:
                wanted = file["short_float"][...].astype("f8").mean(axis=axis)
                check.expect(np.allclose(result["result"][()], wanted, rtol=1e-6), "mean along", axis, more)
    # A selection, backwards and with steps.
    run("map", "x", made, "--cf", "-i", "x=/float_fill[::-2, 3, 1:20:4]", "-o", output, "--overwrite")
    with h5py.File(output) as result:
        wanted = np.ma.filled(file["float_fill"][...], np.nan)[::-2, 3, 1:20:4]
        check.expect(np.array_equal(result["result"][()], wanted, equal_nan=True), "a selection differs")

# Limits of the factors' type are about what was unpacked (netCDF4 does not know this rule); false signs; nothing stored.
with h5py.File(made, "a") as file:
    packed = random.integers(-100, 100, (50, 30)).astype("i2")
    dataset = file.create_dataset("unpacked_limits", data=packed)
    dataset.attrs.update({"scale_factor": 0.1, "valid_min": -2.0, "valid_max": 3.5})
    signed = file.create_dataset("signed", data=packed.view("u2"))
    signed.attrs["_Unsigned"] = "false"
    empty = file.create_dataset("empty", (300, 1000), "i2", chunks=(10, 100), fillvalue=-5)
    empty.attrs.update({"_FillValue": np.int16(-5), "scale_factor": 0.1})
    bad = file.create_dataset("bad", data=packed)
    bad.attrs["scale_factor"] = "a tenth"
for name, wanted in {
        "unpacked_limits": np.where((packed * 0.1 < -2) | (packed * 0.1 > 3.5), np.nan, packed * 0.1), "signed": packed,
        "empty": np.full((300, 1000), np.nan)}.items():
    run("map", "x", made, "--cf", "-i", "x=/" + name, "-o", output, "--overwrite")
    with h5py.File(output) as result:
        check.expect(np.array_equal(result["result"][()], wanted, equal_nan=wanted.dtype.kind == "f"), name, "differs")
        check.expect(result["result"].dtype == wanted.dtype, name, "is", result["result"].dtype)
        if name == "empty":
            check.expect(result["result"].id.get_storage_size() == 0, "what was never stored is")
done = subprocess.run([command, "map", "x", made, "--cf", "-i", "x=/bad", "-o", output, "--overwrite"],
                      capture_output=True, text=True)
check.expect(done.returncode == 1 and "scale_factor is not one number" in done.stderr, "a bad factor:", done.stderr)
# Without --cf, nothing of this.
run("map", "x", made, "-i", "x=/short_fill", "-o", output, "--overwrite")
with h5py.File(output) as result, h5py.File(made) as file:
    check.expect(np.array_equal(result["result"][()], file["short_fill"][()]), "changed without --cf")
    check.expect(result["result"].attrs["_FillValue"] == -999, "_FillValue was lost")
check.leave()
