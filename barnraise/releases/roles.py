"""Who may sign what in a run's release metadata: the roles of The Update Framework, as pure building blocks.

    root ---------- names the keys of all others          maintainers, a threshold, offline
    |-- targets --- delegates the two lists               maintainers, a threshold, offline
    |   |-- nightly   index.json: all releases            the run's online key
    |   `-- stable    stable.json: promoted releases      maintainers, a threshold, offline
    |-- snapshot -- which versions belong together        the run's online key
    `-- timestamp - which snapshot is the newest          the run's online key, for a day

Nothing here reads a clock, a file or a key that it was not given. Metadata is made without
signatures, then :func:`sign` adds one key's; :func:`signatures` says whether they are enough.

Source: https://theupdateframework.github.io/specification/v1.0.33/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from barnraise.errors import ConfigValueError
from barnraise.identity import Identity

__all__ = [
    "INDEX_TARGET",
    "LIFETIMES",
    "NIGHTLY",
    "RUN_FIELD",
    "STABLE",
    "STABLE_TARGET",
    "Keys",
    "Signatures",
    "as_time",
    "delegated_list",
    "half_over",
    "keys_of",
    "make_root",
    "make_targets",
    "public_key",
    "run_name",
    "serialise",
    "sign",
    "signatures",
]

NIGHTLY = "nightly"
STABLE = "stable"
INDEX_TARGET = "index.json"
STABLE_TARGET = "stable.json"
RUN_FIELD = "x-barnraise-run"

LIFETIMES = {
    Timestamp.type: timedelta(days=1),
    Snapshot.type: timedelta(days=7),
    NIGHTLY: timedelta(days=30),
    Root.type: timedelta(days=365),
    Targets.type: timedelta(days=365),
    STABLE: timedelta(days=365),
}

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Keys:
    """Who signs for a run, all keys as 64 hex digits.

    Attributes:
        maintainers: sign root, targets and promotions. threshold: of them, for root and targets.
        online: the run's own key, for nightly, snapshot and timestamp.
        stable_threshold: maintainers that a promotion needs; None where nothing can be promoted yet.
    """

    maintainers: tuple[str, ...]
    threshold: int
    online: str
    stable_threshold: int | None = None

    def __post_init__(self) -> None:
        if len(set(self.maintainers)) != len(self.maintainers) or self.online in self.maintainers:
            raise ConfigValueError("a key is named twice; every maintainer and the online key need one of their own")
        for threshold in (self.threshold, self.stable_threshold):
            if threshold is not None and not 1 <= threshold <= len(self.maintainers):
                raise ConfigValueError(
                    f"a threshold of {threshold} of {len(self.maintainers)} keys cannot be; choose 1 to "
                    f"{len(self.maintainers)}"
                )


@dataclass(frozen=True, slots=True)
class Signatures:
    """Which of the keys that may sign a piece of metadata have signed it.

    Attributes:
        threshold: how many are needed. signed, unsigned: keys as 64 hex digits, sorted.
    """

    threshold: int
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many more are needed."""
        return max(0, self.threshold - len(self.signed))


def public_key(key: str) -> SSlibKey:
    """A key as metadata names it.

    Raises:
        ConfigValueError: not 64 hex digits.
    """
    try:
        return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)))
    except ValueError as error:
        raise ConfigValueError(f"{key[:80]!a} is no public key; one has 64 hex digits") from error


def make_root(run: str, keys: Keys, version: int, now_ms: int) -> Metadata[Root]:
    """Root metadata without signatures.

    Args:
        run: name of the run; it is signed with the keys, so that one run's root cannot stand in for another's.
    """
    maintainers = [public_key(key) for key in keys.maintainers]
    online = public_key(keys.online)
    offline_role = Role([key.keyid for key in maintainers], keys.threshold)
    online_role = Role([online.keyid], 1)
    root = Root(
        version=version,
        expires=_expiry(Root.type, now_ms),
        keys={key.keyid: key for key in (*maintainers, online)},
        roles={
            Root.type: offline_role,
            Targets.type: Role(list(offline_role.keyids), keys.threshold),
            Snapshot.type: online_role,
            Timestamp.type: Role([online.keyid], 1),
        },
        unrecognized_fields={RUN_FIELD: run},
    )
    return Metadata(root)


def make_targets(keys: Keys, version: int, now_ms: int) -> Metadata[Targets]:
    """Top-level targets metadata without signatures: no target of its own, only who may sign the lists."""
    online = public_key(keys.online)
    roles = {NIGHTLY: DelegatedRole(NIGHTLY, [online.keyid], 1, terminating=True, paths=[INDEX_TARGET])}
    named: dict[str, Key] = {online.keyid: online}
    if keys.stable_threshold is not None:
        maintainers = [public_key(key) for key in keys.maintainers]
        named |= {key.keyid: key for key in maintainers}
        ids = [key.keyid for key in maintainers]
        roles[STABLE] = DelegatedRole(STABLE, ids, keys.stable_threshold, terminating=True, paths=[STABLE_TARGET])
    targets = Targets(
        version=version, expires=_expiry(Targets.type, now_ms), delegations=Delegations(keys=named, roles=roles)
    )
    return Metadata(targets)


def delegated_list(role: str, target: str, content: bytes, version: int, now_ms: int) -> Metadata[Targets]:
    """Metadata of ``nightly`` or ``stable`` without signatures: it names one target, the list with this content."""
    file = TargetFile.from_data(target, content, ["sha256"])
    return Metadata(Targets(version=version, expires=_expiry(role, now_ms), targets={target: file}))


def sign(metadata: Metadata[S], identity: Identity) -> None:
    """Add one key's signature; signing twice with the same key changes nothing."""
    metadata.sign(CryptoSigner(identity.private_key), append=True)


def signatures(delegator: Root | Targets, role: str, metadata: Metadata[S]) -> Signatures:
    """Who has signed ``metadata`` of those whom ``delegator`` names for ``role``."""
    found = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    return Signatures(found.threshold, _names(found.signed.values()), _names(found.unsigned.values()))


def keys_of(root: Root, targets: Targets) -> Keys:
    """The keys that a run's metadata names at present."""
    maintainers = tuple(sorted(_hex(root.keys[keyid]) for keyid in root.roles[Root.type].keyids))
    online = _hex(root.keys[root.roles[Timestamp.type].keyids[0]])
    roles = (targets.delegations.roles if targets.delegations else None) or {}
    stable = roles[STABLE].threshold if STABLE in roles else None
    return Keys(maintainers, root.roles[Root.type].threshold, online, stable)


def run_name(root: Root) -> str:
    """Which run a root is of; "" when it does not say."""
    return str(root.unrecognized_fields.get(RUN_FIELD, ""))


def serialise(metadata: Metadata[S]) -> bytes:
    """The bytes that are published. The same content and keys give the same bytes: ed25519 draws nothing."""
    return metadata.to_bytes(JSONSerializer(compact=True))


def half_over(role: str, expires: datetime, now_ms: int) -> bool:
    """Whether it is time to sign anew: half of the life that ``role`` has is over."""
    return as_time(now_ms) >= expires - LIFETIMES[role] / 2


def as_time(now_ms: int) -> datetime:
    """Milliseconds since the epoch as metadata writes time: UTC, whole seconds."""
    return datetime.fromtimestamp(now_ms // 1000, UTC)


def _expiry(role: str, now_ms: int) -> datetime:
    return as_time(now_ms) + LIFETIMES[role]


def _hex(key: Key) -> str:
    return str(key.keyval["public"])


def _names(keys: Iterable[Key]) -> tuple[str, ...]:
    return tuple(sorted(_hex(key) for key in keys))
