"""Every numeric type, byte order, layout and filter pipeline; argument: folder. Writes types.h5 and manifest."""
import itertools
import sys

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t, h5z
from expected import emit

folder = sys.argv[1]
rng = np.random.default_rng(7)
shape, chunks = (13, 7, 5), (4, 3, 5)


def sample(dtype):
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind == "f":
        values = rng.normal(size=shape)
        values[0, 0, :4] = [np.nan, np.inf, -np.inf, -0.0]
        return values.astype(dtype)
    if dtype.kind == "c":
        values = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        values[0, 0, :4] = [complex(np.nan, 1), complex(-0.0, np.inf), -1j, complex(2, -0.0)]
        return values.astype(dtype)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, size=shape, dtype=dtype.newbyteorder("="), endpoint=True)
    values[0, 0, :2] = [info.min, info.max]
    return values.astype(dtype)


def properties(kind):
    plist = h5p.create(h5p.DATASET_CREATE)
    if kind == "contiguous":
        return plist
    if kind == "compact":
        plist.set_layout(h5d.COMPACT)
        return plist
    plist.set_chunk(chunks)
    for step in kind.split("+"):
        if step == "shuffle":
            plist.set_shuffle()
        elif step == "deflate":
            plist.set_deflate(4)
        elif step == "fletcher32":
            plist.set_fletcher32()
        elif step == "lzf":
            plist.set_filter(h5z.FILTER_LZF, h5z.FLAG_OPTIONAL)
        elif step == "szip":
            plist.set_szip(h5z.SZIP_NN_OPTION_MASK, 8)
        elif step == "nbit":
            plist.set_filter(h5z.FILTER_NBIT, h5z.FLAG_OPTIONAL)
        elif step == "scaleoffset":
            plist.set_scaleoffset(h5z.SO_INT, 0)
    return plist


kinds = ["contiguous", "compact", "chunked", "deflate", "shuffle", "shuffle+deflate", "fletcher32", "lzf",
         "shuffle+lzf+fletcher32", "fletcher32+deflate", "deflate+shuffle", "shuffle+deflate+fletcher32",
         "fletcher32+shuffle+deflate", "szip", "nbit"]
types = [np.dtype(order + code) for code, order in
         itertools.product(["i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"], "<>")]
types += [np.dtype(code) for code in ["i1", "u1", "bool"]]

with h5py.File(f"{folder}/types.h5", "w") as f, open(f"{folder}/manifest", "w") as out:
    for dtype, kind in itertools.product(types, kinds):
        name = "/" + dtype.str.replace("<", "le").replace(">", "be").replace("|", "") + "/" + kind
        values = sample(dtype)
        f.require_group(name.rsplit("/", 1)[0])
        if kind == "szip" and (dtype.itemsize >= 8 or dtype.str in ("<f2", ">f2")):
            continue
        d = h5d.create(f.id, name.encode(), h5t.py_create(dtype, logical=True), h5s.create_simple(shape),
                       properties(kind))
        h5py.Dataset(d)[...] = values
        emit(out, "types.h5", name, values, selections=2)
    for kind in ["contiguous", "shuffle+deflate", "scaleoffset"]:
        for base in ["<i2", ">i4", "u1"]:
            name = f"/enum/{kind}/{base.strip('<>')}"
            dtype = h5py.enum_dtype({"low": 1, "high": 100, "last": 101}, basetype=base)
            f.require_group(name.rsplit("/", 1)[0])
            if kind == "scaleoffset":
                dtype = np.dtype(base)
            d = h5d.create(f.id, name.encode(), h5t.py_create(dtype, logical=True), h5s.create_simple(shape),
                           properties(kind))
            values = rng.integers(0, 120, size=shape).astype(base)
            h5py.Dataset(d).id.write(h5s.ALL, h5s.ALL, np.ascontiguousarray(values.astype(dtype)))
            emit(out, "types.h5", name, values, selections=2)

    # Types that NumPy does not have: what the library converts them to.
    def odd(name, type_id, stored, expected, kind="contiguous"):
        d = h5d.create(f.id, name.encode(), type_id, h5s.create_simple((len(expected),)), h5p.create(h5p.DATASET_CREATE))
        d.write(h5s.ALL, h5s.ALL, np.frombuffer(stored, dtype="V%d" % (len(stored) // len(expected))), mtype=type_id)
        emit(out, "types.h5", name, expected, selections=2)

    t = h5t.STD_I32LE.copy()
    t.set_precision(12)
    t.set_offset(4)
    raw = np.array([5, -5, 2047, -2048], "i4")
    odd("/i12", t, ((raw & 0xFFF) << 4).astype("<u4").tobytes(), raw)
    t = h5t.STD_U32BE.copy()
    t.set_precision(12)
    t.set_offset(4)
    raw = np.array([5, 4095, 0, 77], "u4")
    odd("/u12be", t, (raw << 4).astype(">u4").tobytes(), raw)
    t = h5t.IEEE_F32LE.copy()
    t.set_fields(15, 7, 8, 0, 7)
    t.set_size(2)
    t.set_ebias(127)
    raw = np.array([1.0, -2.5, 0.15625, 3e38], "f4")
    bits = raw.view("u4") >> 16
    odd("/bfloat16", t, bits.astype("<u2").tobytes(), (bits << 16).astype("u4").view("f4"))
    t = h5t.STD_B16LE.copy()
    raw = np.array([1, 2, 0xFFFF, 3], "u2")
    odd("/bitfield", t, raw.astype("<u2").tobytes(), raw)
    t = h5t.STD_I32LE.copy()
    t.set_precision(24)
    t.set_size(3)
    raw = np.array([1, -1, 8388607, -8388608], "i4")
    odd("/i24", t, b"".join(int(v).to_bytes(3, "little", signed=True) for v in raw), raw)
    raw = np.array([1.5, -2.25, 1e300, np.pi], np.longdouble)
    f.create_dataset("/longdouble", data=raw)
    emit(out, "types.h5", "/longdouble", raw.astype("f8"))
    # Complex numbers of parts that are wider or narrower than ours.
    def pair(part):
        t = h5t.create(h5t.COMPOUND, 2 * part.get_size())
        t.insert(b"r", 0, part)
        t.insert(b"i", part.get_size(), part)
        return t

    raw = np.array([1.5, -2.25, 0, 65504], ">f2")
    odd("/complex_half", pair(h5t.py_create(np.dtype(">f2"))), raw.tobytes(), raw.astype("f4").view("c8"))
    raw = np.array([1.5, -2.25, 1e300, np.pi], np.longdouble)
    odd("/complex_longdouble", pair(h5t.NATIVE_LDOUBLE), raw.tobytes(), raw.astype("f8").view("c16"))

    t = h5t.enum_create(h5t.STD_I16BE)
    t.enum_insert(b"FALSE", 0)
    t.enum_insert(b"TRUE", 1)
    odd("/wide_bool", t, np.array([0, 1, 1, 0, 256], ">i2").tobytes(), np.array([0, 1, 1, 0, 1], bool))
    f.create_dataset("/scalar", data=np.float32(2.5))
    emit(out, "types.h5", "/scalar", np.float32(2.5))
