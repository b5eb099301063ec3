"""Make a release as if updates had never been merged, and bring back what tidying has removed: two actions.

    line of the trunk -> without the updates -> merged again from where the lines part
                      -> tested against the newest release -> tagged, and the order settled

Nothing is known of it until the end: the tag, the updates' fates, the channel and the order are
one transaction. What cannot be merged again, or fails its tests, settles the order with the
evidence instead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from barnraise.digest import canonical_json
from barnraise.errors import BarnraiseError, RayLostError, StorageError
from barnraise.message import BlobRef
from barnraise.narrate import short
from barnraise.releases.manifest import Remerged
from barnraise.releases.publish import store_blob
from coordinator.acceptance.hidden.telling import told_of
from coordinator.acceptance.suite import judge_models
from coordinator.acceptance.verdict import Verdict
from coordinator.conductor.actions import Finished, Work, measure_tasks, require_found, whole
from coordinator.conductor.comparison import compare_models
from coordinator.conductor.desk import Desk
from coordinator.conductor.pool import Task
from coordinator.conductor.replay import Archive, Replay
from coordinator.ledger import Ledger, ReleaseRow
from coordinator.ledger.events import Event
from coordinator.ledger.order_events import OrderSettled
from coordinator.orders.decision import Compute
from coordinator.publish import Publisher, Remade
from coordinator.remerge import Known, Line, nearest, without

__all__ = ["Workshop", "restore_state", "revert"]

NOTE = "updates of later rounds were made from the releases of then, and are added as they are to what comes out now"


@dataclass(frozen=True)
class Workshop:
    """What reverting works with; ``clock`` gives milliseconds since the epoch."""

    desk: Desk
    ledger: Ledger
    publisher: Publisher
    clock: Callable[[], int]

    @property
    def timeout_s(self) -> float:
        return self.desk.config.conductor.test_timeout_s

    def known(self, lines: Mapping[str, Line], but: str | None = None) -> list[Known]:
        """The releases of a line whose model and state can be had without merging."""
        found = []
        for version, line in lines.items():
            row = self.ledger.release(version)
            assert row is not None
            there = row.state_digest is None or self.desk.private.has(row.state_digest)
            if there and version != but:
                found.append(Known(version, line, row.model_digest, row.state_digest))
        return found

    def replay(self, archive: Archive) -> Replay:
        """A replay that takes nothing away which a release needs."""
        releases = self.ledger.releases()
        keep = {row.model_digest for row in releases} | {row.state_digest for row in releases if row.state_digest}
        return Replay(self.desk.bench, archive, self._fetch, self.timeout_s, keep)

    def require_model(self, version: str) -> ReleaseRow:
        """A release whose model is in the cache afterwards."""
        row = self.ledger.release(version)
        assert row is not None, version
        self.desk.ensure_model(row, self.ledger.releases())
        return row

    def _fetch(self, ref: BlobRef) -> None:
        if not self.desk.private.has(ref.digest):
            self.desk.private.link_from(self.desk.public, ref.digest)


@dataclass(frozen=True)
class _Parted:
    """The trunk as it is and as it would be: two lines, where they part, and what the second one leads to.

    Attributes:
        before: what the first merge that changes was made on. on_before: it still is.
    """

    head: ReleaseRow
    before: ReleaseRow
    on_before: bool
    old: Line
    new: Line
    end: Known

    @property
    def gone(self) -> frozenset[str]:
        """Updates that are in the old line and not in the new one."""
        return frozenset(_digests(self.old)) - frozenset(_digests(self.new))

    @property
    def repeated(self) -> Line:
        """The merges that had to be done again."""
        return self.new[len(_common(self.old, self.new)) :]


def revert(shop: Workshop, order_id: str, asked: Compute) -> Work:
    """Carry an order out that leaves updates out of the trunk; whatever goes wrong settles it."""
    try:
        events = yield from _revert(shop, order_id, asked)
    except RayLostError:
        raise
    except BarnraiseError as error:
        reason = f"{asked.reason}; the trunk cannot be merged again without {_names(asked.updates)}: {error}"
        events = (OrderSettled(order_id, False, reason),)
    return Finished(None, events)


def restore_state(shop: Workshop, version: str) -> Work:
    """Compute the outer state and the residual of a release again, which the trunk is to go on from.

    Raises:
        StorageError: they do not come out as they were; the trunk cannot go on from there.
    """
    archive = Archive.of(shop.desk.public, shop.ledger.releases())
    lines = archive.lines(version)
    wanted = shop.require_model(version)
    start = nearest(lines[version], shop.known(lines, but=version))
    shop.require_model(start.version)
    end, _ = yield from shop.replay(archive).run(start, lines[version][len(start.line) :])
    if (end.model_digest, end.state_digest) != (wanted.model_digest, wanted.state_digest):
        raise StorageError(
            f"{version} merged again from {start.version} is another model or has another state, so the trunk cannot "
            "go on from it; move it elsewhere: barnraise rollback nightly VERSION"
        )
    return Finished(None)


def _revert(shop: Workshop, order_id: str, asked: Compute) -> Generator[list[Task], list[Any], tuple[Event, ...]]:
    desk = shop.desk
    archive = Archive.of(desk.public, shop.ledger.releases())
    replay = shop.replay(archive)
    trunk = shop.ledger.head()
    assert trunk is not None
    if not set(asked.updates) & set(_digests(archive.lines(trunk.version)[trunk.version])):
        reason = f"{asked.reason}; {trunk.version} was made without {_names(asked.updates)} already"
        return (OrderSettled(order_id, True, reason, {"version": None, "updates": list(asked.updates)}),)
    parted = yield from _part(shop, archive, replay, asked)
    head, end = parted.head, parted.end
    if end.model_digest == head.model_digest:
        reason = f"{asked.reason}; without {_names(asked.updates)} {head.version} is the same model bit for bit"
        return (OrderSettled(order_id, True, reason, {"version": None, "updates": list(asked.updates)}),)
    models = (head.model_digest, parted.before.model_digest, end.model_digest)
    tests = desk.config.acceptance.tests
    ends = yield [task for model in dict.fromkeys(models) for task in measure_tasks(desk, model, whole(tests))]
    require_found(ends)
    (change,) = yield [Task(compare_models, (desk, head.model_digest, end.model_digest), shop.timeout_s)]
    verdict = _verdict(desk, head, end)
    report = _report(shop, asked, parted, verdict, change)
    worse = [case.name for case in verdict.tests if case.supported and not case.passed]
    if not_accepted := [name for name in worse if name not in asked.accepts]:
        replay.forget(end)
        options = " ".join(f"--accept-regression {name}" for name in not_accepted)
        hint = f"to release it all the same: {options} --reason WHY"
        reason = f"{asked.reason}; without {_names(asked.updates)}: {verdict.reason}; {hint}"
        return (OrderSettled(order_id, False, reason, report),)
    accepted = {name: asked.accepts[name] for name in worse}
    manifest = _manifest(desk, asked, parted, report)
    remade = Remade(head, end.model_digest, end.state_digest, verdict.summary(), manifest)
    draft = shop.publisher.remerged(remade, accepted, shop.clock())
    reason = f"{draft.version} is {head.version} without {_names(asked.updates)}: {asked.reason}; {_words(change)}"
    return (*draft.events, OrderSettled(order_id, True, reason, {"version": draft.version, **report}))


def _part(
    shop: Workshop, archive: Archive, replay: Replay, asked: Compute
) -> Generator[list[Task], list[Any], _Parted]:
    """Merge the trunk again without the updates, from where that makes a difference."""
    head = shop.ledger.head()
    assert head is not None
    lines = archive.lines(head.version)
    new = without(lines[head.version], asked.updates)
    common = _common(lines[head.version], new)
    before = archive.past(lines[head.version][len(common)].version).parent
    assert before is not None
    start = nearest(new, shop.known(lines))
    for version in (start.version, before, head.version):
        shop.require_model(version)
    end, _ = yield from replay.run(start, new[len(start.line) :])
    found = shop.ledger.release(before)
    assert found is not None
    return _Parted(head, found, lines[before] == common, lines[head.version], new, end)


def _verdict(desk: Desk, base: ReleaseRow, end: Known) -> Verdict:
    suite = desk.config.acceptance
    was, found = (desk.all_measured(model.model_digest, suite.tests) for model in (base, end))
    return told_of(judge_models(suite, was, found), suite)


def _report(
    shop: Workshop, asked: Compute, parted: _Parted, verdict: Verdict, change: dict[str, Any]
) -> dict[str, Any]:
    """What becomes different, JSON values: the model, its tests, and which updates it concerns."""
    repeated = parted.repeated
    stayed = parted.on_before and repeated[:1] and repeated[0].made_from == parted.before.model_digest
    moved = _digests(repeated[1 if stayed else 0 :])
    return {
        "reason": asked.reason,
        "left_out": list(asked.updates),
        "dropped": sorted(parted.gone - set(asked.updates)),
        "repeated": [{"version": merge.version, "updates": list(merge.digests)} for merge in repeated],
        "added_to_another_base": moved,
        "note": NOTE if moved else "",
        "model": change,
        "tests": {
            "against": {"version": parted.head.version, "passed": verdict.passed, "tests": verdict.summary()},
            "against_before": {
                "version": parted.before.version,
                "tests": _verdict(shop.desk, parted.before, parted.end).summary(),
            },
        },
    }


def _manifest(desk: Desk, asked: Compute, parted: _Parted, report: dict[str, Any]) -> Remerged:
    return Remerged(
        left_out=asked.updates,
        dropped=tuple(report["dropped"]),
        repeated=tuple(merge.version for merge in parted.repeated),
        reason=asked.reason,
        report=store_blob(desk.public, canonical_json(report)),
    )


def _common(old: Line, new: Line) -> Line:
    """What both lines begin with."""
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    return old[:same]


def _digests(line: Line) -> list[str]:
    return [digest for merge in line for digest in merge.digests]


def _names(updates: Sequence[str], most: int = 3) -> str:
    listed = ", ".join(short(digest) for digest in updates[:most])
    return listed if len(updates) <= most else f"{listed} and {len(updates) - most} more updates"


def _words(change: dict[str, Any]) -> str:
    relative = f" ({change['relative_norm']:.2%} of the weights' norm)" if change["relative_norm"] is not None else ""
    return f"{change['changed']:.1%} of the elements differ, by a norm of {change['norm']:.4g}{relative}"
