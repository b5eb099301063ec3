"""A proxy that spoils what passes through it: flipped bits, missing, doubled and exchanged bytes.

It stands between a source and the server, so everything the client asks for goes through it:
metadata, lists, manifests, keyframes and patches.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from barnraise.releases.http_source import Reply

__all__ = ["SPOILERS", "BitFlipper", "Spoiled", "Spoiler"]

PIECE = 4096


def flip_bits(data: bytes, other: bytes, draws: random.Random) -> bytes:
    spoiled = bytearray(data)
    for _ in range(draws.choice((1, 1, 1, 2, 8, 64))):
        at = draws.randrange(len(spoiled))
        spoiled[at] ^= 1 << draws.randrange(8)
    return bytes(spoiled)


def cut_short(data: bytes, other: bytes, draws: random.Random) -> bytes:
    return data[: draws.randrange(len(data))]


def repeat_a_part(data: bytes, other: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(len(data))
    stop = draws.randrange(start, len(data)) + 1
    return data[:stop] + data[start:]


def leave_a_part_out(data: bytes, other: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(len(data))
    return data[:start] + data[draws.randrange(start, len(data)) + 1 :]


def exchange_parts(data: bytes, other: bytes, draws: random.Random) -> bytes:
    at = draws.randrange(len(data))
    return data[at:] + data[:at]


def send_another_file(data: bytes, other: bytes, draws: random.Random) -> bytes:
    return other


def zero_a_part(data: bytes, other: bytes, draws: random.Random) -> bytes:
    start = draws.randrange(len(data))
    stop = draws.randrange(start, len(data)) + 1
    return data[:start] + bytes(stop - start) + data[stop:]


Spoiler = Callable[[bytes, bytes, random.Random], bytes]
SPOILERS: tuple[Spoiler, ...] = (
    flip_bits,
    cut_short,
    repeat_a_part,
    leave_a_part_out,
    exchange_parts,
    send_another_file,
    zero_a_part,
)


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One transfer that was spoiled. ``path`` below the published folder."""

    path: str
    how: str
    sent: bytes


@dataclass
class BitFlipper:
    """Serves a published folder, and spoils the transfers of files that ``spoils`` chooses.

    Attributes:
        spoils: gets a path below the folder.
        spoiled: what was done. served: all paths that were handed over, spoiled or not.
    """

    public: Path
    draws: random.Random
    spoils: Callable[[str], bool] = lambda path: True
    url: str = "http://flipper.test"
    spoiled: list[Spoiled] = field(default_factory=list)
    served: list[str] = field(default_factory=list)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        path = url.removeprefix(f"{self.url}/")
        file = self.public / path
        if not file.is_file():
            yield Reply(404, {}, iter([b"no"]))
            return
        data = file.read_bytes()
        self.served.append(path)
        if self.spoils(path):
            data = self._spoil(path, data)
        at = int(headers["range"][6:].split("-")[0]) if "range" in headers else 0
        ranged = {"content-range": f"bytes {at}-{max(at, len(data) - 1)}/{len(data)}"} if at else {}
        yield Reply(206 if at else 200, ranged, iter([data[n : n + PIECE] for n in range(at, len(data), PIECE)]))

    def _spoil(self, path: str, data: bytes) -> bytes:
        others = [other for other in sorted(self.public.rglob("*")) if other.is_file() and other != self.public / path]
        spoiler = self.draws.choice(SPOILERS)
        sent = spoiler(data, self.draws.choice(others).read_bytes(), self.draws) if data else b"\0"
        if sent == data:  # a part that was exchanged with itself
            return data
        self.spoiled.append(Spoiled(path, spoiler.__name__, sent))
        return sent
