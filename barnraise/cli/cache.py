"""``barnraise cache``: what earlier pulls left for later ones."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from barnraise.cli.output import JsonOption, print_result, table
from barnraise.errors import UsageError
from barnraise.releases.cache import Cache, Cached

__all__ = ["CacheOption", "cache", "find_cache"]

CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Folder of the cache. Default: barnraise in $XDG_CACHE_HOME or ~/.cache.")
]
SHORTEST = 8


def find_cache(folder: Path | None) -> Cache:
    """The cache that was named, else the user's.

    Raises:
        ConfigValueError: a limit in the environment that is no number.
    """
    user = Cache.of_user()
    return user if folder is None else Cache(folder.absolute(), user.max_bytes)


def cache(
    action: Annotated[
        Literal["ls", "rm", "verify"], typer.Argument(help="ls: list. rm: remove. verify: compare every digest.")
    ] = "ls",
    what: Annotated[list[str] | None, typer.Argument(help="rm: digests, or names of runs.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="rm: everything.")] = False,
    folder: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show, empty or check the cache that all your pulls share.

    What was not used for the longest time is removed when it has more than
    $BARNRAISE_CACHE_MAX_BYTES bytes, 10 GiB if not set.

    Example: barnraise cache rm stdlib-lm
    """
    place, wanted = find_cache(folder), what or []
    if action != "rm" and (wanted or everything):
        raise UsageError(f"cache {action} takes no more words; only rm does")
    if action == "ls":
        entries = place.entries()
        result = _result(place, entries)
        human = _listed(place, entries)
    elif action == "rm":
        removed = place.remove(_named(place.entries(), wanted, everything=everything))
        result = {**_result(place, removed), "removed": len(removed)}
        human = f"removed {_count(removed)}; {_count(place.entries())} stay in {place.root}"
    else:
        checked = [entry for entry in place.entries() if entry.is_whole]
        damaged = place.verify()
        result = {**_result(place, damaged), "checked": len(checked), "damaged": len(damaged)}
        lines = [f"damaged and removed, to be fetched again when needed: {_line(entry)}" for entry in damaged]
        human = "\n".join([*lines, f"{_count(checked)} compared with their digests, {len(damaged)} damaged"])
    print_result("cache", result, as_json=as_json, human=human)


def _named(entries: list[Cached], wanted: list[str], *, everything: bool) -> set[str]:
    """Digests of what was named.

    Raises:
        UsageError: nothing was, or something that is not there.
    """
    if everything:
        return {entry.digest for entry in entries}
    if not wanted:
        raise UsageError("remove what? Name digests or runs as in: barnraise cache ls, or say --all")
    found: set[str] = set()
    for text in wanted:
        same = {
            entry.digest
            for entry in entries
            if entry.belongs_to.split(" ")[0] == text
            or (len(text) >= SHORTEST and entry.digest.removeprefix("b3:").startswith(text.removeprefix("b3:")))
        }
        if not same:
            raise UsageError(f"there is no {text[:80]!a} in the cache; see: barnraise cache ls")
        found |= same
    return found


def _result(place: Cache, entries: list[Cached]) -> dict[str, Any]:
    return {
        "folder": str(place.root),
        "max_bytes": place.max_bytes,
        "size_bytes": sum(entry.size_bytes for entry in entries),
        "blobs": [
            {
                "digest": entry.digest,
                "size_bytes": entry.size_bytes,
                "used_at_ms": entry.used_at_ns // 1_000_000,
                "whole": entry.is_whole,
                "belongs_to": entry.belongs_to or None,
                "needed": entry.needed,
            }
            for entry in entries
        ],
    }


def _listed(place: Cache, entries: list[Cached]) -> str:
    rows = [
        (
            entry.digest[:15],
            f"{entry.size_bytes:,}",
            f"{datetime.fromtimestamp(entry.used_at_ns / 1e9, UTC):%Y-%m-%d %H:%M}",
            (entry.belongs_to or "-") + ("" if entry.is_whole else ", not complete"),
        )
        for entry in reversed(entries)
    ]
    lines = table(("BLOB", " BYTES", "LAST USED (UTC)", "WHAT"), rows) if rows else []
    return "\n".join([*lines, f"{_count(entries)} in {place.root}, which may hold {place.max_bytes:,}"])


def _line(entry: Cached) -> str:
    return f"{entry.digest[:15]}.. ({entry.belongs_to or 'of unknown origin'})"


def _count(entries: list[Cached]) -> str:
    size = sum(entry.size_bytes for entry in entries)
    return f"{len(entries)} blob{'' if len(entries) == 1 else 's'} of {size:,} bytes"
