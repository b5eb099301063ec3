"""``/operator``: signing in with the token, orders as forms, and the audit log.

Every unsafe method goes through :meth:`_Desk.checked`: from a page of ours, with a session, with that session's
own form token. Orders are appended to the ledger, as those of commands are, and the conductor takes them up.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from barnraise.errors import OrderRefusedError, OversizedMessageError, UsageError
from coordinator.ledger.audit_events import OperatorActed
from coordinator.orders.placing import append
from coordinator.web.headers import SECURITY, html
from coordinator.web.operator.asking import ACTIONS, Outlook, order_from, outlook_of
from coordinator.web.operator.audit import audit_log
from coordinator.web.operator.same_origin import foreign_origin
from coordinator.web.operator.sessions import HOLDS_MS, Refused, Session, Sessions
from coordinator.web.refusals import Refusal, refuse
from coordinator.web.site import Site

__all__ = ["add_operator_pages"]

COOKIE = "barnraise-session"
FORM_MAX_BYTES = 64 * 1024
FIELDS_MAX = 32
GIVEN_MAX = 200
FILLED = ("version", "update", "contributor", "channel", "test")
UNKEPT = {"cache-control": "no-store", "referrer-policy": "same-origin"}  # so that forms say where they come from


def add_operator_pages(app: FastAPI, site: Site, sessions: Sessions) -> None:
    """Signing in and out, what can be ordered, the confirmation of it, and what was done."""
    desk = _Desk(site, sessions)

    @app.api_route("/operator", methods=["GET", "HEAD"])
    def operator(request: Request) -> Response:
        found = sessions.of(request.cookies.get(COOKIE))
        if isinstance(found, Refused):
            return desk.sign_in_page(request, found if COOKIE in request.cookies else None)
        waiting = site.ledger.orders(waiting=True)
        return desk.page(request, found, "operator.html", actions=ACTIONS, waiting=waiting, given=_given(request))

    @app.api_route("/operator/audit", methods=["GET", "HEAD"])
    def audit(request: Request) -> Response:
        found = sessions.of(request.cookies.get(COOKIE))
        if isinstance(found, Refused):
            return desk.sign_in_page(request, found)
        return desk.page(request, found, "operator-audit.html", entries=audit_log(site.ledger))

    @app.post("/operator/sign-in")
    async def sign_in(request: Request) -> Response:
        return await run_in_threadpool(desk.sign_in, request, await _form(request))

    @app.post("/operator/sign-out")
    async def sign_out(request: Request) -> Response:
        return await run_in_threadpool(desk.sign_out, request, await _form(request))

    @app.post("/operator/confirm")
    async def confirm(request: Request) -> Response:
        return await run_in_threadpool(desk.confirm, request, await _form(request))

    @app.post("/operator/order")
    async def order(request: Request) -> Response:
        return await run_in_threadpool(desk.order, request, await _form(request))


@dataclass(frozen=True)
class _Desk:
    site: Site
    sessions: Sessions

    def sign_in(self, request: Request, form: Mapping[str, str]) -> Response:
        if (foreign := self._foreign(request)) is not None:
            return foreign
        found = self.sessions.sign_in(form.get("token", ""))
        if isinstance(found, Refused):
            return self.sign_in_page(request, found, 429 if found.retry_after_s else 403)
        secret, session = found
        self._record(request, session, "signed-in")
        place = _wanted(form.get("next", ""))
        answer = RedirectResponse(place, status_code=303, headers={**SECURITY, **UNKEPT})
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=HOLDS_MS // 1000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=_is_tls(request),
        )
        return answer

    def sign_out(self, request: Request, form: Mapping[str, str]) -> Response:
        found = self.checked(request, form)
        if isinstance(found, Response):
            return found
        self.sessions.sign_out(found)
        self._record(request, found, "signed-out")
        answer = RedirectResponse("/operator", status_code=303, headers={**SECURITY, **UNKEPT})
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=_is_tls(request))
        return answer

    def confirm(self, request: Request, form: Mapping[str, str]) -> Response:
        """What an order would do, and a button that gives it."""
        found = self.checked(request, form)
        if isinstance(found, Response):
            return found
        name = form.get("action", "")
        try:
            asked = order_from(name, form, self.site.ledger, self.site.config.acceptance)
            outlook = outlook_of(asked, self.site.ledger)
        except (UsageError, OrderRefusedError) as error:
            outlook = Outlook(str(error), refused=True)
        action = next((one for one in ACTIONS if one.name == name), None)
        fields = {key: form.get(key, "") for key in (*(key for key, _ in action.fields), "reason")} if action else {}
        status = 400 if outlook.refused else 200
        context = {"action": action, "fields": fields, "outlook": outlook}
        return self.page(request, found, "operator-confirm.html", status, **context)

    def order(self, request: Request, form: Mapping[str, str]) -> Response:
        """Give an order. What becomes of it is in the audit log, as soon as the conductor has taken it up."""
        found = self.checked(request, form)
        if isinstance(found, Response):
            return found
        ledger = self.site.ledger
        try:
            asked = order_from(form.get("action", ""), form, ledger, self.site.config.acceptance)
        except (UsageError, OrderRefusedError) as error:
            return self._refuse(request, 400, str(error), "Go back, and change what was asked for.")
        order_id = append(ledger, asked, self.site.now_ms())
        self._record(request, found, "ordered", order_id)
        return RedirectResponse("/operator/audit", status_code=303, headers={**SECURITY, **UNKEPT})

    def checked(self, request: Request, form: Mapping[str, str]) -> Session | Response:
        """The session of a request that changes something, or the page that says why nothing was changed."""
        if (foreign := self._foreign(request)) is not None:
            return foreign
        found = self.sessions.of(request.cookies.get(COOKIE))
        if isinstance(found, Refused):
            return self.sign_in_page(request, found, 401)
        if not hmac.compare_digest(found.form, form.get("form", "")):
            return self._refuse(
                request, 403, "the form is not of this session", "Open the page again, and try it there."
            )
        return found

    def sign_in_page(self, request: Request, refused: Refused | None, status: int | None = None) -> Response:
        wanted = _wanted(f"{request.url.path}?{request.url.query}" if request.method == "GET" else "")
        text = self.site.render("/operator", "operator-sign-in.html", refused=refused, wanted=wanted)
        more = {"retry-after": str(refused.retry_after_s)} if refused is not None and refused.retry_after_s else {}
        return html(request, text, status or (401 if refused is not None else 200), **UNKEPT, **more)

    def page(self, request: Request, session: Session, template: str, status: int = 200, **context: Any) -> Response:
        text = self.site.render(request.url.path, template, session=session, **context)
        return html(request, text, status, **UNKEPT)

    def _foreign(self, request: Request) -> Response | None:
        hosts = {request.headers.get("host", "").lower(), urlsplit(self.site.public_url or "").netloc.lower()} - {""}
        why = foreign_origin(request.headers, hosts)
        if not why:
            return None
        return self._refuse(
            request, 403, f"nothing was changed: {why}", "Open the page here, and send the form from it."
        )

    def _refuse(self, request: Request, status: int, reason: str, advice: str) -> Response:
        title = "That cannot be done" if status == 400 else "That is not for you"
        return refuse(self.site, request, Refusal(status, title, reason, advice))

    def _record(self, request: Request, session: Session, what: str, order_id: str = "") -> None:
        event = OperatorActed(session.label, what, _place(request), order_id)
        self.site.ledger.record(event, at_ms=self.site.now_ms())


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, bounded; of one that comes twice the first.

    Raises:
        OversizedMessageError: more than 64 KiB.
        UsageError: too many fields.
    """
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > FORM_MAX_BYTES:
            raise OversizedMessageError(f"a form has at most {FORM_MAX_BYTES:,} bytes")
    try:
        found = parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except ValueError as error:
        raise UsageError(f"a form has at most {FIELDS_MAX} fields") from error
    return {name: values[0] for name, values in found.items()}


def _given(request: Request) -> dict[str, str]:
    """What a link from another page fills in."""
    return {name: value[:GIVEN_MAX] for name, value in request.query_params.items() if name in FILLED}


def _wanted(place: str) -> str:
    """Where to go after signing in: a page of the operator's, whatever a link says."""
    path, _, query = place.partition("?")
    if path not in ("/operator", "/operator/audit"):
        return "/operator"
    fields = {name: values[0][:GIVEN_MAX] for name, values in parse_qs(query).items() if name in FILLED}
    return f"{path}?{urlencode(fields)}" if fields else path


def _is_tls(request: Request) -> bool:
    return request.url.scheme == "https" or request.headers.get("x-forwarded-proto", "") == "https"


def _place(request: Request) -> str:
    """Where a request comes from, no closer than the audit log needs."""
    try:
        address = ipaddress.ip_address(request.client.host if request.client is not None else "")
    except ValueError:
        return "elsewhere"
    if address.is_loopback:
        return "this machine"
    return "a private network" if address.is_private else "elsewhere"
