"""The pages in a real browser: at three widths, in both themes, nothing complains, nothing is cut off, all can be used.

``make test`` takes the narrowest and the widest window and the pages that differ most; ``make browser`` takes
everything, and keeps the screenshots.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser import axe_findings, chromium, serving, visit
from coordinator.ledger.events import RoundMoved
from coordinator.web.operator.token import make_token
from hostile_names import HOSTILE
from seeded_run import NAMES, SeededRun, seeded_run

LONG = bool(os.environ.get("BARNRAISE_BROWSER"))
SHOTS = os.environ.get("BARNRAISE_SCREENSHOTS")
WINDOWS = [(360, "light"), (1440, "dark")]
SHORT = ("run", "releases", "release", "rounds", "round", "culprit", "contributors", "contributor", "lineage", "health")
if LONG:
    WINDOWS = [(width, theme) for width in (360, 768, 1440) for theme in ("light", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeededRun]:
    made = seeded_run(tmp_path_factory.mktemp("browser") / "run")
    yield made
    made.ledger.close()


@pytest.fixture(scope="module")
def url(run: SeededRun) -> Iterator[str]:
    with serving(run.state()) as address:
        yield address


@pytest.fixture(scope="module")
def paths(run: SeededRun) -> dict[str, str]:
    """Name of a screenshot -> path of its page."""
    culprit = next(row.digest for row in run.ledger.updates(state="rejected"))
    late = next(row.digest for row in run.ledger.updates(state="unmerged"))
    found = {
        "run": "/",
        "releases": "/releases",
        "release": "/releases/0.2.3",
        "compared": "/releases/0.2.3?against=0.1.4",
        "yanked": "/releases/0.1.5",
        "rounds": "/rounds",
        "round": "/rounds/7",
        "rejected-round": "/rounds/9",
        "round-now": "/rounds/44",
        "culprit": f"/updates/{culprit}",
        "unmerged": f"/updates/{late}",
        "contributors": "/contributors",
        "lineage": "/lineage",
        "health": "/health",
        "contributor": f"/contributors/{run.key_of('ada')}",
    }
    return found if LONG else {name: found[name] for name in SHORT}


def shot(name: str, tmp_path: Path) -> Path:
    return (Path(SHOTS) if SHOTS else tmp_path) / f"{name}.png"


@pytest.mark.parametrize(("width", "theme"), WINDOWS)
def test_every_page_is_whole_and_open_to_everybody(
    browser: Browser, url: str, paths: dict[str, str], tmp_path: Path, width: int, theme: str
) -> None:
    for name, path in paths.items():
        with visit(browser, url + path, width=width, theme=theme) as seen:
            expect(seen.page.locator("#live")).to_have_text("live")
            if name == "run":
                expect(seen.page.locator(".uplot")).to_have_count(6)
            seen.screenshot(shot(f"{name}-{width}-{theme}", tmp_path))
            assert seen.overflow() <= 0, f"{path} is {seen.overflow()} pixels too wide at {width}"
            assert seen.complaints == [], path
            assert seen.refused() == [], path
            if LONG or width == 360:
                assert axe_findings(seen.page) == [], path


def test_refusals_look_like_the_rest(browser: Browser, url: str, tmp_path: Path) -> None:
    for name, path in (("no-page", "/nothing/here"), ("no-release", "/releases/9.9.9")):
        with visit(browser, url + path, width=360) as seen:
            seen.screenshot(shot(name, tmp_path))
            assert seen.overflow() <= 0
            assert axe_findings(seen.page) == []
            assert seen.refused() == []


def test_without_a_script_everything_can_be_read(browser: Browser, url: str, tmp_path: Path) -> None:
    with visit(browser, url, java_script_enabled=False) as seen:
        page = seen.page
        assert page.locator(".curve-svg").count() == 6
        assert page.locator("#now table tbody tr").count() == 5
        assert not page.locator("#theme").is_visible()
        assert not page.locator("button[data-copy]").first.is_visible()
        page.locator("#loss summary").click()
        assert page.locator("#loss tbody tr").first.is_visible()
        seen.screenshot(shot("run-without-script", tmp_path))


def test_the_theme_that_was_chosen_stays(browser: Browser, url: str) -> None:
    with visit(browser, url, theme="light") as seen:
        page = seen.page
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_role("button", name="Change to the dark theme").click()
        dark = page.evaluate(ground)
        assert dark != light
        page.reload()
        assert page.evaluate(ground) == dark
        page.get_by_role("button", name="Change to the light theme").click()
        assert page.evaluate("localStorage.length") == 0
        assert seen.complaints == []


def test_a_line_can_be_copied(browser: Browser, url: str) -> None:
    with visit(browser, url, permissions=["clipboard-read", "clipboard-write"]) as seen:
        seen.page.locator("button[data-copy=join-line]").click()
        expect(seen.page.locator("button[data-copy=join-line]")).to_have_text("Copied")
        assert seen.page.evaluate("navigator.clipboard.readText()") == f"barnraise join {url}"


def test_keys_lead_past_the_menu_and_the_focus_can_be_seen(browser: Browser, url: str) -> None:
    with visit(browser, url) as seen:
        page = seen.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["y"] >= 0  # type: ignore[index]
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_curve_can_be_read_point_by_point_over_releases_and_over_time(browser: Browser, url: str) -> None:
    with visit(browser, url) as seen:
        page = seen.page
        over = page.locator("#loss .u-over")
        over.hover(position={"x": 10, "y": 40})
        expect(page.locator("#loss .readout")).to_have_text(re.compile(r"0\.1\.0: 4\.\d+ bits/byte, .* UTC"))
        page.get_by_role("button", name="by time").click()
        page.locator("#loss .u-over").hover(position={"x": 1, "y": 40})
        expect(page.locator("#loss .readout")).to_have_text(re.compile(r"0\.1\.0: "))
        assert seen.complaints == []


def test_a_page_that_is_open_follows_the_run(browser: Browser, run: SeededRun, url: str) -> None:
    with visit(browser, url) as seen:
        page = seen.page
        expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("#now .now")).to_have_text("collecting")
        run.says(RoundMoved(44, "merging", "2 updates checked, the deadline has passed", {}))
        expect(page.locator("#now .now")).to_have_text("merging")
        assert page.locator(".uplot").count() == 6
        assert seen.complaints == []
        run.says(RoundMoved(44, "collecting", "collects updates to 0.2.18", {}))


def test_hostile_names_are_only_names(browser: Browser, tmp_path: Path) -> None:
    names = tuple(dict.fromkeys(name.encode("utf-8", "replace").decode() for name in (*HOSTILE, *NAMES)))
    run = seeded_run(tmp_path / "run", 0, names)
    for name in names:
        run.leases(1, name)
    whose = names if LONG else names[:2]
    with serving(run.state()) as url:
        for path in ("/contributors", "/", "/rounds/1", *(f"/contributors/{run.key_of(name)}" for name in whose)):
            with visit(browser, url + path, width=360) as seen:
                page = seen.page
                assert page.title() != "broken", path
                assert page.locator("main h1").count() == 1
                assert page.locator("main").locator("script, img, style, base").count() == 0
                assert seen.overflow() <= 0, (path, seen.overflow())
                assert seen.complaints == [], path
                assert seen.refused() == [], path
                if LONG or path == "/contributors":
                    assert axe_findings(page) == [], path
                    seen.screenshot(shot(f"hostile{path.replace('/', '-')[:30]}-360", tmp_path))
    run.ledger.close()


def test_an_operator_signs_in_gives_an_order_and_finds_it_in_the_log(
    browser: Browser, url: str, run: SeededRun, tmp_path: Path
) -> None:
    token = make_token(run.folder)
    with visit(browser, f"{url}/operator?version=0.2.3", width=360) as seen:
        page = seen.page
        page.fill("#token", token)
        page.click("form.sign-in button")
        expect(page.locator("#yank-version")).to_have_value("0.2.3")
        assert axe_findings(page) == []
        page.fill("#yank-reason", "it repeats itself")
        page.locator("form.action", has_text="Yank a release").locator("button").click()
        expect(page.locator("h1")).to_have_text("Yank a release")
        assert axe_findings(page) == []
        page.click("button.danger")
        expect(page.locator("#log")).to_contain_text("yank 0.2.3: it repeats itself")
        seen.screenshot(shot("operator-audit", tmp_path))
        assert axe_findings(page) == []
        assert (seen.overflow(), seen.complaints, seen.refused()) == (0, [], [])
        page.goto(f"{url}/operator")
        page.get_by_role("button", name="Sign out").click()
        expect(page.locator("#token")).to_be_visible()
