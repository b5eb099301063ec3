"""Who may promote: a maintainer's key pair, as two files and as TUF sees it.

The private half is PEM (PKCS #8), with a passphrase if its owner wants one; it never leaves the
owner's machine. The public half is one line of JSON with the name that everybody sees:

    {"name":"ada","public":"<64 hex>"}

Here are the bytes of both; reading and writing files is ``barnraise.cli.key_files``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import Field
from securesystemslib.signer import CryptoSigner, Key, Signature, SSlibKey

from barnraise.errors import ConfigValueError
from barnraise.message import Key as PublicHex
from barnraise.message import Message

__all__ = ["NAME_FIELD", "KeyPair", "PublicKey", "is_encrypted", "name_of", "named_keys"]

NAME_FIELD = "x-barnraise-name"
"""Where metadata names the owner of a key. Not part of the key's id."""


class PublicKey(Message):
    """The public half of a key, and whose it is."""

    kind: ClassVar[str] = "public-key"
    name: Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$")]
    public: PublicHex

    @classmethod
    def parse(cls, data: bytes, what: str) -> PublicKey:
        """Read a public key file; ``what`` names it in an error.

        Raises:
            ConfigValueError: it is no such file.
            MessageError: a name or key in it is malformed.
        """
        if b"PRIVATE KEY" in data:
            raise ConfigValueError(f"{what} is a private key: keep it to yourself, and hand over {what}.pub")
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise ConfigValueError(
                f"{what} is no public key file of a maintainer; one is made by: barnraise keys new FILE --name NAME"
            ) from error
        return cls.read(value)

    @classmethod
    def of(cls, key: Key) -> PublicKey:
        """What metadata says of a key."""
        return cls(name=name_of(key), public=key.keyval["public"])

    @property
    def keyid(self) -> str:
        """The id that TUF metadata knows this key by: it follows from the key alone, never from its name."""
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public))).keyid

    @property
    def words(self) -> str:
        return f"{self.name} ({self.public[:10]})"

    def as_tuf(self) -> SSlibKey:
        """The key as TUF metadata lists it."""
        return SSlibKey(self.keyid, "ed25519", "ed25519", {"public": self.public}, {NAME_FIELD: self.name})


def name_of(key: Key) -> str:
    """The owner of a key as metadata names it; without a name, the beginning of its id."""
    name: Any = key.unrecognized_fields.get(NAME_FIELD)
    return name if isinstance(name, str) else key.keyid[:10]


@dataclass(frozen=True)
class KeyPair:
    """A private key that can sign metadata.

    Not an :class:`~barnraise.identity.Identity`, though both hold an ed25519 key: that one's file is made on first use,
    never has a passphrase, and signs messages framed by their kind; this one is made on purpose, and signs for TUF.
    """

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> KeyPair:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> KeyPair:
        """A key from 32 bytes, for tests that must repeat."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def from_pem(cls, data: bytes, what: str, passphrase: str | None = None) -> KeyPair:
        """Read a private key; ``what`` names it in an error.

        Raises:
            ConfigValueError: no key of ours, or the passphrase is missing or wrong.
        """
        secret = passphrase.encode("utf-8") if passphrase and is_encrypted(data) else None
        try:
            private = load_pem_private_key(data, secret)
        except TypeError as error:
            raise ConfigValueError(f"{what} has a passphrase, and none was given") from error
        except (ValueError, UnsupportedAlgorithm) as error:
            why = "the passphrase is wrong" if is_encrypted(data) else "it is no private key"
            raise ConfigValueError(
                f"{what} cannot be used: {why}. A key is made by: barnraise keys new FILE"
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigValueError(f"{what} is no ed25519 key; one is made by: barnraise keys new FILE")
        return cls(private)

    def to_pem(self, passphrase: str | None = None) -> bytes:
        """PEM (PKCS #8), encrypted if there is a passphrase."""
        how = BestAvailableEncryption(passphrase.encode("utf-8")) if passphrase else NoEncryption()
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)

    def named(self, name: str) -> PublicKey:
        """The public half under a name."""
        return PublicKey.read({"name": name, "public": self._private.public_key().public_bytes_raw().hex()})

    @property
    def keyid(self) -> str:
        return SSlibKey.from_crypto(self._private.public_key()).keyid

    def sign(self, payload: bytes) -> Signature:
        """TUF's signature of the canonical bytes of metadata."""
        return CryptoSigner(self._private).sign(payload)


def is_encrypted(data: bytes) -> bool:
    """Whether a PEM file wants a passphrase."""
    return b"ENCRYPTED" in data


def named_keys(keys: Mapping[str, Key], keyids: Iterable[str]) -> tuple[PublicKey, ...]:
    """The keys of a role, in its order."""
    return tuple(PublicKey.of(keys[keyid]) for keyid in keyids)
