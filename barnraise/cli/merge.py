"""``barnraise merge``: local checkpoints into one, outside any run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from barnraise.cli.output import JsonOption, print_result, print_warnings, printable

if TYPE_CHECKING:  # what these need is imported when a merge is asked for
    from barnraise.checkpoints.recipe import Recipe
    from barnraise.cli.merge_run import PlannedMerge

__all__ = ["merge"]

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="BASE MODEL...", help="safetensors files or Hugging Face folders, the base first."),
]
Into = Annotated[Path, typer.Option("--into", help="New folder for the result; an earlier merge there is replaced.")]
Strategy = Annotated[str | None, typer.Option("--strategy", help="How to merge: mean, ties, slerp, ...")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="Merge what a recipe says, such as OUT/merge.toml of an earlier merge.")
]
NoBase = Annotated[bool, typer.Option("--no-base", help="All are models: merge weights, not changes.")]
Weights = Annotated[
    list[str] | None, typer.Option("--weight", help="NAME=0.3, again for others; or 0.3,0.7 in their order.")
]
Options = Annotated[list[str] | None, typer.Option("--option", help="Of the strategy, such as density=0.5.")]
Fishers = Annotated[list[str] | None, typer.Option("--fisher", help="NAME=FILE, for the strategy fisher.")]
Grams = Annotated[list[str] | None, typer.Option("--gram", help="NAME=FILE, for the strategy regmean.")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="Of the result: same, f32, bf16 or f16.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Of strategies that draw lots. Default: 0.")]
ShardSize = Annotated[str | None, typer.Option("--shard-size", help="Most that one file takes. Default: 5GB.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what it needs, and stop.")]


def merge(
    paths: Paths = None,
    *,
    into: Into,
    strategy: Strategy = None,
    recipe_file: RecipeFile = None,
    no_base: NoBase = False,
    weight: Weights = None,
    option: Options = None,
    fisher: Fishers = None,
    gram: Grams = None,
    dtype: Dtype = None,
    seed: Seed = None,
    shard_size: ShardSize = None,
    dry_run: DryRun = False,
    as_json: JsonOption = False,
) -> None:
    """Merge local checkpoints into one; the folder gets a recipe that makes it again.

    Example: barnraise merge --strategy ties base/ a/ b/ --into out/
    """
    from barnraise.checkpoints.install import check_space
    from barnraise.cli.merge_arguments import MergeArguments, recipe_of

    arguments = MergeArguments(
        paths=paths or (),
        recipe=recipe_file,
        strategy=strategy,
        no_base=no_base,
        weights=weight or (),
        options=option or (),
        fishers=fisher or (),
        grams=gram or (),
        dtype=dtype,
        seed=seed,
        shard_size=shard_size,
    )
    recipe, folder = recipe_of(arguments)
    planned, warnings = _planned(recipe, folder, into)
    print_warnings(warnings, as_json=as_json)
    check_space(into, planned.disk_bytes)
    if not as_json:
        print(printable("\n".join(planned.lines())), flush=True)
    result = {**planned.as_json(), "folder": str(into), "warnings": warnings}
    if dry_run:
        print_result("merge", {**result, "changed": False}, as_json=as_json, human="nothing was written")
        return
    _carry_out(planned, into, result, as_json)


def _planned(recipe: Recipe, folder: Path, into: Path) -> tuple[PlannedMerge, list[str]]:
    """What a recipe, whose paths begin in ``folder``, comes to, and what is odd about its inputs."""
    from barnraise.checkpoints.inputs import open_inputs
    from barnraise.checkpoints.install import check_target
    from barnraise.checkpoints.notes import notes
    from barnraise.installation import require

    inputs = [folder / one.path for one in [*([recipe.base] if recipe.base else []), *recipe.models]]
    check_target(into, inputs)
    opened = open_inputs(recipe, folder)
    require("merge")
    with _lasting():
        from barnraise.cli.merge_run import plan

        planned = plan(opened, folder, into)  # which imports the strategies, and torch if they need it
    return planned, notes(opened)


def _carry_out(planned: PlannedMerge, into: Path, result: dict[str, Any], as_json: bool) -> None:
    """Merge, and tell what came of it beside what was known before."""
    from barnraise.cli.merge_run import carry_out

    done = carry_out(planned, into, as_json=as_json)
    result = {**result, "changed": True, "digest": done.digest, "recipe": str(into / "merge.toml")}
    human = f"{into} is {done.digest}"
    if planned.opened.recipe.result is not None:
        human += "\nthe same as the recipe says, bit for bit"
    human += f"\nmake it again: barnraise merge --recipe {into / 'merge.toml'} --into DIR"
    print_result("merge", result, as_json=as_json, human=human)


@contextmanager
def _lasting() -> Iterator[None]:
    """Spare the garbage collector what is imported here: looking through torch costs a quarter of importing it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
