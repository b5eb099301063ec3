"""The first use of a key: it is made, with a recovery code that is shown once and a card that is kept beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from barnraise.digest import canonical_json
from barnraise.errors import MessageError
from barnraise.identity import Identity
from barnraise.key_messages import RecoveryCard
from barnraise.message import Signed
from barnraise.recovery import RecoveryCode
from barnraise.releases.durable import replace_file

__all__ = ["FirstUse", "card_path", "first_use", "load_card", "store_card"]


@dataclass(frozen=True)
class FirstUse:
    """A key, and what goes with it.

    Attributes:
        card: the recovery card of this very key, if there is one.
        code: of a key that was made just now; for the owner to write down, it is stored nowhere.
    """

    identity: Identity
    card: Signed | None
    code: RecoveryCode | None = None


def first_use(key: Path) -> FirstUse:
    """The key at a path with its recovery card; both are made where there is no key yet.

    Raises:
        ConfigValueError: the file is no key, or others can read it.
    """
    made = not key.exists()
    identity = Identity.load_or_create(key)
    if not made:
        return FirstUse(identity, load_card(key, identity.public))
    code = RecoveryCode.make()
    card = code.card_for(identity.public)
    store_card(key, card)
    return FirstUse(identity, card, code)


def card_path(key: Path) -> Path:
    """Where the recovery card of a key file lies."""
    return key.with_name(f"{key.name}.recovery-card.json")


def store_card(key: Path, card: Signed) -> None:
    """Keep a card beside its key."""
    replace_file(card_path(key), canonical_json(card.model_dump(mode="json")))


def load_card(key: Path, contributor: str) -> Signed | None:
    """The card beside a key; None where there is none, or one that is no card of this contributor's."""
    try:
        card = Signed.read(json.loads(card_path(key).read_bytes()))
        return card if card.open(RecoveryCard).contributor == contributor else None
    except (FileNotFoundError, ValueError, MessageError):
        return None
