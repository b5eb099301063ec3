"""BLAKE3 digests, written ``b3:<64 hex>``, and the one JSON encoding that is hashed and signed.

Everything that is stored, sent or signed is named by such a digest. JSON that is hashed
is canonical: keys sorted, no spaces, ASCII only, no floats that are not finite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blake3 import blake3

__all__ = ["canonical_json", "digest_bytes", "digest_file", "digest_json", "is_digest", "new_hasher"]

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
