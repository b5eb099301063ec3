"""Where a release comes from: its parents, the round that made it, and what is different.

The entry is a blob that the manifest names, so it is signed with it, and lies in a pulled folder
as ``lineage.json``. Entries of all releases together are the family tree of a trunk.

P  elements in the whole space
"""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from barnraise.errors import MessageError, VerificationError
from barnraise.message import Count, Digest, Message
from barnraise.releases.manifest import MergedUpdate, ReleaseVersion, RunName
from barnraise.updates.space import ParameterSpace
from barnraise.versions import Bump

__all__ = ["Lineage", "LineageChange", "LineageParent", "measure_change", "read_lineage"]

BLOCK = 1 << 18  # elements that are compared at once


class LineageParent(Message):
    """A release that this one was made from.

    Attributes:
        relation: ``base`` is the release whose weights were changed.
    """

    kind: ClassVar[str] = "lineage-parent"
    relation: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,31}$")]
    name: RunName
    version: ReleaseVersion
    model_digest: Digest


class LineageChange(Message):
    """How far a release is from its base; all of it is new in a first one.

    Attributes:
        parameters, tensors: what the model has. parameters_changed, tensors_changed: what is different in any bit.
        tests_added, tests_dropped: names of supported tests.
    """

    kind: ClassVar[str] = "lineage-change"
    parameters: Count
    parameters_changed: Count
    tensors: Count
    tensors_changed: Count
    tests_added: tuple[str, ...] = ()
    tests_dropped: tuple[str, ...] = ()


class Lineage(Message):
    """One release in the family tree.

    Attributes:
        merged_by: the strategy, and the outer rule over it; both empty in a first release.
        updates: the contributions, with their weights.
        left_out: updates of the parent that this release was made without.
    """

    kind: ClassVar[str] = "lineage"
    format: Literal[1] = 1
    name: RunName
    version: ReleaseVersion
    model_digest: Digest
    parents: tuple[LineageParent, ...]
    round: Count
    merged_by: tuple[str, ...]
    updates: tuple[MergedUpdate, ...]
    left_out: tuple[Digest, ...] = ()
    bump: Bump
    reason: Annotated[str, Field(max_length=4096)]
    change: LineageChange


def read_lineage(data: bytes | memoryview, what: str) -> Lineage:
    """An entry from its bytes, whose digest the caller compares.

    Args:
        what: how to name it in an error.

    Raises:
        VerificationError: it is none.
    """
    try:
        return Lineage.read(json.loads(bytes(data)))
    except (ValueError, RecursionError, MessageError) as error:
        raise VerificationError(f"{what} is no lineage entry: {error}") from error


def measure_change(
    space: ParameterSpace, before_P: NDArray[np.float32] | None, after_P: NDArray[np.float32]
) -> LineageChange:
    """Count what is different in any bit between two models of one space.

    Args:
        before_P: float32 [P]; None where there is nothing to compare with.
        after_P: float32 [P].
    """
    tensors, parameters = len(space.tensors), space.size
    if before_P is None:
        return LineageChange(
            parameters=parameters, parameters_changed=parameters, tensors=tensors, tensors_changed=tensors
        )
    one_P, other_P = before_P.view(np.uint32), after_P.view(np.uint32)
    counts = []
    for start, spec in zip(space.tensor_starts[:-1].tolist(), space.tensors, strict=True):
        blocks = [slice(at, min(at + BLOCK, start + spec.size)) for at in range(start, start + spec.size, BLOCK)]
        counts.append(sum(int(np.count_nonzero(one_P[block] != other_P[block])) for block in blocks))
    return LineageChange(
        parameters=parameters,
        parameters_changed=sum(counts),
        tensors=tensors,
        tensors_changed=sum(count > 0 for count in counts),
    )
