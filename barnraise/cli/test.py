"""``barnraise test``: a suite of acceptance tests on a model, as a coordinator runs it."""

# ruff: noqa: PT028  `test` is the name of a command, not of a test

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.cli.output import print_result
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.errors import UsageError

if TYPE_CHECKING:
    from coordinator.acceptance.kept import KeptValues
    from coordinator.acceptance.reports.report import Report
    from coordinator.acceptance.run_suite import SuiteRun
    from coordinator.acceptance.trial import Trial

__all__ = ["test"]

FAILED = 1

Suite = Annotated[str, typer.Argument(metavar="SUITE", help="A TOML file, a shipped suite, or the folder of a run.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="NAME@RANGE, a version, a folder, or an update file.")]
Against = Annotated[str | None, typer.Option("--against", help="What MODEL must not be worse than. Default: its base.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Also write the result as JUnit XML.")]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a report with plots, one file.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure all anew, and keep nothing.")]
Threads = Annotated[
    int, typer.Option("--threads", min=1, help="More are faster; a coordinator has 1, and the last bits may differ.")
]


def test(
    suite: Suite,
    model: Model,
    against: Against = None,
    source: FromOption = None,
    trust: TrustOption = None,
    junit: Junit = None,
    html: Html = None,
    no_cache: NoCache = False,
    threads: Threads = 1,
    as_json: JsonOption = False,
) -> None:
    """Run acceptance tests on a model: the verdict that a coordinator would give.

    Ends with 1 if a supported test fails. What is measured is kept, and not measured again.

    Example: barnraise test stdlib-lm stdlib-lm@nightly --against stdlib-lm@0.1.0
    """
    from barnraise.installation import require

    require("merge")
    for path in (junit, html):
        _check_target(path)
    from barnraise.cli.suite_progress import following, say
    from coordinator.acceptance.run_suite import RunOptions
    from coordinator.acceptance.trial import Asked, prepare

    begin = time.monotonic()
    asked = Asked(suite, model, against, source, trust, lambda: find_source(source))
    trial = prepare(asked, lambda line: say(line, as_json=as_json))
    looks = len(trial.suite.tests) * (1 if trial.base is None else 2)
    with following(looks, as_json=as_json) as watch:
        run = trial.run(RunOptions(None if no_cache else _kept(), watch), threads)
    report = _report(trial, run, time.monotonic() - begin)
    _write(report, junit, html)
    from barnraise.cli.suite_words import words
    from coordinator.acceptance.reports.report import as_json as told

    print_result("test", told(report), as_json=as_json, human="\n".join(words(report)))
    if run.failed:
        raise typer.Exit(FAILED)


def _check_target(path: Path | None) -> None:
    """Refuse a report that could not be written, before anything is measured.

    Raises:
        UsageError: a folder, or a file in a folder that is not there.
    """
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file for the report")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.absolute().parent}; make it first")


def _kept() -> KeptValues:
    """Values that this version measured on this machine before."""
    from barnraise.releases.cache import cache_home
    from coordinator.acceptance.kept import KeptValues

    return KeptValues(cache_home() / "measured" / f"{version('barnraise')}-torch-{version('torch')}")


def _report(trial: Trial, run: SuiteRun, seconds: float) -> Report:
    from barnraise.clock import now_ms
    from coordinator.acceptance.reports.report import Report

    versions = {name: version(name) for name in ("barnraise", "torch", "numpy")}
    versions |= {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    return Report(run, trial.label, trial.notes, versions, seconds, now_ms())


def _write(report: Report, junit: Path | None, html: Path | None) -> None:
    from barnraise.releases.durable import replace_file
    from coordinator.acceptance.reports.html import as_html
    from coordinator.acceptance.reports.junit import as_junit

    if junit is not None:
        replace_file(junit, as_junit(report))
    if html is not None:
        replace_file(html, as_html(report).encode())
