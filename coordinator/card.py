"""What a release says of itself beside its numbers: card, lineage entry, and files for other software, as blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from barnraise.message import BlobRef
from barnraise.model_config import CausalLMConfig, ModelConfig
from barnraise.releases.card import CardFacts, Contributor, render_card
from barnraise.releases.lineage import Lineage, LineageParent, measure_change
from barnraise.releases.manifest import MergedUpdate, ReleaseFile
from barnraise.releases.publish import store_blob
from barnraise.versions import VersionDecision
from coordinator.conductor.desk import Desk
from coordinator.ledger import Ledger, ReleaseRow
from merge.architectures import ecosystem_files

__all__ = ["Described", "Made", "describe"]

UNNAMED = "unnamed"
TASKS = {
    "byte-lm": "text-generation",
    "causal-lm": "text-generation",
    "image-classifier": "image-classification",
}
"""Architecture -> what the model does, as model hubs name it."""


class Made(Protocol):
    """A release before it has a manifest."""

    @property
    def decision(self) -> VersionDecision: ...
    @property
    def parent(self) -> ReleaseRow | None: ...
    @property
    def round(self) -> int: ...
    @property
    def model_digest(self) -> str: ...
    @property
    def created_at_ms(self) -> int: ...
    @property
    def summary(self) -> dict[str, Any]: ...
    @property
    def updates(self) -> tuple[MergedUpdate, ...]: ...


@dataclass(frozen=True, slots=True)
class Described:
    """Blobs that the manifest names."""

    card: BlobRef
    lineage: BlobRef
    files: tuple[ReleaseFile, ...]


def describe(desk: Desk, ledger: Ledger, made: Made, left_out: Sequence[str] = ()) -> Described:
    """Put card, lineage entry and files where they are served from.

    Args:
        left_out: updates of the parent that this release does not have any more.

    Raises:
        DiskFullError: no space left.
    """
    lineage = _lineage(desk, made, left_out)
    config, files = desk.config, _files(desk)
    card = render_card(
        CardFacts(
            lineage=lineage,
            description=config.description,
            licence=config.licence,
            created_at_ms=made.created_at_ms,
            tests=made.summary,
            contributors=_contributors(ledger, made.updates),
            architecture=_built(config.model),
            data=config.data.shards,
            corpus=config.data.learnt_from,
            task=TASKS.get(config.model.architecture, "other"),
            transformers="tokenizer.json" in files,
        )
    )
    return Described(
        card=store_blob(desk.public, card),
        lineage=store_blob(desk.public, lineage.canonical()),
        files=tuple(ReleaseFile(name=name, blob=store_blob(desk.public, data)) for name, data in sorted(files.items())),
    )


def _files(desk: Desk) -> dict[str, bytes]:
    """What other software reads beside the weights: what the architecture says, and what the run took over."""
    model = desk.config.model
    files = ecosystem_files(model)
    if isinstance(model, CausalLMConfig):
        files |= {name: desk.public.read(digest) for name, digest in model.files.items()}
    return files


def _built(model: ModelConfig) -> dict[str, Any]:
    """What a model is, as name -> value; of a whole configuration of transformers only the words and numbers."""
    if not isinstance(model, CausalLMConfig):
        return model.model_dump(mode="json")
    plain = {name: value for name, value in model.config.items() if isinstance(value, str | int | float)}
    return {"architecture": model.architecture, **plain}


def _lineage(desk: Desk, made: Made, left_out: Sequence[str]) -> Lineage:
    parent, name = made.parent, desk.config.name
    parents: list[LineageParent] = []
    before: set[str] = set()
    after = _supported(made.summary)
    before_P = None
    if parent is not None:
        of = LineageParent(relation="base", name=name, version=parent.version, model_digest=parent.model_digest)
        parents, before = [of], _supported(parent.summary)
        before_P = desk.models.verified(parent.model_digest)
    change = measure_change(desk.space, before_P, desk.models.verified(made.model_digest))
    merge = desk.config.merge
    return Lineage(
        name=name,
        version=made.decision.version,
        model_digest=made.model_digest,
        parents=tuple(parents),
        round=made.round,
        merged_by=(*(rule.name for rule in merge.before), merge.strategy, merge.outer.name) if made.updates else (),
        updates=made.updates,
        left_out=tuple(sorted(left_out)),
        bump=made.decision.bump,
        reason=made.decision.reason,
        change=change.model_copy(
            update={"tests_added": tuple(sorted(after - before)), "tests_dropped": tuple(sorted(before - after))}
        ),
    )


def _contributors(ledger: Ledger, updates: Sequence[MergedUpdate]) -> list[Contributor]:
    """By number of updates with their work in them, then by key."""
    members = ledger.members(*(update.digest for update in updates))
    counts = Counter(key for update in updates for key in members[update.digest])
    found = []
    for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        row = ledger.contributor(key)
        found.append(Contributor(row.name if row else UNNAMED, key, count))
    return found


def _supported(summary: dict[str, Any]) -> set[str]:
    return {name for name, row in summary.items() if row["supported"]}
