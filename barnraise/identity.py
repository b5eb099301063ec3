"""Who signs: an ed25519 key in a file that only its owner can read, made on first use.

A message is signed together with its kind, so that a signature on a lease request can
never be shown as a signature on an update.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from barnraise.errors import BadSignatureError, ConfigValueError
from barnraise.private_file import create_private

__all__ = ["Identity", "config_home", "usual_key", "verify_signature"]


def config_home() -> Path:
    """Folder of the user's Barnraise configuration, after the XDG base directory rules."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "barnraise"


def usual_key() -> Path:
    """File of the user's signing key, where no other is named."""
    return config_home() / "identity.key"


@dataclass(frozen=True)
class Identity:
    """A private signing key. ``public`` is its name everywhere: 64 hex digits."""

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Identity:
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Identity:
        """A key from 32 bytes, for tests that must repeat."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        """Read the key at ``path``, or make one there with mode 0600.

        Raises:
            ConfigValueError: the file is no key, or others can read it.
        """
        try:
            return cls.load(path)
        except FileNotFoundError:
            pass
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        identity = cls.generate()
        try:
            identity.store(path)
        except FileExistsError:  # somebody else was faster: theirs is the key
            return cls.load(path)
        return identity

    @classmethod
    def load(cls, path: Path) -> Identity:
        """Read the key at ``path``, and make none.

        Raises:
            FileNotFoundError: there is none; whoever asked knows what that means.
            ConfigValueError: the file is no key, or others can read it.
        """
        mode = path.stat().st_mode & 0o777
        if mode & 0o077:
            raise ConfigValueError(
                f"{path} is readable by others (mode {mode:04o}), a private key must be 0600. Run: chmod 600 {path}"
            )
        text = path.read_text(encoding="ascii", errors="replace").strip()
        try:
            return cls(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text)))
        except ValueError as error:
            raise ConfigValueError(
                f"{path} holds no ed25519 key (64 hex digits expected). Restore it from a backup, or move it away."
            ) from error

    def store(self, path: Path) -> None:
        """Write the key to a new file of mode 0600.

        Raises:
            FileExistsError: something is there, and stays as it is.
        """
        create_private(path, f"{self._private.private_bytes_raw().hex()}\n".encode("ascii"))

    @property
    def public(self) -> str:
        return self._private.public_key().public_bytes_raw().hex()

    @property
    def private_key(self) -> Ed25519PrivateKey:
        """For a library that signs in its own format, which cannot be taken for a message of ours."""
        return self._private

    def secret(self, purpose: str) -> bytes:
        """32 bytes that follow from the key and a purpose, and tell nothing of the key or of another purpose."""
        return blake3(self._private.private_bytes_raw(), derive_key_context=f"barnraise secret: {purpose}").digest()

    def sign(self, kind: str, message: bytes) -> str:
        """Signature of ``message`` as a ``kind``: 128 hex digits."""
        return self._private.sign(_framed(kind, message)).hex()


def verify_signature(public: str, kind: str, message: bytes, signature: str) -> None:
    """Check a signature made by :meth:`Identity.sign`.

    Raises:
        BadSignatureError: key or signature malformed, or not matching.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        key.verify(bytes.fromhex(signature), _framed(kind, message))
    except (InvalidSignature, ValueError) as error:
        raise BadSignatureError(f"the signature on this {kind} is not by key {public[:16]}..; sign it again") from error


def _framed(kind: str, message: bytes) -> bytes:
    return b"barnraise/1 " + kind.encode("ascii") + b"\n" + message
