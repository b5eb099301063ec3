"""A run of a suite as one HTML file: no script, no font, nothing is fetched; light and dark.

Everything from outside (names, reasons, examples) is escaped, and hidden examples are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import numpy as np

from coordinator.acceptance.reports.plots import difference_bins, histogram, interval_row, stretch, tally
from coordinator.acceptance.reports.report import Flip, Report, flips
from coordinator.acceptance.run_suite import Outcome
from coordinator.acceptance.statistics.comparison import worsening
from coordinator.acceptance.verdict import CaseVerdict

__all__ = ["as_html"]

STYLE = Path(__file__).with_name("report.css")
WORDS = {"passed": "passed", "failed": "failed", "crashed": "crashed", "measured": "measured", "skipped": "skipped"}


def as_html(report: Report) -> str:
    """The document."""
    run = report.run
    state, headline = _headline(report)
    parts = [
        f"<header><p class=kicker>acceptance report</p><h1>{_said(run.candidate.label)}</h1>",
        f'<p class="verdict {state}"><strong>{headline}</strong> {_said(_sentence(report))}</p></header>',
        _facts(report),
        *(f"<p class=note>{_said(note)}</p>" for note in report.notes),
        _forest(run.outcomes),
        _table(run.outcomes),
        "<h2>Test by test</h2>",
        *(_details(outcome) for outcome in run.outcomes),
        _foot(report),
    ]
    title = _said(f"{run.candidate.label}: {headline}")
    return (
        "<!doctype html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{STYLE.read_text()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main>\n</body>\n</html>\n"
    )


def _headline(report: Report) -> tuple[str, str]:
    run = report.run
    if run.failed:
        return "failed", "Failed."
    return ("measured", "Not judged.") if run.verdict is None else ("passed", "Passed.")


def _sentence(report: Report) -> str:
    run = report.run
    if run.verdict is None or run.verdict.passed:
        return run.reason[0].upper() + run.reason[1:] + "."
    supported = sum(one.test.supported and one.state != "skipped" for one in run.outcomes)
    names = ", ".join(one.test.name for one in run.failed)
    return f"{len(run.failed)} of {supported} supported tests are not shown to be non-inferior: {names}."


def _facts(report: Report) -> str:
    run = report.run
    rows = [
        ("Model", run.candidate.label, run.candidate.digest),
        ("Against", run.base.label, run.base.digest) if run.base is not None else ("Against", "nothing", ""),
        ("Suite", f"{report.label}, {len(run.outcomes)} tests", run.suite.digest),
    ]
    cells = "".join(
        f"<div><dt>{name}</dt><dd>{_said(value)}<code>{_said(digest)}</code></dd></div>" for name, value, digest in rows
    )
    return f"<dl class=facts>{cells}</dl>"


# -- the effects of all tests against their margins ------------------------------------------


def _forest(outcomes: Iterable[Outcome]) -> str:
    drawn = [(one, one.case) for one in outcomes if one.case is not None and _has_interval(one)]
    if not drawn:
        return ""
    bounds = [_in_margins(one, case) for one, case in drawn]
    reach = stretch([(low, high) for low, _, high in bounds])
    rows = [
        f"<div class=row><span class=name>{_said(one.test.name)}</span>"
        f"{interval_row(low, at, high, reach, one.state)}{_badge(one)}</div>"
        for (one, _), (low, at, high) in zip(drawn, bounds, strict=True)
    ]
    zero, margin = 50.0, 50 + 50 / reach
    axis = (
        '<div class="row axis"><span></span><span class=ticks><span style="left:0">better</span>'
        f'<span style="left:{zero:g}%">0</span><span style="left:{margin:.1f}%">margin</span></span><span></span></div>'
    )
    return (
        "<h2>Effect against margin</h2><p>Change of the mean with its interval, in margins; the shaded part is worse "
        "by more than that. The verdict goes by p, corrected for the number of tests, and can be stricter than the "
        "interval.</p>"
        f"<div class=forest>{''.join(rows)}{axis}</div>"
    )


def _has_interval(outcome: Outcome) -> bool:
    case = outcome.case
    return outcome.state in ("passed", "failed") and case is not None and case.method != "rule" and case.margin > 0


def _in_margins(outcome: Outcome, case: CaseVerdict) -> tuple[float, float, float]:
    """Bounds of the worsening and the worsening, each in margins."""
    found = [case.low / case.margin, case.effect / case.margin, case.high / case.margin]
    low, at, high = [-value for value in reversed(found)] if outcome.metric.higher_is_better else found
    return low, at, high


# -- the table --------------------------------------------------------------------------------


def _table(outcomes: Iterable[Outcome]) -> str:
    heads = ("Test", "n", "Base", "Model", "Effect", "Interval", "Margin", "p", "Verdict")
    head = "".join(f"<th scope=col{'' if name in ('Test', 'Verdict') else ' class=num'}>{name}</th>" for name in heads)
    body = "".join(_row(outcome, heads) for outcome in outcomes)
    return f"<h2>Tests</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(outcome: Outcome, heads: tuple[str, ...]) -> str:
    case = outcome.case if outcome.state in ("passed", "failed") else None
    counted = outcome.candidate is not None
    ruled = case is not None and case.method == "rule"
    unit = f" <small>{_said(outcome.metric.unit)}</small>"
    interval = f"{_signed(case.low)} to {_signed(case.high)}" if case is not None and not ruled else "-"
    cells = [
        f"{len(outcome.candidate.values_N):,}" if outcome.candidate is not None else "-",
        _number(float(outcome.base.values_N.mean())) if outcome.base is not None else "-",
        (_number(float(outcome.candidate.values_N.mean())) if outcome.candidate is not None else "-")
        + (unit if counted else ""),
        _signed(case.effect) if case is not None else "-",
        interval,
        _number(outcome.test.margin) if outcome.test.margin else "-",
        f"{case.p_holm:.2g}" if case is not None and not ruled else "-",
    ]
    told = "".join(
        f'<td class=num data-name="{name}">{cell}</td>' for name, cell in zip(heads[1:-1], cells, strict=True)
    )
    note = "" if outcome.test.supported else "<small>not supported</small>"
    verdict = f"<td data-name=Verdict>{_badge(outcome)}</td>"
    return f"<tr><th scope=row>{_said(outcome.test.name)}{note}</th>{told}{verdict}</tr>"


# -- each test --------------------------------------------------------------------------------


def _details(outcome: Outcome) -> str:
    worse, better = flips(outcome)
    guards = f"<p class=guards>{_said(outcome.test.guards)}</p>" if outcome.test.guards else ""
    parts = [
        guards,
        f"<p>{_said(outcome.reason)}</p>",
        _differences(outcome),
        _examples(outcome, worse, "got worse"),
        _examples(outcome, better, "got better"),
        _notes(outcome),
    ]
    opened = " open" if outcome.state in ("failed", "crashed") else ""
    kind = f"<small>{_said(outcome.test.kind)}</small>"
    summary = f"<summary><span>{_said(outcome.test.name)} {kind}</span>{_badge(outcome)}</summary>"
    return f"<details{opened}>{summary}{''.join(parts)}</details>"


def _differences(outcome: Outcome) -> str:
    """How single examples changed: a bar of what flipped, or a histogram."""
    case, base, candidate = outcome.case, outcome.base, outcome.candidate
    if case is None or base is None or candidate is None or len(base.values_N) < 2 or case.method == "rule":
        return ""
    if outcome.metric.binary:
        both = int(np.count_nonzero((base.values_N > 0) & (candidate.values_N > 0)))
        neither = len(base.values_N) - both - case.worsened - case.improved
        parts = [("better", case.improved), ("same", both), ("faint", neither), ("worse", case.worsened)]
        said = f"{case.improved} gained, {both} right in both, {neither} wrong in both, {case.worsened} lost"
        return f"<figure>{tally(parts)}<figcaption>{said}</figcaption></figure>"
    counts_B, most = difference_bins(worsening(outcome.metric, base.values_N, candidate.values_N))
    lowest, highest = (most, -most) if outcome.metric.higher_is_better else (-most, most)
    ends = f"<span>{_signed(lowest)}</span><span>0</span><span>{_signed(highest)}</span>"
    return (
        f"<figure>{histogram(counts_B)}<div class=ends>{ends}</div><figcaption>Change of each of "
        f"{len(base.values_N):,} examples in {_said(outcome.metric.unit)}: {case.improved:,} got better (left), "
        f"{case.worsened:,} got worse (right)</figcaption></figure>"
    )


def _examples(outcome: Outcome, found: list[Flip], what: str) -> str:
    if not found:
        return ""
    rows = "".join(_example(outcome, one) for one in found)
    count = (outcome.case.worsened if what == "got worse" else outcome.case.improved) if outcome.case else len(found)
    shown = f"the {len(found)} that changed most" if count > len(found) else "all of them"
    opened = " open" if what == "got worse" else ""
    head = f"<summary><span>{count:,} {what} <small>{shown}</small></span></summary>"
    return f"<details class=inner{opened}>{head}<ol class=examples>{rows}</ol></details>"


def _example(outcome: Outcome, flip: Flip) -> str:
    if outcome.metric.binary:
        said = "right to wrong" if flip.base > flip.candidate else "wrong to right"
    else:
        said = f"{_number(flip.base)} to {_number(flip.candidate)} {_said(outcome.metric.unit)}"
    text = f"<pre>{_said(flip.text)}</pre>" if flip.text is not None else "<p class=hidden>not shown: hidden</p>"
    return f"<li><p>example {flip.index}: {said}</p>{text}</li>"


def _notes(outcome: Outcome) -> str:
    """What the kind of test reports beside its numbers, where it is short."""
    if outcome.candidate is None:
        return ""
    items = [
        f"<li>{_said(str(name))}: {_said(_value(value))}</li>"
        for name, value in outcome.candidate.notes.items()
        if isinstance(value, str | int | float) and len(str(value)) <= 200
    ]
    return f"<h3>Also found</h3><ul>{''.join(items)}</ul>" if items else ""


def _foot(report: Report) -> str:
    when = datetime.fromtimestamp(report.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    made = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    alpha = f"chance of passing a worse model at most {report.run.suite.alpha:.0%} over all supported tests"
    return f"<footer>{_said(when)}, {report.seconds:.0f} s; {_said(made)}; {alpha}.</footer>"


def _badge(outcome: Outcome) -> str:
    return f'<span class="badge {outcome.state}">{WORDS[outcome.state]}</span>'


def _value(value: str | float) -> str:
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return (
        f"{value:,.0f}"
        if abs(value) >= 1000
        else f"{value:.3f}"
        if abs(value) >= 0.01 or value == 0
        else f"{value:.2g}"
    )


def _signed(value: float) -> str:
    return f"{_number(value)}" if value < 0 else f"+{_number(value)}"


def _said(text: str) -> str:
    """Escaped, and without characters that could steer a terminal or turn the direction of text."""
    return escape("".join(char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text))
