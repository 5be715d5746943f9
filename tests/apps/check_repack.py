"""Runs `runrig repack` on files in several ways and compares with h5diff and h5py. Arguments: the command, a folder to
write to, the files.
"""
import concurrent.futures
import pathlib
import subprocess
import sys

import h5py
import numpy as np
from oracle import BEYOND_H5PY, Failures

check = Failures()
WAYS = [
    [],
    ["--filter", "shuffle,deflate:fast"],
    ["--filter", "none"],
    ["--chunk", "auto", "--filter", "deflate:2,fletcher32"],
    ["--filter", "shuffle,deflate:4", "--force-library"],
]
FILTERS = {"shuffle": 2, "deflate": 1, "fletcher32": 3}


def listing(file):
    """Links of every group, in the order of their creation where that is kept: (path, kind and what it leads to)."""
    found, seen = [], {}

    def enter(group, path):
        for name in group:
            link = group.get(name, getlink=True)
            where = path + "/" + name
            if isinstance(link, h5py.SoftLink):
                found.append((where, "soft", link.path))
            elif isinstance(link, h5py.ExternalLink):
                found.append((where, "external", link.filename, link.path))
            elif isinstance(link, h5py.HardLink):
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    found.append((where, "hard", seen[address]))
                    continue
                seen[address] = where
                found.append((where, type(item).__name__))
                if isinstance(item, h5py.Group):
                    enter(item, where)

    seen[h5py.h5o.get_info(file.id).addr] = "/"
    enter(file, "")
    return found


def objects(file):
    return ["/"] + [entry[0] for entry in listing(file) if len(entry) == 2]


def attribute(file, owner, name):
    """An attribute's type, shape and value; references as the names of what they lead to."""
    id = owner.attrs.get_id(name)
    value = owner.attrs[name]
    return id.dtype.str, id.shape, plain(file, value)


def plain(file, value):
    if isinstance(value, h5py.RegionReference):
        return (file[value].name, str(h5py.h5r.get_region(value, file.id).get_select_bounds())) if value else None
    if isinstance(value, h5py.Reference):
        return file[value].name if value else None
    if isinstance(value, h5py.Empty):
        return "empty"
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return [plain(file, each) for each in value.flat]
        if value.dtype.names and any(value.dtype[name] == object for name in value.dtype.names):
            return [tuple(plain(file, field) for field in each) for each in value.flat]
        return value.tobytes()
    if isinstance(value, np.void) and value.dtype.names:
        return [plain(file, value[name]) for name in value.dtype.names]
    return value.tobytes() if hasattr(value, "tobytes") else value


def content(file, dataset):
    try:
        value = dataset[()]
    except (OSError, RuntimeError, TypeError) as error:
        return type(error).__name__
    return plain(file, value)


def filters_of(dataset):
    plist = dataset.id.get_create_plist()
    return [plist.get_filter(i)[0] for i in range(plist.get_nfilters())] if dataset.chunks else []


def fixed_size(type):
    detect = [h5py.h5t.VLEN, h5py.h5t.REFERENCE]
    return not any(type.detect_class(each) for each in detect) and not has_text(type)


def has_text(type):
    if isinstance(type, h5py.h5t.TypeStringID):
        return type.is_variable_str()
    if isinstance(type, h5py.h5t.TypeCompoundID):
        return any(has_text(type.get_member_type(i)) for i in range(type.get_nmembers()))
    return isinstance(type, h5py.h5t.TypeArrayID) and has_text(type.get_super())


def check_storage(where, one, two, way, notes):
    wanted = way[way.index("--filter") + 1] if "--filter" in way else None
    kept = one.name in notes or not fixed_size(one.id.get_type()) or one.shape in (None, ())
    small = one.chunks is None and (one.size or 0) * one.dtype.itemsize < 4096
    if kept or wanted is None or small or (one.chunks is None and wanted == "none" and "auto" not in way):
        check.expect(one.chunks == two.chunks, where, "chunks", two.chunks, "instead of", one.chunks)
        check.expect(filters_of(one) == filters_of(two), where, "filters", filters_of(two))
    elif one.chunks or one.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS:
        expected = [FILTERS[each.split(":")[0]] for each in wanted.split(",") if each != "none"]
        check.expect(filters_of(two) == expected, where, "filters", filters_of(two), "instead of", expected)
        if "auto" not in way and one.chunks:
            check.expect(one.chunks == two.chunks, where, "chunks", two.chunks, "instead of", one.chunks)
    check.expect(one.maxshape == two.maxshape, where, "maxshape", two.maxshape)
    stored = [each.id.get_storage_size() > 0 for each in (one, two)]
    check.expect(stored[0] == stored[1], where, "is stored now" if stored[1] else "is not stored any more")


def compare(where, file, output, way, notes):
    with h5py.File(file) as one, h5py.File(output) as two:
        check.expect(listing(one) == listing(two), where, "other links", set(listing(one)) ^ set(listing(two)))
        check.expect(one.userblock_size == two.userblock_size, where, "user block", two.userblock_size)
        for path in objects(one):
            if path not in two:
                continue
            check.expect(list(one[path].attrs) == list(two[path].attrs), where, path, "attributes", list(two[path].attrs),
                         "instead of", list(one[path].attrs))
            for name in set(one[path].attrs) & set(two[path].attrs):
                values = [attribute(f, f[path], name) for f in (one, two)]
                check.expect(values[0] == values[1], where, path, name, values)
            if isinstance(one[path], h5py.Dataset):
                a, b = one[path], two[path]
                check.expect(a.dtype == b.dtype and a.shape == b.shape, where, path, b.dtype, b.shape)
                check.expect(a.id.get_type().committed() == b.id.get_type().committed(), where, path, "named type")
                if not set(filters_of(a)) & BEYOND_H5PY:  # h5py can read the copy only
                    check.expect(content(one, a) == content(two, b), where, path, "elements differ")
                check_storage(f"{where} {path}", a, b, way, notes)
    if pathlib.Path(file).read_bytes()[:8] != b"\x89HDF\r\n\x1a\n":
        check.expect(pathlib.Path(file).read_bytes()[:512] == pathlib.Path(output).read_bytes()[:512], where, "user block")


def foreign(file):
    with h5py.File(file) as opened:
        return any(set(filters_of(opened[path])) & (BEYOND_H5PY | {32000}) for path in objects(opened)
                   if isinstance(opened[path], h5py.Dataset))


def run_one(command, file, output, way):
    return subprocess.run([command, "repack", file, "-o", output, *way], capture_output=True, text=True, timeout=250)


def main(command, folder, *files):
    jobs = [(file, way, str(pathlib.Path(folder) / f"{i}-{k}.out")) for i, file in enumerate(files)
            for k, way in enumerate(WAYS)]
    with concurrent.futures.ThreadPoolExecutor(2) as several:
        runs = [several.submit(run_one, command, file, output, way) for file, way, output in jobs]
        for (file, way, output), run in zip(jobs, runs):
            where = " ".join([file, *way])
            done = run.result()
            check.expect(done.returncode == 0, where, "failed:", done.stderr)
            if done.returncode != 0:
                continue
            check.expect(all(line.startswith("runrig: warning: ") for line in done.stderr.splitlines()), where, done.stderr)
            compare(where, file, output, way, done.stderr)
            if foreign(file):  # h5diff cannot read it
                pathlib.Path(output).unlink()
                continue
            diff = subprocess.run(["h5diff", "-q", file, output], capture_output=True, text=True, timeout=250)
            check.expect(diff.returncode == 0, where, "h5diff:", diff.returncode, diff.stdout[:300], diff.stderr[:300])
            pathlib.Path(output).unlink()
    check.leave()


main(*sys.argv[1:])
