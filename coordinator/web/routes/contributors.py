"""``/contributors`` and ``/contributors/{key}``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from coordinator.contributors import contributor_lines, contributor_record
from coordinator.web.pages.contributors import contributor_view, ranking_view
from coordinator.web.site import Site

__all__ = ["add_contributor_pages"]

READ = ["GET", "HEAD"]
STRIP_ROUNDS = 60


def add_contributor_pages(app: FastAPI, site: Site) -> None:
    """The ranking, and one page a contributor."""

    @app.api_route("/contributors", methods=READ)
    def contributors(request: Request) -> Response:
        return site.page(request, "contributors.html", ranking=ranking_view(contributor_lines(site.ledger)))

    @app.api_route("/contributors/{key}", methods=READ)
    def contributor(request: Request, key: str) -> Response:
        record = contributor_record(site.ledger, key)
        found = record.line.contributor
        if found != key:
            return RedirectResponse(f"/contributors/{found}", status_code=302)
        pages = site.ledger.pages
        leases = pages.lease_counts(found, site.now_ms())
        view = contributor_view(record, leases, pages.newest_round_numbers(STRIP_ROUNDS))
        return site.page(request, "contributor.html", contributor=view)
