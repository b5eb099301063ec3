"""What a coordinator tells of its rounds, updates and contributors, to whoever asks: messages for people and pages.

Whom they are for has no part in a run; what nodes and coordinators say to each other is in protocol.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

from barnraise.message import Count, Digest, Key, Message, Millis
from barnraise.protocol import Phase, UpdateState, UpdateStatus

__all__ = [
    "ContributionLine",
    "ContributorLine",
    "ContributorLines",
    "ContributorRecord",
    "RoundLine",
    "RoundLines",
    "RoundRecord",
    "StoryEvent",
    "StoryTrial",
    "UpdateStory",
]


class RoundLine(Message):
    """A round in a list. ``updates`` counts them by state; ``version`` is its release, if it has one."""

    kind: ClassVar[str] = "round-line"
    number: Count
    phase: Phase
    reason: str
    base_version: str
    opened_at_ms: Millis
    moved_at_ms: Millis
    updates: dict[UpdateState, Count]
    version: str | None


class RoundLines(Message):
    """Rounds, oldest first."""

    kind: ClassVar[str] = "round-lines"
    rounds: tuple[RoundLine, ...]


class RoundRecord(Message):
    """Everything about one round.

    Attributes:
        names: contributor -> display name.
        learning_rate: of the units of this round, while it collects; None afterwards.
        merge: how its newest candidate was merged (coordinator/conductor/record.py); None before.
        verdict: {"passed", "reason", "tests": name -> numbers} of that candidate, and "draws" where hidden
            examples were drawn (coordinator/acceptance/hidden/drawing.py); None before.
    """

    kind: ClassVar[str] = "round-record"
    line: RoundLine
    updates: tuple[UpdateStatus, ...]
    names: dict[Key, str]
    learning_rate: float | None = None
    merge: dict[str, Any] | None
    verdict: dict[str, Any] | None


class StoryEvent(Message):
    """Something that happened to an update, in words."""

    kind: ClassVar[str] = "story-event"
    at_ms: Millis
    what: str
    words: str


class StoryTrial(Message):
    """A part of a round that was merged and tested because the round failed.

    Attributes:
        updates: how many were merged. with_it: the update that is told of is one of them.
    """

    kind: ClassVar[str] = "story-trial"
    updates: Count
    with_it: bool
    passed: bool
    reason: str


class UpdateStory(Message):
    """What became of one update, and why; its size is bounded.

    Attributes:
        status: without what is told below.
        name: its contributor's display name, "" if unknown.
        happened: oldest first.
        check: numbers of the check of this update alone; None before, and where it could not be read.
        merge: how the newest merge that it was part of treated it: {"round", "strategy", "updates",
            "weight", "clip", "share", "recognised", "agreement", "worst_pairs"}; None without one.
        tested: what the acceptance tests said of that merge: {"passed", "reason"}; None before.
        trials: parts of its round that were tested to find who is at fault, the newest of ``trials_total``.
        proof: numbers of updates {"fails", "passes"}: so many fail with it, and the same without it pass.
        reverted_in: the release that was made as if it had never been merged.
    """

    kind: ClassVar[str] = "update-story"
    status: UpdateStatus
    name: str
    size_bytes: Count
    tokens: Count
    steps: Count
    round: RoundLine | None
    happened: tuple[StoryEvent, ...]
    check: dict[str, Any] | None = None
    merge: dict[str, Any] | None = None
    tested: dict[str, Any] | None = None
    trials: tuple[StoryTrial, ...] = ()
    trials_total: Count = 0
    proof: dict[str, Count] | None = None
    reverted_in: str | None = None


class ContributorLine(Message):
    """A contributor in the ranking.

    Attributes:
        place: from 1; those who cannot be told apart share one. None while nothing of theirs can be compared.
        value: mean improvement in units of a round's scores, rounded to what is known; 0 is everybody's mean.
        scored: updates behind ``value``, of the rounds that are ranked.
        updates: how many there ever were, by state. tokens: over those that were merged.
        banned: why the key is; None for all others.
    """

    kind: ClassVar[str] = "contributor-line"
    contributor: Key
    name: str
    place: Count | None
    value: float | None
    scored: Count
    updates: dict[UpdateState, Count]
    tokens: Count
    first_seen_at_ms: Millis
    last_update_at_ms: Millis | None
    banned: str | None = None


class ContributorLines(Message):
    """Contributors, best first; those without a place after them, by name.

    Attributes:
        total: how many there are; more than are listed in a large run.
        first_round, last_round: the rounds that the ranking is over; 0 before the first.
        step: values are rounded to multiples of it; those nearer to each other cannot be told apart.
    """

    kind: ClassVar[str] = "contributor-lines"
    contributors: tuple[ContributorLine, ...]
    total: Count
    first_round: Count
    last_round: Count
    step: float


class ContributionLine(Message):
    """One update of a contributor. ``worth`` is what it alone changes, rounded, in words; "" where unknown."""

    kind: ClassVar[str] = "contribution-line"
    digest: Digest
    round: Count
    state: UpdateState
    reason: str
    version: str | None
    worth: str
    tokens: Count
    steps: Count
    size_bytes: Count
    received_at_ms: Millis


class ContributorRecord(Message):
    """Everything about one contributor.

    Attributes:
        why: how its place comes about, in words.
        updates: the newest of ``updates_total``, newest first.
        keys: all that it has had, oldest first; the last one signs.
    """

    kind: ClassVar[str] = "contributor-record"
    line: ContributorLine
    why: str
    updates: tuple[ContributionLine, ...]
    updates_total: Count
    keys: tuple[Key, ...] = ()
