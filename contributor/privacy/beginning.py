"""From what the owner chose to how a unit is trained, and what must go before the first private one.

Residual and moments of earlier units hold what examples left in them, without noise. They, and a unit that was
stopped in the middle, are forgotten when privacy begins; updates that were sent are not affected, and those that wait
to be sent were trained without it and are said to be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from barnraise.errors import ConfigValueError
from barnraise.protocol import Lease
from contributor.folder import NodeFolder
from contributor.privacy.budget import CLIP, Budget, Choice, load_budget, save_budget
from contributor.privacy.gradients import Countable, Private
from contributor.state import NodeState
from contributor.tasks import Task
from contributor.training.how import How

__all__ = ["Privacy", "without_traces"]

FILE = "privacy.json"


class Privacy:
    """The account of one node's folder.

    Attributes:
        budget: as it is on the disk.
    """

    def __init__(self, folder: NodeFolder, budget: Budget, say: Callable[[str], None]) -> None:
        self.budget = budget
        self._path = folder.root / FILE
        self._say = say

    @classmethod
    def of(cls, folder: NodeFolder, choice: Choice | None, say: Callable[[str], None]) -> Privacy | None:
        """What the owner chose for a folder that is locked; None for training without.

        Raises:
            ConfigValueError: nothing was chosen now, but the folder's earlier units are private.
            VerificationError: the account was altered.
        """
        path = folder.root / FILE
        before = load_budget(path)
        if choice is None:
            _require_none(before, path)
            return None
        if before is None:
            state = folder.load()
            folder.checkpoint.unlink(missing_ok=True)
            folder.commit(without_traces(state))
            budget = Budget.begin(choice)
            if state.outbox:
                say(f"{len(state.outbox)} finished units were trained without privacy before, and will still be sent")
        else:
            budget = before.chosen_anew(choice)
        save_budget(path, budget)
        say(budget.words())
        return cls(folder, budget, say)

    def how(self, how: How, lease: Lease, task: Task) -> How:
        """A way to train the unit of ``lease``, which is paid for from now on.

        Raises:
            BudgetSpentError: that would go past what was chosen.
            ConfigValueError: the task's examples cannot be told apart.
        """
        if not isinstance(task, Countable):
            raise ConfigValueError(
                f"the task {task.name} does not say which examples its shard has, so none can be protected; nothing "
                "was trained. Join without --private, or another run"
            )
        training = lease.training
        paid = self.budget.charged(lease.lease_id, task.examples, training.batch, training.steps)
        if paid is not self.budget:
            save_budget(self._path, paid)
            self.budget = paid
            self._say(paid.words())
        rate = min(1.0, training.batch / task.examples)
        if how.others:
            how.say("private training uses one GPU: the others would have to share its lots and its noise")
        return replace(how, gradients=Private(rate, paid.noise, CLIP), others=())


def without_traces(state: NodeState) -> NodeState:
    """The state without anything that examples left in it and that was not sent yet, but for finished units."""
    bare = tuple(unit.model_copy(update={"residual": None, "moments": None, "took": ()}) for unit in state.outbox)
    return state.model_copy(update={"residuals": (), "moments": None, "outbox": bare})


def _require_none(before: Budget | None, path: Path) -> None:
    if before is not None:
        raise ConfigValueError(
            f"the units of this folder are private, {before.epsilon_spent():.3f} of an epsilon of {before.epsilon:g} "
            f"is spent; nothing was trained. Join with --private {before.epsilon:g} as before. To train without, which "
            f"protects nothing any more, remove {path}"
        )
