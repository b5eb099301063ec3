"""The routes below /v1, and how errors leave: ``{"error": {"code", "reason"}}`` with their class's status.

Everything that blocks (ledger, disk, signatures) runs on threads. No documentation pages, no
banner, no echo of what was sent.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from barnraise.digest import digest_bytes, is_digest
from barnraise.errors import BadRangeError, BarnraiseError, NotFoundError, UnknownFieldError
from barnraise.message import Message, Signed
from barnraise.releases.store import BlobStore
from coordinator.beacon.told import read_told, swarm_info
from coordinator.contributors import CONTRIBUTORS_MAX, contributor_lines, contributor_record
from coordinator.gateway.blobs import serve_blob, serve_metadata
from coordinator.gateway.bodies import read_json, require_plain
from coordinator.gateway.counting import CountRequests, note_refusal
from coordinator.gateway.discard import Discarding
from coordinator.gateway.feed import CONTENT_TYPE as ATOM_TYPE
from coordinator.gateway.feed import atom, entries_of
from coordinator.gateway.intake import Intake
from coordinator.gateway.keyring import Keyring
from coordinator.gateway.leasing import Leasing
from coordinator.gateway.state import GatewayState
from coordinator.gateway.views import current_round_info, run_info
from coordinator.history import LINES_MAX, event_told, round_lines, round_record, update_status
from coordinator.metrics import CONTENT_TYPE, GatewayMetrics
from coordinator.story import update_story
from coordinator.web import Sessions, Site, add_pages, cause_of, refusal_of, refuse, wants_page
from coordinator.web.digits import whole_number
from coordinator.web.operator.token import read_token

__all__ = ["create_app"]

READ = ["GET", "HEAD"]
EVENTS_MAX = 500
COUNT_MAX = (1 << 53) - 1


def create_app(state: GatewayState) -> FastAPI:
    """The application of one run; uploads that a crash interrupted are completed first."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    metrics = GatewayMetrics(state.ledger, state.folder, state.now_ms)
    intake = Intake(state)
    intake.recover()
    app.add_middleware(CountRequests, metrics=metrics)
    site = Site(
        state.ledger,
        state.config,
        BlobStore(state.folder.public),
        state.now_ms,
        lambda: state.keys.root_digest,
        metrics.readings,
        state.config.gateway.public_url,
        lambda: read_told(state.folder),
    )
    app.state.site = site
    _answer_errors(app, site)
    _add_run_routes(app, state)
    _add_lease_routes(app, Leasing(state))
    _add_key_routes(app, Keyring(state))
    _add_update_routes(app, state, intake)
    _add_release_routes(app, state)
    _add_watching_routes(app, state, metrics)
    add_pages(app, site, Sessions(lambda: read_token(state.folder), state.now_ms))
    return app


def _add_run_routes(app: FastAPI, state: GatewayState) -> None:
    @app.api_route("/v1/run", methods=READ)
    def run() -> Response:
        newest = state.ledger.newest_release()
        current = current_round_info(state.ledger, state.config, state.now_ms())
        swarm = swarm_info(read_told(state.folder), state.now_ms())
        return _say(run_info(state.config, state.keys, newest.version if newest else None, current, swarm))

    @app.api_route("/v1/round", methods=READ)
    def current_round() -> Response:
        info = current_round_info(state.ledger, state.config, state.now_ms())
        if info is None:
            raise NotFoundError("no round is open yet; the coordinator is starting")
        return _say(info)

    @app.api_route("/v1/rounds", methods=READ)
    def rounds(request: Request) -> Response:
        before = _count(request, "before", COUNT_MAX, COUNT_MAX)
        return _say(round_lines(state.ledger, before, _count(request, "limit", LINES_MAX, LINES_MAX)))

    @app.api_route("/v1/rounds/{number}", methods=READ)
    def one_round(number: str) -> Response:
        wanted = whole_number(number)
        if wanted is None:
            raise NotFoundError("the path has no number of a round")
        return _say(round_record(state.ledger, state.config, wanted))

    @app.api_route("/v1/contributors", methods=READ)
    def contributors(request: Request) -> Response:
        return _say(contributor_lines(state.ledger, _count(request, "limit", CONTRIBUTORS_MAX, CONTRIBUTORS_MAX)))

    @app.api_route("/v1/contributors/{key}", methods=READ)
    def one_contributor(key: str) -> Response:
        return _say(contributor_record(state.ledger, key))

    @app.api_route("/v1/events", methods=READ)
    def events(request: Request) -> Response:
        after = _count(request, "after", 0, COUNT_MAX)
        limit = _count(request, "limit", EVENTS_MAX, EVENTS_MAX)
        return JSONResponse({"events": [event_told(row) for row in state.ledger.events_after(after, limit)]})


def _add_lease_routes(app: FastAPI, leasing: Leasing) -> None:
    @app.post("/v1/leases")
    async def lease(request: Request) -> Response:
        signed = Signed.read(await read_json(request))
        return _say(await run_in_threadpool(leasing.answer, signed))

    @app.post("/v1/leases/release")
    async def release(request: Request) -> Response:
        signed = Signed.read(await read_json(request))
        return _say(await run_in_threadpool(leasing.release, signed))


def _add_key_routes(app: FastAPI, keyring: Keyring) -> None:
    @app.post("/v1/keys/{change}")
    async def change_key(request: Request, change: str) -> Response:
        asked = {"rotations": keyring.rotate, "recoveries": keyring.recover, "objections": keyring.object}.get(change)
        if asked is None:
            raise NotFoundError("keys change by rotations, recoveries and objections")
        return _say(await run_in_threadpool(asked, Signed.read(await read_json(request))))

    @app.api_route("/v1/keys/{key}", methods=READ)
    def key_history(key: str) -> Response:
        if not is_digest(f"b3:{key}"):
            raise NotFoundError("the path has no key of 64 hex digits")
        return _say(keyring.history(key))


def _add_update_routes(app: FastAPI, state: GatewayState, intake: Intake) -> None:
    discarding = Discarding(state.now_ms)

    @app.post("/v1/updates")
    async def announce(request: Request) -> Response:
        return _say(await intake.announce(Signed.read(await read_json(request))))

    @app.put("/v1/updates/{digest}/bytes")
    async def receive(request: Request, digest: str) -> Response:
        require_plain(request)
        if not is_digest(digest):
            raise NotFoundError("the path has no digest of the form b3:<64 hex>")
        offset = _count(request, "offset", None, COUNT_MAX)
        length = whole_number(request.headers.get("content-length", ""))
        return _say(await intake.receive(digest, offset, length, request.stream()))

    @app.post("/v1/discard")
    async def discard(request: Request) -> Response:
        require_plain(request)
        length = whole_number(request.headers.get("content-length", ""))
        return _say(await discarding.take(length, request.stream()))

    @app.api_route("/v1/updates/{digest}", methods=READ)
    def status(digest: str) -> Response:
        row = state.ledger.update(digest) if is_digest(digest) else None
        return _say(update_status(row, state.config))

    @app.api_route("/v1/updates/{name}/story", methods=READ)
    def story(name: str) -> Response:
        return _say(update_story(state.ledger, state.config, name))


def _add_release_routes(app: FastAPI, state: GatewayState) -> None:
    public = BlobStore(state.folder.public)

    @app.api_route("/v1/releases/metadata/{name}", methods=READ)
    def metadata(request: Request, name: str) -> Response:
        return serve_metadata(request, state.folder.public / "metadata", name)

    @app.api_route("/v1/releases/targets/{name}", methods=READ)
    def targets(request: Request, name: str) -> Response:
        return serve_metadata(request, state.folder.public / "targets", name)

    @app.api_route("/v1/releases/blobs/{head}/{tail}", methods=READ)
    def blob(request: Request, head: str, tail: str) -> Response:
        return serve_blob(request, public, f"b3:{head}{tail}" if len(head) == 2 else "")


def _add_watching_routes(app: FastAPI, state: GatewayState, metrics: GatewayMetrics) -> None:
    @app.api_route("/v1/health", methods=READ)
    def health() -> Response:
        return JSONResponse({"status": "ok", "run": state.config.name, "seq": state.ledger.last_seq()})

    @app.api_route("/releases.atom", methods=READ)
    def feed(request: Request) -> Response:
        base_url = str(state.config.gateway.public_url or "")
        text = atom(state.config.name, state.identity.public, entries_of(state.ledger), base_url)
        headers = {"content-type": ATOM_TYPE, "etag": f'"{digest_bytes(text)}"', "cache-control": "max-age=60"}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(text, headers=headers)

    @app.api_route("/metrics", methods=READ)
    def scrape() -> Response:
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE})


def _answer_errors(app: FastAPI, site: Site) -> None:
    """As JSON, but for people with a browser who asked for a page."""

    @app.exception_handler(BarnraiseError)
    async def ours(request: Request, error: BarnraiseError) -> Response:
        note_refusal(request, error.code)
        if wants_page(request):
            cause = await run_in_threadpool(cause_of, site, error)
            return refuse(site, request, refusal_of(cause.http_status, cause, cause.reason))
        headers = {"content-range": f"bytes */{error.size_bytes}"} if isinstance(error, BadRangeError) else None
        return _refuse(error.http_status, error.code, error.reason, headers)

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        if wants_page(request):
            return refuse(site, request, refusal_of(error.status_code, error, "there is no page at this address"))
        reason = "there is nothing at this path, or not with this method; the paths are in barnraise/protocol.py"
        return _refuse(error.status_code, NotFoundError().code, reason, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=400)  # nobody is there to read it

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        if wants_page(request):
            return refuse(site, request, refusal_of(500, error, "an error of the coordinator's own"))
        return _refuse(500, "internal", "an error of the coordinator's own; its log has the details")


def _say(message: Message) -> Response:
    return Response(message.canonical(), media_type="application/json")


def _refuse(status: int, code: str, reason: str, headers: Any = None) -> Response:
    """An error. A reason may quote a stranger's key or name: only printable ASCII leaves as it is."""
    plain = "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in reason)
    return JSONResponse({"error": {"code": code, "reason": plain}}, status_code=status, headers=headers)


def _count(request: Request, name: str, default: int | None, largest: int) -> int:
    """A whole number from the query, at most ``largest``.

    Raises:
        UnknownFieldError: missing without a default, given twice, or no such number.
    """
    values = request.query_params.getlist(name)
    if not values and default is not None:
        return default
    number = whole_number(values[0], 16) if len(values) == 1 else None
    if number is None or number > largest:
        raise UnknownFieldError(f"the query needs {name}=N once, N a whole number from 0 to {largest}")
    return number
