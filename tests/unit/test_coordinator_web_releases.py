"""The list of releases, each one's page, and two of them compared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnraise.releases.store import BlobStore
from coordinator.web.pages.comparing import path_between
from coordinator.web.pages.tests import REACH_MOST, reach_of, verdict_rows
from seeded_run import NAMES, SeededRun, seeded_run
from web_pages import Html, Pages

ROUNDS = 14
ROW = {"mean": 3.0, "base_mean": 3.1, "effect": -0.1, "low": -0.2, "high": 0.01, "p": 0.001, "margin": 0.05}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededRun]:
    made = seeded_run(tmp_path_factory.mktemp("seeded") / "run", ROUNDS)
    yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def pages(run: SeededRun) -> Pages:
    return Pages(run.state())


# -- verdicts ---------------------------------------------------------------------------------


def test_a_verdict_says_of_every_test_whether_it_is_better_and_in_margins_how_much_worse() -> None:
    rows = {
        "loss": {**ROW, "unit": "bits/byte", "passed": True, "supported": True},
        "hits": {**ROW, "unit": "share", "passed": False, "supported": True, "better": "higher"},
        "speed": {**ROW, "unit": "s", "passed": False, "supported": False, "accepted": "worth it"},
        "first": {"mean": 2.0, "unit": "bits/byte", "supported": True, "effect": 0.0, "base_mean": None},
    }
    found = {row.name: row for row in verdict_rows(rows)}
    assert [row.name for row in verdict_rows(rows)] == ["first", "hits", "loss", "speed"]
    assert (found["loss"].state, found["loss"].is_better) == ("passed", True)
    assert found["loss"].margins == pytest.approx((-4.0, -2.0, 0.2))
    assert (found["hits"].state, found["hits"].is_better) == ("failed", False)
    assert found["hits"].margins == pytest.approx((-0.2, 2.0, 4.0))
    assert found["speed"].state == "accepted"
    assert (found["first"].state, found["first"].effect, found["first"].margins) == ("measured", None, None)
    assert reach_of(verdict_rows(rows)) == pytest.approx(4.6)
    assert reach_of(verdict_rows({"loss": {**ROW, "effect": 9.0}})) <= REACH_MOST


# -- paths between releases -----------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.data())
def test_a_path_leads_from_where_two_releases_meet_to_each_of_them(choices: list[int], data: st.DataObject) -> None:
    parents: dict[str, str | None] = {"v0": None}
    for number, choice in enumerate(choices, start=1):
        parents[f"v{number}"] = f"v{choice % number}"
    one, other = (data.draw(st.sampled_from(sorted(parents))) for _ in range(2))
    path = path_between(parents, one, other)
    assert path.meet is not None
    for end, way in ((one, path.after), (other, path.before)):
        assert (way[-1] if way else path.meet) == end
        steps = [path.meet, *way]
        assert all(parents[after] == before for before, after in pairwise(steps))
    assert not set(path.after) & set(path.before)
    assert path.is_straight == (not path.after or not path.before)


def test_releases_without_a_common_one_have_no_path() -> None:
    path = path_between({"a": None, "b": None}, "a", "b")
    assert (path.meet, path.after, path.before, path.is_straight) == (None, ("a",), ("b",), False)


# -- the pages ----------------------------------------------------------------------------------------


def test_the_list_has_every_release_newest_first_with_what_is_to_be_known(run: SeededRun, pages: Pages) -> None:
    page = pages.html("/releases")
    links = [one.text for one in page.all("a") if one.attributes["href"].startswith("/releases/")]
    assert links == [row.version for row in reversed(run.ledger.releases())]
    marks = {one.text: one.attributes.get("title", "") for one in page.all("span") if "class" in one.attributes}
    assert {"nightly", "stable", "yanked", "promoted"} <= set(marks)
    assert marks["yanked"] == "writes the same line again and again"


def test_older_releases_are_on_pages_of_their_own(run: SeededRun, pages: Pages) -> None:
    second = run.ledger.releases()[1]
    page = pages.html(f"/releases?before={second.seq}")
    assert [one.text for one in page.all("th", scope="row")] == ["0.1.0"]
    assert pages.get("/releases?before=x").status == 404


def test_a_release_has_its_verdict_its_people_its_digests_and_its_card(run: SeededRun, pages: Pages) -> None:
    row = run.ledger.releases()[3]
    page = pages.html(f"/releases/{row.version}")
    text = page.one("main").text
    assert [one.text for one in page.all("span", class_="badge")].count("passed") == 5
    assert all(digest in text for digest in (row.model_digest, row.manifest_digest))
    assert f"barnraise pull stdlib-lm@{row.version} --from http://test" in text
    given = [one for one in page.all("a") if one.attributes["href"].startswith("/updates/")]
    assert len(given) == len(run.ledger.updates(round=row.round))
    assert "A byte-level model of the standard library." in page.one("pre").text
    assert "made from" in text
    assert "led to" in text


def test_a_channel_leads_to_its_release(run: SeededRun, pages: Pages) -> None:
    answer = pages.get("/releases/nightly")
    assert (answer.status, answer.headers["location"]) == (302, f"/releases/{run.version}")


def test_two_releases_are_compared(run: SeededRun, pages: Pages) -> None:
    versions = [row.version for row in run.ledger.releases()]
    page = pages.html(f"/releases/{versions[4]}?against={versions[1]}")
    section = page.one("section", class_="compared").text
    assert "3 releases apart, in one line" in section
    sizes = [row.patch["size_bytes"] for row in run.ledger.releases()[2:5] if row.patch]
    assert f"fetches {round(sum(sizes) / 1000)} kB of patches" in section
    people = [one for one in page.all("bdi") if one.text in NAMES]
    assert people
    back = pages.html(f"/releases/{versions[1]}?against={versions[4]}").one("section", class_="compared").text
    assert f"{versions[4]} is the later one" in back
    assert pages.get(f"/releases/{versions[1]}?against=9.9.9").status == 404


def test_a_release_that_is_not_there_says_which_is(run: SeededRun, pages: Pages) -> None:
    answer = pages.get("/releases/9.9.9")
    assert answer.status == 404
    assert f"the newest is {run.version}" in answer.body.decode()


def test_a_release_that_is_being_written_says_when_to_come_back(tmp_path: Path) -> None:
    run = seeded_run(tmp_path / "run", 1)
    newest = run.ledger.newest_release()
    assert newest is not None
    BlobStore(run.folder.public).path(newest.manifest_digest).unlink()
    pages = Pages(run.state())
    answer = pages.get(f"/releases/{newest.version}")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "is being written" in answer.body.decode()
    assert pages.get("/").status == 200
    assert pages.get("/releases").status == 200
    run.ledger.close()


def test_every_page_is_labelled(run: SeededRun, pages: Pages) -> None:
    for path in ("/releases", f"/releases/{run.version}", f"/releases/{run.version}?against=0.1.0"):
        well_labelled(pages.html(path))


def well_labelled(page: Html) -> None:
    assert len(page.all("h1")) == 1
    assert len(page.all("table")) == len(page.all("caption"))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    for section in page.all("section"):
        assert section.attributes["aria-labelledby"] in ids
