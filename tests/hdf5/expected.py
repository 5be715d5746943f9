"""What NumPy makes of datasets and selections, for the C++ side to compare with.

A manifest line: file, dataset, selection text (or "-"), dtype string, shape ("2,3", "-" for scalars), CRC-32 of the
elements in C order and native byte order, tab-separated.
"""
import random
import zlib

import numpy as np


def random_selection(shape, rng):
    """A text between brackets and the index it means; any of the forms that NumPy's basic slicing has."""
    parts, index, ellipsis = [], [], False
    axes = list(shape)
    while axes:
        kind = rng.random()
        n = axes.pop(0)
        if kind < 0.15 and n > 0:
            i = rng.randrange(-n, n)
            parts.append(str(i))
            index.append(i)
        elif kind < 0.25 and not ellipsis:
            ellipsis = True
            skip = rng.randrange(0, len(axes) + 1)
            axes = axes[skip:]
            parts.append("...")
            index.append(Ellipsis)
        else:
            ends = [None if rng.random() < 0.4 else rng.randrange(-n - 2, n + 3) for _ in range(2)]
            step = rng.choice([None, 1, 1, 2, 3, 5, -1, -2, -7])
            text = ("" if ends[0] is None else str(ends[0])) + ":"
            text += "" if ends[1] is None else str(ends[1])
            text += "" if step is None else ":" + str(step)
            parts.append(text)
            index.append(slice(ends[0], ends[1], step))
    return "[" + ", ".join(parts) + "]", tuple(index)


def line(file, path, text, values):
    values = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("=")) if values.shape else values
    values = np.asarray(values).astype(values.dtype.newbyteorder("="))
    shape = ",".join(map(str, values.shape)) or "-"
    return "\t".join([file, path, text, values.dtype.str, shape, str(zlib.crc32(values.tobytes()))])


def emit(out, file, path, values, selections=4, seed=0):
    """Lines for all of `values` (what h5py reads, or must be read) and for some random selections of it."""
    rng = random.Random(f"{path}{seed}")
    values = np.asarray(values)
    print(line(file, path, "-", values), file=out)
    for _ in range(selections if values.shape else 0):
        text, index = random_selection(values.shape, rng)
        print(line(file, path, text, np.asarray(values[index])), file=out)
