"""Makes a file larger than little memory: arguments: its path. Seeded, so that every run has the same."""
import sys

import h5py
import numpy as np

random = np.random.default_rng(1)
with h5py.File(sys.argv[1], "w") as f:
    # Chunks that divide nothing; steps of 1/64, so that there is something to deflate; NaNs here and there.
    field = np.round(random.normal(250, 30, (61, 307, 401)) * 64).astype("f4") / 64
    field[random.integers(0, 61, 500), random.integers(0, 307, 500), random.integers(0, 401, 500)] = np.nan
    f.create_dataset("field", data=field, chunks=(7, 101, 131), shuffle=True, compression=1)
    f["series"] = random.normal(1e6, 1, 2_500_003)
    f.create_dataset("counts", data=random.integers(0, 4000, (1999, 1501)).astype(">i2"), chunks=(1999, 1))
    # Mostly never written; what is, lies anywhere.
    sparse = f.create_dataset("sparse", (1000, 20011), "f4", chunks=(37, 101), fillvalue=0.1, shuffle=True)
    for row, column in zip(random.integers(0, 990, 40), random.integers(0, 20000, 40)):
        sparse[row : row + 10, column : column + 11] = random.normal(0, 1, (10, 11))
