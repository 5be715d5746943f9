"""Makes a file of what is awkward to list. Arguments: its path."""
import sys

import h5py
import numpy as np

with h5py.File(sys.argv[1], "w") as f:
    a = f.attrs
    a["long_text"] = "0123456789" * 500
    a["long_utf8"] = "x" + "\N{GREEK SMALL LETTER PI}\N{GRINNING FACE}" * 400
    a["long_list"] = np.arange(5000)
    a["long_lists"] = np.arange(5000).reshape(50, 100)
    a["long_texts"] = ["word %d" % i for i in range(500)]
    a["dots"] = "and so on..."
    a["not_finite"] = np.array([np.nan, np.inf, -np.inf, -0.0])
    a["nan"] = np.float32("nan")
    a["floats"] = np.array([0.1, 1e-45, 3.4e38], "f4")
    a["halfs"] = np.array([0.1, 65504], "f2")
    a["ends"] = np.array([-(2**63), 2**63 - 1])
    a["unsigned"] = np.uint64(2**64 - 1)
    a["bool"] = np.array([True, False])
    a["big_endian"] = np.array([1, -2], ">i4")
    a["fixed"] = np.bytes_("abc")
    a["fixed_list"] = np.array([b"a", b"", b"long one"])
    a["escapes"] = 'quote " backslash \\ newline \n tab \t bell \a delete \x7f'
    a["empty"] = h5py.Empty("f8")
    a["no_elements"] = np.zeros((0, 3), "i4")
    a["pairs"] = np.zeros(2, [("a", "f4"), ("b", "i2")])
    a["reference"] = f.ref
    a["name with \" and \n and \\"] = 1
    f["quote \" newline \n percent % colon : bracket ["] = np.arange(3, dtype="u1")
    f["group/deep/er"] = np.float64(2.5)
    f["again"] = f["group/deep"]
    f["soft"] = h5py.SoftLink("/group/deep/er")
    f["lost"] = h5py.SoftLink("/nowhere")
    f["outside"] = h5py.ExternalLink("other.h5", "/x")
    f["type"] = np.dtype("f4")
    f["null"] = h5py.Empty("i2")
    f["texts"] = ["a", "bc"]
    f["colours"] = h5py.Empty("u1")
    enum = h5py.enum_dtype({"RED": 0, "GREEN": 1}, basetype="i2")
    f.create_dataset("enum", data=[0, 1, 1], dtype=enum)
    f.create_dataset("growing", shape=(3, 0), maxshape=(None, 7), chunks=(2, 5), dtype="f4")
    f.create_dataset("lossy", data=np.arange(24.0).reshape(4, 6), chunks=(2, 3), scaleoffset=2)
    f.create_dataset("lzf", data=np.arange(24).reshape(4, 6), chunks=(4, 1), compression="lzf", fletcher32=True)
    layout = h5py.VirtualLayout(shape=(4, 6), dtype="i8")
    layout[:] = h5py.VirtualSource(f["lzf"])
    f.create_virtual_dataset("virtual", layout)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    h5py.h5d.create(f.id, b"compact", h5py.h5t.STD_I32BE, h5py.h5s.create_simple((4,)), plist)
