"""Who may sign what in a run and what they promoted: the newest of what maintainers signed, to be reasoned about.

:class:`~barnraise.releases.offline.Offline` holds the same as files, with all roots that there
ever were. A charter is what a proposal starts from and what it makes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import DelegatedRole, Key, Metadata, Root, Targets, Timestamp

from barnraise.digest import digest_json
from barnraise.errors import VerificationError
from barnraise.releases.index import Promotion, StableList
from barnraise.releases.maintainer import PublicKey, named_keys
from barnraise.releases.offline import Offline
from barnraise.releases.roles import NIGHTLY, STABLE, STABLE_TARGET, run_name

__all__ = ["Charter", "delegated", "newest_root"]

S = TypeVar("S", Root, Targets)


@dataclass(frozen=True)
class Charter:
    """The metadata of a run that no online key signs.

    Attributes:
        stable: metadata of the role, and ``listed`` the list that it names; None before there are maintainers.
    """

    root: Metadata[Root]
    targets: Metadata[Targets]
    stable: Metadata[Targets] | None = None
    listed: StableList | None = None

    @classmethod
    def of(cls, offline: Offline) -> Charter:
        """The newest of what a run has.

        Raises:
            VerificationError: it is not signed as it should be.
        """
        offline.check()
        return cls._of(offline.roots[-1], offline.targets, offline.stable, offline.stable_list)

    @classmethod
    def proven(cls, files: Mapping[str, bytes]) -> Charter:
        """The same from what proves a source's lists; see :class:`~barnraise.releases.trust.Trusted`."""
        stable, listed = files.get("metadata/stable.json"), files.get("targets/stable.json")
        return cls._of(newest_root(files), files["metadata/targets.json"], stable, listed)

    @classmethod
    def _of(cls, root: bytes, targets: bytes, stable: bytes | None, listed: bytes | None) -> Charter:
        parts = {"root": root, "targets": targets, "stable": stable, "stable_list": listed}
        try:
            value = {name: None if data is None else json.loads(data) for name, data in parts.items()}
        except (ValueError, RecursionError) as error:
            raise VerificationError(f"this is not the metadata of a run: {error}") from error
        return cls.read(value)

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> Charter:
        """From the JSON that :meth:`as_json` makes. Signatures are not checked.

        Raises:
            VerificationError: it is not such metadata.
            MessageError: the list of promoted releases is malformed.
        """
        stable, listed = value.get("stable"), value.get("stable_list")
        try:
            return cls(
                _metadata(value["root"], Root),
                _metadata(value["targets"], Targets),
                None if stable is None else _metadata(stable, Targets),
                None if listed is None else StableList.read(listed),
            )
        except (RepositoryError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise VerificationError(f"this is not the metadata of a run: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """JSON values, in the shape of the files."""
        return {
            "root": self.root.to_dict(),
            "targets": self.targets.to_dict(),
            "stable": self.stable.to_dict() if self.stable else None,
            "stable_list": self.listed.model_dump(mode="json") if self.listed else None,
        }

    def check(self, run: str) -> None:
        """Whether it is the run's, and signed as it says itself: root by root, targets by root, stable by targets.

        Raises:
            VerificationError: it is not.
        """
        if run_name(self.root.signed) != run:
            raise VerificationError(f"this is the metadata of {run_name(self.root.signed)!a}, not of {run}")
        if (self.stable is None) != (self.listed is None):
            raise VerificationError("this is not the metadata of a run: a list of releases without its signatures")
        roles = {**self.root.signed.roles, **delegated(self.targets.signed)}
        if NIGHTLY not in roles or not all(role.keyids for role in roles.values()):
            raise VerificationError(
                f"this is not the metadata of a run: {run} has no {NIGHTLY}, or a role without keys"
            )
        try:
            for role, delegator, metadata in self._signed_by():
                delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
            if self.stable is not None and self.listed is not None:
                self.stable.signed.targets[STABLE_TARGET].verify_length_and_hashes(self.listed.canonical())
        except (RepositoryError, ValueError, KeyError) as error:
            raise VerificationError(f"the metadata of {run} is not signed as it has to be: {error}") from error

    def _signed_by(self) -> Iterator[tuple[str, Root | Targets, Metadata[Any]]]:
        """Role, who says whose signatures it needs, and its metadata."""
        yield Root.type, self.root.signed, self.root
        yield Targets.type, self.root.signed, self.targets
        if self.stable is not None:
            yield STABLE, self.targets.signed, self.stable

    @property
    def digest(self) -> str:
        """Of what is signed, whoever signed it."""
        parts = (self.root, self.targets, self.stable)
        return digest_json([part.signed.to_dict() if part else None for part in parts])

    @property
    def has_maintainers(self) -> bool:
        """Whether maintainers hold root and targets; before, it is the bootstrap key of the run."""
        return STABLE in delegated(self.targets.signed)

    @property
    def maintainers(self) -> tuple[PublicKey, ...]:
        """Who signs root and targets."""
        return named_keys(self.root.signed.keys, self.root.signed.roles[Root.type].keyids)

    @property
    def threshold(self) -> int:
        """How many of them have to."""
        return self.root.signed.roles[Root.type].threshold

    @property
    def online(self) -> str:
        """The public key, 64 hex digits, that signs timestamps and with them what is newest."""
        root = self.root.signed
        return str(root.keys[root.roles[Timestamp.type].keyids[0]].keyval["public"])

    @property
    def keys(self) -> dict[str, Key]:
        """Every key that signs anything, by its id."""
        delegations = self.targets.signed.delegations
        return {**self.root.signed.keys, **(delegations.keys if delegations else {})}

    @property
    def promoted(self) -> tuple[Promotion, ...]:
        """What was promoted."""
        return self.listed.promoted if self.listed else ()

    @property
    def expires(self) -> dict[str, datetime]:
        """Until when each role holds."""
        found = {Root.type: self.root.signed.expires, Targets.type: self.targets.signed.expires}
        return found | ({STABLE: self.stable.signed.expires} if self.stable else {})

    @property
    def versions(self) -> str:
        """Of the metadata, in words."""
        stable = self.stable.signed.version if self.stable else 0
        return f"root {self.root.signed.version}, targets {self.targets.signed.version}, stable {stable}"


def delegated(targets: Targets) -> dict[str, DelegatedRole]:
    """The roles that targets metadata delegates to."""
    found = targets.delegations.roles if targets.delegations else None
    return found or {}


def _metadata(value: dict[str, Any], kind: type[S]) -> Metadata[S]:
    found: Metadata[Any] = Metadata.from_dict(copy.deepcopy(value))
    if not isinstance(found.signed, kind):
        raise ValueError(f"expected {kind.type}, found {found.signed.type}")
    return found


def newest_root(files: Mapping[str, bytes]) -> bytes:
    """Of what proves a source's lists."""
    return files[max((name for name in files if name.endswith(".root.json")), key=_number)]


def _number(name: str) -> int:
    """Of a root, from the name of its file."""
    return int(name.rpartition("/")[2].partition(".")[0])
