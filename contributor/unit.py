"""From trained weights to the bytes of an update, and what is left over.

target = trained - base + residual + whatever is folded back; the update holds as much of
the target as its codec can say, and the new residual is the rest.

P  elements in the whole parameter space, or of what trains
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.digest import digest_bytes
from barnraise.errors import ConfigValueError, VerificationError
from barnraise.protocol import Lease, UpdateEnvelope
from barnraise.update_config import CodecConfig
from barnraise.updates import Carrier, EncodedSegment, Mask, Part, Turn, Update, asked_carrier, write_update
from barnraise.updates.factors import Factors
from barnraise.updates.scope import take_whole
from barnraise.updates.space import ParameterSpace
from contributor.training.entries import Entries
from contributor.training.lora import LowRank
from contributor.training.trainable import EVERYTHING, Some, WhatTrains
from merge.compress import compress, compress_in_place
from merge.compress.factors import factorise
from merge.compress.fisher import with_fisher

__all__ = ["FinishedUnit", "Wanted", "Work", "finish_unit"]


@dataclass(frozen=True)
class FinishedUnit:
    """``data`` is the update file, ``residual_P`` (float32 [P]) what it does not hold."""

    data: bytes
    residual_P: NDArray[np.float32]

    @property
    def digest(self) -> str:
        return digest_bytes(self.data)


@dataclass(frozen=True, slots=True)
class Work:
    """What a unit was trained for: a lease of a run. ``tokens_in`` says what is predicted in so many examples."""

    run: str
    lease: Lease
    tokens_in: Callable[[int], int]

    def envelope(self, data: bytes, losses: Sequence[float], nonce: str, at_ms: int) -> UpdateEnvelope:
        """What is said about the update file ``data``; ``losses`` is in bits per byte, one a step."""
        examples = len(losses) * self.lease.training.batch
        return UpdateEnvelope(
            run=self.run,
            lease_id=self.lease.lease_id,
            round=self.lease.round,
            base_digest=self.lease.base_digest,
            update_digest=digest_bytes(data),
            size_bytes=len(data),
            tokens=self.tokens_in(examples),
            examples=examples,
            steps=len(losses),
            loss_first=losses[0],
            loss_last=losses[-1],
            nonce=nonce,
            at_ms=at_ms,
        )


@dataclass(frozen=True)
class Wanted:
    """What a lease wants of an update, beside training for it.

    Attributes:
        space: of the base.
        carrier: how it travels; None as the change of every element.
        trains: what of the model is trained for it.
    """

    space: ParameterSpace
    base_digest: str
    codec: CodecConfig
    carrier: Carrier | None = None
    trains: WhatTrains = EVERYTHING

    @classmethod
    def of(cls, lease: Lease, space: ParameterSpace, mask: Mask | None = None) -> Wanted:
        """What a lease says, for its base.

        Args:
            mask: the one that the lease names, where it names one.

        Raises:
            VerificationError: the lease and its base do not go together.
        """
        try:
            carrier = asked_carrier(space, lease, mask, turn=lease.round)
        except ConfigValueError as error:
            raise VerificationError(
                f"the lease does not fit its base ({error}); nothing was trained. Tell the operator."
            ) from error
        trains = EVERYTHING if carrier is None else _trains(carrier, lease)
        return cls(space, lease.base_digest, lease.codec, carrier, trains)

    @property
    def target(self) -> ParameterSpace:
        """Layout of changes and residuals: what training changes, before anything is compressed."""
        return self.space if self.carrier is None else self.carrier.target

    @property
    def narrows(self) -> Carrier | None:
        """The carrier, where ``target`` is less than the whole model."""
        return None if self.target == self.space else self.carrier

    @property
    def keeps_moments(self) -> bool:
        """Whether AdamW's moments mean anything in the next unit; those of factors do not, which begin anew."""
        return self.trains.layout(self.space).digest == self.target.digest

    def cut(self, flat_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """What a change of the whole model, float32 [P], says within ``target``: a new vector of it."""
        carrier = self.narrows
        if carrier is None:
            return flat_P.copy()
        return take_whole(carrier, self.space, flat_P, self.target.size)

    def add_decoded(self, target_P: NDArray[np.float32], updates: Iterable[bytes]) -> None:
        """Add whole updates, our own earlier ones, to ``target_P`` (float32, of ``target``) in place.

        What they say of elements that do not train any more is dropped.
        """
        carrier = self.narrows
        mask = carrier if isinstance(carrier, Mask) else None
        for data in updates:
            update = Update.parse(data, self.space, base_digest=None, mask=mask)
            at = 0
            for segment in range(self.space.segment_count):
                change_P = update.decode(segment)
                said = change_P if carrier is None else carrier.take(segment, change_P)
                target_P[at : at + len(said)] += said
                at += len(said)


def finish_unit(
    wanted: Wanted,
    target_P: NDArray[np.float32],
    fisher_P: NDArray[np.float32] | None = None,
    *,
    in_place: bool = False,
) -> FinishedUnit:
    """Compress a change.

    Args:
        wanted: as leased.
        target_P: float32, flat, of ``wanted.target``: the change to say.
        fisher_P: float32 likewise, not negative, to send along where the lease asks for it. What the codec
            leaves out of the change is in the residual; of the Fisher it is gone, for it says
            something about this change only.
        in_place: ``target_P`` is needed no more, and may become the residual.

    Raises:
        NonFiniteUpdateError: the change or the Fisher holds a NaN or an infinity.
    """
    if isinstance(wanted.carrier, Factors):
        return _finish_factors(wanted, wanted.carrier, target_P)
    residual_P = target_P if in_place else target_P.copy()
    if isinstance(wanted.carrier, Turn):
        return _finish_turn(wanted, wanted.carrier, residual_P)
    encoded = compress_in_place(residual_P, wanted.target, wanted.codec)
    if fisher_P is not None:
        encoded = with_fisher(encoded, fisher_P, wanted.target, wanted.codec)
    return FinishedUnit(_written(wanted, encoded), residual_P)


def _finish_factors(wanted: Wanted, factors: Factors, target_P: NDArray[np.float32]) -> FinishedUnit:
    """What goes out are factors; what they leave over is a change of the matrices, as the target was."""
    carried = torch.from_numpy(factorise(target_P, factors))
    data = _written(wanted, compress(carried, factors.space, wanted.codec)[0])
    left_P = -target_P
    wanted.add_decoded(left_P, [data])
    return FinishedUnit(data, np.negative(left_P, out=left_P))


def _finish_turn(wanted: Wanted, turn: Turn, residual_P: NDArray[np.float32]) -> FinishedUnit:
    """Of what has its turn, ``residual_P`` keeps what the codec leaves out; of all else, everything."""
    carried = turn.cut(residual_P)
    encoded = compress_in_place(carried, turn.space, wanted.codec)
    turn.put(carried, residual_P)
    return FinishedUnit(_written(wanted, encoded), residual_P)


def _written(wanted: Wanted, encoded: Sequence[EncodedSegment]) -> bytes:
    return write_update(wanted.space, wanted.base_digest, wanted.codec, encoded, role="update", carrier=wanted.carrier)


def _trains(carrier: Carrier, lease: Lease) -> WhatTrains:
    match carrier:
        case Factors():
            return LowRank(carrier, lease.lora.scale if lease.lora else 1.0, lease.seed)
        case Part():
            return Some(carrier)
        case Mask():
            return Entries(carrier)
        case Turn():
            return EVERYTHING
        case _:
            raise AssertionError(carrier)
