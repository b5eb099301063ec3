"""What one release is: tensors, lineage, how to rebuild it, and what it was tested for.

A manifest is stored as a blob, canonical JSON; the index that names its digest is what is
signed. A model that was pulled has it beside the weights as ``release.json``.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, model_validator

from barnraise.checkpoints.folder import TRAVELLING, TRAVELLING_MAX_BYTES
from barnraise.errors import BadNameError, BadVersionError, MessageError, VerificationError
from barnraise.message import BlobRef, Count, Digest, Key, Message, Millis, check_run_name
from barnraise.model_config import ModelConfig
from barnraise.updates.space import ParameterSpace, TensorSpec, model_digest
from barnraise.versions import Bump, parse_version

__all__ = [
    "AcceptedRegression",
    "Manifest",
    "MergedUpdate",
    "ParentRef",
    "ReleaseFile",
    "ReleaseVersion",
    "Remerged",
    "RunName",
    "TensorEntry",
    "read_manifest",
    "read_message",
]

M = TypeVar("M", bound=Message)

ELEMENTS_MAX = 1 << 48
SIDE_MAX_BYTES = TRAVELLING_MAX_BYTES


def _version(text: str) -> str:
    try:
        return str(parse_version(text))
    except BadVersionError as error:
        raise ValueError(str(error)) from error


def _run_name(text: str) -> str:
    try:
        return check_run_name(text)
    except BadNameError as error:
        raise ValueError(f"bad name: {error}") from error


ReleaseVersion = Annotated[str, AfterValidator(_version)]
RunName = Annotated[str, AfterValidator(_run_name)]


class TensorEntry(Message):
    """One tensor: ``digest`` is BLAKE3 of its little-endian bytes."""

    kind: ClassVar[str] = "tensor"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,256}$")]
    dtype: Literal["F32"] = "F32"
    shape: Annotated[tuple[Annotated[int, Field(gt=0, le=ELEMENTS_MAX)], ...], Field(max_length=8)]
    digest: Digest


def _file_name(text: str) -> str:
    if text not in TRAVELLING:
        raise ValueError(f"a file beside the weights is one of {', '.join(TRAVELLING)}")
    return text


class ReleaseFile(Message):
    """A file that other software finds beside the weights, such as ``config.json``. Its name is never a path."""

    kind: ClassVar[str] = "release-file"
    name: Annotated[str, AfterValidator(_file_name)]
    blob: BlobRef


class ParentRef(Message):
    """The release that this one changes."""

    kind: ClassVar[str] = "parent"
    version: ReleaseVersion
    model_digest: Digest


class MergedUpdate(Message):
    """A contribution that is in this release, and the weight it was merged with."""

    kind: ClassVar[str] = "merged-update"
    digest: Digest
    contributor: Key
    weight: Annotated[float, Field(ge=0)]
    size_bytes: Count


class Remerged(Message):
    """How a release was made without updates that its parent has: the parent's merges, once more, without them.

    Attributes:
        left_out: the updates. dropped: others that are gone with them, for too few were left of their rounds.
        repeated: releases whose merges were done again, oldest first.
        report: how the model and its tests changed.
    """

    kind: ClassVar[str] = "remerged"
    left_out: Annotated[tuple[Digest, ...], Field(min_length=1)]
    dropped: tuple[Digest, ...] = ()
    repeated: tuple[ReleaseVersion, ...]
    reason: Annotated[str, Field(max_length=4096)]
    report: BlobRef


class AcceptedRegression(Message):
    """A supported test that is worse than in the parent, and why the operator released it all the same."""

    kind: ClassVar[str] = "accepted-regression"
    test: Annotated[str, Field(max_length=48)]
    reason: Annotated[str, Field(min_length=1, max_length=1024)]


class Manifest(Message):
    """A release.

    Attributes:
        keyframe: ``model.safetensors`` as a whole, where the release has one.
        patch: update file of role ``patch`` against ``parent``, where it has one.
        acceptance: report of the acceptance tests. config: the resolved run configuration.
        card: the model card, Markdown. lineage: the entry in the family tree.
        files: what else lies beside the weights, sorted by name.
        suite: digest of the suite that it was tested by; "" of a release from before suites were named.
        supported_tests: names of the tests that this release promises.
        accepted: those of them that got worse, by the operator's leave; then the version is a major one.
        bump, reason: why it has this version.
        remerged: of a release that was made without updates of its parent; None of all others.
        mask: what its updates are under, where they are under one.
    """

    kind: ClassVar[str] = "manifest"
    format: Literal[1] = 1
    name: RunName
    version: ReleaseVersion
    parent: ParentRef | None
    model_digest: Digest
    tensors: Annotated[tuple[TensorEntry, ...], Field(min_length=1)]
    model: ModelConfig
    keyframe: BlobRef | None
    patch: BlobRef | None
    acceptance: BlobRef
    config: BlobRef
    card: BlobRef
    lineage: BlobRef
    files: tuple[ReleaseFile, ...] = ()
    updates: tuple[MergedUpdate, ...]
    licence: Annotated[str, Field(max_length=256)]
    round: Count
    bump: Bump
    reason: Annotated[str, Field(max_length=4096)]
    supported_tests: tuple[str, ...]
    created_at_ms: Millis
    remerged: Remerged | None = None
    suite: Digest | Literal[""] = ""
    accepted: tuple[AcceptedRegression, ...] = ()
    mask: BlobRef | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [tensor.name for tensor in self.tensors]
        if names != sorted(set(names)):
            raise ValueError("the tensors are not sorted by name, or a name comes twice")
        if sum(math.prod(tensor.shape) for tensor in self.tensors) > ELEMENTS_MAX:
            raise ValueError(f"the tensors have more than {ELEMENTS_MAX} elements")
        if self.model_digest != model_digest(self.space, self.tensor_digests):
            raise ValueError("model_digest is not the digest of the tensors that are listed")
        files = [file.name for file in self.files]
        if files != sorted(set(files)):
            raise ValueError("the files are not sorted by name, or a name comes twice")
        side = [self.acceptance, self.config, self.card, self.lineage, *(file.blob for file in self.files)]
        for blob in [*side, *([self.remerged.report] if self.remerged is not None else [])]:
            if blob.size_bytes > SIDE_MAX_BYTES:
                raise ValueError(f"a file of {blob.size_bytes} bytes beside the weights; at most {SIDE_MAX_BYTES}")
        if self.patch is not None and self.parent is None:
            raise ValueError("a patch needs a parent")
        if self.remerged is not None and (self.parent is None or self.updates):
            raise ValueError("a release that leaves updates out has a parent, and merges nothing new")
        named = [regression.test for regression in self.accepted]
        if named != sorted(set(named)) or not set(named) <= set(self.supported_tests):
            raise ValueError("the accepted regressions are not sorted, or are of tests that it does not promise")
        if self.accepted and self.bump != "major":
            raise ValueError(f"a test got worse, so this is a major version, not a {self.bump} one")
        if self.patch is None and self.keyframe is None:
            raise ValueError("neither keyframe nor patch: the release could not be rebuilt")
        return self

    @property
    def space(self) -> ParameterSpace:
        """Layout of the model."""
        return ParameterSpace(tuple(TensorSpec(t.name, t.shape, t.dtype) for t in self.tensors))

    @property
    def tensor_digests(self) -> list[str]:
        """In the order of ``tensors``."""
        return [tensor.digest for tensor in self.tensors]


def read_manifest(data: bytes | memoryview, what: str) -> Manifest:
    """A manifest from its bytes, whose digest the caller compares.

    Args:
        what: how to name it in an error.

    Raises:
        VerificationError: it is none.
    """
    return read_message(data, Manifest, what)


def read_message(data: bytes | memoryview, kind: type[M], what: str) -> M:
    """A message of this kind from its bytes; raises as :func:`read_manifest`."""
    try:
        return kind.read(json.loads(bytes(data)))
    except (ValueError, RecursionError, MessageError) as error:
        why = str(error) if isinstance(error, MessageError) else "it is not JSON"
        raise VerificationError(
            f"{what} is not acceptable: {why}. Use another mirror; if a newer Barnraise has made it: "
            "pip install -U barnraise"
        ) from error
