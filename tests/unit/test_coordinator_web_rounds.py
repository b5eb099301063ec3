"""Pages of rounds, updates and contributors: what became of things, and why, in words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.ledger.events import RoundMerged, UpdateRejected, UpdateUnmerged
from coordinator.web.drawing import strip_svg, value_svg
from seeded_run import POISONER, SeededRun, seeded_run
from web_pages import Pages, read_html

ROUNDS = 14


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededRun]:
    made = seeded_run(tmp_path_factory.mktemp("seeded") / "run", ROUNDS)
    yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def pages(run: SeededRun) -> Pages:
    return Pages(run.state())


# -- rounds -------------------------------------------------------------------------------------


def test_the_list_has_every_round_with_its_outcome(run: SeededRun, pages: Pages) -> None:
    page = pages.html("/rounds")
    assert [one.text for one in page.all("th", scope="row")] == [str(n) for n in range(ROUNDS + 1, 0, -1)]
    badges = [one.text for one in page.all("span", class_="badge")]
    assert badges == [row.phase for row in reversed(run.ledger.rounds())]
    assert [one.text for one in pages.html("/rounds?before=3").all("th", scope="row")] == ["2", "1"]


def test_a_round_is_told_from_its_opening_to_its_end(run: SeededRun, pages: Pages) -> None:
    page = pages.html("/rounds/7")
    life = [one.text for one in page.all("li") if one.attributes.get("class") in {"good", "bad", "plain"}]
    assert "Open, from 0.1.6." in life[0]
    assert any("Tests failed:" in line for line in life)
    assert "Released as 0.1.7." in life[-1]
    fates = [one.text for one in page.all("span", class_="badge")]
    assert fates.count("merged") == 4
    assert fates.count("rejected") == 1
    assert "With it 5 updates fail loss-text, without it 4 pass." in page.one("section", id="updates").text


def test_a_rejected_round_says_which_test_and_that_nobody_is_at_fault(pages: Pages) -> None:
    page = pages.html("/rounds/9")
    assert page.one("h1").text == "Round 9 rejected"
    assert "loss-text is worse by 0.112 bits/byte" in page.one("div", id="head").text
    assert "Not passed." in page.one("section", id="verdict").text
    assert [one.text for one in page.all("span", class_="badge")].count("unmerged") == 4


def test_a_round_that_goes_on_says_so(run: SeededRun, pages: Pages) -> None:
    page = pages.html(f"/rounds/{ROUNDS + 1}")
    assert "goes on" in page.one("div", id="head").text
    assert "Learning rate 0.002" in page.one("div", id="head").text
    assert "Learning rate" not in pages.html("/rounds/7").one("div", id="head").text
    assert not page.all("section", id="verdict")
    assert "Nothing was merged yet" in page.one("section", id="conflicts").text


def test_a_suspicion_takes_no_place_of_the_reason_why_an_update_is_out(tmp_path: Path) -> None:
    run = seeded_run(tmp_path / "run", 1)
    digest = run.ledger.updates(round=2)[0].digest
    row = run.ledger.round(1)
    assert row is not None
    seen = {"label": "copy", "reason": "cosine 0.998 with one"}
    run.says(RoundMerged(2, "2 updates", {**(row.merge or {}), "recognised": {digest: seen}}))
    run.says(UpdateRejected(digest, 2, "culprit-search", "with it 2 updates fail loss-text"))
    text = Pages(run.state()).html("/rounds/2").one("section", id="updates").text
    run.ledger.close()
    assert "May be a copy: cosine 0.998 with one." in text
    assert "With it 2 updates fail loss-text." in text


@pytest.mark.parametrize("path", ["/rounds/99", "/rounds/0", "/rounds/x", "/rounds/9" + "9" * 30, "/rounds?before=-1"])
def test_a_round_that_is_not_there_is_a_page(pages: Pages, path: str) -> None:
    answer = pages.get(path)
    assert answer.status == 404
    read_html(answer.body.decode())


# -- updates ------------------------------------------------------------------------------------


def rejected(run: SeededRun, found_by: str) -> str:
    return next(row.digest for row in run.ledger.updates(state="rejected") if row.found_by == found_by)


def test_the_evidence_for_a_culprit_is_two_sets_that_differ_in_it_alone(run: SeededRun, pages: Pages) -> None:
    page = pages.html(f"/updates/{rejected(run, 'culprit-search')}")
    text = page.one("main").text
    assert "It was found at fault." in text
    assert "5 updates that were merged with it fail; the same without it, 4 updates, pass." in text
    rows = [one.text for one in page.all("td") if one.text in {"among them", "left out"}]
    assert rows == ["among them", "left out", "left out"]


def test_an_update_that_its_check_caught_was_part_of_no_merge(run: SeededRun, pages: Pages) -> None:
    text = pages.html(f"/updates/{rejected(run, 'check')}").one("main").text
    assert "more than 0.3" in text
    assert "It was part of no merge." in text


def test_a_merged_update_says_where_it_is_and_what_it_is_worth_rounded_only(run: SeededRun, pages: Pages) -> None:
    row = run.ledger.updates(round=1)[0]
    text = pages.html(f"/updates/{row.digest}").one("main").text
    assert f"Merged in {row.version}" in text.replace("merged in", "Merged in")
    assert "alone it changes hidden text by" in text.lower()
    value = row.evidence["score"]["value"]
    assert repr(value) not in text
    assert f"{value:.4f}" not in text


def test_a_late_update_says_with_what_it_conflicts(run: SeededRun) -> None:
    digest, _ = run.sent(ROUNDS + 1, "ada")
    agreement = {"overlap": 0.4, "expected_overlap": 0.1, "opposed": 0.7, "cosine": -0.2}
    evidence = {
        "merged_meanwhile": ["0.1.9", "0.1.10"],
        "conflicts": {"overall": agreement, "worst_tensors": [{"tensor": "embedding", "agreement": agreement}]},
    }
    run.says(UpdateUnmerged(digest, ROUNDS + 1, "it came too late", evidence, "late"))
    text = Pages(run.state()).html(f"/updates/{digest}").one("main").text
    assert "While it was made, 0.1.9, 0.1.10 came." in text
    assert "70.0% of that in opposite directions" in text
    assert "adds it to its next update" in text


def test_the_beginning_of_a_digest_leads_to_the_update(run: SeededRun, pages: Pages) -> None:
    digest = run.ledger.updates(round=1)[0].digest
    answer = pages.get(f"/updates/{digest[3:15]}")
    assert (answer.status, answer.headers["location"]) == (302, f"/updates/{digest}")
    for name in ("zz", "b3:" + "0" * 64, "..%2f..", "x" * 5000):
        assert pages.get(f"/updates/{name}").status == 404, name


# -- contributors ---------------------------------------------------------------------------------


def test_the_ranking_is_by_improvement_and_shows_who_is_banned(run: SeededRun, pages: Pages) -> None:
    page = pages.html("/contributors")
    names = [one.text for one in page.all("bdi")]
    assert sorted(names) == sorted(run.names)
    assert names[-1] == POISONER
    assert page.one("span", class_="banned").text == "banned"


def test_a_contributor_is_told_how_its_place_comes_about(run: SeededRun, pages: Pages) -> None:
    key = run.key_of("ada")
    page = pages.html(f"/contributors/{key}")
    text = page.one("main").text
    assert "Place " in text
    assert "against everybody's mean" in text
    given = sum(row.contributor == key for row in run.ledger.updates())
    assert f"{given} leases: {given} brought an update" in text
    assert "The newest went to 2 machines." in text
    assert "The newest went to 1 machine." in pages.html(f"/contributors/{run.key_of('grace')}").one("main").text
    links = [one for one in page.all("a") if one.attributes["href"].startswith("/updates/")]
    assert len(links) == given
    banned = pages.html(f"/contributors/{run.key_of(POISONER)}").one("p", class_="bad").text
    assert "Banned." in banned


def test_no_page_shows_an_exact_hidden_score(run: SeededRun, pages: Pages) -> None:
    scores = [row.evidence["score"] for row in run.ledger.updates() if "score" in row.evidence]
    exact = {f"{score['value']:.6f}"[:-1] for score in scores} | {
        repr(score["hidden"]["change"])[:9] for score in scores
    }
    paths = ["/", "/contributors", *(f"/contributors/{run.key_of(name)}" for name in run.names)]
    paths += [f"/updates/{row.digest}" for row in run.ledger.updates()[:20]] + ["/rounds/7", "/rounds/3"]
    for path in paths:
        body = pages.get(path).body.decode()
        assert not [value for value in exact if value in body], path


def test_the_beginning_of_a_key_leads_to_its_page(run: SeededRun, pages: Pages) -> None:
    key = run.key_of("ada")
    assert pages.get(f"/contributors/{key[:12]}").headers["location"] == f"/contributors/{key}"
    assert pages.get("/contributors/nobody").status == 404


def test_pictures_are_only_marks() -> None:
    assert 'class="good"' in value_svg(0.5, 1.0)
    assert 'class="soft"' in value_svg(-0.5, 1.0)
    assert "rect" not in value_svg(0.0, 0.0)
    assert strip_svg(["good", "", "bad"]).count("<rect") == 3


# -- all pages ---------------------------------------------------------------------------------------


def test_every_page_is_labelled_and_leads_only_to_pages_that_are_there(run: SeededRun, pages: Pages) -> None:
    seen, waiting = set(), ["/"]
    while waiting:
        path = waiting.pop()
        if path in seen or len(seen) > 60:
            continue
        seen.add(path)
        page = pages.html(path)
        assert len(page.all("h1")) == 1, path
        assert len(page.all("table")) == len(page.all("caption")), path
        ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
        assert len(ids) == len(set(ids)), path
        assert all(one.attributes["aria-labelledby"] in ids for one in page.all("section")), path
        links = [one.attributes["href"].split("#")[0] for one in page.all("a")]
        waiting += [
            link for link in dict.fromkeys(links) if link.startswith("/") and not link.startswith(("/v1", "/metrics"))
        ]
    assert {"/", "/releases", "/rounds", "/contributors"} < seen
