"""What became of a word since the parent: a small number, its token, and the bits that the token leaves open.

Floats are numbered in their order, from the largest negative one to the largest positive one, so
that a step to the next float is a step of one whatever the exponent. The difference of two such
numbers, modulo 2 ** bits, is folded: 0, -1, 1, -2 .. become 0, 1, 2, 3 ... Differences below
``DIRECT`` are tokens of their own. Above, a token says the place of the highest bit, the ``fine``
bits below it and the lowest bit, which is the sign; the bits between follow as they are. With one
fine bit:

    difference   0 .. 15   16,18..22  17,19..23  24,26..30  25,27..31  32,34..46 ..
    token        0 .. 15   16         17         18         19         20        ..
    open bits    0         2          2          2          2          3         ..

N  words
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from barnraise.releases.lossless.layouts import DIRECT, Layout, Words

__all__ = ["contexts_of", "differences", "join", "open_bits", "restore", "split"]

_ORDERS = 4  # DIRECT is 2 ** _ORDERS


def differences(words_N: Words, base_N: Words, layout: Layout) -> Words:
    """The folded difference of every word, in words."""
    top, one = layout.words.type(8 * layout.width - 1), layout.words.type(1)
    change_N = _ordered(words_N, layout) - _ordered(base_N, layout)
    folded_N: Words = (change_N << one) ^ (np.zeros_like(change_N) - (change_N >> top))
    return folded_N


def restore(folded_N: Words, base_N: Words, layout: Layout) -> Words:
    """The words that have these differences from the base."""
    one = layout.words.type(1)
    change_N = (folded_N >> one) ^ (np.zeros_like(folded_N) - (folded_N & one))
    return _ordered(_ordered(base_N, layout) + change_N, layout)


def contexts_of(base_N: Words, layout: Layout) -> NDArray[np.uint8]:
    """What the parent's word says of the difference to expect, uint8 [N]."""
    shifted_N: Words = base_N >> layout.words.type(layout.shift)
    return (shifted_N & layout.words.type(layout.mask)).astype(np.uint8)


def split(folded_N: Words, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Tokens of differences, and how many bits above the lowest each leaves open."""
    orders_N = np.zeros(len(folded_N), dtype=np.int64)  # place of the highest bit, where that is at least _ORDERS
    for order in range(_ORDERS, 8 * layout.width):
        orders_N[(folded_N >> layout.words.type(order)) != 0] = order
    below_N = np.maximum(orders_N - layout.fine, 0)
    fine_N = ((folded_N >> below_N.astype(layout.words)) & layout.words.type((1 << layout.fine) - 1)).astype(np.int64)
    sign_N = (folded_N & layout.words.type(1)).astype(np.int64)
    large_N = DIRECT + (((orders_N - _ORDERS) << layout.fine | fine_N) << 1 | sign_N)
    tokens_N = np.where(orders_N == 0, folded_N.astype(np.int64), large_N)
    return tokens_N.astype(np.uint8), np.maximum(below_N - 1, 0)


def open_bits(tokens_N: NDArray[np.uint8], layout: Layout) -> NDArray[np.int64]:
    """How many bits of its difference each token leaves open."""
    large_N = tokens_N.astype(np.int64) - DIRECT
    return np.where(large_N < 0, 0, _ORDERS - 1 - layout.fine + (large_N >> (layout.fine + 1)))


def join(tokens_N: NDArray[np.uint8], low_N: NDArray[np.uint64], layout: Layout) -> Words:
    """Differences from their tokens and open bits."""
    one, top, large_N = np.uint64(1), 1 << layout.fine, tokens_N.astype(np.uint64) - np.uint64(DIRECT)
    fine_N = np.uint64(top) | ((large_N >> one) & np.uint64(top - 1))
    rest_N = low_N << one | (large_N & one)
    high_N = fine_N << (open_bits(tokens_N, layout).astype(np.uint64) + one)
    return np.where(tokens_N < DIRECT, tokens_N.astype(np.uint64), high_N | rest_N).astype(layout.words)


def _ordered(words_N: Words, layout: Layout) -> Words:
    """Floats to their numbers modulo 2 ** bits, and back: all bits but the sign turn over where it is set."""
    if not layout.is_float:
        return words_N
    top = 8 * layout.width - 1
    turned_N: Words = words_N ^ (words_N >> layout.words.type(top)) * layout.words.type((1 << top) - 1)
    return turned_N
