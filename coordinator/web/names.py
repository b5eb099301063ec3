"""Text from strangers, fit for a page: bounded, and without characters that hide, turn or break what is around it.

Templates escape everything; this is about what escaping leaves alone. A name may still be written in any
alphabet, and may look like another one's: that is why a page shows a part of the key beside every name.
"""

from __future__ import annotations

import unicodedata
from typing import Any

__all__ = ["NAME_SHOWN", "TEXT_SHOWN", "finalize", "fit", "shown_name"]

NAME_SHOWN = 64
TEXT_SHOWN = 4096
MARKS_IN_A_ROW = 2
INSTEAD = "\N{REPLACEMENT CHARACTER}"
_HIDES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Me"})


def fit(text: str, most: int = TEXT_SHOWN) -> str:
    """The text with at most ``most`` characters, an ellipsis where something is left out.

    Control, format (also those that turn the direction), private and unassigned characters are replaced by
    U+FFFD, but for newlines and tabs; of combining marks in a row the first two stay.
    """
    if len(text) <= most and text.isascii() and text.isprintable():
        return text
    fits, marks = [], 0
    for char in text[: most + 1]:
        kind = unicodedata.category(char)
        marks = marks + 1 if kind in _MARKS else 0
        if marks <= MARKS_IN_A_ROW:
            fits.append(INSTEAD if kind in _HIDES and char not in "\n\t" else char)
    return "".join(fits[:-1]) + "\N{HORIZONTAL ELLIPSIS}" if len(text) > most else "".join(fits)


def shown_name(name: str | None) -> str:
    """A display name on one line; one that would be nothing to see is said to be none."""
    fitted = " ".join(fit(name or "", NAME_SHOWN).split())
    return fitted if fitted.strip(INSTEAD + " ") else "(no name)"


def finalize(value: Any) -> Any:
    """What every expression of every template goes through; :func:`fit` for plain text, nothing else is changed."""
    return fit(value) if type(value) is str else value
