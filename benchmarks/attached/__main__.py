"""How well does a cheap downstream test predict a fine-tune, and at what share of its cost?

    python -m benchmarks.attached --quick                 a tiny model, one task
    python -m benchmarks.attached --write                 a small model, four tasks; and digits
    python -m benchmarks.attached --size stdlib --write   the model of topk_256.toml, two tasks

Everything that was measured is a line of the records (``--records``), and models lie in a folder beside
them, so a study that is stopped loses one line at most and goes on from there. ``--minutes`` stops it
and reports what there is.
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
from benchmarks.attached.kept import Kept
from benchmarks.attached.page import page
from benchmarks.attached.releases import Made, make_releases
from benchmarks.attached.sizes import QUICK, SMALL, Sizes, stdlib_sizes
from benchmarks.attached.study import Record, again, attachments_of, look_at, look_longer, record
from benchmarks.attached.tasks import find_tasks
from benchmarks.convergence.world import World
from benchmarks.report import arguments, finish, heading
from coordinator.acceptance.models.subject import ByteSubject

Job = tuple[tuple[str, str, str], Callable[[], Record]]


def main() -> None:
    parser = arguments(__doc__, quick="a tiny model, few releases")
    parser.add_argument("--size", choices=("small", "stdlib"), default="small", help="of the trunk")
    parser.add_argument("--records", type=Path, help="file of what was measured (default: one a size, temporary)")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so many, and report what there is")
    chosen = parser.parse_args()
    torch.set_num_threads(1)  # one gives the same bits everywhere
    sizes = QUICK if chosen.quick else SMALL if chosen.size == "small" else stdlib_sizes()
    also = ["scikit-learn"] if sizes.digits and importlib.util.find_spec("sklearn") else []
    head = heading("Cheap downstream tests beside whole fine-tunes", "numpy", "torch", *also)
    if chosen.quick:
        records = [job() for _, job in _jobs(sizes, Kept())]
    else:
        path = chosen.records or Path(tempfile.gettempdir()) / f"barnraise-attached-{sizes.name}.jsonl"
        records = _measured(sizes, path, until_s=time.monotonic() + 60 * chosen.minutes)
    name = "attached-stdlib" if sizes.name == "stdlib" else "attached"
    finish(name, head + page(records, sizes), write=chosen.write)


def _measured(sizes: Sizes, path: Path, *, until_s: float) -> list[Record]:
    """What the records have, and what is still to be measured, as far as the time goes."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {_key(one) for one in records}
    for key, job in _jobs(sizes, Kept(path.with_suffix(".models"))):
        if time.monotonic() > until_s:
            break
        if key not in done:
            records.append(job())
            with path.open("a") as file:
                file.write(json.dumps(records[-1]) + "\n")
    return records


def _key(record: Record) -> tuple[str, str, str]:
    return record["what"], record["release"], record["task"]


def _jobs(sizes: Sizes, kept: Kept) -> Iterator[Job]:
    """Digits, then text task by task, then fine-tunes with another seed."""
    if sizes.digits:
        yield from digits.jobs()
    world = World(sizes.scale, sizes.shards)
    releases = make_releases(sizes, world, kept)
    subjects = {name: ByteSubject(made.model_P, sizes.model, world.space) for name, made in releases.items()}
    looked = [made for name, made in releases.items() if name != "early"]
    learnt = {module for modules in sizes.shards.values() for module in modules}
    tasks = find_tasks(sizes.model.context, (sizes.cheap, sizes.truth, sizes.more), learnt)[: sizes.tasks]
    bases = {"early": subjects["early"], "last": subjects[f"round {sizes.last}"]}
    for made in looked:
        yield ("own", made.name, ""), lambda made=made: _own(world, made)
    for task in tasks:
        attached = cache(  # made when the first release is looked at
            lambda task=task: attachments_of(sizes, bases, task, kept)
        )
        for made in looked:
            yield (
                ("text", made.name, task.name),
                lambda made=made, task=task, attached=attached: look_at(
                    made, subjects[made.name], task, attached(), sizes
                ),
            )
        for made in looked if sizes.more else ():
            yield (
                ("more", made.name, task.name),
                lambda made=made, task=task, attached=attached: look_longer(
                    made, subjects[made.name], task, attached()
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
    return record("own", made, "", {"own": bits}, {"own": time.process_time() - begin})


if __name__ == "__main__":
    main()
