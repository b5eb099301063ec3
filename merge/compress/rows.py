"""A segment as a matrix with one chunk a row, short chunks filled up, and back.

C  chunks of the segment
W  elements of its longest chunk
P  elements of the segment
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """How the chunks of a segment lie in a matrix.

    Attributes:
        valid_CW: bool, where a row holds an element; None if all of it does.
    """

    chunks: int
    width: int
    valid_CW: Tensor | None

    @classmethod
    def of(cls, chunk_starts: NDArray[np.int64], device: torch.device) -> Rows:
        sizes_C = torch.from_numpy(np.diff(chunk_starts)).to(device)
        width = int(sizes_C.max())
        full = bool((sizes_C == width).all())
        valid_CW = None if full else torch.arange(width, device=device) < sizes_C[:, None]
        return cls(len(sizes_C), width, valid_CW)

    def spread(self, values_P: Tensor, fill: float) -> Tensor:
        """[C, W]: each chunk in its row, ``fill`` behind short ones."""
        if self.valid_CW is None:
            return values_P.view(self.chunks, self.width)
        rows_CW = values_P.new_full((self.chunks, self.width), fill)
        rows_CW[self.valid_CW] = values_P
        return rows_CW

    def gather(self, rows_CW: Tensor) -> Tensor:
        """[P]: inverse of :meth:`spread`."""
        return rows_CW.reshape(-1) if self.valid_CW is None else rows_CW[self.valid_CW]
