"""A few small text files as one: what has to change, or to travel, together.

    {"metadata/1.root.json": "{...}", "targets/index.json": "{...}", ...}

The bytes of each file are kept as they are, for they are signed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from barnraise.digest import canonical_json
from barnraise.errors import VerificationError

__all__ = ["BUNDLE_MAX_BYTES", "pack", "unpack"]

BUNDLE_MAX_BYTES = 64 << 20


def pack(files: Mapping[str, bytes]) -> bytes:
    """Files (name -> UTF-8 text) as the one encoding that they have."""
    return canonical_json({name: data.decode("utf-8") for name, data in files.items()})


def unpack(data: bytes | memoryview, what: str) -> dict[str, bytes]:
    """The files that :func:`pack` was given.

    Args:
        what: how to name it in an error.

    Raises:
        VerificationError: not such a bundle.
    """
    try:
        value = json.loads(bytes(data)) if len(data) <= BUNDLE_MAX_BYTES else None
        if not isinstance(value, dict):
            raise ValueError(what)
        return {name: text.encode("utf-8") for name, text in value.items()}
    except (ValueError, AttributeError, RecursionError) as error:
        raise VerificationError(f"{what} is no bundle of signed files; get it anew") from error
