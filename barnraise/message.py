"""What every message is made of: validated fields, a body that is signed, and the names that may be in it.

A message refuses unknown fields, and numbers that are written as text. Signed ones travel as :class:`Signed`:
the body as plain JSON, the key that signed it, and the signature over the body's canonical JSON. Times are whole
milliseconds since the Unix epoch.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from barnraise.digest import canonical_json, is_digest
from barnraise.errors import BadNameError, UnknownFieldError
from barnraise.identity import Identity, verify_signature

__all__ = ["BlobRef", "Message", "Signed", "check_name", "check_run_name"]

NAME_MAX = 64
INVISIBLE_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # no control characters, yet nothing to see
_RUN_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")


def check_name(text: str) -> str:
    """A display name: 1 to 64 printable characters, no separator, nothing invisible.

    Raises:
        BadNameError: what is wrong with it.
    """
    if not 1 <= len(text) <= NAME_MAX:
        raise BadNameError(f"a name has 1 to {NAME_MAX} characters, this one has {len(text)}")
    if text != text.strip() or text in {".", ".."}:
        raise BadNameError("a name does not begin or end with a space and is not a dot")
    for char in text:
        category = unicodedata.category(char)
        if category[0] == "C" or category in {"Zl", "Zp"} or char in INVISIBLE_LETTERS or char in "/\\":
            raise BadNameError(f"a name has no control, invisible or path character; found U+{ord(char):04X}")
    return text


def check_run_name(text: str) -> str:
    """A run or model name: lower-case letters, digits and hyphens, as in a package index.

    Raises:
        BadNameError: anything else.
    """
    if not _RUN_NAME.match(text):
        raise BadNameError("a model name has 1 to 64 lower-case letters, digits and inner hyphens")
    return text


def _name(text: str) -> str:
    try:
        return check_name(text)
    except BadNameError as error:
        raise ValueError(f"bad name: {error}") from error


def _digest(text: str) -> str:
    if not is_digest(text):
        raise ValueError("not a digest of the form b3:<64 hex>")
    return text


Name = Annotated[str, AfterValidator(_name)]
Digest = Annotated[str, AfterValidator(_digest)]
Key = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Signature = Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]
Nonce = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
LeaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Millis = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]
Count = Annotated[int, Field(strict=True, ge=0, lt=1 << 53)]
Number = Annotated[float, Field(strict=True)]


M = TypeVar("M", bound="Message")


class Message(BaseModel):
    """Base of all messages: frozen, strict about fields.

    ``kind`` names the message inside signatures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    kind: ClassVar[str] = "message"

    @classmethod
    def read(cls, value: Any) -> Self:
        """Validate a decoded JSON value.

        Raises:
            BadNameError: a name in it is not acceptable.
            UnknownFieldError: any other mismatch, naming the first field at fault.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])[:80] or "the message"
            if "bad name: " in first["msg"]:
                raise BadNameError(f"{where}: {first['msg'].split('bad name: ', 1)[1]}") from error
            raise UnknownFieldError(f"{cls.kind}: {where}: {first['msg'][:200]}") from error

    def canonical(self) -> bytes:
        return canonical_json(self.model_dump(mode="json"))


class Signed(Message):
    """A body with the key that signed it."""

    kind: ClassVar[str] = "signed"
    body: dict[str, Any]
    key: Key
    signature: Signature

    @classmethod
    def make(cls, message: Message, identity: Identity) -> Signed:
        body = message.model_dump(mode="json")
        return cls(body=body, key=identity.public, signature=identity.sign(message.kind, canonical_json(body)))

    def open(self, message: type[M]) -> M:
        """Check the signature and validate the body as ``message``.

        Raises:
            BadSignatureError: not signed by ``key`` as this kind of message.
            UnknownFieldError, BadNameError: the body is not such a message.
        """
        verify_signature(self.key, message.kind, canonical_json(self.body), self.signature)
        return message.read(self.body)


class BlobRef(Message):
    """A stored blob: what it is called and how many bytes it has."""

    kind: ClassVar[str] = "blob"
    digest: Digest
    size_bytes: Count
