"""What a test is made of: windows of text, or the lines of a file.

A data set is a file of JSON objects, one a line, pinned by digest. What a line must have is the
business of the kind of test that reads it.

N  examples
T  bytes of a window that are predicted
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes, digest_json
from barnraise.errors import AcceptanceError
from barnraise.suite import DataSetConfig
from coordinator.acceptance.models.attachments import Attachment

__all__ = ["NOTHING", "Examples", "Row", "Windows", "parse_rows", "read_data_set"]

Windows = NDArray[np.uint8]
Row = Mapping[str, Any]
"""A line of a data set."""

ROWS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of a test: windows, or rows, or neither.

    Attributes:
        digest: of all that is there and of what was picked from it; the first ones, any number, have that of all.
        windows: uint8 [N, T + 1]; the first byte of each is not predicted.
        attachment: what the model gets before it is looked at. train: lines that it is then trained on.
    """

    digest: str = ""
    windows: Windows | None = None
    rows: tuple[Row, ...] = ()
    attachment: Attachment | None = None
    train: tuple[Row, ...] = ()

    def __len__(self) -> int:
        return len(self.rows) if self.windows is None else len(self.windows)

    def take(self, picked: Sequence[int]) -> Examples:
        """These examples alone, in this order."""
        chosen = list(picked)
        digest = self.digest if chosen == list(range(len(chosen))) else digest_json([self.digest, chosen])
        if self.windows is not None:
            return replace(self, digest=digest, windows=self.windows[chosen])
        return replace(self, digest=digest, rows=tuple(self.rows[index] for index in chosen))

    def beside(self, attachment: Attachment, train: Examples) -> Examples:
        """The same examples for a model with this attachment, trained further on these lines where it is.

        Another attachment, or other lines, are another digest.
        """
        digest = digest_json([self.digest, attachment.digest, train.digest])
        return replace(self, digest=digest, attachment=attachment, train=train.rows)

    @classmethod
    def of_windows(cls, windows: Windows) -> Examples:
        """Windows of held-out text, uint8 [N, T + 1]."""
        head = f"windows {windows.shape[1]}\n".encode()
        return cls(digest_bytes(head + np.ascontiguousarray(windows).tobytes()), windows)


NOTHING = Examples()


def read_data_set(folder: Path, name: str, wanted: DataSetConfig) -> bytes:
    """The bytes of a data set beside a suite's file, as the suite pins them.

    Raises:
        AcceptanceError: there is no such file, or another one; or nothing in it can be read as examples.
    """
    path = folder / wanted.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AcceptanceError(
            f"data set {name}: {path} cannot be read ({error.strerror}); restore that file"
        ) from error
    parse_rows(data, wanted.digest, name)
    return data


def parse_rows(data: bytes, digest: str, name: str) -> Examples:
    """The examples in a data set's file.

    Args:
        digest: what the suite pins. name: of the data set, for messages.

    Raises:
        AcceptanceError: other bytes than those that are pinned, no example in them, or a line that is no object.
    """
    found = digest_bytes(data)
    if found != digest:
        raise AcceptanceError(
            f"data set {name} is {found[:15]}.., the suite pins {digest[:15]}..; restore that file, or pin this one"
        )
    lines = [line for line in data.split(b"\n") if line.strip()]
    if not lines:
        raise AcceptanceError(f"data set {name} has no example; a suite with an empty test promises nothing")
    if len(lines) > ROWS_MAX:
        raise AcceptanceError(f"data set {name} has {len(lines):,} lines, more than {ROWS_MAX:,}")
    return Examples(digest, None, tuple(_row(line, number, name) for number, line in enumerate(lines, 1)))


def _row(line: bytes, number: int, name: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AcceptanceError(f"data set {name}, line {number} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise AcceptanceError(f"data set {name}, line {number} is not a JSON object")
    return value
