"""Random numbers that nobody else can draw again: a cipher's key stream under a key from the operating system.

Noise hides an example only from those who cannot subtract it. A lease's seed is the coordinator's own, and the usual
generators tell their state to whoever sees enough of what they gave; so neither is used here. The key is made when
the process starts, is never written down, and goes with the process.

What is left is that of all noise in floating point: a float has fewer bits than a real number, and an attacker who
sees outputs exactly could use that (Mironov 2012). What is sent here was rounded to few bits by a codec long after.

Source: Box and Muller 1958, https://doi.org/10.1214/aoms/1177706645
"""

from __future__ import annotations

import secrets

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

__all__ = ["SecretStream"]

PIECE = 1 << 18


class SecretStream:
    """Uniform and normal numbers of one secret key."""

    def __init__(self, key: bytes | None = None) -> None:
        """From the operating system's randomness; a test may give 32 bytes of its own."""
        drawn = secrets.token_bytes(32) if key is None else key
        self._stream = Cipher(algorithms.AES256(drawn), modes.CTR(bytes(16))).encryptor()

    def uniform(self, count: int) -> NDArray[np.float64]:
        """Multiples of 2^-53 in [0, 1), float64 [count]."""
        words = np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8")
        return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float32]:
        """Of mean 0 and standard deviation 1, float32 [count]."""
        found = np.empty(count, dtype=np.float32)
        for first in range(0, count, PIECE):
            some = min(PIECE, count - first)
            pairs = -(-some // 2)
            radius = np.sqrt(-2.0 * np.log1p(-self.uniform(pairs)))  # the logarithm of a number in (0, 1]
            angle = 2.0 * np.pi * self.uniform(pairs)
            found[first : first + some] = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:some]
        return found
