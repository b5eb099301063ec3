"""The cheapest way to a release: start from what is at hand or from a keyframe, then follow patches.

    wanted 0.1.4 <-patch- 0.1.3 <-patch- 0.1.2 <-patch- 0.1.1
                                           ^ installed    ^ has a keyframe

Lineage is a line (every release has one parent), so there is nothing to search: walk towards
the first release, price every place where one could start, take the cheapest.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from barnraise.errors import BrokenChainError
from barnraise.protocol import BlobRef
from barnraise.releases.index import IndexEntry, ReleaseIndex

__all__ = ["PatchStep", "Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class PatchStep:
    """Apply ``blob`` to the model with digest ``base_digest``; the result is ``version``."""

    version: str
    base_digest: str
    blob: BlobRef


@dataclass(frozen=True, slots=True)
class Plan:
    """Where to start and which patches to apply, in order.

    Attributes:
        start: the release to start from.
        keyframe: its whole model, to be fetched; None when it is installed already.
        fetch_bytes: what has to be fetched, without the manifest.
    """

    start: str
    keyframe: BlobRef | None
    patches: tuple[PatchStep, ...]
    fetch_bytes: int

    @property
    def patch_bytes(self) -> int:
        """Size of all patches, fetched or at hand."""
        return sum(step.blob.size_bytes for step in self.patches)

    def lines(self) -> list[str]:
        """One sentence a step."""
        if self.keyframe is None:
            first = f"start from {self.start}, which is installed"
        else:
            first = f"take the keyframe of {self.start} ({self.keyframe.size_bytes:,} bytes)"
        return [first, *(f"apply the patch to {s.version} ({s.blob.size_bytes:,} bytes)" for s in self.patches)]


def make_plan(index: ReleaseIndex, wanted: str, *, installed: str | None = None, at_hand: Collection[str] = ()) -> Plan:
    """The plan that fetches the fewest bytes; among equals the one with the fewest patches.

    Args:
        index: all releases.
        wanted: an exact version.
        installed: digest of the model that is there already, if any.
        at_hand: digests of blobs that need not be fetched.

    Raises:
        NoSuchVersionError: no such release.
        BrokenChainError: no keyframe reaches it, or the lineage runs in a circle.
    """
    best: Plan | None = None
    patches: list[PatchStep] = []
    fetch = 0
    seen: set[str] = set()
    entry = index.entry(wanted)
    while True:
        if entry.version in seen:
            raise BrokenChainError(f"the lineage of {wanted} runs in a circle at {entry.version}; use another mirror")
        seen.add(entry.version)
        for start in _starts(entry, installed, at_hand):
            plan = Plan(entry.version, start[0], tuple(reversed(patches)), fetch + start[1])
            if best is None or plan.fetch_bytes < best.fetch_bytes:
                best = plan
        if entry.patch is None or entry.parent is None:
            break
        parent = _parent(index, entry)
        patches.append(PatchStep(entry.version, parent.model_digest, entry.patch))
        fetch += 0 if entry.patch.digest in at_hand else entry.patch.size_bytes
        entry = parent
    if best is None:
        raise BrokenChainError(
            f"no keyframe reaches {wanted}: its patches lead to {entry.version}, which has none. Use another mirror"
        )
    return best


def _starts(entry: IndexEntry, installed: str | None, at_hand: Collection[str]) -> list[tuple[BlobRef | None, int]]:
    """Ways to have the model of ``entry`` without patches, each with the bytes it costs."""
    if entry.model_digest == installed:
        return [(None, 0)]
    if entry.keyframe is None:
        return []
    return [(entry.keyframe, 0 if entry.keyframe.digest in at_hand else entry.keyframe.size_bytes)]


def _parent(index: ReleaseIndex, entry: IndexEntry) -> IndexEntry:
    for candidate in index.releases:
        if candidate.version == entry.parent:
            return candidate
    raise BrokenChainError(f"{entry.version} is a patch of {entry.parent}, which is not listed. Use another mirror")
