"""Makes files with netCDF4, or with PyTables, and compares what the command makes of them by those libraries' own tools.
Arguments: netcdf or pytables, the command, a folder, and for netcdf further files.
"""
import pathlib
import subprocess
import sys

import numpy as np
from oracle import Failures

check = Failures()
kind, command, folder, *files = sys.argv[1:]
folder = pathlib.Path(folder)
random = np.random.default_rng(3)
WAYS = [
    [],
    ["--filter", "shuffle,deflate:fast"],
    ["--filter", "none"],
    ["--chunk", "auto", "--filter", "deflate:2,fletcher32"],
    ["--filter", "shuffle,zstd:3"],
    ["--filter", "shuffle,deflate:4", "--force-library", "--memory", "16M"],
]


def run(*arguments):
    done = subprocess.run([command, *arguments], capture_output=True, text=True, timeout=250)
    check.expect(done.returncode == 0, arguments, "failed:", done.stderr)
    return done


def same_by_h5diff(one, two, where):
    diff = subprocess.run(["h5diff", "-c", str(one), str(two)], capture_output=True, text=True, timeout=250)
    told = [line for line in diff.stdout.splitlines() if "Not comparable" in line or "not comparable" in line]
    check.expect(diff.returncode == 0, where, "h5diff:", diff.returncode, diff.stdout[:300], diff.stderr[:300])
    return told


def make_netcdf(path):
    import netCDF4

    with netCDF4.Dataset(path, "w") as file:
        file.title = "made"
        file.history = ["one", "two"]
        file.numbers = np.arange(4, dtype="i2")
        file.createDimension("time", None)
        file.createDimension("level", None)
        file.createDimension("y", 31)
        file.createDimension("x", 40)
        file.createDimension("text", 12)
        for name in ("time", "y", "x"):
            file.createVariable(name, "f8", (name,))[:] = np.arange({"time": 25, "y": 31, "x": 40}[name])
        file["time"].units = "hours since 2001-01-01"
        filters = {
            "zlib": {"zlib": True, "complevel": 4}, "shuffled": {"zlib": True, "shuffle": True, "fletcher32": True},
            "plain": {"chunksizes": (3, 31, 7)}, "big": {"endian": "big", "zlib": True},
            "digits": {"zlib": True, "least_significant_digit": 2}}
        for name, options in filters.items():
            variable = file.createVariable(name, "f4", ("time", "y", "x"), fill_value=-1e30, **options)
            variable[:25] = random.normal(size=(25, 31, 40))
            variable[3] = np.ma.masked
            variable.units = "K"
        file.createVariable("contiguous", "i4", ("y", "x"), contiguous=True)[:] = random.integers(0, 99, (31, 40))
        file.createVariable("both", "i2", ("time", "level"))[:25, :9] = random.integers(0, 99, (25, 9))
        file.createVariable("letters", "S1", ("y", "text"))[:] = np.full((31, 12), b"q", "S1")
        texts = file.createVariable("texts", str, ("y",))
        texts[:] = np.array(["word " * (i % 5) for i in range(31)], dtype=object)
        file.createVariable("scalar", "f8")[...] = 2.5
        file.createVariable("never", "f4", ("time", "y", "x"), zlib=True)
        for dtype in ("i1", "u1", "u2", "u4", "i8", "u8"):
            file.createVariable("integer_" + dtype, dtype, ("y", "x"), zlib=True)[:] = random.integers(0, 99, (31, 40))
        group = file.createGroup("forecast")
        group.note = "within"
        group.createDimension("member", 5)
        group.createVariable("member", "i4", ("member",))[:] = np.arange(5)
        group.createVariable("t2m", "f8", ("time", "member", "y"), zlib=True, shuffle=True)[:25] = random.normal(size=(25, 5, 31))
        deeper = file.createGroup("forecast/deeper")
        complex_type = deeper.createCompoundType(np.dtype([("real", "f8"), ("imag", "f8")]), "complex128")
        records = np.zeros(31, complex_type.dtype)
        records["real"], records["imag"] = random.normal(size=(2, 31))
        deeper.createVariable("z", complex_type, ("y",))[:] = records
        ragged_type = deeper.createVLType(np.int32, "ragged")
        ragged = deeper.createVariable("rows", ragged_type, ("y",))
        for i in range(31):
            ragged[i] = np.arange(i % 7, dtype="i4")
        colours = deeper.createEnumType(np.uint8, "colour", {"red": 0, "green": 1, "blue": 9})
        painted = deeper.createVariable("painted", colours, ("y",), fill_value=9)
        painted[:] = random.integers(0, 2, 31)


def cdl(path, *options):
    dumped = subprocess.run(["ncdump", *options, str(path)], capture_output=True, text=True, timeout=250)
    check.expect(dumped.returncode == 0, path, "ncdump:", dumped.stderr)
    return dumped.stdout.split("\n", 1)[1]  # without the file's name


def check_netcdf():
    import netCDF4

    made = folder / "made.nc"
    make_netcdf(made)
    for path in [made, *map(pathlib.Path, files)]:
        source = cdl(path)
        for i, way in enumerate(WAYS):
            if path != made and i > 1:
                continue
            if "zstd" in str(way):  # nothing but the values is asked: netCDF here may have no such filter
                continue
            output = folder / "repacked.nc"
            run("repack", str(path), "-o", str(output), "--overwrite", *way)
            where = f"{path.name} {way}"
            check.expect(cdl(output) == source, where, "ncdump shows something else")
            same_by_h5diff(path, output, where)
    # The classic model has no strings, and the file says that it keeps to it: map's output does not.
    classic = folder / "classic.nc"
    with netCDF4.Dataset(classic, "w", format="NETCDF4_CLASSIC") as file:
        file.createDimension("x", 5)
        file.createVariable("a", "f4", ("x",))[:] = np.arange(5)
    run("map", str(classic), "-i", "a=/a", "--to", "b=a + 1", "-o", str(folder / "classic-out.nc"), "--overwrite")
    check.expect("float b(x)" in cdl(folder / "classic-out.nc", "-h"), "map of a classic file")
    # What map makes has the dimensions, the scales and their attributes.
    output = folder / "mapped.nc"
    run("map", str(made), "-i", "a=/zlib", "-i", "b=/big", "-i", "c=/forecast/t2m", "--to", "sum=a + b", "--to", "/forecast/c2=c*2",
        "--to", "small=a > 0", "-o", str(output), "--overwrite")
    head = cdl(output, "-h")
    for line in ("time = UNLIMITED", "y = 31 ;", "x = 40 ;", "member = 5 ;", "float sum(time, y, x)",
                 'sum:units = "K"', 'time:units = "hours since 2001-01-01"', ':title = "made"'):
        check.expect(line in head, "map:", line, "is missing in", head)
    with netCDF4.Dataset(output) as result, netCDF4.Dataset(made) as source:
        for file in (result, source):
            file.set_auto_mask(False)
        check.expect(np.array_equal(result["sum"][:], source["zlib"][:] + source["big"][:]), "sum differs")
        check.expect(result["sum"].dimensions == ("time", "y", "x"), result["sum"].dimensions)
        check.expect(np.array_equal(result["forecast/c2"][:], source["forecast/t2m"][:] * 2), "c2 differs")
        check.expect(result["forecast/c2"].dimensions == ("time", "member", "y"), result["forecast/c2"].dimensions)


def make_pytables(path):
    import tables

    class Particle(tables.IsDescription):
        name = tables.StringCol(16)
        number = tables.Int64Col()
        position = tables.Float32Col(shape=(3,))
        flag = tables.BoolCol()

        class Inner(tables.IsDescription):
            x = tables.Float64Col()
            y = tables.ComplexCol(itemsize=16)

    filters = {
        "none": tables.Filters(complevel=0), "zlib": tables.Filters(6, "zlib", shuffle=True),
        "checked": tables.Filters(3, "zlib", shuffle=False, fletcher32=True),
        "blosc": tables.Filters(5, "blosc", shuffle=True), "blosc_lz4": tables.Filters(5, "blosc:lz4", shuffle=True),
        "blosc_zstd": tables.Filters(3, "blosc:zstd", bitshuffle=True)}
    with tables.open_file(str(path), "w", title="made") as file:
        for name, filter in filters.items():
            group = file.create_group("/", name, name, filters=filter)
            group._v_attrs.note = {"pickled": [1, 2, 3]}
            group._v_attrs.number = np.int16(5)
            table = file.create_table(group, "particles", Particle, "a table", expectedrows=3000)
            row = table.row
            for i in range(3000):
                row["name"], row["number"], row["position"] = f"particle {i % 50}".encode(), i, random.normal(size=3)
                row["flag"], row["Inner/x"], row["Inner/y"] = i % 3 == 0, i / 7, complex(i, -i)
                row.append()
            table.flush()
            table.cols.number.create_index()
            grown = file.create_earray(group, "grown", tables.Float32Atom(), (0, 50), expectedrows=500)
            for _ in range(5):
                grown.append(random.normal(size=(100, 50)).round(2).astype("f4"))
            file.create_carray(group, "box", obj=random.integers(0, 200, (30, 40, 20)).astype("i2"))
            file.create_carray(group, "texts", obj=np.array([f"t{i}".encode() for i in range(500)], "S7"))
            # HDF5 refuses checksums and shuffles of what has no fixed size.
            loose = tables.Filters(filter.complevel, filter.complib, shuffle=False)
            ragged = file.create_vlarray(group, "ragged", tables.Int32Atom(), filters=loose)
            objects = file.create_vlarray(group, "objects", tables.ObjectAtom(), filters=loose)
            words = file.create_vlarray(group, "words", tables.VLUnicodeAtom(), filters=loose)
            for i in range(40):
                ragged.append(np.arange(i % 9, dtype="i4"))
                objects.append({"i": i})
                words.append("äöü" * (i % 4))
        file.create_array("/", "plain", random.normal(size=(20, 30)), "an array")
        file.create_array("/", "scalar", 7)
        file.create_array("/", "list", [1, 2, 3])
        file.create_soft_link("/", "soft", "/zlib/box")
        file.create_hard_link("/", "hard", "/zlib/box")


def rows(node):
    import tables

    if isinstance(node, tables.VLArray):
        return [each.tolist() if hasattr(each, "tolist") else each for each in node]
    values = node.read()
    return values.tobytes() if isinstance(values, np.ndarray) else values


def check_pytables():
    import tables

    made = folder / "made.h5"
    make_pytables(made)
    foreign = ("/blosc", "/blosc_lz4", "/blosc_zstd")
    # h5diff cannot decode Blosc: it sees the file without these groups, PyTables sees all.
    plain = folder / "plain.h5"
    with tables.open_file(str(made)) as file:
        file.copy_file(str(plain), overwrite=True)
    with tables.open_file(str(plain), "a") as file:
        for group in foreign:
            file.remove_node(group, recursive=True)
    for way in WAYS:
        if "zstd" in str(way):
            way = ["--filter", "shuffle,deflate:9", "-d", "/blosc/box", "-d", "/blosc_zstd/particles"]
        output = folder / "repacked.h5"
        run("repack", str(made), "-o", str(output), "--overwrite", *way)
        with tables.open_file(str(made)) as one, tables.open_file(str(output)) as two:
            names = [node._v_pathname for node in one.walk_nodes("/")]
            check.expect(names == [node._v_pathname for node in two.walk_nodes("/")], way, "other nodes")
            for a in one.walk_nodes("/"):
                b = two.get_node(a._v_pathname)
                where = f"{a._v_pathname} {way}"
                if isinstance(a, tables.link.SoftLink):
                    check.expect(a.target == b.target, where, "link")
                    continue
                check.expect(type(a) is type(b), where, type(b))
                attributes = sorted(a._v_attrs._v_attrnames)
                check.expect(attributes == sorted(b._v_attrs._v_attrnames), where, "attributes")
                for name in attributes:
                    check.expect(repr(a._v_attrs[name]) == repr(b._v_attrs[name]), where, name)
                if isinstance(a, tables.Leaf):
                    check.expect(rows(a) == rows(b), where, "differs")
                if isinstance(a, tables.Table):
                    found = [table.get_where_list("(number > 100) & (number < 130)").tolist() for table in (a, b)]
                    check.expect(found[0] == found[1] == list(range(101, 130)), where, "the index finds", found[1])
        if "-d" not in way:
            run("repack", str(plain), "-o", str(output), "--overwrite", *way)
            same_by_h5diff(plain, output, str(way))
    # Arithmetic on them, whatever the filter.
    output = folder / "mapped.h5"
    for group in ("none", "zlib", "blosc", "blosc_lz4", "blosc_zstd"):
        run("map", "x * 2 + 1", str(made), "-i", f"x=/{group}/grown", "-o", str(output), "--overwrite", "--to", "/twice")
        with tables.open_file(str(made)) as one, tables.open_file(str(output)) as two:
            check.expect(np.array_equal(two.root.twice[:], one.get_node(f"/{group}/grown")[:] * np.float32(2) + 1), group, "map")


{"netcdf": check_netcdf, "pytables": check_pytables}[kind]()
check.leave()
