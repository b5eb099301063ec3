"""What the coordinator cannot sign itself: roots, targets and promotions, kept to be published.

    RUN/trust/offline.json   root/1.json root/2.json .. targets.json stable.json stable-list.json

One file, replaced as a whole, so that a root never comes without the targets that it belongs
to. Whoever writes it calls :meth:`Offline.check` first, and whoever publishes it does so again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self, TypeVar

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Targets

from barnraise.digest import digest_bytes
from barnraise.errors import MessageError, NotARunFolderError, NotEnoughSignaturesError, VerificationError
from barnraise.identity import Identity
from barnraise.releases.bundle import pack, unpack
from barnraise.releases.durable import make_folder, replace_file
from barnraise.releases.index import StableList
from barnraise.releases.roles import (
    STABLE,
    STABLE_TARGET,
    Keys,
    keys_of,
    make_root,
    make_targets,
    run_name,
    serialise,
    sign,
)

__all__ = ["Offline", "check_root_chain", "verified_targets"]

S = TypeVar("S", Root, Targets)


@dataclass(frozen=True, slots=True)
class Offline:
    """Signed metadata of the roles whose keys the coordinator does not hold, newest of each.

    Attributes:
        roots: all of them, version 1 first: a client follows them one by one.
        stable: metadata of the role ``stable``; stable_list: the file that it names. Both or neither.
    """

    roots: tuple[bytes, ...]
    targets: bytes
    stable: bytes | None = None
    stable_list: bytes | None = None

    @classmethod
    def found(cls, run: str, root: Identity, online: Identity, now_ms: int) -> Self:
        """A new run's: one key stands in for the maintainers, and nothing can be promoted yet."""
        keys = Keys((root.public,), 1, online.public)
        metadata, targets = make_root(run, keys, 1, now_ms), make_targets(keys, 1, now_ms)
        sign(metadata, root)
        sign(targets, root)
        return cls((serialise(metadata),), serialise(targets))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what :meth:`write` has written.

        Raises:
            NotARunFolderError: there is none.
            VerificationError: damaged, or not signed as it should be.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise NotARunFolderError(
                f"{path} is missing: this run has no signed root yet. Start it once: barnraise serve CONFIG --run DIR"
            ) from error
        return cls.unpack(data, str(path))

    @classmethod
    def unpack(cls, data: bytes, what: str) -> Self:
        """From the bytes of :meth:`pack`, checked.

        Raises:
            VerificationError: see :meth:`read`.
        """
        files = unpack(data, what)
        count = sum(name.startswith("root/") for name in files)
        roots = tuple(files.get(f"root/{number}.json", b"") for number in range(1, count + 1))
        offline = cls(roots, files.get("targets.json", b""), files.get("stable.json"), files.get("stable-list.json"))
        offline.check()
        return offline

    def pack(self) -> bytes:
        """All of it as one file."""
        files = {f"root/{number}.json": root for number, root in enumerate(self.roots, 1)}
        files["targets.json"] = self.targets
        if self.stable is not None and self.stable_list is not None:
            files |= {"stable.json": self.stable, "stable-list.json": self.stable_list}
        return pack(files)

    def write(self, path: Path) -> None:
        """Check it, then replace the file at ``path`` in one step. This is when a ceremony takes effect.

        Raises:
            VerificationError: not signed as it should be; nothing was written.
            DiskFullError: no space left; the old one stays.
        """
        self.check()
        make_folder(path.parent)
        replace_file(path, self.pack())

    def check(self) -> None:
        """Every root by its predecessor and itself, targets by the newest root, stable by targets.

        Raises:
            VerificationError: something is malformed or does not belong together.
            NotEnoughSignaturesError: too few of the right keys have signed.
        """
        root = check_root_chain(self.roots)
        if root.version != len(self.roots):
            raise VerificationError("the first root has not version 1; begin the ceremony anew")
        targets = verified_targets(root, Targets.type, self.targets)
        delegated = targets.delegations is not None and STABLE in (targets.delegations.roles or {})
        if (self.stable is None) != (self.stable_list is None) or (self.stable is not None and not delegated):
            raise VerificationError("the signed files do not belong together; begin the ceremony anew")
        if self.stable is not None and self.stable_list is not None:
            stable = verified_targets(targets, STABLE, self.stable)
            named = stable.targets.get(STABLE_TARGET)
            try:
                if named is None:
                    raise RepositoryError(f"it does not name {STABLE_TARGET}")
                named.verify_length_and_hashes(self.stable_list)
            except RepositoryError as error:
                raise VerificationError(f"the signature of stable is not for this list of releases: {error}") from error
            if self.promoted.name != run_name(root):
                raise VerificationError(f"the list of promoted releases is not one of {run_name(root)}")

    @property
    def root(self) -> Root:
        """The newest root."""
        return Metadata[Root].from_bytes(self.roots[-1]).signed

    @property
    def signed_targets(self) -> Metadata[Targets]:
        """Top-level targets."""
        return Metadata[Targets].from_bytes(self.targets)

    @property
    def keys(self) -> Keys:
        """Who may sign now."""
        return keys_of(self.root, self.signed_targets.signed)

    @property
    def expires(self) -> dict[str, datetime]:
        """Until when each role holds that no online key signs."""
        found = {Root.type: self.root.expires, Targets.type: self.signed_targets.signed.expires}
        if self.stable is not None:
            found[STABLE] = Metadata[Targets].from_bytes(self.stable).signed.expires
        return found

    @property
    def promoted(self) -> StableList:
        """The promoted releases; an empty list before the first promotion.

        Raises:
            VerificationError: not such a list.
        """
        if self.stable_list is None:
            return StableList(name=run_name(self.root))
        try:
            return StableList.read(json.loads(self.stable_list))
        except (ValueError, MessageError) as error:
            raise VerificationError(f"the list of promoted releases is malformed: {error}") from error

    @property
    def root_digest(self) -> str:
        """Digest of the first root: what a consumer pins."""
        return digest_bytes(self.roots[0])

    def renewed(self, root: Identity, now_ms: int) -> Offline:
        """The same for another year, where ``root`` is the one key that stands in for maintainers."""
        keys, run = self.keys, run_name(self.root)
        metadata = make_root(run, keys, self.root.version + 1, now_ms)
        targets = make_targets(keys, self.signed_targets.signed.version + 1, now_ms)
        sign(metadata, root)
        sign(targets, root)
        return self.with_root(serialise(metadata), serialise(targets))

    def with_root(self, root: bytes, targets: bytes) -> Offline:
        """With one more root, and the targets that it belongs to. Unchecked."""
        return replace(self, roots=(*self.roots, root), targets=targets)


def check_root_chain(roots: tuple[bytes, ...]) -> Root:
    """Follow the roots from the first, each signed as its predecessor and as itself demand.

    Returns:
        The newest.

    Raises:
        VerificationError: none, a gap, or something else than root metadata.
        NotEnoughSignaturesError: too few of the right keys have signed one.
    """
    if not roots:
        raise VerificationError("there is no root metadata; get it anew from the run's coordinator")
    trusted: Root | None = None
    for data in roots:
        metadata = _parsed(data, Root)
        if trusted is not None and metadata.signed.version != trusted.version + 1:
            raise VerificationError(
                f"root {metadata.signed.version} follows root {trusted.version}; a root is missing between them"
            )
        for judge in [metadata.signed] if trusted is None else [trusted, metadata.signed]:
            _require_signed(judge, Root.type, metadata)
        if trusted is not None and run_name(trusted) != run_name(metadata.signed):
            raise VerificationError(f"root {metadata.signed.version} is one of another run; begin the ceremony anew")
        trusted = metadata.signed
    assert trusted is not None
    return trusted


def verified_targets(delegator: Root | Targets, role: str, data: bytes) -> Targets:
    """What ``data`` says, if it is targets metadata that is signed as ``delegator`` demands of ``role``.

    Raises:
        VerificationError, NotEnoughSignaturesError: it is not.
    """
    metadata = _parsed(data, Targets)
    _require_signed(delegator, role, metadata)
    return metadata.signed


def _parsed(data: bytes, kind: type[S]) -> Metadata[S]:
    try:
        metadata: Metadata[S] = Metadata.from_bytes(data)
    except RepositoryError as error:
        raise VerificationError(f"this is no signed {kind.type} metadata: {error}") from error
    if not isinstance(metadata.signed, kind):
        raise VerificationError(f"this is signed {metadata.signed.type} metadata, expected {kind.type}")
    return metadata


def _require_signed(delegator: Root | Targets, role: str, metadata: Metadata[S]) -> None:
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, ValueError) as error:
        raise NotEnoughSignaturesError(
            f"{role} version {metadata.signed.version} is not signed as it has to be: {error}; "
            "collect the missing signatures"
        ) from error
