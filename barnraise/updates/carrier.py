"""The carrier that an update is read with: from its header, or from what a run asks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from barnraise.errors import ConfigValueError, NonCanonicalUpdateError, UnsupportedFormatError, WrongBaseError
from barnraise.update_config import LoraConfig
from barnraise.updates.factors import RANK_MAX, Factors
from barnraise.updates.part import Part
from barnraise.updates.scope import TURN_END, Carrier, Scope
from barnraise.updates.space import ParameterSpace, TensorSpec
from barnraise.updates.turn import Turn

__all__ = ["Asked", "Named", "asked_carrier", "carrier_of", "is_matrix"]


class Named(Protocol):
    """A blob that is named by its digest."""

    @property
    def digest(self) -> str: ...


class Asked(Protocol):
    """What :class:`barnraise.update_config.UpdateConfig` and a lease both say."""

    @property
    def train(self) -> tuple[str, ...]: ...

    @property
    def lora(self) -> LoraConfig | None: ...

    @property
    def mask(self) -> Named | None: ...

    @property
    def turns(self) -> int | None: ...


def carrier_of(scope: Scope, space: ParameterSpace, mask: Carrier | None = None) -> Carrier | None:
    """What the arrays of an update hold; None where it is the change of every element.

    Args:
        scope: that nobody has checked yet.
        space: of the base.
        mask: the only one that may be named.

    Raises:
        WrongBaseError: it is not about such a base, or under another mask.
        NonCanonicalUpdateError: it should be named otherwise.
    """
    if scope.mask is not None:
        if mask is None or mask.scope != scope:
            known = "no mask is known here" if mask is None else f"expected {str(mask.scope.mask)[:15]}.."
            raise WrongBaseError(f"the update is under mask {scope.mask[:15]}.., {known}. Leave and join again.")
        return mask
    if scope.turns is not None:
        assert scope.turn is not None, scope
        return _turn(space, scope.turns, scope.turn)
    count = len(space.tensors)
    chosen = (True,) * count if scope.tensors is None else _chosen(scope.tensors, count)
    if scope.rank is None:
        return None if scope.tensors is None else Part(space, chosen)
    if scope.rank > RANK_MAX:
        raise UnsupportedFormatError(
            f"factors of rank {scope.rank}, at most {RANK_MAX} are read. Lower update.lora.rank."
        )
    wrong = [spec.name for spec, bit in zip(space.tensors, chosen, strict=True) if bit and not is_matrix(spec)]
    if wrong:
        raise WrongBaseError(f"factors of {len(wrong)} tensors that are no matrices. Pull the base again.")
    return Factors(Part(space, chosen), scope.rank)


def asked_carrier(
    space: ParameterSpace, asked: Asked, mask: Carrier | None = None, *, turn: int | None = None
) -> Carrier | None:
    """How updates of a run travel; None where that is as the change of every element.

    Args:
        space: of the base.
        asked: the run's configuration of updates, or a lease.
        mask: the one that is asked for, where one is.
        turn: number of the round; elements may take turns only where it is given.

    Raises:
        ConfigValueError: there are no such tensors, or no such turn.
    """
    if asked.mask is not None:
        assert mask is not None, "the mask was not read"
        assert mask.scope.mask == asked.mask.digest, "another mask"
        return mask
    if asked.turns is not None:
        assert turn is not None, "elements take turns, and the round was not told"
        if turn >= TURN_END:
            raise ConfigValueError(f"round {turn:,} has no elements in turn; rounds below {TURN_END:,} have")
        return _turn(space, asked.turns, turn)
    part = Part.of(space, asked.train)
    return part if asked.lora is None else Factors(_matrices(space, part, asked.train), asked.lora.rank)


def is_matrix(spec: TensorSpec) -> bool:
    """Whether factors may stand for a tensor."""
    return len(spec.shape) == 2 and spec.size > 0


@lru_cache(maxsize=4)
def _turn(space: ParameterSpace, turns: int, number: int) -> Turn:
    """One for all updates of a round, which so draw its elements once."""
    return Turn(space, turns, number)


def _matrices(space: ParameterSpace, part: Part | None, train: Sequence[str]) -> Part:
    """The tensors that factors are trained for: those that were named, else every matrix."""
    chosen = tuple(is_matrix(spec) for spec in space.tensors)
    if not any(chosen):
        raise ConfigValueError("update.lora trains matrices, and this model has none; remove it")
    if not train:
        return Part(space, chosen)
    wanted = space.tensors if part is None else part.space.tensors
    wrong = [spec for spec in wanted if not is_matrix(spec)]
    if wrong:
        raise ConfigValueError(
            f"update.lora trains matrices, and update.train names {wrong[0].name} of shape {list(wrong[0].shape)}; "
            "name matrices only"
        )
    return part or Part(space, (True,) * len(space.tensors))


def _chosen(tensors: str, count: int) -> tuple[bool, ...]:
    packed = np.frombuffer(bytes.fromhex(tensors), dtype=np.uint8)
    if len(packed) != -(-count // 8):
        raise WrongBaseError(f"{8 * len(packed)} bits of tensors, the base has {count}. Pull the base again.")
    bits = np.unpackbits(packed).astype(bool)
    if bits[count:].any() or bits[:count].all() or not bits.any():
        raise NonCanonicalUpdateError("the bits of tensors name all, none or too many of them. Write the update again.")
    return tuple(bits[:count].tolist())
