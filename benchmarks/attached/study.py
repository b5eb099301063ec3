"""One release, one task: how a whole fine-tune turns out, and what every cheap test says, each with its cost.

whole           AdamW from the release, then the loss on the task's other text: the truth
whole, again    the same with another seed: no cheap test can be expected to predict better than this
attached        an attachment on the release, no training; ``early``: made at the beginning of the run, else on
                the release from which the siblings start
attached, rank n  the newer attachment as an adapter holds it: of each matrix the n largest directions, no vectors
attached + n    and n steps from there
short           n steps from the release, no attachment
plain           the release itself on the task's text
..., more       on as many windows as a twentieth of the whole fine-tune pays for
own             the release on held-out text of its own shards: no downstream test at all
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from barnraise.digest import digest_bytes
from benchmarks.attached.kept import Kept
from benchmarks.attached.releases import Made
from benchmarks.attached.sizes import Sizes
from benchmarks.attached.tasks import Task
from coordinator.acceptance.examples import Examples, Windows
from coordinator.acceptance.kinds.loss import Loss
from coordinator.acceptance.models.attaching import make_attachment
from coordinator.acceptance.models.attachments import Attachment, LowRank, parse_attachment
from coordinator.acceptance.models.subject import ByteSubject
from coordinator.acceptance.models.tuning import Tuning

__all__ = ["VARIANTS", "Record", "again", "attachments_of", "look_at", "look_longer", "low_rank_of", "record"]

Record = dict[str, Any]
VARIANTS = (
    "attached early",
    "attached",
    "attached, low rank",
    "attached early + 2",
    "attached + 2",
    "attached + 5",
    "short 2",
    "short 5",
    "plain",
    "attached early, more",
    "attached, more",
    "plain, more",
    "own",
)
MADE_WITH, WHOLE_WITH, AGAIN_WITH, FEW_WITH = 1, 2, 3, 4  # seeds: none is used for two things


def attachments_of(sizes: Sizes, bases: Mapping[str, ByteSubject], task: Task, kept: Kept) -> dict[str, Attachment]:
    """``early`` and ``last`` -> an attachment made there; ``low rank`` is a part of the last one."""
    found = {}
    for name, base in bases.items():
        data = kept.blob(
            f"{task.name} on {name}",
            lambda base=base, name=name: make_attachment(
                base, [task.train], _tuning(sizes, sizes.full, MADE_WITH), name
            ),
        )
        found[name] = parse_attachment(data, digest_bytes(data), task.name)
    return found | {"low rank": low_rank_of(found["last"], sizes.rank)}


def low_rank_of(attachment: Attachment, rank: int) -> Attachment:
    """What a low-rank adapter can hold of it: the best approximation of each matrix."""
    changes = {}
    for name, change in attachment.changes.items():
        if isinstance(change, np.ndarray) and change.ndim == 2:
            u_OR, s_R, v_RI = np.linalg.svd(change, full_matrices=False)
            changes[name] = LowRank(v_RI[:rank], np.ascontiguousarray(u_OR[:, :rank] * s_R[:rank]))
    return Attachment(changes)


def look_at(made: Made, subject: ByteSubject, task: Task, attached: Mapping[str, Attachment], sizes: Sizes) -> Record:
    """Everything but ``whole, again`` and ``own``: what each says in bits a byte, and its processor seconds."""
    early, last = attached["early"], attached["last"]

    def few(start: ByteSubject, steps: int) -> ByteSubject:
        return start.tuned([task.train], _tuning(sizes, steps, FEW_WITH))

    ways: dict[str, Callable[[], ByteSubject]] = {
        "attached early": lambda: subject.adapted(early),
        "attached": lambda: subject.adapted(last),
        "attached, low rank": lambda: subject.adapted(attached["low rank"]),
        "attached early + 2": lambda: few(subject.adapted(early), 2),
        "attached + 2": lambda: few(subject.adapted(last), 2),
        "attached + 5": lambda: few(subject.adapted(last), 5),
        "short 2": lambda: few(subject, 2),
        "short 5": lambda: few(subject, 5),
        "plain": lambda: subject.adapted(last, 0.0),  # a new subject, which loads its module as the others do
    }
    said, seconds = {}, {}
    for name, way in ways.items():
        if name in sizes.skipped:
            continue
        begin = time.process_time()
        said[name] = _bits(way(), task.cheap)
        seconds[name] = time.process_time() - begin
    begin = time.process_time()
    tuned = subject.tuned([task.train], _tuning(sizes, sizes.full, WHOLE_WITH))
    _bits(tuned, task.cheap)  # whoever fine-tunes measures as many windows as a cheap test; the truth needs more
    seconds["whole"] = time.process_time() - begin
    said["whole"] = _bits(tuned, task.truth)
    return record("text", made, task.name, said, seconds)


def look_longer(made: Made, subject: ByteSubject, task: Task, attached: Mapping[str, Attachment]) -> Record:
    """The tests without training on more windows."""
    said, seconds = {}, {}
    for name, attachment, scale in (
        ("attached early", "early", 1.0),
        ("attached", "last", 1.0),
        ("plain", "last", 0.0),
    ):
        begin = time.process_time()
        said[f"{name}, more"] = _bits(subject.adapted(attached[attachment], scale), task.more)
        seconds[f"{name}, more"] = time.process_time() - begin
    return record("more", made, task.name, said, seconds)


def again(made: Made, subject: ByteSubject, task: Task, sizes: Sizes) -> Record:
    """The whole fine-tune with another seed."""
    tuned = subject.tuned([task.train], _tuning(sizes, sizes.full, AGAIN_WITH))
    return record("again", made, task.name, {"whole, again": _bits(tuned, task.truth)}, {})


def record(what: str, made: Made, task: str, said: dict[str, float], seconds: dict[str, float]) -> Record:
    """A line of the records."""
    return {
        "what": what,
        "release": made.name,
        "kind": made.kind,
        "parent": made.parent,
        "task": task,
        "said": said,
        "seconds": seconds,
    }


def _bits(subject: ByteSubject, windows: Windows) -> float:
    return float(Loss().measure(subject, Examples.of_windows(windows)).values_N.mean())


def _tuning(sizes: Sizes, steps: int, seed: int) -> Tuning:
    return Tuning(steps, learning_rate=sizes.learning_rate / 2, batch=sizes.batch, seed=seed)
