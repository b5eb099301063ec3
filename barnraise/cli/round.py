"""``barnraise round``: what a round merged, how its updates got on with each other, and why it ended as it did."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer

from barnraise.agreement import agreement_in_words
from barnraise.cli.output import JsonOption, print_result, table
from barnraise.cli.rounds import find_rounds
from barnraise.cli.show import LAST_SECOND, test_table
from barnraise.cli.sources import FromOption, TrustOption
from barnraise.narrate import in_turn, short, suspected
from barnraise.protocol import UpdateStatus
from barnraise.records import RoundLine, RoundRecord

__all__ = ["round", "when"]

WIDTH = 80
NEWEST = 20


def round(  # noqa: A001  # the command's name
    action: Annotated[
        Literal["ls", "show", "check"],
        typer.Argument(help="ls: the newest rounds. show: one of them. check: were its hidden examples drawn by lot?"),
    ] = "show",
    number: Annotated[int | None, typer.Argument(min=1, help="Of the round; the newest by default.")] = None,
    source: FromOption = None,
    trust: TrustOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a round: its updates and their fates, clipping and weights, conflicts, verdict.

    From a coordinator's URL, or from the folder of a run, running or not.

    Example: barnraise round show 7 --from ./my-run
    """
    with find_rounds(source) as rounds:
        if action == "ls":
            found = rounds.lines(NEWEST)
            result = {"from": rounds.label, **found.model_dump(mode="json")}
            human = "\n".join(_list(found.rounds))
        elif action == "check":
            from barnraise.cli.round_check import check_draws

            result = check_draws(rounds, number, trust)
            human = "\n".join(part for line in result["checks"] for part in _wrapped(line["reason"]))
        else:
            record = rounds.record(number)
            result = {"from": rounds.label, **record.model_dump(mode="json")}
            human = "\n".join(_words(record))
    print_result("round", result, as_json=as_json, human=human)


def _list(rounds: tuple[RoundLine, ...]) -> list[str]:
    if not rounds:
        return ["no round was opened yet"]
    header = (" ROUND", "OPENED (UTC)", "PHASE", "BASE", "RELEASE", "UPDATES")
    rows = [
        (
            str(line.number),
            when(line.opened_at_ms),
            line.phase,
            line.base_version,
            line.version or "-",
            ", ".join(f"{count} {state}" for state, count in sorted(line.updates.items())) or "-",
        )
        for line in rounds
    ]
    return [part for line in table(header, rows) for part in _wrapped(line)]


def _words(record: RoundRecord) -> list[str]:
    line = record.line
    lines = [
        *_wrapped(f"round {line.number}: {line.phase}: {line.reason}"),
        f"  base     {line.base_version}" + (f", released as {line.version}" if line.version else ""),
        f"  opened   {when(line.opened_at_ms)} UTC, last moved {when(line.moved_at_ms)}",
    ]
    if record.learning_rate is not None:
        lines.append(f"  trains   at a learning rate of {record.learning_rate:g}")
    if record.merge:
        lines += _wrapped(f"  merged   {_way(record.merge)}")
    if record.verdict:
        lines += _wrapped(
            f"  verdict  {'passed' if record.verdict['passed'] else 'failed'}: {record.verdict['reason']}"
        )
    for name, row in sorted(((record.verdict or {}).get("draws") or {}).get("tests", {}).items()):
        lines.append(f"  drawn    {len(row['places']):,} of {row['size']:,} hidden examples for {name}")
    if record.updates:
        lines += ["", *_updates(record), *_reasons(record)]
    if record.merge:
        lines += ["", *_conflicts(record.merge["conflicts"])]
    if record.verdict:
        lines += ["", *test_table(record.verdict["tests"])]
    return lines


def _way(merge: dict[str, Any]) -> str:
    options = ", ".join(f"{name} = {value}" for name, value in merge["options"].items())
    before = f", after {', '.join(merge['before'])}" if merge["before"] else ""
    notes = "".join(f"; {note}" for note in (in_turn(merge), merge["note"]) if note)
    return f"by {merge['strategy']}{f' ({options})' if options else ''}{before}; outer rule {merge['outer']}{notes}"


def _updates(record: RoundRecord) -> list[str]:
    """A row for every update; what the newest merge did with it only where it was part of that."""
    merged = {row["digest"]: row for row in record.merge["updates"]} if record.merge else {}
    each = record.merge["conflicts"]["updates"] if record.merge else []
    agreements = {row["update"]: row["agreement"] for row in each}
    rows = []
    for update in record.updates:
        row, agreement = merged.get(update.digest, {}), agreements.get(update.digest, {})
        rows.append(
            (
                short(update.digest),
                _cut(record.names.get(update.contributor, short(update.contributor)), 16),
                update.state,
                _number(row.get("weight"), "g"),
                _number(row.get("clip"), ".3f"),
                _number(row.get("share"), ".1%"),
                _number(agreement.get("opposed"), ".1%"),
                _number(agreement.get("cosine"), ".3f"),
            )
        )
    return table(("UPDATE", "BY", "FATE", " WEIGHT", " CLIP", " SHARE", " OPPOSED", " COSINE"), rows)


def _reasons(record: RoundRecord) -> list[str]:
    """Why updates are not in a release, and what a late one conflicts with."""
    lines = []
    for update in record.updates:
        if seen := (record.merge or {}).get("recognised", {}).get(update.digest):
            lines += _wrapped(f"{short(update.digest)} {suspected(seen)}")
        if update.state in {"rejected", "unmerged", "reverted"}:
            lines += _wrapped(f"{short(update.digest)} {update.state}: {update.reason}")
            lines += _late(update)
    return ["", *lines] if lines else []


def _late(update: UpdateStatus) -> Iterator[str]:
    worst = (update.evidence.get("conflicts") or {}).get("worst_tensors") or []
    for row in worst[:3]:
        yield from _wrapped(f"    {_cut(row['tensor'], 40)}: {agreement_in_words(row['agreement'])}", " " * 8)


def _conflicts(found: dict[str, Any]) -> list[str]:
    overall = agreement_in_words(found["overall"])
    lines = _wrapped(f"conflicts, over {found['pairs']} pairs of updates and {found['tensors']} tensors: {overall}")
    header = (" OVERLAP", " BY CHANCE", " OPPOSED", " COSINE")
    if found["worst_tensors"]:
        rows = [(_cut(row["tensor"], 40), *_agreement(row["agreement"])) for row in found["worst_tensors"]]
        lines += ["", *table(("TENSOR, WORST FIRST", *header), rows)]
    if found["worst_pairs"]:
        rows = [
            (f"{short(row['first'])} {short(row['second'])}", *_agreement(row["agreement"]))
            for row in found["worst_pairs"]
        ]
        lines += ["", *table(("PAIR, WORST FIRST", *header), rows)]
    return lines


def _agreement(found: dict[str, Any]) -> tuple[str, str, str, str]:
    kinds = {"overlap": ".1%", "expected_overlap": ".1%", "opposed": ".1%", "cosine": ".3f"}
    overlap, chance, opposed, cosine = (_number(found[name], kind) for name, kind in kinds.items())
    return overlap, chance, opposed, cosine


def _number(value: float | None, kind: str) -> str:
    return "-" if value is None else format(value, kind)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 2]}.."


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent, drop_whitespace=True, break_on_hyphens=False)


def when(at_ms: int) -> str:
    """A moment, in UTC."""
    return f"{datetime.fromtimestamp(min(at_ms // 1000, LAST_SECOND), UTC):%Y-%m-%d %H:%M:%S}"
