"""The actions of a round as generators: each yields batches of tasks and returns what came of them.

    values = yield [Task(...), Task(...)]

``values`` are the results in order; the first error among them is raised here instead. What an
action cannot know (a full disk, a lost store) passes through and stops the conductor, which
loses nothing; what is the fault of an update or of a test becomes an outcome with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from barnraise.agreement import agreement_in_words
from barnraise.config import RunConfig
from barnraise.errors import AcceptanceError, BlobMissingError, MergeError, UpdateError
from barnraise.narrate import short
from barnraise.suite import LookConfig
from barnraise.updates.scope import Scope
from coordinator.acceptance.batches import suite_steps
from coordinator.acceptance.blame.culprits import CulpritSearch
from coordinator.acceptance.hidden.drawing import Drawn, draw_for_round
from coordinator.acceptance.hidden.telling import told_of
from coordinator.acceptance.kinds import Failure, Found
from coordinator.acceptance.measuring import OF_THE_MOMENT, Part
from coordinator.acceptance.promised import with_questions
from coordinator.acceptance.verdict import Verdict
from coordinator.conductor import work
from coordinator.conductor.desk import Desk
from coordinator.conductor.merging import MergeJob, inputs_of, shared_carrier, state_note
from coordinator.conductor.pool import Task
from coordinator.conductor.record import merge_record, recognised_of, record_in_words
from coordinator.conductor.stale import PATCHES_MAX, measure_stale, merged_since
from coordinator.conductor.steps import merge_steps
from coordinator.ledger import Ledger, ReleaseRow, UpdateRow
from coordinator.ledger.events import Event, RoundMerged, RoundTested, UpdateChecked, UpdateRejected, UpdateUnmerged
from coordinator.publish import Publisher
from coordinator.rehearsal import can_merge
from coordinator.round import Round
from coordinator.round_events import (
    Candidate,
    CheckFailed,
    CheckPassed,
    CulpritsFound,
    Judged,
    Merged,
    MergeFailed,
    RoundEvent,
    SuiteFailed,
)
from merge.strategies import Mean

__all__ = [
    "Finished",
    "Work",
    "check",
    "find_culprits",
    "first_release",
    "found_by",
    "measure_tasks",
    "merge",
    "require_found",
    "run_tests",
    "unmerge",
    "whole",
]


@dataclass(frozen=True)
class Finished:
    """What an action led to: an event for the round machine, and events for the ledger alone."""

    outcome: RoundEvent | None
    events: tuple[Event, ...] = ()


Work = Generator[list[Task], list[Any], Finished]


def check(desk: Desk, current: Round, digest: str, shard: str | None, held: str | None = None) -> Work:
    """Check one update; whatever is wrong with it is its own rejection.

    A check that ends without an answer (too slow, out of memory) blames nobody: the update is not merged.

    Args:
        shard: the domain that it was trained on.
        held: why what its contributor sends is not merged; None of all others.
    """
    one = work.ToCheck(digest, current.number, current.base_digest, shard)
    asked = (desk, one, desk.check_seed(current.number))
    task = Task(work.check_update, asked, desk.config.conductor.check_timeout_s)
    try:
        (found,) = yield [task]
    except (AcceptanceError, MergeError) as error:
        unmerged = UpdateUnmerged(digest, current.number, f"its check did not end: {error}", code="unchecked")
        return Finished(CheckFailed(digest), (unmerged,))
    if found.accepted:
        checked = UpdateChecked(digest, current.number, found.segment_square_sums, found.reason, found.evidence)
        if held is not None:
            reason = f"{found.reason}; measured and not merged, for {held}"
            unmerged = UpdateUnmerged(digest, current.number, reason, found.evidence, "quarantine")
            return Finished(CheckFailed(digest), (checked, unmerged))
        return Finished(CheckPassed(digest), (checked,))
    rejected = UpdateRejected(digest, current.number, "check", found.reason, found.evidence)
    return Finished(CheckFailed(digest), (rejected,))


def unmerge(desk: Desk, config: RunConfig, ledger: Ledger, row: UpdateRow) -> Work:
    """Say of an update that came too late what it conflicts with; whatever goes wrong, it is only not known."""
    where = f"round {row.round} had stopped collecting when it arrived"
    since = merged_since(row.base_digest, ledger.releases(), ledger.head())
    if not since:
        return Finished(None, (UpdateUnmerged(row.digest, row.round, where, code="late"),))
    versions = [release.version for release in since]
    if len(since) > PATCHES_MAX:
        reason = f"{where}, {len(since)} releases ago"
        evidence: dict[str, Any] = {"merged_meanwhile": versions[-1:]}
        return Finished(None, (UpdateUnmerged(row.digest, row.round, reason, evidence, "late"),))
    try:
        (found,) = yield [Task(measure_stale, (desk, row.digest, since), config.conductor.check_timeout_s)]
    except (AcceptanceError, MergeError) as error:
        found = {"unknown": str(error)}
    evidence = {"merged_meanwhile": versions, "conflicts": found}
    said = agreement_in_words(found["overall"]) if "overall" in found else f"not known: {found['unknown']}"
    reason = f"{where}; against what was merged meanwhile ({', '.join(versions)}): {said}"
    return Finished(None, (UpdateUnmerged(row.digest, row.round, reason, evidence, "late"),))


def merge(desk: Desk, ledger: Ledger, current: Round, merge_set: tuple[str, ...], clock: Callable[[], int]) -> Work:
    """Merge the round's updates into a candidate."""
    config, began_ms = desk.config, clock()
    job = _job(config, ledger, current, merge_set)
    try:
        merging = yield from merge_steps(desk.bench, job, config.conductor.test_timeout_s)
    except (MergeError, UpdateError) as error:
        return Finished(MergeFailed(str(error)))
    bench = desk.bench
    record = merge_record(bench.space.tensors, job, merging, shared_carrier(bench, job), state_note(bench, job))
    record["recognised"] = recognised_of(job, merging, ledger)
    words = f"{len(merge_set)} updates by {config.merge.strategy}: {record_in_words(record)}"
    return Finished(
        Merged(merge_set, merging.candidate), (RoundMerged(current.number, words, record, clock() - began_ms),)
    )


def run_tests(desk: Desk, ledger: Ledger, current: Round, candidate: Candidate, clock: Callable[[], int]) -> Work:
    """Run the suite on a candidate against its base. A suite that cannot be run says nothing of the candidate."""
    began_ms = clock()
    try:
        drawn = _drawn(desk, ledger, current)
        verdict = yield from _tested(desk, current, candidate, drawn)
    except (AcceptanceError, BlobMissingError) as error:
        return Finished(SuiteFailed(candidate, str(error), clock()))
    suite = desk.config.acceptance
    summary = with_questions(suite, verdict.summary())
    took_ms = clock() - began_ms
    told = RoundTested(current.number, verdict.passed, verdict.reason, summary, drawn.record, suite.digest, took_ms)
    return Finished(Judged(candidate, verdict.passed, verdict.reason, clock()), (told,))


def find_culprits(desk: Desk, ledger: Ledger, current: Round, clock: Callable[[], int]) -> Work:
    """Merge and test subsets until those updates are found without which the tests pass."""
    config, merge_set = desk.config, current.merge_set
    search = CulpritSearch(merge_set, suspicion=_suspicion(ledger, current, merge_set))
    trials: list[dict[str, Any]] = []
    try:
        drawn = _drawn(desk, ledger, current)
        while (subset := search.next_subset()) is not None:
            job = _job(_for_few(config, len(subset)), ledger, current, subset)
            candidate = (yield from merge_steps(desk.bench, job, config.conductor.test_timeout_s)).candidate
            verdict = yield from _tested(desk, current, candidate, drawn)
            desk.forget(candidate, _base(ledger, current))
            search.record(subset, verdict.passed)
            tried = [short(digest) for digest in subset]
            trials.append({"updates": tried, "passed": verdict.passed, "reason": verdict.reason})
    except (AcceptanceError, BlobMissingError) as error:
        assert current.candidate is not None
        return Finished(SuiteFailed(current.candidate, str(error), clock()))
    except (MergeError, UpdateError) as error:
        return Finished(CulpritsFound((), f"the search could not be completed: {error}"))
    culprits = search.result()
    names = ", ".join(short(digest) for digest in culprits) or "nobody"
    reason = f"{len(trials)} subsets tested, at fault: {names}"
    events = tuple(
        UpdateRejected(digest, current.number, "culprit-search", reason, {"subsets": trials}) for digest in culprits
    )
    return Finished(CulpritsFound(culprits, reason), events)


def _suspicion(ledger: Ledger, current: Round, merge_set: tuple[str, ...]) -> dict[str, float]:
    """By how much each update alone is worse than the best of them, as its check measured it."""
    rows = {row.digest: row for row in ledger.updates(round=current.number)}
    changes = {digest: float((rows[digest].evidence or {}).get("change", 0.0)) for digest in merge_set}
    best = min(changes.values())
    return {digest: change - best for digest, change in changes.items()}


def first_release(desk: Desk, config: RunConfig, publisher: Publisher, clock: Callable[[], int]) -> Work:
    """Make release 0.1.0: the initial weights, measured, as a keyframe."""
    (model,) = yield [Task(work.first_model, (desk,), config.conductor.test_timeout_s)]
    require_found((yield measure_tasks(desk, model.model_digest, whole(config.acceptance.tests))))
    return Finished(None, publisher.first(model, clock()).events)


def _for_few(config: RunConfig, updates: int) -> RunConfig:
    """The settings that can merge so few updates: a plain mean where the run's own way needs more of them."""
    if can_merge(config.merge, updates):
        return config
    mean = config.merge.model_copy(update={"strategy": Mean.name, "options": {}, "before": ()})
    return config.model_copy(update={"merge": mean})


def _job(config: RunConfig, ledger: Ledger, current: Round, merge_set: tuple[str, ...]) -> MergeJob:
    wanted = set(merge_set)
    rows = [row for row in ledger.updates(round=current.number) if row.digest in wanted]
    return MergeJob(
        base_digest=current.base_digest,
        inputs=inputs_of(config.merge, rows),
        state_digest=_base(ledger, current).state_digest,
        merge=config.merge,
        codec=config.release.codec,
        patch=Scope.in_turn(config.release.turns, current.number),
        mask=None if config.update.mask is None else config.update.mask.digest,
    )


def _base(ledger: Ledger, current: Round) -> ReleaseRow:
    base = ledger.release(current.base_version)
    assert base is not None, current.base_version
    return base


def _drawn(desk: Desk, ledger: Ledger, current: Round) -> Drawn:
    """The hidden examples of a round, the same ones whenever it is asked."""
    suite = desk.config.acceptance
    if all(test.pool is None for test in suite.tests):
        return Drawn({}, {})
    verdicts = [row.verdict for row in ledger.rounds() if row.number < current.number]
    earlier = [verdict["draws"] for verdict in verdicts if verdict is not None and "draws" in verdict]
    return draw_for_round(desk.chain, current.number, suite, desk.examples, earlier)


def _tested(
    desk: Desk, current: Round, candidate: Candidate, drawn: Drawn
) -> Generator[list[Task], list[Any], Verdict]:
    """The verdict on a candidate as it may be told; its tests are looked at until the answer is sure."""
    base, now = current.base_digest, candidate.model_digest
    steps = suite_steps(desk.config.acceptance, drawn.places)
    parts = next(steps)
    while True:
        ends = yield measure_tasks(desk, base, parts) + measure_tasks(desk, now, parts)
        was = found_by(desk, base, parts, ends[: len(parts)])
        found = found_by(desk, now, parts, ends[len(parts) :])
        doubtful = [index for index, one in enumerate(found) if isinstance(one, Failure)]
        if doubtful:  # is it the model, or the machine as it is now
            again = [parts[index] for index in doubtful]
            ends = yield measure_tasks(desk, base, again, again=True)
            for index, one in zip(doubtful, found_by(desk, base, again, ends), strict=True):
                was[index] = one
        try:
            parts = steps.send(list(zip(was, found, strict=True)))
        except StopIteration as stopped:
            return told_of(cast(Verdict, stopped.value), desk.config.acceptance)


def whole(looks: Sequence[LookConfig]) -> list[Part]:
    """Everything that tests or probes look at, where none is drawn."""
    return [Part(look) for look in looks]


def measure_tasks(desk: Desk, model_digest: str, parts: Sequence[Part], *, again: bool = False) -> list[Task]:
    """What measures a model, which is in the cache, part by part."""
    most_s = desk.config.conductor.test_timeout_s
    return [
        Task(
            work.measure_model,
            (desk, model_digest, part, again or part.look.kind in OF_THE_MOMENT),
            part.look.timeout_s or most_s,
            cpus=part.look.cpus,
            gpus=part.look.gpus,
            memory_mb=part.look.memory_mb,
            fails_alone=True,
        )
        for part in parts
    ]


def require_found(ends: Sequence[Failure | None]) -> None:
    """Refuse to go on without what a test or a probe should have found.

    Args:
        ends: of the tasks of :func:`measure_tasks`.

    Raises:
        AcceptanceError: one of them failed.
    """
    for end in ends:
        if end is not None:
            raise AcceptanceError(end.reason)


def found_by(desk: Desk, model_digest: str, parts: Sequence[Part], ends: Sequence[Failure | None]) -> list[Found]:
    """What was found of a model in each part, or why nothing was.

    Args:
        ends: of the tasks of :func:`measure_tasks`.
    """
    return [
        end if end is not None else desk.require_measured(model_digest, part)
        for part, end in zip(parts, ends, strict=True)
    ]
