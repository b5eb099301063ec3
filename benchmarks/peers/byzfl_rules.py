"""ByzFL's answers to the questions of benchmarks/oracles_robust.py, in ByzFL's own environment.

    PYTHON byzfl_rules.py QUESTIONS.json UPDATES.npy ANSWERS.npz

QUESTIONS.json is a list of ``{"name": ..., "before": [class, arguments] or null, "rule": [class,
arguments] or null}``: classes of byzfl with their keyword arguments. UPDATES.npy is float64
[trials, K, P]. The answers are float64 [trials, P] by name, or [trials, L, P] without a rule.
Prints ByzFL's version.
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import byzfl
import numpy as np


def answer(question: dict[str, object], updates_KP: np.ndarray) -> np.ndarray:
    """Made anew for every trial: some of the rules remember the last result."""
    for part in (question["before"], question["rule"]):
        if part is not None:
            kind, arguments = part
            updates_KP = getattr(byzfl, kind)(**arguments)(updates_KP)
    return updates_KP


def main() -> None:
    asked, given, answers = sys.argv[1:]
    updates_TKP = np.load(given)
    found = {
        question["name"]: np.stack([answer(question, updates_KP.copy()) for updates_KP in updates_TKP])
        for question in json.loads(Path(asked).read_text())
    }
    np.savez(answers, **found)
    print("byzfl", version("byzfl"))


if __name__ == "__main__":
    main()
