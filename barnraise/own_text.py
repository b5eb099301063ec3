"""Text in somebody's own files: found by patterns, read with care, and never anywhere else.

    ~/notes/**/*.txt     text files, read whole
    mails.jsonl          one JSON object a line; one field of it is text
    data/                a Hugging Face data set on disk (Arrow files); one column of it is text

A pattern may match anything: what is no text is left out with a sentence, and so are files that
cannot be read. Symbolic links are followed only where they stay below the folder in which the
pattern's search began, so ``**`` never leads out of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnraise.errors import ConfigValueError, MissingExtraError

__all__ = ["Document", "OwnFile", "find_files", "read_file"]

WILD = frozenset("*?[")
FILES_MAX = 100_000
FILE_BYTES_MAX = 1 << 30
PROBE_BYTES = 1 << 16
JSON_LINES = frozenset({".jsonl", ".ndjson"})
ARROW = ".arrow"
FIELD = "text"


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file as it was found: where it lies, and its size."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Document:
    """What a file gave: its text, or why it gave none."""

    text: bytes
    skipped: str = ""


def find_files(patterns: Sequence[str], beside: Path) -> list[OwnFile]:
    """Files that patterns match, each once, sorted by path.

    Args:
        patterns: paths, with ``*``, ``**``, ``?`` and ``[..]`` as shells have them, and ``~``; a folder means the
            Arrow files in it, or else every file below it.
        beside: the folder where relative ones begin.

    Raises:
        ConfigValueError: nothing is matched, or too much.
    """
    found: dict[Path, OwnFile] = {}
    for pattern in patterns:
        matched = False
        for path, within in _matches(Path(pattern).expanduser(), beside):
            file = _regular(path, within)
            if file is not None:
                found[file.path], matched = file, True
            if len(found) > FILES_MAX:
                raise ConfigValueError(
                    f"{pattern} matches more than {FILES_MAX:,} files; name fewer, such as one folder of text"
                )
        if not matched:
            raise ConfigValueError(f"{pattern} matches no file; quote the pattern, so that the shell leaves it alone")
    return [found[path] for path in sorted(found)]


def read_file(file: OwnFile, field: str = FIELD) -> Document:
    """The text of a file; every document in it ends with a line end.

    Args:
        field: of a JSON line, or column of a data set, that is text.

    Raises:
        MissingExtraError: Arrow files, and nothing installed that reads them.
    """
    if file.size_bytes > FILE_BYTES_MAX:
        return Document(b"", f"it has {file.size_bytes:,} bytes, at most {FILE_BYTES_MAX:,} are read; split it")
    try:
        if file.path.suffix == ARROW:
            return _arrow(file.path, field)
        data = file.path.read_bytes()
        if len(data) != file.size_bytes:
            return Document(b"", f"it changed while it was looked at, from {file.size_bytes:,} to {len(data):,} bytes")
    except OSError as error:
        return Document(b"", f"it cannot be read ({error.strerror})")
    if not data.strip():
        return Document(b"", "it is empty")
    if b"\0" in data[:PROBE_BYTES]:
        return Document(b"", "it is no text: there are zero bytes in it")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return Document(b"", f"it is no UTF-8 text, at byte {error.start:,}")
    if file.path.suffix in JSON_LINES:
        return _json_lines(data, field)
    return Document(data if data.endswith(b"\n") else data + b"\n")


def _matches(pattern: Path, beside: Path) -> Iterator[tuple[Path, Path]]:
    """Every path that a pattern matches, and the folder that it must stay in."""
    parts = pattern.parts
    fixed = next((at for at, part in enumerate(parts) if WILD & set(part)), len(parts))
    start = beside / Path(*parts[:fixed]) if fixed else beside
    if fixed < len(parts):
        for path in start.glob(str(Path(*parts[fixed:]))):
            yield path, start
    elif start.is_dir():
        arrow = sorted(start.rglob(f"*{ARROW}"))
        for path in arrow or start.rglob("*"):
            yield path, start
    elif start.exists():
        yield start, start.parent


def _regular(path: Path, within: Path) -> OwnFile | None:
    """A file that is one, below a folder; None for anything else, such as a link that leads out of it."""
    try:
        real = path.resolve(strict=True)
        if not real.is_file():
            return None
        if path != within and within.is_dir() and not real.is_relative_to(within.resolve()):
            return None
        return OwnFile(real, real.stat().st_size)
    except (OSError, RuntimeError):  # gone meanwhile, or links in a circle
        return None


def _json_lines(data: bytes, field: str) -> Document:
    texts = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return Document(b"", f"line {number} is not JSON")
        found = value.get(field) if isinstance(value, dict) else None
        if not isinstance(found, str):
            has = ", ".join(sorted(value)[:8]) if isinstance(value, dict) else type(value).__name__
            return Document(b"", f"line {number} has no text under {field!r}, it has: {has}; name a field with --field")
        texts.append(_line(found))
    return Document(b"".join(texts))


def _arrow(path: Path, field: str) -> Document:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError(
            f"{path} is a data set in Arrow files, which pyarrow reads, and that is not installed. Run: "
            "pip install 'barnraise[datasets]'"
        )
    pyarrow: Any = importlib.import_module("pyarrow")
    try:
        with pyarrow.memory_map(str(path)) as source:
            table = pyarrow.ipc.open_stream(source).read_all()
            if field not in table.column_names:
                has = ", ".join(table.column_names[:8])
                return Document(b"", f"it has no column {field!r}, it has: {has}; name one with --field")
            values = table.column(field).to_pylist()
    except pyarrow.ArrowException as error:
        first = " ".join(str(error).split())[:200]
        return Document(b"", f"it is no Arrow stream as datasets writes them: {first}")
    if not all(isinstance(value, str) for value in values):
        return Document(b"", f"column {field!r} is not text; name another with --field")
    return Document(b"".join(_line(value) for value in values))


def _line(text: str) -> bytes:
    data = text.encode("utf-8", errors="replace")
    return data if data.endswith(b"\n") else data + b"\n"
