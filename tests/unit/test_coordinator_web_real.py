"""The pages of a run that was really played: what a conductor records is what they read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.gateway import GatewayState
from stored_run import CONTRIBUTORS, copied_run
from web_pages import Pages


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[Pages]:
    state = GatewayState.open(copied_run(tmp_path / "run"))
    yield Pages(state)
    state.ledger.close()


def test_every_page_of_it_is_there_and_says_what_happened(pages: Pages) -> None:
    seen, waiting = {}, ["/"]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path] = page = pages.html(path)
            links = [one.attributes["href"].split("#")[0] for one in page.all("a")]
            waiting += [link for link in links if link.startswith("/") and not link.startswith(("/v1", "/metrics"))]
    assert {"/", "/releases/0.1.0", "/releases/0.1.1", "/rounds/1"} < set(seen)
    assert sum(path.startswith("/updates/") for path in seen) == len(CONTRIBUTORS)
    names = {one.text for one in seen["/contributors"].all("bdi")}
    assert names == {name for name, _ in CONTRIBUTORS}
    assert "Passed." in seen["/rounds/1"].one("main").text
    verdict = seen["/releases/0.1.1"].one("table", class_="stack").text
    assert "passed" in verdict
    assert "Alone it changes" in seen[f"/updates/{pages.state.ledger.updates()[0].digest}"].one("main").text
