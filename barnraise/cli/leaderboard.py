"""``barnraise leaderboard``: who improves a run's model how much, by what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from barnraise.cli.nodes import HomeOption, nodes_here
from barnraise.cli.output import JsonOption, print_result, table, wrapped
from barnraise.cli.rounds import find_rounds
from barnraise.cli.sources import FromOption
from barnraise.errors import UsageError
from barnraise.records import ContributorLine, ContributorLines

__all__ = ["leaderboard"]

NAME_MAX = 24


def leaderboard(
    source: FromOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="The first so many.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank contributors by what their updates improve on hidden text, never by how many there are.

    Without --from: of the run that a node on this machine works for.

    Example: barnraise leaderboard --from http://127.0.0.1:8000
    """
    with find_rounds(source or _node_url(home)) as run:
        lines, label = run.contributors(limit), run.label
    mine = {node.key for node in nodes_here(home)}
    result = {"from": label, **lines.model_dump(mode="json")}
    print_result("leaderboard", result, as_json=as_json, human="\n".join(_words(lines, mine)))


def _node_url(home: Path | None) -> str | None:
    """The only coordinator that nodes of this user work for; None leaves it to the usual places."""
    urls = {node.url for node in nodes_here(home)}
    if len(urls) > 1:
        raise UsageError(f"which run? Nodes here work for {', '.join(sorted(urls))}; name one with --from URL")
    return next(iter(urls), None)


def _words(lines: ContributorLines, mine: set[str]) -> list[str]:
    if not lines.contributors:
        return ["nobody has asked for work yet"]
    header = (" PLACE", "NAME", "KEY", " WORTH", " SCORED", " MERGED", " TOKENS")
    shown = table(header, [_row(line, mine) for line in lines.contributors])
    over = f"rounds {lines.first_round} to {lines.last_round}"
    about = (
        f"WORTH: what their updates of {over} improve on hidden text, in units of a round's scores against everybody's "
        f"mean; differences below {lines.step:g} are chance, and share a place. TOKENS: of merged updates."
    )
    more = [f"the first {len(lines.contributors)} of {lines.total:,}"] if lines.total > len(lines.contributors) else []
    return [*shown, "", *more, *wrapped(about)]


def _row(line: ContributorLine, mine: set[str]) -> tuple[str, ...]:
    name = line.name if len(line.name) <= NAME_MAX else f"{line.name[: NAME_MAX - 2]}.."
    return (
        str(line.place) if line.place is not None else "-",
        f"{name} (you)" if line.contributor[:8] in mine else name,
        line.contributor[:8],
        f"{line.value:+g}" if line.value is not None else "-",
        str(line.scored),
        str(line.updates.get("merged", 0)),
        f"{line.tokens:,}",
    )
