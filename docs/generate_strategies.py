"""Write docs/strategies.md from the docstrings and fields of the rules: run without arguments, or --check.

Every rule says in its module's docstring what it computes (``Formula:``), what the sum is
divided by (``Divisor:``), how it decides between equals (``Ties:``), how many of K may lie
(``Tolerates:``), what it costs (``Cost:``) and where it is from (``Source:``). Its options are
the fields of its dataclass, explained under ``Attributes:``.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from merge import clip
from merge.strategies import BUILT_IN, OUTER_RULES, PRE_AGGREGATIONS

PAGE = Path(__file__).with_name("strategies.md")
SECTIONS = ("Formula", "Divisor", "Ties", "Tolerates", "Cost", "Source")
NEEDED: dict[str, tuple[str, ...]] = {
    "strategy": SECTIONS,
    "pre-aggregation": ("Formula", "Ties", "Tolerates", "Cost", "Source"),
    "outer rule": ("Formula", "Cost", "Source"),
    "clipping": ("Formula", "Tolerates", "Cost", "Source"),
}
WIDTH = 118

HEAD = """\
# Strategies

<!-- Written by docs/generate_strategies.py. Change that, or the rules' own docstrings, and run it again. -->

What turns the updates of a round into one change, in the order in which it happens:

    updates -> norm clipping -> pre-aggregations -> strategy -> outer rule -> trunk

Each part composes with every other, unless it says so. `K` is the number of updates, `x_k` an update as one long
vector (parameters minus base), `w_k` its weight, `|x|` a Euclidean norm, in float64 over the whole model. Elements are
computed in float32, multiply and add apart, in the order of the updates' digests. Where distances are needed they come
from the K by K inner products of the updates, which are measured in one pass and in float64; every iteration then runs
on those numbers. "Tolerates" says how many of K updates may be anything at all.

How to choose: `mean` if contributors are known; norm clipping is always on (`merge.clip_norm_at`) and bounds what one
of them can do. If some may lie, `median` or `trimmed-mean` protect every element, `geometric-median` and `multi-krum`
protect whole updates and keep more of what honest ones learned, `bulyan` does both and needs the most updates. When
contributors' data differ much, put `nnm` or `bucketing` before. No rule replaces the acceptance tests.

    [merge]
    strategy = "geometric-median"
    options = { iterations = 100 }
    before = [{ name = "nnm", options = { liars = 2 } }]

    [merge.outer]
    name = "fed-adam"
    learning_rate = 0.01

Another installed distribution adds a rule through an entry point whose name is the rule's name, in the group
`barnraise.strategies`, `barnraise.pre_aggregations` or `barnraise.outer_rules`; its object is a frozen dataclass of the
shape that [merge/strategies/rule.py](../merge/strategies/rule.py) describes. Built-in names cannot be taken over.
"""


def sections(docstring: str) -> dict[str, str]:
    """The named sections of a module's docstring; a section ends at the next one or at an empty line."""
    names = "|".join(SECTIONS)
    found = re.findall(rf"^({names}): (.*?)(?=^(?:{names}): |^\s*$|\Z)", inspect.cleandoc(docstring), re.M | re.S)
    return {name: " ".join(text.split()) for name, text in found}


def summary(docstring: str) -> str:
    """The first paragraph of a docstring as one line, without the name before its colon."""
    first = " ".join(inspect.cleandoc(docstring).split("\n\n", 1)[0].split())
    text = first.split(": ", 1)[-1]
    return text[0].upper() + text[1:]


def meanings(kind: type) -> dict[str, str]:
    """What a rule's class says of its fields under ``Attributes:``."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |^\S|\Z)", listed, re.M | re.S)
    return {name: " ".join(text.split()) for name, text in entries}


def options(kind: type) -> list[str]:
    """A line for every field of a rule.

    Raises:
        SystemExit: a field is not explained.
    """
    said, lines = meanings(kind), []
    for field in dataclasses.fields(kind):
        if field.name not in said:
            raise SystemExit(f"{kind.__name__} does not explain {field.name} under Attributes:")
        default = f'"{field.default}"' if isinstance(field.default, str) else f"{field.default}"
        lines.append(f"`{field.name}` (default {default}): {said[field.name]}")
    return lines


def entry(name: str, kind: str, docstring: str, option_lines: Sequence[str]) -> str:
    """The part of the page about one rule.

    Raises:
        SystemExit: its docstring lacks a section.
    """
    said = sections(docstring)
    lacking = [section for section in NEEDED[kind] if section not in said]
    if lacking:
        raise SystemExit(f"the docstring of the {kind} {name} lacks {', '.join(lacking)}")
    parts = [f"\n### {name}\n", _filled(summary(docstring), ""), ""]
    parts += [_filled(f"- {section}: {said[section]}", "  ") for section in SECTIONS if section in said]
    parts += [_filled(f"- Option {line}", "  ") for line in option_lines]
    return "\n".join(parts) + "\n"


def table(kind: str, rules: Sequence[type]) -> str:
    """A row for every rule: what it tolerates (for an outer rule, what it does) and where it is from."""
    head = "what it does" if kind == "outer rule" else "tolerates"
    lines = [f"| {kind} | {head} | source |", "|---|---|---|"]
    for rule in rules:
        said = sections(_module_doc(rule))
        does = summary(_module_doc(rule)) if kind == "outer rule" else _brief(said["Tolerates"])
        source = re.split(r' \(|, https|, "', said["Source"], maxsplit=1)[0]
        lines.append(f"| [{_name(rule)}](#{_name(rule)}) | {does} | {source} |")
    return "\n".join(lines) + "\n"


def render() -> str:
    """The whole page.

    Raises:
        SystemExit: a docstring lacks something.
    """
    parts = [HEAD, "\n## Clipping\n", entry("clip_norm_at", "clipping", clip.__doc__ or "", ())]
    for title, kind, rules in (
        ("Pre-aggregations", "pre-aggregation", PRE_AGGREGATIONS),
        ("Strategies", "strategy", BUILT_IN),
        ("Outer rules", "outer rule", OUTER_RULES),
    ):
        entries = [entry(_name(rule), kind, _module_doc(rule), options(rule)) for rule in rules]
        parts += [f"\n## {title}\n\n", table(kind, rules), *entries]
    return "".join(parts)


def _name(rule: type) -> str:
    return str(rule.name)  # type: ignore[attr-defined]


def _module_doc(rule: type) -> str:
    return sys.modules[rule.__module__].__doc__ or ""


def _brief(text: str) -> str:
    """Up to the first semicolon, colon or full stop, short enough for a line of the page."""
    return textwrap.shorten(re.split(r"[;:.](?:\s|$)", text, maxsplit=1)[0], 60, placeholder=" ..")


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)


def main(arguments: list[str]) -> int:
    text = render()
    if "--check" in arguments:
        return 0 if PAGE.read_text(encoding="ascii") == text else 1
    PAGE.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
