"""``/releases`` and ``/releases/{version}``, with ``?against=`` another one."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from barnraise.errors import NotFoundError, VerificationError
from barnraise.releases.lineage import Lineage, read_lineage
from barnraise.releases.manifest import Manifest
from coordinator.ledger import ReleaseRow
from coordinator.web.digits import whole_number
from coordinator.web.pages.comparing import Between, Comparison, compared, path_between
from coordinator.web.pages.release import Beside, around, release_view
from coordinator.web.pages.releases import marks_of, release_lines
from coordinator.web.refusals import Refusal, refuse
from coordinator.web.site import Site

__all__ = ["add_release_pages"]

READ = ["GET", "HEAD"]
LISTED = 100
OFFERED = 500
WRITTEN_S = 5


def add_release_pages(app: FastAPI, site: Site) -> None:
    """The list, and one page each."""

    @app.api_route("/releases", methods=READ)
    def releases(request: Request) -> Response:
        ledger = site.ledger
        rows = ledger.pages.newest_releases(_before(request), LISTED + 1)
        lines = release_lines(rows, ledger.pages.merged(), ledger.channel_rows(), _reverted(site))[:LISTED]
        total = ledger.pages.tally().releases
        older = lines[-1].seq if len(rows) > LISTED else None
        return site.page(request, "releases.html", releases=lines, total=total, older=older)

    @app.api_route("/releases/{version}", methods=READ)
    def release(request: Request, version: str) -> Response:
        row = _find(site, version)
        if row.version != version:
            return RedirectResponse(f"/releases/{row.version}", status_code=302)
        manifest = site.manifest(row.manifest_digest)
        if manifest is None:
            return _being_written(site, request, row)
        against = request.query_params.get("against", "")
        comparison = _compared(site, row, manifest, against) if against else None
        context = _release_context(site, request, row, manifest)
        return site.page(request, "release.html", comparison=comparison, **context)


def _find(site: Site, version: str) -> ReleaseRow:
    """By version, or by the channel that points to it.

    Raises:
        NotFoundError: there is none.
    """
    named = site.ledger.channels().get(version, version)
    row = site.ledger.release(named)
    if row is None:
        newest = site.ledger.newest_release()
        there_is = f"the newest is {newest.version}" if newest else "none was made yet"
        raise NotFoundError(f"there is no release {version[:40]!r}; {there_is}")
    return row


def _being_written(site: Site, request: Request, row: ReleaseRow) -> Response:
    reason = f"release {row.version} is tagged, and its manifest cannot be read at this moment"
    advice = "Right after a release its files are being written; else the store is away for a moment."
    return refuse(site, request, Refusal(503, f"{row.version} is being written", reason, advice, WRITTEN_S))


def _release_context(site: Site, request: Request, row: ReleaseRow, manifest: Manifest) -> dict[str, Any]:
    ledger, name = site.ledger, site.config.name
    parents = ledger.pages.parents()
    children = [version for version, parent in parents.items() if parent == row.version]
    found = [child for version in children if (child := ledger.release(version)) is not None]
    view = release_view(
        row,
        manifest,
        _lineage(site, manifest),
        Beside(
            names=_names(site, [update.contributor for update in manifest.updates]),
            relatives=around(row, name, children, [one.version for one in found if one.reverts], ledger.derived()),
            marks=marks_of(row, ledger.channel_rows(), _reverted(site).get(row.version)),
            card=site.small_text(manifest.card),
            url=site.url(request),
        ),
    )
    others = [version for version in reversed(parents) if version != row.version][:OFFERED]
    return {"release": view, "others": others, "root": site.root_digest()}


def _compared(site: Site, row: ReleaseRow, manifest: Manifest, against: str) -> Comparison | None:
    """Against another release.

    Raises:
        NotFoundError: there is no such release, or its manifest cannot be read.
    """
    other = _find(site, against)
    its = site.manifest(other.manifest_digest)
    if its is None:
        raise NotFoundError(f"the manifest of {other.version} cannot be read at this moment; try again")
    pages = site.ledger.pages
    path = path_between(pages.parents(), row.version, other.version)
    given = pages.merged_by([*path.after, *path.before])
    return compared(row, other, (manifest, its), Between(path, pages.patch_sizes(), given, _names(site, list(given))))


def _lineage(site: Site, manifest: Manifest) -> Lineage | None:
    try:
        text = site.small_text(manifest.lineage)
        return read_lineage(text.encode(), f"the lineage entry of {manifest.version}") if text else None
    except VerificationError:
        return None


def _names(site: Site, keys: list[str]) -> dict[str, str]:
    return {key: row.name for key in set(keys) if (row := site.ledger.contributor(key)) is not None}


def _reverted(site: Site) -> dict[str, str]:
    """Version -> the release that was made without one of its updates."""
    rows = site.ledger.updates(state="reverted")
    return {row.version: row.reverted_in for row in rows if row.version and row.reverted_in}


def _before(request: Request) -> int | None:
    """The event before which to list, from the query; None for the newest.

    Raises:
        NotFoundError: it is no number.
    """
    text = request.query_params.get("before", "")
    if not text:
        return None
    number = whole_number(text)
    if number is None:
        raise NotFoundError("the address has no number after before=; begin with the newest releases")
    return number
