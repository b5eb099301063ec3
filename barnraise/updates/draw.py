"""A random subset, drawn one element after the other, as symbols for a range coder.

Of ``size`` places ``left`` are chosen, all subsets being equally likely. The first chosen place is
``p`` or later with probability ``C(size - p, left) / C(size, left)``, and what follows is a
smaller subset of the places after it. Written with these probabilities a subset would cost
``log2(C(size, left))`` bits, its entropy.

What is written comes from a table, so that decoding is one look-up. A table serves draws that
are nearly alike (draw_tables.py): an eighth of an octave of ``size / left`` is a column, half an
octave of ``left`` a row. From sixteen places for each chosen one on, places are counted in units of
``2 ** unit_log``, so that one column serves all octaves. A table has buckets of 1, 2, 4 .. units
that share its ``SLOTS`` slots, as often as an entry falls into each, and where in its bucket an
entry lies is written as it is. That costs 0.01 to 0.03 bits an entry more than the entropy.

N  draws that are encoded at once
T  tables
U  units of a table that may begin a bucket

Source: symbols for buckets with bits as they are, as in Deutsch 1996, "DEFLATE Compressed Data Format", RFC 1951.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.draw_tables import COLUMNS, ROWS, UNITS, bucket_starts, draw_tables, fields_of
from barnraise.updates.tables import log_factorials

__all__ = ["Bucket", "Symbols", "find", "subset_bits", "symbols_of"]


@dataclass(frozen=True)
class Bucket:
    """Places that share a symbol.

    Attributes:
        start, width: slots of the symbol.
        first: the first place.
        bits: where an entry lies in the bucket is written with so many bits.
    """

    start: int
    width: int
    first: int
    bits: int


@dataclass(frozen=True)
class Symbols:
    """What is written for some draws, int64 [N] each: slots of ``SLOTS``, then ``rests`` with ``bits`` bits."""

    starts: NDArray[np.int64]
    widths: NDArray[np.int64]
    bits: NDArray[np.int64]
    rests: NDArray[np.int64]


def subset_bits(sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """``log2(C(size, left))`` with ``FRACTION`` fraction bits, int64 [N]; sizes up to 4,096."""
    table = log_factorials()
    bits: NDArray[np.uint32] = table[sizes_N] - table[lefts_N] - table[sizes_N - lefts_N]
    return bits.astype(np.int64)


def symbols_of(sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64], places_N: NDArray[np.int64]) -> Symbols:
    """The symbols of "the first chosen place is ``place``", for draws that have a choice."""
    tables_N, unit_logs_N = _classes(sizes_N, lefts_N)
    units_N = np.minimum(places_N >> unit_logs_N, UNITS - 1)
    starts_N = bucket_starts()[tables_N, units_N].astype(np.int64)
    widths_N, _, firsts_N, logs_N = fields_of(draw_tables()[tables_N, starts_N].astype(np.int64))
    return Symbols(starts_N, widths_N, logs_N + unit_logs_N, places_N - (firsts_N << unit_logs_N))


def find(size: int, left: int, slot: int) -> Bucket:
    """The bucket that has a slot of a draw that has a choice."""
    eighth, row = _steps(8 * size // left, 3), _steps(2 * left, 1)
    column = min(eighth, eighth & 7 | COLUMNS - 8)
    unit_log = (eighth - column) >> 3
    word = draw_tables()[min(row, ROWS - 1) * COLUMNS + column, slot]
    width, within, first, log = (int(field) for field in fields_of(word))
    return Bucket(slot - within, width, first << unit_log, log + unit_log)


def _steps(value: int, fraction: int) -> int:
    """Octaves of ``value / 2 ** fraction``, in ``2 ** fraction`` steps each, rounded down."""
    octave = value.bit_length() - 1 - fraction
    return (octave << fraction) + (value >> octave) - (1 << fraction)


def _classes(sizes_N: NDArray[np.int64], lefts_N: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Table and ``unit_log`` of each draw, int64 [N] each: what :func:`find` computes for one."""
    eighths_N, rows_N = _all_steps(8 * sizes_N // lefts_N, 3), _all_steps(2 * lefts_N, 1)
    columns_N = np.minimum(eighths_N, eighths_N & 7 | COLUMNS - 8)
    return np.minimum(rows_N, ROWS - 1) * COLUMNS + columns_N, (eighths_N - columns_N) >> 3


def _all_steps(values_N: NDArray[np.int64], fraction: int) -> NDArray[np.int64]:
    """As :func:`_steps`: they are the exponent of a float32 and its highest bits."""
    bits_N = values_N.astype(np.float32).view(np.int32).astype(np.int64)
    steps_N: NDArray[np.int64] = (bits_N >> (23 - fraction)) - ((127 + fraction) << fraction)
    return steps_N
