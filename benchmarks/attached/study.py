"""One release, one task: how a whole fine-tune turns out, and what every cheap test says, each with its cost.

whole           AdamW from the release, then the loss on the task's other text: the truth
whole, again    the same with another seed: no cheap test can be expected to predict better than this
attached        an attachment on the release, no training; ``early``: made at the beginning of the run, else on
                the release from which the siblings start
attached + n    and n steps from there
short           n steps from the release, no attachment
plain           the release itself on the task's text
own             the release on held-out text of its own shards: no downstream test at all
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from barnraise.digest import digest_bytes
from benchmarks.attached.releases import Made, Sizes
from benchmarks.attached.tasks import Task
from coordinator.acceptance.examples import Examples, Windows
from coordinator.acceptance.kinds.loss import Loss
from coordinator.acceptance.models.attaching import make_attachment
from coordinator.acceptance.models.attachments import Attachment, parse_attachment
from coordinator.acceptance.models.subject import ByteSubject
from coordinator.acceptance.models.tuning import Tuning

__all__ = ["VARIANTS", "Record", "again", "attachments_of", "look_at"]

Record = dict[str, Any]
VARIANTS = (
    "attached early",
    "attached",
    "attached early + 2",
    "attached + 2",
    "attached + 5",
    "short 2",
    "short 5",
    "plain",
    "own",
)
MADE_WITH, WHOLE_WITH, AGAIN_WITH, FEW_WITH = 1, 2, 3, 4  # seeds: none is used for two things


def attachments_of(sizes: Sizes, bases: Mapping[str, ByteSubject], task: Task) -> dict[str, Attachment]:
    """``early`` and ``last`` -> an attachment made there."""
    found = {}
    for name, base in bases.items():
        data = make_attachment(base, [task.train], _tuning(sizes, sizes.full, MADE_WITH), name)
        found[name] = parse_attachment(data, digest_bytes(data), task.name)
    return found


def look_at(made: Made, subject: ByteSubject, task: Task, attached: Mapping[str, Attachment], sizes: Sizes) -> Record:
    """Everything but ``whole, again`` and ``own``: what each says in bits a byte, and its processor seconds."""
    early, last = attached["early"], attached["last"]

    def few(start: ByteSubject, steps: int) -> ByteSubject:
        return start.tuned([task.train], _tuning(sizes, steps, FEW_WITH))

    ways: dict[str, Callable[[], ByteSubject]] = {
        "attached early": lambda: subject.adapted(early),
        "attached": lambda: subject.adapted(last),
        "attached early + 2": lambda: few(subject.adapted(early), 2),
        "attached + 2": lambda: few(subject.adapted(last), 2),
        "attached + 5": lambda: few(subject.adapted(last), 5),
        "short 2": lambda: few(subject, 2),
        "short 5": lambda: few(subject, 5),
        "plain": lambda: subject.adapted(last, 0.0),  # a new subject, which loads its module as the others do
    }
    said, seconds = {}, {}
    for name, way in ways.items():
        begin = time.process_time()
        said[name] = _bits(way(), task.cheap)
        seconds[name] = time.process_time() - begin
    begin = time.process_time()
    tuned = subject.tuned([task.train], _tuning(sizes, sizes.full, WHOLE_WITH))
    _bits(tuned, task.cheap)  # whoever fine-tunes measures as many windows as a cheap test; the truth needs more
    seconds["whole"] = time.process_time() - begin
    said["whole"] = _bits(tuned, task.truth)
    return {
        "what": "text", "release": made.name, "kind": made.kind, "task": task.name, "said": said, "seconds": seconds
    }  # fmt: skip


def again(made: Made, subject: ByteSubject, task: Task, sizes: Sizes) -> Record:
    """The whole fine-tune with another seed."""
    tuned = subject.tuned([task.train], _tuning(sizes, sizes.full, AGAIN_WITH))
    said = {"whole, again": _bits(tuned, task.truth)}
    return {"what": "again", "release": made.name, "kind": made.kind, "task": task.name, "said": said, "seconds": {}}


def _bits(subject: ByteSubject, windows: Windows) -> float:
    return float(Loss().measure(subject, Examples.of_windows(windows)).values_N.mean())


def _tuning(sizes: Sizes, steps: int, seed: int) -> Tuning:
    return Tuning(steps, learning_rate=sizes.learning_rate / 2, batch=sizes.batch, seed=seed)
