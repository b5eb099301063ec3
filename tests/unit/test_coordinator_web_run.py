"""The first page: what is told of model, curves, round and bytes, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.ledger import Tally
from coordinator.ledger.page_reads import Counted
from coordinator.web.curves import CurveBook, Judged, curves, held_out
from coordinator.web.drawing import curve_svg, thinned
from coordinator.web.pages.run import traffic
from hostile_names import HOSTILE, SCRIPTS
from seeded_run import NAMES, SeededRun, seeded_run
from web_pages import Html, Pages, read_html

ROUNDS = 14


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededRun]:
    made = seeded_run(tmp_path_factory.mktemp("seeded") / "run", ROUNDS)
    yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def page(run: SeededRun) -> Html:
    return Pages(run.state()).html("/")


def model(at_ms: int, accepted: bool = True, **means: float) -> Judged:
    units = {name: "share" if name == "hits" else "bits/byte" for name in means}
    return Judged(at_ms, f"v{at_ms}", at_ms, accepted, means, units, frozenset({"hits"} & set(means)))


# -- curves -------------------------------------------------------------------------------------


def test_a_curve_has_every_model_that_has_its_test_where_it_stands_in_time() -> None:
    seen = [model(1, a=3.0), model(2, False, a=9.0, hits=0.1), model(3, a=2.0, hits=0.5)]
    one, hits = curves(seen)
    assert (one.name, one.places, one.values, one.rejected, one.gain) == ("a", (0, 1, 2), (3.0, 9.0, 2.0), 1, 1.0)
    assert (hits.places, hits.released, hits.gain, hits.higher_is_better) == ((1, 2), [0.5], None, True)


def test_the_held_out_loss_is_the_mean_of_the_losses_and_of_nothing_else() -> None:
    loss = held_out([model(1, a=3.0), model(2, a=2.0, b=4.0, hits=0.5), model(3, False, a=1.0, b=1.0)])
    assert loss is not None
    assert (loss.of, loss.values, loss.places) == (("a", "b"), (3.0, 1.0), (1, 2))
    assert held_out([model(1, hits=0.5)]) is None
    assert held_out([]) is None
    assert curves([]) == ()


def test_what_was_read_once_is_read_no_more_and_what_is_new_is_added(run: SeededRun) -> None:
    book = CurveBook(run.ledger)
    seen = book.read().judged
    assert [point.accepted for point in seen].count(False) == 1  # round 9
    assert len(seen) == ROUNDS + 1
    assert list(seen) == sorted(seen, key=lambda point: point.at_ms)
    assert book.read() is book.read()
    fresh = CurveBook(run.ledger).read().judged
    assert fresh == seen


@given(st.integers(0, 2000), st.integers(2, 100))
def test_a_long_curve_is_thinned_evenly_and_keeps_its_ends(count: int, most: int) -> None:
    kept = thinned(count, most)
    assert len(kept) == min(count, most)
    assert kept == sorted(set(kept))
    assert not count or (kept[0], kept[-1]) == (0, count - 1)


def test_a_picture_has_no_style_of_its_own_and_stays_inside(run: SeededRun) -> None:
    for curve in CurveBook(run.ledger).read().curves:
        picture = read_html(str(curve_svg(curve)))
        for mark in picture.all("line"):
            assert 0 <= float(mark.attributes["x1"]) <= 1000
            assert 0 <= float(mark.attributes["y1"]) <= 200
        assert "style" not in str(curve_svg(curve))


def test_a_single_release_has_a_picture_too() -> None:
    (curve,) = curves([model(1, a=3.0)])
    assert "dot" in curve_svg(curve)


# -- the page -------------------------------------------------------------------------------------


def test_the_page_says_how_to_pull_and_how_to_join(run: SeededRun, page: Html) -> None:
    assert page.one("a", class_="version").text == run.version
    assert page.one("code", id="pull-line").text.startswith(
        f"barnraise pull stdlib-lm@{run.version} --from http://test "
    )
    assert page.one("code", id="join-line").text == "barnraise join http://test"


def test_every_test_has_a_curve_with_a_table_that_says_the_same(run: SeededRun, page: Html) -> None:
    names = [plot.attributes["data-curve"] for plot in page.all("div", class_="plot")]
    assert names == ["held-out loss", "loss-concurrency", "loss-system", "loss-text", "loss-tools", "next-byte"]
    captions = [one.text for one in page.all("caption")]
    assert all(any(caption.startswith(f"{name},") for caption in captions) for name in names)
    data = json.loads(Pages(run.state()).get("/data/curves.json").body)
    assert [curve["name"] for curve in data["curves"]] == names
    assert data["accepted"].count(False) == 1
    for curve in data["curves"]:
        assert len(curve["values"]) == len(curve["places"]) == len(data["labels"])


def test_the_round_now_tells_who_trains_who_delivered_and_who_was_too_slow(page: Html) -> None:
    section = page.one("section", id="now").text
    assert f"Round {ROUNDS + 1} now" in section
    assert "2 of 4 updates delivered, 2 in training" in section
    assert "min" in section
    states = [one.text for one in page.all("span", class_="badge")]
    assert sorted(states) == ["checked", "checked", "expired", "training", "training"]
    assert page.one("li", aria_current="step").text == "collecting"


def test_before_anything_happened_the_page_says_so(tmp_path: Path) -> None:
    run = seeded_run(tmp_path / "run", 0)
    text = Pages(run.state()).html("/").one("main").text
    assert "0.1.0" in text
    assert "one release so far" in text
    run.ledger.close()


def test_bytes_are_compared_with_whole_models() -> None:
    tally = Tally(1, 1, 1, {}, {"merged": 3, "rejected": 1}, 4000, 0)
    found = traffic(tally, Counted(2, 0, 1000), 1000)
    assert (found.up_dense_bytes, found.up_times, found.down_dense_bytes, found.down_times) == (16_000, 4.0, 8000, 8.0)
    unknown = traffic(replace(tally, updates={}, received_bytes=0), Counted(), None)
    assert (unknown.up_times, unknown.down_times) == (None, None)


def test_every_table_has_a_caption_and_every_figure_a_name(page: Html) -> None:
    assert len(page.all("table")) == len(page.all("caption"))
    assert len(page.all("figure")) == len(page.all("figcaption"))
    assert all(one.attributes.get("datetime") for one in page.all("time"))
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    assert len(ids) == len(set(ids))


# -- hostile names ----------------------------------------------------------------------------------


def test_hostile_names_are_text_on_the_page_and_nothing_else(tmp_path: Path) -> None:
    names = tuple(dict.fromkeys([*HOSTILE, *NAMES]))
    run = seeded_run(tmp_path / "run", 0, tuple(name.encode("utf-8", "replace").decode() for name in names))
    pages = Pages(run.state())
    for name in run.names:
        run.leases(1, name)
    answer = pages.get("/")
    page = read_html(answer.body.decode())
    assert len(answer.body) < 300_000
    assert not [one for one in page.elements if any(name.startswith("on") for name in one.attributes)]
    assert {script.attributes["src"].split(".")[0] for script in page.all("script")} == {
        f"/static/{name}" for name in ("theme", "page", "uPlot", "charts")
    }
    shown = [one.text for one in page.all("bdi")]
    assert len(shown) == len(names) + 5
    for script in SCRIPTS:
        assert any(text.startswith(script.split("\r")[0][:60]) for text in shown), script
    run.ledger.close()
