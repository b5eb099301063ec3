"""What the three codecs share: the encoded segment, and how many entries a chunk keeps.

C  chunks of a segment
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import NonCanonicalUpdateError, TruncatedUpdateError
from barnraise.update_config import CodecConfig
from barnraise.updates.space import CHUNK

__all__ = ["EncodedSegment", "canonical_codec", "check_length", "kept_per_chunk"]


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """One segment's share of the arrays of an update.

    Attributes:
        support: which elements changed (``topk`` only).
        levels: what they changed by, in units of the scales.
        scales: those units (not ``dense``).
        fisher: how sure the update is of each element; None where no Fisher comes along.
    """

    support: bytes
    levels: bytes
    scales: bytes
    fisher: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.support) + len(self.levels) + len(self.scales) + len(self.fisher or b"")


def canonical_codec(codec: CodecConfig) -> CodecConfig:
    """``codec`` with the settings that its kind ignores at their defaults.

    An update keeps only what its codec uses, so this is what ``Update.codec`` compares equal to.
    """
    match codec.name:
        case "topk":
            return CodecConfig(name="topk", k=codec.k)
        case "blockwise":
            return CodecConfig(name="blockwise", bits=codec.bits)
        case "dense":
            return CodecConfig(name="dense")


def kept_per_chunk(chunk_starts: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """int64 [C], how many entries each chunk may have: ``k`` of 4,096, a short chunk its share, rounded up."""
    return -(-np.diff(chunk_starts) * k // CHUNK)


def check_length(what: str, found: bytes, expected: int) -> None:
    """Refuse an array of a segment that is not of the one length it can have.

    Raises:
        TruncatedUpdateError, NonCanonicalUpdateError
    """
    if len(found) < expected:
        raise TruncatedUpdateError(f"{len(found)} bytes of {what}, expected {expected}. Send the update again.")
    if len(found) > expected:
        raise NonCanonicalUpdateError(f"{len(found)} bytes of {what}, expected {expected}. Encode the update again.")
