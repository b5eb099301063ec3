"""What does a longer unit cost a run, at equal training tokens, and what does it spare in bytes?

    python -m benchmarks.unit_length --arms 12x256,144x256 --records FILE     train these, some minutes each
    python -m benchmarks.unit_length --report --records FILE                  the page, with --write a dated one

Four contributors train on the shards of configs/runs/stdlib-lm.toml: the model of that run (``--size stdlib``, 0.4 s of
a processor a step), or the small one of benchmarks/convergence (0.03 s). Everything that they do is the project's own
code. An arm is the steps of a unit and the codecs of updates and of patches; all arms see the
same number of steps, so one with longer units has fewer rounds. Every point is one line of the records: a killed
experiment loses the round that it was in.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch

from barnraise.config import load_run_config
from barnraise.data_config import StdlibData
from barnraise.model_config import ByteLMConfig
from barnraise.update_config import CodecConfig
from benchmarks.convergence.arms import STANDARD, Arm, Scale, blockwise, topk
from benchmarks.convergence.simulate import Crowd, Traffic
from benchmarks.convergence.trunk import Trunk
from benchmarks.convergence.world import World
from benchmarks.report import finish, heading

SHIPPED = Path(__file__).parents[1] / "configs" / "runs" / "stdlib-lm.toml"
PRESENT = 4
WINDOWS = 256
LOOK_EVERY = 144
DECAY, DECAY_IN_TURN = 0.9, 0.5  # of residuals, where an arm does not say another
Record = dict[str, Any]


@dataclass(frozen=True)
class Length:
    """An arm, written ``STEPSxCODEC[/CODEC][@RATE][~DECAY]``; the second codec is that of the patches, if another.

    ``144x256`` is top-k 256 of 4,096 both ways, ``144xb2/512`` blockwise in 2 bits up and top-k 512 down, and
    ``144xt8b1/t8b4@8~0`` an eighth of the elements in turn, in 1 bit up and 4 bits down, at an outer rate of 8 and
    without error feedback.
    """

    name: str

    @property
    def steps(self) -> int:
        return int(self.name.partition("x")[0])

    @property
    def rate(self) -> float:
        """The outer learning rate."""
        return float(self.name.partition("~")[0].partition("@")[2] or 1.0)

    @property
    def decay(self) -> float:
        """The share of what an update left out that goes into the next one."""
        return float(self.name.partition("~")[2] or (DECAY if self.turns[0] is None else DECAY_IN_TURN))

    @property
    def codecs(self) -> tuple[CodecConfig, CodecConfig]:
        """Of updates, and of patches."""
        said = self._said
        return _codec(said[0])[1], _codec(said[-1])[1]

    @property
    def turns(self) -> tuple[int | None, int | None]:
        """Of updates, and of patches."""
        said = self._said
        return _codec(said[0])[0], _codec(said[-1])[0]

    @property
    def _said(self) -> list[str]:
        return re.split("[@~]", self.name.partition("x")[2])[0].split("/")


def _codec(said: str) -> tuple[int | None, CodecConfig]:
    """The turns that elements take, if they do, and the codec."""
    if said.startswith("t"):
        turns, _, bits = said[1:].partition("b")
        return int(turns), blockwise(cast(Literal[8, 4, 2, 1], int(bits)))
    return None, blockwise(cast(Literal[8, 4, 2, 1], int(said[1:]))) if said.startswith("b") else topk(int(said))


def _in_words(codec: CodecConfig, turns: int | None) -> str:
    told = f"top-k {codec.k}" if codec.name == "topk" else f"blockwise {codec.bits} bit{'s' if codec.bits != 1 else ''}"
    return told if turns is None else f"1 of {turns} in turn, {told}"


def world_of_run(size: str) -> World:
    """The shipped run's text, and its model or the small one."""
    run = load_run_config(SHIPPED)
    assert isinstance(run.model, ByteLMConfig)
    assert isinstance(run.data, StdlibData)
    rate, batch = run.training.learning_rate, run.training.batch
    model = run.model if size == "stdlib" else STANDARD.model
    scale = Scale(size, model, 1, 1, batch, rate, 1, PRESENT, final=WINDOWS)
    return World(scale, run.data.shards)


def rounds(length: Length, world: World, seed: int) -> Iterator[Record]:
    """Train for ever; a record whenever a multiple of ``LOOK_EVERY`` steps of a contributor is done."""
    (up, down), (turns_up, turns_down) = length.codecs, length.turns
    arm = Arm(length.name, length.name, up=up, down=down, turns_up=turns_up, turns_down=turns_down, decay=length.decay)
    trunk = Trunk(world.space, world.initial(seed), (length.rate, 0.0), turns=turns_down)
    crowd, traffic = Crowd(arm, world, seed, length.steps), Traffic(keyframe=4 * world.space.size)
    number = 0
    while True:
        files = []
        for who in range(PRESENT):
            files.append(crowd.update(who, number, trunk.model_P, up))
            traffic.up += len(files[-1])
        traffic.patches.append(trunk.release(files, down))
        traffic.catch_up(range(PRESENT))
        number += 1
        if number * length.steps % LOOK_EVERY == 0:
            yield {
                "arm": length.name,
                "seed": seed,
                "done": number * length.steps,
                "rounds": number,
                "up_bytes": traffic.up,
                "down_bytes": traffic.down,
                "bits": world.bits(trunk.model_P, WINDOWS),
            }


def work_off(names: Sequence[str], most: int, seed: int, world: World, path: Path) -> None:
    """All arms in turns, a look at a time, so that what is there when it is stopped is comparable."""
    training = [rounds(Length(name), world, seed) for name in names]
    for _ in range(most // LOOK_EVERY):
        for arm in training:
            record = {"size": world.scale.name, **next(arm)}
            with path.open("a") as file:
                file.write(json.dumps(record) + "\n")
            print(record, flush=True)


def table(records: Sequence[Record]) -> list[str]:
    """A row an arm, a column for each look."""
    looks = sorted({r["done"] for r in records})
    header = [f"bits per byte after {done} steps" for done in looks]
    told = "steps a unit | codec up | codec down | outer rate | residual decay | kB a step up | down"
    lines = [f"| {told} | {' | '.join(header)} |", "|---" * (7 + len(looks)) + "|"]
    for name in dict.fromkeys(r["arm"] for r in records):
        length, mine = Length(name), [r for r in records if r["arm"] == name]
        last = max(mine, key=lambda r: r["done"])
        cells = [
            str(length.steps),
            *map(_in_words, length.codecs, length.turns),
            f"{length.rate:g}",
            f"{length.decay:g}",
        ]
        cells += [f"{last[way] / PRESENT / last['done'] / 1000:.2f}" for way in ("up_bytes", "down_bytes")]
        for done in looks:
            found = [r["bits"] for r in mine if r["done"] == done]
            cells.append(f"{sum(found) / len(found):.3f}" if found else "")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--arms", default="12x256,48x256,144x256", help="STEPSxCODEC[/CODEC][@RATE][~DECAY], separated by commas"
    )
    parser.add_argument("--size", choices=["small", "stdlib"], default="small")
    parser.add_argument("--steps", type=int, default=576, help="of each contributor, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--report", action="store_true", help="the page of the records, instead of training")
    parser.add_argument("--write", action="store_true", help="leave that page in benchmarks/results/")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # one gives the same bits everywhere
    if not chosen.report:
        return work_off(chosen.arms.split(","), chosen.steps, chosen.seed, world_of_run(chosen.size), chosen.records)
    records = [json.loads(line) for line in chosen.records.read_text().splitlines()]
    lines = heading("How long should a unit be?", "torch", "numpy")
    for size in dict.fromkeys(r["size"] for r in records):
        lines += [
            f"Model: {size}. {PRESENT} contributors on the shards of configs/runs/stdlib-lm.toml; momentum 0;",
            f"steps are those of one contributor. Bits per byte are those of {WINDOWS} held-out windows, bytes those",
            "of one contributor and of the patches that it fetches.",
            "",
            *table([r for r in records if r["size"] == size]),
            "",
        ]
    finish("unit_length", lines, write=chosen.write)
    return None


if __name__ == "__main__":
    main()
