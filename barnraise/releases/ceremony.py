"""What maintainers can decide: from the metadata that a run has, and a request, to the metadata that has to be signed.

A request says what is wanted, and the metadata follows from it. So everybody who is asked to sign
computes it anew, and a proposal that says one thing and would sign another is found out.

    Appoint    these keys, with this threshold, sign root, targets and stable from now on
    Rekey      this key signs snapshot, timestamp and nightly from now on
    Renew      everything as it is, for another year
    Promote    a release joins the list in stable.json
    Withdraw   a release leaves it

A new root needs the signatures of the old keys and of the new ones. All that is signed by keys which
change is signed again, so that no signature of a removed key counts any more.

Source: The Update Framework, sections 5.3 and 6.1,
https://theupdateframework.github.io/specification/v1.0.33/
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeVar

from pydantic import Field
from tuf.api.metadata import DelegatedRole, Key, Metadata, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from barnraise.errors import OrderRefusedError
from barnraise.message import Count, Message
from barnraise.message import Key as PublicHex
from barnraise.releases.charter import Charter, delegated
from barnraise.releases.index import Promotion, ReleaseIndex, StableList
from barnraise.releases.maintainer import PublicKey
from barnraise.releases.manifest import ReleaseVersion
from barnraise.releases.roles import LIFETIMES, NIGHTLY, STABLE, STABLE_TARGET

__all__ = [
    "Appoint",
    "Promote",
    "Rekey",
    "Renew",
    "Request",
    "Withdraw",
    "follow",
    "maintainer",
    "promotion",
    "replacing",
    "withdrawal",
    "without",
]

MOST_MAINTAINERS = 32

S = TypeVar("S", Root, Targets)


class Appoint(Message):
    """All maintainers from now on, and how many of them have to sign."""

    kind: ClassVar[str] = "appoint"
    action: Literal["appoint"] = "appoint"
    maintainers: tuple[PublicKey, ...]
    threshold: Count


class Rekey(Message):
    """The coordinator's online key from now on."""

    kind: ClassVar[str] = "rekey"
    action: Literal["rekey"] = "rekey"
    public: PublicHex


class Renew(Message):
    """Everything as it is, for another year."""

    kind: ClassVar[str] = "renew"
    action: Literal["renew"] = "renew"


class Promote(Message):
    """A release that ``stable`` may point at and that ranges may choose."""

    kind: ClassVar[str] = "promote"
    action: Literal["promote"] = "promote"
    release: Promotion


class Withdraw(Message):
    """A release that ``stable`` may not point at any more."""

    kind: ClassVar[str] = "withdraw"
    action: Literal["withdraw"] = "withdraw"
    version: ReleaseVersion


Request = Annotated[Appoint | Rekey | Renew | Promote | Withdraw, Field(discriminator="action")]


# -- requests, from what somebody asks for --------------------------------------------------


def maintainer(charter: Charter, who: str) -> PublicKey:
    """The maintainer with this name, or with a key that begins so.

    Raises:
        OrderRefusedError: there is none, or more than one.
    """
    found = [key for key in charter.maintainers if key.name == who]
    found = found or [key for key in charter.maintainers if len(who) >= 8 and key.public.startswith(who)]
    if len(found) == 1:
        return found[0]
    names = ", ".join(key.words for key in charter.maintainers)
    if charter.online.startswith(who) and len(who) >= 8:
        raise OrderRefusedError(f"{who} is the online key; it is replaced, not removed: barnraise keys rotate online")
    raise OrderRefusedError(f"{who!a} is no maintainer of this run; these are: {names}")


def without(charter: Charter, who: str, threshold: int | None = None) -> Appoint:
    """The maintainers without one of them.

    Raises:
        OrderRefusedError: no such maintainer, or too few would be left.
    """
    _require_maintainers(charter)
    gone = maintainer(charter, who)
    rest = tuple(key for key in charter.maintainers if key != gone)
    wanted = charter.threshold if threshold is None else threshold
    if len(rest) < wanted:
        raise OrderRefusedError(
            f"without {gone.name} there are {len(rest)} maintainers left and {wanted} have to sign. Add another "
            "first, replace the key instead, or ask for fewer signatures: --threshold"
        )
    return Appoint(maintainers=rest, threshold=wanted)


def replacing(charter: Charter, who: str, key: PublicKey) -> Appoint:
    """The maintainers with another key in the place of one.

    Raises:
        OrderRefusedError: no such maintainer.
    """
    _require_maintainers(charter)
    old = maintainer(charter, who)
    keys = tuple(key if each == old else each for each in charter.maintainers)
    return Appoint(maintainers=keys, threshold=charter.threshold)


def promotion(charter: Charter, index: ReleaseIndex, version: str) -> Promote:
    """A release of the index, to be promoted.

    Raises:
        NoSuchVersionError: there is no such release.
        OrderRefusedError: it was yanked, or promoted before, or there are no maintainers.
    """
    _require_maintainers(charter)
    entry = index.entry(version)
    if entry.yanked is not None:
        raise OrderRefusedError(f"{version} was yanked and cannot be promoted: {entry.yanked}")
    return Promote(release=Promotion(version=version, model_digest=entry.model_digest, manifest=entry.manifest))


def withdrawal(charter: Charter, index: ReleaseIndex, version: str) -> Withdraw:
    """A promoted release, to be withdrawn.

    Raises:
        OrderRefusedError: it was never promoted, or the channel is at it.
    """
    others = [release.version for release in charter.promoted if release.version != version]
    if others and index.channels.get(STABLE) == version:
        raise OrderRefusedError(
            f"channel {STABLE} is at {version}; move it first: barnraise rollback {STABLE} {others[-1]}"
        )
    return Withdraw(version=version)


# -- metadata, from requests ----------------------------------------------------------------


def follow(run: str, before: Charter, request: Request, at: datetime) -> Charter:
    """The metadata that a request asks for. What changes is one version higher and not signed yet.

    Args:
        run: its name.
        at: when it was asked for; what changes lasts a year from then.

    Raises:
        OrderRefusedError: it cannot be done, with the reason.
    """
    match request:
        case Appoint():
            return _appointed(run, before, request, at)
        case Rekey():
            return _rekeyed(before, request, at)
        case Renew():
            return _restabled(_renewed(before, at), at)
        case Promote():
            _require_maintainers(before)
            if any(each.version == request.release.version for each in before.promoted):
                raise OrderRefusedError(f"{request.release.version} was promoted before; there is nothing to sign")
            return _listing(run, before, (*before.promoted, request.release), at)
        case Withdraw():
            _require_maintainers(before)
            rest = tuple(each for each in before.promoted if each.version != request.version)
            if len(rest) == len(before.promoted):
                known = ", ".join(each.version for each in before.promoted) or "none yet"
                raise OrderRefusedError(f"{request.version} was never promoted; promoted: {known}")
            if not rest:
                raise OrderRefusedError(f"{request.version} is the only promoted release; promote another one first")
            return _listing(run, before, rest, at)


def _require_maintainers(charter: Charter) -> None:
    if not charter.has_maintainers:
        raise OrderRefusedError(
            "this run has no maintainers yet: its bootstrap key signs. Begin with: barnraise keys init"
        )


def _appointed(run: str, before: Charter, request: Appoint, at: datetime) -> Charter:
    _check_maintainers(before, request)
    keys = [key.as_tuf() for key in request.maintainers]
    after = _renewed(before, at)
    root, targets = after.root.signed, after.targets.signed
    for role in (Root.type, Targets.type):
        _assign(root, role, keys, request.threshold)
    keyids = [key.keyid for key in keys]
    _delegate(targets, DelegatedRole(STABLE, keyids, request.threshold, terminating=True, paths=[STABLE_TARGET]), keys)
    # The list is signed from the first day on, empty: a client then knows that one that is missing is held back.
    return _listing(run, after, before.promoted, at)


def _check_maintainers(before: Charter, request: Appoint) -> None:
    keys, threshold = request.maintainers, request.threshold
    if not 1 <= len(keys) <= MOST_MAINTAINERS:
        raise OrderRefusedError(f"a run has 1 to {MOST_MAINTAINERS} maintainers, these are {len(keys)}")
    for i, key in enumerate(keys):
        for other in keys[:i]:
            if other.public == key.public or other.name == key.name:
                what = "key" if other.public == key.public else "name"
                raise OrderRefusedError(
                    f"{other.words} and {key.words} have the same {what}; every maintainer has one of their own"
                )
    if not 1 <= threshold <= len(keys):
        raise OrderRefusedError(
            f"{len(keys)} keys can give 1 to {len(keys)} signatures, the threshold is {threshold}; name more keys"
        )
    held = {before.online: "the online key of the coordinator"}
    if not before.has_maintainers:
        held |= {key.public: "the bootstrap key of the run" for key in before.maintainers}
    for key in keys:
        if key.public in held:
            raise OrderRefusedError(f"{key.words} is {held[key.public]}; a maintainer's key is theirs alone")


def _rekeyed(before: Charter, request: Rekey, at: datetime) -> Charter:
    if any(known.keyval["public"] == request.public for known in before.keys.values()):
        raise OrderRefusedError(f"{request.public[:10]} is a key of this run already; the new online key must be new")
    key = PublicKey(name="online", public=request.public).as_tuf()
    after = _renewed(before, at)
    root, targets = after.root.signed, after.targets.signed
    for role in (Snapshot.type, Timestamp.type):
        _assign(root, role, [key], 1)
    nightly = delegated(targets)[NIGHTLY]
    nightly.keyids, nightly.threshold = [key.keyid], 1
    _delegate(targets, nightly, [key])
    return after


def _renewed(before: Charter, at: datetime) -> Charter:
    """Root and targets a version higher, to be changed in place."""
    root, targets = _next(before.root, Root.type, at), _next(before.targets, Targets.type, at)
    return replace(before, root=Metadata(root), targets=Metadata(targets))


def _restabled(before: Charter, at: datetime) -> Charter:
    """The list of promoted releases as it is, to be signed again."""
    return replace(before, stable=Metadata(_next(before.stable, STABLE, at))) if before.stable else before


def _listing(run: str, before: Charter, promoted: tuple[Promotion, ...], at: datetime) -> Charter:
    listed = StableList(name=run, promoted=promoted)
    if before.stable:
        signed = _next(before.stable, STABLE, at)
    else:
        # The version of the specification is copied, so that another python-tuf computes the same metadata.
        signed = Targets(1, before.targets.signed.spec_version, at + LIFETIMES[STABLE])
    signed.targets = {STABLE_TARGET: TargetFile.from_data(STABLE_TARGET, listed.canonical(), ["sha256"])}
    return replace(before, stable=Metadata(signed), listed=listed)


def _next(metadata: Metadata[S], role: str, at: datetime) -> S:
    signed = copy.deepcopy(metadata.signed)
    signed.version += 1
    signed.expires = at + LIFETIMES[role]
    return signed


def _assign(root: Root, role: str, keys: Sequence[Key], threshold: int) -> None:
    """Give a role of ``root`` to ``keys``, and forget keys that have no role any more."""
    root.roles[role] = Role([key.keyid for key in keys], threshold)
    root.keys.update({key.keyid: key for key in keys})
    used = {keyid for each in root.roles.values() for keyid in each.keyids}
    root.keys = {keyid: key for keyid, key in root.keys.items() if keyid in used}


def _delegate(targets: Targets, role: DelegatedRole, keys: Sequence[Key]) -> None:
    """The same for a role that ``targets`` delegates to."""
    assert targets.delegations is not None
    targets.delegations.roles = {**delegated(targets), role.name: role}
    targets.delegations.keys.update({key.keyid: key for key in keys})
    used = {keyid for each in delegated(targets).values() for keyid in each.keyids}
    targets.delegations.keys = {keyid: key for keyid, key in targets.delegations.keys.items() if keyid in used}
