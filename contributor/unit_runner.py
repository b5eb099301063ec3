"""One unit on this machine: from a lease and its base to an update in the outbox.

    begin or continue --> step --> step --> .. --> compress --> outbox
          ^                |
          +-- checkpoint <-+  paused, a policy, no memory: the trainer goes, its memory is free, a wait begins

A unit that is set aside loses no step: it is saved first, and continued from there with the
same bits. Only a machine that has run out of memory goes back to the last checkpoint, for
nobody knows how far the step got.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from barnraise.errors import DiskFullError, NotEnoughMemoryError
from barnraise.message import Signed
from barnraise.protocol import Lease, RunInfo
from barnraise.updates.space import ParameterSpace
from contributor.base import Base
from contributor.events import Finished, Notice, Step, one_line
from contributor.interrupt import StopRequestedError
from contributor.keeping import Keeping, keeping
from contributor.parts import Parts
from contributor.saving import Saving
from contributor.state import KeptMoments, NodeState, Outgoing
from contributor.tasks import AtHand, Task, make_task
from contributor.team_unit import Made, average_unit, averaged_size
from contributor.training.busy import Busy
from contributor.training.compiling import whether_to_compile
from contributor.training.horizon import ends_here
from contributor.training.how import How
from contributor.training.memory import is_out_of_memory, let_go
from contributor.training.moments import load_moments, store_moments
from contributor.training.remembered import Remembered, kind_of_unit
from contributor.training.trainer import Moments, Trainer, Unit
from contributor.unit import Wanted, Work, finish_unit

__all__ = ["LeaseOverError", "UnitRunner"]

NO_MEMORY_LOOK_S = 60.0
ASK_AGAIN_S = 0.5  # policies, in a pause that they wished for
PIECE = 1 << 16

Share = tuple[str, float | None]


class LeaseOverError(Exception):
    """By this machine's clock the lease is over; the unit is saved. Never leaves this package."""


class _SetAsideError(Exception):
    """The unit is to be continued from its checkpoint, later. Never leaves this file."""


@dataclass(frozen=True)
class _Job:
    """A unit in training. ``confirmed``: the coordinator said that the lease holds although this clock says not."""

    lease: Lease
    task: Task
    wanted: Wanted
    layout: ParameterSpace
    trainer: Trainer
    confirmed: bool


@dataclass(frozen=True)
class _Aside:
    """A unit that is to be continued later. ``no_memory`` is what was said when memory ran out, "" otherwise."""

    no_memory: str = ""


class UnitRunner:
    """Trains units, one after the other.

    Attributes:
        state: of the node, as committed.
    """

    def __init__(self, info: RunInfo, parts: Parts, state: NodeState) -> None:
        self.state = state
        self._info = info
        self._parts = parts
        self._saving = Saving(parts)
        self._trained_s = 0.0
        self._remembered = Remembered(parts.folder.root / "machine.json")

    def run(self, lease: Lease, base: Base, *, confirmed: bool) -> None:
        """Train a unit, or what is left of it, and put its update into the outbox.

        Raises:
            LeaseOverError: ask the coordinator whether the lease still holds.
            StopRequestedError: asked to stop; the unit is saved.
            BarnraiseError: something that waiting does not cure.
        """
        self._trained_s = 0.0
        while True:
            self._parts.rest.take(busy=lambda: True)
            aside = self._attempt(lease, base, confirmed=confirmed)
            if aside is None:
                return
            for device in (self._parts.device, *self._parts.how.others):
                let_go(device)
            if aside.no_memory:
                self._wait_for_memory(aside.no_memory)

    # -- one attempt: until the unit is done or set aside -------------------------------------------

    def _attempt(self, lease: Lease, base: Base, *, confirmed: bool) -> _Aside | None:
        """Train until the unit is done, or set aside. Nothing of the trainer is left after that."""
        try:
            job = self._job(lease, base, confirmed=confirmed)
            self._finish(job, self._steps(job))
        except _SetAsideError:
            return _Aside()
        except (MemoryError, OSError, RuntimeError, NotEnoughMemoryError) as error:
            if not isinstance(error, NotEnoughMemoryError) and not is_out_of_memory(error):
                raise
            return _Aside(one_line(str(error)) or type(error).__name__)
        return None

    def _job(self, lease: Lease, base: Base, *, confirmed: bool) -> _Job:
        """A unit with its trainer, where it was stopped or at its beginning."""
        task = make_task(base.model, self._info.data, lease.shard, self._at_hand(lease, base))
        wanted = Wanted.of(lease, base.space, base.mask)
        layout = wanted.trains.layout(base.space)
        progress = self._saving.continued(lease, layout)
        moments = self._moments(lease, layout) if progress is None else None
        unit = Unit(task, base.space, base.flat_P, lease.training, lease.seed, moments, wanted.trains)
        if self._parts.swarm.team is not None and not confirmed:
            self._parts.swarm.team.begin(lease, averaged_size(wanted, fisher=lease.fisher))
        trainer = Trainer(unit, self._parts.device, self._how(lease, layout, task))
        if progress is not None:
            trainer.restore(progress)
        return _Job(lease, task, wanted, layout, trainer, confirmed)

    def _how(self, lease: Lease, layout: ParameterSpace, task: Task) -> How:
        """This machine's way of training, with what earlier units found out; a private unit is paid for here."""
        parts = self._parts
        kind = kind_of_unit(layout, lease.training.batch, str(parts.device))
        known = self._remembered.of(kind)
        how = replace(
            parts.how,
            micro_batch=known.micro_batch,
            compile="no" if parts.how.others else whether_to_compile(parts.device.type, known.compile),
            say=lambda text: parts.report(Notice(text)),
        )
        return how if parts.privacy is None else parts.privacy.how(how, lease, task)

    def _at_hand(self, lease: Lease, base: Base) -> AtHand:
        """What the task finds on this machine."""
        return AtHand(lease.seed, base.side, self._parts.own, lambda told: self._parts.report(Notice(told)))

    def _moments(self, lease: Lease, layout: ParameterSpace) -> Moments | None:
        """What AdamW begins the unit with. Moments that cannot be used are forgotten, and that is said once."""
        state = self.state
        if state.moments is None or not lease.training.keep_moments:
            return None
        found = load_moments(self._parts.folder, state, layout, lease.training)
        if isinstance(found, Moments):
            return found
        self._parts.report(Notice(f"AdamW's moments are dropped, this unit begins without: {found}"))
        self.state = self._parts.folder.commit(state.without_moments())
        return None

    # -- steps --------------------------------------------------------------------------------------

    def _steps(self, job: _Job) -> Share:
        """Step until the unit is done; at every step boundary do what was asked meanwhile.

        Returns:
            which device was kept busy, and how much of it, as :class:`Finished` has it.
        """
        parts, trainer, steps = self._parts, job.trainer, job.lease.training.steps
        self._saving.begin(job.layout)
        busy = Busy(parts.device, parts.clock_s)
        while not trainer.done and not self._ends_early(job):
            self._obey(job)
            began_s = parts.clock_s()
            loss = trainer.step()
            took_s = parts.clock_s() - began_s
            self._trained_s += took_s
            parts.report(Step(len(trainer.losses), steps, loss, job.task.unit))
            parts.advice.stepped(took_s, trainer.micro_batch)
            busy.sample()
            if not parts.interrupt.stop:
                self._hold_back(took_s)
            parts.tempo.stepped(parts.clock_s() - began_s)
            if self._saving.is_due(took_s):
                self._save(job)
        if parts.interrupt.stop:
            self._save(job)
            raise StopRequestedError
        parts.tempo.trained()
        kept_busy = busy.what, busy.share()
        kind = kind_of_unit(job.layout, job.lease.training.batch, str(parts.device))
        if trainer.fitting is not None:
            self._remembered.note(kind, micro_batch=trainer.fitting)
        if trainer.compile_pays is not None:
            self._remembered.note(kind, compile=trainer.compile_pays)
        return kept_busy

    def _ends_early(self, job: _Job) -> bool:
        """Whether the lease has no time for another step; said if so."""
        lease, parts, trainer = job.lease, self._parts, job.trainer
        if not trainer.losses or job.confirmed:
            return False
        left_s = (lease.expires_at_ms - parts.now_ms()) / 1000
        lease_s = (lease.expires_at_ms - lease.issued_at_ms) / 1000
        reason = ends_here(parts.tempo.horizon(len(trainer.losses), lease.training.steps, left_s, lease_s))
        if reason is not None:
            parts.report(Notice(reason))
        return reason is not None

    def _obey(self, job: _Job) -> None:
        """What owner, policies and the clock want at a step boundary."""
        parts, trainer = self._parts, job.trainer
        if parts.interrupt.stop:
            self._save(job)
            raise StopRequestedError
        if self._parts.rest.reason() is not None:
            if self._save(job):
                raise _SetAsideError
            self._parts.rest.take(busy=lambda: True)  # what cannot be saved stays in memory
        if not job.confirmed and parts.now_ms() >= job.lease.expires_at_ms:
            self._save(job)
            done = f"step {len(trainer.losses)} of {job.lease.training.steps}"
            parts.report(
                Notice(
                    f"the lease of round {job.lease.round} is over after {done}; asking the coordinator whether it "
                    "still waits for this unit. A machine too slow for its leases contributes nothing: stop other "
                    "programs, or ask the operator for longer leases (round.lease_for_s)"
                )
            )
            raise LeaseOverError
        trainer.limit(parts.advice.wish().micro_batch_max)

    def _hold_back(self, step_s: float) -> None:
        """Pause after a step for as long as the duty that policies want leaves free. They may change their mind."""
        interrupt, paused_s = self._parts.interrupt, 0.0
        while not (interrupt.stop or interrupt.paused):
            left_s = step_s * (1 / self._parts.advice.wish().duty - 1) - paused_s
            if left_s <= 0:
                return
            slice_s = min(left_s, ASK_AGAIN_S)
            interrupt.wait(slice_s, until_stop=True, until=lambda: interrupt.paused)
            paused_s += slice_s

    def _save(self, job: _Job) -> bool:
        return self._saving.save(job.lease, job.layout, job.trainer)

    def _wait_for_memory(self, said: str) -> None:
        """A single example is too much for the memory that is free; others may let go of theirs."""
        self._parts.rest.for_want_of(
            f"out of memory: {said.rstrip('.')}. Trying again from the last checkpoint in {NO_MEMORY_LOOK_S:.0f} s; "
            "close other programs that use it, or see what this run needs with: barnraise doctor "
            f"{self._parts.patience.url}",
            NO_MEMORY_LOOK_S,
        )

    # -- the update ---------------------------------------------------------------------------------

    def _finish(self, job: _Job, busy: Share) -> None:
        """Commit the update to the outbox, as soon as the disk has room for it."""
        folder, made = self._parts.folder, self._made(job)
        while True:
            try:
                self.state = folder.commit(self._finished(job, busy, made))
                break
            except DiskFullError as error:
                self._parts.rest.for_room("the unit is trained and waits for room on the disk", error, folder.root)
        self._saving.forget()

    def _made(self, job: _Job) -> Made:
        """What training changed; and what that and the team's is on average, where there is a team."""
        change_P = self._parts.change(job.trainer.change())
        own = Made(change_P, job.trainer.fisher() if job.lease.fisher else None)
        team = self._parts.swarm.team
        if team is None or job.confirmed:
            return own
        work = Work(self._info.name, job.lease, job.task.tokens)
        return average_unit(team, own, work, len(job.trainer.losses), lambda told: self._parts.report(Notice(told)))

    def _finished(self, job: _Job, busy: Share, made: Made) -> NodeState:
        """The state with the unit in the outbox: compressed, with what earlier units left over, on the disk."""
        trainer, lease, parts = job.trainer, job.lease, self._parts
        state = self.state.in_space(job.wanted.target.digest)
        with keeping(parts.folder.store) as kept:
            outgoing = self._outgoing(job, state, made, kept)
            if made.team is not None and not made.team.leads:
                outgoing = outgoing.model_copy(update={"held_until_ms": made.team.held_until_ms})
            elif made.team is not None:
                outgoing = self._outgoing(job, state, made.of_team(), kept).model_copy(update={"instead": outgoing})
            outgoing = outgoing.altered(moments=self._moments_of(job, kept))
        tokens = job.task.tokens(len(trainer.losses) * lease.training.batch)
        parts.report(
            Finished(
                outgoing.digest,
                lease.round,
                lease.base_version,
                lease.shard,
                len(trainer.losses),
                tokens,
                self._trained_s,
                trainer.losses[0],
                trainer.losses[-1],
                *busy,
            )
        )
        return state.finished(outgoing)

    def _moments_of(self, job: _Job, kept: Keeping) -> KeptMoments | None:
        """AdamW's moments as the unit leaves them, where they mean anything in the next one."""
        training = job.lease.training
        if not (training.keep_moments and job.wanted.keeps_moments):
            return None
        return store_moments(kept.put_dispensable, job.trainer.moments(), training)

    def _outgoing(self, job: _Job, state: NodeState, made: Made, kept: Keeping) -> Outgoing:
        """An update in the node's store, with what becomes true if it is taken, but for the moments."""
        trainer, wanted, parts = job.trainer, job.wanted, self._parts
        finished = finish_unit(wanted, self._target(job, state, made.change_P), made.fisher_P, in_place=True)
        work = Work(self._info.name, job.lease, job.task.tokens)
        envelope = work.envelope(finished.data, trainer.stated_losses, secrets.token_hex(16), parts.now_ms())
        return Outgoing(
            digest=kept.put(finished.data),
            envelope=Signed.make(made.envelope(envelope), parts.identity),
            residual=kept.put_vector(finished.residual_P) if self._info.residual_decay else None,
            dense_bytes=4 * wanted.space.size,
            took=state.free_residuals,
            folded=state.free_to_fold,
        )

    def _target(self, job: _Job, state: NodeState, change_P: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the update is to say, float32 [P]: a change, and what earlier units left over."""
        folder, wanted, decay = self._parts.folder, job.wanted, np.float32(self._info.residual_decay)
        left = [folder.vector(residual, wanted.target.size) for residual in state.free_residuals]
        target_P = np.empty_like(change_P)
        for start in range(0, len(target_P), PIECE):  # small enough for the processor's cache
            piece = slice(start, start + PIECE)
            target_P[piece] = change_P[piece]
            for left_P in left:
                target_P[piece] += decay * left_P[piece]
        wanted.add_decoded(target_P, (folder.store.read(digest) for digest in state.free_to_fold))
        return target_P
