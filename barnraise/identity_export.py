"""A key in a file that can travel: encrypted with a passphrase, by scrypt and ChaCha20-Poly1305.

The file is JSON. Everything but the encrypted key is authenticated with it, so none of its numbers can be altered;
and as they come from outside, they are bounded before any memory is spent on them.

Sources: RFC 7914 (scrypt), RFC 8439 (ChaCha20-Poly1305); the cost is what OWASP recommends at least:
https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html
"""

from __future__ import annotations

import json
import secrets
from typing import Annotated, ClassVar, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from pydantic import Field

from barnraise.digest import canonical_json
from barnraise.errors import ConfigValueError, MessageError, UsageError
from barnraise.identity import Identity
from barnraise.message import Key, Message, Signed

__all__ = ["PASSPHRASE_MIN", "opened", "sealed"]

PASSPHRASE_MIN = 8
FILE_MAX_BYTES = 16 * 1024


class SealedKey(Message):
    """An exported key.

    Attributes:
        public: the key's name, in the clear. card: its recovery card, in the clear too.
        n, r, p: cost of scrypt; it takes 128 * n * r bytes of memory.
        salt, nonce, sealed: hexadecimal; ``sealed`` is the private key, encrypted.
    """

    kind: ClassVar[str] = "barnraise-key"
    format: Literal["barnraise-key/1"] = "barnraise-key/1"
    public: Key
    card: Signed | None = None
    n: Annotated[int, Field(strict=True, ge=1 << 14, le=1 << 20)] = 1 << 17
    r: Annotated[int, Field(strict=True, ge=1, le=8)] = 8
    p: Annotated[int, Field(strict=True, ge=1, le=4)] = 1
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
    sealed: Annotated[str, Field(pattern=r"^[0-9a-f]{96}$")]

    def cipher(self, passphrase: str) -> ChaCha20Poly1305:
        kdf = Scrypt(salt=bytes.fromhex(self.salt), length=32, n=self.n, r=self.r, p=self.p)
        return ChaCha20Poly1305(kdf.derive(passphrase.encode("utf-8")))

    @property
    def in_the_clear(self) -> bytes:
        """What is authenticated beside the key."""
        return canonical_json(self.model_dump(mode="json", exclude={"sealed"}))


def sealed(identity: Identity, card: Signed | None, passphrase: str) -> bytes:
    """The content of an export file.

    Raises:
        UsageError: a passphrase of fewer than 8 characters.
    """
    if len(passphrase) < PASSPHRASE_MIN:
        raise UsageError(f"the passphrase has {len(passphrase)} characters; take at least {PASSPHRASE_MIN}")
    empty = SealedKey(
        public=identity.public,
        card=card,
        salt=secrets.token_hex(16),
        nonce=secrets.token_hex(12),
        sealed="0" * 96,
    )
    private = identity.private_key.private_bytes_raw()
    data = empty.cipher(passphrase).encrypt(bytes.fromhex(empty.nonce), private, empty.in_the_clear)
    full = empty.model_copy(update={"sealed": data.hex()})
    return json.dumps(full.model_dump(mode="json"), indent=2, sort_keys=True).encode("ascii") + b"\n"


def opened(data: bytes, passphrase: str) -> tuple[Identity, Signed | None]:
    """The key in an export file, and its recovery card if there is one.

    Raises:
        ConfigValueError: no export file, a wrong passphrase, or a file that was altered.
    """
    try:
        if len(data) > FILE_MAX_BYTES:
            raise ConfigValueError(f"{len(data):,} bytes are no exported key; one has less than {FILE_MAX_BYTES:,}")
        file = SealedKey.read(json.loads(data))
        private = file.cipher(passphrase).decrypt(
            bytes.fromhex(file.nonce), bytes.fromhex(file.sealed), file.in_the_clear
        )
    except (ValueError, MessageError, RecursionError) as error:
        raise ConfigValueError(
            "this is no exported key; make one where the key is: barnraise identity export FILE"
        ) from error
    except InvalidTag as error:
        raise ConfigValueError("the passphrase is wrong, or the file was altered; nothing was imported") from error
    identity = Identity.from_seed(private)
    if identity.public != file.public:
        raise ConfigValueError("the file names another key than the one in it; nothing was imported")
    return identity, file.card
