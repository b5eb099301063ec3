"""The model card of a release: what it is, how to get and check it, how it was tested, by whom it was made.

Markdown with the front matter that model hubs read. Everything in it that somebody else chose, a
display name above all, is quoted: as a double-quoted YAML scalar above, with every character that
means something to Markdown or HTML escaped below. The card is a blob that the manifest names.

Source: https://huggingface.co/docs/hub/model-cards; https://yaml.org/spec/1.2.2/#57-escaped-characters
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from barnraise.releases.lineage import Lineage

__all__ = ["CardFacts", "Contributor", "plain", "quoted", "render_card"]

LAST_SECOND = 253_402_300_799  # of the year 9999, the last that datetime can say
CONTRIBUTORS_SHOWN = 200
HUB_LICENCES = frozenset(
    {
        *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "mpl-2.0"),
        *("gpl-3.0", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0"),
        *("openrail", "bigscience-openrail-m"),
    }
)
"""Licences that model hubs know by name, which are those of SPDX in lower case."""

_SPECIAL = frozenset("\\`*_{}[]()#+-.!|~^$:@")


@dataclass(frozen=True, slots=True)
class Contributor:
    """Whose updates are in the release, by key; the name is what they call themselves."""

    name: str
    key: str
    updates: int


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card says.

    Attributes:
        lineage: version, parent, round, what changed.
        tests: name -> numbers, as ``ReleaseTagged.summary`` has them.
        architecture: what the model is, as name -> value.
        data: what it learnt from: corpus and domains.
        transformers: whether the folder loads with the transformers library.
        task: what the model does, as model hubs name it.
    """

    lineage: Lineage
    description: str
    licence: str
    created_at_ms: int
    tests: Mapping[str, Mapping[str, Any]]
    contributors: Sequence[Contributor]
    architecture: Mapping[str, Any]
    data: Mapping[str, Sequence[str]]
    corpus: str
    transformers: bool
    task: str = "text-generation"


def render_card(facts: CardFacts) -> bytes:
    """The card, UTF-8. The same facts give the same bytes."""
    parts = [_front_matter(facts), _what(facts), _use(facts), _tests(facts), _origin(facts), _limits(facts)]
    return ("\n".join(line for part in parts for line in part) + "\n").encode("utf-8")


# -- front matter ----------------------------------------------------------------------------


def _front_matter(facts: CardFacts) -> list[str]:
    licence = facts.licence.lower()
    lines = ["---"]
    if licence in HUB_LICENCES:
        lines.append(f"license: {quoted(licence)}")
    else:
        lines += ["license: other", f"license_name: {quoted(facts.licence or 'none stated')}"]
    if facts.transformers:
        lines.append("library_name: transformers")
    lines.append(f"pipeline_tag: {facts.task}")
    lines += ["tags:", "- barnraise", f"- {quoted(facts.lineage.name)}"]
    if facts.tests:
        lines += ["model-index:", f"- name: {quoted(facts.lineage.name)}", "  results:"]
        for name, row in facts.tests.items():
            lines += _result(facts, name, row)
    return [*lines, "---", ""]


def _result(facts: CardFacts, name: str, row: Mapping[str, Any]) -> list[str]:
    return [
        "  - task:",
        f"      type: {facts.task}",
        "    dataset:",
        f"      name: {quoted(f'held-out {facts.corpus}')}",
        f"      type: {quoted(facts.corpus)}",
        "    metrics:",
        f"    - name: {quoted(name)}",
        f"      type: {quoted(str(row.get('unit', '')))}",
        f"      value: {_number(row.get('mean')) or 'null'}",
        "      verified: false",
    ]


def quoted(text: str) -> str:
    """A YAML double-quoted scalar with nothing but printable ASCII in it."""
    return '"' + "".join(_yaml_char(char) for char in text) + '"'


def _yaml_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


# -- text ------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """``text`` as Markdown that shows exactly that, on one line; what cannot be seen is shown by its number."""
    return "".join(_markdown_char(char) for char in text)


def _markdown_char(char: str) -> str:
    if char in "<>&\"'":
        return f"&#{ord(char)};"
    if char in _SPECIAL:
        return "\\" + char
    if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in {"Zl", "Zp"}:
        return f"U+{ord(char):04X}"
    return char


def _what(facts: CardFacts) -> list[str]:
    lineage = facts.lineage
    made = datetime.fromtimestamp(min(facts.created_at_ms // 1000, LAST_SECOND), UTC)
    parents = [f"{plain(p.name)} {p.version} ({p.relation}, `{p.model_digest}`)" for p in lineage.parents]
    built = ", ".join(f"{plain(str(key))} {plain(str(value))}" for key, value in facts.architecture.items())
    return [
        f"# {plain(lineage.name)} {lineage.version}",
        "",
        plain(facts.description) or "A model that a community trains together with Barnraise.",
        "",
        "| | |",
        "|---|---|",
        f"| version | {lineage.version} ({lineage.bump}): {plain(lineage.reason)} |",
        f"| model | `{lineage.model_digest}` |",
        f"| size | {lineage.change.parameters:,} parameters in {lineage.change.tensors:,} tensors |",
        f"| architecture | {built} |",
        f"| made | {made:%Y-%m-%d %H:%M:%S} UTC, in round {lineage.round} |",
        f"| parents | {'; '.join(parents) or 'none, this is the first release'} |",
        f"| licence | {plain(facts.licence) or 'none stated'} |",
        "",
    ]


def _use(facts: CardFacts) -> list[str]:
    spec = f"{facts.lineage.name}@{facts.lineage.version}"
    lines = [
        "## Getting and checking it",
        "",
        f"    barnraise pull {spec} --into ./model --from URL",
        "    barnraise verify ./model",
        "",
        "`verify` needs no network: the folder holds the signatures that lead to every byte of it, this card included.",
        "",
        "    import barnraise",
        '    model = barnraise.load("./model")',
        "",
    ]
    if facts.transformers:
        lines += [
            "It loads in transformers as it is:",
            "",
            "    from transformers import AutoModelForCausalLM, AutoTokenizer",
            '    model = AutoModelForCausalLM.from_pretrained("./model")',
            '    tokenizer = AutoTokenizer.from_pretrained("./model")',
            "",
        ]
    else:
        lines += [
            "With torch and `barnraise[merge]` it is a module:",
            "",
            "    from merge.architectures import build",
            '    weights = barnraise.load("./model", framework="torch")',
            "    module = build(weights.architecture).eval()",
            "    module.load_state_dict(dict(weights))",
            "",
        ]
    return lines


def _tests(facts: CardFacts) -> list[str]:
    if not facts.tests:
        return []
    lines = [
        "## Acceptance tests",
        "",
        "| test | mean | parent | effect | interval | unit | promised | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in facts.tests.items():
        numbers = " | ".join(_number(row.get(key)) or "-" for key in ("mean", "base_mean", "effect"))
        low, high = _number(row.get("low")), _number(row.get("high"))
        share = row.get("confidence")
        at = f" ({share:.1%})" if isinstance(share, float) else ""
        interval = f"{low} to {high}{at}" if low and high else "-"
        verdict = "-" if row.get("base_mean") is None else "passed" if row.get("passed") else "failed"
        verdict = "worse, accepted" if row.get("accepted") is not None else verdict
        promised = "yes" if row.get("supported") else "no"
        lines.append(
            f"| {plain(name)} | {numbers} | {interval} | {plain(str(row.get('unit', '')))} | {promised} | {verdict} |"
        )
    worse = [(name, str(row["accepted"])) for name, row in facts.tests.items() if row.get("accepted") is not None]
    return [
        *lines,
        "",
        *(f"Released though {plain(name)} got worse: {plain(why)}" for name, why in worse),
        *([""] if worse else []),
        "A promised test passes when the release is shown to be non-inferior to its parent within the test's own",
        "margin. The full report is in `acceptance.json`.",
        "",
    ]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _origin(facts: CardFacts) -> list[str]:
    lineage, change = facts.lineage, facts.lineage.change
    lines = ["## Where it comes from", ""]
    if lineage.parents:
        share = 100 * change.parameters_changed / max(1, change.parameters)
        lines += [
            f"{change.parameters_changed:,} of {change.parameters:,} parameters ({share:.2f}%), in "
            f"{change.tensors_changed:,} of {change.tensors:,} tensors, are different from its parent's. "
            f"{len(lineage.updates):,} updates were merged by {plain(', then '.join(lineage.merged_by))}.",
            "",
        ]
    if facts.contributors:
        lines += ["| contributor | key | updates |", "|---|---|---|"]
        shown = facts.contributors[:CONTRIBUTORS_SHOWN]
        lines += [f"| {plain(who.name)} | `{who.key[:16]}` | {who.updates:,} |" for who in shown]
        if len(shown) < len(facts.contributors):
            lines.append(f"| and {len(facts.contributors) - len(shown):,} more, in `lineage.json` | | |")
        lines.append("")
    known = {domain: parts for domain, parts in facts.data.items() if parts}
    lines += [f"Trained on {plain(facts.corpus)}{':' if known else '.'}", *([""] if known else [])]
    lines += [f"- {plain(domain)}: {plain(', '.join(parts))}" for domain, parts in known.items()]
    return [*lines, "", "`lineage.json` has every update with its weight, `run.json` every setting.", ""]


def _limits(facts: CardFacts) -> list[str]:
    supported = sum(bool(row.get("supported")) for row in facts.tests.values())
    says = "writes" if facts.task == "text-generation" else "says"
    return [
        "## Limits",
        "",
        f"- Tested is what the {supported} promised tests above measure, on held-out data, and nothing else.",
        "- Non-inferior means not shown to be worse beyond a margin; small losses within it can add up over releases.",
        "- Contributors are known by keys, not as persons. Robust merging and tests bound what one of them can do;",
        "  they do not rule out that somebody taught the model something that no test looks for.",
        f"- Nobody has made it safe or truthful. Look at what it {says} before you use it.",
    ]
