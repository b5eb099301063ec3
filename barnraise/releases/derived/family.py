"""Read tensors of any model of a run: of the trunk's releases, and of derived models through their chains.

Every tensor is compared with the digest that its manifest states before anybody gets it. What lies
below one of a derived model is not, if its blob is the right one: a difference from anything else
gives something else. What a manifest says of its depth is not believed: a chain that is a circle,
or that leads to nothing, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import BrokenChainError, NoSuchVersionError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.manifest import DerivedManifest, DerivedTensor, ModelRef
from barnraise.releases.derived.names import derived_entry, read_derived_manifest
from barnraise.releases.derived.rounding import in_type
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.lossless import decode_into
from barnraise.releases.manifest import Manifest
from barnraise.releases.plan import make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.updates.space import TensorSpec

__all__ = ["Family", "Needs"]


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be at hand to have a derived model: blobs of tensors, and releases of the trunk."""

    blobs: tuple[BlobRef, ...]
    releases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Link:
    """One place on the way from a tensor down to where it stands alone.

    Attributes:
        stored: None in the trunk, where a tensor is a part of the whole.
    """

    ref: ModelRef
    name: str
    dtype: str
    stored: DerivedTensor | None


class Family:
    """The models that a catalog leads to. What was rebuilt of the trunk is kept as long as this is.

    May be read from several threads.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._lock = RLock()
        self._manifests: dict[ModelRef, Manifest | DerivedManifest] = {}
        self._specs: dict[ModelRef, Mapping[str, TensorSpec]] = {}
        self._stored: dict[ModelRef, Mapping[str, DerivedTensor]] = {}
        self._trunk: dict[ModelRef, Mapping[str, NDArray[np.float32]]] = {}
        self._unchecked: dict[tuple[ModelRef, str], str] = {}  # tensors that are mapped, and their digests

    def ref(self, name: str, version: str) -> ModelRef:
        """The model of this name and exact version.

        Raises:
            NoSuchVersionError: there is none.
        """
        index = self.catalog.index
        entry = index.entry(version) if name == index.name else derived_entry(index, name, version)
        return ModelRef(name=name, version=version, model_digest=entry.model_digest)

    def manifest(self, ref: ModelRef) -> Manifest | DerivedManifest:
        """What a model is; fetched and verified the first time.

        Raises:
            BrokenChainError: the run has no such model, or another one under that number.
            VerificationError, NetworkError, StorageError: it cannot be had, or is not what the index says.
        """
        with self._lock:
            if ref not in self._manifests:
                found = self._fetch_manifest(ref)
                self._manifests[ref] = found
                self._specs[ref] = {spec.name: spec for spec in found.space.tensors}
                self._stored[ref] = {t.name: t for t in found.tensors if isinstance(t, DerivedTensor)}
            return self._manifests[ref]

    def derived(self, ref: ModelRef) -> DerivedManifest:
        """What a derived model is; raises as :meth:`manifest`."""
        found = self.manifest(ref)
        assert isinstance(found, DerivedManifest), ref
        return found

    def specs(self, ref: ModelRef) -> Mapping[str, TensorSpec]:
        """Name, shape and type of a model's tensors, by name; raises as :meth:`manifest`."""
        self.manifest(ref)
        return self._specs[ref]

    def depth(self, ref: ModelRef, name: str) -> int:
        """How many differences lie below a tensor, as its manifest says; 0 in the trunk."""
        self.manifest(ref)
        stored = self._stored[ref].get(name)
        return stored.depth if stored is not None else 0

    def needs(self, ref: ModelRef) -> Needs:
        """What reading all tensors of a model takes. Fetches manifests, and nothing else.

        Raises:
            BrokenChainError: a chain is a circle, or leads to nothing.
        """
        blobs: dict[str, BlobRef] = {}
        releases: set[str] = set()
        for name in self.specs(ref):
            for link in self._chain(ref, name):
                if link.stored is None:
                    releases.add(link.ref.version)
                elif link.stored.blob is not None:
                    blobs.setdefault(link.stored.blob.digest, link.stored.blob)
        order = [entry.version for entry in self.catalog.index.releases if entry.version in releases]
        return Needs(tuple(blobs.values()), tuple(order))

    def read(self, ref: ModelRef, name: str) -> NDArray[np.uint8]:
        """A tensor's little-endian bytes, verified; not to be written to.

        Raises:
            VerificationError: a blob is not what it should be, or does not give the tensor.
            BrokenChainError: what it is built upon is missing.
        """
        below: NDArray[np.uint8] | None = None
        below_dtype = ""
        chain = self._chain(ref, name)
        for link in reversed(chain):
            if link.stored is None:
                below = self._of_trunk(link.ref)[link.name].view(np.uint8)
                if len(chain) == 1:
                    self._check_mapped(link, below)
            else:
                base = _as_base(link, below, below_dtype) if link.stored.base is not None else None
                below = self._decoded(link, link.stored, base)
            below_dtype = link.dtype
        assert below is not None
        return below

    def _fetch_manifest(self, ref: ModelRef) -> Manifest | DerivedManifest:
        index = self.catalog.index
        try:
            if self.ref(ref.name, ref.version) != ref:
                raise BrokenChainError(f"{ref.name} {ref.version} is another model than the one that is built upon")
            if ref.name == index.name:
                return self.catalog.manifest(index.entry(ref.version))
            return read_derived_manifest(self.catalog, derived_entry(index, ref.name, ref.version))
        except NoSuchVersionError as error:
            raise BrokenChainError(f"{ref.name} {ref.version} is built upon, and this run does not list it") from error

    def _chain(self, ref: ModelRef, name: str) -> list[_Link]:
        """A tensor and what lies below it, down to one that stands alone or to the trunk."""
        chain: list[_Link] = []
        seen: set[tuple[ModelRef, str]] = set()
        while True:
            spec = self.specs(ref).get(name)
            if spec is None:
                raise BrokenChainError(f"{ref.name} {ref.version} has no tensor {name!a}, which is built upon")
            if (ref, name) in seen:
                raise BrokenChainError(f"tensor {name!a} of {ref.name} {ref.version} is built upon itself")
            seen.add((ref, name))
            stored = self._stored[ref].get(name)
            chain.append(_Link(ref, name, spec.dtype, stored))
            if stored is None or stored.base is None:
                return chain
            ref, name = self.derived(ref).bases[stored.base.of], stored.base.name

    def _decoded(self, link: _Link, stored: DerivedTensor, base: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
        what = f"tensor {link.name!a} of {link.ref.name} {link.ref.version}"
        if stored.blob is None:
            assert base is not None, "the manifest was checked"
            out = base
        else:
            out = np.empty(stored.size_bytes, dtype=np.uint8)
            blob = self.catalog.blob(stored.blob)
            try:
                decode_into(blob, stored.dtype, out.data, None if base is None else base.data)
            except VerificationError as error:
                raise VerificationError(f"{what}: {error}") from error
        _compare(out, stored.digest, what)
        return out

    def _check_mapped(self, link: _Link, data: NDArray[np.uint8]) -> None:
        """Compare a tensor of a release that is mapped with its digest, the first time that it is asked for."""
        expected = self._unchecked.get((link.ref, link.name))
        if expected is not None:
            _compare(data, expected, f"tensor {link.name!a} of {link.ref.name} {link.ref.version}")
            self._unchecked.pop((link.ref, link.name), None)

    def _of_trunk(self, ref: ModelRef) -> Mapping[str, NDArray[np.float32]]:
        manifest = self.manifest(ref)
        assert isinstance(manifest, Manifest), ref
        with self._lock:
            if ref not in self._trunk:
                views = manifest.space.unflatten(self._flat(ref, manifest).astype("<f4", copy=False))
                self._trunk[ref] = {name: view.reshape(-1) for name, view in views.items()}
            return self._trunk[ref]

    def _flat(self, ref: ModelRef, manifest: Manifest) -> NDArray[np.float32]:
        """A release, float32 [P]: mapped where it is stored whole, else rebuilt and verified."""
        plan = make_plan(self.catalog.index, ref.version)
        if plan.keyframe is None or plan.patches:
            return rebuild(self.catalog, plan, manifest)
        flat_P = parse_keyframe(self.catalog.blob(plan.keyframe), manifest.space)
        self._unchecked.update({(ref, tensor.name): tensor.digest for tensor in manifest.tensors})
        return flat_P


def _compare(data: NDArray[np.uint8], expected: str, what: str) -> None:
    found = digest_bytes(data.data)
    if found != expected:
        raise VerificationError(
            f"{what} is {found[:15]}.., its manifest says {expected[:15]}..; nothing was installed. Use another mirror"
        )


def _as_base(link: _Link, below: NDArray[np.uint8] | None, below_dtype: str) -> NDArray[np.uint8]:
    """What lies below a tensor, in the tensor's own type.

    Raises:
        VerificationError: it cannot be said in that type, or has another size.
    """
    assert below is not None
    assert link.stored is not None
    base = in_type(below, below_dtype, link.dtype)
    if base is None or len(base) != link.stored.size_bytes:
        raise VerificationError(
            f"tensor {link.name!a} of {link.ref.name} {link.ref.version} does not fit what it is built upon; "
            "use another mirror"
        )
    return base
