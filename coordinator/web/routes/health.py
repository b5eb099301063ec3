"""``/health``: is the run well, and what is to be done if not."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from coordinator.web.pages.health import health_view
from coordinator.web.site import Site

__all__ = ["add_health_pages"]

RUN = "RUN"
"""What commands call the run folder: where it lies is nobody's business who is not on that machine."""


def add_health_pages(app: FastAPI, site: Site) -> None:
    """One page, of the numbers that are scraped too."""

    @app.api_route("/health", methods=["GET", "HEAD"])
    def health(request: Request) -> Response:
        view = health_view(site.readings(), site.now_ms(), RUN)
        told = site.swarm()
        swarm = told.line(site.now_ms()) if told is not None else ""
        return site.page(request, "health.html", health=view, run_folder=RUN, swarm=swarm)
