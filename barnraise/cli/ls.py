"""``barnraise ls``: the releases of a run."""

from __future__ import annotations

from typing import Any

from barnraise.cli.output import print_result, print_warnings, table
from barnraise.cli.sources import FromOption, JsonOption, TrustOption, find_source
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.trust import TrustOptions, read_index

__all__ = ["ls"]


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
        "releases": [_row(index, entry) for entry in index.releases],
        "derived": [entry.model_dump(mode="json") for entry in index.derived],
        "warnings": warnings,
    }
    print_result("ls", result, as_json=as_json, human=_words(result))


def _row(index: ReleaseIndex, entry: IndexEntry) -> dict[str, Any]:
    return {
        "version": entry.version,
        "parent": entry.parent,
        "model_digest": entry.model_digest,
        "keyframe_bytes": entry.keyframe.size_bytes if entry.keyframe else None,
        "patch_bytes": entry.patch.size_bytes if entry.patch else None,
        "yanked": entry.yanked,
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
            " ".join([*row["channels"], *([f"yanked: {row['yanked']}"] if row["yanked"] is not None else [])]),
        )
        for row in releases
    ]
    lines = table(("VERSION", "PARENT", " PATCH BYTES", " KEYFRAME BYTES", "MODEL", "CHANNELS"), rows)
    if result["derived"]:
        lines += ["", *_family(result["derived"])]
    return "\n".join([f"{result['name']}: {count}, trusted from root {result['root'][:15]}..", *lines])


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
