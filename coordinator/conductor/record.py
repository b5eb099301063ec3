"""What a merge leaves in its round's record: the rules, what every update got, and who was in whose way.

    {"strategy": "krum", "options": {..}, "before": [..], "outer": "none", "note": "",
     "turns": {"updates": 8, "patch": None},         they say one of so many elements; None for all
     "updates": [{"digest": "b3:..", "weight": 1.0, "clip": 0.5, "share": 0.25}, ..],
     "conflicts": {..},                              as merge.conflicts.Conflicts
     "recognised": {"b3:..": {"label": "copy", "reason": ".."}, ..}}

``recognised`` are suspicions (coordinator/acceptance/updates/recognise.py): free riders, copies, updates tuned to
what is public. Nothing is taken out of a merge for one.

``weight`` is what the coordinator set, ``clip`` the factor that shortened the update, ``share``
what part of the sum the strategy gave it, clipping apart; None where it goes by elements.

K  updates in the round, in the order of their digests
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from barnraise.agreement import agreement_in_words
from barnraise.narrate import short
from barnraise.updates import Carrier, Mask, Turn
from barnraise.updates.space import TensorSpec
from coordinator.acceptance.updates.compared import Compared
from coordinator.acceptance.updates.contribution import UpdateScore
from coordinator.acceptance.updates.recognise import Entry, recognise
from coordinator.conductor.merging import MergeJob
from coordinator.conductor.steps import Merging
from coordinator.ledger import Ledger
from merge.conflicts import conflicts
from merge.measure import Measured
from merge.plan import MergePlan, clipping
from merge.strategies.rule import Strategy, SumsUpdates, WeighsUpdates

__all__ = ["merge_record", "recognised_of", "record_in_words"]


def merge_record(
    tensors: Sequence[TensorSpec], job: MergeJob, merging: Merging, carrier: Carrier | None, note: str
) -> dict[str, Any]:
    """The record of a merge, JSON values, its size bounded by the number of updates.

    Args:
        tensors: of the model.
        carrier: what all updates travel as, where that is one thing.
        note: of the outer rule's state, where the rule was changed.
    """
    rules, measured = job.rules, merging.measured
    clips = clipping(measured, len(job.inputs), rules.clip_norm_at).tolist()
    shares: Sequence[float | None] = _shares(rules.strategy, merging.plan, measured, tensors) or [None] * len(clips)
    updates = [
        {"digest": item.digest, "weight": item.weight, "clip": clip, "share": None if share is None else share / clip}
        for item, clip, share in zip(job.inputs, clips, shares, strict=True)
    ]
    reach = carrier.per_tensor if isinstance(carrier, Mask | Turn) else None
    report = conflicts(measured, tensors, [item.digest for item in job.inputs], reach)
    return {
        "strategy": job.merge.strategy,
        "options": dict(job.merge.options),
        "before": [rule.name for rule in job.merge.before],
        "outer": job.merge.outer.name,
        "note": note,
        "turns": {"updates": carrier.turns if isinstance(carrier, Turn) else None, "patch": job.patch.turns},
        "updates": updates,
        "conflicts": report.as_json(),
    }


def recognised_of(job: MergeJob, merging: Merging, ledger: Ledger) -> dict[str, Any]:
    """Update -> what was recognised of it; only those of which there is something to say."""
    rows = {item.digest: ledger.update(item.digest) for item in job.inputs}
    entries = []
    for item in job.inputs:
        row = rows[item.digest]
        score = (row.evidence or {}).get("score") if row is not None else None
        if row is None or score is None:  # checked before updates were scored
            return {}
        kept = row.evidence.get("compared")  # of checks that looked at public examples too
        compared = None if kept is None else Compared.from_json(kept)
        entries.append(Entry(item.digest, row.received_at_ms, UpdateScore.from_json(score), compared))
    gram_KK = sum((tensor.gram_KK for tensor in merging.measured.values()), torch.zeros(len(entries), len(entries)))
    found = recognise(entries, gram_KK.double().numpy(), ())
    return {digest: {"label": one.label, "reason": one.reason} for digest, one in sorted(found.items()) if one.flagged}


def record_in_words(record: dict[str, Any]) -> str:
    """What of a record belongs into the log: how far the updates agree, who was left out, what was noted."""
    parts = [agreement_in_words(record["conflicts"]["overall"])]
    clipped = [short(row["digest"]) for row in record["updates"] if row["clip"] < 1]
    chosen = [short(row["digest"]) for row in record["updates"] if row["share"]]
    parts += [f"clipped {', '.join(clipped)}"] if clipped else []
    parts += [f"chose {', '.join(chosen)}"] if 0 < len(chosen) < len(record["updates"]) else []
    seen = [f"{row['label']} {short(digest)}" for digest, row in record.get("recognised", {}).items()]
    parts += [f"suspected {', '.join(seen)}"] if seen else []
    parts += [record["note"]] if record["note"] else []
    return "; ".join(parts)


def _shares(
    strategy: Strategy, plan: MergePlan, measured: Measured, tensors: Sequence[TensorSpec]
) -> list[float] | None:
    """What part of the merged change each update is: its mean over the elements, where tensors differ.

    None for a rule that decides element by element, such as the median: there is no part to tell.
    """
    if not isinstance(strategy, SumsUpdates | WeighsUpdates):
        return None
    shares_K = plan.whole.shares
    if plan.by_tensor:
        sizes = {number: tensors[number].size for number in sorted(measured)}
        shares_K = torch.zeros_like(shares_K)
        for number, size in sizes.items():
            shares_K = torch.add(shares_K, torch.mul(plan.of(number).shares, size / sum(sizes.values())))
    found: list[float] = shares_K.tolist()
    return found
