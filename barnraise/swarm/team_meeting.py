"""Where members of a team leave their addresses for each other in the run's open DHT, so that nobody else can read
or write them.

The place follows from the team's key, and what is left there is encrypted and authenticated with another secret of
it (ChaCha20-Poly1305), together with the place. A stranger who holds the record can keep it back, or keep an old one
alive until it is too old to count; that is all.

Source: RFC 8439.
"""

from __future__ import annotations

import json
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from barnraise.swarm.addresses import ADDRESSES_MAX, fault_of

__all__ = ["HOLDS_MS", "WORD_MAX_BYTES", "found_addresses", "left_addresses"]

WORD_MAX_BYTES = 8 << 10
HOLDS_MS = 3_600_000
CLOCK_MAY_DIFFER_MS = 120_000
NONCE_BYTES = 12


def left_addresses(secret: bytes, place: str, addresses: list[str], now_ms: int) -> bytes:
    """What a member leaves."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    said = json.dumps({"at_ms": now_ms, "addresses": addresses[:ADDRESSES_MAX]}).encode("ascii")
    return nonce + ChaCha20Poly1305(secret).encrypt(nonce, said, place.encode("ascii"))


def found_addresses(secret: bytes, place: str, word: bytes, now_ms: int) -> tuple[str, ...]:
    """Addresses that a member has left; none where it is no member's word, too large or too old."""
    if not NONCE_BYTES < len(word) <= WORD_MAX_BYTES:
        return ()
    try:
        said = ChaCha20Poly1305(secret).decrypt(word[:NONCE_BYTES], word[NONCE_BYTES:], place.encode("ascii"))
        value = json.loads(said)
        at_ms, addresses = int(value["at_ms"]), [str(one) for one in value["addresses"]]
    except (InvalidTag, ValueError, TypeError, KeyError):
        return ()
    if not now_ms - HOLDS_MS <= at_ms <= now_ms + CLOCK_MAY_DIFFER_MS:
        return ()
    return tuple(one for one in addresses[:ADDRESSES_MAX] if not fault_of(one, peer=True))
