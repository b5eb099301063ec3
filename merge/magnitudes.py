"""How large the elements of a tensor are, as counts that add up: for dropping the smallest or largest.

A float32 magnitude is ordered like its bits. Counting them by their upper 16 bits takes one
pass over a tensor that may come in blocks; the counts of blocks are added. With them, the
value from which on a given number of elements is larger is known to 8 significant bits:
elements that agree so far are kept or dropped together, at most a few in a thousand. Where
that is not good enough and the tensor can be read again, a second pass over just the
elements at the boundary (:class:`MagnitudeRefiner`) makes it exact.

B  bins: ranges of magnitudes, of which some element is in each
P  elements of a block
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from barnraise import native
from barnraise.native import prune as loops

__all__ = ["MagnitudeCounter", "MagnitudeRefiner", "Magnitudes", "refined"]

T = TypeVar("T")

KEYS = loops.KEYS
_SIGN_OFF = 0x7FFFFFFF
_LOWER = 0xFFFF


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """Counts of magnitudes.

    Attributes:
        edges_B: int32 [B], ascending, the bits of the lowest magnitude of each bin. A bin ends
            where the upper 16 bits change, or holds one magnitude only where it was refined.
        counts_B: int64 [B], how many elements are in each.
    """

    edges_B: Tensor
    counts_B: Tensor
    _known: dict[Hashable, object] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, values_P: Tensor) -> Magnitudes:
        """Count a block, float32 [P], finite."""
        counter = MagnitudeCounter()
        counter.add(values_P)
        return counter.magnitudes()

    @classmethod
    def total(cls, parts: Sequence[Magnitudes]) -> Magnitudes:
        """The counts of all blocks together."""
        edges_B, where = torch.unique(torch.cat([part.edges_B for part in parts]), return_inverse=True)
        counts_B = torch.zeros(len(edges_B), dtype=torch.int64)
        counts_B.index_add_(0, where, torch.cat([part.counts_B for part in parts]))
        return cls(edges_B, counts_B)

    @property
    def elements(self) -> int:
        return int(self.counts_B.sum())

    def largest(self, count: int) -> float:
        """The magnitude from which on elements belong to the ``count`` largest, ties included.

        0.0 if that is all of them, infinity if it is none.
        """
        if count <= 0:
            return float("inf")
        return 0.0 if count >= self.elements else _magnitude(int(self.edges_B[self._bin_of(count)]))

    def beyond(self, count: int) -> float:
        """The magnitude from which on there are at most ``count`` elements, ties left out; 0.0 if that is all."""
        if count >= self.elements:
            return 0.0
        above = self._bin_of(count + 1) + 1
        return _magnitude(int(self.edges_B[above])) if above < len(self.edges_B) else float("inf")

    def upper_at(self, count: int) -> int:
        """Upper 16 bits of the magnitude that is number ``count`` from the top; 1 <= count <= elements."""
        return int(self.edges_B[self._bin_of(count)]) >> 16

    def ranks(self) -> Tensor:
        """By upper 16 bits of a magnitude, the share of elements that are smaller, ties counted half.

        Returns:
            float64 [KEYS] in [0, 1]; 0.0 where there is no element.
        """
        counts = torch.zeros(KEYS, dtype=torch.int64)
        counts.index_add_(0, (self.edges_B >> 16).to(torch.int64), self.counts_B)
        twice_below = 2 * counts.cumsum(0) - counts
        return torch.where(counts > 0, twice_below.to(torch.float64) / (2 * max(1, self.elements)), 0.0)

    def known(self, key: Hashable, find: Callable[[Magnitudes], T]) -> T:
        """What ``find`` makes of the counts, found once: a tensor that comes in many blocks asks for each."""
        if key not in self._known:
            self._known[key] = find(self)
        return cast("T", self._known[key])

    @classmethod
    def _of_table(cls, counts: Tensor, shift: int, offset: int) -> Magnitudes:
        found_B = torch.nonzero(counts).view(-1)
        return cls(((found_B << shift) + offset).to(torch.int32), counts[found_B])

    def _bin_of(self, count: int) -> int:
        """In which bin number ``count`` from the top is."""
        from_top_B = self.counts_B.flip(0).cumsum(0)
        return len(self.edges_B) - 1 - int(torch.searchsorted(from_top_B, count))


class MagnitudeCounter:
    """Counts a tensor that comes in blocks: the table is there once and not once a block."""

    def __init__(self) -> None:
        self._counts = np.zeros(KEYS, dtype=np.int64)

    def add(self, values_P: Tensor) -> None:
        """Count a block too, float32 [P], finite."""
        if _in_reach(values_P):
            loops.count_magnitudes(values_P.data_ptr(), values_P.numel(), self._counts)
        else:
            self._counts += torch.bincount(_uppers(values_P), minlength=KEYS).cpu().numpy()

    def magnitudes(self) -> Magnitudes:
        """Of everything that was added so far."""
        return Magnitudes._of_table(torch.from_numpy(self._counts), 16, 0)


class MagnitudeRefiner:
    """Makes magnitudes exact at some boundaries, while the tensor comes a second time in blocks."""

    def __init__(self, coarse: Magnitudes, cuts: Iterable[int]) -> None:
        """Between the ``cuts`` largest elements and the rest.

        Args:
            coarse: of the whole tensor.
            cuts: numbers of elements, counted from the largest.
        """
        places = [cut for cut in cuts if 1 <= cut <= coarse.elements]
        self._coarse = coarse
        self._tables = {upper: np.zeros(1 << 16, dtype=np.int64) for upper in {coarse.upper_at(at) for at in places}}

    def add(self, values_P: Tensor) -> None:
        """Look at a block again, float32 [P]."""
        for upper, table in self._tables.items():
            if _in_reach(values_P):
                loops.count_within(values_P.data_ptr(), values_P.numel(), upper, table)
            else:
                bits_P = values_P.view(torch.int32) & _SIGN_OFF
                inside = bits_P[(bits_P >> 16) == upper] & _LOWER
                table += torch.bincount(inside.to(torch.int64), minlength=len(table)).cpu().numpy()

    def magnitudes(self) -> Magnitudes:
        """Of the whole tensor, with bins of one magnitude each around the boundaries."""
        finer = [Magnitudes._of_table(torch.from_numpy(t), 0, upper << 16) for upper, t in self._tables.items()]
        others = torch.ones_like(self._coarse.edges_B, dtype=torch.bool)
        for upper in self._tables:
            others &= (self._coarse.edges_B >> 16) != upper
        rest = Magnitudes(self._coarse.edges_B[others], self._coarse.counts_B[others])
        return Magnitudes.total([rest, *finer])


def refined(coarse: Magnitudes, cuts: Iterable[int], blocks: Iterable[Tensor]) -> Magnitudes:
    """Magnitudes that are exact at boundaries, from the tensor again in any blocks; see :class:`MagnitudeRefiner`."""
    refiner = MagnitudeRefiner(coarse, cuts)
    for block_P in blocks:
        refiner.add(block_P)
    return refiner.magnitudes()


def _in_reach(values_P: Tensor) -> bool:
    return values_P.device.type == "cpu" and values_P.is_contiguous() and native.available()


def _uppers(values_P: Tensor) -> Tensor:
    return ((values_P.view(torch.int32) & _SIGN_OFF) >> 16).to(torch.int64)


def _magnitude(bits: int) -> float:
    return float(torch.tensor(bits, dtype=torch.int32).view(torch.float32))
