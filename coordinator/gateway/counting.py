"""Counts every answer: by its route's pattern and methods, never by what a stranger typed.

The time that counts goes to the first byte of an answer. How long its body takes is up to whoever
reads it, and a page that stays live never ends.
"""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordinator.metrics import GatewayMetrics

__all__ = ["CountRequests", "note_refusal"]

REFUSED = "barnraise.refused"


def note_refusal(request: Request, code: str) -> None:
    """Leave the code of an error that is answered where the count finds it."""
    request.scope[REFUSED] = code


class CountRequests:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, metrics: GatewayMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        counted = _Counted(send)
        try:
            with self._metrics.under_way():
                await self._app(scope, receive, counted)
        finally:
            self._tell(scope, counted)

    def _tell(self, scope: Scope, counted: _Counted) -> None:
        route = scope.get("route")
        method = scope["method"] if scope["method"] in (getattr(route, "methods", None) or ()) else "other"
        path = getattr(route, "path", "none")
        self._metrics.answered(method, path, counted.status, counted.took_s, counted.sent_bytes)
        if REFUSED in scope:
            self._metrics.refused(scope[REFUSED])
        elif counted.status >= 500:
            self._metrics.refused("internal")


class _Counted:
    """What goes out, on its way."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._began_s = time.monotonic()
        self._first_s: float | None = None
        self.status = 500
        self.sent_bytes = 0

    @property
    def took_s(self) -> float:
        return (time.monotonic() if self._first_s is None else self._first_s) - self._began_s

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self._first_s is None:
            self._first_s = time.monotonic()
        self.sent_bytes += len(message.get("body", b""))
        await self._send(message)
