"""Everything that a recipe is made of, opened and found to fit together.

Tensors that are merged must be in every model, in one shape. Integers, truth values and other
types that are no merged floats are carried over, and must be equal everywhere. What an
override takes from one model need not be in the others at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.checkpoints.compare import config_differences, tensor_differences
from barnraise.checkpoints.digests import DigestedCheckpoint
from barnraise.checkpoints.dtypes import FLOATS, OUTPUT_NAMES
from barnraise.checkpoints.header import StoredTensor
from barnraise.checkpoints.recipe import BASE, Recipe
from barnraise.errors import ChangedCheckpointError, MismatchedCheckpointsError
from barnraise.updates.space import TensorSpec

__all__ = ["OpenedInputs", "open_inputs"]


@dataclass(frozen=True)
class OpenedInputs:
    """The models of a recipe.

    Attributes:
        models: in the recipe's order. base: None if there is none.
        merged: tensors that are merged or taken, with the type that they will have.
        carried: tensors of other types, copied from the first of ``reference`` or where an override says.
    """

    recipe: Recipe
    models: tuple[DigestedCheckpoint, ...]
    base: DigestedCheckpoint | None
    merged: tuple[TensorSpec, ...]
    carried: tuple[TensorSpec, ...]

    @property
    def reference(self) -> DigestedCheckpoint:
        """The base, or the first model: what the result's types and files come from."""
        return self.base or self.models[0]

    def source(self, name: str) -> DigestedCheckpoint:
        """Where a tensor is copied from if it is not merged."""
        override = self.recipe.override_for(name)
        if override is None or override.take is None:
            return self.reference
        return _taken(self.recipe, override.take, self.models, self.base)

    def by_label(self) -> list[tuple[str, DigestedCheckpoint, str | None]]:
        """Base and models as a person calls them, with the digest that the recipe wants."""
        rows = [(m.name, opened, m.digest) for m, opened in zip(self.recipe.models, self.models, strict=True)]
        if self.base is not None and self.recipe.base is not None:
            rows.insert(0, (BASE, self.base, self.recipe.base.digest))
        return rows

    def check_carried(self) -> None:
        """Compare what is carried over, byte by byte.

        Raises:
            MismatchedCheckpointsError: it differs, and no override says whose to take.
        """
        for spec in self.carried:
            override = self.recipe.override_for(spec.name)
            if override is not None and override.take is not None:
                continue
            expected = self.reference.block(spec.name, 0, spec.size)
            for label, opened, _ in self.by_label():
                same_type = opened.dtype(spec.name) == spec.dtype
                if not same_type or not np.array_equal(opened.block(spec.name, 0, spec.size), expected):
                    raise MismatchedCheckpointsError(
                        f"tensor {spec.name!a} is {spec.dtype}, which is carried over and not merged, and that of "
                        f"{label} differs; nothing was written. Say whose to take with an override in a recipe"
                    )

    def digests(self) -> dict[str, str]:
        """The digest of every input; what was not read before is read now.

        Raises:
            ChangedCheckpointError: one is not what the recipe says.
        """
        found = {}
        for label, opened, expected in self.by_label():
            found[label] = opened.digest()
            if expected is not None and found[label] != expected:
                raise ChangedCheckpointError(
                    f"{label} ({opened.checkpoint.path}) is {found[label][:15]}.., the recipe says {expected[:15]}..; "
                    "nothing was written. Find that model, or remove its digest from the recipe"
                )
        return found


def open_inputs(recipe: Recipe, folder: Path) -> OpenedInputs:
    """Open base and models, and make sure that they fit together.

    Args:
        folder: what the recipe's paths are relative to.

    Raises:
        NotACheckpointError: one is no model.
        MismatchedCheckpointsError: they do not fit together; the message names tensors.
    """
    base = DigestedCheckpoint(Checkpoint.open(folder / recipe.base.path)) if recipe.base else None
    models = tuple(DigestedCheckpoint(Checkpoint.open(folder / model.path)) for model in recipe.models)
    opened = OpenedInputs(recipe, models, base, (), ())
    _check_alike(opened)
    merged, carried = _outputs(opened)
    return OpenedInputs(recipe, models, base, merged, carried)


def _check_alike(opened: OpenedInputs) -> None:
    """Raises MismatchedCheckpointsError unless all that is merged is in every model."""
    rows = opened.by_label()
    reference_label = rows[0][0]
    reference = opened.reference.checkpoint
    for label, other, _ in rows[1:]:
        differing, _ = config_differences(reference.config, other.checkpoint.config)
        if differing:
            raise MismatchedCheckpointsError(
                f"{label} is another architecture than {reference_label}: {'; '.join(differing)}; nothing was written"
            )
        found = tensor_differences(_needed(opened.recipe, reference), _needed(opened.recipe, other.checkpoint))
        if found:
            raise MismatchedCheckpointsError(
                f"{label} does not fit {reference_label}: it {'; it '.join(found)}. Nothing was written"
            )


def _needed(recipe: Recipe, checkpoint: Checkpoint) -> Mapping[str, StoredTensor]:
    """The tensors of a model that are not taken from one model alone."""
    if not recipe.override:
        return checkpoint.tensors
    taken = {name for name in checkpoint.tensors if (found := recipe.override_for(name)) and found.take}
    return {name: tensor for name, tensor in checkpoint.tensors.items() if name not in taken}


def _outputs(opened: OpenedInputs) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """The tensors of the result: those that are merged or taken, and those that are carried over."""
    wanted = OUTPUT_NAMES[opened.recipe.dtype]
    names = {name for _, one, _ in opened.by_label() for name in one.checkpoint.tensors}
    merged, carried = [], []
    for name in sorted(names):
        tensor = opened.source(name).checkpoint.tensors.get(name)
        if tensor is None:
            if name in opened.reference.checkpoint.tensors:
                raise MismatchedCheckpointsError(f"an override takes {name!a} from a model that has no such tensor")
            continue
        if tensor.dtype in FLOATS:
            _check_floats(opened, name, tensor.dtype)
            merged.append(TensorSpec(name, tensor.shape, wanted or tensor.dtype))
        else:
            carried.append(TensorSpec(name, tensor.shape, tensor.dtype))
    return tuple(merged), tuple(carried)


def _check_floats(opened: OpenedInputs, name: str, dtype: str) -> None:
    override = opened.recipe.override_for(name)
    if override is not None and override.take is not None:
        return
    for label, one, _ in opened.by_label():
        if one.dtype(name) not in FLOATS:
            raise MismatchedCheckpointsError(
                f"tensor {name!a} is {one.dtype(name)} in {label} and {dtype} elsewhere; expected one of "
                f"{', '.join(FLOATS)} everywhere. Nothing was written"
            )


def _taken(
    recipe: Recipe, take: str, models: tuple[DigestedCheckpoint, ...], base: DigestedCheckpoint | None
) -> DigestedCheckpoint:
    if take == BASE:
        assert base is not None, "the recipe was checked"
        return base
    return models[[model.name for model in recipe.models].index(take)]
