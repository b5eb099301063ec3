"""What pulling a derived model takes: its tensors' blobs, and the releases of the trunk that they are built upon."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from barnraise.message import BlobRef
from barnraise.releases.derived.family import Family
from barnraise.releases.index import DerivedEntry
from barnraise.releases.layout import side_files
from barnraise.releases.plan import PatchStep, Plan, make_plan, once, step_as_json

__all__ = ["DerivedPlan", "plan_derived"]


@dataclass(frozen=True, slots=True)
class DerivedPlan:
    """Which releases of the trunk to build, and what to decode against them.

    Attributes:
        trunk: a plan for each release that is built upon.
        tensors: blobs of tensors, also those of models between this one and the trunk.
        documents: manifest and what lies beside the weights.
        at_hand: digests of those blobs that need not be fetched.
    """

    name: str
    version: str
    trunk: tuple[Plan, ...] = ()
    tensors: tuple[BlobRef, ...] = ()
    documents: tuple[BlobRef, ...] = ()
    at_hand: frozenset[str] = frozenset()

    @property
    def start(self) -> str:
        """The first release that is built upon; this version where nothing is."""
        return self.trunk[0].start if self.trunk else self.version

    @property
    def keyframe(self) -> BlobRef | None:
        """The first whole model that is needed."""
        return self.trunk[0].keyframe if self.trunk else None

    @property
    def patches(self) -> tuple[PatchStep, ...]:
        return tuple(step for plan in self.trunk for step in plan.patches)

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """All blobs that are needed, each once."""
        return once([*self.documents, *self.tensors, *(blob for plan in self.trunk for blob in plan.blobs)])

    @property
    def fetch(self) -> tuple[BlobRef, ...]:
        """Those that have to be fetched."""
        return tuple(blob for blob in self.blobs if blob.digest not in self.at_hand)

    @property
    def fetch_bytes(self) -> int:
        return sum(blob.size_bytes for blob in self.fetch)

    @property
    def patch_bytes(self) -> int:
        """Size of all patches and tensors, fetched or at hand."""
        return sum(step.blob.size_bytes for step in self.patches) + sum(blob.size_bytes for blob in self.tensors)

    def lines(self) -> list[str]:
        """One sentence a step."""
        size_bytes = sum(blob.size_bytes for blob in self.tensors)
        what = f"{len(self.tensors)} tensor{'' if len(self.tensors) == 1 else 's'}"
        return [
            *(line for plan in self.trunk for line in plan.lines()),
            f"decode {what} of {self.name} {self.version} ({size_bytes:,} bytes)",
        ]

    def steps(self) -> list[dict[str, Any]]:
        """The same for programs."""
        tensors = [step_as_json("tensor", self.version, blob, self.at_hand) for blob in self.tensors]
        return [*(step for plan in self.trunk for step in plan.steps()), *tensors]


def plan_derived(family: Family, entry: DerivedEntry, at_hand: Collection[str] = ()) -> DerivedPlan:
    """Plan a model from what is at hand; manifests on the way are fetched.

    What is at hand of its weights is believed from now on: every tensor is compared when it is read.

    Args:
        at_hand: digests that are known to be there.

    Raises:
        BrokenChainError: what it is built upon is missing.
        VerificationError, NetworkError, StorageError: a manifest cannot be had.
    """
    catalog = family.catalog
    ref = family.ref(entry.name, entry.version)
    needs, index = family.needs(ref), catalog.index
    tensors = tuple(sorted(needs.blobs, key=lambda blob: -blob.size_bytes))  # as they are decoded: the largest first
    catalog.believe(tensors, in_place=True)
    stored = {
        blob.digest
        for e in index.releases
        for blob in (e.keyframe, e.patch)
        if blob is not None and catalog.has(blob, check=False)
    }
    trunk = tuple(make_plan(index, version, at_hand=stored) for version in needs.releases)
    documents = (entry.manifest, *side_files(family.derived(ref)).values())
    trunk_blobs = [blob for plan in trunk for blob in plan.blobs]
    catalog.believe(trunk_blobs)
    wanted = [*tensors, *documents, *trunk_blobs]
    found = {blob.digest for blob in wanted if blob.digest != entry.manifest.digest and catalog.has(blob)}
    return DerivedPlan(entry.name, entry.version, trunk, tensors, documents, frozenset({*at_hand, *found}))
