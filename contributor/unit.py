"""From trained weights to the bytes of an update, and what is left over.

target = trained - base + residual + whatever is folded back; the update holds as much of
the target as its codec can say, and the new residual is the rest.

P  elements in the whole parameter space
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.config import CodecConfig
from barnraise.digest import digest_bytes
from barnraise.protocol import Lease, UpdateEnvelope
from barnraise.updates import Update, write_update
from barnraise.updates.space import ParameterSpace
from merge.compress import compress
from merge.compress.fisher import with_fisher

__all__ = ["FinishedUnit", "Work", "add_decoded", "finish_unit"]


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


def add_decoded(target_P: NDArray[np.float32], space: ParameterSpace, updates: Iterable[bytes]) -> None:
    """Add whole updates, our own earlier ones, to ``target_P`` (float32 [P]) in place."""
    for data in updates:
        update = Update.parse(data, space, base_digest=None)
        for segment in range(space.segment_count):
            first, end = space.segment_range(segment)
            target_P[first:end] += update.decode(segment)


def finish_unit(
    space: ParameterSpace,
    target_P: NDArray[np.float32],
    codec: CodecConfig,
    base_digest: str,
    fisher_P: NDArray[np.float32] | None = None,
) -> FinishedUnit:
    """Compress a change.

    Args:
        space: of the base.
        target_P: float32 [P], the change to say.
        codec: as leased.
        base_digest: model digest of the base.
        fisher_P: float32 [P], not negative, to send along where the lease asks for it. What the codec
            leaves out of the change is in the residual; of the Fisher it is gone, for it says
            something about this change only.

    Raises:
        NonFiniteUpdateError: the change or the Fisher holds a NaN or an infinity.
    """
    encoded, decoded_P = compress(torch.from_numpy(target_P), space, codec)
    if fisher_P is not None:
        encoded = with_fisher(encoded, fisher_P, space, codec)
    data = write_update(space, base_digest, codec, encoded, role="update")
    return FinishedUnit(data, target_P - decoded_P.cpu().numpy())
