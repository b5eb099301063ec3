"""Is the second level bit of top-k worth it? Residual energy of real updates, error feedback included.

    python -m benchmarks.convergence.levels

An entry of a top-k update costs its place (7.4 bits at 64 of 4,096 if places are random), a sign
and one bit that chooses between two magnitudes. Without that bit the same bytes hold more
entries. Compared on the targets of real contributors (trained change plus residual) is the share
of a target's energy that an update leaves out: with two levels, with the one best level for each chunk, and
with exact values; and with one level at as many entries as the
bytes of two levels buy.

C  chunks
P  elements in the whole parameter space
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.update_config import CodecConfig
from barnraise.updates.codec import kept_per_chunk
from barnraise.updates.space import ParameterSpace
from benchmarks.convergence.arms import STANDARD, arm_named
from benchmarks.convergence.simulate import Crowd
from benchmarks.convergence.trunk import Trunk
from benchmarks.convergence.world import World

__all__ = ["entries_at_equal_bytes", "largest", "left_out", "main", "one_level", "two_levels"]

KS = (16, 64, 256)
ROUNDS = (0, 4, 9)
LLOYD_STEPS = 12
Vector = NDArray[np.float32]
Way = Callable[[Vector], Vector]


def entries_at_equal_bytes(k: int, chunk: int = 4096) -> int:
    """Entries with a sign alone that cost no more than ``k`` with a sign and a level bit, places random."""

    def bits(entries: int, each: int) -> float:
        places = math.lgamma(chunk + 1) - math.lgamma(entries + 1) - math.lgamma(chunk - entries + 1)
        return places / math.log(2) + entries * each

    return next(entries for entries in range(k, 2 * k + 2) if bits(entries + 1, 1) > bits(k, 2))


def largest(target_P: Vector, space: ParameterSpace, k: int) -> tuple[Vector, Vector]:
    """The ``k`` largest of every chunk, and at their places the chunk's mean magnitude of them; both float32 [P]."""
    exact_P, means_P = np.zeros_like(target_P), np.zeros_like(target_P)
    for chunk, kept in enumerate(kept_per_chunk(space.chunk_starts, k).tolist()):
        start, end = space.chunk_starts[chunk : chunk + 2]
        places = start + np.argsort(-np.abs(target_P[start:end]), kind="stable")[:kept]
        exact_P[places] = target_P[places]
        means_P[places] = np.abs(target_P[places]).mean()
    return exact_P, means_P


def one_level(target_P: Vector, space: ParameterSpace, k: int) -> Vector:
    """Signs times the level of each chunk that leaves out least."""
    exact_P, means_P = largest(target_P, space, k)
    return np.sign(exact_P) * means_P


def two_levels(target_P: Vector, space: ParameterSpace, k: int) -> Vector:
    """Signs times one of two levels, in the same ratio to each chunk's mean, by Lloyd's method."""
    exact_P, means_P = largest(target_P, space, k)
    relative_P = np.abs(exact_P) / np.where(means_P > 0, means_P, np.float32(1))
    border = 1.0
    for _ in range(LLOYD_STEPS):
        high_P = relative_P > border
        low_P = (relative_P > 0) & ~high_P
        levels = relative_P[low_P].mean(), relative_P[high_P].mean()
        border = float(sum(levels)) / 2
    chosen_P = np.where(high_P, levels[1], np.where(low_P, levels[0], 0)).astype(np.float32)
    return np.sign(exact_P) * means_P * chosen_P


def left_out(target_P: Vector, decoded_P: Vector) -> float:
    """Share of the energy of the target that is not in what was decoded."""
    rest, whole = (np.square(vector.astype(np.float64)).sum() for vector in (target_P - decoded_P, target_P))
    return float(rest / whole)


def _targets(world: World, k: int) -> dict[int, list[Vector]]:
    """Round -> targets of all contributors, in a run whose contributors send top-k updates of ``k``."""
    seen: dict[int, list[Vector]] = {}
    codec = CodecConfig(name="topk", k=k)
    crowd = Crowd(arm_named("topk64"), world, 0, STANDARD.steps)
    trunk = Trunk(world.space, world.initial(0), (1.0, 0.0))
    for number in range(max(ROUNDS) + 1):
        files = []
        for who in range(STANDARD.present):
            files.append(crowd.update(who, number, trunk.model_P, codec))
            if number in ROUNDS:
                seen.setdefault(number, []).append(crowd.last_target_P)
        trunk.release(files, CodecConfig(name="dense"))
    return seen


def _ways(space: ParameterSpace, k: int) -> list[Way]:
    """In the order of the table's columns."""
    return [
        partial(two_levels, space=space, k=k),
        partial(one_level, space=space, k=k),
        lambda target_P: largest(target_P, space, k)[0],
        partial(one_level, space=space, k=entries_at_equal_bytes(k)),
    ]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    world = World(STANDARD)
    print("| k | round | two levels | one level | exact values | one level at equal bytes | its k |")
    print("|---|---|---|---|---|---|---|")
    for k in KS:
        for number, targets in _targets(world, k).items():
            shares = [statistics.fmean(left_out(t, way(t)) for t in targets) for way in _ways(world.space, k)]
            cells = " | ".join(f"{100 * share:.3f}%" for share in shares)
            print(f"| {k} | {number} | {cells} | {entries_at_equal_bytes(k)} |")


if __name__ == "__main__":
    main()
