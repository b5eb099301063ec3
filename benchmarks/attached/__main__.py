"""How well does a cheap downstream test predict a fine-tune, and at what share of its cost?

    python -m benchmarks.attached --quick        a small version: one task, a tiny model
    python -m benchmarks.attached --write        the study; continues from its records where it stopped

Everything that was measured is a line of the records (``--records``), so a study that is stopped
loses one line at most. ``--minutes`` stops it and reports what there is.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import torch

from benchmarks.attached import digits
from benchmarks.attached.page import page
from benchmarks.attached.releases import QUICK, STANDARD, Made, Sizes, make_releases
from benchmarks.attached.study import Record, again, attachments_of, look_at
from benchmarks.attached.tasks import find_tasks
from benchmarks.convergence.world import World
from benchmarks.report import arguments, finish, heading
from coordinator.acceptance.models.subject import ByteSubject

Job = tuple[tuple[str, str, str], Callable[[], Record]]


def main() -> None:
    parser = arguments(__doc__, quick="a tiny model, few releases")
    parser.add_argument("--records", type=Path, default=Path(tempfile.gettempdir()) / "barnraise-attached.jsonl")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so many, and report what there is")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # small models: more threads gain nothing, and one gives the same bits everywhere
    also = ["scikit-learn"] if importlib.util.find_spec("sklearn") else []
    head = heading("Cheap downstream tests beside whole fine-tunes", "numpy", "torch", *also)
    sizes, path = (QUICK, None) if chosen.quick else (STANDARD, chosen.records)
    records = [json.loads(line) for line in path.read_text().splitlines()] if path and path.exists() else []
    done = {_key(record) for record in records}
    until = time.monotonic() + 60 * chosen.minutes
    for key, job in _jobs(sizes):
        if time.monotonic() > until:
            break
        if key not in done:
            records.append(job())
            if path is not None:
                with path.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    finish("attached", head + page(records, sizes), write=chosen.write)


def _key(record: Record) -> tuple[str, str, str]:
    return record["what"], record["release"], record["task"]


def _jobs(sizes: Sizes) -> Iterator[Job]:
    """Digits, then text task by task, then fine-tunes with another seed."""
    yield from digits.jobs()
    world = World(sizes.scale)
    releases = make_releases(sizes, world)
    subjects = {name: ByteSubject(made.model_P, sizes.model, world.space) for name, made in releases.items()}
    looked = [made for name, made in releases.items() if name != "early"]
    tasks = find_tasks(sizes.model.context, sizes.cheap, sizes.truth)[: sizes.tasks]
    bases = {"early": subjects["early"], "last": subjects[f"round {sizes.last}"]}
    for made in looked:
        yield ("own", made.name, ""), lambda made=made: _own(world, made)
    for task in tasks:
        attached = cache(
            lambda task=task: attachments_of(sizes, bases, task)
        )  # made when the first release is looked at
        for made in looked:
            yield (
                ("text", made.name, task.name),
                lambda made=made, task=task, attached=attached: look_at(
                    made, subjects[made.name], task, attached(), sizes
                ),
            )
    for task in tasks:
        for made in looked:
            yield (
                ("again", made.name, task.name),
                lambda made=made, task=task: again(made, subjects[made.name], task, sizes),
            )


def _own(world: World, made: Made) -> Record:
    begin = time.process_time()
    bits = world.bits(made.model_P, world.scale.final)
    seconds = {"own": time.process_time() - begin}
    return {
        "what": "own", "release": made.name, "kind": made.kind, "task": "", "said": {"own": bits}, "seconds": seconds
    }  # fmt: skip


if __name__ == "__main__":
    main()
