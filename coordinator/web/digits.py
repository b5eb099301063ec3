"""Whole numbers as strangers write them, in addresses and headers: bounded before they are read."""

from __future__ import annotations

__all__ = ["whole_number"]


def whole_number(text: str, most_digits: int = 15) -> int | None:
    """The number that a text of ASCII digits says; None of any other text, and of one that is too long."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= most_digits else None
