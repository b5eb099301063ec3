"""Which windows the check of an update looks at: hidden ones, some of its own domain, and some that everybody knows.

    hidden   drawn anew every round from the windows for checks; the same for all updates of a round
    own      of the domain that an update was trained on: other windows for checks, where enough are left
    public   of the suite's tests; as many of every domain as the hidden ones are

Public is what a contributor can look at too: a test without a pool looks at the same windows in
every round, and where the run's text is on every machine, ``barnraise test`` draws just these.
The operator's own text is on no other machine, so there nothing is public. Without fresh windows
(``acceptance.check_pool``) nothing is hidden, and there is nothing to compare public ones with.

Lines of data sets that everybody has are public as well. No hidden example is like them, so they
are not looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from barnraise.config import RunConfig
from barnraise.data_config import LocalData
from barnraise.digest import digest_json
from coordinator.acceptance.examples import NOTHING, Examples
from coordinator.acceptance.heldout import HeldOut, domains_of_check
from coordinator.acceptance.hidden.draws import draw

__all__ = ["CheckExamples", "draw_check", "known_windows"]

LEAST = 8
"""Fewer windows of a kind say too little."""

COMPARED_MOST = 128
"""Public windows, and hidden ones beside them; more would cost more than they tell."""


@dataclass(frozen=True, slots=True)
class CheckExamples:
    """The examples of one check.

    Attributes:
        hidden, own, public: as above; ``own`` and ``public`` may be none.
        beside_public: places of those hidden ones that are of the same domains as the public ones, as many of each.
    """

    hidden: Examples
    own: Examples = NOTHING
    public: Examples = NOTHING
    beside_public: tuple[int, ...] = ()

    @property
    def compared(self) -> str:
        """Digest of which hidden and which public examples are compared."""
        return digest_json([self.hidden.digest, list(self.beside_public), self.public.digest])


def known_windows(config: RunConfig) -> dict[str, int]:
    """Domain -> how many of its first windows everybody can know: a test looks at them in every round."""
    known: dict[str, int] = {}
    if isinstance(config.data, LocalData):
        return known
    for test in config.acceptance.tests:
        if test.shard is not None and test.pool is None:
            known[test.shard] = max(known.get(test.shard, 0), test.examples)
    return known


def draw_check(held_out: HeldOut, config: RunConfig, shard: str | None, seed: bytes | None) -> CheckExamples:
    """The examples of the check of one update.

    Args:
        shard: the domain that it was trained on.
        seed: of the round's draw; None looks at the same hidden ones in every round, and at no public ones.
    """
    at_hand = config.acceptance.check_at_hand
    pool = Examples.of_windows(held_out.check_windows(at_hand))
    domains = domains_of_check(config, at_hand)
    count = min(config.acceptance.check_examples, at_hand)
    if seed is None:
        return CheckExamples(pool.take(range(count)), _tested_windows(held_out, shard, count, seed))
    picked = draw(seed, pool.digest, "check", range(at_hand), count)
    left = [place for place in sorted(set(range(at_hand)) - set(picked)) if domains[place] == shard]
    own = _tested_windows(held_out, shard, count, seed)
    if len(left) >= min(LEAST, count):
        own = pool.take(draw(seed, pool.digest, f"own {shard}", left, min(count, len(left))))
    known = {name: min(most, len(held_out.windows.get(name, ()))) for name, most in known_windows(config).items()}
    public, beside = _public(held_out, known, [domains[place] for place in picked[:COMPARED_MOST]], seed)
    return CheckExamples(pool.take(picked), own, public, beside)


def _tested_windows(held_out: HeldOut, shard: str | None, count: int, seed: bytes | None) -> Examples:
    """Of a domain's windows that tests look at, for want of others."""
    windows = held_out.windows.get(shard) if shard is not None else None
    if windows is None:
        return NOTHING
    pool = Examples.of_windows(windows)
    count = min(count, len(pool))
    return pool.take(range(count) if seed is None else draw(seed, pool.digest, f"own {shard}", range(len(pool)), count))


def _public(
    held_out: HeldOut, known: Mapping[str, int], hidden: Sequence[str], seed: bytes
) -> tuple[Examples, tuple[int, ...]]:
    """Public windows, and the places of as many hidden ones of the same domains.

    Args:
        hidden: domain of every hidden window, in their order.
    """
    windows, beside = [], []
    for domain, most in sorted((domain, most) for domain, most in known.items() if most):
        places = [place for place, name in enumerate(hidden) if name == domain][:most]
        pool = Examples.of_windows(held_out.windows[domain])
        picked = draw(seed, pool.digest, f"public {domain}", range(most), len(places))
        windows.append(held_out.windows[domain][list(picked)])
        beside += places
    if len(beside) < LEAST:
        return NOTHING, ()
    return Examples.of_windows(np.concatenate(windows)), tuple(beside)
