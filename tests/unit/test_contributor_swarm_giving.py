"""What a sidecar may give, and what it gave: told and asked, and nothing counted twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from barnraise.errors import SwarmError
from barnraise.swarm.blob_limits import Limits
from barnraise.swarm.process import Sidecar
from contributor.governor.wish import Wish
from contributor.swarm import giving as module
from contributor.swarm.giving import HOLD_S, Giving, Seen, allowed, giving
from contributor.swarm.status import SwarmTally


class Answers:
    """A sidecar that tells what it is made to."""

    def __init__(self) -> None:
        self.start, self.counts = "first", dict.fromkeys(("given_bytes", "taken_bytes", "wasted_bytes"), 0)
        self.is_there = True
        self.told: list[Mapping[str, Any]] = []

    def ask(self, command: str, _timeout_s: float, **arguments: Any) -> dict[str, Any]:
        if not self.is_there:
            raise SwarmError("the sidecar for peers is down")
        if command == "limit":
            self.told.append(arguments)
            return {}
        return {"start": self.start, "last": "a node was asked", **self.counts}

    def moves(self, **more: int) -> None:
        self.counts.update({f"{name}_bytes": self.counts[f"{name}_bytes"] + count for name, count in more.items()})

    def restarts(self) -> None:
        self.start, self.counts = self.start + "+", dict.fromkeys(self.counts, 0)


@pytest.fixture
def sidecar() -> Answers:
    return Answers()


@pytest.fixture
def moved() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def blobs(sidecar: Answers, moved: list[tuple[int, int]]) -> Giving:
    def note(sent_bytes: int, received_bytes: int) -> None:
        moved.append((sent_bytes, received_bytes))

    return Giving(cast("Sidecar", sidecar), lambda: Limits(1e6, None), note, SwarmTally("blobs"))


def _told(blobs: Giving) -> tuple[int, int]:
    facts = blobs.tally.now().blobs
    assert facts is not None
    return facts["to_peers_bytes"], facts["from_peers_bytes"]


def test_every_byte_is_counted_once(sidecar: Answers, blobs: Giving, moved: list[tuple[int, int]]) -> None:
    seen = blobs.look(Seen())
    sidecar.moves(given=100, taken=50)
    seen = blobs.look(seen)
    seen = blobs.look(seen)
    sidecar.moves(given=10, wasted=7)
    blobs.look(seen)
    assert moved == [(100, 0), (10, 7)]
    assert _told(blobs) == (110, 50)


def test_a_restart_counts_nothing_twice_and_nothing_less(
    sidecar: Answers, blobs: Giving, moved: list[tuple[int, int]]
) -> None:
    sidecar.moves(given=100, taken=50)
    seen = blobs.look(Seen())
    sidecar.is_there = False
    assert blobs.look(seen) == seen
    sidecar.is_there = True
    sidecar.restarts()
    sidecar.moves(given=30)
    seen = blobs.look(seen)
    sidecar.restarts()
    sidecar.moves(given=130, taken=50)
    blobs.look(seen)
    assert moved == [(100, 0), (30, 0), (130, 0)]
    assert _told(blobs) == (260, 100)


def test_what_the_owner_allows_is_passed_on_and_holds_for_a_while(sidecar: Answers, blobs: Giving) -> None:
    blobs.look(Seen())
    assert sidecar.told == [{"up_bytes_per_s": 1e6, "down_bytes_per_s": None, "paused": False, "for_s": HOLD_S}]
    assert HOLD_S > 2 * (module.LOOK_S + 2 * module.ASK_S)  # two looks may fail, and it still holds


def test_a_last_look_is_taken_when_it_ends(
    sidecar: Answers, blobs: Giving, moved: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_S", 3600.0)
    with giving(blobs):
        sidecar.moves(given=5)
    assert moved == [(5, 0)]


@pytest.mark.parametrize("sidecar_is_there", [True, False])
def test_it_ends_with_or_without_a_sidecar(blobs: Giving, sidecar: Answers, sidecar_is_there: bool) -> None:
    sidecar.is_there = sidecar_is_there
    with giving(blobs):
        pass


@pytest.mark.parametrize(
    ("wish", "paused", "gives"),
    [
        (Wish(True, "free"), False, True),
        (Wish(True, "free"), True, False),
        (Wish(False, "somebody works at this machine"), False, False),
        (Wish(True, "the quota is used up", transfer=False), False, False),
    ],
)
def test_a_node_that_is_paused_rests_or_may_not_send_gives_nothing(wish: Wish, paused: bool, gives: bool) -> None:
    assert allowed(wish, paused=paused).paused is not gives


def test_rates_are_those_of_the_policies() -> None:
    wish = Wish(True, "slow line", up_bytes_per_s=2e5, down_bytes_per_s=1e6)
    assert allowed(wish, paused=False) == Limits(2e5, 1e6)
