"""A feed of the releases for whoever reads them in a feed reader: ``/releases.atom``.

Ids follow from the coordinator's key and the version, so they stay the same wherever the run is served. An
entry is updated when its release is promoted, withdrawn or yanked, by the ledger's clock. Text from outside
is escaped, and characters that XML does not have become question marks.

Source: RFC 4287, https://www.rfc-editor.org/rfc/rfc4287
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree  # writes only: nothing of others is parsed here

from coordinator.ledger import Ledger, ReleaseRow

__all__ = ["CONTENT_TYPE", "Entry", "atom", "entries_of"]

CONTENT_TYPE = "application/atom+xml; charset=utf-8"
ENTRIES_MAX = 50
TESTS_MAX = 20
TEXT_MAX = 2000
ATOM = "http://www.w3.org/2005/Atom"
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
CHANGES = ("release-yanked", "release-promoted", "release-withdrawn")


@dataclass(frozen=True, slots=True)
class Entry:
    """A release in the feed. ``updated_at_ms``: when something about it changed last."""

    release: ReleaseRow
    updated_at_ms: int


def entries_of(ledger: Ledger) -> list[Entry]:
    """The newest releases, newest first."""
    found = []
    for release in reversed(ledger.releases()[-ENTRIES_MAX:]):
        changes = ledger.events_about(release.version, CHANGES, 1)
        found.append(Entry(release, max([release.created_at_ms, *(change.at_ms for change in changes)])))
    return found


def atom(run: str, key: str, entries: Sequence[Entry], base_url: str = "") -> bytes:
    """The feed.

    Args:
        key: the coordinator's public key. base_url: how the run is reached from outside; "" makes links relative.
    """
    base_url = base_url.rstrip("/")
    feed = ElementTree.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    _add(feed, "id", _id(key))
    _add(feed, "title", f"Releases of {run}")
    _add(feed, "updated", _when(max((entry.updated_at_ms for entry in entries), default=0)))
    _add(_add(feed, "author"), "name", f"coordinator of {run}")
    _add(feed, "link", rel="self", type="application/atom+xml", href=f"{base_url}/releases.atom")
    _add(feed, "link", rel="alternate", type="text/html", href=f"{base_url}/releases")
    for entry in entries:
        _add_entry(feed, run, key, entry, base_url)
    written: bytes = ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
    return written


def _add_entry(feed: ElementTree.Element, run: str, key: str, entry: Entry, base_url: str) -> None:
    release, element = entry.release, _add(feed, "entry")
    mark = " (yanked)" if release.yanked is not None else " (stable)" if release.promoted_at_ms is not None else ""
    _add(element, "id", _id(key, release.version))
    _add(element, "title", f"{run} {release.version}{mark}")
    _add(element, "published", _when(release.created_at_ms))
    _add(element, "updated", _when(entry.updated_at_ms))
    _add(element, "link", rel="alternate", type="text/html", href=f"{base_url}/releases/{release.version}")
    _add(element, "category", term=release.bump)
    _add(element, "summary", "\n".join(_lines(release)), type="text")


def _lines(release: ReleaseRow) -> list[str]:
    """The release in words: why, whether it was withdrawn, and its tests."""
    lines = [release.reason]
    lines += [f"yanked: {release.yanked}"] if release.yanked is not None else []
    rows = list(release.summary.items())
    for test, row in rows[:TESTS_MAX]:
        verdict = "passed" if row.get("passed", True) else "worse, and accepted"
        if isinstance(row.get("effect"), int | float):
            interval = ""
            if isinstance(row.get("low"), int | float) and isinstance(row.get("high"), int | float):
                interval = f" ({row['low']:+.3f} to {row['high']:+.3f})"
            lines.append(f"{test}: {row['effect']:+.3f}{interval} {row.get('unit', '')}, {verdict}")
        elif isinstance(row.get("mean"), int | float):
            lines.append(f"{test}: {row['mean']:.3f} {row.get('unit', '')}")
    lines += [f"and {len(rows) - TESTS_MAX} more tests"] if len(rows) > TESTS_MAX else []
    return lines


def _add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
    element = ElementTree.SubElement(parent, name, {key: _clean(value) for key, value in attributes.items()})
    element.text = _clean(text) or None
    return element


def _clean(text: str) -> str:
    return NOT_XML.sub("?", text[:TEXT_MAX])


def _id(key: str, version: str = "") -> str:
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'barnraise:{key}/{version}')}"


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
