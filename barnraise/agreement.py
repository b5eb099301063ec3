"""How far updates agree, as records of rounds have it: what of that is worth a word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_overlap_telling"]

WHOLE = 0.9995
"""An overlap by chance from which on it says nothing: updates of every element, or of the same ones in turn."""


def is_overlap_telling(agreement: Mapping[str, Any]) -> bool:
    """Whether it says something that updates change the same elements; not where they could change no others."""
    return agreement["overlap"] is not None and agreement["expected_overlap"] < WHOLE
