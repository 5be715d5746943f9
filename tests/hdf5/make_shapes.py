"""Shapes, chunks, fill values, masks, user blocks and storage of every kind; argument: folder."""
import sys
import zlib

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t
from expected import emit

folder = sys.argv[1]
rng = np.random.default_rng(3)
out = open(f"{folder}/manifest", "w")


def fill_file(name, **options):
    f = h5py.File(f"{folder}/{name}", "w", **options)

    def add(path, values, **kw):
        f.create_dataset(path, data=values, **kw)
        emit(out, name, path, values)

    for shape, chunk in [((17,), (5,)), ((6, 9), (4, 2)), ((5, 6, 7), (2, 6, 3)), ((3, 4, 5, 6), (1, 4, 2, 5)),
                         ((2, 3, 4, 3, 2), (2, 2, 2, 2, 2)), ((100,), (100,)), ((1, 1), (1, 1)), ((40, 3), (7, 1))]:
        rank = f"{len(shape)}d{shape[0]}"
        values = rng.integers(-1000, 1000, size=shape).astype("i4")
        add(f"/plain/{rank}", values)
        add(f"/chunk/{rank}", values.astype(">f8"), chunks=chunk)
        add(f"/deflate/{rank}", values, chunks=chunk, compression=3, shuffle=True)
        add(f"/grows/{rank}", values, chunks=chunk, maxshape=(None,) + shape[1:], compression=1, fletcher32=True)
        add(f"/grows2/{rank}", values, chunks=chunk, maxshape=(None,) * len(shape))
    add("/empty/a", np.zeros((0,), "f4"))
    add("/empty/b", np.zeros((3, 0, 2), ">i2"), chunks=(2, 1, 1), maxshape=(None, None, 2), compression=2)
    add("/large_chunk", rng.normal(size=(300, 500)), chunks=(300, 500), compression=1)
    add("/many_chunks", np.arange(5000, dtype="u2"), chunks=(3,))
    add("/rows", rng.normal(size=(700, 900)).astype(">f4"))

    for kind, extra in [("missing", {}), ("missing_deflate", dict(compression=1, shuffle=True))]:
        for dtype, fill in [("f4", 9.5), (">i2", -7), ("u1", 0), ("f8", np.nan), ("bool", True)]:
            d = f.create_dataset(f"/{kind}/{np.dtype(dtype).name}", (20, 20), dtype, chunks=(6, 6), fillvalue=fill, **extra)
            d[7:9, 3:15] = 3 if dtype != "bool" else False
            emit(out, name, d.name, d[...])
            d = f.create_dataset(f"/{kind}/never_{np.dtype(dtype).name}", (20, 20), dtype, chunks=(6, 6), fillvalue=fill,
                                 **extra)
            emit(out, name, d.name, d[...])
    d = f.create_dataset("/never", (4, 5), ">f4", fillvalue=1.25)
    emit(out, name, d.name, d[...])
    d = f.create_dataset("/sparse", (200, 300), "i4", chunks=(2, 3), fillvalue=6)
    d[100, 100:130] = np.arange(30)
    d[199, 299] = -1
    emit(out, name, d.name, d[...], selections=12)
    plist = h5p.create(h5p.DATASET_CREATE)
    plist.set_chunk((4,))
    plist.set_fill_time(h5d.FILL_TIME_NEVER)
    d = h5py.Dataset(h5d.create(f.id, b"/no_fill", h5t.IEEE_F64LE, h5s.create_simple((10,)), plist))
    d[0:4] = 1
    emit(out, name, d.name, np.array([1.0] * 4 + [0.0] * 6))
    for alloc in [h5d.ALLOC_TIME_EARLY, h5d.ALLOC_TIME_INCR]:
        plist = h5p.create(h5p.DATASET_CREATE)
        plist.set_chunk((4, 4))
        plist.set_alloc_time(alloc)
        plist.set_fill_value(np.array(4, "i8"))
        d = h5py.Dataset(h5d.create(f.id, b"/alloc%d" % alloc, h5t.STD_I64LE, h5s.create_simple((10, 10)), plist))
        d[5, 5] = 99
        emit(out, name, d.name, d[...])

    # Each chunk with a filter mask of its own: bit i leaves filter i out.
    d = f.create_dataset("/masks", (32,), "<i4", chunks=(8,), compression=4, shuffle=True, fletcher32=False)
    values = np.arange(32, dtype="<i4") * 1000003
    for i in range(4):
        raw = values[8 * i:8 * i + 8].tobytes()
        if not i & 1:
            raw = np.frombuffer(raw, "u1").reshape(8, 4).T.tobytes()
        if not i & 2:
            raw = zlib.compress(raw, 4)
        d.id.write_direct_chunk((8 * i,), raw, i)
    emit(out, name, d.name, values)
    # Contiguous and misaligned: behind an odd number of raw bytes.
    f.create_dataset("/odd/a", data=np.arange(3, dtype="u1"))
    f.create_dataset("/odd/b", data=np.arange(9, dtype="f8"))
    f.flush()
    emit(out, name, "/odd/b", np.arange(9, dtype="f8"))
    f.close()


fill_file("plain.h5")
fill_file("latest.h5", libver="latest")
fill_file("user_block.h5", userblock_size=1024)

with h5py.File(f"{folder}/source.h5", "w") as f:
    f.create_dataset("a", data=np.arange(20, dtype="i4"))
    f.create_dataset("b", data=np.arange(20, 40, dtype="i4"))
with h5py.File(f"{folder}/other.h5", "w") as f:
    layout = h5py.VirtualLayout((2, 20), "i4")
    layout[0] = h5py.VirtualSource(f"{folder}/source.h5", "a", (20,))
    layout[1] = h5py.VirtualSource("source.h5", "b", (20,))
    f.create_virtual_dataset("virtual", layout, fillvalue=-1)
    layout = h5py.VirtualLayout((2, 20), "i4")
    layout[0] = h5py.VirtualSource("source.h5", "a", (20,))
    layout[1] = h5py.VirtualSource("absent.h5", "b", (20,))
    f.create_virtual_dataset("absent", layout, fillvalue=-1)
    values = np.arange(50, dtype="f4")
    values.tofile(f"{folder}/raw.bin")
    f.create_dataset("external", (50,), "f4", external=[(f"{folder}/raw.bin", 0, 200)])
    emit(out, "other.h5", "/external", values)
    f["soft"] = h5py.SoftLink("/external")
    f["elsewhere"] = h5py.ExternalLink("source.h5", "/a")
emit(out, "other.h5", "/virtual", np.arange(40, dtype="i4").reshape(2, 20))
emit(out, "other.h5", "/soft", values)
emit(out, "other.h5", "/elsewhere", np.arange(20, dtype="i4"))
out.close()
