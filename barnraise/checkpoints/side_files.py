"""What some strategies need beside the models: diagonal Fishers, and Gram matrices of layer inputs.

A side file is a safetensors file with tensors named like the weights that they belong to. A
Fisher has the shape of its weight; a Gram matrix of a weight [O, I] has the shape [I, I].
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.digests import DigestedCheckpoint
from barnraise.checkpoints.dtypes import FLOATS
from barnraise.checkpoints.recipe import Recipe, RecipeInput, RecipeModel
from barnraise.errors import ChangedCheckpointError, MismatchedCheckpointsError, UsageError
from barnraise.updates.space import TensorSpec

__all__ = ["open_fishers", "open_grams", "side_digests"]

Kind = Literal["fisher", "gram"]
SHOWN = 3


def open_fishers(recipe: Recipe, folder: Path, specs: Iterable[TensorSpec]) -> list[DigestedCheckpoint]:
    """The Fisher of every model, in their order.

    Args:
        specs: tensors that are merged with Fishers.

    Raises:
        UsageError: a model has none.
        MismatchedCheckpointsError: a tensor has none, or one of another shape.
    """
    opened = _open_all(recipe, folder, "fisher")
    for model, one in zip(recipe.models, opened, strict=True):
        wrong = [
            spec.name
            for spec in specs
            if (there := one.checkpoint.tensors.get(spec.name)) is None
            or there.shape != spec.shape
            or there.dtype not in FLOATS
        ]
        if wrong:
            raise MismatchedCheckpointsError(
                f"the Fisher of {model.name} has no fitting tensor for {_some(wrong)}; nothing was written"
            )
    return opened


def open_grams(
    recipe: Recipe, folder: Path, specs: Iterable[TensorSpec]
) -> tuple[list[DigestedCheckpoint], frozenset[str]]:
    """The Gram matrices of every model, in their order, and the tensors for which all have one.

    Args:
        specs: tensors that are merged with Gram matrices where there are some.

    Raises:
        UsageError: a model has no Gram matrices.
        MismatchedCheckpointsError: a matrix belongs to no weight, or has another shape.
    """
    opened = _open_all(recipe, folder, "gram")
    sides = {spec.name: spec.shape[1] for spec in specs if len(spec.shape) == 2}
    for model, one in zip(recipe.models, opened, strict=True):
        wrong = [
            name
            for name, gram in one.checkpoint.tensors.items()
            if gram.shape != (sides.get(name), sides.get(name)) or gram.dtype not in FLOATS
        ]
        if wrong:
            raise MismatchedCheckpointsError(
                f"the Gram matrices of {model.name} fit no weight: {_some(wrong)}; nothing was written"
            )
    return opened, frozenset(set.intersection(*(set(one.checkpoint.tensors) for one in opened)))


def side_digests(recipe: Recipe, kind: Kind, opened: Iterable[DigestedCheckpoint]) -> dict[str, str]:
    """Digest of every model's side file, by the model's name.

    Raises:
        ChangedCheckpointError: one is not what the recipe says.
    """
    found = {model.name: one.digest() for model, one in zip(recipe.models, opened, strict=True)}
    for model in recipe.models:
        expected = _of(model, kind)
        if expected is not None and expected.digest not in (None, found[model.name]):
            raise ChangedCheckpointError(
                f"the {kind} file of {model.name} is {found[model.name][:15]}.., the recipe says "
                f"{str(expected.digest)[:15]}..; nothing was written"
            )
    return found


def _open_all(recipe: Recipe, folder: Path, kind: Kind) -> list[DigestedCheckpoint]:
    missing = [model.name for model in recipe.models if _of(model, kind) is None]
    if missing:
        raise UsageError(
            f"{recipe.strategy} needs a {kind} file for every model, {_some(missing)} has none; "
            f"give one: --{kind} {missing[0]}=FILE.safetensors"
        )
    return [
        DigestedCheckpoint(Checkpoint.open(folder / there.path))
        for model in recipe.models
        if (there := _of(model, kind)) is not None
    ]


def _of(model: RecipeModel, kind: Kind) -> RecipeInput | None:
    return model.fisher if kind == "fisher" else model.gram


def _some(names: list[str]) -> str:
    shown = ", ".join(f"{name!a}" for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
