"""The governor of a node on this machine, with its sensors and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from barnraise.clock import now_ms
from contributor.governor.governor import Governor
from contributor.governor.look import Look
from contributor.governor.policies.nice import Priority
from contributor.governor.policy import make
from contributor.governor.priority import rank
from contributor.governor.sensors import sensors_of
from contributor.governor.settings import parse_choice, write_table

__all__ = ["check_choices", "govern", "look_around", "only_look"]


def check_choices(choices: Sequence[str]) -> None:
    """Whether policies that options name are there and have these settings, before anything is begun.

    Raises:
        ConfigError: there is no such policy or setting.
        UsageError: a choice is not one.
    """
    for choice in choices:
        name, settings = parse_choice(choice)
        make(name, settings, source=f"--policy {choice}")


def govern(folder: Path, say: Callable[[str], None], choices: Sequence[str] = ()) -> Governor:
    """A governor for the node with this folder.

    Args:
        say: one sentence to the owner.
        choices: policies to load from now on, as options name them: ``idle=after_s=600``.

    Raises:
        ConfigError: the settings file, or what a choice would make of it, has a mistake.
        UsageError: a choice is not one.
    """
    for choice in choices:
        write_table(folder, *parse_choice(choice))
    return Governor(folder, look_around(folder), say, rank)


def look_around(folder: Path) -> Look:
    """The sensors of this machine."""
    return Look(sensors_of(folder), now_ms, time.monotonic)


def only_look(folder: Path, say: Callable[[str], None]) -> Governor:
    """A governor that ranks nothing and asks every sensor, for a command that tells what policies would wish."""

    def leave(_priority: Priority) -> list[str]:
        return []

    sensors = sensors_of(folder)
    look = Look(sensors, now_ms, time.monotonic, always=frozenset(sensor.name for sensor in sensors))
    return Governor(folder, look, say, leave)
