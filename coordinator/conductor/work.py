"""What runs on a worker, beside merging: the first model, the check of one update, scores of a model.

Module-level functions of a desk and digests, so that Ray can run them anywhere and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from barnraise.config import CodecConfig
from barnraise.errors import UnsupportedFormatError, UpdateError
from barnraise.releases.keyframe import write_keyframe
from barnraise.updates import Update, apply_update, canonical_codec
from coordinator.acceptance.check import check_alone
from coordinator.acceptance.evaluate import scores
from coordinator.conductor.desk import Desk
from merge.architectures import build, flat_of
from merge.exact import square_sum

__all__ = [
    "Checked",
    "FirstModel",
    "check_update",
    "first_model",
    "score_model",
]


@dataclass(frozen=True, slots=True)
class FirstModel:
    """The initial weights: their digest, and the keyframe blob that holds them."""

    model_digest: str
    keyframe_digest: str
    keyframe_bytes: int


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of the check of one update. ``reason`` has the numbers, ``evidence`` too."""

    accepted: bool
    reason: str
    evidence: dict[str, Any]
    segment_square_sums: list[float]


def first_model(desk: Desk) -> FirstModel:
    """Build the architecture with its seed and store it as a keyframe."""
    flat_P = flat_of(build(desk.config.model), desk.space)
    keyframe = write_keyframe(desk.space, flat_P)
    return FirstModel(desk.models.put(flat_P), desk.public.put(keyframe), len(keyframe))


def check_update(desk: Desk, base_digest: str, digest: str) -> Checked:
    """Decode an update in full, and measure what it alone does to the held-out check windows."""
    try:
        data = desk.private.map(digest)
        update = Update.parse(data, desk.space, base_digest=base_digest, max_bytes=desk.config.gateway.max_update_bytes)
        _require_as_leased(update, desk.config.update.codec)
        square_sums = [
            square_sum(torch.from_numpy(update.decode(segment))) for segment in range(desk.space.segment_count)
        ]
        base_P = desk.models.get(base_digest)
        alone_P = apply_update(base_P, update)
    except UpdateError as error:
        return Checked(False, str(error), {"code": error.code}, [])
    windows = desk.held_out.check_windows(desk.config.acceptance.check_examples)
    before = scores(base_P, desk.config.model, desk.space, windows)
    after = scores(alone_P, desk.config.model, desk.space, windows)
    verdict = check_alone(before.bits_per_byte, after.bits_per_byte, desk.config.acceptance.check_margin)
    return Checked(verdict.accepted, verdict.reason, verdict.evidence, square_sums)


def _require_as_leased(update: Update, codec: CodecConfig) -> None:
    """In another role or codec the same change would be another file, and count as another update."""
    if update.role != "update":
        raise UnsupportedFormatError(f"a contribution has the role update, this file has the role {update.role}")
    wanted = canonical_codec(codec)
    if update.codec != wanted:
        raise UnsupportedFormatError(f"the lease asks for {_named(wanted)}, this file is {_named(update.codec)}")


def _named(codec: CodecConfig) -> str:
    return {"topk": f"topk with k {codec.k}", "blockwise": f"blockwise with {codec.bits} bits"}.get(codec.name, "dense")


def score_model(desk: Desk, model_digest: str, shard: str) -> None:
    """Evaluate a model on one shard's held-out windows and keep the scores; known ones are not computed again."""
    if desk.scores(model_digest, shard) is None:
        flat_P = desk.models.get(model_digest)
        found = scores(flat_P, desk.config.model, desk.space, desk.held_out.windows[shard])
        desk.keep_scores(model_digest, shard, found)
