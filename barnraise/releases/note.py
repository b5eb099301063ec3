"""What pulling notes about a folder: how it laid the release out, and digests of what no signature covers.

``installed.json`` is written by whoever pulled and signed by nobody. It finds damage. What a
release is, is proven by ``release.json`` and the signed metadata that leads to it.
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from barnraise.errors import MessageError, VerificationError
from barnraise.message import Digest, Message

__all__ = ["InstalledNote", "read_note"]

ProvenancePath = Annotated[str, Field(pattern=r"^(metadata|targets)/[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class InstalledNote(Message):
    """How a release was installed.

    Attributes:
        dtype: what the floating point tensors were converted to; None: they are as released.
        shards: how many tensors each file has, in the order of their names.
        converted: digests of the tensors that were converted, as they are now, by name.
        release: digest of ``release.json``. provenance: digests of the files in that folder, by path.
    """

    kind: ClassVar[str] = "installed"
    format: Literal[1] = 1
    dtype: Literal["F32", "BF16", "F16"] | None
    shards: tuple[Annotated[int, Field(strict=True, gt=0)], ...]
    converted: dict[str, Digest]
    release: Digest
    provenance: dict[ProvenancePath, Digest]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dtype is None and self.converted:
            raise ValueError("tensors were converted, and it is not said to what")
        return self


def read_note(data: bytes, what: str) -> InstalledNote:
    """A note from its bytes, which must be the one encoding that it has.

    Args:
        what: how to name it in an error.

    Raises:
        VerificationError: anything else.
    """
    try:
        note = InstalledNote.read(json.loads(data))
        if note.canonical() != data:
            raise VerificationError(
                f"{what} was altered: it is not written as pulling writes it; pull the release again"
            )
    except (ValueError, RecursionError, MessageError) as error:
        raise VerificationError(f"{what} was altered: {error}; pull the release again") from error
    return note
