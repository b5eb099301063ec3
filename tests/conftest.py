"""Settings of all tests."""

import os
import signal
import tempfile
from itertools import count
from pathlib import Path

import pytest

# Tiny tensors on two threads spend their time waiting for each other, most of all beside other load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever starts tests in the background may have switched Ctrl-C off, for the processes that they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing of the user's is read or written, by tests and by the processes that they start.
_HOME = tempfile.TemporaryDirectory(prefix="barnraise-tests-")
for _name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
    os.environ[_name] = f"{_HOME.name}/{_name.lower()}"
for _name in ("BARNRAISE_FROM", "BARNRAISE_MIRRORS", "BARNRAISE_CACHE_MAX_BYTES"):
    os.environ.pop(_name, None)
_NUMBERS = count()


@pytest.fixture(scope="session", autouse=True)
def _shared_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is made once for many tests lies below pytest's own folder."""
    os.environ["BARNRAISE_TESTS_SHARED"] = str(tmp_path_factory.mktemp("shared"))


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test meets what another one has cached, or pinned."""
    home: Path = tmp_path_factory.getbasetemp() / "homes" / str(next(_NUMBERS))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(home / name.lower()))
