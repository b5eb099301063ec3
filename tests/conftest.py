"""Settings of all tests."""

import os

# Tiny tensors on two threads spend their time waiting for each other, most of all beside other load.
os.environ.setdefault("OMP_NUM_THREADS", "1")
