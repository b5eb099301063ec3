"""Which hidden examples a round is tested on: decided before the round, known after it.

    anchor = s0 <- s1 <- s2 <- ... <- sL        each link is a hash of the one to its right
             |     `- seed of round 1, secret until round 1 is decided
             `- published when the run is made

A coordinator draws the last link by lot, hashes its way back to the anchor and publishes that.
From then on the seeds of all rounds are fixed: another seed that hashes to what is published
cannot be found, so the coordinator cannot choose a draw after it has seen updates. Nor can a
contributor know one: going to the right means inverting the hash. The link before a round's
seed is its commitment, and that is public before the round opens, as the anchor or as the
revealed seed of the round before. So seeds are revealed in order, each when its round is
decided, also when it is abandoned; a seed is used for one round only.

A draw is the beginning of a shuffle: a longer one from the same seed begins with the shorter
one. It uses BLAKE3 and whole numbers only, so every machine draws the same.

Not excluded: that a coordinator tries many chains before it publishes one. It would know the
examples, but none of the models that will be tested on them.

Source: Lamport 1981, "Password authentication with insecure communication" (hash chains);
BLAKE3's keyed mode as a pseudorandom stream, O'Connor et al. 2020; Fisher & Yates 1938, with
rejection instead of a remainder, so that no index is likelier than another.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blake3 import blake3

__all__ = ["CHAIN_ROUNDS", "Draw", "DrawCheck", "SeedChain", "anchor_after", "check_draw", "draw"]

CHAIN_ROUNDS = 65_536
SEED_BYTES = 32

_LINK = "barnraise 2026-11 seed chain link"
_STREAM = "barnraise 2026-11 hidden draw"
_WORDS = 1 << 64
_BLOCK = 64  # words that are taken from the stream at once


@dataclass(frozen=True, slots=True)
class SeedChain:
    """All seeds of a run, as the secret last link. Whoever has it knows every draw to come.

    Attributes:
        last: 32 random bytes. rounds: how many seeds there are; a run that needs more publishes another anchor.
    """

    last: bytes
    rounds: int = CHAIN_ROUNDS

    @classmethod
    def new(cls) -> SeedChain:
        """A chain from the system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    @property
    def anchor(self) -> bytes:
        """What is published when the run is made."""
        return anchor_after(self.last, self.rounds)

    def seed(self, number: int) -> bytes:
        """Seed of round ``number``, from 1 to ``rounds``; secret until that round is decided."""
        assert 1 <= number <= self.rounds, f"round {number} of a chain of {self.rounds}: publish a new anchor"
        return anchor_after(self.last, self.rounds, number)

    def __repr__(self) -> str:  # a secret belongs into no log
        return f"SeedChain(rounds={self.rounds})"


@dataclass(frozen=True, slots=True)
class Draw:
    """What a round's record says of a draw.

    Attributes:
        round: whose seed it came from. test: name of the test. pool: digest of the pool.
        indices: places in the pool, in the order in which they were drawn.
    """

    round: int
    test: str
    pool: str
    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DrawCheck:
    """Whether a draw is what was committed to, and why not."""

    holds: bool
    reason: str


def anchor_after(seed: bytes, number: int, until: int = 0) -> bytes:
    """The link of round ``until`` that leads to ``seed``, the one of round ``number``; 0 is the anchor."""
    for round_number in range(number, until, -1):
        seed = blake3(round_number.to_bytes(8, "little") + seed, derive_key_context=_LINK).digest()
    return seed


def draw(seed: bytes, pool: str, test: str, among: Sequence[int], count: int) -> tuple[int, ...]:
    """Draw ``count`` of ``among``, every subset and every order being equally likely.

    Args:
        seed: of the round, 32 bytes.
        pool: digest of the pool. test: name of the test. With another of either it is another draw.
        among: places that may be drawn, ascending; ``range(size)`` of an unused pool.
        count: at most ``len(among)``.
    """
    assert len(seed) == SEED_BYTES, len(seed)
    assert 0 <= count <= len(among), (count, len(among))
    words = _words(seed, pool, test)
    moved: dict[int, int] = {}  # the shuffled part of range(len(among)), where it differs
    picked = []
    for place in range(count):
        other = place + _below(len(among) - place, words)
        picked.append(among[moved.get(other, other)])
        moved[other] = moved.get(place, place)
    return tuple(picked)


def check_draw(anchor: bytes, seed: bytes, said: Draw, among: Sequence[int]) -> DrawCheck:
    """Check a draw with public numbers alone; the examples are not needed.

    Args:
        anchor: as published before the first round.
        seed: of the round, as revealed.
        said: the draw in the round's record.
        among: places that the budget left, which follow from earlier draws (see uses.py).
    """
    where = f"test {said.test} of round {said.round}"
    if not 1 <= said.round <= CHAIN_ROUNDS:
        return DrawCheck(False, f"there is no round {said.round} in a chain of {CHAIN_ROUNDS:,}")
    if anchor_after(seed, said.round) != anchor:
        found = f"the revealed seed of round {said.round} does not lead to the anchor {anchor.hex()[:12]}.."
        return DrawCheck(False, f"{found}; it is not the one that was committed to")
    expected = draw(seed, said.pool, said.test, among, min(len(said.indices), len(among)))
    same = sum(mine == theirs for mine, theirs in zip(expected, said.indices, strict=False))
    if same < len(said.indices):
        count = len(said.indices)
        return DrawCheck(
            False, f"test {said.test} of round {said.round}: {same} of {count} places are as the seed says"
        )
    where = f"test {said.test} of round {said.round}: {same} of {len(among)} places"
    return DrawCheck(True, f"{where}, drawn with the seed that was committed to")


def _words(seed: bytes, pool: str, test: str) -> Iterator[int]:
    """Random 64-bit words without end."""
    key = blake3(seed, derive_key_context=_STREAM).digest()
    named = b"".join(len(part).to_bytes(8, "little") + part for part in (pool.encode(), test.encode()))
    stream, at = blake3(named, key=key), 0
    while True:
        block = stream.digest(length=8 * _BLOCK, seek=at)
        at += len(block)
        yield from (int.from_bytes(block[i : i + 8], "little") for i in range(0, len(block), 8))


def _below(bound: int, words: Iterator[int]) -> int:
    """A number below ``bound``, each equally likely: words in the incomplete last stretch are passed over."""
    limit = _WORDS - _WORDS % bound
    return next(word for word in words if word < limit) % bound
