"""A merge of local files: what it needs, then doing it. Ties files and mathematics together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from barnraise import __version__
from barnraise.checkpoints.digests import DigestedCheckpoint
from barnraise.checkpoints.dtypes import ITEM_BYTES, OUTPUT_NAMES
from barnraise.checkpoints.folder import CONFIG, travelling
from barnraise.checkpoints.inputs import OpenedInputs
from barnraise.checkpoints.install import free_bytes, staged
from barnraise.checkpoints.recipe import RECIPE, Recipe, RecipeInput, relative_path, render_recipe
from barnraise.checkpoints.side_files import Kind, open_fishers, open_grams, side_digests
from barnraise.checkpoints.write import CheckpointWriter, Shard, plan_shards
from barnraise.cli.merge_progress import reporting
from barnraise.errors import ChangedCheckpointError
from barnraise.native import threads
from barnraise.updates.space import TensorSpec
from merge.offline import (
    Inputs,
    OfflineMerge,
    Progress,
    buffer_bytes,
    bytes_to_read,
    choose,
    lay_out,
    merge_offline,
    needs_fisher,
    needs_grams,
    needs_tensors,
)

__all__ = ["Done", "PlannedMerge", "carry_out", "plan"]

LIBRARIES_BYTES = 40_000_000  # Python and numpy: measured, and the same for every merge
TORCH_BYTES = 140_000_000  # where a strategy needs it
COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class PlannedMerge:
    """A merge of which everything is decided, and what it needs.

    Attributes:
        disk_bytes: that the result takes. free_bytes: that its disk has.
        memory_bytes: about what it takes beside the mapped files.
        read_bytes: of the inputs, those counted twice that are read twice.
        files: that travel along.
    """

    opened: OpenedInputs
    folder: Path
    job: OfflineMerge
    inputs: Inputs
    sides: dict[Kind, list[DigestedCheckpoint]]
    shards: list[Shard]
    files: list[Path]
    disk_bytes: int
    free_bytes: int
    memory_bytes: int
    read_bytes: int
    workers: int

    @property
    def parameters(self) -> int:
        return sum(tensor.size for tensor in self.job.tensors)

    def lines(self) -> list[str]:
        """The preflight in words."""
        recipe = self.opened.recipe
        files = ", ".join(path.name for path in self.files) or "no other files"
        tensors = f"{len(self.job.tensors)} tensors with {self.parameters:,} parameters"
        carried = f", {len(self.opened.carried)} of other types carried over" if self.opened.carried else ""
        count = len(self.opened.models)
        return [
            f"{recipe.strategy} of {count} model{'' if count == 1 else 's'}"
            f"{' against a base' if self.opened.base else ' without a base'}: {tensors}{carried}",
            f"reads   {self.read_bytes / 1e9:.2f} GB",
            f"disk    {self.disk_bytes / 1e9:.2f} GB in {len(self.shards)} file{'' if len(self.shards) == 1 else 's'}, "
            f"{self.free_bytes / 1e9:.2f} GB are free",
            f"memory  about {self.memory_bytes / 1e6:,.0f} MB beside the mapped files, {self.workers} threads",
            f"along   {files}",
        ]

    def as_json(self) -> dict[str, object]:
        """The preflight for programs."""
        return {
            "strategy": self.opened.recipe.strategy,
            "models": [model.name for model in self.opened.recipe.models],
            "tensors": len(self.job.tensors),
            "carried": len(self.opened.carried),
            "parameters": self.parameters,
            "read_bytes": self.read_bytes,
            "disk_bytes": self.disk_bytes,
            "free_bytes": self.free_bytes,
            "memory_bytes": self.memory_bytes,
            "shards": len(self.shards),
            "files": [path.name for path in self.files],
        }


@dataclass(frozen=True)
class Done:
    """What a merge made: the digest of the model, the recipe that makes it again."""

    digest: str
    recipe: Recipe


def plan(opened: OpenedInputs, folder: Path, into: Path) -> PlannedMerge:
    """Decide everything about a merge; nothing is written.

    Args:
        folder: what the recipe's paths are relative to.

    Raises:
        BarnraiseError: it cannot be done; the message says why.
    """
    recipe = opened.recipe
    specs = [*opened.merged, *opened.carried]
    treatments, which = choose(recipe, [spec.name for spec in specs])
    opened.check_carried()
    job = OfflineMerge(lay_out((spec, which[spec.name]) for spec in opened.merged), treatments)
    inputs, sides = _inputs(opened, folder, job)
    shards = plan_shards(specs, recipe.shard_bytes)
    files = travelling(opened.reference.checkpoint.folder) if opened.reference.checkpoint.folder else []
    index_bytes = sum(len(spec.name) + 60 for spec in specs) if len(shards) > 1 else 0
    workers = threads()
    return PlannedMerge(
        opened=opened,
        folder=folder,
        job=job,
        inputs=inputs,
        sides=sides,
        shards=shards,
        files=files,
        disk_bytes=sum(shard.size_bytes for shard in shards)
        + sum(path.stat().st_size for path in files)
        + index_bytes
        + COPY_BYTES,
        free_bytes=free_bytes(into),
        memory_bytes=LIBRARIES_BYTES
        + (TORCH_BYTES if any(map(needs_tensors, treatments)) else 0)
        + buffer_bytes(job, inputs, workers),
        read_bytes=bytes_to_read(job, inputs),
        workers=workers,
    )


def carry_out(planned: PlannedMerge, into: Path, *, as_json: bool) -> Done:
    """Merge, and put the result into ``into``.

    Raises:
        BarnraiseError: something is wrong with an input or the result; nothing was written.
    """
    opened = planned.opened
    specs = [*opened.merged, *opened.carried]
    with staged(into) as staging:
        with (
            CheckpointWriter(staging, specs, planned.shards) as writer,
            reporting(planned.read_bytes, as_json=as_json) as report,
        ):
            merge_offline(planned.job, planned.inputs, writer, planned.workers, Progress(report))
            for spec in opened.carried:
                _carry(opened.source(spec.name), spec, writer)
            digest = writer.finish()
        recipe = _record(planned, digest, into)
        for path in planned.files:
            (staging / path.name).write_bytes(_travelled(path, opened.recipe))
        (staging / RECIPE).write_text(render_recipe(recipe), encoding="utf-8")
    return Done(digest, recipe)


def _inputs(
    opened: OpenedInputs, folder: Path, job: OfflineMerge
) -> tuple[Inputs, dict[Kind, list[DigestedCheckpoint]]]:
    recipe = opened.recipe
    sides: dict[Kind, list[DigestedCheckpoint]] = {}
    with_gram: frozenset[str] = frozenset()
    asking = {n for n, one in enumerate(job.treatments) if needs_fisher([one])}
    if asking:
        sides["fisher"] = open_fishers(recipe, folder, _specs(job, asking))
    asking = {n for n, one in enumerate(job.treatments) if needs_grams([one])}
    if asking:
        sides["gram"], with_gram = open_grams(recipe, folder, _specs(job, asking))
    names = tuple(model.name for model in recipe.models)
    return Inputs(opened.models, opened.base, names, sides.get("fisher"), sides.get("gram"), with_gram), sides


def _specs(job: OfflineMerge, treatments: set[int]) -> list[TensorSpec]:
    return [TensorSpec(one.name, one.shape, one.dtype) for one in job.tensors if one.treatment in treatments]


def _carry(source: DigestedCheckpoint, spec: TensorSpec, writer: CheckpointWriter) -> None:
    step = COPY_BYTES // ITEM_BYTES[spec.dtype]
    for start in range(0, spec.size, step):
        end = min(spec.size, start + step)
        writer.put(spec.name, start, source.block(spec.name, start, end))
        source.release(spec.name, start, end)


def _record(planned: PlannedMerge, digest: str, into: Path) -> Recipe:
    """The recipe with everything that was found out.

    Raises:
        ChangedCheckpointError: an input or the result is not what the recipe said.
    """
    recipe = planned.opened.recipe
    digests = planned.opened.digests()
    sides = {kind: side_digests(recipe, kind, opened) for kind, opened in planned.sides.items()}
    if recipe.result is not None and digest != recipe.result:
        raise ChangedCheckpointError(
            f"the result is {digest[:15]}.., the recipe says {recipe.result[:15]}.., made with "
            f"{', '.join(f'{name} {version}' for name, version in recipe.made_with.items())}; nothing was written. "
            "Use these versions, or remove the line result from the recipe"
        )

    def placed(one: RecipeInput, found: str) -> dict[str, str]:
        return {"path": relative_path((planned.folder / one.path).absolute(), into.absolute()), "digest": found}

    models = []
    for model in recipe.models:
        update: dict[str, object] = dict(placed(model, digests[model.name]))
        for kind, found in sides.items():
            update[kind] = RecipeInput(**placed(getattr(model, kind), found[model.name]))
        models.append(model.model_copy(update=update))
    base = recipe.base and recipe.base.model_copy(update=placed(recipe.base, digests["base"]))
    made_with = {"barnraise": __version__, "torch": version("torch")}
    return recipe.model_copy(update={"base": base, "models": tuple(models), "result": digest, "made_with": made_with})


def _travelled(path: Path, recipe: Recipe) -> bytes:
    """A file as it goes along: as it is, but the configuration names the type of the weights."""
    data = path.read_bytes()
    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    wanted = OUTPUT_NAMES[recipe.dtype]
    if path.name != CONFIG or wanted is None:
        return data
    config = json.loads(data)
    for key in ("torch_dtype", "dtype"):
        if isinstance(config.get(key), str):
            config[key] = names[wanted]
    return json.dumps(config, indent=2, ensure_ascii=False).encode("utf-8") + b"\n"
