"""Read tensors of any model of a run: of the trunk's releases, and of derived models through their chains.

Every tensor is compared with the digest that its manifest states: before anybody gets it, or, where
it comes in pieces, with the last of them. What lies below it is not: a difference from anything
else gives something else. What a manifest says of its depth is not believed: a chain that is a
circle, or that leads to nothing, is refused.

A piece goes through the whole chain while it is in the processor's cache, and memory holds a piece
of every difference in the chain, however large the tensor is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.digest import digest_bytes, new_hasher
from barnraise.errors import BrokenChainError, NoSuchVersionError, VerificationError
from barnraise.message import BlobRef
from barnraise.releases.catalog import Catalog
from barnraise.releases.derived.manifest import DerivedManifest, DerivedTensor, ModelRef
from barnraise.releases.derived.names import derived_entry, read_derived_manifest
from barnraise.releases.derived.rounding import in_type
from barnraise.releases.keyframe import parse_keyframe
from barnraise.releases.lossless import BLOCK, decoded
from barnraise.releases.manifest import Manifest
from barnraise.releases.plan import make_plan
from barnraise.releases.rebuild import rebuild
from barnraise.updates.space import TensorSpec

__all__ = ["Family", "Needs"]

Bytes = NDArray[np.uint8]


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
    spec: TensorSpec
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
        self._digests: dict[ModelRef, Mapping[str, str]] = {}
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
                self._digests[ref] = {tensor.name: tensor.digest for tensor in found.tensors}
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

    def believe(self, ref: ModelRef) -> None:
        """Hash no whole release that a model is built upon: every tensor is compared when it is read.

        Raises:
            See :meth:`needs`.
        """
        entries = [self.catalog.index.entry(version) for version in self.needs(ref).releases]
        self.catalog.believe([entry.keyframe for entry in entries if entry.keyframe is not None])

    def build(self, ref: ModelRef) -> None:
        """Have the trunk's releases that a model is built upon, on all threads, before pieces are asked for.

        Raises:
            VerificationError: one is not what its manifest says.
            BrokenChainError, BlobMissingError, NetworkError, StorageError: one cannot be had.
        """
        for version in self.needs(ref).releases:
            self._of_trunk(self.ref(self.catalog.index.name, version))

    def forget(self) -> None:
        """Let go of the trunk's releases: what they were made of turned out to be damaged."""
        with self._lock:
            self._trunk.clear()
            self._unchecked.clear()

    def read(self, ref: ModelRef, name: str) -> Bytes:
        """A tensor's little-endian bytes, verified; not to be written to.

        Raises:
            VerificationError: a blob is not what it should be, or does not give the tensor.
            BrokenChainError: what it is built upon is missing.
        """
        manifest = self.manifest(ref)
        if isinstance(manifest, Manifest):
            return self._read_trunk(ref, name)
        spec = self._spec(ref, name)
        out, at = np.empty(spec.size * ITEM_BYTES[spec.dtype], dtype=np.uint8), 0
        for piece in self.pieces(ref, name):
            out[at : at + len(piece)] = piece
            at += len(piece)
        return out

    def pieces(self, ref: ModelRef, name: str) -> Iterator[Bytes]:
        """A tensor's little-endian bytes, some whole elements at a time; each piece is written over by the next.

        Whoever takes them throws them away if this fails, for whether they are right is known with the last.

        Raises:
            See :meth:`read`.
        """
        what = f"tensor {name!a} of {ref.name} {ref.version}"
        chain = self._chain(ref, name)
        elements = BLOCK // min(ITEM_BYTES[link.spec.dtype] for link in chain)
        hasher = new_hasher()
        with ExitStack() as held:
            try:
                for piece in self._through(chain, elements, held):
                    own = piece if piece.flags.writeable else piece.copy()  # a file that is mapped may change
                    hasher.update(own.data)
                    yield own
            except VerificationError as error:
                raise VerificationError(f"{what}: {error}") from error
        _compare(f"b3:{hasher.hexdigest()}", self._digests[ref][name], what)

    def _through(self, chain: Sequence[_Link], elements: int, held: ExitStack) -> Iterator[Bytes]:
        """What comes out at the top of a chain, so many elements at a time; ``held``: files until the end."""
        pieces: Iterator[Bytes] = iter(())
        for link, below in zip(reversed(chain), [None, *reversed(chain)], strict=False):
            piece_bytes = elements * ITEM_BYTES[link.spec.dtype]
            if link.stored is None:
                pieces = _cut(self._of_trunk(link.ref)[link.spec.name].view(np.uint8), piece_bytes)
                continue
            bases = None if below is None else _as_bases(pieces, below.spec, link.spec)
            if link.stored.blob is not None:
                file = held.enter_context(self.catalog.open(link.stored.blob))
                pieces = decoded(file, link.spec.dtype, link.stored.size_bytes, piece_bytes, bases)
            elif bases is not None:
                pieces = bases
        return pieces

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
            spec = self._spec(ref, name)
            if (ref, name) in seen:
                raise BrokenChainError(f"tensor {name!a} of {ref.name} {ref.version} is built upon itself")
            seen.add((ref, name))
            stored = self._stored[ref].get(name)
            chain.append(_Link(ref, spec, stored))
            if stored is None or stored.base is None:
                return chain
            ref, name = self.derived(ref).bases[stored.base.of], stored.base.name

    def _spec(self, ref: ModelRef, name: str) -> TensorSpec:
        spec = self.specs(ref).get(name)
        if spec is None:
            raise BrokenChainError(f"{ref.name} {ref.version} has no tensor {name!a}, which is built upon")
        return spec

    def _read_trunk(self, ref: ModelRef, name: str) -> Bytes:
        """A tensor of a release; of one that is mapped compared with its digest, the first time it is asked for."""
        data = self._of_trunk(ref)[self._spec(ref, name).name].view(np.uint8)
        expected = self._unchecked.get((ref, name))
        if expected is not None:
            _compare(digest_bytes(data.data), expected, f"tensor {name!a} of {ref.name} {ref.version}")
            self._unchecked.pop((ref, name), None)
        return data

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


def _compare(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise VerificationError(
            f"{what} is {found[:15]}.., its manifest says {expected[:15]}..; nothing was installed. Use another mirror"
        )


def _cut(data: Bytes, piece_bytes: int) -> Iterator[Bytes]:
    return (data[start : start + piece_bytes] for start in range(0, len(data), piece_bytes))


def _as_bases(pieces: Iterator[Bytes], below: TensorSpec, spec: TensorSpec) -> Iterator[Bytes]:
    """What lies below a tensor, in the tensor's own type.

    Raises:
        VerificationError: it cannot be said in that type, or has another size; also while it is read.
    """
    if below.size != spec.size:
        raise VerificationError(f"{below.size} elements are built upon for {spec.size}; use another mirror")
    return pieces if below.dtype == spec.dtype else _rounded(pieces, below.dtype, spec.dtype)


def _rounded(pieces: Iterator[Bytes], dtype: str, wanted: str) -> Iterator[Bytes]:
    for piece in pieces:
        rounded = in_type(piece, dtype, wanted)
        if rounded is None:
            raise VerificationError(f"what is built upon has values that {wanted} cannot say; use another mirror")
        yield rounded
