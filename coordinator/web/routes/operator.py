"""``/operator``: signing in with the token, orders as forms, and the audit log."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from coordinator.web.operator.asking import ACTIONS
from coordinator.web.operator.audit import audit_log
from coordinator.web.operator.desk import COOKIE, OperatorDesk
from coordinator.web.operator.forms import given, read_form
from coordinator.web.operator.sessions import Refused, Sessions
from coordinator.web.site import Site

__all__ = ["add_operator_pages"]


def add_operator_pages(app: FastAPI, site: Site, sessions: Sessions) -> None:
    """Signing in and out, what can be ordered, the confirmation of it, and what was done."""
    desk = OperatorDesk(site, sessions)

    @app.api_route("/operator", methods=["GET", "HEAD"])
    def operator(request: Request) -> Response:
        found = sessions.of(request.cookies.get(COOKIE))
        if isinstance(found, Refused):
            return desk.sign_in_page(request, found if COOKIE in request.cookies else None)
        waiting = site.ledger.orders(waiting=True)
        return desk.page(request, found, "operator.html", actions=ACTIONS, waiting=waiting, given=given(request))

    @app.api_route("/operator/audit", methods=["GET", "HEAD"])
    def audit(request: Request) -> Response:
        found = sessions.of(request.cookies.get(COOKIE))
        if isinstance(found, Refused):
            return desk.sign_in_page(request, found)
        return desk.page(request, found, "operator-audit.html", entries=audit_log(site.ledger))

    @app.post("/operator/sign-in")
    async def sign_in(request: Request) -> Response:
        return await run_in_threadpool(desk.sign_in, request, await read_form(request))

    @app.post("/operator/sign-out")
    async def sign_out(request: Request) -> Response:
        return await run_in_threadpool(desk.sign_out, request, await read_form(request))

    @app.post("/operator/confirm")
    async def confirm(request: Request) -> Response:
        return await run_in_threadpool(desk.confirm, request, await read_form(request))

    @app.post("/operator/order")
    async def order(request: Request) -> Response:
        return await run_in_threadpool(desk.order, request, await read_form(request))
