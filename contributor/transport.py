"""One HTTP request and its bounded answer. The only place that knows urllib3."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from barnraise.errors import RefusedError, UnreachableError, UsageError
from barnraise.proxies import connections
from barnraise.unreachable import why_unreachable
from contributor.whereabouts import Whereabouts

__all__ = ["Answer", "FollowingTransport", "HttpTransport", "Transport", "base_url"]

CONNECT_S = 5.0
READ_S = 60.0
ANSWER_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and whole body of a response."""

    status: int
    body: bytes


class Transport(Protocol):
    """Sends a request to one coordinator. Tests put a simulated gateway here."""

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Raises: UnreachableError, RefusedError."""


def base_url(text: str) -> str:
    """A coordinator's URL without a trailing slash.

    Raises:
        UsageError: not an http or https URL with a host.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{text[:100]!r} is not a URL; expected something like http://127.0.0.1:8000") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0 or set("@?#") & set(text):
        raise UsageError(f"{text[:100]!r} is not a coordinator's URL; expected something like http://127.0.0.1:8000")
    return text.rstrip("/")


class HttpTransport:
    """Keeps a connection to one coordinator. Follows no redirect, inflates nothing, reads at most 4 MiB."""

    def __init__(self, url: str) -> None:
        self.url = base_url(url)
        self._pool = connections(
            self.url,
            os.environ,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            headers={"Accept-Encoding": "identity", "User-Agent": "barnraise"},
        )

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One request.

        Raises:
            UnreachableError: no answer, with the cause in words.
            RefusedError: an answer larger than any that this client asks for.
        """
        try:
            response = self._pool.request(
                method, self.url + path, body=body, redirect=False, preload_content=False, decode_content=False
            )
            answer = response.read(ANSWER_MAX_BYTES + 1)
        except HTTPError as error:
            raise UnreachableError(why_unreachable(error, connect_s=CONNECT_S, read_s=READ_S)) from error
        if len(answer) > ANSWER_MAX_BYTES:
            response.close()
            raise RefusedError(
                f"{path} answered more than {ANSWER_MAX_BYTES:,} bytes; is this a Barnraise coordinator?"
            )
        response.release_conn()
        return Answer(response.status, answer)

    def close(self) -> None:
        self._pool.clear()


class FollowingTransport:
    """Sends to a coordinator wherever it is."""

    def __init__(self, where: Whereabouts) -> None:
        self._where = where
        self._now = HttpTransport(where.url)

    def request(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """One request, as :class:`HttpTransport` makes it."""
        url = self._where.url
        if self._now.url != url:
            self._now.close()
            self._now = HttpTransport(url)
        return self._now.request(method, path, body)
