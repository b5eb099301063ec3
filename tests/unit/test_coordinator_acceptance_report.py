"""What is told of a suite that was run: the same facts as words, JSON, JUnit and HTML, and no hidden example."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnraise.cli.suite_words import number, words
from coordinator.acceptance.examples import Examples
from coordinator.acceptance.reports.html import as_html
from coordinator.acceptance.reports.junit import as_junit
from coordinator.acceptance.reports.plots import BINS, difference_bins, histogram, interval_row, stretch, tally
from coordinator.acceptance.reports.report import as_json, flips, quoted
from coordinator.acceptance.run_suite import SuiteRun, run_suite
from suite_runs import SUITE, contender, crashing, examples_of, knowing, report_of, skipping, small_run

FINITE = st.floats(-1e6, 1e6)


def runs() -> dict[str, SuiteRun]:
    """One of every sort."""
    new = contender("new <b> \x1b[31m", knowing(97))
    return {
        "failed": small_run(),
        "passed": small_run(contender("same", knowing(98))),
        "crashed": small_run(crashing(RuntimeError("</script> \x00"))),
        "alone": run_suite(SUITE, new, None, examples_of),
        "skipped": run_suite(SUITE, new, contender("old", knowing(98)), skipping("ends")),
    }


RUNS = runs()
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def all_told(run: SuiteRun) -> dict[str, str]:
    report = report_of(run)
    return {
        "words": "\n".join(words(report)),
        "json": json.dumps(as_json(report), allow_nan=False),
        "junit": as_junit(report).decode(),
        "html": as_html(report),
    }


@every_run
def test_hidden_examples_are_never_shown(run: SuiteRun) -> None:
    for form, text in all_told(run).items():
        assert "secret" not in text, form


def test_examples_that_are_not_hidden_are_shown() -> None:
    for form, text in all_told(RUNS["failed"]).items():
        assert re.search(r"(&lt;i&gt;|<i>)\d", text), form


@every_run
def test_every_test_is_in_every_form(run: SuiteRun) -> None:
    for form, text in all_told(run).items():
        for test in SUITE.tests:
            assert test.name in text, (form, test.name)


def test_flips_are_those_that_the_verdict_names() -> None:
    outcome = RUNS["failed"].outcomes[1]
    worse, better = flips(outcome)
    assert outcome.case is not None
    assert [one.index for one in worse] == list(outcome.case.worst[: len(worse)])
    assert all((one.base, one.candidate) == (1.0, 0.0) for one in worse)
    assert all((one.base, one.candidate) == (0.0, 1.0) for one in better)
    assert flips(RUNS["crashed"].outcomes[0]) == ([], [])
    assert flips(RUNS["alone"].outcomes[0]) == ([], [])


def test_an_example_is_cut() -> None:
    windows = Examples.of_windows(np.full((1, 1000), 97, dtype=np.uint8))
    assert quoted(windows, 0) == ".." + 238 * "a"
    rows = Examples("b3:", None, ({"text": 1000 * "b"}, {"question": "why", "answer": 3}))
    assert quoted(rows, 0) == 238 * "b" + ".."
    assert quoted(rows, 1) == '{"question": "why", "answer": 3}'
    assert quoted(rows, 2) is None


# -- JSON ------------------------------------------------------------------------------------


def test_json_has_the_numbers() -> None:
    told = as_json(report_of(RUNS["failed"]))
    assert (told["passed"], told["suite"]["digest"]) == (False, SUITE.digest)
    row = told["tests"][1]
    case = RUNS["failed"].outcomes[1].case
    assert case is not None
    assert (row["effect"], row["low"], row["high"], row["p_corrected"]) == (
        case.effect,
        case.low,
        case.high,
        case.p_holm,
    )
    assert (row["examples"], row["worsened"], row["improved"]) == (40, case.worsened, case.improved)
    assert {one["text"] for one in told["tests"][2]["worse_examples"] + told["tests"][2]["better_examples"]} == {None}
    assert as_json(report_of(RUNS["alone"]))["passed"] is None


def test_json_says_nothing_that_json_cannot() -> None:
    broken = small_run(contender("nan", np.full_like(knowing(97), np.nan)))
    json.dumps(as_json(report_of(broken)), allow_nan=False)


# -- JUnit -----------------------------------------------------------------------------------


@every_run
def test_junit_counts_what_it_lists(run: SuiteRun) -> None:
    top = ElementTree.fromstring(as_junit(report_of(run)))
    (suite,) = top
    assert (top.tag, suite.tag) == ("testsuites", "testsuite")
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * len(SUITE.tests)
    for one in (top, suite):
        assert int(one.attrib["tests"]) == len(suite.findall("testcase"))
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(one.attrib[name]) == len(suite.findall(f"testcase/{tag}")), name
    for case in suite.findall("testcase"):
        assert {"classname", "name", "time"} == set(case.attrib)
        assert len(case) == 1
        assert case[0].tag == "system-out" or case[0].attrib["message"]
    red = int(suite.attrib["failures"]) + int(suite.attrib["errors"])
    assert (red > 0) == bool(run.failed)


def test_junit_says_what_became_of_each() -> None:
    def tags(name: str) -> list[str]:
        suite = ElementTree.fromstring(as_junit(report_of(RUNS[name])))[0]
        return [case[0].tag for case in suite.findall("testcase")]

    assert tags("failed") == ["failure", "failure", "system-out"]
    assert tags("crashed") == ["error", "error", "skipped"]
    assert tags("skipped") == ["system-out", "skipped", "system-out"]
    assert tags("alone") == ["system-out", "system-out", "system-out"]


# -- HTML ------------------------------------------------------------------------------------

VOID = {"meta", "line", "rect", "polyline", "br"}


class Balanced(HTMLParser):
    """Fails at an element that is not closed, and collects what is referred to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)


@every_run
def test_html_stands_alone(run: SuiteRun) -> None:
    page = as_html(report_of(run))
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []
    assert not parser.tags & {"script", "link", "img", "iframe", "base", "object", "form", "a"}
    assert not parser.attributes & {"src", "href", "srcset"}
    assert not [name for name in parser.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?:", page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page)


def test_html_escapes_what_comes_from_outside() -> None:
    page = as_html(report_of(RUNS["alone"]))
    assert "new &lt;b&gt; \\x1b[31m" in page
    assert "windows were drawn &lt;here&gt;" in page
    assert "plain &lt;text&gt;" in page
    assert "&lt;/script&gt;" in as_html(report_of(RUNS["crashed"]))


@given(st.lists(st.tuples(FINITE, FINITE), max_size=4))
def test_an_axis_shows_a_margin_and_is_bounded(bounds: list[tuple[float, float]]) -> None:
    assert 1 < stretch(bounds) <= 5


@given(FINITE, FINITE, FINITE, st.floats(1.5, 5))
def test_a_row_stays_on_its_axis(low: float, at: float, high: float, reach: float) -> None:
    drawn = interval_row(low, at, high, reach, "passed")
    for place in re.findall(r' x[12]?="([^"]*)"', drawn):
        assert 0 <= float(place) <= 1000
    assert ("off" in drawn) == (abs(at) > reach)


@given(st.lists(FINITE, max_size=50))
def test_every_example_is_in_a_bin(values: list[float]) -> None:
    counts_B, most = difference_bins(np.array(values))
    assert counts_B.sum() == len(values)
    assert len(counts_B) == BINS
    assert most == max((abs(value) for value in values), default=0.0)
    heights = [float(text) for text in re.findall(r'<rect [^>]*height="([^"]*)"', histogram(counts_B))]
    assert all(0 < height <= 100 for height in heights)


def test_a_tally_fills_its_bar() -> None:
    drawn = tally([("better", 1), ("same", 0), ("worse", 3)])
    assert re.findall(r'class="(\w+)" x="([\d.]+)"', drawn) == [("better", "0.0"), ("worse", "250.0")]


# -- words -----------------------------------------------------------------------------------


@every_run
def test_words_fit_a_terminal(run: SuiteRun) -> None:
    for line in words(report_of(run)):
        assert len(line) <= 80, line


def test_words_end_with_the_verdict() -> None:
    last = {name: "\n".join(words(report_of(run))).split("\n\n")[-1] for name, run in RUNS.items()}
    assert last["failed"].startswith("failed: 2 of 2 supported tests are not shown to be non-inferior: loss-text")
    assert last["passed"].startswith("passed: all 2 supported tests are non-inferior")
    assert last["alone"] == "not judged: nothing to compare with: 3 tests were measured"
    assert last["crashed"].startswith("failed: 2 of 2")
    assert last["skipped"].endswith("; not\n  run here: ends")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000"), (3.14159, "3.142"), (-0.5, "-0.500"), (0.0012, "0.0012"), (12345.6, "12,346"), (12.3e6, "12.3M")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
