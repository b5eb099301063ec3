"""The cheapest way to a release: start from what is at hand or from a keyframe, then follow patches.

    0.1.1 --patch--> 0.1.2 --patch--> 0.1.3 --patch--> 0.1.4
     ^ has a          `-----patch--> 0.1.5, which is 0.1.2 as if 0.1.2's last update had never been
       keyframe                      ^ installed

Every release has one parent and so one chain of patches that leads to it. But a release that takes
something back may have exactly the model of an earlier one, and then whatever leads to the one
leads to the other. So the places are models, not versions, the ways between them are patches, and
the cheapest is found by going backwards from the wanted model, cheapest first.

Source: Dijkstra 1959, https://doi.org/10.1007/BF01386390
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Any

from barnraise.errors import BrokenChainError
from barnraise.message import BlobRef
from barnraise.releases.index import IndexEntry, ReleaseIndex

__all__ = ["PatchStep", "Plan", "make_plan", "once", "step_as_json"]

LINES_MAX = 8
"""With more patches than this a plan tells of them in one line."""


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
        keyframe: its whole model; None when it is installed already.
        documents: what else the release consists of: its manifest, and what that names.
        at_hand: digests of those blobs that need not be fetched.
    """

    start: str
    keyframe: BlobRef | None
    patches: tuple[PatchStep, ...] = ()
    documents: tuple[BlobRef, ...] = ()
    at_hand: frozenset[str] = frozenset()

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """All blobs that are needed, each once."""
        return once([*self.documents, *([self.keyframe] if self.keyframe else []), *(s.blob for s in self.patches)])

    @property
    def fetch(self) -> tuple[BlobRef, ...]:
        """Those that have to be fetched."""
        return tuple(blob for blob in self.blobs if blob.digest not in self.at_hand)

    @property
    def fetch_bytes(self) -> int:
        return sum(blob.size_bytes for blob in self.fetch)

    @property
    def patch_bytes(self) -> int:
        """Size of all patches, fetched or at hand."""
        return sum(step.blob.size_bytes for step in self.patches)

    def lines(self) -> list[str]:
        """One sentence a step; a long row of patches is one."""
        if self.keyframe is None:
            first = f"start from {self.start}, which is installed"
        else:
            first = f"take the keyframe of {self.start} ({self._cost(self.keyframe)})"
        if len(self.patches) <= LINES_MAX:
            return [first, *(f"apply the patch to {step.version} ({self._cost(step.blob)})" for step in self.patches)]
        size, there = self.patch_bytes, sum(s.blob.size_bytes for s in self.patches if s.blob.digest in self.at_hand)
        cost = f"{size:,} bytes" + (f", {there:,} of them at hand" if there else "")
        ends = f"{self.patches[0].version} to {self.patches[-1].version}"
        return [first, f"apply {len(self.patches)} patches, {ends} ({cost})"]

    def steps(self) -> list[dict[str, Any]]:
        """The same for programs."""
        whole = [] if self.keyframe is None else [("keyframe", self.start, self.keyframe)]
        parts = [*whole, *(("patch", step.version, step.blob) for step in self.patches)]
        return [step_as_json(step, version, blob, self.at_hand) for step, version, blob in parts]

    def _cost(self, blob: BlobRef) -> str:
        return f"{blob.size_bytes:,} bytes{', at hand' if blob.digest in self.at_hand else ''}"


def once(blobs: Iterable[BlobRef]) -> tuple[BlobRef, ...]:
    """The blobs in their order, each at its first place only."""
    return tuple({blob.digest: blob for blob in blobs}.values())


def step_as_json(step: str, version: str, blob: BlobRef, at_hand: Collection[str]) -> dict[str, Any]:
    """A step of a plan for programs."""
    return {
        "step": step,
        "version": version,
        "digest": blob.digest,
        "size_bytes": blob.size_bytes,
        "at_hand": blob.digest in at_hand,
    }


def make_plan(index: ReleaseIndex, wanted: str, *, installed: str | None = None, at_hand: Collection[str] = ()) -> Plan:
    """The plan that fetches the fewest bytes; among equals the one with the fewest patches.

    Args:
        index: all releases.
        wanted: an exact version.
        installed: digest of the model that is there already, if any.
        at_hand: digests of blobs that need not be fetched.

    Raises:
        NoSuchVersionError: no such release.
        BrokenChainError: no keyframe reaches it, or its lineage has a missing link or runs in a circle.
    """
    oldest = _require_sound(index, wanted)
    plan = _cheapest(index, index.entry(wanted), installed, at_hand)
    if plan is None:
        raise BrokenChainError(
            f"no keyframe reaches {wanted}: its patches lead to {oldest}, which has none. Use another mirror"
        )
    used = {blob.digest for blob in plan.blobs}
    return Plan(plan.start, plan.keyframe, plan.patches, at_hand=frozenset(used.intersection(at_hand)))


def _require_sound(index: ReleaseIndex, wanted: str) -> str:
    """Follow the wanted release's patches to their beginning, and return that version."""
    entry, seen = index.entry(wanted), {wanted}
    versions = {entry.version: entry for entry in index.releases}
    while entry.patch is not None and entry.parent is not None:
        if entry.parent in seen:
            raise BrokenChainError(f"the lineage of {wanted} runs in a circle at {entry.parent}; use another mirror")
        if entry.parent not in versions:
            raise BrokenChainError(
                f"{entry.version} is a patch of {entry.parent}, which is not listed. Use another mirror"
            )
        seen.add(entry.parent)
        entry = versions[entry.parent]
    return entry.version


def _cheapest(index: ReleaseIndex, wanted: IndexEntry, installed: str | None, at_hand: Collection[str]) -> Plan | None:
    versions = {entry.version: entry for entry in index.releases}
    same_model: dict[str, list[IndexEntry]] = defaultdict(list)
    for entry in index.releases:
        same_model[entry.model_digest].append(entry)
    order = count()  # so that equal costs never compare what comes after them
    ways: list[tuple[int, int, int, IndexEntry, tuple[PatchStep, ...], Plan | None]] = []

    def push(cost: int, entry: IndexEntry, patches: tuple[PatchStep, ...], plan: Plan | None = None) -> None:
        heapq.heappush(ways, (cost, len(patches), next(order), entry, patches, plan))

    push(0, wanted, ())
    settled: set[str] = set()
    while ways:
        cost, _, _, reached, patches, plan = heapq.heappop(ways)
        if plan is not None:
            return plan
        if reached.model_digest in settled:
            continue
        settled.add(reached.model_digest)
        if reached.model_digest == installed:
            push(cost, reached, patches, Plan(reached.version, None, patches))
        for entry in same_model[reached.model_digest]:
            if entry.keyframe is not None:
                whole = Plan(entry.version, entry.keyframe, patches)
                push(cost + _price(entry.keyframe, at_hand), entry, patches, whole)
            if entry.patch is not None and entry.parent in versions:
                parent = versions[entry.parent]
                step = PatchStep(entry.version, parent.model_digest, entry.patch)
                push(cost + _price(entry.patch, at_hand), parent, (step, *patches))
    return None


def _price(blob: BlobRef, at_hand: Collection[str]) -> int:
    return 0 if blob.digest in at_hand else blob.size_bytes
