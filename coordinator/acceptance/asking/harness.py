"""Between EleutherAI's evaluation harness and a subject. Imports the harness; imported when a task is run.

Source: https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/model_guide.md
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from datasets import Dataset
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate
from lm_eval.tasks import TaskManager

from barnraise.errors import AcceptanceError
from coordinator.acceptance.asking.continuations import score_continuations, score_ends
from coordinator.acceptance.asking.generating import generate
from coordinator.acceptance.examples import Row
from coordinator.acceptance.models.subject import Subject

__all__ = ["SubjectModel", "run_task"]

SHOTS_SEED = 1234
MAX_TOKENS = 256
SPLIT = "test"
GROUP = "barnraise"
"""A group of one: what can be changed of a task is changed where a group names it."""


class Asked(Protocol):
    """What is asked of the harness (``LmEval``)."""

    @property
    def task(self) -> str: ...
    @property
    def shots(self) -> int: ...
    @property
    def examples(self) -> int: ...


class SubjectModel(LM):  # type: ignore[misc]
    """A subject as the harness asks models."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        self._subject = subject

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        pairs = [self._pair(context, continuation) for context, continuation in _arguments(requests)]
        scored = score_continuations(self._subject, pairs)
        nats = (scored.bits_N * -math.log(2)).tolist()
        return list(zip(nats, scored.greedy_N.tolist(), strict=True))

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        found = []
        for (text,) in _arguments(requests):
            tokens = self._subject.encode(text.encode())
            before = self._subject.encode(self._start(""))
            if tokens[: len(before)] != before:
                tokens = before + tokens
            windows = _windows(tokens, self._subject.context)
            found.append(-math.log(2) * float(score_ends(self._subject, windows, [0] * len(windows)).bits_N.sum()))
        return found

    def generate_until(self, requests: list[Any]) -> list[str]:
        texts = [""] * len(requests)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = {}
        for index, (_, settings) in enumerate(_arguments(requests)):
            alike.setdefault(_limits(settings), []).append(index)
        for (most, until), picked in alike.items():
            prompts = [self._start(requests[index].args[0]) for index in picked]
            written = generate(self._subject, prompts, most, [stop.encode() for stop in until])
            for index, one in zip(picked, written, strict=True):
                texts[index] = one.text.decode(errors="replace")
        return texts

    def _pair(self, context: str, continuation: str) -> tuple[bytes, bytes]:
        """Space at the end of a prompt is the continuation's, as the harness has it with its own models."""
        bare = context.rstrip()
        return self._start(bare), (context[len(bare) :] + continuation).encode()

    def _start(self, context: str) -> bytes:
        """A model that needs something before its first token gets the end of a line."""
        return context.encode() if self._subject.encode(context.encode()) else b"\n"


def run_task(subject: Subject, asked: Asked, rows: Sequence[Row], folder: Path | None) -> list[dict[str, Any]]:
    """What the harness logs of every document, by task, in their order; of several filters the first.

    Args:
        rows: documents that take the place of the task's own; none: its own. folder: of more tasks.

    Raises:
        AcceptanceError: there is no such task, or a group cannot have rows.
        Exception: whatever else harness and task raise.
    """
    manager = _manager(folder, asked.task)
    changes: dict[str, Any] = {} if asked.shots < 0 else {"num_fewshot": asked.shots}
    if rows:
        changes |= _with_rows(rows)
    loaded = manager.load([{"group": GROUP, "task": [{"task": asked.task, **changes}]}])
    if rows and len(loaded["tasks"]) != 1:
        raise AcceptanceError(f"{asked.task} is a group of {len(loaded['tasks'])} tasks; a data set needs a single one")
    for task in loaded["tasks"].values():
        task.set_fewshot_seed(seed=SHOTS_SEED)
    limit = len(rows) if rows else asked.examples
    results = evaluate(SubjectModel(subject), loaded, limit=limit, bootstrap_iters=0, log_samples=True)
    samples: list[dict[str, Any]] = []
    for _, logged in sorted(results["samples"].items()):
        first = [sample for sample in logged if sample["filter"] == logged[0]["filter"]]
        samples += sorted(first, key=lambda sample: int(sample["doc_id"]))
    return samples


def _manager(folder: Path | None, task: str) -> TaskManager:
    """What knows the task; the many thousand that the harness brings are listed only if it is none of the folder's.

    Raises:
        AcceptanceError: nothing does.
    """
    if folder is not None:
        own = TaskManager(include_path=str(folder), include_defaults=False)
        if task in own.all_tasks:
            return own
    brought = _brought(None if folder is None else str(folder))
    if task not in brought.all_tasks:
        raise AcceptanceError(f"the harness has no task {task!r}; is BARNRAISE_EVAL_TASKS set?")
    return brought


@lru_cache(maxsize=1)
def _brought(folder: str | None) -> TaskManager:
    return TaskManager(include_path=folder)


def _with_rows(rows: Sequence[Row]) -> dict[str, Any]:
    documents = Dataset.from_list([dict(row) for row in rows])
    return {
        "custom_dataset": lambda **_: {SPLIT: documents},
        "dataset_kwargs": None,
        "training_split": None,
        "validation_split": None,
        "test_split": SPLIT,
        "fewshot_split": SPLIT,
    }


def _arguments(requests: list[Any]) -> list[Any]:
    return [request.args for request in requests]


def _windows(tokens: list[int], context: int) -> list[tuple[list[int], int]]:
    """Every token but the first predicted once, each after as many as the model sees."""
    windows = []
    for start in range(1, len(tokens), context):
        end = min(start + context, len(tokens))
        seen = tokens[max(0, end - context - 1) : end]
        windows.append((seen, len(seen) - (end - start)))
    return windows


def _limits(settings: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Most tokens, and what to stop at.

    Raises:
        AcceptanceError: the task wants draws, and a test must give the same result twice.
    """
    if settings.get("do_sample") and float(settings.get("temperature", 1.0)) > 0:
        raise AcceptanceError(
            "the task draws what it generates; a test takes the likeliest token, so choose another task"
        )
    until = settings.get("until") or []
    stops = (until,) if isinstance(until, str) else tuple(until)
    return int(settings.get("max_gen_toks", MAX_TOKENS)), stops
