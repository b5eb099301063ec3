"""What a proposal changes, in words: what a maintainer reads before signing.

The words follow from the metadata before and after and from nothing else. They end with how things
stand afterwards, so that they can be judged without knowing how they stood before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from barnraise.releases.ceremony import Appoint, Promote, Rekey, Renew, Request, Withdraw
from barnraise.releases.charter import Charter
from barnraise.releases.maintainer import PublicKey

__all__ = ["changes"]


def changes(before: Charter, after: Charter, request: Request) -> tuple[str, ...]:
    """One sentence a change, then one a part that is signed."""
    match request:
        case Appoint():
            told = list(_maintainers(before, after))
        case Rekey():
            told = [
                f"replaces the online key {before.online[:10]} by {request.public[:10]}; whatever the "
                "old one signed counts no more"
            ]
        case Renew():
            told = ["changes nothing, and makes all of it last longer"]
        case Promote():
            release = request.release
            told = [
                f"promotes {release.version}",
                f"model {release.model_digest}",
                f"manifest {release.manifest.digest}",
                f"promoted until now: {_versions(before)}",
            ]
        case Withdraw():
            told = [f"withdraws the promotion of {request.version}", f"promoted afterwards: {_versions(after)}"]
    return (*told, *_afterwards(before, after))


def _maintainers(before: Charter, after: Charter) -> Iterator[str]:
    new = set(after.maintainers)
    if not before.has_maintainers:
        yield f"hands the run over from its bootstrap key to its maintainers: {_names(after.maintainers)}"
        yield f"{after.threshold} of them sign every promotion, and every change of keys"
        return
    old = set(before.maintainers)
    if new - old:
        yield f"adds {_names(new - old)}"
    if old - new:
        yield f"removes {_names(old - new)}"
    if before.threshold != after.threshold:
        yield f"asks for {after.threshold} signatures instead of {before.threshold}"
    if old == new and before.threshold == after.threshold:
        yield "changes no key and no threshold"


def _afterwards(before: Charter, after: Charter) -> Iterator[str]:
    root, targets = after.root.signed, after.targets.signed
    if root.version != before.root.signed.version:
        yield (
            f"root {root.version} and targets {targets.version}, until {root.expires:%Y-%m-%d}: "
            f"{after.threshold} of {_names(after.maintainers)}; online key {after.online[:10]}"
        )
    if after.stable and (not before.stable or after.stable.signed.version != before.stable.signed.version):
        stable = after.stable.signed
        yield f"stable {stable.version}, until {stable.expires:%Y-%m-%d}, lists {_versions(after)}"


def _names(keys: Iterable[PublicKey]) -> str:
    return ", ".join(key.words for key in sorted(keys, key=lambda key: key.name))


def _versions(charter: Charter) -> str:
    return ", ".join(release.version for release in charter.promoted) or "none"
