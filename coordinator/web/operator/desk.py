"""What an operator does from a browser, from signing in to an order that is given.

Every unsafe method goes through :meth:`OperatorDesk.checked`: from a page of ours, with a session, with that
session's own form token. Orders are appended to the ledger, as those of commands are, and the conductor takes them up.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from barnraise.errors import OrderRefusedError, UsageError
from coordinator.ledger.audit_events import OperatorActed
from coordinator.orders.placing import append
from coordinator.web.headers import SECURITY, html
from coordinator.web.operator.asking import ACTIONS, Outlook, order_from, outlook_of
from coordinator.web.operator.audit import place_of
from coordinator.web.operator.forms import wanted
from coordinator.web.operator.same_origin import foreign_origin
from coordinator.web.operator.sessions import HOLDS_MS, Refused, Session, Sessions
from coordinator.web.refusals import Refusal, refuse
from coordinator.web.site import Site

__all__ = ["COOKIE", "OperatorDesk"]

COOKIE = "barnraise-session"
UNKEPT = {"cache-control": "no-store", "referrer-policy": "same-origin"}  # so that forms say where they come from


@dataclass(frozen=True)
class OperatorDesk:
    """Answers whoever wants to order something."""

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
        answer = _go_to(wanted(form.get("next", "")))
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=HOLDS_MS // 1000,
            path="/",
            httponly=True,
            samesite="strict",
            secure=self._behind_tls,
        )
        return answer

    def sign_out(self, request: Request, form: Mapping[str, str]) -> Response:
        found = self.checked(request, form)
        if isinstance(found, Response):
            return found
        self.sessions.sign_out(found)
        self._record(request, found, "signed-out")
        answer = _go_to("/operator")
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict", secure=self._behind_tls)
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
        return _go_to("/operator/audit")

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

    @property
    def _behind_tls(self) -> bool:
        """Whether browsers come over TLS, as configured: this process speaks plain HTTP, and believes no header."""
        return urlsplit(self.site.public_url or "").scheme == "https"

    def sign_in_page(self, request: Request, refused: Refused | None, status: int | None = None) -> Response:
        place = wanted(f"{request.url.path}?{request.url.query}" if request.method == "GET" else "")
        text = self.site.render("/operator", "operator-sign-in.html", refused=refused, wanted=place)
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
        event = OperatorActed(session.label, what, place_of(request.client), order_id)
        self.site.ledger.record(event, at_ms=self.site.now_ms())


def _go_to(place: str) -> RedirectResponse:
    return RedirectResponse(place, status_code=303, headers={**SECURITY, **UNKEPT})
