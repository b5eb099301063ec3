"""BLAKE3 digests, written ``b3:<64 hex>``, and the one JSON encoding that is hashed and signed.

Everything that is stored, sent or signed is named by such a digest. JSON that is hashed
is canonical: keys sorted, no spaces, ASCII only, no floats that are not finite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3

from barnraise.native import spread, threads

__all__ = ["canonical_json", "digest_bytes", "digest_each", "digest_file", "digest_json", "is_digest", "new_hasher"]

LARGE = 1 << 20  # bytes from which one hash is worth all cores; smaller ones are shared out among them
_PATTERN = re.compile(r"b3:[0-9a-f]{64}\Z")


def is_digest(text: str) -> bool:
    """Whether ``text`` is exactly one of our digests, and so safe to build a path from."""
    return _PATTERN.match(text) is not None


def digest_bytes(*parts: bytes | bytearray | memoryview) -> str:
    """Digest of the concatenation of ``parts``."""
    hasher = blake3()
    for part in parts:
        hasher.update(part)
    return f"b3:{hasher.hexdigest()}"


def digest_each(parts: Sequence[bytes | bytearray | memoryview]) -> list[str]:
    """Digest of every one of many byte strings, on several threads: a large one by all, small ones shared out."""
    digests = [""] * len(parts)
    most = blake3.AUTO if threads() > 1 else 1
    small = [number for number, part in enumerate(parts) if len(part) < LARGE]
    for number, part in enumerate(parts):
        if len(part) >= LARGE:
            digests[number] = f"b3:{blake3(part, max_threads=most).hexdigest()}"

    def work(start: int, end: int) -> None:
        for number in small[start:end]:
            digests[number] = digest_bytes(parts[number])

    spread(work, len(small), 1)
    return digests


def new_hasher() -> blake3:
    """An incremental hasher; ``"b3:" + hasher.hexdigest()`` is the digest."""
    return blake3()


def digest_file(path: Path) -> str:
    """Digest of a file, memory-mapped, on all cores."""
    hasher = blake3(max_threads=blake3.AUTO)
    hasher.update_mmap(path)
    return f"b3:{hasher.hexdigest()}"


def canonical_json(value: Any) -> bytes:
    """The one encoding of a JSON value.

    Raises:
        ValueError: a float that is not finite, or a key that is not a string.
    """
    if not _keys_are_strings([value]):
        raise ValueError("a canonical JSON object has string keys only")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def digest_json(value: Any) -> str:
    """Digest of the canonical JSON of ``value``."""
    return digest_bytes(canonical_json(value))


def _keys_are_strings(values: Iterable[Any]) -> bool:
    for value in values:
        if isinstance(value, dict) and not (
            all(isinstance(key, str) for key in value) and _keys_are_strings(value.values())
        ):
            return False
        if isinstance(value, list | tuple) and not _keys_are_strings(value):
            return False
    return True
