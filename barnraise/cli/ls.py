"""``barnraise ls``: the releases of a run."""

from __future__ import annotations

from typing import Any

from barnraise.cli.output import print_result, print_warnings, table
from barnraise.cli.sources import FromOption, JsonOption, find_source
from barnraise.releases.catalog import read_index
from barnraise.releases.index import IndexEntry, ReleaseIndex

__all__ = ["ls"]


def ls(source: FromOption = None, as_json: JsonOption = False) -> None:
    """List the releases of a run, oldest first.

    Example: barnraise ls --from http://127.0.0.1:8000
    """
    place = find_source(source)
    index, warnings = read_index(place)
    print_warnings(warnings, as_json=as_json)
    result = {
        "from": place.label,
        "name": index.name,
        "coordinator_key": index.coordinator_key,
        "serial": index.serial,
        "channels": index.channels,
        "releases": [_row(index, entry) for entry in index.releases],
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
    return "\n".join([f"{result['name']}: {count}, signed by {result['coordinator_key'][:16]}..", *lines])


def _size(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes:,}"
