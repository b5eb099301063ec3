"""A pool of hidden examples, pinned without being shown.

What is published of a pool is a list with one commitment an example. Text can be guessed: a
plain digest would tell whoever has the same text which of it is tested on. So every example
is hashed with a salt of its own, and the salts follow from a secret of the run. To open one
example is to show it with its salt; that says nothing about any other.

A flat list, not a tree: 32 bytes an example are small beside the example, and whoever checks
a pool wants all of it.

Source: hash commitments with random salts, such as Halevi & Micali 1996, "Practical and
provably-secure commitment schemes from collision-free hashing".
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from barnraise.digest import digest_bytes

__all__ = ["Opening", "PoolSecret", "opens", "pool_digest"]

SALT_BYTES = 32
_SALT = "barnraise 2026-11 hidden example salt"


@dataclass(frozen=True, slots=True)
class Opening:
    """One example, shown: where it stands in its pool, its salt and its bytes."""

    index: int
    salt: bytes
    example: bytes


@dataclass(frozen=True, slots=True)
class PoolSecret:
    """What the salts of a run's pools follow from. ``key``: 32 random bytes."""

    key: bytes

    @classmethod
    def new(cls) -> PoolSecret:
        return cls(secrets.token_bytes(SALT_BYTES))

    def commitments(self, name: str, examples: Sequence[bytes]) -> tuple[bytes, ...]:
        """One commitment an example, 32 bytes each: what is published of the pool ``name``."""
        return tuple(_commitment(self._salt(name, index), example) for index, example in enumerate(examples))

    def open(self, name: str, index: int, example: bytes) -> Opening:
        """Show one example of the pool ``name``."""
        return Opening(index, self._salt(name, index), example)

    def _salt(self, name: str, index: int) -> bytes:
        key = blake3(self.key, derive_key_context=_SALT).digest()
        return blake3(index.to_bytes(8, "little") + name.encode(), key=key).digest()

    def __repr__(self) -> str:  # a secret belongs into no log
        return "PoolSecret()"


def pool_digest(commitments: Sequence[bytes]) -> str:
    """What a draw names its pool by."""
    return digest_bytes(*commitments)


def opens(commitments: Sequence[bytes], shown: Opening) -> bool:
    """Whether the shown example is the one that the pool was made with."""
    if not 0 <= shown.index < len(commitments) or len(shown.salt) != SALT_BYTES:
        return False
    return _commitment(shown.salt, shown.example) == commitments[shown.index]


def _commitment(salt: bytes, example: bytes) -> bytes:
    return blake3(example, key=salt).digest()
