"""``/lineage``: the family of the run's models, with ``?relation=``, ``?licence=`` and ``?verdict=``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from barnraise.errors import StorageError, VerificationError
from barnraise.releases.derived.manifest import read_derived
from barnraise.releases.source import MANIFEST_MAX_BYTES
from coordinator.ledger import DerivedRow
from coordinator.web.family_svg import family_svg
from coordinator.web.pages.lineage import Choice, Said, family_of, kin_of
from coordinator.web.site import Site

__all__ = ["add_lineage_pages"]

ASKED_MOST = 256  # letters of a choice in an address


def add_lineage_pages(app: FastAPI, site: Site) -> None:
    """One page. What a manifest says is read once: manifests never change."""
    known: dict[str, Said] = {}

    def said(row: DerivedRow) -> Said:
        if row.manifest_digest not in known:
            found = _read(site, row)
            if found is None:  # not now; perhaps the next time
                return Said()
            known[row.manifest_digest] = found
        return known[row.manifest_digest]

    @app.api_route("/lineage", methods=["GET", "HEAD"])
    def lineage(request: Request) -> Response:
        ledger = site.ledger
        everybody = kin_of(
            ledger.releases(),
            ledger.derived(),
            said,
            run=site.config.name,
            licence=site.config.licence,
            reverted=[row.version for row in ledger.updates(state="reverted") if row.version],
        )
        asked = {name: request.query_params.get(name, "")[:ASKED_MOST] for name in ("relation", "licence", "verdict")}
        family = family_of(everybody, Choice(**asked))
        return site.page(request, "lineage.html", family=family, drawing=family_svg(family))


def _read(site: Site, row: DerivedRow) -> Said | None:
    """What a derived model's manifest says; None while it cannot be read."""
    try:
        if row.manifest_bytes > MANIFEST_MAX_BYTES:
            return Said()
        manifest = read_derived(site.public.read(row.manifest_digest), f"the manifest of {row.name} {row.version}")
    except (StorageError, VerificationError, OSError):
        return None
    return Said(manifest.lineage.relation, manifest.licence)
