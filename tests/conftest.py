"""For every test: property tests without a deadline, since a busy machine is no defect; one thread a worker."""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("raptor", deadline=None)
settings.load_profile("raptor")
