"""What a run of a suite is told as: one set of facts, from which words, JSON, JUnit and HTML are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coordinator.acceptance.examples import Examples
from coordinator.acceptance.run_suite import Contender, Outcome, SuiteRun

__all__ = ["EXAMPLES_SHOWN", "Flip", "Report", "as_json", "flips", "quoted"]

EXAMPLES_SHOWN = 8
QUOTED_MAX = 240


@dataclass(frozen=True)
class Report:
    """A run, and what a reader must know of how it was made.

    Attributes:
        label: of the suite. notes: sentences. versions: of what it was made with.
        seconds: that all of it took. at_ms: when it was done.
    """

    run: SuiteRun
    label: str
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Flip:
    """An example that one model does worse than the other.

    Attributes:
        index: among those that were looked at. text: of the example, cut; None where it is not to be shown.
    """

    index: int
    base: float
    candidate: float
    text: str | None


def flips(outcome: Outcome) -> tuple[list[Flip], list[Flip]]:
    """Examples that changed most, for the worse and for the better; of right and wrong, those that flipped."""
    case, base, candidate = outcome.case, outcome.base, outcome.candidate
    if case is None or base is None or candidate is None or outcome.state == "crashed":
        return [], []

    def told(index: int) -> Flip:
        text = quoted(outcome.examples, index) if outcome.shown else None
        return Flip(index, float(base.values_N[index]), float(candidate.values_N[index]), text)

    worse, better = ([told(index) for index in found[:EXAMPLES_SHOWN]] for found in (case.worst, case.best))
    return worse, better


def quoted(examples: Examples, index: int) -> str | None:
    """An example in a line: the end of a window, the text of a row or all of it; None where there is none."""
    if examples.windows is not None:
        text = examples.windows[index].tobytes().decode("utf-8", "backslashreplace")
        return text if len(text) <= QUOTED_MAX else f"..{text[2 - QUOTED_MAX :]}"
    if index >= len(examples.rows):
        return None
    row = examples.rows[index]
    text = row["text"] if isinstance(row.get("text"), str) else json.dumps(dict(row), ensure_ascii=False)
    return text if len(text) <= QUOTED_MAX else f"{text[: QUOTED_MAX - 2]}.."


def as_json(report: Report) -> dict[str, Any]:
    """JSON values; numbers that are not finite are null."""
    run = report.run
    value = {
        "suite": {"name": report.label, "digest": run.suite.digest, "alpha": run.suite.alpha},
        "candidate": _contender(run.candidate),
        "base": _contender(run.base) if run.base is not None else None,
        "passed": run.verdict.passed if run.verdict is not None else None,
        "reason": run.reason,
        "tests": [_outcome(one) for one in run.outcomes],
        "notes": list(report.notes),
        "versions": dict(report.versions),
        "seconds": round(report.seconds, 3),
    }
    found: dict[str, Any] = _plain(value)
    return found


def _contender(contender: Contender) -> dict[str, str]:
    return {"name": contender.label, "model_digest": contender.digest}


def _outcome(outcome: Outcome) -> dict[str, Any]:
    test, case = outcome.test, outcome.case if outcome.state in ("passed", "failed") else None
    worse, better = flips(outcome)
    means = {
        name: float(found.values_N.mean()) if found is not None else None
        for name, found in (("base", outcome.base), ("candidate", outcome.candidate))
    }
    notes = {name: dict(one.notes) for name, one in (("base", outcome.base), ("candidate", outcome.candidate)) if one}
    return {
        "name": test.name,
        "kind": test.kind,
        "guards": test.guards,
        "supported": test.supported,
        "state": outcome.state,
        "reason": outcome.reason,
        "unit": outcome.metric.unit,
        "higher_is_better": outcome.metric.higher_is_better,
        "margin": test.margin,
        "examples": len(outcome.candidate.values_N) if outcome.candidate is not None else 0,
        "means": means,
        "effect": case.effect if case is not None else None,
        "low": case.low if case is not None else None,
        "high": case.high if case is not None else None,
        "confidence": case.confidence if case is not None else None,
        "p": case.p if case is not None else None,
        "p_corrected": case.p_holm if case is not None else None,
        "method": case.method if case is not None else "",
        "worsened": case.worsened if case is not None else None,
        "improved": case.improved if case is not None else None,
        "worse_examples": [_flip(one) for one in worse],
        "better_examples": [_flip(one) for one in better],
        "found": notes,
        "seconds": round(outcome.seconds, 3),
    }


def _flip(flip: Flip) -> dict[str, Any]:
    return {"example": flip.index, "base": flip.base, "candidate": flip.candidate, "text": flip.text}


def _plain(value: Any) -> Any:
    """A JSON value without numbers that JSON cannot say."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
