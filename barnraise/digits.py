"""Handwritten digits that ship with Barnraise: the small real case of telling pictures apart.

An example is 65 bytes: 64 pixels from 0 to 16, row by row, then the digit. A picture is held out
when the digest of its bytes says so. The others of a digit are dealt out, in the order of their
digests, among the shards that name the digit: contributors of different shards have different
pictures, and where shards name different digits, differently many of each.

Source: Alpaydin and Kaynak 1998, https://doi.org/10.24432/C50P49, CC BY 4.0.
"""

from __future__ import annotations

import gzip
import importlib.resources
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from barnraise.data_config import DigitsData
from barnraise.digest import digest_bytes
from barnraise.errors import ConfigValueError

__all__ = ["Digits", "all_digits"]


@cache
def all_digits() -> NDArray[np.uint8]:
    """Every picture with its digit, uint8 [1797, 65]."""
    packed = (importlib.resources.files("barnraise") / "data" / "digits.csv.gz").read_bytes()
    lines = gzip.decompress(packed).decode("ascii").split()
    return np.array([[int(number) for number in line.split(",")] for line in lines], dtype=np.uint8)


@cache
def _by_digest(digit: int) -> list[tuple[str, bytes]]:
    """All pictures of a digit, with their digests, by these."""
    examples = [row.tobytes() for row in all_digits() if row[-1] == digit]
    return sorted((digest_bytes(example), example) for example in examples)


@dataclass(frozen=True)
class Digits:
    """The pictures of every shard, split into ``train`` and ``held-out``."""

    data: DigitsData

    def text(self, shard: str, split: Literal["train", "held-out"]) -> bytes:
        """The examples of a shard, one after the other, by digit and digest.

        Raises:
            ConfigValueError: no such shard, or it names no digit.
        """
        if shard not in self.data.shards:
            raise ConfigValueError(f"no shard {shard[:32]!r} in the corpus; there are {', '.join(self.data.shards)}")
        wanted = sorted(set(self.data.shards[shard]))
        found = [example for digit in wanted for example in self._dealt(int(digit), shard, split)]
        if not found:
            raise ConfigValueError(f'shard {shard!r} has no {split} picture; give it digits, such as ["0", "1"]')
        return b"".join(found)

    def _dealt(self, digit: int, shard: str, split: str) -> list[bytes]:
        """The pictures of a digit that are a shard's."""
        sharing = sorted(name for name, digits in self.data.shards.items() if str(digit) in digits)
        held_out = split == "held-out"
        percent = self.data.held_out_percent
        kept = [row for digest, row in _by_digest(digit) if (int(digest[3:19], 16) % 100 < percent) == held_out]
        return kept[sharing.index(shard) :: len(sharing)]
