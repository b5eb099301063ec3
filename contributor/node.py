"""The loop of a node: lease, pull, train, compress, send, learn what became of it, again.

    lease --> pull base --> train H steps --> compress --> outgoing --> receipt --+
      ^                                                                           |
      +--------- fates of earlier updates, waiting for the next round <-----------+

Everything before *outgoing* can be lost to a crash and is trained again (or continued from
a checkpoint); everything after it is in ``state.json`` and is not lost.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from barnraise.errors import RefusedError, VerificationError
from barnraise.identity import Identity
from barnraise.protocol import Lease, LeaseRequest, RunInfo, Signed, Wait
from barnraise.updates.space import ParameterSpace
from contributor.base import Base, BaseSource, check_base
from contributor.client import GatewayClient
from contributor.delivery import Delivery
from contributor.events import Leased, NodeEvent, Notice, Pulled, Step, Waiting
from contributor.interrupt import Interrupt, StopRequestedError
from contributor.patience import Patience
from contributor.state import NodeFolder, Outgoing
from contributor.tasks import make_task
from contributor.training.checkpoint import load_checkpoint, save_checkpoint
from contributor.training.moments import load_moments, store_moments
from contributor.training.trainer import Moments, Progress, Trainer, Unit
from contributor.unit import Wanted, Work, finish_unit

__all__ = ["Change", "Node", "Parts", "as_trained"]

REFUSALS_MAX = 3
POLL_MIN_S, POLL_MAX_S = 0.1, 60.0

Change = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def as_trained(change_P: NDArray[np.float32]) -> NDArray[np.float32]:
    """What training changed, float32 [P]."""
    return change_P


@dataclass(frozen=True)
class Parts:
    """What a node is made of, so that a simulation can put its own in.

    Attributes:
        name: display name. now_ms: milliseconds since the epoch. clock_s: monotonic seconds.
        change: from what training changed to what is sent.
    """

    name: str
    identity: Identity
    client: GatewayClient
    bases: BaseSource
    folder: NodeFolder
    patience: Patience
    report: Callable[[NodeEvent], None]
    device: torch.device
    now_ms: Callable[[], int]
    clock_s: Callable[[], float] = time.monotonic
    checkpoint_every_s: float = 30.0
    change: Change = as_trained

    @property
    def interrupt(self) -> Interrupt:
        return self.patience.interrupt


class Node:
    """One contributor in one run. Its folder is locked by the caller.

    Attributes:
        units: updates that got a receipt since the start.
    """

    def __init__(self, info: RunInfo, parts: Parts) -> None:
        self.units = 0
        self._info = info
        self._parts = parts
        self._state = parts.folder.commit(parts.folder.load().with_coordinator(info.coordinator_key))
        self._refusals = 0
        self._delivery = Delivery(
            info, parts.identity, parts.folder, parts.client, parts.patience, parts.report, parts.now_ms
        )

    def run(self, max_units: int | None) -> str:
        """Work until ``max_units`` units have receipts, or somebody asks to stop.

        Returns:
            why it stopped, in words.

        Raises:
            BarnraiseError: something that waiting does not cure.
        """
        try:
            self._deliver()
            while max_units is None or self.units < max_units:
                lease = self._lease()
                base = self._pull(lease)
                self._train(lease, base)
                self._deliver()
                if self._parts.interrupt.finish:
                    return "the unit was finished, as asked"
        except StopRequestedError:
            return "asked to stop"
        return f"{self.units} of {max_units} units done"

    def _lease(self) -> Lease:
        """Work to do, however long that takes."""
        said = ""
        while True:
            if self._parts.interrupt.finish:
                raise StopRequestedError
            self._state = self._delivery.learn_fates(self._state)
            answer = self._parts.patience.ask(lambda: self._parts.client.lease(self._request()))
            if answer.lease is not None:
                return self._checked(answer.lease)
            wait = answer.wait or Wait(reason="the coordinator gave neither work nor a reason", retry_after_s=5.0)
            if wait.reason != said:
                said = wait.reason
                self._parts.report(Waiting(said))
            self._parts.interrupt.wait(min(max(wait.retry_after_s, POLL_MIN_S), POLL_MAX_S))

    def _request(self) -> Signed:
        request = LeaseRequest(
            run=self._info.name, name=self._parts.name, nonce=secrets.token_hex(16), at_ms=self._parts.now_ms()
        )
        return Signed.make(request, self._parts.identity)

    def _checked(self, signed: Signed) -> Lease:
        lease = signed.open(Lease)
        if signed.key != self._info.coordinator_key or lease.contributor != self._parts.identity.public:
            raise VerificationError(
                "the lease is not signed by this run's coordinator for this key; start again, and if that "
                "does not help ask the operator whether the run has moved"
            )
        steps = lease.training.steps
        self._parts.report(Leased(lease.lease_id, lease.round, lease.base_version, lease.shard, steps))
        return lease

    def _pull(self, lease: Lease) -> Base:
        base = check_base(self._parts.patience.ask(lambda: self._parts.bases.fetch(lease)))
        for warning in base.warnings:
            self._parts.report(Notice(warning))
        self._parts.report(Pulled(base.version, base.fetched_bytes, 4 * base.space.size))
        return base

    def _train(self, lease: Lease, base: Base) -> None:
        """Train one unit, or what is left of it, and put the update into the outgoing slot."""
        task = make_task(base.model, self._info.data, lease.shard)
        wanted = Wanted.of(lease, base.space)
        layout = wanted.trains.layout(base.space)
        progress = self._checkpoint(lease, layout)
        moments = self._moments(lease, layout) if progress is None else None
        unit = Unit(task, base.space, base.flat_P, lease.training, lease.seed, moments, wanted.trains)
        trainer = Trainer(unit, self._parts.device)
        if progress is not None:
            trainer.restore(progress)
        self._steps(trainer, lease, layout)
        self._finish(trainer, Work(self._info.name, lease, task.tokens), wanted)

    def _checkpoint(self, lease: Lease, layout: ParameterSpace) -> Progress | None:
        """Where this unit was stopped, if it was."""
        path = self._parts.folder.checkpoint
        if not path.exists():
            return None
        progress = load_checkpoint(path, lease.lease_id, layout)
        if progress is None:
            self._parts.report(Notice("the checkpoint is of another lease or damaged; this unit begins anew"))
            path.unlink()
        else:
            done = len(progress.losses)
            self._parts.report(Notice(f"continuing a unit after step {done} of {lease.training.steps}"))
        return progress

    def _moments(self, lease: Lease, layout: ParameterSpace) -> Moments | None:
        """What AdamW begins the unit with. Moments that cannot be used are forgotten, and that is said once."""
        state = self._state
        if state.moments is None or not lease.training.keep_moments:
            return None
        found = load_moments(self._parts.folder, state, layout, lease.training)
        if isinstance(found, Moments):
            return found
        self._parts.report(Notice(f"AdamW's moments are dropped, this unit begins without: {found}"))
        self._state = self._parts.folder.commit(state.without_moments())
        return None

    def _steps(self, trainer: Trainer, lease: Lease, layout: ParameterSpace) -> None:
        """Step until the unit is done; stop at a step boundary with a checkpoint when asked to."""
        parts, saved_at = self._parts, self._parts.clock_s()
        while not trainer.done:
            if parts.interrupt.stop and not trainer.losses:
                raise StopRequestedError
            loss = trainer.step()
            parts.report(Step(len(trainer.losses), lease.training.steps, loss))
            if parts.interrupt.stop or parts.clock_s() - saved_at > parts.checkpoint_every_s:
                save_checkpoint(parts.folder.checkpoint, lease.lease_id, layout, trainer.progress())
                saved_at = parts.clock_s()
            if parts.interrupt.stop:
                raise StopRequestedError

    def _finish(self, trainer: Trainer, work: Work, wanted: Wanted) -> None:
        """Compress, with what earlier units left over, and commit the update to be sent."""
        parts, state, training = self._parts, self._state.in_space(wanted.target.digest), work.lease.training
        target_P = parts.change(trainer.change())
        if state.residual is not None:
            target_P += np.float32(self._info.residual_decay) * parts.folder.vector(state.residual, wanted.target.size)
        wanted.add_decoded(target_P, (parts.folder.store.read(digest) for digest in state.to_fold))
        fisher_P = trainer.fisher() if work.lease.fisher else None
        finished = finish_unit(wanted, target_P, fisher_P)
        envelope = work.envelope(finished.data, trainer.losses, secrets.token_hex(16), parts.now_ms())
        outgoing = Outgoing(
            digest=parts.folder.store.put(finished.data),
            envelope=Signed.make(envelope, parts.identity),
            residual=parts.folder.put_vector(finished.residual_P) if self._info.residual_decay else None,
            moments=store_moments(parts.folder, trainer.moments(), training) if training.keep_moments else None,
            dense_bytes=4 * wanted.space.size,
            folded=state.to_fold,
        )
        self._state = parts.folder.commit(state.finished(outgoing))
        parts.folder.checkpoint.unlink(missing_ok=True)

    def _deliver(self) -> None:
        """Send what is outgoing. Gives up after several refusals in a row, for the next would be no different."""
        had_one = self._state.outgoing is not None
        self._state, refusal = self._delivery.deliver(self._state)
        if refusal is None:
            self.units += had_one
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals >= REFUSALS_MAX:
            raise RefusedError(
                f"{self._refusals} updates in a row were refused, the last one so: {refusal}",
                status=refusal.status,
                remote_code=refusal.remote_code,
            )
