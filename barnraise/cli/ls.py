"""``barnraise ls``: the releases of a run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from barnraise.cli.output import WIDTH, print_result, print_warnings, table, wrapped
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.trust import TrustOptions, read_index

__all__ = ["ls"]

BELOW = " " * 4


def ls(source: FromOption = None, trust: TrustOption = None, as_json: JsonOption = False) -> None:
    """List the releases of a run, oldest first, and the models derived from them.

    Example: barnraise ls --from http://127.0.0.1:8000
    """
    place = find_source(source)
    trusted = read_index(place, TrustOptions.of(trust))
    index, warnings = trusted.index, list(trusted.warnings)
    print_warnings(warnings, as_json=as_json)
    result = {
        "from": place.label,
        "name": index.name,
        "root": trusted.root_digest,
        "channels": index.channels,
        "moved": index.moved,
        "releases": [_row(index, entry, trusted.promoted or ()) for entry in index.releases],
        "derived": [entry.model_dump(mode="json") for entry in index.derived],
        "warnings": warnings,
    }
    print_result("ls", result, as_json=as_json, human=_words(result))


def _row(index: ReleaseIndex, entry: IndexEntry, promoted: Collection[str]) -> dict[str, Any]:
    return {
        "version": entry.version,
        "parent": entry.parent,
        "model_digest": entry.model_digest,
        "keyframe_bytes": entry.keyframe.size_bytes if entry.keyframe else None,
        "patch_bytes": entry.patch.size_bytes if entry.patch else None,
        "yanked": entry.yanked,
        "promoted": entry.version in promoted,
        "reverts": list(entry.reverts),
        "reverted_in": entry.reverted_in,
        "accepted": dict(entry.accepted),
        "channels": sorted(channel for channel, version in index.channels.items() if version == entry.version),
    }


def _words(result: dict[str, Any]) -> str:
    releases = result["releases"]
    count = f"{len(releases)} release{'' if len(releases) == 1 else 's'}"
    rows = [
        (
            row["version"],
            row["parent"] or "-",
            _size(row["patch_bytes"]),
            _size(row["keyframe_bytes"]),
            row["model_digest"][:15],
        )
        for row in releases
    ]
    lines = _marked(
        table(("VERSION", "PARENT", " PATCH BYTES", " KEYFRAME BYTES", "MODEL"), rows),
        ["MARKS", *(", ".join(_marks(row)) for row in releases)],
    )
    for channel, why in result["moved"].items():
        lines += wrapped(f"channel {channel} is at {result['channels'][channel]}: {why}", BELOW)
    if result["derived"]:
        lines += ["", *_family(result["derived"])]
    return "\n".join([f"{result['name']}: {count}, trusted from root {result['root'][:15]}..", *lines])


def _marked(lines: Sequence[str], marks: Sequence[str]) -> list[str]:
    """Every line with its marks behind it, or below it where they do not fit."""
    start = max(map(len, lines)) + 2
    found = []
    for line, text in zip(lines, marks, strict=True):
        whole = f"{line:<{start}}{text}".rstrip()
        found += [whole] if len(whole) <= WIDTH else [line, *wrapped(BELOW + text, BELOW)]
    return found


def _marks(row: dict[str, Any]) -> list[str]:
    """What is to be known of a release: channels, promotion, what was taken out or got worse, yanking."""
    count = len(row["reverts"])
    marks = [
        ("promoted", row["promoted"]),
        (f"without {count} update{'' if count == 1 else 's'} of {row['parent']}", count),
        (f"reverted in part by {row['reverted_in']}", row["reverted_in"]),
        *((f"{test} got worse: {why}", True) for test, why in row["accepted"].items()),
        (f"yanked: {row['yanked']}", row["yanked"] is not None),
    ]
    return [*row["channels"], *(mark for mark, holds in marks if holds)]


def _family(derived: list[dict[str, Any]]) -> list[str]:
    """Derived models, each below what it comes from."""
    rows = [
        (
            entry["name"],
            entry["version"],
            f"{entry['parent_name']} {entry['parent_version']}",
            entry["model_digest"][:15],
        )
        for entry in derived
    ]
    return table(("DERIVED", "VERSION", "COMES FROM", "MODEL"), rows)


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes:,}"
