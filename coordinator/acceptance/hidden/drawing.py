"""The hidden examples of a run's rounds: which are drawn for which test, and what is told of that.

A test with a ``pool`` looks at other examples every round. What is drawn follows from the run's
chain of seeds (draws.py), whose anchor is published before the first round, and from what earlier
rounds have used up (uses.py). The record of a draw comes out together with the verdict:

    {"seed": hex, "tests": {NAME: {"pool": digest, "size": n, "spent": [place, ..], "places": [place, ..]}}}

``spent`` are places that had been used as often as the budget allows, and could not be drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from barnraise.errors import AcceptanceError
from barnraise.identity import Identity
from barnraise.suite import AcceptanceTestConfig, SuiteConfig
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.hidden.draws import Draw, DrawCheck, SeedChain, check_draw, draw
from coordinator.acceptance.hidden.uses import Leak, drawable, uses_allowed, uses_of
from coordinator.acceptance.kinds import make_kind

__all__ = ["Drawn", "chain_of", "check_record", "draw_for_round", "uses_budget"]

ERROR_SHARE = 0.5
"""By so much of its margin a test may be off on average because its examples were used before."""

ANSWERS = 2


@dataclass(frozen=True, slots=True)
class Drawn:
    """The examples of one round.

    Attributes:
        places: test -> which of its examples, in the order in which they are looked at. record: as above.
    """

    places: dict[str, tuple[int, ...]]
    record: dict[str, Any]


def chain_of(identity: Identity) -> SeedChain:
    """The seeds of a run; they follow from the coordinator's key, so they are backed up with it."""
    return SeedChain(identity.secret("seeds of hidden draws"))


def draw_for_round(
    chain: SeedChain,
    number: int,
    suite: SuiteConfig,
    at_hand: Callable[[AcceptanceTestConfig], Examples],
    earlier: Iterable[Mapping[str, Any]],
) -> Drawn:
    """Draw the examples of every test that has a pool. The same round draws the same.

    Args:
        at_hand: everything that a test could look at. earlier: records of the rounds before.

    Raises:
        AcceptanceError: a pool is smaller than the suite says, or used up.
    """
    drawing = [test for test in suite.tests if test.pool is not None]
    if not drawing:
        return Drawn({}, {})
    before, seed = list(earlier), chain.seed(number)
    places, told = {}, {}
    for test in drawing:
        pool = at_hand(test)
        if len(pool) < test.at_hand:
            raise AcceptanceError(
                f"test {test.name} draws from {test.at_hand} examples, {len(pool)} are there; lower its pool, enlarge "
                "the data set, or, for a shard, start a new run"
            )
        uses = uses_of((row["places"], 1) for row in _of_pool(before, test.name, pool.digest))
        left = drawable(uses, test.at_hand, test.examples, uses_budget(test))
        if not left.enough:
            raise AcceptanceError(f"test {test.name}: {left.reason}")
        places[test.name] = draw(seed, pool.digest, test.name, left.places, test.examples)
        spent = sorted(set(range(test.at_hand)) - set(left.places))
        told[test.name] = {
            "pool": pool.digest,
            "size": test.at_hand,
            "spent": spent,
            "places": list(places[test.name]),
        }
    return Drawn(places, {"seed": seed.hex(), "tests": told})


def uses_budget(test: AcceptanceTestConfig) -> int:
    """How often an example of a test's pool may be used: as the suite says, else as its margin allows."""
    if test.uses is not None:
        return test.uses
    spread = make_kind(test).metric.spread
    leak = Leak(pool=test.at_hand, drawn=test.examples, spread=spread, answers=ANSWERS)
    return uses_allowed(leak, ERROR_SHARE * test.margin)


def check_record(anchor: str, number: int, record: Mapping[str, Any]) -> list[DrawCheck]:
    """Check what was told of a round's draws with public numbers alone.

    Args:
        anchor: hex, as published before the first round. record: of the round, as above.
    """
    checks = []
    for name, row in sorted(record.get("tests", {}).items()):
        spent = set(row["spent"])
        among = [place for place in range(row["size"]) if place not in spent]
        said = Draw(number, name, row["pool"], tuple(row["places"]))
        checks.append(check_draw(bytes.fromhex(anchor), bytes.fromhex(record["seed"]), said, among))
    return checks


def _of_pool(records: Iterable[Mapping[str, Any]], test: str, pool: str) -> Iterable[Mapping[str, Any]]:
    """What earlier rounds drew for a test; another pool was none of this."""
    rows = (record.get("tests", {}).get(test) for record in records)
    return [row for row in rows if row is not None and row["pool"] == pool]
