"""What has to be published next, decided purely; repository.py writes it.

From what is published, what maintainers signed and the index :func:`plan_publication` makes the
files that are missing, and says when half of a signature's life is over. The same content gives
the same files, so publishing twice changes nothing.

Versions are seconds since the epoch (or one more than the last), not 1, 2, 3: a run that was
restored from a backup goes on above what it had published before, and no client takes it for
a rollback.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

from barnraise.errors import ConfigValueError
from barnraise.identity import Identity
from barnraise.releases.offline import Offline
from barnraise.releases.roles import (
    INDEX_TARGET,
    LIFETIMES,
    NIGHTLY,
    STABLE,
    STABLE_TARGET,
    as_time,
    delegated_list,
    half_over,
    serialise,
    sign,
)

__all__ = ["METADATA", "TARGETS", "Publication", "plan_publication", "renew_at_ms"]

METADATA = "metadata"
TARGETS = "targets"
FAR_AHEAD_S = 86_400

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Publication:
    """A state of the repository.

    Attributes:
        files: path below ``public/`` -> content, for all but the timestamp; most are there already.
        timestamp: content of ``timestamp.json``, which leads to them.
        renew_at_ms: when to plan again, though nothing is released.
    """

    files: Mapping[str, bytes]
    timestamp: bytes
    renew_at_ms: int


def plan_publication(
    before: Mapping[str, bytes], offline: Offline, index: bytes, online: Identity, now_ms: int
) -> Publication:
    """The state that ought to be published now.

    Args:
        before: role -> metadata that is published (``timestamp``, ``snapshot``, ``nightly``), where there is any.
        offline: checked. index: canonical JSON of the index. online: signs what is not in ``offline``.

    Raises:
        ConfigValueError: ``online`` is not the key that the root names.
    """
    if offline.keys.online != online.public:
        raise ConfigValueError(
            f"the online key is {online.public[:16]}.., the newest root names {offline.keys.online[:16]}..; put the "
            "right one into the run's keys/ folder"
        )
    root, targets = offline.root, offline.signed_targets
    signing = _Signing(before, online, now_ms)
    file = TargetFile.from_data(INDEX_TARGET, index, ["sha256"])
    nightly = signing.current(
        NIGHTLY,
        targets.signed,
        Targets,
        lambda found: found.targets == {INDEX_TARGET: file},
        lambda version: delegated_list(NIGHTLY, INDEX_TARGET, index, version, now_ms),
    )
    parts = {Targets.type: offline.targets, NIGHTLY: nightly}
    if offline.stable is not None:
        parts[STABLE] = offline.stable
    meta = {f"{role}.json": _described(data) for role, data in parts.items()}
    snapshot = signing.current(
        Snapshot.type,
        root,
        Snapshot,
        lambda found: found.meta == meta,
        lambda version: Metadata(Snapshot(version, expires=_expiry(Snapshot.type, now_ms), meta=meta)),
    )
    described = _described(snapshot)
    timestamp = signing.current(
        Timestamp.type,
        root,
        Timestamp,
        lambda found: found.snapshot_meta == described,
        lambda version: Metadata(Timestamp(version, expires=_expiry(Timestamp.type, now_ms), snapshot_meta=described)),
    )
    files = {f"{TARGETS}/{file.hashes['sha256']}.{INDEX_TARGET}": index}
    if offline.stable_list is not None:
        files[f"{TARGETS}/{hashlib.sha256(offline.stable_list).hexdigest()}.{STABLE_TARGET}"] = offline.stable_list
    files |= {f"{METADATA}/{_version(data)}.{role}.json": data for role, data in parts.items()}
    files |= {f"{METADATA}/{number}.root.json": data for number, data in enumerate(offline.roots, 1)}
    files[f"{METADATA}/{_version(snapshot)}.snapshot.json"] = snapshot
    renewed = {NIGHTLY: nightly, Snapshot.type: snapshot, Timestamp.type: timestamp}
    return Publication(files, timestamp, min(renew_at_ms(role, data) for role, data in renewed.items()))


@dataclass(frozen=True)
class _Signing:
    """Keeps what is published while it still holds, and signs anew what does not."""

    before: Mapping[str, bytes]
    online: Identity
    now_ms: int

    def current(
        self,
        role: str,
        delegator: Root | Targets,
        kind: type[S],
        holds: Callable[[S], bool],
        make: Callable[[int], Metadata[S]],
    ) -> bytes:
        """The published metadata of ``role``, or its successor.

        Args:
            holds: whether the content is still right. make: the successor, without signatures, by its version.
        """
        data = self.before.get(role)
        found = _trusted(data, role, delegator, kind) if data is not None else None
        if data is not None and found is not None and holds(found) and not self._is_due(role, found):
            return data
        made = make(max(1, self.now_ms // 1000, self._after(data, found)))
        sign(made, self.online)
        return serialise(made)

    def _after(self, data: bytes | None, found: Signed | None) -> int:
        """The version that follows the published one.

        After a key was replaced too, for a client may be reading what the old one signed, and files with a version
        in their name never change; but not if the old key was used to run far ahead of the clock.
        """
        if found is not None:
            return found.version + 1
        left = 0
        with suppress(ValueError, KeyError, TypeError):  # damaged
            left = _version(data) if data is not None else 0
        return left + 1 if left <= self.now_ms // 1000 + FAR_AHEAD_S else 0

    def _is_due(self, role: str, found: Signed) -> bool:
        return half_over(role, found.expires, self.now_ms)


def _trusted(data: bytes, role: str, delegator: Root | Targets, kind: type[S]) -> S | None:
    """What is in ``data``, if it is metadata of this role, by a key that may sign it now."""
    try:
        metadata: Metadata[S] = Metadata.from_bytes(data)
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError):
        return None
    return metadata.signed if isinstance(metadata.signed, kind) else None


def _described(data: bytes) -> MetaFile:
    return MetaFile.from_data(_version(data), data, ["sha256"])


def _version(data: bytes) -> int:
    return int(json.loads(data)["signed"]["version"])


def _expiry(role: str, now_ms: int) -> datetime:
    return as_time(now_ms) + LIFETIMES[role]


def renew_at_ms(role: str, data: bytes) -> int:
    expires = Metadata[Any].from_bytes(data).signed.expires
    return int((expires - LIFETIMES[role] / 2).timestamp() * 1000)
