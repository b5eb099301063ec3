"""How merged segments travel: part blobs from merging tasks, and the state that goes with a release.

A part has the planes of its segments of the patch, and for the same elements what the outer
rule and the residual shall remember. A state blob has one vector for every slot of the outer
rule, by the slot's name, and the residual.

P  elements of a segment, or of the whole model
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from barnraise.updates import EncodedSegment
from merge.segment import MergedSegment
from merge.strategies import OuterNesterov, OuterRule
from merge.strategies.outer import State

__all__ = ["pack_part", "pack_state", "read_state", "state_change", "unpack_segments"]

OUTER = "outer"
RESIDUAL = "residual"
PATCH = frozenset({"sizes", "planes"})


def read_state(path: Path | None, outer: OuterRule, start: int, stop: int) -> tuple[State, Tensor]:
    """What the outer rule and the residual remember of the elements ``[start, stop)``; only those are read.

    Args:
        path: state of the base; None where there is none. Slots that another outer rule has left are
            not taken over, though they may have the same names: what is called momentum has another
            scale in each. They start as in a first round; see :func:`state_change`.
    """
    state = dict(outer.initial(stop - start))
    if path is None:
        return state, torch.zeros(stop - start)
    with safe_open(path, framework="pt") as found:
        if _rule_of(found.metadata()) == outer.name:
            for slot in set(outer.slots).intersection(found.keys()):
                state[slot] = found.get_slice(slot)[start:stop]
        return state, found.get_slice(RESIDUAL)[start:stop]


def state_change(path: Path | None, outer: OuterRule) -> str:
    """What becomes of a state that another outer rule has left, in words; "" when it was the same one."""
    if path is None:
        return ""
    with safe_open(path, framework="pt") as found:
        before = _rule_of(found.metadata())
    if before == outer.name:
        return ""
    begins = f"{' and '.join(outer.slots)} begin anew" if outer.slots else "it remembers nothing"
    return f"the outer rule was {before} and is {outer.name} now: {begins}"


def pack_part(merged: Sequence[MergedSegment]) -> bytes:
    """Neighbouring segments as one blob."""
    arrays: dict[str, NDArray[np.float32] | NDArray[np.uint8] | NDArray[np.int64]] = {
        RESIDUAL: _joined([segment.residual_P for segment in merged])
    }
    for slot in merged[0].state:
        arrays[slot] = _joined([segment.state[slot] for segment in merged])
    planes = [(segment.encoded.support, segment.encoded.levels, segment.encoded.scales) for segment in merged]
    arrays["sizes"] = np.array([[len(plane) for plane in row] for row in planes], dtype=np.int64)
    arrays["planes"] = np.frombuffer(b"".join(plane for row in planes for plane in row), dtype=np.uint8)
    return save(arrays)


def unpack_segments(part: Mapping[str, NDArray[np.generic]]) -> list[EncodedSegment]:
    """The segments of the patch in a part."""
    planes, at, segments = part["planes"].tobytes(), 0, []
    for row in part["sizes"].tolist():
        cuts = []
        for size in row:
            cuts.append(planes[at : at + size])
            at += size
        segments.append(EncodedSegment(*cuts))
    return segments


def pack_state(parts: Sequence[Mapping[str, NDArray[np.generic]]], outer: str) -> bytes:
    """The state of all parts, given in the order of their segments; float32 [P] each.

    Args:
        outer: name of the outer rule, which its slots belong to.
    """
    names = sorted(parts[0].keys() - PATCH)
    return save({name: np.concatenate([part[name] for part in parts]) for name in names}, metadata={OUTER: outer})


def _rule_of(metadata: Mapping[str, str] | None) -> str:
    """The outer rule that left a state; before it was written down there was one that remembers anything."""
    return (metadata or {}).get(OUTER, OuterNesterov.name)


def _joined(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(tensors)).numpy()
    return joined
