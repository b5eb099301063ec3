"""A sidecar under hivemind itself: it is asked, killed, started again, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from barnraise.errors import SwarmError
from barnraise.swarm.process import Sidecar
from processes import until

READY_S = 90.0
NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBMDUpm2nBySSGjsBYSBiPsThcoDRwpCGpouFEdTgYoeV"
OWNER = """
import sys
from pathlib import Path
from barnraise.swarm.process import Sidecar
sidecar = Sidecar("peers", lambda: {}, Path(sys.argv[1]), print)
sidecar.start()
assert sidecar.wait_ready(90)
print(sidecar.state.pid, flush=True)
input()
"""


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sidecars have their sockets, to see that nothing stays there."""
    folder = tmp_path_factory.mktemp("r")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def start(tmp_path: Path, runtime: Path) -> Iterator[Callable[..., tuple[Sidecar, list[str]]]]:
    started: list[Sidecar] = []

    def begin(service: str = "peers", **settings: object) -> tuple[Sidecar, list[str]]:
        said: list[str] = []
        sidecar = Sidecar(service, lambda: settings, tmp_path / f"{len(started)}.log", said.append)
        started.append(sidecar)
        sidecar.start()
        return sidecar, said

    yield begin
    for sidecar in started:
        sidecar.stop()
    assert not list(runtime.iterdir())


def _group(pid: int) -> list[psutil.Process]:
    """Everything in the process group that ``pid`` leads, zombies apart."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def _is_ready_again(sidecar: Sidecar) -> bool:
    return sidecar.state.starts == 2 and sidecar.state.doing == "ready"


def test_it_is_ready_asked_killed_and_started_again(start: Callable[..., tuple[Sidecar, list[str]]]) -> None:
    sidecar, said = start()
    with pytest.raises(SwarmError, match=r"is (off|starting)"):
        sidecar.ask("anything", 1.0)
    assert sidecar.wait_ready(READY_S)
    first = sidecar.state
    assert first.facts is not None
    assert first.facts["addresses"]
    assert first.pid is not None
    with pytest.raises(SwarmError, match="no command 'nothing'"):
        sidecar.ask("nothing", 5.0)

    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not _group(first.pid), "the end of the first one")
    until(lambda: _is_ready_again(sidecar), "the second one", READY_S)
    assert len(said) == 1
    assert "was killed by signal 9" in said[0]
    assert "starting it again in 1 s" in said[0]

    second = sidecar.state.pid
    assert second is not None
    sidecar.stop()
    until(lambda: not _group(second), "the end of the second one")
    assert sidecar.state.doing == "off"


def test_a_daemon_that_dies_takes_the_sidecar_with_it_and_another_is_started(
    start: Callable[..., tuple[Sidecar, list[str]]], tmp_path: Path
) -> None:
    sidecar, said = start()
    assert sidecar.wait_ready(READY_S)
    pid = sidecar.state.pid
    assert pid is not None
    (daemon,) = [process for process in _group(pid) if process.name() == "p2pd"]
    daemon.kill()
    until(lambda: _is_ready_again(sidecar), "the second one", READY_S)
    until(lambda: not _group(pid), "the end of the first one")
    assert len(said) == 1
    assert "ended with exit code 3" in said[0]
    assert "hivemind's libp2p daemon does not answer" in (tmp_path / "0.log").read_text()


def test_nobody_to_begin_with_is_no_reason_to_end(start: Callable[..., tuple[Sidecar, list[str]]]) -> None:
    sidecar, _ = start(host={"bootstrap": [NOBODY]})
    assert sidecar.wait_ready(READY_S)
    assert sidecar.state.facts is not None
    assert sidecar.state.facts["alone"] is True


def test_a_daemon_that_does_not_start_is_said_with_what_it_said(
    start: Callable[..., tuple[Sidecar, list[str]]],
) -> None:
    sidecar, said = start(host={"listen": ["/ip4/192.0.2.1/tcp/0"]})  # an address of nobody's: RFC 5737
    until(lambda: said, "a reason", READY_S)
    assert "hivemind's libp2p daemon does not start" in said[0]
    assert sidecar.state.doing in {"down", "starting"}


def test_an_owner_that_is_killed_leaves_nothing(tmp_path: Path, runtime: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    try:
        pid = int(owner.stdout.readline())
        assert len(_group(pid)) >= 4  # sidecar, guard, DHT, daemon
        assert list(runtime.glob("br-swarm-*/pymp-*"))  # what Python makes for processes that talk, not in /tmp
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()
    until(lambda: not _group(pid), "the end of the sidecar")
    until(lambda: not list(runtime.iterdir()), "the end of its folder")
