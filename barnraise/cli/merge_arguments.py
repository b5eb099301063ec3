"""The arguments of ``barnraise merge`` as a recipe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from barnraise.checkpoints.recipe import Recipe, RecipeInput, load_recipe, parse_recipe
from barnraise.errors import UsageError

__all__ = ["MergeArguments", "recipe_of"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([KMGT]?B?)\Z", re.IGNORECASE)


@dataclass(frozen=True)
class MergeArguments:
    """What was typed. None and empty where nothing was."""

    paths: Sequence[Path]
    recipe: Path | None
    strategy: str | None
    no_base: bool
    weights: Sequence[str]
    options: Sequence[str]
    fishers: Sequence[str]
    grams: Sequence[str]
    dtype: str | None
    seed: int | None
    shard_size: str | None


def recipe_of(arguments: MergeArguments) -> tuple[Recipe, Path]:
    """The recipe, and the folder that its paths are relative to.

    Raises:
        UsageError: arguments that make no merge.
        ConfigError: a recipe that cannot be read.
    """
    if arguments.recipe is not None:
        return _written(arguments, arguments.recipe), arguments.recipe.absolute().parent
    if arguments.strategy is None:
        raise UsageError("which strategy? Name one: --strategy mean, or --strategy ties; or a recipe: --recipe FILE")
    paths = list(arguments.paths)
    if len(paths) < (1 if arguments.no_base else 2):
        expected, example = ("models", "--no-base") if arguments.no_base else ("a base and models", "BASE")
        raise UsageError(
            f"{len(paths)} models were named, expected {expected}: "
            f"barnraise merge --strategy {arguments.strategy} {example} MODEL MODEL"
        )
    return _typed(arguments, None if arguments.no_base else paths.pop(0), paths), Path()


def _typed(arguments: MergeArguments, base: Path | None, paths: Sequence[Path]) -> Recipe:
    names = _names(paths)
    weights = dict(zip(names, _weights(arguments.weights, names), strict=True))
    sides = {"fisher": _by_name(arguments.fishers, names, "fisher"), "gram": _by_name(arguments.grams, names, "gram")}
    models = []
    for name, path in zip(names, paths, strict=True):
        model: dict[str, object] = {"name": name, "path": str(path), "weight": weights[name]}
        model.update({kind: {"path": files[name]} for kind, files in sides.items() if name in files})
        models.append(model)
    value: dict[str, object] = {
        "strategy": arguments.strategy,
        "options": dict(_option(text) for text in arguments.options),
        "models": models,
        "seed": arguments.seed or 0,
        "dtype": arguments.dtype or "same",
        "shard_bytes": _size(arguments.shard_size or "5GB"),
    }
    if base is not None:
        value["base"] = {"path": str(base)}
    return parse_recipe(value, "the command line")


def _written(arguments: MergeArguments, path: Path) -> Recipe:
    """A recipe from a file, perhaps with its models somewhere else."""
    given = {
        "--strategy": arguments.strategy,
        "--no-base": arguments.no_base,
        "--weight": arguments.weights,
        "--option": arguments.options,
        "--fisher": arguments.fishers,
        "--gram": arguments.grams,
        "--dtype": arguments.dtype,
        "--seed": arguments.seed is not None,
        "--shard-size": arguments.shard_size,
    }
    both = [option for option, value in given.items() if value]
    if both:
        raise UsageError(f"{both[0]} and --recipe cannot be used together: the recipe says it. Edit {path} instead")
    recipe = load_recipe(path)
    if not arguments.paths:
        return recipe
    inputs: list[RecipeInput] = [*([recipe.base] if recipe.base else []), *recipe.models]
    if len(arguments.paths) != len(inputs):
        raise UsageError(
            f"{len(arguments.paths)} models were named, {path} has {len(inputs)}, its base first; "
            "name all of them in its order, or none"
        )
    moved = [
        one.model_copy(update={"path": str(place.absolute())})
        for one, place in zip(inputs, arguments.paths, strict=True)
    ]
    base = moved.pop(0) if recipe.base else None
    return recipe.model_copy(update={"base": base, "models": tuple(moved)})


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each model: as little of the end of its path as tells them apart, and a number if nothing does."""
    whole = [path.absolute().with_suffix("") if path.suffix == ".safetensors" else path.absolute() for path in paths]
    names: list[str] = []
    for path in whole:
        others = [other for other in whole if other != path]
        count = next((n for n in range(1, 4) if not any(path.parts[-n:] == other.parts[-n:] for other in others)), 4)
        name = "/".join(path.parts[-count:])
        name = name if name != "base" else "base-model"
        names.append(name if name not in names else f"{name}#{1 + whole[: len(names)].count(path)}")
    return names


def _weights(given: Sequence[str], names: Sequence[str]) -> list[float]:
    """One weight for each model: by position, or by name with 1 for those that are not named."""
    if not given:
        return [1.0] * len(names)
    if any("=" in text for text in given):
        by_name = _by_name(given, names, "weight")
        return [_number(by_name.get(name, "1"), "--weight") for name in names]
    numbers = [_number(part, "--weight") for text in given for part in text.split(",")]
    if len(numbers) != len(names):
        raise UsageError(f"{len(numbers)} weights for {len(names)} models ({', '.join(names)}); give one for each")
    return numbers


def _by_name(given: Iterable[str], names: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.rpartition("=")
        if not equals or not value:
            raise UsageError(f"--{option} {text!a}, expected NAME=VALUE; the models are {', '.join(names)}")
        if name not in names:
            raise UsageError(f"--{option} names {name!a}, the models are {', '.join(names)}")
        if name in found:
            raise UsageError(f"--{option} names {name!a} twice")
        found[name] = value
    return found


def _option(text: str) -> tuple[str, float | str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"--option {text!a}, expected KEY=VALUE, such as density=0.5")
    if value in ("true", "false"):
        return key, float(value == "true")
    try:
        return key, float(value)
    except ValueError:
        return key, value


def _number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!a} is no number") from error
    if not math.isfinite(number) or number < 0:
        raise UsageError(f"{option}: {text}, expected a number that is 0 or more")
    return number


def _size(text: str) -> int:
    match = _SIZE.match(text)
    unit = match[2].upper() if match else ""
    size = int(float(match[1]) * _UNITS[unit if unit in _UNITS else f"{unit}B"]) if match else 0
    if size < 1:
        raise UsageError(f"--shard-size {text!a}, expected a size such as 5GB or 500MB")
    return size
