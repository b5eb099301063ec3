"""When the compiled loops may be used on tensors, and what they are told of them.

A loop reads addresses, so everything that would make an address wrong is asked here.

K  rows
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from barnraise import native
from barnraise.native import dense

__all__ = ["loop_rows", "new_output"]

KINDS = {
    torch.float32: dense.KINDS["float32"],
    torch.bfloat16: dense.KINDS["bfloat16"],
    torch.float16: dense.KINDS["float16"],
}
LARGE = 1 << 22  # bytes


def loop_rows(rows: Sequence[Tensor], out: Tensor | None = None) -> dense.Rows | None:
    """The rows as the loops want them, or None if plain torch must do the work.

    Args:
        rows: K tensors [P], of one size.
        out: where a loop is to write.
    """
    written = [] if out is None else [out]
    if not native.available() or not all(_addressable(tensor) for tensor in [*rows, *written]):
        return None
    return dense.Rows([row.data_ptr() for row in rows], [KINDS[row.dtype] for row in rows], rows[0].numel())


def new_output(size: int, device: torch.device) -> Tensor:
    """An empty float32 [size], in large pages if it is large."""
    made = torch.empty(size, dtype=torch.float32, device=device)
    if device.type == "cpu" and 4 * size >= LARGE and native.available():
        dense.prefer_large_pages(made.data_ptr(), 4 * size)
    return made


def _addressable(tensor: Tensor) -> bool:
    plain = tensor.device.type == "cpu" and tensor.dtype in KINDS and tensor.is_contiguous() and not tensor.is_neg()
    return plain and tensor.data_ptr() % tensor.element_size() == 0
