"""JSON from strangers: its size is bounded before it is parsed, and it has one reading only.

Duplicate keys and numbers that are not finite are refused, because two readers could
understand them differently, and one of them checks the signature.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any, NoReturn

from fastapi import Request

from barnraise.errors import OversizedMessageError, UnknownFieldError, UnsupportedEncodingError

__all__ = ["BODY_MAX_BYTES", "decode_json", "read_json", "require_plain"]

BODY_MAX_BYTES = 64 * 1024
NESTING_MAX = 16


def require_plain(request: Request) -> None:
    """Raise UnsupportedEncodingError for a compressed body: nothing foreign is inflated at the door."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnsupportedEncodingError("the body is compressed; send it as it is, without Content-Encoding")


async def read_json(request: Request) -> Any:
    """The JSON value in a request's body.

    Raises:
        UnsupportedEncodingError: a compressed body.
        OversizedMessageError: more than 64 KiB, announced or sent.
        UnknownFieldError: not JSON, or JSON with more than one reading.
    """
    require_plain(request)
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > BODY_MAX_BYTES:
        raise _too_large()
    return decode_json(await _bounded(request.stream()))


def decode_json(data: bytes) -> Any:
    """Decode JSON strictly; raises UnknownFieldError."""
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_float=_finite_float,
            parse_constant=_refuse_constant,
        )
        _require_shallow(value)
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, _RefusedJsonError) else "it is not JSON"
        raise UnknownFieldError(f"the body of {len(data)} bytes cannot be read: {what}") from error
    return value


class _RefusedJsonError(ValueError):
    """Said to the client, so without any of its bytes."""


async def _bounded(pieces: AsyncIterator[bytes]) -> bytes:
    data = bytearray()
    async for piece in pieces:
        data += piece
        if len(data) > BODY_MAX_BYTES:
            raise _too_large()
    return bytes(data)


def _too_large() -> OversizedMessageError:
    return OversizedMessageError(f"the body is larger than {BODY_MAX_BYTES:,} bytes, more than any message needs")


def _require_shallow(value: Any) -> None:
    """Refuse what is nested deeper than any message, level by level: whoever reads it next may recurse."""
    level = [value]
    for _ in range(NESTING_MAX):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return
    raise _RefusedJsonError(f"it is nested deeper than {NESTING_MAX} levels")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _RefusedJsonError("an object has the same key twice")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise _RefusedJsonError("a number is too large")
    return value


def _refuse_constant(_text: str) -> NoReturn:
    raise _RefusedJsonError("a number is not finite")
