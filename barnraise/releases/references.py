"""The blobs that a message names, wherever in it: so that a new field is not forgotten by whoever copies releases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from barnraise.message import BlobRef, Message

__all__ = ["blob_refs"]


def blob_refs(message: Message) -> Iterator[tuple[str, BlobRef]]:
    """Where in the message (such as ``acceptance`` or ``remerged.report``), and which blob."""
    for name in type(message).model_fields:
        yield from _refs_in(name, getattr(message, name))


def _refs_in(where: str, value: Any) -> Iterator[tuple[str, BlobRef]]:
    match value:
        case BlobRef():
            yield where, value
        case Message():
            yield from ((f"{where}.{part}", ref) for part, ref in blob_refs(value))
        case Mapping():
            for key, part in value.items():
                yield from _refs_in(f"{where}.{key}", part)
        case list() | tuple():
            for number, part in enumerate(value):
                yield from _refs_in(f"{where}.{number}", part)
