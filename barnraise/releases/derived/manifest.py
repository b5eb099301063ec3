"""What a derived model is: whose child, its tensors, and how each of them is stored.

    blob    base    the tensor is
    set     -       the blob, decoded
    set     set     the blob, decoded against the base
    -       set     the base, rounded to this tensor's type where that differs

A base is a tensor of a release of the trunk or of another derived model. What is stored twice
under any name is the same blob, and a tensor that did not change has none.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from barnraise.checkpoints.dtypes import ITEM_BYTES
from barnraise.checkpoints.folder import ADAPTER_CONFIG, TRAVELLING
from barnraise.message import BlobRef, Count, Digest, Message, Millis
from barnraise.releases.manifest import (
    ELEMENTS_MAX,
    SIDE_MAX_BYTES,
    Manifest,
    ReleaseVersion,
    RunName,
    read_manifest,
    read_message,
)
from barnraise.updates.space import ParameterSpace, TensorSpec, model_digest

__all__ = [
    "RELATIONS",
    "AnyManifest",
    "DerivedManifest",
    "DerivedTensor",
    "Lineage",
    "ModelRef",
    "Relation",
    "TensorRef",
    "TravellingFile",
    "read_any_manifest",
    "read_derived",
]

TENSOR_NAME = r"^[ -~]{1,256}$"
BASES_MAX = 1024

Relation = Literal["fine-tune", "merge", "adapter", "quantised", "distilled", "pruned", "other"]
RELATIONS: tuple[Relation, ...] = ("fine-tune", "merge", "adapter", "quantised", "distilled", "pruned", "other")

Dimension = Annotated[int, Field(strict=True, ge=0, le=ELEMENTS_MAX)]


def _dtype(text: str) -> str:
    if text not in ITEM_BYTES:
        raise ValueError(f"no type of element that is known here; those are {', '.join(ITEM_BYTES)}")
    return text


def _travelling(text: str) -> str:
    if text not in (*TRAVELLING, ADAPTER_CONFIG):
        raise ValueError("not the name of a file that travels along with a model")
    return text


class ModelRef(Message):
    """A release of the trunk, or a version of a derived model: exactly this one."""

    kind: ClassVar[str] = "model"
    name: RunName
    version: ReleaseVersion
    model_digest: Digest


class TensorRef(Message):
    """A tensor of another model: ``of`` counts in the manifest's ``bases``."""

    kind: ClassVar[str] = "tensor-ref"
    of: Count
    name: Annotated[str, Field(pattern=TENSOR_NAME)]


class DerivedTensor(Message):
    """One tensor and how it is stored; see the module's table.

    Attributes:
        digest: BLAKE3 of its little-endian bytes.
        depth: differences that have to be undone, one after the other, to have it.
    """

    kind: ClassVar[str] = "derived-tensor"
    name: Annotated[str, Field(pattern=TENSOR_NAME)]
    dtype: Annotated[str, AfterValidator(_dtype)]
    shape: Annotated[tuple[Dimension, ...], Field(max_length=32)]
    digest: Digest
    blob: BlobRef | None
    base: TensorRef | None
    depth: Count

    @model_validator(mode="after")
    def _stored(self) -> Self:
        if self.blob is None and self.base is None:
            raise ValueError("a tensor needs a blob, a base, or both")
        return self

    @property
    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.shape, self.dtype)

    @property
    def size_bytes(self) -> int:
        """Of the tensor itself."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


class TravellingFile(Message):
    """A file that lies beside the weights, such as ``config.json``."""

    kind: ClassVar[str] = "travelling-file"
    name: Annotated[str, AfterValidator(_travelling)]
    blob: BlobRef


class Lineage(Message):
    """How a model came from its parent.

    Attributes:
        unchanged, changed, own: tensors equal to the parent's of that name, differing from them,
            and those that the parent does not have in this shape.
        note: what whoever imported it says.
    """

    kind: ClassVar[str] = "lineage"
    relation: Relation
    parent: ModelRef
    unchanged: Count
    changed: Count
    own: Count
    note: Annotated[str, Field(max_length=4096)] = ""


class DerivedManifest(Message):
    """A version of a derived model. The run's index pins it by digest.

    Attributes:
        bases: models that tensors are stored against.
        files: what lies beside the weights. card: a page about the model, Markdown.
        reason: why it has this version.
    """

    kind: ClassVar[str] = "derived-manifest"
    format: Literal[1] = 1
    name: RunName
    version: ReleaseVersion
    model_digest: Digest
    lineage: Lineage
    bases: Annotated[tuple[ModelRef, ...], Field(max_length=BASES_MAX)]
    tensors: Annotated[tuple[DerivedTensor, ...], Field(min_length=1)]
    files: tuple[TravellingFile, ...]
    card: BlobRef
    licence: Annotated[str, Field(max_length=256)]
    reason: Annotated[str, Field(max_length=4096)]
    created_at_ms: Millis

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [tensor.name for tensor in self.tensors]
        if names != sorted(set(names)):
            raise ValueError("the tensors are not sorted by name, or a name comes twice")
        if sum(math.prod(tensor.shape) for tensor in self.tensors) > ELEMENTS_MAX:
            raise ValueError(f"the tensors have more than {ELEMENTS_MAX} elements")
        if any(tensor.base is not None and tensor.base.of >= len(self.bases) for tensor in self.tensors):
            raise ValueError("a tensor is stored against a model that is not among the bases")
        if len({file.name for file in self.files}) != len(self.files):
            raise ValueError("a file comes twice")
        for blob in (self.card, *(file.blob for file in self.files)):
            if blob.size_bytes > SIDE_MAX_BYTES:
                raise ValueError(f"a file of {blob.size_bytes} bytes beside the weights; at most {SIDE_MAX_BYTES}")
        if self.model_digest != model_digest(self.space, [tensor.digest for tensor in self.tensors]):
            raise ValueError("model_digest is not the digest of the tensors that are listed")
        return self

    @property
    def ref(self) -> ModelRef:
        return ModelRef(name=self.name, version=self.version, model_digest=self.model_digest)

    @property
    def space(self) -> ParameterSpace:
        """Layout of the model."""
        return ParameterSpace(tuple(tensor.spec for tensor in self.tensors))

    @property
    def tensor_digests(self) -> list[str]:
        """In the order of ``tensors``."""
        return [tensor.digest for tensor in self.tensors]

    @property
    def size_bytes(self) -> int:
        """Of all tensors."""
        return sum(tensor.size_bytes for tensor in self.tensors)

    @property
    def blobs(self) -> tuple[BlobRef, ...]:
        """Every blob that its tensors need beside their bases, once."""
        found = {tensor.blob.digest: tensor.blob for tensor in self.tensors if tensor.blob is not None}
        return tuple(found.values())

    def tensor(self, name: str) -> DerivedTensor | None:
        """The tensor of that name, if it has one."""
        return next((tensor for tensor in self.tensors if tensor.name == name), None)


AnyManifest = Manifest | DerivedManifest


def read_derived(data: bytes | memoryview, what: str) -> DerivedManifest:
    """A derived model's manifest from its bytes, whose digest the caller compares.

    Raises:
        VerificationError: it is none.
    """
    return read_message(data, DerivedManifest, what)


def read_any_manifest(data: bytes | memoryview, what: str) -> AnyManifest:
    """A manifest of either kind; a derived model's is the one that has bases.

    Raises:
        VerificationError: it is none.
    """
    try:
        value = json.loads(bytes(data))
    except (ValueError, RecursionError):
        value = None
    is_derived = isinstance(value, dict) and "bases" in value
    return read_derived(data, what) if is_derived else read_manifest(data, what)
