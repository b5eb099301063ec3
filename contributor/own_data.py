"""The text that a contributor brings: which part of it a lease is about, and what of it cannot be used.

It is read when a unit begins and stays in this process. What a unit sees follows from the lease's
seed and from the list of files: the files are put into an order that both decide, and read until
there is enough. So several nodes on one folder train on different parts of it, a node sees other
parts in other rounds, and a unit that is continued sees what it saw, as long as nobody changes
the files. Who does changes what the rest of the unit learns from, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from barnraise.data_config import DataConfig, LocalData
from barnraise.digest import digest_bytes, digest_json
from barnraise.errors import ConfigValueError, UsageError
from barnraise.own_text import FIELD, OwnFile, find_files, read_file

__all__ = ["OwnData", "check_brought"]

PART_BYTES = 16 << 20
"""Text that one unit draws its examples from: many times what it sees, and little memory."""

NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class OwnData:
    """Files of a contributor's own.

    Attributes:
        patterns: as :func:`barnraise.own_text.find_files` has them. beside: where relative ones begin.
        field: of a JSON line, or column of a data set, that is text.
    """

    patterns: tuple[str, ...]
    beside: Path
    field: str = FIELD

    def part(self, seed: int, tell: Callable[[str], None], most_bytes: int = PART_BYTES) -> bytes:
        """The text of one lease.

        Args:
            seed: of the lease. tell: gets a sentence about what cannot be used.

        Raises:
            ConfigValueError: no file is there, or none of them gives text.
            MissingExtraError: Arrow files, and nothing installed that reads them.
        """
        files = find_files(self.patterns, self.beside)
        listed = digest_json([[str(file.path), file.size_bytes] for file in files])
        texts: list[bytes] = []
        skipped: list[str] = []
        room = most_bytes
        for file in sorted(files, key=lambda file: _draw(seed, listed, file)):
            document = read_file(file, self.field)
            if document.skipped:
                skipped.append(f"{file.path}: {document.skipped}")
                continue
            text = _cut(document.text, room, _draw(seed, listed, file))
            if texts and b"\n" not in text:
                break  # no whole line fits any more
            texts.append(text)
            room -= len(text)
            if room <= 0:
                break
        if not texts:
            raise ConfigValueError(
                f"none of {len(files):,} files of {', '.join(self.patterns)} can be trained on; {_named(skipped)}"
            )
        if skipped:
            tell(f"{len(skipped):,} of {len(files):,} files are left out; {_named(skipped)}")
        return b"".join(texts)


def check_brought(data: DataConfig, own: OwnData | None, tell: Callable[[str], None]) -> None:
    """Refuse to begin without what the run needs, or with what it would not look at.

    Raises:
        UsageError: text that is missing, or that nobody asked for.
        ConfigValueError: it cannot be used.
    """
    if isinstance(data, LocalData):
        if own is None:
            raise UsageError(
                "the run trains on text that contributors bring, and none is named; say which, such as --data "
                "'~/notes/**/*.txt'. It stays on this machine"
            )
        own.part(0, tell)
    elif own is not None:
        raise UsageError(
            f"--data names text of your own, and the run trains on {data.corpus}; leave --data out, nothing of yours "
            "is needed"
        )


def _draw(seed: int, listed: str, file: OwnFile) -> str:
    return digest_bytes(f"{seed} {listed} {file.path}".encode("utf-8", errors="surrogateescape"))


def _cut(text: bytes, room: int, draw: str) -> bytes:
    """At most ``room`` bytes of a text that is longer, from a line on that the draw decides."""
    if len(text) <= room:
        return text
    start = int(draw[3:19], 16) % (len(text) - room)
    line = text.find(b"\n", start, start + room)
    if not 0 <= line < start + room - 1:  # no line begins here
        return text[start : start + room].rstrip(b"\n")
    cut = text[line + 1 : line + 1 + room]
    last = cut.rfind(b"\n")
    return cut[: last + 1] if last > 0 else cut


def _named(skipped: Sequence[str]) -> str:
    more = f"; and {len(skipped) - NAMED_MAX:,} more" if len(skipped) > NAMED_MAX else ""
    return "; ".join(skipped[:NAMED_MAX]) + more
