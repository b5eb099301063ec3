"""What runs on a worker, beside merging: the first model, the check of one update, scores of a model.

Module-level functions of a desk and digests, so that Ray can run them anywhere and again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.errors import AcceptanceError, NonFiniteUpdateError, UnsupportedFormatError, UpdateError
from barnraise.model_config import CausalLMConfig
from barnraise.releases.keyframe import parse_keyframe, write_keyframe
from barnraise.update_config import CodecConfig, UpdateConfig
from barnraise.updates import Carrier, Mask, Update, asked_carrier, canonical_codec
from barnraise.updates.scope import EVERYWHERE
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds import Failure
from coordinator.acceptance.kinds.loss import own_loss
from coordinator.acceptance.measuring import Part, examples_of, measure
from coordinator.acceptance.models.trunks import trunk_subject
from coordinator.acceptance.updates.check import check_alone
from coordinator.acceptance.updates.compared import Compared
from coordinator.acceptance.updates.contribution import PairedLosses, score_update, told_score
from coordinator.conductor.desk import Desk
from coordinator.conductor.limits import memory_limit
from merge.architectures import build, flat_of
from merge.exact import square_sum

__all__ = [
    "Checked",
    "FirstModel",
    "ToCheck",
    "check_update",
    "first_model",
    "measure_model",
]

OF_BASES_MOST = 32
_OF_BASES: dict[tuple[str, str, int], NDArray[np.float64]] = {}
"""Losses of bases by what they depend on, the newest; whatever is missing is measured again."""


@dataclass(frozen=True, slots=True)
class FirstModel:
    """The initial weights: their digest, and the keyframe blob that holds them."""

    model_digest: str
    keyframe_digest: str
    keyframe_bytes: int


@dataclass(frozen=True, slots=True)
class ToCheck:
    """An update that came for a round.

    Attributes:
        base_digest: model digest of the round's base.
        shard: the domain that it was trained on, whose windows go into its score.
    """

    digest: str
    round: int
    base_digest: str
    shard: str | None


@dataclass(frozen=True, slots=True)
class Checked:
    """Outcome of the check of one update. ``reason`` has the numbers, ``evidence`` too."""

    accepted: bool
    reason: str
    evidence: dict[str, Any]
    segment_square_sums: list[float]


def first_model(desk: Desk) -> FirstModel:
    """The weights that the run begins with: taken over, or those of the architecture's seed, stored as a keyframe."""
    model = desk.config.model
    if isinstance(model, CausalLMConfig) and model.start is not None:
        keyframe = desk.public.read(model.start)
        flat_P = parse_keyframe(keyframe, desk.space)
    else:
        flat_P = flat_of(build(model), desk.space)
        keyframe = write_keyframe(desk.space, flat_P)
    return FirstModel(desk.models.put(flat_P), desk.public.put(keyframe), len(keyframe))


def check_update(desk: Desk, one: ToCheck, seed: bytes | None = None) -> Checked:
    """Decode an update in full, and measure what it alone does: to hidden windows, to its own domain's, to public ones.

    Args:
        seed: of the round's draw of windows; None looks at the same ones in every round.
    """
    try:
        data = desk.private.map(one.digest)
        most, mask = desk.config.gateway.max_update_bytes, desk.mask
        update = Update.parse(data, desk.space, base_digest=one.base_digest, max_bytes=most, mask=mask)
        _require_as_leased(update, desk.config.update, mask, one.round)
        base_P = desk.models.get(one.base_digest)
        alone_P, square_sums = _measured(base_P, update)
    except UpdateError as error:
        return Checked(False, str(error), {"code": error.code}, [])
    pair = _Pair(desk, one.base_digest, base_P, alone_P)
    looked, unit = desk.check_examples(one.shard, seed), pair.loss.metric.unit
    hidden = pair.losses(looked.hidden)
    verdict = check_alone(hidden.base_N, hidden.alone_N, desk.config.acceptance.check_margin, unit)
    own = pair.losses(looked.own) if len(looked.own) > 1 else None
    public = pair.losses(looked.public) if looked.beside_public else None
    score = score_update(hidden, own, public, unit=unit)
    evidence = {**verdict.evidence, "score": score.as_json(), "worth": told_score(score)}
    if public is not None:
        evidence["compared"] = Compared(looked.compared, hidden.at(looked.beside_public), public, unit).as_json()
    return Checked(verdict.accepted, verdict.reason, evidence, square_sums)


class _Pair:
    """A base, and the same with one update, whose losses are compared."""

    def __init__(self, desk: Desk, base_digest: str, base_P: NDArray[np.float32], alone_P: NDArray[np.float32]) -> None:
        model = desk.config.model
        self._base, self._alone = (trunk_subject(one_P, model, desk.space, desk.side) for one_P in (base_P, alone_P))
        self._named = f"{base_digest} {model.model_dump_json()}"
        self.loss = own_loss(self._base)

    def losses(self, examples: Examples) -> PairedLosses:
        """Of the same examples; the base's are measured once for all updates that this process checks."""
        key = (self._named, examples.digest, len(examples))
        if key not in _OF_BASES:
            while len(_OF_BASES) >= OF_BASES_MOST:
                del _OF_BASES[next(iter(_OF_BASES))]
            _OF_BASES[key] = self.loss.measure(self._base, examples).values_N
        return PairedLosses(_OF_BASES[key], self.loss.measure(self._alone, examples).values_N)


def _measured(base_P: NDArray[np.float32], update: Update) -> tuple[NDArray[np.float32], list[float]]:
    """Base plus update, float32 [P], and the sum of squares of each segment; every segment is decoded once.

    Raises:
        UpdateError: a segment is wrong, or a sum is not finite.
    """
    alone_P, square_sums = np.empty_like(base_P), []
    for segment in range(update.space.segment_count):
        start, end = update.space.segment_range(segment)
        delta_P = update.decode(segment)
        square_sums.append(square_sum(torch.from_numpy(delta_P)))
        with np.errstate(over="ignore"):
            np.add(base_P[start:end], delta_P, out=alone_P[start:end])
        if not np.isfinite(alone_P[start:end]).all():
            raise NonFiniteUpdateError(f"base plus change is not finite in segment {segment}. Discard this update.")
        if update.has_fisher:
            update.fisher(segment)  # refused now, or in the middle of a merge
    return alone_P, square_sums


def _require_as_leased(update: Update, asked: UpdateConfig, mask: Mask | None, number: int) -> None:
    """In another role or codec the same change would be another file, and count as another update.

    Args:
        number: of the round that it was leased for, whose turn it is.
    """
    if update.role != "update":
        raise UnsupportedFormatError(f"a contribution has the role update, this file has the role {update.role}")
    wanted = canonical_codec(asked.codec)
    if update.codec != wanted:
        raise UnsupportedFormatError(f"the lease asks for {_named(wanted)}, this file is {_named(update.codec)}")
    carrier = asked_carrier(update.space, asked, mask, turn=number)
    if update.scope != (EVERYWHERE if carrier is None else carrier.scope):
        raise UnsupportedFormatError(
            f"the run asks for updates of {_reach(carrier)}, this file is of {_reach(update.carrier)}; "
            "leave and join again"
        )
    if update.has_fisher != asked.fisher:
        raise UnsupportedFormatError(
            f"the run asks for updates {'with' if asked.fisher else 'without'} a Fisher, this file comes "
            f"{'with' if update.has_fisher else 'without'} one; leave and join again"
        )


def _reach(carrier: Carrier | None) -> str:
    if carrier is None:
        return "all tensors"
    if carrier.scope.mask is not None:
        return f"mask {carrier.scope.mask[:15]}.."
    if carrier.scope.turns is not None:
        return f"elements in turn {carrier.scope.turn}, one of {carrier.scope.turns}"
    factors = f"factors of rank {carrier.scope.rank} of " if carrier.scope.rank is not None else ""
    return f"{factors}{sum(carrier.chosen)} of {len(carrier.chosen)} tensors"


def _named(codec: CodecConfig) -> str:
    bits = f"{codec.bits} bit{'s' if codec.bits != 1 else ''}"
    return {"topk": f"topk with k {codec.k}", "blockwise": f"blockwise with {bits}"}.get(codec.name, "dense")


def measure_model(desk: Desk, model_digest: str, part: Part, again: bool = False) -> Failure | None:
    """Let a test or a probe look at a model, and keep what it found.

    Args:
        again: although it is known already.

    Returns:
        None, or why the model could not be measured.

    Raises:
        AcceptanceError, BlobMissingError: there are no examples to look at, which is not the model's fault.
    """
    if not again and desk.measured(model_digest, part) is not None:
        return None
    look = part.look
    examples, subject = examples_of(part, desk.examples(look)), desk.subject(model_digest)
    try:
        with memory_limit(look.memory_mb, look.name):
            found = measure(subject, look, examples)
    except AcceptanceError as error:
        return Failure(error.reason)
    desk.keep_measured(model_digest, part, found)
    return None
