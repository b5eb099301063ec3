"""One update: what became of it and why, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from barnraise.narrate import short, suspected
from barnraise.records import UpdateStory
from coordinator.web.pages.rounds import Agreement, Moment, agreement_of

__all__ = ["Treatment", "Trial", "UpdateView", "update_view"]

TONES = {"update-rejected": "bad", "update-reverted": "bad", "update-merged": "good"}
MEANING = {
    "received": "It is stored and waits for its check.",
    "checked": "It passed its check and waits to be merged.",
    "merged": "It is in a release.",
    "unmerged": "It is in no release, without fault.",
    "reverted": "It was merged, and is not in the trunk any more.",
    "rejected": "It was found at fault.",
}


@dataclass(frozen=True, slots=True)
class Treatment:
    """How the newest merge that it was part of treated it."""

    strategy: str
    updates: int
    weight: float | None
    clip: float | None
    share: float | None
    agreement: Agreement
    suspicion: str
    opponents: tuple[tuple[str, Agreement], ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """Part of a round that was merged and tested to find who is at fault."""

    updates: int
    with_it: bool
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class UpdateView:
    """An update.

    Attributes:
        meaning: its state in a sentence. fold_back: whether its contributor adds it to its next one.
        check: what the check of it alone said; "" before. worth: its rounded score, in words; "" before.
        proof: two sets that were tested and differ in it alone: (fail with it, pass without it) in updates.
        meanwhile: releases that came between its base and it. late: what it conflicts with among them.
    """

    digest: str
    contributor: str
    name: str
    round: int
    state: str
    meaning: str
    reason: str
    version: str | None
    reverted_in: str | None
    fold_back: bool
    size_bytes: int
    tokens: int
    steps: int
    life: tuple[Moment, ...]
    check_passed: bool | None
    check: str
    worth: str
    treatment: Treatment | None
    tested_passed: bool | None
    tested: str
    trials: tuple[Trial, ...]
    trials_total: int
    proof: tuple[int, int] | None
    meanwhile: tuple[str, ...]
    late: Agreement | None
    late_tensors: tuple[tuple[str, Agreement], ...]

    @property
    def is_over(self) -> bool:
        return self.state not in ("received", "checked")


def update_view(story: UpdateStory) -> UpdateView:
    """From the story that is told over HTTP too: nothing hidden is in it."""
    status, check, tested = story.status, story.check or {}, story.tested or {}
    conflicts = status.evidence.get("conflicts") or {}
    return UpdateView(
        digest=status.digest,
        contributor=status.contributor,
        name=story.name,
        round=status.round,
        state=status.state,
        meaning=MEANING[status.state],
        reason=status.reason,
        version=status.version,
        reverted_in=story.reverted_in,
        fold_back=status.fold_back,
        size_bytes=story.size_bytes,
        tokens=story.tokens,
        steps=story.steps,
        life=tuple(
            Moment(event.at_ms, _plain(event.words, status.digest), TONES.get(event.what, "plain"))
            for event in story.happened
        ),
        check_passed=check.get("passed"),
        check=str(check.get("reason", "")),
        worth=str(check.get("worth", "")),
        treatment=_treatment(story.merge) if story.merge else None,
        tested_passed=tested.get("passed"),
        tested=str(tested.get("reason", "")),
        trials=tuple(Trial(one.updates, one.with_it, one.passed, one.reason) for one in story.trials),
        trials_total=story.trials_total,
        proof=(story.proof["fails"], story.proof["passes"]) if story.proof else None,
        meanwhile=tuple(status.evidence.get("merged_meanwhile") or ()),
        late=agreement_of(conflicts["overall"]) if conflicts.get("overall") else None,
        late_tensors=tuple(
            (row["tensor"], agreement_of(row["agreement"])) for row in conflicts.get("worst_tensors", ())
        ),
    )


def _plain(words: str, digest: str) -> str:
    """Without the round and the update, which the page is about anyway."""
    plain = words.split(": ", 1)[1] if words.startswith("round ") and ": " in words else words
    return plain.replace(f" {short(digest)}", "", 1)


def _treatment(merge: Mapping[str, Any]) -> Treatment:
    seen = merge.get("recognised")
    return Treatment(
        strategy=merge["strategy"],
        updates=merge["updates"],
        weight=merge.get("weight"),
        clip=merge.get("clip"),
        share=merge.get("share"),
        agreement=agreement_of(merge.get("agreement")),
        suspicion=f"It {suspected(seen)}" if seen else "",
        opponents=tuple((row["with"], agreement_of(row["agreement"])) for row in merge.get("worst_pairs", ())),
    )
