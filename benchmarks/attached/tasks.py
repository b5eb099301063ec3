"""Downstream text that no contributor trains on: three parts a task, for training, cheap tests and the truth.

Parts are cut from one text in pieces of 4 KiB, dealt out, so that all parts are alike and share no byte.

N  windows
T  the model's context
"""

from __future__ import annotations

import sysconfig
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from barnraise.corpus import Corpus
from barnraise.data_config import StdlibData
from benchmarks.convergence.world import SHARDS
from coordinator.acceptance.examples import Windows

__all__ = ["Task", "deal", "find_tasks"]

PIECE = 4096
TEXT_BYTES = 600_000


@dataclass(frozen=True)
class Task:
    """A task of bytes.

    Attributes:
        train: text to fine-tune on. cheap, truth: uint8 [N, T + 1], windows of two other parts. more: of the same
            part as ``cheap``.
    """

    name: str
    train: bytes
    cheap: Windows
    truth: Windows
    more: Windows


def find_tasks(context: int, counts: tuple[int, int, int], learnt: Collection[str]) -> list[Task]:
    """All tasks that this machine has enough text for; ``learnt`` are modules that the trunk learns.

    Args:
        counts: windows, as of :func:`deal`.
    """
    paths = sysconfig.get_paths()
    library, include, installed = Path(paths["stdlib"]), Path(paths["include"]), Path(paths["purelib"])
    network = Corpus.of(StdlibData(shards={"network": tuple(m for m in SHARDS["network"].split() if m not in learnt)}))
    licences = [
        path
        for path in installed.glob("*.dist-info/**/*")
        if path.is_file() and path.name.upper().startswith(("LICEN", "COPYING"))
    ]
    texts = {
        "network packages": network.text("network", "train"),
        "C headers": _joined(include.rglob("*.h")),
        "language reference": _joined([library / "pydoc_data" / "topics.py"]),
        "licences": _joined([library / "LICENSE.txt", *licences]),
    }
    return [deal(name, text, context, counts) for name, text in texts.items() if len(text) >= 32 * PIECE]


def _joined(paths: Iterable[Path]) -> bytes:
    """Every different file once, in an order that follows from the contents alone."""
    return b"\n".join(sorted({path.read_bytes() for path in paths if path.is_file()}))


def deal(name: str, text: bytes, context: int, counts: tuple[int, int, int]) -> Task:
    """A task of one text; ``counts`` is how many windows cheap tests look at, the truth, and larger cheap tests."""
    pieces = [text[at : at + PIECE] for at in range(0, min(len(text), TEXT_BYTES), PIECE)]
    order = np.random.default_rng(0).permutation(len(pieces)).tolist()
    quarter = len(order) // 4
    parts = [order[:quarter], order[quarter : 2 * quarter], order[2 * quarter :]]
    cheap, truth, train = (b"".join(pieces[i] for i in sorted(part)) for part in parts)
    few, true, more = counts
    return Task(
        name, train, _windows(cheap, context, few), _windows(truth, context, true), _windows(cheap, context, more)
    )


def _windows(text: bytes, context: int, count: int) -> Windows:
    data = np.frombuffer(text, dtype=np.uint8)
    starts_N = np.linspace(0, len(data) - context - 1, count).astype(np.int64)
    return data[starts_N[:, None] + np.arange(context + 1)]
