"""What goes out with every page: what a browser may do with it, how long it may keep it, and whether compressed.

No inline script and no inline style is allowed at all, so whatever a name or reason could smuggle into a page
would not run. A page that is made for somebody with a session is never compressed, so that its length tells
nothing of what is secret in it.

Source: Content Security Policy Level 3, https://www.w3.org/TR/CSP3/
"""

from __future__ import annotations

import gzip
import re

from starlette.requests import Request
from starlette.responses import Response

from barnraise.digest import digest_bytes

__all__ = ["IMMUTABLE", "POLICY", "SECURITY", "html", "kept", "takes_gzip"]

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
SECURITY = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
IMMUTABLE = "public, max-age=31536000, immutable"
WORTH_BYTES = 1024
_NOT_AT_ALL = re.compile(r";q=0(\.0*)?$")
LEVEL = 5


def html(request: Request, text: str, status: int = 200, **more: str) -> Response:
    """A page; 304 where the browser has exactly this one."""
    return kept(request, text.encode("utf-8", "backslashreplace"), "text/html; charset=utf-8", status, **more)


def kept(request: Request, data: bytes, media_type: str, status: int = 200, **more: str) -> Response:
    """Bytes that a browser may keep if it asks each time whether they are still the same."""
    etag = f'W/"{digest_bytes(data)[3:35]}"'
    headers = {**SECURITY, "cache-control": "no-cache", "vary": "accept-encoding, cookie", "etag": etag, **more}
    if status == 200 and etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if len(data) >= WORTH_BYTES and takes_gzip(request) and "cookie" not in request.headers:
        data, headers["content-encoding"] = gzip.compress(data, LEVEL, mtime=0), "gzip"
    return Response(data, status_code=status, headers=headers, media_type=media_type)


def takes_gzip(request: Request) -> bool:
    """Whether the browser says that it can read gzip."""
    offers = [part.replace(" ", "") for part in request.headers.get("accept-encoding", "").lower().split(",")]
    return any(part.split(";")[0] == "gzip" and not _NOT_AT_ALL.search(part) for part in offers)
