"""The result as a page: how well each cheap test orders releases, what it costs, and where it misleads."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

import numpy as np

from benchmarks.attached import digits
from benchmarks.attached.ranks import Values, interval, kendall, spearman
from benchmarks.attached.sizes import Sizes
from benchmarks.attached.study import VARIANTS, Record
from merge.architectures import parameter_count

__all__ = ["page"]

GROUPS = {
    "all": ("trunk", "sibling", "damaged"),
    "honest": ("trunk", "sibling"),
    "one base": ("sibling", "damaged"),
}
CHANGE = "change"
AGAIN = "whole, again"
ADDED = ("again", "more")
FEWEST = 5


def page(records: Sequence[Record], sizes: Sizes) -> list[str]:
    """The lines of the page."""
    own = {one["release"]: one for one in records if one["what"] == "own"}
    more = {(one["what"], one["release"], one["task"]): one for one in records}
    text = [
        _merged(one, own.get(one["release"]), *(more.get((what, one["release"], one["task"])) for what in ADDED))
        for one in records
        if one["what"] == "text"
    ]
    lines = [
        *_what_was_done(sizes),
        "",
        "Spearman's rank correlation with the loss after a whole fine-tune, mean over tasks, 95% bootstrap interval "
        "over releases; Kendall's tau-b; cost as a share of a whole fine-tune's processor seconds. *Change*: of the "
        "differences between each release and the one that it was made from, without the trend that a longer "
        "training gives to everything. *One base*: siblings and damaged ones alone, which is what an acceptance test "
        "has to tell apart. *Whole, again* is the fine-tune with another seed: what can be reached at best.",
        "",
    ]
    lines += _section("Text", text, VARIANTS)
    if sizes.digits:
        lines += _section("Digits", [one for one in records if one["what"] == "digits"], digits.VARIANTS)
    return lines


def _what_was_done(sizes: Sizes) -> list[str]:
    """The first paragraph."""
    command = "python -m benchmarks.attached" + (f" --size {sizes.name}" if sizes.name == "stdlib" else "")
    model = f"byte model of {parameter_count(sizes.model):,} parameters"
    if sizes.name == "stdlib":
        model += ", as benchmarks/topk_256.toml has it, with that run's shards, inner steps and codec"
    made = f"on the release of round {sizes.early} (*early*) or {sizes.last}"
    if sizes.plain:
        model += f"; {sizes.plain[-1]} steps of plain training, then rounds"
        made = f"after {sizes.early} steps (*early*) or on the release of round {sizes.last}"
    tuned = sizes.batch * sizes.model.context
    return [
        f"`{command}`: {model}. A whole fine-tune is {sizes.full} steps of {sizes.batch} windows, "
        f"{sizes.full * tuned:,} bytes; cheap tests look at {sizes.cheap} windows of {sizes.model.context} bytes, the "
        f"truth at {sizes.truth} others. Attachments are made {made}; siblings are candidates for round "
        f"{sizes.last + 1}."
    ]


def _merged(one: Record, *more: Record | None) -> Record:
    """With what else was found of the same release."""
    there = [one, *(other for other in more if other is not None)]
    return {**one, **{part: {k: v for other in there for k, v in other[part].items()} for part in ("said", "seconds")}}


def _section(title: str, records: Sequence[Record], variants: Sequence[str]) -> list[str]:
    lines = [f"## {title}", ""]
    tasks = list(dict.fromkeys(one["task"] for one in records))
    if not tasks:
        return [*lines, "Not measured.", ""]
    releases = len({one["release"] for one in records})
    kinds = Counter({one["release"]: one["kind"] for one in records}.values())
    told = (
        f"{kinds['trunk']} of the trunk, {kinds['sibling']} honest candidates of one base, {kinds['damaged']} damaged"
    )
    lines += [f"{releases} releases ({told}), tasks: {', '.join(tasks)}.", ""]
    lines += ["| test | cost | all | tau | honest | change | one base |", "|---|---:|---|---:|---|---|---|"]
    whole = statistics.fmean(one["seconds"]["whole"] for one in records)
    for name in (*variants, AGAIN):
        found = [one for one in records if name in one["said"]]
        full = [task for task in tasks if sum(one["task"] == task for one in found) == releases]
        if not full:
            continue
        cost = 1.0 if name == AGAIN else statistics.fmean(one["seconds"][name] for one in found) / whole
        cells = [_cell(found, full, name, group) for group in ("all", "honest", CHANGE, "one base")]
        tau = interval(_pairs(found, full, name, "all"), kendall)[0]
        part = "" if len(full) == len(tasks) else f" ({len(full)} of {len(tasks)} tasks)"
        lines.append(f"| {name}{part} | 1/{1 / cost:.0f} | {cells[0]} | {tau:.2f} | {' | '.join(cells[1:])} |")
    return [*lines, "", *_by_task(records, tasks, variants), *_spread(records, tasks), *_losers(records, tasks)]


def _pairs(records: Sequence[Record], tasks: Sequence[str], name: str, group: str) -> list[tuple[Values, Values]]:
    """Task by task, what a test says of the releases of a group and how their fine-tunes turned out."""
    found = []
    for task in tasks:
        at = {one["release"]: one for one in records if one["task"] == task}
        if group == CHANGE:
            both = [(one, at[one["parent"]]) for one in at.values() if one.get("parent") in at]
            found.append(tuple(np.array([_said(a, n) - _said(b, n) for a, b in both]) for n in (name, "whole")))
        else:
            mine = [one for one in at.values() if one["kind"] in GROUPS[group]]
            found.append(tuple(np.array([_said(one, n) for one in mine]) for n in (name, "whole")))
    return [(x_N, y_N) for x_N, y_N in found]


def _said(record: Record, name: str) -> float:
    return float(record["said"][name])


def _cell(records: Sequence[Record], tasks: Sequence[str], name: str, group: str) -> str:
    pairs = _pairs(records, tasks, name, group)
    if len(pairs[0][0]) < FEWEST:
        return "-"
    mean, low, high = interval(pairs, spearman)
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def _by_task(records: Sequence[Record], tasks: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Spearman task by task, all releases / changes / one base."""
    groups = [group for group in ("all", CHANGE, "one base") if len(_pairs(records, tasks, "whole", group)[0][0])]
    lines = [f"Task by task, {' / '.join(groups)}:", "", "| test | " + " | ".join(tasks) + " |"]
    lines.append("|---|" + "---|" * len(tasks))
    for name in (*variants, AGAIN):
        if not any(name in one["said"] for one in records):
            continue
        cells = []
        for task in tasks:
            found = [one for one in records if one["task"] == task and name in one["said"]]
            whole = len(found) == sum(one["task"] == task for one in records)
            values = [spearman(*_pairs(found, [task], name, group)[0]) for group in groups] if whole else []
            cells.append(" / ".join(f"{value:.2f}" for value in values) if values else "-")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _spread(records: Sequence[Record], tasks: Sequence[str]) -> list[str]:
    """How far releases lie apart, beside how far one and the same does with another seed."""
    lines = []
    for task in tasks:
        mine = [one for one in records if one["task"] == task]
        one_base = [one["said"]["whole"] for one in mine if one["kind"] in GROUPS["one base"]]
        seeds = [one["said"]["whole"] - one["said"][AGAIN] for one in mine if AGAIN in one["said"]]
        if len(seeds) < FEWEST or len(one_base) < FEWEST:
            continue
        centred = np.array(seeds) - np.mean(seeds)
        seed = float(np.sqrt(np.mean(centred**2) / 2))
        lines.append(
            f"- {task}: after a whole fine-tune candidates of one base lie {np.std(one_base, ddof=1):.4f} bits apart "
            f"(standard deviation), one and the same with another seed {seed:.4f}."
        )
    return [*lines, ""] if lines else []


def _losers(records: Sequence[Record], tasks: Sequence[str]) -> list[str]:
    """Of every damaged candidate: the mean difference to the honest siblings, after a fine-tune and as tests see it."""
    shown = [name for name in ("attached", "attached early", "plain", "own") if name in records[0]["said"]]
    lines = ["Damaged ones, bits more than the honest candidates of their base (mean over tasks):", ""]
    lines += ["| damaged | after a whole fine-tune | " + " | ".join(shown) + " |", "|---|---:|" + "---:|" * len(shown)]
    for release in dict.fromkeys(one["release"] for one in records if one["kind"] == "damaged"):
        cells = [_behind(records, tasks, release, name) for name in ("whole", *shown)]
        lines.append(f"| {release} | " + " | ".join(f"{cell:+.3f}" for cell in cells) + " |")
    return [*lines, ""]


def _behind(records: Sequence[Record], tasks: Sequence[str], release: str, name: str) -> float:
    gaps = []
    for task in tasks:
        mine = [one for one in records if one["task"] == task and name in one["said"]]
        honest = [one["said"][name] for one in mine if one["kind"] == "sibling"]
        found = [one["said"][name] for one in mine if one["release"] == release]
        if honest and found:
            gaps.append(found[0] - statistics.fmean(honest))
    return statistics.fmean(gaps) if gaps else math.nan
