"""The governor: asks sensors, lets every loaded policy judge, combines what they wish, and tells the node.

    sensors --> observation --> policies (pure) --> wishes --> combine --> settle --> the node, at a step boundary

Policies hold nothing of the training, and are asked between two steps. So they can be loaded, unloaded and swapped at
any time, by a command or by an edit of the settings file, and no step is lost. A policy that fails is unloaded, which
is said once; the node goes on with the others.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from barnraise.errors import BarnraiseError
from contributor.governor.look import Look
from contributor.governor.memory import recall, remember
from contributor.governor.observation import NodeCounters, Observation
from contributor.governor.policies.nice import Priority
from contributor.governor.policy import Policy
from contributor.governor.settings import FILE, Settings, read_settings
from contributor.governor.settle import Settled, settle
from contributor.governor.wish import Wish, combine

__all__ = ["Explanation", "Governor"]

REMEMBER_EVERY_S = 30.0
LOOK_AT_FILE_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the governor saw and thought at its last look.

    Attributes:
        wishes: name of each loaded policy -> its own wish. told: what the node was told.
    """

    seen: Observation
    wishes: Mapping[str, Wish]
    told: Wish


class Governor:
    """Advice from the policies of one node. Every method may be called from any thread."""

    def __init__(
        self,
        folder: Path,
        look: Look,
        say: Callable[[str], None],
        rank: Callable[[Priority], list[str]] = lambda _priority: [],
    ) -> None:
        """Load the policies that the settings file names, and recall what they knew.

        Args:
            folder: of the node. say: one sentence to the owner.
            rank: tells the system how to rank this process, and returns what it refused.

        Raises:
            ConfigError: the settings file has a mistake.
        """
        self._folder, self._look, self._say, self._rank = folder, look, say, rank
        self._lock = threading.RLock()
        self._stamp = _stamp(folder)
        self._settings = read_settings(folder)
        self._states: dict[str, Any] = recall(folder, self._settings.policies)
        self._failed: dict[str, Policy] = {}
        self._node = NodeCounters()
        self._settled = Settled()
        self._ranked = Priority()
        self._remembered_s = self._looked_at_file_s = look.clock_s()
        self._last: Explanation | None = None
        self._set_rank()

    @property
    def policies(self) -> tuple[str, ...]:
        """Names of the policies that are loaded."""
        return tuple(self._loaded())

    def wish(self) -> Wish:
        """What the node should do now."""
        with self._lock:
            self._read_again()
            told = self._explain().told
            if self._look.clock_s() - self._remembered_s >= REMEMBER_EVERY_S:
                self.remember()
            return told

    def is_changed(self) -> bool:
        """Whether the settings file is another than at the last wish, which the next one takes over."""
        with self._lock:
            return self._may_look_at_file() and _stamp(self._folder) != self._stamp

    def stepped(self, step_s: float, micro_batch: int) -> None:
        """A step has just ended."""
        with self._lock:
            self._node = replace(
                self._node,
                trained_s=self._node.trained_s + step_s,
                steps=self._node.steps + 1,
                step_s=step_s,
                micro_batch=micro_batch,
                ram_bytes=psutil.Process().memory_info().rss,
            )

    def transferred(self, *, sent_bytes: int = 0, received_bytes: int = 0) -> None:
        """So many bytes more of updates and releases went over the network."""
        with self._lock:
            self._node = replace(
                self._node,
                sent_bytes=self._node.sent_bytes + sent_bytes,
                received_bytes=self._node.received_bytes + received_bytes,
            )

    def training(self, context: int) -> None:
        """What is trained from now on has so many tokens an example."""
        with self._lock:
            self._node = replace(self._node, context=context)

    def explain(self) -> Explanation:
        """What was seen and thought at the last look; a look now, if there was none."""
        with self._lock:
            return self._last or self._explain()

    def remember(self) -> None:
        """Write down what policies must not lose."""
        with self._lock:
            self._remembered_s = self._look.clock_s()
            if any(getattr(policy, "memory", None) for policy in self._loaded().values()):
                remember(self._folder, self._loaded(), self._states)

    def _explain(self) -> Explanation:
        loaded = self._loaded()
        seen = self._look.around({name for policy in loaded.values() for name in policy.sensors}, self._node)
        wishes = {name: wish for name, policy in loaded.items() if (wish := self._judged(name, policy, seen))}
        told, self._settled = settle(
            self._settled,
            combine(wishes.values()),
            now_s=seen.clock_s,
            resume_after_s=self._settings.governor.resume_after_s,
        )
        self._last = Explanation(seen, wishes, told)
        return self._last

    def _judged(self, name: str, policy: Policy, seen: Observation) -> Wish | None:
        """The wish of one policy; None from one that failed and is now unloaded."""
        try:
            wish, self._states[name] = policy.judge(seen, self._states.get(name))
            if not isinstance(wish, Wish):
                raise TypeError(f"judge returned {type(wish).__name__}, a Wish was expected")
        except Exception as error:  # noqa: BLE001  # whatever a stranger's policy does, the node goes on
            self._failed[name] = policy
            self._states.pop(name, None)
            self._say(f"the policy {name!r} failed and is unloaded, the others hold: {error!r}")
            return None
        return wish

    def _loaded(self) -> dict[str, Policy]:
        """The policies of the settings file without those that failed as they are set there."""
        policies = self._settings.policies
        return {name: policy for name, policy in policies.items() if self._failed.get(name) != policy}

    def _read_again(self) -> None:
        """Take over the settings file if it has changed. One with a mistake changes nothing but is complained of."""
        if not self._may_look_at_file():
            return
        self._looked_at_file_s = self._look.clock_s()
        stamp = _stamp(self._folder)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            settings = read_settings(self._folder)
        except BarnraiseError as error:
            self._say(f"{error}; the policies stay as they were")
            return
        self._swap(settings)

    def _may_look_at_file(self) -> bool:
        return self._look.clock_s() - self._looked_at_file_s >= LOOK_AT_FILE_EVERY_S

    def _swap(self, settings: Settings) -> None:
        before, self._settings = self._settings.policies, settings
        self._failed = {name: policy for name, policy in self._failed.items() if settings.policies.get(name) == policy}
        new = {name: policy for name, policy in settings.policies.items() if name not in before}
        self._states = {name: state for name, state in self._states.items() if name in settings.policies}
        self._states |= recall(self._folder, new)
        self._say(f"policies: {', '.join(self._loaded()) or 'none'}")
        self._set_rank()

    def _set_rank(self) -> None:
        """Rank the process as the policy ``nice`` says, or as everybody again once that is unloaded."""
        wanted = next((policy.priority() for policy in self._loaded().values() if hasattr(policy, "priority")), None)
        if (wanted or Priority()) != self._ranked:
            self._ranked = wanted or Priority()
            for refused in self._rank(self._ranked):
                self._say(refused)


def _stamp(folder: Path) -> tuple[int, int] | None:
    """What changes when the settings file does."""
    try:
        found = (folder / FILE).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
