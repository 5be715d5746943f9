"""Checks what OutputTest wrote, with h5py; arguments: kind, file, source."""
import sys

import h5py
import numpy as np

kind, path, source = sys.argv[1:]
with h5py.File(path) as f, (h5py.File(source) if source != "-" else f) as s:
    if kind == "types":
        for name, d in f.items():
            want = np.arange(77).reshape(7, 11)
            if d.dtype.kind == "c":
                want = want - 2j * want
            want = want % 3 == 1 if d.dtype == bool else want.astype(d.dtype)
            np.testing.assert_array_equal(d[...], want, err_msg=name)
            np.testing.assert_array_equal(d[3:5, ::2], want[3:5, ::2])
        if "lzf" not in f:
            assert f["bool"].dtype == bool and f["bool_be"].dtype == bool
            assert f["float32_be"].dtype == ">f4" and f["float16"].dtype == "<f2" and len(f) == 28
            assert f["complex64"].dtype == "<c8" and f["complex128_be"].dtype == ">c16"
    elif kind == "shapes":
        assert f["scalar"][()] == 2.5 and f["scalar"].shape == ()
        assert f["empty"].shape == (3, 0) and f["empty_chunked"].shape == (0, 5)
        assert f["null"].shape is None
        assert f["deep/er/contiguous"].fillvalue == 7
        np.testing.assert_array_equal(f["deep/er/contiguous"][...], np.arange(1000, dtype="f8") / 2)
    elif kind == "attributes":
        d, t = f["result"], f["time"]
        names = list(d.attrs)
        assert names == ["units", "note", "numbers", "_FillValue", "DIMENSION_LIST"] or set(names) == {
            "units", "note", "numbers", "_FillValue", "DIMENSION_LIST", "DIMENSION_LABELS"}, names
        assert [n for n in names if not n.startswith("DIM")] == ["units", "note", "numbers", "_FillValue"], names
        assert d.attrs["units"] == "K" and d.attrs["note"] == b"fixed"
        np.testing.assert_array_equal(d.attrs["numbers"], np.arange(6).reshape(2, 3))
        assert d.shape == (5, 4)
        assert [x.name for x in d.dims[0].values()] == ["/time"], d.dims[0].keys()
        assert [x.name for x in d.dims[1].values()] == ["/grid/x", "/labels", "/netcdf"]
        assert d.dims[1].label == "east"
        np.testing.assert_array_equal(t[...], s["time"][...][::-2])
        assert t.attrs["units"] == "days" and t.maxshape == (None,) and t.dtype == ">f8"
        assert t.attrs["NAME"] == b"time" and h5py.h5ds.is_scale(t.id)
        np.testing.assert_array_equal(f["grid/x"][...], s["grid/x"][2:6])
        assert list(f["labels"].asstr()[...]) == ["l2", "l3", "l4", "l5"]
        assert "level" not in f
        assert f["netcdf"].attrs["NAME"].startswith(b"This is a netCDF dimension but not a netCDF variable.         4")
        assert f["netcdf"].id.get_storage_size() == 0
    print("good")
