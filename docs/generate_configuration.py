"""Write docs/configuration.md: names, defaults and bounds from barnraise.config, meanings from here.

    python docs/generate_configuration.py           writes the page
    python docs/generate_configuration.py --check   says whether it is up to date

A key without a meaning here, and a meaning without a key, both end the script.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnraise.config import RunConfig

PAGE = Path(__file__).with_name("configuration.md")
REQUIRED = "required"

MEANINGS: dict[str, tuple[str, str]] = {  # key -> (unit, meaning)
    "name": ("-", "Name of the run and of its model. Cannot change later."),
    "description": ("-", "One line for people, told to whoever asks for the run."),
    "licence": ("-", "Licence of the releases, an SPDX name; goes into every manifest."),
    "model.architecture": ("-", "Which architecture is trained; see merge/architectures."),
    "model.dim": ("elements", "Width of the residual stream; a multiple of 2 * heads."),
    "model.layers": ("blocks", "How many transformer blocks."),
    "model.heads": ("heads", "Attention heads in a block."),
    "model.hidden": ("elements", "Width inside the feed-forward block."),
    "model.context": ("bytes", "How much the model sees at once; also the length of a test window."),
    "model.init_seed": ("-", "Seed of the first release's weights."),
    "model (causal-lm).architecture": ("-", "A causal language model of transformers."),
    "model (causal-lm).config": ("-", "Table: its config.json, plain values only; code that it asks for is never run."),
    "model (causal-lm).context": ("tokens", "How much the model sees at once in training and tests."),
    "model (causal-lm).init_seed": ("-", "Seed of the first release's weights."),
    "model (causal-lm).start": (
        "-",
        "Digest of the first release's weights; written where the file says from, a folder to begin with.",
    ),
    "model (causal-lm).files": ("-", "Table: name = digest of what travels with every release; written likewise."),
    "model (image-classifier).architecture": ("-", "A small convolutional classifier of square pictures."),
    "model (image-classifier).size": ("pixels", "Edge of a picture; a multiple of 2 ** blocks."),
    "model (image-classifier).channels": ("-", "Numbers in a pixel."),
    "model (image-classifier).levels": ("-", "A pixel is a number from 0 to this."),
    "model (image-classifier).classes": ("-", "How many answers there are."),
    "model (image-classifier).width": ("channels", "Of the first block; each further one has twice as many."),
    "model (image-classifier).blocks": ("blocks", "Each halves the edge."),
    "model (image-classifier).init_seed": ("-", "Seed of the first release's weights."),
    "model (foreign).architecture": ("-", "Name of an entry point of the group barnraise.architectures."),
    "model (foreign).options": ("-", "Table that it gets as it is."),
    "model (foreign).context": ("bytes", "Of an example."),
    "model (foreign).init_seed": ("-", "Seed of the first release's weights."),
    "data.corpus": ("-", "Where examples come from: here the source text of the running Python's standard library."),
    "data.held_out_percent": ("% of files", "Share of files, by digest of their path, kept for acceptance tests."),
    "data.shards": ("-", "Table: name of a domain = list of its top-level modules and packages."),
    "data (digits).corpus": ("-", "1,797 handwritten digits that ship with Barnraise."),
    "data (digits).held_out_percent": (
        "% of pictures",
        "Share of pictures, by their digest, kept for acceptance tests.",
    ),
    "data (digits).shards": (
        "-",
        "Table: name = list of digits. A digit that several name is dealt out among them, picture by picture.",
    ),
    "data (local).corpus": ("-", "Text that contributors bring with --data, and that never leaves their machines."),
    "data (local).held_out": (
        "-",
        "The operator's own text for acceptance tests, as patterns relative to this file: texts/*.txt.",
    ),
    "data (foreign).corpus": ("-", "Name of an entry point of the group barnraise.corpora."),
    "data (foreign).held_out_percent": ("%", "Share that it is to keep for acceptance tests."),
    "data (foreign).shards": ("-", "Table: name of a shard = whatever the entry point says of it."),
    "data (foreign).options": ("-", "Table that it gets as it is."),
    "training.steps": ("optimiser steps", "Inner AdamW steps in one unit of work."),
    "training.batch": ("windows", "Windows in a batch."),
    "training.learning_rate": ("-", "Learning rate of AdamW."),
    "training.warmup_steps": ("optimiser steps", "Steps over which the learning rate rises to its value."),
    "training.weight_decay": ("-", "Weight decay of AdamW."),
    "training.beta1": ("-", "First moment decay of AdamW."),
    "training.beta2": ("-", "Second moment decay of AdamW."),
    "training.clip_grad_norm": ("L2 norm", "Gradients are clipped at this norm."),
    "training.keep_moments": (
        "-",
        "A contributor's AdamW goes on with the moments of its last received unit; else every unit begins without.",
    ),
    "schedule.rising_rounds": ("rounds", "With a lower learning rate, before the first that has all of it."),
    "schedule.falls_from": ("round", "The first with less than all of it again; absent means never."),
    "schedule.falling_rounds": ("rounds", "In which it falls evenly to schedule.lowest, where it stays."),
    "schedule.lowest": ("share", "Of training.learning_rate, from the end of the fall on."),
    "update.codec.name": ("-", "How contributors compress: dense, blockwise or topk."),
    "update.codec.bits": ("bits an element", "Used by blockwise only."),
    "update.codec.k": ("of 4,096 elements", "Entries kept in every chunk; used by topk only."),
    "update.residual_decay": (
        "share",
        "So much of what compression left out goes into a contributor's next update (error feedback); 0 keeps nothing, "
        "and is the default with update.turns.",
    ),
    "update.fold_back_unmerged": ("-", "Contributors may add an update that was not merged, without fault, back."),
    "update.train": (
        "-",
        "List of patterns such as model.layers.*.mlp.*: only tensors whose names match one train. Empty means all.",
    ),
    "update.lora": (
        "-",
        "Table: train and send factors of rank (8 if absent) in place of the matrices that update.train names, or of "
        "all, scaled by alpha / rank (alpha = rank if absent).",
    ),
    "update.mask": (
        "-",
        "Table: train the entries of the mask in file, which lies beside this one, and send their values. "
        "barnraise mask makes the file and prints this table, with the file's digest and size_bytes.",
    ),
    "update.turns": (
        "elements",
        "Contributors send one of so many elements, all the same ones, others in each round. Absent: all elements.",
    ),
    "update.fisher": ("-", "Contributors send a diagonal Fisher along, which the strategy fisher needs."),
    "release.codec.name": ("-", "How the coordinator compresses a patch."),
    "release.codec.bits": ("bits an element", "Used by blockwise only."),
    "release.codec.k": ("of 4,096 elements", "Entries kept in every chunk; used by topk only."),
    "release.turns": (
        "elements",
        "A patch says one of so many elements, others in each round; what is left waits with the coordinator for its "
        "turn. Absent: all elements.",
    ),
    "release.keyframe_every": ("releases", "Every so many releases the whole model is stored beside the patch."),
    "round.target_updates": ("updates", "Enough: collecting ends with this many checked and no lease out."),
    "round.min_updates": ("updates", "With fewer at the deadline the round is abandoned."),
    "round.settle_for_s": ("seconds", "With min_updates in, collecting also ends when nobody trained or came so long."),
    "round.collect_for_s": ("seconds", "Deadline of collecting, counted from the first lease of the round."),
    "round.lease_for_s": ("seconds", "How long a contributor may take; never beyond the deadline."),
    "round.max_rounds": ("rounds", "Open no more rounds after this many; absent means no end."),
    "merge.strategy": ("-", "Rule that combines updates, such as mean, trimmed-mean or krum."),
    "merge.options": ("-", "Table of the strategy's hyperparameters, such as trim = 0.2."),
    "merge.before[].name": ("-", "Pre-aggregations that mix updates before the strategy, in order: nnm, bucketing."),
    "merge.before[].options": ("-", "Table of its hyperparameters."),
    "merge.clip_norm_at": ("times the median", "An update's norm is clipped at this multiple of the round's median."),
    "merge.weight_by": (
        "-",
        "All updates count alike, by tokens (stated, and plausible), or by scores: what each does to hidden text.",
    ),
    "merge.weight_bound": ("times", "By scores, one update weighs at most so many times another."),
    "merge.segments_per_task": ("segments", "Segments that one Ray task merges."),
    "merge.outer.name": ("-", "Outer optimiser over the merged change; none adds it as it is."),
    "merge.outer.learning_rate": ("-", "Outer learning rate."),
    "merge.outer.momentum": ("-", "Momentum of outer-nesterov and fed-avg-m."),
    "merge.outer.beta1": ("-", "First moment decay of fed-adagrad, fed-adam and fed-yogi."),
    "merge.outer.beta2": ("-", "Second moment decay of fed-adam and fed-yogi."),
    "merge.outer.tau": ("-", "How far fed-adagrad, fed-adam and fed-yogi adapt; smaller adapts more."),
    "acceptance.alpha": ("probability", "Family-wise error rate of calling a worse model non-inferior."),
    "acceptance.check_examples": ("examples", "Held-out examples for the check of every single update."),
    "acceptance.check_pool": (
        "examples",
        "So many are at hand, of which each round draws its own; absent: always the same ones, and whoever trains "
        "on what the tests look at is not recognised.",
    ),
    "acceptance.check_margin": ("bits per byte or answer", "By how much an update alone may worsen those."),
    "acceptance.name": ("-", "Name of the suite, for people."),
    "acceptance.description": ("-", "One line about the suite."),
    "acceptance.suite": ("-", "Read the tests and data sets from NAME.toml beside this file, or from one that ships."),
    "acceptance.data.NAME.path": ("-", "File of a data set, one JSON object a line; relative to the suite's file."),
    "acceptance.data.NAME.digest": ("-", "BLAKE3 of that file; another one is refused."),
    "acceptance.data.NAME.hidden": ("-", "Only the coordinator has it; it is not published with the releases."),
    "acceptance.attachments.NAME.path": (
        "-",
        "File of an attached fine-tune, safetensors; relative to the suite's file.",
    ),
    "acceptance.attachments.NAME.digest": ("-", "BLAKE3 of that file; another one is refused."),
    "acceptance.attachments.NAME.hidden": ("-", "Only the coordinator has it; it is not published with the releases."),
    "acceptance.tests[].supported": ("-", "A release promises this test; otherwise it is only reported."),
    "acceptance.tests[].pool": (
        "examples",
        "So many are at hand, of which each round draws its own; absent: none drawn.",
    ),
    "acceptance.tests[].uses": ("-", "How often an example of the pool may be drawn; absent: as the margin allows."),
    "acceptance.tests[].weight": ("-", "Share of the error rate that the test gets, beside the others."),
    "acceptance.tests[].guards": ("-", "What the test is there for, in words."),
    "acceptance.tests[].sequential": ("-", "Look at examples in batches, and stop as soon as the answer is sure."),
    **{
        f"{table}.{key}": meaning
        for table, what, margin in (
            ("acceptance.tests[]", "test", "How much worse still counts as non-inferior."),
            ("channels.NAME.probes[]", "probe", "The channel moves back on proof that its release is worse by more."),
        )
        for key, meaning in {
            "name": ("-", f"Name of the {what}, unique among them."),
            "kind": ("-", "What is asked; docs/acceptance.md has a section for each."),
            "shard": ("-", "The domain whose held-out files it uses, cut into windows."),
            "data": ("-", "The data set that it uses; a shard or a data set, or neither for kinds that need none."),
            "examples": ("examples", "How many windows or lines it looks at."),
            "margin": (f"the {what}'s unit", margin),
            "direction": ("-", "Which way is better, where the kind leaves that open; else it is only compared."),
            "options": ("-", "Table of the kind's own settings."),
            "cpus": ("CPU cores", "What it needs of the machine."),
            "gpus": ("GPUs", "The same."),
            "memory_mb": ("MB", "It fails, alone, when it takes more; absent means no limit of its own."),
            "timeout_s": ("seconds", "It fails, alone, when it takes longer; absent: conductor.test_timeout_s."),
        }.items()
    },
    "standing.enforce": ("-", "What a suspended contributor sends is measured and not merged."),
    "standing.new_for": ("updates", "Scored before anybody is judged."),
    "standing.trust_at": ("points", "A contributor is trusted from here; an update that helps is one point."),
    "standing.suspend_at": ("points", "A contributor is suspended from here."),
    "standing.penalty": ("points", "A rejected, reverted or recognised update takes so many."),
    "standing.suspended_rounds": ("rounds", "How long a suspension lasts."),
    "gateway.host": ("-", "Address to listen on."),
    "gateway.port": ("-", "Port to listen on; 0 takes the last one, or any free one."),
    "gateway.public_url": ("-", "How the run is reached from outside, for the lines that its pages show."),
    "gateway.max_update_bytes": ("bytes", "Larger updates are refused when they are announced."),
    "gateway.max_pending_updates_per_contributor": ("updates", "Uploading or unchecked updates of one key."),
    "gateway.request_deadline_s": ("seconds", "A request's headers must be there after this long."),
    "gateway.min_body_bytes_per_s": ("bytes a second", "A slower body, or a slower reader, is ended."),
    "gateway.max_clock_skew_s": ("seconds", "A signed message from further away in time is refused."),
    "gateway.recovery_after_s": (
        "seconds",
        "How long the key in use can object before a recovery key puts another in its place.",
    ),
    **{
        f"notify.{table}[].{key}": meaning
        for table in ("webhooks", "apprise")
        for key, meaning in {
            "name": ("-", "Name of the target, in the ledger and in metrics."),
            "events": ("-", "What it is told of; docs/operations.md has the list."),
        }.items()
    },
    "notify.webhooks[].url": ("-", "Where signed events are sent, without redirects."),
    "notify.webhooks[].secret_env": ("-", "Variable of the environment that has the secret; or secret_file."),
    "notify.webhooks[].secret_file": ("-", "File of mode 0600 that has the secret, a whole path; or secret_env."),
    "notify.webhooks[].allow_private": ("-", "The url may name this machine or network, and may be plain HTTP."),
    "notify.apprise[].url_env": ("-", "Variable of the environment that has apprise's URL; or url_file."),
    "notify.apprise[].url_file": ("-", "File of mode 0600 that has apprise's URL, a whole path; or url_env."),
    "swarm.enabled": ("-", "Keep a beacon in the swarm of the run's nodes (docs/swarm.md)."),
    "swarm.listen": ("-", "Multiaddresses to listen at; port 0 takes any free one."),
    "swarm.announce": ("-", "Multiaddresses where others reach it, if that is not where it listens."),
    "swarm.gateways": ("-", "URLs that the beacon names; by default gateway.public_url, else where it listens."),
    "conductor.workers": ("CPU cores", "What the local Ray may use for tasks."),
    "conductor.poll_every_s": ("seconds", "How often the conductor looks at ledger and clock."),
    "conductor.check_timeout_s": ("seconds", "Time limit of the check of one update."),
    "conductor.test_timeout_s": ("seconds", "Time limit of every other task: merging, scoring, the first model."),
}

HEAD = """\
# Configuration

<!-- Written by docs/generate_configuration.py. Change that, or the section in barnraise/, and run it again. -->

A run is one TOML file, such as [configs/runs/stdlib-lm.toml](../configs/runs/stdlib-lm.toml). Every key below may be
left out unless it says *required*; in brackets are its default, its unit if it has one, and what is allowed. A key that
nothing reads is an error that names the file, the key and the nearest key that exists; nothing is started then. A run
folder keeps its own copy, `run.toml`. When a run is continued, `name`, `[model]` and `[data]` must be what they were;
everything else may change.

The configuration decides behaviour; the environment does not. These variables name places:

| variable | meaning |
|---|---|
| `BARNRAISE_FROM` | where `ls`, `show`, `round`, `pull` and `recompute` read when `--from` is not given |
| `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` | proxies on the way to a coordinator or mirror; never to this machine |
| `SSL_CERT_FILE` | authorities of your own, for https |
| `XDG_CONFIG_HOME` | folder above `barnraise/identity.key`; default `~/.config` |
| `XDG_DATA_HOME` | folder above `barnraise/trust/NAME`, the root pinned for a run; default `~/.local/share` |
| `XDG_STATE_HOME` | folder above `barnraise/RUN/KEY`, a contributor's state; default `~/.local/state` |
"""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the file: its dotted name, its default in TOML, and what is allowed."""

    name: str
    default: str
    allowed: str


def every_key() -> list[Key]:
    """Every key of a run's file, in the order of its sections."""
    schema = RunConfig.model_json_schema()
    return list(_walk(schema, schema.get("$defs", {}), "", {}))


def render() -> str:
    """The whole page."""
    found = every_key()
    names = {key.name for key in found}
    if names != set(MEANINGS):
        missing, extra = sorted(names - set(MEANINGS)), sorted(set(MEANINGS) - names)
        raise SystemExit(f"MEANINGS lacks {missing} and has {extra} too many")
    parts = [HEAD]
    section = None
    for key in found:
        if _section(key.name) != section:
            section = _section(key.name)
            parts.append(f"\n## {section}\n\n")
        unit, meaning = MEANINGS[key.name]
        default = REQUIRED if key.default == REQUIRED else f"default {key.default}"
        facts = "; ".join([default, *([unit] if unit != "-" else []), key.allowed])
        entry = f"- `{key.name}` ({facts}). {meaning}"
        parts.append(textwrap.fill(entry, 118, subsequent_indent="  ", break_on_hyphens=False) + "\n")
    return "".join(parts)


def _section(name: str) -> str:
    return f"[{name.split('.')[0].split(' ')[0]}]" if "." in name else "Top level"


def _walk(schema: dict[str, Any], defs: dict[str, Any], prefix: str, given: dict[str, Any]) -> Iterator[Key]:
    required = set(schema.get("required", ()))
    for name, value in schema["properties"].items():
        default = given.get(name, value.get("default"))
        items = value.get("items", {})
        inner = _referred(value, defs)
        if inner is not None:
            yield from _walk(inner, defs, f"{prefix}{name}.", default or {})
        elif "oneOf" in value and all("$ref" in choice for choice in value["oneOf"]):
            yield from _choices(value["oneOf"], defs, prefix + name, default or {})
        elif (named := _named_sections(value, defs)) is not None:
            yield from _walk(named, defs, f"{prefix}{name}.NAME.", {})
        elif "$ref" in items:
            yield from _walk(_referred(items, defs) or {}, defs, f"{prefix}{name}[].", {})
        else:
            text = REQUIRED if name in required else _toml(default)
            yield Key(prefix + name, text, _allowed(value))


def _choices(choices: list[Any], defs: dict[str, Any], name: str, given: dict[str, Any]) -> Iterator[Key]:
    """The keys of a section that is one of several, as architecture or corpus tells; those of the first are plain."""
    for number, choice in enumerate(choices):
        section = _referred(choice, defs) or {}
        tells = next(key for key in ("architecture", "corpus") if key in section["properties"])
        which = section["properties"][tells].get("const", "foreign")
        yield from _walk(section, defs, f"{name}." if number == 0 else f"{name} ({which}).", {} if number else given)


def _named_sections(value: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any] | None:
    """The section of a table of sections, which the user names; None for anything else."""
    patterns = [_referred(inner, defs) for inner in value.get("patternProperties", {}).values()]
    return patterns[0] if patterns else None


def _referred(value: dict[str, Any], defs: dict[str, Any]) -> dict[str, Any] | None:
    reference = value.get("$ref")
    if reference is None:
        return None
    found: dict[str, Any] = defs[reference.rsplit("/", 1)[1]]
    return found


def _toml(value: Any) -> str:
    return "absent" if value is None else f"`{json.dumps(value)}`"


def _allowed(value: dict[str, Any]) -> str:
    kinds = [kind for kind in value.get("anyOf", [value]) if kind.get("type") != "null"]
    (kind,) = kinds
    if "enum" in kind:
        return ", ".join(f"`{json.dumps(one)}`" for one in kind["enum"])
    if "const" in kind:
        return f"`{json.dumps(kind['const'])}`"
    names = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
    bounds = [f"{words} {kind[bound]:g}" for bound, words in names.items() if bound in kind]
    types = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}
    return " ".join([types.get(kind.get("type", ""), "table"), " and ".join(bounds)]).strip()


def main(arguments: list[str]) -> int:
    text = render()
    if "--check" in arguments:
        return 0 if PAGE.read_text(encoding="ascii") == text else 1
    PAGE.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
