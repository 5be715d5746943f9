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
