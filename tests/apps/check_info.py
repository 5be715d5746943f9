"""Compares `runrig info --json` with h5py. Arguments: its output, then the files as the command got them."""
import os
import sys

import h5py
import numpy as np
from oracle import NUMERIC, Failures, strict_json

check = Failures()
OUR_FILTERS = {32000, 32001, 32004, 32008, 32015}  # lzf, blosc, lz4, bitshuffle, zstd: runrig brings them
LAYOUTS = {h5py.h5d.COMPACT: "compact", h5py.h5d.CONTIGUOUS: "contiguous", h5py.h5d.CHUNKED: "chunked",
           h5py.h5d.VIRTUAL: "virtual"}


def walk(group, path, first_paths):
    """(path, kind, object or target) of everything below a group, depth first in the order of names."""
    for name in sorted(group, key=lambda each: each.encode("utf-8", "surrogateescape")):
        at = path.rstrip("/") + "/" + name
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            yield at, "soft_link", link.path
            continue
        if isinstance(link, h5py.ExternalLink):
            yield at, "external_link", f"{link.filename}:{link.path}"
            continue
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in first_paths:
            yield at, "hard_link", first_paths[address]
            continue
        first_paths[address] = at
        kind = {h5py.Group: "group", h5py.Dataset: "dataset"}.get(type(item), "type")
        yield at, kind, item
        if kind == "group":
            yield from walk(item, at, first_paths)


def plain(value):
    """An attribute's value as JSON would have it: text decoded and without padding, NaN as null."""
    if isinstance(value, np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, (bytes, np.bytes_)):
        return value.split(b"\0")[0].decode("utf-8", "replace")
    if isinstance(value, str):
        return value.split("\0")[0]
    if isinstance(value, (float, np.floating)):
        return value if np.isfinite(value) else None if np.isnan(value) else "inf" if value > 0 else "-inf"
    return value.item() if isinstance(value, np.generic) else value


def same_number(ours, expected):
    if isinstance(expected, list):
        return isinstance(ours, list) and len(ours) == len(expected) and all(map(same_number, ours, expected))
    if isinstance(expected, np.floating):
        return type(expected)(ours) == expected  # the shortest digits of that type
    return ours == expected and type(ours) is type(expected)


def uncut(ours, expected):
    """Both values as far as ours goes: behind ~1 KiB a text ends with "...", and a list with the text "..."."""
    if isinstance(ours, list) and isinstance(expected, list):
        if ours and ours[-1] == "..." and len(ours) <= len(expected):
            ours = ours[:-1]
            expected = expected[: len(ours)]
        pairs = [uncut(*pair) for pair in zip(ours, expected)]
        return [one for one, _ in pairs] + ours[len(pairs):], [two for _, two in pairs] + expected[len(pairs):]
    if isinstance(ours, str) and isinstance(expected, str) and ours.endswith("...") and len(ours.encode()) > 1000:
        return ours[:-3], expected[: len(ours) - 3]
    return ours, expected


def check_attributes(where, ours, item):
    found = {each["name"]: each for each in ours}
    check.expect(len(found) == len(ours), where, "an attribute twice")
    check.expect(set(found) == set(item.attrs), where, "attributes", set(found) ^ set(item.attrs))
    for name in set(found) & set(item.attrs):
        attribute = item.attrs.get_id(name)
        each = found[name]
        at = f"{where} @{name}"
        null = attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL
        check.expect(each["shape"] == (None if null else list(attribute.shape)), at, "shape", each["shape"])
        check.expect(each["dtype"] == attribute.dtype.str, at, "dtype", each["dtype"], attribute.dtype.str)
        kind = attribute.get_type().get_class()
        if null:
            check.expect(each["value"] is None, at, each["value"])
            continue
        if kind not in NUMERIC + (h5py.h5t.STRING,):
            check.expect(isinstance(each["value"], str) and each["value"].startswith("<"), at, each["value"])
            continue
        ours, expected = uncut(each["value"], plain(item.attrs[name]))
        check.expect(same_number(ours, expected), at, ours, "instead of", expected)


def check_dataset(where, ours, dataset):
    plist = dataset.id.get_create_plist()
    layout = "external" if plist.get_external_count() else LAYOUTS[plist.get_layout()]
    filters = [plist.get_filter(i) for i in range(plist.get_nfilters())] if layout == "chunked" else []
    null = dataset.shape is None
    expected = {
        "shape": None if null else list(dataset.shape),
        "maxshape": ours["maxshape"] if null else list(dataset.maxshape),
        "dtype": dataset.dtype.str,
        "numeric": dataset.id.get_type().get_class() in NUMERIC,
        "layout": layout,
        "chunks": list(dataset.chunks) if layout == "chunked" else None,
        "size_bytes": 0 if null else int(dataset.size) * dataset.id.get_type().get_size(),
        "stored_bytes": dataset.id.get_storage_size(),
    }
    for key, value in expected.items():
        check.expect(ours[key] == value and type(ours[key]) is type(value), where, key, ours[key], "instead of", value)
    found = [(each["id"], tuple(each["parameters"][:16])) for each in ours["filters"]]  # h5py reads 16
    check.expect(found == [(code, values[:16]) for code, _, values, _ in filters], where, "filters", found, filters)
    for each in ours["filters"]:
        check.expect(each["available"] == (each["id"] in OUR_FILTERS or bool(h5py.h5z.filter_avail(each["id"]))), where, each)


def main(report, *names):
    report = strict_json(report)
    check.expect(report["errors"] == [], report["errors"])
    check.expect([each["file"] for each in report["files"]] == list(names), "other files")
    objects = 0
    for listing in report["files"]:
        name = listing["file"]
        check.expect(listing["file_bytes"] == os.path.getsize(name), name, "size", listing["file_bytes"])
        with h5py.File(name) as file:
            first_paths = {h5py.h5o.get_info(file["/"].id).addr: "/"}
            expected = [("/", "group", file["/"]), *walk(file["/"], "/", first_paths)]
            check.expect([(each["path"], each["kind"]) for each in listing["objects"]]
                         == [(path, kind) for path, kind, _ in expected], name, "other objects")
            for ours, (path, kind, item) in zip(listing["objects"], expected):
                where = f"{name}:{path}"
                objects += 1
                if isinstance(item, str):
                    check.expect(ours["target"] == item, where, "leads to", ours["target"], "instead of", item)
                    continue
                if kind == "dataset":
                    check_dataset(where, ours, item)
                check_attributes(where, ours["attributes"], item)
    print(f"{objects} objects compared")
    check.leave()


main(*sys.argv[1:])
