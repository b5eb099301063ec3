"""The carrier that an update is read with: from its header, or from what a run asks for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from barnraise.errors import NonCanonicalUpdateError, WrongBaseError
from barnraise.updates.part import Part
from barnraise.updates.scope import Carrier, Scope
from barnraise.updates.space import ParameterSpace

__all__ = ["asked_carrier", "carrier_of"]


def carrier_of(scope: Scope, space: ParameterSpace) -> Carrier | None:
    """What the arrays of an update hold; None where it is the change of every element.

    Args:
        scope: that nobody has checked yet.
        space: of the base.

    Raises:
        WrongBaseError: it is not about such a base.
        NonCanonicalUpdateError: it should be named otherwise.
    """
    return None if scope.tensors is None else Part(space, _chosen(scope.tensors, len(space.tensors)))


def asked_carrier(space: ParameterSpace, train: Sequence[str]) -> Carrier | None:
    """How updates of a run travel; None where that is as the change of every element.

    Args:
        space: of the base.
        train: patterns of names of tensors that train; none for all.

    Raises:
        ConfigValueError: there are no such tensors.
    """
    return Part.of(space, train)


def _chosen(tensors: str, count: int) -> tuple[bool, ...]:
    packed = np.frombuffer(bytes.fromhex(tensors), dtype=np.uint8)
    if len(packed) != -(-count // 8):
        raise WrongBaseError(f"{8 * len(packed)} bits of tensors, the base has {count}. Pull the base again.")
    bits = np.unpackbits(packed).astype(bool)
    if bits[count:].any() or bits[:count].all() or not bits.any():
        raise NonCanonicalUpdateError("the bits of tensors name all, none or too many of them. Write the update again.")
    return tuple(bits[:count].tolist())
