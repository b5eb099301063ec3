"""A maintainer's key pair on disk: FILE, which only its owner can read, and FILE.pub, which is handed around."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from pathlib import Path

import typer

from barnraise.errors import ConfigMissingError, ConfigValueError, UsageError
from barnraise.private_file import create_private
from barnraise.releases.durable import fsync_folder, replace_file
from barnraise.releases.maintainer import KeyPair, PublicKey, is_encrypted

__all__ = ["ENVIRONMENT", "load_pair", "load_public", "new_pair", "public_path"]

ENVIRONMENT = "BARNRAISE_PASSPHRASE"
MOST_BYTES = 16 << 10


def public_path(path: Path) -> Path:
    """Where the public half of the key at ``path`` lies."""
    return path.with_name(f"{path.name}.pub")


def new_pair(path: Path, name: str, *, with_passphrase: bool) -> tuple[PublicKey, bool]:
    """Make a key pair, or the public half again if only that is missing.

    Returns:
        the public half, and whether the private one is new.

    Raises:
        ConfigValueError: the key is there already.
        MessageError: not a name.
    """
    if public_path(path).exists():
        raise ConfigValueError(f"{public_path(path)} exists; nothing was changed. Choose another file for another key")
    is_new = not path.exists()
    pair = KeyPair.generate() if is_new else load_pair(path)
    public = pair.named(name)
    if is_new:
        _write_private(path, pair.to_pem(_new_passphrase() if with_passphrase else None))
    replace_file(public_path(path), public.canonical() + b"\n")
    return public, is_new


def load_pair(path: Path) -> KeyPair:
    """Read a private key; asks for its passphrase if it has one.

    Raises:
        ConfigMissingError: there is none.
        ConfigValueError: others can read it, or it is no key, or the passphrase is wrong.
    """
    data = _read(path)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise ConfigValueError(
            f"{path} is readable by others (mode {mode:04o}), a private key must be 0600. Run: chmod 600 {path}"
        )
    return KeyPair.from_pem(data, str(path), _passphrase(path) if is_encrypted(data) else None)


def load_public(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        ConfigMissingError, ConfigValueError, MessageError: there is none, or it is malformed.
    """
    return PublicKey.parse(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES)
    except FileNotFoundError as error:
        raise ConfigMissingError(f"there is no key {path}; one is made by: barnraise keys new FILE") from error


def _write_private(path: Path, data: bytes) -> None:
    """Write for the owner only: whole, or not at all, and never over another key."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        create_private(temporary, data)
        path.hardlink_to(temporary)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    fsync_folder(path.parent)


def _passphrase(path: Path) -> str:
    given = os.environ.get(ENVIRONMENT)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError(f"{path} has a passphrase, and nobody can be asked for it here; set {ENVIRONMENT}")
    return str(typer.prompt(f"Passphrase of {path}", hide_input=True, err=True))


def _new_passphrase() -> str:
    given = os.environ.get(ENVIRONMENT)
    if given is None:
        if not sys.stdin.isatty():
            raise UsageError(f"nobody can be asked for a passphrase here; set {ENVIRONMENT}")
        given = typer.prompt("New passphrase", hide_input=True, confirmation_prompt=True, err=True)
    if not given:
        raise UsageError("an empty passphrase protects nothing; leave --passphrase out, or choose one")
    return str(given)
