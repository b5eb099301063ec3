"""Nodes first, then the gateway: whatever goes wrong with a sidecar, the blob comes, and all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from barnraise.errors import BlobMissingError, SwarmError
from barnraise.releases.fetch import Fetcher, FetchOptions
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.swarm.blob_choice import limit_s, patience_s
from barnraise.swarm.process import Sidecar, SidecarState
from contributor.swarm.peer_blobs import KEPT_BYTES, SMALLEST_BYTES, PeersFirst, kept_bytes
from givers import Giver, as_blobs, blob_of

DATA = bytes(range(251)) * 40
BLOB = blob_of(DATA)


class Answers:
    """A sidecar with one answer."""

    def __init__(self, answer: Callable[[], dict[str, Any]]) -> None:
        self._answer = answer
        self.state = SidecarState("ready")
        self.waited_s: list[float] = []
        self.asked: list[tuple[str, float, dict[str, Any]]] = []

    def wait_ready(self, timeout_s: float) -> bool:
        self.waited_s.append(timeout_s)
        return False

    def ask(self, command: str, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        self.asked.append((command, timeout_s, arguments))
        return self._answer()


def _down() -> dict[str, Any]:
    raise SwarmError("the sidecar for peers is down")


NO_BLOB: dict[str, Callable[[], dict[str, Any]]] = {
    "no sidecar": _down,
    "the gateway's turn": lambda: {"gateway": "no other node is there"},
    "a file that is gone": lambda: {"path": "/nowhere/at/all"},
    "a folder": lambda: {"path": "/"},
    "no path": lambda: {"path": None},
    "nothing": dict,
}


def _source(answer: Callable[[], dict[str, Any]]) -> tuple[PeersFirst, Answers, Giver, list[int]]:
    gateway, sidecar, counted = Giver(as_blobs(DATA, b"small")), Answers(answer), list[int]()
    source = PeersFirst(cast("ReleaseSource", gateway), cast("Sidecar", sidecar), counted.append)
    return source, sidecar, gateway, counted


def _read(source: PeersFirst, start: int = 0, stop: int = len(DATA)) -> bytes:
    with source.open_blob(BLOB, start, stop) as stream:
        assert stream.at == start
        return b"".join(stream.pieces)


@pytest.mark.parametrize("what", NO_BLOB)
def test_without_a_node_that_gives_it_the_gateway_does(what: str) -> None:
    source, _, gateway, counted = _source(NO_BLOB[what])
    assert _read(source) == DATA
    assert (gateway.sent, sum(counted)) == (len(DATA), len(DATA))


@pytest.mark.parametrize(("start", "stop"), [(0, len(DATA)), (0, 1), (100, 2_000), (len(DATA) - 1, len(DATA)), (5, 5)])
def test_what_a_node_gave_is_read_where_it_is_wanted(tmp_path: Path, start: int, stop: int) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    source, sidecar, gateway, counted = _source(lambda: {"path": str(tmp_path / "blob")})
    assert _read(source, start, stop) == DATA[start:stop]
    assert (gateway.sent, counted) == (0, [])
    ((command, wait_s, arguments),) = sidecar.asked
    assert (command, arguments) == ("fetch", {"digest": BLOB.digest, "size": len(DATA)})
    assert wait_s > limit_s(len(DATA))  # the search has ended by then, whatever others do


def test_a_file_that_goes_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    source, *_ = _source(lambda: {"path": str(tmp_path / "blob")})
    with source.open_blob(BLOB, 0, len(DATA)) as stream:
        (tmp_path / "blob").unlink()
        assert b"".join(stream.pieces) == DATA


@pytest.mark.parametrize(("doing", "waits"), [("starting", 1), ("ready", 0), ("down", 0), ("off", 0)])
def test_a_sidecar_that_starts_is_waited_for_no_longer_than_a_node_would_be(doing: str, waits: int) -> None:
    source, sidecar, *_ = _source(_down)
    sidecar.state = SidecarState(doing)
    assert _read(source) == DATA
    assert sidecar.waited_s == [patience_s(len(DATA))] * waits


def test_for_a_small_blob_nobody_is_asked() -> None:
    source, sidecar, gateway, _ = _source(_down)
    small = blob_of(b"small")
    assert small.size_bytes < SMALLEST_BYTES
    with source.open_blob(small, 0, 5) as stream:
        assert b"".join(stream.pieces) == b"small"
    assert (sidecar.asked, gateway.sent) == ([], 5)


def test_with_a_gateway_that_is_gone_too_it_says_what_the_gateway_says() -> None:
    source, *_ = _source(_down)
    with pytest.raises(BlobMissingError), source.open_blob(blob_of(DATA + b"!"), 0, 5):
        pass


@pytest.mark.parametrize("spoil", [lambda data: data[:-1] + b"!", lambda data: data[:-1], lambda data: b""])
def test_a_file_that_is_not_the_blob_is_found_out(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    (tmp_path / "blob").write_bytes(spoil(DATA))
    answers = [{"path": str(tmp_path / "blob")}]
    source, *_ = _source(lambda: answers.pop() if answers else {"gateway": "no other node is there"})
    store = BlobStore(tmp_path / "store")
    other = Giver(as_blobs(DATA))
    Fetcher([source, other], store, FetchOptions(connections=1)).fetch([BLOB])
    assert store.read(BLOB.digest) == DATA


def test_less_is_kept_for_others_on_a_disk_that_gets_full() -> None:
    assert kept_bytes(1 << 50) == KEPT_BYTES
    assert kept_bytes(800) == 100
    assert kept_bytes(0) == 0
