"""What a source's releases are, once it is known that they are the run's: the index, and what proves it.

A run folder on this disk vouches for itself. Everything else is read by python-tuf's client
(:mod:`barnraise.releases.client`), from the first root that was pinned when the run was first
seen, or that the user names; what it has seen is kept, so that nothing older is taken later:

    $XDG_DATA_HOME/barnraise/trust/NAME/
      first.root.json     the pinned root: everything else follows from it
      metadata/           python-tuf's own, the newest of each role
      targets/            the lists that it leads to
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from barnraise.clock import now_ms
from barnraise.digest import digest_bytes, is_digest
from barnraise.errors import BlobMissingError, MessageError, NoSuchVersionError, UsageError, VerificationError
from barnraise.message import Message
from barnraise.releases.endings import CONSUMERS_TOLD, ending_in_words
from barnraise.releases.index import ReleaseIndex, StableList, check_promises
from barnraise.releases.source import ReleaseSource

__all__ = ["LIMITS", "TrustOptions", "Trusted", "data_home", "parse_list", "promoted_in", "read_index", "read_vouched"]

LIMITS = {
    "root": 256 << 10,
    "timestamp": 16 << 10,
    "snapshot": 64 << 10,
    "targets": 256 << 10,
    "list": 16 << 20,
}
"""Bytes of metadata that are read at most, by role, and of the lists; ``targets`` is also for delegated roles."""

INDEX_NAME = "targets/index.json"
STABLE_NAME = "targets/stable.json"

M = TypeVar("M", bound=Message)


def data_home() -> Path:
    """Folder of what Barnraise remembers for the user, after the XDG base directory rules."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "barnraise"


@dataclass(frozen=True, slots=True)
class TrustOptions:
    """From where trust comes, and where it is kept.

    Attributes:
        root: digest of one of the run's roots (``b3:..``), or a root as bytes; None takes what was
            pinned, and pins the first root when there is nothing yet.
        home: folder with a folder for each run; the user's by default.
    """

    root: str | bytes | None = None
    home: Path | None = None

    @classmethod
    def of(cls, text: str | None, home: Path | None = None) -> TrustOptions:
        """From what a user types after ``--trust``: a digest, or a file with root metadata.

        Raises:
            UsageError: neither.
        """
        if text is None or is_digest(text):
            return cls(text, home)
        try:
            with Path(text).open("rb") as file:
                return cls(file.read(LIMITS["root"] + 1), home)
        except OSError as error:
            raise UsageError(
                f"--trust {text[:80]!a} is neither the digest of a run's root (b3:<64 hex digits>) nor a file with one"
            ) from error

    @property
    def folder(self) -> Path:
        """Where runs are remembered."""
        return self.home or data_home() / "trust"

    def pinned(self, run: str) -> bytes | None:
        """The root that is pinned for a run, if it was seen before."""
        try:
            return (self.folder / run / "first.root.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None


@dataclass(frozen=True, slots=True)
class Trusted:
    """Lists that are the run's own.

    Attributes:
        stable: the promoted releases, maybe none; None where there are no maintainers to promote any.
        provenance: what proves a release of this index offline, in this order: the roots from the
            one that trust begins with (``metadata/1.root.json``), ``metadata/nightly.json`` and the
            other roles, ``targets/index.json`` and ``targets/stable.json``.
        root_digest: of the root that trust begins with.
    """

    index: ReleaseIndex
    stable: StableList | None
    provenance: Mapping[str, bytes]
    warnings: tuple[str, ...]
    root_digest: str

    @property
    def promoted(self) -> tuple[str, ...] | None:
        """Versions that maintainers promoted, as :func:`barnraise.versions.select` wants them."""
        return None if self.stable is None else tuple(promotion.version for promotion in self.stable.promoted)


def read_index(source: ReleaseSource, trust: TrustOptions | None = None) -> Trusted:
    """Read a source's lists, and make sure that they are what the run's keys signed last.

    Raises:
        ExpiredMetadataError: nobody renewed it, or somebody holds the newer back.
        OlderMetadataError: older than what was seen before.
        NotEnoughSignaturesError: not signed by enough of the right keys.
        VerificationError: malformed, altered, too large, another run's, or promises that do not hold.
        NoSuchVersionError: nothing was released there.
        NetworkError, StorageError: the source or the disk.
    """
    trust = trust or TrustOptions()
    warnings: tuple[str, ...] = ()
    if source.vouches and trust.root is None:
        files = read_vouched(source)
    else:
        from barnraise.releases.client import refresh  # python-tuf only when it is needed

        files, warnings = refresh(source, trust)
    index = parse_list(files[INDEX_NAME], ReleaseIndex, f"the index of {source.label}")
    run = str(_signed(next(iter(files.values())))["x-barnraise-run"])
    if index.name != run:
        raise VerificationError(
            f"{source.label} has the keys of {run} and an index of {index.name}; use another mirror"
        )
    if source.vouches and trust.root is None:
        warnings = _unless_pinned(trust.pinned(run), files, source.label, run)
    warnings += _ending(files, run)
    stable = promoted_in(files, run)
    check_promises(index, stable)
    return Trusted(index, stable, files, warnings, digest_bytes(next(iter(files.values()))))


def _unless_pinned(pinned: bytes | None, files: Mapping[str, bytes], label: str, run: str) -> tuple[str, ...]:
    """What to say of a folder that is believed although another root was pinned: a folder can come from anywhere."""
    if pinned is None or pinned in files.values():
        return ()
    return (
        f"{label} is a run folder and was believed without a look at its signatures, but it does not have root "
        f"{digest_bytes(pinned)[:19]}.. that is pinned for {run} here. If you did not make it on this machine, do not "
        "use it",
    )


def _ending(files: Mapping[str, bytes], run: str) -> tuple[str, ...]:
    """What to say when maintainers have to sign again before long."""
    newest = [data for name, data in files.items() if name.endswith(".root.json")][-1]
    named = {"root": newest} | {
        role: files[name] for role in ("targets", "stable") if (name := f"metadata/{role}.json") in files
    }
    expires = {role: datetime.fromisoformat(_signed(data)["expires"]) for role, data in named.items()}
    words = ending_in_words(expires, datetime.fromtimestamp(now_ms() // 1000, UTC), CONSUMERS_TOLD)
    return () if words is None else (f"{run}: {words}; then nobody can pull it. Its maintainers should renew it",)


def promoted_in(files: Mapping[str, bytes], run: str) -> StableList | None:
    """The promoted releases that verified files lead to, or that there are no maintainers.

    A list that is missing is an empty one as soon as there are maintainers, and not as if there were
    none: the online key alone decides whether it is there.

    Raises:
        VerificationError: it is none.
    """
    if STABLE_NAME in files:
        return parse_list(files[STABLE_NAME], StableList, "the list of promoted releases")
    roles = _signed(files["metadata/targets.json"]).get("delegations", {}).get("roles", ())
    return StableList(name=run) if any(role["name"] == "stable" for role in roles) else None


def parse_list(data: bytes, message: type[M], what: str) -> M:
    """A list from its bytes.

    Raises:
        VerificationError: it is none.
    """
    try:
        return message.read(json.loads(data))
    except (ValueError, RecursionError, MessageError) as error:
        why = str(error) if isinstance(error, MessageError) else "it is not JSON"
        raise VerificationError(f"{what} is not acceptable: {why}. Use another mirror") from error


def read_vouched(source: ReleaseSource) -> dict[str, bytes]:
    """The published files of a run folder on this disk, the newest of each; signatures are not looked at.

    A release may be published meanwhile, and old files vanish: then it is read once more.

    Raises:
        NoSuchVersionError: nothing was released yet.
        VerificationError: the folder is damaged.
    """
    for last in (False, True):
        try:
            return _read_newest(source)
        except BlobMissingError as error:
            if last:
                raise VerificationError(f"{source.label} is damaged: {error}; start its coordinator once") from error
        except (ValueError, KeyError, TypeError) as error:
            raise VerificationError(f"{source.label} has damaged metadata; start its coordinator once") from error
    raise AssertionError("unreachable")


def _read_newest(source: ReleaseSource) -> dict[str, bytes]:
    try:
        timestamp = source.read("metadata/timestamp.json", LIMITS["timestamp"])
    except BlobMissingError as error:
        raise NoSuchVersionError(f"{source.label} holds a run without a release yet; wait for its first") from error
    files: dict[str, bytes] = {}
    with suppress(BlobMissingError):
        for number in count(1):
            name = f"metadata/{number}.root.json"
            files[name] = source.read(name, LIMITS["root"])
    number = _signed(timestamp)["meta"]["snapshot.json"]["version"]
    snapshot = source.read(f"metadata/{number}.snapshot.json", LIMITS["snapshot"])
    for name, described in sorted(_signed(snapshot)["meta"].items()):
        files[f"metadata/{name}"] = source.read(f"metadata/{described['version']}.{name}", LIMITS["targets"])
    for role, target in (("nightly", INDEX_NAME), ("stable", STABLE_NAME)):
        if f"metadata/{role}.json" in files:
            name = target.removeprefix("targets/")
            digest = _signed(files[f"metadata/{role}.json"])["targets"][name]["hashes"]["sha256"]
            files[target] = source.read(f"targets/{digest}.{name}", LIMITS["list"])
    return files


def _signed(data: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(data)["signed"]
    return value
