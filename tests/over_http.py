"""A run's gateway as a command reaches it by URL, without a socket: it is called in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

from barnraise.releases import http_source
from barnraise.releases.http_source import Reply
from coordinator.gateway import GatewayState
from doorstep import Doorstep
from simulator import Simulation

__all__ = ["door_of", "url_of"]


def door_of(simulation: Simulation) -> Doorstep:
    """The gateway of a simulated run."""
    state = GatewayState(
        simulation.folder, simulation.config, simulation.ledger, simulation.identity, now_ms=simulation.clock
    )
    return Doorstep(state)


def url_of(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where commands find that gateway, until the test is over."""
    door = door_of(simulation)

    @contextmanager
    def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        answer = door.call("GET", url.removeprefix("http://door"))
        yield Reply(answer.status, answer.headers, iter([answer.body]))

    monkeypatch.setattr(http_source, "_urllib3_opener", lambda _url: open_url)
    return "http://door"
