"""The family of a run: who is in it, who comes from whom, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.ledger import DerivedRow, ReleaseRow
from coordinator.web.family_svg import family_svg
from coordinator.web.pages.lineage import Choice, Kin, Said, family_of, kin_of
from seeded_run import SeededRun, seeded_run
from web_pages import Pages, read_html


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SeededRun:
    return seeded_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def pages(run: SeededRun) -> Pages:
    return Pages(run.state())


def release(version: str, parent: str | None, seq: int, **more: object) -> ReleaseRow:
    fields: dict[str, object] = {
        "version": version,
        "seq": seq,
        "parent": parent,
        "model_digest": "b3:" + "0" * 64,
        "manifest_digest": "b3:" + "1" * 64,
        "round": seq,
        "bump": "patch",
        "reason": "",
        "keyframe": None,
        "patch": None,
        "state_digest": None,
        "created_at_ms": seq * 1000,
        "summary": {"loss": {"effect": -0.1}},
    }
    return ReleaseRow(**(fields | more))  # type: ignore[arg-type]


def derived(name: str, parent: tuple[str, str], seq: int) -> DerivedRow:
    digest = "b3:" + f"{seq:064d}"
    return DerivedRow(name, "1.0.0", seq, digest, digest, 100, *parent, "imported", seq * 1000)


RELEASES = [
    release("0.1.0", None, 1, summary={}),
    release("0.1.1", "0.1.0", 2),
    release("0.1.2", "0.1.1", 3, yanked="it repeats itself"),
    release("1.0.0", "0.1.2", 5, summary={"loss": {"accepted": "worth it"}}),
]
DERIVED = [derived("chat", ("lm", "0.1.1"), 4), derived("chat-small", ("chat", "1.0.0"), 6)]
SAID = {"chat": Said("fine-tune", "MIT"), "chat-small": Said("quantised", "Apache-2.0")}


def everybody() -> list[Kin]:
    return kin_of(RELEASES, DERIVED, lambda row: SAID[row.name], run="lm", licence="Apache-2.0", reverted=["0.1.1"])


def test_everybody_is_there_in_the_order_in_which_they_were_made() -> None:
    found = {kin.label: (kin.relation, kin.parent, kin.verdict) for kin in everybody()}
    assert list(found) == ["0.1.0", "0.1.1", "0.1.2", "chat 1.0.0", "1.0.0", "chat-small 1.0.0"]
    assert found == {
        "0.1.0": ("release", None, "untested"),
        "0.1.1": ("release", "0.1.0", "reverted"),
        "0.1.2": ("release", "0.1.1", "yanked"),
        "chat 1.0.0": ("fine-tune", "0.1.1", "untested"),
        "1.0.0": ("release", "0.1.2", "accepted"),
        "chat-small 1.0.0": ("quantised", "chat 1.0.0", "untested"),
    }


def test_who_is_chosen_hangs_below_the_nearest_ancestor_who_is_chosen_too() -> None:
    family = family_of(everybody(), Choice(licence="Apache-2.0"))
    assert [kin.label for kin in family.kin] == ["chat-small 1.0.0", "1.0.0", "0.1.2", "0.1.1", "0.1.0"]
    assert family.ancestors["chat-small 1.0.0"] == "0.1.1"
    assert family.drawn.places["chat-small 1.0.0"][1] == 2
    few = family_of(everybody(), Choice(verdict="untested"))
    assert few.ancestors == {"chat 1.0.0": "0.1.0", "chat-small 1.0.0": "chat 1.0.0"}


def test_there_is_to_choose_what_there_is() -> None:
    family = family_of(everybody(), Choice(relation="pruned"))
    assert family.kin == ()
    assert (family.total, family.relations) == (6, ("release", "fine-tune", "quantised"))
    assert family.licences == ("Apache-2.0", "MIT")
    assert family.verdicts == ("accepted", "reverted", "yanked", "untested")


def test_of_very_many_the_newest_are_shown() -> None:
    many = [Kin(f"0.0.{number}", "release", None, "", "passed", number, "/") for number in range(2100)]
    family = family_of(many, Choice())
    assert (len(family.kin), family.total, family.kin[0].label) == (2000, 2100, "0.0.2099")


def test_the_drawing_has_a_box_for_everybody_and_parents_below() -> None:
    page = read_html(str(family_svg(family_of(everybody(), Choice()))))
    boxes = {one.attributes["aria-label"].split(",")[0]: one for one in page.all("a")}
    assert set(boxes) == {kin.label for kin in everybody()}
    tops = dict(zip(boxes, (float(one.attributes["y"]) for one in page.all("rect")), strict=True))
    assert tops["chat-small 1.0.0"] < tops["chat 1.0.0"] < tops["0.1.1"] < tops["0.1.0"]
    assert len(page.all("polyline")) == 5
    assert boxes["chat 1.0.0"].attributes["href"] == "#chat-1.0.0"


def test_the_page_shows_the_family_and_the_same_as_a_table(run: SeededRun, pages: Pages) -> None:
    page = pages.html("/lineage")
    releases = run.ledger.releases()
    assert len(page.all("rect")) == len(releases)
    rows = [one.attributes["href"] for one in page.all("a") if one.attributes["href"].startswith("/releases/")]
    assert len(rows) == 2 * len(releases)  # in the drawing and in the table
    assert "lineage" in page.one("a", aria_current="page").text.lower()
    few = pages.html("/lineage?verdict=yanked")
    assert len(few.all("rect")) == sum(row.yanked is not None for row in releases) > 0
    assert few.one("option", selected="").text == "yanked"


def test_what_nobody_is_gives_a_page_that_says_so(pages: Pages) -> None:
    page = pages.html('/lineage?licence=%3Cscript%3E"')
    assert "No model is of that kind." in page.one("main").text
    assert not page.all("svg", id="family")


def test_a_manifest_that_cannot_be_read_leaves_its_model_in_the_family(tmp_path: Path) -> None:
    kin = kin_of([], DERIVED[:1], lambda row: Said(), run="lm", licence="", reverted=[])
    assert (kin[0].relation, kin[0].licence) == ("other", "")
