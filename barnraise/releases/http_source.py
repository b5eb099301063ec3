"""Releases over HTTP: a coordinator's gateway, or any static server of its ``public/`` folder.

A transfer that breaks is continued with a range request where it ended. The server is not
trusted: redirects are not followed, nothing is inflated, and no byte beyond the size that
the signed index states is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from barnraise.errors import BlobMissingError, RefusedError, UnreachableError, UsageError
from barnraise.protocol import BlobRef
from barnraise.releases.durable import disk_full_translated
from barnraise.releases.source import PIECE_BYTES, capped
from barnraise.releases.store import blob_path
from barnraise.unreachable import why_unreachable

__all__ = ["HttpSource", "Opener", "Reply"]

CONNECT_S = 5.0
READ_S = 30.0
REFUSAL_MAX_BYTES = 64 << 10
FRUITLESS_TRIES = 3
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

    def __init__(self, url: str, opener: Opener | None = None) -> None:
        """Look at the URL, but send nothing yet.

        Raises:
            UsageError: not an http or https URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"{url[:100]!a} is no URL to pull from; one looks like http://127.0.0.1:8000")
        self._url = url.rstrip("/")
        self._open = opener or _urllib3_opener()
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
        for root in [self._root] if self._root else [self._url + GATEWAY_ROOT, self._url + "/"]:
            with self._open(root + path, {}) as reply:
                if reply.status in MISSING:
                    continue
                if reply.status != 200:
                    raise self._refusal(reply, path)
                self._root = root
                return self._read(reply, most)
        raise BlobMissingError(f"{self._url} has no {path}; use another mirror")

    def fetch(self, blob: BlobRef, sink: Path) -> int:
        """Read what is missing, going on after a break as long as that yields anything.

        Raises:
            BlobMissingError, RefusedError: the server does not hand it over.
            UnreachableError: the connection broke again and again.
            DiskFullError: no space left.
        """
        total = 0
        fruitless = 0
        while (have := _size(sink)) < blob.size_bytes:
            try:
                total += self._continue(blob, sink, have)
            except UnreachableError:
                gained = max(0, _size(sink) - have)
                total += gained
                fruitless = 0 if gained else fruitless + 1
                if fruitless == FRUITLESS_TRIES:
                    raise
            else:
                break
        return total

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

    def _continue(self, blob: BlobRef, sink: Path, have: int) -> int:
        assert self._root is not None, "the index comes first"
        headers = {"range": f"bytes={have}-"} if have else {}
        with self._open(self._root + blob_path(blob.digest), headers) as reply:
            if reply.status == 404:
                raise BlobMissingError(
                    f"{self._url} has no blob {blob.digest[:15]}.. although its index lists it; use another mirror"
                )
            continues = reply.status == 206 and reply.headers.get("content-range", "").startswith(f"bytes {have}-")
            if reply.status != 200 and not continues:
                raise self._refusal(reply, "a blob")
            at = have if continues else 0
            count = _append(reply.pieces, sink, at, blob.size_bytes)
        if at + count < blob.size_bytes:
            raise UnreachableError(f"{self._url} ended a blob after {at + count:,} of {blob.size_bytes:,} bytes")
        return count

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


def _append(pieces: Iterator[bytes], sink: Path, at: int, end: int) -> int:
    """Write pieces from offset ``at`` until ``end``, and count the bytes; what comes beyond is not read."""
    count = 0
    with disk_full_translated(sink.parent), sink.open("r+b" if at else "wb") as file:
        file.seek(at)
        file.truncate()
        for piece in pieces:
            kept = piece[: end - at - count]
            file.write(kept)
            count += len(kept)
            if at + count == end:
                break
    return count


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _upto(pieces: Iterator[bytes], most: int) -> Iterator[bytes]:
    for piece in pieces:
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return


def _urllib3_opener() -> Opener:
    pool = urllib3.PoolManager(
        retries=urllib3.Retry(total=3, redirect=False, status_forcelist={502, 503, 504}, backoff_factor=0.2),
        timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
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
            yield Reply(response.status, names, response.stream(PIECE_BYTES, decode_content=False))
        except HTTPError as error:
            host = urlsplit(url).netloc
            reason = why_unreachable(error, connect_s=CONNECT_S, read_s=READ_S)
            raise UnreachableError(f"{host}: {reason}; check the address, or whether it is up") from error
        finally:
            if response is not None:
                response.close()

    return open_url
