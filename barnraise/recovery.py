"""The recovery code: 32 letters and digits on paper that can put a new key in a lost one's place.

    7K3M-0V9T-...      18 random bytes and 2 of checksum, in Crockford's base 32: eight groups of four

The code is the seed of a recovery key. Only the public half of that leaves this machine, on a *recovery card*
that the recovery key signs; the code itself is shown once and stored nowhere by us.

Source: https://www.crockford.com/base32.html (the alphabet, and what is read as what)
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from blake3 import blake3

from barnraise.errors import UsageError
from barnraise.identity import Identity
from barnraise.key_messages import RecoveryCard
from barnraise.message import Signed

__all__ = ["RecoveryCode"]

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
SECRET_BYTES, CHECK_BYTES = 18, 2
GROUP = 4


@dataclass(frozen=True)
class RecoveryCode:
    """A secret that is kept on paper. ``repr`` does not show it."""

    _secret: bytes

    def __repr__(self) -> str:
        return "RecoveryCode(...)"

    @classmethod
    def make(cls, random: Callable[[int], bytes] = secrets.token_bytes) -> RecoveryCode:
        return cls(random(SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> RecoveryCode:
        """The code that somebody has typed; case, spaces and hyphens do not matter, O is 0, I and L are 1.

        Raises:
            UsageError: too long or short, a letter that no code has, or a checksum that does not fit.
        """
        letters = "".join(text.upper().split()).replace("-", "").translate(READ_AS)
        count = (SECRET_BYTES + CHECK_BYTES) * 8 // 5
        strange = sorted(set(letters) - set(ALPHABET))
        if strange:
            raise UsageError(f"a recovery code has no {strange[0]!a} in it; look at the paper again")
        if len(letters) != count:
            raise UsageError(f"a recovery code has {count} letters and digits, this has {len(letters)}; look again")
        number = 0
        for letter in letters:
            number = number * 32 + ALPHABET.index(letter)
        data = number.to_bytes(SECRET_BYTES + CHECK_BYTES, "big")
        if _check(data[:SECRET_BYTES]) != data[SECRET_BYTES:]:
            raise UsageError("the recovery code's checksum does not fit: a letter is wrong or misplaced; look again")
        return cls(data[:SECRET_BYTES])

    @property
    def text(self) -> str:
        """Eight groups of four, for paper."""
        data = self._secret + _check(self._secret)
        number, letters = int.from_bytes(data, "big"), ""
        for _ in range(len(data) * 8 // 5):
            number, digit = divmod(number, 32)
            letters = ALPHABET[digit] + letters
        return "-".join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))

    @property
    def identity(self) -> Identity:
        """The recovery key."""
        return Identity.from_seed(blake3(self._secret, derive_key_context="barnraise 2026 recovery key").digest())

    def card_for(self, contributor: str) -> Signed:
        """What may be shown to every run: whose recovery key this is."""
        return Signed.make(RecoveryCard(contributor=contributor), self.identity)


def _check(secret: bytes) -> bytes:
    return blake3(secret, derive_key_context="barnraise 2026 recovery code checksum").digest(length=CHECK_BYTES)
