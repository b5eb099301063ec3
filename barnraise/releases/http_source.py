"""Releases over HTTP: a coordinator's gateway, or any static server of its ``public/`` folder.

A transfer that breaks is continued with a range request where it ended. The server is not
trusted: redirects are not followed, nothing is inflated, and no byte beyond the size that
the signed index states is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from barnraise.errors import BlobMissingError, RefusedError, UnreachableError, UsageError
from barnraise.message import BlobRef
from barnraise.proxies import connections
from barnraise.releases.store import blob_path
from barnraise.releases.stream import PIECE_BYTES, BlobStream, capped
from barnraise.unreachable import why_unreachable

__all__ = ["HttpSource", "Opener", "Reply"]

CONNECT_S = 5.0
READ_S = 30.0
REFUSAL_MAX_BYTES = 64 << 10
KEPT_CONNECTIONS = 16
GATEWAY_ROOT = "/v1/releases/"
MISSING = {403, 404}
"""What servers answer for a file that is not there; object stores say 403."""
ANSWER_MAX_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """A response whose body has not been read. ``headers`` has lower-case names."""

    status: int
    headers: Mapping[str, str]
    pieces: Iterator[bytes]


Opener = Callable[[str, Mapping[str, str]], AbstractContextManager[Reply]]
"""GET a URL with extra headers. Raises UnreachableError, also while the pieces are read."""


class HttpSource:
    """One server. ``opener`` is how it is reached; tests put a simulated one there."""

    def __init__(self, url: str, opener: Opener | None = None, pace: Callable[[int], None] | None = None) -> None:
        """Look at the URL, but send nothing yet.

        Args:
            pace: called with the size of every piece that arrives, from the thread that reads; it may wait.

        Raises:
            UsageError: not an http or https URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"{url[:100]!a} is no URL to pull from; one looks like http://127.0.0.1:8000")
        self._url = url.rstrip("/")
        opened = opener or _urllib3_opener(self._url)
        self._open = opened if pace is None else _paced(opened, pace)
        self._root: str | None = None

    @property
    def label(self) -> str:
        return self._url

    @property
    def vouches(self) -> bool:
        return False

    def read(self, path: str, most: int) -> bytes:
        """A file of metadata, or a list: of a gateway, or where there is none of a static mirror.

        Raises:
            BlobMissingError: a server, but nothing there.
            UnreachableError, RefusedError: no answer, or another one.
            VerificationError: larger than ``most``.
        """
        for root in self._roots():
            with self._open(root + path, {}) as reply:
                if reply.status in MISSING:
                    continue
                if reply.status != 200:
                    raise self._refusal(reply, path)
                self._root = root
                return self._read(reply, most)
        raise BlobMissingError(f"{self._url} has no {path}; use another mirror")

    @contextmanager
    def open_blob(self, blob: BlobRef, start: int, stop: int) -> Iterator[BlobStream]:
        """Ask for a blob, or with a range request for a part of it.

        Raises (also while the pieces are read):
            BlobMissingError, RefusedError: the server does not hand it over.
            UnreachableError: no answer, or the connection broke.
        """
        is_part = (start, stop) != (0, blob.size_bytes)
        headers = {"range": f"bytes={start}-{stop - 1}"} if is_part else {}
        for root in self._roots():
            with self._open(root + blob_path(blob.digest), headers) as reply:
                if reply.status in MISSING:
                    continue
                begins = reply.headers.get("content-range", "").startswith(f"bytes {start}-")
                if reply.status != 200 and not (reply.status == 206 and begins):
                    raise self._refusal(reply, "a blob")
                self._root = root
                if reply.status == 200:
                    yield BlobStream(0, reply.pieces, whole=is_part)
                else:
                    yield BlobStream(start, reply.pieces)
                return
        raise BlobMissingError(
            f"{self._url} has no blob {blob.digest[:15]}.. although its index lists it; use another mirror"
        )

    def ask(self, path: str) -> bytes:
        """What a gateway answers at a path; a mirror has nothing there.

        Raises:
            UnreachableError, RefusedError: no answer, or a refusal.
            VerificationError: absurdly large.
        """
        with self._open(self._url + path, {}) as reply:
            if reply.status != 200:
                raise self._refusal(reply, path)
            return self._read(reply, ANSWER_MAX_BYTES)

    def _roots(self) -> list[str]:
        """Where the releases may lie: as a gateway has them, or a static mirror; one of them, once that is known."""
        return [self._root] if self._root else [self._url + GATEWAY_ROOT, self._url + "/"]

    def _read(self, reply: Reply, most: int) -> bytes:
        data = bytearray()
        for piece in reply.pieces:
            data += piece
            capped(data, most, f"the answer of {self._url}")
        return bytes(data)

    def _refusal(self, reply: Reply, what: str) -> RefusedError:
        code = reason = ""
        try:
            error = json.loads(b"".join(_upto(reply.pieces, REFUSAL_MAX_BYTES)))["error"]
            code, reason = str(error["code"])[:64], ascii(str(error["reason"])[:500])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass  # not one of ours: the status says it all
        said = f" and said {reason}" if reason else ""
        return RefusedError(
            f"{self._url} refused {what} with status {reply.status}{said}; use another mirror",
            status=reply.status,
            remote_code=code,
        )


def _upto(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return


def _paced(opener: Opener, pace: Callable[[int], None]) -> Opener:
    """The same, with a call after every piece."""

    def each(pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            pace(len(piece))
            yield piece

    @contextmanager
    def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        with opener(url, headers) as reply:
            yield Reply(reply.status, reply.headers, each(reply.pieces))

    return open_url


def _urllib3_opener(url: str) -> Opener:
    pool = connections(
        url,
        os.environ,
        retries=urllib3.Retry(total=3, redirect=False, status_forcelist={502, 503, 504}, backoff_factor=0.2),
        timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
        maxsize=KEPT_CONNECTIONS,
        headers={"Accept-Encoding": "identity", "User-Agent": "barnraise"},
    )

    @contextmanager
    def open_url(url: str, headers: Mapping[str, str]) -> Iterator[Reply]:
        response: Any = None
        try:
            response = pool.request(
                "GET",
                url,
                headers={**pool.headers, **headers},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            names = {name.lower(): value for name, value in response.headers.items()}
            yield Reply(response.status, names, _as_it_comes(response))
        except HTTPError as error:
            host = urlsplit(url).netloc
            reason = why_unreachable(error, connect_s=CONNECT_S, read_s=READ_S)
            raise UnreachableError(f"{host}: {reason}; check the address, or whether it is up") from error
        finally:
            if response is not None:
                response.close()

    return open_url


def _as_it_comes(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Pieces as the network delivers them: nothing is held back until a piece is full.

    A connection can serve again when its answer was read to the end, which takes one more call.
    """
    assert isinstance(response, urllib3.HTTPResponse)
    while piece := response.read1(PIECE_BYTES, decode_content=False):
        if response.length_remaining == 0:
            response.drain_conn()
        yield piece
