"""Blobs between sidecars under hivemind itself: honest ones, liars, one that is killed, one without a gateway."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

import swarm_liars
from barnraise.digest import digest_bytes
from barnraise.errors import SwarmError, UnreachableError
from barnraise.message import BlobRef
from barnraise.releases.fetch import Fetcher
from barnraise.releases.source import ReleaseSource
from barnraise.releases.store import BlobStore
from barnraise.releases.stream import BlobStream
from barnraise.swarm.blob_choice import ranked
from barnraise.swarm.process import Sidecar
from contributor.swarm.peer_blobs import PeersFirst
from givers import Giver, as_blobs, blob_of
from processes import until

RUN = "tiny-lm"
READY_S = 180.0
HOLDS_S = 3600.0
SIZE = 1_500_000


@dataclass
class Node:
    """A sidecar, and the folder of what it has to give."""

    sidecar: Sidecar
    store: BlobStore

    def allow(self, up_bytes_per_s: float | None = None, *, paused: bool = False) -> None:
        limits = {"up_bytes_per_s": up_bytes_per_s, "down_bytes_per_s": None, "paused": paused}
        self.sidecar.ask("limit", 30.0, **limits, for_s=HOLDS_S)

    def counts(self) -> dict[str, Any]:
        return self.sidecar.ask("blobs", 30.0)

    def fetch(self, data: bytes) -> dict[str, Any]:
        return self.sidecar.ask("fetch", 120.0, digest=digest_bytes(data), size=len(data))

    def gets(self, data: bytes) -> bytes:
        """What other nodes give it; asked again, if this machine was too busy to hear them at once."""
        return until(lambda: Path(path).read_bytes() if (path := self.fetch(data).get("path")) else b"", "a blob")

    @property
    def peer(self) -> str:
        assert self.sidecar.state.facts is not None
        return str(self.sidecar.state.facts["peer"])


@dataclass
class Swarm:
    """A node that has blobs, one that wants them, one that does without this part, and liars by their ways."""

    holder: Node
    taker: Node
    without: Node
    liars: Mapping[str, str]

    def blob(self, is_wanted: Callable[[str], bool] = lambda _digest: True) -> bytes:
        """One that the holder has and nobody else, with a digest as wanted."""
        blobs = (os.urandom(8) * (SIZE // 8) for _ in range(10_000))
        data = next(data for data in blobs if is_wanted(digest_bytes(data)))
        self.holder.store.put(data)
        return data

    def quiet_blob(self) -> bytes:
        """One that the liars' places in the order let pass: a liar would be asked after the holder."""
        return self.blob(lambda digest: self._first(digest) == self.holder.peer)

    def contested_blob(self, way: str) -> bytes:
        """One for which the liar of this way is asked first."""
        return self.blob(
            lambda digest: (
                swarm_liars.WAYS[swarm_liars.claimed_by(digest)] == way and self._first(digest) == self.liars[way]
            )
        )

    def knows_all(self) -> bool:
        """Whether the taker has heard of the holder and of every liar; it looks when it wants a blob."""
        self.taker.gets(self.quiet_blob())
        return bool(self.taker.counts()["nodes"] == 1 + len(self.liars))

    def _first(self, digest: str) -> str:
        claims = self.liars[swarm_liars.WAYS[swarm_liars.claimed_by(digest)]]
        return ranked(digest, [self.holder.peer, claims], self.taker.peer)[0]


@contextmanager
def _node(root: Path, name: str, bootstrap: list[str], *, blobs: bool = True) -> Iterator[Node]:
    folder = root / name
    folder.mkdir()
    part = {"blobs": {"store": str(folder / "cache"), "into": str(folder / "from-nodes")}} if blobs else {}
    settings = {"host": {"bootstrap": bootstrap}, "run": RUN, **part}
    sidecar = Sidecar("peers", lambda: settings, folder / "swarm.log", print)
    sidecar.start()
    try:
        yield Node(sidecar, BlobStore(folder / "cache", durable=False))
    finally:
        sidecar.stop()


@contextmanager
def _liars(bootstrap: list[str]) -> Iterator[Callable[[], list[str]]]:
    """Their ids, once they are there. Their sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="br-liars-") as folder:
        settings = json.dumps({"run": RUN, "bootstrap": bootstrap, "folder": folder})
        with subprocess.Popen(
            [sys.executable, swarm_liars.__file__, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            process_group=0,
        ) as process:
            assert process.stdout is not None
            try:
                yield lambda: json.loads(process.stdout.readline())
            finally:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def swarm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    root = tmp_path_factory.mktemp("swarm")
    with ExitStack() as stack:
        holder = stack.enter_context(_node(root, "holder", []))
        assert holder.sidecar.wait_ready(READY_S)
        assert holder.sidecar.state.facts is not None
        bootstrap = list(holder.sidecar.state.facts["addresses"])
        taker = stack.enter_context(_node(root, "taker", bootstrap))
        without = stack.enter_context(_node(root, "without", bootstrap, blobs=False))
        liars = stack.enter_context(_liars(bootstrap))
        assert taker.sidecar.wait_ready(READY_S)
        assert without.sidecar.wait_ready(READY_S)
        swarm = Swarm(holder, taker, without, dict(zip(swarm_liars.WAYS, liars(), strict=True)))
        holder.allow()
        taker.allow()
        until(swarm.knows_all, "all to be known", READY_S)
        yield swarm


def test_it_comes_bit_for_bit_and_each_byte_is_counted(swarm: Swarm) -> None:
    before, gave = swarm.taker.counts(), swarm.holder.counts()["given_bytes"]
    data = swarm.quiet_blob()
    assert swarm.taker.gets(data) == data
    assert swarm.taker.counts()["taken_bytes"] - before["taken_bytes"] == len(data)
    assert swarm.holder.counts()["given_bytes"] - gave == len(data)


@pytest.mark.parametrize("way", swarm_liars.WAYS)
def test_a_liar_costs_a_retry_and_never_a_byte(swarm: Swarm, way: str) -> None:
    before = swarm.taker.counts()
    data = swarm.contested_blob(way)
    assert swarm.taker.gets(data) == data
    after = swarm.taker.counts()
    assert after["retries"] == before["retries"] + 1
    assert after["liars"] - before["liars"] == (way in {"other bytes", "without end"})


def test_with_the_gateway_gone_it_comes_from_a_node(swarm: Swarm, tmp_path: Path) -> None:
    data = swarm.quiet_blob()
    store = BlobStore(tmp_path)
    source = PeersFirst(cast("ReleaseSource", Silent()), swarm.taker.sidecar)
    Fetcher([source], store).fetch([blob_of(data)])
    assert store.read(digest_bytes(data)) == data


def test_no_more_goes_up_than_is_allowed(swarm: Swarm) -> None:
    data, rate = swarm.quiet_blob(), SIZE / 4.0
    swarm.holder.allow(rate)
    began_s, gave = time.monotonic(), swarm.holder.counts()["given_bytes"]
    assert swarm.taker.gets(data) == data
    given = swarm.holder.counts()["given_bytes"] - gave
    assert given >= SIZE
    assert given <= rate * (time.monotonic() - began_s + 1.0)  # a second's worth may go at once


def test_a_paused_node_gives_nothing(swarm: Swarm) -> None:
    data = swarm.quiet_blob()
    swarm.holder.allow(paused=True)
    gave = swarm.holder.counts()["given_bytes"]
    until(lambda: "gateway" in swarm.taker.fetch(data), "the gateway to be asked")
    assert swarm.holder.counts()["given_bytes"] == gave
    swarm.holder.allow()


def test_a_node_that_does_without_is_not_asked_and_asks_nobody(swarm: Swarm, tmp_path: Path) -> None:
    data = swarm.quiet_blob()
    with pytest.raises(SwarmError, match="no command 'fetch'"):
        swarm.without.fetch(data)
    gateway, store = Giver(as_blobs(data)), BlobStore(tmp_path)
    Fetcher([PeersFirst(cast("ReleaseSource", gateway), swarm.without.sidecar)], store).fetch([blob_of(data)])
    assert store.read(digest_bytes(data)) == data
    assert gateway.sent == len(data)


def test_a_sidecar_that_is_killed_in_the_middle_leaves_the_rest_to_the_gateway(swarm: Swarm, tmp_path: Path) -> None:
    data, store = swarm.quiet_blob(), BlobStore(tmp_path)
    gateway, sidecar = Giver(as_blobs(data)), swarm.taker.sidecar
    swarm.holder.allow(SIZE / 6.0)
    gave, pid, starts = swarm.holder.counts()["given_bytes"], sidecar.state.pid, sidecar.state.starts
    assert pid is not None
    source = PeersFirst(cast("ReleaseSource", gateway), sidecar)
    pull = threading.Thread(target=lambda: Fetcher([source], store).fetch([blob_of(data)]))
    pull.start()
    until(lambda: swarm.holder.counts()["given_bytes"] > gave, "a byte")
    os.kill(pid, signal.SIGKILL)
    pull.join(READY_S)
    assert store.read(digest_bytes(data)) == data
    assert gateway.sent == len(data)

    swarm.holder.allow()
    until(lambda: sidecar.state.doing == "ready" and sidecar.state.starts > starts, "another sidecar", READY_S)
    assert swarm.taker.counts()["taken_bytes"] == 0  # it counts from its own start
    assert "gateway" in swarm.taker.fetch(data)  # and waits to be told again what it may
    swarm.taker.allow()
    assert swarm.taker.gets(data) == data


class Silent:
    """A gateway that is gone."""

    label = "http://gone"
    vouches = False

    def open_blob(self, _blob: BlobRef, _start: int, _stop: int) -> AbstractContextManager[BlobStream]:
        raise UnreachableError("http://gone does not answer")
