"""The update file: a header, an offset table, and byte arrays cut by it into segments.

Reading is in two steps. :meth:`Update.parse` checks the frame (sizes, header, base, offsets)
and allocates nothing that grows with what the file claims. :meth:`Update.decode` then decodes
one segment, which needs memory for that segment only, and refuses all but its one encoding.

S  segments
N  entries of one segment
P  elements of one segment
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import (
    NonCanonicalUpdateError,
    OversizedUpdateError,
    TruncatedUpdateError,
    UnsupportedFormatError,
    WrongBaseError,
)
from barnraise.native.codec import PackedUpdate
from barnraise.update_config import CodecConfig
from barnraise.updates.carrier import carrier_of
from barnraise.updates.codec import EncodedSegment, canonical_codec
from barnraise.updates.decode import decode_fisher, decode_segment, sparse_segment
from barnraise.updates.header import ARRAYS, Header, Role
from barnraise.updates.reading import Reading
from barnraise.updates.scope import EVERYWHERE, Carrier, Scope
from barnraise.updates.space import ParameterSpace

__all__ = ["Update", "write_update"]


def write_update(
    space: ParameterSpace,
    base_digest: str,
    codec: CodecConfig,
    segments: Sequence[EncodedSegment],
    *,
    role: Role,
    carrier: Carrier | None = None,
) -> bytes:
    """The one file of a change.

    Args:
        space: layout of base and change.
        base_digest: digest of the model that the change is against.
        codec: how the segments were encoded.
        segments: all S of them, in order, as ``merge.compress`` returns them; a Fisher with all or none.
        role: ``update`` (a contribution), ``patch`` (a release's change) or ``mask``.
        carrier: what the segments hold; the change of every element if None.
    """
    carried = space if carrier is None else carrier.space
    assert len(segments) == carried.segment_count, (len(segments), carried.segment_count)
    columns: list[list[bytes]] = [[getattr(segment, name) for segment in segments] for name in ARRAYS]
    fishers = [segment.fisher for segment in segments if segment.fisher is not None]
    if fishers:
        assert role == "update", role
        assert len(fishers) == len(segments), (len(fishers), len(segments))
        columns.append(fishers)
    offsets = np.zeros((len(columns), len(segments) + 1), dtype="<i8")
    for row, parts in enumerate(columns):
        offsets[row, 1:] = np.cumsum([len(part) for part in parts], dtype=np.int64)
    header = Header(
        role=role,
        base=base_digest,
        space=space.digest,
        codec=canonical_codec(codec),
        segments=len(segments),
        sizes=tuple(offsets[:, -1].tolist()),
        fisher=bool(fishers),
        scope=EVERYWHERE if carrier is None else carrier.scope,
    )
    return b"".join([header.encode(), offsets.tobytes(), *(part for parts in columns for part in parts)])


@dataclass(frozen=True)
class Update:
    """A file whose frame is checked. Its segments are checked as they are decoded.

    Attributes:
        codec: as :func:`barnraise.updates.canonical_codec` returns it.
        base_digest: the model that the change is against.
        role: ``update`` or ``patch``.
        has_fisher: whether :meth:`fisher` may be asked for.
        carrier: what the arrays hold; None where it is the change of every element.
    """

    space: ParameterSpace
    codec: CodecConfig
    base_digest: str
    role: Role
    has_fisher: bool
    carrier: Carrier | None
    _data: memoryview
    _arrays: tuple[memoryview, ...]
    _offsets: NDArray[np.int64]

    @classmethod
    def parse(
        cls,
        data: bytes | bytearray | memoryview | mmap.mmap,
        space: ParameterSpace,
        *,
        base_digest: str | None,
        max_bytes: int | None = None,
        mask: Carrier | None = None,
    ) -> Update:
        """Check the frame of an update file.

        Args:
            data: the whole file; it is kept by reference and must not change.
            space: layout of the base.
            base_digest: the base that is expected, or None if any will do.
            max_bytes: refuse a larger file before anything else.
            mask: the run's; an update under another one is refused.

        Raises:
            TruncatedUpdateError, OversizedUpdateError: too few or too many bytes.
            UnsupportedFormatError, NonCanonicalUpdateError: not an update, or not in its one encoding.
            WrongBaseError: against another base, or another layout.
        """
        view = memoryview(data).toreadonly().cast("B")
        if max_bytes is not None and len(view) > max_bytes:
            raise OversizedUpdateError(f"{len(view)} bytes, at most {max_bytes} are accepted. Lower k or bits.")
        header, begin = Header.decode(view)
        _check_base(header, space, base_digest)
        carrier = carrier_of(header.scope, space, mask)
        wanted = (space if carrier is None else carrier.space).segment_count
        if header.segments != wanted:
            raise UnsupportedFormatError(f"{header.segments} segments, such an update of the base has {wanted}")
        _check_size(len(view), begin + header.data_bytes)
        ends = np.cumsum([begin + header.offsets_bytes, *header.sizes])
        arrays = tuple(view[start:end] for start, end in pairwise(ends))
        offsets = _read_offsets(view[begin : begin + header.offsets_bytes], header)
        if carrier is not None:
            _check_empty(offsets, carrier.space)
        return cls(
            space=space,
            codec=header.codec,
            base_digest=header.base,
            role=header.role,
            has_fisher=header.fisher,
            carrier=carrier,
            _data=view,
            _arrays=arrays,
            _offsets=offsets,
        )

    @cached_property
    def digest(self) -> str:
        """Digest of the file."""
        return digest_bytes(self._data)

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return len(self._data)

    @property
    def packable(self) -> bool:
        """Whether :meth:`packed` may be asked for."""
        return self.codec.name == "topk" and self.carrier is None

    @property
    def chosen(self) -> tuple[bool, ...]:
        """Which tensors of the base it addresses."""
        return (True,) * len(self.space.tensors) if self.carrier is None else self.carrier.chosen

    @property
    def scope(self) -> Scope:
        """What it is about, as its header names it."""
        return EVERYWHERE if self.carrier is None else self.carrier.scope

    @property
    def carried(self) -> ParameterSpace:
        """Layout of what the arrays hold."""
        return self.space if self.carrier is None else self.carrier.space

    def segment(self, index: int) -> EncodedSegment:
        """The bytes of one segment of what the arrays hold, not checked."""
        levels, scales, support, *fisher = (
            bytes(array[start:end])
            for array, start, end in zip(
                self._arrays, self._offsets[:, index], self._offsets[:, index + 1], strict=True
            )
        )
        return EncodedSegment(support, levels, scales, *fisher)

    def packed(self) -> PackedUpdate:
        """Where the compiled loops find what :meth:`segment` cuts; only if :attr:`packable`."""
        assert self.packable, (self.codec.name, self.carrier)
        levels, scales, support = self._arrays[: len(ARRAYS)]
        return PackedUpdate(levels, scales, support, self._offsets[: len(ARRAYS)], self.codec.k)

    def decode(self, index: int) -> NDArray[np.float32]:
        """The change of every element of one segment of the base, float32 [P], finite.

        Raises:
            UpdateError: not the one encoding of a finite change.
        """
        if self.carrier is None:
            return self._decoded(index)
        return self.carrier.expand(index, self.reading)

    def sparse(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions int64 [N] in one segment of the base, strictly increasing, and values float32 [N].

        Raises:
            UpdateError: as :meth:`decode`.
        """
        if self.carrier is None:
            return sparse_segment(self.segment(index), self.space.segment_chunk_starts(index), self.codec)
        positions_N = self.carrier.positions(index)
        return positions_N, self.carrier.values(index, self.reading)

    def fisher(self, index: int) -> NDArray[np.float32]:
        """How sure the update is of every element of one segment, float32 [P], finite; 0 where it names none.

        Raises:
            UpdateError: not the one encoding of a Fisher.
        """
        if self.carrier is None:
            return self._fisher(index)
        return self.carrier.expand(index, Reading(self.carried, self._fisher))

    def validate(self) -> None:
        """Decode everything, one segment after the other.

        Raises:
            UpdateError: the first that is wrong.
        """
        for index in range(self.carried.segment_count):
            self._decoded(index)
            if self.has_fisher:
                self._fisher(index)
        if self.carrier is not None:
            for index in range(self.space.segment_count):
                self.decode(index)

    @cached_property
    def reading(self) -> Reading:
        """Ranges of what the arrays hold: ``reading(start, end)``, float32.

        Raises:
            UpdateError: when it is called, and a segment that is needed is wrong.
        """
        return Reading(self.carried, self._decoded)

    def _decoded(self, index: int) -> NDArray[np.float32]:
        return decode_segment(self.segment(index), self.carried.segment_chunk_starts(index), self.codec)

    def _fisher(self, index: int) -> NDArray[np.float32]:
        return decode_fisher(self.segment(index), self.carried.segment_chunk_starts(index), self.codec)


def _check_base(header: Header, space: ParameterSpace, base_digest: str | None) -> None:
    if base_digest is not None and header.base != base_digest:
        raise WrongBaseError(
            f"the update is against {header.base[:15]}.., expected {base_digest[:15]}.. Pull that base and train again."
        )
    if header.space != space.digest:
        raise WrongBaseError(
            f"the update is for layout {header.space[:15]}.., expected {space.digest[:15]}.. Pull the base again."
        )


def _check_size(found: int, expected: int) -> None:
    if found < expected:
        raise TruncatedUpdateError(f"{found} bytes, the header announces {expected}. Send the update again.")
    if found > expected:
        raise OversizedUpdateError(f"{found} bytes, the header announces {expected}. Nothing may follow the arrays.")


def _check_empty(offsets: NDArray[np.int64], space: ParameterSpace) -> None:
    """Segments without elements are never decoded, so what they say must be nothing."""
    if space.cuts:
        empty = np.diff(space.cuts) == 0
        if np.diff(offsets, axis=1)[:, empty].any():
            raise NonCanonicalUpdateError("a segment of which nothing is addressed has bytes. Write the update again.")


def _read_offsets(data: memoryview, header: Header) -> NDArray[np.int64]:
    """int64 [number of arrays, S + 1]: each row from 0 to the array's size without going back."""
    offsets = np.frombuffer(data, dtype="<i8").reshape(len(header.arrays), header.segments + 1)
    rows_fit = (offsets[:, 0] == 0).all() and (offsets[:, -1] == header.sizes).all()
    if not rows_fit or (offsets[:, 1:] < offsets[:, :-1]).any():
        raise NonCanonicalUpdateError("the offsets do not cut the arrays into segments. Write the update again.")
    return np.require(offsets, np.int64, "A")  # a copy where the file begins at an odd address: loops read whole words
