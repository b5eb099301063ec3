"""Released bytes over HTTP: blobs, named by digest, whole or as a single range; and signed metadata.

Only what lies in the run's public folder is ever served. Because a blob never changes, its
digest is its ETag and a range is good whenever it was begun.

Source: RFC 9110, section 14 (range requests)
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from barnraise.digest import digest_bytes
from barnraise.errors import BadRangeError, BlobMissingError, NotFoundError
from barnraise.releases.store import BlobStore

__all__ = ["byte_range", "serve_blob", "serve_metadata"]

PIECE_BYTES = 256 * 1024
IMMUTABLE = "public, max-age=31536000, immutable"
_METADATA = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}\.json\Z", re.ASCII)
_SINGLE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})\Z", re.ASCII)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Read a Range header.

    Returns:
        (start, stop), stop exclusive; None for the whole blob: no header, or one that asks for
        something else than a single range of bytes, which a server may ignore.

    Raises:
        BadRangeError: a single range that has no byte of the blob.
    """
    match = _SINGLE.match(header.replace(" ", "")) if header else None
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(0, size - int(last)), size
    else:
        start, stop = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= stop:
        raise BadRangeError(f"the range lies outside the blob of {size} bytes", size_bytes=size)
    return start, stop


def serve_blob(request: Request, store: BlobStore, digest: str) -> Response:
    """Answer GET or HEAD for a blob of ``store``.

    Raises:
        BlobMissingError: no digest, or not published here.
        BadRangeError: see :func:`byte_range`.
    """
    try:
        size = store.size(digest)
    except BlobMissingError as error:
        raise BlobMissingError("no blob of that name is published here; see the release index") from error
    headers = {
        "etag": f'"{digest}"',
        "accept-ranges": "bytes",
        "cache-control": IMMUTABLE,
    }
    if _has_already(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    part = byte_range(request.headers.get("range"), size)
    start, stop = part or (0, size)
    headers["content-length"] = str(stop - start)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 200 if part is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    pieces = _pieces(store.path(digest).open("rb"), start, stop)
    return StreamingResponse(pieces, status_code=status, headers=headers, media_type="application/octet-stream")


def serve_metadata(request: Request, folder: Path, name: str) -> Response:
    """Answer GET or HEAD for a file of release metadata, or a list that it leads to.

    Raises:
        NotFoundError: there is none of this name.
    """
    try:
        data = (folder / name).read_bytes() if _METADATA.match(name) else None
    except FileNotFoundError:
        data = None
    if data is None:
        raise NotFoundError("there is no release metadata of that name; begin with metadata/timestamp.json")
    changes = name == "timestamp.json"  # the name of every other one has its version or its hash
    headers = {"etag": f'"{digest_bytes(data)}"', "cache-control": "no-cache" if changes else IMMUTABLE}
    if _has_already(request, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers, media_type="application/json")


def _has_already(request: Request, etag: str) -> bool:
    names = request.headers.get("if-none-match", "").split(",")
    return any(name.strip().removeprefix("W/") in {etag, "*"} for name in names)


async def _pieces(file: BinaryIO, start: int, stop: int) -> AsyncIterator[bytes]:
    with file:
        await run_in_threadpool(file.seek, start)
        while start < stop:
            piece = await run_in_threadpool(file.read, min(PIECE_BYTES, stop - start))
            if not piece:
                return
            start += len(piece)
            yield piece
