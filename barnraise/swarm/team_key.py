"""What the members of a team share: 32 random bytes in a file, and all that follows from them.

    barnraise team key 1
    4f1c..              64 hex digits

Nothing is sent that tells the key. Each purpose has a secret of its own, derived from the key, the run and the
team's name, so that one key can serve several runs and a secret that leaks opens nothing else.

Source: HKDF, RFC 5869.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from barnraise.errors import ConfigMissingError, ConfigValueError
from barnraise.private_file import create_private

__all__ = ["TeamKey", "TeamSecrets", "seal"]

FIRST_LINE = "barnraise team key 1"
KEY_BYTES = 32
FILE_MAX_BYTES = 256


@dataclass(frozen=True, slots=True, repr=False)
class TeamSecrets:
    """What a team's members use in one run.

    Attributes:
        access: proves to another member that a peer may speak in the team's DHT.
        words: seals what is said there, and to whom averaging begins with.
        meeting: opens what members leave for each other where strangers can read.
        name: of the team's places: nobody else can tell it.
    """

    access: bytes
    words: bytes
    meeting: bytes
    name: bytes

    def place(self, *parts: object) -> str:
        """Where members meet about one thing, as 32 hex digits that nobody else can tell."""
        said = "\0".join(str(part) for part in parts).encode()
        return hmac.digest(self.name, said, sha256).hex()[:32]


@dataclass(frozen=True, slots=True, repr=False)
class TeamKey:
    """The key itself."""

    secret: bytes

    @classmethod
    def create(cls, path: Path) -> TeamKey:
        """A new key, in a new file of mode 0600.

        Raises:
            ConfigValueError: something is there already, and stays as it is.
            ConfigMissingError: there is no such folder.
        """
        key = cls(secrets.token_bytes(KEY_BYTES))
        try:
            create_private(path, f"{FIRST_LINE}\n{key.secret.hex()}\n".encode("ascii"))
        except FileExistsError as error:
            raise ConfigValueError(f"{path} exists; nothing was changed. Choose another file for a new key") from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ConfigMissingError(f"there is no folder {path.parent}; make it first") from error
        return key

    @classmethod
    def load(cls, path: Path) -> TeamKey:
        """Read a key that a member handed on.

        Raises:
            ConfigMissingError: there is none.
            ConfigValueError: others can read it, or it is no key of a team.
        """
        try:
            mode = path.stat().st_mode & 0o777
            with path.open("rb") as file:
                data = file.read(FILE_MAX_BYTES + 1)
        except FileNotFoundError as error:
            raise ConfigMissingError(
                f"there is no team key {path}; a member has it, and the first member makes it: barnraise team new FILE"
            ) from error
        except OSError as error:
            raise ConfigValueError(f"{path} cannot be read as a team key: {error.strerror or error}") from error
        key = cls(_parsed(data, path))
        if mode & 0o077:
            raise ConfigValueError(
                f"{path} is readable by others (mode {mode:04o}), a team key must be 0600. Run: chmod 600 {path}"
            )
        return key

    @property
    def fingerprint(self) -> str:
        """What members compare to see that they have the same key: 16 hex digits in groups of four."""
        digits = self._derived("fingerprint", 8).hex()
        return " ".join(digits[at : at + 4] for at in range(0, 16, 4))

    def secrets_for(self, run: str, team: str) -> TeamSecrets:
        """What the members use in a run."""
        each = (self._derived(f"{purpose}\0{run}\0{team}", 32) for purpose in ("access", "words", "meeting", "name"))
        return TeamSecrets(*each)

    def _derived(self, purpose: str, size: int) -> bytes:
        derive = HKDF(algorithm=SHA256(), length=size, salt=None, info=b"barnraise/team/1\0" + purpose.encode())
        return derive.derive(self.secret)


def seal(secret: bytes, *parts: bytes) -> bytes:
    """A seal (HMAC-SHA256) over parts, in their order and with their lengths."""
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.digest(secret, framed, sha256)


def _parsed(data: bytes, path: Path) -> bytes:
    lines = data.decode("ascii", errors="replace").split()
    if len(data) <= FILE_MAX_BYTES and len(lines) == 5 and " ".join(lines[:4]) == FIRST_LINE:
        try:
            found = bytes.fromhex(lines[4])
        except ValueError:
            found = b""
        if len(found) == KEY_BYTES:
            return found
    raise ConfigValueError(
        f"{path} holds no team key ({FIRST_LINE!a} and 64 hex digits expected); ask a member for the file"
    )
