"""Keep everything: float32, bit for bit. The reference that other codecs are compared with."""

from __future__ import annotations

from torch import Tensor

from barnraise.updates import dense
from barnraise.updates.codec import EncodedSegment

__all__ = ["compress_dense"]


def compress_dense(target_P: Tensor) -> tuple[EncodedSegment, Tensor]:
    """Encode float32 [P], finite; it decodes to itself."""
    return dense.encode(target_P.cpu().numpy()), target_P.clone()
