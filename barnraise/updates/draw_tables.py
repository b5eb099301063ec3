"""What a draw's symbols are fitted to: a table for each class of draws that are nearly alike.

Everything is computed from integers, so that every machine has the same tables. They are as much
a part of the format as the codecs are: another table is another format.

B  buckets of a table
R  draws that tables are fitted to
S  slots
T  tables: rows times columns
U  units of a table that may begin a bucket

Source: Webster's method of sharing out, Balinski and Young 1982, "Fair Representation".
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from barnraise.updates.tables import FRACTION, log_factorials, powers

__all__ = [
    "COLUMNS",
    "ROWS",
    "SLOTS",
    "SLOTS_LOG",
    "UNITS",
    "bucket_starts",
    "compiled_tables",
    "draw_tables",
    "fields_of",
]

SLOTS_LOG = 9
SLOTS = 1 << SLOTS_LOG
UNITS = 256
ROWS = 11  # left = 1, none, 2, 3, 4, 6, 8, 12, 16, 24, 32 and more
OCTAVES = 4  # of size / left; the last one serves all that follow, in larger units
COLUMNS = 8 * OCTAVES
_LARGEST = 4096
_COARSEST = 4  # unit_log that the last octave is fitted to, at most
_TYPICAL = 48  # left that the last row is fitted to
_EACH = 2  # sizes that a table is fitted to, for each number that is left


@cache
def draw_tables() -> NDArray[np.uint32]:
    """uint32 [T, SLOTS]: what each slot says.

    From the lowest bit on: the width of its bucket (10 bits), the slot within its bucket (9), the
    bucket's first unit (8), and the logarithm of its units (4). Table 0 is for draws without a
    choice: one bucket of one place, which leaves a coder's state alone.
    """
    tables = np.zeros((ROWS * COLUMNS, SLOTS), dtype=np.uint32)
    tables[0] = _words(SLOTS, np.arange(SLOTS), 0, 0)
    later_TU = _later()
    used = np.flatnonzero(later_TU[:, 0]).tolist()
    buckets = [_buckets(later_TU[table].tolist(), _last_unit(table)) for table in used]
    masses_TB = np.zeros((len(used), max(len(firsts) for firsts, _ in buckets)), dtype=np.int64)
    for mass_B, table, (firsts, _) in zip(masses_TB, used, buckets, strict=True):
        mass_B[: len(firsts)] = np.diff(-later_TU[table][[*firsts, UNITS]])
    widths_TB = _widths(masses_TB, np.array([len(firsts) for firsts, _ in buckets]))
    for table, width_B, (firsts, logs) in zip(used, widths_TB, buckets, strict=True):
        widths_B = width_B[: len(firsts)]
        buckets_S = np.repeat(np.arange(len(firsts)), widths_B)
        within_S = np.arange(SLOTS) - (np.cumsum(widths_B) - widths_B)[buckets_S]
        tables[table] = _words(widths_B[buckets_S], within_S, np.array(firsts)[buckets_S], np.array(logs)[buckets_S])
    return tables


def _words(
    widths: NDArray[np.int64] | int,
    within: NDArray[np.int64],
    firsts: NDArray[np.int64] | int,
    logs: NDArray[np.int64] | int,
) -> NDArray[np.uint32]:
    return (widths | within << 10 | firsts << 19 | logs << 27).astype(np.uint32)


def fields_of(words: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """What words of a table say: width, slot within the bucket, first unit, logarithm of the units."""
    return words & 1023, words >> 10 & 511, words >> 19 & 255, words >> 27


@cache
def bucket_starts() -> NDArray[np.uint16]:
    """uint16 [T, U], the first slot of the bucket that has a unit; beyond the last unit it is the last bucket's."""
    _, within_TS, firsts_TS, _ = fields_of(draw_tables().astype(np.int64))
    slots_TU = [np.searchsorted(firsts_S, np.arange(UNITS), side="right") - 1 for firsts_S in firsts_TS]
    return np.take_along_axis(np.arange(SLOTS) - within_TS, np.array(slots_TU), axis=1).astype(np.uint16)


@cache
def compiled_tables() -> NDArray[np.uint32]:
    """What the compiled loops need, one after the other, in the shape that they take it in.

    Logarithms of factorials; for pieces of 128 to 2,048 elements the bits of every number of
    entries; the draws' tables, and their starts, two to a number.
    """
    bits, starts = log_factorials(), bucket_starts().reshape(-1)
    shares = [bits[size] - bits[: size + 1] - bits[size::-1] for size in (128, 256, 512, 1024, 2048)]
    return np.concatenate([bits, *shares, draw_tables().reshape(-1), starts.view(np.uint32)])


# -- fitting ---------------------------------------------------------------------------


def _lefts(row: int) -> range:
    """What may be left where a row is used; in the last row, what it is fitted to."""
    if row == ROWS - 1:
        return range(_TYPICAL, _TYPICAL + 1)
    return range(_first_left(row), _first_left(row + 1))


def _first_left(row: int) -> int:
    """The first number of a row, which begins at ``2 ** (row / 2)`` or halfway to the next power of two."""
    return -(-((2 + (row & 1)) << (row >> 1)) // 2)


def _last_unit(table: int) -> int:
    """The last unit that a place may be in."""
    row, column = divmod(table, COLUMNS)
    if row == ROWS - 1:
        return _LARGEST - 1
    left = _lefts(row)[-1]
    end = -(-(left * (8 + column % 8 + 1) << column // 8) // 8)
    return end - 1 if column // 8 == OCTAVES - 1 else end - 1 - left


def _later() -> NDArray[np.int64]:
    """int64 [T, U + 1]: how often the first chosen place is in a unit or a later one, over some draws of a table."""
    draws = [
        (table, size, left, unit_log)
        for table in range(1, ROWS * COLUMNS)
        for left in _lefts(table // COLUMNS)
        for size, unit_log in _sizes(left, table % COLUMNS)
    ]
    tables_R, sizes_R, lefts_R, unit_logs_R = np.array(draws).T
    places_RU = np.arange(UNITS)[None, :] << unit_logs_R[:, None]
    after_RU = sizes_R[:, None] - places_RU
    possible_RU = after_RU >= lefts_R[:, None]
    after_RU = np.where(possible_RU, after_RU, lefts_R[:, None])
    factorials = log_factorials()
    whole_R = factorials[sizes_R] - factorials[sizes_R - lefts_R]
    rest_RU = factorials[after_RU] - factorials[after_RU - lefts_R[:, None]]
    chances_RU = np.where(possible_RU, _power((whole_R[:, None] - rest_RU).astype(np.int64)), 0)
    later_TU = np.zeros((ROWS * COLUMNS, UNITS + 1), dtype=np.int64)
    np.add.at(later_TU[:, :-1], tables_R, chances_RU)
    return later_TU


def _sizes(left: int, column: int) -> list[tuple[int, int]]:
    """Sizes that a column is fitted to, with their ``unit_log``: its first, and others evenly spaced."""
    octave, eighth = divmod(column, 8)
    unit_log = _COARSEST if octave == OCTAVES - 1 else 0
    while unit_log and left * (eighth + 9) << (octave + unit_log) > 8 * _LARGEST:
        unit_log -= 1
    first, end = (-(-(left * (8 + at) << (octave + unit_log)) // 8) for at in (eighth, eighth + 1))
    first, end = max(first, left + 1), min(end, _LARGEST + 1)
    return sorted({(first + at * (end - first) // _EACH, unit_log) for at in range(_EACH)}) if first < end else []


def _power(exponents: NDArray[np.int64]) -> NDArray[np.int64]:
    """``ONE * 2 ** -exponent``: a table with straight lines between its points."""
    table = powers().astype(np.int64)
    steps, rest = (exponents >> 9) & 1023, exponents & 511
    above = table[steps]
    values: NDArray[np.int64] = above - (((above - table[steps + 1]) * rest) >> 9)
    whole = exponents >> FRACTION
    values >>= np.where(whole < 24, whole, 25)
    return values


def _buckets(later: list[int], last: int) -> tuple[list[int], list[int]]:
    """First units and logarithms of buckets: the shortest ones that are worth half a slot."""
    least = later[0] // (2 * SLOTS)
    firsts, logs, at = [], [], 0
    while True:
        log = 0
        while at + (1 << log) < UNITS and later[at] - later[at + (1 << log)] < least:
            log += 1
        firsts.append(at)
        end = at + (1 << log)
        if end > last or end >= UNITS or later[end] < least // 2:
            logs.append(max(last - at, 0).bit_length())
            return firsts, logs
        logs.append(log)
        at = end


def _widths(masses_TB: NDArray[np.int64], counts_T: NDArray[np.int64]) -> NDArray[np.int64]:
    """Share the slots out: one for each of a table's buckets, and each of the others to where it saves most."""
    widths_TB = np.ones_like(masses_TB)
    worth_TB = (masses_TB << 12) // 3
    for given in range(SLOTS - int(counts_T.min())):
        more = np.flatnonzero(given < SLOTS - counts_T)
        best = worth_TB[more].argmax(axis=1)
        widths_TB[more, best] += 1
        worth_TB[more, best] = (masses_TB[more, best] << 12) // (2 * widths_TB[more, best] + 1)
    return widths_TB
