"""A unit that was stopped in the middle, as one safetensors file.

It belongs to one lease. A file of another lease, or one that cannot be read, is no error:
the unit then begins again, and the caller says so.
"""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.numpy
from safetensors import SafetensorError

from barnraise.digest import digest_json
from barnraise.releases.durable import replace_file
from barnraise.updates.space import ParameterSpace
from contributor.training.trainer import Progress

__all__ = ["load_checkpoint", "save_checkpoint"]

_VECTORS = ("model", "first", "second")


def save_checkpoint(path: Path, lease_id: str, space: ParameterSpace, progress: Progress) -> None:
    """Write ``progress`` of a lease, whole or not at all.

    Raises:
        DiskFullError: no space left; an older checkpoint is still there.
    """
    vectors = {"model": progress.model_P, "first": progress.first_P, "second": progress.second_P}
    metadata = {
        "lease": lease_id,
        "space": space.digest,
        "losses": json.dumps(progress.losses),
        "adamw-steps": str(progress.step),
    }
    replace_file(path, safetensors.numpy.save(vectors, metadata | {"check": digest_json(metadata)}))


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
