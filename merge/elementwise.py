"""Combine rows element by element: weighted sum, median, trimmed mean, mean of what is nearest the median.

The rows are not stacked: each is read where it lies (often in a memory-mapped file), once,
and nothing but the output is allocated, however many rows there are. The compiled
loops do it where they can (:mod:`merge.loops`), else plain torch does, block by block, as on
a GPU. Both give the same bits on every machine and however the elements are cut: multiplies
and adds are separate float32 operations in a stated order. Where two zeros of different sign
meet in a comparison either may come first, so everything that was sorted ends with adding
0.0.

K  rows: one update or model each
P  elements, flattened
B  elements of a block

Source: Yin et al. 2018 (median, trimmed mean), https://arxiv.org/abs/1803.01498;
El Mhamdi et al. 2018 (nearest the median: Bulyan's second stage), https://arxiv.org/abs/1802.07927
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from barnraise.native import dense
from merge.loops import loop_rows, new_output
from merge.sorting import network, sort_rows

__all__ = ["median", "near_median_mean", "trimmed_mean", "weighted_sum"]

CPU_BLOCK = 1 << 15  # 128 KiB of each row: a block of 16 of them stays in the second-level cache
DEVICE_BLOCK = 1 << 20  # enough to occupy a GPU, little beside its memory
FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def weighted_sum(rows: Sequence[Tensor], factors: Tensor, out: Tensor | None = None) -> Tensor:
    """``((row_0 * factor_0) + row_1 * factor_1) + ...``, in the order of the rows.

    A row whose factor is exactly 0 is skipped: it is not read, so not even its zeros' signs
    count. If every factor is 0 the result is 0.0 everywhere.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16 (converted to float32, which is exact).
        factors: float32 [K], finite.
        out: float32 [P] to write to; overlaps no row.

    Returns:
        float32 [P]: ``out``, or a new tensor.

    Raises:
        RuntimeError: there are no rows, or they differ in size, or a dtype is another.
    """
    result_P = _result(rows, out)
    used = [
        (row_P, factor) for row_P, factor in zip(rows, factors.to(torch.float32).tolist(), strict=True) if factor != 0
    ]
    if not used:
        return result_P.zero_()
    used_rows = [row_P for row_P, _ in used]
    native_rows = loop_rows(used_rows, result_P)
    if native_rows is not None:
        dense.weighted_sum(native_rows, [factor for _, factor in used], result_P.data_ptr())
        return result_P

    def combine(blocks: list[Tensor], result_B: Tensor) -> None:
        torch.mul(blocks[0], used[0][1], out=result_B)
        scaled_B = torch.empty_like(result_B)
        for block_B, (_, factor) in zip(blocks[1:], used[1:], strict=True):
            result_B.add_(torch.mul(block_B, factor, out=scaled_B))

    return _in_blocks(used_rows, result_P, combine)


def trimmed_mean(rows: Sequence[Tensor], drop: int, out: Tensor | None = None) -> Tensor:
    """At every element, the mean of the values that remain when ``drop`` at each end are left out.

    They are added in ascending order, and the sum is divided by their number.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16, finite.
        drop: values left out at each end; 2 * drop < K.
        out: float32 [P] to write to; overlaps no row.

    Returns:
        float32 [P]: ``out``, or a new tensor.

    Raises:
        RuntimeError: nothing would remain, or the rows do not fit together.
    """
    result_P = _result(rows, out)
    if not 0 <= 2 * drop < len(rows):
        raise RuntimeError(f"cannot drop {drop} of {len(rows)} values at each end")
    native_rows = loop_rows(rows, result_P)
    if native_rows is not None:
        dense.sorted_mean(native_rows, network(len(rows)), drop, 0, result_P.data_ptr())
        return result_P

    def combine(blocks: list[Tensor], result_B: Tensor) -> None:
        kept = sort_rows(blocks)[drop : len(blocks) - drop]
        torch.add(_mean(kept, len(kept)), 0.0, out=result_B)

    return _in_blocks(rows, result_P, combine)


def median(rows: Sequence[Tensor], out: Tensor | None = None) -> Tensor:
    """At every element the middle value; of an even number, half the sum of the two in the middle.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16, finite.
        out: float32 [P] to write to; overlaps no row.

    Returns:
        float32 [P]: ``out``, or a new tensor.

    Raises:
        RuntimeError: the rows do not fit together.
    """
    return trimmed_mean(rows, (len(rows) - 1) // 2, out)


def near_median_mean(rows: Sequence[Tensor], keep: int, out: Tensor | None = None) -> Tensor:
    """At every element, the mean of the ``keep`` values that are nearest the median.

    The nearest ones are neighbours in sorted order, so the window of the ``keep`` lowest
    slides up while ``comer - median < median - leaver`` for the value that would come in and
    the one that would go out, as float32 differences from the median that :func:`median`
    defines. So of two that are equally near, one on each side, the lower one stays. The
    values are added in ascending order, and the sum is divided by ``keep``.

    Args:
        rows: K tensors [P], float32, bfloat16 or float16, finite.
        keep: values to keep, 1 to K.
        out: float32 [P] to write to; overlaps no row.

    Returns:
        float32 [P]: ``out``, or a new tensor.

    Raises:
        RuntimeError: ``keep`` is out of range, or the rows do not fit together.
    """
    result_P = _result(rows, out)
    if not 1 <= keep <= len(rows):
        raise RuntimeError(f"cannot keep {keep} of {len(rows)} values")
    native_rows = loop_rows(rows, result_P)
    if native_rows is not None:
        dense.sorted_mean(native_rows, network(len(rows)), 0, keep, result_P.data_ptr())
        return result_P

    def combine(blocks: list[Tensor], result_B: Tensor) -> None:
        torch.add(_mean(_window(sort_rows(blocks), keep), keep), 0.0, out=result_B)

    return _in_blocks(rows, result_P, combine)


def _window(ordered: list[Tensor], keep: int) -> list[Tensor]:
    """The sorted rows with 0.0 wherever a value is not among the ``keep`` nearest the median."""
    count = len(ordered)
    drop = (count - 1) // 2
    middle = ordered[drop : count - drop]
    median_B = _mean(middle, len(middle))
    # slides[r]: the window moves past rank r. True up to some rank and false from there on.
    slides = [(ordered[rank + keep] - median_B) < (median_B - ordered[rank]) for rank in range(count - keep)]
    windowed = []
    for rank, value_B in enumerate(ordered):
        kept_B = value_B
        if rank >= keep:
            kept_B = torch.where(slides[rank - keep], kept_B, 0.0)
        if rank < count - keep:
            kept_B = torch.where(slides[rank], 0.0, kept_B)
        windowed.append(kept_B)
    return windowed


def _mean(values: Sequence[Tensor], divisor: int) -> Tensor:
    """The sum in the order given, divided by ``divisor``."""
    total_B = values[0]
    for value_B in values[1:]:
        total_B = torch.add(total_B, value_B)
    # As a tensor: a GPU divides by a plain number through its reciprocal, which rounds twice.
    return torch.div(total_B, torch.tensor(float(divisor), device=total_B.device))


def _in_blocks(rows: Sequence[Tensor], result_P: Tensor, combine: Callable[[list[Tensor], Tensor], None]) -> Tensor:
    """Fill the result block by block with ``combine``, which is given float32 blocks of all rows."""
    block = CPU_BLOCK if result_P.device.type == "cpu" else DEVICE_BLOCK
    for start in range(0, result_P.numel(), block):
        span = slice(start, start + block)
        combine([row_P[span].to(torch.float32) for row_P in rows], result_P[span])
    return result_P


def _result(rows: Sequence[Tensor], out: Tensor | None) -> Tensor:
    """Where the result goes, after making sure that the rows fit together.

    Raises:
        RuntimeError: they do not.
    """
    if not rows:
        raise RuntimeError("there are no rows to combine")
    shape, device = rows[0].shape, rows[0].device
    for row_P in rows:
        if row_P.ndim != 1 or row_P.shape != shape or row_P.device != device or row_P.dtype not in FLOATS:
            raise RuntimeError(
                f"a row is {row_P.dtype} {list(row_P.shape)} on {row_P.device}, expected "
                f"float32, bfloat16 or float16 {list(shape)} on {device}"
            )
    if out is None:
        return new_output(rows[0].numel(), device)
    if out.shape != shape or out.device != device or out.dtype != torch.float32:
        raise RuntimeError(f"out is {out.dtype} {list(out.shape)}, expected torch.float32 {list(shape)}")
    return out
