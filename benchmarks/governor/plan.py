"""Which turns are taken, in which order, and how long all of them take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ARMS", "JOBS", "Planned", "minutes", "plan"]

ARMS = ("alone", "nice", "idle", "learned")
JOBS = {"steady": 75.0, "bursts": 30.0, "interactive": 30.0}  # seconds of a turn; a whole number of bursts
LEARN_S = {"steady": 36.0, "bursts": 15.0, "interactive": 36.0}  # `learned` beside each, ahead of the first round
LEARNING = -1
BETWEEN_S = 1.0  # two turns: programs start, and the step at hand is ended
AROUND_S = 40.0  # all of them: nodes start, and simulated machines run


@dataclass(frozen=True)
class Planned:
    """A turn that is to be taken.

    Attributes:
        number: of the round; below zero the policy learns, and nothing is counted.
    """

    number: int
    job: str
    arm: str
    seconds: float


def plan(jobs: Mapping[str, float], rounds: int) -> list[Planned]:
    """Every arm beside every job in every round, each round beginning with another arm.

    Args:
        jobs: name -> seconds of a turn.
    """
    planned = [Planned(LEARNING, job, "learned", min(LEARN_S[job], seconds)) for job, seconds in jobs.items()]
    for number in range(rounds):
        first = number % len(ARMS)
        turned = (*ARMS[first:], *ARMS[:first])
        planned += [Planned(number, job, arm, seconds) for job, seconds in jobs.items() for arm in turned]
    return planned


def minutes(planned: list[Planned]) -> float:
    """How long these turns will take, with all that is around them."""
    return (sum(turn.seconds + BETWEEN_S for turn in planned) + AROUND_S) / 60
