"""Compares `runrig stats --json` with h5py and NumPy. Arguments: its output, then the files as the command got them.

With --malformed first: h5py may crash on the files, and what it cannot read is not compared; but where both sides
have numbers, they agree.
"""
import math
import sys

import h5py
from oracle import BEYOND_H5PY, Failures, close, filters_of, isolated, native, numeric_datasets, statistics, strict_json


def expected_of(name, emit):
    """Emits a record for each numeric dataset of a file, with an "error" where h5py cannot read it."""
    with h5py.File(name) as file:
        for path, dataset in numeric_datasets(file, complex_too=True):
            record = {"file": name, "dataset": path, "dtype": dataset.dtype.str, "shape": dataset.shape}
            record["sound"] = dataset.scaleoffset is None
            try:
                if dataset.shape is None:
                    record["shape"], values = [0], native([])[:0]
                else:
                    record["shape"], values = list(dataset.shape), dataset[()]
                record.update(statistics(values))
            except (OSError, RuntimeError) as error:
                record["error"] = str(error)
                record["beyond"] = bool({each[0] for each in filters_of(dataset)} & BEYOND_H5PY)
            emit(record)


def all_close(ours, expected, scale):
    """Of complex numbers either part."""
    if isinstance(expected, list):
        return isinstance(ours, list) and len(ours) == 2 and all(
            close(a, b, scale) for a, b in zip(ours, expected))
    return close(ours, expected, scale)


def compare(check, ours, expected):
    where = f"{expected['file']}:{expected['dataset']}"
    for key in ("shape", "dtype", "count", "nan"):
        check.expect(ours[key] == expected[key], where, key, ours[key], "instead of", expected[key])
    for key in ("min", "max"):
        none = not isinstance(expected[key], list) and math.isnan(expected[key])
        same = ours[key] is None if none else ours[key] == expected[key]
        check.expect(same, where, key, ours[key], "instead of", expected[key])
    for key in ("mean", "std", "sum"):
        scale = expected["magnitude"] * (expected["count"] if key == "sum" else key == "mean")
        same = all_close(ours[key], expected[key], scale)
        check.expect(same, where, key, ours[key], "instead of", expected[key])
    if isinstance(expected["sum"], int):
        exact = isinstance(ours["sum"], int) and ours["sum"] == expected["sum"]
        check.expect(exact, where, "sum", ours["sum"], "instead of", expected["sum"])


def main(arguments):
    check = Failures()
    malformed = arguments[0] == "--malformed"
    if malformed:
        del arguments[0]
    report = strict_json(arguments[0])
    results = {(each["file"], each["dataset"]): each for each in report["results"]}
    errors = {(each["file"], each["dataset"]) for each in report["errors"]}
    check.expect(len(results) == len(report["results"]), "a dataset is reported twice")
    found = []
    compared = 0
    for name in arguments[1:]:
        if malformed:
            records = isolated(lambda emit: expected_of(name, emit))
        else:
            records = []
            expected_of(name, records.append)
        for record in records:
            key = (name, record["dataset"])
            found.append(key)
            # HDF5 1.10 decodes scale-offset chunks past the end of what is stored: other numbers in each run.
            if malformed and ("error" in record or key not in results or not record["sound"]):
                continue
            if record.get("beyond") and key in results:
                compared += 1
            elif "error" in record:
                check.expect(key in errors, key, "is no error here, but h5py says", record["error"])
            elif key not in results:
                check.expect(False, key, "is missing, in the errors:", key in errors)
            else:
                compare(check, results[key], record)
                compared += 1
    if not malformed:
        check.expect(set(found) == set(results) | errors, "not in the files:", (set(results) | errors) - set(found))
        check.expect([key for key in found if key in results] == list(results), "the order is another")
    print(f"{compared} datasets compared")
    check.leave()


main(sys.argv[1:])
