"""The life of one round, as data and one pure function.

      +---------- deadline, too few ---------> ABANDONED
      |
    COLLECTING -- enough, all, deadline -> MERGING --> TESTING -- pass --> RELEASED
                                           ^  |          |
                       culprits removed    |  +-- fail --|----------------> REJECTED
                                           +--- search --+-- none found --> REJECTED
                                                         +-- accepted ----> RELEASED

    any phase but the last ones -- interrupted --> ABANDONED

A suite that cannot be run says nothing of a candidate: the round stays TESTING, says why, and
tries again after a while, and at once when the conductor is started again.

``step`` decides; it never acts. It gets the clock as an argument and returns the next round,
what should now be done, and why. The conductor does those things with Ray and feeds the
outcomes back as events. After a restart ``resume`` says which action was interrupted; every
action is idempotent, so it is simply done again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, assert_never

from barnraise.protocol import Phase
from coordinator.round_events import (
    Accepted,
    Action,
    Candidate,
    Check,
    CheckFailed,
    CheckPassed,
    CulpritsFound,
    FindCulprits,
    Interrupted,
    Judged,
    Merge,
    Merged,
    MergeFailed,
    RoundEvent,
    RunTests,
    SuiteFailed,
    Tag,
    Tagged,
    Tick,
    UpdateArrived,
)

__all__ = ["Round", "RoundPolicy", "Step", "resume", "step"]

FIRST_RETRY_MS, LAST_RETRY_MS = 60_000, 3_600_000
FINAL: frozenset[Phase] = frozenset({"released", "rejected", "abandoned"})


@dataclass(frozen=True, slots=True)
class RoundPolicy:
    """When to stop collecting; see ``barnraise.config.RoundConfig``."""

    target_updates: int
    min_updates: int
    settle_for_ms: int
    collect_for_ms: int


@dataclass(frozen=True, slots=True)
class Round:
    """Everything a round knows. Digests are sorted, so arrival order leaves no trace.

    Attributes:
        pending: received, check not finished.
        checked: passed the check; ``merge_set`` is the part of them being merged.
        rejected: failed the check, or found to be culprits.
        searching: TESTING failed and culprits are being looked for.
        decided_at_ms: when the tests passed, or what failed was accepted; the release's creation time.
        accepted_by: the order that accepts what failed; None of a candidate that passed.
        suite_failures: how often in a row the suite could not be run; retry_at_ms: when it is tried again.
    """

    number: int
    base_version: str
    base_digest: str
    phase: Phase = "collecting"
    reason: str = "open"
    pending: tuple[str, ...] = ()
    checked: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    merge_set: tuple[str, ...] = ()
    candidate: Candidate | None = None
    searching: bool = False
    decided_at_ms: int | None = None
    suite_failures: int = 0
    retry_at_ms: int | None = None
    accepted_by: str | None = None

    @property
    def is_final(self) -> bool:
        return self.phase in FINAL

    def as_json(self) -> dict[str, Any]:
        """For the ledger; :meth:`from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Round:
        fields: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        candidate = fields.pop("candidate", None)
        return cls(**fields, candidate=Candidate(**candidate) if candidate else None)


@dataclass(frozen=True, slots=True)
class Step:
    """The next round, what to do now, and why (empty when nothing changed)."""

    round: Round
    actions: tuple[Action, ...] = ()
    reason: str = ""


def step(current: Round, event: RoundEvent, policy: RoundPolicy) -> Step:
    """What follows from ``event``. An event that does not fit the phase changes nothing."""
    if current.is_final:
        return Step(current)
    match event:
        case UpdateArrived() | CheckPassed() | CheckFailed() | Tick():
            if isinstance(event, Tick) and current.phase == "testing":
                return _retry(current, event)
            return _collect(current, event, policy) if current.phase == "collecting" else Step(current)
        case Merged(merge_set, candidate):
            if current.phase != "merging" or merge_set != current.merge_set:
                return Step(current)
            return _move(current, "testing", f"merged {len(merge_set)} updates", candidate=candidate)
        case MergeFailed(reason):
            return (
                _end(current, "rejected", f"merging failed: {reason}") if current.phase == "merging" else Step(current)
            )
        case Judged():
            return _judge(current, event)
        case Accepted():
            return _accept(current, event)
        case SuiteFailed():
            return _wait(current, event)
        case CulpritsFound(culprits, reason):
            return _without(current, culprits, reason, policy) if current.searching else Step(current)
        case Tagged(version):
            if current.phase != "testing" or current.decided_at_ms is None:
                return Step(current)
            though = f"; {current.reason}" if current.accepted_by is not None else ""
            return _end(current, "released", f"tagged {version}{though}")
        case Interrupted(reason):
            return _end(current, "abandoned", reason)
        case _ as never:
            assert_never(never)


def resume(current: Round) -> tuple[Action, ...]:
    """The actions that a restarted conductor must issue (again) for a round in this state."""
    if current.phase == "collecting":
        return tuple(Check(digest) for digest in current.pending)
    if current.phase == "merging":
        return (Merge(current.merge_set),)
    if current.phase == "testing":
        assert current.candidate is not None
        if current.searching:
            return (FindCulprits(current.merge_set),)
        if current.decided_at_ms is not None:
            return (Tag(current.candidate, current.merge_set, current.decided_at_ms),)
        return (RunTests(current.candidate),)
    return ()


def _collect(current: Round, event: UpdateArrived | CheckPassed | CheckFailed | Tick, policy: RoundPolicy) -> Step:
    match event:
        case UpdateArrived(digest):
            if digest in current.pending + current.checked + current.rejected:
                return Step(current)
            return Step(replace(current, pending=_with(current.pending, digest)), (Check(digest),))
        case CheckPassed(digest):
            if digest not in current.pending:
                return Step(current)
            pending = _less(current.pending, (digest,))
            return Step(replace(current, pending=pending, checked=_with(current.checked, digest)))
        case CheckFailed(digest):
            if digest not in current.pending:
                return Step(current)
            pending = _less(current.pending, (digest,))
            return Step(replace(current, pending=pending, rejected=_with(current.rejected, digest)))
        case Tick():
            return _tick(current, event, policy)


def _tick(current: Round, tick: Tick, policy: RoundPolicy) -> Step:
    have = len(current.checked)
    if tick.first_lease_at_ms is None:
        return Step(current)
    waited_ms = tick.now_ms - tick.first_lease_at_ms
    late = waited_ms >= policy.collect_for_ms
    if current.pending:  # a check is running: what has arrived in time is judged in time
        return Step(current)
    if have >= policy.target_updates and (tick.leases_out == 0 or late):
        return _move(current, "merging", f"{have} updates checked, {policy.target_updates} wanted", merge=True)
    if have >= policy.min_updates and tick.leases_out == 0 and _settled(tick, policy):
        why = f"{have} updates checked; nobody trains and nobody came for {policy.settle_for_ms / 1000:g} s"
        return _move(current, "merging", why, merge=True)
    if late and have >= policy.min_updates:
        why = f"deadline after {waited_ms // 1000} s with {have} of {policy.target_updates} updates wanted"
        return _move(current, "merging", why, merge=True)
    if late and tick.leases_out == 0:
        why = f"deadline after {waited_ms // 1000} s with {have} updates; at least {policy.min_updates} needed"
        return _end(current, "abandoned", why)
    return Step(current)


def _settled(tick: Tick, policy: RoundPolicy) -> bool:
    return tick.last_seen_at_ms is not None and tick.now_ms - tick.last_seen_at_ms >= policy.settle_for_ms


def _judge(current: Round, ended: Judged) -> Step:
    if current.phase != "testing" or current.searching or current.decided_at_ms is not None:
        return Step(current)
    if ended.candidate != current.candidate:
        return Step(current)
    current = replace(current, suite_failures=0, retry_at_ms=None)
    if ended.passed:
        moved = replace(current, decided_at_ms=ended.now_ms, reason=ended.reason)
        return Step(moved, resume(moved), ended.reason)
    if len(current.merge_set) < 2:
        return _end(current, "rejected", f"the only update fails: {ended.reason}")
    reason = f"{ended.reason}; looking for the culprits"
    moved = replace(current, searching=True, reason=reason)
    return Step(moved, resume(moved), reason)


def _accept(current: Round, accepted: Accepted) -> Step:
    """Release what failed, whether or not culprits are being looked for; nothing that is decided changes."""
    if current.phase != "testing" or current.decided_at_ms is not None:
        return Step(current)
    if accepted.candidate != current.candidate:
        return Step(current)
    moved = replace(
        current,
        searching=False,
        suite_failures=0,
        retry_at_ms=None,
        decided_at_ms=accepted.now_ms,
        accepted_by=accepted.order_id,
        reason=accepted.reason,
    )
    return Step(moved, resume(moved), accepted.reason)


def _wait(current: Round, failed: SuiteFailed) -> Step:
    """Try again after a minute, and after twice as long each time, up to an hour."""
    if current.phase != "testing" or current.decided_at_ms is not None:
        return Step(current)
    if failed.candidate != current.candidate:
        return Step(current)
    wait_ms = min(FIRST_RETRY_MS << min(current.suite_failures, 16), LAST_RETRY_MS)
    reason = f"the suite cannot be run, trying again in {wait_ms // 60_000} min: {failed.reason}"
    count = current.suite_failures + 1
    waiting = replace(current, suite_failures=count, retry_at_ms=failed.now_ms + wait_ms, reason=reason)
    return Step(waiting, (), reason)


def _retry(current: Round, tick: Tick) -> Step:
    if current.retry_at_ms is None or tick.now_ms < current.retry_at_ms:
        return Step(current)
    trying = replace(current, retry_at_ms=None)
    return Step(trying, resume(trying))


def _without(current: Round, culprits: tuple[str, ...], reason: str, policy: RoundPolicy) -> Step:
    rest = _less(current.merge_set, culprits)
    rejected = tuple(sorted({*current.rejected, *(set(culprits) & set(current.merge_set))}))
    current = replace(current, searching=False, rejected=rejected, checked=_less(current.checked, culprits))
    current = replace(current, suite_failures=0, retry_at_ms=None)
    if rest == current.merge_set:
        return _end(current, "rejected", f"the tests fail and no culprit was found: {reason}")
    if len(rest) < policy.min_updates:
        why = f"{len(rest)} updates left without the culprits; at least {policy.min_updates} needed"
        return _end(current, "rejected", why)
    return _move(current, "merging", f"merging the other {len(rest)} updates again: {reason}", merge=True)


def _move(
    current: Round, phase: Phase, reason: str, *, merge: bool = False, candidate: Candidate | None = None
) -> Step:
    moved = replace(
        current,
        phase=phase,
        reason=reason,
        candidate=candidate,
        merge_set=current.checked if merge else current.merge_set,
    )
    return Step(moved, resume(moved), reason)


def _end(current: Round, phase: Phase, reason: str) -> Step:
    return Step(replace(current, phase=phase, reason=reason, searching=False), (), reason)


def _with(digests: tuple[str, ...], digest: str) -> tuple[str, ...]:
    return tuple(sorted({*digests, digest}))


def _less(digests: tuple[str, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(digest for digest in digests if digest not in gone)
