"""The models of a run as bisection walks them: who was made from whom, and each of them to be tested.

A release of the trunk is named by its version, a derived model as ``NAME@VERSION``.

P  parameters
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import cast

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import FLOATS
from barnraise.errors import AcceptanceError, UsageError
from barnraise.releases.catalog import Catalog
from barnraise.releases.convert import Stored, widen
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.names import find_model
from barnraise.releases.manifest import Manifest
from barnraise.releases.plan import make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.models.subject import Subject
from coordinator.acceptance.models.trunks import trunk_subject
from coordinator.acceptance.run_suite import Contender

__all__ = ["Ancestry"]


@dataclass(frozen=True)
class Ancestry:
    """All models that a catalog leads to."""

    catalog: Catalog

    @cached_property
    def family(self) -> Family:
        return Family(self.catalog)

    @cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """Model -> what it was made from; releases oldest first, then derived models in the order of their import."""
        index = self.catalog.index
        found: dict[str, tuple[str, ...]] = {
            entry.version: (entry.parent,) if entry.parent else () for entry in index.releases
        }
        for entry in index.derived:
            found[f"{entry.name}@{entry.version}"] = (self.named(entry.parent_name, entry.parent_version),)
        return found

    def named(self, name: str, version: str) -> str:
        return version if name == self.catalog.index.name else f"{name}@{version}"

    def find(self, text: str) -> str:
        """The model that a version, range, channel or ``NAME@`` one of these means.

        Raises:
            BadVersionError, NoSuchVersionError: there is none.
        """
        index = self.catalog.index
        ref = find_model(index, text if "@" in text else f"{index.name}@{text}")
        return self.named(ref.name, ref.version)

    def above(self, node: str) -> list[str]:
        """A model and all that it was made from, oldest first."""
        found: set[str] = set()
        waiting = [node]
        while waiting:
            at = waiting.pop()
            found.add(at)
            waiting += [parent for parent in self.parents[at] if parent not in found]
        return [one for one in self.parents if one in found]

    def trunk_manifest(self, node: str) -> Manifest:
        """The manifest of a release, or of the release that a derived model comes from."""
        at = node
        while "@" in at:
            (at,) = self.parents[at]
        return self.catalog.manifest(self.catalog.index.entry(at))

    def contender(self, node: str) -> Contender:
        """A model to be tested; it is loaded when a test looks at it."""
        name, _, version = node.rpartition("@")
        ref = self.family.ref(name or self.catalog.index.name, version)
        return Contender(node, ref.model_digest, lambda: self.subject(node))

    def subject(self, node: str) -> Subject:
        """A model as tests see it.

        Raises:
            AcceptanceError: a derived model of another shape than the trunk.
            BarnraiseError: it cannot be had.
        """
        manifest = self.trunk_manifest(node)
        flat_P = self._derived(node, manifest.space) if "@" in node else self.flat(node)
        return trunk_subject(flat_P, manifest.model, manifest.space, partial(self._side, manifest))

    def _side(self, manifest: Manifest, digest: str) -> bytes | None:
        """A file that travels with a release, by its digest."""
        found = next((file.blob for file in manifest.files if file.blob.digest == digest), None)
        if found is None:
            return None
        self.catalog.fetch([found])
        return bytes(self.catalog.blob(found))

    def flat(self, version: str) -> NDArray[np.float32]:
        """A release, float32 [P], verified."""
        manifest = self.trunk_manifest(version)
        return rebuild(self.catalog, make_plan(self.catalog.index, version), manifest)

    def _derived(self, node: str, space: ParameterSpace) -> NDArray[np.float32]:
        """A derived model's weights in the trunk's layout, float32 [P]."""
        name, _, version = node.rpartition("@")
        ref = self.family.ref(name, version)
        specs = self.family.specs(ref)
        other = [spec.name for spec in space.tensors if spec.name not in specs]
        other += [spec.name for spec in space.tensors if spec.name in specs and specs[spec.name].shape != spec.shape]
        extra = [name for name in specs if name not in {spec.name for spec in space.tensors}]
        if other or extra or any(spec.dtype not in FLOATS for spec in specs.values()):
            which = ", ".join([*other, *extra][:3]) or "their type"
            raise AcceptanceError(
                f"{node} has other tensors than the trunk ({which}), so the trunk's tests say nothing"
            )
        flat_P = np.empty(space.size, dtype=np.float32)
        for start, spec in zip(space.tensor_starts[:-1].tolist(), space.tensors, strict=True):
            data = self.family.read(ref, spec.name)
            flat_P[start : start + spec.size] = widen(data, cast(Stored, specs[spec.name].dtype))
        return flat_P

    def require_ends(self, good: str, bad: str) -> None:
        """Refuse two ends between which nothing can be looked for.

        Raises:
            UsageError: they are the same, in the wrong order, or neither was made from the other.
        """
        if good == bad:
            raise UsageError(f"{good} is both ends; name a good one and one that was made from it, as 0.1.0..0.1.4")
        if bad in self.above(good):
            raise UsageError(
                f"{good} was made from {bad}, not the other way round; the good end comes first: {bad}..{good}"
            )
        if good not in self.above(bad):
            raise UsageError(f"{bad} was not made from {good}; it comes from {', '.join(self.above(bad)[:-1][-5:])}")
