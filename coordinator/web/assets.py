"""What pages need besides themselves: one style sheet, a little JavaScript, an icon; all from here, nothing else.

Every file is served under a name that has its digest in it, so a browser may keep it for ever and never has
an old one with a new page. They are compressed once.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from barnraise.digest import digest_bytes

__all__ = ["Asset", "asset_url", "assets"]

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent; ``compressed`` is it with gzip."""

    url_name: str
    media_type: str
    data: bytes
    compressed: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """Name in a URL, such as ``web.1f2e3d4c5b6a.css`` -> the file."""
    found = [_read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in TYPES]
    return {asset.url_name: asset for asset in found}


@cache
def _urls() -> Mapping[str, str]:
    return {f"{name.split('.')[0]}.{name.split('.')[-1]}": f"/static/{name}" for name in assets()}


def asset_url(name: str) -> str:
    """Where the file of a plain name, such as ``web.css``, is served."""
    return _urls()[name]


def _read(path: Path) -> Asset:
    data = path.read_bytes()
    digest = digest_bytes(data).removeprefix("b3:")[:12]
    return Asset(f"{path.stem}.{digest}{path.suffix}", TYPES[path.suffix], data, gzip.compress(data, 9, mtime=0))
