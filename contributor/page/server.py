"""The thread that answers the owner's browser: bound to 127.0.0.1, at a port that the system gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from contributor.control.lines import Command
from contributor.page.guard import BODY_MAX_BYTES, Gate
from contributor.page.render import Shown, page_html, refusal_html
from contributor.page.style import STYLE_HASH

__all__ = ["HEADERS", "serving_page"]

PATIENCE_S = 10.0
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@contextmanager
def serving_page(shown: Callable[[str], Shown], commands: Mapping[str, Command]) -> Iterator[str]:
    """Serve the page inside the block; its address.

    Args:
        shown: what to show, given the token for its form.
        commands: what the buttons do, by name.

    Raises:
        OSError: nothing can listen on 127.0.0.1.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    gate = Gate(server.server_address[1])
    server.RequestHandlerClass = _handler(gate, shown, commands)
    thread = threading.Thread(target=server.serve_forever, name="barnraise-page", daemon=True)
    thread.start()
    try:
        yield gate.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


def _handler(
    gate: Gate, shown: Callable[[str], Shown], commands: Mapping[str, Command]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE_S

        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def version_string(self) -> str:
            return "barnraise"

        def log_message(self, *_message: object) -> None:
            """Nothing: the path holds the token."""

        def _answer(self) -> None:
            length = self.headers.get("content-length", "0")
            body = self.rfile.read(min(int(length), BODY_MAX_BYTES + 1)) if length.isdecimal() else b""
            headers = {name.lower(): value for name, value in self.headers.items()}
            decision = gate.decide(self.command, self.path, headers, body)
            if decision.action:
                commands[decision.action]()
                self._send(303, "", {"Location": gate.path})
            elif decision.status == 200:
                self._send(200, page_html(shown(gate.form_token)))
            else:
                self._send(decision.status, refusal_html(decision.reason))

        def _send(self, status: int, page: str, more: Mapping[str, str] | None = None) -> None:
            data = page.encode("utf-8")
            self.send_response(status)
            for name, value in {**HEADERS, **(more or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    return Handler
