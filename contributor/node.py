"""The loop of a node: lease, pull, train, compress, send, learn what became of it, again.

    lease --> pull base --> train H steps --> compress --> outbox --> receipt --+
      ^                                                                        |
      +------- fates of earlier updates, waiting for the next round <----------+

Everything before *outbox* can be lost to a crash and is trained again (or continued from
a checkpoint); everything after it is in ``state.json`` and is not lost. An update that cannot
be sent now does not hold up the next unit, if the coordinator has a lease for it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from barnraise.errors import DiskFullError, NetworkError, RefusedError, VerificationError
from barnraise.message import Signed
from barnraise.protocol import Lease, LeaseRelease, LeaseRequest, RunInfo, Wait
from contributor.base import Base, check_base
from contributor.delivery import Delivered, Delivery
from contributor.events import Leased, Notice, Pulled, Waiting
from contributor.interrupt import StopRequestedError
from contributor.parts import Parts
from contributor.state import NodeState
from contributor.unit_runner import LeaseOverError, UnitRunner

__all__ = ["Before", "Node"]

REFUSALS_MAX = 3
POLL_MIN_S, POLL_MAX_S = 0.1, 60.0
TEAM_LOOK_S = 1.0
NEITHER = Wait(reason="the coordinator gave neither work nor a reason", retry_after_s=5.0)


@dataclass(frozen=True)
class Before:
    """What a node that crashed hands to the one that takes its place: its ``units``, and what it worked for."""

    units: int = 0
    lease: Lease | None = None


class Node:
    """One contributor in one run. Its folder is locked by the caller.

    Attributes:
        units: updates that got a receipt since the start, those of ``before`` among them.
    """

    def __init__(self, info: RunInfo, parts: Parts, before: Before | None = None) -> None:
        before = before or Before()
        self.units = before.units
        self._info = info
        self._parts = parts
        state = parts.folder.load().with_coordinator(info.coordinator_key)
        node = state.node or secrets.token_hex(16)
        self._runner = UnitRunner(info, parts, parts.folder.commit(state.model_copy(update={"node": node})))
        self._refusals = 0
        self._lease = None if self._is_done(before.lease) else before.lease  # the one that is worked for
        self._finished_as_asked = False
        self._told: str | None = None  # the coordinator's newest notice
        self._delivery = Delivery(info, parts)

    def run(self, max_units: int | None) -> str:
        """Work until ``max_units`` units have receipts, or somebody asks to stop.

        Returns:
            why it stopped, in words.

        Raises:
            BarnraiseError: something that waiting does not cure.
        """
        try:
            while True:
                try:
                    return self._work(max_units)
                except DiskFullError as error:
                    self._wait_for_room(error)
        except StopRequestedError:
            return self._left() if self._parts.interrupt.leave else "asked to stop"

    def handed_on(self) -> Before:
        """For the node that takes the place of this one."""
        return Before(self.units, self._lease)

    def _is_done(self, lease: Lease | None) -> bool:
        """Whether the unit of ``lease`` is trained, so that there is nothing to give back."""
        return lease is not None and lease.lease_id in {unit.lease_id for unit in self._state.outbox}

    @property
    def _state(self) -> NodeState:
        return self._runner.state

    def _work(self, max_units: int | None) -> str:
        while (lease := self._next(max_units)) is not None:
            self._lease = lease
            confirmed = self._parts.now_ms() >= lease.expires_at_ms
            try:
                self._runner.run(lease, self._pull(lease), confirmed=confirmed)
            except LeaseOverError:
                continue
            self._lease = None
            self._finished_as_asked = self._parts.interrupt.finish
        if self._finished_as_asked:
            return "the unit was finished, as asked"
        if self._parts.interrupt.finish:
            raise StopRequestedError
        return f"{self.units} of {max_units} units done"

    # -- between units ------------------------------------------------------------------------------

    def _busy(self) -> bool:
        """Whether there is something to see through when a person asks to finish."""
        return bool(self._state.outbox)

    def _next(self, max_units: int | None) -> Lease | None:
        """Work to do, however long that takes; None when there shall be no more."""
        said = ""
        while True:
            found = self._parts.patience.ask(lambda: self._visit(max_units), busy=self._busy)
            if not isinstance(found, Wait):
                return found
            if found.reason != said:
                said = found.reason
                self._parts.report(Waiting(said))
            self._parts.interrupt.wait(min(max(found.retry_after_s, POLL_MIN_S), POLL_MAX_S), until_stop=self._busy())

    def _visit(self, max_units: int | None) -> Lease | Wait | None:
        """Everything there is to say to the coordinator: updates, questions about earlier ones, a wish for work.

        Raises:
            NetworkError: it could not be said, or an update could not be sent and there is no other work.
            StopRequestedError: asked to stop.
        """
        interrupt = self._parts.interrupt
        if interrupt.stop or (interrupt.finish and not self._busy()):
            if self._finished_as_asked and not interrupt.stop:
                return None
            raise StopRequestedError
        self._parts.rest.take(busy=self._busy, transfer=True)
        delivered = self._delivery.deliver(self._state)
        self._count(delivered)
        wanted = max_units is None or self.units + len(self._state.outbox) < max_units
        if not wanted or interrupt.finish:
            if delivered.setback is not None:
                raise delivered.setback
            return None if delivered.held_until_ms is None else self._for_team(delivered.held_until_ms)
        return self._asked_for_work(delivered)

    def _asked_for_work(self, delivered: Delivered) -> Lease | Wait:
        self._runner.state = self._delivery.learn_fates(self._state)
        answer = self._parts.client.lease(self._request())
        self._tell(answer.notice)
        if answer.lease is not None:
            lease = self._checked(answer.lease)
            if not self._is_done(lease):
                self._parts.report(
                    Leased(lease.lease_id, lease.round, lease.base_version, lease.shard, lease.training.steps)
                )
                return lease
            if delivered.held_until_ms is not None:
                return self._for_team(delivered.held_until_ms)
        elif delivered.held_until_ms is not None:  # the lease has brought something: the team's update is there
            self._runner.state = self._parts.folder.commit(self._state.released())
        if delivered.setback is not None:
            raise delivered.setback
        return answer.wait or NEITHER

    def _for_team(self, until_ms: int) -> Wait:
        left_s = max((until_ms - self._parts.now_ms()) / 1000, 0)
        reason = "another member sends the team's update; if it does not come, this machine sends its own"
        return Wait(reason=reason, retry_after_s=min(left_s, TEAM_LOOK_S))

    def _tell(self, notice: str | None) -> None:
        """Pass on what the coordinator wants known, once."""
        if notice is not None and notice != self._told:
            self._parts.report(Notice(notice))
        self._told = notice

    def _count(self, delivered: Delivered) -> None:
        """Take over what was delivered. Gives up after several refusals in a row: the next would be no different."""
        self._runner.state = delivered.state
        self.units += delivered.receipts
        self._refusals = (0 if delivered.receipts else self._refusals) + len(delivered.refusals)
        if self._refusals >= REFUSALS_MAX:
            last = delivered.refusals[-1]
            too_slow = (
                ". If leases end before this machine is done with a unit, it is too slow for this run: stop other "
                "programs, or ask the operator for longer leases (round.lease_for_s)"
            )
            raise RefusedError(
                f"{self._refusals} updates in a row were refused, the last one so: {last}"
                f"{too_slow if last.remote_code == 'lease' else ''}",
                status=last.status,
                remote_code=last.remote_code,
            )

    def _request(self) -> Signed:
        request = LeaseRequest(
            run=self._info.name,
            name=self._parts.name,
            nonce=secrets.token_hex(16),
            at_ms=self._parts.now_ms(),
            node=self._state.node,
            recovery=self._parts.card,
        )
        return Signed.make(request, self._parts.identity)

    def _checked(self, signed: Signed) -> Lease:
        lease = signed.open(Lease)
        if signed.key != self._info.coordinator_key or lease.contributor != self._parts.identity.public:
            raise VerificationError(
                "the lease is not signed by this run's coordinator for this key; start again, and if that "
                "does not help ask the operator whether the run has moved"
            )
        return lease

    def _pull(self, lease: Lease) -> Base:
        self._parts.rest.take(busy=lambda: True, transfer=True)
        base = check_base(self._parts.patience.ask(lambda: self._parts.bases.fetch(lease)))
        for warning in base.warnings:
            self._parts.report(Notice(warning))
        self._parts.report(Pulled(base.version, base.fetched_bytes, 4 * base.space.size))
        return base

    # -- when something is in the way ---------------------------------------------------------------

    def _wait_for_room(self, error: DiskFullError) -> None:
        """Wait a while, then begin again with what is committed."""
        folder = self._parts.folder
        self._parts.rest.for_room("waiting for room on the disk", error, folder.root)
        self._runner.state = folder.load()

    def _left(self) -> str:
        """Give the lease back, if there is one and the coordinator can be told; the state stays."""
        if self._lease is None:
            return "left; everything is kept for the next join"
        release = LeaseRelease(run=self._info.name, lease_id=self._lease.lease_id)
        try:
            answer = self._parts.client.release(Signed.make(release, self._parts.identity))
        except NetworkError as error:
            self._parts.report(Notice(f"the lease could not be given back and ends by itself ({error})"))
            return "left; everything is kept for the next join"
        self._parts.report(Notice(f"gave the lease back: {answer.reason}"))
        self._parts.folder.checkpoint.unlink(missing_ok=True)
        return "left, and the lease was given back; everything else is kept for the next join"
