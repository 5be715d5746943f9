"""Expects the same dataset, byte for byte, in several files. Arguments: the dataset, the files."""
import sys

import h5py
from oracle import Failures

check = Failures()


def content(path, name):
    """Everything about the dataset that can be read: its elements, and its chunks as they are stored."""
    with h5py.File(path) as file:
        dataset = file[name]
        stored = {}
        for i in range(dataset.id.get_num_chunks() if dataset.chunks else 0):
            start = dataset.id.get_chunk_info(i).chunk_offset
            stored[start] = dataset.id.read_direct_chunk(start)
        return dataset.shape, dataset.dtype.str, dataset.chunks, sorted(dataset.attrs), dataset[()].tobytes(), stored


first = content(sys.argv[2], sys.argv[1])
for path in sys.argv[3:]:
    parts = zip(("shape", "dtype", "chunks", "attributes", "elements", "stored chunks"), first,
                content(path, sys.argv[1]))
    for what, one, other in parts:
        check.expect(one == other, path, "has other", what, "than", sys.argv[2])
check.leave()
