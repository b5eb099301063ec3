"""``barnraise history``: every unit that a node of yours has trained, and what became of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from barnraise.cli.nodes import HomeOption, KeyOption, RunNameOption, find_node, options_given
from barnraise.cli.output import JsonOption, print_result, table, wrapped
from barnraise.narrate import short

if TYPE_CHECKING:
    from contributor.history import UnitLine

__all__ = ["history"]

REASON_MAX = 400


def history(
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 20,
    run: RunNameOption = None,
    home: HomeOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a node's units: when, steps, loss, bytes, what became of the update, the version that holds it.

    Example: barnraise history --limit 5
    """
    node = find_node(run, home, key)
    from contributor.folder import NodeFolder
    from contributor.history import read_history

    units = read_history(NodeFolder(node.folder).history)
    told = units[-limit:]
    result = {"run": node.run, "folder": str(node.folder), "total": len(units), "units": [u.as_json() for u in told]}
    print_result("history", result, as_json=as_json, human="\n".join(_words(told, len(units), node.run, home)))


def _words(units: list[UnitLine], total: int, run: str, home: Path | None) -> list[str]:
    if not units:
        return [f"no unit was finished for {run} yet"]
    header = ("TIME", " ROUND", "UPDATE", " STEPS", " LOSS", " BYTES", "FATE")
    lines = table(header, [_row(unit) for unit in units])
    newest = units[-1]
    if newest.reason:
        lines += ["", *wrapped(f"{short(newest.digest)} {newest.state}: {newest.reason[:REASON_MAX]}", "  ")]
    if total > len(units):
        lines += ["", f"the newest {len(units)} of {total:,}; more with --limit"]
    return [*lines, "", f"why one is what it is: barnraise why {short(newest.digest)}{options_given(home=home)}"]


def _row(unit: UnitLine) -> tuple[str, ...]:
    when = datetime.fromtimestamp(unit.at_ms / 1000).astimezone()
    return (
        f"{when:%m-%d %H:%M}",
        str(unit.round),
        short(unit.digest),
        str(unit.steps),
        f"{unit.loss_first:.2f}->{unit.loss_last:.2f}",
        f"{unit.bytes:,}" if unit.bytes else "-",
        f"{unit.state} {unit.version}" if unit.version else unit.state,
    )
