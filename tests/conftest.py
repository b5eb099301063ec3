"""Settings of all tests."""

import os
import signal
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from laws import ALL

# Tiny tensors on two threads spend their time waiting for each other, most of all beside other load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Whoever starts tests in the background may have switched Ctrl-C off, for the processes that they start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing of the user's is read or written, by tests and by the processes that they start. Where a test begins, a
# fixture says which folders it has instead; before that there are none, and none can be made.
HOMES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
for _name in HOMES:
    os.environ[_name] = f"{os.devnull}/{_name.lower()}"
for _name in ("BARNRAISE_FROM", "BARNRAISE_MIRRORS", "BARNRAISE_CACHE_MAX_BYTES"):
    os.environ.pop(_name, None)
_NUMBERS = count()


def _written(descriptor: int) -> None:
    os.fstat(descriptor)  # one that is closed is an error, as ever


# Nobody pulls the plug, so nobody waits for the disk: it is a tenth of the time. Tests of power cuts put their own in
# place of this; the processes of end-to-end tests, and `make laws`, wait.
if not ALL:
    os.fsync = _written

# The same examples every time, however busy the machine is; `make laws` draws new ones. See tests/laws.py.
_TIMELESS = [HealthCheck.too_slow]
settings.register_profile("same", deadline=None, derandomize=True, suppress_health_check=_TIMELESS)
settings.register_profile("anew", deadline=None, suppress_health_check=_TIMELESS, print_blob=True)
settings.load_profile("anew" if ALL else "same")


def _give_homes(root: Path) -> None:
    for name in HOMES:
        os.environ[name] = str(root / name.lower())


@pytest.fixture(scope="session", autouse=True)
def _shared_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is made once for many tests lies below pytest's own folder, of which every worker has its own."""
    os.environ["BARNRAISE_TESTS_SHARED"] = str(tmp_path_factory.mktemp("shared"))
    _give_homes(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test meets what another one has cached, or pinned."""
    home: Path = tmp_path_factory.getbasetemp() / "homes" / str(next(_NUMBERS))
    for name in HOMES:
        monkeypatch.setenv(name, str(home / name.lower()))
