"""How far updates agree, as records of rounds have it: what of that is worth a word, and the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["agreement_in_words"]

WHOLE = 0.9995
"""An overlap by chance from which on it says nothing: updates of every element, or of the same ones in turn."""


def agreement_in_words(agreement: Mapping[str, Any]) -> str:
    """Half a sentence for logs, terminals and pages.

    Args:
        agreement: ``overlap``, ``expected_overlap``, ``opposed``, ``cosine``: shares and a cosine; None where there was
            nothing to measure.
    """
    if agreement["cosine"] is None:
        return "nothing to compare"
    parts, of = [], "what they change"
    if _is_overlap_telling(agreement):
        chance = f"({agreement['expected_overlap']:.1%} by chance)"
        parts.append(
            f"{agreement['overlap']:.1%} of what the smaller one of a pair changes the other changes too {chance}"
        )
        of = "that"
    if agreement["opposed"] is not None:
        parts.append(f"{agreement['opposed']:.1%} of {of} in opposite directions")
    return ", ".join([*parts, f"cosine {agreement['cosine']:.3f}"])


def _is_overlap_telling(agreement: Mapping[str, Any]) -> bool:
    """Whether it says something that updates change the same elements; not where they could change no others."""
    return agreement["overlap"] is not None and agreement["expected_overlap"] < WHOLE
