"""Store a model as the difference from its parent: tensor by tensor, bit for bit, on several threads.

    equal to a tensor that the run has       nothing is stored
    the parent has it in this shape          the difference, in the child's type
    nothing of the kind, or not worth it     the tensor alone

Every difference makes reading a step longer, so a tensor with as many below it as releases lie
between two keyframes is stored alone. Tensors of one name in parent and child differ little;
equal ones are found under any name. What is stored was decoded and compared as it was encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.digest import digest_bytes
from barnraise.errors import VerificationError
from barnraise.message import BlobRef
from barnraise.native import threads
from barnraise.releases.derived.family import Family
from barnraise.releases.derived.known import KnownTensors, Stored
from barnraise.releases.derived.manifest import DerivedTensor, ModelRef, TensorRef
from barnraise.releases.derived.rounding import in_type
from barnraise.releases.lossless import encoded
from barnraise.releases.shared_out import share_out
from barnraise.releases.store import BlobStore
from barnraise.updates.space import TensorSpec

__all__ = ["PAYS_BELOW", "StoredModel", "Storing"]

PAYS_BELOW = 0.6
"""A difference that takes less of the tensor than this is kept unseen; else the tensor alone is tried too.

Alone, weights take 0.82 of their bytes in float32 and 0.67 in bfloat16.
"""

_FIRST_BYTES = 1 << 16
_Made = tuple[Stored, Future[int]]
"""How a tensor is stored, and the bytes that are being written for it."""


@dataclass(frozen=True, slots=True)
class _Code:
    """A tensor's blob, written beside its place."""

    path: Path
    blob: BlobRef


@dataclass(frozen=True, slots=True)
class StoredModel:
    """What storing a model came to.

    Attributes:
        written_bytes: of blobs that were not there before; ``model_bytes``: of the tensors.
        unchanged, changed, own: how many tensors are the parent's, differ from it, have nothing there.
    """

    bases: tuple[ModelRef, ...]
    tensors: tuple[DerivedTensor, ...]
    written_bytes: int
    model_bytes: int
    unchanged: int
    changed: int
    own: int


@dataclass(frozen=True)
class Storing:
    """How models are stored in one run.

    Attributes:
        family: where parents are read. known: tensors that are there.
        store: where blobs go. depth_most: differences below a tensor, at most.
        told: called with bytes as they are done, from several threads.
    """

    family: Family
    known: KnownTensors
    store: BlobStore
    depth_most: int
    told: Callable[[int], None] = lambda _: None

    def model(self, checkpoint: Checkpoint, parent: ModelRef) -> StoredModel:
        """Store all tensors of a checkpoint. The same checkpoint and run give the same blobs.

        Raises:
            DiskFullError: no space left; what was stored is found again by the next try.
            ReleaseError, StorageError, NetworkError: the parent cannot be read.
        """
        specs = sorted(checkpoint.specs)
        self.family.believe(parent)
        with ThreadPoolExecutor(threads()) as pool, ThreadPoolExecutor(1) as disk:
            digests = list(pool.map(lambda spec: digest_bytes(_bytes(checkpoint, spec).data), specs))
            first: dict[tuple[str, str], TensorSpec] = {}
            for spec, digest in zip(specs, digests, strict=True):
                if self.known.find(spec.dtype, digest) is None:
                    first.setdefault((spec.dtype, digest), spec)
            order = sorted(first, key=lambda which: -first[which].size)  # nobody waits for a large one in the end
            most = sum(spec.size for spec in first.values()) // threads()
            large = [which for which in order if first[which].size > most]  # worth all threads, one after the other
            done = share_out(lambda which: self._store(checkpoint, first[which], parent, disk), large, None)
            rest = order[len(large) :]
            done += share_out(lambda which: self._store(checkpoint, first[which], parent, disk), rest, pool)
            made = {which: (stored, written.result()) for which, (stored, written) in zip(order, done, strict=True)}
        self.store.settle(stored.blob.digest for stored, _ in made.values() if stored.blob is not None)
        bases = _Bases(parent)
        tensors = []
        for spec, digest in zip(specs, digests, strict=True):
            stored = self.known.find(spec.dtype, digest) or made[spec.dtype, digest][0]
            tensors.append(bases.tensor(spec, digest, stored))
        unchanged, own = self._compared(tensors, parent)
        return StoredModel(
            bases=tuple(bases.refs),
            tensors=tuple(tensors),
            written_bytes=sum(written for _, written in made.values()),
            model_bytes=checkpoint.size_bytes,
            unchanged=unchanged,
            changed=len(tensors) - unchanged - own,
            own=own,
        )

    def _store(self, checkpoint: Checkpoint, spec: TensorSpec, parent: ModelRef, disk: Executor) -> _Made:
        """How a tensor is stored. Who computes never waits for the disk: another thread does."""
        data = _bytes(checkpoint, spec)
        base = self._base(spec, parent)
        depth = self.family.depth(parent, spec.name)
        if base is not None and _are_equal(base, data):  # of another type, and nothing but rounded
            stored, written = Stored(None, (parent, spec.name), depth), disk.submit(int)  # nothing was
        else:
            usable = base if depth < self.depth_most else None
            try:
                code, is_difference = self._shortest(data, spec.dtype, usable)
            except VerificationError as error:
                raise VerificationError(f"tensor {spec.name!a}: {error}. Nothing was listed") from error
            blob, written = code.blob, disk.submit(self._name, code)
            stored = Stored(blob, (parent, spec.name), depth + 1) if is_difference else Stored(blob, None, 0)
        self.told(len(data))
        checkpoint.release(spec.name, 0, spec.size)
        return stored, written

    def _base(self, spec: TensorSpec, parent: ModelRef) -> NDArray[np.uint8] | None:
        """The parent's tensor of that name and shape, in the child's type; None if there is none."""
        there = self.family.specs(parent).get(spec.name)
        if there is None or there.shape != spec.shape:
            return None
        return in_type(self.family.read(parent, spec.name), there.dtype, spec.dtype)

    def _shortest(self, data: NDArray[np.uint8], dtype: str, base: NDArray[np.uint8] | None) -> tuple[_Code, bool]:
        """The tensor in few bytes, and whether that is a difference from the base."""
        if base is None:
            return self._write(data, dtype, None), False
        difference = self._write(data, dtype, base)
        if difference.blob.size_bytes < PAYS_BELOW * len(data):
            return difference, True
        alone = self._write(data, dtype, None)
        is_difference = difference.blob.size_bytes < alone.blob.size_bytes
        chosen, other = (difference, alone) if is_difference else (alone, difference)
        other.path.unlink()
        return chosen, is_difference

    def _write(self, data: NDArray[np.uint8], dtype: str, base: NDArray[np.uint8] | None) -> _Code:
        parts = encoded(data.data, dtype, None if base is None else base.data, check=True)
        path, digest, size_bytes = self.store.write_parts_beside(parts)
        return _Code(path, BlobRef(digest=digest, size_bytes=size_bytes))

    def _name(self, code: _Code) -> int:
        is_new = not self.store.has(code.blob.digest)
        self.store.adopt(code.path, code.blob.digest, settle=False)
        return code.blob.size_bytes if is_new else 0

    def _compared(self, tensors: Sequence[DerivedTensor], parent: ModelRef) -> tuple[int, int]:
        """How many tensors are the parent's, and how many have none there in their shape."""
        there = self.family.specs(parent)
        digests = {tensor.name: tensor.digest for tensor in self.family.manifest(parent).tensors}
        unchanged = own = 0
        for tensor in tensors:
            before = there.get(tensor.name)
            same_type = before is not None and before.dtype == tensor.dtype
            if before is None or before.shape != tensor.shape:
                own += 1
            elif (digests[tensor.name] == tensor.digest) if same_type else tensor.blob is None:
                unchanged += 1
        return unchanged, own


class _Bases:
    """The models that tensors are stored against, numbered as they come; the parent is the first."""

    def __init__(self, parent: ModelRef) -> None:
        self.refs = [parent]

    def tensor(self, spec: TensorSpec, digest: str, stored: Stored) -> DerivedTensor:
        base = None
        if stored.base is not None:
            ref, name = stored.base
            if ref not in self.refs:
                self.refs.append(ref)
            base = TensorRef(of=self.refs.index(ref), name=name)
        return DerivedTensor(
            name=spec.name,
            dtype=spec.dtype,
            shape=spec.shape,
            digest=digest,
            blob=stored.blob,
            base=base,
            depth=stored.depth,
        )


def _are_equal(base: NDArray[np.uint8], data: NDArray[np.uint8]) -> bool:
    """Whether the bytes are the same; most differ soon, and then no more of them is read."""
    return np.array_equal(base[:_FIRST_BYTES], data[:_FIRST_BYTES]) and np.array_equal(base, data)


def _bytes(checkpoint: Checkpoint, spec: TensorSpec) -> NDArray[np.uint8]:
    return checkpoint.block(spec.name, 0, spec.size)
