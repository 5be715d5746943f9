"""Makes a file with every kind of object that `repack` has to keep. Argument: its path."""
import sys

import h5py
import numpy as np

rng = np.random.default_rng(5)
with h5py.File(sys.argv[1], "w", libver=("v108", "latest"), track_order=True, userblock_size=1024) as file:
    file.attrs["z"] = 1
    file.attrs["a"] = "text"
    group = file.create_group("zebra", track_order=True)
    for name in "qwertyuiop":  # ten attributes, so dense ones, in an order that is not the alphabet's
        group.attrs[name] = rng.integers(0, 100, 3)
    group.create_group("within/deeper")
    file.create_group("aardvark")

    x = rng.normal(size=(60, 70, 8)).round(2)
    file.create_dataset("zebra/x", data=x, chunks=(16, 32, 3), maxshape=(None, 70, 8), shuffle=True, compression=6,
                        fillvalue=-1.0, track_order=True)
    file["zebra/x"].attrs["units"] = "m"
    file["big"] = np.arange(90 * 41, dtype=">i2").reshape(90, 41)  # contiguous
    file.create_dataset("checked", data=np.arange(100000, dtype="u4"), chunks=(3333,), fletcher32=True)
    file.create_dataset("lzf", data=np.arange(50000, dtype="f4") // 7, chunks=(1000,), compression="lzf")
    file.create_dataset("offset", data=np.arange(20000, dtype="i4"), chunks=(500,), scaleoffset=0)
    sparse = file.create_dataset("sparse", shape=(1000, 1000), chunks=(100, 100), dtype="f4", fillvalue=7)
    sparse[300:310, 500:510] = 1
    file.create_dataset("never", shape=(100, 100), dtype="f8", chunks=(10, 10))
    file.create_dataset("never_contiguous", shape=(100, 100), dtype="f8")
    file.create_dataset("empty", shape=(0, 5), maxshape=(None, 5), chunks=(8, 5), dtype="i1")
    file["scalar"] = 3.5
    file["null"] = h5py.Empty("f4")
    file["flags"] = rng.integers(0, 2, 5000).astype(bool)
    file["complex"] = (rng.normal(size=4000) + 1j * rng.normal(size=4000)).reshape(40, 100)

    record = np.dtype([("id", "<i4"), ("where", "<f8", (3,)), ("name", "S5")])
    records = np.zeros(6000, record)
    records["id"] = np.arange(6000)
    records["where"] = rng.normal(size=(6000, 3))
    records["name"] = [b"n%d" % (i % 100) for i in range(6000)]
    file.create_dataset("records", data=records, chunks=(512,), compression=4, shuffle=True)
    file.create_dataset("texts", data=["one", "", "three, of any length" * 30] * 50, dtype=h5py.string_dtype(),
                        chunks=(25,), compression=1)
    file["fixed"] = np.array([b"abc", b"de"] * 2000, "S7")
    ragged = file.create_dataset("ragged", shape=(40,), dtype=h5py.vlen_dtype("i4"))
    for i in range(40):
        ragged[i] = np.arange(i)
    file["colours"] = h5py.enum_dtype({"red": 0, "green": 1, "blue": 7}, basetype="i2")
    colours = file.create_dataset("painted", shape=(3000,), dtype=file["colours"], chunks=(100,))
    colours[:] = rng.choice([0, 1, 7], 3000)
    file["colours"].attrs["note"] = "named"

    file["zebra/again"] = file["big"]
    file["loop"] = file["/"]
    file["soft"] = h5py.SoftLink("/zebra/x")
    file["dangling"] = h5py.SoftLink("/nowhere")
    file["outside"] = h5py.ExternalLink("other.h5", "/there")

    file["time"] = np.arange(60.0)
    file["time"].make_scale("time axis")
    file["zebra/x"].dims[0].attach_scale(file["time"])
    file["zebra/x"].dims[0].label = "t"
    file["zebra/x"].dims[1].label = "y"
    references = file.create_dataset("references", shape=(4,), dtype=h5py.ref_dtype)
    references[0] = file["big"].ref
    references[1] = file["zebra"].ref
    references[3] = file["colours"].ref
    regions = file.create_dataset("regions", shape=(2,), dtype=h5py.regionref_dtype)
    regions[0] = file["big"].regionref[3:10, 5]
    file["big"].attrs["see"] = file["zebra/within"].ref
    file["aardvark"].attrs["part"] = file["big"].regionref[0:2, 0:2]
with open(sys.argv[1], "r+b") as raw:
    raw.write(b"a user block's text")
