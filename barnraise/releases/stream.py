"""Bytes on their way: what a source hands over, the interface that fetching asks of it, and a cap on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from barnraise.errors import VerificationError
from barnraise.message import BlobRef

__all__ = ["PIECE_BYTES", "BlobGiver", "BlobStream", "capped"]

PIECE_BYTES = 256 << 10

B = TypeVar("B", bytes, bytearray)


@dataclass(frozen=True, slots=True)
class BlobStream:
    """A blob, or a part of it, as it comes.

    Attributes:
        at: offset in the blob of the first byte.
        whole: whether it is the whole blob, although less was asked for: a server that ignores ranges.
        pieces: at most ``PIECE_BYTES`` each, to be written as they come. Nobody promises how many
            there are: they may end early, or go on for ever.
    """

    at: int
    pieces: Iterator[bytes]
    whole: bool = False


class BlobGiver(Protocol):
    """Whoever has blobs. Not trusted: whoever asks verifies."""

    @property
    def label(self) -> str:
        """How to name it in a message."""

    def open_blob(self, blob: BlobRef, start: int, stop: int) -> AbstractContextManager[BlobStream]:
        """Ask for the bytes from ``start`` to ``stop``, exclusive.

        A source that ignores such wishes answers with the ``whole`` blob, ``at`` 0.

        Raises (also while the pieces are read):
            BlobMissingError, RefusedError: it is not handed over.
            UnreachableError: no answer, or the connection broke.
        """


def capped(data: B, most: int, what: str) -> B:
    """``data``, if it is not larger than ``most`` bytes.

    Raises:
        VerificationError: it is.
    """
    if len(data) > most:
        raise VerificationError(f"{what} has more than {most:,} bytes; that is not one of ours. Use another mirror")
    return data
