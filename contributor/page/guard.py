"""Which requests the page answers: decided on method, path and headers alone, before anything is done.

The page listens on the loopback interface, where every user of the machine and every web page
in the owner's browser can reach it. So

- the path begins with a token that is only in the owner's address bar and terminal;
- the Host header names this very address, or a page elsewhere has pointed a name of its own
  at 127.0.0.1 (DNS rebinding);
- what changes something is a POST with a second token from the form, not sent from elsewhere.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

__all__ = ["BODY_MAX_BYTES", "Decision", "Gate"]

BODY_MAX_BYTES = 1024
ACTIONS = frozenset({"pause", "resume", "finish"})


def _token() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a request: show the page, carry out ``action``, or refuse with ``status``."""

    status: int
    action: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Gate:
    """The tokens of one process, and the port that it listens on."""

    port: int
    token: str = field(default_factory=_token, repr=False)
    form_token: str = field(default_factory=_token, repr=False)

    @property
    def path(self) -> str:
        return f"/{self.token}/"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def decide(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Decision:
        """What to do.

        Args:
            headers: names in lower case. body: of a POST, at most 1 KiB of it.
        """
        if headers.get("host", "") not in {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}:
            return Decision(421, reason="this is the page of a node at 127.0.0.1, and answers to no other name")
        if not hmac.compare_digest(path.encode("latin-1", "replace"), self.path.encode()):
            return Decision(404, reason="there is nothing here; the node's terminal and barnraise status show the page")
        if method in {"GET", "HEAD"}:
            return Decision(200)
        if method != "POST":
            return Decision(405, reason="the page is read with GET and changed with its buttons")
        return self._posted(headers, body)

    def _posted(self, headers: Mapping[str, str], body: bytes) -> Decision:
        origin = headers.get("origin")
        at_home = {f"http://127.0.0.1:{self.port}", f"http://localhost:{self.port}"}
        if origin is not None and origin != "null" and origin not in at_home:
            return Decision(403, reason="sent from another page")
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
            return Decision(403, reason="sent from another page")
        if len(body) > BODY_MAX_BYTES:
            return Decision(413, reason="a button sends less")
        values = parse_qs(body.decode("ascii", "replace"), max_num_fields=4) if body.count(b"&") < 4 else {}
        given = values.get("token", [""])[0]
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.form_token.encode()):
            return Decision(403, reason="the form is of an earlier start of this node; load the page again")
        action = values.get("action", [""])[0]
        if action not in ACTIONS:
            return Decision(400, reason="there is no such button")
        return Decision(303, action)
