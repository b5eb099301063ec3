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
from merge.strategies.outer import OuterRule, State

__all__ = ["changed_slots", "join_state", "pack_part", "read_state", "unpack_segments"]

RESIDUAL = "residual"
PATCH = frozenset({"sizes", "planes"})


def read_state(path: Path | None, outer: OuterRule, start: int, stop: int) -> tuple[State, Tensor]:
    """What the outer rule and the residual remember of the elements ``[start, stop)``; only those are read.

    Args:
        path: state of the base; None where there is none. A slot that it lacks, for the run had
            another outer rule then, starts as in a first round; see :func:`changed_slots`.
    """
    state = dict(outer.initial(stop - start))
    if path is None:
        return state, torch.zeros(stop - start)
    with safe_open(path, framework="pt") as found:
        for slot in set(outer.slots).intersection(found.keys()):
            state[slot] = found.get_slice(slot)[start:stop]
        return state, found.get_slice(RESIDUAL)[start:stop]


def changed_slots(path: Path | None, outer: OuterRule) -> str:
    """What becomes of a state when the outer rule was changed after it, in words; "" when nothing was."""
    if path is None:
        return ""
    with safe_open(path, framework="pt") as found:
        had = sorted(set(found.keys()) - {RESIDUAL})
    new = [slot for slot in outer.slots if slot not in had]
    gone = [slot for slot in had if slot not in outer.slots]
    parts = [f"{', '.join(new)} of {outer.name} begins anew"] if new else []
    parts += [f"{', '.join(gone)} of the outer rule before is dropped"] if gone else []
    return "; ".join(parts)


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


def join_state(parts: Sequence[Mapping[str, NDArray[np.generic]]]) -> dict[str, NDArray[np.generic]]:
    """The state of all parts, given in the order of their segments; float32 [P] each."""
    names = sorted(parts[0].keys() - PATCH)
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def _joined(tensors: Sequence[Tensor]) -> NDArray[np.float32]:
    joined: NDArray[np.float32] = torch.cat(list(tensors)).numpy()
    return joined
