"""How a merged checkpoint was made, as a TOML file that makes it again.

    barnraise merge --recipe out/merge.toml --into again/

The same file may be written by hand: digests are then left out, and whatever has a default.
Paths are relative to the folder that the file lies in.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from barnraise.errors import ConfigMissingError, ConfigUnknownKeyError, ConfigValueError, UsageError
from barnraise.sections import Digest

__all__ = ["RECIPE", "Override", "Recipe", "RecipeInput", "RecipeModel", "load_recipe", "render_recipe"]

RECIPE = "merge.toml"
RECIPE_MAX_BYTES = 1 << 20
BASE = "base"

Options = dict[str, float | str]
Weight = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RecipeInput(_Section):
    """A file or folder, and the digest that it must have if one is given."""

    path: str
    digest: Digest | None = None


class RecipeModel(RecipeInput):
    """A model that is merged.

    Attributes:
        name: what it is called in overrides and errors.
        fisher, gram: side files, for the strategies that use them.
    """

    name: Annotated[str, Field(min_length=1)]
    weight: Weight = 1.0
    fisher: RecipeInput | None = None
    gram: RecipeInput | None = None


class Override(_Section):
    """What is different for some tensors.

    Attributes:
        tensors: names, or patterns as a shell has them: ``*.mlp.*``.
        take: copy them from the model of this name, or from ``base``, instead of merging.
        strategy: another strategy; the recipe's options then do not count.
        options: in place of the recipe's, key by key.
        weights: by model name, in place of the recipe's.
    """

    tensors: Annotated[tuple[str, ...], Field(min_length=1)]
    take: str | None = None
    strategy: str | None = None
    options: Options = Field(default_factory=dict)
    weights: dict[str, Weight] = Field(default_factory=dict)

    def names(self, name: str) -> bool:
        """Whether it is about this tensor."""
        return any(fnmatchcase(name, pattern) for pattern in self.tensors)

    @model_validator(mode="before")
    @classmethod
    def _one_pattern_is_a_list_of_one(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("tensors"), str):
            return {**value, "tensors": [value["tensors"]]}
        return value

    @model_validator(mode="after")
    def _taken_or_merged(self) -> Override:
        if self.take is not None and (self.strategy is not None or self.options or self.weights):
            raise ValueError("what is taken is not merged: leave out strategy, options and weights")
        return self


class Recipe(_Section):
    """A whole merge. Sections and keys are those of the TOML file.

    Attributes:
        made_with: versions, for people to read.
        dtype: of the result; ``same`` keeps the type that each tensor has in the base (or in the first model).
        shard_bytes: tensors of one file take at most this.
        result: digest of the merged model, if it was made already.
    """

    format: Literal["barnraise-merge-1"] = "barnraise-merge-1"
    made_with: dict[str, str] = Field(default_factory=dict)
    strategy: str
    options: Options = Field(default_factory=dict)
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    dtype: Literal["same", "f32", "bf16", "f16"] = "same"
    shard_bytes: Annotated[int, Field(gt=0)] = 5_000_000_000
    base: RecipeInput | None = None
    models: Annotated[tuple[RecipeModel, ...], Field(min_length=1)]
    override: tuple[Override, ...] = ()
    result: Digest | None = None

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names) or BASE in names:
            raise ValueError(f"models need names of their own, and none is called {BASE!r}")
        for override in self.override:
            for name in [*override.weights, *([override.take] if override.take not in (None, BASE) else [])]:
                if name not in names:
                    raise ValueError(f"an override names the model {name!r}; there are {', '.join(names)}")
            if override.take == BASE and self.base is None:
                raise ValueError("an override takes tensors from the base, and there is none")
        return self

    def override_for(self, name: str) -> Override | None:
        """What is different for a tensor: the first override that names it."""
        return next((one for one in self.override if one.names(name)), None)


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        ConfigMissingError, ConfigUnknownKeyError, ConfigValueError: what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(RECIPE_MAX_BYTES + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ConfigMissingError(
            f"{path} is not a file; a merge leaves its recipe in its folder as {RECIPE}"
        ) from error
    if len(raw) > RECIPE_MAX_BYTES:
        raise ConfigValueError(f"{path} has more than {RECIPE_MAX_BYTES:,} bytes; no recipe is that long")
    try:
        value = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConfigValueError(f"{path} is not TOML: {error}") from error
    return parse_recipe(value, str(path))


def parse_recipe(value: Mapping[str, Any], source: str) -> Recipe:
    """Check a decoded recipe; ``source`` is named in errors."""
    try:
        return Recipe.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        sections: dict[str, type[_Section]] = {"models": RecipeModel, "override": Override, "base": RecipeInput}
        known = sections.get(str(problem["loc"][0]), Recipe)
        near = difflib.get_close_matches(str(problem["loc"][-1]), list(known.model_fields), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigUnknownKeyError(f"{source}: unknown key {where!r}; {hint}Nothing was merged")
    raise ConfigValueError(f"{source}: {where + ': ' if where else ''}{problem['msg'].removeprefix('Value error, ')}")


def relative_path(path: Path, folder: Path) -> str:
    """How a recipe in ``folder`` names a file.

    Raises:
        UsageError: a name that TOML cannot hold.
    """
    text = os.path.relpath(path, folder)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(f"the path {text!a} is not UTF-8, so no recipe can name it; rename it") from error
    return text


def render_recipe(recipe: Recipe) -> str:
    """A recipe as TOML; reading it gives the same recipe."""
    value = recipe.model_dump(mode="json", exclude_none=True)
    base, models, overrides = value.pop("base", None), value.pop("models"), value.pop("override")
    tables = {key: value.pop(key) for key in ("made_with", "options")}
    lines = ["# How this model was made. Make it again: barnraise merge --recipe merge.toml --into DIR", ""]
    lines += _pairs(value)
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_pairs(table)] if table else []
    if base:
        lines += ["", "[base]", *_pairs(base)]
    for heading, rows in (("models", models), ("override", overrides)):
        for row in rows:
            lines += ["", f"[[{heading}]]", *_pairs({key: item for key, item in row.items() if item != {}})]
    return "\n".join([*lines, ""])


def _pairs(table: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(item)}" for key, item in table.items()]


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if plain else _text(key)


def _value(item: Any) -> str:
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        assert math.isfinite(item), item
        return repr(item)
    if isinstance(item, int):
        return str(item)
    if isinstance(item, Mapping):
        return "{" + ", ".join(_pairs(item)) + "}"
    assert isinstance(item, Sequence), item
    return "[" + ", ".join(_value(part) for part in item) + "]"


def _text(text: str) -> str:
    """A basic string of TOML: as in JSON, which escapes all control characters but one."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
