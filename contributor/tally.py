"""What a node's events add up to: steps, bytes, fates, and what its time went into.

An event ends one activity and begins the next; the time between two events belongs to the activity that
was under way. Counted from the start of the process: the history of a node is in its folder, that of a run
in the coordinator's ledger.
"""

from __future__ import annotations

from collections import Counter
from threading import Lock

from barnraise.metric import Metric, Readings
from contributor.events import (
    Fate,
    Finished,
    Joined,
    Leased,
    NodeEvent,
    Pulled,
    Received,
    Resting,
    Sent,
    Step,
    Stopped,
    Waiting,
)

__all__ = ["ACTIVITIES", "CATALOGUE", "NodeTally"]

ACTIVITIES = ("starting", "pulling", "training", "compressing", "sending", "asking", "waiting", "resting", "stopped")
FATES = ("merged", "unmerged", "rejected", "reverted", "refused", "unknown", "other")

_NEXT: dict[type[object], str] = {
    Joined: "asking",
    Leased: "pulling",
    Pulled: "training",
    Finished: "sending",
    Sent: "sending",
    Received: "asking",
    Waiting: "waiting",
    Resting: "resting",
    Stopped: "stopped",
}
"""Event -> what begins with it. A step goes on with training, but for a unit's last one."""


def _node(kind: str, name: str, meaning: str, *labels: str, at_most: int = 1) -> Metric:
    full = f"barnraise_node_{name}"
    if kind == "counter":
        return Metric(f"{full}_total", "counter", meaning, "node", labels, at_most=at_most)
    return Metric(full, "gauge", meaning, "node", labels, at_most=at_most)


CATALOGUE: tuple[Metric, ...] = (
    _node("gauge", "info", "1, with the run that the node trains for and the version of Barnraise.", "run", "version"),
    _node("counter", "steps", "Optimiser steps."),
    _node("counter", "units", "Units that were trained."),
    _node("counter", "tokens", "Tokens trained on in whole units."),
    _node("gauge", "loss", "Training loss of the newest step, in the unit of the run's task."),
    _node("gauge", "unit_progress_ratio", "Share of the steps of the unit under way that are done."),
    _node("counter", "pulled_bytes", "Bytes fetched for bases."),
    _node("counter", "sent_bytes", "Bytes of updates sent."),
    _node("counter", "dense_bytes", "Bytes that the same updates would have had as whole float32 models."),
    _node("counter", "receipts", "Updates that the coordinator has confirmed."),
    _node("counter", "fates", "What became of updates.", "fate", at_most=len(FATES)),
    _node("counter", "activity_seconds", "What the node's time went into.", "activity", at_most=len(ACTIVITIES)),
    _node("gauge", "activity", "1 for what the node does now.", "activity", at_most=len(ACTIVITIES)),
    _node("gauge", "gpu_busy_ratio", "Utilisation of a GPU, where the driver tells it.", "gpu", at_most=64),
    _node("gauge", "gpu_memory_used_bytes", "Memory in use on a GPU, by whomever.", "gpu", at_most=64),
)


class NodeTally:
    """Listens to a node's events from one thread and is read from another."""

    def __init__(self, now_s: float) -> None:
        self._lock = Lock()
        self._activity, self._since_s = "starting", now_s
        self._seconds = dict.fromkeys(ACTIVITIES, 0.0)
        self._counts: Counter[str] = Counter(
            dict.fromkeys(("steps", "units", "tokens", "pulled_bytes", "sent_bytes", "dense_bytes", "receipts"), 0)
        )
        self._fates: Counter[str] = Counter(dict.fromkeys(FATES, 0))
        self._run = ""
        self._loss: float | None = None
        self._progress = 0.0

    def hear(self, event: NodeEvent, now_s: float) -> None:
        """Take in an event.

        Args:
            now_s: of a clock that only goes forward.
        """
        with self._lock:
            self._count(event)
            begins = _NEXT.get(type(event))
            if isinstance(event, Step):
                begins = "compressing" if event.step >= event.steps else "training"
            if begins is not None:
                self._seconds[self._activity] += now_s - self._since_s
                self._activity, self._since_s = begins, now_s

    def _count(self, event: NodeEvent) -> None:
        match event:
            case Joined():
                self._run = event.run
            case Step(step, steps, loss):
                self._counts["steps"] += 1
                self._loss, self._progress = loss, step / max(steps, 1)
            case Pulled(_, fetched_bytes):
                self._counts["pulled_bytes"] += fetched_bytes
            case Finished():
                self._counts["units"] += 1
                self._counts["tokens"] += event.tokens
                self._progress = 0.0
            case Sent():
                self._counts["sent_bytes"] += event.bytes
                self._counts["dense_bytes"] += event.dense_bytes
            case Received():
                self._counts["receipts"] += 1
            case Fate():
                self._fates[event.state if event.state in FATES else "other"] += 1
            case _:
                pass

    def readings(self, now_s: float, version: str) -> Readings:
        """All of it, the activity under way included."""
        found = Readings()
        with self._lock:
            for name, count in self._counts.items():
                found.put(f"barnraise_node_{name}_total", count)
            for fate, count in self._fates.items():
                found.put("barnraise_node_fates_total", count, fate)
            for activity in ACTIVITIES:
                now = activity == self._activity
                seconds = self._seconds[activity] + (now_s - self._since_s if now else 0.0)
                found.put("barnraise_node_activity_seconds_total", seconds, activity)
                found.put("barnraise_node_activity", float(now), activity)
            if self._run:
                found.put("barnraise_node_info", 1, self._run, version)
            if self._loss is not None:
                found.put("barnraise_node_loss", self._loss)
            found.put("barnraise_node_unit_progress_ratio", self._progress)
        return found
