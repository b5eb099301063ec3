"""What every page shares: the run that it is about, the templates, the menu, and how it is sent.

A page is made in three steps: its route reads rows from the ledger, its read model (``pages``) makes frozen
dataclasses of them, its template makes HTML of these. Only the first step knows the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

import barnraise
from barnraise.config import RunConfig
from barnraise.errors import BlobMissingError, StorageError, VerificationError
from barnraise.message import BlobRef
from barnraise.metric import Readings
from barnraise.narrate import short
from barnraise.releases.manifest import Manifest, read_manifest
from barnraise.releases.source import MANIFEST_MAX_BYTES
from barnraise.releases.store import BlobStore
from coordinator.beacon.told import SwarmTold
from coordinator.ledger import Ledger
from coordinator.web import drawing, words
from coordinator.web.assets import asset_url
from coordinator.web.curves import CurveBook
from coordinator.web.headers import html
from coordinator.web.live import Tail
from coordinator.web.names import finalize, shown_name

__all__ = ["MENU", "MenuEntry", "Site"]

MANIFESTS_KEPT = 256
PAGE_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A section of the site; it is in the menu of every application that has its path."""

    title: str
    path: str


MENU = (
    MenuEntry("Run", "/"),
    MenuEntry("Releases", "/releases"),
    MenuEntry("Rounds", "/rounds"),
    MenuEntry("Contributors", "/contributors"),
    MenuEntry("Lineage", "/lineage"),
    MenuEntry("Health", "/health"),
    MenuEntry("Operator", "/operator"),
)


@dataclass(frozen=True)
class Site:
    """The pages of one run.

    Attributes:
        public: the blobs that are published. public_url: where the run is reached from outside; None for the
            address that a visitor used.
        now_ms: the clock. root_digest: what a consumer pins. readings: the numbers of this moment.
        swarm: how the coordinator's part in the swarm is; None where it takes none.
        paths: those that the application answers; the menu follows from them.
    """

    ledger: Ledger
    config: RunConfig
    public: BlobStore
    now_ms: Callable[[], int]
    root_digest: Callable[[], str]
    readings: Callable[[], Readings]
    public_url: str | None = None
    swarm: Callable[[], SwarmTold | None] = lambda: None
    paths: set[str] = field(default_factory=set)

    @cached_property
    def book(self) -> CurveBook:
        return CurveBook(self.ledger)

    @cached_property
    def tail(self) -> Tail:
        return Tail(self.ledger)

    @cached_property
    def templates(self) -> Environment:
        """Escapes everything, refuses to say nothing for a name that it does not know, and fits foreign text."""
        made = Environment(
            loader=PackageLoader("coordinator.web"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=finalize,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        made.filters.update(words.FILTERS, short=short, shown_name=shown_name)
        made.globals.update(
            asset=asset_url,
            ago=words.ago,
            curve_svg=drawing.curve_svg,
            interval_svg=drawing.interval_svg,
            share_svg=drawing.share_svg,
            strip_svg=drawing.strip_svg,
            value_svg=drawing.value_svg,
            package=barnraise,
        )
        return made

    def page(self, request: Request, template: str, status: int = 200, **context: Any) -> Response:
        """A page as it is sent."""
        return html(request, self.render(request.url.path, template, **context), status)

    def render(self, path: str, template: str, **context: Any) -> str:
        """The HTML of a page.

        Args:
            path: where it is, for the menu.
            context: what its template needs, beside what every template does.
        """
        shared = {
            "run": self.config.name,
            "menu": [entry for entry in MENU if entry.path in self.paths],
            "path": path,
            "now_ms": self.now_ms(),
        }
        return self.templates.get_template(template).render(**shared, **context)

    def manifest(self, digest: str) -> Manifest | None:
        """A release's manifest; None while it cannot be read, because it is being written or the store is away."""
        try:
            return self._read_manifest(digest)
        except (BlobMissingError, StorageError, VerificationError, OSError):
            return None

    @cached_property
    def _read_manifest(self) -> Callable[[str], Manifest]:
        @lru_cache(maxsize=MANIFESTS_KEPT)
        def read(digest: str) -> Manifest:
            if self.public.size(digest) > MANIFEST_MAX_BYTES:
                raise VerificationError("a manifest is not that large")
            return read_manifest(self.public.read(digest), f"manifest {digest[:15]}..")

        return read

    def small_text(self, blob: BlobRef) -> str:
        """A page that a manifest names, such as the card; "" where it cannot be read."""
        try:
            return self.public.read(blob.digest).decode("utf-8", "replace") if blob.size_bytes <= PAGE_MAX_BYTES else ""
        except (StorageError, OSError):
            return ""

    def url(self, request: Request) -> str:
        """Where this run is reached: as configured, else the address that the visitor used.

        The latter comes from the request, and only what looks like an address is taken from it.
        """
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        found = urlsplit(str(request.base_url))
        plain = all(char.isascii() and (char.isalnum() or char in ".-:[]_") for char in found.netloc)
        return f"{found.scheme}://{found.netloc}" if found.netloc and plain else "http://COORDINATOR"
