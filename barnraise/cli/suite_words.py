"""A run of a suite in words, for a terminal of 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from barnraise.cli.output import WIDTH, field, table, wrapped
from coordinator.acceptance.reports.report import flips

if TYPE_CHECKING:
    from coordinator.acceptance.reports.report import Flip, Report
    from coordinator.acceptance.run_suite import Contender, Outcome

__all__ = ["number", "words"]

NAME_MIN = 12
SHOWN = 3


def words(report: Report) -> list[str]:
    """What was tested, a row a test, what went wrong and where, and the verdict at the end."""
    run = report.run
    lines = [
        *field("suite", f"{report.label}, {_cut(run.suite.digest)}, {len(run.outcomes)} tests"),
        *field("model", _model(run.candidate)),
        *field("against", _model(run.base) if run.base is not None else "nothing"),
        *(line for note in report.notes for line in field("note", note)),
        "",
        *_rows(run.outcomes),
    ]
    for outcome in run.outcomes:
        if outcome.state in ("failed", "crashed", "skipped"):
            lines += ["", *_why(outcome)]
    verdict = {True: "passed", False: "failed", None: "not judged"}[run.verdict.passed if run.verdict else None]
    if run.failed and run.verdict is None:
        verdict = "failed"
    return [*lines, "", *wrapped(f"{verdict}: {_short(report)}", "  ")]


def number(value: float) -> str:
    """A number in few letters: 3.142, 12,345, 12.3M."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.1f}M" if size < 1e9 else f"{value / 1e9:.1f}G"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if size >= 0.01 or value == 0 else f"{value:.2g}"


def _short(report: Report) -> str:
    """The reason without what stands above already."""
    run = report.run
    if run.verdict is None or run.verdict.passed:
        return run.reason
    supported = sum(one.test.supported and one.state != "skipped" for one in run.outcomes)
    names = ", ".join(one.test.name for one in run.failed)
    return f"{len(run.failed)} of {supported} supported tests are not shown to be non-inferior: {names}"


def _model(contender: Contender) -> str:
    return f"{contender.label}, {_cut(contender.digest)}"


def _cut(digest: str) -> str:
    return f"{digest[:15]}.."


def _rows(outcomes: tuple[Outcome, ...]) -> list[str]:
    judged = any(outcome.base is not None for outcome in outcomes)
    cells = [_cells(outcome, judged=judged) for outcome in outcomes]
    confidences = {one.case.confidence for one in outcomes if one.case is not None and one.case.method != "rule"}
    at = f"{confidences.pop():.0%} " if len(confidences) == 1 else ""
    header: tuple[str, ...]
    if judged:
        header = (" N", " BASE", " MODEL", " EFFECT", f" {at}INTERVAL", " P", "VERDICT")
    else:
        header = (" N", " MODEL", "UNIT", "")
    widths = [max(len(row[column].strip()) for row in [header, *cells]) for column in range(len(header))]
    room = max(NAME_MIN, WIDTH - sum(widths) - 2 * len(widths))
    names = [_fit(outcome.test.name, room) for outcome in outcomes]
    return table(("TEST", *header), [(name, *row) for name, row in zip(names, cells, strict=True)])


def _cells(outcome: Outcome, *, judged: bool) -> tuple[str, ...]:
    found, base, case = outcome.candidate, outcome.base, outcome.case
    count = f"{len(found.values_N):,}" if found is not None else "-"
    mean = number(float(found.values_N.mean())) if found is not None else "-"
    state = outcome.state if outcome.test.supported or outcome.state == "skipped" else f"({outcome.state})"
    if not judged:
        return (count, mean, outcome.metric.unit, "" if outcome.state == "measured" else state)
    before = number(float(base.values_N.mean())) if base is not None else "-"
    if case is None or found is None:
        return (count, before, mean, "-", "-", "-", state)
    interval = f"{_signed(case.low)} to {_signed(case.high)}" if case.method != "rule" else "-"
    p = f"{case.p_holm:.2g}" if case.method != "rule" else "-"
    return (count, before, mean, _signed(case.effect), interval, p, state)


def _signed(value: float) -> str:
    return number(value) if value < 0 else f"+{number(value)}"


def _fit(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 2]}.."


def _why(outcome: Outcome) -> list[str]:
    note = "" if outcome.test.supported or outcome.state == "skipped" else " (not supported, only reported)"
    lines = wrapped(f"{outcome.state}{note}: {outcome.reason}", "  ")
    worse, _ = flips(outcome)
    for flip in worse[:SHOWN]:
        lines += _flip(flip, outcome)
    return lines


def _flip(flip: Flip, outcome: Outcome) -> list[str]:
    said = "right -> wrong" if outcome.metric.binary else f"{number(flip.base)} -> {number(flip.candidate)}"
    line = f"  example {flip.index}: {said}"
    if flip.text is None:
        return [line]
    quoted = textwrap.shorten(ascii(flip.text), 2 * (WIDTH - 4), placeholder=" ..")
    return [line, *textwrap.wrap(quoted, WIDTH, initial_indent="    ", subsequent_indent="    ")]
