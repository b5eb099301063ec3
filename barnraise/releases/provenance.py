"""What proves a release from files alone: from the first root to the digest of a manifest, offline.

    root 1 -> .. -> root N -> targets -> nightly -> index.json   -> manifest
                                    `-> stable  -> stable.json -> the same manifest

Each arrow is a threshold of signatures or a digest, and each is checked with python-tuf. What
cannot be known offline is said: whether there is something newer, and, where no root was
pinned, whose first root it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Targets

from barnraise.digest import digest_bytes
from barnraise.errors import VerificationError
from barnraise.releases.index import Promotion, ReleaseIndex, StableList, check_promises
from barnraise.releases.offline import check_root_chain, verified_targets
from barnraise.releases.roles import INDEX_TARGET, NIGHTLY, STABLE, STABLE_TARGET, run_name
from barnraise.releases.trust import TrustOptions, parse_list, promoted_in

__all__ = ["Lists", "Proof", "verify_lists", "verify_provenance"]

ROOT_SUFFIX = ".root.json"


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of a run, and the signatures that lead to them.

    Attributes:
        roots: digest of each root, the first one first.
        signed_until: until when the coordinator vouches for the index without renewing it.
        checked: one sentence each.
    """

    run: str
    index: ReleaseIndex
    stable: StableList | None
    roots: tuple[str, ...]
    signed_until: datetime
    checked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found in order, and what was not looked at, one sentence each.

    Attributes:
        root_digest: of the root that it all begins with. root_is_pinned: whether that is the one
            that was named, or pinned when the run was first seen; otherwise anybody's keys will do.
        promoted: whether maintainers stand for this release, not only the coordinator.
    """

    run: str
    root_digest: str
    root_is_pinned: bool
    promoted: bool
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]


def verify_provenance(
    files: Mapping[str, bytes],
    manifest_digest: str,
    version: str,
    trust: TrustOptions | None = None,
    derived: str | None = None,
) -> Proof:
    """Follow the signatures from the first root to a manifest.

    Args:
        files: as :class:`~barnraise.releases.trust.Trusted` has them.
        manifest_digest: of the manifest's bytes as they are here. version: what it says it is.
        trust: which root it should begin with; by default the pinned one, if there is one.
        derived: name of the derived model that it is a version of; None for a release of the trunk.

    Raises:
        NotEnoughSignaturesError: too few of the right keys have signed something.
        VerificationError: anything else that does not lead on, or another root than it should be.
    """
    lists = verify_lists(files)
    entries = {entry.version: entry.manifest for entry in lists.index.releases}
    if derived is not None:
        entries = {entry.version: entry.manifest for entry in lists.index.derived if entry.name == derived}
    entry = entries.get(version)
    if entry is None or entry.digest != manifest_digest:
        what = "no such release" if entry is None else f"manifest {entry.digest[:15]}.."
        raise VerificationError(
            f"the manifest of {version} is {manifest_digest[:15]}.., the signed index has {what}; do not use it. "
            "Pull the release again"
        )
    promotion = lists.stable.get(version) if lists.stable and derived is None else None
    checked = [*lists.checked, f"the index lists {version} with this manifest, {manifest_digest[:15]}.."]
    if promotion is not None:
        checked.append(f"the list of promoted releases has {version} with this manifest")
    proof = Proof(lists.run, lists.roots[0], False, promotion is not None, tuple(checked), _unchecked(lists, promotion))
    return _with_pin(proof, lists, trust or TrustOptions())


def verify_lists(files: Mapping[str, bytes]) -> Lists:
    """Follow the signatures from the first root to the lists.

    Raises:
        NotEnoughSignaturesError, VerificationError: see :func:`verify_provenance`.
    """
    names = [name for name in files if name.endswith(ROOT_SUFFIX)]
    roots = tuple(files[name] for name in sorted(names, key=_number))
    root = check_root_chain(roots)
    targets = verified_targets(root, Targets.type, _file(files, "metadata/targets.json"))
    nightly = verified_targets(targets, NIGHTLY, _file(files, f"metadata/{NIGHTLY}.json"))
    run, named = run_name(root), _file(files, f"targets/{INDEX_TARGET}")
    _compare(nightly, INDEX_TARGET, named)
    index = parse_list(named, ReleaseIndex, "the index")
    checked = [
        f"the run is {run}: {len(roots)} root{'s' if len(roots) > 1 else ''}, each signed as the one before and it "
        f"itself demand, the first is {digest_bytes(roots[0])[:15]}..",
        f"targets is signed by {_who(root.roles[Targets.type].threshold)}",
        "the index is signed by the online key that targets names",
    ]
    if f"metadata/{STABLE}.json" in files:
        role = verified_targets(targets, STABLE, files[f"metadata/{STABLE}.json"])
        listed = _file(files, f"targets/{STABLE_TARGET}")
        _compare(role, STABLE_TARGET, listed)
        checked.append(f"the list of promoted releases is signed by {_who(_threshold(targets))}")
    elif f"targets/{STABLE_TARGET}" in files:
        raise VerificationError("there is a list of promoted releases and nobody signed it; pull the release again")
    stable = promoted_in(files, run)
    check_promises(index, stable)
    if index.name != run:
        raise VerificationError(
            f"the keys are those of {run}, the index is one of {index.name}; pull the release again"
        )
    digests = tuple(digest_bytes(data) for data in roots)
    return Lists(run, index, stable, digests, nightly.expires, tuple(checked))


def _with_pin(proof: Proof, lists: Lists, trust: TrustOptions) -> Proof:
    """Compare the first root with the one that it should be, if anybody knows."""
    pinned = trust.pinned(proof.run)
    expected = trust.root if trust.root is not None else pinned
    if isinstance(expected, bytes):
        expected = digest_bytes(expected)
    if expected is None:
        unknown = (
            "whose run this is: no root of it is pinned here. Compare the digest of the first root with what the "
            "operator publishes, then: --trust DIGEST"
        )
        return replace(proof, unchecked=(*proof.unchecked, unknown))
    if expected not in lists.roots:
        whose = "was named" if trust.root is not None else f"is pinned for {proof.run} here"
        raise VerificationError(
            f"the signatures begin with root {proof.root_digest[:19]}.., but {expected[:19]}.. {whose}; do not use "
            "this release unless you know why"
        )
    how = "that was named" if trust.root is not None else f"that is pinned for {proof.run} here"
    return replace(proof, root_is_pinned=True, checked=(*proof.checked, f"it begins with the root {how}"))


def _unchecked(lists: Lists, promotion: Promotion | None) -> tuple[str, ...]:
    freshness = (
        f"whether there is anything newer, or the release was yanked since: offline nobody knows. The index was "
        f"signed to hold until {lists.signed_until:%Y-%m-%d}"
    )
    if promotion is not None:
        return (freshness,)
    return (
        freshness,
        "whether any maintainer stands for this release: it was not promoted, only the online key signed it",
    )


def _compare(role: Targets, name: str, content: bytes) -> None:
    try:
        target = role.targets.get(name)
        if target is None:
            raise RepositoryError("it is not named")
        target.verify_length_and_hashes(content)
    except RepositoryError as error:
        raise VerificationError(f"{name} is not the one that was signed: {error}; pull the release again") from error


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    try:
        return files[name]
    except KeyError as error:
        raise VerificationError(f"the signatures are not whole: no {name}; pull the release again") from error


def _number(name: str) -> int:
    text = name.removeprefix("metadata/").removesuffix(ROOT_SUFFIX)
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise VerificationError(f"the signatures have a file {name[:80]!a}, which is no root; pull the release again")
    return int(text)


def _threshold(targets: Targets) -> int:
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    return targets.delegations.roles[STABLE].threshold


def _who(threshold: int) -> str:
    return "the key that root names" if threshold == 1 else f"{threshold} of the maintainers' keys at least"
