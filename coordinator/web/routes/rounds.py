"""``/rounds``, ``/rounds/{number}`` and ``/updates/{digest}``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from barnraise.errors import NotFoundError
from coordinator.history import round_lines, round_record
from coordinator.ledger.events import RoundMerged, RoundMoved, RoundOpened, RoundTested
from coordinator.story import find_update, update_story
from coordinator.web.digits import whole_number
from coordinator.web.pages.rounds import round_line_view, round_view
from coordinator.web.pages.updates import update_view
from coordinator.web.site import Site

__all__ = ["add_round_pages"]

READ = ["GET", "HEAD"]
LISTED = 50
LIFE_MOST = 100
LIFE = [kind.kind for kind in (RoundOpened, RoundMoved, RoundMerged, RoundTested)]


def add_round_pages(app: FastAPI, site: Site) -> None:
    """The list, one page a round, one page an update."""

    @app.api_route("/rounds", methods=READ)
    def rounds(request: Request) -> Response:
        before = request.query_params.get("before", "")
        found = round_lines(site.ledger, _number(before) if before else None, LISTED).rounds
        lines = tuple(round_line_view(line) for line in reversed(found))
        older = lines[-1].number if lines and lines[-1].number > 1 else None
        return site.page(request, "rounds.html", rounds=lines, older=older, tally=site.ledger.pages.tally())

    @app.api_route("/rounds/{number}", methods=READ)
    def one_round(request: Request, number: str) -> Response:
        record = round_record(site.ledger, site.config, _number(number))
        events = site.ledger.events_about(str(record.line.number), LIFE, LIFE_MOST)
        newest = site.ledger.current_round()
        assert newest is not None, "there is a round, so one is the newest"
        return site.page(request, "round.html", round=round_view(record, events, newest.number))

    @app.api_route("/updates/{name}", methods=READ)
    def update(request: Request, name: str) -> Response:
        found = find_update(site.ledger, name)
        if found.digest != name:
            return RedirectResponse(f"/updates/{found.digest}", status_code=302)
        story = update_story(site.ledger, site.config, found.digest)
        return site.page(request, "update.html", update=update_view(story))


def _number(text: str) -> int:
    """The number of a round in an address.

    Raises:
        NotFoundError: it is none.
    """
    number = whole_number(text)
    if number is None:
        raise NotFoundError("the address has no number of a round")
    return number
