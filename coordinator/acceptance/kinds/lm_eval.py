"""lm-eval: a task of EleutherAI's evaluation harness, with data that is at hand.

The task is named as the harness names it. Its documents are the lines of the test's data set, or,
without one, the task's own, if the harness finds them on this machine: nothing is fetched. Tasks
beyond those that the harness brings are looked for in the folder that the variable
``BARNRAISE_EVAL_TASKS`` names. A suite cannot name such a folder: a task's templates and functions
are code, and suites may come from strangers.

Source: Biderman et al. 2024, https://arxiv.org/abs/2405.14782 (the harness).
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from barnraise.digest import digest_file, digest_json
from barnraise.errors import AcceptanceError, BarnraiseError
from coordinator.acceptance.asking.offline import offline
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.kinds.rule import Measured, Takes
from coordinator.acceptance.metric import Metric
from coordinator.acceptance.models.subject import Subject
from merge.strategies.options import require

__all__ = ["TASKS_VARIABLE", "LmEval", "values_of"]

TASKS_VARIABLE = "BARNRAISE_EVAL_TASKS"


@dataclass(frozen=True, slots=True)
class LmEval:
    """What a task says of each document. What a line must have is the task's business.

    Attributes:
        task: its name; of a group, all of its tasks, one after the other.
        score: which of the task's metrics is taken; it must be a number for each document.
        shots: examples before each question, drawn with a fixed seed; -1: as many as the task says.
        direction: whether ``lower`` or ``higher`` is better; the test's.
        examples: without a data set, the first so many documents of each task; the test's.
    """

    name: ClassVar[str] = "lm-eval"
    takes: ClassVar[Takes] = "rows or nothing"
    task: str = ""
    score: str = "acc"
    shots: int = -1
    direction: Literal["lower", "higher", ""] = ""
    examples: int = 48

    def __post_init__(self) -> None:
        named = re.fullmatch(r"[^/\\\x00-\x1f]{1,200}", self.task) is not None and not self.task.endswith(".yaml")
        require(self, "task", named, "the name of a task, not a path")
        require(self, "score", self.score != "", "the name of one of the task's metrics")
        require(self, "shots", -1 <= self.shots <= 64, "a number from 0 to 64, or -1 for the task's own")
        require(self, "direction", self.direction != "", "'lower' or 'higher': give the test a direction")

    @property
    def metric(self) -> Metric:
        return Metric(self.score, higher_is_better=self.direction == "higher")

    @property
    def version(self) -> str:
        """With that of the harness, and what lies in the folder of tasks."""
        return f"1 lm_eval {_installed()} {_tasks_digest(_tasks_folder())} {self.examples}"

    def measure(self, subject: Subject, examples: Examples) -> Measured:
        _installed()
        folder = _tasks_folder()
        with offline():
            try:
                harness: Any = importlib.import_module("coordinator.acceptance.asking.harness")
                samples = harness.run_task(subject, self, examples.rows, folder)
            except BarnraiseError:
                raise
            except Exception as error:  # the harness and its tasks raise anything
                raise AcceptanceError(
                    f"task {self.task} raised {type(error).__name__}: {str(error)[:300]}. Its data must be on this "
                    "machine; nothing is fetched"
                ) from error
        values = values_of(samples, self.score, self.task)
        if examples.rows and len(values) != len(examples.rows):
            raise AcceptanceError(f"task {self.task} gave {len(values)} values for {len(examples.rows)} lines")
        notes = {"harness": _installed(), "documents": len(values), "mean": float(np.mean(values))}
        return Measured(np.array(values, dtype=np.float64), notes)


def values_of(samples: list[dict[str, Any]], score: str, task: str) -> list[float]:
    """One number a document, of the first filter of each task.

    Args:
        samples: as the harness logs them, in the order of their documents.

    Raises:
        AcceptanceError: there is no document, or no such metric, or it is no number.
    """
    if not samples:
        raise AcceptanceError(f"task {task} has no document; a test without examples promises nothing")
    values = []
    for sample in samples:
        found = sample.get(score)
        if isinstance(found, np.generic):
            found = found.item()
        if not isinstance(found, int | float):
            known = [
                name for name in sample.get("metrics", ()) if isinstance(sample.get(name), int | float | np.generic)
            ]
            raise AcceptanceError(
                f"task {task} has no number {score!r} for each document; those that are one are "
                f"{', '.join(known) or 'none'}. Name one as the test's score"
            )
        values.append(float(found))
    return values


def _installed() -> str:
    try:
        return importlib.metadata.version("lm_eval")
    except importlib.metadata.PackageNotFoundError as error:
        raise AcceptanceError(
            "a test of kind lm-eval needs lm_eval, which is not installed. Run: pip install 'barnraise[eval]'"
        ) from error


def _tasks_folder() -> Path | None:
    named = os.environ.get(TASKS_VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise AcceptanceError(f"{TASKS_VARIABLE} is {named}, which is no folder; name one with task files, or unset it")
    return Path(named)


def _tasks_digest(folder: Path | None) -> str:
    if folder is None:
        return "-"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return digest_json([[str(path.relative_to(folder)), digest_file(path)] for path in files])
