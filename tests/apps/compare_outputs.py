"""Expects the same datasets, byte for byte, in several files. Arguments: [--elements] the datasets with commas between,
the files. With --elements their stored chunks may differ."""
import sys

import h5py
from oracle import Failures

check = Failures()


def content(path, name, chunks):
    """Everything about the dataset that can be read: its elements, and its chunks as they are stored."""
    with h5py.File(path) as file:
        dataset = file[name]
        stored = {}
        for i in range(dataset.id.get_num_chunks() if chunks and dataset.chunks else 0):
            start = dataset.id.get_chunk_info(i).chunk_offset
            stored[start] = dataset.id.read_direct_chunk(start)
        return dataset.shape, dataset.dtype.str, dataset.chunks, sorted(dataset.attrs), dataset[()].tobytes(), stored


arguments = sys.argv[1:]
chunks = arguments[0] != "--elements"
if not chunks:
    arguments.pop(0)
names, one, *others = arguments
for name in names.split(","):
    first = content(one, name, chunks)
    for path in others:
        parts = zip(("shape", "dtype", "chunks", "attributes", "elements", "stored chunks"), first,
                    content(path, name, chunks))
        for what, mine, theirs in parts:
            check.expect(mine == theirs, path, name, "has other", what, "than", one)
check.leave()
