"""``barnraise promote``: sign a release for ``stable``, hand it on, sign again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.key_files import load_pair
from barnraise.cli.proposals import KeysOption, OutOption, RunOption, ask, find_place, go_on
from barnraise.cli.sources import FromOption, JsonOption, TrustOption
from barnraise.errors import BadVersionError, UsageError
from barnraise.releases.ceremony import promotion, withdrawal
from barnraise.versions import parse_version

__all__ = ["promote"]


def promote(
    what: Annotated[str, typer.Argument(help="A version, or a proposal that was handed on.")],
    run: RunOption = None,
    source: FromOption = None,
    trust: TrustOption = None,
    keys: KeysOption = None,
    out: OutOption = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take a promotion back instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Promote a release to stable, with the signatures of a threshold of maintainers.

    Example: barnraise promote 1.4.2 --from http://127.0.0.1:8000 --key ada.key
    """
    if not _is_version(what):
        if withdraw:
            raise UsageError("--withdraw begins a proposal, and needs a version; a proposal is just signed: --key")
        place = find_place(run, source, trust) if run is not None or source is not None else None
        go_on("promote", Path(what), place, keys or [], out, as_json)
        return
    place = find_place(run, source, trust)
    request = (withdrawal if withdraw else promotion)(place.charter, place.index, what)
    ask("promote", place, request, [load_pair(path) for path in keys or []], out, as_json)


def _is_version(text: str) -> bool:
    try:
        parse_version(text)
    except BadVersionError:
        return False
    return True
