"""Pages for what cannot be shown: nothing there, not now, or an error of our own; in the look of all others.

The API keeps its JSON. A page goes to whoever asks for one (``Accept: text/html``) outside the API's paths.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from barnraise.errors import BarnraiseError, BlobMissingError, DiskFullError, LedgerVersionError, StorageError
from coordinator.web.headers import html
from coordinator.web.site import Site

__all__ = ["Refusal", "cause_of", "refusal_of", "refuse", "wants_page"]

API = ("/v1", "/metrics")
BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
RETRY_AFTER_S = 10
TITLES = {
    400: "That cannot be read",
    401: "Who are you?",
    403: "That is not for you",
    404: "There is nothing here",
    405: "That cannot be done here",
    409: "Something else came first",
    410: "That is over",
    429: "Too much at once",
    503: "Not at this moment",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is said instead of a page.

    Attributes:
        retry_after_s: when to try again; None where that would not help.
    """

    status: int
    title: str
    reason: str
    advice: str
    retry_after_s: int | None = None


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asks, for something that is not the API's."""
    path = request.url.path
    if any(path == prefix or path.startswith(f"{prefix}/") for prefix in API):
        return False
    return "text/html" in request.headers.get("accept", "")


def refusal_of(status: int, error: Exception | None, reason: str) -> Refusal:
    """What to say of an error.

    Args:
        status: as the API would answer. reason: its sentence.
    """
    if isinstance(error, LedgerVersionError):
        advice = "The run goes on with the newer version. Whoever operates it restarts this gateway with that."
        return Refusal(503, "The ledger has moved on", reason, advice, 60)
    if isinstance(error, StorageError) and not isinstance(error, BlobMissingError | DiskFullError):
        advice = "Nothing is lost: what is recorded stays. The page asks again by itself in a moment."
        return Refusal(503, TITLES[503], reason, advice, RETRY_AFTER_S)
    if status == 404:
        advice = "The address may be old or mistyped. What there is can be found from the menu above."
        return Refusal(404, TITLES[404], reason, advice)
    title = TITLES.get(status, "Something went wrong")
    ours = status >= 500 and not isinstance(error, BarnraiseError)
    advice = "The log of the gateway has the details." if ours else "Go back, or begin at the first page."
    return Refusal(status, title, reason, advice, RETRY_AFTER_S if status in (429, 503) else None)


def cause_of(site: Site, error: BarnraiseError) -> BarnraiseError:
    """Why the ledger cannot be used: a newer version has migrated it, where it has; else the error itself."""
    if type(error) is not StorageError or getattr(_origin(error), "sqlite_errorname", "") in BUSY:
        return error
    try:
        site.ledger.pages.require_current()
    except StorageError as newer:
        return newer if isinstance(newer, LedgerVersionError) else error
    return error


def _origin(error: BarnraiseError) -> object:
    return getattr(error.__cause__, "orig", None)


def refuse(site: Site, request: Request, refusal: Refusal) -> Response:
    """The page of a refusal; it reads nothing from the ledger, which may be what is away."""
    more = {} if refusal.retry_after_s is None else {"retry-after": str(refusal.retry_after_s)}
    text = site.render(request.url.path, "refusal.html", refusal=refusal)
    return html(request, text, refusal.status, **{"cache-control": "no-store", **more})
