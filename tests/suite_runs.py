"""Suites that were run on models small enough to measure in milliseconds, for tests of what is reported of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from barnraise.digest import digest_bytes
from barnraise.model_config import ByteLMConfig
from barnraise.suite import AcceptanceTestConfig, DataSetConfig, SuiteConfig
from barnraise.updates.space import ParameterSpace
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.models.subject import ByteSubject, Subject
from coordinator.acceptance.reports.report import Report
from coordinator.acceptance.run_suite import AtHand, Contender, RunOptions, SuiteRun, run_suite
from merge.architectures import build, flat_of, space_of

MODEL = ByteLMConfig(dim=16, layers=1, heads=2, hidden=16, context=12)
WINDOWS = np.random.default_rng(0).integers(97, 100, (96, 13), dtype=np.uint8)
ROWS = tuple({"text": f"<i>{n} \x1b{'ab'[n % 2]}"} for n in range(40))
HIDDEN = tuple({"text": f"secret {n} {'ab'[n % 3 == 0]}"} for n in range(24))

TESTS = (
    AcceptanceTestConfig(name="loss-text", kind="loss", shard="text", examples=24, margin=0.5, guards="plain <text>"),
    AcceptanceTestConfig(name="ends", kind="accuracy", data="lines", examples=40, margin=0.1),
    AcceptanceTestConfig(name="ends-hidden", kind="accuracy", data="hidden", examples=24, margin=0.1, supported=False),
)
SUITE = SuiteConfig(
    name="small",
    data={
        "lines": DataSetConfig(path="lines.jsonl", digest="b3:" + "1" * 64),
        "hidden": DataSetConfig(path="hidden.jsonl", digest="b3:" + "2" * 64, hidden=True),
    },
    tests=TESTS,
)


@cache
def first() -> tuple[ParameterSpace, NDArray[np.float32]]:
    module = build(MODEL)
    space = space_of(module)
    return space, flat_of(module, space)


def knowing(byte: int, strength: float = 1.0) -> NDArray[np.float32]:
    """The first model with an embedding in which every position points at ``byte``."""
    space, flat_P = first()
    changed_P = flat_P.copy()
    embedding = space.unflatten(changed_P)["model.embed_tokens.weight"]
    embedding[:] = 0.01
    embedding[byte] = strength
    return changed_P


def contender(label: str, flat_P: NDArray[np.float32], opened: list[str] | None = None) -> Contender:
    """A model; ``opened`` gets its label whenever it is loaded."""
    subject = ByteSubject(flat_P, MODEL, first()[0])

    def open_() -> Subject:
        if opened is not None:
            opened.append(label)
        return subject

    return Contender(label, subject.digest, open_)


class Crashing(ByteSubject):
    """A model on which every measurement ends with an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__(first()[1], MODEL, first()[0])
        self._error = error

    def logits(self, tokens_BT: Tensor) -> Tensor:
        raise self._error


def crashing(error: Exception) -> Contender:
    return Contender("broken 0.0.1", "b3:" + "c" * 64, lambda: Crashing(error))


def examples_of(test: AcceptanceTestConfig) -> AtHand:
    """What the tests of ``SUITE`` look at."""
    if test.shard is not None:
        return AtHand(Examples.of_windows(WINDOWS))
    if test.data == "hidden":
        return AtHand(Examples("b3:" + "2" * 64, None, HIDDEN), shown=False)
    return AtHand(Examples("b3:" + "1" * 64, None, ROWS))


def skipping(name: str) -> Callable[[AcceptanceTestConfig], AtHand]:
    """The same without one of them."""
    return lambda test: (
        AtHand(shown=False, skip=f"data set {name} is not here") if test.name == name else examples_of(test)
    )


def small_run(
    candidate: Contender | None = None, base: Contender | None = None, suite: SuiteConfig = SUITE
) -> SuiteRun:
    """``b`` is what the base expects, ``a`` what the candidate does."""
    ticks = iter(range(1000))
    return run_suite(
        suite,
        candidate or contender("small 0.1.1", knowing(97)),
        base or contender("small 0.1.0", knowing(98)),
        examples_of,
        RunOptions(clock=lambda: float(next(ticks))),
    )


def report_of(run: SuiteRun, notes: tuple[str, ...] = ("windows were drawn <here>",)) -> Report:
    return Report(run, "small", notes, {"barnraise": "0.0.0", "python": "3.11"}, 12.5, 1_700_000_000_000)


def write_suite(folder: Path, rows: Mapping[str, list[object]], tests: str, *, hidden: tuple[str, ...] = ()) -> Path:
    """A suite's file with its data sets beside it.

    Args:
        rows: of each data set. tests: the ``[[tests]]`` of the file. hidden: data sets that are marked so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ['name = "written"']
    for name, found in rows.items():
        data = "".join(json.dumps(row) + "\n" for row in found).encode()
        (folder / f"{name}.jsonl").write_bytes(data)
        lines += [f"[data.{name}]", f'path = "{name}.jsonl"', f'digest = "{digest_bytes(data)}"']
        lines += ["hidden = true"] if name in hidden else []
    path = folder / "suite.toml"
    path.write_text("\n".join([*lines, tests]))
    return path
