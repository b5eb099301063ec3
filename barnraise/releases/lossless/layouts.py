"""How the words of a dtype are read: as wide as they are, and where a float's exponent lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["DIRECT", "Layout", "Words", "layout_of"]

DIRECT = 16  # differences below are tokens of their own

Words = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Layout:
    """The words of a tensor.

    Attributes:
        number: what a header says for it. width: bytes of a word.
        shift, mask: of the part of a parent's word that tells how much the word may have changed: the
            exponent, or its lowest eight bits. An integer has none, and ``mask`` is 0.
        is_float: sign and magnitude, the sign bit first.
    """

    number: int
    width: int
    shift: int = 0
    mask: int = 0
    is_float: bool = False

    @property
    def words(self) -> np.dtype[np.unsignedinteger[Any]]:
        return np.dtype(f"<u{self.width}")

    @property
    def tokens(self) -> int:
        """How many tokens a difference may have: ``DIRECT``, and as many for each order of magnitude above."""
        return DIRECT + ((8 * self.width - 4) << (self.fine + 1))

    @property
    def fine(self) -> int:
        """How many bits below the highest one a token says: where differences are large, more of them matter."""
        return 2 if self.width == 4 else 1


_INTEGERS = {width: Layout(number, width) for number, width in enumerate((1, 2, 4, 8))}
_FLOAT32 = Layout(6, 4, 23, 0xFF, True)
_LAYOUTS = {
    "BF16": Layout(4, 2, 7, 0xFF, True),
    "F16": Layout(5, 2, 10, 0x1F, True),
    "F32": _FLOAT32,
    "C64": _FLOAT32,
    "F64": Layout(7, 8, 52, 0xFF, True),
    "F8_E4M3": Layout(8, 1, 3, 0x0F, True),
    "F8_E5M2": Layout(9, 1, 2, 0x1F, True),
    **dict.fromkeys(("I64", "U64"), _INTEGERS[8]),
    **dict.fromkeys(("I32", "U32"), _INTEGERS[4]),
    **dict.fromkeys(("I16", "U16"), _INTEGERS[2]),
}


def layout_of(dtype: str) -> Layout:
    """The layout of a dtype by the name that safetensors has for it; one that is not known is bytes."""
    return _LAYOUTS.get(dtype, _INTEGERS[1])
