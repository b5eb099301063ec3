"""The header of an update file: canonical safetensors JSON that is checked byte by byte.

    length u64 | JSON, keys sorted, no spaces, padded with spaces to a multiple of 8 | arrays

The arrays follow in the order ``offsets`` (i64 [3, segments + 1]), ``levels``, ``scales``,
``support`` (u8). With a Fisher there are the key ``fisher`` (its bits an element), a fourth row
of offsets, and behind the others the array ``fisher``. What is about a part of the model has the
keys of its scope (scope.py). Nothing of a header is believed because it parses: what was read is
written again, and must come out as the same bytes.

Source: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from barnraise.digest import canonical_json, is_digest
from barnraise.errors import (
    NonCanonicalUpdateError,
    OversizedUpdateError,
    TruncatedUpdateError,
    UnsupportedFormatError,
)
from barnraise.update_config import CodecConfig
from barnraise.updates.codec import canonical_codec
from barnraise.updates.fisher import FISHER_BITS
from barnraise.updates.scope import EVERYWHERE, SCOPE_KEYS, Scope
from barnraise.updates.space import CHUNK

__all__ = ["ARRAYS", "FORMAT", "HEADER_MAX", "Header", "Role"]

FORMAT = "barnraise-update-3"
HEADER_MAX = 1 << 20
ARRAYS = ("levels", "scales", "support")
Role = Literal["update", "patch", "mask"]

_METADATA = {"format", "role", "base", "space", "codec", "bits", "k"}
_NUMBER = re.compile(r"[0-9]{1,4}\Z")
_COMPRESSED = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}


@dataclass(frozen=True, slots=True)
class Header:
    """Everything that a header says.

    Attributes:
        base: digest of the model that the change is against. space: digest of its layout.
        segments: S, the offsets are int64 [number of arrays, S + 1].
        sizes: bytes of the arrays, in the order of ``arrays``.
        fisher: whether a Fisher comes along. Never with a patch.
        scope: what of the model it is about.
    """

    role: Role
    base: str
    space: str
    codec: CodecConfig
    segments: int
    sizes: tuple[int, ...]
    fisher: bool = False
    scope: Scope = EVERYWHERE

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that the offsets cut, in their order."""
        return (*ARRAYS, "fisher") if self.fisher else ARRAYS

    @property
    def offsets_bytes(self) -> int:
        return len(self.arrays) * 8 * (self.segments + 1)

    @property
    def data_bytes(self) -> int:
        """What follows the header."""
        return self.offsets_bytes + sum(self.sizes)

    def encode(self) -> bytes:
        """Length and padded JSON: the one encoding of this header."""
        value: dict[str, Any] = {"__metadata__": self._metadata()}
        end = self.offsets_bytes
        value["offsets"] = {"dtype": "I64", "shape": [len(self.arrays), self.segments + 1], "data_offsets": [0, end]}
        for name, size in zip(self.arrays, self.sizes, strict=True):
            value[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
            end += size
        text = canonical_json(value)
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    def _metadata(self) -> dict[str, str]:
        bits, k = {
            "dense": (32, CHUNK),
            "blockwise": (self.codec.bits, CHUNK),
            "topk": (2, self.codec.k),
        }[self.codec.name]
        fisher = {"fisher": str(FISHER_BITS)} if self.fisher else {}
        return (
            fisher
            | self.scope.metadata()
            | {
                "format": FORMAT,
                "role": self.role,
                "base": self.base,
                "space": self.space,
                "codec": self.codec.name,
                "bits": str(bits),
                "k": str(k),
            }
        )

    @classmethod
    def decode(cls, data: memoryview) -> tuple[Header, int]:
        """Read the header of a file, and where the arrays begin.

        Raises:
            TruncatedUpdateError, OversizedUpdateError, UnsupportedFormatError, NonCanonicalUpdateError
        """
        raw = _raw_header(data)
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise UnsupportedFormatError("the header is no JSON; this is not an update") from error
        header = _header_of(value)
        if header.encode()[8:] != raw:
            raise NonCanonicalUpdateError("the header is not in its one encoding. Write the update again.")
        return header, 8 + len(raw)


def _raw_header(data: memoryview) -> bytes:
    if len(data) < 8:
        raise TruncatedUpdateError(f"{len(data)} bytes are no update: its header length alone takes 8")
    for magic, name in _COMPRESSED.items():
        if data[: len(magic)] == magic:
            raise UnsupportedFormatError(f"a {name} file, expected an update as it is. Send it uncompressed.")
    length = int.from_bytes(data[:8], "little")
    if length > HEADER_MAX:
        raise OversizedUpdateError(f"the header announces {length} bytes, at most {HEADER_MAX} are read")
    if len(data) < 8 + length:
        raise TruncatedUpdateError(f"{len(data)} bytes, the header alone needs {8 + length}. Send the update again.")
    return bytes(data[8 : 8 + length])


def _header_of(value: Any) -> Header:
    """The header that a JSON value describes, ignoring whatever writing it again will reveal."""
    fisher = isinstance(value, dict) and "fisher" in value
    arrays = (*ARRAYS, "fisher") if fisher else ARRAYS
    if not isinstance(value, dict) or set(value) != {"__metadata__", "offsets", *arrays}:
        raise UnsupportedFormatError(f"the header must name exactly __metadata__, offsets, {', '.join(ARRAYS)}")
    shape = _shape(value["offsets"], 2)
    metadata = value["__metadata__"]
    wanted = _METADATA | {"fisher"} if fisher else _METADATA
    if not isinstance(metadata, dict) or set(metadata) - SCOPE_KEYS != wanted:
        raise UnsupportedFormatError(f"the metadata must name exactly {', '.join(sorted(wanted))}")
    if metadata["format"] != FORMAT:
        raise UnsupportedFormatError(f"the format is not {FORMAT}. Update Barnraise, or ask the sender to.")
    if metadata["role"] not in get_args(Role):
        raise UnsupportedFormatError(f"the role is none of {', '.join(get_args(Role))}")
    if fisher and metadata["role"] != "update":
        raise UnsupportedFormatError(f"a {metadata['role']} with a Fisher: only an update may have one")
    for key in ("base", "space"):
        if not isinstance(metadata[key], str) or not is_digest(metadata[key]):
            raise UnsupportedFormatError(f"{key} is no digest of the form b3:<64 hex>")
    return Header(
        role=metadata["role"],
        base=metadata["base"],
        space=metadata["space"],
        codec=_codec(metadata),
        segments=shape[1] - 1,
        sizes=tuple(_shape(value[name], 1)[0] for name in arrays),
        fisher=fisher,
        scope=Scope.of_metadata(metadata),
    )


def _shape(entry: Any, dimensions: int) -> list[int]:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or len(shape) != dimensions:
        raise UnsupportedFormatError("an array of the header has no shape, or one of the wrong rank")
    if not all(type(size) is int and 0 <= size < 1 << 48 for size in shape):
        raise UnsupportedFormatError("an array of the header has a size that no file can have")
    return shape


def _codec(metadata: dict[str, Any]) -> CodecConfig:
    try:
        bits, k = (int(metadata[key]) for key in ("bits", "k") if _NUMBER.match(metadata[key]))
        named: dict[str, Any] = {
            "dense": {},
            "blockwise": {"bits": bits},
            "topk": {"k": k},
        }[metadata["codec"]]
        return canonical_codec(CodecConfig(name=metadata["codec"], **named))
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedFormatError("codec, bits and k name no codec that this version knows") from error
