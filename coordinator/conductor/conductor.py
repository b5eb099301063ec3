"""The loop around the round machine: reads the ledger, does what the machine says, records what came of it.

Every action is a generator that yields batches of tasks and returns the event it leads to. An
event is recorded together with the round it moves, in one transaction, before anything is
done about it; after a crash the round is read back and its interrupted action issued again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Event as StopEvent

from barnraise.config import RunConfig
from coordinator.conductor import actions
from coordinator.conductor.actions import Finished
from coordinator.conductor.attendance import Attendance
from coordinator.conductor.desk import Desk
from coordinator.conductor.jobs import Jobs
from coordinator.conductor.pool import Pool
from coordinator.conductor.probing import due, probe_channel
from coordinator.conductor.reverting import Workshop, restore_state, revert
from coordinator.ledger import BanRow, Ledger, ReleaseRow, UpdateRow
from coordinator.ledger.events import (
    ChannelMoved,
    Event,
    ReleaseTagged,
    RoundMoved,
    RoundOpened,
    RoundTested,
    UpdateRejected,
    UpdateUnmerged,
)
from coordinator.orders.accepting import unless_accepted
from coordinator.orders.decision import Compute, Done
from coordinator.orders.rules import moves_trunk
from coordinator.orders.settling import settle
from coordinator.publish import Publisher
from coordinator.rehearsal import require_mergeable
from coordinator.round import Round, RoundPolicy, resume, step
from coordinator.round_events import (
    Accepted,
    Action,
    Check,
    FindCulprits,
    Interrupted,
    Judged,
    Merge,
    RoundEvent,
    RunTests,
    Tag,
    Tagged,
    UpdateArrived,
)
from coordinator.standing import held_back

__all__ = ["Conductor"]

LATE_WAIT_MS = 600_000
"""A late update is told its fate after this long, though the conductor was too busy to compare it."""


class Conductor:
    """One run's decisions, one step after another, in one thread.

    Args:
        clock: now, in milliseconds since the epoch.
    """

    def __init__(
        self, config: RunConfig, ledger: Ledger, desk: Desk, publisher: Publisher, pool: Pool, clock: Callable[[], int]
    ) -> None:
        self.config = config
        self.ledger = ledger
        self.desk = desk
        self.publisher = publisher
        self.pool = pool
        self.clock = clock
        require_mergeable(config)
        self.policy = RoundPolicy(
            target_updates=config.round.target_updates,
            min_updates=config.round.min_updates,
            settle_for_ms=int(config.round.settle_for_s * 1000),
            collect_for_ms=int(config.round.collect_for_s * 1000),
        )
        self.round: Round | None = None
        self._jobs = Jobs(pool, self._finish)
        self._late: set[str] = set()  # late updates that are being compared, or were
        self._ordered: deque[str] = deque()  # orders that must compute, in their order
        self._shop = Workshop(desk, ledger, publisher, clock)
        self._attendance: Attendance | None = None  # of the round, where it matters
        self._idle_at_seq: int | None = None  # what the ledger was at when the last turn left nothing to do
        self._renew_at_ms = 0  # when the signatures of what is published have to be made anew

    def recover(self) -> None:
        """Take up where the ledger says the run is: first release, index, interrupted actions."""
        if self.ledger.newest_release() is None:
            self._jobs.start(actions.first_release(self.desk, self.config, self.publisher, self.clock))
            while self._jobs:
                self._jobs.advance(1.0)
        self._renew_at_ms = self.publisher.write_index()
        head = self.ledger.head()
        assert head is not None
        self.desk.ensure_model(head, self.ledger.releases())
        self._take_up()

    def run(self, stop: StopEvent) -> None:
        """Work until ``stop`` is set."""
        self.recover()
        while not stop.is_set():
            self.tick(self.config.conductor.poll_every_s)

    def tick(self, wait_s: float) -> None:
        """One turn: obey, open a round if none is, take in what arrived, wait for tasks, act on what they say.

        What follows from the ledger alone is not asked again while a conductor is idle and nothing was recorded.
        """
        if self.clock() >= self._renew_at_ms:
            self._renew_at_ms = self.publisher.renew()
        seq = self.ledger.last_seq()  # first: what is recorded from here on is for the next turn at the latest
        if seq != self._idle_at_seq:
            self._obey()
            self._follow_trunk()
            self._open_if_due()
            self._take_in()
        self._let_time_pass()
        self._idle_at_seq = seq if self._is_idle else None
        self._jobs.advance(wait_s)

    @property
    def _is_idle(self) -> bool:
        """Whether only a new event, or the time that a round collects, can give the next turn something to do."""
        if self._jobs or self._ordered or self.round is None:
            return False
        return self._next_number is None if self.round.is_final else self.round.phase == "collecting"

    # -- orders ---------------------------------------------------------------------------

    def _obey(self) -> None:
        """Carry out what was ordered since the last turn; what must compute is done one after the other."""
        busy = self._trunk_is_computed
        for row in self.ledger.orders(waiting=True):
            if row.order_id in self._ordered or row.order_id in self._jobs.purposes:
                continue
            if busy and moves_trunk(row.order):
                continue
            match settle(self.ledger, row, self.clock):
                case Done():
                    self._renew_at_ms = self.publisher.write_index()
                case Compute():
                    self._ordered.append(row.order_id)
        if self._ordered and not busy:
            self._compute(self._ordered.popleft())
        elif not busy:
            self._probe_if_due()
        self._turn_away()
        self._accept_failed()

    def _compute(self, order_id: str) -> None:
        """Begin what an order asks for, unless it needs no computing any more; the open round ends for it."""
        row = self.ledger.order(order_id)
        assert row is not None
        decision = settle(self.ledger, row, self.clock)
        if isinstance(decision, Compute):
            self._interrupt(f"updates are taken out of the trunk that it was open from: {decision.reason}")
            self._jobs.start(revert(self._shop, order_id, decision), purpose=order_id)

    def _probe_if_due(self) -> None:
        """Probe a channel that has moved forward. No round opens meanwhile: its base may be about to move back."""
        channels = self.config.channels
        if not channels:
            return
        row = due(self.ledger.channel_rows(), channels, self.ledger.releases())
        if row is not None:
            self._jobs.start(
                probe_channel(self._shop, row, channels[row.channel].probes), purpose=f"probe {row.channel}"
            )

    def _accept_failed(self) -> None:
        """Release the open round's candidate, whose culprits are being looked for, if what it fails was accepted."""
        current = self.round
        if current is None or not current.searching or current.candidate is None:
            return
        row = self.ledger.round(current.number)
        assert row is not None
        if row.verdict is None or row.verdict["passed"]:
            return
        decided = unless_accepted(self.ledger, Judged(current.candidate, False, "", self.clock()), row.verdict["tests"])
        if isinstance(decided, Accepted):
            self._let_go()
            self._feed(decided)

    def _not_taken_back(self) -> None:
        """Abandon a round that was to be released for an order which was taken back before it was."""
        current = self.round
        if current is None or current.is_final or current.accepted_by is None:
            return
        row = self.ledger.order(current.accepted_by)
        assert row is not None
        if row.settled_at_ms is not None:
            self._interrupt(f"it was to be released for order {row.order_id}, which is over: {row.reason}")

    def _turn_away(self) -> None:
        """End a round that has updates of a key that was banned meanwhile."""
        current, bans = self.round, self.ledger.bans()
        if current is None or current.is_final or not bans:
            return
        digests = [row.digest for row in self.ledger.updates(round=current.number)]
        theirs = {digest for digest, members in self.ledger.members(*digests).items() if bans.keys() & {*members}}
        if found := theirs & {*current.pending, *current.checked}:
            self._interrupt(f"a key was banned that had sent {len(found)} of its updates")

    @property
    def _trunk_is_computed(self) -> bool:
        """Whether a job is under way that decides where the trunk goes on, or from what."""
        return bool(self._jobs.purposes)

    def _follow_trunk(self) -> None:
        """Abandon a round whose base is not where the trunk is any more."""
        head = self.ledger.head()
        if self.round is not None and head is not None and head.version != self.round.base_version:
            self._interrupt(f"the trunk goes on from {head.version}, the round was open from {self.round.base_version}")

    def _interrupt(self, reason: str) -> None:
        """Abandon the round if one is open, and let go of what is under way for it."""
        if self.round is None or self.round.is_final:
            return
        self._let_go()
        self._feed(Interrupted(reason))

    def _let_go(self) -> None:
        """Forget what is under way for the round."""
        self._jobs.let_go()
        self._late.clear()

    def _trunk_is_ready(self, head: ReleaseRow) -> bool:
        """Whether a round can go on from a release; brings back what tidying has removed of it."""
        if not self.desk.models.path(head.model_digest).exists():
            self.desk.ensure_model(head, self.ledger.releases())
        if head.state_digest is None or self.desk.private.has(head.state_digest):
            return True
        self._jobs.start(restore_state(self._shop, head.version), purpose="state")
        return False

    # -- rounds ---------------------------------------------------------------------------

    def _take_up(self) -> None:
        """Read the current round back, with what the updates say that it did not yet know."""
        row = self.ledger.current_round()
        if row is None:
            return
        read = Round(row.number, row.base_version, row.base_digest)
        self.round = Round.from_json(row.state) if row.state else read
        if self.round.phase == "collecting":
            updates = self.ledger.updates(round=row.number)
            self.round = replace(
                self.round,
                pending=_digests(updates, "received"),
                checked=_digests(updates, "checked"),
                rejected=_digests(updates, "rejected"),
            )
        self._follow_trunk()  # commands may have moved it, or banned a key, while nobody worked here
        self._turn_away()
        self._not_taken_back()
        for action in resume(self.round):
            self._act(action)

    @property
    def _next_number(self) -> int | None:
        """Of the round after this one; None after the last."""
        number, most = self.round.number + 1 if self.round else 1, self.config.round.max_rounds
        return None if most is not None and number > most else number

    def _open_if_due(self) -> None:
        if (self.round is not None and not self.round.is_final) or self._trunk_is_computed or self._ordered:
            return
        number = self._next_number
        if number is None:
            return
        base = self.ledger.head()
        assert base is not None
        if not self._trunk_is_ready(base):
            return
        opened = RoundOpened(number, base.version, base.model_digest)
        self.ledger.record(opened, at_ms=self.clock())
        self.round = Round(number, base.version, base.model_digest)

    def _take_in(self) -> None:
        """Updates that arrived, and who is at work on the round."""
        current, bans = self.round, self.ledger.bans()
        for row in self.ledger.updates(state="received"):
            if (ban := self._ban_on(row, bans)) is not None:
                self.ledger.record(_turned_away(row, ban), at_ms=self.clock())
            elif current and row.round == current.number and current.phase == "collecting":
                self._feed(UpdateArrived(row.digest))
            else:
                self._take_late(row)
        told_the_time = current is not None and current.phase in {"collecting", "testing"}
        self._attendance = Attendance.of(self.ledger, current.number, bans) if current and told_the_time else None

    def _let_time_pass(self) -> None:
        if self._attendance is not None:
            self._feed(self._attendance.at(self.clock()))

    def _ban_on(self, row: UpdateRow, bans: Mapping[str, BanRow]) -> BanRow | None:
        """The ban on somebody whose work is in an update; a team's has several."""
        if not bans:
            return None
        return next((bans[one] for one in self.ledger.members(row.digest)[row.digest] if one in bans), None)

    def _take_late(self, row: UpdateRow) -> None:
        """An update that no round waits for: compared once nothing else is under way, so that it delays no round."""
        current = self.round
        its_round_ended = current is None or current.is_final or current.number != row.round
        if row.digest in self._late:
            return
        if its_round_ended and not self._jobs:
            self._late.add(row.digest)
            self._jobs.start(actions.unmerge(self.desk, self.config, self.ledger, row))
        elif self.clock() - row.received_at_ms > LATE_WAIT_MS:
            where = f"round {row.round} had stopped collecting when it arrived"
            self.ledger.record(UpdateUnmerged(row.digest, row.round, where, code="late"), at_ms=self.clock())

    def _feed(self, event: RoundEvent, *with_it: Event) -> None:
        """Let the machine decide on ``event``; record the outcome and ``with_it``; act."""
        assert self.round is not None
        taken = step(self.round, event, self.policy)
        recorded = list(with_it)
        if taken.reason:
            now = taken.round
            recorded += self._left_over(now)
            recorded.append(RoundMoved(now.number, now.phase, now.reason, now.as_json()))
        if recorded:
            self.ledger.record(*recorded, at_ms=self.clock())
        self.round = taken.round
        for action in taken.actions:
            self._act(action)

    def _left_over(self, ended: Round) -> list[Event]:
        """What happens to good updates when their round ends without them."""
        if ended.phase not in {"rejected", "abandoned"}:
            return []
        reason = f"round {ended.number} was {ended.phase}: {ended.reason}"
        rows, bans = self.ledger.updates(round=ended.number), self.ledger.bans()
        return [
            _turned_away(row, ban)
            if (ban := self._ban_on(row, bans)) is not None
            else UpdateUnmerged(row.digest, ended.number, reason, code=f"round-{ended.phase}")
            for row in rows
            if row.digest in ended.checked
        ]

    # -- actions --------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        assert self.round is not None
        match action:
            case Check(digest):
                row = self.ledger.update(digest)
                lease = self.ledger.lease(row.lease_id) if row is not None else None
                shard = lease.shard if lease is not None else None
                whose = self.ledger.members(digest)[digest]
                reasons = (held_back(self.ledger, one, self.round.number, self.config.standing) for one in whose)
                held = next((reason for reason in reasons if reason is not None), None)
                self._jobs.start(actions.check(self.desk, self.round, digest, shard, held))
            case Merge(merge_set):
                self._jobs.start(actions.merge(self.desk, self.ledger, self.round, merge_set, self.clock))
            case RunTests(candidate):
                self._jobs.start(actions.run_tests(self.desk, self.ledger, self.round, candidate, self.clock))
            case FindCulprits():
                self._jobs.start(actions.find_culprits(self.desk, self.ledger, self.round, self.clock))
            case Tag():
                self._tag(action)

    def _tag(self, action: Tag) -> None:
        assert self.round is not None
        draft = self.publisher.draft(self.round, action)
        self._feed(Tagged(draft.version), *draft.events)
        self._publish()

    def _publish(self) -> None:
        """A release was tagged: list it, and forget what only older ones needed."""
        self._renew_at_ms = self.publisher.write_index()
        head = self.ledger.head()
        assert head is not None
        self.desk.tidy(self.ledger.releases(), head)

    def _finish(self, finished: Finished) -> None:
        if finished.outcome is None:
            self.ledger.record(*finished.events, at_ms=self.clock())
            if any(isinstance(event, ReleaseTagged | ChannelMoved) for event in finished.events):
                self._publish()
        else:
            outcome = finished.outcome
            told = next((event for event in finished.events if isinstance(event, RoundTested)), None)
            if isinstance(outcome, Judged) and told is not None:
                outcome = unless_accepted(self.ledger, outcome, told.summary)
            self._feed(outcome, *finished.events)


def _turned_away(row: UpdateRow, ban: BanRow) -> UpdateRejected:
    return UpdateRejected(row.digest, row.round, "ban", f"its key is banned: {ban.reason}")


def _digests(updates: list[UpdateRow], state: str) -> tuple[str, ...]:
    return tuple(row.digest for row in updates if row.state == state)
