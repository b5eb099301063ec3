"""``barnraise mask``: choose the few elements that a run trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from barnraise.cli.output import print_result
from barnraise.cli.sources import JsonOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from barnraise.config import RunConfig
    from barnraise.updates import ParameterSpace

__all__ = ["mask"]

By = Literal["fisher", "magnitude", "random"]


def mask(
    config: Annotated[Path, typer.Argument(help="The run's TOML file.")],
    density: Annotated[float, typer.Option("--density", min=1e-6, max=0.5, help="Share of elements in it.")] = 0.005,
    by: Annotated[By, typer.Option("--by", help="What says which: fisher, magnitude or random.")] = "fisher",
    model: Annotated[
        Path | None, typer.Option("--model", help="Pulled model that it is for; the run's first by default.")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", min=1, help="Of each shard, for the Fisher.")] = 64,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of examples, and of a random mask.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", help="File to write; beside CONFIG by default.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose a fixed sparse mask for a run, and print the lines of its configuration that name it.

    Example: barnraise mask run.toml --density 0.005 --by fisher
    """
    from barnraise.installation import require

    require("contributor")
    from barnraise.config import load_run_config
    from barnraise.digest import digest_bytes
    from barnraise.releases.durable import replace_file
    from barnraise.updates import model_digest
    from barnraise.updates.mask import write_mask
    from merge.compress.mask import choose_entries

    run = load_run_config(config)
    space, base_P = _model(run, model)
    positions = choose_entries(_scores(run, space, base_P, by, (examples, seed)), space, density)
    data = write_mask(space, model_digest(space, space.tensor_digests(base_P)), positions)
    path = out or config.parent / "mask.safetensors"
    replace_file(path, data)
    found = {"file": str(path), "digest": digest_bytes(data), "size_bytes": len(data), "entries": len(positions)}
    lines = f'[update.mask]\nfile = "{path.name}"\ndigest = "{found["digest"]}"\nsize_bytes = {len(data)}'
    share = f"{len(positions):,} of {space.size:,} elements ({len(positions) / space.size:.3%}), {len(data):,} bytes"
    human = f"{path}: {share}\nPut this into the run's configuration:\n\n{lines}"
    print_result("mask", found, as_json=as_json, human=human)


def _model(run: RunConfig, folder: Path | None) -> tuple[ParameterSpace, NDArray[np.float32]]:
    """Layout and parameters of what the mask is for."""
    from barnraise.errors import ConfigValueError
    from barnraise.releases.load import load
    from merge.architectures import build, flat_of, space_of

    module = build(run.model)
    space = space_of(module)
    if folder is None:
        return space, flat_of(module, space)
    _, found, base_P = load(folder)
    if found.digest != space.digest:
        raise ConfigValueError(
            f"{folder} holds a model with other tensors than [model] describes; pull one of this run"
        )
    return space, base_P


def _scores(
    run: RunConfig, space: ParameterSpace, base_P: NDArray[np.float32], by: By, drawn: tuple[int, int]
) -> NDArray[np.float32]:
    from contributor.tasks import make_task
    from contributor.training.scores import fisher_scores, magnitude_scores, random_scores

    examples, seed = drawn
    match by:
        case "fisher":
            tasks = [make_task(run.model, run.data, shard) for shard in run.data.shards]
            return fisher_scores(tasks, space, base_P, examples, seed)
        case "magnitude":
            return magnitude_scores(base_P)
        case "random":
            return random_scores(space.size, seed)
