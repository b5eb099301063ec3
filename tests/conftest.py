"""Settings of all tests."""

import os
import tempfile

# Tiny tensors on two threads spend their time waiting for each other, most of all beside other load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing of the user's is read or written, by tests and by the processes that they start.
_HOME = tempfile.TemporaryDirectory(prefix="barnraise-tests-")
for _name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
    os.environ[_name] = f"{_HOME.name}/{_name.lower()}"
for _name in ("BARNRAISE_FROM", "BARNRAISE_MIRRORS", "BARNRAISE_CACHE_MAX_BYTES"):
    os.environ.pop(_name, None)
