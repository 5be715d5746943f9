"""What h5py reads of every numeric dataset of every file in a folder; arguments: folder, manifest."""
import pathlib
import sys

import h5py
import numpy as np
from expected import emit

folder, manifest = sys.argv[1:]
with open(manifest, "w") as out:
    for path in sorted(pathlib.Path(folder).iterdir()):
        if not path.is_file() or path.suffix == ".md":
            continue
        with h5py.File(path) as f:
            def visit(name, item):
                if not isinstance(item, h5py.Dataset) or item.shape is None:
                    return
                kind = item.dtype.kind
                if kind not in "iufb" or (kind == "f" and item.dtype.itemsize > 8):
                    return
                try:
                    values = item[()]
                except OSError as error:
                    if "filter" not in str(error) and "plugin" not in str(error).lower():
                        raise
                    return
                emit(out, path.name, "/" + name, values, selections=1)

            f.visititems(visit)
