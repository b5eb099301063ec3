"""What is wrong with a run, or soon will be: judgements on the numbers that Prometheus gets too.

The thresholds are those of deploy/prometheus/rules/alerts.yml, so that the page and an alert agree; what needs
more than one moment to be seen (rates, restarts) is left to the alerts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from barnraise.metric import Readings
from coordinator.web.words import duration, percent, plural, size

__all__ = ["DAY_S", "Finding", "Numbers", "judge", "time_in_words"]

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
STUCK_AFTER_S = 300.0
DISK_FULL_S = DAY_S
DISK_LOW_S = 7 * DAY_S
DISK_FREE_SHARE = 0.03
BACKUP_OLD_S = 2 * DAY_S
ONLINE_ENDS_S = 6 * 3600.0
MAINTAINERS_END_S = 60 * DAY_S
CLOCK_S = 120.0
DOMINATES = 0.5
IN_A_ROW = 3
HIDDEN_DRAWS = 3
ONLINE = ("timestamp", "snapshot", "nightly")

Severity = Literal["critical", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to do something about.

    Attributes:
        reason: one sentence with the numbers. cure: a command, or "" where none helps; advice: what it does.
    """

    severity: Severity
    title: str
    reason: str
    advice: str
    cure: str = ""


class Numbers:
    """Readings by name, None where a number could not be had."""

    def __init__(self, found: Readings) -> None:
        self._found = found

    def one(self, name: str, *labels: str) -> float | None:
        value = self._found.of(f"barnraise_{name}").get(labels)
        return float(value) if isinstance(value, int | float) else None

    def all(self, name: str) -> dict[tuple[str, ...], float]:
        found = self._found.of(f"barnraise_{name}")
        return {labels: float(value) for labels, value in sorted(found.items()) if isinstance(value, int | float)}


def time_in_words(seconds: float) -> str:
    """A length of time; a very long one is only called so."""
    return duration(1000 * max(seconds, 0)) if seconds < YEAR_S else "more than a year"


def judge(found: Readings, now_ms: int, run: str) -> tuple[Finding, ...]:
    """What is wrong, or soon will be; the gravest first. What could not be read is judged only where that matters."""
    numbers, now_s = Numbers(found), now_ms / 1000
    rules: tuple[Callable[[Numbers, float, str], Iterator[Finding]], ...] = (
        _ledger, _conductor, _disk, _metadata, _backup, _rounds, _people, _queues,
    )  # fmt: skip
    findings = [finding for rule in rules for finding in rule(numbers, now_s, run)]
    return tuple(sorted(findings, key=lambda finding: finding.severity != "critical"))


def _ledger(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    if numbers.one("ledger_readable") == 0:
        yield Finding(
            "critical",
            "The ledger cannot be read",
            "Its database was locked, or its disk away, when this page was made.",
            "Find the process that holds it; a check says whether the file is whole.",
            f"barnraise fsck --run {run}",
        )


def _conductor(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    beat_s = numbers.one("conductor_beat_timestamp_seconds")
    if beat_s is None:
        yield Finding(
            "warning",
            "No conductor has worked here",
            "There is no sign of a process that merges and tests.",
            "It is started together with the gateway.",
            f"barnraise serve {run}",
        )
    elif now_s - beat_s > STUCK_AFTER_S:
        yield Finding(
            "critical",
            "The conductor is silent",
            f"Its last sign of life is {time_in_words(now_s - beat_s)} old; it gives one every few seconds.",
            "Look at logs/conductor.log in the run folder; if nothing runs, start the coordinator again.",
            f"barnraise serve {run}",
        )
    if dead := numbers.one("ray_nodes", "no"):
        yield Finding(
            "warning",
            "A machine of the cluster is gone",
            f"{plural(int(dead), 'Ray node')} answer no more; the others go on with the work.",
            "Start Ray on it again, or take it out of the cluster.",
            "ray status",
        )


def _disk(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    free, whole = numbers.one("disk_free_bytes"), numbers.one("disk_size_bytes")
    full_s = numbers.one("disk_full_forecast_seconds")
    if free is None or whole is None or full_s is None:
        return
    nearly = free < DISK_FREE_SHARE * whole
    if full_s < DISK_LOW_S or nearly:
        when = (
            f"as of the last day it is full in {time_in_words(full_s)}"
            if math.isfinite(full_s)
            else "nothing grows now"
        )
        yield Finding(
            "critical" if full_s < DISK_FULL_S or nearly else "warning",
            "The disk fills up",
            f"{size(free)} of {size(whole)} are free; {when}.",
            "Remove what no release needs, or move the run to a larger disk; first look what would go.",
            f"barnraise gc --run {run} --dry-run",
        )


def _metadata(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    for (role,), ends_s in numbers.all("metadata_expiry_timestamp_seconds").items():
        left_s = ends_s - now_s
        if role in ONLINE and left_s < ONLINE_ENDS_S:
            yield Finding(
                "critical",
                f"Release metadata ends: {role}",
                f"{_ends(left_s)}; after that nobody can pull. The conductor renews it, so that one does not work.",
                "Start the coordinator, which renews it at once.",
                f"barnraise serve {run}",
            )
        elif role not in ONLINE and left_s < MAINTAINERS_END_S:
            yield Finding(
                "critical" if left_s < 14 * DAY_S else "warning",
                f"Maintainers have to sign again: {role}",
                f"{_ends(left_s)}; after that nobody can pull.",
                "Prepare it, hand it on until enough have signed, and apply it.",
                f"barnraise keys renew --run {run}",
            )


def _ends(left_s: float) -> str:
    return f"It holds for {time_in_words(left_s)} more" if left_s > 0 else f"It ended {time_in_words(-left_s)} ago"


def _backup(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    at_s = numbers.one("backup_timestamp_seconds")
    if at_s is None:
        yield Finding(
            "warning",
            "There is no backup",
            "This run was never backed up from this folder.",
            "Choose a folder on another disk; only what is new is added each time.",
            f"barnraise backup {run} BACKUPS",
        )
    elif now_s - at_s > BACKUP_OLD_S:
        yield Finding(
            "warning",
            "The last backup is old",
            f"It was made {time_in_words(now_s - at_s)} ago.",
            "Only what is new is added.",
            f"barnraise backup {run} BACKUPS",
        )


def _rounds(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    if failures := numbers.one("suite_failures"):
        yield Finding(
            "critical",
            "The acceptance tests cannot be run",
            f"They failed {plural(int(failures), 'time')} in a row with an error of the suite; the round waits.",
            "See what the suite says on the newest release, and mend it; nothing is lost.",
            f"barnraise test {run} nightly",
        )
    for outcome, advice in (
        ("rejected", "The rounds' records name the tests that got worse, and the updates at fault."),
        ("abandoned", "Too few updates came in time: lower round.min_updates, or give more time."),
    ):
        count = numbers.one("rounds_in_a_row", outcome) or 0
        if count >= IN_A_ROW:
            reason = f"The last {int(count):,} rounds were {outcome}."
            yield Finding(
                "warning", f"Round after round is {outcome}", reason, advice, f"barnraise round ls --from {run}"
            )
    for (test,), left in numbers.all("test_hidden_left").items():
        wanted = numbers.one("test_hidden_wanted", test) or 0
        if left < HIDDEN_DRAWS * wanted:
            yield Finding(
                "warning",
                f"Hidden examples run out: {test}",
                f"{int(left):,} may still be drawn, a round takes {int(wanted):,}.",
                "Give the test a larger pool in the suite's file, in RUN/acceptance, and start the coordinator again.",
                f"barnraise serve {run}",
            )


def _people(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    share, live = numbers.one("contributor_share_max_ratio"), numbers.one("contributors_live") or 0
    if share is not None and share > DOMINATES and live > 2:
        yield Finding(
            "warning",
            "One contributor outweighs all others",
            f"{percent(share)} of the last 100 merged updates are of one key, with {int(live)} at work.",
            "See who it is on the page of contributors; in quarantine it is measured and not merged.",
            f"barnraise quarantine KEY --reason WHY --run {run}",
        )
    offset = numbers.one("contributor_clock_offset_seconds", "median")
    if offset is not None and abs(offset) > CLOCK_S:
        yield Finding(
            "warning",
            "Clocks disagree",
            f"Half of the live contributors are {time_in_words(abs(offset))} or more "
            f"{'behind' if offset > 0 else 'ahead of'} this machine's clock.",
            "When most are off it is this machine's clock that is wrong.",
            "timedatectl status",
        )


def _queues(numbers: Numbers, now_s: float, run: str) -> Iterator[Finding]:
    waiting, beat_s = numbers.one("orders_waiting"), numbers.one("conductor_beat_timestamp_seconds")
    silent = beat_s is None or now_s - beat_s > STUCK_AFTER_S
    if waiting and silent:
        yield Finding(
            "warning",
            "Orders wait",
            f"{plural(int(waiting), 'order')} of operators wait for a coordinator that computes.",
            "They are taken up as soon as one runs.",
            f"barnraise serve {run}",
        )
