"""The first page, the data of its curves, and the stream that keeps pages fresh."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from coordinator.ledger import Ledger, RoundRow
from coordinator.web.curves import Chapter, Curve
from coordinator.web.headers import SECURITY, kept
from coordinator.web.live import last_seen
from coordinator.web.pages.run import (
    RoundNow,
    happenings,
    lease_views,
    model_view,
    newest_view,
    round_now,
    traffic,
)
from coordinator.web.refusals import Refusal, refuse
from coordinator.web.site import Site

__all__ = ["add_run_pages"]

READ = ["GET", "HEAD"]
LATELY_READ = 120
BUSY_S = 30


def add_run_pages(app: FastAPI, site: Site) -> None:
    """``/``, ``/data/curves.json`` and ``/live``."""

    @app.api_route("/", methods=READ)
    def run(request: Request) -> Response:
        return site.page(request, "run.html", **_run_context(site, request))

    @app.api_route("/data/curves.json", methods=READ)
    def curve_data(request: Request) -> Response:
        return kept(request, as_data(site.book.read()), "application/json")

    @app.get("/live")
    async def live(request: Request) -> Response:
        if site.tail.is_full:
            said = Refusal(503, "Too many watch", "as many pages follow live as may", "Reload instead.", BUSY_S)
            return refuse(site, request, said)
        seen = last_seen(request.headers.get("last-event-id"))
        headers = {**SECURITY, "cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(site.tail.stream(seen), media_type="text/event-stream", headers=headers)


@lru_cache(maxsize=2)
def as_data(chapter: Chapter) -> bytes:
    """The curves as JSON; made once, as long as nothing new was judged."""
    loss = (chapter.loss,) if chapter.loss else ()
    data = {
        "labels": [point.label for point in chapter.judged],
        "at_s": [point.at_ms / 1000 for point in chapter.judged],
        "accepted": [point.accepted for point in chapter.judged],
        "curves": [_curve_json(curve) for curve in (*loss, *chapter.curves)],
    }
    return json.dumps(data, separators=(",", ":")).encode("ascii")


def _curve_json(curve: Curve) -> dict[str, Any]:
    return {"name": curve.name, "unit": curve.unit, "places": curve.places, "values": curve.values}


def _run_context(site: Site, request: Request) -> dict[str, Any]:
    ledger = site.ledger
    newest, current, url = ledger.newest_release(), ledger.current_round(), site.url(request)
    tally = ledger.pages.tally()
    manifest = site.manifest(newest.manifest_digest) if newest else None
    chapter = site.book.read()
    model = model_view(site.config, manifest)
    events = ledger.events_after(max(0, ledger.last_seq() - LATELY_READ), LATELY_READ)
    names = {row.contributor: row.name for row in ledger.contributors()}
    return {
        "model": model,
        "newest": newest_view(newest, ledger.channel_rows(), model.name, url) if newest else None,
        "join": f"barnraise join {url}",
        "tally": tally,
        "loss": chapter.loss,
        "curves": chapter.curves,
        "round": _round_now(ledger, site, current, names) if current else None,
        "traffic": traffic(tally, ledger.pages.patch_total(), model.parameters),
        "lately": happenings(events, names),
    }


def _round_now(ledger: Ledger, site: Site, row: RoundRow, names: dict[str, str]) -> RoundNow:
    now_ms = site.now_ms()
    leases = lease_views(ledger.leases(row.number), ledger.updates(round=row.number), names, now_ms)
    return round_now(row, leases, site.config, now_ms)
