"""A run of a suite as JUnit XML, as CI systems read it: one test case a test.

    passed, measured          a test case
    failed, supported         with a <failure>
    failed, not supported     with <skipped>: it is reported and promises nothing
    crashed                   with an <error>; with <skipped> where it is not supported
    skipped                   with <skipped>

Source: the schema that Jenkins publishes for its xunit plugin (testsuites, testsuite, properties,
testcase, and one of failure, error and skipped), which other CI systems read as well.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree

from coordinator.acceptance.reports.report import Report, flips
from coordinator.acceptance.run_suite import Outcome

__all__ = ["as_junit"]

# What XML 1.0 can say; anything else is no document, however it is escaped.
_UNSAYABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_junit(report: Report) -> bytes:
    """The document, UTF-8."""
    run = report.run
    told = {one.test.name: _element(one) for one in run.outcomes}
    counts = {
        "tests": len(run.outcomes),
        **{kind + end: sum(tag == kind for tag in told.values()) for kind, end in _COUNTED.items()},
    }
    shared = {**{name: str(count) for name, count in counts.items()}, "time": f"{report.seconds:.3f}"}
    top = ElementTree.Element("testsuites", {"name": "barnraise test", **shared})
    when = datetime.fromtimestamp(report.at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    suite = ElementTree.SubElement(top, "testsuite", {"name": _said(report.label), **shared, "timestamp": when})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _said(value)})
    for outcome in run.outcomes:
        _case(suite, report, outcome, told[outcome.test.name])
    ElementTree.indent(top)
    document: bytes = ElementTree.tostring(top, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


_COUNTED = {"failure": "s", "error": "s", "skipped": ""}


def _element(outcome: Outcome) -> str:
    """What stands in a test case, by its name; empty for nothing."""
    if outcome.state == "skipped" or (outcome.state in ("failed", "crashed") and not outcome.test.supported):
        return "skipped"
    return {"failed": "failure", "crashed": "error"}.get(outcome.state, "")


def _case(suite: ElementTree.Element, report: Report, outcome: Outcome, tag: str) -> None:
    names = {"classname": _said(report.label), "name": outcome.test.name, "time": f"{outcome.seconds:.3f}"}
    case = ElementTree.SubElement(suite, "testcase", names)
    if tag:
        message = outcome.reason if outcome.test.supported else f"not supported, only reported: {outcome.reason}"
        attributes = {"message": _said(message)}
        if tag != "skipped":
            attributes["type"] = "AcceptanceError" if tag == "error" else "not-shown-to-be-non-inferior"
        found = ElementTree.SubElement(case, tag, attributes)
        if tag == "failure":
            found.text = _said("\n".join([outcome.reason, *_examples(outcome)]))
    else:
        ElementTree.SubElement(case, "system-out").text = _said(outcome.reason)


def _examples(outcome: Outcome) -> list[str]:
    worse, _ = flips(outcome)
    return [
        f"example {one.index}: {one.base:.4g} -> {one.candidate:.4g} {outcome.metric.unit}"
        + (f": {one.text}" if one.text is not None else "")
        for one in worse
    ]


def _properties(report: Report) -> dict[str, str]:
    run = report.run
    found = {
        "suite.digest": run.suite.digest,
        "suite.alpha": f"{run.suite.alpha:g}",
        "candidate": run.candidate.label,
        "candidate.digest": run.candidate.digest,
        "verdict": {True: "passed", False: "failed", None: "none"}[run.verdict.passed if run.verdict else None],
        "reason": run.reason,
    }
    if run.base is not None:
        found |= {"base": run.base.label, "base.digest": run.base.digest}
    found |= {f"version.{name}": version for name, version in report.versions.items()}
    return found | {f"note.{number}": note for number, note in enumerate(report.notes, 1)}


def _said(text: str) -> str:
    return _UNSAYABLE.sub("?", text)
