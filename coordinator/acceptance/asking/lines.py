"""A line of a data set, asked for what a kind of test needs of it; what it lacks is said with where it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from barnraise.errors import AcceptanceError
from coordinator.acceptance.examples import Examples, Row

__all__ = ["Line", "lines_of"]

SHOWN = 40


@dataclass(frozen=True, slots=True)
class Line:
    """One of the examples that are looked at.

    Attributes:
        number: among them, from 1 on.
    """

    number: int
    row: Row

    def text(self, key: str, least_bytes: int = 1) -> bytes:
        """The text under a key, in UTF-8.

        Raises:
            AcceptanceError: there is none, or a shorter one.
        """
        return self._text(self.row.get(key), f"{key!r}", least_bytes)

    def texts(self, key: str, least: int) -> list[bytes]:
        """A list of texts under a key.

        Raises:
            AcceptanceError: there is none, or a shorter one.
        """
        found = self.row.get(key)
        if not isinstance(found, list) or len(found) < least:
            self.refuse(f"a list of {least} texts or more under {key!r}", found)
        return [self._text(one, f"{key!r}", 1) for one in found]

    def index(self, key: str, count: int) -> int:
        """A whole number under a key, below ``count``.

        Raises:
            AcceptanceError: there is none.
        """
        found = self.row.get(key)
        if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < count:
            self.refuse(f"a whole number from 0 to {count - 1} under {key!r}", found)
        return int(found)

    def refuse(self, expected: str, found: Any) -> NoReturn:
        """Say what this line lacks.

        Raises:
            AcceptanceError: always.
        """
        raise AcceptanceError(f"{self.name}: found {_short(found)}, expected {expected}; mend that line of the data")

    @property
    def name(self) -> str:
        """How messages call it; examples may be drawn from anywhere in a file, so its beginning is shown."""
        return f"example {self.number} ({_short(dict(self.row))})"

    def _text(self, found: Any, key: str, least_bytes: int) -> bytes:
        try:
            text = found.encode() if isinstance(found, str) else b""
        except UnicodeEncodeError:  # half of a surrogate pair: JSON can say it, UTF-8 cannot
            text = b""
        if len(text) < least_bytes:
            self.refuse(f"text of {least_bytes} bytes or more under {key}", found)
        return text


def lines_of(examples: Examples) -> Iterator[Line]:
    """The rows of a test, one after the other."""
    return (Line(number, row) for number, row in enumerate(examples.rows, 1))


def _short(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 2]}.."
