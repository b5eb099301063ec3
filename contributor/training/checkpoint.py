"""A unit that was stopped in the middle, as one safetensors file.

It belongs to one lease. A file of another lease, or one that cannot be read, is no error:
the unit then begins again, and the caller says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import safetensors
from safetensors import SafetensorError

from barnraise.checkpoints.header import StoredTensor, encode_header
from barnraise.digest import digest_json
from barnraise.releases.durable import replace_file_by, write_all
from barnraise.updates.space import ParameterSpace
from contributor.training.trainer import Progress

__all__ = ["lease_of", "load_checkpoint", "save_checkpoint"]

_VECTORS = ("model", "first", "second")


def save_checkpoint(path: Path, lease_id: str, space: ParameterSpace, progress: Progress) -> None:
    """Write ``progress`` of a lease, whole or not at all.

    Raises:
        DiskFullError: no space left; an older checkpoint is still there.
    """
    vectors = [np.ascontiguousarray(v, "<f4") for v in (progress.model_P, progress.first_P, progress.second_P)]
    metadata = {
        "lease": lease_id,
        "space": space.digest,
        "losses": json.dumps(progress.losses),
        "adamw-steps": str(progress.step),
    }
    size = 4 * space.size
    stored = [StoredTensor(name, "F32", (space.size,), i * size, (i + 1) * size) for i, name in enumerate(_VECTORS)]
    header = encode_header(stored, metadata | {"check": digest_json(metadata)})
    pieces: list[bytes | memoryview] = [header, *(vector.data.cast("B") for vector in vectors)]

    def write(descriptor: int) -> None:
        for piece in pieces:  # never as one: that would be as large as the model, thrice
            write_all(descriptor, piece)

    replace_file_by(path, write)


def lease_of(path: Path) -> str | None:
    """The lease that a checkpoint says it is of; None when that cannot be read."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("lease")
    except (FileNotFoundError, SafetensorError):
        return None


def load_checkpoint(path: Path, lease_id: str, space: ParameterSpace) -> Progress | None:
    """The progress of ``lease_id``, or None when the file is of another lease or space, or damaged."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("lease") != lease_id or metadata.get("space") != space.digest:
                return None
            check = metadata.pop("check", "")
            vectors = [file.get_tensor(name) for name in _VECTORS]
    except (FileNotFoundError, SafetensorError):
        return None
    if "adamw-steps" not in metadata or check != digest_json(metadata):
        return None
    if any(v.shape != (space.size,) or v.dtype != "float32" for v in vectors):
        return None
    return Progress(int(metadata["adamw-steps"]), tuple(json.loads(metadata["losses"])), *vectors)
