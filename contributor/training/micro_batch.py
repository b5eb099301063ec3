"""How many examples go through the model at once, found by trial.

A step begins with the size that worked last. Where memory does not suffice it is halved, down to 1,
and the same step is done again; after some steps without failure twice as many are tried. A size that
failed is tried again too, for what took the memory may have gone, but ever more rarely: after 16 steps,
then 32, up to 1,024. So a node that shares its memory finds its way down at once and back up in time.

The rule knows nothing of memory: :mod:`contributor.training.trainer` tells it what became of a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["MicroBatch"]

FIRST_PATIENCE_STEPS = 16
LAST_PATIENCE_STEPS = 1024


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What is known of sizes.

    Attributes:
        batch: examples of a step; no micro-batch is larger.
        size: examples that go through the model at once in the next step.
        failed_at: the smallest size that failed since the last success with it; None when none did.
        patience_steps: steps without failure before a larger size is tried.
        good_steps: since the last change of size.
        most: a limit from outside, as a governor sets it; None is none.
    """

    batch: int
    size: int
    failed_at: int | None = None
    patience_steps: int = FIRST_PATIENCE_STEPS
    good_steps: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.batch:
            raise ValueError(f"a micro-batch of {self.size} examples, from 1 to the batch of {self.batch} was expected")

    @classmethod
    def begin(cls, batch: int, remembered: int | None = None) -> MicroBatch:
        """For steps of ``batch`` examples: the whole batch at once, or what an earlier unit found.

        Where that was less, the next larger size counts as one that failed.
        """
        if remembered is None or remembered >= batch:
            return cls(batch, batch)
        size = max(1, remembered)
        return cls(batch, size, failed_at=min(batch, 2 * size))

    @property
    def allowed(self) -> int:
        """The largest size that may be tried."""
        return self.batch if self.most is None else max(1, min(self.batch, self.most))

    @property
    def found(self) -> int | None:
        """What the next unit may begin with; None where it was a limit from outside that decided, not memory."""
        return self.size if self.failed_at is not None or self.size == self.batch else None

    def limited(self, most: int | None) -> MicroBatch:
        """With another limit from outside. Below it is gone at once; above it is found by trial."""
        limited = replace(self, most=most)
        if limited.size > limited.allowed:
            return replace(limited, size=limited.allowed, good_steps=0)
        if self.failed_at is None and self.size == self.allowed:  # only the limit held it back
            return replace(limited, size=limited.allowed, good_steps=0)
        return limited

    def worked(self) -> MicroBatch:
        """After a step without failure."""
        now = replace(self, good_steps=self.good_steps + 1)
        if self.failed_at is not None and self.size >= self.failed_at:  # what had failed does work now
            now = replace(now, failed_at=None, patience_steps=FIRST_PATIENCE_STEPS)
        if now.size < now.allowed and (now.failed_at is None or now.good_steps >= now.patience_steps):
            return replace(now, size=min(now.allowed, 2 * now.size), good_steps=0)
        return now

    def failed(self) -> MicroBatch | None:
        """After a step for which memory did not suffice; None when one example was too many already."""
        if self.size == 1:
            return None
        again = self.failed_at is not None and self.size >= self.failed_at
        patience = min(LAST_PATIENCE_STEPS, 2 * self.patience_steps) if again else self.patience_steps
        return replace(self, size=self.size // 2, failed_at=self.size, patience_steps=patience, good_steps=0)
