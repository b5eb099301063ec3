"""How fast do models go into a run and out of it again? One of the questions of storage.py."""

from __future__ import annotations

import os
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peer import Peer
from storage_family import Family, compare, save
from turns import Job, Timings, ratio, seconds, walls

from barnraise.checkpoints.checkpoint import Checkpoint
from barnraise.releases.cache import Cache
from barnraise.releases.convert import Stored
from barnraise.releases.pull import PullOptions, pull
from barnraise.releases.source import FolderSource
from barnraise.updates import ParameterSpace, TensorSpec

__all__ = ["speed"]

KINDS: dict[Stored, str] = {"BF16": "bfloat16 fine-tune", "F32": "float32 fine-tune", "F16": "float16 fine-tune"}
NOT_THERE = "not measured: no --peers"


def layered(elements: int) -> ParameterSpace:
    """A decoder's tensors: an embedding, and layers of matrices with small vectors between them."""
    width = 768
    specs = [TensorSpec("embed.weight", (32000, width))]
    filled, layer = specs[0].size, 0
    while filled < elements:
        matrices = {
            "attn.q": width,
            "attn.k": width,
            "attn.v": width,
            "attn.o": width,
            "mlp.up": 2048,
            "mlp.gate": 2048,
        }
        made = [TensorSpec(f"layers.{layer}.{name}.weight", (rows, width)) for name, rows in matrices.items()]
        made += [TensorSpec(f"layers.{layer}.mlp.down.weight", (width, 2048))]
        made += [TensorSpec(f"layers.{layer}.norm{number}.weight", (width,)) for number in (1, 2)]
        specs += made
        filled, layer = filled + sum(spec.size for spec in made), layer + 1
    return ParameterSpace.of(specs)


def weights(space: ParameterSpace) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A made-up trunk, and a fine-tune of its bfloat16 rounding: changes as a few hundred AdamW steps leave them."""
    draws = np.random.default_rng(0)
    base_P = draws.standard_normal(space.size, dtype=np.float32) * np.float32(0.02)
    start_P = torch.from_numpy(base_P).bfloat16().float().numpy()
    change_P = draws.standard_normal(space.size, dtype=np.float32) * np.float32(4e-5)
    return base_P, start_P + change_P


def copied(source: Path, target: Path) -> None:
    """What storing a model costs at least: a copy of its file on the disk."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def timed(job: Job) -> tuple[float, float]:
    """Seconds on the wall and of processors, with nothing left to write from before."""
    os.sync()
    return seconds(job)


def speed(folder: Path, elements: int, repeats: int, python: str | None = None) -> list[str]:
    """Imports and pulls beside plain copies, in turns, and git-theta of the environment of ``python``."""
    space = layered(elements)
    base_P, tuned_P = weights(space)
    lines = [
        "## How fast models go in and out",
        "",
        f"A made-up decoder of {space.size:,} parameters in {len(space.tensors)} tensors. In: `import_model`, which",
        "hashes every tensor, decodes again what it stored, compares, and fsyncs. Out: `pull` from the run's folder on",
        "the same disk, with the parent in the cache: it decodes the tensors' blobs where they lie, compares every",
        f"tensor with its digest, writes and fsyncs. Medians of {repeats} turns; in brackets the fastest.",
        "",
        "| model | MB | stored MB | in MB/s | out MB/s | copy MB/s | in / copy | out / copy | MB a processor second, in"
        " and out |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    kin = Family.at(folder / "trunk", space, base_P)
    pull(FolderSource(kin.folder.root), "trunk", folder / "parent", PullOptions(cache=Cache(folder / "cache", 1 << 40)))
    shutil.rmtree(folder / "parent")
    beside: list[str] = []
    kinds: tuple[Stored, ...] = ("BF16", "F32")
    peer = Peer(python, "git_theta_checkpoints.py") if python else None
    for dtype in kinds:
        path = save(folder / f"child-{dtype}", space, tuned_P, dtype)
        file = next(path.glob("*.safetensors"))
        timings, line = one_speed(kin, file, folder, repeats, dtype)
        lines.append(line)
        parent = next(save(folder / f"parent-{dtype}", space, base_P, dtype).glob("*.safetensors")) if peer else file
        found = peer.ask(folder=str(folder / "theta"), parent=str(parent), child=str(file)) if peer else {}
        beside.append(beside_peer(dtype, Checkpoint.open(file).size_bytes / 1e6, timings, found))
        shutil.rmtree(path)
        shutil.rmtree(folder / f"parent-{dtype}", ignore_errors=True)
    lines += [
        "",
        f"Beside {peer.version if peer else 'git-theta'}, right after those turns and once, for it is slow: `git theta",
        "add` and `git commit` of the child after its parent, and `git checkout` of the child in a fresh clone on the",
        "same disk. MB of the model a second; in brackets MB a processor second, of all its processes. Times ours:",
        "our median (of processors, our fewest) against it.",
        "",
        "| model | in MB/s | out MB/s | stored MB | ours in, times as fast | ours out, times as fast |",
        "|---|---:|---:|---:|---:|---:|",
        *beside,
    ]
    if peer:
        peer.close()
    return [*lines, ""]


def beside_peer(dtype: Stored, megabytes: float, timings: Timings, found: dict[str, Any]) -> str:
    """A row: git-theta on the same child."""
    if "child in" not in found:
        why = f"not possible: {found['failed']}" if found else NOT_THERE
        return f"| {KINDS[dtype]} | {why} | | | | |"
    stored = f"{found['stored'] / 1e6:,.0f} with its parent{'' if found['same'] else '; NOT bit for bit'}"
    cells, ratios = [KINDS[dtype]], []
    for way in ("in", "out"):
        wall, busy = found[f"child {way}"]
        cells.append(f"{megabytes / wall:,.1f} ({megabytes / busy:,.1f})")
        ours_wall, ours_busy = statistics.median(walls(timings[way])), min(busy for _, busy in timings[way])
        ratios.append(f"{wall / ours_wall:,.1f} ({busy / ours_busy:,.1f})")
    return f"| {' | '.join([*cells, stored, *ratios])} |"


def one_speed(kin: Family, file: Path, folder: Path, repeats: int, dtype: Stored) -> tuple[Timings, str]:
    """A row, and what it is made of: a model imported, pulled and copied, in turns."""
    timings: Timings = {"copy": [], "in": [], "out": []}
    empty, stored = kin.index, 0
    before = {blob.digest for blob in kin.store.stored()}
    for turn in range(repeats):
        timings["copy"].append(timed(lambda: copied(file, folder / "copy")))
        timings["in"].append(timed(lambda: kin.imports(file, "child")))
        own = {blob.digest: blob.size_bytes for blob in kin.store.stored() if blob.digest not in before}
        stored = sum(own.values())
        timings["out"].append(timed(lambda: kin.pulls("child", folder / "pulled", folder / "cache")))
        if turn == 0:
            compare(file.parent, folder / "pulled")
        shutil.rmtree(folder / "pulled")
        kin.index = empty
        cache = Cache(folder / "cache", 1 << 40)
        for digest in own:  # the next turn begins where this one did
            kin.store.delete(digest)
            cache.store.delete(digest)
    megabytes = Checkpoint.open(file).size_bytes / 1e6
    cells = [KINDS[dtype], f"{megabytes:,.0f}", f"{stored / 1e6:,.1f}"]
    for found in (timings["in"], timings["out"], timings["copy"]):
        cells.append(f"{megabytes / statistics.median(walls(found)):,.0f} ({megabytes / min(walls(found)):,.0f})")
    cells += [f"{1 / ratio(timings, way, 'copy'):.2f}" for way in ("in", "out")]
    cells.append(" and ".join(f"{megabytes / min(busy for _, busy in timings[way]):,.0f}" for way in ("in", "out")))
    return timings, f"| {' | '.join(cells)} |"
